package keystore

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"io"

	"latchkey/keystore/cell"
)

const (
	prefixFleet = "LKF1"
	labelFleet  = "latchkey/v1/fleet-secret"

	labelAway   = "latchkey/v1/away"
	labelSchema = "latchkey/v1/schema"
)

// SchemaMACSize is the length in bytes of the MAC of an annotation.
const SchemaMACSize = 16

// FleetSecret is the 32 bytes that the proxies of a deployment share and the
// backend never sees. It is safe for concurrent use.
type FleetSecret struct {
	cell.Opaque
	secret *[secretSize]byte
}

// NewFleetSecret draws a fresh fleet secret from rand, which is
// crypto/rand.Reader outside tests.
func NewFleetSecret(rand io.Reader) (*FleetSecret, error) {
	f := &FleetSecret{secret: new([secretSize]byte)}
	if _, err := io.ReadFull(rand, f.secret[:]); err != nil {
		return nil, err
	}
	return f, nil
}

// ParseFleetSecret reads the text of a fleet secret, forgiving what
// ParseAccountKey forgives. It returns a *KeyTextError.
func ParseFleetSecret(text []byte) (*FleetSecret, error) {
	f := &FleetSecret{secret: new([secretSize]byte)}
	if err := parseText(f.secret, text, &fleetText); err != nil {
		return nil, err
	}
	return f, nil
}

// Text returns the fleet secret as text: "LKF1-" and groups of five. This is the
// secret itself; the caller wipes it after use.
func (f *FleetSecret) Text() []byte { return formatText(f.secret, &fleetText) }

// Wipe overwrites the secret. It must not be used afterwards.
func (f *FleetSecret) Wipe() { clear(f.secret[:]) }

// subkey derives the key for one use of the fleet secret.
func (f *FleetSecret) subkey(label, realm string) (key [secretSize]byte) {
	derive(key[:], f.secret[:], label, realm)
	return key
}

// SchemaMAC returns the MAC of an annotation whose bytes are body: the first 16
// bytes of HMAC-SHA256.
func (f *FleetSecret) SchemaMAC(realm string, body []byte) (mac [SchemaMACSize]byte) {
	protect(func() {
		key := f.subkey(labelSchema, realm)
		m := hmac.New(sha256.New, key[:])
		m.Write(body)
		copy(mac[:], m.Sum(nil))
		clear(key[:])
	})
	return mac
}

// VerifySchemaMAC reports, in a time that does not depend on the bytes, whether
// mac is the MAC of body.
func (f *FleetSecret) VerifySchemaMAC(realm string, body, mac []byte) bool {
	want := f.SchemaMAC(realm, body)
	return subtle.ConstantTimeCompare(want[:], mac) == 1
}

// AwaySealer returns what seals values in the column named context for an owner
// who is not unlocked, whose authentic public key and key id are given.
func (f *FleetSecret) AwaySealer(realm string, public []byte, id cell.KeyID, context string) (*cell.AwaySealer, error) {
	if err := checkNames(realm, context); err != nil {
		return nil, err
	}
	var s *cell.AwaySealer
	var err error
	protect(func() {
		mac := f.subkey(labelAway, realm)
		s, err = cell.NewAwaySealer(public, id, mac[:], realm, context)
		clear(mac[:])
	})
	return s, err
}
