package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// assignment is one `column = value` of UPDATE, ON DUPLICATE KEY UPDATE or INSERT ... SET, by its tokens.
type assignment struct {
	nameFrom, nameTo   int
	valueFrom, valueTo int
}

// assignments cuts a list of assignments that starts at token i; it ends before a token that ends says is the end.
func (b *builder) assignments(i int, ends func(i int) bool) ([]assignment, int, error) {
	bad := notUnderstood("a list of assignments is not where it is expected", "")
	var list []assignment
	for {
		a := assignment{nameFrom: i}
		for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
			i += 2
		}
		if !b.st.Token(i).IsIdentifier() || (!b.st.IsOp(i+1, OpEq) && !b.st.IsOp(i+1, OpAssign)) {
			return nil, 0, bad
		}
		a.nameTo = i
		i += 2
		a.valueFrom = i
		for i < b.st.Len() && !b.st.IsOp(i, OpComma) && !ends(i) {
			if b.st.IsOp(i, OpLeftParen) {
				if i = b.st.Match(i); i < 0 {
					return nil, 0, bad
				}
			}
			i++
		}
		a.valueTo = i - 1
		if a.valueTo < a.valueFrom {
			return nil, 0, bad
		}
		list = append(list, a)
		if !b.st.IsOp(i, OpComma) {
			return list, i, nil
		}
		i++
	}
}

// wholeValue reads tokens from..to as one value and nothing else.
func (b *builder) wholeValue(from, to int) (Value, bool) {
	if from == to && b.st.Is(from, KwDefault) {
		return Value{Kind: ValueDefault, Token: from}, true
	}
	v, end, ok := b.readValue(from)
	return v, ok && end == to
}

// matchesTree reports whether the tokens of an assignment's name are those of the tree.
func (b *builder) matchesTree(a assignment, n *ast.ColumnName) bool {
	to, ok := b.nameEnd(a.nameFrom, n)
	return ok && to == a.nameTo
}

// writable refuses writes that protection does not reach: into views, into tables with triggers that touch sealed columns,
// of the owner or a bound column.
func (b *builder) writable(t *Table) error {
	if t == nil {
		return nil
	}
	name := t.Database + "." + t.Name
	if t.Kind == View && b.p.touch.names[foldTouch(t.Name)]&touchView != 0 {
		return refuse(CodeNotUnderstood, name, "writing through a view over protected columns", "write the table itself")
	}
	if b.p.touch.names[foldTouch(t.Name)]&touchTrigger != 0 {
		for _, r := range t.Triggers {
			if b.p.touch.routineTouches(r, t) {
				return refuse(CodeNotUnderstood, name, "a trigger of the table may touch a protected column",
					"triggers run in the backend, which holds no plaintext; do its work in the application")
			}
		}
	}
	return nil
}

// plainAssignment checks the target of an assignment to a column that is not protected itself. moves says that the cells of
// the row follow it to another owner.
func plainAssignment(t *Table, column string, moves bool) error {
	if t == nil {
		return nil
	}
	if err := t.keyedWithPlaintext(column); err != nil {
		return err
	}
	if p := t.mixes(column); p != nil {
		return notPossible(p, "a CHECK constraint compares it with the column that is changed", "drop the constraint and check in the application")
	}
	for _, c := range t.Columns {
		p := c.Protected
		if p == nil {
			continue
		}
		if !moves && p.Owner != "" && p.ServiceKey == "" && strings.EqualFold(p.Owner, column) {
			return notPossible(p, "the owner column of rows with sealed columns is assigned what is not known beforehand, or in a statement over several tables",
				"update one table and write the new owner as a literal or a parameter")
		}
		for _, bound := range p.Bind {
			if strings.EqualFold(bound, column) {
				return notPossible(p, "a column is changed that the cell is bound to", "")
			}
		}
	}
	return nil
}

// strict tells whether the backend would refuse bad values rather than adjust them.
func (b *builder) strict(t *Table) bool {
	return b.f.Mode&StrictAllTables != 0 || b.f.Mode&StrictTransTables != 0 && t.Transactional
}

// update plans UPDATE of one and of several tables.
func (b *builder) update(s *ast.UpdateStmt) error {
	if s.With != nil {
		return notUnderstood("WITH before UPDATE", "")
	}
	sc := &scope{b: b, parsed: b.parsed, positive: true}
	if err := sc.from(s.TableRefs); err != nil {
		return err
	}
	start := b.innerStart()
	set := b.keywordAt(start, KwSet)
	if start < 0 || set < 0 {
		return notUnderstood("the parts of UPDATE are not where they are expected", "")
	}
	list, end, err := b.assignments(set+1, func(i int) bool {
		return b.st.Is(i, KwWhere) || b.st.Is(i, KwOrder) || b.st.Is(i, KwLimit)
	})
	if err != nil {
		return err
	}
	if len(list) != len(s.List) {
		return notUnderstood("the assignments are not those that were read", "")
	}
	b.plan.Ignore = s.IgnoreErr
	w := &updateWriter{b: b, sc: sc}
	if err := w.transfers(s.List, list); err != nil {
		return err
	}
	for i, a := range s.List {
		if !b.matchesTree(list[i], a.Column) {
			return notUnderstood("the assignments are not those that were read", "")
		}
		if err := w.assign(a, list[i]); err != nil {
			return err
		}
	}
	if s.Where != nil {
		if err := b.cond(s.Where, sc, true); err != nil {
			return err
		}
	}
	if err := b.orderLimit(s.Order, s.Limit, sc); err != nil {
		return err
	}
	if err := w.move(set); err != nil {
		return err
	}
	w.before(start, set, end)
	return nil
}

func (b *builder) orderLimit(order *ast.OrderByClause, limit *ast.Limit, sc *scope) error {
	if order != nil {
		if err := b.byItems(order.Items, sc, nil, "ORDER BY"); err != nil {
			return err
		}
	}
	if limit != nil {
		return b.walk(limit, sc)
	}
	return nil
}

// keywordAt finds a keyword outside of parentheses from token i on.
func (b *builder) keywordAt(i int, k Keyword) int {
	for i >= 0 && i < b.st.Len() {
		if b.st.IsOp(i, OpLeftParen) {
			m := b.st.Match(i)
			if m < 0 {
				return -1
			}
			i = m + 1
			continue
		}
		if b.st.Is(i, k) {
			return i
		}
		i++
	}
	return -1
}

// updateWriter gathers what an UPDATE writes.
type updateWriter struct {
	b       *builder
	sc      *scope
	lefts   []string
	columns []*Protected
	// sources are the columns that are copied from, and their names in the statement.
	sources     []*Protected
	sourceLefts []string
	// owners are SQL for the owners of the rows, as Before reads them.
	owners []string
	// newOwner is whom the UPDATE gives its rows to, by assigning the column ownerOf; nil when it does not.
	newOwner *RowOwner
	ownerOf  *Column
}

func (w *updateWriter) assign(a *ast.Assignment, tokens assignment) error {
	b := w.b
	f, err := w.sc.resolve(a.Column)
	if err != nil {
		return err
	}
	if f.from == nil && f.prot != nil {
		return notPossible(f.prot, "it is written through a view or a derived table", "write the table itself")
	}
	if f.from != nil {
		if err := b.writable(f.from.table); err != nil {
			return err
		}
	}
	if f.from == nil {
		if err := w.throughView(a.Column); err != nil {
			return err
		}
	}
	if f.prot == nil {
		if f.from != nil {
			if err := plainAssignment(f.from.table, f.column, w.newOwner != nil); err != nil {
				return err
			}
		}
		return b.walk(a.Expr, w.sc)
	}
	if err := sealable(f.prot); err != nil {
		return err
	}
	for _, seen := range w.columns {
		if seen == f.prot {
			return notPossible(f.prot, "it is assigned twice", "")
		}
	}
	piece := Piece{Kind: PieceAssign, Column: f.prot, Left: b.text(tokens.nameFrom, tokens.nameTo), Old: len(w.columns)}
	if piece.Owner, err = w.stored(f, tokens); err != nil {
		return err
	}
	if v, ok := b.wholeValue(tokens.valueFrom, tokens.valueTo); ok {
		piece.Values = []Value{v}
		if !b.strict(f.from.table) || b.plan.Ignore {
			b.plan.RefuseNull = true
		}
		if v.Kind == ValueDefault && !f.prot.HasOnEmpty && !f.prot.Nullable {
			return notPossible(f.prot, "it has no declared default", "write a value")
		}
	} else if err := w.copied(a, f, tokens, &piece); err != nil {
		return err
	}
	w.columns = append(w.columns, f.prot)
	w.lefts = append(w.lefts, piece.Left)
	return b.edit(tokens.valueFrom, tokens.valueTo, piece)
}

// throughView refuses an assignment to a column of a view that reaches protected columns: it may be an owner column under
// another name, or the table may have triggers.
func (w *updateWriter) throughView(n *ast.ColumnName) error {
	for _, r := range w.sc.rels {
		if !w.sc.qualifies(r, n) {
			continue
		}
		for _, f := range r.fields {
			if f.name == FoldName(n.Name.O) {
				if err := w.b.writable(r.table); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// copied plans `a = b` where b is a sealed column whose cells may stand in a as they are.
func (w *updateWriter) copied(a *ast.Assignment, f field, tokens assignment, piece *Piece) error {
	b := w.b
	c, ok := unparen(a.Expr).(*ast.ColumnNameExpr)
	if !ok {
		return notPossible(f.prot, "an expression as the new value", "compute the value in the application and write it")
	}
	source, err := w.sc.resolve(c.Name)
	if err != nil {
		return err
	}
	if source.prot == nil || !source.prot.SameContext(f.prot) {
		return notPossible(f.prot, "a column of another context as the new value", "read the value and write it")
	}
	if f.prot.Owner != "" && f.prot.ServiceKey == "" && source.from != f.from {
		return notPossible(f.prot, "a copy from another row, which may belong to another owner", "read the value and write it")
	}
	if w.newOwner != nil {
		return notPossible(f.prot, "a copy into a row that gets another owner", "read the value and write it")
	}
	if f.from != nil {
		if err := copyable(f.from.table, f.prot); err != nil {
			return err
		}
	}
	from, to, err := b.span(unparen(a.Expr), w.sc)
	if err != nil {
		return err
	}
	piece.NewText = b.text(from, to)
	w.sources = append(w.sources, source.prot)
	w.sourceLefts = append(w.sourceLefts, piece.NewText)
	piece.Source = len(w.sources)
	return nil
}

// before plans the reading of the old cells: the same tables, condition, order and limit.
func (w *updateWriter) before(start, set, end int) {
	if len(w.columns) == 0 {
		return
	}
	b := w.b
	b.plan.Writes = w.columns
	first := start + 1
	for b.st.Is(first, KwLowPriority) || b.st.Is(first, KwIgnore) {
		first++
	}
	var plaintext *PlaintextTable
	if len(w.sc.rels) == 1 {
		plaintext = plaintextTable(w.sc.rels[0].table, w.columns)
	}
	pieces := []Piece{
		{Kind: PieceText, Text: "SELECT " + strings.Join(slices.Concat(w.lefts, w.sourceLefts, w.owners, plaintext.keyTexts()), ",") + " FROM "},
		{Kind: PieceSource, From: first, To: set - 1},
	}
	if last := b.statementEnd(); end <= last {
		pieces = append(pieces, Piece{Kind: PieceText, Text: " "}, Piece{Kind: PieceSource, From: end, To: last})
	}
	pieces = append(pieces, Piece{Kind: PieceText, Text: " FOR UPDATE"})
	b.plan.Before = &Before{Columns: w.columns, Sources: w.sources, Owners: len(w.owners), NewOwner: w.newOwner, Plaintext: plaintext, Selects: []BeforeSelect{{Row: -1, Pieces: pieces}}}
}

// statementEnd is the last token of the statement.
func (b *builder) statementEnd() int { return b.st.Len() - 1 }

// deleteRows plans DELETE.
func (b *builder) deleteRows(s *ast.DeleteStmt) error {
	if s.With != nil {
		return notUnderstood("WITH before DELETE", "")
	}
	sc := &scope{b: b, parsed: b.parsed, positive: true}
	if err := sc.from(s.TableRefs); err != nil {
		return err
	}
	for _, r := range sc.rels {
		if err := b.writable(r.table); err != nil {
			return err
		}
	}
	if s.Where != nil {
		if err := b.cond(s.Where, sc, true); err != nil {
			return err
		}
	}
	if err := b.orderLimit(s.Order, s.Limit, sc); err != nil {
		return err
	}
	if err := b.returning(sc); err != nil {
		return err
	}
	return b.returnedFirst(sc)
}

// returnedFirst plans the reading of the cells that DELETE ... RETURNING will give to the client.
func (b *builder) returnedFirst(sc *scope) error {
	var columns []*Protected
	var names []string
	for _, o := range b.plan.Outputs {
		if o.Column == nil || slices.Contains(columns, o.Column) {
			continue
		}
		if sc.rels[0].table == nil || !holds(sc.rels[0].table, o.Column) || !asciiName(o.Column.Column) {
			return notPossible(o.Column, "RETURNING of a column that cannot be read before the rows are deleted", "select it first")
		}
		columns = append(columns, o.Column)
		names = append(names, quoteName(o.Column.Column))
	}
	if len(columns) == 0 {
		return nil
	}
	start := b.innerStart()
	from, end := b.keywordAt(start, KwFrom), b.keywordAt(start, KwReturning)
	if start < 0 || from < 0 || end < from {
		return notUnderstood("the parts of DELETE are not where they are expected", "")
	}
	b.plan.Before = &Before{Returned: columns, Selects: []BeforeSelect{{Row: -1, Pieces: []Piece{
		{Kind: PieceText, Text: "SELECT " + strings.Join(names, ",") + " FROM "},
		{Kind: PieceSource, From: from + 1, To: end - 1},
		{Kind: PieceText, Text: " FOR UPDATE"},
	}}}}
	return nil
}

// holds reports whether a sealed column is one of the table's.
func holds(t *Table, p *Protected) bool {
	for _, c := range t.Columns {
		if c.Protected == p {
			return true
		}
	}
	return false
}

// returning plans a RETURNING clause over the statement's one table.
func (b *builder) returning(sc *scope) error {
	r := b.parsed.Returning
	if r == nil {
		return nil
	}
	sel, ok := r.Node.(*ast.SelectStmt)
	if !ok || len(sc.rels) != 1 {
		return notUnderstood("RETURNING is not understood", "")
	}
	inner := &scope{b: b, parsed: r, rels: sc.rels, star: sc.star, starUnknown: sc.starUnknown}
	outs, err := b.fields(sel, inner)
	if err != nil {
		return err
	}
	return b.setOutputs(outs)
}
