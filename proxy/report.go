package proxy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/rewrite"
)

const (
	// maxReported is how many shapes a report keeps; the one that was not seen for the longest time gives way.
	maxReported = 1000
	// maxReportedText is how many bytes of a shape are kept.
	maxReportedText = 1000
)

// reportedStatement is what a report knows of one shape.
type reportedStatement struct {
	// Statement is the text with every literal as `?`.
	Statement string    `json:"statement"`
	Database  string    `json:"database"`
	Class     string    `json:"class"`
	Count     uint64    `json:"count"`
	LastSeen  time.Time `json:"last_seen"`
	// Rows is, for class residual, how many rows the tables of the statement hold by MariaDB's statistics: the most that would be
	// opened.
	Rows int64 `json:"rows,omitempty"`
	// Code, Column, Reason and Hint say why a statement of class refused would be.
	Code   uint16 `json:"code,omitempty"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// report collects what would become of statements if the whole policy were enforced. It holds no literals.
type report struct {
	log    *slog.Logger
	now    func() time.Time
	counts [classLocal]prometheus.Counter

	mu     sync.Mutex
	shapes *simplelru.LRU[[sha256.Size]byte, *reportedStatement] // by database and whole text
	// logged counts lines of the log, which are bounded as the shapes are.
	logged int
}

// newReport makes an empty report. counts are the metrics, by class.
func newReport(log *slog.Logger, counts [classLocal]prometheus.Counter, now func() time.Time) *report {
	shapes, err := simplelru.NewLRU[[sha256.Size]byte, *reportedStatement](maxReported, nil)
	if err != nil {
		panic("internal error: the report has no room") // the size is a constant above 0
	}
	return &report{log: log, now: now, counts: counts, shapes: shapes}
}

// foreseen is what would become of one statement.
type foreseen struct {
	class   statementClass
	refusal *rewrite.Refusal
	rows    int64
}

// add counts a statement. text belongs to the caller.
func (r *report) add(database string, text []byte, f foreseen) {
	r.counts[f.class].Inc()
	hash := sha256.New()
	hash.Write([]byte(database))
	hash.Write([]byte{0})
	hash.Write(text)
	key := [sha256.Size]byte(hash.Sum(nil))
	r.mu.Lock()
	defer r.mu.Unlock()
	s, known := r.shapes.Get(key)
	if !known {
		s = &reportedStatement{Statement: string(bytes.ToValidUTF8(text[:min(len(text), maxReportedText)], []byte("?"))), Database: database}
		r.shapes.Add(key, s)
	}
	wasRefused := s.Class == classRefused.String()
	s.Count++
	s.LastSeen, s.Class, s.Rows = r.now().UTC(), f.class.String(), f.rows
	s.Code, s.Column, s.Reason, s.Hint = 0, "", "", ""
	if f.refusal == nil {
		return
	}
	s.Code, s.Column, s.Reason, s.Hint = uint16(f.refusal.Code), f.refusal.Column, f.refusal.Reason, f.refusal.Hint
	if !wasRefused && r.logged < maxReported {
		r.logged++
		r.log.Info("statement would be refused", "code", s.Code, "column", s.Column, "reason", s.Reason, "statement", s.Statement)
	}
}

// list gives copies of all shapes: what would be refused first, then what would be opened, each by count.
func (r *report) list() []reportedStatement {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]reportedStatement, 0, r.shapes.Len())
	for _, s := range r.shapes.Values() {
		all = append(all, *s)
	}
	rank := map[string]int{classRefused.String(): 0, classResidual.String(): 1, classSealed.String(): 2, classPass.String(): 3}
	slices.SortFunc(all, func(a, b reportedStatement) int {
		return cmp.Or(cmp.Compare(rank[a.Class], rank[b.Class]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Statement, b.Statement), cmp.Compare(a.Database, b.Database))
	})
	return all
}

// report notes what would become of a statement that has been planned under the same facts. It changes nothing.
func (x *executor) report(st *rewrite.Statement, f *rewrite.Facts, snapshot *Snapshot) {
	if snapshot.foresight == nil || x.raw {
		return
	}
	plan, err := snapshot.foresight.Plan(st, f)
	if err == nil && (plan.Class == rewrite.Local || plan.Push != nil || plan.Call != nil) {
		return
	}
	if err == nil && plan.Prepare != nil {
		x.reportInner(st, plan, f, snapshot)
		return
	}
	x.reportPlan(st, f, snapshot, plan, err)
}

// reportInner notes what would become of the text of PREPARE or EXECUTE IMMEDIATE.
func (x *executor) reportInner(outer *rewrite.Statement, plan *rewrite.Plan, f *rewrite.Facts, snapshot *Snapshot) {
	lit, err := outer.Literal(outer.Real(plan.Prepare.Text.Token))
	if err != nil {
		return
	}
	one := *f
	one.MultiStatements = false
	st := new(rewrite.Statement)
	if st.Scan(lit.Bytes, &one) != nil {
		return
	}
	inner, err := snapshot.foresight.Plan(st, &one)
	if err == nil && (inner.Class == rewrite.Local || inner.Class == rewrite.Residual || inner.Push != nil || inner.Prepare != nil || inner.Execute != nil) {
		err = &rewrite.Refusal{Code: rewrite.CodeNotUnderstood, Reason: "this statement cannot be prepared by SQL", Hint: "send it as it is"}
	}
	delete(x.unplanned, plan.Prepare.Name)
	if name := plan.Prepare.Name; name != "" && (err != nil || inner.Touches || inner.Class != rewrite.Pass) {
		if x.unplanned == nil {
			x.unplanned = make(map[string]struct{})
		}
		x.unplanned[name] = struct{}{}
	}
	x.reportPlan(st, &one, snapshot, inner, err)
}

func (x *executor) reportPlan(st *rewrite.Statement, f *rewrite.Facts, snapshot *Snapshot, plan *rewrite.Plan, err error) {
	what := foreseen{class: classRefused}
	switch {
	case err != nil:
		if !errors.As(err, &what.refusal) {
			return
		}
	case plan.Class == rewrite.Pass:
		what.class = classPass
	case plan.Class == rewrite.Sealed:
		what.class = classSealed
	case plan.Class == rewrite.Residual:
		what.class = classResidual
		for _, load := range plan.Residual.Loads {
			what.rows += snapshot.rows[tableName{load.Table.Database, load.Table.Name}]
		}
	}
	text := st.AppendMasked(x.scratch.canonical[:0])
	x.scratch.canonical = text[:0]
	// What names the schema of the key procedures may be a call with a quote too few, and then holds a password.
	if !bytes.Contains(bytes.ToLower(text), []byte("latchkey")) {
		x.server.report.add(f.Database, text, what)
	}
}

// readRows reads how many rows each table holds by MariaDB's statistics. They are no part of the schema: they always change.
func readRows(conn *schemaConn) (map[tableName]int64, error) {
	rows := make(map[tableName]int64)
	const query = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_ROWS IS NOT NULL AND TABLE_SCHEMA" + notSystem
	err := conn.rows(query, func(row schemaRow) error {
		rows[tableName{row.text(0), row.text(1)}] = row.number(2)
		return nil
	})
	return rows, err
}
