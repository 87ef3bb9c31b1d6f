package logical

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// sample is one literal as SQL text and as what the caller would make of it.
type sample struct {
	sql string
	in  Input
}

func str(s string) sample {
	return sample{quote([]byte(s)), Input{Kind: InputString, Bytes: []byte(s)}}
}

func strs(list ...string) []sample {
	out := make([]sample, len(list))
	for i, s := range list {
		out[i] = str(s)
	}
	return out
}

// num reads 12, -12.5, 1e3 as the scanner would.
func num(s string) sample {
	in := Input{Kind: InputInteger}
	text := s
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		in.Negative, text = true, rest
	}
	switch {
	case strings.ContainsAny(text, "eE"):
		in.Kind = InputFloat
	case strings.Contains(text, "."):
		in.Kind = InputDecimal
	}
	in.Bytes = []byte(text)
	return sample{s, in}
}

func nums(list ...string) []sample {
	out := make([]sample, len(list))
	for i, s := range list {
		out[i] = num(s)
	}
	return out
}

func hexString(b string) sample {
	return sample{"x'" + hex.EncodeToString([]byte(b)) + "'", Input{Kind: InputHexString, Bytes: []byte(b)}}
}

func hexNumber(b string) sample {
	return sample{"0x" + hex.EncodeToString([]byte(b)), Input{Kind: InputHexNumber, Bytes: []byte(b)}}
}

func bits(s string) sample {
	b, _ := decodeBits(s)
	return sample{"b'" + s + "'", Input{Kind: InputBit, Bytes: []byte(b)}}
}

func typed(word string, kind InputKind, s string) sample {
	return sample{word + "'" + s + "'", Input{Kind: kind, Bytes: []byte(s)}}
}

func dateLit(s string) sample  { return typed("DATE", InputDate, s) }
func timeLit(s string) sample  { return typed("TIME", InputTime, s) }
func stampLit(s string) sample { return typed("TIMESTAMP", InputTimestamp, s) }

// truths are TRUE and FALSE, and literals behind a minus sign.
var truths = []sample{{"TRUE", Input{Kind: InputTrue}}, {"FALSE", Input{Kind: InputFalse}},
	{"-TRUE", Input{Kind: InputTrue, Negative: true}}, {"-FALSE", Input{Kind: InputFalse, Negative: true}},
	{"-'5'", Input{Kind: InputString, Bytes: []byte("5"), Negative: true}},
	{"-0x05", Input{Kind: InputHexNumber, Bytes: []byte("\x05"), Negative: true}},
	{"-b'101'", Input{Kind: InputBit, Bytes: []byte("\x05"), Negative: true}},
	{"-x'35'", Input{Kind: InputHexString, Bytes: []byte("5"), Negative: true}},
	{"-DATE'2024-01-31'", Input{Kind: InputDate, Bytes: []byte("2024-01-31"), Negative: true}},
	{"-TIME'10:11:12'", Input{Kind: InputTime, Bytes: []byte("10:11:12"), Negative: true}}}

// numberSamples are literals for every numeric type.
func numberSamples(r *rand.Rand) []sample {
	out := nums("0", "1", "-1", "-0", "127", "128", "-128", "-129", "255", "256", "32767", "32768", "-32769", "65535", "65536", "8388607",
		"8388608", "-8388609", "16777215", "16777216", "2147483647", "2147483648", "-2147483649", "4294967295", "4294967296",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
		"18446744073709551616", "-18446744073709551615", "007", "0.0", "-0.0", "1.0", "1.50", ".5", "5.", "12.345", "12.340", "99999.99",
		"9999999999.99", "10000000000.00", "-9999999999.995", "1e0", "1e2", "1.5e0", "-1e0", "-0e0", "1e10", "1e19", "9.2e18", "1e39", "3.4e38",
		"3.4028235e38", "1e-7", "1e-50", "-1e-50", "0.1e0", "1.1e0", "1e15", "1e14", "123456789.123e0", "1e300", "16777217", "0.1", "123456.789",
		"123456789012345678901234567890", "1234567", "12345678", "0.000001234", "9007199254740993e0", "1e-15", "1e-14", "0.30000000000000004e0")
	out = append(out, strs("0", "1", "-1", "+5", "-0", "-0.0", "007", "12", "12.0", "12.5", "12.34", "12.345", "12.340", ".5", "5.", "1e2", "1.5e3", "-1e-3", "1e400", "1e39",
		"", "abc", "x1", "12abc", "e5", "inf", "nan", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
		"99999999999999999999999", "0.1", "123456789012345678", "1e-400", "--1", "-", "+", ".", "1.2.3", "0x10", "true", "\u0661", "1_000", "1,5")...)
	out = append(out, truths...)
	out = append(out, hexNumber("A"), hexNumber("\x01\xff"), hexNumber("\xff\xff\xff\xff\xff\xff\xff\xff"), hexString("A"), hexString("5"), bits("101"), bits("11111111"),
		dateLit("2024-01-31"), timeLit("10:11:12"), stampLit("2024-01-31 10:00:00"))
	for range 400 {
		magnitude := math.Pow(10, float64(r.IntN(22)))
		switch r.IntN(6) {
		case 0:
			out = append(out, num(fmt.Sprintf("%d", int64(r.Float64()*magnitude)-int64(magnitude/2))))
		case 1:
			out = append(out, num(fmt.Sprintf("%.*f", r.IntN(4), (r.Float64()-0.5)*magnitude)))
		case 2:
			out = append(out, num(fmt.Sprintf("%.*e", r.IntN(18), (r.Float64()-0.5)*magnitude)))
		case 3:
			out = append(out, str(fmt.Sprintf("%.*f", r.IntN(4), (r.Float64()-0.5)*magnitude)))
		case 4:
			out = append(out, str(fmt.Sprintf("%d", int64(r.Float64()*magnitude))))
		case 5:
			f := math.Float64frombits(r.Uint64())
			if f == f && !math.IsInf(f, 0) {
				out = append(out, num(fmt.Sprintf("%e", f)))
			}
		}
	}
	return out
}

// randomText returns text of characters that conversions treat differently.
func randomText(r *rand.Rand, most int) string {
	alphabet := []rune("abcABC012 ,.-_%'\\\"\t\n\x00éèßÄ\u00ffŒ€\u0081ДЖ漢字ıİ\u0301😀🔑")
	n := r.IntN(most + 1)
	out := make([]rune, n)
	for i := range out {
		if r.IntN(3) > 0 {
			out[i] = alphabet[r.IntN(26)]
		} else {
			out[i] = alphabet[r.IntN(len(alphabet))]
		}
	}
	return string(out)
}

func textSamples(r *rand.Rand) []sample {
	out := strs("", "a", "abc", "abc ", "abcdefghij", "abcdefghij ", "abcdefghij  ", "abcdefghijk", "abcdefghij\t", "abcdefghij \n", "   ", "é", "漢字漢字漢字漢字漢字", "漢字漢字漢字漢字漢字漢", "😀", "\x00", "a\x00",
		strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("a", 255)+" ", strings.Repeat("é", 127), strings.Repeat("é", 128), strings.Repeat("😀", 64), "\xff", "a\xc3", "\xed\xa0\x80", "abcdefghijk\xff",
		"\xff                    ", strings.Repeat("a", 300)+"é")
	out = append(out, hexString("AB"), hexString("\xff"), hexString("\xc3\xa9"), hexString(""), hexString("\x81"), hexNumber("AB"), bits("1000001"), hexString("ab\x00\x00"), hexString("abcdefghij\x00"))
	out = append(out, truths...)
	out = append(out, nums("0", "1", "-1", "-0", "007", "1.50", ".5", "5.", "-0.0", "-00012.50", "1e1", "1.5e0", "1e20", "1e-20", "0.1e0", "12345678901", "123456789012", "1e15", "123456789.5e0", "-1.25e-7",
		"123456789012345678901234567890", "-0e0")...)
	out = append(out, dateLit("2024-01-31"), timeLit("10:11:12"))
	out = append(out, sample{"_latin1 x'E9'", Input{Kind: InputString, Bytes: []byte("\xe9"), Charset: "latin1"}},
		sample{"_latin1'abc'", Input{Kind: InputString, Bytes: []byte("abc"), Charset: "latin1"}},
		sample{"_binary'ab'", Input{Kind: InputString, Bytes: []byte("ab"), Charset: "binary"}},
		sample{"_utf8mb4'\u20ac'", Input{Kind: InputString, Bytes: []byte("\u20ac"), Charset: "utf8mb4"}})
	for range 400 {
		out = append(out, str(randomText(r, 12)))
	}
	return out
}

func jsonSamples(r *rand.Rand) []sample {
	out := strs(`{}`, `[]`, `{"a":1}`, ``, ` `, `x`, `1`, `-1`, `01`, `1.`, `.5`, `-`, `1e5`, `1E+5`, `1e`, `true`, `false`, `null`, `nul`, `TRUE`, `"a"`, `"a\tb"`, "\"a\tb\"", `"\x"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud800"`, `"\uDC00"`,
		`"\u0000"`, `"😀"`, "\"\x7f\"", `{"a":1,"a":2}`, `{"a":1,}`, `[1,]`, `[1 2]`, `[1]x`, `{"":1}`, `{"a" : [ 1 , 2 ] }`, `{"a"`, `"a`, `[`, ` [1,2] `, "\n[1]\r\n\t", "\ufeff[]", `"\/"`, `"\""`, `"\\"`, `-0`, `-0.0e-0`, `1.5E-10`,
		strings.Repeat("[", 31)+strings.Repeat("]", 31), strings.Repeat("[", 32)+strings.Repeat("]", 32), strings.Repeat("[", 33)+strings.Repeat("]", 33),
		strings.Repeat(`{"a":`, 31)+"1"+strings.Repeat("}", 31), strings.Repeat(`{"a":`, 32)+"1"+strings.Repeat("}", 32), "\"\u2028\"", `"\u12"`, `"\uzzzz"`, `[1,[2,[3,{"b":[]}]]]`, `{"漢":"字"}`, "\x00", "\"\x00\"", `{1:2}`, `'a'`, `/*x*/1`)
	out = append(out, nums("5", "-5", "1.50", ".5", "1e3")...)
	out = append(out, truths...)
	out = append(out, hexString("{}"), hexString("\xff"))
	pieces := []string{"{", "}", "[", "]", ",", ":", `"a"`, `"é"`, "1", "-2.5e3", "true", "null", " ", `"\n"`}
	for range 300 {
		var b strings.Builder
		for range r.IntN(6) + 1 {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		out = append(out, str(b.String()))
	}
	for range 200 {
		out = append(out, str(randomJSON(r, 4)))
	}
	return out
}

func randomJSON(r *rand.Rand, depth int) string {
	switch k := r.IntN(7); {
	case k == 0 && depth > 0:
		return fmt.Sprintf(`[%s, %s]`, randomJSON(r, depth-1), randomJSON(r, depth-1))
	case k <= 2 && depth > 0:
		return fmt.Sprintf(`{"k%d":%s,"\u00e9":%s}`, r.IntN(9), randomJSON(r, depth-1), randomJSON(r, depth-1))
	case k == 3:
		return fmt.Sprint(r.Int64())
	case k == 4:
		return fmt.Sprint(r.NormFloat64())
	case k == 5:
		return "null"
	}
	return fmt.Sprintf("%q", strings.ToValidUTF8(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x81 || c == 0x301 {
			return -1
		}
		return c
	}, randomText(r, 8)), ""))
}

func temporalSamples(r *rand.Rand) []sample {
	out := strs("2024-01-31", "2024-1-31", "2024-1-1", "20240131", "2024/01/31", "24-01-31", "2024-02-29", "2023-02-29", "0000-02-29", "0000-02-29 22:05:20.944312", "0004-02-29", "2024-02-30", "2024-13-01", "2024-01-32", "2024-00-10", "2024-01-00", "0000-00-00", "0000-01-01", "0000-00-01", "0001-01-01", "9999-12-31",
		"10000-01-01", "2024-01-31 ", " 2024-01-31", "abc", "", "0", "2024-01-31 10:00:00", "2024-01-31T10:00:00", "2024-01-31t10:00:00", "2024-01-31 00:00:00", "2024-01-31 10:00", "2024-01-31 10", "2024-01-31 10:00:00.5", "2024-01-31 10:00:00.", "2024-01-31 10:00:00.000",
		"2024-01-31 10:00:00.123456", "2024-01-31 10:00:00.1234567", "2024-01-31 24:00:00", "2024-01-31 23:60:00", "2024-01-31 23:59:60", "2024-01-31T10:00:00Z", "2024-01-31 10:00:00+01:00", "2024-01-31 10:00:00-05:00", "2024-01-31 1:2:3",
		"0000-00-00 00:00:00", "0000-00-00 10:00:00", "2024-02-30 10:00:00", "9999-12-31 23:59:59.999999", "1970-01-01 00:00:00", "1970-01-01 01:00:00", "1970-01-01 01:00:01", "1970-01-01 00:00:00.5", "2038-01-19 03:14:07", "2038-01-19 04:14:07", "2038-01-19 04:14:08", "2038-01-19 04:14:07.999999", "1969-12-31 23:59:59",
		"2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-10-27 01:59:59", "2024-10-27 03:00:00", "2024-03-31 03:00:00", "2024-03-31 01:59:59", "2024-07-01 12:00:00", "1980-04-06 02:30:00", "1945-05-24 02:00:00",
		"10:11:12", "10:11", "-10:11:12", "1:2:3", "0:0:0", "00:00:00", "-00:00:00", "838:59:59", "838:59:59.999999", "-838:59:59.5", "839:00:00", "838:60:00", "10:60:00", "10:11:60", "1 10:11:12", "101112", "10:11:12.5", "-0:0:0.001", "100:00:00", "012:10:10", "0000:10:10", "10:11:12.1234567", "10:11:12.999999", "5",
		"2024", "1901", "1900", "2155", "2156", "24", "70", "00", "0000", "99", "02024", "2024x", "+024", "-001", "100", "0070")
	out = append(out, nums("0", "5", "24", "70", "99", "100", "1900", "1901", "2024", "2155", "2156", "-1", "2024.0", "2024.5", "24.0", "2024e0", "20240131", "20240230", "240131", "20240131100000", "101112", "10111200")...)
	out = append(out, truths...)
	out = append(out, dateLit("2024-01-31"), dateLit("2024-1-1"), dateLit("0000-00-00"), dateLit("2024-00-10"), stampLit("2024-01-31 10:00:00"), stampLit("2024-01-31 00:00:00"), stampLit("2024-01-31 10:00:00.5"), stampLit("2024-01-31 10:00:00.123456"), stampLit("2024-01-31T10:00:00"),
		stampLit("1960-01-01 00:00:00"), stampLit("0000-00-00 00:00:00"), stampLit("2024-03-31 02:30:00"), timeLit("10:11:12"), timeLit("-10:11:12.5"), timeLit("838:59:59"), timeLit("10:11"), hexNumber("A"), hexString("2024-01-31"))
	for range 300 {
		at := time.Unix(r.Int64N(6e9)-2e9, r.Int64N(1e9)).UTC()
		switch r.IntN(7) {
		case 0:
			out = append(out, str(at.Format("2006-01-02")))
		case 1:
			out = append(out, str(at.Format("2006-01-02 15:04:05")))
		case 2:
			out = append(out, str(at.Format("2006-01-02 15:04:05.000000")))
		case 3:
			out = append(out, str(at.Format("2006-01-02T15:04:05.999")))
		case 4:
			out = append(out, str(at.Format("15:04:05.000")))
		case 5:
			out = append(out, str(fmt.Sprintf("%d:%02d:%02d", r.IntN(1700)-850, r.IntN(61), r.IntN(61))))
		case 6:
			out = append(out, str(fmt.Sprintf("%04d-%02d-%02d", r.IntN(3000), r.IntN(14), r.IntN(33))))
		}
	}
	return out
}

func bitSamples(r *rand.Rand) []sample {
	out := nums("0", "1", "5", "255", "1023", "1024", "-1", "-0", "5.0", "5.5", "5e0", "5.5e0", "18446744073709551615", "18446744073709551616", "9223372036854775808", "1e10", "1e19", "-5e0")
	out = append(out, bits(""), bits("1"), bits("101"), bits("1111111111"), bits("11111111111"), bits("00000000000000000000000101"), hexString("\x03\xff"), hexString("\x04\x00"), hexNumber("\x03\xff"), hexNumber("\x04\x00"), hexString(""), hexString("\x00\x00\x00\x01"),
		hexString("\xff\xff\xff\xff\xff\xff\xff\xff"), hexString("\x01\xff\xff\xff\xff\xff\xff\xff\xff"))
	out = append(out, strs("", "A", "AB", "5", "\x00A", "\x03\xff", "abcdefgh", "abcdefghi", "\x00\x00\x00A")...)
	out = append(out, truths...)
	for range 100 {
		out = append(out, num(fmt.Sprint(r.Uint64()>>r.IntN(64))))
	}
	return out
}

func memberSamples(r *rand.Rand) []sample {
	out := strs("a", "A", "Bcd", "bCD", "é", "É", "e", "E", "x", "", "a ", " a", "a\t", "1", "3", "03", "9", "+1", "-1", "1.5", "0", "a,Bcd", "Bcd,a", "a,a", "bcd,A,é", "a,", ",a", "a,,a", "a, Bcd", "a ,Bcd", "x,a", "3,a", "漢", "ä", "it''s", "it's", "IT'S", "\x00")
	out = append(out, nums("0", "1", "2", "3", "5", "6", "7", "31", "32", "64", "-1", "1.0", "1.5", "1e0", "2e0", "18446744073709551615", "-0")...)
	out = append(out, truths...)
	out = append(out, hexString("a"), hexNumber("a"), hexString("A"), hexNumber("\x01"), bits("1"), hexString("\xc3\xa9"))
	for range 150 {
		parts := []string{"a", "A", "Bcd", "BCD", "é", "it's", "3", "z", " ", ""}
		var b strings.Builder
		for i := range r.IntN(4) + 1 {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(parts[r.IntN(len(parts)-r.IntN(4))])
		}
		out = append(out, str(b.String()))
	}
	return out
}

func addressSamples(r *rand.Rand) []sample {
	out := strs("", "x", "123e4567-e89b-12d3-a456-426655440000", "123E4567-E89B-12D3-A456-426655440000", "123e4567e89b12d3a456426655440000", "{123e4567-e89b-12d3-a456-426655440000}", "123e4567-e89b-12d3-a456-42665544000", "123e4567-e89b12d3-a456-426655440000", " 123e4567-e89b-12d3-a456-426655440000",
		"123e4567-e89b-12d3-a456-426655440000 ", "123e4567-e89b-12d3-a456-42665544000g", "00000000-0000-0000-0000-000000000000", "-123e4567e89b12d3a456426655440000", "123e4567e89b12d3a456426655440000-", "ffffffff-ffff-ffff-ffff-ffffffffffff", "6ccd780c-baba-1026-9564-5b8c656024db", "6ccd780c-baba-7026-9564-5b8c656024db",
		"1.2.3.4", "01.2.3.4", "001.002.003.004", "0001.2.3.4", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1..3.4", " 1.2.3.4", "1.2.3.4 ", "255.255.255.255", "0.0.0.0", "1.2.3.a", "1.2.3.", ".1.2.3",
		"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "2001:DB8::1", "::ffff:1.2.3.4", "::1.2.3.4", "::ffff:0:1.2.3.4", "64:ff9b::1.2.3.4", "::1:2", "::ffff", "::ffff:0:0", "0:0:0:0:0:0:0:0", "1:0:3:4:5:6:7:8", "1:0:0:4:0:0:7:8", "1:0:0:4:0:0:0:8", "::01", "::00001", ":::", "1::2::3",
		"fe80::1%eth0", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "::1.0.0.0", "::0.0.0.1", "::0.0.1.1", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:1.2.3.4", "::g", ":1", "1:", "::1.2.3", "::1.2.3.256", "::01.2.3.4", "1::3:4:5:6:7:8", "::1:2:3:4:5:6:7:8", "é")
	out = append(out, nums("0", "5", "1.5", "1e1")...)
	out = append(out, truths...)
	out = append(out, hexString("\x01\x02\x03\x04"), hexString("0123456789abcdef"), hexString("\x12"), hexString(""), hexNumber("\x01\x02\x03\x04"))
	for range 200 {
		var a [16]byte
		for i := range a {
			if r.IntN(3) == 0 {
				a[i] = byte(r.Uint32())
			}
		}
		words := make([]string, 8)
		for i := range words {
			words[i] = fmt.Sprintf("%x", binary.BigEndian.Uint16(a[2*i:]))
		}
		out = append(out, str(strings.Join(words, ":")), hexString(string(a[:])), str(hex.EncodeToString(a[:])), hexString(string(a[:4])), str(fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])))
	}
	return out
}

// typeCase is a declared type with literals that are of interest for it.
type typeCase struct {
	def     string
	samples func(*rand.Rand) []sample
}

var typeCases = []typeCase{
	{"char(10)", textSamples}, {"char(10) character set latin1", textSamples}, {"varchar(10)", textSamples},
	{"varchar(10) character set latin1", textSamples}, {"varchar(10) character set ascii", textSamples},
	{"varchar(10) character set utf8mb3", textSamples}, {"varchar(10) character set ucs2", textSamples},
	{"varchar(10) character set utf16", textSamples}, {"varchar(10) character set cp1251", textSamples},
	{"varchar(40) collate utf8mb4_bin", textSamples}, {"tinytext", textSamples}, {"text", textSamples}, {"mediumtext", textSamples},
	{"longtext", textSamples}, {"tinytext character set latin1", textSamples}, {"json", jsonSamples},
	{"binary(10)", textSamples}, {"varbinary(10)", textSamples}, {"tinyblob", textSamples}, {"blob", textSamples}, {"mediumblob", textSamples}, {"longblob", textSamples},
	{"tinyint", numberSamples}, {"tinyint unsigned", numberSamples}, {"bool", numberSamples}, {"smallint", numberSamples}, {"smallint unsigned", numberSamples},
	{"mediumint", numberSamples}, {"mediumint unsigned", numberSamples}, {"int", numberSamples}, {"int unsigned", numberSamples}, {"int(7) zerofill", numberSamples},
	{"bigint", numberSamples}, {"bigint unsigned", numberSamples}, {"decimal(12,2)", numberSamples}, {"decimal(5,0)", numberSamples}, {"decimal(3,3)", numberSamples},
	{"decimal(65,30)", numberSamples}, {"decimal(8,2) unsigned", numberSamples}, {"float", numberSamples}, {"float unsigned", numberSamples}, {"double", numberSamples},
	{"double unsigned", numberSamples}, {"float(7,3)", numberSamples}, {"double(10,4)", numberSamples},
	{"date", temporalSamples}, {"datetime", temporalSamples}, {"datetime(3)", temporalSamples}, {"datetime(6)", temporalSamples}, {"timestamp null", temporalSamples},
	{"timestamp(6) null", temporalSamples}, {"time", temporalSamples}, {"time(2)", temporalSamples}, {"time(6)", temporalSamples}, {"year", temporalSamples},
	{"bit", bitSamples}, {"bit(10)", bitSamples}, {"bit(64)", bitSamples},
	{"enum('a','Bcd','é','3','it''s')", memberSamples}, {"enum('a','Bcd','é','3','it''s') character set latin1 collate latin1_bin", memberSamples},
	{"set('a','Bcd','é','3','it''s')", memberSamples}, {"set('a','Bcd','é','3','it''s') collate utf8mb4_unicode_ci", memberSamples},
	{"uuid", addressSamples}, {"inet4", addressSamples}, {"inet6", addressSamples},
}

// wireSamples are parameters of COM_STMT_EXECUTE of every type.
func wireSamples(r *rand.Rand, literals []sample) []wireParam {
	var out []wireParam
	for _, s := range literals {
		if s.in.Kind == InputString && s.in.Charset == "" {
			out = append(out, wireParam{typ: wireVarString, raw: s.in.Bytes})
			if r.IntN(4) == 0 {
				out = append(out, wireParam{typ: wireBlob, raw: s.in.Bytes}, wireParam{typ: wireString, raw: s.in.Bytes}, wireParam{typ: wireVarchar, raw: s.in.Bytes})
			}
		}
		if v, ok := numberOf(s.in); ok && !v.approx && r.IntN(4) == 0 {
			out = append(out, wireParam{typ: wireNewDecimal, raw: v.n.appendText(nil)})
		}
	}
	for _, v := range []uint64{0, 1, 5, 127, 128, 255, 1901, 2024, 2155, 32767, 32768, 65535, 1 << 23, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 5} {
		raw := binary.LittleEndian.AppendUint64(nil, v)
		for _, unsigned := range []bool{false, true} {
			out = append(out, wireParam{wireTiny, unsigned, raw[:1]}, wireParam{wireShort, unsigned, raw[:2]}, wireParam{wireLong, unsigned, raw[:4]}, wireParam{wireInt24, unsigned, raw[:4]}, wireParam{wireLongLong, unsigned, raw})
		}
	}
	for _, f := range []float64{0, 1, -1, 5, 0.5, 0.1, 1.5, 12.25, 12.345, 2024, 1e10, 1e15, 1e20, 1e-7, 123456789.125, -3, 1e39, math.Copysign(0, -1), math.Pi, 255, 256} {
		out = append(out, wireParam{typ: wireDouble, raw: binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))})
		if math.Abs(f) < math.MaxFloat32 {
			out = append(out, wireParam{typ: wireFloat, raw: binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f)))})
		}
	}
	dates := [][]byte{{}, {0xe8, 7, 1, 31}, {0xe8, 7, 1, 31, 10, 11, 12}, {0xe8, 7, 1, 31, 10, 11, 12, 0x20, 0xa1, 7, 0}, {0xe8, 7, 1, 31, 0, 0, 0}, {0xe8, 7, 7, 1, 0, 0, 0, 1, 0, 0, 0}, {0xe8, 7, 0, 10}, {0xe8, 7, 2, 30},
		{0xe8, 7, 3, 31, 2, 30, 0}, {0xe8, 7, 13, 1}, {0xe8, 7, 1, 31, 24, 0, 0}, {0xb2, 7, 1, 1, 0, 0, 0}, {0xf6, 7, 1, 19, 4, 14, 7}, {0xf6, 7, 1, 19, 4, 14, 8}}
	for _, d := range dates {
		out = append(out, wireParam{typ: wireDateTime, raw: d}, wireParam{typ: wireTimestamp, raw: d})
		if len(d) <= 4 {
			out = append(out, wireParam{typ: wireDate, raw: d})
		}
	}
	for _, d := range [][]byte{{}, {0, 0, 0, 0, 0, 10, 11, 12}, {1, 0, 0, 0, 0, 10, 11, 12}, {0, 2, 0, 0, 0, 10, 11, 12, 0x20, 0xa1, 7, 0}, {0, 34, 0, 0, 0, 22, 59, 59}, {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, {0, 35, 0, 0, 0, 1, 0, 0}} {
		out = append(out, wireParam{typ: wireTime, raw: d})
	}
	return out
}
