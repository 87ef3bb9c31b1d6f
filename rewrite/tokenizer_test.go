package rewrite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const testVersion = 101119

func TestTokens(t *testing.T) {
	utf8, latin1 := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}, Facts{Charset: CharsetLatin1, ServerVersion: testVersion}
	ansi, noBackslash := utf8, utf8
	ansi.Mode, noBackslash.Mode = ANSIQuotes, NoBackslashEscapes
	for _, tc := range []struct {
		name  string
		facts Facts
		sql   string
		want  string // tokens with one space between; ERROR when Scan must fail
	}{
		{"executable comment of MariaDB", utf8, "a /*M! x */ b", "a x b"},
		{"executable comment of a version reached", utf8, "a /*M!100100 x */ b", "a x b"},
		{"executable comment of a later version", utf8, "a /*M!110100 x */ b", "a b"},
		{"executable comment without version", utf8, "a /*! x */ b", "a x b"},
		{"range that only MySQL has, first", utf8, "/*!50700 x*/ b", "b"},
		{"range that only MySQL has, last", utf8, "/*!99999 x*/ b", "b"},
		{"range that only MySQL has, of MariaDB's form", utf8, "/*M!50701 x*/ b", "x b"},
		{"before the range that only MySQL has", utf8, "/*!50699 x*/ b", "x b"},
		{"six digits", utf8, "/*!100100 x*/", "x"},
		{"six digits of a later version", utf8, "/*!999999 x*/ y", "y"},
		{"seven digits leave one", utf8, "/*!1001007 x*/", "7 x"},
		{"four digits are no version", utf8, "/*!4010 x*/", "4010 x"},
		{"ignored comment nests once", utf8, "/*!99999 a /* b */ c */ d", "d"},
		{"ignored comment nests only once", utf8, "/*!99999 a /* b /* c */ d */ e", "e"},
		{"plain comment does not nest", utf8, "/* a /* b */ c", "c"},
		{"TiDB comment", utf8, "a /*T! x */ /*T![feature] y */ b", "a b"},
		{"lower case m is a plain comment", utf8, "a /*m! x */ b", "a b"},
		{"hint is a comment", utf8, "SELECT /*+ x */ 1", "SELECT 1"},
		{"comment within executable comment", utf8, "/*! a /* b */ c */ d", "a c d"},
		{"executable within executable closes both", utf8, "/*! a /*! b */ c", "a b c"},
		{"unclosed executable comment", utf8, "a /*! x", "ERROR"},
		{"unclosed comment", utf8, "a /* x", "ERROR"},
		{"unclosed ignored comment", utf8, "a /*!99999 x /* y */", "ERROR"},
		{"slash after opening does not close", utf8, "a /*/ b */ c", "a c"},
		{"closing without opening", utf8, "2 */ 1", "2 * / 1"},
		{"two dashes and a control character", utf8, "a --\x01 b\nc", "a c"},
		{"two dashes and delete", utf8, "a --\x7f b\nc", "a c"},
		{"two dashes and a letter", utf8, "a --b", "a - - b"},
		{"two dashes at the end", utf8, "a --", "a"},
		{"two dashes before what is stripped", utf8, "a --;", "a"},
		{"two dashes and a comment", utf8, "a --/**/b", "a - - b"},
		{"number sign", utf8, "a # b\nc", "a c"},
		{"no-break space in latin1", latin1, "a\xA0b", "a b"},
		{"no-break space after dashes in latin1", latin1, "a --\xA0b", "a"},
		{"no-break space in utf8", utf8, "a\u00A0b", "a\u00A0b"},
		{"latin1 letters", latin1, "\xE9t\xE9", "\xE9t\xE9"},
		{"latin1 sign", latin1, "a \xD7 b", "ERROR"},
		{"broken utf8", utf8, "a\xFFb", "ERROR"},
		{"backslash is literal in ANSI identifier", ansi, `"a\" b`, `"a\" b`},
		{"backslash escapes in string", utf8, `"a\" b"`, `"a\" b"`},
		{"backslash without escapes", noBackslash, `'a\' b`, `'a\' b`},
		{"unterminated string", utf8, `'a\'`, "ERROR"},
		{"doubled quotes", utf8, "'a''b' `a``b`", "'a''b' `a``b`"},
		{"upper-case hex prefix is a name", utf8, "0X41 0B1", "0X41 0B1"},
		{"hex and bits", utf8, "0x41 0b01 x'4142' b'01' X'' B''", "0x41 0b01 x'4142' b'01' X'' B''"},
		{"odd hex string", utf8, "x'414'", "ERROR"},
		{"not hex", utf8, "0x4g 0b12", "0x4g 0b12"},
		{"float glued to a name", utf8, "1e1e", "1e1 e"},
		{"names that start with digits", utf8, "1e 1st 1ex", "1e 1st 1ex"},
		{"exponent without digits", utf8, "1.5e", "ERROR"},
		{"sign after e", utf8, "1e+x 1e+5", "1e + x 1e+5"},
		{"numbers", utf8, "1 1. .5 1.5 1e5 1.5e-3 .5e3", "1 1. .5 1.5 1e5 1.5e-3 .5e3"},
		{"two dots", utf8, "1..2", "1 .. 2"},
		{"dot after a word", utf8, "t.5 t.5a t.1e5 t .5", "t . 5 t . 5a t . 1e5 t .5"},
		{"dot after a quoted name", utf8, "`t`.5", "`t` .5"},
		{"no string after a dot", utf8, "t.x'41' t.n'a'", "t . x '41' t . n 'a'"},
		{"NUL in a line comment", utf8, "a -- \x00 b", "ERROR"},
		{"NUL in a comment", utf8, "a /* \x00 */ b", "a b"},
		{"NUL in a string", utf8, "'a\x00b'", "'a\x00b'"},
		{"NUL in a name", utf8, "`a\x00b`", "ERROR"},
		{"NUL at the end", utf8, "a ;\x00; \x00", "a"},
		{"NUL elsewhere", utf8, "a \x00 b", "ERROR"},
		{"marker before a name", utf8, "?a", "ERROR"},
		{"markers", utf8, "(?,?)", "( ? , ? )"},
		{"ODBC escape", utf8, "{d '2020-01-01'}", "{ d '2020-01-01' }"},
		{"user variables", utf8, "@a.b @`a b` @'c' @$x:=1", "@a.b @`a b` @'c' @$x := 1"},
		{"empty user variable", utf8, "@ a", "ERROR"},
		{"account", utf8, "'u'@'h' u@h.x", "'u' @'h' u @h.x"},
		{"system variables", utf8, "@@x @@global.x @@`x`", "@@ x @@ global . x @@ `x`"},
		{"system variable apart", utf8, "@@ x", "ERROR"},
		{"introducers", utf8, "_utf8mb4'a' _foo 'b' _latin1.x", "_utf8mb4 'a' _foo 'b' _latin1 . x"},
		{"national", utf8, "N'a' n'b' N\"c\"", "N'a' n'b' N \"c\""},
		{"NULL by backslash", utf8, "\\N", "\\N"},
		{"operators", utf8, "a<=>b<=c<>d!=e>=f<<g>>h:=i&&j||k=!l<!m", "a <=> b <= c <> d != e >= f << g >> h := i && j || k = ! l < ! m"},
		{"bytes that start nothing", utf8, "a [b]", "ERROR"},
		{"nothing", utf8, " /* x */ ; ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s Statement
			err := s.Scan([]byte(tc.sql), &tc.facts)
			got := strings.Join(texts(&s), " ")
			if err != nil {
				got = "ERROR"
				if !errors.Is(err, ErrSyntax) {
					t.Errorf("error is %v, want ErrSyntax", err)
				}
			}
			if got != tc.want {
				t.Errorf("%q: tokens %q, want %q", tc.sql, got, tc.want)
			}
		})
	}
}

func TestTokenKinds(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	var s Statement
	if err := s.Scan([]byte("a `b` 'c' N'd' _latin1 x'41' 0x41 b'1' 0b1 1 1.0 1e0 ? @v @@ w (,)"), &f); err == nil {
		t.Fatal("@@ before a space was read")
	}
	if err := s.Scan([]byte("a `b` 'c' N'd' _latin1 x'41' 0x41 b'1' 0b1 1 1.0 1e0 ? @v @@w (,)"), &f); err != nil {
		t.Fatal(err)
	}
	want := []TokenKind{TokWord, TokQuoted, TokString, TokNational, TokIntroducer, TokHexString, TokHexNumber, TokBitString,
		TokBitNumber, TokInteger, TokDecimal, TokFloat, TokParam, TokUserVar, TokSysVar, TokWord, TokOp, TokOp, TokOp}
	var got []TokenKind
	for _, tok := range s.Tokens() {
		got = append(got, tok.Kind)
	}
	if !slices.Equal(got, want) {
		t.Errorf("kinds %v, want %v", got, want)
	}
	if open := s.Len() - 3; s.Match(open) != open+2 || s.Match(open+2) != open || s.Match(0) != -1 {
		t.Errorf("parentheses match %d and %d", s.Match(open), s.Match(open+2))
	}
}

func TestKeywords(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	var s Statement
	for k := KwNone + 1; int(k) < len(keywordNames); k++ {
		for _, text := range []string{k.String(), strings.ToLower(k.String())} {
			if err := s.Scan([]byte(text), &f); err != nil || s.Keyword(0) != k {
				t.Errorf("%s is keyword %v, want %v (%v)", text, s.Keyword(0), k, err)
			}
		}
	}
	for sql, want := range map[string]Keyword{
		"select.x": KwNone, "t.select": KwNone, "`select`": KwNone, "t .select": KwNone, "t. select": KwSelect,
		"selects": KwNone, "s": KwNone, "_select": KwNone, "@@global.x": KwGlobal,
	} {
		if err := s.Scan([]byte(sql), &f); err != nil {
			t.Fatal(err)
		}
		got := KwNone
		for i := range s.Len() {
			got = max(got, s.Keyword(i))
		}
		if got != want {
			t.Errorf("%s has keyword %v, want %v", sql, got, want)
		}
	}
}

func TestModeDependent(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	var s Statement
	for sql, want := range map[string]bool{
		"SELECT a FROM t WHERE b = 'x' AND c IS NOT NULL AND d NOT IN (1)": false,
		`SELECT "a"`: true, `SELECT 'a\'`: true, `SELECT 'a\\'`: true, "SELECT a || b": true, "SELECT NOT a": true,
		"SELECT 'ж'": true, "SELECT ж": true, "SELECT 1 -- ж": false,
	} {
		f.Mode = 0
		if sql == `SELECT 'a\'` {
			f.Mode = NoBackslashEscapes
		}
		if err := s.Scan([]byte(sql), &f); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got := s.ModeDependent(); got != want {
			t.Errorf("%s: mode dependent %v, want %v", sql, got, want)
		}
	}
}

func TestScanRefusesUnknownDialects(t *testing.T) {
	var s Statement
	for _, f := range []Facts{{}, {Charset: ParseCharset("gbk")}, {Charset: CharsetUTF8MB4, Mode: Oracle}} {
		if err := s.Scan([]byte("SELECT 1"), &f); !errors.Is(err, ErrDialect) || s.Len() != 0 {
			t.Errorf("%v %v: error %v with %d tokens, want ErrDialect", f.Charset, f.Mode, err, s.Len())
		}
	}
}

func TestSQLModeRoundTrip(t *testing.T) {
	b := newBackend(t, CharsetUTF8MB4, 0)
	for bit := range len(sqlModeNames) {
		b.exec(fmt.Sprintf("SET sql_mode = %d", uint64(1)<<bit))
		var text string
		if err := b.conn.QueryRowContext(context.Background(), "SELECT @@sql_mode").Scan(&text); err != nil {
			t.Fatal(err)
		}
		mode, ok := ParseSQLMode(text)
		if !ok || !mode.Has(1<<bit) || mode.String() != text {
			t.Errorf("bit %d is %q for the server, read as %v", bit, text, mode)
		}
	}
	if _, ok := ParseSQLMode("ANSI_QUOTES,NEW_MODE"); ok {
		t.Error("an unknown mode was accepted")
	}
}

// fragments that meet in unexpected ways. NUL is not among them: after a semicolon the server ignores what follows one,
// which Scan refuses to read.
var fragments = []string{
	" ", " ", "\n", "\t", "1", "2", "0", "12", ".", ".5", "1.5", "1e1", "1e", "e", "E+", "e-3", "0x", "0x41", "0X41", "0b1", "0b", "0b2", "x'41'",
	"X'4'", "b'01'", "b'2'", "n'a'", "N", "x", "b", "n", "a", "t", "t.a", "t .a", "t. a", "`t`", "`a`", "`a``", "'", "''", "'a'", `"`, `"a"`, `\`, `\'`,
	`'\\'`, `\N`, "--", "-- ", "--\n", "--\x01", "-", "+", "*", "/", "/*", "*/", "/**/", "/*!", "/*! ", "/*!50000 ", "/*!50701 ", "/*!99999", "/*!100100 ",
	"/*!999999 ", "/*M!", "/*M!100100 ", "/*M!50701 ", "/*T!", "/*+", "#", "#\n", "(", ")", ",", "=", "<", ">", "!", "<=>", "||", "&&", "|", "&", "~", "^", "%",
	":=", ":", "@", "@@", "@a", "@@version", "@`a`", "@'a'", "@\"a\"", "?", "{", "}", "{d '2020-01-01'}", "_utf8", "_latin1", "_binary ", "_foo", "\x7f", "\x01",
	"\x0b", "\xa0", "\xe9", "\xd7", "ж", "\u00a0", "AS", " AS ", " IS NOT NULL ", " NOT ", "NULL", ";", "$", "_",
}

// generate makes a statement of random fragments.
func generate(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	for range 1 + r.IntN(6) {
		b.WriteString(fragments[r.IntN(len(fragments))])
	}
	if r.IntN(3) > 0 {
		b.WriteString(" FROM (SELECT 1 a, 2 b, 3 e, 4 x, 5 n, 6 `0X41`, 7 `1e`) t")
	}
	return b.String()
}

// Re-joining our tokens must not change what the server answers, and what we cannot read it must not understand.
func TestTokensAgainstServer(t *testing.T) {
	for _, charset := range []Charset{CharsetUTF8MB4, CharsetLatin1, CharsetBinary} {
		for _, mode := range []SQLMode{0, ANSIQuotes, NoBackslashEscapes, PipesAsConcat | IgnoreSpace | HighNotPrecedence} {
			t.Run(charset.String()+" "+mode.String(), func(t *testing.T) {
				b := newBackend(t, charset, mode)
				r := rand.New(rand.NewPCG(uint64(charset), uint64(mode)))
				var s Statement
				for range 1500 {
					text := generate(r)
					code, values := b.answer(text)
					if err := s.Scan([]byte(text), &b.facts); err != nil {
						if code == 0 {
							t.Errorf("%q is answered %s but cannot be read", text, values)
						}
						continue
					}
					joined := rejoin(&s)
					if again, other := b.answer(joined); again != code || other != values {
						t.Errorf("%q is answered %d %s, its tokens %q %d %s", text, code, values, joined, again, other)
					}
				}
			})
		}
	}
}

// Every form of executable comment around the versions that decide must be run or ignored here as the server does.
func TestExecutableCommentsAgainstServer(t *testing.T) {
	b := newBackend(t, CharsetUTF8MB4, 0)
	version := b.facts.ServerVersion
	numbers := []string{"", "4010", "50699", "50700", "50701", "80000", "99997", "99999", "100000", "999999", "1001191", "00000", "040100",
		fmt.Sprint(version - 1), fmt.Sprint(version), fmt.Sprint(version + 1)}
	var s Statement
	ran := 0
	for _, form := range []string{
		"SELECT 1 /*!%s +1 */ +2", "SELECT 1 /*M!%s +1 */ +2", "SELECT 1 /*!%s +1 /* x */ */ +2", "SELECT 1 /*M!%s +1 /* x */ +4 */ +2",
		"SELECT 1 /*!%s +1 /*! +4 */ */ +2", "SELECT 1 /*!%s +1 /*!99999 +4 */ */ +2", "SELECT 1 /*!%s +1 /*M!100000 +4 */ +2", "SELECT 1 /*!%s*/ +2", "SELECT 1 /*!%s +1",
		"SELECT 1 /*!%s -- */ +1\n */ +2", "SELECT 1 /*!%s '*/' */ +2", "SELECT 1 /*!%s # */\n +1 */ +2", "SELECT 1 /*! /*!%s +1 */ +4 */ +2", "SELECT 1 /*m!%s +1 */ +2", "SELECT 1 /*! M%s +1 */ +2",
	} {
		for _, number := range numbers {
			text := fmt.Sprintf(form, number)
			code, values := b.answer(text)
			if err := s.Scan([]byte(text), &b.facts); err != nil {
				if code == 0 {
					t.Errorf("%q is answered %s but cannot be read", text, values)
				}
				continue
			}
			joined := rejoin(&s)
			if again, other := b.answer(joined); again != code || other != values {
				t.Errorf("%q is answered %d %s, its tokens %q %d %s", text, code, values, joined, again, other)
			}
			if code == 0 {
				ran++
			}
		}
	}
	if ran < 60 {
		t.Errorf("only %d texts were understood", ran)
	}
}

// TestVersionedComments: a comment that one server of MariaDB reads and another does not is noticed, whether this one reads it or not.
func TestVersionedComments(t *testing.T) {
	for _, c := range []struct {
		sql  string
		want bool
	}{
		{"SELECT 1 /*M!101200 , 2 */", true},
		{"SELECT 1 /*!100100 , 2 */", true},
		{"SELECT 1 /*!999999 , 2 */", true},
		{"SELECT 1 /*!50101 , 2 */", false},
		{"SELECT 1 /*! , 2 */", false},
		{"SELECT '/*M!101200 , 2 */'", false},
		{"SELECT 1 -- /*M!101200 , 2 */", false},
	} {
		var st Statement
		if err := st.Scan([]byte(c.sql), &Facts{Charset: CharsetUTF8MB4, ServerVersion: 101119}); err != nil {
			t.Fatalf("%s: %v", c.sql, err)
		}
		if got := st.Versioned(); got != c.want {
			t.Errorf("%s: versioned %v, want %v", c.sql, got, c.want)
		}
	}
}
