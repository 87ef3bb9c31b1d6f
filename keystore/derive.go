package keystore

import (
	"crypto/hkdf"
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
	okm, err := hkdf.Key(sha256.New, secret, nil, string(info), len(out))
	if err != nil {
		panic(fmt.Sprintf("keystore: internal error: HKDF refused %d bytes", len(out)))
	}
	copy(out, okm)
	clear(okm)
}
