package rewrite

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
	tokens := t.s.tokens
	last := -1 // end of the token before
	for {
		if t.pos < len(t.sql) && t.sql[t.pos] == ' ' {
			t.pos++
			t.role = plainWord
		}
		if t.pos < len(t.sql) && t.classes[t.sql[t.pos]] != classWord && !t.skipBlanks() {
			return ErrSyntax
		}
		if t.pos >= len(t.sql) {
			break
		}
		tokens = append(tokens, Token{Start: int32(t.pos)})
		t.s.tokens = tokens
		tok := &tokens[len(tokens)-1]
		if !t.next(tok) {
			return ErrSyntax
		}
		tok.End = int32(t.pos)
		if int(tok.Start) == last {
			tok.flags |= flagGlued
		}
		if t.inExecutable {
			tok.flags |= flagExecutable
		}
		last = t.pos
		if tok.Kind == TokOp && (Op(tok.code) == OpLeftParen || Op(tok.code) == OpRightParen) {
			t.pair(tok)
		}
	}
	if t.inExecutable {
		return ErrSyntax
	}
	return nil
}

// pair keeps the stack of open parentheses.
func (t *tokenizer) pair(tok *Token) {
	s := t.s
	switch Op(tok.code) {
	case OpLeftParen:
		s.open = append(s.open, int32(len(s.tokens)-1))
		s.maxDepth = max(s.maxDepth, len(s.open))
	case OpRightParen:
		if n := len(s.open); n > 0 {
			from := s.open[n-1]
			s.open = s.open[:n-1]
			d := int32(len(s.tokens)-1) - from
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

// next reads one token at t.pos, which is neither blank nor a comment. It and the functions it calls fill in all of tok
// but its place and fail where the server's lexer would.
func (t *tokenizer) next(tok *Token) bool {
	c := t.sql[t.pos]
	role := t.role
	t.role = plainWord
	if role != plainWord && t.isWordByte(c) {
		return t.word(tok, role)
	}
	switch t.classes[c] {
	case classWord:
		if t.peek(1) == '\'' {
			switch c {
			case 'n', 'N':
				t.pos++
				return t.quoted(tok, TokNational)
			case 'x', 'X':
				return t.hexString(tok)
			case 'b', 'B':
				return t.bitString(tok)
			}
		}
		return t.word(tok, plainWord)
	case classDigit:
		return t.number(tok)
	case classPunct:
		return t.punctuation(tok, c)
	}
	return false
}

// word reads an unquoted word whose first bytes from start may have been read already (a number that turned out to be a
// name).
func (t *tokenizer) word(tok *Token, role wordRole) bool {
	start := int(tok.Start)
	tok.Kind = TokWord
	sql, pos, hash := t.sql, t.pos, uint32(keywordHashStart)
	for pos < len(sql) {
		c := sql[pos]
		if c >= 0x80 {
			t.pos = pos
			n := t.charLength()
			if n == 0 {
				break
			}
			tok.flags |= flagHigh | flagModeDependent
			pos += n
			continue
		}
		if !t.isWordByte(c) {
			break
		}
		hash = keywordHash(hash, c)
		pos++
	}
	t.pos = pos
	if t.pos == start {
		return false
	}
	beforeDot := t.peek(0) == '.' && t.isWordByte(t.peek(1))
	if beforeDot || role == afterDot {
		tok.flags |= flagName
	}
	if role == afterSysVar || role == plainWord && !beforeDot {
		text := sql[start:pos]
		tok.code = uint16(findKeyword(text, hash))
		if text[0] == '_' && role == plainWord && tok.flags&flagHigh == 0 && isCharset(text[1:]) {
			tok.Kind = TokIntroducer
		}
		if Keyword(tok.code) == KwNot {
			tok.flags |= t.looseNot()
		}
	}
	return true
}

// looseNot tells whether HIGH_NOT_PRECEDENCE changes what a NOT at hand binds to: not in IS NOT, NOT NULL, NOT IN and the
// like, which are one operator.
func (t *tokenizer) looseNot() tokenFlags {
	if n := len(t.s.tokens); n > 1 && t.s.tokens[n-2].Keyword() == KwIs {
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

// quoted reads a string from its opening quote. Bytes of multi-byte characters need no care: in the supported character
// sets none of them can be a quote or a backslash.
func (t *tokenizer) quoted(tok *Token, kind TokenKind) bool {
	tok.Kind = kind
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
				return true
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
	return false
}

// delimited reads an identifier in backticks or, under ANSI_QUOTES, double quotes.
func (t *tokenizer) delimited(tok *Token) bool {
	tok.Kind = TokQuoted
	quote := t.sql[t.pos]
	if quote == '"' {
		tok.flags |= flagModeDependent
	}
	for t.pos++; t.pos < len(t.sql); t.pos++ {
		switch c := t.sql[t.pos]; {
		case c == quote:
			if t.peek(1) != quote {
				t.pos++
				return true
			}
			tok.flags |= flagEscaped
			t.pos++
		case c == 0:
			return false
		case c >= 0x80:
			tok.flags |= flagHigh | flagModeDependent
		}
	}
	return false
}

// at reads what starts with @: a user variable or the host part of an account as one token, or the @@ of a system
// variable, whose name is read next.
func (t *tokenizer) at(tok *Token) bool {
	t.pos++
	switch c := t.peek(0); c {
	case '@':
		t.pos++
		if c := t.peek(0); c != '`' && !t.isWordByte(c) {
			return false
		}
		t.role = afterSysVar
		tok.Kind = TokSysVar
		return true
	case '\'', '"', '`':
		ok := false
		if c == '`' || c == '"' && t.s.mode&ANSIQuotes != 0 {
			ok = t.delimited(tok)
		} else {
			ok = t.quoted(tok, TokUserVar)
		}
		tok.Kind = TokUserVar
		return ok
	}
	tok.Kind = TokUserVar
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
	return t.pos > start
}

// punctuation reads an operator, or what starts with a quote, a dot, @ or ?.
func (t *tokenizer) punctuation(tok *Token, c byte) bool {
	op, n := OpNone, 1
	switch c {
	case '\'':
		return t.quoted(tok, TokString)
	case '"':
		if t.s.mode&ANSIQuotes != 0 {
			return t.delimited(tok)
		}
		return t.quoted(tok, TokString)
	case '`':
		return t.delimited(tok)
	case '@':
		return t.at(tok)
	case '?':
		if t.isWordByte(t.peek(1)) {
			return false
		}
		t.pos++
		tok.Kind = TokParam
		return true
	case '\\':
		if t.peek(1) != 'N' {
			return false
		}
		t.pos += 2
		tok.Kind, tok.code = TokWord, uint16(KwNull)
		return true
	case '.':
		// Glued to a word, a dot separates names even where a digit follows (t.5); elsewhere .5 is a number.
		if isDigit(t.peek(1)) && !t.followsWord() {
			return t.fraction(tok)
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
		return false
	}
	t.pos += n
	tok.Kind, tok.code = TokOp, uint16(op)
	if op == OpOrOr {
		tok.flags |= flagModeDependent
	}
	return true
}

// followsWord reports whether an unquoted word ends right here.
func (t *tokenizer) followsWord() bool {
	n := len(t.s.tokens)
	return n > 1 && t.s.tokens[n-2].Kind == TokWord && int(t.s.tokens[n-2].End) == t.pos
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
