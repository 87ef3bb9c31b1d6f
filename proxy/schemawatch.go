package proxy

import (
	"strings"
	"time"
)

// ddlWatch notices DDL of anybody between two readings of the schema. The counters Com_create_table and the like count
// statements of every kind (text, prepared, inside routines, replicated) when they start; a statement that runs for long
// changes the schema at its end. So after the counters moved, the statements that look like DDL are followed until they are
// gone. https://mariadb.com/kb/en/server-status-variables/
type ddlWatch struct {
	counters map[string]string
	// running are the QUERY_IDs of DDL in progress when it was last looked.
	running map[string]bool
	// blind: without PROCESS the account sees no statements of others.
	blind bool
}

// secondLooks gives the times at which a blind watch has the schema read again after the counters moved at now.
func secondLooks(now time.Time) []time.Time {
	var times []time.Time
	for pause := time.Second; pause < defaultSchemaReload; pause *= 2 {
		times = append(times, now.Add(pause))
	}
	return times
}

// newDDLWatch takes the counters of now.
func newDDLWatch(conn *schemaConn) (*ddlWatch, error) {
	w := &ddlWatch{}
	var err error
	if w.counters, err = ddlCounters(conn); err != nil {
		return nil, err
	}
	w.running, err = runningDDL(conn)
	return w, err
}

// countersMoved tells whether DDL was started since the watch was made.
func (w *ddlWatch) countersMoved(conn *schemaConn) (bool, error) {
	counters, err := ddlCounters(conn)
	if err != nil {
		return false, err
	}
	return !sameCounters(counters, w.counters), nil
}

// moved tells whether the schema may have changed since it was read.
func (w *ddlWatch) moved(conn *schemaConn) (bool, error) {
	moved, err := w.countersMoved(conn)
	if err != nil || moved {
		return moved, err
	}
	if len(w.running) == 0 {
		return false, nil
	}
	running, err := runningDDL(conn)
	if err != nil {
		return false, err
	}
	for id := range w.running {
		if !running[id] {
			return true, nil
		}
	}
	return false, nil
}

func sameCounters(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if b[name] != value {
			return false
		}
	}
	return true
}

// quietDDL are counters of statements that change no schema that other sessions see. Temporary tables belong to a session,
// and some applications create them all the time.
var quietDDL = []string{"_temporary_table", "_user", "_role", "_server"}

func ddlCounters(conn *schemaConn) (map[string]string, error) {
	counters := map[string]string{}
	err := conn.rows("SHOW GLOBAL STATUS WHERE Variable_name RLIKE '^Com_(alter|create|drop|rename)_'", func(row schemaRow) error {
		name := strings.ToLower(row.text(0))
		for _, quiet := range quietDDL {
			if strings.HasSuffix(name, quiet) {
				return nil
			}
		}
		counters[name] = row.text(1)
		return nil
	})
	return counters, err
}

// startsDDL matches the start of DDL, behind comments and SET STATEMENT.
const startsDDL = `(?is)^(\\s|/\\*.*?\\*/)*(set\\s+statement\\s.*?\\sfor\\s+)?(alter|create|drop|rename)\\b`

// runningDDL gives the statements of others in progress that look like DDL. Only their ids leave the server.
func runningDDL(conn *schemaConn) (map[string]bool, error) {
	running := map[string]bool{}
	err := conn.rows("SELECT QUERY_ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND"+
		" LEFT(INFO,1000) RLIKE '"+startsDDL+"'", func(row schemaRow) error {
		running[row.text(0)] = true
		return nil
	})
	return running, err
}
