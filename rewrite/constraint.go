package rewrite

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// annotationCheck begins the declared expression in the annotation of a CHECK constraint.
const annotationCheck = "check="

// Constraint is a CHECK constraint over protected columns, as the application declared it. The backend keeps it under its
// name and never evaluates it: CHECK ('latchkey:v1 context=.. check=.. mac=..' is not null or (expression)). What is written
// is held against it before it is sealed.
type Constraint struct {
	// Name is that of the constraint, or of the column where OfColumn is set.
	Name     string
	OfColumn bool
	// Expression is SQL without modes: names in backticks, strings in single quotes with backslash escapes, UTF-8.
	Expression string
	// Columns are the columns that it names, in the case of the table.
	Columns []string
}

// checkAnnotation is the text in front of a kept CHECK: context is that of one of the protected columns it names.
type checkAnnotation struct {
	context, expression string
	mac                 []byte
}

func (a checkAnnotation) body() string {
	// Without quotes in it the text is a literal that reads the same wherever it is printed.
	return annotationMark + annotationVersion + annotationContext + escapeQuotes(escapeAnnotation(a.context, true)) + " " + annotationCheck +
		escapeQuotes(escapeAnnotation(a.expression, false))
}

func (a checkAnnotation) String() string { return a.body() + annotationMAC + hex.EncodeToString(a.mac) }

func escapeQuotes(s string) string { return strings.ReplaceAll(s, "'", "%27") }

func unescapeQuotes(s string) (string, bool) {
	return strings.ReplaceAll(s, "%27", "'"), !strings.Contains(s, "'")
}

// checkMark stands between the annotation of a kept CHECK and its expression, as MariaDB prints it.
const checkMark = "' is not null or "

// splitGuard splits the CHECK of a column that holds both its guard and a CHECK of the application's: (guard) and (kept). A
// clause that is not made so is all guard.
func splitGuard(clause string) (guard, kept string) {
	const between = ") and ("
	at := strings.Index(clause, between+"'"+annotationMark)
	if at < 0 || clause[0] != '(' || !strings.HasSuffix(clause, ")") {
		return clause, ""
	}
	return clause[1:at], clause[at+len(between) : len(clause)-1]
}

// cutKeptCheck splits the clause of a kept CHECK, as information_schema prints it, into annotation and expression.
func cutKeptCheck(clause string) (annotation, expression string, ok bool) {
	if _, kept := splitGuard(clause); kept != "" {
		clause = kept
	}
	rest, ok := strings.CutPrefix(clause, "'"+annotationMark)
	if !ok {
		return "", "", false
	}
	annotation, expression, ok = strings.Cut(rest, checkMark)
	return annotationMark + annotation, expression, ok
}

// isKeptCheck tells whether a CHECK is one of the application's over protected columns, which the backend does not evaluate.
func isKeptCheck(check CheckConstraint) bool {
	_, _, ok := cutKeptCheck(check.Clause)
	return ok
}

func parseCheckAnnotation(text string) (a checkAnnotation, ok bool) {
	rest, ok := strings.CutPrefix(text, annotationMark+annotationVersion+annotationContext)
	if !ok {
		return a, false
	}
	end := strings.LastIndex(rest, annotationMAC)
	if end < 0 {
		return a, false
	}
	mac, err := hex.DecodeString(rest[end+len(annotationMAC):])
	if err != nil || len(mac) == 0 || len(mac) > maxAnnotationMAC {
		return a, false
	}
	context, expression, ok := strings.Cut(rest[:end], " "+annotationCheck)
	if !ok {
		return a, false
	}
	a.mac = mac
	for _, part := range []struct {
		text    string
		context bool
		into    *string
	}{{context, true, &a.context}, {expression, false, &a.expression}} {
		escaped, whole := unescapeQuotes(part.text)
		if !whole {
			return a, false
		}
		if *part.into, ok = unescapeAnnotation(escaped, part.context); !ok || *part.into == "" || !utf8.ValidString(*part.into) {
			return a, false
		}
	}
	return a, a.String() == text
}

// readConstraints takes the kept CHECKs of t. A protected column under one that is not authentic, or that names what the
// table does not have, gets a conflict: nothing is written past a CHECK.
func readConstraints(t *Table, verify func(body, mac []byte) bool) {
	for _, check := range t.Checks {
		text, shown, kept := cutKeptCheck(check.Clause)
		if !kept {
			continue
		}
		constraint, ok := readConstraint(t, check, text, verify)
		if ok {
			t.Constraints = append(t.Constraints, constraint)
			continue
		}
		names, readable := identifiers(shown, 0)
		for _, c := range t.Columns {
			if c.Protected != nil && c.Protected.Conflict == nil && (!readable || names[FoldName(c.Name)] || check.OfColumn && FoldName(check.Name) == FoldName(c.Name)) {
				c.Protected.Conflict = conflictCheck.refusal(c.Protected)
			}
		}
	}
}

func readConstraint(t *Table, check CheckConstraint, text string, verify func(body, mac []byte) bool) (Constraint, bool) {
	a, ok := parseCheckAnnotation(text)
	if !ok || verify == nil || !verify([]byte(a.body()), a.mac) {
		return Constraint{}, false
	}
	columns, ok := constraintColumns(t, a.expression)
	over := columns
	if check.OfColumn && !slices.Contains(columns, check.Name) {
		over = append(slices.Clip(columns), check.Name)
	}
	if !ok || !slices.ContainsFunc(over, func(name string) bool {
		c := t.Column(name)
		return c != nil && c.Protected != nil && c.Protected.Context == a.context
	}) {
		return Constraint{}, false
	}
	return Constraint{Name: check.Name, OfColumn: check.OfColumn, Expression: a.expression, Columns: columns}, true
}

// constraintColumns gives the columns of t that an expression names. Kept expressions have names in backticks and words
// bare, so every quoted name must be a column.
func constraintColumns(t *Table, expression string) ([]string, bool) {
	var st Statement
	if st.Scan([]byte(expression), &Facts{Charset: CharsetUTF8MB4}) != nil {
		return nil, false
	}
	var columns []string
	for i := range st.Len() {
		if st.Token(i).Kind != TokQuoted {
			continue
		}
		c := t.Column(st.Name(i))
		if c == nil {
			return nil, false
		}
		if !slices.Contains(columns, c.Name) {
			columns = append(columns, c.Name)
		}
	}
	return columns, true
}
