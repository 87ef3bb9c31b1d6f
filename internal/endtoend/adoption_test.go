package endtoend

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const adoptionDoc = "../../docs/adoption.md"

// console is a block of a document with commands and what they print.
var console = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")

// adoption is a host like that of the walk-through, in a directory.
type adoption struct {
	dir    string
	server *mariadbtest.Server
	proxy  *latchkeytest.Proxy
	// ports are those of the document with the real ones in their place.
	ports map[string]string
}

const adoptionSetup = `
CREATE DATABASE journal;
USE journal;
CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(255) NOT NULL UNIQUE, password_hash VARCHAR(255) NOT NULL, first_name VARCHAR(80)) CHARACTER SET utf8mb4;
CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(200) NOT NULL, body TEXT NOT NULL, amount DECIMAL(12,2),
  KEY (title), FOREIGN KEY (user_id) REFERENCES users (id)) CHARACTER SET utf8mb4;
INSERT INTO users VALUES (1, 'ada@example.org', '$2y$10$a', 'Ada'), (2, 'ben@example.org', '$2y$10$b', 'Ben');
INSERT INTO entries (user_id, title, body, amount) VALUES (1, 'Monday', 'I told nobody about the money.', 1250.00), (1, 'Tuesday', 'Slept until noon.', NULL), (2, 'Monday', 'The doctor called back.', 80.50);
CREATE USER app@127.0.0.1;
GRANT SELECT, INSERT, UPDATE, DELETE ON journal.* TO app@127.0.0.1;
CREATE USER latchkey@127.0.0.1 IDENTIFIED BY 'adoption';
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, BINLOG ADMIN ON *.* TO latchkey@127.0.0.1;
GRANT UPDATE, ALTER, INDEX, LOCK TABLES, DROP, CREATE, INSERT ON journal.* TO latchkey@127.0.0.1;
GRANT ALL ON latchkey_keys.* TO latchkey@127.0.0.1;`

const adoptionApp = `SELECT id FROM users WHERE email = 'ada@example.org';
SELECT id, title, amount FROM entries WHERE user_id = 1 AND title = 'Monday';
SELECT title FROM entries WHERE user_id = 1 AND body LIKE '%money%';
SELECT SUM(amount) FROM entries WHERE user_id = 1;
`

func newAdoption(t *testing.T) *adoption {
	t.Helper()
	a := &adoption{dir: t.TempDir(), server: mariadbtest.Start(t)}
	a.server.Exec(t, adoptionSetup)
	a.proxy = latchkeytest.Write(t, latchkeytest.Config{Server: a.server})
	a.ports = map[string]string{"3306": port(t, a.server.Addr()), "3307": port(t, a.proxy.Address), "9307": port(t, a.proxy.Admin)}
	a.proxy.Config = filepath.Join(a.dir, "latchkey.yaml")
	if err := os.Symlink(latchkeytest.Binary(t), filepath.Join(a.dir, "latchkey")); err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join(a.dir, "app.sql"), adoptionApp)
	writeText(t, filepath.Join(a.dir, "backend.password"), "adoption\n")
	return a
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run runs a command of the document and gives what it prints, as the document has it.
func (a *adoption) run(t *testing.T, command string) string {
	t.Helper()
	if action, ok := strings.CutPrefix(command, "systemctl "); ok {
		a.service(t, action)
		return ""
	}
	real := strings.ReplaceAll(command, "/var/lib/mysql", a.server.DataDir())
	for documented, port := range a.ports {
		real = regexp.MustCompile(`\b`+documented+`\b`).ReplaceAllString(real, port)
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", real)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "PATH="+a.dir+":"+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0", "HOME="+a.dir, "MYSQL_HOME="+a.dir)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", command, ctx.Err(), out)
	}
	text := string(out)
	if err != nil && text == "" {
		text = err.Error() + "\n"
	}
	return a.documented(text)
}

// progressLine is what a command says about how far it is when it takes long.
var progressLine = regexp.MustCompile(`(?m)^(encrypt|decrypt|rotate|import) \S+( of one owner)?: \d+ of \d+ rows, .*\n`)

// documented puts the document's names into what a command has printed, and takes out what is another in every run.
func (a *adoption) documented(text string) string {
	text = strings.ReplaceAll(text, a.dir+"/", "/etc/latchkey/")
	text = strings.ReplaceAll(text, a.server.DataDir(), "/var/lib/mysql")
	for documented, port := range a.ports {
		text = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllString(text, documented)
	}
	text = progressLine.ReplaceAllString(text, "")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \t\n")+"\n")
	}
	return strings.Join(lines, "")
}

// service does with the proxy what systemctl would.
func (a *adoption) service(t *testing.T, action string) {
	t.Helper()
	switch action {
	case "start latchkey":
		// The ports of this host, of which the document knows nothing.
		text := readText(t, a.proxy.Config)
		writeText(t, a.proxy.Config, text+fmt.Sprintf("\nlisten: {address: %q}\nadmin: {address: %q}\n", a.proxy.Address, a.proxy.Admin))
		a.proxy.Serve(t)
	case "reload latchkey":
		before := strings.Count(a.proxy.Log(), "policy reloaded")
		if err := a.proxy.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for i := 0; strings.Count(a.proxy.Log(), "policy reloaded") == before; i++ {
			if i == 3000 {
				t.Fatalf("the policy is not reloaded:\n%s", a.proxy.Log())
			}
			time.Sleep(10 * time.Millisecond)
		}
	default:
		t.Fatalf("systemctl %s is not known here", action)
	}
}

// block runs the commands of a block and gives the block as it should be.
func (a *adoption) block(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		b.WriteString(line + a.run(t, strings.TrimSuffix(command, "\n")))
	}
	return b.String()
}

// TestAdoption walks through docs/adoption.md. With -update it writes what the commands print into it.
func TestAdoption(t *testing.T) {
	a := newAdoption(t)
	doc := readText(t, adoptionDoc)
	blocks := 0
	walked := console.ReplaceAllStringFunc(doc, func(block string) string {
		blocks++
		text := console.FindStringSubmatch(block)[1]
		return "```console\n" + a.block(t, text) + "```"
	})
	if blocks < 10 {
		t.Errorf("the document has %d blocks", blocks)
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(adoptionDoc, []byte(walked), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if walked == doc {
		return
	}
	want, got := strings.Split(doc, "\n"), strings.Split(walked, "\n")
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("docs/adoption.md:%d has\n%s\nand the command prints\n%s", i+1, strings.Join(want[i:min(i+6, len(want))], "\n"), strings.Join(got[i:min(i+6, len(got))], "\n"))
		}
	}
	t.Fatalf("docs/adoption.md has %d lines, and should have %d", len(want), len(got))
}
