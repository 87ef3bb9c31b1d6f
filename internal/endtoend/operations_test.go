package endtoend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
)

// values reads the metrics: name with labels to value.
func (l *ledger) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	lines := bufio.NewScanner(bytes.NewReader(get(t, l.proxy, "/metrics")))
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), " ")
		if !found || strings.HasPrefix(name, "#") || !strings.HasPrefix(name, "latchkey_") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %q: %v", lines.Text(), err)
		}
		values[name] = n
	}
	return values
}

// TestMetrics does a known amount of everything and looks how far each metric moved.
func TestMetrics(t *testing.T) {
	l := newLedger(t, mariadbtest.Shared(t), "")
	before := l.metrics(t)
	conn := l.proxy.Conn(t, l.db, "", l.key)
	for i := range 3 {
		mustExec(t, conn, "INSERT INTO ledger VALUES ("+strconv.Itoa(i)+", 1, 'title', 'body')")
	}
	wantRefusal := func(code int, stmt string) {
		t.Helper()
		if got := run(conn, wayText, stmt, nil); got.Code != code {
			t.Errorf("%s: got %d %s, want %d", stmt, got.Code, got.Text, code)
		}
	}
	if got := run(conn, wayText, "SELECT title, body FROM ledger", nil); len(got.Rows) != 3 {
		t.Errorf("got %v", got)
	}
	if got := run(conn, wayText, "SELECT id FROM ledger WHERE body LIKE 'b%'", nil); len(got.Rows) != 3 {
		t.Errorf("got %v", got)
	}
	wantRefusal(9705, "UPDATE ledger a JOIN ledger b ON a.id = b.id SET a.title = b.body")
	wantRefusal(9704, "HANDLER ledger OPEN")
	l.server.Exec(t, "SET check_constraint_checks = 0; UPDATE "+l.db+".ledger SET body = 'broken' WHERE id = 2")
	wantRefusal(9703, "SELECT body FROM ledger WHERE id = 2")
	mustExec(t, conn, "SET @latchkey = NULL")
	wantRefusal(9701, "SELECT title FROM ledger")
	after := l.metrics(t)
	for name, atLeast := range map[string]float64{
		`latchkey_sessions`: 1, `latchkey_statements_total{class="pass"}`: 1, `latchkey_statements_total{class="sealed"}`: 4, `latchkey_statements_total{class="residual"}`: 1,
		`latchkey_evaluator_starts_total`: 1, `latchkey_evaluator_statements_total`: 2, `latchkey_evaluator_loaded_rows_total`: 3,
		`latchkey_statements_total{class="refused"}`: 2, `latchkey_statements_total{class="local"}`: 2,
		`latchkey_refusals_total{code="9701"}`: 1, `latchkey_refusals_total{code="9703"}`: 1, `latchkey_refusals_total{code="9704"}`: 1, `latchkey_refusals_total{code="9705"}`: 1,
		`latchkey_cells_total{result="sealed"}`: 6, `latchkey_cells_total{result="opened"}`: 6, `latchkey_cells_total{result="failed"}`: 1,
		`latchkey_plan_lookups_total{result="hit"}`: 2, `latchkey_plan_lookups_total{result="miss"}`: 2,
		`latchkey_request_delay_seconds_count`:                           5,
		`latchkey_bytes_total{connection="client",direction="received"}`: 100, `latchkey_bytes_total{connection="client",direction="sent"}`: 100,
		`latchkey_bytes_total{connection="backend",direction="received"}`: 100, `latchkey_bytes_total{connection="backend",direction="sent"}`: 100,
	} {
		if moved := after[name] - before[name]; moved < atLeast {
			t.Errorf("%s moved by %v, want at least %v", name, moved, atLeast)
		}
	}
	exact := map[string]float64{`latchkey_cells_total{result="sealed"}`: 6, `latchkey_cells_total{result="failed"}`: 1, `latchkey_refusals_total{code="9705"}`: 1}
	for name, want := range exact {
		if moved := after[name] - before[name]; moved != want {
			t.Errorf("%s moved by %v, want %v", name, moved, want)
		}
	}
	var status map[string]any
	if err := json.Unmarshal(get(t, l.proxy, "/status"), &status); err != nil || status["serving"] != true || status["sessions"].(float64) < 1 {
		t.Errorf("/status is %v, %v", status, err)
	}
	for _, path := range []string{"/metrics", "/status", "/healthz", "/readyz"} {
		for _, word := range []string{"ledger", "title", "broken", l.db, "LK1", "SELECT"} {
			if bytes.Contains(get(t, l.proxy, path), []byte(word)) {
				t.Errorf("%s holds %q", path, word)
			}
		}
	}
}

func (l *ledger) code(t *testing.T, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + l.proxy.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (l *ledger) awaitCode(t *testing.T, path string, code int) {
	t.Helper()
	for range 3000 {
		if l.code(t, path) == code {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s never answers %d", path, code)
}

// TestHealth takes the backend away: the process is alive and not ready; it is ready again with the backend.
func TestHealth(t *testing.T) {
	t.Parallel() // it waits for a schema too old to plan with
	server := mariadbtest.Start(t)
	l := newLedger(t, server, "")
	if got := l.code(t, "/healthz"); got != http.StatusOK {
		t.Errorf("/healthz answers %d", got)
	}
	l.awaitCode(t, "/readyz", http.StatusOK)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	l.awaitCode(t, "/readyz", http.StatusServiceUnavailable)
	if got := l.code(t, "/healthz"); got != http.StatusOK {
		t.Errorf("/healthz answers %d without a backend", got)
	}
	if err := server.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.awaitCode(t, "/readyz", http.StatusOK)
	if got := l.code(t, "/nothing"); got != http.StatusNotFound {
		t.Errorf("/nothing answers %d", got)
	}
}

// TestBeforeLogin holds connections open before their login, and sends what is no login.
func TestBeforeLogin(t *testing.T) {
	server := mariadbtest.Start(t, mariadbtest.WithArgs("--max-connections=1000"))
	l := newLedger(t, server, "")
	var waiting []net.Conn
	for range 530 {
		c, err := net.Dial("tcp", l.proxy.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waiting = append(waiting, c)
	}
	refused := 0
	for _, c := range slices.Backward(waiting) {
		// The greeting or an ERR packet: header and one byte.
		head := make([]byte, 5)
		c.SetReadDeadline(time.Now().Add(wireTimeout))
		if _, err := c.Read(head); err != nil || head[4] == 0xFF {
			refused++
		}
	}
	if refused < 18 {
		t.Errorf("%d of 530 connections before the login were refused, want 18 or more", refused)
	}
	for _, c := range waiting {
		c.Close()
	}
	for _, junk := range [][]byte{
		{0xFF, 0xFF, 0xFF, 1}, {0xFF, 0xFF, 0xFF, 0}, {0, 0, 0, 1}, {1, 0, 0, 1, 0}, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xFF}, 1<<20),
		append([]byte{0, 0, 1, 1}, bytes.Repeat([]byte("x"), 1<<16)...),
	} {
		c, err := net.Dial("tcp", l.proxy.Address)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(junk)
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		c.Close()
	}
	conn := l.connAgain(t)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1, 1, 'fine', 'fine')")
}
