package endtoend

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const driversDir = "testdata/drivers"

// notesTable is what the drivers talk about.
const notesTable = `CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, title VARCHAR(200), tag VARCHAR(100) COLLATE utf8mb4_bin,
  body MEDIUMTEXT, amount DECIMAL(12,2), day DATE, at DATETIME(3), stars BIGINT, ratio DOUBLE, data VARBINARY(200), KEY (title), KEY (tag))
  DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci`

const notesPolicy = `    notes:
      columns:
        title: {search: equality}
        tag: {search: equality}
        body: {}
        amount: {search: equality}
        day: {}
        at: {}
        stars: {}
        ratio: {}
        data: {}
`

var notesProtected = []string{"notes.title", "notes.tag", "notes.body", "notes.amount", "notes.day", "notes.at", "notes.stars", "notes.ratio", "notes.data"}

// driverBench is a table notes twice, plain and behind Latchkey, an account with a password, and two users' keys.
type driverBench struct {
	*twin
	user, password string
	keyA, keyB     string
}

func newDriverBench(t *testing.T) *driverBench {
	t.Helper()
	server := mariadbtest.Shared(t)
	w := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), protected: notesProtected}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(t, "USE "+db+";"+notesTable)
	}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + w.sealed + ":\n" + notesPolicy})
	b := &driverBench{twin: w, user: "app_" + randomHex(), password: "p'\"w " + randomHex(), keyA: latchkeytest.NewAccountKey(t), keyB: latchkeytest.NewAccountKey(t)}
	account := b.user + "@'127.0.0.1'"
	server.Exec(t, fmt.Sprintf("CREATE USER %s IDENTIFIED BY '%s'", account, strings.ReplaceAll(b.password, "'", "''")),
		fmt.Sprintf("GRANT ALL ON %s.* TO %s", w.plain, account), fmt.Sprintf("GRANT ALL ON %s.* TO %s", w.sealed, account))
	t.Cleanup(func() { server.Exec(t, "DROP USER "+account) })
	return b
}

func randomHex() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// side is one of the two tables and how it is reached.
type side struct {
	addr, database string
	b              *driverBench
}

func (b *driverBench) plainSide() side { return side{addr: b.server.Addr(), database: b.plain, b: b} }

func (b *driverBench) sealedSide() side {
	return side{addr: b.proxy.Address, database: b.sealed, b: b}
}

// env is what the programs of testdata/drivers read.
func (s side) env() []string {
	host, port, _ := net.SplitHostPort(s.addr)
	return append(os.Environ(), "LATCHKEY_HOST="+host, "LATCHKEY_PORT="+port, "LATCHKEY_USER="+s.b.user, "LATCHKEY_PASSWORD="+s.b.password,
		"LATCHKEY_DATABASE="+s.database, "LATCHKEY_KEY_A="+s.b.keyA, "LATCHKEY_KEY_B="+s.b.keyB, "TZ=UTC")
}

// key gives the key that a conversation calls a or b.
func (s side) key(name string) string {
	if name == "a" {
		return s.b.keyA
	}
	return s.b.keyB
}

// driver holds a conversation with a side and gives its report.
type driver struct {
	name string
	talk func(t *testing.T, s side, files []string) string
}

// TestDrivers lets every driver hold the same conversation with plain tables and through Latchkey. The reports are equal to
// each other and to the one in the tree, the tables afterwards are equal, and the backend holds cells only.
func TestDrivers(t *testing.T) {
	b := newDriverBench(t)
	for _, d := range []driver{
		{"go, prepared", goDriver("")},
		{"go, interpolated", goDriver("?interpolateParams=true")},
		{"mariadb CLI", commandLine},
		{"PDO, emulated", php("pdo-emulated")},
		{"PDO, native", php("pdo-native")},
		{"PDO, unbuffered", php("pdo-unbuffered")},
		{"mysqli, get_result", php("mysqli")},
		{"mysqli, bind_result", php("mysqli-bind")},
		{"mysql2, query", node("mysql2-query")},
		{"mysql2, execute", node("mysql2-execute")},
		{"mariadb for Node, query", node("mariadb-query")},
		{"mariadb for Node, execute", node("mariadb-execute")},
		{"mariadb for Node, pipelined", node("mariadb-pipelined")},
		{"mysql2, compression asked for", node("mysql2-query-compressed")},
		{"mariadb for Node, compression asked for", node("mariadb-query-compressed")},
		{"PyMySQL", python("pymysql")},
		{"PyMySQL, streaming", python("pymysql-stream")},
		{"mysqlclient", python("mysqlclient")},
		{"mysqlclient, streaming", python("mysqlclient-stream")},
		{"Connector/C", connectorC("c")},
		{"Connector/C, cursors, compression asked for", connectorC("cursor")},
		{"Connector/J, text", java("useBulkStmts=false")},
		{"Connector/J, prepared", java("useServerPrepStmts=true&useBulkStmts=false")},
		{"Connector/J, prepared, bulk", java("useServerPrepStmts=true&useBulkStmts=true")},
		{"Connector/J, rewritten batches", java("rewriteBatchedStatements=true")},
		{"Connector/J, streaming, compression asked for", java("useServerPrepStmts=true&defaultFetchSize=2&useCompression=true")},
	} {
		t.Run(d.name, func(t *testing.T) { b.converse(t, d) })
	}
}

func (b *driverBench) converse(t *testing.T, d driver) {
	for _, db := range []string{b.plain, b.sealed} {
		b.server.Exec(t, "TRUNCATE TABLE "+db+".notes")
	}
	conversation, push, keys := filepath.Join(driversDir, "conversation.txt"), filepath.Join(driversDir, "push.txt"), filepath.Join(driversDir, "keys.txt")
	plain := d.talk(t, b.plainSide(), []string{conversation})
	sealed := d.talk(t, b.sealedSide(), []string{push, conversation, keys})
	b.onlyCells(t, d.name)
	pushed, rest, _ := strings.Cut(sealed, "\n")
	if pushed != "push\taffected=0" {
		t.Fatalf("pushing a key gave %q", pushed)
	}
	conversed, keyed, found := strings.Cut(rest, "forget\t")
	if !found {
		t.Fatalf("the report ends early:\n%s", rest)
	}
	sameReport(t, "through Latchkey, held against plain tables", conversed, plain)
	golden(t, "conversation.want", common(plain))
	golden(t, "keys.want", "forget\t"+keyed)
	b.sameTables(t)
}

// common drops what is a driver's own choice: the count that depends on CLIENT_FOUND_ROWS, and the digits of a fraction of
// a second that is zero.
func common(report string) string {
	var text strings.Builder
	for line := range strings.Lines(report) {
		if !strings.HasPrefix(line, "unchanged\t") {
			text.WriteString(secondsFraction.ReplaceAllStringFunc(line, func(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }))
		}
	}
	return text.String()
}

var secondsFraction = regexp.MustCompile(`:\d\d\.\d+`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(driversDir, name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sameReport(t, "held against "+path, got, string(want))
}

func sameReport(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("%s, from line %d:\ngot\n%s\nwant\n%s", what, i+1, excerpt(g, i), excerpt(w, i))
			return
		}
	}
}

func excerpt(lines []string, from int) string {
	return strings.Join(lines[min(from, len(lines)):min(from+4, len(lines))], "\n")
}

// sameTables compares the rows that the driver left on both sides, read by another driver.
func (b *driverBench) sameTables(t *testing.T) {
	t.Helper()
	const q = "SELECT * FROM notes WHERE id < 50 ORDER BY id"
	plain, sealed := b.conns(t, "")
	if _, err := sealed.ExecContext(context.Background(), "SET @latchkey = ?", b.keyA); err != nil {
		t.Fatal(err)
	}
	want, got := run(plain, wayText, q, nil), run(sealed, wayText, q, nil)
	if len(want.Rows) == 0 {
		t.Fatal("the conversation left no rows")
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("the tables differ afterwards (%d bytes of rows through Latchkey, %d of plaintext; code %d)", len(g), len(w), got.Code)
	}
}

// programTimeout bounds how long a conversation may take on a busy machine.
const programTimeout = 2 * time.Minute

// program runs a command to its end and gives its standard output.
func program(t *testing.T, s side, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = s.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s\nreport so far:\n%s", name, err, stderr.String(), stdout.String())
	}
	return stdout.String()
}

func php(mode string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		return program(t, s, "php", append([]string{"-d", "display_errors=stderr", filepath.Join(driversDir, "php/conversation.php"), mode}, files...)...)
	}
}

// python runs Debian's interpreter, which is the one that sees Debian's drivers.
func python(mode string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		return program(t, s, "/usr/bin/python3", append([]string{filepath.Join(driversDir, "python/conversation.py"), mode}, files...)...)
	}
}

func node(mode string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		return program(t, s, "node", append([]string{filepath.Join(nodeDir(t), "conversation.js"), mode}, files...)...)
	}
}

func connectorC(mode string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		return program(t, s, connectorCProgram(t), append([]string{mode}, files...)...)
	}
}

func java(parameters string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		return program(t, s, "java", append([]string{"-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", javaClasses(t) + ":" + connectorJ, "Conversation", parameters}, files...)...)
	}
}

// connectorJ is where Debian's libmariadb-java puts it.
const connectorJ = "/usr/share/java/mariadb-java-client.jar"

// built is something that is made once for the test process, in a directory that stays until it ends.
type built struct {
	once sync.Once
	path string
	err  error
}

func (b *built) get(t *testing.T, build func(dir string) (string, error)) string {
	t.Helper()
	b.once.Do(func() {
		var dir string
		if dir, b.err = os.MkdirTemp("", "latchkey-drivers-"); b.err != nil {
			return
		}
		atExit = append(atExit, func() { os.RemoveAll(dir) })
		b.path, b.err = build(dir)
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

var builtNode, builtC, builtJava built

// nodeDir holds the programs for Node with their drivers installed beside them.
func nodeDir(t *testing.T) string {
	t.Helper()
	return builtNode.get(t, func(dir string) (string, error) {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(driversDir, "node"))); err != nil {
			return "", err
		}
		cmd := exec.Command("npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm ci: %w\n%s", err, out)
		}
		return dir, nil
	})
}

func connectorCProgram(t *testing.T) string {
	t.Helper()
	return builtC.get(t, func(dir string) (string, error) {
		flags, err := exec.Command("mariadb_config", "--cflags", "--libs").Output()
		if err != nil {
			return "", fmt.Errorf("mariadb_config: %w", err)
		}
		path := filepath.Join(dir, "conversation")
		args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", path, filepath.Join(driversDir, "c/conversation.c")}, strings.Fields(string(flags))...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("gcc: %w\n%s", err, out)
		}
		return path, nil
	})
}

func javaClasses(t *testing.T) string {
	t.Helper()
	return builtJava.get(t, func(dir string) (string, error) {
		if _, err := os.Stat(connectorJ); err != nil {
			return "", err
		}
		if out, err := exec.Command("javac", "-encoding", "UTF-8", "-d", dir, filepath.Join(driversDir, "java/Conversation.java")).CombinedOutput(); err != nil {
			return "", fmt.Errorf("javac: %w\n%s", err, out)
		}
		return dir, nil
	})
}

// driverStep is a step of a conversation; testdata/drivers/FORMAT.txt explains the format.
type driverStep struct {
	verb, label, stmt string
	sets              [][]string
}

func readSteps(t *testing.T, files []string) []driverStep {
	t.Helper()
	var steps []driverStep
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if fields[0] == "" {
				last := &steps[len(steps)-1]
				last.sets = append(last.sets, fields[1:])
				continue
			}
			steps = append(steps, driverStep{verb: fields[0], label: fields[1], stmt: strings.Join(fields[2:], "\t")})
		}
	}
	return steps
}

// showValue writes a value as reports have it.
func showValue(name string, value sql.NullString) string {
	switch {
	case !value.Valid:
		return `\N`
	case name == "data":
		return hex.EncodeToString([]byte(value.String))
	case len(value.String) <= 1000:
		return value.String
	}
	sum := 0
	for _, b := range []byte(value.String) {
		sum = (sum*31 + int(b)) % 2147483647
	}
	return fmt.Sprintf("len=%d sum=%d", len(value.String), sum)
}
