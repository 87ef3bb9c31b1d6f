package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
)

// process is a running `latchkey serve`.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of its log; closed at the end
}

// startServe starts the command with a configuration file.
func startServe(t *testing.T, config string) *process {
	t.Helper()
	path, err := exec.LookPath("latchkey")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, "serve", "--config", config), lines: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	return p
}

// await returns the first submatches of pattern in the log from here on.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	for line := range p.lines {
		if m := expression.FindStringSubmatch(line); m != nil {
			return m
		}
	}
	p.t.Fatalf("the log ended without %q", pattern)
	return nil
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// serveConfig is the configuration of these tests: the columns of entries are the
// only thing that changes.
const serveConfig = `listen: {address: "127.0.0.1:0"}
admin: {address: "127.0.0.1:0"}
backend:
  address: %s
  account: {user: root}
keystore: {secret_file: fleet.secret}
databases:
  %s:
    entries:
      owner: user_id
      columns: %s
`

// writeServeConfig writes the configuration with the given columns over file.
func writeServeConfig(t *testing.T, file string, server *mariadbtest.Server, db, columns string) {
	t.Helper()
	text := fmt.Sprintf(serveConfig, server.Addr(), db, columns)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// latchkeyOutput runs the command in process and returns its standard output.
func latchkeyOutput(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := Run(context.Background(), args, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("latchkey %s: exit code %d: %s", args[0], code, stderr.String())
	}
	return stdout.String()
}

func TestServe(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(200), body TEXT, note TEXT)")

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.secret"), []byte(latchkeyOutput(t, "keygen", "--fleet")), 0o400); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "latchkey.yaml")
	const columns = `{title: {type: "varchar(200)", search: equality}, body: {type: text}}`
	writeServeConfig(t, config, server, db, columns)
	for statement := range strings.SplitSeq(latchkeyOutput(t, "check", "--config", config, "--sql"), ";\n") {
		if strings.TrimSpace(statement) != "" {
			server.Exec(t, statement)
		}
	}

	p := startServe(t, config)
	m := p.await(`msg=listening .* address=(\S+) admin=(\S+)`)
	addr, admin := m[1], m[2]
	pool, err := sql.Open("mysql", "root@tcp("+addr+")/"+db)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatalf("%.40s: %v", statement, err)
		}
	}
	key, err := keystore.NewAccountKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	exec("SET @latchkey = '" + string(key.Text()) + "'")

	t.Run("seals what is written and opens what is read", func(t *testing.T) {
		exec("INSERT INTO entries (user_id, title, body) VALUES (1, 'a secret title', 'a secret body')")
		var title, body string
		if err := conn.QueryRowContext(t.Context(), "SELECT title, body FROM entries WHERE title = ?", "a secret title").Scan(&title, &body); err != nil {
			t.Fatal(err)
		}
		if title != "a secret title" || body != "a secret body" {
			t.Errorf("read %q, %q; want what was written", title, body)
		}
		stored := server.Query(t, "SELECT HEX(title), HEX(body) FROM "+db+".entries")[0]
		if !strings.HasPrefix(stored[0], "FF4C4B74") || !strings.HasPrefix(stored[1], "FF4C4B63") {
			t.Errorf("stored %v, want cells with and without a tag", stored)
		}
	})

	t.Run("answers operators", func(t *testing.T) {
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "latchkey_sessions 1", "/status": `"serving":true`} {
			response, err := http.Get("http://" + admin + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("%s = %d, want 200 with %q", path, response.StatusCode, want)
			}
		}
	})

	t.Run("reloads the policy and nothing worse", func(t *testing.T) {
		reload := func(columns, want string) {
			t.Helper()
			writeServeConfig(t, config, server, db, columns)
			p.signal(syscall.SIGHUP)
			if got := p.await(`msg="(?:policy reloaded|the policy was not reloaded.*)".*`)[0]; !strings.Contains(got, want) {
				t.Errorf("log = %s, want %s", got, want)
			}
		}
		reload(`{title: {type: "varchar(200)", serch: equality}}`, `unknown key`)
		reload(`{body: {type: text}}`, `no longer protects columns whose annotation says that they hold cells: `+db+`.entries.title`)
		exec("INSERT INTO entries (user_id, title) VALUES (1, 'still sealed')")
		if got := server.Query(t, "SELECT COUNT(*) FROM "+db+".entries WHERE LEFT(HEX(title), 6) = 'FF4C4B'")[0][0]; got != "2" {
			t.Errorf("%s titles are cells, want 2", got)
		}

		// note becomes protected, and its type cannot hold cells: a touch shows that the new policy is in force.
		exec("INSERT INTO entries (user_id, note) VALUES (1, 'plain')")
		reload(strings.Replace(columns, "}}", "}, note: {type: text}}", 1), "policy reloaded")
		_, err := conn.ExecContext(t.Context(), "INSERT INTO entries (user_id, note) VALUES (1, 'not plain')")
		if got, want := mariadbtest.Code(err), 9714; got != want {
			t.Errorf("a write to the new column = %v, want error %d", err, want)
		}
	})

	t.Run("stops when the running statement is done", func(t *testing.T) {
		answer := make(chan error, 1)
		go func() {
			var slept int
			answer <- conn.QueryRowContext(context.Background(), "SELECT SLEEP(2)").Scan(&slept)
		}()
		for server.Query(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = 'SELECT SLEEP(2)'")[0][0] != "1" {
		}
		p.signal(syscall.SIGTERM)
		if err := <-answer; err != nil {
			t.Errorf("the running statement = %v, want its answer", err)
		}
		p.await("msg=stopped")
		for range p.lines {
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("serve ended with %v, want exit code 0", err)
		}
	})
}
