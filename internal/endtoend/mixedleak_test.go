package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestMixedNamesNoPlaintext runs statements of every class over rows that hold plaintext, which MariaDB's general log then does not
// hold, nor the program's own: what is read is compared in the evaluator, and what is written is sealed.
func TestMixedNamesNoPlaintext(t *testing.T) {
	server := mariadbtest.Start(t)
	w := newMixedTwin(t, server)
	old, fresh, control := newMark("plaintext"), newMark("written"), newMark("control")
	server.Exec(t, "USE "+w.sealed+"; UPDATE notes SET title = '"+old.text+"', body = 'the "+old.text+"' WHERE id <> 5; UPDATE people SET mail = '"+old.text+"' WHERE id = 1",
		"SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON")
	server.Exec(t, "DO '"+control.text+"'")
	sealed := w.proxy.Conn(t, w.sealed, "", w.key)
	for _, stmt := range []string{
		"SELECT title, body FROM notes WHERE user_id = 7",
		"SELECT id FROM notes WHERE title = '" + old.text + "' AND user_id = 7",
		"SELECT id FROM notes WHERE title IN ('" + old.text + "', 'x') AND user_id = 7 AND body LIKE '%" + old.text + "%'",
		"SELECT DISTINCT title FROM notes WHERE user_id = 7 ORDER BY body",
		"SELECT a.id FROM people a JOIN people b ON a.mail = b.mail",
		"UPDATE notes SET title = '" + old.text + "' WHERE id = 1",
		"UPDATE notes SET title = '" + fresh.text + "' WHERE id = 2",
		"UPDATE notes SET title = '" + fresh.text + "' WHERE title = '" + old.text + "' AND user_id = 7 AND id = 3",
		"UPDATE notes SET body = CONCAT(body, '" + fresh.text + "') WHERE user_id = 7 AND title LIKE '" + old.text + "%'",
		"INSERT INTO notes (id, user_id, title) VALUES (4, 7, '" + old.text + "') ON DUPLICATE KEY UPDATE title = VALUES(title)",
		"INSERT INTO notes (id, user_id, title) VALUES (4, 7, 'x') ON DUPLICATE KEY UPDATE title = '" + old.text + "'",
		"REPLACE INTO notes (id, user_id, title, body) VALUES (6, 7, '" + old.text + "', '" + fresh.text + "')",
		"DELETE FROM notes WHERE title = '" + fresh.text + "' AND user_id = 7",
	} {
		for _, how := range []way{wayText, wayPrepared} {
			if a := run(sealed, how, stmt, nil); a.Code != 0 {
				t.Errorf("%v: %s: %s", how, strings.NewReplacer(old.text, "OLD", fresh.text, "NEW").Replace(stmt), a.Text)
			}
		}
	}
	var log bytes.Buffer
	for _, row := range server.Query(t, "SELECT argument FROM mysql.general_log") {
		log.WriteString(row[0] + "\n")
	}
	if _, _, found := control.find(log.Bytes()); !found {
		t.Error("the search does not find the control in the general log")
	}
	for name, content := range map[string][]byte{"the general log": log.Bytes(), "the program's log": []byte(w.proxy.Log())} {
		for _, m := range []*mark{old, fresh} {
			if at, encoding, found := m.find(content); found {
				t.Errorf("%s holds a mark (%s, as %s): %.300q", name, m.what, encoding, content[max(0, at-200):])
			}
		}
	}
	mixedIsSaid(t, w)
}

// mixedIsSaid looks for the count of plaintext and for one warning for each column.
func mixedIsSaid(t *testing.T, w *twin) {
	t.Helper()
	reply, err := http.Get("http://" + w.proxy.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	page, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(page); !strings.Contains(text, `latchkey_cells_total{result="plaintext"}`) || strings.Contains(text, `latchkey_cells_total{result="plaintext"} 0`) {
		t.Error("the metrics do not count plaintext")
	}
	for _, column := range []string{"notes.title", "notes.body", "people.mail"} {
		said := strings.Count(w.proxy.Log(), "plaintext was read from a column that is being converted\" column="+w.sealed+"."+column)
		if said != 1 {
			t.Errorf("the log warns of plaintext in %s %d times, want once:\n%s", column, said, w.proxy.Log())
		}
	}
}

// TestMixedKeys has readers and writers with no key, with one and with another: plaintext is everybody's, what is written is not.
func TestMixedKeys(t *testing.T) {
	w := newMixedTwin(t, mariadbtest.Shared(t))
	ctx := context.Background()
	nobody := w.proxy.Conn(t, w.sealed, "", "")
	owner := w.proxy.Conn(t, w.sealed, "", w.key)
	read := func(want string) {
		t.Helper()
		var title, body *string
		err := nobody.QueryRowContext(ctx, "SELECT title, body FROM notes WHERE id = 1").Scan(&title, &body)
		show := func(s *string) string {
			if s == nil {
				return "NULL"
			}
			return *s
		}
		got := show(title) + ", " + show(body)
		if err != nil {
			got = fmt.Sprint(mariadbtest.Code(err))
		}
		if got != want {
			t.Errorf("a reader without a key: got %s, want %s", got, want)
		}
	}
	read("rent, first")
	if a := run(nobody, wayText, "SELECT id FROM notes WHERE title = 'RENT' ORDER BY id", nil); a.Code != 0 || len(a.Rows) != 2 {
		t.Errorf("a search without a key: got %d %s and %v, want two rows", a.Code, a.Text, a.Rows)
	}
	if a := run(nobody, wayText, "UPDATE notes SET title = 'x' WHERE id = 1", nil); a.Code != 9701 {
		t.Errorf("a write without a key: got %d %s, want 9701", a.Code, a.Text)
	}
	read("rent, first")
	mustExec(t, owner, "UPDATE notes SET body = 'mine' WHERE id = 1")
	read("rent, NULL") // locked: null, for the cell alone
	mustExec(t, owner, "UPDATE notes SET title = 'mine' WHERE id = 1")
	read("9701")
	if a := run(nobody, wayText, "SELECT COUNT(*) FROM notes WHERE title LIKE '%o%'", nil); a.Code != 9701 {
		t.Errorf("a condition over plaintext and cells without a key: got %d %s, want 9701", a.Code, a.Text)
	}
	stranger := w.proxy.Conn(t, w.sealed, "", latchkeytest.NewAccountKey(t))
	for stmt, code := range map[string]int{
		"UPDATE notes SET title = 'theirs' WHERE id = 1": 9702, "UPDATE notes SET title = 'theirs' WHERE id = 6": 0,
		"REPLACE INTO notes (id, user_id, title) VALUES (1, 7, 'x')": 9702,
	} {
		if a := run(stranger, wayText, stmt, nil); a.Code != code {
			t.Errorf("another key: %s: got %d %s, want %d", stmt, a.Code, a.Text, code)
		}
	}
	// The row gets another owner: what is sealed is sealed anew, plaintext stays.
	mustExec(t, owner, "UPDATE notes SET user_id = 9 WHERE id IN (1, 2)")
	if a := run(owner, wayText, "SELECT title, body FROM notes WHERE user_id = 9 ORDER BY id", nil); fmt.Sprint(a.Rows) != `[["mine" "mine"] ["Food" NULL]]` {
		t.Errorf("rows of another owner: got %d %s %v", a.Code, a.Text, a.Rows)
	}
}

// TestMixedRefusals has what cannot be right while a column holds plaintext, and bytes that are no plaintext of it.
func TestMixedRefusals(t *testing.T) {
	w := newMixedTwin(t, mariadbtest.Shared(t))
	owner := w.proxy.Conn(t, w.sealed, "", w.key)
	w.server.Exec(t, "USE "+w.sealed+"; UPDATE notes SET amount = '1.5' WHERE id = 3; UPDATE notes SET title = x'FF4C4B', body = x'FF4C4B7A00' WHERE id = 4")
	for _, c := range []struct {
		stmt string
		code int
	}{
		{"INSERT INTO people (name, mail) SELECT name, mail FROM people", 9705},
		{"REPLACE INTO people (id, mail) SELECT id, CONCAT(mail, 'x') FROM people", 9705},
		{"UPDATE people SET mail = LOWER(mail)", 9705},
		{"UPDATE teams SET org = 1 WHERE id = 2", 9705},
		{"UPDATE teams SET org = org - 1 WHERE label = 'blue' AND org = 2", 9705},
		{"INSERT INTO teams (id, org) VALUES (2, 3) ON DUPLICATE KEY UPDATE org = VALUES(org)", 9705},
		{"INSERT INTO teams (org) VALUES (1)", 0},
		{"ALTER TABLE notes MODIFY title VARCHAR(60)", 9705},
		{"ALTER TABLE notes ALTER state SET DEFAULT 'x'", 9705},
		{"ALTER TABLE people CONVERT TO CHARACTER SET utf8mb4", 9705},
		{"ALTER TABLE notes ADD COLUMN plain INT", 0},
		{"SELECT amount FROM notes WHERE id = 3", 9703},
		{"SELECT id FROM notes WHERE amount > 0 AND id = 3", 9703},
		{"UPDATE notes SET amount = 2 WHERE id = 3", 9703},
		{"SELECT title FROM notes WHERE id = 4", 9703},
		{"SELECT body FROM notes WHERE id = 4", 9703},
	} {
		for _, how := range []way{wayText, wayPrepared} {
			if a := run(owner, how, c.stmt, nil); a.Code != c.code && (c.code != 0 || how == wayText) {
				t.Errorf("%v: %s: got error %d %s, want %d", how, c.stmt, a.Code, a.Text, c.code)
			}
		}
	}
}
