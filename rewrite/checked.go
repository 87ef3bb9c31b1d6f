package rewrite

import "slices"

// Checked tells whether a CHECK constraint of the application's names the protected column.
func (t *Table) Checked(column string) bool {
	return slices.ContainsFunc(t.Constraints, func(c Constraint) bool { return slices.Contains(c.Columns, column) })
}

// GuardName is the name under which MariaDB's errors speak of the CHECK that lets only cells into a protected column; empty when
// the table has none for it.
func (t *Table) GuardName(column string) string {
	guard := t.guard(column)
	switch {
	case guard == nil:
		return ""
	case guard.OfColumn:
		return t.Name + "." + guard.Name
	}
	return guard.Name
}

// copyable refuses to copy a cell into a column under a CHECK constraint: the value is not known.
func copyable(t *Table, p *Protected) error {
	if err := sealableUnseen(p); err != nil {
		return err
	}
	if t != nil && t.Checked(p.Column) {
		return notPossible(p, "a copy of another cell under a CHECK constraint", "read the value and write it")
	}
	return nil
}

// mixes gives a constraint that names both the column, which is not protected, and protected ones; nil when there is none.
func (t *Table) mixes(column string) *Protected {
	for _, c := range t.Constraints {
		if !slices.ContainsFunc(c.Columns, func(name string) bool { return FoldName(name) == FoldName(column) }) {
			continue
		}
		for _, name := range c.Columns {
			if p := t.Column(name); p != nil && p.Protected != nil {
				return p.Protected
			}
		}
	}
	return nil
}
