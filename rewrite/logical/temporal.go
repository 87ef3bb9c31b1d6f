package logical

import (
	"encoding/binary"
	"time"
)

// moment is a date, a date and time, or a time of MariaDB: any part may be zero.
type moment struct {
	neg                 bool // of a time only
	year, month, day    int
	hour, min, sec      int // hour up to 838 of a time
	micro               int
	hasDate, hasTime    bool
	moreDigits, foreign bool // digits beyond microseconds; something behind the value, as a time zone
}

// scanner reads digits of a temporal text.
type scanner struct {
	text []byte
}

// digits reads between least and most digits.
func (s *scanner) digits(least, most int) (int, bool) {
	n, v := 0, 0
	for n < len(s.text) && n < most && isDigit(s.text[n]) {
		v = v*10 + int(s.text[n]-'0')
		n++
	}
	if n < least || n < len(s.text) && isDigit(s.text[n]) {
		return 0, false
	}
	s.text = s.text[n:]
	return v, true
}

func (s *scanner) byte(c byte) bool {
	if len(s.text) == 0 || s.text[0] != c {
		return false
	}
	s.text = s.text[1:]
	return true
}

// parseDateTime reads YYYY-MM-DD, alone or with a blank or T and HH:MM[:SS[.ffffff]]. ok is false for every other spelling.
func parseDateTime(text []byte) (m moment, ok bool) {
	s := scanner{text}
	if m.year, ok = s.digits(4, 4); !ok || !s.byte('-') {
		return m, false
	}
	if m.month, ok = s.digits(1, 2); !ok || !s.byte('-') {
		return m, false
	}
	if m.day, ok = s.digits(1, 2); !ok {
		return m, false
	}
	m.hasDate = true
	if len(s.text) == 0 {
		return m, true
	}
	if !s.byte(' ') && !s.byte('T') {
		return m, false
	}
	return m, s.clock(&m, 2)
}

// parseTime reads [-]HH:MM[:SS[.ffffff]] with up to three digits of hours.
func parseTime(text []byte) (m moment, ok bool) {
	s := scanner{text}
	m.neg = s.byte('-')
	return m, s.clock(&m, 3)
}

// clock reads HH:MM[:SS[.ffffff]] to the end.
func (s *scanner) clock(m *moment, hourDigits int) (ok bool) {
	m.hasTime = true
	if m.hour, ok = s.digits(1, hourDigits); !ok || !s.byte(':') {
		return false
	}
	if m.min, ok = s.digits(1, 2); !ok {
		return false
	}
	if s.byte(':') {
		if m.sec, ok = s.digits(1, 2); !ok {
			return false
		}
		if s.byte('.') {
			s.fraction(m)
		}
	}
	m.foreign = len(s.text) > 0
	if !m.foreign {
		return true
	}
	c := s.text[0]
	return c == 'Z' || c == '+' || c == '-'
}

func (s *scanner) fraction(m *moment) {
	unit := 100000
	n := 0
	for n < len(s.text) && isDigit(s.text[n]) {
		m.micro += int(s.text[n]-'0') * unit
		unit /= 10
		n++
	}
	m.moreDigits = n > 6
	s.text = s.text[n:]
}

// wireMoment reads the binary protocol's DATE, DATETIME and TIME.
func wireMoment(in Input) (m moment, ok bool) {
	b := in.Bytes
	if in.Kind == InputWireTime {
		m.hasTime = true
		if len(b) == 0 {
			return m, true
		}
		if len(b) != 8 && len(b) != 12 || b[0] > 1 {
			return m, false
		}
		days := binary.LittleEndian.Uint32(b[1:])
		if days > 34 {
			return m, false
		}
		m.neg = b[0] == 1
		m.hour, m.min, m.sec = int(days)*24+int(b[5]), int(b[6]), int(b[7])
		if b[5] > 23 {
			return m, false
		}
		if len(b) == 12 {
			m.micro = int(binary.LittleEndian.Uint32(b[8:]))
		}
		return m, m.micro < 1e6
	}
	m.hasDate, m.hasTime = true, in.Kind != InputWireDate
	switch len(b) {
	case 11:
		m.micro = int(binary.LittleEndian.Uint32(b[7:]))
		fallthrough
	case 7:
		m.hour, m.min, m.sec = int(b[4]), int(b[5]), int(b[6])
		fallthrough
	case 4:
		m.year, m.month, m.day = int(binary.LittleEndian.Uint16(b)), int(b[2]), int(b[3])
	case 0:
	default:
		return m, false
	}
	return m, m.year <= 9999 && m.micro < 1e6 && (m.hasTime || m.clockZero())
}

func (m *moment) clockZero() bool { return m.hour == 0 && m.min == 0 && m.sec == 0 && m.micro == 0 }
func (m *moment) dateZero() bool  { return m.year == 0 && m.month == 0 && m.day == 0 }

// assignedMoment reads an input of a temporal column. certain says that the input is text or a parameter that MariaDB
// surely refuses when its parts are out of range; a literal with a type word is refused with another error.
func (t *Type) assignedMoment(in Input, s *Session) (m moment, certain bool, err error) {
	ok := false
	text := in.Bytes
	switch in.Kind {
	case InputString:
		if text, err = s.asciiLiteral(in); err != nil {
			return m, false, err
		}
		certain = true
		if t.Kind == KindTime {
			m, ok = parseTime(text)
		} else {
			m, ok = parseDateTime(text)
		}
		if !ok && textError(text) == errIncorrect {
			return m, true, errTemporal
		}
	case InputDate:
		m, ok = parseDateTime(text)
		ok = ok && !m.hasTime
	case InputTimestamp:
		m, ok = parseDateTime(text)
	case InputTime:
		m, ok = parseTime(text)
	case InputWireDate, InputWireDateTime, InputWireTime:
		m, ok = wireMoment(in)
	case InputWireTimestamp:
		m, ok = wireMoment(in)
		ok = ok && m.survivesUTC(s)
	case InputInteger:
		m, ok = integerDate(in)
		ok = ok && t.Kind == KindDate
	}
	if !ok || m.moreDigits || m.foreign && !certain {
		return m, false, ErrNotPlain
	}
	if m.foreign {
		return m, true, errTemporal
	}
	return m, certain, nil
}

// integerDate reads 20240131.
func integerDate(in Input) (m moment, ok bool) {
	v, ok := parseUint(in.Bytes)
	if !ok || in.Negative || v < 10000101 || v > 99991231 {
		return m, false
	}
	return moment{year: int(v / 10000), month: int(v / 100 % 100), day: int(v % 100), hasDate: true}, true
}

// canonicalTemporal converts dates and times in the usual spelling. A fraction longer than the column's is cut silently, as
// MariaDB does unless TIME_ROUND_FRACTIONAL is set.
func (t *Type) canonicalTemporal(dst []byte, in Input, s *Session) ([]byte, error) {
	m, certain, err := t.assignedMoment(in, s)
	if err != nil {
		return dst, err
	}
	err = t.checkMoment(&m, s)
	if err == errTemporal && !certain {
		err = ErrNotPlain
	}
	if err != nil {
		return dst, err
	}
	cut := m.micro % microUnit(t.Scale)
	if cut != 0 && s.TimeRoundFractional {
		return dst, ErrNotPlain
	}
	m.micro -= cut
	if t.Kind == KindTimestamp && !m.dateZero() {
		if err := m.toUTC(s); err != nil {
			if err == errTemporal && !certain {
				err = ErrNotPlain
			}
			return dst, err
		}
	}
	return t.appendMoment(dst, &m), nil
}

// microUnit is the number of microseconds of the last digit of a fraction with scale digits.
func microUnit(scale int) int {
	unit := 1
	for range 6 - scale {
		unit *= 10
	}
	return unit
}

// checkMoment holds a value against the type and sql_mode.
func (t *Type) checkMoment(m *moment, s *Session) error {
	if t.Kind == KindTime {
		switch {
		case m.hasDate:
			return ErrNotPlain
		case m.min > 59 || m.sec > 59 || m.hour > 838:
			return errTemporal
		}
		return nil
	}
	if !m.hasDate {
		return ErrNotPlain
	}
	if m.hour > 23 || m.min > 59 || m.sec > 59 {
		return errTemporal
	}
	if t.Kind == KindDate && !m.clockZero() {
		return ErrNotPlain
	}
	return t.checkDate(m, s)
}

func (t *Type) checkDate(m *moment, s *Session) error {
	switch {
	case m.dateZero():
		if !m.clockZero() {
			return ErrNotPlain
		}
		if s.NoZeroDate {
			return errTemporal
		}
		return nil
	case m.month > 12 || m.day > 31:
		return errTemporal
	case m.month == 0 || m.day == 0:
		if s.NoZeroInDate || t.Kind == KindTimestamp {
			return errTemporal
		}
		return nil
	case m.day > daysIn(m.year, m.month):
		if !s.AllowInvalidDates {
			return errTemporal
		}
		if t.Kind == KindTimestamp {
			return ErrNotPlain
		}
	}
	return nil
}

// daysIn counts as the server does, to which the year 0 is no leap year.
func daysIn(year, month int) int {
	if year == 0 && month == 2 {
		return 28
	}
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// maxTimestamp is 2038-01-19 03:14:07, the last second of a TIMESTAMP.
const maxTimestamp = 1<<31 - 1

// toUTC turns a valid local date and time of the session's zone into UTC. A local time that the zone skips or has twice is
// ErrNotPlain. What a TIMESTAMP cannot hold is errTemporal.
func (m *moment) toUTC(s *Session) error {
	if s.TimeZone == nil {
		return ErrNotPlain
	}
	local := time.Date(m.year, time.Month(m.month), m.day, m.hour, m.min, m.sec, 0, s.TimeZone)
	if !m.sameClock(local) {
		return ErrNotPlain
	}
	// A zone that repeats local times does so by setting its clock back by at most a few hours; the instants with the same
	// local reading are then found at the offsets in force around it.
	for _, around := range [...]time.Duration{-26 * time.Hour, 26 * time.Hour} {
		_, offset := local.Add(around).Zone()
		_, here := local.Zone()
		other := local.Add(time.Duration(here-offset) * time.Second)
		if !other.Equal(local) && m.sameClock(other) {
			return ErrNotPlain
		}
	}
	if unix := local.Unix(); unix < 0 || unix > maxTimestamp || unix == 0 && m.micro == 0 {
		return errTemporal
	}
	utc := local.UTC()
	m.year, m.month, m.day = utc.Year(), int(utc.Month()), utc.Day()
	m.hour, m.min, m.sec = utc.Hour(), utc.Minute(), utc.Second()
	return nil
}

// survivesUTC says that a TIMESTAMP parameter comes out of the server's way through UTC as it went in.
func (m *moment) survivesUTC(s *Session) bool {
	if m.dateZero() {
		return m.clockZero()
	}
	if m.month < 1 || m.month > 12 || m.day < 1 || m.day > daysIn(m.year, m.month) || m.hour > 23 || m.min > 59 || m.sec > 59 {
		return false
	}
	utc := *m
	return utc.toUTC(s) == nil
}

func (m *moment) sameClock(local time.Time) bool {
	return local.Year() == m.year && int(local.Month()) == m.month && local.Day() == m.day &&
		local.Hour() == m.hour && local.Minute() == m.min && local.Second() == m.sec
}

// fromUTC turns a TIMESTAMP's UTC into the session's zone.
func (m *moment) fromUTC(s *Session) error {
	if m.dateZero() {
		return nil
	}
	if s.TimeZone == nil {
		return ErrNotPlain
	}
	local := time.Date(m.year, time.Month(m.month), m.day, m.hour, m.min, m.sec, 0, time.UTC).In(s.TimeZone)
	m.year, m.month, m.day = local.Year(), int(local.Month()), local.Day()
	m.hour, m.min, m.sec = local.Hour(), local.Minute(), local.Second()
	return nil
}

// appendMoment appends the text of the type's kind with its fractional digits.
func (t *Type) appendMoment(dst []byte, m *moment) []byte {
	if t.Kind != KindTime {
		dst = appendPadded(dst, m.year, 4)
		dst = append(dst, '-')
		dst = appendPadded(dst, m.month, 2)
		dst = append(dst, '-')
		dst = appendPadded(dst, m.day, 2)
		if t.Kind == KindDate {
			return dst
		}
		dst = append(dst, ' ')
	} else if m.neg && !m.clockZero() {
		dst = append(dst, '-')
	}
	dst = appendPadded(dst, m.hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, m.min, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, m.sec, 2)
	if t.Scale > 0 {
		dst = append(dst, '.')
		dst = appendPadded(dst, m.micro/microUnit(t.Scale), t.Scale)
	}
	return dst
}

func appendPadded(dst []byte, v, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for ; v > 0 || width > 0; width-- {
		i--
		buf[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, buf[i:]...)
}

// storedMoment reads canonical text.
func (t *Type) storedMoment(canonical []byte) (m moment, err error) {
	ok := false
	if t.Kind == KindTime {
		m, ok = parseTime(canonical)
	} else {
		m, ok = parseDateTime(canonical)
		ok = ok && m.month <= 12 && m.day <= 31 && m.hasTime == (t.Kind != KindDate)
	}
	if !ok || m.foreign || m.moreDigits || m.min > 59 || m.sec > 59 || m.hour > 838 {
		return m, errCorrupt
	}
	return m, nil
}

// temporalText appends the text protocol's form, a TIMESTAMP in the session's zone.
func (t *Type) temporalText(dst, canonical []byte, s *Session) ([]byte, error) {
	m, err := t.storedMoment(canonical)
	if err != nil {
		return dst, err
	}
	if t.Kind == KindTimestamp {
		if err := m.fromUTC(s); err != nil {
			return dst, err
		}
	}
	return t.appendMoment(dst, &m), nil
}

// temporalBinary appends the length byte and as many parts as are not zero:
// https://mariadb.com/kb/en/resultset-row/#timestamp-binary-encoding.
func (t *Type) temporalBinary(dst, canonical []byte, s *Session) ([]byte, error) {
	m, err := t.storedMoment(canonical)
	if err != nil {
		return dst, err
	}
	if t.Kind == KindTimestamp {
		if err := m.fromUTC(s); err != nil {
			return dst, err
		}
	}
	if t.Kind == KindTime {
		if m.clockZero() {
			return append(dst, 0), nil
		}
		dst = append(dst, byte(8+4*boolIndex(m.micro > 0)), byte(boolIndex(m.neg)))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(m.hour/24))
		dst = append(dst, byte(m.hour%24), byte(m.min), byte(m.sec))
	} else {
		switch {
		case m.clockZero() && m.dateZero():
			return append(dst, 0), nil
		case m.clockZero():
			dst = append(dst, 4)
		default:
			dst = append(dst, byte(7+4*boolIndex(m.micro > 0)))
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(m.year))
		dst = append(dst, byte(m.month), byte(m.day))
		if m.clockZero() {
			return dst, nil
		}
		dst = append(dst, byte(m.hour), byte(m.min), byte(m.sec))
	}
	if m.micro > 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(m.micro))
	}
	return dst, nil
}
