package endtoend

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// exportedTypes are the columns of a table with every family of types, each with a value that is easily written wrong.
var exportedTypes = []struct{ column, definition, value string }{
	{"txt", "VARCHAR(60)", `'a "quoted", text \\ with\r\nlines and ` + "\u00fc\U0001F600'"},
	{"nothing", "VARCHAR(20)", "''"},
	{"absent", "VARCHAR(20)", "NULL"},
	{"word", "VARCHAR(20)", "'NULL'"},
	{"latin", "VARCHAR(20) CHARACTER SET latin1", "'gr\u00fcn'"},
	{"big", "MEDIUMTEXT", "REPEAT('0123456789', 30000)"},
	{"bin", "BLOB", "x'00FF22270A'"},
	{"fixed", "BINARY(4)", "x'0102'"},
	{"nobin", "VARBINARY(8)", "''"},
	{"bits", "BIT(12)", "b'101010101010'"},
	{"tiny", "TINYINT", "-128"},
	{"huge", "BIGINT UNSIGNED", "18446744073709551615"},
	{"money", "DECIMAL(30,10)", "-12345678901234567890.0123456789"},
	{"single", "FLOAT", "0.1234567"},
	{"large", "FLOAT", "16777217"},
	{"twice", "DOUBLE", "0.1234567890123456789"},
	{"tiniest", "DOUBLE", "2.2250738585072014e-308"},
	{"day", "DATE", "'0001-01-01'"},
	{"moment", "DATETIME(6)", "'2026-11-22 07:08:09.000010'"},
	{"stamp", "TIMESTAMP(3) NULL", "'2026-07-01 12:00:00.125'"},
	{"span", "TIME(2)", "'-838:59:58.99'"},
	{"twelve", "YEAR", "2026"},
	{"kind", "ENUM('a','b c')", "'b c'"},
	{"kinds", "SET('x','y','z')", "'x,z'"},
	{"doc", "JSON", `'{"a": [1, "b"]}'`},
	{"unique_id", "UUID", "'123e4567-e89b-12d3-a456-426655440000'"},
	{"address", "INET6", "'2001:db8::1'"},
}

// exportTables give every type once protected (column names with s_) and once not (p_).
func exportTables() (tables, policy string, insert func(id int, owner string) string) {
	var columns, names, values, protected []string
	for _, c := range exportedTypes {
		columns = append(columns, "s_"+c.column+" "+c.definition, "p_"+c.column+" "+c.definition)
		names = append(names, "s_"+c.column, "p_"+c.column)
		values = append(values, c.value, c.value)
		protected = append(protected, "s_"+c.column+": {}")
	}
	tables = "CREATE TABLE kinds (id INT PRIMARY KEY, owner INT NOT NULL, " + strings.Join(columns, ", ") + ") CHARACTER SET utf8mb4;" +
		"CREATE TABLE `or;d e\u00e9rs` (id INT PRIMARY KEY, who VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL, note TEXT INVISIBLE) CHARACTER SET utf8mb4;" +
		"CREATE TABLE plain (id INT, owner INT, word VARCHAR(10)) CHARACTER SET utf8mb4;" +
		"CREATE TABLE child (id INT PRIMARY KEY, kind_id INT, note TEXT) CHARACTER SET utf8mb4;" +
		"CREATE TABLE parts (id INT PRIMARY KEY, kind_id INT, note TEXT, FOREIGN KEY (kind_id) REFERENCES kinds (id)) CHARACTER SET utf8mb4;" +
		"CREATE TABLE pieces (id INT PRIMARY KEY, part_id INT, note TEXT, FOREIGN KEY (part_id) REFERENCES parts (id)) CHARACTER SET utf8mb4;"
	policy = "    kinds:\n      owner: owner\n      columns: {" + strings.Join(protected, ", ") + "}\n" +
		"    \"or;d e\u00e9rs\":\n      owner: who\n      columns: {note: {locked: null}}\n" +
		"    plain: {owner: owner}\n    child:\n      columns: {note: {}}\n    parts:\n      columns: {note: {}}\n    pieces:\n      columns: {note: {}}\n"
	insert = func(id int, owner string) string {
		return fmt.Sprintf("INSERT INTO kinds (id, owner, %s) VALUES (%d, %s, %s)", strings.Join(names, ", "), id, owner, strings.Join(values, ", "))
	}
	return tables, policy, insert
}

// exporting is a twin with the rows of two owners.
type exporting struct {
	server        *mariadbtest.Server
	proxy         *latchkeytest.Proxy
	plain, sealed string
	keys          map[string]string // file by owner
}

func newExporting(t *testing.T) *exporting {
	t.Helper()
	server := mariadbtest.Shared(t)
	x := &exporting{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), keys: map[string]string{}}
	tables, policy, insert := exportTables()
	for _, db := range []string{x.plain, x.sealed} {
		server.Exec(t, "USE "+db+";"+tables)
	}
	x.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + x.sealed + ":\n" + policy})
	direct, err := server.Open(t, x.plain).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	id := 0
	for _, owner := range []string{"7", "8"} {
		key := latchkeytest.NewAccountKey(t)
		x.keys[owner] = filepath.Join(t.TempDir(), "key")
		writeText(t, x.keys[owner], key+"\n")
		conn := x.proxy.Conn(t, x.sealed, "", key)
		name := map[string]string{"7": "Ada's", "8": "ADA'S"}[owner]
		for range 2 {
			id++
			for _, statement := range []string{
				"SET time_zone = '+05:00'", insert(id, owner),
				fmt.Sprintf("INSERT INTO `or;d e\u00e9rs` (id, who, note) VALUES (%d, '%s', 'secret of %s')", id, strings.ReplaceAll(name, "'", "''"), owner),
				fmt.Sprintf("INSERT INTO plain VALUES (%d, %s, 'w')", id, owner),
				fmt.Sprintf("INSERT INTO child VALUES (%d, %d, 'x')", id, id),
				fmt.Sprintf("INSERT INTO parts VALUES (%d, %d, 'part of %s')", id, id, owner),
				fmt.Sprintf("INSERT INTO pieces VALUES (%d, %d, 'piece of %s')", id, id, owner),
			} {
				mustExec(t, conn, statement)
				mustExec(t, direct, statement)
			}
		}
	}
	return x
}

func (x *exporting) run(t *testing.T, want int, owner, keyOf, format, out string) string {
	t.Helper()
	return latchkeytest.Run(t, want, "export", "--config", x.proxy.Config, "--owner", owner, "--key-file", x.keys[keyOf], "--format", format, "--out", out)
}

// truth reads a table of the twin as it was written, with every FLOAT as DOUBLE.
func (x *exporting) truth(t *testing.T, query string) []map[string]*string {
	t.Helper()
	conn, err := x.server.Open(t, x.plain).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustExec(t, conn, "SET time_zone = '+00:00'")
	rows, err := conn.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]*string
	for rows.Next() {
		values := make([]*string, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		row := make(map[string]*string)
		for i, name := range names {
			row[name] = values[i]
		}
		all = append(all, row)
	}
	return all
}

// exportManifest is export.json.
type exportManifest struct {
	Owner, Format string
	Tables        []struct {
		Database, Table, File string
		Rows                  int
		Columns               []struct {
			Name, Type string
			Base64     bool
		}
	}
	LeftOut []string `json:"left_out"`
}

// TestExport holds every exported value against the one that MariaDB has for the same statements on plaintext.
func TestExport(t *testing.T) {
	x := newExporting(t)
	for _, format := range []string{"csv", "json"} {
		t.Run(format, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			stdout := x.run(t, 0, "7", "7", format, dir)
			if !strings.Contains(stdout, x.sealed+".kinds: 2 rows in "+x.sealed+".kinds."+format) || strings.Contains(stdout, "secret") {
				t.Errorf("it prints %s", stdout)
			}
			var manifest exportManifest
			if err := json.Unmarshal([]byte(readText(t, filepath.Join(dir, "export.json"))), &manifest); err != nil {
				t.Fatal(err)
			}
			if len(manifest.Tables) != 5 || manifest.Owner != "7" || len(manifest.LeftOut) != 1 || !strings.HasPrefix(manifest.LeftOut[0], x.sealed+".child: ") {
				t.Errorf("the manifest is %+v", manifest)
			}
			for _, table := range manifest.Tables {
				binary := map[string]bool{}
				selected := []string{}
				float := map[string]bool{}
				for _, c := range table.Columns {
					binary[c.Name] = c.Base64
					if c.Type == "float" {
						float[c.Name] = true
						selected = append(selected, "CAST("+c.Name+" AS DOUBLE) AS "+c.Name)
					} else {
						selected = append(selected, c.Name)
					}
				}
				condition, ok := map[string]string{
					"kinds": "owner = 7", "plain": "owner = 7", "parts": "note = 'part of 7'", "pieces": "note = 'piece of 7'",
				}[table.Table]
				if !ok {
					condition = "who = '7'"
				}
				want := x.truth(t, "SELECT "+strings.Join(selected, ", ")+" FROM `"+table.Table+"` WHERE "+condition+" ORDER BY id")
				got := readExport(t, filepath.Join(dir, table.File), format)
				if len(got) != len(want) || table.Rows != len(want) {
					t.Errorf("%s: %d rows, %d by the manifest, want %d", table.Table, len(got), table.Rows, len(want))
					continue
				}
				for i, row := range want {
					if len(got[i]) != len(row) {
						t.Errorf("%s: %d columns, want %d", table.Table, len(got[i]), len(row))
					}
					for name, value := range row {
						compareExported(t, table.Table+"."+name, got[i][name], value, binary[name], float[name])
					}
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 6 {
				t.Errorf("%d files, %v", len(entries), err)
			}
			// Nothing is written over, and what stood there stays.
			before := readText(t, filepath.Join(dir, "export.json"))
			x.run(t, 1, "7", "7", format, dir)
			if after, err := os.ReadDir(dir); err != nil || len(after) != len(entries) || readText(t, filepath.Join(dir, "export.json")) != before {
				t.Error("a second export changed the first")
			}
		})
	}
}

func compareExported(t *testing.T, name string, got, want *string, binary, float bool) {
	t.Helper()
	if got == nil || want == nil {
		if got != want {
			t.Errorf("%s: NULL is %v, want %v", name, got == nil, want == nil)
		}
		return
	}
	text := *got
	if binary {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text = string(decoded)
	}
	if float {
		wide, err := strconv.ParseFloat(*want, 64)
		narrow, err2 := strconv.ParseFloat(text, 32)
		if err != nil || err2 != nil || float32(wide) != float32(narrow) {
			t.Errorf("%s: got %s, want %s as a FLOAT", name, text, *want)
		}
		return
	}
	if text != *want {
		t.Errorf("%s: got %.100q, want %.100q", name, text, *want)
	}
}

// readExport reads a file of an export: rows of values by column, nil for NULL.
func readExport(t *testing.T, path, format string) []map[string]*string {
	t.Helper()
	text := readText(t, path)
	if format == "json" {
		var rows []map[string]*string
		if err := json.Unmarshal([]byte(text), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	// A value without quotes is NULL, which the standard reader does not tell: it is marked, and so are carriage returns, which it
	// takes away.
	var marked strings.Builder
	quoted := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
			marked.WriteByte(c)
		case quoted && c == '\r':
			marked.WriteString("<CR>")
		case !quoted && (c == ',' || c == '\r') && text[i-1] != '"':
			marked.WriteString("<NULL>" + string(c))
		default:
			marked.WriteByte(c)
		}
	}
	lines, err := csv.NewReader(strings.NewReader(marked.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]*string
	for _, line := range lines[1:] {
		row := make(map[string]*string)
		for i, name := range lines[0] {
			value := strings.ReplaceAll(line[i], "<CR>", "\r")
			if row[name] = &value; value == "<NULL>" {
				row[name] = nil
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// TestExportIsExact: only the very owner's rows are written, and a key that does not open them gives nothing at all.
func TestExportIsExact(t *testing.T) {
	x := newExporting(t)
	parent := t.TempDir()
	// kinds has rows of 7, which the key of 8 does not open.
	for name, run := range map[string]struct{ owner, key string }{"another owner's key": {"7", "8"}, "no number": {"7 OR 1=1", "7"}} {
		dir := filepath.Join(parent, "wrong")
		out := x.run(t, 1, run.owner, run.key, "csv", dir)
		if strings.Contains(out, "secret") {
			t.Errorf("%s: %s", name, out)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: something is left: %v", name, err)
		}
	}
	// Names that are equal for the collation and not the same.
	l := x.server
	l.Exec(t, "DROP TABLE "+x.sealed+".pieces, "+x.sealed+".parts, "+x.sealed+".kinds, "+x.sealed+".plain")
	text := readText(t, x.proxy.Config)
	at := strings.Index(text, "    kinds:")
	end := strings.Index(text, "    \"or;d")
	text = text[:at] + text[end:]
	writeText(t, x.proxy.Config, text)
	dir := filepath.Join(parent, "ada")
	x.run(t, 0, "Ada's", "7", "json", dir)
	rows := readExport(t, filepath.Join(dir, x.sealed+".or%3Bd%20e%C3%A9rs.json"), "json")
	if len(rows) != 2 || *rows[0]["note"] != "secret of 7" || *rows[0]["who"] != "Ada's" {
		t.Errorf("the rows are %v", rows)
	}
}
