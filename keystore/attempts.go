package keystore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// attemptRule says how failures of one kind of subject are counted.
type attemptRule struct {
	free  uint32        // failures that cost no delay
	decay time.Duration // in which one failure is forgotten
}

var (
	// An owner: a person mistypes a few times.
	ownerAttempts = attemptRule{free: 5, decay: 10 * time.Minute}
	// A client address: it may be that of an application server, with all of its users behind it.
	addressAttempts = attemptRule{free: 100, decay: 10 * time.Second}
)

const (
	firstDelay = time.Second
	maxDelay   = 15 * time.Minute
	// attemptsKept bounds the counters that a proxy keeps of its own, beside those of the keystore.
	attemptsKept = 100_000
	// attemptsForgotten is how long a counter without a change is kept in the keystore.
	attemptsForgotten = 48 * time.Hour
)

// TooManyError says that an attempt was not made because too many failed.
type TooManyError struct{ Wait time.Duration }

// Error implements error.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("keystore: too many attempts; try again in %d seconds", int64(e.Wait/time.Second)+1)
}

// delay is how long the next attempt has to wait after so many failures.
func (r attemptRule) delay(failures uint32) time.Duration {
	if failures <= r.free {
		return 0
	}
	n := min(failures-r.free-1, 10)
	return min(firstDelay<<n, maxDelay)
}

// decayed returns the count without what was forgotten meanwhile.
func (r attemptRule) decayed(c AttemptCount, now int64) AttemptCount {
	if c.Changed > now { // another proxy's clock is ahead, or somebody wrote the row
		c.Changed = now
	}
	c.Until = min(c.Until, now+maxDelay.Milliseconds())
	forgotten := (now - c.Changed) / r.decay.Milliseconds()
	if forgotten >= int64(c.Failures) {
		return AttemptCount{Changed: now, Until: c.Until}
	}
	c.Failures -= uint32(forgotten)
	c.Changed += forgotten * r.decay.Milliseconds()
	return c
}

// attempts counts failures by owner and by client address, in the keystore, where all proxies see them, and in memory, where
// nobody can reset them.
type attempts struct {
	store Store
	now   func() time.Time

	mu   sync.Mutex
	seen *simplelru.LRU[[sha256.Size]byte, AttemptCount]
}

func newAttempts(store Store, now func() time.Time) *attempts {
	seen, err := simplelru.NewLRU[[sha256.Size]byte, AttemptCount](attemptsKept, nil)
	if err != nil {
		panic("keystore: internal error: " + err.Error())
	}
	return &attempts{store: store, now: now, seen: seen}
}

// attempt is one try at opening something.
type attempt struct {
	of    *attempts
	ids   [][sha256.Size]byte
	rules []attemptRule
}

// begin counts the attempt as failed before it is made, so that attempts side by side do not all see the same counter. The
// error is a *TooManyError or that of the store.
func (a *attempts) begin(ctx context.Context, ids [][sha256.Size]byte, rules []attemptRule) (*attempt, error) {
	var wait time.Duration
	err := a.store.Attempts(ctx, ids, func(counts []AttemptCount) {
		wait = 0
		now := a.now().UnixMilli()
		a.mu.Lock()
		defer a.mu.Unlock()
		for i := range counts {
			counts[i] = a.merged(ids[i], rules[i].decayed(counts[i], now), rules[i], now)
			wait = max(wait, time.Duration(counts[i].Until-now)*time.Millisecond)
			a.seen.Add(ids[i], counts[i])
		}
		if wait > 0 {
			return
		}
		for i := range counts {
			counts[i].Failures++
			counts[i].Until = now + rules[i].delay(counts[i].Failures).Milliseconds()
			a.seen.Add(ids[i], counts[i])
		}
	})
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, &TooManyError{Wait: wait}
	}
	return &attempt{of: a, ids: ids, rules: rules}, nil
}

// merged is the stricter of a count of the keystore and the one in memory.
func (a *attempts) merged(id [sha256.Size]byte, c AttemptCount, rule attemptRule, now int64) AttemptCount {
	own, ok := a.seen.Get(id)
	if !ok {
		return c
	}
	own = rule.decayed(own, now)
	if own.Failures > c.Failures {
		c.Failures, c.Changed = own.Failures, own.Changed
	}
	c.Until = max(c.Until, own.Until)
	return c
}

// succeeded forgets the failures of the owner and this attempt of the address.
func (t *attempt) succeeded(ctx context.Context) error {
	a := t.of
	return a.store.Attempts(ctx, t.ids, func(counts []AttemptCount) {
		now := a.now().UnixMilli()
		a.mu.Lock()
		defer a.mu.Unlock()
		for i := range counts {
			c := t.rules[i].decayed(counts[i], now)
			if i == 0 {
				c = AttemptCount{Changed: now}
			} else {
				c.Failures -= min(c.Failures, 1)
				c.Until = now + t.rules[i].delay(c.Failures).Milliseconds()
				if c.Failures <= t.rules[i].free {
					c.Until = 0
				}
			}
			counts[i] = c
			a.seen.Add(t.ids[i], c)
		}
	})
}
