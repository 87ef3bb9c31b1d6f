package rewrite

import (
	"errors"
	"testing"
)

// TestResidualInSystemSchema plans statements whose current database is the server's own. There the evaluator has tables that
// show what other sessions run; no name may reach them, even where a common table expression of that name stands elsewhere.
func TestResidualInSystemSchema(t *testing.T) {
	p := NewPlanner(testSchema(t), testPolicy())
	p.Finish()
	for _, database := range []string{"information_schema", "mysql", "performance_schema", "sys"} {
		for _, sql := range []string{
			"SELECT UPPER(e.title), (SELECT MAX(info) FROM processlist) FROM journal.entries e",
			"SELECT UPPER(e.title), (SELECT MAX(info) FROM processlist) FROM journal.entries e, (WITH processlist AS (SELECT 1 AS info) SELECT * FROM processlist) d",
		} {
			f := &Facts{Database: database, Mode: StrictTransTables, Charset: CharsetUTF8MB4, ServerVersion: 101119}
			st := &Statement{}
			if err := st.Scan([]byte(sql), f); err != nil {
				t.Fatal(err)
			}
			var refused *Refusal
			if plan, err := p.Plan(st, f); !errors.As(err, &refused) {
				t.Errorf("in %s: %s\n got %+v, %v, want a refusal", database, sql, plan, err)
			}
		}
	}
}
