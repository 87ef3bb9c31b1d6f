package rewrite

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"

	"latchkey/internal/mariadbtest"
)

func parseText(tb testing.TB, sql string, f *Facts, pool *ParserPool) (*Statement, *Parsed, error) {
	tb.Helper()
	s := &Statement{}
	if err := s.Scan([]byte(sql), f); err != nil {
		tb.Fatalf("%.200q: %v", sql, err)
	}
	s.AppendShape(nil, f)
	p, err := Parse(s, f, pool)
	return s, p, err
}

// accepted are statements that must be parsed, with what is cut from each.
var accepted = []struct {
	sql string
	cut Clause
}{
	{"SELECT a, b AS 'x y', `c`, t.d, db.t.e, count(*), now(), -5, +1.5, 'a' 'b', x'41', 0x41, b'1', 1e5, ?, @v, @@global.sql_mode FROM db.t", 0},
	{"SELECT * FROM t WHERE a = ? AND b IN (1, 2, 3) AND c <=> 'x' ORDER BY 1, 2 DESC LIMIT 5 OFFSET 3", 0},
	{"SELECT /*! STRAIGHT_JOIN */ a FROM t /*!50701 FOR UPDATE */", 0},
	{"SELECT a FROM t -- comment\nWHERE b = 'x' # more", 0},
	{"(SELECT a FROM t) UNION ALL (SELECT b FROM u) ORDER BY 1", 0},
	{"WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c", 0},
	{"SELECT a FROM t INTERSECT SELECT b FROM u EXCEPT ALL SELECT c FROM v", 0},
	{"SELECT rank, `groups`, groups, t.system, lead, row, of, until FROM groups WHERE groups.a = 1 AND schema = 2", 0},
	{"SELECT RANK() OVER (PARTITION BY a ORDER BY b), ROW_NUMBER() OVER w FROM t WINDOW w AS (ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", 0},
	{"INSERT INTO Groups (Name, Domain) VALUES ('a', 'b')", 0},
	{"INSERT INTO rank (a) VALUES (1)", 0},
	{"INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y'), (3, NULL)", 0},
	{"INSERT t VALUE (1, DEFAULT)", 0},
	{"INSERT INTO t () VALUES ()", 0},
	{"INSERT LOW_PRIORITY IGNORE INTO t SET a = 1, b = 'x' ON DUPLICATE KEY UPDATE b = VALUES(b), c = VALUE(c)", 0},
	{"INSERT DELAYED INTO t (a) VALUES (1)", 0},
	{"INSERT INTO t (a) SELECT b FROM u ON DUPLICATE KEY UPDATE a = 1", 0},
	{"INSERT INTO t (a) VALUES (?) RETURNING id, a AS x", CutReturning},
	{"REPLACE DELAYED INTO db.t (a) VALUES (?) RETURNING *", CutReturning},
	{"DELETE FROM t WHERE a = 1 ORDER BY b LIMIT 1 RETURNING a, CONCAT(b, 'x')", CutReturning},
	{"DELETE QUICK FROM t WHERE a IN ('x', 'y')", 0},
	{"DELETE a FROM t AS a JOIN u USING (id) WHERE u.x = 1", 0},
	{"DELETE FROM a USING a JOIN b ON a.id = b.id", 0},
	{"UPDATE t SET a = 'x', b = b + 1 WHERE c = 2 ORDER BY d LIMIT 3", 0},
	{"UPDATE LOW_PRIORITY IGNORE t AS x, u SET x.a = u.b WHERE x.id = u.id", 0},
	{"SET STATEMENT max_statement_time = 5, sort_buffer_size = (1 + 2) FOR SELECT a FROM t", CutSetStatement},
	{"EXPLAIN EXTENDED SELECT a FROM t", CutExplain},
	{"EXPLAIN FORMAT = JSON SELECT a FROM t", CutExplain},
	{"DESCRIBE UPDATE t SET a = 1", CutExplain},
	{"DESC SELECT a FROM t", CutExplain},
	{"EXPLAIN PARTITIONS DELETE FROM t", CutExplain},
	{"ANALYZE FORMAT=JSON SELECT a FROM t WHERE b = 'x'", CutAnalyze},
	{"ANALYZE INSERT INTO t VALUES (1)", CutAnalyze},
	{"SELECT a, b INTO @x, @y FROM t", CutIntoVariable},
	{"SELECT a FROM t INTO @x", CutIntoVariable},
	{"SELECT a FROM t INTO OUTFILE '/tmp/x' CHARACTER SET utf8 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES STARTING BY 'x' TERMINATED BY '\\n'", CutIntoFile},
	{"SELECT a INTO DUMPFILE '/tmp/x' FROM t", CutIntoFile},
	{"SELECT a FROM t OFFSET 2 ROWS FETCH FIRST 5 ROWS ONLY", CutFetch},
	{"SELECT a FROM t ORDER BY a FETCH NEXT ROW WITH TIES", CutFetch},
	{"SELECT a FROM t LIMIT 2 ROWS EXAMINED 100", CutRowsExamined},
	{"SELECT a FROM t LIMIT ROWS EXAMINED 100", CutRowsExamined},
	{"SELECT a FROM t PROCEDURE ANALYSE(10, 2000)", CutProcedure},
	{"SELECT a FROM t WHERE b SOUNDS LIKE 'x'", CutSounds},
	{"SELECT a FROM t FOR UPDATE", CutLocking},
	{"SELECT a FROM t FOR UPDATE SKIP LOCKED", CutLocking},
	{"SELECT a FROM t LOCK IN SHARE MODE WAIT 5", CutLocking},
	{"SELECT a FROM t LOCK IN SHARE MODE NOWAIT", CutLocking},
	{"SELECT SQL_NO_CACHE HIGH_PRIORITY DISTINCT a FROM t", CutOptions},
	{"SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", 0},
	{"SELECT a COLLATE utf8mb4_nopad_bin, b COLLATE 'uca1400_ai_ci', c COLLATE latin1_bin FROM t", 0},
	{"SELECT _koi8r'x', _ucs2 x'0041', N'y', CONVERT(a USING koi8r), CAST(b AS CHAR CHARACTER SET ucs2), CHAR(77 USING cp1251) FROM t", 0},
	{"SELECT * FROM t USE INDEX FOR JOIN (a) FORCE INDEX (b)", 0},
	{"SELECT {d '2020-01-01'}, {fn now()}, DATE '2020-01-01', TIMESTAMP'2020-01-01 00:00:00', INTERVAL '1' DAY + a FROM t", 0},
	{"SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR '; ') FROM t GROUP BY 1 HAVING COUNT(*) > 1", 0},
	{"SELECT MATCH (a) AGAINST ('x' IN BOOLEAN MODE) FROM t", 0},
	{"SELECT a LIKE 'x%' ESCAPE '!', a REGEXP 'y', a NOT LIKE 'z', a BETWEEN 1 AND 2 FROM t", 0},
	{"SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END, IF(a, b, c), COALESCE(a, b) FROM t", 0},
	{"SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id) AND (a, b) IN (SELECT c, d FROM v)", 0},
	{"SELECT a FROM t WHERE (a, b) IN ((1, 'x'), (2, 'y'))", 0},
	{"SELECT `0X41`, 0X41, 1e, t.5a FROM t", 0},
	{"SELECT 123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789.5", 0},
	{"SELECT 1e400, 99999999999999999999999999999999999", 0},
	{"SELECT NEXT VALUE FOR s, LASTVAL(s)", 0},
	{"SELECT t.select, t .from FROM t", 0},
	{"SELECT \\N", 0},
	{"DO SLEEP(1)", 0},
	{"SELECT a FROM t PARTITION (p0, p1) AS x STRAIGHT_JOIN u ON x.a = u.a NATURAL LEFT JOIN v", 0},
	{"SELECT 'it''s' AS 'it''s', `a``b` AS `c``d` FROM t", 0},
	{"SELECT a FROM t WHERE b -- \n= 1", 0},
	{"SELECT 1--1, 1 - -1, 1-/**/-1", 0},
	{"SELECT a ж FROM é WHERE ж.ё = 'ü'", 0},
}

func TestParseAccepts(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	pool := NewParserPool(1)
	for _, tc := range accepted {
		s, p, err := parseText(t, tc.sql, &f, pool)
		if err != nil {
			t.Errorf("%s: %v", tc.sql, err)
			continue
		}
		if p.Cut != tc.cut {
			t.Errorf("%s: cut %b, want %b", tc.sql, p.Cut, tc.cut)
		}
		if (p.Returning != nil) != (tc.cut&CutReturning != 0) {
			t.Errorf("%s: list of RETURNING is %v", tc.sql, p.Returning)
		}
		checkOffsets(t, s, p)
		if p.Returning != nil {
			checkOffsets(t, s, p.Returning)
		}
	}
}

// The statements that the parser must accept are real ones: the server may miss their tables, not their grammar.
func TestAcceptedAgainstServer(t *testing.T) {
	b := newBackend(t, CharsetUTF8MB4, 0)
	b.exec("USE " + mariadbtest.Shared(t).NewDatabase(t))
	for _, tc := range accepted {
		if strings.Contains(tc.sql, "?") || strings.HasPrefix(tc.sql, "DO SLEEP") || tc.cut&CutIntoFile != 0 {
			continue
		}
		if code, _ := b.answer(tc.sql); code == 1064 {
			t.Errorf("%s: a syntax error for the server", tc.sql)
		}
	}
}

// offsetChecker holds every node of a tree that has a position against the token there.
type offsetChecker struct {
	t *testing.T
	s *Statement
	p *Parsed
}

func checkOffsets(t *testing.T, s *Statement, p *Parsed) {
	t.Helper()
	c := &offsetChecker{t: t, s: s, p: p}
	p.Node.Accept(c)
}

func (c *offsetChecker) at(n ast.Node, offset int) (int, bool) {
	if offset == 0 {
		return 0, false
	}
	i := c.p.TokenAt(offset)
	if i < 0 {
		c.t.Errorf("%s: %T at %d has no token", c.s.SQL(), n, offset)
		return 0, false
	}
	return i, true
}

func (c *offsetChecker) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *paramMarker:
		i := c.p.TokenAt(x.Offset)
		if i < 0 || c.s.Token(i).Kind != TokParam {
			c.t.Errorf("%s: marker at token %d %q", c.s.SQL(), i, c.s.Text(i))
		}
		return n, true
	case *valueExpr:
		if i, ok := c.at(n, x.OriginTextPosition()); ok {
			k := c.s.Token(i)
			isWord := k.Keyword() == KwNull || k.Keyword() == KwTrue || k.Keyword() == KwFalse
			if !k.Kind.IsLiteral() && !isWord {
				c.t.Errorf("%s: literal at token %d %q", c.s.SQL(), i, c.s.Text(i))
			}
		}
	case *ast.ColumnNameExpr:
		want := x.Name.Name.O
		if x.Name.Table.O != "" {
			want = x.Name.Table.O
		}
		if x.Name.Schema.O != "" {
			want = x.Name.Schema.O
		}
		if i, ok := c.at(n, x.OriginTextPosition()); ok && c.s.Name(i) != want {
			c.t.Errorf("%s: column %s at token %d %q", c.s.SQL(), want, i, c.s.Text(i))
		}
	case *ast.FuncCallExpr:
		c.at(n, x.OriginTextPosition())
	case *ast.SelectField:
		c.at(n, x.Offset)
	}
	return n, false
}

func (c *offsetChecker) Leave(n ast.Node) (ast.Node, bool) { return n, true }

func TestParseKeepsStructure(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	pool := NewParserPool(1)

	_, p, err := parseText(t, "SELECT a 'x y', b AS `c d` FROM t ORDER BY 2, 1+1, 'z'", &f, pool)
	if err != nil {
		t.Fatal(err)
	}
	sel := p.Node.(*ast.SelectStmt)
	if got := sel.Fields.Fields[0].AsName.O + "," + sel.Fields.Fields[1].AsName.O; got != "x y,c d" {
		t.Errorf("aliases are %s", got)
	}
	if pos, ok := sel.OrderBy.Items[0].Expr.(*ast.PositionExpr); !ok || pos.N != 2 {
		t.Errorf("first order item is %T, want position 2", sel.OrderBy.Items[0].Expr)
	}
	if _, ok := sel.OrderBy.Items[1].Expr.(*ast.PositionExpr); ok {
		t.Error("a sum is taken for a position")
	}

	s, p, err := parseText(t, "INSERT INTO t VALUES (1,'a'),(2,'b'),(3,NULL),(4,'c')", &f, pool)
	if err != nil {
		t.Fatal(err)
	}
	if lists := p.Node.(*ast.InsertStmt).Lists; len(lists) != 2 {
		t.Errorf("%d kinds of rows, want 2", len(lists))
	} else if i := p.TokenAt(lists[1][1].OriginTextPosition()); !s.Is(i, KwNull) {
		t.Errorf("second kind's second value is token %d %q, want NULL", i, s.Text(i))
	}

	_, p, err = parseText(t, "DELETE FROM db.t WHERE a = 'x' RETURNING b, 'c' AS d", &f, pool)
	if err != nil {
		t.Fatal(err)
	}
	from := p.Returning.Node.(*ast.SelectStmt).From.TableRefs.Left.(*ast.TableSource).Source.(*ast.TableName)
	if from.Schema.O != "db" || from.Name.O != "t" {
		t.Errorf("RETURNING is about %s.%s", from.Schema.O, from.Name.O)
	}

	for mode, want := range map[SQLMode]string{0: "or", PipesAsConcat: "concat"} {
		f.Mode = mode
		if _, p, err = parseText(t, "SELECT a || b FROM t", &f, pool); err != nil {
			t.Fatal(err)
		}
		got := "or"
		if call, ok := p.Node.(*ast.SelectStmt).Fields.Fields[0].Expr.(*ast.FuncCallExpr); ok {
			got = call.FnName.L
		}
		if got != want {
			t.Errorf("|| under %v is %s, want %s", mode, got, want)
		}
	}
	f.Mode = ANSIQuotes | NoBackslashEscapes
	if _, p, err = parseText(t, `SELECT "a\" FROM "t" WHERE "b""c" = 'x\'`, &f, pool); err != nil {
		t.Fatal(err)
	}
	if got := p.Node.(*ast.SelectStmt).Fields.Fields[0].Expr.(*ast.ColumnNameExpr).Name.Name.O; got != `a\` {
		t.Errorf("column under ANSI_QUOTES is %s", got)
	}
}

// hidden are texts in which MariaDB runs something other than the TiDB lexer would see.
func TestParseSeesWhatTheServerRuns(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	pool := NewParserPool(1)
	for sql, want := range map[string]string{
		"SELECT a /*M! , b */ FROM t":                     "a,b",
		"SELECT a /*M!100100 , b */ FROM t":               "a,b",
		"SELECT a /*!50701 , b */ FROM t":                 "a",
		"SELECT a /*!100100 , b */ FROM t":                "a,b",
		"SELECT a /*!99999 , b /* x */ , c */ FROM t":     "a",
		"SELECT a /*T! , b */ FROM t":                     "a",
		"SELECT a --\x01 , b\n FROM t":                    "a",
		"SELECT a --\x7f , b\n FROM t":                    "a",
		"SELECT a /*T![clustered_index] , b */ FROM t":    "a",
		"SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ a": "a",
	} {
		_, p, err := parseText(t, sql, &f, pool)
		if err != nil {
			t.Errorf("%q: %v", sql, err)
			continue
		}
		var names []string
		for _, field := range p.Node.(*ast.SelectStmt).Fields.Fields {
			names = append(names, field.Expr.(*ast.ColumnNameExpr).Name.Name.O)
		}
		if got := strings.Join(names, ","); got != want {
			t.Errorf("%q selects %s, want %s", sql, got, want)
		}
	}
}

func TestParseLatin1(t *testing.T) {
	f := Facts{Charset: CharsetLatin1, ServerVersion: testVersion}
	_, p, err := parseText(t, "SELECT\xA0\xE9 AS '\xFC\x80'\xA0FROM\xA0t", &f, NewParserPool(1))
	if err != nil {
		t.Fatal(err)
	}
	field := p.Node.(*ast.SelectStmt).Fields.Fields[0]
	if got := field.Expr.(*ast.ColumnNameExpr).Name.Name.O + " " + field.AsName.O; got != "é ü€" {
		t.Errorf("column and alias are %s", got)
	}
}

func TestParseRejects(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion, MultiStatements: true}
	pool := NewParserPool(1)
	for _, sql := range []string{
		"", "SELECT", "SELECT 1; SELECT 2", "SELECT _utf8mb4", "ANALYZE TABLE t", "EXPLAIN t", "DESC t a", "HANDLER t OPEN",
		"INSERT INTO t VALUES (1) RETURNING", "SELECT a FROM t INTO", "SELECT a FROM t FETCH FIRST 2", "SET STATEMENT a = 1",
		"SELECT a -> '$.x' FROM t", "SELECT a FROM t FOR SYSTEM_TIME ALL", "XA START 'x'", "EXPLAIN SHOW TABLES", ")", "(", "SELECT (1",
	} {
		if _, p, err := parseText(t, sql, &f, pool); !errors.Is(err, ErrNotParsed) {
			t.Errorf("%s: got %+v, %v; want ErrNotParsed", sql, p, err)
		}
	}
}

// Every word that MariaDB takes for a name in some place must be one for us in that place.
func TestKeywordsAsNames(t *testing.T) {
	b := newBackend(t, CharsetUTF8MB4, 0)
	b.exec("USE " + mariadbtest.Shared(t).NewDatabase(t))
	pool := NewParserPool(1)
	var words []string
	for _, k := range parser.Keywords {
		words = append(words, k.Word)
	}
	words = append(words, keywordNames[1:]...)
	slices.Sort(words)
	words = slices.Compact(words)
	for _, word := range words {
		for _, form := range []string{
			"SELECT %s FROM nosuch", "SELECT nosuch.%s, %[1]s, a FROM nosuch WHERE %[1]s = 1", "SELECT 1 AS %s", "SELECT 1 %s",
			"SELECT * FROM %s", "SELECT %s.a FROM %[1]s", "SELECT * FROM nosuch AS %s", "SELECT * FROM nosuch %s JOIN x ON %[1]s.a = x.a",
			"INSERT INTO nosuch (%s, b) VALUES (1, 2)", "INSERT INTO %s (a) VALUES (1)", "INSERT INTO %s VALUES (1)", "UPDATE nosuch SET %s = 1 WHERE %[1]s = 2",
			"UPDATE %s SET a = 1", "DELETE FROM %s WHERE %[1]s = 1", "SELECT a FROM nosuch ORDER BY %s", "SELECT a FROM nosuch GROUP BY %s HAVING %[1]s > 1",
		} {
			sql := fmt.Sprintf(form, strings.ToLower(word))
			if strings.Count(form, "%") > 1 {
				sql = strings.ReplaceAll(strings.ReplaceAll(form, "%[1]s", strings.ToLower(word)), "%s", strings.ToLower(word))
			}
			if code, _ := b.answer(sql); code == 1064 || code == 1149 {
				continue
			}
			if _, _, err := parseText(t, sql, &b.facts, pool); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
}

func TestHostileStatements(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	pool := NewParserPool(2)
	for name, sql := range map[string]string{
		"a million open parentheses":   "SELECT " + strings.Repeat("(", 1_000_000),
		"deep subqueries":              strings.Repeat("SELECT (", 1_500_000) + "1" + strings.Repeat(")", 1_500_000),
		"nested parentheses":           "SELECT " + strings.Repeat("(", 201) + "1" + strings.Repeat(")", 201),
		"a chain of NOT":               "SELECT " + strings.Repeat("NOT ", 300_000) + "1",
		"a chain of minus":             "SELECT " + strings.Repeat("- ", 300_000) + "1",
		"nested CASE":                  "SELECT " + strings.Repeat("CASE WHEN 1 THEN ", 10_000) + "1" + strings.Repeat(" END", 10_000),
		"a million conditions":         "SELECT 1 FROM t WHERE a=1" + strings.Repeat(" OR a=1", 1_000_000),
		"many columns":                 "SELECT a" + strings.Repeat(",a", 500_000) + " FROM t",
		"long names":                   "SELECT " + strings.Repeat("a", 300<<10) + " FROM t",
		"rows that all differ":         "INSERT INTO t VALUES (a0)" + differentRows(5_000),
		"nested executable comments":   "SELECT 1" + strings.Repeat("/*! +1", 100_000) + "*/",
		"adjacent strings":             "SELECT 'a'" + strings.Repeat(" 'a'", 500_000),
		"nested braces":                "SELECT " + strings.Repeat("{x ", 100_000) + "1" + strings.Repeat("}", 100_000),
		"an IN list in every IN list":  strings.Repeat("SELECT a IN (a,", 1000) + "1" + strings.Repeat(")", 1000),
		"unary operators in functions": "SELECT " + strings.Repeat("f(-", 150) + "1" + strings.Repeat(")", 150),
	} {
		t.Run(name, func(t *testing.T) {
			var s Statement
			if err := s.Scan([]byte(sql), &f); err != nil {
				t.Fatal(err)
			}
			s.AppendShape(nil, &f)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse(&s, &f, pool)
			runtime.ReadMemStats(&after)
			if err == nil && name != "unary operators in functions" {
				t.Error("it was parsed")
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("parsing took %d MiB", used>>20)
			}
		})
	}
	// What the limits let pass must be within reason too.
	for name, sql := range map[string]string{
		"conditions":  "SELECT 1 FROM t WHERE a=1" + strings.Repeat(" OR a=1", 4_900),
		"parentheses": "SELECT " + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200),
		"betweens":    "SELECT a" + strings.Repeat(" BETWEEN 1 AND a", 4_000),
		"unions":      "SELECT 1" + strings.Repeat(" UNION SELECT 1", 4_000),
		"joins":       "SELECT 1 FROM t" + strings.Repeat(" JOIN t", 4_000),
		"a big batch": "INSERT INTO t (a, b) VALUES (1, 'x')" + strings.Repeat(", (2, 'y')", 100_000),
		"a big list":  "SELECT 1 FROM t WHERE a IN (1" + strings.Repeat(",2", 400_000) + ")",
	} {
		if _, _, err := parseText(t, sql, &f, pool); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func differentRows(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",(a%d)", i+1)
	}
	return b.String()
}

func TestParserPoolIsSafeForConcurrentUse(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	pool := NewParserPool(2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, tc := range accepted {
				var s Statement
				if err := s.Scan([]byte(tc.sql), &f); err != nil {
					t.Error(err)
				}
				s.AppendShape(nil, &f)
				if _, err := Parse(&s, &f, pool); err != nil {
					t.Errorf("%s: %v", tc.sql, err)
				}
			}
		})
	}
	wg.Wait()
}
