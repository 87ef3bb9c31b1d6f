package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

const ledgerTables = `
CREATE TABLE ledger (id INT PRIMARY KEY, n INT, title VARCHAR(50), body TEXT);
CREATE TABLE open (id INT PRIMARY KEY, n INT, title VARCHAR(50), body TEXT);
CREATE TABLE later (id INT PRIMARY KEY, v VARCHAR(50));
`

const ledgerPolicy = `    ledger:
      columns:
        title: {search: equality}
        body: {}
`

// ledger is a protected table behind a proxy that reaches its backend through a relay with faults.
type ledger struct {
	server *mariadbtest.Server
	proxy  *latchkeytest.Proxy
	db     string
	key    string
	// checker is the connection that looks after a fault, where there is one.
	checker int
}

// newLedger starts a proxy. backend, when not empty, is the address it uses in place of the server's.
func newLedger(t *testing.T, server *mariadbtest.Server, backend string) *ledger {
	t.Helper()
	l := &ledger{server: server, db: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	server.Exec(t, "USE "+l.db+";"+ledgerTables)
	l.proxy = latchkeytest.Write(t, latchkeytest.Config{Server: server, Databases: "  " + l.db + ":\n" + ledgerPolicy})
	l.proxy.Prepare(t)
	if backend != "" {
		l.edit(t, server.Addr(), backend)
	}
	l.proxy.Serve(t)
	return l
}

// edit replaces a text of the configuration.
func (l *ledger) edit(t *testing.T, old, replacement string) {
	t.Helper()
	text, err := os.ReadFile(l.proxy.Config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("the configuration does not hold %q", old)
	}
	if err := os.WriteFile(l.proxy.Config, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// onlyCells fails when a protected column holds anything but cells.
func (l *ledger) onlyCells(t *testing.T, table string) {
	t.Helper()
	rows := l.server.Query(t, "SELECT COUNT(*) FROM "+l.db+"."+table+" WHERE NOT (COALESCE(LEFT(title, 3), x'FF4C4B') = x'FF4C4B' AND COALESCE(LEFT(body, 3), x'FF4C4B') = x'FF4C4B')")
	if rows[0][0] != "0" {
		t.Errorf("%s rows of %s hold what is no cell", rows[0][0], table)
	}
}

// attempt connects to addr and inserts, updates and reads; any step may fail. It tells how far it got.
func (l *ledger) attempt(addr string, id int, value string) (inserted, updated bool) {
	c, err := dialWire(addr, l.db, wireCaps, "")
	if err != nil {
		return false, false
	}
	defer c.socket.Close()
	c.socket.SetDeadline(time.Now().Add(20 * time.Second))
	do := func(text string) bool {
		if c.Send(append([]byte{byte(wire.ComQuery)}, text...)) != nil {
			return false
		}
		r, err := c.receive(wire.ReplyQuery)
		return err == nil && r.err.Code == 0
	}
	if !do("SET @latchkey = '" + l.key + "'") {
		return false, false
	}
	inserted = do(fmt.Sprintf("INSERT INTO ledger VALUES (%d, 1, '%s', '%[2]s body')", id, value))
	updated = do(fmt.Sprintf("UPDATE ledger SET title = '%s', body = '%[1]s body' WHERE id = 1", value))
	do("SELECT * FROM ledger WHERE id = 1")
	return inserted, updated
}

// check reads row 1 and row id and holds them against what was tried; it gives the value of row 1.
func (l *ledger) check(t *testing.T, conn *sql.Conn, what string, id int, old, fresh string, inserted, updated bool) string {
	t.Helper()
	ctx := context.Background()
	var title, body string
	if err := conn.QueryRowContext(ctx, "SELECT title, body FROM ledger WHERE id = 1").Scan(&title, &body); err != nil {
		t.Fatalf("%s: row 1: %v", what, err)
	}
	if body != title+" body" || title != fresh && (updated || title != old) {
		t.Errorf("%s: row 1 is %q, %q after an update (answered: %v) from %q to %q", what, title, body, updated, old, fresh)
	}
	var seen, seenBody string
	err := conn.QueryRowContext(ctx, "SELECT title, body FROM ledger WHERE id = ?", id).Scan(&seen, &seenBody)
	switch {
	case err == sql.ErrNoRows && !inserted:
	case err != nil:
		t.Errorf("%s: the inserted row (answered: %v): %v", what, inserted, err)
	case seen != fresh || seenBody != fresh+" body":
		t.Errorf("%s: the inserted row is %q, %q, want %q", what, seen, seenBody, fresh)
	}
	return title
}

// TestCutConnections cuts either connection of a session after every so many bytes, in both directions.
func TestCutConnections(t *testing.T) {
	server := mariadbtest.Shared(t)
	var armed atomic.Pointer[faultconn.Faults]
	plan := func(int) faultconn.Faults {
		if f := armed.Swap(nil); f != nil {
			return *f
		}
		return faultconn.Faults{}
	}
	behind := faultconn.NewRelay(t, server.Addr(), plan)
	l := newLedger(t, server, behind.Addr())
	before := faultconn.NewRelay(t, l.proxy.Address, plan)
	conn := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'start', 'start body')")
	value, id, cuts := "start", 1, 0
	for _, hop := range []string{"backend", "client"} {
		for _, direction := range []string{"read", "write"} {
			for at := int64(0); at < 1400; at += 13 {
				fault := []faultconn.Fault{{Kind: faultconn.Cut, At: at}}
				faults := faultconn.Faults{Read: fault}
				if direction == "write" {
					faults = faultconn.Faults{Write: fault}
				}
				armed.Store(&faults)
				addr := l.proxy.Address
				if hop == "client" {
					addr = before.Addr()
				}
				id++
				fresh := fmt.Sprintf("value %d", id)
				inserted, updated := l.attempt(addr, id, fresh)
				if !updated {
					cuts++
				}
				// What was sent may still be on its way: the last statement of a session that was cut off.
				value = l.settled(t, conn, fmt.Sprintf("%s %s cut at %d", hop, direction, at), id, value, fresh, inserted, updated)
			}
		}
	}
	if cuts < 100 {
		t.Errorf("only %d sessions were cut before their end", cuts)
	}
	l.onlyCells(t, "ledger")
}

// settled waits for sessions that were cut off to end, then checks.
func (l *ledger) settled(t *testing.T, conn *sql.Conn, what string, id int, old, fresh string, inserted, updated bool) string {
	t.Helper()
	for range 2000 {
		busy := l.server.Query(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '"+l.db+"' AND COMMAND <> 'Sleep' AND ID <> CONNECTION_ID()")
		if busy[0][0] == "0" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return l.check(t, conn, what, id, old, fresh, inserted, updated)
}

// writer updates row id again and again until a statement fails; it gives the last value answered and the one tried.
func (l *ledger) writer(id int) (answered, tried string) {
	c, err := dialWire(l.proxy.Address, l.db, wireCaps, "")
	if err != nil {
		return "", ""
	}
	defer c.socket.Close()
	for _, text := range []string{"SET @latchkey = '" + l.key + "'", fmt.Sprintf("INSERT INTO ledger VALUES (%d, 1, 'value 0', 'value 0 body')", id)} {
		if c.Send(append([]byte{byte(wire.ComQuery)}, text...)) != nil {
			return "", ""
		}
		if r, err := c.receive(wire.ReplyQuery); err != nil || r.err.Code != 0 {
			return "", "value 0"
		}
	}
	answered = "value 0"
	for n := 1; ; n++ {
		tried = fmt.Sprintf("value %d", n)
		text := fmt.Sprintf("UPDATE ledger SET title = '%s', body = '%[1]s body' WHERE id = %d", tried, id)
		if c.Send(append([]byte{byte(wire.ComQuery)}, text...)) != nil {
			return answered, tried
		}
		if r, err := c.receive(wire.ReplyQuery); err != nil || r.err.Code != 0 {
			return answered, tried
		}
		answered = tried
	}
}

// TestKilledProcesses kills the proxy, then the backend, while clients write. Afterwards every row has the value that was
// answered last or the one that was being written, and opens.
func TestKilledProcesses(t *testing.T) {
	server := mariadbtest.Start(t)
	l := newLedger(t, server, "")
	id := 0
	for round := range 4 {
		type outcome struct {
			id              int
			answered, tried string
		}
		outcomes := make([]outcome, 4)
		var wg sync.WaitGroup
		for i := range outcomes {
			id++
			outcomes[i].id = id
			wg.Go(func() { outcomes[i].answered, outcomes[i].tried = l.writer(outcomes[i].id) })
		}
		time.Sleep(time.Duration(100+37*round) * time.Millisecond)
		if round%2 == 0 {
			if err := l.proxy.Kill(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			l.proxy.Serve(t)
		} else {
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if err := server.Restart(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		conn := l.connAgain(t)
		for _, o := range outcomes {
			var title, body string
			err := conn.QueryRowContext(context.Background(), "SELECT title, body FROM ledger WHERE id = ?", o.id).Scan(&title, &body)
			if err == sql.ErrNoRows && o.answered == "" {
				continue
			}
			if err != nil || body != title+" body" || title != o.answered && title != o.tried {
				t.Errorf("round %d: row %d is %q, %q (%v), want %q or %q", round, o.id, title, body, err, o.answered, o.tried)
			}
		}
		l.onlyCells(t, "ledger")
	}
}

// connAgain connects with the key as soon as the proxy reaches its backend again.
func (l *ledger) connAgain(t *testing.T) *sql.Conn {
	t.Helper()
	ctx := context.Background()
	var last error
	for range 1000 {
		conn, err := l.proxy.Open(t, l.db, "").Conn(ctx)
		if err == nil {
			if _, err = conn.ExecContext(ctx, "SET @latchkey = '"+l.key+"'"); err == nil {
				if _, err = conn.ExecContext(ctx, "DO 1"); err == nil {
					var n int
					if err = conn.QueryRowContext(ctx, "SELECT COUNT(title) FROM ledger").Scan(&n); err == nil {
						t.Cleanup(func() { conn.Close() })
						return conn
					}
				}
			}
			conn.Close()
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no connection any more: %v", last)
	return nil
}

// TestKilledStatements kills a waiting statement: the client gets MariaDB's error, nothing has changed, and the connection
// goes on.
func TestKilledStatements(t *testing.T) {
	l := newLedger(t, mariadbtest.Shared(t), "")
	ctx := context.Background()
	holder, conn := l.proxy.Conn(t, l.db, "", l.key), l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'old', 'old body')")
	mustExec(t, holder, "START TRANSACTION")
	mustExec(t, holder, "UPDATE ledger SET n = 2 WHERE id = 1")
	var id int
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{"UPDATE ledger SET title = 'new' WHERE id = 1", "INSERT INTO ledger (id, title) VALUES (1, 'new') ON DUPLICATE KEY UPDATE title = 'new'",
		"SELECT title FROM ledger WHERE id = 1 FOR UPDATE", "DELETE FROM ledger WHERE title = 'old'"} {
		for _, how := range []way{wayText, wayPrepared} {
			done := make(chan answer)
			go func() { done <- run(conn, how, stmt, nil) }()
			awaitStatement(t, l.server, id)
			other := l.proxy.Conn(t, l.db, "", "")
			mustExec(t, other, fmt.Sprintf("KILL QUERY %d", id))
			if got := <-done; got.Code != 1317 {
				t.Errorf("%v %s: got error %d %s, want 1317", how, stmt, got.Code, got.Text)
			}
			if got := run(conn, how, "SELECT title FROM ledger WHERE id = 1", nil); fmt.Sprint(got.Rows) != `[["old"]]` {
				t.Errorf("after %v %s: got %d %s %v", how, stmt, got.Code, got.Text, got.Rows)
			}
		}
	}
	mustExec(t, holder, "ROLLBACK")
}

// TestGracefulStop stops the proxy while a statement runs: its rows still arrive.
func TestGracefulStop(t *testing.T) {
	l := newLedger(t, mariadbtest.Shared(t), "")
	conn, idle := l.proxy.Conn(t, l.db, "", l.key), l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'kept', 'kept body')")
	var id int
	if err := conn.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	done := make(chan answer)
	go func() { done <- run(conn, wayText, "SELECT title, SLEEP(1) FROM ledger", nil) }()
	awaitStatement(t, l.server, id)
	if err := l.proxy.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-done; len(got.Rows) != 1 || !strings.Contains(got.Rows[0][0], "kept") {
		t.Errorf("the running statement got %d %s %v", got.Code, got.Text, got.Rows)
	}
	if err := idle.PingContext(context.Background()); err == nil {
		t.Error("an idle session outlived the stop")
	}
	l.proxy.Stop(t)
}

// awaitLog waits until the proxy's log holds a text more often than before.
func (l *ledger) awaitLog(t *testing.T, text string, before int) {
	t.Helper()
	for range 1000 {
		if strings.Count(l.proxy.Log(), text) > before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log never says %q:\n%s", text, l.proxy.Log())
}

func (l *ledger) reload(t *testing.T, says string) {
	t.Helper()
	before := strings.Count(l.proxy.Log(), says)
	if err := l.proxy.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.awaitLog(t, says, before)
}

// TestReload protects one more column on SIGHUP, and keeps the policy when the file is wrong or would unprotect a column.
func TestReload(t *testing.T) {
	l := newLedger(t, mariadbtest.Shared(t), "")
	conn := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'one', 'one body')")
	mustExec(t, conn, "INSERT INTO later VALUES (1, 'open')")
	mustExec(t, conn, "DELETE FROM later")
	stored := func(id int) string {
		return l.server.Query(t, fmt.Sprintf("SELECT HEX(LEFT(v, 3)) FROM %s.later WHERE id = %d", l.db, id))[0][0]
	}
	l.edit(t, ledgerPolicy, ledgerPolicy+"    later:\n      columns:\n        v: {}\n")
	l.proxy.Prepare(t)
	l.reload(t, "policy reloaded")
	mustExec(t, conn, "INSERT INTO later VALUES (2, 'closed')")
	if got := stored(2); got != "FF4C4B" {
		t.Errorf("after the reload %s is stored", got)
	}
	good, err := os.ReadFile(l.proxy.Config)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"unprotects a column":   {"        title: {search: equality}\n", ""},
		"unprotects a table":    {"    later:\n      columns:\n        v: {}\n", ""},
		"is not YAML":           {"databases:", "databases: ]"},
		"has an unknown option": {"        body: {}\n", "        body: {colour: red}\n"},
	} {
		if err := os.WriteFile(l.proxy.Config, []byte(strings.Replace(string(good), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		l.reload(t, "the policy was not reloaded")
		mustExec(t, conn, "UPDATE ledger SET title = 'two' WHERE id = 1")
		mustExec(t, conn, "REPLACE INTO later VALUES (3, 'closed')")
		l.onlyCells(t, "ledger")
		if got := stored(3); got != "FF4C4B" {
			t.Errorf("a file that %s: %s is stored", name, got)
		}
	}
}
