package proxy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"strings"
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

// Report is what /status shows under mode: report: what would become of statements if the whole policy were enforced. It holds no
// literals.
type Report struct {
	// Since is when the counting began, with the start of the proxy.
	Since time.Time `json:"since"`
	// MaxRows is evaluator.max_rows.
	MaxRows int `json:"max_rows"`
	// Totals are the statements by class.
	Totals map[string]uint64 `json:"totals"`
	// Columns are the protected columns of the policy, by name.
	Columns []ReportedColumn `json:"columns"`
	// Statements are at most 1,000: what would be refused first, then what would be opened, each by count.
	Statements []ReportedStatement `json:"statements"`
}

// ReportedStatement is what a report knows of one shape.
type ReportedStatement struct {
	// Statement is the text with every literal as `?`.
	Statement string    `json:"statement"`
	Database  string    `json:"database"`
	Class     string    `json:"class"`
	Count     uint64    `json:"count"`
	LastSeen  time.Time `json:"last_seen"`
	// Rows is, for class residual, how many rows the tables of the statement hold by MariaDB's statistics: the most that would be
	// opened. Opens says which.
	Rows  int64          `json:"rows,omitempty"`
	Opens []ReportedLoad `json:"opens,omitempty"`
	// Code, Column, Reason and Hint say why a statement of class refused would be.
	Code   uint16 `json:"code,omitempty"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Needs are changes of the policy under which it would do better, and Becomes the class that it would have.
	Needs   []ReportedNeed `json:"needs,omitempty"`
	Becomes string         `json:"becomes,omitempty"`
	// Suggestion is what to change, as a sentence; empty where nothing needs to be.
	Suggestion string `json:"suggestion,omitempty"`
}

// ReportedLoad is one table that a residual statement reads.
type ReportedLoad struct {
	Table string `json:"table"`
	// Rows is how many it holds by MariaDB's statistics.
	Rows int64 `json:"rows"`
	// Narrowed are the conditions that MariaDB itself applies, without literals; Limited says that it applies the LIMIT too.
	Narrowed []string `json:"narrowed,omitempty"`
	Limited  bool     `json:"limited,omitempty"`
}

// ReportedNeed is an option that a column needs.
type ReportedNeed struct {
	Column string `json:"column"`
	Option string `json:"option"`
}

// report collects what a Report shows.
type report struct {
	log    *slog.Logger
	now    func() time.Time
	since  time.Time
	counts [classLocal]prometheus.Counter

	mu      sync.Mutex
	totals  [classLocal]uint64
	shapes  *simplelru.LRU[[sha256.Size]byte, *ReportedStatement] // by database and whole text
	columns map[string]*columnUse
	// logged counts lines of the log, which are bounded as the shapes are.
	logged int
}

// newReport makes an empty report. counts are the metrics, by class.
func newReport(log *slog.Logger, counts [classLocal]prometheus.Counter, now func() time.Time) *report {
	shapes, err := simplelru.NewLRU[[sha256.Size]byte, *ReportedStatement](maxReported, nil)
	if err != nil {
		panic("internal error: the report has no room") // the size is a constant above 0
	}
	return &report{log: log, now: now, since: now().UTC(), counts: counts, shapes: shapes, columns: make(map[string]*columnUse)}
}

// foreseen is what would become of one statement.
type foreseen struct {
	class   statementClass
	refusal *rewrite.Refusal
	rows    int64
	opens   []ReportedLoad
	// plan is nil for a refusal.
	plan *rewrite.Plan
	// needs and becomes are as in ReportedStatement; becomes counts where there are needs.
	needs   []*rewrite.Protected
	becomes statementClass
}

// add counts a statement. text belongs to the caller.
func (r *report) add(database string, text []byte, f *foreseen) {
	r.counts[f.class].Inc()
	hash := sha256.New()
	hash.Write([]byte(database))
	hash.Write([]byte{0})
	hash.Write(text)
	key := [sha256.Size]byte(hash.Sum(nil))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals[f.class]++
	r.use(f)
	s, known := r.shapes.Get(key)
	if !known {
		s = &ReportedStatement{Statement: string(bytes.ToValidUTF8(text[:min(len(text), maxReportedText)], []byte("?"))), Database: database}
		r.shapes.Add(key, s)
	}
	wasRefused := s.Class == classRefused.String()
	*s = ReportedStatement{
		Statement: s.Statement, Database: s.Database, Count: s.Count + 1, LastSeen: r.now().UTC(),
		Class: f.class.String(), Rows: f.rows, Opens: f.opens,
	}
	for _, p := range f.needs {
		s.Needs = append(s.Needs, ReportedNeed{p.String(), optionSearch})
		s.Becomes = f.becomes.String()
	}
	if f.refusal == nil {
		return
	}
	s.Code, s.Column, s.Reason, s.Hint = uint16(f.refusal.Code), f.refusal.Column, f.refusal.Reason, f.refusal.Hint
	if !wasRefused && r.logged < maxReported {
		r.logged++
		r.log.Info("statement would be refused", "code", s.Code, "column", s.Column, "reason", s.Reason, "statement", s.Statement)
	}
}

// classRank orders statements by how much their class asks of a reader.
var classRank = map[string]int{classRefused.String(): 0, classResidual.String(): 1, classSealed.String(): 2, classPass.String(): 3}

// list gives a copy of everything. snapshot has the columns of the policy.
func (r *report) list(snapshot *Snapshot, maxRows int) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &Report{Since: r.since, MaxRows: maxRows, Totals: make(map[string]uint64), Columns: r.listColumns(snapshot)}
	for class, count := range r.totals {
		all.Totals[statementClass(class).String()] = count
	}
	all.Statements = make([]ReportedStatement, 0, r.shapes.Len())
	for _, s := range r.shapes.Values() {
		next := *s
		next.Suggestion = next.suggest(maxRows)
		all.Statements = append(all.Statements, next)
	}
	slices.SortFunc(all.Statements, func(a, b ReportedStatement) int {
		return cmp.Or(cmp.Compare(classRank[a.Class], classRank[b.Class]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Statement, b.Statement), cmp.Compare(a.Database, b.Database))
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
	what := foreseen{class: classRefused, plan: plan}
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
		what.opens = loadsOf(plan.Residual, snapshot)
		for _, load := range what.opens {
			what.rows += load.Rows
		}
	}
	what.improve(st, f, snapshot)
	text := st.AppendMasked(x.scratch.canonical[:0])
	x.scratch.canonical = text[:0]
	// What names the schema of the key procedures may be a call with a quote too few, and then holds a password.
	if !bytes.Contains(bytes.ToLower(text), []byte("latchkey")) {
		x.server.report.add(f.Database, text, &what)
	}
}

// suggest says what to change about the policy or the statement.
func (s *ReportedStatement) suggest(maxRows int) string {
	var columns []string
	for _, need := range s.Needs {
		columns = append(columns, need.Column)
	}
	switch {
	case len(columns) > 0 && s.Becomes == classSealed.String():
		return "give " + strings.Join(columns, ", ") + " `" + optionSearch + "`: the statement is then rewritten and opens no row but those of its result"
	case len(columns) > 0:
		return "give " + strings.Join(columns, ", ") + " `" + optionSearch + "`: fewer rows are then opened"
	case s.Class == classRefused.String():
		return s.Hint
	case s.Class == classResidual.String() && s.Rows > int64(maxRows) && !slices.ContainsFunc(s.Opens, ReportedLoad.narrowed):
		return "it opens every row and would be refused with 9711: narrow it by columns that are not protected, such as the owner or a date"
	case s.Class == classResidual.String() && s.Rows > int64(maxRows):
		return "make sure that its conditions leave no more rows than evaluator.max_rows, or raise that"
	}
	return ""
}

func (l ReportedLoad) narrowed() bool { return l.Limited || len(l.Narrowed) > 0 }

// loadsOf says which rows a residual statement would open.
func loadsOf(plan *rewrite.ResidualPlan, snapshot *Snapshot) []ReportedLoad {
	loads := make([]ReportedLoad, 0, len(plan.Loads))
	for i := range plan.Loads {
		l := &plan.Loads[i]
		if len(l.Fetch) == 0 {
			continue // rows are only added to it
		}
		loads = append(loads, ReportedLoad{
			Table: l.Table.Database + "." + l.Table.Name, Rows: snapshot.rows[tableName{l.Table.Database, l.Table.Name}],
			Narrowed: l.Pushed, Limited: l.Limited,
		})
	}
	return loads
}

// improve looks whether search tags that the policy does not ask for would help the statement. A statement that the policy has
// rewritten needs none.
func (f *foreseen) improve(st *rewrite.Statement, facts *rewrite.Facts, snapshot *Snapshot) {
	if f.class != classResidual && f.class != classRefused {
		return
	}
	plan, err := snapshot.searching.Plan(st, facts)
	if err != nil || plan.Prepare != nil || plan.Class == rewrite.Local {
		return
	}
	switch plan.Class {
	case rewrite.Sealed:
		f.becomes = classSealed
	case rewrite.Residual:
		f.becomes = classResidual
	default:
		return
	}
	for _, p := range plan.Searches {
		own := snapshot.foresight.Schema().Table(p.Database, p.Table)
		if own == nil {
			continue
		}
		if c := own.Column(p.Column); c != nil && c.Protected != nil && !c.Protected.Search {
			f.needs = append(f.needs, c.Protected)
		}
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
