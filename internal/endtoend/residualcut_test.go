package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// computing is a session that computes over its ledger: within one transaction n grows by one and body by a character in each row,
// and in another one title grows. done counts the statements that were answered.
func (l *ledger) computing(addr string) (done int) {
	c, err := dialWire(addr, l.db, wireCaps, "")
	if err != nil {
		return 0
	}
	defer c.socket.Close()
	c.socket.SetDeadline(time.Now().Add(20 * time.Second))
	for _, text := range []string{
		"SET @latchkey = '" + l.key + "'",
		"START TRANSACTION",
		"UPDATE ledger SET n = n + 1",
		"UPDATE ledger SET body = CONCAT(body, 'x') WHERE body LIKE '%'",
		"SELECT MAX(LENGTH(a.body)) FROM ledger a LEFT JOIN open o ON o.id = a.id WHERE a.body LIKE '%'",
		"COMMIT",
		"UPDATE ledger SET title = CONCAT(title, 'y') WHERE LENGTH(title) > 0",
	} {
		if c.Send(append([]byte{byte(wire.ComQuery)}, text...)) != nil {
			break
		}
		if r, err := c.receive(wire.ReplyQuery); err != nil || r.err.Code != 0 {
			break
		}
		done++
	}
	return done
}

// TestResidualStatementsAreCut cuts the backend's connection of a session that computes after every so many bytes, in both
// directions: every statement is carried out whole or not at all.
func TestResidualStatementsAreCut(t *testing.T) {
	server := mariadbtest.Shared(t)
	var armed atomic.Pointer[faultconn.Faults]
	relay := faultconn.NewRelay(t, server.Addr(), func(int) faultconn.Faults {
		if f := armed.Swap(nil); f != nil {
			return *f
		}
		return faultconn.Faults{}
	})
	l := newLedger(t, server, relay.Addr())
	conn := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 0, '', ''), (2, 0, 'y', 'x'), (3, 0, '', '')")
	mustExec(t, conn, "UPDATE ledger SET title = '', body = '', n = 0")
	mustExec(t, conn, "UPDATE ledger SET title = 'y'")
	waitFor(t, "the evaluator", func() bool { return code(conn, "SELECT UPPER(title) FROM ledger") == 0 })
	n, titles, whole, cuts := 0, 1, 0, 0
	l.checker = threadID(t, conn)
	for _, direction := range []string{"read", "write"} {
		for at := int64(300); ; at += 61 {
			fault := []faultconn.Fault{{Kind: faultconn.Cut, At: at}}
			faults := faultconn.Faults{Read: fault}
			if direction == "write" {
				faults = faultconn.Faults{Write: fault}
			}
			armed.Store(&faults)
			done := l.computing(l.proxy.Address)
			n, titles = l.computed(t, conn, fmt.Sprintf("%s cut at %d", direction, at), done, n, titles)
			if done == 7 {
				whole++
				break
			}
			cuts++
			if t.Failed() || at > 100_000 {
				t.Fatalf("%s cut at %d", direction, at)
			}
		}
	}
	if whole != 2 || cuts < 40 {
		t.Errorf("%d cuts, and %d directions to their end; want at least 40 and 2", cuts, whole)
	}
	l.onlyCells(t, "ledger")
}

// computed waits for a session that was cut off to end, and checks that each of its statements was carried out whole or not at
// all. n and titles are the numbers of before; those of now are returned.
func (l *ledger) computed(t *testing.T, conn *sql.Conn, what string, done, n, titles int) (nowN, nowTitles int) {
	t.Helper()
	for range 2000 {
		busy := l.server.Query(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '"+l.db+"' AND ID NOT IN (CONNECTION_ID(), "+strconv.Itoa(l.checker)+")")
		if busy[0][0] == "0" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	rows, err := conn.QueryContext(context.Background(), "SELECT n, title, body FROM ledger ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		var number int
		var title, body string
		if err := rows.Scan(&number, &title, &body); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			nowN, nowTitles = number, len(title)
		}
		if number != nowN || body != strings.Repeat("x", number) || title != strings.Repeat("y", nowTitles) {
			t.Errorf("%s: row %d is %d, %q, %q; want %d and as many, and %d", what, i, number, body, title, nowN, nowTitles)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if nowN-n != 0 && (nowN-n != 1 || done < 5) || nowN == n && done >= 6 || nowTitles-titles != 0 && (nowTitles-titles != 1 || done < 6) || nowTitles == titles && done == 7 {
		t.Errorf("%s: with %d statements answered n went from %d to %d and the titles from %d to %d", what, done, n, nowN, titles, nowTitles)
	}
	return nowN, nowTitles
}

// TestBackendKilledWhileRowsAreLoaded kills the backend's server in the middle of a fetch.
func TestBackendKilledWhileRowsAreLoaded(t *testing.T) {
	server := mariadbtest.Start(t)
	w := newBulk(t, server, "")
	ctx := context.Background()
	for _, stmt := range []string{"SELECT COUNT(*) FROM bulk WHERE body LIKE '%x%' FOR UPDATE", "UPDATE bulk SET body = CONCAT(body, '!') WHERE body LIKE '%'"} {
		_, sealed := w.conns(t, "")
		_, holder := w.conns(t, "")
		mustExec(t, holder, "START TRANSACTION")
		mustExec(t, holder, fmt.Sprintf("SELECT id FROM bulk WHERE id = %d FOR UPDATE", bulkCount))
		mustExec(t, sealed, "START TRANSACTION")
		mustExec(t, sealed, "INSERT INTO tags (id, entry_id, name) VALUES (100, 1, 'lost')")
		done := make(chan error, 1)
		go func() {
			_, err := sealed.ExecContext(ctx, stmt)
			done <- err
		}()
		w.loading(t)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil {
			t.Errorf("%s has succeeded", stmt)
		}
		w.nothingLeft(t, stmt)
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the proxy to reach its backend again", func() bool {
			conn, err := w.proxy.Open(t, w.sealed, "").Conn(ctx)
			if err != nil {
				return false
			}
			defer conn.Close()
			return code(conn, "SET @latchkey = '"+w.key+"'") == 0 && code(conn, "SELECT UPPER(title) FROM entries") == 0
		})
		plain, again := w.conns(t, "")
		same(t, plain, again, wayText, "SELECT * FROM tags ORDER BY id")
		same(t, plain, again, wayText, "SELECT COUNT(*), SUM(LENGTH(body)) FROM bulk")
		w.onlyCells(t, stmt)
	}
}
