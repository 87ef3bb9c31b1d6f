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
// empty table, which then has the indexes too. The text is UTF-8 and reads the same in every sql_mode but ANSI_QUOTES and
// NO_BACKSLASH_ESCAPES. The error is the Refusal of a column with a conflict.
func EvaluatorDefinition(t *Table, prots []*Protected, loaded []LoadColumn) (string, error) {
	text, _, err := evaluatorDefinition(t, prots, loaded, loaded == nil, nil)
	return text, err
}

// EvaluatorSource is EvaluatorDefinition for a table that a statement only reads, with indexes over what is loaded: column
// definitions have flags of them. plain says that some are not unique; keeping those while rows are loaded is not worth it.
func EvaluatorSource(t *Table, prots []*Protected, loaded []LoadColumn) (text string, plain bool, err error) {
	return evaluatorDefinition(t, prots, loaded, true, nil)
}

// evaluatorDefinition defines a table. left tells of columns to which the backend gives what the evaluator does not know; it may
// be nil.
func evaluatorDefinition(t *Table, prots []*Protected, loaded []LoadColumn, indexed bool, left func(*Column) bool) (text string, plain bool, err error) {
	use := make(map[string]columnUse, len(loaded))
	for _, c := range loaded {
		use[c.Name] = columnLoaded
	}
	var elements []string
	var keys []string
	counting := ""
	if indexed && prots == nil {
		keys, plain, counting = t.evaluatorKeys(use, loaded == nil)
	}
	for i, c := range t.Columns {
		prot := c.Protected
		if prots != nil {
			prot = prots[i]
		}
		used := use[c.Name]
		if loaded == nil {
			used = columnDescribed
		}
		if left != nil && left(c) {
			used = columnUnused
		}
		var definition string
		if prot == nil {
			definition = t.evaluatorColumn(c, used, c.AutoIncrement && c.Name == counting)
		} else if definition, err = protectedColumn(c, prot, used); err != nil {
			return "", false, err
		}
		elements = append(elements, quoteName(c.Name)+" "+definition)
	}
	elements = append(elements, keys...)
	return "(" + strings.Join(elements, ",") + ") ENGINE=Aria TRANSACTIONAL=0", plain, nil
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
	if use != columnDescribed {
		declared.Comment = ""
	}
	// A cell that is locked can read as NULL by the policy.
	declared.Nullable = declared.Nullable || use == columnUnused || use == columnLoaded && prot.Locked.Mode == LockedNull
	definition, err := declared.ColumnDeclaration(c.Name, "", c.Invisible && (declared.Nullable || declared.HasDefault), &logical.Session{TimeZone: time.UTC})
	if err != nil {
		return "", fmt.Errorf("declare a column: %w", err)
	}
	return definition, nil
}

// evaluatorColumn defines a plain column.
func (t *Table) evaluatorColumn(c *Column, use columnUse, counting bool) string {
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
	if counting {
		b.WriteString(" AUTO_INCREMENT")
	}
	if c.OnUpdate {
		b.WriteString(" ON UPDATE " + currentTimestamp(c))
	}
	if use == columnDescribed && c.Comment != "" {
		b.WriteString(" COMMENT " + quoteText(c.Comment)) // which CREATE TABLE ... SELECT copies
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

// maxKeyBytes is the longest key that the evaluator's engine takes for certain: an index beyond it is left out.
const maxKeyBytes = 2000

// evaluatorKeys defines the indexes as they were declared, as far as the loaded columns allow; all says that every column
// counts as loaded. counting is the column that may be AUTO_INCREMENT, empty for none.
func (t *Table) evaluatorKeys(use map[string]columnUse, all bool) (keys []string, plain bool, counting string) {
	for _, index := range t.Indexes {
		declared := t.DeclaredIndex(index)
		if declared != nil && declared.Fulltext() || declared == nil && index.Kind != "BTREE" && index.Kind != "HASH" {
			continue
		}
		parts, loaded, guarded, bytes := make([]string, len(index.Parts)), 0, false, int64(0)
		for i, part := range index.Parts {
			c := t.Column(part.Column)
			if c == nil {
				continue
			}
			n := part.Prefix
			if declared != nil {
				n = declared.Prefixes[i]
			}
			parts[i] = quoteName(part.Column)
			if n > 0 {
				parts[i] += fmt.Sprintf("(%d)", n)
			}
			guarded = guarded || c.Protected != nil
			bytes += keyBytes(c, n)
			if all || use[c.Name] == columnLoaded {
				loaded++
			}
		}
		primary := index.Name == primaryKey
		if loaded == 0 || bytes > maxKeyBytes || primary && loaded < len(parts) {
			continue
		}
		kind := "KEY " + quoteName(index.Name)
		switch {
		case primary:
			kind = "PRIMARY KEY"
		case (index.Unique || declared != nil && declared.Unique()) && (all || !guarded):
			// Rows of several owners may share a value that is unique for each.
			kind = "UNIQUE " + kind
		default:
			plain = true
		}
		first := t.Column(index.Parts[0].Column)
		if index.Unique && first != nil && first.AutoIncrement && (all || use[first.Name] == columnLoaded) {
			counting = first.Name
		}
		keys = append(keys, kind+" ("+strings.Join(parts, ",")+")")
	}
	return keys, plain, counting
}

// keyBytes is how much of a key a column takes at most.
func keyBytes(c *Column, prefix int) int64 {
	const widest = 4 // bytes of a character
	switch {
	case prefix > 0:
		return int64(prefix)*widest + 2
	case c.Protected != nil:
		return int64(c.Protected.Type.Length)*widest + 10
	}
	return c.Bytes + 10
}
