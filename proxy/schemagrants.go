package proxy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"latchkey/rewrite"
)

// grants are the privileges of the proxy's own account, its enabled roles included. information_schema does not show those
// that come through a role, so they are read from SHOW GRANTS.
// https://mariadb.com/kb/en/show-grants/
type grants struct {
	entries []grant
}

// grant is one GRANT line: upper-case privileges on database.table, each `*` or a name; a database may be a LIKE pattern.
type grant struct {
	privileges      []string
	database, table string
}

// grantLine: the privileges, what they are on, and to whom. Routine grants have a word before the name and do not count.
var grantLine = regexp.MustCompile("^GRANT (.+?) ON (\\*|`(?:[^`]|``)*`)\\.(\\*|`(?:[^`]|``)*`) TO ")

// parseGrant reads one line of SHOW GRANTS; ok is false for lines that grant nothing on tables.
func parseGrant(line string) (g grant, ok bool) {
	m := grantLine.FindStringSubmatch(line)
	if m == nil {
		return grant{}, false
	}
	for privilege := range strings.SplitSeq(columnLists.ReplaceAllString(m[1], ""), ",") {
		g.privileges = append(g.privileges, strings.ToUpper(strings.TrimSpace(privilege)))
	}
	g.database, g.table = unquoteGrant(m[2]), unquoteGrant(m[3])
	return g, true
}

// columnLists are the columns of a grant such as SELECT (`a`, `b`): a privilege on some columns is left standing, since it
// only decides what is seen.
var columnLists = regexp.MustCompile(`\s*\([^)]*\)`)

func unquoteGrant(name string) string {
	if len(name) >= 2 && name[0] == '`' {
		return strings.ReplaceAll(name[1:len(name)-1], "``", "`")
	}
	return name
}

// has tells whether the account has the privilege on a whole database; an empty name asks for all databases.
func (g *grants) has(privilege, database string) bool {
	for _, e := range g.entries {
		if e.table != "*" || !slices.Contains(e.privileges, privilege) && !slices.Contains(e.privileges, "ALL PRIVILEGES") {
			continue
		}
		if e.database == "*" || database != "" && likeMatch(e.database, database) {
			return true
		}
	}
	return false
}

// likeMatch tells whether name matches a pattern with % and _, escaped by a backslash, as database names of grants do.
func likeMatch(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	p := pattern[0]
	switch {
	case p == '%':
		for i := 0; i <= len(name); i++ {
			if likeMatch(pattern[1:], name[i:]) {
				return true
			}
		}
		return false
	case p == '\\' && len(pattern) > 1:
		return name != "" && name[0] == pattern[1] && likeMatch(pattern[2:], name[1:])
	case name == "":
		return false
	case p == '_':
		return likeMatch(pattern[1:], name[1:])
	}
	return p == name[0] && likeMatch(pattern[1:], name[1:])
}

func (r *schemaReader) readGrants() error {
	return r.rows("SHOW GRANTS", func(row schemaRow) error {
		if g, ok := parseGrant(row.text(0)); ok {
			r.grants.entries = append(r.grants.entries, g)
		}
		return nil
	})
}

// privileges notes what the account cannot see. Triggers of a database without TRIGGER are invisible, so that every table
// there counts as having one that cannot be read. Unreadable views and routines are visible as such.
func (r *schemaReader) privileges() {
	if !r.grants.has("PROCESS", "") {
		r.read.lacksProcess = true
		r.read.missing = append(r.read.missing, "PROCESS on *.*")
	}
	for _, database := range r.databases() {
		for _, privilege := range []string{"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"} {
			if r.grants.has(privilege, database) {
				continue
			}
			r.read.missing = append(r.read.missing, fmt.Sprintf("%s on %s.*", privilege, database))
			if privilege == "TRIGGER" {
				r.hideTriggers(database)
			}
		}
	}
}

func (r *schemaReader) hideTriggers(database string) {
	for _, t := range r.schema.Databases[r.schema.TableKey(database)] {
		if t.Kind == rewrite.BaseTable {
			t.Triggers = append(t.Triggers, &rewrite.Routine{Database: t.Database, Kind: "TRIGGER", Unreadable: true})
		}
	}
}

// databases gives the names of the databases with tables, the server's own left out, in order.
func (r *schemaReader) databases() []string {
	var names []string
	for _, tables := range r.schema.Databases {
		for _, t := range tables {
			if !rewrite.SystemDatabase(t.Database) {
				names = append(names, t.Database)
			}
			break
		}
	}
	slices.Sort(names)
	return names
}
