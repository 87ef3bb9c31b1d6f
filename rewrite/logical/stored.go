package logical

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// A value whose conversion is not plain is stored into a column of a server and read back. What follows says how such a column
// is declared, how its value is read so that nothing is lost, and how what was read becomes canonical text.

// Storage returns the declaration of a column into which a server converts values: the type with NOT NULL and DEFAULT, which in
// a TIMESTAMP is in UTC.
func (t *Type) Storage() string {
	declared := *t
	declared.Comment = ""
	return declared.String()
}

// ReadBack returns the SQL expression under which a server gives the value of a column of the type for [Type.Adopt]. column is
// quoted. The session it runs in must have an empty sql_mode, time_zone='+00:00' and character_set_results='binary'.
func (t *Type) ReadBack(column string) string {
	switch t.Family() {
	case FamilyString, FamilyJSON, FamilyEnum, FamilySet:
		return "CAST(CONVERT(" + column + " USING utf8mb4) AS BINARY)"
	case FamilyInteger, FamilyBit:
		return column + "+0"
	case FamilyFloat, FamilyDouble:
		// A FLOAT prints six digits only; its sum with a DOUBLE prints all of them.
		return column + "+0e0"
	case FamilyUUID, FamilyINET4, FamilyINET6:
		return "CAST(" + column + " AS CHAR)"
	}
	return column
}

// Adopt appends the canonical text of a value that a server stored in a column of the type, given as ReadBack's expression
// printed it. What the type cannot hold is an error.
func (t *Type) Adopt(dst, text []byte) ([]byte, error) {
	switch t.Family() {
	case FamilyString, FamilyJSON, FamilyEnum, FamilySet:
		if !utf8.Valid(text) {
			return dst, ErrNotPlain
		}
	case FamilyFloat, FamilyDouble:
		return t.adoptFloat(dst, text)
	case FamilyInteger:
		if _, err := t.integerBinary(nil, text); err != nil {
			return dst, err
		}
	case FamilyDecimal:
		if n, ok := parseSigned(text); !ok || len(n.frac) != t.Scale {
			return dst, errCorrupt
		}
	case FamilyBit:
		if _, err := t.bitBytes(nil, text); err != nil {
			return dst, err
		}
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		if _, err := t.storedMoment(text); err != nil {
			return dst, err
		}
	case FamilyYear:
		if _, ok := parseUint(text); !ok || len(text) != 4 {
			return dst, errCorrupt
		}
	case FamilyUUID, FamilyINET4, FamilyINET6:
		if len(text) == 0 || !isASCII(text) {
			return dst, errCorrupt
		}
	}
	if len(text) > t.MaxCanonical() {
		return dst, errCorrupt
	}
	return append(dst, text...), nil
}

func (t *Type) adoptFloat(dst, text []byte) ([]byte, error) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, errCorrupt
	}
	if t.Kind == KindFloat && float64(float32(f)) != f {
		return dst, errCorrupt
	}
	return t.appendFloat(dst, f), nil
}

// Timed says that the conversion of a value to the type can depend on the clock or the time zone: a TIME becomes a date of today.
func (t *Type) Timed() bool {
	switch t.Family() {
	case FamilyDate, FamilyDateTime, FamilyTimestamp:
		return true
	}
	return false
}
