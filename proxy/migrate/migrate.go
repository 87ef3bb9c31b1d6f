// Package migrate takes live tables from plaintext to cells and back, in place and while they are used: it prepares the
// columns, seals, opens and seals anew the rows in small transactions, counts what is left, and compares what is there with a
// digest from before.
//
// It never decides what is protected and never derives a key: tables come from package rewrite, values are sealed and opened by
// what implements Keys. No value in clear is ever part of a statement.
//
// The one idea: the rows are the state. Every stored value says itself what it is (NULL, empty, a cell, marked or bare
// plaintext), so whatever is killed at whatever moment, the next run looks and goes on. A row is read under its lock and written
// in the same transaction, and one that somebody else has locked is left for later: a write of the application always wins.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// Config configures an Engine. Dial is required; the rest as the comments say.
type Config struct {
	// Dial connects with an account that may read and write the tables; setup is run before the login. The engine closes the
	// connection.
	Dial func(ctx context.Context, setup func(*client.Conn)) (*client.Conn, error)
	// Keys seal and open. Not needed to prepare, to count and to finish.
	Keys Keys
	// Import opens what an application has encrypted in Canonical of a value, and gives the canonical text of what was in it, which the
	// engine wipes; ok is false for a value that it has not encrypted, which stays as it is. Needed for jobs of the act Import.
	Import func(v *Value) (canonical []byte, ok bool, err error)
	// Fleet and Realm authenticate what Notes hold; Notes is not needed to seal rows in the background.
	Fleet *keystore.FleetSecret
	Realm string
	Notes Notes
	Limits
	// Progress is told how far a run is, about once a second; nil for nobody.
	Progress func(Progress)
	// Logger gets what goes wrong with single rows; nil means none.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Limits bound what a conversion takes of the server.
type Limits struct {
	// Rate is how many rows are written in a second; 0 is as many as go.
	Rate int
	// Batch is how many rows one transaction writes; 0 means 200.
	Batch int
	// MaxLag pauses while a replica is further behind; 0 does not look. Lag gives it; nil asks the server about itself.
	MaxLag time.Duration
	Lag    func(ctx context.Context) (time.Duration, error)
	// MaxRunning pauses while more threads are running on the server; 0 does not look.
	MaxRunning int
}

const (
	defaultBatch = 200
	// maxBatchBytes bounds the text of the statements of one transaction.
	maxBatchBytes = 4 << 20
)

// Notes are the keystore's notes, which the engine also changes in transactions of its own.
type Notes interface {
	keystore.NoteStore
	// NotesTable is SQL for the table; NoteStatements are the statements that ChangeNotes would run.
	NotesTable() string
	NoteStatements(put, drop []keystore.StoredNote) []string
}

// Value is one stored value on its way.
type Value struct {
	Column *rewrite.Protected
	// Owner is the owner of the row by the owner column; HasOwner is false for a row without.
	Owner    string
	HasOwner bool
	// Stored is what stands in the row; nil for NULL.
	Stored []byte
	// Canonical is the value in clear, where Stored is a cell that was opened or plaintext that was read. The engine wipes it.
	Canonical []byte
	// Fresh is what is to take the place of Stored; nil when that stays.
	Fresh []byte
	// Err says why nothing can.
	Err error
}

// Keys seal and open. It is used by one goroutine at a time.
type Keys interface {
	// Seal sets Fresh of each value to the cell of Canonical, or Err. The error is one that no other value would fare better
	// with.
	Seal(ctx context.Context, values []*Value) error
	// Open sets Canonical of each value, whose Stored is a cell, or Err: ErrLocked where the key is not here.
	Open(ctx context.Context, values []*Value) error
	// KeyIDs gives the ids of the keys under which the cells of a column in rows of an owner may be, the one that seals now first;
	// none when that is not known.
	KeyIDs(ctx context.Context, column *rewrite.Protected, owner string, hasOwner bool) ([][]byte, error)
}

// ErrLocked says that a cell is under a key that is not here.
var ErrLocked = errors.New("the cell is under a key that is not here")

// ErrLeft says that rows are left: in use by others again and again, or such as could not be converted.
var ErrLeft = errors.New("rows are left")

// Engine converts tables. Its methods are for one goroutine.
type Engine struct {
	config Config
	log    *slog.Logger
	conn   *client.Conn
	// imaged says that the connection keeps old values out of the binary log, logged that there is a binary log of rows.
	imaged, logged bool
}

// New makes an engine. Close ends it.
func New(config Config) *Engine {
	if config.Batch <= 0 {
		config.Batch = defaultBatch
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{config: config, log: config.Logger}
}

// Close closes the connection.
func (e *Engine) Close() {
	if e.conn != nil {
		_ = e.conn.Close()
		e.conn = nil
	}
}

// sessionSetup makes text read and written the same on every server. Cells must not be cut, so the mode is strict; results come
// as they are stored.
const sessionSetup = "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit=1, time_zone='+00:00', character_set_client=utf8mb4, " +
	"character_set_results=NULL, character_set_connection=utf8mb4, innodb_lock_wait_timeout=2, lock_wait_timeout=20, max_statement_time=0, " +
	"foreign_key_checks=1, unique_checks=1, check_constraint_checks=1"

// connect makes the connection, if there is none.
func (e *Engine) connect(ctx context.Context) error {
	if e.conn != nil {
		return nil
	}
	conn, err := e.config.Dial(ctx, func(c *client.Conn) { c.SetCapability(mysql.CLIENT_MULTI_STATEMENTS) })
	if err != nil {
		return err
	}
	if _, err := conn.Execute(sessionSetup); err != nil {
		_ = conn.Close()
		return fmt.Errorf("set up the connection: %w", scrub(err))
	}
	e.conn = conn
	// Where the account may not, the server's own setting stays; keepsLog looks at it.
	_, _ = conn.Execute("SET SESSION binlog_row_image='MINIMAL'")
	rows, err := e.rows(ctx, "SELECT @@log_bin, @@session.sql_log_bin, @@session.binlog_format, @@session.binlog_row_image")
	if err != nil || len(rows) != 1 {
		e.Close()
		return errors.Join(errors.New("read the settings of the server"), err)
	}
	format := strings.ToUpper(string(rows[0][2]))
	e.logged = string(rows[0][0]) == "1" && string(rows[0][1]) == "1"
	e.imaged = strings.EqualFold(string(rows[0][3]), "MINIMAL")
	if format != "STATEMENT" || !e.logged {
		// Locks rows and not the gaps between them.
		if err := e.exec(ctx, "SET SESSION tx_isolation='READ-COMMITTED'"); err != nil {
			e.Close()
			return err
		}
	}
	return nil
}

// errImage is for a server whose binary log would keep what is sealed.
var errImage = errors.New("the binary log would keep the old values in clear beside the cells: binlog_row_image is not MINIMAL; " +
	"GRANT BINLOG ADMIN ON *.* to Latchkey's account, or set binlog_row_image=MINIMAL on the server")

// keepsLog refuses to write cells where the old values would go into the binary log.
func (e *Engine) keepsLog() error {
	if e.logged && !e.imaged {
		return errImage
	}
	return nil
}

// lost says that an error is one of the connection.
func lost(err error) bool {
	var server *mysql.MyError
	return err != nil && !errors.As(err, &server)
}

// code is the number of a server's error, 0 for others.
func code(err error) uint16 {
	var server *mysql.MyError
	if errors.As(err, &server) {
		return server.Code
	}
	return 0
}

// The errors of the server that are looked at. https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	errLockWait   = 1205 // ER_LOCK_WAIT_TIMEOUT
	errDeadlock   = 1213 // ER_LOCK_DEADLOCK
	errChanged    = 1020 // ER_CHECKREAD
	errConstraint = 4025 // ER_CONSTRAINT_FAILED
	errDuplicate  = 1062 // ER_DUP_ENTRY
)

// scrub takes an error's text away where it could quote a value; the number stays.
func scrub(err error) error {
	var server *mysql.MyError
	if !errors.As(err, &server) {
		return err
	}
	switch server.Code {
	case mysql.ER_DBACCESS_DENIED_ERROR, mysql.ER_TABLEACCESS_DENIED_ERROR, mysql.ER_COLUMNACCESS_DENIED_ERROR, mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR,
		errLockWait, errDeadlock, mysql.ER_NO_SUCH_TABLE, mysql.ER_OPTION_PREVENTS_STATEMENT:
		return err
	}
	return &mysql.MyError{Code: server.Code, State: server.State, Message: "the text of the error is withheld, because it could quote a value"}
}

// exec runs a statement whose result does not matter.
func (e *Engine) exec(ctx context.Context, statement string) error {
	_, err := e.run(ctx, statement)
	return err
}

func (e *Engine) run(ctx context.Context, statement string) (*mysql.Result, error) {
	stop := context.AfterFunc(ctx, e.interrupt(e.conn))
	defer stop()
	r, err := e.conn.Execute(statement)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return r, scrub(err)
}

// interrupt closes the socket below the connection, whose Close must not run beside a read.
func (e *Engine) interrupt(conn *client.Conn) func() {
	return func() { _ = conn.Conn.Conn.Close() }
}

// rows runs a query and gives the values of its rows as text, nil for NULL.
func (e *Engine) rows(ctx context.Context, query string) ([][][]byte, error) {
	r, err := e.run(ctx, query)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Resultset == nil {
		return nil, nil
	}
	all := make([][][]byte, len(r.RowDatas))
	for i, data := range r.RowDatas {
		row := make([][]byte, len(r.Fields))
		for c := range row {
			value, null, n, err := mysql.LengthEncodedString(data)
			if err != nil {
				return nil, errors.New("a malformed row came from the server")
			}
			data = data[n:]
			if !null {
				row[c] = append([]byte{}, value...)
			}
		}
		all[i] = row
	}
	return all, nil
}

// number runs a query for one number.
func (e *Engine) number(ctx context.Context, query string) (int64, error) {
	rows, err := e.rows(ctx, query)
	if err != nil {
		return 0, err
	}
	var n int64
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, errors.New("the server gave no number")
	}
	_, err = fmt.Sscan(string(rows[0][0]), &n)
	return n, err
}
