package rewrite

import (
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/rewrite/logical"
)

// logicalFixture is a table with protected columns as the backend shows it, and its snapshot.
func logicalFixture(t *testing.T) (*Table, string) {
	t.Helper()
	s := &Schema{Databases: map[string]map[string]*Table{}}
	table := testTable(t, s, "journal", "entries", "id int", "user_id int notnull", "title varbinary notnull sealed=varchar(200) search", "body mediumblob sealed=mediumtext",
		"secret varbinary invisible sealed=char(5)", "doc blob sealed=json", "computed int", "code varchar")
	declared := func(column, definition string) {
		c := table.Column(column)
		typ, err := logical.Parse(definition)
		if err != nil {
			t.Fatal(err)
		}
		c.Protected.Type = typ
		if c.Comment, err = FormatAnnotation("entries."+column, typ.String(), func([]byte) []byte { return []byte("0123456789abcdef") }); err != nil {
			t.Fatal(err)
		}
	}
	declared("title", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'it''s' COMMENT 'the `title`, really'")
	declared("body", "mediumtext")
	declared("secret", "char(5) DEFAULT 'x'")
	declared("doc", "json")
	comments := map[string]string{}
	for name, d := range map[string]*DeclaredIndex{
		"tt": {Kind: "KEY", Prefixes: []int{30, 0}, Options: " COMMENT 'app''s'"},
		"ft": {Kind: "FULLTEXT KEY", Prefixes: []int{0}},
	} {
		comment, err := d.Annotation()
		if err != nil {
			t.Fatal(err)
		}
		comments[name] = comment
	}
	table.Indexes = []*Index{
		unique("PRIMARY", IndexPart{Column: "id"}),
		unique("ut", IndexPart{Column: "user_id"}, IndexPart{Column: "title", Prefix: 20}),
		{Name: "tt", Comment: comments["tt"], Parts: []IndexPart{{Column: "title", Prefix: 20}, {Column: "user_id", Descending: true}}},
		{Name: "ft", Comment: comments["ft"], Parts: []IndexPart{{Column: "body", Prefix: 20}}},
		{Name: "cc", Parts: []IndexPart{{Column: "code"}}},
	}
	table.Checks = []CheckConstraint{{Name: "latchkey_title", Clause: guardClause("title")}, {Name: "plain", Clause: "`user_id` > 0"}}
	show := "CREATE TABLE `entries` (\n" +
		"  `id` int(11) NOT NULL AUTO_INCREMENT COMMENT ') ENGINE=x, (',\n" +
		"  `user_id` int(11) NOT NULL CHECK (`user_id` > 0),\n" +
		"  `title` varbinary(862) NOT NULL DEFAULT '' COMMENT " + quoteShown(table.Column("title").Comment) +
		" CHECK ((`title` is null or `title` = '' or left(`title`,3) = X'ff4c4b') and ('latchkey:v1 context=entries.title check=%60title%60 mac=00' is not null or `title` <> '' or `title` like 'a, b%')),\n" +
		"  `body` mediumblob DEFAULT NULL COMMENT " + quoteShown(table.Column("body").Comment) + " CHECK (`body` is null or `body` = '' or left(`body`,3) = X'ff4c4b'),\n" +
		"  `secret` varbinary(256) INVISIBLE DEFAULT '' COMMENT " + quoteShown(table.Column("secret").Comment) + ",\n" +
		"  `doc` longblob DEFAULT NULL COMMENT " + quoteShown(table.Column("doc").Comment) + ",\n" +
		"  `computed` int(11) GENERATED ALWAYS AS (`user_id` + 1) VIRTUAL INVISIBLE COMMENT 'c',\n" +
		"  `code` varchar(10) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT (concat('a',`user_id`)),\n" +
		"  PRIMARY KEY (`id`),\n" +
		"  UNIQUE KEY `ut` (`user_id`,`title`(20)),\n" +
		"  KEY `tt` (`title`(20),`user_id` DESC) COMMENT " + quoteShown(comments["tt"]) + ",\n" +
		"  KEY `ft` (`body`(20)) COMMENT " + quoteShown(comments["ft"]) + " IGNORED,\n" +
		"  KEY `cc` (`code`),\n" +
		"  CONSTRAINT `latchkey_title` CHECK (`title` is null or `title` = '' or left(`title`,3) = X'ff4c4b'),\n" +
		"  CONSTRAINT `long` CHECK ('latchkey:v1 context=entries.title check=x mac=00' is not null or octet_length(`title`) > 3 and `user_id` > 1),\n" +
		"  CONSTRAINT `plain` CHECK (`user_id` > 0),\n" +
		"  CONSTRAINT `fk` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`)\n" +
		") ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='CHARSET=latin1'\n PARTITION BY HASH (`user_id`)\nPARTITIONS 4"
	return table, show
}

func TestLogicalTableIsWhatWasDeclared(t *testing.T) {
	table, show := logicalFixture(t)
	want := "CREATE TABLE `entries` (\n" +
		"  `id` int(11) NOT NULL AUTO_INCREMENT COMMENT ') ENGINE=x, (',\n" +
		"  `user_id` int(11) NOT NULL CHECK (`user_id` > 0),\n" +
		"  `title` varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'it''s' COMMENT 'the `title`, really' CHECK (`title` <> '' or `title` like 'a, b%'),\n" +
		"  `body` mediumtext DEFAULT NULL,\n" +
		"  `secret` char(5) INVISIBLE DEFAULT 'x',\n" +
		"  `doc` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`doc`)),\n" +
		"  `computed` int(11) GENERATED ALWAYS AS (`user_id` + 1) VIRTUAL INVISIBLE COMMENT 'c',\n" +
		"  `code` varchar(10) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT (concat('a',`user_id`)),\n" +
		"  PRIMARY KEY (`id`),\n" +
		"  UNIQUE KEY `ut` (`user_id`,`title`),\n" +
		"  KEY `tt` (`title`(30),`user_id` DESC) COMMENT 'app''s',\n" +
		"  KEY `cc` (`code`),\n" +
		"  FULLTEXT KEY `ft` (`body`),\n" +
		"  CONSTRAINT `long` CHECK (octet_length(`title`) > 3 and `user_id` > 1),\n" +
		"  CONSTRAINT `plain` CHECK (`user_id` > 0),\n" +
		"  CONSTRAINT `fk` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`)\n" +
		") ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='CHARSET=latin1'\n PARTITION BY HASH (`user_id`)\nPARTITIONS 4"
	got, err := LogicalTable(table, show, 0, &logical.Session{TimeZone: time.UTC})
	if err != nil || got != want {
		t.Errorf("error %v, got\n%s\nwant\n%s", err, got, want)
	}
}

func TestLogicalTableRefusesAnotherTable(t *testing.T) {
	table, show := logicalFixture(t)
	for name, text := range map[string]string{
		"a comment changed":  strings.Replace(show, "mediumtext", "longtext", 1),
		"a column is gone":   strings.Replace(show, "  `body`", "  `bodies`", 1),
		"an index is gone":   strings.Replace(show, "KEY `tt`", "KEY `other`", 1),
		"an index has parts": strings.Replace(show, "(`title`(20),`user_id` DESC)", "(`title`(20),`user_id` DESC,`id`)", 1),
	} {
		if _, err := LogicalTable(table, text, 0, &logical.Session{}); !errors.Is(err, ErrTableChanged) {
			t.Errorf("%s: error %v, want %v", name, err, ErrTableChanged)
		}
	}
	table.Column("body").Protected.Conflict = &Refusal{Code: CodeDisagree}
	var refusal *Refusal
	if _, err := LogicalTable(table, show, 0, &logical.Session{}); !errors.As(err, &refusal) {
		t.Errorf("a column with a conflict: error %v, want its refusal", err)
	}
}

func FuzzLogicalTable(f *testing.F) {
	f.Add("CREATE TABLE `a` (`b` int)", 100)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		table, show := logicalFixture(t)
		s := &logical.Session{TimeZone: time.UTC}
		for _, text := range []string{text, show[:max(0, min(cut, len(show)))] + text} {
			_, _ = LogicalTable(table, text, 0, s)
		}
	})
}
