package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// ErrTableChanged says that the text of SHOW CREATE TABLE is not of the table that the snapshot has: the schema has to be
// read again.
var ErrTableChanged = errors.New("the table is not as the schema snapshot has it")

// errTableText says that the text of SHOW CREATE TABLE is not understood.
var errTableText = errors.New("the text of SHOW CREATE TABLE is not understood")

// LogicalTable turns what SHOW CREATE TABLE prints on the backend for a table with protected columns into what it would
// print had the application's own CREATE TABLE run: columns, indexes, CHECK constraints and comments as they were declared,
// everything else as it is. show is UTF-8, printed under mode; s gives the time zone of TIMESTAMP defaults. The error is
// ErrTableChanged, the Refusal of a column with a conflict, or says that the text is not understood.
func LogicalTable(t *Table, show string, mode SQLMode, s *logical.Session) (string, error) {
	text, err := readTableText(t, show, mode)
	if err != nil {
		return "", err
	}
	var elements, fulltext []string
	for i := range text.elements {
		e := &text.elements[i]
		shown := e.text
		switch e.kind {
		case columnElement:
			shown, err = text.column(e, s)
		case indexElement:
			if shown, err = text.index(e); err == nil && strings.HasPrefix(shown, "FULLTEXT ") {
				// MariaDB keeps FULLTEXT indexes behind the others, and so shows them.
				fulltext = append(fulltext, shown)
				continue
			}
		case constraintElement:
			if text.isGuard(e) {
				continue
			}
			shown = text.unkept(e)
		}
		if err != nil {
			return "", err
		}
		if e.kind == constraintElement {
			elements, fulltext = append(elements, fulltext...), nil
		}
		elements = append(elements, shown)
	}
	elements = append(elements, fulltext...)
	return text.head + "(\n  " + strings.Join(elements, ",\n  ") + "\n)" + text.tail, nil
}

type elementKind uint8

const (
	otherElement elementKind = iota // PRIMARY KEY, PERIOD FOR
	columnElement
	indexElement
	constraintElement
)

// tableElement is one column, index or constraint of a CREATE TABLE text.
type tableElement struct {
	kind elementKind
	// text is the element without the white space around it; from and to are its first and last token.
	text     string
	from, to int
	start    int // byte offset of text
}

// tableText is the text of SHOW CREATE TABLE, taken apart.
type tableText struct {
	table      *Table
	st         Statement
	head, tail string
	elements   []tableElement
	// collation is the table's default.
	collation string
}

func readTableText(t *Table, show string, mode SQLMode) (*tableText, error) {
	x := &tableText{table: t}
	for _, c := range t.Columns {
		if c.Protected != nil && c.Protected.Conflict != nil {
			return nil, c.Protected.Conflict
		}
	}
	st := &x.st
	if err := st.Scan([]byte(show), &Facts{Charset: CharsetUTF8MB4, Mode: mode, ServerVersion: maxVersion}); err != nil {
		return nil, errTableText
	}
	open := 0
	for open < st.Len() && !st.IsOp(open, OpLeftParen) {
		open++
	}
	end := st.Match(open)
	if !st.Is(0, KwCreate) || end < 0 {
		return nil, errTableText
	}
	x.head, x.tail = show[:st.Token(open).Start], show[st.Token(end).End:]
	from := open + 1
	for i := open + 1; i <= end; i++ {
		if st.IsOp(i, OpLeftParen) {
			if i = st.Match(i); i < 0 {
				return nil, errTableText
			}
			continue
		}
		if i < end && !st.IsOp(i, OpComma) {
			continue
		}
		if i == from {
			return nil, errTableText
		}
		x.add(from, i-1, int(st.Token(from-1).End), int(st.Token(i).Start))
		from = i + 1
	}
	x.readCollation(end)
	return x, x.complete()
}

// maxVersion makes the scanner take every executable comment that a server prints for one that it executes.
const maxVersion = 999999

func (x *tableText) add(from, to, start, end int) {
	raw := x.st.SQL()[start:end]
	text := bytes.TrimSpace(raw)
	e := tableElement{text: string(text), from: from, to: to, start: start + bytes.Index(raw, text)}
	switch {
	case x.st.Token(from).Kind == TokQuoted:
		e.kind = columnElement
	case x.st.Is(from, KwConstraint):
		e.kind = constraintElement
	case x.st.Is(from, KwKey), x.st.Is(from, KwUnique), x.st.Is(from, KwFulltext), x.st.Is(from, KwSpatial):
		e.kind = indexElement
	}
	x.elements = append(x.elements, e)
}

// readCollation finds the default collation of the table among its options, which begin behind token end.
func (x *tableText) readCollation(end int) {
	x.collation = x.table.Collation
	for i := end + 1; i < x.st.Len(); i++ {
		if x.st.IsOp(i, OpLeftParen) {
			i = max(i, x.st.Match(i))
			continue
		}
		if !x.st.IsOp(i+1, OpEq) {
			continue
		}
		switch name := strings.ToLower(x.st.Name(i + 2)); {
		case x.st.Is(i, KwCharset):
			if collation, err := logical.DefaultCollation(name); err == nil {
				x.collation = collation
			}
		case x.st.Is(i, KwCollate):
			if collation, _, err := logical.ResolveCollation(name, ""); err == nil {
				x.collation = collation
			}
		}
	}
}

// complete holds the columns of the text against those of the snapshot.
func (x *tableText) complete() error {
	n := 0
	for i := range x.elements {
		e := &x.elements[i]
		if e.kind != columnElement {
			continue
		}
		if n >= len(x.table.Columns) || x.table.Columns[n].Name != x.st.Name(e.from) {
			return ErrTableChanged
		}
		n++
	}
	if n != len(x.table.Columns) {
		return ErrTableChanged
	}
	return nil
}

func (x *tableText) columnOf(e *tableElement) (*Column, error) {
	c := x.table.Column(x.st.Name(e.from))
	if c == nil || c.Protected != nil && x.comment(e) != c.Comment {
		return nil, ErrTableChanged
	}
	return c, nil
}

// comment gives the COMMENT of an element.
func (x *tableText) comment(e *tableElement) string {
	for i := e.from; i < e.to; i++ {
		if x.st.IsOp(i, OpLeftParen) {
			i = max(i, x.st.Match(i))
		} else if x.st.Is(i, KwComment) && x.st.Token(i+1).Kind == TokString {
			if lit, err := x.st.Literal(i + 1); err == nil {
				return string(lit.Bytes)
			}
		}
	}
	return ""
}

// column shows a column; a protected one as it was declared.
func (x *tableText) column(e *tableElement, s *logical.Session) (string, error) {
	c, err := x.columnOf(e)
	if err != nil || c.Protected == nil {
		return e.text, err
	}
	declared := *c.Protected.Type
	if !IsAnnotation(c.Comment) {
		declared.Comment = c.Comment
	}
	definition, err := declared.ColumnDeclaration(c.Name, x.collation, c.Invisible, s)
	if err != nil {
		return "", fmt.Errorf("show column: %w", err)
	}
	name := string(x.st.Text(e.from))
	if bare, ok := strings.CutSuffix(definition, "json_valid("+quoteName(c.Name)+"))"); ok {
		definition = bare + "json_valid(" + name + "))" // in the quotes of the session
	}
	if check := x.keptCheck(e); check != "" {
		definition += " CHECK (" + check + ")"
	}
	return name + " " + definition, nil
}

// keptCheck gives the expression of a CHECK of the application's in an element, empty when it has none.
func (x *tableText) keptCheck(e *tableElement) string {
	for i := e.from; i <= e.to; i++ {
		if x.st.Is(i, KwCheck) && x.st.IsOp(i+1, OpLeftParen) {
			if from, to := x.keptExpression(i + 1); from > 0 {
				return string(x.st.SQL()[from:to])
			}
		}
		if x.st.IsOp(i, OpLeftParen) {
			i = max(i, x.st.Match(i))
		}
	}
	return ""
}

// keptExpression gives the bytes of the application's expression in the parenthesis of a kept CHECK at token i, which may
// stand behind a guard; 0, 0 for another CHECK.
func (x *tableText) keptExpression(i int) (from, to int) {
	if guard := x.st.Match(i + 1); x.st.IsOp(i+1, OpLeftParen) && x.st.Is(guard+1, KwAnd) && x.st.IsOp(guard+2, OpLeftParen) {
		i = guard + 2
	}
	st, end := &x.st, x.st.Match(i)
	if end < 0 || st.Token(i+1).Kind != TokString || !st.Is(i+2, KwIs) || !st.Is(i+3, KwNot) || !st.Is(i+4, KwNull) || !st.Is(i+5, KwOr) || i+6 >= end {
		return 0, 0
	}
	lit, err := st.Literal(i + 1)
	if err != nil || !strings.HasPrefix(string(lit.Bytes), annotationMark) {
		return 0, 0
	}
	return int(st.Token(i + 6).Start), int(st.Token(end).Start)
}

// isGuard reports whether a constraint is the guard of a protected column.
func (x *tableText) isGuard(e *tableElement) bool {
	name := x.st.Name(e.from + 1)
	for _, check := range x.table.Checks {
		if check.OfColumn || check.Name != name || !x.st.Is(e.from+2, KwCheck) || isKeptCheck(check) {
			continue
		}
		for _, c := range x.table.Columns {
			if c.Protected != nil && isGuard(check, c.Name) {
				return true
			}
		}
	}
	return false
}

// unkept shows a constraint without what keeps the backend from evaluating it.
func (x *tableText) unkept(e *tableElement) string {
	if !x.st.Is(e.from+2, KwCheck) {
		return e.text
	}
	from, to := x.keptExpression(e.from + 3)
	if from == 0 {
		return e.text
	}
	start, end := int(x.st.Token(e.from+3).End), int(x.st.Token(x.st.Match(e.from+3)).Start)
	return e.text[:start-e.start] + string(x.st.SQL()[from:to]) + e.text[end-e.start:]
}

// index shows an index; one over protected columns as it was declared.
func (x *tableText) index(e *tableElement) (string, error) {
	st := &x.st
	open := e.from
	for open < e.to && !st.IsOp(open, OpLeftParen) {
		open++
	}
	end := st.Match(open)
	if end < 0 {
		return "", errTableText
	}
	name := st.Name(open - 1)
	at := slices.IndexFunc(x.table.Indexes, func(index *Index) bool { return FoldName(index.Name) == FoldName(name) })
	if at < 0 {
		return "", ErrTableChanged
	}
	index := x.table.Indexes[at]
	if index.Comment != x.comment(e) {
		return "", ErrTableChanged
	}
	declared := x.table.DeclaredIndex(index)
	if declared == nil {
		return e.text, nil
	}
	parts, err := x.parts(open, end, declared)
	if err != nil {
		return "", err
	}
	return declared.Kind + " " + string(st.Text(open-1)) + " (" + strings.Join(parts, ",") + ")" + declared.Options, nil
}

// parts shows the parts of an index with their declared lengths.
func (x *tableText) parts(open, end int, declared *DeclaredIndex) ([]string, error) {
	var parts []string
	for i := open + 1; i < end; i++ {
		if len(parts) == len(declared.Prefixes) {
			return nil, ErrTableChanged
		}
		part := string(x.st.Text(i))
		if n := declared.Prefixes[len(parts)]; n > 0 {
			part += fmt.Sprintf("(%d)", n)
		}
		if x.st.IsOp(i+1, OpLeftParen) {
			i = x.st.Match(i + 1)
		}
		if x.st.Is(i+1, KwDesc) {
			i++
			if !declared.Fulltext() {
				part += " DESC"
			}
		}
		if i++; i < end && !x.st.IsOp(i, OpComma) {
			return nil, errTableText
		}
		parts = append(parts, part)
	}
	if len(parts) != len(declared.Prefixes) {
		return nil, ErrTableChanged
	}
	return parts, nil
}
