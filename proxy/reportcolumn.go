package proxy

import (
	"cmp"
	"fmt"
	"slices"

	"latchkey/rewrite"
)

// optionSearch is the option of a column that statements search.
const optionSearch = "search: equality"

// ReportedColumn is what a report knows of one protected column of the policy.
type ReportedColumn struct {
	// Column is database.table.column.
	Column string `json:"column"`
	// Key is the policy's, `user` or `service:NAME`; Search is `equality` or `none`; Type is the declared type.
	Key    string `json:"key"`
	Search string `json:"search"`
	Type   string `json:"type,omitempty"`
	// Ready says that the column holds cells already, so that it is protected now.
	Ready bool `json:"ready"`
	// Problem says why it cannot be protected as the policy has it.
	Problem string `json:"problem,omitempty"`
	// How many statements would open its cells to give them to the client (Read), seal values (Written), find rows by its search tags
	// (Searched), open it for the evaluator (Computed), and be refused because of it.
	Read     uint64 `json:"read"`
	Written  uint64 `json:"written"`
	Searched uint64 `json:"searched"`
	Computed uint64 `json:"computed"`
	Refused  uint64 `json:"refused"`
	// Needs is what the policy should say instead, empty where it is right; Why says because of what.
	Needs string `json:"needs,omitempty"`
	Why   string `json:"why,omitempty"`
}

// columnUse counts the statements that use a column.
type columnUse struct {
	read, written, searched, computed, refused uint64
	// toSealed and toFewer count those that would be rewritten, or open fewer rows, if the column had search tags.
	toSealed, toFewer uint64
}

// gains says what search tags would change.
func (u *columnUse) gains() string {
	sealed := searches(u.toSealed) + " by it would be rewritten: now rows are opened for that, or it is refused"
	fewer := searches(u.toFewer) + " with other conditions would open fewer rows"
	switch {
	case u.toFewer == 0:
		return sealed
	case u.toSealed == 0:
		return fewer
	}
	return sealed + "; " + fewer
}

func searches(n uint64) string {
	if n == 1 {
		return "1 search"
	}
	return fmt.Sprintf("%d searches", n)
}

// column gives the counts of a column. There are no more of them than columns that a policy has named.
func (r *report) column(name string) *columnUse {
	use := r.columns[name]
	if use == nil {
		use = &columnUse{}
		r.columns[name] = use
	}
	return use
}

// use counts the columns of a statement, each once for each way in which it is used.
func (r *report) use(f *foreseen) {
	for _, p := range f.needs {
		if f.becomes == classSealed {
			r.column(p.String()).toSealed++
		} else {
			r.column(p.String()).toFewer++
		}
	}
	if f.refusal != nil && f.refusal.Column != "" {
		r.column(f.refusal.Column).refused++
	}
	if f.plan == nil || f.refusal != nil {
		return
	}
	var read, computed []*rewrite.Protected
	for _, o := range f.plan.Outputs {
		read = once(read, o.Column)
	}
	if f.plan.Residual != nil {
		for i := range f.plan.Residual.Loads {
			if len(f.plan.Residual.Loads[i].Fetch) == 0 {
				continue
			}
			for _, c := range f.plan.Residual.Loads[i].Columns {
				computed = once(computed, c.Protected)
			}
		}
	}
	var written []*rewrite.Protected
	for _, p := range f.plan.Writes {
		written = once(written, p)
	}
	for _, p := range read {
		r.column(p.String()).read++
	}
	for _, p := range computed {
		r.column(p.String()).computed++
	}
	for _, p := range written {
		r.column(p.String()).written++
	}
	for _, p := range f.plan.Searches {
		r.column(p.String()).searched++
	}
}

// once appends p if it is a column that is not there yet.
func once(all []*rewrite.Protected, p *rewrite.Protected) []*rewrite.Protected {
	if p == nil || slices.Contains(all, p) {
		return all
	}
	return append(all, p)
}

// listColumns gives the columns of the policy. snapshot may be nil.
func (r *report) listColumns(snapshot *Snapshot) []ReportedColumn {
	all := []ReportedColumn{}
	if snapshot == nil || snapshot.foresight == nil {
		return all
	}
	for _, tables := range snapshot.foresight.Schema().Databases {
		for _, t := range tables {
			for _, c := range t.Columns {
				if c.Protected != nil && t.Kind != rewrite.View {
					all = append(all, r.listColumn(snapshot, t, c.Protected))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b ReportedColumn) int { return cmp.Compare(a.Column, b.Column) })
	return all
}

func (r *report) listColumn(snapshot *Snapshot, t *rewrite.Table, p *rewrite.Protected) ReportedColumn {
	c := ReportedColumn{Column: p.String(), Key: "user", Search: "none"}
	if p.ServiceKey != "" {
		c.Key = "service:" + p.ServiceKey
	}
	if p.Search {
		c.Search = "equality"
	}
	if now := snapshot.Schema.Table(p.Database, p.Table); now != nil {
		column := now.Column(p.Column)
		c.Ready = column != nil && column.Protected != nil && column.Protected.Conflict == nil
	}
	if p.Conflict != nil {
		c.Problem = p.Conflict.Reason
	} else {
		c.Type = p.Type.ColumnType()
	}
	use := r.columns[c.Column]
	if use == nil {
		use = &columnUse{}
	}
	c.Read, c.Written, c.Searched, c.Computed, c.Refused = use.read, use.written, use.searched, use.computed, use.refused
	unique := slices.ContainsFunc(t.Indexes, func(x *rewrite.Index) bool {
		return x.Unique && slices.ContainsFunc(x.Parts, func(part rewrite.IndexPart) bool { return rewrite.FoldName(part.Column) == rewrite.FoldName(p.Column) })
	})
	switch {
	case !p.Search && unique:
		c.Needs, c.Why = optionSearch, "a UNIQUE key over it cannot see equal values otherwise"
	case !p.Search && use.toSealed+use.toFewer > 0:
		c.Needs = optionSearch
		c.Why = use.gains()
	case p.Search && !c.Ready && !unique && use.searched == 0 && use.read+use.written+use.computed > 0:
		c.Needs, c.Why = "search: none", "no statement has searched it so far, and without search tags equal values cannot be told apart in the database"
	}
	return c
}
