package keystore

import "errors"

// What a Vault answers. None holds anything of a secret.
var (
	// ErrUnlock is for an unknown owner and a wrong secret alike.
	ErrUnlock = errors.New("keystore: no such owner, or not the secret of this owner")
	// ErrTokenGone is for a token that expired, was revoked, or never was.
	ErrTokenGone = errors.New("keystore: the token expired or was revoked")
	// ErrTampered is for a record that is not one of these proxies'.
	ErrTampered = errors.New("keystore: a record of the keystore does not verify: it was changed by somebody else, or made under another fleet secret")
	// ErrLost is for a record that was made under another fleet secret, where those may be adopted. It is an ErrTampered too:
	// who can tell.
	ErrLost error = lostError{}
	// ErrRollback is for a record that is older than one that was seen.
	ErrRollback = errors.New("keystore: a record of the keystore is older than one that was seen before: a backup was restored, or somebody put it back")
	// ErrEnrolled is for an owner who has a key already.
	ErrEnrolled = errors.New("keystore: this owner has a key already")
	// ErrForgotten is for an owner whose key was destroyed, where saying so gives nothing away.
	ErrForgotten = errors.New("keystore: this owner was forgotten")
	// ErrNoOwner is for an owner who is not there, where saying so gives nothing away.
	ErrNoOwner = errors.New("keystore: there is no such owner")
	// ErrNotForgotten is for an owner who cannot be restored.
	ErrNotForgotten = errors.New("keystore: this owner is not forgotten, or its key slots are destroyed")
	// ErrNoSlot is for a key slot that is not there.
	ErrNoSlot = errors.New("keystore: there is no such key slot")
	// ErrLastSlot is for the last key slot that opens a key.
	ErrLastSlot = errors.New("keystore: this is the last key slot that opens the key")
	// ErrTooManySlots is for an owner with as many key slots as there may be.
	ErrTooManySlots = errors.New("keystore: this owner has as many key slots as there may be")
	// ErrTooManyRotations is for a key that was rotated as often as may be.
	ErrTooManyRotations = errors.New("keystore: this key was rotated as often as may be")
	// ErrConflict is for a record that somebody else changes at the same time.
	ErrConflict = errors.New("keystore: the owner is being changed by somebody else")
	// ErrBusy is for too many passwords to be checked at once.
	ErrBusy = errors.New("keystore: too many passwords are being checked")
	// ErrBadOwner, ErrBadPassword and ErrBadSecret are for what cannot be one.
	ErrBadOwner    = errors.New("keystore: an owner is named by 1 to 255 bytes of UTF-8 without control characters")
	ErrBadPassword = errors.New("keystore: a password has 1 to 1024 bytes")
	ErrBadSecret   = errors.New("keystore: the secret of a key slot has 32 bytes, given as such or as 64 hexadecimal digits")
	// ErrBadCost is for parameters of Argon2id outside of the bounds.
	ErrBadCost = errors.New("keystore: the parameters of Argon2id are outside of what is allowed")
	// ErrBadKind is for a kind of key slot that cannot be added.
	ErrBadKind = errors.New("keystore: a key slot that can be added has kind recovery, secret or service")
	// ErrNoEscrow is for a service slot where none is configured.
	ErrNoEscrow = errors.New("keystore: no escrow key is configured")
	// ErrNotFromSlot is for a key that did not come from a key slot of this owner.
	ErrNotFromSlot = errors.New("keystore: the key on this connection does not belong to this owner")
)

// lostError is the type of ErrLost.
type lostError struct{}

// Error implements error.
func (lostError) Error() string {
	return "keystore: this owner's record was made under another fleet secret: recover with the recovery code, or unlock with the secret of a key slot"
}

// Is makes the error an ErrTampered.
func (lostError) Is(target error) bool { return target == ErrTampered }
