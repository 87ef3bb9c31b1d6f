package wire

import (
	"io"
	"net"
)

// directWrite is the size from which a payload is written from where it lies instead of being copied
// behind what is waiting: below it, copying is cheaper than another buffer in the system call.
const directWrite = 64 << 10

// Writer collects packets for one direction of a connection in one pooled buffer. Nothing is sent
// before Flush, except when the buffer has become large. The first error stays and is returned by
// every later call.
//
// A Writer is used by one goroutine.
type Writer struct {
	// Seq is the sequence id of the next packet.
	Seq uint8
	// Sent counts the bytes given to the connection.
	Sent uint64

	dst  io.Writer
	side Side
	buf  *buffer
	out  []byte // the part of buf in use
	err  error
	// secret says that what is waiting has to be overwritten once it is sent.
	secret bool
}

// Secret has everything overwritten in memory that is appended from now to the next Flush, once that has sent it.
func (w *Writer) Secret() { w.secret = true }

// Packet appends one logical packet, cut into fragments where it has to be.
func (w *Writer) Packet(payload []byte) error {
	for {
		n := min(len(payload), MaxPayload)
		if err := w.fragment(payload[:n]); err != nil {
			return err
		}
		if n < MaxPayload {
			return nil
		}
		payload = payload[n:]
	}
}

func (w *Writer) fragment(payload []byte) error {
	w.room(HeaderSize)
	w.out = append(w.out, byte(len(payload)), byte(len(payload)>>8), byte(len(payload)>>16), w.Seq)
	w.Seq++
	return w.append(payload)
}

// Start begins a packet whose payload is built in place: append the payload, of about size bytes, to
// the returned slice and give the result to Finish before anything else is done with the Writer.
func (w *Writer) Start(size int) []byte {
	w.room(HeaderSize + size)
	return append(w.out, 0, 0, 0, 0)
}

// Finish ends the packet that Start began.
func (w *Writer) Finish(dst []byte) error {
	if w.err != nil {
		return w.err
	}
	start := len(w.out) + HeaderSize
	n := len(dst) - start
	if n < 0 {
		panic("internal error: wire: Finish without Start")
	}
	if n >= MaxPayload {
		// Rare enough that a copy does not matter.
		return w.Packet(append([]byte(nil), dst[start:]...))
	}
	putHeader(dst[len(w.out):], n, w.Seq)
	w.Seq++
	if len(dst) > len(w.buf.b) {
		// append moved it out of the pooled buffer.
		if w.secret {
			clear(w.out)
		}
		w.buf.release()
		w.buf = &buffer{dst[:cap(dst)]}
	}
	w.out = dst
	if len(w.out) >= directWrite {
		return w.Flush()
	}
	return nil
}

// Forward sends a request as it was received, with one write and behind whatever is waiting.
// The packet keeps its sequence ids.
func (w *Writer) Forward(p Packet) error {
	if p.raw == nil {
		w.Seq = 0
		if err := w.Packet(p.Payload); err != nil {
			return err
		}
		return w.Flush()
	}
	w.Seq = p.Seq + 1
	return w.flushWith(p.raw)
}

// Queue is Forward without the write: for requests that have no reply, when more are waiting.
func (w *Writer) Queue(p Packet) error {
	if p.raw == nil {
		w.Seq = 0
		return w.Packet(p.Payload)
	}
	w.Seq = p.Seq + 1
	return w.append(p.raw)
}

// Flush writes everything that is waiting.
func (w *Writer) Flush() error { return w.flushWith(nil) }

// Buffered says how many bytes are waiting to be written.
func (w *Writer) Buffered() int { return len(w.out) }

// append adds bytes that already are packets, or the payload of one, behind what is waiting.
func (w *Writer) append(b []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(b) >= directWrite {
		return w.flushWith(b)
	}
	w.room(len(b))
	w.out = append(w.out, b...)
	if len(w.out) >= directWrite {
		return w.Flush()
	}
	return nil
}

// room makes sure that n more bytes fit into the pooled buffer.
func (w *Writer) room(n int) {
	if w.buf == nil {
		w.buf = newBuffer(n)
		w.out = w.buf.b[:0]
		return
	}
	if len(w.out)+n <= len(w.buf.b) {
		return
	}
	bigger := newBuffer(max(2*len(w.buf.b), len(w.out)+n))
	w.out = append(bigger.b[:0], w.out...)
	if w.secret {
		clear(w.buf.b[:len(w.out)])
	}
	w.buf.release()
	w.buf = bigger
}

// flushWith writes what is waiting and then span, together.
func (w *Writer) flushWith(span []byte) error {
	if w.err != nil {
		return w.err
	}
	var err error
	w.Sent += uint64(len(w.out) + len(span))
	switch {
	case len(w.out) == 0 && len(span) == 0:
		return nil
	case len(w.out) == 0:
		_, err = w.dst.Write(span)
	case len(span) == 0:
		_, err = w.dst.Write(w.out)
	case len(span) < directWrite:
		w.room(len(span))
		w.out = append(w.out, span...)
		_, err = w.dst.Write(w.out)
	default:
		both := net.Buffers{w.out, span}
		_, err = both.WriteTo(w.dst)
	}
	w.drop()
	if err != nil {
		w.err = &IOError{w.side, "write", err}
	}
	return w.err
}

// drop gives the buffer back.
func (w *Writer) drop() {
	if w.buf == nil {
		return
	}
	if w.secret {
		clear(w.out)
		w.secret = false
	}
	w.buf.release()
	w.buf, w.out = nil, nil
}
