package proxy

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/proxy/wire"
)

// endCause is why a session ended: one for each session, in the log and as a metric label.
type endCause uint8

const (
	causeQuit            endCause = iota // COM_QUIT
	causeClientClosed                    // the client closed its connection or it was lost
	causeClientProtocol                  // the client sent what is no packet
	causeBackendClosed                   // the backend closed its connection: KILL, time-out, restart
	causeBackendProtocol                 // the backend sent what is no reply
	causeBackendDown                     // the backend could not be reached
	causeLoginFailed                     // the backend said no
	causeLoginRefused                    // the proxy said no: TLS, authentication plugin
	causeLoginTimeout                    // the client took too long to log in
	causeOverload                        // too many sessions
	causeShutdown                        // the server is stopping
	causePanic                           // a fault in the proxy
	causeCount
)

var causeNames = [causeCount]string{"quit", "client_closed", "client_protocol", "backend_closed", "backend_protocol", "backend_down",
	"login_failed", "login_refused", "login_timeout", "overload", "shutdown", "panic"}

func (c endCause) String() string { return causeNames[c] }

// Phases of a session, for those who look at it from outside.
const (
	phaseLogin   int32 = iota
	phaseIdle          // waiting for a request
	phaseRunning       // waiting for the backend
	phaseBusy          // the same, with more requests of the client waiting here
)

// Reasons to wake a session that waits for its client.
const (
	wakeBackend uint32 = 1 << iota
	wakeShutdown
)

// session is a client connection and the backend connection that belongs to it. One goroutine runs
// it: it reads a request, has it answered, and reads the next. Fields without a word on it are that
// goroutine's own.
type session struct {
	server *Server
	log    *slog.Logger

	// Set by the session and used by the sweeper and by Shutdown.
	phase      atomic.Int32
	wakes      atomic.Uint32
	evaluating evaluation
	clientGone atomic.Bool // the sweeper found the client gone and closed the backend connection

	clientSocket net.Conn // what was accepted; constant
	mu           sync.Mutex
	// Written by the session under mu before phaseIdle, so that the sweeper needs no lock.
	backendSocket net.Conn
	interrupted   bool // guarded by mu

	clientStream  net.Conn    // what is read from: clientSocket, or what wraps it
	records       *recordConn // below the client's TLS; nil without
	backendStream net.Conn
	client        *wire.Conn // client <-> proxy
	backend       *wire.Conn // proxy <-> backend
	reply         wire.Reply
	executor      *executor // nil where nothing is protected, and before the first login

	// Facts of the session, constant after login.

	caps       wire.Capabilities // of both connections, CapSSL aside
	threadID   uint32            // the backend's connection id, which is also the client's
	version    string            // of the backend, as in the greeting
	clientAddr netip.AddrPort    // the real one, from a PROXY header if there was one
	clientTLS  bool
	loopback   bool // the client is on this machine, and so is whoever connected for it

	// Facts that requests change.

	user            string // the login name
	database        string // current database, empty for none, as far as the protocol says
	collation       uint16 // what the client asked for at login or COM_CHANGE_USER
	status          wire.StatusFlags
	multiStatements bool
	infileAllowed   bool   // the running statement may ask the client for a file
	attribute       []byte // connection attribute `latchkey` of the last login; nil if there was none

	received time.Time // when the request that is being answered was read
	counted  [4]uint64 // bytes of client in, out, backend in, out that are in the metrics
}

func newSession(server *Server, conn net.Conn) *session {
	conn = newSocket(conn)
	return &session{server: server, log: server.log, clientSocket: conn, clientStream: conn, client: wire.NewConn(conn, wire.ClientSide)}
}

// serve runs the session from the accepted connection to its end.
func (s *session) serve() {
	cause := causePanic
	var err error
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("session failed", "panic", panicText(v), "at", panicFrames())
		}
		s.close()
		s.count()
		s.server.metrics.ended[cause].Inc()
		s.log.Debug("session ended", "cause", cause.String(), "thread_id", s.threadID, "client", s.clientAddr,
			"error", err, "duration", time.Since(start))
	}()
	cause, err = s.run()
	if cause == causeBackendProtocol || cause == causeBackendDown {
		s.log.Warn("session lost its backend", "cause", cause.String(), "thread_id", s.threadID, "error", err)
	}
}

// panicText describes a panic without what it may carry: values of runtime errors are numbers, and
// texts of our own begin with "internal error:".
func panicText(v any) string {
	switch v := v.(type) {
	case runtime.Error:
		return v.Error()
	case string:
		if strings.HasPrefix(v, "internal error:") {
			return v
		}
	}
	return "withheld"
}

// panicFrames names the functions and lines that led to a panic. It leaves out the arguments, which
// a stack trace would show.
func panicFrames() []string {
	var pc [32]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc[:])])
	var names []string
	for {
		f, more := frames.Next()
		names = append(names, f.Function+":"+strconv.Itoa(f.Line))
		if !more {
			return names
		}
	}
}

func (s *session) close() {
	s.interrupt()
	clear(s.attribute)
	if s.records != nil {
		s.records.wipe()
	}
	if s.client != nil {
		s.client.Release()
	}
	if s.backend != nil {
		s.backend.Release()
	}
	s.ended()
}

// interrupt closes both connections, so that whatever the session waits for fails. It may be called
// from any goroutine.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	_ = s.clientSocket.Close()
	if s.backendSocket != nil {
		_ = s.backendSocket.Close()
	}
}

// setBackend makes conn the backend connection, unless the session was interrupted meanwhile.
func (s *session) setBackend(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted {
		_ = conn.Close()
		return false
	}
	conn = newSocket(conn)
	s.backendSocket, s.backendStream = conn, conn
	s.backend = wire.NewConn(conn, wire.BackendSide)
	return true
}

// wake makes a session that waits for its client look at why. It may be called from any goroutine.
func (s *session) wake(reason uint32) {
	s.wakes.Or(reason)
	_ = s.clientSocket.SetReadDeadline(time.Unix(1, 0))
}

// run logs the client in and answers its requests.
func (s *session) run() (endCause, error) {
	if cause, err := s.loginWithinLimits(); err != nil {
		return cause, err
	}
	for {
		if s.executor != nil {
			s.executor.tendBackground()
		}
		p, cause, err := s.next()
		if err != nil {
			return cause, err
		}
		s.received = time.Now()
		if s.client.Reader.Buffered() > 0 {
			s.phase.Store(phaseBusy)
		} else {
			s.phase.Store(phaseRunning)
		}
		err = s.command(p)
		if err != nil && !fatal(err) && !errors.Is(err, errQuit) && !errors.Is(err, errRefusedLogin) {
			err = s.refuse(err)
		}
		s.count()
		if err != nil {
			return s.cause(err), err
		}
	}
}

// loginWithinLimits runs login while holding a place among those that are logging in.
func (s *session) loginWithinLimits() (endCause, error) {
	select {
	case s.server.preAuth <- struct{}{}:
	default:
		return causeOverload, s.turnAway(errTooManyConnections)
	}
	s.server.metrics.preAuth.Inc()
	defer func() {
		s.server.metrics.preAuth.Dec()
		<-s.server.preAuth
	}()
	if s.server.full() {
		return causeOverload, s.turnAway(errTooManyConnections)
	}
	return s.login()
}

// turnAway gives a client that is not logged in an ERR packet, and returns f as the reason.
func (s *session) turnAway(f *fault) error {
	_ = s.clientSocket.SetWriteDeadline(time.Now().Add(time.Second))
	_ = s.refuse(f)
	return f
}

// idleAfter is how long a session waits for its client before it gives up memory that the next request could use again.
const idleAfter = time.Second

// next waits for the client's next request.
func (s *session) next() (wire.Packet, endCause, error) {
	for {
		fat := false
		if !s.client.HasPacket() {
			// Requests without a reply may still be waiting to go out.
			if err := s.backend.Flush(); err != nil {
				return wire.Packet{}, s.cause(err), err
			}
			s.client.Rest()
			s.backend.Rest()
			if fat = s.executor != nil && s.executor.fat; fat {
				// A deadline that a wake sets meanwhile is lost, but not its reason: closing is looked at below, and the
				// sweeper comes again.
				_ = s.clientSocket.SetReadDeadline(time.Now().Add(idleAfter))
			}
			s.phase.Store(phaseIdle)
		}
		if s.server.closing.Load() {
			return wire.Packet{}, causeShutdown, ErrServerClosed
		}
		p, err := s.client.ReadCommand(s.server.config.Limits.MaxPacket)
		if fat {
			_ = s.clientSocket.SetReadDeadline(time.Time{})
		}
		if err == nil {
			return p, 0, nil
		}
		if !timedOut(err) {
			cause := s.cause(err)
			if cause == causeClientProtocol {
				_ = s.refuse(err)
			}
			return wire.Packet{}, cause, err
		}
		_ = s.clientSocket.SetReadDeadline(time.Time{})
		if fat {
			s.executor.idle()
		}
		if s.wakes.Swap(0)&wakeBackend != 0 {
			if err := s.unsolicited(); err != nil {
				return wire.Packet{}, causeBackendClosed, err
			}
		}
	}
}

// unsolicitedWait is how long a backend that has spoken without being asked has for a whole packet.
const unsolicitedWait = 100 * time.Millisecond

// unsolicited looks after a backend that spoke or closed its connection while no request was
// running. A packet is given to the client, as if it came straight from MariaDB; the error then says
// that the session is over. Bytes that only concern TLS are no packet.
func (s *session) unsolicited() error {
	if peek(s.backendSocket) == peerQuiet {
		return nil
	}
	_ = s.backendSocket.SetReadDeadline(time.Now().Add(unsolicitedWait))
	p, err := s.backend.Read(s.server.config.Limits.MaxPacket)
	if err == nil {
		if err = s.client.Forward(p); err == nil {
			err = io.EOF
		}
		return err
	}
	_ = s.backendSocket.SetReadDeadline(time.Time{})
	if timedOut(err) {
		return nil
	}
	return err
}

// refuse answers a request with an ERR packet of the proxy's own.
func (s *session) refuse(err error) error {
	e := errPacket(err)
	s.server.metrics.refused(e.Code)
	if e.Code == errInternal.code {
		s.log.Error("request failed", "thread_id", s.threadID, "error", err)
	}
	if err := s.answer().ERR(e); err != nil {
		return err
	}
	return s.client.Flush()
}

// answer is for replies that the backend never sees.
func (s *session) answer() wire.Answer {
	return wire.Answer{To: s.client, Caps: s.caps, Status: s.status &^ (wire.StatusMoreResults | wire.StatusCursorExists | wire.StatusLastRowSent)}
}

// secure says whether a key may come over the client connection: it is encrypted, or never leaves
// this machine.
func (s *session) secure() bool { return s.clientTLS || s.loopback }

// sent notes that a request, or what was made of it, is on its way to the backend.
func (s *session) sent() {
	if !s.received.IsZero() {
		s.server.metrics.delay.Observe(time.Since(s.received).Seconds())
		s.received = time.Time{}
	}
}

// count brings the byte counters into the metrics.
func (s *session) count() {
	m := s.server.metrics
	add := func(i int, c interface{ Add(float64) }, now uint64) {
		if now != s.counted[i] {
			c.Add(float64(now - s.counted[i]))
			s.counted[i] = now
		}
	}
	add(0, m.clientReceived, s.client.Received)
	add(1, m.clientSent, s.client.Sent)
	if s.backend != nil {
		add(2, m.backendReceived, s.backend.Received)
		add(3, m.backendSent, s.backend.Sent)
	}
}

// cause tells from an error that ended the session what ended it.
func (s *session) cause(err error) endCause {
	var e *wire.IOError
	switch {
	case errors.Is(err, errQuit):
		return causeQuit
	case errors.Is(err, errRefusedLogin):
		return causeLoginRefused
	case s.clientGone.Load():
		return causeClientClosed
	case !errors.As(err, &e):
		return causePanic
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrSequence), errors.Is(err, wire.ErrTooLarge):
		if e.Side == wire.ClientSide {
			return causeClientProtocol
		}
		return causeBackendProtocol
	case e.Side == wire.ClientSide:
		return causeClientClosed
	}
	return causeBackendClosed
}
