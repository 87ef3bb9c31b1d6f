package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// longJoin keeps the evaluator busy for longer than any test waits, over a handful of rows.
const longJoin = "SELECT COUNT(*) FROM entries a, entries b, entries c, entries d, entries e, entries f, entries g, entries h, entries i, entries j, entries k, entries l, entries m" +
	" WHERE CONCAT(a.title, b.title, c.title, d.title, e.title, f.title, g.title, h.title, i.title, j.title, k.title, l.title, m.title) LIKE '%nothing%'"

// evaluatorOf finds the process that the proxy runs as its evaluator.
func evaluatorOf(t *testing.T, p *latchkeytest.Proxy) int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if evaluatorState(t, p) != "running" {
			continue
		}
		processes, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range processes {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			head, rest, ok := strings.Cut(string(text), ") ")
			fields := strings.Fields(rest)
			if !ok || len(fields) < 2 || fields[1] != strconv.Itoa(p.Pid()) || !strings.Contains(head, "(mariadbd") {
				continue
			}
			pid, err := strconv.Atoi(strings.Fields(head)[0])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("the proxy has no evaluator")
	return 0
}

func evaluatorState(t *testing.T, p *latchkeytest.Proxy) string {
	t.Helper()
	answer, err := http.Get("http://" + p.Admin + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var status struct {
		Evaluator struct {
			State string `json:"state"`
		} `json:"evaluator"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status.Evaluator.State
}

// TestKillingTheEvaluator kills it between statements and in the middle of one: what does not need it goes on, what does gets
// an error and works again after the restart, and the session's transaction stays.
func TestKillingTheEvaluator(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	_, sealed := w.conns(t, "")
	ctx := context.Background()
	mustExec(t, sealed, "START TRANSACTION")
	mustExec(t, sealed, "INSERT INTO entries (id, user_id, title) VALUES (50, 7, 'kept')")
	for round := range 3 {
		pid := evaluatorOf(t, w.proxy)
		if round == 0 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		} else {
			time.AfterFunc(300*time.Millisecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			if got := run(sealed, wayText, longJoin, nil); got.Code != 9710 {
				t.Fatalf("the statement in which the evaluator was killed: %d %s, want 9710", got.Code, got.Text)
			}
		}
		if got := run(sealed, wayText, "SELECT title FROM entries WHERE id = 50", nil); len(got.Rows) != 1 {
			t.Fatalf("a statement that does not need the evaluator: %+v", got)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			got := run(sealed, wayText, "SELECT UPPER(title) FROM entries WHERE id = 50", nil)
			if got.Code == 0 && fmt.Sprint(got.Rows) == `[["KEPT"]]` {
				break
			}
			if got.Code != 9710 || time.Now().After(deadline) {
				t.Fatalf("after the evaluator was killed: %+v", got)
			}
		}
	}
	mustExec(t, sealed, "COMMIT")
	var n int
	if err := sealed.QueryRowContext(ctx, "SELECT COUNT(*) FROM entries WHERE id = 50").Scan(&n); err != nil || n != 1 {
		t.Errorf("rows = %d, %v; want the one of the transaction", n, err)
	}
}

func TestKillStopsTheEvaluator(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	_, sealed := w.conns(t, "")
	_, other := w.conns(t, "")
	var id int
	if err := sealed.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	evaluatorOf(t, w.proxy)
	stop := time.AfterFunc(500*time.Millisecond, func() {
		_, _ = other.ExecContext(context.Background(), fmt.Sprintf("KILL QUERY %d", id))
	})
	defer stop.Stop()
	if got := run(sealed, wayText, longJoin, nil); got.Code != 1317 {
		t.Errorf("a statement that was killed: %d %s, want 1317", got.Code, got.Text)
	}
	if got := run(sealed, wayText, "SELECT UPPER(title) FROM entries WHERE id = 1", nil); fmt.Sprint(got.Rows) != `[["ALPHA"]]` {
		t.Errorf("the statement after it: %+v", got)
	}
}

// TestBudget has a limit of two rows.
func TestBudget(t *testing.T) {
	w := newTwinWith(t, mariadbtest.Shared(t), twinTables, twinPolicy, "evaluator: {max_rows: 2}\n")
	_, sealed := w.conns(t, "")
	mustExec(t, sealed, "START TRANSACTION")
	mustExec(t, sealed, "INSERT INTO entries (id, user_id, title) VALUES (51, 7, 'kept')")
	got := run(sealed, wayText, "SELECT id FROM entries WHERE title LIKE '%a%'", nil)
	if got.Code != 9711 || !strings.Contains(got.Text, "more than 2 rows") {
		t.Errorf("a statement over the limit: %d %s, want 9711 with the limit", got.Code, got.Text)
	}
	if got := run(sealed, wayText, "SELECT id FROM entries WHERE user_id = 8 AND title LIKE '%a%'", nil); fmt.Sprint(got.Rows) != "[[int64 3]]" {
		t.Errorf("a statement within the limit: %+v", got)
	}
	mustExec(t, sealed, "COMMIT")
	if got := run(sealed, wayText, "SELECT title FROM entries WHERE id = 51", nil); len(got.Rows) != 1 {
		t.Errorf("the row of the transaction: %+v", got)
	}
}

func TestWithoutEvaluator(t *testing.T) {
	w := newTwinWith(t, mariadbtest.Shared(t), twinTables, twinPolicy, "evaluator: {binary: \"off\"}\n")
	_, sealed := w.conns(t, "")
	if got := run(sealed, wayText, "SELECT id FROM entries WHERE body LIKE '%a%'", nil); got.Code != 9710 {
		t.Errorf("a statement that needs the evaluator: %d %s, want 9710", got.Code, got.Text)
	}
	if got := run(sealed, wayPrepared, "SELECT title FROM entries WHERE title = ?", []any{"alpha"}); len(got.Rows) != 2 {
		t.Errorf("a statement that does not: %+v", got)
	}
	if state := evaluatorState(t, w.proxy); state != "off" {
		t.Errorf("state = %s, want off", state)
	}
}
