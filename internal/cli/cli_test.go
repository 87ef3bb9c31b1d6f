package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/internal/mariadbtest"
)

// tests is the package's tests with the shared server's end.
type tests struct{ m *testing.M }

func (t tests) Run() int { return mariadbtest.Run(t.m) }

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"latchkey": func() { os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script. A script has a MariaDB at $ADDR and an empty
// database $DB, and beside testscript's own commands:
//
//	expand FILE...   puts environment variables into files
//	sql FILE         runs a file's statements as root in $DB, straight on the server
func TestScripts(t *testing.T) {
	server := mariadbtest.Shared(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			var random [6]byte
			rand.Read(random[:])
			db := "t" + hex.EncodeToString(random[:])
			if _, err := server.DB().Exec("CREATE DATABASE " + db); err != nil {
				return err
			}
			env.Defer(func() {
				if _, err := server.DB().Exec("DROP DATABASE " + db); err != nil {
					t.Errorf("drop database %s: %v", db, err)
				}
			})
			env.Setenv("ADDR", server.Addr())
			env.Setenv("DB", db)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"expand": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					text := os.Expand(ts.ReadFile(name), ts.Getenv)
					ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
				}
			},
			"sql": func(ts *testscript.TestScript, neg bool, args []string) {
				text := "USE " + ts.Getenv("DB") + ";" + strings.TrimSpace(ts.ReadFile(args[0]))
				_, err := server.DB().Exec(text)
				if neg != (err != nil) {
					ts.Fatalf("%s: %v", args[0], err)
				}
			},
		},
	})
}
