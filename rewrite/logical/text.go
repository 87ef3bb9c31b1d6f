package logical

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// literal returns the bytes of a text or binary literal as the server holds them, after the conversion from the client's to
// the connection's character set, and their character set; nil is binary. The bytes may be in's own.
func (s *Session) literal(in Input) ([]byte, *charset, error) {
	switch in.Kind {
	case InputHexString, InputHexNumber, InputBit, InputWireBytes:
		return in.Bytes, nil, nil
	case InputString:
	default:
		return nil, nil, ErrNotPlain
	}
	name := in.Charset
	if name == "" {
		name = s.ClientCharset
	}
	from, err := findCharset(name)
	if err != nil {
		return nil, nil, ErrNotPlain
	}
	to := from
	if in.Charset == "" && s.ConnectionCharset != "" {
		if to, err = findCharset(s.ConnectionCharset); err != nil {
			return nil, nil, ErrNotPlain
		}
	}
	if to.name == "binary" {
		to = nil
	}
	if to == nil || from.name == "binary" || from == to || from.asciiBased() && to.asciiBased() && isASCII(in.Bytes) {
		return in.Bytes, to, nil
	}
	text, err := from.toUTF8(nil, in.Bytes)
	if err != nil {
		return nil, nil, ErrNotPlain
	}
	if text, err = to.fromUTF8(nil, text, false); err != nil {
		return nil, nil, ErrNotPlain
	}
	return text, to, nil
}

// asciiLiteral returns a text literal whose value is ASCII; all others are not plain where a number or a date is wanted.
func (s *Session) asciiLiteral(in Input) ([]byte, error) {
	b, cs, err := s.literal(in)
	if err != nil {
		return nil, err
	}
	if cs != nil && !cs.asciiBased() || !isASCII(b) {
		return nil, ErrNotPlain
	}
	return b, nil
}

// surrogateLead begins the surrogates, which MariaDB's UTF-8 admits and Go's does not.
const surrogateLead = 0xED

// text returns the value of a text or binary literal as UTF-8, as a column of character set cs would take it over. With
// errMalformed the bytes are no text of cs, and come back as they are. The bytes may be in's own.
func (s *Session) text(in Input, cs *charset) ([]byte, error) {
	b, from, err := s.literal(in)
	if err != nil {
		return nil, err
	}
	same := from == nil || from == cs
	if from == nil {
		if cs.width() > 1 {
			return nil, ErrNotPlain
		}
		from = cs
	}
	if from.isUTF8(b) {
		return b, nil
	}
	text, err := from.toUTF8(nil, b)
	switch {
	case errors.Is(err, errMalformed) && same && cs.runes == nil && bytes.IndexByte(b, surrogateLead) < 0:
		return b, errMalformed
	case err != nil:
		return nil, ErrNotPlain
	}
	return text, nil
}

// numericText returns the text that a number becomes in a text or binary column. Floats wider than width characters are not plain.
func numericText(in Input, width int) ([]byte, error) {
	if in.Kind == InputHexNumber || in.Kind == InputBit {
		return nil, ErrNotPlain
	}
	v, ok := numberOf(in)
	if !ok {
		return nil, ErrNotPlain
	}
	if !v.approx {
		return v.n.appendText(nil), nil
	}
	if in.Kind == InputWireFloat || v.f == 0 {
		return nil, ErrNotPlain
	}
	text := appendGeneral(nil, v.f, -1)
	if len(text) > width {
		return nil, ErrNotPlain
	}
	return text, nil
}

// assignedText returns the UTF-8 text that a character column would be given, before its length is looked at.
func (t *Type) assignedText(in Input, s *Session) ([]byte, error) {
	switch in.Kind {
	case InputString, InputHexString, InputHexNumber, InputBit, InputWireBytes:
		return s.text(in, t.cs)
	}
	width := t.Length
	if t.Kind != KindChar && t.Kind != KindVarchar {
		width = t.byteCap() / t.cs.maxLen
	}
	return numericText(in, width)
}

// canonicalString converts texts within the column's length and character set. CHAR loses its trailing spaces.
func (t *Type) canonicalString(dst []byte, in Input, s *Session) ([]byte, error) {
	text, err := t.assignedText(in, s)
	if err != nil {
		return dst, t.malformed(text, err)
	}
	encoded := t.cs.encodedLen(text)
	switch t.Kind {
	case KindChar, KindVarchar:
		if count := utf8.RuneCount(text); count > t.Length {
			return t.cutString(dst, text, encoded)
		}
	default:
		if encoded > t.byteCap() {
			if !isASCII(text) || blank(text[t.byteCap():]) {
				return dst, ErrNotPlain
			}
			return dst, errTooLong
		}
	}
	if encoded < 0 {
		return dst, errIncorrect
	}
	if t.Kind == KindChar {
		text = bytes.TrimRight(text, " ")
	}
	return append(dst, text...), nil
}

// malformed returns the error for bytes that are no text. Where they might also be too long, it is not certain which of the
// two errors MariaDB gives.
func (t *Type) malformed(b []byte, err error) error {
	most := t.byteCap()
	if t.Kind == KindChar || t.Kind == KindVarchar {
		most = t.Length
	}
	switch {
	case !errors.Is(err, errMalformed):
		return err
	case len(b) > most:
		return ErrNotPlain
	}
	return errIncorrect
}

// cutString decides about a text with too many characters: spaces may go from a CHAR without a word, from a VARCHAR with a note.
func (t *Type) cutString(dst, text []byte, encoded int) ([]byte, error) {
	head, n := 0, 0
	for head < len(text) && n < t.Length {
		_, size := utf8.DecodeRune(text[head:])
		head += size
		n++
	}
	rest := bytes.TrimRight(text[head:], " ")
	switch {
	case encoded < 0 || len(rest) > 0 && blank(rest):
		return dst, ErrNotPlain
	case len(rest) > 0:
		return dst, errTooLong
	case t.Kind == KindVarchar:
		return dst, ErrNotPlain
	}
	return append(dst, bytes.TrimRight(text[:head], " ")...), nil
}

// blank says that b holds nothing that MariaDB counts as important when it cuts: white space, or a character whose class is
// not known here.
func blank(b []byte) bool {
	for _, c := range b {
		if c > ' ' && c < utf8.RuneSelf {
			return false
		}
	}
	return true
}

// canonicalBinary converts byte strings within the column's length. BINARY is padded with zero bytes. A text literal is its
// bytes in the connection's character set, a number its digits.
func (t *Type) canonicalBinary(dst []byte, in Input, s *Session) ([]byte, error) {
	most := t.byteCap()
	if t.Kind == KindBinary || t.Kind == KindVarbinary {
		most = t.Length
	}
	value, err := t.assignedBytes(in, s, most)
	if err != nil {
		return dst, err
	}
	if len(value) > most {
		return dst, errTooLong
	}
	dst = append(dst, value...)
	if t.Kind == KindBinary {
		for range t.Length - len(value) {
			dst = append(dst, 0)
		}
	}
	return dst, nil
}

func (t *Type) assignedBytes(in Input, s *Session, width int) ([]byte, error) {
	switch in.Kind {
	case InputString, InputHexString, InputHexNumber, InputBit, InputWireBytes:
		value, _, err := s.literal(in)
		return value, err
	}
	return numericText(in, width)
}

// canonicalJSON takes a document over as it is written when encoding/json and MariaDB's JSON_VALID agree that it is valid.
func (t *Type) canonicalJSON(dst []byte, in Input, s *Session) ([]byte, error) {
	text, err := t.assignedText(in, s)
	if err != nil {
		return dst, t.malformed(text, err)
	}
	if len(text) > t.byteCap() {
		return dst, errTooLong
	}
	if !json.Valid(text) || !plainJSON(text) {
		if hopelessJSON(text) {
			return dst, errCheck
		}
		return dst, ErrNotPlain
	}
	return append(dst, text...), nil
}

// plainJSON says that valid JSON holds nothing on which MariaDB has a rule of its own: no deep nesting (it stops at 32) and
// no lone surrogate by escape.
func plainJSON(text []byte) bool {
	const deepest = 31
	depth := 0
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\':
			i++
			if text[i] == 'u' && surrogate(text[i+1:]) {
				if !surrogatePair(text[i+1:]) {
					return false
				}
				i += len(`d83d\ude00`)
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > deepest {
				return false
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return true
}

// surrogate says that four hexadecimal digits, which valid JSON has behind \u, name a surrogate.
func surrogate(digits []byte) bool {
	return (digits[0]|0x20) == 'd' && digits[1] >= '8'
}

// surrogatePair says that the digits behind a \u are a high surrogate and the low one is escaped right behind it.
func surrogatePair(text []byte) bool {
	const pair = len(`d83d\ude00`)
	if len(text) < pair || text[4] != '\\' || text[5] != 'u' || !surrogate(text[6:]) {
		return false
	}
	high, low := hexDigit(text[1]), hexDigit(text[7])
	return high < 0xC && low >= 0xC
}

// hopelessJSON says that text cannot begin a JSON document.
func hopelessJSON(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) == 0 || !bytes.ContainsRune([]byte(`{["-0123456789tfn`), rune(text[0]))
}
