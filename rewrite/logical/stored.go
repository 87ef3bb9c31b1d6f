package logical

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// A value whose conversion is not plain is stored into a column of a server and read back. What follows says how such a column
// is declared, how its value is read so that nothing is lost, and how what was read becomes canonical text.

// Storage returns the type as what a column is declared with into which a server converts values. It takes NULL, but where
// MariaDB makes NULL of a value that does not convert: a NOT NULL column gets the type's zero then. The CHECK of JSON is not
// part of it.
func (t *Type) Storage() string {
	switch t.Family() {
	case FamilyUUID, FamilyINET4, FamilyINET6:
		if zero, _ := t.Implicit(); !t.Nullable {
			return t.ColumnType() + " NOT NULL DEFAULT '" + string(zero) + "'"
		}
	}
	return t.ColumnType() + t.charsetClause("") + " NULL"
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

// Implicit returns the canonical text of the value that MariaDB stores for a NOT NULL column without DEFAULT when it is given
// none and sql_mode does not refuse that; ok is false for types that have none.
// https://mariadb.com/kb/en/create-table/#default-column-option
func (t *Type) Implicit() (canonical []byte, ok bool) {
	switch t.Family() {
	case FamilyString, FamilySet:
		return []byte{}, true
	case FamilyBinary:
		if t.Kind == KindBinary {
			return make([]byte, t.Length), true
		}
		return []byte{}, true
	case FamilyInteger, FamilyBit, FamilyFloat, FamilyDouble:
		return []byte("0"), true
	case FamilyDecimal:
		text := []byte("0")
		if t.Scale > 0 {
			text = append(append(text, '.'), bytes.Repeat([]byte("0"), t.Scale)...)
		}
		return text, true
	case FamilyEnum:
		return []byte(t.Members[0]), true
	case FamilyDate:
		return []byte("0000-00-00"), true
	case FamilyDateTime, FamilyTimestamp:
		return t.withFraction("0000-00-00 00:00:00"), true
	case FamilyTime:
		return t.withFraction("00:00:00"), true
	case FamilyYear:
		return []byte("0000"), true
	case FamilyUUID:
		return []byte("00000000-0000-0000-0000-000000000000"), true
	case FamilyINET4:
		return []byte("0.0.0.0"), true
	case FamilyINET6:
		return []byte("::"), true
	}
	// JSON's would be the empty text, which its CHECK refuses.
	return nil, false
}

// withFraction appends the declared fractional digits, all zero.
func (t *Type) withFraction(text string) []byte {
	out := []byte(text)
	if t.Scale > 0 {
		out = append(append(out, '.'), bytes.Repeat([]byte("0"), t.Scale)...)
	}
	return out
}

// Timed says that the conversion of a value to the type can depend on the clock or the time zone: a TIME becomes a date of today.
func (t *Type) Timed() bool {
	switch t.Family() {
	case FamilyDate, FamilyDateTime, FamilyTimestamp:
		return true
	}
	return false
}
