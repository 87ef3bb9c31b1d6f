package proxy

import (
	"fmt"
	"testing"

	"latchkey/rewrite"
)

// TestReplaceMeetsTheStoredKey: the row that REPLACE deletes is the one with the key as MariaDB stores it, not as it was
// written. Another user's cell in it stays.
func TestReplaceMeetsTheStoredKey(t *testing.T) {
	const strict, lax = "'STRICT_TRANS_TABLES'", "''"
	cases := []struct{ definition, stored, written, mode string }{
		{"INT", "1", "1.4", strict},
		{"INT", "2", "1.5", strict},
		{"INT", "2", "1.5e0", strict},
		{"INT", "3", "'2.5'", strict},
		{"INT", "2", "'2.4'", strict},
		{"INT", "-2", "-1.7", strict},
		{"INT", "51", "0x33", strict},
		{"INT", "2147483647", "99999999999", lax},
		{"INT", "-2147483648", "-99999999999", lax},
		{"INT", "0", "'abc'", lax},
		{"INT UNSIGNED", "0", "-5", lax},
		{"TINYINT", "127", "'300'", lax},
		{"BIGINT UNSIGNED", "18446744073709551615", "18446744073709551616", lax},
		{"DECIMAL(5,2)", "1.56", "1.555", strict},
		{"DECIMAL(5,2)", "999.99", "5000", lax},
		{"FLOAT", "0.1", "0.1", strict},
		{"DATE", "'2024-01-02'", "'2024-01-02 10:00:00'", strict},
		{"DATETIME", "'2024-01-02 10:00:00'", "'2024-01-02 10:00:00.7'", strict},
		{"TIMESTAMP(1)", "'2024-01-02 10:00:00.1'", "'2024-01-02 10:00:00.19'", strict},
		{"TIME", "'10:00:00'", "'10:00:00.7'", strict},
		{"BINARY(4)", "'ab'", "'ab'", strict},
		{"VARCHAR(3)", "'abc'", "'abc   '", strict},
		{"VARCHAR(3)", "'abc'", "'abcd'", lax},
		{"VARBINARY(3)", "'abc'", "'abcd'", lax},
		{"YEAR", "2069", "69", strict},
		{"ENUM('a','b')", "'b'", "2", strict},
		{"SET('a','b')", "'a,b'", "'b,a'", strict},
		{"ENUM('a','b')", "''", "'x'", lax},
	}
	tw := newTwin(t, nil)
	tables := twinPolicy(t)
	for i, c := range cases {
		name := fmt.Sprintf("k%d", i)
		tw.server.Exec(t, "USE "+tw.sealed, "SET sql_mode = "+c.mode,
			"CREATE TABLE "+name+" (k "+c.definition+" NOT NULL PRIMARY KEY, body VARBINARY(900)) DEFAULT CHARSET utf8mb4")
		tables[name] = &rewrite.TablePolicy{Columns: map[string]*rewrite.ColumnPolicy{"body": {Type: mustType(t, "varchar(100)")}}}
	}
	tw.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: tables}})
	alice, bob := tw.session(t, 'A', ""), tw.session(t, 'B', "")
	for i, c := range cases {
		name := fmt.Sprintf("k%d", i)
		mustExec(t, alice, "SET sql_mode = "+c.mode)
		mustExec(t, bob, "SET sql_mode = "+c.mode)
		mustExec(t, alice, "INSERT INTO "+name+" (k, body) VALUES ("+c.stored+", 'first')")
		before := fmt.Sprint(tw.raw(t, "SELECT k, HEX(body) FROM "+name))
		query := "REPLACE INTO " + name + " (k, body) VALUES (" + c.written + ", 'x')"
		if o := run(t, bob, query); o.code != 9702 && o.code != 9705 {
			t.Errorf("%s %s, mode %s: %s: %v, want error 9702 or 9705", c.definition, c.stored, c.mode, query, o)
		}
		if after := fmt.Sprint(tw.raw(t, "SELECT k, HEX(body) FROM "+name)); after != before {
			t.Errorf("%s %s, mode %s: %s changed another user's row", c.definition, c.stored, c.mode, query)
		}
	}
	// What is left out or NULL becomes zero outside of strict mode.
	mustExec(t, alice, "INSERT INTO k0 (k, body) VALUES (0, 'first')")
	mustExec(t, bob, "SET sql_mode = ''")
	for _, query := range []string{"REPLACE INTO k0 (body) VALUES ('x')", "REPLACE INTO k0 (k, body) VALUES (7, 'x'), (NULL, 'x')"} {
		wantCode(t, query, run(t, bob, query), 9705)
	}
	wantCode(t, "a NULL parameter", run(t, bob, "REPLACE INTO k0 (k, body) VALUES (7, 'x'), (?, 'x')", nil), 9702)
	// Rows of one's own, and new ones.
	for _, mode := range []string{strict, lax} {
		mustExec(t, alice, "SET sql_mode = "+mode)
		for _, k := range []any{1, "1", 1.4, 5} {
			if o := run(t, alice, "REPLACE INTO k0 (k, body) VALUES (?, 'mine')", k); o.code != 0 {
				t.Errorf("alice replaces %v in mode %s: %v", k, mode, o)
			}
		}
	}
	wantRows(t, "afterwards", run(t, alice, "SELECT k, body FROM k0 ORDER BY k"), "0|first", "1|mine", "5|mine")
}
