package endtoend

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// magicValues are plaintexts that begin as cells do, by the beginning of the declared type.
var magicValues = []struct{ declared, value string }{
	{"VARCHAR(20) CHARACTER SET latin1", "_latin1 x'ff4c4b74'"}, {"VARCHAR(20) CHARACTER SET latin1", "_latin1 x'ff4c4b'"},
	{"CHAR(10) CHARACTER SET latin1", "_latin1 x'ff4c4b706162'"}, {"TEXT CHARACTER SET latin1", "_latin1 x'ff4c4b63'"},
	{"VARCHAR(20) CHARACTER SET cp1251", "_cp1251 x'ff4c4b74'"}, {"VARCHAR(20) CHARACTER SET utf16", "_utf16 x'ff4c4b74'"},
	{"VARCHAR(20) CHARACTER SET ucs2", "_ucs2 x'ff4c4b70'"}, {"BINARY(4)", "x'ff4c4b70'"}, {"BINARY(4)", "x'ff4c4b74'"},
	{"VARBINARY(100)", "x'ff4c4b'"}, {"VARBINARY(100)", "x'ff4c4b70ff4c4b70'"}, {"BLOB", "x'ff4c4b7400000000000000000000'"}, {"BIT(64)", "x'ff4c4b7400000000'"},
	{"INET6", "'ff4c:4b70::1'"}, {"UUID", "'ff4c4b70-0000-0000-0000-000000000001'"}, {"UUID", "'ff4c4b74-0000-0000-8000-000000000001'"}, {"INET4", "'255.76.75.112'"},
}

// newMixedTypesTwin has tables of every type that were filled before their columns were protected, with whatever MariaDB makes
// of every value, and are in the mixed state.
func newMixedTypesTwin(t *testing.T) *typesTwin {
	t.Helper()
	server := mariadbtest.Shared(t)
	w := &typesTwin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	var tables, policy strings.Builder
	for i, c := range typeCases {
		fmt.Fprintf(&tables, "CREATE TABLE ty%d (id INT PRIMARY KEY AUTO_INCREMENT, v %s);", i, c.declared)
		fmt.Fprintf(&policy, "    ty%d:\n      columns:\n        v: {plaintext: accept}\n", i)
	}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(t, "USE "+db+"; "+tables.String())
		c := newWireClient(t, server.Addr(), db, wireCaps)
		c.must(t, "SET sql_mode = ''")
		for i, ty := range typeCases {
			values := append(append([]string{"NULL"}, ty.values...), ty.odd...)
			for _, m := range magicValues {
				if strings.HasPrefix(ty.declared, m.declared) {
					values = append(values, m.value)
				}
			}
			for _, v := range values {
				c.query(t, fmt.Sprintf("INSERT INTO ty%d (v) VALUES (%s)", i, v)) // what is no value is in neither table
			}
		}
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + w.sealed + ":\n" + policy.String()})
	return w
}

// TestPlaintextOfEveryType reads what tables held before they were protected: rows and column definitions are those of the tables
// that never were, byte for byte, with and without a key, and after half of the rows and then all of them were written again.
func TestPlaintextOfEveryType(t *testing.T) {
	w := newMixedTypesTwin(t)
	plain, sealed := w.clients(t, wireCaps)
	nobody := newWireClient(t, w.proxy.Address, w.sealed, wireCaps)
	physical := newWireClient(t, w.server.Addr(), w.sealed, wireCaps)
	for i, c := range typeCases {
		table := fmt.Sprintf("ty%d", i)
		w.compareReads(t, c.declared, table, plain, sealed)
		w.compareReads(t, c.declared+" without a key", table, plain, nobody)
		for _, stmt := range []string{"SHOW CREATE TABLE " + table, "SHOW FULL COLUMNS FROM " + table} {
			w.same(t, c.declared+": "+stmt, sealed.query(t, stmt), plain.query(t, stmt))
		}
		if rows := physical.must(t, "SELECT id FROM "+table+" WHERE v >= x'FF4C4B' AND v < x'FF4C4B70' OR v >= x'FF4C4B71' AND v < x'FF4C4C'"); len(rows.rows) > 0 {
			t.Errorf("%s: %d values look like cells and are none", c.declared, len(rows.rows))
		}
		if rows := physical.must(t, "SELECT id FROM "+table+" WHERE v IS NOT NULL"); len(rows.rows) < len(c.values) {
			t.Errorf("%s: %d rows hold plaintext, want at least %d", c.declared, len(rows.rows), len(c.values))
		}
	}
	for round, condition := range []string{"id % 2 = 0", "id % 2 = 1"} {
		for i, c := range typeCases {
			table := fmt.Sprintf("ty%d", i)
			n := 0
			for k, v := range c.values {
				stmt := fmt.Sprintf("UPDATE %s SET v = %s WHERE id = %d AND %s", table, v, k+2, condition)
				w.same(t, c.declared+": "+stmt, sealed.query(t, stmt), plain.query(t, stmt))
				n++
			}
			w.compareReads(t, fmt.Sprintf("%s, round %d", c.declared, round), table, plain, sealed)
			left := physical.must(t, fmt.Sprintf("SELECT id FROM %s WHERE id BETWEEN 2 AND %d AND %s AND NOT (v >= x'FF4C4B61' AND v < x'FF4C4B70' OR v >= x'FF4C4B71' AND v < x'FF4C4B75')",
				table, n+1, condition))
			if len(left.rows) > 0 && !strings.Contains(c.declared, "DEFAULT") {
				t.Errorf("%s: %d rows that were written are not sealed", c.declared, len(left.rows))
			}
		}
	}
}
