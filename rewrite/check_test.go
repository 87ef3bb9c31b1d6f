package rewrite

import (
	"slices"
	"strings"
	"testing"
)

// checked protects a schema and checks it; the findings of the server are those of empty settings.
func checked(s *Schema, p *Policy) []Finding {
	Protect(s, p, testVerify)
	return Check(s, p, ServerSettings{})
}

// readyColumn is a searchable column with everything that check asks for, in a table of its own.
func readyColumn(t *testing.T) (*Table, *Policy) {
	t.Helper()
	c := cellColumn("title")
	c.Comment = annotate(t, "entries.title", "varchar(200) COLLATE utf8mb4_bin")
	table := entriesTable(c)
	table.Checks = []CheckConstraint{{Name: "latchkey_title", Clause: guardClause("title")}}
	table.Indexes = []*Index{
		{Name: primaryKey, Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "id"}}},
		{Name: "u", Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "user_id"}, {Column: "title", Prefix: 20}}},
		{Name: "k", Kind: "BTREE", Parts: []IndexPart{{Column: "title", Prefix: 20}}},
	}
	return table, policyOf(&TablePolicy{Owner: "user_id", Columns: map[string]*ColumnPolicy{"title": {SearchEquality: true}}})
}

func TestCheckFindsNothingWhereAllIsReady(t *testing.T) {
	table, policy := readyColumn(t)
	if findings := checked(schemaOf(table), policy); len(findings) > 0 {
		t.Errorf("findings %v, want none", findings)
	}
}

func TestCheckFindings(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *Schema, table *Table, tp *TablePolicy)
		want   []string
	}{
		{"too narrow", func(s *Schema, table *Table, tp *TablePolicy) { table.Column("title").Bytes = 400 }, []string{"too-narrow-for-type"}},
		{"no guard", func(s *Schema, table *Table, tp *TablePolicy) { table.Checks = nil }, []string{"guard-missing"}},
		{"no annotation", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Column("title").Comment = ""
			tp.Columns["title"].Type = mustParse(t, "varchar(200) COLLATE utf8mb4_bin")
		}, []string{"annotation-missing"}},
		{"conflict", func(s *Schema, table *Table, tp *TablePolicy) { table.Column("title").Comment += "0" }, []string{"annotation-malformed"}},
		{"not in the policy", func(s *Schema, table *Table, tp *TablePolicy) {
			delete(tp.Columns, "title")
			table.Indexes = nil
		}, []string{"annotation-only"}},
		{"owner of a type that names nobody", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Column("user_id").DataType, table.Column("user_id").ColumnType = "date", "date"
		}, []string{"owner-type"}},
		{"owner may be NULL", func(s *Schema, table *Table, tp *TablePolicy) { table.Column("user_id").Nullable = true }, []string{"owner-nullable"}},
		{"CHECK over the column", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Checks = append(table.Checks, CheckConstraint{Name: "c", Clause: "octet_length(`title`) > 3"})
		}, []string{"check-constraint"}},
		{"CHECK over another column", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Checks = append(table.Checks, CheckConstraint{Name: "c", Clause: "`user_id` > 0 and 'title' <> ''"})
		}, nil},
		{"generated from the column", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Columns = append(table.Columns, &Column{Name: "g", Generated: true, GenerationExpression: "left(`Title`,5)"})
		}, []string{"generated-column"}},
		{"DEFAULT from the column", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Columns = append(table.Columns, &Column{Name: "g", HasDefault: true, Default: "`title`"})
		}, []string{"default-expression"}},
		{"partitioned", func(s *Schema, table *Table, tp *TablePolicy) { table.PartitionExpression = "crc32(`title`)" }, []string{"partition"}},
		{"foreign key", func(s *Schema, table *Table, tp *TablePolicy) { table.ForeignKeyColumns = []string{"TITLE"} }, []string{"foreign-key"}},
		{"primary key", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Indexes[0].Parts = []IndexPart{{Column: "title", Prefix: 20}}
		}, []string{"primary-key"}},
		{"FULLTEXT", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Indexes = append(table.Indexes, &Index{Name: "f", Kind: "FULLTEXT", Parts: []IndexPart{{Column: "title"}}})
		}, []string{"index-useless"}},
		{"UNIQUE without search", func(s *Schema, table *Table, tp *TablePolicy) { tp.Columns["title"].SearchEquality = false },
			[]string{"unique-without-search", "index-useless"}},
		{"UNIQUE without owner", func(s *Schema, table *Table, tp *TablePolicy) { table.Indexes[1].Parts = table.Indexes[1].Parts[1:] },
			[]string{"unique-without-owner"}},
		{"UNIQUE over a prefix of the owner", func(s *Schema, table *Table, tp *TablePolicy) { table.Indexes[1].Parts[0].Prefix = 2 },
			[]string{"unique-without-owner"}},
		{"UNIQUE per owner", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Indexes[1].Parts = table.Indexes[1].Parts[1:]
			tp.Columns["title"].UniquePerOwner = true
		}, nil},
		{"UNIQUE under a service key", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Indexes[1].Parts = table.Indexes[1].Parts[1:]
			tp.Columns["title"].ServiceKey = "app"
		}, nil},
		{"UNIQUE with absent owners", func(s *Schema, table *Table, tp *TablePolicy) { tp.AwayAccept = true }, []string{"unique-away"}},
		{"UNIQUE over the whole cell", func(s *Schema, table *Table, tp *TablePolicy) { table.Indexes[1].Parts[1].Prefix = 0 }, []string{"index-prefix"}},
		{"UNIQUE over too little", func(s *Schema, table *Table, tp *TablePolicy) { table.Indexes[1].Parts[1].Prefix = 19 }, []string{"index-prefix"}},
		{"index over the whole cell", func(s *Schema, table *Table, tp *TablePolicy) { table.Indexes[2].Parts[0].Prefix = 0 }, []string{"index-prefix"}},
		{"trigger that names the column", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Triggers = []*Routine{{Database: "journal", Name: "tg", Kind: "TRIGGER", Body: "SET NEW.title = UPPER(NEW.title)"}}
		}, []string{"trigger"}},
		{"trigger that does not", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Triggers = []*Routine{{Database: "journal", Name: "tg", Kind: "TRIGGER", Body: "SET NEW.user_id = 5, @x = 'title'"}}
		}, nil},
		{"trigger in ANSI_QUOTES", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Triggers = []*Routine{{Database: "journal", Name: "tg", Kind: "TRIGGER", Body: `SET NEW."title" = 5`, Mode: ANSIQuotes}}
		}, []string{"trigger"}},
		{"triggers that cannot be seen", func(s *Schema, table *Table, tp *TablePolicy) {
			table.Triggers = []*Routine{{Database: "journal", Kind: "TRIGGER", Unreadable: true}}
		}, []string{"unreadable"}},
		{"trigger of another table", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Databases["journal"]["log"] = &Table{Database: "journal", Name: "log", Triggers: []*Routine{
				{Database: "journal", Name: "tg", Kind: "TRIGGER", Body: "INSERT INTO entries (title) VALUES (NEW.x)"}}}
		}, []string{"trigger"}},
		{"view", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Databases["journal"]["v"] = &Table{Database: "journal", Name: "v", Kind: View, Definition: "select `title` from `journal`.`entries`"}
			s.Databases["journal"]["a"] = &Table{Database: "journal", Name: "a", Kind: View, Definition: "select * from `journal`.`v`"}
			s.Databases["journal"]["other"] = &Table{Database: "journal", Name: "other", Kind: View, Definition: "select 'entries' AS `x`"}
		}, []string{"view", "view"}},
		{"view that cannot be read", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Databases["journal"]["v"] = &Table{Database: "journal", Name: "v", Kind: View, Unreadable: true}
		}, []string{"unreadable"}},
		{"routines", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Routines = []*Routine{
				{Database: "journal", Name: "outer", Kind: "PROCEDURE", Body: "BEGIN CALL inner_one(); END"},
				{Database: "journal", Name: "inner_one", Kind: "PROCEDURE", Body: "SELECT 1; SELECT title FROM entries"},
				{Database: "journal", Name: "clean", Kind: "FUNCTION", Body: "RETURN 1"},
				{Database: "sys", Name: "x", Kind: "PROCEDURE", Unreadable: true},
			}
		}, []string{"procedure", "procedure"}},
		{"routine that cannot be read", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Routines = []*Routine{{Database: "journal", Name: "p", Kind: "FUNCTION", Unreadable: true}}
		}, []string{"unreadable"}},
		{"routine in Oracle mode", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Routines = []*Routine{{Database: "journal", Name: "p", Kind: "FUNCTION", Body: "AS BEGIN NULL; END", Mode: Oracle}}
		}, []string{"unreadable"}},
		{"event", func(s *Schema, table *Table, tp *TablePolicy) {
			s.Events = []*Routine{{Database: "journal", Name: "e", Kind: "EVENT", Body: "DELETE FROM entries"}}
		}, []string{"event"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, policy := readyColumn(t)
			s := schemaOf(table)
			test.change(s, table, policy.Databases["journal"]["entries"])
			findings := checked(s, policy)
			got, want := codes(findings), slices.Clone(test.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("findings %v, want %q", findings, want)
			}
			for _, f := range findings {
				if f.Object == "" || f.Reason == "" || f.Hint == "" {
					t.Errorf("finding %+v lacks object, reason or hint", f)
				}
			}
		})
	}
}

func TestCheckSaysTheWidthNeeded(t *testing.T) {
	table, policy := readyColumn(t)
	table.Column("title").Bytes = 400
	findings := checked(schemaOf(table), policy)
	// 200 characters of 4 bytes, 60 bytes around the frame and 2 within it.
	if len(findings) != 1 || !strings.Contains(findings[0].Reason, "862") || !strings.Contains(findings[0].Hint, "VARBINARY(862)") {
		t.Errorf("findings %v, want one that says 862 bytes", findings)
	}
}

func TestCheckServer(t *testing.T) {
	on := func(pairs ...string) ServerSettings {
		s := ServerSettings{Variables: map[string]string{"sql_mode": "STRICT_TRANS_TABLES", "max_allowed_packet": "16777216", "check_constraint_checks": "ON"}}
		for i := 0; i < len(pairs); i += 2 {
			s.Variables[pairs[i]] = pairs[i+1]
		}
		return s
	}
	consumers := on("performance_schema", "ON")
	consumers.Consumers = []string{"events_statements_history", "global_instrumentation"}
	missing := on()
	missing.MissingPrivileges = []string{"PROCESS on *.*"}
	for _, test := range []struct {
		name   string
		server ServerSettings
		want   []string
	}{
		{"quiet", on("general_log", "OFF", "slow_query_log", "OFF", "log_bin", "OFF", "binlog_format", "STATEMENT"), nil},
		{"general log", on("general_log", "ON"), []string{"general-log"}},
		{"slow log", on("slow_query_log", "ON", "log_queries_not_using_indexes", "ON"), []string{"slow-log"}},
		{"audit", on("server_audit_logging", "ON"), []string{"audit-log"}},
		{"error log plugin", on("sql_error_log_filename", "x"), []string{"error-log-plugin"}},
		{"binlog of statements", on("log_bin", "ON", "binlog_format", "STATEMENT", "log_warnings", "2"), []string{"binlog-statements", "error-log-unsafe"}},
		{"mixed binlog", on("log_bin", "ON", "binlog_format", "MIXED", "binlog_annotate_row_events", "ON"), []string{"binlog-statements"}},
		{"annotated rows", on("log_bin", "ON", "binlog_format", "ROW", "binlog_annotate_row_events", "ON"), []string{"binlog-annotate"}},
		{"performance_schema", consumers, []string{"performance-schema"}},
		{"deadlocks", on("innodb_print_all_deadlocks", "ON"), []string{"deadlock-log"}},
		{"query cache", on("query_cache_type", "ON"), []string{"query-cache"}},
		{"checks off", on("check_constraint_checks", "OFF"), []string{"checks-off"}},
		{"not strict", on("sql_mode", ""), []string{"not-strict"}},
		{"Oracle", on("sql_mode", "ORACLE,STRICT_ALL_TABLES"), []string{"oracle-mode"}},
		{"empty is NULL", on("sql_mode", "EMPTY_STRING_IS_NULL,STRICT_ALL_TABLES"), []string{"empty-is-null"}},
		{"small packets", on("max_allowed_packet", "66700"), []string{"max-allowed-packet"}},
		{"privileges", missing, []string{"privilege-missing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, policy := readyColumn(t)
			s := schemaOf(table)
			Protect(s, policy, testVerify)
			if got := codes(Check(s, policy, test.server)); !slices.Equal(got, test.want) {
				t.Errorf("findings %q, want %q", got, test.want)
			}
		})
	}
}
