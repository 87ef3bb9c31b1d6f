package endtoend

import (
	"database/sql"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// createdPolicy names tables that only CREATE TABLE ... SELECT makes.
const createdPolicy = twinPolicy + `    remarks:
      columns:
        note: {}
    contacts:
      columns:
        email: {key: "service:app", search: equality}
    kept:
      owner: user_id
      columns:
        title: {search: equality, context: diary.title}
`

// remarkTables have what CREATE TABLE ... SELECT copies of columns: comments and defaults.
const remarkTables = twinTables + `
CREATE TABLE remarks (id INT PRIMARY KEY COMMENT 'the number', note VARCHAR(50) NOT NULL DEFAULT 'it''s' COMMENT 'what''s new', n INT DEFAULT (1 + 1),
  day DATE DEFAULT '2024-02-29' COMMENT 'a \\ b', at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), e ENUM('a','b') CHARACTER SET latin1 DEFAULT 'b');
`

// createdTables are statements that create table n, most of them from protected columns.
var createdTables = []string{
	"CREATE TABLE n SELECT id, title, body, amount FROM entries",
	"CREATE TABLE n AS SELECT * FROM entries ORDER BY id DESC",
	"CREATE TABLE n (SELECT title FROM archive)",
	"CREATE TABLE n SELECT id, CONCAT(title, '!') AS loud, LENGTH(body) AS size, amount * 2 AS twice, UPPER(name) AS tag FROM entries JOIN tags USING (id)",
	"CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, title VARCHAR(30) NOT NULL DEFAULT 'none') SELECT title FROM entries WHERE title IS NOT NULL ORDER BY id",
	"CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, extra VARCHAR(30) DEFAULT 'x', KEY (title)) ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT 'c' AS SELECT title, mood FROM entries ORDER BY id",
	"CREATE TABLE n (PRIMARY KEY (id), KEY by_mood (mood)) SELECT id, mood, body FROM entries",
	"CREATE TABLE n (n INT PRIMARY KEY) REPLACE SELECT mood DIV 4 AS n, title FROM entries WHERE mood IS NOT NULL ORDER BY id",
	"CREATE TABLE n SELECT user_id, COUNT(*) AS c, SUM(amount) AS total, GROUP_CONCAT(title ORDER BY id) AS titles, MAX(body) AS last FROM entries GROUP BY user_id ORDER BY user_id",
	"CREATE TABLE n SELECT id, user_id FROM entries WHERE title LIKE '%a%' ORDER BY id",
	"CREATE TABLE n SELECT id, title AS t FROM entries UNION ALL SELECT id, body FROM archive",
	"CREATE TABLE n WITH c AS (SELECT id AS k, title AS t FROM entries) SELECT k, LOWER(t) AS t FROM c ORDER BY k",
	"CREATE TABLE n SELECT d.t, d.k FROM (SELECT id AS k, CONCAT(title, body) AS t FROM entries) d ORDER BY d.k",
	"CREATE TABLE n SELECT title FROM entries WHERE title LIKE 'nothing%'",
	"CREATE TABLE n SELECT IF(amount > 0, title, 'none') AS t, CAST(amount AS SIGNED) AS whole, ROUND(amount, 1) AS r, amount > 0 AS b, NOW() < '2000-01-01' AS old, NULL AS nothing FROM entries ORDER BY id",
	"CREATE TABLE n SELECT a.title, b.body AS other, a.changed FROM entries a JOIN entries b ON a.title = b.title ORDER BY a.id, b.id",
	"CREATE TABLE n SELECT id, note, day, at, e FROM remarks",
	"CREATE TABLE n SELECT note, day FROM remarks GROUP BY note, day",
	"CREATE TABLE n SELECT d.letter, d.k, d.t FROM (SELECT e AS letter, id AS k, note AS t FROM remarks WHERE note LIKE '%x%') d JOIN tags ON FALSE",
	"CREATE TABLE n SELECT ROW_NUMBER() OVER (ORDER BY title, id) AS r, title FROM entries ORDER BY r",
}

// createdNamed are statements that create tables that the policy names.
var createdNamed = []string{
	"CREATE TABLE contacts (id INT PRIMARY KEY) SELECT id, email FROM users",
	"CREATE TABLE contacts (id INT PRIMARY KEY, email VARCHAR(120) DEFAULT '-') SELECT id, UPPER(alias) AS email, name FROM users",
	"CREATE TABLE contacts SELECT 5 AS id, 'x@example.org' AS email",
	"CREATE TABLE contacts SELECT id, name AS email FROM tags",
}

// TestCreatedTables makes tables on plaintext and through Latchkey, and compares what they are and what they hold.
func TestCreatedTables(t *testing.T) {
	w := newTwinOf(t, mariadbtest.Shared(t), remarkTables, createdPolicy)
	plain, sealed := w.conns(t, "")
	for _, how := range []way{wayText, wayPrepared} {
		for i, stmt := range createdTables {
			if how == wayPrepared && i%4 != 0 {
				continue
			}
			t.Run(how.String()+" "+stmt, func(t *testing.T) { w.created(t, plain, sealed, how, "n", stmt) })
		}
		for _, stmt := range createdNamed {
			t.Run(how.String()+" "+stmt, func(t *testing.T) { w.created(t, plain, sealed, how, "contacts", stmt) })
		}
		t.Run(how.String()+" owned", func(t *testing.T) {
			w.created(t, plain, sealed, how, "kept", "CREATE TABLE kept (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT) SELECT user_id, title, body FROM diary ORDER BY id")
		})
	}
}

// created runs one statement that creates a table, compares, and drops the table.
func (w *twin) created(t *testing.T, plain, sealed *sql.Conn, how way, table, stmt string) {
	t.Helper()
	same(t, plain, sealed, how, stmt)
	for _, look := range []string{"SELECT ROW_COUNT()", "SHOW CREATE TABLE " + table, "SELECT @@in_transaction"} {
		same(t, plain, sealed, wayText, look)
	}
	if want, got := sortedRows(plain, table), sortedRows(sealed, table); !reflect.DeepEqual(want, got) {
		t.Errorf("%v: %s\n got %+v\nwant %+v", how, stmt, got, want)
	}
	for _, row := range w.server.Query(t, "SELECT * FROM "+w.sealed+"."+table) {
		for _, secret := range []string{"alpha", "beta", "Gamma", "omega", "first", "again", "example.org"} {
			if strings.Contains(strings.ToLower(strings.Join(row, " ")), strings.ToLower(secret)) {
				t.Errorf("%s: the backend has %q in clear", stmt, secret)
			}
		}
	}
	same(t, plain, sealed, wayText, "DROP TABLE "+table)
}

// sortedRows gives all rows of a table, whose order is not that in which they were written.
func sortedRows(conn *sql.Conn, table string) answer {
	a := run(conn, wayText, "SELECT * FROM "+table, nil)
	slices.SortFunc(a.Rows, slices.Compare[[]string])
	return a
}

// TestCreatedTablesCommit follows what the statement does beside creating: transactions, tables that are there, and failures.
func TestCreatedTablesCommit(t *testing.T) {
	w := newTwinOf(t, mariadbtest.Shared(t), remarkTables, createdPolicy)
	plain, sealed := w.conns(t, "")
	for _, how := range []way{wayText, wayPrepared} {
		for _, stmt := range []string{
			"BEGIN", "INSERT INTO tags (id, name) VALUES (90, 'pending')",
			"CREATE TABLE n SELECT id, title FROM entries", "SELECT @@in_transaction", "ROLLBACK",
			"SELECT * FROM tags WHERE id = 90", "DELETE FROM tags WHERE id = 90",
			"CREATE TABLE n SELECT id, title FROM entries",
			"CREATE TABLE IF NOT EXISTS n SELECT id, body FROM entries", "SHOW WARNINGS", "SELECT * FROM n ORDER BY id",
			"CREATE OR REPLACE TABLE n SELECT id, body FROM entries", "SHOW CREATE TABLE n", "SELECT * FROM n ORDER BY id",
			"CREATE TABLE IF NOT EXISTS m SELECT id, title FROM entries WHERE id < 3", "SELECT * FROM m ORDER BY id", "DROP TABLE m",
			"CREATE TABLE m (id INT PRIMARY KEY) SELECT 1 AS id, title FROM entries", "SELECT * FROM m LIMIT 0",
			"CREATE TABLE m (title VARCHAR(3)) SELECT title FROM entries", "SELECT * FROM m LIMIT 0",
			"CREATE TABLE m SELECT missing FROM entries", "SELECT * FROM m LIMIT 0",
			"CREATE TABLE m SELECT id, id, title FROM entries", "SELECT * FROM m LIMIT 0",
			"SET autocommit = 0", "CREATE TABLE m SELECT id, title FROM entries", "ROLLBACK", "SELECT * FROM m ORDER BY id", "COMMIT", "SET autocommit = 1", "DROP TABLE m",
			"SET sql_mode = ''", "CREATE TABLE m (title VARCHAR(3)) SELECT title FROM entries", "SELECT @@warning_count", "SELECT title FROM m ORDER BY title", "DROP TABLE m", "SET sql_mode = DEFAULT",
			"INSERT INTO n (id, body) SELECT id, CONCAT(body, '?') FROM n", "UPDATE n SET body = 'changed' WHERE id = 1", "SELECT * FROM n ORDER BY id, body",
			"DROP TABLE n",
		} {
			if strings.HasSuffix(stmt, "LIMIT 0") {
				same(t, plain, sealed, wayText, stmt)
				continue
			}
			same(t, plain, sealed, how, stmt)
		}
	}
	mustSame(t, plain, sealed, "CREATE TABLE n SELECT ? AS k, CONCAT(title, ?) AS t FROM entries WHERE title LIKE ? ORDER BY id", 5, "!", "%a%")
	same(t, plain, sealed, wayText, "SHOW CREATE TABLE n")
	same(t, plain, sealed, wayText, "SELECT * FROM n")
}

// mustSame runs a prepared statement with arguments on both sides.
func mustSame(t *testing.T, plain, sealed *sql.Conn, stmt string, args ...any) {
	t.Helper()
	want, got := run(plain, wayPrepared, stmt, args), run(sealed, wayPrepared, stmt, args)
	if got.Code != want.Code || got.Affected != want.Affected {
		t.Errorf("%s: got %+v, want %+v", stmt, got, want)
	}
}

// TestCreatedTablesNeed: what is refused, with the table that was there left alone.
func TestCreatedTablesNeed(t *testing.T) {
	w := newTwinOf(t, mariadbtest.Shared(t), remarkTables, createdPolicy)
	_, sealed := w.conns(t, "")
	keyless := w.proxy.Conn(t, w.sealed, "", "")
	other := w.proxy.Conn(t, w.sealed, "", latchkeytest.NewAccountKey(t))
	mustExec(t, sealed, "CREATE TABLE n (id INT)")
	for _, c := range []struct {
		conn *sql.Conn
		stmt string
		want int
	}{
		{keyless, "CREATE OR REPLACE TABLE n SELECT id, title FROM entries", 9701},
		{other, "CREATE TABLE m SELECT id, title FROM entries", 9702},
		{sealed, "CREATE OR REPLACE TABLE n SELECT email FROM users", 9705},
		{sealed, "CREATE OR REPLACE TABLE n SELECT CONCAT(email, title) AS e FROM users JOIN entries USING (id)", 9705},
		{sealed, "CREATE OR REPLACE TABLE n SELECT * FROM (SELECT id, title FROM entries WHERE LENGTH(title) > 1) d", 9704},
		{sealed, "CREATE OR REPLACE TABLE n (x INT AS (id + 1)) SELECT id, title FROM entries", 9705},
		{sealed, "CREATE OR REPLACE TABLE n (CHECK (id > 1)) SELECT id, title FROM entries", 9705},
		{sealed, "CREATE OR REPLACE TABLE n (x INT DEFAULT (SLEEP(1))) SELECT id, title FROM entries", 9705},
		{sealed, "CREATE OR REPLACE TABLE n SELECT id, LOAD_FILE('/etc/passwd') AS x, title FROM entries", 9704},
		{sealed, "CREATE OR REPLACE TABLE n SELECT id, title FROM n JOIN entries USING (id)", 9705},
		{sealed, "CREATE OR REPLACE TABLE entries SELECT * FROM entries", 9705},
		{sealed, "CREATE OR REPLACE TABLE n (PRIMARY KEY (title)) SELECT title FROM entries WHERE title IS NOT NULL", 9705},
		{sealed, "CREATE OR REPLACE TABLE n SELECT missing FROM entries", 1054},
		{sealed, "CREATE OR REPLACE TABLE n (id INT PRIMARY KEY) IGNORE SELECT 1 AS id, title FROM entries", 9705},
		{sealed, "CREATE OR REPLACE TABLE n SELECT n, note FROM remarks", 9705},
		{sealed, "CREATE TEMPORARY TABLE n SELECT title FROM entries", 9704},
		{sealed, "CREATE TABLE n SELECT id, title FROM entries", 1050},
	} {
		if got := code(c.conn, c.stmt); got != c.want {
			t.Errorf("%s: got error %d, want %d", c.stmt, got, c.want)
		}
		if got := len(w.server.Query(t, "SHOW COLUMNS FROM "+w.sealed+".n")); got != 1 {
			t.Errorf("%s: table n has %d columns afterwards, want the one of before", c.stmt, got)
		}
		if got := w.server.Query(t, "SHOW TABLES FROM "+w.sealed+" LIKE 'm'"); len(got) != 0 {
			t.Errorf("%s: there is a table afterwards", c.stmt)
		}
	}
}
