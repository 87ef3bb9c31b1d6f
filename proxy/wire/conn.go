package wire

import "io"

// Conn is one of the two connections of a session: a Reader and a Writer over the same stream.
// It does not own the stream: whoever opened it sets deadlines on it and closes it.
type Conn struct {
	Reader
	Writer
}

// NewConn returns a Conn over rw.
func NewConn(rw io.ReadWriter, side Side) *Conn {
	c := new(Conn)
	c.Reader.src, c.Reader.side = rw, side
	c.Writer.dst, c.Writer.side = rw, side
	return c
}

// Upgrade continues on another stream, after TLS was started. Nothing may be waiting in either
// direction: bytes read too early belong to the TLS layer, see TakeBuffered.
func (c *Conn) Upgrade(rw io.ReadWriter) {
	c.Reader.src, c.Writer.dst = rw, rw
}

// TakeBuffered returns a copy of what was read and not used, and forgets it.
func (c *Conn) TakeBuffered() []byte {
	r := &c.Reader
	if r.end == r.pos {
		return nil
	}
	b := append([]byte(nil), r.buf.b[r.pos:r.end]...)
	r.mark, r.pos, r.end = 0, 0, 0
	return b
}

// ReadCommand reads one whole request and sets the sequence id of the reply. A request that does not
// start with sequence id 0 is ErrSequence.
func (c *Conn) ReadCommand(limit int) (Packet, error) { return c.ReadExpected(0, limit) }

// ReadExpected reads one whole packet that has to start with this sequence id, and sets the one of the
// answer. Anything else is ErrSequence as soon as the header is there.
func (c *Conn) ReadExpected(seq uint8, limit int) (Packet, error) {
	h, err := c.Reader.header()
	if err != nil {
		return Packet{}, err
	}
	c.Writer.Seq = h.seq + 1
	if h.seq != seq {
		return Packet{}, c.Reader.fail(ErrSequence)
	}
	p, err := c.Reader.Read(limit)
	if err != nil {
		return Packet{}, err
	}
	c.Writer.Seq = p.Seq + 1
	return p, nil
}

// Command is the request's first byte. An empty request is ComSleep, as it is for MariaDB.
func (p Packet) Command() Command {
	if len(p.Payload) == 0 {
		return ComSleep
	}
	return Command(p.Payload[0])
}

// Send writes one request, starting at sequence id 0, with one write for anything below 64 KB.
func (c *Conn) Send(payload []byte) error {
	c.Writer.Seq = 0
	if err := c.Writer.Packet(payload); err != nil {
		return err
	}
	return c.Writer.Flush()
}

// Rest gives back buffers that an idle connection does not need.
func (c *Conn) Rest() { c.Reader.rest(false) }

// Release gives back all buffers. The Conn and every packet read from it are unusable afterwards.
func (c *Conn) Release() {
	if c.Reader.buf != nil {
		if c.Reader.side == ClientSide {
			// A client that went away in the middle of a request may have sent half a key.
			clear(c.Reader.buf.b)
		}
		c.Reader.buf.release()
		c.Reader.buf = nil
	}
	c.Reader.mark, c.Reader.pos, c.Reader.end, c.Reader.skip = 0, 0, 0, 0
	c.Writer.drop()
}
