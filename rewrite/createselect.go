package rewrite

import (
	"errors"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// CreateSelect is CREATE TABLE ... SELECT in its parts. The evaluator tells what MariaDB would declare, by running it there over
// empty tables; the table is then created with its columns in full, protected ones among them, and gets its rows by INSERT ... SELECT.
type CreateSelect struct {
	Database, Name string
	// Target is the name as the client wrote it, Head the statement up to and with it.
	Target, Head string
	// Elements are the columns and keys, without their parentheses, and Options what stands behind them; both may be empty.
	Elements, Options string
	// Query is the SELECT, as the client wrote it.
	Query string
	// Verb is how the rows are written: INSERT or REPLACE.
	Verb string
	// Charset and Collation are the table's defaults.
	Charset, Collation string
	// IfNotExists: a table that is there already is left alone, and gets no rows.
	IfNotExists bool
}

// querySource tells where the query of CREATE TABLE ... SELECT starts, from token i on, behind the name or the columns; -1 when
// there is none.
func (b *builder) querySource(i int) int {
	for ; i < b.st.Len(); i++ {
		switch {
		case b.st.IsOp(i, OpLeftParen):
			if startsElementQuery(b.st, i+1) {
				return i
			}
			if i = b.st.Match(i); i < 0 {
				return -1
			}
		case b.st.Is(i, KwSelect), b.st.Is(i, KwWith) && !b.st.Is(i+1, KwSystem), b.st.Is(i, KwValues) && !b.st.Is(i+1, KwIn):
			return i
		}
	}
	return -1
}

// createSelect plans CREATE TABLE ... SELECT. open and end are the parentheses around the columns, both 0 where there are none;
// query is the first token of the SELECT.
func (c *tableChange) createSelect(open, end, query int) error {
	st := c.st
	refused := func(reason, hint string) error { return refuse(CodeNotPossible, c.table.String(), reason, hint) }
	switch {
	case !c.b.p.finishes:
		return refused("CREATE TABLE ... SELECT would copy values of protected columns inside the backend", "create the table with its columns, and use INSERT ... SELECT")
	case st.HasExecutableComment():
		return notUnderstood("CREATE TABLE ... SELECT has an executable comment", "write it without the comment")
	case c.table.Database == "":
		return notUnderstood("the database of the new table is not known", "name it")
	}
	n := &CreateSelect{Database: c.table.Database, Name: c.table.Name, Head: string(st.Span(0, c.nameToken)), Target: string(st.Span(c.targetFrom, c.nameToken)),
		Query: string(st.Span(query, st.Len()-1)), Verb: "INSERT", IfNotExists: hasKeywordIn(st, 0, c.targetFrom-1, KwIf)}
	last := query - 1
	if st.Is(last, KwAs) {
		last--
	}
	switch {
	case st.Is(last, KwIgnore):
		// Of rows with the same key, the server keeps the last one in some places and the first one in others.
		return refused("CREATE TABLE ... IGNORE SELECT over protected columns", "create the table with its columns, and use INSERT IGNORE ... SELECT")
	case st.Is(last, KwReplace):
		n.Verb, last = "REPLACE", last-1
	}
	options := c.nameToken + 1
	if open > 0 {
		options = end + 1
		n.Elements = string(st.Span(open+1, end-1))
		if err := c.plainElements(open+1, end-1); err != nil {
			return err
		}
	}
	n.Options = string(st.Span(options, last))
	for i := options; i <= last; i++ {
		if st.Token(i).Kind == TokParam {
			return notUnderstood("a parameter stands among the options of the table", "")
		}
	}
	if err := c.createOptions(options, last); err != nil {
		return err
	}
	n.Charset, n.Collation = c.reader.options.Charset, c.reader.options.Collation
	c.b.plan.Class, c.b.plan.Residual = Residual, &ResidualPlan{Create: n}
	return nil
}

func hasKeywordIn(st *Statement, from, to int, k Keyword) bool {
	for i := from; i <= to; i++ {
		if st.Is(i, k) {
			return true
		}
	}
	return false
}

// plainElements refuses columns and constraints that compute, or refer to other tables: the evaluator is asked what they mean.
func (c *tableChange) plainElements(from, to int) error {
	st := c.st
	for i := from; i <= to; i++ {
		computes := st.Is(i, KwDefault) && (st.IsOp(i+1, OpLeftParen) || st.IsOp(i+2, OpLeftParen) && !isPresentTime(st, i+1))
		switch st.Keyword(i) {
		case KwCheck, KwForeign, KwReferences, KwAs, KwGenerated, KwPeriod, KwSelect, KwSystem:
			computes = true
		}
		if computes || st.Token(i).Kind == TokParam || st.Token(i).Kind == TokUserVar || st.Token(i).Kind == TokSysVar {
			return refuse(CodeNotPossible, c.table.String(), "CREATE TABLE ... SELECT over protected columns declares a constraint, a computed column or a computed default",
				"create the table with its columns, and use INSERT ... SELECT")
		}
	}
	return c.b.computesNothing(from, to)
}

func isPresentTime(st *Statement, i int) bool {
	switch strings.ToLower(string(st.Text(i))) {
	case "current_timestamp", "now", "localtime", "localtimestamp":
		return true
	}
	return false
}

// PlanCreated plans the CREATE TABLE that creates the table of a CREATE TABLE ... SELECT with all its columns. Those of protect,
// which the policy need not name, are protected by their annotation. It also gives the columns that rows are sealed for. Such plans
// are not cached. The error is always a *Refusal.
func (p *Planner) PlanCreated(st *Statement, f *Facts, protect []string) (*Plan, []*Protected, error) {
	b := &builder{p: p, st: st, f: f, plan: &Plan{Touches: true}, textual: true, protect: protect}
	st.AppendShape(nil, f)
	b.plan.Kind, b.plan.Effects = p.leading(st)
	if err := b.createTable(b.definitionKind(KwCreate)); err != nil {
		var r *Refusal
		if !errors.As(err, &r) {
			r = &Refusal{Code: CodeNotUnderstood, Reason: "the statement is not understood and may touch a protected column"}
		}
		return nil, nil, r
	}
	return b.plan, b.declared, nil
}

// created adds the columns of builder.protect to the policy of the table.
func (t *TablePolicy) created(protect []string) *TablePolicy {
	protect = slices.DeleteFunc(slices.Clone(protect), func(name string) bool { return t.Column(name) != nil })
	if len(protect) == 0 {
		return t
	}
	all := &TablePolicy{Columns: make(map[string]*ColumnPolicy)}
	if t != nil {
		*all = *t
		all.Columns = make(map[string]*ColumnPolicy)
		for name, c := range t.Columns {
			all.Columns[name] = c
		}
	}
	for _, name := range protect {
		all.Columns[name] = &ColumnPolicy{}
	}
	return all
}

// PlanSource plans the query of a CREATE TABLE ... SELECT: the Residual plan also says which protected columns each of its
// columns is, or may be computed, from. Such plans are not cached. The error is always a *Refusal.
func (p *Planner) PlanSource(st *Statement, f *Facts, kept map[string]bool) (*Plan, error) {
	return p.planFinishing(st, &builder{p: p, st: st, f: f, plan: &Plan{}, kept: kept, traced: true})
}

// sources traces the columns of a query back.
func (p *residualPlanner) sources() ([][]*Protected, error) {
	branches, err := branchesOf(p.b.parsed.Node)
	if err != nil {
		return nil, err
	}
	w, names := &residualInserter{p: p}, newDerivedNames(p)
	var sources [][]*Protected
	for i, s := range branches {
		items, err := w.items(s)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			sources = make([][]*Protected, len(items))
		}
		if len(items) != len(sources) {
			return nil, refuse(CodeNotUnderstood, "", "the SELECTs of the statement have different numbers of columns", "")
		}
		for k, item := range items {
			if item.prot != nil {
				sources[k] = append(sources[k], item.prot)
			} else if item.expr != nil {
				from, err := names.sources(item.expr)
				if err != nil {
					return nil, err
				}
				sources[k] = append(sources[k], from...)
			}
		}
	}
	return sources, p.copiesDefault(names)
}

// copiesDefault refuses a column whose default is an expression: the new table would have it too, and the evaluator does not know it.
func (p *residualPlanner) copiesDefault(names *derivedNames) error {
	for _, t := range p.tables {
		for _, c := range t.table.Columns {
			if c.computesDefault() && names.copies(c.Name) {
				return refuse(CodeNotPossible, t.table.String()+"."+c.Name, "CREATE TABLE ... SELECT over protected columns copies a default that is an expression",
					"create the table with its columns, and use INSERT ... SELECT")
			}
		}
	}
	return nil
}

// copies tells whether a select list of the statement has a column of that name as it is, or may have it.
func (d *derivedNames) copies(name string) bool {
	if d.star {
		return true
	}
	for _, list := range d.items {
		for _, e := range list {
			if c, ok := e.(*ast.ColumnNameExpr); ok && FoldName(c.Name.Name.O) == FoldName(name) {
				return true
			}
		}
	}
	return false
}
