package proxy

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
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
	// session has, for each expression of rewrite.SessionRead, what is written in its place. thread is the client's thread id as
	// an assignment, empty where nothing reads it; it has to be made before there are temporary tables, which belong to it.
	session map[string]sessionValue
	thread  string
	// variables are the user variables that the statement names, by folded name.
	variables map[string]variableValue
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

// constants are the two variables of the evaluator that stand for Booleans of the client's session.
const constants = ",sql_warnings=0,unique_checks=1"

// Further columns of the mirror's query, behind the variables.
const (
	mirrorNow = iota
	mirrorIsolation
	mirrorMaxTime
	mirrorFoundRows
	mirrorRowCount
	mirrorMore // user variables; then expressions: value, and itself
)

// asked are what a statement reads of the session beside what every mirror has.
type asked struct {
	// variables are names of user variables; expressions are those of rewrite.SessionRead, each once.
	variables, expressions []string
	// assigned are the user variables of these that are assigned.
	assigned []rewrite.AssignedVariable
}

// reads tells whether the value that a user variable has now matters.
func (a *asked) reads(name string) bool {
	return !slices.ContainsFunc(a.assigned, func(v rewrite.AssignedVariable) bool {
		return !v.Read && rewrite.FoldVariable(v.Name) == rewrite.FoldVariable(name)
	})
}

// askedOf gives what a residual statement reads.
func askedOf(plan *rewrite.ResidualPlan) asked {
	a := asked{variables: plan.Variables, assigned: plan.Assigns}
	for i := range plan.Session {
		if ask := plan.Session[i].Ask; !slices.Contains(a.expressions, ask) {
			a.expressions = append(a.expressions, ask)
		}
	}
	return a
}

// mirrorQuery reads a session's mirror and what else is asked. It names no table, so it leaves the warnings alone. Text is binary,
// or it would come in character_set_results.
func mirrorQuery(a asked) []byte {
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
	for _, name := range a.variables {
		b = askVariable(append(b, ','), name)
	}
	for _, e := range a.expressions {
		b = append(b, (",CAST(" + e + " AS BINARY)," + e)...)
	}
	return b
}

// readMirror reads the mirror of the session as it is now.
func (x *executor) readMirror(a asked) (*mirror, error) {
	if x.facts.stale || x.facts.staleDatabase {
		if err := x.refresh(); err != nil {
			return nil, err
		}
	}
	m := &mirror{}
	var err error
	if a.variables, err = x.mirrorKept(m, a); err != nil {
		return nil, err
	}
	var row [][]byte
	columns := make([]wire.Column, 0, len(mirroredVariables)+mirrorMore+variableColumns*len(a.variables)+2*len(a.expressions))
	err = x.side(mirrorQuery(a), func(_ int, d *wire.Column) {
		columns = append(columns, wire.Column{Charset: d.Charset, Type: d.Type, Flags: d.Flags, Length: d.Length, Decimals: d.Decimals})
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
	m.zone, m.database, m.now, m.isolation = x.facts.zone, x.facts.Database, numberText(rest[mirrorNow]), string(rest[mirrorIsolation])
	if seconds, err := strconv.ParseFloat(string(rest[mirrorMaxTime]), 64); err == nil {
		m.maxTime = time.Duration(seconds * float64(time.Second))
	}
	m.statement = "SET timestamp=" + m.now + constants
	for i, v := range mirroredVariables {
		m.statement += "," + v.name + "=" + v.literal(row[i])
	}
	at := len(mirroredVariables) + mirrorMore
	for _, name := range a.variables {
		m.variables[rewrite.FoldVariable(name)] = newVariableValue(row[at:], &columns[at+2])
		at += variableColumns
	}
	for name, v := range m.variables {
		m.statement += ",@" + quoteName(name) + "=" + v.literal()
	}
	for _, ask := range a.expressions {
		if err := x.mirrorExpression(m, ask, row[at+1], row[at], &columns[at+1]); err != nil {
			return nil, err
		}
		at += 2
	}
	return m, nil
}

// mirrorKept takes over the variables that are kept here and gives those that the backend has to be asked for.
func (x *executor) mirrorKept(m *mirror, a asked) (rest []string, err error) {
	m.variables = make(map[string]variableValue, len(a.variables))
	for _, name := range a.variables {
		if !asciiOnly(name) {
			return nil, newFault(codeNotPossible, "the name of a user variable is not ASCII; give it another")
		}
		v := x.kept.find(name)
		switch {
		case v == nil:
			rest = append(rest, name)
		case v.gone != nil && a.reads(name):
			return nil, v.gone
		case v.gone != nil:
		default:
			m.variables[rewrite.FoldVariable(name)] = v.value
		}
	}
	return rest, nil
}

// mirrorExpression takes over what the backend has answered to an expression, as it came and as binary text. What the statement
// before this one did is not what the backend says after requests of the proxy's own.
func (x *executor) mirrorExpression(m *mirror, ask string, value, text []byte, d *wire.Column) error {
	switch ask {
	case "FOUND_ROWS()":
		value = strconv.AppendUint(nil, x.diagnostics.foundRows, 10)
	case "ROW_COUNT()":
		value = strconv.AppendInt(nil, x.diagnostics.rowCount, 10)
	case "CONNECTION_ID()":
		m.thread = ",pseudo_thread_id=" + numberText(value)
	}
	v, err := newSessionValue(ask, value, text, d)
	if err != nil {
		return err
	}
	if m.session == nil {
		m.session = make(map[string]sessionValue)
	}
	m.session[ask] = v
	return nil
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
		return &backendError{ERR: wire.ERR{Code: e.Code, State: e.State, Message: e.Message}, private: true}
	case errors.Is(err, evaluator.ErrUnavailable):
		return errNoEvaluator
	}
	return err
}
