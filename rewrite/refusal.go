package rewrite

import "fmt"

// Code is an error number of Latchkey's own, sent to the client as it is (DESIGN.md section 7; docs/errors.md).
type Code uint16

// The codes that planning can give.
const (
	CodeNotUnderstood Code = 9704 // statement refused: not understood
	CodeNotPossible   Code = 9705 // not possible on an encrypted column
	CodeDisagree      Code = 9714 // policy and annotation disagree
)

// Refusal is a typed no: nothing of the statement may reach the backend. Its text names the column or table, the reason
// and the next step, and never holds a literal of the statement.
type Refusal struct {
	Code Code
	// Column is `database.table.column` or `database.table`; empty when no single one is meant.
	Column string
	// Reason says why, in a few words, from a closed set of texts (it is used as a log field).
	Reason string
	// Hint says what to do instead; may be empty.
	Hint string
}

// Error implements error.
func (r *Refusal) Error() string {
	msg := "Latchkey: " + r.Reason
	if r.Column != "" {
		msg = fmt.Sprintf("Latchkey: %s: %s", r.Column, r.Reason)
	}
	if r.Hint != "" {
		msg += "; " + r.Hint
	}
	return msg
}
