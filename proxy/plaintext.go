package proxy

import (
	"errors"
	"sync"
	"time"

	"latchkey/keystore/cell"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// A column in the mixed state (policy `plaintext: accept`) holds plaintext beside cells while its rows are being converted.
// Plaintext needs no key to be read. It is never named in a statement: what is written is sealed, and what a condition asks of
// it is answered in the evaluator.

// plaintextOf gives the plaintext that a physical value of column is; false for a cell, and for everything where the column
// is not in the mixed state. Bytes that begin with the magic of a cell are plaintext only behind the mark.
func plaintextOf(column *rewrite.Protected, physical []byte) (old []byte, ok bool) {
	if !column.Plaintext {
		return nil, false
	}
	if old, ok := cell.Plain(physical); ok {
		return old, true
	}
	if len(physical) == 0 {
		return physical, !column.HasOnEmpty
	}
	return physical, !cell.IsCell(physical)
}

// canonicalOfPlaintext gives the canonical form of plaintext. The result is valid until the next call.
func (o *opener) canonicalOfPlaintext(column *rewrite.Protected, old []byte) ([]byte, error) {
	canonical, err := column.Type.Plaintext(o.canonical[:0], old)
	switch {
	case errors.Is(err, logical.ErrNotPlain):
		return nil, errNotPossible(column, "plaintext in a character set that is not converted here; convert the rows with `latchkey migrate`")
	case err != nil:
		return nil, errBadPlaintext(column)
	}
	o.canonical = canonical[:0]
	if o.plain == nil {
		o.plain = make(map[*rewrite.Protected]int)
	}
	o.plain[column]++
	if canonical == nil {
		canonical = []byte{} // nil is NULL
	}
	return canonical, nil
}

func errBadPlaintext(column *rewrite.Protected) *fault {
	return newFault(codeBadCell, "%s: a stored value is neither a cell nor plaintext of the declared type; see docs/errors.md", column)
}

// plaintextQuiet is how long nothing is said about plaintext in a column after it was warned about.
const plaintextQuiet = 10 * time.Minute

// plaintextWatch notes which columns plaintext was read from, for a warning now and then.
type plaintextWatch struct {
	mu      sync.Mutex
	columns map[string]*plaintextSeen
}

// plaintextSeen is what is known about one column.
type plaintextSeen struct {
	warned time.Time
	values int
}

// saw notes that so many values of a column were plaintext. It returns how many there were since the last warning when one is
// due, else 0.
func (w *plaintextWatch) saw(column string, values int, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.columns[column]
	if seen == nil {
		if w.columns == nil {
			w.columns = make(map[string]*plaintextSeen)
		}
		seen = &plaintextSeen{}
		w.columns[column] = seen
	}
	seen.values += values
	if !seen.warned.IsZero() && now.Sub(seen.warned) < plaintextQuiet {
		return 0
	}
	values, seen.values, seen.warned = seen.values, 0, now
	return values
}

// count adds what o has opened to the metrics, and warns of plaintext.
func (x *executor) count(o *opener) {
	m := x.server.metrics
	m.cellsOpened.Add(float64(o.opened))
	m.cellsFailed.Add(float64(o.failed))
	for column, values := range o.plain {
		m.cellsPlain.Add(float64(values))
		if n := x.env.plaintext.saw(column.String(), values, x.keys.now()); n > 0 {
			x.log.Warn("plaintext was read from a column that is being converted", "column", column.String(), "values", n)
		}
	}
	o.opened, o.failed, o.plain = 0, 0, nil
}
