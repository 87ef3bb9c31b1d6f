package migrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"latchkey/keystore"
	"latchkey/rewrite"
)

// ErrChanged says that the values of a table are not the same behind an ALTER TABLE as before it.
var ErrChanged = errors.New("values are not the same as before")

// Pass takes a table through a passage, under a lock that lets nobody else read or write it. Cut short, the columns stay on their
// way, so that no proxy touches them, and Pass goes on where it was. Notes is required.
func (e *Engine) Pass(ctx context.Context, p *rewrite.Passage) (err error) {
	if err := e.connect(ctx); err != nil {
		return err
	}
	// The session is set up otherwise than for rows. Closing it releases the locks, whatever has happened.
	defer e.Close()
	table := p.Migration.Table
	versioned, err := e.number(ctx, fmt.Sprintf("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=_utf8mb4 x'%x' AND TABLE_NAME=_utf8mb4 x'%x' AND TABLE_TYPE='SYSTEM VERSIONED'",
		table.Database, table.Name))
	if err != nil {
		return err
	}
	if versioned > 0 {
		return fmt.Errorf("%s: the table is system versioned, and its history would keep what is sealed now: drop the versioning first", table)
	}
	if err := e.exec(ctx, "SET SESSION "+rewrite.PassageMode+", tx_isolation='REPEATABLE-READ', autocommit=0"); err != nil {
		return err
	}
	// As statements, the values that are marked do not go into a binary log. Where the account may not, a log of rows has them.
	_ = e.exec(ctx, "SET SESSION binlog_format='STATEMENT'")
	if err := e.exec(ctx, "LOCK TABLES "+p.Migration.Name+" WRITE, "+e.config.Notes.NotesTable()+" WRITE"); err != nil {
		return fmt.Errorf("lock %s: %w", table, err)
	}
	pass := passage{e: e, p: p, name: []string{table.Database, table.Name}}
	if err := pass.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	return e.statements(ctx, "COMMIT", "UNLOCK TABLES")
}

func (e *Engine) statements(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if err := e.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// passage is one Pass under way, behind the lock.
type passage struct {
	e    *Engine
	p    *rewrite.Passage
	name []string
}

func (s *passage) run(ctx context.Context) error {
	e, p := s.e, s.p
	if !p.Begun {
		// Of a passage that came to its end.
		if err := s.statements(ctx, nil, dropped(noteUpdated, s.name)); err != nil {
			return err
		}
	}
	if p.NoCells && !p.Begun {
		left, err := e.Left(ctx, p.Migration, p.Protected(), true)
		if err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%d rows hold cells: %w", left, ErrLeft)
		}
	}
	var before digests
	if p.Digests && !p.Begun {
		var err error
		if before, err = e.digestDeclared(ctx, p); err != nil {
			return err
		}
		if err := s.statements(ctx, e.seal(before.notes(p.Migration.Table)), nil); err != nil {
			return err
		}
	}
	if err := e.statements(ctx, p.First...); err != nil {
		return err
	}
	if err := s.update(ctx); err != nil {
		return err
	}
	if before != nil {
		after, err := e.digestStored(ctx, p.Migration, p.Protected(), nil, nil)
		if err != nil {
			return err
		}
		if !before.same(after) {
			return fmt.Errorf("%w; the columns are left on their way, where no proxy touches them; restore the table from a backup, and report this as a fault of Latchkey", ErrChanged)
		}
	}
	if err := e.statements(ctx, p.Last...); err != nil {
		return err
	}
	drop := dropped(noteUpdated, s.name)
	if p.NoCells {
		drop = append(drop, dropped(noteDecrypts, s.name)...)
	} else {
		// Of a column that had the name before.
		for _, c := range p.Protected() {
			drop = append(drop, dropped(noteSealed, sealedName(c))...)
		}
	}
	return s.statements(ctx, nil, drop)
}

// update runs the step that has to run once: in one transaction with the note that says so.
func (s *passage) update(ctx context.Context) error {
	if s.p.Update == "" {
		return nil
	}
	if s.p.Begun {
		done, err := s.done(ctx)
		if err != nil || done {
			return err
		}
	}
	if err := s.e.exec(ctx, s.p.Update); err != nil {
		return err
	}
	return s.statements(ctx, s.e.seal([]*keystore.Note{{Kind: noteUpdated, Name: s.name}}), nil)
}

// done tells whether update ran before. The table of the notes is locked, so this connection has to read it.
func (s *passage) done(ctx context.Context) (bool, error) {
	id := keystore.NoteID(s.name...)
	rows, err := s.e.rows(ctx, fmt.Sprintf("SELECT body, mac FROM %s WHERE kind=x'%x' AND id=x'%x'", s.e.config.Notes.NotesTable(), noteUpdated, id))
	if err != nil || len(rows) == 0 {
		return false, err
	}
	_, err = s.e.config.Fleet.OpenNote(s.e.config.Realm, &keystore.StoredNote{Kind: noteUpdated, ID: id, Body: rows[0][0], MAC: rows[0][1]})
	return err == nil, err
}

// statements changes notes on this connection and commits.
func (s *passage) statements(ctx context.Context, put, drop []keystore.StoredNote) error {
	if err := s.e.statements(ctx, s.e.config.Notes.NoteStatements(put, drop)...); err != nil {
		return err
	}
	return s.e.exec(ctx, "COMMIT")
}

// sum is a digest over some rows, and how many they are.
type sum struct {
	digest [sha256.Size]byte
	rows   uint64
}
