package keystore

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"latchkey/keystore/cell"
)

// Cache keeps the user keys of account keys that were pushed lately, so that an
// application that pushes the same key at every checkout of a connection does
// not pay for its derivations again. It is safe for concurrent use.
type Cache struct {
	cell.Opaque
	realm string
	ttl   time.Duration
	now   func() time.Time
	salt  [sha256.Size]byte // makes the keys of the map useless elsewhere

	mu   sync.Mutex
	keys *simplelru.LRU[[sha256.Size]byte, cached]
}

type cached struct {
	key  *UserKey
	used time.Time
}

// NewCache makes a cache of at most size user keys (at least 1) under realm. A
// key not used for ttl is dropped by Expire. now is the clock, time.Now outside
// tests.
func NewCache(realm string, size int, ttl time.Duration, now func() time.Time) (*Cache, error) {
	if err := checkNames(realm); err != nil {
		return nil, err
	}
	c := &Cache{realm: realm, ttl: ttl, now: now}
	rand.Read(c.salt[:])
	var err error
	c.keys, err = simplelru.NewLRU(size, func(_ [sha256.Size]byte, e cached) { e.key.Release() })
	return c, err
}

// Open returns the user key of an account key given as text. Errors are those of
// ParseAccountKey. The caller releases the key and keeps text.
func (c *Cache) Open(text []byte) (*UserKey, error) {
	k, err := ParseAccountKey(text)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	return c.OpenKey(k)
}

// OpenKey returns the user key of an account key. The caller releases it.
func (c *Cache) OpenKey(k *AccountKey) (*UserKey, error) {
	digest := c.digest(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if e, ok := c.keys.Get(digest); ok && e.key.Retain() {
		c.keys.Add(digest, cached{e.key, now})
		return e.key, nil
	}
	u, err := k.UserKey(c.realm)
	if err != nil {
		return nil, err
	}
	u.cached = digest
	u.Retain()
	c.keys.Add(digest, cached{u, now})
	return u, nil
}

// Forget drops a key that its user has locked, if it is in the cache. Keyrings that hold it keep it.
func (c *Cache) Forget(k *UserKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.keys.Peek(k.cached); ok && e.key == k {
		c.keys.Remove(k.cached)
	}
}

func (c *Cache) digest(k *AccountKey) (d [sha256.Size]byte) {
	protect(func() { authenticate(&d, c.salt[:], k.secret[:]) })
	return d
}

// Expire drops the keys that were not used for the cache's ttl. Somebody calls
// it now and then; nothing else bounds how long an unused key stays in memory.
func (c *Cache) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := c.now().Add(-c.ttl)
	for {
		digest, e, ok := c.keys.GetOldest()
		if !ok || e.used.After(oldest) {
			return
		}
		c.keys.Remove(digest)
	}
}

// Purge drops all keys. Keyrings that hold one keep it.
func (c *Cache) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys.Purge()
}

// Len returns the number of keys in the cache.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.Len()
}
