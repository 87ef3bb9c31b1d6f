package configs

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/proxy"
	"latchkey/rewrite"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestEveryProblemIsReportedAtItsPlace(t *testing.T) {
	path := filepath.Join("testdata", "problems.yaml")
	_, err := Load(path)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Load = %v, want Problems", err)
	}
	got := filepath.ToSlash(problems.Error()) + "\n"
	golden := filepath.Join("testdata", "problems.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
	for _, secret := range []string{"hunter2", "LKF1", "LK1-"} {
		if strings.Contains(got, secret) {
			t.Errorf("the problems repeat %q", secret)
		}
	}
}

func TestSyntaxErrorsNameTheirPlaceAndQuoteNothing(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not a mapping", "a: b: secret", "c.yaml:1:4: not YAML: mapping value is not allowed in this context"},
		{"tab", "listen:\n\taddress: secret", "c.yaml:2:1: not YAML: found character '\t' that cannot start any token"},
		{"empty", "", "c.yaml:1:1: the file is empty"},
		{"only comments", "# secret\n", "c.yaml:1:1: the file is empty"},
		{"a list", "[secret]", "c.yaml:1:1: the top level must be a mapping (key: value)"},
		{"two documents", "mode: enforce\n---\nmode: enforce\n", "c.yaml:3:1: a second YAML document; the configuration is one"},
		{"long", strings.Repeat("# secret\n", maxFileSize/8), "c.yaml:1:1: the file is longer than 1048576 bytes"},
		{"many tokens", strings.Repeat("- ", maxTokens+1), "c.yaml:1:1: the file has more than 100000 YAML tokens"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(test.text))
			if err == nil || err.Error() != test.want {
				t.Errorf("Parse = %v, want %s", err, test.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse("c.yaml", []byte("mode: enforce"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File = "c.yaml"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse = %+v, want %+v", got, want)
	}
}

func TestTheCompleteExampleSpellsOutTheDefaults(t *testing.T) {
	c, err := Load("latchkey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	// What the example sets to something else.
	want.File = "latchkey.yaml"
	want.Listen.ProxyNetworks = nil
	want.Backend.PasswordFile = "/etc/latchkey/backend.password"
	want.Keystore.SecretFile = "/etc/latchkey/fleet.secret"
	want.Keystore.Accounts = []string{"app"}
	want.Keystore.ServiceKeys = map[string]string{"app": "/etc/latchkey/app.key"}
	want.Accounts = map[string]Account{"gnucash": {KeyFile: "/etc/latchkey/gnucash.key"}, "backup": {Raw: true}}
	policy := c.Policy
	c.Policy, want.Policy = nil, nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("latchkey.yaml = %+v, want %+v", c, want)
	}

	entries := policy.Table("journal", "entries", 0)
	if entries == nil || entries.Owner != "user_id" {
		t.Fatalf("journal.entries = %+v, want owner user_id", entries)
	}
	title := entries.Column("TITLE")
	if title == nil || !title.SearchEquality || title.ServiceKey != "" || title.Type == nil || !strings.HasPrefix(title.Type.String(), "varchar(200)") {
		t.Errorf("title = %+v, want a searchable varchar(200) under the user key", title)
	}
	if body := entries.Column("body"); body == nil || body.Pad != 256 || body.SearchEquality {
		t.Errorf("body = %+v, want pad 256 and no search", body)
	}
	email := policy.Table("journal", "users", 0).Column("email")
	if email == nil || email.ServiceKey != "app" || email.Context != "users.email" {
		t.Errorf("email = %+v, want service key app and context users.email", email)
	}
}

func TestTheJournalExampleLoads(t *testing.T) {
	c, err := Load("journal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if problems := c.Unavailable(); len(problems) > 0 {
		t.Errorf("the example cannot be served: %v", problems)
	}
	for _, column := range []string{"title", "body", "amount"} {
		if c.Policy.Table("journal", "entries", 0).Column(column) == nil {
			t.Errorf("journal.entries.%s is not protected", column)
		}
	}
}

func TestSettings(t *testing.T) {
	text := `
listen:
  address: "[::1]:13307"
  tls: {cert: certs/server.pem, key: /abs/server.key, client_ca: ca.pem, require: true}
  proxy_protocol: [10.0.0.0/8, "::1"]
backend:
  address: db.example.com:3306
  tls: {mode: fingerprint, fingerprint: "` + strings.Repeat("AB:", 31) + `cd", cert: c.pem, key: c.key}
admin: {address: ""}
evaluator: {binary: "off", max_rows: 10, max_bytes: 2GiB, max_time: 30s}
keystore: {token_ttl: 90m, cache: {size: 5, ttl: 1m30s}}
allow_insecure_keys: true
keyring_idle: 15m
databases:
  d:
    t:
      columns:
        a:
        b: {locked: null}
        c: {locked: "***", overwrite: allow, plaintext: accept}
        d: {locked: "null", context: other.name}
`
	c, err := Parse("/etc/latchkey/c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %+v, want %+v", what, got, want)
		}
	}
	check("listen address", c.Listen.Address, "[::1]:13307")
	check("listen", c.Listen.ListenConfig, proxy.ListenConfig{
		TLS:           proxy.ListenTLS{Cert: "/etc/latchkey/certs/server.pem", Key: "/abs/server.key", ClientCA: "/etc/latchkey/ca.pem", Require: true},
		ProxyNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	check("backend", c.Backend.BackendConfig, proxy.BackendConfig{
		Address: "db.example.com:3306",
		TLS: proxy.BackendTLS{Mode: proxy.BackendTLSFingerprint, Fingerprint: strings.Repeat("ab", 31) + "cd",
			Cert: "/etc/latchkey/c.pem", Key: "/etc/latchkey/c.key"},
	})
	check("backend account", []string{c.Backend.User, c.Backend.PasswordFile}, []string{"latchkey", ""})
	check("admin", c.Admin, Admin{})
	check("evaluator", c.Evaluator, Evaluator{Binary: EvaluatorOff, MaxRows: 10, MaxBytes: 2 << 30, MaxTime: 30 * time.Second})
	check("token_ttl", c.Keystore.TokenTTL, 90*time.Minute)
	check("cache", []any{c.Keystore.CacheSize, c.Keystore.CacheTTL}, []any{5, 90 * time.Second})
	check("allow_insecure_keys", c.AllowInsecureKeys, true)
	check("keyring_idle", c.KeyringIdle, 15*time.Minute)
	check("columns", c.Policy.Databases["d"]["t"].Columns, map[string]*rewrite.ColumnPolicy{
		"a": {},
		"b": {Locked: rewrite.Locked{Mode: rewrite.LockedNull}},
		"c": {Locked: rewrite.Locked{Mode: rewrite.LockedText, Text: "***"}, OverwriteAllow: true, PlaintextAccept: true},
		"d": {Locked: rewrite.Locked{Mode: rewrite.LockedNull}, Context: "other.name"},
	})
}

func TestWhatIsNotAvailableIsSaidNotIgnored(t *testing.T) {
	c, err := Parse("c.yaml", []byte("keystore: {service_keys: {k: /k}}\ndatabases: {d: {t: {columns: {c: {key: \"service:k\", bind: [a]}}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "c.yaml:2:59: databases.d.t.columns.c.bind is not available in this version"
	if got := c.Unavailable().Error(); got != want {
		t.Errorf("Unavailable:\n%s\nwant:\n%s", got, want)
	}
}

func TestAMissingFileIsNoProblemList(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load = %v, want %v", err, os.ErrNotExist)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"latchkey.yaml", "journal.yaml", "prometheus.yml", filepath.Join("testdata", "problems.yaml")} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("c.yaml", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v: want exactly one", c, err)
		}
		var problems Problems
		if err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("error %v is not a list of problems", err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Fatalf("problem without a place or text: %+v", p)
			}
		}
	})
}
