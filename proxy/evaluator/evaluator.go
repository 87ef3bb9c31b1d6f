// Package evaluator runs a private MariaDB beside the proxy and talks to it: the server that holds the logical schema as
// empty tables, and finishes statements over opened rows.
//
// It never touches the network and never writes outside memory-backed storage. It decides nothing about keys or policy:
// whoever hands it a row or a statement has decided.
//
// The one idea needed to read it: the server is nobody's. It has no grants and no data that outlives a statement, so it can be
// killed and started from an empty directory at any moment; whoever held a connection gets an error and tries again.
//
// Options are those of https://mariadb.com/kb/en/mariadbd-options/.
package evaluator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrUnavailable reports that there is no evaluator: it is switched off, has not been found, or is being started again.
var ErrUnavailable = errors.New("the evaluator is not available")

// Off is the value of Config.Binary that switches the evaluator off.
const Off = "off"

// Config configures an Evaluator. The zero value is usable.
type Config struct {
	// Binary is the server program: empty for the one that is installed, Off for none, or a path.
	Binary string
	// Dir is the memory-backed directory in which the evaluator makes its own; empty for /dev/shm or another one of this
	// machine.
	Dir string
	// Connections bounds the connections in use at a time; 0 means 32. Who needs one more waits. A quarter of them is kept free
	// of statements over opened rows: see AcquireLong.
	Connections int
	// TableBytes bounds each table that the server makes for itself while it carries out a statement; 0 means 512 MiB.
	TableBytes int64
	// Logger gets starts, ends and their reasons; never a statement or a value. nil means no log.
	Logger *slog.Logger
	// Registry receives the metrics; nil means none.
	Registry prometheus.Registerer
}

// defaultConnections is how many statements are worth being computed at a time: they use a processor each.
const defaultConnections = 32

// defaultTableBytes is eight times what one statement may load by default.
const defaultTableBytes = 512 << 20

// Settings are what the evaluator's server takes over from the backend: what cannot be set for a session.
type Settings struct {
	// Version is the backend's, such as 10.11.19-MariaDB.
	Version string
	// LowerCaseTableNames is 0, 1 or 2.
	LowerCaseTableNames int
	// Charset and Collation are character_set_server and collation_server; empty means utf8mb4 and its default.
	Charset, Collation string
	// MaxAllowedPacket is max_allowed_packet in bytes: what functions answer that make text longer depends on it. 0 means 1 GiB,
	// the most.
	MaxAllowedPacket int
}

// Evaluator supervises the private server. Its methods may be called concurrently.
type Evaluator struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{} // one for each connection in use
	long    chan struct{} // one for each of those that AcquireLong gave

	settings atomic.Pointer[Settings]
	zones    atomic.Pointer[ZoneSource]
	wake     chan struct{} // the settings changed
	began    atomic.Bool
	base     context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	server  *server       // nil while there is none
	changed chan struct{} // closed and replaced when server or reason change
	reason  error         // why there is no server, once that is known
	starts  int           // how often the server has been started
	version string
	since   time.Time
}

// New returns an Evaluator that does nothing before Start.
func New(config Config) *Evaluator {
	e := &Evaluator{config: config, log: config.Logger, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if config.Connections <= 0 {
		e.config.Connections = defaultConnections
	}
	if config.TableBytes <= 0 {
		e.config.TableBytes = defaultTableBytes
	}
	e.slots = make(chan struct{}, e.config.Connections)
	e.long = make(chan struct{}, max(1, e.config.Connections*3/4))
	e.metrics = newMetrics(config.Registry, e)
	e.base, e.cancel = context.WithCancel(context.Background())
	if config.Binary == Off {
		e.reason = errors.New("switched off by evaluator.binary")
	}
	return e
}

// Start starts the server with these settings, in the background, and keeps one running until Close. A later call with other
// settings starts it again with those. zones is asked for the backend's time zones after each start of the server; nil leaves
// only offsets working. Its error is logged and costs named time zones, nothing else.
func (e *Evaluator) Start(settings Settings, zones ZoneSource) {
	if e.config.Binary == Off || e.base.Err() != nil {
		return
	}
	e.zones.Store(&zones)
	if old := e.settings.Swap(&settings); old != nil && *old == settings {
		return
	}
	if !e.began.Swap(true) {
		e.done.Go(e.supervise)
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Close ends the server, removes its directory and waits for both.
func (e *Evaluator) Close() {
	e.cancel()
	e.done.Wait()
}

const (
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 30 * time.Second
	// steady is how long a server must have lived for its end to count as a first one.
	steady = time.Minute
)

// supervise keeps a server running.
func (e *Evaluator) supervise() {
	reported := ""
	for backOff := firstBackOff; e.base.Err() == nil; {
		settings := *e.settings.Load()
		began := time.Now()
		err := e.runOne(settings)
		e.setServer(nil, err)
		if e.base.Err() != nil {
			return
		}
		if *e.settings.Load() != settings {
			backOff = firstBackOff
			continue
		}
		if time.Since(began) > steady {
			backOff, reported = firstBackOff, ""
		}
		if text := err.Error(); text != reported {
			e.log.Error("the evaluator is not running: statements that need it get 9710 until it does", "error", err)
			reported = text
		}
		select {
		case <-time.After(backOff):
		case <-e.wake:
		case <-e.base.Done():
			return
		}
		backOff = min(2*backOff, lastBackOff)
	}
}

// runOne starts a server and returns when it has ended, or when the settings changed.
func (e *Evaluator) runOne(settings Settings) error {
	s, err := startServer(e.base, &e.config, settings)
	if err != nil {
		return err
	}
	defer s.stop()
	if !s.checkVersion(settings.Version) {
		e.log.Warn("the evaluator and the backend differ in version: results can differ", "evaluator", s.version, "backend", settings.Version)
	}
	e.setServer(s, nil)
	e.metrics.starts.Inc()
	e.log.Info("evaluator started", "version", s.version, "pid", s.pid(), "took", time.Since(s.began).Round(time.Millisecond))
	e.loadZones(s)
	for {
		select {
		case <-s.exited:
			return fmt.Errorf("the evaluator's server ended: %w", s.exitError())
		case <-e.wake:
			if *e.settings.Load() != settings {
				return errors.New("starting again with other settings")
			}
		case <-e.base.Done():
			return e.base.Err()
		}
	}
}

// setServer publishes a server, or why there is none.
func (e *Evaluator) setServer(s *server, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.server, e.reason = s, reason
	if s != nil {
		e.starts++
		s.number = uint64(e.starts)
		e.version, e.since = s.version, time.Now()
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// startWait is how long somebody who needs a connection waits for a server that is just being started.
const startWait = 5 * time.Second

// await returns the running server. While the first one starts it waits; after a failure it does not.
func (e *Evaluator) await(ctx context.Context) (*server, error) {
	if !e.began.Load() {
		return nil, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		e.mu.Lock()
		s, reason, changed := e.server, e.reason, e.changed
		e.mu.Unlock()
		if s != nil {
			return s, nil
		}
		if reason != nil {
			return nil, ErrUnavailable
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ErrUnavailable
		case <-e.base.Done():
			return nil, ErrUnavailable
		}
	}
}

// Status is the state of an Evaluator, for operators.
type Status struct {
	// State is "off", "starting", "running" or "down".
	State string `json:"state"`
	// Reason says why it is down; it is fit for operators, not for clients.
	Reason string `json:"reason,omitempty"`
	// Version is that of the running server.
	Version string `json:"version,omitempty"`
	// Starts counts the servers started so far.
	Starts int `json:"starts"`
	// Uptime is that of the running server, in whole seconds.
	Uptime int64 `json:"uptime_seconds"`
	// Busy is how many connections are in use.
	Busy int `json:"busy"`
}

// Status returns the present state.
func (e *Evaluator) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{State: "starting", Starts: e.starts, Busy: len(e.slots)}
	switch {
	case e.config.Binary == Off:
		s.State = "off"
	case e.server != nil:
		s.State, s.Version, s.Uptime = "running", e.version, int64(time.Since(e.since).Seconds())
	case e.reason != nil:
		s.State, s.Reason = "down", e.reason.Error()
	}
	return s
}
