package rewrite

import (
	"errors"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// Errors of Parse and of literals. Their texts hold nothing of the statement.
var (
	// ErrNotParsed: the grammar at hand does not know the statement. It may still be right for the server.
	ErrNotParsed = errors.New("statement is outside the known grammar")
	// ErrTooComplex: the statement exceeds the limits on nesting, tokens or length.
	ErrTooComplex = errors.New("statement is too complex to be planned")
	// ErrNotLiteral: the token is not a literal.
	ErrNotLiteral = errors.New("token is not a literal")
)

// Clause is a set of clauses that the parser's grammar lacks and that were cut before parsing, or of prefixes that were
// taken off the statement.
type Clause uint32

// The clauses.
const (
	CutReturning    Clause = 1 << iota // RETURNING list: Parsed.Returning
	CutSetStatement                    // SET STATEMENT var = value FOR
	CutExplain                         // EXPLAIN, DESCRIBE or DESC before a statement, with its options
	CutAnalyze                         // ANALYZE [FORMAT=JSON] before a statement
	CutIntoVariable                    // SELECT ... INTO @v or INTO local variable
	CutIntoFile                        // SELECT ... INTO OUTFILE or DUMPFILE
	CutFetch                           // OFFSET n ROWS FETCH FIRST m ROWS ONLY|WITH TIES
	CutRowsExamined                    // LIMIT ... ROWS EXAMINED n
	CutProcedure                       // PROCEDURE ANALYSE(..)
	CutLocking                         // FOR UPDATE, LOCK IN SHARE MODE, with WAIT, NOWAIT, SKIP LOCKED
	CutOptions                         // SELECT, INSERT, UPDATE, DELETE options without effect on meaning
)

// Parsed is a statement as the TiDB parser sees it. It is used while one plan is made and refers to its Statement.
type Parsed struct {
	// Node is the syntax tree of the inner statement, without what was cut.
	Node ast.StmtNode
	// Cut says what was cut.
	Cut Clause
	// Returning is `SELECT list FROM target` for a RETURNING clause, with token positions of its own; nil without one.
	Returning *Parsed

	offsets []tokenOffset
}

type tokenOffset struct{ canonical, token int32 }

// TokenAt gives the real token index for a position in the tree (OriginTextPosition, ParamMarker.Offset,
// SelectField.Offset): the token that starts there. It is -1 for positions that no token of the client has, and for 0,
// which the parser leaves on nodes without a position.
func (p *Parsed) TokenAt(offset int) int { return -1 }

// ParserPool hands out parsers, which are costly to make and not safe for concurrent use, and bounds how many statements
// are parsed at a time.
type ParserPool struct{}

// NewParserPool makes a pool that parses at most n statements at a time.
func NewParserPool(n int) *ParserPool { return &ParserPool{} }

// Parse makes the syntax tree of the collapsed statement; AppendShape must have been called. The errors are ErrNotParsed
// and ErrTooComplex.
func Parse(s *Statement, f *Facts, pool *ParserPool) (*Parsed, error) { return nil, ErrNotParsed }
