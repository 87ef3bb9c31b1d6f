package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/rewrite"
)

// Act is what a run does with rows.
type Act uint8

// The acts of a Job.
const (
	Encrypt Act = iota // plaintext becomes cells
	Decrypt            // cells become plaintext
	Rotate             // cells become those that would be sealed now
	Import             // what the application encrypted itself, in plaintext or in cells, becomes cells of what is in it
)

// String is the word of the command.
func (a Act) String() string {
	return [...]string{"encrypt", "decrypt", "rotate", "import"}[a]
}

// Job is the rows of one table, or those of one owner in it, and what to do with them.
type Job struct {
	Act       Act
	Migration *rewrite.Migration
	// Columns are those of the table's protected columns that the keys are for.
	Columns []*rewrite.Protected
	// Owner limits the job to the rows of one owner, when OfOwner is set.
	Owner   string
	OfOwner bool
}

// Result says what became of the rows of a job.
type Result struct {
	// Rows is how many were written, Values how many of their values.
	Rows, Values int64
	// Failed is how many values cannot be converted, Locked how many are under a key that is not here.
	Failed, Locked int64
	// Left is how many rows still hold what the job is about, counted at its end; -1 when that was not counted.
	Left int64
}

// add adds up what became of rows.
func (r *Result) add(o Result) {
	r.Rows += o.Rows
	r.Values += o.Values
	r.Failed += o.Failed
	r.Locked += o.Locked
}

// Progress says how far a run is.
type Progress struct {
	Act   Act
	Table string
	Owner string
	// Done and Total are rows; Total is what was counted at the beginning, and may be short of what there is.
	Done, Total int64
	// Waiting says why the run pauses; empty while it works.
	Waiting string
}

const (
	// maxPasses bounds how often a table is gone through: rows that others write in the clear meanwhile come up in the next one.
	maxPasses = 3
	// maxNamed bounds how many rows that cannot be converted are named.
	maxNamed = 20
	// maxTries bounds how often rows are tried that somebody else has locked, triesPause lies between.
	maxTries   = 20
	triesPause = 200 * time.Millisecond
	// connectFor is how long a server that went away is waited for, connectPause lies between attempts.
	connectFor   = 5 * time.Minute
	connectPause = 500 * time.Millisecond
)

// Run carries out a job. It returns when nothing is left to do, or what is left cannot be done; the error is then ErrLeft. Cut
// short at any point, it goes on where it was when it is run again. A connection that is lost is made again.
func (e *Engine) Run(ctx context.Context, job Job) (Result, error) {
	r := &run{e: e, job: job, throttle: throttle{e: e}, failed: make(map[string]bool)}
	for pass := 0; ; pass++ {
		if err := r.pass(ctx); err != nil {
			return r.result, err
		}
		left, err := r.count(ctx)
		if err != nil {
			return r.result, err
		}
		r.result.Left = left
		switch {
		case left <= int64(len(r.failed)) || job.Act == Rotate || job.Act == Import:
			if err := r.forgetDigests(ctx); err != nil {
				return r.result, err
			}
			if len(r.failed) > 0 {
				return r.result, ErrLeft
			}
			return r.result, nil
		case pass+1 >= maxPasses:
			return r.result, ErrLeft
		}
	}
}

// run is one job under way.
type run struct {
	e        *Engine
	job      Job
	throttle throttle
	result   Result
	total    int64
	// failed are the rows with values that cannot be converted, by key.
	failed map[string]bool
	saved  time.Time
}

// pass goes through the table once.
func (r *run) pass(ctx context.Context) error {
	total, err := r.count(ctx)
	if err != nil {
		return err
	}
	r.total = r.result.Rows + total
	r.report("")
	var at rowKey
	if err := r.again(ctx, func() (err error) {
		at, err = r.cursor(ctx)
		return err
	}); err != nil {
		return err
	}
	var busy []rowKey
	for {
		var some []rowKey
		var last rowKey
		if err := r.again(ctx, func() (err error) {
			some, last, err = r.window(ctx, at)
			return err
		}); err != nil {
			return err
		}
		if last == nil {
			break
		}
		for len(some) > 0 {
			n := min(len(some), r.e.config.Batch)
			left, err := r.batch(ctx, some[:n])
			if err != nil {
				return err
			}
			busy = append(busy, left...)
			some = some[n:]
		}
		at = last
		if err := r.save(ctx, at); err != nil {
			return err
		}
	}
	if err := r.retry(ctx, busy); err != nil {
		return err
	}
	return r.again(ctx, func() error { return r.dropCursor(ctx) })
}

// retry tries rows that others had locked.
func (r *run) retry(ctx context.Context, busy []rowKey) error {
	for try := 0; len(busy) > 0 && try < maxTries; try++ {
		r.report(fmt.Sprintf("for %d rows that are in use", len(busy)))
		if err := sleep(ctx, triesPause); err != nil {
			return err
		}
		var left []rowKey
		for len(busy) > 0 {
			n := min(len(busy), r.e.config.Batch)
			more, err := r.batch(ctx, busy[:n])
			if err != nil {
				return err
			}
			left, busy = append(left, more...), busy[n:]
		}
		// Rows that are gone, or hold nothing to convert any more, are not found again.
		var err error
		if err = r.again(ctx, func() error {
			busy, err = r.needed(ctx, left)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// again runs do, on a new connection when the one there was is lost, until the server has been away for too long.
func (r *run) again(ctx context.Context, do func() error) error {
	var since time.Time
	for {
		err := r.e.connect(ctx)
		if err == nil {
			err = do()
		}
		if err == nil || ctx.Err() != nil {
			return ctxError(ctx, err)
		}
		if !lost(err) || errors.Is(err, errImage) || errors.Is(err, errHere) {
			return err
		}
		r.e.Close()
		now := r.e.config.Now()
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) > connectFor {
			return err
		}
		r.report("for the server")
		if err := sleep(ctx, connectPause); err != nil {
			return err
		}
	}
}

// errHere marks errors that are not the connection's and not the server's.
var errHere = errors.New("internal error")

// batch converts rows in one transaction, again where it had to be rolled back. It gives those that others have locked.
func (r *run) batch(ctx context.Context, keys []rowKey) (busy []rowKey, err error) {
	var result Result
	tries := 0
	err = r.again(ctx, func() error {
		for {
			busy, result, err = r.transaction(ctx, keys)
			switch code(err) {
			case errDeadlock, errLockWait, errChanged:
				if tries++; tries < maxTries {
					continue
				}
				busy, err = keys, nil
			}
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	r.result.add(result)
	r.report("")
	return busy, r.again(ctx, func() error { return r.throttle.after(ctx, int(result.Rows)) })
}

// transaction reads rows under lock, converts and writes them.
func (r *run) transaction(ctx context.Context, keys []rowKey) (busy []rowKey, result Result, err error) {
	if r.job.Act != Decrypt {
		if err := r.e.keepsLog(); err != nil {
			return nil, result, err
		}
	}
	if err := r.e.exec(ctx, "START TRANSACTION"); err != nil {
		return nil, result, err
	}
	defer func() {
		if err != nil && r.e.conn != nil && !lost(err) {
			if back := r.e.exec(ctx, "ROLLBACK"); back != nil {
				err = back
			}
		}
	}()
	rows, err := r.locked(ctx, keys)
	if err != nil {
		return nil, result, err
	}
	defer wipeRows(rows)
	if err := r.convert(ctx, rows); err != nil {
		return nil, result, fmt.Errorf("%w: %w", errHere, err)
	}
	for _, text := range r.updates(rows, &result) {
		if err := r.e.execMany(ctx, text); err != nil {
			return nil, result, err
		}
	}
	if err := r.e.exec(ctx, "COMMIT"); err != nil {
		return nil, result, err
	}
	found := make(map[string]bool, len(rows))
	for _, row := range rows {
		found[row.key.id()] = true
		for _, v := range row.values {
			if v.Err != nil {
				r.noteFailure(row, v)
			}
		}
	}
	for _, key := range keys {
		if !found[key.id()] {
			busy = append(busy, key)
		}
	}
	return busy, result, nil
}

// noteFailure remembers a row that cannot be converted, and says so once.
func (r *run) noteFailure(row *row, v *Value) {
	if id := row.key.id(); !r.failed[id] {
		r.failed[id] = true
		if !errors.Is(v.Err, ErrLocked) && len(r.failed) <= maxNamed {
			r.e.log.Warn("a value cannot be converted", "column", v.Column.String(), "row", row.key.shown(r.job.Migration.Key), "error", v.Err)
		}
	}
}

// convert sets Fresh of the values that are to be replaced.
func (r *run) convert(ctx context.Context, rows []*row) error {
	var cells, clear []*Value
	for _, row := range rows {
		for _, v := range row.values {
			switch c := classOf(v.Column, v.Stored); {
			case (r.job.Act == Encrypt || r.job.Act == Import) && (c == classBare || c == classMarked):
				if v.read(); v.Err == nil && r.imported(v) {
					clear = append(clear, v)
				}
			case r.job.Act != Encrypt && c == classCell:
				cells = append(cells, v)
			}
		}
	}
	if len(cells) > 0 {
		if err := r.e.config.Keys.Open(ctx, cells); err != nil {
			return err
		}
	}
	for _, v := range cells {
		switch {
		case v.Err != nil:
		case r.job.Act == Decrypt:
			v.plain()
		case r.imported(v):
			clear = append(clear, v)
		}
	}
	if len(clear) == 0 {
		return nil
	}
	if err := r.e.config.Keys.Seal(ctx, clear); err != nil {
		return err
	}
	for _, v := range clear {
		if r.job.Act == Rotate && v.Err == nil && !stale(v) {
			v.Fresh = nil
		}
	}
	return nil
}

// imported puts what an application has encrypted in a value into its place. It tells whether the value is to be sealed: under
// Import only what was opened is.
func (r *run) imported(v *Value) bool {
	if r.job.Act != Import {
		return true
	}
	canonical, ok, err := r.e.config.Import(v)
	if v.Err = err; err != nil || !ok {
		return false
	}
	clear(v.Canonical)
	v.Canonical = canonical
	return true
}

// updates writes one UPDATE for each row that changes, and joins them to texts of moderate length.
func (r *run) updates(rows []*row, result *Result) []string {
	m := r.job.Migration
	var texts []string
	var b strings.Builder
	for _, row := range rows {
		first := true
		for _, v := range row.values {
			switch {
			case v.Err != nil && errors.Is(v.Err, ErrLocked):
				result.Locked++
			case v.Err != nil:
				result.Failed++
			case v.Fresh != nil:
				if first {
					b.WriteString("UPDATE " + m.Name + " SET ")
				} else {
					b.WriteByte(',')
				}
				first = false
				fmt.Fprintf(&b, "%s=x'%x'", quoteName(v.Column.Column), v.Fresh)
				result.Values++
			}
		}
		if first {
			continue
		}
		result.Rows++
		for _, name := range m.Kept {
			b.WriteString("," + name + "=" + name)
		}
		b.WriteString(" WHERE " + row.key.is(m.Key) + ";")
		if b.Len() > maxBatchBytes {
			texts = append(texts, b.String())
			b.Reset()
		}
	}
	if b.Len() > 0 {
		texts = append(texts, b.String())
	}
	return texts
}

// report tells how far the run is.
func (r *run) report(waiting string) {
	if r.e.config.Progress != nil {
		r.e.config.Progress(Progress{Act: r.job.Act, Table: r.job.Migration.Table.String(), Owner: r.job.Owner, Done: r.result.Rows, Total: max(r.total, r.result.Rows), Waiting: waiting})
	}
}

// ctxError gives the error of ctx once it has ended: what failed then failed because of it.
func ctxError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
