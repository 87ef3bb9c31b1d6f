package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// A result column that is one of a table has the definition of that column. Of one that is computed from protected columns
// without changing them (a UNION, a scalar subquery) only MariaDB knows the definition: the evaluator is asked for that of the
// client's own statement over empty tables.

// computed finds the definitions of a statement's computed columns, at most once.
type computed struct {
	x        *executor
	st       *rewrite.Statement
	plan     *rewrite.Plan
	snapshot *Snapshot
	asked    bool
	columns  []wire.Column
}

// column gives the definition of result column i; nil where it is not known.
func (c *computed) column(i, columns int, preparing bool) *wire.Column {
	if c == nil || c.plan.Kind != "SELECT" {
		return nil
	}
	if !c.asked {
		c.asked = true
		c.columns = c.x.definitionsOf(c.st, c.snapshot, preparing)
	}
	if len(c.columns) != columns {
		return nil
	}
	return &c.columns[i]
}

// computedColumn gives the definition of a computed column what MariaDB says of it, where the values are written alike.
func (o *opener) computedColumn(i int) {
	d := &o.definition
	if len(d.OrgTable) > 0 {
		return
	}
	asked := o.computed.column(i, len(o.columns), o.preparing)
	if asked == nil || len(asked.OrgTable) > 0 || !wire.SameEncoding(d.Type, asked.Type) {
		return
	}
	d.Type, d.Charset, d.Length, d.Flags, d.Decimals, d.Extended = asked.Type, asked.Charset, asked.Length, asked.Flags, asked.Decimals, asked.Extended
}

// definitionsKey identifies the definitions of a statement: a digest, since the text holds plaintext.
type definitionsKey [sha256.Size]byte

// definitionsOf asks the evaluator for the column definitions of a statement; nil when it does not know. It is asked while a
// reply of the backend is being read, so nothing more can be asked of the session.
func (x *executor) definitionsOf(st *rewrite.Statement, snapshot *Snapshot, preparing bool) []wire.Column {
	text := st.Span(0, st.Len()-1)
	if x.env.Evaluator == nil || text == nil || st.Versioned() {
		return nil
	}
	cache, key := x.env.Schema.tables.definitions, x.definitionsKey(text, snapshot, preparing)
	if columns, ok := cache.Get(key); ok {
		return columns
	}
	ctx, _, end := x.evaluates()
	defer end()
	ctx, cancel := context.WithTimeout(ctx, definitionsTime)
	defer cancel()
	conn, err := x.env.Evaluator.Acquire(ctx, evaluator.RelayCaps(x.caps))
	if err != nil {
		return nil
	}
	defer conn.Release()
	var columns []wire.Column
	tables := namedTables(st, snapshot.Schema, x.facts.Database)
	if preparing || !runsAlone(st) {
		err = x.onTables(ctx, conn, x.mirrorOfFacts(), tables, func() error {
			d, err := conn.Describe(ctx, text)
			if err == nil {
				columns = d.Columns
			}
			return err
		})
	} else {
		columns, err = x.runEmpty(ctx, conn, tables, st, text)
	}
	if err != nil {
		return nil
	}
	cache.Add(key, columns)
	return columns
}

// definitionsTime is how long the evaluator may take over empty tables. A statement that computes without any, for hours, could
// not be told from others before.
const definitionsTime = 2 * time.Second

// runEmpty runs a statement over empty tables of its session's own: whatever it takes, nobody else waits for the tables.
func (x *executor) runEmpty(ctx context.Context, conn *evaluator.Conn, tables []definedTable, st *rewrite.Statement, text []byte) ([]wire.Column, error) {
	if _, err := conn.Exec(ctx, "SET sql_mode=''"); err != nil {
		return nil, err
	}
	for _, t := range tables {
		definition, err := rewrite.EvaluatorDefinition(t.Table, t.prots, nil)
		if err != nil {
			return nil, err
		}
		if err := x.env.Schema.tables.database(ctx, conn, t.Database); err != nil {
			return nil, err
		}
		if _, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE "+quoteName(t.Database)+"."+quoteName(t.Name)+" "+definition); err != nil {
			return nil, err
		}
	}
	if err := x.likeClient(ctx, conn, x.mirrorOfFacts()); err != nil {
		return nil, err
	}
	if st.Params() == 0 {
		return conn.Columns(ctx, string(text))
	}
	return conn.Answer(ctx, text)
}

func (x *executor) definitionsKey(text []byte, snapshot *Snapshot, preparing bool) (key definitionsKey) {
	h := sha256.New()
	f := &x.facts
	head := fmt.Sprintf("%d %d %t %q %q %q %q %q\n", snapshot.Epoch(), x.caps, preparing, f.modeText, f.Database, f.conv.ClientCharset, f.conv.ConnectionCharset, f.conv.ResultsCharset)
	_ = binary.Write(h, binary.LittleEndian, uint64(len(head)))
	h.Write([]byte(head))
	h.Write(text)
	h.Sum(key[:0])
	return key
}

// runsAlone tells whether a SELECT can be run in the evaluator without anybody having looked at what it calls: it calls
// nothing, and reads tables and literals only.
func runsAlone(st *rewrite.Statement) bool {
	for i := range st.Tokens() {
		text := st.Text(i)
		if len(text) > 0 && text[0] == '@' || st.Is(i, rewrite.KwInto) || st.Is(i, rewrite.KwFor) || st.Is(i, rewrite.KwLock) {
			return false
		}
		if st.IsOp(i, rewrite.OpLeftParen) && i > 0 && !opensList(st, i-1) {
			return false
		}
	}
	return true
}

// opensList tells whether the parenthesis behind token i is that of a subquery, a list or a condition, and of no call.
func opensList(st *rewrite.Statement, i int) bool {
	switch st.Token(i).Kind {
	case rewrite.TokWord:
		switch strings.ToUpper(string(st.Text(i))) {
		case "IN", "EXISTS", "AS", "FROM", "SELECT", "ALL", "UNION", "AND", "OR", "NOT", "ON", "WHERE", "USING", "JOIN", "WITH", "DISTINCT", "ANY", "SOME":
			return true
		}
		return false
	case rewrite.TokQuoted:
		return false
	}
	return true
}

// mirrorOfFacts is the mirror as far as the facts tell it: enough for the definitions of columns.
func (x *executor) mirrorOfFacts() *mirror {
	f := &x.facts
	m := &mirror{zone: "", database: f.Database}
	m.statement = "SET sql_mode=" + quoteText(f.modeText) + ",character_set_client=" + f.conv.ClientCharset
	if f.conv.ConnectionCharset != "" {
		m.statement += ",character_set_connection=" + f.conv.ConnectionCharset
	}
	if f.conv.ResultsCharset == "" {
		m.statement += ",character_set_results=NULL"
	} else {
		m.statement += ",character_set_results=" + f.conv.ResultsCharset
	}
	return m
}
