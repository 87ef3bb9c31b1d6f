// Package faultconn lets tests see what a program does when a connection fails
// at an exact byte: a net.Conn that cuts, splits, delays or corrupts, each way,
// and a relay that puts such a connection between two programs. The rest of the
// traffic is real, so that everything up to the fault is as in real life.
package faultconn

import (
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// Kind says what happens at a fault's byte.
type Kind int

const (
	// Cut closes the connection after the bytes before the fault.
	Cut Kind = iota + 1
	// Reset is Cut with a TCP reset where the transport has one.
	Reset
	// Split ends a read or write before the fault's byte, so that the bytes on
	// either side of it travel in different calls.
	Split
	// Delay is Split with a pause.
	Delay
	// Corrupt flips bits of the fault's byte.
	Corrupt
)

// ErrFault is what the wrapped side gets from a connection that Cut or Reset ended.
var ErrFault = errors.New("connection cut by faultconn")

// Fault is one fault in one direction of a connection.
type Fault struct {
	Kind Kind
	// At is the offset, from 0, of the byte at which it happens.
	At int64
	// Every repeats the fault after that many further bytes; 0 means once.
	Every int64
	// Pause is how long Delay waits.
	Pause time.Duration
	// Mask says which bits Corrupt flips; 0 means all eight.
	Mask byte
}

// Faults are the faults of both directions, as the wrapped side sees them.
type Faults struct {
	Read  []Fault
	Write []Fault
}

// Conn is a connection with faults. As with any net.Conn, one goroutine may
// read while another writes.
type Conn struct {
	net.Conn
	read  direction
	write direction
}

// Wrap returns a connection that behaves as conn does up to the faults.
func Wrap(conn net.Conn, faults Faults) *Conn {
	return &Conn{
		Conn:  conn,
		read:  direction{faults: append([]Fault(nil), faults.Read...)},
		write: direction{faults: append([]Fault(nil), faults.Write...)},
	}
}

// Read implements io.Reader. It never reads past the next fault in one call.
func (c *Conn) Read(b []byte) (int, error) {
	c.read.mu.Lock()
	defer c.read.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	mask, limit, err := c.read.next(c.Conn)
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), limit)])
	if n > 0 {
		b[0] ^= mask
		c.read.done(n)
	}
	return n, err
}

// Write implements io.Writer. It leaves b as it is.
func (c *Conn) Write(b []byte) (int, error) {
	c.write.mu.Lock()
	defer c.write.mu.Unlock()
	written := 0
	for written < len(b) {
		mask, limit, err := c.write.next(c.Conn)
		if err != nil {
			return written, err
		}
		chunk := b[written : written+int(min(int64(len(b)-written), limit))]
		if mask != 0 {
			chunk = []byte{chunk[0] ^ mask}
		}
		n, err := c.Conn.Write(chunk)
		written += n
		c.write.done(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// direction counts the bytes of one way and knows the faults ahead.
type direction struct {
	mu     sync.Mutex
	offset int64
	faults []Fault
	passed int64 // offset+1 up to which Split and Delay have happened
	cut    bool
}

// next applies the faults at the current offset. It returns a mask for the next
// byte (then limit is 1, unless the mask is 0) and how many bytes may pass
// before the following fault, at least 1.
func (d *direction) next(conn net.Conn) (mask byte, limit int64, err error) {
	if d.cut {
		return 0, 0, ErrFault
	}
	limit = math.MaxInt64
	for _, f := range d.faults {
		at := f.after(d.offset)
		if at > d.offset {
			limit = min(limit, at-d.offset)
			continue
		}
		if at < d.offset {
			continue
		}
		switch f.Kind {
		case Cut, Reset:
			d.cut = true
			return 0, 0, errors.Join(ErrFault, closeConn(conn, f.Kind))
		case Delay:
			if d.passed <= d.offset {
				time.Sleep(f.Pause)
			}
		case Split:
		case Corrupt:
			mask ^= f.mask()
		default:
			return 0, 0, fmt.Errorf("faultconn: unknown kind %d", f.Kind)
		}
		if f.Every > 0 {
			limit = min(limit, f.Every)
		}
	}
	d.passed = d.offset + 1
	if mask != 0 {
		limit = 1
	}
	return mask, limit, nil
}

func (d *direction) done(n int) { d.offset += int64(n) }

// after returns the offset of the fault's first occurrence at or after offset,
// or one before offset when there is none.
func (f Fault) after(offset int64) int64 {
	if offset <= f.At || f.Every <= 0 {
		return f.At
	}
	return f.At + (offset-f.At+f.Every-1)/f.Every*f.Every
}

func (f Fault) mask() byte {
	if f.Mask == 0 {
		return 0xFF
	}
	return f.Mask
}

// closeConn closes conn, with a reset instead of an orderly end for Reset.
func closeConn(conn net.Conn, kind Kind) error {
	if tcp, ok := conn.(*net.TCPConn); ok && kind == Reset {
		if err := tcp.SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
