package rewrite

import (
	"fmt"
	"strings"
	"time"

	"latchkey/rewrite/logical"
)

// EvaluatorDefinition gives what stands behind the name in the CREATE TABLE of the evaluator for a table or view: its columns with
// their declared types and what a column definition says of them, without constraints, partitions, comments and whatever else
// needs InnoDB or computes values. Generated columns are ordinary ones there. prots has, for a view, the protected column
// behind each column, nil for the others; it is nil for a table. loaded are the columns that rows are loaded with; nil means an
// empty table for column definitions, whose flags need the indexes, which loading would pay for. The text is UTF-8 and reads the same in every sql_mode but
// ANSI_QUOTES and NO_BACKSLASH_ESCAPES. The error is the Refusal of a column with a conflict.
func EvaluatorDefinition(t *Table, prots []*Protected, loaded []LoadColumn) (string, error) {
	use := make(map[string]columnUse, len(loaded))
	for _, c := range loaded {
		use[c.Name] = columnLoaded
	}
	var elements []string
	for i, c := range t.Columns {
		prot := c.Protected
		if prots != nil {
			prot = prots[i]
		}
		used := use[c.Name]
		if loaded == nil {
			used = columnDescribed
		}
		var definition string
		var err error
		if prot == nil {
			definition = t.evaluatorColumn(c, used)
		} else if definition, err = protectedColumn(c, prot, used); err != nil {
			return "", err
		}
		elements = append(elements, quoteName(c.Name)+" "+definition)
	}
	if loaded == nil {
		elements = append(elements, t.evaluatorKeys()...)
	}
	return "(" + strings.Join(elements, ",") + ") ENGINE=Aria TRANSACTIONAL=0", nil
}

// columnUse is what a column of an evaluator's table is for.
type columnUse uint8

const (
	columnUnused columnUse = iota // omitted by the rows that are loaded: it must have some default
	columnLoaded
	columnDescribed // of an empty table: only its definition counts
)

// protectedColumn defines a column as it was declared.
func protectedColumn(c *Column, prot *Protected, use columnUse) (string, error) {
	if prot.Conflict != nil {
		return "", prot.Conflict
	}
	declared := *prot.Type
	declared.Comment = ""
	// A cell that is locked can read as NULL by the policy.
	declared.Nullable = declared.Nullable || use == columnUnused || use == columnLoaded && prot.Locked.Mode == LockedNull
	definition, err := declared.ColumnDeclaration(c.Name, "", c.Invisible && (declared.Nullable || declared.HasDefault), &logical.Session{TimeZone: time.UTC})
	if err != nil {
		return "", fmt.Errorf("declare a column: %w", err)
	}
	return definition, nil
}

// evaluatorColumn defines a plain column.
func (t *Table) evaluatorColumn(c *Column, use columnUse) string {
	var b strings.Builder
	b.WriteString(c.ColumnType)
	if c.Charset != "" {
		b.WriteString(" CHARACTER SET " + c.Charset + " COLLATE " + c.Collation)
	}
	def, literal := c.evaluatorDefault()
	switch {
	case use != columnUnused && !c.Nullable && (!c.Invisible || literal):
		b.WriteString(" NOT NULL")
	case c.DataType == "timestamp":
		b.WriteString(" NULL")
	}
	if c.Invisible {
		b.WriteString(" INVISIBLE")
	}
	if literal {
		b.WriteString(" DEFAULT " + def)
	}
	if c.OnUpdate {
		b.WriteString(" ON UPDATE " + currentTimestamp(c))
	}
	for _, check := range t.Checks {
		// MariaDB knows by this CHECK that a column holds JSON, and then nests it in JSON functions.
		if check.OfColumn && check.Name == c.Name && isJSONCheck(check, c.Name) {
			b.WriteString(" CHECK (json_valid(" + quoteName(c.Name) + "))")
		}
	}
	return b.String()
}

// evaluatorDefault gives the default of a plain column if it is a literal or the present time: others compute.
func (c *Column) evaluatorDefault() (text string, ok bool) {
	if !c.HasDefault || c.Generated || c.Default == "" {
		return "", false
	}
	if strings.HasPrefix(c.Default, "current_timestamp") {
		return currentTimestamp(c), true
	}
	var st Statement
	if st.Scan([]byte(c.Default), &Facts{Charset: CharsetUTF8MB4, ServerVersion: maxVersion}) != nil {
		return "", false
	}
	n := 0
	if st.IsOp(0, OpMinus) {
		n = 1
	}
	if st.Len() != n+1 || !st.Token(n).Kind.IsLiteral() {
		return "", false
	}
	return c.Default, true
}

// currentTimestamp is the present time with as many digits as the column has.
func currentTimestamp(c *Column) string {
	_, digits, ok := strings.Cut(c.ColumnType, "(")
	if !ok {
		return "current_timestamp()"
	}
	return "current_timestamp(" + digits
}

// evaluatorKeys defines the indexes as they were declared.
func (t *Table) evaluatorKeys() []string {
	var keys []string
	for _, index := range t.Indexes {
		kind := "KEY " + quoteName(index.Name)
		if index.Unique {
			kind = "UNIQUE " + kind
		}
		prefixes := make([]int, len(index.Parts))
		for i, part := range index.Parts {
			prefixes[i] = part.Prefix
		}
		switch declared := t.DeclaredIndex(index); {
		case declared != nil && declared.Fulltext(), declared == nil && index.Kind != "BTREE" && index.Kind != "HASH":
			continue
		case declared != nil:
			kind, prefixes = declared.Kind+" "+quoteName(index.Name), declared.Prefixes
		case index.Name == primaryKey:
			kind = "PRIMARY KEY"
		}
		parts := make([]string, len(index.Parts))
		for i, part := range index.Parts {
			parts[i] = quoteName(part.Column)
			if prefixes[i] > 0 {
				parts[i] += fmt.Sprintf("(%d)", prefixes[i])
			}
		}
		keys = append(keys, kind+" ("+strings.Join(parts, ",")+")")
	}
	return keys
}
