package logical

import (
	"strings"
	"unicode/utf8"
)

// tokenKind is the kind of a token of a declaration.
type tokenKind byte

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a bare word, lower-cased in text
	tokenName             // a `quoted` name
	tokenNumber           // digits, a point, an exponent, as written
	tokenString           // a string literal, unescaped
	tokenHex              // x'..', decoded
	tokenHexNum           // 0x.., decoded
	tokenBit              // b'..' or 0b.., decoded
	tokenPunct            // one character
)

type token struct {
	kind tokenKind
	text string
}

// lexer cuts a declaration into tokens. Comments are not understood: a declaration that has one is refused.
type lexer struct {
	src     string
	options Options
}

func (l *lexer) next() (token, error) {
	l.src = strings.TrimLeft(l.src, " \t\r\n\v\f")
	if l.src == "" {
		return token{}, nil
	}
	c := l.src[0]
	switch {
	case c == '\'' || c == '"' && !l.options.ANSIQuotes:
		s, err := l.quoted(c, !l.options.NoBackslashEscapes)
		return token{tokenString, s}, err
	case c == '`' || c == '"':
		s, err := l.quoted(c, false)
		return token{tokenName, s}, err
	case (c == 'x' || c == 'X') && strings.HasPrefix(l.src[1:], "'"):
		l.src = l.src[1:]
		s, err := l.quoted('\'', false)
		if err != nil {
			return token{}, err
		}
		b, err := decodeHex(s, false)
		return token{tokenHex, b}, err
	case (c == 'b' || c == 'B') && strings.HasPrefix(l.src[1:], "'"):
		l.src = l.src[1:]
		s, err := l.quoted('\'', false)
		if err != nil {
			return token{}, err
		}
		b, err := decodeBits(s)
		return token{tokenBit, b}, err
	case c == '0' && len(l.src) > 2 && (l.src[1] == 'x' || l.src[1] == 'b'):
		return l.prefixed()
	case isDigit(c) || c == '.' && len(l.src) > 1 && isDigit(l.src[1]):
		return l.number(), nil
	case isWordByte(c):
		n := 1
		for n < len(l.src) && isWordByte(l.src[n]) {
			n++
		}
		w := l.src[:n]
		l.src = l.src[n:]
		return token{tokenWord, strings.ToLower(w)}, nil
	}
	l.src = l.src[1:]
	return token{tokenPunct, string(c)}, nil
}

// prefixed reads 0x.. and 0b...
func (l *lexer) prefixed() (token, error) {
	base := l.src[1]
	n := 2
	for n < len(l.src) && isWordByte(l.src[n]) {
		n++
	}
	digits := l.src[2:n]
	l.src = l.src[n:]
	if base == 'b' {
		b, err := decodeBits(digits)
		return token{tokenBit, b}, err
	}
	b, err := decodeHex(digits, true)
	return token{tokenHexNum, b}, err
}

func (l *lexer) number() token {
	n := 0
	for n < len(l.src) && (isDigit(l.src[n]) || l.src[n] == '.') {
		n++
	}
	if n < len(l.src) && (l.src[n] == 'e' || l.src[n] == 'E') {
		n++
		if n < len(l.src) && (l.src[n] == '+' || l.src[n] == '-') {
			n++
		}
		for n < len(l.src) && isDigit(l.src[n]) {
			n++
		}
	}
	t := token{tokenNumber, l.src[:n]}
	l.src = l.src[n:]
	return t
}

// quoted reads up to the closing quote; a doubled quote stands for one.
func (l *lexer) quoted(quote byte, escapes bool) (string, error) {
	var b strings.Builder
	for i := 1; i < len(l.src); i++ {
		c := l.src[i]
		switch {
		case c == quote && i+1 < len(l.src) && l.src[i+1] == quote:
			b.WriteByte(quote)
			i++
		case c == quote:
			l.src = l.src[i+1:]
			if !utf8.ValidString(b.String()) {
				return "", declarationError("a quoted text is not valid UTF-8")
			}
			return b.String(), nil
		case c == '\\' && escapes && i+1 < len(l.src):
			i++
			b.WriteString(unescape(l.src[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", declarationError("a quoted text does not end")
}

// unescape returns what a backslash and c stand for: https://mariadb.com/kb/en/string-literals/#escape-sequences.
func unescape(c byte) string {
	switch c {
	case '0':
		return "\x00"
	case 'b':
		return "\b"
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case 'Z':
		return "\x1a"
	case '%', '_':
		return "\\" + string(c)
	}
	return string([]byte{c})
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c == '_' || c == '$' || c >= 0x80
}

// decodeHex decodes hexadecimal digits; an odd number of them is allowed in 0x literals only.
func decodeHex(s string, odd bool) (string, error) {
	if len(s)%2 == 1 {
		if !odd {
			return "", declarationError("a hexadecimal literal has an odd number of digits")
		}
		s = "0" + s
	}
	out := make([]byte, 0, len(s)/2)
	for i := 0; i < len(s); i += 2 {
		hi, lo := hexDigit(s[i]), hexDigit(s[i+1])
		if hi < 0 || lo < 0 {
			return "", declarationError("a hexadecimal literal has a wrong digit")
		}
		out = append(out, byte(hi<<4|lo))
	}
	return string(out), nil
}

// hexDigit returns the value of a hexadecimal digit, -1 for anything else.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// decodeBits decodes binary digits into bytes, right aligned.
func decodeBits(s string) (string, error) {
	out := make([]byte, (len(s)+7)/8)
	for i := range len(s) {
		bit := len(s) - 1 - i
		switch s[i] {
		case '1':
			out[len(out)-1-bit/8] |= 1 << (bit % 8)
		case '0':
		default:
			return "", declarationError("a bit literal has a wrong digit")
		}
	}
	return string(out), nil
}
