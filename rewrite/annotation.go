package rewrite

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxAnnotation is the longest annotation in characters: what a column COMMENT of MariaDB holds.
// https://mariadb.com/kb/en/create-table/#comment-column-option
const MaxAnnotation = 1024

// The fixed parts of an annotation. Everything that starts with annotationMark claims to be one, whatever its version,
// so that a column whose annotation is damaged or newer than this program is never taken for an ordinary one.
const (
	annotationMark    = "latchkey:"
	annotationVersion = "v1 "
	annotationContext = "context="
	annotationEmpty   = "empty="
	annotationMAC     = " mac="
	maxAnnotationMAC  = 64
)

// Annotation is what a protected column carries in its COMMENT (docs/format.md, section Annotation).
type Annotation struct {
	// Context names the column in key derivation.
	Context string
	// Definition is the declared column definition, the application's own COMMENT included.
	Definition string
	// HasEmpty says that an empty physical value means Empty, in canonical form, where it does not mean the declared DEFAULT:
	// rows from before the column, or from a time when it had another DEFAULT.
	HasEmpty bool
	Empty    []byte
	// MAC authenticates Body.
	MAC []byte
}

// Errors of ParseAnnotation and Annotation.String. They never quote the comment.
var (
	errAnnotationVersion = errors.New("annotation is of a version that is not known here")
	errAnnotationForm    = errors.New("annotation is malformed")
	errAnnotationLong    = fmt.Errorf("annotation is longer than the %d characters of a column comment", MaxAnnotation)
	errAnnotationEmpty   = errors.New("annotation needs a context, a definition and a MAC")
)

// IsAnnotation tells whether a column comment claims to be an annotation, well formed or not.
func IsAnnotation(comment string) bool { return strings.HasPrefix(comment, annotationMark) }

// ParseAnnotation reads a column comment for which IsAnnotation holds. It accepts exactly the texts that String makes, so
// that there is one text for every annotation.
func ParseAnnotation(comment string) (Annotation, error) {
	var a Annotation
	if len(comment) > MaxAnnotation {
		return a, errAnnotationLong
	}
	rest, ok := strings.CutPrefix(comment, annotationMark)
	if !ok {
		return a, errAnnotationForm
	}
	if rest, ok = strings.CutPrefix(rest, annotationVersion); !ok {
		return a, errAnnotationVersion
	}
	if rest, ok = strings.CutPrefix(rest, annotationContext); !ok {
		return a, errAnnotationForm
	}
	// The definition may hold ` mac=` in a comment of the application's; the MAC itself holds hexadecimal digits only.
	end := strings.LastIndex(rest, annotationMAC)
	if end < 0 {
		return a, errAnnotationForm
	}
	digits := rest[end+len(annotationMAC):]
	mac, err := hex.DecodeString(digits)
	if err != nil || len(mac) == 0 || len(mac) > maxAnnotationMAC || strings.ToLower(digits) != digits {
		return a, errAnnotationForm
	}
	context, definition, ok := strings.Cut(rest[:end], " ")
	if !ok {
		return a, errAnnotationForm
	}
	if a.Context, ok = unescapeAnnotation(context, true); !ok {
		return Annotation{}, errAnnotationForm
	}
	if value, has := strings.CutPrefix(definition, annotationEmpty); has {
		if value, definition, ok = strings.Cut(value, " "); !ok {
			return Annotation{}, errAnnotationForm
		}
		if value, ok = unescapeAnnotation(value, true); !ok {
			return Annotation{}, errAnnotationForm
		}
		a.HasEmpty, a.Empty = true, []byte(value)
	}
	if a.Definition, ok = unescapeAnnotation(definition, false); !ok {
		return Annotation{}, errAnnotationForm
	}
	a.MAC = mac
	if a.check() != nil {
		return Annotation{}, errAnnotationForm
	}
	return a, nil
}

func (a Annotation) check() error {
	switch {
	case a.Context == "" || a.Definition == "":
		return errAnnotationEmpty
	case strings.TrimSpace(a.Definition) != a.Definition, strings.HasPrefix(a.Definition, annotationEmpty), !utf8.ValidString(a.Context), !utf8.ValidString(a.Definition):
		return errAnnotationForm
	}
	return nil
}

// Body is the text that the MAC covers: the annotation up to ` mac=`.
func (a Annotation) Body() string {
	empty := ""
	if a.HasEmpty {
		empty = annotationEmpty + escapeAnnotation(string(a.Empty), true) + " "
	}
	return annotationMark + annotationVersion + annotationContext + escapeAnnotation(a.Context, true) + " " + empty +
		escapeAnnotation(a.Definition, false)
}

// String is the annotation as it stands in the COMMENT, without SQL quoting.
func (a Annotation) String() string { return a.Body() + annotationMAC + hex.EncodeToString(a.MAC) }

// FormatAnnotation makes the annotation of a column. mac computes the MAC of a body. An annotation that does not fit a
// column comment is an error: MariaDB would refuse it in strict mode and cut it elsewhere.
func FormatAnnotation(context, definition string, mac func(body []byte) []byte) (string, error) {
	a := Annotation{Context: context, Definition: definition}
	body, err := a.unsigned()
	if err != nil {
		return "", err
	}
	a.MAC = mac([]byte(body))
	if len(a.MAC) == 0 || len(a.MAC) > maxAnnotationMAC {
		return "", errAnnotationEmpty
	}
	text := a.String()
	if len(text) > MaxAnnotation {
		return "", errAnnotationLong
	}
	return text, nil
}

// unsigned gives the body of an annotation that will fit a column comment with the MAC of the proxy.
func (a Annotation) unsigned() (body string, err error) {
	if err := a.check(); err != nil {
		return "", err
	}
	if body = a.Body(); len(body)+len(annotationMAC)+2*proxyMAC > MaxAnnotation {
		return "", errAnnotationLong
	}
	return body, nil
}

// proxyMAC is the length in bytes of the MAC that the proxy makes.
const proxyMAC = 16

// escapeAnnotation writes every byte that is not printable ASCII, and `%` and `\`, as % and two upper-case hexadecimal
// digits. Without a backslash in it the comment reads the same in every sql_mode, and pure ASCII survives every character
// set of a dump. In a context, spaces and `=` are escaped too: a space ends it.
func escapeAnnotation(s string, context bool) string {
	if !needsEscape(s, context) {
		return s
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if escaped(c, context) {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func escaped(c byte, context bool) bool {
	return c < ' ' || c >= 0x7F || c == '%' || c == '\\' || context && (c == ' ' || c == '=')
}

func needsEscape(s string, context bool) bool {
	for i := range len(s) {
		if escaped(s[i], context) {
			return true
		}
	}
	return false
}

// unescapeAnnotation is the inverse of escapeAnnotation; ok is false for text that escapeAnnotation does not write.
func unescapeAnnotation(s string, context bool) (text string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' {
			if escaped(c, context) {
				return "", false
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := upperHex(s[i+1]), upperHex(s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		c = byte(high<<4 | low)
		if !escaped(c, context) {
			return "", false
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), true
}

func upperHex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
