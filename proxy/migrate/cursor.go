package migrate

import (
	"context"
	"errors"
	"time"

	"latchkey/keystore"
)

// The kinds of note that conversions keep.
const (
	noteCursor   = "conversion-cursor"
	noteDigest   = "conversion-digest"
	noteUpdated  = "conversion-updated"
	noteDecrypts = "conversion-decrypts"
	noteSealed   = "sealed-since"
)

// saveEvery is how often a run writes down how far it is.
const saveEvery = 2 * time.Second

// cursorName names the cursor of a job. Rows behind it are looked at again in the next pass, so a cursor that is out of date
// costs time and nothing else.
func (j *Job) cursorName() []string {
	return []string{j.Act.String(), j.Migration.Table.Database, j.Migration.Table.Name, j.Owner}
}

// cursor gives the key behind which to go on; nil to begin.
func (r *run) cursor(ctx context.Context) (at rowKey, err error) {
	n, err := r.e.note(ctx, noteCursor, r.job.cursorName()...)
	if n == nil || err != nil {
		return nil, err
	}
	at, err = parseKey(n.Body, len(r.job.Migration.Key))
	if err != nil {
		return nil, nil // of a table that has another key by now
	}
	return at, nil
}

// save writes down how far the run is, now and then.
func (r *run) save(ctx context.Context, at rowKey) error {
	now := r.e.config.Now()
	if r.e.config.Notes == nil || r.job.Act == Rotate || now.Sub(r.saved) < saveEvery {
		return nil
	}
	if r.saved.IsZero() {
		r.saved = now
		return nil
	}
	r.saved = now
	return r.e.putNotes(ctx, &keystore.Note{Kind: noteCursor, Name: r.job.cursorName(), Body: at.encode()})
}

func (r *run) dropCursor(ctx context.Context) error {
	if r.e.config.Notes == nil || r.saved.IsZero() {
		return nil
	}
	return r.e.dropNotes(ctx, noteCursor, r.job.cursorName())
}

// note reads a note; nil when there is none.
func (e *Engine) note(ctx context.Context, kind string, name ...string) (n *keystore.Note, err error) {
	if e.config.Notes == nil {
		return nil, nil
	}
	id := keystore.NoteID(name...)
	err = e.config.Notes.LoadNotes(ctx, kind, &id, func(stored keystore.StoredNote) error {
		n, err = e.config.Fleet.OpenNote(e.config.Realm, &stored)
		return err
	})
	return n, hide(err)
}

func (e *Engine) putNotes(ctx context.Context, notes ...*keystore.Note) error {
	return hide(e.config.Notes.ChangeNotes(ctx, e.seal(notes), nil))
}

func (e *Engine) seal(notes []*keystore.Note) []keystore.StoredNote {
	stored := make([]keystore.StoredNote, len(notes))
	for i, n := range notes {
		stored[i] = e.config.Fleet.SealNote(e.config.Realm, n)
	}
	return stored
}

func (e *Engine) dropNotes(ctx context.Context, kind string, names ...[]string) error {
	return hide(e.config.Notes.ChangeNotes(ctx, nil, dropped(kind, names...)))
}

// dropped names notes that are to go.
func dropped(kind string, names ...[]string) []keystore.StoredNote {
	stored := make([]keystore.StoredNote, len(names))
	for i, name := range names {
		stored[i] = keystore.StoredNote{Kind: kind, ID: keystore.NoteID(name...)}
	}
	return stored
}

// hide marks errors of the keystore that are no lost connection, so that nobody waits for them to go away.
func hide(err error) error {
	if errors.Is(err, keystore.ErrTampered) {
		return errors.Join(errHere, err)
	}
	return err
}
