package proxy

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// testEvaluator starts an evaluator of the test's own.
func testEvaluator(t testing.TB) *evaluator.Evaluator {
	t.Helper()
	e := evaluator.New(evaluator.Config{})
	e.Start(evaluator.Settings{}, nil)
	t.Cleanup(e.Close)
	return e
}

// odd are declared types with literals that need more than a look: they are rounded, cut, refused, or spelled in a way that only
// MariaDB knows.
var odd = []struct {
	definition string
	literals   []string
}{
	{"varchar(5)", []string{"'abcdef'", "'abcde   '", "'abcde\t'", "12345.678", "1e10", "x'c3'", "_latin1'\u00e4'", "_latin1 x'e4'", "''", "0x616263", "1.50", "TRUE"}},
	{"varchar(5) character set latin1", []string{"'\u4e2d'", "'\u00e9'", "'abcdefg'", "_utf8mb4 x'f09f9491'"}},
	{"char(3)", []string{"'ab  '", "'abcd'", "'abc  '", "5.5"}},
	{"tinytext", []string{"'x'", "REPEATED"}},
	{"varbinary(3)", []string{"'abcd'", "'\u00e9'", "1234", "12.5"}},
	{"binary(3)", []string{"'a'", "'abcd'"}},
	{"tinyint", []string{"300", "-129", "'12abc'", "'abc'", "''", "1.5", "'1e1'", "1e400", "127.5", "'  7 '", "0x41", "'0x41'", "NULL"}},
	{"int unsigned", []string{"-1", "4294967296", "'-0'", "2.5e0", "'4294967295.4'", "99999999999999999999999999"}},
	{"bigint", []string{"9223372036854775808", "-9223372036854775809", "'9223372036854775807.4'", "1e19", "'1e19'"}},
	{"decimal(5,2)", []string{"1.005", "999.994", "999.995", "1000", "-1000", "'1.2.3'", "'abc'", "1e2", "1e-5", "'  1.5x'", "'1e-2'"}},
	{"decimal(5,2) unsigned", []string{"-0.01", "-0.001", "3.14159"}},
	{"double", []string{"'1.5abc'", "'1e400'", "'x'", "0.1", "1e-320", "12345678901234567890"}},
	{"float", []string{"0.1", "'3.4e39'", "16777217", "1e-50", "123456789.125"}},
	{"float(5,2)", []string{"1.005", "999.995", "1000", "'abc'"}},
	{"double unsigned", []string{"-1.5", "'-1'"}},
	{"date", []string{"'2024-1-5'", "'2024-02-30'", "'0000-00-00'", "'2024-00-10'", "20240229", "'20240229'", "'2024-01-01 10:00:00'", "'24-1-1'", "'abc'", "''", "TIME'10:00:00'", "240101", "1", "'2024/03/04'", "2024.5", "DATE'2024-02-29'"}},
	{"datetime", []string{"'2024-01-01'", "'2024-01-01 10:00:00.5'", "'2024-01-01 10:00:00.999999'", "'2024-01-01T10:11'", "20240101101112", "'2024-01-01 25:00:00'", "TIME'10:11:12'", "'10:11:12'", "'x'", "0", "'2024-01-01 10:00:00+02:00'"}},
	{"datetime(3)", []string{"'2024-01-01 10:00:00.12349'", "20240101101112.1239", "TIMESTAMP'2024-01-01 10:00:00.1234'"}},
	{"timestamp(2) null", []string{"'2024-01-01 10:00:00.126'", "'1969-12-31'", "'2040-01-01'", "'2024-03-31 02:30:00'", "'0000-00-00'", "'abc'", "'1970-01-01 00:00:00'", "20240101"}},
	{"time(2)", []string{"'10:11:12.129'", "'900:00:00'", "'-900:00:00'", "101112", "'1 10:00'", "'abc'", "'10:61:00'", "101112.555", "'2024-01-01 10:11:12'", "'10'", "''"}},
	{"year", []string{"1900", "2156", "'99'", "70", "69", "'abc'", "2024.4", "0", "'0'", "'2024x'"}},
	{"bit(4)", []string{"b'11111'", "'1'", "16", "'ab'", "-1", "2.5", "x'0f'"}},
	{"enum('a','b','3')", []string{"'c'", "'A'", "4", "0", "'3'", "3", "'1'", "''", "'a '", "2.5", "'b\u0301'"}},
	{"set('a','b','c')", []string{"'a,d'", "'A,b'", "8", "9", "'c,a'", "'a,,b'", "'5'", "' a'", "'a, b'"}},
	{"json", []string{"'{\"a\":1}'", "'{a:1}'", "''", "'[1,]'", "'\"\\\\ud800\"'", "1", "1.5", "'nul'"}},
	{"uuid", []string{"'123e4567e89b-12d3-a456-426614174000'", "'x'", "5", "x'00112233445566778899aabbccddeeff'", "''"}},
	{"inet6", []string{"'1.2.3.4'", "'::g'", "x'00112233445566778899aabbccddeeff'", "'2001:DB8::0'"}},
	{"inet4", []string{"'1.2.3'", "'300.1.1.1'", "x'01020304'", "'::ffff:1.2.3.4'"}},
}

// convertModes are the sql_modes under which values are converted.
var convertModes = []string{
	"STRICT_TRANS_TABLES", "", "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE", "TIME_ROUND_FRACTIONAL,ALLOW_INVALID_DATES",
	"STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
}

// newOddTwin is a twin with one table, w, that has a column for each type of odd: c0, c1, ... With notNull they take no NULL.
func newOddTwin(t *testing.T, e *evaluator.Evaluator, notNull bool) *twin {
	t.Helper()
	server := mariadbtest.Shared(t)
	tw := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t)}
	columns := map[string]*rewrite.ColumnPolicy{}
	var plain, sealed []string
	for i, d := range odd {
		name, definition, physical := fmt.Sprint("c", i), d.definition, "MEDIUMBLOB"
		if notNull {
			definition, physical = strings.TrimSuffix(definition, " null")+" NOT NULL", "MEDIUMBLOB NOT NULL"
		}
		plain = append(plain, name+" "+definition)
		sealed = append(sealed, fmt.Sprintf("%s %s, CONSTRAINT g%d CHECK (`%[1]s` is null or `%[1]s` = '' or left(`%[1]s`,3) = X'ff4c4b')", name, physical, i))
		columns[name] = &rewrite.ColumnPolicy{Type: mustType(t, definition)}
	}
	server.Exec(t,
		"CREATE TABLE "+tw.plain+".w (id INT PRIMARY KEY, n INT, "+strings.Join(plain, ", ")+") DEFAULT CHARSET utf8mb4",
		"CREATE TABLE "+tw.sealed+".w (id INT PRIMARY KEY, n INT, "+strings.Join(sealed, ", ")+") DEFAULT CHARSET utf8mb4")
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: {"w": {Columns: columns}}}}
	tw.loader = startLoader(t, testSchemaConfig(server), policy)
	tw.proxy = startProxy(t, server.Addr(), func(c *Config) {
		c.Protection = testProtection(t, tw.loader)
		c.Protection.Evaluator = e
	})
	return tw
}

// spelled writes a literal of odd; one is too long to stand there.
func spelled(s string) string {
	if s == "REPEATED" {
		return "'" + strings.Repeat("x", 300) + "'"
	}
	return s
}

// diagnosed runs a statement on both twins and compares all that a client is told: error or counts, text, and warnings.
func (c *comparison) diagnosed(query string, args ...any) {
	c.t.Helper()
	want, got := run(c.t, c.plain, query, args...), run(c.t, c.sealed, query, args...)
	c.normalize(&want)
	if got.String() != want.String() {
		c.t.Errorf("%s %v\n through the proxy: %v\n on plaintext:      %v", shorten(query), args, got, want)
	}
	for _, ask := range []string{"SHOW WARNINGS", "SHOW COUNT(*) WARNINGS"} {
		want, got := run(c.t, c.plain, ask), run(c.t, c.sealed, ask)
		c.normalize(&want)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			c.t.Errorf("%s %v\n %s through the proxy: %v\n on plaintext:      %v", shorten(query), args, ask, got, want)
		}
	}
}

// comparison holds the two sessions of a twin.
type comparison struct {
	t             *testing.T
	tw            *twin
	plain, sealed *sql.Conn
}

// normalize gives what plaintext says as the proxy has to say it: values withheld, and its own database named.
func (c *comparison) normalize(o *outcome) {
	if o.code != 0 {
		o.message = strings.ReplaceAll(scrubbedText(o.code, o.message), c.tw.plain, c.tw.sealed)
	}
	for i, row := range o.rows {
		parts := strings.SplitN(row, "|", 3)
		var code int
		if len(parts) == 3 {
			if _, err := fmt.Sscan(parts[1], &code); err == nil {
				parts[2] = scrubbedText(code, parts[2])
			}
		}
		o.rows[i] = strings.ReplaceAll(strings.Join(parts, "|"), c.tw.plain, c.tw.sealed)
	}
}

// scrubbedText is what the proxy may show of a text of MariaDB's.
func scrubbedText(code int, message string) string {
	if !slices.Contains(valueErrors, uint16(code)) {
		return message
	}
	return withheld(wire.ERR{Code: uint16(code), Message: message}).Message
}

func TestOddValuesAreStoredAsPlaintextStoresThem(t *testing.T) {
	e := testEvaluator(t)
	tw := newOddTwin(t, e, false)
	for _, mode := range convertModes {
		t.Run("mode "+mode, func(t *testing.T) {
			c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
			c.both("SET sql_mode = '" + mode + "', time_zone = '+03:00', timestamp = 1700000000")
			c.both("DELETE FROM w")
			id := 0
			for i, d := range odd {
				for _, literal := range d.literals {
					id++
					c.diagnosed(fmt.Sprintf("INSERT INTO w (id, c%d) VALUES (%d, %s)", i, id, spelled(literal)))
				}
				id += 2
				c.diagnosed(fmt.Sprintf("INSERT IGNORE INTO w (id, c%d) VALUES (%d, %s), (%d, %s)", i, id, spelled(d.literals[0]), id+1, spelled(d.literals[1])))
				c.diagnosed(fmt.Sprintf("UPDATE w SET c%d = %s WHERE id IN (%d, %d)", i, spelled(d.literals[1]), id, id+1))
				c.diagnosed(fmt.Sprintf("UPDATE w SET c%d = %s WHERE id = -1", i, spelled(d.literals[1])))
				c.diagnosed(fmt.Sprintf("UPDATE IGNORE w SET c%d = %s WHERE id IN (%d, %d)", i, spelled(d.literals[0]), id, id+1))
				c.diagnosed(fmt.Sprintf("REPLACE INTO w (id, n, c%d) VALUES (%d, 1, %s)", i, id, spelled(d.literals[1])))
				id++
				c.stored(i)
			}
		})
	}
}

// both runs a statement that has to succeed on both twins.
func (c *comparison) both(query string) {
	c.t.Helper()
	for _, conn := range []*sql.Conn{c.plain, c.sealed} {
		if o := run(c.t, conn, query); o.code != 0 {
			c.t.Fatalf("%s: %v", query, o)
		}
	}
}

// stored compares what column i holds, by the text and the binary protocol.
func (c *comparison) stored(i int) {
	c.t.Helper()
	same(c.t, c.plain, c.sealed, fmt.Sprintf("SELECT id, n, c%d FROM w WHERE c%d IS NOT NULL ORDER BY id", i, i))
	same(c.t, c.plain, c.sealed, fmt.Sprintf("SELECT id, c%d FROM w WHERE id > ? AND c%d IS NOT NULL ORDER BY id", i, i), 0)
}

func TestRowsOfOneStatementAreConvertedTogether(t *testing.T) {
	tw := newOddTwin(t, testEvaluator(t), false)
	for _, mode := range convertModes[:2] {
		c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
		c.both("SET sql_mode = '" + mode + "'")
		c.both("DELETE FROM w")
		for i, query := range []string{
			"INSERT INTO w (id, c6, c0) VALUES (1, 1, 'ok'), (2, 300, 'fine'), (3, 'abc', 'too long')",
			"INSERT INTO w (id, c6, n, c0) VALUES (4, 1, 1, 'ok'), (5, 2, 2, 'abcde  '), (6, NULL, 3, DEFAULT)",
			"INSERT INTO w (id, c6, n, c0) VALUES (7, 1, 7, 'abcdef'), (8, 300, 2, 'abcde  ')",
			"INSERT INTO w SET id = 9, c9 = 1.005, c6 = 2.5",
			"INSERT INTO w (id, c9) VALUES (9, 3.14159) ON DUPLICATE KEY UPDATE c9 = VALUES(c9), c6 = 300",
			"INSERT INTO w (id, c9) VALUES (9, 3.14159), (10, 2.71828) ON DUPLICATE KEY UPDATE c9 = VALUES(c9), c6 = 3.7",
			"INSERT INTO w (id, c9) VALUES (9, 1.23) ON DUPLICATE KEY UPDATE c9 = 2.345, n = 5",
			"INSERT INTO w (id, c9) SELECT id + 100, 2.5 FROM w WHERE id > 3",
			"INSERT IGNORE INTO w (id, c24) VALUES (30, '{}'), (31, '{'), (32, '[]')",
			"UPDATE w SET c9 = 7.777, c6 = '5x' WHERE id BETWEEN 4 AND 10",
			"UPDATE w SET c9 = 7.777, c6 = '5x' WHERE id BETWEEN 4 AND 10 LIMIT 2",
			"UPDATE w SET c9 = 'abc' WHERE id = 12345",
			"REPLACE INTO w (id, c9) VALUES (9, 9.999), (10, 8.888)",
			"EXECUTE IMMEDIATE 'INSERT INTO w (id, c9) VALUES (40, 1.005)'",
		} {
			if strings.Contains(query, "c24") && odd[24].definition != "json" {
				t.Fatalf("statement %d means another column", i)
			}
			c.diagnosed(query)
		}
		for i := range odd {
			c.stored(i)
		}
	}
}

func TestOddParametersAreStoredAsPlaintextStoresThem(t *testing.T) {
	tw := newOddTwin(t, testEvaluator(t), false)
	values := []any{"abc", "12abc", "1.005", "2024-1-5 10:11:12.9999", "", int64(300), int64(-1), 1.5, 1e30, float32(0.1), []byte{0xff, 0x01}, []byte("5"), true, uint64(1 << 63)}
	for _, mode := range convertModes[:2] {
		c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
		c.both("SET sql_mode = '" + mode + "', time_zone = '+03:00', timestamp = 1700000000")
		c.both("DELETE FROM w")
		r := rand.New(rand.NewPCG(1, 2))
		id := 0
		for i := range odd {
			for _, v := range values {
				id += 2
				c.diagnosed(fmt.Sprintf("INSERT INTO w (id, c%d) VALUES (?, ?)", i), id, v)
				c.diagnosed(fmt.Sprintf("INSERT INTO w (id, c%d, n) VALUES (?, ?, 1), (?, ?, 2)", i), id+10000, v, id+10001, values[r.IntN(len(values))])
				c.diagnosed(fmt.Sprintf("UPDATE w SET c%d = ? WHERE id = ?", i), v, id)
			}
			c.stored(i)
		}
	}
}

// plainValues are literals of the types of odd that need no evaluator.
var plainValues = map[string]string{
	"binary(3)": "'abc'", "date": "'2024-01-05'", "datetime": "'2024-01-05 10:11:12'", "datetime(3)": "'2024-01-05 10:11:12.000'",
	"timestamp(2) null": "'2024-01-05 10:11:12.00'", "time(2)": "'10:11:12.00'", "year": "2024", "bit(4)": "b'1'", "enum('a','b','3')": "'b'",
	"set('a','b','c')": "'b'", "json": "'{}'", "uuid": "'123e4567-e89b-12d3-a456-426614174000'", "inet6": "'::2'", "inet4": "'1.2.3.4'",
}

func plainValue(definition string) string {
	if v, ok := plainValues[definition]; ok {
		return v
	}
	return "'1'"
}

func TestMissingValuesAreThoseOfPlaintext(t *testing.T) {
	tw := newOddTwin(t, testEvaluator(t), true)
	names, given := make([]string, len(odd)), make([]string, len(odd))
	for i, d := range odd {
		names[i], given[i] = fmt.Sprint("c", i), plainValue(d.definition)
	}
	list := strings.Join(names, ", ")
	all := func(at ...string) string {
		values := slices.Clone(given)
		for k := 0; k < len(at); k += 2 {
			values[slices.Index(names, at[k])] = at[k+1]
		}
		return strings.Join(values, ", ")
	}
	for _, mode := range []string{"", "STRICT_TRANS_TABLES"} {
		c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
		c.both("SET sql_mode = '" + mode + "', timestamp = 1700000000.25")
		c.both("DELETE FROM w")
		c.both("INSERT INTO w (id, " + list + ") VALUES (1, " + all() + ")")
		for i, d := range odd {
			id, name := 10*(i+1), names[i]
			if d.definition == "json" {
				continue // its implicit default is refused by its own CHECK
			}
			same(t, c.plain, c.sealed, fmt.Sprintf("INSERT INTO w (id, %s) VALUES (%d, %s)", list, id, all(name, "NULL")))
			c.diagnosed(fmt.Sprintf("INSERT INTO w (id, %s) VALUES (%d, %s), (%d, %[3]s)", list, id, all(name, "NULL"), id+1))
			mixed := fmt.Sprintf("INSERT INTO w (id, %s) VALUES (%d, %s), (%d, %s)", list, id+8, all(name, "NULL", "c9", "1.005"), id+9, all("c9", "2.005"))
			if mode == "" {
				c.diagnosed(mixed)
			} else {
				same(t, c.plain, c.sealed, mixed) // behind an error about NULL MariaDB may still give notes
			}
			c.diagnosed(fmt.Sprintf("INSERT IGNORE INTO w (id, %s) VALUES (%d, %s)", list, id+2, all(name, "NULL")))
			c.diagnosed(fmt.Sprintf("INSERT IGNORE INTO w (id, %s) VALUES (%d, %s)", list, id+3, all(name, "DEFAULT")))
			c.diagnosed(fmt.Sprintf("UPDATE w SET %s = NULL WHERE id IN (1, %d)", name, id+2))
			c.diagnosed(fmt.Sprintf("UPDATE IGNORE w SET %s = NULL, n = %d WHERE id IN (1, %d)", name, i, id+2))
			same(t, c.plain, c.sealed, fmt.Sprintf("INSERT INTO w (id, %s) VALUES (1, %s) ON DUPLICATE KEY UPDATE %s = NULL", list, all(), name))
			c.diagnosed(fmt.Sprintf("INSERT INTO w (id, %s) VALUES (?, %s), (?, %s)", list, all(name, "?"), all(name, "?")), id+5, nil, id+6, nil)
			without := strings.Join(slices.Delete(slices.Clone(names), i, i+1), ", ")
			values := strings.Join(slices.Delete(slices.Clone(given), i, i+1), ", ")
			c.diagnosed(fmt.Sprintf("INSERT IGNORE INTO w (id, %s) VALUES (%d, %s), (%d, %[3]s)", without, id+7, values, id+4))
			c.diagnosed(fmt.Sprintf("INSERT INTO w (id, %s) VALUES (%d, %s)", without, id+4, values))
			c.stored(i)
		}
	}
}
