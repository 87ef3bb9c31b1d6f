package proxy

import (
	"bytes"
	"slices"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// A statement that writes a value which its row has already, as plaintext, changes nothing on plaintext: the row counts as
// unchanged, and its ON UPDATE columns stay. So that it does here too, and the value is sealed all the same, what the row holds
// is sealed before the statement runs, which then finds cells that keep their bytes. The plaintext itself stands in no statement.

// maxUnchanged bounds how many rows of a statement are sealed first.
const maxUnchanged = 1 << 16

// errUnchanged is for a value that is there already as plaintext, in a row that cannot be sealed on its own.
func errUnchanged(column *rewrite.Protected) *fault {
	return newFault(codeNotPossible, "%s: the value to be written is there already as plaintext, and the row cannot be sealed without being counted as changed "+
		"(the table needs a primary key over columns that are not protected and no trigger on UPDATE, the statement one table and up to %d such rows); "+
		"convert the rows with `latchkey migrate`", column, maxUnchanged)
}

// notUnchanged notes a row in which plaintext is what the statement writes. key are the values of its key.
func (b *before) notUnchanged(column *rewrite.Protected, key [][]byte) error {
	if len(key) == 0 || len(b.plaintext) == maxUnchanged {
		return errUnchanged(column)
	}
	row := make([][]byte, len(key))
	for i, v := range key {
		row[i] = bytes.Clone(v)
	}
	if n := len(b.plaintext); n == 0 || !slices.EqualFunc(b.plaintext[n-1], row, bytes.Equal) {
		b.plaintext = append(b.plaintext, row)
	}
	return nil
}

// plaintextSealer seals the plaintext of rows in place, by their key.
type plaintextSealer struct {
	x      *executor
	table  *rewrite.PlaintextTable
	opener opener
	sealer sealer
	text   []byte
	// defaults has declared defaults sealed too that an empty value stands for.
	defaults bool
	// sealed counts values, found rows.
	sealed, found int
}

func (x *executor) newPlaintextSealer(table *rewrite.PlaintextTable) *plaintextSealer {
	s := &plaintextSealer{x: x, table: table}
	s.opener = opener{keys: &x.keys, conv: &x.facts.conv}
	s.sealer = sealer{keys: &x.keys, ask: x.weigh}
	return s
}

func (s *plaintextSealer) finish() {
	s.opener.finish()
	s.sealer.forgetKnown()
	s.x.server.metrics.cellsSealed.Add(float64(s.sealer.sealed))
}

// sealPlaintext seals what the rows hold in the columns of table, for the owners of the rows. What belongs to an owner who is not
// here stays as it is. done is false when nothing was sealed.
func (x *executor) sealPlaintext(table *rewrite.PlaintextTable, rows [][][]byte) (done bool, err error) {
	s := x.newPlaintextSealer(table)
	defer s.finish()
	err = s.all(rows)
	return err == nil && s.sealed > 0, err
}

// all seals the rows with these keys.
func (s *plaintextSealer) all(rows [][][]byte) error {
	for some := range slices.Chunk(rows, resealRows) {
		if err := s.seal(some); err != nil {
			return err
		}
	}
	return nil
}

// seal seals a few rows. They are locked first, so that nobody writes them between.
func (s *plaintextSealer) seal(rows [][][]byte) error {
	own := !s.x.inTransaction() && !s.x.tablesLocked
	if own {
		if err := s.x.sideExec([]byte("START TRANSACTION")); err != nil {
			return err
		}
	}
	err := s.sealLocked(rows)
	if !own || fatal(err) {
		return err
	}
	end := "COMMIT AND NO CHAIN NO RELEASE"
	if err != nil {
		end = "ROLLBACK AND NO CHAIN NO RELEASE"
	}
	if endErr := s.x.sideExec([]byte(end)); err == nil || fatal(endErr) {
		err = endErr
	}
	return err
}

func (s *plaintextSealer) sealLocked(rows [][][]byte) error {
	found, err := s.read(rows)
	s.found += len(found)
	if err != nil || len(found) == 0 {
		return err
	}
	cases := make([]string, len(s.table.Columns))
	var where []string
	for i := range found {
		condition, changes, err := s.row(&found[i], cases)
		if err != nil {
			return err
		}
		if changes {
			where = append(where, condition)
		}
	}
	if len(where) == 0 {
		return nil
	}
	s.text = append(s.text[:0], "UPDATE "+s.table.Name+" SET "...)
	for i, c := range s.table.Columns {
		if i > 0 {
			s.text = append(s.text, ',')
		}
		name := quoteName(c.Column)
		s.text = append(s.text, name+"=CASE WHEN 1=0 THEN NULL"+cases[i]+" ELSE "+name+" END"...)
	}
	for _, name := range s.table.Kept {
		s.text = append(s.text, ","+name+"="+name...)
	}
	s.text = append(s.text, " WHERE "+strings.Join(where, " OR ")...)
	if err := s.x.fits(len(s.text)); err != nil {
		return err
	}
	s.x.sealing = true
	return s.x.sideExec(s.text)
}

// plaintextRow is a row as it is now: its key, its owner and its values by column.
type plaintextRow struct {
	key, values [][]byte
	owner       rowOwner
}

// read reads and locks rows by their key.
func (s *plaintextSealer) read(rows [][][]byte) ([]plaintextRow, error) {
	var list, where []string
	for _, k := range s.table.Key {
		list = append(list, k.Text)
	}
	for _, c := range s.table.Columns {
		list = append(list, quoteName(c.Column))
	}
	if s.table.Owner != "" {
		list = append(list, s.table.Owner)
	}
	for _, key := range rows {
		where = append(where, s.where(key))
	}
	s.text = append(s.text[:0], "SELECT "+strings.Join(list, ",")+" FROM "+s.table.Name+" WHERE "+strings.Join(where, " OR ")+" FOR UPDATE"...)
	if err := s.x.fits(len(s.text)); err != nil {
		return nil, err
	}
	n, columns := len(s.table.Key), len(s.table.Columns)
	var found []plaintextRow
	err := s.x.afterFoundRows(func() error { return s.x.sendQuery(s.text) }, func() error {
		return s.x.readSide(wire.ReplyQuery, nil, func(values [][]byte) error {
			if len(values) != len(list) {
				return errOrigin
			}
			r := plaintextRow{}
			for i, v := range values {
				switch v = bytes.Clone(v); {
				case i < n:
					r.key = append(r.key, v)
				case i < n+columns:
					r.values = append(r.values, v)
				default:
					r.owner = storedOwner(v)
				}
			}
			found = append(found, r)
			return nil
		})
	})
	return found, err
}

// where is the condition that finds a row.
func (s *plaintextSealer) where(key [][]byte) string {
	var parts []string
	for i := range s.table.Key {
		literal, ok := "", false
		if i < len(key) {
			literal, ok = literalOf(&s.table.Key[i], key[i])
		}
		if !ok {
			literal = "NULL"
		}
		parts = append(parts, s.table.Key[i].Name+"="+literal)
	}
	return "(" + strings.Join(parts, " AND ") + ")"
}

// row adds the cells of one row to the alternatives of each column.
func (s *plaintextSealer) row(r *plaintextRow, cases []string) (condition string, changes bool, err error) {
	condition = s.where(r.key)
	for i, column := range s.table.Columns {
		if r.values[i] == nil || len(r.values[i]) == 0 && column.HasOnEmpty && !s.defaults || !s.mine(column, r.owner) {
			continue
		}
		canonical, ok, err := s.opener.plainOrDefault(column, r.values[i])
		if err != nil {
			return "", false, err
		}
		if !ok {
			continue
		}
		cell, err := s.sealer.seal(nil, column, r.owner, canonical)
		if err != nil {
			return "", false, err
		}
		cases[i] += " WHEN " + condition + " THEN " + string(appendHex(nil, cell))
		changes = true
		s.sealed++
	}
	clearAll(r.values)
	return condition, changes, nil
}

// mine tells whether what is sealed in a row of owner can be opened again here.
func (s *plaintextSealer) mine(column *rewrite.Protected, owner rowOwner) bool {
	if column.ServiceKey != "" {
		return true
	}
	t, err := s.x.keys.target(column, owner)
	return err == nil && t.user != nil
}

func clearAll(values [][]byte) {
	for _, v := range values {
		clear(v)
	}
}
