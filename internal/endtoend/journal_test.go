package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
)

// pushed tells the error of pushing a key from a connection of the application's login.
func (j *journal) pushed(t *testing.T, key string) int {
	t.Helper()
	conn := j.loginConn(t)
	defer conn.Close()
	return run(conn, wayPrepared, "SET @latchkey = ?", []any{key}).Code
}

// TestJournalWithPasswords keeps the journal of docs/keys.md in the model where the keystore has the users' keys.
func TestJournalWithPasswords(t *testing.T) {
	j := newJournal(t, "passwords")
	alice, bob, visitor := j.reader(t), j.reader(t), j.reader(t)
	j.secrets = []string{"correct horse battery", "bob's own password", "staple of alice", "alice's third one"}
	j.plain = []string{"alice@example.org", "bob@example.org"}
	first, second, third := j.secrets[0], j.secrets[2], j.secrets[3]

	code := alice.enter(t, "sign-up", "email", "alice@example.org", "new", first)
	if !strings.HasPrefix(code, "LKR1-") || !strings.HasPrefix(alice.cookie(t), "LKT1-") {
		t.Error("sign-up shows no recovery code, or the cookie is no token")
	}
	bob.enter(t, "sign-up", "email", "bob@example.org", "new", j.secrets[1])
	j.check(t, "sign-up")
	if status, _ := visitor.post(t, "sign-up", "email", "bob@example.org", "new", "mallory's"); status != http.StatusConflict {
		t.Errorf("a second sign-up under one address: status %d", status)
	}

	// The readers take turns on one connection.
	alice.write(t, "Rent of May", "Paid too late")
	bob.write(t, "Rent of May", "Cheap as ever")
	alice.write(t, "At dusk", "Planted some leeks")
	const aliceHas, bobHas = "Rent of May=Paid too late At dusk=Planted some leeks", "Rent of May=Cheap as ever"
	for range 2 {
		alice.wantEntries(t, "in turn", aliceHas)
		visitor.wantEntries(t, "without a key", out)
		bob.wantEntries(t, "in turn", bobHas)
	}
	if got := listed(alice.post(t, "find", "title", "Rent of May")); got != "Rent of May=Paid too late" {
		t.Errorf("the search gives %q", got)
	}
	j.check(t, "writing")

	// Another's token under the own session shows nothing.
	bobsToken := bob.cookie(t)
	alicesToken := alice.cookie(t)
	bob.bring(t, alicesToken)
	bob.wantEntries(t, "with another's token", out)
	bob.bring(t, bobsToken)
	bob.wantEntries(t, "with the own token", bobHas)

	// A new password: nothing in the tables changes, and what was signed in elsewhere is signed out.
	elsewhere := j.reader(t)
	elsewhere.enter(t, "sign-in", "email", "alice@example.org", "secret", first)
	elsewhere.wantEntries(t, "elsewhere", aliceHas)
	before := j.dump(t, j.sealed)
	alice.refused(t, "with a wrong password", "change", "secret", "wrong", "new", second)
	alice.enter(t, "change", "secret", first, "new", second)
	j.unchanged(t, "change of the password", before)
	j.check(t, "change of the password")
	alice.wantEntries(t, "after the change", aliceHas)
	elsewhere.wantEntries(t, "elsewhere, after the change", out)
	if got := j.pushed(t, alicesToken); got != 9708 {
		t.Errorf("the token from before the change gave %d, want 9708", got)
	}
	visitor.refused(t, "with the old password", "sign-in", "email", "alice@example.org", "secret", first)
	visitor.refused(t, "with an unknown address", "sign-in", "email", "nobody@example.org", "secret", first)

	// Sign-out ends the token wherever a copy of it is.
	alicesToken = alice.cookie(t)
	elsewhere.enter(t, "sign-in", "email", "alice@example.org", "secret", second)
	if status, _ := alice.post(t, "sign-out"); status != http.StatusUnauthorized {
		t.Errorf("sign-out leads to status %d", status)
	}
	if alice.cookie(t) != "" {
		t.Error("sign-out left the key's cookie")
	}
	alice.wantEntries(t, "after sign-out", out)
	elsewhere.wantEntries(t, "elsewhere, after sign-out", aliceHas)
	if got := j.pushed(t, alicesToken); got != 9708 {
		t.Errorf("the token after sign-out gave %d, want 9708", got)
	}
	token := elsewhere.cookie(t)
	elsewhere.bring(t, alicesToken)
	elsewhere.wantEntries(t, "with the token of before", out)
	elsewhere.bring(t, token)
	j.check(t, "sign-out")

	// A lost password.
	visitor.refused(t, "with a wrong code", "recover", "email", "alice@example.org", "secret", code[:5]+code, "new", third)
	before = j.dump(t, j.sealed)
	renewed := alice.enter(t, "recover", "email", "alice@example.org", "secret", strings.ToLower(code), "new", third)
	if renewed == code || !strings.HasPrefix(renewed, "LKR1-") {
		t.Error("recovery shows no new code")
	}
	j.unchanged(t, "recovery", before)
	j.check(t, "recovery")
	alice.wantEntries(t, "after recovery", aliceHas)
	elsewhere.wantEntries(t, "elsewhere, after recovery", out)
	visitor.refused(t, "with the code of before", "recover", "email", "alice@example.org", "secret", code, "new", second)
	visitor.refused(t, "with the password of before", "sign-in", "email", "alice@example.org", "secret", second)

	// Latchkey is started anew: PHP's connection is gone, the cookies are as good as before.
	j.proxy.Stop(t)
	j.proxy.Serve(t)
	j.connection = ""
	alice.wantEntries(t, "after a restart", aliceHas)
	bob.wantEntries(t, "after a restart", bobHas)
	j.check(t, "a restart")

	j.checkStolen(t, third, alice.cookie(t))

	// Deleting the account, with a backup of the rows put back.
	alice.refused(t, "with a wrong password", "delete", "secret", "wrong")
	alicesToken = alice.cookie(t)
	j.server.Exec(t, "CREATE TABLE "+j.keys+".kept AS SELECT * FROM "+j.sealed+".entries WHERE user_id = 1")
	if status, page := alice.post(t, "delete", "secret", third); status != http.StatusUnauthorized {
		t.Errorf("delete leads to status %d:\n%s", status, page)
	}
	if n := j.server.Query(t, "SELECT COUNT(*) FROM "+j.sealed+".entries WHERE user_id = 1")[0][0]; n != "0" {
		t.Errorf("%s entries are left", n)
	}
	j.check(t, "delete")
	j.server.Exec(t, "INSERT INTO "+j.sealed+".entries SELECT * FROM "+j.keys+".kept")
	alice.wantEntries(t, "after delete", out)
	if got := j.pushed(t, alicesToken); got != 9708 {
		t.Errorf("the token after delete gave %d, want 9708", got)
	}
	visitor.refused(t, "after delete", "sign-in", "email", "alice@example.org", "secret", third)
	j.nothingOpens(t, "CALL latchkey.unlock(?, ?)", 1, third)
	j.nothingOpens(t, "CALL latchkey.recover(?, ?, ?)", 1, renewed, "new")
	bob.wantEntries(t, "after alice is gone", bobHas)

	// Guessing is slowed down, and bob's own session is not.
	slowed := false
	for range 12 {
		_, page := visitor.post(t, "sign-in", "email", "bob@example.org", "secret", "a guess")
		slowed = slowed || strings.Contains(page, "Too many attempts")
	}
	if !slowed {
		t.Error("twelve guesses were all tried")
	}
	bob.wantEntries(t, "while somebody guesses", bobHas)

	// An error that the journal does not expect: PHP logs where it happened, and nothing that was written.
	bob.breaks = true
	j.plain = append(j.plain, "A title of no end")
	if status, _ := bob.post(t, "write", "title", strings.Repeat("A title of no end. ", 20), "body", "x"); status != http.StatusInternalServerError {
		t.Errorf("a title that is too long: status %d", status)
	}
	log := j.stderr.String()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log, "1406") && time.Now().Before(end); log = j.stderr.String() {
		time.Sleep(20 * time.Millisecond) // PHP answers before it logs
	}
	if !strings.Contains(log, "1406") {
		t.Error("PHP's log has no record of the error")
	}
	for _, text := range append(j.secrets, j.plain...) {
		if strings.Contains(log, text) {
			t.Errorf("PHP's log holds a text that begins with %.5s", text)
		}
	}
	visitor.wantEntries(t, "behind an error", out)
	bob.wantEntries(t, "behind an error", bobHas)
}

// nothingOpens calls a procedure that must not let user 1 in, and reads what is left of that user's rows.
func (j *journal) nothingOpens(t *testing.T, call string, args ...any) {
	t.Helper()
	conn := j.loginConn(t)
	defer conn.Close()
	if got := run(conn, wayPrepared, call, args); got.Code != 9707 {
		t.Errorf("%s after delete: error %d, want 9707", call, got.Code)
	}
	if got := run(conn, wayText, "SELECT title FROM entries WHERE user_id = 1", nil); got.Code != 9701 {
		t.Errorf("after %s entries are read with error %d, want 9701", call, got.Code)
	}
}

// loginConn is a connection of the application's login past the application.
func (j *journal) loginConn(t *testing.T) *sql.Conn {
	t.Helper()
	return loginConn(t, j.proxy.Address, j.sealed, j.login, "journal", "")
}

// checkStolen gives a copy of both databases to a thief who knows alice's password, and has a token of hers. Without the
// fleet secret nothing opens; with it everything would.
func (j *journal) checkStolen(t *testing.T, password, token string) {
	t.Helper()
	for name, fleet := range map[string]bool{"without the fleet secret": false, "with the fleet secret": true} {
		conn := j.stolen(t, fleet)
		unlocked := run(conn, wayPrepared, "CALL latchkey.unlock(?, ?)", []any{1, password})
		read := run(conn, wayText, "SELECT title FROM entries WHERE user_id = 1", nil)
		pushed := run(conn, wayPrepared, "SET @latchkey = ?", []any{token})
		conn.Close()
		if fleet && (unlocked.Code != 0 || len(read.Rows) != 2 || pushed.Code != 0) {
			t.Errorf("%s: %v, %v, %v; the copy is no good", name, unlocked, read, pushed)
		}
		if !fleet && (unlocked.Code != 9707 || read.Code != 9701 || pushed.Code != 9707) {
			t.Errorf("%s: unlock gave %d, reading %d, the token %d; want 9707, 9701, 9707", name, unlocked.Code, read.Code, pushed.Code)
		}
	}
}

// stolen copies both databases, without annotations, and opens a connection through a proxy over the copy that has the fleet
// secret of the journal or another.
func (j *journal) stolen(t *testing.T, fleet bool) *sql.Conn {
	t.Helper()
	entries, keys := j.server.NewDatabase(t), j.server.NewDatabase(t)
	for _, table := range []string{"meta", "owners", "slots", "attempts"} {
		j.server.Exec(t, fmt.Sprintf("CREATE TABLE %s.%s LIKE %s.%s; INSERT INTO %[1]s.%[2]s SELECT * FROM %[3]s.%[4]s", keys, table, j.keys, table))
	}
	j.server.Exec(t, fmt.Sprintf("CREATE TABLE %s.entries (id INT PRIMARY KEY, user_id INT NOT NULL, title VARBINARY(1200) NOT NULL, body MEDIUMBLOB NOT NULL)", entries),
		fmt.Sprintf("INSERT INTO %s.entries SELECT id, user_id, title, body FROM %s.entries", entries, j.sealed),
		fmt.Sprintf("GRANT SELECT ON %s.* TO %s@'127.0.0.1'", entries, j.login))
	thief := latchkeytest.Write(t, latchkeytest.Config{
		Server: j.server, Accounts: []string{j.login}, Keystore: "  database: " + keys + "\n" + cheapPasswords,
		Databases: "  " + entries + `:
    entries:
      columns:
        title: {type: "varchar(200) collate utf8mb4_bin not null", search: equality}
        body: {type: "text not null"}`,
	})
	if fleet {
		secret := readText(t, filepath.Join(j.proxy.Dir, "fleet.secret"))
		if err := os.WriteFile(filepath.Join(thief.Dir, "fleet.secret"), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		j.server.Exec(t, "DELETE FROM "+keys+".meta WHERE name = 'fleet'")
	}
	thief.Serve(t)
	return loginConn(t, thief.Address, entries, j.login, "journal", "")
}

// loginConn is a connection of a login, which ends when it is closed; params is appended to the DSN with its question mark.
func loginConn(t *testing.T, addr, db, login, password, params string) *sql.Conn {
	t.Helper()
	cfg, err := mysql.ParseDSN("@tcp(" + addr + ")/" + db + params)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Passwd = login, password
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxIdleConns(-1)
	t.Cleanup(func() { pool.Close() })
	conn, err := pool.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestJournalWithAccountKeys keeps the journal of docs/keys.md in the model where users keep their keys.
func TestJournalWithAccountKeys(t *testing.T) {
	j := newJournal(t, "account keys")
	alice, bob, visitor := j.reader(t), j.reader(t), j.reader(t)
	j.plain = []string{"alice@example.org", "bob@example.org"}
	key := alice.enter(t, "sign-up", "email", "alice@example.org")
	if !strings.HasPrefix(key, "LK1-") || alice.cookie(t) != key {
		t.Error("sign-up shows no account key, or the cookie is another")
	}
	bobsKey := bob.enter(t, "sign-up", "email", "bob@example.org")
	alice.write(t, "Rent of May", "Paid too late")
	bob.write(t, "Rent of May", "Cheap as ever")
	alice.write(t, "At dusk", "Planted some leeks")
	const aliceHas, bobHas = "Rent of May=Paid too late At dusk=Planted some leeks", "Rent of May=Cheap as ever"
	for range 2 {
		alice.wantEntries(t, "in turn", aliceHas)
		visitor.wantEntries(t, "without a key", out)
		bob.wantEntries(t, "in turn", bobHas)
	}
	if got := listed(alice.post(t, "find", "title", "Rent of May")); got != "Rent of May=Paid too late" {
		t.Errorf("the search gives %q", got)
	}
	j.check(t, "writing")
	j.nothingKept(t)

	bob.bring(t, key)
	bob.wantEntries(t, "with another's key", out)
	bob.bring(t, bobsKey)
	bob.wantEntries(t, "with the own key", bobHas)

	alice.post(t, "sign-out")
	if alice.cookie(t) != "" {
		t.Error("sign-out left the key's cookie")
	}
	alice.wantEntries(t, "after sign-out", out)
	visitor.refused(t, "with another's key", "sign-in", "email", "alice@example.org", "secret", bobsKey)
	visitor.refused(t, "with a mistyped key", "sign-in", "email", "alice@example.org", "secret", key[:len(key)-1])
	visitor.refused(t, "with an unknown address", "sign-in", "email", "nobody@example.org", "secret", key)
	visitor.refused(t, "without a key", "recover", "email", "alice@example.org", "secret", "x", "new", "y")
	if shown := alice.enter(t, "sign-in", "email", "alice@example.org", "secret", strings.ToLower(key)); shown != "" {
		t.Error("sign-in shows a key")
	}
	alice.wantEntries(t, "after sign-in", aliceHas)

	alice.refused(t, "with another's key", "change", "secret", bobsKey)
	alice.enter(t, "sign-in", "email", "alice@example.org", "secret", key)
	before := j.dump(t, j.sealed)
	renewed := alice.enter(t, "change", "secret", key)
	alice.wantEntries(t, "under a new key", aliceHas)
	visitor.refused(t, "with the key of before", "sign-in", "email", "alice@example.org", "secret", key)
	for _, row := range j.dump(t, j.sealed)["entries"] {
		// Bob's only row is the second.
		if kept := slices.Contains(before["entries"], row); kept != (row == before["entries"][1]) {
			t.Error("a new key left a row of alice as it was, or touched one of bob")
		}
	}
	conn := j.loginConn(t)
	for used, want := range map[string]int{key: 9702, renewed: 0, bobsKey: 9702} {
		mustExec(t, conn, "SET @latchkey = '"+used+"'")
		if got := run(conn, wayText, "SELECT title FROM entries WHERE user_id = 1", nil); got.Code != want {
			t.Errorf("reading past the journal gave %d, want %d", got.Code, want)
		}
	}
	mustExec(t, conn, "SET @latchkey = NULL")
	conn.Close()
	j.check(t, "a new key")

	alice.refused(t, "with another's key", "delete", "secret", bobsKey)
	alice.enter(t, "sign-in", "email", "alice@example.org", "secret", renewed)
	if status, page := alice.post(t, "delete", "secret", renewed); status != http.StatusUnauthorized {
		t.Errorf("delete leads to status %d:\n%s", status, page)
	}
	visitor.refused(t, "after delete", "sign-in", "email", "alice@example.org", "secret", renewed)
	if n := j.server.Query(t, "SELECT COUNT(*) FROM "+j.sealed+".entries WHERE user_id = 1")[0][0]; n != "0" {
		t.Errorf("%s entries are left", n)
	}
	bob.wantEntries(t, "after alice is gone", bobHas)
	j.check(t, "delete")
	j.nothingKept(t)
}

// nothingKept looks for traces of users in the keystore.
func (j *journal) nothingKept(t *testing.T) {
	t.Helper()
	for table, rows := range j.dump(t, j.keys) {
		if table != "meta" && len(rows) > 0 {
			t.Errorf("the keystore's table %s has %d rows", table, len(rows))
		}
	}
}
