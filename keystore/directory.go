package keystore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"latchkey/keystore/cell"
)

// keptRecipients bounds how many owners a Directory remembers, and keptSealers for how many columns of one it keeps what
// seals to them.
const (
	keptRecipients = 10_000
	keptSealers    = 64
)

// Directory tells whose key is whose without opening one: from the owner records of a Vault, each of which was verified.
// What it has read counts for the vault's CacheTTL. It is safe for concurrent use.
type Directory struct {
	cell.Opaque
	vault *Vault

	mu    sync.Mutex
	known *simplelru.LRU[string, *Recipient]
}

// NewDirectory makes the directory of a vault.
func NewDirectory(v *Vault) (*Directory, error) {
	d := &Directory{vault: v}
	var err error
	d.known, err = simplelru.NewLRU[string, *Recipient](keptRecipients, nil)
	return d, err
}

// Recipient is what is known of an owner without the owner's key: the ids of the user key and the public half to which
// values are sealed. It is safe for concurrent use.
type Recipient struct {
	cell.Opaque
	directory *Directory
	read      time.Time
	known     bool // to the keystore; the rest is then as its record says
	state     ownerState
	ids       []cell.KeyID
	public    [32]byte

	mu      sync.Mutex
	sealers *simplelru.LRU[string, *cell.AwaySealer] // by context
}

// Recipient returns what the keystore says about an owner. A text that cannot name an owner is one that it does not know.
// Errors are ErrTampered, ErrRollback and the store's.
func (d *Directory) Recipient(ctx context.Context, owner string) (*Recipient, error) {
	now := d.vault.config.Now()
	if r := d.cached(owner, now); r != nil {
		return r, nil
	}
	r := &Recipient{directory: d, read: now}
	if checkOwner(owner) == nil {
		w, err := d.vault.load(ctx, owner)
		if err != nil {
			return nil, err
		}
		if w != nil {
			r.known, r.state, r.public = true, w.record.state, w.record.public
			r.ids = slices.Clone(w.record.keyIDs)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.Add(owner, r)
	return r, nil
}

func (d *Directory) cached(owner string, now time.Time) *Recipient {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.known.Get(owner)
	if !ok {
		return nil
	}
	if age := now.Sub(r.read); age < 0 || age >= d.vault.config.CacheTTL {
		return nil
	}
	return r
}

// Forget drops what is known of an owner, so that it is read again: the caller has changed it.
func (d *Directory) Forget(owner string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.Remove(owner)
}

// Known tells whether the keystore has the owner, forgotten ones included.
func (r *Recipient) Known() bool { return r.known }

// Holds tells whether the owner's user key is the one with this key id.
func (r *Recipient) Holds(id cell.KeyID) bool {
	return (r.state == ownerActive || r.state == ownerRegistered) && slices.Contains(r.ids, id)
}

// IDs returns the ids of the owner's user key, newest first; none for an owner who is not known or was forgotten.
func (r *Recipient) IDs() []cell.KeyID {
	if r.state != ownerActive && r.state != ownerRegistered {
		return nil
	}
	return slices.Clone(r.ids)
}

// ErrNoRecipient is returned for an owner to whom nothing can be sealed: one that the keystore does not know or that was
// forgotten.
var ErrNoRecipient = errors.New("keystore: nothing can be sealed to this owner")

// Sealer returns what seals values of the column named context to the owner's public key. Errors are ErrNoRecipient,
// ErrBadName and ErrTampered for a public key that is none.
func (r *Recipient) Sealer(context string) (*cell.AwaySealer, error) {
	if r.state != ownerActive && r.state != ownerRegistered {
		return nil, ErrNoRecipient
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealers == nil {
		var err error
		if r.sealers, err = simplelru.NewLRU[string, *cell.AwaySealer](keptSealers, nil); err != nil {
			return nil, err
		}
	}
	if s, ok := r.sealers.Get(context); ok {
		return s, nil
	}
	v := r.directory.vault
	s, err := v.config.Fleet.AwaySealer(v.config.Realm, r.public[:], r.ids[0], context)
	if err != nil {
		if errors.Is(err, ErrBadName) {
			return nil, err
		}
		return nil, ErrTampered
	}
	r.sealers.Add(context, s)
	return s, nil
}

// Opener returns what opens cells of kind a that were sealed to the public half of k, in the column named context.
func (d *Directory) Opener(k *UserKey, context string) (*cell.AwayOpener, error) {
	return k.AwayOpener(d.vault.config.Fleet, context)
}
