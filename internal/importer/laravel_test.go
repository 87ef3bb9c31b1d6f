package importer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors anew with PHP and Laravel's own Encrypter")

const vectorFile = "testdata/vectors.json"

// vector is a payload that Laravel's own Encrypter made.
type vector struct {
	Cipher     string  `json:"cipher"`
	Key        string  `json:"key"`
	Serialized bool    `json:"serialized"`
	Plain      *string `json:"plain"`
	Payload    string  `json:"payload"`
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

func keysOf(tb testing.TB, text string) *LaravelKeys {
	tb.Helper()
	keys, err := ReadLaravelKeys(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func TestVectors(t *testing.T) {
	if *update {
		out, err := exec.Command("php", "-d", "display_errors=stderr", "testdata/vectors.php").Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := vectors(t)
	if len(all) != 4*(2*8+9) {
		t.Errorf("%d vectors", len(all))
	}
	for i, v := range all {
		l := &Laravel{Keys: keysOf(t, "base64:"+v.Key), Serialized: v.Serialized}
		got, err := l.Open([]byte(v.Payload), "", false)
		if v.Plain == nil {
			if !errors.Is(err, ErrUnsupported) || got != nil {
				t.Errorf("%d %s: got %q, %v, want %v", i, v.Cipher, got, err, ErrUnsupported)
			}
			continue
		}
		want, _ := base64.StdEncoding.DecodeString(*v.Plain)
		if f, numeric := strconv.ParseFloat(string(want), 64); numeric == nil && v.Serialized {
			// PHP writes the same number with more digits.
			if g, err := strconv.ParseFloat(string(got), 64); err == nil && f == g {
				continue
			}
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d %s: got %q, %v, want %q", i, v.Cipher, got, err, want)
		}
	}
}

// TestDamage changes each byte of payloads and cuts them at every length: nothing but the value itself ever comes out.
func TestDamage(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Plain == nil || len(v.Payload) > 400 || v.Serialized {
			continue
		}
		want, _ := base64.StdEncoding.DecodeString(*v.Plain)
		l := &Laravel{Keys: keysOf(t, "base64:"+v.Key)}
		object, _ := base64.StdEncoding.DecodeString(v.Payload)
		for i := range object {
			damaged := bytes.Clone(object)
			damaged[i] ^= 1
			got, err := l.Open([]byte(base64.StdEncoding.EncodeToString(damaged)), "", false)
			// A name of the object that is not needed, and the padding bits of base64, change nothing.
			if err == nil && !bytes.Equal(got, want) {
				t.Errorf("%s: byte %d changed gives %q", v.Cipher, i, got)
			}
		}
		for n := range v.Payload {
			if got, err := l.Open([]byte(v.Payload[:n]), "", false); err == nil {
				t.Errorf("%s: %d bytes of it give %q", v.Cipher, n, got)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	v := vectors(t)[0]
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, text := range map[string]string{
		"previous":    "base64:" + other + "\n# old\n\nbase64:" + v.Key + "\n",
		"environment": "APP_KEY=base64:" + other + "\r\nAPP_PREVIOUS_KEYS=\"base64:" + other + ",base64:" + v.Key + "\"\n",
		"raw":         "AES-128-CBC.....\n",
	} {
		if got, err := (&Laravel{Keys: keysOf(t, text)}).Open([]byte(" "+v.Payload+"\n"), "", false); err != nil || len(got) != 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	l := &Laravel{Keys: keysOf(t, "base64:"+other)}
	if _, err := l.Open([]byte(v.Payload), "", false); !errors.Is(err, ErrBroken) {
		t.Errorf("under another key: %v", err)
	}
	for _, text := range []string{"a text of a user", "", "eyJpdiI6", "ey" + strings.Repeat("A", 100), base64.StdEncoding.EncodeToString([]byte(`{"iv":1,"value":"","mac":"","tag":""}    `))} {
		if _, err := l.Open([]byte(text), "", false); !errors.Is(err, ErrOther) {
			t.Errorf("%q: %v, want %v", text, err, ErrOther)
		}
	}
	owners, err := ReadLaravelKeysOfOwners(strings.NewReader("7\tbase64:" + other + "\nAda Lovelace  base64:" + other + ",base64:" + v.Key + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	l = &Laravel{Keys: owners}
	for owner, want := range map[string]error{"7": ErrBroken, "Ada Lovelace": nil, "ada lovelace": ErrKey, "": ErrKey} {
		if _, err := l.Open([]byte(v.Payload), owner, true); !errors.Is(err, want) {
			t.Errorf("owner %q: %v, want %v", owner, err, want)
		}
	}
	if _, err := l.Open([]byte(v.Payload), "Ada Lovelace", false); !errors.Is(err, ErrKey) {
		t.Errorf("a row without owner: %v", err)
	}
	l.Close()
	if _, err := l.Open([]byte(v.Payload), "Ada Lovelace", true); !errors.Is(err, ErrBroken) {
		t.Errorf("after Close: %v", err)
	}
}

func TestKeyFilesThatAreWrong(t *testing.T) {
	secret := "sekret" + strings.Repeat("x", 9)
	for _, text := range []string{"", "# nothing\n", "base64:!!!\n", secret + "\n", "base64:AAAA\n", "APP_KEY=\n", "base64:" + strings.Repeat("A", 2*maxKeyLine)} {
		for name, read := range map[string]func(string) error{
			"application": func(s string) error { _, err := ReadLaravelKeys(strings.NewReader(s)); return err },
			"owners": func(s string) error {
				_, err := ReadLaravelKeysOfOwners(strings.NewReader(strings.ReplaceAll(s, secret, "7 "+secret)))
				return err
			},
		} {
			if err := read(text); err == nil || strings.Contains(err.Error(), "sekret") {
				t.Errorf("%s, %.40q: %v", name, text, err)
			}
		}
	}
	if _, err := ReadLaravelKeysOfOwners(strings.NewReader("7 0123456789abcdef\n7 0123456789abcdef\n")); err == nil {
		t.Error("an owner with two lines is accepted")
	}
}

func TestUnserialize(t *testing.T) {
	for text, want := range map[string]string{
		`s:0:"";`: "", `s:3:"a"b";`: `a"b`, `i:-7;`: "-7", `d:0.1;`: "0.1", `d:1.0E+25;`: "1.0E+25", `b:1;`: "1", `b:0;`: "0",
	} {
		if got, err := unserialize([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		`N;`: ErrUnsupported, `a:0:{}`: ErrUnsupported, `O:8:"stdClass":0:{}`: ErrUnsupported,
		``: ErrBroken, `s:2:"abc";`: ErrBroken, `s:-1:"";`: ErrBroken, `s:99999999999:"";`: ErrBroken, `s:1:"`: ErrBroken, `s:1:";`: ErrBroken, `i:x;`: ErrBroken, `b:2;`: ErrBroken,
		`d:0x1p-2;`: ErrBroken, `d:INF;`: ErrBroken, `i:99999999999999999999;`: ErrBroken, `s:0:""`: ErrBroken, `plain`: ErrBroken,
	} {
		if got, err := unserialize([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzLaravel(f *testing.F) {
	for i, v := range vectors(f) {
		if i%5 == 0 && len(v.Payload) < 500 {
			object, _ := base64.StdEncoding.DecodeString(v.Payload)
			f.Add(object)
		}
	}
	keys := keysOf(f, "AES-128-CBC.....\nbase64:"+base64.StdEncoding.EncodeToString([]byte("AES-256-GCM....................."))+"\n")
	f.Fuzz(func(t *testing.T, object []byte) {
		for _, serialized := range []bool{false, true} {
			l := &Laravel{Keys: keys, Serialized: serialized}
			for _, stored := range [][]byte{object, []byte(base64.StdEncoding.EncodeToString(object))} {
				plain, err := l.Open(stored, "7", true)
				if err != nil && plain != nil || len(plain) > len(stored) {
					t.Errorf("%d bytes of %d, %v", len(plain), len(stored), err)
				}
			}
		}
	})
}

func FuzzUnserialize(f *testing.F) {
	f.Add([]byte(`s:3:"abc";`))
	f.Add([]byte(`d:0.1;`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if value, err := unserialize(text); err == nil && len(value) > len(text) {
			t.Errorf("%d bytes of %d", len(value), len(text))
		}
	})
}
