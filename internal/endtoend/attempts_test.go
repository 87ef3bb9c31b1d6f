package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// guessed is two proxies over one keystore behind a load balancer that says who the client is.
type guessed struct {
	server  *mariadbtest.Server
	proxies [2]*latchkeytest.Proxy
	keys    string
}

func newGuessed(t *testing.T) *guessed {
	t.Helper()
	g := &guessed{server: mariadbtest.Shared(t)}
	g.keys = g.server.NewDatabase(t) + "_keys"
	t.Cleanup(func() { g.server.Exec(t, "DROP DATABASE IF EXISTS "+g.keys) })
	for i := range g.proxies {
		p := latchkeytest.Write(t, latchkeytest.Config{
			Server: g.server, Accounts: []string{"root"}, Extra: "allow_insecure_keys: true",
			Keystore: "  database: " + g.keys + "\n  password: {memory: 8MiB, time: 1, threads: 1}",
		})
		text, err := os.ReadFile(p.Config)
		if err == nil {
			err = os.WriteFile(p.Config, bytes.Replace(text, []byte("listen:\n"), []byte("listen:\n  proxy_protocol: [127.0.0.1]\n"), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			shareFleet(t, g.proxies[0], p)
		}
		p.Serve(t)
		g.proxies[i] = p
	}
	return g
}

// from is a connection to a proxy from a client address.
func (g *guessed) from(t *testing.T, proxy int, address string) *sql.Conn {
	t.Helper()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "tcp", g.proxies[proxy].Address
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_, err = fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 40000 3307\r\n", address)
		}
		return conn, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	conn, err := pool.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// guess tries a password and tells whether it was tried at all; it is wrong.
func guess(t *testing.T, c *sql.Conn, owner string) bool {
	t.Helper()
	_, err := keyCall(c, "CALL latchkey.unlock('"+owner+"', 'wrong')")
	switch code := mariadbtest.Code(err); code {
	case 9707:
		return true
	case 9709:
	default:
		t.Fatalf("a wrong password: %v", err)
	}
	return false
}

// waited is how many more attempts the delays let through since start: the first takes a second, each further one twice as long.
func waited(start time.Time) int { return int(math.Log2(time.Since(start).Seconds() + 1)) }

// TestGuessingAnOwner: two proxies and any number of client addresses give no more attempts at one owner than one proxy.
func TestGuessingAnOwner(t *testing.T) {
	g := newGuessed(t)
	if _, err := keyCall(g.from(t, 0, "192.0.2.1"), "CALL latchkey.enroll('known', 'right')"); err != nil {
		t.Fatal(err)
	}
	for i, owner := range []string{"known", "unknown"} {
		tries, start := 0, time.Now()
		for n := range 14 {
			if guess(t, g.from(t, n%2, fmt.Sprintf("192.0.2.%d", 100*i+n+1)), owner) {
				tries++
			}
		}
		if tries < 6 || tries > 6+waited(start) {
			t.Errorf("%s owner: %d of 14 attempts over two proxies, want 6", owner, tries)
		}
		// Somebody who can write the tables deletes the counters: each proxy has its own.
		g.server.Exec(t, "DELETE FROM "+g.keys+".attempts")
		before := tries
		for n := range 14 {
			if guess(t, g.from(t, n%2, fmt.Sprintf("198.51.100.%d", 100*i+n+1)), owner) {
				tries++
			}
		}
		// The proxy that counted less lately lets one through that the other one would not.
		if tries > 6+1+waited(start) {
			t.Errorf("%s owner: %d attempts after the counters were deleted, want none before the delay is over", owner, tries-before)
		}
	}
	// Raised by somebody: an owner who did nothing waits for a quarter of an hour at most.
	if !guess(t, g.from(t, 0, "203.0.113.1"), "other") {
		t.Fatal("the first attempt at another owner was refused")
	}
	g.server.Exec(t, "UPDATE "+g.keys+".attempts SET failures = 4294967295, changed = 9223372036854775807, until = 9223372036854775807")
	_, err := keyCall(g.from(t, 1, "203.0.113.2"), "CALL latchkey.unlock('other', 'wrong')")
	wait := regexp.MustCompile(`in (\d+) seconds`).FindStringSubmatch(fmt.Sprint(err))
	if mariadbtest.Code(err) != 9709 || wait == nil {
		t.Fatalf("counters raised by somebody: %v", err)
	}
	if n, err := strconv.Atoi(wait[1]); err != nil || n > 901 {
		t.Errorf("an owner has to wait for %d seconds, want 15 minutes at most", n)
	}
}

// TestGuessingManyOwners: one client address has one budget over all owners and both proxies, and others have their own.
func TestGuessingManyOwners(t *testing.T) {
	g := newGuessed(t)
	conns := []*sql.Conn{g.from(t, 0, "192.0.2.1"), g.from(t, 1, "192.0.2.1")}
	tries, start := 0, time.Now()
	for n := range 160 {
		if guess(t, conns[n%2], fmt.Sprint("owner", n)) {
			tries++
		}
	}
	if tries < 101 || tries > 101+waited(start)+int(time.Since(start)/(10*time.Second)) {
		t.Errorf("%d of 160 attempts from one address over two proxies, want 101", tries)
	}
	for i := range g.proxies {
		if !guess(t, g.from(t, i, "192.0.2.2"), fmt.Sprint("owner", 1000+i)) {
			t.Error("another address has to wait too")
		}
	}
}

// TestLoginStorm: while passwords wait to be hashed, and more come than may wait, statements go on.
func TestLoginStorm(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(100))")
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+db+"_keys") })
	p := latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"},
		Keystore:  "  database: " + db + "_keys\n  password: {memory: 32MiB, time: 1, threads: 1}",
		Databases: "  " + db + ":\n    entries:\n      columns:\n        title: {search: equality}",
	})
	c := p.Conn(t, db, "", latchkeytest.NewAccountKey(t))
	mustExec(t, c, "INSERT INTO entries (title) VALUES ('x')")
	const logins = 90
	var busy, done atomic.Int32
	results := make(chan error, logins)
	for i := range logins {
		login := p.Conn(t, db, "", "")
		go func() {
			_, err := keyCall(login, fmt.Sprintf("CALL latchkey.unlock('nobody%d', 'password')", i))
			if mariadbtest.Code(err) == 9709 {
				busy.Add(1)
			}
			done.Add(1)
			results <- err
		}()
	}
	waitFor(t, "the queue of passwords to be full", func() bool { return busy.Load() > 0 })
	for range 20 {
		var title string
		if err := c.QueryRowContext(context.Background(), "SELECT title FROM entries WHERE title = 'x'").Scan(&title); err != nil || title != "x" {
			t.Fatalf("a statement during the storm: %q, %v", title, err)
		}
	}
	if n := done.Load(); n == logins {
		t.Error("the statements were done behind all logins")
	}
	hashed := 0
	for range logins {
		switch err := <-results; mariadbtest.Code(err) {
		case 9707:
			hashed++
		case 9709:
			if !strings.Contains(err.Error(), "too many passwords") {
				t.Errorf("a login that had to wait: %v", err)
			}
		default:
			t.Errorf("a login: %v", err)
		}
	}
	if hashed < 65 || hashed == logins {
		t.Errorf("%d of %d passwords were checked, want those that fit in the queue", hashed, logins)
	}
}

// TestTokenReadsOnce: a session is opened by a token with one read of the keystore by its primary keys, and with none when the
// token was used lately; nothing is sent over the session's own connection.
func TestTokenReadsOnce(t *testing.T) {
	k := newKilled(t, "168h")
	k.serve(t)
	o := k.newOwner(t, true) // through the other proxy: this one does not know the token
	for i, want := range []int{1, 0, 0} {
		c := k.conn(t, k.proxy)
		before := questions(t, c)
		k.gate.arm(-1)
		mustExec(t, c, "SET @latchkey = '"+o.token+"'")
		seen := k.gate.seen()
		if len(seen) != want {
			t.Errorf("open %d: %d statements to the keystore, want %d: %q", i, len(seen), want, seen)
		}
		if sent := questions(t, c) - before - 1; sent != 0 {
			t.Errorf("open %d: %d statements on the session's connection", i, sent)
		}
		if i > 0 || len(seen) == 0 {
			continue
		}
		for _, row := range k.server.Query(t, "EXPLAIN "+seen[0]) {
			if kind, key := row[3], row[5]; kind != "const" || key != "PRIMARY" {
				t.Errorf("the read uses key %s by %s, want the primary key", key, kind)
			}
		}
	}
}

// questions is how many statements the server got from a session, this one included.
func questions(t *testing.T, c *sql.Conn) int {
	t.Helper()
	var name string
	var n int
	if err := c.QueryRowContext(context.Background(), "SHOW SESSION STATUS LIKE 'Questions'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
