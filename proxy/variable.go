package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"latchkey/keystore/cell"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// keptVariables are the user variables of a session that have met a protected value. They live here and in the evaluator's
// sessions; the backend has a mark in their place, by which it shows when one was given another value there. They end with the
// session's other variables, and their values with the keys under which they came to be.
type keptVariables struct {
	// byName has them by folded name, and names says the same to the planner.
	byName map[string]*keptVariable
	names  map[string]bool
	// list is names as text: prepared statements were planned for one.
	list string
	mark string
	// epoch is the schema's that stored was found out for: a stored routine or trigger uses one of the variables.
	epoch  uint64
	stored bool
}

// keptVariable is one user variable.
type keptVariable struct {
	value variableValue
	// keys are those that were on the keyring.
	keys []cell.KeyID
	// gone, when not nil, is why the value is not here any more.
	gone error
	// unsure says that the backend may have been told to assign the variable.
	unsure bool
}

// variableValue is the value of a user variable with all that belongs to it.
type variableValue struct {
	// text is nil for NULL.
	text      []byte
	collation string
	kind      wire.ColumnType
	unsigned  bool
}

func (v variableValue) equal(w variableValue) bool {
	return v.kind == w.kind && v.unsigned == w.unsigned && v.collation == w.collation && (v.text == nil) == (w.text == nil) && bytes.Equal(v.text, w.text)
}

// variableColumns are what is asked of a server for each user variable: value, collation, and the variable itself for its type.
const variableColumns = 3

// askVariable appends these columns.
func askVariable(b []byte, name string) []byte {
	v := "@" + quoteName(name)
	return append(b, ("CAST(" + v + " AS BINARY),CAST(COLLATION(" + v + ") AS BINARY)," + v)...)
}

// newVariableValue takes the answer.
func newVariableValue(row [][]byte, d *wire.Column) variableValue {
	return variableValue{text: row[0], collation: string(row[1]), kind: d.Type, unsigned: d.Flags&wire.FlagUnsigned != 0}
}

// literal writes the value as an expression of the same type and collation.
func (v variableValue) literal() string {
	text := "NULL"
	switch v.kind {
	case wire.TypeLongLong:
		if v.text != nil {
			text = numberText(v.text)
		}
		if v.unsigned {
			return "CAST(" + text + " AS UNSIGNED)"
		}
		return "CAST(" + text + " AS SIGNED)"
	case wire.TypeNewDecimal:
		if v.text == nil {
			return "CAST(NULL AS DECIMAL)"
		}
		return numberText(v.text)
	case wire.TypeDouble:
		if v.text != nil {
			text = numberText(v.text)
		}
		return "CAST(" + text + " AS DOUBLE)"
	}
	charset, _, _ := strings.Cut(v.collation, "_")
	switch {
	case charset == v.collation && v.text == nil:
		return "NULL"
	case charset == v.collation:
		return "_binary x'" + hex.EncodeToString(v.text) + "'"
	case v.text == nil:
		return "CONVERT(NULL USING " + charset + ") COLLATE " + v.collation
	}
	return "_" + charset + " x'" + hex.EncodeToString(v.text) + "' COLLATE " + v.collation
}

// marked writes the mark as what stands on the backend for the value: with its collation, which a NULL that follows leaves as it is.
func (v variableValue) marked(mark string) string {
	text := "_utf8mb4 x'" + hex.EncodeToString([]byte(mark)) + "'"
	if !v.isText() {
		return text
	}
	charset, _, _ := strings.Cut(v.collation, "_")
	return "CONVERT(" + text + " USING " + charset + ") COLLATE " + v.collation
}

// isText tells whether the value is text of a character set.
func (v variableValue) isText() bool {
	switch v.kind {
	case wire.TypeLongLong, wire.TypeNewDecimal, wire.TypeDouble:
		return false
	}
	return strings.Contains(v.collation, "_")
}

// unset tells whether the value may be that of a variable which never had one.
func (v variableValue) unset() bool { return v.text == nil && !v.isText() }

// errVariableLocked is for a variable whose value was read under a key that is gone.
var errVariableLocked = newFault(codeLocked, "a user variable holds a value that was read under a key which is not on this connection any more; read the value again")

// errVariableLost is for a variable of which the new value could not be taken over.
var errVariableLost = newFault(codeEvaluator, "a user variable was assigned a value that could not be kept; assign it again")

// errVariableSize is for variables that hold more than a statement may open.
var errVariableSize = newFault(codeTooLarge, "user variables hold more bytes of protected values than evaluator.max_bytes allows; set some of them to NULL")

// errVariableStored is for statements beside a stored routine or trigger that uses a variable of which the value is kept here.
var errVariableStored = newFault(codeNotPossible, "a stored routine or trigger uses a user variable that holds a protected value; set the variable to something else first")

// find gives the variable of a name, nil when it is not kept.
func (k *keptVariables) find(name string) *keptVariable { return k.byName[rewrite.FoldVariable(name)] }

// isGone tells whether a variable has lost its value.
func (k *keptVariables) isGone(name string) bool {
	v := k.find(name)
	return v != nil && v.gone != nil
}

// keep takes a variable over.
func (k *keptVariables) keep(name string, v *keptVariable) {
	if k.byName == nil {
		k.byName, k.names = make(map[string]*keptVariable), make(map[string]bool)
	}
	name = rewrite.FoldVariable(name)
	if old := k.byName[name]; old != nil {
		clear(old.value.text)
	}
	k.byName[name], k.names[name] = v, true
	k.listNames()
}

// drop forgets a variable: it has another value on the backend.
func (k *keptVariables) drop(name string) {
	if v := k.byName[name]; v != nil {
		clear(v.value.text)
		delete(k.byName, name)
		delete(k.names, name)
		k.listNames()
	}
}

func (k *keptVariables) listNames() {
	all := make([]string, 0, len(k.byName))
	for name := range k.byName {
		all = append(all, name)
	}
	slices.Sort(all)
	k.list, k.epoch = strings.Join(all, "\x00"), 0
}

// clear forgets all of them.
func (k *keptVariables) clear() {
	for _, v := range k.byName {
		clear(v.value.text)
	}
	*k = keptVariables{}
}

// bytes is how much the values hold.
func (k *keptVariables) bytes() int {
	n := 0
	for _, v := range k.byName {
		n += len(v.value.text)
	}
	return n
}

// lockVariables drops the values that were read under keys which are gone.
func (x *executor) lockVariables() {
	if len(x.kept.byName) == 0 {
		return
	}
	now := x.keyIDs()
	for _, v := range x.kept.byName {
		if v.gone == nil && slices.ContainsFunc(v.keys, func(id cell.KeyID) bool { return !slices.Contains(now, id) }) {
			clear(v.value.text)
			v.value, v.gone = variableValue{}, errVariableLocked
		}
	}
}

// plan plans a statement, with a mind to the user variables that are kept here.
func (x *executor) plan(st *rewrite.Statement, f *rewrite.Facts, snapshot *Snapshot) (*rewrite.Plan, error) {
	if len(x.kept.byName) == 0 {
		return snapshot.Planner.Plan(st, f)
	}
	x.lockVariables()
	if st.NamesVariable(x.kept.names) {
		err := x.settleVariables(func(name string) bool { return st.NamesVariable(map[string]bool{name: true}) })
		if err != nil {
			return nil, err
		}
	}
	if st.NamesVariable(x.kept.names) {
		return snapshot.Planner.PlanKept(st, f, x.kept.names)
	}
	plan, err := snapshot.Planner.Plan(st, f)
	if err != nil || !x.storedVariables(st, plan, snapshot) {
		return plan, err
	}
	if err := x.settleVariables(func(string) bool { return true }); err != nil {
		return nil, err
	}
	if x.storedVariables(st, plan, snapshot) {
		return nil, errVariableStored
	}
	return plan, nil
}

// storedVariables tells whether a plan may run a stored routine or trigger that uses a variable which is kept here: one that was
// made after the variable got its value.
func (x *executor) storedVariables(st *rewrite.Statement, plan *rewrite.Plan, snapshot *Snapshot) bool {
	k := &x.kept
	if epoch := snapshot.Epoch() + 1; k.epoch != epoch {
		k.epoch, k.stored = epoch, snapshot.Planner.StoresVariable(k.names)
	}
	if !k.stored {
		return false
	}
	switch plan.Kind {
	case "CALL", "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "DO", "COMPOUND", "LOAD":
		return true
	}
	// SET @x = f(), CREATE TABLE ... SELECT f(), HANDLER ... WHERE f(), and the like.
	for i := range st.Tokens() {
		if st.Token(i).IsIdentifier() && st.IsOp(i+1, rewrite.OpLeftParen) {
			return true
		}
	}
	return false
}

// settleVariables finds out which of the variables for which ask holds the backend was made to assign.
func (x *executor) settleVariables(ask func(name string) bool) error {
	var names []string
	for name, v := range x.kept.byName {
		if v.unsure && ask(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	query := []byte("SELECT FOUND_ROWS(),ROW_COUNT()")
	for _, name := range names {
		query = append(query, (",CAST(CONVERT(@" + quoteName(name) + " USING utf8mb4) AS BINARY)<=>x'" + hex.EncodeToString([]byte(x.kept.mark)) + "'")...)
	}
	return x.side(query, nil, func(values [][]byte) error {
		if len(values) != len(names)+2 {
			return errOrigin
		}
		x.diagnostics.disturbed(values[0], values[1])
		for i, name := range names {
			if string(values[i+2]) == "1" {
				x.kept.byName[name].unsure = false
			} else {
				x.kept.drop(name)
			}
		}
		return nil
	})
}

// unsureVariables tells whether a statement names a variable of which the backend may have another value by now.
func (x *executor) unsureVariables(st *rewrite.Statement) bool {
	for name, v := range x.kept.byName {
		if v.unsure && st.NamesVariable(map[string]bool{name: true}) {
			return true
		}
	}
	return false
}

// variablesPassed is told of a statement that went to the backend: it may have assigned variables there.
func (x *executor) variablesPassed(st *rewrite.Statement, plan *rewrite.Plan) {
	if len(x.kept.byName) == 0 {
		return
	}
	all := plan.Execute != nil || plan.Prepare != nil
	switch plan.Kind {
	case "CALL", "COMPOUND", "OTHER", "EXECUTE":
		all = true
	}
	for name, v := range x.kept.byName {
		v.unsure = v.unsure || all || st.NamesVariable(map[string]bool{name: true})
	}
}

// keepAssigned takes over the user variables that the statement has assigned in the evaluator: those that have met a protected
// value stay here, the others go to the backend.
func (r *residual) keepAssigned() error {
	assigns := r.plan.Residual.Assigns
	if len(assigns) == 0 {
		return nil
	}
	x := r.x
	values, err := r.readVariables(assigns)
	var set, plain []string
	for i, a := range assigns {
		name := rewrite.FoldVariable(a.Name)
		v := &keptVariable{keys: x.keyIDs()}
		switch {
		case err != nil:
			v.gone = errVariableLost
		case values[i].equal(r.mirror.variables[name]), x.kept.isGone(name) && !a.Read && values[i].unset():
			continue // it was not assigned
		default:
			v.value = values[i]
		}
		if a.Plain && err == nil && x.fits(len(strings.Join(set, ","))+len(v.value.text)*2+restSize) == nil {
			plain = append(plain, name)
			set = append(set, "@"+quoteName(name)+"="+v.value.literal())
			continue
		}
		if x.kept.bytes()+len(v.value.text) > x.keptLimit() {
			clear(v.value.text)
			v.value, v.gone = variableValue{}, errVariableSize
		}
		set = append(set, "@"+quoteName(name)+"="+v.value.marked(x.variableMark()))
		x.kept.keep(name, v)
	}
	if len(set) == 0 {
		return nil
	}
	if err := x.sideExec([]byte("SET " + strings.Join(set, ","))); err != nil {
		return err
	}
	for _, name := range plain {
		x.kept.drop(name)
	}
	return nil
}

// keptLimit is how many bytes the values of kept variables may hold.
func (x *executor) keptLimit() int {
	limit := x.env.MaxBytes
	setDefault(&limit, defaultMaxBytes)
	return int(limit)
}

// variableMark gives what the backend has in place of the values: nobody knows it beforehand.
func (x *executor) variableMark() string {
	if x.kept.mark == "" {
		x.kept.mark = "kept by Latchkey " + rand.Text()
	}
	return x.kept.mark
}

// readVariables reads user variables of the evaluator's session.
func (r *residual) readVariables(assigns []rewrite.AssignedVariable) ([]variableValue, error) {
	query := []byte("SELECT ")
	for i, a := range assigns {
		if i > 0 {
			query = append(query, ',')
		}
		query = askVariable(query, a.Name)
	}
	result, err := r.conn.Query(r.ctx, string(query))
	if err != nil {
		return nil, err
	}
	if len(result.Rows) != 1 || len(result.Columns) != variableColumns*len(assigns) {
		return nil, evaluator.ErrUnavailable
	}
	values := make([]variableValue, len(assigns))
	for i := range assigns {
		at := variableColumns * i
		values[i] = newVariableValue(result.Rows[0][at:], &result.Columns[at+2])
	}
	return values, nil
}
