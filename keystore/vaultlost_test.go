package keystore

import (
	"bytes"
	"crypto/rand"
	"maps"
	"math"
	"path/filepath"
	"testing"
	"time"
)

// afterLoss makes proxies with a new fleet secret over a keystore whose own is lost; adopt is the configuration's.
func afterLoss(t *testing.T, store *memStore, c *clock, adopt bool) *Vault {
	t.Helper()
	return testVault(t, store, c, func(c *VaultConfig) { c.Fleet, c.Adopt = testFleet(t, 8), adopt })
}

// lostKeystore is a keystore with two owners whose fleet secret is lost; a has a secret slot too.
func lostKeystore(t *testing.T) (store *memStore, c *clock, a, b *Opened, secret []byte) {
	t.Helper()
	store, c, v, a, b := enrolled(t)
	secret = bytes.Repeat([]byte{0xAB}, secretSize)
	if _, _, err := v.AddSlot(ctx, "a", a.Key, SlotSecret, secret); err != nil {
		t.Fatal(err)
	}
	return store, c, a, b, secret
}

// TestLostFleetSecret: recovery codes and secrets open the keys of owners whose fleet secret was lost.
func TestLostFleetSecret(t *testing.T) {
	store, c, a, b, secret := lostKeystore(t)
	kept := sealWith(t, a.Key)
	strict := afterLoss(t, store, c, false)
	_, err := strict.Recover(ctx, client("a"), a.Recovery, []byte("new"))
	wantErr(t, "recover where adopting is not allowed", err, ErrTampered)
	_, err = strict.UnlockSecret(ctx, client("a"), secret)
	wantErr(t, "unlock by secret where adopting is not allowed", err, ErrTampered)

	v := afterLoss(t, store, c, true)
	_, err = v.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the password, which needs the lost secret", err, ErrLost)
	_, err = v.OpenToken(ctx, a.Token)
	wantErr(t, "a token, which needs the lost secret", err, ErrTokenGone)
	_, err = v.Enroll(ctx, "a", []byte("password"))
	wantErr(t, "enroll over a lost owner", err, ErrLost)
	_, err = v.Slots(ctx, "a")
	wantErr(t, "slots of a lost owner", err, ErrLost)
	_, err = v.Recover(ctx, client("a"), b.Recovery, []byte("new"))
	wantErr(t, "the code of another owner", err, ErrUnlock)
	wantErr(t, "a wrong code changes nothing", func() error { _, err := v.Slots(ctx, "a"); return err }(), ErrLost)

	r := mustOpen(t)(v.Recover(ctx, client("a"), a.Recovery, []byte("new")))
	if !r.Adopted || r.Key.ID() != a.Key.ID() {
		t.Errorf("adopted %v, the same key %v", r.Adopted, r.Key.ID() == a.Key.ID())
	}
	if _, value, err := columnKey(t, r.Key, "entries.body", 0).Open(nil, kept, nil); err != nil || string(value) != "value" {
		t.Errorf("a cell from before: %v", err)
	}
	// From now on the owner is like any other, where adopting is not allowed too.
	after := afterLoss(t, store, c, false)
	if u := mustOpen(t)(after.Unlock(ctx, client("a"), []byte("new"))); u.Adopted || u.Key.ID() != a.Key.ID() {
		t.Error("unlock adopted again, or gave another key")
	}
	mustOpen(t)(after.UnlockSecret(ctx, client("a"), secret))
	again := mustOpen(t)(after.Recover(ctx, client("a"), r.Recovery, []byte("newer")))
	_, err = after.Recover(ctx, client("a"), a.Recovery, []byte("x"))
	wantErr(t, "the code that was replaced", err, ErrUnlock)
	n, err := after.Rotate(ctx, again.Key)
	if err != nil {
		t.Fatal(err)
	}
	n.Release()
	mustOpen(t)(after.UnlockSecret(ctx, client("a"), secret))
	if by := slotsOf(t, after, "a"); len(by) != 4 || len(store.slots) != 3+5 {
		t.Errorf("slots %v, and %d in the store", by, len(store.slots))
	}
}

func TestLostFleetSecretBySecret(t *testing.T) {
	store, c, a, _, secret := lostKeystore(t)
	v := afterLoss(t, store, c, true)
	u := mustOpen(t)(v.UnlockSecret(ctx, client("a"), secret))
	if !u.Adopted || u.Key.ID() != a.Key.ID() {
		t.Error("not adopted, or another key")
	}
	k, err := afterLoss(t, store, c, false).OpenToken(ctx, u.Token)
	if err != nil {
		t.Fatal(err)
	}
	k.Release()
	// The paper code of an owner who came in by another way still works.
	mustOpen(t)(v.Recover(ctx, client("a"), a.Recovery, []byte("new")))
}

func TestLostFleetSecretByEscrow(t *testing.T) {
	store, c := newMemStore(), newClock()
	key, err := accountKey(t, 9).userKey("main", keptService)
	if err != nil {
		t.Fatal(err)
	}
	escrow := func(c *VaultConfig) { c.Escrow = &ServiceKey{name: "escrow", key: key} }
	e := mustOpen(t)(testVault(t, store, c, escrow).Enroll(ctx, "a", []byte("password")))
	v := testVault(t, store, c, func(c *VaultConfig) {
		escrow(c)
		c.Fleet, c.Adopt = testFleet(t, 8), true
	})
	if r := mustOpen(t)(v.RecoverEscrow(ctx, client("a"), []byte("new"))); !r.Adopted || r.Key.ID() != e.Key.ID() {
		t.Error("not adopted, or another key")
	}
}

// TestLostOwnersWithoutKeys: who registered an account key says so again, and a forgotten owner stays forgotten.
func TestLostOwnersWithoutKeys(t *testing.T) {
	store, c, _, b, _ := lostKeystore(t)
	old := testVault(t, store, c, nil)
	if err := old.Register(ctx, "r", userKey(t, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Forget(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "shred")
	v := testVault(t, store, c, func(c *VaultConfig) { c.Fleet, c.Adopt, c.ShredList = testFleet(t, 8), true, list })
	wantErr(t, "register another key", v.Register(ctx, "r", userKey(t, 2)), ErrEnrolled)
	if err := v.Register(ctx, "r", userKey(t, 1)); err != nil {
		t.Error(err)
	}
	if err := afterLoss(t, store, c, false).Register(ctx, "r", userKey(t, 1)); err != nil {
		t.Errorf("register was not taken over: %v", err)
	}
	_, err := v.Recover(ctx, client("b"), b.Recovery, []byte("new"))
	wantErr(t, "recover a forgotten owner", err, ErrUnlock)
	wantErr(t, "restore a forgotten owner", v.Restore(ctx, "b"), ErrLost)
	c.pass(48 * time.Hour)
	if done, err := v.Destroy(ctx); err != nil || len(done) != 1 {
		t.Errorf("destroyed %v, %v", done, err)
	}
	// An owner who has no code can be forgotten, at once and for good.
	if r, err := v.Forget(ctx, "a"); err != nil || r.Slots != 4 || r.DestroyAt.After(c.Now()) || len(store.slots) != 0 {
		t.Errorf("receipt %+v, error %v, %d slots left", r, err, len(store.slots))
	}
	wantErr(t, "restore", v.Restore(ctx, "a"), ErrNotForgotten)
	_, err = v.Enroll(ctx, "a", []byte("x"))
	wantErr(t, "enroll", err, ErrForgotten)
}

// TestAdoptingOpensNothing: who can write the tables and has neither code nor secret gets no key adopted.
func TestAdoptingOpensNothing(t *testing.T) {
	store, c, a, _, secret := lostKeystore(t)
	old := testVault(t, store, c, nil)
	w, err := old.load(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	recovery := w.of(SlotRecovery, 0)[0]
	theirs, err := newUserKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := theirs.userKey("main")
	if err != nil {
		t.Fatal(err)
	}
	defer key.Release()
	// plant stores a record of the attacker's own making, with the slots given, under a MAC of nobody.
	plant := func(r *ownerRecord, slots ...*keySlot) {
		r.slots = nil
		for _, s := range slots {
			body := s.encode("main", "a")
			store.slots[s.id] = memSlot{"a", body}
			r.slots = append(r.slots, slotEntry{id: s.id, kind: s.kind, digest: slotDigest(body)})
		}
		store.owners["a"] = memOwner{generation: r.generation, record: r.encode(), mac: bytes.Repeat([]byte{1}, 32)}
	}
	own := func(s *keySlot, with *slotSecret) *keySlot {
		n := *s
		if err := n.fill("main", "a", with, theirs, rand.Reader); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	backup := store.clone()
	for name, attack := range map[string]func(r *ownerRecord){
		// Their key for the owner's code: they lack the share, so they can fill the slot for another secret only.
		"a slot of their key in the place of the owner's": func(r *ownerRecord) {
			if err := r.describe(key); err != nil {
				t.Fatal(err)
			}
			plant(r, own(recovery, new(slotSecret)))
		},
		"their key wrapped for the owner's public half with a share of theirs": func(r *ownerRecord) {
			if err := r.describe(key); err != nil {
				t.Fatal(err)
			}
			n := *recovery
			var share [secretSize]byte
			if err := n.wrap("main", "a", &share, theirs, rand.Reader); err != nil {
				t.Fatal(err)
			}
			plant(r, &n)
		},
		"another public key": func(r *ownerRecord) {
			r.public[0] ^= 1
			plant(r, recovery)
		},
		"other key ids": func(r *ownerRecord) {
			r.keyIDs[0][0] ^= 1
			plant(r, recovery)
		},
		"the last generation there is": func(r *ownerRecord) {
			r.generation = math.MaxUint64
			plant(r, recovery)
		},
		"the slot as another kind": func(r *ownerRecord) {
			n := *recovery
			n.kind = SlotSecret
			plant(r, &n)
		},
		"a later expiry": func(r *ownerRecord) {
			n := *recovery
			n.notAfter = math.MaxInt64
			plant(r, &n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store.restore(backup)
			clear(store.attempts)
			r, err := parseOwnerRecord(backup.owners["a"].record, "main", "a")
			if err != nil {
				t.Fatal(err)
			}
			attack(r)
			planted := store.owners["a"]
			v := afterLoss(t, store, c, true)
			if o, err := v.Recover(ctx, client("a"), a.Recovery, []byte("new")); err == nil {
				t.Errorf("recovered, with the owner's key: %v", o.Key.ID() == a.Key.ID())
				o.Key.Release()
			}
			if !bytes.Equal(store.owners["a"].mac, planted.mac) {
				t.Error("the planted record was adopted")
			}
		})
	}
	// A slot of the attacker's own beside the owner's: not taken along, although the record names it.
	store.restore(backup)
	clear(store.attempts)
	r, err := parseOwnerRecord(backup.owners["a"].record, "main", "a")
	if err != nil {
		t.Fatal(err)
	}
	mine := &keySlot{id: SlotID{1}, kind: SlotSecret}
	mySecret := bytes.Repeat([]byte{0xCD}, secretSize)
	if err := mine.fill("main", "a", unpeppered(mySecret, labelSecretSlot, "main", "a", mine.id), theirs, rand.Reader); err != nil {
		t.Fatal(err)
	}
	plant(r, recovery, w.of(SlotSecret, 0)[0], mine)
	v := afterLoss(t, store, c, true)
	o := mustOpen(t)(v.Recover(ctx, client("a"), a.Recovery, []byte("new")))
	if o.Key.ID() != a.Key.ID() {
		t.Error("recovered another key")
	}
	_, err = v.UnlockSecret(ctx, client("a"), mySecret)
	wantErr(t, "the attacker's slot", err, ErrUnlock)
	mustOpen(t)(v.UnlockSecret(ctx, client("a"), secret))
}

// TestAdoptedOwnersStay: what was made under the lost secret does not come back over what was adopted.
func TestAdoptedOwnersStay(t *testing.T) {
	store, c, a, _, _ := lostKeystore(t)
	old := store.clone()
	v := afterLoss(t, store, c, true)
	r := mustOpen(t)(v.Recover(ctx, client("a"), a.Recovery, []byte("new")))
	adopted := store.clone()
	// The old slots alone do not exist for the new record.
	maps.Copy(store.slots, old.slots)
	_, err := v.Recover(ctx, client("a"), a.Recovery, []byte("x"))
	wantErr(t, "the old slots put back", err, ErrUnlock)
	// Everything from before the loss.
	store.restore(old)
	for name, proxy := range map[string]*Vault{"this proxy": v, "one where adopting is not allowed": afterLoss(t, store, c, false)} {
		_, err = proxy.Recover(ctx, client("a"), a.Recovery, []byte("x"))
		wantErr(t, "the old record put back, at "+name, err, ErrTampered)
	}
	c.pass(2 * time.Minute)
	_, err = v.OpenToken(ctx, r.Token)
	wantErr(t, "a token whose row was taken away", err, ErrTokenGone)
	store.restore(adopted)
	mustOpen(t)(v.Unlock(ctx, client("a"), []byte("new")))
}
