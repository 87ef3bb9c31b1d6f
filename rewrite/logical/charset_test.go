package logical

import (
	"bytes"
	"fmt"
	"testing"
)

func TestASCIIIsTheSameInEveryASCIIBasedCharset(t *testing.T) {
	for name, c := range charsets {
		if c.runes == nil || !c.asciiBased() {
			continue
		}
		for b := range 128 {
			if c.runes[b] != rune(b) {
				t.Errorf("%s: byte %#x is %U", name, b, c.runes[b])
			}
		}
	}
}

func TestTextComesBackFromEveryCharset(t *testing.T) {
	for name, c := range charsets {
		if !c.converted() {
			continue
		}
		var text []byte
		for r := rune(0); r < 0x3000; r++ {
			if encoded, ok := encodeRune(c, r); ok {
				text = append(text, string(r)...)
				back, err := c.toUTF8(nil, encoded)
				if err != nil || string(back) != string(r) {
					t.Fatalf("%s: %U became %q (%v)", name, r, back, err)
				}
			}
		}
		encoded, err := c.fromUTF8(nil, text, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := c.toUTF8(nil, encoded); err != nil || !bytes.Equal(back, text) {
			t.Errorf("%s: %d bytes of text did not come back (%v)", name, len(text), err)
		}
		if n := c.encodedLen(text); n != len(encoded) {
			t.Errorf("%s: encodedLen %d, want %d", name, n, len(encoded))
		}
	}
}

// encodeRune encodes one character, if the character set has it.
func encodeRune(c *charset, r rune) ([]byte, bool) {
	out, err := c.fromUTF8(nil, []byte(string(r)), false)
	return out, err == nil
}

func TestConversionAgreesWithTheServer(t *testing.T) {
	s := newSession(t)
	text := []byte("aé€Ж漢ı😀\u0301ÿ\u0081?")
	for name, c := range charsets {
		if !c.converted() {
			continue
		}
		got, err := c.fromUTF8(nil, text, true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := s.rows(fmt.Sprintf("SELECT CAST(CONVERT(_utf8mb4 x'%x' USING %s) AS BINARY)", text, name))[0]
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, the server converts to %x", name, got, want)
		}
	}
}

func TestCharsetsByCollationID(t *testing.T) {
	for id, want := range map[uint16]string{8: "latin1", 33: "utf8mb3", 45: "utf8mb4", 46: "utf8mb4", 63: "binary", 224: "utf8mb4", 2304: "utf8mb4"} {
		if got, ok := CharsetOfCollation(id); !ok || got != want {
			t.Errorf("collation %d is of %q (%v), want %q", id, got, ok, want)
		}
	}
	if name, ok := CharsetOfCollation(0); ok {
		t.Errorf("collation 0 is of %q", name)
	}
	for name, want := range map[string]uint16{"utf8": 33, "UTF8MB4": 45, "latin1": 8, "binary": 63} {
		if got, ok := DefaultCollationID(name); !ok || got != want {
			t.Errorf("%s has the default collation %d (%v), want %d", name, got, ok, want)
		}
	}
}
