// Package mariadbtest gives tests a real MariaDB: a private server on a free
// loopback port, started and stopped by the test. It never uses a server that
// was there before, and a missing server program fails the test.
package mariadbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbserver"
	"latchkey/internal/testcert"
)

// Server is a private MariaDB of a test. Its account root has no password over
// TCP from 127.0.0.1.
type Server struct {
	*mariadbserver.Server

	// Certs is set when the server was started WithTLS.
	Certs *testcert.Authority

	db *sql.DB
}

// Option changes how Start starts the server.
type Option func(*options) error

type options struct {
	args  []string
	certs *testcert.Authority
}

// WithArgs appends options to the server's command line, such as
// "--sql-mode=ANSI" or "--proxy-protocol-networks=*".
func WithArgs(args ...string) Option {
	return func(o *options) error {
		o.args = append(o.args, args...)
		return nil
	}
}

// WithTLS lets the server offer TLS with a certificate for 127.0.0.1 and
// localhost, issued by Server.Certs.
func WithTLS() Option {
	return func(o *options) error {
		dir, err := os.MkdirTemp("", "latchkey-certs-")
		if err != nil {
			return err
		}
		certs, err := testcert.NewAuthority(dir)
		if err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
		o.certs = certs
		server, err := certs.Issue("mariadb", "127.0.0.1", "localhost")
		if err != nil {
			return err
		}
		o.args = append(o.args, "--ssl-ca="+certs.CertFile, "--ssl-cert="+server.CertFile, "--ssl-key="+server.KeyFile)
		return nil
	}
}

// WithAllLogs turns on everything in which a server could keep a statement: the
// general and slow log, the binary log in row format with the original
// statements beside the rows, and performance_schema. The files are
// DataDir()/general.log, slow.log and binlog.*.
func WithAllLogs() Option {
	return WithArgs(
		"--general-log=1", "--general-log-file=general.log", "--log-output=FILE",
		"--slow-query-log=1", "--slow-query-log-file=slow.log", "--long-query-time=0", "--log-slow-admin-statements=1",
		"--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-annotate-row-events=1",
		"--performance-schema=ON", "--performance-schema-instrument=%=ON",
		"--performance-schema-consumer-events-statements-current=ON",
		"--performance-schema-consumer-events-statements-history=ON",
		"--performance-schema-consumer-events-statements-history-long=ON",
	)
}

// Start starts a server that is stopped when the test ends.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s, err := start(opts)
	if err != nil {
		tb.Fatalf("start a private MariaDB: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.stop(); err != nil {
			tb.Errorf("stop the private MariaDB: %v", err)
		}
	})
	return s
}

func start(opts []Option) (*Server, error) {
	var o options
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, errors.Join(err, o.removeCerts())
		}
	}
	server, err := mariadbserver.Start(context.Background(), mariadbserver.Config{Args: o.args})
	if err != nil {
		return nil, errors.Join(err, o.removeCerts())
	}
	s := &Server{Server: server, Certs: o.certs}
	if s.db, err = sql.Open("mysql", s.DSN("")+"?multiStatements=true"); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (o *options) removeCerts() error {
	if o.certs == nil {
		return nil
	}
	return os.RemoveAll(o.certs.Dir)
}

func (s *Server) stop() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.Certs != nil {
		err = errors.Join(err, os.RemoveAll(s.Certs.Dir))
	}
	return errors.Join(err, s.Stop())
}

// DSN returns root's data source name for go-sql-driver/mysql, straight to the
// server, with db as the current database (it may be empty). Parameters are
// added behind a question mark.
func (s *Server) DSN(db string) string { return fmt.Sprintf("root@tcp(%s)/%s", s.Addr(), db) }

// DB returns a pool of root's connections straight to the server that accepts
// several statements in one text. It belongs to s.
func (s *Server) DB() *sql.DB { return s.db }

// Open opens a pool of root's connections straight to the server with db as the
// current database; it is closed when the test ends.
func (s *Server) Open(tb testing.TB, db string) *sql.DB {
	tb.Helper()
	pool, err := sql.Open("mysql", s.DSN(db))
	if err != nil {
		tb.Fatalf("open %s: %v", db, err)
	}
	tb.Cleanup(func() { pool.Close() })
	return pool
}

// NewDatabase creates an empty database with a fresh name, drops it when the
// test ends, and returns the name (lower case letters and digits).
func (s *Server) NewDatabase(tb testing.TB) string {
	tb.Helper()
	var random [6]byte
	rand.Read(random[:])
	name := "t" + hex.EncodeToString(random[:])
	s.Exec(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		if _, err := s.db.Exec("DROP DATABASE IF EXISTS " + name); err != nil {
			tb.Errorf("drop database %s: %v", name, err)
		}
	})
	return name
}

// Exec runs each text as root straight on the server, each in a session of its
// own without a current database. A text may hold several statements.
func (s *Server) Exec(tb testing.TB, texts ...string) {
	tb.Helper()
	for _, text := range texts {
		if _, err := s.db.Exec(text); err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
	}
}

// Query runs one statement as root straight on the server and returns the first
// resultset's values as text, NULL as "NULL".
func (s *Server) Query(tb testing.TB, text string) [][]string {
	tb.Helper()
	rows, err := s.db.Query(text)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	var all [][]string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = "NULL"
			if v.Valid {
				row[i] = v.String
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return all
}

// shared is the server of this test process that Shared starts.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Shared returns the test process's common server, starting it at first use. The
// package's TestMain must be Main, which stops it. Tests that change global
// variables or accounts use a server of their own.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start(nil)
	}
	if shared.err != nil {
		tb.Fatalf("start a private MariaDB: %v", shared.err)
	}
	return shared.server
}

// Main runs a package's tests, stops the shared server and exits:
//
//	func TestMain(m *testing.M) { mariadbtest.Main(m) }
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain with more to do: it returns the exit code.
func Run(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the private MariaDB:", err)
			code = max(code, 1)
		}
		shared.server = nil
	}
	return code
}

// Code returns the MariaDB error number in err, or 0 when there is none.
func Code(err error) int {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return int(server.Number)
	}
	return 0
}

// Quote returns name as a quoted identifier.
func Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
