package proxy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// A cell of kind a was sealed to the public key of an owner who was away. It has no search tag, so a search by tag would not
// see it. Before a statement that searches, the cells of the unlocked owners are looked for by their prefix and key id, which
// is a range of the index that the search uses. What is found is sealed anew, with a tag, by compare-and-set. Cells that
// cannot be written now (another session has the row locked, the transaction reads an old snapshot or only reads) are opened,
// and those that hold the value searched for are named in the statement.

const (
	// resealRows is how many rows are sealed anew with one UPDATE, resealBytes how long its text gets at most.
	resealRows  = 64
	resealBytes = 1 << 20
	// resealWidth is the longest cell of a column that is not searched which is sealed anew along with the others.
	resealWidth = 64 << 10
	// maxAwayCells bounds how many rows with cells that could not be sealed anew a statement can name.
	maxAwayCells = 1024
)

// awayCell is a cell of kind a, and the search prefix that it would have if it were sealed under its owner's key.
type awayCell struct {
	prefix [cell.PrefixSize]byte
	bytes  []byte
}

// awayCells are the cells that searches in a column have to name.
type awayCells map[*rewrite.Protected][]awayCell

// awayRow is a row that holds a cell of kind a: its key, and its cells by column.
type awayRow struct{ key, cells [][]byte }

// id tells rows with their cells apart.
func (r *awayRow) id() string { return string(bytes.Join(slices.Concat(r.key, r.cells), []byte{0})) }

// errTooManyAway is for a search over more cells of kind a than a statement can name.
func errTooManyAway(column *rewrite.Protected) *fault {
	return newFault(codeNotPossible, "%s: more than %d rows were written while their owner was away, and they cannot be sealed anew here; "+
		"repeat the statement outside of a transaction, on a connection that may UPDATE the table", column, maxAwayCells)
}

// errAwayDiagnostics is for a search that asks for what looking for cells of kind a changes.
var errAwayDiagnostics = newFault(codeNotPossible, "FOUND_ROWS(), ROW_COUNT() and the number of warnings cannot be asked for in a search over a table with "+
	"away: accept; ask for them in a statement of their own, before")

// settle seals anew what absent owners' cells the unlocked owners have in the tables that a statement searches, and returns
// those that it has to name instead.
func (x *executor) settle(st *rewrite.Statement, plan *rewrite.Plan) (awayCells, error) {
	if len(plan.Away) == 0 || x.keys.ring.Len() == 0 {
		return nil, nil
	}
	for _, word := range []string{"FOUND_ROWS", "ROW_COUNT"} {
		if namesWord(st, word) {
			return nil, errAwayDiagnostics
		}
	}
	if text := bytes.ToLower(st.SQL()); bytes.Contains(text, []byte("warning_count")) || bytes.Contains(text, []byte("error_count")) {
		return nil, errAwayDiagnostics
	}
	left := make(awayCells)
	for _, table := range plan.Away {
		s := settler{x: x, table: table, locks: plan.AwayLocks && x.inTransaction(), left: left, columns: make(map[*rewrite.Protected]*openColumn)}
		s.opener.keys, s.opener.conv = &x.keys, &x.facts.conv
		s.sealer = sealer{keys: &x.keys, weights: x.scratch.weights, ask: x.weigh}
		err := s.settle()
		s.opener.finish()
		s.sealer.forgetKnown()
		for _, c := range s.columns {
			c.wipeAway()
		}
		x.server.metrics.cellsSealed.Add(float64(s.sealer.sealed))
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// inTransaction tells whether what is sent now is part of a transaction of the client's.
func (x *executor) inTransaction() bool {
	return x.session.status.Has(wire.StatusInTransaction) || !x.session.status.Has(wire.StatusAutocommit)
}

// settler looks after the cells of kind a in one table for one statement.
type settler struct {
	x     *executor
	table *rewrite.AwayTable
	// locks says that the statement reads what is committed now, inside a transaction.
	locks  bool
	left   awayCells
	opener opener
	sealer sealer
	// columns keep what opens the cells.
	columns map[*rewrite.Protected]*openColumn
	text    []byte
}

func (s *settler) settle() error {
	tried := make(map[string]bool)
	for {
		rows, err := s.read(s.table.Columns, resealRows)
		if err != nil || len(rows) == 0 {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r awayRow) bool { return tried[r.id()] })
		if len(rows) == 0 || !s.mayWrite() {
			return s.name()
		}
		for i := range rows {
			tried[rows[i].id()] = true
		}
		done, err := s.reseal(rows)
		if err != nil {
			return err
		}
		if !done {
			return s.name()
		}
	}
}

// mayWrite tells whether the table may be written to now, without an effect that the client would see.
func (s *settler) mayWrite() bool {
	return !s.table.Fixed && (len(s.table.Key) > 0 || !s.x.inTransaction()) && !s.x.session.status.Has(wire.StatusReadOnly)
}

// read reads rows that hold cells of kind a in a searched column, under keys that are here: their keys, and the cells of
// columns.
func (s *settler) read(columns []*rewrite.Protected, limit int) ([]awayRow, error) {
	if !s.appendSelect(columns, limit) {
		return nil, nil
	}
	var rows []awayRow
	n := len(s.table.Key)
	err := s.query(func(values [][]byte) error {
		if len(values) != n+len(columns) {
			return errOrigin
		}
		r := awayRow{key: make([][]byte, n), cells: make([][]byte, len(columns))}
		for i, v := range values[:n] {
			r.key[i] = bytes.Clone(v)
		}
		for i, v := range values[n:] {
			r.cells[i] = bytes.Clone(v)
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// query runs the query that is in s.text, as a client does not notice it.
func (s *settler) query(row func(values [][]byte) error) error {
	if err := s.x.fits(len(s.text)); err != nil {
		return err
	}
	return s.x.afterFoundRows(func() error { return s.x.sendQuery(s.text) }, func() error {
		return s.x.readSide(wire.ReplyQuery, nil, row)
	})
}

// appendSelect writes the query of read. It returns false when no row can be found.
func (s *settler) appendSelect(columns []*rewrite.Protected, limit int) bool {
	owners, all := s.owners()
	if all && len(owners) == 0 {
		return false
	}
	var items []string
	for _, k := range s.table.Key {
		items = append(items, k.Text)
	}
	for _, c := range columns {
		name := quoteName(c.Column)
		if !slices.Contains(s.table.Searched, c) {
			name = "IF(LENGTH(" + name + ")<=" + strconv.Itoa(resealWidth) + "," + name + ",NULL)"
		}
		items = append(items, name)
	}
	s.text = append(s.text[:0], "SELECT "+strings.Join(items, ",")+" FROM "+s.table.Name+" WHERE ("...)
	first := true
	for _, c := range s.table.Searched {
		for _, id := range s.x.keys.ids(c) {
			if !first {
				s.text = append(s.text, " OR "...)
			}
			first = false
			low, high := awayRange(id)
			s.text = append(append(s.text, quoteName(c.Column)...), ">="...)
			s.text = appendHex(s.text, low[:])
			s.text = append(append(append(s.text, " AND "...), quoteName(c.Column)...), '<')
			s.text = appendHex(s.text, high[:])
		}
	}
	s.text = append(s.text, ')')
	if all {
		s.text = append(append(append(s.text, " AND "...), s.table.Owner.Name...), " IN ("...)
		s.text = append(append(s.text, strings.Join(owners, ",")...), ')')
	}
	s.text = strconv.AppendInt(append(s.text, " LIMIT "...), int64(limit), 10)
	if s.locks {
		s.text = append(s.text, " FOR UPDATE"...)
	}
	return true
}

// owners gives the unlocked owners as literals of the owner column; all is false when it is not known of every key whose it
// is, or the column's values are not to be written down.
func (s *settler) owners() (owners []string, all bool) {
	names := s.x.keys.names()
	if len(names) < s.x.keys.ring.Len() || s.table.Owner.Text == "" {
		return nil, false
	}
	for _, o := range names {
		if text, ok := literalOf(&s.table.Owner, []byte(o.name)); ok && !slices.Contains(owners, text) {
			owners = append(owners, text)
		}
	}
	return owners, true
}

// literalOf writes a value of a plain column as a literal; false when the column cannot hold it.
func literalOf(c *rewrite.AwayColumn, value []byte) (string, bool) {
	switch {
	case c.Integer:
		if _, err := strconv.ParseInt(string(value), 10, 64); err != nil {
			if _, err := strconv.ParseUint(string(value), 10, 64); err != nil {
				return "", false
			}
		}
		return string(value), true
	case c.Binary:
		return string(appendHex(nil, value)), true
	}
	return "_utf8mb4 " + string(appendHex(nil, value)), true
}

// awayRange is where the cells of kind a under a user key lie: behind the prefix come suite, flags and epoch, which user keys
// have no others of, and the key id.
func awayRange(id cell.KeyID) (low, high [cell.PrefixSize - 4]byte) {
	copy(low[:], []byte{0xFF, 'L', 'K', byte(cell.KindAway), cell.SuiteHPKE})
	copy(low[8:], id[:])
	high = low
	for i := len(high) - 1; ; i-- {
		if high[i]++; high[i] != 0 {
			return low, high
		}
	}
}

func appendHex(dst, b []byte) []byte {
	dst = hex.AppendEncode(append(dst, "x'"...), b)
	return append(dst, '\'')
}

// open opens a cell of kind a: its value, valid until the next call, and the user key on the keyring that it belongs to. user
// is nil when the cell is of another kind, or its key is not here.
func (s *settler) open(column *rewrite.Protected, b []byte) (canonical []byte, user *keystore.UserKey, err error) {
	if _, plain := plaintextOf(column, b); plain || len(b) == 0 {
		return nil, nil, nil
	}
	h, err := cell.Parse(b)
	if err != nil {
		return nil, nil, errBadCell(column)
	}
	if h.Kind != cell.KindAway {
		return nil, nil, nil
	}
	for _, k := range s.x.keys.ring.Keys() {
		if slices.Contains(k.IDs(), h.KeyID) {
			user = k
			break
		}
	}
	if user == nil {
		return nil, nil, nil
	}
	c := s.columns[column]
	if c == nil {
		c = &openColumn{column: column}
		s.columns[column] = c
	}
	canonical, _, err = s.opener.canonicalOf(c, b)
	return canonical, user, err
}

// name notes the cells that are left, for the statement to name.
func (s *settler) name() error {
	rows, err := s.read(s.table.Searched, maxAwayCells+1)
	if err != nil {
		return err
	}
	if len(rows) > maxAwayCells {
		return errTooManyAway(s.table.Searched[0])
	}
	for _, r := range rows {
		for i, c := range s.table.Searched {
			canonical, user, err := s.open(c, r.cells[i])
			if err != nil {
				return err
			}
			if user == nil {
				continue
			}
			index, err := user.IndexKey(tagRule(c))
			if err != nil {
				return keyFault(c, err)
			}
			tag, err := s.sealer.tag(c, index, canonical)
			if err != nil {
				return err
			}
			prefix, _ := cell.PrefixRange(tag)
			s.left[c] = append(s.left[c], awayCell{prefix, r.cells[i]})
		}
	}
	return nil
}

// reseal seals the cells of rows anew. done is false when that cannot be done here.
func (s *settler) reseal(rows []awayRow) (done bool, err error) {
	if s.x.inTransaction() && !s.locks {
		if rows, err = s.lock(rows); err != nil || len(rows) == 0 {
			return false, s.passes(err)
		}
	}
	for len(rows) > 0 {
		n, err := s.appendUpdate(rows)
		if err != nil {
			return false, err
		}
		if n == 0 {
			return false, nil // one row is longer than a packet may be
		}
		if err := s.x.sideExec(s.text); err != nil {
			return false, s.passes(err)
		}
		rows = rows[n:]
	}
	return true, nil
}

// passes gives the errors that end the client's statement too: those of the connection, and those by which the transaction is
// rolled back. Without others the cells simply stay as they are.
func (s *settler) passes(err error) error {
	var backend *backendError
	if !errors.As(err, &backend) {
		return err
	}
	switch backend.Code {
	case backendLockWait, backendDeadlock, backendChanged:
		if s.x.inTransaction() {
			return err
		}
	}
	return nil
}

// Errors that may end a transaction. https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	backendChanged  uint16 = 1020 // ER_CHECKREAD
	backendLockWait uint16 = 1205 // ER_LOCK_WAIT_TIMEOUT
	backendDeadlock uint16 = 1213 // ER_LOCK_DEADLOCK
)

// lock locks rows inside a transaction and leaves out those that another session has locked, so that nothing waits.
func (s *settler) lock(rows []awayRow) ([]awayRow, error) {
	var items []string
	for _, k := range s.table.Key {
		items = append(items, k.Text)
	}
	s.text = append(s.text[:0], "SELECT "+strings.Join(items, ",")+" FROM "+s.table.Name+" WHERE "...)
	s.appendRows(rows)
	s.text = append(s.text, " FOR UPDATE SKIP LOCKED"...)
	locked := make(map[string]bool)
	err := s.query(func(values [][]byte) error {
		locked[string(bytes.Join(values, []byte{0}))] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r awayRow) bool { return !locked[string(bytes.Join(r.key, []byte{0}))] }), nil
}

// appendRows writes the condition that finds rows: by their key, or by their cells where there is none.
func (s *settler) appendRows(rows []awayRow) {
	for i, r := range rows {
		if i > 0 {
			s.text = append(s.text, " OR "...)
		}
		if len(s.table.Key) == 0 {
			s.appendCells(r)
			continue
		}
		for k := range s.table.Key {
			if k > 0 {
				s.text = append(s.text, " AND "...)
			}
			literal, ok := literalOf(&s.table.Key[k], r.key[k])
			if !ok {
				literal = "NULL"
			}
			s.text = append(append(append(s.text, s.table.Key[k].Name...), '='), literal...)
		}
	}
}

func (s *settler) appendCells(r awayRow) {
	first := true
	for i, c := range s.table.Columns {
		if _, plain := plaintextOf(c, r.cells[i]); plain || !slices.Contains(s.table.Searched, c) || len(r.cells[i]) == 0 {
			continue
		}
		if !first {
			s.text = append(s.text, " OR "...)
		}
		first = false
		s.text = append(append(s.text, quoteName(c.Column)...), '=')
		s.text = appendHex(s.text, r.cells[i])
	}
}

// appendUpdate writes the UPDATE that seals the first n rows anew. A cell that is another one by now stays.
func (s *settler) appendUpdate(rows []awayRow) (n int, err error) {
	limit := resealBytes
	if s.x.facts.maxPacket > 0 {
		limit = min(limit, s.x.facts.maxPacket-1)
	}
	for n = len(rows); n > 0; n /= 2 {
		if err := s.appendSets(rows[:n]); err != nil {
			return 0, err
		}
		if len(s.text) <= limit || n == 1 && s.x.fits(len(s.text)) == nil {
			return n, nil
		}
	}
	return 0, nil
}

func (s *settler) appendSets(rows []awayRow) error {
	s.text = s.text[:0]
	if !s.x.inTransaction() {
		s.text = append(s.text, "SET STATEMENT innodb_lock_wait_timeout=0 FOR "...)
	}
	s.text = append(append(append(s.text, "UPDATE "...), s.table.Name...), " SET "...)
	for i, c := range s.table.Columns {
		if i > 0 {
			s.text = append(s.text, ',')
		}
		name := quoteName(c.Column)
		s.text = append(s.text, name+"=CASE WHEN 1=0 THEN NULL"...)
		for _, r := range rows {
			canonical, user, err := s.open(c, r.cells[i])
			if err != nil {
				return err
			}
			if user == nil {
				continue
			}
			fresh, err := s.sealer.sealTo(nil, c, &sealTarget{user: user}, canonical)
			if err != nil {
				return err
			}
			s.text = append(append(append(s.text, " WHEN "...), name...), '=')
			s.text = appendHex(s.text, r.cells[i])
			s.text = appendHex(append(s.text, " THEN "...), fresh)
		}
		s.text = append(s.text, " ELSE "+name+" END"...)
	}
	for _, name := range s.table.Kept {
		s.text = append(s.text, ","+name+"="+name...)
	}
	s.text = append(s.text, " WHERE "...)
	s.appendRows(rows)
	return nil
}

// awayTerms renders, behind the ranges of a search for one value, the cells of kind a that hold it.
func (r *renderer) awayTerms(p *rewrite.Piece, ranges []prefixRange, terms *int) {
	for _, a := range r.away[p.Column] {
		if !slices.ContainsFunc(ranges, func(bounds prefixRange) bool { return bounds.low == a.prefix }) {
			continue
		}
		r.or(terms)
		r.out = append(append(append(r.out, '('), p.Left...), '=')
		r.literal(a.bytes)
		if p.NullSafe {
			r.out = append(append(append(r.out, " AND "...), p.Left...), " IS NOT NULL"...)
		}
		r.out = append(r.out, ')')
	}
}

// errDynamicAway is for SQL-level prepared statements that search where cells of absent owners may be: what is to be named
// changes from one execution to the next.
var errDynamicAway = newFault(codeNotPossible, "SQL-level PREPARE with parameters cannot search a table with away: accept; "+
	"use the prepared statements of the client's protocol")
