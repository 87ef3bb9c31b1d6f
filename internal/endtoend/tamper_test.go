package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const vaultTables = `
CREATE TABLE vault (id INT PRIMARY KEY, user_id INT, title VARCHAR(100), twin VARCHAR(100), body TEXT, other TEXT, hidden TEXT, masked VARCHAR(50));
CREATE TABLE shed (id INT PRIMARY KEY, body TEXT, masked VARCHAR(50));
`

const vaultPolicy = `    vault:
      columns:
        title: {search: equality}
        twin: {search: equality}
        body: {}
        other: {}
        hidden: {locked: "null"}
        masked: {locked: "***"}
    shed:
      columns:
        body: {}
        masked: {}
`

// vault is a table of cells of two users behind a proxy; its connections fail the test when they receive a cell.
type vault struct {
	server     *mariadbtest.Server
	proxy      *latchkeytest.Proxy
	db         string
	alice, bob string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{server: mariadbtest.Shared(t), alice: latchkeytest.NewAccountKey(t), bob: latchkeytest.NewAccountKey(t)}
	v.db = v.server.NewDatabase(t)
	v.server.Exec(t, "USE "+v.db+";"+vaultTables)
	v.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: v.server, Databases: "  " + v.db + ":\n" + vaultPolicy})
	return v
}

// conn is a connection with a key, or without one when key is empty. What it receives is searched for cells.
func (v *vault) conn(t *testing.T, key string) *sql.Conn {
	t.Helper()
	c, err := mysql.ParseDSN(v.proxy.DSN(v.db) + "?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Bool
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cellFinder{Conn: conn, seen: &seen}, nil
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		pool.Close()
		if seen.Load() {
			t.Error("the client received the beginning of a cell")
		}
	})
	if key != "" {
		mustExec(t, conn, "SET @latchkey = '"+key+"'")
	}
	return conn
}

func mustExec(t *testing.T, conn *sql.Conn, stmt string, args ...any) {
	t.Helper()
	if _, err := conn.ExecContext(context.Background(), stmt, args...); err != nil {
		t.Fatalf("%.100s: %v", stmt, err)
	}
}

// cellFinder notes when what is read holds the magic of a cell, raw, in hexadecimal or as an error message would escape it.
type cellFinder struct {
	net.Conn
	tail []byte
	seen *atomic.Bool
}

var cellMagics = [][]byte{{0xFF, 'L', 'K'}, []byte("FF4C4B"), []byte("ff4c4b"), []byte(`\xFFLK`), []byte(`\xffLK`)}

func (f *cellFinder) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	all := append(f.tail, b[:n]...)
	for _, magic := range cellMagics {
		if bytes.Contains(all, magic) {
			f.seen.Store(true)
		}
	}
	f.tail = slices.Clone(all[max(0, len(all)-8):])
	return n, err
}

// cell reads a cell past the proxy.
func (v *vault) cell(t *testing.T, table, column string, id int) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.server.Query(t, fmt.Sprintf("SELECT HEX(%s) FROM %s.%s WHERE id = %d", column, v.db, table, id))[0][0])
	if err != nil || len(b) == 0 {
		t.Fatalf("no cell in %s.%s of row %d", table, column, id)
	}
	return b
}

// plant writes bytes past the proxy and past the CHECK.
func (v *vault) plant(t *testing.T, table, column string, id int, value []byte) {
	t.Helper()
	v.server.Exec(t, fmt.Sprintf("SET check_constraint_checks = 0; INSERT INTO %s.%s (id, %s) VALUES (%d, x'%x') ON DUPLICATE KEY UPDATE %[3]s = VALUES(%[3]s)",
		v.db, table, column, id, value))
}

// read gives one value as text and prepared; both must agree.
func (v *vault) read(t *testing.T, conn *sql.Conn, table, column string, id int) answer {
	t.Helper()
	text := run(conn, wayText, fmt.Sprintf("SELECT %s FROM %s WHERE id = %d", column, table, id), nil)
	prepared := run(conn, wayPrepared, fmt.Sprintf("SELECT %s FROM %s WHERE id = ?", column, table), []any{id})
	if text.Code != prepared.Code || fmt.Sprint(text.Rows) != fmt.Sprint(prepared.Rows) {
		t.Errorf("%s.%s of row %d: text gives %d %v, prepared %d %v", table, column, id, text.Code, text.Rows, prepared.Code, prepared.Rows)
	}
	return text
}

func (v *vault) want(t *testing.T, what string, got answer, codes ...int) {
	t.Helper()
	if !slices.Contains(codes, got.Code) {
		t.Errorf("%s: got %d %s %v, want one of the errors %v", what, got.Code, got.Text, got.Rows, codes)
	}
}

func (v *vault) wantValue(t *testing.T, what string, got answer, value string) {
	t.Helper()
	if got.Code != 0 || fmt.Sprint(got.Rows) != "[["+value+"]]" {
		t.Errorf("%s: got %d %s %v, want %s", what, got.Code, got.Text, got.Rows, value)
	}
}

// TestWithoutTheKey reads and writes another user's row, with the wrong key and with none.
func TestWithoutTheKey(t *testing.T) {
	v := newVault(t)
	alice, bob, nobody := v.conn(t, v.alice), v.conn(t, v.bob), v.conn(t, "")
	mustExec(t, alice, "INSERT INTO vault VALUES (1, 1, 'title', 'title', 'body', 'other', 'hidden', 'masked')")
	mustExec(t, bob, "INSERT INTO vault VALUES (2, 2, 'title', 'title', 'body', 'other', 'hidden', 'masked')")
	values := map[string]string{"title": "title", "twin": "title", "body": "body", "other": "other"}
	for column := range values {
		v.wantValue(t, "alice: "+column, v.read(t, alice, "vault", column, 1), `"`+values[column]+`"`)
		v.want(t, "bob: "+column, v.read(t, bob, "vault", column, 1), 9702)
		v.want(t, "nobody: "+column, v.read(t, nobody, "vault", column, 1), 9701)
	}
	for name, conn := range map[string]*sql.Conn{"bob": bob, "nobody": nobody} {
		v.wantValue(t, name+": hidden", v.read(t, conn, "vault", "hidden", 1), "NULL")
		v.wantValue(t, name+": masked", v.read(t, conn, "vault", "masked", 1), `"***"`)
	}
	for _, stmt := range []string{
		"SELECT * FROM vault", "SELECT title FROM vault UNION ALL SELECT title FROM vault", "SELECT d.body FROM (SELECT body FROM vault) d",
		"SELECT (SELECT body FROM vault WHERE id = 1)", "WITH c AS (SELECT other FROM vault) SELECT * FROM c",
		"SELECT a.body FROM vault a JOIN vault b ON a.id = b.id",
	} {
		for _, how := range []way{wayText, wayPrepared} {
			v.want(t, "bob: "+stmt, run(bob, how, stmt, nil), 9702)
			v.want(t, "nobody: "+stmt, run(nobody, how, stmt, nil), 9701, 9702)
		}
	}
	for _, stmt := range []string{
		"UPDATE vault SET body = 'x' WHERE id = 1", "UPDATE vault SET masked = '***', hidden = NULL WHERE id = 1",
		"REPLACE INTO vault (id, body) VALUES (1, 'x')", "INSERT INTO vault (id, body) VALUES (1, 'x') ON DUPLICATE KEY UPDATE body = 'x'",
	} {
		v.want(t, "bob: "+stmt, run(bob, wayText, stmt, nil), 9702)
		v.want(t, "nobody: "+stmt, run(nobody, wayText, stmt, nil), 9701, 9702)
	}
	// The keyring dies with a reset, a change of user and a push of NULL.
	forget := v.conn(t, v.alice)
	mustExec(t, forget, "SET @latchkey = NULL")
	v.want(t, "after NULL", v.read(t, forget, "vault", "body", 1), 9701)
	mustExec(t, forget, "SET @latchkey = '"+v.bob+"'")
	v.want(t, "after a replacing push", v.read(t, forget, "vault", "body", 1), 9702)
	mustExec(t, forget, "CALL latchkey.add_key('"+v.alice+"')")
	v.wantValue(t, "after an added key", v.read(t, forget, "vault", "body", 1), `"body"`)
	v.wantValue(t, "alice, at the end", v.read(t, alice, "vault", "body", 1), `"body"`)
}

// TestEveryByteOfACell flips a bit of every byte and cuts at every length, for each kind of column.
func TestEveryByteOfACell(t *testing.T) {
	v := newVault(t)
	alice := v.conn(t, v.alice)
	mustExec(t, alice, "INSERT INTO vault VALUES (1, 1, 'title', 'twin', 'body', 'other', 'hidden', 'masked')")
	// Where the key id stands: it is not secret and says which key is missing.
	keyID := map[string]int{"title": 24, "body": 8, "hidden": 8, "masked": 8}
	for _, column := range []string{"title", "body", "hidden", "masked"} {
		good := v.cell(t, "vault", column, 1)
		damaged := make(map[int][]byte)
		for i := range good {
			b := bytes.Clone(good)
			b[i] ^= 1 << (i % 8)
			damaged[1000+i] = b
			damaged[2000+i] = good[:i]
		}
		damaged[3000] = append(bytes.Clone(good), 0)
		damaged[3001] = append(bytes.Clone(good), good...)
		damaged[3002] = []byte("plaintext")
		damaged[3003] = []byte{0xFF, 'L', 'K'}
		var values []string
		for id, b := range damaged {
			values = append(values, fmt.Sprintf("(%d, x'%x')", id, b))
		}
		v.server.Exec(t, "SET check_constraint_checks = 0; INSERT INTO "+v.db+".vault (id, "+column+") VALUES "+strings.Join(values, ", "))
		for id := range damaged {
			got := v.read(t, alice, "vault", column, id)
			what := fmt.Sprintf("%s: damage %d", column, id)
			if at := id - 1000; at >= keyID[column] && at < keyID[column]+8 {
				switch column {
				case "hidden":
					v.wantValue(t, what, got, "NULL")
				case "masked":
					v.wantValue(t, what, got, `"***"`)
				default:
					v.want(t, what, got, 9702)
				}
				continue
			}
			v.want(t, what, got, 9703)
		}
		v.server.Exec(t, "DELETE FROM "+v.db+".vault WHERE id >= 1000")
		v.wantValue(t, "the cell itself", v.read(t, alice, "vault", column, 1), `"`+column+`"`)
	}
}

// TestMovedCells moves cells to other rows, columns, tables and users.
func TestMovedCells(t *testing.T) {
	v := newVault(t)
	alice, bob := v.conn(t, v.alice), v.conn(t, v.bob)
	mustExec(t, alice, "INSERT INTO vault VALUES (1, 1, 'title', 'twin', 'body', 'other', 'hidden', 'masked'), (2, 1, 'second', 's', 's', 's', 's', 's')")
	mustExec(t, bob, "INSERT INTO vault VALUES (3, 2, 'title', 'twin', 'bobs', 'other', 'hidden', 'masked')")
	mustExec(t, alice, "INSERT INTO shed VALUES (1, 'body', 'masked')")
	move := func(fromTable, fromColumn string, from int, table, column string) {
		v.plant(t, table, column, 50, v.cell(t, fromTable, fromColumn, from))
	}
	move("vault", "body", 1, "vault", "body")
	v.wantValue(t, "between rows of one user and column", v.read(t, alice, "vault", "body", 50), `"body"`)
	for _, c := range [][2]string{{"title", "twin"}, {"twin", "title"}, {"title", "body"}, {"body", "title"}, {"body", "other"}, {"masked", "hidden"}, {"body", "masked"}} {
		move("vault", c[0], 1, "vault", c[1])
		v.want(t, "from "+c[0]+" to "+c[1], v.read(t, alice, "vault", c[1], 50), 9703)
	}
	for _, column := range []string{"body", "masked"} {
		move("shed", column, 1, "vault", column)
		v.want(t, "from another table's "+column, v.read(t, alice, "vault", column, 50), 9703)
		move("vault", column, 1, "shed", column)
		v.want(t, "to another table's "+column, v.read(t, alice, "shed", column, 50), 9703)
	}
	move("vault", "body", 3, "vault", "body")
	v.want(t, "from another user", v.read(t, alice, "vault", "body", 50), 9702)
	v.wantValue(t, "back to its user", v.read(t, bob, "vault", "body", 50), `"bobs"`)
	forged := v.cell(t, "vault", "body", 3)
	copy(forged[8:16], v.cell(t, "vault", "body", 1)[8:16])
	v.plant(t, "vault", "body", 51, forged)
	v.want(t, "from another user, with the key id of this one", v.read(t, alice, "vault", "body", 51), 9703)
	v.want(t, "the same, read by its first user", v.read(t, bob, "vault", "body", 51), 9702)
	// A tag finds the row; the cell behind it must still open.
	tagged := v.cell(t, "vault", "title", 2)
	copy(tagged[4:20], v.cell(t, "vault", "title", 1)[4:20])
	v.plant(t, "vault", "title", 52, tagged)
	for _, how := range []way{wayText, wayPrepared} {
		v.want(t, "a cell under another value's tag", run(alice, how, "SELECT title FROM vault WHERE title = 'title' AND id = 52", nil), 9703)
	}
}

// TestDamageInsideAResult has rows before and behind a damaged one. The error ends the result, and the connection goes on.
func TestDamageInsideAResult(t *testing.T) {
	v := newVault(t)
	alice := v.conn(t, v.alice)
	var values []string
	for i := range 300 {
		values = append(values, fmt.Sprintf("(%d, 'title %d', '%s')", i, i, strings.Repeat("b", 500)))
	}
	mustExec(t, alice, "INSERT INTO vault (id, title, body) VALUES "+strings.Join(values, ", "))
	damaged := v.cell(t, "vault", "body", 200)
	damaged[len(damaged)-1] ^= 1
	v.plant(t, "vault", "body", 200, damaged)
	for _, how := range []way{wayText, wayPrepared} {
		for _, stmt := range []string{
			"SELECT id, title, body FROM vault ORDER BY id", "SELECT body FROM vault UNION ALL SELECT NULL",
			"SELECT * FROM vault WHERE id >= 150 ORDER BY id DESC", "SELECT d.* FROM (SELECT id, body FROM vault) d",
		} {
			for range 3 {
				v.want(t, how.String()+": "+stmt, run(alice, how, stmt, nil), 9703)
				v.wantValue(t, "after it", run(alice, how, "SELECT title FROM vault WHERE id = 201", nil), `"title 201"`)
			}
		}
	}
	v.want(t, "several statements", run(alice, wayText, "SELECT id FROM vault WHERE id = 1; SELECT body FROM vault ORDER BY id; SELECT 1", nil), 9703)
	v.wantValue(t, "after it", run(alice, wayText, "SELECT title FROM vault WHERE id = 201", nil), `"title 201"`)
	// The row count of what came before the error is right, and nothing behind it comes.
	rows, err := alice.QueryContext(context.Background(), "SELECT id, body FROM vault ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if n > 200 || mariadbtest.Code(rows.Err()) != 9703 {
		t.Errorf("got %d rows and %v, want at most 200 and error 9703", n, rows.Err())
	}
}
