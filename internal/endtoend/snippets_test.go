package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const snippetsDir = "testdata/snippets"

// snippet is a piece of code in a document.
type snippet struct {
	doc, language, code string
	used                bool
}

var codeFence = regexp.MustCompile("(?ms)^```(php|python|js|go|java)\n(.*?)^```$")

// snippets are the pieces of programs in the documents.
type snippets []*snippet

func readSnippets(t *testing.T) snippets {
	t.Helper()
	var all snippets
	for _, doc := range []string{"README.md", "docs/keys.md"} {
		before := len(all)
		for _, m := range codeFence.FindAllStringSubmatch(readText(t, filepath.Join("../..", doc)), -1) {
			all = append(all, &snippet{doc: doc, language: m[1], code: m[2]})
		}
		if len(all) == before {
			t.Fatalf("%s has no snippets", doc)
		}
	}
	return all
}

var languages = map[string]string{".php": "php", ".py": "python", ".js": "js", ".go": "go", ".java": "java"}

// snippetMark is a line of a program in whose place a snippet goes: the one of a document that has a text in it.
var snippetMark = regexp.MustCompile(`(?m)^([ \t]*)(?://|#) snippet: (\S+): (.*)$`)

// complete puts the snippets into a program of testdata/snippets, and the proxy's port into the place of the documents'.
func (all snippets) complete(t *testing.T, name, port string) string {
	t.Helper()
	language := languages[filepath.Ext(strings.TrimSuffix(name, ".txt"))]
	text := snippetMark.ReplaceAllStringFunc(readText(t, filepath.Join(snippetsDir, name)), func(line string) string {
		m := snippetMark.FindStringSubmatch(line)
		var found []*snippet
		for _, s := range all {
			if s.doc == m[2] && s.language == language && strings.Contains(s.code, m[3]) {
				found = append(found, s)
			}
		}
		if len(found) != 1 {
			t.Fatalf("%s has %d snippets with %q", m[2], len(found), m[3])
		}
		found[0].used = true
		return m[1] + strings.ReplaceAll(strings.TrimSuffix(found[0].code, "\n"), "\n", "\n"+m[1])
	})
	// The README leaves the work out.
	text = strings.ReplaceAll(text, "// ... work ...", "read(c);")
	return strings.ReplaceAll(text, "3307", port)
}

// excerpts marks the snippets that are parts of the example, which TestJournal runs.
func (all snippets) excerpts(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(journalDir, "*.php"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the example has no files: %v", err)
	}
	for _, file := range files {
		text := readText(t, file)
		for _, s := range all {
			if s.language != "php" {
				continue
			}
			// An excerpt may leave methods out between two others.
			whole := true
			for _, part := range strings.SplitAfter(s.code, "\n    }\n") {
				whole = whole && strings.Contains(text, strings.Trim(part, "\n"))
			}
			s.used = s.used || whole
		}
	}
}

// snippetProgram is a program of testdata/snippets with its argument, and what it prints.
type snippetProgram struct {
	name, argument string
	want           string
}

const (
	everyProcedure = "status\nunlocked\nchanged\nrecovered\nrenewed\nrotated\nforgotten\n2 keys\n"
	oneEntry       = "kept text\n"
)

// TestSnippets runs every piece of a program in the README and docs/keys.md, each in a program that gives it what it names,
// against a proxy with the README's login and tables.
func TestSnippets(t *testing.T) {
	all := readSnippets(t)
	server := mariadbtest.Shared(t)
	server.Exec(t, "CREATE DATABASE journal", "USE journal;"+readText(t, filepath.Join(journalDir, "schema.sql")),
		"CREATE USER app@127.0.0.1 IDENTIFIED BY 'app-password'", "GRANT SELECT, INSERT, UPDATE, DELETE ON journal.* TO app@127.0.0.1")
	t.Cleanup(func() {
		server.Exec(t, "DROP USER app@127.0.0.1", "DROP DATABASE journal", "DROP DATABASE IF EXISTS journal_keys")
	})
	_, policy, _ := strings.Cut(readText(t, filepath.Join(journalDir, "policy.yaml")), "databases:\n")
	proxy := latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{"app"}, ServiceKeys: []string{"app"}, Databases: policy,
		Keystore: "  admins: [app]\n  database: journal_keys\n" + cheapPasswords,
	})
	_, port, _ := strings.Cut(proxy.Address, ":")
	env := append(os.Environ(), "LATCHKEY_PASSWORD=app-password", "LATCHKEY_KEY="+latchkeytest.NewAccountKey(t), "LATCHKEY_OTHER_KEY="+latchkeytest.NewAccountKey(t))
	for i, p := range []snippetProgram{
		{"procedures.php", "emulated", everyProcedure},
		{"procedures.php", "native", everyProcedure},
		{"procedures.php", "laravel", everyProcedure + "1 in the request, 0 behind it\n0 statements in the log\n"},
		{"readme.php", "pdo", oneEntry},
		{"readme.php", "laravel", "0 statements in the log\n" + oneEntry},
		{"procedures.py", "pymysql", everyProcedure},
		{"procedures.py", "MySQLdb", everyProcedure},
		{"readme.py", "pymysql", oneEntry},
		{"readme.py", "MySQLdb", oneEntry},
		{"pool.py", "pymysql", oneEntry + "9701 9706 9702\n"},
		{"pool.py", "mysqldb", oneEntry + "9701 9706 9702\n"},
		{"procedures.js", "mysql2", everyProcedure},
		{"procedures.js", "mariadb", everyProcedure},
		{"attributes.js", "mysql2", oneEntry},
		{"attributes.js", "mariadb", oneEntry},
		{"pool.js", "mysql2", oneEntry + "9701 9706 9702\n"},
		{"pool.js", "mariadb", oneEntry + "9701 9706 9702\n"},
		{"procedures.go.txt", "?interpolateParams=true", everyProcedure},
		{"procedures.go.txt", "?interpolateParams=false", everyProcedure},
		{"readme.go.txt", "", oneEntry + oneEntry + "9701\n9706\n9702\n"},
		{"Readme.java", "", oneEntry + oneEntry + "9701\n9706\n9702\n"},
	} {
		t.Run(p.name+" "+p.argument, func(t *testing.T) {
			before := len(proxy.Log())
			got := all.run(t, p, port, env, fmt.Sprint(1000+2*i), fmt.Sprint(1001+2*i))
			if got != p.want {
				t.Errorf("got\n%s\nwant\n%s", got, p.want)
			}
			if strings.HasPrefix(p.want, everyProcedure) {
				checkAudit(t, proxy.Log()[before:])
			}
		})
	}
	all.excerpts(t)
	for _, s := range all {
		if !s.used {
			t.Errorf("%s: nothing runs this snippet:\n%s", s.doc, s.code)
		}
	}
}

// checkAudit looks for every procedure in the proxy's log, each done.
func checkAudit(t *testing.T, log string) {
	t.Helper()
	for _, name := range []string{"enroll", "unlock", "change_password", "recover", "register", "add_slot", "slots", "drop_slot", "rotate", "lock", "forget", "restore"} {
		found := false
		for line := range strings.Lines(log) {
			if strings.Contains(line, "procedure="+name+" ") {
				found = true
				if !strings.Contains(line, "result=ok") {
					t.Errorf("a call failed: %s", line)
				}
			}
		}
		if !found {
			t.Errorf("%s was not called", name)
		}
	}
}

// run completes a program, runs it and gives its standard output.
func (all snippets) run(t *testing.T, p snippetProgram, port string, env []string, owners ...string) string {
	t.Helper()
	dir := t.TempDir()
	name := strings.TrimSuffix(p.name, ".txt")
	path := filepath.Join(dir, name)
	writeText(t, path, all.complete(t, p.name, port))
	command := []string{path}
	switch filepath.Ext(name) {
	case ".php":
		writeText(t, filepath.Join(dir, "laravel.php"), all.complete(t, "laravel.php", port))
		command = []string{"php", "-d", "display_errors=stderr", path}
	case ".py":
		command = []string{"/usr/bin/python3", path}
	case ".js":
		if err := os.Symlink(filepath.Join(nodeDir(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		command = []string{"node", path}
	case ".go":
		command = []string{filepath.Join(dir, "program")}
		if out, err := exec.Command("go", "build", "-o", command[0], path).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	case ".java":
		if out, err := exec.Command("javac", "-encoding", "UTF-8", "-cp", connectorJ, "-d", dir, path).CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
		command = []string{"java", "-XX:TieredStopAtLevel=1", "-cp", dir + ":" + connectorJ, strings.TrimSuffix(name, ".java")}
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(append(command[1:], p.argument), owners...)...)
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %s: %v\n%s\n%s", p.name, p.argument, err, stderr.String(), stdout.String())
	}
	return stdout.String()
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
