package logical

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
)

// errCast is MariaDB's refusal of numbers for UUID, INET4 and INET6.
var errCast = &ValueError{4078, "HY000", "a number cannot be cast to the column's type"}

// addressInput returns the text of an input of a UUID, INET4 or INET6 column, or its bytes when binary is set.
func (t *Type) addressInput(in Input, s *Session) (value []byte, binary bool, err error) {
	switch in.Kind {
	case InputString:
		value, err = s.asciiLiteral(in)
		if err == nil && (in.Charset == "binary" || in.Charset == "" && s.ClientCharset == "binary") {
			err = ErrNotPlain
		}
		return value, false, err
	case InputHexString, InputWireBytes:
		return in.Bytes, true, nil
	case InputInteger, InputDecimal, InputTrue, InputFalse, InputWireSigned, InputWireUnsigned:
		return nil, false, errCast
	}
	return nil, false, ErrNotPlain
}

// canonicalUUID converts 32 hexadecimal digits, with the usual four dashes or none. Bytes are not plain: the server takes them
// for its own storage order. Nor are versions from 6 without the variant bit, which newer servers refuse.
func (t *Type) canonicalUUID(dst []byte, in Input, s *Session) ([]byte, error) {
	value, raw, err := t.addressInput(in, s)
	if err != nil {
		return dst, err
	}
	if raw {
		return dst, ErrNotPlain
	}
	digits := value
	if len(value) == 36 && value[8] == '-' && value[13] == '-' && value[18] == '-' && value[23] == '-' {
		digits = append(append(append(append(append([]byte(nil), value[:8]...), value[9:13]...), value[14:18]...), value[19:23]...), value[24:]...)
	}
	var id [16]byte
	if len(digits) == 32 {
		if _, err := hex.Decode(id[:], digits); err == nil {
			if id[6] >= 0x60 && id[8] < 0x80 {
				return dst, ErrNotPlain
			}
			return appendUUID(dst, id[:]), nil
		}
	}
	dashless := bytes.ReplaceAll(value, []byte("-"), nil)
	if len(dashless) == 32 {
		return dst, ErrNotPlain
	}
	return dst, errTemporal
}

func appendUUID(dst, id []byte) []byte {
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, id[:n])
		id = id[n:]
	}
	return dst
}

// canonicalINET4 converts a dotted quad, leading zeros dropped, and 4 bytes.
func (t *Type) canonicalINET4(dst []byte, in Input, s *Session) ([]byte, error) {
	value, raw, err := t.addressInput(in, s)
	if err != nil {
		return dst, err
	}
	if raw {
		if len(value) != 4 {
			return dst, ErrNotPlain
		}
		return netip.AddrFrom4([4]byte(value)).AppendTo(dst), nil
	}
	parts := bytes.Split(value, []byte("."))
	if len(parts) != 4 {
		return dst, errTemporal
	}
	mark := len(dst)
	for i, p := range parts {
		v, ok := parseUint(p)
		if !ok || len(p) > 3 || v > 255 {
			return dst[:mark], errTemporal
		}
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, v, 10)
	}
	return dst, nil
}

// canonicalINET6 converts an IPv6 address in any spelling and 16 bytes to the spelling that MariaDB prints.
func (t *Type) canonicalINET6(dst []byte, in Input, s *Session) ([]byte, error) {
	value, raw, err := t.addressInput(in, s)
	if err != nil {
		return dst, err
	}
	if raw {
		if len(value) != 16 {
			return dst, ErrNotPlain
		}
		return appendINET6(dst, [16]byte(value)), nil
	}
	addr, err := netip.ParseAddr(string(value))
	switch {
	case err == nil && addr.Is6() && addr.Zone() == "":
		return appendINET6(dst, addr.As16()), nil
	case err == nil || !bytes.ContainsAny(value, ".:"):
		return dst, errTemporal
	}
	return dst, ErrNotPlain
}

// appendINET6 prints an address as MariaDB does: the first of the longest runs of zero groups, even of one, becomes ::, and
// IPv4-compatible and IPv4-mapped addresses end in a dotted quad.
func appendINET6(dst []byte, a [16]byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = binary.BigEndian.Uint16(a[2*i:])
	}
	start, length := -1, 0
	for i := 0; i < 8; i++ {
		n := 0
		for i+n < 8 && words[i+n] == 0 {
			n++
		}
		if n > length {
			start, length = i, n
		}
		i += n
	}
	for i := 0; i < 8; i++ {
		if i == start {
			dst = append(dst, ':')
			if i += length - 1; i == 7 {
				dst = append(dst, ':')
			}
			continue
		}
		if i > 0 {
			dst = append(dst, ':')
		}
		if i == 6 && start == 0 && (length == 6 || length == 5 && words[5] == 0xffff) {
			return netip.AddrFrom4([4]byte(a[12:])).AppendTo(dst)
		}
		dst = strconv.AppendUint(dst, uint64(words[i]), 16)
	}
	return dst
}
