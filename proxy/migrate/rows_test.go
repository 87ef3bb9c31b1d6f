package migrate

import (
	"bytes"
	"testing"
)

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("1:a2:bc"), 2)
	f.Add([]byte("0:"), 1)
	f.Add([]byte("99:a"), 1)
	f.Add([]byte("-1:a"), 1)
	f.Fuzz(func(t *testing.T, b []byte, parts int) {
		k, err := parseKey(b, parts)
		if err != nil {
			return
		}
		again, err := parseKey(k.encode(), parts)
		if err != nil || len(again) != len(k) {
			t.Fatalf("parseKey of what encode gave: %v, %v", again, err)
		}
		for i := range k {
			if !bytes.Equal(k[i], again[i]) {
				t.Errorf("part %d is %q, then %q", i, k[i], again[i])
			}
		}
	})
}
