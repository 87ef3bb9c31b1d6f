package endtoend

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestLostFleetSecret: the operator starts with a new fleet secret, as docs/operations.md says, and whoever has a recovery code
// or the secret of a key slot reads on.
func TestLostFleetSecret(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	keys := db + "_keys"
	server.Exec(t, "CREATE TABLE "+db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100))")
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+keys) })
	p := latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{"root"},
		Keystore:  "  database: " + keys + "\n  adopt: false\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + db + ":\n    entries:\n      owner: user_id\n      columns:\n        title: {type: \"varchar(100)\", search: equality}",
	})
	k := &killed{server: server, db: db}
	byCode, bySecret := &killedOwner{name: "1"}, &killedOwner{name: "2"}
	secret := strings.Repeat("a7", 32)
	for _, o := range []*killedOwner{byCode, bySecret} {
		c := k.conn(t, p)
		row := wantCall(t, c, 0, "CALL latchkey.enroll("+o.name+", 'old')")
		o.keyID, o.token, o.code = row[1], row[2], row[4]
		mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES ("+o.name+", 'kept')")
		wantCall(t, c, 0, "CALL latchkey.add_slot("+o.name+", 'secret', '"+secret+"')")
		c.Close()
	}
	before := server.Query(t, "SELECT HEX(record), HEX(mac), generation FROM "+keys+".owners WHERE owner = '1'")[0]
	p.Stop(t)

	fleet := latchkeytest.Run(t, 0, "keygen", "--fleet")
	if err := os.WriteFile(filepath.Join(p.Dir, "fleet.secret"), []byte(fleet), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Serve(t)
	c := k.conn(t, p)
	if _, err := keyCall(c, "CALL latchkey.recover(1, '"+byCode.code+"', 'new')"); err == nil {
		t.Error("an owner was recovered with another fleet secret and without leave")
	}
	wantCall(t, c, 9714, "SELECT title FROM entries")
	c.Close()
	p.Stop(t)

	setAdopt(t, p, true)
	// The annotations belong to the lost secret too.
	column := server.Query(t, "SELECT COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '"+db+"' AND TABLE_NAME = 'entries' AND COLUMN_NAME = 'title'")
	server.Exec(t, "ALTER TABLE "+db+".entries MODIFY title "+column[0][0]+" NULL COMMENT ''")
	p.Prepare(t)
	p.Serve(t)
	c = k.conn(t, p)
	wantCall(t, c, 9707, unlock(byCode, "old"))
	wantCall(t, c, 9708, "SET @latchkey = '"+byCode.token+"'")
	wantCall(t, c, 9707, "CALL latchkey.enroll(1, 'old')")
	wantCall(t, c, 9707, "CALL latchkey.recover(1, '"+bySecret.code+"', 'new')")
	row := wantCall(t, c, 0, "CALL latchkey.recover(1, '"+byCode.code+"', 'new')")
	if row[1] != byCode.keyID {
		t.Errorf("recovered key %s, want %s", row[1], byCode.keyID)
	}
	opens(t, c, byCode)
	wantCall(t, c, 0, "CALL latchkey.unlock(2, '"+secret+"', 'secret')")
	opens(t, c, bySecret)
	code := wantCall(t, c, 0, "CALL latchkey.add_slot(2, 'recovery')")[2]
	wantCall(t, c, 0, "CALL latchkey.recover(2, '"+code+"', 'new')")
	c.Close()
	p.Stop(t)
	if log := p.Log(); strings.Count(log, "is now under this one") != 2 || !strings.Contains(log, "keystore.adopt is on") {
		t.Error("the log does not say who was adopted, or that adopting is allowed")
	}

	setAdopt(t, p, false)
	p.Serve(t)
	c = k.conn(t, p)
	for _, o := range []*killedOwner{byCode, bySecret} {
		wantCall(t, c, 0, unlock(o, "new"))
		opens(t, c, o)
	}
	// The record from before the loss, put back by somebody.
	server.Exec(t, "UPDATE "+keys+".owners SET record = x'"+before[0]+"', mac = x'"+before[1]+"', generation = "+before[2]+" WHERE owner = '1'")
	wantCall(t, c, 9707, "CALL latchkey.recover(1, '"+byCode.code+"', 'x')")
	wantCall(t, c, 9707, unlock(byCode, "old"))
}

// setAdopt changes keystore.adopt in the configuration of a proxy that is started next.
func setAdopt(t *testing.T, p *latchkeytest.Proxy, on bool) {
	t.Helper()
	text, err := os.ReadFile(p.Config)
	if err != nil {
		t.Fatal(err)
	}
	from, to := []byte("adopt: false"), []byte("adopt: true")
	if !on {
		from, to = to, from
	}
	if err := os.WriteFile(p.Config, bytes.Replace(text, from, to, 1), 0o600); err != nil {
		t.Fatal(err)
	}
}
