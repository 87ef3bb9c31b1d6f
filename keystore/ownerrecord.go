package keystore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"

	"latchkey/keystore/cell"
)

const (
	labelPepper = "latchkey/v1/pepper"
	labelRecord = "latchkey/v1/record"
	labelOwner  = "latchkey/v1/owner"

	recordVersion = 1
	maxOwnerLen   = 255
	maxSlots      = 64
	maxRecordLen  = 16 << 10
)

// ownerState says what may be done with an owner.
type ownerState uint8

const (
	ownerActive     ownerState = 1 // has key slots
	ownerRegistered ownerState = 2 // keeps an account key; only its public half is known
	ownerForgotten  ownerState = 3 // a tombstone; key slots are left until destroyAfter
	ownerDestroyed  ownerState = 4 // a tombstone without key slots
)

// slotEntry is what an owner record says about one key slot. A slot that is not in the record does not exist.
type slotEntry struct {
	id     SlotID
	kind   SlotKind
	digest [sha256.Size]byte
}

// ownerRecord is the authenticated row about one owner.
type ownerRecord struct {
	realm, owner string
	generation   uint64 // grows by one with every change
	state        ownerState
	changed      int64 // seconds since 1970
	destroyAfter int64 // the same; state ownerForgotten
	restored     int64 // the same; state ownerActive: when a Forget was last undone, 0 never
	keyIDs       []cell.KeyID
	public       [32]byte
	slots        []slotEntry
}

func (o *ownerRecord) encode() []byte {
	b := cell.AppendPart(nil, []byte(labelOwner))
	b = cell.AppendPart(b, []byte(o.realm))
	b = cell.AppendPart(b, []byte(o.owner))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, o.generation)
	b = append(b, byte(o.state))
	b = binary.BigEndian.AppendUint64(b, uint64(o.changed))
	b = binary.BigEndian.AppendUint64(b, uint64(*o.when()))
	b = append(b, byte(len(o.keyIDs)))
	for _, id := range o.keyIDs {
		b = append(b, id[:]...)
	}
	b = append(b, o.public[:]...)
	b = append(b, byte(len(o.slots)))
	for i := range o.slots {
		s := &o.slots[i]
		b = append(b, s.id[:]...)
		b = append(b, byte(s.kind))
		b = append(b, s.digest[:]...)
	}
	return b
}

// when is the time whose meaning depends on the state.
func (o *ownerRecord) when() *int64 {
	if o.state == ownerActive {
		return &o.restored
	}
	return &o.destroyAfter
}

// parseOwnerRecord reads what encode returns, and checks that it is about owner. The MAC has been verified before.
func parseOwnerRecord(b []byte, realm, owner string) (*ownerRecord, error) {
	if len(b) > maxRecordLen {
		return nil, ErrTampered
	}
	r := reader{b: b}
	if string(r.part(maxNameLen)) != labelOwner || string(r.part(maxNameLen)) != realm || string(r.part(maxOwnerLen)) != owner {
		return nil, ErrTampered
	}
	o := &ownerRecord{realm: realm, owner: owner}
	version := r.byte()
	o.generation = r.uint64()
	o.state = ownerState(r.byte())
	o.changed = int64(r.uint64())
	*o.when() = int64(r.uint64())
	n := int(r.byte())
	for range n {
		var id cell.KeyID
		copy(id[:], r.take(len(id)))
		o.keyIDs = append(o.keyIDs, id)
	}
	copy(o.public[:], r.take(len(o.public)))
	for range int(r.byte()) {
		var s slotEntry
		copy(s.id[:], r.take(len(s.id)))
		s.kind = SlotKind(r.byte())
		copy(s.digest[:], r.take(len(s.digest)))
		o.slots = append(o.slots, s)
	}
	if !r.done() || version != recordVersion || o.state < ownerActive || o.state > ownerDestroyed || o.generation == 0 ||
		n < 1 || n > maxCellRoots || len(o.slots) > maxSlots {
		return nil, ErrTampered
	}
	return o, nil
}

// find returns the entry of a slot, or nil.
func (o *ownerRecord) find(id SlotID) *slotEntry {
	for i := range o.slots {
		if o.slots[i].id == id {
			return &o.slots[i]
		}
	}
	return nil
}

// drop takes a slot out of the record and tells whether it was there.
func (o *ownerRecord) drop(id SlotID) bool {
	for i := range o.slots {
		if o.slots[i].id == id {
			o.slots = append(o.slots[:i:i], o.slots[i+1:]...)
			return true
		}
	}
	return false
}

// openers counts the slots that an owner opens a key with, without the operator and for good.
func (o *ownerRecord) openers() (n int) {
	for i := range o.slots {
		switch o.slots[i].kind {
		case SlotPassword, SlotRecovery, SlotSecret:
			n++
		}
	}
	return n
}

// holds tells whether keys are those that the record is about: key ids and public half.
func (o *ownerRecord) holds(k *UserKey) bool {
	ids := k.IDs()
	if len(ids) != len(o.keyIDs) {
		return false
	}
	for i := range ids {
		if ids[i] != o.keyIDs[i] {
			return false
		}
	}
	public, err := k.AwayPublicKey()
	return err == nil && hmac.Equal(public, o.public[:])
}

// describe puts ids and public half of a user key into the record.
func (o *ownerRecord) describe(k *UserKey) error {
	public, err := k.AwayPublicKey()
	if err != nil {
		return err
	}
	copy(o.public[:], public)
	o.keyIDs = k.IDs()
	return nil
}

// checkOwner says whether a text can name an owner: 1 to 255 bytes of UTF-8 without control characters.
func checkOwner(owner string) error {
	if owner == "" || len(owner) > maxOwnerLen || !utf8.ValidString(owner) {
		return ErrBadOwner
	}
	for _, r := range owner {
		if r < 0x20 || r == 0x7F {
			return ErrBadOwner
		}
	}
	return nil
}

// recordMAC is the MAC of a record or, with another label, of what else the proxies tell each other through the keystore.
func (f *FleetSecret) recordMAC(realm, label string, parts ...[]byte) (mac [sha256.Size]byte) {
	protect(func() {
		key := f.subkey(labelRecord, realm)
		m := hmac.New(sha256.New, key[:])
		b := cell.AppendPart(nil, []byte(label))
		for _, p := range parts {
			b = cell.AppendPart(b, p)
		}
		m.Write(b)
		copy(mac[:], m.Sum(nil))
		clear(key[:])
	})
	return mac
}

// peppered derives what opens a slot from a secret of the user and the fleet's pepper: whoever has one of the two has
// nothing.
func (f *FleetSecret) peppered(secret []byte, label, realm, owner string, id SlotID) *slotSecret {
	out := new(slotSecret)
	protect(func() {
		pepper := f.subkey(labelPepper, realm)
		both := append(append(make([]byte, 0, len(secret)+len(pepper)), secret...), pepper[:]...)
		derive(out[:], both, label, realm, []byte(owner), id[:])
		clear(both)
		clear(pepper[:])
	})
	return out
}

// unpeppered derives what opens a slot that must not depend on the fleet secret.
func unpeppered(secret []byte, label, realm, owner string, id SlotID) *slotSecret {
	out := new(slotSecret)
	protect(func() { derive(out[:], secret, label, realm, []byte(owner), id[:]) })
	return out
}
