package rewrite

import (
	"slices"
	"strings"
	"testing"

	"latchkey/rewrite/logical"
)

// annotate makes the COMMENT of a protected column.
func annotate(t *testing.T, context, definition string) string {
	t.Helper()
	declared, err := logical.Parse(definition)
	if err != nil {
		t.Fatalf("Parse(%q): %v", definition, err)
	}
	text, err := FormatAnnotation(context, declared.String(), testMAC)
	if err != nil {
		t.Fatalf("FormatAnnotation(%q, %q): %v", context, definition, err)
	}
	return text
}

func mustParse(t *testing.T, definition string) *logical.Type {
	t.Helper()
	declared, err := logical.Parse(definition)
	if err != nil {
		t.Fatalf("Parse(%q): %v", definition, err)
	}
	return declared
}

// cellColumn is a column made for cells: nullable, without a default.
func cellColumn(name string) *Column {
	return &Column{Name: name, DataType: "varbinary", ColumnType: "varbinary(1100)", Bytes: 1100, Nullable: true, HasDefault: true, Default: "NULL"}
}

func schemaOf(tables ...*Table) *Schema {
	s := &Schema{Databases: map[string]map[string]*Table{}, KeystoreDatabase: "latchkey_keys", ServerVersion: 101119}
	for _, t := range tables {
		if s.Databases[t.Database] == nil {
			s.Databases[t.Database] = map[string]*Table{}
		}
		s.Databases[t.Database][t.Name] = t
	}
	return s
}

func policyOf(tp *TablePolicy) *Policy {
	return &Policy{Databases: map[string]map[string]*TablePolicy{"journal": {"entries": tp}}}
}

func entriesTable(columns ...*Column) *Table {
	return &Table{Database: "journal", Name: "entries", Transactional: true, Columns: append([]*Column{
		{Name: "id", DataType: "int", ColumnType: "int(11)", AutoIncrement: true},
		{Name: "user_id", DataType: "int", ColumnType: "int(11)"},
	}, columns...)}
}

func codes(findings []Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Code)
	}
	return all
}

func TestProtectFindsConflicts(t *testing.T) {
	text := mustParse(t, "varchar(200)")
	for _, test := range []struct {
		name   string
		column func(c *Column)
		policy *ColumnPolicy // nil: not in the policy
		table  func(tp *TablePolicy)
		want   string // code of the conflict, empty for none
	}{
		{name: "type of the policy", policy: &ColumnPolicy{Type: text}},
		{name: "annotation alone", column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200)") }},
		{name: "annotation and policy", policy: &ColumnPolicy{}, column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200)") }},
		{name: "annotation and the same type", policy: &ColumnPolicy{Type: text, Context: "a b"},
			column: func(c *Column) { c.Comment = annotate(t, "a b", "varchar(200) COMMENT 'x'") }},
		{name: "annotation that adds a default", policy: &ColumnPolicy{Type: text},
			column: func(c *Column) {
				c.Comment, c.Default, c.Nullable = annotate(t, "entries.x", "varchar(200) NOT NULL DEFAULT 'n/a'"), "''", false
			}},
		{name: "neither type nor annotation", policy: &ColumnPolicy{}, want: "no-type"},
		{name: "another type", policy: &ColumnPolicy{Type: mustParse(t, "varchar(100)")}, want: "type-differs",
			column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200)") }},
		{name: "another collation", policy: &ColumnPolicy{Type: mustParse(t, "varchar(200) COLLATE utf8mb4_bin")}, want: "type-differs",
			column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200)") }},
		{name: "another default", policy: &ColumnPolicy{Type: mustParse(t, "varchar(200) DEFAULT 'a'")}, want: "type-differs",
			column: func(c *Column) {
				c.Comment, c.Default = annotate(t, "entries.x", "varchar(200) DEFAULT 'b'"), "''"
			}},
		{name: "another context", policy: &ColumnPolicy{Context: "other"}, want: "context-differs",
			column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200)") }},
		{name: "wrong MAC", want: "annotation-mac", column: func(c *Column) {
			c.Comment = annotate(t, "entries.x", "varchar(200)")
			c.Comment = c.Comment[:len(c.Comment)-32] + strings.Repeat("0", 32)
		}},
		{name: "changed body", want: "annotation-mac", column: func(c *Column) {
			c.Comment = strings.Replace(annotate(t, "entries.x", "varchar(200)"), "200", "201", 1)
		}},
		{name: "cut annotation", want: "annotation-malformed", column: func(c *Column) {
			c.Comment = annotate(t, "entries.x", "varchar(200)")
			c.Comment = c.Comment[:len(c.Comment)-40]
		}},
		{name: "annotation of another version", want: "annotation-malformed", column: func(c *Column) { c.Comment = "latchkey:v2 id=5" }},
		{name: "definition that cannot be protected", want: "annotation-type", column: func(c *Column) {
			c.Comment, _ = FormatAnnotation("entries.x", "geometry", testMAC)
		}},
		{name: "not binary", policy: &ColumnPolicy{Type: text}, want: "not-binary", column: func(c *Column) { c.DataType = "varchar" }},
		{name: "BINARY", policy: &ColumnPolicy{Type: text}, want: "not-binary", column: func(c *Column) { c.DataType = "binary" }},
		{name: "too narrow for any cell", policy: &ColumnPolicy{Type: text}, want: "too-narrow", column: func(c *Column) { c.Bytes = 45 }},
		{name: "just wide enough", policy: &ColumnPolicy{Type: text}, column: func(c *Column) { c.Bytes = 46 }},
		{name: "too narrow for a tag", policy: &ColumnPolicy{Type: mustParse(t, "varchar(20) COLLATE utf8mb4_bin"), SearchEquality: true}, want: "too-narrow",
			column: func(c *Column) { c.Bytes = 61 }},
		{name: "generated", policy: &ColumnPolicy{Type: text}, want: "generated", column: func(c *Column) { c.Generated = true }},
		{name: "ON UPDATE", policy: &ColumnPolicy{Type: text}, want: "on-update", column: func(c *Column) { c.OnUpdate = true }},
		{name: "AUTO_INCREMENT", policy: &ColumnPolicy{Type: text}, want: "auto-increment", column: func(c *Column) { c.AutoIncrement = true }},
		{name: "NOT NULL of the column", policy: &ColumnPolicy{Type: text}, column: func(c *Column) { c.Nullable, c.HasDefault = false, false }},
		{name: "NOT NULL of the type only", policy: &ColumnPolicy{Type: mustParse(t, "varchar(200) NOT NULL")}, want: "null-differs"},
		{name: "NOT NULL of the annotation only", want: "null-differs",
			column: func(c *Column) { c.Comment = annotate(t, "entries.x", "varchar(200) NOT NULL") }},
		{name: "default only in the type", policy: &ColumnPolicy{Type: mustParse(t, "varchar(200) DEFAULT 'a'")}, want: "default-differs"},
		{name: "default only in the column", policy: &ColumnPolicy{Type: text}, want: "default-differs", column: func(c *Column) { c.Default = "''" }},
		{name: "plaintext default", policy: &ColumnPolicy{Type: mustParse(t, "varchar(200) DEFAULT 'a'")}, want: "default-differs",
			column: func(c *Column) { c.Default = "'a'" }},
		{name: "guard alone", want: "guard-alone", column: func(c *Column) { c.Name = "guarded" }},
		{name: "owner that does not exist", policy: &ColumnPolicy{Type: text}, want: "owner-missing", table: func(tp *TablePolicy) { tp.Owner = "nobody" }},
		{name: "owner in capitals", policy: &ColumnPolicy{Type: text}, table: func(tp *TablePolicy) { tp.Owner = "USER_ID" }},
		{name: "owner that is protected", policy: &ColumnPolicy{Type: text}, want: "owner-protected", table: func(tp *TablePolicy) { tp.Owner = "x" }},
		{name: "away without owner", policy: &ColumnPolicy{Type: text}, want: "away-without-owner", table: func(tp *TablePolicy) { tp.AwayAccept = true }},
		{name: "away with owner", policy: &ColumnPolicy{Type: text}, table: func(tp *TablePolicy) { tp.AwayAccept, tp.Owner = true, "user_id" }},
		{name: "bind to nothing", policy: &ColumnPolicy{Type: text, Bind: []string{"nothing"}}, want: "bind-missing"},
		{name: "bind to itself", policy: &ColumnPolicy{Type: text, Bind: []string{"x"}}, want: "bind-missing"},
		{name: "bind", policy: &ColumnPolicy{Type: text, Bind: []string{"id"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := cellColumn("x")
			if test.column != nil {
				test.column(c)
			}
			table := entriesTable(c)
			table.Checks = []CheckConstraint{{Name: "g", Clause: "`guarded` is null or `guarded` = '' or left(`guarded`,3) = X'FF4C4B'"}}
			tp := &TablePolicy{Columns: map[string]*ColumnPolicy{}}
			if test.policy != nil {
				tp.Columns["x"] = test.policy
			}
			if test.table != nil {
				test.table(tp)
			}
			findings := Protect(schemaOf(table), policyOf(tp), testVerify)
			p := c.Protected
			if p == nil || !table.Protects {
				t.Fatalf("Protected = %v, Protects = %t, want the column protected", p, table.Protects)
			}
			if p.Type == nil || p.Context == "" {
				t.Errorf("Type = %v, Context = %q, want both set in every case", p.Type, p.Context)
			}
			got := ""
			if why := conflictOf(p); why != nil {
				got = why.code
			}
			if got != test.want {
				t.Errorf("conflict %q (%v), want %q", got, p.Conflict, test.want)
			}
			if p.Conflict != nil && (p.Conflict.Code != CodeDisagree || p.Conflict.Hint == "" || p.Conflict.Column != p.String()) {
				t.Errorf("Conflict = %+v, want code %d, the column and a hint", p.Conflict, CodeDisagree)
			}
			if got := slices.Contains(codes(findings), test.want); test.want != "" && !got {
				t.Errorf("findings %q lack %q", codes(findings), test.want)
			}
			if test.want == "" && len(findings) > 0 {
				t.Errorf("findings %v, want none", findings)
			}
		})
	}
}

func TestProtectLeavesOtherColumnsAlone(t *testing.T) {
	plain := &Column{Name: "note", DataType: "varchar", ColumnType: "varchar(20)", Comment: "about latchkey:v1"}
	table := entriesTable(plain)
	view := &Table{Database: "journal", Name: "v", Kind: View, Columns: []*Column{{Name: "x", Comment: annotate(t, "a.b", "int")}}}
	findings := Protect(schemaOf(table, view), nil, testVerify)
	if plain.Protected != nil || table.Protects || view.Protects || view.Columns[0].Protected != nil || len(findings) > 0 {
		t.Errorf("Protected %v, table %t, view %t, findings %v, want nothing protected", plain.Protected, table.Protects, view.Protects, findings)
	}
}

func TestProtectTakesThePolicy(t *testing.T) {
	c := cellColumn("Title")
	c.Default, c.Comment = "''", annotate(t, "posts.title", "varchar(20) COLLATE utf8mb4_bin DEFAULT 'none'")
	table := entriesTable(c)
	cp := &ColumnPolicy{ServiceKey: "app", SearchEquality: true, UniquePerOwner: true, Bind: []string{"id"}, OverwriteAllow: true,
		Locked: Locked{Mode: LockedText, Text: "(locked)"}, Pad: 16}
	findings := Protect(schemaOf(table), policyOf(&TablePolicy{Owner: "user_id", AwayAccept: true, Columns: map[string]*ColumnPolicy{"title": cp}}), testVerify)
	p := c.Protected
	if p == nil || p.Conflict != nil || len(findings) > 0 {
		t.Fatalf("Protected = %+v, findings %v, want no conflict", p, findings)
	}
	if p.Context != "posts.title" || p.ServiceKey != "app" || !p.Search || !p.UniquePerOwner || !p.OverwriteAllow || p.Locked != cp.Locked ||
		p.Pad != 16 || p.Owner != "user_id" || !slices.Equal(p.Bind, cp.Bind) || !p.Annotated || p.Capacity != 1100 || !p.Nullable {
		t.Errorf("Protected = %+v, want what policy, annotation and column say", p)
	}
	if p.Away {
		t.Error("a service-keyed column takes cells for absent owners")
	}
	if !p.HasOnEmpty || string(p.OnEmpty) != "none" {
		t.Errorf("OnEmpty = %q, %t, want the declared default", p.OnEmpty, p.HasOnEmpty)
	}
	if p.String() != "journal.entries.Title" || table.Owner != "user_id" {
		t.Errorf("column %s, owner %q, want journal.entries.Title and user_id", p, table.Owner)
	}
}

func TestProtectReportsWhatIsMissing(t *testing.T) {
	policy := &Policy{Databases: map[string]map[string]*TablePolicy{"journal": {
		"entries": {Columns: map[string]*ColumnPolicy{"gone": {}}},
		"later":   {Columns: map[string]*ColumnPolicy{"x": {}}},
		"v":       {Columns: map[string]*ColumnPolicy{"x": {}}},
	}}}
	s := schemaOf(entriesTable(), &Table{Database: "journal", Name: "v", Kind: View, Columns: []*Column{{Name: "x"}}})
	want := []string{"column-missing", "table-missing", "policy-names-view"}
	if got := codes(Protect(s, policy, nil)); !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
	}
}

func TestProtectFoldsNamesAsTheServerDoes(t *testing.T) {
	for lower, want := range map[int]bool{0: false, 1: true, 2: true} {
		c := cellColumn("x")
		table := entriesTable(c)
		s := schemaOf(table)
		s.LowerCaseTableNames = lower
		policy := &Policy{Databases: map[string]map[string]*TablePolicy{"JOURNAL": {"Entries": {Columns: map[string]*ColumnPolicy{"X": {}}}}}}
		Protect(s, policy, nil)
		if got := c.Protected != nil; got != want {
			t.Errorf("lower_case_table_names=%d: protected %t, want %t", lower, got, want)
		}
	}
}

func TestCellLength(t *testing.T) {
	for _, test := range []struct {
		n            int64
		search, away bool
		pad          int
		want         int64
	}{
		{n: 0, want: 46}, {n: 100, want: 146}, {n: 0, search: true, want: 62}, {n: 1, pad: 16, want: 60}, {n: 14, pad: 16, want: 60},
		{n: 15, pad: 16, want: 76}, {n: 5, pad: 1, want: 51}, {n: 0, away: true, want: 98}, {n: 0, away: true, search: true, want: 98},
	} {
		p := &Protected{Search: test.search, Away: test.away, Pad: test.pad}
		if got := p.CellLength(test.n); got != test.want {
			t.Errorf("CellLength(%d) with search %t, away %t, pad %d = %d, want %d", test.n, test.search, test.away, test.pad, got, test.want)
		}
	}
}
