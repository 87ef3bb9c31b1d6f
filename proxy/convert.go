package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// Values whose conversion to the declared type is not plain are converted by the evaluator. It stores what a statement writes
// into protected columns, written as the client wrote it and under the client's session variables, in a temporary table with
// the declared columns. So what is stored, and the errors and warnings with their row numbers, are MariaDB's.

// errUnweighed says that the sort weights of a value are not known before the evaluator has been asked. It never reaches a
// client.
var errUnweighed = errors.New("internal error: a value was rendered before it was weighed")

// unconvertedError says that a value of the statement cannot be rendered before the evaluator has converted it. It never reaches
// a client.
type unconvertedError struct {
	column *rewrite.Protected
	cause  error
}

// Error implements error.
func (e *unconvertedError) Error() string {
	return "internal error: a value was rendered before it was converted"
}

// conversion is what the evaluator made of the values that a statement writes.
type conversion struct {
	// values are by the real token of the value.
	values map[int]converted
	// rows are the warnings about the rows of an INSERT or REPLACE, assigned those about one row of an UPDATE or ON DUPLICATE
	// KEY UPDATE.
	rows, assigned ownWarnings
	// failed is the error of the assignments, which MariaDB gives only if there is a row to change.
	failed *fault
}

// converted is one value as it is stored.
type converted struct {
	canonical []byte
	null      bool
	// failed says that there is none; the statement then ends with conversion.failed where a row is met.
	failed bool
	// skipped says that IGNORE leaves the row out, because the value does not satisfy a CHECK.
	skipped bool
}

// value gives what became of the value at a real token.
func (c *conversion) value(token int) (converted, bool) {
	if c == nil {
		return converted{}, false
	}
	v, ok := c.values[token]
	return v, ok
}

// converted renders a value that the evaluator converted.
func (r *renderer) converted(column *rewrite.Protected, value *rewrite.Value, done converted, owner rowOwner) error {
	switch {
	case done.null:
		r.null(value)
		return nil
	case done.skipped:
		// The guard CHECK of the column refuses it, so that the backend leaves the row out as IGNORE wants it.
		r.bound([]byte{0})
		return nil
	case done.failed:
		// No row was there to be changed. The statement fails at one that has come to be.
		r.out = fmt.Appendf(r.out, raiseLocked, quoteName(column.Column))
		return nil
	}
	return r.cellOf(column, owner, done.canonical)
}

// implicit renders the implicit default of the type, with the warning that MariaDB gives.
func (r *renderer) implicit(column *rewrite.Protected, value *rewrite.Value, owner rowOwner) error {
	canonical, ok := column.Type.ImplicitDefault()
	if !ok {
		return errNotPossible(column, "NULL cannot be stored, and in this sql_mode or under IGNORE MariaDB would store another value; write that value")
	}
	switch d := noValue(column, value); {
	case r.conversion != nil:
		// The evaluator has warned.
	case value.Kind == rewrite.ValueImplicit && (column.Type.Kind == logical.KindEnum || value.Token < 0 && slices.Contains(r.warnings, d)):
		// An ENUM has a default always; a column that is left out is warned about once.
	case r.assigning:
		r.assignWarnings = append(r.assignWarnings, d)
	default:
		r.warnings = append(r.warnings, d)
	}
	return r.cellOf(column, owner, canonical)
}

// noValue is the warning for a NOT NULL column that is given no value.
func noValue(column *rewrite.Protected, value *rewrite.Value) diagnosis {
	if value.Kind == rewrite.ValueImplicit {
		return diagnosis{"Warning", 1364, fmt.Sprintf("Field '%s' doesn't have a default value", column.Column)}
	}
	return diagnosis{"Warning", 1048, fmt.Sprintf("Column '%s' cannot be null", column.Column)}
}

// nullIsNow tells whether NULL stands for the present time in a column. https://mariadb.com/kb/en/timestamp/
func nullIsNow(column *rewrite.Protected) bool {
	return !column.Nullable && column.Type.Family() == logical.FamilyTimestamp
}

// refusesNull tells whether MariaDB refuses a NULL for a NOT NULL column whatever sql_mode is: in an INSERT of one row.
func (r *renderer) refusesNull() bool {
	if r.plan.Ignore || r.plan.Selected || r.plan.Kind == "UPDATE" {
		return false
	}
	for _, g := range r.st.Groups() {
		if g.Kind == rewrite.GroupRows {
			return r.st.Elements(g) == 1
		}
	}
	return true
}

// unconverted says that a value needs the evaluator, or what is wrong with it.
func (r *renderer) unconverted(column *rewrite.Protected, err error) error {
	var value *logical.ValueError
	if errors.Is(err, logical.ErrNotPlain) || errors.As(err, &value) {
		return &unconvertedError{column, err}
	}
	return r.valueFault(column, err)
}

// wipe overwrites the plaintext.
func (c *conversion) wipe() {
	if c == nil {
		return
	}
	for _, v := range c.values {
		clear(v.canonical)
	}
}

// site is one value that the statement writes into a protected column.
type site struct {
	column *rewrite.Protected
	value  *rewrite.Value
	// row counts the rows of an INSERT from 1; 0 stands for an assignment.
	row int
	// token is the real token of the value; from and to are those of all of it: sign, introducer, adjacent strings.
	token, from, to int
	// given says that it is a value: neither NULL nor DEFAULT.
	given bool
}

// sites gives the values that the statement writes, in the order in which they stand there.
func (r *renderer) sites() []site {
	at := r.at
	defer func() { r.at = at }()
	var all []site
	edits := r.plan.Edits
	for i := 0; i < len(edits); {
		group := r.rowGroup(&edits[i])
		if group < 0 {
			r.at = nowhere
			all = r.editSites(all, &edits[i], 1)
			i++
			continue
		}
		last := i + 1
		for last < len(edits) && r.rowGroup(&edits[last]) == group {
			last++
		}
		g := r.st.Groups()[group]
		for k := range r.st.Elements(g) {
			first, _, like := r.st.Element(g, k)
			known, knownLast, _ := r.st.Element(g, like)
			r.at = instance{group: group, shift: first - known}
			for e := i; e < last; e++ {
				if at := r.st.Real(edits[e].From); at >= known && at <= knownLast {
					all = r.editSites(all, &edits[e], k+1)
				}
			}
		}
		i = last
	}
	return all
}

// editSites appends the written values of one edit.
func (r *renderer) editSites(all []site, e *rewrite.Edit, row int) []site {
	for i := range e.Pieces {
		p := &e.Pieces[i]
		if p.Kind != rewrite.PieceSeal && p.Kind != rewrite.PieceAssign || p.NewText != "" || len(p.Values) != 1 {
			continue
		}
		s := site{column: p.Column, value: &p.Values[0], row: row}
		if p.Kind == rewrite.PieceAssign {
			s.row = 0
		}
		s.token, s.from, s.to = r.real(s.value.Token), r.real(e.From), r.real(e.To)
		all = append(all, s)
	}
	return all
}

// resolved runs attempt until the evaluator has given it all that it needs. attempt renders a statement from its beginning;
// with gather it only finds out which sort weights are needed, and sends nothing.
func (x *executor) resolved(r *renderer, snapshot *Snapshot, attempt func(gather bool) error) error {
	table := x.written(r.plan, snapshot)
	settled := false
	if checked(r.plan, table) {
		if err := x.convert(r, table); err != nil {
			return err
		}
	}
	for {
		r.restart()
		gathered := r.sealer.gather
		err := attempt(gathered)
		r.sealer.gather = false
		if err == nil && !gathered && !settled && len(r.sealer.keyed) > 0 {
			settled = true
			again, err := x.sealEqual(snapshot, r.sealer.keyed)
			if err != nil {
				return err
			}
			if again {
				continue
			}
		}
		var unconverted *unconvertedError
		switch {
		case errors.As(err, &unconverted) && r.conversion == nil:
			if err := x.convert(r, table); err != nil {
				return unconverted.instead(err)
			}
		case errors.Is(err, errUnweighed) && !gathered:
			r.sealer.gather = true
		case err == nil && gathered:
			if err := x.weigh(r.sealer); err != nil {
				return err
			}
		case unconverted != nil:
			return errConversion(unconverted.column, unconverted.cause)
		default:
			return err
		}
	}
}

// checked tells whether the statement writes a column under a CHECK constraint, which only the evaluator evaluates.
func checked(plan *rewrite.Plan, table *rewrite.Table) bool {
	if table == nil || len(table.Constraints) == 0 {
		return false
	}
	return slices.ContainsFunc(plan.Writes, func(p *rewrite.Protected) bool { return table.Checked(p.Column) })
}

// instead gives the error that the client gets when the evaluator is not there: MariaDB's own where that is certain.
func (e *unconvertedError) instead(err error) error {
	var f *fault
	var value *logical.ValueError
	if errors.As(err, &f) && f.code == codeEvaluator && errors.As(e.cause, &value) {
		return errConversion(e.column, e.cause)
	}
	return err
}

// restart makes the renderer begin anew.
func (r *renderer) restart() {
	r.out, r.binds, r.cell = r.out[:0], r.binds[:0], r.cell[:0]
	r.at, r.old = nowhere, oldCells{}
	r.warnings, r.assignWarnings = nil, nil
	r.sealer.sealed = 0
}

// written gives the table whose protected columns a statement writes, nil when it writes none.
func (x *executor) written(plan *rewrite.Plan, snapshot *Snapshot) *rewrite.Table {
	if len(plan.Writes) == 0 {
		return nil
	}
	return snapshot.Schema.Table(plan.Writes[0].Database, plan.Writes[0].Table)
}

// expectWarnings notes the warnings that the statement in r has had before it is sent. The error is the one about a value that
// is assigned to a row.
func (x *executor) expectWarnings(r *renderer) error {
	x.area.next = ownWarnings{}
	c := r.conversion
	if c == nil && len(r.warnings)+len(r.assignWarnings)+len(r.plan.Warnings) == 0 {
		return nil
	}
	if c == nil {
		c = &conversion{}
	}
	if c.failed != nil && r.old.rows > 0 {
		f := *c.failed
		f.about.list = slices.Concat(c.rows.list, f.about.list)
		f.about.total += c.rows.total
		return &f
	}
	next := c.rows
	for _, w := range r.plan.Warnings {
		next.add(diagnosis{"Warning", uint16(w.Code), w.Error()})
	}
	next.add(r.warnings...)
	for row := 1; row <= r.old.rows; row++ {
		next.add(r.assignWarnings...)
		for _, d := range c.assigned.list {
			next.add(d.atRow(row))
		}
		next.total += c.assigned.total - len(c.assigned.list)
		next.hidden += c.assigned.hidden
	}
	next.guards = append(next.guards, c.assigned.guards...)
	x.area.next = next
	return nil
}

// acquire gives a connection for values of column. The caller releases it.
func (x *executor) acquire(column *rewrite.Protected) (*evaluator.Conn, error) {
	ctx, _, end := x.evaluates()
	defer end()
	conn, err := acquire(ctx, x.env.Evaluator, column)
	if cause := context.Cause(ctx); cause != nil && x.ctx.Err() == nil {
		return nil, cause
	}
	return conn, err
}

func acquire(ctx context.Context, e *evaluator.Evaluator, column *rewrite.Protected) (*evaluator.Conn, error) {
	if e == nil {
		return nil, errEvaluator(column)
	}
	conn, err := e.Acquire(ctx, evaluator.BaseCaps)
	if err != nil {
		return nil, errEvaluator(column)
	}
	return conn, nil
}

// errEvaluator is for what only the evaluator can do, while there is none.
func errEvaluator(column *rewrite.Protected) *fault {
	return newFault(codeEvaluator, "%s: the value needs the evaluator, which is switched off or not running; write the value in the column's declared type, "+
		"or see evaluator in the configuration and the log of Latchkey", column)
}

// convert has the evaluator convert all values that the statement writes.
func (x *executor) convert(r *renderer, table *rewrite.Table) error {
	sites := r.sites()
	if len(sites) == 0 {
		// Cells are copied: what they hold has been checked.
		r.conversion = &conversion{}
		return nil
	}
	c := &converter{x: x, r: r, table: table, sites: sites, result: &conversion{values: make(map[int]converted, len(sites))}}
	conn, err := x.acquire(sites[0].column)
	if err != nil {
		return err
	}
	defer conn.Release()
	c.conn = conn
	if err := c.run(); err != nil {
		c.result.wipe()
		return c.present(err)
	}
	r.conversion = c.result
	return nil
}

// converter is one conversion under way.
type converter struct {
	x      *executor
	r      *renderer
	conn   *evaluator.Conn
	table  *rewrite.Table
	sites  []site
	result *conversion

	name    string // of the table, quoted
	row     string // the column with the row's number, quoted
	columns []*rewrite.Protected
	params  []wire.Param
	text    []byte
}

// present gives the error that the client gets.
func (c *converter) present(err error) error {
	var e *evaluator.Error
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e):
		return errNotPossible(c.sites[0].column, "the evaluator could not convert the value: error "+strconv.Itoa(int(e.Code)))
	case errors.Is(err, errOperand):
		return err
	}
	return errEvaluator(c.sites[0].column)
}

func (c *converter) run() error {
	var written, assigned []site
	for _, s := range c.sites {
		if s.row > 0 {
			written = append(written, s)
		} else {
			assigned = append(assigned, s)
		}
	}
	for _, part := range []struct {
		sites []site
		do    func([]site) error
	}{{written, c.insert}, {assigned, c.assign}} {
		if len(part.sites) == 0 {
			continue
		}
		// A CHECK is evaluated over what is written, not over what stands beside it.
		c.sites = part.sites
		if err := c.declare(); err != nil {
			return err
		}
		if err := part.do(part.sites); err != nil {
			return err
		}
	}
	return nil
}

// declare creates the table: of the same name as the application's, so that messages name it rightly.
func (c *converter) declare() error {
	first := c.sites[0].column
	c.columns = nil
	c.name = quoteName(first.Database) + "." + quoteName(first.Table)
	row := "row"
	seen := map[*rewrite.Protected]bool{}
	for _, s := range c.sites {
		if s.column.Database != first.Database || s.column.Table != first.Table {
			return errNotPossible(s.column, "the value's conversion is not plain, and the statement writes protected columns of several tables; write the value in the declared type")
		}
		if !seen[s.column] {
			seen[s.column] = true
			c.columns = append(c.columns, s.column)
		}
	}
	for _, column := range c.columns {
		for strings.EqualFold(row, column.Column) {
			row += "_"
		}
	}
	c.row = quoteName(row)
	constraints, err := c.constraints()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("CREATE OR REPLACE TEMPORARY TABLE " + c.name + " (" + c.row + " INT NOT NULL")
	for _, column := range c.columns {
		b.WriteString("," + quoteName(column.Column) + " " + column.Type.Storage() + constraints[column.Column])
	}
	b.WriteString(constraints[""] + ") ENGINE=Aria TRANSACTIONAL=0")
	return c.execAll(unspoiled, b.String())
}

// constraints gives the CHECK clauses that the statement has to satisfy: those of a column by its name, those of the table under
// the empty name.
func (c *converter) constraints() (map[string]string, error) {
	clauses := map[string]string{}
	for _, column := range c.columns {
		if column.Type.Family() == logical.FamilyJSON {
			// MariaDB adds it by itself only to a column without another one.
			clauses[column.Column] = " CHECK (json_valid(" + quoteName(column.Column) + "))"
		}
	}
	if c.table == nil {
		return clauses, nil
	}
	for i := range c.table.Constraints {
		constraint := &c.table.Constraints[i]
		needed, err := c.needs(constraint)
		if err != nil {
			return nil, err
		}
		switch {
		case !needed:
		case constraint.OfColumn:
			clauses[constraint.Name] = " CHECK (" + constraint.Expression + ")"
		default:
			clauses[""] += ",CONSTRAINT " + quoteName(constraint.Name) + " CHECK (" + constraint.Expression + ")"
		}
	}
	return clauses, nil
}

// needs tells whether the statement can break a constraint. It may be evaluated only if the values of all columns that it names
// are known; a column that an INSERT leaves out is NULL.
func (c *converter) needs(constraint *rewrite.Constraint) (bool, error) {
	var written, left []string
	for _, name := range constraint.Columns {
		if slices.ContainsFunc(c.columns, func(p *rewrite.Protected) bool { return p.Column == name }) {
			written = append(written, name)
		} else {
			left = append(left, name)
		}
	}
	if len(written) == 0 {
		return false, nil
	}
	column := c.table.Column(written[0]).Protected
	for _, name := range left {
		other := c.table.Column(name)
		inserts := !slices.ContainsFunc(c.sites, func(s site) bool { return s.row == 0 })
		if other == nil || other.Protected == nil || other.Protected.HasOnEmpty || !inserts {
			return false, errNotPossible(column, "a CHECK constraint names columns that the statement does not write; write all of them")
		}
		c.columns = append(c.columns, other.Protected)
	}
	for _, s := range c.sites {
		if s.value.Kind == rewrite.ValueDefault && s.column.HasOnEmpty && !s.column.Type.HasDefault && slices.Contains(constraint.Columns, s.column.Column) {
			return false, errNotPossible(s.column, "DEFAULT under a CHECK constraint; write the value")
		}
	}
	return true, nil
}

// skipped marks the values of rows that IGNORE leaves out because they do not satisfy a CHECK. The guard CHECK of their columns
// makes the backend leave them out too.
func (c *converter) skipped(sites []site, warnings *ownWarnings) error {
	for _, s := range sites {
		guard := ""
		if c.table != nil {
			guard = c.table.GuardName(s.column.Column)
		}
		if guard == "" {
			return errNotPossible(s.column, "the row does not satisfy a CHECK constraint, and IGNORE cannot leave it out; run `latchkey check --sql`, or leave the row out")
		}
		c.result.values[s.token] = converted{skipped: true}
		if name := "CONSTRAINT " + quoteName(guard) + " failed"; !slices.Contains(warnings.guards, name) {
			warnings.guards = append(warnings.guards, name)
		}
	}
	return nil
}

// unspoiled gives the evaluator's session variables under which everything is stored and read as it is.
const unspoiled = "SET sql_mode='',time_zone='+00:00',character_set_client=utf8mb4,character_set_connection=utf8mb4,character_set_results=binary,check_constraint_checks=0"

// execAll runs statements of the converter's own.
func (c *converter) execAll(statements ...string) error {
	for _, text := range statements {
		if _, err := c.conn.Exec(c.x.ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// mirror gives the evaluator's session what decides how values convert in the client's.
func (c *converter) mirror() error {
	f := &c.x.facts
	if !asciiOnly(c.name) && f.conv.ClientCharset != "utf8mb4" && f.conv.ClientCharset != "utf8mb3" {
		return errNotPossible(c.sites[0].column, "the value's conversion is not plain, and the table's name is not ASCII; write the value in the declared type")
	}
	var b strings.Builder
	temporal := c.temporal()
	b.WriteString("SET check_constraint_checks=1,")
	if temporal != nil {
		zone := f.zone
		if zone == "" && temporal.Type.Family() == logical.FamilyTimestamp {
			return errNotPossible(temporal, "the value's conversion is not plain and the session's time zone is not certain; SET time_zone")
		}
		now, err := c.x.now(zone == "")
		if err != nil {
			return err
		}
		b.WriteString("time_zone=" + quoteText(cmp.Or(zone, "+00:00")) + ",timestamp=" + now + ",")
	}
	b.WriteString("sql_mode=" + quoteText(c.mode()) + ",character_set_results=utf8mb4,character_set_client=" + f.conv.ClientCharset)
	if f.conv.ConnectionCharset != "" {
		b.WriteString(",character_set_connection=" + f.conv.ConnectionCharset)
	}
	_, err := c.conn.Exec(c.x.ctx, b.String())
	return err
}

// temporal gives a column whose conversion depends on clock and time zone, a TIMESTAMP rather than another; nil when there is
// none.
func (c *converter) temporal() (found *rewrite.Protected) {
	for _, column := range c.columns {
		if column.Type.Timed() && (found == nil || column.Type.Family() == logical.FamilyTimestamp) {
			found = column
		}
	}
	return found
}

// mode gives sql_mode for a table that knows no transactions: what is strict there depends on the engine.
func (c *converter) mode() string {
	mode := c.x.facts.modeText
	if c.table != nil && c.table.Transactional && c.x.facts.Mode.Has(rewrite.StrictTransTables) {
		mode += ",STRICT_ALL_TABLES"
	}
	return mode
}

// insert converts the values of the rows of an INSERT or REPLACE, all rows in one statement.
func (c *converter) insert(written []site) error {
	if err := c.mirror(); err != nil {
		return err
	}
	c.start("INSERT ")
	if c.r.plan.Ignore {
		c.add("IGNORE ")
	}
	c.add("INTO " + c.name + " VALUES ")
	place := make(map[*rewrite.Protected]int, len(c.columns))
	for i, column := range c.columns {
		place[column] = i
	}
	values := make([]*site, len(c.columns))
	// A row of which nothing is written stands there too: messages count the rows.
	for i, row := 0, 1; i < len(written); row++ {
		clear(values)
		for ; i < len(written) && written[i].row == row; i++ {
			values[place[written[i].column]] = &written[i]
		}
		if row > 1 {
			c.add(",")
		}
		c.add("(" + strconv.Itoa(row))
		for _, s := range values {
			c.add(",")
			if err := c.value(s); err != nil {
				return err
			}
		}
		c.add(")")
	}
	warnings, err := c.exec()
	if err != nil {
		return err
	}
	if warnings > 0 {
		if c.result.rows, err = c.warnings(warnings); err != nil {
			return err
		}
		if c.r.plan.Selected {
			return errNotPossible(written[0].column, "the value does not fit the declared type as it is, and how many rows of the SELECT it is written to is not known; write it in the declared type")
		}
	}
	if err := c.readBack(written); err != nil {
		return err
	}
	return c.missing(written)
}

// missing finds the rows that IGNORE has left out.
func (c *converter) missing(written []site) error {
	for i := 0; i < len(written); {
		first := i
		gone := false
		for ; i < len(written) && written[i].row == written[first].row; i++ {
			if _, ok := c.result.values[written[i].token]; written[i].given && !ok {
				gone = true
			}
		}
		if !gone {
			continue
		}
		var given []site
		for _, s := range written[first:i] {
			if s.given {
				given = append(given, s)
			}
		}
		if err := c.skipped(given, &c.result.rows); err != nil {
			return err
		}
		c.result.rows.hidden++
	}
	return nil
}

// assign converts the values of the assignments of an UPDATE or ON DUPLICATE KEY UPDATE, over one row.
func (c *converter) assign(assigned []site) error {
	if err := c.execAll("INSERT INTO " + c.name + " (" + c.row + ") VALUES (0)"); err != nil {
		return err
	}
	if err := c.mirror(); err != nil {
		return err
	}
	c.start("UPDATE ")
	if c.r.plan.Ignore {
		c.add("IGNORE ")
	}
	c.add(c.name + " SET ")
	for i := range assigned {
		if i > 0 {
			c.add(",")
		}
		c.add(quoteName(assigned[i].column.Column) + "=")
		if err := c.value(&assigned[i]); err != nil {
			return err
		}
	}
	warnings, err := c.exec()
	if f := (*fault)(nil); errors.As(err, &f) && f.code != codeNoCast {
		c.result.failed = f
		for _, s := range assigned {
			c.result.values[s.token] = converted{failed: true}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if warnings > 0 {
		if c.result.assigned, err = c.warnings(warnings); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(c.result.assigned.list, func(d diagnosis) bool { return d.code == codeConstraint }) {
		c.result.assigned.hidden = 1
		return c.skipped(assigned, &c.result.assigned)
	}
	return c.readBack(assigned)
}

func (c *converter) start(text string) { c.text, c.params = append(c.text[:0], text...), c.params[:0] }

func (c *converter) add(text string) { c.text = append(c.text, text...) }

// value writes a value as the client wrote it. What the backend itself decides about, DEFAULT and a NULL where that is one,
// stands there but is not read back.
func (c *converter) value(s *site) error {
	r := c.r
	switch {
	case s == nil || s.value.Kind == rewrite.ValueDefault || s.value.Kind == rewrite.ValueImplicit:
		c.add("DEFAULT")
		return nil
	case s.value.Kind == rewrite.ValueNull:
		s.given = !s.column.Nullable
		c.add("NULL")
		return nil
	}
	if s.value.Kind == rewrite.ValueParam {
		n := r.vals.number(s.token)
		if n < 0 || n >= len(r.vals.params) {
			return errOperand
		}
		p := &r.vals.params[n]
		if p.Null || p.Type == wire.TypeNull {
			s.given = !s.column.Nullable
			c.add("NULL")
			return nil
		}
		c.params = append(c.params, *p)
	} else if r.vals.charset != "" {
		return errNotPossible(s.column, "the value's conversion is not plain, and the character set has changed since the statement was prepared; prepare it again")
	}
	if s.from > s.to || s.to >= r.st.Len() {
		return errOperand
	}
	s.given = true
	for i := s.from; i <= s.to; i++ {
		if i > s.from {
			c.text = append(c.text, ' ')
		}
		c.text = append(c.text, r.st.Text(i)...)
	}
	return nil
}

// exec runs the statement, as a prepared one where it has parameters, and gives the number of warnings. A value that does not
// convert is a *fault.
func (c *converter) exec() (warnings int, err error) {
	var ok wire.OK
	if len(c.params) == 0 {
		ok, err = c.conn.Exec(c.x.ctx, string(c.text))
	} else {
		ok, err = c.conn.ExecParams(c.x.ctx, string(c.text), c.params)
	}
	var e *evaluator.Error
	if errors.As(err, &e) {
		if f, ok := valueFault(e.ERR); ok {
			if f.about, err = c.warnings(0); err != nil {
				return 0, err
			}
			return 0, f
		}
	}
	return int(ok.Warnings), err
}

// warnings reads the warnings of the statement that has just run; there were total, or as many as there are rows when it is 0.
func (c *converter) warnings(total int) (ownWarnings, error) {
	result, err := c.conn.Query(c.x.ctx, "SHOW WARNINGS")
	if err != nil {
		return ownWarnings{}, err
	}
	own := ownWarnings{total: total}
	for _, row := range result.Rows {
		d, err := readDiagnosis(row)
		if err != nil {
			return own, err
		}
		d.message = withheld(wire.ERR{Code: d.code, Message: d.message}).Message
		own.list = append(own.list, d)
	}
	own.total = max(own.total, len(own.list))
	return own, nil
}

// valueErrors are the errors and warnings that MariaDB gives about a value that is stored. Their texts hold no value, or one
// that withheld finds. https://mariadb.com/kb/en/mariadb-error-code-reference/
var valueErrors = []uint16{
	1048, // ER_BAD_NULL_ERROR
	1264, // ER_WARN_DATA_OUT_OF_RANGE
	1265, // WARN_DATA_TRUNCATED
	1292, // ER_TRUNCATED_WRONG_VALUE
	1299, // ER_WARN_INVALID_TIMESTAMP
	1300, // ER_INVALID_CHARACTER_STRING
	1364, // ER_NO_DEFAULT_FOR_FIELD
	1366, // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
	1367, // ER_ILLEGAL_VALUE_FOR_TYPE
	1406, // ER_DATA_TOO_LONG
	1411, // ER_WRONG_VALUE_FOR_TYPE
	1441, // ER_DATETIME_FUNCTION_OVERFLOW
	1525, // ER_WRONG_VALUE
	1690, // ER_DATA_OUT_OF_RANGE
	3854, // ER_CANNOT_CONVERT_CHARACTER of later servers
	codeConstraint,
	4035, // ER_JSON_BAD_CHR
	4036, // ER_JSON_NOT_JSON_CHR
	4037, // ER_JSON_EOS
	4038, // ER_JSON_SYNTAX
	4039, // ER_JSON_ESCAPING
	4040, // ER_JSON_DEPTH
	codeNoCast,
}

// valueFault gives the error that the client gets for a value that the evaluator refused; ok is false when the evaluator
// refused something else.
func valueFault(e wire.ERR) (f *fault, ok bool) {
	if !slices.Contains(valueErrors, e.Code) {
		return nil, false
	}
	e = withheld(e)
	return &fault{code: e.Code, state: e.State, message: e.Message}, true
}

// withheldValue stands in place of a value that MariaDB's text quotes.
const withheldValue = "(withheld)"

// withheld gives a message about a value without the value: what is protected is not to end up in the logs of applications.
func withheld(e wire.ERR) wire.ERR {
	from, to := -1, -1
	switch e.Code {
	case 1048, 1264, 1265, 1299, 1364, 1406, codeConstraint, 4035, 4036, 4037, 4038, 4039, 4040, codeNoCast:
		return e
	case 1292, 1366, 1367, 1411, 1525:
		if from = strings.Index(e.Message, " value: '"); from >= 0 {
			from += len(" value: '")
			if to = strings.LastIndex(e.Message, "' for "); to < from {
				to = len(e.Message) - 1
			}
		}
	case 1300:
		if from = strings.Index(e.Message, ": '"); from >= 0 {
			from, to = from+len(": '"), len(e.Message)-1
		}
	}
	if from < 0 || to < from {
		e.Message = "Latchkey: MariaDB's text quotes the value and is withheld"
		return e
	}
	e.Message = e.Message[:from] + withheldValue + e.Message[to:]
	return e
}

// readBack reads what the table holds.
func (c *converter) readBack(sites []site) error {
	if err := c.execAll(unspoiled); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("SELECT " + c.row)
	for _, column := range c.columns {
		b.WriteString("," + column.Type.ReadBack(quoteName(column.Column)))
	}
	b.WriteString(" FROM " + c.name)
	type key struct {
		row    int
		column *rewrite.Protected
	}
	tokens := make(map[key]int, len(sites))
	for _, s := range sites {
		if s.given {
			tokens[key{s.row, s.column}] = s.token
		}
	}
	return c.conn.Each(c.x.ctx, b.String(), func(values [][]byte) error {
		if len(values) != len(c.columns)+1 {
			return errOperand
		}
		row, err := strconv.Atoi(string(values[0]))
		if err != nil {
			return errOperand
		}
		for i, column := range c.columns {
			token, ok := tokens[key{row, column}]
			if !ok {
				continue
			}
			value := values[i+1]
			if value == nil {
				c.result.values[token] = converted{null: true}
				continue
			}
			canonical, err := column.Type.Adopt(make([]byte, 0, len(value)), value)
			if err != nil {
				return errConversion(column, err)
			}
			c.result.values[token] = converted{canonical: canonical}
		}
		return nil
	})
}

// now reads the time that NOW() has in the client's session, in seconds since 1970; with shifted, the time at which a clock in
// UTC shows what one in the session's time zone does now.
func (x *executor) now(shifted bool) (string, error) {
	now, query := "", "SELECT @@timestamp,FOUND_ROWS(),ROW_COUNT()"
	if shifted {
		query = "SELECT @@timestamp+TIMESTAMPDIFF(SECOND,UTC_TIMESTAMP(),NOW()),FOUND_ROWS(),ROW_COUNT()"
	}
	err := x.side([]byte(query), nil, func(values [][]byte) error {
		if len(values) != 3 {
			return errOrigin
		}
		now = string(values[0])
		x.diagnostics.disturbed(values[1], values[2])
		return nil
	})
	if err == nil && strings.Trim(now, "0123456789.") != "" || now == "" && err == nil {
		err = errOrigin
	}
	return now, err
}

// quoteText writes a string literal that reads the same in every sql_mode and character set that is based on ASCII.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func asciiOnly(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// weigh asks the evaluator for the sort weights that the sealer wants.
func (x *executor) weigh(s *sealer) error {
	return weigh(x.ctx, s, x.acquire)
}

func weigh(ctx context.Context, s *sealer, acquire func(*rewrite.Protected) (*evaluator.Conn, error)) error {
	if len(s.wanted) == 0 {
		return errOperand
	}
	conn, err := acquire(s.wanted[0].column)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer s.forgetWanted()
	for some := range slices.Chunk(s.wanted, maxWeighed) {
		if err := weighSome(ctx, conn, s, some); err != nil {
			return err
		}
	}
	return nil
}

// maxWeighed is how many values are weighed by one query: MariaDB has at most 4,096 columns in a result, and a value has up to
// three levels of weights.
const maxWeighed = 1000

// weighSome asks for the weights of some values by one query.
func weighSome(ctx context.Context, conn *evaluator.Conn, s *sealer, wanted []wantedWeights) error {
	var b bytes.Buffer
	b.WriteString("SELECT ")
	for i, w := range wanted {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(w.column.Type.WeightQuery(w.canonical))
	}
	result, err := conn.Query(ctx, b.String())
	clear(b.Bytes())
	var e *evaluator.Error
	switch {
	case errors.As(err, &e):
		return errNotPossible(wanted[0].column, "the evaluator could not weigh the value under the column's collation")
	case err != nil:
		return errEvaluator(wanted[0].column)
	case len(result.Rows) != 1:
		return errOperand
	}
	values := result.Rows[0]
	for _, w := range wanted {
		n := w.column.Type.WeightColumns()
		if len(values) < n {
			return errOperand
		}
		weights, err := w.column.Type.AdoptWeights([]byte{}, values[:n])
		if err != nil {
			return errConversion(w.column, err)
		}
		s.learn(w.key, weights)
		values = values[n:]
	}
	return nil
}
