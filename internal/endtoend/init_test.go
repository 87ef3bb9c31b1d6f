package endtoend

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const initDir = "testdata/init"

// applications are the schemas of testdata/init, in databases of these names.
var applications = []string{"journal", "bookkeeping", "wordpress", "laravel", "django"}

// newApplication makes the database of an application and runs its statements under a general log of its own, which is
// DataDir()/NAME.log.
func newApplication(t *testing.T, server *mariadbtest.Server, name string) {
	t.Helper()
	schema, statements, ok := strings.Cut(readText(t, filepath.Join(initDir, name+".sql")), "-- log\n")
	if !ok {
		t.Fatalf("%s.sql has no statements", name)
	}
	server.Exec(t, "CREATE DATABASE "+name, "USE "+name+";"+schema)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE "+name) })
	server.Exec(t, "SET GLOBAL general_log_file = '"+name+".log'; SET GLOBAL general_log = ON")
	runStatements(t, server, name, statements)
	server.Exec(t, "SET GLOBAL general_log = OFF")
}

// runStatements runs statements, each of which begins with SELECT, INSERT or UPDATE at the beginning of a line. One behind a
// line `-- prepared: VALUE` is prepared.
func runStatements(t *testing.T, server *mariadbtest.Server, db, text string) {
	t.Helper()
	conn, err := server.Open(t, db).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var argument []any
	var statement strings.Builder
	flush := func() {
		if statement.Len() == 0 {
			return
		}
		rows, err := conn.QueryContext(context.Background(), strings.TrimSuffix(statement.String(), "\n"), argument...)
		if err != nil {
			t.Fatalf("%s: %v", statement.String(), err)
		}
		rows.Close()
		statement.Reset()
		argument = nil
	}
	for line := range strings.Lines(text) {
		value, prepared := strings.CutPrefix(line, "-- prepared: ")
		if word, _, _ := strings.Cut(strings.ToUpper(line), " "); prepared || word == "SELECT" || word == "INSERT" || word == "UPDATE" {
			flush()
		}
		if prepared {
			argument = []any{strings.TrimSuffix(value, "\n")}
			continue
		}
		statement.WriteString(line)
	}
	flush()
}

// TestInit suggests a policy for each application with its log, makes the keys, prepares the tables as check says, and looks
// that check finds no error then.
func TestInit(t *testing.T) {
	server := mariadbtest.Start(t)
	for _, name := range applications {
		t.Run(name, func(t *testing.T) {
			newApplication(t, server, name)
			dir := t.TempDir()
			path := filepath.Join(dir, "latchkey.yaml")
			args := []string{"init", "--address", server.Addr(), "--user", "root", "--database", name, "--log", filepath.Join(server.DataDir(), name+".log")}
			text := latchkeytest.Run(t, 0, args...)
			if out := latchkeytest.Run(t, 0, append(args, "--out", path)...); out != "" {
				t.Errorf("with --out it prints %q", out)
			}
			if got := readText(t, path); got != text {
				t.Errorf("--out has\n%s\nstandard output\n%s", got, text)
			}
			golden := filepath.Join(initDir, name+".yaml")
			masked := strings.ReplaceAll(text, server.Addr(), "127.0.0.1:3306")
			if flag.Lookup("update").Value.String() == "true" {
				writeText(t, golden, masked)
			} else if want := readText(t, golden); masked != want {
				t.Errorf("got\n%s\nwant\n%s", masked, want)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file has mode %v, %v", info.Mode(), err)
			}
			// It never writes over a file.
			writeText(t, path, text+"# edited\n")
			latchkeytest.Run(t, 1, append(args, "--out", path)...)
			if got := readText(t, path); got != text+"# edited\n" {
				t.Error("init wrote over a file")
			}

			writeText(t, filepath.Join(dir, "fleet.secret"), latchkeytest.Run(t, 0, "keygen", "--fleet"))
			writeText(t, filepath.Join(dir, "app.key"), latchkeytest.Run(t, 0, "keygen", "--service"))
			server.Exec(t, latchkeytest.Run(t, 0, "check", "--config", path, "--sql"))
			if out := latchkeytest.Run(t, 0, "check", "--config", path); strings.Contains(out, "error:") || !strings.Contains(out, "0 errors") {
				t.Errorf("check says\n%s", out)
			}
		})
	}
}
