package keystore

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/keystore/cell"
)

func TestKeyringKeepsOrder(t *testing.T) {
	var r Keyring
	if _, ok := r.Sealing(); ok || r.Len() != 0 {
		t.Error("the zero keyring is not empty")
	}
	a, b, c := userKey(t, 1), userKey(t, 2), userKey(t, 3)
	r.Replace(a)
	for _, k := range []*UserKey{b, c} {
		if err := r.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := r.Sealing(); !ok || got != a {
		t.Error("the first key does not seal")
	}
	for _, k := range []*UserKey{a, b, c} {
		if got, ok := r.Lookup(k.ID()); !ok || got != k {
			t.Errorf("key %s is not found", k.ID())
		}
	}
	if _, ok := r.Lookup(cell.KeyID{}); ok {
		t.Error("an unknown key id is found")
	}
	r.Replace(userKey(t, 2))
	if r.Len() != 1 {
		t.Errorf("after Replace the keyring has %d keys, want 1", r.Len())
	}
	if _, ok := r.Lookup(a.ID()); ok {
		t.Error("a replaced key is found")
	}
}

func TestKeyringAddOfTheSameKeyChangesNothing(t *testing.T) {
	var r Keyring
	a, again := userKey(t, 1), userKey(t, 1)
	r.Replace(a)
	if err := r.Add(again); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Sealing(); r.Len() != 1 || got != a {
		t.Errorf("keyring has %d keys, want the first one alone", r.Len())
	}
	if again.roots != nil {
		t.Error("the second copy was not wiped")
	}
}

func TestKeyringIsBounded(t *testing.T) {
	var r Keyring
	for i := range maxKeyring {
		if err := r.Add(userKey(t, byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	k := userKey(t, 0xFF)
	if err := r.Add(k); !errors.Is(err, ErrKeyringFull) {
		t.Errorf("key %d: error %v, want ErrKeyringFull", maxKeyring+1, err)
	}
	if k.roots != nil {
		t.Error("the refused key was not wiped")
	}
}

func TestDroppedKeysAreWiped(t *testing.T) {
	for name, drop := range map[string]func(r *Keyring){
		"Empty":   (*Keyring).Empty,
		"Replace": func(r *Keyring) { r.Replace(userKey(t, 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			var r Keyring
			k := userKey(t, 1)
			secret := k.roots
			ck := columnKey(t, k, "a.b", 0)
			rule := TagRule{Context: "a.b", Collation: "utf8mb4_bin", Pad: PadSpace}
			ik, err := k.IndexKey(rule)
			if err != nil {
				t.Fatal(err)
			}
			sealed := ck.Seal(nil, cell.Params{})
			r.Replace(k)
			drop(&r)
			if *secret != (roots{}) {
				t.Error("the roots were not wiped")
			}
			if k.columns.Len() != 0 || k.indexes.Len() != 0 {
				t.Error("derived keys are still held")
			}
			if _, err := k.ColumnKey("a.b", 0); !errors.Is(err, ErrKeyGone) {
				t.Errorf("ColumnKey: error %v, want ErrKeyGone", err)
			}
			if _, err := k.IndexKey(rule); !errors.Is(err, ErrKeyGone) {
				t.Errorf("IndexKey: error %v, want ErrKeyGone", err)
			}
			if _, err := k.AwayPublicKey(); !errors.Is(err, ErrKeyGone) {
				t.Errorf("AwayPublicKey: error %v, want ErrKeyGone", err)
			}
			if k.Retain() {
				t.Error("Retain revives a wiped key")
			}
			if _, _, err := ck.Open(nil, sealed, nil); !errors.Is(err, cell.ErrWiped) {
				t.Errorf("opening with a column key of a dropped user key: error %v, want ErrWiped", err)
			}
			for what, use := range map[string]func(){"seal": func() { ck.Seal(nil, cell.Params{}) }, "tag": func() { ik.Tag(nil) }} {
				if !panics(use) {
					t.Errorf("a derived key of a dropped user key can still %s", what)
				}
			}
		})
	}
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

// TestDerivedKeysOutliveTheirPlace: a statement may be using a column key that made room for another.
func TestDerivedKeysOutliveTheirPlace(t *testing.T) {
	k := userKey(t, 1)
	defer k.Release()
	first := columnKey(t, k, "first", 0)
	for i := range keptUser {
		columnKey(t, k, fmt.Sprint("column ", i), 0)
	}
	if again := columnKey(t, k, "first", 0); again == first {
		t.Fatal("the first column key did not make room")
	}
	if _, _, err := first.Open(nil, columnKey(t, k, "first", 0).Seal(nil, cell.Params{}), nil); err != nil {
		t.Error(err)
	}
}

func TestKeysOfDifferentPlacesAreDifferent(t *testing.T) {
	a, err := accountKey(t, 1).UserKey("main")
	if err != nil {
		t.Fatal(err)
	}
	staging, err := accountKey(t, 1).UserKey("staging")
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() == staging.ID() {
		t.Error("one key has the same key id in two realms")
	}
	sealed := columnKey(t, a, "entries.title", 0).Seal(nil, cell.Params{Plaintext: []byte("x")})
	for name, k := range map[string]*cell.Key{
		"other column": columnKey(t, a, "entries.body", 0),
		"other epoch":  columnKey(t, a, "entries.title", 1),
		"other user":   columnKey(t, userKey(t, 2), "entries.title", 0),
		"other realm":  columnKey(t, staging, "entries.title", 0),
	} {
		if _, _, err := k.Open(nil, sealed, nil); !errors.Is(err, cell.ErrAuthentication) {
			t.Errorf("%s: error %v, want ErrAuthentication", name, err)
		}
	}
	tag := func(k *UserKey, r TagRule) cell.Tag {
		ik, err := k.IndexKey(r)
		if err != nil {
			t.Fatal(err)
		}
		return ik.Tag([]byte("w"))
	}
	seen := map[cell.Tag]bool{tag(staging, TagRule{"c", "utf8mb4_bin", PadSpace, 1}): true}
	for _, r := range []TagRule{
		{"c", "utf8mb4_bin", PadSpace, 1}, {"c", "utf8mb4_bin", PadSpace, 2}, {"c", "utf8mb4_bin", NoPad, 1},
		{"c", "latin1_bin", PadSpace, 1}, {"d", "utf8mb4_bin", PadSpace, 1},
	} {
		got := tag(a, r)
		if seen[got] {
			t.Errorf("the tag under %+v is that under another rule", r)
		}
		seen[got] = true
	}
}

func TestRotatedKeyKeepsItsTags(t *testing.T) {
	old := make([]byte, secretSize)
	fresh := append([]byte{1}, old[1:]...)
	before, err := NewUserKey("main", old, old)
	if err != nil {
		t.Fatal(err)
	}
	after, err := NewUserKey("main", fresh, old)
	if err != nil {
		t.Fatal(err)
	}
	if before.ID() == after.ID() {
		t.Error("the key id is that of the old cell root")
	}
	rule := TagRule{Context: "c", Collation: "utf8mb4_bin", Pad: PadSpace}
	a, err := before.IndexKey(rule)
	if err != nil {
		t.Fatal(err)
	}
	b, err := after.IndexKey(rule)
	if err != nil {
		t.Fatal(err)
	}
	if a.Tag([]byte("w")) != b.Tag([]byte("w")) {
		t.Error("a new cell root changes search tags")
	}
}

func TestDerivedKeysAreKeptAndBounded(t *testing.T) {
	k := userKey(t, 1)
	first := columnKey(t, k, "a.b", 0)
	if again := columnKey(t, k, "a.b", 0); again != first {
		t.Error("a column key was derived twice")
	}
	for e := range 2 * keptUser {
		columnKey(t, k, "a.b", uint16(e))
	}
	if got := k.columns.Len(); got != keptUser {
		t.Errorf("%d column keys are kept, want %d", got, keptUser)
	}
}

func TestNamesAreChecked(t *testing.T) {
	k := userKey(t, 1)
	long := string(make([]byte, maxNameLen+1))
	for _, name := range []string{"", long} {
		if _, err := accountKey(t, 1).UserKey(name); !errors.Is(err, ErrBadName) {
			t.Errorf("realm of %d bytes: error %v, want ErrBadName", len(name), err)
		}
		if _, err := k.ColumnKey(name, 0); !errors.Is(err, ErrBadName) {
			t.Errorf("context of %d bytes: error %v, want ErrBadName", len(name), err)
		}
		for _, r := range []TagRule{{name, "c", PadSpace, 1}, {"c", name, PadSpace, 1}, {"c", "c", PadRule(name), 1}} {
			if _, err := k.IndexKey(r); !errors.Is(err, ErrBadName) {
				t.Errorf("tag rule with a name of %d bytes: error %v, want ErrBadName", len(name), err)
			}
		}
	}
	if _, err := NewUserKey("main", make([]byte, 31), make([]byte, 32)); err == nil {
		t.Error("a cell root of 31 bytes was accepted")
	}
	if _, err := NewUserKey("main", make([]byte, 32), make([]byte, 33)); err == nil {
		t.Error("a search root of 33 bytes was accepted")
	}
}

func TestAwayCellsPassBetweenFleetAndOwner(t *testing.T) {
	fleet, err := ParseFleetSecret([]byte(loadVectors(t).Fleet.Text))
	if err != nil {
		t.Fatal(err)
	}
	k := userKey(t, 1)
	public, err := k.AwayPublicKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := fleet.AwaySealer("main", public, k.ID(), "entries.title")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(nil, cell.Params{Family: 1, Plaintext: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	open := func(k *UserKey, context string) error {
		o, err := k.AwayOpener(fleet, context)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := o.Open(nil, sealed, nil)
		if err == nil && string(got) != "x" {
			t.Error("the value is another one")
		}
		return err
	}
	if err := open(k, "entries.title"); err != nil {
		t.Errorf("the owner cannot open it: %v", err)
	}
	if err := open(k, "entries.body"); !errors.Is(err, cell.ErrAuthentication) {
		t.Errorf("in another column: error %v, want ErrAuthentication", err)
	}
	if err := open(userKey(t, 2), "entries.title"); !errors.Is(err, cell.ErrAuthentication) {
		t.Errorf("for another owner: error %v, want ErrAuthentication", err)
	}
}

func TestCacheGivesTheSameKeyUntilItExpires(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c, err := NewCache("main", 2, time.Minute, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	open := func(b byte) *UserKey {
		k, err := c.Open(accountKey(t, b).Text())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a := open(1)
	if again := open(1); again != a {
		t.Error("the second opening derives again")
	} else {
		again.Release()
	}
	a.Release()
	if a.roots == nil {
		t.Error("the key was wiped while the cache holds it")
	}
	now = now.Add(59 * time.Second)
	open(2).Release()
	c.Expire()
	if c.Len() != 2 {
		t.Errorf("before the ttl the cache has %d keys, want 2", c.Len())
	}
	now = now.Add(time.Second)
	c.Expire()
	if c.Len() != 1 || a.roots != nil {
		t.Errorf("after the ttl the cache has %d keys, want 1 and the older one wiped", c.Len())
	}

	held := open(3)
	open(4).Release()
	open(5).Release() // pushes 3 out
	if c.Len() != 2 || held.roots == nil {
		t.Error("a key in use was wiped when it fell out of the cache")
	}
	held.Release()
	if held.roots != nil {
		t.Error("a key that nobody holds was not wiped")
	}
	last := open(5)
	c.Purge()
	if c.Len() != 0 || last.roots == nil {
		t.Error("Purge leaves keys, or wipes one that is held")
	}
	last.Release()
	if last.roots != nil {
		t.Error("a purged key was not wiped")
	}
	if _, err := c.Open([]byte(token)); !errors.Is(err, ErrToken) {
		t.Errorf("token: error %v, want ErrToken", err)
	}
	if _, err := NewCache("main", 0, time.Minute, time.Now); err == nil {
		t.Error("a cache of size 0 was made")
	}
}

// TestCacheAndKeyringsTogether is for the race detector: sessions push and drop
// the same few keys through a cache too small for them.
func TestCacheForgetsLockedKeys(t *testing.T) {
	c, err := NewCache("main", 2, time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	open := func(b byte) *UserKey {
		k, err := c.Open(accountKey(t, b).Text())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, b := open(1), open(2)
	stranger, err := accountKey(t, 1).UserKey("main")
	if err != nil {
		t.Fatal(err)
	}
	c.Forget(stranger)
	c.Forget(a)
	c.Forget(a)
	if c.Len() != 1 {
		t.Errorf("the cache has %d keys, want 1", c.Len())
	}
	if a.roots == nil {
		t.Fatal("a key was wiped under its holder")
	}
	a.Release()
	if a.roots != nil {
		t.Error("the last holder let go and the key is there")
	}
	c.Purge()
	b.Release()
	if b.roots != nil {
		t.Error("the cache was purged, the last holder let go and the key is there")
	}
	stranger.Release()
}

func TestCacheAndKeyringsTogether(t *testing.T) {
	c, err := NewCache("main", 2, time.Nanosecond, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var texts [4][]byte
	for i := range texts {
		texts[i] = accountKey(t, byte(i)).Text()
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var r Keyring
			defer r.Empty()
			for i := range 200 {
				k, err := c.Open(texts[(g+i)%len(texts)])
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					r.Replace(k)
				} else if err := r.Add(k); err != nil {
					t.Error(err)
				}
				k, _ = r.Sealing()
				if _, err := k.ColumnKey("a.b", 0); err != nil {
					t.Errorf("a key on the keyring: %v", err)
				}
				if i%10 == 0 {
					c.Expire()
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkColumnKeyKept(b *testing.B) {
	k := userKey(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.ColumnKey("entries.title", 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkColumnKeyDerived(b *testing.B) {
	k := userKey(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		k.columns.Purge()
		if _, err := k.ColumnKey("entries.title", 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPushCached(b *testing.B) {
	c, err := NewCache("main", 10, time.Hour, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	text := accountKey(b, 1).Text()
	b.ReportAllocs()
	for b.Loop() {
		k, err := c.Open(text)
		if err != nil {
			b.Fatal(err)
		}
		k.Release()
	}
}

func BenchmarkPushFresh(b *testing.B) {
	text := accountKey(b, 1).Text()
	b.ReportAllocs()
	for b.Loop() {
		a, err := ParseAccountKey(text)
		if err != nil {
			b.Fatal(err)
		}
		k, err := a.UserKey("main")
		if err != nil {
			b.Fatal(err)
		}
		k.Release()
	}
}
