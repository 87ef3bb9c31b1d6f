package proxy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// wantCode runs a statement that must fail.
func wantCode(t *testing.T, what string, o outcome, code int) {
	t.Helper()
	if o.code != code {
		t.Errorf("%s: %v, want error %d", what, o, code)
	}
	for _, secret := range []string{"LK1-0", "LK1-8", "nonsense", "secret", "first", "ff4c4b", "\xffLK", `\xFFLK`} {
		if strings.Contains(o.message, secret) {
			t.Errorf("%s: the message holds %q", what, secret)
		}
	}
}

func wantRows(t *testing.T, what string, o outcome, rows ...string) {
	t.Helper()
	if o.code != 0 || fmt.Sprint(o.rows) != fmt.Sprint(rows) {
		t.Errorf("%s: %v, want rows %v", what, o, rows)
	}
}

func TestCellsOfOthersStayLockedAndStayAsTheyAre(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		t.Run(fmt.Sprintf("prepared %v", prepared), func(t *testing.T) {
			tw := newTwin(t, nil)
			alice, bob, nobody := tw.session(t, 'A', ""), tw.session(t, 'B', ""), tw.session(t, 0, "")
			mustExec(t, alice, "INSERT INTO entries (id, user_id, title, body) VALUES (1, 1, 'first', 'secret')")
			mustExec(t, bob, "INSERT INTO entries (id, user_id, title) VALUES (2, 2, 'first')")
			before := tw.raw(t, "SELECT id, HEX(title), HEX(body) FROM entries ORDER BY id")
			id := func(query string) (string, []any) {
				if prepared {
					return strings.Replace(query, "id = 1", "id = ?", 1), []any{1}
				}
				return query, nil
			}
			read, args := id("SELECT title FROM entries WHERE id = 1")
			wantRows(t, "alice reads", run(t, alice, read, args...), "first")
			wantCode(t, "bob reads", run(t, bob, read, args...), 9702)
			wantCode(t, "nobody reads", run(t, nobody, read, args...), 9701)
			wantRows(t, "bob finds", run(t, bob, "SELECT id, title FROM entries WHERE title = 'first'"), "2|first")
			for _, write := range []string{
				"UPDATE entries SET title = 'x' WHERE id = 1",
				"UPDATE IGNORE entries SET title = 'x' WHERE id = 1",
				"UPDATE entries SET title = NULL WHERE id = 1",
			} {
				query, args := id(write)
				wantCode(t, "bob: "+write, run(t, bob, query, args...), 9702)
				if got := run(t, nobody, query, args...); got.code != 9701 && got.code != 9702 {
					t.Errorf("nobody: %s: %v, want error 9701 or 9702", write, got)
				}
			}
			for _, write := range []string{
				"INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'x') ON DUPLICATE KEY UPDATE title = VALUES(title)",
				"INSERT IGNORE INTO entries (id, user_id, title) VALUES (1, 1, 'x') ON DUPLICATE KEY UPDATE title = 'y'",
				"REPLACE INTO entries (id, user_id, title) VALUES (1, 1, 'x')",
			} {
				wantCode(t, "bob: "+write, run(t, bob, write), 9702)
			}
			if after := tw.raw(t, "SELECT id, HEX(title), HEX(body) FROM entries ORDER BY id"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Error("refused statements changed the table")
			}
		})
	}
}

// TestErrorInsideRows: rows that were sent before the locked one have gone; the client then gets the error and the
// connection stays usable.
func TestErrorInsideRows(t *testing.T) {
	tw := newTwin(t, nil)
	alice, bob := tw.session(t, 'A', ""), tw.session(t, 'B', "")
	for i := range 20 {
		c := alice
		if i == 15 {
			c = bob
		}
		mustExec(t, c, "INSERT INTO entries (user_id, title, body) VALUES (1, 'title', ?)", strings.Repeat("b", 5000))
	}
	wantCode(t, "all rows", run(t, alice, "SELECT id, title, body FROM entries ORDER BY id"), 9702)
	wantRows(t, "after it", run(t, alice, "SELECT COUNT(*) FROM entries WHERE title = 'title'"), "19")
	wantCode(t, "all rows, prepared", run(t, alice, "SELECT id, title, body FROM entries WHERE id > ? ORDER BY id", 0), 9702)
	wantRows(t, "after it", run(t, alice, "SELECT COUNT(*) FROM entries WHERE title = ?", "title"), "19")
}

func TestLockedPolicies(t *testing.T) {
	tw := newTwin(t, nil)
	policy := twinPolicy(t)
	policy["entries"].Columns["title"].Locked = rewrite.Locked{Mode: rewrite.LockedText, Text: "***"}
	policy["entries"].Columns["body"].Locked = rewrite.Locked{Mode: rewrite.LockedNull}
	tw.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: policy}})
	alice, bob, nobody := tw.session(t, 'A', ""), tw.session(t, 'B', ""), tw.session(t, 0, "")
	mustExec(t, alice, "INSERT INTO entries (id, user_id, title, body, amount) VALUES (1, 1, 'first', 'secret', 2)")
	for _, c := range []struct {
		name string
		conn *sql.Conn
		row  string
	}{{"alice", alice, "first|secret"}, {"bob", bob, "***|<nil>"}, {"nobody", nobody, "***|<nil>"}} {
		wantRows(t, c.name, run(t, c.conn, "SELECT title, body FROM entries"), c.row)
		wantRows(t, c.name+", prepared", run(t, c.conn, "SELECT title, body FROM entries WHERE id = ?", 1), c.row)
	}
	wantCode(t, "bob reads another column", run(t, bob, "SELECT amount FROM entries"), 9702)
}

// TestDamagedCells flips every byte of a cell, cuts it at every length and moves it.
func TestDamagedCells(t *testing.T) {
	tw := newTwin(t, nil)
	conn := tw.session(t, 'A', "")
	other := tw.session(t, 'B', "")
	mustExec(t, conn, "INSERT INTO entries (id, user_id, title, body) VALUES (1, 1, 'first', 'secret'), (2, 1, 'second', 'third')")
	mustExec(t, conn, "INSERT INTO notes (id, text) VALUES (1, 'note')")
	mustExec(t, other, "INSERT INTO entries (id, user_id, body) VALUES (3, 1, 'other')")
	good := tw.raw(t, "SELECT title FROM entries WHERE id = 1")[0][0]
	read := func(what string, allowed ...int) {
		t.Helper()
		for _, query := range []string{"SELECT title FROM entries WHERE id = 1", "SELECT title FROM entries WHERE id = 1 AND ? = 1"} {
			var args []any
			if strings.Contains(query, "?") {
				args = []any{1}
			}
			o := run(t, conn, query, args...)
			ok := false
			for _, code := range allowed {
				ok = ok || o.code == code
			}
			if !ok {
				t.Fatalf("%s: %v, want one of the errors %v", what, o, allowed)
			}
		}
	}
	store := func(cell string) {
		t.Helper()
		if _, err := tw.server.DB().Exec("UPDATE "+tw.sealed+".entries SET title = ? WHERE id = 1", []byte(cell)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(good) {
		damaged := []byte(good)
		damaged[i] ^= 1
		store(string(damaged))
		// A changed key id names a key that is not here.
		read(fmt.Sprintf("byte %d flipped", i), 9703, 9702)
		store(good[:i])
		read(fmt.Sprintf("cut to %d bytes", i), 9703, 9702)
	}
	store("plaintext")
	read("plaintext", 9703)
	for _, from := range []string{"entries WHERE id = 2", "notes WHERE id = 1"} {
		column := "body"
		if strings.HasPrefix(from, "notes") {
			column = "text"
		}
		store(tw.raw(t, "SELECT "+column+" FROM "+from)[0][0])
		read("the cell of "+from, 9703)
	}
	store(tw.raw(t, "SELECT body FROM entries WHERE id = 3")[0][0])
	read("another user's cell", 9702)
	store(good)
	wantRows(t, "restored", run(t, conn, "SELECT title FROM entries WHERE id = 1"), "first")
}

func TestTwoKeysWithoutOwnerAreReadOnly(t *testing.T) {
	tw := newTwin(t, nil)
	ctx := context.Background()
	alice, bob := tw.session(t, 'A', ""), tw.session(t, 'B', "")
	mustExec(t, alice, "INSERT INTO entries (id, user_id, title) VALUES (1, 1, 'first')")
	mustExec(t, bob, "INSERT INTO entries (id, user_id, title) VALUES (2, 2, 'first')")
	if _, err := alice.ExecContext(ctx, "CALL latchkey.add_key('"+testKey(t, 'B')+"')"); err != nil {
		t.Fatal(err)
	}
	wantRows(t, "both", run(t, alice, "SELECT id, title FROM entries WHERE title = 'first' ORDER BY id"), "1|first", "2|first")
	wantCode(t, "insert", run(t, alice, "INSERT INTO entries (user_id, title) VALUES (3, 'x')"), 9705)
	wantCode(t, "update, prepared", run(t, alice, "UPDATE entries SET title = ? WHERE id = 1", "x"), 9705)
	if o := run(t, alice, "INSERT INTO notes (id, text, mail) VALUES (1, 'x', 'y')"); o.code != 9705 {
		t.Errorf("insert into a table with a user key: %v", o)
	}
	if o := run(t, alice, "UPDATE entries SET n = 1 WHERE title = 'first'"); o.code != 0 || o.affected != 2 {
		t.Errorf("update of other columns: %v, want 2 rows", o)
	}
}

// TestNullWhereNoneMayBe: in a lax sql_mode MariaDB stores the type's implicit default for it, which is a cell like any other.
// A prepared statement follows the mode of the moment.
func TestNullWhereNoneMayBe(t *testing.T) {
	tw := newTwin(t, nil)
	c := tw.session(t, 'A', "")
	mustExec(t, c, "INSERT INTO notes (id, text) VALUES (1, 'first')")
	update := prepare(t, c, "UPDATE notes SET text = ? WHERE id = ?")
	ctx := context.Background()
	for _, s := range []struct {
		mode string
		code int
	}{{"DEFAULT", 1048}, {"''", 0}, {"'STRICT_ALL_TABLES'", 1048}, {"'TRADITIONAL'", 1048}, {"''", 0}} {
		mustExec(t, c, "SET sql_mode = "+s.mode)
		if _, err := update.ExecContext(ctx, nil, 1); mariadbtest.Code(err) != s.code {
			t.Errorf("prepared, sql_mode %s: %v, want error %d", s.mode, err, s.code)
		}
		if o := run(t, c, "UPDATE notes SET text = NULL WHERE id = 1"); o.code != s.code {
			t.Errorf("text, sql_mode %s: %v, want error %d", s.mode, o, s.code)
		}
	}
	wantRows(t, "afterwards", run(t, c, "SELECT text FROM notes"), "")
	if stored := tw.raw(t, "SELECT LEFT(text, 3) = x'ff4c4b' FROM notes"); len(stored) != 1 || stored[0][0] != "1" {
		t.Errorf("stored %v, want a cell", stored)
	}
}

// TestCopiedCells: two rows hold the same cell, byte for byte, and only one of them gets the value that it holds already.
func TestCopiedCells(t *testing.T) {
	tw := newTwin(t, nil)
	tables := twinPolicy(t)
	tables["entries"].Columns["body"] = &rewrite.ColumnPolicy{Type: mustType(t, "varchar(100)"), Context: "shared"}
	tables["entries"].Columns["title"] = &rewrite.ColumnPolicy{Type: mustType(t, "varchar(100)"), Context: "shared"}
	tw.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: tables}})
	c := tw.session(t, 'A', "")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title, body) VALUES (1, 1, 'a', 'a'), (2, 1, 'a', 'b')")
	tw.server.Exec(t, "UPDATE "+tw.sealed+".entries x, "+tw.sealed+".entries y SET x.title = y.title WHERE x.id = 2 AND y.id = 1")
	if o := run(t, c, "UPDATE entries SET title = body"); o.code != 0 {
		t.Fatal(o)
	}
	wantRows(t, "afterwards", run(t, c, "SELECT title FROM entries ORDER BY id"), "a", "b")
}

// TestRaise: the guard in the statement itself holds where a cell came to be after the old cells were read, in every
// sql_mode and under IGNORE, and the error it raises is known again.
func TestRaise(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	column := testColumn(t)
	mine, theirs := testKeyset(t, 'A'), testKeyset(t, 'B')
	cellOf := func(k *keyset) []byte {
		b, err := (&sealer{keys: k}).seal(nil, column, rowOwner{}, []byte("old"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pool := server.Open(t, db)
	pool.SetMaxOpenConns(1)
	exec := func(query string, args ...any) error {
		_, err := pool.Exec(query, args...)
		return err
	}
	if err := exec("CREATE TABLE t (id INT PRIMARY KEY, title VARBINARY(400))"); err != nil {
		t.Fatal(err)
	}
	plan := &rewrite.Plan{Class: rewrite.Sealed, Edits: []rewrite.Edit{{From: 5, To: 5, Pieces: []rewrite.Piece{
		{Kind: rewrite.PieceAssign, Column: column, Left: "title", Values: []rewrite.Value{literalAt(5)}, Old: -1}}}}}
	const text = "UPDATE t SET title = 'new' WHERE id IN (1, 2)"
	for _, mode := range []string{"DEFAULT", "''", "'ANSI'", "'TRADITIONAL'", "'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE'", "'ORACLE'"} {
		for _, verb := range []string{"UPDATE", "UPDATE IGNORE"} {
			for _, c := range []struct {
				second []byte
				raises bool
			}{{cellOf(theirs), true}, {cellOf(mine), false}, {nil, false}, {[]byte{}, false}} {
				if err := exec("SET sql_mode = " + mode); err != nil {
					t.Fatal(err)
				}
				if err := exec("REPLACE INTO t VALUES (1, ?), (2, ?)", cellOf(mine), c.second); err != nil {
					t.Fatal(err)
				}
				r := testRenderer(t, renderText, mine, text, plan)
				if err := r.statement(0, len(text)); err != nil {
					t.Fatal(err)
				}
				err := exec(verb + string(r.out[len("UPDATE"):]))
				var e *mysql.MySQLError
				if errors.As(err, &e); (e != nil) != c.raises || e != nil && scrubError(wire.ERR{Code: e.Number, Message: e.Message}).Code != codeLocked {
					t.Errorf("%s in mode %s over %x: %v, want it to raise: %v", verb, mode, c.second, err, c.raises)
				}
			}
		}
	}
}
