package logical

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

//go:generate go run ./gen -o tables.go

// charset is one of the server's character sets: https://mariadb.com/kb/en/supported-character-sets-and-collations/.
type charset struct {
	name      string
	maxLen    int        // most bytes of a character
	defaultID uint16     // id of the default collation
	runes     *[256]rune // of 8-bit sets: the character of each byte, -1 for none; nil for all others
}

// collation is one of the server's collations.
type collation struct {
	id      uint16
	name    string
	charset string
	pad     bool  // PAD SPACE: trailing spaces are ignored
	levels  uint8 // bit 0 for the first level of WEIGHT_STRING, and so on; 0 when it is not made of levels
	weights int   // from 1: index+1 into weightTables; else one of the constants
	wide    int   // from 1: index+1 into wideTables; 0 for none
}

// How a collation weighs, when not by a table.
const (
	weightsNone   = 0  // contractions, or a character set that is not converted here
	weightsBinary = -1 // by code point or by byte of an 8-bit set
	weightsBytes  = -2 // the collation binary
)

var (
	errMalformed     = errors.New("bytes that are no text of their character set")
	errUnmappable    = errors.New("a character that the character set does not have")
	errNoConversion  = errors.New("a character set that is not converted here")
	errUnknownNaming = errors.New("an unknown character set or collation")
)

// findCharset returns a character set by name; utf8 is utf8mb3 and binary has no characters.
func findCharset(name string) (*charset, error) {
	if c, ok := charsets[name]; ok {
		return c, nil
	}
	if c, ok := charsets[foldName(name)]; ok {
		return c, nil
	}
	return nil, errUnknownNaming
}

func foldName(name string) string {
	name = strings.ToLower(name)
	if name == "utf8" {
		return "utf8mb3"
	}
	if rest, ok := strings.CutPrefix(name, "utf8_"); ok {
		return "utf8mb3_" + rest
	}
	return name
}

// findCollation returns a collation by name. A name without a character set (uca1400_ai_ci) is completed by in.
func findCollation(name, in string) (*collation, error) {
	name = foldName(name)
	full := in + "_" + name
	for i := range collations {
		if collations[i].name == name || collations[i].name == full {
			return &collations[i], nil
		}
	}
	return nil, errUnknownNaming
}

func collationByID(id uint16) *collation {
	lo, hi := 0, len(collations)
	for lo < hi {
		mid := (lo + hi) / 2
		if collations[mid].id < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(collations) && collations[lo].id == id {
		return &collations[lo]
	}
	return nil
}

// CharsetOfCollation returns the character set of a collation id as the handshake and column definitions carry it.
func CharsetOfCollation(id uint16) (string, bool) {
	c := collationByID(id)
	if c == nil {
		return "", false
	}
	return c.charset, true
}

// DefaultCollationID returns the id of a character set's default collation, which column definitions carry.
func DefaultCollationID(charset string) (uint16, bool) {
	c, err := findCharset(charset)
	if err != nil {
		return 0, false
	}
	return c.defaultID, true
}

// DefaultCollation returns the name of a character set's default collation.
func DefaultCollation(charset string) (string, error) {
	c, err := findCharset(charset)
	if err != nil {
		return "", declarationError("the character set is unknown")
	}
	return collationByID(c.defaultID).name, nil
}

// ResolveCollation returns the full name and the character set of a collation. One that is named without a character set
// (uca1400_ai_ci) is completed by in.
func ResolveCollation(name, in string) (collation, charset string, err error) {
	c, err := findCollation(name, foldName(in))
	if err != nil {
		return "", "", declarationError("the collation is unknown")
	}
	return c.name, c.charset, nil
}

// width returns the bytes of a code unit for the fixed-width Unicode sets, 1 for all others.
func (c *charset) width() int {
	switch c.name {
	case "ucs2", "utf16", "utf16le":
		return 2
	case "utf32":
		return 4
	}
	return 1
}

// asciiBased says that ASCII text is the same bytes in the character set.
func (c *charset) asciiBased() bool { return c.width() == 1 && c.name != "swe7" }

// converted says that text of the character set is converted here beyond ASCII.
func (c *charset) converted() bool {
	return c.runes != nil || c.name == "utf8mb4" || c.name == "utf8mb3" || c.width() > 1
}

// isASCII reports whether b holds ASCII only.
func isASCII[T string | []byte](b T) bool {
	for i := range len(b) {
		if b[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// toUTF8 appends src, text of the character set, as UTF-8.
func (c *charset) toUTF8(dst, src []byte) ([]byte, error) {
	if c.asciiBased() && isASCII(src) {
		return append(dst, src...), nil
	}
	switch {
	case c.runes != nil:
		for _, b := range src {
			r := c.runes[b]
			if r < 0 {
				return dst, errMalformed
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, nil
	case c.name == "utf8mb4":
		if !utf8.Valid(src) {
			return dst, errMalformed
		}
		return append(dst, src...), nil
	case c.name == "utf8mb3":
		if !utf8.Valid(src) || hasSupplementary(src) {
			return dst, errMalformed
		}
		return append(dst, src...), nil
	case c.width() > 1:
		return c.wideToUTF8(dst, src)
	}
	return dst, errNoConversion
}

// isUTF8 reports whether bytes of the character set are the same text in UTF-8, as far as that is known at a glance.
func (c *charset) isUTF8(b []byte) bool {
	return c.asciiBased() && isASCII(b) || c.name == "utf8mb4" && utf8.Valid(b)
}

// hasSupplementary reports whether valid UTF-8 holds a character beyond U+FFFF.
func hasSupplementary(b []byte) bool {
	for _, c := range b {
		if c >= 0xF0 {
			return true
		}
	}
	return false
}

func (c *charset) wideToUTF8(dst, src []byte) ([]byte, error) {
	w := c.width()
	if len(src)%w != 0 {
		return dst, errMalformed
	}
	for i := 0; i < len(src); i += w {
		r := c.unit(src[i:])
		if utf16.IsSurrogate(r) {
			if c.name == "ucs2" || c.name == "utf32" || i+4 > len(src) {
				return dst, errMalformed
			}
			r = utf16.DecodeRune(r, c.unit(src[i+2:]))
			if r == utf8.RuneError {
				return dst, errMalformed
			}
			i += 2
		}
		if r < 0 || r > utf8.MaxRune {
			return dst, errMalformed
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

func (c *charset) unit(b []byte) rune {
	switch c.name {
	case "utf16le":
		return rune(b[0]) | rune(b[1])<<8
	case "utf32":
		return rune(b[0])<<24 | rune(b[1])<<16 | rune(b[2])<<8 | rune(b[3])
	}
	return rune(b[0])<<8 | rune(b[1])
}

// fromUTF8 appends valid UTF-8 text in the character set. With lossy set, a character that the set does not have becomes a
// question mark, as in the server's results; else it is errUnmappable.
func (c *charset) fromUTF8(dst, text []byte, lossy bool) ([]byte, error) {
	if c.name == "utf8mb4" || c.asciiBased() && isASCII(text) {
		return append(dst, text...), nil
	}
	if !c.converted() {
		return dst, errNoConversion
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return dst, errMalformed
		}
		i += n
		out, ok := c.appendRune(dst, r)
		if !ok {
			if !lossy {
				return dst, errUnmappable
			}
			if out, ok = c.appendRune(dst, '?'); !ok {
				return dst, errNoConversion
			}
		}
		dst = out
	}
	return dst, nil
}

func (c *charset) appendRune(dst []byte, r rune) ([]byte, bool) {
	switch c.name {
	case "utf8mb3":
		return utf8.AppendRune(dst, r), r <= 0xFFFF
	case "ucs2":
		return append(dst, byte(r>>8), byte(r)), r <= 0xFFFF
	case "utf32":
		return append(dst, byte(r>>24), byte(r>>16), byte(r>>8), byte(r)), true
	case "utf16", "utf16le":
		units := [2]rune{r}
		n := 1
		if r > 0xFFFF {
			units[0], units[1] = utf16.EncodeRune(r)
			n = 2
		}
		for _, u := range units[:n] {
			if c.name == "utf16" {
				dst = append(dst, byte(u>>8), byte(u))
			} else {
				dst = append(dst, byte(u), byte(u>>8))
			}
		}
		return dst, true
	}
	if r < 0x80 && c.runes[r] == r {
		return append(dst, byte(r)), true
	}
	for b, have := range c.runes {
		if have == r {
			return append(dst, byte(b)), true
		}
	}
	return dst, false
}

// encodedLen returns the bytes that valid UTF-8 text takes in the character set, -1 when it does not have a character.
func (c *charset) encodedLen(text []byte) int {
	if c.name == "utf8mb4" || c.asciiBased() && isASCII(text) {
		return len(text)
	}
	out, err := c.fromUTF8(nil, text, false)
	if err != nil {
		return -1
	}
	return len(out)
}
