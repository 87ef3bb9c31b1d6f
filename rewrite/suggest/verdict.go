package suggest

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite"
)

// settle holds the policy against the schema as it would be once its tables are ready, and leaves out what `latchkey check`
// would not accept.
func (s *Suggestion) settle(schema *rewrite.Schema) {
	// Every round leaves a column out or is the last.
	for {
		policy := s.Policy()
		foreseen := rewrite.Foresee(schema, policy, nil)
		changed := false
		s.Unreadable = nil
		for _, f := range rewrite.Check(foreseen, policy, rewrite.ServerSettings{}) {
			if f.Severity != rewrite.Error {
				continue
			}
			if s.leaveOut(f) {
				changed = true
				break
			}
			if f.Code == "unreadable" {
				s.Unreadable = append(s.Unreadable, f.String())
			}
		}
		if !changed {
			return
		}
	}
}

// leaveOut takes the column that an error is about out of the suggestion. It tells whether there is one.
func (s *Suggestion) leaveOut(f rewrite.Finding) bool {
	for _, t := range s.Tables {
		for i, c := range t.Columns {
			name := t.Database + "." + t.Name + "." + c.Name
			// A trigger is an object of its own; its reason names the column.
			if f.Object != name && !(f.Code == "trigger" && strings.HasSuffix(strings.TrimSuffix(f.Reason, ": it sees cells"), " "+name)) {
				continue
			}
			t.Columns = slices.Delete(t.Columns, i, i+1)
			t.Notes = append(t.Notes, fmt.Sprintf("%s (%s) is left out: %s", c.Name, c.kindWhy, f.Reason))
			return true
		}
	}
	return false
}
