package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const mixedUniqueTables = `
CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), mail VARCHAR(100) NOT NULL, seen TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6),
  UNIQUE KEY mail (mail)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE teams (id INT PRIMARY KEY AUTO_INCREMENT, org INT, label VARCHAR(50), UNIQUE KEY per_org (org, label)) DEFAULT CHARSET=latin1;
CREATE TABLE tokens (id INT PRIMARY KEY AUTO_INCREMENT, raw VARBINARY(60) NOT NULL DEFAULT 'none', UNIQUE KEY raw (raw));
CREATE TABLE flags (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) DEFAULT 'plain', UNIQUE KEY name (name)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE loose (id INT PRIMARY KEY, mail VARCHAR(100), n INT NOT NULL DEFAULT 0, UNIQUE KEY mail (mail)) DEFAULT CHARSET=utf8mb4;
`

const mixedUniquePolicy = `    users:
      columns:
        mail: {key: "service:app", search: equality, plaintext: accept}
    teams:
      columns:
        label: {key: "service:app", search: equality, plaintext: accept}
    tokens:
      columns:
        raw: {key: "service:app", search: equality, plaintext: accept}
    flags:
      columns:
        name: {key: "service:app", search: equality, plaintext: accept}
    loose:
      columns:
        mail: {key: "service:app", search: equality, plaintext: accept}
`

// The first two addresses, and two of the tokens, are alike for longer than a search tag is.
var mixedUniqueRows = []string{
	"INSERT INTO users (id, name, mail) VALUES (1, 'one', 'christopher.mcdonald@one.example.org'), (2, 'two', 'christopher.mcdonald@two.example.org'), (3, 'ann', 'ann@example.org'), " +
		"(4, 'emile', 'Émile@example.org'), (5, 'none', ''), (6, 'bob', 'bob@example.org'), (7, 'cyd', 'cyd@example.org'), (8, 'dan', 'dan@example.org')",
	"INSERT INTO teams (id, org, label) VALUES (1, 1, 'blue'), (2, 2, 'blue'), (3, 1, 'red'), (4, NULL, 'red'), (5, 3, NULL)",
	"INSERT INTO tokens (id, raw) VALUES (1, x'FF4C4B7400000000000000000000000000000000AA'), (2, x'FF4C4B7400000000000000000000000000000000BB'), (3, 'ab'), (4, x'FF4C4B70'), (5, x'FF4C4B71'), (6, '')",
	"INSERT INTO flags (id) VALUES (1)",
	"INSERT INTO loose (id, mail) VALUES (1, 'ann@example.org')",
}

func newMixedUniqueTwin(t *testing.T, server *mariadbtest.Server, more ...string) *twin {
	t.Helper()
	w := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	for _, db := range []string{w.plain, w.sealed} {
		for _, stmt := range slices.Concat([]string{mixedUniqueTables}, mixedUniqueRows, more) {
			server.Exec(t, "SET NAMES utf8mb4; USE "+db+";"+stmt)
		}
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + w.sealed + ":\n" + mixedUniquePolicy})
	return w
}

// mixedUniqueWrites meet plaintext and cells that they equal, and such that they do not.
var mixedUniqueWrites = []string{
	// Sign-ups.
	"INSERT INTO users (name, mail) VALUES ('new', 'new@example.org')",
	"INSERT INTO users (name, mail) VALUES ('again', 'NEW@example.org')",
	"INSERT INTO users (name, mail) VALUES ('long', 'christopher.mcdonald@three.example.org')",
	"INSERT INTO users (name, mail) VALUES ('long', 'Christopher.McDonald@one.example.org')",
	"INSERT INTO users (name, mail) VALUES ('space', 'ann@example.org  ')",
	"INSERT INTO users (name, mail) VALUES ('accent', 'emile@example.org')",
	"INSERT INTO users (name, mail) VALUES ('empty', '')",
	"INSERT INTO users (name, mail) VALUES ('a', 'fresh1@example.org'), ('b', 'Bob@example.org'), ('c', 'fresh2@example.org')",
	"INSERT INTO users (name, mail) VALUES ('a', 'twice@example.org'), ('b', 'TWICE@example.org')",
	"INSERT IGNORE INTO users (name, mail) VALUES ('a', 'fresh3@example.org'), ('b', 'Cyd@example.org'), ('c', 'fresh4@example.org'), ('d', 'new@example.org')",
	"REPLACE INTO users (name, mail) VALUES ('dan 2', 'DAN@example.org')",
	"REPLACE INTO users (id, name, mail) VALUES (6, 'bob 2', 'cyd@example.org')",
	"INSERT INTO users (name, mail) VALUES ('x', 'christopher.mcdonald@two.example.org') ON DUPLICATE KEY UPDATE name = VALUES(name)",
	"INSERT INTO users (id, name, mail) VALUES (1, 'x', 'y@example.org') ON DUPLICATE KEY UPDATE mail = VALUES(mail)",
	"INSERT INTO users (id, name, mail) VALUES (2, 'x', 'z@example.org') ON DUPLICATE KEY UPDATE mail = 'Ann@example.org'",
	"UPDATE users SET mail = 'ANN@example.org' WHERE id = 3",
	"UPDATE users SET mail = 'ANN@example.org' WHERE id = 3",
	"UPDATE users SET mail = 'Ann@Example.org', name = 'x' WHERE id = 4",
	"UPDATE IGNORE users SET mail = 'ann@example.org' WHERE id IN (4, 5)",
	"UPDATE users SET name = 'still' WHERE mail = 'émile@example.org'",
	"DELETE FROM users WHERE mail = 'émile@example.org'",
	"INSERT INTO users (name, mail) VALUES ('emile', 'emile@example.org')",
	"INSERT INTO teams (org, label) VALUES (3, 'blue'), (NULL, 'blue'), (3, NULL)",
	"INSERT INTO teams (org, label) VALUES (2, 'Blue ')",
	"INSERT INTO teams (org, label) VALUES (2, 'red')",
	"INSERT INTO teams (org, label) VALUES (1, 'RED')",
	"INSERT IGNORE INTO teams (org, label) VALUES (1, 'blue'), (1, 'green')",
	"UPDATE teams SET label = 'blue' WHERE org = 1 AND id = 3",
	"UPDATE teams SET label = 'red' WHERE id = 2",
	"REPLACE INTO teams (org, label) VALUES (1, 'Blue')",
	"INSERT INTO teams (org, label) VALUES (1, 'red') ON DUPLICATE KEY UPDATE label = 'pink'",
	"INSERT INTO tokens (raw) VALUES (x'FF4C4B7400000000000000000000000000000000AA')",
	"INSERT INTO tokens (raw) VALUES (x'FF4C4B7400000000000000000000000000000000CC')",
	"INSERT INTO tokens (raw) VALUES (x'6162')",
	"INSERT INTO tokens (raw) VALUES (x'61622020')",
	"INSERT INTO tokens (raw) VALUES (x'FF4C4B70')",
	"INSERT INTO tokens (raw) VALUES (x'FF4C4B71')",
	"INSERT INTO tokens (raw) VALUES ('')",
	"INSERT INTO tokens (raw) VALUES ('none')",
	"INSERT INTO flags (name) VALUES ('other')",
	"INSERT INTO flags (name) VALUES ('PLAIN')",
	"INSERT INTO loose (id) VALUES (3), (4)",
}

// TestMixedUnique writes columns in UNIQUE keys while their rows hold plaintext, and compares answers and tables with plaintext.
func TestMixedUnique(t *testing.T) {
	for _, how := range []way{wayText, wayPrepared} {
		for _, begin := range []string{"DO 0", "START TRANSACTION"} {
			t.Run(how.String()+"/"+begin, func(t *testing.T) {
				w := newMixedUniqueTwin(t, mariadbtest.Shared(t))
				plain, sealed := w.conns(t, "?charset=utf8mb4&time_zone=%27%2B00%3A00%27")
				w.sameOn(t, plain, sealed, wayText, begin)
				w.sameOn(t, plain, sealed, wayText, "SELECT 1")
				for _, stmt := range mixedUniqueWrites {
					w.sameOn(t, plain, sealed, wayText, "SET timestamp = 1700000001")
					w.sameOn(t, plain, sealed, how, stmt)
					w.sameOn(t, plain, sealed, wayText, "SELECT LAST_INSERT_ID(), @@warning_count /* "+stmt+" */")
					if !strings.Contains(stmt, "IGNORE") {
						w.sameOn(t, plain, sealed, wayText, "SELECT FOUND_ROWS() /* "+stmt+" */")
					}
					for _, name := range []string{"users", "teams", "tokens", "flags", "loose"} {
						if strings.Contains(stmt, " "+name+" ") {
							w.sameOn(t, plain, sealed, wayText, "SELECT * FROM "+name+" ORDER BY id")
						}
					}
				}
				w.sameOn(t, plain, sealed, wayText, "COMMIT")
			})
		}
	}
}

// TestMixedUniqueParameters is a sign-up as frameworks send it: one prepared statement, executed again and again.
func TestMixedUniqueParameters(t *testing.T) {
	w := newMixedUniqueTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "?charset=utf8mb4")
	for _, mail := range []string{"a@example.org", "A@example.org", "ann@example.org", "christopher.mcdonald@one.example.org", "christopher.mcdonald@four.example.org", "Émile@example.org", ""} {
		w.sameOn(t, plain, sealed, wayPrepared, "INSERT INTO users (name, mail) VALUES (?, ?)", "x", mail)
		w.sameOn(t, plain, sealed, wayPrepared, "UPDATE users SET mail = ? WHERE id = ?", mail, 6)
		w.sameOn(t, plain, sealed, wayText, "SELECT id, name, mail FROM users ORDER BY id")
	}
}

// TestMixedUniqueWaits has a sign-up wait for a transaction that deletes the row with its value, or gives the value up, as a duplicate
// check does.
func TestMixedUniqueWaits(t *testing.T) {
	w := newMixedUniqueTwin(t, mariadbtest.Shared(t))
	for _, level := range []string{"REPEATABLE READ", "READ COMMITTED"} {
		for _, first := range []string{
			"DELETE FROM users WHERE id = 3", "UPDATE users SET mail = 'gone@example.org' WHERE id = 3", "UPDATE users SET id = 30 WHERE id = 3",
		} {
			for _, end := range []string{"COMMIT", "ROLLBACK"} {
				for _, db := range []string{w.plain, w.sealed} {
					w.server.Exec(t, "USE "+db+"; CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM users; DELETE FROM users; INSERT INTO users SELECT * FROM kept")
				}
				var answers [2]answer
				for side, open := range []func() *sql.Conn{
					func() *sql.Conn { plain, _ := w.conns(t, ""); return plain }, func() *sql.Conn { return w.proxy.Conn(t, w.sealed, "", w.key) },
				} {
					one, two := open(), open()
					for _, stmt := range []string{"SET SESSION TRANSACTION ISOLATION LEVEL " + level, "START TRANSACTION"} {
						for _, c := range []*sql.Conn{one, two} {
							if a := run(c, wayText, stmt, nil); a.Code != 0 {
								t.Fatal(a.Text)
							}
						}
					}
					run(two, wayText, "SELECT COUNT(*) FROM users", nil)
					if a := run(one, wayText, first, nil); a.Code != 0 {
						t.Fatalf("%s: %s", first, a.Text)
					}
					done := make(chan answer)
					go func() {
						done <- run(two, wayText, "INSERT INTO users (id, name, mail) VALUES (50, 'x', 'Ann@example.org')", nil)
					}()
					if a := run(one, wayText, end, nil); a.Code != 0 {
						t.Fatal(a.Text)
					}
					answers[side] = <-done
					answers[side].Text = ""
					run(two, wayText, "COMMIT", nil)
				}
				if answers[0].Code != answers[1].Code || answers[0].Affected != answers[1].Affected {
					t.Errorf("%s: %s, %s: got %+v, want %+v", level, first, end, answers[1], answers[0])
				}
			}
		}
	}
}

// TestMixedUniqueRaces has several connections sign up with the same addresses, of which some are there as plaintext, while other
// writes seal rows: each address is there once at the end.
func TestMixedUniqueRaces(t *testing.T) {
	const clients, tries = 4, 40
	w := newMixedUniqueTwin(t, mariadbtest.Shared(t))
	var wait sync.WaitGroup
	for n := range clients {
		c := w.proxy.Conn(t, w.sealed, "?charset=utf8mb4", w.key)
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			mails := []string{"ann@example.org", "Bob@example.org", "cyd@example.org", "christopher.mcdonald@one.example.org"}
			for i := range tries {
				mail := mails[r.IntN(len(mails))]
				if i%2 == 0 {
					mail = fmt.Sprintf("same%d@example.org", i/4)
				}
				stmt := "INSERT INTO users (name, mail) VALUES ('n', '" + mail + "')"
				switch r.IntN(4) {
				case 0:
					stmt = "INSERT IGNORE INTO users (name, mail) VALUES ('n', '" + mail + "')"
				case 1:
					stmt = "UPDATE users SET mail = '" + mail + "' WHERE id = " + fmt.Sprint(1+r.IntN(8))
				}
				switch a := run(c, wayText, stmt, nil); a.Code {
				case 0, 1062, 1213:
				default:
					t.Errorf("%s: %s", stmt, a.Text)
				}
			}
		})
	}
	wait.Wait()
	sealed := w.proxy.Conn(t, w.sealed, "?charset=utf8mb4", w.key)
	a := run(sealed, wayText, "SELECT mail, COUNT(*) FROM users GROUP BY mail HAVING COUNT(*) > 1", nil)
	if a.Code != 0 || len(a.Rows) > 0 {
		t.Errorf("addresses that are there more than once: %+v", a)
	}
}

// TestMixedUniqueSeals looks at what is stored: rows that equal what was written are cells, others are as they were, and no statement
// that MariaDB logged holds a value.
func TestMixedUniqueSeals(t *testing.T) {
	server := mariadbtest.Start(t)
	w := newMixedUniqueTwin(t, server)
	old, fresh, control := newMark("plaintext"), newMark("written"), newMark("control")
	server.Exec(t, "USE "+w.sealed+"; UPDATE users SET mail = '"+old.text[:min(len(old.text), 20)]+"' WHERE id = 3", "SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON", "DO '"+control.text+"'")
	sealed := w.proxy.Conn(t, w.sealed, "", w.key)
	value := old.text[:min(len(old.text), 20)]
	for _, how := range []way{wayText, wayPrepared} {
		if a := run(sealed, how, "INSERT INTO users (name, mail) VALUES ('x', '"+value+"')", nil); a.Code != 1062 || strings.Contains(a.Text, value) {
			t.Errorf("%v: got error %d, want 1062 without the value", how, a.Code)
		}
		run(sealed, how, "REPLACE INTO users (id, name, mail) VALUES (90, 'x', '"+fresh.text+"')", nil)
	}
	var log bytes.Buffer
	for _, row := range server.Query(t, "SELECT argument FROM mysql.general_log") {
		log.WriteString(row[0] + "\n")
	}
	if _, _, found := control.find(log.Bytes()); !found {
		t.Error("the search does not find the control in the general log")
	}
	for _, m := range []*mark{old, fresh} {
		if _, _, found := m.find(log.Bytes()); found {
			t.Errorf("the general log holds a mark (%s)", m.what)
		}
	}
	if bytes.Contains(log.Bytes(), []byte(value)) {
		t.Error("the general log holds the plaintext that was compared")
	}
	rows := server.Query(t, "SELECT id, LEFT(mail, 4) = x'FF4C4B74' FROM "+w.sealed+".users WHERE id IN (3, 6) ORDER BY id")
	if got := fmt.Sprint(rows); got != "[[3 1] [6 0]]" {
		t.Errorf("rows that are sealed: got %s, want the equal one only", got)
	}
}

// TestMixedUniqueRefusals asks for what cannot be compared with plaintext.
func TestMixedUniqueRefusals(t *testing.T) {
	w := newMixedUniqueTwin(t, mariadbtest.Shared(t))
	sealed := w.proxy.Conn(t, w.sealed, "", w.key)
	w.server.Exec(t, "USE "+w.sealed+"; CREATE TRIGGER counted BEFORE UPDATE ON loose FOR EACH ROW SET NEW.n = OLD.n + 1")
	mustExec(t, sealed, "ALTER TABLE loose COMMENT 'counted'")
	for _, stmt := range []string{
		"INSERT INTO loose (id, mail) VALUES (2, 'Ann@example.org')",
		"UPDATE teams SET org = 2 WHERE id = 1",
		"UPDATE users SET mail = CONCAT(mail, 'x') WHERE id = 1",
		"INSERT INTO flags () VALUES ()",
	} {
		for _, how := range []way{wayText, wayPrepared} {
			if a := run(sealed, how, stmt, nil); a.Code != 9705 {
				t.Errorf("%v: %s: got error %d %s, want 9705", how, stmt, a.Code, a.Text)
			}
		}
	}
	if _, err := sealed.ExecContext(context.Background(), "INSERT INTO loose (id, mail) VALUES (2, 'ann2@example.org')"); err != nil {
		t.Errorf("a value that is not there: %v", err)
	}
}

// TestMixedUniqueConversion signs up while rows are converted, closes the columns, and takes a half of it back.
func TestMixedUniqueConversion(t *testing.T) {
	w := newMixedUniqueTwin(t, mariadbtest.Start(t), "INSERT INTO users (name, mail) SELECT 'old', CONCAT('someone.with.a.long.name', seq, '@example.org') FROM seq_0_to_99")
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for n := range 2 {
		c := w.proxy.Conn(t, w.sealed, "?charset=utf8mb4", w.key)
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				old := fmt.Sprintf("INSERT INTO users (name, mail) VALUES ('n', 'Someone.With.A.Long.Name%d@example.org')", i*7%100)
				if a := run(c, wayText, old, nil); a.Code != 1062 {
					t.Errorf("%s: got %d %s, want 1062", old, a.Code, a.Text)
				}
				fresh := fmt.Sprintf("INSERT INTO users (name, mail) VALUES ('n', 'someone.with.a.long.name%d.%d@example.org')", n, i)
				if a := run(c, wayPrepared, fresh, nil); a.Code != 0 {
					t.Errorf("%s: got %d %s, want none", fresh, a.Code, a.Text)
				}
			}
		})
	}
	latchkeytest.Run(t, 0, "migrate", "encrypt", "--config", w.proxy.Config, "--table", w.sealed+".users", "--batch", "5", "--rate", "200")
	close(stop)
	wait.Wait()
	if rows := w.server.Query(t, "SELECT COUNT(*) FROM "+w.sealed+".users WHERE LEFT(mail, 4) <> x'FF4C4B74'"); rows[0][0] != "0" {
		t.Errorf("%s rows hold plaintext", rows[0][0])
	}
	// Back: the keys become ordinary ones first, since plaintext could not stand in them.
	unique := "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA='" + w.sealed + "' AND TABLE_NAME='teams' AND INDEX_NAME='per_org' AND NON_UNIQUE=0"
	if rows := w.server.Query(t, unique); rows[0][0] != "2" {
		t.Errorf("the key of teams is not UNIQUE while rows hold plaintext: %v", rows)
	}
	latchkeytest.Run(t, 3, "migrate", "decrypt", "--config", w.proxy.Config, "--table", w.sealed+".teams")
	if rows := w.server.Query(t, unique); rows[0][0] != "0" {
		t.Errorf("the key of teams is UNIQUE while rows are taken back: %v", rows)
	}
	latchkeytest.Run(t, 0, "migrate", "decrypt", "--config", w.proxy.Config, "--table", w.sealed+".teams")
	sealed := w.proxy.Conn(t, w.sealed, "", w.key)
	mustExec(t, sealed, "ALTER TABLE teams COMMENT 'taken back'")
	if a := run(sealed, wayText, "INSERT INTO teams (org, label) VALUES (9, 'blue')", nil); a.Code != 9705 {
		t.Errorf("a write while the key is an ordinary one: got %d %s, want 9705", a.Code, a.Text)
	}
	// And forth to the end.
	latchkeytest.Run(t, 0, "migrate", "encrypt", "--config", w.proxy.Config)
	latchkeytest.Run(t, 0, "migrate", "finish", "--config", w.proxy.Config, "--run")
	if rows := w.server.Query(t, unique); rows[0][0] != "2" {
		t.Errorf("the key of teams is not UNIQUE at the end: %v", rows)
	}
}

// TestMixedUniqueUndone takes columns back to what they were declared before anything was sealed: long values lose their marks.
func TestMixedUniqueUndone(t *testing.T) {
	w := newMixedUniqueTwin(t, mariadbtest.Start(t))
	latchkeytest.Run(t, 0, "migrate", "finish", "--config", w.proxy.Config, "--decrypted", "--run")
	for _, table := range []string{"users", "teams", "tokens", "flags"} {
		query := "SELECT * FROM %s." + table + " ORDER BY id"
		got, want := fmt.Sprint(w.server.Query(t, fmt.Sprintf(query, w.sealed))), fmt.Sprint(w.server.Query(t, fmt.Sprintf(query, w.plain)))
		if got != want {
			t.Errorf("%s: got %q, want %q", table, got, want)
		}
		created := func(db string) string { return w.server.Query(t, "SHOW CREATE TABLE "+db+"."+table)[0][1] }
		if got, want := created(w.sealed), created(w.plain); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", table, got, want)
		}
	}
}
