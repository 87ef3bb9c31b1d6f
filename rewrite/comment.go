package rewrite

// skipBlanks passes white space and comments and opens and closes executable comments. It fails where a comment does not
// end.
func (t *tokenizer) skipBlanks() bool {
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
			if !t.comment() {
				return false
			}
		case c == '*' && t.inExecutable && t.peek(1) == '/':
			t.inExecutable = false
			t.pos += 2
		default:
			return true
		}
		t.role = plainWord
	}
	return true
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
func (t *tokenizer) comment() bool {
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
		t.s.versioned = t.s.versioned || version >= firstMariaDB
		// 50700 to 99999 are versions of MySQL whose syntax MariaDB does not follow.
		if version > t.s.version || !mariadb && 50700 <= version && version <= 99999 {
			return t.closeComment(true)
		}
		t.pos += digits
	}
	t.inExecutable = true
	return true
}

// firstMariaDB is the first version of an executable comment about which two servers of now can be of two minds.
const firstMariaDB = 100000

// closeComment passes the rest of a comment that does not count. Within a versioned one, one level of /* */ is allowed.
func (t *tokenizer) closeComment(nested bool) bool {
	for t.pos+1 < len(t.sql) {
		switch {
		case nested && t.sql[t.pos] == '/' && t.sql[t.pos+1] == '*':
			t.pos += 2
			if !t.closeComment(false) {
				return false
			}
		case t.sql[t.pos] == '*' && t.sql[t.pos+1] == '/':
			t.pos += 2
			return true
		default:
			t.pos++
		}
	}
	return false
}
