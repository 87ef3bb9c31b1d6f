package wire

import "encoding/binary"

// ERR is an ERR packet. https://mariadb.com/kb/en/err_packet/
type ERR struct {
	Code uint16
	// State is the SQLSTATE: five characters, or empty in packets sent before the capabilities of
	// the client are known.
	State   string
	Message string
}

// codeProgress is the error code of a progress packet, which ends nothing.
const codeProgress = 0xffff

// IsProgress says whether a packet that starts like an ERR packet is a progress report.
// https://mariadb.com/kb/en/progress-reporting/
func IsProgress(p []byte) bool {
	return len(p) >= 3 && p[0] == headerErr && binary.LittleEndian.Uint16(p[1:]) == codeProgress
}

// ParseERR parses an ERR packet. Progress reports are ErrMalformed.
func ParseERR(p []byte) (ERR, error) {
	c := cursor{p: p}
	if c.uint8() != headerErr || IsProgress(p) {
		return ERR{}, malformed("ERR packet")
	}
	e := ERR{Code: c.uint16()}
	if c.left() >= 6 && p[c.pos] == '#' {
		e.State = string(c.take(6)[1:])
	}
	e.Message = string(c.take(c.left()))
	if c.failed {
		return ERR{}, malformed("ERR packet")
	}
	return e, nil
}

// Append appends the packet's payload. A State that does not have five characters is left out.
func (e ERR) Append(dst []byte) []byte {
	dst = append(dst, headerErr)
	dst = binary.LittleEndian.AppendUint16(dst, e.Code)
	if len(e.State) == 5 {
		dst = append(dst, '#')
		dst = append(dst, e.State...)
	}
	return append(dst, e.Message...)
}

// Progress is a progress report. Its Info belongs to the packet.
type Progress struct {
	Stage, MaxStage uint8
	// Percent is in thousandths of a per cent.
	Percent uint32
	Info    []byte
}

// ParseProgress parses a progress report.
func ParseProgress(p []byte) (Progress, error) {
	if !IsProgress(p) {
		return Progress{}, malformed("progress packet")
	}
	c := cursor{p: p, pos: 3}
	c.uint8() // number of strings, always 1
	r := Progress{Stage: c.uint8(), MaxStage: c.uint8()}
	if b := c.take(3); b != nil {
		r.Percent = uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	}
	r.Info = c.lenencString()
	if c.failed {
		return Progress{}, malformed("progress packet")
	}
	return r, nil
}
