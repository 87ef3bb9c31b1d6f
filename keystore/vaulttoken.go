package keystore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"
)

// digest is the place of a token in the cache.
func (v *Vault) digest(t *slotToken) (d [sha256.Size]byte) {
	protect(func() { authenticate(&d, v.salt[:], t.id[:], t.secret[:]) })
	return d
}

// remember puts a key that a token opened into the cache.
func (v *Vault) remember(id SlotID, digest [sha256.Size]byte, key *UserKey) {
	if !key.Retain() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens.Remove(id) // Add would replace it without releasing it
	v.tokens.Add(id, &cachedToken{digest: digest, key: key, used: v.config.Now()})
}

// OpenToken opens a user key with a token as text. The caller releases the key, and keeps text. The errors are a
// *KeyTextError, ErrTokenGone, ErrTampered, ErrRollback and the store's. It reads one row of the store, and none when
// the token was used within the cache's ttl.
func (v *Vault) OpenToken(ctx context.Context, text []byte) (*UserKey, error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	defer clear(t.secret[:])
	digest := v.digest(t)
	if key := v.cached(t.id, digest); key != nil {
		return key, nil
	}
	w, s, err := v.loadSlot(ctx, t.id)
	if err != nil {
		return nil, err
	}
	owner := w.record.owner
	secret := v.config.Fleet.peppered(t.secret[:], labelTokenSlot, v.config.Realm, owner, t.id)
	keys, key, err := v.unwrap(w, s, secret)
	if err != nil {
		clear(secret[:])
		if errors.Is(err, ErrUnlock) {
			err = ErrTokenGone
		}
		return nil, err
	}
	defer keys.wipe()
	newOrigin(owner, t.id, secret).attach(key, s.notAfter, v.config.Now())
	v.slide(ctx, key.origin, s, keys)
	v.remember(t.id, digest, key)
	return key, nil
}

// cached returns the key of a token that was looked up lately, held for the caller, or nil.
func (v *Vault) cached(id SlotID, digest [sha256.Size]byte) *UserKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.tokens.Get(id)
	now := v.config.Now()
	if !ok || !hmac.Equal(c.digest[:], digest[:]) || !c.key.origin.fresh(c.key, now, v.config.CacheTTL) || !c.key.Retain() {
		return nil
	}
	c.used = now
	return c.key
}

// loadSlot reads a token's slot and the record that knows it. Whatever is wrong with the token is ErrTokenGone.
func (v *Vault) loadSlot(ctx context.Context, id SlotID) (*view, *keySlot, error) {
	stored, err := v.config.Store.LoadSlot(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if stored == nil {
		return nil, nil, ErrTokenGone
	}
	w, err := v.verify(stored)
	if errors.Is(err, ErrLost) {
		return nil, nil, ErrTokenGone // no token outlives the fleet secret
	}
	if err != nil {
		return nil, nil, err
	}
	s := w.slots[id]
	if !w.active() || s == nil || s.kind != SlotToken || s.expired(v.config.Now().Unix()) {
		return nil, nil, ErrTokenGone
	}
	return w, s, nil
}

// slide extends a token of which half has passed. A failure changes nothing: the token is good until it expires.
func (v *Vault) slide(ctx context.Context, o *origin, s *keySlot, keys *userKeys) {
	now := v.config.Now()
	left := time.Duration(s.notAfter-now.Unix()) * time.Second
	if !v.config.Sliding || left > v.config.TokenTTL/2 {
		return
	}
	notAfter := now.Add(v.config.TokenTTL).Unix()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.secret == nil {
		return
	}
	err := v.change(ctx, o.owner, func(w *view) (*edit, error) {
		s := w.slots[o.slot]
		if !w.active() || s == nil || s.expired(now.Unix()) {
			return nil, ErrTokenGone
		}
		current, key, err := v.unwrap(w, s, o.secret)
		if err != nil {
			return nil, err
		}
		defer current.wipe()
		key.Release()
		s.notAfter = notAfter
		return &edit{put: []*keySlot{s}}, s.fill(v.config.Realm, o.owner, o.secret, current, v.config.Rand)
	})
	if err == nil {
		o.expires.Store(notAfter)
	}
}

// Revalidate looks up again the keys of a keyring that were last looked up longer ago than the cache's ttl. A key whose slot
// is gone is taken off the keyring, and gone is true; one that was rotated is replaced. The error is that of a store that
// cannot be reached or cannot be believed: then the keys must not be used.
func (v *Vault) Revalidate(ctx context.Context, ring *Keyring) (gone bool, err error) {
	for _, k := range ring.Keys() {
		if k.origin == nil || k.origin.fresh(k, v.config.Now(), v.config.CacheTTL) {
			continue
		}
		current, err := v.Current(ctx, k)
		switch {
		case errors.Is(err, ErrTokenGone):
			gone = true
			ring.Exchange(k, nil)
		case errors.Is(err, ErrTampered), errors.Is(err, ErrRollback):
			ring.Exchange(k, nil)
			return true, err
		case err != nil:
			return gone, err
		case current == k:
			k.Release() // the hold of Current; the keyring has its own
		default:
			ring.Exchange(k, current)
		}
	}
	return gone, nil
}

// Current asks the store for the key that the slot of k holds now: k, or another one after a rotation. The caller, who holds
// k, releases it. The errors are those of OpenToken.
func (v *Vault) Current(ctx context.Context, k *UserKey) (*UserKey, error) {
	o := k.origin
	if o == nil {
		return nil, ErrNotFromSlot
	}
	o.mu.Lock()
	w, s, err := v.loadSlot(ctx, o.slot)
	if err == nil && o.gone.Load() {
		err = ErrTokenGone
	}
	if err != nil {
		o.mu.Unlock()
		if errors.Is(err, ErrTokenGone) {
			o.gone.Store(true)
			v.drop(o.slot)
		}
		return nil, err
	}
	defer o.mu.Unlock()
	o.expires.Store(s.notAfter)
	current := o.current.Load()
	if w.record.keyIDs[0] == current.id && current.Retain() {
		o.checked.Store(v.config.Now().UnixMilli())
		return current, nil
	}
	keys, key, err := v.unwrap(w, s, o.secret)
	if err != nil {
		if errors.Is(err, ErrUnlock) {
			err = ErrTokenGone
		}
		return nil, err
	}
	keys.wipe()
	v.exchange(o, key, s.notAfter)
	return key, nil
}

// exchange makes key the one that a slot holds, in the cache too.
func (v *Vault) exchange(o *origin, key *UserKey, notAfter int64) {
	o.attach(key, notAfter, v.config.Now())
	v.mu.Lock()
	c, ok := v.tokens.Peek(o.slot)
	v.mu.Unlock()
	if ok {
		v.remember(o.slot, c.digest, key)
	}
}

// drop takes a token out of the cache.
func (v *Vault) drop(id SlotID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens.Remove(id)
}

// revoke ends the tokens of an owner that are in the cache, but for the one that opened kept, which may be nil.
func (v *Vault) revoke(owner string, kept *UserKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range v.tokens.Keys() {
		c, ok := v.tokens.Peek(id)
		if !ok || c.key.origin.owner != owner || kept != nil && c.key.origin == kept.origin {
			continue
		}
		c.key.origin.gone.Store(true)
		v.tokens.Remove(id)
	}
}

// Expire drops cached keys that were not used for the cache's ttl. Somebody calls it now and then.
func (v *Vault) Expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	oldest := v.config.Now().Add(-v.config.CacheTTL)
	for {
		id, c, ok := v.tokens.GetOldest()
		if !ok || c.used.After(oldest) {
			return
		}
		v.tokens.Remove(id)
	}
}

// Close drops all cached keys. Keyrings that hold one keep it.
func (v *Vault) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens.Purge()
}

// Lock revokes the token that opened k. A key that came from no slot changes nothing.
func (v *Vault) Lock(ctx context.Context, k *UserKey) error {
	o := k.origin
	if o == nil {
		return nil
	}
	err := v.change(ctx, o.owner, func(w *view) (*edit, error) {
		if w.record.find(o.slot) == nil {
			return nil, ErrNoSlot
		}
		return &edit{drop: []SlotID{o.slot}}, nil
	})
	if err == nil || errors.Is(err, ErrNoSlot) {
		o.gone.Store(true)
		v.drop(o.slot)
		return nil
	}
	return err
}
