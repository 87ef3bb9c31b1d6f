package wire

import (
	"bytes"
	"io"
	"testing"
)

// stream is a connection whose input is fixed and comes in pieces, and whose output is kept with the
// number of writes it took.
type stream struct {
	in     []byte
	chunk  int // largest piece of one read; 0 for no limit
	out    bytes.Buffer
	reads  int
	writes int
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	s.reads++
	n := len(s.in)
	if s.chunk > 0 {
		n = min(n, s.chunk)
	}
	n = copy(p, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}

func (s *stream) Write(p []byte) (int, error) {
	s.writes++
	return s.out.Write(p)
}

// packets frames payloads, beginning with a sequence id.
func packets(seq uint8, payloads ...[]byte) []byte {
	var b bytes.Buffer
	w := Writer{dst: &b, Seq: seq}
	for _, p := range payloads {
		if err := w.Packet(p); err != nil {
			panic(err)
		}
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// split is the opposite of packets: the payloads of a stream, joined, and its sequence ids.
func split(t *testing.T, b []byte) (payloads [][]byte, seqs []uint8) {
	t.Helper()
	var joined []byte
	for len(b) > 0 {
		if len(b) < HeaderSize || len(b) < HeaderSize+headerLength(b) {
			t.Fatalf("output ends inside a packet: %d bytes left", len(b))
		}
		n := headerLength(b)
		seqs = append(seqs, b[3])
		joined = append(joined, b[HeaderSize:HeaderSize+n]...)
		b = b[HeaderSize+n:]
		if n < MaxPayload {
			payloads = append(payloads, joined)
			joined = nil
		}
	}
	return payloads, seqs
}

func TestReaderJoinsFragments(t *testing.T) {
	for _, size := range []int{0, 1, MaxPayload - 1, MaxPayload, MaxPayload + 1, 2 * MaxPayload, 2*MaxPayload + 9} {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		s := &stream{in: append(packets(0, payload), packets(0, []byte{byte(ComPing)})...), chunk: 1 << 20}
		c := NewConn(s, ClientSide)
		p, err := c.Reader.Read(1 << 30)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if !bytes.Equal(p.Payload, payload) {
			t.Errorf("size %d: payload of %d bytes differs", size, len(p.Payload))
		}
		if got, want := int(p.Seq)+1, Fragments(size); got != want {
			t.Errorf("size %d: %d fragments, want %d", size, got, want)
		}
		next, err := c.ReadCommand(10)
		if err != nil || next.Command() != ComPing {
			t.Errorf("size %d: next command %v, %v; want PING", size, next.Payload, err)
		}
		c.Release()
	}
}

func TestForwardedRequestsEqualTheReceived(t *testing.T) {
	for _, size := range []int{1, 100, MaxPayload, MaxPayload + 1} {
		in := packets(0, bytes.Repeat([]byte{3}, size))
		from, to := NewConn(&stream{in: in}, ClientSide), &stream{}
		p, err := from.ReadCommand(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		out := NewConn(to, BackendSide)
		if err := out.Forward(p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(to.out.Bytes(), in) {
			t.Errorf("size %d: forwarded request differs", size)
		}
		if size < 1000 && to.writes != 1 {
			t.Errorf("size %d: %d writes, want 1", size, to.writes)
		}
		if from.Writer.Seq != out.Writer.Seq || int(out.Writer.Seq) != Fragments(size) {
			t.Errorf("size %d: replies start at %d and %d, want %d", size, from.Writer.Seq, out.Writer.Seq, Fragments(size))
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	big := packets(0, make([]byte, MaxPayload+5))
	outOfOrder := bytes.Clone(big)
	outOfOrder[HeaderSize+MaxPayload+3] = 7
	for _, test := range []struct {
		name  string
		in    []byte
		limit int
		want  error
	}{
		{"a packet above the limit", packets(0, make([]byte, 101)), 100, ErrTooLarge},
		{"joined fragments above the limit", big, MaxPayload + 4, ErrTooLarge},
		{"fragments out of order", outOfOrder, 1 << 30, ErrSequence},
		{"a command out of order", packets(1, []byte{1}), 100, ErrSequence},
		{"a closed connection", nil, 100, io.EOF},
		{"half a header", []byte{1, 0}, 100, io.ErrUnexpectedEOF},
		{"half a payload", []byte{9, 0, 0, 0, 1}, 100, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewConn(&stream{in: test.in}, ClientSide).ReadCommand(test.limit)
			wantIO(t, err, ClientSide, test.want)
		})
	}
}

func TestAnnouncedLengthCostsNoMemory(t *testing.T) {
	c := NewConn(&stream{in: []byte{0xfe, 0xff, 0xff, 0, 1, 2, 3}}, ClientSide)
	_, err := c.ReadCommand(1 << 30)
	wantIO(t, err, ClientSide, io.ErrUnexpectedEOF)
	if got := len(c.Reader.buf.b); got != BufferSize {
		t.Errorf("buffer grew to %d bytes for 7 that arrived", got)
	}
}

func TestQueuedRequestsLeaveTogether(t *testing.T) {
	in := append(packets(0, []byte{byte(ComStmtClose), 1, 0, 0, 0}), packets(0, []byte{byte(ComPing)})...)
	from, to := NewConn(&stream{in: in}, ClientSide), &stream{}
	out := NewConn(to, BackendSide)
	for range 2 {
		p, err := from.ReadCommand(100)
		if err != nil {
			t.Fatal(err)
		}
		if from.HasPacket() {
			err = out.Queue(p)
		} else {
			err = out.Forward(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(to.out.Bytes(), in) || to.writes != 1 {
		t.Errorf("got %d bytes in %d writes, want %d in 1", to.out.Len(), to.writes, len(in))
	}
}

func TestBuiltPacketsOfEverySize(t *testing.T) {
	for _, size := range []int{0, 10, 2000, BufferSize, directWrite, MaxPayload - 1, MaxPayload, MaxPayload + 1} {
		s := &stream{}
		w := Writer{dst: s, Seq: 250}
		for range 2 {
			dst := w.Start(100)
			dst = append(dst, bytes.Repeat([]byte{'x'}, size)...)
			if err := w.Finish(dst); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		want := packets(250, bytes.Repeat([]byte{'x'}, size), bytes.Repeat([]byte{'x'}, size))
		if !bytes.Equal(s.out.Bytes(), want) {
			t.Errorf("size %d: built packets differ from framed ones", size)
		}
	}
}

func TestUpgradeKeepsEarlyBytes(t *testing.T) {
	in := append(packets(1, make([]byte, 32)), "TLS"...)
	c := NewConn(&stream{in: in}, ClientSide)
	if _, err := c.Reader.Read(100); err != nil {
		t.Fatal(err)
	}
	if got := string(c.TakeBuffered()); got != "TLS" {
		t.Errorf("early bytes %q, want %q", got, "TLS")
	}
	c.Upgrade(&stream{in: packets(0, []byte{byte(ComPing)})})
	if p, err := c.ReadCommand(10); err != nil || p.Command() != ComPing {
		t.Errorf("command after upgrade %v, %v; want PING", p, err)
	}
}

func TestRestGivesGrownBuffersBack(t *testing.T) {
	c := NewConn(&stream{in: append(packets(0, make([]byte, 10*BufferSize)), packets(0, []byte{byte(ComPing)})...), chunk: 1000}, ClientSide)
	if _, err := c.ReadCommand(1 << 20); err != nil {
		t.Fatal(err)
	}
	if got := len(c.Reader.buf.b); got < 10*BufferSize {
		t.Fatalf("a buffer of %d bytes holds a request of %d", got, 10*BufferSize)
	}
	if c.Reader.Buffered() > 0 {
		before := c.Reader.buf
		if c.Rest(); c.Reader.buf != before {
			t.Error("bytes that were not used yet are gone")
		}
	}
	if p, err := c.ReadCommand(10); err != nil || p.Command() != ComPing {
		t.Fatalf("got %v, %v; want PING", p, err)
	}
	if c.Rest(); c.Reader.buf != nil {
		t.Errorf("a connection at rest keeps %d bytes", len(c.Reader.buf.b))
	}
	if c.Send([]byte{byte(ComPing)}) != nil || c.Writer.buf != nil {
		t.Error("a Writer with nothing to write keeps its buffer")
	}
}
