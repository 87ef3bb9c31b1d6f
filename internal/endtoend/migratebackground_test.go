package endtoend

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// plaintextOf counts the rows of an owner that hold plaintext in title or body.
func plaintextOf(t *testing.T, server *mariadbtest.Server, db string, owner int) int {
	t.Helper()
	rows := server.Query(t, fmt.Sprintf("SELECT COUNT(*) FROM %s.entries WHERE user_id = %d AND (LEFT(title, 3) <> x'ff4c4b' OR LEFT(body, 3) <> x'ff4c4b')", db, owner))
	n, err := strconv.Atoi(rows[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until a condition holds, for as long as a busy machine may take.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestMigrateInTheBackground has rows sealed by the sessions of owners who unlock: those of the owner, for as long as the key is
// there, and none while the table is on its way back.
func TestMigrateInTheBackground(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+db+"_keys") })
	const rows = 300
	server.Exec(t, "CREATE TABLE "+db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100) NOT NULL, body TEXT, KEY (user_id))",
		fmt.Sprintf("INSERT INTO %s.entries (user_id, title, body) SELECT 7 + seq %% 3, CONCAT('t', seq), IF(seq %% 10 = 0, NULL, CONCAT('b', seq)) FROM %s.seq_0_to_%d", db, db, 3*rows-1))
	p := latchkeytest.Write(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"}, Extra: "conversion: {rate: 100}\n",
		Keystore:  "  database: " + db + "_keys\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + db + ":\n    entries:\n      owner: user_id\n      columns:\n        title: {search: equality, plaintext: accept}\n        body: {plaintext: accept}",
	})
	latchkeytest.Run(t, 0, "migrate", "prepare", "--config", p.Config, "--run")
	p.Serve(t)
	enroll := func(owner int) {
		c := p.Conn(t, db, "", "")
		mustExec(t, c, fmt.Sprintf("CALL latchkey.enroll('%d', 'password %d')", owner, owner))
		mustExec(t, c, "SELECT 1")
		eventually(t, "rows are sealed", func() bool { return plaintextOf(t, server, db, owner) < rows })
		mustExec(t, c, "CALL latchkey.lock()")
		mustExec(t, c, "SELECT 1") // behind it the conversion has ended
		left := plaintextOf(t, server, db, owner)
		time.Sleep(300 * time.Millisecond)
		if now := plaintextOf(t, server, db, owner); now != left {
			t.Errorf("owner %d: the conversion went on behind lock: %d rows, then %d", owner, left, now)
		}
		if left == 0 {
			t.Errorf("owner %d: all rows were sealed before lock: the test shows nothing", owner)
		}
	}
	enroll(7)
	if n := plaintextOf(t, server, db, 8); n != rows {
		t.Errorf("%d rows of another owner hold plaintext, want %d", n, rows)
	}
	enroll(8)
	c := p.Conn(t, db, "", "")
	mustExec(t, c, "CALL latchkey.unlock('7', 'password 7')")
	eventually(t, "all rows of owner 7 are sealed", func() bool { return plaintextOf(t, server, db, 7) == 0 })
	mustExec(t, c, "CALL latchkey.unlock('8', 'password 8')")
	eventually(t, "all rows of owner 8 are sealed", func() bool { return plaintextOf(t, server, db, 8) == 0 })
	want := server.Query(t, fmt.Sprintf("SELECT seq + 1, CONCAT('t', seq), IF(seq %% 10 = 0, NULL, CONCAT('b', seq)) FROM %s.seq_0_to_%d WHERE 7 + seq %% 3 = 8 ORDER BY seq", db, 3*rows-1))
	if got := textOf(t, c, "SELECT id, title, body FROM entries WHERE user_id = 8 ORDER BY id"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the rows of owner 8 read %.300v, want %.300v", got, want)
	}
	if n := plaintextOf(t, server, db, 9); n != rows {
		t.Errorf("%d rows of an owner who never came hold plaintext, want %d", n, rows)
	}
}
