package evaluator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"latchkey/proxy/wire"
)

const (
	// loadChunk is about how many bytes of rows go out with one request.
	loadChunk = 64 << 10
	// maxAhead is how many requests may wait for their replies: the server stores rows while the next ones are being opened.
	maxAhead = 16
)

// Load streams rows into a table. No value becomes SQL: rows are parameters of one prepared INSERT, many rows a request. The
// server has no text to take apart then, as it would with LOAD DATA. https://mariadb.com/kb/en/com_stmt_bulk_execute/
type Load struct {
	conn   *Conn
	ctx    context.Context
	stop   func() bool
	fields int
	// buf is the request being filled, which begins with head bytes; waiting is how many rows it has.
	buf           []byte
	head, waiting int
	// sent has the rows of each request whose reply has not been read.
	sent  []int
	rows  uint64
	bytes uint64
	err   error // the first one; the connection is broken then
}

// Load starts loading into the named columns of a table, which may be a temporary one; the other columns get their defaults.
// Values are text as MariaDB writes it: utf8mb4 for columns of characters, bytes for all others. The connection's character set
// must be utf8mb4, as that of a new session is. The end of ctx breaks the connection. The caller calls Close or Abort. An error
// of the server is an *Error.
func (c *Conn) Load(ctx context.Context, database, table string, columns []string) (*Load, error) {
	c.count()
	l := &Load{conn: c, ctx: ctx, fields: len(columns), buf: make([]byte, 0, loadChunk+loadChunk/4)}
	if err := c.with(ctx, func() error { return l.begin(database, table, columns) }); err != nil {
		return nil, err
	}
	l.stop = context.AfterFunc(ctx, c.Kill)
	return l, nil
}

// begin prepares the statement.
func (l *Load) begin(database, table string, columns []string) error {
	c := l.conn
	c.buf = append(append(c.buf[:0], byte(wire.ComStmtPrepare)), loadStatement(database, table, columns)...)
	if err := c.Wire.Send(c.buf); err != nil {
		return err
	}
	if err := c.drain(wire.ReplyPrepare); err != nil {
		return err
	}
	const withTypes = 128
	l.buf = binary.LittleEndian.AppendUint32(append(l.buf, byte(wire.ComStmtBulkExecute)), c.reply.Prepared.Statement)
	l.buf = binary.LittleEndian.AppendUint16(l.buf, withTypes)
	for range columns {
		l.buf = append(l.buf, byte(wire.TypeVarString), 0)
	}
	l.head = len(l.buf)
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
	const here, null = 0, 1 // indicators
	for _, v := range values {
		if v == nil {
			l.buf = append(l.buf, null)
			continue
		}
		l.buf = wire.AppendLenencString(append(l.buf, here), v)
		l.bytes += uint64(len(v))
	}
	l.waiting++
	l.rows++
	if len(l.buf) < loadChunk {
		return nil
	}
	return l.flush()
}

// flush sends the rows that are waiting, and reads what the server says of those before if it is far behind.
func (l *Load) flush() error {
	if l.waiting == 0 {
		return nil
	}
	err := l.conn.Wire.Send(l.buf)
	clear(l.buf[l.head:])
	l.buf = l.buf[:l.head]
	l.sent = append(l.sent, l.waiting)
	l.waiting = 0
	if err == nil && len(l.sent) > maxAhead {
		err = l.stored()
	}
	return l.fail(err)
}

// stored reads the reply to the first request that has none.
func (l *Load) stored() error {
	rows := l.sent[0]
	l.sent = l.sent[:copy(l.sent, l.sent[1:])]
	ok, err := l.conn.read(wire.ReplyExecute, nil)
	if err != nil {
		return err
	}
	if ok.AffectedRows != uint64(rows) || ok.Warnings > 0 {
		return fmt.Errorf("%w: %d of %d rows, %d warnings", ErrNotLoaded, ok.AffectedRows, rows, ok.Warnings)
	}
	return nil
}

// fail notes the error that ended the load.
func (l *Load) fail(err error) error {
	if err == nil {
		return nil
	}
	l.err = l.conn.note(err)
	if l.ctx.Err() != nil {
		l.err = l.ctx.Err()
	}
	if len(l.sent) > 0 {
		// Replies that nobody will read.
		l.conn.interrupt()
	}
	return l.err
}

// Close sends the last rows and waits until the server has all of them. A row that the server did not take is an error.
func (l *Load) Close() error {
	if l.err == nil && l.flush() == nil {
		_ = l.fail(l.finish())
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

// finish reads the replies that are left and forgets the statement.
func (l *Load) finish() error {
	for len(l.sent) > 0 {
		if err := l.stored(); err != nil {
			return err
		}
	}
	// The request has no reply: it goes out with the next one.
	w := &l.conn.Wire.Writer
	w.Seq = 0
	return w.Packet(append([]byte{byte(wire.ComStmtClose)}, l.buf[1:5]...))
}

// ErrNotLoaded reports rows that the server did not store as they were given.
var ErrNotLoaded = errors.New("rows were not loaded into the evaluator as they are")

// Abort ends a load whose rows are not wanted any more, and the connection with it.
func (l *Load) Abort() {
	l.stop()
	l.conn.interrupt()
	l.err = ErrUnavailable
}

// Rows says how many rows and bytes of values have been added.
func (l *Load) Rows() (rows, bytes uint64) { return l.rows, l.bytes }
