package proxy

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// rowsTwin is a twin whose table entries has owners, with a keystore that knows some of them.
type rowsTwin struct {
	*ownerTwin
	tokens, ids map[string]string // by owner
}

func newRowsTwin(t *testing.T, owners ...string) *rowsTwin {
	t.Helper()
	r := &rowsTwin{ownerTwin: newOwnerTwin(t), tokens: map[string]string{}, ids: map[string]string{}}
	r.policy(t, func(*rewrite.TablePolicy) {})
	for _, owner := range owners {
		c := r.at(t, r.proxy, "root")
		f := fields(t, c, "CALL latchkey.enroll(?, 'password')", owner)
		r.ids[owner], r.tokens[owner] = f[1], f[2]
		_ = c.Close()
	}
	return r
}

// policy sets the policy of the table entries.
func (r *rowsTwin) policy(t *testing.T, change func(entries *rewrite.TablePolicy)) {
	t.Helper()
	tables := twinPolicy(t)
	tables["entries"].Owner = "user_id"
	change(tables["entries"])
	r.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{r.sealed: tables}})
}

// with opens a connection that has the owners unlocked.
func (r *rowsTwin) with(t *testing.T, params string, owners ...string) *sql.Conn {
	t.Helper()
	c := r.session(t, 0, params)
	for _, owner := range owners {
		mustExec(t, c, "CALL latchkey.add_key('"+r.tokens[owner]+"')")
	}
	return c
}

// sealedFor checks that every cell of the table entries is under the key of its row's owner, and of kind a where away says so.
func (r *rowsTwin) sealedFor(t *testing.T, what string) {
	t.Helper()
	for _, column := range []string{"title", "body", "amount"} {
		rows := r.raw(t, "SELECT id, user_id, LOWER(HEX(SUBSTRING("+column+",IF(SUBSTRING("+column+",4,1)='t',25,9),8))) FROM entries WHERE LENGTH("+column+") > 0")
		for _, row := range rows {
			if want := r.ids[row[1]]; row[2] != want {
				t.Errorf("%s: %s of row %s is under key %s, want that of owner %s, %s", what, column, row[0], row[2], row[1], want)
			}
		}
	}
}

// alike runs a statement on both twins and compares all that a client sees, and the table afterwards.
func (r *rowsTwin) alike(t *testing.T, plain, sealed *sql.Conn, query string, args ...any) {
	t.Helper()
	want, got := run(t, plain, query, args...), run(t, sealed, query, args...)
	if got.String() != want.String() {
		t.Fatalf("%s %v:\ngot  %v\nwant %v", shorten(query), args, got, want)
	}
	const all = "SELECT id, user_id, n, title, body, amount, changed FROM entries ORDER BY id"
	want, got = run(t, plain, all), run(t, sealed, all)
	if fmt.Sprint(got.rows) != fmt.Sprint(want.rows) {
		t.Fatalf("after %s %v:\ngot  %v\nwant %v", shorten(query), args, got, want.rows)
	}
	r.sealedFor(t, query)
}

// TestRowsOfSeveralOwners writes rows of two owners over one connection, in all forms of statement, and compares with the
// plaintext twin: values, affected rows, and under whose key each cell is.
func TestRowsOfSeveralOwners(t *testing.T) {
	r := newRowsTwin(t, "7", "8")
	for _, params := range []string{"", "interpolateParams=true", "clientFoundRows=true"} {
		plain, sealed := r.direct(t, params), r.with(t, params, "7", "8")
		r.alike(t, plain, sealed, "DELETE FROM entries")
		for _, s := range []struct {
			query string
			args  []any
		}{
			{"INSERT INTO entries (id, user_id, title, body) VALUES (1, 7, 'a', 'x'), (2, 8, 'a', NULL), (3, '7', 'b', ''), (4, 8, 'c', 'y')", nil},
			{"INSERT INTO entries (id, user_id, title, amount) VALUES (?, ?, ?, ?), (?, ?, ?, ?)", []any{5, 8, "d", "1.50", 6, "7", "d", nil}},
			{"INSERT INTO entries SET title = ?, user_id = ?, id = 7", []any{"e", 8}},
			{"REPLACE INTO entries (id, user_id, title) VALUES (7, 8, 'e'), (6, 8, 'd'), (8, 7, 'f')", nil},
			{"UPDATE entries SET title = 'a' WHERE id < 4", nil},
			{"UPDATE entries SET title = ?, n = 5 WHERE id <= ?", []any{"same", 5}},
			{"UPDATE entries SET title = ?, body = ? WHERE id > ? ORDER BY id LIMIT 4", []any{"same", nil, 2}},
			{"UPDATE entries SET body = 'z' WHERE title = 'same' AND user_id = 8", nil},
			{"UPDATE entries SET title = 'nothing' WHERE id = 99", nil},
			{"UPDATE entries e JOIN entries f ON f.id = e.id + 1 SET e.title = 'joined', e.amount = 3 WHERE f.user_id = 8", nil},
			{"INSERT INTO entries (id, user_id, title) VALUES (1, 7, 'up'), (2, 8, 'up'), (20, 8, 'new') ON DUPLICATE KEY UPDATE title = VALUES(title), changed = changed + 1", nil},
			{"INSERT INTO entries (id, user_id, title) VALUES (?, ?, ?), (?, ?, ?) ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), title = VALUES(title)", []any{1, 7, "up", 21, 8, "other"}},
			{"INSERT INTO entries (id, user_id, title) VALUES (1, 7, 'x'), (2, 8, 'x') ON DUPLICATE KEY UPDATE body = 'literal'", nil},
			{"INSERT INTO entries (id, user_id, title) SELECT 30, 7, 'selected'", nil},
			{"INSERT INTO entries (user_id, title, body) SELECT user_id, title, body FROM entries WHERE id <= 2", nil},
			// Rows that get another owner, or the one they have.
			{"UPDATE entries SET user_id = 8 WHERE id = 1", nil},
			{"UPDATE entries SET user_id = ?, title = ?, n = 1 WHERE id IN (?, ?)", []any{7, "moved", 1, 2}},
			{"UPDATE entries SET title = 'moved', body = NULL, amount = 4, user_id = '8' WHERE id = 2", nil},
			{"UPDATE entries SET user_id = 7 WHERE user_id = 7", nil},
			{"UPDATE entries SET user_id = 8, changed = 3 WHERE user_id IN (7, 8)", nil},
			{"UPDATE entries SET user_id = 7 ORDER BY id LIMIT 3", nil},
			{"SELECT id, title FROM entries WHERE title = 'moved' ORDER BY id", nil},
			{"DELETE FROM entries WHERE title = 'selected'", nil},
		} {
			r.alike(t, plain, sealed, s.query, s.args...)
		}
	}
}

// TestRowsOfOthers: what cannot be sealed for its owner is an error, and changes nothing.
func TestRowsOfOthers(t *testing.T) {
	r := newRowsTwin(t, "7", "8", "9")
	other, c := r.with(t, "", "9"), r.with(t, "", "7", "8")
	mustExec(t, other, "INSERT INTO entries (id, user_id, title, body) VALUES (9, 9, 'nine', 'x'), (10, 9, NULL, NULL)")
	mustExec(t, c, "INSERT INTO entries (id, user_id, title, body) VALUES (7, 7, 'seven', 'x'), (8, 8, 'eight', 'y')")
	content := func() string {
		return fmt.Sprint(r.raw(t, "SELECT id, user_id, n, HEX(title), HEX(body) FROM entries ORDER BY id"))
	}
	before := content()
	for _, s := range []struct {
		code  int
		query string
		args  []any
	}{
		{9702, "INSERT INTO entries (user_id, title) VALUES (9, 'x')", nil},
		{9702, "INSERT INTO entries (user_id, title) VALUES (7, 'x'), (9, 'x')", nil},
		{9702, "INSERT INTO entries (user_id, title) VALUES (?, ?)", []any{"9", "x"}},
		{9702, "INSERT INTO entries (user_id, title) VALUES (1000, 'x')", nil},
		{9705, "INSERT INTO entries (user_id, title) VALUES (3 + 4, 'x')", nil},
		{9705, "INSERT INTO entries (user_id, title) VALUES (7.2, 'x')", nil},
		{9705, "INSERT INTO entries (user_id, title) VALUES (NULL, 'x')", nil},
		{9705, "INSERT INTO entries (title) VALUES ('x')", nil},
		{9705, "INSERT INTO entries (user_id, title) SELECT n, 'x' FROM entries", nil},
		{9702, "UPDATE entries SET title = 'x'", nil},
		{9702, "UPDATE entries SET title = ? WHERE id > ?", []any{"x", 7}},
		{9702, "UPDATE entries SET title = 'x' WHERE id = 10", nil},
		{9702, "UPDATE entries SET user_id = 9 WHERE id = 7", nil},
		{9702, "UPDATE entries SET user_id = ? WHERE id = ?", []any{7, 9}},
		{9705, "UPDATE entries SET user_id = user_id + 1 WHERE id = 7", nil},
		{9702, "UPDATE IGNORE entries SET user_id = 8, title = 'x' WHERE id >= 8", nil},
		{9702, "INSERT INTO entries (id, user_id, title) VALUES (8, 7, 'x') ON DUPLICATE KEY UPDATE title = VALUES(title)", nil},
		{9702, "INSERT INTO entries (id, user_id, title) VALUES (8, 7, 'x') ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)", nil},
		{9702, "INSERT INTO entries (id, user_id, title) VALUES (10, 7, 'x') ON DUPLICATE KEY UPDATE title = VALUES(title)", nil},
		{9702, "INSERT INTO entries (id, user_id, title) VALUES (10, 7, 'x') ON DUPLICATE KEY UPDATE title = 'y'", nil},
		{9705, "INSERT INTO entries (id, user_id, title) SELECT 8, 7, 'x' ON DUPLICATE KEY UPDATE title = VALUES(title)", nil},
		{9702, "REPLACE INTO entries (id, user_id, title) VALUES (9, 7, 'x')", nil},
		{9702, "REPLACE INTO entries (id, user_id, title) VALUES (7, 9, 'x')", nil},
	} {
		wantCode(t, s.query, run(t, c, s.query, s.args...), s.code)
		if after := content(); after != before {
			t.Fatalf("%s changed the table", s.query)
		}
	}
	nobody := r.session(t, 0, "")
	wantCode(t, "without a key", run(t, nobody, "INSERT INTO entries (user_id, title) VALUES (7, 'x')"), 9701)
	wantCode(t, "without a key", run(t, nobody, "UPDATE entries SET title = 'x' WHERE id = 10"), 9701)
	// A table without an owner column.
	wantCode(t, "another table", run(t, c, "INSERT INTO notes (id, text) VALUES (1, 'x')"), 9705)
	if o := run(t, c, "INSERT INTO entries (user_id, n) VALUES (9, 5)"); o.code != 0 {
		t.Errorf("a row without cells: %v", o)
	}
}

// TestAccountKeysAndOwners: an account key of which nobody knows whose it is seals as the only key on the keyring, but not
// for an owner of whom the keystore knows better; one that is registered is its owner's.
func TestAccountKeysAndOwners(t *testing.T) {
	r := newRowsTwin(t, "7")
	c := r.session(t, 'A', "")
	for _, query := range []string{
		"INSERT INTO entries (id, user_id, title) VALUES (1, 100, 'x'), (2, 101, 'y')",
		"INSERT INTO entries (id, user_id, title) VALUES (3, 50 + 50, 'z')",
		"UPDATE entries SET title = 'v'",
		"UPDATE entries SET user_id = 102 WHERE id = 1",
		"INSERT INTO entries (id, user_id, title) VALUES (1, 102, 'w') ON DUPLICATE KEY UPDATE title = VALUES(title), user_id = VALUES(user_id)",
	} {
		if o := run(t, c, query); o.code != 0 {
			t.Errorf("%s: %v", query, o)
		}
	}
	wantRows(t, "afterwards", run(t, c, "SELECT id, title FROM entries ORDER BY id"), "1|w", "2|v", "3|v")
	wantCode(t, "a row of an owner with another key", run(t, c, "INSERT INTO entries (user_id, title) VALUES (7, 'x')"), 9702)
	if f := fields(t, c, "CALL latchkey.register(200)"); f[0] != "200" {
		t.Errorf("register: %v", f)
	}
	mustExec(t, c, "INSERT INTO entries (id, user_id, title) VALUES (6, 201, 'of an owner whom the keystore does not know')")
	wantCode(t, "a row of an owner with another key", run(t, c, "INSERT INTO entries (user_id, title) VALUES (7, 'x')"), 9702)
	// Another connection, with a second key that nobody knows.
	d := r.session(t, 'B', "")
	mustExec(t, d, "CALL latchkey.add_key('"+testKey(t, 'A')+"')")
	mustExec(t, d, "CALL latchkey.add_key('"+r.tokens["7"]+"')")
	mustExec(t, d, "INSERT INTO entries (id, user_id, title) VALUES (4, 200, 'two'), (5, 7, 'seven')")
	wantCode(t, "a row of nobody's", run(t, d, "INSERT INTO entries (user_id, title) VALUES (300, 'x')"), 9702)
	wantRows(t, "the registered owner", run(t, c, "SELECT title FROM entries WHERE id = 4"), "two")
	wantRows(t, "the enrolled owner", run(t, r.with(t, "", "7"), "SELECT title FROM entries WHERE title = 'seven'"), "seven")
	r.ids["200"] = strings.Split(run(t, c, "CALL latchkey.status()").rows[0], "|")[2]
	if got := r.raw(t, "SELECT LOWER(HEX(SUBSTRING(title,25,8))) FROM entries WHERE id = 4")[0][0]; got != r.ids["200"] {
		t.Errorf("the registered owner's row is under key %s, want %s", got, r.ids["200"])
	}
}

// TestRowsThatComeBetween: the statement itself fails at a row that came to be after the old cells were read and is not of
// an owner whom it was rendered for, in every form of assignment.
func TestRowsThatComeBetween(t *testing.T) {
	r := newRowsTwin(t)
	column := &rewrite.Protected{Database: r.sealed, Table: "entries", Column: "body", Context: "entries.body",
		Type: mustType(t, "text character set utf8mb4"), Nullable: true, Owner: "user_id", Capacity: 1000}
	keys := testKeyset(t, 'A')
	keys.owners, keys.enrolls, keys.ctx = r.proxy.owners, true, t.Context()
	const stored = "CAST(`user_id`+0 AS BINARY)"
	one := rewrite.Value{Kind: rewrite.ValueLiteral, Token: 5}
	for name, piece := range map[string]rewrite.Piece{
		"assignment": {Kind: rewrite.PieceAssign, Values: []rewrite.Value{one}, Old: 0,
			Owner: &rewrite.RowOwner{Value: rewrite.Value{Kind: rewrite.ValueUnknown, Token: -1}, Stored: stored, Old: 1}},
		"move": {Kind: rewrite.PieceMove, Old: 0, Owner: &rewrite.RowOwner{Type: mustType(t, "int"), Value: rewrite.Value{Kind: rewrite.ValueLiteral, Token: 9}, Stored: stored, Old: 1}},
	} {
		piece.Column, piece.Left = column, "body"
		const text = "UPDATE entries SET body = 'new' WHERE user_id = 7"
		plan := &rewrite.Plan{Class: rewrite.Sealed, Edits: []rewrite.Edit{{From: 5, To: 5, Pieces: []rewrite.Piece{piece}}}}
		for _, there := range []string{"8", "NULL"} {
			for _, verb := range []string{"UPDATE", "UPDATE IGNORE"} {
				r.server.Exec(t, "USE "+r.sealed+"; ALTER TABLE entries MODIFY user_id INT; DELETE FROM entries; "+
					"INSERT INTO entries (id, user_id, body) VALUES (1, "+there+", x'FF4C4B63010000000102030405060708000000000000000000000000000000000000000000000000000000000000')")
				renderer := testRenderer(t, renderText, keys, text, plan)
				renderer.old.owners = [][]rowOwner{{{name: "7", known: true}}}
				if err := renderer.statement(0, len(text)); err != nil {
					t.Fatal(err)
				}
				out := strings.Replace(strings.Replace(string(renderer.out), "UPDATE entries", verb+" "+r.sealed+".entries", 1), "user_id = 7", "id = 1", 1)
				_, err := r.server.DB().Exec(out)
				var e *mysql.MySQLError
				if !errors.As(err, &e) || scrubError(wire.ERR{Code: e.Number, Message: e.Message}).Code != codeLocked {
					t.Errorf("%s, %s over a row of %s: %v, want it to raise", name, verb, there, err)
				}
			}
		}
	}
}

// TestOwnerColumnTypes: whatever a value is written as, the row is sealed for the owner whom MariaDB stores, or not written.
func TestOwnerColumnTypes(t *testing.T) {
	r := newRowsTwin(t, "7", "8", "-7", "127", "0", "abc", "ABC", "ab", "a b", "7.0", "007", "\u00e9", "123e4567-e89b-12d3-a456-426614174000")
	definitions := []string{"INT", "TINYINT", "SMALLINT UNSIGNED ZEROFILL", "BIGINT", "BIGINT UNSIGNED", "VARCHAR(36)", "CHAR(36)", "VARCHAR(2)",
		"VARCHAR(36) CHARACTER SET latin1", "TEXT", "VARBINARY(36)", "BINARY(3)", "UUID", "DECIMAL(5,1)", "DOUBLE", "ENUM('7','8','abc')", "DATE", "BIT(8)"}
	literals := []string{"7", "8", "'7'", "' 7'", "'7 '", "7.0", "6.5", "7e0", "-7", "'-7'", "+7", "007", "'007'", "0x37", "x'37'", "b'111'", "TRUE", "300", "'300'", "-300",
		"'abc'", "'ABC'", "'abc  '", "_latin1'abc'", "N'abc'", "'a' ' b'", "'\u00e9'", "_latin1 x'E9'", "''", "'abc7'", "'123E4567-E89B-12D3-A456-426614174000'", "DATE'2024-01-01'"}
	tables := twinPolicy(t)
	for i, definition := range definitions {
		name := fmt.Sprintf("o%d", i)
		r.server.Exec(t, "USE "+r.sealed, "CREATE TABLE "+name+" (id INT PRIMARY KEY AUTO_INCREMENT, o "+definition+", body VARBINARY(900)) DEFAULT CHARSET utf8mb4")
		tables[name] = &rewrite.TablePolicy{Owner: "o", Columns: map[string]*rewrite.ColumnPolicy{"body": {Type: mustType(t, "varchar(100)")}}}
	}
	r.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{r.sealed: tables}})
	var owners []string
	for owner := range r.tokens {
		owners = append(owners, owner)
	}
	sealed := 0
	for _, mode := range []string{"'STRICT_TRANS_TABLES'", "''", "'STRICT_TRANS_TABLES,PAD_CHAR_TO_FULL_LENGTH'"} {
		c := r.with(t, "", owners...)
		mustExec(t, c, "SET NAMES utf8mb4")
		mustExec(t, c, "SET sql_mode = "+mode)
		for i, definition := range definitions {
			table, stored := fmt.Sprintf("o%d", i), "CONVERT(o USING utf8mb4)"
			if strings.Contains(mode, "PAD") && !strings.Contains(definition, "CHAR") {
				continue
			}
			if strings.Contains(definition, "INT") {
				stored = "o+0" // without the zeros of ZEROFILL
			}
			for _, literal := range literals {
				if o := run(t, c, "INSERT INTO "+table+" (o, body) VALUES ("+literal+", 'x')"); o.code == 0 {
					// Sealed again for the owner who is stored, and then for the one that it has.
					for _, update := range []string{"SET body = 'y'", "SET o = o, body = 'z'", "SET o = " + literal} {
						if o := run(t, c, "UPDATE "+table+" "+update); o.code != 0 && o.code != 9705 {
							t.Errorf("%s %s, mode %s: UPDATE %s: %v", definition, literal, mode, update, o)
						}
					}
				}
				for _, row := range r.raw(t, "SELECT "+stored+", LOWER(HEX(SUBSTRING(body,9,8))) FROM "+table) {
					if r.ids[row[0]] != row[1] {
						t.Errorf("%s %s, mode %s: the row of %q is under key %s, want %s", definition, literal, mode, row[0], row[1], r.ids[row[0]])
					}
					sealed++
				}
				r.server.Exec(t, "DELETE FROM "+r.sealed+"."+table)
			}
		}
	}
	if sealed < 250 {
		t.Errorf("only %d rows were written", sealed)
	}
}
