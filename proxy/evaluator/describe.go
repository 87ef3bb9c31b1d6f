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

// Prepare prepares a statement, which lives as long as the session, and returns its id and how many parameters it has. An error
// of the server is an *Error.
func (c *Conn) Prepare(ctx context.Context, sql []byte) (statement uint32, params int, err error) {
	c.count()
	var d Description
	err = c.with(ctx, func() error {
		var err error
		statement, err = c.prepare(sql, &d)
		return err
	})
	return statement, d.Params, err
}

// Answer runs a statement with NULL for every parameter and returns the column definitions of its resultset; rows are thrown
// away. An error of the server is an *Error.
func (c *Conn) Answer(ctx context.Context, sql []byte) (columns []wire.Column, err error) {
	statement, params, err := c.Prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	e := wire.Execute{Statement: statement, Iterations: 1, Params: make([]wire.Param, params)}
	for i := range e.Params {
		e.Params[i] = wire.Param{ParamType: wire.ParamType{Type: wire.TypeNull}, Null: true}
	}
	c.count()
	err = c.with(ctx, func() error {
		if err := c.Wire.Send(e.Append(nil)); err != nil {
			return err
		}
		return c.events(wire.ReplyExecute, func(event wire.Event, payload []byte) error {
			if event != wire.EventColumn {
				return nil
			}
			column, err := copyColumn(payload, c.Caps)
			columns = append(columns, column)
			return err
		})
	})
	return columns, err
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
	statement, err := c.prepare(sql, d)
	if err != nil {
		return err
	}
	// Has no reply.
	c.buf = append(c.buf[:0], byte(wire.ComStmtClose), 0, 0, 0, 0)
	wire.SetStatement(c.buf, statement)
	return c.Wire.Send(c.buf)
}

func (c *Conn) prepare(sql []byte, d *Description) (statement uint32, err error) {
	c.buf = append(append(c.buf[:0], byte(wire.ComStmtPrepare)), sql...)
	if err := c.Wire.Send(c.buf); err != nil {
		return 0, err
	}
	err = c.events(wire.ReplyPrepare, func(event wire.Event, payload []byte) error {
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
	return statement, err
}
