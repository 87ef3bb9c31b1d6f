package keystore

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"
)

// Slot is what is shown of a key slot.
type Slot struct {
	ID      SlotID
	Kind    SlotKind
	Label   string
	Created time.Time
	Expires time.Time // zero is never
}

// Slots returns the key slots of an owner that open a key, in the order in which they were made.
func (v *Vault) Slots(ctx context.Context, owner string) ([]Slot, error) {
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	w, err := v.load(ctx, owner)
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, ErrNoOwner
	case w.record.state == ownerForgotten || w.record.state == ownerDestroyed:
		return nil, ErrForgotten
	}
	now := v.config.Now().Unix()
	var all []Slot
	for i := range w.record.slots {
		s := w.slots[w.record.slots[i].id]
		if s == nil || s.expired(now) {
			continue
		}
		shown := Slot{ID: s.id, Kind: s.kind, Label: s.label, Created: time.Unix(s.created, 0)}
		if s.notAfter != 0 {
			shown.Expires = time.Unix(s.notAfter, 0)
		}
		all = append(all, shown)
	}
	return all, nil
}

// AddSlot adds a key slot for the user key k, which came from a slot of owner: kind recovery replaces the recovery code and
// returns a fresh one; secret takes 32 bytes, as such or as hexadecimal digits; service is the operator's escrow.
func (v *Vault) AddSlot(ctx context.Context, owner string, k *UserKey, kind SlotKind, secret []byte) (id SlotID, code []byte, err error) {
	if k == nil || k.origin == nil || k.origin.owner != owner {
		return id, nil, ErrNotFromSlot
	}
	keys, err := k.keys()
	if err != nil {
		return id, nil, err
	}
	defer keys.wipe()
	var s *keySlot
	switch kind {
	case SlotRecovery:
		s, code, err = v.recoverySlot(owner, keys)
	case SlotSecret:
		s, err = v.secretSlot(owner, keys, secret)
	case SlotService:
		if v.config.Escrow == nil {
			return id, nil, ErrNoEscrow
		}
		s, err = v.serviceSlot(owner, keys)
	default:
		return id, nil, ErrBadKind
	}
	if err != nil {
		return id, nil, err
	}
	err = v.change(ctx, owner, func(w *view) (*edit, error) {
		if !w.active() || w.record.find(k.origin.slot) == nil {
			return nil, ErrTokenGone
		}
		if !w.record.holds(k) {
			return nil, ErrConflict // rotated elsewhere: the slot would hold the old key
		}
		e := &edit{put: []*keySlot{s}}
		for i := range w.record.slots {
			if old := &w.record.slots[i]; old.kind == kind && kind != SlotSecret {
				e.drop = append(e.drop, old.id)
			}
		}
		return e, nil
	})
	if err != nil {
		clear(code)
		return id, nil, err
	}
	return s.id, code, nil
}

func (v *Vault) secretSlot(owner string, keys *userKeys, secret []byte) (*keySlot, error) {
	raw, err := parseSecret(secret)
	if err != nil {
		return nil, err
	}
	defer clear(raw[:])
	s, err := v.newSlot(SlotSecret)
	if err != nil {
		return nil, err
	}
	k := unpeppered(raw[:], labelSecretSlot, v.config.Realm, owner, s.id)
	defer clear(k[:])
	return s, s.fill(v.config.Realm, owner, k, keys, v.config.Rand)
}

// DropSlot takes a key slot away; a token is revoked by it. The last one that opens the key stays: ErrLastSlot.
func (v *Vault) DropSlot(ctx context.Context, owner string, id SlotID) error {
	if err := checkOwner(owner); err != nil {
		return err
	}
	err := v.change(ctx, owner, func(w *view) (*edit, error) {
		s := w.record.find(id)
		if s == nil || !w.active() {
			return nil, ErrNoSlot
		}
		switch s.kind {
		case SlotPassword, SlotRecovery, SlotSecret:
			if w.record.openers() == 1 {
				return nil, ErrLastSlot
			}
		}
		return &edit{drop: []SlotID{id}}, nil
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if c, ok := v.tokens.Peek(id); ok {
		c.key.origin.gone.Store(true)
		v.tokens.Remove(id)
	}
	return nil
}

// Rotate gives the owner of k a new cell root; the search root stays, and with it all tags. Old cell roots stay for reading.
// Every slot is wrapped anew, in one change. The caller releases the key that is returned.
func (v *Vault) Rotate(ctx context.Context, k *UserKey) (*UserKey, error) {
	o := k.origin
	if o == nil {
		return nil, ErrNotFromSlot
	}
	old, err := k.keys()
	if err != nil {
		return nil, err
	}
	defer old.wipe()
	keys, err := old.rotated(v.config.Rand)
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	key, err := keys.userKey(v.config.Realm)
	if err != nil {
		return nil, err
	}
	var notAfter int64
	err = v.change(ctx, o.owner, func(w *view) (*edit, error) {
		if !w.active() || w.slots[o.slot] == nil {
			return nil, ErrTokenGone
		}
		if !w.record.holds(k) {
			return nil, ErrConflict
		}
		notAfter = w.slots[o.slot].notAfter
		e := &edit{}
		for i := range w.record.slots {
			s := w.slots[w.record.slots[i].id]
			if s == nil {
				// Somebody deleted or changed the row: it would be lost, and the owner should know before the old key is gone.
				return nil, ErrTampered
			}
			if err := s.rewrap(v.config.Realm, o.owner, old, keys, v.config.Rand); err != nil {
				return nil, err
			}
			e.put = append(e.put, s)
		}
		return e, w.record.describe(key)
	})
	if err != nil {
		key.Release()
		return nil, err
	}
	v.stale(o.owner)
	v.exchange(o, key, notAfter)
	return key, nil
}

// stale has the keys of an owner in the cache looked up again at their next use.
func (v *Vault) stale(owner string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range v.tokens.Keys() {
		if c, ok := v.tokens.Peek(id); ok && c.key.origin.owner == owner {
			c.key.origin.checked.Store(0)
		}
	}
}

// Register records the public half of k, an account key that its owner keeps, so that it is known whose it is. Doing it again
// changes nothing.
func (v *Vault) Register(ctx context.Context, owner string, k *UserKey) error {
	if err := checkOwner(owner); err != nil {
		return err
	}
	if k.origin != nil {
		return ErrEnrolled
	}
	for range changeAttempts {
		w, err := v.loadAs(ctx, owner, true)
		if err != nil {
			return err
		}
		e := &edit{}
		switch {
		case w != nil && w.record.state == ownerRegistered && w.record.holds(k):
			if !w.lost {
				return nil
			}
			e.dropAll = true // who has the key says the same again under this fleet secret
		case notEnrolled(w) != nil:
			return notEnrolled(w)
		default:
			w = &view{record: &ownerRecord{realm: v.config.Realm, owner: owner, state: ownerRegistered}}
			if err := w.record.describe(k); err != nil {
				return err
			}
		}
		if err := v.commit(ctx, w, e); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// Receipt says what Forget did.
type Receipt struct {
	Owner string
	// Slots is how many key slots are destroyed, or will be.
	Slots int
	// DestroyAt is when they are; not after now when they were at once.
	DestroyAt time.Time
}

// Forget puts a tombstone in the place of an owner: no proxy opens the key again. The key slots are destroyed after the
// configured time, by Destroy; until then Restore undoes it. After an error or a crash the owner is as before or forgotten;
// Destroy then does what is left to do. The key slots of an owner whose record was made under a lost fleet secret are
// destroyed at once: nobody could say later that they are the owner's.
func (v *Vault) Forget(ctx context.Context, owner string) (*Receipt, error) {
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	if err := v.shred.writable(); err != nil {
		return nil, err
	}
	receipt := &Receipt{Owner: owner}
	var r *ownerRecord
	err := v.changeAs(ctx, owner, true, func(w *view) (*edit, error) {
		r = w.record
		if r.state == ownerDestroyed || w.doomed() {
			return nil, ErrForgotten
		}
		if w.lost {
			now := v.config.Now()
			receipt.Slots, receipt.DestroyAt = len(r.slots), now
			r.state, r.destroyAfter = ownerDestroyed, now.Unix()
			return &edit{dropAll: true}, v.shred.add(v.shredID(owner), now.Unix())
		}
		receipt.Slots, receipt.DestroyAt = len(r.slots), v.config.Now().Add(v.config.ForgetGrace)
		r.state, r.destroyAfter = ownerForgotten, receipt.DestroyAt.Unix()
		return &edit{}, nil
	})
	if err != nil {
		return nil, err
	}
	v.revoke(owner, nil)
	if err := v.shred.add(v.shredID(owner), r.changed); err != nil {
		return nil, err
	}
	if r.state == ownerDestroyed || v.config.ForgetGrace > 0 {
		return receipt, nil
	}
	if err := v.destroy(ctx, owner); err != nil && !errors.Is(err, ErrNotForgotten) { // another proxy destroyed them
		return nil, err
	}
	return receipt, nil
}

// Restore undoes Forget as long as the key slots are there. Tokens stay revoked.
func (v *Vault) Restore(ctx context.Context, owner string) error {
	if err := checkOwner(owner); err != nil {
		return err
	}
	var at int64
	err := v.change(ctx, owner, func(w *view) (*edit, error) {
		if w.record.state != ownerForgotten || len(w.record.slots) == 0 {
			return nil, ErrNotForgotten
		}
		at = v.config.Now().Unix()
		w.record.state, w.record.restored = ownerActive, at
		e := &edit{}
		for i := range w.record.slots {
			if w.record.slots[i].kind == SlotToken {
				e.drop = append(e.drop, w.record.slots[i].id)
			}
		}
		return e, nil
	})
	if errors.Is(err, ErrNoOwner) {
		err = ErrNotForgotten
	}
	if err != nil {
		return err
	}
	return v.shred.remove(v.shredID(owner), at)
}

// Destroy destroys the key slots of owners whose time has come, and returns who they were. It also finishes what a crash
// kept Forget from doing. Somebody calls it at start and then now and then.
func (v *Vault) Destroy(ctx context.Context) ([]string, error) {
	now := v.config.Now()
	problems := []error{v.completeShredList(ctx)}
	due, err := v.config.Store.Due(ctx, now, 100)
	if err != nil {
		return nil, errors.Join(append(problems, err)...)
	}
	var done []string
	for _, owner := range due {
		err := v.destroy(ctx, owner)
		if err == nil {
			done = append(done, owner)
		} else if !errors.Is(err, ErrNotForgotten) {
			problems = append(problems, err)
		}
	}
	return done, errors.Join(append(problems, v.config.Store.DropAttempts(ctx, now.Add(-attemptsForgotten)))...)
}

// destroy destroys the key slots of an owner whose time has come, and puts the owner on the shred list before. What the store
// says about the time is not authenticated; the record is. The error for another owner is ErrNotForgotten.
func (v *Vault) destroy(ctx context.Context, owner string) error {
	return v.changeAs(ctx, owner, true, func(w *view) (*edit, error) {
		if !w.doomed() || w.record.destroyAfter > v.config.Now().Unix() {
			return nil, ErrNotForgotten
		}
		if err := v.shred.add(v.shredID(owner), w.record.changed); err != nil {
			return nil, err
		}
		w.record.state = ownerDestroyed
		return &edit{dropAll: true}, nil
	})
}

// completeShredList adds the tombstones that the shred list may lack since a crash or a failure.
func (v *Vault) completeShredList(ctx context.Context) error {
	if !v.shred.behind.Swap(false) {
		return nil
	}
	owners, err := v.config.Store.Due(ctx, v.config.Now().Add(math.MaxInt64), maxTombstones)
	problems := []error{err}
	for _, owner := range owners {
		w, err := v.loadAs(ctx, owner, true)
		if err == nil && w.doomed() {
			err = v.shred.add(v.shredID(owner), w.record.changed)
		}
		problems = append(problems, err)
	}
	err = errors.Join(problems...)
	if err != nil {
		v.shred.behind.Store(true)
	}
	return err
}

// OwnerHash names an owner in logs: the first 8 bytes of a keyed hash, in hexadecimal digits.
func (v *Vault) OwnerHash(owner string) string {
	mac := v.config.Fleet.recordMAC(v.config.Realm, "latchkey/v1/audit", []byte(owner))
	return SlotID(mac[:16]).String()[:16]
}

// shredID names an owner in the shred list.
func (v *Vault) shredID(owner string) string {
	mac := v.config.Fleet.recordMAC(v.config.Realm, "latchkey/v1/shred", []byte(owner))
	return SlotID(mac[:16]).String()
}

// Fingerprint says which fleet secret the keystore of a realm belongs to, so that a proxy with another one is noticed.
func (f *FleetSecret) Fingerprint(realm string) []byte {
	mac := f.recordMAC(realm, "latchkey/v1/fleet-fingerprint", nil)
	return bytes.Clone(mac[:16])
}
