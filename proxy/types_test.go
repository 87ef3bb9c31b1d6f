package proxy

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// declared are the types of protected columns with literals of them.
var declared = []struct {
	definition string
	literals   []string
}{
	{"char(10)", []string{"'abc'", "''", "'x '"}},
	{"varchar(50) collate utf8mb4_bin", []string{"'caf\u00e9'", "'\U0001F511'", "''"}},
	{"tinytext", []string{"'tiny'"}},
	{"mediumtext", []string{"'medium'"}},
	{"longtext", []string{"'long'"}},
	{"varbinary(50)", []string{"x'00ff4c4b'", "x''"}},
	{"blob", []string{"x'00ff'"}},
	{"tinyint", []string{"-128", "127", "0"}},
	{"tinyint(1)", []string{"TRUE", "FALSE"}},
	{"tinyint unsigned", []string{"255"}},
	{"smallint", []string{"-32768", "32767"}},
	{"mediumint", []string{"-8388608", "8388607"}},
	{"int", []string{"-2147483648", "2147483647"}},
	{"int unsigned", []string{"4294967295"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807"}},
	{"bigint unsigned", []string{"18446744073709551615"}},
	{"decimal(12,2)", []string{"12.50", "-0.01", "9999999999.99"}},
	{"double", []string{"1.5e0", "-1e100", "0.1e0"}},
	{"float", []string{"1.5e0"}},
	{"date", []string{"'2020-02-29'", "DATE '1999-12-31'"}},
	{"datetime", []string{"'2020-02-29 12:34:56'"}},
	{"datetime(6)", []string{"'2020-02-29 12:34:56.123456'"}},
	{"timestamp null", []string{"'2020-02-29 12:34:56'"}},
	{"time", []string{"'-12:34:56'", "'838:59:59'"}},
	{"time(3)", []string{"'01:02:03.456'"}},
	{"year", []string{"2024"}},
	{"bit(8)", []string{"b'10101010'"}},
	{"enum('a','b')", []string{"'b'"}},
	{"set('a','b','c')", []string{"'a,c'", "''"}},
	{"uuid", []string{"'123e4567-e89b-12d3-a456-426614174000'"}},
	{"inet6", []string{"'2001:db8::ff00:42:8329'"}},
}

// TestDeclaredTypes holds every type against its plaintext twin: values and definitions, in text and binary, under several
// time zones.
func TestDeclaredTypes(t *testing.T) {
	server := mariadbtest.Shared(t)
	tw := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t)}
	columns := map[string]*rewrite.ColumnPolicy{}
	var plain, sealed []string
	for i, d := range declared {
		name := fmt.Sprint("c", i)
		plain = append(plain, name+" "+d.definition)
		sealed = append(sealed, name+" VARBINARY(400)")
		columns[name] = &rewrite.ColumnPolicy{Type: mustType(t, d.definition)}
	}
	server.Exec(t,
		"CREATE TABLE "+tw.plain+".w (id INT PRIMARY KEY, "+strings.Join(plain, ", ")+") DEFAULT CHARSET utf8mb4",
		"CREATE TABLE "+tw.sealed+".w (id INT PRIMARY KEY, "+strings.Join(sealed, ", ")+") DEFAULT CHARSET utf8mb4")
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: {"w": {Columns: columns}}}}
	tw.loader = startLoader(t, testSchemaConfig(server), policy)
	tw.proxy = startProxy(t, server.Addr(), func(c *Config) { c.Protection = testProtection(t, tw.loader) })
	direct, proxied := tw.direct(t, ""), tw.session(t, 'A', "")
	id := 0
	for i, d := range declared {
		for _, literal := range d.literals {
			id++
			same(t, direct, proxied, fmt.Sprintf("INSERT INTO w (id, c%d) VALUES (%d, %s)", i, id, literal))
		}
	}
	for _, zone := range []string{"'+00:00'", "'-03:30'"} {
		same(t, direct, proxied, "SET time_zone = "+zone)
		for i, d := range declared {
			same(t, direct, proxied, fmt.Sprintf("SELECT id, c%d FROM w WHERE c%d IS NOT NULL ORDER BY id /* %s */", i, i, d.definition))
			same(t, direct, proxied, fmt.Sprintf("SELECT id, c%d FROM w WHERE id > ? AND c%d IS NOT NULL ORDER BY id /* %s */", i, i, d.definition), 0)
		}
		same(t, direct, proxied, "SELECT * FROM w ORDER BY id")
		same(t, direct, proxied, "SELECT * FROM w WHERE id > ? ORDER BY id", 0)
	}
	for _, caps := range []wire.Capabilities{rawCaps, rawCaps | wire.CapExtendedMetadata} {
		sameDefinitions(t, tw, caps)
	}
}

// sameDefinitions compares the column definitions of both twins field by field.
func sameDefinitions(t *testing.T, tw *twin, caps wire.Capabilities) {
	t.Helper()
	a, b := loginRaw(t, tw.server.Addr(), tw.plain, caps), loginRaw(t, tw.proxy.addr, tw.sealed, caps)
	prepared := []byte("\x16SELECT * FROM w")
	_, want := rowsOf(t, a.ask(t, prepared, wire.ReplyPrepare), a.caps, wire.ReplyPrepare, nil)
	_, got := rowsOf(t, b.ask(t, prepared, wire.ReplyPrepare), b.caps, wire.ReplyPrepare, nil)
	if len(got) != len(want) || len(got) != len(declared)+1 {
		t.Fatalf("%d columns, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		w.Schema, g.Schema = nil, nil
		if fmt.Sprintf("%+v", g) != fmt.Sprintf("%+v", w) {
			t.Errorf("definition of %s\n got  %+v\n want %+v", declared[max(0, i-1)].definition, g, w)
		}
	}
}
