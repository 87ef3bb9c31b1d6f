package rewrite

// Split divides the packet into its statements at top-level semicolons, as a server with CLIENT_MULTI_STATEMENTS does, and
// returns how many there are. Without f.MultiStatements there is one. A statement that has semicolons of its own
// (CREATE PROCEDURE, BEGIN NOT ATOMIC, IF, ...) takes the rest of the packet. A part may be empty: the server answers an
// empty statement with an error.
func (s *Statement) Split(f *Facts) (int, error) { return 0, ErrSyntax }

// Part gives part i of the last Split. It is valid until the next Scan or Split of s.
func (s *Statement) Part(i int) *Statement { return &s.parts[i] }
