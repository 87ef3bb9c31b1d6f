package migrate

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// Left counts the rows that hold plaintext in one of the columns, cells when cells is set.
func (e *Engine) Left(ctx context.Context, m *rewrite.Migration, columns []*rewrite.Protected, cells bool) (int64, error) {
	j := Job{Act: Encrypt, Migration: m, Columns: columns}
	if cells {
		j.Act = Decrypt
	}
	if err := e.connect(ctx); err != nil {
		return 0, err
	}
	return e.number(ctx, "SELECT COUNT(*) FROM "+m.Name+" WHERE "+j.wanted())
}

// Finish makes columns ones of cells only: it runs the ALTER TABLE, if there is one, and writes down since when. The error is
// ErrLeft while plaintext is left. The guard CHECK of the ALTER judges every row, so that none can come in between.
func (e *Engine) Finish(ctx context.Context, m *rewrite.Migration, columns []*rewrite.Protected, alter string) error {
	left, err := e.Left(ctx, m, columns, false)
	if err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%s: %d rows hold plaintext: %w", m.Table, left, ErrLeft)
	}
	if alter != "" {
		switch err := e.exec(ctx, alter); code(err) {
		case errConstraint:
			return fmt.Errorf("%s: plaintext came in meanwhile: %w", m.Table, ErrLeft)
		case errDuplicate:
			return fmt.Errorf("%s: rows that were written during the conversion break a UNIQUE key; find them through Latchkey with GROUP BY ... HAVING COUNT(*) > 1, correct them, and finish again: %w", m.Table, err)
		default:
			if err != nil {
				return fmt.Errorf("%s: %w", m.Table, err)
			}
		}
	}
	var notes []*keystore.Note
	for _, c := range columns {
		notes = append(notes, &keystore.Note{Kind: noteSealed, Name: sealedName(c), Body: binary.BigEndian.AppendUint64(nil, uint64(e.config.Now().Unix()))})
	}
	return e.putNotes(ctx, notes...)
}

// sealedName names the note that says since when a column holds cells only. The context stays where a table or a column is
// renamed.
func sealedName(c *rewrite.Protected) []string { return []string{c.Database, c.Context} }

// Sealed is a column that holds nothing but cells since some time.
type Sealed struct {
	Database, Context string
	Since             time.Time
}

// SealedSince reads which columns hold cells only. The error says that a note does not verify, or is the store's.
func SealedSince(ctx context.Context, store keystore.NoteStore, fleet *keystore.FleetSecret, realm string) ([]Sealed, error) {
	var all []Sealed
	err := store.LoadNotes(ctx, noteSealed, nil, func(stored keystore.StoredNote) error {
		n, err := fleet.OpenNote(realm, &stored)
		if err != nil {
			return fmt.Errorf("since when a column is sealed: %w", err)
		}
		if len(n.Name) == 2 && len(n.Body) == 8 {
			all = append(all, Sealed{n.Name[0], n.Name[1], time.Unix(int64(binary.BigEndian.Uint64(n.Body)), 0).UTC()})
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Sealed) int {
		return strings.Compare(a.Database+"\x00"+a.Context, b.Database+"\x00"+b.Context)
	})
	return slices.Compact(all), err
}

// Reopen lets plaintext into columns again: it runs the ALTER TABLE that takes the guard CHECK away, and forgets since when they
// are sealed.
func (e *Engine) Reopen(ctx context.Context, columns []*rewrite.Protected, alter string) error {
	if err := e.connect(ctx); err != nil {
		return err
	}
	// The note goes first: a proxy that may accept plaintext does no harm while there can be none.
	var names [][]string
	for _, c := range columns {
		names = append(names, sealedName(c))
	}
	if err := e.dropNotes(ctx, noteSealed, names...); err != nil {
		return err
	}
	if alter == "" {
		return nil
	}
	return e.exec(ctx, alter)
}

// Of tells whether the note is about a column.
func (s *Sealed) Of(c *rewrite.Protected) bool {
	return s.Database == c.Database && s.Context == c.Context
}

// Turn writes down that the rows of a table are being decrypted, or not any more.
func (e *Engine) Turn(ctx context.Context, m *rewrite.Migration, decrypts bool) error {
	name := []string{m.Table.Database, m.Table.Name}
	if !decrypts {
		return e.dropNotes(ctx, noteDecrypts, name)
	}
	return e.putNotes(ctx, &keystore.Note{Kind: noteDecrypts, Name: name})
}

// Decrypts tells whether the rows of a table are being decrypted, so that nobody may seal them again on the side.
func (e *Engine) Decrypts(ctx context.Context, m *rewrite.Migration) (bool, error) {
	n, err := e.note(ctx, noteDecrypts, m.Table.Database, m.Table.Name)
	return n != nil, err
}
