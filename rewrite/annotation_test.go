package rewrite

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

func testMAC(body []byte) []byte {
	sum := sha256.Sum256(append([]byte("test "), body...))
	return sum[:16]
}

func testVerify(body, mac []byte) bool { return bytes.Equal(testMAC(body), mac) }

func TestAnnotationText(t *testing.T) {
	for _, test := range []struct{ context, definition, want string }{
		{"entries.title", "varchar(200) COLLATE utf8mb4_unicode_ci NOT NULL",
			"latchkey:v1 context=entries.title varchar(200) COLLATE utf8mb4_unicode_ci NOT NULL mac="},
		{"my table.a=b", "int(11) DEFAULT 5", "latchkey:v1 context=my%20table.a%3Db int(11) DEFAULT 5 mac="},
		{"\u00e9.x", `enum('a','it''s','\\','100%') COMMENT 'x mac=00'`,
			"latchkey:v1 context=%C3%A9.x enum('a','it''s','%5C%5C','100%25') COMMENT 'x mac=00' mac="},
	} {
		text, err := FormatAnnotation(test.context, test.definition, testMAC)
		if err != nil {
			t.Errorf("FormatAnnotation(%q, %q): %v", test.context, test.definition, err)
			continue
		}
		got, ok := strings.CutSuffix(text, text[len(text)-32:])
		if !ok || got != test.want {
			t.Errorf("FormatAnnotation(%q, %q) = %q, want %q and 32 digits", test.context, test.definition, text, test.want)
		}
		a, err := ParseAnnotation(text)
		if err != nil {
			t.Errorf("ParseAnnotation(%q): %v", text, err)
			continue
		}
		if a.Context != test.context || a.Definition != test.definition {
			t.Errorf("ParseAnnotation(%q) = %q, %q, want %q, %q", text, a.Context, a.Definition, test.context, test.definition)
		}
		if !testVerify([]byte(a.Body()), a.MAC) {
			t.Errorf("the MAC of %q does not cover Body %q", text, a.Body())
		}
	}
}

func TestAnnotationRefusesOtherTexts(t *testing.T) {
	const mac = " mac=00112233445566778899aabbccddeeff"
	for _, text := range []string{
		"", "latchkey", "latchkey:", "latchkey:v1", "latchkey:v1 ", "latchkey:v2 context=a.b int" + mac,
		"latchkey:v1 context=a.b int", "latchkey:v1 context=a.b" + mac, "latchkey:v1 context= int" + mac,
		"latchkey:v1 context=a.b " + mac, "latchkey:v1 context=a.b  int" + mac, "latchkey:v1 context=a.b int " + mac,
		"latchkey:v1 ctx=a.b int" + mac, "latchkey:v1 context=a.b int mac=", "latchkey:v1 context=a.b int mac=0",
		"latchkey:v1 context=a.b int mac=0G", "latchkey:v1 context=a.b int mac=AA", "latchkey:v1 context=a.b int mac=aa ",
		"latchkey:v1 context=a%2Eb int" + mac, "latchkey:v1 context=a%c3%a9 int" + mac, "latchkey:v1 context=a% int" + mac,
		"latchkey:v1 context=a%2 int" + mac, "latchkey:v1 context=a%FF int" + mac, "latchkey:v1 context=a\u00e9 int" + mac,
		`latchkey:v1 context=a.b enum('\')` + mac, " latchkey:v1 context=a.b int" + mac,
		"latchkey:v1 context=a.b int mac=" + strings.Repeat("00", 65),
		"latchkey:v1 context=a.b int COMMENT '" + strings.Repeat("x", MaxAnnotation) + "'" + mac,
	} {
		if a, err := ParseAnnotation(text); err == nil {
			t.Errorf("ParseAnnotation(%q) = %+v, want an error", text, a)
		}
	}
}

func TestAnnotationMustFitTheComment(t *testing.T) {
	long := "varchar(10) COMMENT '" + strings.Repeat("x", MaxAnnotation) + "'"
	if _, err := FormatAnnotation("a.b", long, testMAC); !errors.Is(err, errAnnotationLong) {
		t.Errorf("FormatAnnotation of a long definition: %v, want %v", err, errAnnotationLong)
	}
	for _, test := range [][2]string{{"", "int"}, {"a.b", ""}, {"a.b", " int"}, {"\xff", "int"}, {"a.b", "int\xff"}} {
		if text, err := FormatAnnotation(test[0], test[1], testMAC); err == nil {
			t.Errorf("FormatAnnotation(%q, %q) = %q, want an error", test[0], test[1], text)
		}
	}
}

func FuzzParseAnnotation(f *testing.F) {
	f.Add("latchkey:v1 context=a.b int(11) mac=00112233445566778899aabbccddeeff")
	f.Add("latchkey:v1 context=a%20b.%C3%A9 varchar(10) COMMENT 'a mac=00%25' mac=ff")
	f.Add("latchkey:v1 context=%")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAnnotation(text)
		if err != nil {
			return
		}
		if got := a.String(); got != text {
			t.Errorf("ParseAnnotation accepts %q but String is %q", text, got)
		}
		if !IsAnnotation(text) {
			t.Errorf("ParseAnnotation accepts %q but IsAnnotation does not", text)
		}
	})
}

func FuzzFormatAnnotation(f *testing.F) {
	f.Add("a.b", "int(11)")
	f.Add("\u00e9 =%\\", "enum('\\\\',' mac=00')")
	f.Fuzz(func(t *testing.T, context, definition string) {
		text, err := FormatAnnotation(context, definition, testMAC)
		if err != nil {
			return
		}
		a, err := ParseAnnotation(text)
		if err != nil {
			t.Fatalf("ParseAnnotation(%q): %v", text, err)
		}
		if a.Context != context || a.Definition != definition {
			t.Errorf("%q reads back as %q, %q, want %q, %q", text, a.Context, a.Definition, context, definition)
		}
	})
}
