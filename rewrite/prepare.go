package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// Preparation is what brings a table with rows into the mixed state, in which its columns hold what they held, as bytes, until
// each row is converted.
type Preparation struct {
	Database, Table string
	// Statements are run in this order, on one session and under `LOCK TABLES ... WRITE`, so that nobody writes between them.
	// None loses a value. After a failure the schema is read again, and Preparations says what is left to do. Empty when
	// nothing safe can be said.
	Statements []string
	// Notes say why not, or what the statements do that one might not expect. They hold no line breaks.
	Notes []string
}

// Locked gives the statements as a whole: the table is locked before them and unlocked behind. Nothing when there are none.
func (p *Preparation) Locked() []string {
	if len(p.Statements) == 0 {
		return nil
	}
	lock := "LOCK TABLES " + quoteName(p.Database) + "." + quoteName(p.Table) + " WRITE"
	return slices.Concat([]string{lock}, p.Statements, []string{"UNLOCK TABLES"})
}

// plainMark is the length in bytes of the mark of plaintext (docs/format.md, kind p).
const plainMark = 4

// unfinishedDefault is the DEFAULT of a column whose plaintext is not marked yet. It is the conflict `default-differs`, so that
// nothing touches the column before.
const unfinishedDefault = "'latchkey prepare'"

// prepareMode is that of the statements: nothing is cut or padded, no date is refused, and points in time are in UTC.
const prepareMode = "SET STATEMENT sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION',time_zone='+00:00' FOR "

// Preparations gives what brings the tables of a schema, which went through Protect, into the mixed state: those that have a
// column with `plaintext: accept` that does not hold bytes yet. A table that is prepared gives nothing. Beside what Alters says,
// columns whose values MariaDB would not print without loss become another type first, plaintext that would be taken for a
// cell or for the declared default is marked, and no column in the mixed state gets a guard CHECK.
func Preparations(s *Schema, p *Policy, o AlterOptions) []Preparation {
	var all []Preparation
	for _, t := range s.tables() {
		if !t.Protects || t.Kind == View {
			continue
		}
		a := alteration{schema: s, table: t, policy: p.Table(t.Database, t.Name, s.LowerCaseTableNames), o: o, mixes: true,
			annotations: map[*Column]string{}}
		columns := a.unprepared()
		if len(columns) == 0 {
			continue
		}
		a.run()
		if slices.ContainsFunc(t.Triggers, func(r *Routine) bool { return strings.EqualFold(r.Event, "UPDATE") || r.Unreadable }) {
			a.block("%s: plaintext is marked by an UPDATE, for which the table has a trigger: drop the trigger while the table is prepared", t)
		}
		r := Preparation{Database: t.Database, Table: t.Name}
		if !a.blocked {
			r.Statements = a.preparation(columns)
			a.notes = append(a.notes, a.dropped...)
		}
		for _, note := range a.notes {
			r.Notes = append(r.Notes, oneLine(note))
		}
		all = append(all, r)
	}
	return all
}

// unprepared gives the columns that are to hold plaintext and do not hold bytes yet, or hold plaintext that is not marked.
func (a *alteration) unprepared() []*Column {
	var columns []*Column
	for _, c := range a.table.Columns {
		if p := c.Protected; p == nil || !p.Plaintext {
			continue
		}
		if _, binary := c.capacity(); !binary || a.unfinished(c) || c.Protected.Conflict != nil && !IsAnnotation(c.Comment) {
			columns = append(columns, c)
		}
	}
	return columns
}

// unfinished reports whether a column holds bytes of which the plaintext is not marked.
func (a *alteration) unfinished(c *Column) bool {
	return IsAnnotation(c.Comment) && c.HasDefault && c.Default == unfinishedDefault
}

// unfinishedAttributes are physicalAttributes of a column whose plaintext is not marked.
func unfinishedAttributes(declared *logical.Type, invisible bool) string {
	null := " NOT NULL"
	if declared.Nullable {
		null = " NULL"
	}
	null += " DEFAULT " + unfinishedDefault
	if invisible {
		null += " INVISIBLE"
	}
	return null
}

// preparation gives the statements for a table whose clauses are known.
func (a *alteration) preparation(columns []*Column) []string {
	name := quoteName(a.table.Database) + "." + quoteName(a.table.Name)
	alter := func(clauses []string) string {
		return prepareMode + "ALTER TABLE " + name + "\n  " + strings.Join(clauses, ",\n  ")
	}
	var first, marks, where, last []string
	for _, c := range columns {
		declared := a.declare(c)
		if clause := a.intermediate(c, declared); clause != "" {
			first = append(first, clause)
		}
		condition := a.unmarked(c, declared)
		quoted := quoteName(c.Name)
		marks = append(marks, fmt.Sprintf("%[1]s=IF(%[2]s,CONCAT(x'FF4C4B70',%[1]s),%[1]s)", quoted, condition))
		where = append(where, condition)
		last = append(last, "ALTER COLUMN "+quoted+finishedDefault(declared))
	}
	for _, c := range a.table.Columns {
		if c.OnUpdate {
			marks = append(marks, quoteName(c.Name)+"="+quoteName(c.Name))
		}
	}
	var statements []string
	for _, clauses := range [][]string{first, a.clauses} {
		if len(clauses) > 0 {
			statements = append(statements, alter(clauses))
		}
	}
	return append(statements, prepareMode+"UPDATE "+name+" SET "+strings.Join(marks, ",")+" WHERE "+strings.Join(where, " OR "), alter(last))
}

// intermediate is the clause that makes a column what its type has to become first; empty when it is that already, or needs
// none. The annotation comes along: it alone tells what the column was when the next statement fails.
func (a *alteration) intermediate(c *Column, declared *logical.Type) string {
	annotation, changes := a.annotations[c]
	by := declared.Intermediate()
	if !changes || by == "" || IsAnnotation(c.Comment) {
		return ""
	}
	null := " NOT NULL"
	if declared.Nullable {
		null = " NULL"
	}
	return "MODIFY COLUMN " + quoteName(c.Name) + " " + by + null + " COMMENT " + quoteText(annotation)
}

// unmarked is the condition for plaintext of a column that has to be marked: what begins like a cell, and the empty value where
// that stands for another one. Where the statements are run a second time, what bears the mark has it from the first.
func (a *alteration) unmarked(c *Column, declared *logical.Type) string {
	quoted := quoteName(c.Name)
	condition := fmt.Sprintf("%[1]s>=x'FF4C4B' AND %[1]s<x'FF4C4C'", quoted)
	if a.unfinished(c) {
		condition = fmt.Sprintf("(%[1]s>=x'FF4C4B' AND %[1]s<x'FF4C4B70' OR %[1]s>=x'FF4C4B71' AND %[1]s<x'FF4C4C')", quoted)
	}
	if declared.HasDefault && len(declared.Default) > 0 {
		condition += " OR " + quoted + "=x''"
	}
	return condition
}

// finishedDefault is the end of the clause that gives a prepared column the DEFAULT of its physical type.
func finishedDefault(declared *logical.Type) string {
	switch {
	case declared.HasDefault:
		return " SET DEFAULT ''"
	case declared.Nullable:
		return " SET DEFAULT NULL"
	}
	return " DROP DEFAULT"
}
