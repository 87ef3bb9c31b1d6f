package proxy

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// The evaluator's session has another account, another thread and other settings than the client's. Where a statement reads
// them, the evaluator gets an expression of the same type, length and collation with the client's value instead.

// Lengths in characters that MariaDB 10.11 gives the names of accounts and roles, whatever they are.
// https://mariadb.com/kb/en/user/, https://mariadb.com/kb/en/current_role/
const (
	accountLength = 384
	roleLength    = 128
)

// sessionValue is what stands for a function or system variable in the evaluator: as a whole select item, and as a part of an
// expression, for which MariaDB takes a text at its actual length.
type sessionValue struct{ whole, part string }

// newSessionValue makes the value from what the backend answered: the value, and as binary text, nil for NULL, and the definition
// of the expression's column.
func newSessionValue(ask string, value, text []byte, d *wire.Column) (sessionValue, error) {
	one := ""
	switch d.Type {
	case wire.TypeLong:
		// CONNECTION_ID() alone: the evaluator's own session takes the number.
		one = "CONNECTION_ID()"
	case wire.TypeLongLong:
		one = integerValue(value, d)
	case wire.TypeDouble:
		one = doubleValue(value, d)
	case wire.TypeVarString, wire.TypeString, wire.TypeVarchar, wire.TypeBlob, wire.TypeMediumBlob, wire.TypeLongBlob, wire.TypeTinyBlob:
		return constantText(ask, text), nil
	default:
		return sessionValue{}, errOrigin
	}
	return sessionValue{one, one}, nil
}

func doubleValue(value []byte, d *wire.Column) string {
	switch {
	case value == nil:
		return "CAST(NULL AS DOUBLE)"
	case d.Decimals >= notFixed:
		return "CAST(" + numberText(value) + " AS DOUBLE)"
	}
	return fmt.Sprintf("CAST(%s AS DOUBLE(%d,%d))", numberText(value), d.Length, d.Decimals)
}

// notFixed is the number of decimals of a number that has no fixed one.
const notFixed = 31

// integerValue stands for an integer. The evaluator's own integers of the same kind give it their type and their length; a single
// digit is a Boolean, of which the evaluator has two of its own.
func integerValue(value []byte, d *wire.Column) string {
	switch {
	case value == nil:
		return "NULL"
	case d.Length == 1 && string(value) == "0":
		return "@@sql_warnings"
	case d.Length == 1 && string(value) == "1":
		return "@@unique_checks"
	case d.Flags&wire.FlagUnsigned != 0:
		return "COALESCE(CAST(" + numberText(value) + " AS UNSIGNED),@@wait_timeout)"
	}
	return "COALESCE(" + numberText(value) + ",FOUND_ROWS())"
}

// constantText is a text with the collation and the coercibility of USER(), VERSION() and system variables, which those of other
// expressions give way to or prevail over.
func constantText(ask string, value []byte) sessionValue {
	constant, length := "LEFT(VERSION(),0)", 0
	if strings.HasPrefix(ask, "@@") {
		constant = "LEFT(@@version,0)" // may be NULL, as far as MariaDB knows
	}
	switch ask {
	case "USER()", "SESSION_USER()", "SYSTEM_USER()", "CURRENT_USER()":
		length = accountLength
	case "CURRENT_ROLE()":
		length = roleLength
	}
	if value == nil {
		null := fmt.Sprintf("NULLIF(COALESCE(%s,SPACE(%d)),'')", constant, length)
		return sessionValue{null, null}
	}
	v := sessionValue{part: "CONCAT(" + constant + ",_utf8mb3 x'" + hex.EncodeToString(value) + "')"}
	if v.whole = v.part; length > 0 {
		v.whole = fmt.Sprintf("COALESCE(%s,SPACE(%d))", v.part, length)
	}
	return v
}

// textEdit replaces bytes of the client's text.
type textEdit struct {
	from, to int
	text     string
}

// evaluatorText gives the client's statement, which lies from..to in the packet, as the evaluator gets it: its own bytes, but for
// what reads the session. For the definitions of its columns alone (describing), functions stay: a constant has others.
func (m *mirror) evaluatorText(st *rewrite.Statement, plan *rewrite.ResidualPlan, from, to int, describing bool) ([]byte, error) {
	sql := st.SQL()
	if len(plan.Session) == 0 {
		return sql[from:to], nil
	}
	var edits []textEdit
	for i := range plan.Session {
		s := &plan.Session[i]
		if describing && !strings.HasPrefix(s.Ask, "@@") {
			continue
		}
		first, last := st.Expand(nil, s.From), st.Expand(nil, s.To)
		if len(first) != len(last) {
			return nil, errOperand
		}
		text := m.session[s.Ask].part
		if s.Whole {
			text = m.session[s.Ask].whole
		}
		for k := range first {
			edits = append(edits, textEdit{int(st.Token(int(first[k])).Start), int(st.Token(int(last[k])).End), " " + text + " "})
		}
	}
	for _, n := range plan.Names {
		name := st.Span(st.Real(n.From), st.Real(n.To))
		if len(name) > maxColumnName {
			return nil, newFault(codeNotPossible, "a column whose name would be longer than %d bytes reads the session; give it an alias", maxColumnName)
		}
		end := int(st.Token(st.Real(n.To)).End)
		edits = append(edits, textEdit{end, end, " AS " + quoteName(string(name)) + " "})
	}
	slices.SortStableFunc(edits, func(a, b textEdit) int { return cmp.Or(a.from-b.from, a.to-b.to) })
	var b strings.Builder
	at := from
	for _, e := range edits {
		if e.from < at || e.to > to {
			return nil, errOperand
		}
		b.Write(sql[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	b.Write(sql[at:to])
	return []byte(b.String()), nil
}
