package evaluator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestNothingOfASessionIsLeftForTheNext leaves everything that a session can leave behind, and looks for it in the session
// that gets the same connection next.
func TestNothingOfASessionIsLeftForTheNext(t *testing.T) {
	e := start(t, Config{Connections: 1})
	first := acquire(t, e)
	run(t, first, "CREATE DATABASE d")
	run(t, first, "CREATE TABLE d.base (a INT)")
	fresh, err := e.server.dial(t.Context(), BaseCaps)
	if err != nil {
		t.Fatal(err)
	}
	before := sessionState(t, fresh)
	fresh.close()
	id := first.id
	run(t, first, "CREATE TEMPORARY TABLE d.base (secret INT) AS SELECT 7 AS secret UNION SELECT 8")
	run(t, first, "USE d")
	run(t, first, "SET @v = 'marker', sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', timestamp = 1000000, lc_time_names = 'de_DE', div_precision_increment = 9, rand_seed1 = 1, rand_seed2 = 2")
	run(t, first, "SET NAMES latin1")
	run(t, first, "SET profiling = 1")
	run(t, first, "SELECT 'marker'")
	run(t, first, "PREPARE s FROM 'SELECT 1'")
	run(t, first, "SET autocommit = 0")
	run(t, first, "SELECT GET_LOCK('marker', 0)")
	run(t, first, "SELECT SQL_CALC_FOUND_ROWS secret FROM base LIMIT 1")
	run(t, first, "INSERT INTO d.base SELECT 1 FROM d.base")
	run(t, first, "SELECT LAST_INSERT_ID(99)")
	run(t, first, "HANDLER base OPEN AS h")
	run(t, first, "LOCK TABLES d.base READ")
	run(t, first, "SELECT CAST('marker' AS INT)")
	if _, err := first.Exec(t.Context(), "SELECT marker"); err == nil {
		t.Error("an unknown column is no error")
	}
	first.Release()

	second := acquire(t, e)
	defer second.Release()
	if second.id != id {
		t.Fatalf("the second session has connection %d, the first %d: nothing is shown", second.id, id)
	}
	after := sessionState(t, second)
	for what, want := range before {
		if after[what] != want {
			t.Errorf("%s = %q, want %q as in a new session", what, after[what], want)
		}
	}
}

// sessionState collects what can be asked of a session.
func sessionState(t *testing.T, c *Conn) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, sql := range []string{
		// What the last statement left comes first, before others leave theirs.
		"SHOW WARNINGS", "SHOW ERRORS", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()",
		"SELECT DATABASE()", "SELECT @v", "SHOW PROFILES", "SELECT * FROM d.base", "EXECUTE s", "HANDLER h READ FIRST",
		"SELECT IS_FREE_LOCK('marker')", "SELECT CURRENT_USER(), CURRENT_ROLE()", "SELECT RAND() = RAND()",
		"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%marker%' AND INFO NOT LIKE '%PROCESSLIST%'",
		"SHOW SESSION STATUS LIKE 'Last_query_cost'", "SHOW SESSION STATUS LIKE 'Com_insert%'", "SELECT * FROM information_schema.USER_VARIABLES",
		"SELECT @@in_transaction", "SELECT @@warning_count, @@error_count", "SELECT @@insert_id, @@last_insert_id, @@identity",
	} {
		state[sql] = answer(t, c, sql)
	}
	for _, line := range strings.Split(answer(t, c, "SHOW SESSION VARIABLES"), "\n") {
		name, value, _ := strings.Cut(line, "\t")
		switch name {
		case "timestamp", "rand_seed1", "rand_seed2", "pseudo_thread_id":
			continue
		}
		state["@@"+name] = value
	}
	return state
}

// answer gives rows or the error of a statement as text.
func answer(t *testing.T, c *Conn, sql string) string {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		return fmt.Sprint(e.Code)
	}
	var b strings.Builder
	for _, row := range r.Rows {
		for i, v := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.Write(v)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
