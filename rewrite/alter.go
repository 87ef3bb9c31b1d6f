package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// AlterOptions is what Alters needs to know beside schema and policy.
type AlterOptions struct {
	// MAC makes the MAC of an annotation's body.
	MAC func(body []byte) []byte
	// HasRows tells whether a table has rows. It is asked only about tables whose protected columns are not ready.
	HasRows func(database, table string) bool
	// Finish says that the rows of all tables are converted: the statements then also make the columns that may hold plaintext
	// (`plaintext: accept`) ones of cells only, with guard CHECK and UNIQUE keys.
	Finish bool
}

// Alter is what makes one table ready.
type Alter struct {
	Database, Table string
	// SQL is one ALTER TABLE statement without a semicolon; empty when nothing safe can be printed.
	SQL string
	// Notes say why not, or what the statement does that one might not expect. They hold no line breaks.
	Notes []string
}

// Alters gives the statements that make the tables of a schema ready, which went through Protect: physical type, annotation,
// DEFAULT and guard CHECK of every protected column, and prefix indexes. A table that is ready gives nothing. The statements
// never lose data: the type of a column changes only in a table without rows, and should a row come in meanwhile, the guard
// CHECK fails the whole statement and nothing is changed.
func Alters(s *Schema, p *Policy, o AlterOptions) []Alter {
	var alters []Alter
	for _, t := range s.tables() {
		if !t.Protects || t.Kind == View {
			continue
		}
		a := alteration{schema: s, table: t, policy: p.Table(t.Database, t.Name, s.LowerCaseTableNames), o: o}
		a.run()
		if a.blocked {
			a.clauses = nil
		} else {
			a.notes = append(a.notes, a.dropped...)
		}
		if (o.Finish || a.guards) && len(a.clauses) > 0 {
			// Without it MariaDB neither judges the rows that are there by a new CHECK of a column nor writes the table anew.
			a.clauses = append(a.clauses, "ALGORITHM=COPY")
		}
		alter := Alter{Database: t.Database, Table: t.Name}
		for _, note := range a.notes {
			alter.Notes = append(alter.Notes, oneLine(note))
		}
		if len(a.clauses) > 0 {
			// Strict, so that nothing is cut; without modes that change how the text is read.
			alter.SQL = "SET STATEMENT sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION' FOR ALTER TABLE " +
				quoteName(t.Database) + "." + quoteName(t.Name) + "\n  " + strings.Join(a.clauses, ",\n  ")
		}
		if alter.SQL != "" || len(alter.Notes) > 0 {
			alters = append(alters, alter)
		}
	}
	return alters
}

// oneLine keeps a note inside the SQL comment that it is printed in, whatever the names in it hold.
func oneLine(note string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, note)
}

// alteration collects the clauses of one table's ALTER.
type alteration struct {
	schema  *Schema
	table   *Table
	policy  *TablePolicy
	o       AlterOptions
	clauses []string
	notes   []string
	// dropped are notes about indexes that the statement drops, or that enforce nothing any more.
	dropped []string
	// blocked: the table cannot be made ready by a statement alone.
	blocked bool
	// mixed: the columns will hold plaintext beside cells. A key over them is UNIQUE only once the plaintext is marked.
	mixed bool
	// guards: a column that holds values gets its guard CHECK.
	guards bool
	// row counts the bytes given to VARBINARY columns so far.
	row int64
}

func (a *alteration) block(format string, args ...any) {
	a.blocked = true
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

func (a *alteration) run() {
	drops, adds := a.indexes()
	var columns []string
	for _, c := range a.table.Columns {
		if c.Protected == nil {
			continue
		}
		if modify := a.column(c); modify != "" {
			columns = append(columns, modify)
		}
	}
	a.clauses = slices.Concat(drops, columns, adds)
}

// check gives the CHECK of a protected column's definition: its guard, unless that is a constraint of the table, and what
// else it has.
func (a *alteration) check(c *Column) string {
	for _, check := range a.table.Checks {
		if check.OfColumn && FoldName(check.Name) == FoldName(c.Name) && !isJSONCheck(check, c.Name) {
			return " CHECK (" + check.Clause + ")"
		}
	}
	if a.table.guard(c.Name) != nil || a.leavesOpen(c) {
		return ""
	}
	if _, binary := c.capacity(); binary {
		a.guards = true
	}
	return " CHECK (" + guardClause(c.Name) + ")"
}

// leavesOpen says that the column may hold plaintext still, and that this is not to end now.
func (a *alteration) leavesOpen(c *Column) bool { return c.Protected.Plaintext && !a.o.Finish }

// column gives the MODIFY clause of a protected column, empty when it is ready or cannot be made so.
func (a *alteration) column(c *Column) string {
	p := c.Protected
	for _, f := range checkColumn(a.table, c, a.policy.Column(c.Name)) {
		switch f.Code {
		case "check-constraint", "generated-column", "default-expression", "partition", "foreign-key":
			a.block("%s: %s; %s", p, f.Reason, f.Hint)
			return ""
		}
	}
	if !conflictOf(p).alterable() {
		a.block("%s: %s; %s", p, p.Conflict.Reason, p.Conflict.Hint)
		return ""
	}
	declared := a.declare(c)
	if declared == nil {
		return ""
	}
	if p.Search && declared.Searchable() != nil {
		a.block("%s: %s; %s", p, conflictSearch.reason, conflictSearch.hint)
		return ""
	}
	ready := *p
	ready.Type = declared
	need := min(ready.CellLength(int64(declared.MaxCanonical())), maxLongBlob)
	annotation := c.Comment
	if !IsAnnotation(annotation) {
		var err error
		if annotation, err = FormatAnnotation(p.Context, declared.String(), a.o.MAC); err != nil {
			a.block("%s: %v", p, err)
			return ""
		}
	}
	capacity, binary := c.capacity()
	binary = binary && IsAnnotation(c.Comment) || binary && p.Conflict == nil
	if binary && capacity >= need && declared.Nullable == c.Nullable && physicalDefaultFits(c, declared) && annotation == c.Comment &&
		(a.table.guard(c.Name) != nil || a.leavesOpen(c)) {
		return ""
	}
	switch {
	case !binary && p.Plaintext && a.o.HasRows(a.table.Database, a.table.Name):
		a.block("%s.%s has rows: run `latchkey migrate prepare`", a.table.Database, a.table.Name)
		return ""
	case !binary && a.o.HasRows(a.table.Database, a.table.Name):
		a.block("%s.%s has rows: the values of column %s have to be converted to cells, which an ALTER TABLE cannot do", a.table.Database, a.table.Name, quoteName(c.Name))
		return ""
	}
	physical := strings.ToUpper(c.ColumnType)
	if !binary || capacity < need {
		physical = a.physical(c, need)
	}
	return "MODIFY COLUMN " + quoteName(c.Name) + " " + physical + physicalAttributes(declared, c.Invisible) + " COMMENT " + quoteText(annotation) + a.check(c)
}

// physical chooses the type, and counts what the columns before got towards the row.
func (a *alteration) physical(c *Column, need int64) string {
	others := physicalRow(a.table, c)
	width := max(need, minVarbinary)
	inRow := others+a.row+width <= maxRow
	if inRow {
		a.row += width
	}
	return physicalType(need, inRow)
}

// declare gives the type that the column is to have: that of its annotation, else that of the policy with what the policy
// leaves open from the column as it is, else the column as it is. nil, with the table blocked, when it is none to protect.
func (a *alteration) declare(c *Column) *logical.Type {
	if IsAnnotation(c.Comment) {
		return c.Protected.Type
	}
	live, err := logical.Parse(liveDefinition(a.table, c))
	var policy *logical.Type
	if cp := a.policy.Column(c.Name); cp != nil {
		policy = cp.Type
	}
	if policy == nil {
		if err != nil {
			a.block("%s: its definition is not one that can be protected: %v", c.Protected, err)
			return nil
		}
		return live
	}
	declared := *policy
	if !c.Nullable {
		declared.Nullable = false
	}
	if err == nil && declared.Comment == "" {
		declared.Comment = live.Comment
	}
	if _, binary := c.capacity(); !binary && !declared.HasDefault && c.HasDefault && !strings.EqualFold(c.Default, "NULL") {
		if !a.adoptDefault(c, &declared) {
			return nil
		}
	}
	return &declared
}

// adoptDefault takes the column's DEFAULT into the type that the policy declares.
func (a *alteration) adoptDefault(c *Column, declared *logical.Type) bool {
	bare := *declared
	bare.Comment = ""
	with, err := logical.Parse(strings.TrimSuffix(bare.String(), " DEFAULT NULL") + " DEFAULT " + c.Default)
	if err != nil {
		a.block("%s: its DEFAULT does not fit the `type:` of the policy; give the default there", c.Protected)
		return false
	}
	comment := declared.Comment
	*declared = *with
	declared.Comment = comment
	return true
}

// liveDefinition writes the definition of an unprotected column as SHOW CREATE TABLE does.
func liveDefinition(t *Table, c *Column) string {
	var b strings.Builder
	definition := c.ColumnType
	for _, check := range t.Checks {
		if check.OfColumn && isJSONCheck(check, c.Name) && FoldName(check.Name) == FoldName(c.Name) {
			definition = "json"
		}
	}
	b.WriteString(definition)
	if c.Charset != "" && definition != "json" {
		b.WriteString(" CHARACTER SET " + c.Charset + " COLLATE " + c.Collation)
	}
	if !c.Nullable {
		b.WriteString(" NOT NULL")
	}
	if c.HasDefault {
		b.WriteString(" DEFAULT " + c.Default)
	}
	if c.Comment != "" {
		b.WriteString(" COMMENT " + quoteText(c.Comment))
	}
	return b.String()
}

// indexes gives the clauses that drop and re-create the indexes over protected columns.
func (a *alteration) indexes() (drops, adds []string) {
	for _, index := range a.table.Indexes {
		if !a.overProtected(index) {
			continue
		}
		if why := a.indexBlocks(index); why != nil {
			a.block("%s: %s; %s", why.Object, why.Reason, why.Hint)
			continue
		}
		if a.settled(index) {
			continue
		}
		name := quoteName(index.Name)
		drops = append(drops, "DROP INDEX "+name)
		if add := a.coverTags(index, !a.mixed); add != "" {
			adds = append(adds, "ADD "+add)
		} else {
			a.dropped = append(a.dropped, fmt.Sprintf("%s: nothing can take the place of index %s over cells: it is dropped", a.table, name))
		}
	}
	return drops, adds
}

// overProtected reports whether an index is one that this policy decides about: over a protected column, and over none that
// only its annotation protects, for which another policy says whether it is searched.
func (a *alteration) overProtected(index *Index) bool {
	found := false
	for _, part := range index.Parts {
		c := a.table.Column(part.Column)
		if c == nil || c.Protected == nil {
			continue
		}
		if a.policy.Column(part.Column) == nil {
			return false
		}
		found = true
	}
	return found
}

// indexBlocks finds what is wrong with an index beyond its prefix: a decision of the operator's.
func (a *alteration) indexBlocks(index *Index) *Finding {
	for _, part := range index.Parts {
		c := a.table.Column(part.Column)
		if c == nil || c.Protected == nil {
			continue
		}
		f := checkIndexPart(a.table, index, part, c.Protected)
		if f != nil && f.Severity == Error && f.Code != "index-prefix" {
			f.Object = c.Protected.String()
			return f
		}
	}
	return nil
}

// settled reports whether an index is what Latchkey makes of it: it covers search tags, or stands in by name for one that
// finds nothing.
func (a *alteration) settled(index *Index) bool {
	declared, annotated := ParseDeclaredIndex(index.Comment)
	for _, part := range index.Parts {
		c := a.table.Column(part.Column)
		if annotated && c != nil && c.Protected != nil && declared.Unique() && !index.Unique && !a.leavesOpen(c) {
			return false
		}
		if c != nil && c.Protected != nil && (part.Prefix != TagPrefix || !c.Protected.Search && !annotated) {
			return false
		}
	}
	return true
}

// coverTags gives the index that takes the place of one over protected columns, empty when there can be none. Without unique it is
// an ordinary one whatever was declared.
func (a *alteration) coverTags(index *Index, unique bool) string {
	declared := &DeclaredIndex{Kind: "KEY"}
	switch {
	case index.Unique:
		declared.Kind = "UNIQUE KEY"
	case index.Kind == "FULLTEXT":
		declared.Kind = "FULLTEXT KEY"
	case index.Kind != "BTREE" && index.Kind != "HASH":
		return ""
	}
	var parts []string
	ignored := false
	for n, part := range index.Parts {
		text, prefix := quoteName(part.Column), part.Prefix
		switch c := a.table.Column(part.Column); {
		case c != nil && c.Protected != nil:
			text += fmt.Sprintf("(%d)", TagPrefix)
			ignored = ignored || n == 0 && !c.Protected.Search || declared.Fulltext()
			if binaryColumn(c) && (!a.mixed || IsAnnotation(c.Comment)) {
				prefix = 0 // it is of the cell
			}
		case declared.Fulltext():
			return ""
		case prefix > 0:
			text += fmt.Sprintf("(%d)", prefix)
		}
		if part.Descending {
			text += " DESC"
		}
		parts, declared.Prefixes = append(parts, text), append(declared.Prefixes, prefix)
	}
	if known, ok := ParseDeclaredIndex(index.Comment); ok && len(known.Prefixes) == len(parts) {
		declared = known
	} else if index.Comment != "" {
		declared.Options = " COMMENT " + quoteShown(index.Comment)
	}
	comment, err := declared.Annotation()
	if err != nil {
		return ""
	}
	kind, end := "INDEX ", ""
	if declared.Unique() && unique {
		kind = "UNIQUE INDEX "
	} else if ignored && a.schema.ServerVersion >= 100600 {
		end = " IGNORED"
	}
	return kind + quoteName(index.Name) + " (" + strings.Join(parts, ", ") + ") COMMENT " + quoteText(comment) + end
}

// quoteText writes a string literal for the sql_mode of the statements that Alters makes.
func quoteText(text string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(text) + "'"
}
