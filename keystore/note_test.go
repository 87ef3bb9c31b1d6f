package keystore

import (
	"bytes"
	"errors"
	"testing"
)

func noteFleet(t *testing.T, b byte) *FleetSecret {
	t.Helper()
	f, err := NewFleetSecret(bytes.NewReader(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNotesAreAuthentic(t *testing.T) {
	fleet := noteFleet(t, 1)
	want := &Note{Kind: "sealed-since", Name: []string{"journal", "entries.title", ""}, Body: []byte{0, 1, 2}}
	stored := fleet.SealNote("main", want)
	got, err := fleet.OpenNote("main", &stored)
	if err != nil || got.Kind != want.Kind || len(got.Name) != 3 || got.Name[1] != want.Name[1] || !bytes.Equal(got.Body, want.Body) {
		t.Fatalf("OpenNote = %+v, %v, want %+v", got, err, want)
	}
	if stored.ID != NoteID(want.Name...) {
		t.Error("the id is not that of the name")
	}
	for name, change := range map[string]func(s *StoredNote){
		"kind": func(s *StoredNote) { s.Kind = "sealed-sinc" },
		"id":   func(s *StoredNote) { s.ID[0] ^= 1 },
		"body": func(s *StoredNote) { s.Body = append(bytes.Clone(s.Body), 0) },
		"MAC":  func(s *StoredNote) { s.MAC = s.MAC[:31] },
		"none": func(s *StoredNote) { s.Body, s.MAC = nil, nil },
	} {
		altered := fleet.SealNote("main", want)
		change(&altered)
		if _, err := fleet.OpenNote("main", &altered); !errors.Is(err, ErrTampered) {
			t.Errorf("another %s: %v, want ErrTampered", name, err)
		}
	}
	if _, err := fleet.OpenNote("staging", &stored); !errors.Is(err, ErrTampered) {
		t.Errorf("another realm: %v, want ErrTampered", err)
	}
	if _, err := noteFleet(t, 2).OpenNote("main", &stored); !errors.Is(err, ErrTampered) {
		t.Errorf("another fleet secret: %v, want ErrTampered", err)
	}
}

func TestRowDigestsDoNotDependOnOrder(t *testing.T) {
	rows := [][][]byte{{[]byte("a"), nil}, {[]byte("a"), {}}, {[]byte("ab"), []byte("c")}, {[]byte("a"), []byte("bc")}, {nil, []byte("x")}}
	sum := func(fleet *FleetSecret, realm string, order ...int) (s [32]byte) {
		d := fleet.NewRowDigest(realm)
		defer d.Wipe()
		for _, i := range order {
			d.Add(&s, rows[i]...)
		}
		return s
	}
	fleet := noteFleet(t, 1)
	all := sum(fleet, "main", 0, 1, 2, 3, 4)
	if sum(fleet, "main", 4, 2, 0, 3, 1) != all {
		t.Error("another order gives another digest")
	}
	if sum(fleet, "staging", 0, 1, 2, 3, 4) == all || sum(noteFleet(t, 2), "main", 0, 1, 2, 3, 4) == all {
		t.Error("the digest does not depend on the key")
	}
	seen := map[[32]byte]int{}
	for i := range rows {
		s := sum(fleet, "main", i)
		if other, ok := seen[s]; ok {
			t.Errorf("rows %d and %d have one digest", other, i)
		}
		seen[s] = i
	}
	if sum(fleet, "main", 0, 0) == sum(fleet, "main", 0) || sum(fleet, "main", 0, 0) == sum(fleet, "main") {
		t.Error("a row that is there twice does not count twice")
	}
}
