package rewrite

import (
	"strings"
	"testing"
)

// alterOf gives the one Alter of a schema with the table, which has rows or not.
func alterOf(t *testing.T, table *Table, tp *TablePolicy, rows bool) Alter {
	t.Helper()
	s, policy := schemaOf(table), policyOf(tp)
	Protect(s, policy, testVerify)
	alters := Alters(s, policy, AlterOptions{MAC: testMAC, HasRows: func(string, string) bool { return rows }})
	switch len(alters) {
	case 0:
		return Alter{}
	case 1:
		return alters[0]
	}
	t.Fatalf("%d alters, want one", len(alters))
	return Alter{}
}

func plainColumn(name string) *Column {
	return &Column{Name: name, DataType: "varchar", ColumnType: "varchar(200)", Bytes: 800, Charset: "utf8mb4", Collation: "utf8mb4_bin", Comment: "it's \\ here"}
}

func TestAltersMakeAPlainColumnReady(t *testing.T) {
	table := entriesTable(plainColumn("title"))
	table.Indexes = []*Index{
		{Name: "u", Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "user_id"}, {Column: "title"}}},
		{Name: "k`", Kind: "BTREE", Parts: []IndexPart{{Column: "title", Prefix: 10, Descending: true}, {Column: "user_id"}}},
		{Name: "other", Kind: "BTREE", Parts: []IndexPart{{Column: "user_id"}}},
	}
	got := alterOf(t, table, &TablePolicy{Owner: "user_id", Columns: map[string]*ColumnPolicy{"title": {SearchEquality: true}}}, false)
	annotation := annotate(t, "entries.title", `varchar(200) COLLATE utf8mb4_bin NOT NULL COMMENT 'it''s \\ here'`)
	want := "SET STATEMENT sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION' FOR ALTER TABLE `journal`.`entries`\n" +
		"  DROP INDEX `u`,\n  DROP INDEX `k```,\n" +
		"  MODIFY COLUMN `title` VARBINARY(862) NOT NULL COMMENT " + quoteText(annotation) + " CHECK (`title` is null or `title` = '' or left(`title`,3) = X'ff4c4b'),\n" +
		"  ADD UNIQUE INDEX `u` (`user_id`, `title`(20)) COMMENT 'latchkey:v1 index=UNIQUE KEY (0,0)',\n" +
		"  ADD INDEX `k``` (`title`(20) DESC, `user_id`) COMMENT 'latchkey:v1 index=KEY (10,0)'"
	if got.SQL != want || len(got.Notes) > 0 {
		t.Errorf("SQL\n%s\nnotes %q, want\n%s", got.SQL, got.Notes, want)
	}
	if strings.ContainsRune(annotation, '\\') {
		t.Errorf("annotation %q holds a backslash", annotation)
	}
}

func TestAltersChooseThePhysicalType(t *testing.T) {
	for _, test := range []struct{ definition, want string }{
		{"int", "VARBINARY(256)"}, {"varchar(200)", "VARBINARY(846)"}, {"varchar(16000)", "VARBINARY(64046)"},
		{"varchar(16383)", "MEDIUMBLOB"}, {"varbinary(65480)", "BLOB"}, {"text", "MEDIUMBLOB"}, {"mediumtext", "LONGBLOB"}, {"longtext", "LONGBLOB"},
	} {
		table := entriesTable(plainColumn("x"))
		got := alterOf(t, table, &TablePolicy{Columns: map[string]*ColumnPolicy{"x": {Type: mustParse(t, test.definition)}}}, false)
		if !strings.Contains(got.SQL, "MODIFY COLUMN `x` "+test.want+" ") {
			t.Errorf("%s: %s %q, want %s", test.definition, got.SQL, got.Notes, test.want)
		}
	}
	// What the first column takes is not left for the second.
	table := entriesTable(plainColumn("x"), plainColumn("y"))
	wide := &ColumnPolicy{Type: mustParse(t, "varchar(10000)")}
	got := alterOf(t, table, &TablePolicy{Columns: map[string]*ColumnPolicy{"x": wide, "y": wide}}, false)
	if !strings.Contains(got.SQL, "`x` VARBINARY(40046)") || !strings.Contains(got.SQL, "`y` BLOB") {
		t.Errorf("two wide columns: %s, want VARBINARY and BLOB", got.SQL)
	}
}

func TestAltersKeepNullAndDefault(t *testing.T) {
	for _, test := range []struct {
		name         string
		change       func(c *Column, cp *ColumnPolicy)
		want, annote string
	}{
		{"NOT NULL", func(c *Column, cp *ColumnPolicy) {}, " NOT NULL COMMENT", "NOT NULL COMMENT"},
		{"NULL", func(c *Column, cp *ColumnPolicy) { c.Nullable, c.HasDefault, c.Default = true, true, "NULL" }, " NULL DEFAULT NULL COMMENT", "DEFAULT NULL COMMENT"},
		{"default", func(c *Column, cp *ColumnPolicy) { c.HasDefault, c.Default = true, "'a''b'" }, " NOT NULL DEFAULT '' COMMENT", "NOT NULL DEFAULT 'a''b' COMMENT"},
		{"default under a type of the policy", func(c *Column, cp *ColumnPolicy) {
			c.HasDefault, c.Default, cp.Type = true, "'5'", mustParse(t, "int")
		}, " NOT NULL DEFAULT '' COMMENT", "int(11) NOT NULL DEFAULT 5"},
		{"default of the policy", func(c *Column, cp *ColumnPolicy) {
			c.HasDefault, c.Default, cp.Type = true, "'5'", mustParse(t, "int DEFAULT 7")
		}, " NOT NULL DEFAULT '' COMMENT", "int(11) NOT NULL DEFAULT 7"},
		{"invisible", func(c *Column, cp *ColumnPolicy) { c.Invisible = true }, " NOT NULL INVISIBLE COMMENT", "NOT NULL COMMENT"},
	} {
		c, cp := plainColumn("x"), &ColumnPolicy{}
		test.change(c, cp)
		got := alterOf(t, entriesTable(c), &TablePolicy{Columns: map[string]*ColumnPolicy{"x": cp}}, false)
		if !strings.Contains(got.SQL, test.want) || !strings.Contains(got.SQL, strings.ReplaceAll(test.annote, "'", "''")) {
			t.Errorf("%s: %s %q, want %q and in the annotation %q", test.name, got.SQL, got.Notes, test.want, test.annote)
		}
	}
}

func TestAltersNeverTouchRows(t *testing.T) {
	columns := map[string]*ColumnPolicy{"title": {SearchEquality: true}}
	got := alterOf(t, entriesTable(plainColumn("title")), &TablePolicy{Columns: columns}, true)
	if got.SQL != "" || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "has rows") {
		t.Errorf("a plain column with rows: SQL %q, notes %q, want only a note", got.SQL, got.Notes)
	}
	// A column of cells may be given what it lacks and be widened.
	table, policy := readyColumn(t)
	table.Checks, table.Indexes[2].Parts[0].Prefix, table.Column("title").Bytes = nil, 0, 400
	got = alterOf(t, table, policy.Databases["journal"]["entries"], true)
	for _, want := range []string{"VARBINARY(862)", " CHECK (`title` is null", "ADD INDEX `k` (`title`(20))", "ALGORITHM=COPY"} {
		if !strings.Contains(got.SQL, want) {
			t.Errorf("a column of cells with rows: SQL %q, notes %q, want %q in it", got.SQL, got.Notes, want)
		}
	}
	// An application's own binary data is not cells.
	binary := cellColumn("title")
	got = alterOf(t, entriesTable(binary), &TablePolicy{Columns: columns}, true)
	if got.SQL != "" || len(got.Notes) != 1 {
		t.Errorf("plain VARBINARY with rows: SQL %q, notes %q, want only a note", got.SQL, got.Notes)
	}
}

func TestAltersOfAReadyTableAreEmpty(t *testing.T) {
	table, policy := readyColumn(t)
	if got := alterOf(t, table, policy.Databases["journal"]["entries"], true); got.SQL != "" || len(got.Notes) > 0 {
		t.Errorf("a ready table: SQL %q, notes %q, want nothing", got.SQL, got.Notes)
	}
}

func TestAltersLeaveDecisionsToTheOperator(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(table *Table, tp *TablePolicy)
		note   string
	}{
		{"expression as default", func(table *Table, tp *TablePolicy) {
			table.Column("title").HasDefault, table.Column("title").Default = true, "uuid()"
		}, "not one that can be protected"},
		{"type that is none", func(table *Table, tp *TablePolicy) { table.Column("title").ColumnType = "point" }, "not one that can be protected"},
		{"annotation with a wrong MAC", func(table *Table, tp *TablePolicy) {
			table.Column("title").Comment = annotate(t, "a.b", "int") + "00"
		}, "does not verify"},
		{"generated", func(table *Table, tp *TablePolicy) { table.Column("title").Generated = true }, "generated"},
		{"search over a type without", func(table *Table, tp *TablePolicy) {
			table.Column("title").Charset, table.Column("title").Collation = "latin2", "latin2_czech_cs"
		}, "cannot be searched"},
		{"owner missing", func(table *Table, tp *TablePolicy) { tp.Owner = "nobody" }, "owner"},
		{"CHECK", func(table *Table, tp *TablePolicy) {
			table.Checks = []CheckConstraint{{Name: "c", Clause: "`title` <> 'x'"}}
		}, "CHECK"},
		{"primary key", func(table *Table, tp *TablePolicy) {
			table.Indexes = []*Index{{Name: primaryKey, Unique: true, Parts: []IndexPart{{Column: "title"}}}}
		}, "PRIMARY KEY"},
		{"UNIQUE without owner", func(table *Table, tp *TablePolicy) {
			table.Indexes = []*Index{{Name: "u", Unique: true, Parts: []IndexPart{{Column: "title"}}}}
		}, "UNIQUE"},
		{"foreign key", func(table *Table, tp *TablePolicy) { table.ForeignKeyColumns = []string{"title"} }, "foreign key"},
		{"long comment", func(table *Table, tp *TablePolicy) { table.Column("title").Comment = strings.Repeat("x", 1000) }, "1024"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := entriesTable(plainColumn("title"))
			tp := &TablePolicy{Columns: map[string]*ColumnPolicy{"title": {SearchEquality: true}}}
			test.change(table, tp)
			got := alterOf(t, table, tp, false)
			if got.SQL != "" || !strings.Contains(strings.Join(got.Notes, "\n"), test.note) {
				t.Errorf("SQL %q, notes %q, want no SQL and a note on %q", got.SQL, got.Notes, test.note)
			}
		})
	}
}

func TestAltersKeepIndexesByName(t *testing.T) {
	table := entriesTable(plainColumn("body"), plainColumn("plain"))
	table.Indexes = []*Index{
		{Name: "a", Kind: "BTREE", Comment: "it's", Parts: []IndexPart{{Column: "body", Prefix: 10}}},
		{Name: "b", Kind: "BTREE", Parts: []IndexPart{{Column: "user_id"}, {Column: "body", Prefix: 10}, {Column: "id"}}},
		{Name: "c", Kind: "FULLTEXT", Parts: []IndexPart{{Column: "body"}}},
		{Name: "d", Kind: "FULLTEXT", Parts: []IndexPart{{Column: "body"}, {Column: "plain"}}},
	}
	got := alterOf(t, table, &TablePolicy{Columns: map[string]*ColumnPolicy{"body": {}}}, false)
	for _, want := range []string{"DROP INDEX `a`", "DROP INDEX `b`", "DROP INDEX `c`", "DROP INDEX `d`",
		"ADD INDEX `a` (`body`(20)) COMMENT 'latchkey:v1 index=KEY (10) COMMENT ''it''''s'''", "ADD INDEX `b` (`user_id`, `body`(20), `id`) COMMENT 'latchkey:v1 index=KEY (0,10,0)'",
		"ADD INDEX `c` (`body`(20)) COMMENT 'latchkey:v1 index=FULLTEXT KEY (0)'"} {
		if !strings.Contains(got.SQL, want) {
			t.Errorf("SQL %q lacks %q", got.SQL, want)
		}
	}
	if strings.Count(got.SQL, "ADD INDEX") != 3 || len(got.Notes) != 1 {
		t.Errorf("SQL %q, notes %q, want three indexes added and one dropped", got.SQL, got.Notes)
	}
}

func TestAltersRepeatTheCheckOfAColumn(t *testing.T) {
	table, policy := readyColumn(t)
	kept := checkAnnotation{context: "entries.title", expression: "`title` <> ''", mac: testMAC([]byte("x"))}
	kept.mac = testMAC([]byte(kept.body()))
	clause := "(" + guardClause("title") + ") and ('" + kept.String() + checkMark + "`title` <> '')"
	table.Checks, table.Column("title").Bytes = []CheckConstraint{{Name: "title", OfColumn: true, Clause: clause}}, 400
	got := alterOf(t, table, policy.Databases["journal"]["entries"], true)
	if !strings.HasSuffix(got.SQL, " CHECK ("+clause+")") {
		t.Errorf("SQL %q does not end with the CHECK that the column had", got.SQL)
	}
}

func TestAlterNotesStayOnOneLine(t *testing.T) {
	got := alterOf(t, entriesTable(plainColumn("x\n; DROP TABLE y\r")), &TablePolicy{Columns: map[string]*ColumnPolicy{"x\n; DROP TABLE y\r": {}}}, true)
	if len(got.Notes) != 1 || strings.ContainsAny(got.Notes[0], "\r\n") {
		t.Errorf("notes %q, want one without line breaks", got.Notes)
	}
}
