package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// The size of TestMigrateUnderLoad. LATCHKEY_CONVERSION_ROWS=1000000 LATCHKEY_CONVERSION_OWNERS=2000 LATCHKEY_CONVERSION_KILLS=50 is
// the large one.
const (
	loadRows   = 600
	loadOwners = 3
	loadKills  = 3
	// loadWorkers are the clients; each has owners of its own, so that it knows what their rows hold.
	loadWorkers = 3
)

// loadMark is in every value in clear, and nowhere else.
const loadMark = "PLAINMARK"

const loadTables = `
CREATE TABLE %[1]s.bookings (id BIGINT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, booked DATE NOT NULL, memo VARCHAR(200) NOT NULL DEFAULT '',
  amount DECIMAL(12,2) NULL, ref VARCHAR(40) CHARACTER SET latin1 NOT NULL, changed TIMESTAMP NOT NULL DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP, KEY (user_id), KEY (ref));
CREATE TABLE %[1]s.entries (user_id INT NOT NULL, n INT NOT NULL, title VARCHAR(120) NOT NULL, body TEXT NULL, mood ENUM('good','bad') NULL, noted DATETIME(3) NOT NULL,
  PRIMARY KEY (user_id, n), KEY (user_id, title(40)));
`

const loadPolicy = `  %s:
    bookings:
      columns:
        memo: {key: "service:app", plaintext: accept}
        amount: {key: "service:app", plaintext: accept}
        ref: {key: "service:app", search: equality, plaintext: accept}
        booked: {key: "service:app", plaintext: accept}
    entries:
      owner: user_id
      columns:
        title: {search: equality, plaintext: accept}
        body: {plaintext: accept}
        mood: {plaintext: accept}
        noted: {plaintext: accept}
`

// load is a database that is converted, its twin on another server, and clients that write to both.
type load struct {
	t            *testing.T
	server, twin *mariadbtest.Server
	proxy        *latchkeytest.Proxy
	db, twinDB   string
	rows, owners int
	tokens       []string
	twinPool     *sql.DB

	stop    atomic.Bool
	workers sync.WaitGroup
	mu      sync.Mutex
	// latencies are of reads and writes through Latchkey, by phase.
	latencies map[string][]time.Duration
	phase     atomic.Pointer[string]
	done      atomic.Int64
}

func newLoad(t *testing.T) *load {
	t.Helper()
	l := &load{t: t, rows: environment(t, "LATCHKEY_CONVERSION_ROWS", loadRows), owners: environment(t, "LATCHKEY_CONVERSION_OWNERS", loadOwners), latencies: map[string][]time.Duration{}}
	l.server = mariadbtest.Start(t, mariadbtest.WithArgs("--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-annotate-row-events=1", "--binlog-row-image=MINIMAL", "--innodb-buffer-pool-size=256M",
		"--general-log-file=general.log", "--log-output=FILE", "--innodb-flush-log-at-trx-commit=1"))
	l.twin = mariadbtest.Shared(t)
	l.db, l.twinDB = l.server.NewDatabase(t), l.twin.NewDatabase(t)
	for server, db := range map[*mariadbtest.Server]string{l.server: l.db, l.twin: l.twinDB} {
		server.Exec(t, fmt.Sprintf(loadTables, db), fmt.Sprintf("SET timestamp=1700000000; INSERT INTO %[1]s.bookings (id, user_id, booked, memo, amount, ref) SELECT seq, 1 + seq %% %[2]d, '2020-01-01' + INTERVAL seq %% 1000 DAY, "+
			"IF(seq %% 7 = 0, '', CONCAT('%[3]s memo ', seq, IF(seq %% 5 = 0, 'é', ''))), IF(seq %% 11 = 0, NULL, seq / 4), CONCAT('%[3]s-', seq) FROM %[1]s.seq_1_to_%[4]d", db, l.owners, loadMark, l.rows/2),
			fmt.Sprintf("INSERT INTO %[1]s.entries (user_id, n, title, body, mood, noted) SELECT 1 + seq %% %[2]d, seq DIV %[2]d, CONCAT('%[3]s title ', seq), IF(seq %% 3 = 0, NULL, REPEAT('%[3]s body ', seq %% 20)), "+
				"ELT(seq %% 3, 'good', 'bad'), '2024-01-01' + INTERVAL seq SECOND FROM %[1]s.seq_0_to_%[4]d", db, l.owners, loadMark, l.rows/2-1))
	}
	l.twinPool = l.twin.Open(t, l.twinDB)
	l.proxy = latchkeytest.Write(t, latchkeytest.Config{
		Server: l.server, Accounts: []string{"root"}, ServiceKeys: []string{"app"}, Extra: "conversion: {rate: 100000}\n", Shipped: true,
		Keystore:  "  database: " + l.db + "_keys\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: fmt.Sprintf(loadPolicy, l.db),
	})
	return l
}

// enroll makes the owners' keys.
func (l *load) enroll() {
	l.t.Helper()
	pool := l.proxy.Open(l.t, l.db, "")
	for owner := 1; owner <= l.owners; owner++ {
		var name, keyID, token, expires, code string
		if err := pool.QueryRow("CALL latchkey.enroll(?, ?)", owner, "a password").Scan(&name, &keyID, &token, &expires, &code); err != nil {
			l.t.Fatal(err)
		}
		l.tokens = append(l.tokens, token)
	}
}

// begin starts the clients, end stops them.
func (l *load) begin() {
	for w := range loadWorkers {
		l.workers.Go(func() { l.work(w) })
	}
}

func (l *load) end() {
	l.stop.Store(true)
	l.workers.Wait()
}

func (l *load) enter(phase string) { l.phase.Store(&phase) }

// work reads and writes rows of every loadWorkers-th owner until the end.
func (l *load) work(w int) {
	r := rand.New(rand.NewPCG(uint64(w), 1))
	pool, err := sql.Open("mysql", l.proxy.DSN(l.db)+"?timeout=5s&readTimeout=60s")
	if err != nil {
		l.t.Error(err)
		return
	}
	defer pool.Close()
	for i := 0; !l.stop.Load(); i++ {
		owner := 1 + w + loadWorkers*r.IntN(l.owners/loadWorkers)
		l.visit(pool, r, owner, i)
	}
}

// visit is what one owner does on one connection.
func (l *load) visit(pool *sql.DB, r *rand.Rand, owner, i int) {
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SET @latchkey = '"+l.tokens[owner-1]+"'"); err != nil {
		time.Sleep(50 * time.Millisecond)
		return
	}
	defer conn.ExecContext(ctx, "SET @latchkey = NULL")
	for range 10 {
		id, n := 0, r.IntN(max(1, l.rows/2/l.owners))
		if err := l.twinPool.QueryRow("SELECT id FROM bookings WHERE user_id = ? AND id >= ? ORDER BY id LIMIT 1", owner, r.IntN(l.rows/2)).Scan(&id); err != nil {
			id = owner
		}
		text := fmt.Sprintf("%s new %d", loadMark, r.Uint64())
		var ok bool
		switch r.IntN(8) {
		case 0:
			ok = l.write(conn, fmt.Sprintf("UPDATE entries SET title = '%s', noted = '2025-01-01' WHERE user_id = %d AND n = %d", text, owner, n), fmt.Sprintf("SELECT title, noted FROM entries WHERE user_id = %d AND n = %d", owner, n))
		case 1:
			ok = l.write(conn, fmt.Sprintf("UPDATE bookings SET memo = '%s', amount = %d WHERE id = %d", text, r.IntN(1000), id), fmt.Sprintf("SELECT memo, amount FROM bookings WHERE id = %d", id))
		case 2:
			key := 1_000_000 + owner*100_000 + r.IntN(100_000)
			ok = l.write(conn, fmt.Sprintf("INSERT IGNORE INTO entries VALUES (%d, %d, '%s', 'body %[3]s', 'bad', '2024-06-01')", owner, key, text), fmt.Sprintf("SELECT title, body FROM entries WHERE user_id = %d AND n = %d", owner, key))
		case 3:
			ok = l.write(conn, fmt.Sprintf("DELETE FROM entries WHERE user_id = %d AND n = %d", owner, n), fmt.Sprintf("SELECT COUNT(*) FROM entries WHERE user_id = %d AND n = %d", owner, n))
		case 4:
			ok = l.read(conn, fmt.Sprintf("SELECT id, booked, memo, amount, ref FROM bookings WHERE id BETWEEN %d AND %d AND user_id = %d ORDER BY id", id, id+50, owner))
		case 5:
			ok = l.read(conn, fmt.Sprintf("SELECT COUNT(*), MAX(title) FROM entries WHERE user_id = %d AND n < %d AND title LIKE '%%%d%%'", owner, 100, i%10))
		default:
			ok = l.read(conn, fmt.Sprintf("SELECT * FROM entries WHERE user_id = %d AND n BETWEEN %d AND %d ORDER BY n", owner, n, n+20))
		}
		if !ok {
			return
		}
	}
}

// timed runs a query or statement through Latchkey and notes how long it took.
func (l *load) timed(do func() error) bool {
	began := time.Now()
	err := do()
	if err != nil {
		if code := mariadbtest.Code(err); code >= 9700 && code <= 9720 && code != 9710 && code != 9714 {
			l.t.Errorf("an answer under load: %v", err)
		}
		return false
	}
	phase := *l.phase.Load()
	l.mu.Lock()
	l.latencies[phase] = append(l.latencies[phase], time.Since(began))
	l.mu.Unlock()
	l.done.Add(1)
	return true
}

// read compares an answer with the twin's.
func (l *load) read(conn *sql.Conn, query string) bool {
	var got string
	if !l.timed(func() (err error) {
		got, err = allOf(conn, query)
		return err
	}) {
		return false
	}
	want, err := allOf(l.twinPool, query)
	if err != nil {
		l.t.Errorf("%s on the twin: %v", query, err)
	} else if got != want {
		l.t.Errorf("%s\nreads %.300q\nwant  %.300q", query, got, want)
	}
	return true
}

// write writes through Latchkey and to the twin. When the answer is lost, what is there tells whether it was written.
func (l *load) write(conn *sql.Conn, statement, look string) bool {
	before, err := allOf(l.twinPool, look)
	if err != nil {
		l.t.Error(err)
		return false
	}
	written := l.timed(func() error {
		_, err := conn.ExecContext(context.Background(), statement)
		return err
	})
	if !written {
		// Another client asks until it can, since the row's owner has to be unlocked and the servers to be back.
		l.settle(statement, look, before)
		return false
	}
	if _, err := l.twinPool.Exec(statement); err != nil {
		l.t.Errorf("%s on the twin: %v", statement, err)
	}
	return true
}

// settle finds out whether a statement was carried out whose answer was lost, and does the same to the twin.
func (l *load) settle(statement, look, before string) {
	var owner int
	if _, after, ok := strings.Cut(look, "user_id = "); ok {
		fmt.Sscan(after, &owner)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		pool, err := sql.Open("mysql", l.proxy.DSN(l.db)+"?timeout=5s&readTimeout=60s")
		if err != nil {
			continue
		}
		conn, err := pool.Conn(context.Background())
		if err == nil && owner > 0 {
			_, err = conn.ExecContext(context.Background(), "SET @latchkey = '"+l.tokens[owner-1]+"'")
		}
		var now string
		if err == nil {
			now, err = allOf(conn, look)
		}
		pool.Close()
		if err != nil {
			continue
		}
		if now == before {
			return
		}
		if _, err := l.twinPool.Exec(statement); err != nil {
			l.t.Errorf("%s on the twin: %v", statement, err)
		}
		if want, err := allOf(l.twinPool, look); err != nil || now != want {
			l.t.Errorf("%s: its answer was lost, and the row is neither as before nor as meant (%v)", statement, err)
		}
		return
	}
	l.t.Errorf("%s: its answer was lost, and the servers did not come back", statement)
}

// allOf gives the rows of a query as one text.
func allOf(db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string) (string, error) {
	rows, err := db.QueryContext(context.Background(), query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return "", err
		}
		for _, v := range values {
			fmt.Fprintf(&b, "%v|", v)
		}
		b.WriteByte('\n')
	}
	return b.String(), rows.Err()
}

// migrate runs a command of migrate again and again, until it is done if done is set; kills ends it, the proxy or the server at
// random moments.
func (l *load) migrate(r *rand.Rand, kills int, done bool, args ...string) {
	l.t.Helper()
	for attempt := 0; ; attempt++ {
		cmd := exec.Command(latchkeytest.Binary(l.t), append([]string{"migrate", args[0], "--config", l.proxy.Config}, args[1:]...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			l.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if kills > 0 {
			time.Sleep(time.Duration(100+r.IntN(900)) * time.Millisecond)
			kills--
			l.kill(cmd, attempt)
		}
		if err := <-ended; kills == 0 && (err == nil || !done) {
			return
		} else if attempt > kills+30 && kills == 0 {
			l.t.Fatalf("migrate %v does not come to its end: %v\n%s", args, err, out.String())
		}
	}
}

// kill ends one of the three at once, and starts it again but for the command.
func (l *load) kill(cmd *exec.Cmd, which int) {
	switch which % 3 {
	case 0:
		cmd.Process.Signal(syscall.SIGKILL)
	case 1:
		if err := l.server.Kill(); err != nil {
			l.t.Fatal(err)
		}
		if err := l.server.Restart(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	case 2:
		if err := l.proxy.Kill(); err != nil {
			l.t.Fatal(err)
		}
		l.proxy.Serve(l.t)
	}
}

// everyOwner has each owner unlock once and waits until the condition holds for none of the owner's rows any more.
func (l *load) everyOwner(condition string) {
	l.t.Helper()
	pool := l.proxy.Open(l.t, l.db, "")
	for owner := 1; owner <= l.owners; owner++ {
		conn, err := pool.Conn(context.Background())
		if err != nil {
			l.t.Fatal(err)
		}
		mustExec(l.t, conn, "SET @latchkey = '"+l.tokens[owner-1]+"'")
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s.entries WHERE user_id = %d AND (%s)", l.db, owner, condition)
		eventually(l.t, "the rows of an owner are converted", func() bool { return l.server.Query(l.t, query)[0][0] == "0" })
		mustExec(l.t, conn, "SET @latchkey = NULL")
		conn.Close()
	}
}

// same compares every row with the twin's.
func (l *load) same(what string) {
	l.t.Helper()
	queries := []string{"SELECT id, user_id, booked, memo, amount, ref FROM bookings ORDER BY id"}
	pool := l.proxy.Open(l.t, l.db, "")
	conn, err := pool.Conn(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	compare := func(query string) {
		got, err := allOf(conn, query)
		if err != nil {
			l.t.Fatalf("%s: %s: %v", what, query, err)
		}
		want, err := allOf(l.twinPool, query)
		if err != nil {
			l.t.Fatal(err)
		}
		if got != want {
			g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
			for i := range w {
				if i >= len(g) || g[i] != w[i] {
					l.t.Errorf("%s: %s: row %d of %d reads %.200q, want %.200q of %d", what, query, i, len(g), g[min(i, len(g)-1)], w[i], len(w))
					return
				}
			}
			l.t.Errorf("%s: %s: %d rows, want %d", what, query, len(g), len(w))
		}
	}
	compare(queries[0])
	for owner := 1; owner <= l.owners; owner++ {
		mustExec(l.t, conn, "SET @latchkey = '"+l.tokens[owner-1]+"'")
		compare(fmt.Sprintf("SELECT * FROM entries WHERE user_id = %d ORDER BY n", owner))
	}
}

// noPlaintext looks for values in clear in the files of the database and in the logs written since.
func (l *load) noPlaintext(since []string, tablespaces bool) {
	l.t.Helper()
	looked := 0
	err := filepath.WalkDir(l.server.DataDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name := d.Name()
		ours := tablespaces && strings.HasSuffix(name, ".ibd") && strings.Contains(path, "/"+l.db+"/") || name == "general.log" || strings.HasPrefix(name, "binlog.0") && !slices.Contains(since, name)
		if !ours {
			return nil
		}
		looked++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, mark := range [][]byte{[]byte(loadMark), fmt.Appendf(nil, "%x", loadMark)} {
			if name == "general.log" && tablespaces {
				break // it has the statements of decrypt
			}
			if at := bytes.Index(content, mark); at >= 0 {
				l.t.Errorf("%s holds plaintext at %d of %d bytes", name, at, len(content))
			}
		}
		return nil
	})
	if err != nil || looked < 2 {
		l.t.Fatalf("%d files were looked at (%v)", looked, err)
	}
}

// binlogs are the binary logs that there are, which a new one is begun behind.
func (l *load) binlogs() []string {
	l.t.Helper()
	l.server.Exec(l.t, "FLUSH BINARY LOGS")
	var names []string
	rows := l.server.Query(l.t, "SHOW BINARY LOGS")
	for _, row := range rows[:len(rows)-1] {
		names = append(names, row[0])
	}
	return names
}

// report logs how fast the clients were.
func (l *load) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for phase, all := range l.latencies {
		slices.Sort(all)
		l.t.Logf("%s: %d reads and writes, p50 %v, p95 %v, p99 %v", phase, len(all), all[len(all)/2], all[len(all)*95/100], all[len(all)*99/100])
	}
}

// TestMigrateUnderLoad converts a database while clients read and write through Latchkey and every answer is compared with a
// twin's; the command, the proxy and the server are killed at random moments.
func TestMigrateUnderLoad(t *testing.T) {
	l := newLoad(t)
	kills := environment(t, "LATCHKEY_CONVERSION_KILLS", loadKills)
	latchkeytest.Run(t, 0, "migrate", "prepare", "--config", l.proxy.Config, "--run")
	l.proxy.Serve(t)
	l.enroll()
	since := l.binlogs()
	l.server.Exec(t, "SET GLOBAL general_log = 1")
	r := rand.New(rand.NewPCG(uint64(environment(t, "LATCHKEY_CONVERSION_SEED", 1)), 2))
	l.enter("while converting")
	l.begin()
	began := time.Now()
	l.migrate(r, kills, true, "encrypt")
	l.everyOwner("LEFT(title, 3) <> x'ff4c4b' OR LEFT(body, 3) <> x'ff4c4b' OR LEFT(mood, 3) <> x'ff4c4b' OR LEFT(noted, 3) <> x'ff4c4b'")
	t.Logf("%d rows converted in %v, with %d kills", l.rows, time.Since(began).Round(time.Millisecond), kills)
	l.enter("converted")
	for before := l.done.Load(); l.done.Load() < before+200; {
		time.Sleep(10 * time.Millisecond)
	}
	latchkeytest.Run(t, 0, "migrate", "status", "--config", l.proxy.Config)
	l.enter("while rotating")
	l.migrate(r, kills, true, "rotate")
	l.noPlaintext(since, false)
	l.enter("while decrypting")
	l.migrate(r, kills, false, "decrypt") // what is written meanwhile is sealed
	l.end()
	l.migrate(r, 0, true, "decrypt")
	if cells := l.server.Query(t, "SELECT COUNT(*) FROM "+l.db+".bookings WHERE x'ff4c4b' IN (LEFT(memo, 3), LEFT(amount, 3), LEFT(ref, 3), LEFT(booked, 3))")[0][0]; cells != "0" {
		t.Errorf("behind decrypt %s rows hold cells", cells)
	}
	l.same("behind decrypt")
	since = l.binlogs()
	l.migrate(r, 0, true, "encrypt")
	l.same("behind encrypt")
	l.proxy.Stop(t)
	latchkeytest.Run(t, 0, "migrate", "finish", "--config", l.proxy.Config, "--run")
	l.server.Exec(t, "FLUSH TABLES")
	l.noPlaintext(since, true)
	l.report()
}
