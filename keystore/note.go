package keystore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"latchkey/keystore/cell"
)

const (
	labelNote   = "latchkey/v1/note"
	labelDigest = "latchkey/v1/digest"
)

// Note is something that the proxies and commands of a deployment remember in the backend, such as since when a column holds
// cells only. Its MAC is under the fleet secret.
type Note struct {
	// Kind says what the note is about, in at most 32 bytes of ASCII.
	Kind string
	// Name names its subject among those of the kind: database, table, column and the like.
	Name []string
	Body []byte
}

// StoredNote is a note as a NoteStore holds it. Nothing of it is believed before OpenNote.
type StoredNote struct {
	Kind string
	ID   [sha256.Size]byte
	Body []byte
	MAC  []byte
}

// NoteStore is where notes lie. Implementations are safe for concurrent use.
type NoteStore interface {
	// LoadNotes calls do for each note of a kind, or for the one with an id when that is not nil.
	LoadNotes(ctx context.Context, kind string, id *[sha256.Size]byte, do func(StoredNote) error) error
	// ChangeNotes replaces and deletes notes, all or nothing. Of those to be deleted only kind and id matter.
	ChangeNotes(ctx context.Context, put, drop []StoredNote) error
}

// NoteID is the id of the note with that name.
func NoteID(name ...string) [sha256.Size]byte {
	var b []byte
	for _, n := range name {
		b = cell.AppendPart(b, []byte(n))
	}
	return sha256.Sum256(b)
}

// SealNote makes a note into what is stored.
func (f *FleetSecret) SealNote(realm string, n *Note) StoredNote {
	s := StoredNote{Kind: n.Kind, ID: NoteID(n.Name...)}
	s.Body = binary.BigEndian.AppendUint16(nil, uint16(len(n.Name)))
	for _, name := range n.Name {
		s.Body = cell.AppendPart(s.Body, []byte(name))
	}
	s.Body = append(s.Body, n.Body...)
	mac := f.recordMAC(realm, labelNote, []byte(s.Kind), s.ID[:], s.Body)
	s.MAC = mac[:]
	return s
}

// maxNoteNames bounds the names of a note.
const maxNoteNames = 8

// OpenNote verifies a stored note. The error is ErrTampered.
func (f *FleetSecret) OpenNote(realm string, s *StoredNote) (*Note, error) {
	mac := f.recordMAC(realm, labelNote, []byte(s.Kind), s.ID[:], s.Body)
	if !hmac.Equal(mac[:], s.MAC) || len(s.Body) < 2 {
		return nil, ErrTampered
	}
	r := reader{b: s.Body[2:]}
	n := &Note{Kind: s.Kind}
	count := int(binary.BigEndian.Uint16(s.Body))
	if count > maxNoteNames {
		return nil, ErrTampered
	}
	for range count {
		n.Name = append(n.Name, string(r.part(maxNameLen)))
	}
	n.Body = append([]byte{}, r.b...)
	if r.bad || NoteID(n.Name...) != s.ID {
		return nil, ErrTampered
	}
	return n, nil
}

// RowDigest is a keyed digest over rows that does not depend on their order: the sum of one HMAC a row. Without the fleet secret
// nothing can be told from it but that two are equal. It is not safe for concurrent use.
type RowDigest struct {
	cell.Opaque
	mac  hash.Hash
	sum  [sha256.Size]byte
	part []byte
}

// NewRowDigest begins sums under one key. Wipe ends its use.
func (f *FleetSecret) NewRowDigest(realm string) *RowDigest {
	d := &RowDigest{}
	protect(func() {
		key := f.subkey(labelDigest, realm)
		d.mac = hmac.New(sha256.New, key[:])
		clear(key[:])
	})
	return d
}

// Add adds a row, given as its parts, to a sum; nil is a part of its own, and differs from an empty one.
func (d *RowDigest) Add(sum *[sha256.Size]byte, parts ...[]byte) {
	d.mac.Reset()
	d.part = d.part[:0]
	for _, p := range parts {
		if p == nil {
			d.part = append(d.part, 0)
			continue
		}
		d.part = cell.AppendPart(append(d.part, 1), p)
	}
	d.mac.Write(d.part)
	clear(d.part)
	row := d.mac.Sum(d.sum[:0])
	carry := uint16(0)
	for i := len(sum) - 1; i >= 0; i-- {
		carry += uint16(sum[i]) + uint16(row[i])
		sum[i] = byte(carry)
		carry >>= 8
	}
}

// Wipe overwrites the key.
func (d *RowDigest) Wipe() {
	cell.Erase(d.mac)
	clear(d.part[:cap(d.part)])
}
