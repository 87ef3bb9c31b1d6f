package evaluator

import (
	"context"

	"latchkey/proxy/wire"
)

// Description is what the server says about a statement that it has parsed and not carried out.
type Description struct {
	// Columns are the column definitions of its resultset, as the server sends them to COM_STMT_PREPARE; copies. They are
	// written with the capabilities of the connection.
	Columns []wire.Column
	// Params is the number of its parameters.
	Params int
}

// Describe prepares a statement and forgets it again: its tables are looked at, its literals too, and no row is read. An error
// of the server is an *Error.
func (c *Conn) Describe(ctx context.Context, sql []byte) (*Description, error) {
	c.count()
	d := &Description{}
	err := c.with(ctx, func() error { return c.describe(sql, d) })
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (c *Conn) describe(sql []byte, d *Description) error {
	c.buf = append(append(c.buf[:0], byte(wire.ComStmtPrepare)), sql...)
	if err := c.Wire.Send(c.buf); err != nil {
		return err
	}
	var statement uint32
	err := c.events(wire.ReplyPrepare, func(event wire.Event, payload []byte) error {
		switch event {
		case wire.EventPrepareOK:
			ok, err := wire.ParsePrepareOK(payload)
			d.Params, statement = int(ok.Params), ok.Statement
			return err
		case wire.EventColumn:
			column, err := copyColumn(payload, c.Caps)
			d.Columns = append(d.Columns, column)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Has no reply.
	c.buf = append(c.buf[:0], byte(wire.ComStmtClose), 0, 0, 0, 0)
	wire.SetStatement(c.buf, statement)
	return c.Wire.Send(c.buf)
}
