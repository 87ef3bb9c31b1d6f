package rewrite

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// catalogPlanner plans over the schema of the golden plans; the patched tables of information_schema are short, so that their
// places can be read.
func catalogPlanner(t *testing.T) *Planner {
	t.Helper()
	schema := testSchema(t)
	schema.Catalog = map[string][]string{"COLUMNS": {"TABLE_SCHEMA", "DATA_TYPE"}, "STATISTICS": {"TABLE_SCHEMA"}}
	view := testTable(t, schema, "journal", "v_columns", "id int")
	view.Kind, view.Definition = View, "select 1 AS `id` from `information_schema`.`COLUMNS`"
	above := testTable(t, schema, "journal", "v_above", "id int")
	above.Kind, above.Definition = View, "select `v_columns`.`id` AS `id` from `journal`.`v_columns`"
	p := NewPlanner(schema, testPolicy())
	if p.catalogTable("COLUMNS") == nil || p.catalogTable("TABLES") != nil {
		t.Fatal("the patched tables are not those of the schema")
	}
	p.catalog.tables = map[string]*catalogTable{"COLUMNS": {head: "(C ", tail: ")"}, "STATISTICS": {head: "(S ", tail: " WHERE 1)"}}
	return p
}

func TestCatalogReferences(t *testing.T) {
	p := catalogPlanner(t)
	const refused = "9704"
	for _, c := range []struct{ database, sql, want string }{
		{"journal", "SELECT * FROM information_schema.COLUMNS", "SELECT * FROM (C COLUMNS) AS COLUMNS"},
		{"journal", "SELECT * FROM `INFORMATION_SCHEMA` . `columns`", "SELECT * FROM (C `columns`) AS `columns`"},
		{"journal", "SELECT * FROM information_schema.columns c WHERE c.x = 1", "SELECT * FROM (C c) c WHERE c.x = 1"},
		{"journal", "SELECT * FROM information_schema.columns AS `c` JOIN information_schema.tables t ON 1",
			"SELECT * FROM (C `c`) AS `c` JOIN information_schema.tables t ON 1"},
		{"journal", "SELECT * FROM a, information_schema.columns LEFT JOIN information_schema.statistics USING (x) WHERE 1",
			"SELECT * FROM a, (C columns) AS columns LEFT JOIN (S statistics WHERE 1) AS statistics USING (x) WHERE 1"},
		{"journal", "SELECT information_schema.columns.x, columns.y FROM information_schema.columns GROUP BY information_schema.columns.x",
			"SELECT columns.x, columns.y FROM (C columns) AS columns GROUP BY columns.x"},
		{"journal", "SELECT (SELECT COUNT(*) FROM information_schema.columns) + 1", "SELECT (SELECT COUNT(*) FROM (C columns) AS columns) + 1"},
		{"journal", "INSERT INTO tags (name) SELECT x FROM information_schema.columns ORDER BY 1", "INSERT INTO tags (name) SELECT x FROM (C columns) AS columns ORDER BY 1"},
		{"journal", "EXPLAIN SELECT 1 FROM information_schema.columns", "EXPLAIN SELECT 1 FROM (C columns) AS columns"},
		{"journal", "SELECT 'information_schema.columns' AS entries FROM information_schema.columns", "SELECT 'information_schema.columns' AS entries FROM (C columns) AS columns"},
		{"information_schema", "SELECT columns.x FROM COLUMNS, tables, statistics s WHERE s.x IN (SELECT 1 FROM (columns))",
			"SELECT columns.x FROM (C COLUMNS) AS COLUMNS, tables, (S s WHERE 1) s WHERE s.x IN (SELECT 1 FROM ((C columns) AS columns))"},
		{"information_schema", "SELECT x FROM tables WHERE y = 1 AND z IN (SELECT TRIM(BOTH 'x' FROM y) FROM columns)",
			"SELECT x FROM tables WHERE y = 1 AND z IN (SELECT TRIM(BOTH 'x' FROM y) FROM (C columns) AS columns)"},
		{"information_schema", "SELECT 1 FROM journal.columns", ""},
		{"information_schema", "SELECT columns FROM journal.tags", refused},
		{"journal", "SELECT columns FROM tags", ""},
		{"journal", "SELECT 1 FROM information_schema.tables WHERE table_name = 'columns'", ""},
		{"journal", "SHOW COLUMNS FROM information_schema.columns", ""},
		{"journal", "DESCRIBE information_schema.columns", ""},
		{"journal", "SELECT * FROM v_columns", refused},
		{"journal", "SELECT * FROM journal.v_above", refused},
		{"journal", "SELECT * FROM other.v_above", ""},
		{"journal", "SELECT id AS v_columns FROM tags", ""},
		{"journal", "DROP VIEW v_columns", ""},
		{"journal", "SHOW CREATE VIEW v_columns", ""},
		{"journal", "CREATE TABLE x AS SELECT * FROM information_schema.columns", refused},
		{"journal", "CREATE VIEW x AS SELECT * FROM information_schema.columns", refused},
		{"journal", "CREATE PROCEDURE x() SELECT * FROM information_schema.columns", ""},
		{"journal", "SELECT title, (SELECT COUNT(*) FROM information_schema.columns) FROM entries", refused},
		{"journal", "UPDATE entries SET title = (SELECT data_type FROM information_schema.columns LIMIT 1)", "9705"},
	} {
		got := catalogPlan(t, p, c.database, c.sql)
		if c.want == "" {
			c.want = c.sql
		}
		if got != c.want {
			t.Errorf("%s in %s\ngot  %s\nwant %s", c.sql, c.database, got, c.want)
		}
	}
}

// catalogPlan gives the text that carries a statement out, or the code of its refusal.
func catalogPlan(t *testing.T, p *Planner, database, sql string) string {
	t.Helper()
	f := &Facts{Database: database, Mode: StrictTransTables, Charset: CharsetUTF8MB4, ServerVersion: 101119}
	st := &Statement{}
	if err := st.Scan([]byte(sql), f); err != nil {
		t.Fatal(err)
	}
	plan, err := p.Plan(st, f)
	if err != nil {
		var r *Refusal
		if !errors.As(err, &r) {
			t.Fatalf("error of type %T", err)
		}
		return fmt.Sprint(int(r.Code))
	}
	if plan.Class == Pass {
		return sql
	}
	var out strings.Builder
	next := 0
	for _, e := range plan.Edits {
		out.WriteString(sql[next:st.Token(st.Real(e.From)).Start])
		for _, piece := range e.Pieces {
			out.WriteString(describePiece(st, nil, piece))
		}
		next = int(st.Token(st.Real(e.To)).End)
		if len(e.Pieces) == 0 {
			next = int(st.Token(st.Real(e.To) + 1).Start)
		}
	}
	return out.String() + sql[next:]
}

// TestShown looks at what the plans of SHOW and DESCRIBE change.
func TestShown(t *testing.T) {
	p := catalogPlanner(t)
	f := &Facts{Database: "journal", Charset: CharsetUTF8MB4, ServerVersion: 101119}
	for _, c := range []struct {
		sql       string
		shown     bool
		described bool
	}{
		{"DESCRIBE entries", true, false},
		{"DESC journal.entries title", true, false},
		{"EXPLAIN v_entries", true, false},
		{"SHOW COLUMNS FROM entries", true, false},
		{"SHOW FULL FIELDS IN entries IN journal LIKE 'x'", true, false},
		{"SHOW COLUMNS FROM entries WHERE Type LIKE 'var%'", true, true},
		{"SHOW COLUMNS FROM entries FROM other", false, false},
		{"SHOW COLUMNS FROM tags", false, false},
		{"SHOW KEYS FROM entries", true, false},
		{"SHOW INDEX FROM tags", false, false},
		{"SHOW CREATE TABLE entries", true, false},
		{"SHOW CREATE TABLE v_entries", false, false},
		{"SHOW CREATE VIEW v_entries", false, false},
		{"SHOW TABLE STATUS LIKE 'entries'", false, false},
	} {
		st := &Statement{}
		if err := st.Scan([]byte(c.sql), f); err != nil {
			t.Fatal(err)
		}
		plan, err := p.Plan(st, f)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if (plan.Shown != nil) != c.shown || plan.Describe != c.described {
			t.Errorf("%s: shown %v, described %v, want %v, %v", c.sql, plan.Shown != nil, plan.Describe, c.shown, c.described)
		}
	}
}
