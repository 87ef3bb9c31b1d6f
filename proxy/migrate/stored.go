package migrate

import (
	"bytes"
	"fmt"

	"latchkey/keystore/cell"
	"latchkey/rewrite"
)

// class says what a stored value is.
type class uint8

const (
	classNull   class = iota
	classEmpty        // the declared default
	classCell         // kinds t, c and a
	classMarked       // plaintext behind the mark
	classBare         // plaintext as it was
)

// classOf tells what a value of a column is. Where no default is declared, the empty value can only be plaintext.
func classOf(c *rewrite.Protected, stored []byte) class {
	if stored == nil {
		return classNull
	}
	if len(stored) == 0 && c.HasOnEmpty {
		return classEmpty
	}
	if _, ok := cell.Plain(stored); ok {
		return classMarked
	}
	if cell.IsCell(stored) {
		return classCell
	}
	return classBare
}

// holdsPlaintext is SQL that is true of plaintext in a column; NULL or false of all else.
func holdsPlaintext(c *rewrite.Protected) string {
	name := quoteName(c.Column)
	condition := fmt.Sprintf("(LEFT(%[1]s,3)<>x'ff4c4b' OR LEFT(%[1]s,4) IN (%[2]s,%[3]s))", name, rewrite.PlainMark, rewrite.PlainApartMark)
	if !c.HasOnEmpty {
		return condition
	}
	return "(" + name + "<>x'' AND " + condition + ")"
}

// holdsCell is SQL that is true of a cell in a column.
func holdsCell(c *rewrite.Protected) string {
	return fmt.Sprintf("(LEFT(%[1]s,3)=x'ff4c4b' AND LEFT(%[1]s,4) NOT IN (%[2]s,%[3]s))", quoteName(c.Column), rewrite.PlainMark, rewrite.PlainApartMark)
}

// read sets Canonical of a value that is plaintext, or Err.
func (v *Value) read() {
	old := v.Stored
	if classOf(v.Column, v.Stored) == classMarked {
		old, _ = cell.Plain(v.Stored)
	}
	v.Canonical, v.Err = v.Column.Type.Plaintext([]byte{}, old)
}

// plain sets Fresh to the plaintext of Canonical, with a mark where it would be taken for something else.
func (v *Value) plain() {
	old, err := v.Column.Type.Declassify([]byte{}, v.Canonical)
	if err != nil {
		v.Err = err
		return
	}
	if cell.IsCell(old) || len(old) == 0 && v.Column.HasOnEmpty && (v.Column.OnEmpty == nil || len(v.Column.OnEmpty) > 0) {
		old = cell.AppendPlain(nil, old)
	}
	v.Fresh = old
}

// meaning gives the canonical text of a value that is not a cell. ok is false for a cell; nil is NULL.
func (v *Value) meaning() (canonical []byte, ok bool, err error) {
	switch classOf(v.Column, v.Stored) {
	case classNull:
		return nil, true, nil
	case classEmpty:
		return bytes.Clone(v.Column.OnEmpty), true, nil
	case classCell:
		return nil, false, nil
	}
	v.read()
	return v.Canonical, true, v.Err
}

// stale tells whether a cell that was opened is sealed otherwise than it was now, in Fresh: under another key, with another tag or
// none, of another kind or length.
func stale(v *Value) bool {
	old, err := cell.Parse(v.Stored)
	if err != nil {
		return true
	}
	fresh, err := cell.Parse(v.Fresh)
	return err != nil || old.Kind != fresh.Kind || old.KeyID != fresh.KeyID || old.Tag != fresh.Tag || len(v.Stored) != len(v.Fresh)
}

// wipe overwrites what is in clear.
func (v *Value) wipe() {
	clear(v.Canonical)
	if c := classOf(v.Column, v.Stored); c == classBare || c == classMarked {
		clear(v.Stored)
	}
	if c := classOf(v.Column, v.Fresh); c == classBare || c == classMarked {
		clear(v.Fresh)
	}
}

func quoteName(name string) string {
	return "`" + string(bytes.ReplaceAll([]byte(name), []byte("`"), []byte("``"))) + "`"
}
