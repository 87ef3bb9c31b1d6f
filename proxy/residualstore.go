package proxy

import (
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strconv"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

const (
	// maxStoredRows and maxStoredBytes bound one statement that writes changed rows: each row of it looks through the keys of
	// all others. Where only one statement can be whole, for want of transactions, it has up to maxLooseRows.
	maxStoredRows  = 64
	maxLooseRows   = 1024
	maxStoredBytes = 1 << 20
	// storedAs is the name of the table in these statements.
	storedAs = "`lkw`"
	// storeHead goes in front of them: values are stored as they are or not at all, and points in time are in UTC.
	storeHead = "SET STATEMENT sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES',time_zone='+00:00'"
)

// errStored is for rows that are not there any more although they were locked, or are there otherwise.
var errStored = newFault(codeNotUnderstood, "the rows that the statement computed could not be found again to be written; nothing was changed; repeat the statement")

// errStoredPartly is errStored for a table that knows no transactions.
var errStoredPartly = newFault(codeNotUnderstood, "some rows that the statement computed were changed by others in the meantime and could not be written; look at the rows before you repeat it")

// errStoredIgnore is for what IGNORE would have left out if the backend had computed the statement.
var errStoredIgnore = newFault(codeNotPossible, "a row that the statement computed over protected columns breaks a key or a constraint, and IGNORE cannot leave it out; "+
	"nothing was changed; leave the row out")

// store writes the rows that the statement changed.
func (w *writeBack) store() error {
	if err := w.storable(); err != nil {
		return err
	}
	s := w.newStore()
	defer s.finish()
	if err := s.weigh(); err != nil {
		return err
	}
	if slices.ContainsFunc(w.targets, func(t *writtenTable) bool { return len(t.changed) > 0 }) {
		if err := w.mark(); err != nil {
			return err
		}
	}
	for _, t := range w.targets {
		if err := s.table(t); err != nil {
			return w.refused(err)
		}
	}
	if w.r.plan.Residual.Write.Insert == nil {
		return nil
	}
	if err := s.guard(w.targets[0]); err != nil {
		return err
	}
	if w.r.plan.Residual.Write.Returning {
		return w.refused(s.returning(w.targets[0]))
	}
	return w.refused(s.addRows(w.targets[0]))
}

// refused gives the error of a row that the backend did not take, behind the warnings about values.
func (w *writeBack) refused(err error) error {
	var e *backendError
	if w.r.plan.Ignore && errors.As(err, &e) {
		switch e.Code {
		case 1062, 1451, 1452, codeConstraint: // ER_DUP_ENTRY, ER_ROW_IS_REFERENCED_2, ER_NO_REFERENCED_ROW_2
			return errStoredIgnore
		}
	}
	if !errors.As(err, &e) || w.held.warnings.total == 0 {
		return err
	}
	f := &fault{code: e.Code, state: e.State, message: e.Message, about: w.held.warnings}
	f.about.add(diagnosis{level: levelError, code: e.Code, message: e.Message})
	return f
}

// storable refuses what could not be taken back when it fails in the middle.
func (w *writeBack) storable() error {
	written := 0
	for _, t := range w.targets {
		if len(t.changed) > 0 {
			written++
		}
		if len(t.added) > 0 {
			written++
		}
	}
	for _, t := range w.targets {
		if !t.load.Table.Transactional && len(t.changed) > 0 && written > 1 {
			return t.errNotOne()
		}
	}
	return nil
}

// errNotOne is for a table that knows no transactions and would have to be written by several statements.
func (t *writtenTable) errNotOne() *fault {
	return newFault(codeNotPossible, "%s: the table's engine knows no transactions, and the rows that the statement computes over protected columns "+
		"do not fit one statement; change fewer rows at a time, or use ENGINE=InnoDB", t.load.Table)
}

// rowStore writes changed rows.
type rowStore struct {
	w      *writeBack
	sealer *sealer
	cell   []byte
	// returned loads the new rows as the backend gives them back; nil unless the client wants them.
	returned *tableLoad
}

func (w *writeBack) newStore() *rowStore {
	return &rowStore{w: w, sealer: &sealer{keys: &w.r.x.keys, weights: w.r.x.scratch.weights}}
}

func (s *rowStore) finish() {
	x := s.w.r.x
	x.scratch.weights = s.sealer.weights
	s.sealer.forgetKnown()
	x.server.metrics.cellsSealed.Add(float64(s.sealer.sealed))
}

// weigh has the evaluator compute the sort weights that only it knows.
func (s *rowStore) weigh() error {
	s.sealer.gather = true
	defer s.sealer.forgetWanted()
	for _, t := range s.w.targets {
		if err := s.weighRows(t.plan.Columns, t.changed); err != nil {
			return err
		}
		if in := s.w.r.plan.Residual.Write.Insert; in != nil {
			if err := s.weighRows(in.Columns, t.added); err != nil {
				return err
			}
		}
	}
	s.sealer.gather = false
	for some := range slices.Chunk(s.sealer.wanted, maxWeighed) {
		if err := weighSome(s.w.r.x.ctx, s.w.r.conn, s.sealer, some); err != nil {
			return err
		}
	}
	return nil
}

// weighRows notes the values of rows whose weights are wanted.
func (s *rowStore) weighRows(columns []rewrite.WriteColumn, rows []changedRow) error {
	for _, row := range rows {
		for i, v := range row.values {
			column := columns[i].Protected
			if column == nil || !column.Search || !v.changed || v.null {
				continue
			}
			if _, err := s.sealer.weigh(column, v.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// storedRows is one statement in the making.
type storedRows struct {
	// cases has the alternatives of each column.
	cases []string
	where string
	rows  int
	size  int
}

// table writes the rows of one target.
func (s *rowStore) table(t *writtenTable) error {
	if len(t.plan.Columns) == 0 && !s.w.r.plan.Residual.Write.Delete {
		return nil
	}
	if len(t.changed) == 0 {
		// What the client may not write, it may not write where there is nothing to write either.
		return s.send(t, &storedRows{cases: make([]string, len(t.plan.Columns)), where: "FALSE LIMIT 1"})
	}
	limit, rows := maxStoredBytes, maxStoredRows
	if !t.load.Table.Transactional {
		rows = maxLooseRows
	}
	if packet := s.w.r.x.facts.maxPacket; packet > 0 {
		limit = min(limit, packet/2)
	}
	next := &storedRows{cases: make([]string, len(t.plan.Columns))}
	for _, row := range t.changed {
		one, err := s.row(t, &row)
		if err != nil {
			return err
		}
		if next.rows == rows || next.rows > 0 && next.size+one.size > limit {
			if !t.load.Table.Transactional {
				return t.errNotOne()
			}
			if err := s.send(t, next); err != nil {
				return err
			}
			next = &storedRows{cases: make([]string, len(t.plan.Columns))}
		}
		next.add(one)
	}
	return s.send(t, next)
}

// row renders one row.
func (s *rowStore) row(t *writtenTable, row *changedRow) (*storedRows, error) {
	one := &storedRows{cases: make([]string, len(t.plan.Columns)), rows: 1}
	for i, name := range t.plan.Key {
		if i > 0 {
			one.where += " AND "
		}
		if !s.w.r.plan.Residual.Write.Delete {
			one.where += storedAs + "."
		}
		one.where += quoteName(name) + "=" + row.key[i]
	}
	one.size = len(one.where) + len(" OR ()")
	for i, v := range row.values {
		if !v.changed {
			continue
		}
		value, err := s.value(t, &t.plan.Columns[i], &v, row.owner)
		if err != nil {
			return nil, err
		}
		one.cases[i] = " WHEN " + one.where + " THEN " + value
		one.size += len(one.cases[i])
	}
	return one, nil
}

// value renders the new value of a column.
func (s *rowStore) value(t *writtenTable, c *rewrite.WriteColumn, v *changedValue, owner rowOwner) (string, error) {
	switch {
	case v.null:
		return "NULL", nil
	case v.cell != nil:
		return "x'" + hex.EncodeToString(v.cell) + "'", nil
	case c.Protected == nil:
		literal, ok := plainLiteral(t.load.Table.Column(c.Name), v.value)
		if !ok {
			return "", errOrigin
		}
		return literal, nil
	}
	var err error
	if s.cell, err = s.sealer.seal(s.cell[:0], c.Protected, owner, v.value); err != nil {
		return "", err
	}
	return "x'" + hex.EncodeToString(s.cell) + "'", nil
}

// add puts a row behind the others.
func (n *storedRows) add(one *storedRows) {
	for i, c := range one.cases {
		n.cases[i] += c
	}
	if n.rows > 0 {
		n.where += " OR "
	}
	n.where += "(" + one.where + ")"
	n.rows += one.rows
	n.size += one.size
}

// text renders the statement. All columns that the client's statement assigns are assigned, so that its rights are those of
// the client's and ON UPDATE does not set one of them.
func (s *rowStore) text(t *writtenTable, n *storedRows) []byte {
	b := []byte(storeHead)
	r := s.w.r
	if r.plan.Residual.Clock {
		b = append(append(b, ",timestamp="...), r.mirror.now...)
	}
	name := quoteName(t.load.Table.Database) + "." + quoteName(t.load.Table.Name)
	if r.plan.Residual.Write.Delete {
		return append(b, " FOR DELETE FROM "+name+" WHERE "+n.where...)
	}
	b = append(b, " FOR UPDATE "+name+" AS "+storedAs+" SET "...)
	for i, c := range t.plan.Columns {
		if i > 0 {
			b = append(b, ',')
		}
		column := storedAs + "." + quoteName(c.Name)
		b = append(append(b, column...), '=')
		if n.cases[i] == "" {
			b = append(b, column...)
			continue
		}
		b = append(b, "CASE"...)
		b = append(append(append(b, n.cases[i]...), " ELSE "...), column...)
		b = append(b, " END"...)
	}
	return append(b, " WHERE "+n.where...)
}

// send runs the statement and holds the number of its rows against those that it was made for.
func (s *rowStore) send(t *writtenTable, n *storedRows) error {
	x := s.w.r.x
	if err := s.w.r.ctx.Err(); err != nil {
		return err // a KILL that came between two statements
	}
	text := s.text(t, n)
	if err := x.fits(len(text)); err != nil {
		return err
	}
	x.sealing = true
	ok, err := x.sideWrite(text)
	if err != nil || n.rows == 0 {
		return err
	}
	rows := ok.AffectedRows
	if !s.w.r.plan.Residual.Write.Delete {
		if rows, err = matchedRows(ok.Info); err != nil {
			return err
		}
	}
	if rows != uint64(n.rows) && !t.load.Table.Transactional {
		return errStoredPartly
	}
	if rows != uint64(n.rows) {
		return errStored
	}
	return nil
}

// updateCounts are the numbers in the text with which an UPDATE ends, whatever its language: Rows matched: 2  Changed: 1
// Warnings: 0.
var updateCounts = regexp.MustCompile(`^(\D*)(\d+)(\D+)(\d+)(\D+\d+\D*)$`)

// matchedRows reads how many rows an UPDATE found.
func matchedRows(info []byte) (uint64, error) {
	m := updateCounts.FindSubmatch(info)
	if m == nil {
		return 0, errStored
	}
	n, err := strconv.ParseUint(string(m[2]), 10, 64)
	if err != nil {
		return 0, errStored
	}
	return n, nil
}

// sideWrite runs a statement of the proxy's own that writes rows, and gives the OK packet.
func (x *executor) sideWrite(sql []byte) (ok wire.OK, err error) {
	if err := x.sendQuery(sql); err != nil {
		return ok, err
	}
	r := &x.sideReply
	r.Start(x.backend, nil, wire.ReplyQuery, x.caps)
	failed := error(errStored)
	for {
		event, err := r.Next()
		if err != nil {
			return ok, err
		}
		if event == wire.EventDone {
			if err := r.Close(); err != nil {
				return ok, err
			}
			return ok, failed
		}
		payload, err := r.Payload()
		if err != nil {
			return ok, err
		}
		switch event {
		case wire.EventOK:
			x.session.status = r.Status
			if ok, failed = wire.ParseOK(payload, x.caps); failed == nil {
				ok.Info, ok.Track = slices.Clone(ok.Info), nil
			}
		case wire.EventERR:
			e, err := wire.ParseERR(payload)
			if err != nil {
				return ok, err
			}
			failed = &backendError{ERR: scrubError(e)}
		case wire.EventInfile:
			if err := r.RefuseInfile(errPacket(errInfile)); err != nil {
				return ok, err
			}
		}
	}
}
