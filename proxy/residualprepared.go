package proxy

import (
	"context"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// prepareResidual answers COM_STMT_PREPARE of a residual statement: what it will answer is known from the logical schema
// alone. The backend prepares nothing.
func (x *executor) prepareResidual(s *preparedStatement) error {
	if s.st.Versioned() {
		return x.refuse(errVersioned)
	}
	var columns []wire.Column
	var err error
	params := s.params
	if s.plan.Residual.Explain {
		columns = x.tableColumns(explainTable(s.plan.Residual))
	} else {
		columns, params, err = x.describeLogical(&s.st, s.plan.Residual)
	}
	if err != nil {
		return x.refuse(err)
	}
	if params != s.params {
		return x.refuse(errOperand)
	}
	x.prepared.virtual++
	s.id = firstVirtual + x.prepared.virtual
	if err := x.answer().Prepared(s.id, s.params, columns); err != nil {
		return err
	}
	x.prepared.add(s)
	return x.client.Flush()
}

// executeResidual carries out a residual statement with these parameters.
func (x *executor) executeResidual(s *preparedStatement, e *wire.Execute, snapshot *Snapshot) error {
	for _, l := range s.long {
		if l != nil && l.total != len(l.data) {
			return x.refuse(errPacketTooLarge)
		}
	}
	x.fillLong(s, e)
	r := &residual{x: x, st: &s.st, plan: s.plan, snapshot: snapshot, to: len(s.st.SQL()), execute: e, charset: s.charset}
	_, err := x.runResidual(r)
	return err
}

// definedTable is a table of the logical schema, or a view that stands there as a table. prots has, for a view, the protected
// column behind each of its columns.
type definedTable struct {
	*rewrite.Table
	prots []*rewrite.Protected
}

// loadedTables are the tables of a residual statement.
func loadedTables(plan *rewrite.ResidualPlan) []definedTable {
	tables := make([]definedTable, len(plan.Loads))
	for i := range plan.Loads {
		tables[i] = definedTable{plan.Loads[i].Table, plan.Loads[i].View}
	}
	return tables
}

// describeLogical asks the evaluator what a statement answers, of empty tables.
func (x *executor) describeLogical(st *rewrite.Statement, plan *rewrite.ResidualPlan) (columns []wire.Column, params int, err error) {
	if plan.Create != nil {
		return nil, st.Params(), x.describeCreate(plan.Create)
	}
	m, err := x.readMirror(askedOf(plan))
	if err != nil {
		return nil, 0, err
	}
	text, err := m.evaluatorText(st, plan, 0, len(st.SQL()), true)
	if err != nil {
		return nil, 0, err
	}
	err = x.onLogical(m, loadedTables(plan), func(ctx context.Context, conn *evaluator.Conn) error {
		d, err := conn.Describe(ctx, text)
		if err == nil {
			columns, params = d.Columns, d.Params
		}
		return err
	})
	return columns, params, err
}

// onLogical calls do with a session of the evaluator that is like the client's and has these tables, empty.
func (x *executor) onLogical(m *mirror, tables []definedTable, do func(ctx context.Context, conn *evaluator.Conn) error) error {
	if x.env.Evaluator == nil {
		return errNoEvaluator
	}
	ctx, _, end := x.evaluates()
	defer end()
	conn, err := x.env.Evaluator.Acquire(ctx, evaluator.RelayCaps(x.caps))
	if err == nil {
		defer conn.Release()
		err = x.onTables(ctx, conn, m, tables, func() error { return do(ctx, conn) })
	}
	if cause := context.Cause(ctx); cause != nil && x.ctx.Err() == nil {
		return cause
	}
	return evaluatorError(err)
}

// onTables calls do while the evaluator has these tables, empty, after conn's session has become like the client's.
func (x *executor) onTables(ctx context.Context, conn *evaluator.Conn, m *mirror, tables []definedTable, do func() error) error {
	return x.env.Schema.tables.with(ctx, conn, tables, func() error {
		if err := x.likeClient(ctx, conn, m); err != nil {
			return err
		}
		return do()
	})
}

// likeClient makes a session of the evaluator like the client's, after its tables have been made.
func (x *executor) likeClient(ctx context.Context, conn *evaluator.Conn, m *mirror) error {
	if m.database != "" {
		if err := x.env.Schema.tables.database(ctx, conn, m.database); err != nil {
			return err
		}
	}
	if err := m.applyZone(ctx, conn); err != nil {
		return err
	}
	return m.apply(ctx, conn)
}
