package rewrite

import (
	"github.com/pingcap/tidb/pkg/parser/ast"
)

// definition plans DDL that names something protected. It passes only where protection follows by itself: everything
// that creates, changes or copies a sealed column is refused, and done with a raw account.
func (b *builder) definition(first Keyword, kinds touchKind, counts map[string]int) error {
	i := b.definitionKind(first)
	switch first {
	case KwDrop:
		return b.drop(i)
	case KwRename:
		return b.rename(i)
	case KwAlter:
		return b.alter(i)
	}
	switch b.st.Keyword(i) {
	case KwTable:
		return b.createTable(i)
	case KwTemporary:
		return notUnderstood("a temporary table that has the name of a protected one, or copies it", "choose another name")
	case KwView:
		return b.createView(counts)
	case KwIndex, KwUnique, KwFulltext, KwSpatial:
		return b.onlyPlainColumns(b.indexTable(i))
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

// followed reports whether the protection of every table that the statement names follows it under another name: all
// sealed columns are annotated, and the policy names none of the tables.
func (b *builder) followed() error {
	for i := range b.st.Tokens() {
		if !b.st.Token(i).IsIdentifier() {
			continue
		}
		name := b.st.Name(i)
		if b.p.touch.names[foldTouch(name)]&(touchTable|touchView|touchTrigger) == 0 {
			continue
		}
		if b.policyNames(name) {
			return notUnderstood("the policy names this table, and its protection would not follow",
				"change the policy and the table in one step with a raw account")
		}
		for _, t := range b.tablesNamed(name) {
			for _, c := range t.Columns {
				if c.Protected != nil && !c.Protected.Annotated {
					return notUnderstood("the table's columns carry no annotation, and their protection would not follow",
						"annotate them as `latchkey check --sql` prints it")
				}
			}
		}
	}
	return nil
}

func (b *builder) policyNames(table string) bool {
	if b.p.policy == nil {
		return false
	}
	for _, tables := range b.p.policy.Databases {
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

// rename passes RENAME TABLE where protection follows.
func (b *builder) rename(i int) error {
	if b.st.Is(i, KwUser) {
		return nil
	}
	return b.followed()
}

// createTable allows CREATE TABLE new LIKE old where protection follows: the copy has the same annotations and checks. It
// passes a new table of its own columns, some of which only have the name of a protected table or refer to plain columns of
// one.
func (b *builder) createTable(i int) error {
	if b.isLike(i) && !hasKeyword(b.st, KwSelect) {
		return b.followed()
	}
	if b.onlyNames(i) {
		return nil
	}
	return notUnderstood("CREATE TABLE of a table that has or takes protected columns",
		"create it with a raw account and prepare it as `latchkey check --sql` prints it")
}

// newTable gives the last token of the name after CREATE TABLE at token i.
func (b *builder) newTable(i int) int {
	i++
	if b.st.Is(i, KwIf) {
		i += 3
	}
	for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
		i += 2
	}
	return i
}

// onlyNames reports whether CREATE TABLE at token i makes a table that is not protected, from its own text alone.
func (b *builder) onlyNames(i int) bool {
	at := b.newTable(i)
	if !b.st.Token(at).IsIdentifier() || b.p.touch.names[foldTouch(b.st.Name(at))]&(touchTable|touchView|touchTrigger) != 0 {
		return false
	}
	for j := at + 1; j < b.st.Len(); j++ {
		switch b.st.Keyword(j) {
		case KwSelect, KwWith, KwValues, KwUnion, KwLike:
			if !b.st.Is(j, KwValues) || b.st.Is(j-1, KwAs) {
				return false
			}
		case KwReferences:
			to := b.newTable(j)
			if b.p.touch.names[foldTouch(b.st.Name(to))] != 0 && !b.refersToPlain(to) {
				return false
			}
		}
	}
	return b.callsNone() == nil
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

// isLike reports whether CREATE TABLE name is followed by LIKE.
func (b *builder) isLike(i int) bool {
	i = b.newTable(i) + 1
	if b.st.IsOp(i, OpLeftParen) {
		i++
	}
	return b.st.Is(i, KwLike)
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

// alter passes ALTER TABLE where it names no protected column, nor moves the table.
func (b *builder) alter(i int) error {
	if !b.st.Is(i, KwTable) {
		if b.st.Is(i, KwUser) || b.st.Is(i, KwDatabase) || b.st.Is(i, KwSchema) {
			return nil
		}
		return notUnderstood("ALTER of something over protected columns", "use a raw account")
	}
	i++
	if b.st.Is(i, KwIf) {
		i += 2
	}
	for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
		i += 2
	}
	for j := i + 1; j < b.st.Len(); j++ {
		switch b.st.Keyword(j) {
		case KwRename:
			if !b.st.Is(j+1, KwColumn) && !b.st.Is(j+1, KwIndex) && !b.st.Is(j+1, KwKey) {
				return notUnderstood("ALTER TABLE ... RENAME over protected columns", "use RENAME TABLE")
			}
		case KwConvert:
			if b.st.Is(j+1, KwPartition) || b.st.Is(j+1, KwTable) {
				return notUnderstood("this ALTER TABLE over protected columns", "use a raw account")
			}
		case KwExchange, KwSelect, KwLike, KwDiscard, KwImport:
			return notUnderstood("this ALTER TABLE over protected columns", "use a raw account")
		}
	}
	return b.onlyPlainColumns(i)
}

// indexTable finds the table of CREATE INDEX ... ON table.
func (b *builder) indexTable(i int) int {
	on := b.keywordAt(i, KwOn)
	if on < 0 {
		return -1
	}
	i = on + 1
	for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
		i += 2
	}
	return i
}

// onlyPlainColumns passes a change of the table whose name is at token i when nothing after it names a protected column
// or another table that leads to one.
func (b *builder) onlyPlainColumns(i int) error {
	if i < 0 || !b.st.Token(i).IsIdentifier() {
		return notUnderstood("the table is not where it is expected", "")
	}
	name := b.st.Name(i)
	protected := b.protectedColumns(name)
	for j := i + 1; j < b.st.Len(); j++ {
		if !b.st.Token(j).IsIdentifier() {
			continue
		}
		word := b.st.Name(j)
		if protected[FoldName(word)] {
			return notUnderstood("the statement changes or names a protected column of the table",
				"use a raw account and see `latchkey check --sql`")
		}
		if b.p.touch.names[foldTouch(word)] != 0 && foldTouch(word) != foldTouch(name) && !b.refersToPlain(j) {
			return notUnderstood("the statement names another protected table", "use a raw account")
		}
	}
	return nil
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
