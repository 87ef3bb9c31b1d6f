package logical

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, def := range declarations {
		f.Add(def)
	}
	f.Fuzz(func(t *testing.T, def string) {
		typ, err := Parse(def)
		if err != nil {
			return
		}
		again, err := Parse(typ.String())
		if err != nil {
			t.Fatalf("%q is not parsed again: %v", typ.String(), err)
		}
		if again.String() != typ.String() || !bytes.Equal(again.Default, typ.Default) {
			t.Fatalf("%q became %q", typ.String(), again.String())
		}
		typ.Definition(&Session{ResultsCharset: "utf8mb4"})
		typ.MaxCanonical()
	})
}

// fuzzTypes are the types that the fuzzers choose from.
func fuzzTypes(tb testing.TB) []*Type {
	var out []*Type
	for _, c := range typeCases {
		typ, err := Parse(c.def)
		if err != nil {
			tb.Fatalf("%s: %v", c.def, err)
		}
		out = append(out, typ)
	}
	return out
}

var fuzzCharsets = []string{"utf8mb4", "latin1", "utf8mb3", "ascii", "binary", "cp1251", "big5", "", "nosuch", "ucs2", "utf16le", "utf32"}

// checkValue converts an input and holds what must be true of every canonical text.
func checkValue(t *testing.T, typ *Type, in Input, s *Session) {
	prefix := []byte("prefix")
	before := append([]byte{}, in.Bytes...)
	out, err := typ.Canonical(prefix, in, s)
	if !bytes.Equal(before, in.Bytes) {
		t.Fatal("Canonical wrote to its input")
	}
	if err != nil {
		var refusal *ValueError
		if !bytes.Equal(out, prefix) || !errors.Is(err, ErrNotPlain) && !errors.As(err, &refusal) {
			t.Fatalf("error %v with %d bytes", err, len(out))
		}
	} else {
		canonical := out[len(prefix):]
		if len(canonical) > typ.MaxCanonical() {
			t.Fatalf("%s: %d bytes, MaxCanonical %d", typ.ColumnType(), len(canonical), typ.MaxCanonical())
		}
		for _, carry := range []func([]byte, []byte, *Session) ([]byte, error){typ.AppendText, typ.AppendBinary} {
			if _, err := carry(nil, canonical, s); err != nil && !errors.Is(err, ErrNotPlain) {
				t.Fatalf("%s: canonical %q is not carried: %v", typ.ColumnType(), canonical, err)
			}
		}
		if _, err := typ.Weights(nil, canonical); err != nil && !errors.Is(err, ErrNotPlain) && typ.Searchable() == nil {
			t.Fatalf("%s: canonical %q is not weighed: %v", typ.ColumnType(), canonical, err)
		}
	}
	if _, match, err := typ.Operand(nil, in, s); err == nil && match != MatchValue && match != MatchNever {
		t.Fatalf("%s: match %d", typ.ColumnType(), match)
	}
}

func FuzzCanonical(f *testing.F) {
	r := rand.New(rand.NewPCG(seed, 6))
	for i, c := range typeCases {
		for _, s := range c.samples(r)[:10] {
			f.Add(uint8(i), uint8(s.in.Kind), s.in.Bytes, uint8(0), s.in.Negative)
		}
	}
	types := fuzzTypes(f)
	f.Fuzz(func(t *testing.T, typ, kind uint8, value []byte, charset uint8, negative bool) {
		name := fuzzCharsets[int(charset)%len(fuzzCharsets)]
		s := &Session{ClientCharset: name, ResultsCharset: name, TimeZone: time.UTC, Strict: charset < 128}
		checkValue(t, types[int(typ)%len(types)], Input{Kind: InputKind(kind), Bytes: value, Negative: negative}, s)
	})
}

func FuzzFromWire(f *testing.F) {
	r := rand.New(rand.NewPCG(seed, 7))
	for i, p := range wireSamples(r, nil) {
		f.Add(uint8(i), p.typ, p.unsigned, p.raw)
	}
	types := fuzzTypes(f)
	s := &Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4", TimeZone: time.UTC, Strict: true}
	f.Fuzz(func(t *testing.T, typ, wire uint8, unsigned bool, raw []byte) {
		in, err := FromWire(wire, unsigned, raw)
		if err != nil {
			return
		}
		checkValue(t, types[int(typ)%len(types)], in, s)
	})
}

// FuzzStored feeds the opening side with text that no version wrote: it must be refused or carried, never panic.
func FuzzStored(f *testing.F) {
	for i := range typeCases {
		for _, text := range []string{"", "0", "-1", "1.50", "1e20", "2024-01-31", "2024-01-31 10:00:00.5", "10:11:12", "a,Bcd", "::1", "\xff"} {
			f.Add(uint8(i), []byte(text), uint8(0))
		}
	}
	types := fuzzTypes(f)
	f.Fuzz(func(t *testing.T, typ uint8, text []byte, charset uint8) {
		kind := types[int(typ)%len(types)]
		s := &Session{ResultsCharset: fuzzCharsets[int(charset)%len(fuzzCharsets)], TimeZone: time.UTC}
		kind.AppendText(nil, text, s)
		kind.AppendBinary(nil, text, s)
		kind.Weights(nil, text)
	})
}
