package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// memStore is a Store in memory that a test can read, write and make fail.
type memStore struct {
	mu       sync.Mutex
	owners   map[string]memOwner
	slots    map[SlotID]memSlot
	attempts map[[sha256.Size]byte]AttemptCount
	changes  int
	reads    int
	fail     error
	// conflict, when set, runs once in the middle of the next Change, before it compares generations.
	conflict func()
}

type memOwner struct {
	generation  uint64
	record, mac []byte
	destroy     time.Time
}

type memSlot struct {
	owner string
	body  []byte
}

func newMemStore() *memStore {
	return &memStore{owners: map[string]memOwner{}, slots: map[SlotID]memSlot{}, attempts: map[[sha256.Size]byte]AttemptCount{}}
}

func (m *memStore) stored(owner string, only *SlotID) *StoredOwner {
	o, ok := m.owners[owner]
	if !ok {
		return nil
	}
	s := &StoredOwner{Owner: owner, Record: bytes.Clone(o.record), MAC: bytes.Clone(o.mac)}
	for id, slot := range m.slots {
		if slot.owner == owner && (only == nil || *only == id) {
			s.Slots = append(s.Slots, StoredSlot{ID: id, Body: bytes.Clone(slot.body)})
		}
	}
	return s
}

func (m *memStore) Load(_ context.Context, owner string) (*StoredOwner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return m.stored(owner, nil), m.fail
}

func (m *memStore) LoadSlot(_ context.Context, id SlotID) (*StoredOwner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	s, ok := m.slots[id]
	if !ok || m.fail != nil {
		return nil, m.fail
	}
	return m.stored(s.owner, &id), nil
}

func (m *memStore) Change(_ context.Context, c *Change) error {
	m.mu.Lock()
	f := m.conflict
	m.conflict = nil
	m.mu.Unlock()
	if f != nil {
		f()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.owners[c.Owner].generation != c.From {
		return ErrConflict
	}
	m.changes++
	m.owners[c.Owner] = memOwner{c.To, c.Record, c.MAC, c.DestroyAfter}
	if c.DropAll {
		maps.DeleteFunc(m.slots, func(_ SlotID, s memSlot) bool { return s.owner == c.Owner })
	}
	for _, id := range c.Drop {
		delete(m.slots, id)
	}
	for _, s := range c.Put {
		m.slots[s.ID] = memSlot{c.Owner, s.Body}
	}
	return nil
}

func (m *memStore) Due(_ context.Context, now time.Time, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []string
	for owner, o := range m.owners {
		if !o.destroy.IsZero() && !o.destroy.After(now) && len(due) < limit {
			due = append(due, owner)
		}
	}
	slices.Sort(due)
	return due, nil
}

func (m *memStore) Attempts(_ context.Context, ids [][sha256.Size]byte, update func([]AttemptCount)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	counts := make([]AttemptCount, len(ids))
	for i, id := range ids {
		counts[i] = m.attempts[id]
	}
	update(counts)
	for i, id := range ids {
		m.attempts[id] = counts[i]
	}
	return nil
}

func (m *memStore) DropAttempts(context.Context, time.Time) error { return nil }

// clone copies what is stored, as a backup does.
func (m *memStore) clone() *memStore {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemStore()
	maps.Copy(c.owners, m.owners)
	maps.Copy(c.slots, m.slots)
	return c
}

// restore puts back what clone gave.
func (m *memStore) restore(c *memStore) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owners, m.slots = maps.Clone(c.owners), maps.Clone(c.slots)
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_790_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testFleet is a fleet secret of 32 bytes of value b.
func testFleet(t testing.TB, b byte) *FleetSecret {
	t.Helper()
	f, err := NewFleetSecret(bytes.NewReader(bytes.Repeat([]byte{b}, secretSize)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// testVault makes a vault over store with cheap passwords.
func testVault(t testing.TB, store Store, c *clock, change func(*VaultConfig)) *Vault {
	t.Helper()
	config := VaultConfig{
		Realm: "main", Fleet: testFleet(t, 7), Store: store, Rand: rand.Reader, Now: c.Now, TokenTTL: time.Hour,
		ForgetGrace: 24 * time.Hour, CacheSize: 100, CacheTTL: time.Minute, Cost: MinPasswordCost,
	}
	if change != nil {
		change(&config)
	}
	v, err := NewVault(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func mustOpen(t testing.TB) func(o *Opened, err error) *Opened {
	return func(o *Opened, err error) *Opened {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(o.Key.Release)
		return o
	}
}
