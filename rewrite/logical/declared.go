package logical

import (
	"errors"
	"strings"
	"time"
)

// ImplicitDefault returns the canonical text of what the rows of a table get when a column of the type is added that is NOT
// NULL and has no DEFAULT: https://mariadb.com/kb/en/alter-table/#add-column. ok is false where that is no value of the type.
func (t *Type) ImplicitDefault() (canonical []byte, ok bool) {
	in := Input{Kind: InputString}
	switch t.Family() {
	case FamilyJSON:
		return nil, false
	case FamilyString, FamilyBinary, FamilySet:
		if t.Kind == KindBinary {
			return make([]byte, t.Length), true
		}
		return []byte{}, true
	case FamilyEnum:
		return []byte(t.Members[0]), true
	case FamilyInteger, FamilyDecimal, FamilyFloat, FamilyDouble, FamilyYear, FamilyBit:
		in = Input{Kind: InputInteger, Bytes: []byte("0")}
	case FamilyTime:
		in.Bytes = []byte("00:00:00")
	case FamilyDate:
		in.Bytes = []byte("0000-00-00")
	case FamilyDateTime, FamilyTimestamp:
		in.Bytes = []byte("0000-00-00 00:00:00" + strings.TrimSuffix("."+strings.Repeat("0", t.Scale), "."))
	case FamilyUUID:
		in.Bytes = []byte("00000000-0000-0000-0000-000000000000")
	case FamilyINET4:
		in.Bytes = []byte("0.0.0.0")
	case FamilyINET6:
		in.Bytes = []byte("::")
	}
	canonical, err := t.Canonical(nil, in, &Session{ClientCharset: "utf8mb4", TimeZone: time.UTC})
	return canonical, err == nil
}

// maxKeyPart is how many bytes of a column an InnoDB index covers: https://mariadb.com/kb/en/innodb-limitations/.
const maxKeyPart = 3072

// ErrKeyPrefix says that a column of the type cannot have the index prefix: MariaDB's error 1089.
var ErrKeyPrefix = errors.New("a prefix that the type does not allow")

// KeyPart returns what MariaDB makes of an index part over a column of the type, declared with a prefix of n characters or
// bytes, 0 for none: the prefix that SHOW CREATE TABLE prints, 0 for none. long says that the column is too long for a whole
// part: a UNIQUE index over it is one of hashes, another one covers the prefix only.
func (t *Type) KeyPart(n int) (prefix int, long bool, err error) {
	length, width := t.Length, 1
	blob := false
	switch t.Kind {
	case KindTinyText, KindText, KindMediumText, KindLongText, KindJSON, KindTinyBlob, KindBlob, KindMediumBlob, KindLongBlob:
		blob, length = true, t.byteCap()
	case KindChar, KindVarchar, KindBinary, KindVarbinary:
	default:
		if n > 0 {
			return 0, false, ErrKeyPrefix
		}
		return 0, false, nil
	}
	if t.cs != nil {
		width = t.cs.maxLen
	}
	switch {
	case n > 0 && !blob && n > length:
		return 0, false, ErrKeyPrefix
	case n > 0 && !blob && n == length:
		n = 0
	}
	if n > 0 {
		if n*width > maxKeyPart {
			return maxKeyPart / width, true, nil
		}
		return n, false, nil
	}
	if blob || length*width > maxKeyPart {
		return min(maxKeyPart, length) / width, true, nil
	}
	return 0, false, nil
}

// Widens tells whether every value of a column of type old, as its cells hold it, is one of type t, and reads the same there.
func (t *Type) Widens(old *Type) bool {
	if t.Family() != old.Family() || t.Unsigned && !old.Unsigned || t.Scale != old.Scale || t.Zerofill != old.Zerofill {
		return false
	}
	switch t.Family() {
	case FamilyString:
		if t.Charset != old.Charset && t.Charset != "utf8mb4" {
			return false
		}
		return t.contains(old) && (t.Kind != KindChar || old.Kind == KindChar)
	case FamilyBinary:
		// BINARY pads its values with zeros.
		return t.Kind != KindBinary && t.contains(old) || t.Kind == old.Kind && t.Length == old.Length
	case FamilyInteger:
		return integerRank(t)-boolIndex(old.Unsigned && !t.Unsigned) >= integerRank(old) && (!t.Zerofill || t.Length == old.Length)
	case FamilyDecimal:
		return t.Length >= old.Length
	case FamilyFloat, FamilyDouble:
		return t.Length == old.Length
	case FamilyBit:
		return t.Length >= old.Length
	case FamilyEnum, FamilySet:
		if t.Charset != old.Charset && t.Charset != "utf8mb4" || len(t.Members) < len(old.Members) {
			return false
		}
		for i, m := range old.Members {
			if t.Members[i] != m {
				return false
			}
		}
	}
	return true
}

// Convert returns the type with another collation, as ALTER TABLE ... CONVERT TO CHARACTER SET makes it. TEXT types that would
// become longer ones, and JSON, are an error.
func (t *Type) Convert(collation string) (*Type, error) {
	name, charset, err := ResolveCollation(collation, "")
	if err != nil {
		return nil, err
	}
	to, err := findCharset(charset)
	if err != nil {
		return nil, err
	}
	if _, blob := t.room(); t.Kind == KindJSON || blob && t.Family() == FamilyString && to.maxLen > t.cs.maxLen {
		return nil, declarationError("the type becomes another one")
	}
	return Parse(strings.Replace(t.String(), t.charsetClause(""), " CHARACTER SET "+charset+" COLLATE "+name, 1))
}

// contains compares how much the text or binary types t and old hold at least and at most.
func (t *Type) contains(old *Type) bool {
	least, blob := t.room()
	most, oldBlob := old.room()
	if blob && oldBlob && t.Charset == old.Charset {
		return least >= most
	}
	if blob && t.cs != nil {
		least /= t.cs.maxLen
	}
	return least >= most
}

// room is the length of a type that has one, else the bytes of a TEXT or BLOB.
func (t *Type) room() (n int, blob bool) {
	switch t.Kind {
	case KindChar, KindVarchar, KindBinary, KindVarbinary:
		return t.Length, false
	}
	return t.byteCap(), true
}

func integerRank(t *Type) int {
	switch t.Kind {
	case KindTinyInt:
		return 1
	case KindSmallInt:
		return 2
	case KindMediumInt:
		return 3
	case KindInt:
		return 4
	}
	return 5
}
