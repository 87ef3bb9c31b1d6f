package rewrite

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

func TestLiteral(t *testing.T) {
	f := Facts{Charset: CharsetUTF8MB4, ServerVersion: testVersion}
	for _, tc := range []struct {
		sql   string
		token int
		want  Literal
	}{
		{`'a'`, 0, Literal{Kind: TokString, Bytes: []byte("a"), Tokens: 1}},
		{`'a' "b" 'c' d`, 0, Literal{Kind: TokString, Bytes: []byte("abc"), Tokens: 3}},
		{`N'a' 'b'`, 0, Literal{Kind: TokNational, Bytes: []byte("ab"), Tokens: 2, National: true}},
		{`_LATIN1'a' 'b'`, 1, Literal{Kind: TokString, Bytes: []byte("ab"), Tokens: 2, Introducer: "latin1"}},
		{`_utf8 x'4a'`, 1, Literal{Kind: TokHexString, Bytes: []byte("J"), Tokens: 1, Introducer: "utf8"}},
		{`0x141`, 0, Literal{Kind: TokHexNumber, Bytes: []byte("\x01A"), Tokens: 1}},
		{`0b101000001`, 0, Literal{Kind: TokBitNumber, Bytes: []byte("\x01A"), Tokens: 1}},
		{`b''`, 0, Literal{Kind: TokBitString, Bytes: []byte{}, Tokens: 1}},
		{`-12.50`, 1, Literal{Kind: TokDecimal, Bytes: []byte("12.50"), Tokens: 1}},
		{`'\0\'\"\b\n\r\t\Z\\\%\_\x'`, 0, Literal{Kind: TokString, Bytes: []byte("\x00'\"\b\n\r\t\x1A\\\\%\\_x"), Tokens: 1}},
	} {
		var s Statement
		if err := s.Scan([]byte(tc.sql), &f); err != nil {
			t.Fatalf("%s: %v", tc.sql, err)
		}
		got, err := s.AppendLiteral([]byte("kept"), tc.token)
		if err != nil || got.Kind != tc.want.Kind || !bytes.Equal(got.Bytes, tc.want.Bytes) || got.Tokens != tc.want.Tokens ||
			got.Introducer != tc.want.Introducer || got.National != tc.want.National {
			t.Errorf("%s: got %+v, want %+v (%v)", tc.sql, got, tc.want, err)
		}
	}
	var s Statement
	if err := s.Scan([]byte("a"), &f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Literal(0); !errors.Is(err, ErrNotLiteral) {
		t.Errorf("a word gives error %v, want ErrNotLiteral", err)
	}
	if _, err := s.Literal(7); !errors.Is(err, ErrNotLiteral) {
		t.Errorf("no token gives error %v, want ErrNotLiteral", err)
	}
}

// randomLiteral makes a literal that may be wrong.
func randomLiteral(r *rand.Rand) string {
	pick := func(parts ...string) string {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		return b.String()
	}
	quoted := func(q string) string {
		return q + pick("a", "B", "0", "n", `\`, `\`, q+q, `'`, `"`, "%", "_", "Z", "ж", "😀", "\xe9", "\x00", "\n", " ", "*/", "--", ";") + q
	}
	switch r.IntN(8) {
	case 0:
		return "x'" + pick("0a", "41", "Ff", "0") + "'"
	case 1:
		return "0x" + pick("0", "4", "f", "A") + "1"
	case 2:
		return "b'" + pick("0", "1", "11111111") + "'"
	case 3:
		return "0b1" + pick("0", "1", "00000000")
	case 4:
		return quoted(`"`)
	case 5:
		return quoted("'") + pick(" ", "\n", "/**/") + quoted("'")
	case 6:
		return "N" + quoted("'")
	}
	return quoted("'")
}

// What a literal decodes to must be what the server stores for it.
func TestLiteralsAgainstServer(t *testing.T) {
	for _, charset := range []Charset{CharsetUTF8MB4, CharsetLatin1, CharsetBinary} {
		for _, mode := range []SQLMode{0, NoBackslashEscapes} {
			t.Run(charset.String()+" "+mode.String(), func(t *testing.T) {
				b := newBackend(t, charset, mode)
				r := rand.New(rand.NewPCG(uint64(charset), uint64(mode)))
				var s Statement
				compared := 0
				for range 2500 {
					text := randomLiteral(r)
					if err := s.Scan([]byte(text), &b.facts); err != nil || s.Len() == 0 {
						continue
					}
					lit, err := s.Literal(0)
					if err != nil || lit.Tokens != s.Len() {
						continue
					}
					var got string
					err = b.conn.QueryRowContext(context.Background(), "SELECT HEX(CONCAT("+text+", ''))").Scan(&got)
					if err != nil {
						continue // not text in its character set
					}
					if want := strings.ToUpper(hex.EncodeToString(lit.Bytes)); got != want {
						t.Errorf("%q: server has %s, decoded %s", text, got, want)
					}
					compared++
				}
				if compared < 500 {
					t.Errorf("only %d literals were compared", compared)
				}
			})
		}
	}
}

func TestName(t *testing.T) {
	for _, tc := range []struct {
		facts Facts
		sql   string
		want  string
	}{
		{Facts{Charset: CharsetUTF8MB4}, "Ab_1", "Ab_1"},
		{Facts{Charset: CharsetUTF8MB4}, "`a``b`", "a`b"},
		{Facts{Charset: CharsetUTF8MB4}, "`a\\n`", `a\n`},
		{Facts{Charset: CharsetUTF8MB4, Mode: ANSIQuotes}, `"a""b\"`, `a"b\`},
		{Facts{Charset: CharsetUTF8MB4}, "@'a\\'b'", "a'b"},
		{Facts{Charset: CharsetUTF8MB4, Mode: NoBackslashEscapes}, `@'a\'`, `a\`},
		{Facts{Charset: CharsetUTF8MB4}, "@`a\\``b`", "a\\`b"},
		{Facts{Charset: CharsetUTF8MB4}, "@a.b", "a.b"},
		{Facts{Charset: CharsetLatin1}, "\xe9\x9c", "éœ"},
		{Facts{Charset: CharsetLatin1}, "`\x80`", "€"},
		{Facts{Charset: CharsetBinary}, "`\xc3\xa9`", "é"},
		{Facts{Charset: CharsetUTF8MB4}, "`\xff`", "\uFFFD"},
		{Facts{Charset: CharsetUTF8MB4}, "'a'", ""},
	} {
		var s Statement
		if err := s.Scan([]byte(tc.sql), &tc.facts); err != nil {
			t.Fatalf("%q: %v", tc.sql, err)
		}
		if got := s.Name(0); got != tc.want {
			t.Errorf("%v %q is %q, want %q", tc.facts.Charset, tc.sql, got, tc.want)
		}
	}
}

// Names in the client's character set must be the names that the server sees.
func TestNamesAgainstServer(t *testing.T) {
	for _, charset := range []Charset{CharsetLatin1, CharsetUTF8MB4} {
		b := newBackend(t, charset, 0)
		b.exec("SET character_set_results = utf8mb4")
		for c := 0x80; c < 0x100; c++ {
			text := "`" + string(rune(c)) + "`"
			if charset == CharsetLatin1 {
				text = string([]byte{'`', byte(c), '`'})
			}
			rows, err := b.conn.QueryContext(context.Background(), "SELECT 1 AS "+text)
			if err != nil {
				t.Fatalf("%v %x: %v", charset, c, err)
			}
			columns, _ := rows.Columns()
			rows.Close()
			var s Statement
			if err := s.Scan([]byte(text), &b.facts); err != nil {
				t.Fatal(err)
			}
			if got := s.Name(0); got != columns[0] {
				t.Errorf("%v %x: the server's name is %q, ours %q", charset, c, columns[0], got)
			}
		}
	}
}

// Two names are one for the server exactly when they fold alike. Every letter is tried with all its case variants.
func TestFoldNameAgainstServer(t *testing.T) {
	b := newBackend(t, CharsetUTF8MB4, 0)
	for r := rune('A'); r < 0x10000; r++ {
		if 0xD800 <= r && r < 0xE000 || r == '`' {
			continue
		}
		variants := map[rune]bool{unicode.ToLower(r): true, unicode.ToUpper(r): true, unicode.ToTitle(r): true}
		for v := unicode.SimpleFold(r); v != r; v = unicode.SimpleFold(v) {
			variants[v] = true
		}
		for v := range variants {
			if v <= r || v >= 0x10000 {
				continue
			}
			code, _ := b.answer(fmt.Sprintf("SELECT `%c` FROM (SELECT 1 `%c`) t", r, v))
			same := FoldName(string(r)) == FoldName(string(v))
			if same != (code == 0) {
				t.Errorf("%U and %U: server answers %d, folded alike %v", r, v, code, same)
			}
		}
	}
	if FoldName("Title_1") != "title_1" || FoldTable("Title", 0) != "Title" || FoldTable("Title", 1) != "title" {
		t.Error("ASCII names do not fold")
	}
}
