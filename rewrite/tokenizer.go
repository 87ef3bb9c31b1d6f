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

// tokenizer is the state of one Scan.
type tokenizer struct {
	s       *Statement
	classes *byteClasses
	pos     int
	end     int // of the text the server lexes
}

func (t *tokenizer) run() error { return ErrSyntax }
