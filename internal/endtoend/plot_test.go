//go:build !race

package endtoend

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
)

// plot is a picture of many panels, one for each query, with the same two axes: rows, and milliseconds, both logarithmic.
type plot struct {
	title, description string
	// sizes are the places on the axis of rows, in rising order.
	sizes  []int
	panels []panel
}

// panel is one query: the medians in milliseconds, for each size, of the server itself and of Latchkey.
type panel struct {
	name            string
	plain, latchkey []float64
}

// Sizes of the picture in its own units, which are pixels at its natural size.
const (
	panelColumns = 3
	panelWidth   = 320
	panelHeight  = 230
	panelLeft    = 52 // room for the axis of time
	panelRight   = 92 // room for the names of the curves
	panelTop     = 30 // room for the name of the query
	panelBottom  = 44 // room for the axis of rows
	plotHead     = 76 // room for title and legend
)

// svg draws the plot. The curves differ in colour, in line and in marks, and each is named at its end.
func (p *plot) svg() string {
	lines := (len(p.panels) + panelColumns - 1) / panelColumns
	width, height := panelColumns*panelWidth, plotHead+lines*panelHeight
	low, high := p.decades()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title description" font-family="sans-serif" font-size="12" fill="#222">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"description\">%s</desc>\n", escape(p.title), escape(p.description))
	b.WriteString("<style>.plain{stroke:#a34700;fill:#a34700}.latchkey{stroke:#00558c;fill:#00558c}.line{fill:none;stroke-width:2}.plain.line{stroke-dasharray:6 4}" +
		".name{stroke:none}.grid{stroke:#d9d9d9}.axis{stroke:#555}</style>\n")
	fmt.Fprintf(&b, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"16\" y=\"26\" font-size=\"18\" font-weight=\"bold\">%s</text>\n", width, height, escape(p.title))
	b.WriteString(`<path class="latchkey line" d="M16 50h40"/><circle class="latchkey" cx="36" cy="50" r="4"/><text x="64" y="54">Latchkey, sealed columns</text>` + "\n" +
		`<path class="plain line" d="M256 50h40"/><rect class="plain" x="272" y="46" width="8" height="8"/><text x="304" y="54">MariaDB, the same rows in plaintext</text>` + "\n")
	for i, q := range p.panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n", i%panelColumns*panelWidth, plotHead+i/panelColumns*panelHeight)
		p.panel(&b, q, low, high)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// decades gives the powers of ten, of a millisecond, between which all values lie.
func (p *plot) decades() (low, high int) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, q := range p.panels {
		for i := range p.sizes {
			least, most = min(least, q.plain[i], q.latchkey[i]), max(most, q.plain[i], q.latchkey[i])
		}
	}
	return int(math.Floor(math.Log10(least))), int(math.Ceil(math.Log10(most)))
}

// panel draws one query into the corner of the coordinates.
func (p *plot) panel(b *strings.Builder, q panel, low, high int) {
	right, bottom := float64(panelWidth-panelRight), float64(panelHeight-panelBottom)
	first, last := math.Log10(float64(p.sizes[0])), math.Log10(float64(p.sizes[len(p.sizes)-1]))
	x := func(rows int) float64 {
		return panelLeft + (math.Log10(float64(rows))-first)/(last-first)*(right-panelLeft)
	}
	y := func(ms float64) float64 {
		return bottom - (math.Log10(ms)-float64(low))/float64(high-low)*(bottom-panelTop)
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"18\" font-size=\"14\" font-weight=\"bold\">%s</text>\n", panelLeft, escape(q.name))
	for decade := low; decade <= high; decade++ {
		at := y(math.Pow10(decade))
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%d %.1fH%.0f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			panelLeft, at, right, panelLeft-6, at+4, duration(math.Pow10(decade)))
	}
	for _, rows := range p.sizes {
		fmt.Fprintf(b, "<path class=\"axis\" d=\"M%.1f %.0fv5\"/>", x(rows), bottom)
		// Every second place has its number, so that they do not touch.
		if places := strconv.Itoa(rows); places[0] == '1' {
			fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>", x(rows), bottom+18, group(rows))
		}
	}
	fmt.Fprintf(b, "\n<path class=\"axis\" d=\"M%d %.0fH%.0f\"/><text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">rows of the owner</text>\n",
		panelLeft, bottom, right, (panelLeft+right)/2, bottom+34)
	// The names stand beside the ends, and apart from each other.
	above, below := y(q.latchkey[len(p.sizes)-1])+4, y(q.plain[len(p.sizes)-1])+4
	if gap := 28 - math.Abs(below-above); gap > 0 {
		sign := 1.0
		if above > below {
			sign = -1
		}
		above, below = above-sign*gap/2, below+sign*gap/2
		if lowest := bottom + 4; max(above, below)+14 > lowest {
			shift := max(above, below) + 14 - lowest
			above, below = above-shift, below-shift
		}
	}
	p.curve(b, "latchkey", "Latchkey", q.latchkey, x, y, right+10, above)
	p.curve(b, "plain", "MariaDB", q.plain, x, y, right+10, below)
}

// curve draws one line with its marks, and its name and last value at a place.
func (p *plot) curve(b *strings.Builder, class, name string, values []float64, x func(int) float64, y func(float64) float64, nameX, nameY float64) {
	var line, marks strings.Builder
	for i, rows := range p.sizes {
		command := 'L'
		if i == 0 {
			command = 'M'
		}
		fmt.Fprintf(&line, "%c%.1f %.1f", command, x(rows), y(values[i]))
		if class == "plain" {
			fmt.Fprintf(&marks, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"6\" height=\"6\"/>", class, x(rows)-3, y(values[i])-3)
		} else {
			fmt.Fprintf(&marks, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", class, x(rows), y(values[i]))
		}
	}
	fmt.Fprintf(b, "<path class=\"%s line\" d=\"%s\"/>%s\n", class, line.String(), marks.String())
	fmt.Fprintf(b, "<text class=\"%s name\" x=\"%.1f\" y=\"%.1f\" font-weight=\"bold\">%s<tspan x=\"%.1f\" dy=\"14\" font-weight=\"normal\">%s</tspan></text>\n",
		class, nameX, nameY, name, nameX, duration(values[len(values)-1]))
}

// duration writes milliseconds with two digits that count, in the unit that suits.
func duration(ms float64) string {
	digits := func(v float64) string {
		if v >= 10 {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	if ms >= 999.5 {
		return digits(ms/1000) + " s"
	}
	return digits(ms) + " ms"
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// readPlot checks that a picture is XML and gives all of its text, and its elements by name.
func readPlot(t *testing.T, picture string) (text string, elements map[string]int) {
	t.Helper()
	var all strings.Builder
	elements = make(map[string]int)
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String(), elements
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			all.WriteString(string(token) + "\n")
		}
	}
}

func TestPlot(t *testing.T) {
	p := plot{title: "A & B", description: "two queries", sizes: []int{1000, 3000, 10_000}, panels: []panel{
		{"first", []float64{0.5, 2, 3}, []float64{2, 20, 2000}},
		{"second", []float64{1, 1, 1}, []float64{1, 1, 1}},
	}}
	picture := p.svg()
	text, elements := readPlot(t, picture)
	for what, want := range map[string]int{
		"A & B": 2, "two queries": 1, "first": 1, "second": 1, "Latchkey": 3, "MariaDB": 3, "2 s": 1, "3 ms": 1, "1,000": 2, "10,000": 2, "rows of the owner": 2,
		"0.1 ms": 2, "10 s": 2,
	} {
		got := strings.Count("\n"+text, "\n"+what+"\n") + strings.Count("\n"+text, "\n"+what+",")
		if got != want {
			t.Errorf("the picture says %q %d times, want %d:\n%s", what, got, want, text)
		}
	}
	// Of each curve a line and its marks: three in each of two panels, and one in the legend.
	if elements["circle"] != 7 || strings.Count(picture, `<rect class="plain"`) != 7 || strings.Count(picture, ` line" d=`) != 6 {
		t.Errorf("the picture has %d circles, want 7, in\n%s", elements["circle"], picture)
	}
	if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
		t.Error("a coordinate is no number")
	}
}

// TestPlotsAreOfTheQueries holds the committed pictures against queries.sql.
func TestPlotsAreOfTheQueries(t *testing.T) {
	for i := range models {
		m := &models[i]
		text, _ := readPlot(t, readText(t, m.path(plotFile)))
		for _, q := range m.queries(t) {
			if !strings.Contains(text, "\n"+q.name+"\n") {
				t.Errorf("%s has no panel %q: make bench PART=models UPDATE=1", m.path(plotFile), q.name)
			}
		}
	}
}
