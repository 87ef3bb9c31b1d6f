package proxy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"latchkey/keystore"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// executor carries out the statements of one session: it plans each, seals its values, sends it to the backend and opens
// what comes back. It never forwards anything after an error of its own, and never gives a cell to the client as data.
//
// It belongs to the goroutine of its session. Its methods return only errors that end the session; every other error has
// then been sent to the client.
type executor struct {
	*session
	env *Protection
	ctx context.Context

	// raw says that the login sees cells and the physical schema.
	raw  bool
	keys keyset
	// ringUsed is when a statement last ran.
	ringUsed time.Time
	// converting is the conversion of the owners' rows in the background.
	converting ownerRun

	facts       facts
	diagnostics diagnostics
	area        diagnosticsArea
	// sealing says that a sealed statement has run, so that warnings may quote cells.
	sealing bool
	// tablesLocked says that LOCK TABLES is in force.
	tablesLocked bool
	// binary says that the rows of the running reply are those of the binary protocol.
	binary bool

	statement rewrite.Statement
	inner     rewrite.Statement
	request   request
	job       job
	named     map[string]*namedStatement
	// unplanned are the names of statements of SQL-level PREPARE that passed under SchemaConfig.Report and would not have else.
	unplanned map[string]struct{}
	prepared  preparedStatements
	kept      keptVariables
	sideReply wire.Reply
	// sideWarnings is how many warnings the last query of the proxy's own has had.
	sideWarnings uint16
	opener       opener
	// described are the column definitions of the statement at hand, where its plan asks for them.
	described [][]byte
	scratch   scratch
	// fat says that the buffers hold more than those of an idle session should.
	fat bool
}

// newExecutor makes the executor of a session that has just logged in for the first time.
func newExecutor(s *session, env *Protection) *executor {
	x := &executor{session: s, env: env, ctx: s.server.base}
	x.keys = keyset{ring: new(keystore.Keyring), services: env.Services, owners: s.server.owners, enrolls: len(env.KeyAccounts) > 0, ctx: s.server.base, now: env.now()}
	return x
}

// scratch is memory that is reused from statement to statement.
type scratch struct {
	out, canonical, cell, request, literal, weights, encoded []byte
	expanded                                                 []int32
	binds                                                    []bind
	fields                                                   []wire.Field
	params, bound                                            []wire.Param
}

// job is one statement of a COM_QUERY packet.
type job struct {
	st       *rewrite.Statement
	plan     *rewrite.Plan
	snapshot *Snapshot
	// from and to are where the statement lies in st.SQL().
	from, to int
	// whole says that the statement is all of the packet.
	whole bool
	// more says that other statements of the same packet follow.
	more bool
}

// request is one COM_QUERY.
type request struct {
	packet wire.Packet
	// secret says that the packet may hold a key or a password, and is wiped behind it.
	secret bool
	// owned says that the packet is a copy: the client's own is gone once more is read from the client.
	owned bool
}

// query carries out COM_QUERY.
func (x *executor) query(p wire.Packet) error {
	x.begin()
	defer x.rest()
	x.request = request{packet: p}
	defer x.wipe(p)
	for offset := 0; offset >= 0; {
		var err error
		if offset, err = x.statements(offset); err != nil {
			return err
		}
	}
	return nil
}

// wipe overwrites a request that held a key, where it was read and where it was copied.
func (x *executor) wipe(p wire.Packet) {
	if x.request.secret {
		clear(x.request.packet.Payload)
		if !x.request.owned {
			clear(p.Payload)
		}
	}
	x.request = request{}
}

// statements carries out the statements of the request from offset on and returns where to go on: the statements behind
// one that changed the session's facts have to be read again under the new ones. -1 says that the request is done.
func (x *executor) statements(offset int) (int, error) {
	text := x.request.packet.Payload[1+offset:]
	st := &x.statement
	err := st.Scan(text, &x.facts.Facts)
	parts := 1
	if err == nil {
		parts, err = st.Split(&x.facts.Facts)
	}
	if err != nil {
		if again, err := x.refreshStale(); again || err != nil {
			return x.again(offset, err)
		}
		return -1, x.unscanned(text, offset)
	}
	version, next := x.facts.version, 0
	for i, from := 0, 0; i < parts; i++ {
		j := &x.job
		*j = job{st: st.Part(i), from: from, to: len(text), more: i < parts-1, whole: parts == 1 && offset == 0}
		next += j.st.Len() + 1
		behind := len(text)
		if j.more {
			semicolon := st.Token(next - 1)
			j.to, behind = int(semicolon.Start), int(semicolon.End)
		}
		again, ok, err := x.run(j)
		if j.plan != nil && (j.plan.Push != nil || j.plan.Call != nil) {
			x.request.secret = true
		}
		switch {
		case err != nil:
			return -1, err
		case again:
			return offset + from, nil
		case !ok:
			return -1, nil
		}
		if j.more && x.facts.version != version {
			return offset + behind, nil
		}
		from = behind
	}
	return -1, nil
}

// again is for statements: it goes on at offset unless err could not be told to the client.
func (x *executor) again(offset int, err error) (int, error) {
	if err != nil {
		return -1, x.refuse(err)
	}
	return offset, nil
}

// refreshStale reads the facts if they are stale, and tells whether it did.
func (x *executor) refreshStale() (bool, error) {
	if !x.facts.stale && !x.facts.staleDatabase {
		return false, nil
	}
	return true, x.refresh()
}

// unscanned is for text that cannot be cut into statements: the planner says whether the backend may see it.
func (x *executor) unscanned(text []byte, offset int) error {
	snapshot, err := x.snapshot()
	if err != nil {
		return x.refuse(err)
	}
	if holdsKeyText(text) {
		return x.refuse(errKeyLiteral)
	}
	if len(x.kept.byName) > 0 && bytes.IndexByte(text, '@') >= 0 {
		return x.refuse(errDynamicVariable)
	}
	plan, err := snapshot.Planner.Unscanned(text, &x.facts.Facts)
	if err != nil {
		return x.refuse(err)
	}
	x.countClass(classPass)
	j := job{st: &x.statement, plan: plan, snapshot: snapshot, to: len(text), whole: offset == 0}
	_, err = x.pass(&j)
	return err
}

// run carries out one statement. again says that nothing was done but reading the facts: the statement has to be read under
// the new ones. ok says that the statement succeeded.
func (x *executor) run(j *job) (again, ok bool, err error) {
	if x.facts.stale && j.st.ModeDependent() {
		return x.refreshAndAgain()
	}
	if j.snapshot, err = x.snapshot(); err != nil {
		return false, false, x.refuse(err)
	}
	j.plan, err = x.plan(j.st, &x.facts.Facts, j.snapshot)
	if x.planNeedsFacts(j.plan, err) {
		return x.refreshAndAgain()
	}
	if err != nil {
		x.report(j.st, &x.facts.Facts, j.snapshot)
		return false, false, x.refuse(err)
	}
	if err := x.checkLiterals(j.st, j.plan); err != nil {
		return false, false, x.refuse(err)
	}
	if err := checkNames(j.st, j.from, j.to); err != nil {
		return false, false, x.refuse(err)
	}
	if j.plan.Effects&rewrite.LocalInfile != 0 && !x.request.owned {
		// The file comes through the buffer that holds the statement.
		x.request.packet = wire.Packet{Payload: bytes.Clone(x.request.packet.Payload), Seq: x.request.packet.Seq}
		x.request.owned = true
		return true, false, nil
	}
	x.report(j.st, &x.facts.Facts, j.snapshot)
	ok, err = x.carryOut(j)
	return false, ok, err
}

// refreshAndAgain reads the facts so that the statement can be read under them.
func (x *executor) refreshAndAgain() (again, ok bool, err error) {
	if err := x.refresh(); err != nil {
		return false, false, x.refuse(err)
	}
	return true, false, nil
}

// planNeedsFacts tells whether a plan made under stale facts cannot be relied on. Statements that touch nothing protected
// can: their text reads the same under all facts. But which tables they name depends on the current database.
func (x *executor) planNeedsFacts(plan *rewrite.Plan, err error) bool {
	switch {
	case !x.facts.stale && !x.facts.staleDatabase:
		return false
	case err != nil:
		return true
	case plan.Prepare != nil || plan.Execute != nil:
		return true
	case plan.Call != nil && len(plan.Call.Args) > 0:
		return true // arguments are text in the session's character set
	case plan.Class == rewrite.Local || plan.Effects&rewrite.Diagnostics != 0 && plan.Class == rewrite.Pass && !plan.Touches:
		return false
	}
	return x.facts.staleDatabase || plan.Class != rewrite.Pass || plan.Touches
}

// carryOut does what the plan says.
func (x *executor) carryOut(j *job) (ok bool, err error) {
	if j.plan.Class == rewrite.Local {
		x.countClass(classLocal)
		return x.local(j)
	}
	if j.plan.Class != rewrite.Residual {
		if err := x.restoreDiagnostics(j.st); err != nil {
			return false, x.refuse(err)
		}
	}
	if answered, err := x.restoreWarnings(j.st, j.plan, false, j.more); answered || err != nil {
		if err != nil {
			err = x.refuse(err)
		}
		return answered, err
	}
	if j.plan.Prepare != nil || j.plan.Execute != nil {
		return x.dynamic(j)
	}
	switch j.plan.Class {
	case rewrite.Pass:
		x.countClass(classPass)
		return x.pass(j)
	case rewrite.Residual:
		x.countClass(classResidual)
		return x.residual(j)
	}
	x.countClass(classSealed)
	return x.sealed(j)
}

// pass sends the statement as it is and relays the reply.
func (x *executor) pass(j *job) (ok bool, err error) {
	if j.whole {
		err = x.forward(x.request.packet)
	} else {
		err = x.sendQuery(j.st.SQL()[j.from:j.to])
	}
	if err != nil {
		return false, err
	}
	return x.relayQuery(j, nil)
}

// sendQuery sends text to the backend as COM_QUERY.
func (x *executor) sendQuery(text []byte) error {
	x.scratch.request = append(append(x.scratch.request[:0], byte(wire.ComQuery)), text...)
	return x.send(x.scratch.request)
}

// sealed renders the statement, sends it and opens what comes back.
func (x *executor) sealed(j *job) (ok bool, err error) {
	if err := x.meets(j.st, j.plan); err != nil {
		return false, x.refuse(err)
	}
	push, err := x.openPush(j)
	if err != nil {
		return false, x.refuse(err)
	}
	defer push.drop()
	if err := x.describeJob(j); err != nil {
		return false, x.refuse(err)
	}
	text, err := x.renderQuery(j)
	if plan := x.finishInstead(err, j.st, &x.facts.Facts, j.snapshot); plan != nil {
		j.plan = plan
		return x.residual(j)
	}
	if err != nil {
		return false, x.refuse(err)
	}
	x.sealing = true
	if err := x.sendQuery(text); err != nil {
		return false, err
	}
	ok, err = x.relayQuery(j, x.newOpener(j.st, j.plan, j.snapshot, false))
	if ok && err == nil {
		push.apply(x)
	}
	return ok, err
}

// finishInstead gives the plan by which the evaluator finishes a statement that could not be rendered because it searches for a value
// without a tag; nil where that is not so, or not possible.
func (x *executor) finishInstead(err error, st *rewrite.Statement, f *rewrite.Facts, snapshot *Snapshot) *rewrite.Plan {
	var unsearchable *unsearchableError
	if x.env.Evaluator == nil || !errors.As(err, &unsearchable) {
		return nil
	}
	plan, err := snapshot.Planner.PlanFinished(st, f, x.kept.names)
	if err != nil {
		return nil
	}
	return plan
}

// renderQuery writes the text that carries out a sealed statement. What it reads first, it reads on the same backend
// connection. The text is valid until the next call.
func (x *executor) renderQuery(j *job) ([]byte, error) {
	if err := x.keys.writable(j.plan.Writes); err != nil {
		return nil, err
	}
	if j.st.Params() > 0 {
		return nil, errMarker
	}
	away, err := x.settle(j.st, j.plan)
	if err != nil {
		return nil, err
	}
	r := x.newRenderer(renderText, j.st, j.plan, nil)
	defer x.keep(r)
	r.away = away
	err = x.resolved(r, j.snapshot, func(gather bool) error {
		if j.plan.Before != nil {
			old, err := x.readBefore(r, gather)
			if err != nil {
				return err
			}
			r.old = old
			r.out = r.out[:0]
		}
		return r.statement(j.from, j.to)
	})
	if err != nil {
		return nil, err
	}
	if err := x.expectWarnings(r); err != nil {
		return nil, err
	}
	return r.out, x.fits(len(r.out))
}

// errMarker is MariaDB's answer to a parameter marker in COM_QUERY.
var errMarker = &fault{code: 1064, state: "42000", message: "You have an error in your SQL syntax; a parameter marker can only stand in a prepared statement"}

// fits refuses a request that the backend would answer by closing the connection.
func (x *executor) fits(length int) error {
	if x.facts.maxPacket > 0 && length+1 > x.facts.maxPacket {
		return &fault{code: codePacketTooLarge, state: "08S01", message: "Got a packet bigger than 'max_allowed_packet' bytes (the sealed statement is longer than the one that was sent)"}
	}
	return nil
}

// newRenderer makes a renderer over the session's memory; keep gives the memory back.
func (x *executor) newRenderer(mode renderMode, st *rewrite.Statement, plan *rewrite.Plan, params []wire.Param) *renderer {
	return &renderer{
		mode: mode, plan: plan, st: st, conv: &x.facts.conv, mac: x.env.SchemaMAC, at: nowhere,
		vals:   &values{st: st, params: params, buffer: x.scratch.literal},
		sealer: &sealer{keys: &x.keys, weights: x.scratch.weights},
		out:    x.scratch.out[:0], binds: x.scratch.binds[:0],
		canonical: x.scratch.canonical, cell: x.scratch.cell[:0], expanded: x.scratch.expanded,
	}
}

func (x *executor) keep(r *renderer) {
	x.scratch.out, x.scratch.canonical, x.scratch.cell = r.out[:0], r.canonical, r.cell
	x.scratch.expanded, x.scratch.binds = r.expanded, r.binds[:0]
	clear(r.vals.buffer[:cap(r.vals.buffer)])
	r.conversion.wipe()
	r.sealer.forgetKnown()
	x.scratch.literal, x.scratch.weights = r.vals.buffer, r.sealer.weights
	x.server.metrics.cellsSealed.Add(float64(r.sealer.sealed))
}

const (
	// restSize is the most memory in bytes that a buffer of an idle session keeps; busySize is that of one whose requests
	// follow each other, which would otherwise allocate the same memory for every batch of rows.
	restSize = 8 << 10
	busySize = 256 << 10
)

// rest gives up memory that an unusual request needed. Memory that the next request may well need again stays until the
// session idles; see session.next.
func (x *executor) rest() {
	x.lockVariables()
	x.fat = x.shrink(busySize)
}

// idle gives up what rest has kept.
func (x *executor) idle() { x.fat = x.shrink(restSize) }

// shrink gives up buffers of more than limit bytes and tells whether one of more than restSize stays.
func (x *executor) shrink(limit int) (fat bool) {
	for _, b := range []*[]byte{&x.scratch.out, &x.scratch.canonical, &x.scratch.cell, &x.scratch.request, &x.scratch.literal, &x.scratch.weights, &x.scratch.encoded,
		&x.opener.values, &x.opener.canonical, &x.opener.head} {
		if cap(*b) > limit {
			*b = nil
		}
		fat = fat || cap(*b) > restSize
	}
	for _, st := range []*rewrite.Statement{&x.statement, &x.inner} {
		if len(st.SQL()) > limit {
			*st = rewrite.Statement{}
		}
		fat = fat || len(st.SQL()) > restSize
	}
	if cap(x.scratch.binds) > limit/16 {
		x.scratch.binds = nil
	}
	if cap(x.scratch.expanded) > limit/4 {
		x.scratch.expanded = nil
	}
	for _, p := range []*[]wire.Param{&x.scratch.params, &x.scratch.bound} {
		if cap(*p) > limit/64 {
			*p = nil
		}
		fat = fat || cap(*p) > restSize/64
	}
	return fat || cap(x.scratch.binds) > restSize/16 || cap(x.scratch.expanded) > restSize/4
}

// newOpener prepares the session's opener for the reply to a sealed statement.
func (x *executor) newOpener(st *rewrite.Statement, plan *rewrite.Plan, snapshot *Snapshot, binary bool) *opener {
	o := &x.opener
	o.keys, o.conv, o.schema, o.caps, o.binary = &x.keys, &x.facts.conv, snapshot.Schema, x.caps, binary
	o.outputs, o.names, o.shown, o.mode, o.described, o.preparing = nil, nil, plan.Shown, x.facts.Mode, nil, false
	if plan.Describe {
		o.described = x.described
	}
	if plan.Opens {
		o.outputs, o.names = plan.Outputs, outputNames(st, plan.Outputs)
	}
	o.computed = &computed{x: x, st: st, plan: plan, snapshot: snapshot}
	return o
}

// maxColumnName is how many bytes of an expression MariaDB takes for its name.
const maxColumnName = 255

// outputNames gives the names of the result columns that are renamed; nil when none is.
func outputNames(st *rewrite.Statement, outputs []rewrite.Output) []string {
	var names []string
	for i := range outputs {
		o := &outputs[i]
		if !o.Rename || o.NameFrom >= st.CollapsedLen() || o.NameTo >= st.CollapsedLen() {
			continue
		}
		if names == nil {
			names = make([]string, len(outputs))
		}
		name := st.Span(st.Real(o.NameFrom), st.Real(o.NameTo))
		names[i] = string(name[:min(len(name), maxColumnName)])
	}
	return names
}

// relayQuery relays the reply to COM_QUERY, through o where it is not nil.
func (x *executor) relayQuery(j *job, o *opener) (ok bool, err error) {
	x.reply.Start(x.backend, x.client, wire.ReplyQuery, x.caps)
	x.reply.More = j.more
	x.binary = false
	if o != nil || endsWarnings(j.plan) {
		x.area.begin()
	}
	ok, err = x.relay(j.plan, o, x.scrubsRows(j.plan))
	if err != nil {
		return false, err
	}
	x.after(j.st, j.plan, ok)
	return ok, nil
}

// relay relays the reply that x.reply was started with. o opens result columns; it is nil for statements that touch
// nothing protected. ok is false when the reply ended with an error.
func (x *executor) relay(plan *rewrite.Plan, o *opener, scrub bool) (ok bool, err error) {
	r := &x.reply
	ok = true
	if o != nil {
		defer func() {
			o.finish()
			x.count(o)
		}()
	}
	event, err := r.Next()
	for {
		if err != nil {
			return false, err
		}
		switch event {
		case wire.EventDone:
			return ok && !r.Aborted(), r.Close()
		case wire.EventERR:
			ok = false
			err = x.relayError(plan, o != nil)
		case wire.EventOK, wire.EventResultEnd, wire.EventColumnsEnd:
			if err = x.sawEnd(event); err == nil && o != nil {
				err = x.patchWarnings(event)
			}
			if err == nil && o != nil && !r.Aborted() {
				err = o.relay(r, event)
			}
		case wire.EventInfile:
			err = x.infileFor(plan)
		default:
			if o != nil && !r.Aborted() {
				err = o.relay(r, event)
			}
		}
		if err != nil {
			if err = x.abort(err); err != nil {
				return false, err
			}
		}
		event, err = x.nextEvent(event, o, scrub)
	}
}

// nextEvent moves on in the reply; rows that nobody has to look at pass at once.
func (x *executor) nextEvent(event wire.Event, o *opener, scrub bool) (wire.Event, error) {
	r := &x.reply
	switch {
	case scrub && event == wire.EventRow && !r.Aborted():
		if err := x.scrubRow(); err != nil {
			return 0, err
		}
	case event == wire.EventRow && (r.Aborted() || o == nil || !o.opens):
		return r.PassRows()
	}
	return r.Next()
}

// abort puts an ERR packet in place of what could not be given to the client. Errors of a connection are returned.
func (x *executor) abort(err error) error {
	if fatal(err) {
		return err
	}
	return x.reply.Abort(x.errorPacket(err))
}

// infileFor lets the client send a file if the statement was understood as LOAD DATA LOCAL.
func (x *executor) infileFor(plan *rewrite.Plan) error {
	x.infileAllowed = plan != nil && plan.Effects&rewrite.LocalInfile != 0
	defer func() { x.infileAllowed = false }()
	return x.infile(&x.reply)
}

// begin is called before every request whose text or values matter: it takes over what other requests have changed.
func (x *executor) begin() {
	x.expireKeys()
	x.facts.MultiStatements = x.multiStatements
	x.facts.setDatabase(x.database)
	x.facts.sawStatus(x.session.status)
}

// sawEnd takes from an OK or EOF packet what it says about the session.
func (x *executor) sawEnd(event wire.Event) error {
	if event == wire.EventColumnsEnd {
		return nil
	}
	before := x.database
	if err := x.observe(&x.reply); err != nil {
		return err
	}
	if x.session.status.Has(wire.StatusDBDropped) {
		x.database = ""
	}
	if x.database != before {
		x.facts.setDatabase(x.database)
		x.facts.staleDatabase = false
	}
	x.facts.sawStatus(x.session.status)
	return nil
}

// after takes over what the statement changed for those after it.
func (x *executor) after(st *rewrite.Statement, plan *rewrite.Plan, ok bool) {
	x.diagnostics.ran(st, plan.Kind)
	x.variablesPassed(st, plan)
	if plan.Effects&rewrite.StaleFacts != 0 {
		// SET changes no current database, except by SET STATEMENT ... FOR another statement.
		x.facts.markStale(plan.Kind != "SET" || st.Is(1, rewrite.KwStatement))
	}
	if plan.Effects&rewrite.ChangesDatabase != 0 && ok {
		x.usedDatabase(st)
	}
	if plan.Effects&rewrite.ChangesSchema != 0 {
		x.env.Schema.Invalidate()
	}
	if ok {
		x.followed(st, plan)
	}
}

// usedDatabase records the database of a USE that succeeded.
func (x *executor) usedDatabase(st *rewrite.Statement) {
	name := ""
	if st.Len() == 2 {
		name = st.Name(1)
	}
	if name == "" {
		x.facts.markStale(true)
		return
	}
	x.database = name
	x.facts.setDatabase(name)
	x.facts.staleDatabase = false
}

// refuse tells the client of an error in place of a reply. Errors of a connection are returned.
func (x *executor) refuse(err error) error {
	if fatal(err) {
		return err
	}
	x.countClass(classRefused)
	// Nobody knows what was meant: it may be a call of unlock with a quote too few.
	x.request.secret = true
	var backend *backendError
	if err = x.present(err); !errors.As(err, &backend) {
		x.failedAbout(errPacket(err), aboutError(err))
		return x.session.refuse(err)
	}
	x.failedBy(backend)
	if err := x.answer().ERR(backend.ERR); err != nil {
		return err
	}
	return x.client.Flush()
}

// present turns what only the executor knows into what clients may see.
func (x *executor) present(err error) error {
	switch {
	case errors.Is(err, errOrigin):
		x.env.Schema.Invalidate()
	case errors.Is(err, ErrSchemaUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newFault(codeNotUnderstood, "%s", ErrSchemaUnavailable)
	}
	return err
}

// failedBy notes an error of a server.
func (x *executor) failedBy(e *backendError) {
	if e.private {
		x.failedPrivately(e.ERR)
	} else {
		x.failed(e.ERR)
	}
}

// errorPacket turns an error into the ERR packet that ends a reply which has begun.
func (x *executor) errorPacket(err error) wire.ERR {
	err = x.present(err)
	var backend *backendError
	if errors.As(err, &backend) {
		x.failedBy(backend)
		return backend.ERR
	}
	e := errPacket(err)
	x.failedAbout(e, aboutError(err))
	x.server.metrics.refused(e.Code)
	return e
}

func (x *executor) countClass(class statementClass) { x.server.metrics.statements[class].Inc() }
