package wire

import "encoding/binary"

// Greeting is the backend's initial handshake packet.
// https://mariadb.com/kb/en/connection/#initial-handshake-packet
type Greeting struct {
	// Version is the server version as sent, with the prefix 5.5.5- where the server has it.
	Version    string
	ThreadID   uint32
	Caps       Capabilities
	Charset    uint8
	Status     StatusFlags
	AuthPlugin string
	// Scramble is the random challenge, both parts joined and without the NUL at its end.
	Scramble []byte

	capsAt int // where the lower half of the capability flags is
}

// Where the upper half and the extended flags are, seen from the lower half of the capability flags.
const (
	greetingCapsHigh = 5
	greetingExtended = 14
)

// ParseGreeting parses the payload of an initial handshake packet of protocol version 10. Servers too
// old for capability flags of 32 bits are ErrMalformed.
func ParseGreeting(p []byte) (Greeting, error) {
	c := cursor{p: p}
	if c.uint8() != 10 {
		return Greeting{}, malformed("protocol version of the initial handshake")
	}
	g := Greeting{Version: string(c.nulString())}
	g.ThreadID = c.uint32()
	g.Scramble = append([]byte(nil), c.take(8)...)
	c.take(1)
	g.capsAt = c.pos
	g.Caps = Capabilities(c.uint16())
	g.Charset = c.uint8()
	g.Status = StatusFlags(c.uint16())
	g.Caps |= Capabilities(c.uint16()) << 16
	authLen := int(c.uint8())
	c.take(6)
	if extended := c.uint32(); !g.Caps.Has(CapMySQL) {
		g.Caps |= Capabilities(extended) << 32
	}
	if g.Caps.Has(CapSecureConnection) {
		if rest := c.take(max(13, authLen-8)); len(rest) > 0 {
			g.Scramble = append(g.Scramble, rest[:len(rest)-1]...)
		}
	}
	if g.Caps.Has(CapPluginAuth) {
		g.AuthPlugin = string(c.lastString())
	}
	if c.failed {
		return Greeting{}, malformed("initial handshake")
	}
	return g, nil
}

// SetCaps writes other capability flags into p, the payload that g was parsed from, and into g.
// CapMySQL must not change: it decides whether the extended flags exist.
func (g *Greeting) SetCaps(p []byte, caps Capabilities) {
	if (caps^g.Caps)&CapMySQL != 0 {
		panic("internal error: wire: CLIENT_MYSQL changed in a greeting")
	}
	at := p[g.capsAt:]
	binary.LittleEndian.PutUint16(at, uint16(caps))
	binary.LittleEndian.PutUint16(at[greetingCapsHigh:], uint16(caps>>16))
	if !caps.Has(CapMySQL) {
		binary.LittleEndian.PutUint32(at[greetingExtended:], uint32(caps>>32))
	}
	g.Caps = caps
}
