package endtoend

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
)

// backendStatements gives all statements that reach the server while do runs, as the server's general log has them.
func backendStatements(t *testing.T, server *mariadbtest.Server, do func()) []byte {
	t.Helper()
	server.Exec(t, "SET GLOBAL log_output='TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log=1")
	defer server.Exec(t, "SET GLOBAL general_log=0")
	do()
	var all strings.Builder
	for _, row := range server.Query(t, "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query','Prepare','Execute')") {
		all.WriteString(row[0])
		all.WriteByte('\n')
	}
	return []byte(all.String())
}

// seen fails the test when a mark is in what the backend got.
func (m *mark) seen(t *testing.T, content []byte) {
	t.Helper()
	if at, encoding, found := m.find(content); found {
		t.Errorf("the backend got %s as %s: %q", m.what, encoding, content[max(0, at-200):min(len(content), at+100)])
	}
}

// TestResidualSession holds what statements read of the session against plaintext, over connections of which it is known what
// they answer.
func TestResidualSession(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, how := range []way{wayText, wayPrepared} {
		plain, sealed := w.conns(t, "")
		for _, c := range []*sql.Conn{plain, sealed} {
			mustExec(t, c, "SET @@lc_time_names = 'de_DE', @@sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES', @@long_query_time = 1.25")
		}
		for _, stmt := range []string{
			`SELECT CURRENT_USER() || title, "title" || @@lc_time_names, @@session."sql_mode", @@long_query_time * 2 FROM entries ORDER BY title, id`,
			"SELECT USER() AS `a b`, VERSION() v, @@version = VERSION(), UPPER(title) FROM entries ORDER BY title, id",
			"SELECT COUNT(*), CURRENT_USER FROM entries GROUP BY LEFT(title, 1) HAVING CURRENT_USER LIKE 'r%' ORDER BY 1",
			"SELECT title, USER ( ), (SELECT MAX(CONCAT(title, USER())) FROM archive) FROM entries ORDER BY title, id",
			"SELECT id FROM entries WHERE title > 'a' AND USER() LIKE CONCAT('root', '%') ORDER BY id",
			"SELECT UPPER(title) FROM entries UNION SELECT USER() UNION SELECT @@character_set_client ORDER BY 1",
			"UPDATE entries SET title = LEFT(CONCAT(title, USER()), 20) WHERE CURRENT_USER() LIKE 'root%'",
			"UPDATE entries SET amount = amount + @@div_precision_increment WHERE title LIKE '%a%'",
			"SELECT UPPER(title), @@no_such_variable FROM entries",
			"SELECT UPPER(title), @@global.sql_mode FROM entries ORDER BY id",
		} {
			same(t, plain, sealed, how, stmt)
		}
		for _, stmt := range []string{"UPDATE tags SET name = 'y' WHERE id < 4", "SELECT id FROM entries WHERE title LIKE '%a%'"} {
			for _, c := range []*sql.Conn{plain, sealed} {
				run(c, wayText, stmt, nil)
			}
			for _, asked := range []string{"SELECT ROW_COUNT(), MAX(title) FROM entries", "SELECT FOUND_ROWS(), MAX(title) FROM entries"} {
				same(t, plain, sealed, wayText, asked)
			}
		}
		connectionID(t, how, sealed)
	}
}

// connectionID looks whether CONNECTION_ID() is the backend's beside columns that the evaluator opens.
func connectionID(t *testing.T, how way, conn *sql.Conn) {
	t.Helper()
	want := run(conn, how, "SELECT CONNECTION_ID()", nil).Rows[0][0]
	got := run(conn, how, "SELECT CONNECTION_ID(), MAX(title) FROM entries", nil)
	if got.Rows == nil || got.Rows[0][0] != want || got.Names[0] != "CONNECTION_ID()" {
		t.Errorf("%v: CONNECTION_ID() is %+v, want %s", how, got, want)
	}
}

// TestResidualWarningsStayHere looks whether the texts of warnings and errors about opened values reach the backend when they are
// asked for.
func TestResidualWarningsStayHere(t *testing.T) {
	server := mariadbtest.Shared(t)
	w := newTwin(t, server)
	secret := newMark("value")
	_, sealed := w.conns(t, "")
	logged := backendStatements(t, server, func() {
		if _, err := sealed.ExecContext(context.Background(), "INSERT INTO entries (id, title) VALUES (70, ?)", secret.text); err != nil {
			t.Fatal(err)
		}
		for _, stmt := range []string{"SELECT CAST(title AS SIGNED) FROM entries WHERE id = 70", "SELECT UPPER(title) FROM entries WHERE title = '" + secret.text + "' SYNTAX ERROR",
			"SELECT UPPER(title), CAST('" + secret.text + "' AS NO_TYPE) FROM entries", "SELECT UPPER(title) REGEXP CONCAT('(', title) FROM entries WHERE id = 70",
			"SELECT id FROM entries WHERE amount = '" + secret.text + "'", "SELECT GROUP_CONCAT(title ORDER BY id LIMIT 1) FROM entries WHERE title <> '" + secret.text + "'"} {
			for _, asked := range []string{"SHOW WARNINGS", "SHOW COUNT(*) WARNINGS", "SELECT @@warning_count", "SHOW ERRORS", "SELECT @@error_count", "GET DIAGNOSTICS @n = NUMBER",
				"GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT"} {
				if rows, err := sealed.QueryContext(context.Background(), stmt); err == nil {
					rows.Close()
				}
				if got := run(sealed, wayText, asked, nil); got.Code != 0 {
					t.Errorf("%s, after %s: error %d %s", asked, stmt, got.Code, got.Text)
				}
			}
		}
	})
	secret.seen(t, logged)
	if !strings.Contains(string(logged), "@@warning_count") {
		t.Error("the log does not hold what the backend got")
	}
}
