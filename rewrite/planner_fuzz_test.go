package rewrite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// FuzzPlan plans hostile statements: planning never panics, an error is always a refusal, the edits of a plan are in order
// and inside the statement, and no value on a protected column is left where the client put it.
func FuzzPlan(f *testing.F) {
	files, err := filepath.Glob("testdata/plans/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden plans: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if sql, ok := strings.CutPrefix(line, "> "); ok {
				f.Add(sql, uint8(0))
			}
		}
	}
	modes := []SQLMode{StrictTransTables, 0, StrictTransTables | ANSIQuotes, StrictTransTables | NoBackslashEscapes,
		StrictTransTables | PipesAsConcat, StrictTransTables | HighNotPrecedence, StrictTransTables | IgnoreSpace}
	schema, policy := testSchema(f), testPolicy()
	schema.Catalog = map[string][]string{"COLUMNS": {"TABLE_NAME", "DATA_TYPE"}, "STATISTICS": {"TABLE_NAME", "SUB_PART"}}
	for _, sql := range []string{"SELECT information_schema.columns.x FROM information_schema.columns AS `c`, information_schema.statistics WHERE (1)",
		"SHOW FULL COLUMNS FROM entries WHERE Type LIKE 'v%' AND `Default` = 'x'", "SHOW INDEX FROM entries FROM journal WHERE Sub_part IS NULL"} {
		f.Add(sql, uint8(0))
	}
	p := NewPlanner(schema, policy)
	f.Fuzz(func(t *testing.T, sql string, mode uint8) {
		facts := &Facts{Database: "journal", Mode: modes[int(mode)%len(modes)], Charset: CharsetUTF8MB4, ServerVersion: 101119}
		st := &Statement{}
		if err := st.Scan([]byte(sql), facts); err != nil {
			if plan, err := p.Unscanned([]byte(sql), facts); err == nil && plan.Class != Pass {
				t.Errorf("a text that cannot be read has class %d", plan.Class)
			}
			return
		}
		plan, err := p.Plan(st, facts)
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) || plan != nil {
				t.Errorf("error of type %T with plan %v", err, plan)
			}
			return
		}
		checkEdits(t, st, plan)
		checkRows(t, st, plan, schema)
		if plan.Class == Pass && plan.Prepare == nil {
			checkPass(t, p, st, facts)
		}
	})
}

// checkEdits holds the order and the bounds of a plan's edits.
func checkEdits(t *testing.T, st *Statement, plan *Plan) {
	t.Helper()
	end := -1
	for i, e := range plan.Edits {
		if e.From < 0 || e.To < e.From-1 || e.To >= st.CollapsedLen() || e.From > st.CollapsedLen() {
			t.Errorf("edit %d..%d of a statement of %d tokens", e.From, e.To, st.CollapsedLen())
			return
		}
		if e.From <= end {
			t.Errorf("edit %d starts at %d, inside or before the one that ends at %d", i, e.From, end)
		}
		end = max(end, e.To)
		for _, p := range e.Pieces {
			for _, v := range p.Values {
				if v.Token >= st.CollapsedLen() || v.Token < 0 && v.Kind != ValueDefault {
					t.Errorf("a value at token %d of %d", v.Token, st.CollapsedLen())
				}
			}
			if p.Kind == PieceSource && (p.From < 0 || p.To < p.From || p.To >= st.CollapsedLen()) {
				t.Errorf("a copy of %d..%d of %d tokens", p.From, p.To, st.CollapsedLen())
			}
		}
	}
	if plan.Class == Pass && len(plan.Edits) > 0 {
		t.Errorf("a plan that passes has %d edits", len(plan.Edits))
	}
}

// edited reports whether real token i is replaced by an edit, in its own row or in the row that the shape kept for it.
func edited(st *Statement, plan *Plan, i int) bool {
	if g := st.GroupOf(i); g >= 0 {
		group := st.Groups()[g]
		for k := range st.Elements(group) {
			first, last, like := st.Element(group, k)
			if i >= first && i <= last {
				known, _, _ := st.Element(group, like)
				i += known - first
				break
			}
		}
	}
	c := st.Collapsed(i)
	for _, e := range plan.Edits {
		if c >= e.From && c <= e.To {
			return true
		}
	}
	return false
}

// checkRows finds the rows of INSERT and REPLACE from the tokens alone: no literal may stay on a protected column.
func checkRows(t *testing.T, st *Statement, plan *Plan, schema *Schema) {
	t.Helper()
	if !st.Is(0, KwInsert) && !st.Is(0, KwReplace) {
		return
	}
	i := 1
	for st.Is(i, KwInto) || st.Is(i, KwIgnore) || st.Is(i, KwLowPriority) || st.Is(i, KwDelayed) || st.Is(i, KwHighPriority) {
		i++
	}
	database := "journal"
	if st.IsOp(i+1, OpDot) {
		database = st.Name(i)
		i += 2
	}
	table := schema.Table(database, st.Name(i))
	if table == nil || table.Kind == View || !st.IsOp(i+1, OpLeftParen) {
		return
	}
	var protected []bool
	for i += 2; i < st.Len() && !st.IsOp(i, OpRightParen); i++ {
		if st.IsOp(i+1, OpDot) || st.IsOp(i, OpDot) {
			continue
		}
		if st.Token(i).IsIdentifier() {
			c := table.Column(st.Name(i))
			protected = append(protected, c != nil && c.Protected != nil)
		}
	}
	if i++; !st.Is(i, KwValues) && !st.Is(i, KwValue) {
		return
	}
	for i++; st.IsOp(i, OpLeftParen); i++ {
		end, column := st.Match(i), 0
		for j := i + 1; j < end; j++ {
			switch {
			case st.IsOp(j, OpComma):
				column++
			case st.IsOp(j, OpLeftParen) && st.Match(j) > 0 && (column >= len(protected) || !protected[column]):
				j = st.Match(j)
			case column < len(protected) && protected[column] && (st.Token(j).Kind.IsLiteral() || st.Token(j).Kind == TokParam) && !edited(st, plan, j):
				t.Errorf("a value on a protected column is not replaced: token %d", j)
			}
		}
		if i = end + 1; !st.IsOp(i, OpComma) {
			return
		}
	}
}

// checkPass holds that a statement which writes a protected column by its syntax tree does not pass.
func checkPass(t *testing.T, p *Planner, st *Statement, f *Facts) {
	t.Helper()
	parsed, err := Parse(st, f, p.pool)
	if err != nil {
		return
	}
	tables := &tableCollector{schema: p.schema}
	parsed.Node.Accept(tables)
	if tables.other || len(tables.found) != 1 {
		return // which table a column is of takes the whole of name resolution
	}
	writes := func(n *ast.ColumnName, e ast.ExprNode) {
		c := tables.found[0].Column(n.Name.O)
		if c == nil || c.Protected == nil {
			return
		}
		if _, ok := e.(*ast.DefaultExpr); ok {
			return
		}
		if name, ok := unparen(e).(*ast.ColumnNameExpr); ok && FoldName(name.Name.Name.O) == FoldName(n.Name.O) {
			return // ON DUPLICATE KEY UPDATE a = a
		}
		t.Errorf("the statement writes %s and passes", c.Protected)
	}
	switch s := parsed.Node.(type) {
	case *ast.UpdateStmt:
		for _, a := range s.List {
			writes(a.Column, a.Expr)
		}
	case *ast.InsertStmt:
		for _, a := range s.OnDuplicate {
			writes(a.Column, a.Expr)
		}
		for _, row := range s.Lists {
			for i, e := range row {
				if i < len(s.Columns) && len(row) == len(s.Columns) {
					writes(s.Columns[i], e)
				}
			}
		}
	}
}

// tableCollector gathers the tables that a syntax tree names.
type tableCollector struct {
	schema *Schema
	found  []*Table
	other  bool
}

// Enter implements ast.Visitor.
func (v *tableCollector) Enter(n ast.Node) (ast.Node, bool) {
	if name, ok := n.(*ast.TableName); ok {
		database := name.Schema.O
		if database == "" {
			database = "journal"
		}
		if table := v.schema.Table(database, name.Name.O); table != nil && table.Kind == BaseTable {
			v.found = append(v.found, table)
		} else {
			v.other = true
		}
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *tableCollector) Leave(n ast.Node) (ast.Node, bool) { return n, true }
