package keystore

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"latchkey/keystore/cell"
)

// maxKeyring bounds a keyring: an equality search turns into one range for
// every key on it.
const maxKeyring = 64

// ErrKeyringFull is returned by Keyring.Add when 64 keys are on the keyring.
var ErrKeyringFull = errors.New("keystore: no more than 64 keys fit on the keyring of one connection")

// Keyring is the unlocked keys of one session, in the order in which they were
// added; the first one seals. The zero value is empty. A Keyring must not be
// copied. It is safe for concurrent use, and readers see one list from start to
// end: changes put a new list in its place.
type Keyring struct {
	cell.Opaque
	mu   sync.Mutex // held by writers
	keys atomic.Pointer[[]*UserKey]
}

// Keys returns the keys in order. The slice must not be modified; its keys
// belong to the keyring and may be wiped by a later change, after which they
// answer ErrKeyGone.
func (r *Keyring) Keys() []*UserKey {
	if list := r.keys.Load(); list != nil {
		return *list
	}
	return nil
}

// Len returns the number of keys.
func (r *Keyring) Len() int { return len(r.Keys()) }

// Sealing returns the key that seals, or false when the keyring is empty.
func (r *Keyring) Sealing() (*UserKey, bool) {
	keys := r.Keys()
	if len(keys) == 0 {
		return nil, false
	}
	return keys[0], true
}

// Lookup returns the key with the given key id, or false when it is not here. A key that a rotation replaced is found with
// the key that replaced it.
func (r *Keyring) Lookup(id cell.KeyID) (*UserKey, bool) {
	for _, k := range r.Keys() {
		if found := k.withID(id); found != nil {
			return found, true
		}
	}
	return nil, false
}

// Replace makes k the only key. The keyring takes over the caller's hold on k
// and releases the keys it had.
func (r *Keyring) Replace(k *UserKey) { r.put([]*UserKey{k}) }

// Empty releases all keys.
func (r *Keyring) Empty() { r.put(nil) }

func (r *Keyring) put(keys []*UserKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.Keys()
	r.keys.Store(&keys)
	for _, k := range before {
		k.Release()
	}
}

// Add appends k and takes over the caller's hold on it, whatever it returns. A
// key that is already here changes nothing. The error is ErrKeyringFull.
func (r *Keyring) Add(k *UserKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.Keys()
	if slices.ContainsFunc(before, func(b *UserKey) bool { return b.id == k.id }) {
		k.Release()
		return nil
	}
	if len(before) >= maxKeyring {
		k.Release()
		return ErrKeyringFull
	}
	keys := append(before[:len(before):len(before)], k)
	r.keys.Store(&keys)
	return nil
}

// Exchange puts k in the place of old, taking over the caller's hold on k, or takes old off the keyring when k is nil. The
// keyring releases old. It returns false, and releases k, when old is not on the keyring.
func (r *Keyring) Exchange(old, k *UserKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.Keys()
	i := slices.Index(before, old)
	if i < 0 {
		if k != nil {
			k.Release()
		}
		return false
	}
	keys := slices.Clone(before)
	if k == nil {
		keys = slices.Delete(keys, i, i+1)
	} else {
		keys[i] = k
	}
	r.keys.Store(&keys)
	old.Release()
	return true
}
