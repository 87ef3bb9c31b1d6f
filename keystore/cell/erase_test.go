package cell

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"reflect"
	"runtime"
	"testing"
)

// inside returns all bytes of a struct and of the byte slices and hashes in it.
func inside(v reflect.Value) []byte {
	var all []byte
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, inside(v.Field(i))...)
		}
	case reflect.Array, reflect.Slice:
		for i := range v.Len() {
			all = append(all, inside(v.Index(i))...)
		}
	case reflect.Uint8:
		all = append(all, byte(v.Uint()))
	case reflect.Uint32:
		n := v.Uint()
		all = append(all, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			all = inside(v.Elem())
		}
	}
	return all
}

// TestErase looks for a key inside what the standard library makes of it, and finds it before and not after.
func TestErase(t *testing.T) {
	key := []byte("0123456789abcdef0123456789ABCDEF")
	padded := bytes.Clone(key)
	for i := range padded {
		padded[i] ^= 0x36
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdh.X25519().NewPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	waiting := sha256.New()
	waiting.Write(key)
	message := hmac.New(sha256.New, []byte("x"))
	message.Write(key)
	for name, c := range map[string]struct {
		value any
		holds []byte
	}{
		"aes.Block":         {block, key},
		"GCM":               {aead, key},
		"ecdh.PrivateKey":   {private, key},
		"SHA-256":           {waiting, key},
		"HMAC of a secret":  {message, key},
		"HMAC under a key":  {hmac.New(sha256.New, key), padded},
		"not even a struct": {new(int), nil},
	} {
		v := reflect.ValueOf(c.value)
		if !bytes.Contains(inside(v), c.holds) {
			t.Errorf("%s does not hold the key: the test looks in the wrong place", name)
		}
		kept := byteSlices(v.Elem())
		Erase(c.value)
		if c.holds == nil {
			continue
		}
		if left := bytes.Trim(inside(v), "\x00"); len(left) > 0 {
			t.Errorf("%s still holds %d bytes", name, len(left))
		}
		for _, b := range kept {
			if len(bytes.Trim(b, "\x00")) > 0 {
				t.Errorf("%s: a slice that it held was not overwritten", name)
			}
		}
	}
	Erase(nil)
	Erase((*ecdh.PrivateKey)(nil))
	if _, err := ecdh.X25519().NewPrivateKey(key); err != nil {
		t.Errorf("the curve was overwritten: %v", err)
	}
}

func byteSlices(v reflect.Value) [][]byte {
	if v.Kind() != reflect.Struct {
		return nil
	}
	return byteFields(v)
}

func TestWipedKeys(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, KeySize)
	k, err := NewKey(secret, KeyID{}, 0, "main", "a.b")
	if err != nil {
		t.Fatal(err)
	}
	expanded := *k.ciphers
	k.Wipe()
	k.Wipe()
	for _, c := range []any{expanded.block, expanded.aead} {
		if len(bytes.Trim(inside(reflect.ValueOf(c)), "\x00")) > 0 {
			t.Errorf("%T was not overwritten", c)
		}
	}
	ik, err := NewIndexKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	ik.Tag([]byte("w"))
	own, ready := ik.state.secret, ik.state.ready[0]
	running := ik.take()
	ik.give(ready)
	ik.Wipe()
	ik.give(running)
	for name, b := range map[string][]byte{"secret": own, "mac": inside(reflect.ValueOf(ready.mac)), "mac in use": inside(reflect.ValueOf(running.mac)), "sum": ready.sum[:]} {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Errorf("%s was not overwritten", name)
		}
	}
}

// TestLostKeysAreOverwritten: a key that nobody wiped is overwritten when it is collected.
func TestLostKeysAreOverwritten(t *testing.T) {
	k, err := NewKey(bytes.Repeat([]byte{7}, KeySize), KeyID{}, 0, "main", "a.b")
	if err != nil {
		t.Fatal(err)
	}
	lost := k.ciphers
	done := make(chan struct{})
	runtime.AddCleanup(k, func(done chan struct{}) { close(done) }, done) // behind the key's own
	k = nil
	for {
		runtime.GC()
		select {
		case <-done:
		default:
			runtime.Gosched()
			continue
		}
		break
	}
	for len(bytes.Trim(inside(reflect.ValueOf(lost.aead)), "\x00")) > 0 {
		runtime.Gosched()
	}
}
