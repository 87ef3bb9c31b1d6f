package rewrite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ServerSettings is what Check looks at beside the schema.
type ServerSettings struct {
	// Variables are the global variables by lower-case name.
	Variables map[string]string
	// Consumers are the enabled rows of performance_schema.setup_consumers; empty when it is off or unreadable.
	Consumers []string
	// MissingPrivileges name what the proxy's own account lacks to see the whole schema: `TRIGGER on journal.*`.
	MissingPrivileges []string
}

// Check holds the policy against a schema that went through Protect and against the server's settings. It changes nothing.
// The findings come table by table, the server's last.
func Check(s *Schema, p *Policy, server ServerSettings) []Finding {
	findings := missing(s, p)
	for _, t := range s.tables() {
		if !t.Protects || t.Kind == View {
			continue
		}
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		findings = append(findings, checkOwner(t)...)
		for _, c := range t.Columns {
			if c.Protected != nil {
				findings = append(findings, checkColumn(t, c, tp.Column(c.Name))...)
			}
		}
		findings = append(findings, checkIndexes(t)...)
		findings = append(findings, checkTriggers(t)...)
	}
	findings = append(findings, checkBodies(s)...)
	return append(findings, checkServer(s, server)...)
}

func (t *Table) String() string { return t.Database + "." + t.Name }

func checkOwner(t *Table) []Finding {
	owner := t.Column(t.Owner)
	if owner == nil {
		return nil
	}
	var findings []Finding
	name := t.String() + "." + owner.Name
	if owner.Nullable {
		findings = append(findings, Finding{Warning, "owner-nullable", name,
			"the owner column allows NULL: a row without an owner is refused, or sealed under whoever writes it by an account key that is not registered",
			"declare it NOT NULL"})
	}
	if ownerType(owner) == nil {
		findings = append(findings, Finding{Warning, "owner-type", name,
			"values of the owner column's type cannot name owners: rows are sealed under an account key that is not registered, and refused otherwise",
			"use an integer, CHAR, VARCHAR, TEXT, VARBINARY or UUID column that is not generated"})
	}
	return findings
}

// checkColumn looks at one protected column and at what else in its table leans on it.
func checkColumn(t *Table, c *Column, cp *ColumnPolicy) []Finding {
	p := c.Protected
	var findings []Finding
	add := func(severity Severity, code, reason, hint string) {
		findings = append(findings, Finding{severity, code, p.String(), reason, hint})
	}
	if why := conflictOf(p); why != nil {
		add(Error, why.code, why.reason, why.hint)
	}
	if p.Conflict == nil {
		if need := min(p.CellLength(int64(p.Type.MaxCanonical())), maxLongBlob); p.Capacity < need {
			add(Error, "too-narrow-for-type", fmt.Sprintf("it holds %d bytes and a cell of its declared type needs up to %d", p.Capacity, need),
				fmt.Sprintf("widen it to %s", physicalType(need, need <= 65535-physicalRow(t, c))))
		}
		if !IsAnnotation(c.Comment) {
			add(Warning, "annotation-missing", "its type stands in the policy only: it does not follow renames, dumps and restores",
				"run `latchkey check --sql` for the ALTER TABLE that annotates it")
		}
	}
	if p.Plaintext && p.Conflict == nil {
		add(Warning, "plaintext-accepted", "it may hold plaintext while its rows are being converted, and no CHECK keeps plaintext out",
			"run `latchkey migrate finish` when all rows are converted, and take `plaintext: accept` out of the policy")
	} else if t.guard(c.Name) == nil && (p.Conflict == nil || binaryColumn(c)) {
		add(Warning, "guard-missing", "no CHECK keeps plaintext out of it when something writes past Latchkey", "run `latchkey check --sql`")
	}
	if cp == nil && p.Conflict == nil {
		add(Info, "annotation-only", "it is protected by its annotation and the policy does not name it", "name it in the policy to choose key and search")
	}
	for _, check := range t.Checks {
		if t.guard(c.Name) != nil && isGuard(check, c.Name) || isKeptCheck(check) || check.OfColumn && isJSONCheck(check, c.Name) && !binaryColumn(c) {
			continue
		}
		if namesColumn(check.Clause, 0, c.Name) {
			add(Error, "check-constraint", fmt.Sprintf("the CHECK constraint %s would judge the cell in place of the value", quoteName(check.Name)),
				"drop it and check the value in the application")
		}
	}
	for _, other := range t.Columns {
		if other.Generated && namesColumn(other.GenerationExpression, 0, c.Name) {
			add(Error, "generated-column", fmt.Sprintf("the generated column %s is computed from the cell", quoteName(other.Name)),
				"drop the generated column")
		}
		if other != c && other.HasDefault && namesColumn(other.Default, 0, c.Name) {
			add(Error, "default-expression", fmt.Sprintf("the DEFAULT of column %s is computed from the cell", quoteName(other.Name)),
				"give that column another DEFAULT")
		}
	}
	if t.PartitionExpression != "" && namesColumn(t.PartitionExpression, 0, c.Name) {
		add(Error, "partition", "the table is partitioned by it: cells spread over partitions by chance", "partition by another column")
	}
	if slices.ContainsFunc(t.ForeignKeyColumns, func(name string) bool { return FoldName(name) == FoldName(c.Name) }) {
		add(Error, "foreign-key", "it takes part in a foreign key: equal values are different cells", "drop the foreign key")
	}
	return findings
}

// checkIndexes looks at the indexes over protected columns.
func checkIndexes(t *Table) []Finding {
	var findings []Finding
	for _, index := range t.Indexes {
		for _, part := range index.Parts {
			c := t.Column(part.Column)
			if c == nil || c.Protected == nil {
				continue
			}
			if _, standIn := ParseDeclaredIndex(index.Comment); standIn && !index.Unique && part.Prefix == TagPrefix {
				continue
			}
			if f := checkIndexPart(t, index, part, c.Protected); f != nil {
				f.Object = c.Protected.String()
				findings = append(findings, *f)
			}
		}
	}
	return findings
}

func checkIndexPart(t *Table, index *Index, part IndexPart, p *Protected) *Finding {
	name := quoteName(index.Name)
	switch {
	case index.Name == primaryKey:
		return &Finding{Severity: Error, Code: "primary-key", Reason: "it is part of the PRIMARY KEY",
			Hint: "use another key, such as an AUTO_INCREMENT column"}
	case index.Kind == "FULLTEXT" || index.Kind == "SPATIAL" || index.Kind == "RTREE":
		return &Finding{Severity: Warning, Code: "index-useless", Reason: fmt.Sprintf("the %s index %s is over cells and finds nothing", index.Kind, name),
			Hint: "drop the index"}
	case index.Unique && !p.Search:
		return &Finding{Severity: Error, Code: "unique-without-search", Reason: fmt.Sprintf("UNIQUE %s cannot see equal values: every cell is different", name),
			Hint: "give the column `search: equality`, or drop the constraint"}
	case index.Unique && p.ServiceKey == "" && !p.UniquePerOwner && !t.indexed(index, t.Owner):
		return &Finding{Severity: Error, Code: "unique-without-owner", Reason: fmt.Sprintf("UNIQUE %s would hold within one owner only: tags of different owners differ", name),
			Hint: "add the owner column to the key, say `unique: per_owner`, or seal the column with `key: service:NAME`"}
	case index.Unique && (p.Away || p.AwayUnique):
		return &Finding{Severity: Error, Code: "unique-away", Reason: fmt.Sprintf("UNIQUE %s cannot see values written for absent owners: their cells have no tag", name),
			Hint: "remove `away: accept` or the constraint"}
	case index.Unique && part.Prefix != TagPrefix:
		return &Finding{Severity: Error, Code: "index-prefix", Reason: fmt.Sprintf("UNIQUE %s must cover exactly the first %d bytes of the cell, where the search tag is", name, TagPrefix),
			Hint: fmt.Sprintf("re-create it over %s(%d): run `latchkey check --sql`", quoteName(p.Column), TagPrefix)}
	case p.Search && part.Prefix != TagPrefix:
		return &Finding{Severity: Warning, Code: "index-prefix", Reason: fmt.Sprintf("index %s should cover the first %d bytes of the cell, where the search tag is", name, TagPrefix),
			Hint: fmt.Sprintf("re-create it over %s(%d): run `latchkey check --sql`", quoteName(p.Column), TagPrefix)}
	case !p.Search:
		return &Finding{Severity: Warning, Code: "index-useless", Reason: fmt.Sprintf("index %s is over cells without a search tag and finds nothing", name),
			Hint: "drop the index, or give the column `search: equality`"}
	}
	return nil
}

// indexed tells whether the whole of a column is part of the index.
func (t *Table) indexed(index *Index, column string) bool {
	if column == "" {
		return false
	}
	return slices.ContainsFunc(index.Parts, func(part IndexPart) bool {
		return part.Prefix == 0 && FoldName(part.Column) == FoldName(column)
	})
}

func checkTriggers(t *Table) []Finding {
	var findings []Finding
	for _, trigger := range t.Triggers {
		object := trigger.Database + "." + trigger.Name
		if trigger.Unreadable {
			findings = append(findings, Finding{Error, "unreadable", t.String(), "triggers of the table cannot be read and count as touching its protected columns",
				"grant Latchkey's account TRIGGER on the database"})
			continue
		}
		names, ok := identifiers(trigger.Body, trigger.Mode)
		for _, c := range t.Columns {
			if c.Protected != nil && (!ok || names[FoldName(c.Name)]) {
				findings = append(findings, Finding{Error, "trigger", object, fmt.Sprintf("the trigger names the protected column %s: it sees cells", c.Protected),
					"drop the trigger or move its work into the application"})
			}
		}
	}
	return findings
}

// checkBodies looks for views, routines, events and the triggers of other tables that reach a protected table, directly or
// through each other.
func checkBodies(s *Schema) []Finding {
	bodies := s.bodies()
	reached := map[string]string{} // folded name of a table, view or routine to the protected table it leads to
	for _, t := range s.tables() {
		if t.Protects && t.Kind != View {
			reached[FoldName(t.Name)] = t.String()
		}
	}
	if len(reached) == 0 {
		return nil
	}
	for changed := true; changed; {
		changed = false
		for i := range bodies {
			b := &bodies[i]
			if b.target != "" || b.unreadable {
				continue
			}
			for _, name := range b.names {
				if target, ok := reached[name]; ok && !b.own[name] {
					b.target, changed = target, true
					if _, known := reached[b.key]; b.key != "" && !known {
						reached[b.key] = target
					}
					break
				}
			}
		}
	}
	var findings []Finding
	for _, b := range bodies {
		switch {
		case b.unreadable:
			findings = append(findings, Finding{Error, "unreadable", b.object, fmt.Sprintf("the definition of this %s cannot be read and counts as touching protected columns", b.kind), b.grant})
		case b.target != "" && b.kind == "view":
			findings = append(findings, Finding{Info, "view", b.object, fmt.Sprintf("the view reads the protected table %s", b.target),
				"bare columns are opened through it; anything it computes from them is refused"})
		case b.target != "":
			findings = append(findings, Finding{Warning, b.kind, b.object, fmt.Sprintf("the %s names the protected table %s: it sees cells, and statements that run it are refused", b.kind, b.target),
				"move its work into the application if it uses protected columns"})
		}
	}
	return findings
}

// body is the source of a view, routine, event or trigger, cut into the names that occur in it.
type body struct {
	kind, object, grant string
	// key is the folded name under which other bodies use it; empty for events and triggers, which cannot be called.
	key        string
	names      []string
	own        map[string]bool // names that do not count: the table a trigger belongs to
	unreadable bool
	target     string
}

func (s *Schema) bodies() []body {
	var bodies []body
	for _, t := range s.tables() {
		if t.Kind == View && !SystemDatabase(t.Database) {
			b := body{kind: "view", object: t.String(), key: FoldName(t.Name), unreadable: t.Unreadable, grant: "grant Latchkey's account SHOW VIEW and SELECT on it"}
			b.read(t.Definition, 0)
			bodies = append(bodies, b)
		}
		for _, trigger := range t.Triggers {
			if trigger.Unreadable {
				continue
			}
			b := body{kind: "trigger", object: trigger.Database + "." + trigger.Name, own: map[string]bool{}}
			if t.Protects {
				b.own[FoldName(t.Name)] = true
			}
			b.read(trigger.Body, trigger.Mode)
			if !b.unreadable || !t.Protects {
				bodies = append(bodies, b)
			}
		}
	}
	for _, r := range slices.Concat(s.Routines, s.Events) {
		if SystemDatabase(r.Database) {
			continue
		}
		b := body{kind: strings.ToLower(r.Kind), object: r.Database + "." + r.Name, unreadable: r.Unreadable, grant: "grant Latchkey's account SELECT on mysql.proc"}
		if r.Kind == "EVENT" {
			b.grant = "grant Latchkey's account EVENT on the database"
		} else {
			b.key = FoldName(r.Name)
		}
		b.read(r.Body, r.Mode)
		bodies = append(bodies, b)
	}
	return bodies
}

func (b *body) read(text string, mode SQLMode) {
	if b.unreadable {
		return
	}
	names, ok := identifiers(text, mode)
	b.names, b.unreadable = sortedKeys(names), !ok
}

// SystemDatabase tells whether a database is one of the server's own, in which nothing is ever protected.
func SystemDatabase(name string) bool {
	switch strings.ToLower(name) {
	case "information_schema", "performance_schema", "mysql", "sys":
		return true
	}
	return false
}

// identifiers gives the folded names that occur in SQL text: every word and quoted identifier, keywords included. ok is
// false when the text cannot be cut into tokens, and must then count as naming everything.
func identifiers(text string, mode SQLMode) (names map[string]bool, ok bool) {
	var st Statement
	if err := st.Scan([]byte(text), &Facts{Mode: mode, Charset: CharsetUTF8MB4, MultiStatements: true}); err != nil {
		return nil, false
	}
	names = map[string]bool{}
	for i := range st.Len() {
		if st.Token(i).IsIdentifier() {
			names[FoldName(st.Name(i))] = true
		}
	}
	return names, true
}

// namesColumn tells whether an expression names the column; text that cannot be read names it.
func namesColumn(expression string, mode SQLMode, column string) bool {
	names, ok := identifiers(expression, mode)
	return !ok || names[FoldName(column)]
}

func binaryColumn(c *Column) bool {
	_, ok := c.capacity()
	return ok
}

const primaryKey = "PRIMARY"

// What a log of statements can hold. Latchkey sends no plaintext of a protected column to the backend.
const leaked = "it holds no protected plaintext, but shows which rows, owners and search tags were touched and when, and the values of other columns"

// checkServer looks at settings by which the server keeps statements, or that work against Latchkey.
func checkServer(s *Schema, server ServerSettings) []Finding {
	var findings []Finding
	add := func(severity Severity, code, reason, hint string) {
		findings = append(findings, Finding{severity, code, "server", reason, hint})
	}
	on := func(name string) bool {
		switch strings.ToUpper(server.Variables[name]) {
		case "ON", "1", "YES", "FORCE":
			return true
		}
		return false
	}
	if on("general_log") {
		add(Warning, "general-log", "general_log writes every statement: "+leaked, "set general_log=OFF")
	}
	if on("slow_query_log") {
		reason := "slow_query_log writes slow statements: "
		if on("log_queries_not_using_indexes") {
			reason = "slow_query_log with log_queries_not_using_indexes writes many statements: "
		}
		add(Info, "slow-log", reason+leaked, "set slow_query_log=OFF or guard the file")
	}
	if on("server_audit_logging") {
		add(Info, "audit-log", "the server_audit plugin writes statements: "+leaked, "guard its file, or leave QUERY out of server_audit_events")
	}
	if _, ok := server.Variables["sql_error_log_filename"]; ok {
		add(Info, "error-log-plugin", "the sql_error_log plugin writes statements that fail: "+leaked, "guard its file or uninstall it")
	}
	if on("log_bin") {
		format := strings.ToUpper(server.Variables["binlog_format"])
		switch {
		case format == "STATEMENT" || format == "MIXED":
			add(Info, "binlog-statements", "binlog_format="+format+" writes statements into the binary log: "+leaked, "set binlog_format=ROW, or guard the binary log like the data")
		case on("binlog_annotate_row_events"):
			add(Info, "binlog-annotate", "binlog_annotate_row_events writes statements beside the rows: "+leaked, "set binlog_annotate_row_events=OFF")
		}
		if warnings, err := strconv.Atoi(server.Variables["log_warnings"]); err == nil && warnings > 0 && format == "STATEMENT" {
			add(Info, "error-log-unsafe", "with binlog_format=STATEMENT and log_warnings the error log quotes unsafe statements: "+leaked, "set binlog_format=ROW")
		}
	}
	if on("performance_schema") {
		for _, consumer := range server.Consumers {
			if strings.HasPrefix(consumer, "events_statements_") {
				add(Info, "performance-schema", "performance_schema keeps statements in "+consumer+": "+leaked, "disable the consumer in performance_schema.setup_consumers")
			}
		}
	}
	if on("innodb_print_all_deadlocks") {
		add(Info, "deadlock-log", "innodb_print_all_deadlocks writes the statements of a deadlock to the error log: "+leaked, "set innodb_print_all_deadlocks=OFF")
	}
	if on("query_cache_type") {
		add(Info, "query-cache", "the query cache keeps statements and results in memory: "+leaked, "set query_cache_type=OFF")
	}
	if value, ok := server.Variables["check_constraint_checks"]; ok && !on("check_constraint_checks") {
		add(Warning, "checks-off", "check_constraint_checks="+value+": the CHECK that keeps plaintext out of protected columns does not work", "set check_constraint_checks=ON")
	}
	findings = append(findings, checkMode(server)...)
	findings = append(findings, checkPacket(s, server)...)
	for _, privilege := range server.MissingPrivileges {
		findings = append(findings, Finding{Warning, "privilege-missing", "server", "Latchkey's own account lacks " + privilege,
			"GRANT it: what the account cannot see is refused or noticed late"})
	}
	return findings
}

func checkMode(server ServerSettings) []Finding {
	text, ok := server.Variables["sql_mode"]
	if !ok {
		return nil
	}
	var findings []Finding
	mode, _ := ParseSQLMode(text)
	if mode&Strict == 0 {
		findings = append(findings, Finding{Warning, "not-strict", "server", "sql_mode is not strict: MariaDB cuts and changes values of other columns without an error; cells are refused by Latchkey instead of being cut",
			"add STRICT_TRANS_TABLES to sql_mode"})
	}
	if mode.Has(Oracle) {
		findings = append(findings, Finding{Error, "oracle-mode", "server", "sql_mode=ORACLE is another grammar: statements are refused", "remove ORACLE from sql_mode"})
	}
	if mode.Has(EmptyStringIsNull) {
		findings = append(findings, Finding{Error, "empty-is-null", "server", "sql_mode EMPTY_STRING_IS_NULL turns the empty value, which stands for the declared default, into NULL", "remove EMPTY_STRING_IS_NULL from sql_mode"})
	}
	return findings
}

// statementRoom is what a statement takes beside its longest value.
const statementRoom = 64 << 10

func checkPacket(s *Schema, server ServerSettings) []Finding {
	limit, err := strconv.ParseInt(server.Variables["max_allowed_packet"], 10, 64)
	if err != nil {
		return nil
	}
	var findings []Finding
	for _, t := range s.tables() {
		for _, c := range t.Columns {
			p := c.Protected
			if p == nil || p.Conflict != nil {
				continue
			}
			plain := int64(p.Type.MaxCanonical())
			if need := 2*p.CellLength(plain) + statementRoom; need > limit && plain+statementRoom <= limit {
				findings = append(findings, Finding{Info, "max-allowed-packet", p.String(),
					fmt.Sprintf("max_allowed_packet=%d: a value goes to the server as hexadecimal digits, two for each byte, and the longest needs %d", limit, need),
					"raise max_allowed_packet on the server"})
			}
		}
	}
	return findings
}

// guardClause is the CHECK that lets into a column only NULL, the empty value and what starts with the magic of a cell. The
// column is of a binary type, so that both comparisons are of bytes.
func guardClause(column string) string {
	c := quoteName(column)
	return c + " is null or " + c + " = '' or left(" + c + ",3) = X'ff4c4b'"
}

// guard finds the guard CHECK of a column, nil when there is none.
func (t *Table) guard(column string) *CheckConstraint {
	for i := range t.Checks {
		if isGuard(t.Checks[i], column) {
			return &t.Checks[i]
		}
	}
	return nil
}

func isGuard(check CheckConstraint, column string) bool {
	guard, _ := splitGuard(check.Clause)
	return squeeze(guard) == squeeze(guardClause(column))
}

// isJSONCheck recognises what MariaDB adds to a column declared JSON.
func isJSONCheck(check CheckConstraint, column string) bool {
	return squeeze(check.Clause) == squeeze("json_valid("+quoteName(column)+")")
}

// squeeze takes case, spaces and parentheses out of an expression for comparison: versions of MariaDB print them otherwise.
func squeeze(expression string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '(' || r == ')' {
			return -1
		}
		return r
	}, strings.ToLower(expression))
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
