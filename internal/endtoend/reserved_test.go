package endtoend

import (
	"context"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestReservedDatabases: the keystore database and the schema latchkey are reachable by no statement and by no login.
func TestReservedDatabases(t *testing.T) {
	server := mariadbtest.Shared(t)
	server.Exec(t, "CREATE DATABASE IF NOT EXISTS latchkey_keys", "CREATE TABLE IF NOT EXISTS latchkey_keys.slots (id INT)")
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE latchkey_keys") })
	proxy := latchkeytest.Start(t, latchkeytest.Config{Server: server})
	ctx := context.Background()
	for _, database := range []string{"latchkey_keys", "LATCHKEY_KEYS", "latchkey"} {
		_, err := proxy.Open(t, database, "").Conn(ctx)
		// The backend says of a database that does not exist that it does not exist (1049).
		if code := mariadbtest.Code(err); code != 9704 && code != 1049 || code == 1049 && database == "latchkey_keys" {
			t.Errorf("login with database %s: %v, want error 9704", database, err)
		}
	}
	conn := proxy.Conn(t, "", "", "")
	for _, stmt := range []string{"USE latchkey_keys", "USE `latchkey`", "SELECT * FROM latchkey_keys.slots",
		"INSERT INTO latchkey_keys . `slots` VALUES (1)", "DROP DATABASE latchkey_keys", "SHOW TABLES FROM latchkey_keys",
		"SELECT 1 FROM /*!50000 latchkey_keys.slots */"} {
		if _, err := conn.ExecContext(ctx, stmt); mariadbtest.Code(err) != 9704 {
			t.Errorf("%s: %v, want error 9704", stmt, err)
		}
	}
}
