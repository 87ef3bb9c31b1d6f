package proxy

import (
	"errors"
	"fmt"

	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// Latchkey's own error numbers that carrying out a plan can give; those of planning are rewrite's. docs/errors.md has
// the fix for each.
const (
	codeNoKey           uint16 = 9701 // no key on this connection
	codeLocked          uint16 = 9702 // cell sealed under a key that is not here
	codeBadCell         uint16 = 9703 // cell failed authentication
	codeNotUnderstood          = uint16(rewrite.CodeNotUnderstood)
	codeNotPossible            = uint16(rewrite.CodeNotPossible)
	codeMalformedKey    uint16 = 9706 // malformed key
	codeUnlockFailed    uint16 = 9707 // unlock failed
	codeTokenGone       uint16 = 9708 // token expired or revoked
	codeTooManyAttempts uint16 = 9709 // too many attempts
	codeEvaluator       uint16 = 9710 // evaluator unavailable
	codeTooLarge        uint16 = 9711 // result too large to finish in the evaluator
	codeInsecurePush    uint16 = 9712 // key push on an insecure connection
	codeMayNot          uint16 = 9713 // this login may not call that procedure
	codeOwnerState      uint16 = 9715 // not possible for this owner as it is
	codeDataTooLong     uint16 = 1406 // ER_DATA_TOO_LONG
	codeConstraint      uint16 = 4025 // ER_CONSTRAINT_FAILED
	codeNoCast          uint16 = 4078 // ER_ILLEGAL_PARAMETER_DATA_TYPES2_FOR_OPERATION, known before any row is looked at
	codeOutOfRange      uint16 = 1690 // ER_DATA_OUT_OF_RANGE
	codePacketTooLarge  uint16 = 1153 // ER_NET_PACKET_TOO_LARGE
)

// fault is an error with the number, SQLSTATE and text that the client gets. Its text never holds a value of the
// statement, a cell or a key.
type fault struct {
	code    uint16
	state   string
	message string
	// about are all diagnoses of the statement, the error among them, where it is not the only one.
	about ownWarnings
}

// Error implements error.
func (f *fault) Error() string { return f.message }

// aboutError gives all diagnoses of the statement that ended with err, where it is not the only one.
func aboutError(err error) ownWarnings {
	var f *fault
	if errors.As(err, &f) {
		return f.about
	}
	return ownWarnings{}
}

// newFault makes a fault with a number of Latchkey's own; its SQLSTATE follows from the number.
func newFault(code uint16, format string, args ...any) *fault {
	return &fault{code: code, state: ownState(code), message: "Latchkey: " + fmt.Sprintf(format, args...)}
}

// ownState gives the SQLSTATE of a number of Latchkey's own: LK001 for 9701 and so on.
func ownState(code uint16) string { return fmt.Sprintf("LK%03d", code-9700) }

func errNoKey(column *rewrite.Protected) *fault {
	return newFault(codeNoKey, "%s: there is no key on this connection; push one with SET @latchkey", column)
}

func errRevoked(column *rewrite.Protected) *fault {
	return newFault(codeTokenGone, "%s: the key on this connection is gone, because its token expired or was revoked; unlock again", column)
}

func errNoServiceKey(column *rewrite.Protected) *fault {
	return newFault(codeNoKey, "%s: the service key %s is not loaded; name its file under keystore.service_keys", column, column.ServiceKey)
}

func errLocked(column *rewrite.Protected) *fault {
	return newFault(codeLocked, "%s: a cell is sealed under a key that is not on this connection", column)
}

func errOverwrite(column *rewrite.Protected) *fault {
	return newFault(codeLocked, "%s: the statement would overwrite a cell sealed under a key that is not on this connection; "+
		"nothing was changed; push that key, or set overwrite: allow", column)
}

func errBadCell(column *rewrite.Protected) *fault {
	return newFault(codeBadCell, "%s: a stored value is not a cell of this column or was altered; see docs/errors.md", column)
}

// isBadCell reports whether err says that a cell is damaged or forged.
func isBadCell(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.code == codeBadCell
}

func errNotPossible(column *rewrite.Protected, reason string) *fault {
	return newFault(codeNotPossible, "%s: %s", column, reason)
}

// errTooWide is MariaDB's own error for a value that does not fit. It is given in every sql_mode: a cell cut short would
// be lost.
func errTooWide(column *rewrite.Protected) *fault {
	return &fault{code: codeDataTooLong, state: "22001", message: fmt.Sprintf("Data too long for column '%s'", column.Column)}
}

// errConversion turns what logical says about a value into what the client gets.
func errConversion(column *rewrite.Protected, err error) *fault {
	var value *logical.ValueError
	switch {
	case errors.As(err, &value):
		return &fault{code: value.Code, state: value.SQLState, message: fmt.Sprintf("Column '%s': %s", column.Column, value.Reason)}
	case errors.Is(err, logical.ErrNotPlain):
		return errNotPossible(column, "the value's conversion to the declared type, or its weight under the column's collation, is not certain; "+
			"write it in that type, and keep text in searchable columns ASCII or give them a _bin collation")
	}
	return errNotPossible(column, "the value cannot be converted to the column's declared type")
}
