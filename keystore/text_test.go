package keystore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func TestKeyTextIsForgiving(t *testing.T) {
	v := loadVectors(t)
	text := v.UserKey.Text
	bare := strings.ReplaceAll(text, "-", "")
	for name, s := range map[string]string{
		"as printed":                text,
		"with a line end":           text + "\r\n",
		"lower case":                strings.ToLower(text),
		"without dashes":            bare,
		"spaces for dashes":         strings.ReplaceAll(text, "-", " "),
		"spaces around dashes":      "  " + strings.ReplaceAll(text, "-", " - ") + "\t",
		"dash for every character":  strings.Join(strings.Split(bare, ""), "-"),
		"letter O for 0":            strings.ReplaceAll(text, "0", "O"),
		"letter o for 0":            strings.ReplaceAll(text, "0", "o"),
		"letter I for 1":            strings.ReplaceAll(text, "1", "I"),
		"letter l for 1":            strings.ReplaceAll(text, "1", "l"),
		"everything folded, padded": strings.Repeat(" ", 1000) + strings.NewReplacer("1", "L", "0", "O").Replace(bare) + strings.Repeat(" ", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseAccountKey([]byte(s))
			if err != nil {
				t.Fatal(err)
			}
			equalSecret(t, "account key", k.secret[:], v.UserKey.AccountKey)
			if !LooksLikeKey([]byte(s)) {
				t.Error("LooksLikeKey does not see it")
			}
		})
	}
}

func TestMalformedKeyTextIsReportedByPosition(t *testing.T) {
	all := loadVectors(t)
	text := all.UserKey.Text
	at := func(i int, c string) string { return text[:i] + c + text[i+1:] }
	for _, c := range []struct {
		name, text string
		position   int
		problem    string
	}{
		{"empty", "", 0, "it has 0 characters"},
		{"prefix alone", "LK1-", 0, "it has 0 characters"},
		{"no prefix", text[4:], 0, "does not begin with LK1-"},
		{"other prefix", "LK2" + text[3:], 0, "does not begin with LK1-"},
		{"fleet secret", all.Fleet.Text, 0, "does not begin with LK1-"},
		{"letter U", at(10, "U"), 11, "is not one of"},
		{"letter u behind spaces", "   " + at(10, "u"), 14, "is not one of"},
		{"quotation mark", at(4, `"`), 5, "is not one of"},
		{"letter of two bytes", at(4, "\u00e9"), 5, "is not one of"},
		{"bad character behind one of two bytes in the prefix", "LK1\u00a0" + text[4:], 4, "is not one of"},
		{"NUL", at(72, "\x00"), 73, "is not one of"},
		{"one character short", text[:len(text)-1], 0, "it has 57 characters"},
		{"one character more", text + "0", 74, "behind the end"},
		{"spare bits set", text[:len(text)-1] + "H", 73, "cannot be the last one"},
		{"one character wrong", at(10, string(alphabet[(strings.IndexByte(alphabet, text[10])+1)%32])), 0, "checksum"},
		{"too long", text + strings.Repeat(" ", 300) + "0", 0, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseAccountKey([]byte(c.text))
			var e *KeyTextError
			if !errors.As(err, &e) || !errors.Is(err, ErrMalformedKey) {
				t.Fatalf("error is %T, want *KeyTextError that is ErrMalformedKey", err)
			}
			if e.Position != c.position || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("got %q at position %d, want %q at position %d", err, e.Position, c.problem, c.position)
			}
			for i := 4; i+groupSize <= len(c.text); i++ {
				if group := c.text[i : i+groupSize]; strings.TrimSpace(group) != "" && strings.Contains(err.Error(), group) {
					t.Error("the error repeats part of the text")
				}
			}
		})
	}
}

// TestEveryTypingErrorIsFound replaces each character by each other one, and
// swaps all neighbours.
func TestEveryTypingErrorIsFound(t *testing.T) {
	text := []byte(loadVectors(t).UserKey.Text)
	for i, was := range text {
		if was == '-' {
			continue
		}
		for j := range len(alphabet) {
			if alphabet[j] == was || i == 0 && alphabet[j] == '1' || i == 2 && alphabet[j] == 'L' {
				continue
			}
			wrong := bytes.Clone(text)
			wrong[i] = alphabet[j]
			if _, err := ParseAccountKey(wrong); err == nil {
				t.Errorf("character %d replaced: accepted", i+1)
			}
			if i > 2 && !LooksLikeKey(wrong) {
				t.Errorf("character %d replaced: LooksLikeKey does not see it", i+1)
			}
		}
		if next := i + 1; i > 3 && next < len(text) && text[next] != '-' && text[next] != was {
			wrong := bytes.Clone(text)
			wrong[i], wrong[next] = wrong[next], wrong[i]
			if _, err := ParseAccountKey(wrong); err == nil {
				t.Errorf("characters %d and %d swapped: accepted", i+1, next+1)
			}
		}
	}
}

func TestFreshKeysComeBackFromTheirText(t *testing.T) {
	for range 200 {
		a, err := NewAccountKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseAccountKey(a.Text())
		if err != nil {
			t.Fatal(err)
		}
		equalSecret(t, "account key read back", again.secret[:], a.secret[:])
		f, err := NewFleetSecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		fleet, err := ParseFleetSecret(f.Text())
		if err != nil {
			t.Fatal(err)
		}
		equalSecret(t, "fleet secret read back", fleet.secret[:], f.secret[:])
		if !LooksLikeKey(a.Text()) || !LooksLikeKey(f.Text()) {
			t.Error("LooksLikeKey does not see a fresh key")
		}
		a.Wipe()
		f.Wipe()
		if *a.secret != [secretSize]byte{} || *f.secret != [secretSize]byte{} {
			t.Error("Wipe leaves key bytes")
		}
	}
	if _, err := NewAccountKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("an account key was made of 31 bytes of randomness")
	}
	if _, err := NewFleetSecret(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a fleet secret was made of 31 bytes of randomness")
	}
}

const token = "LKT1-c29tZSByYW5kb20gYnl0ZXMgYW5kIG1vcmU_-w"

func TestTokensAreRefusedAsTokens(t *testing.T) {
	for _, s := range []string{token, " " + token + "\n", "lkt1-" + token[5:], "LKT1" + token[5:]} {
		if _, err := ParseAccountKey([]byte(s)); !errors.Is(err, ErrToken) {
			t.Errorf("error is %v, want ErrToken", err)
		}
	}
}

func TestSecretsAreRecognized(t *testing.T) {
	v := loadVectors(t)
	text := v.UserKey.Text
	for _, c := range []struct {
		name, text string
		key, token bool
	}{
		{"account key", text, true, false},
		{"fleet secret", v.Fleet.Text, true, false},
		{"fleet secret, forgiven", strings.ToLower(strings.ReplaceAll(v.Fleet.Text, "-", " ")), true, false},
		{"key with folded prefix", "IKI" + text[3:], true, false},
		{"key with a letter U", text[:20] + "U" + text[21:], true, false},
		{"key with a character missing", text[:20] + text[21:], true, false},
		{"key with eight characters missing", text[:len(text)-9], true, false},
		{"key with a character too many", text[:20] + "0" + text[20:], true, false},
		{"key in a wide CHAR column", text + strings.Repeat(" ", 182), true, false},
		{"folded prefix with a wrong checksum", "IKI" + text[3:20] + "7" + text[21:], false, false},
		{"sentence that begins with iki", "iki arkada" + strings.Repeat("ab cde fgh", 6), false, false},
		{"half a key", text[:35], false, false},
		{"two keys", text + text[3:], false, false},
		{"key inside a sentence", "my key is " + text, false, false},
		{"key with other signs", text[:20] + "!" + text[21:], false, false},
		{"prefix alone", "LK1-", false, false},
		{"empty", "", false, false},
		{"spaces", strings.Repeat(" ", 80), false, false},
		{"words", "Paid the rent for November, 540.00 in cash, to the landlord himself.", false, false},
		{"digits that begin with 1", strings.Repeat("1234567890", 7), false, false},
		{"token", token, false, true},
		{"token in lower case", strings.ToLower(token), false, true},
		{"token in spaces", " \t" + token + "\n", false, true},
		{"token without a dash", "LKT1" + token[5:], false, true},
		{"short token", "LKT1-abc", false, false},
		{"endless token", "LKT1-" + strings.Repeat("a", 1025), false, false},
		{"token with other signs", token + "!", false, false},
		{"token with a space inside", token[:12] + " " + token[12:], false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := LooksLikeKey([]byte(c.text)); got != c.key {
				t.Errorf("LooksLikeKey = %v, want %v", got, c.key)
			}
			if got := LooksLikeToken([]byte(c.text)); got != c.token {
				t.Errorf("LooksLikeToken = %v, want %v", got, c.token)
			}
		})
	}
}

func TestRecognitionDoesNotAllocate(t *testing.T) {
	key, folded := []byte(loadVectors(t).UserKey.Text), []byte("IKI"+loadVectors(t).UserKey.Text[3:])
	for _, s := range [][]byte{key, folded, []byte(token), bytes.Repeat([]byte("words and "), 7)} {
		if n := testing.AllocsPerRun(100, func() { LooksLikeKey(s); LooksLikeToken(s) }); n != 0 {
			t.Errorf("%d bytes: %v allocations", len(s), n)
		}
	}
}

// FuzzKeyText checks that whatever parses has one printed form that parses to
// the same key and is recognized, and that nothing else is echoed or kept.
func FuzzKeyText(f *testing.F) {
	v := loadVectors(f)
	for _, s := range []string{v.UserKey.Text, v.Fleet.Text, token, strings.ToLower(v.UserKey.Text), "LK1-", "LK1-U", "\u00a0LK1", " - "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		k, err := ParseAccountKey(text)
		if !bytes.Equal(before, text) {
			t.Error("ParseAccountKey changes its input")
		}
		if err == nil {
			again, err := ParseAccountKey(k.Text())
			if err != nil || *again.secret != *k.secret {
				t.Errorf("the printed form does not read back: %v", err)
			}
			if !LooksLikeKey(text) {
				t.Error("a text that parses is not recognized")
			}
		}
		if fl, err := ParseFleetSecret(text); err == nil {
			if k != nil {
				t.Error("one text is an account key and a fleet secret")
			}
			if again, err := ParseFleetSecret(fl.Text()); err != nil || *again.secret != *fl.secret {
				t.Errorf("the printed form does not read back: %v", err)
			}
			if !LooksLikeKey(text) {
				t.Error("a text that parses is not recognized")
			}
		}
		var e *KeyTextError
		if errors.As(err, &e) && (e.Position < 0 || e.Position > len(text)) {
			t.Errorf("position %d in a text of %d bytes", e.Position, len(text))
		}
		LooksLikeToken(text)
	})
}

func BenchmarkLooksLikeKeyOnWords(b *testing.B) {
	s := []byte("Paid the rent for November, 540.00 in cash, to the landlord himself.")
	for b.Loop() {
		LooksLikeKey(s)
		LooksLikeToken(s)
	}
}

func BenchmarkLooksLikeKeyOnKey(b *testing.B) {
	s := []byte(loadVectors(b).UserKey.Text)
	for b.Loop() {
		LooksLikeKey(s)
	}
}
