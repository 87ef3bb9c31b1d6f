package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
)

// ResidualInsert is an INSERT or REPLACE whose values only the evaluator can tell. The client's statement runs there over an
// empty table like the target, and the rows that come to be are sealed and written by a statement of the same kind.
type ResidualInsert struct {
	// Columns are those that the rows are written with: what the statement names, and the protected columns whose implicit
	// default it leaves to the server.
	Columns []WriteColumn
	// Counter is the AUTO_INCREMENT column, empty where there is none; where it is left out or NULL, the backend counts.
	Counter string
	// Selected says that the rows are those of a query.
	Selected bool
	// Replace says that the statement is REPLACE, and Duplicate that it has ON DUPLICATE KEY UPDATE. The evaluator then gets the
	// rows that the new ones may meet, and the columns of the target say which of them the statement assigns.
	Replace, Duplicate bool
	// Guarded are the protected columns of a table whose old cells a REPLACE reads first: they have to be under keys that are
	// here. There are none where the policy lets all be overwritten.
	Guarded []*Protected
	// Keys are the unique keys by which a new row meets an old one; only for Replace with Guarded and for Duplicate.
	Keys []*Index
	// LastID: the statement sets LAST_INSERT_ID() itself.
	LastID bool
	// ReturningFrom is the first token, of the collapsed statement, of the RETURNING list, which goes to the statement's end; -1
	// without one.
	ReturningFrom int
}

// residualInserter plans INSERT and REPLACE.
type residualInserter struct {
	p      *residualPlanner
	s      *ast.InsertStmt
	of     *usedTable
	in     *ResidualInsert
	target *WriteTarget
	names  *derivedNames
}

// residualInsert plans an INSERT or REPLACE.
func (p *residualPlanner) residualInsert(s *ast.InsertStmt) error {
	w := &residualInserter{p: p, s: s, in: &ResidualInsert{Replace: s.IsReplace, Duplicate: len(s.OnDuplicate) > 0, Selected: s.Select != nil, ReturningFrom: -1}}
	if err := w.into(); err != nil {
		return err
	}
	p.r.Write.Insert = w.in
	p.r.Write.Targets = []WriteTarget{{Load: slices.Index(p.tables, w.of)}}
	w.target = &p.r.Write.Targets[0]
	w.names = newDerivedNames(p)
	for i := range w.of.table.Constraints {
		w.target.Constraints = append(w.target.Constraints, &w.of.table.Constraints[i])
	}
	columns, err := w.columns()
	if err != nil {
		return err
	}
	if s.Select != nil {
		err = w.selected(columns)
	} else {
		err = w.values(columns)
	}
	if err != nil {
		return err
	}
	if err := w.written(columns); err != nil {
		return err
	}
	if err := w.meets(); err != nil {
		return err
	}
	return w.returning()
}

// into notes the table that gets the rows.
func (w *residualInserter) into() error {
	p, s := w.p, w.s
	name, ok := insertedTable(s)
	if !ok {
		return notUnderstood("the table of INSERT is not understood", "")
	}
	database := name.Schema.O
	if database == "" {
		database = p.b.f.Database
	}
	t := p.b.p.schema.Table(database, name.Name.O)
	switch {
	case t == nil:
		return notUnderstood("a table that is not known, or a temporary one, beside protected columns", "copy what is needed into an ordinary table")
	case t.Kind != BaseTable:
		return refuse(CodeNotUnderstood, t.String(), "a statement that computes over protected columns writes a view", "write the table itself")
	case len(s.PartitionNames) > 0:
		return notUnderstood("a partition in a statement that computes over protected columns", "name the table alone")
	case s.Priority == mysql.DelayedPriority:
		return notUnderstood("INSERT DELAYED with values that are computed", "leave DELAYED out")
	case !asciiName(t.Database+t.Name) && p.b.f.Charset != CharsetUTF8MB4:
		return notUnderstood("a table name outside of ASCII in this character set", "connect with utf8mb4")
	}
	if err := p.b.writable(t); err != nil {
		return err
	}
	var err error
	if w.of, err = p.tableOf(t); err != nil {
		return err
	}
	w.of.inserted, w.of.all = true, true
	triggered := slices.ContainsFunc(t.Triggers, func(r *Routine) bool {
		return strings.EqualFold(r.Event, "INSERT") || w.in.Duplicate && strings.EqualFold(r.Event, "UPDATE")
	})
	switch {
	case triggered:
		return refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table with a trigger for it",
			"do the trigger's work in the application")
	case w.in.Duplicate && len(w.of.uses) > 0:
		return refuse(CodeNotPossible, t.String(), "ON DUPLICATE KEY UPDATE over protected columns writes a table that it also reads",
			"read the values first")
	}
	p.b.plan.Ignore = s.IgnoreErr
	return nil
}

// insertedTable gives the name of the table of an INSERT.
func insertedTable(s *ast.InsertStmt) (*ast.TableName, bool) {
	if s.Table == nil || s.Table.TableRefs == nil {
		return nil, false
	}
	source, ok := s.Table.TableRefs.Left.(*ast.TableSource)
	if !ok || s.Table.TableRefs.Right != nil {
		return nil, false
	}
	name, ok := source.Source.(*ast.TableName)
	return name, ok
}

// columns gives the columns that the statement gives values to, in its order.
func (w *residualInserter) columns() ([]*Column, error) {
	t := w.of.table
	var columns []*Column
	for _, n := range w.s.Columns {
		c := t.Column(n.Name.O)
		if c == nil {
			return nil, notUnderstood("a column of the INSERT is not known", "check the name; the schema as Latchkey read it does not have it")
		}
		columns = append(columns, c)
	}
	if len(columns) == 0 {
		for _, c := range t.Columns {
			if !c.Invisible {
				columns = append(columns, c)
			}
		}
	}
	for _, c := range t.Columns {
		if c.AutoIncrement {
			w.in.Counter = c.Name
		}
	}
	return columns, nil
}

// values judges the rows of VALUES and the list of SET.
func (w *residualInserter) values(columns []*Column) error {
	for _, row := range w.s.Lists {
		if len(row) == 0 && len(w.s.Columns) == 0 {
			continue // of defaults
		}
		if len(row) != len(columns) {
			return refuse(CodeValueCount, "", "column count does not match value count", "")
		}
		for i, e := range row {
			if err := w.value(columns[i], e); err != nil {
				return err
			}
		}
	}
	return nil
}

// value judges the expression for one column.
func (w *residualInserter) value(c *Column, e ast.ExprNode) error {
	if d, ok := e.(*ast.DefaultExpr); ok && d.Name == nil {
		if c.computesDefault() {
			return refuse(CodeNotPossible, w.of.table.String()+"."+c.Name, "its default is an expression", "leave the column out, or write the value itself")
		}
		return nil
	}
	v := &ownRowFinder{w: w}
	e.Accept(v)
	if v.err != nil {
		return v.err
	}
	if c.Protected == nil {
		return w.names.plain(e)
	}
	return nil
}

// ownRowFinder looks for names of the row itself whose values the evaluator does not have.
type ownRowFinder struct {
	w *residualInserter
	// inner counts the subqueries around, whose own tables come first.
	inner int
	err   error
}

// Enter implements ast.Visitor.
func (v *ownRowFinder) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.SubqueryExpr:
		v.inner++
	case *ast.ColumnName:
		v.column(x)
	}
	return n, v.err != nil
}

func (v *ownRowFinder) column(x *ast.ColumnName) {
	of, p := v.w.of, v.w.p
	c := of.table.Column(x.Name.O)
	if c == nil || !p.mayName(of, x) {
		return
	}
	if v.inner > 0 && x.Table.O == "" && slices.ContainsFunc(p.tables, func(t *usedTable) bool {
		other, _ := t.column(FoldName(x.Name.O))
		return other != nil && len(t.uses) > 0
	}) {
		return
	}
	switch {
	case c.AutoIncrement:
		v.err = refuse(CodeNotPossible, of.table.String()+"."+c.Name, "a value is computed from it before the server has counted it", "write the value itself")
	case c.Generated, c.computesDefault():
		v.err = refuse(CodeNotPossible, of.table.String()+"."+c.Name, "a value is computed from it, and it is computed by the server", "write the value itself")
	}
}

// Leave implements ast.Visitor.
func (v *ownRowFinder) Leave(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.SubqueryExpr); ok {
		v.inner--
	}
	return n, v.err == nil
}

// selected judges the select list of INSERT ... SELECT, of each of its SELECTs.
func (w *residualInserter) selected(columns []*Column) error {
	branches, err := branchesOf(w.s.Select)
	if err != nil {
		return err
	}
	for _, s := range branches {
		items, err := w.items(s)
		if err != nil {
			return err
		}
		if len(items) != len(columns) {
			return refuse(CodeValueCount, "", "column count does not match value count", "")
		}
		for i, item := range items {
			if columns[i].Protected != nil {
				continue
			}
			if item.prot != nil {
				return plaintextInClear(item.prot)
			}
			if item.expr == nil {
				continue
			}
			if err := w.names.plain(item.expr); err != nil {
				return err
			}
		}
	}
	return nil
}

// branchesOf gives the SELECTs whose rows a query is made of.
func branchesOf(n ast.Node) ([]*ast.SelectStmt, error) {
	switch x := n.(type) {
	case *ast.SelectStmt:
		if x.Kind != ast.SelectStmtKindValues && x.Fields != nil {
			return []*ast.SelectStmt{x}, nil
		}
	case *ast.SetOprStmt:
		return branchesOf(x.SelectList)
	case *ast.SetOprSelectList:
		var all []*ast.SelectStmt
		for _, s := range x.Selects {
			some, err := branchesOf(s)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		return all, nil
	}
	return nil, notUnderstood("the query of the INSERT is not understood", "use SELECT")
}

// selectItem is one column of a select list: an expression, or a column that * stands for, with what protects it.
type selectItem struct {
	expr ast.ExprNode
	prot *Protected
}

// items gives the columns of a select list.
func (w *residualInserter) items(s *ast.SelectStmt) ([]selectItem, error) {
	var items []selectItem
	for _, f := range s.Fields.Fields {
		if f.WildCard == nil {
			items = append(items, selectItem{expr: f.Expr})
			continue
		}
		all, err := w.star(s, f.WildCard)
		if err != nil {
			return nil, err
		}
		items = append(items, all...)
	}
	return items, nil
}

// star gives the columns that * stands for.
func (w *residualInserter) star(s *ast.SelectStmt, f *ast.WildCardField) ([]selectItem, error) {
	unknown := notUnderstood("the columns of the SELECT are not known", "name the columns instead of *")
	at := slices.IndexFunc(w.p.blocks, func(q *queryBlock) bool { return q.sel == s })
	if at < 0 || len(w.p.blocks[at].derived) > 0 || merges(s.From) {
		return nil, unknown
	}
	name := FoldTable(f.Table.O, w.p.b.p.schema.LowerCaseTableNames)
	var items []selectItem
	for _, u := range w.p.blocks[at].uses {
		if name != "" && u.name != name {
			continue
		}
		for i, c := range u.of.table.Columns {
			if !c.Invisible {
				items = append(items, selectItem{prot: u.of.protected(i)})
			}
		}
	}
	if len(items) == 0 {
		return nil, unknown
	}
	return items, nil
}

// merges tells whether a join makes one column of two.
func merges(from *ast.TableRefsClause) bool {
	v := &mergeFinder{}
	if from != nil {
		from.Accept(v)
	}
	return v.found
}

// mergeFinder looks for NATURAL JOIN and USING.
type mergeFinder struct{ found bool }

// Enter implements ast.Visitor.
func (v *mergeFinder) Enter(n ast.Node) (ast.Node, bool) {
	if j, ok := n.(*ast.Join); ok && (j.NaturalJoin || len(j.Using) > 0) {
		v.found = true
	}
	return n, v.found
}

// Leave implements ast.Visitor.
func (v *mergeFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// written notes the columns that the rows are written with, and what seals them.
func (w *residualInserter) written(columns []*Column) error {
	t := w.of.table
	for i, c := range columns {
		switch {
		case slices.Index(columns, c) < i:
			return refuse(CodeNotPossible, t.String()+"."+c.Name, "it is named twice", "")
		case c.Generated:
			return refuse(CodeNotPossible, t.String()+"."+c.Name, "it is computed by the server", "leave it out")
		case c.DataType == "timestamp" && c.Protected == nil && !c.Nullable && w.p.b.p.schema.ImplicitTimestamps:
			return refuse(CodeNotPossible, t.String()+"."+c.Name, "NULL stands for the present time in it", "leave it out, or set explicit_defaults_for_timestamp")
		}
	}
	for _, c := range t.Columns {
		if !slices.Contains(columns, c) && !w.implied(c) {
			continue
		}
		if p := c.Protected; p != nil {
			if err := sealableUnseen(p); err != nil {
				return err
			}
			w.p.b.plan.Writes = append(w.p.b.plan.Writes, p)
			if owner := ownerColumn(t, p); owner != nil {
				w.target.Owner = owner.Name
			}
		}
		w.in.Columns = append(w.in.Columns, WriteColumn{Name: c.Name, Protected: c.Protected})
	}
	if len(w.in.Columns) == 0 {
		return notUnderstood("an INSERT without values", "name the columns and give their values")
	}
	return nil
}

// implied tells whether a column that the statement leaves out has to be written with what the evaluator gives it: the implicit
// default of a protected column, which the backend would store as an empty value, and what the backend is too strict for.
func (w *residualInserter) implied(c *Column) bool {
	switch {
	case c.Protected != nil:
		return !c.Protected.Nullable && !c.Protected.Type.HasDefault
	case c.Generated:
		return false
	case c.OnUpdate && w.in.Duplicate:
		return true // a row that the statement adds and changes
	case c.AutoIncrement, c.Nullable, c.HasDefault:
		return false
	}
	return !w.p.b.strict(w.of.table) || w.s.IgnoreErr
}

// meets plans for rows that are there already.
func (w *residualInserter) meets() error {
	if !w.in.Duplicate && !w.in.Replace {
		return nil
	}
	if w.in.Duplicate {
		return w.duplicate()
	}
	guards := false
	for _, c := range w.of.table.Columns {
		if c.Protected != nil {
			guards = guards || !c.Protected.OverwriteAllow
			w.in.Guarded = append(w.in.Guarded, c.Protected)
		}
	}
	if !guards {
		w.in.Guarded = nil
		return nil
	}
	return w.keys()
}

// keys notes the unique keys of the target.
func (w *residualInserter) keys() error {
	t := w.of.table
	for _, x := range t.Indexes {
		if !x.Unique {
			continue
		}
		for _, part := range x.Parts {
			c := t.Column(part.Column)
			if c == nil || c.Generated || c.computesDefault() || c.DataType == "float" || c.Protected != nil && !c.Protected.Search {
				return refuse(CodeNotPossible, t.String(), "the rows that the statement would overwrite cannot be found by unique key "+x.Name,
					"update the rows by their primary key")
			}
		}
		if err := w.of.table.keyedWithPlaintext(x.Parts[0].Column); err != nil {
			return err
		}
		w.in.Keys = append(w.in.Keys, x)
	}
	return nil
}

// duplicate plans ON DUPLICATE KEY UPDATE.
func (w *residualInserter) duplicate() error {
	t := w.of.table
	if err := w.keys(); err != nil {
		return err
	}
	key, err := writtenKey(t)
	if err != nil {
		return err
	}
	w.target.Key = key
	defined, _, counting := t.evaluatorKeys(nil, true)
	for _, x := range w.in.Keys {
		if x.Name != primaryKey && !slices.ContainsFunc(defined, func(k string) bool { return strings.HasPrefix(k, "UNIQUE KEY "+quoteName(x.Name)+" (") }) ||
			x.Name == primaryKey && !slices.ContainsFunc(defined, func(k string) bool { return strings.HasPrefix(k, "PRIMARY KEY (") }) || w.perOwner(x) {
			return refuse(CodeNotPossible, t.String(), "the evaluator cannot tell which rows are the same by unique key "+x.Name, "update the rows by their primary key")
		}
	}
	if w.in.Counter != "" && w.in.Counter != counting {
		return refuse(CodeNotPossible, t.String(), "its AUTO_INCREMENT column is not the first of its unique keys", "update the rows by their primary key")
	}
	for _, a := range w.s.OnDuplicate {
		if err := w.assigned(a); err != nil {
			return err
		}
	}
	w.target.moves(t)
	return nil
}

// perOwner tells whether a unique key holds among the rows of each owner only.
func (w *residualInserter) perOwner(x *Index) bool {
	t := w.of.table
	for _, part := range x.Parts {
		c := t.Column(part.Column)
		owner := ownerColumn(t, c.Protected.orNone())
		if owner != nil && !slices.ContainsFunc(x.Parts, func(p IndexPart) bool { return p.Column == owner.Name }) {
			return true
		}
	}
	return false
}

// assigned notes one assignment of ON DUPLICATE KEY UPDATE.
func (w *residualInserter) assigned(a *ast.Assignment) error {
	t := w.of.table
	c := t.Column(a.Column.Name.O)
	if c == nil {
		return notUnderstood("a column of ON DUPLICATE KEY UPDATE is not known", "")
	}
	last := &lastIDFinder{w: w}
	if a.Expr.Accept(last); last.err != nil {
		return last.err
	}
	if w.same(c, a.Expr) {
		return nil
	}
	if err := w.target.assignable(t, c, a.Expr); err != nil {
		return err
	}
	if err := w.value(c, a.Expr); err != nil {
		return err
	}
	return w.target.assign(w.p.b, t, c)
}

// same tells whether an assignment leaves its column as it is.
func (w *residualInserter) same(c *Column, e ast.ExprNode) bool {
	switch x := unparen(e).(type) {
	case *ast.ColumnNameExpr:
		return w.of.table.Column(x.Name.Name.O) == c && (x.Name.Table.O != "" && len(w.of.uses) == 0 && w.p.mayName(w.of, x.Name) || x.Name.Table.O == "" && w.s.Select == nil)
	case *ast.FuncCallExpr:
		return isLastID(x) && w.same(c, x.Args[0])
	case *ast.ValuesExpr:
		// The row that is there was found by this value.
		return len(w.in.Keys) == 1 && len(w.in.Keys[0].Parts) == 1 && w.in.Keys[0].Parts[0].Column == c.Name && c.whole() &&
			w.of.table.Column(x.Column.Name.Name.O) == c
	}
	return false
}

// isLastID tells whether a function is LAST_INSERT_ID(value).
func isLastID(x *ast.FuncCallExpr) bool { return x.FnName.L == "last_insert_id" && len(x.Args) == 1 }

// lastIDFinder looks for LAST_INSERT_ID(value): the backend is told the value.
type lastIDFinder struct {
	w   *residualInserter
	err error
}

// Enter implements ast.Visitor.
func (v *lastIDFinder) Enter(n ast.Node) (ast.Node, bool) {
	if x, ok := n.(*ast.FuncCallExpr); ok && isLastID(x) {
		v.w.in.LastID = true
		v.err = v.w.names.plain(x.Args[0])
	}
	return n, v.err != nil
}

// Leave implements ast.Visitor.
func (v *lastIDFinder) Leave(n ast.Node) (ast.Node, bool) { return n, v.err == nil }

// whole tells whether a column holds whole numbers.
func (c *Column) whole() bool {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return c.Protected == nil
	}
	return false
}

// returning plans RETURNING: its list is evaluated over the rows as the backend gives them back.
func (w *residualInserter) returning() error {
	r := w.p.b.parsed.Returning
	if r == nil {
		return nil
	}
	b, at := w.p.b, -1
	for i := range b.st.Tokens() {
		if b.st.Is(i, KwReturning) {
			at = i
		}
	}
	var rows rowChanger
	r.Node.Accept(&rows)
	params := at >= 0 && slices.ContainsFunc(b.st.Tokens()[at:], func(t Token) bool { return t.Kind == TokParam })
	session := slices.ContainsFunc(w.p.r.Session, func(s SessionRead) bool { return s.From > at })
	if at < 0 || w.in.Duplicate || bool(rows) || params || session {
		return refuse(CodeNotPossible, w.of.table.String(), "RETURNING of this list from rows whose values are computed over protected columns", "select them afterwards")
	}
	w.p.r.Write.Returning = true
	if w.in.ReturningFrom = b.st.Collapsed(at + 1); w.in.ReturningFrom < 0 {
		return notUnderstood("RETURNING is not where it is expected", "")
	}
	return nil
}

// plaintextInClear is the refusal of a value that would reach a column that is not protected.
func plaintextInClear(p *Protected) error {
	return notPossible(p, "its plaintext would be written to a column that is not protected",
		"protect that column too, or write the value from the application")
}

// derivedNames tells what the columns of derived tables and common table expressions are made of: by their names alone, so that
// what may be protected counts as protected.
type derivedNames struct {
	p *residualPlanner
	// items has the select items by the name that they give to a column.
	items map[string][]ast.ExprNode
	// listed: some columns have their names from a list, and could be anything.
	listed bool
	// star: there is a * in a select list.
	star bool
}

func newDerivedNames(p *residualPlanner) *derivedNames {
	d := &derivedNames{p: p, items: map[string][]ast.ExprNode{}}
	p.b.parsed.Node.Accept(d)
	return d
}

// Enter implements ast.Visitor.
func (d *derivedNames) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.SelectField:
		if x.WildCard != nil {
			d.star = true
			break
		}
		name := itemName(x)
		d.items[name] = append(d.items[name], x.Expr)
	case *ast.SetOprStmt:
		d.branches(x)
	case *ast.CommonTableExpression:
		d.listed = d.listed || len(x.ColNameList) > 0
	case *ast.TableSource:
		d.listed = d.listed || len(x.ColumnNames) > 0
	}
	return n, false
}

// Leave implements ast.Visitor.
func (d *derivedNames) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// itemName is the name that a select item gives to a column, empty where it is made of the item's text.
func itemName(f *ast.SelectField) string {
	if c, ok := f.Expr.(*ast.ColumnNameExpr); ok && f.AsName.O == "" {
		return FoldName(c.Name.Name.O)
	}
	return FoldName(f.AsName.O)
}

// branches notes the select items of a set operation, whose columns have the names of its first query and the values of all.
func (d *derivedNames) branches(n *ast.SetOprStmt) {
	all, err := branchesOf(n)
	if err != nil {
		d.listed = true
		return
	}
	first := all[0].Fields.Fields
	for _, s := range all {
		if len(s.Fields.Fields) != len(first) {
			d.listed = true
			return
		}
		for i, f := range s.Fields.Fields {
			if f.WildCard != nil || first[i].WildCard != nil {
				d.listed = true
				return
			}
			name := itemName(first[i])
			d.items[name] = append(d.items[name], f.Expr)
		}
	}
}

// derived reports whether the qualifier of a column name may mean a derived table or a common table expression, which can have the
// name of a table elsewhere in the statement.
func (d *derivedNames) derived(n *ast.ColumnName) bool {
	qualifier := FoldTable(n.Table.O, d.p.b.p.schema.LowerCaseTableNames)
	return slices.ContainsFunc(d.p.blocks, func(q *queryBlock) bool { return slices.Contains(q.derived, qualifier) })
}

// plain refuses an expression whose value may depend on a protected column.
func (d *derivedNames) plain(e ast.ExprNode) error {
	found, err := d.sources(e)
	if len(found) > 0 {
		return plaintextInClear(found[0])
	}
	return err
}

// sources gives the protected columns on which the value of an expression may depend. The error is for one that is not certain.
func (d *derivedNames) sources(e ast.ExprNode) ([]*Protected, error) {
	v := &taintFinder{d: d, seen: map[ast.ExprNode]bool{e: true}}
	e.Accept(v)
	return v.found, v.uncertain()
}

// uncertain is the refusal of what may depend on more than the columns that were found.
func (v *taintFinder) uncertain() error {
	switch {
	case v.kept:
		return errKeptVariable()
	case v.unsure:
		return notUnderstood("a column that is not protected gets a value of a derived table or from * beside protected columns",
			"name the columns, each with its table, or read the values first")
	}
	return nil
}

// taintFinder looks for whatever may lead to a protected column.
type taintFinder struct {
	d      *derivedNames
	seen   map[ast.ExprNode]bool
	found  []*Protected
	unsure bool
	// kept: there is a variable that holds a protected value.
	kept bool
}

// Enter implements ast.Visitor.
func (v *taintFinder) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.ColumnName:
		v.column(x)
	case *ast.VariableExpr:
		v.kept = v.kept || keptName(v.d.p.b.kept, FoldVariable(x.Name))
	case *paramMarker:
		v.kept = v.kept || v.d.p.b.keptMarker(x)
	case *ast.SelectStmt:
		if x.Fields == nil || v.d.p.exists[x] {
			break
		}
		for _, f := range x.Fields.Fields {
			v.unsure = v.unsure || f.WildCard != nil
		}
	case *ast.Join:
		v.unsure = v.unsure || x.NaturalJoin
		for _, c := range x.Using {
			v.column(c)
		}
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *taintFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

func (v *taintFinder) column(x *ast.ColumnName) {
	p, name := v.d.p, FoldName(x.Name.O)
	base := x.Table.O != "" && !v.d.derived(x) && slices.ContainsFunc(p.tables, func(t *usedTable) bool { return p.mayName(t, x) })
	known := false
	for _, t := range p.tables {
		c, prot := t.column(name)
		if c == nil || base && !p.mayName(t, x) {
			continue
		}
		known = true
		if prot != nil {
			v.found = append(v.found, prot)
		}
	}
	if base && known {
		return
	}
	v.unsure = v.unsure || v.d.listed
	for _, e := range v.d.items[name] {
		known = true
		if !v.seen[e] {
			v.seen[e] = true
			e.Accept(v)
		}
	}
	v.unsure = v.unsure || !known
}
