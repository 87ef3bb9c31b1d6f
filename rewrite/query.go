package rewrite

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// output is one result column of a query block.
type output struct {
	name    string // folded; empty for an expression without alias
	aliased bool
	prot    *Protected
	from    *relation
	column  string
	// literal is set for a select item that is one literal, parameter or NULL.
	literal  *Value
	first    int // real tokens of the literal
	last     int
	rewrites bool // an edit lies within the item
	start    int  // real token of the item; -1 for expanded stars
	ambig    bool // the position is not known (a star over an unknown table)
}

func anyProtected(outs []output) *Protected {
	for _, o := range outs {
		if o.prot != nil {
			return o.prot
		}
	}
	return nil
}

// topQuery plans a statement that is a query.
func (b *builder) topQuery(n ast.Node) error {
	sc := &scope{b: b, parsed: b.parsed}
	outs, err := b.query(n, sc, true)
	if err != nil {
		return err
	}
	prot := anyProtected(outs)
	if b.parsed.Cut&CutIntoFile != 0 {
		return notUnderstood("INTO OUTFILE and INTO DUMPFILE write a file on the database's host",
			"read the rows through Latchkey and write the file in the application")
	}
	if b.parsed.Cut&CutIntoVariable != 0 {
		if prot != nil {
			return notPossible(prot, "a user variable would carry the cell, not its value", "read it with a plain SELECT")
		}
		return nil
	}
	return b.setOutputs(outs)
}

// setOutputs makes the plan's outputs of a query block's.
func (b *builder) setOutputs(outs []output) error {
	need := false
	result := make([]Output, len(outs))
	for i, o := range outs {
		result[i].Column = o.prot
		need = need || o.prot != nil
		if o.rewrites && !o.aliased && o.start >= 0 {
			from, to, err := b.item(o.start)
			if err != nil {
				return err
			}
			result[i].Rename, result[i].NameFrom, result[i].NameTo = true, from, to
			need = true
		}
	}
	for _, o := range outs {
		if o.ambig && need {
			return notUnderstood("the place of a protected column in the result is not known", "name the columns instead of *")
		}
	}
	if need {
		b.plan.Opens, b.plan.Outputs = true, result
	}
	return nil
}

// item gives the tokens of the select item that starts at a token: up to the comma or clause that ends it.
func (b *builder) item(start int) (from, to int, err error) {
	i := start
	for i < b.st.Len() {
		switch {
		case b.st.IsOp(i, OpLeftParen):
			m := b.st.Match(i)
			if m < 0 {
				return 0, 0, notUnderstood("parentheses do not match", "")
			}
			i = m + 1
			continue
		case b.st.IsOp(i, OpRightParen), b.st.IsOp(i, OpComma), endsItem(b.st.Keyword(i)):
			return start, i - 1, nil
		}
		i++
	}
	return start, i - 1, nil
}

func endsItem(k Keyword) bool {
	switch k {
	case KwFrom, KwWhere, KwGroup, KwHaving, KwOrder, KwLimit, KwUnion, KwExcept, KwIntersect, KwInto, KwFor, KwLock,
		KwProcedure, KwOffset, KwFetch:
		return true
	}
	return false
}

// query plans a query block or a set operation. sc is the scope that it gets; positive says that rows which a tag
// predicate does not see only make the answer smaller (see cond).
func (b *builder) query(n ast.Node, sc *scope, positive bool) ([]output, error) {
	switch x := n.(type) {
	case *ast.SelectStmt:
		return b.selectBlock(x, sc, positive)
	case *ast.SetOprStmt:
		if err := b.with(x.With, sc, positive); err != nil {
			return nil, err
		}
		return b.setOperation(x.SelectList.Selects, x.OrderBy, x.Limit, sc, positive)
	case *ast.SetOprSelectList:
		if err := b.with(x.With, sc, positive); err != nil {
			return nil, err
		}
		return b.setOperation(x.Selects, x.OrderBy, x.Limit, sc, positive)
	case *ast.SubqueryExpr:
		return b.query(x.Query, sc, positive)
	}
	return nil, notUnderstood("this kind of query is not understood over a protected table", "")
}

// with plans common table expressions, each of which sees those before it.
func (b *builder) with(w *ast.WithClause, sc *scope, positive bool) error {
	if w == nil {
		return nil
	}
	for i, c := range w.CTEs {
		name := FoldName(c.Name.O)
		if w.IsRecursive {
			for _, later := range w.CTEs[i+1:] {
				// The server lets an expression name those after it, which then hide tables of the same name.
				if mentionsTable(c.Query, FoldName(later.Name.O)) {
					return notUnderstood("a common table expression names a later one", "put the expressions in order, or leave RECURSIVE out")
				}
			}
		}
		inner := &scope{b: b, parsed: sc.parsed, outer: &scope{b: b, parsed: sc.parsed, ctes: sc.ctes, outer: sc.outer}}
		if w.IsRecursive {
			// The expression may name itself; what it yields there is what its first part yields.
			inner.ctes = &cte{name: name, opaque: true}
		}
		edits := len(b.edits)
		outs, err := b.query(c.Query, inner, positive)
		if err != nil {
			return err
		}
		if w.IsRecursive && mentionsTable(c.Query, name) {
			if p := anyProtected(outs); p != nil {
				return notPossible(p, "a recursive common table expression cannot carry a sealed column",
					"join the column outside of the recursion")
			}
		}
		fields, err := outputFields(outs, c.ColNameList)
		if err != nil {
			return err
		}
		sc.ctes = &cte{next: sc.ctes, name: name, fields: fields, keyed: keyedRange(b.edits[edits:])}
	}
	return nil
}

// keyedRange finds a tag predicate over a column under user keys.
func keyedRange(edits []Edit) *Protected {
	for _, e := range edits {
		for _, p := range e.Pieces {
			if p.Kind == PieceRange && p.Column.ServiceKey == "" {
				return p.Column
			}
		}
	}
	return nil
}

// mentionsTable reports whether a query names a table that may be a common table expression.
func mentionsTable(n ast.Node, name string) bool {
	v := &tableFinder{name: name}
	n.Accept(v)
	return v.found
}

type tableFinder struct {
	name  string
	found bool
}

// Enter implements ast.Visitor.
func (v *tableFinder) Enter(n ast.Node) (ast.Node, bool) {
	if t, ok := n.(*ast.TableName); ok && t.Schema.O == "" && FoldName(t.Name.O) == v.name {
		v.found = true
	}
	return n, v.found
}

// Leave implements ast.Visitor.
func (v *tableFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// selectBlock plans one SELECT.
func (b *builder) selectBlock(s *ast.SelectStmt, sc *scope, positive bool) ([]output, error) {
	if err := b.with(s.With, sc, positive); err != nil {
		return nil, err
	}
	sc.positive = positive
	if s.Kind == ast.SelectStmtKindValues {
		return b.valuesBlock(s, sc)
	}
	if s.SelectIntoOpt != nil {
		return nil, notUnderstood("INTO OUTFILE writes a file on the database's host", "")
	}
	if err := sc.from(s.From); err != nil {
		return nil, err
	}
	if s.Where != nil {
		if err := b.cond(s.Where, sc, positive); err != nil {
			return nil, err
		}
	}
	outs, err := b.fields(s, sc)
	if err != nil {
		return nil, err
	}
	if p := undetermined(outs, outs); s.Distinct && p != nil {
		return nil, notPossible(p, "DISTINCT over a sealed column compares cells, of which no two are alike",
			"select it without DISTINCT")
	}
	return outs, b.clauses(s, sc, outs, positive)
}

func (b *builder) valuesBlock(s *ast.SelectStmt, sc *scope) ([]output, error) {
	var outs []output
	for _, row := range s.Lists {
		for _, e := range row.Values {
			if err := b.walk(e, sc); err != nil {
				return nil, err
			}
		}
		outs = make([]output, len(row.Values))
	}
	return outs, nil
}

// clauses checks GROUP BY, HAVING, windows, ORDER BY and LIMIT.
func (b *builder) clauses(s *ast.SelectStmt, sc *scope, outs []output, positive bool) error {
	named := *sc
	named.aliases = outs
	if s.GroupBy != nil {
		if err := b.groupBy(s.GroupBy, &named, outs); err != nil {
			return err
		}
	}
	if s.Having != nil {
		if err := b.cond(s.Having.Expr, &named, positive); err != nil {
			return err
		}
	}
	for i := range s.WindowSpecs {
		if err := b.walk(&s.WindowSpecs[i], sc); err != nil {
			return err
		}
	}
	if s.OrderBy != nil {
		if err := b.byItems(s.OrderBy.Items, &named, outs, "ORDER BY"); err != nil {
			return err
		}
	}
	if s.Limit != nil {
		return b.walk(s.Limit, sc)
	}
	return nil
}

// groupBy checks GROUP BY. A sealed column is harmless next to the primary key of its table, which makes the groups alone:
// ORMs list every column that they select.
func (b *builder) groupBy(g *ast.GroupByClause, sc *scope, outs []output) error {
	var columns []output
	for _, item := range g.Items {
		if name, ok := unparen(item.Expr).(*ast.ColumnNameExpr); ok {
			f, err := sc.resolve(name.Name)
			if err != nil {
				return err
			}
			columns = append(columns, output{prot: f.prot, from: f.from, column: f.column})
		}
	}
	if anyProtected(columns) == nil || g.Rollup || undetermined(columns, columns) != nil {
		return b.byItems(g.Items, sc, outs, "GROUP BY")
	}
	var rest []*ast.ByItem
	for _, item := range g.Items {
		if _, ok := unparen(item.Expr).(*ast.ColumnNameExpr); !ok {
			rest = append(rest, item)
		}
	}
	return b.byItems(rest, sc, outs, "GROUP BY")
}

// undetermined gives a sealed column of outs that the primary key of its table, of the same row, does not stand beside in
// keys; nil when equal keys mean equal cells.
func undetermined(outs, keys []output) *Protected {
	for _, o := range outs {
		if o.prot != nil && !determined(o, keys) {
			return o.prot
		}
	}
	return nil
}

func determined(o output, keys []output) bool {
	if o.from == nil || o.from.table == nil {
		return false
	}
	for _, x := range o.from.table.Indexes {
		if x.Name != "PRIMARY" {
			continue
		}
		for _, part := range x.Parts {
			if part.Prefix > 0 || !slices.ContainsFunc(keys, func(k output) bool {
				return k.prot == nil && k.from == o.from && FoldName(k.column) == FoldName(part.Column)
			}) {
				return false
			}
		}
		return len(x.Parts) > 0
	}
	return false
}

// byItems checks the items of ORDER BY and GROUP BY: expressions, aliases and positions, none of which may be sealed.
func (b *builder) byItems(items []*ast.ByItem, sc *scope, outs []output, clause string) error {
	for _, item := range items {
		e := unparen(item.Expr)
		if pos, ok := e.(*ast.PositionExpr); ok {
			if pos.P != nil || pos.N < 1 || pos.N > len(outs) {
				if p := anyProtected(outs); p != nil {
					return notPossible(p, clause+" by a position that is not known", "name the column")
				}
				continue
			}
			if p := outs[pos.N-1].prot; p != nil {
				return notPossible(p, clause+" a sealed column", "order or group by a column that is not protected")
			}
			if outs[pos.N-1].ambig {
				return notUnderstood(clause+" by a position that is not known", "name the column")
			}
			continue
		}
		if positionLike(e) {
			if p := anyProtected(outs); p != nil {
				return notPossible(p, clause+" by a position that is not known", "name the column")
			}
			for _, o := range outs {
				if o.ambig {
					return notUnderstood(clause+" by a position that is not known", "name the column")
				}
			}
		}
		if name, ok := e.(*ast.ColumnNameExpr); ok {
			f, err := sc.resolve(name.Name)
			if err != nil {
				return err
			}
			if f.prot != nil {
				return notPossible(f.prot, clause+" a sealed column", "order or group by a column that is not protected")
			}
			continue
		}
		if err := b.walk(item.Expr, sc); err != nil {
			return err
		}
	}
	return nil
}

// positionLike reports whether the server takes an item of ORDER BY or GROUP BY for a position although the syntax tree
// does not: an integer in parentheses or after a plus, and a parameter that will be one.
func positionLike(e ast.ExprNode) bool {
	switch x := e.(type) {
	case *ast.ParenthesesExpr:
		return positionLike(x.Expr)
	case *ast.UnaryOperationExpr:
		return positionLike(x.V)
	case ast.ParamMarkerExpr:
		return true
	case ast.ValueExpr:
		switch x.GetValue().(type) {
		case int64, uint64:
			return true
		}
	}
	return false
}

// fields plans the select list.
func (b *builder) fields(s *ast.SelectStmt, sc *scope) ([]output, error) {
	if s.Fields == nil {
		return starOutputs(sc), nil
	}
	var outs []output
	for _, f := range s.Fields.Fields {
		if f.WildCard != nil {
			star, err := b.wildcard(f.WildCard, sc)
			if err != nil {
				return nil, err
			}
			outs = append(outs, star...)
			continue
		}
		o, err := b.field(f, sc)
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
	}
	return outs, nil
}

func starOutputs(sc *scope) []output {
	outs := make([]output, 0, len(sc.star))
	for _, f := range sc.star {
		outs = append(outs, output{name: f.name, prot: f.prot, from: f.from, column: f.column, start: -1, ambig: sc.starUnknown})
	}
	if sc.starUnknown && len(outs) == 0 {
		outs = append(outs, output{start: -1, ambig: true})
	}
	return outs
}

func (b *builder) wildcard(w *ast.WildCardField, sc *scope) ([]output, error) {
	var outs []output
	if w.Table.O == "" {
		outs = starOutputs(sc)
	} else {
		name := &ast.ColumnName{Schema: w.Schema, Table: w.Table}
		found := false
		for _, r := range sc.rels {
			if !sc.qualifies(r, name) {
				continue
			}
			found = true
			if r.opaque {
				outs = append(outs, output{start: -1, ambig: true})
			}
			for _, f := range r.fields {
				if !f.hidden {
					outs = append(outs, output{name: f.name, prot: f.prot, from: f.from, column: f.column, start: -1})
				}
			}
		}
		if !found {
			return nil, notUnderstood("a table name before .* is not known", "")
		}
	}
	for _, o := range outs {
		if o.prot != nil && o.prot.Conflict != nil {
			return nil, o.prot.Conflict
		}
	}
	return outs, nil
}

// field plans one select item that is an expression.
func (b *builder) field(f *ast.SelectField, sc *scope) (output, error) {
	o := output{aliased: f.AsName.O != "", name: FoldName(f.AsName.O), start: sc.parsed.TokenAt(f.Offset)}
	if o.start < 0 {
		o.start = sc.parsed.TokenAt(f.Expr.OriginTextPosition())
	}
	e := unparen(f.Expr)
	switch x := e.(type) {
	case *ast.ColumnNameExpr:
		c, err := sc.resolve(x.Name)
		if err != nil {
			return o, err
		}
		o.prot, o.from, o.column = c.prot, c.from, c.column
		if !o.aliased {
			o.name = FoldName(x.Name.Name.O)
		}
		return o, nil
	case *ast.SubqueryExpr:
		before := len(b.edits)
		outs, err := b.query(x.Query, &scope{b: b, parsed: sc.parsed, outer: sc}, sc.positive)
		if err != nil {
			return o, err
		}
		if len(outs) == 1 {
			o.prot = outs[0].prot
		} else if p := anyProtected(outs); p != nil {
			return o, notPossible(p, "a row subquery with a sealed column", "")
		}
		o.rewrites = len(b.edits) > before
		return o, nil
	case *ast.ExistsSubqueryExpr:
		before := len(b.edits)
		err := b.exists(x.Sel, sc, sc.positive && !x.Not)
		o.rewrites = len(b.edits) > before
		return o, err
	}
	before := len(b.edits)
	if err := b.walk(f.Expr, sc); err != nil {
		return o, err
	}
	o.rewrites = len(b.edits) > before
	b.literalItem(f.Expr, sc, &o)
	return o, nil
}

// literalItem notes that a select item is one literal, for INSERT ... SELECT.
func (b *builder) literalItem(e ast.ExprNode, sc *scope, o *output) {
	first := sc.parsed.TokenAt(e.OriginTextPosition())
	if v, from, to, ok := b.operand(e, first); ok {
		o.literal, o.first, o.last = &v, from, to
	}
}

// setOperation plans UNION, INTERSECT and EXCEPT. Only UNION ALL can carry a sealed column, and only where every branch has
// the same one in that place, or NULL.
func (b *builder) setOperation(selects []ast.Node, order *ast.OrderByClause, limit *ast.Limit, sc *scope, positive bool) ([]output, error) {
	var result []output
	distinct := false
	for i, n := range selects {
		inner := &scope{b: b, parsed: sc.parsed, outer: &scope{b: b, parsed: sc.parsed, ctes: sc.ctes, outer: sc.outer}}
		op := afterOperator(n)
		branchPositive := positive && (op == nil || (*op != ast.Except && *op != ast.ExceptAll))
		outs, err := b.query(n, inner, branchPositive)
		if err != nil {
			return nil, err
		}
		if op != nil && *op != ast.UnionAll {
			distinct = true
		}
		if i == 0 {
			result = outs
			continue
		}
		if err := unite(result, outs); err != nil {
			return nil, err
		}
	}
	if p := anyProtected(result); distinct && p != nil {
		return nil, notPossible(p, "UNION, INTERSECT and EXCEPT compare cells, of which no two are alike", "use UNION ALL")
	}
	if order != nil {
		named := &scope{b: b, parsed: sc.parsed, outer: sc, aliases: result, rels: []*relation{{opaque: true}}}
		if err := b.byItems(order.Items, named, result, "ORDER BY"); err != nil {
			return nil, err
		}
	}
	if limit != nil {
		return result, b.walk(limit, sc)
	}
	return result, nil
}

func afterOperator(n ast.Node) *ast.SetOprType {
	switch x := n.(type) {
	case *ast.SelectStmt:
		return x.AfterSetOperator
	case *ast.SetOprSelectList:
		return x.AfterSetOperator
	}
	return nil
}

// unite adds a branch to the outputs so far.
func unite(result, outs []output) error {
	if len(result) != len(outs) {
		for _, set := range [][]output{result, outs} {
			if p := anyProtected(set); p != nil {
				return notPossible(p, "the branches of a UNION have different numbers of columns", "")
			}
		}
		return nil
	}
	for i := range result {
		r, o := &result[i], &outs[i]
		if r.ambig || o.ambig {
			r.ambig = true
		}
		switch {
		case r.prot == nil && o.prot == nil:
			r.literal = nil
		case r.prot != nil && o.prot != nil:
			if !r.prot.SameContext(o.prot) {
				return notPossible(o.prot, "the branches of a UNION ALL have different protected columns in one place",
					"give both columns the same context and type")
			}
			r.from = nil
		case r.prot == nil:
			if r.literal == nil || r.literal.Kind != ValueNull {
				return notPossible(o.prot, "a UNION ALL mixes a sealed column with other values", "")
			}
			r.prot = o.prot
		default:
			if o.literal == nil || o.literal.Kind != ValueNull {
				return notPossible(r.prot, "a UNION ALL mixes a sealed column with other values", "")
			}
		}
	}
	return nil
}
