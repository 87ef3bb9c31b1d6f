package faultconn

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Relay stands between clients and a server on the loopback interface and gives
// every connection the faults that Plan names for it.
type Relay struct {
	listener net.Listener
	target   string
	plan     func(n int) Faults

	wg sync.WaitGroup
	mu sync.Mutex
	// conns are the open connections of both sides; nil after close.
	conns map[net.Conn]struct{}
}

// NewRelay starts a relay to the TCP address target that ends with the test.
// plan is asked for the n-th connection, from 0; its Read faults hit what the
// server sends, its Write faults what the client sends. A nil plan means none.
func NewRelay(tb testing.TB, target string, plan func(n int) Faults) *Relay {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	if plan == nil {
		plan = func(int) Faults { return Faults{} }
	}
	r := &Relay{listener: listener, target: target, plan: plan, conns: make(map[net.Conn]struct{})}
	r.wg.Add(1)
	go r.accept()
	tb.Cleanup(r.close)
	return r
}

// Addr returns host:port to connect to instead of the target.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// CutAll resets every open connection, as a restarted machine would.
func (r *Relay) CutAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		closeConn(conn, Reset)
	}
}

func (r *Relay) close() {
	r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		conn.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *Relay) accept() {
	defer r.wg.Done()
	for n := 0; ; n++ {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Add(1)
		go r.serve(client, r.plan(n))
	}
}

// serve relays one connection until either side ends it.
func (r *Relay) serve(client net.Conn, faults Faults) {
	defer r.wg.Done()
	if !r.add(client) {
		return
	}
	defer r.remove(client)
	raw, err := net.Dial("tcp", r.target)
	if err != nil || !r.add(raw) {
		return
	}
	defer r.remove(raw)
	server := Wrap(raw, faults)

	var copies sync.WaitGroup
	copies.Add(1)
	go func() {
		defer copies.Done()
		pass(server, client)
	}()
	pass(client, server)
	copies.Wait()
}

// pass copies one way and ends both connections with it, so that a fault in one
// direction is seen in both.
func pass(dst, src net.Conn) {
	// Plain methods only: a TCPConn's ReadFrom would move bytes past the faults.
	io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src})
	dst.Close()
	src.Close()
}

// add registers an open connection, or closes it when the relay is closing.
func (r *Relay) add(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *Relay) remove(conn net.Conn) {
	conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}
