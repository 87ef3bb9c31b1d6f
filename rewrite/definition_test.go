package rewrite

import (
	"os"
	"strings"
	"testing"

	"latchkey/rewrite/logical"
)

// definitionPolicy is the policy of the golden definitions.
func definitionPolicy(t testing.TB) *Policy {
	t.Helper()
	amount, err := logical.Parse("decimal(12,2)")
	if err != nil {
		t.Fatal(err)
	}
	search := func(key string) *ColumnPolicy { return &ColumnPolicy{SearchEquality: true, ServiceKey: key} }
	return &Policy{Databases: map[string]map[string]*TablePolicy{"journal": {
		"entries": {Owner: "user_id", Columns: map[string]*ColumnPolicy{
			"title": search(""), "body": {}, "amount": {Type: amount}, "draft": {}, "mood": {}, "heading": search(""),
		}},
		"notes": {Owner: "user_id", Columns: map[string]*ColumnPolicy{"title": search(""), "body": {}, "draft": {}}},
		"users": {Columns: map[string]*ColumnPolicy{"email": search("app"), "name": {}}},
	}}}
}

// definitionSchema has the tables of the policy as Latchkey makes them, or none.
func definitionSchema(t testing.TB, filled bool) *Schema {
	t.Helper()
	s := &Schema{
		Epoch: 1, ServerVersion: 101119, KeystoreDatabase: "latchkey_keys",
		Collations: map[string]string{"journal": "utf8mb4_general_ci"}, Databases: map[string]map[string]*Table{"journal": {}},
	}
	if !filled {
		return s
	}
	column := func(table *Table, name, definition string) {
		typ, err := logical.Parse(definition)
		if err != nil {
			t.Fatal(err)
		}
		comment, err := FormatAnnotation(table.Name+"."+name, typ.String(), func([]byte) []byte { return make([]byte, proxyMAC) })
		if err != nil {
			t.Fatal(err)
		}
		c := &Column{Name: name, DataType: "varbinary", ColumnType: "varbinary(900)", Bytes: 900, Nullable: typ.Nullable, Comment: comment, HasDefault: typ.HasDefault, Default: "''"}
		if !typ.HasDefault {
			c.Default = ""
		}
		table.Columns = append(table.Columns, c)
		table.Checks = append(table.Checks, CheckConstraint{Name: name, OfColumn: true, Clause: guardClause(name)})
	}
	plain := func(table *Table, name, typ string) {
		table.Columns = append(table.Columns, &Column{Name: name, DataType: typ, ColumnType: typ, Comment: ""})
	}
	entries := &Table{Database: "journal", Name: "entries", Collation: "utf8mb4_general_ci", Transactional: true}
	plain(entries, "id", "int")
	plain(entries, "user_id", "int")
	column(entries, "title", "varchar(200) NOT NULL")
	column(entries, "body", "mediumtext")
	column(entries, "amount", "decimal(12,2) NOT NULL DEFAULT 0.00")
	plain(entries, "day", "date")
	entries.Indexes = []*Index{
		unique("PRIMARY", IndexPart{Column: "id"}), {Name: "by_title", Kind: "BTREE", Parts: []IndexPart{{Column: "title", Prefix: 20}}},
		unique("once", IndexPart{Column: "user_id"}, IndexPart{Column: "title", Prefix: 20}),
	}
	check := checkAnnotation{context: "entries.body", expression: "`body` <> ''", mac: make([]byte, proxyMAC)}
	entries.Checks = append(entries.Checks, CheckConstraint{Name: "filled", Clause: "'" + check.String() + checkMark + "`body` <> ''"})
	tags := &Table{Database: "journal", Name: "tags", Collation: "utf8mb4_general_ci", Transactional: true}
	plain(tags, "id", "int")
	plain(tags, "title", "varchar")
	s.Databases["journal"]["entries"], s.Databases["journal"]["tags"] = entries, tags
	return s
}

// TestDefinitions holds DDL against its golden plans, before the tables of the policy exist and after.
func TestDefinitions(t *testing.T) {
	policy := definitionPolicy(t)
	for _, tc := range []struct {
		file   string
		filled bool
	}{{"testdata/definitions/create.txt", false}, {"testdata/definitions/change.txt", true}} {
		t.Run(tc.file, func(t *testing.T) {
			schema := definitionSchema(t, tc.filled)
			for _, f := range Protect(schema, policy, func(_, mac []byte) bool { return len(mac) == proxyMAC }) {
				if f.Severity == Error {
					t.Fatal(f)
				}
			}
			p := NewPlanner(schema, policy)
			golden, err := os.ReadFile(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			got := replan(t, p, string(golden))
			if *update {
				if err := os.WriteFile(tc.file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(golden) {
				t.Errorf("plans of %s differ; run with -update and read the difference:\n%s", tc.file, firstDifference(got, string(golden)))
			}
		})
	}
}

// TestDefinitionsAreNotShared: two texts of one shape declare different columns.
func TestDefinitionsAreNotShared(t *testing.T) {
	schema, policy := definitionSchema(t, false), definitionPolicy(t)
	Protect(schema, policy, nil)
	p := NewPlanner(schema, policy)
	for _, definition := range []string{"VARCHAR(10)", "VARCHAR(20)", "VARCHAR(10)"} {
		got := describe(t, p, "CREATE TABLE entries (id INT, title "+definition+" COMMENT 'x', body ENUM('a'))", StrictTransTables)
		if !strings.Contains(got, strings.ToLower(definition)) {
			t.Errorf("%s became %s", definition, got)
		}
	}
}
