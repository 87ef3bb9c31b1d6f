package argon2id

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestKeyIsArgon2id(t *testing.T) {
	for _, length := range []int{0, 1, 8, 99, 100, 101, 128, 129, 1024} {
		for _, cost := range []struct {
			time, memory uint32
			threads      uint8
		}{{1, 0, 1}, {1, 8, 1}, {1, 64, 4}, {2, 100, 3}, {3, 256, 4}, {1, 1023, 16}} {
			for _, size := range []int{1, 32, 63, 64} {
				password, salt := []byte(strings.Repeat("p", length)), []byte("0123456789abcdef")
				want := argon2.IDKey(password, salt, cost.time, cost.memory, cost.threads, uint32(size))
				got, err := Key(password, salt, cost.time, cost.memory, cost.threads, size)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("password of %d bytes, %v, %d bytes: got %x, %v, want %x", length, cost, size, got, err, want)
				}
			}
		}
	}
}

// TestRFC9106 is section 5.3 without its secret and associated data, which are not supported; the vector is that of the
// reference implementation for its test of version 0x13.
func TestRFC9106(t *testing.T) {
	got, err := Key([]byte("password"), []byte("somesalt"), 2, 1<<16, 1, 32)
	const want = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"
	if err != nil || fmt.Sprintf("%x", got) != want {
		t.Errorf("got %x, %v, want %s", got, err, want)
	}
}

func BenchmarkKey(b *testing.B) {
	for name, key := range map[string]func(){
		"ours":   func() { Key([]byte("password"), []byte("0123456789abcdef"), 3, 64<<10, 4, 32) },
		"argon2": func() { argon2.IDKey([]byte("password"), []byte("0123456789abcdef"), 3, 64<<10, 4, 32) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				key()
			}
		})
	}
}
