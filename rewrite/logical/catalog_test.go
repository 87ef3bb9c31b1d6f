package logical

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// catalogTypes are declarations of every kind, with the defaults that print in their own way.
var catalogTypes = []string{
	"char(4)", "char(0)", "varchar(200) NOT NULL DEFAULT 'x'", "varchar(10) DEFAULT 'it''s'", "varchar(10) DEFAULT ''",
	`varchar(20) DEFAULT 'a\\b'`, "varchar(20) DEFAULT 'line\nbreak'", "varchar(7) CHARACTER SET latin1", "char(9) CHARACTER SET ucs2",
	"tinytext", "text", "mediumtext", "longtext", "text CHARACTER SET ucs2", "longtext CHARACTER SET utf16", "text DEFAULT 'abc'", "json",
	"json DEFAULT '{}'", "json NOT NULL", "binary(5)", "varbinary(10) DEFAULT 'x''y'", "tinyblob", "blob", "mediumblob", "longblob", "blob DEFAULT 'abc'",
	"tinyint", "tinyint(1) NOT NULL DEFAULT 0", "tinyint unsigned", "smallint", "smallint unsigned", "mediumint", "mediumint unsigned",
	"int DEFAULT -5", "int(5) unsigned zerofill", "int unsigned zerofill DEFAULT 7", "bigint", "bigint unsigned",
	"decimal(12,2) NOT NULL DEFAULT 0", "decimal(5)", "decimal(65,30) unsigned", "float", "float DEFAULT 1e30", "float(7,3)", "float unsigned",
	"double DEFAULT 1.5", "double(10,2)", "date", "date DEFAULT '2024-01-01'", "datetime", "datetime(3) DEFAULT '2024-01-01 10:00:00.5'",
	"timestamp NULL DEFAULT '2024-07-01 10:00:00'", "timestamp(6) NULL", "time", "time(2) DEFAULT '10:00:00'", "year", "year DEFAULT 2024",
	"bit(1)", "bit(9) DEFAULT b'101'", "enum('a','b') DEFAULT 'a'", "enum('x','it''s','longer')", "set('a','bb') DEFAULT 'a,bb'", "uuid",
	"inet4", "inet6", "inet6 DEFAULT '::1'",
}

// TestCatalog holds what a type says about its column against information_schema and SHOW COLUMNS of a server.
func TestCatalog(t *testing.T) {
	s := newSession(t)
	for i, def := range catalogTypes {
		s.exec(fmt.Sprintf("CREATE TABLE c%d (v %s) DEFAULT CHARSET=utf8mb4", i, def))
	}
	const query = "SELECT CONCAT_WS('|', DATA_TYPE, COLUMN_TYPE, COALESCE(CHARACTER_MAXIMUM_LENGTH,-1), COALESCE(CHARACTER_OCTET_LENGTH,-1)," +
		" COALESCE(NUMERIC_PRECISION,-1), COALESCE(NUMERIC_SCALE,-1), COALESCE(DATETIME_PRECISION,-1), COALESCE(CHARACTER_SET_NAME,'')," +
		" COALESCE(COLLATION_NAME,''), COALESCE(COLUMN_DEFAULT,'')) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='c%d'"
	zone, err := time.LoadLocation(systemZone)
	if err != nil {
		t.Fatal(err)
	}
	under := &Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4", TimeZone: zone}
	for i, def := range catalogTypes {
		want := string(s.rows(fmt.Sprintf(query, i))[0])
		result, err := s.Execute(fmt.Sprintf("SHOW COLUMNS FROM c%d", i))
		if err != nil {
			t.Fatal(err)
		}
		wantShown, err := result.GetString(0, 4)
		if err != nil {
			t.Fatal(err)
		}
		show, err := s.Execute(fmt.Sprintf("SHOW CREATE TABLE c%d", i))
		if err != nil {
			t.Fatal(err)
		}
		typ, err := Parse(declaredIn(t, show.Values[0][1].AsString()))
		if err != nil {
			t.Fatalf("%s: %v", def, err)
		}
		if typ.Kind == KindTimestamp && typ.HasDefault {
			// What an annotation holds is in UTC.
			typ = parseInUTC(t, def, under)
		}
		c := typ.Catalog()
		text, shown := "", ""
		if typ.Nullable {
			text = "NULL"
		}
		if typ.HasDefault {
			if text, err = typ.DefaultText(under); err != nil {
				t.Fatal(err)
			}
			if shown, err = typ.DefaultShown(under); err != nil {
				t.Fatal(err)
			}
		}
		got := strings.Join([]string{c.DataType, c.ColumnType, fmt.Sprint(c.CharacterLength), fmt.Sprint(c.OctetLength), fmt.Sprint(c.NumericPrecision),
			fmt.Sprint(c.NumericScale), fmt.Sprint(c.DatetimePrecision), c.Charset, c.Collation, text}, "|")
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", def, got, want)
		}
		if typ.HasDefault && shown != wantShown {
			t.Errorf("%s: default shown as %q, want %q", def, shown, wantShown)
		}
	}
}

// declaredIn cuts the definition of the one column out of the text of SHOW CREATE TABLE.
func declaredIn(t *testing.T, text []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(text), "`v` ")
	definition, _, end := strings.Cut(rest, "\n)")
	if !ok || !end {
		t.Fatalf("no column in %s", text)
	}
	if strings.Contains(definition, "json_valid") {
		definition = "json" + strings.TrimPrefix(definition[:strings.Index(definition, " CHECK")], "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	}
	return definition
}

// parseInUTC parses a declaration whose TIMESTAMP default is in the time zone of s.
func parseInUTC(t *testing.T, def string, s *Session) *Type {
	t.Helper()
	before, literal, _ := strings.Cut(def, " DEFAULT '")
	bare, err := Parse(before)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := bare.Canonical(nil, Input{Kind: InputString, Bytes: []byte(strings.TrimSuffix(literal, "'")), Charset: "utf8mb4"}, s)
	if err != nil {
		t.Fatal(err)
	}
	declared := *bare
	declared.HasDefault, declared.Default = true, canonical
	return &declared
}
