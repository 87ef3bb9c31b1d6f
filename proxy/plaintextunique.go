package proxy

import (
	"slices"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// A UNIQUE key over a column in the mixed state compares cells by their search tags, and cannot compare a cell with plaintext. So
// before a statement writes a value there, the rows whose plaintext equals it are sealed in place, and the key decides as ever:
// 1062, IGNORE, REPLACE and ON DUPLICATE KEY UPDATE are the backend's own. Since all that is written is sealed, plaintext only
// becomes less, and a read without locks sees all that can be equal.

// maxEqualTries bounds how often equal rows are looked for that were not there any more when they were to be locked.
const maxEqualTries = 5

// keyedValues are values that a statement writes to columns in UNIQUE keys that may hold plaintext, as their search tags.
type keyedValues []keyedColumn

type keyedColumn struct {
	column *rewrite.Protected
	tags   map[cell.Tag]bool
}

// add notes a value of column.
func (v *keyedValues) add(column *rewrite.Protected, tag cell.Tag) {
	if !column.PlaintextKeyed {
		return
	}
	i := slices.IndexFunc(*v, func(k keyedColumn) bool { return k.column == column })
	if i < 0 {
		i = len(*v)
		*v = append(*v, keyedColumn{column, make(map[cell.Tag]bool)})
	}
	(*v)[i].tags[tag] = true
}

// sealEqual seals the rows whose plaintext equals one of the values. found is false when there were none.
func (x *executor) sealEqual(snapshot *Snapshot, values keyedValues) (found bool, err error) {
	for _, k := range values {
		t := snapshot.Schema.Table(k.column.Database, k.column.Table)
		if t == nil {
			return false, errOrigin
		}
		table := rewrite.PlaintextOf(t, k.column)
		if table == nil {
			return false, errOrigin
		}
		some, err := x.sealEqualIn(table, &k)
		if err != nil {
			return false, err
		}
		found = found || some
	}
	return found, nil
}

func (x *executor) sealEqualIn(table *rewrite.PlaintextTable, k *keyedColumn) (found bool, err error) {
	for range maxEqualTries {
		// What a transaction reads may be older than what it locks: a row can have got another key since, or be gone.
		rows, err := x.equalRows(table, k, found)
		if err != nil || len(rows) == 0 {
			return found, err
		}
		found = true
		s := x.newPlaintextSealer(table)
		s.defaults = true
		err = s.all(rows)
		s.finish()
		if err != nil || s.found == len(rows) {
			return found, err
		}
	}
	return false, newFault(codeNotPossible, "%s: rows that hold a value of the statement as plaintext are changed by others all the time; repeat the statement", k.column)
}

// equalRows gives the keys of the rows whose plaintext equals one of the values. locked has them read as they are now.
func (x *executor) equalRows(table *rewrite.PlaintextTable, k *keyedColumn, locked bool) ([][][]byte, error) {
	most := x.env.maxRows()
	text := table.Select(k.column, most+1, locked)
	if err := x.fits(len(text)); err != nil {
		return nil, err
	}
	e := equalReader{k: k, table: table, most: most, opener: opener{keys: &x.keys, conv: &x.facts.conv}, sealer: sealer{keys: &x.keys, ask: x.weigh}}
	defer func() {
		e.opener.finish()
		x.count(&e.opener)
	}()
	err := x.afterFoundRows(func() error { return x.sendQuery([]byte(text)) }, func() error {
		return x.readSide(wire.ReplyQuery, nil, e.row)
	})
	return e.rows, err
}

// equalReader compares plaintext as it is read, and keeps none.
type equalReader struct {
	k      *keyedColumn
	table  *rewrite.PlaintextTable
	most   int
	opener opener
	sealer sealer
	read   int
	// rows are the keys of those that are equal.
	rows [][][]byte
}

// row compares one row: its value, and the values of its key.
func (e *equalReader) row(values [][]byte) error {
	if len(values) != 1+len(e.table.Key) || values[0] == nil {
		return errOrigin
	}
	if e.read++; e.read > e.most {
		return newFault(codeTooLarge, "%s: it is in a UNIQUE key, and more than %d rows hold plaintext, the limit of evaluator.max_rows, with which a new value would have to be compared; "+
			"convert the rows with `latchkey migrate`", e.k.column, e.most)
	}
	column := e.k.column
	canonical, ok, err := e.opener.plainOrDefault(column, values[0])
	if err != nil || !ok {
		return err
	}
	index, err := e.sealer.keys.sealIndex(column, nil)
	if err != nil {
		return err
	}
	tag, err := e.sealer.tag(column, index, canonical)
	e.sealer.forgetKnown()
	if err != nil || !e.k.tags[tag] {
		return err
	}
	if len(e.table.Key) == 0 || len(e.rows) == maxUnchanged {
		return newFault(codeNotPossible, "%s: a value of the statement is there already as plaintext, in a row that cannot be sealed on its own "+
			"(the table needs a primary key over columns that are not protected and no trigger on UPDATE); convert the rows with `latchkey migrate`", column)
	}
	key := make([][]byte, len(e.table.Key))
	for i, v := range values[1:] {
		key[i] = slices.Clone(v)
	}
	e.rows = append(e.rows, key)
	return nil
}

// plainOrDefault gives the canonical form of a value that carries no search tag: plaintext, or the declared default that an empty
// value means. The result is valid until the next call.
func (o *opener) plainOrDefault(column *rewrite.Protected, physical []byte) (canonical []byte, ok bool, err error) {
	if len(physical) == 0 && column.HasOnEmpty {
		return column.OnEmpty, column.OnEmpty != nil, nil
	}
	old, ok := plaintextOf(column, physical)
	if !ok {
		return nil, false, nil
	}
	canonical, err = o.canonicalOfPlaintext(column, old)
	return canonical, err == nil, err
}
