package proxy

import (
	"bytes"
	"fmt"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

const (
	// maxStatements bounds the prepared statements of a session: max_prepared_stmt_count's default, which bounds those of a
	// whole server. https://mariadb.com/kb/en/server-system-variables/#max_prepared_stmt_count
	maxStatements = 16382
	// maxVariants bounds how many texts of one statement are kept prepared.
	maxVariants = 4
	// firstVirtual is the first id of statements that only the proxy knows. The backend counts from 1.
	firstVirtual uint32 = 1 << 31
)

// preparedStatements are the statements of COM_STMT_PREPARE of one session, by the id that the client knows.
type preparedStatements struct {
	byID map[uint32]*preparedStatement
	// last is the statement that wire.LastStatement means, nil when the last COM_STMT_PREPARE failed.
	last    *preparedStatement
	virtual uint32
}

// preparedStatement is one prepared statement of the client's. What the backend has prepared in its place depends on the
// keyring and on which values are NULL, so there may be several variants of it.
type preparedStatement struct {
	id uint32
	// st is the client's text as it was read when it was prepared, under facts and charset.
	st      rewrite.Statement
	facts   rewrite.Facts
	charset string
	plan    *rewrite.Plan
	epoch   uint64
	// kept is what keptVariables.list was.
	kept   string
	params int
	// types are those of the last execution that carried any.
	types []wire.ParamType
	// long has what COM_STMT_SEND_LONG_DATA sent for each parameter since the last execution; nil when nothing was sent.
	long []*longValue

	// variants are in the order of their last use, the last used at the end.
	variants []*variant
	// described are the column definitions that the client's own text has, where the plan asks for them.
	described [][]byte
	// running is the variant of the last execution.
	running *variant
	// cursor opens the rows of an open cursor; nil when none are opened.
	cursor *opener
}

// variant is a text that the backend has prepared.
type variant struct {
	id   uint32
	text string
}

// longValue is a parameter's value that came in pieces.
type longValue struct {
	// data is all of it for sealed statements, and the beginning for those whose pieces went on to the backend.
	data  []byte
	total int
}

// append adds a piece, and leaves no copy behind where that moves the value.
func (v *longValue) append(piece []byte) {
	if len(v.data)+len(piece) > cap(v.data) {
		bigger := append(make([]byte, 0, 2*(len(v.data)+len(piece))), v.data...)
		clear(v.data)
		v.data = bigger
	}
	v.data = append(v.data, piece...)
}

// longHead is how much of a parameter that passes is kept to see whether it is a key.
const longHead = 2048

// namesVariables tells whether a statement names user variables, of which the proxy may keep some.
func namesVariables(st *rewrite.Statement) bool {
	for i := range st.Tokens() {
		if st.Token(i).Kind == rewrite.TokUserVar {
			return true
		}
	}
	return false
}

// local tells whether the backend knows nothing of the statement.
func (s *preparedStatement) local() bool { return s.plan.Class == rewrite.Local }

// secret tells whether the statement's text or its parameters may hold a key or a password.
func (s *preparedStatement) secret() bool { return s.local() || s.plan.Push != nil }

// wipe overwrites what a statement that is no longer known has of secrets.
func (s *preparedStatement) wipe() {
	s.dropLong()
	if s.secret() {
		clear(s.st.SQL())
	}
}

// passes tells whether the backend runs the statement as the client sent it.
func (s *preparedStatement) passes() bool { return s.plan.Class == rewrite.Pass }

// finished tells whether the evaluator finishes the statement, of which the backend knows nothing.
func (s *preparedStatement) finished() bool { return s.plan.Class == rewrite.Residual }

// prepare answers COM_STMT_PREPARE.
func (x *executor) prepare(p wire.Packet) error {
	x.prepared.last = nil
	if len(x.prepared.byID) >= maxStatements {
		return x.refuse(&fault{code: 1461, state: "42000", message: fmt.Sprintf("Can't create more than max_prepared_stmt_count statements (current value: %d)", maxStatements)})
	}
	x.begin()
	s := &preparedStatement{}
	text := bytes.Clone(p.Payload[1:])
	snapshot, err := x.planPrepared(s, text)
	if err != nil {
		clear(text)
		clear(p.Payload)
		return x.refuse(err)
	}
	if s.secret() {
		defer clear(p.Payload)
	}
	switch {
	case s.local():
		x.prepared.virtual++
		s.id = firstVirtual + x.prepared.virtual
		if err := x.answer().Prepared(s.id, s.params, nil); err != nil {
			return err
		}
		x.prepared.add(s)
		return x.client.Flush()
	case s.passes():
		return x.preparePass(s, p)
	case s.finished():
		return x.prepareResidual(s)
	}
	return x.prepareSealed(s, snapshot)
}

func (p *preparedStatements) add(s *preparedStatement) {
	if p.byID == nil {
		p.byID = make(map[uint32]*preparedStatement)
	}
	p.byID[s.id] = s
	p.last = s
}

// planPrepared reads and plans the text of a statement, under facts that are up to date where they matter.
func (x *executor) planPrepared(s *preparedStatement, text []byte) (*Snapshot, error) {
	for {
		snapshot, err := x.snapshot()
		if err != nil {
			return nil, err
		}
		again, err := x.planOnce(s, text, snapshot)
		if !again {
			return snapshot, err
		}
		if err := x.refresh(); err != nil {
			return nil, err
		}
	}
}

// planOnce reads and plans the text under the facts at hand. again says that they have to be read first.
func (x *executor) planOnce(s *preparedStatement, text []byte, snapshot *Snapshot) (again bool, err error) {
	stale := x.facts.stale || x.facts.staleDatabase
	s.facts, s.charset, s.epoch = x.facts.Facts, x.facts.conv.ClientCharset, snapshot.Epoch()
	s.facts.MultiStatements = false // COM_STMT_PREPARE takes one statement
	if err := s.st.Scan(text, &s.facts); err != nil {
		if stale {
			return true, nil
		}
		if holdsKeyText(text) {
			return false, errKeyLiteral
		}
		s.plan, err = snapshot.Planner.Unscanned(text, &s.facts)
		return false, err
	}
	if x.facts.stale && s.st.ModeDependent() {
		return true, nil
	}
	s.plan, err = x.plan(&s.st, &s.facts, snapshot)
	s.kept = x.kept.list
	if x.planNeedsFacts(s.plan, err) {
		return true, nil
	}
	if err != nil {
		x.report(&s.st, &s.facts, snapshot)
		return false, err
	}
	s.params = s.st.Params()
	if err := x.checkLiterals(&s.st, s.plan); err != nil {
		return false, err
	}
	if err := checkNames(&s.st, 0, len(text)); err != nil {
		return false, err
	}
	return false, x.checkDynamic(s, snapshot)
}

// checkDynamic refuses SQL-level PREPARE and EXECUTE of sealed statements as prepared statements of the protocol.
func (x *executor) checkDynamic(s *preparedStatement, snapshot *Snapshot) error {
	refusal := newFault(codeNotUnderstood, "SQL-level PREPARE and EXECUTE over protected columns cannot be prepared themselves; send them as text")
	if e := s.plan.Execute; e != nil && !e.Deallocate {
		// What the name means when it runs is not known now.
		return refusal
	}
	if s.plan.Prepare == nil {
		return nil
	}
	lit, err := s.st.Literal(s.st.Real(s.plan.Prepare.Text.Token))
	if err != nil {
		return errOperand
	}
	inner, err := x.planInner(&job{st: &s.st, plan: s.plan, snapshot: snapshot}, lit.Bytes)
	if err != nil {
		return err
	}
	if inner.plan.Class != rewrite.Pass || inner.plan.Touches || namesVariables(inner.st) {
		return refusal
	}
	return nil
}

// preparePass sends the client's text on.
func (x *executor) preparePass(s *preparedStatement, p wire.Packet) error {
	if err := x.forward(p); err != nil {
		return err
	}
	x.reply.Start(x.backend, x.client, wire.ReplyPrepare, x.caps)
	for {
		event, err := x.reply.Next()
		if err != nil {
			return err
		}
		switch event {
		case wire.EventPrepareOK:
			s.id = x.reply.Prepared.Statement
			s.params = int(x.reply.Prepared.Params)
		case wire.EventERR:
			s = nil
		case wire.EventDone:
			if s != nil {
				s.variants = []*variant{{id: s.id}}
				s.running = s.variants[0]
				x.prepared.add(s)
			}
			return x.reply.Close()
		}
	}
}

// prepareSealed prepares the rewritten text, with as many ranges as the keyring has keys, and answers as if it were the
// client's.
func (x *executor) prepareSealed(s *preparedStatement, snapshot *Snapshot) error {
	r := x.newRenderer(renderUnbound, &s.st, s.plan, nil)
	defer x.keep(r)
	if err := r.statement(0, len(s.st.SQL())); err != nil {
		return x.refuse(err)
	}
	if s.plan.Describe {
		var err error
		if s.described, err = x.describe(s.st.SQL()); err != nil {
			return x.refuse(err)
		}
	}
	x.described = s.described
	o := x.newOpener(&s.st, s.plan, snapshot, true)
	o.preparing = true
	v, head, err := x.prepareVariant(string(r.out), len(r.binds), o)
	if err != nil {
		return x.refuse(err)
	}
	if err := x.prepareShown(s.st.SQL(), o); err != nil {
		x.closeVariant(v)
		return x.refuse(err)
	}
	x.sealing = true
	s.id, s.variants, s.running = v.id, []*variant{v}, v
	x.prepared.add(s)
	return x.answerPrepared(s, head, o)
}

// prepareVariant has the backend prepare a text. o checks and changes the column definitions; nil where they do not matter.
func (x *executor) prepareVariant(text string, binds int, o *opener) (*variant, wire.PrepareOK, error) {
	if err := x.fits(len(text)); err != nil {
		return nil, wire.PrepareOK{}, err
	}
	x.scratch.request = append(append(x.scratch.request[:0], byte(wire.ComStmtPrepare)), text...)
	if err := x.send(x.scratch.request); err != nil {
		return nil, wire.PrepareOK{}, err
	}
	v := &variant{text: text}
	head, err := x.readPrepared(o)
	if err != nil {
		return nil, head, err
	}
	v.id = head.Statement
	if int(head.Params) != binds {
		x.closeVariant(v)
		return nil, head, errOperand
	}
	return v, head, nil
}

// readPrepared reads the reply to a COM_STMT_PREPARE of the proxy's own.
func (x *executor) readPrepared(o *opener) (head wire.PrepareOK, err error) {
	r := &x.sideReply
	r.Start(x.backend, nil, wire.ReplyPrepare, x.caps)
	var failed error
	for {
		event, err := r.Next()
		if err != nil {
			return head, err
		}
		if event == wire.EventDone {
			if err := r.Close(); err != nil {
				return head, err
			}
			break
		}
		payload, err := r.Payload()
		if err != nil {
			return head, err
		}
		if failed == nil {
			failed = x.preparedEvent(event, payload, &head, o)
		}
	}
	if failed != nil && head.Statement != 0 {
		x.closeVariant(&variant{id: head.Statement})
	}
	return head, failed
}

func (x *executor) preparedEvent(event wire.Event, payload []byte, head *wire.PrepareOK, o *opener) error {
	switch event {
	case wire.EventERR:
		e, err := wire.ParseERR(payload)
		if err != nil {
			return err
		}
		return &backendError{ERR: scrubError(e)}
	case wire.EventPrepareOK:
		*head = x.sideReply.Prepared
		if o != nil && head.Columns > 0 {
			return o.start(int(head.Columns))
		}
	case wire.EventColumn:
		if o == nil {
			return nil
		}
		var err error
		if o.head, err = o.define(o.head, len(o.types), payload); err != nil {
			return err
		}
		o.ends = append(o.ends, len(o.head))
	}
	return nil
}

// closeVariant has the backend forget a prepared statement. There is no reply, and nothing is written before the next
// request.
func (x *executor) closeVariant(v *variant) {
	payload := [5]byte{byte(wire.ComStmtClose)}
	wire.SetStatement(payload[:], v.id)
	x.backend.Seq = 0
	_ = x.backend.Packet(payload[:]) // a failed write fails the next one too
}

// answerPrepared answers COM_STMT_PREPARE: the client's own parameters, and the declared columns that o has collected.
func (x *executor) answerPrepared(s *preparedStatement, head wire.PrepareOK, o *opener) error {
	w := &x.client.Writer
	eof := wire.EOF{Status: x.answer().Status}.Append(nil)
	old := !x.caps.Has(wire.CapDeprecateEOF)
	head.Statement, head.Params = s.id, uint16(s.params)
	packets := [][]byte{head.Append(nil)}
	for range s.params {
		packets = append(packets, wire.ParamDefinition(nil, x.caps))
	}
	if s.params > 0 && old {
		packets = append(packets, eof)
	}
	if head.Columns > 0 {
		start := 0
		for _, end := range o.ends {
			packets = append(packets, o.head[start:end])
			start = end
		}
		if old {
			packets = append(packets, eof)
		}
	}
	for _, p := range packets {
		if err := w.Packet(p); err != nil {
			return err
		}
	}
	return w.Flush()
}

// statement finds the statement that a request names.
func (x *executor) preparedByID(id uint32, command string) (*preparedStatement, error) {
	s := x.prepared.byID[id]
	if id == wire.LastStatement {
		s, id = x.prepared.last, 0
	}
	if s == nil {
		return nil, &fault{code: 1243, state: "HY000", message: fmt.Sprintf("Unknown prepared statement handler (%d) given to %s", id, command)}
	}
	return s, nil
}

// execute answers COM_STMT_EXECUTE.
func (x *executor) execute(p wire.Packet) error {
	id, flags, err := wire.ParseExecuteHead(p.Payload)
	if err != nil {
		return x.refuse(err)
	}
	s, err := x.preparedByID(id, "mysqld_stmt_execute")
	if err != nil {
		return x.refuse(err)
	}
	defer s.dropLong()
	defer x.rest()
	x.begin()
	if s.secret() {
		defer clear(p.Payload[10:])
	}
	e, snapshot, err := x.parseExecute(s, p)
	if err != nil {
		if err == errKeyLiteral {
			clear(p.Payload[10:])
		}
		return x.refuse(err)
	}
	x.report(&s.st, &s.facts, snapshot)
	switch {
	case s.local():
		x.countClass(classLocal)
		return x.executeLocal(s, e)
	case s.passes():
		if err := x.restoreDiagnostics(&s.st); err != nil {
			return x.refuse(err)
		}
		if answered, err := x.restoreWarnings(&s.st, s.plan, true, false); answered || err != nil {
			if err != nil {
				err = x.refuse(err)
			}
			return err
		}
		x.countClass(classPass)
		return x.executePass(s, p, e, flags)
	case s.finished():
		x.countClass(classResidual)
		return x.executeResidual(s, e, snapshot)
	}
	x.countClass(classSealed)
	if err := x.executeSealed(s, e, snapshot); err != nil {
		return x.refuse(err)
	}
	return nil
}

// parseExecute reads the parameters and makes sure that the plan is one for the schema of now.
func (x *executor) parseExecute(s *preparedStatement, p wire.Packet) (*wire.Execute, *Snapshot, error) {
	snapshot, err := x.snapshot()
	if err != nil {
		return nil, nil, err
	}
	x.lockVariables()
	if snapshot.Epoch() != s.epoch || s.kept != x.kept.list && namesVariables(&s.st) || x.unsureVariables(&s.st) {
		if err := x.planAgain(s, snapshot); err != nil {
			return nil, nil, err
		}
	}
	e := &wire.Execute{Params: x.scratch.params[:0]}
	if err := wire.ParseExecute(p.Payload, s.params, s.types, s.longFlags(), e); err != nil {
		return nil, nil, err
	}
	x.scratch.params = e.Params[:0]
	if e.NewTypes {
		s.types = s.types[:0]
		for i := range e.Params {
			s.types = append(s.types, e.Params[i].ParamType)
		}
	}
	return e, snapshot, x.checkParams(s, e)
}

// planAgain plans a statement under a schema that has changed since. What the backend has prepared under another plan is
// not run any more; a variant of the new one takes its place.
func (x *executor) planAgain(s *preparedStatement, snapshot *Snapshot) error {
	was := s.plan
	plan, err := x.plan(&s.st, &s.facts, snapshot)
	if err != nil {
		return err
	}
	switch {
	case was.Class == rewrite.Local || plan.Class == rewrite.Local:
		if was.Class != plan.Class {
			return errOrigin
		}
	case plan.Class == rewrite.Pass && was.Class != rewrite.Pass:
		// The client's own text has to be prepared; as a variant it is found by an empty text.
		if err := x.preparePlain(s); err != nil {
			return err
		}
	}
	s.plan, s.epoch, s.kept, s.cursor = plan, snapshot.Epoch(), x.kept.list, nil
	return nil
}

// preparePlain makes the client's own text the last used variant.
func (x *executor) preparePlain(s *preparedStatement) error {
	v, _, err := x.prepareVariant(string(s.st.SQL()), s.params, nil)
	if err != nil {
		return err
	}
	v.text = ""
	s.use(x, v)
	return nil
}

// longFlags says which parameters came by COM_STMT_SEND_LONG_DATA.
func (s *preparedStatement) longFlags() []bool {
	if s.long == nil {
		return nil
	}
	flags := make([]bool, len(s.long))
	for i, l := range s.long {
		flags[i] = l != nil
	}
	return flags
}

// dropLong forgets the long data, as the server does after every execution.
func (s *preparedStatement) dropLong() {
	for _, l := range s.long {
		if l != nil {
			clear(l.data)
		}
	}
	s.long = nil
}

// checkParams refuses an execution of which a parameter is a key. The key of a push never reaches the backend.
func (x *executor) checkParams(s *preparedStatement, e *wire.Execute) error {
	if s.local() {
		return nil
	}
	pushed := -1
	if s.plan.Push != nil && s.plan.Push.Value.Kind == rewrite.ValueParam {
		pushed = s.st.ParamNumber(s.st.Real(s.plan.Push.Value.Token))
	}
	for i := range e.Params {
		p := &e.Params[i]
		if i == pushed {
			continue
		}
		if p.Long {
			if l := s.long[i]; l.total == len(l.data) && looksLikeSecret(l.data) {
				return errKeyLiteral
			}
			continue
		}
		if len(p.Value) >= minKeyLiteral && looksLikeSecret(p.Value) {
			return errKeyLiteral
		}
	}
	return nil
}

// executePass sends the request on, to the variant that is the client's own text, without what stands behind the last
// parameter.
func (x *executor) executePass(s *preparedStatement, p wire.Packet, e *wire.Execute, flags uint8) error {
	wire.SetStatement(p.Payload, s.running.id)
	var err error
	if e.Trailing > 0 {
		err = x.send(p.Payload[:len(p.Payload)-e.Trailing])
	} else {
		err = x.forward(p)
	}
	if err != nil {
		return err
	}
	x.reply.Start(x.backend, x.client, wire.ExecuteReply(flags), x.caps)
	x.binary = true
	if endsWarnings(s.plan) {
		x.area.begin()
	}
	ok, err := x.relay(s.plan, nil, x.scrubsRows(s.plan))
	if err != nil {
		return err
	}
	x.after(&s.st, s.plan, ok)
	return nil
}

// executeLocal runs a prepared key push or procedure call.
func (x *executor) executeLocal(s *preparedStatement, e *wire.Execute) error {
	x.fillLong(s, e)
	v := secretValues(&s.st, s.charset)
	v.params = e.Params
	if s.plan.Call != nil {
		if len(s.plan.Call.Args) > 0 && x.facts.stale {
			if err := x.refresh(); err != nil {
				return x.refuse(err)
			}
		}
		answer, err := x.call(s.plan.Call, v)
		if err != nil {
			return x.refuse(err)
		}
		// Behind the rows of a procedure comes an OK, which drivers that ask for a cursor rely on to see that there is none.
		// Others need not ask for it: the rows are all there is.
		cursor := wire.ExecuteReply(e.Flags) == wire.ReplyCursor
		if err := x.answerTable(answer, true, cursor); err != nil || !cursor {
			return err
		}
		return x.answerOK(false)
	}
	push, err := x.pushOf(v, &s.plan.Push.Value, s.pushToken())
	if err != nil {
		return x.refuse(err)
	}
	defer push.drop()
	push.apply(x)
	return x.answerOK(false)
}

// pushToken is the real token of the pushed value.
func (s *preparedStatement) pushToken() int {
	if s.plan.Push.Value.Kind == rewrite.ValueNull {
		return 0
	}
	return s.st.Real(s.plan.Push.Value.Token)
}

// fillLong puts the long data in the place of the parameters that it was sent for.
func (x *executor) fillLong(s *preparedStatement, e *wire.Execute) {
	for i := range e.Params {
		p := &e.Params[i]
		if !p.Long {
			continue
		}
		kind := p.ParamType
		*p, _ = wire.BytesParam(nil, s.long[i].data)
		p.ParamType = kind
	}
}

// executeSealed renders the statement for the values of this execution, sends it and opens what comes back.
func (x *executor) executeSealed(s *preparedStatement, e *wire.Execute, snapshot *Snapshot) error {
	if x.facts.stale || x.facts.staleDatabase {
		// Reading the facts overwrites nothing that e refers to: it came from the client.
		if err := x.refresh(); err != nil {
			return err
		}
	}
	if err := s.followStrictness(x, snapshot); err != nil {
		return err
	}
	for _, l := range s.long {
		if l != nil && l.total != len(l.data) {
			return errPacketTooLarge
		}
	}
	x.fillLong(s, e)
	if err := x.keys.writable(s.plan.Writes); err != nil {
		return err
	}
	if err := x.meets(&s.st, s.plan); err != nil {
		return err
	}
	push, err := x.preparedPush(s, e)
	if err != nil {
		return err
	}
	defer push.drop()
	request, v, err := x.renderExecute(s, e, snapshot)
	if plan := x.finishInstead(err, &s.st, &s.facts, snapshot); plan != nil {
		_, err := x.runResidual(&residual{x: x, st: &s.st, plan: plan, snapshot: snapshot, to: len(s.st.SQL()), execute: e, charset: s.charset})
		return err
	}
	if err != nil {
		return err
	}
	s.use(x, v)
	x.sealing = true
	if err := x.send(request); err != nil {
		return err
	}
	ok, err := x.relayExecute(s, snapshot, e.Flags)
	if ok && err == nil {
		push.apply(x)
	}
	return err
}

// followStrictness plans the statement again when sql_mode has become strict or lax: what MariaDB does with a value that
// does not fit is decided when the statement runs, all else of sql_mode when it is prepared.
func (s *preparedStatement) followStrictness(x *executor, snapshot *Snapshot) error {
	mode := s.facts.Mode&^rewrite.Strict | x.facts.Mode&rewrite.Strict
	if mode == s.facts.Mode {
		return nil
	}
	f := s.facts
	f.Mode = mode
	plan, err := x.plan(&s.st, &f, snapshot)
	if err != nil {
		return err
	}
	if plan.Class != s.plan.Class {
		return errOrigin
	}
	s.plan, s.facts = plan, f
	return nil
}

// preparedPush reads the key that an execution pushes beside what it forwards.
func (x *executor) preparedPush(s *preparedStatement, e *wire.Execute) (*push, error) {
	if s.plan.Push == nil {
		return nil, nil
	}
	v := secretValues(&s.st, s.charset)
	v.params = e.Params
	return x.pushOf(v, &s.plan.Push.Value, s.pushToken())
}

// renderExecute renders the statement, finds or prepares the variant for its text, and makes the request that executes it.
// The request is valid until the next one.
func (x *executor) renderExecute(s *preparedStatement, e *wire.Execute, snapshot *Snapshot) ([]byte, *variant, error) {
	away, err := x.settle(&s.st, s.plan)
	if err != nil {
		return nil, nil, err
	}
	r := x.newRenderer(renderBound, &s.st, s.plan, e.Params)
	r.away = away
	if s.charset != x.facts.conv.ClientCharset {
		r.vals.charset = s.charset
	}
	defer x.keep(r)
	err = x.resolved(r, snapshot, func(gather bool) error {
		if s.plan.Before != nil {
			b := before{x: x, r: r, run: func(r *renderer, row func(values [][]byte) error) error {
				return x.executeBefore(s, r, e, row)
			}, gather: gather}
			if gather && s.plan.Before.Owners == 0 {
				b.run = readNothing
			}
			old, err := b.read()
			if err != nil {
				return err
			}
			r.old = old
			b.restart()
		}
		return r.statement(0, len(s.st.SQL()))
	})
	if err != nil {
		return nil, nil, err
	}
	if err := x.expectWarnings(r); err != nil {
		return nil, nil, err
	}
	v, err := x.variantOf(s, r)
	if err != nil {
		return nil, nil, err
	}
	request := x.bindRequest(v, r.binds, e)
	return request, v, x.fits(len(request) - 1)
}

// bindRequest makes the request that executes v with the values of binds.
func (x *executor) bindRequest(v *variant, binds []bind, e *wire.Execute) []byte {
	bound := wire.Execute{Statement: v.id, Flags: e.Flags, Iterations: e.Iterations}
	bound.Params, x.scratch.encoded = appendParams(x.scratch.bound[:0], x.scratch.encoded[:0], binds, e.Params)
	x.scratch.bound = bound.Params[:0]
	x.scratch.request = bound.Append(x.scratch.request[:0])
	return x.scratch.request
}

// variantOf finds the variant that the backend has prepared for the text in r, or has it prepared.
func (x *executor) variantOf(s *preparedStatement, r *renderer) (*variant, error) {
	for _, v := range s.variants {
		if v.text == string(r.out) {
			return v, nil
		}
	}
	v, _, err := x.prepareVariant(string(r.out), len(r.binds), nil)
	return v, err
}

// use makes v the running variant and the last to be given up. The oldest is given up when there are too many; the one
// whose id the client knows stays, so that the backend never gives that id to another.
func (s *preparedStatement) use(x *executor, v *variant) {
	s.running, s.cursor = v, nil
	for i, known := range s.variants {
		if known == v {
			s.variants = append(append(s.variants[:i:i], s.variants[i+1:]...), v)
			return
		}
	}
	s.variants = append(s.variants, v)
	if len(s.variants) <= maxVariants {
		return
	}
	for i, old := range s.variants {
		if old.id != s.id && old != v {
			x.closeVariant(old)
			s.variants = append(s.variants[:i:i], s.variants[i+1:]...)
			return
		}
	}
}

// executeBefore runs the query of old cells that is in r as a prepared statement of its own, with the client's parameters as
// they came.
func (x *executor) executeBefore(s *preparedStatement, r *renderer, e *wire.Execute, row func(values [][]byte) error) error {
	v, err := x.variantOf(s, r)
	if err != nil {
		return err
	}
	running, cursor := s.running, s.cursor
	s.use(x, v)
	s.running, s.cursor = running, cursor
	side := *e
	side.Flags = 0
	request := x.bindRequest(v, r.binds, &side)
	if err := x.fits(len(request) - 1); err != nil {
		return err
	}
	return x.afterFoundRows(func() error { return x.send(request) }, func() error {
		return x.readSide(wire.ReplyExecute, nil, row)
	})
}

// relayExecute relays the reply to a sealed execution. The opener of a cursor stays with the statement.
func (x *executor) relayExecute(s *preparedStatement, snapshot *Snapshot, flags uint8) (ok bool, err error) {
	x.described = s.described
	o := x.newOpener(&s.st, s.plan, snapshot, true)
	kind := wire.ExecuteReply(flags)
	if kind == wire.ReplyCursor {
		own := opener{keys: o.keys, conv: o.conv, schema: o.schema, caps: o.caps, binary: true, outputs: o.outputs, names: o.names,
			shown: o.shown, mode: o.mode, described: o.described}
		o = &own
	}
	x.reply.Start(x.backend, x.client, kind, x.caps)
	x.binary = true
	x.area.begin()
	ok, err = x.relay(s.plan, o, false)
	if err != nil {
		return false, err
	}
	if ok && x.reply.Status.Has(wire.StatusCursorExists) {
		s.cursor = o
	}
	x.after(&s.st, s.plan, ok)
	return ok, nil
}

// fetch answers COM_STMT_FETCH.
func (x *executor) fetch(p wire.Packet) error {
	f, err := wire.ParseFetch(p.Payload)
	if err != nil {
		return x.refuse(err)
	}
	s, err := x.preparedByID(f.Statement, "mysqld_stmt_fetch")
	if err != nil {
		return x.refuse(err)
	}
	if s.local() {
		return x.refuse(&fault{code: 1421, state: "HY000", message: fmt.Sprintf("The statement (%d) has no open cursor.", f.Statement)})
	}
	if !s.passes() && s.cursor == nil || s.running == nil {
		return x.refuse(&fault{code: 1421, state: "HY000", message: fmt.Sprintf("The statement (%d) has no open cursor.", f.Statement)})
	}
	wire.SetStatement(p.Payload, s.running.id)
	if err := x.forward(p); err != nil {
		return err
	}
	x.reply.Start(x.backend, x.client, wire.ReplyFetch, x.caps)
	x.binary = true
	_, err = x.relay(s.plan, s.cursor, false)
	return err
}

// longData takes a piece of a parameter. It has no reply: what is wrong with it is said at the next execution.
func (x *executor) longData(p wire.Packet) error {
	l, err := wire.ParseLongData(p.Payload)
	if err != nil {
		return nil
	}
	s := x.prepared.byID[l.Statement]
	if l.Statement == wire.LastStatement {
		s = x.prepared.last
	}
	if s == nil || int(l.Param) >= s.params {
		return nil
	}
	if s.long == nil {
		s.long = make([]*longValue, s.params)
	}
	if s.long[l.Param] == nil {
		s.long[l.Param] = &longValue{}
	}
	v := s.long[l.Param]
	v.total += len(l.Data)
	keep := longHead
	if !s.passes() {
		keep = x.longLimit()
	}
	if len(v.data)+len(l.Data) <= keep {
		v.append(l.Data)
	}
	if s.secret() {
		clear(l.Data)
	}
	if !s.passes() {
		return nil
	}
	wire.SetStatement(p.Payload, s.running.id)
	return x.queue(p)
}

// longLimit is the longest parameter that is kept in memory: no longer one could be sent on.
func (x *executor) longLimit() int {
	if x.facts.maxPacket > 0 {
		return x.facts.maxPacket
	}
	return 16 << 20
}

// closeStatement answers COM_STMT_CLOSE, which has no reply.
func (x *executor) closeStatement(p wire.Packet) error {
	id, err := wire.ParseStatement(p.Payload)
	if err != nil {
		return nil
	}
	s, err := x.preparedByID(id, "")
	if err != nil {
		return nil
	}
	s.wipe()
	for _, v := range s.variants {
		x.closeVariant(v)
	}
	delete(x.prepared.byID, s.id)
	if x.prepared.last == s {
		x.prepared.last = nil
	}
	return nil
}

// resetStatement answers COM_STMT_RESET.
func (x *executor) resetStatement(p wire.Packet) error {
	id, err := wire.ParseStatement(p.Payload)
	if err != nil {
		return x.refuse(err)
	}
	s, err := x.preparedByID(id, "mysqld_stmt_reset")
	if err != nil {
		return x.refuse(err)
	}
	s.dropLong()
	s.cursor = nil
	if s.local() || s.running == nil {
		return x.answerOK(false)
	}
	wire.SetStatement(p.Payload, s.running.id)
	return x.exchange(p, wire.ReplyStatus)
}

// dropStatements forgets all prepared statements: the backend forgets its own.
func (x *executor) dropStatements() {
	for _, s := range x.prepared.byID {
		s.wipe()
	}
	x.prepared.byID, x.prepared.last = nil, nil
	x.named, x.unplanned = nil, nil
	x.kept.clear()
}
