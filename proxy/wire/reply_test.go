package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

func wantIO(t *testing.T, err error, side Side, want error) {
	t.Helper()
	var e *IOError
	if !errors.As(err, &e) || e.Side != side || !errors.Is(err, want) {
		t.Errorf("error %v, want %v on the %v side", err, want, side)
	}
}

const (
	eofCaps = CapProtocol41
	okCaps  = CapProtocol41 | CapDeprecateEOF
)

// script builds the payloads of a reply.
type script struct {
	caps     Capabilities
	payloads [][]byte
	events   []Event
}

func (s *script) add(e Event, p []byte) *script {
	s.payloads = append(s.payloads, p)
	s.events = append(s.events, e)
	return s
}

func (s *script) ok(status StatusFlags) *script {
	return s.add(EventOK, OK{AffectedRows: 3, Status: status}.Append(nil, s.caps))
}

func (s *script) fail() *script {
	return s.add(EventERR, ERR{1064, "42000", "no"}.Append(nil))
}

func (s *script) progress() *script {
	return s.add(EventProgress, append([]byte{0xff, 0xff, 0xff, 1, 1, 2, 0, 0, 0}, "\x04copy"...))
}

func (s *script) count(n int) *script {
	return s.add(EventColumnCount, AppendLenenc(nil, uint64(n)))
}

func (s *script) columns(n int, e Event) *script {
	for i := range n {
		c := Column{Catalog: []byte("def"), Name: fmt.Appendf(nil, "c%d", i), Type: TypeVarString}
		s.add(e, c.Append(nil, s.caps))
	}
	return s
}

func (s *script) columnsEnd(status StatusFlags, e Event) *script {
	if s.caps.Has(CapDeprecateEOF) {
		return s
	}
	return s.add(e, EOF{Status: status}.Append(nil))
}

func (s *script) row(p []byte) *script { return s.add(EventRow, p) }

func (s *script) end(status StatusFlags) *script {
	if s.caps.Has(CapDeprecateEOF) {
		return s.add(EventResultEnd, OK{EOF: true, Status: status}.Append(nil, s.caps))
	}
	return s.add(EventResultEnd, EOF{Status: status}.Append(nil))
}

// textRow is a row of two columns.
func textRow(a, b string) []byte {
	return AppendTextValue(AppendTextValue(nil, []byte(a), false), []byte(b), b == "")
}

var binaryRow = []byte{0, 0, 1, 'a', 1, 'b'}

// replies are scripts for every state of the machine.
func replies(caps Capabilities) map[string]struct {
	kind ReplyKind
	*script
} {
	type entry = struct {
		kind ReplyKind
		*script
	}
	s := func() *script { return &script{caps: caps} }
	prepared := func(params, columns int) *script {
		return s().add(EventPrepareOK, PrepareOK{7, uint16(columns), uint16(params), 0}.Append(nil))
	}
	m := map[string]entry{
		"OK":               {ReplyQuery, s().ok(0)},
		"ERR":              {ReplyQuery, s().fail()},
		"status OK":        {ReplyStatus, s().ok(StatusAutocommit)},
		"status EOF":       {ReplyStatus, s().end(0)},
		"status ERR":       {ReplyStatus, s().fail()},
		"string":           {ReplyString, s().add(EventString, []byte("Uptime: 1"))},
		"empty string":     {ReplyString, s().add(EventString, nil)},
		"progress then OK": {ReplyQuery, s().progress().progress().ok(0)},
		"empty resultset": {ReplyQuery,
			s().count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd).end(0)},
		"rows": {ReplyQuery,
			s().count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd).
				row(textRow("x", "")).row(textRow("", "y")).row(textRow("\xfe", "\xff")).end(StatusAutocommit)},
		"rows with progress": {ReplyQuery,
			s().count(2).progress().columns(2, EventColumn).progress().columnsEnd(0, EventColumnsEnd).
				row(textRow("x", "")).progress().row(textRow("y", "")).end(0)},
		"rows then ERR": {ReplyQuery,
			s().count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd).row(textRow("x", "y")).fail()},
		"several results": {ReplyQuery,
			s().ok(StatusMoreResults).
				count(2).columns(2, EventColumn).columnsEnd(StatusMoreResults, EventColumnsEnd).
				row(textRow("a", "b")).end(StatusMoreResults).
				count(1).columns(1, EventColumn).columnsEnd(StatusMoreResults, EventColumnsEnd).
				row([]byte("\x01z")).end(StatusMoreResults).ok(0)},
		"several results then ERR": {ReplyQuery, s().ok(StatusMoreResults).fail()},
		"more than 250 columns": {ReplyQuery,
			s().count(300).columns(300, EventColumn).columnsEnd(0, EventColumnsEnd).
				row(make([]byte, 300)).end(0)},
		"binary rows": {ReplyExecute,
			s().count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd).row(binaryRow).row(binaryRow).end(0)},
		"output parameters": {ReplyExecute,
			s().count(2).columns(2, EventColumn).columnsEnd(StatusMoreResults|StatusPSOutParams, EventColumnsEnd).
				row(binaryRow).end(StatusMoreResults | StatusPSOutParams).ok(0)},
		"cursor": {ReplyCursor,
			s().count(2).columns(2, EventColumn).end(StatusCursorExists)},
		"cursor not opened": {ReplyCursor,
			s().count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd).row(binaryRow).end(0)},
		"fetch":                    {ReplyFetch, s().row(binaryRow).row(binaryRow).end(StatusLastRowSent)},
		"fetch nothing":            {ReplyFetch, s().end(StatusLastRowSent)},
		"field list":               {ReplyFields, s().columns(3, EventColumn).end(0)},
		"prepare without anything": {ReplyPrepare, prepared(0, 0)},
		"prepare with parameters": {ReplyPrepare,
			prepared(2, 0).columns(2, EventParam).columnsEnd(0, EventParamsEnd)},
		"prepare with columns": {ReplyPrepare,
			prepared(0, 2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd)},
		"prepare with both": {ReplyPrepare,
			prepared(2, 1).columns(2, EventParam).columnsEnd(0, EventParamsEnd).
				columns(1, EventColumn).columnsEnd(0, EventColumnsEnd)},
		"prepare ERR": {ReplyPrepare, s().fail()},
	}
	return m
}

// relay runs a reply through a Reply and returns what the client got.
func relay(t *testing.T, in []byte, chunk int, start, clientSeq uint8, kind ReplyKind, caps Capabilities,
	each func(*Reply, Event) error) (*stream, error) {
	t.Helper()
	from, to := &stream{in: in, chunk: chunk}, &stream{}
	b, c := NewConn(from, BackendSide), NewConn(to, ClientSide)
	b.Writer.Seq, c.Writer.Seq = start, clientSeq
	var r Reply
	r.Start(b, c, kind, caps)
	for {
		event, err := r.Next()
		if err != nil {
			return to, err
		}
		if each != nil {
			if err := each(&r, event); err != nil {
				return to, err
			}
		}
		if event == EventDone {
			break
		}
	}
	if err := r.Close(); err != nil {
		return to, err
	}
	if len(from.in) > 0 || b.Reader.Buffered() > 0 {
		t.Errorf("%d bytes of the reply were left", len(from.in)+b.Reader.Buffered())
	}
	if b.Reader.sink != nil {
		t.Error("the relay goes on behind the end of the reply")
	}
	return to, nil
}

func TestRepliesPassUnchanged(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		for name, reply := range replies(caps) {
			t.Run(fmt.Sprintf("%s, DEPRECATE_EOF %v", name, caps.Has(CapDeprecateEOF)), func(t *testing.T) {
				in := packets(1, reply.payloads...)
				for chunk := range len(in) + 1 {
					var events []Event
					to, err := relay(t, in, chunk, 1, 1, reply.kind, caps, func(r *Reply, e Event) error {
						if e != EventDone {
							events = append(events, e)
						}
						return nil
					})
					if err != nil {
						t.Fatalf("pieces of %d bytes: %v", chunk, err)
					}
					if !bytes.Equal(to.out.Bytes(), in) {
						t.Fatalf("pieces of %d bytes: client got\n%x\nwant\n%x", chunk, to.out.Bytes(), in)
					}
					if !slices.Equal(events, reply.events) {
						t.Fatalf("pieces of %d bytes: events %v, want %v", chunk, events, reply.events)
					}
					if chunk == 0 && to.writes != 1 {
						t.Errorf("%d writes for one chunk, want 1", to.writes)
					}
					if chunk > 200 {
						break
					}
				}
			})
		}
	}
}

func TestEndRelaysAndRenumbers(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		for name, reply := range replies(caps) {
			in, want := packets(1, reply.payloads...), packets(254, reply.payloads...)
			for _, chunk := range []int{0, 1, 3, 7, 50} {
				from, to := &stream{in: in, chunk: chunk}, &stream{}
				b, c := NewConn(from, BackendSide), NewConn(to, ClientSide)
				b.Writer.Seq, c.Writer.Seq = 1, 254
				var r Reply
				r.Start(b, c, reply.kind, caps)
				if err := r.End(ERR{}); err != nil {
					t.Fatalf("%s in pieces of %d bytes: %v", name, chunk, err)
				}
				if !bytes.Equal(to.out.Bytes(), want) {
					t.Fatalf("%s in pieces of %d bytes: got\n%x\nwant\n%x", name, chunk, to.out.Bytes(), want)
				}
				if got := c.Writer.Seq; got != uint8(254+len(reply.payloads)) {
					t.Errorf("%s: next sequence id %d, want %d", name, got, uint8(254+len(reply.payloads)))
				}
				if got, want := r.Failed, reply.events[len(reply.events)-1] == EventERR; got != want {
					t.Errorf("%s: Failed = %v, want %v", name, got, want)
				}
			}
		}
	}
}

func TestTruncatedRepliesFail(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		for name, reply := range replies(caps) {
			in := packets(1, reply.payloads...)
			for cut := range min(len(in), 400) {
				_, err := relay(t, in[:cut], 0, 1, 1, reply.kind, caps, nil)
				if err == nil {
					t.Fatalf("%s cut to %d of %d bytes: no error", name, cut, len(in))
				}
				var e *IOError
				if !errors.As(err, &e) || e.Side != BackendSide {
					t.Fatalf("%s cut to %d bytes: %v, want an error of the backend side", name, cut, err)
				}
			}
		}
	}
}

func TestImpossibleRepliesFail(t *testing.T) {
	for _, test := range []struct {
		name string
		kind ReplyKind
		caps Capabilities
		in   [][]byte
	}{
		{"empty packet", ReplyQuery, eofCaps, [][]byte{{}}},
		{"column count 0 is an OK packet and too short", ReplyQuery, eofCaps, [][]byte{{0}}},
		{"column count with more behind it", ReplyQuery, eofCaps, [][]byte{{1, 1}}},
		{"column count of 8 bytes", ReplyQuery, eofCaps, [][]byte{{0xfe, 1, 0, 0, 0, 0, 0, 0, 0}}},
		{"EOF packet in place of a result", ReplyQuery, eofCaps, [][]byte{{0xfe, 0, 0, 0, 0}}},
		{"binary row with another head", ReplyFetch, eofCaps, [][]byte{{1, 0, 1}}},
		{"EOF of 6 bytes", ReplyFetch, eofCaps, [][]byte{{0xfe, 0, 0, 0, 0, 0}}},
		{"no EOF behind the columns", ReplyQuery, eofCaps, [][]byte{{1}, {3, 'd', 'e', 'f'}, {1, 'x'}}},
		{"status of another kind", ReplyStatus, eofCaps, [][]byte{{5}}},
		{"short prepare reply", ReplyPrepare, eofCaps, [][]byte{{0, 1, 0, 0, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := relay(t, packets(1, test.in...), 0, 1, 1, test.kind, test.caps, nil)
			wantIO(t, err, BackendSide, ErrMalformed)
		})
	}
}

func TestReplaceDropAndEdit(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		rows := func(rows ...string) [][]byte {
			s := (&script{caps: caps}).count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd)
			for _, r := range rows {
				s.row(textRow(r, "z"))
			}
			return s.end(0).payloads
		}
		in := packets(1, rows("pass", "replace", "drop", "double", "edit", "pass too")...)
		want := packets(1, rows("pass", "replaced", "double", "double", "edited", "pass too")...)
		for chunk := range len(in) {
			to, err := relay(t, in, chunk, 1, 1, ReplyQuery, caps, func(r *Reply, e Event) error {
				if e != EventRow {
					return nil
				}
				row, err := r.Payload()
				if err != nil {
					return err
				}
				fields, err := WalkText(nil, row, 2)
				if err != nil {
					return err
				}
				switch string(fields[0].Of(row)) {
				case "replace":
					return r.Replace(textRow("replaced", "z"))
				case "drop":
					return r.Drop()
				case "double":
					if err := r.Replace(row); err != nil {
						return err
					}
					return r.Replace(row)
				case "edit":
					dst, err := r.Edit(len(row))
					if err != nil {
						return err
					}
					return r.Commit(AppendTextRow(dst, row, fields, []Edit{{Column: 0, Value: []byte("edited")}}))
				}
				return nil
			})
			if err != nil {
				t.Fatalf("pieces of %d bytes: %v", chunk, err)
			}
			if !bytes.Equal(to.out.Bytes(), want) {
				t.Fatalf("pieces of %d bytes: got\n%q\nwant\n%q", chunk, to.out.Bytes(), want)
			}
		}
	}
}

// TestRowsAroundThePacketSize passes, looks at, drops and replaces rows of one, two and three
// packets, and checks that the sequence ids stay without gaps.
func TestRowsAroundThePacketSize(t *testing.T) {
	big := func(n int) []byte {
		p := AppendLenenc(nil, uint64(n))
		return append(p, bytes.Repeat([]byte{'b'}, n)...)
	}
	rows := [][]byte{big(MaxPayload - 4), big(MaxPayload - 9), big(MaxPayload + 30), big(2*MaxPayload - 9), []byte("\x01s")}
	head := (&script{caps: okCaps}).count(1).columns(1, EventColumn).payloads
	tail := (&script{caps: okCaps}).end(0).payloads
	in := packets(1, slices.Concat(head, rows, tail)...)
	for _, test := range []struct {
		name string
		do   func(*Reply) error
		want [][]byte
	}{
		{"passed", func(*Reply) error { return nil }, rows},
		{"looked at", func(r *Reply) error { _, err := r.Payload(); return err }, rows},
		{"dropped", func(r *Reply) error { return r.Drop() }, nil},
		{"dropped after a look", func(r *Reply) error {
			if _, err := r.Payload(); err != nil {
				return err
			}
			return r.Drop()
		}, nil},
		{"replaced by small ones", func(r *Reply) error { return r.Replace([]byte("\x01x")) },
			[][]byte{[]byte("\x01x"), []byte("\x01x"), []byte("\x01x"), []byte("\x01x"), []byte("\x01x")}},
		{"edited to large ones", func(r *Reply) error {
			p, err := r.Payload()
			if err != nil {
				return err
			}
			dst, err := r.Edit(len(p))
			if err != nil {
				return err
			}
			return r.Commit(append(append(dst, p...), p...))
		}, func() (twice [][]byte) {
			for _, r := range rows {
				twice = append(twice, slices.Concat(r, r))
			}
			return twice
		}()},
	} {
		t.Run(test.name, func(t *testing.T) {
			to, err := relay(t, in, 1<<20, 1, 1, ReplyQuery, okCaps, func(r *Reply, e Event) error {
				if e == EventRow {
					return test.do(r)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := packets(1, slices.Concat(head, test.want, tail)...); !bytes.Equal(to.out.Bytes(), want) {
				t.Errorf("got %d bytes, want %d, or other contents", to.out.Len(), len(want))
			}
		})
	}
}

func TestRowLimitHoldsOnlyForRowsThatAreLookedAt(t *testing.T) {
	in := packets(1, []byte("\xfd\x00\x10\x00"+string(make([]byte, 4096))), (&script{caps: okCaps}).end(0).payloads[0])
	in[HeaderSize] = 0 // a binary row
	for _, look := range []bool{false, true} {
		b, c := NewConn(&stream{in: in, chunk: 100}, BackendSide), NewConn(&stream{}, ClientSide)
		b.Writer.Seq, c.Writer.Seq = 1, 1
		var r Reply
		r.SetLimit(1000)
		r.Start(b, c, ReplyFetch, okCaps)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		var err error
		if look {
			_, err = r.Payload()
			wantIO(t, err, BackendSide, ErrTooLarge)
		} else if err = r.End(ERR{}); err != nil {
			t.Error(err)
		}
	}
}

func TestAbortGivesOneErrorAndReadsTheRest(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		s := (&script{caps: caps}).count(2).columns(2, EventColumn).columnsEnd(0, EventColumnsEnd)
		before := len(s.payloads)
		s.row(textRow("a", "b")).row(textRow("c", "d")).row(textRow("e", "f")).end(StatusMoreResults).ok(0)
		e := ERR{9703, "LK003", "no"}
		want := packets(1, append(slices.Clone(s.payloads[:before+1]), e.Append(nil))...)
		in := packets(1, s.payloads...)
		for chunk := range len(in) {
			rows := 0
			to, err := relay(t, in, chunk, 1, 1, ReplyQuery, caps, func(r *Reply, ev Event) error {
				if ev == EventRow {
					if rows++; rows == 2 {
						return r.Abort(e)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(to.out.Bytes(), want) {
				t.Fatalf("pieces of %d bytes: got\n%q\nwant\n%q", chunk, to.out.Bytes(), want)
			}
		}
	}
}

func TestMoreMarksEveryResult(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		build := func(more StatusFlags) [][]byte {
			return (&script{caps: caps}).count(1).columns(1, EventColumn).columnsEnd(more, EventColumnsEnd).
				row([]byte("\x01z")).end(more).payloads
		}
		from, to := &stream{}, &stream{}
		b, c := NewConn(from, BackendSide), NewConn(to, ClientSide)
		c.Writer.Seq = 1
		var r Reply
		for _, more := range []bool{true, true, false} {
			from.in = packets(1, build(0)...)
			b.Writer.Seq = 1
			r.Start(b, c, ReplyQuery, caps)
			r.More = more
			if err := r.End(ERR{}); err != nil {
				t.Fatal(err)
			}
		}
		want := packets(1, slices.Concat(build(StatusMoreResults), build(StatusMoreResults), build(0))...)
		if !bytes.Equal(to.out.Bytes(), want) {
			t.Errorf("got\n%x\nwant\n%x", to.out.Bytes(), want)
		}
	}
}

func TestReplyWithoutClientIsRead(t *testing.T) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		for name, reply := range replies(caps) {
			for _, fast := range []bool{false, true} {
				b := NewConn(&stream{in: append(packets(1, reply.payloads...), 0xaa), chunk: 11}, BackendSide)
				b.Writer.Seq = 1
				var r Reply
				r.Start(b, nil, reply.kind, caps)
				if fast {
					if err := r.End(ERR{}); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				} else {
					for i := 0; ; i++ {
						e, err := r.Next()
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if e == EventDone {
							break
						}
						p, err := r.Payload()
						if err != nil || !bytes.Equal(p, reply.payloads[i]) {
							t.Fatalf("%s: payload %d is %x, %v; want %x", name, i, p, err, reply.payloads[i])
						}
					}
				}
				if rest, _ := b.Reader.Read(10); rest.Payload != nil {
					t.Errorf("%s: read into what follows", name)
				}
			}
		}
	}
}

func TestInfile(t *testing.T) {
	request := append([]byte{0xfb}, "/some/file"...)
	reply := OK{AffectedRows: 2}.Append(nil, okCaps)
	big := make([]byte, MaxPayload)
	for _, test := range []struct {
		name string
		file [][]byte
	}{
		{"empty", nil},
		{"two packets", [][]byte{[]byte("a,b\n"), []byte("c,d\n")}},
		{"a packet continued by an empty one", [][]byte{big, []byte("x")}},
	} {
		for _, refuse := range []bool{false, true} {
			for _, shift := range []uint8{0, 5} {
				t.Run(fmt.Sprintf("%s, refused %v, shifted %d", test.name, refuse, shift), func(t *testing.T) {
					client := &stream{chunk: 1 << 20}
					file := packets(2+shift, append(slices.Clone(test.file), nil)...)
					if !refuse {
						client.in = file
					}
					after := 2 + uint8((len(packets(0, append(slices.Clone(test.file), nil)...))-total(test.file))/HeaderSize)
					if refuse {
						after = 3
					}
					backend := &stream{in: slices.Concat(packets(1, request), packets(after, reply))}
					b, c := NewConn(backend, BackendSide), NewConn(client, ClientSide)
					b.Writer.Seq, c.Writer.Seq = 1, 1+shift
					var r Reply
					r.Start(b, c, ReplyQuery, okCaps)
					e, err := r.Next()
					if err != nil || e != EventInfile {
						t.Fatalf("event %v, %v; want %v", e, err, EventInfile)
					}
					no := ERR{1148, "42000", "not here"}
					if !refuse {
						if err := r.RelayInfile(); err != nil {
							t.Fatal(err)
						}
					}
					if refuse {
						err = r.RefuseInfile(no)
					}
					if err == nil {
						err = r.End(no)
					}
					if err != nil {
						t.Fatal(err)
					}
					wantClient := slices.Concat(packets(1+shift, request), packets(after+shift, reply))
					wantBackend := packets(2, append(slices.Clone(test.file), nil)...)
					if refuse {
						wantClient, wantBackend = packets(1+shift, no.Append(nil)), packets(2, nil)
					}
					if !bytes.Equal(client.out.Bytes(), wantClient) {
						t.Errorf("client got %x, want %x", client.out.Bytes(), wantClient)
					}
					if !bytes.Equal(backend.out.Bytes(), wantBackend) {
						t.Errorf("backend got %d bytes, want %d", backend.out.Len(), len(wantBackend))
					}
				})
			}
		}
	}
}

func total(payloads [][]byte) (n int) {
	for _, p := range payloads {
		n += len(p)
	}
	return n
}

// endless repeats a reply for ever and swallows what is written.
type endless struct {
	reply []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.reply[e.at:])
	if e.at += n; e.at == len(e.reply) {
		e.at = 0
	}
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

// manyRows is a resultset of n narrow rows.
func manyRows(n int) []byte {
	s := (&script{caps: okCaps}).count(2).columns(2, EventColumn)
	for range n {
		s.row(textRow("some value", "another"))
	}
	return packets(1, s.end(0).payloads...)
}

func TestPassedPacketsCostNoAllocation(t *testing.T) {
	b := NewConn(&endless{reply: manyRows(2000)}, BackendSide)
	c := NewConn(&endless{reply: packets(0, []byte("\x03SELECT 1"))}, ClientSide)
	var r Reply
	var fields []Field
	edits := []Edit{{Column: 1, Value: []byte("opened")}}
	run := func(walk bool) float64 {
		return testing.AllocsPerRun(50, func() {
			p, err := c.ReadCommand(1000)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Forward(p); err != nil {
				t.Fatal(err)
			}
			r.Start(b, c, ReplyQuery, okCaps)
			for walk {
				e, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if e == EventDone {
					break
				}
				if e != EventRow {
					continue
				}
				row, err := r.Payload()
				if err != nil {
					t.Fatal(err)
				}
				if fields, err = WalkText(fields[:0], row, 2); err != nil {
					t.Fatal(err)
				}
				dst, err := r.Edit(len(row))
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Commit(AppendTextRow(dst, row, fields, edits)); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.End(ERR{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, walk := range []bool{false, true} {
		if got := run(walk); got > 0 && !raceEnabled {
			t.Errorf("rows rewritten %v: %v allocations for a command and 2000 rows, want 0", walk, got)
		}
	}
}

func TestOneWritePerChunk(t *testing.T) {
	in := manyRows(20000)
	from, to := &stream{in: in, chunk: BufferSize}, &stream{}
	b, c := NewConn(from, BackendSide), NewConn(to, ClientSide)
	b.Writer.Seq, c.Writer.Seq = 1, 1
	var r Reply
	r.Start(b, c, ReplyQuery, okCaps)
	if err := r.End(ERR{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(to.out.Bytes(), in) {
		t.Error("rows changed")
	}
	if to.writes > from.reads {
		t.Errorf("%d writes for %d reads", to.writes, from.reads)
	}
}

func TestFailedWriteNamesTheClient(t *testing.T) {
	b := NewConn(&stream{in: manyRows(10)}, BackendSide)
	c := NewConn(struct {
		io.Reader
		io.Writer
	}{nil, failing{}}, ClientSide)
	b.Writer.Seq, c.Writer.Seq = 1, 1
	var r Reply
	r.Start(b, c, ReplyQuery, okCaps)
	wantIO(t, r.End(ERR{}), ClientSide, io.ErrClosedPipe)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzReply feeds arbitrary bytes as a reply, whole and in pieces: both ways must relay the same.
func FuzzReply(f *testing.F) {
	for _, caps := range []Capabilities{eofCaps, okCaps} {
		for _, reply := range replies(caps) {
			f.Add(packets(1, reply.payloads...), uint8(reply.kind), caps.Has(CapDeprecateEOF), uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, kind uint8, deprecate bool, chunk uint8) {
		caps := eofCaps
		if deprecate {
			caps = okCaps
		}
		k := ReplyKind(kind) % (ReplyPrepare + 1)
		run := func(chunk int, look bool) ([]byte, bool) {
			b, c := NewConn(&stream{in: in, chunk: chunk}, BackendSide), NewConn(&stream{}, ClientSide)
			b.Writer.Seq, c.Writer.Seq = 1, 1
			var r Reply
			r.Start(b, c, k, caps)
			for {
				e, err := r.Next()
				if err != nil {
					return nil, false
				}
				if e == EventInfile {
					return nil, false
				}
				if e == EventDone {
					break
				}
				if look {
					if _, err := r.Payload(); err != nil {
						return nil, false
					}
				}
			}
			if err := r.Close(); err != nil {
				return nil, false
			}
			return c.Writer.dst.(*stream).out.Bytes(), true
		}
		whole, ok := run(0, false)
		pieces, okPieces := run(int(chunk), true)
		if ok != okPieces {
			t.Fatalf("accepted whole %v, in pieces %v", ok, okPieces)
		}
		if ok && (!bytes.Equal(whole, pieces) || !bytes.HasPrefix(in, whole)) {
			t.Fatalf("relayed %x and %x of %x", whole, pieces, in)
		}
	})
}

func BenchmarkPassRows(b *testing.B) {
	in := manyRows(10000)
	from, to := NewConn(&endless{reply: in}, BackendSide), NewConn(&endless{}, ClientSide)
	var r Reply
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		from.Writer.Seq, to.Writer.Seq = 1, 1
		r.Start(from, to, ReplyQuery, okCaps)
		if err := r.End(ERR{}); err != nil {
			b.Fatal(err)
		}
	}
}
