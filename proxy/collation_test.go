package proxy

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/rewrite"
)

// collations are searched by equality: pad and no-pad, with and without case and accents, with expansions, contractions and
// several levels, of wide, narrow and Unicode character sets.
var collations = []string{
	"utf8mb4_general_ci", "utf8mb4_general_nopad_ci", "utf8mb4_bin", "utf8mb4_nopad_bin", "utf8mb4_unicode_ci", "utf8mb4_unicode_nopad_ci",
	"utf8mb4_unicode_520_ci", "utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_as_ci", "utf8mb4_uca1400_as_cs", "utf8mb4_uca1400_nopad_as_cs",
	"utf8mb4_uca1400_german2_ai_ci", "utf8mb4_swedish_ci", "utf8mb4_spanish2_ci", "utf8mb4_czech_ci", "utf8mb4_croatian_ci",
	"utf8mb4_turkish_ci", "utf8mb4_german2_ci", "utf8mb4_thai_520_w2", "utf8mb3_general_ci", "utf8mb3_general_mysql500_ci",
	"latin1_swedish_ci", "latin1_german1_ci", "latin1_german2_ci", "latin1_general_cs", "cp1251_general_ci", "ucs2_unicode_ci", "utf16_general_ci",
}

// searched are texts of which some are equal under some collations.
var searched = []string{
	"", " ", "  ", "a", "A", "a ", "a  ", "\u00e4", "\u00c4", "ae", "AE", "\u00e6", "a\u0308", "\u00df", "ss", "SS", "s", "sz", "\u1e9e", "e", "\u00e9", "E\u0301", "\u00e8",
	"ch", "cH", "c", "h", "ll", "\u0142", "l", "dz", "d\u017e", "\u01c6", "i", "I", "\u0131", "\u0130", "\u00f1", "n", "n\u0303", "\u0e40\u0e01", "\u0e01\u0e40",
	"\U0001F511", "\U0001F512", "\u4e2d", "\u4e2d ", "\u3042", "\u30a2", "\uff21", "\u0410", "\u0430", "\u0451", "\u0435", "\u00a0", "a\u00a0", "a\u200b", "a \u200b", "\u200b",
	"a\x01", "\x01", "a\t", "\u00ad", "caf\u00e9", "CAFE", "Stra\u00dfe", "STRASSE", "\ufb01", "fi", "\u2163", "IV", "\u03c3", "\u03c2", "\u03a3",
}

func TestEqualityIsThatOfTheCollation(t *testing.T) {
	server := mariadbtest.Shared(t)
	tw := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t)}
	tables := map[string]*rewrite.TablePolicy{}
	for i, collation := range collations {
		charset, _, _ := strings.Cut(collation, "_")
		definition := "varchar(30) character set " + charset + " collate " + collation
		server.Exec(t, fmt.Sprintf("CREATE TABLE %s.t%d (id INT PRIMARY KEY AUTO_INCREMENT, v %s, u %s UNIQUE)", tw.plain, i, definition, definition),
			fmt.Sprintf("CREATE TABLE %s.t%d (id INT PRIMARY KEY AUTO_INCREMENT, v VARBINARY(600), u VARBINARY(600), KEY (v(20)), UNIQUE u (u(20)))", tw.sealed, i))
		typ := mustType(t, definition)
		tables[fmt.Sprint("t", i)] = &rewrite.TablePolicy{Columns: map[string]*rewrite.ColumnPolicy{
			"v": {ServiceKey: "app", SearchEquality: true, Type: typ}, "u": {ServiceKey: "app", SearchEquality: true, Type: typ},
		}}
	}
	tw.loader = startLoader(t, testSchemaConfig(server), &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: tables}})
	e := testEvaluator(t)
	tw.proxy = startProxy(t, server.Addr(), func(c *Config) {
		c.Protection = testProtection(t, tw.loader)
		c.Protection.Evaluator = e
	})
	for i, collation := range collations {
		t.Run(collation, func(t *testing.T) {
			c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 0, "")}
			c.both("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
			rows := make([]string, len(searched))
			for k, s := range searched {
				rows[k] = "('" + s + "')"
			}
			same(t, c.plain, c.sealed, fmt.Sprintf("INSERT IGNORE INTO t%d (v) VALUES %s", i, strings.Join(rows, ",")))
			for _, s := range searched {
				c.sought(fmt.Sprintf("SELECT id FROM t%d WHERE v = '%s' ORDER BY id", i, s))
				same(t, c.plain, c.sealed, fmt.Sprintf("INSERT INTO t%d (u) VALUES ('%s')", i, s))
			}
			c.sought(fmt.Sprintf("SELECT id FROM t%d WHERE v IN ('%s') ORDER BY id", i, strings.Join(searched[5:30], "','")))
			c.sought(fmt.Sprintf("SELECT id FROM t%d WHERE v = ? OR v = ? ORDER BY id", i), "\u00c4", "STRASSE")
			same(t, c.plain, c.sealed, fmt.Sprintf("SELECT u FROM t%d ORDER BY id", i))
		})
	}
}

// sought is same for a search. Where the text has a character that the column's character set lacks, MariaDB says that the
// collations do not mix, and the proxy that the comparison is not possible.
func (c *comparison) sought(query string, args ...any) {
	c.t.Helper()
	if want, got := run(c.t, c.plain, query, args...), run(c.t, c.sealed, query, args...); want.code == 1267 || want.code == 1271 {
		if got.code != 9705 {
			c.t.Errorf("%s: %v, want error 9705", query, got)
		}
		return
	}
	same(c.t, c.plain, c.sealed, query, args...)
}
