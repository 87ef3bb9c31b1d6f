package wire

import "encoding/binary"

// First bytes of the packets that end or begin something.
const (
	headerOK     = 0x00
	headerMore   = 0x01 // more authentication data
	headerInfile = 0xfb // LOAD DATA LOCAL
	headerEOF    = 0xfe
	headerErr    = 0xff
)

// OK is an OK packet, or the one with header FE that ends rows when EOF packets are deprecated.
// Its slices belong to the packet it was parsed from. https://mariadb.com/kb/en/ok_packet/
type OK struct {
	// EOF is true when the packet ends rows and starts with FE.
	EOF          bool
	AffectedRows uint64
	LastInsertID uint64
	Status       StatusFlags
	Warnings     uint16
	Info         []byte
	// Track is the raw session state information, to be read with Tracks. It is empty unless Status
	// has StatusSessionChanged and the client asked for CapSessionTrack.
	Track []byte
}

// ParseOK parses an OK packet with either header.
func ParseOK(p []byte, caps Capabilities) (OK, error) {
	c := cursor{p: p}
	var o OK
	switch c.uint8() {
	case headerOK:
	case headerEOF:
		o.EOF = true
	default:
		return OK{}, malformed("OK packet")
	}
	o.AffectedRows = c.lenenc()
	o.LastInsertID = c.lenenc()
	o.Status = StatusFlags(c.uint16())
	o.Warnings = c.uint16()
	switch {
	case c.failed:
	case !caps.Has(CapSessionTrack):
		o.Info = c.take(c.left())
	case c.left() > 0:
		o.Info = c.lenencString()
		if o.Status.Has(StatusSessionChanged) && c.left() > 0 {
			o.Track = c.lenencString()
		}
	}
	if c.failed {
		return OK{}, malformed("OK packet")
	}
	return o, nil
}

// Append appends the packet's payload. Without Track the flag StatusSessionChanged is cleared, with
// it the flag is set, as long as the client has CapSessionTrack.
func (o OK) Append(dst []byte, caps Capabilities) []byte {
	track := caps.Has(CapSessionTrack) && len(o.Track) > 0
	o.Status &^= StatusSessionChanged
	if track {
		o.Status |= StatusSessionChanged
	}
	if o.EOF {
		dst = append(dst, headerEOF)
	} else {
		dst = append(dst, headerOK)
	}
	dst = AppendLenenc(dst, o.AffectedRows)
	dst = AppendLenenc(dst, o.LastInsertID)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(o.Status))
	dst = binary.LittleEndian.AppendUint16(dst, o.Warnings)
	switch {
	case !caps.Has(CapSessionTrack):
		dst = append(dst, o.Info...)
	case track:
		dst = AppendLenencString(dst, o.Info)
		dst = AppendLenencString(dst, o.Track)
	case len(o.Info) > 0:
		dst = AppendLenencString(dst, o.Info)
	}
	return dst
}

// EOF is an EOF packet, sent when CapDeprecateEOF is not set. https://mariadb.com/kb/en/eof_packet/
type EOF struct {
	Warnings uint16
	Status   StatusFlags
}

// ParseEOF parses an EOF packet.
func ParseEOF(p []byte) (EOF, error) {
	if len(p) != 5 || p[0] != headerEOF {
		return EOF{}, malformed("EOF packet")
	}
	return EOF{binary.LittleEndian.Uint16(p[1:]), StatusFlags(binary.LittleEndian.Uint16(p[3:]))}, nil
}

// Append appends the packet's payload.
func (e EOF) Append(dst []byte) []byte {
	dst = append(dst, headerEOF)
	dst = binary.LittleEndian.AppendUint16(dst, e.Warnings)
	return binary.LittleEndian.AppendUint16(dst, uint16(e.Status))
}

// statusOffset finds the status flags in an OK or EOF packet; eof says that FE means an EOF packet
// and not an OK packet.
func statusOffset(p []byte, eof bool) (int, error) {
	if eof && len(p) > 0 && p[0] == headerEOF {
		if len(p) != 5 {
			return 0, malformed("EOF packet")
		}
		return 3, nil
	}
	c := cursor{p: p}
	c.uint8()
	c.lenenc()
	c.lenenc()
	at := c.pos
	c.take(4)
	if c.failed {
		return 0, malformed("OK packet")
	}
	return at, nil
}

// Status returns the status flags of an OK or EOF packet.
func Status(p []byte, caps Capabilities) (StatusFlags, error) {
	at, err := statusOffset(p, !caps.Has(CapDeprecateEOF))
	if err != nil {
		return 0, err
	}
	return StatusFlags(binary.LittleEndian.Uint16(p[at:])), nil
}

// PatchStatus sets and clears status flags of an OK or EOF packet in place.
func PatchStatus(p []byte, caps Capabilities, set, clear StatusFlags) error {
	at, err := statusOffset(p, !caps.Has(CapDeprecateEOF))
	if err != nil {
		return err
	}
	s := StatusFlags(binary.LittleEndian.Uint16(p[at:]))
	binary.LittleEndian.PutUint16(p[at:], uint16(s&^clear|set))
	return nil
}
