package tables

import (
	"bytes"
	"fmt"
	"testing"

	"latchkey/keystore"
)

func TestNotesAreKept(t *testing.T) {
	server, database := freshDatabase(t)
	s := newStore(t, testConfig(t, server.Addr(), database))
	f := fleet(t)
	var put []keystore.StoredNote
	for i := range 2*notesPerStatement + 1 {
		put = append(put, f.SealNote("main", &keystore.Note{Kind: "k", Name: []string{fmt.Sprint(i)}, Body: []byte{0, '\'', '\\', 0xFF}}))
	}
	other := f.SealNote("main", &keystore.Note{Kind: "other", Name: []string{"0"}})
	load := func(kind string, name ...string) (all []keystore.StoredNote) {
		t.Helper()
		var id *[32]byte
		if len(name) > 0 {
			one := keystore.NoteID(name...)
			id = &one
		}
		if err := s.LoadNotes(ctx, kind, id, func(n keystore.StoredNote) error {
			if _, err := f.OpenNote("main", &n); err != nil {
				return err
			}
			all = append(all, n)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for range 2 { // again it changes nothing
		if err := s.ChangeNotes(ctx, append(put, other), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(load("k")); n != len(put) {
		t.Errorf("%d notes, want %d", n, len(put))
	}
	if one := load("k", "7"); len(one) != 1 || !bytes.Equal(one[0].Body, put[7].Body) {
		t.Errorf("%v, want the one note", one)
	}
	if err := s.ChangeNotes(ctx, nil, put[1:]); err != nil {
		t.Fatal(err)
	}
	if left, others := load("k"), load("other"); len(left) != 1 || left[0].ID != put[0].ID || len(others) != 1 {
		t.Errorf("%d notes of one kind and %d of the other are left, want one each", len(left), len(others))
	}
}
