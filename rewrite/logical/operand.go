package logical

import (
	"bytes"
	"math"
)

// Match says what a comparison operand can meet.
type Match byte

// Outcomes of Operand.
const (
	MatchValue Match = iota + 1 // the rows whose weights equal those of the canonical text
	MatchNever                  // no row, whatever is stored
)

// maxDoubleDigits are the decimal digits that a DOUBLE tells apart without exception.
const maxDoubleDigits = 15

// Operand converts the other side of "column = operand" (also of <=> and of an IN list) under the column's own collation. The
// text that it appends is for Weights and tags; it need not be a value that the column could hold. An operand that no row can
// equal (12.345 against DECIMAL(12,2), 300 against TINYINT) is MatchNever. An operand of another type family, and everything
// where MariaDB's rules for the comparison are not certain, is [ErrNotPlain]. On error or MatchNever dst is returned as it was.
//
// A text operand meets a numeric column only when it is plainly a number of at most 15 significant digits, and a temporal
// column only in the canonical spelling.
func (t *Type) Operand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	if err := t.Searchable(); err != nil {
		return dst, 0, ErrNotPlain
	}
	out, match, err := t.operand(dst, in, s)
	if err != nil {
		return dst, 0, ErrNotPlain
	}
	if match == MatchNever {
		return dst, match, nil
	}
	return out, match, nil
}

func (t *Type) operand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	if in.Negative && !in.signed() {
		return dst, 0, ErrNotPlain
	}
	switch t.Family() {
	case FamilyString, FamilyJSON:
		text, err := t.textOperand(in, s)
		return append(dst, text...), MatchValue, err
	case FamilyBinary:
		return t.binaryOperand(dst, in, s)
	case FamilyInteger:
		return t.integerOperand(dst, in, s)
	case FamilyDecimal:
		return t.decimalOperand(dst, in, s)
	case FamilyFloat, FamilyDouble:
		return t.floatOperand(dst, in, s)
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		return t.temporalOperand(dst, in, s)
	case FamilyYear:
		return t.yearOperand(dst, in, s)
	case FamilyBit:
		return t.bitOperand(dst, in)
	case FamilyEnum:
		return t.enumOperand(dst, in, s)
	case FamilySet:
		return t.setOperand(dst, in, s)
	}
	if in.Kind != InputString {
		return dst, 0, ErrNotPlain
	}
	out, err := t.convert(dst, in, s)
	return out, MatchValue, err
}

// textOperand returns a text literal that MariaDB converts to the column's character set without loss.
func (t *Type) textOperand(in Input, s *Session) ([]byte, error) {
	if in.Kind != InputString {
		return nil, ErrNotPlain
	}
	if _, cs, err := s.literal(in); err != nil || cs == nil {
		return nil, ErrNotPlain
	}
	text, err := s.text(in, t.cs)
	if err != nil || t.cs.encodedLen(text) < 0 {
		return nil, ErrNotPlain
	}
	return text, nil
}

func (t *Type) binaryOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	value, _, err := s.literal(in)
	if err != nil {
		return dst, 0, err
	}
	if t.Kind == KindBinary && len(value) != t.Length {
		return dst, MatchNever, nil
	}
	return append(dst, value...), MatchValue, nil
}

// operandNumber reads the operand of a numeric column. approx says that MariaDB compares as DOUBLE.
func (t *Type) operandNumber(in Input, s *Session) (n number, approx bool, err error) {
	if in.Kind == InputString {
		text, err := s.asciiLiteral(in)
		if err != nil {
			return n, true, err
		}
		n, ok := parseSigned(text)
		if !ok || n.digits() > maxDigits {
			return n, true, ErrNotPlain
		}
		return n, true, nil
	}
	v, ok := numberOf(in)
	if !ok {
		return n, false, ErrNotPlain
	}
	if v.approx {
		n, ok = exact(v.f)
		if !ok {
			return n, true, ErrNotPlain
		}
		return n, true, nil
	}
	return v.n, false, nil
}

func (t *Type) integerOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	n, approx, err := t.operandNumber(in, s)
	switch {
	case err != nil:
		return dst, 0, err
	case approx && (len(n.whole) > maxDoubleDigits || n.significant() > maxDoubleDigits):
		return dst, 0, ErrNotPlain
	case !n.integral() || !t.holds(n):
		return dst, MatchNever, nil
	}
	n.frac = nil
	return n.appendText(dst), MatchValue, nil
}

func (t *Type) decimalOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	n, approx, err := t.operandNumber(in, s)
	if err != nil {
		return dst, 0, err
	}
	if approx && (t.Length > maxDoubleDigits || n.significant() > maxDoubleDigits) {
		return dst, 0, ErrNotPlain
	}
	n, err = t.scaled(n)
	if err != nil {
		return dst, MatchNever, nil
	}
	return n.appendText(dst), MatchValue, nil
}

func (t *Type) floatOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	var f float64
	if in.Kind == InputString {
		n, _, err := t.operandNumber(in, s)
		if err != nil || n.significant() > maxDoubleDigits {
			return dst, 0, ErrNotPlain
		}
		f = n.float()
	} else {
		v, ok := numberOf(in)
		if !ok {
			return dst, 0, ErrNotPlain
		}
		if f = v.f; !v.approx {
			f = v.n.float()
		}
	}
	if t.Kind == KindFloat && (math.Abs(f) > math.MaxFloat32 || float64(float32(f)) != f) {
		return dst, MatchNever, nil
	}
	return t.appendFloat(dst, f), MatchValue, nil
}

// temporalOperand takes texts in the canonical spelling, literals and parameters of the column's own kind, and dates for a
// DATETIME or TIMESTAMP.
func (t *Type) temporalOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	dates := t.Kind != KindTime
	switch in.Kind {
	case InputString:
		text, err := s.asciiLiteral(in)
		if err != nil || !t.canonicalSpelling(text) {
			return dst, 0, ErrNotPlain
		}
	case InputDate, InputWireDate:
		if !dates {
			return dst, 0, ErrNotPlain
		}
	case InputTimestamp, InputWireDateTime, InputWireTimestamp:
		if !dates || t.Kind == KindDate {
			return dst, 0, ErrNotPlain
		}
	case InputTime, InputWireTime:
		if dates {
			return dst, 0, ErrNotPlain
		}
	default:
		return dst, 0, ErrNotPlain
	}
	m, _, err := t.assignedMoment(in, s)
	if err != nil {
		return dst, 0, err
	}
	check := *s
	check.AllowInvalidDates = false
	if err := t.checkMoment(&m, &check); err != nil {
		return dst, 0, err
	}
	if m.micro%microUnit(t.Scale) != 0 {
		return dst, MatchNever, nil
	}
	if t.Kind == KindTimestamp && !m.dateZero() {
		switch err := m.toUTC(s); err {
		case nil:
		case errTemporal:
			return dst, MatchNever, nil
		default:
			return dst, 0, err
		}
	}
	return t.appendMoment(dst, &m), MatchValue, nil
}

// canonicalSpelling says that a text is written as the server prints values of the type, with any number of fractional digits
// up to six; for DATETIME and TIMESTAMP also a date alone.
func (t *Type) canonicalSpelling(text []byte) bool {
	shape := "dddd-dd-dd"
	switch t.Kind {
	case KindDateTime, KindTimestamp:
		if len(text) > len(shape) {
			shape = "dddd-dd-dd dd:dd:dd"
		}
	case KindTime:
		text = bytes.TrimPrefix(text, []byte("-"))
		if shape = "dd:dd:dd"; len(text) > 2 && text[2] != ':' {
			shape = "ddd:dd:dd"
		}
	}
	if len(text) < len(shape) {
		return false
	}
	for i := range len(shape) {
		if shape[i] == 'd' && !isDigit(text[i]) || shape[i] != 'd' && shape[i] != text[i] {
			return false
		}
	}
	rest := text[len(shape):]
	return len(rest) == 0 || shape[len(shape)-3] == ':' && rest[0] == '.' && len(rest) > 1 && len(rest) <= 7
}

func (t *Type) yearOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	n, approx, err := t.operandNumber(in, s)
	if err != nil || in.Kind == InputHexNumber || in.Kind == InputBit {
		return dst, 0, ErrNotPlain
	}
	if approx && (in.Kind != InputString || len(in.Bytes) != 4) {
		return dst, 0, ErrNotPlain
	}
	v, ok := n.uint()
	switch {
	case !ok || n.neg || len(n.frac) > 0 || v < 100:
		return dst, 0, ErrNotPlain
	case v < 1901 || v > 2155:
		return dst, MatchNever, nil
	}
	return n.appendText(dst), MatchValue, nil
}

func (t *Type) bitOperand(dst []byte, in Input) ([]byte, Match, error) {
	v, ok := numberOf(in)
	if !ok || v.approx {
		return dst, 0, ErrNotPlain
	}
	u, ok := v.n.uint()
	switch {
	case v.n.neg && !v.n.zero():
		return dst, 0, ErrNotPlain
	case !ok || t.Length < 64 && u >= 1<<t.Length:
		return dst, MatchNever, nil
	}
	return uintNumber(u).appendText(dst), MatchValue, nil
}

// enumOperand finds the member that equals a text under the collation, or has an integer's number.
func (t *Type) enumOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	if in.Kind != InputString {
		u, never, err := t.memberOperand(in)
		if err != nil {
			return dst, 0, err
		}
		if never || u < 1 || u > uint64(len(t.Members)) {
			return dst, MatchNever, nil
		}
		return append(dst, t.Members[u-1]...), MatchValue, nil
	}
	text, err := t.textOperand(in, s)
	if err != nil {
		return dst, 0, err
	}
	i, err := t.member(text)
	switch {
	case err != nil:
		return dst, 0, err
	case i < 0:
		return dst, MatchNever, nil
	}
	return append(dst, t.Members[i]...), MatchValue, nil
}

// memberOperand reads an integer that is compared with an ENUM's number or a SET's bits.
func (t *Type) memberOperand(in Input) (v uint64, never bool, err error) {
	switch in.Kind {
	case InputInteger, InputWireSigned, InputWireUnsigned:
	default:
		return 0, false, ErrNotPlain
	}
	n, ok := numberOf(in)
	if !ok {
		return 0, false, ErrNotPlain
	}
	u, ok := n.n.uint()
	if !ok {
		return 0, false, ErrNotPlain
	}
	return u, n.n.neg && u != 0, nil
}

// setOperand takes a text as it stands, for a SET is compared as the text of its members, and an integer as bits.
func (t *Type) setOperand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	if in.Kind != InputString {
		u, never, err := t.memberOperand(in)
		if err != nil {
			return dst, 0, err
		}
		if never || len(t.Members) < 64 && u >= 1<<len(t.Members) {
			return dst, MatchNever, nil
		}
		return t.appendSet(dst, u), MatchValue, nil
	}
	text, err := t.textOperand(in, s)
	if err != nil {
		return dst, 0, err
	}
	if _, err := t.co.weigh(nil, text); err != nil {
		return dst, 0, err
	}
	return append(dst, text...), MatchValue, nil
}
