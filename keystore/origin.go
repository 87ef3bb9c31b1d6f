package keystore

import (
	"sync"
	"sync/atomic"
	"time"
)

// origin is the key slot that a user key was unwrapped from, with what it takes to ask again. It is shared by all keys
// that came from the slot, and wiped with the last of them.
type origin struct {
	owner string
	slot  SlotID

	refs    atomic.Int32
	gone    atomic.Bool
	checked atomic.Int64 // when the slot was last read, in milliseconds since 1970
	expires atomic.Int64 // in seconds since 1970; 0 is never
	current atomic.Pointer[UserKey]

	mu     sync.Mutex
	secret *slotSecret // nil once wiped
}

func newOrigin(owner string, slot SlotID, secret *slotSecret) *origin {
	return &origin{owner: owner, slot: slot, secret: secret}
}

// attach makes k the key that the slot holds.
func (o *origin) attach(k *UserKey, notAfter int64, now time.Time) {
	k.origin = o
	o.refs.Add(1)
	o.expires.Store(notAfter)
	o.checked.Store(now.UnixMilli())
	o.current.Store(k)
}

// release is called with the last hold on a key of the origin.
func (o *origin) release() {
	if o == nil || o.refs.Add(-1) > 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.secret != nil {
		clear(o.secret[:])
		o.secret = nil
	}
}

// fresh tells whether k may be used at now without asking the keystore again.
func (o *origin) fresh(k *UserKey, now time.Time, ttl time.Duration) bool {
	expires := o.expires.Load()
	age := now.UnixMilli() - o.checked.Load()
	return !o.gone.Load() && age >= 0 && age < ttl.Milliseconds() && (expires == 0 || now.Unix() < expires) && o.current.Load() == k
}

// Owner returns the owner of a key that came from a key slot, and when the slot expires; false for other keys. The zero
// time is never.
func (k *UserKey) Owner() (owner string, expires time.Time, ok bool) {
	if k.origin == nil {
		return "", time.Time{}, false
	}
	if e := k.origin.expires.Load(); e != 0 {
		expires = time.Unix(e, 0)
	}
	return k.origin.owner, expires, true
}
