package wire

import (
	"errors"
	"io"
)

// Reader splits one direction of a connection into packets. It holds one pooled buffer and has two
// ways to be used: Read returns whole packets, for requests and handshakes; a Reply (and PassInfile)
// walks packets in place and hands the passed ones on as spans.
//
// A Reader is used by one goroutine. A read that fails with a timeout has lost nothing and may be
// repeated.
type Reader struct {
	// Received counts the bytes read from the connection.
	Received uint64

	src  io.Reader
	side Side
	buf  *buffer

	// mark..pos has been passed and not yet been given to sink; pos..end has been read and not yet
	// been looked at. Without a sink mark follows pos.
	mark, pos, end int
	// skip is how many bytes of a passed packet have not arrived yet. While it is not 0, pos == end.
	skip int
	// sink receives passed spans; nil when packets are only read.
	sink *Writer
}

// header is a packet header that has been read and not yet been passed.
type header struct {
	length int
	seq    uint8
}

// Buffered says how many bytes have been read from the connection and not yet been used.
func (r *Reader) Buffered() int { return r.end - r.pos }

// HasPacket says whether the next call of Read can return a packet without reading from the
// connection. It is false for packets of 16 MB and more.
func (r *Reader) HasPacket() bool {
	if r.Buffered() < HeaderSize {
		return false
	}
	n := headerLength(r.buf.b[r.pos:])
	return n < MaxPayload && r.Buffered() >= HeaderSize+n
}

// Read returns the next logical packet with its fragments joined. It grows the buffer only as bytes
// arrive, so a header that announces much costs nothing. Errors are *IOError; a payload larger than
// limit is ErrTooLarge, fragments whose sequence ids do not follow each other ErrSequence, and the
// stream is then lost.
func (r *Reader) Read(limit int) (Packet, error) {
	h, err := r.header()
	if err != nil {
		return Packet{}, err
	}
	if h.length < MaxPayload {
		if h.length > limit {
			return Packet{}, r.fail(ErrTooLarge)
		}
		if err := r.need(HeaderSize + h.length); err != nil {
			return Packet{}, err
		}
		raw := r.buf.b[r.pos : r.pos+HeaderSize+h.length : r.pos+HeaderSize+h.length]
		r.pass(len(raw))
		r.mark = r.pos
		return Packet{Payload: raw[HeaderSize:], Seq: h.seq, raw: raw}, nil
	}
	total, seq, err := r.join(limit)
	if err != nil {
		return Packet{}, err
	}
	payload := r.buf.b[r.pos+HeaderSize : r.pos+HeaderSize+total : r.pos+HeaderSize+total]
	r.pos += HeaderSize + total
	r.mark = r.pos
	return Packet{Payload: payload, Seq: seq}, nil
}

// join brings all fragments of the packet at pos into the buffer and closes the gaps of their
// headers, so that the payload lies in one piece behind the first header. It returns its length and
// the last sequence id, and does not move pos.
func (r *Reader) join(limit int) (total int, seq uint8, err error) {
	h, err := r.header()
	if err != nil {
		return 0, 0, err
	}
	seq = h.seq
	size := HeaderSize // what is in place, seen from pos
	for {
		if total+h.length > limit {
			return 0, 0, r.fail(ErrTooLarge)
		}
		if err := r.need(size + h.length); err != nil {
			return 0, 0, err
		}
		size += h.length
		total += h.length
		if h.length < MaxPayload {
			return total, seq, nil
		}
		if err := r.need(size + HeaderSize); err != nil {
			return 0, 0, err
		}
		next := r.buf.b[r.pos+size:]
		h = header{headerLength(next), next[3]}
		seq++
		if h.seq != seq {
			return 0, 0, r.fail(ErrSequence)
		}
		r.end = r.pos + size + copy(r.buf.b[r.pos+size:r.end], r.buf.b[r.pos+size+HeaderSize:r.end])
	}
}

// header makes sure that the header of the next packet is in the buffer and returns it.
func (r *Reader) header() (header, error) {
	if r.end-r.pos < HeaderSize || r.skip > 0 {
		if err := r.need(HeaderSize); err != nil {
			return header{}, err
		}
	}
	b := r.buf.b[r.pos : r.pos+HeaderSize : r.pos+HeaderSize]
	return header{headerLength(b), b[3]}, nil
}

// need makes sure that n bytes from pos on are in the buffer.
func (r *Reader) need(n int) error {
	for r.skip > 0 || r.end-r.pos < n {
		if err := r.fill(n); err != nil {
			return err
		}
	}
	return nil
}

// pass moves over n bytes that start at pos. What has not arrived of them passes as it arrives.
func (r *Reader) pass(n int) {
	if have := r.end - r.pos; n > have {
		r.skip = n - have
		n = have
	}
	r.pos += n
}

// fill reads once. Before it may block, everything that was passed goes out: this is the one write
// per chunk that the relay is built for.
func (r *Reader) fill(n int) error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.buf == nil {
		r.buf = newBuffer(BufferSize)
	}
	if r.pos == r.end {
		r.mark, r.pos, r.end = 0, 0, 0
	}
	if r.skip == 0 && r.pos+n > len(r.buf.b) {
		r.makeRoom(n)
	}
	got, err := r.src.Read(r.buf.b[r.end:])
	r.end += got
	r.Received += uint64(got)
	if k := min(r.skip, got); k > 0 {
		r.skip -= k
		r.pos += k
		if r.sink == nil {
			r.mark = r.pos
		}
	}
	if got > 0 {
		// An error that came with bytes comes again with the next read.
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) && (r.end > r.pos || r.skip > 0) {
		err = io.ErrUnexpectedEOF
	}
	return r.fail(err)
}

// fail says on which side reading failed.
func (r *Reader) fail(err error) error { return &IOError{r.side, "read", err} }

// makeRoom makes the buffer able to take more of a piece of n bytes that starts at pos: by moving
// what is there to the front, or into a buffer of at most twice the size. Where a client's request
// was, nothing of it stays: it may hold a key, and whoever is done with it knows of one place only.
func (r *Reader) makeRoom(n int) {
	have := r.buf.b[r.pos:r.end]
	if n <= len(r.buf.b) {
		copy(r.buf.b, have)
		if r.side == ClientSide {
			clear(r.buf.b[max(r.pos, len(have)):r.end])
		}
	} else if r.end < len(r.buf.b) && r.pos == 0 {
		return
	} else {
		bigger := newBuffer(min(n, max(2*len(r.buf.b), 2*len(have))))
		copy(bigger.b, have)
		if r.side == ClientSide {
			clear(have)
		}
		r.buf.release()
		r.buf = bigger
	}
	r.mark, r.pos, r.end = 0, 0, len(have)
}

// spill gives the passed span to the sink's buffer without writing it out, so that something else
// can be appended behind it.
func (r *Reader) spill() error {
	if r.sink == nil || r.mark == r.pos {
		r.mark = r.pos
		return nil
	}
	span := r.buf.b[r.mark:r.pos]
	r.mark = r.pos
	return r.sink.append(span)
}

// flush writes everything passed so far: the span alone if the sink's own buffer is empty.
func (r *Reader) flush() error {
	if r.sink == nil {
		r.mark = r.pos
		return nil
	}
	span := r.buf.span(r.mark, r.pos)
	r.mark = r.pos
	return r.sink.flushWith(span)
}

func (b *buffer) span(from, to int) []byte {
	if b == nil {
		return nil
	}
	return b.b[from:to]
}

// rest gives back the buffer when nothing is in it and it has grown, or when all is true. It is
// called while a session waits, so that an idle session holds little memory.
func (r *Reader) rest(all bool) {
	if r.buf == nil || r.end != r.pos || r.skip > 0 || !(all || len(r.buf.b) > BufferSize) {
		return
	}
	r.buf.release()
	r.buf = nil
	r.mark, r.pos, r.end = 0, 0, 0
}
