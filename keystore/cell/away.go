package cell

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"runtime"
	"slices"
)

// awayInfo is the HPKE info string. Everything that names the place of a cell
// is in the associated data.
var awayInfo = []byte("latchkey/v1/away-cell")

// AwaySealer seals values for an owner who is not unlocked, to that owner's
// public key, for one context. Anybody who has the public key could do that, so
// a MAC under a key that only the proxies share says that a proxy did. It is
// safe for concurrent use.
type AwaySealer struct {
	Opaque
	public hpke.PublicKey
	mac    []byte
	id     KeyID
	place  place
}

// NewAwaySealer prepares an owner's X25519 public key (32 bytes) and key id, and
// the proxies' MAC key (KeySize bytes), which is copied.
func NewAwaySealer(public []byte, id KeyID, mac []byte, realm, context string) (*AwaySealer, error) {
	if len(mac) != KeySize {
		return nil, errors.New("cell: a MAC key must have 32 bytes")
	}
	point, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, errors.New("cell: malformed X25519 public key")
	}
	pk, err := hpke.NewDHKEMPublicKey(point)
	if err != nil {
		return nil, err
	}
	return &AwaySealer{public: pk, mac: append([]byte(nil), mac...), id: id, place: newPlace(realm, context)}, nil
}

// Seal appends to dst the kind a cell made of p and returns the extended slice.
// p.Tag must be nil: the tag of an absent owner cannot be computed. It fails
// when the public key is one to which nothing can be sealed (a point of low
// order).
func (s *AwaySealer) Seal(dst []byte, p Params) ([]byte, error) {
	if p.Tag != nil {
		return nil, errors.New("cell: a cell of kind a has no search tag")
	}
	enc, sender, err := hpke.NewSender(s.public, hpke.HKDFSHA256(), hpke.AES256GCM(), awayInfo)
	if err != nil {
		return nil, errors.New("cell: cannot seal to this public key")
	}
	start := len(dst)
	dst = appendHeader(dst, &Header{Kind: KindAway, Suite: SuiteHPKE, Flags: p.flags(), KeyID: s.id})
	dst = append(dst, enc...)
	framed := make([]byte, framedLen(len(p.Plaintext), p.Pad))
	frame(framed, p.Family, p.Plaintext)
	ad := s.place.associated(dst[start:], p.Bound)
	ciphertext, err := sender.Seal(*ad, framed)
	release(ad)
	clear(framed)
	if err != nil {
		return nil, errors.New("cell: cannot seal to this public key")
	}
	dst = append(dst, ciphertext...)
	return appendMAC(dst, s.mac, dst[start:]), nil
}

// AwayOpener opens cells of kind a with an owner's private key, for one context.
// It is safe for concurrent use.
type AwayOpener struct {
	Opaque
	scalar  *ecdh.PrivateKey // that of private
	private hpke.PrivateKey
	mac     []byte
	id      KeyID
	place   place
}

// NewAwayOpener prepares an owner's X25519 private key (32 bytes) and key id,
// and the proxies' MAC key (KeySize bytes), which is copied.
func NewAwayOpener(private []byte, id KeyID, mac []byte, realm, context string) (*AwayOpener, error) {
	if len(mac) != KeySize {
		return nil, errors.New("cell: a MAC key must have 32 bytes")
	}
	scalar, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, errors.New("cell: malformed X25519 private key")
	}
	sk, err := hpke.NewDHKEMPrivateKey(scalar)
	if err != nil {
		return nil, err
	}
	o := &AwayOpener{scalar: scalar, private: sk, mac: append([]byte(nil), mac...), id: id, place: newPlace(realm, context)}
	// For an opener that was lost without Wipe.
	runtime.AddCleanup(o, func(k *ecdh.PrivateKey) { Erase(k) }, scalar)
	return o, nil
}

// Wipe overwrites the private key. The opener must not be in use, nor be used afterwards.
func (o *AwayOpener) Wipe() {
	Erase(o.scalar)
	clear(o.mac)
	runtime.KeepAlive(o)
}

// Open is Key.Open for cells of kind a. The MAC is checked before anything else
// is done with the cell, so a forged cell costs one HMAC.
func (o *AwayOpener) Open(dst, b []byte, bound [][]byte) (family byte, value []byte, err error) {
	h, err := Parse(b)
	if err != nil {
		return 0, nil, err
	}
	if h.Suite != SuiteHPKE {
		return 0, nil, ErrUnknownFormat
	}
	sealed, mac := b[:len(b)-macSize], b[len(b)-macSize:]
	if !hmac.Equal(mac, appendMAC(nil, o.mac, sealed)) || h.KeyID != o.id || h.Epoch != 0 {
		return 0, nil, ErrAuthentication
	}
	if h.Bound() != (len(bound) > 0) {
		return 0, nil, ErrBinding
	}
	recipient, err := hpke.NewRecipient(b[h.size-encSize:h.size], o.private, hpke.HKDFSHA256(), hpke.AES256GCM(), awayInfo)
	if err != nil {
		return 0, nil, ErrAuthentication
	}
	ad := o.place.associated(b[:h.size], bound)
	framed, err := recipient.Open(*ad, sealed[h.size:])
	release(ad)
	if err != nil {
		return 0, nil, ErrAuthentication
	}
	defer clear(framed)
	family, value, ok := unframe(framed)
	runtime.KeepAlive(o)
	if !ok {
		return 0, nil, ErrAuthentication
	}
	// Grown even for an empty value: nil would read as NULL.
	return family, append(slices.Grow(dst, 1+len(value)), value...), nil
}

// appendMAC appends HMAC-SHA256 of b under key to dst.
func appendMAC(dst, key, b []byte) []byte {
	m := hmac.New(sha256.New, key)
	defer Erase(m)
	m.Write(b)
	return m.Sum(dst)
}
