package suggest

import (
	"errors"
	"fmt"
	"io"

	"latchkey/rewrite"
)

// maxShapes bounds how many different statements of a log are kept to be planned again under the suggested policy.
const maxShapes = 20_000

// Usage is what a log holds.
type Usage struct {
	// Statements is how many were read, Skipped how many of them were too long or could not be read.
	Statements, Skipped int
	// Pass, Sealed, Residual and Refused are how many there would be of each class under the suggested policy. Together they
	// can be fewer than Statements.
	Pass, Sealed, Residual, Refused int
	// Refusals are the reasons for which statements would be refused, with how many of each.
	Refusals map[string]int

	equal  map[string]int // searches by equality, by database.table.column
	shapes map[string]*logged
	facts  rewrite.Facts
}

// logged is one shape of a log.
type logged struct {
	database, text string
	count          int
}

// readUsage reads a log and plans its statements as if every column of the suggestion were searchable.
func readUsage(schema *rewrite.Schema, s *Suggestion, o Options) (*Usage, error) {
	policy := s.Policy()
	policy = rewrite.SearchEverything(rewrite.Foresee(schema, policy, nil), policy)
	u := &Usage{equal: map[string]int{}, shapes: map[string]*logged{}, facts: rewrite.Facts{
		Mode: o.Mode, Charset: rewrite.CharsetUTF8MB4, ServerVersion: schema.ServerVersion, MultiStatements: true,
	}}
	planner := newPlanner(schema, policy)
	current := make(databases)
	var st rewrite.Statement
	for {
		entry, err := o.Log.Next()
		if errors.Is(err, io.EOF) {
			return u, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if entry.Command != "Query" && entry.Command != "Execute" {
			current.follow(&entry)
			continue
		}
		u.Statements++
		if entry.Cut || !u.count(planner, current, &entry, &st) {
			u.Skipped++
		}
	}
}

func newPlanner(schema *rewrite.Schema, policy *rewrite.Policy) *rewrite.Planner {
	planner := rewrite.NewPlanner(rewrite.Foresee(schema, policy, nil), policy)
	planner.Finish()
	return planner
}

// count plans one statement. Of a packet of several it is the first: the server logs the others again.
func (u *Usage) count(planner *rewrite.Planner, current databases, entry *Entry, st *rewrite.Statement) bool {
	facts := u.facts
	facts.Database = current[entry.Thread]
	if st.Scan(entry.Argument, &facts) != nil {
		return false
	}
	if n, err := st.Split(&facts); err != nil || n == 0 {
		return false
	}
	first := st.Part(0)
	plan, err := planner.Plan(first, &facts)
	key := string(first.AppendShape(nil, &facts))
	if shape := u.shapes[key]; shape != nil {
		shape.count++
	} else if len(u.shapes) < maxShapes && first.Len() > 0 {
		u.shapes[key] = &logged{facts.Database, string(first.Span(0, first.Len()-1)), 1}
	}
	if err != nil {
		return true // a refusal: what it would have searched for is not known
	}
	if plan.Effects&rewrite.ChangesDatabase != 0 {
		current.set(entry.Thread, first.Name(1))
	}
	for _, p := range plan.Searches {
		u.equal[p.String()]++
	}
	return true
}

// replan counts the classes under the policy that was settled on.
func (u *Usage) replan(schema *rewrite.Schema, policy *rewrite.Policy) {
	planner := newPlanner(schema, policy)
	u.Refusals = make(map[string]int)
	var st rewrite.Statement
	for _, shape := range u.shapes {
		facts := u.facts
		facts.Database = shape.database
		if st.Scan([]byte(shape.text), &facts) != nil {
			continue
		}
		plan, err := planner.Plan(&st, &facts)
		var refusal *rewrite.Refusal
		switch {
		case errors.As(err, &refusal):
			u.Refused += shape.count
			reason := refusal.Reason
			if refusal.Column != "" {
				reason = refusal.Column + ": " + reason
			}
			u.Refusals[reason] += shape.count
		case plan.Class == rewrite.Sealed:
			u.Sealed += shape.count
		case plan.Class == rewrite.Residual:
			u.Residual += shape.count
		default:
			u.Pass += shape.count
		}
	}
	u.shapes = nil
}

// searched is how many statements search a column by equality.
func (u *Usage) searched(t *Table, c *Column) int {
	if u == nil {
		return 0
	}
	return u.equal[t.Database+"."+t.Name+"."+c.Name]
}
