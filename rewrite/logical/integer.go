package logical

import (
	"encoding/binary"
	"math"
	"strconv"
)

// integerBits are the widths of the integer types.
var integerBits = map[Kind]uint{KindTinyInt: 8, KindSmallInt: 16, KindMediumInt: 24, KindInt: 32, KindBigInt: 64}

// canonicalInteger converts numbers without a fraction in range, and texts of such a number.
func (t *Type) canonicalInteger(dst []byte, in Input, s *Session) ([]byte, error) {
	n, err := t.assignedNumber(in, s)
	if err != nil {
		return dst, err
	}
	if !n.integral() {
		return dst, ErrNotPlain
	}
	if !t.holds(n) {
		return dst, errOutOfRange
	}
	n.frac = nil
	return n.appendText(dst), nil
}

// assignedNumber reads the input of an exact numeric column.
func (t *Type) assignedNumber(in Input, s *Session) (number, error) {
	if in.Kind == InputString {
		text, err := s.asciiLiteral(in)
		if err != nil {
			return number{}, err
		}
		return textNumber(text)
	}
	if in.Kind == InputHexNumber && len(in.Bytes) > 8 {
		return number{}, ErrNotPlain
	}
	v, ok := numberOf(in)
	if !ok {
		return number{}, ErrNotPlain
	}
	if !v.approx {
		return v.n, nil
	}
	n, ok := v.integerValue()
	if t.Family() == FamilyDecimal && !ok {
		n, ok = exact(v.f)
	}
	if !ok {
		return number{}, ErrNotPlain
	}
	return n, nil
}

// holds says that an integral number is in the range of the type.
func (t *Type) holds(n number) bool {
	v, ok := number{whole: n.whole}.uint()
	if !ok {
		return false
	}
	bits := integerBits[t.Kind]
	switch {
	case v == 0:
		return true
	case t.Unsigned:
		return !n.neg && (bits == 64 || v < 1<<bits)
	case n.neg:
		return v <= 1<<(bits-1)
	}
	return v <= 1<<(bits-1)-1
}

// integerText appends the text protocol's form: zero-filled to the display width when declared so.
func (t *Type) integerText(dst, canonical []byte) []byte {
	if t.Zerofill {
		for range t.Length - len(canonical) {
			dst = append(dst, '0')
		}
	}
	return append(dst, canonical...)
}

func (t *Type) integerBinary(dst, canonical []byte) ([]byte, error) {
	var v uint64
	if t.Unsigned {
		u, ok := parseUint(canonical)
		if !ok {
			return dst, errCorrupt
		}
		v = u
	} else {
		i, err := strconv.ParseInt(string(canonical), 10, 64)
		if err != nil {
			return dst, errCorrupt
		}
		v = uint64(i)
	}
	switch t.Kind {
	case KindTinyInt:
		return append(dst, byte(v)), nil
	case KindSmallInt:
		return binary.LittleEndian.AppendUint16(dst, uint16(v)), nil
	case KindBigInt:
		return binary.LittleEndian.AppendUint64(dst, v), nil
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(v)), nil
}

// canonicalDecimal converts numbers that fit, padding the fraction with zeros. Digits that MariaDB would round away are not plain.
func (t *Type) canonicalDecimal(dst []byte, in Input, s *Session) ([]byte, error) {
	n, err := t.assignedNumber(in, s)
	if err != nil {
		return dst, err
	}
	n, err = t.scaled(n)
	if err != nil {
		return dst, err
	}
	return n.appendText(dst), nil
}

// scaled gives n exactly Scale digits behind the point.
func (t *Type) scaled(n number) (number, error) {
	if n.neg && t.Unsigned && !n.zero() || len(n.whole) > t.Length-t.Scale {
		return n, errOutOfRange
	}
	if len(n.frac) > t.Scale {
		if !allZero(n.frac[t.Scale:]) {
			return n, ErrNotPlain
		}
		n.frac = n.frac[:t.Scale:t.Scale]
		return n, nil
	}
	frac := make([]byte, t.Scale)
	for i := copy(frac, n.frac); i < len(frac); i++ {
		frac[i] = '0'
	}
	n.frac = frac
	return n, nil
}

// canonicalYear converts 0 and 1901 to 2155, and the two-digit years that MariaDB completes.
func (t *Type) canonicalYear(dst []byte, in Input, s *Session) ([]byte, error) {
	text := in.Kind == InputString
	if in.Kind == InputHexNumber || in.Kind == InputBit {
		return dst, ErrNotPlain
	}
	n, err := t.assignedNumber(in, s)
	if err != nil {
		return dst, err
	}
	v, ok := number{whole: n.whole}.uint()
	switch {
	case !n.integral() || text && len(in.Bytes) != 4 && len(in.Bytes) > 2:
		return dst, ErrNotPlain
	case text && len(n.frac)+boolIndex(in.Bytes[0] == '+' || in.Bytes[0] == '-') > 0:
		return dst, ErrNotPlain
	case n.neg && v != 0:
		return dst, errOutOfRange
	case !ok || v > 2155 || v >= 100 && v <= 1900:
		return dst, errOutOfRange
	case len(n.frac) > 0 && v < 100:
		return dst, ErrNotPlain
	case v == 0 && text && len(in.Bytes) < 4:
		v = 2000
	case v == 0:
		return append(dst, "0000"...), nil
	case v < 70 && !(text && len(in.Bytes) == 4):
		v += 2000
	case v < 100 && !(text && len(in.Bytes) == 4):
		v += 1900
	case v < 100:
		return dst, ErrNotPlain
	}
	return strconv.AppendUint(dst, v, 10), nil
}

// canonicalBit converts non-negative integers and, as MariaDB does, the bytes of texts and hexadecimal strings. The canonical
// text is the number in decimal.
func (t *Type) canonicalBit(dst []byte, in Input, s *Session) ([]byte, error) {
	var v uint64
	switch in.Kind {
	case InputString, InputHexString, InputWireBytes, InputHexNumber, InputBit:
		raw, _, err := s.literal(in)
		if err != nil {
			return dst, err
		}
		for len(raw) > 0 && raw[0] == 0 {
			raw = raw[1:]
		}
		if len(raw) > 8 {
			return dst, ErrNotPlain
		}
		for _, b := range raw {
			v = v<<8 | uint64(b)
		}
	default:
		n, ok := numberOf(in)
		if !ok {
			return dst, ErrNotPlain
		}
		i, ok := n.integerValue()
		if !ok || i.neg && !i.zero() {
			return dst, ErrNotPlain
		}
		if v, ok = i.uint(); !ok {
			return dst, ErrNotPlain
		}
	}
	if t.Length < 64 && v >= 1<<t.Length {
		return dst, errTooLong
	}
	return strconv.AppendUint(dst, v, 10), nil
}

// bitBytes appends the value in (n+7)/8 bytes, big endian, as both protocols carry it.
func (t *Type) bitBytes(dst, canonical []byte) ([]byte, error) {
	v, ok := parseUint(canonical)
	if !ok {
		return dst, errCorrupt
	}
	for i := (t.Length+7)/8 - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst, nil
}

// canonicalFloat converts every number in range: MariaDB rounds to the nearest FLOAT or DOUBLE without a word.
func (t *Type) canonicalFloat(dst []byte, in Input, s *Session) ([]byte, error) {
	f, err := t.assignedFloat(in, s)
	if err != nil {
		return dst, err
	}
	if f, err = t.storedFloat(f); err != nil {
		return dst, err
	}
	return t.appendFloat(dst, f), nil
}

func (t *Type) assignedFloat(in Input, s *Session) (float64, error) {
	if in.Kind == InputString {
		text, err := s.asciiLiteral(in)
		if err != nil {
			return 0, err
		}
		if !isFloatText(text) {
			return 0, textError(text)
		}
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return 0, errOutOfRange
		}
		return f, nil
	}
	v, ok := numberOf(in)
	if !ok {
		return 0, ErrNotPlain
	}
	if v.approx {
		return v.f, nil
	}
	return v.n.float(), nil
}

// storedFloat rounds to the declared decimals and the width of the type, and checks the range, as Field_real::store does.
func (t *Type) storedFloat(f float64) (float64, error) {
	limit := math.MaxFloat64
	if t.Kind == KindFloat {
		limit = math.MaxFloat32
	}
	if t.fixed() {
		unit := math.Pow10(t.Scale)
		limit = min(limit, math.Pow10(t.Length-t.Scale)-1/unit)
		whole := math.Floor(f)
		f = whole + math.RoundToEven((f-whole)*unit)/unit
	}
	if t.Unsigned && f < 0 || f > limit || f < -limit {
		return 0, errOutOfRange
	}
	if t.Kind == KindFloat {
		f = float64(float32(f))
	}
	if f == 0 {
		return 0, nil // the server stores no negative zero
	}
	return f, nil
}

// appendFloat appends the canonical text: the shortest digits that give the value back, with an exponent of at least two digits
// and its sign when it is below -4 or above 5.
func (t *Type) appendFloat(dst []byte, f float64) []byte {
	bits := 64
	if t.Kind == KindFloat {
		bits = 32
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

func (t *Type) parseFloat(canonical []byte) (float64, error) {
	bits := 64
	if t.Kind == KindFloat {
		bits = 32
	}
	f, err := strconv.ParseFloat(string(canonical), bits)
	if err != nil || !isFloatText(canonical) {
		return 0, errCorrupt
	}
	return f, nil
}

// floatText appends the text protocol's form: the declared decimals, else the shortest digits of a DOUBLE and six
// significant digits of a FLOAT.
func (t *Type) floatText(dst, canonical []byte) ([]byte, error) {
	f, err := t.parseFloat(canonical)
	if err != nil {
		return dst, err
	}
	switch {
	case t.fixed():
		return strconv.AppendFloat(dst, f, 'f', t.Scale, 64), nil
	case t.Kind == KindFloat:
		return appendGeneral(dst, f, 6), nil
	}
	return appendGeneral(dst, f, -1), nil
}

func (t *Type) floatBinary(dst, canonical []byte) ([]byte, error) {
	f, err := t.parseFloat(canonical)
	if err != nil {
		return dst, err
	}
	if t.Kind == KindFloat {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
}

// appendGeneral prints f as my_gcvt of strings/dtoa.c does with space enough: digits significant ones at most (-1: the
// shortest that give f back), without an exponent while the number has at most 15 digits before or 14 zeros behind the point.
func appendGeneral(dst []byte, f float64, digits int) []byte {
	var buf [32]byte
	prec := digits
	if digits > 0 {
		prec = digits - 1
	}
	e := strconv.AppendFloat(buf[:0], math.Abs(f), 'e', prec, 64)
	mark := len(e) - 1
	for e[mark] != 'e' {
		mark--
	}
	exponent, _ := strconv.Atoi(string(e[mark+1:]))
	sig := make([]byte, 0, 24)
	for _, c := range e[:mark] {
		if c != '.' {
			sig = append(sig, c)
		}
	}
	for len(sig) > 1 && sig[len(sig)-1] == '0' {
		sig = sig[:len(sig)-1]
	}
	if math.Signbit(f) {
		dst = append(dst, '-')
	}
	if f == 0 {
		return append(dst, '0')
	}
	point := exponent + 1 // the digits before the point
	const most = 15       // MAX_DECPT_FOR_F_FORMAT
	switch {
	case point < -most+1 || point > most && len(sig) <= point:
		dst = append(dst, sig[0])
		if len(sig) > 1 {
			dst = append(dst, '.')
			dst = append(dst, sig[1:]...)
		}
		dst = append(dst, 'e')
		return strconv.AppendInt(dst, int64(exponent), 10)
	case point <= 0:
		dst = append(dst, "0."...)
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, sig...)
	case point >= len(sig):
		dst = append(dst, sig...)
		for range point - len(sig) {
			dst = append(dst, '0')
		}
		return dst
	}
	dst = append(dst, sig[:point]...)
	dst = append(dst, '.')
	return append(dst, sig[point:]...)
}
