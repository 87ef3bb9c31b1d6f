package keystore

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"

	"latchkey/keystore/cell"
)

const (
	prefixRecovery = "LKR1"
	labelRecovery  = "latchkey/v1/recovery-code"

	recoverySize    = 20 // 160 bits: 32 characters
	recoverySum     = 5  // 40 bits: 8 characters
	recoverySymbols = (recoverySize + recoverySum) * 8 / 5
)

// recoveryCode is 160 random bits that open a key slot when the password is lost.
type recoveryCode [recoverySize]byte

// text returns "LKR1-" and eight groups of five characters in Crockford's base32.
func (c *recoveryCode) text() []byte {
	sum := recoveryChecksum(c)
	raw := append(append(make([]byte, 0, recoverySize+recoverySum), c[:]...), sum[:]...)
	defer clear(raw)
	out := append(make([]byte, 0, 64), prefixRecovery...)
	var acc uint32
	bits, n := 0, 0
	for _, b := range raw {
		acc = acc<<8 | uint32(b)
		for bits += 8; bits >= 5; n++ {
			bits -= 5
			if n%groupSize == 0 {
				out = append(out, '-')
			}
			out = append(out, alphabet[acc>>bits&31])
		}
	}
	return out
}

func recoveryChecksum(c *recoveryCode) [recoverySum]byte {
	b := cell.AppendPart(make([]byte, 0, 64), []byte(labelRecovery))
	b = cell.AppendPart(b, c[:])
	defer clear(b)
	sum := sha256.Sum256(b)
	return [recoverySum]byte(sum[:])
}

// parseRecoveryCode reads a code, forgiving what ParseAccountKey forgives; the prefix may be missing. The error is a
// *KeyTextError.
func parseRecoveryCode(text []byte) (*recoveryCode, error) {
	const noun = "recovery code"
	trimmed, pos := trimText(text)
	if len(trimmed) > maxTextLen {
		return nil, &KeyTextError{Noun: noun, Problem: "it is too long"}
	}
	digits := make([]byte, 0, maxTextLen)
	places := make([]int, 0, maxTextLen)
	defer clear(digits[:cap(digits)])
	for _, c := range trimmed {
		if c&0xC0 != 0x80 { // not a continuation byte of UTF-8
			pos++
		}
		if foldTable[c] == separator {
			continue
		}
		digit, ok := fold(c)
		if !ok {
			return nil, &KeyTextError{Noun: noun, Position: pos, Problem: "is not one of 0-9 and A-Z without I, L, O, U"}
		}
		digits, places = append(digits, digit), append(places, pos)
	}
	body := digits
	if len(digits) == len(prefixRecovery)+recoverySymbols {
		for i := range len(prefixRecovery) {
			if want, _ := fold(prefixRecovery[i]); digits[i] != want {
				return nil, &KeyTextError{Noun: noun, Position: places[i], Problem: "does not belong there: the code begins with " + prefixRecovery + "-"}
			}
		}
		body = digits[len(prefixRecovery):]
	}
	if len(body) != recoverySymbols {
		return nil, &KeyTextError{Noun: noun, Problem: "it does not have 40 characters behind " + prefixRecovery + "-, spaces and dashes not counted"}
	}
	var raw [recoverySize + recoverySum]byte
	defer clear(raw[:])
	var acc uint32
	bits, n := 0, 0
	for _, d := range body {
		acc = acc<<5 | uint32(d)
		if bits += 5; bits >= 8 {
			bits -= 8
			raw[n] = byte(acc >> bits)
			n++
		}
	}
	code := recoveryCode(raw[:recoverySize])
	sum := recoveryChecksum(&code)
	if subtle.ConstantTimeCompare(sum[:], raw[recoverySize:]) != 1 {
		clear(code[:])
		return nil, &KeyTextError{Noun: noun, Problem: "its checksum is wrong, so a character was mistyped or two were swapped"}
	}
	return &code, nil
}

func newRecoveryCode(rand io.Reader) (*recoveryCode, error) {
	c := new(recoveryCode)
	_, err := io.ReadFull(rand, c[:])
	return c, err
}

// slotToken is the id of a key slot and the secret that opens it.
type slotToken struct {
	id     SlotID
	secret [secretSize]byte
}

const tokenLen = len(SlotID{}) + secretSize

// text returns "LKT1-" and 64 characters of base64url.
func (t *slotToken) text() []byte {
	raw := append(append(make([]byte, 0, tokenLen), t.id[:]...), t.secret[:]...)
	defer clear(raw)
	return base64.RawURLEncoding.AppendEncode(append(make([]byte, 0, 80), prefixToken+"-"...), raw)
}

// parseToken reads a token. White space around it and the case of the prefix do not matter. The error is a *KeyTextError.
func parseToken(text []byte) (*slotToken, error) {
	malformed := &KeyTextError{Noun: "token", Problem: "it is not LKT1- and 64 characters of base64url"}
	s := bytes.TrimSpace(text)
	if !LooksLikeToken(s) || s[len(prefixToken)] != '-' {
		return nil, malformed
	}
	s = s[len(prefixToken)+1:]
	var raw [tokenLen]byte
	defer clear(raw[:])
	if len(s) != base64.RawURLEncoding.EncodedLen(tokenLen) {
		return nil, malformed
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], s); err != nil || n != tokenLen {
		return nil, malformed
	}
	t := &slotToken{id: SlotID(raw[:])}
	copy(t.secret[:], raw[len(t.id):])
	return t, nil
}
