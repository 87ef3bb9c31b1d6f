package proxy

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// namedStatement is a statement of SQL-level PREPARE.
type namedStatement struct {
	// text is the inner statement as the client wrote it; nil where it was not kept.
	text []byte
	// passed says that it touched nothing protected when it was prepared.
	passed bool
	// standIn says that the backend has another statement of that name in its place: the evaluator executes it.
	standIn bool
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

// errDynamicArgs is for values of USING that are neither user variables nor literals.
var errDynamicArgs = newFault(codeNotUnderstood, "USING of a statement over protected columns lists more than user variables and literals; SET a user variable first")

// errDynamicVariable is for a statement of which the text is not known any more, beside variables that are kept here.
var errDynamicVariable = newFault(codeNotPossible, "the statement may use a user variable that holds a protected value; prepare it again, from a string literal")

// maxPassedText and maxPassed bound the texts of statements that are kept although they touched nothing protected: they may come to
// use a variable that does.
const (
	maxPassedText = 16 << 10
	maxPassed     = 256
)

// standInText is what the backend is told to prepare in place of a statement that the evaluator executes.
const standInText = "DO 0"

// errUnplanned is for a statement that was prepared before its columns were protected.
var errUnplanned = newFault(codeNotPossible, "the protection of its columns has begun since PREPARE; prepare the statement again")

// dynamic carries out SQL-level PREPARE, EXECUTE, EXECUTE IMMEDIATE and DEALLOCATE.
func (x *executor) dynamic(j *job) (ok bool, err error) {
	e := j.plan.Execute
	args := j.plan.Execute != nil && e.Args != nil || j.plan.Prepare != nil && j.plan.Prepare.Args != nil
	if !args && j.st.NamesVariable(x.kept.names) {
		return false, x.refuse(errDynamicArgs)
	}
	if e != nil {
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
	finished, err := x.finishing(inner, j.plan.Prepare.Using, j.plan.Prepare.Args)
	if err != nil {
		return false, x.refuse(err)
	}
	switch {
	case finished && name == "":
		return x.executeFinished(j, inner, j.plan.Prepare.Using, j.plan.Prepare.Args)
	case finished:
		return x.prepareStandIn(j, inner, token, lit.Tokens)
	case inner.plan.Class == rewrite.Pass && !inner.plan.Touches:
		x.countClass(classPass)
		j.plan = passing(j.plan, inner.plan)
		ok, err := x.pass(j)
		if ok && err == nil && name != "" {
			x.rememberPassed(name, inner)
		}
		return ok, err
	}
	x.countClass(classSealed)
	if name == "" {
		return x.executeImmediate(j, inner, token, lit.Tokens)
	}
	return x.prepareNamed(j, inner, token, lit.Tokens)
}

// finishing tells whether the evaluator executes a dynamic statement: one that computes over protected columns, or in which the
// values of USING must not reach the backend. Its plan is then one for that.
func (x *executor) finishing(inner *job, using bool, args []rewrite.UsingArg) (bool, error) {
	params := inner.st.Params()
	markers, kept := x.keptMarkers(args)
	plan := inner.plan
	switch {
	case plan.Class == rewrite.Residual && params == 0:
		return true, nil
	case plan.Class == rewrite.Residual, kept:
	case plan.Class == rewrite.Sealed && params > 0 && len(plan.Away) == 0 && (plan.Before != nil || hasSealedParam(plan)):
	default:
		return false, nil
	}
	if using && args == nil {
		return false, errDynamicArgs
	}
	one := x.facts.Facts
	one.MultiStatements = false
	var err error
	inner.plan, err = inner.snapshot.Planner.PlanUsing(inner.st, &one, x.kept.names, markers)
	return err == nil, err
}

// keptMarkers tells which values of USING are variables that are kept here, and whether any is.
func (x *executor) keptMarkers(args []rewrite.UsingArg) (markers []bool, any bool) {
	for i := range args {
		kept := args[i].Variable != "" && x.kept.find(args[i].Variable) != nil
		markers, any = append(markers, kept), any || kept
	}
	return markers, any
}

// executeFinished executes a dynamic statement in the evaluator.
func (x *executor) executeFinished(j, inner *job, using bool, args []rewrite.UsingArg) (bool, error) {
	x.countClass(classResidual)
	if using && args == nil {
		return false, x.refuse(errDynamicArgs)
	}
	r := &residual{x: x, st: inner.st, plan: inner.plan, snapshot: inner.snapshot, from: inner.from, to: inner.to, more: j.more}
	if using || inner.st.Params() > 0 {
		r.using = &usingValues{outer: j.st, args: args}
	}
	return x.runResidual(r)
}

// usingValues are the values of a USING clause of outer.
type usingValues struct {
	outer *rewrite.Statement
	args  []rewrite.UsingArg
}

// evaluatorName is the name of the one statement that is prepared in a session of the evaluator.
const evaluatorName = "`_latchkey`"

// execute writes the statement that executes the one of evaluatorName.
func (u *usingValues) execute() []byte {
	b := []byte("EXECUTE " + evaluatorName)
	for i, a := range u.args {
		if i == 0 {
			b = append(b, " USING "...)
		} else {
			b = append(b, ',')
		}
		if a.Variable != "" {
			b = append(append(b, '@'), quoteName(a.Variable)...)
		} else {
			b = append(b, u.outer.Span(u.outer.Real(a.From), u.outer.Real(a.To))...)
		}
	}
	return b
}

// variables adds the user variables among the values to names.
func (u *usingValues) variables(names []string) []string {
	if u == nil {
		return names
	}
	names = slices.Clone(names)
	for _, a := range u.args {
		if a.Variable != "" && !slices.ContainsFunc(names, func(n string) bool { return rewrite.FoldVariable(n) == rewrite.FoldVariable(a.Variable) }) {
			names = append(names, a.Variable)
		}
	}
	return names
}

// prepareStandIn runs PREPARE of a statement that the evaluator executes: the evaluator says whether it is right, and the backend
// takes the name.
func (x *executor) prepareStandIn(j, inner *job, token, tokens int) (bool, error) {
	x.countClass(classResidual)
	if !inner.plan.Residual.Explain {
		if _, _, err := x.describeLogical(inner.st, inner.plan.Residual); err != nil {
			return false, x.refuse(err)
		}
	}
	named := x.newNamed(inner)
	named.standIn = true
	text, err := x.splice(j, token, tokens, []byte(standInText))
	if err != nil {
		return false, x.refuse(err)
	}
	if err := x.sendQuery(text); err != nil {
		return false, err
	}
	ok, err := x.relayQuery(j, nil)
	if ok && err == nil {
		x.remember(j.plan.Prepare.Name, named)
	}
	return ok, err
}

func (x *executor) newNamed(inner *job) *namedStatement {
	return &namedStatement{text: bytes.Clone(inner.st.SQL()), facts: x.facts.Facts, epoch: inner.snapshot.Epoch(), keys: x.keyIDs(), params: inner.st.Params() > 0}
}

func (x *executor) remember(name string, named *namedStatement) {
	if x.named == nil {
		x.named = make(map[string]*namedStatement)
	}
	x.named[name] = named
}

// rememberPassed keeps a statement that touched nothing protected.
func (x *executor) rememberPassed(name string, inner *job) {
	named := &namedStatement{passed: true}
	if len(x.named) < maxPassed && len(inner.st.SQL()) <= maxPassedText {
		named = x.newNamed(inner)
		named.passed = true
	}
	x.remember(name, named)
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
	if p.Class == rewrite.Local || p.Push != nil || p.Prepare != nil || p.Execute != nil {
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
	named := x.newNamed(inner)
	var ok bool
	var err error
	if inner.plan.Class == rewrite.Pass {
		ok, err = x.pass(j)
	} else {
		ok, err = x.sendSpliced(j, inner, token, tokens)
	}
	if ok && err == nil {
		x.remember(j.plan.Prepare.Name, named)
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
	text, err := x.splice(j, token, tokens, rendered)
	if err != nil {
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

// splice gives the statement with its string literal, token and the tokens-1 behind it, replaced by one that holds inner.
func (x *executor) splice(j *job, token, tokens int, inner []byte) ([]byte, error) {
	sql := j.st.SQL()
	text := append([]byte(nil), sql[j.from:j.st.Token(token).Start]...)
	text = x.appendText(text, inner)
	text = append(text, sql[j.st.Token(token+tokens-1).End:j.to]...)
	return text, x.fits(len(text))
}

// renderInner renders the inner statement. Old cells are not read here: EXECUTE does that.
func (x *executor) renderInner(inner *job) ([]byte, error) {
	if err := x.keys.writable(inner.plan.Writes); err != nil {
		return nil, err
	}
	r := x.newRenderer(renderText, inner.st, inner.plan, nil)
	defer x.keep(r)
	err := x.resolved(r, inner.snapshot, func(bool) error { return r.statement(inner.from, inner.to) })
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
	_, kept := x.keptMarkers(e.Args)
	switch {
	case e.Deallocate:
		delete(x.named, e.Name)
		ok = false
	case len(x.kept.byName) > 0 && (ok && named.text == nil || !ok && (kept || e.Using && e.Args == nil)):
		return false, x.refuse(errDynamicVariable)
	case ok && named.passed:
		ok = len(x.kept.byName) > 0
	}
	if !ok {
		if _, unplanned := x.unplanned[e.Name]; unplanned && !e.Deallocate && j.snapshot.foresight == nil {
			return false, x.refuse(errUnplanned)
		}
		x.countClass(classPass)
		return x.pass(j)
	}
	return x.executeKnown(j, e, named)
}

// executeKnown runs EXECUTE of a statement whose text is known.
func (x *executor) executeKnown(j *job, e *rewrite.ExecuteStatement, named *namedStatement) (bool, error) {
	facts := named.facts
	facts.TimeZone = x.facts.TimeZone // it matters to definitions alone, which are planned again
	if facts != x.facts.Facts {
		return false, x.refuse(newFault(codeNotPossible, "sql_mode, character set or database have changed since PREPARE; prepare the statement again"))
	}
	inner, err := x.planInner(j, named.text)
	if err != nil {
		return false, x.refuse(err)
	}
	finished, err := x.finishing(inner, e.Using, e.Args)
	switch {
	case err != nil:
		return false, x.refuse(err)
	case finished:
		return x.executeFinished(j, inner, e.Using, e.Args)
	}
	x.countClass(classSealed)
	if !named.params && !e.Using && inner.plan.Class == rewrite.Sealed {
		// The text says it all: it runs under the keys of now.
		return x.sealed(inner)
	}
	if len(inner.plan.Away) > 0 {
		return false, x.refuse(errDynamicAway)
	}
	if inner.plan.Class == rewrite.Sealed || named.standIn {
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
	if inner.plan.Class == rewrite.Pass && !inner.plan.Touches {
		return x.relayQuery(j, nil)
	}
	return x.relayQuery(j, x.newOpener(inner.st, inner.plan, j.snapshot, false))
}

// prepareAgain makes the backend's copy of a named statement one for the keys and the schema of now.
func (x *executor) prepareAgain(name string, named *namedStatement, inner *job) error {
	now := x.keyIDs()
	if !named.standIn && sameKeys(now, named.keys) && named.epoch == inner.snapshot.Epoch() {
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
	named.keys, named.epoch, named.standIn = now, inner.snapshot.Epoch(), false
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
