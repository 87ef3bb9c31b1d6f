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
	// maxStoredRows and maxStoredBytes bound one statement that writes changed rows. maxScannedRows is for tables whose key is not
	// one integer: each row of the statement looks through the keys of all others. Where only one statement can be whole, for
	// want of transactions, it has up to maxLooseRows.
	maxStoredRows  = 512
	maxScannedRows = 64
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
	// cell and statement are the last ones; their memory is used again.
	cell, statement []byte
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

// table writes the rows of one target.
func (s *rowStore) table(t *writtenTable) error {
	if len(t.plan.Columns) == 0 && !s.w.r.plan.Residual.Write.Delete {
		return nil
	}
	n := newStoredRows(t, s.w.r.plan.Residual.Write.Delete)
	limit, rows := maxStoredBytes, maxStoredRows
	switch {
	case !t.load.Table.Transactional:
		rows = maxLooseRows
	case !n.ordered:
		rows = maxScannedRows
	}
	if packet := s.w.r.x.facts.maxPacket; packet > 0 {
		limit = min(limit, packet/2)
	}
	for i := range t.changed {
		row := &t.changed[i]
		before := len(n.text)
		if err := s.row(n, row); err != nil {
			return err
		}
		if len(n.rows) <= rows && (len(n.rows) == 1 || n.size <= limit) {
			continue
		}
		if !t.load.Table.Transactional {
			return t.errNotOne()
		}
		n.drop(before)
		if err := s.send(t, n); err != nil {
			return err
		}
		n.reset()
		if err := s.row(n, row); err != nil {
			return err
		}
	}
	// Without a row it is sent too: what the client may not write, it may not write where there is nothing to write either.
	return s.send(t, n)
}

// row renders one row.
func (s *rowStore) row(n *storedRows, row *changedRow) error {
	for i := range row.values {
		start := len(n.text)
		if v := &row.values[i]; v.changed {
			var err error
			if n.text, err = s.value(n.text, n.t, &n.t.plan.Columns[i], v, row.owner); err != nil {
				return err
			}
		}
		n.spans = append(n.spans, [2]int{start, len(n.text)})
	}
	n.add(row)
	return nil
}

// value appends the new value of a column.
func (s *rowStore) value(dst []byte, t *writtenTable, c *rewrite.WriteColumn, v *changedValue, owner rowOwner) (out []byte, err error) {
	switch {
	case v.null:
		return append(dst, "NULL"...), nil
	case v.cell != nil:
		return append(hex.AppendEncode(append(dst, "x'"...), v.cell), '\''), nil
	case c.Protected == nil:
		literal, ok := plainLiteral(t.load.Table.Column(c.Name), v.value)
		if !ok {
			return dst, errOrigin
		}
		return append(dst, literal...), nil
	}
	if s.cell, err = s.sealer.seal(s.cell[:0], c.Protected, owner, v.value); err != nil {
		return dst, err
	}
	return append(hex.AppendEncode(append(dst, "x'"...), s.cell), '\''), nil
}

// text renders the statement. All columns that the client's statement assigns are assigned, so that its rights are those of
// the client's and ON UPDATE does not set one of them.
func (s *rowStore) text(t *writtenTable, n *storedRows) []byte {
	b := append(s.statement[:0], storeHead...)
	r := s.w.r
	if r.plan.Residual.Clock {
		b = append(append(b, ",timestamp="...), r.mirror.now...)
	}
	name := quoteName(t.load.Table.Database) + "." + quoteName(t.load.Table.Name)
	if r.plan.Residual.Write.Delete {
		b = append(b, " FOR DELETE FROM "+name+" WHERE "...)
	} else {
		b = append(b, " FOR UPDATE "+name+" AS "+storedAs+" SET "...)
		for i, c := range t.plan.Columns {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, storedAs+"."...), quoteName(c.Name)...), '=')
			b = n.appendValue(b, i)
		}
		b = append(b, " WHERE "...)
	}
	s.statement = n.appendCondition(b)
	return s.statement
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
	if err != nil || len(n.rows) == 0 {
		return err
	}
	rows := ok.AffectedRows
	if !s.w.r.plan.Residual.Write.Delete {
		if rows, err = matchedRows(ok.Info); err != nil {
			return err
		}
	}
	if rows != uint64(len(n.rows)) && !t.load.Table.Transactional {
		return errStoredPartly
	}
	if rows != uint64(len(n.rows)) {
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
