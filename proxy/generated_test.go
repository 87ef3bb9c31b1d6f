package proxy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// valuesVariable is the environment variable that says how many values of each type are generated.
const valuesVariable = "LATCHKEY_VALUES"

// generatedValues is how many that are when nothing is said: enough for a look at every kind.
const generatedValues = 400

// TestGeneratedValuesAreStoredAsPlaintextStoresThem holds values that nobody thought of against plaintext: what is stored, and
// every warning. LATCHKEY_VALUES=200000 go test ./proxy -run Generated -timeout 4h runs it at length.
func TestGeneratedValuesAreStoredAsPlaintextStoresThem(t *testing.T) {
	count := generatedValues
	if text := os.Getenv(valuesVariable); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", valuesVariable, err)
		}
	}
	const seed = 20240131
	tw := newOddTwin(t, testEvaluator(t), false)
	for i, d := range odd {
		t.Run(d.definition, func(t *testing.T) {
			began := time.Now()
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			c := &comparison{t: t, tw: tw, plain: tw.direct(t, ""), sealed: tw.session(t, 'A', "")}
			const batch = 200
			for done := 0; done < count && !t.Failed(); done += batch {
				mode := convertModes[r.IntN(len(convertModes))]
				c.both("SET sql_mode = '" + mode + "', time_zone = '+03:00', timestamp = 1700000000")
				c.both("DELETE FROM w")
				rows := make([]string, min(batch, count-done))
				for k := range rows {
					rows[k] = fmt.Sprintf("(%d, %s)", k, literalFor(r, d.literals))
				}
				// Under IGNORE every value is stored in every mode; then some of them one by one, as they come.
				c.diagnosed(fmt.Sprintf("INSERT IGNORE INTO w (id, c%d) VALUES %s", i, strings.Join(rows, ",")))
				for k := 0; k < len(rows); k += 25 {
					c.diagnosed(fmt.Sprintf("INSERT INTO w (id, c%d) VALUES %s", i, strings.Replace(rows[k], "("+strconv.Itoa(k), "("+strconv.Itoa(1000+k), 1)))
				}
				c.stored(i)
			}
			t.Logf("%d values in %v", count, time.Since(began).Round(time.Millisecond))
		})
	}
}

// literalFor makes up a literal; own are some that mean something to the type.
func literalFor(r *rand.Rand, own []string) string {
	sign := []string{"", "", "", "-", "+"}[r.IntN(5)]
	switch r.IntN(12) {
	case 0:
		return spelled(own[r.IntN(len(own))])
	case 1:
		return sign + digits(r, 1+r.IntN(22))
	case 2:
		return sign + digits(r, 1+r.IntN(8)) + "." + digits(r, 1+r.IntN(8))
	case 3:
		return sign + digits(r, 1+r.IntN(4)) + "." + digits(r, 1+r.IntN(4)) + "e" + []string{"", "-"}[r.IntN(2)] + digits(r, 1+r.IntN(2))
	case 4:
		return fmt.Sprintf("x'%x'", randomBytes(r, r.IntN(12)))
	case 5:
		return fmt.Sprintf("0x%02x", append([]byte{byte(r.IntN(128))}, randomBytes(r, r.IntN(4))...))
	case 6:
		return "b'" + strconv.FormatInt(r.Int64N(1<<12), 2) + "'"
	case 7:
		return "'" + temporalText(r) + "'"
	case 8:
		return "'" + sign + digits(r, 1+r.IntN(6)) + []string{"", ".", "." + digits(r, 3), "e1", "x", " ", "e-3"}[r.IntN(7)] + "'"
	case 9:
		return "'" + words[r.IntN(len(words))] + words[r.IntN(len(words))] + "'"
	case 10:
		return "'" + mutate(r, strings.Trim(spelled(own[r.IntN(len(own))]), "'")) + "'"
	}
	return []string{"NULL", "TRUE", "FALSE", "DEFAULT", "''", "0", "'0'", "1"}[r.IntN(8)]
}

// words are parts of texts.
var words = []string{"a", "B", "b", " ", "  ", "\u00e9", "\u4e2d", "\U0001F511", ",", "x", "10", ":", "-", "{", "}", "[", "]", `"`, "1", "\t", "true", "null", "a,b", "c", "\u00df", "::", "f", "."}

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(256))
		if b[i] == 0xed {
			b[i]++ // MariaDB takes surrogates for text, which the proxy refuses
		}
	}
	return b
}

// temporalText makes up a text that looks like a date or time.
func temporalText(r *rand.Rand) string {
	part := func(n int) string { return fmt.Sprintf([]string{"%02d", "%d"}[r.IntN(2)], r.IntN(n)) }
	date := []string{"2024", "24", "1969", "1970", "2038", "0000", "9999", "10000"}[r.IntN(8)] + "-" + part(14) + "-" + part(33)
	clock := part(30) + ":" + part(62) + []string{"", ":" + part(62), ":" + part(62) + "." + digits(r, 1+r.IntN(8))}[r.IntN(3)]
	switch r.IntN(5) {
	case 0:
		return date
	case 1:
		return clock
	case 2:
		return strings.NewReplacer("-", "", ":", "", " ", "").Replace(date + clock)
	case 3:
		return date + []string{" ", "T", "  ", "x"}[r.IntN(4)] + clock
	}
	return part(40) + " " + clock
}

// mutate changes, doubles or drops a byte of ASCII text.
func mutate(r *rand.Rand, s string) string {
	if s == "" || len(s) > 100 || strings.ContainsAny(s, `'\`) || !asciiOnly(s) {
		return s[:0]
	}
	b := []byte(s)
	i := r.IntN(len(b))
	switch r.IntN(3) {
	case 0:
		b[i] = " 0-:.,xaZ{}[]9"[r.IntN(14)]
	case 1:
		b = append(b[:i+1], b[i:]...)
	case 2:
		b = append(b[:i], b[i+1:]...)
	}
	return string(b)
}
