package cell

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Opaque is embedded, by value and first, in every type that holds key bytes.
// It makes all printing, logging and encoding of the type yield "[redacted]",
// and makes == on the type a compile error, because == takes a time that
// depends on the bytes.
type Opaque struct{ _ [0]func() }

// String returns a fixed text.
func (Opaque) String() string { return redacted }

// GoString returns a fixed text.
func (Opaque) GoString() string { return redacted }

// Format writes a fixed text for every verb; %x and %d would otherwise print
// fields by reflection.
func (Opaque) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue returns a fixed text.
func (Opaque) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a fixed text. JSON, XML, YAML and gob encoders use it or
// MarshalJSON.
func (Opaque) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns a fixed text.
func (Opaque) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
