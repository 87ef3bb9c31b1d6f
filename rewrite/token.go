package rewrite

// Token is one lexical token as MariaDB reads it. Comments and white space are not tokens; the content of an executable
// comment that the server executes is.
type Token struct {
	// Start and End are byte offsets into the packet given to Scan: the token's text is sql[Start:End].
	Start, End int32
	// match is the distance to the partner of a parenthesis, 0 when there is none.
	match int32
	Kind  TokenKind
	flags tokenFlags
	// code is the Keyword of a word or the Op of an operator.
	code uint16
}

// TokenKind tells what a token is.
type TokenKind uint8

// The kinds of token.
const (
	// TokWord is an unquoted word: keyword or identifier. \N is one too, with keyword KwNull.
	TokWord TokenKind = iota
	// TokQuoted is an identifier in backticks, or in double quotes under ANSI_QUOTES.
	TokQuoted
	// TokString is '...' or, without ANSI_QUOTES, "...".
	TokString
	// TokNational is N'...'.
	TokNational
	// TokIntroducer is _utf8mb4 and the like before a string: the name of a character set known to MariaDB.
	TokIntroducer
	// TokHexString is x'...', TokHexNumber is 0x...
	TokHexString
	TokHexNumber
	// TokBitString is b'...', TokBitNumber is 0b...
	TokBitString
	TokBitNumber
	// TokInteger, TokDecimal and TokFloat are unsigned numbers: 12, 1.5, 1e5.
	TokInteger
	TokDecimal
	TokFloat
	// TokParam is the `?` of a prepared statement.
	TokParam
	// TokUserVar is @x, @'x', @`x` or @"x" as one token, and likewise the host part of user@host.
	TokUserVar
	// TokSysVar is the @@ before a system variable; scope, dots and name follow as tokens of their own.
	TokSysVar
	// TokOp is an operator or punctuation.
	TokOp
)

// IsLiteral reports whether the token is a literal that the shape cuts out: string, number, hex or bit.
func (k TokenKind) IsLiteral() bool {
	switch k {
	case TokString, TokNational, TokHexString, TokHexNumber, TokBitString, TokBitNumber, TokInteger, TokDecimal, TokFloat:
		return true
	}
	return false
}

// IsNumber reports whether the token is an integer, decimal or float.
func (k TokenKind) IsNumber() bool { return k == TokInteger || k == TokDecimal || k == TokFloat }

type tokenFlags uint8

const (
	// flagModeDependent: another sql_mode or character set could read these bytes otherwise.
	flagModeDependent tokenFlags = 1 << iota
	// flagGlued: nothing stands between this token and the one before.
	flagGlued
	// flagExecutable: inside an executable comment.
	flagExecutable
	// flagEscaped: a quoted token whose content is not simply the bytes between the quotes.
	flagEscaped
	// flagHigh: has bytes of 0x80 and more.
	flagHigh
	// flagName: a word that MariaDB never takes for a keyword because it follows or precedes a dot directly.
	flagName
	// flagValue: a literal whose value the shape keeps, because it decides meaning.
	flagValue
)

// Op is the code of an operator or punctuation token.
type Op uint16

// The operators.
const (
	OpNone       Op = iota
	OpLeftParen     // (
	OpRightParen    // )
	OpComma         // ,
	OpDot           // .
	OpDotDot        // ..
	OpSemicolon     // ;
	OpStar          // *
	OpPlus          // +
	OpMinus         // -
	OpSlash         // /
	OpPercent       // %
	OpCaret         // ^
	OpTilde         // ~
	OpAmp           // &
	OpAndAnd        // &&
	OpPipe          // |
	OpOrOr          // ||: OR, or concatenation under PIPES_AS_CONCAT
	OpNot           // !
	OpEq            // =
	OpNullSafeEq    // <=>
	OpNe            // <> and !=
	OpLt            // <
	OpLe            // <=
	OpGt            // >
	OpGe            // >=
	OpShiftLeft     // <<
	OpShiftRight    // >>
	OpAssign        // :=
	OpColon         // :
	OpLeftBrace     // {
	OpRightBrace    // }
)

// Op gives the operator of a TokOp token, OpNone for every other kind.
func (t *Token) Op() Op {
	if t.Kind != TokOp {
		return OpNone
	}
	return Op(t.code)
}

// Keyword gives the keyword of a TokWord token, KwNone for every other kind and for words that are no keyword.
func (t *Token) Keyword() Keyword {
	if t.Kind != TokWord {
		return KwNone
	}
	return Keyword(t.code)
}

// IsIdentifier reports whether the token can be a name: a word (keywords included, most of them are not reserved) or a
// quoted identifier.
func (t *Token) IsIdentifier() bool { return t.Kind == TokQuoted || t.Kind == TokWord }

// Glued reports whether no white space and no comment stands between this token and the one before it.
func (t *Token) Glued() bool { return t.flags&flagGlued != 0 }
