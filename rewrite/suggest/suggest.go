// Package suggest makes a policy to start from out of a live schema and, where there is one, a general log: which columns hold
// what is personal, whose the rows are, and what is searched for by equality. Every suggestion says why. It decides nothing
// that is not written down for a person to look at, and it does no I/O but reading the log that it is given.
//
// Names and types propose columns (words.go). Foreign keys and names lead from every table to the one of the users
// (owners.go). What a log searches for is asked of the planner itself, which plans each statement as if all proposed columns
// were searchable (usage.go). In the end the policy is held against the schema as `latchkey check` does, and what
// cannot be protected is left out with the reason (verdict.go).
package suggest

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite"
)

// ServiceKey is the name of the service key of all suggestions.
const ServiceKey = "app"

// Suggestion is a policy with reasons.
type Suggestion struct {
	// Tables are ordered by database and name.
	Tables []*Table
	// Usage is what the log holds, planned under this policy; nil without a log.
	Usage *Usage
	// Unreadable are triggers, views and routines that stand against a policy, one line each.
	Unreadable []string
}

// Table is the suggestion for one table.
type Table struct {
	Database, Name string
	// Owner is the owner column, empty for none; OwnerWhy says where it comes from, or why there is none.
	Owner, OwnerWhy string
	// Columns are the protected ones, in their order in the table.
	Columns []*Column
	// Notes are what else a reader should know, one line each: columns that were left out and why.
	Notes []string

	table *rewrite.Table
	// users is set for the table of the users.
	users bool
	// shared: the rows belong to nobody.
	shared bool
}

// Column is the suggestion for one column.
type Column struct {
	Name string
	// Service says that the column is sealed under ServiceKey and not under the user's key.
	Service bool
	// Search says `search: equality`.
	Search bool
	// Why are the reasons, each for what stands before it.
	Why []string

	kind   kind
	unique []*rewrite.Index
	column *rewrite.Column
	// kindWhy tells by what the kind was found.
	kindWhy string
}

// String is what the YAML has behind the column's name.
func (c *Column) String() string {
	var options []string
	if c.Service {
		options = append(options, fmt.Sprintf("key: %q", "service:"+ServiceKey))
	}
	if c.Search {
		options = append(options, "search: equality")
	}
	return "{" + strings.Join(options, ", ") + "}"
}

// Policy is the suggestion as the planner takes it.
func (s *Suggestion) Policy() *rewrite.Policy {
	p := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{}}
	for _, t := range s.Tables {
		if p.Databases[t.Database] == nil {
			p.Databases[t.Database] = map[string]*rewrite.TablePolicy{}
		}
		tp := &rewrite.TablePolicy{Owner: t.Owner, Columns: map[string]*rewrite.ColumnPolicy{}}
		for _, c := range t.Columns {
			cp := &rewrite.ColumnPolicy{SearchEquality: c.Search}
			if c.Service {
				cp.ServiceKey = ServiceKey
			}
			tp.Columns[c.Name] = cp
		}
		p.Databases[t.Database][t.Name] = tp
	}
	return p
}

// Services tells whether any column needs the service key.
func (s *Suggestion) Services() bool {
	for _, t := range s.Tables {
		if slices.ContainsFunc(t.Columns, func(c *Column) bool { return c.Service }) {
			return true
		}
	}
	return false
}

// Options limit and inform a suggestion.
type Options struct {
	// Databases are looked at; none means all but the server's own and the keystore's.
	Databases []string
	// Mode is the sql_mode of the sessions in the log.
	Mode rewrite.SQLMode
	// Log is a general log, nil for none.
	Log *LogReader
}

// Suggest makes a policy for a schema that has not been through Protect and is not changed. The error is one of reading the
// log, or a database that does not exist.
func Suggest(schema *rewrite.Schema, o Options) (*Suggestion, error) {
	s := &Suggestion{}
	tables, err := chosen(schema, o.Databases)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		s.Tables = append(s.Tables, &Table{Database: t.Database, Name: t.Name, table: t})
	}
	findOwners(schema, s.Tables)
	for _, t := range s.Tables {
		t.propose()
		t.decide(nil)
	}
	s.settle(schema)
	var usage *Usage
	if o.Log != nil {
		if usage, err = readUsage(schema, s, o); err != nil {
			return nil, err
		}
	}
	for _, t := range s.Tables {
		t.decide(usage)
	}
	s.settle(schema)
	if usage != nil {
		usage.replan(schema, s.Policy())
		s.Usage = usage
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t *Table) bool { return len(t.Columns) == 0 && len(t.Notes) == 0 })
	return s, nil
}

// chosen are the base tables to look at, in order.
func chosen(schema *rewrite.Schema, names []string) ([]*rewrite.Table, error) {
	wanted := make(map[string]bool)
	for _, name := range names {
		key := schema.TableKey(name)
		if _, known := schema.Collations[key]; !known {
			return nil, fmt.Errorf("there is no database %s, or Latchkey's account cannot see it", name)
		}
		wanted[key] = true
	}
	var tables []*rewrite.Table
	for database, all := range schema.Databases {
		if len(names) > 0 && !wanted[database] || rewrite.SystemDatabase(database) || database == schema.TableKey(schema.KeystoreDatabase) {
			continue
		}
		for _, t := range all {
			if t.Kind == rewrite.BaseTable {
				tables = append(tables, t)
			}
		}
	}
	slices.SortFunc(tables, func(a, b *rewrite.Table) int {
		return strings.Compare(a.Database+"\x00"+a.Name, b.Database+"\x00"+b.Name)
	})
	return tables, nil
}

// propose finds the columns of a table by type and name.
func (t *Table) propose() {
	if t.frameworks() {
		return
	}
	for _, c := range t.table.Columns {
		if rewrite.IsAnnotation(c.Comment) {
			t.Notes = append(t.Notes, c.Name+" holds cells already, as its annotation says: name it as the policy does that made them")
			continue
		}
		k, why := t.judge(c)
		if k == none || k == technical {
			continue
		}
		if t.shared && k != person && k != contact && k != account && k != network {
			continue
		}
		column := &Column{Name: c.Name, kind: k, kindWhy: why, column: c}
		for _, index := range t.table.Indexes {
			if index.Unique && slices.ContainsFunc(index.Parts, func(p rewrite.IndexPart) bool { return sameName(p.Column, c.Name) }) {
				column.unique = append(column.unique, index)
			}
		}
		t.Columns = append(t.Columns, column)
	}
}

// frameworks tells whether a table is one that a framework keeps for itself.
func (t *Table) frameworks() bool {
	name := together(t.Name)
	if technicalTables[name] {
		return true
	}
	// A prefix, as in wp_options.
	if words := parts(t.Name); len(words) > 1 {
		return technicalTables[strings.Join(words[1:], "")]
	}
	return false
}

// judge says what a column holds, and how that was found.
func (t *Table) judge(c *rewrite.Column) (kind, string) {
	if c.Generated || c.AutoIncrement || c.OnUpdate || t.isKey(c.Name) || sameName(c.Name, t.Owner) {
		return none, ""
	}
	m, known := mean(c.Name, t.Name)
	if known && m.kind == technical {
		return technical, ""
	}
	k := fit(c, m.kind)
	if known && k == m.kind {
		return k, fmt.Sprintf("%s by its name (%s)", k, m.word)
	}
	switch c.DataType {
	case "text", "mediumtext", "longtext":
		if c.DataType == "longtext" && jsonColumn(t.table, c) {
			return text, "a JSON document"
		}
		return text, "text of any length by its type"
	case "decimal":
		if strings.HasSuffix(c.ColumnType, ",2)") || strings.HasSuffix(c.ColumnType, ",4)") {
			return amount, "an amount by its type (" + c.ColumnType + ")"
		}
	}
	return none, ""
}

// fit gives the kind if a column of the type can hold it, else none.
func fit(c *rewrite.Column, k kind) kind {
	var allowed []kind
	switch c.DataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		if c.DataType == "char" && c.Bytes <= 2 {
			return none // a flag
		}
		allowed = []kind{text, person, handle, contact, account, amount, place, network}
	case "tinyblob", "blob", "mediumblob", "longblob":
		allowed = []kind{text}
	case "enum":
		allowed = []kind{person}
	case "date":
		allowed = []kind{person}
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		if c.ColumnType != "tinyint(1)" {
			allowed = []kind{contact, account, amount}
		}
	case "decimal", "float", "double":
		allowed = []kind{amount, place}
	case "inet4", "inet6":
		allowed = []kind{network}
	}
	if slices.Contains(allowed, k) {
		return k
	}
	return none
}

func jsonColumn(t *rewrite.Table, c *rewrite.Column) bool {
	return slices.ContainsFunc(t.Checks, func(check rewrite.CheckConstraint) bool {
		return check.OfColumn && sameName(check.Name, c.Name) && strings.Contains(strings.ToLower(check.Clause), "json_valid")
	})
}

// isKey tells whether a column is part of the primary key or of a foreign key.
func (t *Table) isKey(column string) bool {
	if slices.ContainsFunc(t.table.ForeignKeyColumns, func(name string) bool { return sameName(name, column) }) {
		return true
	}
	for _, index := range t.table.Indexes {
		if index.Name == "PRIMARY" && slices.ContainsFunc(index.Parts, func(p rewrite.IndexPart) bool { return sameName(p.Column, column) }) {
			return true
		}
	}
	return false
}

func (t *Table) decide(usage *Usage) {
	for _, c := range t.Columns {
		c.decide(t, usage)
	}
}

// decide says under which key a column is sealed and whether it is searched. usage may be nil.
func (c *Column) decide(t *Table, usage *Usage) {
	searched := usage.searched(t, c)
	across := c.uniqueAcross(t)
	reasons := []string{c.kindWhy}
	switch {
	case t.shared:
		c.Service = true
		reasons = append(reasons, "a service key, since its rows belong to no user")
	case across != nil:
		c.Service = true
		reasons = append(reasons, fmt.Sprintf("a service key, since UNIQUE %s is meant over all users", across.Name))
	case t.users && c.login():
		c.Service = true
		reasons = append(reasons, "a service key, since it is looked up before the user has unlocked")
	case t.users && c.kind == handle:
		c.Service = true
		reasons = append(reasons, "a service key, since other users see it")
	case t.users && searched > 0:
		c.Service = true
		reasons = append(reasons, "a service key, since users are looked up by it")
	}
	switch {
	case searched > 0:
		c.Search = true
		reasons = append(reasons, fmt.Sprintf("searched by equality in %s of the log", plural(searched, "statement")))
	case len(c.unique) > 0:
		c.Search = true
		reasons = append(reasons, fmt.Sprintf("searched, since UNIQUE %s needs search tags", c.unique[0].Name))
	case t.users && c.login():
		c.Search = true
		reasons = append(reasons, "searched, since it finds the user at sign-in")
	}
	if c.Search && searched > 0 && len(c.unique) > 0 {
		reasons = append(reasons, fmt.Sprintf("UNIQUE %s", c.unique[0].Name))
	}
	c.Why = reasons
}

// login tells whether a column of the users' table is one by which they sign in.
func (c *Column) login() bool {
	if fit(c.column, text) == none {
		return false
	}
	return slices.ContainsFunc(append(parts(c.Name), together(c.Name)), func(w string) bool {
		switch w {
		case "email", "mail", "courriel", "correo", "login", "username", "benutzername", "anmeldename", "pseudo":
			return true
		}
		return false
	})
}

// uniqueAcross is a UNIQUE key over the column that does not have the owner of the row in it.
func (c *Column) uniqueAcross(t *Table) *rewrite.Index {
	for _, index := range c.unique {
		if t.Owner == "" || !slices.ContainsFunc(index.Parts, func(p rewrite.IndexPart) bool { return p.Prefix == 0 && sameName(p.Column, t.Owner) }) {
			return index
		}
	}
	return nil
}

func sameName(a, b string) bool { return rewrite.FoldName(a) == rewrite.FoldName(b) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
