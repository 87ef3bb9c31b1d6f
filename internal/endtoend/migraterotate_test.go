package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// counts are what migrate status says about a column, owners taken together.
type counts struct{ Rows, Plaintext, Sealed, Old, Away, Locked, Nothing int }

// statusOf runs migrate status and gives the counts of a column.
func statusOf(t *testing.T, want int, p *latchkeytest.Proxy, column string) counts {
	t.Helper()
	var lines []struct {
		Column    string
		AllOwners bool `json:"all_owners"`
		counts
	}
	out := latchkeytest.Run(t, want, "migrate", "status", "--config", p.Config, "--format", "json")
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, l := range lines {
		if l.AllOwners && l.Column == column {
			return l.counts
		}
	}
	t.Fatalf("no line about %s in %s", column, out)
	return counts{}
}

// TestMigrateAwayAndRotate seals the rows of all owners at once to their public keys, and seals them anew under the owners' own
// keys, of which one was rotated meanwhile.
func TestMigrateAwayAndRotate(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+db+"_keys") })
	const rows = 40
	server.Exec(t, "CREATE TABLE "+db+".entries (id CHAR(8) CHARACTER SET latin1 PRIMARY KEY, user_id VARCHAR(20) CHARACTER SET latin1 NOT NULL, title VARCHAR(100) COLLATE utf8mb4_unicode_ci NULL)",
		fmt.Sprintf("INSERT INTO %[1]s.entries SELECT CONCAT('\u00e4', seq), ELT(1 + seq %% 3, 'ann', 'b\u00f6b', 'nobody'), IF(seq %% 5 = 0, NULL, CONCAT('stra\u00dfe ', seq)) FROM %[1]s.seq_0_to_%[2]d", db, 3*rows-1))
	p := latchkeytest.Write(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"}, Extra: "conversion: {rate: 0}\n",
		Keystore:  "  database: " + db + "_keys\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + db + ":\n    entries:\n      owner: user_id\n      away: accept\n      columns:\n        title: {search: equality, plaintext: accept}",
	})
	latchkeytest.Run(t, 0, "migrate", "prepare", "--config", p.Config, "--run")
	p.Serve(t)
	conn := p.Conn(t, db, "?charset=utf8mb4", "")
	token := func(owner string) string {
		var name, keyID, token, expires, code string
		if err := conn.QueryRowContext(context.Background(), "CALL latchkey.enroll(?, 'a password')", owner).Scan(&name, &keyID, &token, &expires, &code); err != nil {
			t.Fatal(err)
		}
		return token
	}
	keys := map[string]string{"ann": token("ann"), "b\u00f6b": token("b\u00f6b")}
	file := func(owner string) string {
		path := filepath.Join(p.Dir, "token")
		if err := os.WriteFile(path, []byte(keys[owner]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	values := rows - rows/5 // of each owner
	latchkeytest.Run(t, 3, "migrate", "encrypt", "--config", p.Config)
	if got := statusOf(t, 3, p, "title"); got.Away != 2*values || got.Plaintext != values || got.Nothing != 3*rows-3*values {
		t.Errorf("behind encrypt to the public keys: %+v, want %d away and %d plaintext, of the owner without a key", got, 2*values, values)
	}
	latchkeytest.Run(t, 1, "migrate", "rotate", "--config", p.Config, "--owner", "ann", "--key-file", file("b\u00f6b"))
	for owner := range keys {
		latchkeytest.Run(t, 0, "migrate", "rotate", "--config", p.Config, "--owner", owner, "--key-file", file(owner))
	}
	if got := statusOf(t, 3, p, "title"); got.Sealed != 2*values || got.Away+got.Old+got.Locked != 0 {
		t.Errorf("behind rotate: %+v, want %d sealed", got, 2*values)
	}
	mustExec(t, conn, "CALL latchkey.unlock('ann', 'a password')")
	mustExec(t, conn, "CALL latchkey.rotate('ann')")
	if got := statusOf(t, 3, p, "title"); got.Old != values || got.Sealed != values {
		t.Errorf("behind a rotation of one key: %+v, want %d old", got, values)
	}
	var name, keyID, fresh, expires string
	if err := conn.QueryRowContext(context.Background(), "CALL latchkey.unlock('ann', 'a password')").Scan(&name, &keyID, &fresh, &expires); err != nil {
		t.Fatal(err)
	}
	keys["ann"] = fresh
	latchkeytest.Run(t, 0, "migrate", "rotate", "--config", p.Config, "--owner", "ann", "--key-file", file("ann"), "--rate", "100000", "--max-lag", "1s", "--max-running", "1000", "--batch", "7")
	if got := statusOf(t, 3, p, "title"); got.Sealed != 2*values || got.Old != 0 {
		t.Errorf("behind rotate for the owner of that key: %+v, want %d sealed", got, 2*values)
	}
	mustExec(t, conn, "SET @latchkey = '"+fresh+"'")
	want := server.Query(t, fmt.Sprintf("SELECT CONCAT('stra\u00dfe ', seq) FROM %[1]s.seq_0_to_%[2]d WHERE seq %% 3 = 0 AND seq %% 5 <> 0 ORDER BY seq", db, 3*rows-1))
	for _, row := range want {
		// STRASSE is equal to it under the collation: the tags are those of the evaluator's weights.
		if got := textOf(t, conn, fmt.Sprintf("SELECT title FROM entries WHERE title = '%s' AND user_id = 'ann'", "STRASSE"+row[0][len("stra\u00dfe"):])); len(got) != 1 || got[0][0] != row[0] {
			t.Errorf("%q is not found: %v", row[0], got)
		}
	}
	latchkeytest.Run(t, 0, "migrate", "verify", "--config", p.Config, "--owner", "b\u00f6b", "--key-file", file("b\u00f6b"), "--strict")
}
