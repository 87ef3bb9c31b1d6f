package faultconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

const message = "0123456789"

// recorder is the far end of a connection: it records the calls that reach it
// and serves message to reads.
type recorder struct {
	net.Conn
	writes []string
	source *bytes.Reader
	closed bool
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.closed {
		return 0, net.ErrClosed
	}
	r.writes = append(r.writes, string(b))
	return len(b), nil
}

func (r *recorder) Read(b []byte) (int, error) {
	if r.closed {
		return 0, net.ErrClosed
	}
	return r.source.Read(b)
}

func (r *recorder) Close() error { r.closed = true; return nil }

// readCalls reads to the end and returns what each call gave.
func readCalls(c net.Conn) (calls []string, err error) {
	buf := make([]byte, 64)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			calls = append(calls, string(buf[:n]))
		}
		if err == io.EOF {
			return calls, nil
		}
		if err != nil {
			return calls, err
		}
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		faults []Fault
		want   []string
		cut    bool
	}{
		{name: "none", want: []string{message}},
		{name: "cut at the first byte", faults: []Fault{{Kind: Cut}}, cut: true},
		{name: "cut inside", faults: []Fault{{Kind: Cut, At: 4}}, want: []string{"0123"}, cut: true},
		{name: "reset inside", faults: []Fault{{Kind: Reset, At: 9}}, want: []string{"012345678"}, cut: true},
		{name: "cut behind the end", faults: []Fault{{Kind: Cut, At: 11}}, want: []string{message}},
		{name: "split", faults: []Fault{{Kind: Split, At: 3}}, want: []string{"012", "3456789"}},
		{name: "split at the first byte changes nothing", faults: []Fault{{Kind: Split}}, want: []string{message}},
		{name: "split everywhere", faults: []Fault{{Kind: Split, Every: 1}}, want: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}},
		{name: "split in fours", faults: []Fault{{Kind: Split, Every: 4}}, want: []string{"0123", "4567", "89"}},
		{name: "delay", faults: []Fault{{Kind: Delay, At: 5, Pause: time.Nanosecond}}, want: []string{"01234", "56789"}},
		{name: "corrupt all bits", faults: []Fault{{Kind: Corrupt, At: 2}}, want: []string{"01", "\xcd", "3456789"}},
		{name: "corrupt one bit", faults: []Fault{{Kind: Corrupt, At: 2, Mask: 1}}, want: []string{"01", "3", "3456789"}},
		{name: "corrupt the first byte", faults: []Fault{{Kind: Corrupt, Mask: 1}}, want: []string{"1", "123456789"}},
		{name: "corrupt, then cut", faults: []Fault{{Kind: Cut, At: 5}, {Kind: Corrupt, At: 1, Mask: 1}}, want: []string{"0", "0", "234"}, cut: true},
	}
	for _, test := range tests {
		t.Run("write: "+test.name, func(t *testing.T) {
			far := &recorder{}
			c := Wrap(far, Faults{Write: test.faults})
			sent := []byte(message)
			n, err := c.Write(sent)
			if !slices.Equal(far.writes, test.want) {
				t.Errorf("writes = %q, want %q", far.writes, test.want)
			}
			if got := errors.Is(err, ErrFault); got != test.cut {
				t.Errorf("error = %v, want a fault: %v", err, test.cut)
			}
			if far.closed != test.cut {
				t.Errorf("closed = %v, want %v", far.closed, test.cut)
			}
			want := 0
			for _, w := range test.want {
				want += len(w)
			}
			if n != want {
				t.Errorf("written = %d, want %d", n, want)
			}
			if string(sent) != message {
				t.Errorf("the caller's bytes became %q", sent)
			}
		})
		t.Run("read: "+test.name, func(t *testing.T) {
			far := &recorder{source: bytes.NewReader([]byte(message))}
			c := Wrap(far, Faults{Read: test.faults})
			calls, err := readCalls(c)
			if !slices.Equal(calls, test.want) {
				t.Errorf("reads = %q, want %q", calls, test.want)
			}
			if got := errors.Is(err, ErrFault); got != test.cut {
				t.Errorf("error = %v, want a fault: %v", err, test.cut)
			}
			if _, err := c.Read(make([]byte, 1)); test.cut && !errors.Is(err, ErrFault) {
				t.Errorf("a read after the cut = %v, want %v", err, ErrFault)
			}
		})
	}
}

// echo serves connections that send back what they get.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestRelay(t *testing.T) {
	relay := NewRelay(t, echo(t), func(n int) Faults {
		switch n {
		case 1:
			return Faults{Write: []Fault{{Kind: Cut, At: 4}}}
		case 2:
			return Faults{Read: []Fault{{Kind: Corrupt, At: 9, Mask: 1}}}
		}
		return Faults{}
	})
	// roundTrip sends message and returns the answer and how it ended.
	roundTrip := func() (string, error) {
		conn, err := net.Dial("tcp", relay.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(message))
		n, err := io.ReadFull(conn, buf)
		return string(buf[:n]), err
	}
	if got, err := roundTrip(); got != message || err != nil {
		t.Errorf("without fault: %q, %v; want %q", got, err, message)
	}
	// The echo of the four bytes may be overtaken by the close, never more than that.
	if got, err := roundTrip(); err == nil || len(got) > 4 || got != message[:len(got)] {
		t.Errorf("cut at 4: %q, %v; want at most four bytes and an error", got, err)
	}
	if got, err := roundTrip(); got != "0123456788" || err != nil {
		t.Errorf("corrupted: %q, %v; want 0123456788", got, err)
	}

	conn, err := net.Dial("tcp", relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	relay.CutAll()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection survived CutAll")
	}
}
