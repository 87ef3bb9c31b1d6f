package logical

import (
	"bytes"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// errForeign is returned for bytes that no column of the type leaves behind. It never holds them.
var errForeign = &ValueError{1366, "22007", "the stored plaintext is no value of the column's declared type"}

// Plaintext appends the canonical text of a value of the type from the bytes that MariaDB leaves when a column of the type
// becomes a VARBINARY or a BLOB: texts in the column's character set, numbers, dates and times as MariaDB prints them, a
// TIMESTAMP in UTC, a BIT, a UUID and an address by way of a number or a text ([Type.Intermediate]). old is not kept.
//
// Bytes that are none of these are an error: they are never taken for what they may have been meant to be. Text in a character
// set that is not converted here is [ErrNotPlain]. On error dst is returned as it was.
func (t *Type) Plaintext(dst, old []byte) ([]byte, error) {
	out, err := t.plaintext(dst, old)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (t *Type) plaintext(dst, old []byte) ([]byte, error) {
	switch t.Family() {
	case FamilyString, FamilyJSON:
		return t.plaintextString(dst, old)
	case FamilyEnum, FamilySet:
		return t.plaintextMember(dst, old)
	case FamilyBinary:
		if len(old) > t.MaxCanonical() || t.Kind == KindBinary && len(old) != t.Length {
			return dst, errForeign
		}
		return append(dst, old...), nil
	case FamilyFloat, FamilyDouble:
		return t.plaintextFloat(dst, old)
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		return t.plaintextMoment(dst, old)
	case FamilyUUID, FamilyINET4, FamilyINET6:
		return t.plaintextAddress(dst, old)
	}
	return t.plaintextNumber(dst, old)
}

// decoded gives text of the column's character set in UTF-8. The bytes may be old's own.
func (t *Type) decoded(old []byte) ([]byte, error) {
	if t.cs.isUTF8(old) {
		return old, nil
	}
	text, err := t.cs.toUTF8(nil, old)
	switch {
	case err == nil:
		return text, nil
	case t.cs.converted():
		return nil, errForeign
	}
	return nil, ErrNotPlain
}

// plaintextString reads a text. That of a CHAR has no spaces at its end.
func (t *Type) plaintextString(dst, old []byte) ([]byte, error) {
	text, err := t.decoded(old)
	if err != nil {
		return dst, err
	}
	switch t.Kind {
	case KindChar, KindVarchar:
		if t.Kind == KindChar {
			text = bytes.TrimRight(text, " ")
		}
		if utf8.RuneCount(text) > t.Length {
			return dst, errForeign
		}
	default:
		if len(old) > t.byteCap() {
			return dst, errForeign
		}
	}
	return append(dst, text...), nil
}

// plaintextMember reads members of an ENUM or SET, in their declared spelling. An ENUM may hold the empty text, which MariaDB
// stores where a value was none of its members.
func (t *Type) plaintextMember(dst, old []byte) ([]byte, error) {
	text, err := t.decoded(old)
	if err != nil {
		return dst, err
	}
	if len(text) == 0 {
		return dst, nil
	}
	if t.Kind == KindEnum {
		if i, ok := t.spelled[string(text)]; ok {
			return append(dst, t.Members[i]...), nil
		}
		return dst, errForeign
	}
	var bits uint64
	for part := range bytes.SplitSeq(text, []byte(",")) {
		i, ok := t.spelled[string(part)]
		if !ok || bits>>i != 0 {
			return dst, errForeign // no member, or out of order
		}
		bits |= 1 << i
	}
	return t.appendSet(dst, bits), nil
}

// plaintextNumber reads an integer, which ZEROFILL puts zeros before, a DECIMAL, a YEAR or the number of a BIT.
func (t *Type) plaintextNumber(dst, old []byte) ([]byte, error) {
	n, ok := parseSigned(old)
	point := bytes.IndexByte(old, '.')
	if !ok || old[0] == '+' || n.neg && n.zero() || point == len(old)-1 {
		return dst, errForeign
	}
	v, whole := n.uint()
	switch t.Family() {
	case FamilyDecimal:
		if len(n.frac) != t.Scale || len(n.whole) > t.Length-t.Scale || n.neg && t.Unsigned {
			return dst, errForeign
		}
	case FamilyInteger:
		if point >= 0 || !t.holds(n) {
			return dst, errForeign
		}
	case FamilyYear:
		if !whole || n.neg || point >= 0 || len(old) != 4 || v != 0 && (v < 1901 || v > 2155) {
			return dst, errForeign
		}
		return append(dst, old...), nil
	default: // BIT
		if !whole || n.neg || point >= 0 || t.Length < 64 && v >= 1<<t.Length {
			return dst, errForeign
		}
	}
	out := n.appendText(dst)
	if len(out)-len(dst) != len(old) && !t.Zerofill {
		return dst, errForeign // zeros that MariaDB does not print
	}
	return out, nil
}

// plaintextFloat reads the digits of a DOUBLE; a FLOAT is the nearest one to them.
func (t *Type) plaintextFloat(dst, old []byte) ([]byte, error) {
	bits := 64
	if t.Kind == KindFloat {
		bits = 32
	}
	if !isFloatText(old) {
		return dst, errForeign
	}
	f, err := strconv.ParseFloat(string(old), bits)
	if err != nil || t.Unsigned && f < 0 {
		return dst, errForeign
	}
	if f == 0 {
		f = 0 // no negative zero
	}
	return t.appendFloat(dst, f), nil
}

// plaintextMoment reads a date, a time or both, with as many digits behind the seconds as the type has.
func (t *Type) plaintextMoment(dst, old []byte) ([]byte, error) {
	m, err := t.storedMoment(old)
	if err != nil || m.micro%microUnit(t.Scale) != 0 || t.Kind != KindTime && m.hour > 23 {
		return dst, errForeign
	}
	out := t.appendMoment(dst, &m)
	text := out[len(dst):]
	if !bytes.Equal(text, old) && !(m.neg && m.clockZero() && bytes.Equal(text, old[1:])) {
		return dst, errForeign
	}
	return out, nil
}

// plaintextAddress reads a UUID or an address as MariaDB prints it.
func (t *Type) plaintextAddress(dst, old []byte) ([]byte, error) {
	if t.Kind == KindUUID {
		if len(old) != t.MaxCanonical() {
			return dst, errForeign
		}
		for i, c := range old {
			dash := i == 8 || i == 13 || i == 18 || i == 23
			if dash != (c == '-') || !dash && !isDigit(c) && (c < 'a' || c > 'f') {
				return dst, errForeign
			}
		}
		return append(dst, old...), nil
	}
	addr, err := netip.ParseAddr(string(old))
	if err != nil || addr.Zone() != "" || addr.Is4() != (t.Kind == KindINET4) {
		return dst, errForeign
	}
	out := dst
	if t.Kind == KindINET4 {
		out = addr.AppendTo(out)
	} else {
		out = appendINET6(out, addr.As16())
	}
	if !bytes.Equal(out[len(dst):], old) {
		return dst, errForeign
	}
	return out, nil
}

// Intermediate returns the type that a column of the type has to become before it becomes a VARBINARY or a BLOB, so that its
// values are then what [Type.Plaintext] reads: a FLOAT loses digits as text, a BIT, a UUID and an address become bytes of
// their own, in some versions. It is empty where MariaDB converts without loss at once.
func (t *Type) Intermediate() string {
	switch t.Kind {
	case KindFloat, KindDouble:
		return "DOUBLE"
	case KindBit:
		return "BIGINT UNSIGNED"
	case KindUUID:
		return "CHAR(36) CHARACTER SET ascii"
	case KindINET4:
		return "VARCHAR(15) CHARACTER SET ascii"
	case KindINET6:
		return "VARCHAR(45) CHARACTER SET ascii"
	}
	return ""
}

// Convertible says that the values which a column of the type leaves behind can be read here, whatever they are.
func (t *Type) Convertible() bool { return t.cs == nil || t.cs.converted() }
