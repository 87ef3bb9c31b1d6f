package endtoend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/proxy/wire"
)

// wireCaps is what a wireClient asks for at least.
const wireCaps = wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth | wire.CapLenencAuth | wire.CapTransactions |
	wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapConnectWithDB | wire.CapLongFlag

// wireTimeout ends a test whose reply never comes.
const wireTimeout = 2 * time.Minute

// wireClient speaks the protocol itself, so that tests see every byte and decide when to read.
type wireClient struct {
	*wire.Conn
	socket net.Conn
	caps   wire.Capabilities
	id     uint32
	// cells tells whether the beginning of a cell was received.
	cells atomic.Bool
}

// dialWire logs root in. Before the handshake it sends hello, which may be empty.
func dialWire(addr, db string, caps wire.Capabilities, hello string) (*wireClient, error) {
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	socket.SetDeadline(time.Now().Add(wireTimeout))
	c := &wireClient{socket: socket}
	c.Conn = wire.NewConn(&cellFinder{Conn: socket, seen: &c.cells}, wire.ClientSide)
	if _, err := socket.Write([]byte(hello)); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	if err := c.login(db, caps); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return c, nil
}

func newWireClient(t *testing.T, addr, db string, caps wire.Capabilities) *wireClient {
	t.Helper()
	c, err := dialWire(addr, db, caps, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.socket.Close() })
	return c
}

func (c *wireClient) login(db string, caps wire.Capabilities) error {
	p, err := c.Read(1 << 16)
	if err != nil {
		return err
	}
	if e, err := wire.ParseERR(p.Payload); err == nil {
		return fmt.Errorf("error %d %s", e.Code, e.Message)
	}
	greeting, err := wire.ParseGreeting(p.Payload)
	if err != nil {
		return err
	}
	c.caps, c.id = caps&greeting.Caps, greeting.ThreadID
	login := wire.Login{Caps: c.caps, MaxPacket: 1 << 30, Charset: 45, User: []byte("root"), Database: []byte(db), Plugin: []byte("mysql_native_password")}
	c.Seq = 1
	if err := errors.Join(c.Packet(login.Append(nil)), c.Flush()); err != nil {
		return err
	}
	if p, err = c.Read(1 << 16); err != nil {
		return err
	}
	if e, err := wire.ParseERR(p.Payload); err == nil {
		return fmt.Errorf("error %d %s", e.Code, e.Message)
	}
	return nil
}

// result is one reply, packet by packet.
type result struct {
	err      wire.ERR
	columns  [][]byte
	rows     [][]byte
	prepared wire.PrepareOK
	affected uint64
}

// receive reads one reply.
func (c *wireClient) receive(kind wire.ReplyKind) (result, error) {
	var r result
	var state wire.ReplyState
	for state.Start(kind, c.caps); !state.Done(); {
		p, err := c.Read(1 << 26)
		if err != nil {
			return r, err
		}
		event, err := state.Next(len(p.Payload), p.Payload)
		if err != nil {
			return r, err
		}
		switch event {
		case wire.EventERR:
			if r.err, err = wire.ParseERR(p.Payload); err != nil {
				return r, err
			}
		case wire.EventColumn:
			r.columns = append(r.columns, bytes.Clone(p.Payload))
		case wire.EventRow:
			r.rows = append(r.rows, bytes.Clone(p.Payload))
		case wire.EventOK:
			r.affected, _ = wire.Lenenc(p.Payload[1:])
		}
	}
	r.prepared = state.Prepared
	return r, nil
}

// request appends a request with its header.
func request(dst []byte, command wire.Command, text string) []byte {
	n := len(text) + 1
	return append(append(dst, byte(n), byte(n>>8), byte(n>>16), 0, byte(command)), text...)
}

func (c *wireClient) exchange(t *testing.T, kind wire.ReplyKind, payload []byte) result {
	t.Helper()
	if err := c.Send(payload); err != nil {
		t.Fatal(err)
	}
	r, err := c.receive(kind)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *wireClient) query(t *testing.T, text string) result {
	t.Helper()
	return c.exchange(t, wire.ReplyQuery, append([]byte{byte(wire.ComQuery)}, text...))
}

// must runs a statement that has to succeed.
func (c *wireClient) must(t *testing.T, text string) result {
	t.Helper()
	r := c.query(t, text)
	if r.err.Code != 0 {
		t.Fatalf("%.100s: error %d %s", text, r.err.Code, r.err.Message)
	}
	return r
}

func (c *wireClient) prepare(t *testing.T, text string) result {
	t.Helper()
	return c.exchange(t, wire.ReplyPrepare, append([]byte{byte(wire.ComStmtPrepare)}, text...))
}

// param is one parameter of an execution, encoded; nil is NULL.
type param struct {
	kind  wire.ColumnType
	value []byte
}

func textParam(s string) param { return param{wire.TypeVarString, wire.AppendLenencString(nil, s)} }

func intParam(v int64) param {
	return param{wire.TypeLongLong, binary.LittleEndian.AppendUint64(nil, uint64(v))}
}

func nullParam() param { return param{wire.TypeNull, nil} }

// executeRequest is the payload of COM_STMT_EXECUTE.
func executeRequest(statement uint32, params ...param) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, statement)
	p = append(p, 0, 1, 0, 0, 0)
	if len(params) == 0 {
		return p
	}
	nulls := make([]byte, (len(params)+7)/8)
	for i, v := range params {
		if v.value == nil {
			nulls[i/8] |= 1 << (i % 8)
		}
	}
	p = append(append(p, nulls...), 1)
	for _, v := range params {
		p = append(p, byte(v.kind), 0)
	}
	for _, v := range params {
		p = append(p, v.value...)
	}
	return p
}

func (c *wireClient) execute(t *testing.T, statement uint32, params ...param) result {
	t.Helper()
	return c.exchange(t, wire.ReplyExecute, executeRequest(statement, params...))
}
