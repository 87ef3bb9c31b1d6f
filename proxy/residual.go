package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// residual is one statement of class Residual under way: the rows that it needs are fetched on the client's own backend
// connection, opened, and loaded into temporary tables of the evaluator with the same names, where the client's own text is
// run. Its answer goes to the client packet by packet.
type residual struct {
	x        *executor
	ctx      context.Context
	st       *rewrite.Statement
	plan     *rewrite.Plan
	snapshot *Snapshot
	// from and to are where the client's own statement lies in st.SQL(); execute is set where it is prepared, with the client's
	// parameters, and charset the character set that it was prepared under.
	from, to int
	execute  *wire.Execute
	charset  string
	// using, when not nil, says that the statement is one of SQL-level PREPARE, and with which values it is executed.
	using *usingValues
	more  bool

	conn   *evaluator.Conn
	mirror *mirror
	// write is what the statement writes; nil when it only reads.
	write *writeBack
	// filling is set for the rows of a table that the statement has just created.
	filling *createSelect
	// spent is what the statement has taken of the budgets.
	spent spending
	time  deadline
}

// residual carries out a statement that came as text.
func (x *executor) residual(j *job) (ok bool, err error) {
	if j.st.Params() > 0 {
		return false, x.refuse(errMarker)
	}
	r := &residual{x: x, st: j.st, plan: j.plan, snapshot: j.snapshot, from: j.from, to: j.to, more: j.more}
	return x.runResidual(r)
}

// runResidual carries out a residual statement and tells the client of what goes wrong.
func (x *executor) runResidual(r *residual) (ok bool, err error) {
	if r.st.Versioned() {
		return false, x.refuse(errVersioned)
	}
	if x.tablesLocked {
		return false, x.refuse(newFault(codeNotPossible, "the statement computes over protected columns, which is not possible under LOCK TABLES; use a transaction"))
	}
	switch {
	case r.plan.Residual.Create != nil:
		return x.createSelect(r)
	case r.plan.Residual.Explain:
		return x.explainResidual(r)
	case r.plan.Residual.Write != nil:
		r.write = newWriteBack(r)
	}
	ctx, cancel, end := x.evaluates()
	defer end()
	r.ctx = ctx
	r.time.begin(cancel, x.env.MaxTime)
	defer r.close()
	if r.write != nil {
		return r.write.run()
	}
	if err := r.prepare(); err != nil {
		return false, x.refuse(r.present(err))
	}
	return r.answer()
}

// errVersioned is for a comment that the evaluator's server could read otherwise than the backend, when their versions differ.
var errVersioned = newFault(codeNotUnderstood, "a statement that computes over protected columns has a comment for servers of a certain version; write it without")

// followed notes what a statement that has succeeded means for residual statements.
func (x *executor) followed(st *rewrite.Statement, plan *rewrite.Plan) {
	switch plan.Kind {
	case "LOCK":
		x.tablesLocked = true
	case "UNLOCK", "START", "BEGIN":
		x.tablesLocked = false
	case "KILL":
		x.killed(st)
	}
}

// killed ends what another session runs in the evaluator, of which the backend knows nothing, after the backend has accepted
// the KILL. Only the number of a connection names a session here: KILL QUERY ID has one of the backend's own, and KILL USER none.
func (x *executor) killed(st *rewrite.Statement) {
	for i := range st.Len() - 1 {
		if strings.EqualFold(string(st.Text(i)), "ID") || strings.EqualFold(string(st.Text(i)), "USER") {
			return
		}
	}
	id, err := strconv.ParseUint(string(st.Text(st.Len()-1)), 10, 32)
	if err != nil {
		return
	}
	for _, other := range x.server.appendSessions(nil) {
		if other.threadID == uint32(id) {
			other.interruptEvaluator()
		}
	}
}

// interruptEvaluator ends what the session runs in the evaluator, if anything.
func (s *session) interruptEvaluator() {
	if cancel := s.evaluating.Load(); cancel != nil {
		(*cancel)(errInterrupted)
	}
}

// evaluation is the way to end what runs in the evaluator; nil while nothing does.
type evaluation = atomic.Pointer[context.CancelCauseFunc]

// evaluates gives a context that ends when the client's statement is killed or the client is gone. The caller calls end.
func (x *executor) evaluates() (ctx context.Context, cancel context.CancelCauseFunc, end func()) {
	ctx, cancel = context.WithCancelCause(x.ctx)
	before := x.evaluating.Swap(&cancel)
	return ctx, cancel, func() {
		x.evaluating.Store(before)
		cancel(nil)
	}
}

// close gives back what the statement has taken.
func (r *residual) close() {
	r.time.end()
	if r.conn != nil {
		r.conn.Release()
		r.conn = nil
	}
	r.spent.giveBack()
}

// errInterrupted is MariaDB's answer to KILL QUERY.
var errInterrupted = &fault{code: 1317, state: "70100", message: "Query execution was interrupted"}

// present turns an error of any side into what the client may see.
func (r *residual) present(err error) error {
	if fatal(err) {
		return err
	}
	var ended *fault
	if errors.As(context.Cause(r.ctx), &ended) {
		return ended
	}
	var e *evaluator.Error
	if errors.As(err, &e) && storageFull(e.Code) {
		return errBudgetStorage
	}
	return evaluatorError(r.time.present(err))
}

// prepare does everything up to the statement itself.
func (r *residual) prepare() error {
	x := r.x
	if x.env.Evaluator == nil {
		return errNoEvaluator
	}
	var err error
	asked := askedOf(r.plan.Residual)
	asked.variables = r.using.variables(asked.variables)
	if r.mirror, err = x.readMirror(asked); err != nil {
		return err
	}
	if r.mirror.zone == "" && (r.plan.Residual.Clock || r.timed()) {
		return newFault(codeNotPossible, "the statement computes with points in time, and the session's time zone is SYSTEM, which is not certain; SET time_zone")
	}
	r.time.limit(r.mirror.maxTime, errStatementTimeout)
	if err := r.write.begin(); err != nil {
		return err
	}
	if r.conn, err = x.env.Evaluator.AcquireLong(r.ctx, evaluator.RelayCaps(x.caps)); err != nil {
		return err
	}
	r.spent.of(x.env)
	if err := r.makeTables(); err != nil {
		return err
	}
	if err := r.fetch(); err != nil {
		return err
	}
	if err := r.write.loaded(); err != nil {
		return err
	}
	return r.mirror.apply(r.ctx, r.conn)
}

// timed tells whether a column that is loaded holds points in time.
func (r *residual) timed() bool {
	for i := range r.plan.Residual.Loads {
		l := &r.plan.Residual.Loads[i]
		if w := r.plan.Residual.Write; w != nil && w.Insert != nil && !w.Insert.Duplicate && len(l.Fetch) == 0 {
			if slices.ContainsFunc(w.Insert.Columns, func(c rewrite.WriteColumn) bool { return isTimestamp(l.Table, c.Name, c.Protected) }) {
				return true
			}
			continue
		}
		if slices.ContainsFunc(l.Columns, func(c rewrite.LoadColumn) bool { return isTimestamp(l.Table, c.Name, c.Protected) }) {
			return true
		}
	}
	return false
}

// isTimestamp tells whether a column is a TIMESTAMP; protected is nil for a plain one.
func isTimestamp(t *rewrite.Table, name string, protected *rewrite.Protected) bool {
	if protected != nil {
		return protected.Type.Family() == logical.FamilyTimestamp
	}
	column := t.Column(name)
	return column != nil && column.DataType == "timestamp"
}

// loadMode is the sql_mode of the evaluator's session while rows are loaded: whatever the backend has stored is stored.
const loadMode = "SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO',check_constraint_checks=0"

// makeTables makes the temporary tables, empty.
func (r *residual) makeTables() error {
	if _, err := r.conn.Exec(r.ctx, loadMode+r.mirror.thread); err != nil {
		return err
	}
	if err := r.mirror.applyZone(r.ctx, r.conn); err != nil {
		return err
	}
	tables := r.x.env.Schema.tables
	for i := range r.plan.Residual.Loads {
		l := &r.plan.Residual.Loads[i]
		definition, plainKeys, err := r.definition(l)
		if err != nil {
			return err
		}
		if err := tables.database(r.ctx, r.conn, l.Table.Database); err != nil {
			return err
		}
		name := quoteName(l.Table.Database) + "." + quoteName(l.Table.Name)
		if _, err := r.conn.Exec(r.ctx, "CREATE TEMPORARY TABLE "+name+" "+definition); err != nil {
			return r.inside(err)
		}
		if plainKeys && !r.plan.Residual.Indexes {
			// They are there for the flags of column definitions; keeping them would cost more than the statement gains.
			if _, err := r.conn.Exec(r.ctx, "ALTER TABLE "+name+" DISABLE KEYS"); err != nil {
				return r.inside(err)
			}
		}
	}
	if r.mirror.database != "" {
		return tables.database(r.ctx, r.conn, r.mirror.database)
	}
	return nil
}

// definition gives the temporary table for a load; plainKeys says that it has indexes which are not unique.
func (r *residual) definition(l *rewrite.Load) (text string, plainKeys bool, err error) {
	if t := r.write.target(l); t != nil && r.plan.Residual.Write.Insert != nil {
		text, err = rewrite.EvaluatorInto(l.Table, t.plan, t.number, false)
		return text, false, err
	} else if t != nil {
		text, err = rewrite.EvaluatorTarget(l.Table, l.Columns, t.plan, t.number)
		return text, false, err
	}
	return rewrite.EvaluatorSource(l.Table, l.View, l.Columns)
}

// errNotHeld is for what the evaluator's server says of statements that are not the client's.
var errNotHeld = newFault(codeNotPossible, "the rows that the statement needs cannot be held in the evaluator as they are; see the log of Latchkey")

// inside logs an error of the evaluator's server to a statement of the proxy's own, by its number: its text could quote a
// value. The client is told that much and no more.
func (r *residual) inside(err error) error {
	var e *evaluator.Error
	switch {
	case errors.As(err, &e) && storageFull(e.Code):
		return errBudgetStorage
	case errors.As(err, &e), errors.Is(err, evaluator.ErrNotLoaded):
		r.x.log.Error("rows cannot be loaded into the evaluator", "error", err)
		return errNotHeld
	}
	return err
}

// storageFull tells whether a number of MariaDB's says that there is no room for rows. Errors of the file system and of the
// storage engine come with numbers of their own below 1000: a table whose last page could not be written is a broken one.
func storageFull(code uint16) bool {
	switch code {
	case 1004, 1005, 1006, 1021, 1026, 1030, 1034, 1037, 1038, 1041, 1114, 1194:
		// ER_CANT_CREATE_FILE, ER_CANT_CREATE_TABLE, ER_CANT_CREATE_DB, ER_DISK_FULL, ER_ERROR_ON_WRITE, ER_GET_ERRNO, ER_NOT_KEYFILE,
		// ER_OUTOFMEMORY, ER_OUT_OF_SORTMEMORY, ER_OUT_OF_RESOURCES, ER_RECORD_FILE_FULL, ER_CRASHED_ON_USAGE
		return true
	}
	return code < 1000
}

// answer runs the client's statement in the evaluator and relays its reply.
func (r *residual) answer() (ok bool, err error) {
	x := r.x
	kind, err := r.send()
	if err != nil {
		return false, x.refuse(r.present(err))
	}
	x.sent()
	end, ok, err := r.relay(kind)
	if err != nil {
		return false, err
	}
	if ok {
		r.keepDiagnostics(end)
	}
	return ok, r.keepAssigned()
}

// replyEnd is what a reply of the evaluator has said.
type replyEnd struct {
	// rows is how many rows there were, or those that INTO has taken.
	rows     uint64
	warnings uint16
	// into says that the answer was no resultset.
	into bool
}

// send sends the client's statement to the evaluator. The caller reads the reply.
func (r *residual) send() (wire.ReplyKind, error) {
	text, err := r.mirror.evaluatorText(r.st, r.plan.Residual, r.from, r.to, false)
	if err != nil {
		return 0, err
	}
	if r.using != nil {
		prepare := r.x.appendText([]byte("PREPARE "+evaluatorName+" FROM "), text)
		if _, err := r.conn.Exec(r.ctx, string(prepare)); err != nil {
			return 0, err
		}
		text = r.using.execute()
	}
	if r.execute == nil {
		return wire.ReplyQuery, r.conn.Send(append([]byte{byte(wire.ComQuery)}, text...))
	}
	return wire.ReplyExecute, r.sendExecute(text)
}

// sendExecute prepares the client's text and executes it with the client's parameters.
func (r *residual) sendExecute(text []byte) error {
	statement, params, err := r.conn.Prepare(r.ctx, text)
	if err != nil {
		return err
	}
	if params != len(r.execute.Params) {
		return errOperand
	}
	e := *r.execute
	// A result that is here whole needs no cursor, and a client that asked for one takes it so.
	e.Statement, e.Flags = statement, 0
	return r.conn.Send(e.Append(nil))
}

// sessionStatus are the status flags that say something of the client's own session on the backend.
const sessionStatus = wire.StatusInTransaction | wire.StatusReadOnly | wire.StatusAutocommit | wire.StatusNoBackslashEscapes |
	wire.StatusANSIQuotes | wire.StatusNoIndex | wire.StatusNoGoodIndex | wire.StatusQuerySlow | wire.StatusSessionChanged

// relay passes the reply of the evaluator on.
func (r *residual) relay(kind wire.ReplyKind) (end replyEnd, ok bool, err error) {
	x := r.x
	reply := &x.reply
	reply.Start(r.conn.Wire, x.client, kind, r.conn.Caps)
	reply.More = r.more
	stop := context.AfterFunc(r.ctx, r.conn.Kill)
	defer stop()
	ok = true
	for {
		event, err := reply.Next()
		if err == nil {
			switch event {
			case wire.EventDone:
				return end, ok, reply.Close()
			case wire.EventRow:
				end.rows++
			case wire.EventERR:
				ok = false
				err = r.relayError()
			case wire.EventInfile:
				err = reply.RefuseInfile(errPacket(errInfile))
			case wire.EventOK, wire.EventResultEnd, wire.EventColumnsEnd:
				err = r.relayEnd(event, &end)
			}
		}
		if err != nil {
			return end, false, r.broken(err)
		}
	}
}

// relayEnd gives an OK or EOF packet the state of the client's own session.
func (r *residual) relayEnd(event wire.Event, end *replyEnd) error {
	p, err := r.x.reply.Payload()
	if err != nil {
		return err
	}
	status := r.x.session.status & (sessionStatus &^ wire.StatusSessionChanged)
	if err := wire.PatchStatus(p, r.conn.Caps, status, sessionStatus&^status); err != nil || event == wire.EventColumnsEnd {
		return err
	}
	if len(p) == 5 && p[0] == 0xfe {
		e, err := wire.ParseEOF(p)
		end.warnings = e.Warnings
		return err
	}
	o, err := wire.ParseOK(p, r.conn.Caps)
	end.warnings = o.Warnings
	if event == wire.EventOK {
		end.rows, end.into = o.AffectedRows, true
	}
	return err
}

// relayError notes the error with which the client's statement ends. What fails for want of room is an error of ours.
func (r *residual) relayError() error {
	p, err := r.x.reply.Payload()
	if err != nil {
		return err
	}
	e, err := wire.ParseERR(p)
	if err != nil {
		return err
	}
	if r.ctx.Err() != nil || storageFull(e.Code) {
		e = errPacket(r.present(&evaluator.Error{ERR: e}))
		r.x.server.metrics.refused(e.Code)
	}
	r.x.failedPrivately(e)
	return r.x.reply.Replace(e.Append(nil))
}

// broken ends a reply that cannot go on. A failure of the evaluator is told to the client in place of the rest.
func (r *residual) broken(err error) error {
	var io *wire.IOError
	if !errors.As(err, &io) || io.Side == wire.ClientSide {
		return err
	}
	e := errPacket(r.present(r.conn.Failed(err)))
	r.x.server.metrics.refused(e.Code)
	r.x.failedPrivately(e)
	return r.x.reply.Break(e)
}

// keepDiagnostics makes the client's next questions about this statement have this statement's answers: the backend only
// knows of the fetches.
func (r *residual) keepDiagnostics(end replyEnd) {
	x := r.x
	if r.plan.Kind == "SET" {
		x.diagnostics.sideRan, x.diagnostics.rowCount = true, 0
	} else {
		x.diagnostics.answered(r.foundRows(end))
		if end.into {
			x.diagnostics.rowCount = int64(end.rows)
		}
	}
	if end.warnings == 0 && len(r.plan.Residual.Loads) == 0 {
		return // a statement without tables leaves the warnings of the one before it
	}
	x.area = diagnosticsArea{merged: true}
	if end.warnings == 0 {
		return
	}
	own := ownWarnings{total: int(end.warnings), private: true}
	err := r.conn.Each(r.ctx, "SHOW WARNINGS", func(row [][]byte) error {
		w, err := readDiagnosis(row)
		own.list = append(own.list, w)
		return err
	})
	if err == nil {
		x.area.own = own
	}
}

// foundRows gives what FOUND_ROWS() has to say.
func (r *residual) foundRows(end replyEnd) uint64 {
	if r.plan.Residual.FoundRows {
		result, err := r.conn.Query(r.ctx, "SELECT FOUND_ROWS()")
		if err == nil && len(result.Rows) == 1 {
			n, _ := strconv.ParseUint(string(result.Rows[0][0]), 10, 64)
			return n
		}
	}
	return end.rows
}

// spending is what one statement has taken of its budget and of the process's.
type spending struct {
	maxRows   int
	maxBytes  int64
	total     *budget
	rows      int
	bytes     int64
	taken     int64
	locked    int
	firstLock error
}

// budget bounds the plaintext of all statements in the evaluator, in bytes.
type budget struct{ used atomic.Int64 }

// budgetStep is how many bytes a statement takes of the process's budget at a time.
const budgetStep = 256 << 10

const (
	defaultMaxRows  = 200_000
	defaultMaxBytes = 64 << 20
	// budgetStatements is how many statements may fill their budget at a time.
	budgetStatements = 8
)

// of takes over the limits.
func (s *spending) of(env *Protection) {
	s.maxRows, s.maxBytes, s.total = env.maxRows(), env.MaxBytes, &env.loaded
	setDefault(&s.maxBytes, defaultMaxBytes)
}

// row counts a row of so many bytes.
func (s *spending) row(bytes int) error {
	s.rows++
	s.bytes += int64(bytes)
	if s.rows > s.maxRows {
		return newFault(codeTooLarge, "the statement needs more than %d rows opened, the limit of evaluator.max_rows; "+
			"narrow it with a condition on a column that is not protected, such as owner or date", s.maxRows)
	}
	if s.bytes > s.maxBytes {
		return newFault(codeTooLarge, "the statement needs more than %d bytes opened in %d rows, the limit of evaluator.max_bytes; "+
			"narrow it with a condition on a column that is not protected, such as owner or date", s.maxBytes, s.rows)
	}
	if s.bytes <= s.taken {
		return nil
	}
	if s.total.used.Add(budgetStep) > budgetStatements*s.maxBytes {
		s.total.used.Add(-budgetStep)
		return errBudgetProcess
	}
	s.taken += budgetStep
	return nil
}

func (s *spending) giveBack() {
	if s.taken > 0 {
		s.total.used.Add(-s.taken)
		s.taken = 0
	}
}

var (
	errBudgetProcess = newFault(codeTooLarge, "other statements have filled what Latchkey opens at a time; repeat the statement, or narrow it with a condition on a column that is not protected")
	errBudgetStorage = newFault(codeTooLarge, "the evaluator's storage is full; repeat the statement, narrow it with a condition on a column that is not protected, or give evaluator.dir more room")
)

// fetch loads all tables, as they are at one moment.
func (r *residual) fetch() (err error) {
	end, err := r.snapshotOf()
	if err != nil {
		return err
	}
	for i := range r.plan.Residual.Loads {
		l := &r.plan.Residual.Loads[i]
		if len(l.Fetch) == 0 {
			continue
		}
		if err = r.load(l); err != nil {
			break
		}
	}
	if fatal(err) {
		return err
	}
	if endErr := end(); endErr != nil {
		err = endErr
	}
	if err == nil && r.spent.locked > 0 {
		err = r.lockedRows()
	}
	return err
}

// snapshotOf makes several fetches read the same moment, where no transaction of the client's does, and returns what ends
// that. In a transaction at READ COMMITTED each fetch sees what was committed before it.
func (r *residual) snapshotOf() (end func() error, err error) {
	x := r.x
	status := x.session.status
	if len(r.plan.Residual.Loads) < 2 || status.Has(wire.StatusInTransaction) || !status.Has(wire.StatusAutocommit) {
		return func() error { return nil }, nil
	}
	if r.mirror.isolation != "REPEATABLE-READ" && r.mirror.isolation != "SERIALIZABLE" {
		if err := x.sideExec([]byte("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")); err != nil {
			return nil, err
		}
	}
	end = func() error { return x.sideCertain("COMMIT AND NO CHAIN NO RELEASE") }
	if err := x.sideExec([]byte("START TRANSACTION WITH CONSISTENT SNAPSHOT")); err != nil {
		if fatal(err) {
			return nil, err
		}
		return nil, cmp.Or(end(), err)
	}
	return end, nil
}

// lockedRows is the error of a statement that met cells whose keys are not here, after all of them have been counted.
func (r *residual) lockedRows() error {
	var f *fault
	if !errors.As(r.spent.firstLock, &f) {
		return r.spent.firstLock
	}
	hint := "; name the row's owner in the condition to leave them out"
	if f.code == codeNoKey {
		hint = ""
	}
	return &fault{code: f.code, state: f.state, message: fmt.Sprintf("%s (rows that the statement needs and that are locked: %d%s)", f.message, r.spent.locked, hint)}
}
