package rewrite

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
)

// conjunct is a condition over one table's plain columns, constants and functions of them, or an equality that tags decide.
// It stands where a row that it does not accept cannot matter to the statement.
type conjunct struct {
	from, to int // real tokens
	refs     []columnRef
	tag      *Piece // instead of the tokens; its Left is filled in with the alias
	column   string // of tag
}

// columnRef is a column's name in a condition, with its qualifiers.
type columnRef struct {
	from, to int
	name     string // as the table has it
}

// joinPair is `column = other.otherColumn` between two tables of a block.
type joinPair struct {
	column, otherColumn string
	other               *tableUse
}

// push finds out which conjuncts of a condition narrow the fetch of which table, and reports whether all of them do, exactly.
func (p *residualPlanner) push(c condition, e ast.ExprNode, ends func(*Statement, int) bool) bool {
	from := p.start(e)
	if from < 0 {
		return false
	}
	to := from
	for to < p.b.st.Len() && !ends(p.b.st, to) {
		if p.b.st.IsOp(to, OpLeftParen) {
			m := p.b.st.Match(to)
			if m < 0 {
				return false
			}
			to = m
		}
		to++
	}
	return p.split(c, e, from, to-1)
}

// start gives the first token of an expression, its introducer included.
func (p *residualPlanner) start(e ast.ExprNode) int {
	from := p.b.parsed.TokenAt(e.OriginTextPosition())
	if from > 0 && p.b.st.Token(from-1).Kind == TokIntroducer {
		from--
	}
	return from
}

// split takes a condition apart at its ANDs.
func (p *residualPlanner) split(c condition, e ast.ExprNode, from, to int) bool {
	switch x := e.(type) {
	case *ast.ParenthesesExpr:
		if p.b.st.IsOp(from, OpLeftParen) && p.b.st.Match(from) == to {
			return p.split(c, x.Expr, from+1, to-1)
		}
		return false
	case *ast.BinaryOperationExpr:
		if x.Op != opcode.LogicAnd {
			break
		}
		middle := p.start(x.R)
		if middle <= from || middle > to || !p.b.st.Is(middle-1, KwAnd) && !p.b.st.IsOp(middle-1, OpAndAnd) {
			return false
		}
		left := p.split(c, x.L, from, middle-2)
		return p.split(c, x.R, middle, to) && left
	}
	return p.conjunct(c, e, from, to)
}

// conjunct pushes one condition, where it may be.
func (p *residualPlanner) conjunct(in condition, e ast.ExprNode, from, to int) bool {
	p.joins(in, e)
	c := conjunct{from: from, to: to}
	v := &conditionVisitor{p: p, q: in.q}
	e.Accept(v)
	if v.failed || v.use == nil || v.use.whole || !v.within(from, to) || !p.computable(from, to) {
		return false
	}
	c.refs = v.refs
	if v.prot != nil {
		if c.tag, c.column = p.tagRange(e, v, in.positive); c.tag == nil {
			return false
		}
	}
	for _, r := range in.reach {
		if r.use == v.use && (!r.nullable || rejectsNull(e)) {
			r.use.conjuncts = append(r.use.conjuncts, c)
			// A tag condition is TRUE for a value that has no tag, so what it leaves is no more than a superset.
			return c.tag == nil
		}
	}
	return false
}

// conditionVisitor finds out whether a condition is about one table only, and where its columns stand.
type conditionVisitor struct {
	p      *residualPlanner
	q      *queryBlock
	use    *tableUse
	refs   []columnRef
	prot   *Protected
	marks  []int // tokens of everything with a place
	failed bool
}

// Enter implements ast.Visitor.
func (v *conditionVisitor) Enter(n ast.Node) (ast.Node, bool) {
	if v.failed {
		return n, true
	}
	if e, ok := n.(ast.ExprNode); ok {
		if i := v.p.b.parsed.TokenAt(e.OriginTextPosition()); i >= 0 {
			v.marks = append(v.marks, i)
		}
	}
	switch x := n.(type) {
	case *ast.ColumnNameExpr:
		v.column(x)
		return n, true
	case *ast.SubqueryExpr, *ast.ExistsSubqueryExpr, *ast.AggregateFuncExpr, *ast.WindowFuncExpr, *ast.DefaultExpr,
		*ast.ValuesExpr, *ast.MatchAgainst, *ast.PositionExpr:
		v.failed = true
	}
	return n, v.failed
}

// Leave implements ast.Visitor.
func (v *conditionVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, !v.failed }

func (v *conditionVisitor) column(x *ast.ColumnNameExpr) {
	if x.Name.Table.O == "" && len(v.q.derived) > 0 {
		// It may be the name of a protected column in there too, and the literal beside it one of that column.
		v.failed = true
		return
	}
	u, c, prot := v.p.resolve(v.q, x.Name)
	from := v.p.b.parsed.TokenAt(x.OriginTextPosition())
	to, ok := -1, false
	if from >= 0 {
		to, ok = v.p.b.nameEnd(from, x.Name)
	}
	if u == nil || !ok || v.use != nil && v.use != u || v.p.b.st.GroupOf(from) >= 0 {
		v.failed = true
		return
	}
	v.use = u
	if prot != nil {
		if v.prot != nil {
			v.failed = true
			return
		}
		v.prot = prot
	}
	v.refs = append(v.refs, columnRef{from, to, c.Name})
	v.marks = append(v.marks, to)
}

// within reports whether everything that was seen stands between two tokens: the extent of the condition is what it was
// taken for.
func (v *conditionVisitor) within(from, to int) bool {
	return to >= from && !slices.ContainsFunc(v.marks, func(i int) bool { return i < from || i > to })
}

// resolve finds the only table of a block that a column name can mean.
func (p *residualPlanner) resolve(q *queryBlock, n *ast.ColumnName) (*tableUse, *Column, *Protected) {
	column := FoldName(n.Name.O)
	lower := p.b.p.schema.LowerCaseTableNames
	var found *tableUse
	var foundColumn *Column
	var foundProt *Protected
	for _, u := range q.uses {
		if n.Table.O != "" && FoldTable(n.Table.O, lower) != u.name ||
			n.Schema.O != "" && FoldTable(n.Schema.O, lower) != FoldTable(u.of.table.Database, lower) {
			continue
		}
		c, prot := u.of.column(column)
		if c == nil {
			continue
		}
		if found != nil {
			return nil, nil, nil
		}
		found, foundColumn, foundProt = u, c, prot
	}
	return found, foundColumn, foundProt
}

// computable reports whether the tokens hold nothing whose value may differ between the two servers or between calls.
func (p *residualPlanner) computable(from, to int) bool {
	for i := from; i <= to; i++ {
		t := p.b.st.Token(i)
		switch {
		case t.Kind == TokUserVar && !p.backendHas(i), t.Kind == TokParam && p.b.opaque, t.Kind == TokSysVar, t.Op() == OpAssign:
			return false
		case t.IsIdentifier() && p.b.st.IsOp(i+1, OpLeftParen):
			name := FoldName(p.b.st.Name(i))
			if k := functions[name]; k != funcPure && k != funcClock && k != funcSession && !opensList[name] {
				return false
			}
		}
	}
	return true
}

// backendHas reports whether the user variable at a token has the value on the backend that it has in the statement.
func (p *residualPlanner) backendHas(i int) bool {
	st := p.b.st
	name := FoldVariable(st.Name(i))
	if !asciiName(name) || keptName(p.b.kept, name) {
		return false
	}
	for k := range st.Tokens() {
		if st.Token(k).Kind == TokUserVar && p.b.assigns(k) && (FoldVariable(st.Name(k)) == name || !asciiName(st.Name(k))) {
			return false
		}
	}
	return true
}

// tagRange makes the range condition of `column = value` and `column IN (values)` over a searchable column. It only narrows:
// a value that has no tag makes it true.
func (p *residualPlanner) tagRange(e ast.ExprNode, v *conditionVisitor, positive bool) (*Piece, string) {
	if len(v.refs) != 1 || v.prot.Away || tagged(v.prot, positive) != nil {
		return nil, ""
	}
	piece := &Piece{Kind: PieceRange, Column: v.prot, Loose: true}
	switch x := unparen(e).(type) {
	case *ast.BinaryOperationExpr:
		column, operand := x.L, x.R
		if _, ok := unparen(column).(*ast.ColumnNameExpr); !ok {
			column, operand = operand, column
		}
		if _, ok := unparen(column).(*ast.ColumnNameExpr); !ok || x.Op != opcode.EQ {
			return nil, ""
		}
		value, _, _, ok := p.b.operand(operand, p.b.parsed.TokenAt(operand.OriginTextPosition()))
		if !ok || value.Kind == ValueNull {
			return nil, ""
		}
		piece.Values = []Value{value}
	case *ast.PatternInExpr:
		if _, ok := unparen(x.Expr).(*ast.ColumnNameExpr); !ok || x.Not || x.Sel != nil {
			return nil, ""
		}
		for _, operand := range x.List {
			value, _, _, ok := p.b.operand(operand, p.b.parsed.TokenAt(operand.OriginTextPosition()))
			if !ok {
				return nil, ""
			}
			value.List = p.b.inList(value.Token)
			piece.Values = append(piece.Values, value)
		}
	default:
		return nil, ""
	}
	p.b.searches(v.prot)
	return piece, v.refs[0].name
}

// rejectsNull reports whether a condition cannot be true when its column is NULL.
func rejectsNull(e ast.ExprNode) bool {
	bare := func(e ast.ExprNode) bool {
		_, ok := unparen(e).(*ast.ColumnNameExpr)
		return ok
	}
	switch x := unparen(e).(type) {
	case *ast.BinaryOperationExpr:
		switch x.Op {
		case opcode.EQ, opcode.NE, opcode.LT, opcode.LE, opcode.GT, opcode.GE:
			return bare(x.L) || bare(x.R)
		}
	case *ast.PatternInExpr:
		return bare(x.Expr)
	case *ast.BetweenExpr:
		return bare(x.Expr)
	case *ast.PatternLikeOrIlikeExpr:
		return bare(x.Expr)
	case *ast.IsNullExpr:
		return x.Not && bare(x.Expr)
	}
	return false
}

// joins notes `a.x = b.y` over plain columns, through which a condition on one table narrows the other.
func (p *residualPlanner) joins(in condition, e ast.ExprNode) {
	x, ok := unparen(e).(*ast.BinaryOperationExpr)
	if !ok || x.Op != opcode.EQ {
		return
	}
	l, lok := unparen(x.L).(*ast.ColumnNameExpr)
	r, rok := unparen(x.R).(*ast.ColumnNameExpr)
	if !lok || !rok {
		return
	}
	lu, lc, lp := p.resolve(in.q, l.Name)
	ru, rc, rp := p.resolve(in.q, r.Name)
	if lu == nil || ru == nil {
		p.outward(in, lu, lc, lp, r.Name)
		p.outward(in, ru, rc, rp, l.Name)
	}
	if lu == nil || ru == nil || lu == ru || lp != nil || rp != nil || lu.whole || ru.whole {
		return
	}
	for _, r := range in.reach {
		switch r.use {
		case lu:
			lu.equal = append(lu.equal, joinPair{lc.Name, rc.Name, ru})
		case ru:
			ru.equal = append(ru.equal, joinPair{rc.Name, lc.Name, lu})
		}
	}
}

// correlation is `column = name` in a query, where name is a column of a query around it.
type correlation struct {
	use    *tableUse
	column string
	name   *ast.ColumnName
}

// outward notes a condition between a plain column of the block and what may be one of a block around it: of the table inside,
// only rows with a value of the one outside can matter, since rows that the one outside lacks are not there to be computed for.
// A name without a table's could be that of a select item.
func (p *residualPlanner) outward(in condition, u *tableUse, c *Column, prot *Protected, name *ast.ColumnName) {
	if u == nil || prot != nil || u.whole || in.q.outer == nil || name.Table.O == "" || p.inReach(in.q, name) {
		return
	}
	if slices.ContainsFunc(in.reach, func(r reachable) bool { return r.use == u }) {
		p.correlated = append(p.correlated, correlation{u, c.Name, name})
	}
}

// inReach reports whether a block has a table, or what stands like one, that the qualifier of a column name may mean.
func (p *residualPlanner) inReach(q *queryBlock, n *ast.ColumnName) bool {
	qualifier := FoldTable(n.Table.O, p.b.p.schema.LowerCaseTableNames)
	return slices.Contains(q.derived, qualifier) || slices.ContainsFunc(q.uses, func(u *tableUse) bool { return u.name == qualifier })
}

// correlate finds the tables around the queries whose conditions name them. A column that UPDATE assigns is left out, since what
// stands behind its assignment sees the new value.
func (p *residualPlanner) correlate() {
	assigned := func(string) bool { return false }
	if s, ok := p.b.parsed.Node.(*ast.UpdateStmt); ok {
		assigned = func(column string) bool {
			return slices.ContainsFunc(s.List, func(a *ast.Assignment) bool { return FoldName(a.Column.Name.O) == FoldName(column) })
		}
	}
	for _, c := range p.correlated {
		for q := c.use.block.outer; q != nil; q = q.outer {
			if !p.inReach(q, c.name) {
				continue
			}
			if u, column, prot := p.resolve(q, c.name); u != nil && prot == nil && !u.whole && !assigned(column.Name) {
				c.use.equal = append(c.use.equal, joinPair{c.column, column.Name, u})
			}
			break
		}
	}
}

// maxSemiJoins bounds how far a condition is followed from table to table.
const maxSemiJoins = 3

// where adds the condition of a fetch: any of the uses of the table may need a row.
func (p *residualPlanner) where(t *usedTable, as string, l *Load) {
	var pieces []Piece
	var texts []string
	for i, u := range t.uses {
		condition := p.condition(u, as, []*tableUse{u})
		if len(condition) == 0 {
			return
		}
		if i > 0 {
			pieces = append(pieces, Piece{Kind: PieceText, Text: " OR "})
		}
		pieces = append(pieces, condition...)
		texts = append(texts, p.describeUse(u)...)
	}
	l.Fetch = append(append(l.Fetch, Piece{Kind: PieceText, Text: " WHERE "}), pieces...)
	l.Pushed = texts
}

// condition gives the conjunction of what narrows one use of a table, in parentheses; nothing when nothing does. path are the
// uses that led here.
func (p *residualPlanner) condition(u *tableUse, as string, path []*tableUse) []Piece {
	var parts [][]Piece
	for _, c := range u.conjuncts {
		parts = append(parts, p.render(c, as))
	}
	if len(path) <= maxSemiJoins {
		for _, pair := range u.equal {
			if slices.Contains(path, pair.other) {
				continue
			}
			inner := "`lkj" + strconv.Itoa(len(path)) + "`"
			condition := p.condition(pair.other, inner, append(slices.Clone(path), pair.other))
			if len(condition) == 0 {
				continue
			}
			of := pair.other.of.table
			text := as + "." + quoteName(pair.column) + " IN (SELECT " + inner + "." + quoteName(pair.otherColumn) + " FROM " +
				quoteName(of.Database) + "." + quoteName(of.Name) + " AS " + inner + " WHERE "
			end := ")"
			if p.r.Locks || p.r.Write != nil {
				// A read that locks sees what is committed now. So must this one, or it would leave out rows of which a snapshot
				// of the transaction's knows nothing.
				end = " LOCK IN SHARE MODE)"
			}
			part := append([]Piece{{Kind: PieceText, Text: text}}, condition...)
			parts = append(parts, append(part, Piece{Kind: PieceText, Text: end}))
		}
	}
	var all []Piece
	for i, part := range parts {
		open := " AND ("
		if i == 0 {
			open = "(("
		}
		all = append(append(append(all, Piece{Kind: PieceText, Text: open}), part...), Piece{Kind: PieceText, Text: ")"})
	}
	if len(all) > 0 {
		all = append(all, Piece{Kind: PieceText, Text: ")"})
	}
	return all
}

// render gives a conjunct with its columns under the alias of a fetch.
func (p *residualPlanner) render(c conjunct, as string) []Piece {
	if c.tag != nil {
		piece := *c.tag
		piece.Left = as + "." + quoteName(c.column)
		piece.Values = slices.Clone(c.tag.Values)
		return []Piece{piece}
	}
	return renamed(c.from, c.to, c.refs, as)
}

// renamed copies tokens with the column names in them replaced.
func renamed(from, to int, refs []columnRef, as string) []Piece {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b columnRef) int { return a.from - b.from })
	var pieces []Piece
	for _, ref := range refs {
		if ref.from > from {
			pieces = append(pieces, Piece{Kind: PieceSource, From: from, To: ref.from - 1})
		}
		pieces = append(pieces, Piece{Kind: PieceText, Text: " " + as + "." + quoteName(ref.name) + " "})
		from = ref.to + 1
	}
	if from <= to {
		pieces = append(pieces, Piece{Kind: PieceSource, From: from, To: to})
	}
	return pieces
}

// describeUse writes the conditions of a use without their literals.
func (p *residualPlanner) describeUse(u *tableUse) []string {
	var all []string
	for _, c := range u.conjuncts {
		var s strings.Builder
		for i := c.from; i <= c.to; i++ {
			if i > c.from && !p.b.st.Token(i).Glued() {
				s.WriteByte(' ')
			}
			if p.b.st.Token(i).Kind.IsLiteral() {
				s.WriteByte('?')
			} else {
				s.Write(p.b.st.Text(i))
			}
		}
		all = append(all, s.String())
	}
	for _, pair := range u.equal {
		if len(p.condition(pair.other, "", []*tableUse{u, pair.other})) > 0 {
			all = append(all, pair.column+" IN (SELECT "+pair.otherColumn+" FROM "+pair.other.of.table.Name+")")
		}
	}
	return all
}

// limited gives ` ORDER BY ... LIMIT n` for a fetch, when the statement is one SELECT over one table that keeps every row, and
// its conditions and its order are all evaluated by the backend.
func (p *residualPlanner) limited(t *usedTable, as string) ([]Piece, bool) {
	s, ok := p.b.parsed.Node.(*ast.SelectStmt)
	if !ok || len(p.blocks) != 1 || len(t.uses) != 1 || len(p.tables) != 1 || !p.blocks[0].pushedAll || s.Limit == nil ||
		s.Distinct || s.GroupBy != nil || s.Having != nil || len(s.WindowSpecs) > 0 || s.With != nil || p.r.FoundRows ||
		p.b.parsed.Cut&CutFetch != 0 {
		return nil, false
	}
	var rows rowChanger
	for _, f := range s.Fields.Fields {
		f.Accept(&rows)
	}
	at := p.b.keywordAt(p.b.innerStart(), KwLimit)
	limit, ok := p.b.limitValues(at)
	if bool(rows) || !ok {
		return nil, false
	}
	end := Piece{Kind: PieceLimit, Values: limit}
	if s.OrderBy == nil {
		var pieces []Piece
		if keys := keyColumns(t.table); len(keys) > 0 {
			text := " ORDER BY "
			for i, c := range keys {
				if i > 0 {
					text += ","
				}
				text += as + "." + quoteName(c)
			}
			pieces = []Piece{{Kind: PieceText, Text: text}}
		}
		return append(pieces, end), true
	}
	from := p.b.keywordAt(p.b.innerStart(), KwOrder)
	refs, ok := p.ordering(s)
	if from < 0 || from+2 >= at || !ok || !p.computable(from+2, at-1) {
		return nil, false
	}
	pieces := append([]Piece{{Kind: PieceText, Text: " ORDER BY "}}, renamed(from+2, at-1, refs, as)...)
	return append(pieces, end), true
}

// rowChanger finds what makes one row of several, or needs all of them: aggregates, windows and subqueries.
type rowChanger bool

// Enter implements ast.Visitor.
func (v *rowChanger) Enter(n ast.Node) (ast.Node, bool) {
	switch n.(type) {
	case *ast.AggregateFuncExpr, *ast.WindowFuncExpr, *ast.SubqueryExpr, *ast.ExistsSubqueryExpr:
		*v = true
	}
	return n, bool(*v)
}

// Leave implements ast.Visitor.
func (v *rowChanger) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// ordering gives the columns of ORDER BY, when it names nothing but plain columns of the table and expressions of them.
func (p *residualPlanner) ordering(s *ast.SelectStmt) ([]columnRef, bool) {
	v := &conditionVisitor{p: p, q: p.blocks[0]}
	for _, item := range s.OrderBy.Items {
		if positionLike(item.Expr) {
			return nil, false
		}
		item.Expr.Accept(v)
		if v.failed || v.prot != nil {
			return nil, false
		}
	}
	for _, ref := range v.refs {
		for _, f := range s.Fields.Fields {
			if f.AsName.O != "" && FoldName(f.AsName.O) == FoldName(ref.name) {
				return nil, false
			}
		}
	}
	return v.refs, v.use != nil
}

// limitValues reads `LIMIT n`, `LIMIT offset, n` and `LIMIT n OFFSET offset` at a token.
func (b *builder) limitValues(at int) ([]Value, bool) {
	value := func(i int) (Value, bool) {
		switch b.st.Token(i).Kind {
		case TokInteger:
			return Value{Kind: ValueLiteral, Token: i}, true
		case TokParam:
			return Value{Kind: ValueParam, Token: i}, !b.opaque
		}
		return Value{}, false
	}
	if at < 0 {
		return nil, false
	}
	first, ok := value(at + 1)
	if !ok {
		return nil, false
	}
	if !b.st.IsOp(at+2, OpComma) && !b.st.Is(at+2, KwOffset) {
		return []Value{first}, true
	}
	second, ok := value(at + 3)
	return []Value{first, second}, ok
}

// whereEnds reports whether a token ends a WHERE clause.
func whereEnds(st *Statement, i int) bool {
	switch st.Keyword(i) {
	case KwGroup, KwHaving, KwOrder, KwLimit, KwUnion, KwExcept, KwIntersect, KwFor, KwInto, KwProcedure, KwReturning,
		KwOffset, KwFetch:
		return true
	case KwLock:
		return st.Is(i+1, KwIn)
	case KwWindow:
		return st.Is(i+2, KwAs)
	case KwOn:
		return st.Is(i+1, KwDuplicate)
	}
	return st.IsOp(i, OpRightParen) || st.IsOp(i, OpSemicolon)
}

// onEnds reports whether a token ends the condition of a join.
func onEnds(st *Statement, i int) bool {
	switch st.Keyword(i) {
	case KwJoin, KwInner, KwCross, KwNatural, KwStraightJoin, KwWhere, KwOn, KwUsing:
		return true
	case KwLeft, KwRight:
		return st.Is(i+1, KwJoin) || st.Is(i+1, KwOuter)
	}
	return st.IsOp(i, OpComma) || whereEnds(st, i)
}
