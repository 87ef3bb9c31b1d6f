package endtoend

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/wire"
)

const (
	// pieceLen is how much of a secret counts as a copy of it, in bytes. Less may be left of a register that the runtime saved
	// when it interrupted a goroutine, until the next time; see docs/threat-model.md.
	pieceLen = 24
	// maxMapping is more than Go maps at once for a program of this size, in bytes.
	maxMapping = 128 << 20
	// goneTimeout bounds how long a busy machine may take to let the cache expire.
	goneTimeout = 30 * time.Second
)

// newTrace makes a trace of the beginning and the end of b.
func newTrace(what string, b []byte) *trace {
	return &trace{what: what, pieces: [][]byte{b[:pieceLen], b[len(b)-pieceLen:]}, whole: b}
}

// passing registers a form that the program holds for the length of a statement only.
func (m *memory) passing(what string, b []byte) {
	p := newTrace(what, b)
	p.passing = true
	m.traces = append(m.traces, p)
}

// wantHeld expects the program to hold every form.
func (m *memory) wantHeld(t *testing.T, traces []*trace) {
	t.Helper()
	found := m.search(t)
	for _, p := range traces {
		for i := range p.pieces {
			if len(found[spot{p, i}]) == 0 {
				t.Errorf("in use, and not found: %s, piece %d", p.what, i)
			}
		}
	}
}

// gone waits until the program holds nothing any more, which is when the cache has expired, and returns what it still holds
// after a time, and where.
func (m *memory) gone(t *testing.T) map[string]string {
	t.Helper()
	deadline := time.Now().Add(goneTimeout)
	for {
		found := m.search(t)
		if len(found) > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Second)
			continue
		}
		left := make(map[string]string)
		for at, where := range found {
			left[at.trace.what] = strings.Join(where, "; ")
		}
		return left
	}
}

// control sends half a packet that holds every form which the program holds for a moment only: the search has to find them
// all. Then the client goes away.
func (m *memory) control(t *testing.T) {
	t.Helper()
	var payload []byte
	for _, p := range m.traces {
		if p.passing {
			payload = append(payload, p.whole...)
		}
	}
	c, err := net.Dial("tcp", m.proxy.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	greeting := make([]byte, 1024)
	if _, err := c.Read(greeting); err != nil {
		t.Fatal(err)
	}
	seq := byte(1)
	if m.tls != nil {
		request := wire.Login{Caps: wireCaps, MaxPacket: 1 << 24, Charset: 45}.AppendSSLRequest(nil)
		if _, err := c.Write(append([]byte{byte(len(request)), 0, 0, seq}, request...)); err != nil {
			t.Fatal(err)
		}
		seq++
		encrypted := tls.Client(c, m.tls)
		if err := encrypted.Handshake(); err != nil {
			t.Fatal(err)
		}
		c = encrypted
	}
	announced := len(payload) + 1
	if _, err := c.Write(append([]byte{byte(announced), byte(announced >> 8), byte(announced >> 16), seq}, payload...)); err != nil {
		t.Fatal(err)
	}
	var missing []string
	for range 100 {
		found := m.search(t)
		missing = missing[:0]
		for _, p := range m.traces {
			for i := range p.pieces {
				if p.passing && len(found[spot{p, i}]) == 0 {
					missing = append(missing, p.what)
				}
			}
		}
		if len(missing) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("sent, and not found: %s", strings.Join(missing, ", "))
}

// spot is a piece of a trace that was found.
type spot struct {
	trace *trace
	piece int
}

// search looks for all traces in everything that the program can write to, and names the places.
func (m *memory) search(t *testing.T) map[spot][]string {
	t.Helper()
	finder := newFinder(m.traces)
	pid := m.proxy.Pid()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	total := int64(0)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var access, offset, device, inode, name string
		fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %s %s", &from, &to, &access, &offset, &device, &inode, &name)
		// The race detector maps terabytes for its own notes, which hold no bytes of the program's.
		if !strings.HasPrefix(access, "rw") || to-from > maxMapping {
			continue
		}
		n, err := finder.read(io.NewSectionReader(memory, from, to-from), fmt.Sprintf("%x-%x %s", from, to, name), from)
		if err != nil {
			t.Fatalf("read %s: %v", lines.Text(), err)
		}
		total += n
	}
	if total < 1<<20 {
		t.Fatalf("only %d bytes of memory were read", total)
	}
	return finder.found
}

// finder finds many pieces in one pass.
type finder struct {
	heads  map[uint64][]spot
	first  [1 << 16]bool // of the first two bytes of some piece
	found  map[spot][]string
	buffer []byte
}

func newFinder(traces []*trace) *finder {
	f := &finder{heads: make(map[uint64][]spot), found: make(map[spot][]string), buffer: make([]byte, 1<<20)}
	for _, p := range traces {
		for i, piece := range p.pieces {
			head := binary.LittleEndian.Uint64(piece)
			f.heads[head] = append(f.heads[head], spot{p, i})
			f.first[uint16(head)] = true
		}
	}
	return f
}

func (f *finder) read(r io.Reader, name string, address int64) (total int64, err error) {
	kept := 0 // bytes at the front of the buffer that were read before
	for {
		n, err := io.ReadFull(r, f.buffer[kept:])
		total += int64(n)
		b := f.buffer[:kept+n]
		f.look(b, name, address-int64(kept))
		address += int64(n)
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return total, nil
		case err != nil:
			// A mapping that went away meanwhile, or one of the kernel's own.
			return total, nil
		}
		kept = copy(f.buffer, b[len(b)-pieceLen+1:])
	}
}

func (f *finder) look(b []byte, name string, address int64) {
	for i := 0; i+pieceLen <= len(b); i++ {
		if !f.first[uint16(b[i])|uint16(b[i+1])<<8] {
			continue
		}
		for _, p := range f.heads[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.Equal(b[i:i+pieceLen], p.trace.pieces[p.piece]) {
				f.found[p] = append(f.found[p], fmt.Sprintf("%x in %s", address+int64(i), name))
			}
		}
	}
}

// guarded looks at what the kernel was told about the program's memory.
func (m *memory) guarded(t *testing.T) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", m.proxy.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest), " ") != "0 0 bytes" {
			t.Errorf("core dumps are on: %s", line)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.proxy.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	locked := !bytes.Contains(status, []byte("VmLck:\t       0 kB"))
	if said := strings.Contains(m.proxy.Log(), "memory is not locked"); locked == said {
		t.Errorf("locked: %t, but the log says that it is not: %t", locked, said)
	}
}
