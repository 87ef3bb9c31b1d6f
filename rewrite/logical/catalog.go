package logical

import (
	"strings"
	"unicode/utf8"
)

// Catalog is what information_schema.COLUMNS says about a column of a type, beside its name and its keys. A number is -1 where
// the server shows NULL, a text empty. https://mariadb.com/kb/en/information-schema-columns-table/
type Catalog struct {
	DataType          string
	ColumnType        string
	CharacterLength   int64 // characters; bytes for binary types
	OctetLength       int64 // bytes
	NumericPrecision  int64
	NumericScale      int64
	DatetimePrecision int64
	Charset           string
	Collation         string
}

// Catalog says how information_schema shows a column of the type.
func (t *Type) Catalog() Catalog {
	c := Catalog{DataType: kindNames[t.Kind], ColumnType: t.ColumnType(), CharacterLength: -1, OctetLength: -1,
		NumericPrecision: -1, NumericScale: -1, DatetimePrecision: -1}
	switch t.Family() {
	case FamilyString, FamilyJSON, FamilyEnum, FamilySet:
		c.Charset, c.Collation = t.Charset, t.Collation
		c.CharacterLength, c.OctetLength = t.textLengths()
	case FamilyBinary:
		c.CharacterLength = int64(t.Length)
		if t.Kind != KindBinary && t.Kind != KindVarbinary {
			c.CharacterLength = int64(t.byteCap())
		}
		c.OctetLength = c.CharacterLength
	case FamilyInteger:
		c.NumericPrecision, c.NumericScale = t.integerDigits(), 0
	case FamilyDecimal:
		c.NumericPrecision, c.NumericScale = int64(t.Length), int64(t.Scale)
	case FamilyFloat, FamilyDouble:
		switch {
		case t.fixed():
			c.NumericPrecision, c.NumericScale = int64(t.Length), int64(t.Scale)
		case t.Kind == KindFloat:
			c.NumericPrecision = 12
		default:
			c.NumericPrecision = 22
		}
	case FamilyBit:
		c.NumericPrecision = int64(t.Length)
	case FamilyDateTime, FamilyTimestamp, FamilyTime:
		c.DatetimePrecision = int64(t.Scale)
	}
	return c
}

// textLengths gives the characters and bytes that a type with a character set holds.
func (t *Type) textLengths() (characters, octets int64) {
	switch t.Kind {
	case KindChar, KindVarchar:
		characters = int64(t.Length)
	case KindEnum:
		for _, m := range t.Members {
			characters = max(characters, int64(utf8.RuneCountInString(m)))
		}
	case KindSet:
		characters = int64(len(t.Members) - 1)
		for _, m := range t.Members {
			characters += int64(utf8.RuneCountInString(m))
		}
	default:
		return int64(t.byteCap() / t.cs.width()), int64(t.byteCap())
	}
	return characters, characters * int64(t.cs.maxLen)
}

// integerDigits gives the decimal digits of the largest number of an integer type.
func (t *Type) integerDigits() int64 {
	switch t.Kind {
	case KindTinyInt:
		return 3
	case KindSmallInt:
		return 5
	case KindMediumInt:
		return 7 + int64(boolIndex(t.Unsigned))
	case KindInt:
		return 10
	}
	return 19 + int64(boolIndex(t.Unsigned))
}

// DefaultText returns the declared default as information_schema.COLUMNS and SHOW CREATE TABLE print it, a TIMESTAMP's in the
// time zone of s. It must only be called when HasDefault.
func (t *Type) DefaultText(s *Session) (string, error) {
	def := t.Default
	switch t.Family() {
	case FamilyTimestamp, FamilyFloat, FamilyDouble, FamilyInteger:
		var err error
		if def, err = t.AppendText(nil, def, s); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	t.writeDefault(&b, def)
	return b.String(), nil
}

// DefaultShown returns the declared default as SHOW COLUMNS prints it: without quotes where the default is a literal to the
// server, which it is not for TEXT and BLOB types.
func (t *Type) DefaultShown(s *Session) (string, error) {
	switch t.Family() {
	case FamilyJSON, FamilyBit:
		return t.DefaultText(s)
	case FamilyString, FamilyBinary:
		switch t.Kind {
		case KindChar, KindVarchar, KindBinary, KindVarbinary:
			return string(t.Default), nil
		}
		return t.DefaultText(s)
	case FamilyTimestamp, FamilyFloat, FamilyDouble, FamilyInteger:
		out, err := t.AppendText(nil, t.Default, s)
		return string(out), err
	}
	return string(t.Default), nil
}

// ReadName returns, in UTF-8, text of the server's own (names, comments, types) from a resultset: such text is utf8mb3 and comes
// in character_set_results. The error is ErrNotPlain.
func (s *Session) ReadName(text []byte) (string, error) {
	cs, err := s.nameCharset()
	if err != nil {
		return "", err
	}
	out, err := cs.toUTF8(nil, text)
	if err != nil {
		return "", ErrNotPlain
	}
	return string(out), nil
}

// AppendName appends UTF-8 text as a resultset carries text of the server's own. The error is ErrNotPlain; dst is then as it was.
func (s *Session) AppendName(dst []byte, text string) ([]byte, error) {
	cs, err := s.nameCharset()
	if err != nil {
		return dst, err
	}
	out, err := cs.fromUTF8(dst, []byte(text), true)
	if err != nil {
		return dst, ErrNotPlain
	}
	return out, nil
}

func (s *Session) nameCharset() (*charset, error) {
	name := s.ResultsCharset
	if name == "" || name == "binary" {
		name = "utf8mb3"
	}
	cs, err := findCharset(name)
	if err != nil {
		return nil, ErrNotPlain
	}
	return cs, nil
}
