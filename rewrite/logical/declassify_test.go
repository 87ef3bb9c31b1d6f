package logical

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
)

// alteredTypes are declared types with values, as an INSERT writes them. Text is in utf8mb4.
var alteredTypes = []struct{ definition, values string }{
	{"char(5) character set latin1", "('ab  '),('\u00e4'),(''),('ÿLKp')"},
	{"varchar(10) character set latin1", "('ab  '),('ÿLKp'),(''),(' ')"},
	{"varchar(10) character set utf16", "('a\u00e4'),(''),('\U0001F600')"},
	{"varchar(10) character set utf8mb3", "('a\u00e4\u20ac')"},
	{"varchar(10) character set cp1251", "('\u0416')"},
	{"varchar(20) collate utf8mb4_bin", "('x'),('\U0001F600 '),(0x00)"},
	{"text", "('long\n''text'),('')"},
	{"longtext character set ucs2", "('\u20ac')"},
	{"json", `('{"a": "\u00f6"}'),('[1, 2]')`},
	{"binary(5)", "('a'),(''),(x'ff4c4b7000')"},
	{"varbinary(20)", "(x'ff4c4b70'),(x'00ff'),('')"},
	{"longblob", "(x'ff4c4b'),(x'80')"},
	{"tinyint", "(-128),(127),(0)"},
	{"int(8) unsigned zerofill", "(42),(0),(4294967295)"},
	{"bigint unsigned", "(18446744073709551615)"},
	{"bigint", "(-9223372036854775808)"},
	{"decimal(65,30)", "(-12345678901234567890123456789012345.123456789012345678901234567891),(0)"},
	{"decimal(8,2) unsigned", "(1.5),(0.05)"},
	{"float", "(0.1),(1e10),(16777216),(3.4028234e38),(1.17549435e-38),(-0.0),(123456.7)"},
	{"float(7,3)", "(1.5),(0.1),(-9999.999)"},
	{"double", "(1e-7),(0.1),(1.7976931348623157e308),(2.2250738585072014e-308),(123456789.123),(1e15),(-0.0),(0.30000000000000004)"},
	{"double(10,3)", "(1.5),(0.001)"},
	{"date", "('2024-01-31'),('0000-00-00'),('2024-00-00')"},
	{"datetime", "('2024-01-31 10:00:00'),('0000-00-00')"},
	{"datetime(6)", "('9999-12-31 23:59:59.999999'),('2024-01-31 10:00:00.5')"},
	{"timestamp", "('2024-01-31 10:00:00'),('2024-10-27 00:30:00'),('2024-10-27 01:30:00')"},
	{"timestamp(3)", "('2024-01-31 10:00:00.123')"},
	{"time", "('-838:59:59'),('00:00:00'),('100:00:00')"},
	{"time(2)", "('01:02:03.45')"},
	{"year", "(2024),(0),(1901)"},
	{"bit(1)", "(0),(1)"},
	{"bit(9)", "(0),(511),(48)"},
	{"bit(64)", "(0),(18446744073709551615),(9223372036854775808)"},
	{"enum('a','b c','\u00e4','') character set latin1", "('a'),('\u00e4'),('')"},
	{"enum('1','2','0') character set utf16", "('1'),('0')"},
	{"set('x','y','\u00f6')", "('x,y'),(''),('\u00f6')"},
	{"uuid", "('123e4567-e89b-12d3-a456-426655440000'),('00000000-0000-0000-0000-000000000000'),('018f3a5c-7b1d-7c2e-8f00-0123456789ab')"},
	{"inet4", "('1.2.3.4'),('0.0.0.0')"},
	{"inet6", "('::'),('fe80::1'),('::ffff:1.2.3.4'),('ff4c:4b70::')"},
}

// TestPlaintextComesAndGoes holds Plaintext and Declassify against what ALTER TABLE makes of every type, there and back.
func TestPlaintextComesAndGoes(t *testing.T) {
	s := newSession(t, "SET time_zone='+00:00'", "SET sql_mode=''", "SET character_set_results=NULL")
	for i, test := range alteredTypes {
		t.Run(test.definition, func(t *testing.T) {
			name := fmt.Sprintf("t%d", i)
			typ, err := Parse(test.definition + " DEFAULT NULL")
			if err != nil {
				t.Fatal(err)
			}
			declared := typ.Storage()
			s.exec("CREATE TABLE "+name+" (id INT AUTO_INCREMENT PRIMARY KEY, v "+declared+")", "INSERT INTO "+name+" (v) VALUES "+test.values+",(NULL)")
			read := "SELECT " + typ.ReadBack("v") + " FROM " + name + " ORDER BY id"
			want := canonicalRows(t, typ, s.rows(read))
			step := typ.Intermediate()
			for _, step := range []string{step, "LONGBLOB"} {
				if step != "" {
					s.exec("ALTER TABLE " + name + " MODIFY v " + step + " NULL")
				}
			}
			bare := s.rows("SELECT v FROM " + name + " ORDER BY id")
			for n, b := range bare {
				if b == nil || want[n] == nil {
					if b != nil || want[n] != nil {
						t.Errorf("row %d: NULL became a value, or the other way round", n)
					}
					continue
				}
				got, err := typ.Plaintext([]byte{}, b)
				if err != nil || !bytes.Equal(got, want[n]) {
					t.Errorf("Plaintext(%x) = %q (%v), want %q", b, got, err, want[n])
				}
				written, err := typ.Declassify(nil, want[n])
				if err != nil {
					t.Errorf("Declassify(%q): %v", want[n], err)
				}
				s.exec(fmt.Sprintf("UPDATE %s SET v=x'%s' WHERE id=%d", name, hex.EncodeToString(written), n+1))
			}
			for _, step := range append(typ.WayBack(), declared) {
				if step != "" {
					s.exec("ALTER TABLE " + name + " MODIFY v " + step)
				}
			}
			for n, got := range canonicalRows(t, typ, s.rows(read)) {
				if !bytes.Equal(got, want[n]) {
					t.Errorf("row %d came back as %q, want %q", n, got, want[n])
				}
			}
		})
	}
}

// canonicalRows reads values as ReadBack prints them; NULL is nil.
func canonicalRows(t *testing.T, typ *Type, rows [][]byte) [][]byte {
	t.Helper()
	for i, row := range rows {
		if row == nil {
			continue
		}
		canonical, err := typ.Adopt([]byte{}, row)
		if err != nil {
			t.Fatalf("row %d: %q: %v", i, row, err)
		}
		rows[i] = canonical
	}
	return rows
}

func FuzzDeclassify(f *testing.F) {
	for i := range alteredTypes {
		f.Add(uint8(i), []byte("1"))
		f.Add(uint8(i), []byte("2024-01-31 10:00:00"))
		f.Add(uint8(i), []byte("\xff\x4c\x4bp"))
	}
	f.Fuzz(func(t *testing.T, which uint8, bare []byte) {
		typ, err := Parse(alteredTypes[int(which)%len(alteredTypes)].definition)
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := typ.Plaintext([]byte{}, bare)
		if err != nil {
			return
		}
		again, err := typ.Declassify(nil, canonical)
		if err != nil {
			t.Fatalf("%s: Bare of what Plaintext(%x) gave: %v", typ, bare, err)
		}
		if same, err := typ.Plaintext([]byte{}, again); err != nil || !bytes.Equal(same, canonical) {
			t.Fatalf("%s: Plaintext(%x) = %q, back %x, then %q (%v)", typ, bare, canonical, again, same, err)
		}
	})
}
