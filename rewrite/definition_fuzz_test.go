package rewrite

import (
	"os"
	"strings"
	"testing"
)

// FuzzDefinitions plans DDL of any kind. Whatever is let through must not declare a column that the policy names as anything
// but one of cells.
func FuzzDefinitions(f *testing.F) {
	for _, file := range []string{"testdata/definitions/create.txt", "testdata/definitions/change.txt"} {
		golden, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.SplitSeq(string(golden), "\n") {
			if statement, ok := strings.CutPrefix(line, "> "); ok && len(statement) < 300 {
				f.Add(statement, uint64(0))
			}
		}
	}
	f.Add("CREATE TABLE users (/*!name VARCHAR(10)*/, `name` TEXT)", uint64(0))
	f.Add(`CREATE TABLE users (id INT, "name" VARCHAR(10) DEFAULT 'a' "b")`, uint64(ANSIQuotes))
	f.Fuzz(func(t *testing.T, text string, mode uint64) {
		for _, filled := range []bool{false, true} {
			schema, policy := definitionSchema(t, filled), definitionPolicy(t)
			Protect(schema, policy, func(_, mac []byte) bool { return len(mac) == proxyMAC })
			facts := &Facts{Database: "journal", Mode: SQLMode(mode) &^ Oracle, Charset: CharsetUTF8MB4, ServerVersion: 101119}
			st := &Statement{}
			if st.Scan([]byte(text), facts) != nil {
				return
			}
			plan, err := NewPlanner(schema, policy).Plan(st, facts)
			if err != nil || plan.Class == Local {
				continue
			}
			rendered := text
			if plan.Class == Sealed {
				rendered = renderTemplate(st, plan.Edits, 0, st.CollapsedLen()-1)
			}
			checkDeclarations(t, policy, facts, text, rendered)
		}
	})
}

// checkDeclarations looks at the columns that a CREATE TABLE or an ADD COLUMN declares.
func checkDeclarations(t *testing.T, policy *Policy, facts *Facts, text, rendered string) {
	t.Helper()
	st := &Statement{}
	if err := st.Scan([]byte(rendered), facts); err != nil {
		t.Fatalf("%q became %q, which cannot be read: %v", text, rendered, err)
	}
	i := 1
	for st.Is(i, KwOr) || st.Is(i, KwReplace) || st.Is(i, KwOnline) || st.Is(i, KwIgnore) {
		i++
	}
	if !st.Is(0, KwCreate) || !st.Is(i, KwTable) {
		return
	}
	if i++; st.Is(i, KwIf) {
		i += 3
	}
	if st.IsOp(i+1, OpDot) && strings.EqualFold(st.Name(i), "journal") {
		i += 2
	}
	table := policy.Table("journal", st.Name(i), 0)
	end := st.Match(i + 1)
	if table == nil || !st.IsOp(i+1, OpLeftParen) || end < 0 {
		return
	}
	for j, begins := i+2, true; j < end; j++ {
		if begins && table.Column(st.Name(j)) != nil && isColumn(st, j) {
			switch strings.ToUpper(st.Name(j + 1)) {
			case "VARBINARY", "BLOB", "MEDIUMBLOB", "LONGBLOB":
			default:
				t.Errorf("%q became %q: column %s is declared as it came", text, rendered, st.Name(j))
			}
		}
		begins = st.IsOp(j, OpComma)
		if st.IsOp(j, OpLeftParen) {
			j = st.Match(j)
		}
	}
}
