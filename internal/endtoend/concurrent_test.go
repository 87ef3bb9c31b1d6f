package endtoend

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

const (
	// statements is how many run in all: a fifth one after the other, two fifths on several connections at once, two fifths
	// in batches that are sent before the first reply is read.
	statements  = 100_000
	connections = 8
	batch       = 40
)

// TestManyStatements runs statements over sealed columns whose answers a model knows. Two users alternate on every
// connection.
func TestManyStatements(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".things (id INT PRIMARY KEY, n INT, title VARCHAR(50), body VARCHAR(200), KEY (title)) DEFAULT CHARSET=utf8mb4")
	proxy := latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + db + ":\n" +
		"    things:\n      columns:\n        title: {search: equality}\n        body: {}\n"})
	workers := make([]*worker, connections)
	for i := range workers {
		workers[i] = newWorker(t, proxy, db, i)
	}
	t.Run("sequential", func(t *testing.T) {
		for i := range statements / 5 {
			if err := workers[i%connections].steps(1); err != nil {
				t.Fatal(err)
			}
		}
	})
	together := func(t *testing.T, depth int) {
		var wg sync.WaitGroup
		for _, w := range workers {
			wg.Go(func() {
				for range statements * 2 / 5 / connections / depth {
					if err := w.steps(depth); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	t.Run("concurrent", func(t *testing.T) { together(t, 1) })
	t.Run("pipelined", func(t *testing.T) { together(t, batch) })

	rows := 0
	for _, w := range workers {
		rows += len(w.rows)
		if w.client.cells.Load() {
			t.Error("a client received the beginning of a cell")
		}
	}
	if got := server.Query(t, "SELECT COUNT(*) FROM "+db+".things")[0][0]; got != fmt.Sprint(rows) {
		t.Errorf("%s rows, want %d", got, rows)
	}
	open := server.Query(t, "SELECT COUNT(*) FROM "+db+".things WHERE NOT (COALESCE(LEFT(title, 3), x'FF4C4B') = x'FF4C4B' AND COALESCE(LEFT(body, 3), x'FF4C4B') = x'FF4C4B')")
	if open[0][0] != "0" {
		t.Errorf("%s rows hold what is no cell", open[0][0])
	}
}

// thing is a row as a worker expects it. nil is NULL.
type thing struct {
	owner       int
	title, body []byte
}

// worker is a connection with rows of its own, and what must be in them.
type worker struct {
	client *wireClient
	random *rand.Rand
	number int
	keys   [2]string
	owner  int // whose key is on the connection
	rows   map[int]*thing
	ids    []int
	next   int
	// Statement ids of prepared statements.
	insert, update, remove, byID, byTitle uint32
}

func newWorker(t *testing.T, p *latchkeytest.Proxy, db string, number int) *worker {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("worker %d has seed %d", number, seed)
	w := &worker{client: newWireClient(t, p.Address, db, wireCaps|wire.CapDeprecateEOF*wire.Capabilities(number%2)), number: number,
		random: rand.New(rand.NewPCG(seed, uint64(number))), rows: make(map[int]*thing), next: number * 1_000_000}
	for i := range w.keys {
		w.keys[i] = latchkeytest.NewAccountKey(t)
	}
	w.client.must(t, "SET @latchkey = '"+w.keys[0]+"'")
	for text, id := range map[string]*uint32{
		"INSERT INTO things (id, n, title, body) VALUES (?, 1, ?, ?)": &w.insert, "UPDATE things SET title = ?, body = ? WHERE id = ?": &w.update,
		"DELETE FROM things WHERE id = ?": &w.remove, "SELECT title, body FROM things WHERE id = ?": &w.byID,
		"SELECT id, body FROM things WHERE title = ? ORDER BY id": &w.byTitle,
	} {
		r := w.client.prepare(t, text)
		if r.err.Code != 0 {
			t.Fatalf("%s: error %d %s", text, r.err.Code, r.err.Message)
		}
		*id = r.prepared.Statement
	}
	return w
}

// step is one statement and what its answer must be.
type step struct {
	payload []byte
	kind    wire.ReplyKind
	want    result
	what    string
}

// steps sends depth statements with one write and checks their answers.
func (w *worker) steps(depth int) error {
	var out []byte
	list := make([]step, depth)
	for i := range list {
		list[i] = w.step()
		p := list[i].payload
		out = request(out, wire.Command(p[0]), string(p[1:]))
	}
	if _, err := w.client.socket.Write(out); err != nil {
		return err
	}
	for _, s := range list {
		got, err := w.client.receive(s.kind)
		if err != nil {
			return fmt.Errorf("worker %d: %s: %w", w.number, s.what, err)
		}
		if got.err.Code != s.want.err.Code || s.want.affected != got.affected || !slices.EqualFunc(got.rows, s.want.rows, bytes.Equal) {
			return fmt.Errorf("worker %d: %s: got error %d %s, %d affected, rows %.200q; want error %d, %d affected, rows %.200q", w.number, s.what,
				got.err.Code, got.err.Message, got.affected, got.rows, s.want.err.Code, s.want.affected, s.want.rows)
		}
	}
	return nil
}

// title draws one of few titles, so that a search finds several rows; sometimes NULL.
func (w *worker) title() []byte {
	if w.random.IntN(20) == 0 {
		return nil
	}
	return fmt.Appendf(nil, "title %d of %d", w.random.IntN(30), w.number)
}

func (w *worker) body() []byte {
	if w.random.IntN(20) == 0 {
		return nil
	}
	b := bytes.Repeat([]byte("body "), w.random.IntN(30))
	return fmt.Appendf(b, "%d", w.random.Uint64())
}

// literal writes a value as SQL text; none of the values needs escaping.
func literal(v []byte) string {
	if v == nil {
		return "NULL"
	}
	return "'" + string(v) + "'"
}

func valueParam(v []byte) param {
	if v == nil {
		return nullParam()
	}
	return textParam(string(v))
}

func query(text string) []byte { return append([]byte{byte(wire.ComQuery)}, text...) }

// step draws the next statement and brings the model up to date.
func (w *worker) step() step {
	if w.random.IntN(25) == 0 {
		w.owner = 1 - w.owner
		return step{payload: query("SET @latchkey = '" + w.keys[w.owner] + "'"), kind: wire.ReplyQuery, what: "push"}
	}
	prepared := w.random.IntN(2) == 0
	choose := w.random.IntN(100)
	if len(w.ids) < 20 {
		choose = 0
	}
	switch {
	case choose < 15:
		return w.insertStep(prepared)
	case choose < 35:
		return w.updateStep(prepared)
	case choose < 47:
		return w.deleteStep(prepared)
	case choose < 60:
		return w.searchStep(prepared)
	}
	return w.readStep(prepared)
}

func (w *worker) insertStep(prepared bool) step {
	w.next++
	id, row := w.next, &thing{w.owner, w.title(), w.body()}
	w.rows[id] = row
	w.ids = append(w.ids, id)
	s := step{kind: wire.ReplyQuery, what: fmt.Sprintf("insert %d", id), want: result{affected: 1}}
	if prepared {
		s.payload, s.kind = executeRequest(w.insert, intParam(int64(id)), valueParam(row.title), valueParam(row.body)), wire.ReplyExecute
	} else {
		s.payload = query(fmt.Sprintf("INSERT INTO things (id, n, title, body) VALUES (%d, 1, %s, %s)", id, literal(row.title), literal(row.body)))
	}
	return s
}

func (w *worker) pick() (int, *thing) {
	id := w.ids[w.random.IntN(len(w.ids))]
	return id, w.rows[id]
}

// locked tells whether a row holds a cell that the key on the connection does not open.
func (w *worker) locked(row *thing) bool {
	return row.owner != w.owner && (row.title != nil || row.body != nil)
}

func (w *worker) updateStep(prepared bool) step {
	id, row := w.pick()
	title, body := w.title(), w.body()
	if w.random.IntN(4) == 0 {
		title, body = row.title, row.body
	}
	s := step{kind: wire.ReplyQuery, what: fmt.Sprintf("update %d", id)}
	if prepared {
		s.payload, s.kind = executeRequest(w.update, valueParam(title), valueParam(body), intParam(int64(id))), wire.ReplyExecute
	} else {
		s.payload = query(fmt.Sprintf("UPDATE things SET title = %s, body = %s WHERE id = %d", literal(title), literal(body), id))
	}
	switch {
	case w.locked(row):
		s.want.err.Code = 9702
	case !bytes.Equal(title, row.title) || !bytes.Equal(body, row.body) || (title == nil) != (row.title == nil) || (body == nil) != (row.body == nil):
		s.want.affected = 1
		*row = thing{w.owner, title, body}
	}
	return s
}

func (w *worker) deleteStep(prepared bool) step {
	id, _ := w.pick()
	delete(w.rows, id)
	w.ids = slices.DeleteFunc(w.ids, func(other int) bool { return other == id })
	s := step{kind: wire.ReplyQuery, what: fmt.Sprintf("delete %d", id), want: result{affected: 1}}
	if prepared {
		s.payload, s.kind = executeRequest(w.remove, intParam(int64(id))), wire.ReplyExecute
	} else {
		s.payload = query(fmt.Sprintf("DELETE FROM things WHERE id = %d", id))
	}
	return s
}

func (w *worker) readStep(prepared bool) step {
	id, row := w.pick()
	s := step{kind: wire.ReplyQuery, what: fmt.Sprintf("read %d", id)}
	if prepared {
		s.payload, s.kind = executeRequest(w.byID, intParam(int64(id))), wire.ReplyExecute
	} else {
		s.payload = query(fmt.Sprintf("SELECT title, body FROM things WHERE id = %d", id))
	}
	if w.locked(row) {
		s.want.err.Code = 9702
	} else if prepared {
		s.want.rows = [][]byte{binaryRow(nil, row.title, row.body)}
	} else {
		s.want.rows = [][]byte{wire.AppendTextValue(wire.AppendTextValue(nil, row.title, row.title == nil), row.body, row.body == nil)}
	}
	return s
}

func (w *worker) searchStep(prepared bool) step {
	title := w.title()
	s := step{kind: wire.ReplyQuery, what: fmt.Sprintf("search %q", title)}
	if prepared {
		s.payload, s.kind = executeRequest(w.byTitle, valueParam(title)), wire.ReplyExecute
	} else {
		s.payload = query("SELECT id, body FROM things WHERE title = " + literal(title) + " ORDER BY id")
	}
	slices.Sort(w.ids)
	for _, id := range w.ids {
		row := w.rows[id]
		if title == nil || row.title == nil || row.owner != w.owner || !bytes.Equal(row.title, title) {
			continue
		}
		if prepared {
			s.want.rows = append(s.want.rows, binaryRow(binary.LittleEndian.AppendUint32(nil, uint32(id)), row.body))
		} else {
			s.want.rows = append(s.want.rows, wire.AppendTextValue(wire.AppendLenencString(nil, fmt.Sprint(id)), row.body, row.body == nil))
		}
	}
	return s
}

// binaryRow is a binary row of an INT, when there is one, and strings.
func binaryRow(number []byte, values ...[]byte) []byte {
	first := 0
	if number != nil {
		first = 1
	}
	row := wire.StartBinaryRow(nil, first+len(values))
	row = append(row, number...)
	for i, v := range values {
		if v == nil {
			wire.SetBinaryNull(row, first+i)
		} else {
			row = wire.AppendLenencString(row, v)
		}
	}
	return row
}
