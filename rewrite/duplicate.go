package rewrite

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// onDuplicate plans what happens to rows that are there already: ON DUPLICATE KEY UPDATE, and REPLACE.
func (in *inserter) onDuplicate() error {
	var columns []*Protected
	given := map[*Protected]bool{}
	if len(in.s.OnDuplicate) > 0 {
		var err error
		if columns, given, err = in.duplicateAssignments(); err != nil {
			return err
		}
	} else if in.s.IsReplace {
		for _, c := range in.table.Columns {
			if c.Protected != nil {
				columns = append(columns, c.Protected)
				given[c.Protected] = true
			}
		}
	}
	if len(columns) == 0 || in.s.Select != nil {
		return nil
	}
	return in.before(columns, given)
}

// duplicateAssignments plans the list of ON DUPLICATE KEY UPDATE. given says for which columns it writes VALUES(col).
func (in *inserter) duplicateAssignments() ([]*Protected, map[*Protected]bool, error) {
	b := in.b
	i := in.duplicate
	if i < 0 || !b.st.Is(i+1, KwDuplicate) || !b.st.Is(i+2, KwKey) || !b.st.Is(i+3, KwUpdate) {
		return nil, nil, notUnderstood("ON DUPLICATE KEY UPDATE is not where it is expected", "")
	}
	list, _, err := b.assignments(i+4, func(i int) bool { return b.st.Is(i, KwReturning) })
	if err != nil {
		return nil, nil, err
	}
	if len(list) != len(in.s.OnDuplicate) {
		return nil, nil, notUnderstood("the assignments are not those that were read", "")
	}
	var columns []*Protected
	given := map[*Protected]bool{}
	for k, a := range in.s.OnDuplicate {
		if !b.matchesTree(list[k], a.Column) {
			return nil, nil, notUnderstood("the assignments are not those that were read", "")
		}
		p, values, err := in.duplicateAssign(a, list[k], len(columns))
		if err != nil {
			return nil, nil, err
		}
		if p == nil {
			continue
		}
		for _, seen := range columns {
			if seen == p {
				return nil, nil, notPossible(p, "it is assigned twice", "")
			}
		}
		columns = append(columns, p)
		given[p] = values
	}
	return columns, given, nil
}

// duplicateAssign plans one assignment; it gives nil for one that writes no sealed column, and whether it writes
// VALUES(col) of its own column.
func (in *inserter) duplicateAssign(a *ast.Assignment, tokens assignment, old int) (*Protected, bool, error) {
	b := in.b
	c := in.table.Column(a.Column.Name.O)
	if c == nil {
		return nil, false, notUnderstood("a column of ON DUPLICATE KEY UPDATE is not known", "")
	}
	p := c.Protected
	if p == nil {
		if owns(in.table, c.Name) && in.s.Select == nil {
			if x, ok := unparen(a.Expr).(*ast.ValuesExpr); ok && in.table.Column(x.Column.Name.Name.O) == c {
				return nil, false, in.sameOwner(c, tokens)
			}
		}
		if err := plainAssignment(in.table, c.Name, false); err != nil {
			return nil, false, err
		}
		return nil, false, b.walk(a.Expr, in.updateScope)
	}
	if in.s.Select != nil {
		return nil, false, in.selectedAssign(p, a.Expr)
	}
	if err := sealable(p); err != nil {
		return nil, false, err
	}
	piece := Piece{Kind: PieceAssign, Column: p, Left: b.text(tokens.nameFrom, tokens.nameTo), Old: old}
	var err error
	if piece.Owner, err = in.storedOwner(p); err != nil {
		return nil, false, err
	}
	values := false
	switch x := unparen(a.Expr).(type) {
	case *ast.ValuesExpr:
		source := in.table.Column(x.Column.Name.Name.O)
		if source == nil || source.Protected == nil || source.Protected != p && !source.Protected.SameContext(p) {
			return nil, false, notPossible(p, "VALUES() of another column as the new value", "")
		}
		piece.NewText = b.text(tokens.valueFrom, tokens.valueTo)
		values = source == c
		if !values {
			if err := copyable(in.table, p); err != nil {
				return nil, false, err
			}
			piece.Old = -1
		}
	case *ast.ColumnNameExpr:
		if f, err := in.sc.resolve(x.Name); err == nil && f.prot == p {
			return nil, false, nil
		}
		return nil, false, notPossible(p, "another column as the new value", "write a literal or VALUES(col)")
	default:
		v, ok := b.wholeValue(tokens.valueFrom, tokens.valueTo)
		if !ok {
			return nil, false, notPossible(p, "an expression as the new value", "write a literal or VALUES(col)")
		}
		piece.Values = []Value{v}
	}
	in.writes(p)
	return p, values, b.edit(tokens.valueFrom, tokens.valueTo, piece)
}

// selectedAssign judges an assignment to a sealed column where the rows are those of a SELECT: it may leave the cell as it is.
// Which rows are there already, and so which values stay as they are, shows only when the SELECT has run; a new cell for an
// unchanged value would count as a change.
func (in *inserter) selectedAssign(p *Protected, e ast.ExprNode) error {
	if x, ok := unparen(e).(*ast.ColumnNameExpr); ok && x.Name.Table.O != "" {
		// Without its table's name the column could be one of the SELECT.
		if f, err := in.sc.resolve(x.Name); err == nil && f.prot == p {
			return nil
		}
	}
	return notPossible(p, "ON DUPLICATE KEY UPDATE after a SELECT assigns it", "read the values and write them with INSERT ... VALUES")
}

// before plans the reading of the rows that the new ones collide with: by every unique key whose columns have known
// values.
func (in *inserter) before(columns []*Protected, given map[*Protected]bool) error {
	var keys []*Index
	for _, x := range in.table.Indexes {
		if x.Unique {
			keys = append(keys, x)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	before := &Before{Columns: columns, Plaintext: plaintextTable(in.table, columns)}
	owner := ""
	for _, p := range columns {
		o, err := in.storedOwner(p)
		if err != nil {
			return err
		}
		if o != nil {
			owner = o.Stored
		}
	}
	if owner != "" {
		before.Owners = 1
	}
	for _, r := range in.rows {
		sel, err := in.rowSelect(r, keys, columns, given, owner, before.Plaintext.keyTexts())
		if err != nil && in.firstProtected() == nil {
			// Every cell may be overwritten: nothing has to be read, only bytes of unchanged values are not kept.
			return nil
		}
		if err != nil {
			return err
		}
		if sel == nil {
			continue
		}
		before.Selects = append(before.Selects, *sel)
	}
	if len(before.Selects) > 0 {
		in.b.plan.Before = before
	}
	return nil
}

// rowSelect plans the SELECT for one row; nil when the row can collide with none. owner is SQL for the owner of the row that is
// there, empty when it is not read; key is SQL for the values of its key, which are read at the end.
func (in *inserter) rowSelect(r insertRow, keys []*Index, columns []*Protected, given map[*Protected]bool, owner string, key []string) (*BeforeSelect, error) {
	b := in.b
	var conditions [][]Piece
	for _, key := range keys {
		c, err := in.keyCondition(r, key, columns[0])
		if err != nil {
			return nil, err
		}
		if c != nil {
			conditions = append(conditions, c)
		}
	}
	if len(conditions) == 0 {
		return nil, nil
	}
	names := make([]string, len(columns))
	sel := &BeforeSelect{Row: r.open, New: make([]Value, len(columns)), Given: make([]bool, len(columns))}
	for i, p := range columns {
		if o := in.owner(p, r); o != nil {
			sel.Owner = o
		}
		names[i] = quoteName(p.Column)
		sel.New[i] = Value{Kind: ValueDefault, Token: -1}
		if k := in.position(in.table.Column(p.Column)); k >= 0 && k < len(r.spans) && given[p] {
			if v, ok := b.wholeValue(r.spans[k][0], r.spans[k][1]); ok && v.Kind != ValueDefault {
				sel.New[i], sel.Given[i] = v, true
			}
		}
	}
	if owner != "" {
		names = append(names, owner)
	}
	names = append(names, key...)
	sel.Pieces = []Piece{
		{Kind: PieceText, Text: "SELECT " + strings.Join(names, ",") + " FROM "},
		{Kind: PieceSource, From: in.tableFrom, To: in.tableEnd},
		{Kind: PieceText, Text: " WHERE "},
	}
	for i, c := range conditions {
		if i > 0 {
			sel.Pieces = append(sel.Pieces, Piece{Kind: PieceText, Text: " OR "})
		}
		sel.Pieces = append(sel.Pieces, c...)
	}
	sel.Pieces = append(sel.Pieces, Piece{Kind: PieceText, Text: " FOR UPDATE"})
	return sel, nil
}

// keyCondition renders "the unique key equals the row's values"; nil when the key cannot collide: an AUTO_INCREMENT that
// is left out, or a sealed column without search tag, of which no two cells are alike.
func (in *inserter) keyCondition(r insertRow, key *Index, p *Protected) ([]Piece, error) {
	pieces := []Piece{{Kind: PieceText, Text: "("}}
	for i, part := range key.Parts {
		c := in.table.Column(part.Column)
		if c == nil || c.Generated || (part.Prefix > 0 && c.Protected == nil) {
			return nil, notPossible(p, "the row that the statement would overwrite cannot be found by unique key "+key.Name,
				"set overwrite: allow, or update the row by its primary key")
		}
		k := in.position(c)
		if len(r.spans) == 0 {
			k = -1
		}
		if k < 0 && c.AutoIncrement {
			return nil, nil
		}
		if i > 0 {
			pieces = append(pieces, Piece{Kind: PieceText, Text: " AND "})
		}
		if c.Protected != nil {
			piece, err := in.sealedPart(r, k, c)
			if err != nil || piece == nil {
				return nil, err
			}
			pieces = append(pieces, *piece)
			continue
		}
		if k < 0 && !c.HasDefault {
			// Left out without a default: NULL, which collides with nothing, or an error of the backend's own.
			if in.s.IsReplace && !c.Nullable && !in.b.strict(in.table) {
				return nil, notPossible(p, "unique column "+c.Name+" is left out and has no default", "give a value, or use a strict sql_mode")
			}
			return nil, nil
		}
		plain, err := in.plainPart(r, k, c, p)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, plain...)
	}
	return append(pieces, Piece{Kind: PieceText, Text: ")"}), nil
}

// sealedPart is the condition over a sealed column in a unique key; nil when it cannot collide.
func (in *inserter) sealedPart(r insertRow, k int, c *Column) (*Piece, error) {
	if !c.Protected.Search {
		return nil, nil
	}
	if k < 0 {
		return nil, notPossible(c.Protected, "a unique column is left to its default", "give a value")
	}
	v, ok := in.b.wholeValue(r.spans[k][0], r.spans[k][1])
	if !ok || v.Kind == ValueDefault {
		return nil, notPossible(c.Protected, "a unique column is left to its default", "give a value")
	}
	if v.Kind == ValueNull {
		return nil, nil
	}
	return &Piece{Kind: PieceRange, Column: c.Protected, Left: quoteName(c.Name), Values: []Value{v}}, nil
}

// plainPart is the condition over a plain column in a unique key: its value must be the same when it is read twice.
func (in *inserter) plainPart(r insertRow, k int, c *Column, p *Protected) ([]Piece, error) {
	name := quoteName(c.Name)
	if k < 0 || in.b.st.Is(r.spans[k][0], KwDefault) {
		return []Piece{{Kind: PieceText, Text: name + "=DEFAULT(" + name + ")"}}, nil
	}
	span := r.spans[k]
	v, ok := in.b.wholeValue(span[0], span[1])
	if !ok || v.Kind == ValueDefault {
		return nil, notPossible(p, "the row that the statement would overwrite is found by an expression",
			"compute the key's value in the application, or set overwrite: allow")
	}
	if !in.s.IsReplace {
		// ON DUPLICATE KEY UPDATE has a guard of its own over each cell that it overwrites.
		return []Piece{{Kind: PieceText, Text: name + "="}, {Kind: PieceSource, From: span[0], To: span[1]}}, nil
	}
	pieces, ok := in.asStored(c, v, span[0], span[1])
	if !ok {
		return nil, notPossible(p, "what is stored for a value of unique column "+c.Name+" is not certain, and with it which row the statement would overwrite",
			"use a strict sql_mode, set overwrite: allow, or update the row by its primary key")
	}
	return pieces, nil
}
