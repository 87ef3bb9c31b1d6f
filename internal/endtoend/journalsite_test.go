package endtoend

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
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

const journalDir = "../../docs/examples/journal-php"

// cheapPasswords is what Argon2id costs in tests.
const cheapPasswords = "  password: {memory: 8MiB, time: 1, threads: 1}"

// journal is the example of docs/keys.md as a user would run it: PHP's web server, whose one process keeps one database
// connection for all readers.
type journal struct {
	*twin
	keys     string // the keystore's database
	login    string
	base     string // address of the web server
	sessions string // PHP's session files
	stderr   *lockedBuffer
	// connection is the backend's number of the one connection.
	connection string
	// secrets are every password, token, code and key that was used, and plain every text that was written.
	secrets, plain []string
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newJournal(t *testing.T, model string) *journal {
	t.Helper()
	server := mariadbtest.Shared(t)
	j := &journal{
		twin:     &twin{server: server, sealed: server.NewDatabase(t), protected: []string{"users.email", "entries.title", "entries.body"}},
		login:    "journal_" + randomHex(),
		sessions: t.TempDir(),
		stderr:   new(lockedBuffer),
	}
	j.keys = j.sealed + "_keys"
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+j.keys) })
	server.Exec(t, "USE "+j.sealed+";"+readText(t, filepath.Join(journalDir, "schema.sql")))
	account := j.login + "@'127.0.0.1'"
	server.Exec(t, "CREATE USER "+account+" IDENTIFIED BY 'journal'", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+j.sealed+".* TO "+account)
	t.Cleanup(func() { server.Exec(t, "DROP USER "+account) })
	_, policy, _ := strings.Cut(readText(t, filepath.Join(journalDir, "policy.yaml")), "  journal:\n")
	j.proxy = latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{j.login}, ServiceKeys: []string{"app"},
		Keystore: "  database: " + j.keys + "\n" + cheapPasswords, Databases: "  " + j.sealed + ":\n" + policy,
	})
	j.base = "http://" + j.serve(t, model)
	return j
}

func readText(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serve starts PHP's web server and gives its address.
func (j *journal) serve(t *testing.T, model string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	host, port, _ := net.SplitHostPort(j.proxy.Address)
	cmd := exec.Command("php", "-d", "session.save_path="+j.sessions, "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log=",
		"-S", addr, filepath.Join(journalDir, "index.php"))
	cmd.Env = append(os.Environ(), "JOURNAL_MODEL="+model, "JOURNAL_LOGIN="+j.login, "JOURNAL_PASSWORD=journal",
		fmt.Sprintf("JOURNAL_DSN=mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4", host, port, j.sealed))
	cmd.Stderr = j.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("php -S: %v", err)
		}
	}
}

// reader is somebody with a browser.
type reader struct {
	j      *journal
	client *http.Client
	// breaks says that the journal may end with an error.
	breaks bool
}

func (j *journal) reader(t *testing.T) *reader {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &reader{j: j, client: &http.Client{Jar: jar, Timeout: programTimeout, Transport: cookieCheck{t}}}
}

// cookieCheck sees that every cookie is set out of reach of scripts and of other sites.
type cookieCheck struct{ t *testing.T }

// RoundTrip implements http.RoundTripper.
func (c cookieCheck) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	for _, cookie := range resp.Cookies() {
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
			c.t.Errorf("%s: the cookie %s is not HttpOnly and SameSite=Strict", req.URL.Path, cookie.Name)
		}
	}
	return resp, nil
}

var csrfField = regexp.MustCompile(`name="csrf" value="([0-9a-f]{32})"`)

// get loads a page.
func (r *reader) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := r.client.Get(r.j.base + path)
	return r.answer(t, resp, err)
}

// post fills in a form of the page that the reader is at; fields are name and value in turn.
func (r *reader) post(t *testing.T, action string, fields ...string) (int, string) {
	t.Helper()
	_, page := r.get(t, "/")
	found := csrfField.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("%s: there is no form:\n%s", action, page)
	}
	form := url.Values{"csrf": {found[1]}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	resp, err := r.client.PostForm(r.j.base+"/"+action, form)
	return r.answer(t, resp, err)
}

func (r *reader) answer(t *testing.T, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusInternalServerError && !r.breaks {
		t.Fatalf("%s: %s\n%s", resp.Request.URL.Path, body, r.j.stderr.String())
	}
	return resp.StatusCode, string(body)
}

// cookie is the key in the reader's cookies. There is no other one but the session's.
func (r *reader) cookie(t *testing.T) string {
	t.Helper()
	base, err := url.Parse(r.j.base)
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for _, c := range r.client.Jar.Cookies(base) {
		switch c.Name {
		case "key":
			key = c.Value
		case "PHPSESSID":
		default:
			t.Errorf("there is a cookie %s", c.Name)
		}
	}
	return key
}

// bring gives the reader another key in the cookie, as somebody would who got hold of one.
func (r *reader) bring(t *testing.T, key string) {
	t.Helper()
	base, err := url.Parse(r.j.base)
	if err != nil {
		t.Fatal(err)
	}
	r.client.Jar.SetCookies(base, []*http.Cookie{{Name: "key", Value: key, Path: "/"}})
}

var entryField = regexp.MustCompile(`<dt>(.*?)</dt><dd>(.*?)</dd>`)

// entries lists the journal as title=body.
func (r *reader) entries(t *testing.T) string {
	t.Helper()
	return listed(r.get(t, "/"))
}

func listed(status int, page string) string {
	if status != http.StatusOK {
		return fmt.Sprintf("status %d", status)
	}
	var all []string
	for _, m := range entryField.FindAllStringSubmatch(page, -1) {
		all = append(all, m[1]+"="+m[2])
	}
	return strings.Join(all, " ")
}

func (r *reader) wantEntries(t *testing.T, when, want string) {
	t.Helper()
	if got := r.entries(t); got != want {
		t.Errorf("%s: the journal has %q, want %q", when, got, want)
	}
}

// out says that the reader has to sign in.
const out = "status 401"

func (r *reader) write(t *testing.T, title, body string) {
	t.Helper()
	r.j.plain = append(r.j.plain, title, body)
	if status, _ := r.post(t, "write", "title", title, "body", body); status != http.StatusOK {
		t.Errorf("write: status %d", status)
	}
}

var shownOnce = regexp.MustCompile(`<code>(LK[R1]1?-[0-9A-Z-]+)</code>`)

// enter posts a form that lets the reader in, and gives what was shown once.
func (r *reader) enter(t *testing.T, action string, fields ...string) string {
	t.Helper()
	status, page := r.post(t, action, fields...)
	if status != http.StatusOK {
		t.Fatalf("%s: status %d\n%s", action, status, page)
	}
	shown := ""
	if m := shownOnce.FindStringSubmatch(page); m != nil {
		shown = m[1]
		r.j.secrets = append(r.j.secrets, shown)
	}
	r.j.secrets = append(r.j.secrets, r.cookie(t))
	return shown
}

// refused posts a form that must not let the reader in.
func (r *reader) refused(t *testing.T, when, action string, fields ...string) {
	t.Helper()
	if status, page := r.post(t, action, fields...); status != http.StatusForbidden || strings.Contains(page, "<code>") {
		t.Errorf("%s: %s gave status %d, want 403", when, action, status)
	}
}

// dump gives every row of every table of a database, each value in hexadecimal.
func (j *journal) dump(t *testing.T, db string) map[string][]string {
	t.Helper()
	tables := make(map[string][]string)
	for _, name := range j.server.Query(t, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+db+"'") {
		tables[name[0]] = []string{}
		for _, row := range j.server.Query(t, "SELECT * FROM "+db+"."+mariadbtest.Quote(name[0])+" ORDER BY 1") {
			tables[name[0]] = append(tables[name[0]], hex.EncodeToString([]byte(strings.Join(row, "\x00"))))
		}
	}
	if len(tables) == 0 {
		t.Fatalf("%s has no tables", db)
	}
	return tables
}

// secretForms are the ways in which a text may lie somewhere: as it is, and without the mark in front.
func secretForms(secret string) []string {
	_, bare, found := strings.Cut(secret, "-")
	if !found || !strings.HasPrefix(secret, "LK") {
		return []string{secret}
	}
	return []string{secret, bare, strings.ReplaceAll(bare, "-", "")}
}

// check looks at everything that is stored: cells in protected columns, no secret and no text in any table, in PHP's session
// files or in a log.
func (j *journal) check(t *testing.T, when string) {
	t.Helper()
	j.onlyCells(t, when)
	places := map[string]string{"Latchkey's log": j.proxy.Log(), "PHP's log": j.stderr.String()}
	for _, db := range []string{j.sealed, j.keys} {
		for table, rows := range j.dump(t, db) {
			raw, err := hex.DecodeString(strings.Join(rows, "00"))
			if err != nil {
				t.Fatal(err)
			}
			places["table "+table] = string(raw)
		}
	}
	files, err := filepath.Glob(filepath.Join(j.sessions, "sess_*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: PHP has no session files: %v", when, err)
	}
	for _, file := range files {
		content := readText(t, file)
		places["a session file"] += content
		if !sessionContent.MatchString(content) {
			t.Errorf("%s: a session file holds %q", when, content)
		}
	}
	for place, content := range places {
		if strings.Contains(content, "PHP Fatal") || strings.Contains(content, "PHP Warning") || strings.Contains(content, "PHP Deprecated") || strings.Contains(content, "PHP Notice") {
			t.Errorf("%s: %s: %s", when, place, content)
		}
		for _, secret := range j.secrets {
			for _, form := range secretForms(secret) {
				if form != "" && strings.Contains(content, form) {
					t.Errorf("%s: %s holds a secret that begins with %.5s", when, place, secret)
				}
			}
		}
		for _, text := range j.plain {
			if strings.Contains(content, text) {
				t.Errorf("%s: %s holds %q", when, place, text)
			}
		}
	}
	j.onePersistent(t, when)
}

// onePersistent waits until the backend has closed the connections of the test itself: all readers share one.
func (j *journal) onePersistent(t *testing.T, when string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ids := j.server.Query(t, "SELECT id FROM information_schema.processlist WHERE user = '"+j.login+"'")
		if len(ids) == 1 {
			if j.connection != "" && j.connection != ids[0][0] {
				t.Errorf("%s: PHP has opened another connection", when)
			}
			j.connection = ids[0][0]
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the journal has %d connections, want the one that is persistent", when, len(ids))
		}
	}
}

// sessionContent is all that a session file may hold.
var sessionContent = regexp.MustCompile(`^(user\|i:\d+;|csrf\|s:32:"[0-9a-f]{32}";)*$`)

// unchanged fails when a row of the application's tables was rewritten.
func (j *journal) unchanged(t *testing.T, when string, before map[string][]string) {
	t.Helper()
	after := j.dump(t, j.sealed)
	for table, rows := range before {
		if len(rows) == 0 {
			t.Errorf("%s: %s was empty", when, table)
		}
		if strings.Join(after[table], "\n") != strings.Join(rows, "\n") {
			t.Errorf("%s: rows of %s were rewritten", when, table)
		}
	}
}
