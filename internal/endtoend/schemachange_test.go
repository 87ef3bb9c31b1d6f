package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
)

// TestSchemaChangesByOthers changes the tables past the proxy under statements that are planned and prepared. Every answer
// is right or an error, and what is written through Latchkey is never stored open.
func TestSchemaChangesByOthers(t *testing.T) {
	changes := []struct{ name, change, back string }{
		{"a column is added in front", "ALTER TABLE ledger ADD COLUMN extra VARCHAR(50) DEFAULT 'x' FIRST", "ALTER TABLE ledger DROP COLUMN extra"},
		{"the columns change places", "ALTER TABLE ledger MODIFY n INT AFTER body", "ALTER TABLE ledger MODIFY n INT AFTER id"},
		{"a column is dropped", "ALTER TABLE ledger DROP COLUMN n", "ALTER TABLE ledger ADD COLUMN n INT AFTER id"},
		{"tables change names", "RENAME TABLE ledger TO aside, open TO ledger, aside TO open", "RENAME TABLE ledger TO aside, open TO ledger, aside TO open"},
		{"protected columns change names", "ALTER TABLE ledger RENAME COLUMN title TO aside; ALTER TABLE ledger RENAME COLUMN body TO title; ALTER TABLE ledger RENAME COLUMN aside TO body",
			"ALTER TABLE ledger RENAME COLUMN title TO aside; ALTER TABLE ledger RENAME COLUMN body TO title; ALTER TABLE ledger RENAME COLUMN aside TO body"},
		{"a column takes a protected one's name", "ALTER TABLE ledger RENAME COLUMN body TO aside, ADD COLUMN body TEXT", "ALTER TABLE ledger DROP COLUMN body, RENAME COLUMN aside TO body"},
		{"an open table takes its place", "RENAME TABLE ledger TO aside; CREATE TABLE ledger LIKE open", "DROP TABLE ledger; RENAME TABLE aside TO ledger"},
		{"a view takes the table's name", "RENAME TABLE ledger TO aside; CREATE VIEW ledger AS SELECT id, n, body AS title, title AS body FROM aside", "DROP VIEW ledger; RENAME TABLE aside TO ledger"},
		{"a trigger copies the row", "CREATE TRIGGER copies AFTER INSERT ON ledger FOR EACH ROW INSERT INTO later VALUES (NEW.id, NEW.n)", "DROP TRIGGER copies"},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			server := mariadbtest.Shared(t)
			l := newLedger(t, server, "")
			ctx := context.Background()
			conn := l.proxy.Conn(t, l.db, "", l.key)
			m := newMark("value")
			mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'one', 'one body')")
			mustExec(t, conn, "INSERT INTO open VALUES (1, 1, 'open', 'open body')")
			prepared := map[string]*sql.Stmt{}
			for _, stmt := range []string{
				"INSERT INTO ledger (id, title, body) VALUES (?, ?, ?)", "INSERT INTO ledger VALUES (?, 1, ?, ?)", "UPDATE ledger SET title = ?, body = ?",
				"SELECT * FROM ledger WHERE id = ?", "SELECT title, body FROM ledger WHERE id = ?", "SELECT id FROM ledger WHERE title = ?",
			} {
				p, err := conn.PrepareContext(ctx, stmt)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				prepared[stmt] = p
			}
			use := func() {
				for i, text := range []string{
					"INSERT INTO ledger (id, title, body) VALUES (%d, '" + m.text + "', '" + m.text + "')", "INSERT INTO ledger VALUES (%d, 1, '" + m.text + "', '" + m.text + "')",
					"REPLACE INTO ledger (id, title, body) VALUES (%d, '" + m.text + "', '" + m.text + "')", "UPDATE ledger SET title = '" + m.text + "', body = '" + m.text + "' WHERE id <> %d",
				} {
					run(conn, wayText, fmt.Sprintf(text, 100+i), nil)
				}
				prepared["INSERT INTO ledger (id, title, body) VALUES (?, ?, ?)"].ExecContext(ctx, 200, m.text, m.text)
				prepared["INSERT INTO ledger VALUES (?, 1, ?, ?)"].ExecContext(ctx, 201, m.text, m.text)
				prepared["UPDATE ledger SET title = ?, body = ?"].ExecContext(ctx, m.text, m.text)
				for stmt, p := range prepared {
					if strings.HasPrefix(stmt, "SELECT") {
						rows, err := p.QueryContext(ctx, 1)
						l.noCells(t, stmt, rows, err)
					}
				}
				for _, stmt := range []string{"SELECT * FROM ledger", "SELECT title, body FROM ledger", "SELECT a.* FROM ledger a", "SELECT * FROM open", "SELECT * FROM later"} {
					rows, err := conn.QueryContext(ctx, stmt)
					l.noCells(t, stmt, rows, err)
				}
			}
			use()
			server.Exec(t, "USE "+l.db+"; "+c.change)
			if strings.HasPrefix(c.name, "tables") {
				// The name that was open a moment ago.
				run(conn, wayText, "INSERT INTO open (id, title, body) VALUES (300, '"+m.text+"', '"+m.text+"')", nil)
			}
			use()
			stored := dump(t, server, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '"+l.db+"' AND TABLE_TYPE = 'BASE TABLE'")
			if at, encoding, found := m.find(stored); found {
				t.Errorf("a value is stored open (%s): %.160q", encoding, stored[max(0, at-80):])
			}
			server.Exec(t, "USE "+l.db+"; "+c.back)
			// The schema is read anew a moment later, and the statements are answered again.
			again := l.connAgain(t)
			var err error
			for range 500 {
				if _, err = again.ExecContext(ctx, "UPDATE ledger SET title = 'again', body = 'again body' WHERE id = 1"); err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err != nil {
				t.Errorf("after the tables are as they were: %v", err)
			}
			var title, body string
			if err := again.QueryRowContext(ctx, "SELECT title, body FROM ledger WHERE id = 1").Scan(&title, &body); err != nil || title != "again" || body != "again body" {
				t.Errorf("after the tables are as they were: got %q, %q, %v", title, body, err)
			}
		})
	}
}

// noCells reads rows to their end or error: no value may be a cell.
func (l *ledger) noCells(t *testing.T, what string, rows *sql.Rows, err error) {
	t.Helper()
	if err != nil {
		return
	}
	var a answer
	if err := a.read(rows); err != nil {
		return
	}
	for _, row := range a.Rows {
		for _, v := range row {
			if strings.Contains(v, `\xffLK`) || strings.Contains(v, "\xffLK") {
				t.Errorf("%s gives a cell: %.40s", what, v)
			}
		}
	}
}
