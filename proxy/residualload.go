package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// tableLoad is the fetch of one table's rows under way.
type tableLoad struct {
	r    *residual
	load *rewrite.Load
	into *evaluator.Load
	open *opener
	// conv is how opened values are written for the evaluator.
	conv logical.Session
	// target is set when the statement writes the table.
	target *writtenTable
	// defined are the definitions of the fetch's columns; binary says that its rows are those of the binary protocol.
	defined []columnKind
	binary  bool
	values  [][]byte
	spans   [][2]int
	text    []byte
	wrong   error
}

// columnKind is what of a column's definition tells how to read its values.
type columnKind struct {
	kind     wire.ColumnType
	unsigned bool
	decimals uint8
	// timestamp says that the column holds points in time, in the session's time zone.
	timestamp bool
}

// newLoad starts loading rows of one table; target is not nil where they are numbered. The caller finishes it.
func (r *residual) newLoad(l *rewrite.Load, target *writtenTable) (*tableLoad, error) {
	x := r.x
	names := make([]string, len(l.Columns))
	for i, c := range l.Columns {
		names[i] = c.Name
	}
	if target != nil {
		names = append(names, target.number)
	}
	into, err := r.conn.Load(r.ctx, l.Table.Database, l.Table.Name, names)
	if err != nil {
		return nil, r.inside(err)
	}
	t := &tableLoad{r: r, load: l, into: into, target: target, binary: r.execute != nil || fetchesFloat(l)}
	// Never nil: a piece of it is a value, and nil would be NULL where the text is empty.
	t.text = make([]byte, 0, 256)
	t.conv = x.facts.conv
	t.conv.ResultsCharset, t.conv.ResultsCollation = "utf8mb4", collationUTF8MB4
	// What stands for a cell that cannot be opened must not come to be stored: rows of the tables that the statement changes are
	// looked at one by one, see rowLoaded.
	strict := r.write != nil && (t.target == nil || r.plan.Residual.Write.Insert != nil)
	t.open = &opener{keys: &x.keys, conv: &t.conv, schema: r.snapshot.Schema, caps: x.caps, strict: strict}
	return t, nil
}

// load fetches, opens and loads the rows of one table.
func (r *residual) load(l *rewrite.Load) error {
	t, err := r.newLoad(l, r.write.target(l))
	if err != nil {
		return err
	}
	defer t.finish()
	fetched := false
	defer func() {
		if !fetched {
			t.into.Abort()
		}
	}()
	if err := t.fetch(); err != nil {
		return err
	}
	fetched = true
	return r.inside(t.into.Close())
}

// finish counts and wipes.
func (t *tableLoad) finish() {
	t.r.x.count(t.open)
	t.open.finish()
	clear(t.text[:cap(t.text)])
}

// fetchesFloat tells whether a plain FLOAT is fetched: its text has fewer digits than it.
func fetchesFloat(l *rewrite.Load) bool {
	for _, c := range l.Columns {
		if column := l.Table.Column(c.Name); c.Protected == nil && column != nil && column.DataType == "float" {
			return true
		}
	}
	return false
}

// fetchHead goes in front of every fetch. Text comes as the evaluator is given it, and as many rows as the budget allows.
func (t *tableLoad) fetchHead() []byte {
	r := t.r
	b := []byte("SET STATEMENT character_set_results=utf8mb4,sql_select_limit=")
	b = strconv.AppendInt(b, int64(r.spent.maxRows-r.spent.rows+1), 10)
	if r.plan.Residual.Clock {
		b = append(append(b, ",timestamp="...), r.mirror.now...)
	}
	return append(r.time.appendSetting(b), " FOR "...)
}

// fetch runs the fetch on the client's backend connection.
func (t *tableLoad) fetch() error {
	r, x := t.r, t.r.x
	mode, params := renderText, []wire.Param(nil)
	if r.execute != nil {
		mode, params = renderBound, r.execute.Params
	}
	render := x.newRenderer(mode, r.st, r.plan, params)
	defer x.keep(render)
	if r.charset != "" && r.charset != x.facts.conv.ClientCharset {
		render.vals.charset = r.charset
	}
	render.out = append(render.out, t.fetchHead()...)
	for i := range t.load.Fetch {
		if err := render.piece(&t.load.Fetch[i]); err != nil {
			return err
		}
	}
	if err := x.fits(len(render.out)); err != nil {
		return err
	}
	x.sealing = true
	var err error
	if t.binary {
		err = t.fetchPrepared(render)
	} else {
		err = x.side(render.out, t.define, t.row)
	}
	if err == nil {
		err = t.wrong
	}
	if err == nil && x.sideWarnings > 0 && r.write != nil {
		err = r.write.warned()
	}
	if err == nil && len(t.defined) != len(t.load.Columns) {
		err = errOrigin
	}
	return err
}

// fetchPrepared runs the fetch as a prepared statement, which is forgotten afterwards.
func (t *tableLoad) fetchPrepared(render *renderer) error {
	x := t.r.x
	v, _, err := x.prepareVariant(string(render.out), len(render.binds), nil)
	if err != nil {
		return err
	}
	defer x.closeVariant(v)
	e := &wire.Execute{Iterations: 1}
	if t.r.execute != nil {
		e.Params = t.r.execute.Params
	}
	request := x.bindRequest(v, render.binds, e)
	if err := x.fits(len(request) - 1); err != nil {
		return err
	}
	if err := x.send(request); err != nil {
		return err
	}
	return x.readSide(wire.ReplyExecute, t.define, t.row)
}

// define takes a column definition of the fetch and holds it against the plan.
func (t *tableLoad) define(i int, d *wire.Column) {
	if i == 0 {
		t.defined = t.defined[:0]
	}
	if i >= len(t.load.Columns) {
		t.wrong = errOrigin
		return
	}
	c := &t.load.Columns[i]
	if (c.Protected != nil) != (c.Protected != nil && holdsCells(d)) || c.Protected == nil && t.open.fromProtected(d) {
		t.wrong = errOrigin
	}
	t.defined = append(t.defined, columnKind{kind: d.Type, unsigned: d.Flags&wire.FlagUnsigned != 0, decimals: d.Decimals,
		timestamp: isTimestamp(t.load.Table, c.Name, c.Protected)})
}

// row opens a row and hands it to the evaluator.
func (t *tableLoad) row(values [][]byte) error {
	if t.wrong != nil {
		return t.wrong
	}
	if len(values) != len(t.load.Columns) {
		return errOrigin
	}
	if len(t.open.columns) != len(values) {
		t.open.columns = make([]openColumn, len(values))
		for i := range values {
			t.open.columns[i].column = t.load.Columns[i].Protected
		}
	}
	t.text, t.spans, t.values = t.text[:0], t.spans[:0], append(t.values[:0], values...)
	size, locked := 0, false
	for i := range values {
		start := len(t.text)
		null, same, err := t.value(i, values[i])
		if errors.Is(err, errRowLocked) {
			locked = true
		} else if err != nil {
			return err
		}
		span := [2]int{start, len(t.text)}
		switch {
		case null:
			span[0] = -1
		case same:
			span[0] = -2
			size += len(values[i])
		default:
			size += len(t.text) - start
		}
		t.spans = append(t.spans, span)
	}
	if locked {
		// Counted to the end: how many there are is what the client has to know.
		t.r.spent.locked++
		return nil
	}
	if err := t.r.spent.row(size); err != nil {
		return err
	}
	if t.target != nil {
		if err := t.target.rowLoaded(t.open, t.load.Columns, values); err != nil {
			return err
		}
	}
	for i, span := range t.spans {
		switch span[0] {
		case -1:
			t.values[i] = nil
		case -2:
		default:
			t.values[i] = t.text[span[0]:span[1]:span[1]]
		}
	}
	if t.target != nil {
		t.values = append(t.values, strconv.AppendInt(nil, int64(t.target.loaded), 10))
	}
	return t.into.Row(t.values)
}

// errRowLocked says that a row has a cell whose key is not here.
var errRowLocked = errors.New("a cell of the row is locked")

// value appends to t.text what the evaluator gets for a value of column i. same says that it is the value as it came.
func (t *tableLoad) value(i int, value []byte) (null, same bool, err error) {
	if value == nil {
		return true, false, nil
	}
	if t.load.Columns[i].Protected != nil {
		null, err = t.cell(&t.open.columns[i], value)
		return null, false, err
	}
	d := &t.defined[i]
	if d.timestamp && t.repeated(value, d) {
		return false, false, t.errRepeated(t.load.Columns[i].Name)
	}
	if !t.binary {
		return false, true, nil
	}
	var ok bool
	if t.text, same, ok = appendBinaryValue(t.text, value, d); !ok {
		return false, false, errOrigin
	}
	return false, same, nil
}

// cell opens a cell and appends its plaintext as MariaDB reads it without loss.
func (t *tableLoad) cell(c *openColumn, physical []byte) (null bool, err error) {
	canonical, null, err := t.open.canonicalOf(c, physical)
	if err != nil {
		return false, t.closed(err)
	}
	t.open.opened++
	if null {
		return true, nil
	}
	switch c.column.Type.Family() {
	case logical.FamilyFloat, logical.FamilyDouble, logical.FamilyDecimal, logical.FamilyInteger:
		// What a client is shown of a FLOAT has fewer digits.
		t.text = append(t.text, canonical...)
		return false, nil
	}
	start := len(t.text)
	if t.text, err = c.column.Type.AppendText(t.text, canonical, &t.conv); err != nil {
		return false, t.open.unreadable(c.column, err)
	}
	if c.column.Type.Family() == logical.FamilyTimestamp && t.repeated(t.text[start:], nil) {
		return false, t.errRepeated(c.column.Column)
	}
	return false, nil
}

// closed notes a cell that could not be opened.
func (t *tableLoad) closed(err error) error {
	var f *fault
	if errors.As(err, &f) {
		switch f.code {
		case codeLocked, codeNoKey, codeTokenGone:
			if t.r.spent.firstLock == nil {
				t.r.spent.firstLock = err
			}
			return errRowLocked
		case codeBadCell:
			t.open.failed++
		}
	}
	return err
}

// repeated tells whether a time of day of the session's time zone was there twice that day: as text it says less than the
// column holds.
func (t *tableLoad) repeated(value []byte, d *columnKind) bool {
	zone := t.conv.TimeZone
	if zone == nil || zone == time.UTC {
		return false
	}
	text := value
	if d != nil && t.binary {
		var ok bool
		if text, _, ok = appendBinaryValue(nil, value, d); !ok {
			return false
		}
	}
	const layout = "2006-01-02 15:04:05"
	if len(text) < len(layout) {
		return false
	}
	local := string(text[:len(layout)])
	at, err := time.ParseInLocation(layout, local, zone)
	if err != nil {
		return false
	}
	for _, shift := range []time.Duration{-time.Hour, time.Hour, -30 * time.Minute, 30 * time.Minute} {
		if at.Add(shift).Format(layout) == local {
			return true
		}
	}
	return false
}

func (t *tableLoad) errRepeated(column string) error {
	return newFault(codeNotPossible, "%s.%s.%s: a point in time lies in the hour that the session's time zone has twice; SET time_zone = '+00:00'",
		t.load.Table.Database, t.load.Table.Name, column)
}

// appendBinaryValue appends a value of a binary row as text. same says that the value is its own text and nothing was
// appended. https://mariadb.com/kb/en/resultset-row/#binary-resultset-row
func appendBinaryValue(dst, v []byte, d *columnKind) (out []byte, same, ok bool) {
	switch d.kind {
	case wire.TypeTiny, wire.TypeShort, wire.TypeInt24, wire.TypeLong, wire.TypeLongLong:
		dst, ok = appendBinaryInteger(dst, v, d.unsigned)
		return dst, false, ok
	case wire.TypeYear:
		if len(v) != 2 {
			return dst, false, false
		}
		return fmt.Appendf(dst, "%04d", binary.LittleEndian.Uint16(v)), false, true
	case wire.TypeFloat:
		if len(v) != 4 {
			return dst, false, false
		}
		return strconv.AppendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 'e', -1, 32), false, true
	case wire.TypeDouble:
		if len(v) != 8 {
			return dst, false, false
		}
		return strconv.AppendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(v)), 'e', -1, 64), false, true
	case wire.TypeDate, wire.TypeDatetime, wire.TypeTimestamp:
		dst, ok = appendBinaryDate(dst, v, d)
		return dst, false, ok
	case wire.TypeTime:
		dst, ok = appendBinaryTime(dst, v)
		return dst, false, ok
	}
	return dst, true, true
}

func appendBinaryInteger(dst, v []byte, unsigned bool) ([]byte, bool) {
	var wide [8]byte
	switch len(v) {
	case 1, 2, 4, 8:
	default:
		return dst, false
	}
	copy(wide[:], v)
	n := binary.LittleEndian.Uint64(wide[:])
	if unsigned {
		return strconv.AppendUint(dst, n, 10), true
	}
	shift := 64 - 8*len(v)
	return strconv.AppendInt(dst, int64(n<<shift)>>shift, 10), true
}

// appendBinaryDate writes a date, with its time where the column has one.
func appendBinaryDate(dst, v []byte, d *columnKind) ([]byte, bool) {
	var full [11]byte
	switch len(v) {
	case 0, 4, 7, 11:
	default:
		return dst, false
	}
	copy(full[:], v)
	dst = fmt.Appendf(dst, "%04d-%02d-%02d", binary.LittleEndian.Uint16(full[:]), full[2], full[3])
	if d.kind == wire.TypeDate {
		return dst, true
	}
	return fmt.Appendf(dst, " %02d:%02d:%02d.%06d", full[4], full[5], full[6], binary.LittleEndian.Uint32(full[7:])), true
}

func appendBinaryTime(dst, v []byte) ([]byte, bool) {
	var full [12]byte
	switch len(v) {
	case 0, 8, 12:
	default:
		return dst, false
	}
	copy(full[:], v)
	if full[0] != 0 {
		dst = append(dst, '-')
	}
	hours := uint64(binary.LittleEndian.Uint32(full[1:]))*24 + uint64(full[5])
	return fmt.Appendf(dst, "%02d:%02d:%02d.%06d", hours, full[6], full[7], binary.LittleEndian.Uint32(full[8:])), true
}
