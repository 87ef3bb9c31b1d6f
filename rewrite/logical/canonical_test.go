package logical

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

// TestCanonicalTextNeverChanges holds the texts that cells already have. docs/format.md describes them.
func TestCanonicalTextNeverChanges(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	s := &Session{ClientCharset: "utf8mb4", TimeZone: zone, Strict: true}
	for _, c := range []struct {
		def  string
		in   sample
		want string
	}{
		{"char(5)", str("ab  "), "ab"},
		{"varchar(5)", str("ab  "), "ab  "},
		{"varchar(5) character set latin1", str("é"), "é"},
		{"varchar(5)", num("-007"), "-7"},
		{"text", num("1.50"), "1.50"},
		{"binary(4)", str("ab"), "ab\x00\x00"},
		{"varbinary(4)", hexString("\xff\x00"), "\xff\x00"},
		{"json", str(` {"a": 1} `), ` {"a": 1} `},
		{"int", num("-0"), "0"},
		{"int(5) zerofill", num("7"), "7"},
		{"bigint unsigned", num("18446744073709551615"), "18446744073709551615"},
		{"bool", truths[0], "1"},
		{"decimal(12,2)", num("-12.5"), "-12.50"},
		{"decimal(12,2)", str("+.5"), "0.50"},
		{"decimal(5,0)", num("-0.0"), "0"},
		{"float", num("0.1"), "0.1"},
		{"float", num("123456789"), "1.2345679e+08"},
		{"double", num("0.1"), "0.1"},
		{"double", num("999999.5"), "999999.5"},
		{"double", num("1000000"), "1e+06"},
		{"double", num("0.00001"), "1e-05"},
		{"double", num("1e21"), "1e+21"},
		{"double", num("-0e0"), "0"},
		{"double(10,4)", num("1.23456"), "1.2346"},
		{"date", str("2024-1-31"), "2024-01-31"},
		{"date", str("0000-00-00"), "0000-00-00"},
		{"datetime", str("2024-01-31T10:00:00.9"), "2024-01-31 10:00:00"},
		{"datetime(3)", str("2024-01-31"), "2024-01-31 00:00:00.000"},
		{"timestamp(1)", str("2024-01-31 01:00:00.5"), "2024-01-30 23:00:00.5"},
		{"timestamp", str("0000-00-00 00:00:00"), "0000-00-00 00:00:00"},
		{"time(2)", str("-1:2:3.5"), "-01:02:03.50"},
		{"time", str("838:59:59"), "838:59:59"},
		{"year", num("24"), "2024"},
		{"year", num("0"), "0000"},
		{"bit(10)", bits("1000000001"), "513"},
		{"bit(10)", str("A"), "65"},
		{"enum('a','Bcd')", str("bcd"), "Bcd"},
		{"enum('a','Bcd')", num("2"), "Bcd"},
		{"set('a','Bcd')", str("BCD,A"), "a,Bcd"},
		{"set('a','Bcd')", num("0"), ""},
		{"uuid", str("123E4567E89B12D3A456426655440000"), "123e4567-e89b-12d3-a456-426655440000"},
		{"inet4", str("001.2.3.4"), "1.2.3.4"},
		{"inet6", str("2001:DB8:0:0:1:0:0:1"), "2001:db8::1:0:0:1"},
		{"inet6", str("::ffff:102:304"), "::ffff:1.2.3.4"},
	} {
		typ, err := Parse(c.def)
		if err != nil {
			t.Fatalf("%s: %v", c.def, err)
		}
		got, err := typ.Canonical(nil, c.in.in, s)
		if err != nil || string(got) != c.want {
			t.Errorf("%s from %s: %q (%v), want %q", c.def, c.in.sql, got, err, c.want)
		}
	}
}

// TestWeightsNeverChange holds the weights that tags were computed from; a change needs a new WeightVersion.
func TestWeightsNeverChange(t *testing.T) {
	for _, c := range []struct{ def, text, want string }{
		{"varchar(9)", "aB  ", "00410042"},
		{"varchar(9) collate utf8mb4_bin", "aé ", "0000610000e9"},
		{"varchar(9) collate utf8mb4_nopad_bin", "a ", "000061000020"},
		{"varchar(9) collate utf8mb4_unicode_ci", "aB ", "0e330e4a"},
		{"varchar(9) collate utf8mb4_unicode_nopad_ci", "a ", "0e330209"},
		{"varchar(9) collate utf8mb4_uca1400_as_cs", "aB ", "2075208f00000000000200080000"},
		{"varchar(9)", "\u00e9\u00df", "00450053"},
		{"varchar(9) collate utf8mb4_unicode_ci", "\u00df", "0fea0fea"},
		{"varchar(9) collate latin1_swedish_ci", "aB ", "4142"},
		{"varchar(9) collate latin1_bin", "é€", "e980"},
		{"varchar(9) collate utf8mb3_bin", "é", "00e9"},
		{"varbinary(9)", "a ", "6120"},
		{"decimal(12,2)", "-12.50", hex.EncodeToString([]byte("-12.5"))},
		{"decimal(12,2)", "10.00", hex.EncodeToString([]byte("10"))},
		{"int", "10", hex.EncodeToString([]byte("10"))},
		{"double", "-0", hex.EncodeToString([]byte("0"))},
		{"datetime(3)", "2024-01-31 10:00:00.500", hex.EncodeToString([]byte("2024-01-31 10:00:00.5"))},
		{"time(3)", "10:00:00.000", hex.EncodeToString([]byte("10:00:00"))},
		{"date", "2024-01-30", hex.EncodeToString([]byte("2024-01-30"))},
	} {
		typ, err := Parse(c.def)
		if err != nil {
			t.Fatalf("%s: %v", c.def, err)
		}
		got, err := typ.Weights(nil, []byte(c.text))
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%s, %q: %x (%v), want %s", c.def, c.text, got, err, c.want)
		}
	}
}

func TestWeightsThatAreNotKnown(t *testing.T) {
	for _, c := range []struct{ def, text string }{
		{"varchar(9)", "\u4e2d"}, {"varchar(9)", "e\u0301"}, {"varchar(9) collate utf8mb4_unicode_ci", "a\x01"}, {"varchar(9) collate latin1_swedish_ci", "é"}, {"varchar(9) collate utf8mb4_czech_ci", "a"},
	} {
		typ, _ := Parse(c.def)
		if got, err := typ.Weights([]byte("x"), []byte(c.text)); !errors.Is(err, ErrNotPlain) || string(got) != "x" {
			t.Errorf("%s, %q: %x (%v), want ErrNotPlain", c.def, c.text, got, err)
		}
	}
	for _, def := range []string{"varchar(9) character set latin2 collate latin2_czech_cs", "float(7,3)"} {
		typ, err := Parse(def)
		if err != nil {
			t.Fatalf("%s: %v", def, err)
		}
		if typ.Searchable() == nil {
			t.Errorf("%s is searchable", def)
		}
		if _, err := typ.Weights(nil, []byte("a")); err == nil {
			t.Errorf("%s has weights", def)
		}
	}
}

func TestAnUnknownTimeZoneIsNotPlain(t *testing.T) {
	typ, _ := Parse("timestamp")
	s := &Session{ClientCharset: "utf8mb4", Strict: true}
	if _, err := typ.Canonical(nil, str("2024-01-31 10:00:00").in, s); !errors.Is(err, ErrNotPlain) {
		t.Errorf("Canonical: %v", err)
	}
	if _, err := typ.AppendText(nil, []byte("2024-01-31 10:00:00"), s); !errors.Is(err, ErrNotPlain) {
		t.Errorf("AppendText: %v", err)
	}
}

func BenchmarkVarchar(b *testing.B) {
	typ, _ := Parse("varchar(200)")
	s := &Session{ClientCharset: "utf8mb4", ConnectionCharset: "utf8mb4", ResultsCharset: "utf8mb4"}
	in := str("the quick brown fox jumps over the lazy dog and then it does so again until the hundred is full, ok").in
	buf := make([]byte, 0, 1024)
	b.Run("Canonical", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.Canonical(buf, in, s)
		}
	})
	b.Run("Weights", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.Weights(buf, in.Bytes)
		}
	})
	b.Run("AppendText", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.AppendText(buf, in.Bytes, s)
		}
	})
	b.Run("AppendBinary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.AppendBinary(buf, in.Bytes, s)
		}
	})
}

func BenchmarkDecimal(b *testing.B) {
	typ, _ := Parse("decimal(12,2)")
	s := &Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4"}
	buf := make([]byte, 0, 64)
	b.Run("Canonical", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.Canonical(buf, num("1234.5").in, s)
		}
	})
	b.Run("AppendText", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			typ.AppendText(buf, []byte("1234.50"), s)
		}
	})
}
