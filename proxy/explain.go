package proxy

import (
	"strconv"
	"strings"

	"latchkey/rewrite"
)

// explainTable tells, table by table, what a residual statement would fetch: which columns are opened, which conditions the
// backend applies, and whether the statement's LIMIT bounds the rows.
func explainTable(plan *rewrite.ResidualPlan) *table {
	t := &table{columns: []string{"id", "select_type", "table", "opened", "fetched", "pushed", "Extra"}}
	for i := range plan.Loads {
		l := &plan.Loads[i]
		var opened, fetched []string
		for _, c := range l.Columns {
			if c.Protected != nil {
				opened = append(opened, c.Name)
			} else {
				fetched = append(fetched, c.Name)
			}
		}
		extra := "finished in the evaluator"
		switch {
		case l.Limited:
			extra += "; the backend applies LIMIT"
		case len(l.Pushed) == 0:
			extra += "; every row of the table is fetched"
		}
		if plan.Locks {
			extra += "; the rows are locked"
		}
		t.rows = append(t.rows, tableRow(strconv.Itoa(i+1), "RESIDUAL", l.Table.Database+"."+l.Table.Name,
			strings.Join(opened, ","), strings.Join(fetched, ","), strings.Join(l.Pushed, " AND "), extra))
	}
	return t
}

// explainResidual answers EXPLAIN of a residual statement. Nothing is fetched.
func (x *executor) explainResidual(r *residual) (ok bool, err error) {
	t := explainTable(r.plan.Residual)
	// A query of a table, even of a derived one, ends the warnings of the statement before it.
	if err := x.side([]byte("SELECT 1 FROM (SELECT 1) lk"), nil, func([][]byte) error { return nil }); err != nil {
		return false, x.refuse(err)
	}
	x.diagnostics.answered(uint64(len(t.rows)))
	x.area = diagnosticsArea{merged: true}
	err = x.answerTable(t, r.execute != nil, r.more)
	return err == nil, err
}
