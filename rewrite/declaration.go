package rewrite

import (
	"errors"
	"strings"
	"unicode/utf8"

	"latchkey/rewrite/logical"
)

// declaration is the definition of a protected column in a CREATE or ALTER TABLE: what stands behind its name.
type declaration struct {
	// first and last are its tokens.
	first, last int
	declared    *logical.Type
	invisible   bool
	// unique says that the definition has UNIQUE, which makes an index.
	unique bool
	// checkFrom and checkTo are the tokens of the expression of its CHECK; 0 for none.
	checkFrom, checkTo int
	// nullability says that the definition has NULL or NOT NULL.
	nullability bool
}

// declarationReader reads column definitions under the character set of a table.
type declarationReader struct {
	st      *Statement
	options logical.Options
	// implicitTimestamps: a TIMESTAMP without NULL gets a default of the server's own.
	implicitTimestamps bool
	texts              []string
}

// read reads the definition in the tokens first..last. The error tells what a protected column cannot have.
func (r *declarationReader) read(first, last int) (*declaration, error) {
	d := &declaration{first: first, last: last}
	r.texts = r.texts[:0]
	for i := first; i <= last; i++ {
		next, err := r.attribute(d, i)
		if err != nil {
			return nil, err
		}
		i = next
	}
	return d, r.parse(d)
}

// attribute reads the token i and what belongs to it, and gives the last one of it.
func (r *declarationReader) attribute(d *declaration, i int) (int, error) {
	st := r.st
	if i > d.first {
		switch st.Keyword(i) {
		case KwInvisible:
			d.invisible = true
			return i, nil
		case KwUnique:
			d.unique = true
			if st.Is(i+1, KwKey) {
				i++
			}
			return i, nil
		case KwCheck:
			end := st.Match(i + 1)
			if !st.IsOp(i+1, OpLeftParen) || end < i+3 || end > d.last {
				return 0, errors.New("its CHECK is not understood")
			}
			d.checkFrom, d.checkTo = i+2, end-1
			return end, nil
		case KwDefault:
			r.texts = append(r.texts, "DEFAULT")
			return r.defaultValue(d, i+1)
		case KwNot, KwNull:
			d.nullability = true
		}
	}
	return r.text(i)
}

// defaultValue takes the parentheses off a literal in them, which mean nothing.
func (r *declarationReader) defaultValue(d *declaration, i int) (int, error) {
	from := i
	for r.st.IsOp(from, OpLeftParen) {
		from++
	}
	if from == i {
		return i - 1, nil
	}
	end, inner := r.st.Match(i), r.st.Match(from-1)
	if end < 0 || end > d.last || inner < 0 {
		return 0, errors.New("its DEFAULT is not understood")
	}
	for k := from; k < inner; k++ {
		var err error
		if k, err = r.text(k); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// text adds token i, and the strings right behind a string, in the form that package logical reads.
func (r *declarationReader) text(i int) (int, error) {
	st := r.st
	switch t := st.Token(i); {
	case t.Kind == TokParam:
		return 0, errors.New("a parameter marker stands in its definition")
	case t.Kind == TokString, t.Kind == TokNational:
		lit, err := st.Literal(i)
		if err != nil {
			return 0, err
		}
		value := st.toUTF8(lit.Bytes, true)
		if !utf8.ValidString(value) {
			return 0, errors.New("a text in its definition is not valid in the client's character set")
		}
		r.texts = append(r.texts, quoteShown(value))
		return i + lit.Tokens - 1, nil
	case t.Kind == TokQuoted:
		r.texts = append(r.texts, quoteName(st.Name(i)))
	default:
		r.texts = append(r.texts, string(st.Text(i)))
	}
	return i, nil
}

// parse makes the type of the texts read.
func (r *declarationReader) parse(d *declaration) error {
	if len(r.texts) == 0 {
		return errors.New("it has no type")
	}
	isJSON := strings.EqualFold(r.texts[0], "json")
	if isJSON && d.checkTo > 0 {
		// JSON with a CHECK of its own gets none from the server.
		r.texts[0] = "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	}
	var err error
	if d.declared, err = r.options.Parse(strings.Join(r.texts, " ")); err != nil {
		return err
	}
	t := d.declared
	if t.Kind == logical.KindLongText && t.Collation == "utf8mb4_bin" && r.isJSONCheck(d) {
		if d.declared, err = logical.Parse(strings.Replace(t.String(), "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "json", 1)); err != nil {
			return err
		}
		d.checkFrom, d.checkTo = 0, 0
	}
	if t.Kind == logical.KindTimestamp && r.implicitTimestamps && (!d.nullability || !t.Nullable && !t.HasDefault) {
		return errors.New("without explicit_defaults_for_timestamp a TIMESTAMP gets a default of the server's own; declare it NULL or give it a DEFAULT")
	}
	if t.Kind == logical.KindTimestamp && t.HasDefault && r.options.TimeZone == nil && !strings.HasPrefix(string(t.Default), "0000") {
		return errors.New("a TIMESTAMP's DEFAULT needs a time zone that is known; use DATETIME, or no DEFAULT")
	}
	return nil
}

// withDefault gives a type the DEFAULT in the tokens first..last.
func (r *declarationReader) withDefault(t *logical.Type, first, last int) (*logical.Type, error) {
	d := &declaration{first: first - 1, last: last}
	r.texts = append(r.texts[:0], strings.TrimSuffix(bareDeclaration(t), " DEFAULT NULL"), "DEFAULT")
	next, err := r.defaultValue(d, first)
	if err != nil {
		return nil, err
	}
	for i := next + 1; i <= last; i++ {
		if i, err = r.text(i); err != nil {
			return nil, err
		}
	}
	if err := r.parse(d); err != nil {
		return nil, err
	}
	d.declared.Comment = t.Comment
	return d.declared, nil
}

// bareDeclaration writes a type without its COMMENT.
func bareDeclaration(t *logical.Type) string {
	bare := *t
	bare.Comment = ""
	return bare.String()
}

// isJSONCheck reports whether the CHECK is json_valid(column), which MariaDB makes of JSON.
func (r *declarationReader) isJSONCheck(d *declaration) bool {
	i := d.checkFrom
	return i > 0 && d.checkTo == i+3 && strings.EqualFold(string(r.st.Text(i)), "json_valid") && r.st.IsOp(i+1, OpLeftParen) && r.st.Token(i+2).IsIdentifier()
}

// declarationReason gives the text of an error of the reader without its origin.
func declarationReason(err error) string {
	return "its declaration cannot be that of a protected column: " + strings.TrimPrefix(err.Error(), "type declaration: ")
}
