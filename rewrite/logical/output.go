package logical

import (
	"encoding/binary"
	"unicode/utf8"
)

// AppendText appends the value as the text protocol carries it, without the length prefix, converted to
// character_set_results: a character that the set does not have becomes a question mark, as from the server. Text that is not
// canonical for the type is an error; so is a character set that is not converted here ([ErrNotPlain]). On error dst is
// returned as it was.
func (t *Type) AppendText(dst, canonical []byte, s *Session) ([]byte, error) {
	out, err := t.appendText(dst, canonical, s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (t *Type) appendText(dst, canonical []byte, s *Session) ([]byte, error) {
	switch t.Family() {
	case FamilyString, FamilyJSON, FamilyEnum, FamilySet:
		return t.appendResult(dst, canonical, s)
	case FamilyBinary:
		return append(dst, canonical...), nil
	case FamilyBit:
		return t.bitBytes(dst, canonical)
	case FamilyUUID, FamilyINET4, FamilyINET6:
		if len(canonical) == 0 || len(canonical) > t.MaxCanonical() || !isASCII(canonical) {
			return dst, errCorrupt
		}
		return toResults(dst, canonical, charsets["ascii"], s)
	}
	if results, err := findCharset(s.ResultsCharset); err == nil && !results.asciiBased() {
		return dst, ErrNotPlain
	}
	return t.appendNumber(dst, canonical, s)
}

// appendNumber appends numbers, dates and times, which are ASCII.
func (t *Type) appendNumber(dst, canonical []byte, s *Session) ([]byte, error) {
	switch t.Family() {
	case FamilyInteger:
		if _, err := t.integerBinary(nil, canonical); err != nil {
			return dst, err
		}
		return t.integerText(dst, canonical), nil
	case FamilyDecimal:
		if n, ok := parseSigned(canonical); !ok || len(n.frac) != t.Scale {
			return dst, errCorrupt
		}
		return append(dst, canonical...), nil
	case FamilyFloat, FamilyDouble:
		return t.floatText(dst, canonical)
	case FamilyYear:
		if _, ok := parseUint(canonical); !ok || len(canonical) != 4 {
			return dst, errCorrupt
		}
		return append(dst, canonical...), nil
	}
	return t.temporalText(dst, canonical, s)
}

// appendResult converts text to character_set_results.
func (t *Type) appendResult(dst, canonical []byte, s *Session) ([]byte, error) {
	if !utf8.Valid(canonical) {
		return dst, errCorrupt
	}
	if t.Kind == KindChar && s.PadCharToFullLength {
		padded := append([]byte(nil), canonical...)
		for range t.Length - utf8.RuneCount(canonical) {
			padded = append(padded, ' ')
		}
		canonical = padded
	}
	return toResults(dst, canonical, t.cs, s)
}

// toResults converts text to character_set_results; own is the character set it comes in when there is no conversion.
func toResults(dst, text []byte, own *charset, s *Session) ([]byte, error) {
	to := own
	if s.ResultsCharset != "" {
		results, err := findCharset(s.ResultsCharset)
		if err != nil {
			return dst, ErrNotPlain
		}
		if results.name != "binary" {
			to = results
		}
	}
	out, err := to.fromUTF8(dst, text, true)
	if err != nil {
		return dst, ErrNotPlain
	}
	return out, nil
}

// AppendBinary appends the value as a row of the binary protocol carries it: fixed width for numbers, a length byte and the
// parts for temporal types, a length-encoded string for all others. Errors are those of AppendText.
func (t *Type) AppendBinary(dst, canonical []byte, s *Session) ([]byte, error) {
	out, err := t.appendBinary(dst, canonical, s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (t *Type) appendBinary(dst, canonical []byte, s *Session) ([]byte, error) {
	switch t.Family() {
	case FamilyInteger:
		return t.integerBinary(dst, canonical)
	case FamilyFloat, FamilyDouble:
		return t.floatBinary(dst, canonical)
	case FamilyYear:
		v, ok := parseUint(canonical)
		if !ok || len(canonical) != 4 {
			return dst, errCorrupt
		}
		return binary.LittleEndian.AppendUint16(dst, uint16(v)), nil
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		return t.temporalBinary(dst, canonical, s)
	}
	mark := len(dst)
	dst, err := t.appendText(dst, canonical, s)
	if err != nil {
		return dst, err
	}
	return insertLength(dst, mark), nil
}

// insertLength puts the length-encoded length of dst[mark:] before it.
func insertLength(dst []byte, mark int) []byte {
	n := uint64(len(dst) - mark)
	var prefix [9]byte
	size := 1
	switch {
	case n < 251:
		prefix[0] = byte(n)
	case n < 1<<16:
		prefix[0], size = 0xFC, 3
	case n < 1<<24:
		prefix[0], size = 0xFD, 4
	default:
		prefix[0], size = 0xFE, 9
	}
	if size > 1 {
		for i := 1; i < size; i++ {
			prefix[i] = byte(n >> (8 * (i - 1)))
		}
	}
	dst = append(dst, prefix[:size]...)
	copy(dst[mark+size:], dst[mark:len(dst)-size])
	copy(dst[mark:], prefix[:size])
	return dst
}
