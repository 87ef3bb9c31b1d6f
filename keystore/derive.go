package keystore

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"latchkey/keystore/cell"
)

// Labels separate everything that is derived. They are part of the format:
// docs/format.md lists what each is derived from and with which further parts.
const (
	labelCellRoot   = "latchkey/v1/cell-root"
	labelSearchRoot = "latchkey/v1/search-root"
	labelKeyID      = "latchkey/v1/key-id"
	labelCell       = "latchkey/v1/cell"
	labelTag        = "latchkey/v1/tag"
	labelAwayKey    = "latchkey/v1/away-key"
)

// secretSize is the length in bytes of every secret that is stored, pushed or
// derived, key ids excepted.
const secretSize = 32

// maxNameLen bounds realm, context and collation names in bytes.
const maxNameLen = 1024

// ErrBadName is returned for a realm, context or collation name that is empty or
// longer than 1024 bytes.
var ErrBadName = errors.New("keystore: a realm, context or collation name must have 1 to 1024 bytes")

func checkNames(names ...string) error {
	for _, n := range names {
		if n == "" || len(n) > maxNameLen {
			return ErrBadName
		}
	}
	return nil
}

// derive fills out with HKDF-SHA256 (RFC 5869) of secret with an empty salt and
// with label, realm and parts, each behind its length, as info. The salt may be
// empty because every secret given here is uniformly random (RFC 5869 section
// 3.1).
func derive(out, secret []byte, label, realm string, parts ...[]byte) {
	info := cell.AppendPart(nil, []byte(label))
	info = cell.AppendPart(info, []byte(realm))
	for _, p := range parts {
		info = cell.AppendPart(info, p)
	}
	var key [sha256.Size]byte
	extracted := authenticate(&key, nil, secret)
	for done, counter := 0, byte(1); done < len(out); counter++ {
		if counter == 0 {
			panic(fmt.Sprintf("keystore: internal error: HKDF gives no %d bytes", len(out)))
		}
		var block [sha256.Size]byte
		previous := out[max(0, done-sha256.Size):done]
		done += copy(out[done:], authenticate(&block, extracted, previous, info, []byte{counter}))
		clear(block[:])
	}
	clear(key[:])
}

// authenticate returns HMAC-SHA256 of parts in sum, and leaves nothing else behind. It is what HKDF is made of; crypto/hkdf
// would leave what it derives in memory.
func authenticate(sum *[sha256.Size]byte, key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	m.Sum(sum[:0])
	cell.Erase(m)
	return sum[:]
}
