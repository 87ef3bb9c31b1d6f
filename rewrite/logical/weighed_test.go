package logical

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// weighedCollations are those with weights of their own here, and some that only a server weighs.
var weighedCollations = []string{
	"utf8mb4_general_ci", "utf8mb4_general_nopad_ci", "utf8mb4_unicode_ci", "utf8mb4_unicode_nopad_ci", "utf8mb4_unicode_520_ci",
	"utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_as_cs", "utf8mb4_uca1400_nopad_as_ci", "utf8mb3_general_ci", "utf8mb3_general_mysql500_ci",
	"utf8mb3_unicode_ci", "latin1_swedish_ci", "latin1_german2_ci", "utf8mb4_czech_ci", "utf8mb4_thai_520_w2",
}

// alphabets are what the texts are made of, from the common to the rare.
var alphabets = []string{
	"abcdeXYZ 019-", "abc \u00e4\u00f6\u00fc\u00df\u00c4\u00e9\u00e8\u00f1\u00e7", "a \u0142\u0141\u0131\u0130\u01c6\u017e\u00a0\u00ad\u00aa", "\u0391\u03b1\u03ac\u03c3\u03c2 \u0410\u0430\u0435\u0451\u0439\u0438",
	"a \u0301\u0308\u200b\t\x01", "\u4e2d\u3042\u30a2\uff21A \U0001F511\U0001F512", "cChHlLdDz\u017eZ ",
}

// TestWeightsAreTheServers: what is weighed here and what a server weighs agree, and weights are equal exactly where the server
// finds the texts equal.
func TestWeightsAreTheServers(t *testing.T) {
	s := newSession(t)
	for _, name := range weighedCollations {
		t.Run(name, func(t *testing.T) {
			charset, _, _ := strings.Cut(name, "_")
			typ, err := Parse("varchar(50) character set " + charset + " collate " + name)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 9))
			here := 0
			const texts = 300
			for range texts {
				one, two := weighedText(r, typ), weighedText(r, typ)
				if r.IntN(3) == 0 {
					two = one + []string{" ", "  ", "\u00a0", "a"}[r.IntN(4)]
				}
				if typ.cs.encodedLen([]byte(one)) < 0 || typ.cs.encodedLen([]byte(two)) < 0 {
					continue
				}
				first, second := serverWeights(t, s, typ, one), serverWeights(t, s, typ, two)
				if w, err := typ.Weights(nil, []byte(one)); err == nil {
					here++
					if !bytes.Equal(w, first) {
						t.Errorf("%q weighs %x, the server says %x", one, w, first)
					}
				} else if !errors.Is(err, ErrNotPlain) {
					t.Errorf("%q: %v", one, err)
				}
				if equal := serverEqual(t, s, typ, one, two); equal != bytes.Equal(first, second) {
					t.Errorf("%q = %q is %v, the weights are %x and %x", one, two, equal, first, second)
				}
			}
			t.Logf("%d%% weighed here", 100*here/texts)
		})
	}
}

func weighedText(r *rand.Rand, typ *Type) string {
	letters := []rune(alphabets[r.IntN(len(alphabets))])
	if typ.cs.name == "latin1" {
		letters = []rune(alphabets[r.IntN(2)])
	}
	var b strings.Builder
	for range r.IntN(5) {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

func serverWeights(t *testing.T, s *session, typ *Type, text string) []byte {
	t.Helper()
	result, err := s.Execute("SELECT " + typ.WeightQuery([]byte(text)))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var columns [][]byte
	row := []byte(result.RowDatas[0])
	for range typ.WeightColumns() {
		value, null, n, err := mysql.LengthEncodedString(row)
		if err != nil {
			t.Fatal(err)
		}
		if null {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		columns, row = append(columns, value), row[n:]
	}
	weights, err := typ.AdoptWeights(nil, columns)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return weights
}

func serverEqual(t *testing.T, s *session, typ *Type, one, two string) bool {
	t.Helper()
	text := func(v string) string {
		return "CONVERT(" + quote([]byte(v)) + " USING " + typ.Charset + ") COLLATE " + typ.Collation
	}
	return string(s.rows("SELECT " + text(one) + " = " + text(two))[0]) == "1"
}
