package wire

import (
	"bytes"
	"encoding/binary"
	"math"
)

// lenencNull is the first byte of a NULL where a length-encoded string may be NULL.
const lenencNull = 0xfb

// Lenenc decodes the length-encoded integer at the start of p. n is the number of bytes it takes; 0
// means that p is truncated or starts with a byte that begins no integer (FB and FF).
// https://mariadb.com/kb/en/protocol-data-types/#length-encoded-integers
func Lenenc(p []byte) (v uint64, n int) {
	if len(p) == 0 {
		return 0, 0
	}
	switch c := p[0]; {
	case c < 0xfb:
		return uint64(c), 1
	case c == 0xfc:
		if len(p) < 3 {
			return 0, 0
		}
		return uint64(binary.LittleEndian.Uint16(p[1:])), 3
	case c == 0xfd:
		if len(p) < 4 {
			return 0, 0
		}
		return uint64(p[1]) | uint64(p[2])<<8 | uint64(p[3])<<16, 4
	case c == 0xfe:
		if len(p) < 9 {
			return 0, 0
		}
		return binary.LittleEndian.Uint64(p[1:]), 9
	}
	return 0, 0
}

// AppendLenenc appends v as a length-encoded integer of the shortest form.
func AppendLenenc(dst []byte, v uint64) []byte {
	switch {
	case v < 0xfb:
		return append(dst, byte(v))
	case v <= math.MaxUint16:
		return append(dst, 0xfc, byte(v), byte(v>>8))
	case v < 1<<24:
		return append(dst, 0xfd, byte(v), byte(v>>8), byte(v>>16))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xfe), v)
}

// AppendLenencString appends s behind its length.
func AppendLenencString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(AppendLenenc(dst, uint64(len(s))), s...)
}

// cursor reads fields one after the other. The first field that does not fit makes every later one
// zero and failed true, so that a parser can check once at its end.
type cursor struct {
	p      []byte
	pos    int
	failed bool
}

func (c *cursor) left() int { return len(c.p) - c.pos }

// take returns the next n bytes, which belong to the packet.
func (c *cursor) take(n int) []byte {
	if c.failed || n < 0 || n > c.left() {
		c.failed = true
		return nil
	}
	b := c.p[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return b
}

func (c *cursor) uint8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) lenenc() uint64 {
	if c.failed {
		return 0
	}
	v, n := Lenenc(c.p[c.pos:])
	if n == 0 {
		c.failed = true
		return 0
	}
	c.pos += n
	return v
}

func (c *cursor) lenencString() []byte {
	n := c.lenenc()
	if n > uint64(c.left()) {
		c.failed = true
		return nil
	}
	return c.take(int(n))
}

// nulString returns the bytes up to the next NUL and skips the NUL.
func (c *cursor) nulString() []byte {
	if c.failed {
		return nil
	}
	i := bytes.IndexByte(c.p[c.pos:], 0)
	if i < 0 {
		c.failed = true
		return nil
	}
	b := c.take(i)
	c.pos++
	return b
}

// lastString returns the bytes up to the next NUL, or all that is left: clients differ in whether
// they terminate the last field of a packet.
func (c *cursor) lastString() []byte {
	if c.failed {
		return nil
	}
	if i := bytes.IndexByte(c.p[c.pos:], 0); i >= 0 {
		return c.nulString()
	}
	return c.take(c.left())
}
