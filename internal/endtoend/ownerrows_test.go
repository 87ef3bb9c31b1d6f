package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const letterTables = `
CREATE TABLE letters (id INT PRIMARY KEY AUTO_INCREMENT, user_id VARCHAR(40) NOT NULL, subject VARCHAR(100), body TEXT, seen INT NOT NULL DEFAULT 0,
  KEY (user_id), KEY (subject)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
`

// post is a table of letters whose rows have owners, behind a proxy, and the same in plaintext.
type post struct {
	server        *mariadbtest.Server
	proxy         *latchkeytest.Proxy
	plain, sealed string            // databases
	tokens, ids   map[string]string // by owner
}

// newPost starts a proxy and enrolls owners. backend, when not empty, is the address it uses in place of the server's.
func newPost(t *testing.T, backend, table string, owners ...string) *post {
	t.Helper()
	server := mariadbtest.Shared(t)
	p := &post{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), tokens: map[string]string{}, ids: map[string]string{}}
	for _, db := range []string{p.plain, p.sealed} {
		server.Exec(t, "USE "+db+";"+letterTables)
	}
	p.proxy = latchkeytest.Write(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"},
		Keystore: "  database: " + p.sealed + "_keys\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + p.sealed + ":\n    letters:\n      owner: user_id\n" + table +
			"      columns:\n        subject: {search: equality}\n        body: {}",
	})
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+p.sealed+"_keys") })
	p.proxy.Prepare(t)
	if backend != "" {
		text, err := os.ReadFile(p.proxy.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.proxy.Config, []byte(strings.Replace(string(text), server.Addr(), backend, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.proxy.Serve(t)
	c := p.with(t, "")
	for _, owner := range owners {
		var name, id, token, expires, code string
		if err := c.QueryRowContext(context.Background(), "CALL latchkey.enroll(?, 'a long password')", owner).Scan(&name, &id, &token, &expires, &code); err != nil {
			t.Fatal(err)
		}
		p.tokens[owner], p.ids[owner] = token, id
	}
	return p
}

// with is a connection through the proxy with the owners unlocked.
func (p *post) with(t *testing.T, params string, owners ...string) *sql.Conn {
	t.Helper()
	c := p.proxy.Conn(t, p.sealed, params, "")
	for _, owner := range owners {
		mustExec(t, c, "CALL latchkey.add_key(?)", p.tokens[owner])
	}
	return c
}

func (p *post) direct(t *testing.T, params string) *sql.Conn {
	t.Helper()
	pool, err := sql.Open("mysql", p.server.DSN(p.plain)+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	c, err := pool.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// underOwners checks that every cell is under the key of its row's owner, and gives the number of cells of kind a.
func (p *post) underOwners(t *testing.T, after string) (away int) {
	t.Helper()
	for _, column := range []string{"subject", "body"} {
		for _, row := range p.server.Query(t, "SELECT user_id, LOWER(HEX(SUBSTRING("+column+",IF(SUBSTRING("+column+",4,1)='t',25,9),8))), SUBSTRING("+column+
			",4,1), LEFT("+column+",3) = x'FF4C4B' FROM "+p.sealed+".letters WHERE LENGTH("+column+") > 0") {
			if row[1] != p.ids[row[0]] || row[3] != "1" {
				t.Errorf("after %s: a cell in a row of %s is not under that owner's key", after, row[0])
			}
			if row[2] == "a" {
				away++
			}
		}
	}
	return away
}

// TestThreeOwnersOnOneConnection: over one connection rows of three owners are written and read in all forms of statement,
// as text and prepared, and the answers are those of plaintext; every cell is under its own owner's key.
func TestThreeOwnersOnOneConnection(t *testing.T) {
	p := newPost(t, "", "", "ann", "bob", "cyd")
	for _, params := range []string{"", "?interpolateParams=true"} {
		plain, sealed := p.direct(t, params), p.with(t, params, "ann", "bob", "cyd")
		for _, s := range []struct {
			query string
			args  []any
		}{
			{"DELETE FROM letters", nil},
			{"INSERT INTO letters (id, user_id, subject, body) VALUES (1, 'ann', 'hi', 'a'), (2, 'bob', 'hi', 'b'), (3, 'cyd', 'hi', NULL), (4, 'ann', NULL, '')", nil},
			{"INSERT INTO letters (id, user_id, subject) VALUES (?, ?, ?), (?, ?, ?)", []any{5, "bob", "five", 6, "cyd", "six"}},
			{"REPLACE INTO letters (id, user_id, subject) VALUES (?, ?, ?), (6, 'cyd', 'six')", []any{5, "ann", "five"}},
			{"UPDATE letters SET subject = ?, seen = seen + 1 WHERE seen < ?", []any{"all", 5}},
			{"UPDATE letters SET body = 'text' WHERE subject = 'all' AND user_id IN ('ann', 'cyd')", nil},
			{"UPDATE letters l JOIN letters m ON m.id = l.id + 1 SET l.body = ? WHERE m.user_id = ?", []any{"joined", "cyd"}},
			{"INSERT INTO letters (id, user_id, subject) VALUES (1, 'ann', 'up'), (2, 'bob', 'up'), (9, 'cyd', 'up') ON DUPLICATE KEY UPDATE subject = VALUES(subject)", nil},
			{"INSERT INTO letters (id, user_id, subject, body) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), subject = VALUES(subject), body = VALUES(body)", []any{3, "cyd", "again", "c"}},
			{"UPDATE letters SET user_id = 'bob' WHERE user_id = 'ann'", nil},
			{"UPDATE letters SET user_id = ?, subject = ? WHERE id = ?", []any{"cyd", "moved", 2}},
			{"UPDATE letters SET subject = 'moved', user_id = 'cyd' WHERE id = 2", nil},
			{"DELETE FROM letters WHERE subject = ?", []any{"moved"}},
		} {
			for _, how := range []way{wayText, wayPrepared} {
				if how == wayText && len(s.args) > 0 && params == "" {
					continue // it is prepared by the driver
				}
				want, got := run(plain, how, s.query, s.args), run(sealed, how, s.query, s.args)
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%v: %s %v\ngot  %+v\nwant %+v", how, s.query, s.args, got, want)
				}
				const all = "SELECT id, user_id, subject, body, seen FROM letters ORDER BY id"
				want, got = run(plain, how, all, nil), run(sealed, how, all, nil)
				if !reflect.DeepEqual(got.Rows, want.Rows) {
					t.Fatalf("%v: after %s %v\ngot  %v\nwant %v", how, s.query, s.args, got.Rows, want.Rows)
				}
				p.underOwners(t, s.query)
			}
		}
	}
}

// TestPooledOwners: users take turns on one pooled connection. A request that forgot to push cannot seal its row under the
// key of the user before.
func TestPooledOwners(t *testing.T) {
	p := newPost(t, "", "", "ann", "bob")
	pool := p.proxy.Open(t, p.sealed, "")
	pool.SetMaxOpenConns(1)
	ctx := context.Background()
	request := func(push, owner, subject string) error {
		if push != "" {
			if _, err := pool.ExecContext(ctx, "SET @latchkey = ?", p.tokens[push]); err != nil {
				t.Fatal(err)
			}
		}
		_, err := pool.ExecContext(ctx, "INSERT INTO letters (user_id, subject) VALUES (?, ?)", owner, subject)
		return err
	}
	for i := range 6 {
		user, other := "ann", "bob"
		if i%2 == 1 {
			user, other = other, user
		}
		if err := request(user, user, "mine"); err != nil {
			t.Errorf("%s writes: %v", user, err)
		}
		if err := request("", other, "forgot to push"); mariadbtest.Code(err) != 9702 {
			t.Errorf("%s writes without a push: %v, want error 9702", other, err)
		}
		var n int
		if err := pool.QueryRowContext(ctx, "SELECT COUNT(*) FROM letters WHERE subject = ?", "mine").Scan(&n); err != nil || n != i/2+1 {
			t.Errorf("%s finds %d letters, %v; want %d", user, n, err, i/2+1)
		}
	}
	p.underOwners(t, "taking turns")
	if rows := p.server.Query(t, "SELECT COUNT(*) FROM "+p.sealed+".letters"); rows[0][0] != "6" {
		t.Errorf("%s letters, want 6", rows[0][0])
	}
}

// TestLettersToAbsentOwners: a letter to somebody who is not there is read by that one alone, found by a search after the
// next unlock, and leaves no plaintext in the database.
func TestLettersToAbsentOwners(t *testing.T) {
	p := newPost(t, "", "      away: accept\n", "ann", "bob")
	plain, bob := p.direct(t, ""), p.with(t, "", "bob")
	write := func(query string, args ...any) {
		t.Helper()
		mustExec(t, plain, query, args...)
		mustExec(t, bob, query, args...)
	}
	write("INSERT INTO letters (user_id, subject, body) VALUES (?, ?, ?)", "ann", "marker one", "marker body")
	write("INSERT INTO letters (user_id, subject, body) VALUES ('ann', 'marker two', 'x'), ('bob', 'marker one', 'y'), ('ann', 'marker one', NULL)")
	if n := p.underOwners(t, "writing"); n != 5 {
		t.Errorf("%d cells of kind a, want 5", n)
	}
	for _, row := range p.server.Query(t, "SELECT CONCAT_WS('', subject, body) FROM "+p.sealed+".letters") {
		if strings.Contains(row[0], "marker") {
			t.Error("plaintext in the database")
		}
	}
	if a := run(bob, wayText, "SELECT subject FROM letters WHERE user_id = 'ann'", nil); a.Code != 9702 {
		t.Errorf("bob reads ann's letters: %+v, want error 9702", a)
	}
	ann := p.with(t, "")
	mustExec(t, ann, "CALL latchkey.unlock('ann', 'a long password')")
	for i, query := range []string{
		"SELECT subject, body FROM letters WHERE user_id = 'ann' ORDER BY id",
		"SELECT id, body FROM letters WHERE user_id = 'ann' AND subject = 'marker one' ORDER BY id",
		"UPDATE letters SET seen = 1 WHERE user_id = 'ann' AND subject = 'marker two'",
		"SELECT id, seen FROM letters WHERE user_id = 'ann' AND subject IN ('marker one', 'marker two') ORDER BY id",
		"SELECT id FROM letters WHERE user_id = 'ann' AND subject = ? ORDER BY id",
	} {
		how, args := way(i%2), []any(nil)
		if strings.Contains(query, "?") {
			args = []any{"marker one"}
		}
		want, got := run(plain, how, query, args), run(ann, how, query, args)
		if !reflect.DeepEqual(got.Rows, want.Rows) || got.Affected != want.Affected || got.Code != 0 {
			t.Errorf("%s\ngot  %+v\nwant %+v", query, got, want)
		}
	}
	if n := p.underOwners(t, "a search"); n != 0 {
		t.Errorf("%d cells of kind a after a search, want 0", n)
	}
}

// TestResealingIsCut: the program is killed, or its connection to the database cut, while it seals many letters anew. Every
// letter stays readable, and the next search finds all.
func TestResealingIsCut(t *testing.T) {
	var armed atomic.Pointer[faultconn.Faults]
	relay := faultconn.NewRelay(t, mariadbtest.Shared(t).Addr(), func(int) faultconn.Faults {
		if f := armed.Swap(nil); f != nil {
			return *f
		}
		return faultconn.Faults{}
	})
	p := newPost(t, relay.Addr(), "      away: accept\n", "ann", "bob")
	const letters = 300
	values := make([]string, letters)
	for i := range values {
		values[i] = fmt.Sprintf("('ann', 'subject %d', 'body %[1]d')", i%3)
	}
	fill := func() {
		t.Helper()
		p.server.Exec(t, "TRUNCATE TABLE "+p.sealed+".letters")
		mustExec(t, p.with(t, "", "bob"), "INSERT INTO letters (user_id, subject, body) VALUES "+strings.Join(values, ","))
	}
	const search = "SELECT COUNT(*) FROM letters WHERE subject = 'subject 1'"
	readable := func(what string) {
		t.Helper()
		ann := p.with(t, "", "ann")
		for _, query := range []string{"SELECT subject, body FROM letters", search} {
			a := run(ann, wayText, query, nil)
			switch {
			case a.Code != 0:
				t.Errorf("%s: %s: %s", what, query, a.Text)
			case query == search && a.Rows[0][0] != fmt.Sprintf("int64 %d", letters/3) && a.Rows[0][0] != fmt.Sprintf("%q", fmt.Sprint(letters/3)):
				t.Errorf("%s: the search finds %v, want %d", what, a.Rows, letters/3)
			case query != search && len(a.Rows) != letters:
				t.Errorf("%s: %d letters, want %d", what, len(a.Rows), letters)
			}
		}
		if n := p.underOwners(t, what); n != 0 {
			t.Errorf("%s: %d cells of kind a after a search", what, n)
		}
	}
	partly := 0
	for at := int64(300); at < 400_000; at = at*8/5 + 7 {
		fill()
		armed.Store(&faultconn.Faults{Write: []faultconn.Fault{{Kind: faultconn.Cut, At: at}}})
		c := p.proxy.Open(t, p.sealed, "")
		c.SetMaxOpenConns(1)
		ctx := context.Background()
		if conn, err := c.Conn(ctx); err == nil {
			conn.ExecContext(ctx, "SET @latchkey = '"+p.tokens["ann"]+"'")
			var n int
			if err := conn.QueryRowContext(ctx, search).Scan(&n); err == nil && n != letters/3 {
				t.Errorf("cut at %d: the search finds %d, want %d", at, n, letters/3)
			}
			conn.Close()
		}
		armed.Store(nil)
		if n := p.server.Query(t, "SELECT COUNT(*) FROM "+p.sealed+".letters WHERE SUBSTRING(subject,4,1) = 'a'")[0][0]; n != "0" && n != fmt.Sprint(letters) {
			partly++
		}
		readable(fmt.Sprintf("cut at %d", at))
	}
	if partly == 0 {
		t.Error("no cut was in the middle of the work")
	}
	for i := range 3 {
		fill()
		done := make(chan struct{})
		go func() {
			defer close(done)
			ctx := context.Background()
			pool, err := sql.Open("mysql", p.proxy.DSN(p.sealed))
			if err != nil {
				return
			}
			defer pool.Close()
			if conn, err := pool.Conn(ctx); err == nil {
				defer conn.Close()
				conn.ExecContext(ctx, "SET @latchkey = '"+p.tokens["ann"]+"'")
				conn.ExecContext(ctx, search)
			}
		}()
		time.Sleep(time.Duration(5+10*i) * time.Millisecond)
		if err := p.proxy.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-done
		p.proxy.Stop(t)
		p.proxy.Serve(t)
		readable("killed")
	}
}
