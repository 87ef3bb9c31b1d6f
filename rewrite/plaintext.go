package rewrite

import (
	"slices"
	"strings"
)

// PlaintextCondition is SQL that is true where a column in the mixed state holds plaintext, marked or bare, the empty value
// included, false where it holds a cell, and NULL for NULL. It is made of ranges, which an index serves. column is SQL for the
// column.
func PlaintextCondition(column string) string {
	return strings.ReplaceAll("(@<x'FF4C4B' OR @>=x'FF4C4B70' AND @<x'FF4C4B71' OR @>=x'FF4C4C')", "@", column)
}

// sealable refuses to write a column that has a conflict, or whose new value could be there already as plaintext where a UNIQUE
// key allows it once.
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

// keyedWithPlaintext refuses to change a plain column that is in one UNIQUE key with a column that may hold plaintext: which rows
// then have the same key, the backend cannot tell.
func (t *Table) keyedWithPlaintext(column string) error {
	for _, x := range t.Indexes {
		declared, ok := ParseDeclaredIndex(x.Comment)
		if !x.Unique && (!ok || !declared.Unique()) || !slices.ContainsFunc(x.Parts, func(p IndexPart) bool { return FoldName(p.Column) == FoldName(column) }) {
			continue
		}
		for _, part := range x.Parts {
			if c := t.Column(part.Column); c != nil && c.Protected != nil && c.Protected.PlaintextUnique {
				return sealable(c.Protected)
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
