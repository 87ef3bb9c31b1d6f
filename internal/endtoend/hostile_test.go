package endtoend

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// memoryLimit is how much the proxy may hold, in KiB, after the largest texts; the race detector multiplies what it needs.
const memoryLimit = 3 << 20

// TestHostileStatements sends texts made to cost time, stack or memory: each is answered, and the proxy goes on.
func TestHostileStatements(t *testing.T) {
	t.Parallel()
	l := newLedger(t, mariadbtest.Shared(t), "")
	const deep, long = 20_000, 1 << 19
	times := strings.Repeat
	texts := map[string]string{
		"parentheses":       "SELECT title FROM ledger WHERE id = " + times("(", deep) + "1" + times(")", deep),
		"open parentheses":  "SELECT title FROM ledger WHERE id = " + times("(", long),
		"nested queries":    times("SELECT * FROM (", deep) + "SELECT title FROM ledger" + times(") x", deep),
		"signs":             "INSERT INTO ledger (id, title) VALUES (" + times("-", 1) + times("- ", deep) + "1, 'x')",
		"NOT":               "SELECT title FROM ledger WHERE " + times("NOT ", deep) + "id",
		"AND":               "SELECT title FROM ledger WHERE id = 1" + times(" AND title = 'x'", 100_000),
		"OR":                "SELECT title FROM ledger WHERE id = 1" + times(" OR title = 'x'", 100_000),
		"CASE":              "SELECT title FROM ledger WHERE id = " + times("CASE WHEN 1 THEN ", deep) + "1" + times(" END", deep),
		"functions":         "SELECT " + times("ABS(", deep) + "id" + times(")", deep) + ", title FROM ledger",
		"UNION ALL":         "SELECT title FROM ledger" + times(" UNION ALL SELECT title FROM ledger", 20_000),
		"joins":             "SELECT l0.title FROM ledger l0" + joins(3000),
		"commas":            "SELECT title FROM ledger WHERE id IN (" + times("1,", long) + "1)",
		"values":            "INSERT INTO ledger (id, title) VALUES (1, 'x'" + times("), (1, 'x'", 200_000) + ")",
		"one column often":  "SELECT title" + times(", title", 50_000) + " FROM ledger",
		"tokens":            "SELECT title FROM ledger " + times("a ", long),
		"quotes":            "SELECT title FROM ledger WHERE title = '" + times("''", long),
		"backslashes":       "SELECT title FROM ledger WHERE title = '" + times("\\", long),
		"comments":          times("/* */", long) + "SELECT title FROM ledger",
		"nested comments":   times("/*!50000 ", deep) + "SELECT title FROM ledger" + times("*/", deep),
		"open comment":      "SELECT title FROM ledger /*" + times("*", long),
		"semicolons":        times(";", long),
		"statements":        times("SELECT title FROM ledger WHERE id = 0;", 2_000),
		"backticks":         "SELECT `" + times("``", long) + "` FROM ledger",
		"dots":              "SELECT ledger" + times(".title", long/8) + " FROM ledger",
		"a long name":       "SELECT title AS " + times("a", long) + " FROM ledger",
		"a long number":     "SELECT title FROM ledger WHERE id = " + times("9", long),
		"an exponent":       "INSERT INTO ledger (id, title) VALUES (1e" + times("9", 1000) + ", 'x')",
		"a hex literal":     "INSERT INTO ledger (id, title) VALUES (5, x'" + times("ff", long) + "')",
		"WITH":              "WITH c0 AS (SELECT title FROM ledger)" + commonTables(2000) + " SELECT * FROM c1999",
		"string parts":      "INSERT INTO ledger (id, title) VALUES (6, " + times("'a' ", long/4) + ")",
		"unprotected, deep": "SELECT " + times("(", deep) + "1" + times(")", deep),
		"NUL bytes":         "SELECT title FROM ledger" + times("\x00", long),
		"bad UTF-8":         "SELECT title FROM ledger WHERE title = '" + times("\xff\xfe", long) + "'",
	}
	for name, text := range texts {
		c := newWireClient(t, l.proxy.Address, l.db, wireCaps)
		c.must(t, "SET @latchkey = '"+l.key+"'")
		if err := c.Send(query(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.receive(wire.ReplyQuery); err != nil {
			t.Errorf("%s: no answer: %v", name, err)
		}
		if r := c.prepare(t, text); r.err.Code == 0 && r.prepared.Statement == 0 {
			t.Errorf("%s: prepared without an id", name)
		}
		if r := c.query(t, "SELECT 1"); r.err.Code != 0 || len(r.rows) != 1 {
			t.Errorf("after %s: error %d %s", name, r.err.Code, r.err.Message)
		}
		c.socket.Close()
	}
	if kib := peakMemory(t, l.proxy.Pid()); kib > memoryLimit {
		t.Errorf("the proxy took %d KiB", kib)
	}
	conn := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "REPLACE INTO ledger VALUES (1, 1, 'fine', 'fine')")
	l.onlyCells(t, "ledger")
}

func joins(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, " JOIN ledger l%d ON l%d.id = l%d.id", i, i, i-1)
	}
	return b.String()
}

func commonTables(n int) string {
	var b strings.Builder
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, ", c%d AS (SELECT * FROM c%d UNION ALL SELECT * FROM c%[2]d)", i, i-1)
	}
	return b.String()
}

// peakMemory is the most resident memory a process has had, in KiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	if !found {
		t.Fatal("the kernel does not tell the peak of memory")
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
