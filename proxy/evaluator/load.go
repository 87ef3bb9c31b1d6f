package evaluator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"latchkey/proxy/wire"
)

const (
	// loadChunk is about how many bytes of rows go out with one request, unless max_allowed_packet is small.
	loadChunk = 64 << 10
	// maxAhead is how many requests may wait for their replies, and maxFilled how many for being sent.
	maxAhead  = 16
	maxFilled = 4
)

// Load streams rows into a table. No value becomes SQL: rows are parameters of one prepared INSERT, many rows a request. The
// server has no text to take apart then, as it would with LOAD DATA. https://mariadb.com/kb/en/com_stmt_bulk_execute/
//
// Requests are sent by a goroutine of their own, so that the server stores rows while the next ones are being opened; it ends
// with Close or Abort.
type Load struct {
	conn   *Conn
	ctx    context.Context
	stop   func() bool
	fields int
	// chunk is the size from which a request is sent. A row that is longer has its values sent one by one.
	chunk int
	// head begins each request.
	head []byte
	// filling is the request being filled; filled wait to be sent, and free have been.
	filling      loadRequest
	filled, free chan loadRequest
	sender       loadSender
	rows         uint64
	bytes        uint64
	err          error // the first one; the connection is broken then
}

// loadRequest is one request and how many rows it has: none where it has no reply.
type loadRequest struct {
	buf  []byte
	rows int
}

// Load starts loading into the named columns of a table, which may be a temporary one; the other columns get their defaults.
// Values are text as MariaDB writes it: utf8mb4 for columns of characters, bytes for all others. The session's
// character_set_client and character_set_connection are utf8mb4 afterwards. The end of ctx breaks the connection. The caller
// calls Close or Abort. An error of the server is an *Error.
func (c *Conn) Load(ctx context.Context, database, table string, columns []string) (*Load, error) {
	c.count()
	l := &Load{conn: c, ctx: ctx, fields: len(columns), chunk: min(loadChunk, c.server.maxPacket/2), filled: make(chan loadRequest, maxFilled), free: make(chan loadRequest, maxFilled+2)}
	if err := c.with(ctx, func() error { return l.begin(database, table, columns) }); err != nil {
		return nil, err
	}
	l.stop = context.AfterFunc(ctx, c.Kill)
	l.sender = loadSender{conn: c, done: make(chan struct{})}
	go l.sender.run(l.filled, l.free)
	return l, nil
}

// loadCharset is how parameters are read: as utf8mb4.
const loadCharset = "SET character_set_client=utf8mb4,character_set_connection=utf8mb4"

// begin prepares the statement, with one write.
func (l *Load) begin(database, table string, columns []string) error {
	c := l.conn
	w := &c.Wire.Writer
	w.Seq = 0
	if err := w.Packet(append([]byte{byte(wire.ComQuery)}, loadCharset...)); err != nil {
		return err
	}
	c.buf = append(append(c.buf[:0], byte(wire.ComStmtPrepare)), loadStatement(database, table, columns)...)
	if err := c.Wire.Send(c.buf); err != nil {
		return err
	}
	set := c.drain(wire.ReplyQuery)
	var e *Error
	if set != nil && !errors.As(set, &e) {
		return set
	}
	if err := c.drain(wire.ReplyPrepare); err != nil {
		return err
	}
	if set != nil {
		return set
	}
	const withTypes = 128
	l.head = binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtBulkExecute)}, c.reply.Prepared.Statement)
	l.head = binary.LittleEndian.AppendUint16(l.head, withTypes)
	for range columns {
		l.head = append(l.head, byte(wire.TypeVarString), 0)
	}
	return nil
}

// loadStatement builds the statement.
func loadStatement(database, table string, columns []string) string {
	dst := append([]byte("INSERT INTO "), quoteName(nil, database)...)
	dst = append(quoteName(append(dst, '.'), table), " ("...)
	for i, column := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = quoteName(dst, column)
	}
	dst = append(dst, ") VALUES ("...)
	for i := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '?')
	}
	return string(append(dst, ')'))
}

// Row adds one row: a value for each column, nil for NULL. The values are copied.
func (l *Load) Row(values [][]byte) error {
	if l.err != nil {
		return l.err
	}
	if len(values) != l.fields {
		return fmt.Errorf("a row of %d values for %d columns", len(values), l.fields)
	}
	size := 0
	for _, v := range values {
		size += len(v)
	}
	l.bytes += uint64(size)
	l.rows++
	if size > l.chunk {
		return l.longRow(values)
	}
	if l.filling.buf == nil {
		l.next()
	}
	const here, null = 0, 1 // indicators
	buf := l.filling.buf
	for _, v := range values {
		if v == nil {
			buf = append(buf, null)
			continue
		}
		buf = wire.AppendLenencString(append(buf, here), v)
	}
	l.filling.buf = buf
	l.filling.rows++
	if len(buf) < l.chunk {
		return nil
	}
	return l.flush()
}

// longRow adds a row that could exceed max_allowed_packet: its values go ahead in pieces.
// https://mariadb.com/kb/en/com_stmt_send_long_data/
func (l *Load) longRow(values [][]byte) error {
	if err := l.flush(); err != nil {
		return err
	}
	statement := l.head[1:5]
	execute := wire.Execute{Statement: binary.LittleEndian.Uint32(statement), Iterations: 1}
	for i, v := range values {
		execute.Params = append(execute.Params, wire.Param{ParamType: wire.ParamType{Type: wire.TypeVarString}, Null: v == nil, Long: v != nil})
		// An empty value is one empty piece.
		for first := true; v != nil && (first || len(v) > 0); first = false {
			n := min(len(v), l.chunk)
			piece := append(append(make([]byte, 0, 7+n), byte(wire.ComStmtSendLong)), statement...)
			piece = append(binary.LittleEndian.AppendUint16(piece, uint16(i)), v[:n]...)
			v = v[n:]
			if err := l.hand(loadRequest{buf: piece}); err != nil {
				return err
			}
		}
	}
	return l.hand(loadRequest{buf: execute.Append(nil), rows: 1})
}

// next begins a request, in memory that has been sent if there is any.
func (l *Load) next() {
	select {
	case used := <-l.free:
		l.filling.buf = used.buf[:0]
	default:
		l.filling.buf = make([]byte, 0, loadChunk+loadChunk/4)
	}
	l.filling.buf, l.filling.rows = append(l.filling.buf, l.head...), 0
}

// flush hands the rows that are waiting to the sender.
func (l *Load) flush() error {
	if l.filling.buf == nil {
		return nil
	}
	r := l.filling
	l.filling = loadRequest{}
	return l.hand(r)
}

// hand gives a request to the sender.
func (l *Load) hand(r loadRequest) error {
	l.filled <- r
	if l.sender.failed.Load() {
		return l.end()
	}
	return nil
}

// end waits for the sender and notes the error that ended the load, if any.
func (l *Load) end() error {
	close(l.filled)
	<-l.sender.done
	if err := l.sender.err; err != nil {
		l.err = l.conn.note(err)
		if l.ctx.Err() != nil {
			l.err = l.ctx.Err()
		}
	}
	return l.err
}

// Close sends the last rows and waits until the server has all of them. A row that the server did not take is an error.
func (l *Load) Close() error {
	if l.err == nil && l.flush() == nil && l.end() == nil {
		l.err = l.forget()
	}
	if !l.stop() && l.err == nil {
		l.err = l.ctx.Err()
	}
	if e := l.conn.owner; e != nil {
		e.metrics.rows.Add(float64(l.rows))
		e.metrics.bytes.Add(float64(l.bytes))
	}
	return l.err
}

// forget closes the statement. The request has no reply: it goes out with the next one.
func (l *Load) forget() error {
	w := &l.conn.Wire.Writer
	w.Seq = 0
	return w.Packet(append([]byte{byte(wire.ComStmtClose)}, l.head[1:5]...))
}

// ErrNotLoaded reports rows that the server did not store as they were given.
var ErrNotLoaded = errors.New("rows were not loaded into the evaluator as they are")

// Abort ends a load whose rows are not wanted any more, and the connection with it.
func (l *Load) Abort() {
	l.stop()
	l.conn.interrupt()
	if l.err == nil {
		_ = l.end()
	}
	l.err = ErrUnavailable
	clear(l.filling.buf)
}

// loadSender sends requests and reads their replies. It has the connection to itself until it is done.
type loadSender struct {
	conn *Conn
	// sent has the rows of each request whose reply has not been read.
	sent []int
	// failed says that err is set; err may be read when done is closed.
	failed atomic.Bool
	err    error
	done   chan struct{}
}

// run sends what is filled until there is no more. After an error it takes requests and sends none.
func (s *loadSender) run(filled <-chan loadRequest, free chan<- loadRequest) {
	defer close(s.done)
	for r := range filled {
		if s.err == nil {
			s.fail(s.send(r))
		}
		clear(r.buf)
		select {
		case free <- r:
		default:
		}
	}
	for s.err == nil && len(s.sent) > 0 {
		s.fail(s.stored())
	}
}

// fail notes an error.
func (s *loadSender) fail(err error) {
	if err == nil {
		return
	}
	s.err = err
	s.failed.Store(true)
	if len(s.sent) > 0 {
		// Replies that nobody will read.
		s.conn.interrupt()
	}
}

// send sends one request, and reads what the server says of an earlier one if it is far behind.
func (s *loadSender) send(r loadRequest) error {
	if err := s.conn.Wire.Send(r.buf); err != nil {
		return err
	}
	if r.rows > 0 {
		s.sent = append(s.sent, r.rows)
	}
	if len(s.sent) > maxAhead {
		return s.stored()
	}
	return nil
}

// stored reads the reply to the first request that has none.
func (s *loadSender) stored() error {
	rows := s.sent[0]
	s.sent = s.sent[:copy(s.sent, s.sent[1:])]
	ok, err := s.conn.read(wire.ReplyExecute, nil)
	if err != nil {
		return err
	}
	if ok.AffectedRows != uint64(rows) || ok.Warnings > 0 {
		return fmt.Errorf("%w: %d of %d rows, %d warnings", ErrNotLoaded, ok.AffectedRows, rows, ok.Warnings)
	}
	return nil
}
