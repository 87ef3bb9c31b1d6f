package rewrite

import "sync"

// viewCache keeps, for each view of a snapshot, which of its columns are protected ones.
type viewCache struct {
	mu      sync.Mutex
	columns map[*Table][]*Protected
}

func (c *viewCache) get(t *Table) ([]*Protected, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.columns[t]
	return p, ok
}

func (c *viewCache) put(t *Table, p []*Protected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.columns == nil {
		c.columns = map[*Table][]*Protected{}
	}
	c.columns[t] = p
}

// maxViewDepth bounds views over views; the server forbids cycles, but a snapshot read during DDL could show one.
const maxViewDepth = 32

// viewFields plans the text of a view, which the server keeps, and gives its columns.
func (b *builder) viewFields(r *relation, t *Table) error {
	key := foldTouch(t.Name)
	if b.p.touch.names[key]&touchView == 0 {
		for _, c := range t.Columns {
			r.fields = append(r.fields, field{name: FoldName(c.Name), from: r, column: c.Name})
		}
		return nil
	}
	if t.Unreadable {
		return refuse(CodeNotUnderstood, t.Database+"."+t.Name, "the view's definition cannot be read by Latchkey's own account",
			"grant that account SHOW VIEW on it")
	}
	prots, err := b.p.viewColumns(t, b)
	if err != nil {
		return err
	}
	for i, c := range t.Columns {
		r.fields = append(r.fields, field{name: FoldName(c.Name), prot: prots[i], column: c.Name})
	}
	return nil
}

// viewColumns plans a view's text on its own: it may show protected columns as they are, and nothing else, since the
// text is the backend's and cannot be rewritten per session.
func (p *Planner) viewColumns(t *Table, outer *builder) ([]*Protected, error) {
	if prots, ok := p.views.get(t); ok {
		return prots, nil
	}
	name := t.Database + "." + t.Name
	if outer.depth >= maxViewDepth {
		return nil, refuse(CodeNotUnderstood, name, "views are nested too deeply", "")
	}
	facts := Facts{Database: t.Database, Charset: CharsetUTF8MB4, ServerVersion: outer.f.ServerVersion}
	st := &Statement{}
	inner := &builder{p: p, st: st, f: &facts, plan: &Plan{}, frozen: true, depth: outer.depth + 1}
	if err := st.Scan([]byte(t.Definition), &facts); err != nil {
		return nil, refuse(CodeNotUnderstood, name, "the view's text cannot be read", "")
	}
	st.AppendShape(nil, &facts)
	parsed, err := Parse(st, &facts, p.pool)
	if err != nil {
		return nil, refuse(CodeNotUnderstood, name, "the view's text is outside the grammar that is understood", "")
	}
	inner.parsed = parsed
	_, counts := p.touch.scan(st)
	if err := inner.accounted(counts); err != nil {
		return nil, err
	}
	outs, err := inner.query(parsed.Node, &scope{b: inner, parsed: parsed}, true)
	if err != nil {
		return nil, err
	}
	if len(outs) != len(t.Columns) {
		return nil, refuse(CodeNotUnderstood, name, "the view's columns are not those of its text", "")
	}
	prots := make([]*Protected, len(outs))
	for i, o := range outs {
		if o.ambig {
			return nil, refuse(CodeNotUnderstood, name, "the view's columns are not known", "")
		}
		prots[i] = o.prot
	}
	p.views.put(t, prots)
	return prots, nil
}
