//go:build !race

package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// modelSize is how many rows an owner has in the largest table, and how often a query over them is measured.
type modelSize struct{ rows, rounds int }

// modelSizes are those of owners 1, 2 and so on.
var modelSizes = []modelSize{{1_000, 21}, {3_000, 15}, {10_000, 11}, {30_000, 7}, {100_000, 5}}

// plotFile is the picture of an example's times.
const plotFile = "times.svg"

// modelTimes are the medians of one query in milliseconds, by size.
type modelTimes struct {
	query           modelQuery
	class           string
	plain, latchkey []float64
}

// BenchmarkModels measures the queries of docs/examples over an owner's 1,000 to 100,000 rows, on the server itself over
// plaintext and through Latchkey over the same rows sealed, by turns. It prints a table for each example; with -update it
// writes that and a plot beside the example. It wants -benchtime 1x.
func BenchmarkModels(b *testing.B) {
	for i := range models {
		m := &models[i]
		b.Run(m.title, func(b *testing.B) {
			server := mariadbtest.Start(b, mariadbtest.WithArgs("--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M"))
			rows := make(map[int]int)
			for i, size := range modelSizes {
				rows[i+1] = size.rows
			}
			w := newModelTwin(b, m, server, rows)
			for _, db := range []string{w.plain, w.sealed} {
				for _, t := range server.Query(b, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+db+"'") {
					server.Exec(b, "ANALYZE TABLE "+db+"."+t[0])
				}
			}
			var all []modelTimes
			for _, q := range m.queries(b) {
				times := modelTimes{query: q}
				for i, size := range modelSizes {
					plain, latchkey := w.measure(b, q, i+1, size.rounds)
					times.plain, times.latchkey = append(times.plain, plain), append(times.latchkey, latchkey)
				}
				times.class = w.class(b, q)
				all = append(all, times)
			}
			b.ReportMetric(0, "ns/op")
			w.publish(b, all)
		})
	}
}

// measure gives the medians of a query in milliseconds. The first round holds the answers against each other and is not
// counted; in each round another side comes first.
func (w *modelTwin) measure(b *testing.B, q modelQuery, owner, rounds int) (plain, latchkey float64) {
	b.Helper()
	sides := []*benchClient{w.dial(b, w.server.Addr(), w.plain, ""), w.dial(b, w.proxy.Address, w.sealed, w.keys[owner])}
	for _, c := range sides {
		defer c.close()
	}
	var took [2][]float64
	var answers [2][][]byte
	for round := range rounds + 1 {
		for turn := range sides {
			at := (round + turn) % len(sides)
			start := time.Now()
			for _, stmt := range q.statements {
				s := w.of(stmt, owner)
				rows, _, _, err := sides[at].rows(benchQuery(s.text()), wire.ReplyQuery, round == 0)
				if err != nil {
					b.Fatalf("%s, %s, owner %d: %v", w.title, q.name, owner, err)
				}
				answers[at] = append(answers[at], rows...)
			}
			if round > 0 {
				took[at] = append(took[at], time.Since(start).Seconds()*1e3)
			}
		}
		if round == 0 && !slices.EqualFunc(answers[0], answers[1], bytes.Equal) {
			b.Fatalf("%s, %s, owner %d: Latchkey's answer is not the server's", w.title, q.name, owner)
		}
	}
	return median(took[0]), median(took[1])
}

// dial opens a connection to a database; key may be empty.
func (w *modelTwin) dial(b *testing.B, addr, db, key string) *benchClient {
	b.Helper()
	c, err := dialBench(addr, db, 0)
	if err == nil && key != "" {
		err = c.query("SET @latchkey = '" + key + "'")
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// class tells what becomes of a query, as EXPLAIN through Latchkey shows it.
func (w *modelTwin) class(b *testing.B, q modelQuery) string {
	b.Helper()
	c := w.dial(b, w.proxy.Address, w.sealed, w.keys[1])
	defer c.close()
	s := w.of(q.statements[0], 1)
	rows, _, _, err := c.rows(benchQuery("EXPLAIN "+s.text()), wire.ReplyQuery, true)
	if err != nil {
		b.Fatal(err)
	}
	if len(rows) > 0 && bytes.Contains(rows[0], []byte("RESIDUAL")) {
		return "evaluator"
	}
	return "MariaDB"
}

// publish prints the table of an example. With -update it writes it into the example's page, and the plot beside it.
func (w *modelTwin) publish(b *testing.B, all []modelTimes) {
	b.Helper()
	figures := w.table(b, all)
	fmt.Fprintf(os.Stdout, "\n%s\n", figures)
	if !*update {
		return
	}
	p := plot{
		title: w.title + ": time of a query by the rows of its owner",
		description: fmt.Sprintf("A panel for each query of queries.sql: the median time over 1,000 to 100,000 rows of one owner in the table %s, in plaintext on MariaDB and sealed through Latchkey. Both axes are logarithmic. The table below the picture has the figures.",
			w.largest),
	}
	for _, size := range modelSizes {
		p.sizes = append(p.sizes, size.rows)
	}
	for _, t := range all {
		p.panels = append(p.panels, panel{t.query.name, t.plain, t.latchkey})
	}
	if err := os.WriteFile(w.path(plotFile), []byte(p.svg()), 0o644); err != nil {
		b.Fatal(err)
	}
	putSection(b, w.path("README.md"), "measured", figures)
}

// table writes the times of all queries: plaintext / Latchkey by size.
func (w *modelTwin) table(b *testing.B, all []modelTimes) string {
	b.Helper()
	var s strings.Builder
	version := w.server.Query(b, "SELECT VERSION()")[0][0]
	load, err := os.ReadFile("/proc/loadavg") // Linux: of 1, 5 and 15 minutes
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(&s, "MariaDB %s, %s. Load average over the last five minutes, the measurement's own included: %s.\n\n", version, goVersion(), strings.Fields(string(load))[1])
	s.WriteString("| ms: plaintext / Latchkey | finished in |")
	for _, size := range modelSizes {
		s.WriteString(" " + group(size.rows) + " rows |")
	}
	s.WriteString("\n|---|---|" + strings.Repeat("---|", len(modelSizes)) + "\n")
	for _, t := range all {
		fmt.Fprintf(&s, "| %s | %s |", t.query.name, t.class)
		for i := range modelSizes {
			fmt.Fprintf(&s, " %s / %s |", number(t.plain[i]), number(t.latchkey[i]))
		}
		s.WriteString("\n")
	}
	return s.String()
}

// putSection replaces what stands between the comments `<!-- name: begin -->` and `<!-- name: end -->` of a page.
func putSection(b *testing.B, path, name, text string) {
	b.Helper()
	page, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		b.Fatal(err)
	}
	begin, end := []byte("<!-- "+name+": begin -->\n"), []byte("<!-- "+name+": end -->\n")
	head, rest, ok := bytes.Cut(page, begin)
	_, tail, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		b.Fatalf("%s has no place for the figures", path)
	}
	if err := os.WriteFile(path, slices.Concat(head, begin, []byte(text), end, tail), 0o644); err != nil {
		b.Fatal(err)
	}
}
