package proxy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// An INSERT or REPLACE whose values are computed runs in the evaluator first, over a table like its own. What came to be there
// is sealed and written by one statement of the same kind, to which the backend applies keys, defaults and AUTO_INCREMENT: its
// numbers are the answer's, beside the evaluator's warnings.

// maxInserted is about how long one statement with new rows may become, in bytes.
const maxInserted = 8 << 20

// alone tells whether the statement needs no transaction around it, because it reads nothing and writes with one statement.
func (w *writeBack) alone() bool {
	in := w.r.plan.Residual.Write.Insert
	if in == nil || in.Duplicate || len(in.Guarded) > 0 || w.r.plan.Residual.Write.Returning {
		return false
	}
	for i := range w.r.plan.Residual.Loads {
		if len(w.r.plan.Residual.Loads[i].Fetch) > 0 {
			return false
		}
	}
	return true
}

// duplicate carries out ON DUPLICATE KEY UPDATE up to the point where the rows are known. The statement first runs for the values of
// its rows alone; the rows that are there under one of their keys are locked and loaded, and then it runs again over these.
func (w *writeBack) duplicate() error {
	for _, step := range []func() error{w.compute, w.readRows, w.collide, w.compute, w.readChanges, w.readRows} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// collide puts the rows that are there under a key of a new row in the place of the new rows.
func (w *writeBack) collide() error {
	r, t := w.r, w.targets[0]
	s := w.newStore()
	defer s.finish()
	if err := s.weigh(); err != nil {
		return err
	}
	name := quoteName(t.load.Table.Database) + "." + quoteName(t.load.Table.Name)
	definition, err := rewrite.EvaluatorInto(t.load.Table, t.plan, t.number, true)
	if err != nil {
		return err
	}
	for _, stmt := range []string{loadMode + r.mirror.thread, "DROP TEMPORARY TABLE " + name, "CREATE TEMPORARY TABLE " + name + " " + definition + w.countFrom(t)} {
		if _, err := r.conn.Exec(r.ctx, stmt); err != nil {
			return r.inside(err)
		}
	}
	if err := s.loadMet(t); err != nil {
		return err
	}
	w.forget()
	if err := w.copyLoaded(); err != nil {
		return err
	}
	if err := r.mirror.applyZone(r.ctx, r.conn); err != nil {
		return err
	}
	return r.mirror.apply(r.ctx, r.conn)
}

// forget drops what the statement has come to so far.
func (w *writeBack) forget() {
	w.wipe()
	w.held, w.bytes, w.targets[0].added = heldReply{}, 0, nil
}

// loadMet loads the rows that are there under a key of a new row, each once. Points in time are in UTC on both sides.
func (s *rowStore) loadMet(t *writtenTable) error {
	r := s.w.r
	load, err := r.newLoad(t.load, t)
	if err != nil {
		return err
	}
	defer load.finish()
	list := load.exactly()
	seen := make(map[string]bool)
	err = s.met(t, strings.Join(list, ","), func(_ int, values [][]byte) error {
		if len(values) != len(list) {
			return errOrigin
		}
		key := ""
		for i, c := range t.load.Columns {
			if counter := r.plan.Residual.Write.Insert.Counter; counter != "" && c.Name == counter {
				s.w.countBehind(values[i])
			}
			if slices.Contains(t.plan.Key, c.Name) {
				key += strconv.Itoa(len(values[i])) + ":" + string(values[i])
			}
		}
		if seen[key] {
			return nil
		}
		seen[key] = true
		return load.row(values)
	})
	if err != nil {
		load.into.Abort()
		return err
	}
	if err := r.inside(load.into.Close()); err != nil {
		return err
	}
	if r.spent.locked > 0 {
		return r.lockedRows()
	}
	return nil
}

// exactly makes a load one of text without loss, with points in time in UTC, and gives the list of what is selected for it.
func (t *tableLoad) exactly() []string {
	t.binary, t.conv.TimeZone = false, time.UTC
	list := make([]string, len(t.load.Columns))
	for i, c := range t.load.Columns {
		list[i] = quoteName(c.Name)
		if column := t.load.Table.Column(c.Name); c.Protected == nil && column != nil && plainKindOf(column) == plainFloat {
			list[i] += "+0e0" // its text has fewer digits
		}
	}
	t.defined = make([]columnKind, len(list))
	return list
}

// countFrom makes the evaluator count new rows from a number that none of the statement's own has.
func (w *writeBack) countFrom(t *writtenTable) (option string) {
	in := w.r.plan.Residual.Write.Insert
	if in.Counter == "" {
		return ""
	}
	w.countedFrom = 1
	if at := columnAt(in.Columns, in.Counter); at >= 0 {
		for i := range t.added {
			w.countBehind(t.added[i].values[at].value)
		}
	}
	return " AUTO_INCREMENT=" + strconv.FormatUint(w.countedFrom, 10)
}

// countBehind notes a number that the evaluator will not count.
func (w *writeBack) countBehind(value []byte) {
	if n, err := strconv.ParseUint(string(value), 10, 64); err == nil && n < math.MaxUint64 {
		w.countedFrom = max(w.countedFrom, n+1)
	}
}

// isCounted tells whether a number is one that the evaluator has counted: the backend will count another.
func (w *writeBack) isCounted(value []byte) bool {
	n, err := strconv.ParseUint(string(value), 10, 64)
	return err == nil && w.countedFrom > 0 && n >= w.countedFrom
}

// inTransaction tells whether what has been written can still be taken back.
func (w *writeBack) inTransaction() bool {
	status := w.r.x.session.status
	return w.own || status.Has(wire.StatusInTransaction) || !status.Has(wire.StatusAutocommit)
}

// readRows reads the rows that the statement has added in the evaluator.
func (w *writeBack) readRows() error {
	r, t, in := w.r, w.targets[0], w.r.plan.Residual.Write.Insert
	if _, err := r.conn.Exec(r.ctx, plainSession); err != nil {
		return r.inside(err)
	}
	list := []string{t.ownerText("n")}
	for _, c := range in.Columns {
		value, err := t.readBack("n", c.Name)
		if err != nil {
			return err
		}
		list = append(list, value)
	}
	number := "n." + quoteName(t.number)
	query := "SELECT " + strings.Join(list, ",") + " FROM " + quoteName(t.load.Table.Database) + "." + quoteName(t.load.Table.Name) +
		" AS n WHERE " + number + " NOT BETWEEN 1 AND " + strconv.Itoa(t.loaded) + " ORDER BY " + number
	err := r.conn.Each(r.ctx, query, func(values [][]byte) error { return w.addedRow(t, in, values) })
	return r.inside(err)
}

// addedRow takes one row of the query.
func (w *writeBack) addedRow(t *writtenTable, in *rewrite.ResidualInsert, values [][]byte) error {
	if len(values) != 1+len(in.Columns) {
		return errOrigin
	}
	row := changedRow{owner: t.ownerOf(values[0])}
	if t.plan.Owner == in.Counter && in.Counter != "" && (row.owner.null || row.owner.name == "0") {
		row.owner = rowOwner{} // whom the backend will count
	}
	for i := range in.Columns {
		v, err := w.changedValue(&in.Columns[i], []byte("1"), values[1+i])
		if err != nil {
			return err
		}
		if in.Columns[i].Name == in.Counter && w.isCounted(v.value) {
			v.null, v.value = true, nil
		}
		row.values = append(row.values, v)
	}
	t.added = append(t.added, row)
	return nil
}

// guard locks the rows that a REPLACE will delete, and refuses if one holds a cell under a key that is not here. A value that is
// there already keeps the bytes of its cell: MariaDB counts a row that does not change once.
func (s *rowStore) guard(t *writtenTable) error {
	in := s.w.r.plan.Residual.Write.Insert
	if in == nil || len(in.Guarded) == 0 {
		return nil
	}
	var list []string
	for _, column := range in.Guarded {
		list = append(list, quoteName(column.Column))
	}
	x := s.w.r.x
	b := &before{x: x, opener: opener{keys: &x.keys, conv: &x.facts.conv}}
	defer b.opener.finish()
	return s.met(t, strings.Join(list, ","), func(row int, values [][]byte) error {
		if len(values) != len(in.Guarded) {
			return errOrigin
		}
		for i, old := range values {
			if err := s.guardCell(b, in, in.Guarded[i], &t.added[row], old); err != nil {
				return err
			}
		}
		return nil
	})
}

// guardCell judges one cell that a REPLACE will delete.
func (s *rowStore) guardCell(b *before, in *rewrite.ResidualInsert, column *rewrite.Protected, row *changedRow, old []byte) error {
	at := columnAt(in.Columns, column.Column)
	var fresh []byte
	if at >= 0 && !row.values[at].null {
		fresh = row.values[at].value
	}
	same, err := b.check(column, old, fresh, row.owner)
	if same && at >= 0 {
		row.values[at].cell = slices.Clone(old)
	}
	return err
}

// met reads the rows that are there already under a unique key of a new row, locked, and calls row with the place of the new one.
func (s *rowStore) met(t *writtenTable, list string, row func(i int, values [][]byte) error) error {
	for _, key := range s.w.r.plan.Residual.Write.Insert.Keys {
		var selects []string
		for i := range t.added {
			condition, err := s.meets(t, key, &t.added[i])
			if err != nil {
				return err
			}
			if condition != "" {
				selects = append(selects, "(SELECT "+strconv.Itoa(i)+","+list+" FROM "+quoteName(t.load.Table.Database)+"."+quoteName(t.load.Table.Name)+
					" WHERE "+condition+" FOR UPDATE)")
			}
		}
		for some := range slices.Chunk(selects, maxScannedRows) {
			head := storeHead + ",character_set_results=utf8mb4,sql_select_limit=" + strconv.FormatUint(math.MaxUint64, 10) + " FOR "
			if err := s.metSome(t, head+strings.Join(some, " UNION ALL "), row); err != nil {
				return err
			}
		}
	}
	return nil
}

// metSome runs one query of met.
func (s *rowStore) metSome(t *writtenTable, query string, row func(i int, values [][]byte) error) error {
	x := s.w.r.x
	if err := x.fits(len(query)); err != nil {
		return err
	}
	x.sealing = true
	return x.side([]byte(query), nil, func(values [][]byte) error {
		if len(values) == 0 {
			return errOrigin
		}
		i, err := strconv.Atoi(string(values[0]))
		if err != nil || i < 0 || i >= len(t.added) {
			return errOrigin
		}
		return row(i, values[1:])
	})
}

// meets gives the condition for the row that a new one meets under a key; empty when there can be none.
func (s *rowStore) meets(t *writtenTable, key *rewrite.Index, row *changedRow) (string, error) {
	var parts []string
	for _, part := range key.Parts {
		column := t.load.Table.Column(part.Column)
		if column == nil {
			return "", errOrigin
		}
		condition, err := s.meetsPart(t, column, part.Prefix, row)
		if err != nil || condition == "" {
			return "", err
		}
		parts = append(parts, condition)
	}
	return "(" + strings.Join(parts, " AND ") + ")", nil
}

func (s *rowStore) meetsPart(t *writtenTable, column *rewrite.Column, prefix int, row *changedRow) (string, error) {
	name := quoteName(column.Name)
	in := s.w.r.plan.Residual.Write.Insert
	at := columnAt(in.Columns, column.Name)
	switch {
	case at < 0 && (column.AutoIncrement || !column.HasDefault):
		return "", nil
	case at < 0 && column.Protected != nil && column.Protected.OnEmpty == nil:
		return "", nil
	case at < 0 && column.Protected != nil:
		return s.meetsCell(column.Protected, name, column.Protected.OnEmpty)
	case at < 0:
		return name + "=DEFAULT(" + name + ")", nil
	}
	v := &row.values[at]
	switch {
	case v.null:
		return "", nil
	case column.Protected != nil:
		return s.meetsCell(column.Protected, name, v.value)
	case column.AutoIncrement && string(v.value) == "0" && !s.w.r.x.facts.Mode.Has(rewrite.NoAutoValueOnZero):
		return "", nil
	}
	literal, ok := plainLiteral(column, v.value)
	if !ok {
		return "", errOrigin
	}
	if prefix > 0 {
		return fmt.Sprintf("LEFT(%s,%d)=LEFT(%s,%d)", name, prefix, literal, prefix), nil
	}
	return name + "=" + literal, nil
}

// meetsCell is the condition for a protected column.
func (s *rowStore) meetsCell(column *rewrite.Protected, name string, value []byte) (string, error) {
	ranges, err := s.sealer.ranges(column, value)
	if err != nil {
		return "", err
	}
	var alternatives []string
	for _, r := range ranges {
		alternatives = append(alternatives, fmt.Sprintf("%s>=x'%x' AND %s<x'%x'", name, r.low, name, r.high))
	}
	same, err := s.sealer.equalsDefault(column, value)
	if err != nil {
		return "", err
	}
	if same {
		alternatives = append(alternatives, name+"=x''")
	}
	return "(" + strings.Join(alternatives, " OR ") + ")", nil
}

// columnAt gives the place of a column among those that are written, -1 when it is not one of them.
func columnAt(columns []rewrite.WriteColumn, name string) int {
	for i := range columns {
		if columns[i].Name == name {
			return i
		}
	}
	return -1
}

// insertHead is the INSERT up to its rows.
func (s *rowStore) insertHead(t *writtenTable) string {
	r, in := s.w.r, s.w.r.plan.Residual.Write.Insert
	mode := "STRICT_ALL_TABLES,ALLOW_INVALID_DATES"
	if r.x.facts.Mode.Has(rewrite.NoAutoValueOnZero) {
		mode += ",NO_AUTO_VALUE_ON_ZERO"
	}
	head := "SET STATEMENT sql_mode='" + mode + "',time_zone='+00:00'"
	if r.plan.Residual.Clock {
		head += ",timestamp=" + r.mirror.now
	}
	if r.plan.Residual.Write.Returning {
		head += ",character_set_results=utf8mb4,sql_select_limit=" + strconv.FormatUint(math.MaxUint64, 10)
	}
	head += " FOR "
	switch {
	case in.Replace:
		head += "REPLACE"
	case r.plan.Ignore && !in.Duplicate:
		head += "INSERT IGNORE"
	default:
		head += "INSERT"
	}
	var names []string
	for _, c := range in.Columns {
		names = append(names, quoteName(c.Name))
	}
	return head + " INTO " + quoteName(t.load.Table.Database) + "." + quoteName(t.load.Table.Name) + " (" + strings.Join(names, ",") + ") "
}

// addRows writes the new rows.
func (s *rowStore) addRows(t *writtenTable) error {
	head := s.insertHead(t)
	if len(t.added) == 0 {
		// What the client may not write, it may not write where there is nothing to write either.
		nothing := strings.TrimSuffix(strings.Repeat("NULL,", len(s.w.r.plan.Residual.Write.Insert.Columns)), ",")
		_, err := s.w.r.x.sideWrite([]byte(head + "SELECT " + nothing + " FROM DUAL WHERE FALSE"))
		return err
	}
	limit := maxInserted
	if packet := s.w.r.x.facts.maxPacket; packet > 0 {
		limit = min(limit, packet-1)
	}
	// A query makes the backend count in other steps than a list does.
	before, behind := "VALUES ", ""
	if in := s.w.r.plan.Residual.Write.Insert; in.Selected && in.Counter != "" {
		before, behind = "WITH "+storedAs+" ("+numbered(len(in.Columns))+") AS (VALUES ", ") SELECT * FROM "+storedAs
	}
	text, rows := []byte(nil), 0
	for i := range t.added {
		one, err := s.addedRow(t, &t.added[i])
		if err != nil {
			return err
		}
		if rows > 0 && len(text)+len(one)+len(behind)+1 > limit {
			if err := s.several(t); err != nil {
				return err
			}
			if err := s.add(append(text, behind...), rows); err != nil {
				return err
			}
			rows = 0
		}
		if rows == 0 {
			text = append(append(text[:0], head...), before...)
		} else {
			text = append(text, ',')
		}
		text = append(text, one...)
		rows++
	}
	return s.add(append(text, behind...), rows)
}

// numbered gives so many column names.
func numbered(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	return strings.Join(names, ",")
}

// several makes sure that more than one statement can be taken back together.
func (s *rowStore) several(t *writtenTable) error {
	if !t.load.Table.Transactional {
		return t.errNotOne()
	}
	if !s.w.inTransaction() {
		return s.w.start()
	}
	return s.w.mark()
}

// addedRow renders one new row.
func (s *rowStore) addedRow(t *writtenTable, row *changedRow) ([]byte, error) {
	in := s.w.r.plan.Residual.Write.Insert
	b := []byte{'('}
	for i := range row.values {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = s.value(b, t, &in.Columns[i], &row.values[i], row.owner); err != nil {
			return nil, err
		}
	}
	return append(b, ')'), nil
}

// add sends one statement with new rows and brings its answer into the client's.
func (s *rowStore) add(text []byte, rows int) error {
	w, x := s.w, s.w.r.x
	if err := x.fits(len(text)); err != nil {
		return err
	}
	x.sealing = true
	if s.returned != nil {
		if err := x.side(append(append(text, " RETURNING "...), strings.Join(s.returned.exactly(), ",")...), s.returned.define, s.returned.row); err != nil {
			return err
		}
		if w.r.plan.Ignore {
			return w.backendWarnings()
		}
		return nil
	}
	ok, err := x.sideWrite(text)
	if err != nil {
		return err
	}
	in := w.r.plan.Residual.Write.Insert
	w.added.rows += ok.AffectedRows
	if in.Replace {
		w.added.duplicates += ok.AffectedRows - uint64(rows)
	} else {
		w.added.duplicates += uint64(rows) - ok.AffectedRows
	}
	if w.added.id == 0 || !w.added.counted {
		w.added.id = ok.LastInsertID
	}
	w.added.counted = w.added.counted || s.counts(in)
	if ok.Warnings == 0 {
		return nil
	}
	return w.backendWarnings()
}

// backendWarnings puts the backend's warnings about new rows behind those of the evaluator.
func (w *writeBack) backendWarnings() error {
	var list []diagnosis
	err := w.r.x.side([]byte("SHOW WARNINGS"), nil, func(values [][]byte) error {
		d, err := readDiagnosis(values)
		if err != nil {
			return err
		}
		d.message = withheld(wire.ERR{Code: d.code, Message: d.message}).Message
		list = append(list, d)
		return nil
	})
	w.held.warnings.add(list...)
	return err
}

// returning writes the new rows, loads them as the backend gives them back, and has the evaluator answer the client's list over them.
func (s *rowStore) returning(t *writtenTable) error {
	w, r, l := s.w, s.w.r, t.load
	name := quoteName(l.Table.Database) + "." + quoteName(l.Table.Name)
	definition, _, err := rewrite.EvaluatorSource(l.Table, nil, l.Columns)
	if err != nil {
		return err
	}
	for _, stmt := range []string{loadMode + r.mirror.thread, "DROP TEMPORARY TABLE " + name, "CREATE TEMPORARY TABLE " + name + " " + definition} {
		if _, err := r.conn.Exec(r.ctx, stmt); err != nil {
			return r.inside(err)
		}
	}
	if s.returned, err = r.newLoad(l, nil); err != nil {
		return err
	}
	defer s.returned.finish()
	if err := s.addRows(t); err != nil {
		s.returned.into.Abort()
		return err
	}
	if err := r.inside(s.returned.into.Close()); err != nil {
		return err
	}
	if r.spent.locked > 0 {
		return r.lockedRows()
	}
	if err := r.mirror.applyZone(r.ctx, r.conn); err != nil {
		return err
	}
	if err := r.mirror.apply(r.ctx, r.conn); err != nil {
		return err
	}
	return w.returnedRows(name)
}

// returnedRows takes the evaluator's answer to the RETURNING list in place of the one that it has given for rows of its own.
func (w *writeBack) returnedRows(name string) error {
	r := w.r
	first := r.st.Token(r.st.Real(r.plan.Residual.Write.Insert.ReturningFrom))
	last := r.st.Token(r.st.Len() - 1)
	text := slices.Concat([]byte("SELECT "), r.st.SQL()[first.Start:last.End], []byte(" FROM "+name))
	kind := wire.ReplyQuery
	if r.execute == nil {
		if err := r.conn.Send(append([]byte{byte(wire.ComQuery)}, text...)); err != nil {
			return err
		}
	} else {
		kind = wire.ReplyExecute
		statement, _, err := r.conn.Prepare(r.ctx, text)
		if err != nil {
			return err
		}
		if err := r.conn.Send((&wire.Execute{Statement: statement, Iterations: 1}).Append(nil)); err != nil {
			return err
		}
	}
	held := w.held
	for _, p := range held.packets {
		clear(p.payload)
	}
	w.held.packets = nil
	if err := w.hold(kind); err != nil {
		return err
	}
	held.packets = w.held.packets
	w.held = held
	return nil
}

// counts tells whether the backend gives at least one of the rows a number of its own.
func (s *rowStore) counts(in *rewrite.ResidualInsert) bool {
	if in.Counter == "" {
		return false
	}
	at := columnAt(in.Columns, in.Counter)
	for _, row := range s.w.targets[0].added {
		if at < 0 || row.values[at].null || string(row.values[at].value) == "0" {
			return true
		}
	}
	return false
}

// tellLastID makes LAST_INSERT_ID() of the session say what the statement has set it to.
func (w *writeBack) tellLastID() error {
	in, id := w.r.plan.Residual.Write.Insert, w.held.end.LastInsertID
	switch {
	case !in.LastID || id == 0:
		return nil
	case w.countedFrom > 0 && id >= w.countedFrom && !w.added.counted:
		return newFault(codeNotPossible, "%s: the statement sets LAST_INSERT_ID() by a row that it adds itself; write the rows one by one", w.targets[0].load.Table)
	case w.countedFrom > 0 && id >= w.countedFrom:
		return nil
	}
	return w.r.x.sideExec([]byte("SELECT LAST_INSERT_ID(" + strconv.FormatUint(id, 10) + ")"))
}

// addedRows is what the backend has said of the new rows.
type addedRows struct {
	rows, duplicates, id uint64
	// counted says that id is the first one that the backend has counted.
	counted bool
}

// counted brings the backend's numbers into the answer.
func (w *writeBack) counted() {
	in, end := w.r.plan.Residual.Write.Insert, &w.held.end
	if in == nil {
		return
	}
	switch {
	case w.r.plan.Residual.Write.Returning:
	case !in.Duplicate:
		end.AffectedRows, end.LastInsertID = w.added.rows, w.added.id
		w.held.rowCount = int64(w.added.rows)
	case w.countedFrom > 0 && end.LastInsertID >= w.countedFrom:
		end.LastInsertID = w.added.id
	}
	end.Warnings = uint16(min(w.held.warnings.total, math.MaxUint16))
	if m := updateCounts.FindSubmatch(end.Info); m != nil {
		duplicates, _ := strconv.ParseUint(string(m[4]), 10, 64)
		end.Info = fmt.Appendf(nil, "%s%s%s%d%s", m[1], m[2], m[3], duplicates+w.added.duplicates, m[5])
		end.Info = warningsInfo(end.Info, end.Warnings)
	}
}
