package migrate

import (
	"errors"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// stoppedLag is what a replica counts as that does not say how far it is behind, because it is stopped or cannot connect.
const stoppedLag = 24 * time.Hour

// ReplicaLag reads the result of SHOW ALL SLAVES STATUS: how far the server is behind the furthest of those that it follows. One
// that follows nobody is not behind. https://mariadb.com/kb/en/show-replica-status/
func ReplicaLag(r *mysql.Result) (time.Duration, error) {
	if r.Resultset == nil || len(r.Values) == 0 {
		return 0, nil
	}
	at, ok := r.FieldNames["Seconds_Behind_Master"]
	if !ok {
		return 0, errors.New("the server does not say how far it is behind")
	}
	var most time.Duration
	for _, row := range r.Values {
		lag := stoppedLag
		if row[at].Type != mysql.FieldValueTypeNull {
			lag = time.Duration(row[at].AsInt64()) * time.Second
			if row[at].Type == mysql.FieldValueTypeUnsigned {
				lag = time.Duration(row[at].AsUint64()) * time.Second
			}
		}
		most = max(most, lag)
	}
	return most, nil
}
