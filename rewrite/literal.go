package rewrite

// Literal is a decoded literal of a statement.
type Literal struct {
	Kind TokenKind
	// Bytes is the value: of a string in the client's character set with quotes and escapes resolved, of hex and bit
	// literals the bytes they stand for, of numbers their text without sign.
	Bytes []byte
	// Tokens is how many tokens the literal spans: more than one for adjacent strings ('a' 'b' is 'ab').
	Tokens int
	// Introducer is the character set named before the literal, lower case without underscore; empty when there is none.
	Introducer string
	// National is set for N'..': the value is utf8mb3.
	National bool
}

// Literal decodes the literal that starts at token i (not at its introducer).
func (s *Statement) Literal(i int) (Literal, error) { return s.AppendLiteral(nil, i) }

// AppendLiteral is Literal with the value appended to buf, so that a caller can reuse memory; Bytes is then the appended
// part.
func (s *Statement) AppendLiteral(buf []byte, i int) (Literal, error) {
	return Literal{}, ErrNotLiteral
}

// Name gives the name that identifier token i stands for, in UTF-8, without quotes; for a user variable the name after @.
// It is empty for other tokens and for identifiers whose bytes are not text.
func (s *Statement) Name(i int) string { return "" }

// FoldName gives the form in which two column names or aliases are compared.
func FoldName(name string) string { return name }

// FoldTable gives the form in which two table or database names, or table aliases, are compared under
// lower_case_table_names.
func FoldTable(name string, lowerCaseTableNames int) string { return name }
