package evaluator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"latchkey/proxy/wire"
)

// BaseCaps are the capabilities of connections whose replies the proxy reads itself.
const BaseCaps = wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth | wire.CapLongFlag |
	wire.CapTransactions | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapDeprecateEOF | wire.CapBulkOperations

// relayCaps are those that decide how a reply is written and which rows it counts: a reply that goes on to a client must be
// read with the client's.
const relayCaps = wire.CapDeprecateEOF | wire.CapExtendedMetadata | wire.CapFoundRows

// RelayCaps gives the capabilities of a connection whose replies can be passed to a client with the given ones unchanged.
func RelayCaps(client wire.Capabilities) wire.Capabilities {
	if client.Has(wire.CapMySQL) {
		client &^= wire.CapExtendedMetadata // MariaDB's own capabilities do not count then
	}
	return BaseCaps&^relayCaps | client&relayCaps
}

// Error is an error of the evaluator's server. Its Message can quote values: it is for the client whose statement it was, and
// never for a log; Error leaves it out.
type Error struct{ wire.ERR }

// Error says the number and the SQLSTATE only.
func (e *Error) Error() string { return fmt.Sprintf("evaluator: error %d (%s)", e.Code, e.State) }

// Conn is a connection to the evaluator, for one goroutine at a time. Only Kill may be called beside a running call.
type Conn struct {
	// Wire is the connection itself, to relay replies from: after Send the caller reads the whole reply.
	Wire *wire.Conn
	// Caps are the capabilities that replies have to be read with.
	Caps wire.Capabilities
	// asked are those that were asked for.
	asked wire.Capabilities

	owner  *Evaluator // nil for connections outside the pool
	server *server
	net    net.Conn
	id     uint32
	taken  time.Time
	long   bool // AcquireLong gave it
	broken atomic.Bool
	reply  wire.Reply
	buf    []byte

	serverVersion string
	changeUser    []byte // the request that begins a new session
}

// AcquireLong is Acquire for statements over opened rows, which may take long: they never take all connections.
func (e *Evaluator) AcquireLong(ctx context.Context, caps wire.Capabilities) (*Conn, error) {
	select {
	case e.long <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := e.Acquire(ctx, caps)
	if err != nil {
		<-e.long
		return nil, err
	}
	c.long = true
	return c, nil
}

// Acquire returns a connection that carries nothing of whoever had it before: the default session of the server, in no
// database that counts. caps come from RelayCaps or are BaseCaps. The caller calls Release. The error is ErrUnavailable, or
// that of ctx while all connections are in use.
func (e *Evaluator) Acquire(ctx context.Context, caps wire.Capabilities) (*Conn, error) {
	s, err := e.await(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := s.take(ctx, caps)
	if err != nil {
		<-e.slots
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, ErrUnavailable
	}
	c.owner, c.taken = e, time.Now()
	return c, nil
}

// Release gives the connection back. It may be called after any error.
func (c *Conn) Release() {
	e := c.owner
	if e == nil {
		panic("internal error: evaluator: a connection was released twice")
	}
	c.owner = nil
	e.metrics.seconds.Add(time.Since(c.taken).Seconds())
	if c.long {
		c.long = false
		defer func() { <-e.long }()
	}
	c.server.give(c)
	<-e.slots
}

// Server tells which start of the server the connection is to: what another one knew is gone.
func (c *Conn) Server() uint64 { return c.server.number }

// take returns an idle connection with these capabilities or a new one.
func (s *server) take(ctx context.Context, caps wire.Capabilities) (*Conn, error) {
	s.mu.Lock()
	for i := len(s.idle) - 1; i >= 0; i-- {
		if c := s.idle[i]; c.asked == caps {
			s.idle = append(s.idle[:i], s.idle[i+1:]...)
			s.mu.Unlock()
			return c, nil
		}
	}
	s.mu.Unlock()
	return s.dial(ctx, caps)
}

// resetTimeout bounds the reset of a connection: one that takes longer is closed.
const resetTimeout = 5 * time.Second

// give resets a connection and keeps it for the next one, or closes it.
func (s *server) give(c *Conn) {
	if c.broken.Load() || c.reset() != nil {
		c.close()
		return
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		c.close()
		return
	}
	if len(s.idle) < s.config.Connections {
		s.idle = append(s.idle, c)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	c.close()
}

// reset makes the session new: variables, temporary tables, prepared statements, locks and the current database are gone.
// COM_RESET_CONNECTION would leave the database, and neither forgets FOUND_ROWS().
func (c *Conn) reset() error {
	_ = c.net.SetDeadline(time.Now().Add(resetTimeout))
	defer func() { _ = c.net.SetDeadline(time.Time{}) }()
	if err := c.Wire.Send(c.changeUser); err != nil {
		return err
	}
	if err := c.drain(wire.ReplyStatus); err != nil {
		return err
	}
	return c.run("SELECT 0 LIMIT 0")
}

// dial makes a connection.
func (s *server) dial(ctx context.Context, caps wire.Capabilities) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.storage.socket())
	if err != nil {
		return nil, err
	}
	c := &Conn{Wire: wire.NewConn(conn, wire.BackendSide), Caps: caps, asked: caps, server: s, net: conn}
	s.mu.Lock()
	stopped := s.stopped
	if !stopped {
		s.open[c] = struct{}{}
	}
	s.mu.Unlock()
	if stopped {
		c.close()
		return nil, ErrUnavailable
	}
	if err := c.with(ctx, c.login); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// utf8mb4General is the id of utf8mb4_general_ci.
const utf8mb4General = 45

// login carries out the handshake. The server has no accounts: any name and no password will do.
func (c *Conn) login() error {
	p, err := c.Wire.Read(wire.MaxLogin)
	if err != nil {
		return err
	}
	g, err := wire.ParseGreeting(p.Payload)
	if err != nil {
		return err
	}
	c.id, c.serverVersion = g.ThreadID, g.Version
	l := wire.Login{Caps: c.Caps & g.Caps, MaxPacket: wire.MaxPayload, Charset: utf8mb4General,
		User: []byte("root"), Plugin: []byte("mysql_native_password")}
	c.Caps = l.Caps
	change := wire.ChangeUser{User: l.User, Charset: []byte{l.Charset, 0}, Plugin: l.Plugin}
	c.changeUser = change.Append(nil, c.Caps)
	c.Wire.Writer.Seq = p.Seq + 1
	if err := c.Wire.Packet(l.Append(nil)); err != nil {
		return err
	}
	if err := c.Wire.Flush(); err != nil {
		return err
	}
	if p, err = c.Wire.Read(wire.MaxLogin); err != nil {
		return err
	}
	if len(p.Payload) > 0 && p.Payload[0] == 0xff {
		e, err := wire.ParseERR(p.Payload)
		if err != nil {
			return err
		}
		return &Error{e}
	}
	_, err = wire.ParseOK(p.Payload, c.Caps)
	return err
}

// close closes the connection for good.
func (c *Conn) close() {
	c.broken.Store(true)
	_ = c.net.Close()
	c.Wire.Release()
	c.server.mu.Lock()
	delete(c.server.open, c)
	c.server.mu.Unlock()
}

// interrupt makes a running call fail.
func (c *Conn) interrupt() {
	c.broken.Store(true)
	_ = c.net.Close()
}

// with runs do so that the end of ctx interrupts it, which breaks the connection.
func (c *Conn) with(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.broken.Load() {
		return ErrUnavailable
	}
	stop := context.AfterFunc(ctx, c.Kill)
	err := do()
	if !stop() && err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return c.note(err)
}

// note remembers that a connection is of no use any more. What the connection itself returned is ErrUnavailable to everybody
// else: the server has ended or is ending.
func (c *Conn) note(err error) error {
	var io *wire.IOError
	if errors.As(err, &io) {
		c.broken.Store(true)
		// The text only: whoever looks for an IOError looks for one of its own connections.
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return err
}

// Kill ends what runs on the connection at once, on both sides, and the connection with it. It may be called at any time, also
// beside another call of the connection, and does not wait.
func (c *Conn) Kill() {
	c.interrupt()
	s, id := c.server, c.id
	// A server notices that a client is gone only when it writes to it.
	go func() {
		ctx, cancel := context.WithTimeout(s.life, resetTimeout)
		defer cancel()
		killer, err := s.dial(ctx, BaseCaps)
		if err != nil {
			return
		}
		defer killer.close()
		_ = killer.with(ctx, func() error { return killer.run(fmt.Sprintf("KILL HARD CONNECTION %d", id)) })
	}()
}

// Send sends one request. The caller then reads its whole reply from Wire, with a wire.Reply or Discard, before anything else
// is done with the connection. An error of Wire itself means that the connection is lost: see Failed.
func (c *Conn) Send(payload []byte) error {
	c.count()
	if c.broken.Load() {
		return ErrUnavailable
	}
	return c.note(c.Wire.Send(payload))
}

// Failed tells the connection that reading a reply from Wire failed with err, and returns what to tell others.
func (c *Conn) Failed(err error) error { return c.note(err) }

func (c *Conn) count() {
	if c.owner != nil {
		c.owner.metrics.statements.Inc()
	}
}

// run sends a statement and reads its reply away; the error is an *Error or the connection's.
func (c *Conn) run(sql string) error {
	if err := c.query(sql); err != nil {
		return err
	}
	return c.drain(wire.ReplyQuery)
}

func (c *Conn) query(sql string) error {
	c.buf = append(append(c.buf[:0], byte(wire.ComQuery)), sql...)
	return c.Wire.Send(c.buf)
}

// drain reads a reply away.
func (c *Conn) drain(kind wire.ReplyKind) error {
	_, err := c.read(kind, nil)
	return err
}

// Exec runs one statement and returns its OK packet, without Info and Track. An error of the server is an *Error.
func (c *Conn) Exec(ctx context.Context, sql string) (wire.OK, error) {
	c.count()
	var ok wire.OK
	err := c.with(ctx, func() error {
		err := c.query(sql)
		if err == nil {
			ok, err = c.read(wire.ReplyQuery, nil)
		}
		return err
	})
	return ok, err
}

// Result is what a query answered. Its rows are copies.
type Result struct {
	// Columns are the column definitions.
	Columns []wire.Column
	// Rows are the rows as text; a nil value is NULL.
	Rows [][][]byte
	// Warnings is the number of warnings.
	Warnings uint16
}

// Query runs one statement and collects its resultset. An error of the server is an *Error.
func (c *Conn) Query(ctx context.Context, sql string) (*Result, error) {
	r := &Result{}
	err := c.each(ctx, sql, r, func(values [][]byte) error {
		row := make([][]byte, len(values))
		for i, v := range values {
			if v != nil {
				row[i] = append([]byte{}, v...)
			}
		}
		r.Rows = append(r.Rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Columns runs one statement and returns the column definitions of its resultset; rows are thrown away. An error of the server
// is an *Error.
func (c *Conn) Columns(ctx context.Context, sql string) ([]wire.Column, error) {
	r := &Result{}
	err := c.each(ctx, sql, r, func([][]byte) error { return nil })
	return r.Columns, err
}

// Each runs one statement and calls row for each row of its resultset, as text; a nil value is NULL. The values belong to the
// connection. An error of row ends the calls and is returned; the reply is read to its end.
func (c *Conn) Each(ctx context.Context, sql string, row func(values [][]byte) error) error {
	return c.each(ctx, sql, &Result{}, row)
}

func (c *Conn) each(ctx context.Context, sql string, r *Result, row func(values [][]byte) error) error {
	c.count()
	return c.with(ctx, func() error {
		if err := c.query(sql); err != nil {
			return err
		}
		ok, err := c.read(wire.ReplyQuery, &rowReader{caps: c.Caps, result: r, row: row})
		r.Warnings = ok.Warnings
		return err
	})
}

// rowReader takes the packets of one resultset apart.
type rowReader struct {
	caps   wire.Capabilities
	result *Result
	row    func(values [][]byte) error
	fields []wire.Field
	values [][]byte
}

func (r *rowReader) column(payload []byte) error {
	d, err := copyColumn(payload, r.caps)
	r.result.Columns = append(r.result.Columns, d)
	return err
}

// copyColumn parses a column definition that outlives its packet.
func copyColumn(payload []byte, caps wire.Capabilities) (wire.Column, error) {
	var d wire.Column
	err := wire.ParseColumn(append([]byte(nil), payload...), caps, &d)
	return d, err
}

func (r *rowReader) text(payload []byte) error {
	var err error
	if r.fields, err = wire.WalkText(r.fields[:0], payload, len(r.result.Columns)); err != nil {
		return err
	}
	r.values = r.values[:0]
	for _, f := range r.fields {
		r.values = append(r.values, f.Of(payload))
	}
	return r.row(r.values)
}

// read reads the reply to a statement and returns its last OK packet. rows is nil when nobody wants them.
func (c *Conn) read(kind wire.ReplyKind, rows *rowReader) (wire.OK, error) {
	var ok wire.OK
	err := c.events(kind, func(event wire.Event, payload []byte) error {
		switch event {
		case wire.EventOK, wire.EventResultEnd:
			if len(payload) == 5 && payload[0] == 0xfe {
				e, err := wire.ParseEOF(payload)
				ok = wire.OK{Status: e.Status, Warnings: e.Warnings}
				return err
			}
			o, err := wire.ParseOK(payload, c.Caps)
			ok = wire.OK{AffectedRows: o.AffectedRows, LastInsertID: o.LastInsertID, Status: o.Status, Warnings: o.Warnings}
			return err
		case wire.EventColumn:
			if rows != nil {
				return rows.column(payload)
			}
		case wire.EventRow:
			if rows != nil {
				return rows.text(payload)
			}
		}
		return nil
	})
	return ok, err
}

// events reads one reply and calls do for its packets until do fails. It returns the server's error, do's, or the
// connection's; the reply is read to its end unless the connection failed.
func (c *Conn) events(kind wire.ReplyKind, do func(event wire.Event, payload []byte) error) error {
	r := &c.reply
	r.Start(c.Wire, nil, kind, c.Caps)
	var failed error
	for {
		event, err := r.Next()
		if err != nil {
			return err
		}
		if event == wire.EventDone {
			if err := r.Close(); err != nil {
				return err
			}
			return failed
		}
		payload, err := r.Payload()
		if err != nil {
			return err
		}
		switch {
		case event == wire.EventInfile:
			err = r.RefuseInfile(wire.ERR{})
		case event == wire.EventERR:
			failed = serverError(payload)
		case failed == nil:
			failed = do(event, payload)
		}
		if err != nil {
			return err
		}
	}
}

// serverError is the error in an ERR packet.
func serverError(payload []byte) error {
	e, err := wire.ParseERR(payload)
	if err != nil {
		return err
	}
	return &Error{e}
}
