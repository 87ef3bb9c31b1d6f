package rewrite

import (
	"fmt"
	"slices"
	"strings"
)

// PlaintextCondition is SQL that is true where a column in the mixed state holds plaintext, marked or bare, the empty value
// included, false where it holds a cell, and NULL for NULL. It is made of ranges, which an index serves. column is SQL for the
// column.
func PlaintextCondition(column string) string {
	return strings.ReplaceAll("(@<x'FF4C4B' OR @>=x'FF4C4B70' AND @<x'FF4C4B72' OR @>=x'FF4C4C')", "@", column)
}

// plaintextInKeys says for a column in the mixed state how its UNIQUE keys, if it has any, are kept. What is sealed the backend
// compares by search tags; with what is left of plaintext the proxy compares, where it has the key of every row.
func (t *Table) plaintextInKeys(p *Protected) {
	if !p.Plaintext {
		return
	}
	for _, x := range t.Indexes {
		declared, ok := ParseDeclaredIndex(x.Comment)
		if !x.Unique && (!ok || !declared.Unique()) || !x.has(p.Column) {
			continue
		}
		p.PlaintextKeyed = true
		tags := x.Unique && p.ServiceKey != "" && p.Search
		for _, part := range x.Parts {
			if c := t.Column(part.Column); c != nil && c.Protected != nil {
				tags = tags && part.Prefix == TagPrefix && c.Protected.Search
			}
		}
		p.PlaintextUnique = p.PlaintextUnique || !tags
	}
}

// has tells whether the column is a part of the index.
func (x *Index) has(column string) bool {
	return slices.ContainsFunc(x.Parts, func(part IndexPart) bool { return FoldName(part.Column) == FoldName(column) })
}

// sealable refuses to write a column that has a conflict, or whose new value could be there already as plaintext where a UNIQUE
// key allows it once and nobody could tell.
func sealable(p *Protected) error {
	if p.Conflict != nil {
		return p.Conflict
	}
	if p.PlaintextUnique {
		return notPossible(p, "it is in a UNIQUE key and may hold plaintext, which the database cannot compare with cells",
			"convert the rows with `latchkey migrate` and take `plaintext: accept` out of the policy")
	}
	return nil
}

// sealableUnseen refuses to write a column that has a conflict, or one in a UNIQUE key that may hold plaintext, by a statement that brings
// no value of its own for it that could be compared with the plaintext.
func sealableUnseen(p *Protected) error {
	if err := sealable(p); err != nil || !p.PlaintextKeyed {
		return err
	}
	return notPossible(p, "it is in a UNIQUE key and may hold plaintext, which only a literal or a parameter is compared with",
		"write the value itself, or convert the rows with `latchkey migrate` and take `plaintext: accept` out of the policy")
}

// keyedWithPlaintext refuses to change a plain column that is in one UNIQUE key with a column that may hold plaintext: which rows
// then have the same key, the backend cannot tell.
func (t *Table) keyedWithPlaintext(column string) error {
	for _, x := range t.Indexes {
		declared, ok := ParseDeclaredIndex(x.Comment)
		if !x.Unique && (!ok || !declared.Unique()) || !x.has(column) {
			continue
		}
		for _, part := range x.Parts {
			if c := t.Column(part.Column); c != nil && c.Protected != nil && c.Protected.PlaintextKeyed {
				return sealableUnseen(c.Protected)
			}
		}
	}
	return nil
}

// PlaintextTable is a table of which a statement writes columns that may hold plaintext.
type PlaintextTable struct {
	// Name is SQL for the table, with its database.
	Name string
	// Columns are the columns that the statement writes and that may hold plaintext.
	Columns []*Protected
	// Owner is SQL for the owner of a row, as bytes of UTF-8; empty where rows have none.
	Owner string
	// Key are the columns of a primary or unique key without NULL; empty when the table has none that can be read back, or when
	// nothing may be written to it on the side because triggers would see it.
	Key []AwayColumn
	// Kept is SQL for the columns that an UPDATE would change by itself.
	Kept []string
}

// PlaintextOf gives what has to be known of a table to seal the plaintext of a column in place.
func PlaintextOf(t *Table, column *Protected) *PlaintextTable {
	return plaintextTable(t, []*Protected{column})
}

// plaintextTable notes what of a table a statement writes that may hold plaintext; nil when there is nothing.
func plaintextTable(t *Table, columns []*Protected) *PlaintextTable {
	p := &PlaintextTable{}
	for _, c := range columns {
		if c.Plaintext {
			p.Columns = append(p.Columns, c)
		}
	}
	if len(p.Columns) == 0 || t == nil || t.Kind != BaseTable {
		return nil
	}
	p.Name = quoteName(t.Database) + "." + quoteName(t.Name)
	ascii := asciiName(p.Name)
	for _, c := range t.Columns {
		if c.OnUpdate {
			p.Kept = append(p.Kept, quoteName(c.Name))
		}
		ascii = ascii && asciiName(c.Name)
	}
	if owner := t.Column(t.Owner); owner != nil {
		p.Owner = OwnerText(owner, quoteName(owner.Name))
	}
	fixed := slices.ContainsFunc(t.Triggers, func(r *Routine) bool { return strings.EqualFold(r.Event, "UPDATE") || r.Unreadable })
	if ascii && !fixed {
		p.Key = awayKey(t)
	}
	return p
}

// Select gives the query of the rows in which a column holds plaintext or the empty value, at most so many: the value, and those of
// the key. locked has it read and lock them as they are now.
func (p *PlaintextTable) Select(column *Protected, most int, locked bool) string {
	name := quoteName(column.Column)
	text := fmt.Sprintf("SELECT %s FROM %s WHERE %s LIMIT %d", strings.Join(append([]string{name}, p.keyTexts()...), ","), p.Name, PlaintextCondition(name), most)
	if locked {
		text += " FOR UPDATE"
	}
	return text
}

// KeyColumns is how many values the key has; none without a table.
func (p *PlaintextTable) KeyColumns() int {
	if p == nil {
		return 0
	}
	return len(p.Key)
}

// keyTexts gives SQL for the values of the key, as they are read.
func (p *PlaintextTable) keyTexts() []string {
	if p == nil {
		return nil
	}
	texts := make([]string, len(p.Key))
	for i, k := range p.Key {
		texts[i] = k.Text
	}
	return texts
}
