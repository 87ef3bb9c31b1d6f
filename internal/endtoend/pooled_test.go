package endtoend

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
)

// poolRequest is what an application does on one checkout of a connection.
type poolRequest struct {
	// Push is the user whose key is pushed first: a or b, none for NULL, empty for no push; anything else is pushed as it is.
	Push   string `json:"push"`
	SQL    string `json:"sql"`
	Values []any  `json:"values"`
	// Forget pushes NULL before the connection goes back.
	Forget bool `json:"forget"`
}

// poolAnswer is the backend's connection id, and rows or affected=N or error=CODE.
type poolAnswer struct {
	Connection string `json:"connection"`
	Result     string `json:"result"`
}

// pooled is a pool of one connection that serves requests.
type pooled struct {
	name string
	// resets says that the pool resets the session between two checkouts.
	resets bool
	open   func(t *testing.T, s side) func(poolRequest) poolAnswer
}

// TestPooled lets two users take turns on one pooled connection, with and without a push in between. Every row is sealed
// under the key pushed last, and no row opens under the other's.
func TestPooled(t *testing.T) {
	b := newDriverBench(t)
	for _, p := range []pooled{
		{"database/sql", false, goPool},
		{"mysql2", false, nodePool("mysql2")},
		{"mysql2, changeUser at checkin", true, nodePool("mysql2-changeuser")},
		{"mariadb for Node", false, nodePool("mariadb")},
		{"mariadb for Node, resetAfterUse", true, nodePool("mariadb-reset")},
		{"PDO, persistent", false, phpPool("/pdo")},
		{"mysqli, persistent", true, phpPool("/mysqli")},
	} {
		t.Run(p.name, func(t *testing.T) { b.takeTurns(t, p) })
	}
}

func (b *driverBench) takeTurns(t *testing.T, p pooled) {
	b.server.Exec(t, "TRUNCATE TABLE "+b.sealed+".notes")
	serve := p.open(t, b.sealedSide())
	connection := ""
	expect := func(r poolRequest, want string) {
		t.Helper()
		got := serve(r)
		if got.Result != want {
			t.Errorf("push %q, %s %v: got %q, want %q", r.Push, r.SQL, r.Values, got.Result, want)
		}
		if connection == "" {
			connection = got.Connection
		}
		if got.Connection != connection {
			t.Fatalf("connection %s, want the pool's only one, %s", got.Connection, connection)
		}
	}
	var next int
	sealedBy := map[string][]int{}
	write := func(push, want, owner string) {
		t.Helper()
		next++
		expect(poolRequest{Push: push, SQL: "INSERT INTO notes (id, title, body) VALUES (?, ?, ?)", Values: []any{next, "mine", fmt.Sprint("row ", next)}}, want)
		if owner != "" {
			sealedBy[owner] = append(sealedBy[owner], next)
		}
	}
	read := func(push string, id int, want string) {
		t.Helper()
		expect(poolRequest{Push: push, SQL: "SELECT title, body FROM notes WHERE id = ?", Values: []any{id}}, want)
	}
	search := func(push string, ids []int) {
		t.Helper()
		var want []string
		for _, id := range ids {
			want = append(want, fmt.Sprintf("%d row %d", id, id))
		}
		expect(poolRequest{Push: push, SQL: "SELECT id, body FROM notes WHERE title = ? ORDER BY id", Values: []any{"mine"}}, strings.Join(want, "; "))
	}

	for range 3 {
		write("a", "affected=1", "a")
		write("b", "affected=1", "b")
		search("a", sealedBy["a"])
		search("b", sealedBy["b"])
		read("a", sealedBy["b"][0], "error=9702")
		read("b", sealedBy["a"][0], "error=9702")
		read("a", sealedBy["a"][0], "mine row 1")
	}

	for _, user := range []string{"a", "b"} {
		other := map[string]string{"a": "b", "b": "a"}[user]
		write(user, "affected=1", user)
		if p.resets {
			write("", "error=9701", "")
			read("", sealedBy[user][0], "error=9701")
			read("", sealedBy[other][0], "error=9701")
		} else {
			// The key stays on the connection until the next push.
			write("", "affected=1", user)
			search("", sealedBy[user])
			read("", sealedBy[other][0], "error=9702")
		}
		// A user who comes without a key pushes NULL.
		write("none", "error=9701", "")
		read("none", sealedBy[user][0], "error=9701")
		read("", sealedBy[user][0], "error=9701")
		// A push that fails ends the request.
		write("LK1-NONSENSE", "error=9706", "")

		expect(poolRequest{Push: user, SQL: "SELECT body FROM notes WHERE id = ?", Values: []any{sealedBy[user][0]}, Forget: true}, fmt.Sprint("row ", sealedBy[user][0]))
		write("", "error=9701", "")
		read("", sealedBy[user][0], "error=9701")
	}

	b.onlyCells(t, p.name)
	b.checkOwners(t, sealedBy)
}

// checkOwners reads on connections of its own: each user opens the own rows and no others, and the cells at the backend
// name one key id for each user.
func (b *driverBench) checkOwners(t *testing.T, sealedBy map[string][]int) {
	t.Helper()
	keyIDs := map[string]string{}
	total := 0
	for user, ids := range sealedBy {
		total += len(ids)
		conn := b.proxy.Conn(t, b.sealed, "", b.sealedSide().key(user))
		for _, id := range ids {
			var body string
			if err := conn.QueryRowContext(context.Background(), "SELECT body FROM notes WHERE id = ?", id).Scan(&body); err != nil || body != fmt.Sprint("row ", id) {
				t.Errorf("%s reads its row %d: %v", user, id, err)
			}
		}
		for other, ids := range sealedBy {
			if other == user {
				continue
			}
			for _, id := range ids {
				var body string
				if err := conn.QueryRowContext(context.Background(), "SELECT body FROM notes WHERE id = ?", id).Scan(&body); mariadbtest.Code(err) != 9702 {
					t.Errorf("%s reads row %d of %s: %v, want error 9702", user, id, other, err)
				}
			}
		}
		// Bytes 25 to 32 of a cell with a search tag are the key id.
		found := b.server.Query(t, fmt.Sprintf("SELECT DISTINCT HEX(SUBSTR(title, 25, 8)) FROM %s.notes WHERE id IN (%s)", b.sealed,
			strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")))
		if len(found) != 1 {
			t.Errorf("the rows of %s are under %d keys", user, len(found))
			continue
		}
		keyIDs[found[0][0]] = user
	}
	if len(keyIDs) != len(sealedBy) {
		t.Errorf("%d users' rows are under %d keys", len(sealedBy), len(keyIDs))
	}
	if got := b.server.Query(t, "SELECT COUNT(*) FROM "+b.sealed+".notes")[0][0]; got != fmt.Sprint(total) {
		t.Errorf("%s rows are stored, want %d", got, total)
	}
}

// TestPooledContention lets two users fight for the one connection of a database/sql pool.
func TestPooledContention(t *testing.T) {
	b := newDriverBench(t)
	serve := goPool(t, b.sealedSide())
	sealedBy := map[string][]int{}
	var wg sync.WaitGroup
	for i, user := range []string{"a", "b"} {
		var ids []int
		for n := range 40 {
			ids = append(ids, 1+2*n+i)
		}
		sealedBy[user] = ids
		wg.Go(func() {
			for n, id := range ids {
				if got := serve(poolRequest{Push: user, SQL: "INSERT INTO notes (id, title, body) VALUES (?, ?, ?)", Values: []any{id, "mine", fmt.Sprint("row ", id)}}); got.Result != "affected=1" {
					t.Errorf("%s writes: %s", user, got.Result)
				}
				if got := serve(poolRequest{Push: user, SQL: "SELECT COUNT(*) FROM notes WHERE title = ? AND id <= ?", Values: []any{"mine", id}}); got.Result != fmt.Sprint(n+1) {
					t.Errorf("%s finds %s rows up to %d", user, got.Result, id)
				}
			}
		})
	}
	wg.Wait()
	b.onlyCells(t, "contention")
	b.checkOwners(t, sealedBy)
}

// goPool serves as the README says, but goes on without a push where a request has none.
func goPool(t *testing.T, s side) func(poolRequest) poolAnswer {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd = "tcp", s.addr, s.database, s.b.user, s.b.password
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	pool.SetMaxOpenConns(1)
	return func(r poolRequest) poolAnswer {
		a, err := servePooled(pool, s, r)
		if err != nil {
			t.Errorf("%s: %v", r.SQL, err)
		}
		return a
	}
}

func servePooled(pool *sql.DB, s side, r poolRequest) (a poolAnswer, err error) {
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&a.Connection); err != nil {
		return a, err
	}
	if r.Forget {
		defer conn.ExecContext(ctx, "SET @latchkey = NULL")
	}
	switch r.Push {
	case "":
	case "none":
		_, err = conn.ExecContext(ctx, "SET @latchkey = NULL")
	case "a", "b":
		_, err = conn.ExecContext(ctx, "SET @latchkey = ?", s.key(r.Push))
	default:
		_, err = conn.ExecContext(ctx, "SET @latchkey = ?", r.Push)
	}
	if err == nil {
		a.Result, err = pooledResult(conn, r)
	}
	if code := mariadbtest.Code(err); code != 0 {
		a.Result, err = fmt.Sprintf("error=%d", code), nil
	}
	return a, err
}

func pooledResult(conn *sql.Conn, r poolRequest) (string, error) {
	ctx := context.Background()
	if !returnsRows(r.SQL) {
		result, err := conn.ExecContext(ctx, r.SQL, r.Values...)
		if err != nil {
			return "", err
		}
		affected, err := result.RowsAffected()
		return fmt.Sprintf("affected=%d", affected), err
	}
	rows, err := conn.QueryContext(ctx, r.SQL, r.Values...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	text, err := rowLines("", rows)
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\n\t", "; "), "\n")
	return strings.ReplaceAll(strings.TrimPrefix(text, "\t"), "\t", " "), err
}

// nodePool runs a program that serves a request for each line of its input.
func nodePool(mode string) func(*testing.T, side) func(poolRequest) poolAnswer {
	return func(t *testing.T, s side) func(poolRequest) poolAnswer {
		t.Helper()
		cmd := exec.Command("node", filepath.Join(nodeDir(t), "pool.js"), mode)
		cmd.Env = s.env()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("node: %v\n%s", err, stderr.String())
			}
		})
		lines := bufio.NewScanner(out)
		return func(r poolRequest) (a poolAnswer) {
			if err := json.NewEncoder(in).Encode(r); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() {
				t.Fatalf("node ended: %v", lines.Err())
			}
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
}

// phpPool runs PHP's own web server, whose one process keeps persistent connections from request to request.
func phpPool(path string) func(*testing.T, side) func(poolRequest) poolAnswer {
	return func(t *testing.T, s side) func(poolRequest) poolAnswer {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().String()
		listener.Close()
		cmd := exec.Command("php", "-d", "display_errors=1", "-S", addr, filepath.Join(driversDir, "php/persistent.php"))
		cmd.Env = s.env()
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
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("php -S: %v", err)
			}
		}
		return func(r poolRequest) (a poolAnswer) {
			body, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Post("http://"+addr+path, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var text bytes.Buffer
			text.ReadFrom(resp.Body)
			if err := json.Unmarshal(text.Bytes(), &a); err != nil {
				t.Fatalf("php: %v\n%s", err, text.String())
			}
			return a
		}
	}
}
