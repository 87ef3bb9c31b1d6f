// Package latchkeytest gives tests the whole product: the latchkey program, built once for each test process (with the race
// detector when the tests have it), serving in front of a private MariaDB with a configuration of the test's own. It runs
// the program as a user would and knows nothing of its insides.
package latchkeytest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// The driver of Open.
	_ "github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
)

// startTimeout bounds how long the proxy may take to be ready on a busy machine.
const startTimeout = 60 * time.Second

// Config is what a test decides. Server is required; the zero values of the rest are an empty policy.
type Config struct {
	Server *mariadbtest.Server
	// Backend is host:port of what stands before the server; empty is the server itself.
	Backend string
	// Databases is the YAML below `databases:`, indented by two blanks.
	Databases string
	// Accounts are the logins of `keystore.accounts`.
	Accounts []string
	// Keystore is YAML below `keystore:`, each line indented by two blanks, for what the other fields do not set.
	Keystore string
	// Extra is YAML at top level, for every other setting.
	Extra string
	// Shipped serves with the program as users have it, never with the race detector, which keeps memory of its own and takes
	// buffers away from their pools.
	Shipped bool
	// ServiceKeys are names of service keys; each gets a fresh key.
	ServiceKeys []string
}

// Proxy is a running latchkey.
type Proxy struct {
	// Address and Admin are host:port of the client listener and of the admin endpoint.
	Address, Admin string
	// Config is the path of the configuration file; Dir holds it and the keys.
	Config, Dir string

	shipped bool

	cmd    *exec.Cmd
	log    *logBuffer
	done   chan struct{}
	server *mariadbtest.Server
}

// logBuffer is the program's standard error, safe to read while it runs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// program is a build of the program.
type program struct {
	once sync.Once
	path string
	err  error
}

// build is the program as tests run it, shipped as users do.
var build, shipped program

// Binary builds the program and gives its path. It stays for the life of the test process.
func Binary(tb testing.TB) string {
	tb.Helper()
	return build.of(tb, raceEnabled)
}

// of builds the program once.
func (b *program) of(tb testing.TB, race bool) string {
	tb.Helper()
	b.once.Do(func() { b.path, b.err = buildBinary(race) })
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return b.path
}

func buildBinary(race bool) (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "latchkey")
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "latchkey")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build latchkey: %w\n%s", err, out)
	}
	return path, nil
}

// command is a subcommand. At its end a program with the race detector would wait for a second.
func command(tb testing.TB, args ...string) *exec.Cmd {
	cmd := exec.Command(Binary(tb), args...)
	cmd.Env = append(os.Environ(), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	return cmd
}

// Run runs a subcommand to its end and gives its standard output; another exit code than want fails the test.
func Run(tb testing.TB, want int, args ...string) string {
	tb.Helper()
	cmd := command(tb, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("latchkey %s: %v", args[0], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		tb.Fatalf("latchkey %s: exit code %d, want %d\n%s%s", args[0], got, want, out, stderr.String())
	}
	return string(out)
}

// NewAccountKey gives a fresh account key as text.
func NewAccountKey(tb testing.TB) string {
	tb.Helper()
	return strings.TrimSpace(Run(tb, 0, "keygen"))
}

// Write writes the configuration and keys without starting anything, and gives a Proxy that Start can be called on.
func Write(tb testing.TB, c Config) *Proxy {
	tb.Helper()
	dir := tb.TempDir()
	p := &Proxy{Dir: dir, Config: filepath.Join(dir, "latchkey.yaml"), Address: freeAddress(tb), Admin: freeAddress(tb), server: c.Server, shipped: c.Shipped}
	p.file(tb, "fleet.secret", Run(tb, 0, "keygen", "--fleet"))
	password := randomText(tb)
	user := "latchkey_" + strings.ToLower(randomText(tb)[:8])
	p.file(tb, "backend.password", password)
	c.Server.Exec(tb, fmt.Sprintf("CREATE USER %s@'127.0.0.1' IDENTIFIED BY '%s'", user, password),
		fmt.Sprintf("GRANT ALL ON *.* TO %s@'127.0.0.1'", user))
	tb.Cleanup(func() { c.Server.Exec(tb, fmt.Sprintf("DROP USER %s@'127.0.0.1'", user)) })
	var keys strings.Builder
	for _, name := range c.ServiceKeys {
		p.file(tb, name+".key", Run(tb, 0, "keygen", "--service"))
		fmt.Fprintf(&keys, "\n    %s: %s", name, filepath.Join(dir, name+".key"))
	}
	if keys.Len() == 0 {
		keys.WriteString(" {}")
	}
	text := fmt.Sprintf(`listen:
  address: %s
backend:
  address: %s
  account: {user: %s, password_file: %s}
admin: {address: %s}
keystore:
  secret_file: %s
  accounts: [%s]
  service_keys:%s
%s%s
databases:
%s
`, p.Address, cmp.Or(c.Backend, c.Server.Addr()), user, filepath.Join(dir, "backend.password"), p.Admin, filepath.Join(dir, "fleet.secret"),
		strings.Join(c.Accounts, ", "), keys.String(), c.keystore(), c.Extra, strings.TrimRight(c.Databases, "\n"))
	if strings.TrimSpace(c.Databases) == "" {
		text = strings.Replace(text, "databases:\n", "databases: {}\n", 1)
	}
	p.file(tb, "latchkey.yaml", text)
	return p
}

// keystore is the setting Keystore as whole lines.
func (c *Config) keystore() string {
	if c.Keystore == "" {
		return ""
	}
	return strings.TrimRight(c.Keystore, "\n") + "\n"
}

func (p *Proxy) file(tb testing.TB, name, content string) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Prepare runs what `latchkey check --sql` prints straight on the server, which makes empty tables with declared columns
// ready for cells.
func (p *Proxy) Prepare(tb testing.TB) {
	tb.Helper()
	cmd := command(tb, "check", "--config", p.Config, "--sql")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 {
		tb.Fatalf("latchkey check --sql: exit code %d\n%s", code, stderr.String())
	}
	if strings.TrimSpace(string(out)) != "" {
		p.server.Exec(tb, string(out))
	}
}

// Start writes the configuration, prepares the tables and starts the proxy; it is stopped when the test ends. A race
// that the race detector finds in it fails the test.
func Start(tb testing.TB, c Config) *Proxy {
	tb.Helper()
	p := Write(tb, c)
	p.Prepare(tb)
	p.Serve(tb)
	return p
}

// Serve starts the proxy and waits until it is ready.
func (p *Proxy) Serve(tb testing.TB) {
	tb.Helper()
	p.log = &logBuffer{}
	p.cmd = command(tb, "serve", "--config", p.Config)
	if p.shipped {
		p.cmd.Path = shipped.of(tb, false)
	}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		cmd.Wait()
		close(done)
	}()
	tb.Cleanup(func() { p.Stop(tb) })
	deadline := time.Now().Add(startTimeout)
	for {
		if p.ready() {
			return
		}
		select {
		case <-p.done:
			tb.Fatalf("latchkey serve ended:\n%s", p.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			tb.Fatalf("latchkey serve is not ready:\n%s", p.log)
		}
	}
}

func (p *Proxy) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop asks the proxy to end and waits for it. Calling it again does nothing.
func (p *Proxy) Stop(tb testing.TB) {
	tb.Helper()
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(startTimeout):
		p.cmd.Process.Kill()
		<-p.done
		tb.Errorf("latchkey serve did not stop")
	}
	if log := p.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "session failed") {
		tb.Errorf("latchkey serve reported a fault:\n%s", log)
	}
	p.cmd = nil
}

// Kill ends the proxy at once, as a crash would. Serve starts it again.
func (p *Proxy) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
	return err
}

// Log is what the proxy has written to standard error so far.
func (p *Proxy) Log() string { return p.log.String() }

// Signal sends a signal to the proxy.
func (p *Proxy) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Pid is the process id of the proxy.
func (p *Proxy) Pid() int { return p.cmd.Process.Pid }

// DSN is root's data source name for go-sql-driver/mysql through the proxy. Parameters are added behind a question mark.
func (p *Proxy) DSN(db string) string { return fmt.Sprintf("root@tcp(%s)/%s", p.Address, db) }

// Open opens a pool through the proxy that is closed when the test ends. params is appended to the DSN, with its
// question mark, and may be empty.
func (p *Proxy) Open(tb testing.TB, db, params string) *sql.DB {
	tb.Helper()
	pool, err := sql.Open("mysql", p.DSN(db)+params)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { pool.Close() })
	return pool
}

// Conn is one connection through the proxy on which key was pushed; an empty key pushes none.
func (p *Proxy) Conn(tb testing.TB, db, params, key string) *sql.Conn {
	tb.Helper()
	conn, err := p.Open(tb, db, params).Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if key != "" {
		if _, err := conn.ExecContext(context.Background(), "SET @latchkey = '"+key+"'"); err != nil {
			tb.Fatal(err)
		}
	}
	return conn
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func randomText(tb testing.TB) string {
	tb.Helper()
	var b [15]byte
	if _, err := rand.Read(b[:]); err != nil {
		tb.Fatal(err)
	}
	return base32.StdEncoding.EncodeToString(b[:])
}
