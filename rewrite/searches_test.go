package rewrite

import (
	"slices"
	"testing"
)

// TestSearches says which columns the plan of a statement finds rows or counts values by.
func TestSearches(t *testing.T) {
	p := NewPlanner(testSchema(t), testPolicy())
	p.Finish()
	facts := &Facts{Database: "journal", Charset: CharsetUTF8MB4, ServerVersion: 101119}
	for text, want := range map[string][]string{
		"SELECT id, title FROM entries":                                                                nil,
		"SELECT id FROM entries WHERE title = 'x' OR title IN ('y', 'z')":                              {"journal.entries.title"},
		"SELECT id FROM users WHERE email <> 'x'":                                                      {"journal.users.email"},
		"SELECT COUNT(DISTINCT email) FROM users":                                                      {"journal.users.email"},
		"SELECT u.id FROM users u JOIN users v ON u.email = v.login WHERE u.login = 'x'":               {"journal.users.email", "journal.users.login"},
		"SELECT id FROM entries WHERE body LIKE 'x%'":                                                  nil,
		"SELECT id FROM entries WHERE body LIKE 'x%' AND title = 'y'":                                  {"journal.entries.title"},
		"UPDATE entries SET note = 'x' WHERE title = 'y'":                                              {"journal.entries.title"},
		"INSERT INTO entries (title, body) VALUES ('x', 'y')":                                          nil,
		"SELECT id FROM mixed WHERE title = 'x'":                                                       {"journal.mixed.title"},
		"SELECT id FROM tags WHERE name = 'x'":                                                         nil,
		"SELECT t.id FROM tags t JOIN entries e ON e.id = t.entry_id WHERE e.title = 'x' AND t.id > 3": {"journal.entries.title"},
	} {
		var st Statement
		if err := st.Scan([]byte(text), facts); err != nil {
			t.Fatal(err)
		}
		plan, err := p.Plan(&st, facts)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, c := range plan.Searches {
			got = append(got, c.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestSearchEverything gives search tags to columns whose type can have them, and leaves the policy as it is.
func TestSearchEverything(t *testing.T) {
	s := testSchema(t)
	policy := &Policy{Databases: map[string]map[string]*TablePolicy{"journal": {"tags": {Owner: "entry_id", Columns: map[string]*ColumnPolicy{"name": {}, "gone": {}}}, "missing": {}}}}
	tags := s.Table("journal", "tags").Column("name")
	tags.DataType, tags.ColumnType, tags.Bytes, tags.Charset, tags.Collation = "varchar", "varchar(20)", 80, "utf8mb4", "utf8mb4_general_ci"
	all := SearchEverything(Foresee(s, policy, nil), policy)
	got := all.Table("journal", "tags", 0)
	if got == nil || !got.Columns["name"].SearchEquality || got.Columns["gone"].SearchEquality || got.Owner != "entry_id" {
		t.Errorf("got %+v", got)
	}
	if policy.Databases["journal"]["tags"].Columns["name"].SearchEquality {
		t.Error("the policy itself was changed")
	}
}
