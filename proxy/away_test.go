package proxy

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/rewrite"
)

// newAwayTwin is a twin whose table entries accepts rows for owners who are away.
func newAwayTwin(t *testing.T, owners ...string) *rowsTwin {
	t.Helper()
	r := newRowsTwin(t, owners...)
	r.policy(t, func(entries *rewrite.TablePolicy) { entries.AwayAccept = true })
	return r
}

// kinds gives the kinds of the cells in a column, by id.
func (r *rowsTwin) kinds(t *testing.T, column string) string {
	t.Helper()
	var kinds []string
	for _, row := range r.raw(t, "SELECT id, SUBSTRING("+column+",4,1) FROM entries ORDER BY id") {
		kinds = append(kinds, row[0]+row[1])
	}
	return strings.Join(kinds, " ")
}

// TestRowsForAbsentOwners: what is written for an owner who is away opens when the owner is there, and is found by searches
// in every kind of statement, as text and prepared, as on plaintext.
func TestRowsForAbsentOwners(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	for _, prepared := range []bool{false, true} {
		plain, writer := r.direct(t, ""), r.with(t, "", "8")
		nobody, owner := r.session(t, 0, ""), r.with(t, "", "7")
		if prepared {
			nobody, writer = writer, nobody
		}
		for _, c := range []*sql.Conn{plain, writer} {
			mustExec(t, c, "DELETE FROM entries")
			mustExec(t, c, "INSERT INTO entries (id, user_id, title, body, amount) VALUES (1, 7, 'hello', 'first', 1.5), (2, 7, NULL, '', NULL), (3, 7, 'other', NULL, 2)")
			mustExec(t, c, "INSERT INTO entries (id, user_id, title, body) VALUES (?, ?, ?, ?), (5, 7, 'hello', 'x')", 4, "7", "hello", "fourth")
		}
		if got := r.kinds(t, "title"); got != "1a 2NULL 3a 4a 5a" {
			t.Errorf("kinds after the writes: %s", got)
		}
		r.sealedFor(t, "writing for an absent owner")
		wantCode(t, "another reads", run(t, nobody, "SELECT title FROM entries WHERE id = 1"), map[bool]int{false: 9701, true: 9702}[prepared])
		query := func(text string, args ...any) {
			t.Helper()
			if !prepared {
				for _, a := range args {
					text = strings.Replace(text, "?", fmt.Sprintf("'%v'", a), 1)
				}
				args = nil
			}
			r.alike(t, plain, owner, text, args...)
		}
		query("SELECT id, body FROM entries WHERE title = ? ORDER BY id", "hello")
		if got := r.kinds(t, "title"); got != "1t 2NULL 3t 4t 5t" {
			t.Errorf("kinds after a search: %s", got)
		}
		// Row 2 has nothing that the search could have missed.
		if got := r.kinds(t, "body"); got != "1c 2a 3NULL 4c 5c" {
			t.Errorf("kinds of the other column after a search: %s", got)
		}
		for i, s := range []string{
			"SELECT COUNT(*) FROM entries WHERE title IN (?, 'none')",
			"SELECT e.id FROM entries e, entries f WHERE e.title = ? AND f.id = e.id ORDER BY e.id",
			"SELECT id FROM (SELECT id, title FROM entries) d WHERE title <=> ? ORDER BY id",
			"SELECT EXISTS (SELECT 1 FROM entries WHERE title = ?) AS x",
			"UPDATE entries SET n = n + 1 WHERE title = ?",
			"UPDATE entries SET body = 'found' WHERE title = ? ORDER BY id LIMIT 1",
			"INSERT INTO other (v) SELECT n FROM entries WHERE title = ?",
			"DELETE FROM entries WHERE title = ? LIMIT 1",
			"DELETE FROM entries WHERE title = ?",
		} {
			for _, c := range []*sql.Conn{plain, writer} {
				mustExec(t, c, fmt.Sprintf("INSERT INTO entries (id, user_id, title, n) VALUES (%d, 7, 'hello', 1)", 100+i))
			}
			query(s, "hello")
		}
	}
}

// TestAwayValues: an UPDATE that another may do reaches rows of absent owners where there is no cell yet, in a row of several
// owners, and an owner's own UPDATE keeps a value that did not change.
func TestAwayValues(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	plain, c, owner := r.direct(t, ""), r.with(t, "", "8"), r.with(t, "", "7")
	for _, x := range []*sql.Conn{plain, c} {
		mustExec(t, x, "INSERT INTO entries (id, user_id) VALUES (1, 7), (2, 8), (3, 7)")
		mustExec(t, x, "UPDATE entries SET title = 'all', body = ? WHERE id < 3", "text")
	}
	if got := r.kinds(t, "title"); got != "1a 2t 3NULL" {
		t.Errorf("kinds: %s", got)
	}
	wantCode(t, "over a cell of another", run(t, c, "UPDATE entries SET title = 'again'"), 9702)
	wantCode(t, "of nobody known", run(t, c, "INSERT INTO entries (user_id, title) VALUES (99, 'x')"), 9702)
	wantCode(t, "of nobody", run(t, r.session(t, 0, ""), "INSERT INTO entries (user_id, title) VALUES (7 + 0, 'x')"), 9705)
	// The moved row's cells are sealed to the new owner; those of the old one are opened for it.
	for _, x := range []*sql.Conn{plain, c} {
		mustExec(t, x, "UPDATE entries SET user_id = 7, n = 3 WHERE id = 2")
	}
	if got := r.kinds(t, "body"); got != "1a 2a 3NULL" {
		t.Errorf("kinds after giving the row away: %s", got)
	}
	for _, query := range []string{
		"UPDATE entries SET title = 'all', changed = changed + 1 WHERE id = 1",
		"UPDATE entries SET title = 'all', body = 'text'",
		"UPDATE entries SET title = 'new' WHERE id = 1",
		"INSERT INTO entries (id, user_id, body) VALUES (2, 7, 'text') ON DUPLICATE KEY UPDATE body = VALUES(body)",
	} {
		r.alike(t, plain, owner, query)
	}
	r.ids["8"] = ""
	r.policy(t, func(*rewrite.TablePolicy) {})
	wantRows(t, "after away: accept was taken back", run(t, owner, "SELECT body FROM entries WHERE id = 2"), "text")
}

// TestAwayLocked: a reader without the key gets what the policy says.
func TestAwayLocked(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	r.policy(t, func(entries *rewrite.TablePolicy) {
		entries.AwayAccept = true
		entries.Columns["title"].Locked = rewrite.Locked{Mode: rewrite.LockedText, Text: "***"}
	})
	c := r.with(t, "", "8")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title) VALUES (1, 7, 'x'), (2, 8, 'y')")
	wantRows(t, "all", run(t, c, "SELECT title FROM entries ORDER BY id"), "***", "y")
	wantRows(t, "search", run(t, c, "SELECT id FROM entries WHERE title IN ('x', 'y')"), "2")
}

// TestAwayInTransactions: a search inside a transaction sees what the transaction sees, whatever others have sealed anew or
// written since, and holds no lock that it has to wait for. Nothing is committed by it.
func TestAwayInTransactions(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	writer, owner, other := r.with(t, "", "8"), r.with(t, "", "7"), r.with(t, "", "7")
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES (1, 7, 'x'), (2, 7, 'x'), (3, 7, 'y')")
	const search = "SELECT id FROM entries WHERE title = 'x' ORDER BY id"

	// An old snapshot: another connection seals anew in the meantime.
	mustExec(t, owner, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	wantRows(t, "the other", run(t, other, search), "1", "2")
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES (4, 7, 'x')")
	wantRows(t, "in the old snapshot", run(t, owner, search), "1", "2")
	wantRows(t, "in the old snapshot, prepared", run(t, owner, "SELECT id FROM entries WHERE title = ? ORDER BY id", "x"), "1", "2")
	wantRows(t, "what is committed now", run(t, owner, search+" FOR UPDATE"), "1", "2", "4")
	if o := run(t, owner, "UPDATE entries SET n = 1 WHERE title = 'x'"); o.affected != 3 {
		t.Errorf("an UPDATE reads what is committed now: %v, want 3 rows", o)
	}
	mustExec(t, owner, "ROLLBACK")
	if got := r.kinds(t, "title"); got != "1t 2t 3t 4a" {
		t.Errorf("kinds after the rollback: %s", got)
	}
	wantRows(t, "after the rollback", run(t, owner, search), "1", "2", "4")

	// A transaction that only reads.
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES (5, 7, 'x')")
	mustExec(t, owner, "START TRANSACTION READ ONLY")
	wantRows(t, "a transaction that only reads", run(t, owner, search), "1", "2", "4", "5")
	wantRows(t, "prepared", run(t, owner, "SELECT id FROM entries WHERE title = ? ORDER BY id", "x"), "1", "2", "4", "5")
	mustExec(t, owner, "COMMIT")
	if got := r.kinds(t, "title"); got != "1t 2t 3t 4t 5a" {
		t.Errorf("kinds after it: %s", got)
	}

	// A row that another session has locked.
	mustExec(t, other, "START TRANSACTION")
	mustExec(t, other, "SELECT id FROM entries WHERE id = 5 FOR UPDATE")
	mustExec(t, owner, "SET SESSION innodb_lock_wait_timeout = 50")
	wantRows(t, "beside a lock", run(t, owner, search), "1", "2", "4", "5")
	mustExec(t, owner, "SET autocommit = 0")
	wantRows(t, "beside a lock, in a transaction", run(t, owner, search), "1", "2", "4", "5")
	mustExec(t, other, "COMMIT")
	wantRows(t, "without the lock", run(t, owner, search), "1", "2", "4", "5")
	if got := r.kinds(t, "title"); got != "1t 2t 3t 4t 5a" {
		t.Errorf("kinds before the commit: %s", got)
	}
	mustExec(t, owner, "COMMIT")
	if got := r.kinds(t, "title"); got != "1t 2t 3t 4t 5t" {
		t.Errorf("kinds after the commit: %s", got)
	}
}

// TestAwayLeavesTheSessionAlone: what a client can ask about the statements before is as if nothing had been sealed anew.
func TestAwayLeavesTheSessionAlone(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	r.server.Exec(t, "ALTER TABLE "+r.sealed+".entries ADD stamp TIMESTAMP NOT NULL DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP")
	r.loader.Invalidate()
	writer, owner := r.with(t, "", "8"), r.with(t, "", "7")
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title, body) VALUES (1, 7, 'x', 'b'), (2, 7, 'y', 'b'), (3, 7, 'y', 'b')")
	mustExec(t, owner, "INSERT INTO other (v) VALUES ('v')")
	id := run(t, owner, "SELECT LAST_INSERT_ID()").rows
	o := run(t, owner, "SELECT id FROM entries WHERE title = 'y' LIMIT 1")
	if len(o.rows) != 1 {
		t.Errorf("search: %v", o)
	}
	wantRows(t, "LAST_INSERT_ID", run(t, owner, "SELECT LAST_INSERT_ID()"), id...)
	wantRows(t, "stamps", run(t, owner, "SELECT COUNT(*) FROM entries WHERE stamp > '2020-01-02'"), "0")
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES (4, 7, 'y')")
	mustExec(t, owner, "SELECT v FROM other")
	if o := run(t, owner, "UPDATE entries SET n = 1 WHERE title = 'y'"); o.affected != 3 {
		t.Errorf("UPDATE: %v", o)
	}
	wantRows(t, "ROW_COUNT", run(t, owner, "SELECT ROW_COUNT()"), "3")
	wantRows(t, "FOUND_ROWS", run(t, owner, "SELECT FOUND_ROWS()"), "1")
	wantRows(t, "warnings", run(t, owner, "SHOW WARNINGS"))
	wantCode(t, "both at once", run(t, owner, "SELECT FOUND_ROWS(), id FROM entries WHERE title = 'y'"), 9705)
	wantCode(t, "SQL-level PREPARE", run(t, owner, "PREPARE s FROM 'SELECT id FROM entries WHERE title = ''y'' AND id > ?'"), 9705)
	mustExec(t, owner, "PREPARE s FROM 'SELECT id FROM entries WHERE title = ''y'' ORDER BY id'")
	mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES (5, 7, 'y')")
	wantRows(t, "EXECUTE", run(t, owner, "EXECUTE s"), "2", "3", "4", "5")
}

// TestAwayWithoutWriting: where nothing may be written on the side, searches are right all the same, up to a bound.
func TestAwayWithoutWriting(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	writer := r.with(t, "", "8")
	r.server.Exec(t, "CREATE OR REPLACE USER reader@'%'; GRANT SELECT ON *.* TO reader@'%'")
	t.Cleanup(func() { r.server.Exec(t, "DROP USER reader@'%'") })
	reader := r.at(t, r.proxy, "reader")
	mustExec(t, reader, "SET @latchkey = '"+r.tokens["7"]+"'")
	insert := func(from, to int) {
		var rows []string
		for i := from; i < to; i++ {
			rows = append(rows, fmt.Sprintf("(%d, 7, 'x%d')", i, i%2))
		}
		mustExec(t, writer, "INSERT INTO entries (id, user_id, title) VALUES "+strings.Join(rows, ","))
	}
	insert(1, 201)
	wantRows(t, "without the right to UPDATE", run(t, reader, "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), "100")
	wantRows(t, "prepared", run(t, reader, "SELECT COUNT(*) FROM entries WHERE title IN (?, 'none')", "x0"), "100")
	insert(201, 1100)
	wantCode(t, "too many", run(t, reader, "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), 9705)
	wantRows(t, "with the right to UPDATE", run(t, r.with(t, "", "7"), "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), "550")
	wantRows(t, "afterwards", run(t, reader, "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), "550")

	// A trigger would see it.
	r.server.Exec(t, "USE "+r.sealed+"; CREATE TRIGGER counts BEFORE UPDATE ON entries FOR EACH ROW SET NEW.changed = OLD.changed + 1")
	r.loader.Invalidate()
	insert(2000, 2010)
	wantRows(t, "beside a trigger", run(t, r.with(t, "", "7"), "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), "555")
	wantRows(t, "beside a trigger", run(t, r.with(t, "", "7"), "SELECT SUM(changed) FROM entries"), "0")
	r.server.Exec(t, "USE "+r.sealed+"; DROP TRIGGER counts; ALTER TABLE entries MODIFY id INT, DROP PRIMARY KEY")
	r.loader.Invalidate()
	wantRows(t, "without a key", run(t, r.with(t, "", "7"), "SELECT COUNT(*) FROM entries WHERE title = 'x1'"), "555")
	if got := r.raw(t, "SELECT COUNT(*) FROM entries WHERE SUBSTRING(title,4,1) = 'a'")[0][0]; got != "0" {
		t.Errorf("%s cells of kind a are left", got)
	}
}

// TestForgedAwayCells: a cell of kind a that was altered, or moved to another column or another table's row, neither opens
// nor is it passed over by a search.
func TestForgedAwayCells(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	c, owner := r.with(t, "", "8"), r.with(t, "", "7")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title, body) VALUES (1, 7, 'x', 'y'), (2, 8, 'x', 'y')")
	good := r.raw(t, "SELECT title FROM entries WHERE id = 1")[0][0]
	store := func(column, b string) {
		t.Helper()
		if _, err := r.server.DB().Exec("UPDATE "+r.sealed+".entries SET "+column+" = ? WHERE id = 1", []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(good) {
		damaged := []byte(good)
		damaged[i] ^= 1
		store("title", string(damaged))
		o := run(t, owner, "SELECT title FROM entries WHERE id = 1")
		if o.code != 9703 && (i < 8 || i > 15 || o.code != 9702) {
			t.Fatalf("byte %d flipped: %v, want error 9703", i, o)
		}
		if i >= 16 {
			wantCode(t, fmt.Sprintf("search, byte %d flipped", i), run(t, owner, "SELECT id FROM entries WHERE title = 'x'"), 9703)
		}
	}
	store("title", r.raw(t, "SELECT body FROM entries WHERE id = 1")[0][0])
	wantCode(t, "moved to another column", run(t, owner, "SELECT title FROM entries WHERE id = 1"), 9703)
	wantCode(t, "moved to another column, search", run(t, owner, "SELECT id FROM entries WHERE title = 'x'"), 9703)
	store("title", good)
	wantRows(t, "put back", run(t, owner, "SELECT id, title FROM entries WHERE title = 'x'"), "1|x")
}

// TestAwayAndUnique: a UNIQUE key cannot see cells without a tag.
func TestAwayAndUnique(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	r.server.Exec(t, "ALTER TABLE "+r.sealed+".entries ADD UNIQUE per_owner (user_id, title(20))")
	r.loader.Invalidate()
	c := r.with(t, "", "8")
	wantCode(t, "a column in a UNIQUE key", run(t, c, "INSERT INTO entries (user_id, title) VALUES (7, 'x')"), 9702)
	if o := run(t, c, "INSERT INTO entries (user_id, body) VALUES (7, 'x')"); o.code != 0 {
		t.Errorf("another column: %v", o)
	}
	wantCode(t, "twice", run(t, c, "INSERT INTO entries (user_id, title) VALUES (8, 'x'), (8, 'x')"), 1062)
}

// TestAwayRotation: what was sealed to the public key of before a rotation opens, and is found, after it.
func TestAwayRotation(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	c, owner := r.with(t, "", "8"), r.with(t, "", "7")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title) VALUES (1, 7, 'x')")
	mustExec(t, owner, "CALL latchkey.rotate(7)")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title) VALUES (2, 7, 'x')")
	wantRows(t, "both", run(t, owner, "SELECT id, title FROM entries WHERE title = 'x' ORDER BY id"), "1|x", "2|x")
	wantRows(t, "the owner is forgotten", run(t, owner, "SELECT COUNT(*) FROM entries"), "2")
	fields(t, owner, "CALL latchkey.forget(7)")
	wantCode(t, "the owner is forgotten", run(t, c, "INSERT INTO entries (user_id, title) VALUES (7, 'x')"), 9702)
}

// TestAwayConcurrently: one session writes for an owner without a pause while two of the owner's search; a search never
// misses what was there when it began.
func TestAwayConcurrently(t *testing.T) {
	r := newAwayTwin(t, "7", "8")
	writer := r.with(t, "", "8")
	owners := []*sql.Conn{r.with(t, "", "7"), r.with(t, "", "7")}
	var mu sync.Mutex
	written := 0
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		defer close(done)
		for i := range 150 {
			if _, err := writer.ExecContext(context.Background(), "INSERT INTO entries (user_id, title) VALUES (7, 'x')"); err != nil {
				t.Errorf("write %d: %v", i, err)
				return
			}
			mu.Lock()
			written++
			mu.Unlock()
		}
	}()
	for i, c := range owners {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				mu.Lock()
				least := written
				mu.Unlock()
				var n int
				query := "SELECT COUNT(*) FROM entries WHERE title = 'x'"
				if i == 1 {
					query += " FOR UPDATE"
				}
				err := c.QueryRowContext(context.Background(), query).Scan(&n)
				if code := mariadbtest.Code(err); err != nil && code != int(backendDeadlock) {
					t.Errorf("search: %v", err)
					return
				}
				if err == nil && n < least {
					t.Errorf("a search found %d rows, at least %d were there", n, least)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		}()
	}
	group.Wait()
	wantRows(t, "afterwards", run(t, owners[0], "SELECT COUNT(*) FROM entries WHERE title = 'x'"), "150")
	r.sealedFor(t, "afterwards")
}
