package proxy

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// checkedStatements write under CHECK constraints.
var checkedStatements = []string{
	"INSERT INTO entries (id, user_id, amount, title) VALUES (1, 1, 5, 'abc')",
	"INSERT INTO entries (id, user_id, amount, title) VALUES (2, 1, 0, 'abc')",
	"INSERT INTO entries (id, user_id, amount, title) VALUES (2, 1, 5, 'ab')",
	"INSERT INTO entries (id, user_id, amount, title) VALUES (2, 1, '7x', 'abc')",
	"INSERT INTO entries (id, user_id, amount, title) VALUES (3, 1, 5, 'abc'), (4, 1, -1, 'abc'), (5, 1, 7, 'x')",
	"INSERT IGNORE INTO entries (id, user_id, amount, title) VALUES (3, 1, 5, 'abc'), (4, 1, -1, 'abc'), (5, 1, 7.5, 'xyz'), (6, 1, 9, 'x')",
	"INSERT INTO entries (id, user_id, title) VALUES (7, 1, 'abc')",
	"INSERT INTO entries (id, user_id, amount) VALUES (8, 1, NULL), (9, 1, 3)",
	"UPDATE entries SET amount = -3 WHERE id = 1",
	"UPDATE entries SET amount = -3 WHERE id = 12345",
	"UPDATE entries SET amount = 4, n = 7 WHERE id IN (1, 3)",
	"UPDATE IGNORE entries SET amount = -3, n = 9 WHERE id IN (1, 3)",
	"UPDATE entries SET title = 'a' WHERE id = 1",
	"INSERT INTO entries (id, user_id, amount) VALUES (1, 1, 3) ON DUPLICATE KEY UPDATE amount = 0",
	"INSERT INTO entries (id, user_id, amount) VALUES (1, 1, 3) ON DUPLICATE KEY UPDATE amount = VALUES(amount)",
	"REPLACE INTO entries (id, user_id, amount) VALUES (1, 1, -3)",
	"REPLACE INTO entries (id, user_id, amount, title) VALUES (1, 1, 3, 'longer')",
	"INSERT INTO entries (id, user_id, low, high) VALUES (20, 1, 1, 2)",
	"INSERT INTO entries (id, user_id, low, high) VALUES (21, 1, 3, 2)",
	"INSERT INTO entries (id, user_id, low) VALUES (22, 1, 3)",
	"UPDATE entries SET low = 5, high = 6 WHERE id = 20",
	"UPDATE entries SET low = 5, high = 4 WHERE id = 20",
}

func TestChecksAreEvaluated(t *testing.T) {
	m := newMigration(t, map[string]*rewrite.TablePolicy{
		"entries": {Owner: "user_id", Columns: map[string]*rewrite.ColumnPolicy{"title": {SearchEquality: true}, "amount": {}, "low": {}, "high": {}}},
	})
	m.run(t, "CREATE TABLE entries (id INT PRIMARY KEY, user_id INT NOT NULL, n INT, title VARCHAR(20) CHECK (char_length(title) > 2), "+
		"amount DECIMAL(8,1), low INT, high INT, CONSTRAINT positive CHECK (amount > 0), CONSTRAINT ordered CHECK (low < high))")
	c := &comparison{t: t, tw: m.twin, plain: m.plainConn, sealed: m.sealedConn}
	for _, query := range checkedStatements {
		c.diagnosed(query)
	}
	same(t, c.plain, c.sealed, "SELECT id, n, title, amount, low, high FROM entries ORDER BY id")
	// What would need the values of other columns is refused.
	for _, query := range []string{
		"UPDATE entries SET low = 1 WHERE id = 20",
		"INSERT INTO entries (id, user_id, low) VALUES (20, 1, 1) ON DUPLICATE KEY UPDATE low = 9",
	} {
		wantCode(t, query, run(t, c.sealed, query), 9705)
	}
}

func TestWarningsAreThoseOfTheLastStatement(t *testing.T) {
	tw := newOddTwin(t, testEvaluator(t), false)
	for _, query := range []string{
		"INSERT INTO w (id, c9) VALUES (%d, 1.005)", "INSERT INTO w (id, c9) VALUES (%d, 1.005), (-%[1]d, 2.345)", "INSERT INTO w (id, c9, n) VALUES (%d, 1.25, 1.5)",
		"INSERT INTO w (id, c9, n) VALUES (%d, 1.255, 1), (%[1]d + 1000, 1.25, 99999999999), (%[1]d + 2000, 1.255, 1)",
	} {
		c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
		c.both("SET sql_mode = ''")
		for i, ask := range []string{
			"SHOW WARNINGS", "SHOW WARNINGS LIMIT 1", "SHOW WARNINGS LIMIT 1, 5", "SHOW COUNT(*) WARNINGS", "SELECT @@warning_count", "SELECT @@error_count, 5",
			"SHOW ERRORS", "SHOW COUNT(*) ERRORS", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()",
		} {
			c.both("DELETE FROM w")
			c.both(fmt.Sprintf(query, i+1))
			for range 2 {
				want, got := run(t, c.plain, ask), run(t, c.sealed, ask)
				c.normalize(&want)
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s, %s: %v, want %v", query, ask, got, want)
				}
			}
			c.both("DELETE FROM w")
			c.both(fmt.Sprintf(query, i+1))
			c.both("SELECT 1")
			same(t, c.plain, c.sealed, "SHOW WARNINGS")
			c.both("SELECT id FROM w")
			same(t, c.plain, c.sealed, "SHOW WARNINGS")
		}
	}
}

func TestOwnErrorsAreInTheDiagnosticsArea(t *testing.T) {
	tw := newOddTwin(t, nil, false)
	c := tw.session(t, 0, "")
	for _, ask := range []string{"SHOW WARNINGS", "SHOW ERRORS"} {
		refused := run(t, c, "INSERT INTO w (id, c0) VALUES (1, 'x')")
		wantCode(t, "without a key", refused, 9701)
		wantRows(t, ask, run(t, c, ask), "Error|9701|"+refused.message)
		wantRows(t, ask+" again", run(t, c, ask), "Error|9701|"+refused.message)
	}
	wantCode(t, "without a key", run(t, c, "SELECT c0 FROM w WHERE c0 LIKE 'x'"), 9705)
	wantRows(t, "count", run(t, c, "SELECT @@error_count"), "1")
	wantCode(t, "without a key", run(t, c, "INSERT INTO w (id, c0) VALUES (1, 'x')"), 9701)
	wantRows(t, "row count", run(t, c, "SELECT ROW_COUNT()"), "-1")
	wantCode(t, "without a key", run(t, c, "INSERT INTO w (id, c0) VALUES (1, 'x')"), 9701)
	mustExec(t, c, "GET DIAGNOSTICS CONDITION 1 @errno = MYSQL_ERRNO, @state = RETURNED_SQLSTATE")
	wantRows(t, "GET DIAGNOSTICS", run(t, c, "SELECT @errno, @state"), "9701|LK001")
	mustExec(t, c, "INSERT INTO w (id) VALUES (1)")
	wantRows(t, "after a statement that succeeds", run(t, c, "SHOW WARNINGS"))
}

// TestWarningCountsAreInThePackets: the OK packet counts the warnings of both sides, in its text too.
func TestWarningCountsAreInThePackets(t *testing.T) {
	tw := newOddTwin(t, testEvaluator(t), false)
	for _, caps := range []wire.Capabilities{rawCaps, rawCaps | wire.CapDeprecateEOF} {
		var info []string
		for _, target := range []struct{ addr, database string }{{tw.server.Addr(), tw.plain}, {tw.proxy.addr, tw.sealed}} {
			raw := loginRaw(t, target.addr, target.database, caps)
			for _, query := range []string{
				"SET @latchkey = '" + testKey(t, 'A') + "', sql_mode = ''", "DELETE FROM w",
				"INSERT INTO w (id, c9, n) VALUES (1, 1.005, 99999999999), (2, 1, 1), (3, 1.005, 1)", "UPDATE w SET c9 = 7.777",
				"INSERT INTO w (id, c9) VALUES (9, 1.005) RETURNING id",
			} {
				if target.addr == tw.server.Addr() {
					query = strings.Replace(query, "@latchkey = '"+testKey(t, 'A')+"', ", "", 1)
				}
				p, err := hold(raw, exchangeCase{request: com(wire.ComQuery, query), kind: wire.ReplyQuery})
				if err != nil {
					t.Fatalf("%s: %v", query, err)
				}
				info = append(info, lastCount(t, p, caps))
			}
		}
		half := len(info) / 2
		for i := range half {
			if info[half+i] != info[i] {
				t.Errorf("statement %d: %s, want %s", i, info[half+i], info[i])
			}
		}
		if !strings.Contains(info[2], "Warnings: 3") {
			t.Errorf("the INSERT has %q, which tests nothing", info[2])
		}
	}
}

// lastCount gives what the last packet of a reply says about rows and warnings.
func lastCount(t *testing.T, reply []byte, caps wire.Capabilities) string {
	t.Helper()
	var last []byte
	for len(reply) > wire.HeaderSize {
		n := int(reply[0]) | int(reply[1])<<8 | int(reply[2])<<16
		last, reply = reply[wire.HeaderSize:wire.HeaderSize+n], reply[wire.HeaderSize+n:]
	}
	if eof, err := wire.ParseEOF(last); err == nil {
		return fmt.Sprintf("%d warnings", eof.Warnings)
	}
	ok, err := wire.ParseOK(last, caps)
	if err != nil {
		t.Fatalf("last packet %x: %v", last, err)
	}
	return fmt.Sprintf("%d rows, %d warnings, %s", ok.AffectedRows, ok.Warnings, ok.Info)
}
