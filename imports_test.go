package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "latchkey"

// rule says what some packages may import. A pattern is an import path, or one
// with /... for it and everything below; patterns of our own packages are
// relative to the module.
type rule struct {
	reason string
	// of are the packages the rule is about, less those of except.
	of, except []string
	// ours, when set, are the only packages of this module that they may import.
	ours []string
	// never are packages that they may not import.
	never []string
	// tests tells that the rule holds for tests too.
	tests bool
}

var rules = []rule{
	{
		reason: "a leaf can be tested and fuzzed without server, key or socket, and knows nothing it could leak",
		of:     []string{"proxy/wire", "keystore/cell"},
		ours:   []string{},
	},
	{
		reason: "keystore never sees SQL or a connection's bytes",
		of:     []string{"keystore"},
		ours:   []string{"keystore/cell", "keystore/argon2id"},
	},
	{
		reason: "hashing a password knows of no owner and no slot; from cell it has only what overwrites secrets",
		of:     []string{"keystore/argon2id"},
		ours:   []string{"keystore/cell"},
	},
	{
		reason: "the keystore's tables hold what keystore made, and know nothing else of the program",
		of:     []string{"keystore/tables"},
		ours:   []string{"keystore"},
	},
	{
		reason: "rewrite decides from text, schema and policy alone: it never sees a key or a connection",
		of:     []string{"rewrite/..."},
		except: []string{"rewrite/logical/gen"},
		ours:   []string{"rewrite/..."},
	},
	{
		reason: "rewrite is pure: the same input gives the same plan, and no plan does I/O",
		of:     []string{"rewrite/..."},
		except: []string{"rewrite/logical/gen"},
		never:  []string{"net", "net/http", "os", "os/exec", "io/fs", "syscall", "database/sql", "crypto/...", "log/...", "math/rand/..."},
	},
	{
		reason: "what opens old values knows no database and none of our keys",
		of:     []string{"internal/importer"},
		ours:   []string{},
	},
	{
		reason: "declared types are text and bytes; names of tables and columns are not their business",
		of:     []string{"rewrite/logical"},
		ours:   []string{},
	},
	{
		reason: "cells and packets arrive as bytes; whoever opens files and sockets is above",
		of:     []string{"proxy/wire", "keystore/cell"},
		never:  []string{"os", "os/exec", "syscall", "database/sql", "net/http"},
	},
	{
		reason: "keys come from the system's random numbers and nowhere else",
		of:     []string{"keystore/...", "proxy/..."},
		never:  []string{"math/rand", "math/rand/v2"},
	},
	{
		reason: "the proxy gets its settings and keys handed in, so that a test or another program can run one",
		of:     []string{"proxy"},
		ours:   []string{"proxy/wire", "proxy/evaluator", "proxy/migrate", "rewrite/...", "keystore", "keystore/cell"},
	},
	{
		reason: "migrate moves rows of which rewrite has decided and that others seal: it sees no policy, no session and no user key",
		of:     []string{"proxy/migrate"},
		ours:   []string{"rewrite/...", "keystore", "keystore/cell"},
	},
	{
		reason: "the configuration fills other packages' types and runs nothing",
		of:     []string{"configs"},
		ours:   []string{"proxy", "rewrite/...", "keystore", "keystore/cell"},
	},
	{
		reason: "only the command line knows the configuration file",
		of:     []string{"..."},
		except: []string{"internal/cli", "configs"},
		never:  []string{module + "/configs"},
		tests:  true,
	},
	{
		reason: "only the program knows the command line",
		of:     []string{"..."},
		except: []string{"", "internal/cli"},
		never:  []string{module + "/internal/cli"},
		tests:  true,
	},
	{
		reason: "one package sees the SQL parser, so that what it cannot do is handled in one place",
		of:     []string{"..."},
		except: []string{"rewrite"},
		never:  []string{"github.com/pingcap/..."},
	},
	{
		reason: "what serves tests stays out of the program",
		of:     []string{"..."},
		except: []string{"internal/mariadbtest", "internal/latchkeytest", "internal/testcert", "internal/faultconn"},
		never: []string{"testing", "github.com/rogpeppe/go-internal/...", module + "/internal/mariadbtest", module + "/internal/latchkeytest",
			module + "/internal/testcert", module + "/internal/faultconn"},
	},
	{
		reason: "the data path does not use a driver: drivers serve tests",
		of:     []string{"..."},
		except: []string{"internal/mariadbtest", "internal/latchkeytest", "rewrite/logical/gen"},
		never:  []string{"github.com/go-sql-driver/..."},
	},
	{
		reason: "only what starts a private server knows how: the demo, tests and generators",
		of:     []string{"..."},
		except: []string{"internal/cli", "internal/mariadbtest", "rewrite/logical/gen", "proxy/evaluator"},
		never:  []string{module + "/internal/mariadbserver"},
	},
}

// listed is what the go command says about a package.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestImports(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		matched := 0
		for _, p := range packages {
			name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
			if !matches(r.of, name) || matches(r.except, name) {
				continue
			}
			matched++
			imports := p.Imports
			if r.tests {
				imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			}
			for _, path := range imports {
				if !r.allows(path) {
					t.Errorf("%s imports %s, but %s", p.ImportPath, path, r.reason)
				}
			}
		}
		if matched == 0 {
			t.Errorf("no package is under the rule %q: %v", r.reason, r.of)
		}
	}
}

// TestImportRulesCatch makes sure that a rule can fail.
func TestImportRulesCatch(t *testing.T) {
	leaf := rule{ours: []string{"keystore/cell"}, never: []string{"os", "crypto/..."}}
	for path, want := range map[string]bool{
		"fmt": true, module + "/keystore/cell": true, "osx": true,
		module + "/keystore": false, module + "/keystore/cell/x": false, "os": false, "crypto/rand": false, "crypto": false,
	} {
		if got := leaf.allows(path); got != want {
			t.Errorf("allows(%s) = %v, want %v", path, got, want)
		}
	}
}

func (r rule) allows(path string) bool {
	if matches(r.never, path) {
		return false
	}
	own, isOurs := strings.CutPrefix(path, module+"/")
	return !isOurs || r.ours == nil || matches(r.ours, own)
}

func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "..." {
			return true
		}
		if base, ok := strings.CutSuffix(pattern, "/..."); ok {
			return path == base || strings.HasPrefix(path, base+"/")
		}
		return path == pattern
	})
}

// list returns the module's packages.
func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}
