package rewrite

import (
	"errors"
	"math"
)

// Errors of Scan. Their texts hold nothing of the statement.
var (
	// ErrSyntax: MariaDB's own lexer would stop in this text, or read it in a way that no correct client means. The server
	// answers such text with error 1064.
	ErrSyntax = errors.New("statement cannot be split into tokens")
	// ErrDialect: character_set_client or sql_mode=ORACLE makes the text one that is not read here.
	ErrDialect = errors.New("statement is in a character set or sql_mode that is not supported")
	// ErrTooLong: the text is longer than token offsets can hold (2 GiB).
	ErrTooLong = errors.New("statement is too long")
)

// Statement is one packet of SQL text cut into tokens, or one part of a packet of several statements. Its memory is
// reused by the next Scan, so a session that keeps one Statement scans without allocating. The zero value is ready.
//
// A Statement refers to the packet's bytes and never copies them: it is valid as long as they are not changed. Token
// indexes count from 0 within a Statement; byte offsets are always those of the whole packet. A part shares the memory of
// the Statement it was split from and is valid until that one's next Scan.
type Statement struct {
	sql     []byte
	tokens  []Token
	mode    SQLMode
	charset Charset
	version int
	// versioned: an executable comment names a version that one server may have and another not.
	versioned bool
	// first is the index, within the packet, of the part's first token.
	first    int
	maxDepth int
	// open is the scanner's stack of open parentheses.
	open  []int32
	parts []Statement

	shape shapeState
}

// Scan cuts the text of one COM_QUERY or COM_STMT_PREPARE into tokens exactly as the MariaDB server does for a session
// with these facts. sql must stay unchanged while the Statement is in use. The errors are ErrSyntax, ErrDialect and
// ErrTooLong; the Statement then has no tokens.
func (s *Statement) Scan(sql []byte, f *Facts) error {
	s.sql = sql
	s.tokens = s.tokens[:0]
	s.mode, s.charset, s.version, s.versioned = f.Mode, f.Charset, f.ServerVersion, false
	s.first, s.maxDepth = 0, 0
	s.open = s.open[:0]
	s.parts = s.parts[:0]
	s.shape.reset()
	if len(sql) > math.MaxInt32 {
		return ErrTooLong
	}
	if f.Charset == CharsetUnsupported || f.Mode.Has(Oracle) {
		return ErrDialect
	}
	t := tokenizer{s: s, sql: sql, classes: classTable(f.Charset)}
	if err := t.run(); err != nil {
		s.tokens = s.tokens[:0]
		return err
	}
	return nil
}

// SQL gives the whole packet.
func (s *Statement) SQL() []byte { return s.sql }

// Len is the number of tokens.
func (s *Statement) Len() int { return len(s.tokens) }

// Tokens gives all tokens. The slice belongs to the Statement and must not be changed.
func (s *Statement) Tokens() []Token { return s.tokens }

// Token gives token i, or a zero token outside the statement, so that callers may look ahead without care.
func (s *Statement) Token(i int) *Token {
	if i < 0 || i >= len(s.tokens) {
		return &noToken
	}
	return &s.tokens[i]
}

// noToken stands for a token that does not exist: an operator without a code, equal to nothing.
var noToken = Token{Kind: TokOp}

// Text gives the bytes of token i, quotes included; nil outside the statement.
func (s *Statement) Text(i int) []byte {
	if i < 0 || i >= len(s.tokens) {
		return nil
	}
	return s.sql[s.tokens[i].Start:s.tokens[i].End]
}

// Span gives the client's own bytes of tokens from..to, both included, with all that stands between them.
func (s *Statement) Span(from, to int) []byte {
	if from < 0 || to < from || to >= len(s.tokens) {
		return nil
	}
	return s.sql[s.tokens[from].Start:s.tokens[to].End]
}

// Is reports whether token i is the unquoted keyword k.
func (s *Statement) Is(i int, k Keyword) bool { return s.Token(i).Keyword() == k && k != KwNone }

// IsOp reports whether token i is the operator o.
func (s *Statement) IsOp(i int, o Op) bool { return s.Token(i).Op() == o && o != OpNone }

// Keyword gives the keyword of token i, KwNone when it is none.
func (s *Statement) Keyword(i int) Keyword { return s.Token(i).Keyword() }

// Match gives the index of the parenthesis that belongs to the parenthesis at i, or -1.
func (s *Statement) Match(i int) int {
	d := int(s.Token(i).match)
	if d == 0 || i+d < 0 || i+d >= len(s.tokens) {
		return -1
	}
	return i + d
}

// Depth is the deepest nesting of parentheses in the packet.
func (s *Statement) Depth() int { return s.maxDepth }

// ModeDependent reports whether another sql_mode or another client character set could cut the text into other tokens or
// read an operator otherwise: a double quote, a backslash inside quotes, ||, a loose NOT, bytes of 0x80 and more. A caller
// whose facts may be stale brings them up to date before it acts on such a statement.
func (s *Statement) ModeDependent() bool { return s.has(flagModeDependent) }

// HasExecutableComment reports whether tokens stand inside a comment that the server executes.
func (s *Statement) HasExecutableComment() bool { return s.has(flagExecutable) }

// Versioned reports whether the packet has an executable comment for a version of MariaDB: what is in it counts for one server
// and not for another, and it may have no tokens.
func (s *Statement) Versioned() bool { return s.versioned }

func (s *Statement) has(flag tokenFlags) bool {
	for i := range s.tokens {
		if s.tokens[i].flags&flag != 0 {
			return true
		}
	}
	return false
}

// Params is the number of parameter markers.
func (s *Statement) Params() int {
	n := 0
	for i := range s.tokens {
		if s.tokens[i].Kind == TokParam {
			n++
		}
	}
	return n
}

// ParamNumber gives the position among the statement's parameters, from 0, of the marker at token i.
func (s *Statement) ParamNumber(i int) int {
	n := 0
	for j := range s.tokens[:i] {
		if s.tokens[j].Kind == TokParam {
			n++
		}
	}
	return n
}
