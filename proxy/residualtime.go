package proxy

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// defaultMaxTime is how long a statement may take that the evaluator finishes.
const defaultMaxTime = 5 * time.Minute

// codeStatementTimeout is ER_STATEMENT_TIMEOUT.
const codeStatementTimeout uint16 = 1969

// errStatementTimeout is MariaDB's answer to a statement that takes longer than the session's max_statement_time.
var errStatementTimeout = &fault{code: codeStatementTimeout, state: "70100", message: "Query execution was interrupted (max_statement_time exceeded)"}

// deadline is the end of the time that a statement may take, from its beginning to the end of its answer: that of the
// configuration or the session's own, whichever comes first.
type deadline struct {
	cancel context.CancelCauseFunc
	began  time.Time
	// at is when the time is over, and over what the client is told then; nil while there is no limit.
	at    time.Time
	over  *fault
	timer *time.Timer
}

// begin starts the clock. longest is evaluator.max_time; 0 means its default.
func (d *deadline) begin(cancel context.CancelCauseFunc, longest time.Duration) {
	d.cancel, d.began = cancel, time.Now()
	setDefault(&longest, defaultMaxTime)
	d.limit(longest, newFault(codeTooLarge, "the statement takes longer than %s, the limit of evaluator.max_time; "+
		"narrow it with a condition on a column that is not protected, such as owner or date", longest))
}

// limit ends the statement, with over, when it takes longer than this; 0 or less is no limit.
func (d *deadline) limit(longest time.Duration, over *fault) {
	at := d.began.Add(longest)
	if longest <= 0 || d.over != nil && d.at.Before(at) {
		return
	}
	d.end()
	d.at, d.over = at, over
	d.timer = time.AfterFunc(time.Until(at), func() { d.cancel(over) })
}

// end stops the clock.
func (d *deadline) end() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// appendSetting appends the setting under which the backend ends a fetch when the time is over.
func (d *deadline) appendSetting(dst []byte) []byte {
	if d.over == nil {
		return dst
	}
	left := max(time.Until(d.at), time.Millisecond)
	return strconv.AppendFloat(append(dst, ",max_statement_time="...), left.Seconds(), 'f', 3, 64)
}

// present gives the error for a fetch that the backend has ended because the time was over.
func (d *deadline) present(err error) error {
	var backend *backendError
	if errors.As(err, &backend) && backend.Code == codeStatementTimeout && d.over != nil {
		return d.over
	}
	return err
}
