package evaluator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"latchkey/proxy/wire"
)

// loadChunk is about how many bytes of rows go out with one write.
const loadChunk = 64 << 10

// Load streams rows into a table. No value becomes SQL: the server asks for a file, and the rows are its content.
// https://mariadb.com/kb/en/load-data-infile/
type Load struct {
	conn   *Conn
	ctx    context.Context
	stop   func() bool
	fields int
	buf    []byte
	rows   uint64
	bytes  uint64
	err    error // the first one; the connection is broken then
}

// Load starts loading into the named columns of a table, which may be a temporary one; the other columns get their defaults.
// Values are text as MariaDB writes it: utf8mb4 for columns of characters, bytes for all others. The end of ctx breaks the
// connection. The caller calls Close or Abort. An error of the server is an *Error.
func (c *Conn) Load(ctx context.Context, database, table string, columns []string) (*Load, error) {
	c.count()
	l := &Load{conn: c, ctx: ctx, fields: len(columns), buf: make([]byte, 0, loadChunk+loadChunk/4)}
	if err := c.with(ctx, func() error { return l.begin(database, table, columns) }); err != nil {
		return nil, err
	}
	l.stop = context.AfterFunc(ctx, c.Kill)
	return l, nil
}

// begin sends the statement and waits for the server to ask for the file.
func (l *Load) begin(database, table string, columns []string) error {
	c := l.conn
	if err := c.query(loadStatement(database, table, columns)); err != nil {
		return err
	}
	p, err := c.Wire.Read(wire.MaxLogin)
	if err != nil {
		return err
	}
	if len(p.Payload) > 0 && p.Payload[0] == 0xff {
		return serverError(p.Payload)
	}
	if len(p.Payload) == 0 || p.Payload[0] != 0xfb {
		return &wire.IOError{Side: wire.BackendSide, Op: "read", Err: wire.ErrMalformed}
	}
	c.Wire.Writer.Seq = p.Seq + 1
	return nil
}

// loadStatement builds the statement. The file's format is the default one, spelled out because it depends on sql_mode
// otherwise. A user variable would lose a value's bytes if the column were of bits or characters, so every field is a column.
func loadStatement(database, table string, columns []string) string {
	dst := append([]byte("LOAD DATA LOCAL INFILE '' INTO TABLE "), quoteName(nil, database)...)
	dst = quoteName(append(dst, '.'), table)
	dst = append(dst, " CHARACTER SET utf8mb4 FIELDS TERMINATED BY x'09' ESCAPED BY x'5C' LINES TERMINATED BY x'0A' ("...)
	for i, column := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = quoteName(dst, column)
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
	for i, v := range values {
		if i > 0 {
			l.buf = append(l.buf, '\t')
		}
		l.buf = appendField(l.buf, v)
		l.bytes += uint64(len(v))
	}
	l.buf = append(l.buf, '\n')
	l.rows++
	if len(l.buf) < loadChunk {
		return nil
	}
	return l.flush()
}

// appendField escapes what has a meaning in the file: the three special characters and NUL, and CR for the sake of nothing
// but symmetry with what MariaDB writes itself.
func appendField(dst, value []byte) []byte {
	if value == nil {
		return append(dst, '\\', 'N')
	}
	from := 0
	for i, b := range value {
		var escape byte
		switch b {
		case '\t':
			escape = 't'
		case '\n':
			escape = 'n'
		case '\\':
			escape = '\\'
		case 0:
			escape = '0'
		default:
			continue
		}
		dst = append(append(dst, value[from:i]...), '\\', escape)
		from = i + 1
	}
	return append(dst, value[from:]...)
}

// flush writes what is waiting as packets of the file, none of them near max_allowed_packet, however long a value is.
func (l *Load) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	w := &l.conn.Wire.Writer
	for part := range slices.Chunk(l.buf, loadChunk) {
		if err := w.Packet(part); err != nil {
			return l.fail(err)
		}
	}
	l.buf = l.buf[:0]
	return l.fail(w.Flush())
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
	return l.err
}

// Close ends the file and waits until the server has all rows. A row that the server did not take is an error.
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

// finish sends the empty packet that ends the file and reads the reply.
func (l *Load) finish() error {
	c := l.conn
	if err := c.Wire.Packet(nil); err != nil {
		return err
	}
	if err := c.Wire.Flush(); err != nil {
		return err
	}
	p, err := c.Wire.Read(wire.MaxLogin)
	if err != nil {
		return err
	}
	if len(p.Payload) > 0 && p.Payload[0] == 0xff {
		return serverError(p.Payload)
	}
	ok, err := wire.ParseOK(p.Payload, c.Caps)
	if err != nil {
		return &wire.IOError{Side: wire.BackendSide, Op: "read", Err: err}
	}
	if ok.AffectedRows != l.rows || ok.Warnings > 0 {
		return fmt.Errorf("%w: %d of %d rows, %d warnings", ErrNotLoaded, ok.AffectedRows, l.rows, ok.Warnings)
	}
	return nil
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
