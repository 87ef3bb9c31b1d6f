package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/rewrite/logical"
)

// Restore gives the passages that turn the columns which the policy names with `plaintext: accept`, and which hold no cells any
// more, back into ones of their declared types. Tables without any give none. The schema went through Protect.
func Restore(s *Schema, p *Policy, o AlterOptions) []*Passage {
	var all []*Passage
	for _, t := range s.tables() {
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		if !t.Protects || t.Kind == View || tp == nil {
			continue
		}
		a := alteration{schema: s, table: t, policy: tp, o: o}
		pass := a.restore()
		if len(pass.Names)+len(pass.Blocked) > 0 {
			all = append(all, pass)
		}
	}
	return all
}

// restore plans the way back of one table.
func (a *alteration) restore() *Passage {
	pass := &Passage{Table: a.table, NoCells: true}
	var leaves, steps []string
	var later [][]string
	for _, c := range a.table.Columns {
		cp := a.policy.Column(c.Name)
		annotation := underway(c.Comment, annotationRestoring)
		pending := annotation != ""
		if c.Protected == nil || cp == nil || !cp.PlaintextAccept || !pending && (c.Protected.Conflict != nil || !IsAnnotation(c.Comment)) {
			continue
		}
		if !pending {
			annotation = c.Comment
		}
		declared := a.pending(c, annotation)
		if declared == nil {
			a.block("%s: the annotation that it had does not verify; restore the table from a backup", c.Protected)
			continue
		}
		ready := *c.Protected
		ready.Type, ready.Conflict = declared, nil
		if parsed, err := ParseAnnotation(annotation); err == nil && parsed.HasEmpty {
			ready.HasOnEmpty, ready.OnEmpty = true, parsed.Empty
		} else {
			ready.HasOnEmpty, ready.OnEmpty = declared.HasDefault, declared.Default
		}
		pass.Names = append(pass.Names, ready.String())
		pass.Begun = pass.Begun || pending
		pass.Columns = append(pass.Columns, PassageColumn{Name: quoteName(c.Name), Type: declared, Protected: &ready})
		first, rest := a.wayBack(c, declared, annotation)
		steps = append(steps, first)
		for i, step := range rest {
			if i == len(later) {
				later = append(later, nil)
			}
			later[i] = append(later[i], step)
		}
		if !pending {
			leaves = append(leaves, "MODIFY COLUMN "+quoteName(c.Name)+" "+strings.ToUpper(c.ColumnType)+physicalAttributes(declared, c.Invisible)+
				" COMMENT "+quoteText(onItsWay(annotation, annotationRestoring)))
		}
		a.restorable(c)
	}
	if len(pass.Names) == 0 && !a.blocked {
		return pass
	}
	a.migratable(pass)
	drops, adds := a.declaredIndexes(pass)
	if a.blocked {
		return &Passage{Table: a.table, Blocked: oneLines(a.notes)}
	}
	if len(leaves) > 0 {
		pass.First = []string{a.alter(slices.Concat(leaves, a.ordinary(pass)))}
	}
	pass.Update = a.unmarkUpdate(pass)
	pass.Last = []string{a.alter(slices.Concat(drops, steps, adds))}
	for _, step := range later {
		pass.Last = append(pass.Last, a.alter(step))
	}
	return pass
}

// wayBack gives the clauses that make a column what it was declared: the first, and those of statements behind it.
func (a *alteration) wayBack(c *Column, declared *logical.Type, annotation string) (first string, rest []string) {
	name := "MODIFY COLUMN " + quoteName(c.Name) + " "
	null := " NOT NULL"
	if declared.Nullable {
		null = " NULL"
	}
	var all []string
	for _, step := range declared.WayBack() {
		all = append(all, name+step+null+" COMMENT "+quoteText(onItsWay(annotation, annotationRestoring)))
	}
	definition, err := declared.ColumnDeclaration(c.Name, "", c.Invisible, &logical.Session{TimeZone: time.UTC})
	if err != nil {
		a.block("%s: its declared type cannot be written down", c.Protected)
	}
	all = append(all, name+definition)
	return all[0], all[1:]
}

// restorable blocks what would be lost on the way back.
func (a *alteration) restorable(c *Column) {
	if a.table.guard(c.Name) != nil {
		a.block("%s: its CHECK lets nothing but cells in: run `latchkey migrate decrypt`", c.Protected)
	}
	for _, check := range a.table.Checks {
		if isKeptCheck(check) && namesColumn(check.Clause, 0, c.Name) {
			a.block("%s: the CHECK constraint %s names it: drop it, and add it again behind", c.Protected, quoteName(check.Name))
		}
	}
}

// declaredIndexes gives the clauses that drop the indexes over the columns of a passage and add those that were declared.
func (a *alteration) declaredIndexes(pass *Passage) (drops, adds []string) {
	for _, index := range a.table.Indexes {
		declared, ok := ParseDeclaredIndex(index.Comment)
		if !ok || len(declared.Prefixes) != len(index.Parts) || !slices.ContainsFunc(index.Parts, func(p IndexPart) bool { return pass.has(a.columnName(p.Column)) }) {
			continue
		}
		var parts []string
		for n, part := range index.Parts {
			c := a.table.Column(part.Column)
			if c != nil && c.Protected != nil && !pass.has(c.Name) {
				a.block("%s: the index %s is over other protected columns too: say `plaintext: accept` for all of them", a.table, quoteName(index.Name))
			}
			text := quoteName(part.Column)
			if length := declared.Prefixes[n]; length > 0 {
				text += fmt.Sprintf("(%d)", length)
			}
			if part.Descending && !declared.Fulltext() {
				text += " DESC"
			}
			parts = append(parts, text)
		}
		drops = append(drops, "DROP INDEX "+quoteName(index.Name))
		adds = append(adds, "ADD "+declared.Kind+" "+quoteName(index.Name)+" ("+strings.Join(parts, ", ")+")"+declared.Options)
	}
	return drops, adds
}

// ordinary gives the clauses that make ordinary keys of the UNIQUE ones over the columns of a passage: without marks, they would see too
// little of plaintext.
func (a *alteration) ordinary(pass *Passage) []string {
	var clauses []string
	for _, index := range a.table.Indexes {
		if !index.Unique || !slices.ContainsFunc(index.Parts, func(p IndexPart) bool { return pass.has(a.columnName(p.Column)) }) {
			continue
		}
		if add := a.coverTags(index, false); add != "" {
			clauses = append(clauses, "DROP INDEX "+quoteName(index.Name), "ADD "+add)
		}
	}
	return clauses
}

// has tells whether a column of this name, as the table has it, is one of the passage.
func (p *Passage) has(name string) bool {
	return slices.ContainsFunc(p.Columns, func(c PassageColumn) bool { return c.Name == quoteName(name) })
}

// columnName gives the name of a column as the table has it.
func (a *alteration) columnName(name string) string {
	if c := a.table.Column(name); c != nil {
		return c.Name
	}
	return name
}

// unmarkUpdate takes the marks off plaintext, and writes the declared default where an empty value stands for it.
func (a *alteration) unmarkUpdate(pass *Passage) string {
	var sets, where []string
	for _, c := range pass.Columns {
		value := fmt.Sprintf("CASE LEFT(%[1]s,4) WHEN %[2]s THEN SUBSTR(%[1]s,%[3]d) WHEN %[4]s THEN SUBSTR(%[1]s,%[5]d) ELSE %[1]s END",
			c.Name, PlainMark, plainMarkSize+1, PlainApartMark, TagPrefix+1)
		condition := "LEFT(" + c.Name + ",4) IN (" + PlainMark + "," + PlainApartMark + ")"
		if p := c.Protected; p.HasOnEmpty && (p.OnEmpty == nil || len(p.OnEmpty) > 0) {
			empty := "NULL"
			if p.OnEmpty != nil {
				plain, err := c.Type.Declassify([]byte{}, p.OnEmpty)
				if err != nil {
					a.block("%s: its declared default cannot be written down", p)
				}
				empty = fmt.Sprintf("x'%x'", plain)
			}
			value = "IF(" + c.Name + "=x''," + empty + "," + value + ")"
			condition += " OR " + c.Name + "=x''"
		}
		sets, where = append(sets, c.Name+"="+value), append(where, condition)
	}
	return pass.Migration.update(sets, where)
}
