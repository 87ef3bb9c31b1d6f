package rewrite

import (
	"errors"
	"testing"
)

// keptSeeds are statements around a variable that is kept.
var keptSeeds = []string{
	"SELECT @t", "SELECT @`T `, name FROM plain WHERE name = @t AND id = @id ORDER BY @t LIMIT 3", "SET @u = CONCAT(@t, 'x'), @v = 1", "SET @t = 'x'",
	"SELECT title, id INTO @t, @i FROM entries WHERE mood = @m AND body > @t", "SELECT @t := title FROM entries", "SELECT 1 INTO @t", "SELECT @t := @t + 1",
	"UPDATE entries SET title = @t, body = 'x' WHERE id = 1", "UPDATE entries SET mood = @t", "INSERT INTO entries (title) VALUES (@t)",
	"INSERT INTO plain (name) SELECT @t", "DELETE FROM entries WHERE title = @t", "CALL p(@t)", "EXECUTE s USING @t", "PREPARE s FROM @t",
	"SET STATEMENT max_statement_time = 1 FOR SELECT @t", "GET DIAGNOSTICS @t = NUMBER", "GET DIAGNOSTICS CONDITION @t @x = MESSAGE_TEXT",
	"BEGIN NOT ATOMIC SET @t = 1; END", "LOAD DATA LOCAL INFILE 'x' INTO TABLE plain (@t)", "SELECT user FROM mysql.user WHERE user = 'x'@t",
	"/*!50000 SELECT @t */", "SELECT '@t', \"@t\" -- @t", "SELECT @'t', @\"t\" INTO @x", "DO @t := 1", "SELECT JSON_VALUE(@t, '$.x') FROM entries JOIN plain p ON p.id = @t",
}

// FuzzPlanKept plans statements beside a variable that is kept: none that reads it goes to the backend, and no fetch has it.
func FuzzPlanKept(f *testing.F) {
	for _, sql := range keptSeeds {
		f.Add(sql, false)
	}
	p := NewPlanner(testSchema(f), testPolicy())
	p.Finish()
	kept := map[string]bool{"t": true}
	f.Fuzz(func(t *testing.T, sql string, using bool) {
		facts := &Facts{Database: "journal", Mode: StrictTransTables, Charset: CharsetUTF8MB4, ServerVersion: 101119}
		st := &Statement{}
		if err := st.Scan([]byte(sql), facts); err != nil {
			return
		}
		plan, err := p.PlanKept(st, facts, kept)
		if using {
			plan, err = p.PlanUsing(st, facts, kept, nil)
		}
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) || plan != nil {
				t.Errorf("error of type %T with plan %v", err, plan)
			}
			return
		}
		if plan.Class != Residual {
			passesKept(t, st, plan, kept)
			return
		}
		for _, load := range plan.Residual.Loads {
			for _, piece := range load.Fetch {
				for i := piece.From; piece.Kind == PieceSource && i <= piece.To; i++ {
					real := st.Real(i)
					if st.Token(real).Kind == TokUserVar && keptName(kept, FoldVariable(st.Name(real))) {
						t.Errorf("a fetch has the variable")
					}
				}
			}
		}
	})
}

// passesKept holds that a statement which goes to the backend only assigns the variable, or executes another.
func passesKept(t *testing.T, st *Statement, plan *Plan, kept map[string]bool) {
	t.Helper()
	for i := range st.Tokens() {
		if st.Token(i).Kind != TokUserVar || !keptName(kept, FoldVariable(st.Name(i))) || plan.Execute != nil || plan.Prepare != nil {
			continue
		}
		assigned := st.IsOp(i+1, OpAssign) || st.IsOp(i+1, OpEq) && (st.Is(0, KwSet) || st.Is(0, KwGet)) || hasKeyword(st, KwInto)
		if !assigned {
			t.Errorf("class %d reads the variable", plan.Class)
		}
	}
}
