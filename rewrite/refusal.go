package rewrite

import "fmt"

// Code is an error number: Latchkey's own (9701 to 9714, docs/errors.md), or MariaDB's where the meaning is MariaDB's.
type Code uint16

// The codes that planning can give.
const (
	CodeNotUnderstood Code = 9704 // statement refused: not understood
	CodeNotPossible   Code = 9705 // not possible on an encrypted column
	CodeDisagree      Code = 9714 // policy and annotation disagree
	CodeValueCount    Code = 1136 // ER_WRONG_VALUE_COUNT_ON_ROW
	CodeBadDefault    Code = 1067 // ER_INVALID_DEFAULT
	CodeKeyPrefix     Code = 1089 // ER_WRONG_SUB_KEY
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
