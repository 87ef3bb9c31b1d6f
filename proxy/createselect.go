package proxy

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// CREATE TABLE ... SELECT over protected columns runs in three steps. The evaluator runs it over empty tables and tells what MariaDB
// declares; CREATE TABLE with these columns is rewritten like any other, with a column that gets protected values among the
// protected ones; and INSERT ... SELECT fills the table. Whatever can be refused is refused before the second step, which commits
// and with OR REPLACE drops the table that was there. When the rows cannot be written, the new table is dropped again.

// createSelect is one such statement under way.
type createSelect struct {
	x    *executor
	plan *rewrite.CreateSelect
	// query is the SELECT, and source its plan.
	query  rewrite.Statement
	source *rewrite.Plan
	// columns are those that the rows have values for, and definition declares all of them and the keys.
	columns    []string
	definition string
}

// createSelect carries out CREATE TABLE ... SELECT.
func (x *executor) createSelect(r *residual) (ok bool, err error) {
	if r.using != nil {
		return false, x.refuse(errCreateUsing)
	}
	c := &createSelect{x: x, plan: r.plan.Residual.Create}
	table, protected, err := c.prepare(r)
	if err == nil {
		err = x.keys.fills(protected)
	}
	if err != nil {
		return false, x.refuse(err)
	}
	x.env.Schema.Invalidate()
	there, err := c.create(table)
	if err != nil {
		return false, x.refuse(err)
	}
	if there {
		// MariaDB's own answer to that.
		return x.sealed(table)
	}
	filling, err := c.fill(r)
	if err == nil {
		return x.runResidual(filling)
	}
	if dropped := c.drop(); dropped != nil {
		return false, dropped
	}
	return false, x.refuse(err)
}

// errCreateUsing is for a statement whose values come by USING.
var errCreateUsing = newFault(codeNotPossible, "CREATE TABLE ... SELECT over protected columns cannot be executed by SQL with values; send it as it is")

// fills refuses the columns of a new table for which rows cannot be sealed with the keys that are here.
func (k *keyset) fills(columns []*rewrite.Protected) error {
	if err := k.writable(columns); err != nil {
		return err
	}
	for _, column := range columns {
		if column.ServiceKey == "" && k.ring.Len() == 0 && !column.Away {
			return k.noKey(column)
		}
	}
	return nil
}

// prepare does what can be done before the table is created, and gives the statement that creates it.
func (c *createSelect) prepare(r *residual) (table *job, protected []*rewrite.Protected, err error) {
	var params []wire.Param
	if r.execute != nil {
		params = r.execute.Params
	}
	if err := c.describe(r.snapshot, params); err != nil {
		return nil, nil, err
	}
	protect, err := c.protects(r.snapshot)
	if err != nil {
		return nil, nil, err
	}
	text := []byte(c.plan.Head + " (" + c.definition + ") " + c.plan.Options)
	st := &rewrite.Statement{}
	if err := st.Scan(text, &c.x.facts.Facts); err != nil {
		return nil, nil, errCreateName
	}
	table = &job{st: st, snapshot: r.snapshot, to: len(text), more: r.more}
	if table.plan, protected, err = r.snapshot.Planner.PlanCreated(st, &c.x.facts.Facts, protect); err != nil {
		return nil, nil, err
	}
	return table, protected, nil
}

// describeCreate finds out whether a statement is right that will be executed later.
func (x *executor) describeCreate(plan *rewrite.CreateSelect) error {
	snapshot, err := x.snapshot()
	if err != nil {
		return err
	}
	c := &createSelect{x: x, plan: plan}
	return c.describe(snapshot, nil)
}

// describe finds out what MariaDB would declare. params are those of the statement; missing ones are NULL.
func (c *createSelect) describe(snapshot *Snapshot, params []wire.Param) error {
	x := c.x
	err := c.query.Scan([]byte(c.plan.Query), &x.facts.Facts)
	if err != nil {
		return errCreateName
	}
	if c.source, err = snapshot.Planner.PlanSource(&c.query, &x.facts.Facts, x.kept.names); err != nil {
		return err
	}
	plan := c.source.Residual
	for i := range plan.Loads {
		if t := plan.Loads[i].Table; snapshot.Schema.Table(c.plan.Database, c.plan.Name) == t {
			return newFault(codeNotPossible, "%s: CREATE TABLE ... SELECT over protected columns reads the table that it replaces; create another one and rename it", t)
		}
	}
	for len(params) < c.query.Params() {
		params = append(params, wire.Param{ParamType: wire.ParamType{Type: wire.TypeNull}, Null: true})
	}
	m, err := x.readMirror(askedOf(plan))
	if err != nil {
		return err
	}
	text, err := m.evaluatorText(&c.query, plan, 0, len(c.plan.Query), true)
	if err != nil {
		return err
	}
	return x.onLogical(m, loadedTables(plan), func(ctx context.Context, conn *evaluator.Conn) error {
		d, err := conn.Describe(ctx, text)
		if err != nil {
			return err
		}
		for i := range d.Columns {
			c.columns = append(c.columns, string(d.Columns[i].Name))
		}
		return c.declare(ctx, conn, text, params)
	})
}

// declared is the name of the table that the evaluator makes.
const declaredTable = "`latchkey declared`"

// declare makes the table in the evaluator, without rows, and reads its definition.
func (c *createSelect) declare(ctx context.Context, conn *evaluator.Conn, query []byte, params []wire.Param) error {
	if slices.ContainsFunc(c.columns, func(name string) bool { return !asciiText(name) }) && c.x.facts.Charset != rewrite.CharsetUTF8MB4 {
		return errCreateName
	}
	name := quoteName(c.plan.Database) + "." + declaredTable
	if err := c.x.env.Schema.tables.database(ctx, conn, c.plan.Database); err != nil {
		return err
	}
	text := "CREATE TEMPORARY TABLE " + name
	if c.plan.Elements != "" {
		text += " (" + c.plan.Elements + ")"
	}
	text += " ENGINE=Aria TRANSACTIONAL=0"
	if c.plan.Charset != "" {
		text += " DEFAULT CHARSET=" + c.plan.Charset + " COLLATE=" + c.plan.Collation
	}
	ok, err := conn.ExecParams(ctx, text+" "+strings.TrimPrefix(c.plan.Verb, "INSERT")+" "+string(query), params)
	if err != nil {
		return err
	}
	if ok.Warnings > 0 {
		if err := c.keysFit(ctx, conn); err != nil {
			return err
		}
	}
	mode := ""
	if c.x.facts.Mode.Has(rewrite.NoBackslashEscapes) {
		mode = "NO_BACKSLASH_ESCAPES"
	}
	if _, err := conn.Exec(ctx, "SET sql_mode='"+mode+"',sql_quote_show_create=1,character_set_results=utf8mb4"); err != nil {
		return err
	}
	shown, err := conn.Query(ctx, "SHOW CREATE TABLE "+name)
	if err != nil {
		return err
	}
	if len(shown.Rows) != 1 || len(shown.Rows[0]) != 2 {
		return errOrigin
	}
	_, definition, found := bytes.Cut(shown.Rows[0][1], []byte(" (\n"))
	end := bytes.LastIndex(definition, []byte("\n) ENGINE="))
	if !found || end < 0 {
		return errOrigin
	}
	if c.definition = string(definition[:end]); !asciiText(c.definition) && c.x.facts.Charset != rewrite.CharsetUTF8MB4 {
		return errCreateName
	}
	return nil
}

// errCreateName is for a statement that cannot be told in the client's character set.
var errCreateName = newFault(codeNotUnderstood, "CREATE TABLE ... SELECT over protected columns has names or defaults outside of ASCII in this character set; connect with utf8mb4")

// keysFit refuses a key that the evaluator's engine has shortened.
func (c *createSelect) keysFit(ctx context.Context, conn *evaluator.Conn) error {
	const tooLongKey = 1071
	result, err := conn.Query(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	for _, row := range result.Rows {
		d, err := readDiagnosis(row)
		if err != nil {
			return err
		}
		if d.code == tooLongKey {
			return newFault(codeNotPossible, "CREATE TABLE ... SELECT over protected columns has a key of more bytes than it can have; create the table with its columns, and use INSERT ... SELECT")
		}
	}
	return nil
}

// asciiText tells whether text reads the same in every character set of clients.
func asciiText(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

// protects names the columns that get protected values. They are protected by their annotation under the user's key, so what is
// under a service key has to be named by the policy of the new table.
func (c *createSelect) protects(snapshot *Snapshot) ([]string, error) {
	sources := c.source.Residual.Sources
	if len(sources) != len(c.columns) {
		return nil, errOrigin
	}
	policy := snapshot.Policy.Table(c.plan.Database, c.plan.Name, snapshot.Schema.LowerCaseTableNames)
	var names []string
	for i, from := range sources {
		if len(from) == 0 || policy.Column(c.columns[i]) != nil {
			continue
		}
		for _, p := range from {
			if p.ServiceKey != "" {
				return nil, errNotPossible(p, "CREATE TABLE ... SELECT would put its values into column "+quoteName(c.columns[i])+
					", which no policy puts under a service key; name the new table and column in the policy first")
			}
		}
		names = append(names, c.columns[i])
	}
	return names, nil
}

// create creates the table. there says that it was there already and IF NOT EXISTS leaves it.
func (c *createSelect) create(table *job) (there bool, err error) {
	x := c.x
	text, err := x.renderQuery(table)
	if err != nil {
		return false, err
	}
	x.sealing = true
	ok, err := x.sideWrite(text)
	if err != nil || !c.plan.IfNotExists || ok.Warnings == 0 {
		return false, err
	}
	const tableExists = 1050
	err = x.side([]byte("SHOW WARNINGS"), nil, func(row [][]byte) error {
		d, err := readDiagnosis(row)
		there = there || err == nil && d.code == tableExists
		return err
	})
	return there, err
}

// fill gives the statement that writes the rows, planned for the schema with the new table.
func (c *createSelect) fill(r *residual) (*residual, error) {
	x := c.x
	x.env.Schema.Invalidate()
	snapshot, err := x.snapshot()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(c.columns))
	for i, name := range c.columns {
		names[i] = quoteName(name)
	}
	text := []byte(c.plan.Verb + " INTO " + c.plan.Target + " (" + strings.Join(names, ",") + ") " + c.plan.Query)
	st := &rewrite.Statement{}
	if err := st.Scan(text, &x.facts.Facts); err != nil {
		return nil, errCreateName
	}
	plan, err := snapshot.Planner.PlanFinished(st, &x.facts.Facts, x.kept.names)
	if err != nil {
		return nil, err
	}
	if plan.Residual.Write == nil || snapshot.Schema.Table(c.plan.Database, c.plan.Name) == nil {
		return nil, errOrigin
	}
	return &residual{x: x, st: st, plan: plan, snapshot: snapshot, to: len(text), execute: r.execute, charset: r.charset, more: r.more, filling: c}, nil
}

// drop drops the table after the statement has failed. It may be called on nil.
func (c *createSelect) drop() error {
	if c == nil {
		return nil
	}
	err := c.x.sideCertain("DROP TABLE IF EXISTS " + c.plan.Target)
	c.x.env.Schema.Invalidate()
	return err
}
