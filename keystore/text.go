package keystore

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"latchkey/keystore/cell"
)

// Keys as text: a prefix that says what the key is, and 32 bytes of secret with
// 4 bytes of checksum in Crockford's base32, in groups of five characters joined
// by dashes.

const (
	checksumSize = 4
	symbolCount  = ((secretSize+checksumSize)*8 + 4) / 5 // 58, of which the last carries 3 bits
	groupSize    = 5
	maxTextLen   = 256 // bytes without the separators around it
)

// alphabet is Crockford's base32: digits and letters without I, L, O and U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// textForm is one kind of key as text.
type textForm struct {
	noun   string // for errors
	prefix string
	label  string // of the checksum
}

var (
	accountText = textForm{"account key", prefixAccount, labelAccount}
	fleetText   = textForm{"fleet secret", prefixFleet, labelFleet}
)

// ErrMalformedKey is what every *KeyTextError is, for errors.Is.
var ErrMalformedKey = errors.New("keystore: malformed key")

// ErrToken is returned where an account key was expected and a token given: a
// token opens a key slot, and there is no key slot it could open.
var ErrToken = errors.New("keystore: this is a token, and a token needs a key slot: push an account key")

// KeyTextError says why a text is not a key. It holds nothing of the text.
type KeyTextError struct {
	// Noun says what was expected: "account key" or "fleet secret".
	Noun string
	// Position counts the characters of the text from 1, spaces and dashes
	// included, and is 0 where no single character is to blame.
	Position int
	// Problem is a clause without the position.
	Problem string
}

// Error returns a sentence fit for the person who typed the key.
func (e *KeyTextError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("malformed %s: %s", e.Noun, e.Problem)
	}
	return fmt.Sprintf("malformed %s: character %d %s", e.Noun, e.Position, e.Problem)
}

// Is reports whether target is ErrMalformedKey.
func (e *KeyTextError) Is(target error) bool { return target == ErrMalformedKey }

// fold returns the digit that the character c stands for in Crockford's base32,
// with O read as 0, and I and L as 1; ok is false for any other character.
func fold(c byte) (digit byte, ok bool) {
	d := foldTable[c]
	return d, d < 32
}

const (
	notInAlphabet = 0xFF
	separator     = 0xFE
)

// foldTable gives the digit of each byte, or separator, or notInAlphabet.
var foldTable = func() (t [256]byte) {
	for i := range t {
		t[i] = notInAlphabet
	}
	for i := range len(alphabet) {
		c := alphabet[i]
		t[c] = byte(i)
		if c >= 'A' {
			t[c|0x20] = byte(i)
		}
	}
	t['O'], t['o'] = 0, 0
	t['I'], t['i'], t['L'], t['l'] = 1, 1, 1, 1
	for _, c := range " \t\r\n-" {
		t[c] = separator
	}
	return t
}()

// trimText returns s without separators around it, and how many characters were
// cut from its front.
func trimText(s []byte) (trimmed []byte, cut int) {
	for len(s) > 0 && foldTable[s[0]] == separator {
		s, cut = s[1:], cut+1
	}
	for len(s) > 0 && foldTable[s[len(s)-1]] == separator {
		s = s[:len(s)-1]
	}
	return s, cut
}

func formatText(secret *[secretSize]byte, form *textForm) []byte {
	var raw [secretSize + checksumSize]byte
	defer clear(raw[:])
	copy(raw[:], secret[:])
	sum := checksum(secret, form)
	copy(raw[secretSize:], sum[:])

	out := append(make([]byte, 0, 80), form.prefix...)
	var acc uint32
	bits, n := 0, 0
	emit := func(digit uint32) {
		if n%groupSize == 0 {
			out = append(out, '-')
		}
		out = append(out, alphabet[digit&31])
		n++
	}
	for _, b := range raw {
		acc = acc<<8 | uint32(b)
		bits += 8
		for bits >= 5 {
			bits -= 5
			emit(acc >> bits)
		}
	}
	emit(acc << (5 - bits))
	return out
}

// parseText reads text as form into secret, which is zero after an error.
func parseText(secret *[secretSize]byte, text []byte, form *textForm) error {
	trimmed, pos := trimText(text)
	if len(trimmed) > maxTextLen {
		return &KeyTextError{Noun: form.noun, Problem: "it is too long"}
	}
	var raw [secretSize + checksumSize]byte
	defer clear(raw[:])
	var acc uint32
	bits, n, filled := 0, 0, 0
	for _, c := range trimmed {
		if c&0xC0 != 0x80 { // not a continuation byte of UTF-8
			pos++
		}
		digit, ok := fold(c)
		switch {
		case !ok && foldTable[c] == separator:
			continue
		case n < len(form.prefix):
			if want, _ := fold(form.prefix[n]); !ok || digit != want {
				return &KeyTextError{Noun: form.noun, Problem: "it does not begin with " + form.prefix + "-"}
			}
			n++
			continue
		case !ok:
			return &KeyTextError{Noun: form.noun, Position: pos, Problem: "is not one of 0-9 and A-Z without I, L, O, U"}
		case n == len(form.prefix)+symbolCount:
			return &KeyTextError{Noun: form.noun, Position: pos, Problem: "is behind the end of the key"}
		}
		n++
		acc = acc<<5 | uint32(digit)
		bits += 5
		if bits >= 8 {
			bits -= 8
			raw[filled] = byte(acc >> bits)
			filled++
		}
		if n == len(form.prefix)+symbolCount && acc&(1<<bits-1) != 0 {
			return &KeyTextError{Noun: form.noun, Position: pos, Problem: "cannot be the last one of a key"}
		}
	}
	if n < len(form.prefix)+symbolCount {
		return &KeyTextError{Noun: form.noun, Problem: fmt.Sprintf("it has %d characters behind %s- where %d belong, spaces and dashes not counted",
			max(0, n-len(form.prefix)), form.prefix, symbolCount)}
	}
	copy(secret[:], raw[:])
	sum := checksum(secret, form)
	if subtle.ConstantTimeCompare(sum[:], raw[secretSize:]) != 1 {
		clear(secret[:])
		return &KeyTextError{Noun: form.noun, Problem: "its checksum is wrong, so a character was mistyped or two were swapped"}
	}
	return nil
}

// checksum is the first 4 bytes of SHA-256 over the form's label and the secret,
// each behind its length. It finds typing errors and reveals nothing useful of
// 256 random bits.
func checksum(secret *[secretSize]byte, form *textForm) [checksumSize]byte {
	var buf [96]byte
	defer clear(buf[:])
	b := cell.AppendPart(buf[:0], []byte(form.label))
	b = cell.AppendPart(b, secret[:])
	sum := sha256.Sum256(b)
	return [checksumSize]byte(sum[:])
}
