package suggest

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite"
)

// findOwners finds the table of the users in each database and how the other tables lead to it.
func findOwners(schema *rewrite.Schema, tables []*Table) {
	for database := range eachDatabase(tables) {
		var own []*Table
		for _, t := range tables {
			if t.Database == database {
				own = append(own, t)
			}
		}
		(&ownership{schema: schema, tables: own}).run()
	}
}

func eachDatabase(tables []*Table) map[string]bool {
	all := make(map[string]bool)
	for _, t := range tables {
		all[t.Database] = true
	}
	return all
}

// ownership is the search for the owners of one database's rows.
type ownership struct {
	schema *rewrite.Schema
	tables []*Table
	users  *Table // nil when there is none
}

func (o *ownership) run() {
	o.users = o.findUsers()
	var rest []*Table
	for _, t := range o.tables {
		switch {
		case t == o.users:
			t.users = true
			t.Owner, t.OwnerWhy = t.primary(), "the table of the users: each row is its own user's"
		default:
			if t.Owner, t.OwnerWhy = o.owner(t); t.Owner == "" {
				rest = append(rest, t)
			}
		}
	}
	// Tables that lead to an owned one, over any number of steps.
	owned := make(map[*Table]bool)
	for _, t := range o.tables {
		owned[t] = t.Owner != ""
	}
	for changed := true; changed; {
		changed = false
		for _, t := range rest {
			if owned[t] {
				continue
			}
			if column, parent := o.leads(t, owned); parent != nil {
				t.OwnerWhy = fmt.Sprintf("no owner column: by %s a row belongs to one of %s. It is sealed under the one user key on the connection", column, parent.Name)
				owned[t], changed = true, true
			}
		}
	}
	for _, t := range rest {
		if !owned[t] {
			t.shared = true
			t.OwnerWhy = "no column leads to a user: the rows are everybody's"
		}
	}
}

// findUsers gives the table of the users: by its name, by what it holds, and by how many tables refer to it.
func (o *ownership) findUsers() *Table {
	var best *Table
	most := 0
	for _, t := range o.tables {
		if t.primary() == "" || t.frameworks() {
			continue
		}
		if score := o.userScore(t); score > most {
			best, most = t, score
		}
	}
	if most < 4 {
		return nil
	}
	return best
}

// userScore is how much a table looks like that of the users.
func (o *ownership) userScore(t *Table) int {
	score := 0
	words := parts(t.Name)
	if len(words) > 0 && userTables[singular(words[len(words)-1])] {
		score += 4
		if len(words) == 1 || singular(words[len(words)-1]) == "user" {
			score++
		}
	}
	for _, c := range t.table.Columns {
		names := parts(c.Name)
		for _, sign := range []struct {
			words []string
			score int
		}{
			{[]string{"password", "passwd", "pass", "passwort", "kennwort"}, 3},
			{[]string{"email", "mail", "login", "username"}, 1},
		} {
			if slices.ContainsFunc(names, func(w string) bool { return slices.Contains(sign.words, w) }) {
				score += sign.score
			}
		}
	}
	for _, other := range o.tables {
		if other == t {
			continue
		}
		for _, r := range other.table.References {
			if o.schema.Table(r.Database, r.Table) == t.table {
				score++
				break
			}
		}
	}
	return score
}

// primary is the one column of the primary key, empty when there are several or none.
func (t *Table) primary() string {
	for _, index := range t.table.Indexes {
		if index.Name == "PRIMARY" && len(index.Parts) == 1 {
			return index.Parts[0].Column
		}
	}
	return ""
}

// owner finds the column that holds the owner of a table's rows: a foreign key to the users first, then a name.
func (o *ownership) owner(t *Table) (column, why string) {
	if o.users == nil {
		return o.ownerByName(t, "there is no table of users that it could refer to")
	}
	var keys []string
	for _, r := range t.table.References {
		if o.schema.Table(r.Database, r.Table) == o.users.table && sameName(r.Parent, o.users.Owner) || o.schema.Table(r.Database, r.Table) == o.users.table && sameName(r.Parent, o.users.primary()) {
			keys = append(keys, r.Column)
		}
	}
	if len(keys) == 1 {
		return keys[0], fmt.Sprintf("foreign key to %s", o.users.Name)
	}
	if len(keys) > 1 {
		best := keys[0]
		for _, key := range keys {
			if ownerName(key, o.users.Name) && !ownerName(best, o.users.Name) {
				best = key
			}
		}
		others := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == best })
		return best, fmt.Sprintf("foreign key to %s, as is %s", o.users.Name, strings.Join(others, ", "))
	}
	return o.ownerByName(t, "")
}

// ownerByName finds the owner column where no foreign key tells. A column that another foreign key leads away is none.
func (o *ownership) ownerByName(t *Table, doubt string) (column, why string) {
	users := ""
	if o.users != nil {
		users = o.users.Name
	}
	for _, c := range t.table.Columns {
		if !ownerName(c.Name, users) || !ownerType(c) || o.refersElsewhere(t, c.Name) || sameName(c.Name, t.primary()) {
			continue
		}
		why = "by its name"
		if users != "" {
			why += ", as a user of " + users
		}
		if doubt != "" {
			why += "; " + doubt
		}
		return c.Name, why
	}
	return "", ""
}

func (o *ownership) refersElsewhere(t *Table, column string) bool {
	return slices.ContainsFunc(t.table.References, func(r rewrite.Reference) bool { return sameName(r.Column, column) })
}

// ownerName tells whether a column is named after an owner: user_id, post_author, kunde_id where the users are kunden.
func ownerName(column, users string) bool {
	words := parts(column)
	if n := len(words); n > 1 && (words[n-1] == "id" || words[n-1] == "by") {
		words = words[:n-1]
	} else if n > 1 && words[0] == "id" {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	if users != "" {
		if table := parts(users); len(table) > 0 && last == singular(table[len(table)-1]) {
			return true
		}
	}
	return ownerWords[last] || last == "created" && strings.HasSuffix(together(column), "createdby")
}

// ownerType tells whether values of the column can name owners.
func ownerType(c *rewrite.Column) bool {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "uuid":
		return !c.Generated && c.ColumnType != "tinyint(1)"
	case "char", "varchar", "varbinary":
		return !c.Generated && c.Bytes <= 255*4
	}
	return false
}

// leads finds the column by which a table leads to an owned one: a foreign key, or the name of a table with _id.
func (o *ownership) leads(t *Table, owned map[*Table]bool) (string, *Table) {
	for _, r := range t.table.References {
		for _, parent := range o.tables {
			if parent != t && owned[parent] && !parent.users && o.schema.Table(r.Database, r.Table) == parent.table {
				return r.Column, parent
			}
		}
	}
	for _, c := range t.table.Columns {
		words := parts(c.Name)
		if len(words) < 2 || words[len(words)-1] != "id" || o.refersElsewhere(t, c.Name) {
			continue
		}
		stem := words[len(words)-2]
		for _, parent := range o.tables {
			names := parts(parent.Name)
			if parent != t && owned[parent] && !parent.users && len(names) > 0 && singular(names[len(names)-1]) == stem {
				return c.Name, parent
			}
		}
	}
	return "", nil
}
