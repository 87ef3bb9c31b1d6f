package rewrite

import (
	"strings"
	"testing"
)

// migrationTable is a table with a key and a column that is to be converted.
func migrationTable(column *Column) (*Table, *TablePolicy) {
	table := entriesTable(column)
	table.Indexes = []*Index{
		{Name: primaryKey, Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "id"}}},
		{Name: "u", Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "user_id"}, {Column: column.Name}}},
	}
	table.Columns = append(table.Columns, &Column{Name: "changed", DataType: "timestamp", ColumnType: "timestamp", OnUpdate: true})
	return table, &TablePolicy{Owner: "user_id", Columns: map[string]*ColumnPolicy{column.Name: {SearchEquality: true, PlaintextAccept: true}}}
}

func passages(t *testing.T, plan func(*Schema, *Policy, AlterOptions) []*Passage, table *Table, tp *TablePolicy) []*Passage {
	t.Helper()
	s, policy := schemaOf(table), policyOf(tp)
	Protect(s, policy, testVerify)
	return plan(s, policy, AlterOptions{MAC: testMAC})
}

func TestPreparePlansEachStep(t *testing.T) {
	column := plainColumn("title")
	column.HasDefault, column.Default = true, "'none'"
	table, tp := migrationTable(column)
	all := passages(t, Prepare, table, tp)
	if len(all) != 1 || len(all[0].Blocked) > 0 {
		t.Fatalf("passages %+v, want one", all)
	}
	p := all[0]
	annotation := annotate(t, "entries.title", `varchar(200) COLLATE utf8mb4_bin NOT NULL DEFAULT 'none' COMMENT 'it''s \\ here'`)
	waiting := strings.Replace(annotation, "latchkey:v1 ", "latchkey:p1 ", 1)
	const physical = "MODIFY COLUMN `title` VARBINARY(862) NOT NULL DEFAULT '' COMMENT "
	for what, pair := range map[string][2]string{
		"the type": {strings.Join(p.First, ";"), "ALTER TABLE `journal`.`entries`\n  DROP INDEX `u`,\n  " + physical + quoteText(waiting) +
			",\n  ADD INDEX `u` (`user_id`, `title`(20)) COMMENT 'latchkey:v1 index=UNIQUE KEY (0,0)'"},
		"the marks": {p.Update, "UPDATE `journal`.`entries` SET `title`=IF(LENGTH(`title`)>20 OR LEFT(`title`,3)=x'ff4c4b' AND LENGTH(`title`)>16," +
			"CONCAT(x'ff4c4b71',LEFT(UNHEX(SHA2(`title`,256)),16),`title`),IF(LEFT(`title`,3)=x'ff4c4b' OR `title`=x'',CONCAT(x'ff4c4b70',`title`),`title`)), `changed`=`changed`\n" +
			"  WHERE LEFT(`title`,3)=x'ff4c4b' OR `title`=x'' OR LENGTH(`title`)>20 OR LEFT(`title`,3)=x'ff4c4b' AND LENGTH(`title`)>16"},
		"the annotation": {strings.Join(p.Last, ";"), "ALTER TABLE `journal`.`entries`\n  " + physical + quoteText(annotation) +
			",\n  DROP INDEX `u`,\n  ADD UNIQUE INDEX `u` (`user_id`, `title`(20)) COMMENT 'latchkey:v1 index=UNIQUE KEY (0,0)'"},
		"the notes": {strings.Join(p.Notes, ";"), ""},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s:\n%s\nwant\n%s", what, pair[0], pair[1])
		}
	}
}

func TestPreparedColumnsAreOnTheirWay(t *testing.T) {
	column := cellColumn("title")
	annotation := annotate(t, "entries.title", "varchar(200) COLLATE utf8mb4_bin")
	column.Comment = onItsWay(annotation, annotationPreparing)
	table, tp := migrationTable(column)
	all := passages(t, Prepare, table, tp)
	if column.Protected == nil || column.Protected.Conflict == nil {
		t.Error("a column on its way may be used")
	}
	if len(all) != 1 || !all[0].Begun || !strings.Contains(all[0].Last[0], quoteText(annotation)) {
		t.Errorf("passages %+v, want one that goes on", all)
	}
	column.Comment = strings.Replace(column.Comment, "varchar(200)", "varchar(201)", 1)
	if all := passages(t, Prepare, table, tp); len(all) != 1 || len(all[0].Blocked) != 1 {
		t.Errorf("passages %+v of a column whose annotation was altered, want a reason", *all[0])
	}
	column.Comment = annotation
	if all := passages(t, Prepare, table, tp); len(all) != 0 {
		t.Errorf("passages %+v of a ready table, want none", all)
	}
}

func TestRestorePlansTheWayBack(t *testing.T) {
	column := cellColumn("title")
	column.Comment = annotate(t, "entries.title", "bigint unsigned")
	table, tp := migrationTable(column)
	table.Indexes[1].Unique, table.Indexes[1].Comment, table.Indexes[1].Parts[1].Prefix = false, "latchkey:v1 index=UNIQUE KEY (0,0) USING BTREE", 20
	all := passages(t, Restore, table, tp)
	if len(all) != 1 || len(all[0].Blocked) > 0 || len(all[0].Last) != 2 {
		t.Fatalf("passages %+v, want one with two steps behind the marks", all)
	}
	p := all[0]
	waiting := quoteText(onItsWay(column.Comment, annotationRestoring))
	want := "ALTER TABLE `journal`.`entries`\n  DROP INDEX `u`,\n  MODIFY COLUMN `title` DECIMAL(20,0) NULL COMMENT " + waiting + ",\n  ADD UNIQUE KEY `u` (`user_id`, `title`) USING BTREE"
	if p.Last[0] != want {
		t.Errorf("the first step is\n%s\nwant\n%s", p.Last[0], want)
	}
	if want := "ALTER TABLE `journal`.`entries`\n  MODIFY COLUMN `title` bigint(20) unsigned DEFAULT NULL"; p.Last[1] != want {
		t.Errorf("the last step is\n%s\nwant\n%s", p.Last[1], want)
	}
	table.Indexes[1].Unique = true
	const ordinary = ",\n  DROP INDEX `u`,\n  ADD INDEX `u` (`user_id`, `title`(20)) COMMENT 'latchkey:v1 index=UNIQUE KEY (0,0) USING BTREE'"
	if all := passages(t, Restore, table, tp); len(all) != 1 || !strings.HasSuffix(all[0].First[0], ordinary) || all[0].Last[0] != want {
		t.Errorf("passages %+v of a column in a UNIQUE key, want one that makes it an ordinary one before the marks are gone", all)
	}
	table.Indexes[1].Unique = false
	table.Checks = []CheckConstraint{{Name: "g", Clause: guardClause("title")}}
	if all := passages(t, Restore, table, tp); len(all) != 1 || len(all[0].Blocked) != 1 {
		t.Errorf("passages %+v of a guarded column, want a reason", all)
	}
	if got := Reopen(table); got != "ALTER TABLE `journal`.`entries`\n  DROP CONSTRAINT `g`" {
		t.Errorf("Reopen = %s", got)
	}
}

func TestKeyLiteralsAreClosed(t *testing.T) {
	for _, test := range []struct {
		kind  KeyKind
		value string
		want  string
	}{
		{KeyNumber, "-12.5", "-12.5"}, {KeyNumber, "1 OR 1", ""}, {KeyNumber, "", ""}, {KeyQuoted, "2024-01-01 10:00:00.5", "'2024-01-01 10:00:00.5'"},
		{KeyQuoted, "1' OR '1", ""}, {KeyQuoted, "", ""}, {KeyText, "a'b", "_latin1 x'612762'"}, {KeyBytes, "\x00'", "x'0027'"},
	} {
		k := KeyColumn{Kind: test.kind, Charset: "latin1"}
		got, ok := k.Literal([]byte(test.value))
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%d: Literal(%q) = %q, %v, want %q", test.kind, test.value, got, ok, test.want)
		}
	}
}
