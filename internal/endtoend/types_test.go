package endtoend

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// typeCase is a declared type and literals of values that it holds exactly: all must be stored and come back.
type typeCase struct {
	declared string
	values   []string
	// odd are literals whose conversion is not plain, or that are out of range: the answer is MariaDB's or a refusal.
	odd []string
}

var (
	someText    = []string{"''", "'a'", "' '", "'a '", "'A'", "'it''s'", "'a\\nb\\\\c'", "'%_'", "'0'", "'NULL'", "x'616263'"}
	unicodeText = append(slices.Clone(someText), "'gr\u00fc\u00dfe'", "'\u65e5\u672c'", "'\u05e9'", "'e\u0301'")
	westernText = append(slices.Clone(someText), "'gr\u00fc\u00dfe'", "'\u00e9'", "'\u20ac'")
	someBytes   = []string{"''", "'abc'", "x'00'", "x'00ff4c4b00'", "x'ff4c4b74'", "'a\\0b'", "' '"}
)

func repeated(what string, n int) string { return "'" + strings.Repeat(what, n) + "'" }

// typeCases has every type that a column can be declared as.
var typeCases = []typeCase{
	{"VARCHAR(100) CHARACTER SET utf8mb4", append([]string{repeated("x", 100), repeated("\u00e9", 100), "'\U0001F600'"}, unicodeText...), []string{repeated("x", 101), "5", "1.50", "TRUE", repeated(" ", 101)}},
	{"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL", unicodeText, []string{"NULL"}},
	{"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", unicodeText, nil},
	{"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin DEFAULT 'none'", append([]string{"DEFAULT"}, unicodeText...), nil},
	{"VARCHAR(20) CHARACTER SET utf8mb3", unicodeText, []string{"'\U0001F600'"}},
	{"VARCHAR(20) CHARACTER SET latin1", westernText, []string{"'\u65e5'"}},
	{"VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin", westernText, nil},
	{"VARCHAR(20) CHARACTER SET ascii", someText, []string{"'\u00e9'"}},
	{"VARCHAR(20) CHARACTER SET ucs2", []string{"''", "'a'", "' '", "'it''s'", "'gr\u00fc\u00dfe'", "'\u65e5'"}, []string{"'\U0001F600'"}},
	{"VARCHAR(20) CHARACTER SET utf16", []string{"''", "'a'", "'a '", "'\U0001F600'"}, nil},
	{"VARCHAR(20) CHARACTER SET cp1251", []string{"''", "'a'", "'\u0434\u0430'"}, []string{"'\u65e5'"}},
	{"VARCHAR(0)", []string{"''"}, []string{"'a'"}},
	{"CHAR(10) CHARACTER SET utf8mb4", []string{"''", "'a'", "'a  '", "'\U0001F600'", "'0123456789'"}, []string{"'01234567890'", "'0123456789 '"}},
	{"CHAR(10) CHARACTER SET latin1", []string{"'a'", "'\u00e9'", "'a  '"}, nil},
	{"CHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", []string{"'a'", "'b '"}, nil},
	{"TINYTEXT", []string{"''", "'a'", repeated("x", 255)}, []string{repeated("x", 256)}},
	{"TEXT CHARACTER SET utf8mb4", append([]string{repeated("0123456789", 6553)}, unicodeText...), []string{repeated("0123456789", 6554)}},
	{"TEXT CHARACTER SET latin1", westernText, nil},
	{"MEDIUMTEXT", []string{"''", "'a'", repeated("0123456789", 20000)}, nil},
	{"LONGTEXT", []string{"''", "'a'", repeated("0123456789", 20000)}, nil},
	{"BINARY(4)", []string{"'abcd'", "x'00ff4c4b'"}, []string{"'ab'", "''", "'abcde'"}},
	{"VARBINARY(100)", someBytes, []string{repeated("x", 101), "5"}},
	{"TINYBLOB", someBytes, []string{repeated("x", 256)}},
	{"BLOB", someBytes, nil},
	{"MEDIUMBLOB", someBytes, nil},
	{"LONGBLOB", someBytes, nil},
	{"TINYINT", []string{"0", "1", "-1", "127", "-128", "'12'"}, []string{"128", "-129", "1.5", "'abc'", "''", "'1 '"}},
	{"TINYINT UNSIGNED", []string{"0", "255"}, []string{"256", "-1"}},
	{"SMALLINT", []string{"0", "32767", "-32768"}, []string{"32768", "-32769"}},
	{"SMALLINT UNSIGNED", []string{"0", "65535"}, []string{"65536", "-1"}},
	{"MEDIUMINT", []string{"0", "8388607", "-8388608"}, []string{"8388608"}},
	{"MEDIUMINT UNSIGNED", []string{"0", "16777215"}, []string{"16777216"}},
	{"INT", []string{"0", "2147483647", "-2147483648", "'42'"}, []string{"2147483648", "1e3", "1.4", "x'31'", "0x31"}},
	{"INT(4) UNSIGNED ZEROFILL", []string{"0", "7", "12345", "4294967295"}, []string{"4294967296"}},
	{"INT UNSIGNED NOT NULL DEFAULT 3", []string{"DEFAULT", "0", "4294967295"}, []string{"NULL", "-1"}},
	{"BIGINT", []string{"0", "9223372036854775807", "-9223372036854775808"}, []string{"9223372036854775808", "1e30"}},
	{"BIGINT UNSIGNED", []string{"0", "18446744073709551615"}, []string{"18446744073709551616", "-1"}},
	{"BOOL", []string{"TRUE", "FALSE", "0", "1", "7"}, []string{"128"}},
	{"DECIMAL(12,2)", []string{"0", "1", "1.5", "-1.25", "9999999999.99", "-9999999999.99", "'7.25'", "0.00"}, []string{"10000000000", "1.005", "1e2", "'x'"}},
	{"DECIMAL(5)", []string{"0", "99999", "-99999"}, []string{"100000", "1.5"}},
	{"DECIMAL(65,30)", []string{"0", "1", "99999999999999999999999999999999999.999999999999999999999999999999"}, nil},
	{"DECIMAL(10,3) UNSIGNED", []string{"0", "1.125", "9999999.999"}, []string{"-1", "-0.001"}},
	{"FLOAT", []string{"0", "1.5", "-1.5", "0.1", "1e10", "3.40282e38", "1e-30", "16777216", "123456.7"}, []string{"1e39"}},
	{"FLOAT(7,3)", []string{"0", "1.5", "1234.125"}, []string{"99999.5", "1.23456"}},
	{"FLOAT UNSIGNED", []string{"0", "2.5"}, []string{"-1"}},
	{"DOUBLE", []string{"0", "1.5", "-0.1", "1e300", "5e-324", "1.7976931348623157e308", "0.30000000000000004", "123456789.123", "1e15", "1e14"}, []string{"1e309", "'1e400'"}},
	{"DOUBLE(10,2)", []string{"0", "1.25", "12345678.91"}, []string{"123456789.5"}},
	{"DATE", []string{"'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'0001-01-01'", "DATE'2020-01-01'", "20200101"}, []string{"'2023-02-29'", "'0000-00-00'", "'2020-00-10'", "'2020-01-01 10:00:00'", "'x'", "'20-1-1'"}},
	{"DATETIME", []string{"'2024-02-29 23:59:59'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2020-01-01'", "TIMESTAMP'2020-01-01 01:02:03'"}, []string{"'2020-01-01 10:00:00.5'", "'2020-13-01 00:00:00'", "'x'"}},
	{"DATETIME(1)", []string{"'2024-02-29 23:59:59.1'", "'2020-01-01 00:00:00'"}, []string{"'2020-01-01 00:00:00.55'"}},
	{"DATETIME(3)", []string{"'2024-02-29 23:59:59.123'", "'2020-01-01 00:00:00.5'"}, nil},
	{"DATETIME(6) NOT NULL", []string{"'2024-02-29 23:59:59.123456'", "'2020-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"}, []string{"NULL"}},
	{"TIMESTAMP NULL", []string{"'2024-02-29 23:59:59'", "'1970-01-03 00:00:01'", "'2038-01-17 03:14:07'", "'2020-06-15 12:00:00'"}, []string{"'1969-01-01 00:00:00'", "'2040-01-01 00:00:00'", "'2020-01-01 10:00:00.5'"}},
	{"TIMESTAMP(6) NULL", []string{"'2024-02-29 23:59:59.123456'", "'2020-03-29 02:30:00.5'"}, nil},
	{"TIME", []string{"'00:00:00'", "'23:59:59'", "'838:59:59'", "'-838:59:59'", "'-00:00:01'", "TIME'10:11:12'"}, []string{"'839:00:00'", "'1 10:00:00'", "'10:11'", "101112"}},
	{"TIME(3)", []string{"'10:11:12.125'", "'-10:11:12.5'", "'838:59:59.999'"}, nil},
	{"TIME(6)", []string{"'10:11:12.000001'"}, nil},
	{"YEAR", []string{"1901", "2155", "2024", "'2024'", "0"}, []string{"1900", "2156", "'24'", "24"}},
	{"BIT(1)", []string{"b'0'", "b'1'", "0", "1"}, []string{"2", "b'10'"}},
	{"BIT(10)", []string{"b'1111111111'", "b'0'", "513"}, []string{"1024"}},
	{"BIT(64)", []string{"b'1'", "18446744073709551615"}, nil},
	{"ENUM('a','b b','\u00e9','it''s') CHARACTER SET utf8mb4", []string{"'a'", "'b b'", "'\u00e9'", "'it''s'", "1", "3"}, []string{"'c'", "''", "5", "0", "'A'"}},
	{"ENUM('x','y') CHARACTER SET latin1 NOT NULL", []string{"'x'", "'y'"}, []string{"NULL", "'z'"}},
	{"SET('a','b','c','\u00e9') CHARACTER SET utf8mb4", []string{"''", "'a'", "'a,c'", "'c,a'", "'a,b,c,\u00e9'", "5", "0"}, []string{"'d'", "16", "'a,a'"}},
	{"JSON", []string{`'{"a": 1, "b": [true, null, "x"]}'`, `'"text"'`, "'5'", "'[]'", `'{"\u00e9": "\U0001F600"}'`}, []string{"'{'", "''"}},
	{"UUID", []string{"'123e4567-e89b-12d3-a456-426614174000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'00000000-0000-0000-0000-000000000000'", "'123E4567E89B12D3A456426614174000'"}, []string{"'x'", "''"}},
	{"INET4", []string{"'0.0.0.0'", "'255.255.255.255'", "'192.0.2.1'"}, []string{"'1.2.3'", "'x'"}},
	{"INET6", []string{"'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.1'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'"}, []string{"'x'", "'1.2.3'"}},
}

// typesTwin is a table for each type twice: read directly, and through Latchkey with the column protected.
type typesTwin struct {
	server        *mariadbtest.Server
	proxy         *latchkeytest.Proxy
	plain, sealed string
	key           string
}

func newTypesTwin(t *testing.T) *typesTwin {
	t.Helper()
	server := mariadbtest.Shared(t)
	w := &typesTwin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	var tables, policy strings.Builder
	for i, c := range typeCases {
		fmt.Fprintf(&tables, "CREATE TABLE ty%d (id INT PRIMARY KEY AUTO_INCREMENT, v %s);", i, c.declared)
		fmt.Fprintf(&policy, "    ty%d:\n      columns:\n        v: {}\n", i)
	}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(t, "USE "+db+"; "+tables.String())
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + w.sealed + ":\n" + policy.String()})
	return w
}

// clients connects to both sides with the same capabilities. The sealed one has the key.
func (w *typesTwin) clients(t *testing.T, caps wire.Capabilities) (plain, sealed *wireClient) {
	t.Helper()
	plain, sealed = newWireClient(t, w.server.Addr(), w.plain, caps), newWireClient(t, w.proxy.Address, w.sealed, caps)
	sealed.must(t, "SET @latchkey = '"+w.key+"'")
	return plain, sealed
}

// same compares two replies packet by packet; the names of the databases, of one length, are the only difference.
func (w *typesTwin) same(t *testing.T, what string, sealed, plain result) {
	t.Helper()
	if sealed.err.Code != plain.err.Code {
		t.Errorf("%s: got error %d %s, want %d %s", what, sealed.err.Code, sealed.err.Message, plain.err.Code, plain.err.Message)
		return
	}
	if len(sealed.columns) != len(plain.columns) || len(sealed.rows) != len(plain.rows) {
		t.Errorf("%s: got %d columns and %d rows, want %d and %d", what, len(sealed.columns), len(sealed.rows), len(plain.columns), len(plain.rows))
		return
	}
	for i := range plain.columns {
		if got, want := bytes.ReplaceAll(sealed.columns[i], []byte(w.sealed), []byte(w.plain)), plain.columns[i]; !bytes.Equal(got, want) {
			t.Errorf("%s: definition of column %d\ngot  %x\nwant %x", what, i, got, want)
		}
	}
	for i := range plain.rows {
		if !bytes.Equal(sealed.rows[i], plain.rows[i]) {
			t.Errorf("%s: row %d\ngot  %.200q\nwant %.200q", what, i, sealed.rows[i], plain.rows[i])
		}
	}
}

// insert writes a value on both sides. What MariaDB takes without a warning and a case calls exact must be taken; what is
// refused is written on neither side.
func (w *typesTwin) insert(t *testing.T, what string, exact bool, plain, sealed func() result, undo func()) {
	t.Helper()
	got := sealed()
	refused := got.err.Code >= 9700 && got.err.Code < 9800
	if refused && !exact {
		return
	}
	want := plain()
	if refused || got.err.Code != want.err.Code {
		t.Errorf("%s: got error %d %s, want %d %s", what, got.err.Code, got.err.Message, want.err.Code, want.err.Message)
		if got.err.Code != 0 && want.err.Code == 0 {
			undo()
		}
	}
}

// TestEveryType writes every value of every type as a literal and as parameters, and reads it as text and binary: rows and
// column definitions are those of plaintext, byte for byte.
func TestEveryType(t *testing.T) {
	w := newTypesTwin(t)
	plain, sealed := w.clients(t, wireCaps)
	for i, c := range typeCases {
		table := fmt.Sprintf("ty%d", i)
		id := 0
		undo := func() { plain.must(t, fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id)) }
		for n, v := range append(append([]string{"NULL"}, c.values...), c.odd...) {
			exact := n <= len(c.values) && n > 0
			id++
			stmt := fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, %s)", table, id, v)
			w.insert(t, fmt.Sprintf("%s: %.60s", c.declared, v), exact, func() result { return plain.query(t, stmt) }, func() result { return sealed.query(t, stmt) }, undo)
		}
		// The same as parameters: what the plain table holds, as text.
		values := plain.must(t, "SELECT v FROM "+table+" WHERE v IS NOT NULL ORDER BY id")
		insert := "INSERT INTO " + table + " (id, v) VALUES (?, ?)"
		toPlain, toSealed := plain.prepare(t, insert), sealed.prepare(t, insert)
		for _, row := range values.rows {
			if strings.HasPrefix(c.declared, "BIT") {
				break // the bytes of a BIT are no value of one
			}
			id++
			length, n := wire.Lenenc(row)
			value := param{wire.TypeVarString, row}
			w.insert(t, fmt.Sprintf("%s: parameter %.60q", c.declared, row[n:n+int(length)]), true,
				func() result { return plain.execute(t, toPlain.prepared.Statement, intParam(int64(id)), value) },
				func() result { return sealed.execute(t, toSealed.prepared.Statement, intParam(int64(id)), value) }, undo)
		}
		for _, number := range []int64{0, 1, 5, -1, 200} {
			id++
			w.insert(t, fmt.Sprintf("%s: parameter %d", c.declared, number), false,
				func() result {
					return plain.execute(t, toPlain.prepared.Statement, intParam(int64(id)), intParam(number))
				},
				func() result {
					return sealed.execute(t, toSealed.prepared.Statement, intParam(int64(id)), intParam(number))
				}, undo)
		}
	}
	for _, extra := range []wire.Capabilities{0, wire.CapDeprecateEOF | wire.CapExtendedMetadata} {
		plain, sealed := w.clients(t, wireCaps|extra)
		for i, c := range typeCases {
			w.compareReads(t, c.declared, fmt.Sprintf("ty%d", i), plain, sealed)
		}
	}
}

// compareReads reads a table in several ways.
func (w *typesTwin) compareReads(t *testing.T, what, table string, plain, sealed *wireClient) {
	t.Helper()
	for _, stmt := range []string{
		"SELECT v FROM %s ORDER BY id", "SELECT * FROM %s AS a ORDER BY id", "SELECT a.v AS heading, id FROM %s a ORDER BY id",
		"SELECT v FROM %s WHERE v IS NULL", "SELECT v FROM %s WHERE 1 = 0",
	} {
		stmt = fmt.Sprintf(stmt, table)
		w.same(t, what+": "+stmt, sealed.query(t, stmt), plain.query(t, stmt))
		p, s := plain.prepare(t, stmt), sealed.prepare(t, stmt)
		w.same(t, what+": prepare "+stmt, s, p)
		if p.err.Code == 0 && s.err.Code == 0 {
			w.same(t, what+": execute "+stmt, sealed.execute(t, s.prepared.Statement), plain.execute(t, p.prepared.Statement))
		}
	}
}

// TestTypesWithoutKey has the same column definitions when no row needs a key, and errors where one does.
func TestTypesWithoutKey(t *testing.T) {
	w := newTypesTwin(t)
	plain, sealed := w.clients(t, wireCaps)
	nobody := newWireClient(t, w.proxy.Address, w.sealed, wireCaps)
	for i, c := range typeCases {
		table := fmt.Sprintf("ty%d", i)
		stmt := "SELECT v FROM " + table
		w.same(t, c.declared+": empty table", nobody.query(t, stmt), plain.query(t, stmt))
		p, s := plain.prepare(t, stmt), nobody.prepare(t, stmt)
		w.same(t, c.declared+": prepare", s, p)
		value := c.values[0]
		for _, client := range []*wireClient{plain, sealed} {
			client.must(t, fmt.Sprintf("INSERT INTO %s (v) VALUES (%s)", table, value))
		}
		if value == "DEFAULT" {
			continue // no cell is stored, and none is locked
		}
		for how, got := range map[string]result{"text": nobody.query(t, stmt), "prepared": nobody.execute(t, s.prepared.Statement)} {
			if got.err.Code != 9701 || len(got.rows) > 0 {
				t.Errorf("%s, %s: got error %d %s and %d rows, want error 9701", c.declared, how, got.err.Code, got.err.Message, len(got.rows))
			}
		}
	}
}

// TestTypesThatCannotBeProtected has columns that the policy names and whose type has no cells: every touch is refused, and
// nothing is stored.
func TestTypesThatCannotBeProtected(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	types := []struct{ declared, value string }{{"DECIMAL(8,2) ZEROFILL", "1.5"}, {"FLOAT ZEROFILL", "1.5"}, {"POINT", "POINT(1, 2)"}, {"VARCHAR(10) CHARACTER SET sjis", "'a'"}}
	var policy strings.Builder
	for i, c := range types {
		server.Exec(t, fmt.Sprintf("CREATE TABLE %s.ty%d (id INT PRIMARY KEY AUTO_INCREMENT, v %s)", db, i, c.declared))
		fmt.Fprintf(&policy, "    ty%d:\n      columns:\n        v: {}\n", i)
	}
	proxy := latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + db + ":\n" + policy.String()})
	c := newWireClient(t, proxy.Address, db, wireCaps)
	c.must(t, "SET @latchkey = '"+latchkeytest.NewAccountKey(t)+"'")
	for i, v := range types {
		table, value := fmt.Sprintf("ty%d", i), v.value
		for _, stmt := range []string{"SELECT v FROM " + table, "SELECT * FROM " + table, "INSERT INTO " + table + " (v) VALUES (" + value + ")",
			"INSERT INTO " + table + " VALUES (1, " + value + ")", "UPDATE " + table + " SET v = " + value} {
			if r := c.query(t, stmt); r.err.Code < 9700 || r.err.Code > 9799 {
				t.Errorf("%s: got error %d %s, want a refusal", stmt, r.err.Code, r.err.Message)
			}
		}
		if rows := server.Query(t, "SELECT COUNT(*) FROM "+db+"."+table); rows[0][0] != "0" {
			t.Errorf("%s has rows", table)
		}
	}
}

// TestTimeZones writes TIMESTAMPs in one session time zone and reads them in others.
func TestTimeZones(t *testing.T) {
	w := newTypesTwin(t)
	plain, sealed := w.clients(t, wireCaps)
	zones := []string{"+00:00", "-11:30", "+13:00", "+05:45", "SYSTEM"}
	for i, c := range typeCases {
		if !strings.HasPrefix(c.declared, "TIMESTAMP") && !strings.HasPrefix(c.declared, "DATETIME") {
			continue
		}
		table := fmt.Sprintf("ty%d", i)
		id := 0
		for _, zone := range zones {
			for _, client := range []*wireClient{plain, sealed} {
				client.must(t, "SET time_zone = '"+zone+"'")
			}
			for _, v := range c.values {
				id++
				stmt := fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, %s)", table, id, v)
				w.same(t, zone+": "+stmt, sealed.query(t, stmt), plain.query(t, stmt))
			}
		}
		for _, zone := range zones {
			for _, client := range []*wireClient{plain, sealed} {
				client.must(t, "SET @@session.time_zone = '"+zone+"'")
			}
			w.compareReads(t, c.declared+" at "+zone, table, plain, sealed)
		}
	}
}

// TestResultCharsets reads text under other client character sets.
func TestResultCharsets(t *testing.T) {
	w := newTypesTwin(t)
	plain, sealed := w.clients(t, wireCaps)
	for _, set := range []string{"SET NAMES latin1", "SET NAMES binary", "SET NAMES utf8mb3", "SET NAMES ascii", "SET character_set_results = NULL", "SET NAMES utf8mb4"} {
		for _, client := range []*wireClient{plain, sealed} {
			client.must(t, "SET NAMES utf8mb4")
		}
		for i, c := range typeCases {
			if !strings.Contains(c.declared, "CHARACTER SET") && !strings.Contains(c.declared, "BLOB") && !strings.HasPrefix(c.declared, "DATE") && !strings.HasPrefix(c.declared, "INT") {
				continue
			}
			table := fmt.Sprintf("ty%d", i)
			for _, client := range []*wireClient{plain, sealed} {
				client.must(t, set)
			}
			s, p := sealed.query(t, "SELECT v FROM "+table+" ORDER BY id"), plain.query(t, "SELECT v FROM "+table+" ORDER BY id")
			if s.err.Code == 9704 || s.err.Code == 9705 {
				t.Errorf("%s: %s: error %d %s", set, c.declared, s.err.Code, s.err.Message)
				continue
			}
			w.same(t, set+": "+c.declared, s, p)
			for _, client := range []*wireClient{plain, sealed} {
				client.must(t, "SET NAMES utf8mb4")
			}
			for _, v := range c.values[:min(3, len(c.values))] {
				for _, client := range []*wireClient{plain, sealed} {
					client.must(t, fmt.Sprintf("INSERT INTO %s (v) VALUES (%s)", table, v))
				}
			}
		}
	}
}
