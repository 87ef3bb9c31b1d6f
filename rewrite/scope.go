package rewrite

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// field is one column that a relation offers.
type field struct {
	name   string     // folded
	prot   *Protected // nil for a column that is not protected
	from   *relation  // the base table occurrence that the cell comes from; nil for computed columns
	column string     // the column's name in it
	hidden bool       // INVISIBLE: outside of *
}

// relation is one entry of a FROM clause.
type relation struct {
	database, name string // as compared: folded by lower_case_table_names
	table          *Table // nil for derived tables
	fields         []field
	// opaque relations (system tables, temporary tables) have columns that are not known; none of them is protected.
	opaque bool
}

// scope is what the names of one query block refer to.
type scope struct {
	b      *builder
	parsed *Parsed
	outer  *scope
	ctes   *cte
	rels   []*relation
	// star is the order of *, nil when it is simply that of rels; starUnknown when it is not known.
	star        []field
	starUnknown bool
	// aliases are the select items that ORDER BY, GROUP BY and HAVING may also mean.
	aliases []output
	// merged are the columns that USING or NATURAL made one.
	merged map[string]field
	// positive is as in cond, for what stands in the FROM clause.
	positive bool
}

// cte is a common table expression in reach.
type cte struct {
	next   *cte
	name   string
	fields []field
	opaque bool
	// keyed is a column over which the expression has a condition that sees only rows under keys on the keyring.
	keyed *Protected
}

func (sc *scope) findCTE(name string) *cte {
	// The server compares these names without letter case, whatever lower_case_table_names is.
	key := FoldName(name)
	for s := sc; s != nil; s = s.outer {
		for c := s.ctes; c != nil; c = c.next {
			if c.name == key {
				return c
			}
		}
	}
	return nil
}

// from fills the scope from a FROM clause.
func (sc *scope) from(refs *ast.TableRefsClause) error {
	if refs == nil || refs.TableRefs == nil {
		return nil
	}
	return sc.join(refs.TableRefs)
}

// join adds a join tree: relations first, then the conditions, which may name any of them.
func (sc *scope) join(n ast.ResultSetNode) error {
	switch x := n.(type) {
	case *ast.Join:
		return sc.joinTables(x)
	case *ast.TableSource:
		r, err := sc.source(x)
		if err != nil {
			return err
		}
		sc.add(r)
		return nil
	}
	return notUnderstood("a table expression is not understood", "")
}

func (sc *scope) add(r *relation) {
	sc.rels = append(sc.rels, r)
	for _, f := range r.fields {
		if !f.hidden {
			sc.star = append(sc.star, f)
		}
	}
	if r.opaque {
		sc.starUnknown = true
	}
}

func (sc *scope) joinTables(j *ast.Join) error {
	before := len(sc.star)
	first := len(sc.rels)
	// Of an outer join, a row of one side that finds no partner stays in the answer, filled with NULL: neither the condition
	// nor what the other side leaves out only makes the answer smaller.
	positive := sc.positive
	defer func() { sc.positive = positive }()
	sc.positive = positive && j.Tp != ast.RightJoin
	if err := sc.join(j.Left); err != nil {
		return err
	}
	if j.Right == nil {
		return nil
	}
	middle := len(sc.star)
	sc.positive = positive && j.Tp != ast.LeftJoin
	if err := sc.join(j.Right); err != nil {
		return err
	}
	if j.NaturalJoin || len(j.Using) > 0 {
		if err := sc.merge(j, before, middle, first); err != nil {
			return err
		}
	}
	if j.On != nil {
		return sc.b.cond(j.On.Expr, sc, positive && j.Tp != ast.LeftJoin && j.Tp != ast.RightJoin)
	}
	return nil
}

// merge makes one column of each pair that USING or NATURAL joins, and puts them first in the order of *.
func (sc *scope) merge(j *ast.Join, before, middle, first int) error {
	left, right := sc.star[before:middle], sc.star[middle:]
	names := map[string]bool{}
	for _, c := range j.Using {
		names[FoldName(c.Name.O)] = true
	}
	if j.NaturalJoin {
		for _, r := range sc.rels[first:] {
			if r.opaque {
				return notUnderstood("NATURAL JOIN with a table whose columns are not known", "name the columns with ON")
			}
		}
		for _, l := range left {
			for _, r := range right {
				if l.name == r.name {
					names[l.name] = true
				}
			}
		}
	}
	if sc.merged == nil {
		sc.merged = map[string]field{}
	}
	var order, rest []field
	for _, l := range left {
		if !names[l.name] {
			rest = append(rest, l)
			continue
		}
		if l.prot != nil {
			return notPossible(l.prot, "joins with USING and NATURAL JOIN cannot compare sealed columns",
				"join with ON a.column = b.column over columns with search: equality under a service key")
		}
		sc.merged[l.name] = l
		order = append(order, l)
	}
	for _, r := range right {
		if !names[r.name] {
			rest = append(rest, r)
		} else if r.prot != nil {
			return notPossible(r.prot, "joins with USING and NATURAL JOIN cannot compare sealed columns",
				"join with ON a.column = b.column over columns with search: equality under a service key")
		}
	}
	if j.Tp == ast.RightJoin {
		// The server turns the join round, and with it the order of *.
		sc.starUnknown = true
	}
	sc.star = append(sc.star[:before:before], append(order, rest...)...)
	return nil
}

// source makes the relation of one table or derived table.
func (sc *scope) source(ts *ast.TableSource) (*relation, error) {
	switch x := ts.Source.(type) {
	case *ast.TableName:
		return sc.tableRelation(x, ts.AsName.O)
	case *ast.SelectStmt, *ast.SetOprStmt:
		inner := &scope{b: sc.b, parsed: sc.parsed, outer: sc.outerForDerived()}
		outs, err := sc.b.query(x, inner, sc.positive)
		if err != nil {
			return nil, err
		}
		r := &relation{name: sc.foldTable(ts.AsName.O)}
		r.fields, err = outputFields(outs, ts.ColumnNames)
		return r, err
	case *ast.Join:
		return nil, notUnderstood("a parenthesised join with an alias is not understood", "")
	}
	return nil, notUnderstood("a table expression is not understood", "")
}

// outerForDerived: a derived table sees the common table expressions of the query, and, inside a subquery, nothing of its
// neighbours. The names of the outer query are visible in MariaDB only through correlation of the whole subquery.
func (sc *scope) outerForDerived() *scope {
	return &scope{b: sc.b, parsed: sc.parsed, ctes: sc.ctes, outer: sc.outer}
}

func (sc *scope) foldTable(name string) string {
	return FoldTable(name, sc.b.p.schema.LowerCaseTableNames)
}

// outputFields gives the columns of a derived table. One that is named after its own text, which is rewritten, would come
// out under another name.
func outputFields(outs []output, names []ast.CIStr) ([]field, error) {
	fields := make([]field, len(outs))
	for i, o := range outs {
		fields[i] = field{name: o.name, prot: o.prot, from: o.from, column: o.column}
		if i < len(names) {
			fields[i].name = FoldName(names[i].O)
		} else if o.rewrites && !o.aliased {
			return nil, notUnderstood("a column of a derived table is named after an expression over a protected column",
				"give the expression a name with AS")
		}
	}
	return fields, nil
}

// tableRelation resolves a table name: a common table expression, a base table, a view, or a table that is not known.
func (sc *scope) tableRelation(n *ast.TableName, alias string) (*relation, error) {
	b := sc.b
	name := alias
	if name == "" {
		name = n.Name.O
	}
	r := &relation{name: sc.foldTable(name)}
	if n.Schema.O == "" {
		if c := sc.findCTE(n.Name.O); c != nil {
			if c.keyed != nil && !sc.positive {
				return nil, searchable(c.keyed, false)
			}
			r.fields, r.opaque = occurrence(c.fields), c.opaque
			return r, nil
		}
	}
	database := n.Schema.O
	if database == "" {
		database = b.f.Database
	}
	r.database = sc.foldTable(database)
	t := b.p.schema.Table(database, n.Name.O)
	if t == nil {
		if b.p.policy.Table(database, n.Name.O, b.p.schema.LowerCaseTableNames) != nil {
			return nil, refuse(CodeNotUnderstood, database+"."+n.Name.O, "the policy names this table and the backend does not have it",
				"create it as `latchkey check --sql` prints it")
		}
		r.opaque = true
		return r, nil
	}
	if n.TableSample != nil || n.AsOf != nil {
		return nil, notUnderstood("this table expression is not understood", "")
	}
	r.table = t
	if t.Kind == View {
		return r, b.viewFields(r, t)
	}
	r.fields = tableFields(r, t)
	return r, nil
}

// occurrence gives the columns of a common table expression for one place that names it: rows of one place are not those of
// another, so neither are the tables that they come from.
func occurrence(fields []field) []field {
	copies := map[*relation]*relation{}
	fields = slices.Clone(fields)
	for i := range fields {
		from := fields[i].from
		if from == nil {
			continue
		}
		if copies[from] == nil {
			r := *from
			copies[from] = &r
		}
		fields[i].from = copies[from]
	}
	return fields
}

func tableFields(r *relation, t *Table) []field {
	fields := make([]field, len(t.Columns))
	for i, c := range t.Columns {
		fields[i] = field{name: FoldName(c.Name), prot: c.Protected, from: r, column: c.Name, hidden: c.Invisible}
	}
	return fields
}

// resolve finds what a column name means. The field of a name that may come from a table with unknown columns is not
// protected; a name that no table in reach has is an error, never "unknown, so plain".
func (sc *scope) resolve(n *ast.ColumnName) (field, error) {
	opaque := false
	for s := sc; s != nil; s = s.outer {
		f, found, err := s.lookup(n)
		if err != nil {
			return field{}, err
		}
		if found {
			if opaque && f.prot != nil {
				return field{}, notPossible(f.prot, "the column name may also mean a column of a table that is not known",
					"write the table's name before the column")
			}
			if f.prot != nil && f.prot.Conflict != nil {
				return field{}, f.prot.Conflict
			}
			return f, nil
		}
		opaque = opaque || s.mayHave(n)
	}
	if opaque {
		return field{}, nil
	}
	return field{}, refuse(CodeNotUnderstood, "", "a column name is not known in any table of the statement",
		"check the name; the schema as Latchkey read it does not have it")
}

// mayHave reports whether an opaque relation of the scope could have the column.
func (sc *scope) mayHave(n *ast.ColumnName) bool {
	for _, r := range sc.rels {
		if r.opaque && sc.qualifies(r, n) {
			return true
		}
	}
	return false
}

// qualifies reports whether the qualifiers of n name r.
func (sc *scope) qualifies(r *relation, n *ast.ColumnName) bool {
	if n.Table.O != "" && sc.foldTable(n.Table.O) != r.name {
		return false
	}
	return n.Schema.O == "" || r.database == "" || sc.foldTable(n.Schema.O) == r.database
}

func (sc *scope) lookup(n *ast.ColumnName) (field, bool, error) {
	key := FoldName(n.Name.O)
	if n.Table.O == "" {
		if f, ok := sc.merged[key]; ok {
			return f, true, nil
		}
		if f, ok, err := sc.aliasField(key); ok || err != nil {
			return f, ok, err
		}
	}
	var found []field
	for _, r := range sc.rels {
		if !sc.qualifies(r, n) {
			continue
		}
		for _, f := range r.fields {
			if f.name == key {
				found = append(found, f)
			}
		}
	}
	if len(found) == 0 {
		return field{}, false, nil
	}
	for _, f := range found {
		if len(found) > 1 && f.prot != nil {
			return field{}, false, notPossible(f.prot, "the column name is ambiguous", "write the table's name before the column")
		}
	}
	return found[0], true, nil
}

// aliasField finds a select item of that name. The server takes some names for the item and some for a column of the same
// name, by clause; where they are not the same thing and one of them is protected, the statement is refused.
func (sc *scope) aliasField(key string) (field, bool, error) {
	var items []output
	var prot *Protected
	aliased := false
	for _, o := range sc.aliases {
		if o.name != key {
			continue
		}
		items = append(items, o)
		aliased = aliased || o.aliased
		if o.prot != nil {
			prot = o.prot
		}
	}
	if len(items) == 0 {
		return field{}, false, nil
	}
	var columns []field
	for _, r := range sc.rels {
		for _, f := range r.fields {
			if f.name != key {
				continue
			}
			columns = append(columns, f)
			if f.prot != nil {
				prot = f.prot
			}
		}
	}
	if prot == nil {
		return field{name: key}, aliased, nil
	}
	first := field{name: key, prot: items[0].prot, from: items[0].from, column: items[0].column}
	for _, o := range items[1:] {
		columns = append(columns, field{prot: o.prot, from: o.from, column: o.column})
	}
	for _, c := range columns {
		if c.prot != first.prot || c.column != first.column || c.from != first.from {
			return field{}, false, notPossible(prot, "the name may mean a select item or another column",
				"give the select item a name that no column has")
		}
	}
	if first.prot.Conflict != nil {
		return field{}, false, first.prot.Conflict
	}
	return first, true, nil
}
