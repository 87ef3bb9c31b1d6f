package keystore

import (
	"io"

	"latchkey/keystore/cell"
)

// Labels from which the roots of an account key come and under which its
// checksum is computed.
const (
	prefixAccount = "LK1"
	labelAccount  = "latchkey/v1/account-key"
)

// AccountKey is a user key in the form a user or an operator keeps: 32 random
// bytes, written as text, from which both roots are derived.
type AccountKey struct {
	cell.Opaque
	secret *[secretSize]byte
}

// NewAccountKey draws a fresh account key from rand, which is crypto/rand.Reader
// outside tests.
func NewAccountKey(rand io.Reader) (*AccountKey, error) {
	k := &AccountKey{secret: new([secretSize]byte)}
	if _, err := io.ReadFull(rand, k.secret[:]); err != nil {
		return nil, err
	}
	return k, nil
}

// ParseAccountKey reads the text of an account key. Case, spaces, dashes, and O
// for 0, I and L for 1 are forgiven. It returns a *KeyTextError, which never
// holds any of the text, or ErrToken when the text is a token. The caller keeps
// text and should wipe it.
func ParseAccountKey(text []byte) (*AccountKey, error) {
	if LooksLikeToken(text) {
		return nil, ErrToken
	}
	k := &AccountKey{secret: new([secretSize]byte)}
	if err := parseText(k.secret, text, &accountText); err != nil {
		return nil, err
	}
	return k, nil
}

// Text returns the account key as text: "LK1-" and groups of five. This is the
// secret itself; the caller wipes it after use.
func (k *AccountKey) Text() []byte { return formatText(k.secret, &accountText) }

// UserKey derives the user key under realm. The caller releases it.
func (k *AccountKey) UserKey(realm string) (*UserKey, error) { return k.userKey(realm, keptUser) }

func (k *AccountKey) userKey(realm string, kept int) (*UserKey, error) {
	if err := checkNames(realm); err != nil {
		return nil, err
	}
	var u *UserKey
	var err error
	protect(func() {
		var r roots
		derive(r.cell[:], k.secret[:], labelCellRoot, realm)
		derive(r.search[:], k.secret[:], labelSearchRoot, realm)
		u, err = newUserKey(realm, r.cell[:], r.search[:], kept)
		r = roots{}
	})
	return u, err
}

// Wipe overwrites the secret. The key must not be used afterwards.
func (k *AccountKey) Wipe() { clear(k.secret[:]) }
