package rewrite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var shapeFacts = Facts{Database: "app", Charset: CharsetUTF8MB4, ServerVersion: testVersion}

func shapeOf(tb testing.TB, sql string, f *Facts) (string, *Statement) {
	tb.Helper()
	s := &Statement{}
	if err := s.Scan([]byte(sql), f); err != nil {
		tb.Fatalf("%.200q: %v", sql, err)
	}
	return string(s.AppendShape(nil, f)), s
}

func TestEqualShapes(t *testing.T) {
	for _, group := range [][]string{
		{"SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'yy''y'", "SELECT  a\nFROM /* c */ t -- d\nWHERE b = 'z';"},
		{"SELECT a FROM t WHERE b = 1 LIMIT 1", "SELECT a FROM t WHERE b = 123 LIMIT 50"},
		{"SELECT a FROM t LIMIT 1, 2", "SELECT a FROM t LIMIT 10,20"},
		{"SELECT a FROM t WHERE b IN (1,2,3)", "SELECT a FROM t WHERE b IN (4)", "SELECT a FROM t WHERE b IN ( 4 , 5 )"},
		{"SELECT a FROM t WHERE b IN ('a', 1)", "SELECT a FROM t WHERE b IN ('a', 2, 'b', 'c', 3)"},
		{"INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (1, 'a'), (2,'b'),(3, 'c')"},
		{"INSERT INTO t VALUES (1, NULL), (2, 'b')", "INSERT INTO t VALUES (1, NULL), (2, 'b'), (3, NULL), (4, 'x')"},
		{"SET STATEMENT a=1 FOR REPLACE t VALUE (1)", "SET STATEMENT a=1 FOR REPLACE t VALUE (1), (2)"},
		{"SELECT /*!50000 a */ FROM t", "SELECT a FROM t", "SELECT a /*!99999 b */ FROM t"},
		{"SELECT {d '2020-01-01'}", "SELECT {d '2021-01-01'}"},
		{"SELECT DATE '2020-01-01'", "SELECT DATE '2021-01-01'"},
	} {
		want, _ := shapeOf(t, group[0], &shapeFacts)
		for _, sql := range group[1:] {
			if got, _ := shapeOf(t, sql, &shapeFacts); got != want {
				t.Errorf("%q has shape %q, want that of %q, %q", sql, got, group[0], want)
			}
		}
	}
}

func TestDifferentShapes(t *testing.T) {
	for _, group := range [][]string{
		{"SELECT 1", "SELECT 'x'", "SELECT 1.0", "SELECT 1e0", "SELECT x'01'", "SELECT 0x01", "SELECT b'1'", "SELECT 0b1", "SELECT N'x'", "SELECT ?",
			"SELECT NULL", "SELECT -1", "SELECT 'a' 'b'", "SELECT _utf8'x'", "SELECT @x", "SELECT `1`", "SELECT x"},
		{"SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 2", "SELECT a FROM t ORDER BY (3)", "SELECT a FROM t ORDER BY a, 2", "SELECT a FROM t ORDER BY a, 3",
			"SELECT a FROM t ORDER BY 1 DESC"},
		{"SELECT a FROM t GROUP BY 1", "SELECT a FROM t GROUP BY 2"},
		{"SELECT a FROM t ORDER BY (SELECT b FROM u ORDER BY 1 LIMIT 1), 2", "SELECT a FROM t ORDER BY (SELECT b FROM u ORDER BY 1 LIMIT 1), 3"},
		{"SELECT a AS 'x' FROM t", "SELECT a AS 'y' FROM t", "SELECT a 'y' FROM t", "SELECT a 'z' FROM t"},
		{"SELECT a() 'x'", "SELECT a() 'y'"}, {"SELECT 1 'x'", "SELECT 1 'y'"}, {"SELECT comment 'x'", "SELECT comment 'y'"},
		{"SELECT a COLLATE 'x'", "SELECT a COLLATE 'y'"},
		{"SELECT a-b", "SELECT a- -b", "SELECT a--b"}, {"SELECT a FROM t", "SELECT A FROM t", "select a from t"},
		{"SELECT count(a)", "SELECT count (a)"}, {"SELECT a.b", "SELECT a .b", "SELECT a. b"}, {"SELECT a< =b", "SELECT a<=b"},
		{"SELECT ab", "SELECT a b"}, {"SELECT a /**/b", "SELECT ab"}, {"SELECT 1 1", "SELECT 11"},
		{"INSERT INTO t VALUES (1), ('a')", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES ('a'), (1)"},
		{"INSERT INTO t VALUES (1, 2)", "INSERT INTO t VALUES (1), (2)"},
		{"SELECT a IN (1)", "SELECT a IN (1,)", "SELECT a IN (,1)", "SELECT a IN ()", "SELECT a IN (1, b)", "SELECT a IN (b, c)", "SELECT a IN (SELECT 1)"},
		{"SELECT `a\x10`", "SELECT `a` \x0b`b`"},
	} {
		seen := map[string]string{}
		for _, sql := range group {
			shape, _ := shapeOf(t, sql, &shapeFacts)
			if other, ok := seen[shape]; ok {
				t.Errorf("%q and %q have the same shape %q", sql, other, shape)
			}
			seen[shape] = sql
		}
	}
	base, _ := shapeOf(t, "SELECT 1", &shapeFacts)
	for _, f := range []Facts{
		{Database: "ap", Charset: CharsetUTF8MB4, ServerVersion: testVersion}, {Database: "app", Charset: CharsetLatin1, ServerVersion: testVersion},
		{Database: "app", Charset: CharsetUTF8MB4, ServerVersion: 110401}, {Database: "app", Charset: CharsetUTF8MB4, ServerVersion: testVersion, Mode: PipesAsConcat},
	} {
		if shape, _ := shapeOf(t, "SELECT 1", &f); shape == base {
			t.Errorf("facts %+v are not in the shape", f)
		}
	}
}

func TestShapeHoldsNoLiteral(t *testing.T) {
	for _, sql := range []string{
		"INSERT INTO t VALUES ('canary', 0x63616e617279, x'63616e617279', 777, 7.77, 777e7, N'canary', _utf8'canary', \"canary\")",
		"UPDATE t SET a = 'canary', b = -777 WHERE c LIKE 'canary%' AND d BETWEEN 'canary' AND 777 LIMIT 777",
		"SELECT CONCAT('canary', a, 'canary') FROM t WHERE b IN ('x', 'canary') OR NOT 'canary' OR CASE 'canary' WHEN 'canary' THEN 'canary' ELSE 'canary' END",
		"SET @latchkey = 'canary', @x := 'canary'", "CALL latchkey.unlock('canary', 'canary')", "PREPARE s FROM 'canary'", "EXECUTE IMMEDIATE 'canary'",
		"ALTER USER u IDENTIFIED BY 'canary'", "SET PASSWORD = 'canary'",
	} {
		shape, _ := shapeOf(t, sql, &shapeFacts)
		if strings.Contains(shape, "canary") || strings.Contains(shape, "777") {
			t.Errorf("%q leaves a literal in its shape %q", sql, shape)
		}
	}
}

func TestGroups(t *testing.T) {
	_, s := shapeOf(t, "INSERT INTO t (a, b) VALUES (1, 'a'), (2, NULL), (3, 'c'), (4, NULL) ON DUPLICATE KEY UPDATE a = VALUES(a) + (b IN (5, 6, 'x', 7))", &shapeFacts)
	groups := s.Groups()
	if len(groups) != 2 || groups[0].Kind != GroupRows || groups[1].Kind != GroupList {
		t.Fatalf("groups %+v, want rows and a list", groups)
	}
	var likes []int
	for k := range s.Elements(groups[0]) {
		first, last, like := s.Element(groups[0], k)
		if !s.IsOp(first, OpLeftParen) || s.Match(first) != last {
			t.Errorf("row %d is %q", k, s.Span(first, last))
		}
		likes = append(likes, like)
	}
	if !slices.Equal(likes, []int{0, 1, 0, 1}) {
		t.Errorf("rows are like %v", likes)
	}
	if first, last, like := s.Element(groups[1], 3); string(s.Span(first, last)) != "7" || like != 0 {
		t.Errorf("fourth operand is %q like %d", s.Span(first, last), like)
	}
	if s.GroupOf(0) != -1 || s.GroupOf(int(groups[0].First)) != 0 || s.GroupOf(int(groups[1].Last)) != 1 || s.GroupOf(s.Len()-1) != -1 {
		t.Error("GroupOf does not find the groups")
	}
	var got []string
	for c := range s.CollapsedLen() {
		var all []string
		for _, i := range s.Expand(nil, c) {
			all = append(all, string(s.Text(int(i))))
		}
		if len(all) > 1 {
			got = append(got, strings.Join(all, " "))
		}
		if s.Collapsed(s.Real(c)) != c {
			t.Errorf("token %d collapses to %d, want %d", s.Real(c), s.Collapsed(s.Real(c)), c)
		}
	}
	want := []string{"( (", "1 3", ", ,", "'a' 'c'", ") )", "( (", "2 4", ", ,", "NULL NULL", ") )", "5 6 7"}
	if !slices.Equal(got, want) {
		t.Errorf("expanded tokens %q, want %q", got, want)
	}
}

// Every real token is the expansion of exactly one collapsed token, except the commas between dropped elements.
func TestExpandCoversTheStatement(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []string{"1", "'a'", "NULL", "DEFAULT", "-1", "f(1, 2)", "?", "(1)", "a IN (1, 2)", "x'00'"}
	for range 500 {
		var b strings.Builder
		b.WriteString("INSERT INTO t VALUES ")
		for row := range 1 + r.IntN(8) {
			if row > 0 {
				b.WriteString(", ")
			}
			b.WriteString("(" + values[r.IntN(len(values))] + "," + values[r.IntN(3)] + ")")
		}
		b.WriteString(" ON DUPLICATE KEY UPDATE a = b IN (1")
		for range r.IntN(5) {
			b.WriteString(", " + values[r.IntN(len(values))])
		}
		b.WriteString(")")
		_, s := shapeOf(t, b.String(), &shapeFacts)
		seen := make([]int, s.Len())
		for c := range s.CollapsedLen() {
			for _, i := range s.Expand(nil, c) {
				seen[i]++
				if s.Token(int(i)).Kind != s.Token(s.Real(c)).Kind {
					t.Fatalf("%s: token %d and its model %d differ in kind", b.String(), i, s.Real(c))
				}
			}
		}
		for i, n := range seen {
			if n != 1 && !(n == 0 && s.IsOp(i, OpComma)) {
				t.Fatalf("%s: token %d %q is covered %d times", b.String(), i, s.Text(i), n)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	f := shapeFacts
	f.MultiStatements = true
	for _, tc := range []struct {
		sql  string
		want []string
	}{
		{"SELECT 1", []string{"SELECT 1"}},
		{"SELECT 1; SELECT ';' /* ; */; ", []string{"SELECT 1", "SELECT ';'"}},
		{"SELECT 1;; SELECT 2", []string{"SELECT 1", "", "SELECT 2"}},
		{"SELECT 1; -- c", []string{"SELECT 1", ""}},
		{"BEGIN; SELECT 1; COMMIT", []string{"BEGIN", "SELECT 1", "COMMIT"}},
		{"BEGIN NOT ATOMIC SELECT 1; END; SELECT 2", []string{"BEGIN NOT ATOMIC SELECT 1 ; END ; SELECT 2"}},
		{"SELECT 1; IF 1 THEN SELECT 2; END IF", []string{"SELECT 1", "IF 1 THEN SELECT 2 ; END IF"}},
		{"x: LOOP LEAVE x; END LOOP", []string{"x : LOOP LEAVE x ; END LOOP"}},
		{"CREATE OR REPLACE DEFINER=`table`@`%` PROCEDURE p() BEGIN SELECT 1; END; SELECT 2", []string{"CREATE OR REPLACE DEFINER = `table` @`%` PROCEDURE p ( ) BEGIN SELECT 1 ; END ; SELECT 2"}},
		{"CREATE DEFINER=view@x TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @a=1; SELECT 2", []string{"CREATE DEFINER = view @x TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @a = 1 ; SELECT 2"}},
		{"CREATE DEFINER=CURRENT_USER() EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1; END", []string{"CREATE DEFINER = CURRENT_USER ( ) EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1 ; END"}},
		{"CREATE TABLE function (a INT); SELECT 1", []string{"CREATE TABLE function ( a INT )", "SELECT 1"}},
		{"CREATE VIEW v AS SELECT trigger_x FROM t; SELECT 1", []string{"CREATE VIEW v AS SELECT trigger_x FROM t", "SELECT 1"}},
		{"SET STATEMENT a=1 FOR BEGIN NOT ATOMIC SELECT 1; END", []string{"SET STATEMENT a = 1 FOR BEGIN NOT ATOMIC SELECT 1 ; END"}},
		{"SET STATEMENT a=1 FOR SELECT 1; SELECT 2", []string{"SET STATEMENT a = 1 FOR SELECT 1", "SELECT 2"}},
		{"/*!50003 CREATE*/ /*!50017 DEFINER=`u`@`h`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET @a=1; END */", []string{"CREATE DEFINER = `u` @`h` TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET @a = 1 ; END"}},
	} {
		var s Statement
		if err := s.Scan([]byte(tc.sql), &f); err != nil {
			t.Fatalf("%s: %v", tc.sql, err)
		}
		n, err := s.Split(&f)
		if err != nil {
			t.Errorf("%s: %v", tc.sql, err)
		}
		var got []string
		for i := range n {
			got = append(got, strings.Join(texts(s.Part(i)), " "))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: parts %q, want %q", tc.sql, got, tc.want)
		}
	}
	var s Statement
	if err := s.Scan([]byte("SELECT 1; SELECT 2"), &shapeFacts); err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Split(&shapeFacts); n != 1 || s.Part(0).Len() != 5 {
		t.Errorf("without multi-statements there are %d parts, the first of %d tokens", n, s.Part(0).Len())
	}
	if err := s.Scan([]byte("/*! SELECT 1; SELECT 2 */"), &f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Split(&f); err == nil {
		t.Error("a semicolon inside an executable comment was taken for a boundary")
	}
}

func TestPartsKeepTheirParentheses(t *testing.T) {
	f := shapeFacts
	f.MultiStatements = true
	var s Statement
	if err := s.Scan([]byte("SELECT (1); SELECT a IN (?, ?), ((2))"), &f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Split(&f); err != nil {
		t.Fatal(err)
	}
	p := s.Part(1)
	for i := range p.Len() {
		if m := p.Match(i); m >= 0 && p.Match(m) != i {
			t.Errorf("parenthesis %d matches %d, which matches %d", i, m, p.Match(m))
		}
	}
	if p.Params() != 2 || p.ParamNumber(6) != 1 {
		t.Errorf("%d parameters, that at 6 has number %d", p.Params(), p.ParamNumber(6))
	}
	if a, b := string(p.AppendShape(nil, &f)), "SELECT a IN (?),((2))"; !strings.HasSuffix(a, "SELECT a IN (?),(("+string(literalMark(TokInteger))+"))") {
		t.Errorf("shape of a part is %q, want that of %s", a, b)
	}
}

// statements of the table in the benchmark, from short to long.
func sampleStatements() []struct{ name, sql string } {
	rows := func(n int) string {
		var b strings.Builder
		b.WriteString("INSERT INTO `posts` (`id`, `title`, `body`, `n`, `at`) VALUES ")
		for i := range n {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "(%d, 'title number %d', 'body it''s %d with some more text', %d.5, '2024-01-01 00:00:00')", i, i, i, i)
		}
		return b.String()
	}
	return []struct{ name, sql string }{
		{"get option", "SELECT option_value FROM wp_options WHERE option_name = 'siteurl' LIMIT 1"},
		{"delete", "DELETE FROM `sessions` WHERE `last_activity` <= 1700000000 AND `user_id` = 5"},
		{"update 3 columns", "UPDATE `users` SET `name` = 'Someone', `email` = 'someone@example.com', `updated_at` = '2024-01-01 00:00:00' WHERE `id` = 15"},
		{"select where order limit", "select * from `users` where `email` = 'someone@example.com' and `active` = 1 order by `created_at` desc limit 15 offset 30"},
		{"select in 8", "select `id`, `title` from `posts` where `user_id` in (1, 2, 3, 4, 5, 6, 7, 8) and `deleted_at` is null order by `id` asc"},
		{"join of 5", "SELECT a.id, a.name, b.title, c.body, d.tag, e.at FROM a INNER JOIN b ON b.a_id = a.id LEFT JOIN c ON c.b_id = b.id LEFT JOIN d ON d.b_id = b.id AND d.kind = 'x' JOIN e ON e.a_id = a.id WHERE a.owner = 5 AND b.state IN ('open', 'new') AND e.at > '2024-01-01' GROUP BY a.id, b.id HAVING COUNT(*) > 1 ORDER BY b.title DESC LIMIT 20"},
		{"insert 12 columns", "INSERT INTO `t` (`a`,`b`,`c`,`d`,`e`,`f`,`g`,`h`,`i`,`j`,`k`,`l`) VALUES (1, 'some text', 'more text', NULL, 1.5, '2024-01-01', 'x', 'y', 2, 3, 'the last but one', 'last')"},
		{"insert 100 rows", rows(100)},
		{"insert 1000 rows", rows(1000)},
	}
}

func TestScanAndShapeDoNotAllocate(t *testing.T) {
	f := shapeFacts
	f.MultiStatements = true
	var s Statement
	buf := make([]byte, 0, 1<<20)
	cache := map[string]int{}
	for _, sample := range sampleStatements() {
		sql := []byte(sample.sql + "; SELECT a FROM t WHERE b IN (1, 2)")
		run := func() {
			if err := s.Scan(sql, &f); err != nil {
				t.Fatal(err)
			}
			n, err := s.Split(&f)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				buf = s.Part(i).AppendShape(buf[:0], &f)
				_ = cache[string(buf)]
			}
			buf = s.AppendShape(buf[:0], &f)
		}
		run()
		if n := testing.AllocsPerRun(10, run); n != 0 {
			t.Errorf("%s: %v allocations, want none", sample.name, n)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, sample := range sampleStatements() {
		b.Run(sample.name, func(b *testing.B) {
			var s Statement
			sql := []byte(sample.sql)
			b.SetBytes(int64(len(sql)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Scan(sql, &shapeFacts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkShape(b *testing.B) {
	for _, sample := range sampleStatements() {
		b.Run(sample.name, func(b *testing.B) {
			var s Statement
			sql := []byte(sample.sql)
			buf := make([]byte, 0, 1<<20)
			cache := map[string]int{}
			b.SetBytes(int64(len(sql)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Scan(sql, &shapeFacts); err != nil {
					b.Fatal(err)
				}
				buf = s.AppendShape(buf[:0], &shapeFacts)
				_ = cache[string(buf)]
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	pool := NewParserPool(1)
	for _, sample := range sampleStatements() {
		b.Run(sample.name, func(b *testing.B) {
			var s Statement
			if err := s.Scan([]byte(sample.sql), &shapeFacts); err != nil {
				b.Fatal(err)
			}
			s.AppendShape(nil, &shapeFacts)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(&s, &shapeFacts, pool); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
