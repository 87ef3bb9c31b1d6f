package rewrite

import (
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// Shown says how the rows of SHOW COLUMNS, SHOW INDEX, DESCRIBE and SHOW CREATE TABLE differ from the backend's own.
type Shown struct {
	// Create is the table of SHOW CREATE TABLE, whose second column LogicalTable turns into the declared text.
	Create *Table
	// Keys are the result columns, ascending, by whose texts Rows are found, joined by a zero byte.
	Keys []int
	Rows map[string][]ShownField
}

// ShownField is the new value of one result column; those of a row are in ascending order of Column.
type ShownField struct {
	Column int
	// Default, when not nil, is the type whose declared default is the value. Otherwise it is Text, or NULL.
	Default *logical.Type
	Null    bool
	Text    string
}

// readsCatalog finds the places where a statement names the patched tables of information_schema, and plans them. done is
// false when there are none.
func (b *builder) readsCatalog(first Keyword, kinds touchKind, counts map[string]int) (done bool, err error) {
	if !b.p.touch.any() || !b.namesCatalog() {
		return false, nil
	}
	for i := 0; b.st.IsOp(i, OpLeftParen); i++ {
		first = b.st.Keyword(i + 1)
	}
	switch first {
	case KwShow, KwUse, KwDrop, KwAlter, KwRename, KwGrant, KwRevoke, KwCheck, KwHelp, KwLock:
		return false, nil
	case KwDescribe, KwDesc, KwExplain, KwAnalyze:
		if b.innerStart() < 0 {
			return false, nil
		}
	case KwCreate:
		switch b.st.Keyword(b.definitionKind(first)) {
		case KwTable, KwTemporary, KwView:
		default:
			// The body of a routine runs in the backend and sees the backend's schema.
			return false, nil
		}
	}
	if err := b.catalogViews(); err != nil {
		return true, err
	}
	if !b.catalogReferences() {
		return false, b.bareCatalogNames()
	}
	return true, b.catalogStatement(first, kinds, counts)
}

// namesCatalog reports whether information_schema is named, or is the current database, or a view over it is named.
func (b *builder) namesCatalog() bool {
	if strings.EqualFold(b.f.Database, informationSchema) {
		return true
	}
	for i := range b.st.Tokens() {
		if !b.st.Token(i).IsIdentifier() {
			continue
		}
		if name := foldTouch(b.st.Name(i)); name == informationSchema || b.p.touch.catalogViews[name] {
			return true
		}
	}
	return false
}

// catalogStatement finishes the plan of a statement over information_schema.
func (b *builder) catalogStatement(first Keyword, kinds touchKind, counts map[string]int) error {
	edits := b.edits
	b.edits = nil
	if kinds != 0 {
		// Names of protected tables may stand in the statement as aliases or the like.
		if err := b.touching(first, kinds, counts); err != nil {
			return err
		}
		if b.plan.Class != Pass || len(b.plan.Writes) > 0 {
			return notUnderstood("a query over information_schema together with protected columns", "send them as two statements")
		}
	}
	if b.severalStatements() {
		return notUnderstood("several statements came in one text and one of them reads information_schema",
			"connect with multi-statements allowed, or send them one by one")
	}
	switch first {
	case KwCreate:
		return notUnderstood("a table or view made of information_schema would hold the backend's schema",
			"create the table first and fill it by INSERT ... SELECT")
	case KwSelect, KwWith, KwSet:
		b.plan.Describe = true
	}
	b.edits = edits
	return b.finish()
}

// catalogViews refuses the views over information_schema: they run in the backend and see its schema.
func (b *builder) catalogViews() error {
	var from fromTracker
	for i := range b.st.Tokens() {
		from.token(b.st, i)
		if !b.st.Token(i).IsIdentifier() || !b.p.touch.catalogViews[foldTouch(b.st.Name(i))] {
			continue
		}
		database := b.f.Database
		switch {
		case b.st.IsOp(i-1, OpDot):
			database = b.st.Name(i - 2)
		case !from.here():
			continue
		}
		if t := b.p.schema.Table(database, b.st.Name(i)); t != nil && t.readsCatalog(b.p.touch.catalogViews) {
			return refuse(CodeNotUnderstood, t.Database+"."+t.Name, "the view reads information_schema in the backend, which shows protected columns as they are stored",
				"query information_schema itself")
		}
	}
	return nil
}

// catalogViews finds the views whose text names a patched table of information_schema, or another such view. The keys are
// folded names.
func (s *Schema) catalogViews() map[string]bool {
	found := map[string]bool{}
	for added := true; added; {
		added = false
		for _, tables := range s.Databases {
			for _, t := range tables {
				if t.Kind == View && !found[foldTouch(t.Name)] && t.readsCatalog(found) {
					found[foldTouch(t.Name)], added = true, true
				}
			}
		}
	}
	return found
}

// readsCatalog reports whether the text of a view names a patched table of information_schema or one of views.
func (t *Table) readsCatalog(views map[string]bool) bool {
	catalog, table, view := false, false, false
	eachWord(t.Definition, func(word string) bool {
		name := foldTouch(word)
		catalog = catalog || name == informationSchema
		table = table || slices.Contains(CatalogTables, strings.ToUpper(word))
		view = view || views[name]
		return !view
	})
	return t.Kind == View && (view || catalog && table)
}

// catalogReferences puts the patched form in the place of every table reference, and cuts information_schema before the
// qualified columns. It reports whether there is any.
func (b *builder) catalogReferences() bool {
	found := false
	inside := strings.EqualFold(b.f.Database, informationSchema)
	var from fromTracker
	for i := range b.st.Tokens() {
		from.token(b.st, i)
		if !b.st.Token(i).IsIdentifier() {
			continue
		}
		name, at := b.st.Name(i), i
		switch {
		case strings.EqualFold(name, informationSchema) && b.st.IsOp(i+1, OpDot) && b.st.Token(i+2).IsIdentifier():
			at, name = i+2, b.st.Name(i+2)
		case !inside || b.st.IsOp(i-1, OpDot) || !from.here():
			continue
		}
		table := b.p.catalogTable(strings.ToUpper(name))
		if table == nil {
			continue
		}
		found = true
		if b.st.IsOp(at+1, OpDot) {
			if at > i {
				b.edits = append(b.edits, Edit{From: i, To: i + 1})
			}
			continue
		}
		b.catalogReference(table, i, at)
	}
	return found
}

// catalogReference replaces the table name in the tokens from..to, of which the last is the table's own.
func (b *builder) catalogReference(table *catalogTable, from, to int) {
	alias, named := to, false
	switch {
	case b.st.Is(to+1, KwAs):
		alias, named = to+2, true
	case b.st.Token(to+1).IsIdentifier() && !endsTableName(b.st.Keyword(to+1)):
		alias, named = to+1, true
	}
	source := Piece{Kind: PieceSource, From: alias, To: alias}
	pieces := []Piece{{Kind: PieceText, Text: table.head}, source, {Kind: PieceText, Text: table.tail}}
	if !named {
		pieces = append(pieces, Piece{Kind: PieceText, Text: " AS "}, source)
	}
	b.edits = append(b.edits, Edit{From: from, To: to, Pieces: pieces})
}

// bareCatalogNames refuses names of patched tables, in the database information_schema, whose place is not understood.
func (b *builder) bareCatalogNames() error {
	if !strings.EqualFold(b.f.Database, informationSchema) {
		return nil
	}
	for i := range b.st.Tokens() {
		if b.st.Token(i).IsIdentifier() && !b.st.IsOp(i-1, OpDot) && b.p.catalogTable(strings.ToUpper(b.st.Name(i))) != nil {
			return notUnderstood("the place of a table of information_schema is not understood", "write information_schema before its name")
		}
	}
	return nil
}

// endsTableName reports whether a word behind a table name is no alias.
func endsTableName(k Keyword) bool {
	switch k {
	case KwWhere, KwJoin, KwInner, KwCross, KwLeft, KwRight, KwNatural, KwStraightJoin, KwOn, KwUsing, KwUse, KwForce, KwIgnore,
		KwGroup, KwOrder, KwHaving, KwLimit, KwUnion, KwExcept, KwIntersect, KwMinus, KwFor, KwLock, KwProcedure, KwInto, KwWindow,
		KwFetch, KwOffset, KwReturning, KwSet, KwPartition, KwThen, KwDo, KwEnd, KwAs:
		return true
	}
	return false
}

// fromTracker follows the FROM clauses of a statement token by token.
type fromTracker struct {
	// open has a bit for every depth of parentheses: a table may be named there.
	open []bool
	next bool
}

// token moves to token i; here then tells whether a table name can stand at it.
func (f *fromTracker) token(st *Statement, i int) {
	if len(f.open) == 0 {
		f.open = append(f.open, false)
	}
	depth := len(f.open) - 1
	f.next = false
	switch {
	case st.IsOp(i, OpLeftParen):
		starts := st.IsOp(i-1, OpComma) || st.IsOp(i-1, OpLeftParen) || startsTables(st.Keyword(i-1))
		f.open = append(f.open, f.open[depth] && starts)
	case st.IsOp(i, OpRightParen):
		if depth > 0 {
			f.open = f.open[:depth]
		}
	case startsTables(st.Keyword(i)):
		f.open[depth] = true
	case st.IsOp(i-1, OpComma), st.IsOp(i-1, OpLeftParen), startsTables(st.Keyword(i - 1)):
		f.next = f.open[depth]
	}
	switch st.Keyword(i) {
	case KwWhere, KwGroup, KwOrder, KwHaving, KwLimit, KwUnion, KwExcept, KwIntersect, KwSelect, KwSet, KwWindow:
		f.open[len(f.open)-1] = false
		f.next = false
	}
}

// here reports whether a table name can stand at the current token.
func (f *fromTracker) here() bool { return f.next }

func startsTables(k Keyword) bool {
	return k == KwFrom || k == KwJoin || k == KwStraightJoin || k == KwUpdate
}

// show plans SHOW over names that lead to protected tables: statements that describe one show what was declared.
func (b *builder) show() error {
	if hasKeyword(b.st, KwSelect) {
		return notUnderstood("SHOW with a subquery over a protected table", "")
	}
	if err := b.callsNone(); err != nil {
		return err
	}
	i := 1
	full := b.st.Is(i, KwFull)
	if full {
		i++
	}
	switch b.st.Keyword(i) {
	case KwColumns, KwFields:
		t, end := b.shownTable(i + 2)
		return b.showColumns(t, full, end)
	case KwIndex, KwIndexes, KwKeys:
		t, end := b.shownTable(i + 2)
		return b.showIndex(t, end)
	case KwCreate:
		if t, _ := b.tableName(i + 2); b.st.Is(i+1, KwTable) && t != nil && t.Protects && t.Kind != View {
			b.shows(&Shown{Create: t})
		}
	}
	return b.finish()
}

// describe plans DESCRIBE of a table.
func (b *builder) describe() error {
	t, end := b.tableName(1)
	return b.showColumns(t, false, end)
}

// shows makes the plan one whose rows are changed.
func (b *builder) shows(s *Shown) {
	if s.Create != nil || len(s.Rows) > 0 {
		b.plan.Shown = s
	}
}

// tableName finds the table named at token i and gives the index of the token behind the name. The table is nil when the
// schema does not have it.
func (b *builder) tableName(i int) (t *Table, end int) {
	database, name := b.f.Database, b.st.Name(i)
	end = i + 1
	if b.st.IsOp(i+1, OpDot) {
		database, name = name, b.st.Name(i+2)
		end = i + 3
	}
	return b.p.schema.Table(database, name), end
}

// shownTable is tableName for SHOW, which may name the database behind the table.
func (b *builder) shownTable(i int) (t *Table, end int) {
	t, end = b.tableName(i)
	if b.st.Is(end, KwFrom) || b.st.Is(end, KwIn) {
		return b.p.schema.Table(b.st.Name(end+1), b.st.Name(end-1)), end + 2
	}
	return t, end
}

// showColumns plans SHOW COLUMNS and DESCRIBE. What follows the table begins at token end.
func (b *builder) showColumns(t *Table, full bool, end int) error {
	if t == nil || t.Kind == SequenceTable {
		return b.finish()
	}
	if _, err := b.p.ProtectedColumns(t); err != nil {
		return err
	}
	names := []string{"Field", "Type", "Null", "Key", "Default", "Extra"}
	if full {
		names = []string{"Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment"}
	}
	s := &Shown{Keys: []int{0}, Rows: map[string][]ShownField{}}
	where := newCatalogTrees("Field")
	for i, shown := range b.p.shownColumns(t) {
		if shown == nil {
			continue
		}
		c := t.Columns[i]
		s.Rows[c.Name] = shown.fields(names)
		for field, value := range shown.conditions() {
			where.add(field, []string{c.Name}, value)
		}
	}
	b.shows(s)
	return b.showWhere(where, end)
}

// fields gives the fields of SHOW COLUMNS, whose result columns are names.
func (s *shownColumn) fields(names []string) []ShownField {
	c := s.declared.Catalog()
	var fields []ShownField
	for i, name := range names {
		switch {
		case name == "Type":
			fields = append(fields, ShownField{Column: i, Text: c.ColumnType})
		case name == "Collation":
			fields = append(fields, ShownField{Column: i, Null: c.Collation == "", Text: c.Collation})
		case name == "Default" && s.hasDefault:
			fields = append(fields, ShownField{Column: i, Default: s.declared})
		case name == "Comment" && s.hasComment:
			fields = append(fields, ShownField{Column: i, Text: s.declared.Comment})
		}
	}
	return fields
}

// conditions gives the same fields as SQL, for the WHERE of SHOW COLUMNS.
func (s *shownColumn) conditions() map[string]string {
	c := s.declared.Catalog()
	fields := map[string]string{"Type": sqlText(c.ColumnType), "Collation": "NULL"}
	if c.Collation != "" {
		fields["Collation"] = sqlText(c.Collation)
	}
	if s.hasDefault {
		fields["Default"], _ = sqlDefaultShown(s.declared)
	}
	if s.hasComment {
		fields["Comment"] = sqlText(s.declared.Comment)
	}
	return fields
}

// indexColumns are the result columns of SHOW INDEX. https://mariadb.com/kb/en/show-index/
var indexColumns = []string{"Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name", "Collation", "Cardinality", "Sub_part",
	"Packed", "Null", "Index_type", "Comment", "Index_comment", "Ignored"}

// showIndex plans SHOW INDEX.
func (b *builder) showIndex(t *Table, end int) error {
	if t == nil {
		return b.finish()
	}
	s := &Shown{Keys: []int{2, 4}, Rows: map[string][]ShownField{}}
	where := newCatalogTrees("Key_name", "Column_name")
	for _, index := range t.Indexes {
		declared := t.shownIndex(index)
		if declared == nil {
			continue
		}
		for i, part := range index.Parts {
			values := declared.fields(index, i)
			var fields []ShownField
			for column, name := range indexColumns {
				if value, ok := values[strings.ToUpper(name)]; ok {
					fields = append(fields, ShownField{Column: column, Null: value.null, Text: value.text})
					where.add(name, []string{index.Name, part.Column}, value.sql())
				}
			}
			if len(fields) > 0 {
				s.Rows[index.Name+"\x00"+part.Column] = fields
			}
		}
	}
	b.shows(s)
	return b.showWhere(where, end)
}

// showWhere lets the WHERE of a SHOW, which MariaDB evaluates over its own rows, see the declared values. The clause begins at
// token i or there is none.
func (b *builder) showWhere(fields *catalogTrees, i int) error {
	if b.plan.Shown == nil || !b.st.Is(i, KwWhere) {
		return b.finish()
	}
	b.plan.Describe = true
	for i++; i < b.st.Len(); i++ {
		if !b.st.Token(i).IsIdentifier() {
			continue
		}
		for field, tree := range fields.fields {
			if !strings.EqualFold(field, b.st.Name(i)) || b.st.IsOp(i+1, OpLeftParen) {
				continue
			}
			expression := tree.expression(fields.keys, b.sourceName(i))
			if b.st.IsOp(i-1, OpDot) || b.st.IsOp(i+1, OpDot) || tree.lacksValue() {
				return notUnderstood("the WHERE of a SHOW over a table with protected columns is not understood", "query information_schema")
			}
			if err := b.edit(i, i, Piece{Kind: PieceText, Text: expression}); err != nil {
				return err
			}
		}
	}
	return b.finish()
}

// sourceName is the name at token i in backticks.
func (b *builder) sourceName(i int) string { return quoteName(b.st.Name(i)) }

// lacksValue reports whether a value of the tree is not known.
func (t *catalogTree) lacksValue() bool {
	if len(t.below) == 0 {
		return t.value == ""
	}
	for _, below := range t.below {
		if below.lacksValue() {
			return true
		}
	}
	return false
}
