package rewrite

import "slices"

// AwayTable is a table of which a statement searches columns that may hold cells of kind a. Those have no search tag: what
// the unlocked owners have of them is sealed anew before the statement runs, or named in it.
type AwayTable struct {
	// Name is SQL for the table, with its database.
	Name string
	// Searched are the columns of the table that the statement searches, Columns all that may hold cells of kind a.
	Searched, Columns []*Protected
	// Owner is the owner column.
	Owner AwayColumn
	// Key are the columns of a primary or unique key without NULL; empty when the table has none that can be read back.
	Key []AwayColumn
	// Kept is SQL for the columns that an UPDATE would change by itself.
	Kept []string
	// Fixed says that nothing may be written to the table on the side: it has triggers that see it.
	Fixed bool
}

// AwayColumn is a plain column by whose value rows are found again.
type AwayColumn struct {
	// Name is SQL for the column, Text for its value as bytes of UTF-8, or as it is when Binary is set.
	Name, Text string
	// Integer says that the value is digits with or without a sign.
	Integer, Binary bool
}

// away notes the tables of which the plan searches columns that may hold cells of kind a.
func (b *builder) away() error {
	for i := range b.edits {
		for k := range b.edits[i].Pieces {
			p := &b.edits[i].Pieces[k]
			if p.Kind != PieceRange || !p.Column.Away {
				continue
			}
			if err := b.searchesAway(p.Column); err != nil {
				return err
			}
		}
	}
	if len(b.plan.Away) > 0 {
		b.plan.AwayLocks = b.plan.Kind != "SELECT" && b.plan.Kind != "WITH" || hasKeyword(b.st, KwFor) || hasKeyword(b.st, KwLock)
	}
	return nil
}

func (b *builder) searchesAway(p *Protected) error {
	t := b.p.schema.Table(p.Database, p.Table)
	if t == nil {
		return notUnderstood("the table of a protected column is not known", "")
	}
	name := quoteName(t.Database) + "." + quoteName(t.Name)
	for _, known := range b.plan.Away {
		if known.Name != name {
			continue
		}
		if !slices.Contains(known.Searched, p) {
			known.Searched = append(known.Searched, p)
		}
		return nil
	}
	a := &AwayTable{Name: name, Searched: []*Protected{p}, Key: awayKey(t)}
	ascii := asciiName(name)
	for _, c := range t.Columns {
		if c.OnUpdate {
			a.Kept = append(a.Kept, quoteName(c.Name))
		}
		if c.Protected != nil && c.Protected.Away {
			a.Columns = append(a.Columns, c.Protected)
		}
		ascii = ascii && asciiName(c.Name)
	}
	owner := t.Column(p.Owner)
	if !ascii || owner == nil {
		return notPossible(p, "a search where cells of absent owners may be, in a table with names that are not ASCII", "rename them, or search another column")
	}
	a.Owner = awayColumn(owner)
	for _, r := range t.Triggers {
		a.Fixed = a.Fixed || r.Event == "UPDATE" || r.Unreadable
	}
	b.plan.Away = append(b.plan.Away, a)
	return nil
}

func awayColumn(c *Column) AwayColumn {
	name := quoteName(c.Name)
	return AwayColumn{Name: name, Text: OwnerText(c, name), Integer: isInteger(c.DataType), Binary: c.DataType == "varbinary"}
}

// awayKey finds a key by which each row is found again.
func awayKey(t *Table) []AwayColumn {
	var best []AwayColumn
	for _, x := range t.Indexes {
		var key []AwayColumn
		for _, part := range x.Parts {
			c := t.Column(part.Column)
			if !x.Unique || c == nil || c.Nullable || c.Protected != nil || part.Prefix > 0 || awayColumn(c).Text == "" {
				key = nil
				break
			}
			key = append(key, awayColumn(c))
		}
		if key != nil && (best == nil || x.Name == primaryKey) {
			best = key
		}
	}
	return best
}
