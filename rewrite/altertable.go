package rewrite

import (
	"slices"
)

// alterTable plans ALTER TABLE; i is the token TABLE.
func (b *builder) alterTable(i int) error {
	i++
	if b.st.Is(i, KwIf) {
		i += 2
	}
	c, err := b.newTableChange(i)
	if err != nil {
		return err
	}
	c.alters()
	c.row = physicalRow(c.table, nil)
	first := c.nameToken + 1
	if b.st.isWord(first, "WAIT") {
		first += 2
	} else if b.st.isWord(first, "NOWAIT") {
		first++
	}
	if first >= b.st.Len() {
		return nil
	}
	clauses, err := c.splitClauses(first)
	if err != nil {
		return err
	}
	a := tableAlteration{tableChange: c, first: first}
	if err := a.run(clauses); err != nil {
		return err
	}
	return b.finish()
}

// splitClauses splits the clauses of ALTER TABLE from token i on at their commas.
func (c *tableChange) splitClauses(i int) ([]tokenRange, error) {
	var all []tokenRange
	first := i
	for ; i <= c.st.Len(); i++ {
		if c.st.IsOp(i, OpLeftParen) {
			if i = c.st.Match(i); i < 0 {
				return nil, notUnderstood("the clauses of ALTER TABLE are not understood", "")
			}
			continue
		}
		if i < c.st.Len() && !c.st.IsOp(i, OpComma) {
			continue
		}
		if i > first {
			all = append(all, tokenRange{first, i - 1})
		}
		first = i + 1
	}
	return all, nil
}

// tableAlteration plans the clauses of one ALTER TABLE. Columns are seen to first, since indexes and constraints may name
// those that another clause adds.
type tableAlteration struct {
	*tableChange
	first int
	// moves says that the statement renames the table.
	moves bool
	later []func() error
}

func (a *tableAlteration) run(clauses []tokenRange) error {
	for _, e := range clauses {
		if a.isOption(e.first) {
			if err := a.readDefaults(e.first, e.last); err != nil {
				return err
			}
		}
	}
	for _, e := range clauses {
		if err := a.b.computesNothing(e.first, e.last); err != nil {
			return err
		}
		if err := a.clause(e); err != nil {
			return err
		}
	}
	for _, do := range a.later {
		if err := do(); err != nil {
			return err
		}
	}
	if a.moves && len(a.b.edits) > 0 {
		return notUnderstood("the statement renames the table and changes protected columns", "rename the table in a statement of its own")
	}
	return a.addClauses()
}

// isOption reports whether a clause sets options of the table.
func (a *tableAlteration) isOption(i int) bool {
	switch a.st.Keyword(i) {
	case KwAdd, KwAlter, KwChange, KwModify, KwDrop, KwRename, KwConvert, KwExchange, KwOrder, KwPartition:
		return false
	}
	return true
}

func (a *tableAlteration) clause(e tokenRange) error {
	i := e.first
	switch a.st.Keyword(i) {
	case KwAdd:
		return a.add(e)
	case KwModify:
		return a.change(e, false)
	case KwChange:
		return a.change(e, true)
	case KwAlter:
		return a.alterColumn(e)
	case KwDrop:
		return a.drop(e)
	case KwRename:
		return a.rename(e)
	case KwConvert:
		return a.convert(e)
	case KwExchange, KwDiscard, KwImport, KwSelect, KwLike:
		return notUnderstood("this ALTER TABLE over protected columns", "use a raw account")
	case KwOrder:
		return a.refuseNames(i, e.last, "rows cannot be ordered by it: cells have no order", "order by another column")
	}
	return a.otherClause(e)
}

// otherClause looks after table options, partitions and what is not known here: nothing in them may name a protected column
// or another table that leads to one.
func (a *tableAlteration) otherClause(e tokenRange) error {
	for j := e.first; j <= e.last; j++ {
		if end := a.st.Match(j); a.st.IsOp(j, OpLeftParen) && end > 0 {
			if err := a.refuseNames(j+1, end-1, "a clause of ALTER TABLE that is not understood names it", "use a raw account and see `latchkey check --sql`"); err != nil {
				return err
			}
		}
		if !a.st.Token(j).IsIdentifier() {
			continue
		}
		if name := foldTouch(a.st.Name(j)); a.b.p.touch.names[name] != 0 && name != foldTouch(a.table.Name) {
			return notUnderstood("the statement names another protected table", "use a raw account")
		}
	}
	return nil
}

// add plans ADD.
func (a *tableAlteration) add(e tokenRange) error {
	i := e.first + 1
	if a.st.Is(i, KwColumn) {
		i++
	} else if !isColumn(a.st, i) && !a.st.Is(i, KwIf) && !a.st.IsOp(i, OpLeftParen) || a.st.Is(i, KwPartition) || a.st.Is(i, KwSystem) && a.st.Is(i+1, KwVersioning) {
		return a.addOther(i, e.last)
	}
	exists := a.st.Is(i, KwIf)
	if exists {
		i += 3
	}
	columns := []tokenRange{{i, e.last}}
	if a.st.IsOp(i, OpLeftParen) {
		var err error
		if columns, err = a.elements(i, a.st.Match(i)); err != nil || a.st.Match(i) != e.last {
			return notUnderstood("the columns that ALTER TABLE adds are not understood", "")
		}
	}
	for _, column := range columns {
		if !isColumn(a.st, column.first) {
			a.later = append(a.later, func() error { return a.constraintOrIndex(column.first, column.last) })
			continue
		}
		if err := a.addColumn(column); err != nil {
			return err
		}
	}
	return nil
}

// addOther plans what is added beside columns.
func (a *tableAlteration) addOther(i, last int) error {
	switch a.st.Keyword(i) {
	case KwPartition, KwPeriod, KwSystem:
		return a.otherClause(tokenRange{i, last})
	}
	a.later = append(a.later, func() error { return a.constraintOrIndex(i, last) })
	return nil
}

// withoutPlace takes FIRST and AFTER column off a definition.
func (a *tableAlteration) withoutPlace(last int) int {
	switch {
	case a.st.Is(last, KwFirst):
		return last - 1
	case a.st.Is(last-1, KwAfter):
		return last - 2
	}
	return last
}

// addColumn plans one column of ADD.
func (a *tableAlteration) addColumn(e tokenRange) error {
	name, last := a.st.Name(e.first), a.withoutPlace(e.last)
	if known := a.existing(name); known != nil {
		// One that IF NOT EXISTS leaves alone, an error of the backend's, or the column that another clause drops.
		if known.protected == nil && !a.mustProtect(name) {
			a.later = append(a.later, func() error { return a.checkPlain(e.first+1, last) })
			return nil
		}
		a.columns = slices.DeleteFunc(a.columns, func(c *changedColumn) bool { return c == known })
	}
	column := &changedColumn{name: name}
	a.columns = append(a.columns, column)
	if !a.mustProtect(name) {
		a.row += a.plainWidth(e.first+1, last)
		a.later = append(a.later, func() error { return a.checkPlain(e.first+1, last) })
		return nil
	}
	return a.definition(column, e.first, e.first+1, last)
}

// definition rewrites the definition of a protected column in the tokens first..last.
func (a *tableAlteration) definition(column *changedColumn, name, first, last int) error {
	d, err := a.declaration(column, first, last)
	if err != nil {
		return err
	}
	physical, err := a.protect(column, d, a.namePiece(name))
	if err != nil {
		return err
	}
	if d.unique {
		index, err := a.inlineUnique(column, a.namePiece(name))
		if err != nil {
			return err
		}
		a.clauses = append(a.clauses, append([]Piece{{Kind: PieceText, Text: "ADD "}}, index...))
	}
	a.later = append(a.later, func() error { return a.define(physical) })
	return nil
}

// change plans MODIFY and CHANGE.
func (a *tableAlteration) change(e tokenRange, renames bool) error {
	i := e.first + 1
	if a.st.Is(i, KwColumn) {
		i++
	}
	if a.st.Is(i, KwIf) {
		i += 2
	}
	name := i
	if renames {
		name++
	}
	if !a.st.Token(i).IsIdentifier() || !a.st.Token(name).IsIdentifier() || name >= e.last {
		return notUnderstood("the column that ALTER TABLE changes is not understood", "")
	}
	last := a.withoutPlace(e.last)
	column := a.existing(a.st.Name(i))
	if column == nil {
		if !a.mustProtect(a.st.Name(i)) && !a.mustProtect(a.st.Name(name)) {
			a.later = append(a.later, func() error { return a.checkPlain(name+1, last) })
			return nil
		}
		// The snapshot does not have it; if the backend does, it is not known what it is.
		column = &changedColumn{name: a.st.Name(i)}
		a.columns = append(a.columns, column)
		if err := a.requires("1", refuse(CodeNotPossible, a.table.String(), "the column to be changed is not known", "send the statement again")); err != nil {
			return err
		}
	}
	if err := a.renamed(column, a.st.Name(name)); err != nil {
		return err
	}
	if column.protected == nil && !a.mustProtect(column.name) {
		a.later = append(a.later, func() error { return a.checkPlain(name+1, last) })
		return nil
	}
	return a.redefine(column, name, last)
}

// redefine changes the definition of a column that is protected, or will be.
func (a *tableAlteration) redefine(column *changedColumn, name, last int) error {
	was := column.was
	if was == nil || was.Protected == nil || !was.Protected.Annotated && was.Protected.Conflict != nil {
		// A plain column: only one that holds nothing can become a protected one.
		p := a.policy.protected(a.table, column.name)
		if err := a.requires("1", notPossible(p, "the table has rows, and the values of the column are not sealed", "convert the table with a raw account")); err != nil {
			return err
		}
		column.was = nil
		return a.definition(column, name, name+1, last)
	}
	old := was.Protected
	if old.Conflict != nil && !conflictOf(old).alterable() {
		return old.Conflict
	}
	if err := a.definition(column, name, name+1, last); err != nil {
		return err
	}
	return a.requireValues(was, column.protected)
}

// requireValues refuses the change of a declared type while a cell may not be a value of the new one.
func (a *tableAlteration) requireValues(was *Column, p *Protected) error {
	old := was.Protected
	// Tags are over the weights of the collation that they were made for.
	tags := p.Search && (p.Type.Collation != old.Type.Collation || p.Type.Kind != old.Type.Kind && p.Type.PadSpace() != old.Type.PadSpace())
	if old.Type == untyped || !p.Type.Widens(old.Type) || tags {
		reason := "the table has rows, and their values may not be ones of the new type"
		if tags {
			reason = "the table has rows, and their search tags are made for the old collation: changing it is a migration"
		}
		if err := a.requires(quoted(was.Name)+" IS NOT NULL", notPossible(p, reason, "copy the values into a new column through Latchkey")); err != nil {
			return err
		}
	}
	if old.Nullable && !p.Nullable && (a.b.f.Mode&Strict == 0 || a.st.Is(1, KwIgnore) || a.st.Is(2, KwIgnore)) {
		return a.requires(quoted(was.Name)+" IS NULL", notPossible(p, "rows of the table have NULL, for which this sql_mode or IGNORE would store another value", "write those values first"))
	}
	return nil
}

// renamed gives a column its new name, if the policy decides the same about it.
func (a *tableAlteration) renamed(column *changedColumn, name string) error {
	if FoldName(column.name) == FoldName(name) {
		column.name = name
		return nil
	}
	if err := a.leansOn(column.name, "renamed"); err != nil {
		return err
	}
	if p := column.protected; p != nil {
		before, after := a.policy.protected(a.table, column.name), a.policy.protected(a.table, name)
		if !p.Annotated {
			return notPossible(p, "the column carries no annotation, and its protection would not follow", "annotate it as `latchkey check --sql` prints it")
		}
		if !samePolicy(before, after) {
			return notPossible(p, "the policy decides otherwise about the column's new name", "name it in the policy under the new name as well, with the same options")
		}
	}
	for _, constraint := range a.table.Constraints {
		if slices.ContainsFunc(constraint.Columns, func(of string) bool { return FoldName(of) == FoldName(column.name) }) {
			return refuse(CodeNotPossible, a.table.String()+"."+column.name, "the CHECK constraint "+quoteName(constraint.Name)+" over a protected column names the column",
				"drop the constraint, rename the column, and add the constraint again")
		}
	}
	column.name = name
	return nil
}

// leansOn refuses a change of a plain column that the policy names as owner, or that cells are bound to.
func (c *tableChange) leansOn(name, done string) error {
	if c.policy == nil || c.known && !c.table.Protects {
		return nil
	}
	if c.policy.Owner != "" && FoldName(c.policy.Owner) == FoldName(name) {
		return refuse(CodeNotPossible, c.table.String(), "the policy names the column "+quoteName(name)+" as the owner of the rows, and it cannot be "+done, "change the policy first")
	}
	for _, column := range c.columns {
		if column.protected != nil && slices.ContainsFunc(column.protected.Bind, func(bound string) bool { return FoldName(bound) == FoldName(name) }) {
			return notPossible(column.protected, "its cells are bound to the column "+quoteName(name)+", which cannot be "+done, "change the policy first")
		}
	}
	return nil
}

// samePolicy tells whether cells sealed under the one decision are what the other expects.
func samePolicy(a, b *Protected) bool {
	return a.ServiceKey == b.ServiceKey && a.Search == b.Search && a.UniquePerOwner == b.UniquePerOwner && a.Owner == b.Owner &&
		slices.Equal(a.Bind, b.Bind) && a.Away == b.Away && a.Pad == b.Pad && a.Plaintext == b.Plaintext
}

// alterColumn plans ALTER [COLUMN] and ALTER INDEX.
func (a *tableAlteration) alterColumn(e tokenRange) error {
	i := e.first + 1
	if a.st.Is(i, KwIndex) || a.st.Is(i, KwKey) {
		return a.alterIndex(i + 1)
	}
	if a.st.Is(i, KwColumn) {
		i++
	}
	if a.st.Is(i, KwIf) {
		i += 2
	}
	column := a.existing(a.st.Name(i))
	if column == nil || column.protected == nil {
		if column == nil && a.mustProtect(a.st.Name(i)) {
			return notUnderstood("the column to be altered is not known", "send the statement again")
		}
		return a.refuseNames(i+1, e.last, "a DEFAULT would be computed from the cell", "give the other column another DEFAULT")
	}
	if column.was == nil || column.was.Protected.Conflict != nil || !column.was.Protected.Annotated {
		return notPossible(column.protected, "its DEFAULT cannot be changed by ALTER COLUMN here", "use MODIFY with the whole definition")
	}
	return a.newDefault(column, i, e.last)
}

// newDefault turns ALTER COLUMN c SET DEFAULT x and DROP DEFAULT into a MODIFY: the default stands in the annotation.
func (a *tableAlteration) newDefault(column *changedColumn, name, last int) error {
	old := column.was.Protected.Type
	d := &declaration{declared: old, invisible: column.was.Invisible}
	declared := *old
	declared.HasDefault, declared.Default = false, nil
	d.declared = &declared
	if a.st.Is(name+1, KwSet) && a.st.Is(name+2, KwDefault) {
		withDefault, err := a.reader.withDefault(&declared, name+3, last)
		if err != nil {
			return a.declarationError(column, err)
		}
		d.declared = withDefault
	} else if !a.st.Is(name+1, KwDrop) || !a.st.Is(name+2, KwDefault) || last != name+2 {
		return notUnderstood("ALTER COLUMN is not understood", "")
	}
	physical, err := a.protect(column, d, a.namePiece(name))
	if err != nil {
		return err
	}
	if physical.check, err = a.standingCheck(column); err != nil {
		return err
	}
	pieces := append([]Piece{{Kind: PieceText, Text: "MODIFY COLUMN "}, a.namePiece(name), {Kind: PieceText, Text: " "}}, physical.pieces()...)
	from := name
	for from > 0 && !a.st.Is(from, KwAlter) {
		from--
	}
	return a.edit(from, last, pieces...)
}

// standingCheck repeats the CHECK of a column's definition as it is.
func (a *tableAlteration) standingCheck(column *changedColumn) ([]Piece, error) {
	for _, check := range a.table.Checks {
		if !check.OfColumn || FoldName(check.Name) != FoldName(column.was.Name) || !isKeptCheck(check) {
			continue
		}
		annotation, expression, _ := cutKeptCheck(check.Clause)
		if !plainASCII([]byte(annotation + expression)) {
			return nil, notPossible(column.protected, "its CHECK is not plain ASCII", "use MODIFY with the whole definition")
		}
		return []Piece{{Kind: PieceText, Text: "'" + annotation + checkMark + "(" + expression + ")"}}, nil
	}
	return nil, nil
}

// alterIndex refuses to change whether a stand-in is used.
func (a *tableAlteration) alterIndex(name int) error {
	for _, index := range a.table.Indexes {
		if FoldName(index.Name) == FoldName(a.st.Name(name)) && a.table.DeclaredIndex(index) != nil {
			return refuse(CodeNotPossible, a.table.String(), "an index over protected columns cannot be made IGNORED or not", "drop it and add it again")
		}
	}
	return nil
}

// drop plans DROP: of a column, with its guard, its CHECK and its indexes; or of something else, which the backend knows
// by the same name.
func (a *tableAlteration) drop(e tokenRange) error {
	i := e.first + 1
	switch a.st.Keyword(i) {
	case KwPrimary, KwIndex, KwKey, KwForeign, KwPartition, KwSystem:
		return nil
	case KwPeriod:
		if a.st.Is(i+1, KwFor) {
			return nil
		}
	case KwConstraint, KwCheck:
		return a.dropConstraint(i + 1)
	}
	if a.st.Is(i, KwColumn) {
		i++
	}
	if a.st.Is(i, KwIf) {
		i += 2
	}
	name := a.st.Name(i)
	if err := a.leansOn(name, "dropped"); err != nil {
		return err
	}
	a.columns = slices.DeleteFunc(a.columns, func(c *changedColumn) bool { return c.from != "" && FoldName(c.from) == FoldName(name) })
	return nil
}

// dropConstraint refuses to drop a guard, of which the application does not know.
func (a *tableAlteration) dropConstraint(i int) error {
	if a.st.Is(i, KwIf) {
		i += 2
	}
	name := a.st.Name(i)
	for _, check := range a.table.Checks {
		if check.OfColumn || FoldName(check.Name) != FoldName(name) || isKeptCheck(check) {
			continue
		}
		for _, c := range a.table.Columns {
			if c.Protected != nil && isGuard(check, c.Name) {
				return notPossible(c.Protected, "the constraint keeps plaintext out of the column", "it goes with the column")
			}
		}
	}
	return nil
}

// rename plans RENAME COLUMN, INDEX and the renaming of the table.
func (a *tableAlteration) rename(e tokenRange) error {
	i := e.first + 1
	switch a.st.Keyword(i) {
	case KwIndex, KwKey:
		return nil
	case KwColumn:
		if i++; a.st.Is(i, KwIf) {
			i += 2
		}
		return a.renameColumn(i)
	}
	if a.st.Is(i, KwTo) || a.st.Is(i, KwAs) || a.st.IsOp(i, OpEq) {
		i++
	}
	a.moves = true
	return a.b.renameTable(a.targetFrom, i)
}

func (a *tableAlteration) renameColumn(i int) error {
	column := a.existing(a.st.Name(i))
	if !a.st.Is(i+1, KwTo) || !a.st.Token(i+2).IsIdentifier() {
		return notUnderstood("RENAME COLUMN is not understood", "")
	}
	to := a.st.Name(i + 2)
	if column == nil {
		if a.mustProtect(to) || a.mustProtect(a.st.Name(i)) {
			return notUnderstood("the column to be renamed is not known", "send the statement again")
		}
		return nil
	}
	if column.protected == nil && a.mustProtect(to) {
		return notPossible(a.policy.protected(a.table, to), "a plain column cannot take the name of a protected one", "add the protected column and copy the values through Latchkey")
	}
	return a.renamed(column, to)
}

// convert plans CONVERT TO CHARACTER SET.
func (a *tableAlteration) convert(e tokenRange) error {
	if !a.st.Is(e.first+1, KwTo) {
		return notUnderstood("this ALTER TABLE over protected columns", "use a raw account")
	}
	standing := a.reader.options
	if err := a.readDefaults(e.first, e.last); err != nil {
		return err
	}
	collation := a.reader.options.Collation
	a.reader.options = standing
	for _, column := range a.columns {
		p := column.protected
		if p == nil || p.Conflict == nil && (p.Type.Collation == "" || p.Type.Collation == collation) {
			continue
		}
		if err := a.convertColumn(column, collation); err != nil {
			return err
		}
	}
	return a.otherClause(e)
}

// convertColumn changes the declared character set of a column as CONVERT TO does.
func (a *tableAlteration) convertColumn(column *changedColumn, collation string) error {
	p := column.protected
	if p.Conflict != nil {
		return p.Conflict
	}
	declared, err := p.Type.Convert(collation)
	if err != nil || column.was == nil || !p.Annotated || !plainASCII([]byte(column.name)) {
		return notPossible(p, "the character set of the column is not changed by CONVERT TO", "use MODIFY with the new character set for the column, and DEFAULT CHARACTER SET for the table")
	}
	physical, err := a.protect(column, &declaration{declared: declared, invisible: column.was.Invisible}, Piece{Kind: PieceText, Text: quoteName(column.name)})
	if err != nil {
		return err
	}
	if physical.check, err = a.standingCheck(column); err != nil {
		return err
	}
	a.clauses = append(a.clauses, append([]Piece{{Kind: PieceText, Text: "MODIFY COLUMN " + quoteName(column.name) + " "}}, physical.pieces()...))
	return a.requireValues(column.was, column.protected)
}

// addClauses puts the clauses that the statement needs beside its own in front of them.
func (a *tableAlteration) addClauses() error {
	if len(a.clauses) == 0 {
		return nil
	}
	var pieces []Piece
	for _, clause := range a.clauses {
		pieces = append(append(pieces, clause...), Piece{Kind: PieceText, Text: ", "})
	}
	a.b.edits = append([]Edit{{From: a.first, To: a.first - 1, Pieces: pieces}}, a.b.edits...)
	return nil
}
