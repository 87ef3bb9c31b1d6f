package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

// Server accepts clients and gives each a session with a backend connection of its own.
// Its methods may be called concurrently.
type Server struct {
	config     Config
	clientTLS  *tls.Config // nil: not offered
	backendTLS *tls.Config // nil: off
	log        *slog.Logger
	registry   *prometheus.Registry
	metrics    *metrics
	report     *report
	started    time.Time
	owners     *keystore.Directory // nil without a keystore
	background *background

	// base is cancelled by Close, so that nothing goes on dialling.
	base   context.Context
	cancel context.CancelFunc

	closing  atomic.Bool
	serving  atomic.Int32   // running calls of Serve
	sessions sync.WaitGroup // the sweeper too
	preAuth  chan struct{}

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	open      map[*session]struct{}
	sweeping  chan struct{} // closed to stop the sweeper; nil before the first Serve
	checks    []readyCheck
}

// NewServer checks the configuration, reading the files it names, and returns a Server that does
// nothing yet.
func NewServer(config Config) (*Server, error) {
	if _, _, err := net.SplitHostPort(config.Backend.Address); err != nil {
		return nil, fmt.Errorf("backend address: %w", err)
	}
	backendTLS, err := config.Backend.TLS.Config(config.Backend.Address)
	if err != nil {
		return nil, err
	}
	clientTLS, err := config.Listen.TLS.Config()
	if err != nil {
		return nil, err
	}
	config.Limits = config.Limits.withDefaults()
	s := &Server{
		config:     config,
		clientTLS:  clientTLS,
		backendTLS: backendTLS,
		log:        config.Logger,
		registry:   config.Registry,
		started:    time.Now(),
		preAuth:    make(chan struct{}, config.Limits.PreAuth),
		listeners:  make(map[net.Listener]struct{}),
		open:       make(map[*session]struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.registry == nil {
		s.registry = prometheus.NewRegistry()
	}
	if config.Protection != nil && config.Protection.Vault != nil {
		if s.owners, err = keystore.NewDirectory(config.Protection.Vault); err != nil {
			return nil, err
		}
	}
	plans := &rewrite.CacheStats{}
	if config.Protection != nil && config.Protection.Schema != nil {
		plans = config.Protection.Schema.PlanStats()
	}
	s.metrics = newMetrics(s.registry, plans)
	s.report = newReport(s.log, s.metrics.reported, time.Now)
	s.background = newBackground()
	s.base, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts clients from l until Shutdown, Close or an error that does not pass, and closes l.
// It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return ErrServerClosed
	}
	defer s.untrack(l)
	var delay time.Duration
	for {
		if !s.reserve() {
			return ErrServerClosed
		}
		conn, err := l.Accept()
		if err != nil {
			s.sessions.Done()
			if s.closing.Load() {
				return ErrServerClosed
			}
			if !temporary(err) {
				return fmt.Errorf("accept: %w", err)
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed", "error", err, "retry_in", delay)
			s.pause(delay)
			continue
		}
		delay = 0
		go func() {
			defer s.sessions.Done()
			s.serve(conn)
		}()
	}
}

// temporary says whether accepting can work again: the process ran out of descriptors or memory, or
// the client was gone before it was accepted.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.base.Done():
	}
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.serving.Add(1)
	if s.sweeping == nil {
		s.sweeping = make(chan struct{})
		s.sessions.Go(func() { s.sweep(s.sweeping) })
	}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving.Add(-1)
	delete(s.listeners, l)
}

// reserve counts a session in before it is accepted, unless the server is closing: one that Shutdown
// does not see yet must not start behind its Wait, and counting under the lock that guards closing
// keeps the two in order.
func (s *Server) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.sessions.Add(1)
	return true
}

// serve runs one session from accepting to closing.
func (s *Server) serve(conn net.Conn) {
	s.metrics.sessions.Inc()
	defer s.metrics.sessions.Dec()
	session := newSession(s, conn)
	if !s.add(session) {
		_ = conn.Close()
		return
	}
	defer s.remove(session)
	session.serve()
}

func (s *Server) add(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.open[session] = struct{}{}
	return true
}

func (s *Server) remove(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, session)
}

func (s *Server) appendSessions(dst []*session) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.open {
		dst = append(dst, session)
	}
	return dst
}

// full says whether there are more sessions than allowed, the caller's included.
func (s *Server) full() bool {
	if s.config.Limits.Sessions == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > s.config.Limits.Sessions
}

// stopAccepting closes the listeners and stops the sweeper.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Swap(true) {
		return
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	if s.sweeping != nil {
		close(s.sweeping)
	}
}

// Shutdown stops accepting, lets running statements finish, closes every session when it is idle, and
// returns when all have ended. When ctx ends first it closes the rest as Close does and returns the
// error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	for _, session := range s.appendSessions(nil) {
		session.wake(wakeShutdown)
	}
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.closeSessions()
		<-done
		return ctx.Err()
	}
}

// Close stops accepting, closes every connection and waits for the sessions to end.
func (s *Server) Close() error {
	s.stopAccepting()
	s.closeSessions()
	s.sessions.Wait()
	return nil
}

func (s *Server) closeSessions() {
	s.cancel()
	for _, session := range s.appendSessions(nil) {
		session.interrupt()
	}
}

// mayProxy says whether a peer may send a PROXY protocol header.
func (s *Server) mayProxy(addr net.Addr) bool {
	ip := addrIP(addr)
	for _, network := range s.config.Listen.ProxyNetworks {
		if network.Contains(ip) {
			return true
		}
	}
	return false
}

// addrIP returns the IP address of a TCP address, and the zero Addr for any other.
func addrIP(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
