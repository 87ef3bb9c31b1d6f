package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore/cell"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

func testSchemaMAC(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:16]
}

func testSchemaVerify(body, mac []byte) bool { return string(testSchemaMAC(body)) == string(mac) }

// inspect reads the schema and holds the policy against it.
func inspect(t *testing.T, server *mariadbtest.Server, policy *rewrite.Policy) (findings []rewrite.Finding, alters []rewrite.Alter, schema *rewrite.Schema) {
	t.Helper()
	i, err := Inspect(context.Background(), testSchemaConfig(server))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	rewrite.Protect(i.Schema, policy, testSchemaVerify)
	findings = rewrite.Check(i.Schema, policy, i.Settings)
	alters = rewrite.Alters(i.Schema, policy, rewrite.AlterOptions{MAC: testSchemaMAC, HasRows: i.HasRows})
	return findings, alters, i.Schema
}

// TestPrintedAltersMakeTablesReady runs what `check --sql` prints: afterwards there is nothing left to print or to find,
// plaintext does not get in and cells do.
func TestPrintedAltersMakeTablesReady(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, `CREATE DATABASE journal DEFAULT CHARSET utf8mb4; USE journal;
		CREATE TABLE entries (
			id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL,
			title VARCHAR(200) COLLATE utf8mb4_bin NOT NULL COMMENT 'it''s a \\ 100% t`+"\u00ef"+`tle',
			body MEDIUMTEXT, notes TEXT NOT NULL DEFAULT 'n/a', mood ENUM('good','b''ad') DEFAULT 'good',
			amount DECIMAL(12,2) NOT NULL DEFAULT 0.00, at DATETIME(3) DEFAULT '2024-01-01 00:00:00', j JSON, flag BIT(3) DEFAULT b'101',
			data BLOB, raw VARBINARY(20) NOT NULL, `+"`o``dd name`"+` INT UNSIGNED, secret CHAR(5) INVISIBLE DEFAULT 'x',
			KEY user (user_id), UNIQUE KEY ut (user_id, title), KEY tt (title(30), user_id DESC), KEY bb (body(100)), FULLTEXT KEY ff (body),
			KEY un (user_id, notes(10)), CONSTRAINT latchkey_title CHECK (user_id > 0),
			FOREIGN KEY (user_id) REFERENCES entries (id));
		CREATE TABLE other (x VARCHAR(10)); INSERT INTO other VALUES ('row');`)
	search := &rewrite.ColumnPolicy{SearchEquality: true}
	amount, err := logical.Parse("decimal(12,2)")
	if err != nil {
		t.Fatal(err)
	}
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{"journal": {
		"entries": {Owner: "user_id", Columns: map[string]*rewrite.ColumnPolicy{
			"title": search, "body": {}, "notes": {}, "mood": {}, "amount": {Type: amount}, "at": {}, "j": {}, "flag": {}, "data": {}, "raw": {Pad: 64},
			"o`dd name": {}, "secret": {},
		}},
		"other": {Columns: map[string]*rewrite.ColumnPolicy{"x": {}}},
	}}}

	_, alters, _ := inspect(t, server, policy)
	if len(alters) != 2 {
		t.Fatalf("%d alters, want one for each table: %+v", len(alters), alters)
	}
	if a := alters[1]; a.Table != "other" || a.SQL != "" || !strings.Contains(strings.Join(a.Notes, " "), "has rows") {
		t.Errorf("table with rows: %+v, want no SQL and a note", a)
	}
	server.Exec(t, alters[0].SQL)
	delete(policy.Databases["journal"], "other")

	findings, alters, schema := inspect(t, server, policy)
	if len(alters) != 0 {
		t.Errorf("the second time prints %+v, want nothing", alters)
	}
	for _, f := range findings {
		if f.Object != "server" && f.Code != "max-allowed-packet" {
			t.Errorf("after the ALTER: %v", f)
		}
	}
	table := schema.Table("journal", "entries")
	for column, want := range map[string]string{
		"title":  `varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'it''s a \\ 100% t` + "\u00ef" + `tle'`,
		"amount": "decimal(12,2) NOT NULL DEFAULT 0.00", "j": "json DEFAULT NULL", "flag": "bit(3) DEFAULT b'101'",
		"mood": "enum('good','b''ad') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT 'good'", "raw": "varbinary(20) NOT NULL",
		"data": "blob DEFAULT NULL", "at": "datetime(3) DEFAULT '2024-01-01 00:00:00.000'",
	} {
		p := table.Column(column).Protected
		if p.Conflict != nil || p.Type.String() != want {
			t.Errorf("%s is declared %q, conflict %v, want %q", column, p.Type, p.Conflict, want)
		}
		if p.Context != "entries."+column {
			t.Errorf("%s has context %q", column, p.Context)
		}
	}
	if !table.Column("secret").Invisible {
		t.Error("secret is no longer INVISIBLE")
	}
	testGuards(t, server, table)
}

// testGuards writes into every protected column straight past the proxy.
func testGuards(t *testing.T, server *mariadbtest.Server, table *rewrite.Table) {
	sample := "FF4C4B63" + strings.Repeat("00", 50)
	columns, cells := []string{"user_id"}, []string{"1"}
	for _, c := range table.Columns {
		if c.Protected != nil {
			columns, cells = append(columns, quoteName(c.Name)), append(cells, "x'"+sample+"'")
		}
	}
	insert := func(values []string) string {
		return fmt.Sprintf("INSERT INTO journal.entries (%s) VALUES (%s)", strings.Join(columns, ", "), strings.Join(values, ", "))
	}
	server.Exec(t, insert(cells))
	for i := 1; i < len(cells); i++ {
		for _, plain := range []string{"'plaintext'", "' '", "'\\0'", "x'FF4C'", "x'FF4C6B'", "x'FF6C4B63'", "5"} {
			values := append([]string(nil), cells...)
			values[i] = plain
			_, err := server.DB().Exec(insert(values))
			var failed *mysql.MySQLError
			if !errors.As(err, &failed) || failed.Number != 4025 {
				t.Errorf("%s = %s: %v, want error 4025", columns[i], plain, err)
			}
		}
		values := append([]string(nil), cells...)
		values[i] = "''"
		if i == 1 {
			values[0] = "1" // the empty title is another value of the UNIQUE key
		} else {
			values[1] = fmt.Sprintf("x'FF4C4B74%032x'", i)
		}
		server.Exec(t, insert(values))
	}
	server.Exec(t, "SET check_constraint_checks=ON; INSERT INTO journal.entries (user_id, title, raw, body, data) VALUES (1, x'FF4C4B74FF', x'FF4C4B63', NULL, NULL)")
}

// TestPrintedAlterCannotHurtRowsThatCameMeanwhile: rows written between the printing and the running make it fail whole.
func TestPrintedAlterCannotHurtRowsThatCameMeanwhile(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, x VARCHAR(20) CHARACTER SET latin1, KEY (x))")
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{"d": {"a": {Columns: map[string]*rewrite.ColumnPolicy{"x": {}}}}}}
	_, alters, _ := inspect(t, server, policy)
	if len(alters) != 1 || alters[0].SQL == "" {
		t.Fatalf("alters %+v, want one", alters)
	}
	server.Exec(t, "INSERT INTO d.a VALUES (1, 'precious')")
	before := server.Query(t, "SHOW CREATE TABLE d.a")[0][1]
	_, err := server.DB().Exec(alters[0].SQL)
	var failed *mysql.MySQLError
	if !errors.As(err, &failed) || failed.Number != 4025 {
		t.Errorf("the ALTER over a row: %v, want error 4025", err)
	}
	if got := server.Query(t, "SHOW CREATE TABLE d.a")[0][1]; got != before {
		t.Errorf("the failed ALTER changed the table to %s", got)
	}
	if got := server.Query(t, "SELECT x FROM d.a")[0][0]; got != "precious" {
		t.Error("the failed ALTER changed the row")
	}
}

// TestProtectionFollowsRenamesAndCopies: annotation and guard are kept by what an application does to a schema.
func TestProtectionFollowsRenamesAndCopies(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, x VARCHAR(20) COLLATE utf8mb4_bin)")
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{"d": {"a": {Columns: map[string]*rewrite.ColumnPolicy{"x": {}}}}}}
	_, alters, _ := inspect(t, server, policy)
	server.Exec(t, alters[0].SQL, "ALTER TABLE d.a RENAME COLUMN x TO y", "RENAME TABLE d.a TO d.b", "CREATE TABLE d.c LIKE d.b",
		"CREATE TABLE d.e AS SELECT * FROM d.b", "CREATE TABLE d.f LIKE d.b; ALTER TABLE d.f MODIFY y VARBINARY(300)")
	// A MODIFY on the backend that repeats neither COMMENT nor CHECK takes both away; what the policy names stays protected.
	policy = &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{"d": {"f": {Columns: map[string]*rewrite.ColumnPolicy{"y": {}}}}}}
	_, alters, schema := inspect(t, server, policy)
	for table, conflict := range map[string]bool{"b": false, "c": false, "e": false, "f": true} {
		p := schema.Table("d", table).Column("y").Protected
		if p == nil || (p.Conflict != nil) != conflict {
			t.Errorf("d.%s.y: %+v, want it protected, with a conflict: %t", table, p, conflict)
		} else if !conflict && p.Context != "a.x" {
			t.Errorf("d.%s.y has context %q, want that of its cells", table, p.Context)
		}
	}
	// CREATE TABLE ... SELECT loses the CHECK only.
	if len(alters) != 2 || alters[0].Table != "e" || !strings.Contains(alters[0].SQL, "CHECK (") || alters[1].Table != "f" {
		t.Errorf("alters %+v, want the guard of d.e and a note on d.f", alters)
	}
	server.Exec(t, alters[0].SQL)
}

// TestCellLengthIsThatOfCells: rewrite computes widths without importing cell.
func TestCellLengthIsThatOfCells(t *testing.T) {
	for _, pad := range []int{0, 1, 2, 16, 100} {
		for n := range 300 {
			for _, search := range []bool{false, true} {
				p := &rewrite.Protected{Search: search, Pad: pad}
				if got, want := p.CellLength(int64(n)), int64(cell.SealedLen(n, pad, search)); got != want {
					t.Fatalf("CellLength(%d), pad %d, search %t = %d, want %d", n, pad, search, got, want)
				}
				p.Away = true
				want := int64(max(cell.SealedLen(n, pad, search), cell.AwaySealedLen(n, pad)))
				if got := p.CellLength(int64(n)); got != want {
					t.Fatalf("CellLength(%d), pad %d, search %t, away = %d, want %d", n, pad, search, got, want)
				}
			}
		}
	}
}

func TestInspectReadsSettings(t *testing.T) {
	server := mariadbtest.Start(t, mariadbtest.WithAllLogs())
	findings, _, _ := inspect(t, server, &rewrite.Policy{})
	got := map[string]bool{}
	for _, f := range findings {
		got[f.Code] = true
	}
	for _, want := range []string{"general-log", "slow-log", "binlog-annotate", "performance-schema"} {
		if !got[want] {
			t.Errorf("findings %v lack %s", findings, want)
		}
	}
}

// TestAwayLeft: cells of kind a in a searchable column are found when the policy does not accept them any more.
func TestAwayLeft(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, `USE `+db+`; CREATE TABLE letters (id INT PRIMARY KEY, user_id INT NOT NULL, subject VARBINARY(300), topic VARBINARY(300), body VARBINARY(300),
		KEY (subject(20)), KEY (user_id, topic(20)), KEY (body(20)));
		INSERT INTO letters VALUES (1, 7, x'FF4C4B74', x'FF4C4B61', x'FF4C4B61'), (2, 7, NULL, NULL, NULL)`)
	kind, err := logical.Parse("varchar(20) character set utf8mb4 collate utf8mb4_bin")
	if err != nil {
		t.Fatal(err)
	}
	table := &rewrite.TablePolicy{Owner: "user_id", Columns: map[string]*rewrite.ColumnPolicy{
		"subject": {Type: kind, SearchEquality: true}, "topic": {Type: kind, SearchEquality: true}, "body": {Type: kind},
	}}
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{db: {"letters": table}}}
	left := func() (objects []string) {
		t.Helper()
		i, err := Inspect(context.Background(), testSchemaConfig(server))
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		rewrite.Protect(i.Schema, policy, testSchemaVerify)
		for _, f := range i.AwayLeft() {
			if f.Severity != rewrite.Warning || f.Code != "away-left" {
				t.Errorf("%v", f)
			}
			objects = append(objects, f.Object)
		}
		return objects
	}
	if got := left(); got != nil {
		t.Errorf("without such cells in a searched column: %v", got)
	}
	server.Exec(t, "INSERT INTO "+db+".letters VALUES (3, 7, x'FF4C4B6101', NULL, NULL)")
	if got, want := left(), []string{db + ".letters.subject"}; !slices.Equal(got, want) {
		t.Errorf("with one: %v, want %v", got, want)
	}
	table.AwayAccept = true
	if got := left(); got != nil {
		t.Errorf("where they are accepted: %v", got)
	}
}
