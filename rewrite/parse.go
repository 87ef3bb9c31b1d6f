package rewrite

import (
	"errors"
	"sort"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
)

// Errors of Parse and of literals. Their texts hold nothing of the statement.
var (
	// ErrNotParsed: the grammar at hand does not know the statement. It may still be right for the server.
	ErrNotParsed = errors.New("statement is outside the known grammar")
	// ErrTooComplex: the statement exceeds MaxNesting, MaxTokens or MaxCanonical.
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
	CutOptions                         // SELECT options that only advise the optimizer or the query cache
	CutSounds                          // SOUNDS LIKE, parsed as LIKE
	CutJSONTable                       // JSON_TABLE, parsed as a derived table of its document
)

// Parsed is a statement as the TiDB parser sees it. It is used while one plan is made and refers to its Statement.
type Parsed struct {
	// Node is the syntax tree of the inner statement, without what was cut. Strings in it are all 'x' and numbers all 1,
	// except aliases and positions in ORDER BY and GROUP BY; markers are *paramMarker and other literals *valueExpr.
	Node ast.StmtNode
	// Cut says what was cut.
	Cut Clause
	// Returning is `SELECT list FROM target` for a RETURNING clause, with token positions of its own; nil without one.
	Returning *Parsed

	offsets []tokenOffset // ascending
}

// tokenOffset says at which byte of the canonical text a real token starts.
type tokenOffset struct{ canonical, token int32 }

// TokenAt gives the real token index for a position in the tree (OriginTextPosition, paramMarker.Offset,
// SelectField.Offset): the token that starts there. A literal's is the literal token, not its introducer. It is -1 for
// positions at which no token of the client starts, and for 0, which the parser leaves on nodes without a position.
func (p *Parsed) TokenAt(offset int) int {
	i := sort.Search(len(p.offsets), func(i int) bool { return int(p.offsets[i].canonical) >= offset })
	if offset <= 0 || i == len(p.offsets) || int(p.offsets[i].canonical) != offset {
		return -1
	}
	return int(p.offsets[i].token)
}

// ParserPool hands out parsers, which are costly to make and not safe for concurrent use, and bounds how many statements
// are parsed at a time. It is safe for concurrent use.
type ParserPool struct{ parsers chan *parser.Parser }

// NewParserPool makes a pool that parses at most n statements at a time; n is at least 1.
func NewParserPool(n int) *ParserPool {
	installValues()
	p := &ParserPool{parsers: make(chan *parser.Parser, max(n, 1))}
	for range cap(p.parsers) {
		p.parsers <- nil // made at first use
	}
	return p
}

// keptText is the length of canonical text up to which a parser is used again: one that parsed a long statement keeps much
// memory.
const keptText = 16 << 10

// parse parses one canonical text. The parser's own errors quote the text, so they are not passed on.
func (p *ParserPool) parse(text string, mode SQLMode) (node ast.StmtNode, err error) {
	tp := <-p.parsers
	defer func() {
		if recover() != nil {
			node, err, tp = nil, ErrNotParsed, nil
		}
		p.parsers <- tp
	}()
	if tp == nil {
		tp = parser.New()
	}
	tp.SetSQLMode(parserMode(mode))
	nodes, _, parseErr := tp.ParseSQL(text)
	if parseErr == nil && len(nodes) == 1 {
		node = nodes[0]
	} else {
		err = ErrNotParsed
	}
	if len(text) > keptText {
		tp = nil
	} else {
		tp.Reset()
	}
	return node, err
}

// parserMode gives the modes that change the grammar. Quotes are not among them: canonical text has one kind of each.
func parserMode(m SQLMode) mysql.SQLMode {
	mode := mysql.ModeNoBackslashEscapes
	if m.Has(PipesAsConcat) {
		mode |= mysql.ModePipesAsConcat
	}
	if m.Has(HighNotPrecedence) {
		mode |= mysql.ModeHighNotPrecedence
	}
	if m.Has(IgnoreSpace) {
		mode |= mysql.ModeIgnoreSpace
	}
	return mode
}

// Parse makes the syntax tree of the collapsed statement; AppendShape must have been called. The errors are ErrNotParsed
// and ErrTooComplex.
func Parse(s *Statement, f *Facts, pool *ParserPool) (*Parsed, error) {
	kept := s.shape.kept
	if len(kept) == 0 {
		return nil, ErrNotParsed
	}
	if !s.withinLimits(kept) {
		return nil, ErrTooComplex
	}
	c := canonicalizer{s: s, tokens: kept}
	if err := c.statement(); err != nil {
		return nil, err
	}
	p := &Parsed{Cut: c.cut, offsets: c.offsets}
	var err error
	if p.Node, err = pool.parse(c.out.String(), f.Mode); err != nil {
		return nil, err
	}
	if c.cut&CutReturning != 0 {
		r := canonicalizer{s: s, tokens: kept}
		if err := r.returning(c.targetFrom, c.targetTo, c.returningAt); err != nil {
			return nil, err
		}
		p.Returning = &Parsed{offsets: r.offsets}
		if p.Returning.Node, err = pool.parse(r.out.String(), f.Mode); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// quoteIdentifier appends a name in backticks.
func quoteIdentifier(b *strings.Builder, name string) {
	b.WriteByte('`')
	for i := range len(name) {
		if name[i] == '`' {
			b.WriteByte('`')
		}
		b.WriteByte(name[i])
	}
	b.WriteByte('`')
}
