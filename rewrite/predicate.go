package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"latchkey/rewrite/logical"
)

// unparen takes parentheses off an expression.
func unparen(e ast.ExprNode) ast.ExprNode {
	for {
		p, ok := e.(*ast.ParenthesesExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// cond plans a condition. positive says that the condition stands where a row that it does not accept only drops out of the
// answer: under AND and OR of a WHERE or HAVING, or the ON of an inner join. There a tag predicate over every key on the keyring is right: it sees
// the rows of the unlocked owners. Anywhere else a row under another key would count as "not equal" although nobody
// knows, so a tag may decide only where every cell is known to be under one key.
func (b *builder) cond(e ast.ExprNode, sc *scope, positive bool) error {
	switch x := e.(type) {
	case *ast.ParenthesesExpr:
		return b.cond(x.Expr, sc, positive)
	case *ast.BinaryOperationExpr:
		switch x.Op {
		case opcode.LogicAnd, opcode.LogicOr:
			if err := b.cond(x.L, sc, positive); err != nil {
				return err
			}
			return b.cond(x.R, sc, positive)
		case opcode.EQ, opcode.NE, opcode.NullEQ:
			return b.compare(x, sc, positive)
		}
	case *ast.PatternInExpr:
		return b.in(x, sc, positive)
	case *ast.IsNullExpr:
		if x.Not {
			return b.notNull(x.Expr, sc)
		}
		return b.isNull(x.Expr, sc)
	case *ast.ExistsSubqueryExpr:
		return b.exists(x.Sel, sc, positive && !x.Not)
	case *ast.CompareSubqueryExpr:
		return b.compareSubquery(x, sc, positive)
	case *ast.FuncCallExpr:
		if x.FnName.L == ast.IsNull && len(x.Args) == 1 && x.Schema.O == "" {
			return b.isNull(x.Args[0], sc)
		}
	case *ast.UnaryOperationExpr:
		if x.Op == opcode.Not || x.Op == opcode.Not2 {
			return b.cond(x.V, sc, false)
		}
	}
	return b.children(e, sc)
}

// isNull plans the operand of IS NULL. A date that cannot be NULL is so when it is zero.
// https://mariadb.com/kb/en/is-null/
func (b *builder) isNull(operand ast.ExprNode, sc *scope) error {
	p, err := b.bare(operand, sc)
	if err == nil && p != nil && !p.Nullable && (p.Type.Family() == logical.FamilyDate || p.Type.Family() == logical.FamilyDateTime) {
		return notPossible(p, "IS NULL finds zero dates in a column that is NOT NULL", "leave the condition out, or compare with the zero date")
	}
	return b.notNull(operand, sc)
}

// notNull plans the operand of IS [NOT] NULL.
func (b *builder) notNull(operand ast.ExprNode, sc *scope) error {
	p, err := b.bare(operand, sc)
	if err != nil || p != nil {
		return err
	}
	before := len(b.edits)
	if err := b.walk(operand, sc); err != nil {
		return err
	}
	if len(b.edits) > before && hasRow(operand) {
		// The server takes a comparison of rows for one that is never NULL here, which it does not of what stands for it.
		return notUnderstood("IS NULL of a comparison of rows with a protected column", "write the comparisons one by one")
	}
	return nil
}

func hasRow(n ast.Node) bool {
	var v rowFinder
	n.Accept(&v)
	return bool(v)
}

// rowFinder looks for a row among expressions.
type rowFinder bool

// Enter implements ast.Visitor.
func (v *rowFinder) Enter(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.RowExpr); ok {
		*v = true
	}
	return n, bool(*v)
}

// Leave implements ast.Visitor.
func (v *rowFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// exists plans the query of EXISTS, whose select list is not a result.
func (b *builder) exists(sel ast.ExprNode, sc *scope, positive bool) error {
	sub, ok := sel.(*ast.SubqueryExpr)
	if !ok {
		return b.walk(sel, sc)
	}
	_, err := b.query(sub.Query, &scope{b: b, parsed: sc.parsed, outer: sc}, positive)
	return err
}

// walk plans an expression whose value is used: nothing in it may be a sealed column, save in the predicates that tags
// decide.
func (b *builder) walk(n ast.Node, sc *scope) error {
	if e, ok := n.(ast.ExprNode); ok {
		return b.expression(e, sc)
	}
	return b.children(n, sc)
}

// expression plans one expression node of which nothing is known yet.
func (b *builder) expression(e ast.ExprNode, sc *scope) error {
	switch x := e.(type) {
	case *ast.ColumnNameExpr:
		return b.plainName(x.Name, sc)
	case *ast.SubqueryExpr:
		return b.scalar(x, sc, false)
	case *ast.AggregateFuncExpr:
		return b.aggregate(x, sc)
	case *ast.FuncCallExpr:
		if b.p.touch.names[foldTouch(x.FnName.O)]&touchRoutine != 0 {
			return notUnderstood("a stored function in the statement may touch a protected column", "")
		}
	case *ast.MatchAgainst:
		for _, c := range x.ColumnNames {
			if err := b.plainName(c, sc); err != nil {
				return err
			}
		}
		return b.walk(x.Against, sc)
	case *ast.DefaultExpr:
		if x.Name == nil {
			return nil
		}
		return b.plainName(x.Name, sc)
	case *ast.CompareSubqueryExpr:
		return b.compareSubquery(x, sc, false)
	}
	return b.cond(e, sc, false)
}

// scalar plans a subquery whose value is used.
func (b *builder) scalar(x *ast.SubqueryExpr, sc *scope, positive bool) error {
	outs, err := b.query(x.Query, &scope{b: b, parsed: sc.parsed, outer: sc}, positive)
	if err != nil {
		return err
	}
	if p := anyProtected(outs); p != nil {
		return notPossible(p, "the result of a subquery over a sealed column is computed with", notSearchableHint)
	}
	return nil
}

// side plans one side of = or <>, which is not a sealed column. A subquery that gives a column of its rows gives NULL
// without rows, so that the comparison accepts nothing then; one that counts gives a value for rows it does not see.
func (b *builder) side(e ast.ExprNode, sc *scope, positive bool) error {
	if x, ok := unparen(e).(*ast.SubqueryExpr); ok {
		return b.scalar(x, sc, positive && selectsColumn(x))
	}
	return b.walk(e, sc)
}

func selectsColumn(x *ast.SubqueryExpr) bool {
	s, ok := x.Query.(*ast.SelectStmt)
	if !ok || s.Fields == nil || len(s.Fields.Fields) != 1 || s.Fields.Fields[0].Expr == nil {
		return false
	}
	_, ok = unparen(s.Fields.Fields[0].Expr).(*ast.ColumnNameExpr)
	return ok
}

// compareSubquery plans a = ANY (SELECT ...) and the like, of which only = ANY, which is IN, never accepts more for fewer
// rows.
func (b *builder) compareSubquery(x *ast.CompareSubqueryExpr, sc *scope, positive bool) error {
	if err := b.walk(x.L, sc); err != nil {
		return err
	}
	sub, ok := unparen(x.R).(*ast.SubqueryExpr)
	if !ok {
		return b.walk(x.R, sc)
	}
	return b.scalar(sub, sc, positive && !x.All && x.Op == opcode.EQ)
}

const notSearchableHint = "only reading it as it is, IS NULL and, with search: equality, = and IN are possible"

// plainName refuses a sealed column where a value is computed with.
func (b *builder) plainName(n *ast.ColumnName, sc *scope) error {
	f, err := sc.resolve(n)
	if err != nil {
		return err
	}
	if f.prot != nil {
		return notPossible(f.prot, "an expression cannot compute with a sealed column", notSearchableHint)
	}
	return nil
}

// children plans the parts of a node.
func (b *builder) children(n ast.Node, sc *scope) error {
	v := &childVisitor{b: b, sc: sc, root: n}
	n.Accept(v)
	return v.err
}

// childVisitor stops at the expressions directly below its root and plans each on its own.
type childVisitor struct {
	b    *builder
	sc   *scope
	root ast.Node
	err  error
}

// Enter implements ast.Visitor.
func (v *childVisitor) Enter(n ast.Node) (ast.Node, bool) {
	if v.err != nil {
		return n, true
	}
	if n == v.root {
		return n, false
	}
	switch x := n.(type) {
	case ast.ExprNode:
		v.err = v.b.walk(x, v.sc)
		return n, true
	case *ast.ColumnName:
		v.err = v.b.plainName(x, v.sc)
		return n, true
	case *ast.SelectStmt, *ast.SetOprStmt:
		v.err = notUnderstood("a query stands where none is known", "")
		return n, true
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *childVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, v.err == nil }

// bare resolves an expression that is a column and nothing else; nil for every other expression and for plain columns.
func (b *builder) bare(e ast.ExprNode, sc *scope) (*Protected, error) {
	c, ok := unparen(e).(*ast.ColumnNameExpr)
	if !ok {
		return nil, nil
	}
	f, err := sc.resolve(c.Name)
	return f.prot, err
}

// aggregate allows COUNT of a sealed column, and COUNT(DISTINCT) where tags may decide.
func (b *builder) aggregate(x *ast.AggregateFuncExpr, sc *scope) error {
	if !strings.EqualFold(x.F, ast.AggFuncCount) {
		return b.children(x, sc)
	}
	for _, arg := range x.Args {
		p, err := b.bare(arg, sc)
		if err != nil {
			return err
		}
		if p == nil {
			if err := b.walk(arg, sc); err != nil {
				return err
			}
			continue
		}
		if !x.Distinct {
			continue
		}
		if err := searchable(p, false); err != nil {
			return err
		}
		if p.HasOnEmpty {
			return notPossible(p, "COUNT(DISTINCT) cannot tell declared defaults from cells", "count without DISTINCT")
		}
		from, to, err := b.span(arg, sc)
		if err != nil {
			return err
		}
		left := b.text(from, to)
		b.searches(p)
		if err := b.edit(from, to, Piece{Kind: PieceTagOf, Column: p, Left: left}); err != nil {
			return err
		}
	}
	return nil
}

// searchable reports whether a tag predicate may stand over a column. positive is as in cond.
func searchable(p *Protected, positive bool) error {
	if p.Plaintext {
		return notPossible(p, "the column may still hold plaintext, which has no search tag", "convert the rows with `latchkey migrate`")
	}
	return tagged(p, positive)
}

// tagged reports whether the cells of a column have tags that tell which of them a condition accepts. positive is as in cond.
func tagged(p *Protected, positive bool) error {
	if !p.Search {
		return notPossible(p, "the column has no search tag", "set search: equality in the policy and convert the rows")
	}
	if err := p.Type.Searchable(); err != nil {
		return notPossible(p, "the column's type or collation has no search tags", "")
	}
	if !positive && p.ServiceKey == "" {
		return notPossible(p, "the answer would depend on rows under keys that are not known to this connection",
			"use a condition that only accepts equal values, or protect the column under a service key")
	}
	return nil
}

// searches notes that the plan leans on the search tags of a column.
func (b *builder) searches(p *Protected) {
	if !slices.Contains(b.plan.Searches, p) {
		b.plan.Searches = append(b.plan.Searches, p)
	}
}

// compare plans =, <> and <=>.
func (b *builder) compare(x *ast.BinaryOperationExpr, sc *scope, positive bool) error {
	lr, lok := unparen(x.L).(*ast.RowExpr)
	rr, rok := unparen(x.R).(*ast.RowExpr)
	if lok && rok {
		return b.compareRows(x, lr, rr, sc, positive)
	}
	lp, err := b.bare(x.L, sc)
	if err != nil {
		return err
	}
	rp, err := b.bare(x.R, sc)
	if err != nil {
		return err
	}
	switch {
	case lp == nil && rp == nil:
		positive = positive && x.Op != opcode.NullEQ
		if err := b.side(x.L, sc, positive); err != nil {
			return err
		}
		return b.side(x.R, sc, positive)
	case lp != nil && rp != nil:
		return b.equiJoin(x, lp, rp, sc)
	case lp != nil:
		return b.compareValue(x, lp, x.L, x.R, sc, positive)
	}
	return b.compareValue(x, rp, x.R, x.L, sc, positive)
}

// compareValue plans a comparison of a column with a literal or parameter, on either side.
func (b *builder) compareValue(x *ast.BinaryOperationExpr, p *Protected, column, operand ast.ExprNode, sc *scope, positive bool) error {
	v, ok := b.operandOf(operand, sc)
	if !ok {
		return notPossible(p, "it can be compared with a literal or a parameter only", notSearchableHint)
	}
	if v.Kind == ValueNull {
		// The server's own answer is right: NULL for = and <>, IS NULL for <=>, over cells as over plaintext.
		return nil
	}
	if err := searchable(p, positive && x.Op != opcode.NE); err != nil {
		return err
	}
	cf, ct, err := b.span(column, sc)
	if err != nil {
		return err
	}
	of, ot, err := b.span(operand, sc)
	if err != nil {
		return err
	}
	piece, err := b.rangePiece(p, column, sc, v)
	if err != nil {
		return err
	}
	piece.Negate, piece.NullSafe = x.Op == opcode.NE, x.Op == opcode.NullEQ
	if piece.NullSafe && !positive {
		// <=> is never NULL, and the definition of a result column says so.
		return b.edit(min(cf, of), max(ct, ot), Piece{Kind: PieceText, Text: "("}, piece, Piece{Kind: PieceText, Text: " IS TRUE)"})
	}
	return b.edit(min(cf, of), max(ct, ot), piece)
}

func (b *builder) rangePiece(p *Protected, column ast.ExprNode, sc *scope, values ...Value) (Piece, error) {
	from, to, err := b.span(unparen(column), sc)
	if err != nil {
		return Piece{}, err
	}
	b.searches(p)
	return Piece{Kind: PieceRange, Column: p, Left: b.text(from, to), Values: values}, nil
}

// equiJoin plans a = b over two sealed columns whose tags are comparable: same key, context and collation. Each side is a
// range over the other, so that the server can use an index of either.
func (b *builder) equiJoin(x *ast.BinaryOperationExpr, l, r *Protected, sc *scope) error {
	for _, p := range []*Protected{l, r} {
		if err := searchable(p, false); err != nil {
			return err
		}
		if p.HasOnEmpty {
			return notPossible(p, "a join cannot tell declared defaults from cells", "join on another column")
		}
	}
	if !l.SameContext(r) {
		return notPossible(l, "the joined columns have different contexts, so that equal values have different tags",
			"give both columns the same context, key and type in the policy")
	}
	if x.Op == opcode.NullEQ {
		return notPossible(l, "<=> between two sealed columns", "use = and IS NULL")
	}
	lf, lt, err := b.span(x.L, sc)
	if err != nil {
		return err
	}
	rf, rt, err := b.span(x.R, sc)
	if err != nil {
		return err
	}
	lcf, lct, err := b.span(unparen(x.L), sc)
	if err != nil {
		return err
	}
	rcf, rct, err := b.span(unparen(x.R), sc)
	if err != nil {
		return err
	}
	b.searches(l)
	b.searches(r)
	text := joinText(b.text(lcf, lct), b.text(rcf, rct))
	if x.Op == opcode.NE {
		text = "(NOT " + text + ")"
	}
	return b.edit(min(lf, rf), max(lt, rt), Piece{Kind: PieceText, Text: text})
}

// joinText is "equal tags" for two columns. The last two conditions keep an empty value, which no cell is, from matching
// everything.
func joinText(l, r string) string {
	upper := func(s string) string { return "CONCAT(LEFT(" + s + ",20),REPEAT(x'FF',20))" }
	return "(" + r + ">=LEFT(" + l + ",20) AND " + r + "<" + upper(l) +
		" AND " + l + ">=LEFT(" + r + ",20) AND " + l + "<" + upper(r) +
		" AND " + l + "<>'' AND " + r + "<>'')"
}

// in plans IN and NOT IN.
func (b *builder) in(x *ast.PatternInExpr, sc *scope, positive bool) error {
	if row, ok := unparen(x.Expr).(*ast.RowExpr); ok && x.Sel == nil {
		return b.inRows(x, row, sc, positive)
	}
	p, err := b.bare(x.Expr, sc)
	if err != nil {
		return err
	}
	if x.Sel != nil {
		if p != nil {
			return notPossible(p, "IN (SELECT ...) over a sealed column", "join the tables, or read the values first")
		}
		if err := b.walk(x.Expr, sc); err != nil {
			return err
		}
		return b.inSelect(x.Sel, sc, positive && !x.Not)
	}
	if p == nil {
		return b.children(x, sc)
	}
	if err := searchable(p, positive && !x.Not); err != nil {
		return err
	}
	values := make([]Value, 0, len(x.List))
	for _, e := range x.List {
		v, ok := b.operandOf(e, sc)
		if !ok {
			return notPossible(p, "IN compares it with literals and parameters only", notSearchableHint)
		}
		v.List = b.inList(v.Token)
		values = append(values, v)
	}
	from, to, err := b.span(x.Expr, sc)
	if err != nil {
		return err
	}
	open := to + 1
	if b.st.Is(open, KwNot) {
		open++
	}
	open++
	if !b.st.Is(open-1, KwIn) || !b.st.IsOp(open, OpLeftParen) || b.st.Match(open) < 0 {
		return notUnderstood("a list is not where it is expected", "")
	}
	piece, err := b.rangePiece(p, x.Expr, sc, values...)
	if err != nil {
		return err
	}
	piece.Negate = x.Not
	return b.edit(from, b.st.Match(open), piece)
}

// inList reports whether a token lies in a collapsed IN list.
func (b *builder) inList(token int) bool {
	g := b.st.GroupOf(token)
	return g >= 0 && b.st.Groups()[g].Kind == GroupList
}

// inSelect plans the query of plain IN (SELECT ...).
func (b *builder) inSelect(sel ast.ExprNode, sc *scope, positive bool) error {
	sub, ok := sel.(*ast.SubqueryExpr)
	if !ok {
		return b.walk(sel, sc)
	}
	outs, err := b.query(sub.Query, &scope{b: b, parsed: sc.parsed, outer: sc}, positive)
	if err != nil {
		return err
	}
	if p := anyProtected(outs); p != nil {
		return notPossible(p, "IN (SELECT ...) over a sealed column", "join the tables, or read the values first")
	}
	return nil
}

// compareRows plans (a, b) = (1, 'x'): the conjunction of its pairs.
func (b *builder) compareRows(x *ast.BinaryOperationExpr, l, r *ast.RowExpr, sc *scope, positive bool) error {
	if p, err := b.rowProtected(l, r, sc); err != nil {
		return err
	} else if p == nil {
		return b.children(x, sc)
	} else if x.Op == opcode.NullEQ {
		return notPossible(p, "<=> between rows", "write the comparisons one by one")
	}
	pieces, err := b.rowPieces(l, r, sc, positive && x.Op == opcode.EQ)
	if err != nil {
		return err
	}
	lf, lt, err := b.span(x.L, sc)
	if err != nil {
		return err
	}
	rf, rt, err := b.span(x.R, sc)
	if err != nil {
		return err
	}
	open := "("
	if x.Op == opcode.NE {
		open = "(NOT "
	}
	pieces = append([]Piece{{Kind: PieceText, Text: open}}, append(pieces, Piece{Kind: PieceText, Text: ")"})...)
	return b.edit(min(lf, rf), max(lt, rt), pieces...)
}

// inRows plans (a, b) IN ((1, 'x'), (2, 'y')).
func (b *builder) inRows(x *ast.PatternInExpr, l *ast.RowExpr, sc *scope, positive bool) error {
	first, err := b.rowProtected(l, nil, sc)
	if err != nil {
		return err
	}
	var rows []*ast.RowExpr
	for _, e := range x.List {
		r, ok := unparen(e).(*ast.RowExpr)
		if !ok {
			if first != nil {
				return notPossible(first, "IN over rows needs rows of literals", "")
			}
			return b.children(x, sc)
		}
		p, err := b.rowProtected(l, r, sc)
		if err != nil {
			return err
		}
		if first == nil {
			first = p
		}
		rows = append(rows, r)
	}
	if first == nil {
		return b.children(x, sc)
	}
	from, to, err := b.span(x.Expr, sc)
	if err != nil {
		return err
	}
	pieces := []Piece{{Kind: PieceText, Text: "("}}
	if x.Not {
		pieces[0].Text = "(NOT ("
	}
	end := to
	for i, r := range rows {
		if i > 0 {
			pieces = append(pieces, Piece{Kind: PieceText, Text: " OR "})
		}
		row, err := b.rowPieces(l, r, sc, positive && !x.Not)
		if err != nil {
			return err
		}
		pieces = append(pieces, row...)
		rf, rt, err := b.span(x.List[i], sc)
		if err != nil {
			return err
		}
		if b.inList(rf) {
			return notPossible(first, "IN over rows cannot be repeated", "write the rows as OR")
		}
		end = rt
	}
	end++
	if !b.st.IsOp(end, OpRightParen) {
		return notUnderstood("a list is not where it is expected", "")
	}
	closing := ")"
	if x.Not {
		closing = "))"
	}
	return b.edit(from, end, append(pieces, Piece{Kind: PieceText, Text: closing})...)
}

// rowProtected finds a sealed column among the elements of rows.
func (b *builder) rowProtected(l, r *ast.RowExpr, sc *scope) (*Protected, error) {
	for _, row := range []*ast.RowExpr{l, r} {
		if row == nil {
			continue
		}
		for _, e := range row.Values {
			p, err := b.bare(e, sc)
			if err != nil || p != nil {
				return p, err
			}
		}
	}
	return nil, nil
}

// rowPieces renders the pairs of two rows, joined by AND, in parentheses.
func (b *builder) rowPieces(l, r *ast.RowExpr, sc *scope, positive bool) ([]Piece, error) {
	if len(l.Values) != len(r.Values) {
		return nil, notUnderstood("rows of different length are compared", "")
	}
	pieces := []Piece{{Kind: PieceText, Text: "("}}
	for i := range l.Values {
		if i > 0 {
			pieces = append(pieces, Piece{Kind: PieceText, Text: " AND "})
		}
		pair, err := b.pairPieces(l.Values[i], r.Values[i], sc, positive)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, pair...)
	}
	return append(pieces, Piece{Kind: PieceText, Text: ")"}), nil
}

func (b *builder) pairPieces(l, r ast.ExprNode, sc *scope, positive bool) ([]Piece, error) {
	lp, err := b.bare(l, sc)
	if err != nil {
		return nil, err
	}
	rp, err := b.bare(r, sc)
	if err != nil {
		return nil, err
	}
	if lp != nil && rp != nil {
		return nil, notPossible(lp, "rows of sealed columns on both sides", "write the comparisons one by one")
	}
	if lp == nil && rp == nil {
		return b.plainPair(l, r, sc)
	}
	p, column, other := lp, l, r
	if lp == nil {
		p, column, other = rp, r, l
	}
	v, ok := b.operandOf(other, sc)
	if !ok {
		return nil, notPossible(p, "it can be compared with a literal or a parameter only", notSearchableHint)
	}
	if v.Kind == ValueNull {
		return []Piece{{Kind: PieceText, Text: "NULL"}}, nil
	}
	if err := searchable(p, positive); err != nil {
		return nil, err
	}
	piece, err := b.rangePiece(p, column, sc, v)
	return []Piece{piece}, err
}

// plainPair copies a pair of which neither side is sealed. Only names and literals have a known extent.
func (b *builder) plainPair(l, r ast.ExprNode, sc *scope) ([]Piece, error) {
	before := len(b.edits)
	for _, e := range []ast.ExprNode{l, r} {
		if err := b.walk(e, sc); err != nil {
			return nil, err
		}
	}
	if len(b.edits) > before {
		return nil, notUnderstood("a row holds a condition over a protected column", "write the comparisons one by one")
	}
	lf, lt, err := b.span(l, sc)
	if err != nil {
		return nil, err
	}
	rf, rt, err := b.span(r, sc)
	if err != nil {
		return nil, err
	}
	return []Piece{{Kind: PieceSource, From: lf, To: lt}, {Kind: PieceText, Text: "="}, {Kind: PieceSource, From: rf, To: rt}}, nil
}

// text gives the client's bytes of tokens without what stands between them. It is used for names only.
func (b *builder) text(from, to int) string {
	var s strings.Builder
	for i := from; i <= to; i++ {
		s.Write(b.st.Text(i))
	}
	return s.String()
}

// span gives the tokens of a column reference, a literal, a row, or any of them in parentheses.
func (b *builder) span(e ast.ExprNode, sc *scope) (from, to int, err error) {
	from = sc.parsed.TokenAt(e.OriginTextPosition())
	unknown := notUnderstood("the extent of an expression is not known", "write it in a simpler form")
	if from < 0 {
		return 0, 0, unknown
	}
	switch x := e.(type) {
	case *ast.ParenthesesExpr:
		if !b.st.IsOp(from, OpLeftParen) || b.st.Match(from) < 0 {
			return 0, 0, unknown
		}
		return from, b.st.Match(from), nil
	case *ast.RowExpr:
		open := from
		if b.st.Is(open, KwRow) {
			open++
		}
		if !b.st.IsOp(open, OpLeftParen) || b.st.Match(open) < 0 {
			return 0, 0, unknown
		}
		return from, b.st.Match(open), nil
	case *ast.ColumnNameExpr:
		to, ok := b.nameEnd(from, x.Name)
		if !ok {
			return 0, 0, unknown
		}
		return from, to, nil
	}
	if _, f, t, ok := b.operand(e, from); ok {
		return f, t, nil
	}
	return 0, 0, unknown
}

// nameEnd gives the last token of a column reference that starts at from, checked against the tree.
func (b *builder) nameEnd(from int, n *ast.ColumnName) (int, bool) {
	parts := []string{n.Name.O}
	if n.Table.O != "" {
		parts = append([]string{n.Table.O}, parts...)
	}
	if n.Schema.O != "" {
		parts = append([]string{n.Schema.O}, parts...)
	}
	i := from
	for k, part := range parts {
		if k > 0 {
			if !b.st.IsOp(i, OpDot) {
				return 0, false
			}
			i++
		}
		if !b.st.Token(i).IsIdentifier() || foldTouch(b.st.Name(i)) != foldTouch(part) {
			return 0, false
		}
		i++
	}
	return i - 1, true
}

// operandOf is operand for an expression of a scope.
func (b *builder) operandOf(e ast.ExprNode, sc *scope) (Value, bool) {
	v, _, _, ok := b.operand(e, sc.parsed.TokenAt(e.OriginTextPosition()))
	return v, ok
}

// operand reads an expression that is one literal, parameter, NULL, TRUE or FALSE, with sign, introducer, type word and
// parentheses; from and to are its tokens.
func (b *builder) operand(e ast.ExprNode, first int) (v Value, from, to int, ok bool) {
	if first < 0 || !literalNode(e) {
		return Value{}, 0, 0, false
	}
	v, to, ok = b.readValue(first)
	if !ok {
		return Value{}, 0, 0, false
	}
	if first > 0 && b.st.Token(first-1).Kind == TokIntroducer && v.Introducer == "" {
		// The canonical text leaves introducers out, so that the tree starts at the string itself.
		v.Introducer = strings.ToLower(strings.TrimPrefix(string(b.st.Text(first-1)), "_"))
		first--
	}
	return v, first, to, true
}

// literalNode reports whether the tree sees one value.
func literalNode(e ast.ExprNode) bool {
	switch x := e.(type) {
	case *ast.ParenthesesExpr:
		return literalNode(x.Expr)
	case *ast.UnaryOperationExpr:
		return (x.Op == opcode.Minus || x.Op == opcode.Plus) && literalNode(x.V)
	case *ast.FuncCallExpr:
		return (x.FnName.L == ast.DateLiteral || x.FnName.L == ast.TimeLiteral || x.FnName.L == ast.TimestampLiteral) && len(x.Args) == 1
	case ast.ParamMarkerExpr, ast.ValueExpr:
		return true
	}
	return false
}

// readValue reads the value that starts at token i and gives its last token.
func (b *builder) readValue(i int) (v Value, to int, ok bool) {
	t := b.st.Token(i)
	switch {
	case b.st.IsOp(i, OpLeftParen):
		v, to, ok = b.readValue(i + 1)
		if !ok || b.st.Match(i) != to+1 {
			return Value{}, 0, false
		}
		return v, to + 1, true
	case b.st.IsOp(i, OpMinus), b.st.IsOp(i, OpPlus):
		v, to, ok = b.readValue(i + 1)
		if !ok || v.Kind != ValueLiteral || !b.st.Token(v.Token).Kind.IsNumber() {
			return Value{}, 0, false
		}
		if b.st.IsOp(i, OpMinus) {
			v.Negative = !v.Negative
		}
		return v, to, true
	case t.Kind == TokParam:
		return Value{Kind: ValueParam, Token: i}, i, true
	case t.Kind == TokIntroducer:
		v, to, ok = b.readValue(i + 1)
		if !ok || v.Kind != ValueLiteral || v.TypeWord != "" || v.Introducer != "" {
			return Value{}, 0, false
		}
		v.Introducer = strings.ToLower(strings.TrimPrefix(string(b.st.Text(i)), "_"))
		return v, to, true
	case t.Kind.IsLiteral():
		return Value{Kind: ValueLiteral, Token: i}, i + b.st.LiteralTokens(i) - 1, true
	}
	switch b.st.Keyword(i) {
	case KwNull:
		return Value{Kind: ValueNull, Token: i}, i, true
	case KwTrue:
		return Value{Kind: ValueTrue, Token: i}, i, true
	case KwFalse:
		return Value{Kind: ValueFalse, Token: i}, i, true
	case KwDate, KwTime, KwTimestamp:
		if b.st.Token(i+1).Kind != TokString {
			return Value{}, 0, false
		}
		if b.st.LiteralTokens(i+1) > 1 {
			return Value{}, 0, false
		}
		return Value{Kind: ValueLiteral, Token: i + 1, TypeWord: strings.ToUpper(string(b.st.Text(i)))}, i + 1, true
	}
	return Value{}, 0, false
}
