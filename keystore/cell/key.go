package cell

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// KeySize is the length in bytes of the secret of a column key and of an index
// key.
const KeySize = 32

// Key is a column key made ready to seal and open: the key of one owner (or
// service) for one context and epoch. It is safe for concurrent use.
type Key struct {
	Opaque
	id    KeyID
	epoch uint16
	place place

	mu      sync.RWMutex // held for writing by Wipe, for reading while the cipher is in use
	ciphers *ciphers     // nil once wiped
}

// ciphers hold the expanded key, of which the first two round keys are the key itself.
type ciphers struct {
	block cipher.Block
	aead  cipher.AEAD
}

func (c *ciphers) erase() {
	Erase(c.aead)
	Erase(c.block)
}

// ErrWiped is returned by a key that was wiped.
var ErrWiped = errors.New("cell: the key was wiped")

// NewKey prepares the column key secret, which is KeySize bytes long and which
// the caller may wipe afterwards. id is the key id of the user key it was
// derived from; realm, context and epoch are those it was derived with.
func NewKey(secret []byte, id KeyID, epoch uint16, realm, context string) (*Key, error) {
	if len(secret) != KeySize {
		return nil, errors.New("cell: a column key must have 32 bytes")
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	k := &Key{id: id, epoch: epoch, place: newPlace(realm, context), ciphers: &ciphers{block: block, aead: aead}}
	// For a key that was lost without Wipe.
	runtime.AddCleanup(k, (*ciphers).erase, k.ciphers)
	return k, nil
}

// Wipe overwrites the key, once nobody is sealing or opening with it. Afterwards Open returns ErrWiped and Seal panics.
func (k *Key) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ciphers != nil {
		k.ciphers.erase()
		k.ciphers = nil
	}
}

// ID returns the key id that cells sealed with k carry.
func (k *Key) ID() KeyID { return k.id }

// Epoch returns the epoch that cells sealed with k carry.
func (k *Key) Epoch() uint16 { return k.epoch }

// Params is what goes into a cell besides the key.
type Params struct {
	// Tag is the search tag of a kind t cell; nil makes a kind c cell.
	Tag *Tag
	// Family is the caller's byte for the type family of the value.
	Family byte
	// Plaintext is the value as canonical text or bytes. It must not overlap
	// the spare capacity of the destination.
	Plaintext []byte
	// Pad brings the frame around Plaintext to a multiple of Pad bytes. 0 and 1
	// hide nothing.
	Pad int
	// Bound are the values of other columns of the row, in the order the
	// policy names them; a nil element is NULL. When there are none the cell
	// is not bound.
	Bound [][]byte
}

// flags returns the flags of a cell made of p.
func (p *Params) flags() byte {
	if len(p.Bound) > 0 {
		return FlagBound
	}
	return 0
}

// Seal appends to dst the cell made of p and returns the extended slice. The
// nonce is random: a cell is sealed anew on every write, so a counter would
// need state shared by all proxies. With 96 random bits a key may seal 2^32
// cells (SP 800-38D section 8.3). k must not have been wiped: whoever holds the user key that it comes from can rely on
// that.
func (k *Key) Seal(dst []byte, p Params) []byte {
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	return k.seal(dst, &p, nonce)
}

func (k *Key) seal(dst []byte, p *Params, nonce [nonceSize]byte) []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.ciphers == nil {
		panic("internal error: cell: sealed with a key that was wiped")
	}
	h := Header{Kind: KindUntagged, Suite: SuiteAESGCM, Flags: p.flags(), Epoch: k.epoch, KeyID: k.id}
	if p.Tag != nil {
		h.Kind, h.Tag = KindTagged, *p.Tag
	}
	framed := framedLen(len(p.Plaintext), p.Pad)
	dst = slices.Grow(dst, headerTagged+framed+gcmSize)
	start := len(dst)
	dst = appendHeader(dst, &h)
	dst = append(dst, nonce[:]...)
	body := len(dst)

	// The frame is written where the ciphertext will be and encrypted in place.
	plain := dst[body : body+framed]
	frame(plain, p.Family, p.Plaintext)
	ad := k.place.associated(dst[start:body], p.Bound)
	dst = k.ciphers.aead.Seal(dst, dst[body-nonceSize:body], plain, *ad)
	release(ad)
	return dst
}

// Open appends the value in the cell b to dst and returns its type family and
// the extended slice. bound must be what the cell was sealed with. dst and b
// must not overlap, and the spare capacity of dst may be overwritten. Errors
// are ErrNotCell, ErrUnknownFormat (also for a cell of kind a), ErrTruncated,
// ErrBinding, ErrWiped and ErrAuthentication; the slice is then nil.
func (k *Key) Open(dst, b []byte, bound [][]byte) (family byte, value []byte, err error) {
	h, err := Parse(b)
	if err != nil {
		return 0, nil, err
	}
	if h.Suite != SuiteAESGCM {
		return 0, nil, ErrUnknownFormat
	}
	if h.Bound() != (len(bound) > 0) {
		return 0, nil, ErrBinding
	}
	if h.KeyID != k.id || h.Epoch != k.epoch {
		return 0, nil, ErrAuthentication
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.ciphers == nil {
		return 0, nil, ErrWiped
	}
	ad := k.place.associated(b[:h.size], bound)
	opened, err := k.ciphers.aead.Open(dst, b[h.size-nonceSize:h.size], b[h.size:], *ad)
	release(ad)
	if err != nil {
		return 0, nil, ErrAuthentication
	}
	return unframeOnto(dst, opened)
}

// unframeOnto takes opened, which is dst followed by a frame, and returns dst
// followed by the value in the frame.
func unframeOnto(dst, opened []byte) (family byte, value []byte, err error) {
	n := len(dst)
	family, value, ok := unframe(opened[n:])
	if !ok {
		clear(opened[n:])
		return 0, nil, ErrAuthentication
	}
	return family, opened[:n+copy(opened[n:], value)], nil
}
