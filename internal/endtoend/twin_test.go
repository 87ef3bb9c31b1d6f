package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// twin is one schema twice on one server: plain, read directly, and sealed, read through Latchkey.
type twin struct {
	server        *mariadbtest.Server
	proxy         *latchkeytest.Proxy
	plain, sealed string // database names
	key           string
	// protected lists table.column of every protected column.
	protected []string
}

// tables of the twin. The declared types are the application's.
const twinTables = `
CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, title VARCHAR(100), body TEXT, mood INT,
  amount DECIMAL(12,2), changed TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, KEY (title)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), email VARCHAR(100), alias VARCHAR(100), UNIQUE KEY email (email)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE tags (id INT PRIMARY KEY AUTO_INCREMENT, entry_id INT, name VARCHAR(50)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE archive (id INT PRIMARY KEY, title VARCHAR(100), body TEXT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE diary (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, title VARCHAR(100), body TEXT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
`

const twinPolicy = `    entries:
      columns:
        title: {search: equality}
        body: {}
        amount: {search: equality}
    users:
      columns:
        email: {key: "service:app", search: equality}
        alias: {key: "service:app", search: equality, context: users.email}
    archive:
      columns:
        title: {search: equality, context: entries.title}
        body: {context: entries.body}
    diary:
      owner: user_id
      columns:
        title: {search: equality}
        body: {}
`

// twinRows fill both sides.
var twinRows = []string{
	"INSERT INTO entries (id, user_id, title, body, mood, amount) VALUES (1, 7, 'alpha', 'first body', 3, 10.50), (2, 7, 'beta', '', 4, -3.25), (3, 8, 'Gamma', NULL, NULL, 0.00), (4, 8, NULL, 'x', 1, NULL), (5, 9, 'alpha', 'again', 5, 10.50)",
	"INSERT INTO users (id, name, email, alias) VALUES (1, 'ann', 'ann@example.org', 'bob@example.org'), (2, 'bob', 'bob@example.org', NULL), (3, 'cyd', NULL, 'ann@example.org')",
	"INSERT INTO tags (id, entry_id, name) VALUES (1, 1, 'home'), (2, 1, 'rent'), (3, 2, 'home'), (4, 9, 'none')",
	"INSERT INTO archive (id, title, body) VALUES (1, 'alpha', 'old'), (9, 'omega', NULL)",
	"INSERT INTO diary (id, user_id, title, body) VALUES (1, 7, 'alpha', 'first'), (2, 8, 'beta', NULL), (3, 7, NULL, 'x')",
}

func newTwin(t *testing.T, server *mariadbtest.Server) *twin {
	t.Helper()
	return newTwinOf(t, server, twinTables, twinPolicy)
}

// newTwinOf makes a twin with other tables beside those of twinTables.
func newTwinOf(t *testing.T, server *mariadbtest.Server, tables, policy string) *twin {
	t.Helper()
	return newTwinWith(t, server, tables, policy, "")
}

// newTwinWith makes a twin with other settings.
func newTwinWith(t *testing.T, server *mariadbtest.Server, tables, policy, settings string) *twin {
	t.Helper()
	w := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(t, "USE "+db+";"+tables)
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"},
		Databases: "  " + w.sealed + ":\n" + policy, Extra: settings})
	w.protected = []string{"entries.title", "entries.body", "entries.amount", "users.email", "users.alias", "archive.title", "archive.body"}
	if policy == twinPolicy {
		w.protected = append(w.protected, "diary.title", "diary.body")
	}
	plain, sealed := w.conns(t, "")
	for _, stmt := range twinRows {
		for _, c := range []*sql.Conn{plain, sealed} {
			if _, err := c.ExecContext(context.Background(), stmt); err != nil {
				t.Fatalf("fill: %v", err)
			}
		}
	}
	return w
}

// conns opens a connection to each side; the sealed one has the key.
func (w *twin) conns(t *testing.T, params string) (plain, sealed *sql.Conn) {
	t.Helper()
	pool, err := sql.Open("mysql", w.server.DSN(w.plain)+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	if plain, err = pool.Conn(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plain.Close() })
	return plain, w.proxy.Conn(t, w.sealed, params, w.key)
}

// answer is what a client sees of one statement.
type answer struct {
	Code     int
	Text     string
	Names    []string
	Types    []string
	Rows     [][]string
	Affected int64
	InsertID int64
	Warnings [][]string
}

// way is how a statement is sent.
type way int

const (
	wayText way = iota
	wayPrepared
)

func (w way) String() string { return [...]string{"text", "prepared"}[w] }

// run sends a statement and gathers everything about the answer.
func run(conn *sql.Conn, how way, stmt string, args []any) answer {
	ctx := context.Background()
	var a answer
	query := func() (*sql.Rows, error) { return conn.QueryContext(ctx, stmt, args...) }
	exec := func() (sql.Result, error) { return conn.ExecContext(ctx, stmt, args...) }
	if how == wayPrepared {
		prepared, err := conn.PrepareContext(ctx, stmt)
		if err != nil {
			return failed(err)
		}
		defer prepared.Close()
		query = func() (*sql.Rows, error) { return prepared.QueryContext(ctx, args...) }
		exec = func() (sql.Result, error) { return prepared.ExecContext(ctx, args...) }
	}
	if returnsRows(stmt) {
		rows, err := query()
		if err != nil {
			return failed(err)
		}
		if err := a.read(rows); err != nil {
			return failed(err)
		}
	} else {
		result, err := exec()
		if err != nil {
			return failed(err)
		}
		a.Affected, _ = result.RowsAffected()
		a.InsertID, _ = result.LastInsertId()
	}
	a.warnings(conn)
	return a
}

func failed(err error) answer { return answer{Code: max(mariadbtest.Code(err), 1), Text: err.Error()} }

func returnsRows(stmt string) bool {
	word := strings.ToUpper(strings.Trim(strings.Fields(stmt)[0], "("))
	switch word {
	case "SELECT", "WITH", "SHOW", "EXPLAIN", "DESCRIBE", "VALUES", "TABLE", "EXECUTE":
		return !strings.Contains(strings.ToUpper(stmt), " INTO @")
	}
	return strings.Contains(strings.ToUpper(stmt), "RETURNING") || strings.Contains(strings.ToUpper(stmt), " FOR SELECT")
}

func (a *answer) read(rows *sql.Rows) error {
	defer rows.Close()
	for {
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		types, err := rows.ColumnTypes()
		if err != nil {
			return err
		}
		a.Names = append(a.Names, names...)
		for _, t := range types {
			length, _ := t.Length()
			precision, scale, _ := t.DecimalSize()
			nullable, _ := t.Nullable()
			a.Types = append(a.Types, fmt.Sprintf("%s(%d,%d,%d) null=%v", t.DatabaseTypeName(), length, precision, scale, nullable))
		}
		for rows.Next() {
			values := make([]any, len(names))
			targets := make([]any, len(names))
			for i := range values {
				targets[i] = &values[i]
			}
			if err := rows.Scan(targets...); err != nil {
				return err
			}
			row := make([]string, len(values))
			for i, v := range values {
				row[i] = show(v)
			}
			a.Rows = append(a.Rows, row)
		}
		if !rows.NextResultSet() {
			return rows.Err()
		}
	}
}

func show(v any) string {
	switch x := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return fmt.Sprintf("%q", x)
	}
	return fmt.Sprintf("%T %v", v, v)
}

func (a *answer) warnings(conn *sql.Conn) {
	rows, err := conn.QueryContext(context.Background(), "SHOW WARNINGS")
	if err != nil {
		a.Warnings = [][]string{{"SHOW WARNINGS", err.Error()}}
		return
	}
	var w answer
	if err := w.read(rows); err == nil {
		for _, row := range w.Rows {
			a.Warnings = append(a.Warnings, row[:2])
		}
	}
}

// formCase is one statement of testdata/forms.
type formCase struct {
	section, stmt string
	args          []any
}

// parseForms reads a file of statements, one a line: `## section` starts a section, ` -- [json]` ends a statement with its
// arguments.
func parseForms(t *testing.T, text string) []formCase {
	t.Helper()
	var cases []formCase
	section := ""
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "# "):
		case strings.HasPrefix(line, "## "):
			section = line[3:]
		default:
			c := formCase{section: section, stmt: line}
			if stmt, args, ok := strings.Cut(line, " -- ["); ok {
				c.stmt = stmt
				decoder := json.NewDecoder(strings.NewReader("[" + args))
				decoder.UseNumber()
				if err := decoder.Decode(&c.args); err != nil {
					t.Fatalf("arguments of %q: %v", line, err)
				}
				for i, a := range c.args {
					if n, ok := a.(json.Number); ok {
						if whole, err := n.Int64(); err == nil {
							c.args[i] = whole
						} else {
							c.args[i], _ = n.Float64()
						}
					}
				}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// compare runs a statement on both sides in a transaction that is rolled back, and gives the outcome: "same", or the code
// of a refusal. Any other difference, and anything but cells at rest, fails the test.
func (w *twin) compare(t *testing.T, plain, sealed *sql.Conn, how way, c formCase) string {
	t.Helper()
	ctx := context.Background()
	for _, conn := range []*sql.Conn{plain, sealed} {
		if _, err := conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, conn := range []*sql.Conn{plain, sealed} {
			if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
				t.Errorf("%s: ROLLBACK: %v", c.stmt, err)
			}
		}
	}()
	got := run(sealed, how, c.stmt, c.args)
	w.onlyCells(t, c.stmt)
	if got.Code >= 9700 && got.Code < 9800 {
		return fmt.Sprint(got.Code)
	}
	want := run(plain, how, c.stmt, c.args)
	if want.Code != 0 && got.Code == want.Code {
		return "same"
	}
	if want.Code == 0 && got.Code != 0 {
		t.Errorf("%v: %s %v\ngot error %d %s\nwant an answer or a refusal of Latchkey's own", how, c.stmt, c.args, got.Code, got.Text)
		return "error"
	}
	if !strings.Contains(strings.ToUpper(c.stmt), "ORDER BY") {
		// The order is then the backend's choice, and indexes over cells are other indexes.
		for _, a := range []*answer{&got, &want} {
			slices.SortFunc(a.Rows, slices.Compare[[]string])
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s %v\ngot  %+v\nwant %+v", how, c.stmt, c.args, got, want)
		return "different"
	}
	for _, table := range []string{"entries", "users", "tags", "archive", "diary"} {
		q := "SELECT * FROM " + table + " ORDER BY id"
		g, p := run(sealed, wayText, q, nil), run(plain, wayText, q, nil)
		for i := range g.Rows {
			if table == "entries" && i < len(p.Rows) {
				// Time stamps of two statements can differ by a second; whether they were set cannot.
				g.Rows[i][6], p.Rows[i][6] = fmt.Sprint(g.Rows[i][6] == "NULL"), fmt.Sprint(p.Rows[i][6] == "NULL")
			}
		}
		if !reflect.DeepEqual(g, p) {
			t.Errorf("%v: after %s %v table %s\ngot  %+v\nwant %+v", how, c.stmt, c.args, table, g, p)
			return "different"
		}
	}
	return "same"
}

// onlyCells reads the backend's tables directly, uncommitted rows included: a protected column holds NULL, nothing or a
// cell.
func (w *twin) onlyCells(t *testing.T, after string) {
	t.Helper()
	ctx := context.Background()
	conn, err := w.server.DB().Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.protected {
		table, column, _ := strings.Cut(name, ".")
		rows, err := conn.QueryContext(ctx, "SELECT "+column+" FROM "+w.sealed+"."+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				t.Fatal(err)
			}
			if len(b) > 0 && !bytes.HasPrefix(b, []byte{0xFF, 'L', 'K'}) {
				t.Errorf("after %s: %s holds what is no cell", after, name)
			}
		}
		rows.Close()
	}
}
