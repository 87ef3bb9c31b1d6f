package cell

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// hexBytes is a byte string in a vector file; null stays nil.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h = make([]byte, hex.DecodedLen(len(text)))
	_, err = hex.Decode(*h, text)
	return err
}

type vector struct {
	Name           string
	Realm, Context string
	ColumnKey      hexBytes `json:"column_key"`
	KeyID          hexBytes `json:"key_id"`
	Epoch          uint16
	Nonce          hexBytes
	Family         byte
	Value          hexBytes
	Pad            int
	Tag            hexBytes
	Bound          []hexBytes
	Cell           hexBytes

	Private, Public hexBytes
	MACKey          hexBytes `json:"mac_key"`
}

func (v *vector) params() Params {
	p := Params{Family: v.Family, Plaintext: v.Value, Pad: v.Pad, Bound: v.bound()}
	if v.Tag != nil {
		p.Tag = new(Tag(v.Tag))
	}
	return p
}

func (v *vector) bound() [][]byte {
	var out [][]byte
	for _, b := range v.Bound {
		out = append(out, b)
	}
	return out
}

func (v *vector) key(t testing.TB) *Key {
	t.Helper()
	k, err := NewKey(v.ColumnKey, KeyID(v.KeyID), v.Epoch, v.Realm, v.Context)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vector) opener(t testing.TB) *AwayOpener {
	t.Helper()
	o, err := NewAwayOpener(v.Private, KeyID(v.KeyID), v.MACKey, v.Realm, v.Context)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (v *vector) sealer(t testing.TB) *AwaySealer {
	t.Helper()
	s, err := NewAwaySealer(v.Public, KeyID(v.KeyID), v.MACKey, v.Realm, v.Context)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load[T any](t testing.TB, file string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		t.Fatalf("%s holds no vectors", file)
	}
	return v
}

// opener is what Key and AwayOpener share.
type opener interface {
	Open(dst, b []byte, bound [][]byte) (byte, []byte, error)
}

func TestSealGivesTheVectors(t *testing.T) {
	for _, v := range load[vector](t, "cells.json") {
		t.Run(v.Name, func(t *testing.T) {
			p := v.params()
			got := v.key(t).seal([]byte("before"), &p, [nonceSize]byte(v.Nonce))
			if want := append([]byte("before"), v.Cell...); !bytes.Equal(got, want) {
				t.Errorf("seal gave\n%x, want\n%x", got, want)
			}
			if got, want := SealedLen(len(v.Value), v.Pad, v.Tag != nil), len(v.Cell); got != want {
				t.Errorf("SealedLen = %d, want %d", got, want)
			}
		})
	}
}

func TestOpenReadsTheVectors(t *testing.T) {
	check := func(t *testing.T, o opener, v *vector) {
		family, got, err := o.Open([]byte("before"), v.Cell, v.bound())
		if err != nil {
			t.Fatal(err)
		}
		if want := append([]byte("before"), v.Value...); family != v.Family || !bytes.Equal(got, want) {
			t.Errorf("Open gave family %d, %x, want %d, %x", family, got, v.Family, want)
		}
		if _, got, err = o.Open(nil, v.Cell, v.bound()); err != nil || got == nil {
			t.Errorf("Open with a nil destination gave nil: %v, error %v; the empty value must not look like NULL", got == nil, err)
		}
	}
	for _, v := range load[vector](t, "cells.json") {
		t.Run(v.Name, func(t *testing.T) { check(t, v.key(t), &v) })
	}
	for _, v := range load[vector](t, "away.json") {
		t.Run(v.Name, func(t *testing.T) {
			check(t, v.opener(t), &v)
			if got, want := AwaySealedLen(len(v.Value), v.Pad), len(v.Cell); got != want {
				t.Errorf("AwaySealedLen = %d, want %d", got, want)
			}
		})
	}
}

func TestBadCellsFailWithTheirReason(t *testing.T) {
	reasons := map[string]error{
		"not a cell": ErrNotCell, "truncated": ErrTruncated, "unknown format": ErrUnknownFormat,
		"binding": ErrBinding, "authentication": ErrAuthentication,
	}
	tagged := load[vector](t, "cells.json")[1]
	key := tagged.key(t)
	for _, c := range load[struct {
		Name, Want string
		Cell       hexBytes
	}](t, "bad.json") {
		t.Run(c.Name, func(t *testing.T) {
			want, ok := reasons[c.Want]
			if !ok {
				t.Fatalf("no such reason: %q", c.Want)
			}
			if _, got, err := key.Open(nil, c.Cell, nil); !errors.Is(err, want) || got != nil {
				t.Errorf("Open: %d bytes and error %v, want none and %v", len(got), err, want)
			}
		})
	}
}

// TestEveryFlippedBitAndTruncationFails is exhaustive over all vectors: each bit
// of each byte, each shorter length, and an added byte.
func TestEveryFlippedBitAndTruncationFails(t *testing.T) {
	check := func(t *testing.T, o opener, v *vector) {
		mustFail := func(what string, b []byte) {
			if _, got, err := o.Open(nil, b, v.bound()); err == nil || got != nil {
				t.Errorf("%s: opened", what)
			}
		}
		for i := range v.Cell {
			for bit := range 8 {
				b := bytes.Clone(v.Cell)
				b[i] ^= 1 << bit
				mustFail(fmt.Sprintf("bit %d of byte %d flipped", bit, i), b)
			}
			mustFail(fmt.Sprintf("cut to %d bytes", i), v.Cell[:i])
			mustFail(fmt.Sprintf("byte %d removed", i), append(bytes.Clone(v.Cell[:i]), v.Cell[i+1:]...))
		}
		mustFail("zero byte added", append(bytes.Clone(v.Cell), 0))
	}
	for _, v := range load[vector](t, "cells.json") {
		t.Run(v.Name, func(t *testing.T) { check(t, v.key(t), &v) })
	}
	for _, v := range load[vector](t, "away.json") {
		t.Run(v.Name, func(t *testing.T) { check(t, v.opener(t), &v) })
	}
}

func TestMovedCellsFail(t *testing.T) {
	v := load[vector](t, "cells.json")[1]
	away := load[vector](t, "away.json")[0]
	const column, absent = 1, 2 // which kinds of key the change concerns
	for _, c := range []struct {
		name   string
		kinds  int
		change func(v *vector)
	}{
		{"other context", column | absent, func(v *vector) { v.Context = "entries.body" }},
		{"other realm", column | absent, func(v *vector) { v.Realm = "staging" }},
		{"boundary of realm and context moved", column | absent, func(v *vector) { v.Realm, v.Context = "mainentries", ".title" }},
		{"other key id", column | absent, func(v *vector) { v.KeyID = make([]byte, KeyIDSize) }},
		{"bound by the reader", column | absent, func(v *vector) { v.Bound = []hexBytes{nil} }},
		{"other column key", column, func(v *vector) { v.ColumnKey = bytes.Repeat([]byte{1}, KeySize) }},
		{"other epoch", column, func(v *vector) { v.Epoch = 1 }},
		{"other private key", absent, func(v *vector) { v.Private = bytes.Repeat([]byte{1}, 32) }},
		{"other MAC key", absent, func(v *vector) { v.MACKey = bytes.Repeat([]byte{1}, KeySize) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed, changedAway := v, away
			c.change(&changed)
			c.change(&changedAway)
			if c.kinds&column != 0 {
				if _, _, err := changed.key(t).Open(nil, v.Cell, changed.bound()); err == nil {
					t.Error("the cell opened")
				}
			}
			if c.kinds&absent != 0 {
				if _, _, err := changedAway.opener(t).Open(nil, away.Cell, changedAway.bound()); err == nil {
					t.Error("the cell of kind a opened")
				}
			}
		})
	}
}

func TestBoundValuesAreToldApart(t *testing.T) {
	v := load[vector](t, "cells.json")[0]
	key, away := v.key(t), load[vector](t, "away.json")[0]
	lists := [][][]byte{
		{nil}, {{}}, {nil, nil}, {{}, {}}, {nil, {}}, {{}, nil},
		{[]byte("ab")}, {[]byte("a"), []byte("b")}, {[]byte("ab"), {}}, {{}, []byte("ab")},
		{{0, 0, 0, 0}}, {{0xFF, 0xFF, 0xFF, 0xFF}},
	}
	for i, sealed := range lists {
		c := key.Seal(nil, Params{Plaintext: []byte("x"), Bound: sealed})
		a, err := away.sealer(t).Seal(nil, Params{Plaintext: []byte("x"), Bound: sealed})
		if err != nil {
			t.Fatal(err)
		}
		for j, given := range lists {
			if _, _, err := key.Open(nil, c, given); (err == nil) != (i == j) {
				t.Errorf("sealed with list %d, opened with list %d: error %v", i, j, err)
			}
			if _, _, err := away.opener(t).Open(nil, a, given); (err == nil) != (i == j) {
				t.Errorf("kind a: sealed with list %d, opened with list %d: error %v", i, j, err)
			}
		}
		if _, _, err := key.Open(nil, c, nil); !errors.Is(err, ErrBinding) {
			t.Errorf("bound cell opened without values: error %v, want ErrBinding", err)
		}
		if h, err := Parse(c); err != nil || !h.Bound() {
			t.Errorf("Parse of a bound cell: Bound() = %v, error %v", h.Bound(), err)
		}
	}
}

func TestValuesOfEveryLengthAndPadComeBack(t *testing.T) {
	v := load[vector](t, "cells.json")[0]
	key := v.key(t)
	away := load[vector](t, "away.json")[0]
	values := [][]byte{{0}, {0x80}, {0x80, 0}, {0, 0x80, 0, 0}, bytes.Repeat([]byte{0}, 40), bytes.Repeat([]byte{0x80}, 40)}
	for n := range 70 {
		values = append(values, bytes.Repeat([]byte{'x'}, n))
	}
	tag := Tag{0xFF, 1}
	for _, pad := range []int{0, 1, 2, 3, 16, 64} {
		for _, value := range values {
			for _, tagged := range []*Tag{nil, &tag} {
				c := key.Seal(nil, Params{Tag: tagged, Family: 7, Plaintext: value, Pad: pad})
				family, got, err := key.Open(nil, c, nil)
				if err != nil || family != 7 || !bytes.Equal(got, value) {
					t.Errorf("value %x, pad %d: got %x, family %d, error %v", value, pad, got, family, err)
				}
				if want := SealedLen(len(value), pad, tagged != nil); len(c) != want {
					t.Errorf("value of %d bytes, pad %d: cell of %d bytes, want %d", len(value), pad, len(c), want)
				}
				if frame := len(c) - SealedLen(0, 0, tagged != nil) + frameSize; pad > 1 && frame%pad != 0 {
					t.Errorf("value of %d bytes: frame of %d bytes is no multiple of %d", len(value), frame, pad)
				}
			}
		}
		c, err := away.sealer(t).Seal([]byte("b"), Params{Family: 9, Plaintext: []byte("abc"), Pad: pad})
		if err != nil {
			t.Fatal(err)
		}
		family, got, err := away.opener(t).Open([]byte("b"), c[1:], nil)
		if err != nil || family != 9 || string(got) != "babc" || len(c)-1 != AwaySealedLen(3, pad) {
			t.Errorf("kind a, pad %d: got %q, family %d, error %v, %d bytes", pad, got, family, err, len(c)-1)
		}
	}
}

func TestSealingTwiceGivesDifferentCells(t *testing.T) {
	v := load[vector](t, "cells.json")[0]
	key := v.key(t)
	seen := map[string]bool{}
	for range 1000 {
		c := key.Seal(nil, Params{Plaintext: []byte("same")})
		nonce := string(c[headerUntagged-nonceSize : headerUntagged])
		if seen[nonce] {
			t.Fatal("a nonce came twice in 1000 cells")
		}
		seen[nonce] = true
	}
}

func TestParseReadsTheHeader(t *testing.T) {
	for _, v := range append(load[vector](t, "cells.json"), load[vector](t, "away.json")...) {
		h, err := Parse(v.Cell)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		want := Header{Kind: KindUntagged, Suite: SuiteAESGCM, Epoch: v.Epoch, KeyID: KeyID(v.KeyID), size: h.size}
		if len(v.Bound) > 0 {
			want.Flags = FlagBound
		}
		if v.Tag != nil {
			want.Kind, want.Tag = KindTagged, Tag(v.Tag)
		}
		if v.Private != nil {
			want.Kind, want.Suite = KindAway, SuiteHPKE
		}
		if h != want {
			t.Errorf("%s: Parse = %+v, want %+v", v.Name, h, want)
		}
		if !IsCell(v.Cell) {
			t.Errorf("%s: IsCell = false", v.Name)
		}
	}
}

func TestAwayRefusesWhatItCannotSeal(t *testing.T) {
	v := load[vector](t, "away.json")[0]
	if _, err := v.sealer(t).Seal(nil, Params{Tag: &Tag{}}); err == nil {
		t.Error("a cell of kind a was given a tag")
	}
	v.Public = make([]byte, 32) // of low order: the shared secret would be zero
	if s, err := NewAwaySealer(v.Public, KeyID{}, v.MACKey, "r", "c"); err == nil {
		if _, err := s.Seal(nil, Params{}); err == nil {
			t.Error("a value was sealed to the public key zero")
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := NewAwaySealer(make([]byte, n), KeyID{}, v.MACKey, "r", "c"); err == nil {
			t.Errorf("public key of %d bytes accepted", n)
		}
		if _, err := NewAwayOpener(make([]byte, n), KeyID{}, v.MACKey, "r", "c"); err == nil {
			t.Errorf("private key of %d bytes accepted", n)
		}
		if _, err := NewAwayOpener(v.Private, KeyID{}, make([]byte, n), "r", "c"); err == nil {
			t.Errorf("MAC key of %d bytes accepted", n)
		}
		if _, err := NewKey(make([]byte, n), KeyID{}, 0, "r", "c"); err == nil {
			t.Errorf("column key of %d bytes accepted", n)
		}
		if _, err := NewIndexKey(make([]byte, n)); err == nil {
			t.Errorf("index key of %d bytes accepted", n)
		}
	}
}

func TestPrefixRangeHoldsExactlyTheTag(t *testing.T) {
	for _, c := range []struct{ tag, hi string }{
		{"00000000000000000000000000000000", "ff4c4b7400000000000000000000000000000001"},
		{"000000000000000000000000000000ff", "ff4c4b7400000000000000000000000000000100"},
		{"0123456789abcdef0123456789abffff", "ff4c4b740123456789abcdef0123456789ac0000"},
		{"ffffffffffffffffffffffffffffffff", "ff4c4b7500000000000000000000000000000000"},
	} {
		b, _ := hex.DecodeString(c.tag)
		tag := Tag(b)
		lo, hi := PrefixRange(tag)
		if got := hex.EncodeToString(lo[:]); got != "ff4c4b74"+c.tag || lo != Prefix(tag) {
			t.Errorf("tag %s: lo = %s", c.tag, got)
		}
		if got := hex.EncodeToString(hi[:]); got != c.hi {
			t.Errorf("tag %s: hi = %s, want %s", c.tag, got, c.hi)
		}
		greatest := append(bytes.Clone(lo[:]), bytes.Repeat([]byte{0xFF}, 300)...)
		if bytes.Compare(greatest, hi[:]) >= 0 {
			t.Errorf("tag %s: a cell with it lies above hi", c.tag)
		}
	}
}

func TestKeysCannotBePrinted(t *testing.T) {
	secret := bytes.Repeat([]byte{0xAB}, KeySize)
	v := load[vector](t, "away.json")[0]
	key, err := NewKey(secret, KeyID{}, 0, "realm", "context")
	if err != nil {
		t.Fatal(err)
	}
	index, err := NewIndexKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, k := range []any{key, index, v.sealer(t), v.opener(t)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U"} {
			if got := fmt.Sprintf(verb, k); got != redacted {
				t.Errorf("%T with %s prints %d bytes, want %q", k, verb, len(got), redacted)
			}
		}
		if got, err := json.Marshal(k); err != nil || string(got) != `"`+redacted+`"` {
			t.Errorf("%T as JSON: %d bytes, error %v", k, len(got), err)
		}
		log.Reset()
		logger.Info("m", "key", k)
		if got := log.String(); !strings.Contains(got, `"key":"`+redacted+`"`) {
			t.Errorf("%T in a log line is not redacted", k)
		}
		if reflect.TypeOf(k).Elem().Comparable() {
			t.Errorf("%T can be compared with ==", k)
		}
	}
}

func TestSealAndOpenDoNotAllocate(t *testing.T) {
	v := load[vector](t, "cells.json")[1]
	key, p := v.key(t), v.params()
	index, err := NewIndexKey(v.ColumnKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed, opened := make([]byte, 0, 512), make([]byte, 0, 512)
	cell := key.Seal(nil, p)
	for name, f := range map[string]func(){
		"Seal":  func() { key.Seal(sealed, p) },
		"Open":  func() { key.Open(opened, cell, nil) },
		"Parse": func() { Parse(cell) },
		"Tag":   func() { index.Tag(v.Value) },
	} {
		// A pool may be emptied by the garbage collector, so not exactly zero.
		if got := testing.AllocsPerRun(1000, f); got >= 1 && !raceEnabled {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			if h != (Header{}) {
				t.Errorf("Parse gave %v and a header", err)
			}
			return
		}
		if !IsCell(b) {
			t.Error("Parse reads what IsCell denies")
		}
		if again := appendHeader(nil, &h); !bytes.HasPrefix(b, again) {
			t.Errorf("header %x reads as %x", b[:h.size], again)
		}
	})
}

func FuzzOpen(f *testing.F) {
	seed(f)
	key, away := load[vector](f, "cells.json")[1].key(f), load[vector](f, "away.json")[0].opener(f)
	sealed, sealedAway := load[vector](f, "cells.json")[1].Cell, load[vector](f, "away.json")[0].Cell
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, bound := range [][][]byte{nil, {b}, {nil}} {
			if _, _, err := key.Open(nil, b, bound); err == nil && !bytes.Equal(b, sealed) {
				t.Errorf("forged: %x", b)
			}
			if _, _, err := away.Open(nil, b, bound); err == nil && !bytes.Equal(b, sealedAway) {
				t.Errorf("forged: %x", b)
			}
		}
	})
}

// FuzzFrame checks that a frame has one reading: what unframes, frames to the
// same bytes.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{1, 0x80}, 0)
	f.Add([]byte{1, 'x', 0x80, 0, 0, 0, 0, 0}, 8)
	f.Add([]byte{0x80}, 3)
	f.Add([]byte{0, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, pad int) {
		if family, value, ok := unframe(b); ok {
			again := make([]byte, len(b))
			frame(again, family, value)
			if !bytes.Equal(again, b) {
				t.Errorf("%x reads as family %d, value %x", b, family, value)
			}
		}
		if pad < 0 || pad > 1<<16 || len(b) == 0 {
			return
		}
		framed := make([]byte, framedLen(len(b)-1, pad))
		frame(framed, b[0], b[1:])
		family, value, ok := unframe(framed)
		if !ok || family != b[0] || !bytes.Equal(value, b[1:]) {
			t.Errorf("family %d, value %x, pad %d: read back as %d, %x", b[0], b[1:], pad, family, value)
		}
	})
}

func seed(f *testing.F) {
	for _, v := range append(load[vector](f, "cells.json"), load[vector](f, "away.json")...) {
		f.Add([]byte(v.Cell))
	}
	for _, v := range load[struct{ Cell hexBytes }](f, "bad.json") {
		f.Add([]byte(v.Cell))
	}
}

func BenchmarkSeal(b *testing.B) {
	v := load[vector](b, "cells.json")[1]
	key, p := v.key(b), v.params()
	p.Plaintext = make([]byte, 100)
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		key.Seal(dst, p)
	}
}

func BenchmarkOpen(b *testing.B) {
	v := load[vector](b, "cells.json")[1]
	key, p := v.key(b), v.params()
	p.Plaintext = make([]byte, 100)
	cell := key.Seal(nil, p)
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := key.Open(dst, cell, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	cell := load[vector](b, "cells.json")[1].Cell
	b.ReportAllocs()
	for b.Loop() {
		Parse(cell)
	}
}

func BenchmarkTag(b *testing.B) {
	key, err := NewIndexKey(make([]byte, KeySize))
	if err != nil {
		b.Fatal(err)
	}
	weights := make([]byte, 40)
	b.ReportAllocs()
	for b.Loop() {
		key.Tag(weights)
	}
}

func BenchmarkAwaySeal(b *testing.B) {
	s := load[vector](b, "away.json")[0].sealer(b)
	value := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(nil, Params{Plaintext: value}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAwayOpen(b *testing.B) {
	v := load[vector](b, "away.json")[0]
	o := v.opener(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := o.Open(nil, v.Cell, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPlain tells marked plaintext, which is no cell, from cells.
func TestPlain(t *testing.T) {
	for _, old := range []string{"", "rent", "\xffLKt", "\xffLKp"} {
		marked := AppendPlain([]byte("x"), []byte(old))[1:]
		apart := append([]byte("\xff\x4c\x4b\x71sixteen bytes in"), old...)
		if got, ok := Plain(apart); !ok || string(got) != old {
			t.Errorf("Plain(%x): got %q, %t, want %q", apart, got, ok, old)
		}
		if got, ok := Plain(marked); !ok || string(got) != old {
			t.Errorf("Plain(%x): got %q, %t, want %q", marked, got, ok, old)
		}
		if _, err := Parse(marked); !errors.Is(err, ErrUnknownFormat) {
			t.Errorf("Parse(%x): got %v, want %v", marked, err, ErrUnknownFormat)
		}
	}
	for _, b := range []string{"", "rent", "\xffLK", "\xffLKt", "\xffLKP"} {
		if got, ok := Plain([]byte(b)); ok {
			t.Errorf("Plain(%x): got %q, want none", b, got)
		}
	}
}
