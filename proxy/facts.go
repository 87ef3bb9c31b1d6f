package proxy

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// facts is what a session knows about its backend connection that decides how statements read and how values convert.
type facts struct {
	rewrite.Facts
	// conv is the part that decides how values convert.
	conv logical.Session
	// stale says that everything but the current database may be other than recorded here, staleDatabase that the current
	// database may be.
	stale, staleDatabase bool
	// version grows whenever something here changes.
	version uint64
	// modeText is sql_mode as the server prints it. zone is time_zone, empty where it is SYSTEM and that is not UTC.
	modeText, zone string
	// maxPacket is the backend's max_allowed_packet in bytes, 0 before it is known.
	maxPacket int
}

// newFacts gives the facts of a session that has just logged in: everything but the database has still to be read. What is
// assumed until then only has to be good for text that reads the same under all facts.
func newFacts(database string, serverVersion int, multiStatements bool) facts {
	f := facts{stale: true}
	f.Database = database
	f.Charset = rewrite.CharsetUTF8MB4
	f.ServerVersion = serverVersion
	f.MultiStatements = multiStatements
	return f
}

// markStale says that the next statement whose meaning depends on the facts has to read them first.
func (f *facts) markStale(database bool) {
	f.stale = true
	f.staleDatabase = f.staleDatabase || database
	f.version++
}

// setDatabase records the current database as the server reported it.
func (f *facts) setDatabase(name string) {
	if f.Database != name {
		f.Database = name
		f.version++
	}
}

// sawStatus takes the two modes that every OK and EOF packet carries.
func (f *facts) sawStatus(status wire.StatusFlags) {
	if f.stale {
		return
	}
	if f.Mode.Has(rewrite.NoBackslashEscapes) != status.Has(wire.StatusNoBackslashEscapes) ||
		f.Mode.Has(rewrite.ANSIQuotes) != status.Has(wire.StatusANSIQuotes) {
		f.markStale(false)
	}
	if status.Has(wire.StatusDBDropped) {
		f.setDatabase("")
	}
}

// factsQuery reads the facts. It names no table, so the warnings of the statement before it stay; what it does to
// FOUND_ROWS() and ROW_COUNT() it says itself. Strings are binary, or they would come in character_set_results; the one
// that is not shows in its definition under which collation text comes.
const factsQuery = "SELECT @@sql_mode,CAST(@@sql_mode AS BINARY),CAST(@@character_set_client AS BINARY)," +
	"CAST(@@character_set_connection AS BINARY),CAST(@@character_set_results AS BINARY),CAST(@@time_zone AS BINARY)," +
	"CAST(@@system_time_zone AS BINARY),CAST(DATABASE() AS BINARY),@@max_allowed_packet,FOUND_ROWS(),ROW_COUNT()"

// The columns of factsQuery.
const (
	factCollation = iota
	factMode
	factClient
	factConnection
	factResults
	factTimeZone
	factSystemZone
	factDatabase
	factMaxPacket
	factFoundRows
	factRowCount
	factCount
)

// refresh reads the facts on the client's backend connection.
func (x *executor) refresh() error {
	var row [factCount][]byte
	rows := 0
	var collation uint16
	err := x.side([]byte(factsQuery), func(i int, d *wire.Column) {
		if i == factCollation {
			collation = d.Charset
		}
	}, func(values [][]byte) error {
		if len(values) != factCount {
			return errOrigin
		}
		for i, v := range values {
			row[i] = bytes.Clone(v)
		}
		rows++
		return nil
	})
	if err == nil && rows != 1 {
		err = errOrigin
	}
	if err != nil {
		return err
	}
	x.facts.take(&row, collation)
	x.database = x.facts.Database
	x.diagnostics.disturbed(row[factFoundRows], row[factRowCount])
	return nil
}

// take records what factsQuery returned.
func (f *facts) take(row *[factCount][]byte, collation uint16) {
	f.modeText, f.zone = string(row[factMode]), zoneName(string(row[factTimeZone]), string(row[factSystemZone]))
	mode, known := rewrite.ParseSQLMode(f.modeText)
	f.Mode = mode
	f.Charset = rewrite.ParseCharset(string(row[factClient]))
	if !known {
		// A mode that is not known here may change how text reads.
		f.Charset = rewrite.CharsetUnsupported
	}
	f.Database = string(row[factDatabase])
	if n, err := strconv.Atoi(string(row[factMaxPacket])); err == nil {
		f.maxPacket = n
	}
	f.conv = logical.Session{
		ClientCharset:       string(row[factClient]),
		ConnectionCharset:   string(row[factConnection]),
		ResultsCharset:      string(row[factResults]),
		ResultsCollation:    collation,
		TimeZone:            location(string(row[factTimeZone]), string(row[factSystemZone])),
		Strict:              mode&rewrite.Strict != 0,
		NoZeroDate:          mode.Has(rewrite.NoZeroDate),
		NoZeroInDate:        mode.Has(rewrite.NoZeroInDate),
		AllowInvalidDates:   mode.Has(rewrite.AllowInvalidDates),
		PadCharToFullLength: mode.Has(rewrite.PadCharToFullLength),
		TimeRoundFractional: mode.Has(rewrite.TimeRoundFractional),
	}
	f.TimeZone = f.conv.TimeZone
	f.stale, f.staleDatabase = false, false
	f.version++
}

// zoneName gives the name under which another server knows the time zone; empty when that is not certain.
func zoneName(name, system string) string {
	switch {
	case !strings.EqualFold(name, "SYSTEM"):
		return name
	case location(name, system) != nil:
		return "+00:00"
	}
	return ""
}

// location finds the time zone that the server means; nil when that is not certain. A server that runs in its host's zone
// names it by an abbreviation, of which only UTC means one thing.
func location(name, system string) *time.Location {
	if strings.EqualFold(name, "SYSTEM") {
		switch strings.ToUpper(system) {
		case "UTC", "UCT", "GMT", "ZULU":
			return time.UTC
		}
		return nil
	}
	if offset, ok := zoneOffset(name); ok {
		return time.FixedZone(name, offset)
	}
	if strings.EqualFold(name, "UTC") {
		return time.UTC
	}
	zone, err := time.LoadLocation(name)
	if err != nil || zone == time.Local {
		return nil
	}
	return zone
}

// zoneOffset reads +02:00 as seconds. https://mariadb.com/kb/en/time-zones/
func zoneOffset(name string) (seconds int, ok bool) {
	if len(name) < 2 || name[0] != '+' && name[0] != '-' {
		return 0, false
	}
	hours, minutes, found := strings.Cut(name[1:], ":")
	h, err := strconv.Atoi(hours)
	if err != nil || !found || h < 0 || h > 14 {
		return 0, false
	}
	m, err := strconv.Atoi(minutes)
	if err != nil || m < 0 || m > 59 {
		return 0, false
	}
	seconds = h*3600 + m*60
	if name[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// diagnostics keeps what FOUND_ROWS() would answer had the proxy sent nothing of its own.
type diagnostics struct {
	// saved says that the backend's answer is the one of a side query and that foundRows is the right one.
	saved     bool
	foundRows uint64
	// rowCount is the right answer of ROW_COUNT() until the next statement; sideRan says that a side query has run since.
	rowCount int64
	sideRan  bool
}

// disturbed records what a side query read before it changed it.
func (d *diagnostics) disturbed(foundRows, rowCount []byte) {
	if !d.sideRan {
		d.rowCount, _ = strconv.ParseInt(string(rowCount), 10, 64)
		d.sideRan = true
	}
	if !d.saved {
		d.foundRows, _ = strconv.ParseUint(string(foundRows), 10, 64)
		d.saved = true
	}
}

// answered records what FOUND_ROWS() is after a statement that the evaluator has answered.
func (d *diagnostics) answered(foundRows uint64) {
	d.saved, d.foundRows = true, foundRows
	d.sideRan, d.rowCount = true, -1
}

// ran is told of every statement of the client that went to the backend. Those that set FOUND_ROWS() themselves make the
// backend's answer the right one again.
func (d *diagnostics) ran(st *rewrite.Statement, kind string) {
	d.sideRan = false
	if d.saved && !keepsFoundRows(st, kind) {
		d.saved = false
	}
}

// keepsFoundRows tells whether a statement leaves FOUND_ROWS() alone.
func keepsFoundRows(st *rewrite.Statement, kind string) bool {
	switch kind {
	case "GRANT", "REVOKE":
		return true
	case "SHOW":
		return st.Is(1, rewrite.KwWarnings) || st.Is(1, rewrite.KwErrors) || st.Is(1, rewrite.KwCreate)
	case "ANALYZE":
		return st.Is(1, rewrite.KwTable)
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "SET", "DO", "COMMIT", "ROLLBACK", "START", "BEGIN", "SAVEPOINT", "RELEASE", "USE",
		"XA", "LOCK", "UNLOCK", "FLUSH", "KILL", "GET", "PREPARE", "DEALLOCATE", "CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE",
		"OPTIMIZE", "CHECK", "CHECKSUM", "REPAIR", "HANDLER", "RESET", "HELP":
		return !namesWord(st, "SELECT")
	}
	return false
}

// namesWord tells whether a word stands in the statement outside quotes.
func namesWord(st *rewrite.Statement, word string) bool {
	for i := range st.Tokens() {
		if st.Token(i).Kind == rewrite.TokWord && len(st.Text(i)) == len(word) && strings.EqualFold(string(st.Text(i)), word) {
			return true
		}
	}
	return false
}

// maxRestoredRows bounds the work of restoring FOUND_ROWS(): the server counts a sequence row by row.
const maxRestoredRows = 1 << 20

// restoreDiagnostics makes the backend answer FOUND_ROWS() and ROW_COUNT() as if no side query had run, when the statement
// asks for them. Where that is impossible the statement is refused.
func (x *executor) restoreDiagnostics(st *rewrite.Statement) error {
	d := &x.diagnostics
	if !d.saved && !d.sideRan {
		return nil
	}
	asksRows, asksCount := d.saved && namesWord(st, "FOUND_ROWS"), d.sideRan && namesWord(st, "ROW_COUNT")
	switch {
	case !asksRows && !asksCount:
		return nil
	case asksRows && namesWord(st, "ROW_COUNT"), asksCount && d.rowCount > 0:
		return newFault(codeNotPossible, "FOUND_ROWS() and ROW_COUNT() cannot be answered here; ask for them in statements of their own, before any other")
	case asksCount:
		if d.rowCount == 0 {
			return x.sideExec([]byte("DO 0"))
		}
		return nil
	}
	restore, ok := foundRowsQuery(d.foundRows, x.facts.Database)
	if !ok {
		return newFault(codeNotPossible, "FOUND_ROWS() cannot be answered here; ask for it before any other statement")
	}
	if err := x.sideExec([]byte(restore)); err != nil {
		return newFault(codeNotPossible, "FOUND_ROWS() cannot be answered here; ask for it before any other statement")
	}
	d.saved = false
	return nil
}

// foundRowsQuery is a statement after which FOUND_ROWS() is n.
func foundRowsQuery(n uint64, database string) (string, bool) {
	switch {
	case n == 0:
		return "SELECT 1 FROM DUAL LIMIT 0", true
	case n == 1:
		return "SELECT 1", true
	case n > maxRestoredRows || database == "":
		return "", false
	}
	quoted := "`" + strings.ReplaceAll(database, "`", "``") + "`"
	return "SELECT SQL_CALC_FOUND_ROWS 1 FROM " + quoted + ".seq_1_to_" + strconv.FormatUint(n, 10) + " LIMIT 0", true
}
