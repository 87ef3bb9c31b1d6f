package migrate

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"latchkey/rewrite"
)

// Status counts what the rows of one owner hold in one column; those of all owners in a column without.
type Status struct {
	Table, Column string // database.table; the column's name
	Owner         string
	// HasOwner is false for rows whose owner column is NULL, and in a table that has none.
	HasOwner bool
	// ServiceKey is the name of the service key; empty for user keys.
	ServiceKey string
	// Plaintext is plaintext, marked or bare. Sealed is cells under the key that seals now, Old under one that a rotation has
	// replaced, Away to the owner's public key, Locked under a key that is not the owner's. Nothing is NULL and empty, which is
	// the declared default: there is nothing to seal in it.
	Plaintext, Sealed, Old, Away, Locked, Nothing int64
}

// Rows is the number of rows.
func (s *Status) Rows() int64 {
	return s.Plaintext + s.Sealed + s.Old + s.Away + s.Locked + s.Nothing
}

// Add adds up.
func (s *Status) Add(o *Status) {
	s.Plaintext += o.Plaintext
	s.Sealed += o.Sealed
	s.Old += o.Old
	s.Away += o.Away
	s.Locked += o.Locked
	s.Nothing += o.Nothing
}

// The place of the key id in cells, counted from 1, with a tag and without: docs/format.md, section Cell.
const (
	keyIDTagged = 25
	keyIDOther  = 9
)

// Status counts what a protected column holds, owner by owner.
func (e *Engine) Status(ctx context.Context, m *rewrite.Migration, c *rewrite.Protected) ([]Status, error) {
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	all, err := e.columnStatus(ctx, m, c)
	if err != nil {
		return nil, fmt.Errorf("count %s: %w", c, err)
	}
	return all, nil
}

func (e *Engine) columnStatus(ctx context.Context, m *rewrite.Migration, c *rewrite.Protected) ([]Status, error) {
	owner := "NULL"
	if m.Owner.Name != "" {
		owner = m.Owner.Text
	}
	name, empty := quoteName(c.Column), ""
	if c.HasOnEmpty {
		empty = " OR " + name + "=x''"
	}
	query := fmt.Sprintf("SELECT o, k, i, COUNT(*) FROM (SELECT %[1]s AS o, CASE WHEN %[2]s IS NULL%[6]s THEN 'n' WHEN LEFT(%[2]s,3)=x'ff4c4b' THEN CAST(SUBSTR(%[2]s,4,1) AS BINARY) "+
		"ELSE 'p' END AS k, CASE WHEN LEFT(%[2]s,4)=x'ff4c4b74' THEN SUBSTR(%[2]s,%[3]d,8) WHEN LEFT(%[2]s,4) IN (x'ff4c4b63',x'ff4c4b61') THEN SUBSTR(%[2]s,%[4]d,8) END AS i FROM %[5]s) AS q "+
		"GROUP BY o, k, i ORDER BY o", owner, name, keyIDTagged, keyIDOther, m.Name, empty)
	rows, err := e.rows(ctx, query)
	if err != nil {
		return nil, err
	}
	var all []Status
	var last []byte
	var ids [][]byte
	for i, row := range rows {
		if i == 0 || !bytes.Equal(last, row[0]) || (last == nil) != (row[0] == nil) {
			last = row[0]
			all = append(all, Status{Table: m.Table.String(), Column: c.Column, Owner: string(row[0]), HasOwner: row[0] != nil, ServiceKey: c.ServiceKey})
			ids = nil
			if e.config.Keys != nil {
				if ids, err = e.config.Keys.KeyIDs(ctx, c, string(row[0]), row[0] != nil); err != nil {
					return nil, err
				}
			}
		}
		n, err := strconv.ParseInt(string(row[3]), 10, 64)
		if err != nil {
			return nil, err
		}
		all[len(all)-1].count(string(row[1]), row[2], ids, n)
	}
	return all, nil
}

// count notes n values of a kind under a key id. An owner whose keys are not known keeps them elsewhere: whose the cells are is
// then not to be told.
func (s *Status) count(kind string, id []byte, ids [][]byte, n int64) {
	at := -1
	for i := range ids {
		if bytes.Equal(ids[i], id) {
			at = i
		}
	}
	switch {
	case kind == "n":
		s.Nothing += n
	case kind == "p", kind == "q":
		s.Plaintext += n
	case len(ids) > 0 && at < 0:
		s.Locked += n
	case kind == "a":
		s.Away += n
	case at > 0:
		s.Old += n
	default:
		s.Sealed += n
	}
}
