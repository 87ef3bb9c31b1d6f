package rewrite

import (
	"errors"
	"runtime"
	"strings"
	"sync"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// Planner makes plans for one snapshot of schema and policy. It is safe for concurrent use and never changes what it was
// made from; a new snapshot gets a new Planner, and with it an empty cache.
type Planner struct {
	schema *Schema
	policy *Policy
	touch  touchSet
	pool   *ParserPool
	cache  *planCache
	views  viewCache
	// finishes: there is an evaluator for residual statements.
	finishes bool
	// catalog has what is shown of the schema.
	catalog catalogCache
	keys    sync.Pool // of *[]byte, memory for cache keys
}

// planCacheBytes bounds the memory of a Planner's cache.
const planCacheBytes = 32 << 20

// NewPlanner makes a Planner. schema has been through Protect with the same policy; neither may be changed afterwards.
func NewPlanner(schema *Schema, policy *Policy) *Planner {
	return &Planner{
		schema: schema,
		policy: policy,
		touch:  newTouchSet(schema, policy),
		pool:   NewParserPool(runtime.GOMAXPROCS(0)),
		cache:  newPlanCache(planCacheBytes),
	}
}

// Schema gives the snapshot.
func (p *Planner) Schema() *Schema { return p.schema }

// CountInto lets the Planner count its look-ups into stats. It is called before the Planner is used.
func (p *Planner) CountInto(stats *CacheStats) { p.cache.stats = stats }

// Finish says that there is an evaluator: statements that cannot be rewritten get a plan of class Residual instead of a refusal.
// It is called before the Planner is used.
func (p *Planner) Finish() { p.finishes = true }

// Plan says what to do with a statement that has been scanned under the same facts. The error is always a *Refusal. A
// statement that is one part of several is planned on its own; one with several statements in it (the client did not agree
// on CLIENT_MULTI_STATEMENTS) is refused when it touches anything protected.
func (p *Planner) Plan(st *Statement, f *Facts) (*Plan, error) {
	buf, _ := p.keys.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	key := append(st.AppendShape((*buf)[:0], f), boolByte(f.Mode&StrictTransTables != 0), boolByte(f.Mode&StrictAllTables != 0), boolByte(f.Mode&EmptyStringIsNull != 0))
	e, ok := p.cache.get(key)
	if !ok {
		plan, refusal, textual := p.makePlan(st, f)
		e = &planEntry{plan: plan, refusal: refusal}
		if !textual {
			p.cache.add(key, e)
		}
	}
	if cap(key) <= maxCachedShape {
		*buf = key
		p.keys.Put(buf)
	}
	return e.result()
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Unscanned says what to do with text that Scan could not cut into tokens: it passes only when no reading of its bytes can
// name anything protected, so that the backend answers it (most often with error 1064).
func (p *Planner) Unscanned(sql []byte, f *Facts) (*Plan, error) {
	// What names the proxy's own schema may hold a password, of which the looks behind this one would leave copies in memory.
	if namesReserved(sql) || p.touch.inText(sql) || p.touch.any() && p.touch.inBody(string(sql), dynamicWords) {
		return nil, &Refusal{Code: CodeNotUnderstood, Reason: "the statement cannot be read and may touch a protected column",
			Hint: "use a supported character set and sql_mode, and check the statement's quotes and comments"}
	}
	if f.Charset == CharsetUnsupported && !plainASCII(sql) && p.touch.any() {
		return nil, &Refusal{Code: CodeNotUnderstood, Reason: "the client's character set is not supported",
			Hint: "connect with utf8mb4, latin1 or ascii"}
	}
	return &Plan{Class: Pass, Effects: StaleFacts | ChangesSchema, Kind: "UNREADABLE"}, nil
}

// namesReserved reports whether the name of the proxy's own schema stands anywhere in text.
func namesReserved(text []byte) bool {
	for i := 0; i+len(reservedSchema) <= len(text); i++ {
		if strings.EqualFold(string(text[i:i+len(reservedSchema)]), reservedSchema) {
			return true
		}
	}
	return false
}

// dynamicWords are those by which text runs as a statement.
var dynamicWords = map[string]bool{"prepare": true, "execute": true, "immediate": true, "binlog": true}

// plainASCII: no byte that a multi-byte character set could join with its neighbour, and no escape.
func plainASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == '\\' {
			return false
		}
	}
	return true
}

// makePlan is the slow path: it runs once for each shape, and for every statement whose plan depends on its literals.
func (p *Planner) makePlan(st *Statement, f *Facts) (plan *Plan, refusal *Refusal, textual bool) {
	b := &builder{p: p, st: st, f: f, plan: &Plan{}}
	b.plan.Kind, b.plan.Effects = p.leading(st)
	err := b.statement()
	if err != nil {
		plan, residualErr := p.finished(b, err)
		if plan != nil {
			return plan, nil, b.textual
		}
		if residualErr != nil {
			err = residualErr
		}
		var r *Refusal
		if !errors.As(err, &r) {
			r = &Refusal{Code: CodeNotUnderstood, Reason: "the statement is not understood and may touch a protected column"}
		}
		return nil, r, b.textual
	}
	return b.plan, nil, b.textual
}

// finished plans a query that was refused to be finished in the evaluator. It gives neither plan nor error where that does not
// come into question.
func (p *Planner) finished(refused *builder, reason error) (*Plan, error) {
	var r *Refusal
	if !p.finishes || !errors.As(reason, &r) || r.Code == CodeDisagree || refused.parsed == nil {
		return nil, nil
	}
	switch refused.parsed.Node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.InsertStmt, *ast.SetStmt:
	default:
		return nil, nil
	}
	b := &builder{p: p, st: refused.st, f: refused.f, parsed: refused.parsed, kept: refused.kept,
		opaque: refused.opaque, keptMarkers: refused.keptMarkers, traced: refused.traced,
		plan: &Plan{Class: Residual, Kind: refused.plan.Kind, Effects: refused.plan.Effects, Touches: true}}
	if _, counts := p.touch.scan(b.st); b.accounted(counts) != nil {
		return nil, nil
	}
	residual, err := b.residual()
	if err != nil {
		return nil, err
	}
	b.plan.Residual = residual
	return b.plan, nil
}

// builder makes one plan. Token indexes are real ones until finish turns them into those of the collapsed statement.
type builder struct {
	p      *Planner
	st     *Statement
	f      *Facts
	parsed *Parsed
	plan   *Plan
	edits  []Edit
	// frozen forbids edits: the text is stored on the backend (a view) and cannot be rewritten per session.
	frozen bool
	// depth counts nested views, against cycles.
	depth int
	// kept are the folded names of the user variables that the proxy keeps, where the statement names one.
	kept map[string]bool
	// opaque: the values of parameter markers are not known where the backend narrows a fetch. keptMarkers says of each marker
	// whether it stands for a protected value.
	opaque      bool
	keptMarkers []bool
	// textual says that the plan depends on the literals of the statement (types, defaults and comments of a definition), and
	// is that of this one text.
	textual bool
	// protect are columns of a table that is created, protected whether or not the policy names them.
	protect []string
	// declared are the protected columns of that table.
	declared []*Protected
	// traced: ResidualPlan.Sources is wanted.
	traced bool
}

func refuse(code Code, column, reason, hint string) error {
	return &Refusal{Code: code, Column: column, Reason: reason, Hint: hint}
}

// notPossible is 9705 for a column.
func notPossible(c *Protected, reason, hint string) error {
	return refuse(CodeNotPossible, c.String(), reason, hint)
}

// notUnderstood is 9704 without a column.
func notUnderstood(reason, hint string) error { return refuse(CodeNotUnderstood, "", reason, hint) }

// edit notes a replacement of the real tokens from..to.
func (b *builder) edit(from, to int, pieces ...Piece) error {
	if b.frozen {
		return notUnderstood("a view compares or writes protected columns in its own text",
			"select the columns in the view as they are and put the condition into the statement")
	}
	if from < 0 || to < from-1 || to >= b.st.Len() {
		return notUnderstood("a value's place in the statement is not known", "")
	}
	b.edits = append(b.edits, Edit{From: from, To: to, Pieces: pieces})
	return nil
}
