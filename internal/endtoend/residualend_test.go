package endtoend

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// bulkTables and bulkPolicy are for statements that are ended while they are under way.
const bulkTables = twinTables + `
CREATE TABLE bulk (id INT PRIMARY KEY, k INT, body TEXT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
`

const bulkPolicy = twinPolicy + `    bulk:
      columns:
        body: {}
`

// bulkCount rows of 2,000 bytes are more than MariaDB keeps before it sends the first of them.
const bulkCount = 200

func newBulk(t *testing.T, server *mariadbtest.Server, settings string) *twin {
	t.Helper()
	w := newTwinWith(t, server, bulkTables, bulkPolicy, settings)
	w.protected = append(w.protected, "bulk.body")
	w.both(t, insertBulk(1, bulkCount, 2000))
	return w
}

// insertBulk inserts rows from..to of about so many bytes.
func insertBulk(from, to, size int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO bulk VALUES ")
	for i := from; i <= to; i++ {
		if i > from {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "(%d, %d, '%d %s')", i, i%10, i, strings.Repeat("x", size))
	}
	return b.String()
}

// metric reads one number from the proxy's metrics; 0 when it is not there.
func metric(t *testing.T, p *latchkeytest.Proxy, name string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// evaluatorFiles lists what is in the evaluator's directory for temporary files, or open there although it was removed.
func evaluatorFiles(t *testing.T, p *latchkeytest.Proxy) []string {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", evaluatorOf(t, p))
	data, err := os.Readlink(proc + "/cwd")
	if err != nil {
		return []string{err.Error()} // it has just ended
	}
	dir := filepath.Join(filepath.Dir(data), "tmp")
	files, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return []string{err.Error()}
	}
	for _, fd := range open {
		if target, err := os.Readlink(proc + "/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, dir) {
			files = append(files, target)
		}
	}
	return files
}

// nothingLeft waits until the evaluator holds nothing of any statement and nobody holds a connection to it.
func (w *twin) nothingLeft(t *testing.T, after string) {
	t.Helper()
	var files []string
	var busy float64
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		files, busy = evaluatorFiles(t, w.proxy), metric(t, w.proxy, "latchkey_evaluator_connections")
		if len(files) == 0 && busy == 0 {
			return
		}
	}
	t.Errorf("after %s: %v connections in use, files left: %v", after, busy, files)
}

// loading waits until rows of a statement are on their way into the evaluator.
func (w *twin) loading(t *testing.T) {
	t.Helper()
	waitFor(t, "rows in the evaluator", func() bool { return len(evaluatorFiles(t, w.proxy)) > 0 })
}

// ending is a way to end a statement from outside.
type ending struct {
	name string
	// end does it to a statement through Latchkey; connection says that the connection is gone then, and code is the error else.
	end        func(t *testing.T, w *twin, id int)
	connection bool
	code       int
}

var endings = []ending{
	{"evaluator killed", func(t *testing.T, w *twin, _ int) {
		if err := syscall.Kill(evaluatorOf(t, w.proxy), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}, false, 9710},
	{"KILL QUERY", func(t *testing.T, w *twin, id int) { w.kill(t, "KILL QUERY", id) }, false, 1317},
	{"KILL HARD QUERY", func(t *testing.T, w *twin, id int) { w.kill(t, "KILL HARD QUERY", id) }, false, 1317},
	{"KILL CONNECTION", func(t *testing.T, w *twin, id int) { w.kill(t, "KILL CONNECTION", id) }, true, 0},
	{"KILL on the server", func(t *testing.T, w *twin, id int) { w.server.Exec(t, "KILL "+strconv.Itoa(id)) }, true, 0},
}

// kill ends a statement or connection through Latchkey.
func (w *twin) kill(t *testing.T, how string, id int) {
	t.Helper()
	mustExec(t, w.proxy.Conn(t, w.sealed, "", ""), how+" "+strconv.Itoa(id))
}

// locked tells whether somebody holds a lock on a row of bulk.
func (w *twin) locked(t *testing.T, db string, id int) bool {
	t.Helper()
	_, err := w.server.DB().ExecContext(context.Background(), fmt.Sprintf("SELECT id FROM %s.bulk WHERE id = %d FOR UPDATE NOWAIT", db, id))
	switch mariadbtest.Code(err) {
	case 0:
		if err != nil {
			t.Fatal(err)
		}
		return false
	case 1205:
		return true
	}
	t.Fatal(err)
	return false
}

// TestEndedWhileRowsAreLoaded ends a statement while its rows are being loaded: a row in the middle is locked by somebody else. The
// transaction is then as MariaDB leaves it.
func TestEndedWhileRowsAreLoaded(t *testing.T) {
	w := newBulk(t, mariadbtest.Shared(t), "")
	for _, stmt := range []string{
		"SELECT COUNT(*) FROM bulk WHERE body LIKE '%x%' FOR UPDATE",
		"UPDATE bulk SET body = CONCAT(body, '!') WHERE body LIKE '%x%'",
		"DELETE FROM bulk WHERE body LIKE '%x%' AND k < 100",
	} {
		for _, e := range endings {
			t.Run(e.name+": "+stmt, func(t *testing.T) { w.endedWhile(t, stmt, e) })
		}
	}
	w.onlyCells(t, "all")
}

// endedWhile runs a statement on both sides in a transaction, has it wait for a row and ends it.
func (w *twin) endedWhile(t *testing.T, stmt string, e ending) {
	ctx := context.Background()
	plain, sealed := w.conns(t, "")
	// With the last row locked, the fetch has sent all the others.
	holders := []*sql.Conn{}
	for _, db := range []string{w.plain, w.sealed} {
		holder, err := w.server.DB().Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Close()
		mustExec(t, holder, "START TRANSACTION")
		mustExec(t, holder, fmt.Sprintf("SELECT id FROM %s.bulk WHERE id = %d FOR UPDATE", db, bulkCount))
		holders = append(holders, holder)
	}
	release := func() {
		for _, h := range holders {
			mustExec(t, h, "ROLLBACK")
		}
	}
	type side struct {
		conn *sql.Conn
		end  func()
		code int
	}
	plainID, sealedID := threadID(t, plain), threadID(t, sealed)
	for _, s := range []side{
		{plain, func() {
			how := "KILL QUERY "
			if e.connection {
				how = "KILL "
			}
			w.server.Exec(t, how+strconv.Itoa(plainID))
		}, 1317},
		{sealed, func() {
			w.loading(t)
			e.end(t, w, sealedID)
			if e.code == 9710 {
				release() // the evaluator's end is seen when there is something for it
			}
		}, e.code},
	} {
		mustExec(t, s.conn, "START TRANSACTION")
		mustExec(t, s.conn, "INSERT INTO tags (id, entry_id, name) VALUES (100, 1, 'before')")
		mustExec(t, s.conn, "SAVEPOINT mine")
		id, done := threadID(t, s.conn), make(chan error, 1)
		go func() {
			_, err := s.conn.ExecContext(ctx, stmt)
			done <- err
		}()
		await(t, w.server, fmt.Sprintf("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = %d", id))
		s.end()
		err := <-done
		if e.connection {
			if err == nil {
				t.Error("the statement has succeeded")
			}
		} else if got := mariadbtest.Code(err); got != s.code {
			t.Errorf("got %v, want error %d", err, s.code)
		}
	}
	release()
	if e.connection {
		for _, db := range []string{w.plain, w.sealed} {
			waitFor(t, "the locks to be released", func() bool { return !w.locked(t, db, 1) })
		}
		plain, sealed = w.conns(t, "")
	}
	if p, s := w.locked(t, w.plain, 1), w.locked(t, w.sealed, 1); p != s {
		t.Errorf("a row that the statement had read is locked: %v, want %v", s, p)
	}
	w.goesOn(t, plain, sealed, !e.connection)
	w.nothingLeft(t, e.name)
}

// goesOn checks that two connections are in the same state after a statement that was ended, and that statements work on them.
func (w *twin) goesOn(t *testing.T, plain, sealed *sql.Conn, transaction bool) {
	t.Helper()
	// The errors of the statements before can be different ones.
	mustExec(t, plain, "SELECT id FROM tags WHERE id = 0")
	mustExec(t, sealed, "SELECT id FROM tags WHERE id = 0")
	same(t, plain, sealed, wayText, "SELECT @@in_transaction")
	same(t, plain, sealed, wayText, "SELECT * FROM tags ORDER BY id")
	waitFor(t, "the evaluator", func() bool { return code(sealed, "SELECT UPPER(title) FROM entries") == 0 })
	mustExec(t, plain, "SELECT UPPER(title) FROM entries")
	const sum = "SELECT COUNT(*), SUM(LENGTH(body)), MAX(body) FROM bulk WHERE id <= 150"
	same(t, plain, sealed, wayText, sum)
	same(t, plain, sealed, wayText, "UPDATE bulk SET body = CONCAT(body, '+') WHERE body LIKE '3 %' AND id <= 150")
	if transaction {
		same(t, plain, sealed, wayText, "ROLLBACK TO SAVEPOINT mine")
		same(t, plain, sealed, wayText, sum)
		same(t, plain, sealed, wayText, "COMMIT")
	}
	_, other := w.conns(t, "")
	same(t, plain, other, wayText, "SELECT * FROM tags ORDER BY id")
	same(t, plain, other, wayText, sum)
	mustExec(t, other, "DELETE FROM tags WHERE id = 100")
	mustExec(t, plain, "DELETE FROM tags WHERE id = 100")
}

// busySelect keeps both servers busy for longer than any test waits.
const busySelect = longJoin + " FOR UPDATE"

// busyUpdate does so too.
const busyUpdate = "UPDATE bulk SET body = CONCAT(body, (" + longJoin + ")) WHERE id < 3"

// TestEndedWhileTheEvaluatorWorks ends a statement that runs in the evaluator, in a transaction and outside of one.
func TestEndedWhileTheEvaluatorWorks(t *testing.T) {
	w := newBulk(t, mariadbtest.Shared(t), "")
	for _, stmt := range []string{busySelect, busyUpdate} {
		for _, e := range append([]ending{{"disconnect", nil, true, 0}}, endings...) {
			for _, transaction := range []bool{true, false} {
				if !transaction && e.name != "KILL QUERY" && e.name != "disconnect" {
					continue
				}
				t.Run(fmt.Sprintf("%s: %.6s, transaction %v", e.name, stmt, transaction), func(t *testing.T) { w.endedBusy(t, stmt, e, transaction) })
			}
		}
	}
	w.onlyCells(t, "all")
}

func (w *twin) endedBusy(t *testing.T, stmt string, e ending, transaction bool) {
	plain, sealed := w.conns(t, "")
	plainID, sealedID := threadID(t, plain), threadID(t, sealed)
	for _, c := range []*sql.Conn{plain, sealed} {
		if transaction {
			mustExec(t, c, "START TRANSACTION")
		}
		mustExec(t, c, "INSERT INTO tags (id, entry_id, name) VALUES (100, 1, 'before')")
		if transaction {
			mustExec(t, c, "SAVEPOINT mine")
		}
	}
	ctx, disconnect := context.WithCancel(context.Background())
	defer disconnect()
	done := make(chan error, 2)
	run := func(c *sql.Conn) {
		_, err := c.ExecContext(ctx, stmt)
		done <- err
	}
	go run(plain)
	await(t, w.server, fmt.Sprintf("SELECT 1 FROM information_schema.innodb_trx WHERE trx_rows_locked > 0 AND trx_mysql_thread_id = %d", plainID))
	if e.connection {
		w.server.Exec(t, "KILL "+strconv.Itoa(plainID))
	} else {
		w.server.Exec(t, "KILL QUERY "+strconv.Itoa(plainID))
	}
	if err := <-done; err == nil || !e.connection && mariadbtest.Code(err) != 1317 {
		t.Errorf("MariaDB itself: %v", err)
	}
	before := metric(t, w.proxy, "latchkey_evaluator_loaded_rows_total")
	go run(sealed)
	waitFor(t, "the rows", func() bool { return metric(t, w.proxy, "latchkey_evaluator_loaded_rows_total") >= before+5 })
	if e.end == nil {
		disconnect()
	} else {
		e.end(t, w, sealedID)
	}
	err := <-done
	if got := mariadbtest.Code(err); err == nil || !e.connection && got != e.code {
		t.Errorf("got %v, want error %d", err, e.code)
	}
	lock := "SELECT id FROM %s.entries WHERE id = 1 FOR UPDATE NOWAIT"
	if stmt == busyUpdate {
		lock = "SELECT id FROM %s.bulk WHERE id = 1 FOR UPDATE NOWAIT"
	}
	if e.connection {
		waitFor(t, "the locks to be released", func() bool {
			_, err := w.server.DB().ExecContext(context.Background(), fmt.Sprintf(lock, w.sealed))
			return err == nil
		})
		plain, sealed = w.conns(t, "")
	}
	for _, db := range []string{w.plain, w.sealed} {
		_, err := w.server.DB().ExecContext(context.Background(), fmt.Sprintf(lock, db))
		if held := mariadbtest.Code(err) == 1205; held != (transaction && !e.connection) {
			t.Errorf("sealed %v: a row that was read is locked: %v", db == w.sealed, held)
		}
	}
	w.goesOn(t, plain, sealed, transaction && !e.connection)
	w.nothingLeft(t, e.name)
}

// TestSlowStatementsDelayNobody counts the statements that others get through while slow ones run, and while as many wait as ever
// may work at a time.
func TestSlowStatementsDelayNobody(t *testing.T) {
	w := newBulk(t, mariadbtest.Shared(t), "")
	_, slow := w.conns(t, "")
	plain, sealed := w.conns(t, "")
	done := make(chan error, 40)
	begin := func(c *sql.Conn, stmt string) {
		go func() {
			_, err := c.ExecContext(context.Background(), stmt)
			done <- err
		}()
	}
	answered := func(what string, stmts ...string) {
		t.Helper()
		for range 2 {
			for _, stmt := range stmts {
				same(t, plain, sealed, wayText, stmt)
				same(t, plain, sealed, wayPrepared, stmt)
			}
		}
		if len(done) > 0 {
			t.Fatalf("%s: %v", what, <-done)
		}
	}
	slowID := threadID(t, slow)
	begin(slow, longJoin)
	waitFor(t, "the slow statement", func() bool { return metric(t, w.proxy, "latchkey_evaluator_connections") == 1 })
	answered("one slow statement", "SELECT COUNT(*) FROM bulk WHERE body LIKE '1%' AND id < 20", "UPDATE bulk SET body = CONCAT(body, '+') WHERE body LIKE '7 %' AND id < 9",
		"SELECT UPPER(title) FROM entries WHERE id = 1")
	w.kill(t, "KILL QUERY", slowID)
	if err := <-done; mariadbtest.Code(err) != 1317 {
		t.Errorf("the slow statement: %v", err)
	}

	const most = 24 // of the evaluator's 32 connections
	_, holder := w.conns(t, "")
	mustExec(t, holder, "START TRANSACTION")
	mustExec(t, holder, fmt.Sprintf("SELECT id FROM bulk WHERE id = %d FOR UPDATE", bulkCount))
	for range most {
		_, c := w.conns(t, "")
		begin(c, "SELECT COUNT(*) FROM bulk WHERE body LIKE '%x%' FOR UPDATE")
	}
	waitFor(t, "all of them", func() bool { return metric(t, w.proxy, "latchkey_evaluator_connections") == most })
	answered("as many as may work", "SELECT title FROM entries WHERE id = 1", "UPDATE entries SET amount = '1.005' WHERE id = 5", "SELECT amount FROM entries WHERE id = 5")
	prepared, err := sealed.PrepareContext(context.Background(), "SELECT UPPER(title) FROM entries WHERE id = ?")
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	_, next := w.conns(t, "")
	nextID := threadID(t, next)
	begin(next, "SELECT UPPER(title) FROM entries")
	waitFor(t, "the next one", func() bool { return metric(t, w.proxy, `latchkey_statements_total{class="residual"}`) > 0 })
	w.kill(t, "KILL QUERY", nextID)
	for tries := 0; len(done) == 0; tries++ {
		if tries > 500 {
			t.Fatal("a statement that waits for its turn cannot be killed")
		}
		time.Sleep(20 * time.Millisecond)
		w.kill(t, "KILL QUERY", nextID)
	}
	if err := <-done; mariadbtest.Code(err) != 1317 {
		t.Errorf("the statement that waited for its turn: %v", err)
	}
	mustExec(t, holder, "ROLLBACK")
	for range most {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.nothingLeft(t, "all")
}

// TestOwnTimeLimit: the session's max_statement_time ends what the evaluator does as it ends what MariaDB does.
func TestOwnTimeLimit(t *testing.T) {
	w := newBulk(t, mariadbtest.Shared(t), "")
	plain, sealed := w.conns(t, "")
	same(t, plain, sealed, wayText, "SET max_statement_time = 0.5")
	for _, how := range []way{wayText, wayPrepared} {
		for _, stmt := range []string{longJoin, busyUpdate} {
			if p, s := run(plain, how, stmt, nil), run(sealed, how, stmt, nil); p.Code != 1969 || s.Code != 1969 || p.Text != s.Text {
				t.Errorf("%v %.10s: got %d %s, want %d %s", how, stmt, s.Code, s.Text, p.Code, p.Text)
			}
			same(t, plain, sealed, how, "SELECT COUNT(*) FROM bulk WHERE body LIKE '%+' AND id < 3")
		}
	}
}
