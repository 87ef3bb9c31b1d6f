//go:build !race

package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

const (
	// benchRounds is how often every arm of a workload has its turn, passRounds that of workloads with a figure to hold
	// against HAProxy, benchTurn how long a turn is.
	benchRounds = 5
	passRounds  = 11
	benchTurn   = 600 * time.Millisecond
	// benchRows is the number of rows of the twin tables entries, draftRows of the smaller ones that are updated, bulkRows of
	// the result that passes.
	benchRows = 100_000
	draftRows = 10_000
	bulkRows  = 500_000
	// insertRows is how many rows a batch of an INSERT has.
	insertRows = 100
	// idleSessions is how many sessions are opened to see what one takes.
	idleSessions = 500
	// bodyLength is the length of the body of an entry in bytes.
	bodyLength = 100
)

const benchTables = `
CREATE TABLE points (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL);
CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100), body VARCHAR(200), KEY (title)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE drafts LIKE entries;
CREATE TABLE writes LIKE entries;
INSERT INTO points SELECT seq, seq*7, REPEAT(MD5(seq), 3), MD5(-seq) FROM seq_1_to_100000;
`

const benchPolicy = `    entries:
      columns:
        title: {type: "varchar(100)", search: equality}
        body: {type: "varchar(200)"}
    drafts:
      columns:
        title: {type: "varchar(100)", search: equality}
        body: {type: "varchar(200)"}
    writes:
      columns:
        title: {type: "varchar(100)", search: equality}
        body: {type: "varchar(200)"}
`

// bench is one server with HAProxy and Latchkey in front of it and the same tables twice: in the database plain as they are,
// in the database sealed with protected columns.
type bench struct {
	server        *mariadbtest.Server
	plain, sealed string
	key           string
	direct        arm
	haproxy       arm
	latchkey      arm
}

// arm is one way to the server.
type arm struct {
	name, addr string
	// pid is the process in between, 0 for none.
	pid int
}

func newBench(b *testing.B) *bench {
	b.Helper()
	server := mariadbtest.Start(b, mariadbtest.WithArgs("--max-connections=2000", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M"))
	w := &bench{server: server, plain: server.NewDatabase(b), sealed: server.NewDatabase(b), key: latchkeytest.NewAccountKey(b)}
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(b, "USE "+db+";"+benchTables)
	}
	proxy := latchkeytest.Start(b, latchkeytest.Config{Server: server, Databases: "  " + w.sealed + ":\n" + benchPolicy})
	haproxy, pid := startHAProxy(b, server.Addr())
	w.direct = arm{"direct", server.Addr(), 0}
	w.haproxy = arm{"HAProxy", haproxy, pid}
	w.latchkey = arm{"Latchkey", proxy.Address, proxy.Pid()}
	return w
}

// dial logs in through an arm; the sealed database needs the key.
func (w *bench) dial(b *testing.B, a arm, sealed bool, caps wire.Capabilities) *benchClient {
	b.Helper()
	db := w.plain
	if sealed {
		db = w.sealed
	}
	c, err := dialBench(a.addr, db, caps)
	if err == nil && sealed {
		err = c.query("SET @latchkey = '" + w.key + "'")
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// fill writes the same rows on both sides.
func (w *bench) fill(b *testing.B) {
	b.Helper()
	const batch = 1000
	tables := []struct {
		name string
		rows int
	}{{"entries", benchRows}, {"drafts", draftRows}}
	for _, sealed := range []bool{false, true} {
		a, db := w.direct, w.plain
		if sealed {
			a, db = w.latchkey, w.sealed
		}
		c := w.dial(b, a, sealed, 0)
		for _, table := range tables {
			for from := 1; from <= table.rows; from += batch {
				var rows []byte
				for i := range batch {
					rows = appendRow(rows, from+i, i > 0)
				}
				if err := c.query("INSERT INTO " + table.name + " (user_id, title, body) VALUES " + string(rows)); err != nil {
					b.Fatal(err)
				}
			}
			w.server.Exec(b, "ANALYZE TABLE "+db+"."+table.name)
		}
		c.close()
	}
}

// entryTitle is the title of an entry.
func entryTitle(dst []byte, id int) []byte {
	dst = append(dst, "a title of entry "...)
	return strconv.AppendInt(dst, int64(id), 10)
}

// entryBody is bodyLength bytes that differ by n.
func entryBody(dst []byte, n uint64) []byte {
	start := len(dst)
	for len(dst)-start < bodyLength {
		n = n*6364136223846793005 + 1442695040888963407
		dst = strconv.AppendUint(append(dst, ' '), n, 36)
	}
	return dst[:start+bodyLength]
}

// appendRow appends one row of values.
func appendRow(dst []byte, id int, comma bool) []byte {
	if comma {
		dst = append(dst, ',')
	}
	dst = append(strconv.AppendInt(append(dst, '('), int64(id%1000), 10), ",'"...)
	dst = append(entryTitle(dst, id), "','"...)
	return append(entryBody(dst, uint64(id)), "')"...)
}

// workload is one kind of statement.
type workload struct {
	name    string
	threads int
	// sealed runs the statement over protected columns in Latchkey's arm; the others have the plain twin.
	sealed bool
	// unit is what is counted, and units how many one statement has; empty is the statement itself.
	unit  string
	units int
	caps  wire.Capabilities
	// prepare is a statement to prepare; then request builds executions of it.
	prepare string
	// request appends the next request.
	request func(dst []byte, r *rand.Rand, statement uint32) []byte
	// reset empties what the workload fills.
	reset bool
	// same says that the rows of equal requests are the same in every arm.
	same bool
}

func (w *workload) kind() wire.ReplyKind {
	if w.prepare != "" {
		return wire.ReplyExecute
	}
	return wire.ReplyQuery
}

// textRequest is a request that begins with sql and ends with what more appends.
func textRequest(sql string, more func(dst []byte, r *rand.Rand) []byte) func([]byte, *rand.Rand, uint32) []byte {
	return func(dst []byte, r *rand.Rand, _ uint32) []byte {
		dst = append(append(dst, byte(wire.ComQuery)), sql...)
		if more != nil {
			dst = more(dst, r)
		}
		return dst
	}
}

// benchExecute is a request with the parameters that params appends.
func benchExecute(params func(dst []wire.Param, r *rand.Rand) []wire.Param) func([]byte, *rand.Rand, uint32) []byte {
	return func(dst []byte, r *rand.Rand, statement uint32) []byte {
		e := wire.Execute{Statement: statement, Iterations: 1}
		if params != nil {
			e.Params = params(nil, r)
		}
		return e.Append(dst)
	}
}

func benchInt(v uint32) wire.Param {
	return wire.Param{ParamType: wire.ParamType{Type: wire.TypeLong}, Encoded: []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}}
}

func benchString(v []byte) wire.Param {
	p, _ := wire.BytesParam(nil, v)
	p.Type = wire.TypeVarString
	return p
}

func randomID(r *rand.Rand) int { return 1 + r.IntN(benchRows) }

func appendID(dst []byte, r *rand.Rand) []byte { return strconv.AppendInt(dst, int64(randomID(r)), 10) }

func appendBatch(rows int) func(dst []byte, r *rand.Rand) []byte {
	return func(dst []byte, r *rand.Rand) []byte {
		for i := range rows {
			dst = appendRow(dst, r.IntN(1<<30), i > 0)
		}
		return dst
	}
}

func batchParams(rows int) func(dst []wire.Param, r *rand.Rand) []wire.Param {
	return func(dst []wire.Param, r *rand.Rand) []wire.Param {
		for range rows {
			id := r.IntN(1 << 30)
			dst = append(dst, benchInt(uint32(id%1000)), benchString(entryTitle(nil, id)), benchString(entryBody(nil, uint64(id))))
		}
		return dst
	}
}

// workloads lists what is measured, in the order of the table.
func workloads() []workload {
	const (
		insert = "INSERT INTO writes (user_id, title, body) VALUES "
		update = "UPDATE drafts SET body = '"
	)
	rows := strings.TrimSuffix(strings.Repeat("(?,?,?),", insertRows), ",")
	updateRow := func(dst []byte, r *rand.Rand) []byte {
		dst = append(entryBody(dst, r.Uint64()), "' WHERE id = "...)
		return strconv.AppendInt(dst, int64(1+r.IntN(draftRows)), 10)
	}
	byTitle := func(dst []byte, r *rand.Rand) []byte { return append(entryTitle(dst, randomID(r)), '\'') }
	titleParam := func(dst []wire.Param, r *rand.Rand) []wire.Param {
		return append(dst, benchString(entryTitle(nil, randomID(r))))
	}
	var list []workload
	for _, threads := range []int{1, 16} {
		list = append(list,
			workload{name: "point select, text", threads: threads, same: true, request: textRequest("SELECT c FROM points WHERE id = ", appendID)},
			workload{name: "point select, prepared", threads: threads, same: true, prepare: "SELECT c FROM points WHERE id = ?",
				request: benchExecute(func(dst []wire.Param, r *rand.Rand) []wire.Param { return append(dst, benchInt(uint32(randomID(r)))) })})
	}
	bulk := "SELECT seq, seq * 2, 'some words' FROM seq_1_to_" + strconv.Itoa(bulkRows)
	list = append(list,
		workload{name: "bulk rows, text", threads: 1, unit: "rows", units: bulkRows, request: textRequest(bulk, nil)},
		workload{name: "bulk rows, binary", threads: 1, unit: "rows", units: bulkRows, prepare: bulk, request: benchExecute(nil)})
	for _, threads := range []int{1, 16} {
		list = append(list,
			workload{name: "sealed point select by tag, text", threads: threads, sealed: true, same: true, request: textRequest("SELECT body FROM entries WHERE title = '", byTitle)},
			workload{name: "sealed point select by tag, prepared", threads: threads, sealed: true, same: true, prepare: "SELECT body FROM entries WHERE title = ?",
				request: benchExecute(titleParam)})
	}
	return append(list,
		workload{name: "sealed insert, one row, text", threads: 1, sealed: true, reset: true, request: textRequest(insert, appendBatch(1))},
		workload{name: "sealed insert, one row, prepared", threads: 1, sealed: true, reset: true, prepare: insert + "(?,?,?)", request: benchExecute(batchParams(1))},
		workload{name: "sealed insert, 100 rows, text", threads: 1, sealed: true, reset: true, unit: "rows", units: insertRows, request: textRequest(insert, appendBatch(insertRows))},
		workload{name: "sealed insert, 100 rows, prepared", threads: 1, sealed: true, reset: true, unit: "rows", units: insertRows, prepare: insert + rows, request: benchExecute(batchParams(insertRows))},
		workload{name: "sealed update", threads: 1, sealed: true, request: textRequest(update, updateRow)},
		workload{name: "sealed update, CLIENT_FOUND_ROWS", threads: 1, sealed: true, caps: wire.CapFoundRows, request: textRequest(update, updateRow)},
		workload{name: "sealed select, 1,000 rows, 1 column", threads: 1, sealed: true, unit: "rows", units: 1000, request: textRequest("SELECT id, body FROM entries WHERE id <= 1000", nil)},
		workload{name: "sealed select, 1,000 rows, 2 columns", threads: 1, sealed: true, unit: "rows", units: 1000, request: textRequest("SELECT id, title, body FROM entries WHERE id <= 1000", nil)},
		workload{name: "sealed select, 1,000 rows, 2 columns, prepared", threads: 1, sealed: true, unit: "rows", units: 1000, prepare: "SELECT id, title, body FROM entries WHERE id <= 1000", request: benchExecute(nil)},
		workload{name: "sealed select, 100,000 rows, 1 column", threads: 1, sealed: true, unit: "rows", units: benchRows, request: textRequest("SELECT id, body FROM entries", nil)},
		workload{name: "sealed select, 100,000 rows, 2 columns", threads: 1, sealed: true, unit: "rows", units: benchRows, request: textRequest("SELECT id, title, body FROM entries", nil)},
	)
}

// lane is an arm with its open connections.
type lane struct {
	arm
	clients    []*benchClient
	statements []uint32
	random     []*rand.Rand
	turns      []turn
}

// turn is what one arm did in one round.
type turn struct {
	rate float64       // statements per second
	p95  time.Duration // of a statement
	cpu  float64       // of the process in between, in seconds for each statement
}

func (w *bench) lane(b *testing.B, a arm, l *workload) *lane {
	b.Helper()
	n := &lane{arm: a}
	for i := range l.threads {
		c := w.dial(b, a, l.sealed && a == w.latchkey, l.caps)
		statement := uint32(0)
		if l.prepare != "" {
			var err error
			if statement, err = c.prepare(l.prepare); err != nil {
				b.Fatalf("%s, %s: prepare: %v", l.name, a.name, err)
			}
		}
		n.clients, n.statements = append(n.clients, c), append(n.statements, statement)
		n.random = append(n.random, rand.New(rand.NewPCG(uint64(i), 1)))
	}
	return n
}

func (n *lane) close() {
	for _, c := range n.clients {
		c.close()
	}
}

// turn lets every connection of the lane work for d.
func (n *lane) turn(l *workload, d time.Duration) (turn, error) {
	var all []time.Duration
	var mu sync.Mutex
	var wait sync.WaitGroup
	var failed error
	before, err := n.cpu()
	if err != nil {
		return turn{}, err
	}
	start := time.Now()
	for i, c := range n.clients {
		wait.Go(func() {
			times := make([]time.Duration, 0, 1<<15)
			var request []byte
			var err error
			for now := start; err == nil && now.Sub(start) < d; {
				request = l.request(request[:0], n.random[i], n.statements[i])
				if err = c.do(request, l.kind()); err == nil {
					after := time.Now()
					times = append(times, after.Sub(now))
					now = after
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if err != nil {
				failed = fmt.Errorf("%s, %s: %w", l.name, n.name, err)
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	after, err := n.cpu()
	if err = errors.Join(failed, err); err != nil {
		return turn{}, err
	}
	slices.Sort(all)
	return turn{
		rate: float64(len(all)) / took.Seconds(),
		p95:  all[len(all)*95/100],
		cpu:  (after - before).Seconds() / float64(len(all)),
	}, nil
}

func (n *lane) cpu() (time.Duration, error) {
	if n.pid == 0 {
		return 0, nil
	}
	return processCPU(n.pid)
}

// equalAnswers fails the benchmark when two arms do not give the same rows.
func equalAnswers(b *testing.B, l *workload, lanes []*lane) {
	b.Helper()
	if !l.same && l.unit == "" || l.reset {
		return
	}
	var want [][]byte
	for i, n := range lanes {
		request := l.request(nil, rand.New(rand.NewPCG(7, 7)), n.statements[0])
		rows, _, _, err := n.clients[0].rows(request, l.kind(), true)
		if err != nil {
			b.Fatalf("%s, %s: %v", l.name, n.name, err)
		}
		if i == 0 {
			want = rows
			continue
		}
		if !slices.EqualFunc(rows, want, bytes.Equal) || len(rows) == 0 {
			b.Fatalf("%s, %s: %d rows, not the %d of the server itself", l.name, n.name, len(rows), len(want))
		}
	}
}

// measure runs a workload through direct, HAProxy and Latchkey by turns, and sealed statements also over the plain twin
// through Latchkey, which shows what sealing adds to passing.
func (w *bench) measure(b *testing.B, l *workload) outcome {
	b.Helper()
	lanes := []*lane{w.lane(b, w.direct, l), w.lane(b, w.haproxy, l), w.lane(b, w.latchkey, l)}
	if l.sealed {
		pass := w.latchkey
		pass.name = "Latchkey, plain"
		lanes = append(lanes, w.lane(b, pass, l))
	}
	defer func() {
		for _, n := range lanes {
			n.close()
		}
	}()
	equalAnswers(b, l, lanes)
	rounds := passRounds
	if l.sealed {
		rounds = benchRounds
	}
	for round := range rounds + 1 {
		for i := range lanes {
			// Every arm comes first in its turn.
			n := lanes[(i+round)%len(lanes)]
			if l.reset {
				w.server.Exec(b, "TRUNCATE "+w.plain+".writes", "TRUNCATE "+w.sealed+".writes")
			}
			d := benchTurn
			if round == 0 {
				d = benchTurn / 5 // warms up and is not counted
			}
			t, err := n.turn(l, d)
			if err != nil {
				b.Fatal(err)
			}
			if round > 0 {
				n.turns = append(n.turns, t)
			}
		}
	}
	return newOutcome(l, lanes)
}

// BenchmarkProxy holds Latchkey against the server itself and against HAProxy in TCP mode, by turns in one run, and prints
// a table; with -update it writes it to docs/performance.md. It wants -benchtime 1x; a part of it is chosen by its name,
// as in -bench Proxy/bulk.
func BenchmarkProxy(b *testing.B) {
	w := newBench(b)
	r := report{conditions: w.conditions(b)}
	part := func(name string, run func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			run(b)
			b.ReportMetric(0, "ns/op")
			r.parts++
		})
	}
	part("idle sessions", func(b *testing.B) { w.idle(b, &r) })
	w.fill(b)
	for _, l := range workloads() {
		part(fmt.Sprintf("%s, %d threads", l.name, l.threads), func(b *testing.B) {
			o := w.measure(b, &l)
			r.outcomes = append(r.outcomes, o)
			b.ReportMetric(o.overHAProxy.middle, "rate/haproxy")
			b.ReportMetric(o.cpuRatio.middle, "cpu/haproxy")
		})
	}
	part("wide result", func(b *testing.B) { w.wide(b, &r) })
	part("cells", func(b *testing.B) { cells(b, &r) })
	part("keys", func(b *testing.B) { w.keys(b, &r) })
	r.publish(b, r.parts == len(workloads())+4)
}

// idle measures the memory of sessions that wait for their clients. All stay open until the end: memory that one kind gave
// back would hide what the next takes.
func (w *bench) idle(b *testing.B, r *report) {
	b.Helper()
	const (
		passed = "SELECT c FROM points WHERE id = 1"
		sealed = "INSERT INTO writes (user_id, title, body) VALUES (1, 'a', 'b')"
	)
	var clients []*benchClient
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for _, s := range []struct {
		what   string
		arm    arm
		sealed bool
		sql    string
		most   string
	}{
		{"idle session, HAProxy", w.haproxy, false, passed, ""},
		{"idle session, Latchkey, after a point select", w.latchkey, false, passed, "64 KiB"},
		{"idle session, Latchkey, with a key, after a sealed insert", w.latchkey, true, sealed, "64 KiB"},
	} {
		var before int64
		for i := range idleSessions + 1 {
			c := w.dial(b, s.arm, s.sealed, 0)
			clients = append(clients, c)
			if err := c.query(s.sql); err != nil {
				b.Fatal(err)
			}
			if i == 0 {
				before, _ = processMemory(b, s.arm.pid)
			}
		}
		after, _ := processMemory(b, s.arm.pid)
		r.add(s.what, fmt.Sprintf("%.1f KiB", float64(after-before)/idleSessions/1024), s.most)
	}
}

// wide measures a result of 100,000 rows: when its first row comes, and what memory it takes.
func (w *bench) wide(b *testing.B, r *report) {
	b.Helper()
	request := benchQuery("SELECT id, title, body FROM entries")
	direct, sealed := w.dial(b, w.direct, false, 0), w.dial(b, w.latchkey, true, 0)
	defer direct.close()
	defer sealed.close()
	var plainFirst, sealedFirst []float64
	for range benchRounds {
		for _, c := range []*benchClient{direct, sealed} {
			_, n, first, err := c.rows(request, wire.ReplyQuery, false)
			if err != nil || n != benchRows {
				b.Fatalf("%d rows, %v", n, err)
			}
			if c == direct {
				plainFirst = append(plainFirst, first.Seconds()*1e3)
			} else {
				sealedFirst = append(sealedFirst, first.Seconds()*1e3)
			}
		}
	}
	r.add("first of 100,000 rows, direct", fmt.Sprintf("%.1f ms", median(plainFirst)), "")
	r.add("first of 100,000 sealed rows, Latchkey", fmt.Sprintf("%.1f ms", median(sealedFirst)), "50 ms over direct")
	for _, limit := range []int{1000, benchRows} {
		resetPeak(b, w.latchkey.pid)
		before, _ := processMemory(b, w.latchkey.pid)
		for range 3 {
			if _, _, _, err := sealed.rows(benchQuery("SELECT id, title, body FROM entries WHERE id <= "+strconv.Itoa(limit)), wire.ReplyQuery, false); err != nil {
				b.Fatal(err)
			}
		}
		_, peak := processMemory(b, w.latchkey.pid)
		r.add(fmt.Sprintf("memory of Latchkey, highest while %s sealed rows stream", group(limit)), fmt.Sprintf("%.1f MiB (%+.1f)", mib(peak), mib(peak-before)), "the same for both")
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func (w *bench) conditions(b *testing.B) []string {
	b.Helper()
	version := w.server.Query(b, "SELECT VERSION()")[0][0]
	return []string{fmt.Sprintf("MariaDB %s, HAProxy %s, %s", version, haproxyVersion(b), goVersion())}
}
