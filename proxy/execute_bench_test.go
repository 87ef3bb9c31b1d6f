package proxy

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// canned is a backend that answers every request with the same bytes, or a client that takes everything.
type canned struct {
	reply []byte
	left  []byte
}

func (c *canned) Write(b []byte) (int, error) {
	c.left = c.reply
	return len(b), nil
}

func (c *canned) Read(b []byte) (int, error) {
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// benchExecutor makes an executor whose backend answers as the server did, so that only the proxy is measured.
func benchExecutor(b *testing.B, text string) (x *executor, run func()) {
	b.Helper()
	server := mariadbtest.Shared(b)
	db := server.NewDatabase(b)
	server.Exec(b, "USE "+db+";"+sealedTables)
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{db: twinPolicy(b)}}
	loader := startLoader(b, testSchemaConfig(server), policy)
	protection := testProtection(b, loader)
	p := startProxy(b, server.Addr(), func(c *Config) { c.Protection = protection })
	push := "SET @latchkey = '" + testKey(b, 'A') + "'"

	c := loginRaw(b, p.addr, db, rawCaps)
	c.query(b, push)
	for range 1000 {
		c.query(b, "INSERT INTO entries (user_id, title, body) VALUES (1, 'a title', 'a body of about one hundred bytes, which is what the figures of the design are about, so here it is.')")
	}
	direct := loginRaw(b, server.Addr(), db, rawCaps)
	backend := &canned{}
	x = &executor{session: &session{server: p.Server, log: slog.New(slog.DiscardHandler), caps: rawCaps, database: db, loopback: true,
		client: wire.NewConn(&canned{}, wire.ClientSide), backend: wire.NewConn(backend, wire.BackendSide)}, env: protection, ctx: b.Context()}
	x.keys = keyset{ring: new(keystore.Keyring), services: protection.Services, now: time.Now}
	x.facts = newFacts(db, 101119, true)
	backend.reply = direct.query(b, factsQuery)
	if err := x.refresh(); err != nil {
		b.Fatal(err)
	}
	if err := x.query(wire.Packet{Payload: append([]byte{3}, push...)}); err != nil {
		b.Fatal(err)
	}
	backend.reply = direct.query(b, physical(text))
	return x, func() {
		x.client.Seq = 1
		if err := x.query(wire.Packet{Payload: append([]byte{3}, text...)}); err != nil {
			b.Fatal(err)
		}
	}
}

// physical is the statement that brings the same rows straight from the server.
func physical(text string) string {
	if i := bytes.Index([]byte(text), []byte(" WHERE title")); i >= 0 {
		return text[:i] + " LIMIT 1"
	}
	return text
}

func benchmarkQuery(b *testing.B, text string, rows int) {
	_, run := benchExecutor(b, text)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

func BenchmarkPassQuery(b *testing.B) { benchmarkQuery(b, "SELECT v FROM other WHERE id = 17", 1) }
func BenchmarkSealedPoint(b *testing.B) {
	benchmarkQuery(b, "SELECT title FROM entries WHERE title = 'a title'", 1)
}
func BenchmarkSealedRows(b *testing.B) {
	benchmarkQuery(b, "SELECT id, title, body FROM entries", 1000)
}
func BenchmarkSealedInsert(b *testing.B) {
	benchmarkQuery(b, "INSERT INTO entries (user_id, title, body) VALUES (1, 'a title', 'a body of about one hundred bytes, which is what the figures of the design are about, so here it is.')", 1)
}
