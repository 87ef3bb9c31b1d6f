package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/keystore/cell"
)

var ctx = context.Background()

func client(owner string) Client { return Client{Owner: owner, Address: "192.0.2.1"} }

func sealWith(t testing.TB, k *UserKey) []byte {
	t.Helper()
	return columnKey(t, k, "entries.body", 0).Seal(nil, cell.Params{Family: 's', Plaintext: []byte("value")})
}

func TestEnrollAndUnlock(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	if e.Owner != "42" || !strings.HasPrefix(string(e.Token), "LKT1-") || !strings.HasPrefix(string(e.Recovery), "LKR1-") ||
		!e.Expires.Equal(c.Now().Add(time.Hour)) {
		t.Errorf("enroll answered with owner %q, expiry %v, %d bytes of token and %d of recovery code", e.Owner, e.Expires, len(e.Token), len(e.Recovery))
	}
	if !LooksLikeToken(e.Token) {
		t.Error("a token does not look like one")
	}
	_, err := v.Enroll(ctx, "42", []byte("other"))
	wantErr(t, "enroll again", err, ErrEnrolled)

	other := testVault(t, store, c, nil) // a second proxy
	u := mustOpen(t)(other.Unlock(ctx, client("42"), []byte("password")))
	if u.Key.ID() != e.Key.ID() {
		t.Error("unlock gave another key than enroll")
	}
	if bytes.Equal(u.Token, e.Token) {
		t.Error("two tokens are the same")
	}
	for _, token := range [][]byte{e.Token, u.Token} {
		k, err := other.OpenToken(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		if k.ID() != e.Key.ID() {
			t.Error("a token gave another key")
		}
		k.Release()
	}
	_, err = other.Unlock(ctx, client("42"), []byte("wrong"))
	wantErr(t, "wrong password", err, ErrUnlock)
	_, unknown := other.Unlock(ctx, client("43"), []byte("password"))
	wantErr(t, "unknown owner", unknown, ErrUnlock)
	if err.Error() != unknown.Error() {
		t.Errorf("wrong password says %q and unknown owner %q", err, unknown)
	}
	for _, owner := range []string{"", strings.Repeat("x", 256), "a\x00b", "\xff"} {
		_, err := v.Enroll(ctx, owner, []byte("password"))
		wantErr(t, "owner", err, ErrBadOwner)
	}
	_, err = v.Enroll(ctx, "44", nil)
	wantErr(t, "empty password", err, ErrBadPassword)
}

func TestTokens(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	store.reads = 0
	k, err := v.OpenToken(ctx, e.Token)
	if err != nil || store.reads != 0 {
		t.Fatalf("a cached token: error %v after %d reads, want none", err, store.reads)
	}
	k.Release()
	fresh := testVault(t, store, c, nil)
	store.reads = 0
	k, err = fresh.OpenToken(ctx, e.Token)
	if err != nil || store.reads != 1 {
		t.Fatalf("a token: error %v after %d reads, want 1", err, store.reads)
	}
	var ring Keyring
	ring.Replace(k)
	if err := v.Lock(ctx, e.Key); err != nil {
		t.Fatal(err)
	}
	_, err = v.OpenToken(ctx, e.Token)
	wantErr(t, "a revoked token", err, ErrTokenGone)
	if gone, err := fresh.Revalidate(ctx, &ring); gone || err != nil || ring.Len() != 1 {
		t.Errorf("within the ttl: gone %v, error %v, %d keys", gone, err, ring.Len())
	}
	c.pass(time.Minute)
	if gone, err := fresh.Revalidate(ctx, &ring); !gone || err != nil || ring.Len() != 0 {
		t.Errorf("past the ttl: gone %v, error %v, %d keys", gone, err, ring.Len())
	}
	u := mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
	changed := bytes.Clone(u.Token)
	if changed[40] == 'A' {
		changed[40] = 'B'
	} else {
		changed[40] = 'A'
	}
	_, err = v.OpenToken(ctx, changed)
	wantErr(t, "another token", err, ErrTokenGone)
	_, err = v.OpenToken(ctx, u.Token[:len(u.Token)-1])
	wantErr(t, "a cut token", err, ErrMalformedKey)
	c.pass(time.Hour)
	_, err = v.OpenToken(ctx, u.Token)
	wantErr(t, "an expired token", err, ErrTokenGone)
	for range maxTokens + 5 {
		mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
		c.pass(time.Second)
	}
	slots, err := v.Slots(ctx, "42")
	if err != nil || len(slots) != maxTokens+2 {
		t.Errorf("%d slots, error %v, want %d tokens, a password and a recovery code", len(slots), err, maxTokens)
	}
}

func TestSlidingTokens(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, func(c *VaultConfig) { c.Sliding = true })
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	for range 10 {
		c.pass(40 * time.Minute)
		k, err := v.OpenToken(ctx, e.Token)
		if err != nil {
			t.Fatal(err)
		}
		if _, expires, _ := k.Owner(); !expires.Equal(c.Now().Add(time.Hour)) {
			t.Errorf("expires %v, want in an hour", expires)
		}
		k.Release()
	}
	c.pass(time.Hour)
	_, err := v.OpenToken(ctx, e.Token)
	wantErr(t, "an unused token", err, ErrTokenGone)
}

func TestChangePassword(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("old")))
	n := mustOpen(t)(v.ChangePassword(ctx, client("42"), []byte("old"), []byte("new")))
	if n.Key.ID() != e.Key.ID() || n.Recovery != nil {
		t.Error("the password changed more than the password")
	}
	_, err := v.OpenToken(ctx, e.Token)
	wantErr(t, "a token from before", err, ErrTokenGone)
	_, err = v.Unlock(ctx, client("42"), []byte("old"))
	wantErr(t, "the old password", err, ErrUnlock)
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("new")))
	_, err = v.ChangePassword(ctx, client("42"), []byte("old"), []byte("newer"))
	wantErr(t, "change with the wrong password", err, ErrUnlock)

	r := mustOpen(t)(v.Recover(ctx, client("42"), e.Recovery, []byte("newest")))
	if r.Key.ID() != e.Key.ID() || bytes.Equal(r.Recovery, e.Recovery) {
		t.Error("recovery changed the key, or did not change the code")
	}
	_, err = v.Recover(ctx, client("42"), e.Recovery, []byte("x"))
	wantErr(t, "the code from before", err, ErrUnlock)
	_, err = v.Recover(ctx, client("43"), r.Recovery, []byte("x"))
	wantErr(t, "the code of another owner", err, ErrUnlock)
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("newest")))
	typo := bytes.Clone(r.Recovery)
	if typo[7] == 'A' {
		typo[7] = 'B'
	} else {
		typo[7] = 'A'
	}
	_, err = v.Recover(ctx, client("42"), typo, []byte("x"))
	wantErr(t, "a mistyped code", err, ErrMalformedKey)
	forgiven := []byte(" " + strings.ToLower(strings.ReplaceAll(string(r.Recovery[5:]), "-", " ")))
	mustOpen(t)(v.Recover(ctx, client("42"), forgiven, []byte("again")))
}

// TestConcurrentChange: a change that comes between reading and writing is not lost.
func TestConcurrentChange(t *testing.T) {
	store, c := newMemStore(), newClock()
	v, other := testVault(t, store, c, nil), testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("old")))
	store.conflict = func() { mustOpen(t)(other.Unlock(ctx, client("42"), []byte("old"))) }
	u := mustOpen(t)(v.Unlock(ctx, client("42"), []byte("old")))
	if slots, _ := v.Slots(ctx, "42"); len(slots) != 5 {
		t.Errorf("%d slots, want 3 tokens, a password and a recovery code", len(slots))
	}
	store.conflict = func() { mustOpen(t)(other.ChangePassword(ctx, client("42"), []byte("old"), []byte("new"))) }
	_, err := v.Unlock(ctx, client("42"), []byte("old"))
	wantErr(t, "unlock with a password that was changed meanwhile", err, ErrUnlock)
	_, err = v.OpenToken(ctx, u.Token)
	if err == nil {
		c.pass(time.Minute)
		_, err = v.OpenToken(ctx, u.Token)
	}
	wantErr(t, "a token from before", err, ErrTokenGone)
	store.conflict = func() { mustOpen(t)(other.Enroll(ctx, "43", []byte("x"))) }
	_, err = v.Enroll(ctx, "43", []byte("y"))
	wantErr(t, "enroll at the same time", err, ErrEnrolled)
	_ = e
}

func TestRaisedCost(t *testing.T) {
	store, c := newMemStore(), newClock()
	mustOpen(t)(testVault(t, store, c, nil).Enroll(ctx, "42", []byte("password")))
	v := testVault(t, store, c, func(c *VaultConfig) { c.Cost.Time = 2 })
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
	w, err := v.load(ctx, "42")
	if err != nil {
		t.Fatal(err)
	}
	if s := w.of(SlotPassword, 0); len(s) != 1 || s[0].cost.Time != 2 {
		t.Error("the slot was not made anew")
	}
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
}

func TestSlots(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	secret := bytes.Repeat([]byte{0xAB}, 32)
	id, code, err := v.AddSlot(ctx, "42", e.Key, SlotSecret, secret)
	if err != nil || code != nil {
		t.Fatal(err)
	}
	if k := mustOpen(t)(v.UnlockSecret(ctx, client("42"), []byte(strings.Repeat("ab", 32)))); k.Key.ID() != e.Key.ID() {
		t.Error("the secret opens another key")
	}
	_, err = v.UnlockSecret(ctx, client("42"), bytes.Repeat([]byte{1}, 32))
	wantErr(t, "another secret", err, ErrUnlock)
	_, err = v.UnlockSecret(ctx, client("42"), []byte("short"))
	wantErr(t, "a short secret", err, ErrBadSecret)
	_, _, err = v.AddSlot(ctx, "43", e.Key, SlotSecret, secret)
	wantErr(t, "a slot for another owner", err, ErrNotFromSlot)
	_, _, err = v.AddSlot(ctx, "42", e.Key, SlotToken, nil)
	wantErr(t, "a token", err, ErrBadKind)
	_, _, err = v.AddSlot(ctx, "42", e.Key, SlotService, nil)
	wantErr(t, "escrow", err, ErrNoEscrow)
	_, code, err = v.AddSlot(ctx, "42", e.Key, SlotRecovery, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Recover(ctx, client("42"), e.Recovery, []byte("x"))
	wantErr(t, "the replaced recovery code", err, ErrUnlock)
	mustOpen(t)(v.Recover(ctx, client("42"), code, []byte("password")))
	slots, err := v.Slots(ctx, "42")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slots {
		if s.Kind == SlotPassword || s.Kind == SlotRecovery {
			if err := v.DropSlot(ctx, "42", s.ID); err != nil {
				t.Errorf("drop %s: %v", s.Kind, err)
			}
		}
	}
	wantErr(t, "drop the last slot", v.DropSlot(ctx, "42", id), ErrLastSlot)
	wantErr(t, "drop no slot", v.DropSlot(ctx, "42", SlotID{1}), ErrNoSlot)
	mustOpen(t)(v.UnlockSecret(ctx, client("42"), secret))
}

func TestEscrow(t *testing.T) {
	store, c := newMemStore(), newClock()
	key, err := accountKey(t, 9).userKey("main", keptService)
	if err != nil {
		t.Fatal(err)
	}
	v := testVault(t, store, c, func(c *VaultConfig) { c.Escrow = &ServiceKey{name: "escrow", key: key} })
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("lost")))
	slots, _ := v.Slots(ctx, "42")
	found := false
	for _, s := range slots {
		found = found || s.Kind == SlotService && s.Label == "escrow"
	}
	if !found {
		t.Error("the escrow slot is not shown")
	}
	r := mustOpen(t)(v.RecoverEscrow(ctx, client("42"), []byte("new")))
	if r.Key.ID() != e.Key.ID() {
		t.Error("escrow gave another key")
	}
	_, err = testVault(t, store, c, nil).RecoverEscrow(ctx, client("42"), []byte("x"))
	wantErr(t, "without the escrow key", err, ErrNoEscrow)
}

func TestRotate(t *testing.T) {
	store, c := newMemStore(), newClock()
	v, other := testVault(t, store, c, nil), testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	rule := TagRule{Context: "entries.title", Collation: "utf8mb4_bin", Pad: NoPad, WeightVersion: 1}
	tag := func(k *UserKey) cell.Tag {
		index, err := k.IndexKey(rule)
		if err != nil {
			t.Fatal(err)
		}
		return index.Tag([]byte("weights"))
	}
	old := sealWith(t, e.Key)
	var ring, elsewhere Keyring
	k, err := other.OpenToken(ctx, e.Token)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Replace(k)
	e.Key.Retain()
	ring.Replace(e.Key)
	n, err := v.Rotate(ctx, e.Key)
	if err != nil {
		t.Fatal(err)
	}
	if n.ID() == e.Key.ID() || tag(n) != tag(e.Key) {
		t.Error("rotation kept the cell root or changed the search root")
	}
	if !ring.Exchange(e.Key, n) {
		t.Fatal("the keyring does not hold the key")
	}
	c.pass(2 * time.Minute)
	if gone, err := other.Revalidate(ctx, &elsewhere); gone || err != nil {
		t.Fatalf("the other proxy: gone %v, error %v", gone, err)
	}
	for name, r := range map[string]*Keyring{"here": &ring, "elsewhere": &elsewhere} {
		if sealing, _ := r.Sealing(); sealing.ID() != n.ID() {
			t.Errorf("%s: the key that seals is not the new one", name)
		}
		found, ok := r.Lookup(e.Key.ID())
		if !ok {
			t.Fatalf("%s: the old key is not found", name)
		}
		if _, value, err := columnKey(t, found, "entries.body", 0).Open(nil, old, nil); err != nil || string(value) != "value" {
			t.Errorf("%s: an old cell does not open: %v", name, err)
		}
	}
	u := mustOpen(t)(other.Unlock(ctx, client("42"), []byte("password")))
	r := mustOpen(t)(other.Recover(ctx, client("42"), e.Recovery, []byte("new")))
	if u.Key.ID() != n.ID() || r.Key.ID() != n.ID() || len(r.Key.IDs()) != 2 {
		t.Error("password and recovery code do not open the rotated key")
	}
	_, err = v.Rotate(ctx, e.Key)
	if err == nil {
		t.Error("a stale key was rotated")
	}
	last := r.Key
	for range maxCellRoots - 2 {
		next, err := other.Rotate(ctx, last)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Release)
		last = next
	}
	_, err = other.Rotate(ctx, last)
	wantErr(t, "rotate too often", err, ErrTooManyRotations)
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("new")))
}

func TestForget(t *testing.T) {
	store, c := newMemStore(), newClock()
	list := filepath.Join(t.TempDir(), "shred")
	v := testVault(t, store, c, func(c *VaultConfig) { c.ShredList = list })
	other := testVault(t, store, c, nil)
	e := mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	backup := store.clone()
	k, err := other.OpenToken(ctx, e.Token)
	if err != nil {
		t.Fatal(err)
	}
	var ring Keyring
	ring.Replace(k)
	r, err := v.Forget(ctx, "42")
	if err != nil || r.Slots != 3 || !r.DestroyAt.Equal(c.Now().Add(24*time.Hour)) {
		t.Fatalf("forget: %+v, error %v", r, err)
	}
	_, err = v.OpenToken(ctx, e.Token)
	wantErr(t, "a token of a forgotten owner", err, ErrTokenGone)
	_, err = other.Unlock(ctx, client("42"), []byte("password"))
	wantErr(t, "unlock a forgotten owner", err, ErrUnlock)
	_, err = v.Enroll(ctx, "42", []byte("password"))
	wantErr(t, "enroll a forgotten owner", err, ErrForgotten)
	c.pass(time.Minute)
	if gone, _ := other.Revalidate(ctx, &ring); !gone || ring.Len() != 0 {
		t.Error("an open session kept the key of a forgotten owner")
	}
	if done, err := v.Destroy(ctx); err != nil || len(done) != 0 {
		t.Errorf("destroyed %v too early, error %v", done, err)
	}
	if err := v.Restore(ctx, "42"); err != nil {
		t.Fatal(err)
	}
	mustOpen(t)(other.Unlock(ctx, client("42"), []byte("password")))
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
	if _, err := v.Forget(ctx, "42"); err != nil {
		t.Fatal(err)
	}
	c.pass(24 * time.Hour)
	if done, err := v.Destroy(ctx); err != nil || len(done) != 1 || len(store.slots) != 0 {
		t.Errorf("destroyed %v, %d slots left, error %v", done, len(store.slots), err)
	}
	wantErr(t, "restore after destruction", v.Restore(ctx, "42"), ErrNotForgotten)
	_, err = v.Forget(ctx, "43")
	wantErr(t, "forget nobody", err, ErrNoOwner)

	// The slots come back with a backup, and the proxies were restarted.
	store.restore(backup)
	again := testVault(t, store, c, func(c *VaultConfig) { c.ShredList = list })
	_, err = again.Unlock(ctx, client("42"), []byte("password"))
	wantErr(t, "unlock from a backup", err, ErrUnlock)
	if text, err := os.ReadFile(list); err != nil || bytes.Contains(text, []byte("42 ")) {
		t.Errorf("the shred list names the owner, or error %v", err)
	}
	_, err = other.Unlock(ctx, client("42"), []byte("password"))
	wantErr(t, "unlock from a backup, at a proxy that saw more", err, ErrRollback)
}

func TestRegister(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	k := userKey(t, 1)
	for range 2 {
		if err := v.Register(ctx, "42", k); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "another key", v.Register(ctx, "42", userKey(t, 2)), ErrEnrolled)
	_, err := v.Unlock(ctx, client("42"), []byte("x"))
	wantErr(t, "unlock a registered owner", err, ErrUnlock)
	_, err = v.Enroll(ctx, "42", []byte("x"))
	wantErr(t, "enroll a registered owner", err, ErrEnrolled)
}

func TestAttempts(t *testing.T) {
	store, c := newMemStore(), newClock()
	v, other := testVault(t, store, c, nil), testVault(t, store, c, nil)
	mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	for _, owner := range []string{"42", "nobody"} {
		tries := 0
		for _, proxy := range []*Vault{v, other, v, other, v, other, v, other} {
			_, err := proxy.Unlock(ctx, client(owner), []byte("wrong"))
			if errors.Is(err, ErrUnlock) {
				tries++
			}
		}
		if tries != int(ownerAttempts.free)+1 {
			t.Errorf("%s: %d attempts over two proxies, want %d", owner, tries, ownerAttempts.free+1)
		}
	}
	var many *TooManyError
	_, err := v.Unlock(ctx, client("42"), []byte("password"))
	if !errors.As(err, &many) || many.Wait <= 0 || many.Wait > time.Second {
		t.Errorf("the right password at once: %v", err)
	}
	// Somebody deletes the counters.
	clear(store.attempts)
	_, err = v.Unlock(ctx, client("42"), []byte("password"))
	if !errors.As(err, &many) {
		t.Errorf("after the counters were deleted: %v", err)
	}
	c.pass(time.Second)
	mustOpen(t)(v.Unlock(ctx, client("42"), []byte("password")))
	mustOpen(t)(other.Unlock(ctx, client("42"), []byte("password")))

	tries := 0
	for i := range 150 {
		_, err := v.Unlock(ctx, Client{Owner: "guess" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Address: "192.0.2.9"}, []byte("x"))
		if errors.Is(err, ErrUnlock) {
			tries++
		}
	}
	if tries != int(addressAttempts.free)+1 {
		t.Errorf("%d attempts over many owners, want %d", tries, addressAttempts.free+1)
	}
	longest := time.Duration(0)
	for n := range uint32(100) {
		d := ownerAttempts.delay(n)
		if d < longest || d > maxDelay {
			t.Errorf("delay %v after %d failures", d, n)
		}
		longest = d
	}
	if longest != maxDelay {
		t.Errorf("the longest delay is %v, want %v", longest, maxDelay)
	}
}

func TestBusy(t *testing.T) {
	v := testVault(t, newMemStore(), newClock(), func(c *VaultConfig) { c.Hashers, c.Waiting = 1, 1 })
	v.hasher.running <- struct{}{}
	v.hasher.waiting <- struct{}{}
	v.hasher.waiting <- struct{}{}
	_, err := v.Unlock(ctx, client("42"), []byte("password"))
	wantErr(t, "a full queue", err, ErrBusy)
}

// TestLostKeysAreWiped: when the last holder lets go, nothing that opens the slot is left.
func TestLostKeysAreWiped(t *testing.T) {
	v := testVault(t, newMemStore(), newClock(), nil)
	o, err := v.Enroll(ctx, "42", []byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	from, secret := o.Key.origin, o.Key.origin.secret
	o.Key.Release()
	if from.secret == nil {
		t.Fatal("the cache's key was wiped")
	}
	v.Close()
	if from.secret != nil || *secret != (slotSecret{}) || o.Key.roots != nil {
		t.Error("the key or its slot's secret outlived the last holder")
	}
}

func FuzzParseSlot(f *testing.F) {
	s := &keySlot{kind: SlotPassword, cost: MinPasswordCost}
	keys, _ := newUserKeys(rand.Reader)
	if err := s.fill("main", "42", new(slotSecret), keys, rand.Reader); err != nil {
		f.Fatal(err)
	}
	f.Add(s.encode("main", "42"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSlot(b, "main", "42")
		if err == nil && !bytes.Equal(s.encode("main", "42"), b) {
			t.Error("a slot reads in two ways")
		}
	})
}

func FuzzParseOwnerRecord(f *testing.F) {
	r := &ownerRecord{realm: "main", owner: "42", generation: 1, state: ownerActive, keyIDs: []cell.KeyID{{1}}, slots: []slotEntry{{kind: SlotToken}}}
	f.Add(r.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseOwnerRecord(b, "main", "42")
		if err == nil && !bytes.Equal(r.encode(), b) {
			t.Error("a record reads in two ways")
		}
	})
}

func FuzzCodes(f *testing.F) {
	f.Add([]byte("LKR1-00000-00000-00000-00000-00000-00000-00000-00000"))
	f.Add([]byte("LKT1-" + strings.Repeat("A", 64)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseRecoveryCode(b); err == nil {
			if again, err := parseRecoveryCode(c.text()); err != nil || *again != *c {
				t.Error("a recovery code does not read back")
			}
		}
		if k, err := parseToken(b); err == nil {
			if again, err := parseToken(k.text()); err != nil || *again != *k {
				t.Error("a token does not read back")
			}
		}
	})
}

// TestShredListFollows: what a crash or a failure kept off the shred list gets there, and what another proxy with another
// list restored stays restored.
func TestShredListFollows(t *testing.T) {
	store, c := newMemStore(), newClock()
	list := filepath.Join(t.TempDir(), "shred")
	bare := testVault(t, store, c, nil)
	listed := func() *Vault { return testVault(t, store, c, func(c *VaultConfig) { c.ShredList = list }) }
	for _, owner := range []string{"a", "b"} {
		mustOpen(t)(bare.Enroll(ctx, owner, []byte("password")))
	}
	backup := store.clone()
	// As after a crash behind the tombstone.
	if _, err := bare.Forget(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := listed().Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	store.restore(backup)
	_, err := listed().Unlock(ctx, client("a"), []byte("password"))
	wantErr(t, "unlock from a backup", err, ErrUnlock)
	mustOpen(t)(listed().Unlock(ctx, client("b"), []byte("password")))

	// A line that a crash tore says nothing, and spoils none behind it.
	f, err := os.OpenFile(list, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("forget " + bare.shredID("b") + " 20"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	v := listed()
	mustOpen(t)(v.Unlock(ctx, client("b"), []byte("password")))
	if _, err := v.Forget(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if !listed().shred.forgot(v.shredID("b"), 0) {
		t.Error("a line behind a torn one is not read")
	}
	c.pass(time.Second)
	if err := testVault(t, store, c, nil).Restore(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	mustOpen(t)(listed().Unlock(ctx, client("b"), []byte("password")))

	// A list that cannot be written fails before anything is changed.
	v = testVault(t, store, c, func(c *VaultConfig) { c.ShredList = list })
	v.shred.path = filepath.Join(list, "nowhere")
	if _, err := v.Forget(ctx, "b"); err == nil {
		t.Error("an owner was forgotten without a shred list")
	}
	mustOpen(t)(listed().Unlock(ctx, client("b"), []byte("password")))
	// One that fails afterwards is completed later.
	v = testVault(t, store, c, func(c *VaultConfig) { c.ShredList = list })
	store.conflict = func() { v.shred.path = filepath.Join(list, "nowhere") }
	if _, err := v.Forget(ctx, "b"); err == nil {
		t.Error("a receipt was given without a line on the shred list")
	}
	if _, err := v.Destroy(ctx); err == nil {
		t.Error("the shred list was said to be complete")
	}
	v.shred.path = list
	if _, err := v.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	store.restore(backup)
	_, err = listed().Unlock(ctx, client("b"), []byte("password"))
	wantErr(t, "unlock from a backup", err, ErrUnlock)
}

// TestUnknownOwnersCostTheSame: of every kind of slot one is tried, whether the owner is there and has it or not.
func TestUnknownOwnersCostTheSame(t *testing.T) {
	store, c := newMemStore(), newClock()
	v := testVault(t, store, c, nil)
	mustOpen(t)(v.Enroll(ctx, "42", []byte("password")))
	for _, kind := range []SlotKind{SlotPassword, SlotRecovery, SlotSecret, SlotService} {
		for _, owner := range []string{"42", "43"} {
			tried := 0
			_, err := v.prove(ctx, client(owner), kind, func(s *keySlot) (*slotSecret, error) {
				tried++
				if s.kind != kind || kind == SlotPassword && s.cost != v.config.Cost || len(s.wrapped) != payloadFixed+secretSize+gcmOverhead {
					t.Errorf("%v of %s: the slot that is tried is not like one", kind, owner)
				}
				return new(slotSecret), nil
			})
			wantErr(t, kind.String()+" of "+owner, err, ErrUnlock)
			if tried != 1 {
				t.Errorf("%v of %s: %d slots tried, want 1", kind, owner, tried)
			}
		}
	}
	if len(store.owners) != 1 {
		t.Errorf("%d owners in the store, want 1", len(store.owners))
	}
}
