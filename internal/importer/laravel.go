package importer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Laravel opens payloads of Laravel's Crypt facade and of its `encrypted` casts: base64 of a JSON object with iv, value and either
// mac (AES in CBC mode, HMAC-SHA256 over iv and value as they stand) or tag (AES in GCM mode). The length of the key says whether it is
// AES-128 or AES-256.
// https://laravel.com/docs/encryption, Illuminate\Encryption\Encrypter
type Laravel struct {
	// Keys are those of the application or of the owners.
	Keys *LaravelKeys
	// Serialized says that the values went through PHP's serialize(): Crypt::encrypt() and encrypt() do that, encryptString() and
	// the casts do not. The payload does not tell.
	Serialized bool
}

var _ Importer = (*Laravel)(nil)

const (
	// maxPayload bounds a payload in bytes: four thirds of four thirds of what MariaDB sends in one packet.
	maxPayload = 2 << 30
	// minPayload is shorter than any: a JSON object with its four names.
	minPayload = 40
	gcmTag     = 16
)

// payload is the JSON object, its values decoded but for what the MAC is over.
type payload struct {
	iv, value []byte
	signed    []byte // iv and value as they stand in the object
	mac       []byte // 32 bytes, or none
	tag       []byte // 16 bytes, or none
}

// Close implements Importer.
func (l *Laravel) Close() { l.Keys.wipe() }

// Open implements Importer.
func (l *Laravel) Open(stored []byte, owner string, hasOwner bool) ([]byte, error) {
	p, ok := parsePayload(stored)
	if !ok {
		return nil, ErrOther
	}
	keys := l.Keys.of(owner, hasOwner)
	if len(keys) == 0 {
		return nil, ErrKey
	}
	for _, key := range keys {
		plain, ok := p.open(key)
		if !ok {
			continue
		}
		if !l.Serialized {
			return plain, nil
		}
		value, err := unserialize(plain)
		if err != nil {
			clear(plain)
		}
		return value, err
	}
	return nil, ErrBroken
}

// parsePayload reads a payload; ok is false for what is none.
func parsePayload(stored []byte) (p payload, ok bool) {
	stored = bytes.TrimSpace(stored)
	// Cheap: a JSON object begins with a brace, and base64 of that with e.
	if len(stored) < minPayload || len(stored) > maxPayload || stored[0] != 'e' {
		return p, false
	}
	text := make([]byte, base64.StdEncoding.DecodedLen(len(stored)))
	n, err := base64.StdEncoding.Strict().Decode(text, stored)
	if err != nil {
		return p, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text[:n], &fields) != nil {
		return p, false
	}
	var iv, value, mac, tag string
	for name, to := range map[string]*string{"iv": &iv, "value": &value, "mac": &mac, "tag": &tag} {
		raw, there := fields[name]
		if !there && name != "tag" || there && string(raw) == "null" && name != "tag" {
			return p, false
		}
		if there && json.Unmarshal(raw, to) != nil {
			return p, false
		}
	}
	p.signed = slices.Concat([]byte(iv), []byte(value))
	for _, part := range []struct {
		text string
		to   *[]byte
	}{{iv, &p.iv}, {value, &p.value}, {tag, &p.tag}} {
		if *part.to, err = base64.StdEncoding.DecodeString(part.text); err != nil {
			return p, false
		}
	}
	if p.mac, err = hex.DecodeString(mac); err != nil {
		return p, false
	}
	return p, p.wellFormed()
}

// wellFormed tells whether the lengths are those of one of the two modes.
func (p *payload) wellFormed() bool {
	if len(p.tag) > 0 {
		return len(p.tag) == gcmTag && len(p.mac) == 0 && len(p.iv) == 12
	}
	return len(p.mac) == sha256.Size && len(p.iv) == aes.BlockSize && len(p.value) > 0 && len(p.value)%aes.BlockSize == 0
}

// open decrypts with one key; ok is false where the payload is not authentic under it.
func (p *payload) open(key []byte) (plain []byte, ok bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	if len(p.tag) > 0 {
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, false
		}
		plain, err = gcm.Open([]byte{}, p.iv, slices.Concat(p.value, p.tag), nil)
		return plain, err == nil
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(p.signed)
	if !hmac.Equal(mac.Sum(nil), p.mac) {
		return nil, false
	}
	plain = make([]byte, len(p.value))
	cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(plain, p.value)
	// The MAC is right: what comes from the padding tells nobody anything.
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		clear(plain)
		return nil, false
	}
	return plain[:len(plain)-pad], true
}
