package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// ResidualWrite is a statement that writes whose rows or values only the evaluator can tell: the candidates are locked and opened,
// the client's statement runs over them there, and what it changed is written by primary key in the client's transaction.
type ResidualWrite struct {
	// Delete says that rows which the statement removed are deleted; else Columns of rows that it changed are written.
	Delete bool
	// Insert is set for INSERT and REPLACE, which have one target.
	Insert *ResidualInsert
	// Targets are the tables that are written, at least one.
	Targets []WriteTarget
	// Returning: the evaluator's answer is a resultset for the client.
	Returning bool
}

// WriteTarget is one table that a residual statement writes.
type WriteTarget struct {
	// Load is the table's place in ResidualPlan.Loads; its fetch has all columns of Key and Columns, and locks.
	Load int
	// Key are the columns by which a row is found again: those of the primary key, none of which the statement changes and none
	// of which is protected.
	Key []string
	// Columns are those that an UPDATE assigns, in the order in which it does. Their new values are those that the evaluator
	// has; what a column that is not protected gets depends on no protected one.
	Columns []WriteColumn
	// Owner is the column that says whose the rows with new cells are; empty when they have no owner. Moves says that the statement
	// assigns it: Columns then has all that is sealed for the owner.
	Owner string
	Moves bool
	// Constraints are the CHECKs over protected columns that the statement can break.
	Constraints []*Constraint
}

// WriteColumn is one assignment of a residual UPDATE.
type WriteColumn struct {
	Name string
	// Protected is not nil for a column whose new value is sealed.
	Protected *Protected
}

// residualWrite plans a statement that writes.
func (p *residualPlanner) residualWrite(n ast.StmtNode) error {
	p.r.Write = &ResidualWrite{}
	switch s := n.(type) {
	case *ast.UpdateStmt:
		return p.residualUpdate(s)
	case *ast.DeleteStmt:
		return p.residualDelete(s)
	case *ast.InsertStmt:
		return p.residualInsert(s)
	}
	return notUnderstood("this kind of statement cannot be finished in the evaluator", "")
}

// targets notes the tables and the condition of a write.
func (p *residualPlanner) targets(refs *ast.TableRefsClause, where ast.ExprNode) (*queryBlock, error) {
	q := p.writing
	p.blocks = append(p.blocks, q)
	if refs == nil || refs.TableRefs == nil {
		return nil, notUnderstood("a statement without a table", "")
	}
	reach, err := p.tree(q, refs.TableRefs, true)
	if err != nil {
		return nil, err
	}
	if where != nil {
		p.push(condition{q, reach, true}, where, whereEnds)
	}
	return q, nil
}

func (p *residualPlanner) residualUpdate(s *ast.UpdateStmt) error {
	if s.With != nil {
		return notUnderstood("WITH before UPDATE", "")
	}
	q, err := p.targets(s.TableRefs, s.Where)
	if err != nil {
		return err
	}
	start := p.b.innerStart()
	set := p.b.keywordAt(start, KwSet)
	if start < 0 || set < 0 {
		return notUnderstood("the parts of UPDATE are not where they are expected", "")
	}
	list, _, err := p.b.assignments(set+1, func(i int) bool {
		return p.b.st.Is(i, KwWhere) || p.b.st.Is(i, KwOrder) || p.b.st.Is(i, KwLimit)
	})
	if err != nil {
		return err
	}
	if len(list) != len(s.List) {
		return notUnderstood("the assignments are not those that were read", "")
	}
	for i, a := range s.List {
		if !p.b.matchesTree(list[i], a.Column) {
			return notUnderstood("the assignments are not those that were read", "")
		}
		if err := p.assigned(q, a); err != nil {
			return err
		}
	}
	for i := range p.r.Write.Targets {
		t := &p.r.Write.Targets[i]
		of := p.tables[t.Load]
		t.moves(of.table)
		for _, c := range t.Columns {
			of.need[FoldName(c.Name)] = true
		}
		if t.Owner != "" {
			of.need[FoldName(t.Owner)] = true
		}
	}
	p.b.plan.Ignore = s.IgnoreErr
	return nil
}

// assigned notes one assignment of an UPDATE.
func (p *residualPlanner) assigned(q *queryBlock, a *ast.Assignment) error {
	u, c, prot := p.resolve(q, a.Column)
	if u == nil {
		return notUnderstood("a column that is assigned is not known in any one table", "write the table's name before the column")
	}
	t, err := p.target(u, "UPDATE")
	if err != nil {
		return err
	}
	if err := t.assignable(u.of.table, c, a.Expr); err != nil {
		return err
	}
	if prot == nil {
		if err := newDerivedNames(p).plain(a.Expr); err != nil {
			return err
		}
	}
	u.of.need[FoldName(c.Name)] = true
	if err := t.assign(p.b, u.of.table, c); err != nil {
		return err
	}
	t.constrain(u.of, c.Name)
	return nil
}

// assignable refuses what cannot be assigned to a column of the target.
func (t *WriteTarget) assignable(table *Table, c *Column, e ast.ExprNode) error {
	name := table.String() + "." + c.Name
	switch {
	case slices.ContainsFunc(t.Key, func(k string) bool { return FoldName(k) == FoldName(c.Name) }):
		return refuse(CodeNotPossible, name, "a statement that computes over protected columns changes the key that its rows are written by",
			"change the key in a statement of its own")
	case defaulted(e) && c.computesDefault():
		return refuse(CodeNotPossible, name, "its default is an expression", "write the value itself")
	case c.Generated:
		return refuse(CodeNotPossible, name, "it is computed by the server", "leave it out")
	case slices.ContainsFunc(t.Columns, func(w WriteColumn) bool { return w.Name == c.Name }):
		return refuse(CodeNotPossible, name, "it is assigned twice", "")
	case owns(table, c.Name) && OwnerText(c, "") == "":
		return refuse(CodeNotPossible, name, "a statement that computes over protected columns changes the owner of its rows, whose type has no certain text",
			"change the owner in a statement of its own")
	}
	return nil
}

// assign notes a column that the statement assigns.
func (t *WriteTarget) assign(b *builder, table *Table, c *Column) error {
	if c.Protected == nil {
		if err := table.keyedWithPlaintext(c.Name); err != nil {
			return err
		}
	} else {
		if err := sealableUnseen(c.Protected); err != nil {
			return err
		}
		b.plan.Writes = append(b.plan.Writes, c.Protected)
		if owner := ownerColumn(table, c.Protected); owner != nil {
			t.Owner = owner.Name
		}
	}
	t.Columns = append(t.Columns, WriteColumn{Name: c.Name, Protected: c.Protected})
	return nil
}

// moves adds the protected columns that follow their row when the statement gives it another owner.
func (t *WriteTarget) moves(table *Table) {
	if !slices.ContainsFunc(t.Columns, func(c WriteColumn) bool { return owns(table, c.Name) }) {
		return
	}
	for _, c := range table.Columns {
		owner := ownerColumn(table, c.Protected.orNone())
		if owner == nil {
			continue
		}
		t.Owner, t.Moves = owner.Name, true
		if !slices.ContainsFunc(t.Columns, func(w WriteColumn) bool { return w.Name == c.Name }) {
			t.Columns = append(t.Columns, WriteColumn{Name: c.Name, Protected: c.Protected})
		}
	}
}

// orNone gives a column that is nothing's for nil.
func (c *Protected) orNone() *Protected {
	if c == nil {
		return &Protected{}
	}
	return c
}

// defaulted tells whether an expression is the word DEFAULT.
func defaulted(e ast.ExprNode) bool {
	_, ok := e.(*ast.DefaultExpr)
	return ok
}

// computesDefault tells whether the evaluator does not know the default of a plain column.
func (c *Column) computesDefault() bool {
	_, literal := c.evaluatorDefault()
	return c.Protected == nil && c.HasDefault && !literal && !strings.EqualFold(c.Default, "NULL")
}

// constrain notes the constraints that a new value of a column can break: the evaluator needs all of their columns.
func (t *WriteTarget) constrain(of *usedTable, column string) {
	for i := range of.table.Constraints {
		constraint := &of.table.Constraints[i]
		if !slices.Contains(constraint.Columns, column) || slices.Contains(t.Constraints, constraint) {
			continue
		}
		t.Constraints = append(t.Constraints, constraint)
		for _, name := range constraint.Columns {
			of.need[FoldName(name)] = true
		}
	}
}

// target gives the entry of a table that is written.
func (p *residualPlanner) target(u *tableUse, event string) (*WriteTarget, error) {
	t := u.of.table
	for i := range p.r.Write.Targets {
		if p.tables[p.r.Write.Targets[i].Load] == u.of {
			return &p.r.Write.Targets[i], nil
		}
	}
	key, err := writtenKey(t)
	if err != nil {
		return nil, err
	}
	switch {
	case slices.ContainsFunc(t.Triggers, func(r *Routine) bool { return strings.EqualFold(r.Event, event) }):
		return nil, refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table with a trigger for it",
			"do the trigger's work in the application")
	case len(u.of.uses) > 1:
		return nil, refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table that it also names elsewhere",
			"read the values first")
	}
	if err := p.b.writable(t); err != nil {
		return nil, err
	}
	for _, k := range key {
		u.of.need[FoldName(k)] = true
	}
	u.of.written = true
	p.r.Write.Targets = append(p.r.Write.Targets, WriteTarget{Load: slices.Index(p.tables, u.of), Key: key})
	return &p.r.Write.Targets[len(p.r.Write.Targets)-1], nil
}

// writtenKey gives the columns of the primary key, by which rows are written.
func writtenKey(t *Table) ([]string, error) {
	key := keyColumns(t)
	switch {
	case t.Kind != BaseTable:
		return nil, refuse(CodeNotUnderstood, t.String(), "a statement that computes over protected columns writes a view", "write the table itself")
	case len(key) == 0:
		return nil, refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table without a primary key",
			"add a primary key, by which its rows can be written")
	case slices.ContainsFunc(key, func(k string) bool { return t.Column(k) == nil || t.Column(k).Protected != nil }):
		return nil, refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table whose primary key is protected",
			"give the table a primary key that is not")
	}
	return key, nil
}

func (p *residualPlanner) residualDelete(s *ast.DeleteStmt) error {
	if s.With != nil {
		return notUnderstood("WITH before DELETE", "")
	}
	q, err := p.targets(s.TableRefs, s.Where)
	if err != nil {
		return err
	}
	p.r.Write.Delete, p.r.Write.Returning = true, p.b.parsed.Returning != nil
	p.b.plan.Ignore = s.IgnoreErr
	if !s.IsMultiTable {
		if len(q.uses) != 1 {
			return notUnderstood("the table of DELETE is not known", "")
		}
		_, err := p.target(q.uses[0], "DELETE")
		return err
	}
	for _, n := range s.Tables.Tables {
		u := p.deleted(q, n)
		if u == nil {
			return notUnderstood("a table of DELETE is not known", "")
		}
		if _, err := p.target(u, "DELETE"); err != nil {
			return err
		}
	}
	return nil
}

// deleted finds the use that an entry of a multi-table DELETE names.
func (p *residualPlanner) deleted(q *queryBlock, n *ast.TableName) *tableUse {
	lower := p.b.p.schema.LowerCaseTableNames
	var found *tableUse
	for _, u := range q.uses {
		if u.name != FoldTable(n.Name.O, lower) || n.Schema.O != "" && FoldTable(n.Schema.O, lower) != FoldTable(u.of.table.Database, lower) {
			continue
		}
		if found != nil {
			return nil
		}
		found = u
	}
	return found
}
