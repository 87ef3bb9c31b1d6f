package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// tableChange plans DDL that creates or changes one table. It knows the columns as they will be when the statement has run,
// and collects the edits.
type tableChange struct {
	b  *builder
	st *Statement
	// table is the table as the snapshot has it, or an empty one of the statement's name; known tells which.
	table  *Table
	known  bool
	policy *TablePolicy
	// nameToken is the token of the table's name, targetFrom the first one of its qualified name.
	nameToken, targetFrom int

	columns []*changedColumn
	reader  declarationReader
	// row counts what the columns take of a row.
	row int64
	// clauses are added in front of the first clause of an ALTER TABLE.
	clauses [][]Piece
	// altered is set for ALTER TABLE: the table may have rows.
	altered bool
	// checks are the names, folded, of the table's CHECK constraints over protected columns that CREATE TABLE makes.
	checks []string
}

// changedColumn is a column as the statement leaves it.
type changedColumn struct {
	name string
	// protected is nil for a plain column; its Type is that which the statement declares.
	protected *Protected
	// was is the protected column of the snapshot that it is made of, nil for a new one and for a plain one.
	was *Column
	// from is the name that the snapshot has it under, empty for a new one.
	from string
}

// newTableChange reads the table's name at token i: [database.]name. It returns nil when the statement names no database
// and none is selected, which the backend refuses.
func (b *builder) newTableChange(i int) (*tableChange, error) {
	c := &tableChange{b: b, st: b.st, targetFrom: i}
	database := b.f.Database
	if b.st.IsOp(i+1, OpDot) {
		database = b.st.Name(i)
		i += 2
	}
	if !b.st.Token(i).IsIdentifier() || b.st.IsOp(i+1, OpDot) || b.st.IsOp(c.targetFrom, OpDot) {
		return nil, notUnderstood("the table is not where it is expected", "")
	}
	c.nameToken = i
	name := b.st.Name(i)
	if c.table = b.p.schema.Table(database, name); c.table != nil {
		c.known = true
	} else {
		c.table = &Table{Database: database, Name: name}
	}
	c.policy = b.p.policy.Table(database, name, b.p.schema.LowerCaseTableNames)
	c.policy = c.policy.created(b.protect)
	if c.policy != nil && c.table.Owner == "" {
		owned := *c.table
		owned.Owner = c.policy.Owner
		c.table = &owned
	}
	c.reader = declarationReader{st: b.st, implicitTimestamps: b.f.ServerVersion < 101000 || b.p.schema.ImplicitTimestamps}
	collation := c.table.Collation
	if collation == "" {
		collation = b.p.schema.Collations[b.p.schema.TableKey(database)]
	}
	c.setCollation(collation)
	c.reader.options.RealAsFloat, c.reader.options.TimeZone = b.f.Mode.Has(RealAsFloat), b.f.TimeZone
	return c, nil
}

// setCollation sets the default of columns that name no character set.
func (c *tableChange) setCollation(collation string) {
	if name, charset, err := logical.ResolveCollation(collation, ""); err == nil {
		c.reader.options.Charset, c.reader.options.Collation = charset, name
	}
}

// readDefaults finds DEFAULT CHARSET and COLLATE among the table options in the tokens from..to.
func (c *tableChange) readDefaults(from, to int) error {
	charset, collation := "", ""
	for i := from; i <= to; i++ {
		if c.st.IsOp(i, OpLeftParen) {
			i = max(i, c.st.Match(i))
			continue
		}
		var into *string
		switch {
		case c.st.Is(i, KwCharset):
			into = &charset
		case c.st.Is(i, KwCharacter) && c.st.Is(i+1, KwSet), c.st.Is(i, KwChar) && c.st.Is(i+1, KwSet):
			into = &charset
			i++
		case c.st.Is(i, KwCollate):
			into = &collation
		default:
			continue
		}
		if i++; c.st.IsOp(i, OpEq) {
			i++
		}
		*into = strings.ToLower(c.word(i))
	}
	if charset == "" && collation == "" {
		return nil
	}
	if charset != "" && charset != "default" {
		name, err := logical.DefaultCollation(charset)
		if err != nil {
			return notUnderstood("the character set of the table is not known", "")
		}
		c.setCollation(name)
	}
	if collation != "" && collation != "default" {
		name, _, err := logical.ResolveCollation(collation, c.reader.options.Charset)
		if err != nil {
			return notUnderstood("the collation of the table is not known", "")
		}
		c.setCollation(name)
	}
	return nil
}

// word gives a name that may also be written as a string.
func (c *tableChange) word(i int) string {
	if c.st.Token(i).Kind == TokString {
		if lit, err := c.st.Literal(i); err == nil {
			return string(lit.Bytes)
		}
	}
	return c.st.Name(i)
}

// column finds a column of the table as the statement leaves it.
func (c *tableChange) column(name string) *changedColumn {
	key := FoldName(name)
	for _, column := range c.columns {
		if FoldName(column.name) == key {
			return column
		}
	}
	return nil
}

// existing finds a column by the name that it has before the statement.
func (c *tableChange) existing(name string) *changedColumn {
	key := FoldName(name)
	for _, column := range c.columns {
		if column.from != "" && FoldName(column.from) == key {
			return column
		}
	}
	return nil
}

// alters notes the columns as they are.
func (c *tableChange) alters() {
	c.altered = true
	for _, column := range c.table.Columns {
		c.columns = append(c.columns, &changedColumn{name: column.Name, protected: column.Protected, was: column, from: column.Name})
	}
}

// mustProtect reports whether a column of that name is protected from its creation on.
func (c *tableChange) mustProtect(name string) bool { return c.policy.Column(name) != nil }

// edit is b.edit for text outside executable comments, whose ends would be cut off.
func (c *tableChange) edit(from, to int, pieces ...Piece) error {
	for i := from - 1; i <= to+1; i++ {
		if c.st.Token(i).flags&flagExecutable != 0 {
			return notUnderstood("the definition of a protected column or index stands in an executable comment", "write it without the comment")
		}
	}
	return c.b.edit(from, to, pieces...)
}

// protect declares a new or changed column, written as name, with the definition d, and gives what stands for the definition.
// context is that of an existing annotation, empty for a new one.
func (c *tableChange) protect(column *changedColumn, d *declaration, name Piece) (*physicalColumn, error) {
	p := c.policy.protected(c.table, column.name)
	p.Type, p.Nullable, p.Annotated = d.declared, d.declared.Nullable, true
	refuse := func(reason, hint string) error { return refuse(CodeNotPossible, p.String(), reason, hint) }
	if cp := c.policy.Column(column.name); cp != nil {
		if cp.Type != nil && !sameType(adoptNull(cp.Type, d.declared), d.declared) {
			return nil, conflictType.refusal(p)
		}
		if column.was != nil && column.was.Protected.Annotated && cp.Context != "" && cp.Context != column.was.Protected.Context {
			return nil, conflictContext.refusal(p)
		}
	}
	if p.Search && d.declared.Searchable() != nil {
		return nil, refuse(conflictSearch.reason, conflictSearch.hint)
	}
	if err := c.keepsPlaintext(column, p); err != nil {
		return nil, err
	}
	annotation := Annotation{Context: p.Context, Definition: d.declared.String()}
	if column.was != nil && column.was.Protected.Annotated {
		annotation.Context = column.was.Protected.Context
		p.Context = annotation.Context
	}
	if err := c.meaningOfEmpty(column, p, &annotation); err != nil {
		return nil, err
	}
	body, err := annotation.unsigned()
	if err != nil {
		return nil, refuse("its declaration and COMMENT do not fit the 1024 characters that MariaDB has for a comment", "shorten the COMMENT or the list of members")
	}
	column.protected = p
	c.b.declared = append(c.b.declared, p)
	physical := &physicalColumn{c: c, name: name, p: p, d: d, annotation: body}
	physical.width(column.was)
	return physical, nil
}

// keepsPlaintext refuses to change the definition of a column while it holds plaintext, which reads by the definition that it has.
func (c *tableChange) keepsPlaintext(column *changedColumn, p *Protected) error {
	was := column.was
	if !c.altered || was == nil || !was.Protected.Plaintext {
		return nil
	}
	name := quoted(was.Name)
	return c.requires(PlaintextCondition(name)+" AND "+name+"<>''", notPossible(p, "the column holds plaintext, which would read otherwise under another definition, and which its CHECK keeps out",
		"convert the rows with `latchkey migrate` first"))
}

// adoptNull makes a type of the policy that does not say NOT NULL agree with a declaration that does.
func adoptNull(policy, declared *logical.Type) *logical.Type {
	if !policy.Nullable || declared.Nullable {
		return policy
	}
	t := *policy
	t.Nullable = false
	return &t
}

// meaningOfEmpty decides what an empty physical value of the column means from now on. Rows that have one keep its
// meaning: those of a table to which a NOT NULL column is added get the type's implicit default.
func (c *tableChange) meaningOfEmpty(column *changedColumn, p *Protected, a *Annotation) error {
	p.HasOnEmpty, p.OnEmpty = p.Type.HasDefault, p.Type.Default
	if !c.altered {
		return nil
	}
	was := column.was
	if was == nil || !was.Protected.Annotated {
		if p.HasOnEmpty || p.Type.Nullable {
			return nil
		}
		implicit, ok := p.Type.ImplicitDefault()
		if !ok {
			return c.requires("1", refuse(CodeNotPossible, p.String(), "the table has rows, and the column has no value for them", "give it a DEFAULT or let it be NULL"))
		}
		a.HasEmpty, a.Empty = true, implicit
		p.HasOnEmpty, p.OnEmpty = true, implicit
		return nil
	}
	old := was.Protected
	if !old.HasOnEmpty || p.HasOnEmpty && string(old.OnEmpty) == string(p.OnEmpty) {
		if old.HasOnEmpty && p.Type.Family() != old.Type.Family() {
			return nil // no cell may be there, see requireValues
		}
		return nil
	}
	if p.HasOnEmpty {
		// Rows without a value of their own have the old default.
		return c.requires(quoted(was.Name)+" = ''", refuse(CodeNotPossible, p.String(), "rows of the table have the column's old DEFAULT without a value of their own, and would get the new one",
			"write the values of those rows first, or keep the DEFAULT"))
	}
	a.HasEmpty, a.Empty = true, old.OnEmpty
	p.HasOnEmpty, p.OnEmpty = true, old.OnEmpty
	return nil
}

// quoted is quoteName for a condition of a requirement; the name may hold what the client's character set does not have.
func quoted(name string) string { return quoteName(name) }

// requires makes the statement one that is refused while a row of the table fulfils the condition.
func (c *tableChange) requires(condition string, why error) error {
	if !plainASCII([]byte(condition)) {
		return notUnderstood("the name of a protected column is not ASCII and its values have to be looked at first", "use a raw account")
	}
	var refusal *Refusal
	if !errors.As(why, &refusal) {
		return why
	}
	r := Requirement{Refusal: refusal, Pieces: []Piece{
		{Kind: PieceText, Text: "SELECT 1 FROM "}, {Kind: PieceSource, From: c.targetFrom, To: c.nameToken}, {Kind: PieceText, Text: " WHERE " + condition + " LIMIT 1"},
	}}
	c.b.plan.Requires = append(c.b.plan.Requires, r)
	return nil
}

// physicalColumn is what the backend stores for a declared column.
type physicalColumn struct {
	c          *tableChange
	name       Piece
	p          *Protected
	d          *declaration
	annotation string
	typ        string
	// check are the pieces of its CHECK beside the guard, behind those that follow the definition; nil for none.
	check, behind []Piece
}

// width chooses the physical type. A column never gets narrower: its cells may be as long as they are.
func (x *physicalColumn) width(was *Column) {
	need := min(x.p.CellLength(int64(x.p.Type.MaxCanonical())), maxLongBlob)
	if was != nil {
		if capacity, binary := was.capacity(); binary && capacity >= need {
			x.typ = strings.ToUpper(was.ColumnType)
			return
		}
	}
	width := max(need, minVarbinary) + 2
	inRow := x.c.row+width <= maxRow
	if inRow {
		x.c.row += width
	} else {
		x.c.row += otherWidth
	}
	x.typ = physicalType(need, inRow)
}

// pieces give the definition behind the column's name.
func (x *physicalColumn) pieces() []Piece {
	pieces := []Piece{
		{Kind: PieceText, Text: x.typ + physicalAttributes(x.p.Type, x.d.invisible) + " COMMENT "},
		{Kind: PieceAnnotation, Text: x.annotation},
	}
	if x.check == nil && x.p.Type.Kind != logical.KindJSON && x.c.namesCheck(x.p.Column) {
		return slices.Concat(pieces, x.behind)
	}
	pieces = append(pieces, Piece{Kind: PieceText, Text: " CHECK ("})
	guard := guardPieces(x.name)
	if x.check != nil {
		guard = slices.Concat([]Piece{{Kind: PieceText, Text: "("}}, guard, []Piece{{Kind: PieceText, Text: ") AND ("}}, x.check, []Piece{{Kind: PieceText, Text: ")"}})
	}
	return slices.Concat(pieces, guard, []Piece{{Kind: PieceText, Text: ")"}}, x.behind)
}

// guardPieces are the CHECK that lets in only NULL, the empty value and cells.
func guardPieces(name Piece) []Piece {
	return []Piece{name, {Kind: PieceText, Text: " is null or "}, name, {Kind: PieceText, Text: " = '' or left("}, name, {Kind: PieceText, Text: ",3) = X'ff4c4b'"}}
}

// namesCheck tells whether a CHECK constraint of the table has the name of a column. MariaDB takes no CHECK in the definition
// of that column then, so the constraint has the guard.
func (c *tableChange) namesCheck(column string) bool {
	return slices.Contains(c.checks, FoldName(column)) || slices.ContainsFunc(c.table.Checks, func(check CheckConstraint) bool {
		return !check.OfColumn && isKeptCheck(check) && FoldName(check.Name) == FoldName(column)
	})
}

// namePiece gives the name at token i, quoted where the client's character set does not matter.
func (c *tableChange) namePiece(i int) Piece {
	name := c.st.Name(i)
	if plainASCII([]byte(name)) {
		return Piece{Kind: PieceText, Text: quoteName(name)}
	}
	return Piece{Kind: PieceSource, From: i, To: i}
}

// plainWidth estimates from above what a plain column takes of a row.
func (c *tableChange) plainWidth(first, last int) int64 {
	d, err := c.reader.read(first, last)
	if err == nil {
		switch d.declared.Kind {
		case logical.KindChar, logical.KindVarchar, logical.KindBinary, logical.KindVarbinary:
			return int64(d.declared.MaxCanonical()) + 2
		}
		return otherWidth
	}
	// A definition that a protected column cannot have: a generated column, AUTO_INCREMENT, another type.
	for i := first; i <= min(first+3, last); i++ {
		if c.st.Token(i).Kind == TokInteger && c.st.IsOp(i-1, OpLeftParen) {
			var n int64
			if _, err := fmt.Sscan(string(c.st.Text(i)), &n); err == nil && n <= maxRow {
				return 4*n + 2
			}
		}
	}
	return otherWidth
}

// names reports whether the tokens from..to hold the name of a protected column, as the statement leaves them or as they
// are.
func (c *tableChange) names(from, to int) *Protected {
	for i := from; i <= to; i++ {
		if !c.st.Token(i).IsIdentifier() || c.st.IsOp(i+1, OpLeftParen) && c.st.Token(i).Kind == TokWord {
			continue
		}
		name := c.st.Name(i)
		if column := c.column(name); column != nil && column.protected != nil {
			return column.protected
		}
		if column := c.table.Column(name); column != nil && column.Protected != nil {
			return column.Protected
		}
		if c.mustProtect(name) {
			return c.policy.protected(c.table, name)
		}
	}
	return nil
}

// refuseNames refuses what leans on a protected column among the tokens.
func (c *tableChange) refuseNames(from, to int, reason, hint string) error {
	if p := c.names(from, to); p != nil {
		return notPossible(p, reason, hint)
	}
	return nil
}

// keptCheck gives the pieces of a CHECK over protected columns, whose expression is in the tokens from..to; nil when it
// names none. The backend keeps it and does not evaluate it.
func (c *tableChange) keptCheck(from, to int) ([]Piece, error) {
	p := c.names(from, to)
	if p == nil {
		return nil, nil
	}
	return c.keep(p, from, to)
}

// keep gives the pieces of a kept CHECK over p.
func (c *tableChange) keep(p *Protected, from, to int) ([]Piece, error) {
	expression, err := c.canonicalExpression(p, from, to)
	if err != nil {
		return nil, err
	}
	body := checkAnnotation{context: p.Context, expression: expression}.body()
	return []Piece{{Kind: PieceAnnotation, Text: body}, {Kind: PieceText, Text: " is not null or ("}, {Kind: PieceSource, From: from, To: to}, {Kind: PieceText, Text: ")"}}, nil
}

// canonicalExpression writes a CHECK's expression so that it reads the same without modes and in UTF-8.
func (c *tableChange) canonicalExpression(p *Protected, from, to int) (string, error) {
	var b strings.Builder
	refused := func(reason string) error {
		return notPossible(p, "the CHECK over it "+reason, "write the expression in another form")
	}
	for i := from; i <= to; i++ {
		t := c.st.Token(i)
		call := c.st.IsOp(i, OpLeftParen) && i > from && c.st.Token(i-1).Kind == TokWord
		if i > from && !call {
			b.WriteByte(' ')
		}
		switch {
		case t.flags&flagExecutable != 0:
			return "", refused("stands in an executable comment")
		case t.Kind == TokString:
			lit, err := c.st.Literal(i)
			value := c.st.toUTF8(lit.Bytes, true)
			if err != nil || c.st.Token(i-1).Kind == TokIntroducer {
				return "", refused("has a text with a character set of its own")
			}
			b.WriteString(quoteShown(value))
			i += lit.Tokens - 1
		case t.Kind == TokNational, t.Kind == TokParam, t.Kind == TokUserVar, t.Kind == TokSysVar, c.st.IsOp(i, OpDot):
			return "", refused("has a name or value that cannot stand in it")
		case c.st.IsOp(i, OpOrOr) && c.b.f.Mode.Has(PipesAsConcat):
			return "", refused("concatenates with ||")
		case c.st.Is(i, KwNot) && c.b.f.Mode.Has(HighNotPrecedence):
			return "", refused("has NOT under HIGH_NOT_PRECEDENCE")
		case t.IsIdentifier() && (t.Kind == TokQuoted || !c.st.IsOp(i+1, OpLeftParen)):
			if column := c.columnName(c.st.Name(i)); column != "" {
				b.WriteString(quoteName(column))
			} else if t.Kind == TokQuoted {
				return "", refused("names what is not a column of the table")
			} else {
				b.WriteString(c.st.Name(i))
			}
		default:
			b.Write(c.st.Text(i))
		}
	}
	return b.String(), nil
}

// columnName gives the name of a column as the table has it, empty for what is none.
func (c *tableChange) columnName(name string) string {
	if column := c.column(name); column != nil {
		return column.name
	}
	return ""
}

// checkPlain looks through the definition of a plain column, in tokens first..last: a CHECK over protected columns is kept,
// and nothing else in it may name one.
func (c *tableChange) checkPlain(first, last int) error {
	for i := first; i <= last; i++ {
		if c.st.Is(i, KwDefault) {
			if err := c.refuseNames(i+1, min(i+1, last), "a DEFAULT would be computed from the cell", "give the other column another DEFAULT"); err != nil {
				return err
			}
		}
		if !c.st.IsOp(i, OpLeftParen) {
			continue
		}
		end := c.st.Match(i)
		if end < 0 || end > last {
			return notUnderstood("the definition of a column is not understood", "")
		}
		if c.st.Is(i-1, KwCheck) {
			if err := c.keepCheck(i); err != nil {
				return err
			}
		} else if c.st.Is(i-2, KwReferences) || c.st.IsOp(i-2, OpDot) {
			if !c.b.refersToPlain(i - 1) {
				return refuse(CodeNotPossible, "", "a foreign key refers to a protected column, of which equal values are different cells", "refer to a plain column")
			}
		} else if err := c.refuseNames(i+1, end-1, "a generated column or DEFAULT would be computed from the cell", "compute it in the application"); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// keepCheck edits the CHECK whose parenthesis is at token i when it is over protected columns.
func (c *tableChange) keepCheck(i int) error {
	end := c.st.Match(i)
	pieces, err := c.keptCheck(i+1, end-1)
	if err != nil || pieces == nil {
		return err
	}
	return c.edit(i+1, end-1, pieces...)
}

// keepConstraint is keepCheck for a constraint of the table, whose name is at token name, 0 for none.
func (c *tableChange) keepConstraint(name, i int) error {
	end := c.st.Match(i)
	pieces, err := c.keptCheck(i+1, end-1)
	if err != nil || pieces == nil {
		return err
	}
	if name == 0 || c.altered {
		return c.edit(i+1, end-1, pieces...)
	}
	if column := c.column(c.st.Name(name)); column != nil && column.protected != nil {
		pieces = slices.Concat([]Piece{{Kind: PieceText, Text: "("}}, guardPieces(c.namePiece(name)), []Piece{{Kind: PieceText, Text: ") AND ("}}, pieces, []Piece{{Kind: PieceText, Text: ")"}})
	}
	return c.edit(i+1, end-1, pieces...)
}
