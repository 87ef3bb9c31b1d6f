package logical

import "testing"

func TestWidens(t *testing.T) {
	for _, tc := range []struct {
		old, new string
		want     bool
	}{
		{"varchar(10)", "varchar(20)", true}, {"varchar(20)", "varchar(10)", false}, {"varchar(20)", "text", true}, {"text", "varchar(20)", false},
		{"text", "mediumtext", true}, {"char(5)", "varchar(5)", true}, {"varchar(5)", "char(5)", false}, {"varchar(5)", "int", false},
		{"varchar(5) charset latin1", "varchar(5)", true}, {"varchar(5)", "varchar(5) charset latin1", false}, {"varchar(5)", "varbinary(20)", false},
		{"int", "bigint", true}, {"bigint", "int", false}, {"int", "int unsigned", false}, {"int unsigned", "int", false}, {"int unsigned", "bigint", true},
		{"tinyint(1)", "tinyint(4)", true}, {"int(5) zerofill", "int(6) zerofill", false},
		{"decimal(10,2)", "decimal(12,2)", true}, {"decimal(10,2)", "decimal(12,4)", false}, {"decimal(10,2)", "decimal(8,2)", false},
		{"datetime", "datetime(3)", false}, {"datetime", "datetime not null", true}, {"date", "datetime", false}, {"float", "double", false},
		{"enum('a','b')", "enum('a','b','c')", true}, {"enum('a','b')", "enum('b','a')", false}, {"enum('a','b')", "enum('a')", false},
		{"binary(4)", "binary(5)", false}, {"binary(4)", "binary(4)", true}, {"binary(4)", "varbinary(4)", true}, {"varbinary(4)", "blob", true}, {"json", "json", true},
		{"bit(3)", "bit(8)", true}, {"tinytext", "varchar(300)", true}, {"tinytext", "varchar(30)", false},
	} {
		before, err := Parse(tc.old)
		if err != nil {
			t.Fatal(err)
		}
		after, err := Parse(tc.new)
		if err != nil {
			t.Fatal(err)
		}
		if got := after.Widens(before); got != tc.want {
			t.Errorf("%s to %s: widens %t, want %t", tc.old, tc.new, got, tc.want)
		}
	}
}

func TestImplicitDefaultIsAValueOfTheType(t *testing.T) {
	for def, want := range map[string]string{
		"varchar(5)": "", "text": "", "binary(2)": "\x00\x00", "int": "0", "decimal(5,2)": "0.00", "double": "0", "date": "0000-00-00", "bit(3)": "0", "year": "0000",
		"datetime(3)": "0000-00-00 00:00:00.000", "timestamp": "0000-00-00 00:00:00", "time(2)": "00:00:00.00", "enum('x','y')": "x", "set('x')": "", "int(4) zerofill": "0",
		"uuid": "00000000-0000-0000-0000-000000000000", "inet6": "::", "inet4": "0.0.0.0",
	} {
		typ, err := Parse(def)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := typ.ImplicitDefault()
		if !ok || string(got) != want {
			t.Errorf("%s: %q, %t, want %q", def, got, ok, want)
		}
	}
}
