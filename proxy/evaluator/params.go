package evaluator

import (
	"context"

	"latchkey/proxy/wire"
)

// ExecParams runs one statement with parameters, by the protocol of prepared statements, and returns its OK packet, without
// Info and Track. Of each parameter the type, Null and Encoded count. An error of the server is an *Error.
func (c *Conn) ExecParams(ctx context.Context, sql string, params []wire.Param) (wire.OK, error) {
	c.count()
	var ok wire.OK
	err := c.with(ctx, func() error {
		c.buf = append(append(c.buf[:0], byte(wire.ComStmtPrepare)), sql...)
		if err := c.Wire.Send(c.buf); err != nil {
			return err
		}
		if err := c.drain(wire.ReplyPrepare); err != nil {
			return err
		}
		id := c.reply.Prepared.Statement
		execute := wire.Execute{Statement: id, Iterations: 1, Params: params}
		c.buf = execute.Append(c.buf[:0])
		err := c.Wire.Send(c.buf)
		if err == nil {
			ok, err = c.read(wire.ReplyExecute, nil)
		}
		clear(c.buf)
		return err
	})
	return ok, err
}
