package proxy

import (
	"bytes"
	"encoding/hex"
	"strings"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// namedStatement is a statement of SQL-level PREPARE whose text touches protected columns.
type namedStatement struct {
	// text is the inner statement as the client wrote it.
	text []byte
	// facts are those it was read under.
	facts rewrite.Facts
	// epoch is the schema's at that time.
	epoch uint64
	// keys are the key ids under which the backend's copy was sealed.
	keys []cell.KeyID
	// params says that the text has parameter markers.
	params bool
}

// errPreparedParam is for a sealed value that would come from a user variable, where it stands in the clear.
var errPreparedParam = newFault(codeNotPossible, "a value for a protected column would come from a user variable, where the database sees it; "+
	"use the prepared statements of the client's protocol, or write the value into the text")

// errUnplanned is for a statement that was prepared before its columns were protected.
var errUnplanned = newFault(codeNotPossible, "the protection of its columns has begun since PREPARE; prepare the statement again")

// dynamic carries out SQL-level PREPARE, EXECUTE, EXECUTE IMMEDIATE and DEALLOCATE.
func (x *executor) dynamic(j *job) (ok bool, err error) {
	if e := j.plan.Execute; e != nil {
		return x.executeNamed(j, e)
	}
	name := j.plan.Prepare.Name
	if name != "" {
		// A failed PREPARE drops the statement of that name too.
		delete(x.named, name)
		if j.snapshot.foresight == nil {
			delete(x.unplanned, name)
		}
	}
	token := j.st.Real(j.plan.Prepare.Text.Token)
	lit, err := j.st.Literal(token)
	if err != nil {
		return false, x.refuse(errOperand)
	}
	inner, err := x.planInner(j, lit.Bytes)
	if err != nil {
		return false, x.refuse(err)
	}
	if inner.plan.Class == rewrite.Pass && !inner.plan.Touches {
		x.countClass(classPass)
		j.plan = passing(j.plan, inner.plan)
		return x.pass(j)
	}
	x.countClass(classSealed)
	if name == "" {
		return x.executeImmediate(j, inner, token, lit.Tokens)
	}
	return x.prepareNamed(j, inner, token, lit.Tokens)
}

// passing gives the plan of a PREPARE or EXECUTE IMMEDIATE what its inner statement changes.
func passing(outer, inner *rewrite.Plan) *rewrite.Plan {
	both := *outer
	both.Effects |= inner.Effects &^ rewrite.Diagnostics
	if inner.Effects&rewrite.ChangesDatabase != 0 {
		both.Effects |= rewrite.StaleFacts
		both.Effects &^= rewrite.ChangesDatabase
	}
	return &both
}

// planInner plans the text of a dynamic statement.
func (x *executor) planInner(j *job, text []byte) (*job, error) {
	inner := &job{st: &x.inner, snapshot: j.snapshot, to: len(text), more: j.more}
	if err := inner.st.Scan(text, &x.facts.Facts); err != nil {
		inner.plan, err = j.snapshot.Planner.Unscanned(text, &x.facts.Facts)
		return inner, err
	}
	one := x.facts.Facts
	one.MultiStatements = false
	var err error
	if inner.plan, err = x.plan(inner.st, &one, j.snapshot); err != nil {
		return nil, err
	}
	p := inner.plan
	if p.Class == rewrite.Local || p.Class == rewrite.Residual || p.Push != nil || p.Prepare != nil || p.Execute != nil {
		return nil, newFault(codeNotUnderstood, "this statement cannot be prepared by SQL; send it as it is")
	}
	return inner, x.checkLiterals(inner.st, p)
}

// hasSealedParam tells whether a marker of the statement stands for a value of a protected column.
func hasSealedParam(plan *rewrite.Plan) bool {
	for i := range plan.Edits {
		for k := range plan.Edits[i].Pieces {
			for _, v := range plan.Edits[i].Pieces[k].Values {
				if v.Kind == rewrite.ValueParam {
					return true
				}
			}
		}
	}
	return false
}

// executeImmediate runs EXECUTE IMMEDIATE '...' [USING ...]. Without parameters the inner statement is one like any other.
func (x *executor) executeImmediate(j, inner *job, token, tokens int) (bool, error) {
	if inner.plan.Class == rewrite.Pass {
		j.plan = passing(j.plan, inner.plan)
		return x.pass(j)
	}
	if !j.plan.Prepare.Using {
		return x.sealed(inner)
	}
	return x.sendSpliced(j, inner, token, tokens)
}

// prepareNamed runs PREPARE name FROM '...'.
func (x *executor) prepareNamed(j, inner *job, token, tokens int) (bool, error) {
	if len(inner.plan.Requires) > 0 {
		return false, x.refuse(errPreparedDefinition)
	}
	named := &namedStatement{
		text: bytes.Clone(inner.st.SQL()), facts: x.facts.Facts, epoch: j.snapshot.Epoch(),
		keys: x.keyIDs(), params: inner.st.Params() > 0,
	}
	var ok bool
	var err error
	if inner.plan.Class == rewrite.Pass {
		ok, err = x.pass(j)
	} else {
		ok, err = x.sendSpliced(j, inner, token, tokens)
	}
	if ok && err == nil {
		if x.named == nil {
			x.named = make(map[string]*namedStatement)
		}
		x.named[j.plan.Prepare.Name] = named
	}
	return ok, err
}

// keyIDs gives the ids of the keys on the keyring.
func (x *executor) keyIDs() []cell.KeyID {
	var ids []cell.KeyID
	for _, key := range x.keys.ring.Keys() {
		ids = append(ids, key.IDs()...)
	}
	return ids
}

// sendSpliced sends the statement with its string literal, token and the tokens-1 behind it, replaced by the rewritten
// inner statement.
func (x *executor) sendSpliced(j, inner *job, token, tokens int) (bool, error) {
	if hasSealedParam(inner.plan) {
		return false, x.refuse(errPreparedParam)
	}
	if len(inner.plan.Away) > 0 && inner.st.Params() > 0 {
		return false, x.refuse(errDynamicAway)
	}
	if inner.plan.Before != nil && inner.st.Params() > 0 {
		return false, x.refuse(errPreparedParam)
	}
	rendered, err := x.renderInner(inner)
	if err != nil {
		return false, x.refuse(err)
	}
	sql := j.st.SQL()
	text := append([]byte(nil), sql[j.from:j.st.Token(token).Start]...)
	text = x.appendText(text, rendered)
	text = append(text, sql[j.st.Token(token+tokens-1).End:j.to]...)
	if err := x.fits(len(text)); err != nil {
		return false, x.refuse(err)
	}
	x.sealing = true
	if j.plan.Prepare == nil || j.plan.Prepare.Name == "" {
		if err := x.describeJob(inner); err != nil {
			return false, x.refuse(err)
		}
	}
	if err := x.sendQuery(text); err != nil {
		return false, err
	}
	both := passing(j.plan, inner.plan)
	if j.plan.Prepare != nil && j.plan.Prepare.Name != "" {
		both = j.plan
	}
	j.plan = both
	return x.relayQuery(j, x.newOpener(inner.st, inner.plan, j.snapshot, false))
}

// renderInner renders the inner statement. Old cells are not read here: EXECUTE does that.
func (x *executor) renderInner(inner *job) ([]byte, error) {
	if err := x.keys.writable(inner.plan.Writes); err != nil {
		return nil, err
	}
	r := x.newRenderer(renderText, inner.st, inner.plan, nil)
	defer x.keep(r)
	err := x.resolved(r, x.written(inner.plan, inner.snapshot), func(bool) error { return r.statement(inner.from, inner.to) })
	if err != nil {
		return nil, err
	}
	if r.conversion != nil && (r.conversion.failed != nil || r.conversion.rows.total+r.conversion.assigned.total > 0) {
		// The warnings come at EXECUTE, every time.
		return nil, errNotPossible(r.sites()[0].column, "the value does not fit the declared type as it is; write it in that type, or send the statement unprepared")
	}
	return r.out, nil
}

// appendText appends a string literal that holds text in the client's character set, pure ASCII and the same in every
// sql_mode.
func (x *executor) appendText(dst, text []byte) []byte {
	dst = append(dst, '_')
	dst = append(dst, x.facts.conv.ClientCharset...)
	dst = append(dst, " x'"...)
	dst = hex.AppendEncode(dst, text)
	return append(dst, '\'')
}

// executeNamed runs EXECUTE name and DEALLOCATE PREPARE name.
func (x *executor) executeNamed(j *job, e *rewrite.ExecuteStatement) (bool, error) {
	named, ok := x.named[e.Name]
	if !ok || e.Deallocate {
		if _, unplanned := x.unplanned[e.Name]; unplanned && !e.Deallocate && j.snapshot.foresight == nil {
			return false, x.refuse(errUnplanned)
		}
		delete(x.named, e.Name)
		x.countClass(classPass)
		return x.pass(j)
	}
	facts := named.facts
	facts.TimeZone = x.facts.TimeZone // it matters to definitions alone, which are planned again
	if facts != x.facts.Facts {
		return false, x.refuse(newFault(codeNotPossible, "sql_mode, character set or database have changed since PREPARE; prepare the statement again"))
	}
	inner, err := x.planInner(j, named.text)
	if err != nil {
		return false, x.refuse(err)
	}
	x.countClass(classSealed)
	if !named.params && !e.Using && inner.plan.Class == rewrite.Sealed {
		// The text says it all: it runs under the keys of now.
		return x.sealed(inner)
	}
	if len(inner.plan.Away) > 0 {
		return false, x.refuse(errDynamicAway)
	}
	if inner.plan.Class == rewrite.Sealed {
		if err := x.prepareAgain(e.Name, named, inner); err != nil {
			return false, x.refuse(err)
		}
	}
	if err := x.describeJob(inner); err != nil {
		return false, x.refuse(err)
	}
	if err := x.sendQuery(j.st.SQL()[j.from:j.to]); err != nil {
		return false, err
	}
	j.plan = passing(j.plan, inner.plan)
	return x.relayQuery(j, x.newOpener(inner.st, inner.plan, j.snapshot, false))
}

// prepareAgain makes the backend's copy of a named statement one for the keys and the schema of now.
func (x *executor) prepareAgain(name string, named *namedStatement, inner *job) error {
	now := x.keyIDs()
	if sameKeys(now, named.keys) && named.epoch == inner.snapshot.Epoch() {
		return nil
	}
	rendered, err := x.renderInner(inner)
	if err != nil {
		return err
	}
	text := append([]byte("PREPARE "), quoteName(name)...)
	text = x.appendText(append(text, " FROM "...), rendered)
	if err := x.fits(len(text)); err != nil {
		return err
	}
	if err := x.sideExec(text); err != nil {
		return err
	}
	named.keys, named.epoch = now, inner.snapshot.Epoch()
	return nil
}

func sameKeys(a, b []cell.KeyID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// errReserved is for what exists only in the proxy, or belongs to it alone.
var errReserved = newFault(codeNotUnderstood, "the schema and the variable latchkey, and the keystore database, are not reachable by SQL")

// queryRaw carries out COM_QUERY of a raw account: it passes unless it names what is never reachable.
func (x *executor) queryRaw(p wire.Packet) error {
	if err := x.checkRaw(p.Payload[1:]); err != nil {
		return x.refuse(err)
	}
	x.countClass(classPass)
	if err := x.forward(p); err != nil {
		return err
	}
	x.reply.Start(x.backend, x.client, wire.ReplyQuery, x.caps)
	x.binary = false
	_, err := x.relay(&rawPlan, nil, false)
	return err
}

// rawPlan is the plan of every statement of a raw account. What DDL of one changes is noticed like that of others.
var rawPlan = rewrite.Plan{Effects: rewrite.LocalInfile}

// checkRaw refuses text that holds a key, or the name of the schema latchkey or of the keystore database anywhere, in
// whatever character set or quotes. A raw account is one of few and can rename what collides.
func (x *executor) checkRaw(text []byte) error {
	snapshot, err := x.snapshot()
	if err != nil {
		return err
	}
	if holdsKey(text) {
		return errKeyLiteral
	}
	lower := bytes.ToLower(text)
	for _, name := range []string{"latchkey.", "`latchkey`", "@latchkey", snapshot.Schema.KeystoreDatabase} {
		if name != "" && bytes.Contains(lower, bytes.ToLower([]byte(name))) {
			return errReserved
		}
	}
	if bytes.Contains(lower, []byte("latchkey")) && x.namesLatchkey(text) {
		return errReserved
	}
	return nil
}

// namesLatchkey tells whether the word latchkey stands for a schema in text: it is no part of a string, such as an
// annotation, and no account.
func (x *executor) namesLatchkey(text []byte) bool {
	st := &x.statement
	if st.Scan(text, &x.facts.Facts) != nil {
		return false
	}
	for i := range st.Tokens() {
		if st.Token(i).IsIdentifier() && strings.EqualFold(st.Name(i), "latchkey") && !bytes.HasPrefix(st.Text(i+1), []byte("@")) {
			return true
		}
	}
	return false
}

// snapshot gives the schema to plan with. In the keystore database no statement is planned: its tables would be reachable
// without their database's name.
func (x *executor) snapshot() (*Snapshot, error) {
	if err := x.revalidate(); err != nil {
		return nil, err
	}
	snapshot, err := x.env.Schema.Current(x.ctx)
	if err != nil {
		return nil, err
	}
	if name := snapshot.Schema.KeystoreDatabase; name != "" && strings.EqualFold(x.database, name) {
		return nil, errReserved
	}
	return snapshot, nil
}
