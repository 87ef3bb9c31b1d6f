package migrate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// digestRows is how many rows are read at a time where all of a table are.
const digestRows = 2000

// digestKey names a digest: a column, and whose rows. The owner is a sign and a name, so that rows without an owner differ from
// those of the owner named nothing.
type digestKey struct{ column, owner string }

// digests are digests over the rows of a table, by column and owner.
type digests map[digestKey]*sum

func ownerSign(owner []byte) string {
	if owner == nil {
		return "-"
	}
	return "+" + string(owner)
}

// at gives the sum of a column for an owner.
func (d digests) at(column, owner string) *sum {
	k := digestKey{column, owner}
	s := d[k]
	if s == nil {
		s = new(sum)
		d[k] = s
	}
	return s
}

// same tells whether two are equal.
func (d digests) same(o digests) bool {
	if len(d) != len(o) {
		return false
	}
	for k, s := range d {
		if other := o[k]; other == nil || *other != *s {
			return false
		}
	}
	return true
}

// notes writes the digests of a table down.
func (d digests) notes(t *rewrite.Table) []*keystore.Note {
	all := make([]*keystore.Note, 0, len(d))
	for k, s := range d {
		body := binary.BigEndian.AppendUint64(nil, s.rows)
		all = append(all, &keystore.Note{Kind: noteDigest, Name: []string{t.Database, t.Name, k.column, k.owner}, Body: append(body, s.digest[:]...)})
	}
	return all
}

// digestOf reads a digest that notes has written.
func digestOf(n *keystore.Note) (*sum, bool) {
	s := new(sum)
	if len(n.Body) != 8+len(s.digest) {
		return nil, false
	}
	s.rows = binary.BigEndian.Uint64(n.Body)
	copy(s.digest[:], n.Body[8:])
	return s, true
}

// scan reads the rows of a table in the order of its key: key, owner and the values of the expressions, which belong to row until
// it returns.
func (e *Engine) scan(ctx context.Context, m *rewrite.Migration, condition string, expressions []string, row func(key rowKey, owner []byte, values [][]byte) error) error {
	j := Job{Migration: m}
	owner := "NULL"
	if m.Owner.Name != "" {
		owner = m.Owner.Text
	}
	items := strings.Join(append([]string{j.keyNames(true), owner}, expressions...), ",")
	n := len(m.Key)
	where := condition
	for {
		rows, err := e.rows(ctx, "SELECT "+items+" FROM "+m.Name+" FORCE INDEX ("+m.Index+") WHERE "+where+" ORDER BY "+j.keyNames(false)+" LIMIT "+strconv.Itoa(digestRows))
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, values := range rows {
			err := row(rowKey(values[:n]), values[n], values[n+1:])
			for _, v := range values[n+1:] {
				clear(v)
			}
			if err != nil {
				return err
			}
		}
		where = condition + " AND " + rowKey(rows[len(rows)-1][:n]).after(m.Key)
	}
}

// digestDeclared takes the digests of columns that still have their declared types.
func (e *Engine) digestDeclared(ctx context.Context, p *rewrite.Passage) (digests, error) {
	all := make(digests)
	hash := e.config.Fleet.NewRowDigest(e.config.Realm)
	defer hash.Wipe()
	var expressions []string
	for _, c := range p.Columns {
		expressions = append(expressions, c.Type.ReadBack(c.Name))
	}
	refused := make([]int, len(p.Columns))
	err := e.scan(ctx, p.Migration, "TRUE", expressions, func(key rowKey, owner []byte, values [][]byte) error {
		for i, c := range p.Columns {
			var canonical []byte
			if values[i] != nil {
				var err error
				if canonical, err = c.Type.Adopt([]byte{}, values[i]); err != nil {
					refused[i]++
					continue
				}
			}
			s := all.at(c.Protected.Column, ownerSign(owner))
			s.add(hash, c.Protected, key, canonical)
			clear(canonical)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, n := range refused {
		if n > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d values cannot be sealed as values of the declared type; correct them first", p.Columns[i].Protected, n))
		}
	}
	return all, err
}

// add adds the value of a row; nil is NULL.
func (s *sum) add(hash *keystore.RowDigest, column *rewrite.Protected, key rowKey, canonical []byte) {
	s.rows++
	hash.Add(&s.digest, append([][]byte{[]byte(column.Context), canonical}, key...)...)
}

// digestStored takes the digests of columns as they are stored. open opens the cells of a row's values, where there are any, and
// seen is told of each value; both may be nil, and then a cell is an error.
func (e *Engine) digestStored(ctx context.Context, m *rewrite.Migration, columns []*rewrite.Protected, open func(values []*Value) error, seen func(v *Value, canonical []byte)) (digests, error) {
	return e.digestWhere(ctx, m, "TRUE", columns, open, seen)
}

func (e *Engine) digestWhere(ctx context.Context, m *rewrite.Migration, condition string, columns []*rewrite.Protected, open func(values []*Value) error, seen func(v *Value, canonical []byte)) (digests, error) {
	all := make(digests)
	hash := e.config.Fleet.NewRowDigest(e.config.Realm)
	defer hash.Wipe()
	var expressions []string
	for _, c := range columns {
		expressions = append(expressions, quoteName(c.Column))
	}
	err := e.scan(ctx, m, condition, expressions, func(key rowKey, owner []byte, stored [][]byte) error {
		for i, c := range columns {
			v := &Value{Column: c, Owner: string(owner), HasOwner: owner != nil, Stored: stored[i]}
			canonical, ok, err := v.meaning()
			if !ok {
				if open == nil {
					return fmt.Errorf("%w: a cell where plaintext was expected", errHere)
				}
				if err := open([]*Value{v}); err != nil {
					return err
				}
				canonical, err = v.Canonical, v.Err
			}
			v.Err = err
			if seen != nil {
				seen(v, canonical)
			} else if err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			if err == nil {
				all.at(c.Column, ownerSign(owner)).add(hash, c, key, canonical)
			}
			v.wipe()
			clear(canonical)
		}
		return nil
	})
	return all, err
}

// forgetDigests forgets the digests of columns whose values an import has changed: there is nothing to compare them with any more.
func (r *run) forgetDigests(ctx context.Context) error {
	if r.job.Act != Import || r.e.config.Notes == nil {
		return nil
	}
	t := r.job.Migration.Table
	return r.again(ctx, func() error {
		before, err := r.e.storedDigests(ctx, t)
		if err != nil {
			return hide(err)
		}
		var names [][]string
		for k := range before {
			ours := slices.ContainsFunc(r.job.Columns, func(c *rewrite.Protected) bool { return c.Column == k.column })
			if ours && (!r.job.OfOwner || k.owner == "+"+r.job.Owner) {
				names = append(names, []string{t.Database, t.Name, k.column, k.owner})
			}
		}
		if len(names) == 0 {
			return nil
		}
		return r.e.dropNotes(ctx, noteDigest, names...)
	})
}
