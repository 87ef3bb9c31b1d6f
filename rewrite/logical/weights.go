package logical

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// WeightVersion is the version of the weights. It goes into the derivation of tag keys, so it changes with the weights of any
// value that already had some.
const WeightVersion = 2

// weightLevel is one level of a collation's weights of ASCII characters.
type weightLevel struct {
	width   int       // bytes of a weight
	weights string    // 128 weights
	none    [2]uint64 // one bit for each character without a weight of its own: ignorable, or not in the character set
}

// of returns the weight of an ASCII character; ok is false when it has none.
func (l *weightLevel) of(c byte) (string, bool) {
	if l.none[c/64]&(1<<(c%64)) != 0 {
		return "", false
	}
	return l.weights[int(c)*l.width : int(c+1)*l.width], true
}

// errCollation is returned for collations that are weighed neither here nor by WEIGHT_STRING.
var errCollation = errors.New("the sort weights of the collation are not made of levels, so its equality cannot be computed")

// Searchable returns nil when Weights can be computed for values of the type, here or by a server, and why not otherwise.
func (t *Type) Searchable() error {
	if t.co != nil && t.co.weights == weightsNone && t.co.levels == 0 {
		return errCollation
	}
	if (t.Kind == KindFloat || t.Kind == KindDouble) && t.fixed() {
		return errors.New("MariaDB compares FLOAT(M,D) and DOUBLE(M,D) with a tolerance")
	}
	return nil
}

// Weights appends bytes that are equal for two values of the type exactly when MariaDB finds the values equal in the column.
//
// For text they are the server's WEIGHT_STRING under the column's collation: level by level for collations that have several,
// and, for PAD SPACE collations, without the trailing weights of a space on each level. Collations named _bin weigh every
// character, common ones those of the European scripts, all others ASCII; a value with another character, or with one that the
// collation ignores, is [ErrNotPlain]: see [Type.WeightQuery]. For all other types they are the canonical text, without the
// zeros and signs that change no value.
func (t *Type) Weights(dst, canonical []byte) ([]byte, error) {
	if err := t.Searchable(); err != nil {
		return dst, err
	}
	if t.co != nil {
		return t.co.weigh(dst, canonical)
	}
	switch t.Family() {
	case FamilyDecimal, FamilyDateTime, FamilyTimestamp, FamilyTime:
		if bytes.IndexByte(canonical, '.') >= 0 {
			canonical = bytes.TrimRight(canonical, "0")
			canonical = bytes.TrimSuffix(canonical, []byte("."))
		}
	case FamilyFloat, FamilyDouble:
		if string(canonical) == "-0" {
			canonical = canonical[1:]
		}
	}
	return append(dst, canonical...), nil
}

// levelEnd ends the weights of a level where there are several. No character weighs that, and no weight is empty.
const levelEnd = "\x00\x00"

// weigh appends the weights of UTF-8 text.
func (c *collation) weigh(dst, text []byte) ([]byte, error) {
	switch c.weights {
	case weightsNone:
		return dst, ErrNotPlain
	case weightsBinary:
		return c.weighBinary(dst, text)
	}
	out := dst
	levels := weightTables[c.weights-1]
	for i := range levels {
		start := len(out)
		var err error
		if out, err = c.weighLevel(out, text, &levels[i]); err != nil {
			return dst, err
		}
		if c.pad {
			space, _ := levels[i].of(' ')
			out = trimWeights(out, start, space)
		}
		if len(levels) > 1 {
			out = append(out, levelEnd...)
		}
	}
	return out, nil
}

// weighLevel appends the weights of text on one level.
func (c *collation) weighLevel(dst, text []byte, level *weightLevel) ([]byte, error) {
	for i := 0; i < len(text); {
		if b := text[i]; b < utf8.RuneSelf {
			w, ok := level.of(b)
			if !ok {
				return dst, ErrNotPlain
			}
			dst = append(dst, w...)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return dst, errCorrupt
		}
		w, ok := c.wideWeight(r)
		if !ok {
			return dst, ErrNotPlain
		}
		dst = append(dst, w...)
		i += n
	}
	return dst, nil
}

// trimWeights takes trailing weights of a space off out[start:].
func trimWeights(out []byte, start int, space string) []byte {
	for len(space) > 0 && len(out)-start >= len(space) && string(out[len(out)-len(space):]) == space {
		out = out[:len(out)-len(space)]
	}
	return out
}

// wideTable has the weights of the characters of wideRanges: where each ends, two bytes for each, and the weights.
type wideTable struct{ ends, weights string }

// The characters of wideTables: Latin-1 Supplement to Latin Extended B, and Greek to Cyrillic.
const (
	wideFirst, wideLatinEnd = 0xA0, 0x250
	wideGreek, wideEnd      = 0x370, 0x530
)

// wideWeight gives the weights of a character beyond ASCII, if they are known here.
func (c *collation) wideWeight(r rune) (string, bool) {
	if c.wide == 0 {
		return "", false
	}
	i := 0
	switch {
	case r >= wideFirst && r < wideLatinEnd:
		i = int(r - wideFirst)
	case r >= wideGreek && r < wideEnd:
		i = int(r - wideGreek + wideLatinEnd - wideFirst)
	default:
		return "", false
	}
	t := &wideTables[c.wide-1]
	end := func(i int) int { return int(t.ends[2*i])<<8 | int(t.ends[2*i+1]) }
	start := 0
	if i > 0 {
		start = end(i - 1)
	}
	return t.weights[start:end(i)], true
}

// A value whose weights are not known here is weighed by a server, with WeightQuery and AdoptWeights. The server has to
// understand utf8mb4.

// collationLevels gives the levels of the collation's WEIGHT_STRING, from 1.
func (c *collation) collationLevels() []int {
	var levels []int
	for i := range 3 {
		if c.levels&(1<<i) != 0 {
			levels = append(levels, i+1)
		}
	}
	return levels
}

// Weighable says that a server can weigh a value of which Weights is ErrNotPlain.
func (t *Type) Weighable() bool { return t.co != nil && t.co.levels != 0 }

// WeightColumns returns how many result columns WeightQuery has.
func (t *Type) WeightColumns() int { return 2 * len(t.co.collationLevels()) }

// WeightQuery returns the SQL expressions, with commas between, under which a server weighs a value: for each level the value
// and the space. The value is in hexadecimal. Only for a text type of which Weights is ErrNotPlain.
// https://mariadb.com/kb/en/weight_string/
func (t *Type) WeightQuery(canonical []byte) string {
	var b strings.Builder
	for i, level := range t.co.collationLevels() {
		if i > 0 {
			b.WriteByte(',')
		}
		for k, text := range [][]byte{canonical, []byte(" ")} {
			if k > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "WEIGHT_STRING(CONVERT(_utf8mb4 x'%x' USING %s) COLLATE %s LEVEL %d)", text, t.co.charset, t.co.name, level)
		}
	}
	return b.String()
}

// AdoptWeights appends the weights that Weights would give, from the values of WeightQuery's columns.
func (t *Type) AdoptWeights(dst []byte, columns [][]byte) ([]byte, error) {
	if len(columns) != t.WeightColumns() || len(columns) == 0 {
		return dst, ErrNotPlain
	}
	out := dst
	for i := 0; i < len(columns); i += 2 {
		weights, space := columns[i], columns[i+1]
		if weights == nil || len(space) == 0 {
			return dst, ErrNotPlain
		}
		start := len(out)
		out = append(out, weights...)
		if t.co.pad {
			out = trimWeights(out, start, string(space))
		}
		if len(columns) > 2 {
			out = append(out, levelEnd...)
		}
	}
	return out, nil
}

// weighBinary weighs by code point, or by byte in an 8-bit character set.
func (c *collation) weighBinary(dst, text []byte) ([]byte, error) {
	if c.pad {
		text = bytes.TrimRight(text, " ")
	}
	cs := charsets[c.charset]
	if cs.runes != nil {
		out, err := cs.fromUTF8(dst, text, false)
		if err != nil {
			return dst, ErrNotPlain
		}
		return out, nil
	}
	narrow := cs.name == "utf8mb3" || cs.name == "ucs2"
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return dst, errCorrupt
		}
		i += n
		if !narrow {
			dst = append(dst, byte(r>>16))
		}
		dst = append(dst, byte(r>>8), byte(r))
	}
	return dst, nil
}
