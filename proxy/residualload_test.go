package proxy

import (
	"testing"

	"latchkey/proxy/wire"
)

func TestBinaryValuesAsText(t *testing.T) {
	for _, c := range []struct {
		kind  columnKind
		value string
		want  string
	}{
		{columnKind{kind: wire.TypeTiny}, "\xff", "-1"},
		{columnKind{kind: wire.TypeTiny, unsigned: true}, "\xff", "255"},
		{columnKind{kind: wire.TypeLongLong, unsigned: true}, "\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"},
		{columnKind{kind: wire.TypeLongLong}, "\x00\x00\x00\x00\x00\x00\x00\x80", "-9223372036854775808"},
		{columnKind{kind: wire.TypeYear}, "\x00\x00", "0000"},
		{columnKind{kind: wire.TypeFloat}, "\x00\x00\x80\x4b", "1.6777216e+07"},
		{columnKind{kind: wire.TypeDouble}, "\x9a\x99\x99\x99\x99\x99\xb9\x3f", "1e-01"},
		{columnKind{kind: wire.TypeDate}, "\xe8\x07\x02\x1d", "2024-02-29"},
		{columnKind{kind: wire.TypeDate}, "", "0000-00-00"},
		{columnKind{kind: wire.TypeDatetime}, "\xe8\x07\x02\x1d\x0c\x22\x38\x40\xe2\x01\x00", "2024-02-29 12:34:56.123456"},
		{columnKind{kind: wire.TypeDatetime}, "\xe8\x07\x02\x1d", "2024-02-29 00:00:00.000000"},
		{columnKind{kind: wire.TypeTime}, "\x01\x22\x00\x00\x00\x16\x3b\x3b", "-838:59:59.000000"},
		{columnKind{kind: wire.TypeTime}, "", "00:00:00.000000"},
	} {
		got, same, ok := appendBinaryValue(nil, []byte(c.value), &c.kind)
		if string(got) != c.want || same || !ok {
			t.Errorf("type %d value %q = %q, %v, %v; want %q", c.kind.kind, c.value, got, same, ok, c.want)
		}
	}
	for _, kind := range []wire.ColumnType{wire.TypeLong, wire.TypeYear, wire.TypeFloat, wire.TypeDouble, wire.TypeDate, wire.TypeTime} {
		if _, _, ok := appendBinaryValue(nil, []byte("abc"), &columnKind{kind: kind}); ok {
			t.Errorf("type %d takes a value of three bytes", kind)
		}
	}
}

func FuzzBinaryValue(f *testing.F) {
	f.Add(uint8(wire.TypeDatetime), []byte("\xe8\x07\x02\x1d\x0c\x22\x38"), false)
	f.Add(uint8(wire.TypeTime), []byte{}, false)
	f.Add(uint8(wire.TypeLongLong), []byte("12345678"), true)
	f.Fuzz(func(t *testing.T, kind uint8, value []byte, unsigned bool) {
		out, same, ok := appendBinaryValue([]byte("before"), value, &columnKind{kind: wire.ColumnType(kind), unsigned: unsigned})
		if string(out[:6]) != "before" || same && len(out) != 6 || !ok && same {
			t.Errorf("appended %q, %v, %v", out, same, ok)
		}
	})
}
