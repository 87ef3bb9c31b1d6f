package keystore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"latchkey/keystore/cell"
)

// hexBytes is a byte string in the vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type userVector struct {
	AccountKey  hexBytes `json:"account_key"`
	Text        string
	Realm       string
	CellRoot    hexBytes `json:"cell_root"`
	SearchRoot  hexBytes `json:"search_root"`
	KeyID       hexBytes `json:"key_id"`
	AwayPrivate hexBytes `json:"away_private"`
	AwayPublic  hexBytes `json:"away_public"`
}

type vectors struct {
	UserKey    userVector `json:"user_key"`
	ServiceKey userVector `json:"service_key"`
	Columns    []struct {
		Context   string
		Epoch     uint16
		ColumnKey hexBytes `json:"column_key"`
	}
	Tags []struct {
		Context, Collation string
		Pad                PadRule
		WeightVersion      uint32   `json:"weight_version"`
		IndexKey           hexBytes `json:"index_key"`
		Weights, Tag       hexBytes
	}
	Fleet struct {
		Secret        hexBytes
		Text, Realm   string
		Away, Schema  hexBytes
		Annotation    hexBytes
		AnnotationMAC hexBytes `json:"annotation_mac"`
	}
}

func loadVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Columns) == 0 || len(v.Tags) == 0 {
		t.Fatal("the vector file lacks columns or tags")
	}
	return &v
}

// accountKey returns an account key of 32 bytes of value b.
func accountKey(t testing.TB, b byte) *AccountKey {
	t.Helper()
	k, err := NewAccountKey(bytes.NewReader(bytes.Repeat([]byte{b}, secretSize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func userKey(t testing.TB, b byte) *UserKey {
	t.Helper()
	k, err := accountKey(t, b).UserKey("main")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func columnKey(t testing.TB, k *UserKey, context string, epoch uint16) *cell.Key {
	t.Helper()
	ck, err := k.ColumnKey(context, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return ck
}

// equalSecret compares without putting either side into test output.
func equalSecret(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not that of the vector", what)
	}
}

func TestUserKeysDeriveAsTheVectors(t *testing.T) {
	all := loadVectors(t)
	for name, v := range map[string]userVector{"user key": all.UserKey, "service key": all.ServiceKey} {
		t.Run(name, func(t *testing.T) {
			a, err := ParseAccountKey([]byte(v.Text))
			if err != nil {
				t.Fatal(err)
			}
			equalSecret(t, "account key", a.secret[:], v.AccountKey)
			equalSecret(t, "text", a.Text(), []byte(v.Text))
			u, err := a.UserKey(v.Realm)
			if err != nil {
				t.Fatal(err)
			}
			equalSecret(t, "cell root", u.roots.cell[:], v.CellRoot)
			equalSecret(t, "search root", u.roots.search[:], v.SearchRoot)
			if got, want := u.ID().String(), hex.EncodeToString(v.KeyID); got != want {
				t.Errorf("key id = %s, want %s", got, want)
			}
			private, err := u.awayPrivate()
			if err != nil {
				t.Fatal(err)
			}
			equalSecret(t, "private key", private.Bytes(), v.AwayPrivate)
			public, err := u.AwayPublicKey()
			if err != nil || !bytes.Equal(public, v.AwayPublic) {
				t.Errorf("public key = %x, error %v, want %x", public, err, v.AwayPublic)
			}
		})
	}
}

func TestColumnAndIndexKeysDeriveAsTheVectors(t *testing.T) {
	v := loadVectors(t)
	u, err := NewUserKey(v.UserKey.Realm, v.UserKey.CellRoot, v.UserKey.SearchRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Columns {
		var got [32]byte
		derive(got[:], v.UserKey.CellRoot, labelCell, v.UserKey.Realm, []byte(c.Context), binary.BigEndian.AppendUint16(nil, c.Epoch))
		equalSecret(t, fmt.Sprintf("column key of %s, epoch %d,", c.Context, c.Epoch), got[:], c.ColumnKey)
		// The column key inside the user key is the same one if either opens
		// what the other sealed.
		known, err := cell.NewKey(c.ColumnKey, u.ID(), c.Epoch, u.Realm(), c.Context)
		if err != nil {
			t.Fatal(err)
		}
		sealed := known.Seal(nil, cell.Params{Family: 3, Plaintext: []byte("x")})
		if _, got, err := columnKey(t, u, c.Context, c.Epoch).Open(nil, sealed, nil); err != nil || string(got) != "x" {
			t.Errorf("ColumnKey(%s, %d) does not open a cell of the vector's key: %v", c.Context, c.Epoch, err)
		}
	}
	for _, c := range v.Tags {
		rule := TagRule{Context: c.Context, Collation: c.Collation, Pad: c.Pad, WeightVersion: c.WeightVersion}
		known, err := cell.NewIndexKey(c.IndexKey)
		if err != nil {
			t.Fatal(err)
		}
		ik, err := u.IndexKey(rule)
		if err != nil {
			t.Fatal(err)
		}
		want := cell.Tag(c.Tag)
		if got := ik.Tag(c.Weights); got != want {
			t.Errorf("tag under %+v = %x, want %x", rule, got, want)
		}
		if got := known.Tag(c.Weights); got != want {
			t.Errorf("tag of the vector's index key = %x, want %x", got, want)
		}
	}
}

func TestFleetSecretDerivesAsTheVector(t *testing.T) {
	v := loadVectors(t).Fleet
	f, err := ParseFleetSecret([]byte(v.Text))
	if err != nil {
		t.Fatal(err)
	}
	equalSecret(t, "fleet secret", f.secret[:], v.Secret)
	equalSecret(t, "text", f.Text(), []byte(v.Text))
	away, schema := f.subkey(labelAway, v.Realm), f.subkey(labelSchema, v.Realm)
	equalSecret(t, "away key", away[:], v.Away)
	equalSecret(t, "schema key", schema[:], v.Schema)
	if got := f.SchemaMAC(v.Realm, v.Annotation); !bytes.Equal(got[:], v.AnnotationMAC) {
		t.Errorf("SchemaMAC = %x, want %x", got, v.AnnotationMAC)
	}
	if !f.VerifySchemaMAC(v.Realm, v.Annotation, v.AnnotationMAC) {
		t.Error("VerifySchemaMAC refuses the vector")
	}
	for i := range v.AnnotationMAC {
		mac := bytes.Clone(v.AnnotationMAC)
		mac[i] ^= 1
		if f.VerifySchemaMAC(v.Realm, v.Annotation, mac) {
			t.Errorf("VerifySchemaMAC accepts a MAC with byte %d changed", i)
		}
		if f.VerifySchemaMAC(v.Realm, v.Annotation, v.AnnotationMAC[:i]) {
			t.Errorf("VerifySchemaMAC accepts a MAC cut to %d bytes", i)
		}
	}
	if f.VerifySchemaMAC("staging", v.Annotation, v.AnnotationMAC) {
		t.Error("VerifySchemaMAC accepts the MAC in another realm")
	}
	if f.VerifySchemaMAC(v.Realm, append(bytes.Clone(v.Annotation), ' '), v.AnnotationMAC) {
		t.Error("VerifySchemaMAC accepts the MAC of another annotation")
	}
}

// TestFormatPagePrintsTheVectors compares every longer value of the vector files
// with docs/format.md.
func TestFormatPagePrintsTheVectors(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "format.md"))
	if err != nil {
		t.Fatal(err)
	}
	var check func(file, name string, v any)
	seen := 0
	check = func(file, name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				check(file, k, e)
			}
		case []any:
			for _, e := range v {
				check(file, name, e)
			}
		case string:
			if seen++; len(v) >= 8 && !bytes.Contains(page, []byte(v)) {
				t.Errorf("docs/format.md lacks a %s of %s", name, file)
			}
		}
	}
	for _, file := range []string{"testdata/vectors.json", "cell/testdata/cells.json", "cell/testdata/away.json"} {
		b, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		check(file, "value", v)
	}
	if seen < 100 {
		t.Errorf("only %d values were compared", seen)
	}
}

// TestNothingIsPrinted passes every exported type that holds key bytes through
// every way a value gets into a log or an error.
func TestNothingIsPrinted(t *testing.T) {
	const redacted = "[redacted]"
	account, user := accountKey(t, 0xAB), userKey(t, 0xAB)
	fleet, err := NewFleetSecret(bytes.NewReader(bytes.Repeat([]byte{0xAB}, secretSize)))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := NewCache("main", 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := &ServiceKeys{}
	for _, v := range []any{account, user, fleet, cache, set, &ServiceKey{key: user}, &Keyring{}, *account, *fleet} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%T with %s prints %d bytes, want %q", v, verb, len(got), redacted)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", v)
		if !strings.Contains(log.String(), "key="+redacted) {
			t.Errorf("%T is not redacted in a log line", v)
		}
		if got, err := json.Marshal(map[string]any{"key": v}); err != nil || string(got) != `{"key":"`+redacted+`"}` {
			t.Errorf("%T as JSON: %d bytes, error %v", v, len(got), err)
		}
		typ := reflect.TypeOf(v)
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Comparable() {
			t.Errorf("%v can be compared with ==", typ)
		}
	}
	if got := fmt.Sprintf("%v %+v", struct{ K *AccountKey }{account}, []*UserKey{user}); strings.Contains(got, "171") ||
		strings.Contains(strings.ToLower(got), "abab") {
		t.Error("a key inside another value is printed")
	}
}
