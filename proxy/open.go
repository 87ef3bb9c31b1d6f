package proxy

import (
	"errors"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// opener opens the protected columns of one resultset at a time: it gives the column definitions their declared types and
// the rows their plaintext. Its buffers are reused from row to row, so it allocates nothing per row.
type opener struct {
	keys   *keyset
	conv   *logical.Session
	schema *rewrite.Schema
	caps   wire.Capabilities
	// binary says that rows are those of the binary protocol.
	binary bool
	// strict says that a cell whose key is not here is an error whatever its column says.
	strict bool
	// outputs is what the plan says about each result column; nil when it opens none, and every column then passes if it
	// comes from no protected column.
	outputs []rewrite.Output
	// names has the new name of each column that is renamed, by position.
	names []string
	// shown is what the plan says about rows that describe a table; nil for all others. mode is the session's sql_mode.
	shown *rewrite.Shown
	mode  rewrite.SQLMode
	hold  heldHead
	// described has the definitions that stand in the place of the backend's; nil for none. preparing says that the statement
	// is prepared and not run.
	described [][]byte
	preparing bool
	// computed knows the definitions of computed columns; nil where nobody does.
	computed *computed

	columns []openColumn
	types   []wire.ColumnType // of the backend's columns, for binary rows
	opens   bool              // a column is opened
	head    []byte            // definitions held back, one behind the other
	ends    []int             // where each of them ends

	definition wire.Column
	fields     []wire.Field
	edits      []wire.Edit
	spans      [][2]int
	values     []byte
	canonical  []byte
	// opened and failed count cells for the metrics.
	opened, failed uint64
	// plain counts the values that were plaintext, by column; nil for none.
	plain map[*rewrite.Protected]int
}

// openColumn is what the opener keeps about one protected result column.
type openColumn struct {
	column *rewrite.Protected
	// key is the key that opened the last cell, good for cells with the same key id and epoch.
	key   *cell.Key
	id    cell.KeyID
	epoch uint16
	// away is what opened the last cell of kind a, good for cells with the key id awayID.
	away   *cell.AwayOpener
	awayID cell.KeyID
	// locked is the canonical form of the replacement text, once asked for.
	locked []byte
}

// errOrigin says that the backend's resultset is not the one that was planned: the schema has changed. The caller reads
// the schema again.
var errOrigin = newFault(codeNotUnderstood, "the result does not have the columns that were planned: the schema has changed; repeat the statement")

// start begins a resultset of n columns.
func (o *opener) start(n int) error {
	if o.outputs != nil && len(o.outputs) != n || o.described != nil && len(o.described) != n {
		return errOrigin
	}
	o.columns = o.columns[:0]
	o.types = o.types[:0]
	o.head, o.ends = o.head[:0], o.ends[:0]
	o.opens = o.shown != nil
	o.hold = heldHead{}
	for i := range n {
		var c openColumn
		if o.outputs != nil {
			c.column = o.outputs[i].Column
			o.opens = o.opens || c.column != nil
		}
		o.columns = append(o.columns, c)
	}
	return nil
}

// define reads the definition of result column i and appends to dst what the client gets in its place.
func (o *opener) define(dst []byte, i int, payload []byte) ([]byte, error) {
	if i >= len(o.columns) {
		return dst, errOrigin
	}
	d := &o.definition
	if err := wire.ParseColumn(payload, o.caps, d); err != nil {
		return dst, err
	}
	o.types = append(o.types, d.Type)
	if o.described != nil {
		return o.redefine(dst, i)
	}
	rename := i < len(o.names) && o.outputs[i].Rename
	column := o.columns[i].column
	switch {
	case column == nil && o.fromProtected(d):
		return dst, errOrigin
	case column == nil && !rename:
		return append(dst, payload...), nil
	case column != nil && !holdsCells(d):
		return dst, errOrigin
	case column != nil:
		declare(d, column, o.conv, o.caps)
		o.computedColumn(i)
	}
	if rename {
		d.Name = []byte(o.names[i])
	}
	return d.Append(dst, o.caps), nil
}

// fromProtected tells whether a column that the plan passes comes from a protected column after all. The backend names the
// origin of plain columns only, so this is a second look, not the proof.
func (o *opener) fromProtected(d *wire.Column) bool {
	if len(d.OrgTable) == 0 || len(d.OrgName) == 0 || o.schema == nil {
		return false
	}
	table := o.schema.Table(string(d.Schema), string(d.OrgTable))
	if table == nil {
		return false
	}
	column := table.Column(string(d.OrgName))
	return column != nil && column.Protected != nil && d.Charset == wire.CharsetBinary && holdsCells(d)
}

// holdsCells tells whether a result column can hold cells: a string type without character set.
func holdsCells(d *wire.Column) bool {
	if d.Charset != wire.CharsetBinary {
		return false
	}
	switch d.Type {
	case wire.TypeVarchar, wire.TypeVarString, wire.TypeString, wire.TypeTinyBlob, wire.TypeBlob, wire.TypeMediumBlob, wire.TypeLongBlob:
		return true
	}
	return false
}

// keptFlags are the column flags that do not follow from the type: those of constraints and keys.
const keptFlags = wire.FlagNotNull | wire.FlagPrimaryKey | wire.FlagUniqueKey | wire.FlagMultipleKey | wire.FlagNoDefault | wire.FlagPartKey

// declare gives a column definition the declared type of column.
func declare(d *wire.Column, column *rewrite.Protected, conv *logical.Session, caps wire.Capabilities) {
	declared := column.Type.Definition(conv)
	d.Type = wire.ColumnType(declared.Type)
	d.Charset = declared.Charset
	d.Length = declared.Length
	d.Flags = d.Flags&keptFlags | wire.ColumnFlags(declared.Flags)&^keptFlags
	d.Decimals = declared.Decimals
	if caps.Has(wire.CapExtendedMetadata) {
		d.Extended = wire.ExtendedMetadata{TypeName: declared.ExtType, Format: declared.ExtFormat}.Append(nil)
	}
}

// row opens the protected columns of a row and appends to dst what the client gets in its place.
func (o *opener) row(dst, row []byte) ([]byte, error) {
	if err := o.walk(row); err != nil {
		return dst, err
	}
	o.edits, o.spans, o.values = o.edits[:0], o.spans[:0], o.values[:0]
	if o.shown != nil {
		return o.showRow(dst, row)
	}
	for i := range o.columns {
		if o.columns[i].column == nil || o.fields[i].Null {
			continue
		}
		start := len(o.values)
		null, err := o.value(&o.columns[i], o.fields[i].Of(row))
		if err != nil {
			if isBadCell(err) {
				o.failed++
			}
			return dst, err
		}
		o.opened++
		o.edits = append(o.edits, wire.Edit{Column: i, Null: null})
		o.spans = append(o.spans, [2]int{start, len(o.values)})
	}
	return o.applyEdits(dst, row), nil
}

// walk finds the columns of a row.
func (o *opener) walk(row []byte) (err error) {
	if o.binary {
		o.fields, err = wire.WalkBinary(o.fields[:0], row, o.types)
	} else {
		o.fields, err = wire.WalkText(o.fields[:0], row, len(o.columns))
	}
	return err
}

// applyEdits appends to dst the row with the edits that o.values holds the values of.
func (o *opener) applyEdits(dst, row []byte) []byte {
	for i, span := range o.spans {
		o.edits[i].Value = o.values[span[0]:span[1]]
	}
	if o.binary {
		return wire.AppendBinaryRow(dst, row, o.fields, o.edits)
	}
	return wire.AppendTextRow(dst, row, o.fields, o.edits)
}

// value opens one physical value and appends to o.values what stands in the row in its place.
func (o *opener) value(c *openColumn, physical []byte) (null bool, err error) {
	canonical, null, err := o.canonicalOf(c, physical)
	if err != nil || null {
		return null, err
	}
	var out []byte
	if o.binary {
		out, err = c.column.Type.AppendBinary(o.values, canonical, o.conv)
	} else {
		out, err = c.column.Type.AppendText(o.values, canonical, o.conv)
	}
	if err != nil {
		return false, o.unreadable(c.column, err)
	}
	o.values = out
	return false, nil
}

// unreadable says why an authentic value cannot be given to the client.
func (o *opener) unreadable(column *rewrite.Protected, err error) error {
	if errors.Is(err, logical.ErrNotPlain) {
		return errNotPossible(column, "the value cannot be converted for this session's character set or time zone")
	}
	return errBadCell(column)
}

// canonicalOf opens one physical value. The result is valid until the next call.
func (o *opener) canonicalOf(c *openColumn, physical []byte) (canonical []byte, null bool, err error) {
	if old, ok := plaintextOf(c.column, physical); ok {
		canonical, err = o.canonicalOfPlaintext(c.column, old)
		return canonical, false, err
	}
	if len(physical) == 0 {
		if !c.column.HasOnEmpty {
			return nil, false, errBadCell(c.column)
		}
		return c.column.OnEmpty, c.column.OnEmpty == nil, nil
	}
	h, err := cell.Parse(physical)
	if err != nil {
		return nil, false, errBadCell(c.column)
	}
	here, err := o.find(c, h)
	if err != nil {
		return nil, false, err
	}
	if !here {
		return o.locked(c)
	}
	var family byte
	if h.Kind == cell.KindAway && c.away != nil {
		family, canonical, err = c.away.Open(o.canonical[:0], physical, nil)
	} else {
		family, canonical, err = c.key.Open(o.canonical[:0], physical, nil)
	}
	if err != nil || family != c.column.Type.Family() {
		return nil, false, errBadCell(c.column)
	}
	o.canonical = canonical[:0]
	return canonical, false, nil
}

// find makes c.key, or c.away for a cell of kind a, the key of a cell; here is false when it is not on this session.
func (o *opener) find(c *openColumn, h cell.Header) (here bool, err error) {
	if h.Kind == cell.KindAway && c.column.ServiceKey == "" {
		return o.findAway(c, h)
	}
	if c.key != nil && c.id == h.KeyID && c.epoch == h.Epoch {
		return true, nil
	}
	key, here, err := o.keys.opening(c.column, h)
	if err != nil || !here {
		return false, err
	}
	c.key, c.id, c.epoch = key, h.KeyID, h.Epoch
	return true, nil
}

// findAway is find for a cell of kind a.
func (o *opener) findAway(c *openColumn, h cell.Header) (here bool, err error) {
	if c.away != nil && c.awayID == h.KeyID {
		return true, nil
	}
	opener, here, err := o.keys.openingAway(c.column, h)
	if err != nil || !here {
		return false, err
	}
	c.wipeAway()
	c.away, c.awayID = opener, h.KeyID
	return true, nil
}

// wipeAway forgets what opened the last cell of kind a.
func (c *openColumn) wipeAway() {
	if c.away != nil {
		c.away.Wipe()
		c.away = nil
	}
}

// locked gives what the policy says a reader without the key gets.
func (o *opener) locked(c *openColumn) (canonical []byte, null bool, err error) {
	switch mode := c.column.Locked.Mode; {
	case o.strict:
	case mode == rewrite.LockedNull:
		return nil, true, nil
	case mode == rewrite.LockedText:
		if c.locked == nil {
			in := logical.Input{Kind: logical.InputString, Bytes: []byte(c.column.Locked.Text), Charset: "utf8mb4"}
			if c.locked, err = c.column.Type.Canonical([]byte{}, in, o.conv); err != nil {
				return nil, false, errConversion(c.column, err)
			}
		}
		return c.locked, false, nil
	}
	if c.column.ServiceKey == "" && o.keys.ring.Len() == 0 {
		return nil, false, o.keys.noKey(c.column)
	}
	return nil, false, errLocked(c.column)
}

// finish wipes the plaintext that the opener's buffers hold.
func (o *opener) finish() {
	clear(o.values[:cap(o.values)])
	clear(o.canonical[:cap(o.canonical)])
	o.values, o.canonical = o.values[:0], o.canonical[:0]
	for i := range o.columns {
		o.columns[i].key = nil
		o.columns[i].wipeAway()
	}
}

// relay handles one event of a reply that runs through the opener. The column count and the definitions are held back until
// all of them are known to be as planned, so that an error takes the place of the whole resultset. An error means that
// nothing of the current packet has gone to the client.
func (o *opener) relay(r *wire.Reply, event wire.Event) error {
	if done, err := o.relayHeld(r, event); done || err != nil {
		return err
	}
	switch event {
	case wire.EventColumnCount:
		if err := o.start(r.Count); err != nil {
			return err
		}
		return r.Drop()
	case wire.EventColumn:
		return o.relayDefinition(r)
	case wire.EventRow:
		if o.opens {
			return o.relayRow(r)
		}
	}
	return nil
}

func (o *opener) relayDefinition(r *wire.Reply) error {
	payload, err := r.Payload()
	if err != nil {
		return err
	}
	if o.head, err = o.define(o.head, len(o.types), payload); err != nil {
		return err
	}
	o.ends = append(o.ends, len(o.head))
	if len(o.ends) < len(o.columns) {
		return r.Drop()
	}
	if o.holdsHead() {
		o.hold.held = true
		return r.Drop()
	}
	return o.writeHead(r)
}

// writeHead writes the column count and the definitions, in the place of the packet that r is at.
func (o *opener) writeHead(r *wire.Reply) error {
	var count [9]byte
	if err := r.Replace(wire.AppendLenenc(count[:0], uint64(len(o.columns)))); err != nil {
		return err
	}
	start := 0
	for _, end := range o.ends {
		if err := r.Replace(o.head[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func (o *opener) relayRow(r *wire.Reply) error {
	payload, err := r.Payload()
	if err != nil {
		return err
	}
	dst, err := r.Edit(len(payload))
	if err != nil {
		return err
	}
	if dst, err = o.row(dst, payload); err != nil {
		return err
	}
	return r.Commit(dst)
}
