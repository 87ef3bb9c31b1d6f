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
	sql     []byte // what the server lexes: the packet without white space, semicolons and NULs at its end
	pos     int
	classes *byteClasses
	// inExecutable is set between the opening of an executable comment whose content counts and its closing.
	inExecutable bool
	// role is what the token before makes of a word that follows it directly.
	role wordRole
}

// wordRole tells how a word is read because of what stands right before it.
type wordRole uint8

const (
	plainWord   wordRole = iota
	afterDot             // a name, whatever it spells
	afterSysVar          // a name or keyword, never the start of x'..' or of a number
	afterDigits          // the rest of a name that starts with digits
)

// run fills s.tokens.
func (t *tokenizer) run() error {
	t.sql = trimEnd(t.sql, t.classes)
	last := 0 // end of the token before
	for {
		if err := t.skipBlanks(); err != nil {
			return err
		}
		if t.pos >= len(t.sql) {
			break
		}
		start := t.pos
		tok, err := t.next()
		if err != nil {
			return err
		}
		tok.Start, tok.End = int32(start), int32(t.pos)
		if start == last && len(t.s.tokens) > 0 {
			tok.flags |= flagGlued
		}
		if t.inExecutable {
			tok.flags |= flagExecutable
		}
		last = t.pos
		if tok.Kind == TokOp {
			t.pair(&tok)
		}
		t.s.tokens = append(t.s.tokens, tok)
	}
	if t.inExecutable {
		return ErrSyntax
	}
	return nil
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

// pair keeps the stack of open parentheses.
func (t *tokenizer) pair(tok *Token) {
	s := t.s
	switch Op(tok.code) {
	case OpLeftParen:
		s.open = append(s.open, int32(len(s.tokens)))
		s.maxDepth = max(s.maxDepth, len(s.open))
	case OpRightParen:
		if n := len(s.open); n > 0 {
			from := s.open[n-1]
			s.open = s.open[:n-1]
			d := int32(len(s.tokens)) - from
			s.tokens[from].match, tok.match = d, -d
		}
	}
}

// peek gives the byte n after the current one, 0 beyond the end, where the server has a NUL as well.
func (t *tokenizer) peek(n int) byte {
	if t.pos+n < len(t.sql) {
		return t.sql[t.pos+n]
	}
	return 0
}

func (t *tokenizer) isWordByte(b byte) bool {
	c := t.classes[b]
	return c == classWord || c == classDigit
}

// skipBlanks passes white space and comments and opens and closes executable comments.
func (t *tokenizer) skipBlanks() error {
	for t.pos < len(t.sql) {
		c := t.sql[t.pos]
		switch {
		case t.classes[c] == classSpace:
			t.pos++
		case c == '#':
			t.skipLine()
		case c == '-' && t.peek(1) == '-' && t.endsDashes(t.peek(2)):
			t.skipLine()
		case c == '/' && t.peek(1) == '*':
			if err := t.comment(); err != nil {
				return err
			}
		case c == '*' && t.inExecutable && t.peek(1) == '/':
			t.inExecutable = false
			t.pos += 2
		default:
			return nil
		}
		t.role = plainWord
	}
	return nil
}

// endsDashes reports whether two dashes before b are a comment: white space, control characters and the end make them one.
func (t *tokenizer) endsDashes(b byte) bool {
	return b < ' ' || b == 0x7F || t.classes[b] == classSpace
}

// skipLine passes a comment to the end of its line. A NUL ends it too; it is an error then.
func (t *tokenizer) skipLine() {
	for t.pos < len(t.sql) && t.sql[t.pos] != '\n' && t.sql[t.pos] != 0 {
		t.pos++
	}
}

// comment passes a comment that starts with /*, or opens it when it is an executable comment for this server:
// https://mariadb.com/kb/en/comment-syntax/#executable-comment-syntax
func (t *tokenizer) comment() error {
	t.pos += 2
	mariadb := t.peek(0) == 'M' && t.peek(1) == '!'
	if !mariadb && t.peek(0) != '!' {
		return t.closeComment(false)
	}
	t.pos++
	if mariadb {
		t.pos++
	}
	digits, version := 0, 0
	for digits < 6 && '0' <= t.peek(digits) && t.peek(digits) <= '9' {
		version = version*10 + int(t.peek(digits)-'0')
		digits++
	}
	if digits >= 5 {
		// 50700 to 99999 are versions of MySQL whose syntax MariaDB does not follow.
		if version > t.s.version || !mariadb && 50700 <= version && version <= 99999 {
			return t.closeComment(true)
		}
		t.pos += digits
	}
	t.inExecutable = true
	return nil
}

// closeComment passes the rest of a comment that does not count. Within a versioned one, one level of /* */ is allowed.
func (t *tokenizer) closeComment(nested bool) error {
	for t.pos+1 < len(t.sql) {
		switch {
		case nested && t.sql[t.pos] == '/' && t.sql[t.pos+1] == '*':
			t.pos += 2
			if err := t.closeComment(false); err != nil {
				return err
			}
		case t.sql[t.pos] == '*' && t.sql[t.pos+1] == '/':
			t.pos += 2
			return nil
		default:
			t.pos++
		}
	}
	return ErrSyntax
}

// next reads one token at t.pos, which is neither blank nor a comment.
func (t *tokenizer) next() (Token, error) {
	c := t.sql[t.pos]
	role := t.role
	t.role = plainWord
	if role != plainWord && t.isWordByte(c) {
		return t.word(t.pos, role)
	}
	switch t.classes[c] {
	case classWord:
		if t.peek(1) == '\'' {
			switch c {
			case 'n', 'N':
				t.pos++
				return t.quoted(TokNational)
			case 'x', 'X':
				return t.hexString()
			case 'b', 'B':
				return t.bitString()
			}
		}
		return t.word(t.pos, plainWord)
	case classDigit:
		return t.number()
	case classPunct:
		return t.punctuation(c)
	}
	return Token{}, ErrSyntax
}

// word reads an unquoted word whose first bytes from start may have been read already (a number that turned out to be a
// name).
func (t *tokenizer) word(start int, role wordRole) (Token, error) {
	tok := Token{Kind: TokWord}
	for t.pos < len(t.sql) {
		c := t.sql[t.pos]
		if c >= 0x80 {
			n := t.charLength()
			if n == 0 {
				break
			}
			tok.flags |= flagHigh | flagModeDependent
			t.pos += n
			continue
		}
		if !t.isWordByte(c) {
			break
		}
		t.pos++
	}
	if t.pos == start {
		return tok, ErrSyntax
	}
	beforeDot := t.peek(0) == '.' && t.isWordByte(t.peek(1))
	if beforeDot || role == afterDot {
		tok.flags |= flagName
	}
	if role == afterSysVar || role == plainWord && !beforeDot {
		text := t.sql[start:t.pos]
		tok.code = uint16(lookupKeyword(text))
		if text[0] == '_' && role == plainWord && tok.flags&flagHigh == 0 && isCharset(text[1:]) {
			tok.Kind = TokIntroducer
		}
		if Keyword(tok.code) == KwNot {
			tok.flags |= t.looseNot()
		}
	}
	return tok, nil
}

// looseNot tells whether HIGH_NOT_PRECEDENCE changes what a NOT at hand binds to: not in IS NOT, NOT NULL, NOT IN and the
// like, which are one operator.
func (t *tokenizer) looseNot() tokenFlags {
	if n := len(t.s.tokens); n > 0 && t.s.tokens[n-1].Keyword() == KwIs {
		return 0
	}
	p := t.pos
	for p < len(t.sql) && t.classes[t.sql[p]] == classSpace {
		p++
	}
	q := p
	for q < len(t.sql) && t.isWordByte(t.sql[q]) {
		q++
	}
	switch lookupKeyword(t.sql[p:q]) {
	case KwNull, KwIn, KwLike, KwBetween, KwRegexp, KwRlike, KwExists, KwAtomic, KwDeterministic:
		return 0
	}
	return flagModeDependent
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

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isHexDigit(b byte) bool {
	return isDigit(b) || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// number reads a token that starts with a digit: a number, or a name such as 1st, 0X41 or 1e.
func (t *tokenizer) number() (Token, error) {
	start := t.pos
	if t.sql[start] == '0' {
		isPart, kind := isHexDigit, TokHexNumber
		switch t.peek(1) {
		case 'b':
			isPart, kind = func(b byte) bool { return b == '0' || b == '1' }, TokBitNumber
			fallthrough
		case 'x':
			t.pos += 2
			for isPart(t.peek(0)) {
				t.pos++
			}
			if t.pos-start >= 3 && !t.isWordByte(t.peek(0)) {
				return Token{Kind: kind}, nil
			}
			return t.word(start, afterDigits)
		}
	}
	for isDigit(t.peek(0)) {
		t.pos++
	}
	c := t.peek(0)
	if t.isWordByte(c) {
		if c == 'e' || c == 'E' {
			n := 1
			if s := t.peek(1); s == '+' || s == '-' {
				n = 2
			}
			if isDigit(t.peek(n)) {
				t.pos += n
				for isDigit(t.peek(0)) {
					t.pos++
				}
				return Token{Kind: TokFloat}, nil
			}
			t.pos++
		}
		return t.word(start, afterDigits)
	}
	if c != '.' || t.peek(1) == '.' {
		return Token{Kind: TokInteger}, nil
	}
	return t.fraction()
}

// fraction reads the rest of a number from its point.
func (t *tokenizer) fraction() (Token, error) {
	t.pos++
	for isDigit(t.peek(0)) {
		t.pos++
	}
	if c := t.peek(0); c == 'e' || c == 'E' {
		t.pos++
		if s := t.peek(0); s == '+' || s == '-' {
			t.pos++
		}
		if !isDigit(t.peek(0)) {
			// The server then takes the next byte, whatever it is, for a token of its own.
			return Token{}, ErrSyntax
		}
		for isDigit(t.peek(0)) {
			t.pos++
		}
		return Token{Kind: TokFloat}, nil
	}
	return Token{Kind: TokDecimal}, nil
}

// hexString reads x'..', which must have an even number of digits.
func (t *tokenizer) hexString() (Token, error) {
	t.pos += 2
	start := t.pos
	for isHexDigit(t.peek(0)) {
		t.pos++
	}
	if t.peek(0) != '\'' || (t.pos-start)%2 != 0 {
		return Token{}, ErrSyntax
	}
	t.pos++
	return Token{Kind: TokHexString}, nil
}

// bitString reads b'..'.
func (t *tokenizer) bitString() (Token, error) {
	t.pos += 2
	for t.peek(0) == '0' || t.peek(0) == '1' {
		t.pos++
	}
	if t.peek(0) != '\'' {
		return Token{}, ErrSyntax
	}
	t.pos++
	return Token{Kind: TokBitString}, nil
}

// quoted reads a string from its opening quote. Bytes of multi-byte characters need no care: in the supported character
// sets none of them can be a quote or a backslash.
func (t *tokenizer) quoted(kind TokenKind) (Token, error) {
	tok := Token{Kind: kind}
	quote := t.sql[t.pos]
	if quote == '"' {
		tok.flags |= flagModeDependent
	}
	backslash := t.s.mode&NoBackslashEscapes == 0
	for t.pos++; t.pos < len(t.sql); t.pos++ {
		switch c := t.sql[t.pos]; {
		case c == quote:
			if t.peek(1) != quote {
				t.pos++
				return tok, nil
			}
			tok.flags |= flagEscaped
			t.pos++
		case c == '\\':
			tok.flags |= flagModeDependent
			if backslash {
				tok.flags |= flagEscaped
				t.pos++
			}
		case c >= 0x80:
			tok.flags |= flagHigh | flagModeDependent
		}
	}
	return tok, ErrSyntax
}

// delimited reads an identifier in backticks or, under ANSI_QUOTES, double quotes.
func (t *tokenizer) delimited() (Token, error) {
	tok := Token{Kind: TokQuoted}
	quote := t.sql[t.pos]
	if quote == '"' {
		tok.flags |= flagModeDependent
	}
	for t.pos++; t.pos < len(t.sql); t.pos++ {
		switch c := t.sql[t.pos]; {
		case c == quote:
			if t.peek(1) != quote {
				t.pos++
				return tok, nil
			}
			tok.flags |= flagEscaped
			t.pos++
		case c == 0:
			return tok, ErrSyntax
		case c >= 0x80:
			tok.flags |= flagHigh | flagModeDependent
		}
	}
	return tok, ErrSyntax
}

// at reads what starts with @: a user variable or the host part of an account as one token, or the @@ of a system
// variable, whose name is read next.
func (t *tokenizer) at() (Token, error) {
	t.pos++
	switch c := t.peek(0); c {
	case '@':
		t.pos++
		if c := t.peek(0); c != '`' && !t.isWordByte(c) {
			return Token{}, ErrSyntax
		}
		t.role = afterSysVar
		return Token{Kind: TokSysVar}, nil
	case '\'', '"', '`':
		read := t.quoted
		if c == '`' || c == '"' && t.s.mode&ANSIQuotes != 0 {
			read = func(TokenKind) (Token, error) { return t.delimited() }
		}
		tok, err := read(TokUserVar)
		tok.Kind = TokUserVar
		return tok, err
	}
	tok := Token{Kind: TokUserVar}
	start := t.pos
	for t.pos < len(t.sql) {
		c := t.sql[t.pos]
		if c >= 0x80 {
			// In UTF-8 any byte of 0x80 and more counts here, so a name that is not text stops the server later.
			if t.classes == asciiClasses || t.classes[c] != classWord && t.classes != utf8Classes || c == 0xFF && t.classes == utf8Classes {
				break
			}
			tok.flags |= flagHigh | flagModeDependent
		} else if !t.isWordByte(c) && c != '.' {
			break
		}
		t.pos++
	}
	if t.pos == start {
		return tok, ErrSyntax
	}
	return tok, nil
}

// punctuation reads an operator, or what starts with a quote, a dot, @ or ?.
func (t *tokenizer) punctuation(c byte) (Token, error) {
	op, n := OpNone, 1
	switch c {
	case '\'':
		return t.quoted(TokString)
	case '"':
		if t.s.mode&ANSIQuotes != 0 {
			return t.delimited()
		}
		return t.quoted(TokString)
	case '`':
		return t.delimited()
	case '@':
		return t.at()
	case '?':
		if t.isWordByte(t.peek(1)) {
			return Token{}, ErrSyntax
		}
		t.pos++
		return Token{Kind: TokParam}, nil
	case '\\':
		if t.peek(1) != 'N' {
			return Token{}, ErrSyntax
		}
		t.pos += 2
		return Token{Kind: TokWord, code: uint16(KwNull)}, nil
	case '.':
		// Glued to a word, a dot separates names even where a digit follows (t.5); elsewhere .5 is a number.
		if isDigit(t.peek(1)) && !t.followsWord() {
			return t.fraction()
		}
		op = OpDot
		if t.peek(1) == '.' {
			op, n = OpDotDot, 2
		} else {
			t.role = afterDot
		}
	case '(':
		op = OpLeftParen
	case ')':
		op = OpRightParen
	case ',':
		op = OpComma
	case ';':
		op = OpSemicolon
	case '*':
		op = OpStar
	case '+':
		op = OpPlus
	case '-':
		op = OpMinus
	case '/':
		op = OpSlash
	case '%':
		op = OpPercent
	case '^':
		op = OpCaret
	case '~':
		op = OpTilde
	case '{':
		op = OpLeftBrace
	case '}':
		op = OpRightBrace
	case '=':
		op = OpEq
	case '&':
		op = OpAmp
		if t.peek(1) == '&' {
			op, n = OpAndAnd, 2
		}
	case '|':
		op = OpPipe
		if t.peek(1) == '|' {
			op, n = OpOrOr, 2
		}
	case ':':
		op = OpColon
		if t.peek(1) == '=' {
			op, n = OpAssign, 2
		}
	default:
		op, n = t.comparison(c)
	}
	if op == OpNone {
		return Token{}, ErrSyntax
	}
	t.pos += n
	tok := Token{Kind: TokOp, code: uint16(op)}
	if op == OpOrOr {
		tok.flags |= flagModeDependent
	}
	return tok, nil
}

// followsWord reports whether an unquoted word ends right here.
func (t *tokenizer) followsWord() bool {
	n := len(t.s.tokens)
	return n > 0 && t.s.tokens[n-1].Kind == TokWord && int(t.s.tokens[n-1].End) == t.pos
}

// comparison tells the operators that start with <, > and !.
func (t *tokenizer) comparison(c byte) (Op, int) {
	next := t.peek(1)
	switch {
	case c == '<' && next == '=' && t.peek(2) == '>':
		return OpNullSafeEq, 3
	case c == '<' && next == '=':
		return OpLe, 2
	case c == '<' && next == '>', c == '!' && next == '=':
		return OpNe, 2
	case c == '<' && next == '<':
		return OpShiftLeft, 2
	case c == '<':
		return OpLt, 1
	case c == '>' && next == '=':
		return OpGe, 2
	case c == '>' && next == '>':
		return OpShiftRight, 2
	case c == '>':
		return OpGt, 1
	case c == '!':
		return OpNot, 1
	}
	return OpNone, 0
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
