package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
  day DATE DEFAULT '2024-01-31', at DATETIME(3) DEFAULT NULL, seen TIMESTAMP NULL DEFAULT '2024-07-01 12:00:00', data JSON, raw VARBINARY(300), flags BIT(5) DEFAULT b'101',
  token UUID DEFAULT NULL, note VARCHAR(20) CHARACTER SET latin1 DEFAULT NULL, plain VARCHAR(30) NOT NULL DEFAULT 'x',
  KEY entries_plain (plain(10)), KEY entries_title_index (title), KEY entries_user_title (user_id, title),
  CONSTRAINT entries_user_fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE tags (id INT PRIMARY KEY AUTO_INCREMENT, entry_id BIGINT UNSIGNED, name VARCHAR(50) NOT NULL, UNIQUE KEY (entry_id, name),
  CONSTRAINT tags_entry_fk FOREIGN KEY (entry_id) REFERENCES entries (id), CHECK (name <> '')) DEFAULT CHARSET=utf8mb4;
CREATE VIEW recent AS SELECT id, title, amount AS total, seen, plain FROM entries WHERE user_id > 3;
CREATE VIEW people AS SELECT u.email, e.title, e.data FROM users u LEFT JOIN entries e ON e.user_id = u.id;
CREATE VIEW lists AS SELECT id, name FROM tags;
`

const mirrorPolicy = `    users:
      columns:
        name: {key: "service:app"}
        email: {key: "service:app", search: equality}
        alias: {key: "service:app", search: equality}
    entries:
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
	for _, s := range []*mariadbtest.Server{m.plain, m.server} {
		s.Exec(t, "USE "+m.db+";"+mirrorTables)
	}
	m.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + m.db + ":\n" + mirrorPolicy})
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
	comparePage(t, introspectionMark, "", page.String())
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

// difference gives the outcome: "same", "order" for rows in another order where the statement asks for none, or the code of a
// refusal.
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
	if slices.Equal(gotRows, wantRows) {
		return "same"
	}
	slices.Sort(gotRows)
	slices.Sort(wantRows)
	if slices.Equal(gotRows, wantRows) && !strings.Contains(strings.ToUpper(stmt), "ORDER BY") {
		return "same rows"
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

// comparable is a column definition without a flag of computed columns: that they have no default.
func comparable(t *testing.T, packet []byte, caps wire.Capabilities) []byte {
	t.Helper()
	var d wire.Column
	if err := wire.ParseColumn(packet, caps, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.OrgName) == 0 {
		d.Flags &^= wire.FlagNoDefault
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
			t.Fatal(err)
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
compares column definitions (but for the flag "no default" of computed columns) and rows byte by byte. "same rows" is the same in another order, where the statement asks for
none. Sizes, times, estimated numbers of rows and the version of a table's definition file are the backend's own and are not
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
