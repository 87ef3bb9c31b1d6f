package cell

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"runtime"
	"sync"
)

// maxTaggers bounds how many HMAC states an index key keeps ready: one for each statement that may use it at once.
const maxTaggers = 64

// IndexKey computes the search tags of one owner (or service) for one context
// and collation. It is safe for concurrent use.
type IndexKey struct {
	Opaque
	mu    sync.Mutex
	state *indexState
}

// indexState is what an index key has to overwrite.
type indexState struct {
	secret []byte // nil once wiped
	ready  []*tagger
}

func (s *indexState) erase() {
	clear(s.secret)
	s.secret = nil
	for _, t := range s.ready {
		t.erase()
	}
	s.ready = nil
}

// tagger is an HMAC state, keyed once and reset for every tag, with room for its
// output, so that a tag costs no allocation.
type tagger struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

func newTagger(secret []byte) *tagger {
	t := &tagger{mac: hmac.New(sha256.New, secret)}
	resetErasing(t.mac)
	return t
}

func (t *tagger) erase() {
	Erase(t.mac)
	clear(t.sum[:])
}

// NewIndexKey prepares the index key secret, which is KeySize bytes long. The
// caller may wipe it afterwards.
func NewIndexKey(secret []byte) (*IndexKey, error) {
	if len(secret) != KeySize {
		return nil, errors.New("cell: an index key must have 32 bytes")
	}
	k := &IndexKey{state: &indexState{secret: append(make([]byte, 0, KeySize), secret...)}}
	// For a key that was lost without Wipe.
	runtime.AddCleanup(k, (*indexState).erase, k.state)
	return k, nil
}

// Tag returns the search tag of a value: the first 16 bytes of HMAC-SHA256 over
// weights, the collation's sort weights of the value with trailing pad weights
// removed. 16 bytes keep the chance that any two of 2^40 values collide below
// 2^-48, and a collision can only add rows that opening them removes again.
// k must not have been wiped: whoever holds the user key that it comes from can
// rely on that.
func (k *IndexKey) Tag(weights []byte) Tag {
	t := k.take()
	t.mac.Reset()
	t.mac.Write(weights)
	tag := Tag(t.mac.Sum(t.sum[:0])[:TagSize])
	k.give(t)
	return tag
}

func (k *IndexKey) take() *tagger {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.secret == nil {
		panic("internal error: cell: tagged with a key that was wiped")
	}
	n := len(k.state.ready)
	if n == 0 {
		return newTagger(k.state.secret)
	}
	t := k.state.ready[n-1]
	k.state.ready = k.state.ready[:n-1]
	return t
}

func (k *IndexKey) give(t *tagger) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.secret == nil || len(k.state.ready) == maxTaggers {
		t.erase()
		return
	}
	k.state.ready = append(k.state.ready, t)
}

// Wipe overwrites the key. A tag that is being computed is finished; afterwards Tag panics.
func (k *IndexKey) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.erase()
}

// PrefixSize is the length in bytes of what a searchable column's index must
// cover: magic, kind and tag.
const PrefixSize = prefixSize + TagSize

// Prefix returns the bytes with which every cell that carries tag begins.
func Prefix(tag Tag) [PrefixSize]byte {
	p := [PrefixSize]byte{magic0, magic1, magic2, byte(KindTagged)}
	copy(p[prefixSize:], tag[:])
	return p
}

// PrefixRange returns the half-open range lo <= cell < hi, compared as bytes,
// that holds exactly the cells carrying tag. hi is lo plus one as a big-endian
// number.
func PrefixRange(tag Tag) (lo, hi [PrefixSize]byte) {
	lo = Prefix(tag)
	hi = lo
	// The carry ends at the kind byte at the latest, which is not FF.
	for i := PrefixSize - 1; ; i-- {
		hi[i]++
		if hi[i] != 0 {
			return lo, hi
		}
	}
}
