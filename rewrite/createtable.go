package rewrite

import (
	"errors"
	"fmt"

	"latchkey/rewrite/logical"
)

// createTable plans CREATE [OR REPLACE] TABLE; i is the token TABLE. Columns that the policy names are created for cells.
func (b *builder) createTable(i int) error {
	i++
	if b.st.Is(i, KwIf) {
		i += 3
	}
	c, err := b.newTableChange(i)
	if err != nil {
		return err
	}
	open := c.nameToken + 1
	if b.isLike(open) {
		return b.createLike(c, open)
	}
	end := b.st.Match(open)
	columns := b.st.IsOp(open, OpLeftParen) && end > 0 && !startsElementQuery(b.st, open+1)
	from := open
	if columns {
		from = end + 1
	}
	query := b.querySource(from)
	if !columns && query < 0 {
		return notUnderstood("the columns of the table are not understood", "")
	}
	// A replaced table leaves nothing of what it was.
	c.table = &Table{Database: c.table.Database, Name: c.table.Name, Collation: "", Owner: c.table.Owner}
	c.setCollation(b.p.schema.Collations[b.p.schema.TableKey(c.table.Database)])
	last := b.st.Len() - 1
	if query >= 0 {
		last = query - 1
	}
	if err := c.readDefaults(from, last); err != nil {
		return err
	}
	switch {
	case query >= 0 && columns:
		return c.createSelect(open, end, query)
	case query >= 0:
		return c.createSelect(0, 0, query)
	}
	elements, err := c.elements(open, end)
	if err != nil {
		return err
	}
	c.readCheckNames(elements)
	if err := c.createColumns(elements); err != nil {
		return err
	}
	for _, e := range elements {
		if err := c.createElement(e); err != nil {
			return err
		}
	}
	if err := c.createOptions(end+1, b.st.Len()-1); err != nil {
		return err
	}
	return b.finish()
}

// readCheckNames notes the names of the CHECK constraints over protected columns.
func (c *tableChange) readCheckNames(elements []tokenRange) {
	for _, e := range elements {
		if c.st.Is(e.first, KwConstraint) && c.st.Is(e.first+2, KwCheck) && c.names(e.first+3, e.last) != nil {
			c.checks = append(c.checks, FoldName(c.st.Name(e.first+1)))
		}
	}
}

func startsElementQuery(st *Statement, i int) bool {
	return st.Is(i, KwSelect) || st.Is(i, KwWith) || st.Is(i, KwValues) || st.IsOp(i, OpLeftParen)
}

// isLike reports whether LIKE stands at token i, or behind a parenthesis there.
func (b *builder) isLike(i int) bool {
	if b.st.IsOp(i, OpLeftParen) {
		i++
	}
	return b.st.Is(i, KwLike)
}

// tokenRange is a run of tokens, both ends included.
type tokenRange struct{ first, last int }

// elements splits what stands between the parentheses at tokens open and end at its commas.
func (c *tableChange) elements(open, end int) ([]tokenRange, error) {
	var all []tokenRange
	first := open + 1
	for i := open + 1; i <= end; i++ {
		if c.st.IsOp(i, OpLeftParen) {
			if i = c.st.Match(i); i < 0 || i > end {
				return nil, notUnderstood("the columns of the table are not understood", "")
			}
			continue
		}
		if i < end && !c.st.IsOp(i, OpComma) {
			continue
		}
		if i == first {
			return nil, notUnderstood("the columns of the table are not understood", "")
		}
		all = append(all, tokenRange{first, i - 1})
		first = i + 1
	}
	return all, nil
}

// isColumn reports whether the element that starts at token i defines a column.
func isColumn(st *Statement, i int) bool {
	if st.Token(i).Kind == TokQuoted {
		return true
	}
	switch st.Keyword(i) {
	case KwPrimary, KwUnique, KwKey, KwIndex, KwFulltext, KwSpatial, KwForeign, KwConstraint, KwCheck:
		return false
	case KwPeriod:
		return !st.Is(i+1, KwFor)
	}
	return st.Token(i).Kind == TokWord
}

// createColumns notes all columns, and rewrites the definitions of those that are protected.
func (c *tableChange) createColumns(elements []tokenRange) error {
	c.row = int64(len(elements))/8 + 1
	for _, e := range elements {
		if !isColumn(c.st, e.first) {
			continue
		}
		name := c.st.Name(e.first)
		c.columns = append(c.columns, &changedColumn{name: name})
		if !c.mustProtect(name) {
			c.row += c.plainWidth(e.first+1, e.last)
		}
	}
	for _, e := range elements {
		if !isColumn(c.st, e.first) || !c.mustProtect(c.st.Name(e.first)) {
			continue
		}
		if err := c.createProtected(e); err != nil {
			return err
		}
	}
	return nil
}

// createProtected rewrites the definition of a protected column.
func (c *tableChange) createProtected(e tokenRange) error {
	column := c.column(c.st.Name(e.first))
	d, err := c.declaration(column, e.first+1, e.last)
	if err != nil {
		return err
	}
	physical, err := c.protect(column, d, c.namePiece(e.first))
	if err != nil {
		return err
	}
	if d.unique {
		index, err := c.inlineUnique(column, c.namePiece(e.first))
		if err != nil {
			return err
		}
		physical.behind = append([]Piece{{Kind: PieceText, Text: ", "}}, index...)
	}
	return c.define(physical)
}

// declaration reads the definition of a protected column.
func (c *tableChange) declaration(column *changedColumn, first, last int) (*declaration, error) {
	d, err := c.reader.read(first, last)
	if err == nil {
		return d, nil
	}
	return nil, c.declarationError(column, err)
}

// declarationError is the refusal for a declaration that a protected column cannot have.
func (c *tableChange) declarationError(column *changedColumn, err error) error {
	name := c.table.Database + "." + c.table.Name + "." + column.name
	if errors.Is(err, logical.ErrInvalidDefault) {
		return refuse(CodeBadDefault, name, "Invalid default value", "")
	}
	return refuse(CodeNotPossible, name, declarationReason(err), "declare it otherwise, or take it out of the policy")
}

// define replaces the tokens of a definition by the physical one. A CHECK is read here, when all columns are known.
func (c *tableChange) define(physical *physicalColumn) error {
	d := physical.d
	if d.checkTo > 0 {
		check, err := c.keep(physical.p, d.checkFrom, d.checkTo)
		if err != nil {
			return err
		}
		physical.check = check
	}
	return c.edit(d.first, d.last, physical.pieces()...)
}

// inlineUnique makes the index of a column defined UNIQUE.
func (c *tableChange) inlineUnique(column *changedColumn, name Piece) ([]Piece, error) {
	p := column.protected
	index := &Index{Unique: true, Name: column.name, Kind: "BTREE", Parts: []IndexPart{{Column: column.name, Prefix: TagPrefix}}}
	if f := checkIndexPart(c.table, index, index.Parts[0], p); f != nil && f.Severity == Error {
		return nil, notPossible(p, f.Reason, f.Hint)
	}
	declared := DeclaredIndex{Kind: "UNIQUE KEY", Prefixes: []int{0}}
	if _, long, err := p.Type.KeyPart(0); err == nil && long {
		declared.Options = " USING HASH"
	}
	comment, err := declared.Annotation()
	if err != nil {
		return nil, err
	}
	return []Piece{{Kind: PieceText, Text: "UNIQUE KEY ("}, name, {Kind: PieceText, Text: fmt.Sprintf("(%d)) COMMENT ", TagPrefix) + quoteText(comment)}}, nil
}

// createElement looks after an element that is no protected column.
func (c *tableChange) createElement(e tokenRange) error {
	st := c.st
	if err := c.b.computesNothing(e.first, e.last); err != nil {
		return err
	}
	switch {
	case isColumn(st, e.first):
		if c.column(st.Name(e.first)).protected != nil {
			return nil
		}
		return c.checkPlain(e.first+1, e.last)
	case st.Is(e.first, KwPeriod):
		return c.refuseNames(e.first, e.last, "a PERIOD cannot be over it", "use plain columns")
	}
	return c.constraintOrIndex(e.first, e.last)
}

// constraintOrIndex looks after an index or constraint in the tokens first..last: of CREATE TABLE, or behind ADD.
func (c *tableChange) constraintOrIndex(first, last int) error {
	st := c.st
	i := first
	if st.Is(i, KwConstraint) {
		if i++; st.Is(i, KwIf) {
			i += 3
		}
		switch st.Keyword(i) {
		case KwPrimary, KwUnique, KwForeign, KwCheck:
		default:
			if i++; st.Is(i, KwIf) {
				i += 3
			}
		}
	}
	switch st.Keyword(i) {
	case KwPrimary, KwUnique, KwFulltext, KwSpatial, KwKey, KwIndex:
		d, err := c.readIndex(i, last)
		if err != nil {
			return err
		}
		return c.index(d)
	case KwForeign:
		return c.foreignKey(i, last)
	case KwCheck:
		if end := st.Match(i + 1); st.IsOp(i+1, OpLeftParen) && end > i+2 && end <= last {
			name := 0
			if st.Is(first, KwConstraint) && i == first+2 {
				name = first + 1
			}
			return c.keepConstraint(name, i+1)
		}
	}
	return notUnderstood("a constraint of a table with protected columns is not understood", "")
}

// foreignKey refuses one over protected columns, on either side.
func (c *tableChange) foreignKey(i, last int) error {
	hint := "use a plain column, such as an id"
	for ; i <= last; i++ {
		if c.st.Is(i, KwReferences) {
			to := c.b.qualifiedName(i + 1)
			self := foldTouch(c.st.Name(to)) == foldTouch(c.table.Name)
			if end := c.st.Match(to + 1); self && end > 0 {
				return c.refuseNames(to+2, end-1, "a foreign key cannot refer to it: equal values are different cells", hint)
			}
			if c.b.p.touch.names[foldTouch(c.st.Name(to))] != 0 && !c.b.refersToPlain(to) {
				return refuse(CodeNotPossible, c.table.String(), "a foreign key cannot refer to a protected column: equal values are different cells", hint)
			}
			return nil
		}
		if end := c.st.Match(i); c.st.IsOp(i, OpLeftParen) && end > 0 {
			if err := c.refuseNames(i+1, end-1, "it cannot be part of a foreign key: equal values are different cells", hint); err != nil {
				return err
			}
			i = end
		}
	}
	return nil
}

// qualifiedName gives the last token of the qualified name at token i.
func (b *builder) qualifiedName(i int) int {
	for b.st.Token(i).IsIdentifier() && b.st.IsOp(i+1, OpDot) {
		i += 2
	}
	return i
}

// createOptions looks through the table options in the tokens i..last: no partitions over protected columns, no query, no other
// table that leads to one.
func (c *tableChange) createOptions(i, last int) error {
	for j := i; j <= last; j++ {
		if c.st.Is(j, KwPartition) {
			if err := c.refuseNames(j, last, "the table cannot be partitioned by it: cells spread over partitions by chance", "partition by another column"); err != nil {
				return err
			}
		}
		if c.st.Token(j).IsIdentifier() && c.b.p.touch.names[foldTouch(c.st.Name(j))] != 0 {
			return notUnderstood("an option of the table names a protected table", "choose another name")
		}
	}
	return c.b.computesNothing(i, last)
}

// computesNothing refuses a query, and the call of a stored function that may touch a protected column, in the tokens
// from..to of a definition.
func (b *builder) computesNothing(from, to int) error {
	for i := from; i <= to; i++ {
		if b.st.Is(i, KwSelect) {
			return notUnderstood("a query stands in the definition of a table", "")
		}
		if b.st.IsOp(i+1, OpLeftParen) && b.st.Token(i).IsIdentifier() && b.p.touch.names[foldTouch(b.st.Name(i))]&touchRoutine != 0 {
			return notUnderstood("a stored function in the statement may touch a protected column", "")
		}
	}
	return nil
}
