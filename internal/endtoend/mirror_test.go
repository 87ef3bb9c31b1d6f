package endtoend

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// mirror is one schema on two servers under one name: as it was declared, and behind Latchkey. What is asked about the schema
// is the same to the byte.
type mirror struct {
	plain, server *mariadbtest.Server
	proxy         *latchkeytest.Proxy
	db            string
}

// mirrorTables are the tables of the mirror.
const mirrorTables = `
CREATE TABLE users (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) NOT NULL DEFAULT '' COMMENT 'shown to others', email VARCHAR(100) NOT NULL,
  alias VARCHAR(100) COLLATE utf8mb4_bin DEFAULT NULL, created_at DATETIME NOT NULL DEFAULT current_timestamp(), UNIQUE KEY users_email_unique (email),
  KEY users_alias_index (alias)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='who may write';
CREATE TABLE entries (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, user_id INT UNSIGNED NOT NULL, title VARCHAR(200) NOT NULL DEFAULT 'it''s' COMMENT 'the ''title'' \\ ` + "\u00fc" + `',
  body MEDIUMTEXT, amount DECIMAL(12,2) NOT NULL DEFAULT 0.00, mood ENUM('good','so so','bad') DEFAULT 'good', stars TINYINT UNSIGNED, rating DOUBLE,
  day DATE DEFAULT '2024-01-31' CHECK (day > '2000-01-01'), at DATETIME(3) DEFAULT NULL, seen TIMESTAMP(2) NULL, data JSON, raw VARBINARY(300), flags BIT(5) DEFAULT b'101',
  token UUID DEFAULT NULL, note VARCHAR(20) CHARACTER SET latin1 DEFAULT NULL, plain VARCHAR(30) NOT NULL DEFAULT 'x',
  UNIQUE KEY entries_once (user_id, title), KEY entries_title_index (title), KEY entries_plain (plain(10)), KEY entries_amount (amount DESC, user_id) COMMENT 'by ''amount''',
  KEY entries_body (body(30)), KEY entries_mood (mood), FULLTEXT KEY entries_text (body), CONSTRAINT entries_amount_check CHECK (amount >= -1000 AND title <> ''),
  CONSTRAINT entries_user_fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE tags (id INT PRIMARY KEY AUTO_INCREMENT, entry_id BIGINT UNSIGNED, name VARCHAR(50) NOT NULL, UNIQUE KEY (entry_id, name),
  CONSTRAINT tags_entry_fk FOREIGN KEY (entry_id) REFERENCES entries (id), CHECK (name <> '')) DEFAULT CHARSET=utf8mb4;
CREATE VIEW recent AS SELECT id, title, amount AS total, seen, plain FROM entries WHERE user_id > 3;
CREATE VIEW people AS SELECT u.email, e.title, e.data FROM users u LEFT JOIN entries e ON e.user_id = u.id;
CREATE VIEW everything AS SELECT * FROM entries;
CREATE VIEW lists AS SELECT id, name FROM tags;
`

const mirrorPolicy = `    users:
      columns:
        name: {key: "service:app"}
        email: {key: "service:app", search: equality}
        alias: {key: "service:app", search: equality}
    entries:
      owner: user_id
      columns:
        title: {search: equality}
        body: {}
        amount: {search: equality}
        mood: {}
        stars: {}
        rating: {}
        day: {}
        at: {}
        seen: {}
        data: {}
        raw: {}
        flags: {}
        token: {}
        note: {}
`

func newMirror(t *testing.T) *mirror {
	t.Helper()
	server := mariadbtest.Shared(t)
	m := &mirror{plain: mariadbtest.Start(t), server: server, db: server.NewDatabase(t)}
	m.plain.Exec(t, "CREATE DATABASE "+m.db)
	m.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + m.db + ":\n" + mirrorPolicy})
	sealed := m.proxy.Open(t, m.db, "")
	for _, definition := range strings.Split(strings.TrimSpace(mirrorTables), ";\n") {
		m.plain.Exec(t, "USE "+m.db+";"+definition)
		if _, err := sealed.Exec(strings.TrimSuffix(definition, ";")); err != nil {
			t.Fatalf("%.60s: %v", definition, err)
		}
	}
	return m
}

// clients opens a connection to each side.
func (m *mirror) clients(t *testing.T, db string, caps wire.Capabilities) (plain, sealed *wireClient) {
	t.Helper()
	return newWireClient(t, m.plain.Addr(), db, caps), newWireClient(t, m.proxy.Address, db, caps)
}

// mirrorCaps are those of clients: every form of definitions is compared.
const mirrorCaps = wireCaps | wire.CapExtendedMetadata

// volatileColumns are result columns whose values belong to the server and not to the schema.
var volatileColumns = []string{"create_time", "update_time", "check_time", "created", "last_altered", "data_length", "index_length", "avg_row_length", "data_free",
	"cardinality", "table_rows", "rows", "version"}

// TestIntrospection asks both sides about the schema, with the statements of testdata/introspection: as text and prepared, the
// definitions of the columns and the rows are the same bytes. What differs is in docs/compatibility.md.
func TestIntrospection(t *testing.T) {
	files, err := filepath.Glob("testdata/introspection/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no statements: %v", err)
	}
	m := newMirror(t)
	plain, sealed := m.clients(t, m.db, mirrorCaps)
	var page strings.Builder
	page.WriteString(introspectionHead)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		for _, c := range parseForms(t, strings.ReplaceAll(string(text), "{db}", m.db)) {
			if c.section != section {
				section = c.section
				fmt.Fprintf(&page, "\n### %s\n\n| statement | text | prepared |\n|---|---|---|\n", section)
			}
			shown := strings.ReplaceAll(c.stmt, m.db, "diary")
			fmt.Fprintf(&page, "| `` %s `` | %s | %s |\n", pageText(shown), m.compareText(t, plain, sealed, c), m.comparePrepared(t, plain, sealed, c))
		}
	}
	comparePage(t, introspectionMark, differentialMark, page.String())
}

// TestSchemaRights lets a login that may see one table ask both sides about the others.
func TestSchemaRights(t *testing.T) {
	m := newMirror(t)
	for _, s := range []*mariadbtest.Server{m.plain, m.server} {
		s.Exec(t, "CREATE USER narrow@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON "+m.db+".tags TO narrow@'127.0.0.1'; GRANT SELECT (id, title) ON "+m.db+".entries TO narrow@'127.0.0.1'")
	}
	t.Cleanup(func() { m.server.Exec(t, "DROP USER narrow@'127.0.0.1'") })
	ask := func(address, stmt string) answer {
		pool, err := sql.Open("mysql", "narrow:secret@tcp("+address+")/"+m.db)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		rows, err := pool.Query(stmt)
		if err != nil {
			return failed(err)
		}
		var a answer
		if err := a.read(rows); err != nil {
			return failed(err)
		}
		return a
	}
	where := " WHERE TABLE_SCHEMA = '" + m.db + "'"
	for _, stmt := range []string{"SHOW FULL COLUMNS FROM entries", "SHOW COLUMNS FROM users", "SHOW CREATE TABLE entries", "SHOW CREATE TABLE users", "SHOW INDEX FROM users",
		"SELECT * FROM information_schema.COLUMNS" + where, "SELECT * FROM information_schema.TABLE_CONSTRAINTS" + where, "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS" + where,
		"SELECT * FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '" + m.db + "'"} {
		got, want := ask(m.proxy.Address, stmt), ask(m.plain.Addr(), stmt)
		for _, a := range []*answer{&got, &want} {
			// A denial names the address that the server sees.
			if a.Code != 0 {
				a.Text = ""
			}
			slices.SortFunc(a.Rows, slices.Compare[[]string])
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", stmt, got, want)
		}
	}
}

// TestFieldList asks both sides for the fields of every table by COM_FIELD_LIST.
func TestFieldList(t *testing.T) {
	m := newMirror(t)
	for _, caps := range []wire.Capabilities{wireCaps, mirrorCaps | wire.CapDeprecateEOF} {
		plain, sealed := m.clients(t, m.db, caps)
		for _, table := range []string{"users", "entries", "tags", "recent", "people", "everything", "lists", "missing"} {
			for _, wild := range []string{"", "t%"} {
				payload := append([]byte{byte(wire.ComFieldList)}, table+"\x00"+wild...)
				got, want := sealed.exchange(t, wire.ReplyFields, payload), plain.exchange(t, wire.ReplyFields, payload)
				if outcome := m.difference(t, "COM_FIELD_LIST", table+" "+wild, got, want, caps, false); outcome != "same" {
					t.Errorf("%s %s: %s", table, wild, outcome)
				}
			}
		}
	}
}

// compareText sends a statement as text, with its arguments in it.
func (m *mirror) compareText(t *testing.T, plain, sealed *wireClient, c formCase) string {
	t.Helper()
	stmt := c.stmt
	for _, arg := range c.args {
		value := fmt.Sprint(arg)
		if text, ok := arg.(string); ok {
			value = "'" + strings.ReplaceAll(text, "'", "''") + "'"
		}
		stmt = strings.Replace(stmt, "?", value, 1)
	}
	got, want := sealed.query(t, stmt), plain.query(t, stmt)
	return m.difference(t, "text", c.stmt, got, want, plain.caps, false)
}

// comparePrepared prepares and executes a statement.
func (m *mirror) comparePrepared(t *testing.T, plain, sealed *wireClient, c formCase) string {
	t.Helper()
	got, want := sealed.prepare(t, c.stmt), plain.prepare(t, c.stmt)
	if outcome := m.difference(t, "prepare", c.stmt, got, want, plain.caps, true); outcome != "same" || got.err.Code != 0 {
		return outcome
	}
	var params []param
	for _, arg := range c.args {
		switch v := arg.(type) {
		case string:
			params = append(params, textParam(v))
		case int64:
			params = append(params, intParam(v))
		default:
			t.Fatalf("argument of %T", arg)
		}
	}
	return m.difference(t, "execute", c.stmt, sealed.execute(t, got.prepared.Statement, params...), plain.execute(t, want.prepared.Statement, params...), plain.caps, true)
}

// ordered reports whether ORDER BY, if there is one, leaves no order open: positions in an index or a constraint are those of
// several at once.
func ordered(stmt string) bool {
	_, by, found := strings.Cut(strings.ToLower(strings.ReplaceAll(stmt, "`", "")), "order by ")
	if !found {
		return true
	}
	for _, open := range []string{"seq_in_index", "k.ordinal_position", "kc.ordinal_position"} {
		if strings.HasPrefix(by, open) {
			return false
		}
	}
	return true
}

// difference gives the outcome: "same", "same rows" where the statement leaves the order open, or the code of a refusal. Anything else fails the test.
func (m *mirror) difference(t *testing.T, how, stmt string, got, want result, caps wire.Capabilities, binary bool) string {
	t.Helper()
	if got.err.Code >= 9700 && got.err.Code < 9800 {
		return fmt.Sprint(got.err.Code)
	}
	if got.err.Code != want.err.Code || got.err.Message != want.err.Message {
		t.Errorf("%s: %s\ngot  error %d %s\nwant error %d %s", how, stmt, got.err.Code, got.err.Message, want.err.Code, want.err.Message)
		return "different"
	}
	if !slices.EqualFunc(got.columns, want.columns, func(g, w []byte) bool { return bytes.Equal(comparable(t, g, caps), comparable(t, w, caps)) }) {
		t.Errorf("%s: %s\ngot  columns %s\nwant columns %s", how, stmt, showColumns(t, got.columns, caps), showColumns(t, want.columns, caps))
		return "different"
	}
	gotRows, wantRows := readRows(t, got, caps, binary), readRows(t, want, caps, binary)
	outcome := "same"
	if !ordered(stmt) {
		outcome = "same rows"
		slices.Sort(gotRows)
		slices.Sort(wantRows)
	} else if !strings.Contains(strings.ToUpper(stmt), "ORDER BY") {
		slices.Sort(gotRows)
		slices.Sort(wantRows)
	}
	if slices.Equal(gotRows, wantRows) {
		return outcome
	}
	for i := range max(len(gotRows), len(wantRows)) {
		var g, w string
		if i < len(gotRows) {
			g = gotRows[i]
		}
		if i < len(wantRows) {
			w = wantRows[i]
		}
		if g != w {
			t.Errorf("%s: %s\ngot  row %s\nwant row %s", how, stmt, g, w)
		}
	}
	return "different"
}

// groupFlag is one that MariaDB sets for itself while it groups. https://mariadb.com/kb/en/result-set-packets/#field-details-flag
const groupFlag wire.ColumnFlags = 1 << 15

// comparable is a column definition without what says how a statement over information_schema was carried out: the flag of
// grouping, the original table of a column that came out of a derived table, and that a computed column has no default.
func comparable(t *testing.T, packet []byte, caps wire.Capabilities) []byte {
	t.Helper()
	var d wire.Column
	if err := wire.ParseColumn(packet, caps, &d); err != nil {
		t.Fatal(err)
	}
	d.Flags &^= groupFlag
	if len(d.OrgName) == 0 {
		d.Flags &^= wire.FlagNoDefault
	}
	if string(d.Schema) == "information_schema" {
		d.OrgTable = nil
	}
	return d.Append(nil, caps)
}

func showColumns(t *testing.T, packets [][]byte, caps wire.Capabilities) string {
	t.Helper()
	var b strings.Builder
	for _, p := range packets {
		var d wire.Column
		if err := wire.ParseColumn(p, caps, &d); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n  %s.%s(%s).%s(%s) charset %d length %d type %d flags %x decimals %d ext %q default %q", d.Schema, d.Table, d.OrgTable, d.Name, d.OrgName,
			d.Charset, d.Length, d.Type, uint16(d.Flags), d.Decimals, d.Extended, d.Default)
	}
	return b.String()
}

// readRows gives each row as text, without the values that belong to the server.
func readRows(t *testing.T, r result, caps wire.Capabilities, binary bool) []string {
	t.Helper()
	var types []wire.ColumnType
	var names []string
	for _, p := range r.columns {
		var d wire.Column
		if err := wire.ParseColumn(p, caps, &d); err != nil {
			t.Fatal(err)
		}
		types, names = append(types, d.Type), append(names, strings.ToLower(string(d.Name)))
	}
	rows := make([]string, 0, len(r.rows))
	for _, row := range r.rows {
		var fields []wire.Field
		var err error
		if binary {
			fields, err = wire.WalkBinary(nil, row, types)
		} else {
			fields, err = wire.WalkText(nil, row, len(types))
		}
		if err != nil {
			t.Fatalf("row of %q: %v", names, err)
		}
		var b strings.Builder
		for i, f := range fields {
			switch {
			case slices.Contains(volatileColumns, names[i]):
				continue
			case f.Null:
				fmt.Fprintf(&b, " %s=NULL", names[i])
			default:
				fmt.Fprintf(&b, " %s=%q", names[i], f.Of(row))
			}
		}
		rows = append(rows, b.String())
	}
	return rows
}

const introspectionMark = "\n## What is shown of the schema\n"

const introspectionHead = introspectionMark + `
This part is written by TestIntrospection. It sends what applications and tools ask about the schema to a server on which the
tables are as they were declared, and through Latchkey to another on which they are protected, as text and prepared, and
compares column definitions and rows byte by byte (of definitions over information_schema, but for the original table's name
and for the flags that a column has no default and is grouped by). "same rows" is the same in another order, where the statement leaves it open. Sizes, times, estimated numbers of rows and the version of a table's definition file are the backend's own and are not
compared.
`

// comparePage holds one part of the compatibility page, from mark to the mark next (empty: to the end), against text, or
// writes it.
func comparePage(t *testing.T, mark, next, text string) {
	t.Helper()
	page, err := os.ReadFile(compatibilityPage)
	if err != nil {
		t.Fatal(err)
	}
	start := len(page)
	if i := bytes.Index(page, []byte(mark)); i >= 0 {
		start = i
	}
	end := len(page)
	if i := bytes.Index(page[start:], []byte(next)); next != "" && i >= 0 {
		end = start + i
	}
	if *update {
		page = slices.Concat(page[:start], []byte(text), page[end:])
		if err := os.WriteFile(compatibilityPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page[start:end]) != text {
		t.Errorf("%s is not what the statements give; run this test with -update and read the difference", compatibilityPage)
	}
}
