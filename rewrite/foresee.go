package rewrite

import (
	"maps"
	"slices"
)

// Effective gives the part of the policy that holds cells already: the columns with an annotation, or with the CHECK that only
// a protected column has. Nothing is decided here about the others. s need not have been through Protect.
func Effective(s *Schema, p *Policy) *Policy {
	effective := &Policy{Databases: map[string]map[string]*TablePolicy{}}
	for _, t := range s.tables() {
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		if tp == nil || t.Kind == View {
			continue
		}
		kept := *tp
		kept.Columns = map[string]*ColumnPolicy{}
		for _, c := range t.Columns {
			if cp := tp.Column(c.Name); cp != nil && t.sealed(c) {
				kept.Columns[c.Name] = cp
			}
		}
		if len(kept.Columns) > 0 {
			put(effective, t, &kept)
		}
	}
	return effective
}

// sealed tells whether the schema itself says that the column holds cells.
func (t *Table) sealed(c *Column) bool { return IsAnnotation(c.Comment) || t.guard(c.Name) != nil }

func put(p *Policy, t *Table, tp *TablePolicy) {
	if p.Databases[t.Database] == nil {
		p.Databases[t.Database] = map[string]*TablePolicy{}
	}
	p.Databases[t.Database][t.Name] = tp
}

// Foresee gives the schema as it is once every column of the policy is protected, to plan statements with that are not to be
// changed yet. A column without a type in annotation and policy has the type that it has now. s is not changed, and need not
// have been through Protect; the two share what Protect leaves alone.
func Foresee(s *Schema, p *Policy, verify func(body, mac []byte) bool) *Schema {
	foreseen := *s
	foreseen.Databases = make(map[string]map[string]*Table, len(s.Databases))
	declared := &Policy{Databases: map[string]map[string]*TablePolicy{}}
	if p != nil {
		declared.Databases = maps.Clone(p.Databases)
		for database, tables := range declared.Databases {
			declared.Databases[database] = maps.Clone(tables)
		}
	}
	for database, tables := range s.Databases {
		foreseen.Databases[database] = make(map[string]*Table, len(tables))
		for name, t := range tables {
			next := t.unprotected()
			if tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames); tp != nil && t.Kind != View {
				put(declared, t, next.migrate(tp))
			}
			foreseen.Databases[database][name] = next
		}
	}
	Protect(&foreseen, declared, verify)
	return &foreseen
}

// SearchEverything gives p with search tags for every column whose declared type can have them, to see what searches would gain by
// them. s is what Foresee made of p.
func SearchEverything(s *Schema, p *Policy) *Policy {
	all := &Policy{Databases: map[string]map[string]*TablePolicy{}}
	for _, t := range s.tables() {
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		if tp == nil || t.Kind == View {
			continue
		}
		next := *tp
		next.Columns = maps.Clone(tp.Columns)
		for name, cp := range tp.Columns {
			c := t.Column(name)
			if c == nil || c.Protected == nil || c.Protected.Conflict != nil || c.Protected.Type.Searchable() != nil {
				continue
			}
			column := *cp
			column.SearchEquality = true
			next.Columns[name] = &column
		}
		put(all, t, &next)
	}
	return all
}

// unprotected copies what Protect and migrate change.
func (t *Table) unprotected() *Table {
	next := *t
	next.Owner, next.Protects, next.Constraints = "", false, nil
	next.Columns = make([]*Column, len(t.Columns))
	for i, c := range t.Columns {
		column := *c
		column.Protected = nil
		next.Columns[i] = &column
	}
	return &next
}

// migrate gives the columns of the policy, and the indexes over them, the physical form that a migration gives them. The
// policy that is returned declares their types.
func (t *Table) migrate(tp *TablePolicy) *TablePolicy {
	typed := *tp
	typed.Columns = maps.Clone(tp.Columns)
	for _, c := range t.Columns {
		cp := tp.Column(c.Name)
		if cp == nil || t.sealed(c) {
			continue
		}
		c.Protected = tp.protected(t, c.Name)
		declared := (&alteration{table: t, policy: tp}).declare(c)
		c.Protected = nil
		if declared == nil {
			continue
		}
		column := *cp
		column.Type = declared
		for name := range typed.Columns {
			if FoldName(name) == FoldName(c.Name) {
				delete(typed.Columns, name)
			}
		}
		typed.Columns[c.Name] = &column
		t.Checks = slices.DeleteFunc(slices.Clone(t.Checks), func(check CheckConstraint) bool {
			return check.OfColumn && isJSONCheck(check, c.Name)
		})
		c.DataType, c.ColumnType, c.Bytes, c.Charset, c.Collation = "longblob", "longblob", maxLongBlob, "", ""
		c.HasDefault, c.Default = declared.HasDefault, ""
		if declared.HasDefault {
			c.Default = "''"
		}
		t.indexTags(c.Name)
	}
	return &typed
}

// indexTags makes the indexes over a column ones over search tags.
func (t *Table) indexTags(column string) {
	indexes := slices.Clone(t.Indexes)
	for i, index := range indexes {
		next := *index
		next.Parts = slices.Clone(index.Parts)
		for n := range next.Parts {
			if FoldName(next.Parts[n].Column) == FoldName(column) {
				next.Parts[n].Prefix = TagPrefix
			}
		}
		indexes[i] = &next
	}
	t.Indexes = indexes
}

// AppendMasked appends the statement's text for people to dst: the tokens of its shape with every literal, also those on which
// the plan depends, as `?`. AppendShape has been called before.
func (s *Statement) AppendMasked(dst []byte) []byte {
	for n, kept := range s.shape.kept {
		i := int(kept)
		t := &s.tokens[i]
		if n > 0 && t.flags&flagGlued == 0 {
			dst = append(dst, ' ')
		}
		switch {
		case t.Kind.IsLiteral():
			dst = append(dst, '?')
		default:
			dst = append(dst, s.sql[t.Start:t.End]...)
		}
	}
	return dst
}
