package proxy

import (
	"bytes"
	"slices"
	"strconv"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// A statement that overwrites cells reads them first, locked, on the same backend connection: a cell whose key is not here
// is never overwritten, and a value that does not change keeps its bytes, so that affected rows and timestamps come out as
// on plaintext.

const (
	// maxBeforeRows and maxBeforeBytes bound the old cells of how many rows of an INSERT are read with one query.
	maxBeforeRows  = 256
	maxBeforeBytes = 1 << 20
	// foundRowsNow reads what the query of old cells behind it changes.
	foundRowsNow = "SELECT FOUND_ROWS(),ROW_COUNT()"
)

// readBefore reads the old cells of a statement sent as text. r is the statement's renderer; its output is overwritten. With
// gather nothing is read, unless it tells under which keys there will be cells.
func (x *executor) readBefore(r *renderer, gather bool) (oldCells, error) {
	b := before{x: x, r: r, run: x.runBefore, gather: gather}
	if gather && r.plan.Before.Owners == 0 {
		b.run = readNothing
	}
	return b.read()
}

// readNothing stands for a query of old cells that is only rendered.
func readNothing(*renderer, func([][]byte) error) error { return nil }

// before reads the old cells of one statement.
type before struct {
	x *executor
	r *renderer
	// run runs the query that is in r.
	run    func(r *renderer, row func(values [][]byte) error) error
	opener opener
	old    oldCells
	// fresh has the canonical form of the value that UPDATE or ON DUPLICATE KEY UPDATE assigns to each column, nil when it is
	// not known or differs from row to row.
	fresh [][]byte
	// sources has, for each column that an UPDATE copies another column to, 1 + that one's place among the sources.
	sources []int
	// changes has the old cells of copied-over columns that do not stay.
	changes [][][]byte
	owners  ownerRows
	// gather says that nothing is sealed yet, see sealer. plaintext are the keys of rows in which plaintext is what the statement writes.
	gather    bool
	plaintext [][][]byte
	// key are the values of the key of the row at hand.
	key [][]byte
}

// read reads the old cells. Plaintext that is what the statement writes is sealed in between.
func (b *before) read() (oldCells, error) {
	old, err := b.readOnce()
	if err != nil || len(b.plaintext) == 0 || b.gather {
		return old, err
	}
	done, err := b.x.sealPlaintext(b.r.plan.Before.Plaintext, b.plaintext)
	if err != nil || !done {
		return old, err
	}
	*b = before{x: b.x, r: b.r, run: b.run}
	return b.readOnce()
}

func (b *before) readOnce() (oldCells, error) {
	plan := b.r.plan.Before
	b.opener.keys, b.opener.conv = &b.x.keys, &b.x.facts.conv
	defer func() {
		b.opener.finish()
		b.x.count(&b.opener)
	}()
	defer func() {
		for _, f := range b.fresh {
			clear(f)
		}
	}()
	b.r.nested = true
	defer func() { b.r.nested, b.r.at = false, nowhere }()
	if len(plan.Selects) == 1 && plan.Selects[0].Row < 0 && plan.Selects[0].New == nil {
		err := b.update(&plan.Selects[0])
		return b.old, err
	}
	b.old.splice = make(map[int][]byte)
	err := b.insert(plan)
	return b.old, err
}

// update reads the old cells of an UPDATE.
func (b *before) update(s *rewrite.BeforeSelect) error {
	columns := b.r.plan.Before.Columns
	b.old.keep = make([][][]byte, len(columns))
	b.fresh = make([][]byte, len(columns))
	b.sources = make([]int, len(columns))
	b.changes = make([][][]byte, len(columns))
	b.old.moved = make([][]movedCell, len(columns))
	if err := b.assigned(); err != nil {
		return err
	}
	b.restart()
	if err := b.r.pieces(s.Pieces); err != nil {
		return err
	}
	err := b.run(b.r, func(values [][]byte) error {
		b.old.rows++
		plan := b.r.plan.Before
		returned := len(columns) + len(plan.Sources)
		owners := returned + len(plan.Returned)
		keys := owners + plan.Owners
		if len(values) != keys+plan.Plaintext.KeyColumns() {
			return errOrigin
		}
		b.key, values = values[keys:], values[:keys]
		if err := b.returned(values[returned:owners]); err != nil {
			return err
		}
		b.sawOwners(values[owners:])
		for i := range columns {
			if err := b.updateCell(i, values, values[owners:]); err != nil {
				return err
			}
		}
		return nil
	})
	b.dropAmbiguous()
	return err
}

// returned opens the cells that the statement will give to the client, so that one that does not open is an error before
// anything is deleted.
func (b *before) returned(values [][]byte) error {
	for i, v := range values {
		if v == nil {
			continue
		}
		c := openColumn{column: b.r.plan.Before.Returned[i]}
		_, err := b.opener.value(&c, v)
		c.wipeAway()
		clear(b.opener.values)
		b.opener.values = b.opener.values[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// updateCell checks the old cell of column i of one row that an UPDATE selects; owners are those of the row.
func (b *before) updateCell(i int, values, owners [][]byte) error {
	plan := b.r.plan.Before
	owner := b.owners.row(i, owners)
	if b.owners.moves[i] {
		return b.moveCell(i, values[i], owner)
	}
	fresh, old := b.fresh[i], values[i]
	n := b.sources[i]
	if n > 0 {
		var err error
		if fresh, err = b.copied(plan.Sources[n-1], values[len(plan.Columns)+n-1]); err != nil {
			return err
		}
		defer clear(fresh)
	}
	same, err := b.check(plan.Columns[i], old, fresh, owner)
	switch {
	case err != nil:
		return err
	case same:
		b.old.keep[i] = append(b.old.keep[i], bytes.Clone(old))
	case n > 0:
		b.changes[i] = append(b.changes[i], bytes.Clone(old))
	}
	return nil
}

// dropAmbiguous gives up keeping a cell that another row holds too, as a copy, and gets another value there.
func (b *before) dropAmbiguous() {
	for i, changes := range b.changes {
		if len(changes) == 0 || len(b.old.keep[i]) == 0 {
			continue
		}
		changing := make(map[string]bool, len(changes))
		for _, c := range changes {
			changing[string(c)] = true
		}
		b.old.keep[i] = slices.DeleteFunc(b.old.keep[i], func(c []byte) bool { return changing[string(c)] })
	}
}

// copied gives the canonical form of a cell that is copied over another; nil when its key is not here, since a cell can be
// copied unopened.
func (b *before) copied(column *rewrite.Protected, source []byte) ([]byte, error) {
	if len(source) == 0 {
		return nil, nil
	}
	h, err := cell.Parse(source)
	if err != nil {
		return nil, errBadCell(column)
	}
	c := openColumn{column: column}
	defer c.wipeAway()
	if here, err := b.opener.find(&c, h); err != nil || !here {
		return nil, err
	}
	canonical, null, err := b.opener.canonicalOf(&c, source)
	if err != nil || null {
		return nil, err
	}
	return bytes.Clone(canonical), nil
}

// assigned finds the value that the UPDATE assigns to each column, or the column that it copies.
func (b *before) assigned() error {
	if err := b.owners.plan(b.r); err != nil {
		return err
	}
	for i := range b.r.plan.Edits {
		pieces := b.r.plan.Edits[i].Pieces
		for k := range pieces {
			p := &pieces[k]
			if p.Kind == rewrite.PieceAssign && p.Source > 0 && p.Source <= len(b.r.plan.Before.Sources) && p.Old >= 0 && p.Old < len(b.sources) {
				b.sources[p.Old] = p.Source
				continue
			}
			if p.Kind != rewrite.PieceAssign || p.Old < 0 || p.Old >= len(b.fresh) || p.NewText != "" || len(p.Values) != 1 {
				continue
			}
			var err error
			if b.fresh[p.Old], err = b.canonical(p.Column, &p.Values[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// canonical gives the canonical form of a value of the current row; nil for NULL and DEFAULT.
func (b *before) canonical(column *rewrite.Protected, value *rewrite.Value) ([]byte, error) {
	token := b.r.real(value.Token)
	if done, ok := b.r.conversion.value(token); ok {
		return bytes.Clone(done.canonical), nil
	}
	op, err := b.r.vals.operand(value, token)
	if err != nil {
		return nil, b.r.unconverted(column, err)
	}
	if op.null && nullIsNow(column) {
		return nil, b.r.unconverted(column, logical.ErrNotPlain)
	}
	if op.null && b.r.plan.RefuseNull && !column.Nullable && !b.r.refusesNull() {
		canonical, _ := column.Type.ImplicitDefault()
		return canonical, nil
	}
	if op.null || op.dflt || op.implicit {
		return nil, nil
	}
	canonical, err := column.Type.Canonical([]byte{}, op.in, b.r.conv)
	if err != nil {
		return nil, b.r.unconverted(column, err)
	}
	return canonical, nil
}

// restart empties the renderer's output.
func (b *before) restart() { b.r.out, b.r.binds = b.r.out[:0], b.r.binds[:0] }

// beforeRow is a row of an INSERT whose old cells are being read.
type beforeRow struct {
	at  instance
	sel *rewrite.BeforeSelect
}

// insert reads the old cells of the rows that an INSERT ... ON DUPLICATE KEY UPDATE or REPLACE may overwrite.
func (b *before) insert(plan *rewrite.Before) error {
	var batch []beforeRow
	b.old.keep = make([][][]byte, len(plan.Columns))
	b.fresh = make([][]byte, len(plan.Columns))
	if err := b.assigned(); err != nil {
		return err
	}
	b.restart()
	for i := range plan.Selects {
		sel := &plan.Selects[i]
		for _, at := range b.rowsLike(sel) {
			if err := b.appendSelect(sel, at, len(batch)); err != nil {
				return err
			}
			batch = append(batch, beforeRow{at, sel})
			if len(batch) < maxBeforeRows && len(b.r.out) < maxBeforeBytes {
				continue
			}
			if err := b.readRows(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return b.readRows(batch)
}

// rowsLike gives the rows of the statement that sel stands for.
func (b *before) rowsLike(sel *rewrite.BeforeSelect) []instance {
	if sel.Row < 0 {
		return []instance{nowhere}
	}
	st := b.r.st
	row := st.Real(sel.Row)
	group := st.GroupOf(row)
	if group < 0 {
		return []instance{nowhere}
	}
	g := st.Groups()[group]
	var rows []instance
	for k := range st.Elements(g) {
		first, _, like := st.Element(g, k)
		known, last, _ := st.Element(g, like)
		if row >= known && row <= last {
			rows = append(rows, instance{group: group, shift: first - known})
		}
	}
	return rows
}

// appendSelect renders the SELECT for one row, numbered.
func (b *before) appendSelect(sel *rewrite.BeforeSelect, at instance, number int) error {
	const verb = "SELECT "
	r := b.r
	r.at = at
	if number > 0 {
		r.out = append(r.out, " UNION ALL "...)
	}
	if len(sel.Pieces) == 0 || sel.Pieces[0].Kind != rewrite.PieceText || len(sel.Pieces[0].Text) < len(verb) || sel.Pieces[0].Text[:len(verb)] != verb {
		return errOperand
	}
	r.out = append(append(r.out, '('), verb...)
	r.out = append(strconv.AppendInt(r.out, int64(number), 10), ',')
	r.out = append(r.out, sel.Pieces[0].Text[len(verb):]...)
	if err := r.pieces(sel.Pieces[1:]); err != nil {
		return err
	}
	r.out = append(r.out, ')')
	return nil
}

// readRows runs the query for the rows of batch and notes which of their values keep the old cell.
func (b *before) readRows(batch []beforeRow) error {
	if len(batch) == 0 {
		return nil
	}
	columns := b.r.plan.Before.Columns
	defer b.restart()
	return b.run(b.r, func(values [][]byte) error {
		b.old.rows++
		keys := 1 + len(columns) + b.r.plan.Before.Owners
		if len(values) != keys+b.r.plan.Before.Plaintext.KeyColumns() {
			return errOrigin
		}
		b.key, values = values[keys:], values[:keys]
		number, ok := rowNumber(values[0])
		if !ok || number >= len(batch) {
			return errOrigin
		}
		b.r.at = batch[number].at
		owners := values[1+len(columns):]
		b.sawOwners(owners)
		return b.checkRow(batch[number].sel, columns, values[1:], owners)
	})
}

// rowNumber reads the number of a row, as text or as an integer of the binary protocol.
func rowNumber(v []byte) (int, bool) {
	if len(v) > 0 && v[0] >= '0' && v[0] <= '9' && !isBinaryInt(v) {
		n, err := strconv.Atoi(string(v))
		return n, err == nil
	}
	if len(v) != 4 && len(v) != 8 {
		return 0, false
	}
	n := 0
	for i := min(len(v), 4) - 1; i >= 0; i-- {
		n = n<<8 | int(v[i])
	}
	return n, true
}

// isBinaryInt tells an integer of the binary protocol from digits: batches are so small that its upper bytes are zero.
func isBinaryInt(v []byte) bool { return (len(v) == 4 || len(v) == 8) && v[len(v)-1] == 0 }

// checkRow checks the old cells of one existing row against the row of the statement at r.at.
func (b *before) checkRow(sel *rewrite.BeforeSelect, columns []*rewrite.Protected, cells, owners [][]byte) error {
	var there rowOwner
	if len(owners) > 0 {
		there = storedOwner(owners[0])
	}
	inserted, err := b.r.owner(sel.Owner)
	if err != nil {
		return err
	}
	for i, column := range columns {
		if i >= len(sel.New) || i >= len(sel.Given) || !sel.Given[i] {
			// Every row that is there gets the value that ON DUPLICATE KEY UPDATE assigns.
			same, err := b.check(column, cells[i], b.fresh[i], there)
			if err != nil {
				return err
			}
			if same {
				b.old.keep[i] = append(b.old.keep[i], bytes.Clone(cells[i]))
			}
			continue
		}
		fresh, err := b.canonical(column, &sel.New[i])
		if err != nil {
			return err
		}
		same, err := b.check(column, cells[i], fresh, inserted)
		if err == nil && fresh != nil && b.r.plan.Kind != "REPLACE" {
			err = b.meets(column, there, inserted)
		}
		clear(fresh)
		if err != nil {
			return err
		}
		if same {
			b.old.splice[b.r.real(sel.New[i].Token)] = bytes.Clone(cells[i])
		}
	}
	return nil
}

// check decides about one old cell: an error when it may not be overwritten, same when it holds the fresh value under the key
// of owner, whose the row will be.
func (b *before) check(column *rewrite.Protected, old, fresh []byte, owner rowOwner) (same bool, err error) {
	if old == nil {
		return false, nil
	}
	if plain, ok := plaintextOf(column, old); ok {
		return false, b.checkPlaintext(column, plain, fresh)
	}
	if len(old) == 0 {
		return fresh != nil && column.HasOnEmpty && column.OnEmpty != nil && bytes.Equal(fresh, column.OnEmpty), nil
	}
	h, err := cell.Parse(old)
	if err != nil {
		if column.OverwriteAllow {
			return false, nil
		}
		return false, errBadCell(column)
	}
	c := openColumn{column: column}
	defer c.wipeAway()
	here, err := b.opener.find(&c, h)
	switch {
	case err != nil:
		return false, err
	case !here && column.OverwriteAllow:
		return false, nil
	case !here && column.ServiceKey == "" && b.x.keys.ring.Len() == 0:
		return false, b.x.keys.noKey(column)
	case !here:
		return false, errOverwrite(column)
	case fresh == nil:
		return false, nil
	}
	canonical, null, err := b.opener.canonicalOf(&c, old)
	if err != nil {
		return false, err
	}
	if null || !bytes.Equal(canonical, fresh) {
		return false, nil
	}
	return b.staysWith(column, old, owner)
}

// checkPlaintext decides about old plaintext, which may be written over whoever writes. It notes a row that does not change.
func (b *before) checkPlaintext(column *rewrite.Protected, plain, fresh []byte) error {
	canonical, err := b.opener.canonicalOfPlaintext(column, plain)
	switch {
	case err != nil && column.OverwriteAllow:
		return nil
	case err != nil || fresh == nil || !bytes.Equal(canonical, fresh):
		return err
	}
	return b.notUnchanged(column, b.key)
}

// runBefore runs the query of old cells that is in r.
func (x *executor) runBefore(r *renderer, row func(values [][]byte) error) error {
	if err := x.fits(len(r.out)); err != nil {
		return err
	}
	return x.afterFoundRows(func() error {
		return x.sendQuery(r.out)
	}, func() error {
		return x.readSide(wire.ReplyQuery, nil, row)
	})
}

// afterFoundRows sends a request that changes FOUND_ROWS() and reads its reply. What FOUND_ROWS() was is asked for in the
// same write unless it is known.
func (x *executor) afterFoundRows(send, read func() error) error {
	ask := !x.diagnostics.saved
	if ask {
		request := append([]byte{byte(wire.ComQuery)}, foundRowsNow...)
		x.backend.Seq = 0
		if err := x.backend.Packet(request); err != nil {
			return err
		}
	}
	if err := send(); err != nil {
		return err
	}
	if ask {
		err := x.readSide(wire.ReplyQuery, nil, func(values [][]byte) error {
			if len(values) != 2 {
				return errOrigin
			}
			x.diagnostics.disturbed(values[0], values[1])
			return nil
		})
		if err != nil {
			if fatal(err) {
				return err
			}
			// The second reply is on its way.
			if err := read(); fatal(err) {
				return err
			}
			return err
		}
	}
	return read()
}
