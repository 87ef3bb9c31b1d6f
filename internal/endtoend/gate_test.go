package endtoend

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate stands between a proxy and MariaDB and watches the statements that go to the keystore, over the proxy's own
// connections. It can let a number of them through and hold the answer of the last one back, so that a test can kill the
// proxy between any two.
type gate struct {
	listener net.Listener
	target   string
	database string // the keystore's

	mu         sync.Mutex
	conns      map[net.Conn]bool
	statements []string
	limit      int // statements that get an answer; negative is all
	held       chan struct{}
}

// newGate starts a gate in front of the server at target for the keystore in database.
func newGate(t *testing.T, target, database string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, target: target, database: database, conns: make(map[net.Conn]bool), limit: -1}
	go g.accept()
	t.Cleanup(func() {
		listener.Close()
		g.cut()
	})
	return g
}

// arm forgets what was seen and lets n statements through from now on; the answer of the nth is held back, or with n = 0 the
// first statement itself. The channel is closed when that happens. A negative n lets everything through.
func (g *gate) arm(n int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.statements, g.limit, g.held = nil, n, make(chan struct{})
	return g.held
}

// seen gives the statements that reached the server since arm.
func (g *gate) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.statements)
}

// cut ends all connections, as the end of the proxy's process does.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Close()
	}
}

func (g *gate) accept() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", g.target)
		if err != nil {
			client.Close()
			continue
		}
		g.mu.Lock()
		g.conns[client], g.conns[server] = true, true
		g.mu.Unlock()
		w := &watched{gate: g, client: client, server: server, done: make(chan struct{})}
		go w.answers()
		go w.requests()
	}
}

// watched is one connection through a gate.
type watched struct {
	gate           *gate
	client, server net.Conn
	done           chan struct{} // closed when the proxy hung up
	keystore       bool          // statements of this connection go to the keystore

	mu     sync.Mutex
	silent bool // the answers are held back
}

func (w *watched) close() {
	w.client.Close()
	w.server.Close()
	w.gate.mu.Lock()
	defer w.gate.mu.Unlock()
	delete(w.gate.conns, w.client)
	delete(w.gate.conns, w.server)
}

// answers passes on what the server says.
func (w *watched) answers() {
	defer w.close()
	b := make([]byte, 64<<10)
	for {
		n, err := w.server.Read(b)
		w.mu.Lock()
		silent := w.silent
		w.mu.Unlock()
		if silent {
			w.gate.mu.Lock()
			held := w.gate.held
			w.gate.mu.Unlock()
			closeOnce(held)
			<-w.done // the proxy is gone
			return
		}
		if n > 0 {
			if _, err := w.client.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// requests passes on the proxy's packets one by one.
func (w *watched) requests() {
	defer close(w.done)
	defer w.close()
	for {
		var head [4]byte
		if _, err := io.ReadFull(w.client, head[:]); err != nil {
			return
		}
		length := int(binary.LittleEndian.Uint32(head[:]) & 0xFFFFFF)
		packet := make([]byte, 4+length)
		copy(packet, head[:])
		if _, err := io.ReadFull(w.client, packet[4:]); err != nil {
			return
		}
		if head[3] == 0 && length > 1 && packet[4] == 3 && !w.pass(string(packet[5:])) {
			io.Copy(io.Discard, w.client) // until the proxy is gone
			return
		}
		if _, err := w.server.Write(packet); err != nil {
			return
		}
	}
}

// pass notes a statement of the keystore and tells whether it may go on.
func (w *watched) pass(statement string) bool {
	w.keystore = w.keystore || strings.Contains(statement, "`"+w.gate.database+"`.")
	if !w.keystore {
		return true
	}
	g := w.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit >= 0 && len(g.statements) >= g.limit {
		closeOnce(g.held)
		return false
	}
	g.statements = append(g.statements, statement)
	if g.limit == len(g.statements) {
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
	}
	return true
}

// closeOnce closes a channel that may be closed already; of several goroutines one at a time calls it for a channel.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
