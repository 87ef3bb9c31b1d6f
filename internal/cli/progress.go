package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"latchkey/proxy/migrate"
)

// progressWriter shows how far a conversion is: a bar on a terminal, a line now and then elsewhere.
type progressWriter struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	// table and began are of the job that is shown, shown is when that last was.
	job          string
	began, shown time.Time
	start        int64
	width        int
}

const (
	// barEvery is how often a bar is drawn, lineEvery how often a line is written.
	barEvery  = 200 * time.Millisecond
	lineEvery = 10 * time.Second
	barWidth  = 30
)

func newProgressWriter(w io.Writer) *progressWriter {
	return &progressWriter{w: w, terminal: isTerminal(w), now: time.Now}
}

// show shows how far a run is.
func (p *progressWriter) show(s migrate.Progress) {
	now := p.now()
	job := s.Act.String() + " " + s.Table
	if s.Owner != "" {
		job += " of one owner"
	}
	if p.job != job {
		p.job, p.began, p.shown, p.start = job, now, time.Time{}, s.Done
		if !p.terminal {
			p.shown = now
		}
	}
	every := lineEvery
	if p.terminal {
		every = barEvery
	}
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	text := progressText(job, s, s.Done-p.start, now.Sub(p.began))
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	filled := 0
	if s.Total > 0 {
		filled = int(s.Done * barWidth / s.Total)
	}
	text = "[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "] " + text
	fmt.Fprintf(p.w, "\r%-*s", p.width, text)
	p.width = len(text)
}

// end leaves the bar behind.
func (p *progressWriter) end() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
	}
	p.job, p.width = "", 0
}

// progressText says how far, how fast and for how long still.
func progressText(job string, s migrate.Progress, done int64, took time.Duration) string {
	percent := 100.0
	if s.Total > 0 {
		percent = float64(s.Done) * 100 / float64(s.Total)
	}
	text := fmt.Sprintf("%s: %d of %d rows, %.1f%%", oneLine(job), s.Done, s.Total, percent)
	if s.Waiting != "" {
		return text + ", waiting " + s.Waiting
	}
	if rate := float64(done) / took.Seconds(); took > 0 && rate > 0 {
		left := time.Duration(float64(s.Total-s.Done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %.0f rows/s, %s left", rate, left.Round(time.Second))
	}
	return text
}
