package logical

import (
	"encoding/binary"
	"math"
	"strconv"
)

// number is a decimal number: digits without leading zeros before the point, and all digits behind it. Its slices borrow.
type number struct {
	neg   bool
	whole []byte
	frac  []byte
}

// maxDigits caps the digits of a decimal number: beyond 65 MariaDB's DECIMAL arithmetic cuts or overflows.
const maxDigits = 65

// parseNumber reads digits with an optional point, without sign or space.
func parseNumber(text []byte) (number, bool) {
	i := 0
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	n := number{whole: text[:i]}
	if i < len(text) {
		if text[i] != '.' {
			return number{}, false
		}
		n.frac = text[i+1:]
		for _, c := range n.frac {
			if !isDigit(c) {
				return number{}, false
			}
		}
	}
	if len(n.whole)+len(n.frac) == 0 {
		return number{}, false
	}
	for len(n.whole) > 0 && n.whole[0] == '0' {
		n.whole = n.whole[1:]
	}
	return n, true
}

// parseSigned reads a number with an optional sign.
func parseSigned(text []byte) (number, bool) {
	neg := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		neg = text[0] == '-'
		text = text[1:]
	}
	n, ok := parseNumber(text)
	n.neg = neg
	return n, ok
}

func (n number) digits() int { return len(n.whole) + len(n.frac) }

func allZero(digits []byte) bool {
	for _, c := range digits {
		if c != '0' {
			return false
		}
	}
	return true
}

func (n number) zero() bool { return len(n.whole) == 0 && allZero(n.frac) }

// integral says that nothing but zeros stands behind the point.
func (n number) integral() bool { return allZero(n.frac) }

// appendText appends the number as MariaDB prints a DECIMAL with its digits behind the point; zero has no sign.
func (n number) appendText(dst []byte) []byte {
	if n.neg && !n.zero() {
		dst = append(dst, '-')
	}
	if len(n.whole) == 0 {
		dst = append(dst, '0')
	}
	dst = append(dst, n.whole...)
	if len(n.frac) > 0 {
		dst = append(dst, '.')
		dst = append(dst, n.frac...)
	}
	return dst
}

// uint returns the number as an integer without its sign; ok is false when it has a fraction or does not fit.
func (n number) uint() (v uint64, ok bool) {
	if !n.integral() {
		return 0, false
	}
	if len(n.whole) == 0 {
		return 0, true
	}
	return parseUint(n.whole)
}

func parseUint(text []byte) (uint64, bool) {
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		d := uint64(c - '0')
		if v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// float returns the nearest DOUBLE, as my_strtod does.
func (n number) float() float64 {
	f, _ := strconv.ParseFloat(string(n.appendText(nil)), 64)
	return f
}

// significant counts the digits from the first to the last that is not zero.
func (n number) significant() int {
	all := append(append([]byte(nil), n.whole...), n.frac...)
	for len(all) > 0 && all[0] == '0' {
		all = all[1:]
	}
	for len(all) > 0 && all[len(all)-1] == '0' {
		all = all[:len(all)-1]
	}
	return len(all)
}

// numeric is an input read as a number: exact (n) or approximate (f).
type numeric struct {
	approx bool
	n      number
	f      float64
}

// numberOf reads a numeric literal or parameter, TRUE, FALSE, and 0x or b” literals, which are integers in a numeric
// context. ok is false for every other kind.
func numberOf(in Input) (v numeric, ok bool) {
	switch in.Kind {
	case InputTrue:
		v.n = number{neg: in.Negative, whole: []byte("1")}
	case InputFalse:
	case InputInteger, InputDecimal:
		if v.n, ok = parseNumber(in.Bytes); !ok {
			return v, false
		}
		v.n.neg = in.Negative
	case InputWireDecimal:
		if v.n, ok = parseSigned(in.Bytes); !ok {
			return v, false
		}
	case InputHexNumber, InputBit:
		if len(in.Bytes) > 8 {
			return v, false
		}
		var u uint64
		for _, b := range in.Bytes {
			u = u<<8 | uint64(b)
		}
		v.n = uintNumber(u)
	case InputWireUnsigned, InputWireSigned:
		u, ok := wireInteger(in.Bytes)
		if !ok {
			return v, false
		}
		if in.Kind == InputWireSigned {
			shift := 64 - 8*len(in.Bytes)
			if signed := int64(u<<shift) >> shift; signed < 0 {
				v.n = uintNumber(-uint64(signed))
				v.n.neg = true
				break
			}
		}
		v.n = uintNumber(u)
	case InputFloat:
		f, err := strconv.ParseFloat(string(in.Bytes), 64)
		if err != nil || !isFloatText(in.Bytes) {
			return v, false
		}
		if in.Negative {
			f = -f
		}
		v.approx, v.f = true, f
	case InputWireFloat:
		if len(in.Bytes) != 4 {
			return v, false
		}
		v.approx, v.f = true, float64(math.Float32frombits(binary.LittleEndian.Uint32(in.Bytes)))
	case InputWireDouble:
		if len(in.Bytes) != 8 {
			return v, false
		}
		v.approx, v.f = true, math.Float64frombits(binary.LittleEndian.Uint64(in.Bytes))
	default:
		return v, false
	}
	if v.approx && (math.IsNaN(v.f) || math.IsInf(v.f, 0)) {
		return v, false
	}
	return v, v.n.digits() <= maxDigits
}

func uintNumber(u uint64) number {
	if u == 0 {
		return number{}
	}
	return number{whole: strconv.AppendUint(nil, u, 10)}
}

func wireInteger(raw []byte) (uint64, bool) {
	switch len(raw) {
	case 1:
		return uint64(raw[0]), true
	case 2:
		return uint64(binary.LittleEndian.Uint16(raw)), true
	case 4:
		return uint64(binary.LittleEndian.Uint32(raw)), true
	case 8:
		return binary.LittleEndian.Uint64(raw), true
	}
	return 0, false
}

// isFloatText reports whether text is [+-]digits[.digits][e[+-]digits], the numbers that MariaDB and strconv read alike.
func isFloatText(text []byte) bool {
	i, digits := 0, 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	for point := false; i < len(text) && (isDigit(text[i]) || text[i] == '.' && !point); i++ {
		if text[i] == '.' {
			point = true
		} else {
			digits++
		}
	}
	if digits == 0 || digits > 700 {
		return false
	}
	if i == len(text) {
		return true
	}
	if text[i] != 'e' && text[i] != 'E' {
		return false
	}
	i++
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	if i == len(text) || len(text)-i > 5 {
		return false
	}
	for ; i < len(text); i++ {
		if !isDigit(text[i]) {
			return false
		}
	}
	return true
}

// exact returns an approximate number as decimal digits: MariaDB converts a DOUBLE to DECIMAL by its shortest digits. ok is
// false when they need an exponent that a DECIMAL would not have.
func exact(f float64) (number, bool) {
	if math.Abs(f) >= 1e30 || f != 0 && math.Abs(f) < 1e-30 {
		return number{}, false
	}
	return parseSigned(strconv.AppendFloat(nil, f, 'f', -1, 64))
}

// integerValue returns what the input is as an integer that a conversion would not round.
func (v numeric) integerValue() (number, bool) {
	if !v.approx {
		return v.n, v.n.integral()
	}
	if v.f != math.Trunc(v.f) || math.Abs(v.f) > 1<<53 {
		return number{}, false
	}
	return exact(v.f)
}

// textNumber classifies a text that is assigned to a numeric column. plain texts give a number; those that MariaDB surely
// refuses give its error.
func textNumber(text []byte) (number, error) {
	n, ok := parseSigned(text)
	if ok {
		if n.digits() > maxDigits {
			return n, ErrNotPlain
		}
		return n, nil
	}
	return n, textError(text)
}

// textError returns the error for a text that is no number, ErrNotPlain when MariaDB might read one.
func textError(text []byte) error {
	if len(text) == 0 {
		return errIncorrect
	}
	c := text[0]
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return errIncorrect
	}
	return ErrNotPlain
}
