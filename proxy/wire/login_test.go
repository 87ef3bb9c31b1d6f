package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// greeting10 is what MariaDB 10.11.19 sends: capability bit 0 clear, extended flags present.
func greeting10() []byte {
	p := append([]byte{10}, "5.5.5-10.11.19-MariaDB\x00"...)
	p = append(p, 0x2a, 0, 0, 0)
	p = append(p, "abcdefgh\x00"...)
	p = append(p, 0xfe, 0xf7, 0x2d, 0x02, 0x00, 0xff, 0x81, 21)
	p = append(p, 0, 0, 0, 0, 0, 0)
	p = append(p, 0x1d, 0, 0, 0)
	p = append(p, "ijklmnopqrst\x00"...)
	return append(p, "mysql_native_password\x00"...)
}

func TestGreeting(t *testing.T) {
	p := greeting10()
	g, err := ParseGreeting(p)
	if err != nil {
		t.Fatal(err)
	}
	if g.Version != "5.5.5-10.11.19-MariaDB" || g.ThreadID != 42 || g.Charset != 0x2d || g.Status != StatusAutocommit {
		t.Errorf("parsed %+v", g)
	}
	if got, want := g.Caps, Capabilities(0x1d_81ff_f7fe); got != want {
		t.Errorf("capabilities %x, want %x", got, want)
	}
	if got := string(g.Scramble); got != "abcdefghijklmnopqrst" {
		t.Errorf("scramble %q", got)
	}
	if g.AuthPlugin != "mysql_native_password" {
		t.Errorf("plugin %q", g.AuthPlugin)
	}
	before := bytes.Clone(p)
	mask := ^(CapCompress | CapBulkOperations | CapCacheMetadata)
	g.SetCaps(p, g.Caps&mask)
	again, err := ParseGreeting(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Caps, Capabilities(0x1d_81ff_f7fe)&mask; got != want {
		t.Errorf("masked capabilities %x, want %x", got, want)
	}
	again.SetCaps(p, 0x1d_81ff_f7fe)
	if !bytes.Equal(p, before) {
		t.Error("masking changed more than the capability flags")
	}
}

func TestGreetingWithoutExtendedFlags(t *testing.T) {
	p := greeting10()
	g, err := ParseGreeting(p)
	if err != nil {
		t.Fatal(err)
	}
	p[g.capsAt] |= 1 // a MySQL server: the same four bytes are filler
	if g, err = ParseGreeting(p); err != nil {
		t.Fatal(err)
	}
	if g.Caps>>32 != 0 {
		t.Errorf("extended flags %x read from filler", g.Caps>>32)
	}
}

func TestGreetingRefuses(t *testing.T) {
	p := greeting10()
	for n := range len(p) - len("mysql_native_password\x00") {
		if _, err := ParseGreeting(p[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v, want %v", n, err, ErrMalformed)
		}
	}
	p[0] = 9
	if _, err := ParseGreeting(p); !errors.Is(err, ErrMalformed) {
		t.Errorf("protocol 9: %v, want %v", err, ErrMalformed)
	}
}

const loginCaps = CapProtocol41 | CapSecureConnection | CapPluginAuth | CapLenencAuth | CapConnectAttrs |
	CapConnectWithDB | CapExtendedMetadata | CapProgress

func attributes(pairs ...string) []byte {
	var b []byte
	for _, s := range pairs {
		b = AppendLenencString(b, s)
	}
	return b
}

func TestLoginRoundTrip(t *testing.T) {
	full := Login{Caps: loginCaps, MaxPacket: 1 << 24, Charset: 45, User: []byte("app"), Auth: bytes.Repeat([]byte{0}, 20),
		Database: []byte("journal"), Plugin: []byte("client_ed25519"), Attributes: attributes("_os", "Linux")}
	short := full
	short.Caps = CapProtocol41 | CapSecureConnection | CapMySQL
	short.Database, short.Plugin, short.Attributes = nil, nil, nil
	long := full
	long.Auth = bytes.Repeat([]byte{7}, 300)
	for name, want := range map[string]Login{"full": full, "short": short, "long authentication data": long} {
		p := want.Append(nil)
		got, err := ParseLogin(p, ^CapMySQL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := got.Append(nil); !bytes.Equal(again, p) {
			t.Errorf("%s: rebuilt\n%x\nfrom\n%x", name, again, p)
		}
		if got.Caps != want.Caps || string(got.User) != "app" || !bytes.Equal(got.Auth, want.Auth) {
			t.Errorf("%s: parsed %+v", name, got)
		}
	}
}

func TestLoginIsReadByTheCommonFlags(t *testing.T) {
	p := Login{Caps: loginCaps | CapCompress, User: []byte("u"), Auth: []byte{1}, Database: []byte("d"), Plugin: []byte("p")}.Append(nil)
	l, err := ParseLogin(p, loginCaps&^CapProgress)
	if err != nil {
		t.Fatal(err)
	}
	if l.Caps != loginCaps&^CapProgress {
		t.Errorf("capabilities %x, want %x", l.Caps, loginCaps&^CapProgress)
	}
	if string(l.Database) != "d" || string(l.Plugin) != "p" {
		t.Errorf("parsed %+v", l)
	}
}

func TestSSLRequestCarriesTheSameFlags(t *testing.T) {
	l := Login{Caps: loginCaps, MaxPacket: 77, Charset: 45, User: []byte("u")}
	p := l.AppendSSLRequest(nil)
	if !IsSSLRequest(p) {
		t.Fatal("not an SSLRequest")
	}
	got, err := ParseLogin(p, ^CapMySQL)
	if err != nil {
		t.Fatal(err)
	}
	if got.Caps != loginCaps|CapSSL || got.MaxPacket != 77 || got.Charset != 45 || got.User != nil {
		t.Errorf("parsed %+v", got)
	}
	if IsSSLRequest(l.Append(nil)[:32]) {
		t.Error("a response without CLIENT_SSL was taken for an SSLRequest")
	}
}

func TestLoginRefuses(t *testing.T) {
	whole := Login{Caps: loginCaps &^ (CapConnectAttrs | CapPluginAuth | CapConnectWithDB), User: []byte("user"), Auth: []byte("abc")}.Append(nil)
	for n := range len(whole) {
		if _, err := ParseLogin(whole[:n], ^CapMySQL); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v, want %v", n, err, ErrMalformed)
		}
	}
	huge := Login{Caps: loginCaps, Attributes: attributes("k", strings.Repeat("v", maxAttributes))}.Append(nil)
	if _, err := ParseLogin(huge, ^CapMySQL); !errors.Is(err, ErrMalformed) {
		t.Errorf("attributes above the limit: %v, want %v", err, ErrMalformed)
	}
	cut := Login{Caps: loginCaps, User: []byte("u"), Attributes: attributes("k", "v")}.Append(nil)
	if _, err := ParseLogin(cut[:len(cut)-1], ^CapMySQL); !errors.Is(err, ErrMalformed) {
		t.Errorf("truncated attributes: %v, want %v", err, ErrMalformed)
	}
	old := Login{Caps: CapSecureConnection}.Append(nil)
	if _, err := ParseLogin(old, ^CapMySQL); !errors.Is(err, ErrMalformed) {
		t.Errorf("protocol 4.0: %v, want %v", err, ErrMalformed)
	}
}

func TestChangeUserRoundTrip(t *testing.T) {
	for name, u := range map[string]ChangeUser{
		"full": {User: []byte("u"), Auth: []byte("12345678901234567890"), Database: []byte("d"), Charset: []byte{45, 0},
			Plugin: []byte("mysql_native_password"), Attributes: attributes("_os", "Linux")},
		"without attributes": {User: []byte("u"), Database: []byte("d"), Charset: []byte{45, 0}, Plugin: []byte("p")},
		"without plugin":     {User: []byte("u"), Charset: []byte{45, 0}},
		"without charset":    {User: []byte("u")},
	} {
		p := u.Append(nil, loginCaps)
		got, err := ParseChangeUser(p, loginCaps)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := got.Append(nil, loginCaps); !bytes.Equal(again, p) {
			t.Errorf("%s: rebuilt %q from %q", name, again, p)
		}
		if string(got.User) != "u" || !bytes.Equal(got.Attributes, u.Attributes) {
			t.Errorf("%s: parsed %+v", name, got)
		}
	}
}

func TestTakeAttribute(t *testing.T) {
	for _, test := range []struct {
		name  string
		in    []byte
		value string
		rest  []byte
		found bool
		err   error
	}{
		{"absent", attributes("a", "1"), "", attributes("a", "1"), false, nil},
		{"no attributes", nil, "", nil, false, nil},
		{"first", attributes("latchkey", "LK1-", "a", "1"), "LK1-", attributes("a", "1"), true, nil},
		{"between", attributes("a", "1", "latchkey", "LK1-", "b", "2"), "LK1-", attributes("a", "1", "b", "2"), true, nil},
		{"last and empty", attributes("a", "1", "latchkey", ""), "", attributes("a", "1"), true, nil},
		{"another case", attributes("Latchkey", "x"), "", attributes("Latchkey", "x"), false, nil},
		{"as a value", attributes("a", "latchkey"), "", attributes("a", "latchkey"), false, nil},
		{"twice", attributes("latchkey", "1", "latchkey", "2"), "", nil, false, ErrDuplicateAttribute},
		{"truncated", attributes("latchkey", "123")[:10], "", nil, false, ErrMalformed},
		{"key without value", attributes("latchkey"), "", nil, false, ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := bytes.Clone(test.in)
			value, rest, found, err := TakeAttribute(in, "latchkey")
			if string(value) != test.value || !bytes.Equal(rest, test.rest) || found != test.found || !errors.Is(err, test.err) {
				t.Errorf("got %q %q %v %v, want %q %q %v %v", value, rest, found, err, test.value, test.rest, test.found, test.err)
			}
			if !bytes.Equal(in, test.in) {
				t.Error("the packet was changed")
			}
		})
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add(greeting10())
	f.Fuzz(func(t *testing.T, p []byte) {
		g, err := ParseGreeting(p)
		if err != nil {
			return
		}
		before := bytes.Clone(p)
		g.SetCaps(p, g.Caps)
		if !bytes.Equal(p, before) {
			t.Fatal("writing the same flags changed the packet")
		}
	})
}

func FuzzLogin(f *testing.F) {
	f.Add(Login{Caps: loginCaps, User: []byte("u"), Auth: []byte("x"), Database: []byte("d"), Plugin: []byte("p"),
		Attributes: attributes("latchkey", "x")}.Append(nil), uint64(^CapMySQL))
	// The handshake response with truncated attributes that ends a go-mysql server.
	hostile, _ := hex.DecodeString("0da6ff20000000012d00000000000000000000000000000000000000000000007573657200000070006e006d7973716c5f6e61746976655f70617373776f726400ff")
	f.Add(hostile, uint64(^CapMySQL))
	f.Fuzz(func(t *testing.T, p []byte, offered uint64) {
		l, err := ParseLogin(p, Capabilities(offered))
		if err != nil || IsSSLRequest(p) {
			return
		}
		again, err := ParseLogin(l.Append(nil), Capabilities(offered))
		if err != nil {
			t.Fatalf("rebuilt response: %v", err)
		}
		if !bytes.Equal(again.Append(nil), l.Append(nil)) {
			t.Fatal("rebuilding is not stable")
		}
		checkAttributes(t, l.Attributes)
	})
}

func FuzzChangeUser(f *testing.F) {
	f.Add(ChangeUser{User: []byte("u"), Auth: []byte("x"), Database: []byte("d"), Charset: []byte{45, 0}, Plugin: []byte("p"),
		Attributes: attributes("latchkey", "x")}.Append(nil, loginCaps))
	f.Fuzz(func(t *testing.T, p []byte) {
		u, err := ParseChangeUser(p, loginCaps)
		if err != nil {
			return
		}
		if _, err := ParseChangeUser(u.Append(nil, loginCaps), loginCaps); err != nil {
			t.Fatalf("rebuilt request: %v", err)
		}
		checkAttributes(t, u.Attributes)
	})
}

func checkAttributes(t *testing.T, attrs []byte) {
	_, rest, found, err := TakeAttribute(attrs, "latchkey")
	if err != nil {
		return
	}
	if _, _, again, err := TakeAttribute(rest, "latchkey"); again || err != nil {
		t.Fatalf("attribute found again: %v %v (first %v)", again, err, found)
	}
}
