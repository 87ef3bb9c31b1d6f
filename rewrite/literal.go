package rewrite

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Literal is a decoded literal of a statement.
type Literal struct {
	Kind TokenKind
	// Bytes is the value: of a string in the client's character set (or the introducer's) with quotes and escapes
	// resolved, of hex and bit literals the bytes they stand for, of numbers their text, which has no sign.
	Bytes []byte
	// Tokens is how many tokens the literal spans: more than one for adjacent strings ('a' 'b' is 'ab').
	Tokens int
	// Introducer is the character set named before the literal, in lower case without underscore; empty when there is none.
	Introducer string
	// National is set for N'..': the value is utf8mb3.
	National bool
}

// Literal decodes the literal that starts at token i (not at its introducer). The error is ErrNotLiteral.
func (s *Statement) Literal(i int) (Literal, error) { return s.AppendLiteral(nil, i) }

// AppendLiteral is Literal with the value appended to buf, so that a caller can reuse memory; Bytes is the appended part, with
// the capacity behind it, so that Bytes[:0] is the buffer for the next literal.
func (s *Statement) AppendLiteral(buf []byte, i int) (Literal, error) {
	t := s.Token(i)
	lit := Literal{Kind: t.Kind, Tokens: 1, National: t.Kind == TokNational}
	start := len(buf)
	text := s.Text(i)
	switch t.Kind {
	case TokString, TokNational:
		lit.Tokens = s.LiteralTokens(i)
		for k := range lit.Tokens {
			buf = s.appendString(buf, i+k)
		}
	case TokHexString:
		buf = appendHex(buf, text[2:len(text)-1])
	case TokHexNumber:
		buf = appendHex(buf, text[2:])
	case TokBitString:
		buf = appendBits(buf, text[2:len(text)-1])
	case TokBitNumber:
		buf = appendBits(buf, text[2:])
	case TokInteger, TokDecimal, TokFloat:
		buf = append(buf, text...)
	default:
		return Literal{}, ErrNotLiteral
	}
	lit.Bytes = buf[start:]
	if s.Token(i-1).Kind == TokIntroducer {
		lit.Introducer = introducerName(s.Text(i - 1))
	}
	return lit, nil
}

// LiteralTokens says how many tokens the literal at token i takes: adjacent strings are one. It reads no value, of which it
// would leave a copy in memory.
func (s *Statement) LiteralTokens(i int) int {
	n := 1
	if kind := s.Token(i).Kind; kind == TokString || kind == TokNational {
		for s.Token(i+n).Kind == TokString {
			n++
		}
	}
	return n
}

// introducerName gives the character set of an introducer without allocating.
func introducerName(text []byte) string {
	for i, name := range charsetNames {
		if equalFoldASCII(text[1:], name) {
			return charsetLowerNames[i]
		}
	}
	return ""
}

var charsetLowerNames = func() (names [len(charsetNames)]string) {
	for i, n := range charsetNames {
		names[i] = strings.ToLower(n)
	}
	return names
}()

// appendString appends the value of the one string token i.
func (s *Statement) appendString(dst []byte, i int) []byte {
	text := s.Text(i)
	if text[0] != '\'' && text[0] != '"' {
		text = text[1:] // N
	}
	return appendUnquoted(dst, text, s.tokens[i].flags&flagEscaped != 0, s.mode&NoBackslashEscapes == 0)
}

// appendUnquoted appends the content of quoted text (its first byte is the quote). escaped says that the content has
// doubled quotes or, with backslash, escapes.
// https://mariadb.com/kb/en/string-literals/#escape-sequences
func appendUnquoted(dst, text []byte, escaped, backslash bool) []byte {
	quote, body := text[0], text[1:len(text)-1]
	if !escaped {
		return append(dst, body...)
	}
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case c == '\\' && backslash && i+1 < len(body):
			i++
			switch c = body[i]; c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'b':
				c = '\b'
			case '0':
				c = 0
			case 'Z':
				c = 0x1A
			case '_', '%':
				dst = append(dst, '\\') // stays escaped for LIKE
			}
		case c == quote:
			i++ // doubled
		}
		dst = append(dst, c)
	}
	return dst
}

// appendHex appends the bytes of hex digits; an odd count (0x1) is as if a zero stood in front.
func appendHex(dst, digits []byte) []byte {
	value := func(c byte) byte {
		if c >= 'a' {
			return c - 'a' + 10
		}
		if c >= 'A' {
			return c - 'A' + 10
		}
		return c - '0'
	}
	if len(digits)%2 == 1 {
		dst = append(dst, value(digits[0]))
		digits = digits[1:]
	}
	for ; len(digits) > 0; digits = digits[2:] {
		dst = append(dst, value(digits[0])<<4|value(digits[1]))
	}
	return dst
}

// appendBits appends the bytes of binary digits, filled with zeros at the front to whole bytes.
func appendBits(dst, digits []byte) []byte {
	var b byte
	for i, c := range digits {
		b = b<<1 | (c - '0')
		if (len(digits)-1-i)%8 == 0 {
			dst = append(dst, b)
			b = 0
		}
	}
	return dst
}

// Name gives the name that identifier token i stands for, in UTF-8, without quotes; for a user variable or host part the
// name after @. It is empty for other tokens. Bytes that are not text in the client's character set give U+FFFD, which no
// name of the server equals by chance: the server refuses such identifiers.
func (s *Statement) Name(i int) string {
	t := s.Token(i)
	text := s.Text(i)
	switch t.Kind {
	case TokWord, TokIntroducer:
	case TokQuoted:
		text = s.unquote(t, text)
	case TokUserVar:
		text = text[1:]
		switch text[0] {
		case '`', '"', '\'':
			text = s.unquote(t, text)
		}
	default:
		return ""
	}
	return s.toUTF8(text, t.flags&flagHigh != 0)
}

// unquote removes the quotes of an identifier or quoted variable name.
func (s *Statement) unquote(t *Token, text []byte) []byte {
	if t.flags&flagEscaped == 0 {
		return text[1 : len(text)-1]
	}
	isString := text[0] == '\'' || text[0] == '"' && s.mode&ANSIQuotes == 0
	return appendUnquoted(nil, text, true, isString && s.mode&NoBackslashEscapes == 0)
}

// toUTF8 converts text of the client's character set.
func (s *Statement) toUTF8(text []byte, high bool) string {
	if !high {
		return string(text)
	}
	if s.charset != CharsetLatin1 {
		return strings.ToValidUTF8(string(text), "\uFFFD")
	}
	var b strings.Builder
	for _, c := range text {
		b.WriteRune(latin1Rune(c))
	}
	return b.String()
}

// latin1Rune gives the character of a byte in MariaDB's latin1, which is cp1252 with C1 controls for the five bytes that
// cp1252 leaves undefined.
func latin1Rune(c byte) rune {
	if 0x80 <= c && c < 0xA0 {
		return cp1252[c-0x80]
	}
	return rune(c)
}

var cp1252 = [32]rune{
	0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D, 0x8F,
	0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D, 0x017E, 0x0178,
}

// FoldName gives the form in which two column names or aliases are compared: MariaDB maps each character to its simple
// lower case by the case table of utf8mb3_general_ci, of an early Unicode, and does nothing more, so that e differs from
// the same letter with an accent, s from the long s (U+017F) and i from the dotted capital (U+0130).
func FoldName(name string) string {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, name)
		}
	}
	return name
}

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	if unicode.Is(newerCase, r) {
		return r
	}
	return unicode.ToLower(r)
}

// newerCase are the letters that have a lower case in Unicode today but not in MariaDB's table for names.
var newerCase = &unicode.RangeTable{R16: []unicode.Range16{
	{0x0130, 0x0130, 1}, {0x0220, 0x0220, 1}, {0x023A, 0x023B, 1}, {0x023D, 0x023E, 1}, {0x0241, 0x0243, 2},
	{0x0244, 0x0246, 1}, {0x0248, 0x024E, 2}, {0x0370, 0x0372, 2}, {0x0376, 0x0376, 1}, {0x037F, 0x037F, 1},
	{0x03CF, 0x03CF, 1}, {0x03D8, 0x03D8, 1}, {0x03F4, 0x03F4, 1}, {0x03F7, 0x03F9, 2}, {0x03FA, 0x03FA, 1},
	{0x03FD, 0x03FF, 1}, {0x048A, 0x048A, 1}, {0x04C0, 0x04C0, 1}, {0x04C5, 0x04C5, 1}, {0x04C9, 0x04C9, 1},
	{0x04CD, 0x04CD, 1}, {0x04F6, 0x04F6, 1}, {0x04FA, 0x052E, 2}, {0x10A0, 0x10C5, 1}, {0x10C7, 0x10C7, 1},
	{0x10CD, 0x10CD, 1}, {0x13A0, 0x13F5, 1}, {0x1C90, 0x1CBA, 1}, {0x1CBD, 0x1CBF, 1}, {0x1E9E, 0x1E9E, 1},
	{0x1EFA, 0x1EFE, 2}, {0x2126, 0x2126, 1}, {0x212A, 0x212B, 1}, {0x2132, 0x2132, 1}, {0x2183, 0x2183, 1},
	{0x2C00, 0x2C2F, 1}, {0x2C60, 0x2C62, 2}, {0x2C63, 0x2C64, 1}, {0x2C67, 0x2C6D, 2}, {0x2C6E, 0x2C70, 1},
	{0x2C72, 0x2C72, 1}, {0x2C75, 0x2C75, 1}, {0x2C7E, 0x2C80, 1}, {0x2C82, 0x2CE2, 2}, {0x2CEB, 0x2CED, 2},
	{0x2CF2, 0x2CF2, 1}, {0xA640, 0xA66C, 2}, {0xA680, 0xA69A, 2}, {0xA722, 0xA72E, 2}, {0xA732, 0xA76E, 2},
	{0xA779, 0xA77D, 2}, {0xA77E, 0xA786, 2}, {0xA78B, 0xA78D, 2}, {0xA790, 0xA792, 2}, {0xA796, 0xA7AA, 2},
	{0xA7AB, 0xA7AE, 1}, {0xA7B0, 0xA7B4, 1}, {0xA7B6, 0xA7C4, 2}, {0xA7C5, 0xA7C7, 1}, {0xA7C9, 0xA7C9, 1},
	{0xA7D0, 0xA7D0, 1}, {0xA7D6, 0xA7D8, 2}, {0xA7F5, 0xA7F5, 1},
}}

// FoldTable gives the form in which two table or database names, or table aliases, are compared under
// lower_case_table_names: as they are with 0, without letter case with 1 and 2.
func FoldTable(name string, lowerCaseTableNames int) string {
	if lowerCaseTableNames == 0 {
		return name
	}
	return FoldName(name)
}
