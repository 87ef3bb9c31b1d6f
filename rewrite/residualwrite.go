package rewrite

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// ResidualWrite is an UPDATE or DELETE whose rows or values only the evaluator can tell: the candidates are locked and opened,
// the client's statement runs over them there, and what it changed is written by primary key in the client's transaction.
type ResidualWrite struct {
	// Delete says that rows which the statement removed are deleted; else Columns of rows that it changed are written.
	Delete bool
	// Targets are the tables that are written, at least one.
	Targets []WriteTarget
	// Returning: the evaluator's answer is a resultset for the client.
	Returning bool
}

// WriteTarget is one table that a residual statement writes.
type WriteTarget struct {
	// Load is the table's place in ResidualPlan.Loads; its fetch has all columns of Key and Columns, and locks.
	Load int
	// Key are the columns by which a row is found again: those of the primary key, none of which the statement changes.
	Key []string
	// Columns are those that an UPDATE assigns, in the order in which it does.
	Columns []WriteColumn
}

// WriteColumn is one assignment of a residual UPDATE.
type WriteColumn struct {
	Name string
	// Protected is not nil for a column whose new value is sealed.
	Protected *Protected
	// Expression is what the backend computes by itself, over plain columns under the alias WriteAlias; nil where the new value
	// is the one that the evaluator has.
	Expression []Piece
}

// WriteAlias is the name of the table in the statements that write a residual statement's rows, as SQL.
const WriteAlias = "`lkw`"

// residualWrite plans UPDATE and DELETE.
func (p *residualPlanner) residualWrite(n ast.StmtNode) error {
	p.r.Write = &ResidualWrite{}
	switch s := n.(type) {
	case *ast.UpdateStmt:
		return p.residualUpdate(s)
	case *ast.DeleteStmt:
		return p.residualDelete(s)
	}
	return notUnderstood("this kind of statement cannot be finished in the evaluator", "")
}

// targets notes the tables and the condition of a write.
func (p *residualPlanner) targets(refs *ast.TableRefsClause, where ast.ExprNode) (*queryBlock, error) {
	q := &queryBlock{}
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
		if err := p.assigned(q, a, list[i]); err != nil {
			return err
		}
	}
	p.b.plan.Ignore = s.IgnoreErr
	return nil
}

// assigned notes one assignment of an UPDATE.
func (p *residualPlanner) assigned(q *queryBlock, a *ast.Assignment, tokens assignment) error {
	u, c, prot := p.resolve(q, a.Column)
	if u == nil {
		return notUnderstood("a column that is assigned is not known in any one table", "write the table's name before the column")
	}
	t, err := p.target(u, "UPDATE")
	if err != nil {
		return err
	}
	name := u.of.table.String() + "." + c.Name
	switch {
	case slices.ContainsFunc(t.Key, func(k string) bool { return FoldName(k) == FoldName(c.Name) }):
		return refuse(CodeNotPossible, name, "a statement that computes over protected columns changes the key that its rows are written by",
			"change the key in a statement of its own")
	case u.of.table.Owner != "" && FoldName(u.of.table.Owner) == FoldName(c.Name):
		return refuse(CodeNotPossible, name, "a statement that computes over protected columns changes the owner of its rows",
			"change the owner in a statement of its own")
	case slices.ContainsFunc(t.Columns, func(w WriteColumn) bool { return w.Name == c.Name }):
		return refuse(CodeNotPossible, name, "it is assigned twice", "")
	}
	w := WriteColumn{Name: c.Name, Protected: prot}
	if prot == nil {
		if from := p.mayRead(a.Expr); from != nil {
			return notPossible(from, "its plaintext would be written to a column that is not protected",
				"protect that column too, or write the value from the application")
		}
		w.Expression = p.backendExpression(q, u, a.Expr, tokens)
	}
	u.of.need[FoldName(c.Name)] = true
	t.Columns = append(t.Columns, w)
	if prot != nil {
		p.b.plan.Writes = append(p.b.plan.Writes, prot)
	}
	return nil
}

// mayRead gives a protected column that an expression may read, by name alone; nil when there is none.
func (p *residualPlanner) mayRead(e ast.ExprNode) *Protected {
	v := &protectedFinder{p: p}
	e.Accept(v)
	return v.found
}

// protectedFinder looks for the name of a protected column.
type protectedFinder struct {
	p     *residualPlanner
	found *Protected
}

// Enter implements ast.Visitor.
func (v *protectedFinder) Enter(n ast.Node) (ast.Node, bool) {
	if x, ok := n.(*ast.ColumnName); ok {
		for _, t := range v.p.tables {
			if _, prot := t.column(FoldName(x.Name.O)); prot != nil && v.p.names(t, x) {
				v.found = prot
			}
		}
	}
	return n, v.found != nil
}

// Leave implements ast.Visitor.
func (v *protectedFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// backendExpression gives the new value of a plain column as the backend can compute it: from plain columns of the same row
// and constants. nil when only the evaluator can.
func (p *residualPlanner) backendExpression(q *queryBlock, u *tableUse, e ast.ExprNode, tokens assignment) []Piece {
	v := &conditionVisitor{p: p, q: q}
	e.Accept(v)
	if v.failed || v.prot != nil || v.use != nil && v.use != u || !v.within(tokens.valueFrom, tokens.valueTo) ||
		!p.computable(tokens.valueFrom, tokens.valueTo) {
		return nil
	}
	return renamed(tokens.valueFrom, tokens.valueTo, v.refs, WriteAlias)
}

// target gives the entry of a table that is written.
func (p *residualPlanner) target(u *tableUse, event string) (*WriteTarget, error) {
	t := u.of.table
	for i := range p.r.Write.Targets {
		if p.tables[p.r.Write.Targets[i].Load] == u.of {
			return &p.r.Write.Targets[i], nil
		}
	}
	key := keyColumns(t)
	switch {
	case t.Kind != BaseTable:
		return nil, refuse(CodeNotUnderstood, t.String(), "a statement that computes over protected columns writes a view", "write the table itself")
	case len(key) == 0:
		return nil, refuse(CodeNotPossible, t.String(), "a statement that computes over protected columns writes a table without a primary key",
			"add a primary key, by which its rows can be written")
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

func (p *residualPlanner) residualDelete(s *ast.DeleteStmt) error {
	if s.With != nil {
		return notUnderstood("WITH before DELETE", "")
	}
	q, err := p.targets(s.TableRefs, s.Where)
	if err != nil {
		return err
	}
	p.r.Write.Delete, p.r.Write.Returning = true, p.b.parsed.Returning != nil
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
