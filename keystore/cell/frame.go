package cell

// The plaintext that is encrypted is framed: one byte type family, the value,
// the byte 80, and as many zeros as bring the whole to a multiple of the
// policy's pad (ISO/IEC 7816-4 padding). 80 is always there, so the end of the
// value is found without knowing the pad it was sealed with.

const frameEnd = 0x80

// framedLen returns the length of the frame around a value of n bytes. A pad
// below 2 adds no zeros.
func framedLen(n, pad int) int {
	n += frameSize
	if pad > 1 {
		if over := n % pad; over != 0 {
			n += pad - over
		}
	}
	return n
}

// frame writes family and value into dst, whose length is framedLen of the
// value and which may hold anything before.
func frame(dst []byte, family byte, value []byte) {
	dst[0] = family
	n := 1 + copy(dst[1:], value)
	dst[n] = frameEnd
	clear(dst[n+1:])
}

// unframe returns the type family in b and the value within b. ok is false when
// b is not a frame, which for authenticated bytes means that whoever sealed
// them did not follow the format.
func unframe(b []byte) (family byte, value []byte, ok bool) {
	end := len(b) - 1
	for end > 0 && b[end] == 0 {
		end--
	}
	if end < 1 || b[end] != frameEnd {
		return 0, nil, false
	}
	return b[0], b[1:end], true
}
