package rewrite

// Split divides the packet into its statements at top-level semicolons, as a server with CLIENT_MULTI_STATEMENTS does, and
// returns how many there are, at least one. Without f.MultiStatements there is one. A statement that has semicolons of its
// own (CREATE PROCEDURE, BEGIN NOT ATOMIC, IF, ...) takes the rest of the packet. A part may be empty: the server answers
// an empty statement with an error and reads no further. The error is ErrSyntax, for a semicolon inside an executable
// comment between statements: the server would read what follows without knowing of the comment.
func (s *Statement) Split(f *Facts) (int, error) {
	s.parts = s.parts[:0]
	from := 0
	for i := 0; f.MultiStatements && i < len(s.tokens); i++ {
		if i == from && s.swallowsSemicolons(i) {
			break
		}
		if !s.IsOp(i, OpSemicolon) {
			continue
		}
		if s.tokens[i].flags&flagExecutable != 0 {
			return 0, ErrSyntax
		}
		s.addPart(from, i)
		from = i + 1
	}
	s.addPart(from, len(s.tokens))
	return len(s.parts), nil
}

// Part gives part i of the last Split. It is valid until the next Scan or Split of s.
func (s *Statement) Part(i int) *Statement { return &s.parts[i] }

func (s *Statement) addPart(from, to int) {
	n := len(s.parts)
	if n < cap(s.parts) {
		s.parts = s.parts[:n+1] // keeps the memory of the part's shape
	} else {
		s.parts = append(s.parts, Statement{})
	}
	p := &s.parts[n]
	p.sql, p.tokens = s.sql, s.tokens[from:to:to]
	p.mode, p.charset, p.version, p.versioned, p.maxDepth = s.mode, s.charset, s.version, s.versioned, s.maxDepth
	p.shape.reset()
}

// swallowsSemicolons reports whether the statement that starts at token i may hold statements of its own.
// https://mariadb.com/kb/en/programmatic-compound-statements/
func (s *Statement) swallowsSemicolons(i int) bool {
	if s.Is(i, KwSet) && s.Is(i+1, KwStatement) {
		if i = s.setStatementEnd(i); i < 0 {
			return false
		}
	}
	switch s.Keyword(i) {
	case KwBegin:
		return s.Is(i+1, KwNot) && s.Is(i+2, KwAtomic)
	case KwIf, KwCase, KwLoop, KwWhile, KwRepeat, KwFor, KwDeclare:
		return true
	case KwCreate, KwAlter:
		return s.createsBody(i)
	}
	return s.Token(i).IsIdentifier() && s.IsOp(i+1, OpColon)
}

// setStatementEnd gives the index after the FOR of SET STATEMENT ... FOR at token i, or -1.
func (s *Statement) setStatementEnd(i int) int {
	for j := i + 2; j < len(s.tokens) && !s.IsOp(j, OpSemicolon); j++ {
		if m := s.Match(j); m > j {
			j = m
		}
		if s.Is(j, KwFor) {
			return j + 1
		}
	}
	return -1
}

// createsBody reports whether CREATE or ALTER at token i is of an object with a body of statements. Whatever stands
// between the verb and the object's kind is passed over; DEFINER's account may be any word.
func (s *Statement) createsBody(i int) bool {
	for j := i + 1; j < len(s.tokens) && !s.IsOp(j, OpSemicolon); j++ {
		switch s.Keyword(j) {
		case KwProcedure, KwFunction, KwTrigger, KwEvent, KwPackage:
			return true
		case KwDefiner:
			if s.IsOp(j+1, OpEq) {
				j += 2
				if s.IsOp(j+1, OpLeftParen) {
					j += 2
				}
				if s.Token(j+1).Kind == TokUserVar {
					j++
				}
			}
		case KwTable, KwView, KwIndex, KwDatabase, KwSchema, KwUser, KwRole, KwServer, KwSequence, KwTablespace:
			return false
		}
	}
	return false
}
