package rewrite

import (
	"errors"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// A user variable that has met a protected value is kept by the proxy: the backend never has it. Statements that read such a
// variable are finished in the evaluator, which is given its value; so are those that assign one from protected columns.

// FoldVariable folds the name of a user variable: MariaDB finds them without letter case, and without blanks at the end.
// https://mariadb.com/kb/en/user-defined-variables/
func FoldVariable(name string) string { return strings.TrimRight(foldTouch(name), " ") }

// NamesVariable reports whether a statement names one of the user variables, by folded name, or one that MariaDB may take for it.
func (s *Statement) NamesVariable(kept map[string]bool) bool {
	for i := range s.Tokens() {
		if s.Token(i).Kind == TokUserVar && keptName(kept, FoldVariable(s.Name(i))) {
			return true
		}
	}
	return false
}

// keptName reports whether a folded name is that of a variable that is kept, or may be: the server compares names by a collation
// that knows accents.
func keptName(kept map[string]bool, name string) bool {
	if kept[name] {
		return true
	}
	if asciiName(name) {
		return false
	}
	for k := range kept {
		if mayBeEqual(k, name) {
			return true
		}
	}
	return false
}

// AssignedVariable is a user variable that a residual statement assigns.
type AssignedVariable struct {
	Name string
	// Plain: its new value depends on no protected column and on no variable that is kept.
	Plain bool
	// Read: the statement reads it too.
	Read bool
}

// PlanKept is Plan for a statement that names at least one of the user variables that the proxy keeps, by folded name. Such plans
// are not cached. The error is always a *Refusal.
func (p *Planner) PlanKept(st *Statement, f *Facts, kept map[string]bool) (*Plan, error) {
	st.AppendShape(nil, f)
	b := &builder{p: p, st: st, f: f, plan: &Plan{}, kept: kept}
	b.plan.Kind, b.plan.Effects = p.leading(st)
	plan, err := b.keeping()
	if err == nil {
		return plan, nil
	}
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Code: CodeNotUnderstood, Reason: "the statement is not understood and names a variable that holds a protected value"}
	}
	return nil, r
}

// errKeptVariable is for statements that would need the value of a kept variable on the backend.
func errKeptVariable() error {
	return refuse(CodeNotPossible, "", "a user variable in the statement holds a protected value, which the server must not see",
		"use the variable in SELECT, SET, and as a value of protected columns, or set it to something else first")
}

// keeping plans a statement that names variables which are kept.
func (b *builder) keeping() (*Plan, error) {
	if !b.readsKept() {
		// It gives them new values, and the plan is that of any other statement.
		plan, refusal, _ := b.p.makePlan(b.st, b.f)
		if refusal != nil {
			return nil, refusal
		}
		return plan, nil
	}
	kinds, counts := b.p.touch.scan(b.st)
	first := b.st.Keyword(0)
	for i := 0; b.st.IsOp(i, OpLeftParen); i++ {
		first = b.st.Keyword(i + 1)
	}
	switch {
	case kinds&touchReserved != 0:
		return nil, b.reserved(first, kinds, counts)
	case b.severalStatements(), b.p.touch.callsLike(b.st):
		return nil, errKeptVariable()
	}
	switch first {
	case KwSelect, KwWith, KwValues, KwInsert, KwReplace, KwUpdate, KwDelete:
	case KwSet:
		if b.st.Is(1, KwStatement) {
			return nil, errKeptVariable()
		}
	case KwExecute:
		// What it executes decides.
		plan, refusal, _ := b.p.makePlan(b.st, b.f)
		if refusal != nil {
			return nil, refusal
		}
		return plan, nil
	default:
		return nil, errKeptVariable()
	}
	if b.f.Charset == CharsetUnsupported || b.f.Mode.Has(Oracle) {
		return nil, errKeptVariable()
	}
	return b.finishing()
}

// finishing plans a statement to be finished in the evaluator, whatever else could be done with it.
func (b *builder) finishing() (*Plan, error) {
	var err error
	if b.parsed, err = Parse(b.st, b.f, b.p.pool); err != nil {
		return nil, b.unparsed(err)
	}
	plan, err := b.p.finished(b, errKeptVariable())
	switch {
	case err != nil:
		return nil, err
	case plan == nil:
		return nil, errKeptVariable()
	}
	return plan, nil
}

// PlanFinished plans a statement to be finished in the evaluator although it could be rewritten: its values have no tags. kept are
// the folded names of the user variables that the proxy keeps. Such plans are not cached. The error is always a *Refusal.
func (p *Planner) PlanFinished(st *Statement, f *Facts, kept map[string]bool) (*Plan, error) {
	return p.planFinishing(st, &builder{p: p, st: st, f: f, plan: &Plan{}, kept: kept})
}

// PlanUsing plans the text of a statement of SQL-level PREPARE to be finished in the evaluator, which executes it with the values
// of USING: none of them reaches the backend. kept are the folded names of the user variables that the proxy keeps, and markers
// tells of each parameter whether it stands for one. Such plans are not cached. The error is always a *Refusal.
func (p *Planner) PlanUsing(st *Statement, f *Facts, kept map[string]bool, markers []bool) (*Plan, error) {
	return p.planFinishing(st, &builder{p: p, st: st, f: f, plan: &Plan{}, kept: kept, opaque: true, keptMarkers: markers})
}

func (p *Planner) planFinishing(st *Statement, b *builder) (*Plan, error) {
	st.AppendShape(nil, b.f)
	b.plan.Kind, b.plan.Effects = p.leading(st)
	plan, err := b.finishing()
	if err == nil {
		return plan, nil
	}
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Code: CodeNotUnderstood, Reason: "the statement is not understood and gets a protected value"}
	}
	return nil, r
}

// keptMarker reports whether a node is a parameter that stands for a protected value.
func (b *builder) keptMarker(n ast.Node) bool {
	m, ok := n.(*paramMarker)
	if !ok || b.keptMarkers == nil {
		return false
	}
	i := b.parsed.TokenAt(m.Offset)
	if i < 0 {
		return true
	}
	k := b.st.ParamNumber(i)
	return k >= len(b.keptMarkers) || b.keptMarkers[k]
}

// readsKept reports whether the statement uses the value of a variable that is kept.
func (b *builder) readsKept() bool {
	for i := range b.st.Tokens() {
		if b.st.Token(i).Kind != TokUserVar {
			continue
		}
		name := FoldVariable(b.st.Name(i))
		if keptName(b.kept, name) && (!b.assigns(i) || !asciiName(name)) {
			return true
		}
	}
	return false
}

// assigns reports whether the variable at a token is given a value there.
func (b *builder) assigns(i int) bool {
	if b.st.IsOp(i+1, OpAssign) {
		return true
	}
	switch first := b.st.Keyword(0); {
	case first == KwSet && b.st.IsOp(i+1, OpEq):
		return i == 1 || b.st.IsOp(i-1, OpComma) && b.depthOf(i) == 0
	case first == KwGet && b.st.IsOp(i+1, OpEq):
		return true
	}
	for k := i - 1; k > 0; k-- {
		if b.st.Is(k, KwInto) {
			return true
		}
		if !b.st.IsOp(k, OpComma) && b.st.Token(k).Kind != TokUserVar {
			break
		}
	}
	return false
}

// depthOf is how many parentheses are open at a token.
func (b *builder) depthOf(i int) int {
	depth := 0
	for k := range i {
		if b.st.IsOp(k, OpLeftParen) {
			depth++
		} else if b.st.IsOp(k, OpRightParen) {
			depth--
		}
	}
	return depth
}

// set plans SET that names protected tables: its variables are assigned in the evaluator.
func (b *builder) set(counts map[string]int) error {
	reason := refuse(CodeNotPossible, "", "a SET statement that names a protected table",
		"read the value with SELECT and set it from the application")
	parsed, err := Parse(b.st, b.f, b.p.pool)
	if err != nil {
		return reason
	}
	if _, ok := parsed.Node.(*ast.SetStmt); ok {
		b.parsed = parsed
	}
	return reason
}

// variables notes which user variables the statement assigns.
func (p *residualPlanner) variables() error {
	var err error
	switch n := p.b.parsed.Node.(type) {
	case *ast.SetStmt:
		err = p.setVariables(n)
	case *ast.SelectStmt, *ast.SetOprStmt:
		n.Accept(&assignmentFinder{p: p})
		err = p.intoVariables(n)
	}
	if err != nil {
		return err
	}
	assigned := 0
	for i := range p.b.st.Tokens() {
		switch {
		case p.b.st.Token(i).Kind != TokUserVar:
		case p.b.assigns(i):
			assigned++
		default:
			p.read(p.b.st.Name(i))
		}
	}
	if assigned != p.assignments {
		return notUnderstood("a user variable is assigned in a place that is not known", "set it in a statement of its own")
	}
	for i := range p.r.Assigns {
		a := &p.r.Assigns[i]
		if !asciiName(a.Name) {
			return notUnderstood("the name of a user variable is not ASCII", "give it another")
		}
		if !a.Plain && p.b.p.touch.storedVariable(p.b.p.schema, FoldVariable(a.Name)) {
			return refuse(CodeNotPossible, "", "a user variable would hold a protected value, and a stored routine or trigger uses one of that name",
				"give the variable another name")
		}
	}
	return nil
}

// read notes that a variable is read.
func (p *residualPlanner) read(name string) {
	for i := range p.r.Assigns {
		a := &p.r.Assigns[i]
		a.Read = a.Read || FoldVariable(a.Name) == FoldVariable(name)
	}
}

// assign notes one assignment.
func (p *residualPlanner) assign(name string, plain bool) {
	p.assignments++
	for i := range p.r.Assigns {
		if a := &p.r.Assigns[i]; FoldVariable(a.Name) == FoldVariable(name) {
			a.Plain = a.Plain && plain
			return
		}
	}
	p.r.Assigns = append(p.r.Assigns, AssignedVariable{Name: name, Plain: plain})
}

// setVariables notes the variables of SET, all of which have to be user variables.
func (p *residualPlanner) setVariables(s *ast.SetStmt) error {
	other := refuse(CodeNotPossible, "", "SET of a system variable together with a protected value", "set user variables in a statement of their own")
	i := 1
	for _, a := range s.Variables {
		st := p.b.st
		if a.IsSystem || a.IsGlobal || a.ExtendValue != nil || st.Token(i).Kind != TokUserVar || !st.IsOp(i+1, OpEq) && !st.IsOp(i+1, OpAssign) ||
			FoldVariable(a.Name) != FoldVariable(st.Name(i)) {
			return other
		}
		p.assign(st.Name(i), p.plainExpression(nil, a.Value))
		for i += 2; i < st.Len() && !st.IsOp(i, OpComma); i++ {
			if st.IsOp(i, OpLeftParen) {
				if i = st.Match(i); i < 0 {
					return other
				}
			}
		}
		i++
	}
	if i != p.b.st.Len()+1 {
		return other
	}
	p.b.plan.Effects = 0
	return nil
}

// intoVariables notes the variables behind INTO, each of which takes a column of the select list.
func (p *residualPlanner) intoVariables(n ast.Node) error {
	if p.b.parsed.Cut&CutIntoVariable == 0 {
		return nil
	}
	st := p.b.st
	var names []string
	for i := range st.Tokens() {
		if !st.Is(i, KwInto) {
			continue
		}
		for k := i + 1; ; k += 2 {
			if st.Token(k).Kind != TokUserVar || names != nil && k == i+1 {
				return notUnderstood("INTO of something else than user variables", "")
			}
			names = append(names, st.Name(k))
			if !st.IsOp(k+1, OpComma) {
				break
			}
		}
	}
	s, single := n.(*ast.SelectStmt)
	single = single && s.Fields != nil && len(s.Fields.Fields) == len(names)
	for i, name := range names {
		plain := false
		if single && s.Fields.Fields[i].WildCard == nil && len(p.blocks) > 0 {
			plain = p.plainExpression(p.blocks[0], s.Fields.Fields[i].Expr)
		}
		p.assign(name, plain)
	}
	return nil
}

// assignmentFinder notes the variables that expressions assign.
type assignmentFinder struct {
	p *residualPlanner
	// around are the blocks around a node.
	around []*queryBlock
	// item is the select item around a node, nil in the other clauses.
	item ast.ExprNode
}

// Enter implements ast.Visitor.
func (v *assignmentFinder) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.SelectStmt:
		i := slices.IndexFunc(v.p.blocks, func(q *queryBlock) bool { return q.sel == x })
		if i < 0 {
			v.around = append(v.around, nil)
		} else {
			v.around = append(v.around, v.p.blocks[i])
		}
	case *ast.SelectField:
		if len(v.around) == 1 {
			v.item = x.Expr
		}
	case *ast.VariableExpr:
		if x.Value == nil {
			break
		}
		plain := len(v.around) == 1 && v.around[0] != nil && v.p.plainExpression(v.around[0], x.Value) && v.plainItem()
		v.p.assign(x.Name, plain)
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *assignmentFinder) Leave(n ast.Node) (ast.Node, bool) {
	switch n.(type) {
	case *ast.SelectStmt:
		v.around = v.around[:len(v.around)-1]
	case *ast.SelectField:
		if len(v.around) == 1 {
			v.item = nil
		}
	}
	return n, true
}

// plainItem reports whether the select item names no protected column, which could decide whether its assignment is reached:
// IF(title LIKE 'a%', @t := 1, @t := 2).
func (v *assignmentFinder) plainItem() bool {
	if v.item == nil {
		return true
	}
	plain := &plainVisitor{p: v.p, q: v.around[0], columns: true}
	v.item.Accept(plain)
	return !plain.failed
}

// plainExpression reports whether the value of an expression in a block (nil for SET) depends on no protected column and on no
// variable that is kept or assigned to in the statement, but for itself.
func (p *residualPlanner) plainExpression(q *queryBlock, e ast.ExprNode) bool {
	v := &plainVisitor{p: p, q: q}
	e.Accept(v)
	return !v.failed
}

type plainVisitor struct {
	p *residualPlanner
	q *queryBlock
	// columns: only columns are looked at, and what may hide them.
	columns bool
	failed  bool
}

// Enter implements ast.Visitor.
func (v *plainVisitor) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.ColumnNameExpr:
		if v.q == nil || len(v.q.derived) > 0 {
			v.failed = true
			break
		}
		u, _, prot := v.p.resolve(v.q, x.Name)
		v.failed = v.failed || u == nil || prot != nil || v.q.aliases(x.Name)
	case *ast.SubqueryExpr, *ast.ExistsSubqueryExpr, *ast.DefaultExpr, *ast.ValuesExpr, *ast.MatchAgainst, *ast.PositionExpr, *ast.WindowFuncExpr:
		v.failed = true
	case *ast.VariableExpr:
		v.failed = v.failed || !v.columns && !x.IsSystem && v.tainted(FoldVariable(x.Name))
	case *paramMarker:
		v.failed = v.failed || !v.columns && v.p.b.keptMarker(x)
	}
	return n, v.failed
}

// aliases reports whether a column name without a table's may be the alias of a select item, which HAVING and others take first.
func (q *queryBlock) aliases(n *ast.ColumnName) bool {
	if n.Table.O != "" || q.sel == nil || q.sel.Fields == nil {
		return false
	}
	return slices.ContainsFunc(q.sel.Fields.Fields, func(f *ast.SelectField) bool { return FoldName(f.AsName.O) == FoldName(n.Name.O) })
}

// tainted reports whether a variable is kept, or may become so in the statement.
func (v *plainVisitor) tainted(name string) bool {
	if keptName(v.p.b.kept, name) {
		return true
	}
	st := v.p.b.st
	for i := range st.Tokens() {
		if st.Token(i).Kind == TokUserVar && v.p.b.assigns(i) && FoldVariable(st.Name(i)) == name {
			return !v.own(i)
		}
	}
	return false
}

// own reports whether a variable is assigned once, by an expression of its own that is looked at elsewhere: @n := @n + 1.
func (v *plainVisitor) own(at int) bool {
	st, name, n := v.p.b.st, FoldVariable(v.p.b.st.Name(at)), 0
	for i := range st.Tokens() {
		if st.Token(i).Kind == TokUserVar && v.p.b.assigns(i) && FoldVariable(st.Name(i)) != name {
			return false
		}
		if st.Token(i).Kind == TokUserVar && v.p.b.assigns(i) {
			n++
		}
	}
	return n == 1
}

// Leave implements ast.Visitor.
func (v *plainVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, !v.failed }

// StoresVariable reports whether a stored routine or trigger of the schema uses one of the user variables, by folded name.
func (p *Planner) StoresVariable(names map[string]bool) bool {
	for name := range names {
		if p.touch.storedVariable(p.schema, name) {
			return true
		}
	}
	return false
}

// storedVariable reports whether a stored routine or trigger names a user variable.
func (t *touchSet) storedVariable(s *Schema, name string) bool {
	names := func(r *Routine) bool { return namesVariable(foldTouch(r.Body), name) }
	for _, tables := range s.Databases {
		for _, table := range tables {
			if slices.ContainsFunc(table.Triggers, names) {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.Routines, names)
}

// namesVariable reports whether a folded text holds a user variable's folded name, in any quotes, or one that begins with it and
// goes on with blanks.
func namesVariable(text, name string) bool {
	for {
		at := strings.IndexByte(text, '@')
		if at < 0 {
			return false
		}
		text = text[at+1:]
		rest, quote := text, ""
		if rest != "" && strings.ContainsRune("`'\"", rune(rest[0])) {
			rest, quote = rest[1:], rest[:1]
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return !wordRune(r) && r != '.' })
		if quote != "" {
			end = strings.Index(rest, quote)
		}
		if end < 0 {
			end = len(rest)
		}
		if FoldVariable(rest[:end]) == name || !asciiName(rest[:end]) && mayBeEqual(name, rest[:end]) {
			return true
		}
	}
}
