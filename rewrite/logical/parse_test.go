package logical

import (
	"strings"
	"testing"
	"time"
)

// declarations are column definitions that both the server and Parse accept.
var declarations = []string{
	"char", "char(5)", "character(3)", "varchar(20)", "char varying(20)", "character varying(20)", "national varchar(5)", "nchar(3)", "nvarchar(4)", "nchar varying(4)", "national character varying(4)",
	"varchar(20) binary", "varchar(20) character set latin1 binary", "varchar(20) charset utf8mb3", "varchar(20) collate latin1_swedish_ci", "varchar(20) character set utf8 collate utf8_unicode_ci",
	"varchar(20) character set utf8mb4 collate uca1400_ai_ci", "varchar(20) ascii", "varchar(20) unicode", "varchar(20) byte", "char(4) character set binary", "text character set binary",
	"tinytext", "text", "text(100)", "text(20)", "text(70000)", "text(5000000)", "mediumtext", "longtext", "long", "long varchar", "long char varying", "long varbinary", "blob", "blob(10)", "blob(300)", "blob(70000)", "blob(20000000)", "tinyblob", "mediumblob", "longblob",
	"json", "longtext collate utf8mb4_bin check (json_valid(`a``b`))", "binary", "binary(16)", "varbinary(16)", "tinyint", "tinyint(3)", "int1", "bool", "boolean", "smallint unsigned", "int2", "mediumint", "middleint", "int3 unsigned", "int", "integer", "int4", "int(5)", "int(5) zerofill", "int unsigned zerofill", "bigint", "int8", "bigint unsigned",
	"decimal", "decimal(5)", "decimal(12,2)", "dec(4,1)", "numeric(6,3) unsigned", "fixed(5)", "decimal(0)", "float", "float(10)", "float(30)", "float(7,3)", "float4", "float8", "double", "double precision", "double(10,4)", "real", "double unsigned",
	"date", "datetime", "datetime(6)", "timestamp null", "timestamp(3) null", "time", "time(2)", "year", "year(4)", "bit", "bit(10)", "uuid", "inet4", "inet6",
	"enum('a','b')", "enum('it''s','x\\\\y','a ')", "set('a','b') character set latin1", "enum('漢','é') collate utf8mb4_unicode_ci",
	"int not null", "int not null default 5", "int default -5", "int default '7'", "int default null", "int null", "int null default 3 comment 'it''s'", "int(5) zerofill default 7", "tinyint(1) not null default true", "bigint unsigned default 18446744073709551615",
	"decimal(12,2) not null default 0", "decimal(12,2) default '1.5'", "decimal(12,2) default -1.50", "float default 1.5", "double default 0.1", "double default 1e20", "float default 123456789", "varchar(20) default 'x'", "varchar(20) not null default ''", "varchar(20) default 'it''s\\n\\\\'", "varchar(20) default \"d\"", "varchar(20) default 5",
	"char(5) default 'ab '", "text default 'abc'", "binary(4) default 'ab'", "varbinary(4) default 'ab'", "date default '2024-01-31'", "datetime default '2024-01-31 10:00:00'", "datetime(3) default '2024-01-31'", "time default '10:11:12'", "time(2) default '10:11'", "year default 2024", "bit(4) default b'101'", "bit(8) default 5",
	"enum('a','b') default 'B'", "enum('a','b') not null default 'a'", "set('a','b') default 'b,a'", "set('a','b') default ''", "uuid default '123E4567-e89b-12d3-a456-426655440000'", "inet6 default '::FFFF'", "inet4 default '1.2.3.4'", "json default '{}'", "json not null",
	"varchar(9) comment 'a''b\\\\c\\nd'", "date not null default date'2024-01-31'",
}

func TestParseReadsItsOwnString(t *testing.T) {
	for _, def := range declarations {
		typ, err := Parse(def)
		if err != nil {
			t.Errorf("%s: %v", def, err)
			continue
		}
		again, err := Parse(typ.String())
		if err != nil {
			t.Errorf("%s: %s: %v", def, typ, err)
			continue
		}
		if again.String() != typ.String() || string(again.Default) != string(typ.Default) || again.Kind != typ.Kind {
			t.Errorf("%s: %s became %s", def, typ, again)
		}
		if typ.HasDefault && typ.Default == nil {
			t.Errorf("%s: the default is nil", def)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, def := range []string{"", "int auto_increment", "int primary key", "int unique", "int references t(a)", "timestamp default current_timestamp", "timestamp null on update current_timestamp", "int default (1+1)", "int generated always as (1)", "int as (1)",
		"int check (v > 1)", "geometry", "point", "serial", "varchar", "varchar(70000)", "varchar(20000)", "decimal(66,2)", "decimal(5,6)", "bit(65)", "char(256)", "datetime(7)", "float(60)", "enum()", "enum", "set('a,b')", "enum('a','A')", "set('a','a')",
		"int collate utf8mb4_bin", "varchar(5) character set latin1 collate utf8mb4_bin", "varchar(5) character set big5", "varchar(5) character set nosuch", "varchar(5) collate nosuch", "int not null default null", "int default 'abc'", "tinyint default 300", "varchar(2) default 'abc'",
		"date default '2024-02-30'", "enum('a') default 'x'", "int unsigned default -1", "varchar(5) unsigned", "decimal(5,2) zerofill", "int invisible", "varchar(5) compressed", "year(2)", "int; drop table t", "int /* x */", "int -- x", "varchar(5", "varchar(5) default 'abc", "double default 'x", "int )", "'int'",
		"varchar(5) character set utf8mb4 collate", "int default", "int comment 5", "enum('a' 'b')", "decimal(5,2", "text collate binary collate", "\xff", "int not", "json collate utf8mb4_general_ci", "varchar(3) check (json_valid(v))", "char byte varying(3)", strings.Repeat("a", maxDeclaration+1)} {
		if typ, err := Parse(def); err == nil {
			t.Errorf("%.60s: parsed as %s", def, typ)
		}
	}
}

func TestParseErrorsHoldNoValue(t *testing.T) {
	const secret = "hunter2"
	for _, def := range []string{"int default 'hunter2'", "varchar(3) default 'hunter2'", "enum('hunter2','hunter2')", "set('hunter2,a')", "int comment 'hunter2' default 'hunter2'", "date default 'hunter2'", "varchar(9) default 'hunter2"} {
		if _, err := Parse(def); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %v", def, err)
		}
	}
}

func TestParseTakesTheTablesDefaults(t *testing.T) {
	o := Options{Charset: "latin1", Collation: "latin1_general_ci", TimeZone: time.FixedZone("", 3600)}
	for def, want := range map[string]string{
		"varchar(5)":                                   "varchar(5) CHARACTER SET latin1 COLLATE latin1_general_ci DEFAULT NULL",
		"varchar(5) character set latin1":              "varchar(5) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL",
		"varchar(5) collate utf8mb4_bin":               "varchar(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL",
		"varchar(5) binary":                            "varchar(5) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT NULL",
		"timestamp default '2024-01-31 10:00:00'":      "timestamp NULL DEFAULT '2024-01-31 09:00:00'",
		"timestamp not null default '0000-00-00 0:00'": "timestamp NOT NULL DEFAULT '0000-00-00 00:00:00'",
		"json": "json DEFAULT NULL",
	} {
		typ, err := o.Parse(def)
		if err != nil || typ.String() != want {
			t.Errorf("%s: %v (%v), want %s", def, typ, err, want)
		}
	}
}

func TestFamiliesNeverChange(t *testing.T) {
	for def, want := range map[string]byte{"varchar(5)": 's', "text": 's', "char": 's', "blob": 'b', "binary": 'b', "int": 'i', "bool": 'i', "decimal": 'd', "float": 'f', "double": 'g', "date": 'D', "datetime": 'M', "timestamp": 'Z', "time": 'T', "year": 'Y', "bit": 'x',
		"enum('a')": 'e', "set('a')": 'm', "json": 'j', "uuid": 'u', "inet4": '4', "inet6": '6'} {
		typ, err := Parse(def)
		if err != nil || typ.Family() != want {
			t.Errorf("%s: %v, family %c, want %c", def, err, typ.Family(), want)
		}
	}
}
