package wire

import (
	"encoding/binary"
	"errors"
)

const (
	// MaxLogin is the largest handshake response or COM_CHANGE_USER that is accepted.
	MaxLogin = 1 << 20
	// maxAttributes is the largest block of connection attributes: MariaDB's own limit.
	maxAttributes = 64 << 10
	// loginFixed is the size of the fixed part of a handshake response, which alone is an SSLRequest.
	loginFixed = 32
)

// ErrDuplicateAttribute reports a connection attribute that must be given once and was not.
var ErrDuplicateAttribute = errors.New("connection attribute given twice")

// Login is the client's handshake response, or the fixed part of it (SSLRequest).
// Its slices belong to the packet it was parsed from.
// https://mariadb.com/kb/en/connection/#handshake-response-packet
type Login struct {
	// Caps has the extended flags only when CapMySQL is clear.
	Caps      Capabilities
	MaxPacket uint32
	// Charset is the id of the collation the client wants to use, as far as it fits a byte.
	Charset    uint8
	User       []byte
	Auth       []byte
	Database   []byte // nil without CapConnectWithDB
	Plugin     []byte // nil without CapPluginAuth
	Attributes []byte // the raw attribute block without its length; nil without CapConnectAttrs
}

// IsSSLRequest says whether a packet that arrived in place of a handshake response asks for TLS.
func IsSSLRequest(p []byte) bool {
	return len(p) == loginFixed && Capabilities(binary.LittleEndian.Uint32(p)).Has(CapSSL)
}

// AsksCompression reports whether a handshake response announces compressed packets, offered or not.
func AsksCompression(p []byte) bool {
	return len(p) >= loginFixed && Capabilities(binary.LittleEndian.Uint32(p)).Has(CapCompress)
}

// ParseLogin parses a handshake response, or an SSLRequest, of protocol 4.1. The fields are those
// that the flags in common with offered announce: the server reads the packet by the flags that
// both sides have. Bits that were not offered are cleared in Caps.
func ParseLogin(p []byte, offered Capabilities) (Login, error) {
	c := cursor{p: p}
	var l Login
	l.Caps = Capabilities(c.uint32())
	l.MaxPacket = c.uint32()
	l.Charset = c.uint8()
	c.take(19)
	extended := c.uint32()
	if !l.Caps.Has(CapMySQL) && !offered.Has(CapMySQL) {
		l.Caps |= Capabilities(extended) << 32
	}
	l.Caps &= offered | CapMySQL
	if c.failed {
		return Login{}, malformed("handshake response")
	}
	if !l.Caps.Has(CapProtocol41 | CapSecureConnection) {
		return Login{}, malformed("handshake response of a client before protocol 4.1")
	}
	if IsSSLRequest(p) {
		return l, nil
	}
	l.User = c.nulString()
	if l.Caps.Has(CapLenencAuth) {
		l.Auth = c.lenencString()
	} else {
		l.Auth = c.take(int(c.uint8()))
	}
	if l.Caps.Has(CapConnectWithDB) {
		l.Database = c.lastString()
	}
	if l.Caps.Has(CapPluginAuth) {
		l.Plugin = c.lastString()
	}
	if l.Caps.Has(CapConnectAttrs) && c.left() > 0 {
		l.Attributes = c.lenencString()
	}
	if c.failed || len(l.Attributes) > maxAttributes {
		return Login{}, malformed("handshake response")
	}
	return l, nil
}

func (l Login) appendFixed(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(l.Caps))
	dst = binary.LittleEndian.AppendUint32(dst, l.MaxPacket)
	dst = append(dst, l.Charset)
	dst = append(dst, make([]byte, 19)...)
	extended := uint32(l.Caps >> 32)
	if l.Caps.Has(CapMySQL) {
		extended = 0
	}
	return binary.LittleEndian.AppendUint32(dst, extended)
}

// AppendSSLRequest appends the payload of the SSLRequest that belongs to l: the server keeps the
// flags of the first packet it sees, so both must carry the same.
func (l Login) AppendSSLRequest(dst []byte) []byte {
	l.Caps |= CapSSL
	return l.appendFixed(dst)
}

// Append appends the handshake response's payload.
func (l Login) Append(dst []byte) []byte {
	dst = l.appendFixed(dst)
	dst = append(append(dst, l.User...), 0)
	if l.Caps.Has(CapLenencAuth) {
		dst = AppendLenencString(dst, l.Auth)
	} else {
		dst = append(dst, byte(len(l.Auth)))
		dst = append(dst, l.Auth...)
	}
	if l.Caps.Has(CapConnectWithDB) {
		dst = append(append(dst, l.Database...), 0)
	}
	if l.Caps.Has(CapPluginAuth) {
		dst = append(append(dst, l.Plugin...), 0)
	}
	if l.Caps.Has(CapConnectAttrs) {
		dst = AppendLenencString(dst, l.Attributes)
	}
	return dst
}

// ChangeUser is COM_CHANGE_USER. Its slices belong to the packet it was parsed from.
// https://mariadb.com/kb/en/com_change_user/
type ChangeUser struct {
	User     []byte
	Auth     []byte
	Database []byte
	// Charset is nil when the client did not send one; then nothing follows it either.
	Charset    []byte // 2 bytes
	Plugin     []byte // nil when absent
	Attributes []byte // raw block without its length; nil when absent
}

// ParseChangeUser parses a COM_CHANGE_USER request, command byte included.
func ParseChangeUser(p []byte, caps Capabilities) (ChangeUser, error) {
	c := cursor{p: p}
	if Command(c.uint8()) != ComChangeUser {
		return ChangeUser{}, malformed("COM_CHANGE_USER")
	}
	var u ChangeUser
	u.User = c.nulString()
	u.Auth = c.take(int(c.uint8()))
	u.Database = c.lastString()
	if c.left() >= 2 {
		u.Charset = c.take(2)
		if caps.Has(CapPluginAuth) && c.left() > 0 {
			u.Plugin = c.lastString()
		}
		if caps.Has(CapConnectAttrs) && c.left() > 0 {
			u.Attributes = c.lenencString()
		}
	}
	if c.failed || len(u.Attributes) > maxAttributes {
		return ChangeUser{}, malformed("COM_CHANGE_USER")
	}
	return u, nil
}

// Append appends the request's payload, command byte included.
func (u ChangeUser) Append(dst []byte, caps Capabilities) []byte {
	dst = append(dst, byte(ComChangeUser))
	dst = append(append(dst, u.User...), 0)
	dst = append(dst, byte(len(u.Auth)))
	dst = append(dst, u.Auth...)
	dst = append(append(dst, u.Database...), 0)
	if u.Charset == nil {
		return dst
	}
	dst = append(dst, u.Charset...)
	if caps.Has(CapPluginAuth) && (u.Plugin != nil || u.Attributes != nil) {
		dst = append(append(dst, u.Plugin...), 0)
	}
	if caps.Has(CapConnectAttrs) && u.Attributes != nil {
		dst = AppendLenencString(dst, u.Attributes)
	}
	return dst
}

// TakeAttribute returns the value of one attribute of an attribute block and the block without it.
// found is false, and the block the one given, when it has no such attribute; then nothing is
// copied. A value found belongs to the caller. A block that cannot be walked to its end is
// ErrMalformed: what is not understood could hide the attribute.
func TakeAttribute(attrs []byte, name string) (value []byte, rest []byte, found bool, err error) {
	c := cursor{p: attrs}
	rest = attrs
	for c.left() > 0 {
		from := c.pos
		k := c.lenencString()
		v := c.lenencString()
		if c.failed {
			return nil, nil, false, malformed("connection attributes")
		}
		if string(k) != name {
			if found {
				rest = append(rest, attrs[from:c.pos]...)
			}
			continue
		}
		if found {
			return nil, nil, false, ErrDuplicateAttribute
		}
		found = true
		value = append([]byte{}, v...)
		rest = append(make([]byte, 0, len(attrs)), attrs[:from]...)
	}
	return value, rest, found, nil
}
