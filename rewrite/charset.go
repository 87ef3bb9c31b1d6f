package rewrite

// Byte classes, one table per character set. They follow MariaDB's lexer state map, in which letters, digits, `_`, `$` and
// lead bytes of multi-byte characters form identifiers (mysys/charset.c, sql/sql_lex.cc of the server).
const (
	classOther byte = iota // no token starts here
	classSpace
	classWord // starts and continues an identifier
	classDigit
	classPunct // dispatched by its own value
)

type byteClasses [256]byte

func newClasses(word, space func(b byte) bool) *byteClasses {
	var t byteClasses
	for i := range 256 {
		b := byte(i)
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', b == '_', b == '$', b >= 0x80 && word(b):
			t[i] = classWord
		case '0' <= b && b <= '9':
			t[i] = classDigit
		case b == ' ', '\t' <= b && b <= '\r', b >= 0x80 && space(b):
			t[i] = classSpace
		}
	}
	for _, b := range []byte("'\"`.,;()@?:=<>!&|+-*/%^~{}#\\") {
		t[b] = classPunct
	}
	return &t
}

func never(byte) bool { return false }

var (
	// In utf8mb3 and utf8mb4 the lead bytes of characters form words; whether the character is whole is checked apart.
	utf8Classes = newClasses(func(b byte) bool { return b >= 0xC2 && b <= 0xF4 }, never)
	// latin1 is cp1252 in MariaDB: its letters form words, and A0 (no-break space) is white space.
	latin1Classes = newClasses(func(b byte) bool {
		switch b {
		case 0x83, 0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F:
			return true
		}
		return b >= 0xC0 && b != 0xD7 && b != 0xF7
	}, func(b byte) bool { return b == 0xA0 })
	// In ascii and binary no byte of 0x80 and more may stand outside quotes and comments.
	asciiClasses = newClasses(never, never)
)

func classTable(c Charset) *byteClasses {
	switch c {
	case CharsetUTF8MB4, CharsetUTF8MB3:
		return utf8Classes
	case CharsetLatin1:
		return latin1Classes
	}
	return asciiClasses
}

// trimEnd takes off what the server takes off before it lexes: white space, semicolons and NULs at the end. It matters
// after `--`, which is a comment only when white space, a control character or the end follows.
func trimEnd(sql []byte, classes *byteClasses) []byte {
	n := len(sql)
	for n > 0 && (sql[n-1] == ';' || sql[n-1] == 0 || classes[sql[n-1]] == classSpace) {
		n--
	}
	return sql[:n]
}

// charLength gives the length of the character at t.pos, whose first byte is 0x80 or more, or 0 when it cannot be part of
// a name: not a letter in an 8-bit character set, or not whole in UTF-8. Like the server it lets surrogates pass.
func (t *tokenizer) charLength() int {
	c := t.sql[t.pos]
	if t.classes[c] != classWord {
		return 0
	}
	if t.classes != utf8Classes {
		return 1
	}
	tail := func(i int) bool { return t.peek(i)&0xC0 == 0x80 }
	switch {
	case c < 0xE0:
		if tail(1) {
			return 2
		}
	case c < 0xF0:
		if tail(1) && tail(2) && (c != 0xE0 || t.peek(1) >= 0xA0) {
			return 3
		}
	case t.s.charset == CharsetUTF8MB4:
		if tail(1) && tail(2) && tail(3) && (c != 0xF0 || t.peek(1) >= 0x90) && (c != 0xF4 || t.peek(1) <= 0x8F) {
			return 4
		}
	}
	return 0
}

// isCharset reports whether name, without regard to letter case, is a character set that an introducer can name.
func isCharset(name []byte) bool {
	for _, cs := range charsetNames {
		if equalFoldASCII(name, cs) {
			return true
		}
	}
	return false
}

// charsetNames are all character sets of MariaDB 10.4 to 11.x, whether compiled in or not: information_schema.CHARACTER_SETS
// and the alias utf8.
var charsetNames = [...]string{
	"UTF8MB4", "UTF8", "UTF8MB3", "LATIN1", "BINARY", "ASCII", "BIG5", "DEC8", "CP850", "HP8", "KOI8R", "LATIN2", "SWE7",
	"UJIS", "SJIS", "HEBREW", "TIS620", "EUCKR", "KOI8U", "GB2312", "GREEK", "CP1250", "GBK", "LATIN5", "ARMSCII8", "UCS2",
	"CP866", "KEYBCS2", "MACCE", "MACROMAN", "CP852", "LATIN7", "CP1251", "UTF16", "UTF16LE", "CP1256", "CP1257", "UTF32",
	"GEOSTD8", "CP932", "EUCJPMS",
}
