package logical

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Type is a declared column type with its attributes. It is made by Parse and read-only afterwards, so it may be shared.
type Type struct {
	Kind      Kind
	Length    int      // CHAR, VARCHAR: characters; BINARY, VARBINARY: bytes; integers, YEAR: display width; DECIMAL: precision; BIT: bits; FLOAT(M,D): M
	Scale     int      // DECIMAL: digits after the point; DATETIME, TIMESTAMP, TIME: fractional digits (0 to 6); FLOAT, DOUBLE: D of (M,D), 31 for none
	Unsigned  bool     // UNSIGNED, implied by ZEROFILL
	Zerofill  bool     // of integers only
	Charset   string   // of text types, ENUM, SET and JSON; else ""
	Collation string   // full name; of text types, ENUM, SET and JSON; else ""
	Nullable  bool     // no NOT NULL
	Members   []string // of ENUM and SET; not to be written to
	Comment   string   // the declared COMMENT

	HasDefault bool   // a DEFAULT other than NULL was declared
	Default    []byte // its canonical text when HasDefault; not to be written to

	cs *charset   // of Charset, nil for types without one
	co *collation // of Collation, nil for types without one

	spelled   map[string]int // members of ENUM and SET by text
	weighed   map[string]int // the same by weights
	unweighed bool           // a member has no weights here, so a text that is not found may still be equal to it
}

// Family returns the letter of the type's family, the first byte of a cell's plaintext.
func (t *Type) Family() byte { return kindFamilies[t.Kind] }

// textual says that the type has a character set.
func (t *Type) textual() bool {
	switch t.Family() {
	case FamilyString, FamilyEnum, FamilySet, FamilyJSON:
		return true
	}
	return false
}

// numeric says that UNSIGNED is possible.
func (t *Type) numeric() bool {
	switch t.Family() {
	case FamilyInteger, FamilyDecimal, FamilyFloat, FamilyDouble:
		return true
	}
	return false
}

// fixed says that a FLOAT or DOUBLE was declared with (M,D).
func (t *Type) fixed() bool { return t.Scale != floatUnfixed }

// byteCap returns the most bytes a TEXT or BLOB type stores, in the column's character set.
func (t *Type) byteCap() int {
	switch t.Kind {
	case KindTinyText, KindTinyBlob:
		return 1<<8 - 1
	case KindText, KindBlob:
		return 1<<16 - 1
	case KindMediumText, KindMediumBlob:
		return 1<<24 - 1
	}
	return 1<<32 - 1
}

// MaxCanonical returns the most bytes the canonical text of a value of the type can have.
func (t *Type) MaxCanonical() int {
	switch t.Kind {
	case KindChar, KindVarchar:
		return t.Length * t.maxUTF8()
	case KindTinyText, KindText, KindMediumText, KindLongText, KindJSON:
		// A character of n bytes in the column's set has at most maxUTF8 bytes: 3 of 2 for utf16, 3 of 1 for 8-bit sets.
		switch t.cs.width() {
		case 2:
			return t.byteCap()/2*3 + 1
		case 4:
			return t.byteCap()
		}
		if t.cs.runes != nil {
			return t.byteCap() * t.maxUTF8()
		}
		return t.byteCap()
	case KindBinary, KindVarbinary:
		return t.Length
	case KindTinyBlob, KindBlob, KindMediumBlob, KindLongBlob:
		return t.byteCap()
	case KindTinyInt, KindSmallInt, KindMediumInt, KindInt, KindBigInt:
		return len("-9223372036854775808")
	case KindDecimal:
		return t.Length + len("-0.")
	case KindFloat, KindDouble:
		return len("-2.2250738585072014e-308")
	case KindDate:
		return len("2024-01-31")
	case KindDateTime, KindTimestamp:
		return len("2024-01-31 10:00:00.") + t.Scale
	case KindTime:
		return len("-838:59:59.") + t.Scale
	case KindYear:
		return len("2024")
	case KindBit:
		return len("18446744073709551615")
	case KindEnum, KindSet:
		longest, sum := 0, 0
		for _, m := range t.Members {
			longest = max(longest, len(m))
			sum += len(m) + 1
		}
		if t.Kind == KindSet {
			return sum
		}
		return longest
	case KindUUID:
		return len("123e4567-e89b-12d3-a456-426655440000")
	case KindINET4:
		return len("255.255.255.255")
	}
	return len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
}

// maxUTF8 returns the most bytes that a character of the column's character set has in UTF-8.
func (t *Type) maxUTF8() int {
	if t.cs.runes == nil {
		if t.cs.name == "utf8mb3" || t.cs.name == "ucs2" {
			return 3
		}
		return 4
	}
	n := 1
	for _, r := range t.cs.runes {
		n = max(n, utf8.RuneLen(r))
	}
	return n
}

// ColumnType returns the type alone as information_schema.COLUMNS.COLUMN_TYPE and DESCRIBE show it: varchar(200), int(10)
// unsigned, enum('a','b').
func (t *Type) ColumnType() string {
	var b strings.Builder
	b.WriteString(kindNames[t.Kind])
	switch t.Family() {
	case FamilyString, FamilyBinary:
		switch t.Kind {
		case KindChar, KindVarchar, KindBinary, KindVarbinary:
			fmt.Fprintf(&b, "(%d)", t.Length)
		}
	case FamilyInteger, FamilyYear, FamilyBit:
		fmt.Fprintf(&b, "(%d)", t.Length)
	case FamilyDecimal:
		fmt.Fprintf(&b, "(%d,%d)", t.Length, t.Scale)
	case FamilyFloat, FamilyDouble:
		if t.fixed() {
			fmt.Fprintf(&b, "(%d,%d)", t.Length, t.Scale)
		}
	case FamilyDateTime, FamilyTimestamp, FamilyTime:
		if t.Scale > 0 {
			fmt.Fprintf(&b, "(%d)", t.Scale)
		}
	case FamilyEnum, FamilySet:
		for i, m := range t.Members {
			b.WriteByte("(,"[boolIndex(i > 0)])
			writeQuoted(&b, m)
		}
		b.WriteByte(')')
	}
	if t.Unsigned {
		b.WriteString(" unsigned")
	}
	if t.Zerofill {
		b.WriteString(" zerofill")
	}
	return b.String()
}

// String returns the canonical declaration: what SHOW CREATE TABLE prints behind the column's name, with the character set and
// collation always named, JSON as json, and a TIMESTAMP's default in UTC. Parse reads it back to an equal Type.
func (t *Type) String() string {
	if t.Kind == KindJSON {
		return "json" + t.attributes(t.Default, false)
	}
	return t.ColumnType() + t.charsetClause("") + t.attributes(t.Default, false)
}

// Declaration returns what SHOW CREATE TABLE prints behind the column's name in a table whose default collation is
// tableCollation. s gives the time zone for a TIMESTAMP's default. column is the column's name, unquoted: JSON's CHECK holds it.
func (t *Type) Declaration(column, tableCollation string, s *Session) (string, error) {
	return t.ColumnDeclaration(column, tableCollation, false, s)
}

// ColumnDeclaration is Declaration for a column that may be INVISIBLE.
func (t *Type) ColumnDeclaration(column, tableCollation string, invisible bool, s *Session) (string, error) {
	def := t.Default
	switch t.Family() {
	case FamilyTimestamp, FamilyFloat, FamilyDouble, FamilyInteger:
		if !t.HasDefault {
			break
		}
		var err error
		if def, err = t.AppendText(nil, def, s); err != nil {
			return "", err
		}
	}
	out := t.ColumnType() + t.charsetClause(foldName(tableCollation)) + t.attributes(def, invisible)
	if t.Kind == KindJSON {
		out += " CHECK (json_valid(`" + strings.ReplaceAll(column, "`", "``") + "`))"
	}
	return out, nil
}

// charsetClause names the character set and collation unless they are the table's.
func (t *Type) charsetClause(tableCollation string) string {
	if t.co == nil || t.co.name == tableCollation {
		return ""
	}
	return " CHARACTER SET " + t.Charset + " COLLATE " + t.Collation
}

// attributes prints what follows the type, with the default def.
func (t *Type) attributes(def []byte, invisible bool) string {
	var b strings.Builder
	switch {
	case !t.Nullable:
		b.WriteString(" NOT NULL")
	case t.Kind == KindTimestamp:
		b.WriteString(" NULL")
	}
	if invisible {
		b.WriteString(" INVISIBLE")
	}
	if t.HasDefault {
		b.WriteString(" DEFAULT ")
		t.writeDefault(&b, def)
	} else if t.Nullable {
		b.WriteString(" DEFAULT NULL")
	}
	if t.Comment != "" {
		b.WriteString(" COMMENT ")
		writeQuoted(&b, t.Comment)
	}
	return b.String()
}

func (t *Type) writeDefault(b *strings.Builder, def []byte) {
	switch t.Family() {
	case FamilyInteger, FamilyYear, FamilyDecimal, FamilyFloat, FamilyDouble:
		b.Write(def)
	case FamilyBit:
		n, _ := parseUint(def)
		fmt.Fprintf(b, "b'%b'", n)
	case FamilyBinary:
		if !utf8.Valid(def) {
			fmt.Fprintf(b, "x'%x'", def)
			return
		}
		writeQuoted(b, string(def))
	default:
		writeQuoted(b, string(def))
	}
}

// writeQuoted prints a string literal with the escapes of SHOW CREATE TABLE.
func writeQuoted(b *strings.Builder, s string) {
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case 0:
			b.WriteString(`\0`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\\':
			b.WriteString(`\\`)
		case '\'':
			b.WriteString(`''`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
}

// CollationID returns MariaDB's number of the column's collation, 63 (binary) for types without one.
func (t *Type) CollationID() uint16 {
	if t.co == nil {
		return 63
	}
	return t.co.id
}

// PadSpace says that the column's collation ignores trailing spaces in comparisons.
func (t *Type) PadSpace() bool { return t.co != nil && t.co.pad }
