package endtoend

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const (
	reportTables = "CREATE TABLE notes (id INT PRIMARY KEY, owner INT NOT NULL, title VARCHAR(100) DEFAULT 'none', body TEXT, amount DECIMAL(10,2), UNIQUE KEY (owner, title));" +
		"CREATE TABLE safe (id INT PRIMARY KEY, word VARCHAR(50))"
	reportPolicy = `    notes:
      owner: owner
      columns:
        title: {search: equality}
        body: {}
        amount: {}
`
	safePolicy = `    safe:
      columns:
        word: {}
`
)

// reported is what /status shows of one statement.
type reported struct {
	Statement, Database, Class, Column, Reason string
	Count, Rows, Code                          int
}

// reportOf reads the report: statement to what is said of it. ok is false where there is none.
func reportOf(t *testing.T, p *latchkeytest.Proxy) (all map[string]reported, ok bool) {
	t.Helper()
	var status struct {
		Report *struct{ Statements []reported }
	}
	if err := json.Unmarshal(get(t, p, "/status?format=json"), &status); err != nil {
		t.Fatal(err)
	}
	all = make(map[string]reported)
	if status.Report == nil {
		return all, false
	}
	for _, s := range status.Report.Statements {
		all[s.Statement] = s
	}
	return all, true
}

// newReporter starts a proxy in mode report over notes, which nothing has prepared, and safe, which is sealed already.
func newReporter(t *testing.T) (*ledger, string) {
	t.Helper()
	server := mariadbtest.Start(t, mariadbtest.WithArgs("--general-log=1", "--log-output=TABLE"))
	l := &ledger{server: server, db: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	direct := server.NewDatabase(t)
	server.Exec(t, "USE "+l.db+";"+reportTables, "USE "+direct+";"+reportTables)
	head := "  " + l.db + ":\n"
	l.proxy = latchkeytest.Write(t, latchkeytest.Config{Server: server, Databases: head + safePolicy, Extra: "mode: report"})
	l.proxy.Prepare(t)
	l.edit(t, head, head+reportPolicy)
	l.proxy.Serve(t)
	return l, direct
}

// TestReport runs statements in mode report and on the server itself: answers and text are the same, and what would become
// of them is shown.
func TestReport(t *testing.T) {
	l, direct := newReporter(t)
	conn := l.proxy.Conn(t, l.db, "?interpolateParams=false", l.key)
	plain := l.server.Open(t, direct)
	statements := []string{
		"INSERT INTO notes /* kept */ VALUES (1, 7, 'rent-secret', 'text-secret', 10.50), (2, 7, 'food', NULL, 3)",
		"INSERT INTO notes (id, body, owner)  VALUES (3, CONCAT('a', 'b'), LENGTH(body))",
		"SELECT  id, title, body FROM notes WHERE title = 'rent-secret'",
		"SELECT  id, title, body FROM notes WHERE title = 'food'",
		"SELECT id FROM notes WHERE body LIKE '%secret%' ORDER BY amount",
		"SELECT SUM(amount) AS 'alias-secret' FROM notes",
		"HANDLER notes OPEN",
		"UPDATE notes SET amount = amount + 1 WHERE owner = 7",
		"SELECT id, title, amount FROM notes ORDER BY id",
		"SELECT 1",
		"SELECT nothing FROM notes",
	}
	for _, s := range statements {
		var got, want answer
		got = run(conn, wayText, s, nil)
		c, err := plain.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want = run(c, wayText, s, nil)
		c.Close()
		got.Text = strings.ReplaceAll(got.Text, l.db, direct)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", s, got, want)
		}
	}
	if got := run(conn, wayPrepared, "SELECT id FROM notes WHERE body LIKE ?", []any{"text-secret"}); got.Code != 0 || len(got.Rows) != 1 {
		t.Errorf("prepared: %+v", got)
	}
	// The text that the server saw is the client's, and nothing of the key.
	var log strings.Builder
	for _, row := range l.server.Query(t, "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query','Prepare','Execute')") {
		log.WriteString(row[0] + "\n")
	}
	seen := log.String()
	for _, s := range statements {
		if strings.Count(seen, s) < 2 {
			t.Errorf("the server did not see as it is: %s", s)
		}
	}
	if strings.Contains(seen, l.key) || strings.Contains(seen, "SET @latchkey") {
		t.Error("the key reached the server")
	}

	report, ok := reportOf(t, l.proxy)
	if !ok {
		t.Fatal("/status has no report")
	}
	for statement, want := range map[string]reported{
		"SELECT id, title, body FROM notes WHERE title = ?":                          {Class: "sealed", Count: 2},
		"SELECT id FROM notes WHERE body LIKE ? ORDER BY amount":                     {Class: "residual", Count: 1},
		"SELECT id FROM notes WHERE body LIKE ?":                                     {Class: "residual", Count: 1},
		"SELECT SUM(amount) AS ? FROM notes":                                         {Class: "residual", Count: 1},
		"SELECT ?":                                                                   {Class: "pass", Count: 1},
		"HANDLER notes OPEN":                                                         {Class: "refused", Count: 1, Code: 9704},
		"INSERT INTO notes (id, body, owner) VALUES (?, CONCAT(?, ?), LENGTH(body))": {Class: "refused", Count: 1, Code: 9705, Column: l.db + ".notes.body"},
	} {
		got, known := report[statement]
		if !known {
			t.Errorf("the report does not have %q", statement)
			continue
		}
		if (got.Reason != "") != (want.Code != 0) {
			t.Errorf("%s: reason %q", statement, got.Reason)
		}
		got.Statement, got.Database, got.Reason, got.Rows = "", "", "", 0
		if got != want {
			t.Errorf("%s: got %+v, want %+v", statement, got, want)
		}
	}
	if t.Failed() {
		t.Logf("%+v", report)
	}
	metrics := l.metrics(t)
	for name, want := range map[string]float64{
		`latchkey_report_statements_total{class="refused"}`: 2, `latchkey_report_statements_total{class="residual"}`: 4, `latchkey_cells_total{result="sealed"}`: 0,
	} {
		if metrics[name] < want || want == 0 && metrics[name] != 0 {
			t.Errorf("%s is %v, want %v", name, metrics[name], want)
		}
	}
	page := l.page(t)
	if !strings.Contains(page, `<span class="badge residual">residual</span></td>`) || strings.Contains(page, "<script") {
		t.Errorf("the page is\n%s", page)
	}
	lines := l.proxy.Log()
	if got := strings.Count(lines, "statement would be refused"); got < 2 {
		t.Errorf("the log has %d lines of refused statements:\n%s", got, lines)
	}
	for where, text := range map[string]string{"page": page, "log": lines, "JSON": string(get(t, l.proxy, "/status"))} {
		if strings.Contains(text, "secret'") || strings.Contains(text, "-secret") || strings.Contains(text, l.key) {
			t.Errorf("the %s holds a literal:\n%s", where, text)
		}
	}
}

// wholeReport is what /status shows as JSON.
type wholeReport struct {
	MaxRows    int `json:"max_rows"`
	Totals     map[string]int
	Columns    []reportedColumn
	Statements []struct {
		Statement, Class, Becomes, Suggestion string
		Rows                                  int
		Opens                                 []struct {
			Table    string
			Rows     int
			Narrowed []string
			Limited  bool
		}
	}
}

type reportedColumn struct {
	Column, Key, Search, Type, Problem, Needs, Why string
	Ready                                          bool
	Read, Written, Searched, Computed, Refused     int
}

// TestReportAdvises looks at what the report says the policy should be: the columns that statements search, and the one that
// nothing searches.
func TestReportAdvises(t *testing.T) {
	l, _ := newReporter(t)
	l.server.Exec(t, "USE "+l.db+"; CREATE TABLE people (id INT PRIMARY KEY AUTO_INCREMENT, city VARCHAR(50), born DATE, nick VARCHAR(50), loud VARCHAR(50)); CREATE TABLE odd (id INT PRIMARY KEY, total DECIMAL(10,2) AS (id) STORED);"+
		"INSERT INTO people (city) SELECT 'x' FROM seq_1_to_500; ANALYZE TABLE people")
	l.edit(t, "    notes:", "    people:\n      columns: {city: {}, born: {}, nick: {search: equality}, loud: {}}\n    odd:\n      columns: {total: {}}\n    notes:")
	l.proxy.Stop(t)
	l.proxy.Serve(t)
	conn := l.proxy.Conn(t, l.db, "", l.key)
	for _, s := range []string{
		"SELECT id FROM people WHERE city = 'a-secret'",
		"SELECT id FROM people WHERE city IN ('a-secret', 'b')",
		"SELECT id, nick FROM people WHERE id = 1",
		"SELECT COUNT(*) FROM people WHERE born = '2000-01-01' AND loud LIKE 'x-secret%'",
		"SELECT id FROM people WHERE id > 7 AND loud LIKE 'x%' LIMIT 3",
		"UPDATE people SET loud = 'b-secret' WHERE id = 2",
		"INSERT INTO people (loud) VALUES (CONCAT('c-secret', 'd'))",
	} {
		if got := run(conn, wayText, s, nil); got.Code != 0 {
			t.Fatalf("%s: %+v", s, got)
		}
	}
	text := get(t, l.proxy, "/status?format=json")
	var status struct{ Report wholeReport }
	if err := json.Unmarshal(text, &status); err != nil {
		t.Fatal(err)
	}
	r := &status.Report
	if r.MaxRows != 200000 || r.Totals["sealed"] < 2 || r.Totals["residual"] < 4 {
		t.Errorf("max_rows %d, totals %v", r.MaxRows, r.Totals)
	}
	columns := make(map[string]reportedColumn)
	for _, c := range r.Columns {
		columns[strings.TrimPrefix(c.Column, l.db+".")] = c
	}
	for name, want := range map[string]reportedColumn{
		"people.city": {Key: "user", Search: "none", Type: "varchar(50)", Computed: 2, Needs: "search: equality", Why: "2 searches by it would be rewritten: now rows are opened for that, or it is refused"},
		"people.born": {Key: "user", Search: "none", Type: "date", Computed: 1, Needs: "search: equality", Why: "1 search with other conditions would open fewer rows"},
		"people.nick": {Key: "user", Search: "equality", Type: "varchar(50)", Read: 1, Needs: "search: none", Why: "no statement has searched it so far, and without search tags equal values cannot be told apart in the database"},
		"people.loud": {Key: "user", Search: "none", Type: "varchar(50)", Computed: 2, Written: 2},
		"odd.total":   {Key: "user", Search: "none", Problem: "a generated column cannot be protected"},
		"notes.title": {Key: "user", Search: "equality", Type: "varchar(100)"},
		"safe.word":   {Key: "user", Search: "none", Type: "varchar(50)", Ready: true},
	} {
		got, known := columns[name]
		got.Column = ""
		if !known || got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	found := 0
	for _, s := range r.Statements {
		switch {
		case s.Statement == "SELECT id FROM people WHERE city = ?":
			found++
			if s.Becomes != "sealed" || !strings.Contains(s.Suggestion, "people.city `search: equality`") || len(s.Opens) != 1 || s.Opens[0].Rows < 400 || s.Rows != s.Opens[0].Rows || len(s.Opens[0].Narrowed) != 0 {
				t.Errorf("%+v", s)
			}
		case strings.HasPrefix(s.Statement, "INSERT INTO people"):
			found++
			if s.Class != "residual" || s.Rows != 0 || len(s.Opens) != 0 || s.Suggestion != "" {
				t.Errorf("%+v", s)
			}
		case strings.HasPrefix(s.Statement, "SELECT id FROM people WHERE id > ?"):
			found++
			if s.Suggestion != "" || len(s.Opens) != 1 || !reflect.DeepEqual(s.Opens[0].Narrowed, []string{"id > ?"}) {
				t.Errorf("%+v", s)
			}
		}
	}
	if found != 3 {
		t.Errorf("%d of the statements are there:\n%s", found, text)
	}
	page := l.page(t)
	for _, want := range []string{"<code>search: equality</code>", "cannot be protected", "of " + l.db + ".people every row", "<code>id &gt; ?</code>", "To change:"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, secret := range []string{"-secret", "2000-01-01", "<script", "http:", "https:", "url("} {
		if strings.Contains(page, secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}

// TestReportBaseline is the way of a CI: a baseline, a run like it, one that is better, one that is worse.
func TestReportBaseline(t *testing.T) {
	l, _ := newReporter(t)
	url := "http://" + l.proxy.Admin + "/status"
	file := filepath.Join(t.TempDir(), "report.json")
	ask := func(statements ...string) {
		t.Helper()
		conn := l.proxy.Conn(t, l.db, "", l.key)
		for _, s := range statements {
			run(conn, wayText, s, nil)
		}
	}
	ask("SELECT title FROM notes WHERE body LIKE 'a-secret%' AND id <> 1", "SELECT id FROM notes", "HANDLER notes OPEN")
	latchkeytest.Run(t, 0, "report", "--url", url, "--write", file)
	text := readText(t, file)
	for _, want := range []string{`"class": "residual"`, `"class": "refused"`, `"code": 9704`, `id <> ?`, `notes.title"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the baseline does not have %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "last_seen") {
		t.Errorf("the baseline holds literals or times:\n%s", text)
	}
	if out := latchkeytest.Run(t, 0, "report", "--url", url, "--against", file); out != "0 changes, 0 for the worse\n" {
		t.Errorf("against itself: %s", out)
	}
	ask("SELECT id, title FROM notes", "SELECT SUM(amount) FROM notes")
	if out := latchkeytest.Run(t, 0, "report", "--url", url, "--against", file); strings.Count(out, "\n") != 3 || !strings.Contains(out, "+ sealed: ") || !strings.Contains(out, "+ residual: ") {
		t.Errorf("after new statements: %s", out)
	}
	ask("HANDLER notes CLOSE")
	if out := latchkeytest.Run(t, 4, "report", "--url", url, "--against", file); !strings.HasPrefix(out, "< new, refused: "+l.db+": HANDLER notes CLOSE (9704") || !strings.HasSuffix(out, "3 changes, 1 for the worse\n") {
		t.Errorf("after a refused one: %s", out)
	}
	// A class that changes, and a statement that is gone.
	writeText(t, file, strings.Replace(strings.Replace(text, `"class": "residual"`, `"class": "sealed"`, 1), "SELECT id FROM notes", "SELECT gone FROM notes", 1))
	out := latchkeytest.Run(t, 4, "report", "--url", url, "--against", file)
	for _, want := range []string{"< was sealed, residual: ", "- pass: " + l.db + ": SELECT gone FROM notes", "+ pass: " + l.db + ": SELECT id FROM notes"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	writeText(t, file, strings.Replace(text, `"class": "residual"`, `"class": "refused"`, 1))
	if out := latchkeytest.Run(t, 4, "report", "--url", url, "--against", file); !strings.Contains(out, "> was refused, residual: ") {
		t.Errorf("what became better is not told: %s", out)
	}
	for name, args := range map[string][]string{
		"nobody listens": {"--url", "http://127.0.0.1:1/status", "--against", file}, "another page": {"--url", strings.TrimSuffix(url, "status") + "nowhere", "--against", file},
		"no baseline": {"--url", url, "--against", file + ".none"}, "not a report": {"--url", "http://" + l.proxy.Admin + "/metrics", "--against", file},
	} {
		if out := latchkeytest.Run(t, 1, append([]string{"report"}, args...)...); out != "" {
			t.Errorf("%s: %s", name, out)
		}
	}
	writeText(t, file, `{"version": 2}`)
	latchkeytest.Run(t, 1, "report", "--url", url, "--against", file)
	latchkeytest.Run(t, 2, "report", "--url", "file:///etc/passwd", "--against", file)
}

// page is /status as a browser gets it.
func (l *ledger) page(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+l.proxy.Admin+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("%s: %v", response.Header.Get("Content-Type"), err)
	}
	return string(body)
}

// TestReportEnforcesAnnotated: in mode report a column that holds cells is protected as ever, and by SIGHUP the rest is too.
func TestReportEnforcesAnnotated(t *testing.T) {
	l, _ := newReporter(t)
	conn := l.proxy.Conn(t, l.db, "", l.key)
	mustExec(t, conn, "INSERT INTO safe VALUES (1, 'hidden')")
	if got := l.server.Query(t, "SELECT word LIKE '%hidden%' FROM "+l.db+".safe"); got[0][0] != "0" {
		t.Error("an annotated column holds plaintext")
	}
	if got := run(conn, wayText, "SELECT word FROM safe", nil); len(got.Rows) != 1 || got.Rows[0][0] != `"hidden"` {
		t.Errorf("got %+v", got)
	}
	if got := run(conn, wayText, "HANDLER safe OPEN", nil); got.Code != 9704 {
		t.Errorf("HANDLER over an annotated column: %d, want 9704", got.Code)
	}
	mustExec(t, conn, "PREPARE p FROM 'SELECT title FROM notes'")
	if got := run(conn, wayText, "EXECUTE p", nil); got.Code != 0 {
		t.Errorf("EXECUTE: %+v", got)
	}
	stmt, err := conn.PrepareContext(t.Context(), "SELECT title FROM notes")
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()

	l.edit(t, "mode: report", "mode: enforce")
	if err := l.proxy.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, on := reportOf(t, l.proxy); !on {
			break
		}
		if i == 1000 {
			t.Fatalf("the mode does not change:\n%s", l.proxy.Log())
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range []string{"SELECT title FROM notes", "INSERT INTO notes (id, owner, title) VALUES (9, 9, 'x')"} {
		if got := run(conn, wayText, s, nil); got.Code != 9714 {
			t.Errorf("%s after the reload: %d, want 9714", s, got.Code)
		}
	}
	if got := run(conn, wayText, "EXECUTE p", nil); got.Code != 9705 {
		t.Errorf("EXECUTE of what was prepared before: %d, want 9705", got.Code)
	}
	if rows, err := stmt.QueryContext(t.Context()); err == nil {
		rows.Close()
		t.Error("a statement prepared before runs unprotected")
	}
	l.proxy.Prepare(t)
	fresh := l.proxy.Conn(t, l.db, "", l.key)
	for i := 0; run(fresh, wayText, "SELECT title FROM notes", nil).Code == 9714; i++ {
		if i == 1000 {
			t.Fatal("the tables that were made ready are not seen")
		}
		time.Sleep(10 * time.Millisecond)
	}
	mustExec(t, fresh, "INSERT INTO notes (id, owner, title) VALUES (9, 9, 'x')")
	if got := run(fresh, wayText, "SELECT title FROM notes WHERE title = 'x'", nil); len(got.Rows) != 1 {
		t.Errorf("got %+v", got)
	}

	l.edit(t, "mode: enforce", "mode: report")
	if err := l.proxy.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for i := 0; !strings.Contains(l.proxy.Log(), "mode: report would take protection"); i++ {
		if i == 1000 {
			t.Fatalf("the way back to report is not refused:\n%s", l.proxy.Log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
