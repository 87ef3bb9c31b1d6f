package logical

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// TestPlaintext reads what MariaDB leaves of a column; internal/endtoend holds every type against a server.
func TestPlaintext(t *testing.T) {
	for _, c := range []struct{ declared, old, want string }{
		{"varchar(20) character set utf8mb4", "rent", "rent"},
		{"varchar(20) character set latin1", "gr\xfc\xdfe \x80", "gr\u00fc\u00dfe \u20ac"},
		{"char(4) character set latin1", "\xe9   ", "\u00e9"},
		{"varchar(20) character set utf16", "\xd8\x3d\xde\x00", "\U0001F600"},
		{"varbinary(20)", "\xffLKt", "\xffLKt"},
		{"binary(3)", "a\x00\x00", "a\x00\x00"},
		{"int(4) zerofill", "0042", "42"},
		{"int", "-7", "-7"},
		{"decimal(5,2)", "-0.50", "-0.50"},
		{"float", "0.10000000149011612", "0.1"},
		{"double", "1e300", "1e+300"},
		{"double", "-0", "0"},
		{"year", "0000", "0000"},
		{"bit(3)", "7", "7"},
		{"date", "0000-00-00", "0000-00-00"},
		{"time(2)", "-838:59:59.99", "-838:59:59.99"},
		{"timestamp(1) null", "2024-02-29 23:59:59.5", "2024-02-29 23:59:59.5"},
		{"enum('a','\u00e9') character set latin1", "\xe9", "\u00e9"},
		{"enum('a')", "", ""},
		{"set('a','b')", "a,b", "a,b"},
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"inet6", "::ffff:192.0.2.1", "::ffff:192.0.2.1"},
	} {
		got, err := mustParse(t, c.declared).Plaintext([]byte("x"), []byte(c.old))
		if err != nil || string(got) != "x"+c.want {
			t.Errorf("%s: Plaintext(%q): got %q, %v, want %q", c.declared, c.old, got, err, "x"+c.want)
		}
	}
}

// TestPlaintextIsNoGuess has bytes that no column of the type leaves.
func TestPlaintextIsNoGuess(t *testing.T) {
	for _, c := range []struct{ declared, old string }{
		{"varchar(3) character set utf8mb4", "rent"}, {"varchar(20) character set utf8mb4", "\xff"}, {"varchar(20) character set utf8mb3", "\U0001F600"},
		{"varchar(20) character set utf16", "abc"}, {"varchar(20) character set ascii", "\xe9"},
		{"binary(3)", "ab"}, {"varbinary(2)", "abc"}, {"int", ""}, {"int", "007"}, {"int", "1.0"}, {"int", "+1"}, {"int", "2147483648"}, {"int", "-0"}, {"int", " 1"},
		{"int unsigned", "-1"}, {"decimal(5,2)", "1.5"}, {"decimal(5,2)", "1000.00"}, {"decimal(5,2)", ".50"}, {"decimal(5)", "1."},
		{"float", "abc"}, {"float", "1e39"}, {"double", "nan"}, {"double", "1e999"}, {"year", "24"}, {"year", "1900"}, {"bit(3)", "8"}, {"bit(3)", "\x07"},
		{"date", "2024-1-1"}, {"date", "2024-13-01"}, {"datetime", "2024-01-01"}, {"datetime(1)", "2024-01-01 00:00:00"}, {"datetime", "2024-01-01 24:00:00"}, {"time", "839:00:00"},
		{"enum('a')", "b"}, {"enum('a')", "A"}, {"set('a','b')", "b,a"}, {"set('a','b')", "a,a"}, {"set('a','b')", "a,"},
		{"uuid", "123E4567-e89b-12d3-a456-426614174000"}, {"uuid", "\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00"},
		{"inet4", "::1"}, {"inet4", "1.2.3.4 "}, {"inet6", "1.2.3.4"}, {"inet6", "::FFFF:1"}, {"inet6", "fe80::1%eth0"},
	} {
		got, err := mustParse(t, c.declared).Plaintext([]byte("x"), []byte(c.old))
		if !errors.Is(err, errForeign) || !bytes.Equal(got, []byte("x")) {
			t.Errorf("%s: Plaintext(%q): got %q, %v, want an error and what was there", c.declared, c.old, got, err)
		}
	}
}

// FuzzPlaintext: what is taken is canonical text, which both protocols can carry and which does not change when it is read again
// as a stored value.
func FuzzPlaintext(f *testing.F) {
	declared := []string{"varchar(20) character set latin1", "char(5) character set utf16", "text character set utf8mb4", "varbinary(20)", "int(5) unsigned zerofill", "bigint",
		"decimal(12,4)", "float", "double", "year", "bit(10)", "date", "datetime(3)", "timestamp(6) null", "time(2)", "enum('a','b')", "set('a','b','c')", "uuid", "inet4", "inet6", "json"}
	types := make([]*Type, len(declared))
	for i, d := range declared {
		t, err := Parse(d)
		if err != nil {
			f.Fatal(err)
		}
		types[i] = t
	}
	for i, seed := range []string{"\xe9", "\x00a", "text", "\xffLK", "00042", "-1", "1.5000", "0.1", "1e300", "2024", "7", "2024-02-29", "2024-02-29 01:02:03.456", "2024-02-29 01:02:03.456789",
		"-01:02:03.45", "b", "a,c", "123e4567-e89b-12d3-a456-426614174000", "1.2.3.4", "::1", "{}"} {
		f.Add(byte(i), []byte(seed))
	}
	session := &Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4", TimeZone: time.UTC}
	f.Fuzz(func(t *testing.T, kind byte, old []byte) {
		typ := types[int(kind)%len(types)]
		canonical, err := typ.Plaintext(nil, old)
		if err != nil {
			return
		}
		if len(canonical) > typ.MaxCanonical() {
			t.Errorf("%s: %q has %d bytes, more than %d", typ, canonical, len(canonical), typ.MaxCanonical())
		}
		if _, err := typ.AppendText(nil, canonical, session); err != nil {
			t.Errorf("%s: AppendText(%q): %v", typ, canonical, err)
		}
		if _, err := typ.AppendBinary(nil, canonical, session); err != nil {
			t.Errorf("%s: AppendBinary(%q): %v", typ, canonical, err)
		}
	})
}

func mustParse(t *testing.T, declared string) *Type {
	t.Helper()
	typ, err := Parse(declared)
	if err != nil {
		t.Fatalf("Parse(%q): %v", declared, err)
	}
	return typ
}
