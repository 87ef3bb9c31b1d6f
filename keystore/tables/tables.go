// Package tables keeps owner records, key slots and counters of attempts in a database of the backend, reached by the
// proxy's own account. It makes and upgrades the tables itself.
//
// It never sees a key, a password or a token, and believes nothing that it reads: package keystore verifies it.
//
// The one idea: a change of an owner is one transaction that succeeds only from the generation it was made for. Whatever
// breaks in the middle, the owner is as before or as after.
package tables

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"latchkey/keystore"
)

// Config says where the tables are. Everything but TLS is required.
type Config struct {
	Address string // host:port of the backend
	User    string
	// Password gives the account's password; it is called at every connect.
	Password func() (string, error)
	// TLS is used as it is; nil means no TLS.
	TLS *tls.Config
	// Database holds the tables; it is made when it is not there.
	Database string
	// Realm and Fingerprint say whose keystore it is. Another proxy's must be the same.
	Realm       string
	Fingerprint []byte
	// Adopt takes the tables over from another fingerprint.
	Adopt bool
}

const (
	connectTimeout = 10 * time.Second
	readTimeout    = 30 * time.Second
	// idleConns and maxConns bound the connections that are kept and used.
	idleConns = 4
	maxConns  = 16
	// transactionAttempts bounds how often a transaction is begun again after a deadlock or a lost connection.
	transactionAttempts = 5
)

// Store is a keystore.Store in tables. It is safe for concurrent use.
type Store struct {
	config Config
	slots  chan struct{} // one for each connection in use
	ready  atomic.Bool
	setup  sync.Mutex

	mu     sync.Mutex
	idle   []*client.Conn
	closed bool
}

// New makes a store. It connects when it is first used; the tables are made then.
func New(config Config) *Store { return &Store{config: config, slots: make(chan struct{}, maxConns)} }

// Close closes the idle connections; those in use are closed when they are given back.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		_ = c.Close()
	}
	s.idle = nil
}

// Setup makes or upgrades the tables, and says why they cannot be used. It does nothing when that was done already.
func (s *Store) Setup(ctx context.Context) error {
	return s.use(ctx, func(*client.Conn) error { return nil })
}

// dial makes a connection.
func (s *Store) dial(ctx context.Context) (*client.Conn, error) {
	password, err := s.config.Password()
	if err != nil {
		return nil, err
	}
	conn, err := client.ConnectWithContext(ctx, s.config.Address, s.config.User, password, "", connectTimeout, func(c *client.Conn) error {
		c.ReadTimeout, c.WriteTimeout = readTimeout, readTimeout
		if s.config.TLS != nil {
			c.SetTLSConfig(s.config.TLS)
		}
		return c.SetCollation("utf8mb4_general_ci")
	})
	if err != nil {
		return nil, fmt.Errorf("keystore: connect to %s as %s: %w", s.config.Address, s.config.User, err)
	}
	// A server that writes no rows for the sake of its settings would be a keystore that forgets. With READ COMMITTED InnoDB
	// writes nothing into a binary log of statements.
	// https://mariadb.com/kb/en/binary-log-formats/#statement-based-logging
	_, err = conn.Execute("SET SESSION sql_mode='STRICT_ALL_TABLES', autocommit=1, max_statement_time=0, innodb_lock_wait_timeout=10, " +
		"tx_isolation=IF(@@binlog_format='STATEMENT', 'REPEATABLE-READ', 'READ-COMMITTED')")
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("keystore: set up the connection: %w", err)
	}
	return conn, nil
}

// take gives a connection for use by one caller, with the tables ready; fresh makes a new one.
func (s *Store) take(ctx context.Context, fresh bool) (*client.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var conn *client.Conn
	s.mu.Lock()
	if n := len(s.idle); n > 0 && !fresh {
		conn, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	var err error
	if conn == nil {
		conn, err = s.dial(ctx)
	}
	if err == nil {
		if err = s.prepare(conn); err != nil {
			_ = conn.Close()
		}
	}
	if err != nil {
		<-s.slots
		return nil, err
	}
	return conn, nil
}

// give takes a connection back; a broken one is closed.
func (s *Store) give(conn *client.Conn, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if broken || s.closed || len(s.idle) >= idleConns {
		_ = conn.Close()
	} else {
		s.idle = append(s.idle, conn)
	}
	<-s.slots
}

// use runs do on a connection, once more on a new connection when the first one turns out to be lost. do must be one
// that may run twice.
func (s *Store) use(ctx context.Context, do func(*client.Conn) error) error {
	for attempt := 1; ; attempt++ {
		conn, err := s.take(ctx, attempt > 1)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Conn.Conn.Close() })
		err = do(conn)
		alive := stop()
		var server *mysql.MyError
		lost := err != nil && !errors.As(err, &server) && !errors.Is(err, keystore.ErrConflict)
		s.give(conn, lost || !alive)
		again := lost && alive || server != nil && (server.Code == mysql.ER_LOCK_DEADLOCK || server.Code == mysql.ER_LOCK_WAIT_TIMEOUT)
		if !again || attempt >= transactionAttempts {
			return err
		}
	}
}

// quote makes an identifier of a name.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// table is the full name of a table.
func (s *Store) table(name string) string { return quote(s.config.Database) + "." + quote(name) }

// literal makes a hexadecimal literal of bytes.
func literal[T ~string | ~[]byte](b T) string { return "x'" + hex.EncodeToString([]byte(b)) + "'" }

// Load implements keystore.Store.
func (s *Store) Load(ctx context.Context, owner string) (stored *keystore.StoredOwner, err error) {
	err = s.use(ctx, func(conn *client.Conn) error {
		stored, err = s.read(conn, "SELECT o.owner, o.record, o.mac, s.slot_id, s.body FROM "+s.table("owners")+" o LEFT JOIN "+
			s.table("slots")+" s ON s.owner = o.owner WHERE o.owner = "+literal(owner))
		return err
	})
	return stored, err
}

// LoadSlot implements keystore.Store.
func (s *Store) LoadSlot(ctx context.Context, id keystore.SlotID) (stored *keystore.StoredOwner, err error) {
	err = s.use(ctx, func(conn *client.Conn) error {
		stored, err = s.read(conn, "SELECT o.owner, o.record, o.mac, s.slot_id, s.body FROM "+s.table("slots")+" s JOIN "+
			s.table("owners")+" o ON o.owner = s.owner WHERE s.slot_id = "+literal(id[:]))
		return err
	})
	return stored, err
}

// read runs a query for one owner and any number of slots.
func (s *Store) read(conn *client.Conn, query string) (*keystore.StoredOwner, error) {
	r, err := conn.Execute(query)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var stored *keystore.StoredOwner
	for _, row := range r.Values {
		if stored == nil {
			stored = &keystore.StoredOwner{Owner: string(row[0].AsString()), Record: clone(row[1].AsString()), MAC: clone(row[2].AsString())}
		}
		id := row[3].AsString()
		if len(id) == len(keystore.SlotID{}) {
			stored.Slots = append(stored.Slots, keystore.StoredSlot{ID: keystore.SlotID(id), Body: clone(row[4].AsString())})
		}
	}
	return stored, nil
}

// clone copies a value out of a result, whose memory is used again.
func clone(b []byte) []byte { return append([]byte{}, b...) }

// Change implements keystore.Store.
func (s *Store) Change(ctx context.Context, c *keystore.Change) error {
	statements := s.statements(c)
	committing := false
	return s.use(ctx, func(conn *client.Conn) error {
		err := s.change(conn, statements, &committing)
		if committing && errors.Is(err, keystore.ErrConflict) {
			// A connection was lost while it was not known whether the change was made: it may be this one.
			made, failure := s.made(conn, c)
			if made || failure != nil {
				return failure
			}
		}
		return err
	})
}

// change runs the transaction of a change. committing is set once it may have been made.
func (s *Store) change(conn *client.Conn, statements []string, committing *bool) error {
	if _, err := conn.Execute("START TRANSACTION"); err != nil {
		return err
	}
	for i, statement := range statements {
		r, err := conn.Execute(statement)
		var server *mysql.MyError
		switch {
		case errors.As(err, &server) && server.Code == mysql.ER_DUP_ENTRY && i == 0,
			err == nil && i == 0 && r.AffectedRows != 1:
			return s.rollback(conn, keystore.ErrConflict)
		case server != nil:
			return s.rollback(conn, err)
		case err != nil:
			return err
		}
	}
	*committing = true
	_, err := conn.Execute("COMMIT")
	return err
}

// rollback ends a transaction because of an error, which it returns unless the connection is lost too.
func (s *Store) rollback(conn *client.Conn, cause error) error {
	if _, err := conn.Execute("ROLLBACK"); err != nil {
		return err
	}
	return cause
}

// made tells whether the stored record is that of a change.
func (s *Store) made(conn *client.Conn, c *keystore.Change) (bool, error) {
	stored, err := s.read(conn, "SELECT owner, record, mac, NULL, NULL FROM "+s.table("owners")+" WHERE owner = "+literal(c.Owner))
	if err != nil || stored == nil {
		return false, err
	}
	return string(stored.MAC) == string(c.MAC) && string(stored.Record) == string(c.Record), nil
}

// statements are those of the transaction of a change. The first one affects one row, or the change comes too late.
func (s *Store) statements(c *keystore.Change) []string {
	destroy := "NULL"
	if !c.DestroyAfter.IsZero() {
		destroy = strconv.FormatInt(c.DestroyAfter.Unix(), 10)
	}
	to := strconv.FormatUint(c.To, 10)
	var all []string
	if c.From == 0 {
		all = append(all, "INSERT INTO "+s.table("owners")+" (owner, generation, record, mac, destroy_after) VALUES ("+
			literal(c.Owner)+", "+to+", "+literal(c.Record)+", "+literal(c.MAC)+", "+destroy+")")
	} else {
		all = append(all, "UPDATE "+s.table("owners")+" SET generation = "+to+", record = "+literal(c.Record)+", mac = "+literal(c.MAC)+
			", destroy_after = "+destroy+" WHERE owner = "+literal(c.Owner)+" AND generation = "+strconv.FormatUint(c.From, 10))
	}
	switch {
	case c.DropAll:
		all = append(all, "DELETE FROM "+s.table("slots")+" WHERE owner = "+literal(c.Owner))
	case len(c.Drop) > 0:
		ids := make([]string, len(c.Drop))
		for i, id := range c.Drop {
			ids[i] = literal(id[:])
		}
		all = append(all, "DELETE FROM "+s.table("slots")+" WHERE slot_id IN ("+strings.Join(ids, ", ")+")")
	}
	if len(c.Put) > 0 {
		rows := make([]string, len(c.Put))
		for i, slot := range c.Put {
			rows[i] = "(" + literal(slot.ID[:]) + ", " + literal(c.Owner) + ", " + literal(slot.Body) + ")"
		}
		all = append(all, "REPLACE INTO "+s.table("slots")+" (slot_id, owner, body) VALUES "+strings.Join(rows, ", "))
	}
	return all
}

// Due implements keystore.Store.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) (owners []string, err error) {
	err = s.use(ctx, func(conn *client.Conn) error {
		owners = nil
		r, err := conn.Execute("SELECT owner FROM " + s.table("owners") + " WHERE destroy_after <= " + strconv.FormatInt(now.Unix(), 10) +
			" ORDER BY destroy_after LIMIT " + strconv.Itoa(limit))
		if err != nil {
			return err
		}
		defer r.Close()
		for _, row := range r.Values {
			owners = append(owners, string(row[0].AsString()))
		}
		return nil
	})
	return owners, err
}

// Attempts implements keystore.Store.
func (s *Store) Attempts(ctx context.Context, ids [][sha256.Size]byte, update func([]keystore.AttemptCount)) error {
	names := make([]string, len(ids))
	for i := range ids {
		names[i] = literal(ids[i][:])
	}
	return s.use(ctx, func(conn *client.Conn) error {
		if _, err := conn.Execute("START TRANSACTION"); err != nil {
			return err
		}
		counts := make([]keystore.AttemptCount, len(ids))
		if err := s.lockAttempts(conn, ids, names, counts); err != nil {
			return s.rollback(conn, err)
		}
		update(counts)
		rows := make([]string, len(ids))
		for i, c := range counts {
			rows[i] = fmt.Sprintf("(%s, %d, %d, %d)", names[i], c.Failures, c.Changed, c.Until)
		}
		if _, err := conn.Execute("REPLACE INTO " + s.table("attempts") + " (id, failures, changed, until) VALUES " + strings.Join(rows, ", ")); err != nil {
			return s.rollback(conn, err)
		}
		_, err := conn.Execute("COMMIT")
		return err
	})
}

// lockAttempts reads counters and keeps other proxies from them until the end of the transaction.
func (s *Store) lockAttempts(conn *client.Conn, ids [][sha256.Size]byte, names []string, counts []keystore.AttemptCount) error {
	// The rows have to be there to be locked. All transactions lock in the order of the primary key.
	rows := make([]string, len(names))
	for i, name := range slices.Sorted(slices.Values(names)) {
		rows[i] = "(" + name + ", 0, 0, 0)"
	}
	insert := "INSERT INTO " + s.table("attempts") + " (id, failures, changed, until) VALUES " + strings.Join(rows, ", ") + " ON DUPLICATE KEY UPDATE failures = failures"
	if _, err := conn.Execute(insert); err != nil {
		return err
	}
	r, err := conn.Execute("SELECT id, failures, changed, until FROM " + s.table("attempts") + " WHERE id IN (" + strings.Join(names, ", ") + ") FOR UPDATE")
	if err != nil {
		return err
	}
	defer r.Close()
	for _, row := range r.Values {
		for i := range ids {
			if string(ids[i][:]) == string(row[0].AsString()) {
				counts[i] = keystore.AttemptCount{Failures: uint32(row[1].AsUint64()), Changed: row[2].AsInt64(), Until: row[3].AsInt64()}
			}
		}
	}
	return nil
}

// DropAttempts implements keystore.Store.
func (s *Store) DropAttempts(ctx context.Context, before time.Time) error {
	return s.use(ctx, func(conn *client.Conn) error {
		_, err := conn.Execute("DELETE FROM " + s.table("attempts") + " WHERE changed < " + strconv.FormatInt(before.UnixMilli(), 10) + " LIMIT 10000")
		return err
	})
}
