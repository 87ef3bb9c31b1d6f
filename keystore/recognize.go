package keystore

// Recognition of secrets in what a client sends, so that none is forwarded by
// mistake. It is meant to see typing errors too: a key with one wrong character
// gives the key away all the same.

// How far from the right number of characters a text with the right prefix may
// be and still count as a mistyped key.
const typoSlack = 8

// LooksLikeKey reports whether s is an account key or a fleet secret as text,
// forgiving what ParseAccountKey forgives, or one of them with typing errors
// behind the prefix. It does not allocate.
func LooksLikeKey(s []byte) bool {
	s, _ = trimText(s)
	if len(s) < len(prefixAccount)+symbolCount-typoSlack || len(s) > maxTextLen {
		return false
	}
	// Cheap: nearly every text ends here.
	if d, ok := fold(s[0]); !ok || d != 1 {
		return false
	}
	return looksLike(s, &accountText) || looksLike(s, &fleetText)
}

// looksLike does what LooksLikeKey says for one form. The prefix as it is
// printed is enough; where it is only a folded one (IKI begins sentences in some
// languages) the whole text must parse.
func looksLike(s []byte, form *textForm) bool {
	exact := true
	n := 0
	for _, c := range s {
		digit, ok := fold(c)
		if !ok && foldTable[c] == separator {
			continue
		}
		if n < len(form.prefix) {
			if want, _ := fold(form.prefix[n]); !ok || digit != want {
				return false
			}
			exact = exact && upper(c) == form.prefix[n]
		} else if !alphanumeric(c) {
			return false
		}
		n++
	}
	n -= len(form.prefix)
	if n < symbolCount-typoSlack || n > symbolCount+typoSlack {
		return false
	}
	return exact || parses(s, form)
}

func parses(s []byte, form *textForm) bool {
	var secret [secretSize]byte
	defer clear(secret[:])
	return parseText(&secret, s, form) == nil
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func alphanumeric(c byte) bool {
	u := upper(c)
	return u >= 'A' && u <= 'Z' || c >= '0' && c <= '9'
}

const (
	prefixToken = "LKT1"
	// Bounds of what follows the prefix: shorter is no secret, longer no token.
	minTokenLen = 20
	maxTokenLen = 1024
)

// LooksLikeToken reports whether s is a token as text: "LKT1-" in any case and
// base64url behind it, with nothing but white space around. It does not
// allocate.
func LooksLikeToken(s []byte) bool {
	s, _ = trimText(s)
	if len(s) < len(prefixToken)+minTokenLen {
		return false
	}
	for i := range len(prefixToken) {
		if upper(s[i]) != prefixToken[i] {
			return false
		}
	}
	s = s[len(prefixToken):]
	if s[0] == '-' {
		s = s[1:]
	}
	if len(s) < minTokenLen || len(s) > maxTokenLen {
		return false
	}
	for _, c := range s {
		if !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
