package rewrite

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isHexDigit(b byte) bool {
	return isDigit(b) || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// number reads a token that starts with a digit: a number, or a name such as 1st, 0X41 or 1e.
func (t *tokenizer) number(tok *Token) bool {
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
				tok.Kind = kind
				return true
			}
			return t.word(tok, afterDigits)
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
				tok.Kind = TokFloat
				return true
			}
			t.pos++
		}
		return t.word(tok, afterDigits)
	}
	if c != '.' || t.peek(1) == '.' {
		tok.Kind = TokInteger
		return true
	}
	return t.fraction(tok)
}

// fraction reads the rest of a number from its point.
func (t *tokenizer) fraction(tok *Token) bool {
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
			return false
		}
		for isDigit(t.peek(0)) {
			t.pos++
		}
		tok.Kind = TokFloat
		return true
	}
	tok.Kind = TokDecimal
	return true
}

// hexString reads x'..', which must have an even number of digits.
func (t *tokenizer) hexString(tok *Token) bool {
	t.pos += 2
	start := t.pos
	for isHexDigit(t.peek(0)) {
		t.pos++
	}
	if t.peek(0) != '\'' || (t.pos-start)%2 != 0 {
		return false
	}
	t.pos++
	tok.Kind = TokHexString
	return true
}

// bitString reads b'..'.
func (t *tokenizer) bitString(tok *Token) bool {
	t.pos += 2
	for t.peek(0) == '0' || t.peek(0) == '1' {
		t.pos++
	}
	if t.peek(0) != '\'' {
		return false
	}
	t.pos++
	tok.Kind = TokBitString
	return true
}
