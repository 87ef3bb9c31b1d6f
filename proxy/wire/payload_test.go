package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestLenenc(t *testing.T) {
	for _, v := range []uint64{0, 1, 250, 251, 0xffff, 0x10000, 0xffffff, 0x1000000, math.MaxUint64} {
		p := AppendLenenc(nil, v)
		got, n := Lenenc(append(p, 0xaa))
		if got != v || n != len(p) {
			t.Errorf("%d came back as %d from %d of %d bytes", v, got, n, len(p))
		}
		for cut := range len(p) {
			if _, n := Lenenc(p[:cut]); n != 0 {
				t.Errorf("%d cut to %d bytes was accepted", v, cut)
			}
		}
	}
	for _, first := range []byte{0xfb, 0xff} {
		if _, n := Lenenc([]byte{first, 0, 0, 0, 0, 0, 0, 0, 0}); n != 0 {
			t.Errorf("%x begins an integer", first)
		}
	}
}

const trackCaps = CapProtocol41 | CapSessionTrack

func TestOKRoundTrip(t *testing.T) {
	track := append([]byte{byte(TrackSchema), 3}, "\x02db"...)
	for name, test := range map[string]struct {
		caps Capabilities
		ok   OK
	}{
		"plain":                    {eofCaps, OK{AffectedRows: 300, LastInsertID: 1 << 40, Status: StatusAutocommit, Warnings: 2}},
		"info":                     {eofCaps, OK{Info: []byte("Rows matched: 1")}},
		"tracking, nothing":        {trackCaps, OK{Status: StatusAutocommit}},
		"tracking, info":           {trackCaps, OK{Info: []byte("x")}},
		"tracking, state":          {trackCaps, OK{Status: StatusSessionChanged, Track: track}},
		"tracking, state and info": {trackCaps, OK{Status: StatusSessionChanged, Track: track, Info: []byte("i")}},
		"end of rows":              {okCaps, OK{EOF: true, Warnings: 1}},
	} {
		p := test.ok.Append(nil, test.caps)
		got, err := ParseOK(p, test.caps)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := got.Append(nil, test.caps); !bytes.Equal(again, p) {
			t.Errorf("%s: rebuilt %x from %x", name, again, p)
		}
		if got.AffectedRows != test.ok.AffectedRows || got.LastInsertID != test.ok.LastInsertID || got.Status != test.ok.Status ||
			got.Warnings != test.ok.Warnings || !bytes.Equal(got.Info, test.ok.Info) || !bytes.Equal(got.Track, test.ok.Track) {
			t.Errorf("%s: parsed %+v, want %+v", name, got, test.ok)
		}
	}
}

func TestPatchStatus(t *testing.T) {
	for name, p := range map[string][]byte{
		"OK":             OK{AffectedRows: 70000, LastInsertID: 300, Status: StatusAutocommit, Info: []byte("i")}.Append(nil, okCaps),
		"OK end of rows": OK{EOF: true, Status: StatusAutocommit}.Append(nil, okCaps),
		"EOF":            EOF{Status: StatusAutocommit, Warnings: 3}.Append(nil),
	} {
		caps := okCaps
		if name == "EOF" {
			caps = eofCaps
		}
		if err := PatchStatus(p, caps, StatusMoreResults, StatusAutocommit); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := Status(p, caps); got != StatusMoreResults || err != nil {
			t.Errorf("%s: status %x, %v; want %x", name, got, err, StatusMoreResults)
		}
	}
}

func TestTracks(t *testing.T) {
	variables := append(attributes("autocommit", "ON"), attributes("character_set_client", "utf8mb4")...)
	raw := AppendLenencString([]byte{byte(TrackSystemVariable)}, variables)
	raw = AppendLenencString(append(raw, byte(TrackSchema)), attributes("journal"))
	raw = AppendLenencString(append(raw, byte(TrackStateChange)), "1")
	var got []string
	walk := Tracks{Rest: raw}
	for walk.Next() {
		got = append(got, string(rune('0'+walk.Type))+string(walk.Name)+"="+string(walk.Value))
	}
	want := []string{"0autocommit=ON", "0character_set_client=utf8mb4", "1=journal", "2=1"}
	if !reflect.DeepEqual(got, want) || walk.Err != nil {
		t.Errorf("got %q, %v; want %q", got, walk.Err, want)
	}
	for cut := 1; cut < len(raw); cut++ {
		walk := Tracks{Rest: raw[:cut]}
		for walk.Next() {
		}
		whole := cut == 2+len(variables) || cut == len(raw)-3
		if (walk.Err == nil) != whole {
			t.Errorf("cut to %d of %d bytes: error %v", cut, len(raw), walk.Err)
		}
	}
}

func TestERRRoundTrip(t *testing.T) {
	for _, e := range []ERR{{1045, "28000", "denied"}, {1040, "", "Too many connections"}, {9701, "LK001", ""}} {
		got, err := ParseERR(e.Append(nil))
		if err != nil || got != e {
			t.Errorf("got %+v, %v; want %+v", got, err, e)
		}
	}
	if _, err := ParseERR([]byte{0xff, 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("short packet: %v", err)
	}
	progress := append([]byte{0xff, 0xff, 0xff, 1, 1, 3, 0x10, 0x27, 0}, "\x05copy "...)
	if _, err := ParseERR(progress); !errors.Is(err, ErrMalformed) {
		t.Errorf("progress packet as an error: %v", err)
	}
	got, err := ParseProgress(progress)
	if err != nil || got.Stage != 1 || got.MaxStage != 3 || got.Percent != 10000 || string(got.Info) != "copy " {
		t.Errorf("progress %+v, %v", got, err)
	}
}

func sampleColumn() Column {
	return Column{Catalog: []byte("def"), Schema: []byte("journal"), Table: []byte("e"), OrgTable: []byte("entries"), Name: []byte("t"),
		OrgName: []byte("title"), Charset: 45, Length: 400, Type: TypeVarString, Flags: FlagNotNull | FlagNoDefault, Decimals: 39}
}

func TestColumnRoundTrip(t *testing.T) {
	plain := sampleColumn()
	extended := sampleColumn()
	extended.Extended = ExtendedMetadata{TypeName: "uuid", Format: "json"}.Append(nil)
	withDefault := sampleColumn()
	withDefault.Default = []byte("\x03abc")
	for name, test := range map[string]struct {
		caps Capabilities
		c    Column
	}{
		"plain":              {eofCaps, plain},
		"extended":           {eofCaps | CapExtendedMetadata, extended},
		"extended but empty": {eofCaps | CapExtendedMetadata, plain},
		"with default":       {eofCaps, withDefault},
	} {
		p := test.c.Append(nil, test.caps)
		var got Column
		if err := ParseColumn(p, test.caps, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := got.Append(nil, test.caps); !bytes.Equal(again, p) {
			t.Errorf("%s: rebuilt %x from %x", name, again, p)
		}
		if string(got.OrgName) != "title" || got.Type != TypeVarString || got.Charset != 45 || got.Length != 400 ||
			got.Flags != FlagNotNull|FlagNoDefault || got.Decimals != 39 {
			t.Errorf("%s: parsed %+v", name, got)
		}
		for cut := range len(p) - len(test.c.Default) {
			if err := ParseColumn(p[:cut], test.caps, &got); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", name, cut, err)
			}
		}
	}
	m, err := ParseExtendedMetadata(extended.Extended)
	if err != nil || m.TypeName != "uuid" || m.Format != "json" {
		t.Errorf("extended metadata %+v, %v", m, err)
	}
}

func TestTextRows(t *testing.T) {
	row := AppendTextValue(nil, []byte("one"), false)
	row = AppendTextValue(row, nil, true)
	row = AppendTextValue(row, nil, false)
	row = AppendTextValue(row, bytes.Repeat([]byte{'x'}, 300), false)
	fields, err := WalkText(nil, row, 4)
	if err != nil {
		t.Fatal(err)
	}
	if string(fields[0].Of(row)) != "one" || !fields[1].Null || fields[2].Null || len(fields[2].Of(row)) != 0 || len(fields[3].Of(row)) != 300 {
		t.Errorf("fields %+v", fields)
	}
	for _, test := range []struct {
		name  string
		edits []Edit
		want  []byte
	}{
		{"nothing", nil, row},
		{"NULL to value and value to NULL", []Edit{{Column: 0, Null: true}, {Column: 1, Value: []byte("two")}},
			append([]byte("\xfb\x03two\x00"), row[6:]...)},
		{"the last", []Edit{{Column: 3, Value: []byte("l")}}, []byte("\x03one\xfb\x00\x01l")},
	} {
		if got := AppendTextRow(nil, row, fields, test.edits); !bytes.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for cut := range row {
		if _, err := WalkText(nil, row[:cut], 4); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	if _, err := WalkText(nil, append(bytes.Clone(row), 0), 4); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte too much: %v", err)
	}
}

// binaryTypes has one type of every width.
var binaryTypes = []ColumnType{TypeTiny, TypeShort, TypeLong, TypeLongLong, TypeFloat, TypeDouble, TypeYear, TypeInt24,
	TypeDatetime, TypeDate, TypeTime, TypeBlob, TypeNewDecimal, TypeNull, TypeTimestamp, TypeBit, TypeVarString}

func sampleBinaryRow() []byte {
	row := StartBinaryRow(nil, len(binaryTypes))
	row = append(row, 1)
	row = append(row, 2, 2)
	row = append(row, 4, 4, 4, 4)
	row = append(row, 8, 8, 8, 8, 8, 8, 8, 8)
	row = append(row, 4, 4, 4, 4)
	row = append(row, 8, 8, 8, 8, 8, 8, 8, 8)
	row = append(row, 0xe6, 0x07)
	row = append(row, 3, 3, 3, 0)
	row = append(row, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	row = append(row, 4, 0xe6, 7, 1, 2)
	row = append(row, 0) // TIME '00:00:00'
	row = append(row, "\x04blob"...)
	row = append(row, "\x041.50"...)
	row = append(row, 7, 0xe6, 7, 1, 2, 3, 4, 5)
	row = append(row, 1, 0xff)
	SetBinaryNull(row, 13)
	SetBinaryNull(row, 16)
	return row
}

func TestBinaryRows(t *testing.T) {
	row := sampleBinaryRow()
	fields, err := WalkBinary(nil, row, binaryTypes)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(fields[11].Of(row)); got != "blob" {
		t.Errorf("blob %q", got)
	}
	if got := len(fields[8].Of(row)); got != 11 {
		t.Errorf("datetime of %d bytes, want 11", got)
	}
	if !fields[13].Null || !fields[16].Null || fields[10].Null {
		t.Errorf("wrong NULLs: %+v", fields)
	}
	if got := AppendBinaryRow(nil, row, fields, nil); !bytes.Equal(got, row) {
		t.Errorf("without edits %x, want %x", got, row)
	}
	// A cell becomes an INT, a NULL gets a value, and a value becomes NULL.
	prefix := []byte("before")
	edited := AppendBinaryRow(bytes.Clone(prefix), row, fields, []Edit{
		{Column: 3, Null: true}, {Column: 11, Value: []byte{42, 0, 0, 0}}, {Column: 16, Value: []byte("\x02ab")}})
	types := append([]ColumnType(nil), binaryTypes...)
	types[11] = TypeLong
	edited, ok := bytes.CutPrefix(edited, prefix)
	if !ok {
		t.Fatal("the bytes before the row changed")
	}
	again, err := WalkBinary(nil, edited, types)
	if err != nil {
		t.Fatal(err)
	}
	if !again[3].Null || !bytes.Equal(again[11].Of(edited), []byte{42, 0, 0, 0}) || string(again[16].Of(edited)) != "ab" {
		t.Errorf("edited row %+v", again)
	}
	for i := range binaryTypes {
		if i != 3 && i != 11 && i != 16 && !bytes.Equal(again[i].Of(edited), fields[i].Of(row)) {
			t.Errorf("column %d changed", i)
		}
	}
	for cut := range row {
		if _, err := WalkBinary(nil, row[:cut], binaryTypes); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

func sampleExecute() Execute {
	text, _ := BytesParam(nil, []byte("value"))
	return Execute{Statement: 9, Flags: CursorReadOnly, Iterations: 1, Params: []Param{
		{ParamType: ParamType{TypeLongLong, true}, Encoded: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		{ParamType: ParamType{TypeVarString, false}, Null: true},
		text,
		{ParamType: ParamType{TypeBlob, false}, Long: true},
		{ParamType: ParamType{TypeDatetime, false}, Encoded: []byte{4, 0xe6, 7, 1, 2}},
		{ParamType: ParamType{TypeNull, false}},
	}}
}

func TestExecute(t *testing.T) {
	want := sampleExecute()
	p := want.Append(nil)
	long := []bool{false, false, false, true}
	var got Execute
	if err := ParseExecute(p, 6, nil, long, &got); err != nil {
		t.Fatal(err)
	}
	if got.Statement != 9 || got.Flags != CursorReadOnly || !got.NewTypes || string(got.Params[2].Value) != "value" ||
		!got.Params[1].Null || !got.Params[3].Long || !got.Params[0].Unsigned || len(got.Params[4].Value) != 4 {
		t.Errorf("parsed %+v", got)
	}
	if again := got.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("rebuilt %x from %x", again, p)
	}

	// The second execution of the same statement leaves the types out.
	types := make([]ParamType, len(got.Params))
	for i, q := range got.Params {
		types[i] = q.ParamType
	}
	head := executeFixed + bitmapSize(6, 0)
	short := append(bytes.Clone(p[:head]), 0)
	short = append(short, p[head+1+2*6:]...)
	var second Execute
	if err := ParseExecute(short, 6, types, long, &second); err != nil {
		t.Fatal(err)
	}
	if second.NewTypes || !reflect.DeepEqual(second.Params, got.Params) {
		t.Errorf("with cached types %+v, want %+v", second.Params, got.Params)
	}
	if again := second.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("rebuilt with types %x, want %x", again, p)
	}
	if err := ParseExecute(short, 6, nil, long, &second); !errors.Is(err, ErrMalformed) {
		t.Errorf("without types: %v", err)
	}
	if err := ParseExecute(append(bytes.Clone(p), 0, 'x'), 6, nil, long, &got); err != nil || got.Trailing != 2 {
		t.Errorf("with two bytes behind the last parameter: %v, Trailing %d", err, got.Trailing)
	}
	if again := got.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("rebuilt %x, want %x without what was behind it", again, p)
	}
	for cut := range p {
		if err := ParseExecute(p[:cut], 6, nil, long, &got); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

func TestRequests(t *testing.T) {
	if l, err := ParseLongData(LongData{7, 2, []byte("piece")}.Append(nil)); err != nil || l.Statement != 7 || l.Param != 2 || string(l.Data) != "piece" {
		t.Errorf("long data %+v, %v", l, err)
	}
	if f, err := ParseFetch([]byte{byte(ComStmtFetch), 1, 0, 0, 0, 5, 0, 0, 0}); err != nil || f != (Fetch{1, 5}) {
		t.Errorf("fetch %+v, %v", f, err)
	}
	if f, err := ParseFieldList([]byte("\x04entries\x00t%")); err != nil || string(f.Table) != "entries" || string(f.Pattern) != "t%" {
		t.Errorf("field list %+v, %v", f, err)
	}
	if o, err := ParseSetOption([]byte{byte(ComSetOption), 1, 0}); err != nil || o != OptionMultiStatementsOff {
		t.Errorf("option %v, %v", o, err)
	}
	if id, err := ParseStatement([]byte{byte(ComStmtClose), 0xff, 0xff, 0xff, 0xff}); err != nil || id != LastStatement {
		t.Errorf("statement %v, %v", id, err)
	}
	if o, err := ParsePrepareOK(PrepareOK{1, 2, 3, 4}.Append(nil)); err != nil || o != (PrepareOK{1, 2, 3, 4}) {
		t.Errorf("prepare %+v, %v", o, err)
	}
	p := []byte{byte(ComStmtReset), 1, 2, 3, 4}
	if !SetStatement(p, 0x01020304) || !bytes.Equal(p, []byte{byte(ComStmtReset), 4, 3, 2, 1}) || SetStatement(p[:4], 1) {
		t.Errorf("statement id written as %x", p)
	}
}

func TestAnswersAreReplies(t *testing.T) {
	columns := []Column{sampleColumn(), sampleColumn()}
	for _, caps := range []Capabilities{eofCaps, okCaps, okCaps | CapSessionTrack | CapExtendedMetadata} {
		for name, test := range map[string]struct {
			kind ReplyKind
			do   func(Answer) error
			rows int
		}{
			"OK":  {ReplyQuery, func(a Answer) error { return a.OK(1, 2, 3) }, 0},
			"ERR": {ReplyQuery, func(a Answer) error { return a.ERR(ERR{9701, "LK001", "no key"}) }, 0},
			"text resultset": {ReplyQuery, func(a Answer) error {
				return errors.Join(a.Columns(columns), a.TextRow([]byte("a"), nil), a.TextRow([]byte{}, []byte("b")), a.End(0))
			}, 2},
			"binary resultset": {ReplyExecute, func(a Answer) error {
				return errors.Join(a.Columns(columns), a.BinaryRow([]byte("a"), nil), a.End(0))
			}, 1},
			"prepared":                   {ReplyPrepare, func(a Answer) error { return a.Prepared(5, 2, columns) }, 0},
			"prepared without columns":   {ReplyPrepare, func(a Answer) error { return a.Prepared(5, 1, nil) }, 0},
			"prepared without parameter": {ReplyPrepare, func(a Answer) error { return a.Prepared(5, 0, columns) }, 0},
		} {
			s := &stream{}
			c := NewConn(s, ClientSide)
			c.Writer.Seq = 1
			a := Answer{To: c, Caps: caps, Status: StatusAutocommit}
			if err := errors.Join(test.do(a), c.Flush()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b := NewConn(&stream{in: bytes.Clone(s.out.Bytes())}, BackendSide)
			b.Writer.Seq = 1
			var r Reply
			r.Start(b, nil, test.kind, caps)
			rows := 0
			for {
				e, err := r.Next()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if e == EventDone {
					break
				}
				if e != EventRow {
					continue
				}
				rows++
				p, _ := r.Payload()
				if test.kind == ReplyExecute {
					_, err = WalkBinary(nil, p, []ColumnType{TypeVarString, TypeVarString})
				} else {
					_, err = WalkText(nil, p, 2)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if rows != test.rows || b.Reader.Buffered() > 0 {
				t.Errorf("%s: %d rows and %d bytes left, want %d and 0", name, rows, b.Reader.Buffered(), test.rows)
			}
			_, seqs := split(t, s.out.Bytes())
			for i, seq := range seqs {
				if seq != uint8(i+1) {
					t.Errorf("%s: sequence ids %v", name, seqs)
					break
				}
			}
		}
	}
}

func FuzzOK(f *testing.F) {
	f.Add(OK{AffectedRows: 1, Status: StatusSessionChanged, Track: []byte("\x01\x03\x02db")}.Append(nil, trackCaps), uint64(trackCaps))
	f.Add(OK{EOF: true, Info: []byte("x")}.Append(nil, okCaps), uint64(okCaps))
	f.Fuzz(func(t *testing.T, p []byte, caps uint64) {
		o, err := ParseOK(p, Capabilities(caps))
		if err != nil {
			return
		}
		status, err := Status(p, Capabilities(caps)|CapDeprecateEOF)
		if err != nil || status != o.Status {
			t.Fatalf("status %x, %v; want %x", status, err, o.Status)
		}
		for walk := (Tracks{Rest: o.Track}); walk.Next(); {
		}
		o.Status &^= StatusSessionChanged
		if len(o.Track) > 0 {
			o.Status |= StatusSessionChanged
		}
		again, err := ParseOK(o.Append(nil, Capabilities(caps)), Capabilities(caps))
		if err != nil || again.Status != o.Status || !bytes.Equal(again.Info, o.Info) || !bytes.Equal(again.Track, o.Track) {
			t.Fatalf("rebuilt %+v, %v; want %+v", again, err, o)
		}
	})
}

func FuzzERR(f *testing.F) {
	f.Add(ERR{1045, "28000", "denied"}.Append(nil))
	f.Add(append([]byte{0xff, 0xff, 0xff, 1, 1, 3, 0x10, 0x27, 0}, "\x05copy "...))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := ParseProgress(p); err == nil && !IsProgress(p) {
			t.Fatal("progress without its code")
		}
		e, err := ParseERR(p)
		if err == nil && !bytes.Equal(e.Append(nil), p) {
			t.Fatalf("rebuilt %x from %x", e.Append(nil), p)
		}
	})
}

func FuzzTracks(f *testing.F) {
	f.Add([]byte("\x01\x03\x02db"))
	f.Add([]byte("\x00\x0e\x0aautocommit\x02ON"))
	f.Fuzz(func(t *testing.T, p []byte) {
		steps := 0
		for walk := (Tracks{Rest: p}); walk.Next(); {
			if steps++; steps > len(p) {
				t.Fatal("more pieces than bytes")
			}
		}
	})
}

func FuzzColumn(f *testing.F) {
	c := sampleColumn()
	f.Add(c.Append(nil, eofCaps), false)
	f.Add(c.Append(nil, eofCaps|CapExtendedMetadata), true)
	f.Fuzz(func(t *testing.T, p []byte, extended bool) {
		caps := eofCaps
		if extended {
			caps |= CapExtendedMetadata
		}
		var c, again Column
		if ParseColumn(p, caps, &c) != nil {
			return
		}
		q := c.Append(nil, caps)
		if err := ParseColumn(q, caps, &again); err != nil || !bytes.Equal(again.Append(nil, caps), q) {
			t.Fatalf("rebuilt %x, %v", q, err)
		}
		if m, err := ParseExtendedMetadata(c.Extended); err == nil {
			if n, err := ParseExtendedMetadata(m.Append(nil)); err != nil || n != m {
				t.Fatalf("extended metadata %+v, %v; want %+v", n, err, m)
			}
		}
	})
}

func FuzzTextRow(f *testing.F) {
	f.Add([]byte("\x03one\xfb\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, row []byte, columns uint8) {
		fields, err := WalkText(nil, row, int(columns))
		if err != nil {
			return
		}
		if got := AppendTextRow(nil, row, fields, nil); !bytes.Equal(got, row) {
			t.Fatalf("rebuilt %x from %x", got, row)
		}
		var edits []Edit
		for i := range fields {
			edits = append(edits, Edit{Column: i, Null: i%2 == 0, Value: []byte("v")})
		}
		if _, err := WalkText(nil, AppendTextRow(nil, row, fields, edits), int(columns)); err != nil {
			t.Fatalf("edited row: %v", err)
		}
	})
}

func FuzzBinaryRow(f *testing.F) {
	types := make([]byte, len(binaryTypes))
	for i, t := range binaryTypes {
		types[i] = byte(t)
	}
	f.Add(sampleBinaryRow(), types)
	f.Fuzz(func(t *testing.T, row, types []byte) {
		columns := make([]ColumnType, len(types))
		for i, b := range types {
			columns[i] = ColumnType(b)
		}
		fields, err := WalkBinary(nil, row, columns)
		if err != nil {
			return
		}
		if got := AppendBinaryRow(nil, row, fields, nil); !bytes.Equal(got, row) {
			t.Fatalf("rebuilt %x from %x", got, row)
		}
		var edits []Edit
		for i := range fields {
			columns[i] = TypeBlob
			edits = append(edits, Edit{Column: i, Null: i%2 == 0, Value: []byte("\x01v")})
		}
		if _, err := WalkBinary(nil, AppendBinaryRow(nil, row, fields, edits), columns); err != nil {
			t.Fatalf("edited row: %v", err)
		}
	})
}

func FuzzExecute(f *testing.F) {
	e := sampleExecute()
	f.Add(e.Append(nil), uint8(6), uint8(1<<3))
	f.Fuzz(func(t *testing.T, p []byte, params, longMask uint8) {
		long := make([]bool, 8)
		for i := range long {
			long[i] = longMask&(1<<i) != 0
		}
		types := make([]ParamType, params)
		for i := range types {
			types[i].Type = ColumnType(i)
		}
		var e, again Execute
		if ParseExecute(p, int(params), types, long, &e) != nil {
			return
		}
		if err := ParseExecute(e.Append(nil), int(params), nil, long, &again); err != nil {
			t.Fatalf("rebuilt request: %v", err)
		}
		for i := range e.Params {
			if !bytes.Equal(again.Params[i].Value, e.Params[i].Value) || again.Params[i].Type != e.Params[i].Type {
				t.Fatalf("parameter %d is %+v, want %+v", i, again.Params[i], e.Params[i])
			}
		}
	})
}

func FuzzRequests(f *testing.F) {
	f.Add([]byte("\x04entries\x00t%"))
	f.Add([]byte{byte(ComStmtSendLong), 1, 0, 0, 0, 2, 0, 'x'})
	f.Fuzz(func(t *testing.T, p []byte) {
		if l, err := ParseLongData(p); err == nil && !bytes.Equal(l.Append(nil)[1:], p[1:]) {
			t.Fatalf("long data %+v from %x", l, p)
		}
		if o, err := ParsePrepareOK(p); err == nil {
			if again, err := ParsePrepareOK(o.Append(nil)); err != nil || again != o {
				t.Fatalf("prepare %+v, %v; want %+v", again, err, o)
			}
		}
		// The others only have to stay within the packet.
		_, _ = ParseFetch(p)
		_, _ = ParseFieldList(p)
		_, _ = ParseSetOption(p)
		_, _ = ParseStatement(p)
		_, _, _ = ParseExecuteHead(p)
		_, _ = ParseEOF(p)
	})
}

// FuzzReader reads a stream twice, whole and in pieces.
func FuzzReader(f *testing.F) {
	f.Add(append(packets(0, []byte{byte(ComPing)}), packets(0, make([]byte, 100))...), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		read := func(chunk int) (payloads [][]byte) {
			c := NewConn(&stream{in: in, chunk: chunk}, ClientSide)
			for {
				p, err := c.ReadCommand(1 << 16)
				if err != nil {
					return payloads
				}
				payloads = append(payloads, bytes.Clone(p.Payload))
			}
		}
		if whole, pieces := read(0), read(int(chunk)); !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("whole %x, in pieces %x", whole, pieces)
		}
	})
}
