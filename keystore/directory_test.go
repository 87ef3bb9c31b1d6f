package keystore

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"latchkey/keystore/cell"
)

// TestDirectory: what is sealed to a recipient opens with the owner's key and no other, also after a rotation; forgotten and
// unknown owners are no recipients.
func TestDirectory(t *testing.T) {
	store, c, v, a, b := enrolled(t)
	d, err := NewDirectory(v)
	if err != nil {
		t.Fatal(err)
	}
	recipient := func(owner string) *Recipient {
		t.Helper()
		r, err := d.Recipient(ctx, owner)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	seal := func(r *Recipient, context string) []byte {
		t.Helper()
		s, err := r.Sealer(context)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Seal(nil, cell.Params{Family: 1, Plaintext: []byte("value")})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	opens := func(k *UserKey, context string, sealed []byte) bool {
		t.Helper()
		o, err := d.Opener(k, context)
		if err != nil {
			t.Fatal(err)
		}
		family, value, err := o.Open(nil, sealed, nil)
		return err == nil && family == 1 && bytes.Equal(value, []byte("value"))
	}
	r := recipient(a.Owner)
	if !r.Known() || !r.Holds(a.Key.ID()) || r.Holds(b.Key.ID()) {
		t.Error("a recipient does not hold its owner's key, or holds another's")
	}
	sealed := seal(r, "t.c")
	if !opens(a.Key, "t.c", sealed) || opens(b.Key, "t.c", sealed) || opens(a.Key, "t.d", sealed) {
		t.Error("a cell opens with another key or in another column, or not at all")
	}
	rotated, err := v.Rotate(ctx, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	if old := recipient(a.Owner); old != r {
		t.Error("what is known does not count for the cache's ttl")
	}
	c.pass(time.Minute)
	fresh := recipient(a.Owner)
	if fresh == r || !fresh.Holds(rotated.ID()) || !fresh.Holds(a.Key.ID()) {
		t.Error("a rotation is not noticed after the cache's ttl")
	}
	again := seal(fresh, "t.c")
	if !opens(rotated, "t.c", again) || opens(a.Key, "t.c", again) || !opens(rotated.withID(a.Key.ID()), "t.c", sealed) {
		t.Error("after a rotation a new cell opens with the old key, or an old one not at all")
	}
	key, err := NewUserKey(v.config.Realm, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Register(ctx, "keeper", key); err != nil {
		t.Fatal(err)
	}
	if r := recipient("keeper"); !r.Holds(key.ID()) || !opens(key, "t.c", seal(r, "t.c")) {
		t.Error("a registered owner is no recipient")
	}
	for _, owner := range []string{"nobody", "", strings.Repeat("x", 300), "\x00", "\xff"} {
		if r := recipient(owner); r.Known() {
			t.Errorf("owner %q is known", owner)
		} else if _, err := r.Sealer("t.c"); err != ErrNoRecipient {
			t.Errorf("sealing to owner %q: %v, want ErrNoRecipient", owner, err)
		}
	}
	if _, err := v.Forget(ctx, b.Owner); err != nil {
		t.Fatal(err)
	}
	gone := recipient(b.Owner)
	if _, err := gone.Sealer("t.c"); !gone.Known() || gone.Holds(b.Key.ID()) || err != ErrNoRecipient {
		t.Errorf("sealing to a forgotten owner: %v, want ErrNoRecipient", err)
	}

	// The record of another owner, or one that was changed.
	d.Forget(a.Owner)
	o := store.owners[a.Owner]
	o.record = bytes.Clone(o.record)
	o.record[len(o.record)/2] ^= 1
	store.owners[a.Owner] = o
	_, err = d.Recipient(ctx, a.Owner)
	wantErr(t, "a changed record", err, ErrTampered)
	store.fail = ErrConflict
	d.Forget("keeper")
	_, err = d.Recipient(ctx, "keeper")
	wantErr(t, "a store that fails", err, ErrConflict)
}
