package proxy

import (
	"bytes"
	"errors"
	"testing"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// testOpener is an opener of resultsets of one number and one protected column.
func testOpener(t testing.TB, keys *keyset, column *rewrite.Protected, binary bool) *opener {
	t.Helper()
	o := &opener{
		keys: keys, conv: &logical.Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4"}, binary: binary,
		outputs: []rewrite.Output{{}, {Column: column}},
	}
	if err := o.start(2); err != nil {
		t.Fatal(err)
	}
	for _, d := range []wire.Column{{Name: []byte("id"), Type: wire.TypeLong}, {Name: []byte("title"), Type: wire.TypeVarString, Charset: wire.CharsetBinary}} {
		if _, err := o.define(nil, len(o.types), d.Append(nil, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// testRow is a row of testOpener's resultset.
func testRow(binary bool, physical []byte) []byte {
	if !binary {
		return wire.AppendTextValue(wire.AppendLenencString(nil, "7"), physical, physical == nil)
	}
	row := wire.StartBinaryRow(nil, 2)
	row = append(row, 7, 0, 0, 0)
	if physical == nil {
		wire.SetBinaryNull(row, 1)
		return row
	}
	return wire.AppendLenencString(row, physical)
}

func TestOpenRow(t *testing.T) {
	keys, strangers := testKeyset(t, 'A'), testKeyset(t, 'B')
	column := testColumn(t)
	seal := func(k *keyset, c *rewrite.Protected, value string) []byte {
		b, err := (&sealer{keys: k}).seal(nil, c, rowOwner{}, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	elsewhere := *column
	elsewhere.Context = "t.other"
	number := *column
	number.Type, number.Search = mustType(t, "int"), false
	with := func(change func(c *rewrite.Protected)) *rewrite.Protected {
		c := *column
		change(&c)
		return &c
	}
	for _, c := range []struct {
		name     string
		column   *rewrite.Protected
		physical []byte
		want     string // NULL for NULL
		code     uint16
	}{
		{"a cell", column, seal(keys, column, "value"), "value", 0},
		{"an empty value", column, seal(keys, column, ""), "", 0},
		{"NULL", column, nil, "NULL", 0},
		{"the declared default", column, []byte{}, "draft", 0},
		{"the declared default NULL", with(func(c *rewrite.Protected) { c.OnEmpty = nil }), []byte{}, "NULL", 0},
		{"empty without a declared default", with(func(c *rewrite.Protected) { c.HasOnEmpty = false }), []byte{}, "", codeBadCell},
		{"no cell", column, []byte("value"), "", codeBadCell},
		{"another column's cell", column, seal(keys, &elsewhere, "value"), "", codeBadCell},
		{"another type's cell", column, seal(keys, &number, "12"), "", codeBadCell},
		{"another user's cell", column, seal(strangers, column, "value"), "", codeLocked},
		{"another user's cell, locked: null", with(func(c *rewrite.Protected) { c.Locked.Mode = rewrite.LockedNull }), seal(strangers, column, "value"), "NULL", 0},
		{"another user's cell, locked: text", with(func(c *rewrite.Protected) { c.Locked = rewrite.Locked{Mode: rewrite.LockedText, Text: "***"} }),
			seal(strangers, column, "value"), "***", 0},
		{"another user's damaged cell, locked: null", with(func(c *rewrite.Protected) { c.Locked.Mode = rewrite.LockedNull }),
			seal(strangers, column, "value")[:30], "", codeBadCell},
	} {
		for _, binary := range []bool{false, true} {
			o := testOpener(t, keys, c.column, binary)
			got, err := o.row(nil, testRow(binary, c.physical))
			var f *fault
			if errors.As(err, &f); (f == nil) != (c.code == 0) || f != nil && f.code != c.code {
				t.Errorf("%s (binary %v): %v, want error %d", c.name, binary, err, c.code)
				continue
			}
			want := []byte(c.want)
			if c.want == "NULL" {
				want = nil
			}
			if err == nil && !bytes.Equal(got, testRow(binary, want)) {
				t.Errorf("%s (binary %v): row %q, want %q", c.name, binary, got, testRow(binary, want))
			}
			o.finish()
		}
	}
}

func TestOpenerChecksWhatWasPlanned(t *testing.T) {
	keys, column := testKeyset(t, 'A'), testColumn(t)
	table := &rewrite.Table{Database: "d", Name: "t", Columns: []*rewrite.Column{{Name: "title", Protected: column}}}
	schema := &rewrite.Schema{Databases: map[string]map[string]*rewrite.Table{"d": {"t": table}}}
	cells := wire.Column{Schema: []byte("d"), OrgTable: []byte("t"), OrgName: []byte("title"), Type: wire.TypeVarString, Charset: wire.CharsetBinary}
	text := cells
	text.Charset = 45
	number := wire.Column{Type: wire.TypeLong, Charset: wire.CharsetBinary}
	for _, c := range []struct {
		name    string
		outputs []rewrite.Output
		column  wire.Column
		ok      bool
	}{
		{"an opened column", []rewrite.Output{{Column: column}}, cells, true},
		{"an opened column with a character set", []rewrite.Output{{Column: column}}, text, false},
		{"an opened column that is a number", []rewrite.Output{{Column: column}}, number, false},
		{"a passed column", []rewrite.Output{{}}, number, true},
		{"a passed column that is protected", []rewrite.Output{{}}, cells, false},
		{"no plan for a protected column", nil, cells, false},
		{"more columns than planned", []rewrite.Output{}, number, false},
	} {
		o := &opener{keys: keys, schema: schema, outputs: c.outputs, conv: &logical.Session{}}
		err := o.start(1)
		if err == nil {
			_, err = o.define(nil, 0, c.column.Append(nil, 0))
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errOrigin) {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

// TestOpenRowAllocates nothing, so that the memory for a result does not depend on its size.
func TestOpenRowAllocates(t *testing.T) {
	keys, column := testKeyset(t, 'A'), testColumn(t)
	b, err := (&sealer{keys: keys}).seal(nil, column, rowOwner{}, bytes.Repeat([]byte("x"), 50))
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range []bool{false, true} {
		o := testOpener(t, keys, column, binary)
		row := testRow(binary, b)
		dst := make([]byte, 0, 1000)
		run := func() {
			if _, err := o.row(dst, row); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 && !raceEnabled {
			t.Errorf("binary %v: %v allocations a row, want none", binary, n)
		}
	}
}

// FuzzOpenRow gives the opener rows of a hostile backend: whatever comes, a cell is never given out as data.
func FuzzOpenRow(f *testing.F) {
	keys, column := testKeyset(f, 'A'), testColumn(f)
	b, err := (&sealer{keys: keys}).seal(nil, column, rowOwner{}, []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	for _, physical := range [][]byte{b, b[:len(b)-1], nil, {}, []byte("text"), {0xff, 'L', 'K', 't'}} {
		f.Add(false, testRow(false, physical))
		f.Add(true, testRow(true, physical))
	}
	f.Fuzz(func(t *testing.T, binary bool, row []byte) {
		o := testOpener(t, keys, column, binary)
		got, err := o.row(nil, row)
		if err != nil {
			return
		}
		if binary {
			o.fields, err = wire.WalkBinary(nil, got, []wire.ColumnType{wire.TypeLong, wire.TypeVarString})
		} else {
			o.fields, err = wire.WalkText(nil, got, 2)
		}
		if err != nil {
			t.Fatalf("a row that opens reads %v", err)
		}
		if v := o.fields[1].Of(got); cell.IsCell(v) {
			t.Fatalf("a cell came out: %q", v)
		}
	})
}
