package keystore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"latchkey/keystore/cell"
)

// Labels of key slots; docs/format.md says what each is derived from.
const (
	labelSlot         = "latchkey/v1/slot"
	labelSlotKEK      = "latchkey/v1/slot-kek"
	labelSlotShare    = "latchkey/v1/slot-share"
	labelSlotPrivate  = "latchkey/v1/slot-private"
	labelSlotBox      = "latchkey/v1/slot-box"
	labelPasswordSlot = "latchkey/v1/password-slot"
	labelRecoverySlot = "latchkey/v1/recovery-slot"
	labelTokenSlot    = "latchkey/v1/token-slot"
	labelSecretSlot   = "latchkey/v1/secret-slot"
	labelServiceSlot  = "latchkey/v1/service-slot"
)

// SlotKind says what opens a key slot.
type SlotKind uint8

// Kinds of key slot. The numbers are part of the format.
const (
	SlotPassword SlotKind = 1 // a password, through Argon2id and the pepper
	SlotRecovery SlotKind = 2 // a recovery code; independent of the fleet secret
	SlotToken    SlotKind = 3 // a token, with the pepper, until it expires
	SlotSecret   SlotKind = 4 // 32 bytes from elsewhere; independent of the fleet secret
	SlotService  SlotKind = 5 // a service key of the operator: escrow
)

var slotKindNames = map[SlotKind]string{
	SlotPassword: "password", SlotRecovery: "recovery", SlotToken: "token", SlotSecret: "secret", SlotService: "service",
}

// String returns the kind in lower case.
func (k SlotKind) String() string { return slotKindNames[k] }

// SlotID names a key slot. It is random and no secret.
type SlotID [16]byte

// String returns the id as 32 hexadecimal digits.
func (id SlotID) String() string { return hex.EncodeToString(id[:]) }

// ParseSlotID reads what String returns.
func ParseSlotID(s string) (id SlotID, err error) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, ErrNoSlot
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return SlotID{}, ErrNoSlot
	}
	return id, nil
}

const (
	slotVersion   = 1
	maxSlotLabel  = 64
	maxWrappedLen = payloadFixed + maxCellRoots*secretSize + gcmOverhead
	maxSlotLen    = 4096
	nonceSize     = 12
	gcmOverhead   = 16
	boxLen        = nonceSize + secretSize + gcmOverhead
)

// errSlot is for a key slot whose bytes are not in the format. It never passes authentication, so nobody but a program with
// an error of its own makes one.
var errSlot = errors.New("keystore: malformed key slot")

// keySlot is one wrapped copy of a user key.
type keySlot struct {
	id       SlotID
	kind     SlotKind
	created  int64 // seconds since 1970
	notAfter int64 // the same; 0 is never
	label    string
	cost     PasswordCost // kind password
	salt     [16]byte     // kind password
	// public is the X25519 half of the slot's own key pair: with it and box, whoever has the user key wraps another for the
	// slot without its secret.
	public    [32]byte
	box       []byte // the slot's share under a key of the search root
	ephemeral [32]byte
	wrapped   []byte
}

// constant encodes what stays when another user key is wrapped for the slot.
func (s *keySlot) constant(realm, owner string) []byte {
	b := cell.AppendPart(nil, []byte(labelSlot))
	b = cell.AppendPart(b, []byte(realm))
	b = cell.AppendPart(b, []byte(owner))
	b = append(b, slotVersion)
	b = append(b, s.id[:]...)
	b = append(b, byte(s.kind))
	b = binary.BigEndian.AppendUint64(b, uint64(s.created))
	b = binary.BigEndian.AppendUint64(b, uint64(s.notAfter))
	b = cell.AppendPart(b, []byte(s.label))
	if s.kind == SlotPassword {
		b = binary.BigEndian.AppendUint32(b, s.cost.Memory)
		b = binary.BigEndian.AppendUint32(b, s.cost.Time)
		b = append(b, s.cost.Threads)
		b = append(b, s.salt[:]...)
	}
	return append(b, s.public[:]...)
}

// associated is what a wrapped user key is bound to.
func (s *keySlot) associated(realm, owner string) []byte {
	return append(s.constant(realm, owner), s.ephemeral[:]...)
}

// encode returns the slot as it is stored. Realm and owner stand in it, so that the digest of a slot names them.
func (s *keySlot) encode(realm, owner string) []byte {
	b := s.associated(realm, owner)
	b = cell.AppendPart(b, s.box)
	return cell.AppendPart(b, s.wrapped)
}

// parseSlot reads what encode returns, and checks that it belongs to owner.
func parseSlot(b []byte, realm, owner string) (*keySlot, error) {
	if len(b) > maxSlotLen {
		return nil, errSlot
	}
	r := reader{b: b}
	if string(r.part(maxNameLen)) != labelSlot || string(r.part(maxNameLen)) != realm || string(r.part(maxOwnerLen)) != owner {
		return nil, errSlot
	}
	s := &keySlot{}
	version := r.byte()
	copy(s.id[:], r.take(len(s.id)))
	s.kind = SlotKind(r.byte())
	s.created, s.notAfter = int64(r.uint64()), int64(r.uint64())
	s.label = string(r.part(maxSlotLabel))
	if s.kind == SlotPassword {
		s.cost = PasswordCost{Memory: r.uint32(), Time: r.uint32(), Threads: r.byte()}
		copy(s.salt[:], r.take(len(s.salt)))
	}
	copy(s.public[:], r.take(len(s.public)))
	copy(s.ephemeral[:], r.take(len(s.ephemeral)))
	s.box = append([]byte(nil), r.part(boxLen)...)
	s.wrapped = append([]byte(nil), r.part(maxWrappedLen)...)
	if !r.done() || version != slotVersion || slotKindNames[s.kind] == "" || len(s.box) != boxLen {
		return nil, errSlot
	}
	return s, nil
}

// digest is what the owner record knows of a stored slot.
func slotDigest(encoded []byte) [sha256.Size]byte { return sha256.Sum256(encoded) }

// expired tells whether the slot no longer opens at now, in seconds since 1970.
func (s *keySlot) expired(now int64) bool { return s.notAfter != 0 && now >= s.notAfter }

// slotSecret is what opens a slot: 32 bytes that come from the password, code, token or secret.
type slotSecret [secretSize]byte

// keys derives the two halves of the slot's secret: the share, and the private key.
func (k *slotSecret) keys(realm, owner string, id SlotID) (share [secretSize]byte, private *ecdh.PrivateKey, err error) {
	derive(share[:], k[:], labelSlotShare, realm, []byte(owner), id[:])
	var scalar [secretSize]byte
	derive(scalar[:], k[:], labelSlotPrivate, realm, []byte(owner), id[:])
	private, err = ecdh.X25519().NewPrivateKey(scalar[:])
	clear(scalar[:])
	return share, private, err
}

// fill makes s hold keys, to be opened by secret.
func (s *keySlot) fill(realm, owner string, secret *slotSecret, keys *userKeys, rand io.Reader) (err error) {
	protect(func() {
		var share [secretSize]byte
		var private *ecdh.PrivateKey
		if share, private, err = secret.keys(realm, owner, s.id); err != nil {
			return
		}
		defer clear(share[:])
		defer cell.Erase(private)
		copy(s.public[:], private.PublicKey().Bytes())
		if s.box, err = sealBox(realm, owner, s.id, keys, &share, rand); err != nil {
			return
		}
		err = s.wrap(realm, owner, &share, keys, rand)
	})
	return err
}

// wrap replaces the wrapped user key. It needs no secret of the slot but the share, which the box gives to whoever has the
// user key. The key that it encrypts under is used once: it comes from a fresh key pair.
func (s *keySlot) wrap(realm, owner string, share *[secretSize]byte, keys *userKeys, rand io.Reader) error {
	var scalar [secretSize]byte
	if _, err := io.ReadFull(rand, scalar[:]); err != nil {
		return err
	}
	fresh, err := ecdh.X25519().NewPrivateKey(scalar[:])
	clear(scalar[:])
	if err != nil {
		return err
	}
	defer cell.Erase(fresh)
	public, err := ecdh.X25519().NewPublicKey(s.public[:])
	if err != nil {
		return err
	}
	common, err := fresh.ECDH(public)
	if err != nil {
		return errSlot
	}
	defer clear(common)
	copy(s.ephemeral[:], fresh.PublicKey().Bytes())
	associated := s.associated(realm, owner)
	aead := slotAEAD(realm, common, share, associated)
	defer aead.erase()
	plain := keys.encode()
	defer clear(plain)
	s.wrapped = aead.Seal(nil, make([]byte, nonceSize), plain, associated)
	return nil
}

// slotAEAD is AES-256-GCM under the key-encryption key of a slot.
func slotAEAD(realm string, common []byte, share *[secretSize]byte, associated []byte) *slotCipher {
	secret := append(append(make([]byte, 0, 2*secretSize), common...), share[:]...)
	var kek [secretSize]byte
	digest := sha256.Sum256(associated)
	derive(kek[:], secret, labelSlotKEK, realm, digest[:])
	clear(secret)
	aead := newGCM(kek[:])
	clear(kek[:])
	return aead
}

// slotCipher is AES-256-GCM that can be overwritten after its one use.
type slotCipher struct {
	cipher.AEAD
	block cipher.Block
}

func (c *slotCipher) erase() {
	cell.Erase(c.AEAD)
	cell.Erase(c.block)
}

func newGCM(key []byte) *slotCipher {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(fmt.Sprintf("keystore: internal error: a key of %d bytes", len(key)))
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("keystore: internal error: no GCM")
	}
	return &slotCipher{aead, block}
}

// open unwraps the user key. It returns errWrongSecret when secret is not that of the slot.
func (s *keySlot) open(realm, owner string, secret *slotSecret) (keys *userKeys, err error) {
	protect(func() {
		share, private, failure := secret.keys(realm, owner, s.id)
		if failure != nil {
			err = failure
			return
		}
		defer clear(share[:])
		defer cell.Erase(private)
		peer, failure := ecdh.X25519().NewPublicKey(s.ephemeral[:])
		if failure != nil {
			err = errSlot
			return
		}
		common, failure := private.ECDH(peer)
		if failure != nil {
			err = errSlot
			return
		}
		defer clear(common)
		associated := s.associated(realm, owner)
		aead := slotAEAD(realm, common, &share, associated)
		defer aead.erase()
		plain, failure := aead.Open(nil, make([]byte, nonceSize), s.wrapped, associated)
		if failure != nil {
			err = errWrongSecret
			return
		}
		keys, err = parseUserKeys(plain)
		clear(plain)
	})
	return keys, err
}

// rewrap replaces the user key in the slot, old, by another one with the same search root, without the slot's secret.
func (s *keySlot) rewrap(realm, owner string, old, keys *userKeys, rand io.Reader) (err error) {
	protect(func() {
		var share [secretSize]byte
		if err = openBox(&share, realm, owner, s.id, old, s.box); err != nil {
			return
		}
		defer clear(share[:])
		err = s.wrap(realm, owner, &share, keys, rand)
	})
	return err
}

// errWrongSecret is for a secret that does not open a slot.
var errWrongSecret = errors.New("keystore: the secret does not open the key slot")

func boxAEAD(realm, owner string, id SlotID, keys *userKeys) *slotCipher {
	var key [secretSize]byte
	derive(key[:], keys.search[:], labelSlotBox, realm, []byte(owner), id[:])
	defer clear(key[:])
	return newGCM(key[:])
}

// sealBox encrypts a slot's share under a key of the search root, which a rotation keeps.
func sealBox(realm, owner string, id SlotID, keys *userKeys, share *[secretSize]byte, rand io.Reader) ([]byte, error) {
	nonce := make([]byte, nonceSize, boxLen)
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, err
	}
	aead := boxAEAD(realm, owner, id, keys)
	defer aead.erase()
	return aead.Seal(nonce, nonce, share[:], id[:]), nil
}

func openBox(share *[secretSize]byte, realm, owner string, id SlotID, keys *userKeys, box []byte) error {
	if len(box) != boxLen {
		return errSlot
	}
	aead := boxAEAD(realm, owner, id, keys)
	defer aead.erase()
	plain, err := aead.Open(nil, box[:nonceSize], box[nonceSize:], id[:])
	if err != nil {
		return errSlot
	}
	copy(share[:], plain)
	clear(plain)
	return nil
}

const (
	payloadVersion = 1
	payloadFixed   = 1 + secretSize + 1
	// maxCellRoots bounds how many rotations a user key remembers.
	maxCellRoots = 16
)

// userKeys are the bytes of a user key: the search root, and the cell roots with the newest first.
type userKeys struct {
	cell.Opaque
	search [secretSize]byte
	cells  [][secretSize]byte
}

// newUserKeys draws a fresh user key.
func newUserKeys(rand io.Reader) (*userKeys, error) {
	k := &userKeys{cells: make([][secretSize]byte, 1)}
	if _, err := io.ReadFull(rand, k.search[:]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(rand, k.cells[0][:]); err != nil {
		return nil, err
	}
	return k, nil
}

// rotated returns the user key with a fresh cell root in front.
func (k *userKeys) rotated(rand io.Reader) (*userKeys, error) {
	if len(k.cells) >= maxCellRoots {
		return nil, ErrTooManyRotations
	}
	n := &userKeys{search: k.search, cells: make([][secretSize]byte, 1, len(k.cells)+1)}
	if _, err := io.ReadFull(rand, n.cells[0][:]); err != nil {
		return nil, err
	}
	n.cells = append(n.cells, k.cells...)
	return n, nil
}

func (k *userKeys) encode() []byte {
	b := make([]byte, 0, payloadFixed+len(k.cells)*secretSize)
	b = append(b, payloadVersion)
	b = append(b, k.search[:]...)
	b = append(b, byte(len(k.cells)))
	for i := range k.cells {
		b = append(b, k.cells[i][:]...)
	}
	return b
}

func parseUserKeys(b []byte) (*userKeys, error) {
	r := reader{b: b}
	k := &userKeys{}
	version := r.byte()
	copy(k.search[:], r.take(secretSize))
	n := int(r.byte())
	if n < 1 || n > maxCellRoots || version != payloadVersion {
		return nil, errSlot
	}
	k.cells = make([][secretSize]byte, n)
	for i := range k.cells {
		copy(k.cells[i][:], r.take(secretSize))
	}
	if !r.done() {
		k.wipe()
		return nil, errSlot
	}
	return k, nil
}

// userKey makes the user key; the caller releases it.
func (k *userKeys) userKey(realm string) (*UserKey, error) {
	u, err := NewUserKey(realm, k.cells[0][:], k.search[:])
	if err != nil {
		return nil, err
	}
	for i := range k.cells[1:] {
		old, err := NewUserKey(realm, k.cells[1+i][:], k.search[:])
		if err != nil {
			u.Release()
			return nil, err
		}
		u.older = append(u.older, old)
	}
	return u, nil
}

func (k *userKeys) wipe() {
	if k == nil {
		return
	}
	clear(k.search[:])
	clear(k.cells)
}

// reader takes bytes apart. After a read past the end everything reads as zero and done is false.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// part reads bytes behind their length, which is at most limit.
func (r *reader) part(limit int) []byte {
	n := r.uint32()
	if n > uint32(limit) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

// done tells whether everything was read and nothing was missing.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }
