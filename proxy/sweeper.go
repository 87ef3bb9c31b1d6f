package proxy

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peer is what a look at a socket without reading from it says about the other end.
type peer uint8

const (
	peerQuiet  peer = iota // connected and silent, or not to be told
	peerSpoke              // bytes are waiting
	peerClosed             // the connection was closed or reset
)

// peek looks at the socket of conn. It is safe while another goroutine reads from it.
func peek(conn net.Conn) peer {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return peerQuiet
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return peerClosed
	}
	state := peerQuiet
	var b [1]byte
	err = raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil || n == 0:
			state = peerClosed
		default:
			state = peerSpoke
		}
	})
	if err != nil {
		return peerClosed
	}
	return state
}

// sweep looks at all sessions every interval until stop is closed. A session waits for one of its
// peers at a time; the sweeper watches the other one, which may have gone meanwhile.
func (s *Server) sweep(stop <-chan struct{}) {
	tick := time.NewTicker(s.config.Limits.Sweep)
	defer tick.Stop()
	var sessions []*session
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		sessions = s.appendSessions(sessions[:0])
		for _, session := range sessions {
			session.watch()
		}
		clear(sessions)
	}
}

// watch looks at the peer that the session is not waiting for.
func (s *session) watch() {
	switch s.phase.Load() {
	case phaseIdle:
		// A backend that speaks or closes while no request is running has ended the session: KILL,
		// wait_timeout, a shutdown.
		if peek(s.backendSocket) != peerQuiet {
			s.wake(wakeBackend)
		}
	case phaseRunning:
		if peek(s.clientSocket) == peerClosed {
			s.clientGone.Store(true)
			_ = s.backendSocket.Close()
			s.interruptEvaluator()
		}
		// While the evaluator works the backend is silent, unless it was told to end the connection.
		if s.evaluating.Load() != nil && peek(s.backendSocket) == peerClosed {
			s.interruptEvaluator()
		}
	}
}
