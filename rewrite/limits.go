package rewrite

// Limits of the slow path. TiDB's parser recurses on the Go stack, whose overflow ends the process, and costs time and
// memory in proportion to the text; a statement beyond the limits is not parsed.
const (
	// MaxNesting bounds open parentheses, open CASEs and the prefix operators in a row, counted together.
	MaxNesting = 200
	// MaxTokens bounds the tokens of the collapsed statement.
	MaxTokens = 20_000
	// MaxCanonical bounds the canonical text, in bytes.
	MaxCanonical = 256 << 10
)

// withinLimits reports whether the tokens (indexes into s.tokens) may be given to the parser.
func (s *Statement) withinLimits(tokens []int32) bool {
	if len(tokens) > MaxTokens {
		return false
	}
	depth, cases, chain := 0, 0, 0
	operand := false // an operand has just ended, so that a minus is binary
	for _, i := range tokens {
		t := &s.tokens[i]
		prefix := false
		switch t.Op() {
		case OpLeftParen, OpLeftBrace:
			depth++
		case OpRightParen, OpRightBrace:
			depth--
		case OpMinus, OpPlus, OpTilde, OpNot:
			prefix = !operand
		}
		switch t.Keyword() {
		case KwCase:
			cases++
		case KwEnd:
			cases = max(cases-1, 0)
		case KwNot, KwBinary, KwInterval:
			prefix = true
		}
		if prefix {
			chain++
		} else {
			chain = 0
		}
		operand = t.Op() == OpRightParen || t.Kind != TokOp && t.Keyword() == KwNone
		if depth+cases+chain > MaxNesting {
			return false
		}
	}
	return true
}
