package endtoend

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestNothingLeaks runs every statement of testdata/forms, and what goes wrong besides, with marked values against a server
// that logs all it can. No place where the server or the proxy keeps anything may then hold a mark; a second mark, written
// past the proxy, must be found in every place.
func TestNothingLeaks(t *testing.T) {
	server := mariadbtest.Start(t, mariadbtest.WithAllLogs())
	w := newTwin(t, server)
	secrets := newSecrets(t, w.key)
	control := newMark("c")
	watch := watchStatements(t, server)
	keepUndo(t, server)

	runMarked(t, w, secrets)
	runFailing(t, w, secrets)
	plantControl(t, w, control)

	places := livePlaces(t, w)
	places = append(places, place{name: "statements that ran", content: watch.stop()})
	halt(t, server)
	places = append(places, filePlaces(t, server, " after the end")...)
	if err := server.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		for _, s := range secrets.all() {
			if at, encoding, found := s.find(p.content); found {
				t.Errorf("%s holds a mark (%s, as %s): %.160q", p.name, s.what, encoding, p.content[max(0, at-60):])
			}
		}
		if p.instead != "" {
			if !bytes.Contains(p.content, []byte(p.instead)) {
				t.Errorf("%s does not hold %q", p.name, p.instead)
			}
		} else if _, _, found := control.find(p.content); !found && !p.uncertain {
			t.Errorf("%s: the search does not find the control", p.name)
		}
	}
}

// TestSearchFindsEveryEncoding shows that a mark is found however it is written.
func TestSearchFindsEveryEncoding(t *testing.T) {
	m := newMark("m")
	text := m.text + "tail"
	var wide, wideBig []byte
	for _, u := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(u), byte(u>>8))
		wideBig = append(wideBig, byte(u>>8), byte(u))
	}
	forms := map[string]string{
		"utf8": text, "hex": hex.EncodeToString([]byte(text)), "upper hex": strings.ToUpper(hex.EncodeToString([]byte(text))),
		"utf-16le": string(wide), "utf-16be": string(wideBig),
		"base64 at 0": base64.StdEncoding.EncodeToString([]byte(text)),
		"base64 at 1": base64.StdEncoding.EncodeToString([]byte("x" + text)),
		"base64 at 2": base64.URLEncoding.EncodeToString([]byte("xy" + text)),
	}
	for name, form := range forms {
		if _, _, found := m.find([]byte("before " + form + " behind")); !found {
			t.Errorf("%s is not found", name)
		}
	}
	if _, _, found := m.find([]byte(strings.Repeat("nothing ", 100))); found {
		t.Error("found where nothing is")
	}
}

// mark is a text that occurs nowhere by chance, and every way in which it could be written down.
type mark struct {
	what, text string
	needles    []needle
}

type needle struct {
	encoding string
	bytes    []byte
}

func newMark(what string) *mark {
	var random [9]byte
	rand.Read(random[:])
	return markOf(what, "mk"+hex.EncodeToString(random[:]))
}

func markOf(what, text string) *mark {
	m := &mark{what: what, text: text}
	add := func(encoding string, b []byte) { m.needles = append(m.needles, needle{encoding, b}) }
	add("utf8", []byte(text))
	if upper := strings.ToUpper(text); upper != text {
		add("upper case", []byte(upper))
	}
	if lower := strings.ToLower(text); lower != text {
		add("lower case", []byte(lower))
	}
	add("hex", []byte(hex.EncodeToString([]byte(text))))
	add("upper hex", []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))))
	for shift := range 3 {
		// Only characters of whole bytes of the text: the first and last depend on their neighbours.
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
		skip := []int{0, 2, 3}[shift]
		add(fmt.Sprintf("base64 at %d", shift), []byte(encoded[skip:len(encoded)-1]))
	}
	var wide, wideBig []byte
	for _, u := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(u), byte(u>>8))
		wideBig = append(wideBig, byte(u>>8), byte(u))
	}
	add("utf-16le", wide)
	add("utf-16be", wideBig)
	return m
}

// find tells where content holds the mark.
func (m *mark) find(content []byte) (at int, encoding string, found bool) {
	for _, n := range m.needles {
		if at := bytes.Index(content, n.bytes); at >= 0 {
			return at, n.encoding, true
		}
	}
	return 0, "", false
}

// secrets are the marks that must be nowhere.
type secrets struct {
	value, password, attribute *mark
	// number is the whole part of every marked number, of nine digits.
	number *mark
	// keys are account keys that were pushed or tried.
	keys  []string
	marks []*mark
}

func newSecrets(t *testing.T, key string) *secrets {
	s := &secrets{value: newMark("value"), password: newMark("password"), attribute: newMark("attribute")}
	var random [3]byte
	rand.Read(random[:])
	number := 800000000 + int(random[0])<<16 | int(random[1])<<8 | int(random[2])
	s.number = &mark{what: "number", text: fmt.Sprint(number)}
	s.number.needles = []needle{{"digits", []byte(s.number.text)},
		// DECIMAL packs nine digits into four bytes; a double holds the number with its fraction.
		{"packed decimal", []byte{byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}}}
	s.keys = []string{key, latchkeytest.NewAccountKey(t), latchkeytest.NewAccountKey(t)}
	s.marks = []*mark{s.value, s.password, s.attribute, s.number}
	for _, k := range s.keys {
		body := strings.TrimPrefix(k, "LK1-")
		s.marks = append(s.marks, markOf("key", body[:17]), markOf("key without dashes", strings.ReplaceAll(body, "-", "")[:15]),
			markOf("end of a key", body[len(body)-17:]))
	}
	return s
}

func (s *secrets) all() []*mark { return s.marks }

var (
	quoted      = regexp.MustCompile(`(?i)(x?)('(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*")`)
	innerQuoted = regexp.MustCompile(`''([^']+)''`)
	hexNumber   = regexp.MustCompile(`0x[0-9A-Fa-f]+`)
	decimal     = regexp.MustCompile(`-?\b\d+\.\d+\b`)
	numberText  = regexp.MustCompile(`^-?\d+(\.\d+)?$`)
)

// openLiterals are literals of the forms that are compared with or stored in columns that are not protected.
var openLiterals = []string{"anna", "ann", "bob", "cyd", "home", "both", "rent", "none", "", "<", ">", "t", "!"}

// mark puts the mark in front of every string literal that is meant for a protected column, so that equal values stay equal,
// and replaces numbers with a fraction.
func (s *secrets) mark(stmt string) string {
	stmt = quoted.ReplaceAllStringFunc(stmt, func(literal string) string {
		if literal[0] == 'x' || literal[0] == 'X' {
			return "x'" + hex.EncodeToString([]byte(s.value.text)) + "'"
		}
		inner := literal[1 : len(literal)-1]
		for _, open := range openLiterals {
			if inner == open {
				return literal
			}
		}
		switch {
		case strings.Contains(inner, "''") && strings.Contains(inner, " "):
			return "'" + innerQuoted.ReplaceAllString(inner, "''"+s.value.text+"$1''") + "'"
		case numberText.MatchString(inner):
			return literal[:1] + s.number.text + ".25" + literal[:1]
		}
		return literal[:1] + s.value.text + literal[1:]
	})
	stmt = hexNumber.ReplaceAllString(stmt, "0x"+hex.EncodeToString([]byte(s.value.text)))
	if strings.Contains(stmt, "amount") {
		stmt = decimal.ReplaceAllStringFunc(stmt, func(n string) string {
			if strings.HasPrefix(n, s.number.text) {
				return n
			}
			return s.number.text + ".25"
		})
	}
	return stmt
}

func (s *secrets) markArgs(args []any) []any {
	marked := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case string:
			if marked[i] = any(s.value.text + v); numberText.MatchString(v) {
				marked[i] = s.number.text + ".25"
			}
		case float64:
			marked[i] = any(s.number.text + ".25")
		default:
			marked[i] = a
		}
	}
	return marked
}

// runMarked runs all forms, each on fresh rows and committed, so that the binary log gets what they write.
func runMarked(t *testing.T, w *twin, s *secrets) {
	ctx := context.Background()
	files, err := filepath.Glob("testdata/forms/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no forms: %v", err)
	}
	_, asText := w.conns(t, "?interpolateParams=true")
	_, asPrepared := w.conns(t, "")
	fill := func() {
		for _, stmt := range append([]string{"DELETE FROM entries", "DELETE FROM users", "DELETE FROM tags", "DELETE FROM archive", "DELETE FROM diary"}, twinRows...) {
			if _, err := asText.ExecContext(ctx, s.mark(stmt)); err != nil {
				t.Fatalf("fill: %s: %v", stmt, err)
			}
		}
	}
	answered := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fill()
		for _, c := range parseForms(t, string(text)) {
			if c.section == "What touches nothing protected" {
				continue
			}
			stmt, args := s.mark(c.stmt), s.markArgs(c.args)
			for how, conn := range map[way]*sql.Conn{wayText: asText, wayPrepared: asPrepared} {
				// The client may be told the value; here only the answer counts.
				if a := run(conn, how, stmt, args); a.Code == 0 {
					answered++
					if !returnsRows(stmt) || strings.Contains(stmt, "RETURNING") {
						fill()
					}
				}
			}
		}
	}
	if answered < 100 {
		t.Errorf("only %d marked statements were answered: the marks spoil the forms", answered)
	}
	w.onlyCells(t, "all forms")
}

// runFailing sends what fails half way: hostile and broken statements, keys and passwords of every kind, aborted clients.
func runFailing(t *testing.T, w *twin, s *secrets) {
	ctx := context.Background()
	v, password := s.value.text, s.password.text
	key, other, third := s.keys[0], s.keys[1], s.keys[2]
	broken := third[:len(third)-1] + map[bool]string{true: "1", false: "0"}[third[len(third)-1] == '0']
	conn := w.proxy.Conn(t, w.sealed, "?interpolateParams=true&multiStatements=true", key)
	for _, stmt := range []string{
		"INSERT INTO entries (title) VALUES ('" + v + "'",
		"INSERT INTO entries (title) VALUES ('" + v,
		"INSERT INTO entries (title) VALUES ('a'), ('" + v + "') ON DUPLICATE",
		"UPDATE entries SET title = '" + v + "' WHERE nothing = 1",
		"UPDATE entries SET title = '" + v + "' WHERE id = (SELECT id FROM entries)",
		"UPDATE entries SET title = REPEAT('" + v + "', 1000)",
		"UPDATE entries SET title = CONCAT(LEFT(title, 9), '" + v + "'), mood = LENGTH('" + v + "') WHERE body NOT LIKE '%" + v + "?'",
		"UPDATE entries SET body = CONCAT(body, title, '" + v + "') WHERE title LIKE '%" + v + "%' ORDER BY body LIMIT 3",
		"UPDATE entries e JOIN archive a ON LOWER(a.title) = LOWER(e.title) SET e.body = CONCAT(a.title, '" + v + "'), a.body = e.title",
		"DELETE FROM entries WHERE body LIKE '" + v + "%' RETURNING id, CONCAT(title, '" + v + "')",
		"INSERT INTO entries (title) VALUES ('" + strings.Repeat(v, 10) + "')",
		"INSERT INTO entries (amount) VALUES ('" + v + "')",
		"INSERT INTO entries (id, title) VALUES (1, '" + v + "'), (1, '" + v + "')",
		"INSERT INTO entries (title) VALUES ('" + v + "'); INSERT INTO tags (name) VALUES ('x'); UPDATE entries SET body = '" + v + "' LIMIT 1",
		"INSERT INTO tags (name) VALUES ('x'); SELECT title FROM entries WHERE title LIKE '" + v + "%'",
		"PREPARE p FROM 'SELECT id FROM entries WHERE title = ''" + v + "'''",
		"EXECUTE p",
		"PREPARE q FROM 'UPDATE entries SET title = CONCAT(''" + v + "'', id)'",
		"EXECUTE IMMEDIATE CONCAT('UPDATE entries SET title = ''" + v + "''')",
		"SET STATEMENT max_statement_time = 1 FOR UPDATE entries SET body = '" + v + "'",
		"CREATE TABLE copy AS SELECT title, CONCAT(title, '" + v + "') AS x FROM entries WHERE body NOT LIKE '" + v + "?'",
		"CREATE OR REPLACE TABLE copy (x VARCHAR(200)) AS SELECT CONCAT('" + v + "', title) AS x FROM entries",
		"CREATE OR REPLACE TABLE copy (x VARCHAR(5)) AS SELECT CONCAT('" + v + "', title) AS x FROM entries",
		"DROP TABLE IF EXISTS copy",
		"CREATE VIEW seen AS SELECT id FROM entries WHERE title = '" + v + "'",
		"CREATE TRIGGER trg BEFORE INSERT ON entries FOR EACH ROW SET NEW.title = '" + v + "'",
		"CREATE PROCEDURE pr() UPDATE entries SET title = '" + v + "'",
		"ALTER TABLE entries ADD shown VARCHAR(100) AS (CONCAT(title, '" + v + "'))",
		"LOAD DATA LOCAL INFILE '" + v + "' INTO TABLE entries",
		"SELECT title INTO OUTFILE '/nowhere/" + v + "' FROM entries",
		"HANDLER entries OPEN; HANDLER entries READ `PRIMARY` = ('" + v + "')",
		"EXPLAIN SELECT id FROM entries WHERE title = '" + v + "'",
		"ANALYZE SELECT id FROM entries WHERE title = '" + v + "'",
		"EXPLAIN EXTENDED SELECT id FROM entries WHERE title = '" + v + "'",
		"SET @latchkey = '" + other + "'",
		"SET @latchkey = '" + strings.ToLower(strings.ReplaceAll(other, "-", "")) + "'",
		"SET @a = 1, @latchkey = '" + other + "', @b = 2",
		"SET @latchkey := '" + other + "'; SELECT 1",
		"SELECT 1; SET @latchkey = '" + key + "'",
		"SET @latchkey = '" + broken + "'",
		"SET @latchkey = '" + third + "x'",
		"SET @latchkey = CONCAT('" + third + "')",
		"SELECT @latchkey := '" + third + "'",
		"SET @other = '" + third + "'",
		"SELECT '" + third + "'",
		"INSERT INTO tags (name) VALUES ('" + third + "')",
		"SET @latchkey = '" + third,
		"CALL latchkey.add_key('" + other + "')",
		"CALL latchkey.add_key('" + broken + "')",
		"CALL latchkey.add_key('" + other + "'",
		"CALL latchkey.enroll('7', '" + password + "')",
		"CALL latchkey.unlock('7', '" + password + "')",
		"CALL `latchkey`.`unlock`('7', CONCAT('" + password + "'))",
		"CALL latchkey.change_password('7', '" + password + "', '" + password + "')",
		"CALL latchkey.nothing('" + password + "')",
		"SET @latchkey = 'LKT1-" + password + "'",
	} {
		if rows, err := conn.QueryContext(ctx, stmt); err == nil {
			rows.Close()
		}
	}
	prepared := w.proxy.Conn(t, w.sealed, "", key)
	for stmt, arg := range map[string]any{
		"SET @latchkey = ?":                                   other,
		"CALL latchkey.add_key(?)":                            key,
		"CALL latchkey.unlock('7', ?)":                        password,
		"SELECT ?":                                            third,
		"INSERT INTO tags (name) VALUES (?)":                  third,
		"UPDATE entries SET title = CONCAT(?, title)":         v,
		"SELECT id FROM entries WHERE title LIKE ?":           v,
		"SELECT id FROM entries WHERE title = ? AND nope = 1": v,
		"INSERT INTO entries (amount) VALUES (?)":             v,
	} {
		run(prepared, wayPrepared, stmt, []any{arg})
	}
	attributes := func(value string) {
		c, err := mysql.ParseDSN(w.proxy.DSN(w.sealed))
		if err != nil {
			t.Fatal(err)
		}
		c.ConnectionAttributes = "latchkey:" + value
		connector, err := mysql.NewConnector(c)
		if err != nil {
			t.Fatal(err)
		}
		pool := sql.OpenDB(connector)
		defer pool.Close()
		_ = pool.PingContext(ctx) // a refusal is as good as an answer here
	}
	attributes(other)
	attributes(broken)
	attributes(s.attribute.text)
	abort(t, w, v)
}

// abort lets clients go away in the middle: a transaction that is not committed, a statement that waits for a lock when its
// client or its thread is killed.
func abort(t *testing.T, w *twin, v string) {
	ctx := context.Background()
	open := w.proxy.Conn(t, w.sealed, "", w.key)
	for _, stmt := range []string{"START TRANSACTION", "UPDATE entries SET title = '" + v + "open'"} {
		if _, err := open.ExecContext(ctx, stmt); err != nil {
			t.Fatal(err)
		}
	}
	for _, kill := range []string{"KILL QUERY", "KILL"} {
		waiting := w.proxy.Conn(t, w.sealed, "", w.key)
		var id int
		if err := waiting.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := waiting.ExecContext(ctx, "UPDATE entries SET title = '"+v+"waits', body = '"+v+"'")
			done <- err
		}()
		awaitStatement(t, w.server, id)
		w.server.Exec(t, fmt.Sprintf("%s %d", kill, id))
		if err := <-done; err == nil {
			t.Errorf("%s: the statement was answered as if it had run", kill)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	waiting := w.proxy.Conn(t, w.sealed, "", w.key)
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := waiting.ExecContext(gone, "UPDATE entries SET title = '"+v+"gone'"); err == nil {
		t.Error("the statement was answered as if it had run")
	}
	open.Raw(func(c any) error { return c.(io.Closer).Close() })
}

// awaitStatement waits until connection id runs a statement.
func awaitStatement(t *testing.T, server *mariadbtest.Server, id int) {
	t.Helper()
	for range 1000 {
		rows := server.Query(t, fmt.Sprintf("SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = %d AND COMMAND <> 'Sleep' AND TIME_MS > 20", id))
		if len(rows) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the statement never ran")
}

// watcher looks again and again at what the server shows of running statements.
type watcher struct {
	quit, done chan struct{}
	seen       bytes.Buffer
}

func watchStatements(t *testing.T, server *mariadbtest.Server) *watcher {
	w := &watcher{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		known := make(map[string]bool)
		for {
			rows, err := server.DB().Query("SELECT COALESCE(HEX(INFO_BINARY), ''), COALESCE(STATE, '') FROM information_schema.PROCESSLIST" +
				" UNION ALL SELECT COALESCE(HEX(PROCESSLIST_INFO), ''), '' FROM performance_schema.threads" +
				" UNION ALL SELECT COALESCE(HEX(trx_query), ''), '' FROM information_schema.INNODB_TRX")
			if err == nil {
				for rows.Next() {
					var info, state string
					if rows.Scan(&info, &state) == nil && !known[info] {
						known[info] = true
						w.seen.WriteString(info + " " + state + "\n")
					}
				}
				rows.Close()
			}
			select {
			case <-w.quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { w.stop() }) })
	return w
}

// stop ends the watch and gives everything seen.
func (w *watcher) stop() []byte {
	select {
	case <-w.quit:
	default:
		close(w.quit)
	}
	<-w.done
	return w.seen.Bytes()
}

// plantControl writes the control past the proxy so that it gets to every place.
func plantControl(t *testing.T, w *twin, control *mark) {
	t.Helper()
	server, text := w.server, control.text
	server.Exec(t, "USE "+w.plain+"; INSERT INTO entries (id, title, body) VALUES (900, '"+text+"', '"+text+"'); "+
		"UPDATE entries SET body = 'changed' WHERE id = 900; SELECT SLEEP(0.2), '"+text+"'")
	ctx := context.Background()
	conn, err := server.DB().Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.ExecContext(ctx, "USE "+w.plain+"; CREATE TEMPORARY TABLE control (v TEXT) ENGINE=MyISAM; INSERT INTO control VALUES ('"+text+"')"); err != nil {
		t.Fatal(err)
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr = text, "tcp", server.Addr()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	if err := pool.PingContext(ctx); err == nil {
		t.Fatal("an unknown user could log in")
	}
}

// keepUndo opens a transaction to the end of the test: the undo records of all that changes meanwhile stay.
func keepUndo(t *testing.T, server *mariadbtest.Server) {
	t.Helper()
	ctx := context.Background()
	conn, err := server.DB().Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		t.Fatal(err)
	}
}

// writePages waits until the server has written all changed pages to its files.
func writePages(t *testing.T, server *mariadbtest.Server) {
	t.Helper()
	server.Exec(t, "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0", "SET GLOBAL innodb_max_dirty_pages_pct = 0")
	for range 2000 {
		if server.Query(t, "SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")[0][1] == "0" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the server keeps changed pages")
}

// place is somewhere that could keep what it was sent.
type place struct {
	name    string
	content []byte
	// instead is a text that shows that the right thing was read, where no client can get the control to.
	instead string
	// uncertain places hold the control or not, as the server cleans up.
	uncertain bool
}

// livePlaces reads what only a running server and proxy show, and the files as they are now.
func livePlaces(t *testing.T, w *twin) []place {
	t.Helper()
	server := w.server
	server.Exec(t, "FLUSH TABLES", "FLUSH LOGS")
	writePages(t, server)
	places := []place{
		{name: "tables", content: dump(t, server, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('"+w.sealed+"', '"+w.plain+"', 'mysql') AND TABLE_TYPE = 'BASE TABLE'")},
		{name: "performance_schema", content: dump(t, server, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME LIKE '%statements%'")},
		{name: "the proxy's log", content: []byte(w.proxy.Log()), instead: "level="},
		{name: "/metrics", content: get(t, w.proxy, "/metrics"), instead: "latchkey_refusals_total"},
		{name: "/status", content: get(t, w.proxy, "/status"), instead: "uptime_seconds"},
		openFiles(t, server),
	}
	return append(places, filePlaces(t, server, "")...)
}

// dump reads every row of the tables that a query lists.
func dump(t *testing.T, server *mariadbtest.Server, tables string) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, row := range server.Query(t, tables) {
		for _, values := range server.Query(t, "SELECT * FROM "+mariadbtest.Quote(row[0])+"."+mariadbtest.Quote(row[1])) {
			all.WriteString(strings.Join(values, "\t") + "\n")
		}
	}
	return all.Bytes()
}

func get(t *testing.T, p *latchkeytest.Proxy, path string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// filePlaces reads the server's files, one place for each kind.
func filePlaces(t *testing.T, server *mariadbtest.Server, when string) []place {
	t.Helper()
	kinds := map[string]*bytes.Buffer{}
	var binlogs []string
	err := filepath.WalkDir(server.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		kind := ""
		name := d.Name()
		switch {
		case strings.HasPrefix(path, server.TmpDir()):
			kind = "temporary files"
		case name == "error.log":
			kind = "error log"
		case name == "general.log", name == "slow.log", name == "ibdata1":
			kind = name
		case strings.HasPrefix(name, "ib_logfile"):
			kind = "redo log"
		case strings.HasPrefix(name, "binlog.0"):
			kind = "binary log"
			binlogs = append(binlogs, path)
		case strings.HasSuffix(name, ".ibd") && !strings.Contains(path, "/mysql/"):
			kind = "tablespaces"
		default:
			kind = "other files"
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if kinds[kind] == nil {
			kinds[kind] = &bytes.Buffer{}
		}
		kinds[kind].Write(content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mariadb-binlog", append([]string{"-v", "-v"}, binlogs...)...).Output()
	if err != nil {
		t.Fatalf("mariadb-binlog: %v", err)
	}
	places := []place{{name: "binary log, decoded" + when, content: out}}
	for kind, content := range kinds {
		places = append(places, place{name: kind + when, content: content.Bytes(),
			// Undo is purged and temporary files are removed at the end; the error log begins with the process. The other
			// files are table definitions, statistics and the like.
			uncertain: kind == "other files" || when != "" && (kind == "ibdata1" || kind == "temporary files" || kind == "error log")})
	}
	return places
}

// openFiles reads the files that the server holds open without a name: its sort and transaction caches.
func openFiles(t *testing.T, server *mariadbtest.Server) place {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", server.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasSuffix(target, "(deleted)") {
			continue
		}
		if content, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			all.Write(content)
		}
	}
	return place{name: "files without a name", content: all.Bytes(), uncertain: true}
}

// halt ends the server in an orderly way and keeps its files.
func halt(t *testing.T, server *mariadbtest.Server) {
	t.Helper()
	if err := syscall.Kill(server.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-server.Done():
	case <-time.After(time.Minute):
		t.Fatal("the server does not end")
	}
}
