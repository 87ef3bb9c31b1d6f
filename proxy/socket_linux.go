package proxy

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection whose reads and writes go to the kernel without telling Go's scheduler. They never block, since
// the descriptor does not: the scheduler parks the goroutine when there is nothing to read. Announced as calls that may
// block, as package net does it, writes over loopback and fast networks (10 to 50 microseconds, most of it the kernel
// delivering the packet) were taken for blocked ones: the scheduler moved their processor to another thread and back, which
// took a fifth of the relay's processor time.
//
// One goroutine reads and one writes at a time. Everything else is the connection's own.
type socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
	// readStep and writeStep are made once, so that reads and writes allocate nothing.
	readStep, writeStep func(fd uintptr) bool
}

// transfer is a read or write on its way.
type transfer struct {
	buf  []byte
	done int
	err  error
}

// newSocket returns conn, in a faster form where it is a TCP connection.
func newSocket(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.readStep, s.writeStep = s.stepRead, s.stepWrite
	return s
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.in = transfer{buf: b}
	err := s.raw.Read(s.readStep)
	n, failed := s.in.done, s.in.err
	s.in = transfer{}
	if err == nil {
		err = failed
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.out = transfer{buf: b}
	err := s.raw.Write(s.writeStep)
	n, failed := s.out.done, s.out.err
	s.out = transfer{}
	if err == nil {
		err = failed
	}
	return n, err
}

// stepRead reads once; false asks to be called again when there is something to read.
func (s *socket) stepRead(fd uintptr) bool {
	for {
		n, errno := receive(fd, s.in.buf)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return false
		case errno != 0:
			s.in.err = s.failed("read", errno)
			return true
		case n == 0:
			s.in.err = io.EOF
			return true
		default:
			s.in.done = n
			return true
		}
	}
}

// stepWrite writes as much as the socket takes; false asks to be called again when it takes more.
func (s *socket) stepWrite(fd uintptr) bool {
	for s.out.done < len(s.out.buf) {
		n, errno := transmit(fd, s.out.buf[s.out.done:])
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return false
		case errno != 0:
			s.out.err = s.failed("write", errno)
			return true
		default:
			s.out.done += n
		}
	}
	return true
}

// failed is the error that package net would give.
func (s *socket) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}
