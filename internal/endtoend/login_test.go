package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// logins is a ledger whose proxy knows two special logins and believes the PROXY protocol from loopback.
func newLogins(t *testing.T, extra string) (l *ledger, keyed, raw string) {
	t.Helper()
	server := mariadbtest.Shared(t)
	l = &ledger{server: server, db: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	keyed, raw = l.db+"_keyed", l.db+"_raw"
	for _, user := range []string{keyed, raw} {
		server.Exec(t, "CREATE USER "+user+"@'127.0.0.1'", "GRANT ALL ON *.* TO "+user+"@'127.0.0.1'")
		t.Cleanup(func() { server.Exec(t, "DROP USER "+user+"@'127.0.0.1'") })
	}
	server.Exec(t, "USE "+l.db+";"+ledgerTables)
	keyFile := filepath.Join(t.TempDir(), "account.key")
	if err := os.WriteFile(keyFile, []byte(l.key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.proxy = latchkeytest.Write(t, latchkeytest.Config{Server: server, Databases: "  " + l.db + ":\n" + ledgerPolicy,
		Extra: fmt.Sprintf("accounts:\n  %s: {key_file: %s}\n  %s: {raw: true}\n%s", keyed, keyFile, raw, extra)})
	l.proxy.Prepare(t)
	l.edit(t, "  address: "+l.proxy.Address+"\n", "  address: "+l.proxy.Address+"\n  proxy_protocol: [127.0.0.0/8]\n")
	l.proxy.Serve(t)
	return l, keyed, raw
}

// login opens one connection as a user, with connection attributes in the driver's notation.
func (l *ledger) login(t *testing.T, user, attributes string) (*sql.Conn, error) {
	t.Helper()
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName, c.ConnectionAttributes = user, "tcp", l.proxy.Address, l.db, attributes
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	conn, err := pool.Conn(context.Background())
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func (l *ledger) mustLogin(t *testing.T, user, attributes string) *sql.Conn {
	t.Helper()
	conn, err := l.login(t, user, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// title reads the title of row 1 as text and prepared.
func (l *ledger) title(t *testing.T, conn *sql.Conn) answer {
	t.Helper()
	text, prepared := run(conn, wayText, "SELECT title FROM ledger WHERE id = 1", nil), run(conn, wayPrepared, "SELECT title FROM ledger WHERE id = ?", []any{1})
	if text.Code != prepared.Code || fmt.Sprint(text.Rows) != fmt.Sprint(prepared.Rows) {
		t.Errorf("text gives %d %v, prepared %d %v", text.Code, text.Rows, prepared.Code, prepared.Rows)
	}
	return text
}

func wantTitle(t *testing.T, what string, got answer, code int, title string) {
	t.Helper()
	if got.Code != code || code == 0 && fmt.Sprint(got.Rows) != "[["+title+"]]" {
		t.Errorf("%s: got %d %s %q, want %d %s", what, got.Code, got.Text, got.Rows, code, title)
	}
}

// TestLoginWithKeyFile uses an account that pushes nothing.
func TestLoginWithKeyFile(t *testing.T) {
	l, keyed, _ := newLogins(t, "")
	conn := l.mustLogin(t, keyed, "")
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'mine', 'body')")
	l.onlyCells(t, "ledger")
	wantTitle(t, "the login", l.title(t, conn), 0, `"mine"`)
	wantTitle(t, "a login without a key", l.title(t, l.mustLogin(t, "root", "")), 9701, "")
	wantTitle(t, "a login that pushes the same key", l.title(t, l.proxy.Conn(t, l.db, "", l.key)), 0, `"mine"`)
	mustExec(t, conn, "SET @latchkey = NULL")
	wantTitle(t, "after a push of NULL", l.title(t, conn), 9701, "")
	// The name in another letter case is another login.
	if other, err := l.login(t, strings.ToUpper(keyed), ""); err == nil {
		wantTitle(t, "another login", l.title(t, other), 9701, "")
	}
}

// TestRawLogin dumps cells and restores them, and still reaches nothing of Latchkey's own.
func TestRawLogin(t *testing.T) {
	l, _, raw := newLogins(t, "")
	owner := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, owner, "INSERT INTO ledger VALUES (1, 1, 'mine', 'body')")
	conn := l.mustLogin(t, raw, "")
	ctx := context.Background()
	var title, body []byte
	for _, args := range [][]any{nil, {1}} {
		stmt := "SELECT title, body FROM ledger WHERE id = 1"
		if args != nil {
			stmt = "SELECT title, body FROM ledger WHERE id = ?"
		}
		if err := conn.QueryRowContext(ctx, stmt, args...).Scan(&title, &body); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(title, []byte("\xffLK")) || !bytes.HasPrefix(body, []byte("\xffLK")) {
			t.Error("a raw login does not see cells")
		}
	}
	var name, definition string
	if err := conn.QueryRowContext(ctx, "SHOW CREATE TABLE ledger").Scan(&name, &definition); err != nil || !strings.Contains(definition, "latchkey:v1") {
		t.Errorf("a raw login does not see the physical schema: %v", err)
	}
	mustExec(t, owner, "DELETE FROM ledger")
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, ?, ?)", title, body)
	wantTitle(t, "after the restore", l.title(t, owner), 0, `"mine"`)
	if got := run(conn, wayText, "INSERT INTO ledger VALUES (2, 1, 'open', 'open')", nil); got.Code != 4025 {
		t.Errorf("plaintext from a raw login: got %d %s, want 4025", got.Code, got.Text)
	}
	for _, stmt := range []string{
		"SET @latchkey = '" + l.key + "'", "SELECT @latchkey", "CALL latchkey.status()", "CALL latchkey.new_key()", "SELECT * FROM latchkey_keys.slots",
		"CREATE DATABASE latchkey", "CALL latchkey /* */ .status()", "USE latchkey_keys", "SELECT '" + l.key + "'", "DO 1; SET @latchkey = '" + l.key + "'",
	} {
		if got := run(conn, wayText, stmt, nil); got.Code < 9700 || got.Code > 9799 {
			t.Errorf("%.40s: got %d %s, want a refusal", stmt, got.Code, got.Text)
		}
	}
	mustExec(t, conn, "INSERT INTO open (id, title) VALUES (8, 'the latchkey of LK1-')")
	for _, stmt := range []string{"SELECT ?", "INSERT INTO open (id, title) VALUES (9, ?)"} {
		if got := run(conn, wayPrepared, stmt, []any{l.key}); got.Code < 9700 || got.Code > 9799 {
			t.Errorf("%s with a key: got %d %s, want a refusal", stmt, got.Code, got.Text)
		}
	}
}

// TestKeyInAttribute pushes the key in the connection attribute, which the backend does not see.
func TestKeyInAttribute(t *testing.T) {
	l, _, _ := newLogins(t, "")
	mustExec(t, l.proxy.Conn(t, l.db, "", l.key), "INSERT INTO ledger VALUES (1, 1, 'mine', 'body')")
	conn := l.mustLogin(t, "root", "latchkey:"+l.key+",program:ledger")
	wantTitle(t, "with the attribute", l.title(t, conn), 0, `"mine"`)
	wantTitle(t, "with another key", l.title(t, l.mustLogin(t, "root", "latchkey:"+latchkeytest.NewAccountKey(t))), 9702, "")
	for what, value := range map[string]string{"a cut key": l.key[:30], "a token": "LKT1-abcdefgh", "something else": "nonsense"} {
		_, err := l.login(t, "root", "latchkey:"+value)
		if code := mariadbtest.Code(err); code != 9706 {
			t.Errorf("%s: got %v, want error 9706", what, err)
		} else if strings.Contains(err.Error(), value) {
			t.Errorf("%s: the error echoes it", what)
		}
	}
	// A reset drops the key.
	if err := conn.Raw(func(c any) error {
		return c.(interface{ ResetSession(context.Context) error }).ResetSession(context.Background())
	}); err != nil {
		t.Fatal(err)
	}
}

// TestInsecurePush pushes keys from a client that is not on this machine and has no TLS.
func TestInsecurePush(t *testing.T) {
	const far, near = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 3306\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 4711 3306\r\n"
	for _, allowed := range []bool{false, true} {
		l, _, _ := newLogins(t, fmt.Sprintf("allow_insecure_keys: %v\n", allowed))
		for _, hello := range []string{far, near, ""} {
			want := uint16(0)
			if hello == far && !allowed {
				want = 9712
			}
			c, err := dialWire(l.proxy.Address, l.db, wireCaps, hello)
			if err != nil {
				t.Fatal(err)
			}
			defer c.socket.Close()
			for _, stmt := range []string{"SET @latchkey = '" + l.key + "'", "SET @a = 1, @latchkey = '" + l.key + "'", "CALL latchkey.add_key('" + l.key + "')"} {
				if r := c.query(t, stmt); r.err.Code != want {
					t.Errorf("allowed %v, %q: %.24s: got error %d %s, want %d", allowed, hello, stmt, r.err.Code, r.err.Message, want)
				}
			}
			if p := c.prepare(t, "SET @latchkey = ?"); p.err.Code == 0 {
				if r := c.execute(t, p.prepared.Statement, textParam(l.key)); r.err.Code != want {
					t.Errorf("allowed %v, %q: prepared: got error %d, want %d", allowed, hello, r.err.Code, want)
				}
			} else if p.err.Code != want {
				t.Errorf("allowed %v, %q: prepare: got error %d, want %d", allowed, hello, p.err.Code, want)
			}
			if r := c.query(t, "SELECT title FROM ledger WHERE id = 0"); r.err.Code != 0 {
				t.Errorf("after it: error %d %s", r.err.Code, r.err.Message)
			}
			insert := c.query(t, fmt.Sprintf("REPLACE INTO ledger (id, title) VALUES (%d, 'x')", len(hello)))
			if sealed := insert.err.Code == 0; sealed != (want == 0) {
				t.Errorf("allowed %v, %q: INSERT: error %d", allowed, hello, insert.err.Code)
			}
		}
	}
}
