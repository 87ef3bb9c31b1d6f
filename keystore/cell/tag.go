package cell

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"sync"
)

// IndexKey computes the search tags of one owner (or service) for one context
// and collation. It is safe for concurrent use.
type IndexKey struct {
	Opaque
	macs sync.Pool // of *tagger: HMAC states keyed once and reset for every tag
}

// tagger is an HMAC state with room for its output, so that a tag costs no
// allocation.
type tagger struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// NewIndexKey prepares the index key secret, which is KeySize bytes long. The
// caller may wipe it afterwards.
func NewIndexKey(secret []byte) (*IndexKey, error) {
	if len(secret) != KeySize {
		return nil, errors.New("cell: an index key must have 32 bytes")
	}
	own := append([]byte(nil), secret...)
	k := &IndexKey{}
	k.macs.New = func() any { return &tagger{mac: hmac.New(sha256.New, own)} }
	return k, nil
}

// Tag returns the search tag of a value: the first 16 bytes of HMAC-SHA256 over
// weights, the collation's sort weights of the value with trailing pad weights
// removed. 16 bytes keep the chance that any two of 2^40 values collide below
// 2^-48, and a collision can only add rows that opening them removes again.
func (k *IndexKey) Tag(weights []byte) Tag {
	t := k.macs.Get().(*tagger)
	t.mac.Reset()
	t.mac.Write(weights)
	tag := Tag(t.mac.Sum(t.sum[:0])[:TagSize])
	k.macs.Put(t)
	return tag
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
