//go:build !race

package endtoend

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/keystore/cell"
)

// outcome is one line of the table: medians over the rounds, ratios of turns of the same round.
type outcome struct {
	workload                       *workload
	direct                         float64 // statements or units per second
	haproxy, latchkey, overHAProxy spread  // throughput ratios
	p95                            spread  // Latchkey's over HAProxy's
	haproxyCPU, latchkeyCPU        float64 // microseconds for each statement or unit
	cpuRatio                       spread
	overPass                       float64 // microseconds for each statement that sealing adds to Latchkey's passing
	passed                         bool
}

// spread is a median with the quartiles around it.
type spread struct{ low, middle, high float64 }

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.middle, s.low, s.high) }

func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}

// ratios compares two lanes round by round.
func ratios(over, under *lane, of func(turn) float64) spread {
	var v []float64
	for i := range over.turns {
		if d := of(under.turns[i]); d > 0 {
			v = append(v, of(over.turns[i])/d)
		}
	}
	if len(v) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{quantile(v, 0.25), median(v), quantile(v, 0.75)}
}

func middle(n *lane, of func(turn) float64) float64 {
	var v []float64
	for _, t := range n.turns {
		v = append(v, of(t))
	}
	return median(v)
}

func newOutcome(l *workload, lanes []*lane) outcome {
	rate := func(t turn) float64 { return t.rate }
	p95 := func(t turn) float64 { return t.p95.Seconds() }
	cpu := func(t turn) float64 { return t.cpu * 1e6 }
	direct, haproxy, latchkey := lanes[0], lanes[1], lanes[2]
	units := float64(max(l.units, 1))
	o := outcome{
		workload:    l,
		direct:      middle(direct, rate) * units,
		haproxy:     ratios(haproxy, direct, rate),
		latchkey:    ratios(latchkey, direct, rate),
		overHAProxy: ratios(latchkey, haproxy, rate),
		p95:         ratios(latchkey, haproxy, p95),
		haproxyCPU:  middle(haproxy, cpu) / units,
		latchkeyCPU: middle(latchkey, cpu) / units,
		cpuRatio:    ratios(latchkey, haproxy, cpu),
	}
	if len(lanes) > 3 {
		o.passed = true
		o.overPass = (middle(latchkey, cpu) - middle(lanes[3], cpu)) / units
	}
	return o
}

const tableHead = "| workload | threads | direct, per second | HAProxy / direct | Latchkey / direct | Latchkey / HAProxy | p95, Latchkey / HAProxy | CPU us, HAProxy | CPU us, Latchkey | CPU ratio | CPU us over passing |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|\n"

func (o outcome) line() string {
	over := ""
	if o.passed {
		over = number(o.overPass)
	}
	unit := ""
	if o.workload.unit != "" {
		unit = " " + o.workload.unit
	}
	return fmt.Sprintf("| %s | %d | %s%s | %.2f | %.2f | %v | %v | %s | %s | %v | %s |", o.workload.name, o.workload.threads, group(int(o.direct)), unit,
		o.haproxy.middle, o.latchkey.middle, o.overHAProxy, o.p95, number(o.haproxyCPU), number(o.latchkeyCPU), o.cpuRatio, over)
}

// number writes a figure with three digits that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// group writes an integer with commas between thousands.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// report is everything that was measured.
type report struct {
	conditions []string
	outcomes   []outcome
	sizes      [][3]string
	parts      int // how many parts of the benchmark are in it
}

// add notes a single figure and the one to hold.
func (r *report) add(what, got, hold string) { r.sizes = append(r.sizes, [3]string{what, got, hold}) }

func (r *report) String() string {
	var s strings.Builder
	for _, c := range r.conditions {
		fmt.Fprintf(&s, "%s.\n", c)
	}
	s.WriteString("\n" + tableHead)
	for _, o := range r.outcomes {
		s.WriteString(o.line() + "\n")
	}
	s.WriteString("\n| what | measured | to hold |\n|---|---|---|\n")
	for _, z := range r.sizes {
		fmt.Fprintf(&s, "| %s | %s | %s |\n", z[0], z[1], z[2])
	}
	return s.String()
}

// performancePage is where figures are published, between comments that name the section.
const performancePage = "performance.md"

// publish prints the report. With -update it puts a whole one into docs/performance.md.
func (r *report) publish(b *testing.B, whole bool) {
	b.Helper()
	publishSection(b, "measured", r.String(), whole)
}

// publishSection prints figures. With -update it puts them into their section of docs/performance.md, if they are whole.
func publishSection(b *testing.B, section, figures string, whole bool) {
	b.Helper()
	fmt.Fprintf(os.Stdout, "\n%s\n", figures)
	if !*update || !whole {
		return
	}
	begin, end := []byte("<!-- "+section+": begin -->\n"), []byte("<!-- "+section+": end -->\n")
	path := filepath.Join("..", "..", "docs", performancePage)
	page, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	head, rest, ok := bytes.Cut(page, begin)
	_, tail, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		b.Fatalf("%s has no place for the figures", path)
	}
	page = slices.Concat(head, begin, []byte(figures), end, tail)
	if err := os.WriteFile(path, page, 0o644); err != nil {
		b.Fatal(err)
	}
}

func goVersion() string {
	return fmt.Sprintf("%s, %s, %d processors (%s)", strings.Replace(runtime.Version(), "go", "Go ", 1), kernelName(), runtime.NumCPU(), processorName())
}

// cells measures sealing and opening alone.
func cells(b *testing.B, r *report) {
	b.Helper()
	plaintext := entryBody(nil, 1)
	key, err := cell.NewKey(bytes.Repeat([]byte{7}, 32), cell.KeyID{1, 2, 3, 4, 5, 6, 7, 8}, 0, "main", "entries.body")
	if err != nil {
		b.Fatal(err)
	}
	var sealed, opened []byte
	seal := best(func() { sealed = key.Seal(sealed[:0], cell.Params{Plaintext: plaintext}) })
	open := best(func() {
		if _, opened, err = key.Open(opened[:0], sealed, nil); err != nil {
			b.Fatal(err)
		}
	})
	r.add("seal a cell of 100 bytes", fmt.Sprintf("%.2f us", seal.Seconds()*1e6), "1.5 us")
	r.add("open a cell of 100 bytes", fmt.Sprintf("%.2f us", open.Seconds()*1e6), "1 us")
}

// best is what one call takes, by the best of several runs.
func best(call func()) time.Duration {
	const calls = 20_000
	least := time.Duration(math.MaxInt64)
	for range 15 {
		start := time.Now()
		for range calls {
			call()
		}
		least = min(least, time.Since(start)/calls)
	}
	return least
}
