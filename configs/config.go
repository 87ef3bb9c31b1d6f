// Package configs reads Latchkey's configuration: strict YAML into the types of
// the packages it configures, with every problem reported at once by line and
// column. It opens no file but the one it is given: secrets are named by path and
// read by the package that holds them. An unknown key is an error, since a
// misspelt protection would protect nothing. Beside it lie the examples that are
// shipped. docs/config.md describes every setting.
package configs

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"latchkey/keystore"
	"latchkey/proxy"
	"latchkey/rewrite"
)

// Config is a whole configuration. Paths are absolute or relative to the working
// directory; a setting that the file leaves out has its default.
type Config struct {
	// File is the path that Load was given.
	File string

	Listen    Listen
	Backend   Backend
	Admin     Admin
	Evaluator Evaluator
	Keystore  Keystore
	// Accounts are the logins that cannot push a key, by name.
	Accounts map[string]Account
	Mode     Mode
	// AllowInsecureKeys accepts keys over connections that are neither TLS nor
	// from this machine.
	AllowInsecureKeys bool
	// KeyringIdle empties the keyring of a session idle for so long; 0 is never.
	KeyringIdle time.Duration
	// ConversionRate is how many rows a second each session converts in the
	// background for owners who have unlocked; 0 is none.
	ConversionRate int
	Policy         *rewrite.Policy

	// later are the settings of the policy that this version does not carry out, for Unavailable.
	later Problems
}

// Listen is where clients connect.
type Listen struct {
	Address string // host:port
	proxy.ListenConfig
}

// Backend is the MariaDB server behind the proxy.
type Backend struct {
	proxy.BackendConfig
	// User and PasswordFile are the proxy's own account, with which it reads the
	// schema. An empty PasswordFile means no password.
	User         string
	PasswordFile string
}

// Admin is the endpoint for operators; an empty Address switches it off.
type Admin struct {
	Address string // host:port
}

// Evaluator is the private MariaDB that finishes statements.
type Evaluator struct {
	Binary   string // EvaluatorAuto, EvaluatorOff or a path
	Dir      string // empty means a temporary directory
	MaxRows  int
	MaxBytes int64
	MaxTime  time.Duration
}

// The words of evaluator.binary that are no path.
const (
	EvaluatorAuto = "auto"
	EvaluatorOff  = "off"
)

// Keystore is about user keys and the operator's keys.
type Keystore struct {
	Database   string
	Realm      string
	SecretFile string
	Accounts   []string // logins that may enroll, unlock, recover, register
	Admins     []string
	TokenTTL   time.Duration
	// TokenSliding extends a token that is used.
	TokenSliding bool
	ForgetGrace  time.Duration
	// Password is what a password slot costs to try.
	Password keystore.PasswordCost
	// Escrow is the name of the service key that gets a slot of every user key; empty is none.
	Escrow string
	// ShredList is the file that remembers who was forgotten; empty is none.
	ShredList string
	// Adopt takes over owners whose records were made under a fleet secret that is lost.
	Adopt       bool
	CacheSize   int
	CacheTTL    time.Duration
	ServiceKeys map[string]string // name to file
}

// Account is a login that cannot push a key: it has a key file or raw access.
type Account struct {
	KeyFile string
	Raw     bool
}

// Mode says what happens to statements that cannot be protected.
type Mode string

// The modes. ModeReport protects the annotated columns only and counts what ModeEnforce would do about the others.
const (
	ModeEnforce Mode = "enforce"
	ModeReport  Mode = "report"
)

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		Listen: Listen{Address: "127.0.0.1:3307"},
		Backend: Backend{
			BackendConfig: proxy.BackendConfig{
				Address: "127.0.0.1:3306",
				TLS:     proxy.BackendTLS{Mode: proxy.BackendTLSOff},
			},
			User: "latchkey",
		},
		Admin:          Admin{Address: "127.0.0.1:9307"},
		Evaluator:      Evaluator{Binary: EvaluatorAuto, MaxRows: 200_000, MaxBytes: 64 << 20, MaxTime: 5 * time.Minute},
		ConversionRate: 500,
		Keystore: Keystore{
			Database:    "latchkey_keys",
			Realm:       "main",
			TokenTTL:    12 * time.Hour,
			Password:    keystore.DefaultPasswordCost,
			ForgetGrace: 168 * time.Hour,
			CacheSize:   10_000,
			CacheTTL:    60 * time.Second,
		},
		Mode:   ModeEnforce,
		Policy: &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{}},
	}
}

// Load reads the configuration file at path. The error is Problems when the file
// could be read but is not right.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a configuration from text, which stands in the file named file. The
// error is Problems.
func Parse(file string, text []byte) (*Config, error) {
	d := &document{file: file}
	c := Default()
	c.File = file
	if root := d.parse(text); root != nil {
		d.config(root, c)
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return c, nil
}

// Unavailable returns the settings that this version reads but does not act on
// yet. A server must not start with any: each changes what is protected or
// refused.
func (c *Config) Unavailable() Problems {
	all := slices.Clone(c.later)
	all.sort()
	return all
}

// WithoutPolicy returns a copy without policy and mode, which a reload may
// change: two of them are equal when the other settings are.
func (c *Config) WithoutPolicy() *Config {
	settings := *c
	settings.Policy, settings.later, settings.Mode = nil, nil, ModeEnforce
	return &settings
}

// config reads the whole file.
func (d *document) config(root ast.Node, c *Config) {
	var databases ast.Node
	d.fields(root, "", map[string]func(ast.Node, string){
		"listen":    func(n ast.Node, path string) { d.listen(n, path, &c.Listen) },
		"backend":   func(n ast.Node, path string) { d.backend(n, path, &c.Backend) },
		"admin":     func(n ast.Node, path string) { d.admin(n, path, &c.Admin) },
		"evaluator": func(n ast.Node, path string) { d.evaluator(n, path, &c.Evaluator) },
		"keystore":  func(n ast.Node, path string) { d.keystore(n, path, &c.Keystore) },
		"accounts":  func(n ast.Node, path string) { d.accounts(n, path, c) },
		"mode": func(n ast.Node, path string) {
			if v, ok := d.choice(n, path, string(ModeEnforce), string(ModeReport)); ok {
				c.Mode = Mode(v)
			}
		},
		"allow_insecure_keys": d.setBool(&c.AllowInsecureKeys),
		"keyring_idle":        d.setDuration(&c.KeyringIdle, 0),
		"conversion": func(n ast.Node, path string) {
			d.fields(n, path, map[string]func(ast.Node, string){"rate": d.setInt(&c.ConversionRate, 0, 1_000_000)})
		},
		"databases": func(n ast.Node, _ string) { databases = n },
	})
	// The policy refers to the rest.
	if databases != nil {
		d.databases(databases, "databases", c)
	}
	d.checkListen(c)
	d.checkEscrow(&c.Keystore)
	d.checkBackend(c)
}

func (d *document) listen(n ast.Node, path string, l *Listen) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"address":        d.setAddress(&l.Address),
		"proxy_protocol": d.setNetworks(&l.ProxyNetworks),
		"tls": func(n ast.Node, path string) {
			d.fields(n, path, map[string]func(ast.Node, string){
				"cert":      d.setPath(&l.TLS.Cert),
				"key":       d.setPath(&l.TLS.Key),
				"client_ca": d.setPath(&l.TLS.ClientCA),
				"require":   d.setBool(&l.TLS.Require),
			})
		},
	})
}

func (d *document) checkListen(c *Config) {
	tls := c.Listen.TLS
	if (tls.Cert == "") != (tls.Key == "") {
		d.reportPath("listen.tls", "listen.tls: cert and key come together")
	}
	if tls.Cert == "" && tls.ClientCA != "" {
		d.reportPath("listen.tls.client_ca", "listen.tls.client_ca needs cert and key")
	}
	if tls.Cert == "" && tls.Require {
		d.reportPath("listen.tls.require", "listen.tls.require needs cert and key")
	}
}

func (d *document) backend(n ast.Node, path string, b *Backend) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"address": func(n ast.Node, path string) {
			if s, ok := n.(*ast.StringNode); ok && strings.ContainsRune(s.Value, '/') {
				d.report(n, "%s must be host:port: over a unix socket MariaDB would take every login for the proxy's system user", path)
				return
			}
			d.setAddress(&b.Address)(n, path)
		},
		"tls": func(n ast.Node, path string) { d.backendTLS(n, path, &b.TLS) },
		"account": func(n ast.Node, path string) {
			d.fields(n, path, map[string]func(ast.Node, string){
				"user":          d.setLogin(&b.User),
				"password_file": d.setPath(&b.PasswordFile),
			})
		},
	})
}

func (d *document) backendTLS(n ast.Node, path string, t *proxy.BackendTLS) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"mode": func(n ast.Node, path string) {
			if v, ok := d.choice(n, path, string(proxy.BackendTLSOff), string(proxy.BackendTLSVerify), string(proxy.BackendTLSFingerprint)); ok {
				t.Mode = proxy.BackendTLSMode(v)
			}
		},
		"ca": d.setPath(&t.CA),
		"fingerprint": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if !ok || v == "" {
				return
			}
			hex := strings.ToLower(strings.ReplaceAll(v, ":", ""))
			if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
				d.report(n, "%s must be the certificate's SHA-256 fingerprint: 64 hexadecimal digits, colons allowed", path)
				return
			}
			t.Fingerprint = hex
		},
		"cert": d.setPath(&t.Cert),
		"key":  d.setPath(&t.Key),
	})
}

// checkBackend reports settings that would be silently without effect.
func (d *document) checkBackend(c *Config) {
	tls := c.Backend.TLS
	if tls.Mode == proxy.BackendTLSFingerprint && tls.Fingerprint == "" && !d.reported("backend.tls.fingerprint") {
		d.reportPath("backend.tls.mode", "backend.tls.mode: fingerprint needs fingerprint")
	}
	if tls.Mode != proxy.BackendTLSFingerprint && tls.Fingerprint != "" {
		d.reportPath("backend.tls.fingerprint", "backend.tls.fingerprint needs mode: fingerprint")
	}
	if tls.Mode != proxy.BackendTLSVerify && tls.CA != "" {
		d.reportPath("backend.tls.ca", "backend.tls.ca needs mode: verify")
	}
	if (tls.Cert == "") != (tls.Key == "") {
		d.reportPath("backend.tls", "backend.tls: cert and key come together")
	}
	if tls.Mode == proxy.BackendTLSOff && tls.Cert != "" {
		d.reportPath("backend.tls.cert", "backend.tls.cert needs mode: verify or fingerprint")
	}
}

func (d *document) admin(n ast.Node, path string, a *Admin) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"address": func(n ast.Node, path string) {
			if s, ok := n.(*ast.StringNode); ok && s.Value == "" {
				a.Address = ""
				return
			}
			d.setAddress(&a.Address)(n, path)
		},
	})
}

func (d *document) evaluator(n ast.Node, path string, e *Evaluator) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"binary": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			switch {
			case !ok:
			case v == EvaluatorAuto || v == EvaluatorOff:
				e.Binary = v
			case !strings.ContainsRune(v, '/'):
				d.report(n, "%s must be auto, off or the path of mariadbd", path)
			default:
				e.Binary = d.resolve(v)
			}
		},
		"dir":       d.setPath(&e.Dir),
		"max_rows":  d.setInt(&e.MaxRows, 1, 1_000_000_000),
		"max_bytes": d.setSize(&e.MaxBytes),
		"max_time":  d.setDuration(&e.MaxTime, 100*time.Millisecond),
	})
}

func (d *document) keystore(n ast.Node, path string, k *Keystore) {
	d.fields(n, path, map[string]func(ast.Node, string){
		"database": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if !ok {
				return
			}
			if problem := identifierProblem(v); problem != "" {
				d.report(n, "%s %s", path, problem)
			} else if isServerDatabase(v) || strings.EqualFold(v, proxySchema) {
				d.report(n, "%s: %s has another meaning", path, v)
			} else {
				k.Database = v
			}
		},
		"realm": func(n ast.Node, path string) {
			v, ok := d.text(n, path)
			if ok && (v == "" || len(v) > maxDerivationName) {
				d.report(n, "%s must have 1 to %d bytes", path, maxDerivationName)
			} else if ok {
				k.Realm = v
			}
		},
		"secret_file":   d.setPath(&k.SecretFile),
		"accounts":      d.setTexts(&k.Accounts),
		"admins":        d.setTexts(&k.Admins),
		"token_ttl":     d.setDuration(&k.TokenTTL, time.Second),
		"token_sliding": d.setBool(&k.TokenSliding),
		"shred_list":    d.setPath(&k.ShredList),
		"adopt":         d.setBool(&k.Adopt),
		"escrow": func(n ast.Node, path string) {
			if v, ok := d.text(n, path); ok {
				k.Escrow = v
			}
		},
		"password":     func(n ast.Node, path string) { d.passwordCost(n, path, &k.Password) },
		"forget_grace": d.setDuration(&k.ForgetGrace, 0),
		"cache": func(n ast.Node, path string) {
			d.fields(n, path, map[string]func(ast.Node, string){
				"size": d.setInt(&k.CacheSize, 1, 100_000_000),
				"ttl":  d.setDuration(&k.CacheTTL, time.Second),
			})
		},
		"service_keys": func(n ast.Node, path string) {
			k.ServiceKeys = make(map[string]string)
			for _, e := range d.entries(n, path) {
				if len(e.name) == 0 || len(e.name) > maxServiceKeyName {
					d.report(e.key, "the name of a service key must have 1 to %d bytes", maxServiceKeyName)
					continue
				}
				var file string
				if d.readable(e.value) {
					d.setPath(&file)(e.value, e.path)
				}
				// The name counts even where its path is wrong: one problem is enough.
				k.ServiceKeys[e.name] = file
				if s, ok := e.value.(*ast.StringNode); ok && s.Value == "" {
					d.report(e.value, "%s has no value", e.path)
				}
			}
		},
	})
}

// passwordCost reads the parameters of Argon2id.
func (d *document) passwordCost(n ast.Node, path string, c *keystore.PasswordCost) {
	low, high := keystore.MinPasswordCost, keystore.MaxPasswordCost
	memory, passes, threads := int64(c.Memory)<<10, int(c.Time), int(c.Threads)
	d.fields(n, path, map[string]func(ast.Node, string){
		"memory":  d.setSize(&memory),
		"time":    d.setInt(&passes, int(low.Time), int(high.Time)),
		"threads": d.setInt(&threads, int(low.Threads), int(high.Threads)),
	})
	if memory < int64(low.Memory)<<10 || memory > int64(high.Memory)<<10 {
		d.report(n, "%s.memory must be from %dMiB to %dMiB", path, low.Memory>>10, high.Memory>>10)
		return
	}
	*c = keystore.PasswordCost{Memory: uint32(memory >> 10), Time: uint32(passes), Threads: uint8(threads)}
}

// checkEscrow reports an escrow key that is not there.
func (d *document) checkEscrow(k *Keystore) {
	if _, ok := k.ServiceKeys[k.Escrow]; k.Escrow != "" && !ok && !d.reported("keystore.escrow") {
		d.reportPath("keystore.escrow", "keystore.escrow: there is no such key under keystore.service_keys")
	}
}

func (d *document) accounts(n ast.Node, path string, c *Config) {
	c.Accounts = make(map[string]Account)
	for _, e := range d.entries(n, path) {
		if problem := loginProblem(e.name); problem != "" {
			d.report(e.key, "accounts: the login %s", problem)
			continue
		}
		if !d.readable(e.value) {
			continue
		}
		var a Account
		before := len(d.problems)
		d.fields(e.value, e.path, map[string]func(ast.Node, string){
			"key_file": d.setPath(&a.KeyFile),
			"raw":      d.setBool(&a.Raw),
		})
		if len(d.problems) == before && (a.KeyFile != "") == a.Raw {
			d.report(e.key, "%s needs either key_file or raw: true", e.path)
		}
		c.Accounts[e.name] = a
	}
}

// setAddress returns a reader that sets a host:port.
func (d *document) setAddress(to *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		v, ok := d.text(n, path)
		if !ok {
			return
		}
		host, port, err := net.SplitHostPort(v)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || number > 65535 || host == "" {
			d.report(n, "%s must be host:port, such as 127.0.0.1:3307", path)
			return
		}
		*to = v
	}
}

// setLogin returns a reader that sets a user name of MariaDB.
func (d *document) setLogin(to *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		v, ok := d.text(n, path)
		if !ok {
			return
		}
		if problem := loginProblem(v); problem != "" {
			d.report(n, "%s %s", path, problem)
			return
		}
		*to = v
	}
}

// reported tells whether the value at path already has a problem.
func (d *document) reported(path string) bool {
	at, ok := d.places[path]
	if !ok {
		return false
	}
	for _, p := range d.problems {
		if p.Line == at.line && p.Column >= at.column {
			return true
		}
	}
	return false
}
