package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// Verdict is what opening the rows of one owner in one column has shown.
type Verdict struct {
	Table, Column string
	Owner         string
	HasOwner      bool
	// Opened is how many cells were opened, Plain how many values needed no key, Locked how many cells are under a key that is not
	// here, Damaged how many values are neither.
	Opened, Plain, Locked, Damaged int64
	Digest                         DigestState
}

// DigestState compares what is there with the digest from before.
type DigestState uint8

// The states. DigestChanged is that of rows written since, too.
const (
	DigestNone    DigestState = iota // none was taken
	DigestUnknown                    // not everything could be opened
	DigestSame                       // no value differs
	DigestChanged
)

// String is the word for people and for JSON.
func (d DigestState) String() string {
	return [...]string{"none", "unknown", "same", "changed"}[d]
}

// Verify opens what can be opened in a table, or in the rows of one owner when ofOwner is set, and compares it with the digests
// from before.
func (e *Engine) Verify(ctx context.Context, m *rewrite.Migration, columns []*rewrite.Protected, owner string, ofOwner bool) ([]Verdict, error) {
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	j := Job{Migration: m, Owner: owner, OfOwner: ofOwner}
	condition, err := j.ofOwner()
	if err != nil {
		return nil, err
	}
	found := make(map[digestKey]*Verdict)
	open := func(values []*Value) error { return e.config.Keys.Open(ctx, values) }
	now, err := e.digestWhere(ctx, m, condition, columns, open, func(v *Value, _ []byte) {
		k := digestKey{v.Column.Column, "-"}
		if v.HasOwner {
			k.owner = "+" + v.Owner
		}
		verdict := found[k]
		if verdict == nil {
			verdict = &Verdict{Table: m.Table.String(), Column: v.Column.Column, Owner: v.Owner, HasOwner: v.HasOwner}
			found[k] = verdict
		}
		switch c := classOf(v.Column, v.Stored); {
		case errors.Is(v.Err, ErrLocked):
			verdict.Locked++
		case v.Err != nil:
			verdict.Damaged++
		case c == classCell:
			verdict.Opened++
		default:
			verdict.Plain++
		}
	})
	if err != nil {
		return nil, err
	}
	before, err := e.storedDigests(ctx, m.Table)
	if err != nil {
		return nil, err
	}
	for k := range before {
		// Rows that are all gone, of an owner and column that were looked at.
		if found[k] == nil && (!ofOwner || k.owner == "+"+owner) && slices.ContainsFunc(columns, func(c *rewrite.Protected) bool { return c.Column == k.column }) {
			name, has := strings.CutPrefix(k.owner, "+")
			found[k] = &Verdict{Table: m.Table.String(), Column: k.column, Owner: strings.TrimPrefix(name, "-"), HasOwner: has}
		}
	}
	var all []Verdict
	for k, v := range found {
		v.Digest = compare(before[k], now[k], v)
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Verdict) int {
		return strings.Compare(a.Column+"\x00"+a.Owner, b.Column+"\x00"+b.Owner)
	})
	return all, nil
}

func compare(before, now *sum, v *Verdict) DigestState {
	switch {
	case before == nil:
		return DigestNone
	case v.Locked+v.Damaged > 0:
		return DigestUnknown
	case now != nil && *now == *before:
		return DigestSame
	}
	return DigestChanged
}

// storedDigests reads the digests of a table from before.
func (e *Engine) storedDigests(ctx context.Context, t *rewrite.Table) (digests, error) {
	all := make(digests)
	if e.config.Notes == nil {
		return all, nil
	}
	err := e.config.Notes.LoadNotes(ctx, noteDigest, nil, func(stored keystore.StoredNote) error {
		n, err := e.config.Fleet.OpenNote(e.config.Realm, &stored)
		if err != nil {
			return fmt.Errorf("a digest from before: %w", err)
		}
		if len(n.Name) != 4 || n.Name[0] != t.Database || n.Name[1] != t.Name {
			return nil
		}
		if s, ok := digestOf(n); ok {
			all[digestKey{n.Name[2], n.Name[3]}] = s
		}
		return nil
	})
	return all, err
}
