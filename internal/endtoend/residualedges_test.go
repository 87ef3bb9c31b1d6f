package endtoend

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// TestResidualInSystemDatabases: where the session's current database is one of the server's own, statements name their tables with
// theirs, and DATABASE() is the session's.
func TestResidualInSystemDatabases(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, db := range []string{"information_schema", "mysql", "performance_schema", "sys"} {
		plain, sealed := w.conns(t, "")
		mustExec(t, plain, "USE "+db)
		mustExec(t, sealed, "USE "+db)
		for _, how := range []way{wayText, wayPrepared} {
			for _, stmt := range []string{
				"SELECT id, UPPER(title), DATABASE() FROM %s.entries WHERE title LIKE 'a%%' ORDER BY id",
				"UPDATE %s.entries SET title = CONCAT(title, '!') WHERE body LIKE 'x'",
				"SELECT COUNT(*) FROM %s.entries e JOIN %[1]s.tags ON entry_id = e.id WHERE LENGTH(e.title) > 0",
			} {
				want, got := run(plain, how, fmt.Sprintf(stmt, w.plain), nil), run(sealed, how, fmt.Sprintf(stmt, w.sealed), nil)
				if fmt.Sprintf("%+v", want) != fmt.Sprintf("%+v", got) {
					t.Errorf("in %s, %v: %s\n got %+v\nwant %+v", db, how, stmt, got, want)
				}
			}
		}
	}
}

// TestWarningsAfterExplain: EXPLAIN ends the warnings of the statement before it.
func TestWarningsAfterExplain(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	_, sealed := w.conns(t, "")
	for _, before := range []string{"SELECT CAST('1x' AS INT) FROM tags LIMIT 1", "SELECT title + 0 FROM entries WHERE id = 1", "SELECT nothing FROM tags"} {
		for _, how := range []way{wayText, wayPrepared} {
			_ = run(sealed, wayText, before, nil)
			if got := run(sealed, how, "EXPLAIN SELECT id FROM entries WHERE title LIKE 'x'", nil); got.Code != 0 || len(got.Warnings) > 0 {
				t.Errorf("after %s: EXPLAIN: %d %s, warnings %v", before, got.Code, got.Text, got.Warnings)
			}
		}
	}
}

// executeFlags is executeRequest with cursor flags.
func executeFlags(statement uint32, flags byte, params ...param) []byte {
	p := executeRequest(statement, params...)
	p[5] = flags
	return p
}

// command4 is a command whose payload is the id of a statement.
func command4(c wire.Command, statement uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{byte(c)}, statement)
}

// TestResidualStatementCommands sends the commands of the protocol for prepared statements that the evaluator finishes.
func TestResidualStatementCommands(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, caps := range []wire.Capabilities{wireCaps, wireCaps | wire.CapDeprecateEOF} {
		c := newWireClient(t, w.proxy.Address, w.sealed, caps)
		c.must(t, "SET @latchkey = '"+w.key+"'")
		s := c.prepare(t, "SELECT id, UPPER(title) FROM entries WHERE body LIKE ? AND id < ? ORDER BY id").prepared
		if s.Params != 2 || s.Columns != 2 {
			t.Fatalf("%d parameters and %d columns, want 2 and 2", s.Params, s.Columns)
		}
		expect := func(what string, r result, rows, code int) {
			t.Helper()
			if len(r.rows) != rows || int(r.err.Code) != code {
				t.Errorf("%s: %d rows, error %d %s; want %d rows and %d", what, len(r.rows), r.err.Code, r.err.Message, rows, code)
			}
		}
		// A cursor is asked for: the result comes at once, which the protocol allows, and there is nothing to fetch then.
		expect("with a cursor", c.exchange(t, wire.ReplyExecute, executeFlags(s.Statement, 1, textParam("%"), intParam(9))), 4, 0)
		fetch := binary.LittleEndian.AppendUint32(command4(wire.ComStmtFetch, s.Statement), 10)
		expect("fetch", c.exchange(t, wire.ReplyFetch, fetch), 0, 1421)
		expect("with a scrolling cursor", c.exchange(t, wire.ReplyExecute, executeFlags(s.Statement, 4, textParam("%"), intParam(9))), 4, 0)
		// A value in pieces.
		for _, piece := range []string{"%fir", "st%"} {
			long := append(binary.LittleEndian.AppendUint16(command4(wire.ComStmtSendLong, s.Statement), 0), piece...)
			if err := c.Send(long); err != nil {
				t.Fatal(err)
			}
		}
		expect("long data", c.exchange(t, wire.ReplyExecute, executeRequest(s.Statement, param{wire.TypeVarString, []byte{}}, intParam(9))), 1, 0)
		expect("without it", c.exchange(t, wire.ReplyExecute, executeRequest(s.Statement, textParam("%"), intParam(9))), 4, 0)
		long := append(binary.LittleEndian.AppendUint16(command4(wire.ComStmtSendLong, s.Statement), 0), "%again%"...)
		if err := c.Send(long); err != nil {
			t.Fatal(err)
		}
		expect("reset", c.exchange(t, wire.ReplyStatus, command4(wire.ComStmtReset, s.Statement)), 0, 0)
		expect("after reset", c.exchange(t, wire.ReplyExecute, executeRequest(s.Statement, textParam("%first%"), intParam(9))), 1, 0)
		write := c.prepare(t, "UPDATE entries SET title = CONCAT(title, ?) WHERE body LIKE 'x'").prepared
		expect("write with a cursor", c.exchange(t, wire.ReplyExecute, executeFlags(write.Statement, 1, textParam(""))), 0, 0)
		if err := c.Send(command4(wire.ComStmtClose, s.Statement)); err != nil {
			t.Fatal(err)
		}
		expect("after close", c.exchange(t, wire.ReplyExecute, executeRequest(s.Statement, textParam("%"), intParam(9))), 0, 1243)
		expect("the session", c.query(t, "SELECT UPPER(title) FROM entries WHERE id = 1"), 1, 0)
	}
}

// TestResidualInMultiStatements mixes statements of all classes in one packet. The one that fails ends it.
func TestResidualInMultiStatements(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "?multiStatements=true")
	for _, stmt := range []string{
		"SELECT id FROM tags WHERE id = 1; SELECT UPPER(title) FROM entries ORDER BY id; SELECT title FROM entries WHERE title = 'alpha' ORDER BY id",
		"SELECT UPPER(title) FROM entries WHERE id = 1; SELECT LOWER(title) FROM entries WHERE id = 2; SELECT FOUND_ROWS()",
		"SELECT SQL_CALC_FOUND_ROWS LOWER(title) FROM entries ORDER BY title, id LIMIT 1; SELECT FOUND_ROWS()",
		"SELECT LOWER(title) FROM entries WHERE id = 1; SELECT nothing FROM entries WHERE body LIKE 'x'; SELECT UPPER(title) FROM entries WHERE id = 2",
		"SELECT title + 0 FROM entries WHERE id = 1; SHOW WARNINGS",
		"SELECT ';', UPPER(title) FROM entries WHERE id = 1 /* ; */; SELECT 2 # ;\n; SELECT LENGTH(title) FROM entries WHERE id = 1",
	} {
		same(t, plain, sealed, wayText, stmt)
	}
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "UPDATE entries SET title = CONCAT(title, '!') WHERE body LIKE 'x'; UPDATE entries SET amount = amount + 1 WHERE id < 3; DELETE FROM entries WHERE title LIKE 'Gam%'; INSERT INTO tags (id, entry_id) VALUES (70, 1)")
		mustExec(t, c, "START TRANSACTION; UPDATE entries SET amount = amount * 2 WHERE title LIKE 'a%'; SAVEPOINT a; UPDATE entries SET amount = amount * 2 WHERE title LIKE 'a%'; ROLLBACK TO a; COMMIT")
	}
	same(t, plain, sealed, wayText, "SELECT id, title, amount FROM entries ORDER BY id")
	w.onlyCells(t, "all")
}

// TestRoutinesOverProtectedTables: what runs in the backend sees cells, so routines that touch them are refused, before they run.
func TestRoutinesOverProtectedTables(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	w.server.Exec(t,
		"CREATE PROCEDURE "+w.sealed+".`reads`() SELECT UPPER(title) FROM "+w.sealed+".entries",
		"CREATE PROCEDURE "+w.sealed+".writes(IN n INT) UPDATE "+w.sealed+".entries SET mood = n WHERE title LIKE 'a%'",
		"CREATE PROCEDURE "+w.sealed+".outer_one() CALL "+w.sealed+".`reads`()",
		"CREATE FUNCTION "+w.sealed+".titles() RETURNS TEXT READS SQL DATA RETURN (SELECT GROUP_CONCAT(title) FROM "+w.sealed+".entries)",
		"CREATE PROCEDURE "+w.sealed+".harmless(IN n INT) SELECT n + 1")
	_, sealed := w.conns(t, "")
	waitFor(t, "the routines to be known", func() bool { return code(sealed, "CALL `reads`()") == 9704 })
	for _, stmt := range []string{"CALL writes(1)", "CALL outer_one()", "CALL " + w.sealed + ".`reads`()", "CALL /*! `reads` */ ()", "SELECT titles()", "SELECT id FROM entries WHERE titles() LIKE title",
		"SELECT UPPER(title), " + w.sealed + ".titles() FROM entries", "UPDATE entries SET title = CONCAT(title, titles())", "CALL harmless((SELECT MAX(LENGTH(title)) FROM entries))",
		"DO titles()", "SET @x = titles()"} {
		for _, how := range []way{wayText, wayPrepared} {
			if got := run(sealed, how, stmt, nil); got.Code != 9704 && got.Code != 9705 || !strings.Contains(got.Text, "Latchkey") {
				t.Errorf("%v: %s: got %d %s %v, want a refusal", how, stmt, got.Code, got.Text, got.Rows)
			}
		}
	}
	if got := run(sealed, wayText, "SELECT UPPER(title) FROM entries WHERE id = 1", nil); fmt.Sprint(got.Rows) != `[["ALPHA"]]` {
		t.Errorf("afterwards: %+v", got)
	}
}

// TestLockedRowsInResidualStatements: a cell whose key is not here follows the column's `locked:` in whatever reads it, and is never
// written.
func TestLockedRowsInResidualStatements(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".notes (id INT PRIMARY KEY, user_id INT, strict VARCHAR(50), hidden VARCHAR(50), masked VARCHAR(50), amount DECIMAL(8,2))",
		"CREATE TABLE "+db+".plain (id INT PRIMARY KEY, note_id INT)",
		"CREATE TABLE "+db+".copies (id INT PRIMARY KEY, masked VARCHAR(50))", "INSERT INTO "+db+".plain VALUES (1, 1), (2, 2), (3, 3)")
	p := latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + db + `:
    notes:
      columns:
        strict: {}
        hidden: {locked: "null"}
        masked: {locked: "(locked)"}
        amount: {locked: "null"}
    copies:
      columns:
        masked: {locked: "(locked)"}
`})
	ann, bob := p.Conn(t, db, "", latchkeytest.NewAccountKey(t)), p.Conn(t, db, "", latchkeytest.NewAccountKey(t))
	mustExec(t, ann, "INSERT INTO notes VALUES (1, 1, 'as', 'ah', 'am', 1.5), (2, 1, 'bs', 'bh', 'bm', 2.5)")
	mustExec(t, bob, "INSERT INTO notes VALUES (3, 2, 'cs', 'ch', 'cm', 3.5), (4, 2, NULL, NULL, NULL, NULL)")
	mustExec(t, ann, "INSERT INTO copies VALUES (1, 'one')")
	mustExec(t, bob, "INSERT INTO copies VALUES (2, 'two')")
	before := fmt.Sprint(server.Query(t, "SELECT * FROM "+db+".notes ORDER BY id"))
	for _, c := range []struct {
		stmt, want string
		code       int
	}{
		{"SELECT id FROM notes WHERE strict LIKE '%'", "rows that the statement needs and that are locked: 1; name the row's owner", 9702},
		{"SELECT MAX(strict) FROM notes GROUP BY user_id", "locked: 1;", 9702},
		{"SELECT COUNT(*) FROM plain JOIN notes n ON n.id = note_id WHERE LENGTH(strict) > 0", "locked: 1;", 9702},
		{"SELECT id FROM plain WHERE EXISTS (SELECT 1 FROM notes WHERE notes.id = note_id AND strict > 'a')", "locked: 1;", 9702},
		{"SELECT strict FROM notes UNION SELECT hidden FROM notes", "locked: 1;", 9702},
		{"UPDATE notes SET strict = CONCAT(strict, '!')", "", 9702},
		{"DELETE FROM notes WHERE strict LIKE 'a%'", "", 9702},
		{"UPDATE plain SET note_id = 9 WHERE id IN (SELECT id FROM notes WHERE strict LIKE '%')", "", 9702},
		{"SELECT MAX(strict) FROM notes WHERE user_id = 1 GROUP BY user_id", `["bs"]`, 0},
		{"SELECT GROUP_CONCAT(id ORDER BY id) FROM notes WHERE hidden IS NULL OR hidden LIKE 'z%'", `["3,4"]`, 0},
		{"SELECT GROUP_CONCAT(COALESCE(UPPER(hidden), '-') ORDER BY id) FROM notes", `["AH,BH,-,-"]`, 0},
		{"SELECT GROUP_CONCAT(COALESCE(masked, '-') ORDER BY id) FROM notes", `["am,bm,(locked),-"]`, 0},
		{"SELECT GROUP_CONCAT(id ORDER BY id) FROM notes WHERE masked LIKE '(lo%'", `["3"]`, 0},
		{"SELECT SUM(amount), COUNT(amount), AVG(amount) FROM notes", `["4.00" int64 2 "2.000000"]`, 0},
		{"SELECT id, SUM(amount) OVER (ORDER BY id) s FROM notes ORDER BY id DESC LIMIT 1", `[int64 4 "4.00"]`, 0},
		{"SELECT COUNT(DISTINCT masked) FROM notes", `[int64 3]`, 0},
		{"UPDATE notes SET hidden = CONCAT(COALESCE(hidden, 'x'), '!')", "", 9702},
		{"UPDATE notes SET masked = CONCAT(masked, '!')", "", 9702},
		{"UPDATE notes SET masked = 'new' WHERE hidden IS NULL AND masked LIKE '%'", "", 9702},
		{"DELETE FROM notes WHERE masked LIKE '(locked)'", "", 9702},
		{"UPDATE notes SET amount = COALESCE(amount, 0) + 1", "", 9702},
		{"DELETE FROM notes WHERE COALESCE(amount, 0) < 1", "", 9702},
		{"REPLACE INTO notes (id, masked) SELECT id, UPPER(masked) FROM notes WHERE id = 3", "", 9702},
		{"INSERT INTO copies (id, masked) SELECT id + 10, CONCAT(masked, '') FROM copies", "locked: 1;", 9702},
		{"INSERT INTO plain (id, note_id) SELECT id + 10, LENGTH(masked) > 0 FROM copies", "", 9705},
		{"UPDATE notes n JOIN copies c ON c.id = n.id SET n.masked = CONCAT(c.masked, '?') WHERE n.id = 2", "locked: 1;", 9702},
		{"UPDATE notes SET hidden = (SELECT MAX(masked) FROM copies) WHERE id = 1", "locked: 1;", 9702},
		{"DELETE FROM plain WHERE note_id IN (SELECT id FROM copies WHERE masked LIKE '(lo%')", "locked: 1;", 9702},
		{"SELECT GROUP_CONCAT(masked ORDER BY id) FROM copies", `["one,(locked)"]`, 0},
	} {
		for _, how := range []way{wayText, wayPrepared} {
			got := run(ann, how, c.stmt, nil)
			text := got.Text
			if c.code == 0 && len(got.Rows) == 1 {
				text = fmt.Sprint(got.Rows[0])
			}
			if got.Code != c.code || !strings.Contains(text, c.want) {
				t.Errorf("%v: %s: got %d %s %v, want %d with %q", how, c.stmt, got.Code, got.Text, got.Rows, c.code, c.want)
			}
		}
	}
	if after := fmt.Sprint(server.Query(t, "SELECT * FROM "+db+".notes ORDER BY id")); after != before {
		t.Error("a statement that was refused changed rows")
	}
	none := p.Conn(t, db, "", "")
	if got := run(none, wayText, "SELECT id FROM notes WHERE strict LIKE '%'", nil); got.Code != 9701 || !strings.Contains(got.Text, "locked: 3)") {
		t.Errorf("without a key: %d %s", got.Code, got.Text)
	}
}
