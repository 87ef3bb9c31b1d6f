package rewrite

import "slices"

// rename plans RENAME TABLE a TO b [, ...], which passes where the protection of every table follows it.
func (b *builder) rename(i int) error {
	if b.st.Is(i, KwUser) {
		return nil
	}
	i++
	if b.st.Is(i, KwIf) {
		i += 2
	}
	m := tableMoves{b: b}
	for {
		from := i
		i = b.qualifiedName(i) + 1
		if b.st.isWord(i, "WAIT") {
			i += 2
		} else if b.st.isWord(i, "NOWAIT") {
			i++
		}
		if !b.st.Is(i, KwTo) {
			return notUnderstood("RENAME TABLE is not understood", "")
		}
		if err := m.move(from, i+1); err != nil {
			return err
		}
		if i = b.qualifiedName(i+1) + 1; i >= b.st.Len() {
			return nil
		}
		if !b.st.IsOp(i, OpComma) {
			return notUnderstood("RENAME TABLE is not understood", "")
		}
		i++
	}
}

// renameTable plans the one renaming of ALTER TABLE.
func (b *builder) renameTable(from, to int) error {
	m := tableMoves{b: b}
	return m.move(from, to)
}

// tableMoves knows where the tables are after the renamings so far: RENAME TABLE carries them out one after the other.
type tableMoves struct {
	b     *builder
	moved map[[2]string]*Table // by database and name; nil where a table was taken away
}

// place reads the qualified name at token i.
func (m *tableMoves) place(i int) [2]string {
	database := m.b.f.Database
	if m.b.st.IsOp(i+1, OpDot) {
		database = m.b.st.Name(i)
		i += 2
	}
	return [2]string{database, m.b.st.Name(i)}
}

func (m *tableMoves) key(place [2]string) [2]string {
	s := m.b.p.schema
	return [2]string{s.TableKey(place[0]), s.TableKey(place[1])}
}

func (m *tableMoves) table(place [2]string) *Table {
	if t, moved := m.moved[m.key(place)]; moved {
		return t
	}
	return m.b.p.schema.Table(place[0], place[1])
}

// move plans one renaming between the qualified names at the tokens from and to.
func (m *tableMoves) move(from, to int) error {
	if !m.b.st.Token(from).IsIdentifier() || !m.b.st.Token(to).IsIdentifier() {
		return notUnderstood("a table is not where it is expected", "")
	}
	source, target := m.place(from), m.place(to)
	t := m.table(source)
	if t == nil {
		if m.b.policyOf(source) != nil || m.b.policyOf(target) != nil {
			return notUnderstood("the table to be renamed is not known, and the policy names it", "send the statement again")
		}
		return nil
	}
	if err := m.b.follows(t, target, true); err != nil {
		return err
	}
	if m.moved == nil {
		m.moved = map[[2]string]*Table{}
	}
	m.moved[m.key(source)], m.moved[m.key(target)] = nil, t
	return nil
}

func (b *builder) policyOf(place [2]string) *TablePolicy {
	return b.p.policy.Table(place[0], place[1], b.p.schema.LowerCaseTableNames)
}

// follows reports why the protection of the columns of t would not follow them to another place: by a renaming, with their
// cells, or by a copy of the definition alone.
func (b *builder) follows(t *Table, target [2]string, cells bool) error {
	policy := b.policyOf(target)
	place := &Table{Database: target[0], Name: target[1]}
	if policy != nil {
		place.Owner = policy.Owner
	}
	if t.Kind == View {
		if policy != nil {
			return refuse(CodeNotPossible, place.String(), "the policy names this table, and a view cannot take its place", "choose another name")
		}
		return nil
	}
	before := b.p.policy.Table(t.Database, t.Name, b.p.schema.LowerCaseTableNames)
	for _, c := range t.Columns {
		cp := policy.Column(c.Name)
		after := policy.protected(place, c.Name)
		switch p := c.Protected; {
		case p == nil && cp == nil:
		case p == nil:
			return notPossible(after, "the policy names the column, and the values of the table that would take its place are not sealed",
				"create the table anew and copy the rows through Latchkey")
		case !p.Annotated:
			return notPossible(p, "the column carries no annotation, and its protection would not follow", "annotate it as `latchkey check --sql` prints it")
		case cp != nil && cp.Context != "" && cp.Context != p.Context:
			return conflictContext.refusal(after)
		case cp != nil && cp.Type != nil && !sameType(adoptNull(cp.Type, p.Type), p.Type):
			return conflictType.refusal(after)
		case cells && !samePolicy(before.protected(t, c.Name), after):
			return notPossible(p, "the policy decides otherwise about the column at the new place", "name it in the policy under the new name as well, with the same options")
		case samePolicy(before.protected(t, c.Name), after):
		case after.Search && p.Type.Searchable() != nil:
			return notPossible(after, conflictSearch.reason, conflictSearch.hint)
		default:
			if err := b.indexesFollow(t, place, c.Name, after); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexesFollow refuses a UNIQUE index that could not tell equal values at the new place.
func (b *builder) indexesFollow(t, place *Table, column string, p *Protected) error {
	for _, index := range t.Indexes {
		at := slices.IndexFunc(index.Parts, func(part IndexPart) bool { return FoldName(part.Column) == FoldName(column) })
		if at < 0 || !index.Unique {
			continue
		}
		if f := checkIndexPart(place, index, index.Parts[at], p); f != nil && f.Severity == Error {
			return notPossible(p, f.Reason, f.Hint)
		}
	}
	return nil
}

// createLike plans CREATE TABLE ... LIKE, which stands at token i: the copy has the annotations and CHECKs of the original.
func (b *builder) createLike(c *tableChange, i int) error {
	if b.st.IsOp(i, OpLeftParen) {
		i++
	}
	if hasKeyword(b.st, KwSelect) {
		return notUnderstood("CREATE TABLE ... LIKE is not understood", "")
	}
	m := tableMoves{b: b}
	t := m.table(m.place(i + 1))
	target := [2]string{c.table.Database, c.table.Name}
	if t == nil {
		if c.policy != nil {
			return refuse(CodeNotPossible, c.table.String(), "the policy names this table, and what it would be like is not known", "create it with its columns")
		}
		return nil
	}
	return b.follows(t, target, false)
}
