package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// socketPair is a connection over the loopback interface with a socket at one end.
func socketPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return newSocket(dialled), far
}

// TestSocketMovesAll sends more than the kernel buffers both ways at once, so that both directions have to wait.
func TestSocketMovesAll(t *testing.T) {
	near, far := socketPair(t)
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
	go func() {
		near.Write(sent)
		near.(interface{ CloseWrite() error }).CloseWrite()
	}()
	go io.Copy(far, far) // an echo
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(near, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the echo is not what was sent: %v", err)
	}
}

func TestSocketErrors(t *testing.T) {
	near, far := socketPair(t)
	b := make([]byte, 10)
	if n, err := near.Read(nil); n != 0 || err != nil {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	near.SetReadDeadline(time.Unix(1, 0))
	if n, err := near.Read(b); n != 0 || !timedOut(err) {
		t.Errorf("read behind the deadline: %d, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	near.SetReadDeadline(time.Time{})
	far.Write([]byte("late"))
	if n, err := near.Read(b); string(b[:n]) != "late" || err != nil {
		t.Errorf("read after the deadline was lifted: %q, %v", b[:n], err)
	}
	far.Close()
	if n, err := near.Read(b); n != 0 || err != io.EOF {
		t.Errorf("read from a closed connection: %d, %v; want EOF", n, err)
	}
	var err error
	for range 100 { // the first writes after a close can succeed
		if _, err = near.Write(b); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "write" {
		t.Errorf("write to a closed connection: %v", err)
	}
	near.Close()
	if _, err := near.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v, want %v", err, net.ErrClosed)
	}
}

// TestSocketCloseWakesReader closes a socket that waits, as another goroutine does to end a session.
func TestSocketCloseWakesReader(t *testing.T) {
	near, _ := socketPair(t)
	failed := make(chan error)
	go func() {
		_, err := near.Read(make([]byte, 1))
		failed <- err
	}()
	time.Sleep(time.Millisecond)
	near.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v, want %v", err, net.ErrClosed)
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	near, far := socketPair(t)
	b := make([]byte, 100)
	got := testing.AllocsPerRun(100, func() {
		if _, err := near.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, b); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(near, b); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 && !raceEnabled {
		t.Errorf("%v allocations for a write and a read, want 0", got)
	}
}
