package logical

import (
	"errors"
	"fmt"
)

// ErrNotPlain says that the value's conversion is not certain here: MariaDB would round, cut, warn, or apply rules that this
// package does not reproduce. The caller refuses the statement (9705) or lets the evaluator convert the value.
var ErrNotPlain = errors.New("the value's conversion to the declared type is not plain")

// errCorrupt is returned for canonical text that no version of this package writes for the type.
var errCorrupt = errors.New("the stored value is not canonical text of the declared type")

// ValueError is a refusal that MariaDB itself gives in strict mode. It never holds the value.
type ValueError struct {
	Code     uint16 // MariaDB's error number, e.g. 1406
	SQLState string // five characters, e.g. 22001
	Reason   string // what is wrong, without the value and without the column's name
}

// Error gives the code and the reason.
func (e *ValueError) Error() string {
	return fmt.Sprintf("%d (%s): %s", e.Code, e.SQLState, e.Reason)
}

// The refusals of https://mariadb.com/kb/en/mariadb-error-code-reference/ that a stored value can meet.
var (
	errTooLong    = &ValueError{1406, "22001", "data too long for the column"}
	errOutOfRange = &ValueError{1264, "22003", "value out of range for the column"}
	errIncorrect  = &ValueError{1366, "22007", "incorrect value for the column's type"}
	errTemporal   = &ValueError{1292, "22007", "incorrect date or time value"}
	errTruncated  = &ValueError{1265, "01000", "data truncated: not a member of the column's list"}
	errCheck      = &ValueError{4025, "23000", "the value is not valid JSON, which the column's constraint demands"}
)
