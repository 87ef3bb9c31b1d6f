package endtoend

import (
	"context"
	"strings"
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

// TestKeysOutsideLiterals: a key or token that stands where no value belongs is not forwarded either.
func TestKeysOutsideLiterals(t *testing.T) {
	server := mariadbtest.Shared(t)
	proxy := latchkeytest.Start(t, latchkeytest.Config{Server: server})
	ctx := context.Background()
	key := latchkeytest.NewAccountKey(t)
	for _, params := range []string{"?multiStatements=true", ""} {
		conn := proxy.Conn(t, "", params, "")
		if _, err := conn.ExecContext(ctx, "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"); err != nil {
			t.Fatal(err)
		}
		for _, stmt := range []string{`SELECT "KEY"`, "SELECT 1 AS `KEY`", "USE `KEY`", "/* KEY */ SELECT 1", "SELECT 1 -- KEY",
			"SET @x = KEY", "SELECT 1 FROM `a``KEY`", "SELECT 'KEY'", "SELECT LKT1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"} {
			_, err := conn.ExecContext(ctx, strings.ReplaceAll(stmt, "KEY", key))
			if mariadbtest.Code(err) != 9704 || strings.Contains(err.Error(), key) {
				t.Errorf("%s: error %d, want 9704 without the key", stmt, mariadbtest.Code(err))
			}
			prepared, err := conn.PrepareContext(ctx, strings.ReplaceAll(stmt, "KEY", key))
			if err == nil {
				prepared.Close()
			}
			if mariadbtest.Code(err) != 9704 {
				t.Errorf("prepared %s: error %d, want 9704", stmt, mariadbtest.Code(err))
			}
		}
		for _, stmt := range []string{"SET @latchkey = '" + key + "'", "SELECT 'bulky LK 1 talk that is long enough to be looked at' AS a /* milk10 */"} {
			if _, err := conn.ExecContext(ctx, stmt); err != nil {
				t.Errorf("a statement without a misplaced key: error %d", mariadbtest.Code(err))
			}
		}
	}
	multi := proxy.Conn(t, "", "?multiStatements=true", "")
	if _, err := multi.ExecContext(ctx, "SELECT 1; SET @latchkey = '"+key+"'; SELECT 2"); err != nil {
		t.Errorf("a push among other statements: error %d", mariadbtest.Code(err))
	}
	if _, err := proxy.Open(t, key, "").Conn(ctx); mariadbtest.Code(err) != 9704 {
		t.Errorf("login with a key as the database: error %d, want 9704", mariadbtest.Code(err))
	}
}
