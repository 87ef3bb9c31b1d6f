package proxy

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
	"latchkey/keystore/tables"
)

// testTime is a clock that tests move.
type testTime struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *testTime) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *testTime) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// testVault is a vault over a database of the shared server.
func testVault(t testing.TB, server *mariadbtest.Server, database string, c *testTime) *keystore.Vault {
	t.Helper()
	fleet, err := keystore.NewFleetSecret(strings.NewReader(strings.Repeat("f", 32)))
	if err != nil {
		t.Fatal(err)
	}
	store := tables.New(tables.Config{
		Address: server.Addr(), User: "root", Password: func() (string, error) { return "", nil },
		Database: database, Realm: testRealm, Fingerprint: fleet.Fingerprint(testRealm),
	})
	t.Cleanup(store.Close)
	v, err := keystore.NewVault(keystore.VaultConfig{
		Realm: testRealm, Fleet: fleet, Store: store, Rand: rand.Reader, Now: c.now, TokenTTL: time.Hour,
		ForgetGrace: time.Hour, CacheSize: 100, CacheTTL: time.Minute, Cost: keystore.MinPasswordCost,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// ownerTwin is a twin with a keystore, and a second proxy over the same backend.
type ownerTwin struct {
	*twin
	clock    *testTime
	second   *testProxy
	database string
}

func newOwnerTwin(t *testing.T) *ownerTwin {
	t.Helper()
	o := &ownerTwin{clock: new(testTime)}
	o.twin = newTwin(t, func(p *Protection) {
		server := mariadbtest.Shared(t)
		o.database = server.NewDatabase(t)
		p.Vault, p.KeyAccounts, p.Admins = testVault(t, server, o.database, o.clock), []string{"root"}, []string{"boss"}
	})
	p := testProtection(t, o.loader)
	p.Vault, p.KeyAccounts = testVault(t, o.server, o.database, o.clock), []string{"root"}
	o.second = startProxy(t, o.server.Addr(), func(c *Config) { c.Protection = p })
	for _, login := range []string{"boss", "plain"} {
		o.server.Exec(t, "CREATE OR REPLACE USER "+login+"@'%'; GRANT ALL ON *.* TO "+login+"@'%'")
		t.Cleanup(func() { o.server.Exec(t, "DROP USER "+login+"@'%'") })
	}
	return o
}

func (o *ownerTwin) at(t *testing.T, p *testProxy, login string) *sql.Conn {
	t.Helper()
	return o.conn(t, p.open(t, login, o.sealed, ""))
}

// fields gives the only row of an answer.
func fields(t *testing.T, c *sql.Conn, query string, args ...any) []string {
	t.Helper()
	o := run(t, c, query, args...)
	if len(o.rows) != 1 {
		t.Fatalf("%s: error %d, %d rows", strings.SplitN(query, "(", 2)[0], o.code, len(o.rows))
	}
	return strings.Split(o.rows[0], "|")
}

func TestPasswordModel(t *testing.T) {
	o := newOwnerTwin(t)
	for i, prepared := range []bool{false, true} {
		// call runs a procedure as text or as a prepared statement.
		call := func(c *sql.Conn, name string, args ...string) []string {
			t.Helper()
			if prepared {
				values := make([]any, len(args))
				for i, a := range args {
					values[i] = a
				}
				return fields(t, c, "CALL latchkey."+name+"("+strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")+")", values...)
			}
			return fields(t, c, "CALL latchkey."+name+"('"+strings.Join(args, "', '")+"')")
		}
		owner := fmt.Sprint("7", i)
		signUp := o.at(t, o.proxy, "root")
		e := call(signUp, "enroll", owner, "correct horse")
		if len(e) != 5 || e[0] != owner || !strings.HasPrefix(e[2], "LKT1-") || !strings.HasPrefix(e[4], "LKR1-") {
			t.Fatalf("enroll answered %d columns", len(e))
		}
		mustExec(t, signUp, "INSERT INTO entries (user_id, title) VALUES ("+owner+", 'secret')")
		if got := fields(t, signUp, "CALL latchkey.status()"); got[0] != "1" || got[4] != owner || got[5] != e[3] {
			t.Errorf("status: %v", got)
		}

		request := o.at(t, o.second, "root")
		mustExec(t, request, "SET @latchkey = '"+e[2]+"'")
		wantRows(t, "by token, at the other proxy", run(t, request, "SELECT title FROM entries WHERE title = 'secret' AND user_id = "+owner), "secret")

		u := call(o.at(t, o.second, "root"), "unlock", owner, "correct horse")
		if len(u) != 4 || u[1] != e[1] || u[2] == e[2] {
			t.Errorf("unlock answered %d columns or another key", len(u))
		}
		wrong := run(t, request, "CALL latchkey.unlock('"+owner+"', 'wrong')")
		unknown := run(t, request, "CALL latchkey.unlock('nobody', 'wrong')")
		if wrong.code != 9707 || unknown.code != 9707 || wrong.message != unknown.message {
			t.Errorf("wrong password: %v; unknown owner: %v", wrong.message, unknown.message)
		}
		cells := o.raw(t, "SELECT HEX(title) FROM entries WHERE user_id = "+owner)

		n := call(signUp, "change_password", owner, "correct horse", "battery")
		r := call(o.at(t, o.second, "root"), "recover", owner, e[4], "staple")
		if n[1] != e[1] || r[1] != e[1] || n[4] != "" || r[4] == e[4] || !strings.HasPrefix(r[4], "LKR1-") {
			t.Error("change_password or recover answered another key or code than they should")
		}
		if now := o.raw(t, "SELECT HEX(title) FROM entries WHERE user_id = "+owner); fmt.Sprint(now) != fmt.Sprint(cells) {
			t.Error("a change of the password rewrote cells")
		}
		o.clock.pass(2 * time.Minute)
		wantCode(t, "a token from before", run(t, o.at(t, o.proxy, "root"), "SET @latchkey = '"+n[2]+"'"), 9708)
		wantCode(t, "an open connection with a token from before", run(t, request, "SELECT title FROM entries"), 9708)

		last := o.at(t, o.proxy, "root")
		mustExec(t, last, "SET @latchkey = ?", r[2])
		rotated := call(last, "rotate", owner)
		if rotated[2] != e[1] || rotated[1] == e[1] {
			t.Error("rotate answered wrong ids")
		}
		mustExec(t, last, "INSERT INTO entries (user_id, title) VALUES ("+owner+", 'later')")
		for _, title := range []string{"secret", "later"} {
			wantRows(t, "after a rotation", run(t, last, "SELECT title FROM entries WHERE title = '"+title+"' AND user_id = "+owner), title)
		}
		mustExec(t, last, "UPDATE entries SET title = 'again' WHERE title = 'secret' AND user_id = "+owner)
		if ids := o.raw(t, "SELECT COUNT(DISTINCT SUBSTR(title, 25, 8)) FROM entries WHERE user_id = "+owner); ids[0][0] != "1" {
			t.Errorf("cells under %s keys after a rotation and an update, want 1", ids[0][0])
		}

		wantRows(t, "lock", run(t, last, "CALL latchkey.lock()"), "0")
		wantCode(t, "after lock", run(t, last, "SELECT title FROM entries"), 9701)
		wantCode(t, "the locked token", run(t, last, "SET @latchkey = '"+r[2]+"'"), 9708)
	}
}

func TestSlotProcedures(t *testing.T) {
	o := newOwnerTwin(t)
	c := o.at(t, o.proxy, "root")
	fields(t, c, "CALL latchkey.enroll(5, 'password')") // a number names an owner too
	secret := strings.Repeat("0f", 32)
	fields(t, c, "CALL latchkey.add_slot('5', 'secret', '"+secret+"')")
	fields(t, o.at(t, o.proxy, "root"), "CALL latchkey.unlock('5', x'"+secret+"', 'secret')")
	code := fields(t, c, "CALL latchkey.add_slot('5', 'recovery')")[2]
	var kinds, ids []string
	slots := run(t, c, "CALL latchkey.slots(?)", 5)
	for _, row := range slots.rows {
		f := strings.Split(row, "|")
		ids, kinds = append(ids, f[0]), append(kinds, f[1])
	}
	if got := strings.Join(kinds, " "); strings.Count(got, "token") != 2 || !strings.Contains(got, "password") || strings.Count(got, "recovery") != 1 || !strings.Contains(got, "secret") {
		t.Errorf("slots: %s", got)
	}
	for i, kind := range kinds {
		if kind == "secret" || kind == "password" {
			fields(t, c, "CALL latchkey.drop_slot('5', '"+ids[i]+"')")
		}
	}
	for i, kind := range kinds {
		if kind == "recovery" {
			wantCode(t, "drop the last slot", run(t, c, "CALL latchkey.drop_slot('5', '"+ids[i]+"')"), 9715)
		}
	}
	wantCode(t, "the dropped password", run(t, c, "CALL latchkey.unlock('5', 'password')"), 9707)
	fields(t, c, "CALL latchkey.recover('5', '"+code+"', 'new')")
}

func TestForgetProcedure(t *testing.T) {
	o := newOwnerTwin(t)
	c := o.at(t, o.proxy, "root")
	e := fields(t, c, "CALL latchkey.enroll('5', 'password')")
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (5, 'x')")
	open := o.at(t, o.second, "root")
	mustExec(t, open, "SET @latchkey = '"+e[2]+"'")

	plain := o.at(t, o.proxy, "plain")
	boss := o.at(t, o.proxy, "boss")
	for _, query := range []string{
		"CALL latchkey.forget('5')", "CALL latchkey.slots('5')", "CALL latchkey.rotate('5')", "CALL latchkey.drop_slot('5', 'x')",
		"CALL latchkey.add_slot('5', 'recovery')", "CALL latchkey.enroll('6', 'x')", "CALL latchkey.unlock('5', 'password')",
		"CALL latchkey.recover('5', 'x', 'y')", "CALL latchkey.register('5')", "CALL latchkey.change_password('5', 'x', 'y')",
		"CALL latchkey.restore('5')",
	} {
		wantCode(t, query, run(t, plain, query), 9713)
	}
	wantCode(t, "forget, of another owner", run(t, o.at(t, o.proxy, "root"), "CALL latchkey.forget('5')"), 9713)
	wantCode(t, "restore, of an owner", run(t, c, "CALL latchkey.restore('5')"), 9713)
	wantCode(t, "recover by escrow", run(t, c, "CALL latchkey.recover('5', NULL, 'x')"), 9713)

	if r := fields(t, c, "CALL latchkey.forget('5')"); r[0] != "5" || r[1] != "3" || !strings.Contains(r[3], "backups") {
		t.Errorf("receipt: %v", r)
	}
	wantCode(t, "here", run(t, c, "SELECT title FROM entries"), 9701)
	o.clock.pass(2 * time.Minute)
	wantCode(t, "at the other proxy", run(t, open, "SELECT title FROM entries"), 9708)
	wantCode(t, "unlock", run(t, c, "CALL latchkey.unlock('5', 'password')"), 9707)
	fields(t, boss, "CALL latchkey.restore('5')")
	fields(t, c, "CALL latchkey.unlock('5', 'password')")
	fields(t, boss, "CALL latchkey.forget('5')")
	wantCode(t, "forget again", run(t, boss, "CALL latchkey.forget('5')"), 9715)
	wantCode(t, "enroll again", run(t, c, "CALL latchkey.enroll('5', 'password')"), 9715)
}

func TestOwnerCallsAreChecked(t *testing.T) {
	o := newOwnerTwin(t)
	c := o.at(t, o.proxy, "root")
	for query, code := range map[string]int{
		"CALL latchkey.enroll('a')":                                      1318,
		"CALL latchkey.unlock('a', 'b', 'c', 'd')":                       1318,
		"CALL latchkey.unlock('a', 'b', 'c')":                            9706,
		"CALL latchkey.enroll('', 'b')":                                  9706,
		"CALL latchkey.enroll(NULL, 'b')":                                9706,
		"CALL latchkey.enroll('a', NULL)":                                9706,
		"CALL latchkey.enroll('a', '')":                                  9706,
		"CALL latchkey.recover('a', 'LKR1-0', 'x')":                      9706,
		"CALL latchkey.register('a')":                                    9701,
		"CALL latchkey.unlock('" + strings.Repeat("a", 256) + "', 'b')":  9706,
		"CALL latchkey.unlock('a', '" + strings.Repeat("b", 2001) + "')": 9706,
		"SET @latchkey = 'LKT1-AAAAAAAAAAAAAAAAAAAAAA'":                  9706,
		"SET @latchkey = 'LKT1-" + strings.Repeat("A", 64) + "'":         9708,
		"SELECT * FROM latchkey_keys.slots":                              9704,
	} {
		wantCode(t, query, run(t, c, query), code)
	}
	mustExec(t, c, "SET @latchkey = '"+testKey(t, 'A')+"'")
	fields(t, c, "CALL latchkey.register('a')")
	// The same password from a connection in another character set.
	fields(t, c, "CALL latchkey.enroll('b', 'pässwörd')")
	latin := o.conn(t, o.proxy.open(t, "root", o.sealed, "charset=latin1&interpolateParams=false"))
	fields(t, latin, "CALL latchkey.unlock('b', 'p\xe4ssw\xf6rd')")
	mustExec(t, c, "SET NAMES latin1")
	fields(t, c, "CALL latchkey.unlock('b', 'p\xe4ssw\xf6rd')")

	blocked := false
	for range 10 {
		blocked = blocked || run(t, c, "CALL latchkey.unlock('b', 'wrong')").code == 9709
	}
	if !blocked {
		t.Error("ten wrong passwords were tried without a delay")
	}
}
