package endtoend

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
)

// hostile are statements over opened rows that want more of the evaluator's server than their rows: its files, its locks, its time,
// its other sessions, its settings. %s is the name of a file.
var hostile = []string{
	// Files.
	"SELECT LOAD_FILE('%s'), UPPER(title) FROM entries",
	"SELECT UPPER(title) FROM entries INTO OUTFILE '%s.out'",
	"SELECT UPPER(title) INTO DUMPFILE '%s.out' FROM entries WHERE id = 1",
	"(SELECT UPPER(title) FROM entries) INTO OUTFILE '%s.out'",
	"SELECT * FROM (SELECT UPPER(title) t FROM entries) d INTO OUTFILE '%s.out'",
	"SELECT id FROM entries WHERE title LIKE 'a%%' UNION SELECT LOAD_FILE('%s')",
	"SELECT EXTRACTVALUE(LOAD_FILE('%s'), '/'), UPPER(title) FROM entries",
	// Names of functions, written in every way.
	"SELECT UPPER(title), SLEEP(100) FROM entries",
	"SELECT UPPER(title), sleep (100) FROM entries",
	"SELECT UPPER(title), `SLEEP`(100) FROM entries",
	"SELECT UPPER(title), `sleep` (100) FROM entries",
	"SELECT UPPER(title), SL\u0045EP/**/(100) FROM entries",
	"SELECT UPPER(title), SLEEP\n-- x\n(100) FROM entries",
	"SELECT UPPER(title), mysql.SLEEP(100) FROM entries",
	"SELECT UPPER(title), sys.version_major() FROM entries",
	"SELECT UPPER(title), `sys`.`format_bytes`(1) FROM entries",
	"SELECT UPPER(title), .sys.format_bytes(1) FROM entries",
	"SELECT UPPER(title), oracle_schema.CONCAT('a') FROM entries",
	"SELECT UPPER(title), {fn SLEEP(100)} FROM entries",
	"SELECT UPPER(title), {x SLEEP(100)} FROM entries",
	"SELECT UPPER(title), BENCHMARK(1000000000, SHA2('a', 512)) FROM entries",
	"SELECT UPPER(title), GET_LOCK('l', 100) FROM entries",
	"SELECT UPPER(title), RELEASE_ALL_LOCKS() FROM entries",
	"SELECT UPPER(title), IS_USED_LOCK('l') FROM entries",
	"SELECT UPPER(title), MASTER_POS_WAIT('a', 1, 100) FROM entries",
	"SELECT UPPER(title), MASTER_GTID_WAIT('0-1-1', 100) FROM entries",
	"SELECT UPPER(title), WAIT_FOR_EXECUTED_GTID_SET('a', 100) FROM entries",
	"SELECT UPPER(title), ENCRYPT('a') FROM entries",
	"SELECT UPPER(title), PASSWORD('a'), DES_ENCRYPT('a') FROM entries",
	"SELECT UPPER(title), NAME_CONST('a', SLEEP(100)) FROM entries",
	"SELECT UPPER(title), IF(0, 0, SLEEP(100)) FROM entries",
	"SELECT CASE WHEN SLEEP(100) THEN UPPER(title) END FROM entries",
	"SELECT UPPER(title) FROM entries WHERE SLEEP(100) OR title LIKE 'a'",
	"SELECT UPPER(title) FROM entries GROUP BY title HAVING SLEEP(100)",
	"SELECT UPPER(title) FROM entries ORDER BY title, SLEEP(100)",
	"SELECT UPPER(title) FROM entries LIMIT 1 ROWS EXAMINED 1",
	"SELECT LAST_INSERT_ID(LENGTH(title)) FROM entries",
	"SELECT SQL_THREAD_WAIT_AFTER_GTIDS('a', 1), UPPER(title) FROM entries",
	"SELECT UPPER(title), ROWNUM() FROM entries",
	"SELECT UPPER(title), SETVAL(s, 1), NEXTVAL(s), LASTVAL(s) FROM entries",
	"SELECT UPPER(title), NEXT VALUE FOR s FROM entries",
	"SELECT UPPER(title), s.NEXTVAL FROM entries",
	"SELECT UPPER(title) FROM entries PROCEDURE ANALYSE()",
	"SELECT UPPER(title) FROM entries PROCEDURE analyse(10, 2000)",
	"SELECT UPPER(title), COLUMN_CREATE('a', SLEEP(100)) FROM entries",
	"SELECT UPPER(title), COLUMN_GET(COLUMN_CREATE('a', 1), 'a' AS CHAR) FROM entries",
	"SELECT UPPER(title), VEC_DISTANCE('a', 'b') FROM entries",
	"SELECT UPPER(title), BINLOG_GTID_POS('a', 1) FROM entries",
	// Comments that some servers read.
	"SELECT UPPER(title) /*! , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*!50000 , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*M! , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*M!100000 , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*!100000 , SLEEP */ (100) FROM entries",
	"SELECT UPPER(title), /*!SLE*/EP(100) FROM entries",
	"SELECT UPPER(title) /*! , SLEEP(100) FROM entries",
	"SELECT UPPER(title) /*M!100999 , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*!999999 , SLEEP(100) */ FROM entries",
	"SELECT UPPER(title) /*!100100 , id */ FROM entries",
	"UPDATE entries SET title = UPPER(title) /*!110000 , body = SLEEP(100) */",
	"SELECT UPPER(title) /*! /* */ , SLEEP(100) */ FROM entries",
	// Strings that are not what they look like.
	"SELECT UPPER(title), 'a\\' , SLEEP(100) , 'b' FROM entries",
	"SELECT UPPER(title), \"a\\\" , SLEEP(100) , \"b\" FROM entries",
	"SELECT UPPER(title), _gbk x'bf', _sjis'\x83\\', SLEEP(100), '' FROM entries",
	"SELECT UPPER(title), _utf8mb4 'a' 'b\\'', SLEEP(100), '' FROM entries",
	"SELECT UPPER(title), N'a\\', SLEEP(100), '' FROM entries",
	// Other sessions, the server and its schemas.
	"SELECT UPPER(title), (SELECT GROUP_CONCAT(INFO) FROM information_schema.PROCESSLIST) FROM entries",
	"SELECT UPPER(title) FROM entries, information_schema.PROCESSLIST",
	"SELECT UPPER(e.title), p.* FROM entries e, `information_schema`.`tables` p",
	"SELECT UPPER(title) FROM entries, mysql.user",
	"SELECT UPPER(title) FROM entries, mysql.time_zone_name",
	"SELECT UPPER(title) FROM entries WHERE EXISTS (SELECT 1 FROM performance_schema.threads)",
	"SELECT UPPER(title) FROM entries WHERE title IN (SHOW PROCESSLIST)",
	"SELECT UPPER(title) FROM entries UNION SELECT user FROM mysql.user",
	"SELECT UPPER(title) FROM entries JOIN sys.processlist",
	"SELECT UPPER(title) FROM entries, seq_1_to_1000000000",
	"SELECT COUNT(UPPER(title)) FROM entries, seq_1_to_1000000000_step_1 s",
	"SELECT UPPER(title) FROM entries, mysql.seq_1_to_1000000000",
	"SELECT UPPER(title), @@GLOBAL.secure_file_priv, @@datadir FROM entries",
	"SELECT UPPER(title), @@tmpdir, @@socket, @@pid_file FROM entries",
	"SELECT UPPER(title) FROM entries WHERE @@global.sort_buffer_size",
	// Settings.
	"SET STATEMENT max_statement_time = 0, join_buffer_size = 1000000000 FOR SELECT UPPER(title) FROM entries",
	"SET STATEMENT sql_mode = '' FOR SELECT UPPER(title) FROM entries",
	"SELECT UPPER(title), @@sort_buffer_size := 1 FROM entries",
	"SET GLOBAL max_connections = (SELECT LENGTH(title) FROM entries WHERE id = 1)",
	"SET SESSION sort_buffer_size = (SELECT LENGTH(title) FROM entries WHERE id = 1)",
	"SELECT /*+ SET_VAR(sort_buffer_size = 1000000000) */ UPPER(title) FROM entries",
	"SELECT /*+ MAX_EXECUTION_TIME(1000) */ UPPER(title) FROM entries",
	"SELECT SQL_NO_CACHE SQL_BUFFER_RESULT SQL_BIG_RESULT HIGH_PRIORITY STRAIGHT_JOIN UPPER(title) FROM entries",
	// Statements that are not one query.
	"SELECT UPPER(title) FROM entries; SHUTDOWN",
	"SELECT UPPER(title) FROM entries; CREATE TABLE leaked AS SELECT 1",
	"EXECUTE IMMEDIATE CONCAT('SELECT SLEEP(100), UPPER(title) FROM ', 'entries')",
	"BEGIN NOT ATOMIC SELECT UPPER(title) FROM entries; DO SLEEP(100); END",
	"HANDLER entries OPEN",
	"DO SLEEP((SELECT LENGTH(title) FROM entries WHERE id = 1))",
	"SELECT UPPER(title) FROM entries FOR UPDATE SKIP LOCKED",
	"SELECT UPPER(title) FROM entries PARTITION (p0)",
	"SELECT UPPER(title) FROM entries FOR SYSTEM_TIME ALL",
	"SELECT UPPER(title) FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) j, entries",
	"UPDATE entries SET title = LOAD_FILE('%s') WHERE body LIKE 'f%%'",
	"UPDATE entries SET title = CONCAT(title, SLEEP(100)) WHERE body LIKE 'f%%'",
	"UPDATE entries, mysql.user SET title = CONCAT(title, 'x')",
	"DELETE FROM entries WHERE body LIKE 'f%%' AND SLEEP(100)",
	"DELETE FROM entries WHERE body LIKE 'f%%' RETURNING LOAD_FILE('%s')",
	"INSERT INTO archive SELECT 77, UPPER(title), LOAD_FILE('%s') FROM entries WHERE id = 1",
	"INSERT INTO archive SELECT 77, UPPER(title), SLEEP(100) FROM entries WHERE id = 1",
	"REPLACE INTO archive (id, title) VALUES (1, CONCAT(SLEEP(100), 'x'))",
	"CREATE TABLE leaked AS SELECT UPPER(title) FROM entries",
}

// bombs are small statements with large results, or long ones.
var bombs = []string{
	"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r, entries WHERE title LIKE 'a%%'",
	"WITH RECURSIVE r AS (SELECT title AS t FROM entries UNION ALL SELECT CONCAT(t, t) FROM r) SELECT MAX(LENGTH(t)) FROM r",
	"SELECT title REGEXP '^(a+)+$', REPEAT('a', 40) REGEXP '^(a|a)*b$' FROM entries",
	"SELECT REPEAT('a', 30) REGEXP CONCAT('(', LEFT(title, 0), 'a+)+b') FROM entries",
	"SELECT LENGTH(REPEAT(title, 1000000000)) FROM entries",
	"SELECT LENGTH(REPEAT('x', 1000000000)), UPPER(title) FROM entries",
	"SELECT LENGTH(CONCAT(REPEAT('x', 10000000), REPEAT('y', 10000000), title)) FROM entries",
	"SELECT LENGTH(REPEAT(title, 16777216 / 5 - 1)), LENGTH(REPEAT(title, 16777216 / 5 + 1)) FROM entries WHERE id = 1",
	"SELECT LENGTH(RPAD(title, 2000000000, 'x')), LENGTH(LPAD(title, 20000000, 'x')), LENGTH(SPACE(LENGTH(title) * 100000000)) FROM entries",
	"SELECT LENGTH(GROUP_CONCAT(REPEAT(a.title, 10000), REPEAT(b.title, 10000))) FROM entries a, entries b",
	"SELECT LENGTH(REGEXP_REPLACE(REPEAT(title, 100000), '', REPEAT('y', 1000))) FROM entries",
	"SELECT LENGTH(REPLACE(REPEAT(title, 10000), 'a', REPEAT('y', 10000))) FROM entries",
	"SELECT JSON_VALID(CONCAT(REPEAT('[', 100000), LEFT(title, 0))) FROM entries",
	"SELECT LENGTH(TO_BASE64(REPEAT(title, 3000000))), LENGTH(HEX(REPEAT(title, 3000000))) FROM entries",
	"SELECT LENGTH(CONV(title, 36, 2)), LENGTH(EXPORT_SET(LENGTH(title), REPEAT('a', 1000000), REPEAT('b', 1000000))) FROM entries",
	"SELECT LENGTH(FORMAT(LENGTH(title), 2000000000)), ROUND(LENGTH(title), 2000000000) FROM entries",
	"SELECT LENGTH(COMPRESS(REPEAT(title, 3000000))), LENGTH(UNCOMPRESS(COMPRESS(REPEAT(title, 2000000)))) FROM entries",
	"SELECT LENGTH(WEIGHT_STRING(REPEAT(title, 1000000) AS CHAR(10000000))) FROM entries",
	"SELECT LENGTH(SFORMAT(CONCAT('{:', LENGTH(title), '0000000}'), 1)) FROM entries",
	"SELECT UPDATEXML(CONCAT(REPEAT('<a>', 5000), title), '/a', 'b') FROM entries",
}

// TestHostileResidualStatements sends each of them: it is refused, or it is harmless and gives MariaDB's own answer. None has an effect on
// the evaluator's server, and none runs for long.
func TestHostileResidualStatements(t *testing.T) {
	w := newTwinWith(t, mariadbtest.Shared(t), twinTables, twinPolicy, "evaluator: {max_time: 20s}\n")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, sealed := w.conns(t, "")
	waitFor(t, "the evaluator", func() bool { return code(sealed, "SELECT UPPER(title) FROM entries") == 0 })
	before := w.insideEvaluator(t)
	refused, answered := 0, 0
	for m, mode := range []string{"", "ANSI_QUOTES,IGNORE_SPACE", "ANSI,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE"} {
		plain, sealed := w.conns(t, "?timeout=60s")
		statements := hostile
		if m == 0 {
			statements = append(slices.Clone(hostile), bombs...) // they read alike in every mode
		}
		mustExec(t, plain, "SET sql_mode = '"+mode+"'")
		mustExec(t, sealed, "SET sql_mode = '"+mode+"'")
		for i, stmt := range statements {
			stmt = strings.ReplaceAll(strings.ReplaceAll(stmt, "%s", file), "%%", "%")
			ways := []way{wayText}
			if i < len(hostile) && m == 0 {
				ways = append(ways, wayPrepared)
			}
			for _, how := range ways {
				mustExec(t, plain, "START TRANSACTION")
				mustExec(t, sealed, "START TRANSACTION")
				got := run(sealed, how, stmt, nil)
				if got.Code != 0 {
					refused++
					if strings.Contains(got.Text, "i/o timeout") || got.Code == 1 {
						t.Errorf("[%s] %v: %s: %d %s", mode, how, stmt, got.Code, got.Text)
					}
				} else {
					answered++
					if strings.Contains(fmt.Sprint(got.Rows), "secret") || strings.Contains(strings.ToUpper(stmt), "SLEEP(") && !strings.ContainsAny(stmt, "'\"/") {
						t.Errorf("[%s] %v: %s was answered: %v", mode, how, stmt, got.Rows)
						continue
					}
					want := run(plain, how, stmt, nil)
					slices.SortFunc(got.Rows, slices.Compare[[]string])
					slices.SortFunc(want.Rows, slices.Compare[[]string])
					if !reflect.DeepEqual(got, want) {
						t.Errorf("[%s] %v: %s\n got %.600s\nwant %.600s", mode, how, stmt, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
					}
				}
				mustExec(t, plain, "ROLLBACK")
				mustExec(t, sealed, "ROLLBACK")
			}
		}
	}
	w.onlyCells(t, "all")
	if refused < 100 || answered < 20 {
		t.Errorf("%d statements were refused and %d answered", refused, answered)
	}
	if after := w.insideEvaluator(t); after != before {
		t.Errorf("the evaluator's server was\n%s\nand is\n%s", before, after)
	}
	if out, _ := filepath.Glob(file + ".*"); len(out) > 0 {
		t.Errorf("files were written: %v", out)
	}
	w.nothingLeft(t, "all")
}

// insideEvaluator looks at the evaluator's server itself: its settings, its databases, and that no table of it has a row.
func (w *twin) insideEvaluator(t *testing.T) string {
	t.Helper()
	data, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", evaluatorOf(t, w.proxy)))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(filepath.Dir(data), "socket")+")/")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var state strings.Builder
	for _, query := range []string{
		"SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME NOT LIKE 'GTID%' ORDER BY 1",
		"SELECT SCHEMA_NAME, 1 FROM information_schema.SCHEMATA ORDER BY 1",
		"SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_ROWS > 0 AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema') ORDER BY 1",
		"SELECT NAME, 1 FROM information_schema.INNODB_TRX LIMIT 0",
	} {
		rows, err := db.Query(query)
		if err != nil {
			continue
		}
		for rows.Next() {
			var name, value string
			if err := rows.Scan(&name, &value); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&state, "%s=%s\n", name, value)
		}
		rows.Close()
	}
	return state.String()
}
