package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// KeyKind says how values of a key column are written down.
type KeyKind uint8

// Kinds of key column.
const (
	KeyNumber KeyKind = iota // digits, a sign and a point
	KeyText                  // bytes in the column's character set
	KeyBytes                 // bytes
	KeyQuoted                // ASCII text of a date, a time, a UUID or an address
)

// KeyColumn is a column of the key by which the rows of a table are found one by one and in order.
type KeyColumn struct {
	// Name is SQL for the column, Read for its value as a literal writes it.
	Name, Read string
	Kind       KeyKind
	// Charset is of KeyText.
	Charset string
}

// Migration is a table whose rows can be sealed, opened and sealed anew in place.
type Migration struct {
	Table *Table
	// Name is SQL for the table, with its database.
	Name string
	// Key are the columns of a primary or unique key without NULL, Index SQL for its name.
	Key   []KeyColumn
	Index string
	// Owner is the owner column; its Name is empty where the table has none. OwnerIndex is SQL for an index that begins with it,
	// empty where there is none.
	Owner      AwayColumn
	OwnerIndex string
	// Columns are the protected columns that hold cells or plaintext.
	Columns []*Protected
	// Kept is SQL for the columns that an UPDATE would change by itself.
	Kept []string
}

// NewMigration finds out how the rows of a table that went through Protect are written to. The refusal says why that cannot be
// done without harm.
func NewMigration(t *Table) (*Migration, *Refusal) {
	m := &Migration{Table: t, Name: quoteName(t.Database) + "." + quoteName(t.Name)}
	refuse := func(reason, hint string) (*Migration, *Refusal) {
		return nil, &Refusal{Code: CodeNotPossible, Column: t.String(), Reason: reason, Hint: hint}
	}
	if t.Kind != BaseTable {
		return refuse("only the rows of an ordinary table can be converted", "")
	}
	if !t.Transactional {
		return refuse("the table's storage engine cannot roll back", "change it to InnoDB first")
	}
	if m.Key, m.Index = migrationKey(t); len(m.Key) == 0 {
		return refuse("the table has no primary key, nor a unique key without NULL, over columns that are not protected and have a certain order: no row could be found again",
			"add a primary key, such as an AUTO_INCREMENT column")
	}
	for _, r := range t.Triggers {
		if r.Event == "UPDATE" || r.Unreadable {
			return refuse("the table has a trigger on UPDATE, which the conversion would set off for every row", "drop the trigger until the rows are converted")
		}
	}
	for _, c := range t.Columns {
		if c.OnUpdate {
			m.Kept = append(m.Kept, quoteName(c.Name))
		}
		if c.Protected != nil && c.Protected.Conflict == nil {
			m.Columns = append(m.Columns, c.Protected)
		}
	}
	if owner := t.Column(t.Owner); owner != nil {
		m.Owner = awayColumn(owner)
		if m.Owner.Text == "" || ownerType(owner) == nil {
			return refuse("values of the owner column's type cannot name owners", "use an integer, CHAR, VARCHAR, TEXT, VARBINARY or UUID column")
		}
		m.OwnerIndex = leadingIndex(t, owner.Name)
	}
	return m, nil
}

// migrationKey chooses the primary key, else a unique key over the fewest columns.
func migrationKey(t *Table) (key []KeyColumn, index string) {
	for _, x := range t.Indexes {
		if !x.Unique || x.Kind != "BTREE" || x.Ignored {
			continue
		}
		var parts []KeyColumn
		for _, part := range x.Parts {
			c := t.Column(part.Column)
			k, ok := keyColumn(c)
			if !ok || part.Prefix > 0 || part.Descending {
				parts = nil
				break
			}
			parts = append(parts, k)
		}
		if parts != nil && (key == nil || x.Name == primaryKey || index != quoteName(primaryKey) && len(parts) < len(key)) {
			key, index = parts, quoteName(x.Name)
		}
	}
	return key, index
}

// keyColumn says how a column's values are read and written as part of a key; ok is false where that is not certain.
func keyColumn(c *Column) (k KeyColumn, ok bool) {
	if c == nil || c.Nullable || c.Protected != nil {
		return k, false
	}
	k.Name = quoteName(c.Name)
	k.Read = k.Name
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		return k, true
	case "char", "varchar":
		k.Kind, k.Charset, k.Read = KeyText, c.Charset, "CAST("+k.Name+" AS BINARY)"
		return k, asciiName(c.Charset) && c.Charset != ""
	case "binary", "varbinary":
		k.Kind = KeyBytes
		return k, true
	case "date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6":
		k.Kind, k.Read = KeyQuoted, "CAST("+k.Name+" AS CHAR)"
		return k, true
	}
	return k, false
}

// leadingIndex gives SQL for the name of an index that begins with the whole column, empty when there is none.
func leadingIndex(t *Table, column string) string {
	for _, x := range t.Indexes {
		if x.Kind == "BTREE" && !x.Ignored && len(x.Parts) > 0 && x.Parts[0].Prefix == 0 && FoldName(x.Parts[0].Column) == FoldName(column) {
			return quoteName(x.Name)
		}
	}
	return ""
}

// Literal writes a value of the column, as Read gave it; ok is false for what cannot be one.
func (k *KeyColumn) Literal(value []byte) (text string, ok bool) {
	switch k.Kind {
	case KeyNumber:
		return string(value), len(value) > 0 && only(value, "0123456789.-")
	case KeyQuoted:
		return "'" + string(value) + "'", len(value) > 0 && only(value, "0123456789abcdefABCDEF:.- ")
	case KeyText:
		return fmt.Sprintf("_%s x'%x'", k.Charset, value), true
	}
	return fmt.Sprintf("x'%x'", value), true
}

func only(value []byte, bytes string) bool {
	for _, c := range value {
		if strings.IndexByte(bytes, c) < 0 {
			return false
		}
	}
	return true
}

// PassageMode are the session variables under which a passage is run: nothing is cut, no date is refused, and points in time are
// in UTC.
const PassageMode = "sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', time_zone='+00:00'"

// PlainMark begins plaintext that is marked: the prefix of a cell of kind p.
const PlainMark = "x'ff4c4b70'"

// PlainApartMark begins plaintext that a UNIQUE key over search tags tells apart from other plaintext: the prefix of a cell of kind
// q, behind which 16 bytes of a digest stand, and then the plaintext.
const PlainApartMark = "x'ff4c4b71'"

// The COMMENT of a column on its way says which way, and holds the annotation that it will have, or had. Nothing may be read or
// written there.
const (
	annotationPreparing = "p1 "
	annotationRestoring = "r1 "
)

// underway gives the annotation that a column on its way will have, or had; empty for a column that is not.
func underway(comment, state string) string {
	if rest, ok := strings.CutPrefix(comment, annotationMark+state); ok {
		return annotationMark + annotationVersion + rest
	}
	return ""
}

// onItsWay writes the COMMENT of a column on its way.
func onItsWay(annotation, state string) string {
	return annotationMark + state + strings.TrimPrefix(annotation, annotationMark+annotationVersion)
}

// Passage is one way of a table between the columns as they were declared and columns for cells, in four steps. Each may be run
// again after it was cut short, but for Update, which has to run once. Nothing may be written between them.
type Passage struct {
	Table     *Table
	Migration *Migration
	// Names are the columns, as database.table.column.
	Names   []string
	Columns []PassageColumn
	// First are statements before Update, Last those after it.
	First, Last []string
	// Update rewrites the values that would be taken for something else; empty when there can be none.
	Update string
	// Begun says that First, or a part of it, is done already: Update may be too.
	Begun bool
	// NoCells says that the columns may hold no cells.
	NoCells bool
	// Digests says that the values before are to be held against those behind.
	Digests bool
	// Blocked says why the table cannot go this way; all else is empty then. Notes say what one might not expect. Neither holds
	// line breaks.
	Blocked, Notes []string
}

// PassageColumn is a column of a passage.
type PassageColumn struct {
	Name string // SQL
	Type *logical.Type
	// Protected is what the column is, or will be.
	Protected *Protected
}

// Protected gives what the columns are, or will be.
func (p *Passage) Protected() []*Protected {
	all := make([]*Protected, len(p.Columns))
	for i := range p.Columns {
		all[i] = p.Columns[i].Protected
	}
	return all
}

// Prepare gives the passages that turn the columns which the policy names with `plaintext: accept` into columns for cells that
// hold bare plaintext. Tables that are ready give none. The schema went through Protect.
func Prepare(s *Schema, p *Policy, o AlterOptions) []*Passage {
	var all []*Passage
	for _, t := range s.tables() {
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		if !t.Protects || t.Kind == View || tp == nil {
			continue
		}
		a := alteration{schema: s, table: t, policy: tp, o: o, mixed: true}
		pass := a.prepare()
		if len(pass.Names)+len(pass.Blocked) > 0 {
			all = append(all, pass)
		}
	}
	return all
}

// prepare plans the passage of one table.
func (a *alteration) prepare() *Passage {
	pass := &Passage{Table: a.table, Digests: true}
	var through, modifies, publishes []string
	for _, c := range a.table.Columns {
		cp := a.policy.Column(c.Name)
		pending := underway(c.Comment, annotationPreparing)
		if c.Protected == nil || cp == nil || !cp.PlaintextAccept || IsAnnotation(c.Comment) && pending == "" {
			continue
		}
		ready, annotation := a.readyToPrepare(c, pending)
		if ready == nil {
			continue
		}
		step := ready.Type.Intermediate()
		pass.Names = append(pass.Names, c.Protected.String())
		pass.Begun = pass.Begun || pending != ""
		pass.Columns = append(pass.Columns, PassageColumn{Name: quoteName(c.Name), Type: ready.Type, Protected: ready})
		name := "MODIFY COLUMN " + quoteName(c.Name) + " "
		null := " NULL"
		if !ready.Type.Nullable {
			null = " NOT NULL"
		}
		waiting := " COMMENT " + quoteText(onItsWay(annotation, annotationPreparing))
		if _, binary := c.capacity(); step != "" && !(binary && pending != "") {
			through = append(through, name+step+null+waiting)
		}
		physical := a.physical(c, min(ready.CellLength(int64(ready.Type.MaxCanonical())), maxLongBlob)) + physicalAttributes(ready.Type, c.Invisible)
		modifies = append(modifies, name+physical+waiting)
		publishes = append(publishes, name+physical+" COMMENT "+quoteText(annotation))
	}
	if len(pass.Names)+len(a.notes) == 0 {
		return pass
	}
	a.migratable(pass)
	drops, adds := a.indexes()
	if a.blocked {
		return &Passage{Table: a.table, Blocked: oneLines(a.notes)}
	}
	pass.Notes = oneLines(append(a.notes, a.dropped...))
	if len(pass.Names) == 0 {
		return &Passage{}
	}
	if len(through) > 0 {
		pass.First = append(pass.First, a.alter(through))
	}
	pass.First = append(pass.First, a.alter(slices.Concat(drops, modifies, adds)))
	pass.Update = a.markUpdate(pass)
	pass.Last = []string{a.alter(slices.Concat(publishes, a.uniques()))}
	return pass
}

// uniques gives the clauses that make the keys which were declared UNIQUE that again, when the plaintext in them is marked.
func (a *alteration) uniques() []string {
	var clauses []string
	for _, index := range a.table.Indexes {
		if !a.overProtected(index) || !a.declaredUnique(index) {
			continue
		}
		if add := a.coverTags(index, true); add != "" {
			clauses = append(clauses, "DROP INDEX "+quoteName(index.Name), "ADD "+add)
		}
	}
	return clauses
}

// declaredUnique tells whether an index is UNIQUE, or stands in for one that is.
func (a *alteration) declaredUnique(index *Index) bool {
	declared, ok := ParseDeclaredIndex(index.Comment)
	return index.Unique || ok && declared.Unique()
}

// migratable blocks a table whose rows could not be converted afterwards.
func (a *alteration) migratable(pass *Passage) {
	m, why := NewMigration(a.table)
	if why != nil {
		a.block("%s: %s; %s", why.Column, why.Reason, why.Hint)
		return
	}
	pass.Migration = m
	for _, c := range pass.Columns {
		if p := c.Protected; len(p.Bind) > 0 {
			a.block("%s: cells that are bound to other columns cannot be made of rows that are there; remove `bind:`", p)
		}
	}
}

// readyToPrepare gives what a column will be and its annotation; nil, with the table blocked, when it cannot be.
func (a *alteration) readyToPrepare(c *Column, pending string) (*Protected, string) {
	for _, f := range checkColumn(a.table, c, a.policy.Column(c.Name)) {
		switch f.Code {
		case "check-constraint", "generated-column", "default-expression", "partition", "foreign-key":
			a.block("%s: %s; %s", c.Protected, f.Reason, f.Hint)
			return nil, ""
		}
	}
	if why := conflictOf(c.Protected); pending == "" && !why.alterable() {
		a.block("%s: %s; %s", c.Protected, why.reason, why.hint)
		return nil, ""
	}
	declared, annotation := a.pending(c, pending), pending
	if pending == "" {
		if declared = a.declareLive(c); declared == nil {
			return nil, ""
		}
		var err error
		if annotation, err = FormatAnnotation(c.Protected.Context, declared.String(), a.o.MAC); err != nil {
			a.block("%s: %v", c.Protected, err)
			return nil, ""
		}
	}
	switch {
	case declared == nil:
		a.block("%s: the annotation that it is to have does not verify; restore the table from a backup", c.Protected)
		return nil, ""
	case !declared.Convertible():
		a.block("%s: text in the character set %s cannot be converted; change the column to utf8mb4 first", c.Protected, declared.Charset)
		return nil, ""
	case c.Protected.Search && declared.Searchable() != nil:
		a.block("%s: %s; %s", c.Protected, conflictSearch.reason, conflictSearch.hint)
		return nil, ""
	}
	ready := *c.Protected
	ready.Type, ready.Conflict, ready.Annotated, ready.Nullable = declared, nil, true, declared.Nullable
	ready.HasOnEmpty, ready.OnEmpty = declared.HasDefault, declared.Default
	return &ready, annotation
}

// declareLive gives the column as it is: its values are those of its own type, so the policy may not name another one.
func (a *alteration) declareLive(c *Column) *logical.Type {
	live, err := logical.Parse(liveDefinition(a.table, c))
	if err != nil {
		a.block("%s: its definition is not one that can be protected: %v", c.Protected, err)
		return nil
	}
	if cp := a.policy.Column(c.Name); cp.Type != nil && !sameType(adoptNullability(cp.Type, c), live) {
		a.block("%s: the policy declares another type than the column has; remove `type:`", c.Protected)
		return nil
	}
	return live
}

// pending reads the type from the annotation that a column on its way will have.
func (a *alteration) pending(c *Column, annotation string) *logical.Type {
	if annotation == "" {
		return nil
	}
	parsed, err := ParseAnnotation(annotation)
	if err != nil || string(a.o.MAC([]byte(parsed.Body()))) != string(parsed.MAC) {
		return nil
	}
	c.Protected.Context = parsed.Context
	declared, err := logical.Parse(parsed.Definition)
	if err != nil {
		return nil
	}
	return declared
}

// alter writes an ALTER TABLE.
func (a *alteration) alter(clauses []string) string {
	return "ALTER TABLE " + quoteName(a.table.Database) + "." + quoteName(a.table.Name) + "\n  " + strings.Join(clauses, ",\n  ")
}

func oneLines(notes []string) []string {
	for i := range notes {
		notes[i] = oneLine(notes[i])
	}
	return notes
}

// markUpdate marks the plaintext that would be taken for a cell, or for the declared default, and that of which a UNIQUE key over
// search tags would see too little.
func (a *alteration) markUpdate(pass *Passage) string {
	var sets, where []string
	for _, c := range pass.Columns {
		condition := "LEFT(" + c.Name + ",3)=x'ff4c4b'"
		if c.Type.HasDefault && len(c.Type.Default) > 0 {
			condition += " OR " + c.Name + "=x''"
		}
		marked := "IF(" + condition + ",CONCAT(" + PlainMark + "," + c.Name + ")," + c.Name + ")"
		if a.inUnique(c.Protected) {
			// Whole values differ, so a mark, a digest, or all of a short value does.
			long := fmt.Sprintf("LENGTH(%[1]s)>%[2]d OR LEFT(%[1]s,3)=x'ff4c4b' AND LENGTH(%[1]s)>%[3]d", c.Name, TagPrefix, TagPrefix-plainMarkSize)
			marked = fmt.Sprintf("IF(%s,CONCAT(%s,LEFT(UNHEX(SHA2(%s,256)),%d),%s),%s)", long, PlainApartMark, c.Name, TagPrefix-plainMarkSize, c.Name, marked)
			condition += " OR " + long
		}
		sets = append(sets, c.Name+"="+marked)
		where = append(where, condition)
	}
	return pass.Migration.update(sets, where)
}

// plainMarkSize is the length of PlainMark and PlainApartMark in bytes.
const plainMarkSize = 4

// inUnique tells whether a key that is declared UNIQUE is over the column.
func (a *alteration) inUnique(p *Protected) bool {
	return slices.ContainsFunc(a.table.Indexes, func(x *Index) bool { return x.has(p.Column) && a.declaredUnique(x) })
}

// update writes an UPDATE of the whole table that leaves other columns alone.
func (m *Migration) update(sets, where []string) string {
	for _, name := range m.Kept {
		sets = append(sets, name+"="+name)
	}
	return "UPDATE " + m.Name + " SET " + strings.Join(sets, ", ") + "\n  WHERE " + strings.Join(where, " OR ")
}

// Tables gives all tables ordered by database and name.
func (s *Schema) Tables() []*Table { return s.tables() }

// Guarded tells whether a CHECK lets nothing but cells into the column.
func (t *Table) Guarded(column string) bool { return t.guard(column) != nil }

// Reopen gives the ALTER TABLE that takes the guard CHECKs off a table that went through Protect, and makes the UNIQUE keys over
// protected columns ordinary ones; empty when there are none. Columns that cannot be used as they are stay.
func Reopen(t *Table) string {
	a := alteration{table: t, mixed: true}
	var clauses, adds []string
	for _, c := range t.Columns {
		guard := t.guard(c.Name)
		switch {
		case c.Protected == nil || c.Protected.Conflict != nil || !c.Protected.Plaintext || guard == nil:
		case guard.OfColumn:
			clause := "MODIFY COLUMN " + quoteName(c.Name) + " " + strings.ToUpper(c.ColumnType) + physicalAttributes(c.Protected.Type, c.Invisible) + " COMMENT " + quoteText(c.Comment)
			if _, rest := splitGuard(guard.Clause); rest != "" {
				clause += " CHECK (" + rest + ")"
			}
			clauses = append(clauses, clause)
		default:
			clauses = append(clauses, "DROP CONSTRAINT "+quoteName(guard.Name))
		}
	}
	for _, index := range t.Indexes {
		open := slices.ContainsFunc(index.Parts, func(part IndexPart) bool {
			c := t.Column(part.Column)
			return c != nil && c.Protected != nil && c.Protected.Plaintext && c.Protected.Conflict == nil
		})
		if !index.Unique || !open {
			continue
		}
		if add := a.coverTags(index, false); add != "" {
			clauses, adds = append(clauses, "DROP INDEX "+quoteName(index.Name)), append(adds, "ADD "+add)
		}
	}
	if len(clauses) == 0 {
		return ""
	}
	return a.alter(append(clauses, adds...))
}
