package keystore

import (
	"bytes"
	"maps"
	"testing"
	"time"
)

// enrolled is a keystore with two owners.
func enrolled(t *testing.T) (store *memStore, c *clock, v *Vault, a, b *Opened) {
	t.Helper()
	store, c = newMemStore(), newClock()
	v = testVault(t, store, c, nil)
	return store, c, v, mustOpen(t)(v.Enroll(ctx, "a", []byte("password"))), mustOpen(t)(v.Enroll(ctx, "b", []byte("password")))
}

// slotsOf gives the slots of an owner by kind, as they lie in the store.
func slotsOf(t *testing.T, v *Vault, owner string) map[SlotKind]SlotID {
	t.Helper()
	slots, err := v.Slots(ctx, owner)
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[SlotKind]SlotID)
	for _, s := range slots {
		by[s.Kind] = s.ID
	}
	return by
}

// TestEveryStoredByteCounts: whoever changes a byte of the keystore gets an error and never a key.
func TestEveryStoredByteCounts(t *testing.T) {
	store, c, _, e, _ := enrolled(t)
	backup := store.clone()
	open := func() error {
		k, err := testVault(t, store, c, nil).OpenToken(ctx, e.Token)
		if err == nil {
			k.Release()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	id := slotsOf(t, testVault(t, store, c, nil), "a")[SlotToken]
	for i := range backup.slots[id].body {
		store.restore(backup)
		s := store.slots[id]
		s.body = bytes.Clone(s.body)
		s.body[i] ^= 1
		store.slots[id] = s
		if open() == nil {
			t.Errorf("a slot with byte %d changed opens", i)
		}
	}
	for i := range backup.owners["a"].record {
		store.restore(backup)
		o := store.owners["a"]
		o.record = bytes.Clone(o.record)
		o.record[i] ^= 1
		store.owners["a"] = o
		wantErr(t, "a changed record", open(), ErrTampered)
	}
	for i := range backup.owners["a"].mac {
		store.restore(backup)
		o := store.owners["a"]
		o.mac = bytes.Clone(o.mac)
		o.mac[i] ^= 1
		store.owners["a"] = o
		wantErr(t, "a changed MAC", open(), ErrTampered)
	}
}

func TestWithoutTheFleetSecret(t *testing.T) {
	store, c, v, e, _ := enrolled(t)
	thief := testVault(t, store, c, func(c *VaultConfig) { c.Fleet = testFleet(t, 8) })
	_, err := thief.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "unlock", err, ErrTampered)
	// Without looking at MACs: the slots themselves do not open either.
	w, err := v.load(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	s := w.of(SlotPassword, 0)[0]
	secret, err := thief.passwordSecret(ctx, "a", s, []byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.open("main", "a", secret)
	wantErr(t, "the password slot", err, errWrongSecret)
	tok, err := parseToken(e.Token)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.slots[tok.id].open("main", "a", thief.config.Fleet.peppered(tok.secret[:], labelTokenSlot, "main", "a", tok.id))
	wantErr(t, "the token slot", err, errWrongSecret)
	// The recovery code does not depend on it.
	code, err := parseRecoveryCode(e.Recovery)
	if err != nil {
		t.Fatal(err)
	}
	s = w.of(SlotRecovery, 0)[0]
	keys, err := s.open("main", "a", unpeppered(code[:], labelRecoverySlot, "main", "a", s.id))
	if err != nil {
		t.Fatalf("the recovery slot: %v", err)
	}
	keys.wipe()
}

func TestPlantedSlots(t *testing.T) {
	store, c, v, a, _ := enrolled(t)
	// A slot of the thief's own user key, made with everything but the record's MAC.
	keys, err := newUserKeys(v.config.Rand)
	if err != nil {
		t.Fatal(err)
	}
	i, err := v.newIssue("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := i.slot.fill("main", "a", i.secret, keys, v.config.Rand); err != nil {
		t.Fatal(err)
	}
	store.slots[i.slot.id] = memSlot{"a", i.slot.encode("main", "a")}
	_, err = v.OpenToken(ctx, i.text)
	wantErr(t, "a planted token", err, ErrTokenGone)
	// In the place of the password slot.
	by := slotsOf(t, v, "a")
	planted := &keySlot{id: by[SlotPassword], kind: SlotPassword, cost: MaxPasswordCost}
	if err := planted.fill("main", "a", new(slotSecret), keys, v.config.Rand); err != nil {
		t.Fatal(err)
	}
	backup := store.clone()
	store.slots[planted.id] = memSlot{"a", planted.encode("main", "a")}
	_, err = testVault(t, store, c, nil).Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "a planted password slot", err, ErrUnlock)
	// A record that knows it, from somebody with the fleet secret's MAC but not the user key: the key id gives it away.
	store.restore(backup)
	err = v.change(ctx, "a", func(w *view) (*edit, error) {
		e := &edit{}
		return e, v.add(i, w, e, keys)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = testVault(t, store, c, nil).OpenToken(ctx, i.text)
	wantErr(t, "a key that the record does not name", err, ErrTampered)
	_ = a
}

func TestSwappedOwners(t *testing.T) {
	store, c, v, a, b := enrolled(t)
	sa, sb := slotsOf(t, v, "a"), slotsOf(t, v, "b")
	backup := store.clone()
	for kind := range sa {
		store.slots[sa[kind]], store.slots[sb[kind]] = memSlot{"a", backup.slots[sb[kind]].body}, memSlot{"b", backup.slots[sa[kind]].body}
	}
	fresh := testVault(t, store, c, nil)
	_, err := fresh.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the slots of two owners swapped", err, ErrUnlock)
	store.restore(backup)
	store.owners["a"], store.owners["b"] = backup.owners["b"], backup.owners["a"]
	_, err = fresh.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the records of two owners swapped", err, ErrTampered)
	_, err = fresh.OpenToken(ctx, a.Token)
	wantErr(t, "the records of two owners swapped, token", err, ErrTampered)
	_ = b
}

func TestRollback(t *testing.T) {
	store, c, v, a, _ := enrolled(t)
	old := store.clone()
	by := slotsOf(t, v, "a")
	mustOpen(t)(v.ChangePassword(ctx, client("a"), []byte("password"), []byte("new")))
	// The old slots alone.
	maps.Copy(store.slots, old.slots)
	fresh := testVault(t, store, c, nil)
	_, err := fresh.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the old password slot put back", err, ErrUnlock)
	_, err = fresh.OpenToken(ctx, a.Token)
	wantErr(t, "the revoked token's slot put back", err, ErrTokenGone)
	mustOpen(t)(fresh.Unlock(ctx, client("a"), []byte("new")))
	// Everything.
	store.restore(old)
	_, err = fresh.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the old record put back", err, ErrRollback)
	_, err = v.OpenToken(ctx, a.Token)
	wantErr(t, "the old record put back, token", err, ErrRollback)
	delete(store.owners, "a")
	_, err = fresh.Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "the record deleted", err, ErrRollback)
	_ = by
}

func TestReplacedPublicKey(t *testing.T) {
	store, c, v, a, _ := enrolled(t)
	// With the MAC, as a proxy that was taken over could: the owner's own key does not match.
	err := v.change(ctx, "a", func(w *view) (*edit, error) {
		w.record.public[0] ^= 1
		return &edit{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = testVault(t, store, c, nil).Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "unlock", err, ErrTampered)
	_, err = testVault(t, store, c, nil).OpenToken(ctx, a.Token)
	wantErr(t, "token", err, ErrTampered)
}

// TestRotationLocksOutOldKeys: the user key from before a rotation and the whole keystore do not give the key after it.
func TestRotationLocksOutOldKeys(t *testing.T) {
	_, _, v, a, _ := enrolled(t)
	old, err := a.Key.keys()
	if err != nil {
		t.Fatal(err)
	}
	n, err := v.Rotate(ctx, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Release()
	w, err := v.load(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range w.slots {
		var secret slotSecret
		if err := openBox((*[secretSize]byte)(&secret), "main", "a", s.id, old, s.box); err != nil {
			t.Fatal(err)
		}
		_, err := s.open("main", "a", &secret)
		wantErr(t, "the share in the place of the secret", err, errWrongSecret)
	}
}

func TestExpiryIsAuthenticated(t *testing.T) {
	store, c, v, a, _ := enrolled(t)
	id := slotsOf(t, v, "a")[SlotToken]
	s := store.slots[id]
	slot, err := parseSlot(s.body, "main", "a")
	if err != nil {
		t.Fatal(err)
	}
	slot.notAfter += 1_000_000
	store.slots[id] = memSlot{"a", slot.encode("main", "a")}
	c.pass(2 * time.Hour)
	_, err = testVault(t, store, c, nil).OpenToken(ctx, a.Token)
	wantErr(t, "a token whose expiry was edited", err, ErrTokenGone)
}
