package logical

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// WeightVersion is the version of the weights. It goes into the derivation of tag keys, so it changes with the weights of any
// value that already had some.
const WeightVersion = 1

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

// errCollation is returned for collations whose weights are not known here.
var errCollation = errors.New("the collation has contractions, so its equality cannot be computed from single characters")

// Searchable returns nil when Weights can be computed for values of the type, and why not otherwise.
func (t *Type) Searchable() error {
	if t.co != nil && t.co.weights == weightsNone {
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
// and, for PAD SPACE collations, without the weights of trailing characters that weigh as much as a space. Collations named
// _bin weigh every character; all others only ASCII, and a value with another character, or with one that the collation
// ignores, is ErrNotPlain. For all other types they are the canonical text, without the zeros and signs that change no value.
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

// weigh appends the weights of UTF-8 text.
func (c *collation) weigh(dst, text []byte) ([]byte, error) {
	switch c.weights {
	case weightsNone:
		return dst, ErrNotPlain
	case weightsBinary:
		return c.weighBinary(dst, text)
	}
	levels := weightTables[c.weights-1]
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return dst, ErrNotPlain
		}
		for i := range levels {
			if _, ok := levels[i].of(b); !ok {
				return dst, ErrNotPlain
			}
		}
	}
	if c.pad {
		for len(text) > 0 && likeSpace(levels, text[len(text)-1]) {
			text = text[:len(text)-1]
		}
	}
	for i := range levels {
		for _, b := range text {
			w, _ := levels[i].of(b)
			dst = append(dst, w...)
		}
	}
	return dst, nil
}

// likeSpace says that an ASCII character weighs as much as a space on every level.
func likeSpace(levels []weightLevel, b byte) bool {
	for i := range levels {
		w, _ := levels[i].of(b)
		space, _ := levels[i].of(' ')
		if w != space {
			return false
		}
	}
	return true
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
