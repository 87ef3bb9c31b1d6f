package proxy

import (
	"testing"

	"latchkey/rewrite"
)

// TestPlainLiteral: a value of a type becomes a literal of that type, and what cannot be one does not become SQL.
func TestPlainLiteral(t *testing.T) {
	for _, c := range []struct{ dataType, value, want string }{
		{"varchar", "it's", "_utf8mb4 x'69742773'"},
		{"longtext", "", "_utf8mb4 x''"},
		{"varbinary", "\x00\xff", "x'00ff'"},
		{"int", "-12", "-12"},
		{"decimal", "-0.0001", "-0.0001"},
		{"bit", "513", "513"},
		{"double", "5e-324", "5e-324"},
		{"double", "10", "10e0"},
		{"timestamp", "2024-02-29 23:59:59.123456", "'2024-02-29 23:59:59.123456'"},
		{"time", "-838:59:59", "'-838:59:59'"},
		{"inet6", "2001:db8::1", "'2001:db8::1'"},
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "'123e4567-e89b-12d3-a456-426614174000'"},
		{"int", "1 OR 1=1", ""},
		{"int", "", ""},
		{"double", "1e0)", ""},
		{"date", "2024'", ""},
		{"uuid", "x'", ""},
		{"geometry", "x", ""},
	} {
		got, ok := plainLiteral(&rewrite.Column{DataType: c.dataType}, []byte(c.value))
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s %q: got %s (%v), want %s", c.dataType, c.value, got, ok, c.want)
		}
	}
	if got, ok := plainLiteral(&rewrite.Column{DataType: "int"}, nil); got != "NULL" || !ok {
		t.Errorf("NULL: got %s (%v), want NULL", got, ok)
	}
}

// TestMatchedRows reads the number of rows in every language, and refuses what has none.
func TestMatchedRows(t *testing.T) {
	for _, c := range []struct {
		info string
		want uint64
		ok   bool
	}{
		{"Rows matched: 12  Changed: 3  Warnings: 0", 12, true},
		{"Datens\u00e4tze gefunden: 7  Ge\u00e4ndert: 0  Warnungen: 1", 7, true},
		{"", 0, false},
		{"Records: 1", 0, false},
		{"Rows matched: 99999999999999999999999  Changed: 3  Warnings: 0", 0, false},
	} {
		if got, err := matchedRows([]byte(c.info)); got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: got %d (%v), want %d", c.info, got, err, c.want)
		}
	}
}
