//go:build !race

package endtoend

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// residualQuery is what an application asks of a bookkeeping table. %[1]d is the owner of the rows.
type residualQuery struct{ name, text string }

// residualQueries compute over sealed columns: eight kinds of question, and one that opens all four of the columns.
var residualQueries = []residualQuery{
	{"LIKE and a range", "SELECT id, title, amount FROM book WHERE user_id = %[1]d AND title LIKE '%%7a%%' AND amount > 100"},
	{"ORDER BY text LIMIT", "SELECT id, title FROM book WHERE user_id = %[1]d ORDER BY title, id LIMIT 20"},
	{"SUM by month", "SELECT LEFT(day, 7) AS month, SUM(amount) FROM book WHERE user_id = %[1]d GROUP BY month ORDER BY month"},
	{"COUNT(DISTINCT)", "SELECT COUNT(DISTINCT title) FROM book WHERE user_id = %[1]d"},
	{"join on text", "SELECT c.city, COUNT(*), SUM(b.amount) FROM book b JOIN contacts c ON c.name = b.title WHERE b.user_id = %[1]d AND c.user_id = %[1]d GROUP BY c.city ORDER BY c.city"},
	{"running balance", "SELECT id, SUM(amount) OVER (ORDER BY day, id) FROM book WHERE user_id = %[1]d ORDER BY day, id"},
	{"IN (SELECT)", "SELECT COUNT(*), SUM(amount) FROM book WHERE user_id = %[1]d AND title IN (SELECT name FROM contacts WHERE user_id = %[1]d AND city LIKE 'city 1%%')"},
	{"functions of dates", "SELECT YEAR(day), QUARTER(day), COUNT(*), MAX(DATEDIFF(day, '2020-01-01')) FROM book WHERE user_id = %[1]d GROUP BY YEAR(day), QUARTER(day) ORDER BY 1, 2"},
	{"four columns", "SELECT id, UPPER(title), LENGTH(note), amount * 2, YEAR(day) FROM book WHERE user_id = %[1]d ORDER BY id"},
}

// residualWrites change rows by what only the evaluator can tell.
var residualWrites = []residualQuery{
	{"UPDATE of all rows", "UPDATE book SET amount = amount + 1 WHERE user_id = %[1]d"},
	{"UPDATE of 1 in 50 rows", "UPDATE book SET note = CONCAT('x', SUBSTRING(note, 2)), amount = amount - 1 WHERE user_id = %[1]d AND title LIKE '%%7a%%'"},
}

const residualTables = `
CREATE TABLE book (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, account_id INT NOT NULL, title VARCHAR(100), note TEXT, amount DECIMAL(12,2), day DATE, changed TIMESTAMP NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(), KEY (user_id)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE contacts (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, name VARCHAR(100), city VARCHAR(100), KEY (user_id), KEY (name)) DEFAULT CHARSET=utf8mb4;
`

const residualPolicy = `    book:
      columns:
        title: {type: "varchar(100)"}
        note: {type: "text"}
        amount: {type: "decimal(12,2)"}
        day: {type: "date"}
    contacts:
      columns:
        name: {type: "varchar(100)"}
        city: {type: "varchar(100)"}
`

// residualSize is how many rows an owner has, how often a statement is measured over them, and what it may take.
type residualSize struct {
	owner, rows, rounds int
	hold                time.Duration
}

var residualSizes = []residualSize{
	{1, 1_000, 101, 6 * time.Millisecond},
	{2, 10_000, 31, 35 * time.Millisecond},
	{3, 100_000, 7, 0},
}

// residualBench is one server with the same tables twice, in the clear and sealed, and Latchkey in front of it.
type residualBench struct {
	server        *mariadbtest.Server
	plain, sealed string
	key           string
	proxy         *latchkeytest.Proxy
}

func newResidualBench(b *testing.B) *residualBench {
	b.Helper()
	server := mariadbtest.Start(b, mariadbtest.WithArgs("--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M"))
	w := &residualBench{server: server, plain: server.NewDatabase(b), sealed: server.NewDatabase(b), key: latchkeytest.NewAccountKey(b)}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(b, "USE "+db+";"+residualTables)
	}
	w.proxy = latchkeytest.Start(b, latchkeytest.Config{Server: server, Databases: "  " + w.sealed + ":\n" + residualPolicy})
	return w
}

// dial gives a connection to the tables in the clear or to the sealed ones.
func (w *residualBench) dial(b *testing.B, addr string) *benchClient {
	b.Helper()
	db := w.sealed
	if addr == w.server.Addr() {
		db = w.plain
	}
	c, err := dialBench(addr, db, 0)
	if err == nil && db == w.sealed {
		err = c.query("SET @latchkey = '" + w.key + "'")
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// fill writes the same rows on both sides. An owner has one contact for every twenty rows.
func (w *residualBench) fill(b *testing.B) {
	b.Helper()
	for _, addr := range []string{w.server.Addr(), w.proxy.Address} {
		c := w.dial(b, addr)
		for _, s := range residualSizes {
			w.rows(b, c, "book (user_id, account_id, title, note, amount, day)", s.rows, func(dst []byte, i int) []byte {
				return fmt.Appendf(dst, "(%d,%d,'%s','a note that is a little longer %d',%d.%02d,'20%02d-%02d-%02d')",
					s.owner, i%7, payee(i*7919%(s.rows/4)), i, i%500, i%100, 20+i%5, i/5%12+1, i%28+1)
			})
			w.rows(b, c, "contacts (user_id, name, city)", s.rows/20, func(dst []byte, i int) []byte {
				return fmt.Appendf(dst, "(%d,'%s','city %d')", s.owner, payee(i*3), i%50)
			})
		}
		c.close()
	}
	for _, db := range []string{w.plain, w.sealed} {
		w.server.Exec(b, "ANALYZE TABLE "+db+".book, "+db+".contacts")
	}
}

// payee is a name of 20 to 24 letters and digits.
func payee(n int) string {
	return "payee named " + strconv.FormatUint(uint64(n+1)*0x9e3779b97f4a7c15, 36)
}

func (w *residualBench) rows(b *testing.B, c *benchClient, into string, n int, row func(dst []byte, i int) []byte) {
	b.Helper()
	const batch = 500
	for from := 0; from < n; from += batch {
		stmt := []byte("INSERT INTO " + into + " VALUES ")
		for i := from; i < min(from+batch, n); i++ {
			if i > from {
				stmt = append(stmt, ',')
			}
			stmt = row(stmt, i)
		}
		if err := c.query(string(stmt)); err != nil {
			b.Fatal(err)
		}
	}
}

// residualLane is one way to run the statements, with the processes that take part.
type residualLane struct {
	name   string
	client *benchClient
	pids   []int
	took   []float64   // milliseconds, by round
	cpu    [][]float64 // milliseconds, by process and round
}

// run runs the statement once and notes what it took.
func (n *residualLane) run(b *testing.B, request []byte, count bool) {
	b.Helper()
	before := n.clocks(b)
	start := time.Now()
	if _, _, _, err := n.client.rows(request, wire.ReplyQuery, false); err != nil {
		b.Fatalf("%s: %v", n.name, err)
	}
	took := time.Since(start)
	if !count {
		return
	}
	n.took = append(n.took, milliseconds(took))
	for i, after := range n.clocks(b) {
		n.cpu[i] = append(n.cpu[i], milliseconds(after-before[i]))
	}
}

func (n *residualLane) clocks(b *testing.B) []time.Duration {
	b.Helper()
	clocks := make([]time.Duration, len(n.pids))
	for i, pid := range n.pids {
		var err error
		if clocks[i], err = processCPU(pid); err != nil {
			b.Fatal(err)
		}
	}
	return clocks
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// lanes gives plaintext and Latchkey, in this order. The processes of the first are the server; of the second Latchkey, its
// evaluator and the server.
func (w *residualBench) lanes(b *testing.B) []*residualLane {
	server := w.server.PID()
	plain := &residualLane{name: "plaintext", client: w.dial(b, w.server.Addr()), pids: []int{server}}
	sealed := &residualLane{name: "Latchkey", client: w.dial(b, w.proxy.Address), pids: []int{w.proxy.Pid(), childOf(b, w.proxy.Pid()), server}}
	return []*residualLane{plain, sealed}
}

// childOf gives the process that another one has started: proc(5).
func childOf(b *testing.B, pid int) int {
	b.Helper()
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		if words := strings.Fields(string(text)); len(words) > 0 {
			child, err := strconv.Atoi(words[0])
			if err != nil {
				b.Fatal(err)
			}
			return child
		}
	}
	b.Fatalf("process %d has no child: is the evaluator running?", pid)
	return 0
}

// residualOutcome is one line of the table: medians over the rounds, in milliseconds.
type residualOutcome struct {
	size                       residualSize
	query                      string
	plain, latchkey            spread
	ratio                      float64 // of turns of the same round
	plainCPU                   float64
	proxy, evaluator, serverMS float64
}

// measure runs one statement on both sides by turns.
func (w *residualBench) measure(b *testing.B, lanes []*residualLane, s residualSize, q residualQuery, writes bool) residualOutcome {
	b.Helper()
	request := benchQuery(fmt.Sprintf(q.text, s.owner))
	if !writes {
		sameRows(b, lanes, request, q.name)
	}
	for _, n := range lanes {
		n.took, n.cpu = nil, make([][]float64, len(n.pids))
	}
	rounds, order := s.rounds, rand.New(rand.NewPCG(1, 1))
	if writes {
		rounds = rounds/4 + 1
	}
	for round := range rounds + 1 {
		for _, i := range order.Perm(len(lanes)) {
			lanes[i].run(b, request, round > 0)
		}
	}
	plain, sealed := lanes[0], lanes[1]
	var ratio []float64
	for i := range sealed.took {
		ratio = append(ratio, sealed.took[i]/plain.took[i])
	}
	return residualOutcome{s, q.name, spreadOf(plain.took), spreadOf(sealed.took), median(ratio), median(plain.cpu[0]),
		median(sealed.cpu[0]), median(sealed.cpu[1]), median(sealed.cpu[2])}
}

func spreadOf(v []float64) spread { return spread{quantile(v, 0.25), median(v), quantile(v, 0.75)} }

// sameRows fails the benchmark when the lanes do not give the same rows.
func sameRows(b *testing.B, lanes []*residualLane, request []byte, name string) {
	b.Helper()
	var want [][]byte
	for i, n := range lanes {
		rows, _, _, err := n.client.rows(request, wire.ReplyQuery, true)
		if err != nil {
			b.Fatalf("%s, %s: %v", name, n.name, err)
		}
		if i == 0 {
			want = rows
		}
		if len(rows) == 0 || !bytes.Equal(bytes.Join(rows, nil), bytes.Join(want, nil)) {
			b.Fatalf("%s, %s: %d rows, not the %d of the server itself", name, n.name, len(rows), len(want))
		}
	}
}

const residualHead = "| rows | statement | plaintext, ms | Latchkey, ms | to hold | Latchkey / plaintext | CPU ms, plaintext | CPU ms: Latchkey + evaluator + server |\n" +
	"|---|---|---|---|---|---|---|---|\n"

func (o residualOutcome) line() string {
	hold := ""
	if o.size.hold > 0 {
		hold = number(milliseconds(o.size.hold))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %.1f | %s | %s = %s + %s + %s |", group(o.size.rows), o.query, o.plain.times(), o.latchkey.times(), hold, o.ratio,
		number(o.plainCPU), number(o.proxy+o.evaluator+o.serverMS), number(o.proxy), number(o.evaluator), number(o.serverMS))
}

// times writes a median with its quartiles.
func (s spread) times() string {
	return number(s.middle) + " (" + number(s.low) + "-" + number(s.high) + ")"
}

// BenchmarkResidual holds statements that the evaluator finishes against the same statements on plaintext, over 1,000, 10,000 and
// 100,000 rows, by turns in one run, and prints a table; with -update it writes it to docs/performance.md. It wants -benchtime 1x.
func BenchmarkResidual(b *testing.B) {
	w := newResidualBench(b)
	w.fill(b)
	lanes := w.lanes(b)
	var table strings.Builder
	version := w.server.Query(b, "SELECT VERSION()")[0][0]
	fmt.Fprintf(&table, "MariaDB %s, %s.\n\n%s", version, goVersion(), residualHead)
	lines := 0
	part := func(s residualSize, q residualQuery, writes bool) {
		b.Run(fmt.Sprintf("%d rows/%s", s.rows, q.name), func(b *testing.B) {
			o := w.measure(b, lanes, s, q, writes)
			table.WriteString(o.line() + "\n")
			lines++
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(o.latchkey.middle, "ms")
			b.ReportMetric(o.ratio, "x-plaintext")
		})
	}
	for _, s := range residualSizes {
		for _, q := range residualQueries {
			part(s, q, false)
		}
		if s.hold > 0 {
			for _, q := range residualWrites {
				part(s, q, true)
			}
		}
	}
	whole := lines == len(residualSizes)*len(residualQueries)+2*len(residualWrites)
	publishSection(b, "residual", table.String(), whole)
}
