package endtoend

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestOwnersSurviveAKill: an owner who was enrolled through a program that is then killed unlocks through the next one, and
// the program writes neither password nor token into its log or the database.
func TestOwnersSurviveAKill(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100))")
	p := latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"},
		Keystore:  "  database: " + db + "_keys\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + db + ":\n    entries:\n      owner: user_id\n      columns:\n        title: {search: equality}",
	})
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+db+"_keys") })
	const password = "remarkable password"
	var owner, keyID, token, expires, code string
	c := p.Conn(t, db, "", "")
	row := c.QueryRowContext(context.Background(), "CALL latchkey.enroll(?, ?)", 7, password)
	if err := row.Scan(&owner, &keyID, &token, &expires, &code); err != nil {
		t.Fatal(err)
	}
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES (7, 'kept')")
	log := p.Log()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Close()
	p.Stop(t)
	p.Serve(t)
	for _, push := range []string{"SET @latchkey = '" + token + "'", "CALL latchkey.unlock('7', '" + password + "')", "CALL latchkey.recover('7', '" + code + "', 'new')"} {
		c := p.Conn(t, db, "", "")
		mustExec(t, c, push)
		var title string
		if err := c.QueryRowContext(context.Background(), "SELECT title FROM entries WHERE title = 'kept'").Scan(&title); err != nil || title != "kept" {
			t.Errorf("after a kill: %q, %v", title, err)
		}
	}
	log += p.Log()
	for _, secret := range []string{"remarkable", token[5:], code[5:]} {
		if strings.Contains(log, secret) {
			t.Error("the log holds a password, a token or a recovery code")
		}
	}
	if !strings.Contains(log, "procedure=enroll") || strings.Contains(log, "owner=7") {
		t.Error("the log lacks a record of the enrolment, or names the owner")
	}
}
