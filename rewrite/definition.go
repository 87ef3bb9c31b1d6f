package rewrite

import (
	"github.com/pingcap/tidb/pkg/parser/ast"
)

// definition plans DDL that names something protected. Columns, indexes and constraints over protected columns become those
// of their cells; what would compute from them in the backend is refused.
func (b *builder) definition(first Keyword, kinds touchKind, counts map[string]int) error {
	i := b.definitionKind(first)
	switch first {
	case KwDrop:
		return b.drop(i)
	case KwRename:
		return b.rename(i)
	case KwAlter:
		b.textual = true
		return b.alter(i)
	}
	switch b.st.Keyword(i) {
	case KwTable:
		b.textual = true
		return b.createTable(i)
	case KwTemporary:
		return notUnderstood("a temporary table that has the name of a protected one, or copies it", "choose another name")
	case KwView:
		return b.createView(counts)
	case KwIndex, KwUnique, KwFulltext, KwSpatial:
		b.textual = true
		return b.createIndex(i)
	case KwUser, KwRole, KwDatabase, KwSchema, KwServer:
		return nil
	}
	return notUnderstood("a routine, trigger or event over a table with protected columns",
		"it would run in the backend, which holds no plaintext; do its work in the application")
}

// definitionKind gives the token that says what is defined: TABLE, VIEW, EVENT, ...
func (b *builder) definitionKind(first Keyword) int {
	i := 1
	if first == KwCreate && b.st.Is(1, KwOr) {
		i = 3
	}
	for b.isDefinitionOption(i) {
		i = b.skipOption(i)
	}
	return i
}

func (b *builder) isDefinitionOption(i int) bool {
	switch b.st.Keyword(i) {
	case KwOnline, KwIgnore, KwAlgorithm, KwDefiner, KwSql, KwAggregate:
		return true
	}
	return false
}

// skipOption skips ALGORITHM = x, DEFINER = user@host, SQL SECURITY x and single words.
func (b *builder) skipOption(i int) int {
	switch b.st.Keyword(i) {
	case KwAlgorithm:
		return i + 3
	case KwSql:
		return i + 3
	case KwDefiner:
		i += 3
		if b.st.Token(i).Kind == TokUserVar {
			i++
		}
		if b.st.IsOp(i, OpLeftParen) {
			i += 2
		}
		return i
	}
	return i + 1
}

// drop passes: what is dropped leaks nothing.
func (b *builder) drop(i int) error {
	if b.st.Is(i, KwIndex) && hasKeyword(b.st, KwSelect) {
		return notUnderstood("DROP INDEX is not understood", "")
	}
	return nil
}

// refersToPlain reports whether the table whose name is at token i stands in REFERENCES table (columns) and none of the
// columns is protected.
func (b *builder) refersToPlain(i int) bool {
	from := i
	for b.st.IsOp(from-1, OpDot) {
		from -= 2
	}
	end := b.st.Match(i + 1)
	if !b.st.Is(from-1, KwReferences) || !b.st.IsOp(i+1, OpLeftParen) || end < 0 {
		return false
	}
	protected := b.protectedColumns(b.st.Name(i))
	for j := i + 2; j < end; j++ {
		if b.st.Token(j).IsIdentifier() && protected[FoldName(b.st.Name(j))] {
			return false
		}
	}
	return true
}

// createView allows views that show sealed columns as they are; the server keeps their text, and reading one is planned
// through it.
func (b *builder) createView(counts map[string]int) error {
	parsed, err := Parse(b.st, b.f, b.p.pool)
	if err != nil {
		return b.unparsed(err)
	}
	view, ok := parsed.Node.(*ast.CreateViewStmt)
	if !ok {
		return notUnderstood("CREATE VIEW is not understood", "")
	}
	if b.policyNames(view.ViewName.Name.O) {
		return notUnderstood("the policy names this table", "choose another name for the view")
	}
	b.parsed = parsed
	if err := b.accounted(counts); err != nil {
		return err
	}
	b.frozen = true
	outs, err := b.query(view.Select, &scope{b: b, parsed: parsed}, true)
	if err != nil {
		return err
	}
	for _, o := range outs {
		if o.ambig {
			return notUnderstood("the columns of the view are not known", "name them")
		}
	}
	return nil
}

// alter plans ALTER.
func (b *builder) alter(i int) error {
	if !b.st.Is(i, KwTable) {
		if b.st.Is(i, KwUser) || b.st.Is(i, KwDatabase) || b.st.Is(i, KwSchema) {
			return nil
		}
		return notUnderstood("ALTER of something over protected columns", "use a raw account")
	}
	return b.alterTable(i)
}

// protectedColumns gives the protected columns, folded, of every table of that name.
func (b *builder) protectedColumns(name string) map[string]bool {
	protected := map[string]bool{}
	for _, t := range b.tablesNamed(name) {
		for _, c := range t.Columns {
			if c.Protected != nil {
				protected[FoldName(c.Name)] = true
			}
		}
	}
	for _, tables := range b.p.policyTables() {
		for table, tp := range tables {
			if foldTouch(table) != foldTouch(name) {
				continue
			}
			for column := range tp.Columns {
				protected[FoldName(column)] = true
			}
		}
	}
	return protected
}

func (p *Planner) policyTables() map[string]map[string]*TablePolicy {
	if p.policy == nil {
		return nil
	}
	return p.policy.Databases
}

func (b *builder) policyNames(table string) bool {
	for _, tables := range b.p.policyTables() {
		for name := range tables {
			if foldTouch(name) == foldTouch(table) {
				return true
			}
		}
	}
	return false
}

// tablesNamed gives the tables of that name in every database.
func (b *builder) tablesNamed(name string) []*Table {
	var found []*Table
	for _, tables := range b.p.schema.Databases {
		for _, t := range tables {
			if foldTouch(t.Name) == foldTouch(name) {
				found = append(found, t)
			}
		}
	}
	return found
}
