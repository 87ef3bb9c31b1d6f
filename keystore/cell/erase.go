package cell

import (
	"hash"
	"reflect"
)

var hashType = reflect.TypeFor[hash.Hash]()

// Erase overwrites the secrets inside a value of the standard library's cryptography, to which that library gives no way:
// the expanded key of a cipher, the padded key of an HMAC and the bytes that wait in its hashes, a private key. x is a
// pointer, or an interface that holds one; it must not be used afterwards, and nothing else may use it meanwhile. Anything
// but a pointer to a struct is left alone.
//
// It overwrites the struct, the byte slices in it, and the hashes in it. Other pointers it does not follow: what they lead
// to may be shared.
func Erase(x any) {
	if v := reflect.ValueOf(x); v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct {
		erase(v.Elem())
	}
}

func erase(s reflect.Value) {
	for _, b := range byteFields(s) {
		clear(b)
	}
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Kind() != reflect.Interface || f.IsNil() {
			continue
		}
		if p := f.Elem(); p.Kind() == reflect.Pointer && p.Type().Implements(hashType) && p.Type().Elem().Kind() == reflect.Struct {
			// Of an unexported field reflect gives a value that cannot be set; one at the same address can.
			erase(reflect.NewAt(p.Type().Elem(), p.UnsafePointer()).Elem())
		}
	}
	s.SetZero()
}

// byteFields returns the byte slices in a struct, to their capacity.
func byteFields(s reflect.Value) [][]byte {
	var all [][]byte
	for i := range s.NumField() {
		if f := s.Field(i); f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint8 {
			b := f.Bytes()
			all = append(all, b[:cap(b)])
		}
	}
	return all
}

// resetErasing calls Reset on a fresh HMAC, which from then on keeps two hash states in place of the padded key, and
// overwrites the padded key.
func resetErasing(mac hash.Hash) {
	v := reflect.ValueOf(mac)
	if v.Kind() != reflect.Pointer || v.Type().Elem().Kind() != reflect.Struct {
		mac.Reset()
		return
	}
	before := byteFields(v.Elem())
	mac.Reset()
	kept := byteFields(v.Elem())
	for i, b := range before {
		if len(b) > 0 && (len(kept[i]) == 0 || &b[0] != &kept[i][0]) {
			clear(b)
		}
	}
}
