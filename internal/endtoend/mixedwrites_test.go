package endtoend

import (
	"context"
	"database/sql"
	"reflect"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const mixedTables = `
CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, code INT UNIQUE, title VARCHAR(50), body TEXT, amount DECIMAL(8,2) NOT NULL DEFAULT 1.00,
  state VARCHAR(10) NOT NULL DEFAULT 'new', touched TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE people (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), mail VARCHAR(50), UNIQUE KEY mail (mail)) DEFAULT CHARSET=latin1;
CREATE TABLE teams (id INT PRIMARY KEY AUTO_INCREMENT, org INT, label VARCHAR(50), UNIQUE KEY per_org (org, label)) DEFAULT CHARSET=latin1;
`

const mixedPolicy = `    notes:
      owner: user_id
      columns:
        title: {search: equality, plaintext: accept}
        body: {plaintext: accept, locked: null}
        amount: {plaintext: accept}
        state: {plaintext: accept}
    people:
      columns:
        mail: {key: "service:app", search: equality, plaintext: accept}
    teams:
      columns:
        label: {key: "service:app", search: equality, plaintext: accept}
`

var mixedRows = []string{
	"INSERT INTO notes (id, user_id, code, title, body, amount, state) VALUES (1, 7, 10, 'rent', 'first', 10.50, 'new'), (2, 7, 20, 'Food', NULL, -1, ''), (3, 7, NULL, NULL, '', 0, 'done'), " +
		"(4, 7, 40, '', 'x', 2.25, 'new'), (5, 8, 50, 'rent ', 'other', 3, 'new'), (6, 7, 60, 'fun', 'f', 4, 'new')",
	"INSERT INTO people (id, name, mail) VALUES (1, 'ann', 'ann@example.org'), (2, 'bob', NULL)",
	"INSERT INTO teams (id, org, label) VALUES (1, 1, 'blue'), (2, 2, 'blue')",
}

// newMixedTwin has tables that were filled before they were protected.
func newMixedTwin(t *testing.T, server *mariadbtest.Server) *twin {
	t.Helper()
	w := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(t, "USE "+db+";"+mixedTables)
		for _, stmt := range mixedRows {
			server.Exec(t, "USE "+db+"; SET timestamp = 1700000000;"+stmt)
		}
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + w.sealed + ":\n" + mixedPolicy})
	return w
}

// sameOn runs a statement on both sides and compares all that the client sees.
func (w *twin) sameOn(t *testing.T, plain, sealed *sql.Conn, how way, stmt string, args ...any) {
	t.Helper()
	got, want := run(sealed, how, stmt, args), run(plain, how, stmt, args)
	got.Text, want.Text = "", ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s\ngot  %+v\nwant %+v", how, stmt, got, want)
	}
}

// mixedWrites are statements over rows of which some hold plaintext. What they touch is sealed afterwards.
var mixedWrites = []string{
	"UPDATE notes SET title = 'home' WHERE id = 1",
	"UPDATE notes SET title = 'Food', body = 'b' WHERE id = 2",
	"UPDATE notes SET amount = 10.50, state = 'old' WHERE user_id = 7",
	"UPDATE notes SET body = NULL WHERE id IN (3, 4)",
	"UPDATE notes SET state = DEFAULT WHERE id = 4",
	"UPDATE notes SET amount = amount + 1, title = CONCAT(title, '!') WHERE user_id = 7 AND title LIKE '%o%'",
	"INSERT INTO notes (id, user_id, title) VALUES (1, 7, 'again') ON DUPLICATE KEY UPDATE title = VALUES(title)",
	"INSERT INTO notes (user_id, code, title, body) VALUES (7, 60, 'by code', 'y'), (7, 70, 'fresh', 'z') ON DUPLICATE KEY UPDATE title = VALUES(title), body = 'met'",
	"REPLACE INTO notes (id, user_id, code, title, body, amount) VALUES (6, 7, 60, 'replaced', NULL, 5)",
	"DELETE FROM notes WHERE title = 'replaced'",
	"UPDATE people SET name = 'Ann' WHERE mail = 'ANN@example.org'",
	"INSERT INTO people (name, mail) VALUES ('cyd', NULL)",
}

// TestMixedWrites writes over plaintext and compares affected rows, warnings and tables with plaintext.
func TestMixedWrites(t *testing.T) {
	for _, how := range []way{wayText, wayPrepared} {
		t.Run(how.String(), func(t *testing.T) {
			w := newMixedTwin(t, mariadbtest.Shared(t))
			plain, sealed := w.conns(t, "?time_zone=%27%2B00%3A00%27")
			for _, stmt := range mixedWrites {
				for _, c := range []*sql.Conn{plain, sealed} {
					if _, err := c.ExecContext(context.Background(), "SET timestamp = 1700000001"); err != nil {
						t.Fatal(err)
					}
				}
				w.sameOn(t, plain, sealed, how, stmt)
				for _, table := range []string{"notes", "people"} {
					w.sameOn(t, plain, sealed, wayText, "SELECT * FROM "+table+" ORDER BY id")
				}
			}
		})
	}
}

// TestMixedUnchanged writes values that are there already as plaintext: the row counts as unchanged, as MariaDB counts it, and the
// value is sealed all the same.
func TestMixedUnchanged(t *testing.T) {
	w := newMixedTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	for _, stmt := range []string{
		"UPDATE notes SET title = 'rent' WHERE id = 1",
		"UPDATE notes SET title = 'rent', amount = 10.50, state = 'new', body = 'first' WHERE id = 1",
		"UPDATE notes SET title = 'rent' WHERE user_id = 7",
		"UPDATE notes SET title = '' WHERE id = 4",
		"UPDATE notes SET state = '' WHERE id = 2",
		"UPDATE notes SET title = 'rent' WHERE title = 'rent' AND user_id = 7",
		"INSERT INTO notes (id, user_id, title) VALUES (1, 7, 'rent') ON DUPLICATE KEY UPDATE title = VALUES(title)",
		"INSERT INTO notes (id, user_id, title) VALUES (1, 7, 'rent'), (6, 7, 'fun'), (2, 7, 'food') ON DUPLICATE KEY UPDATE title = VALUES(title)",
		"INSERT INTO notes (id, user_id, title) VALUES (1, 7, 'x') ON DUPLICATE KEY UPDATE title = 'rent'",
		"REPLACE INTO notes VALUES (1, 7, 10, 'rent', 'first', 10.50, 'new', NULL)",
	} {
		for _, how := range []way{wayText, wayPrepared} {
			for _, begin := range []string{"DO 0", "START TRANSACTION"} {
				w.reset(t)
				w.sameOn(t, plain, sealed, wayText, "SET timestamp = 1700000002")
				w.sameOn(t, plain, sealed, wayText, begin)
				w.sameOn(t, plain, sealed, how, stmt)
				w.sameOn(t, plain, sealed, wayText, "COMMIT")
				w.sameOn(t, plain, sealed, wayText, "SELECT * FROM notes ORDER BY id")
				for _, column := range []string{"title", "state", "amount", "body"} {
					if !strings.Contains(stmt, column+" =") {
						continue
					}
					if rows := w.server.Query(t, "SELECT id FROM "+w.sealed+".notes WHERE id = 1 AND "+column+" < x'FF4C4B61'"); strings.Contains(stmt, "id = 1") && len(rows) > 0 {
						t.Errorf("%v: %s: column %s is not sealed", how, stmt, column)
					}
				}
			}
		}
	}
}

// reset gives the notes of both sides the rows that they had before anything was written.
func (w *twin) reset(t *testing.T) {
	t.Helper()
	for _, db := range []string{w.plain, w.sealed} {
		w.server.Exec(t, "USE "+db+"; CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM notes; DELETE FROM notes; INSERT INTO notes SELECT * FROM kept")
	}
}
