package rewrite

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// residual plans a query that cannot be answered by rewriting: which rows of which tables have to be opened, so that the
// client's own text, run over them, gives MariaDB's answer. The statement is run whole, so every fetch only has to be a
// superset of the rows that matter; nothing here decides what the answer is.
func (b *builder) residual() (*ResidualPlan, error) {
	r := &ResidualPlan{}
	if err := b.finishable(r); err != nil {
		return nil, err
	}
	if err := b.evaluable(r); err != nil {
		return nil, err
	}
	p := &residualPlanner{b: b, r: r, ctes: map[string]bool{}, exists: map[ast.Node]bool{}, writing: &queryBlock{}}
	b.parsed.Node.Accept(&cteNames{p.ctes})
	v := &blockFinder{p: p}
	b.parsed.Node.Accept(v)
	if v.err != nil {
		return nil, v.err
	}
	switch b.parsed.Node.(type) {
	case *ast.UpdateStmt, *ast.DeleteStmt, *ast.InsertStmt:
		if err := p.residualWrite(b.parsed.Node); err != nil {
			return nil, err
		}
	}
	if b.traced {
		var err error
		if r.Sources, err = p.sources(); err != nil {
			return nil, err
		}
	}
	p.correlate()
	if err := p.needed(); err != nil {
		return nil, err
	}
	if err := p.variables(); err != nil {
		return nil, err
	}
	for i, t := range p.tables {
		load, err := p.load(t, i)
		if err != nil {
			return nil, err
		}
		r.Loads = append(r.Loads, load)
	}
	if err := p.aliases(); err != nil {
		return nil, err
	}
	return r, p.collapse()
}

// aliases finds the select items in which something is replaced and that have no alias.
func (p *residualPlanner) aliases() error {
	if len(p.r.Session) == 0 {
		return nil
	}
	for _, q := range p.blocks {
		if q.sel == nil {
			continue
		}
		if err := p.itemNames(p.b.parsed, q.sel); err != nil {
			return err
		}
	}
	if r := p.b.parsed.Returning; r != nil {
		if s, ok := r.Node.(*ast.SelectStmt); ok {
			return p.itemNames(r, s)
		}
	}
	return nil
}

func (p *residualPlanner) itemNames(parsed *Parsed, s *ast.SelectStmt) error {
	if s.Fields == nil {
		return nil
	}
	for _, f := range s.Fields.Fields {
		if f.WildCard != nil {
			continue
		}
		start := parsed.TokenAt(f.Offset)
		if start < 0 {
			start = parsed.TokenAt(f.Expr.OriginTextPosition())
		}
		if start < 0 && f.AsName.O == "" {
			return notUnderstood("a select item that reads the session has no known place", "give it an alias")
		}
		if start < 0 {
			continue
		}
		from, to, err := p.b.item(start)
		if err != nil {
			return err
		}
		reads := false
		for i := range p.r.Session {
			r := &p.r.Session[i]
			if from <= r.From && r.To <= to {
				reads, r.Whole = true, r.Whole || from == r.From && (r.To == to || f.AsName.O != "" && !joins(p.b.st, r.To+1))
			}
		}
		if reads && f.AsName.O == "" {
			p.r.Names = append(p.r.Names, ItemName{From: from, To: to})
		}
	}
	return nil
}

// joins reports whether a token goes on with the expression before it, and does not name it.
func joins(st *Statement, i int) bool { return st.Token(i).Kind == TokOp }

// collapse turns the token indexes of all pieces into collapsed ones.
func (p *residualPlanner) collapse() error {
	if err := p.collapseSession(); err != nil {
		return err
	}
	for i := range p.r.Loads {
		if err := p.b.collapsePieces(p.r.Loads[i].Fetch); err != nil {
			return err
		}
	}
	return nil
}

// collapseSession does so for what is replaced in the client's text.
func (p *residualPlanner) collapseSession() error {
	var kept []SessionRead
	for _, s := range p.r.Session {
		s.From, s.To = p.b.st.Collapsed(s.From), p.b.st.Collapsed(s.To)
		if s.From < 0 {
			continue // in an element of a list that is like another
		}
		if s.To < s.From {
			return notUnderstood("a value's place in the statement is not known", "")
		}
		kept = append(kept, s)
	}
	p.r.Session = kept
	for i := range p.r.Names {
		n := &p.r.Names[i]
		if n.From, n.To = p.b.st.Collapsed(n.From), p.b.st.Collapsed(n.To); n.From < 0 || n.To < n.From {
			return notUnderstood("a value's place in the statement is not known", "")
		}
	}
	return nil
}

// finishable refuses the clauses that the evaluator cannot stand in for.
func (b *builder) finishable(r *ResidualPlan) error {
	cut := b.parsed.Cut
	switch {
	case cut&CutIntoFile != 0:
		return notUnderstood("INTO OUTFILE in a statement that computes over protected columns", "read the rows with a plain SELECT")
	case cut&CutSetStatement != 0:
		return notUnderstood("SET STATEMENT before a statement that computes over protected columns", "set the variable for the session")
	case cut&CutAnalyze != 0:
		return notUnderstood("ANALYZE of a statement that computes over protected columns", "use EXPLAIN")
	case cut&(CutProcedure|CutRowsExamined) != 0:
		return notUnderstood("a clause that counts or describes the server's own rows", "leave it out")
	}
	r.Explain = cut&CutExplain != 0
	r.Locks = cut&CutLocking != 0
	return nil
}

// residualPlanner gathers the uses of every table in a statement.
type residualPlanner struct {
	b      *builder
	r      *ResidualPlan
	tables []*usedTable
	blocks []*queryBlock
	// ctes are the names of all common table expressions, folded.
	ctes map[string]bool
	// assignments counts the assignments to user variables that were understood.
	assignments int
	// exists are the queries of EXISTS, whose select list is not read.
	exists map[ast.Node]bool
	// writing is the block of UPDATE and DELETE, whose tables are known only after the queries inside it.
	writing *queryBlock
	// correlated are the conditions between a query's own column and one of a query around it.
	correlated []correlation
}

// usedTable is a table or view with all the places that name it.
type usedTable struct {
	table *Table
	// prots are the protected columns of a view by position; nil for a base table.
	prots []*Protected
	uses  []*tableUse
	need  map[string]bool // folded column names
	all   bool
	// written: the fetch locks the rows, which the statement may write. inserted: the statement adds rows to it.
	written, inserted bool
}

// tableUse is one entry of a FROM clause.
type tableUse struct {
	of    *usedTable
	name  string // as compared
	block *queryBlock
	// whole: nothing may narrow the fetch, because the name may mean something else here.
	whole bool
	// conjuncts narrow the fetch for this use.
	conjuncts []conjunct
	// equal are the joins on plaintext columns, for semi-joins.
	equal []joinPair
}

// queryBlock is one SELECT.
type queryBlock struct {
	sel  *ast.SelectStmt
	uses []*tableUse
	// derived are the names, as compared, of what stands beside the tables: derived tables and common table expressions.
	derived []string
	// pushedAll: every conjunct of WHERE narrows the fetch of the block's only table.
	pushedAll bool
	// outer is the block in whose expression this one stands; nil for the outermost, derived tables and common table expressions.
	outer *queryBlock
}

// cteNames collects the names of common table expressions.
type cteNames struct{ names map[string]bool }

// Enter implements ast.Visitor.
func (v *cteNames) Enter(n ast.Node) (ast.Node, bool) {
	if c, ok := n.(*ast.CommonTableExpression); ok {
		v.names[FoldName(c.Name.O)] = true
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *cteNames) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// blockFinder plans every SELECT of a statement, at any depth.
type blockFinder struct {
	p   *residualPlanner
	err error
	// open are the blocks around the node; nil where what is inside sees none of them.
	open []*queryBlock
}

// outer is the block in which an expression stands.
func (v *blockFinder) outer() *queryBlock {
	if len(v.open) == 0 {
		return nil
	}
	return v.open[len(v.open)-1]
}

// Enter implements ast.Visitor.
func (v *blockFinder) Enter(n ast.Node) (ast.Node, bool) {
	if v.err != nil {
		return n, true
	}
	switch x := n.(type) {
	case *ast.SelectStmt:
		v.err = v.p.block(x, v.outer())
		v.open = append(v.open, v.p.blocks[len(v.p.blocks)-1])
	case *ast.UpdateStmt, *ast.DeleteStmt:
		v.open = append(v.open, v.p.writing)
	case *ast.TableSource, *ast.CommonTableExpression:
		v.open = append(v.open, nil)
	case *ast.ExistsSubqueryExpr:
		if sub, ok := x.Sel.(*ast.SubqueryExpr); ok {
			v.p.exists[sub.Query] = true
		}
	case *ast.MatchAgainst:
		v.err = notUnderstood("MATCH ranks by the rows of the whole table", "use LIKE or REGEXP over protected columns")
	}
	return n, v.err != nil
}

// Leave implements ast.Visitor.
func (v *blockFinder) Leave(n ast.Node) (ast.Node, bool) {
	switch n.(type) {
	case *ast.SelectStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.TableSource, *ast.CommonTableExpression:
		v.open = v.open[:max(0, len(v.open)-1)]
	}
	return n, v.err == nil
}

// block notes the tables and conditions of one SELECT; those inside it come on their own.
func (p *residualPlanner) block(s *ast.SelectStmt, outer *queryBlock) error {
	q := &queryBlock{sel: s, outer: outer}
	p.blocks = append(p.blocks, q)
	if s.From == nil || s.From.TableRefs == nil {
		return nil
	}
	positive := s == p.b.parsed.Node
	if insert, ok := p.b.parsed.Node.(*ast.InsertStmt); ok {
		positive = s == insert.Select
	}
	reach, err := p.tree(q, s.From.TableRefs, positive)
	if err != nil {
		return err
	}
	if s.Where == nil {
		q.pushedAll = true
		return nil
	}
	q.pushedAll = p.push(condition{q, reach, positive}, s.Where, whereEnds)
	return nil
}

// reachable is a use that a condition filters; nullable when an outer join may fill its row with NULL below the condition.
type reachable struct {
	use      *tableUse
	nullable bool
}

// condition is where a WHERE or ON stands: its block, the uses that it filters, and whether a row that it does not accept only
// drops out of the answer (see builder.cond), so that a tag predicate over the keys at hand is right.
type condition struct {
	q        *queryBlock
	reach    []reachable
	positive bool
}

// tree walks a join tree and gives the uses below it.
func (p *residualPlanner) tree(q *queryBlock, n ast.ResultSetNode, positive bool) ([]reachable, error) {
	switch x := n.(type) {
	case *ast.Join:
		return p.joined(q, x, positive)
	case *ast.TableSource:
		name, ok := x.Source.(*ast.TableName)
		if !ok {
			if j, ok := x.Source.(*ast.Join); ok {
				return p.tree(q, j, positive)
			}
			q.derived = append(q.derived, FoldTable(x.AsName.O, p.b.p.schema.LowerCaseTableNames))
			return nil, nil // its blocks come on their own
		}
		use, err := p.use(q, name, x.AsName.O)
		if err != nil || use == nil {
			return nil, err
		}
		return []reachable{{use: use}}, nil
	}
	return nil, notUnderstood("a table expression is not understood", "")
}

func (p *residualPlanner) joined(q *queryBlock, j *ast.Join, positive bool) ([]reachable, error) {
	left, err := p.tree(q, j.Left, positive && j.Tp != ast.RightJoin)
	if err != nil || j.Right == nil {
		return left, err
	}
	right, err := p.tree(q, j.Right, positive && j.Tp != ast.LeftJoin)
	if err != nil {
		return nil, err
	}
	if j.NaturalJoin {
		for _, r := range append(slices.Clone(left), right...) {
			r.use.of.all = true
		}
	}
	// What ON filters: both sides of an inner join, the null-supplied side of an outer one.
	filtered := append(slices.Clone(left), right...)
	switch j.Tp {
	case ast.LeftJoin:
		filtered, positive = right, false
	case ast.RightJoin:
		filtered, positive = left, false
	}
	if j.On != nil {
		p.push(condition{q, filtered, positive}, j.On.Expr, onEnds)
	}
	all := make([]reachable, 0, len(left)+len(right))
	for _, r := range left {
		all = append(all, reachable{r.use, r.nullable || j.Tp == ast.RightJoin})
	}
	for _, r := range right {
		all = append(all, reachable{r.use, r.nullable || j.Tp == ast.LeftJoin})
	}
	return all, nil
}

// use notes one table name; nil for a common table expression.
func (p *residualPlanner) use(q *queryBlock, n *ast.TableName, alias string) (*tableUse, error) {
	b := p.b
	database := n.Schema.O
	cte := database == "" && p.ctes[FoldName(n.Name.O)]
	if database == "" {
		database = b.f.Database
	}
	t := b.p.schema.Table(database, n.Name.O)
	switch {
	case cte && systemSchema(database):
		// Where the common table expression is out of reach, the name is that of the evaluator's own table.
		return nil, notUnderstood("a common table expression in a schema of the server's own, beside protected columns",
			"choose another database with USE")
	case t == nil && cte:
		q.derived = append(q.derived, FoldTable(cmp.Or(alias, n.Name.O), b.p.schema.LowerCaseTableNames))
		return nil, nil
	case systemSchema(database):
		return nil, notUnderstood("a table of the server's own beside protected columns", "read it in a statement of its own")
	case t == nil:
		return nil, notUnderstood("a table that is not known, or a temporary one, beside protected columns",
			"copy what is needed into an ordinary table")
	case n.TableSample != nil || n.AsOf != nil || len(n.PartitionNames) > 0:
		return nil, notUnderstood("a partition or another state of a table beside protected columns", "name the table alone")
	case t.Kind != BaseTable && t.Kind != View:
		return nil, notUnderstood("a sequence or another special table beside protected columns", "")
	case !asciiName(t.Database+t.Name) && b.f.Charset != CharsetUTF8MB4:
		return nil, notUnderstood("a table name outside of ASCII in this character set", "connect with utf8mb4")
	}
	of, err := p.tableOf(t)
	if err != nil {
		return nil, err
	}
	if alias == "" {
		alias = n.Name.O
	}
	u := &tableUse{of: of, name: FoldTable(alias, b.p.schema.LowerCaseTableNames), block: q, whole: cte}
	if cte {
		q.derived = append(q.derived, u.name)
	}
	p.r.Indexes = p.r.Indexes || len(n.IndexHints) > 0
	of.uses = append(of.uses, u)
	q.uses = append(q.uses, u)
	return u, nil
}

// systemSchema reports whether a database is one of the server's own.
func systemSchema(name string) bool {
	switch FoldName(name) {
	case "information_schema", "performance_schema", "mysql", "sys":
		return true
	}
	return false
}

func (p *residualPlanner) tableOf(t *Table) (*usedTable, error) {
	for _, of := range p.tables {
		if of.table == t {
			return of, nil
		}
	}
	of := &usedTable{table: t, need: map[string]bool{}}
	if t.Kind == View {
		if t.Unreadable {
			return nil, refuse(CodeNotUnderstood, t.Database+"."+t.Name, "the view's definition cannot be read by Latchkey's own account",
				"grant that account SHOW VIEW on it")
		}
		of.prots = make([]*Protected, len(t.Columns))
		if p.b.p.touch.names[foldTouch(t.Name)]&touchView != 0 {
			prots, err := p.b.p.viewColumns(t, p.b)
			if err != nil {
				return nil, err
			}
			of.prots = prots
		}
	}
	for i := range t.Columns {
		if prot := of.protected(i); prot != nil && prot.Conflict != nil {
			return nil, prot.Conflict
		}
	}
	p.tables = append(p.tables, of)
	return of, nil
}

// protected gives the protected column at a position of a table or view; nil for a plain one.
func (t *usedTable) protected(i int) *Protected {
	if t.prots != nil {
		return t.prots[i]
	}
	return t.table.Columns[i].Protected
}

// column finds a column by its folded name.
func (t *usedTable) column(name string) (*Column, *Protected) {
	for i, c := range t.table.Columns {
		if FoldName(c.Name) == name {
			return c, t.protected(i)
		}
	}
	return nil, nil
}

// needed notes which columns the statement uses. A name counts for every table that has such a column and that its
// qualifier may mean: one column too many costs a little, one too few would be a wrong answer.
func (p *residualPlanner) needed() error {
	for _, q := range p.blocks {
		if q.sel == nil || q.sel.Fields == nil || p.exists[q.sel] {
			continue
		}
		for _, f := range q.sel.Fields.Fields {
			if f.WildCard != nil {
				p.star(q, f.WildCard)
			}
		}
	}
	p.b.parsed.Node.Accept(&nameFinder{p})
	if r := p.b.parsed.Returning; r != nil {
		return p.returned(r)
	}
	return nil
}

// returned notes the columns of a RETURNING list.
func (p *residualPlanner) returned(r *Parsed) error {
	s, ok := r.Node.(*ast.SelectStmt)
	if !ok || s.Fields == nil {
		return notUnderstood("RETURNING is not understood", "")
	}
	for _, f := range s.Fields.Fields {
		if f.WildCard != nil && (p.r.Write == nil || p.r.Write.Insert == nil) {
			p.star(p.blocks[len(p.blocks)-1], f.WildCard)
		}
	}
	r.Node.Accept(&nameFinder{p})
	return nil
}

func (p *residualPlanner) star(q *queryBlock, w *ast.WildCardField) {
	if w.Table.O == "" {
		for _, u := range q.uses {
			u.of.all = true
		}
		return
	}
	name := FoldTable(w.Table.O, p.b.p.schema.LowerCaseTableNames)
	for _, t := range p.tables {
		for _, u := range t.uses {
			if u.name == name {
				t.all = true
			}
		}
	}
}

// nameFinder looks at every column name of a statement.
type nameFinder struct{ p *residualPlanner }

// Enter implements ast.Visitor.
func (v *nameFinder) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *ast.ColumnName:
		v.p.name(x)
	case *ast.Join:
		for _, c := range x.Using {
			v.p.name(c)
		}
	}
	return n, false
}

// Leave implements ast.Visitor.
func (v *nameFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

func (p *residualPlanner) name(n *ast.ColumnName) {
	column := FoldName(n.Name.O)
	for _, t := range p.tables {
		if c, _ := t.column(column); c != nil && p.mayName(t, n) {
			t.need[column] = true
		}
	}
}

// mayName reports whether the qualifier of a column name, if any, may mean a table.
func (p *residualPlanner) mayName(t *usedTable, n *ast.ColumnName) bool {
	qualifier := FoldTable(n.Table.O, p.b.p.schema.LowerCaseTableNames)
	if t.inserted && qualifier == FoldTable(t.table.Name, p.b.p.schema.LowerCaseTableNames) {
		return true
	}
	return qualifier == "" || slices.ContainsFunc(t.uses, func(u *tableUse) bool { return u.name == qualifier })
}

// alias is the name of a table in its fetch: one that no client's name can be mistaken for.
func alias(i int) string { return "`lk" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "`" }

// maxUsedTables bounds the tables of a statement.
const maxUsedTables = 61 // MariaDB's own limit of a join

// load makes the fetch of one table.
func (p *residualPlanner) load(t *usedTable, i int) (Load, error) {
	if len(p.tables) > maxUsedTables {
		return Load{}, notUnderstood("more tables than a join can have", "")
	}
	l := Load{Table: t.table, View: t.prots}
	as := alias(i)
	var list []string
	for k, c := range t.table.Columns {
		if t.all || t.need[FoldName(c.Name)] {
			l.Columns = append(l.Columns, LoadColumn{Name: c.Name, Protected: t.protected(k)})
			list = append(list, as+"."+quoteName(c.Name))
		}
	}
	if len(list) == 0 {
		// Rows count also when none of their columns does.
		k := p.smallest(t)
		l.Columns = []LoadColumn{{Name: t.table.Columns[k].Name, Protected: t.protected(k)}}
		list = []string{as + "." + quoteName(t.table.Columns[k].Name)}
	}
	if t.inserted && len(t.uses) == 0 {
		return l, nil
	}
	if text := strings.Join(list, ""); !asciiName(text) && p.b.f.Charset != CharsetUTF8MB4 {
		return Load{}, notUnderstood("a column name outside of ASCII in this character set", "connect with utf8mb4")
	}
	l.Fetch = []Piece{{Kind: PieceText, Text: "SELECT " + strings.Join(list, ",") + " FROM " + quoteName(t.table.Database) + "." +
		quoteName(t.table.Name) + " AS " + as}}
	p.where(t, as, &l)
	p.order(t, as, &l)
	if t.written {
		l.Fetch = append(l.Fetch, Piece{Kind: PieceText, Text: " FOR UPDATE"})
	} else if p.r.Write != nil {
		// A statement that writes reads what is committed, and locks it.
		l.Fetch = append(l.Fetch, Piece{Kind: PieceText, Text: " LOCK IN SHARE MODE"})
	} else if p.r.Locks {
		lock, err := p.b.lockClause()
		if err != nil {
			return Load{}, err
		}
		l.Fetch = append(l.Fetch, lock...)
	}
	return l, nil
}

// smallest picks a column to fetch when only the number of rows counts: one of the primary key, else the first plain one.
func (p *residualPlanner) smallest(t *usedTable) int {
	for _, key := range keyColumns(t.table) {
		for k, c := range t.table.Columns {
			if FoldName(c.Name) == FoldName(key) {
				return k
			}
		}
	}
	for k := range t.table.Columns {
		if t.protected(k) == nil {
			return k
		}
	}
	return 0
}

// keyColumns gives the columns of the primary key, in order; none when there is none.
func keyColumns(t *Table) []string {
	var key []string
	for _, x := range t.Indexes {
		if x.Name != primaryKey {
			continue
		}
		for _, part := range x.Parts {
			key = append(key, part.Column)
		}
	}
	return key
}

// order makes the rows come in the order in which the statement would read them: its own, with its LIMIT, where the fetch
// filters all that the statement filters; else that of the primary key, on which applications rely.
func (p *residualPlanner) order(t *usedTable, as string, l *Load) {
	if pieces, ok := p.limited(t, as); ok {
		l.Fetch = append(l.Fetch, pieces...)
		l.Limited = true
		return
	}
	var keys []string
	for _, c := range keyColumns(t.table) {
		keys = append(keys, as+"."+quoteName(c))
	}
	if len(keys) > 0 {
		l.Fetch = append(l.Fetch, Piece{Kind: PieceText, Text: " ORDER BY " + strings.Join(keys, ",")})
	}
}

// lockClause gives the statement's FOR UPDATE or LOCK IN SHARE MODE, which has to be its end.
func (b *builder) lockClause() ([]Piece, error) {
	end := b.statementEnd()
	for i := end; i > 0; i-- {
		if b.st.IsOp(i, OpRightParen) {
			break
		}
		if b.st.Is(i, KwFor) && b.st.Is(i+1, KwUpdate) || b.st.Is(i, KwLock) && b.st.Is(i+1, KwIn) {
			if b.st.Is(end, KwLocked) {
				break
			}
			return []Piece{{Kind: PieceText, Text: " "}, {Kind: PieceSource, From: i, To: end}}, nil
		}
	}
	return nil, notUnderstood("a locking clause inside a statement that computes over protected columns",
		"put FOR UPDATE at the end of the statement, without SKIP LOCKED")
}
