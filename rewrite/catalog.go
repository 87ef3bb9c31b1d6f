package rewrite

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"latchkey/rewrite/logical"
)

// CatalogTables are the tables of information_schema in which protected columns look different from what was declared.
// The reader of the schema puts their columns into Schema.Catalog.
var CatalogTables = []string{"COLUMNS", "STATISTICS", "CHECK_CONSTRAINTS", "TABLE_CONSTRAINTS"}

const informationSchema = "information_schema"

// catalogCache keeps the patched forms of CatalogTables over one snapshot.
type catalogCache struct {
	once   sync.Once
	tables map[string]*catalogTable
}

// catalogTable is a query over a table of information_schema that gives its rows as they were if protected columns were what
// they were declared to be. It reads with the rights of whoever runs it, and MariaDB merges it into the query around it, so
// that a look-up by schema and table stays one.
type catalogTable struct {
	// head ends where the alias of the table goes; tail ends the query.
	head, tail string
}

// catalogTable gives the patched form of a table of information_schema by its upper-case name; nil when it needs none.
func (p *Planner) catalogTable(name string) *catalogTable {
	p.catalog.once.Do(func() {
		p.catalog.tables = map[string]*catalogTable{}
		if !p.touch.any() {
			return
		}
		for _, table := range CatalogTables {
			columns := p.schema.Catalog[table]
			if len(columns) == 0 {
				continue // the server does not have the table
			}
			if fields, filter := p.catalogFields(table); len(fields) > 0 || filter != "" {
				p.catalog.tables[table] = makeCatalogTable(table, columns, fields, filter)
			}
		}
	})
	return p.catalog.tables[name]
}

// makeCatalogTable writes the query: every column of the table, by its expression in fields or as it is.
func makeCatalogTable(name string, columns []string, fields map[string]string, filter string) *catalogTable {
	var b strings.Builder
	b.WriteString("(SELECT ")
	for i, column := range columns {
		if i > 0 {
			b.WriteByte(',')
		}
		if expression := fields[column]; expression != "" {
			b.WriteString(expression + " AS ")
		}
		b.WriteString(quoteName(column))
	}
	b.WriteString(" FROM " + informationSchema + "." + name + " AS ")
	t := &catalogTable{head: b.String(), tail: ")"}
	if filter != "" {
		t.tail = " WHERE " + filter + ")"
	}
	return t
}

// catalogFields gives the expressions of the columns of a table that are patched, and the condition of rows that are shown.
func (p *Planner) catalogFields(table string) (fields map[string]string, filter string) {
	switch table {
	case "COLUMNS":
		return p.columnFields(), ""
	case "STATISTICS":
		return p.indexFields(), ""
	case "CHECK_CONSTRAINTS":
		return p.checkFields()
	}
	return p.constraintFields()
}

// catalogNumbers are the fields that are BIGINT UNSIGNED.
var catalogNumbers = []string{"CHARACTER_MAXIMUM_LENGTH", "CHARACTER_OCTET_LENGTH", "NUMERIC_PRECISION", "NUMERIC_SCALE", "DATETIME_PRECISION"}

// columnFields are the fields of COLUMNS.
func (p *Planner) columnFields() map[string]string {
	trees := newCatalogTrees("TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME")
	for _, t := range p.schema.tables() {
		for i, shown := range p.shownColumns(t) {
			if shown == nil {
				continue
			}
			path := []string{t.Database, t.Name, t.Columns[i].Name}
			for field, value := range shown.sql() {
				trees.add(field, path, value)
			}
		}
	}
	return trees.expressions()
}

// shownColumns gives, for each column of a table or view, how it is shown; nil for one that is shown as it is. Columns whose
// policy and annotation disagree have no declared type and are shown as they are, and so are those of views that nobody can
// read through Latchkey.
func (p *Planner) shownColumns(t *Table) []*shownColumn {
	prots, err := p.ProtectedColumns(t)
	if err != nil || prots == nil {
		return nil
	}
	shown := make([]*shownColumn, len(t.Columns))
	for i, c := range t.Columns {
		if prots[i] != nil && prots[i].Conflict == nil {
			shown[i] = showColumn(c, prots[i].Type)
		}
	}
	return shown
}

// ProtectedColumns gives, for each column of a table or view, the protected column that it shows; nil when there is none. The
// error, for a view that cannot be read through Latchkey, is a *Refusal.
func (p *Planner) ProtectedColumns(t *Table) ([]*Protected, error) {
	if t.Kind == View && p.touch.names[foldTouch(t.Name)]&touchView != 0 {
		return p.viewColumns(t, &builder{p: p, f: &Facts{ServerVersion: p.schema.ServerVersion}})
	}
	if t.Kind == View || !t.Protects {
		return nil, nil
	}
	prots := make([]*Protected, len(t.Columns))
	for i, c := range t.Columns {
		prots[i] = c.Protected
	}
	return prots, nil
}

// shownColumn is what a protected column looks like to the application.
type shownColumn struct {
	declared *logical.Type
	// hasDefault and hasComment say that DEFAULT and COMMENT are those of the declared type: a view has them only where it
	// shows the column as it is.
	hasDefault, hasComment bool
}

func showColumn(c *Column, declared *logical.Type) *shownColumn {
	return &shownColumn{declared: declared, hasDefault: declared.HasDefault && c.Default == "''", hasComment: IsAnnotation(c.Comment)}
}

// sql gives the fields of COLUMNS that differ from those of the physical column, which is VARBINARY or a BLOB.
func (s *shownColumn) sql() map[string]string {
	c := s.declared.Catalog()
	fields := map[string]string{"DATA_TYPE": sqlText(c.DataType), "COLUMN_TYPE": sqlText(c.ColumnType),
		"CHARACTER_MAXIMUM_LENGTH": sqlNumber(c.CharacterLength), "CHARACTER_OCTET_LENGTH": sqlNumber(c.OctetLength)}
	for field, value := range map[string]int64{"NUMERIC_PRECISION": c.NumericPrecision, "NUMERIC_SCALE": c.NumericScale, "DATETIME_PRECISION": c.DatetimePrecision} {
		if value >= 0 {
			fields[field] = sqlNumber(value)
		}
	}
	if c.Charset != "" {
		fields["CHARACTER_SET_NAME"], fields["COLLATION_NAME"] = sqlText(c.Charset), sqlText(c.Collation)
	}
	if s.hasDefault {
		if value, ok := sqlDefault(s.declared); ok {
			fields["COLUMN_DEFAULT"] = value
		}
	}
	if s.hasComment {
		fields["COLUMN_COMMENT"] = sqlText(s.declared.Comment)
	}
	return fields
}

// sqlText writes text as the server's own text is: in utf8mb3, whose characters end at U+FFFF. It reads the same in every
// sql_mode and character set.
func sqlText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r > 0xFFFF {
			return '?'
		}
		return r
	}, text)
	return "_utf8mb3 x'" + hex.EncodeToString([]byte(text)) + "'"
}

func sqlNumber(n int64) string {
	if n < 0 {
		return "NULL"
	}
	return strconv.FormatInt(n, 10)
}

// sqlDefault gives COLUMN_DEFAULT.
func sqlDefault(declared *logical.Type) (string, bool) {
	if at := sqlTimestamp(declared); at != "" {
		return "CONCAT(_utf8mb3 x'27'," + at + ",_utf8mb3 x'27')", true
	}
	text, err := declared.DefaultText(utf8Results)
	return sqlText(text), err == nil
}

// sqlDefaultShown gives the Default of SHOW COLUMNS.
func sqlDefaultShown(declared *logical.Type) (string, bool) {
	if at := sqlTimestamp(declared); at != "" {
		return "CONCAT(" + at + ")", true
	}
	text, err := declared.DefaultShown(utf8Results)
	return sqlText(text), err == nil
}

// utf8Results is a session that takes text as it is.
var utf8Results = &logical.Session{ResultsCharset: "utf8mb4", TimeZone: time.UTC}

// sqlTimestamp gives the default of a TIMESTAMP, which is shown in the time zone of the session; empty for one that is the
// same in every zone.
func sqlTimestamp(declared *logical.Type) string {
	if declared.Kind != logical.KindTimestamp {
		return ""
	}
	at, err := time.Parse("2006-01-02 15:04:05.999999", string(declared.Default))
	if err != nil {
		return ""
	}
	fraction := ""
	if declared.Scale > 0 {
		fraction = at.Format(".000000")[:1+declared.Scale]
	}
	return "FROM_UNIXTIME(" + strconv.FormatInt(at.Unix(), 10) + fraction + ")"
}

// indexFields are the fields of STATISTICS.
func (p *Planner) indexFields() map[string]string {
	trees := newCatalogTrees("TABLE_SCHEMA", "TABLE_NAME", "INDEX_NAME", "COLUMN_NAME")
	for _, t := range p.schema.tables() {
		for _, index := range t.Indexes {
			declared := t.shownIndex(index)
			if declared == nil {
				continue
			}
			for i, part := range index.Parts {
				path := []string{t.Database, t.Name, index.Name, part.Column}
				for field, value := range declared.fields(index, i) {
					trees.add(field, path, value.sql())
				}
			}
		}
	}
	return trees.expressions()
}

// shownIndex is declared without indexes over columns whose policy and annotation disagree.
func (t *Table) shownIndex(index *Index) *DeclaredIndex {
	if !t.Protects {
		return nil
	}
	for _, part := range index.Parts {
		if c := t.Column(part.Column); c != nil && c.Protected != nil && c.Protected.Conflict != nil {
			return nil
		}
	}
	return t.DeclaredIndex(index)
}

// catalogValue is what a field shows: NULL, a number or text.
type catalogValue struct {
	null, number bool
	text         string
}

func (v catalogValue) sql() string {
	switch {
	case v.null:
		return "NULL"
	case v.number:
		return v.text
	}
	return sqlText(v.text)
}

// fields gives the fields of STATISTICS for part i of an index that differ from those of the index that stands for it.
func (d *DeclaredIndex) fields(index *Index, i int) map[string]catalogValue {
	fields := map[string]catalogValue{}
	part := index.Parts[i]
	switch {
	case d.Prefixes[i] == part.Prefix:
	case d.Prefixes[i] == 0:
		fields["SUB_PART"] = catalogValue{null: true}
	default:
		fields["SUB_PART"] = catalogValue{number: true, text: strconv.Itoa(d.Prefixes[i])}
	}
	if kind := d.indexType(index); kind != index.Kind {
		fields["INDEX_TYPE"] = catalogValue{text: kind}
	}
	if d.Fulltext() {
		// https://mariadb.com/kb/en/information-schema-statistics-table/
		fields["COLLATION"], fields["CARDINALITY"] = catalogValue{null: true}, catalogValue{null: true}
	}
	if comment := d.Comment(); comment != index.Comment {
		fields["INDEX_COMMENT"] = catalogValue{text: comment}
	}
	if d.Ignored() != index.Ignored {
		fields["IGNORED"] = catalogValue{text: "NO"}
		if d.Ignored() {
			fields["IGNORED"] = catalogValue{text: "YES"}
		}
	}
	return fields
}

// indexType is INDEX_TYPE: a UNIQUE index over whole TEXT or BLOB columns is one by hash.
func (d *DeclaredIndex) indexType(index *Index) string {
	switch {
	case d.Fulltext():
		return "FULLTEXT"
	case d.Unique() && strings.HasPrefix(d.Options, " USING HASH"):
		return "HASH"
	}
	return index.Kind
}

// checkFields are the fields of CHECK_CONSTRAINTS and the condition that leaves out the guards of protected columns. The
// CHECKs of the application's are shown without what keeps the backend from evaluating them. The guard of a JSON column
// stands for the CHECK that JSON brings, which the physical column does not have.
func (p *Planner) checkFields() (fields map[string]string, filter string) {
	keys := []string{"CONSTRAINT_SCHEMA", "TABLE_NAME", "LEVEL", "CONSTRAINT_NAME"}
	trees, hidden := newCatalogTrees(keys...), &catalogTree{}
	p.eachShownCheck(func(t *Table, check CheckConstraint, shown shownCheck) {
		path := []string{t.Database, t.Name, checkLevel(check.OfColumn), check.Name}
		if shown.clause == "" {
			hidden.add(path, "0")
			return
		}
		trees.add("CHECK_CLAUSE", path, sqlText(shown.clause))
		if shown.ofColumn != check.OfColumn {
			trees.add("LEVEL", path, sqlText(checkLevel(shown.ofColumn)))
		}
		if shown.name != check.Name {
			trees.add("CONSTRAINT_NAME", path, sqlText(shown.name))
		}
	})
	return trees.expressions(), hidden.filter(keys)
}

func checkLevel(ofColumn bool) string {
	if ofColumn {
		return "Column"
	}
	return "Table"
}

// constraintFields are the fields of TABLE_CONSTRAINTS and the condition that leaves out the guards.
func (p *Planner) constraintFields() (fields map[string]string, filter string) {
	keys := []string{"TABLE_SCHEMA", "TABLE_NAME", "CONSTRAINT_TYPE", "CONSTRAINT_NAME"}
	trees, hidden := newCatalogTrees(keys...), &catalogTree{}
	p.eachShownCheck(func(t *Table, check CheckConstraint, shown shownCheck) {
		path := []string{t.Database, t.Name, "CHECK", check.Name}
		switch {
		case shown.clause == "":
			hidden.add(path, "0")
		case shown.name != check.Name:
			trees.add("CONSTRAINT_NAME", path, sqlText(shown.name))
		}
	})
	return trees.expressions(), hidden.filter(keys)
}

// shownCheck is what a CHECK of the backend's stands for. The clause is empty when it stands for none.
type shownCheck struct {
	name, clause string
	ofColumn     bool
}

// eachShownCheck calls do for every CHECK that is not shown as it is.
func (p *Planner) eachShownCheck(do func(t *Table, check CheckConstraint, shown shownCheck)) {
	for _, t := range p.schema.tables() {
		if !t.Protects {
			continue
		}
		for _, check := range t.Checks {
			if shown, changed := t.shownCheck(check); changed {
				do(t, check, shown)
			}
		}
	}
}

// shownCheck tells what a CHECK stands for. Guards of columns whose policy and annotation disagree are shown as they are.
func (t *Table) shownCheck(check CheckConstraint) (shown shownCheck, changed bool) {
	if _, expression, kept := cutKeptCheck(check.Clause); kept {
		return shownCheck{name: check.Name, clause: expression, ofColumn: check.OfColumn}, true
	}
	for _, c := range t.Columns {
		if c.Protected == nil || c.Protected.Conflict != nil || !isGuard(check, c.Name) {
			continue
		}
		if c.Protected.Type.Kind == logical.KindJSON {
			return shownCheck{name: c.Name, clause: "json_valid(" + quoteName(c.Name) + ")", ofColumn: true}, true
		}
		return shownCheck{}, true
	}
	return shownCheck{}, false
}

// catalogTrees collects, for each field, the values that it has at certain keys: at certain columns of certain tables.
type catalogTrees struct {
	keys   []string
	fields map[string]*catalogTree
}

// catalogTree is one level of keys.
type catalogTree struct {
	order []string
	below map[string]*catalogTree
	value string
}

func newCatalogTrees(keys ...string) *catalogTrees {
	return &catalogTrees{keys: keys, fields: map[string]*catalogTree{}}
}

func (t *catalogTrees) add(field string, path []string, value string) {
	if t.fields[field] == nil {
		t.fields[field] = &catalogTree{}
	}
	t.fields[field].add(path, value)
}

func (t *catalogTree) add(path []string, value string) {
	at := t
	for _, key := range path {
		next := at.below[key]
		if next == nil {
			next = &catalogTree{}
			if at.below == nil {
				at.below = map[string]*catalogTree{}
			}
			at.below[key] = next
			at.order = append(at.order, key)
		}
		at = next
	}
	at.value = value
}

// expressions gives the expression of each field; at other keys it is the field itself.
func (t *catalogTrees) expressions() map[string]string {
	expressions := make(map[string]string, len(t.fields))
	for field, tree := range t.fields {
		expressions[field] = tree.expression(t.keys, quoteName(field))
		if slices.Contains(catalogNumbers, field) {
			// CASE makes a DECIMAL of signed and unsigned numbers.
			expressions[field] = "CAST(" + expressions[field] + " AS UNSIGNED)"
		}
	}
	return expressions
}

// filter is the condition of all rows but those of the tree.
func (t *catalogTree) filter(keys []string) string {
	if len(t.below) == 0 {
		return ""
	}
	return t.expression(keys, "1")
}

// expression compares names byte for byte: information_schema's own collation knows no letter case.
func (t *catalogTree) expression(keys []string, otherwise string) string {
	if len(keys) == 0 {
		return t.value
	}
	var b strings.Builder
	b.WriteString("CASE BINARY " + keys[0])
	for _, key := range slices.Sorted(slices.Values(t.order)) {
		b.WriteString(" WHEN x'" + hex.EncodeToString([]byte(key)) + "' THEN " + t.below[key].expression(keys[1:], otherwise))
	}
	b.WriteString(" ELSE " + otherwise + " END")
	return b.String()
}
