package proxy

import (
	"fmt"
	"testing"
	"time"
)

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		name, system string
		offset       int
		known        bool
	}{
		{"SYSTEM", "UTC", 0, true}, {"SYSTEM", "CET", 0, false}, {"+02:30", "", 9000, true}, {"-11:00", "", -39600, true},
		{"+15:00", "", 0, false}, {"Europe/Nowhere", "", 0, false}, {"", "", 0, false}, {"+2", "", 0, false},
	} {
		zone := location(c.name, c.system)
		if (zone != nil) != c.known {
			if c.name != "" { // Go reads the empty name as UTC
				t.Errorf("location(%q, %q) = %v, want known %v", c.name, c.system, zone, c.known)
			}
			continue
		}
		if zone == nil {
			continue
		}
		if _, offset := time.Unix(0, 0).In(zone).Zone(); offset != c.offset {
			t.Errorf("location(%q, %q): offset %d, want %d", c.name, c.system, offset, c.offset)
		}
	}
}

// TestSideQueriesDisturbNothing: what a session may ask about its last statement is answered as on plaintext, whatever the
// proxy has asked in between.
func TestSideQueriesDisturbNothing(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, ""), tw.session(t, 'A', "")
	for _, query := range []string{
		"INSERT INTO other (v) VALUES ('a'), ('b'), ('c'), ('d')",
		"SELECT LAST_INSERT_ID(), ROW_COUNT()",
		"INSERT INTO entries (user_id, title, body) VALUES (1, 'a', 'b'), (1, 'c', 'd')",
		"SELECT ROW_COUNT(), LAST_INSERT_ID()",
		"SELECT SQL_CALC_FOUND_ROWS id FROM other LIMIT 1",
		"SET sql_mode = 'ANSI_QUOTES'",
		"SELECT FOUND_ROWS()",
		"SELECT SQL_CALC_FOUND_ROWS id FROM other LIMIT 1",
		"SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
		"UPDATE entries SET title = 'a\\' WHERE id = 1",
		"SELECT FOUND_ROWS()",
		"SELECT title FROM entries WHERE title = 'a\\'",
		"SELECT FOUND_ROWS()",
		"SELECT SQL_CALC_FOUND_ROWS id FROM other WHERE id = 0",
		"UPDATE entries SET body = 'b' WHERE id IN (1, 2)",
		"SELECT ROW_COUNT()",
		"SELECT FOUND_ROWS()",
		"SET sql_mode = DEFAULT",
		"SELECT SQL_CALC_FOUND_ROWS id FROM other LIMIT 1",
		"UPDATE entries SET body = 'e' WHERE id IN (1, 2)",
		"SELECT FOUND_ROWS()",
		"SELECT CAST('abc' AS INT)",
		"SHOW WARNINGS",
		"SET sql_mode = ''",
		"SELECT \"double quoted\" AS n, ROW_COUNT() AS c",
		"SELECT CAST('abc' AS INT)",
		"SET @x = \"1\"",
		"SHOW COUNT(*) WARNINGS",
		"INSERT INTO entries (user_id, title) VALUES (1, \"mode\")",
		"SELECT title FROM entries WHERE title = \"mode\"",
		"SELECT @@warning_count",
	} {
		same(t, plain, sealed, query)
	}
}

// TestFoundRowsOutlastsOtherStatements: a side query hides FOUND_ROWS() from the backend's own answer, and statements that
// leave it alone must not make the backend's answer count again.
func TestFoundRowsOutlastsOtherStatements(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, ""), tw.session(t, 'A', "")
	same(t, plain, sealed, "INSERT INTO other (v) VALUES ('a'), ('b'), ('c'), ('d')")
	same(t, plain, sealed, "INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'a')")
	for i, query := range []string{
		"SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW CREATE TABLE other", "SHOW STATUS LIKE 'nothing'",
		"SHOW COLUMNS FROM other", "DESCRIBE other", "EXPLAIN SELECT 1", "UNLOCK TABLES", "FLUSH TABLES other", "XA RECOVER",
		"CREATE TEMPORARY TABLE scratch (a INT)", "ALTER TABLE scratch ADD b INT", "INSERT INTO scratch VALUES (1, 2)", "TRUNCATE scratch",
		"DROP TEMPORARY TABLE scratch", "CREATE TEMPORARY TABLE scratch SELECT v FROM other", "DROP TEMPORARY TABLE scratch", "ANALYZE TABLE other",
		"CHECK TABLE other", "CHECKSUM TABLE other", "PREPARE s FROM 'DO 1'", "DEALLOCATE PREPARE s", "HANDLER other OPEN",
		"HANDLER other READ FIRST", "HANDLER other CLOSE", "GET DIAGNOSTICS @n = NUMBER", "SELECT v FROM other WHERE id = 1", "SAVEPOINT s",
	} {
		same(t, plain, sealed, "SELECT SQL_CALC_FOUND_ROWS id FROM other LIMIT 1")
		same(t, plain, sealed, fmt.Sprintf("UPDATE entries SET title = '%d' WHERE id = 1", i))
		same(t, plain, sealed, query)
		same(t, plain, sealed, "SELECT FOUND_ROWS()")
	}
}

func TestFactsFollowTheSession(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, ""), tw.session(t, 'A', "")
	for _, query := range []string{
		"INSERT INTO entries (user_id, title) VALUES (1, 'a\\'b')",
		"SET @@sql_mode = 'NO_BACKSLASH_ESCAPES'",
		"INSERT INTO entries (user_id, title) VALUES (1, 'a\\')",
		"SET SESSION sql_mode = 'ANSI_QUOTES'",
		"INSERT INTO \"entries\" (\"user_id\", \"title\") VALUES (1, 'quoted')",
		"SET sql_mode = DEFAULT",
		"SET NAMES latin1",
		"INSERT INTO entries (user_id, title) VALUES (1, 'caf\xe9')",
		"SELECT title FROM entries WHERE title = 'caf\xe9'",
		"SET NAMES utf8mb4",
		"SELECT title FROM entries WHERE title = 'café'",
		"EXECUTE IMMEDIATE 'SET sql_mode = ''ANSI_QUOTES'''",
		"SELECT \"title\" FROM entries WHERE title = 'quoted'",
		"SET sql_mode = DEFAULT",
		"SELECT id, title FROM entries ORDER BY id",
	} {
		if query == "EXECUTE IMMEDIATE 'SET sql_mode = ''ANSI_QUOTES'''" {
			mustExec(t, plain, query)
			mustExec(t, sealed, query)
			continue
		}
		same(t, plain, sealed, query)
	}
	mustExec(t, sealed, "USE mysql")
	if o := run(t, sealed, "SELECT title FROM entries"); o.code != 1146 {
		t.Errorf("after USE another database: %v", o)
	}
	if o := run(t, sealed, fmt.Sprintf("SELECT COUNT(*), MAX(n.title) FROM %s.other, (SELECT 1 title) n", tw.sealed)); o.code != 0 {
		t.Errorf("another database: %v", o)
	}
	mustExec(t, sealed, "USE "+tw.sealed)
	wantRows(t, "back", run(t, sealed, "SELECT title FROM entries WHERE title = 'quoted'"), "quoted")
}

func TestUnsupportedCharacterSets(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.session(t, 'A', "")
	mustExec(t, c, "SET NAMES gbk")
	wantRows(t, "a statement that touches nothing", run(t, c, "SELECT v FROM other"))
	wantCode(t, "a statement that touches", run(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')"), 9704)
	wantCode(t, "a backslash", run(t, c, "SELECT '\xbf\\' FROM other"), 9704)
	mustExec(t, c, "SET NAMES utf8mb4")
	mustExec(t, c, "SET sql_mode = 'ORACLE'")
	wantCode(t, "oracle mode", run(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')"), 9704)
	mustExec(t, c, "SET sql_mode = DEFAULT")
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')")
}
