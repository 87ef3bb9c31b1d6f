package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"latchkey/proxy"
)

// baselineVersion is the version of the file that a report is held against.
const baselineVersion = 1

// baseline is what of a report does not change from run to run: no counts and no times.
type baseline struct {
	Version    int                 `json:"version"`
	Columns    []baselineColumn    `json:"columns"`
	Statements []baselineStatement `json:"statements"`
}

// baselineColumn is a protected column of the policy.
type baselineColumn struct {
	Column  string `json:"column"`
	Search  string `json:"search"`
	Needs   string `json:"needs,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// baselineStatement is a shape.
type baselineStatement struct {
	Database   string `json:"database"`
	Statement  string `json:"statement"`
	Class      string `json:"class"`
	Code       uint16 `json:"code,omitempty"`
	Column     string `json:"column,omitempty"`
	Reason     string `json:"reason,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}

// baselineRank orders the classes, the best first.
var baselineRank = map[string]int{"pass": 0, "sealed": 1, "residual": 2, "refused": 3}

// newBaseline takes from a report what does not change. Long statements whose kept text is the same are one, of the worst class.
func newBaseline(r *proxy.Report) *baseline {
	b := &baseline{Version: baselineVersion, Columns: []baselineColumn{}, Statements: []baselineStatement{}}
	for _, c := range r.Columns {
		b.Columns = append(b.Columns, baselineColumn{Column: c.Column, Search: c.Search, Needs: c.Needs, Problem: c.Problem})
	}
	statements := make(map[string]baselineStatement)
	for _, s := range r.Statements {
		next := baselineStatement{
			Database: s.Database, Statement: s.Statement, Class: s.Class, Code: s.Code, Column: s.Column, Reason: s.Reason, Suggestion: s.Suggestion,
		}
		if last, known := statements[next.key()]; !known || baselineRank[last.Class] < baselineRank[next.Class] {
			statements[next.key()] = next
		}
	}
	for _, key := range slices.Sorted(maps.Keys(statements)) {
		b.Statements = append(b.Statements, statements[key])
	}
	return b
}

func (s *baselineStatement) key() string { return s.Database + "\x00" + s.Statement }

// change is one difference between two baselines.
type change struct {
	mark, text string
	worse      bool
}

// String is the change as a line.
func (c change) String() string { return c.mark + " " + c.text }

// compareBaselines says what changed, what became worse first.
func compareBaselines(before, now *baseline) []change {
	changes := append(compareColumns(before, now), compareStatements(before, now)...)
	slices.SortStableFunc(changes, func(a, b change) int {
		rank := func(c change) int { return strings.Index("<+>-", c.mark) }
		return cmp.Compare(rank(a), rank(b))
	})
	return changes
}

func compareStatements(before, now *baseline) []change {
	var changes []change
	known := make(map[string]baselineStatement)
	for _, s := range before.Statements {
		known[s.key()] = s
	}
	for _, s := range now.Statements {
		was, found := known[s.key()]
		delete(known, s.key())
		switch d := baselineRank[s.Class] - baselineRank[was.Class]; {
		case !found && s.Class == "refused":
			changes = append(changes, change{"<", "new, " + s.describe(), true})
		case !found:
			changes = append(changes, change{"+", s.describe(), false})
		case d > 0:
			changes = append(changes, change{"<", "was " + was.Class + ", " + s.describe(), true})
		case d < 0:
			changes = append(changes, change{">", "was " + was.Class + ", " + s.describe(), false})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		s := known[key]
		changes = append(changes, change{"-", s.describe(), false})
	}
	return changes
}

// describe is a statement on one line.
func (s *baselineStatement) describe() string {
	text := s.Class + ": "
	if s.Database != "" {
		text += s.Database + ": "
	}
	text += oneLine(s.Statement)
	if s.Reason != "" {
		text += fmt.Sprintf(" (%d", s.Code)
		if s.Column != "" {
			text += " " + s.Column
		}
		text += ": " + s.Reason + ")"
	}
	if s.Suggestion != "" {
		text += "; " + s.Suggestion
	}
	return text
}

func compareColumns(before, now *baseline) []change {
	var changes []change
	known := make(map[string]baselineColumn)
	for _, c := range before.Columns {
		known[c.Column] = c
	}
	for _, c := range now.Columns {
		was, found := known[c.Column]
		delete(known, c.Column)
		was.Column, was.Search = c.Column, cmp.Or(was.Search, c.Search)
		switch {
		case c.Problem != was.Problem && c.Problem != "":
			changes = append(changes, change{"<", "column " + c.Column + " cannot be protected: " + c.Problem, true})
		case c.Needs != was.Needs && c.needsMore():
			changes = append(changes, change{"<", "column " + c.Column + " needs " + c.Needs, true})
		case !found:
			changes = append(changes, change{"+", "column " + c.Column, false})
		case c.Problem != was.Problem || c.Needs != was.Needs || c.Search != was.Search:
			changes = append(changes, change{">", "column " + c.Column + ", search: " + c.Search, false})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		changes = append(changes, change{"-", "column " + name, false})
	}
	return changes
}

// needsMore tells a policy that lacks something from one that allows what no statement of this run needed.
func (c *baselineColumn) needsMore() bool { return c.Needs != "" && c.Needs != "search: none" }
