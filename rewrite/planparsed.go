package rewrite

import (
	"errors"
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// parsedStatement plans SELECT, INSERT, REPLACE, UPDATE, DELETE and DO through the syntax tree.
func (b *builder) parsedStatement(counts map[string]int) error {
	if b.f.Charset == CharsetUnsupported || b.f.Mode.Has(Oracle) {
		return notUnderstood("the session's character set or sql_mode is not supported on protected tables",
			"connect with utf8mb4, latin1 or ascii and without sql_mode ORACLE")
	}
	if b.f.Mode.Has(EmptyStringIsNull) {
		return notUnderstood("sql_mode EMPTY_STRING_IS_NULL is not supported on protected tables",
			"an empty value and NULL must stay distinct; take the mode out of sql_mode")
	}
	parsed, err := Parse(b.st, b.f, b.p.pool)
	if err != nil {
		return b.unparsed(err)
	}
	b.parsed = parsed
	if err := b.accounted(counts); err != nil {
		return err
	}
	if parsed.Cut&(CutProcedure|CutFetch|CutRowsExamined) != 0 {
		// What was cut limits or replaces rows that the plan would open; only LIMIT forms that the server applies itself
		// leave the plan as it is.
		if parsed.Cut&CutProcedure != 0 {
			return notUnderstood("PROCEDURE ANALYSE over a table with protected columns", "")
		}
	}
	if parsed.Cut&CutJSONTable != 0 {
		// What its columns are called is not in the syntax tree.
		return notUnderstood("JSON_TABLE in a statement that names a protected table", "use JSON_VALUE or JSON_EXTRACT")
	}
	if err := b.node(parsed.Node); err != nil {
		return err
	}
	return b.finish()
}

func (b *builder) unparsed(err error) error {
	if errors.Is(err, ErrTooComplex) {
		return notUnderstood("the statement is too complex to be planned and names a protected table",
			"send fewer or simpler conditions")
	}
	return notUnderstood("the statement names a protected table and is outside the grammar that is understood",
		"write it in another form, or see docs/compatibility.md")
}

func (b *builder) node(n ast.StmtNode) error {
	switch s := n.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		return b.topQuery(s)
	case *ast.InsertStmt:
		return b.insert(s)
	case *ast.UpdateStmt:
		return b.update(s)
	case *ast.DeleteStmt:
		return b.deleteRows(s)
	case *ast.DoStmt:
		sc := &scope{b: b, parsed: b.parsed}
		for _, e := range s.Exprs {
			if err := b.walk(e, sc); err != nil {
				return err
			}
		}
		return nil
	}
	return notUnderstood("this kind of statement is not understood over a protected table", "")
}

// accounted holds the syntax tree against the tokens: every identifier that can lead to a protected column must be
// somewhere in the tree, or the tree is not the statement that the server will read.
func (b *builder) accounted(counts map[string]int) error {
	c := identifierCounter{counts: map[string]int{}}
	b.parsed.Node.Accept(&c)
	if r := b.parsed.Returning; r != nil {
		r.Node.Accept(&c)
	}
	for name, n := range counts {
		if c.counts[name] < n {
			return notUnderstood("a name in the statement is not accounted for", "")
		}
	}
	return nil
}

// identifierCounter counts the names in a syntax tree.
type identifierCounter struct{ counts map[string]int }

func (c *identifierCounter) add(names ...ast.CIStr) {
	for _, n := range names {
		if n.O != "" {
			c.counts[foldTouch(n.O)]++
		}
	}
}

// Enter implements ast.Visitor.
func (c *identifierCounter) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.TableName:
		c.add(x.Schema, x.Name)
		c.add(x.PartitionNames...)
		for _, h := range x.IndexHints {
			c.add(h.IndexNames...)
		}
	case *ast.TableSource:
		c.add(x.AsName)
		c.add(x.ColumnNames...)
	case *ast.ColumnName:
		c.add(x.Schema, x.Table, x.Name)
	case *ast.SelectField:
		c.add(x.AsName)
		if x.WildCard != nil {
			c.add(x.WildCard.Schema, x.WildCard.Table)
		}
	case *ast.FuncCallExpr:
		c.add(x.Schema, x.FnName)
	case *ast.AggregateFuncExpr:
		c.counts[foldTouch(x.F)]++
	case *ast.WindowFuncExpr:
		c.counts[foldTouch(x.Name)]++
	case *ast.CommonTableExpression:
		c.add(x.Name)
		c.add(x.ColNameList...)
	case *ast.WindowSpec:
		c.add(x.Name, x.Ref)
	case *ast.InsertStmt:
		c.add(x.PartitionNames...)
	case *ast.CreateViewStmt:
		c.add(x.Cols...)
	}
	return n, false
}

// Leave implements ast.Visitor.
func (c *identifierCounter) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// finish turns the edits into the plan's, in order and by collapsed token.
func (b *builder) finish() error {
	b.plan.Class = Sealed
	if len(b.edits) == 0 && !b.plan.Opens && b.plan.Before == nil && b.plan.Shown == nil && len(b.plan.Requires) == 0 {
		b.plan.Class = Pass
		return nil
	}
	slices.SortStableFunc(b.edits, func(x, y Edit) int { return x.From - y.From })
	end := -1
	for i := range b.edits {
		e := &b.edits[i]
		if e.From <= end {
			return notUnderstood("two rewritten places of the statement overlap", "write the condition in a simpler form")
		}
		end = max(end, e.To)
		if err := b.collapse(e); err != nil {
			return err
		}
	}
	b.plan.Edits = b.edits
	if err := b.away(); err != nil {
		return err
	}
	for i := range b.plan.Outputs {
		if o := &b.plan.Outputs[i]; o.Rename {
			o.NameFrom, o.NameTo = b.st.Collapsed(o.NameFrom), b.st.Collapsed(o.NameTo)
		}
	}
	for i := range b.plan.Requires {
		if err := b.collapsePieces(b.plan.Requires[i].Pieces); err != nil {
			return err
		}
	}
	if b.plan.Before != nil {
		return b.collapseBefore()
	}
	return nil
}

// collapse turns the token indexes of an edit into collapsed ones.
func (b *builder) collapse(e *Edit) error {
	insert := e.To == e.From-1
	if g := b.st.GroupOf(e.From); g >= 0 && b.st.Groups()[g].Kind == GroupList {
		// The shape keeps one operand of each kind, and the edit would not be repeated for the others.
		return notUnderstood("a condition over a protected column stands inside the list of an IN", "write it outside of the list")
	}
	from := b.st.Collapsed(e.From)
	to := b.st.Collapsed(e.To)
	if insert {
		to = from - 1
	}
	if from < 0 || (!insert && to < from) {
		return notUnderstood("a value's place in the statement is not known", "")
	}
	e.From, e.To = from, to
	return b.collapsePieces(e.Pieces)
}

func (b *builder) collapsePieces(pieces []Piece) error {
	for i := range pieces {
		p := &pieces[i]
		if p.Kind == PieceSource {
			p.From, p.To = b.st.Collapsed(p.From), b.st.Collapsed(p.To)
			if p.From < 0 || p.To < p.From {
				return notUnderstood("a value's place in the statement is not known", "")
			}
		}
		if err := b.collapseOwner(p.Owner); err != nil {
			return err
		}
		for j := range p.Values {
			if err := b.collapseValue(&p.Values[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// collapseOwner does so for the owner of a row, which may be nil.
func (b *builder) collapseOwner(o *RowOwner) error {
	if o == nil {
		return nil
	}
	return b.collapseValue(&o.Value)
}

func (b *builder) collapseValue(v *Value) error {
	if v.Token < 0 && (v.Kind == ValueDefault || v.Kind == ValueUnknown || v.Kind == ValueImplicit || v.Kind == ValueNull) {
		return nil
	}
	v.Token = b.st.Collapsed(v.Token)
	if v.Token < 0 {
		return notUnderstood("a value's place in the statement is not known", "")
	}
	return nil
}

func (b *builder) collapseBefore() error {
	for i := range b.plan.Before.Selects {
		s := &b.plan.Before.Selects[i]
		if s.Row >= 0 {
			s.Row = b.st.Collapsed(s.Row)
		}
		if err := b.collapsePieces(s.Pieces); err != nil {
			return err
		}
		for j := range s.New {
			if err := b.collapseValue(&s.New[j]); err != nil {
				return err
			}
		}
		if err := b.collapseOwner(s.Owner); err != nil {
			return err
		}
	}
	return b.collapseOwner(b.plan.Before.NewOwner)
}
