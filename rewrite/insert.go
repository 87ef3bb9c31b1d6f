package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"latchkey/rewrite/logical"
)

// inserter plans INSERT and REPLACE.
type inserter struct {
	b     *builder
	s     *ast.InsertStmt
	table *Table
	sc    *scope
	// updateScope is what ON DUPLICATE KEY UPDATE may name: the table, and those of the SELECT.
	updateScope *scope
	columns     []*Column
	// listed says that the statement has a column list; tableEnd is the last token of the table's name.
	tableFrom, tableEnd int
	// listEnd is the parenthesis that ends the column list, or in INSERT ... SET any token; 0 without a list.
	listEnd   int
	rows      []insertRow
	duplicate int // token of ON before DUPLICATE KEY UPDATE; -1 without
}

// insertRow is one row by its tokens: of each column's value the first and the last.
type insertRow struct {
	open  int // the row's parenthesis; -1 for INSERT ... SET
	spans [][2]int
}

func (b *builder) insert(s *ast.InsertStmt) error {
	in := &inserter{b: b, s: s, sc: &scope{b: b, parsed: b.parsed}, duplicate: -1}
	in.updateScope = in.sc
	b.plan.Ignore = s.IgnoreErr
	if err := in.target(); err != nil {
		return err
	}
	if in.table == nil || !in.table.Protects {
		return in.plain()
	}
	next, err := in.columnList()
	if err != nil {
		return err
	}
	if !b.strict(in.table) || s.IgnoreErr {
		b.plan.RefuseNull = true
	}
	if s.Select != nil {
		err = in.fromSelect()
	} else {
		err = in.values(next)
	}
	if err != nil {
		return err
	}
	if err := in.omitted(); err != nil {
		return err
	}
	if err := in.onDuplicate(); err != nil {
		return err
	}
	if err := b.returning(in.sc); err != nil {
		return err
	}
	return in.returnsOwn()
}

// returnsOwn refuses RETURNING of cells that the statement does not write itself: one that does not open would be an error
// after the row has changed.
func (in *inserter) returnsOwn() error {
	if len(in.s.OnDuplicate) == 0 && in.s.Select == nil {
		return nil
	}
	assigned := map[*Protected]bool{}
	for _, a := range in.s.OnDuplicate {
		if c := in.table.Column(a.Column.Name.O); c != nil && c.Protected != nil {
			_, own := unparen(a.Expr).(*ast.ColumnNameExpr)
			assigned[c.Protected] = !own
		}
	}
	for _, o := range in.b.plan.Outputs {
		if o.Column != nil && (in.s.Select != nil || !assigned[o.Column]) {
			return notPossible(o.Column, "RETURNING of a cell that the statement does not write itself", "select it afterwards")
		}
	}
	return nil
}

// target resolves the table and its tokens.
func (in *inserter) target() error {
	b := in.b
	if err := in.sc.from(in.s.Table); err != nil {
		return err
	}
	if len(in.sc.rels) != 1 {
		return notUnderstood("the table of INSERT is not understood", "")
	}
	in.table = in.sc.rels[0].table
	if err := b.writable(in.table); err != nil {
		return err
	}
	from, i := b.insertInto()
	if i < 0 {
		return notUnderstood("the table of INSERT is not where it is expected", "")
	}
	in.tableFrom = from
	if in.table != nil && foldTouch(b.st.Name(i)) != foldTouch(in.table.Name) {
		return notUnderstood("the table of INSERT is not where it is expected", "")
	}
	in.tableEnd = i
	return nil
}

// insertInto gives the first and the last token of the name of an INSERT's table; -1 when it is not where it is expected.
func (b *builder) insertInto() (from, to int) {
	i := b.innerStart() + 1
	for {
		switch b.st.Keyword(i) {
		case KwLowPriority, KwDelayed, KwHighPriority, KwIgnore:
			i++
			continue
		case KwInto:
			i++
		}
		break
	}
	from = i
	for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
		i += 2
	}
	if !b.st.Token(i).IsIdentifier() {
		return -1, -1
	}
	return from, i
}

// plain plans an INSERT into a table without sealed columns, whose values or query may still read some.
func (in *inserter) plain() error {
	b := in.b
	for _, row := range in.s.Lists {
		for _, e := range row {
			if err := b.walk(e, in.sc); err != nil {
				return err
			}
		}
	}
	if in.s.Select != nil {
		outs, err := in.query()
		if err != nil {
			return err
		}
		if p := anyProtected(outs); p != nil {
			return notPossible(p, "its cells would be copied into a column that is not protected",
				"read the rows and write them through Latchkey, or protect the target column with the same context")
		}
	}
	for _, a := range in.s.OnDuplicate {
		if err := b.walk(a.Expr, in.updateScope); err != nil {
			return err
		}
	}
	return b.returning(in.sc)
}

// query plans the SELECT, and lets ON DUPLICATE KEY UPDATE see its tables.
func (in *inserter) query() ([]output, error) {
	sc := &scope{b: in.b, parsed: in.b.parsed}
	outs, err := in.b.query(in.s.Select, sc, true)
	in.updateScope = &scope{b: in.b, parsed: in.b.parsed, rels: slices.Concat(in.sc.rels, sc.rels)}
	return outs, err
}

// columnList reads the column list, or splices one in, so that a column added by others between planning and execution
// moves no value to another place. It gives the token after the list.
func (in *inserter) columnList() (int, error) {
	b := in.b
	i := in.tableEnd + 1
	if b.st.Is(i, KwPartition) && b.st.IsOp(i+1, OpLeftParen) {
		i = b.st.Match(i+1) + 1
	}
	if in.s.Setlist {
		in.listEnd = i
		return i, nil
	}
	listed := b.st.IsOp(i, OpLeftParen) && !b.startsQuery(i+1)
	if !listed {
		return i, in.impliedColumns(i)
	}
	end := b.st.Match(i)
	if end < 0 {
		return 0, notUnderstood("parentheses do not match", "")
	}
	if end == i+1 {
		// An empty list: the server takes it for no list, and VALUES () for a row of defaults.
		if in.s.Select == nil && in.emptyRows() {
			in.columns = nil
			return end + 1, nil
		}
		return 0, notUnderstood("an empty column list", "leave it out or name the columns")
	}
	for _, n := range in.s.Columns {
		c := in.table.Column(n.Name.O)
		if c == nil {
			return 0, notUnderstood("a column of the INSERT is not known", "check the name; the schema as Latchkey read it does not have it")
		}
		in.columns = append(in.columns, c)
	}
	in.listEnd = end
	return end + 1, nil
}

func (in *inserter) emptyRows() bool {
	for _, row := range in.s.Lists {
		if len(row) != 0 {
			return false
		}
	}
	return true
}

func (in *inserter) impliedColumns(at int) error {
	if in.s.Select == nil && in.emptyRows() {
		return nil
	}
	var names []string
	for _, c := range in.table.Columns {
		if c.Invisible {
			continue
		}
		in.columns = append(in.columns, c)
		names = append(names, quoteName(c.Name))
	}
	for _, c := range in.columns {
		if !asciiName(c.Name) {
			return refuse(CodeNotUnderstood, in.table.Database+"."+in.table.Name,
				"INSERT without a column list into a table with non-ASCII column names", "name the columns")
		}
	}
	return in.b.edit(at, at-1, Piece{Kind: PieceText, Text: " (" + strings.Join(names, ",") + ") "})
}

func asciiName(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// values plans VALUES rows and INSERT ... SET.
func (in *inserter) values(next int) error {
	b := in.b
	if in.s.Setlist {
		return in.setForm(next)
	}
	if !b.st.Is(next, KwValues) && !b.st.Is(next, KwValue) {
		return notUnderstood("VALUES is not where it is expected", "")
	}
	i := next + 1
	for b.st.IsOp(i, OpLeftParen) {
		end := b.st.Match(i)
		if end < 0 {
			return notUnderstood("parentheses do not match", "")
		}
		if b.st.Collapsed(i) >= 0 {
			if err := in.row(i, end); err != nil {
				return err
			}
		}
		i = end + 1
		if !b.st.IsOp(i, OpComma) {
			break
		}
		i++
	}
	if len(in.rows) != len(in.s.Lists) {
		return notUnderstood("the rows are not those that were read", "")
	}
	if b.st.Is(i, KwOn) {
		in.duplicate = i
	}
	return in.sealRows()
}

// row cuts one row at its commas.
func (in *inserter) row(open, end int) error {
	b := in.b
	r := insertRow{open: open}
	if end == open+1 {
		in.rows = append(in.rows, r)
		return nil
	}
	from := open + 1
	for i := open + 1; i <= end; i++ {
		if b.st.IsOp(i, OpLeftParen) {
			i = b.st.Match(i)
			if i < 0 {
				return notUnderstood("parentheses do not match", "")
			}
			continue
		}
		if i == end || b.st.IsOp(i, OpComma) {
			if i == from {
				return notUnderstood("a value is missing", "")
			}
			r.spans = append(r.spans, [2]int{from, i - 1})
			from = i + 1
		}
	}
	in.rows = append(in.rows, r)
	return nil
}

func (in *inserter) setForm(next int) error {
	b := in.b
	if !b.st.Is(next, KwSet) {
		return notUnderstood("SET is not where it is expected", "")
	}
	list, end, err := b.assignments(next+1, func(i int) bool { return b.st.Is(i, KwOn) || b.st.Is(i, KwReturning) })
	if err != nil {
		return err
	}
	if len(list) != len(in.s.Columns) || len(in.s.Lists) != 1 || len(in.s.Lists[0]) != len(list) {
		return notUnderstood("the assignments are not those that were read", "")
	}
	r := insertRow{open: -1}
	for i, n := range in.s.Columns {
		if !b.matchesTree(list[i], n) {
			return notUnderstood("the assignments are not those that were read", "")
		}
		c := in.table.Column(n.Name.O)
		if c == nil {
			return notUnderstood("a column of the INSERT is not known", "")
		}
		in.columns = append(in.columns, c)
		r.spans = append(r.spans, [2]int{list[i].valueFrom, list[i].valueTo})
	}
	in.rows = []insertRow{r}
	if b.st.Is(end, KwOn) {
		in.duplicate = end
	}
	return in.sealRows()
}

// sealRows plans the values of every kept row.
func (in *inserter) sealRows() error {
	b := in.b
	for i, r := range in.rows {
		exprs := in.s.Lists[i]
		if len(r.spans) != len(exprs) {
			return notUnderstood("the values are not those that were read", "")
		}
		if len(r.spans) != len(in.columns) && len(r.spans) != 0 {
			return refuse(CodeValueCount, "", "column count does not match value count", "")
		}
		for k, span := range r.spans {
			c := in.columns[k]
			if c.Protected == nil {
				if p := in.table.mixes(c.Name); p != nil {
					return notPossible(p, "a CHECK constraint compares it with columns that are not protected", "drop the constraint and check in the application")
				}
				if err := b.walk(exprs[k], in.sc); err != nil {
					return err
				}
				continue
			}
			if err := in.sealValue(c.Protected, r, span); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *inserter) sealValue(p *Protected, r insertRow, span [2]int) error {
	b := in.b
	if p.Conflict != nil {
		return p.Conflict
	}
	v, ok := b.wholeValue(span[0], span[1])
	if !ok || v.Kind != ValueNull {
		if err := sealable(p); err != nil {
			return err
		}
	}
	if !ok {
		return notPossible(p, "an expression as a value", "compute the value in the application and write it")
	}
	if v.Kind == ValueDefault {
		implicit, err := in.implied(p)
		if err != nil || !implicit {
			return err
		}
		v.Kind = ValueImplicit
	}
	in.writes(p)
	return b.edit(span[0], span[1], Piece{Kind: PieceSeal, Column: p, Values: []Value{v}, Owner: in.owner(p, r)})
}

func (in *inserter) writes(p *Protected) {
	for _, w := range in.b.plan.Writes {
		if w == p {
			return
		}
	}
	in.b.plan.Writes = append(in.b.plan.Writes, p)
}

// implied tells whether a column that is given nothing gets the implicit default of its type, which the statement then has to
// bring as a cell: the backend would store an empty value. An ENUM gets its first member in every sql_mode.
// https://mariadb.com/kb/en/create-table/#default-column-option
func (in *inserter) implied(p *Protected) (bool, error) {
	if p.Conflict != nil {
		return false, p.Conflict
	}
	if p.Type.HasDefault {
		return false, sealableUnseen(p)
	}
	if p.Nullable || !in.b.plan.RefuseNull && p.Type.Kind != logical.KindEnum {
		return false, nil
	}
	if err := sealable(p); err != nil {
		return false, err
	}
	if _, ok := p.Type.ImplicitDefault(); !ok || in.s.Select != nil {
		return false, notPossible(p, "it has no default and the statement gives none", "give a value, or use a strict sql_mode")
	}
	return true, nil
}

// omitted plans the sealed columns that the statement does not name.
func (in *inserter) omitted() error {
	var names string
	var pieces []Piece
	for _, c := range in.table.Columns {
		if c.Protected == nil || in.position(c) >= 0 {
			continue
		}
		implicit, err := in.implied(c.Protected)
		if err != nil {
			return err
		}
		if !implicit {
			continue
		}
		if !asciiName(c.Name) || in.listEnd <= 0 {
			return notPossible(c.Protected, "it has no default and the statement gives none", "name the column and give a value")
		}
		in.writes(c.Protected)
		names += "," + quoteName(c.Name)
		name := ","
		if in.s.Setlist {
			name += quoteName(c.Name) + "="
		}
		pieces = append(pieces, Piece{Kind: PieceText, Text: name}, Piece{Kind: PieceSeal, Column: c.Protected, Values: []Value{{Kind: ValueImplicit, Token: -1}}})
	}
	if len(pieces) == 0 {
		return nil
	}
	return in.appendColumns(names, pieces)
}

// appendColumns adds columns to the end of the column list and their values to every row.
func (in *inserter) appendColumns(names string, pieces []Piece) error {
	b := in.b
	if in.s.Setlist {
		last := in.rows[0].spans[len(in.rows[0].spans)-1][1]
		return b.edit(last+1, last, pieces...)
	}
	if err := b.edit(in.listEnd, in.listEnd-1, Piece{Kind: PieceText, Text: names}); err != nil {
		return err
	}
	for _, r := range in.rows {
		end := b.st.Match(r.open)
		if end < 0 || len(r.spans) == 0 {
			return notUnderstood("a row without values", "name the columns and give their values")
		}
		if err := b.edit(end, end-1, pieces...); err != nil {
			return err
		}
	}
	return nil
}

// position gives the place of a column in the column list, -1 when it is left out.
func (in *inserter) position(c *Column) int {
	for i, l := range in.columns {
		if l == c {
			return i
		}
	}
	return -1
}

// fromSelect plans INSERT ... SELECT: a sealed column takes the same column of other rows, or a literal of the select list.
func (in *inserter) fromSelect() error {
	b := in.b
	outs, err := in.query()
	if err != nil {
		return err
	}
	if len(outs) != len(in.columns) {
		return refuse(CodeValueCount, "", "column count does not match value count", "")
	}
	for i := range outs {
		o := &outs[i]
		p := in.columns[i].Protected
		if o.ambig {
			return notUnderstood("the columns of the SELECT are not known", "name the columns instead of *")
		}
		switch {
		case p == nil && o.prot != nil:
			return notPossible(o.prot, "its cells would be copied into a column that is not protected",
				"read the rows and write them through Latchkey")
		case p == nil:
		case o.prot != nil:
			if err := in.copied(p, o, outs); err != nil {
				return err
			}
			in.writes(p)
		default:
			if err := in.selectedLiteral(p, o, outs); err != nil {
				return err
			}
		}
	}
	if in.s.IsReplace && in.locks() {
		return notPossible(in.firstProtected(), "REPLACE ... SELECT may overwrite cells whose key is not here",
			"set overwrite: allow, or read the rows and write them")
	}
	in.duplicate = b.lastOnDuplicate(in.s)
	return nil
}

// copied allows a cell to be copied into a column of the same context, for the same owner.
func (in *inserter) copied(p *Protected, o *output, outs []output) error {
	if err := sealableUnseen(p); err != nil {
		return err
	}
	if !o.prot.SameContext(p) {
		return notPossible(p, "a column of another context as the value", "read the value and write it")
	}
	if err := copyable(in.table, p); err != nil {
		return err
	}
	if p.Owner == "" || p.ServiceKey != "" {
		return nil
	}
	owner := in.table.Column(p.Owner)
	if owner != nil {
		if i := in.position(owner); i >= 0 && o.from != nil && outs[i].from == o.from &&
			strings.EqualFold(outs[i].column, o.prot.Owner) {
			return nil
		}
	}
	return notPossible(p, "the copied rows may belong to another owner", "select the owner column along with it")
}

// selectedLiteral seals a literal in the select list.
func (in *inserter) selectedLiteral(p *Protected, o *output, outs []output) error {
	if err := sealable(p); err != nil {
		return err
	}
	sel, simple := in.s.Select.(*ast.SelectStmt)
	if o.literal == nil || !simple || sel.Distinct || sel.GroupBy != nil || sel.Having != nil {
		return notPossible(p, "an expression as a value", "compute the value in the application and write it")
	}
	in.writes(p)
	if o.literal.Kind == ValueNull {
		return nil
	}
	in.b.plan.Selected = true
	return in.b.edit(o.first, o.last, Piece{Kind: PieceSeal, Column: p, Values: []Value{*o.literal}, Owner: in.selectedOwner(p, outs)})
}

// locks reports whether any sealed column of the table is guarded against overwriting.
func (in *inserter) locks() bool { return in.firstProtected() != nil }

func (in *inserter) firstProtected() *Protected {
	for _, c := range in.table.Columns {
		if c.Protected != nil && !c.Protected.OverwriteAllow {
			return c.Protected
		}
	}
	return nil
}

// lastOnDuplicate finds ON DUPLICATE KEY UPDATE after a SELECT.
func (b *builder) lastOnDuplicate(s *ast.InsertStmt) int {
	if len(s.OnDuplicate) == 0 {
		return -1
	}
	for i := b.st.Len() - 1; i >= 0; i-- {
		if b.st.Is(i, KwOn) && b.st.Is(i+1, KwDuplicate) {
			return i
		}
	}
	return -1
}
