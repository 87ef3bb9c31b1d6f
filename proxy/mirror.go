package proxy

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
)

// mirror is what the evaluator's session takes over from the client's: whatever decides what a query answers.
type mirror struct {
	// statement sets all of it but time zone and database.
	statement string
	// zone is the time zone, empty where another server does not know it for certain.
	zone, database string
	// now is @@timestamp: what NOW() says to the statement.
	now string
	// isolation is the transaction isolation level.
	isolation string
	// maxTime is max_statement_time; 0 is no limit.
	maxTime time.Duration
}

// mirroredVariable is a session variable that a query's answer depends on.
type mirroredVariable struct {
	name string
	// text says that its value is text.
	text bool
}

// mirroredVariables are all of them but time zone and clock. Those of which each use changes what follows, RAND()'s seeds,
// cannot be taken over. https://mariadb.com/kb/en/server-system-variables/
var mirroredVariables = []mirroredVariable{
	{"sql_mode", true}, {"character_set_client", true}, {"character_set_results", true}, {"collation_connection", true},
	{"lc_time_names", true}, {"old_mode", true}, {"default_week_format", false}, {"div_precision_increment", false},
	{"group_concat_max_len", false}, {"max_sort_length", false}, {"sql_select_limit", false}, {"last_insert_id", false},
	{"sql_auto_is_null", false}, {"max_recursive_iterations", false},
	{"check_constraint_checks", false}, {"sql_safe_updates", false},
}

// Further columns of the mirror's query, behind the variables.
const (
	mirrorNow = iota
	mirrorIsolation
	mirrorMaxTime
	mirrorFoundRows
	mirrorRowCount
	mirrorMore // user variables: value, collation, and the variable itself for its type
)

// mirrorQuery reads a session's mirror and user variables. It names no table, so it leaves the warnings alone. Text is binary,
// or it would come in character_set_results.
func mirrorQuery(variables []string) []byte {
	var b []byte
	b = append(b, "SELECT "...)
	for _, v := range mirroredVariables {
		if v.text {
			b = append(append(append(b, "CAST(@@"...), v.name...), " AS BINARY),"...)
		} else {
			b = append(append(append(b, "@@"...), v.name...), ',')
		}
	}
	b = append(b, "@@timestamp,CAST(@@tx_isolation AS BINARY),@@max_statement_time,FOUND_ROWS(),ROW_COUNT()"...)
	for _, name := range variables {
		v := "@" + quoteName(name)
		b = append(b, (",CAST(" + v + " AS BINARY),CAST(COLLATION(" + v + ") AS BINARY)," + v)...)
	}
	return b
}

// readMirror reads the mirror of the session as it is now.
func (x *executor) readMirror(variables []string) (*mirror, error) {
	if x.facts.stale || x.facts.staleDatabase {
		if err := x.refresh(); err != nil {
			return nil, err
		}
	}
	for _, name := range variables {
		if !asciiOnly(name) {
			return nil, newFault(codeNotPossible, "the name of a user variable is not ASCII; give it another")
		}
	}
	var row [][]byte
	columns := make([]wire.Column, 0, len(mirroredVariables)+mirrorMore+3*len(variables))
	err := x.side(mirrorQuery(variables), func(_ int, d *wire.Column) {
		columns = append(columns, wire.Column{Charset: d.Charset, Type: d.Type, Flags: d.Flags})
	}, func(values [][]byte) error {
		row = row[:0]
		for _, v := range values {
			row = append(row, bytes.Clone(v))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(row) != cap(columns) || len(columns) != len(row) {
		return nil, errOrigin
	}
	rest := row[len(mirroredVariables):]
	x.diagnostics.disturbed(rest[mirrorFoundRows], rest[mirrorRowCount])
	m := &mirror{zone: x.facts.zone, database: x.facts.Database, now: numberText(rest[mirrorNow]), isolation: string(rest[mirrorIsolation])}
	if seconds, err := strconv.ParseFloat(string(rest[mirrorMaxTime]), 64); err == nil {
		m.maxTime = time.Duration(seconds * float64(time.Second))
	}
	m.statement = "SET timestamp=" + m.now
	for i, v := range mirroredVariables {
		m.statement += "," + v.name + "=" + v.literal(row[i])
	}
	for i, name := range variables {
		at := len(mirroredVariables) + mirrorMore + 3*i
		m.statement += ",@" + quoteName(name) + "=" + variableLiteral(row[at], string(row[at+1]), &columns[at+2])
	}
	return m, nil
}

// literal writes the value of a variable as it came.
func (v mirroredVariable) literal(value []byte) string {
	switch {
	case value == nil:
		return "NULL"
	case v.text:
		return quoteText(string(value))
	}
	return numberText(value)
}

// numberText passes what is a number.
func numberText(value []byte) string {
	if _, err := strconv.ParseFloat(string(value), 64); err != nil {
		return "DEFAULT"
	}
	return string(value)
}

// variableLiteral writes the value of a user variable with its type and collation.
func variableLiteral(value []byte, collation string, d *wire.Column) string {
	if value == nil {
		return "NULL"
	}
	switch d.Type {
	case wire.TypeLongLong, wire.TypeNewDecimal:
		return numberText(value)
	case wire.TypeDouble:
		return "CAST(" + numberText(value) + " AS DOUBLE)"
	}
	charset, _, _ := strings.Cut(collation, "_")
	return "_" + charset + " x'" + hex.EncodeToString(value) + "' COLLATE " + collation
}

// apply makes a session of the evaluator like the client's. The tables are to be there already: text is read otherwise
// afterwards.
func (m *mirror) apply(ctx context.Context, conn *evaluator.Conn) error {
	if m.database != "" {
		if _, err := conn.Exec(ctx, "USE "+quoteName(m.database)); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, m.statement)
	return err
}

// applyZone gives a session of the evaluator the client's time zone.
func (m *mirror) applyZone(ctx context.Context, conn *evaluator.Conn) error {
	if m.zone == "" {
		return nil
	}
	if m.zone[0] != '+' && m.zone[0] != '-' {
		if err := conn.AwaitZones(ctx); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, "SET time_zone="+quoteText(m.zone))
	return err
}

// errNoEvaluator is for a statement that needs the evaluator while there is none.
var errNoEvaluator = newFault(codeEvaluator, "the statement computes over protected columns, which needs the evaluator: it is switched off or not running; "+
	"see evaluator in the configuration and the log of Latchkey")

// evaluatorError turns an error of the evaluator into one for the client: what its server says of the client's own statement
// is for the client.
func evaluatorError(err error) error {
	var e *evaluator.Error
	switch {
	case errors.As(err, &e):
		return &backendError{wire.ERR{Code: e.Code, State: e.State, Message: e.Message}}
	case errors.Is(err, evaluator.ErrUnavailable):
		return errNoEvaluator
	}
	return err
}
