package rewrite

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	cacheShards = 16
	// maxCachedShape: longer shapes are one-off bulk statements; keeping them would push useful plans out.
	maxCachedShape = 64 << 10
	// planOverhead is a rough figure for the memory of an entry besides its key.
	planOverhead = 1024
	// cacheEntries bounds the number of entries of a shard; bytes are bounded besides.
	cacheEntries = 1 << 16
)

// planEntry is a cached answer: a plan or a refusal.
type planEntry struct {
	plan    *Plan
	refusal *Refusal
	bytes   int
}

func (e *planEntry) result() (*Plan, error) {
	if e.refusal != nil {
		return nil, e.refusal
	}
	return e.plan, nil
}

// planCache is an LRU of answers by the whole shape, bounded in bytes. The hash only chooses a shard: keys are compared in
// full, since a collision would send plaintext to the backend.
type planCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
	limit  int
	stats  *CacheStats
}

// CacheStats counts look-ups in plan caches. It outlives the Planner of one snapshot.
type CacheStats struct {
	// Hits were answered from the cache; Misses had to be planned.
	Hits, Misses atomic.Uint64
}

type cacheShard struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[string, *planEntry]
	bytes int
}

func newPlanCache(limit int) *planCache {
	c := &planCache{seed: maphash.MakeSeed(), limit: limit / cacheShards, stats: &CacheStats{}}
	for i := range c.shards {
		s := &c.shards[i]
		// The size is positive, which is all that NewLRU can object to.
		s.lru, _ = simplelru.NewLRU(cacheEntries, func(_ string, e *planEntry) { s.bytes -= e.bytes })
	}
	return c
}

func (c *planCache) shard(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
}

// get looks a key up without copying it: the string made of the key's bytes does not outlive the call.
func (c *planCache) get(key []byte) (*planEntry, bool) {
	s := c.shard(key)
	s.mu.Lock()
	e, ok := s.lru.Get(unsafe.String(unsafe.SliceData(key), len(key)))
	s.mu.Unlock()
	if ok {
		c.stats.Hits.Add(1)
	} else {
		c.stats.Misses.Add(1)
	}
	return e, ok
}

func (c *planCache) add(key []byte, e *planEntry) {
	if len(key) > maxCachedShape {
		return
	}
	e.bytes = len(key) + planOverhead
	if e.plan != nil {
		e.bytes += len(e.plan.Edits)*256 + len(e.plan.Outputs)*64
		if e.plan.Shown != nil {
			e.bytes += len(e.plan.Shown.Rows) * 512
		}
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lru.Contains(string(key)) {
		return
	}
	s.lru.Add(string(key), e)
	s.bytes += e.bytes
	for s.bytes > c.limit && s.lru.Len() > 1 {
		s.lru.RemoveOldest()
	}
}
