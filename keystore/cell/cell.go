// Package cell implements the cell format, version 1: how one value of one row
// of a protected column is stored. It seals a value into a cell, opens a cell,
// and computes the search tag that stands at the front of a searchable cell.
//
// It never derives a key, never decides which key applies, and never learns a
// column's type: the type family byte is carried for the caller. It imports
// nothing of this module and uses standard-library cryptography only.
//
// The one idea: everything in front of the ciphertext is authenticated together
// with the realm and the context (the place a cell belongs to), so a cell whose
// header was edited, or that was moved to another column, does not open; and the
// column key differs for every owner, so one moved to another owner does not
// either.
//
// The format with offsets and test vectors is docs/format.md. The algorithms
// are AES-256-GCM (NIST SP 800-38D), HPKE (RFC 9180) and HMAC-SHA256 (RFC 2104).
package cell

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// The first bytes of every cell. FF never occurs in UTF-8, so no text in a
// column is taken for a cell.
const (
	magic0 = 0xFF
	magic1 = 0x4C
	magic2 = 0x4B
)

// Kind is the fourth byte of a cell. Kinds and the place of the tag behind them
// are frozen for all versions of the format, because indexes and search ranges
// in databases depend on them.
type Kind byte

const (
	// KindTagged marks a cell with a search tag behind the kind.
	KindTagged Kind = 't'
	// KindUntagged marks a cell without a search tag.
	KindUntagged Kind = 'c'
	// KindAway marks a cell sealed to the public key of an owner who was not
	// unlocked when it was written.
	KindAway Kind = 'a'
	// KindPlain marks bytes that are no cell: what a column held before it was
	// protected, while its rows are being converted. It has no other field, and
	// Parse does not know it: [Plain] reads it where a caller accepts plaintext.
	KindPlain Kind = 'p'
	// KindPlainApart is KindPlain with 16 bytes in front of the plaintext by which
	// a UNIQUE key over the first bytes of a cell tells long values apart.
	KindPlainApart Kind = 'q'
)

// Suites: the algorithms a cell is sealed with.
const (
	// SuiteAESGCM is AES-256-GCM under a column key. Kinds t and c.
	SuiteAESGCM = 1
	// SuiteHPKE is HPKE in base mode with DHKEM(X25519, HKDF-SHA256),
	// HKDF-SHA256 and AES-256-GCM, and an HMAC-SHA256 over the cell. Kind a.
	SuiteHPKE = 2
)

// FlagBound says that other columns of the row are part of the associated data.
// All other flags are reserved and make a cell unreadable.
const FlagBound = 1 << 0

// Sizes of the fields of a cell, in bytes.
const (
	TagSize   = 16 // search tag
	KeyIDSize = 8

	nonceSize = 12
	gcmSize   = 16
	encSize   = 32 // X25519 encapsulated key
	macSize   = 32
	frameSize = 2 // type family in front of the value, 80 behind it

	prefixSize = 4 // magic and kind
	fixedSize  = 1 + 1 + 2 + KeyIDSize

	headerUntagged = prefixSize + fixedSize + nonceSize
	headerTagged   = prefixSize + TagSize + fixedSize + nonceSize
	headerAway     = prefixSize + fixedSize + encSize
)

// Reasons why bytes are not a readable cell. They are exact values: compare
// with errors.Is. None carries any part of the cell.
var (
	// ErrNotCell: the bytes do not begin with the magic.
	ErrNotCell = errors.New("cell: not a cell")
	// ErrUnknownFormat: the kind, suite or a flag is not one of version 1.
	ErrUnknownFormat = errors.New("cell: unknown kind, suite or flag")
	// ErrTruncated: shorter than the shortest cell of its kind.
	ErrTruncated = errors.New("cell: truncated")
	// ErrAuthentication: altered, moved from another place, or sealed under
	// another key. Which of them cannot be told.
	ErrAuthentication = errors.New("cell: authentication failed")
	// ErrBinding: the cell is bound to other columns and no bound values were
	// given, or bound values were given and the cell is not bound.
	ErrBinding = errors.New("cell: bound values do not match the cell's flags")
)

// KeyID says which user key or service key sealed a cell. It is no secret.
type KeyID [KeyIDSize]byte

// String returns the key id as 16 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Tag is a search tag. Equal values of one owner and context have equal tags.
type Tag [TagSize]byte

// Header is the part of a cell that can be read without a key. It is not
// authenticated until the cell has been opened.
type Header struct {
	Kind  Kind
	Suite byte
	Flags byte
	// Epoch is 0 under user keys and counts months since January 2020 under
	// service keys.
	Epoch uint16
	KeyID KeyID
	// Tag is the search tag of kind t, and zero for other kinds.
	Tag Tag

	size int // bytes in front of the ciphertext
}

// Bound reports whether other columns of the row are part of the cell's
// associated data.
func (h Header) Bound() bool { return h.Flags&FlagBound != 0 }

// IsCell reports whether b begins with the magic of a cell. It says nothing
// about whether the rest is readable.
func IsCell(b []byte) bool {
	return len(b) >= 3 && b[0] == magic0 && b[1] == magic1 && b[2] == magic2
}

// Parse reads the header of the cell b without allocating. It returns
// ErrNotCell, ErrUnknownFormat or ErrTruncated; b is not kept.
func Parse(b []byte) (Header, error) {
	if !IsCell(b) {
		return Header{}, ErrNotCell
	}
	if len(b) < prefixSize {
		return Header{}, ErrTruncated
	}
	h := Header{Kind: Kind(b[3])}
	var suite byte
	var tail int
	fixed := b[prefixSize:]
	switch h.Kind {
	case KindTagged:
		h.size, suite, tail = headerTagged, SuiteAESGCM, gcmSize
		if len(fixed) < TagSize {
			return Header{}, ErrTruncated
		}
		copy(h.Tag[:], fixed)
		fixed = fixed[TagSize:]
	case KindUntagged:
		h.size, suite, tail = headerUntagged, SuiteAESGCM, gcmSize
	case KindAway:
		h.size, suite, tail = headerAway, SuiteHPKE, gcmSize+macSize
	default:
		return Header{}, ErrUnknownFormat
	}
	if len(fixed) < fixedSize {
		return Header{}, ErrTruncated
	}
	h.Suite, h.Flags = fixed[0], fixed[1]
	if h.Suite != suite || h.Flags&^FlagBound != 0 {
		return Header{}, ErrUnknownFormat
	}
	if len(b) < h.size+frameSize+tail {
		return Header{}, ErrTruncated
	}
	h.Epoch = binary.BigEndian.Uint16(fixed[2:])
	copy(h.KeyID[:], fixed[4:])
	return h, nil
}

// Plain returns the bytes behind the mark of plaintext, kinds p and q. They are
// b's own.
func Plain(b []byte) (old []byte, ok bool) {
	switch {
	case len(b) < prefixSize || !IsCell(b):
		return nil, false
	case Kind(b[3]) == KindPlain:
		return b[prefixSize:], true
	case Kind(b[3]) == KindPlainApart && len(b) >= PrefixSize:
		return b[PrefixSize:], true
	}
	return nil, false
}

// AppendPlain appends old behind the mark of plaintext, kind p.
func AppendPlain(dst, old []byte) []byte {
	return append(append(dst, magic0, magic1, magic2, byte(KindPlain)), old...)
}

// appendHeader appends everything of h that stands in front of the nonce or the
// encapsulated key.
func appendHeader(dst []byte, h *Header) []byte {
	dst = append(dst, magic0, magic1, magic2, byte(h.Kind))
	if h.Kind == KindTagged {
		dst = append(dst, h.Tag[:]...)
	}
	dst = append(dst, h.Suite, h.Flags)
	dst = binary.BigEndian.AppendUint16(dst, h.Epoch)
	return append(dst, h.KeyID[:]...)
}

// SealedLen returns the length in bytes of the cell that Key.Seal makes of a
// value of n bytes padded to a multiple of pad, with or without a search tag.
// A column must be at least that wide.
func SealedLen(n, pad int, withTag bool) int {
	if withTag {
		return headerTagged + framedLen(n, pad) + gcmSize
	}
	return headerUntagged + framedLen(n, pad) + gcmSize
}

// AwaySealedLen is SealedLen for cells of kind a.
func AwaySealedLen(n, pad int) int {
	return headerAway + framedLen(n, pad) + gcmSize + macSize
}
