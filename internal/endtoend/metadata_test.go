package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// metadataStatements are forms in which the column definitions of protected columns come about in other ways than by naming
// a column of a table: what is compared is every field of them.
var metadataStatements = []string{
	"SELECT * FROM entries",
	"SELECT title, body, amount FROM entries WHERE id = 1",
	"SELECT e.title AS t, e.amount a FROM entries AS e",
	"SELECT e.id, e.title, u.email FROM entries e LEFT JOIN users u ON u.id = e.user_id",
	"SELECT u.email, u.alias, e.amount FROM entries e RIGHT JOIN users u ON u.id = e.id",
	"SELECT a.title, b.title FROM entries a JOIN entries b ON b.id = a.id + 1",
	"SELECT e.title, t.name FROM entries e JOIN tags t ON t.entry_id = e.id",
	"SELECT e.title, n.body FROM entries e LEFT JOIN (SELECT id, body FROM entries) n ON n.id = e.id + 1",
	"SELECT title FROM (SELECT title FROM entries) d",
	"SELECT d.title, d.amount FROM (SELECT id, title, amount FROM entries LIMIT 10) d",
	"SELECT d.t FROM (SELECT title AS t FROM entries UNION ALL SELECT title FROM archive) d",
	"WITH c AS (SELECT id, title, amount FROM entries) SELECT title, amount FROM c",
	"WITH c AS (SELECT id, title FROM entries) SELECT a.title, b.title FROM c a JOIN c b ON b.id = a.id",
	"SELECT title FROM entries UNION ALL SELECT title FROM archive",
	"SELECT body FROM entries UNION ALL SELECT body FROM archive",
	"SELECT id, title FROM entries UNION ALL SELECT id, NULL FROM tags",
	"SELECT id, NULL FROM tags UNION ALL SELECT id, title FROM entries",
	"SELECT amount FROM entries UNION ALL SELECT amount FROM entries",
	"SELECT email FROM users UNION ALL SELECT alias FROM users",
	"SELECT (SELECT title FROM entries WHERE id = 1) AS t",
	"SELECT id, (SELECT title FROM archive a WHERE a.id = e.id) FROM entries e",
	"SELECT v.title, v.amount FROM entries_view v",
	"SELECT * FROM entries_view",
	"SELECT x FROM named_view",
	"SELECT title FROM joined_view",
	"SELECT title FROM merged_view WHERE id = 1",
	"SELECT id, title FROM entries ORDER BY id",
	"SELECT title, amount FROM entries WHERE user_id = 7 ORDER BY mood DESC, id LIMIT 2",
	"SELECT title FROM entries WHERE title = 'alpha'",
	"SELECT title FROM entries WHERE id = 1 FOR UPDATE",
	"SELECT SQL_CALC_FOUND_ROWS title FROM entries LIMIT 1",
	"SELECT SQL_BUFFER_RESULT title, body FROM entries",
	"SELECT STRAIGHT_JOIN e.title FROM entries e JOIN tags t ON t.entry_id = e.id ORDER BY t.name",
	"SELECT title FROM entries e WHERE EXISTS (SELECT 1 FROM tags t WHERE t.entry_id = e.id)",
	"SELECT title IS NULL, body IS NOT NULL FROM entries",
	"SELECT COUNT(title), COUNT(*) FROM entries",
	"SELECT e.* FROM entries e NATURAL JOIN (SELECT 1 AS id) one",
	"SELECT 'x' AS label, title, id + 1 FROM entries",
	"SELECT title FROM entries WHERE 1 = 0",
	"SELECT doc, state, flags, day, moment, year, bits, f, d, big, small, raw, tiny FROM kinds",
	"SELECT k.doc, k.state, k.bits FROM entries e LEFT JOIN kinds k ON k.id = e.id",
	"SELECT state FROM kinds UNION ALL SELECT state FROM kinds",
	"SELECT doc FROM kinds UNION ALL SELECT doc FROM kinds",
	"SELECT d.day, d.raw FROM (SELECT * FROM kinds) d",
	"SELECT notnull, withdefault FROM kinds",
	"SELECT k.notnull FROM entries e LEFT JOIN kinds k ON k.id = e.id",
	"SELECT MAX(id), user_id FROM entries GROUP BY user_id",
	"SELECT email FROM users WHERE email = 'ann@example.org'",
	"SELECT email, alias FROM users ORDER BY id",
	"TABLE entries",
	"SELECT title, title, title AS title2 FROM entries",
}

// planFlags are those that a column loses or gets in a temporary table. Whether the optimizer makes one for these statements
// depends on the sizes and indexes of the tables, which are others on either side.
const planFlags = wire.FlagPrimaryKey | wire.FlagUniqueKey | wire.FlagMultipleKey | wire.FlagPartKey | wire.FlagAutoIncrement | wire.FlagBinary | wire.FlagNum

var planDependent = []string{
	"SELECT DISTINCT title FROM entries",
	"SELECT title, COUNT(*) FROM entries GROUP BY title",
	"SELECT id FROM tags WHERE entry_id IN (SELECT id FROM entries WHERE title = 'alpha') ORDER BY id",
	"SELECT id FROM tags t WHERE EXISTS (SELECT 1 FROM entries e WHERE e.id = t.entry_id AND e.title = 'alpha') ORDER BY id",
}

// metadataViews are made on both sides.
var metadataViews = []string{
	"CREATE VIEW entries_view AS SELECT id, title, amount, user_id FROM entries",
	"CREATE VIEW named_view AS SELECT title AS x FROM entries WHERE id > 0",
	"CREATE VIEW joined_view AS SELECT e.id, e.title, u.email FROM entries e LEFT JOIN users u ON u.id = e.user_id",
	"CREATE ALGORITHM=TEMPTABLE VIEW merged_view AS SELECT id, title FROM entries",
}

const metadataTable = `CREATE TABLE kinds (id INT PRIMARY KEY, doc JSON, state ENUM('new','old') DEFAULT 'new', flags SET('a','b'), day DATE, moment DATETIME(3),
 year YEAR, bits BIT(9), f FLOAT, d DOUBLE, big BIGINT UNSIGNED, small SMALLINT(4) ZEROFILL, raw VARBINARY(20), tiny TINYINT(1), notnull VARCHAR(10) NOT NULL, withdefault CHAR(5) NOT NULL DEFAULT 'x',
 l VARCHAR(30) CHARACTER SET latin1, text MEDIUMTEXT) DEFAULT CHARSET=utf8mb4`

const metadataPolicy = twinPolicy + `    kinds:
      columns:
        doc: {}
        state: {}
        flags: {}
        day: {}
        moment: {}
        year: {}
        bits: {}
        f: {}
        d: {}
        big: {}
        small: {}
        raw: {}
        tiny: {}
        notnull: {}
        withdefault: {}
        l: {}
        text: {}
`

func TestColumnDefinitionsAreThoseOfPlainTables(t *testing.T) {
	server := mariadbtest.Shared(t)
	w := newTwinOf(t, server, twinTables+metadataTable, metadataPolicy)
	for _, view := range metadataViews {
		newWireClient(t, server.Addr(), w.plain, wireCaps).must(t, view)
		newWireClient(t, w.proxy.Address, w.sealed, wireCaps).must(t, view)
	}
	text, err := os.ReadFile("testdata/forms/read.txt")
	if err != nil {
		t.Fatal(err)
	}
	statements := metadataStatements
	for _, c := range parseForms(t, string(text)) {
		if len(c.args) == 0 && returnsRows(c.stmt) {
			statements = append(statements, c.stmt)
		}
	}
	for _, caps := range []wire.Capabilities{wireCaps | wire.CapMySQL, wireCaps | wire.CapDeprecateEOF | wire.CapExtendedMetadata} {
		plain := newWireClient(t, server.Addr(), w.plain, caps)
		sealed := newWireClient(t, w.proxy.Address, w.sealed, caps)
		sealed.must(t, "SET @latchkey = '"+w.key+"'")
		compared := 0
		for _, statement := range statements {
			compared += compareDefinitions(t, plain, sealed, w, statement)
		}
		if compared < 3*len(metadataStatements)/2 {
			t.Errorf("only %d answers of %d statements could be compared", compared, len(statements))
		}
		t.Logf("%d answers compared", compared)
	}
}

// compareDefinitions compares the definitions in the answers to COM_QUERY, COM_STMT_PREPARE and COM_STMT_EXECUTE, and tells
// how many of them both sides gave.
func compareDefinitions(t *testing.T, plain, sealed *wireClient, w *twin, statement string) (compared int) {
	t.Helper()
	check := func(how string, want, got result) {
		t.Helper()
		if want.err.Code != 0 || got.err.Code != 0 {
			return
		}
		compared++
		ignored := wire.ColumnFlags(0)
		if slices.Contains(planDependent, statement) {
			ignored = planFlags
		}
		if a, b := showDefinitions(want, plain.caps, w.plain, ignored), showDefinitions(got, sealed.caps, w.sealed, ignored); a != b {
			t.Errorf("%s: %s\ndefinitions:\n%swant:\n%s", how, statement, b, a)
		}
	}
	check("text", plain.query(t, statement), sealed.query(t, statement))
	want, got := plain.prepare(t, statement), sealed.prepare(t, statement)
	check("prepare", want, got)
	if want.err.Code == 0 && got.err.Code == 0 {
		check("execute", plain.execute(t, want.prepared.Statement), sealed.execute(t, got.prepared.Statement))
	}
	return compared
}

// showDefinitions prints every field of the definitions.
func showDefinitions(r result, caps wire.Capabilities, db string, ignored wire.ColumnFlags) string {
	var b strings.Builder
	for _, payload := range r.columns {
		var d wire.Column
		if err := wire.ParseColumn(payload, caps, &d); err != nil {
			return err.Error()
		}
		if string(d.Schema) == db {
			d.Schema = []byte("db")
		}
		fmt.Fprintf(&b, "  %s.%s(%s).%s(%s) ext %q charset %d length %d type %d flags %#x decimals %d\n", d.Schema, d.Table, d.OrgTable, d.Name, d.OrgName,
			bytes.TrimSpace(d.Extended), d.Charset, d.Length, d.Type, d.Flags&^ignored, d.Decimals)
	}
	return b.String()
}
