package rewrite

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"latchkey/rewrite/logical"
)

// RowOwner says whose a row is of which a statement writes a cell: the value of the owner column, which names the key.
type RowOwner struct {
	// Type converts Value to what the owner column will hold; nil when that is not certain.
	Type *logical.Type
	// Value is what the statement gives to the owner column; ValueUnknown where it gives nothing that is known beforehand.
	Value Value
	// Replaced says that NULL stands for another value: that of AUTO_INCREMENT, or zero in a column that is NOT NULL. Counted
	// says that 0 does too.
	Replaced, Counted bool
	// Stored is SQL for the owner of a row that is there, as bytes of UTF-8, NULL for NULL. When it is not empty, the row's
	// owner is that and not Value. Old is then 1 + its place among the owners that Before reads, 0 when it is not read.
	Stored string
	Old    int
	// New is SQL, like Stored, for the owner of the row that an INSERT did not insert because there is one already.
	New string
}

// OwnerText gives SQL for the value of a plain column as bytes of UTF-8, with name for the column in the statement; empty
// where there is no such text that is always the same.
func OwnerText(c *Column, name string) string {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return "CAST(" + name + "+0 AS BINARY)" // without the zeros of ZEROFILL
	case "char":
		return "CAST(CONVERT(TRIM(TRAILING ' ' FROM " + name + ") USING utf8mb4) AS BINARY)" // with sql_mode PAD_CHAR_TO_FULL_LENGTH
	case "varbinary":
		return "CAST(" + name + " AS BINARY)"
	case "varchar", "tinytext", "text", "mediumtext", "longtext", "uuid":
		return "CAST(CONVERT(" + name + " USING utf8mb4) AS BINARY)"
	}
	return ""
}

// ownerType is the type by which a value is converted to what OwnerText gives afterwards; nil when there is none.
func ownerType(c *Column) *logical.Type {
	if OwnerText(c, "") == "" || c.Generated {
		return nil
	}
	definition := strings.TrimSuffix(c.ColumnType, " zerofill")
	if c.Charset != "" && c.Collation != "" {
		definition += " CHARACTER SET " + c.Charset + " COLLATE " + c.Collation
	}
	t, err := logical.Parse(definition)
	if err != nil {
		return nil
	}
	return t
}

// ownerColumn is the column that holds the owners of p's rows; nil when the rows have none.
func ownerColumn(t *Table, p *Protected) *Column {
	if t == nil || p.Owner == "" || p.ServiceKey != "" {
		return nil
	}
	return t.Column(p.Owner)
}

// owns tells whether a column holds the owners of rows with cells under user keys.
func owns(t *Table, column string) bool {
	if t == nil {
		return false
	}
	for _, c := range t.Columns {
		if p := c.Protected; p != nil && p.ServiceKey == "" && p.Owner != "" && strings.EqualFold(p.Owner, column) {
			return true
		}
	}
	return false
}

// written is the owner of a row whose owner column c gets value.
func written(c *Column, value Value) *RowOwner {
	o := &RowOwner{Type: ownerType(c), Value: value, Replaced: !c.Nullable || c.AutoIncrement, Counted: c.AutoIncrement}
	if o.Type == nil || value.Kind == ValueDefault {
		o.Value = unknownValue
	}
	return o
}

// unknownValue is that of an owner who is not known before the server has run the statement.
var unknownValue = Value{Kind: ValueUnknown, Token: -1}

// owner is whose the row r is that is inserted; nil when the rows of p have no owner.
func (in *inserter) owner(p *Protected, r insertRow) *RowOwner {
	c := ownerColumn(in.table, p)
	if c == nil {
		return nil
	}
	k := in.position(c)
	if k < 0 || k >= len(r.spans) {
		return written(c, omittedOwner(c))
	}
	v, ok := in.b.wholeValue(r.spans[k][0], r.spans[k][1])
	switch {
	case !ok:
		v = unknownValue
	case v.Kind == ValueDefault:
		v = omittedOwner(c)
	}
	return written(c, v)
}

// omittedOwner is the owner of a row that does not say. A declared default is left to the server.
func omittedOwner(c *Column) Value {
	if c.Nullable && !c.AutoIncrement && !c.Generated && (!c.HasDefault || strings.EqualFold(c.Default, "NULL")) {
		return Value{Kind: ValueNull, Token: -1}
	}
	return unknownValue
}

// selectedOwner is whose the rows of INSERT ... SELECT are.
func (in *inserter) selectedOwner(p *Protected, outs []output) *RowOwner {
	c := ownerColumn(in.table, p)
	if c == nil {
		return nil
	}
	k := in.position(c)
	switch {
	case k < 0:
		return written(c, omittedOwner(c))
	case outs[k].literal == nil:
		return written(c, unknownValue)
	}
	return written(c, *outs[k].literal)
}

// storedOwner is whose the row is that ON DUPLICATE KEY UPDATE finds; nil when the rows of p have no owner.
func (in *inserter) storedOwner(p *Protected) (*RowOwner, error) {
	c := ownerColumn(in.table, p)
	if c == nil {
		return nil, nil
	}
	name, err := ownerName(p, c)
	if err != nil {
		return nil, err
	}
	qualified := name
	if in.s.Select != nil {
		if !asciiName(in.table.Name) {
			return nil, notPossible(p, "the name of the table is not ASCII", "")
		}
		qualified = quoteName(in.table.Name) + "." + name
	}
	o := &RowOwner{Value: unknownValue}
	if !c.Generated {
		o.Stored, o.New, o.Old = OwnerText(c, qualified), OwnerText(c, "VALUES("+name+")"), 1
	}
	return o, nil
}

// ownerName quotes the name of an owner column, which has to read the same in every character set.
func ownerName(p *Protected, c *Column) (string, error) {
	if !asciiName(c.Name) {
		return "", notPossible(p, "the name of the owner column is not ASCII", "")
	}
	return quoteName(c.Name), nil
}

// sameOwner plans `owner = VALUES(owner)` in ON DUPLICATE KEY UPDATE: it is carried out where it changes nothing.
func (in *inserter) sameOwner(c *Column, tokens assignment) error {
	for _, other := range in.table.Columns {
		p := other.Protected
		if p == nil || ownerColumn(in.table, p) != c {
			continue
		}
		o, err := in.storedOwner(p)
		if err != nil {
			return err
		}
		if o.Stored == "" {
			break
		}
		return in.b.edit(tokens.valueFrom, tokens.valueTo, Piece{Kind: PieceSameOwner, Column: p, Owner: o,
			Left: quoteName(c.Name), NewText: in.b.text(tokens.valueFrom, tokens.valueTo), Old: -1})
	}
	return plainAssignment(in.table, c.Name, false)
}

// stored is whose the row is that an UPDATE writes a cell of; nil when its rows have no owner. The owner is read with the old
// cells.
func (w *updateWriter) stored(f field, tokens assignment) (*RowOwner, error) {
	c := ownerColumn(f.from.table, f.prot)
	if c == nil {
		return nil, nil
	}
	if w.newOwner != nil {
		o := *w.newOwner
		return &o, nil
	}
	name, err := ownerName(f.prot, c)
	if err != nil {
		return nil, err
	}
	switch {
	case tokens.nameTo > tokens.nameFrom:
		name = w.b.text(tokens.nameFrom, tokens.nameTo-1) + name
	case len(w.sc.rels) == 1:
	case asciiName(f.from.name):
		name = quoteName(f.from.name) + "." + name
	default:
		return nil, notPossible(f.prot, "the name of the table is not ASCII", "write the table's name before the column")
	}
	return w.readOwner(c, name), nil
}

// readOwner has the owner read with the old cells; name is the owner column's in the statement.
func (w *updateWriter) readOwner(c *Column, name string) *RowOwner {
	o := &RowOwner{Value: unknownValue}
	if c.Generated {
		return o
	}
	if o.Stored = OwnerText(c, name); o.Stored == "" {
		return o
	}
	for i, text := range w.owners {
		if text == o.Stored {
			o.Old = i + 1
			return o
		}
	}
	w.owners = append(w.owners, o.Stored)
	o.Old = len(w.owners)
	return o
}

// transfers finds out whether the UPDATE gives its rows to an owner that it names. One that it does not name is refused
// where the assignment is planned.
func (w *updateWriter) transfers(list []*ast.Assignment, tokens []assignment) error {
	if len(w.sc.rels) != 1 {
		return nil
	}
	for i, a := range list {
		f, err := w.sc.resolve(a.Column)
		if err != nil {
			return err
		}
		if f.prot != nil || f.from == nil || !owns(f.from.table, f.column) {
			continue
		}
		v, ok := w.b.wholeValue(tokens[i].valueFrom, tokens[i].valueTo)
		c := f.from.table.Column(f.column)
		if !ok || v.Kind == ValueDefault || w.newOwner != nil || c == nil || ownerType(c) == nil || !asciiName(c.Name) {
			w.newOwner = nil
			return nil
		}
		w.newOwner, w.ownerOf = written(c, v), c
	}
	return nil
}

// move plans what becomes of the cells that the UPDATE does not write when its rows get another owner: they are sealed anew.
// It comes before the assignments, so that it sees the rows as they were.
func (w *updateWriter) move(set int) error {
	if w.newOwner == nil {
		return nil
	}
	was := w.readOwner(w.ownerOf, quoteName(w.ownerOf.Name))
	var pieces []Piece
	for _, c := range w.sc.rels[0].table.Columns {
		p := c.Protected
		if p == nil || ownerColumn(w.sc.rels[0].table, p) != w.ownerOf || w.assigns(p) {
			continue
		}
		if err := sealableUnseen(p); err != nil {
			return err
		}
		if !asciiName(c.Name) {
			return notPossible(p, "the row gets another owner, and the name of this column is not ASCII", "assign the column too")
		}
		o := *w.newOwner
		o.Stored, o.Old = was.Stored, was.Old
		pieces = append(pieces,
			Piece{Kind: PieceText, Text: quoteName(c.Name) + " = "},
			Piece{Kind: PieceMove, Column: p, Left: quoteName(c.Name), Old: len(w.columns), Owner: &o},
			Piece{Kind: PieceText, Text: ", "})
		w.columns = append(w.columns, p)
		w.lefts = append(w.lefts, quoteName(c.Name))
	}
	if len(pieces) == 0 {
		return nil
	}
	return w.b.edit(set+1, set, pieces...)
}

func (w *updateWriter) assigns(p *Protected) bool {
	for _, c := range w.columns {
		if c == p {
			return true
		}
	}
	return false
}
