// Package wire reads, changes and writes the MariaDB client/server protocol.
//
// It turns a byte stream into packets, follows the state of a reply, and parses and builds the
// payloads a proxy has to look at: handshakes, OK, ERR and EOF packets, column definitions, text and
// binary rows, and the prepared statement commands.
//
// It never decides policy, never dials, never logs, and never holds more of a reply than the packet
// that somebody asked to see.
//
// The one idea needed to read it: a packet that passes unchanged is never copied. It stays in the
// read buffer as part of a span of passed bytes, and the whole span goes out with one write when the
// buffer has to be refilled. Reply is the iterator over a reply that keeps these spans.
//
// Specification: https://mariadb.com/kb/en/clientserver-protocol/
package wire

import (
	"errors"
	"fmt"
)

const (
	// HeaderSize is the size of a packet header: three bytes of payload length, one of sequence id.
	// https://mariadb.com/kb/en/0-packet/
	HeaderSize = 4
	// MaxPayload is the largest payload of one packet. A packet of exactly this size is continued by
	// the next one, which may be empty.
	MaxPayload = 1<<24 - 1
)

// Side says which connection of a session something happened on.
type Side uint8

const (
	// ClientSide is the connection between the application and the proxy.
	ClientSide Side = iota
	// BackendSide is the connection between the proxy and MariaDB.
	BackendSide
)

// String names the side for logs.
func (s Side) String() string {
	if s == ClientSide {
		return "client"
	}
	return "backend"
}

var (
	// ErrMalformed reports bytes that do not follow the protocol. It is wrapped with what was being
	// parsed, never with the bytes.
	ErrMalformed = errors.New("malformed packet")
	// ErrTooLarge reports a packet larger than the limit its reader was given.
	ErrTooLarge = errors.New("packet too large")
	// ErrSequence reports a packet whose sequence id is not the one that had to come next.
	ErrSequence = errors.New("packets out of order")
)

// IOError is a failed read or write on one side of a session. The cause is what the connection
// returned (io.EOF for a connection closed between packets, io.ErrUnexpectedEOF for one closed
// inside a packet).
type IOError struct {
	Side Side
	// Op is "read" or "write".
	Op  string
	Err error
}

func (e *IOError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Side, e.Err) }

// Unwrap returns what the connection returned.
func (e *IOError) Unwrap() error { return e.Err }

// Packet is a whole logical packet: the payload with its 16 MB fragments joined.
// It belongs to the Reader it came from and is valid until that Reader's next call.
type Packet struct {
	Payload []byte
	// Seq is the sequence id of the last fragment: a reply starts with the one after it.
	Seq uint8

	raw []byte // header and payload as received; nil when fragments were joined
}

// Fragments says how many packets a payload of n bytes takes on the wire.
func Fragments(n int) int { return n/MaxPayload + 1 }

func putHeader(dst []byte, length int, seq uint8) {
	_ = dst[3]
	dst[0] = byte(length)
	dst[1] = byte(length >> 8)
	dst[2] = byte(length >> 16)
	dst[3] = seq
}

func headerLength(h []byte) int {
	_ = h[2]
	return int(h[0]) | int(h[1])<<8 | int(h[2])<<16
}

func malformed(what string) error { return fmt.Errorf("%s: %w", what, ErrMalformed) }
