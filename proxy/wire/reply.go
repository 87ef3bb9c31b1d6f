package wire

import "io"

// Reply walks the reply to one request, packet by packet, and relays it. Every packet passes
// unchanged unless the caller says otherwise before the next call of Next:
//
//	r.Start(backend, client, wire.ReplyQuery, caps)
//	for {
//		event, err := r.Next()
//		if err != nil {
//			return err
//		}
//		switch event {
//		case wire.EventDone:
//			return r.Close()
//		case wire.EventRow:
//			row, err := r.Payload()
//			...
//			r.Replace(changed)
//		}
//	}
//
// Sequence ids are renumbered when packets of the reply were replaced by more or fewer of them, or
// when the request took another number of packets on the backend connection than on the client's.
//
// A Reply without a client connection reads and discards: for requests of the proxy's own.
// A Reply may be used again after its end. It allocates nothing.
type Reply struct {
	ReplyState

	// More makes every OK and EOF packet say that more results follow: for all but the last statement
	// of a request that goes to the backend as several. Start clears it.
	More bool

	from, to *Conn
	limit    int
	// next is the sequence id behind the last packet taken from the backend; with delta added it is
	// the one the client expects.
	next, delta uint8
	current     current
	mute        bool // the client has got its ERR packet: the rest is discarded
}

// current is the packet that Next returned.
type current struct {
	event   Event
	seq     uint8
	size    int    // header and payload of the first fragment, or of all of them once joined
	packets uint8  // how many packets size stands for
	pending bool   // not passed, replaced or dropped yet
	payload []byte // the whole payload, once it has been read
}

// DefaultRowLimit is the largest packet in bytes that Payload joins, unless SetLimit set another:
// MariaDB's largest max_allowed_packet.
const DefaultRowLimit = 1 << 30

// Start begins the reply to a request that was just written to from. The sequence id of its first
// packet for the client is to.Writer.Seq, which ReadCommand has set and End keeps right. to is nil
// for a reply that is only read.
func (r *Reply) Start(from, to *Conn, kind ReplyKind, caps Capabilities) {
	*r = Reply{from: from, to: to, limit: r.limit, next: from.Writer.Seq}
	if r.limit == 0 {
		r.limit = DefaultRowLimit
	}
	r.ReplyState.Start(kind, caps)
	if to != nil {
		r.delta = to.Writer.Seq - from.Writer.Seq
		from.Reader.sink = &to.Writer
	}
}

// SetLimit sets the largest packet in bytes that Payload joins; it stays over Start.
func (r *Reply) SetLimit(bytes int) { r.limit = bytes }

// Next passes the current packet, if nothing else was done with it, and moves to the next one.
// It returns EventDone when there is none. Errors are *IOError: a packet that makes no sense at its
// place counts as a failed read.
func (r *Reply) Next() (Event, error) {
	if err := r.settle(); err != nil {
		return 0, err
	}
	if r.Done() {
		return EventDone, nil
	}
	in := &r.from.Reader
	h, err := in.header()
	if err != nil {
		return 0, err
	}
	if h.length > 0 {
		if err := in.need(HeaderSize + 1); err != nil {
			return 0, err
		}
	}
	r.current = current{seq: h.seq, size: HeaderSize + h.length, packets: 1, pending: true}
	p := in.buf.b[in.pos+HeaderSize : in.pos+HeaderSize+min(1, h.length)]
	if len(p) == 0 || r.Whole(h.length, p[0]) {
		if p, err = r.Payload(); err != nil {
			return 0, err
		}
	}
	event, err := r.ReplyState.Next(h.length, p)
	if err != nil {
		return 0, in.fail(err)
	}
	r.current.event = event
	if r.More && (event == EventOK || event == EventResultEnd || event == EventColumnsEnd) {
		if err := PatchStatus(p, r.caps, StatusMoreResults, 0); err != nil {
			return 0, in.fail(err)
		}
	}
	return event, nil
}

// Payload returns the whole payload of the current packet. It belongs to the Reply until the next
// call of Next, and may be changed in place as long as its length stays.
func (r *Reply) Payload() ([]byte, error) {
	c := &r.current
	if c.payload != nil {
		return c.payload, nil
	}
	in := &r.from.Reader
	n := c.size - HeaderSize
	if n < MaxPayload {
		if n > r.limit {
			return nil, in.fail(ErrTooLarge)
		}
		if err := in.need(c.size); err != nil {
			return nil, err
		}
	} else {
		var err error
		if n, _, err = in.join(r.limit); err != nil {
			return nil, err
		}
		c.packets = uint8(Fragments(n))
		c.size = HeaderSize + n
	}
	c.payload = in.buf.b[in.pos+HeaderSize : in.pos+c.size : in.pos+c.size]
	return c.payload, nil
}

// settle passes the current packet if it is still pending.
func (r *Reply) settle() error {
	c := &r.current
	if !c.pending {
		return nil
	}
	in := &r.from.Reader
	if c.packets > 1 {
		// Its later headers are gone, see Reader.join.
		return r.Replace(c.payload)
	}
	c.pending = false
	for {
		in.buf.b[in.pos+3] = c.seq + r.delta
		in.pass(c.size)
		r.next = c.seq + 1
		if c.size < HeaderSize+MaxPayload {
			return nil
		}
		h, err := in.header()
		if err != nil {
			return err
		}
		c.seq, c.size = h.seq, HeaderSize+h.length
	}
}

// take removes the current packet from the input without passing it on, and brings everything that
// was passed before it into the client's Writer.
func (r *Reply) take() error {
	c := &r.current
	in := &r.from.Reader
	if err := in.spill(); err != nil || !c.pending {
		return err
	}
	c.pending = false
	r.next = c.seq + c.packets
	if in.end-in.pos >= c.size && (c.packets > 1 || c.size < HeaderSize+MaxPayload) {
		in.pos += c.size
		in.mark = in.pos
		r.delta -= c.packets
		return nil
	}
	// A row that nobody looked at and that has not arrived yet.
	sink := in.sink
	in.sink = nil
	defer func() { in.sink = sink }()
	for {
		in.pass(c.size)
		r.next = c.seq + 1
		r.delta--
		if c.size < HeaderSize+MaxPayload {
			break
		}
		h, err := in.header()
		if err != nil {
			return err
		}
		c.seq, c.size = h.seq, HeaderSize+h.length
	}
	err := in.need(0)
	in.mark = in.pos
	return err
}

// Drop leaves the current packet out.
func (r *Reply) Drop() error { return r.take() }

// Replace puts a packet with this payload where the current one is. Further calls before Next put
// more packets behind it. The payload is copied, and may be the one of the current packet.
func (r *Reply) Replace(payload []byte) error {
	if err := r.take(); err != nil || r.to == nil || r.mute {
		return err
	}
	r.to.Writer.Seq = r.next + r.delta
	err := r.to.Writer.Packet(payload)
	r.delta = r.to.Writer.Seq - r.next
	return err
}

// Edit is Replace without the copy: append the new payload, of about size bytes, to the returned
// slice and give the result to Commit before anything else is done with the Reply. The payload of
// the current packet must have been read and stays readable in between.
func (r *Reply) Edit(size int) ([]byte, error) {
	if err := r.take(); err != nil {
		return nil, err
	}
	if r.to == nil || r.mute {
		return make([]byte, 0, size), nil
	}
	r.to.Writer.Seq = r.next + r.delta
	return r.to.Writer.Start(size), nil
}

// Commit ends what Edit began.
func (r *Reply) Commit(dst []byte) error {
	if r.to == nil || r.mute {
		return nil
	}
	err := r.to.Writer.Finish(dst)
	r.delta = r.to.Writer.Seq - r.next
	return err
}

// Abort ends the reply for the client with an ERR packet in place of the current packet, and writes
// it out. What the backend still sends is read and discarded.
func (r *Reply) Abort(e ERR) error {
	if r.mute || r.to == nil {
		return nil
	}
	if err := r.Replace(e.Append(nil)); err != nil {
		return err
	}
	r.mute = true
	r.from.Reader.sink = nil
	r.to.Writer.Seq = r.next + r.delta
	return r.to.Writer.Flush()
}

// Break ends the reply for the client with an ERR packet when from has failed: nothing more is read from it, and Close must not
// be called. It fails where a part of a packet has gone to the client already.
func (r *Reply) Break(e ERR) error {
	in := &r.from.Reader
	if r.mute || r.to == nil {
		return nil
	}
	if in.skip > 0 {
		return in.fail(io.ErrUnexpectedEOF)
	}
	if err := in.spill(); err != nil {
		return err
	}
	in.sink = nil
	r.mute = true
	r.to.Writer.Seq = r.next + r.delta
	if err := r.to.Writer.Packet(e.Append(nil)); err != nil {
		return err
	}
	return r.to.Writer.Flush()
}

// Aborted says whether Abort ended the reply.
func (r *Reply) Aborted() bool { return r.mute }

// PassRows passes the current packet and all rows from here on, and returns the first event that is
// no row. It is the fast way through a resultset that nobody needs to look at.
func (r *Reply) PassRows() (Event, error) {
	for {
		if err := r.settle(); err != nil {
			return 0, err
		}
		r.passBuffered()
		if event, err := r.Next(); event != EventRow || err != nil {
			return event, err
		}
	}
}

// passBuffered passes the rows that lie complete in the buffer.
func (r *Reply) passBuffered() {
	in := &r.from.Reader
	if r.phase != phaseRows || in.skip > 0 || in.buf == nil {
		return
	}
	b := in.buf.b[:in.end]
	pos, last := in.pos, -1
	for pos+HeaderSize < len(b) {
		length := headerLength(b[pos:])
		next := pos + HeaderSize + length
		if length == 0 || length == MaxPayload || next > len(b) {
			break
		}
		first := b[pos+HeaderSize]
		if first == headerErr || first == headerEOF || (first != headerOK && r.kind != ReplyQuery) {
			break
		}
		last = pos
		b[pos+3] += r.delta
		pos = next
		r.seen++
	}
	if last < 0 {
		return
	}
	r.Index = r.seen - 1
	r.next = b[last+3] - r.delta + 1
	in.pos = pos
}

// RelayInfile lets the client answer EventInfile: it passes the request, then the file in the other
// direction up to the empty packet that ends it. The reply goes on with the next event.
func (r *Reply) RelayInfile() error {
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.from.Reader.flush(); err != nil {
		return err
	}
	in := &r.to.Reader
	in.sink = &r.from.Writer
	defer func() { in.sink = nil }()
	for continued := false; ; {
		h, err := in.header()
		if err != nil {
			return err
		}
		in.buf.b[in.pos+3] = h.seq - r.delta
		in.pass(HeaderSize + h.length)
		r.next = h.seq - r.delta + 1
		if h.length == 0 && !continued {
			return in.flush()
		}
		continued = h.length == MaxPayload
	}
}

// RefuseInfile answers EventInfile in the client's place with an empty file, and gives the client an
// ERR packet as with Abort.
func (r *Reply) RefuseInfile(e ERR) error {
	if err := r.Abort(e); err != nil {
		return err
	}
	if err := r.take(); err != nil {
		return err
	}
	w := &r.from.Writer
	w.Seq = r.next
	if err := w.Packet(nil); err != nil {
		return err
	}
	return w.Flush()
}

// End passes what is left of the reply, writes everything out, and leaves to.Writer.Seq at the
// sequence id that follows. A file that is asked for is refused with the ERR packet infile.
func (r *Reply) End(infile ERR) error {
	for {
		event, err := r.PassRows()
		if err == nil && event == EventInfile {
			err = r.RefuseInfile(infile)
		}
		if err != nil {
			r.from.Reader.sink = nil
			return err
		}
		if event == EventDone {
			return r.Close()
		}
	}
}

// Close ends the relay of a reply that is Done: it passes the last packet, if it is pending, and
// writes everything out. It must be called once for each Start.
func (r *Reply) Close() error {
	err := r.settle()
	in := &r.from.Reader
	if r.to == nil {
		// What was read here is nobody's: the next reply on this connection must not pass it.
		in.mark = in.pos
		return err
	}
	if err == nil {
		in.sink = &r.to.Writer
		if r.mute {
			in.mark = in.pos
		} else {
			r.to.Writer.Seq = r.next + r.delta
		}
		err = in.flush()
	}
	in.sink = nil
	return err
}
