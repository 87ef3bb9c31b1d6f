package proxy

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
	"latchkey/proxy/wire"
)

func keysOn(t *testing.T, c *sql.Conn) string {
	t.Helper()
	o := run(t, c, "CALL latchkey.status()")
	if len(o.rows) != 1 {
		t.Fatalf("status: %v", o)
	}
	n, _, _ := strings.Cut(o.rows[0], "|")
	return n
}

func TestKeyProcedures(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.session(t, 0, "")
	for _, args := range [][]any{nil, {1}} {
		where := ""
		if args != nil {
			where = " -- prepared"
		}
		o := run(t, c, "CALL latchkey.new_key()"+where)
		if len(o.rows) != 1 || !strings.HasPrefix(o.rows[0], "LK1-") || !strings.HasPrefix(o.columns[0], "account_key ") {
			t.Fatalf("new_key: %v", o)
		}
		mustExec(t, c, "SET @latchkey = '"+o.rows[0]+"'")
		if n := keysOn(t, c); n != "1" {
			t.Errorf("keys after a push: %s", n)
		}
		o = run(t, c, "CALL latchkey.add_key('"+testKey(t, 'B')+"')")
		if len(o.rows) != 1 || len(o.rows[0]) != 16 {
			t.Errorf("add_key: %v", o)
		}
		if n := keysOn(t, c); n != "2" {
			t.Errorf("keys after add_key: %s", n)
		}
		mustExec(t, c, "SET @latchkey = ?", testKey(t, 'C'))
		if n := keysOn(t, c); n != "1" {
			t.Errorf("keys after another push: %s", n)
		}
		wantRows(t, "lock", run(t, c, "CALL latchkey.lock()"), "0")
		if n := keysOn(t, c); n != "0" {
			t.Errorf("keys after lock: %s", n)
		}
	}
	for query, code := range map[string]int{
		"CALL latchkey.enroll('a', 'b')": 9704,
		"CALL latchkey.nothing()":        9704,
		"CALL latchkey.add_key()":        1318,
		"CALL latchkey.add_key(NULL)":    9706,
		"SET @latchkey = 5":              9704,
		"SET @latchkey = 'nonsense'":     9706,
		"SET @latchkey = '" + strings.Replace(testKey(t, 'A'), "LK1-", "LK1-U", 1) + "'": 9706,
		"SET @latchkey = 'LKT1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'":                        9706,
		"SELECT @latchkey":                  9704,
		"SELECT * FROM latchkey_keys.slots": 9704,
		"USE latchkey":                      9704,
		"INSERT INTO other (v) VALUES ('" + testKey(t, 'A') + "')": 9704,
		"SELECT 'LKT1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'":           9704,
	} {
		wantCode(t, query, run(t, c, query), code)
	}
	wantCode(t, "a key as parameter", run(t, c, "INSERT INTO other (v) VALUES (?)", testKey(t, 'A')), 9704)
	wantCode(t, "a malformed key as parameter", run(t, c, "SET @latchkey = ?", "nonsense"), 9706)
	wantCode(t, "a number as parameter", run(t, c, "SET @latchkey = ?", 5), 9706)
}

func TestPushAmongOtherAssignments(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.session(t, 0, "multiStatements=true")
	mustExec(t, c, "SET @a = 1, @latchkey = '"+testKey(t, 'A')+"', @b = 2")
	wantRows(t, "the others", run(t, c, "SELECT @a, @b"), "1|2")
	if n := keysOn(t, c); n != "1" {
		t.Errorf("keys: %s", n)
	}
	mustExec(t, c, "SET @latchkey = ?, @c = ?", testKey(t, 'A'), 3)
	wantRows(t, "the others, prepared", run(t, c, "SELECT @c"), "3")
	if o := run(t, c, "SET @latchkey = NULL, no_such_variable = 1"); o.code != 1193 {
		t.Errorf("failing SET: %v", o)
	}
	if n := keysOn(t, c); n != "1" {
		t.Errorf("keys after a SET that failed: %s", n)
	}
	mustExec(t, c, "SET @latchkey = '"+testKey(t, 'B')+"'; INSERT INTO entries (user_id, title) VALUES (1, 'multi'); INSERT INTO other (v) VALUES ('x')")
	wantRows(t, "the rows of a multi-statement", run(t, c, "SELECT title FROM entries"), "multi")
	wantRows(t, "the rows of a multi-statement", run(t, c, "SELECT v FROM other"), "x")
}

// TestAlternatingUsers: two users take turns on one connection, with and without a push in between.
func TestAlternatingUsers(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.session(t, 0, "interpolateParams=true")
	for i := range 20 {
		key := byte('A' + i%2)
		mustExec(t, c, "SET @latchkey = '"+testKey(t, key)+"'")
		mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (?, ?)", i%2, fmt.Sprint("title ", i))
	}
	for i := range 4 {
		mustExec(t, c, "SET @latchkey = '"+testKey(t, byte('A'+i%2))+"'")
		o := run(t, c, "SELECT title FROM entries WHERE user_id = ?", i%2)
		if o.code != 0 || len(o.rows) != 10 {
			t.Errorf("own rows: %v", o)
		}
		wantCode(t, "the other's rows", run(t, c, "SELECT title FROM entries WHERE user_id = ?", 1-i%2), 9702)
	}
}

func TestKeyringDiesWithTheLogin(t *testing.T) {
	tw := newTwin(t, nil)
	push := "SET @latchkey = '" + testKey(t, 'A') + "'"
	insert := "INSERT INTO entries (user_id, title) VALUES (1, 'x')"
	tw.server.Exec(t, "CREATE OR REPLACE USER changed@'%' IDENTIFIED BY 'pw'; GRANT ALL ON *.* TO changed@'%'")
	t.Cleanup(func() { tw.server.Exec(t, "DROP USER changed@'%'") })
	change := func(c *rawClient, password string, attributes []byte) error {
		u := wire.ChangeUser{User: []byte("changed"), Auth: []byte{}, Database: []byte(tw.sealed), Charset: []byte{45, 0},
			Plugin: []byte("mysql_native_password"), Attributes: attributes}
		if err := c.Send(u.Append(nil, c.caps)); err != nil {
			t.Fatal(err)
		}
		return c.finishAuth(password)
	}
	attribute := wire.AppendLenencString(wire.AppendLenencString(nil, "latchkey"), testKey(t, 'B'))
	for name, end := range map[string]func(c *rawClient) (keys string){
		"COM_RESET_CONNECTION": func(c *rawClient) string {
			c.ask(t, []byte{byte(wire.ComResetConnection)}, wire.ReplyStatus)
			return "0"
		},
		"COM_CHANGE_USER": func(c *rawClient) string {
			if err := change(c, "pw", []byte{}); err != nil {
				t.Fatal(err)
			}
			return "0"
		},
		"COM_CHANGE_USER with an attribute": func(c *rawClient) string {
			if err := change(c, "pw", attribute); err != nil {
				t.Fatal(err)
			}
			return "1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps|wire.CapConnectAttrs)
			c.query(t, push)
			if got := textReplies(t, c.query(t, insert), c.caps); got[0] != "OK 1" {
				t.Fatalf("insert: %v", got)
			}
			want := end(c)
			got := textReplies(t, c.query(t, "CALL latchkey.status()"), c.caps)
			if !strings.HasPrefix(got[0], "["+want+",") {
				t.Errorf("status: %v, want %s keys", got, want)
			}
		})
	}
	t.Run("failed COM_CHANGE_USER", func(t *testing.T) {
		c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps|wire.CapConnectAttrs)
		c.query(t, push)
		if err := change(c, "wrong", attribute); err == nil {
			t.Fatal("a wrong password is accepted")
		}
		if got := textReplies(t, c.query(t, "CALL latchkey.status()"), c.caps); !strings.HasPrefix(got[0], "[0,") {
			t.Errorf("status: %v, want no keys", got)
		}
	})
	t.Run("COM_CHANGE_USER with a malformed attribute", func(t *testing.T) {
		c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps|wire.CapConnectAttrs)
		err := change(c, "pw", wire.AppendLenencString(wire.AppendLenencString(nil, "latchkey"), "nonsense"))
		if err == nil || !strings.Contains(err.Error(), "9706") {
			t.Errorf("a malformed key as attribute: %v, want error 9706", err)
		}
		c.wantClosed(t)
	})
}

func TestConnectionAttribute(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.conn(t, tw.proxy.open(t, "root", tw.sealed, "connectionAttributes=latchkey:"+testKey(t, 'A')))
	if n := keysOn(t, c); n != "1" {
		t.Errorf("keys: %s, want 1", n)
	}
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')")
	pool := tw.proxy.open(t, "root", tw.sealed, "connectionAttributes=latchkey:nonsense")
	if err := pool.Ping(); mariadbtest.Code(err) != 9706 {
		t.Errorf("a malformed key as attribute: %v, want error 9706", err)
	}
	rows := tw.server.Query(t, "SELECT COUNT(*) FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'latchkey'")
	if rows[0][0] != "0" {
		t.Error("the attribute reached the backend")
	}
}

// TestInsecurePush: a client on another machine, as the PROXY header says, without TLS.
func TestInsecurePush(t *testing.T) {
	for _, allow := range []bool{false, true} {
		t.Run(fmt.Sprintf("allow_insecure_keys %v", allow), func(t *testing.T) {
			tw := newTwin(t, func(p *Protection) { p.AllowInsecureKeys = allow })
			c := dialRaw(t, startProxy(t, tw.server.Addr(), func(c *Config) {
				c.Protection = tw.proxy.config.Protection
				c.Listen.ProxyNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}).addr)
			if _, err := c.socket.Write([]byte("PROXY TCP4 192.0.2.1 127.0.0.1 1000 3306\r\n")); err != nil {
				t.Fatal(err)
			}
			if err := c.login("root", "", tw.sealed, rawCaps); err != nil {
				t.Fatal(err)
			}
			want := "error 9712"
			if allow {
				want = "OK 0"
			}
			if got := textReplies(t, c.query(t, "SET @latchkey = '"+testKey(t, 'A')+"'"), c.caps); got[0] != want {
				t.Errorf("push: %v, want %s", got, want)
			}
			if got := textReplies(t, c.query(t, "CALL latchkey.new_key()"), c.caps); (got[0] == "error 9712") == allow {
				t.Errorf("new_key: %v", got)
			}
		})
	}
}

func TestAccounts(t *testing.T) {
	var account *keystore.UserKey
	tw := newTwin(t, func(p *Protection) {
		k, err := keystore.ParseAccountKey([]byte(testKey(t, 'A')))
		if err != nil {
			t.Fatal(err)
		}
		if account, err = k.UserKey(testRealm); err != nil {
			t.Fatal(err)
		}
		p.Accounts = map[string]Account{"keyed": {Key: account}, "rawuser": {Raw: true}}
	})
	tw.server.Exec(t, "CREATE OR REPLACE USER keyed@'%'; GRANT ALL ON *.* TO keyed@'%'; CREATE OR REPLACE USER rawuser@'%'; GRANT ALL ON *.* TO rawuser@'%'")
	t.Cleanup(func() { tw.server.Exec(t, "DROP USER keyed@'%', rawuser@'%'") })
	keyed := tw.conn(t, tw.proxy.open(t, "keyed", tw.sealed, ""))
	mustExec(t, keyed, "INSERT INTO entries (user_id, title) VALUES (1, 'by file')")
	wantRows(t, "keyed", run(t, keyed, "SELECT title FROM entries"), "by file")
	rawConn := tw.conn(t, tw.proxy.open(t, "rawuser", tw.sealed, ""))
	if o := run(t, rawConn, "SELECT LEFT(title, 3) = x'FF4C4B', COLUMN_TYPE FROM entries, information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'entries' AND COLUMN_NAME = 'title'"); o.code != 0 || o.rows[0] != "1|varbinary(500)" {
		t.Errorf("raw: %v", o)
	}
	wantCode(t, "raw, keystore", run(t, rawConn, "SELECT * FROM latchkey_keys.slots"), 9704)
	if _, err := rawConn.ExecContext(context.Background(), "USE `latchkey_keys`"); err == nil {
		t.Error("a raw account entered the keystore database")
	}
	keyed.Close()
	account.Release()
}

func TestKeyringIdle(t *testing.T) {
	now := make(chan time.Time, 1)
	now <- time.Unix(1_700_000_000, 0)
	clock := func() time.Time {
		v := <-now
		now <- v
		return v
	}
	tw := newTwin(t, func(p *Protection) { p.KeyringIdle, p.Now = time.Minute, clock })
	c := tw.session(t, 'A', "")
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')")
	<-now
	now <- time.Unix(1_700_000_000, 0).Add(2 * time.Minute)
	wantCode(t, "after the time", run(t, c, "INSERT INTO entries (user_id, title) VALUES (1, 'x')"), 9701)
}
