//go:build !race

package endtoend

import (
	"fmt"
	"net"
	"time"

	"latchkey/proxy/wire"
)

// benchCaps is what a plain modern client asks for.
const benchCaps = wire.CapMySQL | wire.CapLongFlag | wire.CapConnectWithDB | wire.CapProtocol41 | wire.CapTransactions |
	wire.CapSecureConnection | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapPluginAuth

// maxBenchPacket bounds what the client reads whole.
const maxBenchPacket = 1 << 20

// benchClient is a client that does as little as a client can: it writes a request with one write and walks the reply
// without looking into rows. A driver would take more of the shared cores and hide what lies between it and the server.
type benchClient struct {
	socket net.Conn
	conn   *wire.Conn
	reply  wire.Reply
	caps   wire.Capabilities
}

// dialBench logs root in on db.
func dialBench(addr, db string, extra wire.Capabilities) (*benchClient, error) {
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &benchClient{socket: socket, conn: wire.NewConn(socket, wire.BackendSide)}
	if err := c.login(db, benchCaps|extra); err != nil {
		socket.Close()
		return nil, fmt.Errorf("log in at %s: %w", addr, err)
	}
	return c, nil
}

func (c *benchClient) login(db string, caps wire.Capabilities) error {
	p, err := c.conn.Read(maxBenchPacket)
	if err != nil {
		return err
	}
	greeting, err := wire.ParseGreeting(p.Payload)
	if err != nil {
		return err
	}
	c.caps = caps & (greeting.Caps | wire.CapMySQL)
	login := wire.Login{Caps: c.caps, MaxPacket: 1 << 30, Charset: 45, User: []byte("root"), Database: []byte(db), Plugin: []byte("mysql_native_password")}
	c.conn.Seq = p.Seq + 1
	if err := c.conn.Packet(login.Append(nil)); err != nil {
		return err
	}
	if err := c.conn.Flush(); err != nil {
		return err
	}
	if p, err = c.conn.Read(maxBenchPacket); err != nil {
		return err
	}
	return refusal(p.Payload)
}

// refusal is the error that an ERR packet holds, nil for any other packet.
func refusal(p []byte) error {
	if e, err := wire.ParseERR(p); err == nil {
		return fmt.Errorf("error %d: %s", e.Code, e.Message)
	}
	return nil
}

// close says goodbye.
func (c *benchClient) close() {
	c.conn.Send([]byte{byte(wire.ComQuit)})
	c.socket.Close()
}

// do sends a request and passes over its reply. The error says only that there was one: looking for its text in every
// reply would be work.
func (c *benchClient) do(request []byte, kind wire.ReplyKind) error {
	if err := c.conn.Send(request); err != nil {
		return err
	}
	c.reply.Start(c.conn, nil, kind, c.caps)
	for {
		event, err := c.reply.PassRows()
		if err != nil {
			return err
		}
		if event == wire.EventDone {
			break
		}
	}
	if c.reply.Failed {
		return errBenchReply
	}
	return c.reply.Close()
}

var errBenchReply = fmt.Errorf("the reply was an error")

// rows sends a request and returns the rows of its reply and how long the first took to come. Rows are copied only when
// keep is set.
func (c *benchClient) rows(request []byte, kind wire.ReplyKind, keep bool) (rows [][]byte, n int, first time.Duration, err error) {
	start := time.Now()
	if err := c.conn.Send(request); err != nil {
		return nil, 0, 0, err
	}
	c.reply.Start(c.conn, nil, kind, c.caps)
	for {
		event, err := c.reply.Next()
		if err != nil {
			return nil, n, first, err
		}
		switch event {
		case wire.EventDone:
			return rows, n, first, c.reply.Close()
		case wire.EventERR:
			p, err := c.reply.Payload()
			if err == nil {
				err = refusal(p)
			}
			return nil, n, first, err
		case wire.EventRow:
			if n++; n == 1 {
				first = time.Since(start)
			}
			if !keep {
				continue
			}
			p, err := c.reply.Payload()
			if err != nil {
				return nil, n, first, err
			}
			rows = append(rows, append([]byte(nil), p...))
		}
	}
}

// query runs one statement whose rows do not matter.
func (c *benchClient) query(sql string) error {
	_, _, _, err := c.rows(benchQuery(sql), wire.ReplyQuery, false)
	return err
}

// prepare prepares a statement and returns its id.
func (c *benchClient) prepare(sql string) (uint32, error) {
	if err := c.conn.Send(append([]byte{byte(wire.ComStmtPrepare)}, sql...)); err != nil {
		return 0, err
	}
	c.reply.Start(c.conn, nil, wire.ReplyPrepare, c.caps)
	for {
		event, err := c.reply.Next()
		switch {
		case err != nil:
			return 0, err
		case event == wire.EventDone:
			return c.reply.Prepared.Statement, c.reply.Close()
		case event == wire.EventERR:
			p, err := c.reply.Payload()
			if err == nil {
				err = refusal(p)
			}
			return 0, err
		}
	}
}

func benchQuery(sql string) []byte { return append([]byte{byte(wire.ComQuery)}, sql...) }
