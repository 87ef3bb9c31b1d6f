package configs

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

const (
	// maxIdentifier is MariaDB's limit in characters:
	// https://mariadb.com/kb/en/identifier-names/.
	maxIdentifier = 64
	// maxLogin is MariaDB's limit of a user name in characters.
	maxLogin = 128
	// maxDerivationName bounds realm and context in bytes.
	maxDerivationName = 255
	maxServiceKeyName = 64
	// maxPad bounds the option pad in bytes.
	maxPad = 1 << 16
	// proxySchema exists only inside the proxy: the key procedures live there.
	proxySchema = "latchkey"
)

// databases reads the policy.
func (d *document) databases(n ast.Node, path string, c *Config) {
	for _, e := range d.entries(n, path) {
		if !d.readable(e.value) || !d.identifier(e, "database") {
			continue
		}
		switch {
		case isServerDatabase(e.name):
			d.report(e.key, "%s is the server's own database; its columns cannot be protected", e.name)
			continue
		case strings.EqualFold(e.name, proxySchema):
			d.report(e.key, "the name %s is taken by the key procedures; no statement reaches a database of that name", e.name)
			continue
		case strings.EqualFold(e.name, c.Keystore.Database):
			d.report(e.key, "%s is the keystore's database; no statement reaches it", e.name)
			continue
		}
		tables := make(map[string]*rewrite.TablePolicy)
		for _, t := range d.entries(e.value, e.path) {
			if d.readable(t.value) && d.identifier(t, "table") {
				tables[t.name] = d.table(t, c)
			}
		}
		c.Policy.Databases[e.name] = tables
	}
}

// table reads the policy of one table.
func (d *document) table(e entry, c *Config) *rewrite.TablePolicy {
	t := &rewrite.TablePolicy{Columns: map[string]*rewrite.ColumnPolicy{}}
	var columns []entry
	before := len(d.problems)
	d.fields(e.value, e.path, map[string]func(ast.Node, string){
		"owner": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if !ok {
				return
			}
			if problem := identifierProblem(v); problem != "" {
				d.report(n, "%s %s", path, problem)
				return
			}
			t.Owner = v
		},
		"away": func(n ast.Node, path string) {
			if v, ok := d.choice(n, path, "reject", "accept"); ok && v == "accept" {
				t.AwayAccept = true
			}
		},
		"columns": func(n ast.Node, path string) { columns = d.entries(n, path) },
	})
	seen := make(map[string]string)
	for _, column := range columns {
		if !d.readable(column.value) || !d.identifier(column, "column") {
			continue
		}
		// Column names do not know letter case in MariaDB.
		if first, ok := seen[rewrite.FoldName(column.name)]; ok {
			d.report(column.key, "%s is the same column as %s", quoteName(column.name), quoteName(first))
			continue
		}
		seen[rewrite.FoldName(column.name)] = column.name
		t.Columns[column.name] = d.column(column, c)
	}
	d.checkTable(e, t, len(d.problems) == before)
	return t
}

// unavailable notes a setting that this version reads but does not carry out.
func (d *document) unavailable(c *Config, n ast.Node, what string) {
	at := placeOf(n)
	c.later = append(c.later, Problem{File: d.file, Line: at.line, Column: at.column, Message: what + " is not available in this version"})
}

// checkTable looks at what options of one table say together. clean says that the
// table's own part had no problem yet.
func (d *document) checkTable(e entry, t *rewrite.TablePolicy, clean bool) {
	if clean && t.Owner == "" && len(t.Columns) == 0 {
		d.report(e.key, "%s names no columns to protect", e.path)
	}
	if t.AwayAccept && t.Owner == "" {
		d.reportPath(e.path+".away", "%s.away: accept needs owner", e.path)
	}
	if t.Owner != "" && t.Column(t.Owner) != nil {
		d.reportPath(e.path+".owner", "%s.owner: the owner column is read to find the key and cannot be protected itself", e.path)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Columns)) {
		column := t.Columns[name]
		path := join(e.path+".columns", name)
		if column.UniquePerOwner && t.Owner == "" {
			d.reportPath(path+".unique", "%s.unique: per_owner needs the table's owner", path)
		}
		for _, other := range column.Bind {
			if t.Column(other) != nil {
				d.reportPath(path+".bind", "%s.bind: %s is protected itself; only plain columns can be bound", path, other)
			}
		}
	}
}

// column reads the policy of one column. No value at all is as good as {}.
func (d *document) column(e entry, c *Config) *rewrite.ColumnPolicy {
	p := new(rewrite.ColumnPolicy)
	if e.value.Type() == ast.NullType {
		return p
	}
	d.fields(e.value, e.path, map[string]func(ast.Node, string){
		"key": func(n ast.Node, path string) { d.columnKey(n, path, c, p) },
		"search": func(n ast.Node, path string) {
			v, _ := d.choice(n, path, "none", "equality")
			p.SearchEquality = v == "equality"
		},
		"type": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if !ok {
				return
			}
			t, err := logical.Parse(v)
			if err != nil {
				d.report(n, "%s: not a type that can be protected: %v", path, err)
				return
			}
			p.Type = t
		},
		"context": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if ok && (v == "" || len(v) > maxDerivationName || !utf8.ValidString(v)) {
				d.report(n, "%s must have 1 to %d bytes", path, maxDerivationName)
			} else if ok {
				p.Context = v
			}
		},
		"unique": func(n ast.Node, path string) {
			_, p.UniquePerOwner = d.choice(n, path, "per_owner")
		},
		"bind": func(n ast.Node, path string) {
			d.bind(n, path, e.name, p)
			d.unavailable(c, n, path)
		},
		"overwrite": func(n ast.Node, path string) {
			v, _ := d.choice(n, path, "reject", "allow")
			p.OverwriteAllow = v == "allow"
		},
		"locked": func(n ast.Node, path string) { d.locked(n, path, p) },
		"plaintext": func(n ast.Node, path string) {
			v, _ := d.choice(n, path, "reject", "accept")
			p.PlaintextAccept = v == "accept"
		},
		"pad": d.setInt(&p.Pad, 0, maxPad),
	})
	d.checkColumn(e, p)
	return p
}

// checkColumn looks at what options of one column say together.
func (d *document) checkColumn(e entry, p *rewrite.ColumnPolicy) {
	if p.ServiceKey == "" && len(p.Bind) > 0 {
		d.reportPath(e.path+".bind", "%s.bind needs key: service:NAME", e.path)
	}
	if p.ServiceKey != "" && p.UniquePerOwner {
		d.reportPath(e.path+".unique", "%s.unique: per_owner is for user keys; under a service key UNIQUE holds over all rows", e.path)
	}
	if p.SearchEquality && p.Type != nil {
		if err := p.Type.Searchable(); err != nil {
			d.reportPath(e.path+".search", "%s.search: equality is not possible for this type: %v", e.path, err)
		}
	}
}

// columnKey reads user or service:NAME.
func (d *document) columnKey(n ast.Node, path string, c *Config, p *rewrite.ColumnPolicy) {
	v, ok := d.text(n, path)
	if !ok || v == "user" {
		return
	}
	name, ok := strings.CutPrefix(v, "service:")
	switch {
	case !ok || name == "":
		d.report(n, "%s must be user or service:NAME", path)
	default:
		if _, ok := c.Keystore.ServiceKeys[name]; !ok {
			d.report(n, "%s: keystore.service_keys has no key %s", path, quoteName(name))
		}
		// Missing or not, it is a service key for the checks that follow.
		p.ServiceKey = name
	}
}

// bind reads the list of columns whose values are authenticated with the cell.
func (d *document) bind(n ast.Node, path, self string, p *rewrite.ColumnPolicy) {
	var folded []string
	for _, item := range d.items(n, path) {
		v, ok := d.text(item, path)
		if !ok {
			continue
		}
		fold := rewrite.FoldName(v)
		switch problem := identifierProblem(v); {
		case problem != "":
			d.report(item, "%s: a column name %s", path, problem)
		case fold == rewrite.FoldName(self):
			d.report(item, "%s names the column itself", path)
		case slices.Contains(folded, fold):
			d.report(item, "%s names %s twice", path, quoteName(v))
		default:
			folded = append(folded, fold)
			p.Bind = append(p.Bind, v)
		}
	}
}

// locked reads error, null or a replacement text.
func (d *document) locked(n ast.Node, path string, p *rewrite.ColumnPolicy) {
	if n.Type() == ast.NullType {
		p.Locked.Mode = rewrite.LockedNull
		return
	}
	v, ok := d.text(n, path)
	switch {
	case !ok:
	case v == "error":
		p.Locked.Mode = rewrite.LockedError
	case v == "null":
		p.Locked.Mode = rewrite.LockedNull
	default:
		p.Locked = rewrite.Locked{Mode: rewrite.LockedText, Text: v}
	}
}

// identifier reports a name that MariaDB would not take.
func (d *document) identifier(e entry, what string) bool {
	problem := identifierProblem(e.name)
	if problem != "" {
		d.report(e.key, "the name of a %s %s", what, problem)
	}
	return problem == ""
}

// identifierProblem says what is wrong with a name of a database, table or column;
// it is empty when nothing is.
func identifierProblem(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "must be UTF-8 without zero bytes"
	case utf8.RuneCountInString(name) > maxIdentifier:
		return "must have at most 64 characters"
	case strings.HasSuffix(name, " "):
		return "must not end with a space"
	}
	return ""
}

// loginProblem says what is wrong with a user name; it is empty when nothing is.
func loginProblem(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "must be UTF-8 without zero bytes"
	case utf8.RuneCountInString(name) > maxLogin:
		return "must have at most 128 characters"
	}
	return ""
}

// isServerDatabase tells whether the database is one of the server's own.
func isServerDatabase(name string) bool {
	for _, own := range []string{"mysql", "information_schema", "performance_schema", "sys"} {
		if strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}
