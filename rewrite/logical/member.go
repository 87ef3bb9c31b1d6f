package logical

import (
	"bytes"
)

// canonicalEnum converts a member's text, equal under the collation, to the declared spelling, and an integer by its number.
func (t *Type) canonicalEnum(dst []byte, in Input, s *Session) ([]byte, error) {
	if !t.memberText(in) {
		v, err := t.memberNumber(in)
		if err != nil {
			return dst, err
		}
		if v < 1 || v > uint64(len(t.Members)) {
			return dst, errTruncated
		}
		return append(dst, t.Members[v-1]...), nil
	}
	text, err := t.memberInput(in, s)
	if err != nil {
		return dst, err
	}
	i, err := t.member(text)
	if err != nil {
		return dst, err
	}
	if i < 0 {
		return dst, noMember(text)
	}
	return append(dst, t.Members[i]...), nil
}

// memberText says that an input of an ENUM or SET column is looked up as text.
func (t *Type) memberText(in Input) bool {
	switch in.Kind {
	case InputString, InputHexString, InputHexNumber, InputBit, InputWireBytes:
		return true
	}
	return false
}

// memberNumber reads a member's number or a set's bits.
func (t *Type) memberNumber(in Input) (uint64, error) {
	v, ok := numberOf(in)
	if !ok || in.Kind == InputWireFloat {
		return 0, ErrNotPlain
	}
	n, ok := v.integerValue()
	if !ok || n.neg && !n.zero() {
		return 0, ErrNotPlain
	}
	u, ok := n.uint()
	if !ok {
		return 0, ErrNotPlain
	}
	return u, nil
}

// memberInput returns the text to look up, without trailing spaces.
func (t *Type) memberInput(in Input, s *Session) ([]byte, error) {
	if in.Kind != InputString && !isASCII(in.Bytes) {
		return nil, ErrNotPlain
	}
	text, err := s.text(in, t.cs)
	if err != nil {
		return nil, ErrNotPlain
	}
	return bytes.TrimRight(text, " "), nil
}

// member returns the index of the member that equals text under the collation, -1 for none.
func (t *Type) member(text []byte) (int, error) {
	if i, ok := t.spelled[string(text)]; ok {
		return i, nil
	}
	w, err := t.co.weigh(nil, text)
	if err != nil {
		return -1, ErrNotPlain
	}
	if i, ok := t.weighed[string(w)]; ok {
		return i, nil
	}
	if t.unweighed {
		return -1, ErrNotPlain
	}
	return -1, nil
}

// noMember returns the error for a text that is no member: MariaDB then tries it as a number, which is left to the evaluator.
func noMember(text []byte) error {
	if len(text) > 0 {
		switch c := text[0]; {
		case isDigit(c), c == '+', c == '-', c <= ' ':
			return ErrNotPlain
		}
	}
	return errTruncated
}

// canonicalSet converts a list of members to the declared spelling and order, and an integer by its bits.
func (t *Type) canonicalSet(dst []byte, in Input, s *Session) ([]byte, error) {
	if !t.memberText(in) {
		bits, err := t.memberNumber(in)
		if err != nil {
			return dst, err
		}
		if len(t.Members) < 64 && bits >= 1<<len(t.Members) {
			return dst, errTruncated
		}
		return t.appendSet(dst, bits), nil
	}
	text, err := t.memberInput(in, s)
	if err != nil {
		return dst, err
	}
	if len(text) == 0 && len(in.Bytes) > 0 {
		return dst, ErrNotPlain
	}
	bits, err := t.setBits(text)
	if err != nil {
		return dst, err
	}
	return t.appendSet(dst, bits), nil
}

func (t *Type) setBits(text []byte) (uint64, error) {
	var bits uint64
	if len(text) == 0 {
		return 0, nil
	}
	for part := range bytes.SplitSeq(text, []byte(",")) {
		if bytes.HasSuffix(part, []byte(" ")) {
			return 0, ErrNotPlain
		}
		i, err := t.member(part)
		if err != nil {
			return 0, err
		}
		if i < 0 {
			return 0, noMember(text)
		}
		bits |= 1 << i
	}
	return bits, nil
}

func (t *Type) appendSet(dst []byte, bits uint64) []byte {
	first := true
	for i, m := range t.Members {
		if bits&(1<<i) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, m...)
	}
	return dst
}
