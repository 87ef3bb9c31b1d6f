// Package keystore holds the keys: it reads and writes them as text and files,
// derives from them the column keys and index keys that package cell works
// with, and keeps the keyring of a session.
//
// It never sees SQL or a policy, never asks the network for a key, and never
// puts key bytes or the text of a key into an error.
//
// The one idea: a user key is two roots. Keys of cells come from the cell root,
// which a rotation replaces; keys of search tags come from the search root,
// which it keeps, so that indexes survive. Everything is derived under a realm
// and a context, so that a key of one deployment, owner or column is of no use
// for another.
//
// Derivation is HKDF-SHA256 (RFC 5869). docs/format.md gives it byte by byte,
// with test vectors.
package keystore

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"latchkey/keystore/cell"
)

// ErrKeyGone is returned by a key that was dropped: its last holder released it.
var ErrKeyGone = errors.New("keystore: the key was dropped")

// How many derived keys a user key keeps ready. A service key serves one column
// key per column and month, a user key one per column.
const (
	keptUser    = 256
	keptService = 4096
)

// PadRule says how a collation treats trailing spaces when it compares.
type PadRule string

const (
	// PadSpace collations ignore trailing spaces.
	PadSpace PadRule = "pad-space"
	// NoPad collations compare them.
	NoPad PadRule = "no-pad"
)

// TagRule is what an index key is derived for. Two columns have comparable tags
// only when their rules are equal.
type TagRule struct {
	Context       string
	Collation     string
	Pad           PadRule
	WeightVersion uint32
}

// columnName is what a column key is derived for.
type columnName struct {
	context string
	epoch   uint16
}

// roots are the secret bytes of a user key.
type roots struct {
	cell, search [secretSize]byte
}

// UserKey is the key of one owner, from which all keys of that owner's data are
// derived. Derived keys are kept with it, a bounded number of them. It is safe
// for concurrent use.
//
// A UserKey is held by reference: whoever receives one from a constructor, from
// Cache or from Retain calls Release once. The last Release wipes it and the keys
// derived from it, so that these are used only while the user key is held. A
// derived key that made room for others is wiped when nothing uses it any more.
type UserKey struct {
	cell.Opaque
	realm string
	id    cell.KeyID
	refs  atomic.Int32
	// older are the keys that a rotation replaced, newest first, with the same search root. They open and never seal, and
	// live as long as the key.
	older []*UserKey
	// origin is the key slot that the key came from; nil for one that was pushed or comes from a file.
	origin *origin
	// cached is the key's place in a Cache; zero for one that came another way.
	cached [sha256.Size]byte

	mu      sync.Mutex
	roots   *roots // nil once wiped
	columns *simplelru.LRU[columnName, *cell.Key]
	indexes *simplelru.LRU[TagRule, *cell.IndexKey]
}

// NewUserKey makes a user key of its two roots, 32 bytes each, under realm. The
// roots are copied.
func NewUserKey(realm string, cellRoot, searchRoot []byte) (*UserKey, error) {
	return newUserKey(realm, cellRoot, searchRoot, keptUser)
}

func newUserKey(realm string, cellRoot, searchRoot []byte, kept int) (*UserKey, error) {
	if err := checkNames(realm); err != nil {
		return nil, err
	}
	if len(cellRoot) != secretSize || len(searchRoot) != secretSize {
		return nil, errors.New("keystore: a cell root and a search root must have 32 bytes each")
	}
	k := &UserKey{realm: realm}
	k.refs.Store(1)
	var err error
	if k.columns, err = simplelru.NewLRU[columnName, *cell.Key](kept, nil); err != nil {
		return nil, err
	}
	if k.indexes, err = simplelru.NewLRU[TagRule, *cell.IndexKey](kept, nil); err != nil {
		return nil, err
	}
	protect(func() {
		k.roots = &roots{}
		copy(k.roots.cell[:], cellRoot)
		copy(k.roots.search[:], searchRoot)
		derive(k.id[:], k.roots.cell[:], labelKeyID, realm)
	})
	// For a holder that was lost without a Release.
	runtime.AddCleanup(k, func(r *roots) { *r = roots{} }, k.roots)
	return k, nil
}

// ID returns the key id, which is no secret.
func (k *UserKey) ID() cell.KeyID { return k.id }

// IDs returns the key id and those of the keys that a rotation replaced, newest first.
func (k *UserKey) IDs() []cell.KeyID {
	ids := []cell.KeyID{k.id}
	for _, old := range k.older {
		ids = append(ids, old.id)
	}
	return ids
}

// withID returns k or the key that a rotation replaced which has the given id, or nil.
func (k *UserKey) withID(id cell.KeyID) *UserKey {
	if k.id == id {
		return k
	}
	for _, old := range k.older {
		if old.id == id {
			return old
		}
	}
	return nil
}

// keys copies the roots out of k. The caller wipes them.
func (k *UserKey) keys() (*userKeys, error) {
	// With room for all, so that no copy is left behind.
	keys := &userKeys{cells: make([][secretSize]byte, 0, 1+len(k.older))}
	for _, u := range append([]*UserKey{k}, k.older...) {
		u.mu.Lock()
		if u.roots == nil {
			u.mu.Unlock()
			keys.wipe()
			return nil, ErrKeyGone
		}
		keys.search = u.roots.search
		keys.cells = append(keys.cells, u.roots.cell)
		u.mu.Unlock()
	}
	return keys, nil
}

// Realm returns the realm under which k derives.
func (k *UserKey) Realm() string { return k.realm }

// ColumnKey returns the key that seals and opens cells of the column named
// context. epoch is 0 under a user key, and the epoch of the cell or of the
// current month under a service key. Errors are ErrBadName and ErrKeyGone.
func (k *UserKey) ColumnKey(context string, epoch uint16) (*cell.Key, error) {
	name := columnName{context, epoch}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.roots == nil {
		return nil, ErrKeyGone
	}
	if ck, ok := k.columns.Get(name); ok {
		return ck, nil
	}
	if err := checkNames(context); err != nil {
		return nil, err
	}
	var ck *cell.Key
	var err error
	protect(func() {
		var secret [cell.KeySize]byte
		derive(secret[:], k.roots.cell[:], labelCell, k.realm, []byte(context), binary.BigEndian.AppendUint16(nil, epoch))
		ck, err = cell.NewKey(secret[:], k.id, epoch, k.realm, context)
		clear(secret[:])
	})
	if err != nil {
		return nil, err
	}
	k.columns.Add(name, ck)
	return ck, nil
}

// IndexKey returns the key that computes search tags under rule. Errors are
// ErrBadName and ErrKeyGone.
func (k *UserKey) IndexKey(rule TagRule) (*cell.IndexKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.roots == nil {
		return nil, ErrKeyGone
	}
	if ik, ok := k.indexes.Get(rule); ok {
		return ik, nil
	}
	if err := checkNames(rule.Context, rule.Collation, string(rule.Pad)); err != nil {
		return nil, err
	}
	var ik *cell.IndexKey
	var err error
	protect(func() {
		var secret [cell.KeySize]byte
		derive(secret[:], k.roots.search[:], labelTag, k.realm, []byte(rule.Context), []byte(rule.Collation),
			[]byte(rule.Pad), binary.BigEndian.AppendUint32(nil, rule.WeightVersion))
		ik, err = cell.NewIndexKey(secret[:])
		clear(secret[:])
	})
	if err != nil {
		return nil, err
	}
	k.indexes.Add(rule, ik)
	return ik, nil
}

// awayPrivate returns the X25519 private key to whose public half values are
// sealed while the owner is away. It comes from the cell root and changes with
// it.
func (k *UserKey) awayPrivate() (*ecdh.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.roots == nil {
		return nil, ErrKeyGone
	}
	var private *ecdh.PrivateKey
	var err error
	protect(func() {
		var secret [secretSize]byte
		derive(secret[:], k.roots.cell[:], labelAwayKey, k.realm)
		private, err = ecdh.X25519().NewPrivateKey(secret[:])
		clear(secret[:])
	})
	return private, err
}

// AwayPublicKey returns the X25519 public key (32 bytes) to which values are
// sealed while the owner is away. It is no secret, but must be authentic.
func (k *UserKey) AwayPublicKey() ([]byte, error) {
	private, err := k.awayPrivate()
	if err != nil {
		return nil, err
	}
	defer cell.Erase(private)
	return private.PublicKey().Bytes(), nil
}

// AwayOpener returns what opens cells of kind a in the column named context. The
// caller wipes it.
func (k *UserKey) AwayOpener(fleet *FleetSecret, context string) (*cell.AwayOpener, error) {
	if err := checkNames(context); err != nil {
		return nil, err
	}
	private, err := k.awayPrivate()
	if err != nil {
		return nil, err
	}
	var o *cell.AwayOpener
	protect(func() {
		scalar := private.Bytes()
		cell.Erase(private)
		mac := fleet.subkey(labelAway, k.realm)
		o, err = cell.NewAwayOpener(scalar, k.id, mac[:], k.realm, context)
		clear(scalar)
		clear(mac[:])
	})
	return o, err
}

// Retain adds a holder. It returns false, and adds none, when k was wiped.
func (k *UserKey) Retain() bool {
	for {
		n := k.refs.Load()
		if n <= 0 {
			return false
		}
		if k.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release takes a holder away; the last one wipes the roots and drops the
// derived keys.
func (k *UserKey) Release() {
	switch n := k.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("keystore: internal error: key released twice")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	*k.roots = roots{}
	k.roots = nil
	for _, ck := range k.columns.Values() {
		ck.Wipe()
	}
	for _, ik := range k.indexes.Values() {
		ik.Wipe()
	}
	k.columns.Purge()
	k.indexes.Purge()
	for _, old := range k.older {
		old.Release()
	}
	k.origin.release()
}
