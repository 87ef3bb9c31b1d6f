package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"latchkey/keystore/cell"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// writeBack is what a residual statement that writes does beside one that only reads. The rows of its targets are locked and loaded,
// the client's own statement runs over them in the evaluator, and the rows that came out otherwise than they were loaded are
// written by primary key, in the client's transaction or in one of the statement's own. Only then the evaluator's answer
// goes to the client. Whatever goes wrong before leaves the tables as they were.
type writeBack struct {
	r       *residual
	targets []*writtenTable
	// own says that the transaction is the statement's own, marked that a savepoint stands in the client's.
	own, marked bool
	held        heldReply
	// added is what the backend has said of new rows.
	added addedRows
	// countedFrom is the first number that the evaluator gives to an AUTO_INCREMENT column; 0 when it gives none.
	countedFrom uint64
	// bytes is how much plaintext of changed rows is held.
	bytes int64
}

// writtenTable is one table that the statement writes.
type writtenTable struct {
	load *rewrite.Load
	plan *rewrite.WriteTarget
	// number is the column that numbers the rows in the evaluator, and before the table that has them as they were loaded.
	number, before string
	// loaded counts the rows.
	loaded int
	// locked has, by the number of the row, a column whose cell is under a key that is not here.
	locked  map[int]*rewrite.Protected
	changed []changedRow
	// added are rows that are new.
	added []changedRow
}

// heldReply is the evaluator's answer to the client's statement while the rows are written.
type heldReply struct {
	packets []heldPacket
	end     wire.OK
	// rowCount and foundRows are what ROW_COUNT() and FOUND_ROWS() say after it.
	rowCount  int64
	foundRows uint64
	warnings  ownWarnings
}

// heldPacket is one packet of an answer, or the place of one that tells of the session's state.
type heldPacket struct {
	event   wire.Event
	payload []byte
}

func newWriteBack(r *residual) *writeBack {
	plan := r.plan.Residual
	w := &writeBack{r: r}
	for i := range plan.Write.Targets {
		t := &writtenTable{plan: &plan.Write.Targets[i], locked: make(map[int]*rewrite.Protected)}
		t.load = &plan.Loads[t.plan.Load]
		t.number, t.before = "latchkey row "+strconv.Itoa(i), "latchkey before "+strconv.Itoa(i)
		w.targets = append(w.targets, t)
	}
	return w
}

// target gives the target that a load is for; nil when the statement only reads the table.
func (w *writeBack) target(l *rewrite.Load) *writtenTable {
	if w == nil {
		return nil
	}
	for _, t := range w.targets {
		if t.load == l {
			return t
		}
	}
	return nil
}

// run carries out the statement.
func (w *writeBack) run() (ok bool, err error) {
	x := w.r.x
	defer w.wipe()
	if err = w.carryOut(); err == nil {
		return true, w.answer()
	}
	if !fatal(err) {
		if undone := w.undo(); undone != nil {
			return false, undone
		}
		if dropped := w.r.filling.drop(); dropped != nil {
			return false, dropped
		}
	}
	return false, x.refuse(w.r.present(err))
}

func (w *writeBack) carryOut() error {
	if err := w.r.x.keys.writable(w.r.plan.Writes); err != nil {
		return err
	}
	steps := []func() error{w.r.prepare, w.compute, w.readChanges, w.store, w.commit}
	switch in := w.r.plan.Residual.Write.Insert; {
	case in != nil && in.Duplicate:
		steps = []func() error{w.r.prepare, w.duplicate, w.store, w.tellLastID, w.commit}
	case in != nil:
		steps = []func() error{w.r.prepare, w.compute, w.readRows, w.store, w.commit}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// begin makes sure that there is a transaction, which keeps the locks of the fetches until the rows are written.
// It is called when the session's status has just been read: an error in between can have ended a transaction.
func (w *writeBack) begin() error {
	if w == nil || w.inTransaction() || w.alone() {
		return nil
	}
	return w.start()
}

// start starts a transaction of the statement's own.
func (w *writeBack) start() error {
	w.own = true
	return w.r.x.sideExec([]byte("START TRANSACTION"))
}

// writeSavepoint is the name of the savepoint to which a statement that fails goes back.
const writeSavepoint = "`latchkey write`"

// mark makes all that follows one unit in the client's transaction.
func (w *writeBack) mark() error {
	if w.own || w.marked || !w.inTransaction() {
		return nil
	}
	err := w.r.x.sideExec([]byte("SAVEPOINT " + writeSavepoint))
	w.marked = err == nil
	return err
}

// commit ends the unit.
func (w *writeBack) commit() error {
	switch {
	case w.own:
		return w.r.x.sideExec([]byte("COMMIT AND NO CHAIN NO RELEASE"))
	case w.marked:
		if err := w.r.x.sideExec([]byte("RELEASE SAVEPOINT " + writeSavepoint)); err != nil {
			return err
		}
	}
	if w.r.filling != nil {
		// As the statement began with a commit, it ends with one.
		return w.r.x.sideExec([]byte("COMMIT AND NO CHAIN NO RELEASE"))
	}
	return nil
}

// undo takes back what has been written. Where the savepoint is gone there is nothing left to take back: a deadlock has ended the
// whole transaction. Its error ends the session, and the transaction with it.
func (w *writeBack) undo() error {
	switch {
	case w.own:
		return w.r.x.sideCertain("ROLLBACK AND NO CHAIN NO RELEASE")
	case w.marked:
		return w.r.x.sideCertain("ROLLBACK TO SAVEPOINT " + writeSavepoint)
	}
	return nil
}

// rowLoaded notes a row of the target before it is handed to the evaluator, as it came from the backend.
func (t *writtenTable) rowLoaded(open *opener, columns []rewrite.LoadColumn, values [][]byte) error {
	t.loaded++
	for i := range columns {
		if columns[i].Protected == nil || len(values[i]) == 0 {
			continue
		}
		if _, plain := plaintextOf(columns[i].Protected, values[i]); plain {
			continue
		}
		h, err := cell.Parse(values[i])
		if err != nil {
			return errBadCell(columns[i].Protected)
		}
		here, err := open.find(&open.columns[i], h)
		if err != nil {
			return err
		}
		if !here {
			t.locked[t.loaded] = columns[i].Protected
			return nil
		}
	}
	return nil
}

// warned ends the statement when a condition that the backend has evaluated for it met a value that had to be bent: in a strict
// sql_mode that is an error of a statement that writes, and the evaluator does not see the row.
func (w *writeBack) warned() error {
	x := w.r.x
	mode := rewrite.StrictAllTables
	if w.targets[0].load.Table.Transactional {
		mode |= rewrite.StrictTransTables
	}
	if x.facts.Mode&mode == 0 || w.r.plan.Ignore {
		return nil
	}
	var first error
	err := x.side([]byte("SHOW WARNINGS"), nil, func(row [][]byte) error {
		d, err := readDiagnosis(row)
		if err != nil || first != nil || d.level != "Warning" {
			return err
		}
		if f, ok := valueFault(wire.ERR{Code: d.code, State: "22007", Message: d.message}); ok {
			first = f
		}
		return nil
	})
	return cmp.Or(err, first)
}

// loaded is called when all rows are in the evaluator: it copies those of the targets.
func (w *writeBack) loaded() error {
	if w == nil || w.r.plan.Residual.Write.Insert != nil {
		return nil
	}
	return w.copyLoaded()
}

// copyLoaded copies the rows of the targets as they were loaded.
func (w *writeBack) copyLoaded() error {
	r := w.r
	for _, t := range w.targets {
		database := quoteName(t.load.Table.Database) + "."
		text := "CREATE TEMPORARY TABLE " + database + quoteName(t.before) + " ENGINE=Aria TRANSACTIONAL=0 SELECT " + quoteName(t.number)
		for _, name := range t.kept() {
			text += "," + quoteName(name)
		}
		if _, err := r.conn.Exec(r.ctx, text+" FROM "+database+quoteName(t.load.Table.Name)); err != nil {
			return r.inside(err)
		}
	}
	return nil
}

// kept are the columns of which the loaded values are needed afterwards.
func (t *writtenTable) kept() []string {
	names := append([]string{}, t.plan.Key...)
	for _, c := range t.plan.Columns {
		names = append(names, c.Name)
	}
	if owner := t.plan.Owner; owner != "" && !slices.Contains(names, owner) {
		names = append(names, owner)
	}
	return names
}

// strict makes the evaluator's engine as strict as the backend's is: STRICT_TRANS_TABLES means more to one that knows
// transactions.
func (w *writeBack) strict() error {
	r := w.r
	if !r.x.facts.Mode.Has(rewrite.StrictTransTables) {
		return nil
	}
	for _, t := range w.targets {
		if t.load.Table.Transactional {
			_, err := r.conn.Exec(r.ctx, "SET sql_mode=CONCAT(@@sql_mode,',STRICT_ALL_TABLES')")
			return err
		}
	}
	return nil
}

// compute runs the client's statement in the evaluator and holds the answer back.
func (w *writeBack) compute() error {
	r := w.r
	if err := w.strict(); err != nil {
		return r.inside(err)
	}
	kind, err := r.send()
	if err != nil {
		return err
	}
	r.x.sent()
	err = w.hold(kind)
	var failed *evaluator.Error
	if errors.As(err, &failed) {
		return w.failed(failed)
	}
	if err != nil {
		return err
	}
	return w.diagnose()
}

// hold reads the reply.
func (w *writeBack) hold(kind wire.ReplyKind) error {
	r := w.r
	reply := &r.x.sideReply
	reply.Start(r.conn.Wire, nil, kind, r.conn.Caps)
	stop := context.AfterFunc(r.ctx, r.conn.Kill)
	defer stop()
	var failed error
	for {
		event, err := reply.Next()
		if err == nil && event == wire.EventDone {
			if err = reply.Close(); err == nil {
				return failed
			}
		}
		if err == nil {
			var payload []byte
			if payload, err = reply.Payload(); err == nil && event == wire.EventInfile {
				err = reply.RefuseInfile(errPacket(errInfile))
			} else if err == nil && failed == nil {
				failed = w.holdPacket(event, payload)
			}
		}
		if err != nil {
			return r.conn.Failed(err)
		}
	}
}

// holdPacket keeps one packet of the reply.
func (w *writeBack) holdPacket(event wire.Event, payload []byte) error {
	p := heldPacket{event: event}
	switch event {
	case wire.EventERR:
		e, err := wire.ParseERR(payload)
		if err != nil {
			return err
		}
		return &evaluator.Error{ERR: e}
	case wire.EventColumnsEnd:
	case wire.EventOK, wire.EventResultEnd:
		end, err := parseEnd(payload, w.r.conn.Caps)
		if err != nil {
			return err
		}
		end.Info, end.Track = bytes.Clone(end.Info), nil
		w.held.end = end
	default:
		p.payload = bytes.Clone(payload)
		if err := w.took(len(payload)); err != nil {
			return err
		}
	}
	w.held.packets = append(w.held.packets, p)
	return nil
}

// parseEnd parses the packet that ends a reply.
func parseEnd(p []byte, caps wire.Capabilities) (wire.OK, error) {
	if len(p) == 5 && p[0] == 0xfe {
		e, err := wire.ParseEOF(p)
		return wire.OK{EOF: true, Status: e.Status, Warnings: e.Warnings}, err
	}
	return wire.ParseOK(p, caps)
}

// took counts plaintext that is held until the rows are written.
func (w *writeBack) took(n int) error {
	if w.bytes += int64(n); w.bytes > w.r.spent.maxBytes {
		return newFault(codeTooLarge, "the statement writes or returns more than %d bytes, the limit of evaluator.max_bytes; "+
			"narrow it with a condition on a column that is not protected, such as owner or date", w.r.spent.maxBytes)
	}
	return nil
}

// failed gives the error with which the statement ended in the evaluator, without the values that its text quotes.
func (w *writeBack) failed(e *evaluator.Error) error {
	if storageFull(e.Code) {
		return e // see residual.present
	}
	f, ok := valueFault(e.ERR)
	if !ok {
		return e
	}
	about, err := w.warnings(0)
	if err != nil {
		return err
	}
	f.about = about
	return f
}

// diagnose asks what the client may ask for after the statement.
func (w *writeBack) diagnose() error {
	r := w.r
	result, err := r.conn.Query(r.ctx, "SELECT ROW_COUNT(),FOUND_ROWS()")
	if err != nil {
		return r.inside(err)
	}
	if len(result.Rows) != 1 || len(result.Rows[0]) != 2 {
		return errOrigin
	}
	w.held.rowCount, _ = strconv.ParseInt(string(result.Rows[0][0]), 10, 64)
	w.held.foundRows, _ = strconv.ParseUint(string(result.Rows[0][1]), 10, 64)
	if w.held.end.Warnings > 0 {
		w.held.warnings, err = w.warnings(int(w.held.end.Warnings))
	}
	return err
}

// warnings reads the evaluator's warnings; there were total of them, or as many as it gives.
func (w *writeBack) warnings(total int) (ownWarnings, error) {
	own := ownWarnings{total: total}
	err := w.r.conn.Each(w.r.ctx, "SHOW WARNINGS", func(row [][]byte) error {
		d, err := readDiagnosis(row)
		if err != nil {
			return err
		}
		d.message = withheld(wire.ERR{Code: d.code, Message: d.message}).Message
		own.list = append(own.list, d)
		return nil
	})
	own.total = max(own.total, len(own.list))
	return own, err
}

// answer gives the client what the evaluator said.
func (w *writeBack) answer() error {
	x := w.r.x
	w.counted()
	x.diagnostics.sideRan, x.diagnostics.rowCount = true, w.held.rowCount
	if !keepsFoundRows(w.r.st, w.r.plan.Kind) {
		x.diagnostics.saved, x.diagnostics.foundRows = true, w.held.foundRows
	}
	x.area = diagnosticsArea{merged: true, own: w.held.warnings}
	a := x.answerMore(w.r.more)
	for _, p := range w.held.packets {
		if err := w.answerPacket(a, p); err != nil {
			return err
		}
	}
	return x.client.Flush()
}

func (w *writeBack) answerPacket(a wire.Answer, p heldPacket) error {
	to := &a.To.Writer
	switch {
	case p.event == wire.EventColumnsEnd:
		return to.Packet(wire.EOF{Status: a.Status}.Append(nil))
	case p.event == wire.EventResultEnd && !a.Caps.Has(wire.CapDeprecateEOF):
		return to.Packet(wire.EOF{Status: a.Status, Warnings: w.held.end.Warnings}.Append(nil))
	case p.event == wire.EventOK, p.event == wire.EventResultEnd:
		end := w.held.end
		end.Status = a.Status
		return to.Packet(end.Append(nil, a.Caps))
	}
	return to.Packet(p.payload)
}

// wipe overwrites the plaintext that was held.
func (w *writeBack) wipe() {
	for _, p := range w.held.packets {
		clear(p.payload)
	}
	for _, t := range w.targets {
		for _, row := range slices.Concat(t.changed, t.added) {
			for _, v := range row.values {
				clear(v.value)
			}
		}
	}
}
