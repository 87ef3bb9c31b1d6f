//go:build !race

package endtoend

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const (
	// timedOwners is how many known and how many unknown owners are asked for. Each is asked once for each procedure, so that
	// no delay comes in.
	timedOwners = 300
	// addressTries is how many failures come from one client address, fewer than bring a delay.
	addressTries = 50
	// tokenOpens is how often a token is pushed.
	tokenOpens = 2000
)

// keys measures what opening a session by token takes, and whether the time of a refusal tells a known owner from an unknown
// one. Passwords have the lowest cost there may be: a higher one would only add noise to both sides.
func (w *bench) keys(b *testing.B, r *report) {
	b.Helper()
	keys := w.server.NewDatabase(b) + "_keys"
	b.Cleanup(func() { w.server.Exec(b, "DROP DATABASE IF EXISTS "+keys) })
	p := latchkeytest.Start(b, latchkeytest.Config{
		Server: w.server, Accounts: []string{"root"},
		Keystore: "  database: " + keys + "\n  cache: {size: 1, ttl: 1h}\n  password: {memory: 8MiB, time: 1, threads: 1}",
	})
	tokens, codes := enrollTimed(b, p)
	w.tokens(b, r, p, tokens)
	random := rand.New(rand.NewPCG(1, 2))
	for _, call := range []struct {
		what string
		// query asks for an owner with what does not open the key.
		query func(owner string, i int) string
	}{
		{"unlock, wrong password", func(owner string, _ int) string { return "CALL latchkey.unlock('" + owner + "', 'wrong')" }},
		{"recover, wrong code", func(owner string, i int) string {
			return "CALL latchkey.recover('" + owner + "', '" + codes[(i+1)%len(codes)] + "', 'new')"
		}},
	} {
		known, unknown := refusals(b, p, random, call.query)
		above, z := superiority(unknown, known)
		r.add(call.what+", owner known / unknown", fmt.Sprintf("%.2f / %.2f ms", median(known), median(unknown)), "the same")
		r.add(call.what+": unknown is slower than known in", fmt.Sprintf("%.1f %% of pairs, z = %+.1f", 100*above, z), "50 %, z within 3")
	}
}

// enrollTimed enrolls the known owners and gives their tokens and recovery codes.
func enrollTimed(b *testing.B, p *latchkeytest.Proxy) (tokens, codes []string) {
	b.Helper()
	c := p.Conn(b, "", "", "")
	for i := range timedOwners {
		row, err := keyCall(c, fmt.Sprintf("CALL latchkey.enroll('known%d', 'password')", i))
		if err != nil {
			b.Fatal(err)
		}
		tokens, codes = append(tokens, row[2]), append(codes, row[4])
	}
	return tokens, codes
}

// tokens measures pushes of a token. The proxy's cache has one place, so that two tokens by turns are never in it.
func (w *bench) tokens(b *testing.B, r *report, p *latchkeytest.Proxy, tokens []string) {
	b.Helper()
	c, err := dialBench(p.Address, w.plain, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	for _, push := range []struct {
		what, hold string
		tokens     []string
	}{
		{"open a session by token, used lately", "no statement", tokens[:1]},
		{"open a session by token, the first time", "one indexed read", tokens[:2]},
	} {
		var times []float64
		for i := range tokenOpens {
			query := "SET @latchkey = '" + push.tokens[i%len(push.tokens)] + "'"
			start := time.Now()
			if err := c.query(query); err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Since(start).Seconds()*1e6)
		}
		r.add(push.what, fmt.Sprintf("%.0f us", median(times)), push.hold)
	}
}

// refusals asks for known and unknown owners in random order and gives the times in milliseconds.
func refusals(b *testing.B, p *latchkeytest.Proxy, random *rand.Rand, query func(owner string, i int) string) (known, unknown []float64) {
	b.Helper()
	order := random.Perm(2 * timedOwners)
	var c *sql.Conn
	for n, at := range order {
		if n%addressTries == 0 {
			c = loopbackConn(b, p, random)
		}
		owner := fmt.Sprintf("known%d", at)
		if at >= timedOwners {
			owner = fmt.Sprintf("other%d-%d", at, random.Uint32())
		}
		start := time.Now()
		_, err := keyCall(c, query(owner, at))
		took := time.Since(start).Seconds() * 1e3
		if mariadbtest.Code(err) != 9707 {
			b.Fatalf("what does not open a key: %v", err)
		}
		if at < timedOwners {
			known = append(known, took)
		} else {
			unknown = append(unknown, took)
		}
	}
	return known, unknown
}

// loopbackConn is a connection from a loopback address of its own.
func loopbackConn(b *testing.B, p *latchkeytest.Proxy, random *rand.Rand) *sql.Conn {
	b.Helper()
	from := net.IPv4(127, 1, byte(random.UintN(250)), byte(1+random.UintN(250)))
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "tcp", p.Address
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext(ctx, network, addr)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		b.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	b.Cleanup(func() { pool.Close() })
	conn, err := pool.Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// superiority is in what share of all pairs of samples a is above b, and how many standard deviations that is from one half: the
// test of Mann and Whitney. Within 3 of them the samples do not tell a from b.
func superiority(a, b []float64) (share, z float64) {
	type sample struct {
		value float64
		of    bool // a
	}
	var all []sample
	for _, v := range a {
		all = append(all, sample{v, true})
	}
	for _, v := range b {
		all = append(all, sample{v, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return cmp.Compare(x.value, y.value) })
	below, pairs := 0, 0
	for _, s := range all {
		if s.of {
			pairs += below
		} else {
			below++
		}
	}
	n, m := float64(len(a)), float64(len(b))
	share = float64(pairs) / (n * m)
	return share, (share - 0.5) / math.Sqrt((n+m+1)/(12*n*m))
}
