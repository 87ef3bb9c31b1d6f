package proxy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	sqldriver "github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

const testRealm = "test"

// testKey is an account key that repeats one byte, as text.
func testKey(t testing.TB, b byte) string {
	t.Helper()
	k, err := keystore.NewAccountKey(strings.NewReader(strings.Repeat(string(rune(b)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return string(k.Text())
}

func mustType(t testing.TB, def string) *logical.Type {
	t.Helper()
	typ, err := logical.Parse(def)
	if err != nil {
		t.Fatalf("parse %q: %v", def, err)
	}
	return typ
}

// twin is one schema twice: as the application declared it, on MariaDB itself, and with its protected columns physical,
// behind a proxy.
type twin struct {
	server        *mariadbtest.Server
	proxy         *testProxy
	loader        *SchemaLoader
	plain, sealed string // databases
}

// twinPolicy is the policy of the twins' table `entries`.
func twinPolicy(t testing.TB) map[string]*rewrite.TablePolicy {
	return map[string]*rewrite.TablePolicy{
		"entries": {Columns: map[string]*rewrite.ColumnPolicy{
			"title":  {SearchEquality: true, Type: mustType(t, "varchar(100) character set utf8mb4 collate utf8mb4_bin"), UniquePerOwner: true},
			"body":   {Type: mustType(t, "text character set utf8mb4")},
			"amount": {Type: mustType(t, "decimal(12,2)")},
			"born":   {Type: mustType(t, "date")},
		}},
		"notes": {Columns: map[string]*rewrite.ColumnPolicy{
			"text": {Type: mustType(t, "varchar(200) character set utf8mb4 not null")},
			"mail": {ServiceKey: "app", SearchEquality: true, Type: mustType(t, "varchar(100) character set utf8mb4 collate utf8mb4_bin")},
		}},
	}
}

const (
	plainTables = `
		CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, n INT,
			title VARCHAR(100) COLLATE utf8mb4_bin, body TEXT, amount DECIMAL(12,2), born DATE,
			changed INT NOT NULL DEFAULT 0, KEY title (title(20))) DEFAULT CHARSET utf8mb4;
		CREATE TABLE notes (id INT PRIMARY KEY, entry_id INT, text VARCHAR(200) NOT NULL, mail VARCHAR(100) COLLATE utf8mb4_bin UNIQUE) DEFAULT CHARSET utf8mb4;
		CREATE TABLE other (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(50)) DEFAULT CHARSET utf8mb4`
	sealedTables = `
		CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, n INT,
			title VARBINARY(500), body MEDIUMBLOB, amount VARBINARY(256), born VARBINARY(256),
			changed INT NOT NULL DEFAULT 0, KEY title (title(20))) DEFAULT CHARSET utf8mb4;
		CREATE TABLE notes (id INT PRIMARY KEY, entry_id INT, text VARBINARY(900) NOT NULL, mail VARBINARY(500), UNIQUE mail (mail(20))) DEFAULT CHARSET utf8mb4;
		CREATE TABLE other (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(50)) DEFAULT CHARSET utf8mb4`
)

func newTwin(t *testing.T, change func(*Protection)) *twin {
	t.Helper()
	server := mariadbtest.Shared(t)
	tw := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t)}
	server.Exec(t, "USE "+tw.plain+";"+plainTables, "USE "+tw.sealed+";"+sealedTables)
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: twinPolicy(t)}}
	tw.loader = startLoader(t, testSchemaConfig(server), policy)
	p := testProtection(t, tw.loader)
	if change != nil {
		change(p)
	}
	tw.proxy = startProxy(t, server.Addr(), func(c *Config) { c.Protection = p })
	return tw
}

// testProtection is a protection with one service key, app.
func testProtection(t testing.TB, loader *SchemaLoader) *Protection {
	t.Helper()
	dir := t.TempDir()
	path := dir + "/app.key"
	if err := os.WriteFile(path, []byte(testKey(t, 'S')), 0o600); err != nil {
		t.Fatal(err)
	}
	services, _, err := keystore.LoadServiceKeys(testRealm, map[string]string{"app": path})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := keystore.NewCache(testRealm, 100, time.Hour, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &Protection{Schema: loader, Services: services, Cache: cache}
}

// session opens one connection through the proxy with a key on its keyring; none when key is 0.
func (tw *twin) session(t testing.TB, key byte, params string) *sql.Conn {
	t.Helper()
	conn := tw.conn(t, tw.proxy.open(t, "root", tw.sealed, params))
	if key != 0 {
		mustExec(t, conn, "SET @latchkey = '"+testKey(t, key)+"'")
	}
	return conn
}

// direct opens one connection to the plaintext twin.
func (tw *twin) direct(t testing.TB, params string) *sql.Conn {
	t.Helper()
	pool, err := sql.Open("mysql", tw.server.DSN(tw.plain)+"?"+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return tw.conn(t, pool)
}

func (tw *twin) conn(t testing.TB, pool *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := pool.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// raw reads the sealed twin as it is stored.
func (tw *twin) raw(t testing.TB, query string) [][]string {
	t.Helper()
	return tw.server.Query(t, strings.ReplaceAll(query, "FROM ", "FROM "+tw.sealed+"."))
}

func mustExec(t testing.TB, c *sql.Conn, query string, args ...any) sql.Result {
	t.Helper()
	r, err := c.ExecContext(context.Background(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", shorten(query), err)
	}
	return r
}

func shorten(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}

// outcome is all that a client sees of a statement.
type outcome struct {
	code     int
	message  string
	affected int64
	columns  []string // name, database type, nullability
	rows     []string
}

func (o outcome) String() string {
	if o.code != 0 {
		return fmt.Sprintf("error %d (%s)", o.code, o.message)
	}
	return fmt.Sprintf("affected %d, columns %v, rows %v", o.affected, o.columns, o.rows)
}

func run(t testing.TB, c *sql.Conn, query string, args ...any) outcome {
	t.Helper()
	if isQuery(query) {
		return runQuery(t, c, query, args...)
	}
	r, err := c.ExecContext(context.Background(), query, args...)
	if err != nil {
		return failed(t, query, err)
	}
	n, _ := r.RowsAffected()
	return outcome{affected: n}
}

func isQuery(query string) bool {
	first := strings.ToUpper(strings.TrimLeft(query, "( \n\t"))
	for _, verb := range []string{"SELECT", "WITH", "SHOW", "DESC", "EXPLAIN", "CALL", "EXECUTE"} {
		if strings.HasPrefix(first, verb) {
			return true
		}
	}
	return strings.Contains(first, "RETURNING")
}

func failed(t testing.TB, query string, err error) outcome {
	t.Helper()
	var e *sqldriver.MySQLError
	if !errors.As(err, &e) {
		t.Fatalf("%s: %v", shorten(query), err)
	}
	return outcome{code: int(e.Number), message: e.Message}
}

func runQuery(t testing.TB, c *sql.Conn, query string, args ...any) outcome {
	t.Helper()
	rows, err := c.QueryContext(context.Background(), query, args...)
	if err != nil {
		return failed(t, query, err)
	}
	defer rows.Close()
	var o outcome
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, ct := range types {
		nullable, _ := ct.Nullable()
		length, _ := ct.Length()
		o.columns = append(o.columns, fmt.Sprintf("%s %s %v %d", ct.Name(), ct.DatabaseTypeName(), nullable, length))
	}
	for rows.Next() {
		values := make([]any, len(types))
		targets := make([]any, len(types))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatalf("%s: %v", shorten(query), err)
		}
		var row []string
		for _, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			row = append(row, fmt.Sprintf("%v", v))
		}
		o.rows = append(o.rows, strings.Join(row, "|"))
	}
	if err := rows.Err(); err != nil {
		return failed(t, query, err)
	}
	return o
}

// same runs a statement on both twins and compares what the client sees.
func same(t *testing.T, plain, sealed *sql.Conn, query string, args ...any) {
	t.Helper()
	want, got := run(t, plain, query, args...), run(t, sealed, query, args...)
	if want.code != 0 {
		want.message, got.message = "", ""
	}
	if got.String() != want.String() {
		t.Errorf("%s %v\n through the proxy: %v\n on plaintext:      %v", shorten(query), args, got, want)
	}
}

// script is a list of statements that give the same on both twins.
var script = []string{
	"INSERT INTO entries (user_id, title, body, amount, born) VALUES (1, 'first', 'a body', 12.5, '2020-02-29')",
	"INSERT INTO entries (user_id, title, body) VALUES (1, 'second', NULL), (1, 'third', ''), (1, NULL, 'x')",
	"INSERT INTO entries SET user_id = 2, title = 'with ''quotes'' and \\\\', amount = -3",
	"INSERT INTO other (v) VALUES ('plain')",
	"SELECT id, title, body, amount, born FROM entries ORDER BY id",
	"SELECT * FROM entries ORDER BY id",
	"SELECT title AS t, e.body FROM entries AS e WHERE e.id = 1",
	"SELECT title FROM entries WHERE title = 'second'",
	"SELECT id FROM entries WHERE 'second' = title",
	"SELECT id FROM entries WHERE title IN ('first', 'third', 'nothing') ORDER BY id",
	"SELECT id FROM entries WHERE title IN ('first', NULL) ORDER BY id",
	"SELECT id FROM entries WHERE title = NULL",
	"SELECT id FROM entries WHERE title <=> NULL",
	"SELECT id FROM entries WHERE title <=> 'first'",
	"SELECT id FROM entries WHERE title IS NULL",
	"SELECT COUNT(*) FROM entries WHERE title = 'first' OR n IS NULL AND title = 'second'",
	"UPDATE entries SET body = 'changed' WHERE title = 'first'",
	"UPDATE entries SET body = 'changed' WHERE title = 'first'",
	"UPDATE entries SET body = 'changed', changed = changed + 1 WHERE id IN (1, 2)",
	"UPDATE entries SET title = NULL WHERE id = 3",
	"SELECT id, title, body, changed FROM entries ORDER BY id",
	"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'first'), (20, 1, 'twenty') ON DUPLICATE KEY UPDATE title = VALUES(title)",
	"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'other'), (21, 1, 'x') ON DUPLICATE KEY UPDATE title = VALUES(title)",
	"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'other') ON DUPLICATE KEY UPDATE title = 'literal', body = 'same', amount = NULL",
	"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'other') ON DUPLICATE KEY UPDATE title = 'literal', body = 'same', amount = NULL",
	"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'other'), (22, 1, 'new') ON DUPLICATE KEY UPDATE title = 'literal', body = 'other'",
	"REPLACE INTO entries (id, user_id, title, body) VALUES (20, 1, 'replaced', 'b')",
	"SELECT id, title, body FROM entries ORDER BY id",
	"DELETE FROM entries WHERE title = 'replaced'",
	"INSERT INTO notes VALUES (1, 1, 'note', 'a@example.org')",
	"INSERT INTO notes VALUES (2, 1, 'note', 'a@example.org')",
	"INSERT INTO notes (id, entry_id, text, mail) VALUES (3, 2, 'third', 'b@example.org')",
	"SELECT e.title, n.text, n.mail FROM entries e JOIN notes n ON n.entry_id = e.id ORDER BY n.id",
	"SELECT e.title, n.text FROM entries e LEFT JOIN notes n ON n.entry_id = e.id ORDER BY e.id",
	"SELECT (SELECT title FROM entries WHERE id = 1) AS sub",
	"SELECT * FROM (SELECT id, title FROM entries) d WHERE d.id = 1",
	"WITH c AS (SELECT id, title FROM entries) SELECT title FROM c WHERE id = 2",
	"SELECT text FROM notes UNION ALL SELECT text FROM notes",
	"SELECT v FROM other",
	"UPDATE notes SET mail = NULL WHERE id = 3",
	"SELECT id, mail = 'a@example.org', NOT mail = 'a@example.org' FROM notes ORDER BY id",
	"SELECT id FROM notes WHERE mail <> 'a@example.org' OR mail NOT IN ('x', NULL)",
	"INSERT INTO entries (user_id, title) VALUES (9, 'ret') RETURNING id > 0, title",
	"DELETE FROM entries WHERE user_id = 9 RETURNING title",
	"SELECT id FROM entries WHERE title = 'FIRST'",
	"INSERT INTO notes (id, text) VALUES (9, NULL)",
	"SET STATEMENT max_statement_time = 10 FOR SELECT title FROM entries WHERE id = 2",
	"EXECUTE IMMEDIATE 'SELECT title FROM entries WHERE id = 2'",
	"EXECUTE IMMEDIATE 'UPDATE entries SET body = ''dyn'' WHERE id = 2'",
	"SELECT body FROM entries WHERE id = 2",
}

func TestTextStatementsGiveWhatPlaintextGives(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, ""), tw.session(t, 'A', "")
	for _, query := range script {
		same(t, plain, sealed, query)
	}
	checkStored(t, tw)
}

// checkStored checks that nothing but cells stands in the protected columns.
func checkStored(t *testing.T, tw *twin) {
	t.Helper()
	for _, column := range []string{"entries.title", "entries.body", "entries.amount", "entries.born", "notes.text", "notes.mail"} {
		table, name, _ := strings.Cut(column, ".")
		rows := tw.raw(t, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s IS NOT NULL AND LEFT(%s,3) <> x'FF4C4B'", table, name, name))
		if rows[0][0] != "0" {
			t.Errorf("%s holds %s values that are no cells", column, rows[0][0])
		}
	}
	if rows := tw.raw(t, "SELECT COUNT(*) FROM entries WHERE title IS NOT NULL"); rows[0][0] == "0" {
		t.Error("nothing was stored")
	}
}

// prepared is a list of statements with arguments that give the same on both twins.
var prepared = []struct {
	query string
	args  []any
}{
	{"INSERT INTO entries (user_id, title, body, amount, born) VALUES (?, ?, ?, ?, ?)", []any{1, "first", []byte("a body"), 12.5, "2020-02-29"}},
	{"INSERT INTO entries (user_id, title, body) VALUES (1, 'second', ?), (?, ?, ?)", []any{nil, 1, nil, "x"}},
	{"INSERT INTO entries SET user_id = ?, title = ?, amount = 7", []any{2, "it's"}},
	{"SELECT id, title, body, amount, born FROM entries WHERE id > ? ORDER BY id", []any{0}},
	{"SELECT * FROM entries WHERE title = ?", []any{"first"}},
	{"SELECT * FROM entries WHERE title = ?", []any{nil}},
	{"SELECT * FROM entries WHERE title <=> ?", []any{nil}},
	{"SELECT id FROM entries WHERE title IN (?, ?) AND id > ? ORDER BY id", []any{"first", "second", 0}},
	{"SELECT id FROM entries WHERE ? = title AND id < ?", []any{"second", 100}},
	{"UPDATE entries SET body = ?, changed = changed + ? WHERE title = ? AND id > ?", []any{"new", 1, "first", 0}},
	{"UPDATE entries SET body = ? WHERE title = ? AND id > ?", []any{"new", "first", 0}},
	{"UPDATE entries SET body = ? WHERE title = ? AND id > ?", []any{nil, "first", 0}},
	{"UPDATE entries SET body = 'literal' WHERE id = ?", []any{1}},
	{"UPDATE entries SET body = 'literal' WHERE id = ?", []any{1}},
	{"INSERT INTO entries (id, user_id, title) VALUES (?, 1, ?), (20, ?, 'twenty') ON DUPLICATE KEY UPDATE title = VALUES(title)", []any{1, "first", 1}},
	{"INSERT INTO entries (id, user_id, title) VALUES (?, 1, ?) ON DUPLICATE KEY UPDATE title = ?", []any{1, "first", "again"}},
	{"INSERT INTO entries (id, user_id, title) VALUES (?, 1, ?) ON DUPLICATE KEY UPDATE title = ?", []any{1, "first", "again"}},
	{"INSERT INTO entries (id, user_id, title) VALUES (?, 1, ?), (?, 1, ?) ON DUPLICATE KEY UPDATE title = ?, body = 'literal'", []any{1, "first", 23, "new", "again"}},
	{"REPLACE INTO entries (id, user_id, title, body) VALUES (?, 1, ?, 'b')", []any{20, "replaced"}},
	{"SELECT id, title, body, amount, born, changed FROM entries WHERE id > ? ORDER BY id", []any{0}},
	{"INSERT INTO notes VALUES (?, ?, ?, ?)", []any{1, 1, "note", "a@example.org"}},
	{"INSERT INTO notes VALUES (?, ?, ?, ?)", []any{2, 1, "note", "a@example.org"}},
	{"SELECT e.title, n.text, n.mail FROM entries e JOIN notes n ON n.entry_id = e.id WHERE n.mail = ? ORDER BY n.id", []any{"a@example.org"}},
	{"SELECT id, mail = ? FROM notes", []any{"a@example.org"}},
	{"DELETE FROM entries WHERE title = ? AND id > ?", []any{"replaced", 1}},
	{"INSERT INTO entries (user_id, title) VALUES (?, ?) RETURNING id > 0, title", []any{5, "ret"}},
	{"SELECT v FROM other WHERE id = ?", []any{1}},
	{"INSERT INTO other (v) VALUES (?)", []any{"plain"}},
	{"INSERT INTO notes (id, text) VALUES (?, ?)", []any{7, nil}},
}

func TestPreparedStatementsGiveWhatPlaintextGives(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, ""), tw.session(t, 'A', "")
	for range 2 {
		for _, s := range prepared {
			same(t, plain, sealed, s.query, s.args...)
		}
	}
	checkStored(t, tw)
}

// TestPreparedStatementsLastOverKeys executes one statement under changing keyrings.
func TestPreparedStatementsLastOverKeys(t *testing.T) {
	tw := newTwin(t, nil)
	ctx := context.Background()
	conn := tw.session(t, 'A', "")
	insert := prepare(t, conn, "INSERT INTO entries (user_id, title, body) VALUES (?, ?, 'same')")
	find := prepare(t, conn, "SELECT title FROM entries WHERE title = ?")
	for i, key := range []byte{'A', 'B', 'A'} {
		mustExec(t, conn, "SET @latchkey = ?", testKey(t, key))
		if _, err := insert.ExecContext(ctx, i, "t"); err != nil {
			t.Fatalf("insert under key %c: %v", key, err)
		}
	}
	count := func(want int) {
		t.Helper()
		rows, err := find.QueryContext(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil || n != want {
			t.Errorf("found %d rows (error %v), want %d", n, err, want)
		}
	}
	count(2)
	mustExec(t, conn, "SET @latchkey = '"+testKey(t, 'B')+"'")
	count(1)
	if o := run(t, conn, "CALL latchkey.add_key(?)", testKey(t, 'A')); o.code != 0 {
		t.Fatal(o)
	}
	count(3)
	mustExec(t, conn, "SET @latchkey = NULL")
	if _, err := insert.ExecContext(ctx, 1, "t"); mariadbtest.Code(err) != 9701 {
		t.Errorf("insert without a key: %v, want error 9701", err)
	}
	if _, err := find.QueryContext(ctx, "t"); mariadbtest.Code(err) != 9701 {
		t.Errorf("search without a key: %v, want error 9701", err)
	}
	ids := tw.raw(t, "SELECT COUNT(DISTINCT SUBSTRING(title,25,8)), COUNT(DISTINCT SUBSTRING(body,9,8)), COUNT(*) FROM entries")
	if ids[0][0] != "2" || ids[0][1] != "2" || ids[0][2] != "3" {
		t.Errorf("key ids of titles, of bodies, rows: %v, want 2, 2, 3", ids[0])
	}
}

func prepare(t testing.TB, c *sql.Conn, query string) *sql.Stmt {
	t.Helper()
	s, err := c.PrepareContext(context.Background(), query)
	if err != nil {
		t.Fatalf("prepare %s: %v", shorten(query), err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
