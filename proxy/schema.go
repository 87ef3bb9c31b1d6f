package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/proxy/evaluator"
	"latchkey/rewrite"
)

// SchemaConfig says how the proxy's own account reads the schema. The zero values of the durations mean the defaults.
type SchemaConfig struct {
	// Address is host:port of the backend.
	Address string
	User    string
	// PasswordFile holds the account's password, read at every connect; a trailing line break does not count. Empty means
	// no password.
	PasswordFile string
	// TLS is used as it is for the connection; nil means no TLS.
	TLS *tls.Config
	// KeystoreDatabase is never reachable through the proxy.
	KeystoreDatabase string
	// Verify tells whether mac is the MAC of an annotation's body; nil verifies none.
	Verify func(body, mac []byte) bool
	// Evaluator is started, with the backend's settings, as soon as the schema has something protected; nil for none. Whoever
	// made it closes it.
	Evaluator *evaluator.Evaluator
	// Report leaves columns that only the policy names unprotected until Enforce, and foresees what would become of statements.
	Report bool
	// Logger gets one record for every change of state; nil means slog.Default.
	Logger *slog.Logger

	// Poll is how often the server is asked for DDL by others (250 ms).
	Poll time.Duration
	// Reload is how often the schema is read again though nothing seemed to change (60 s).
	Reload time.Duration
	// MaxStale is how long the last snapshot counts while the backend cannot be reached (30 s).
	MaxStale time.Duration
}

const (
	defaultSchemaPoll     = 250 * time.Millisecond
	defaultSchemaReload   = 60 * time.Second
	defaultSchemaMaxStale = 30 * time.Second
	// schemaRetry is the pause between attempts to connect.
	schemaRetry = time.Second
	// schemaReadySilence is how long a backend that does not answer counts as there: one connection may be lost.
	schemaReadySilence = 3 * time.Second
	// The bounds make a backend that went silent count as unreachable. information_schema fills a temporary table before it
	// sends the first row, which takes its time with many tables.
	schemaConnectTimeout = 10 * time.Second
	schemaReadTimeout    = 60 * time.Second
	// schemaAttempts bounds how often a schema is read anew because it changed while it was read.
	schemaAttempts = 3
)

// Snapshot is the schema of the backend at one time, the policy it was held against and the planner over both. It is
// immutable.
type Snapshot struct {
	Schema  *rewrite.Schema
	Policy  *rewrite.Policy
	Planner *rewrite.Planner
	// Findings are what Protect found.
	Findings []rewrite.Finding
	// MissingPrivileges name what the account lacks to see the whole schema.
	MissingPrivileges []string
	// SystemTimeZone is @@system_time_zone: what the session time zone SYSTEM means when TimeZone is SYSTEM too.
	SystemTimeZone string
	// TimeZone is @@global.time_zone.
	TimeZone string

	// configured is the policy as it was given; Policy is the part of it that is in force.
	configured *rewrite.Policy
	// foresight plans statements as if all of configured were in force; nil where it is. rows belongs to it: how many rows each
	// table holds, about.
	foresight *rewrite.Planner
	// searching is foresight with search tags for every column that can have them.
	searching *rewrite.Planner
	rows      map[tableName]int64

	digest     [32]byte
	generation uint64
}

// Epoch is the number of the snapshot; it grows when schema or policy changed.
func (s *Snapshot) Epoch() uint64 { return s.Schema.Epoch }

// ErrSchemaUnavailable says that the schema is not known well enough to plan statements: it was never read, it changed and
// could not be read again, or the backend has been out of reach for too long.
var ErrSchemaUnavailable = errors.New("the backend's schema cannot be read by Latchkey's own account")

// SchemaLoader keeps a Snapshot of the backend's schema up to date. Run does the work; the other methods may be called from
// any goroutine.
//
// DDL of others is noticed by the server's counters of DDL statements. They count when a statement starts, so while one is
// running the loader watches for its end.
type SchemaLoader struct {
	cfg SchemaConfig
	log *slog.Logger

	current atomic.Pointer[Snapshot]
	policy  atomic.Pointer[rewrite.Policy]
	// reports is SchemaConfig.Report, until Enforce.
	reports atomic.Bool
	// wanted is the generation that Current asks for: it grows with Invalidate and SetPolicy.
	wanted atomic.Uint64
	// contact is when the backend last answered, in nanoseconds of the monotonic clock since start.
	contact atomic.Int64
	start   time.Time
	wake    chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever current or failure changes
	failure error         // why the backend cannot be read now; nil while it can

	plans rewrite.CacheStats

	// tables is the logical schema in the evaluator.
	tables *logicalTables

	// Of Run's goroutine alone.
	epoch uint64
}

// PlanStats counts the look-ups in the plan caches of all snapshots.
func (l *SchemaLoader) PlanStats() *rewrite.CacheStats { return &l.plans }

// NewSchemaLoader makes a loader; it does nothing before Run.
func NewSchemaLoader(cfg SchemaConfig, policy *rewrite.Policy) *SchemaLoader {
	if cfg.Poll == 0 {
		cfg.Poll = defaultSchemaPoll
	}
	if cfg.Reload == 0 {
		cfg.Reload = defaultSchemaReload
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = defaultSchemaMaxStale
	}
	l := &SchemaLoader{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), changed: make(chan struct{}), start: time.Now()}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.policy.Store(policy)
	l.reports.Store(cfg.Report)
	l.tables = newLogicalTables()
	return l
}

// Invalidate says that the schema may have changed: no later Current returns what was read before.
func (l *SchemaLoader) Invalidate() {
	l.wanted.Add(1)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// SetPolicy replaces the policy; no later Current returns a snapshot of the old one. policy must not be changed afterwards.
func (l *SchemaLoader) SetPolicy(policy *rewrite.Policy) {
	l.policy.Store(policy)
	l.Invalidate()
}

// Enforce ends SchemaConfig.Report: no later Current returns a snapshot that leaves anything of the policy unprotected.
func (l *SchemaLoader) Enforce() {
	l.reports.Store(false)
	l.Invalidate()
}

// Current gives the snapshot to plan the next statement with. While the backend is out of reach it is the last one, for
// MaxStale; after Invalidate it waits until the schema was read again, as long as ctx and MaxStale allow. The error is
// ErrSchemaUnavailable or that of ctx, and no statement may be planned then.
func (l *SchemaLoader) Current(ctx context.Context) (*Snapshot, error) {
	if s := l.usable(); s != nil {
		return s, nil
	}
	return l.await(ctx)
}

func (l *SchemaLoader) usable() *Snapshot {
	s := l.current.Load()
	if s == nil || s.generation != l.wanted.Load() || time.Since(l.start)-time.Duration(l.contact.Load()) > l.cfg.MaxStale {
		return nil
	}
	return s
}

// await waits for a snapshot of at least the generation wanted now. One of a later generation does as well: it was read later.
func (l *SchemaLoader) await(ctx context.Context) (*Snapshot, error) {
	wanted := l.wanted.Load()
	timer := time.NewTimer(l.cfg.MaxStale)
	defer timer.Stop()
	for {
		changed, failure := l.state()
		s := l.current.Load()
		fresh := time.Since(l.start)-time.Duration(l.contact.Load()) <= l.cfg.MaxStale
		if s != nil && s.generation >= wanted && fresh {
			return s, nil
		}
		if failure != nil && !fresh {
			return nil, fmt.Errorf("%w: %w", ErrSchemaUnavailable, failure)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			if failure == nil {
				return nil, ErrSchemaUnavailable
			}
			return nil, fmt.Errorf("%w: %w", ErrSchemaUnavailable, failure)
		}
	}
}

func (l *SchemaLoader) state() (changed <-chan struct{}, failure error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed, l.failure
}

// Ready tells why statements cannot be planned and carried out now; nil when they can. It never waits. Sessions that are
// logged in go on with the last snapshot for MaxStale, but where the backend cannot be reached no new ones begin.
func (l *SchemaLoader) Ready() error {
	s := l.current.Load()
	_, failure := l.state()
	silence := time.Since(l.start) - time.Duration(l.contact.Load())
	if s != nil && silence <= l.cfg.MaxStale && (failure == nil || silence <= schemaReadySilence) {
		return nil
	}
	if failure != nil {
		return fmt.Errorf("%w: %w", ErrSchemaUnavailable, failure)
	}
	return ErrSchemaUnavailable
}

// Run reads the schema and keeps it up to date until ctx ends, whose error it returns. A backend that cannot be reached is
// tried again for ever.
func (l *SchemaLoader) Run(ctx context.Context) error {
	for {
		err := l.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.fail(err)
		timer := time.NewTimer(schemaRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-l.wake:
			// Somebody waits for a new snapshot; the pause still counts, or every statement would be an attempt.
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
		}
	}
}

// session works on one connection until it fails.
func (l *SchemaLoader) session(ctx context.Context) error {
	conn, err := dialSchema(ctx, &l.cfg)
	if err != nil {
		return err
	}
	defer conn.close()
	// A read in progress ends when ctx does.
	stop := context.AfterFunc(ctx, conn.interrupt)
	defer stop()

	watch, err := l.load(conn)
	if err != nil {
		return err
	}
	var again []time.Time
	if watch.blind {
		again = secondLooks(time.Now())
	}
	poll := time.NewTicker(l.cfg.Poll)
	defer poll.Stop()
	reload := time.NewTicker(l.cfg.Reload)
	defer reload.Stop()
	for {
		due := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wake:
			due = true
		case <-reload.C:
			due = true
		case <-poll.C:
			if due, err = watch.moved(conn); err != nil {
				return err
			}
			l.touched()
			if due && watch.blind {
				again = secondLooks(time.Now())
			} else if len(again) > 0 && time.Now().After(again[0]) {
				due, again = true, again[1:]
			}
		}
		if !due {
			continue
		}
		if watch, err = l.load(conn); err != nil {
			return err
		}
	}
}

// load reads the schema and publishes it. The returned watch knows the counters from before the reading, so that what
// changed meanwhile is noticed.
func (l *SchemaLoader) load(conn *schemaConn) (*ddlWatch, error) {
	for attempt := 1; ; attempt++ {
		generation, policy, reports := l.wanted.Load(), l.policy.Load(), l.reports.Load()
		watch, err := newDDLWatch(conn)
		if err != nil {
			return nil, err
		}
		read, err := readSchema(conn, l.cfg.KeystoreDatabase, l.touched)
		if err != nil {
			return nil, err
		}
		if attempt < schemaAttempts {
			again, err := watch.countersMoved(conn)
			if err != nil {
				return nil, err
			}
			if again {
				continue
			}
		}
		watch.blind = read.lacksProcess
		var rows map[tableName]int64
		if reports {
			if rows, err = readRows(conn); err != nil {
				return nil, err
			}
		}
		l.publish(read, policy, rows, generation)
		return watch, l.startEvaluator(conn)
	}
}

// publish makes the snapshot current. When nothing changed, planner and epoch stay, and with them the cached plans. rows is not
// nil under SchemaConfig.Report.
func (l *SchemaLoader) publish(read *schemaRead, policy *rewrite.Policy, rows map[tableName]int64, generation uint64) {
	last := l.current.Load()
	var next *Snapshot
	if last != nil && last.digest == read.digest && last.configured == policy && (last.foresight != nil) == (rows != nil) {
		same := *last
		same.rows = rows
		next = &same
	} else {
		l.epoch++
		read.schema.Epoch = l.epoch
		inForce := policy
		var foresight, searching *rewrite.Planner
		if rows != nil {
			foresight = rewrite.NewPlanner(rewrite.Foresee(read.schema, policy, l.cfg.Verify), policy)
			all := rewrite.SearchEverything(foresight.Schema(), policy)
			searching = rewrite.NewPlanner(rewrite.Foresee(read.schema, all, l.cfg.Verify), all)
			inForce = rewrite.Effective(read.schema, policy)
		}
		findings := rewrite.Protect(read.schema, inForce, l.cfg.Verify)
		next = &Snapshot{
			Schema: read.schema, Policy: inForce, Planner: rewrite.NewPlanner(read.schema, inForce), Findings: findings,
			configured: policy, foresight: foresight, searching: searching, rows: rows,
			MissingPrivileges: read.missing, SystemTimeZone: read.systemTimeZone, TimeZone: read.timeZone, digest: read.digest,
		}
		next.Planner.CountInto(&l.plans)
		if l.cfg.Evaluator != nil {
			next.Planner.Finish()
			if foresight != nil {
				foresight.Finish()
				searching.Finish()
			}
		}
		l.log.Info("schema read", "epoch", l.epoch, "tables", read.tables, "findings", len(findings))
	}
	next.generation = generation
	l.touched()
	l.current.Store(next)
	l.announce(nil)
}

func (l *SchemaLoader) touched() { l.contact.Store(int64(time.Since(l.start))) }

func (l *SchemaLoader) fail(err error) {
	l.log.Warn("schema cannot be read", "error", err)
	l.announce(err)
}

func (l *SchemaLoader) announce(failure error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = failure
	close(l.changed)
	l.changed = make(chan struct{})
}
