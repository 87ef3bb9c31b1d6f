package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// errShown says that what the backend says about a table cannot be turned into what was declared.
var errShown = newFault(codeNotUnderstood, "the definition of a table with protected columns cannot be shown as it was declared; check the schema with `latchkey check`")

// minCreate is the length in characters that MariaDB gives the text of SHOW CREATE TABLE at least.
const minCreate = 1024

// heldHead is the beginning of the resultset of SHOW CREATE TABLE, which waits for the row: the definitions say how long the
// text is.
type heldHead struct {
	held bool
	// eof is the packet behind the definitions, nil where there is none.
	eof []byte
	// declared is the text that the client gets.
	declared string
}

// showRow gives a row that describes a table the fields that were declared.
func (o *opener) showRow(dst, row []byte) ([]byte, error) {
	if o.shown.Create != nil {
		return o.showCreate(dst, row)
	}
	key, err := o.shownKey(row)
	if err != nil {
		return dst, err
	}
	for _, f := range o.shown.Rows[key] {
		if f.Column >= len(o.fields) {
			return dst, errShown
		}
		start := len(o.values)
		if !f.Null {
			if err := o.showField(f); err != nil {
				return dst, err
			}
		}
		o.edits = append(o.edits, wire.Edit{Column: f.Column, Null: f.Null})
		o.spans = append(o.spans, [2]int{start, len(o.values)})
	}
	return o.applyEdits(dst, row), nil
}

// shownKey reads what identifies the row.
func (o *opener) shownKey(row []byte) (string, error) {
	var key strings.Builder
	for i, column := range o.shown.Keys {
		if column >= len(o.fields) {
			return "", errShown
		}
		name, err := o.conv.ReadName(o.fields[column].Of(row))
		if err != nil {
			return "", errShown
		}
		if i > 0 {
			key.WriteByte(0)
		}
		key.WriteString(name)
	}
	return key.String(), nil
}

// showField appends the new value of a field to o.values as the row carries it.
func (o *opener) showField(f rewrite.ShownField) error {
	text := f.Text
	if f.Default != nil {
		var err error
		if text, err = f.Default.DefaultShown(o.conv); err != nil {
			return errShown
		}
	}
	if o.binary && o.types[f.Column] == wire.TypeLongLong {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errShown
		}
		o.values = binary.LittleEndian.AppendUint64(o.values, uint64(n))
		return nil
	}
	return o.showText(text)
}

// showText appends text of the server's own to o.values. In the binary protocol its length goes before it.
func (o *opener) showText(text string) error {
	start := len(o.values)
	out, err := o.conv.AppendName(o.values, text)
	if err != nil {
		return errShown
	}
	if o.binary {
		value := string(out[start:])
		out = wire.AppendLenencString(out[:start], []byte(value))
	}
	o.values = out
	return nil
}

// showCreate puts the declared text in the place of the backend's.
func (o *opener) showCreate(dst, row []byte) ([]byte, error) {
	if err := o.showText(o.hold.declared); err != nil {
		return dst, err
	}
	o.edits = append(o.edits, wire.Edit{Column: 1})
	o.spans = append(o.spans, [2]int{0, len(o.values)})
	return o.applyEdits(dst, row), nil
}

// declaredTable reads the text of SHOW CREATE TABLE and gives the declared one.
func (o *opener) declaredTable(value []byte) (physical, declared string, err error) {
	if physical, err = o.conv.ReadName(value); err != nil {
		return "", "", errShown
	}
	declared, err = rewrite.LogicalTable(o.shown.Create, physical, o.mode, o.conv)
	var refusal *rewrite.Refusal
	switch {
	case errors.Is(err, rewrite.ErrTableChanged):
		return "", "", errOrigin
	case errors.As(err, &refusal):
		return "", "", refusal
	case err != nil:
		return "", "", errShown
	}
	return physical, declared, nil
}

// holdsHead tells whether the definitions have to wait for the first row.
func (o *opener) holdsHead() bool { return o.shown != nil && o.shown.Create != nil }

// relayHeld handles the events of a reply while its head is held back. done is false for those that go on as any other.
func (o *opener) relayHeld(r *wire.Reply, event wire.Event) (done bool, err error) {
	if !o.hold.held {
		return false, nil
	}
	switch event {
	case wire.EventColumnsEnd:
		payload, err := r.Payload()
		if err != nil {
			return true, err
		}
		o.hold.eof = bytes.Clone(payload)
		return true, r.Drop()
	case wire.EventRow:
		payload, err := r.Payload()
		if err != nil {
			return true, err
		}
		if err := o.readCreate(payload); err != nil {
			return true, err
		}
		return false, o.releaseHead(r)
	case wire.EventResultEnd:
		return true, errShown
	}
	return false, nil
}

// readCreate makes the declared text of the row and fits the definition to it.
func (o *opener) readCreate(row []byte) error {
	if err := o.walk(row); err != nil {
		return err
	}
	if len(o.fields) != 2 || o.fields[1].Null {
		return errShown
	}
	return o.readCreateText(o.fields[1].Of(row))
}

// readCreateText makes the declared text of what SHOW CREATE TABLE gave, and gives the second definition its length.
func (o *opener) readCreateText(value []byte) error {
	physical, declared, err := o.declaredTable(value)
	if err != nil {
		return err
	}
	o.hold.declared = declared
	if len(o.ends) != 2 {
		return errShown
	}
	d := &o.definition
	if err := wire.ParseColumn(o.head[o.ends[0]:o.ends[1]], o.caps, d); err != nil {
		return err
	}
	d.Length = d.Length / uint32(max(minCreate, len(physical))) * uint32(max(minCreate, len(declared)))
	last := d.Append(nil, o.caps)
	o.head = append(o.head[:o.ends[0]], last...)
	o.ends[1] = len(o.head)
	return nil
}

// releaseHead writes what was held back, before the row that r is at.
func (o *opener) releaseHead(r *wire.Reply) error {
	o.hold.held = false
	if err := o.writeHead(r); err != nil || o.hold.eof == nil {
		return err
	}
	return r.Replace(o.hold.eof)
}

// prepareShown gives the definitions of a prepared SHOW CREATE TABLE, which o has collected, the length of the declared text.
func (x *executor) prepareShown(text []byte, o *opener) error {
	if !o.holdsHead() {
		return nil
	}
	var create []byte
	err := x.afterFoundRows(func() error { return x.sendQuery(text) }, func() error {
		return x.readSide(wire.ReplyQuery, nil, func(values [][]byte) error {
			if len(values) != 2 {
				return errShown
			}
			create = bytes.Clone(values[1])
			return nil
		})
	})
	if err != nil {
		return err
	}
	return o.readCreateText(create)
}
