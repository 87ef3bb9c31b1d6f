package proxy

import (
	"errors"
	"net"
	"testing"
)

// A server may be closed while it is only just beginning to accept: sessions are counted in and waited
// for in one order, which the race detector checks.
func TestCloseWhileServeBegins(t *testing.T) {
	for range 200 {
		server, err := NewServer(Config{Backend: BackendConfig{Address: "127.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		// Sessions that end at once let the count fall to nothing between two accepts.
		for range 3 {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Fatalf("serve: %v, want %v", err, ErrServerClosed)
		}
	}
}
