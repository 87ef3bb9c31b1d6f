package proxy

import (
	"bytes"
	"errors"
	"slices"

	"latchkey/keystore"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// errKeyLiteral is for a statement that holds a key where it would reach the backend.
var errKeyLiteral = newFault(codeNotUnderstood, "the statement holds an account key or a token, which must not reach the database; push a key with SET @latchkey")

// errInsecurePush is for a key on a connection that others can read.
var errInsecurePush = newFault(codeInsecurePush, "a key must not be sent over a connection without TLS that leaves this machine; "+
	"turn TLS on in the client, or set allow_insecure_keys; consider the key as known to others")

// loggedIn starts the session of a login: its account's key goes on the keyring, then the key of the connection attribute,
// if one was sent.
func (x *executor) loggedIn(attribute []byte) error {
	x.keys.empty()
	x.raw = x.env.Accounts[x.user].Raw
	x.accountKey()
	x.facts = newFacts(x.database, serverVersion(x.version), x.multiStatements)
	x.diagnostics = diagnostics{}
	if err := x.reachable(x.database); err != nil {
		return err
	}
	if attribute == nil {
		return nil
	}
	key, err := x.openKey(attribute)
	if err != nil {
		return err
	}
	x.keys.replace(key)
	return nil
}

// loggedOut drops everything that belongs to the user who was logged in.
func (x *executor) loggedOut() {
	x.keys.empty()
	x.raw = false
	x.dropStatements()
	x.facts.markStale(true)
}

// accountKey puts the key of the login's account on the keyring.
func (x *executor) accountKey() {
	if key := x.env.Accounts[x.user].Key; key != nil && key.Retain() {
		x.keys.replace(key)
	}
}

// forgetKeys empties the keyring but for the account's own key.
func (x *executor) forgetKeys() {
	x.keys.empty()
	x.accountKey()
}

// expireKeys empties the keyring of a session that was idle for too long.
func (x *executor) expireKeys() {
	if x.env.KeyringIdle <= 0 {
		return
	}
	now := x.keys.now()
	if x.keys.ring.Len() > 0 && !x.ringUsed.IsZero() && now.Sub(x.ringUsed) > x.env.KeyringIdle {
		x.forgetKeys()
	}
	x.ringUsed = now
}

// revalidate looks up again the keys whose tokens were looked up longest ago, before a statement uses them.
func (x *executor) revalidate() error {
	if x.env.Vault == nil {
		return nil
	}
	gone, err := x.env.Vault.Revalidate(x.ctx, x.keys.ring)
	x.keys.revoked = x.keys.revoked || gone
	if err != nil {
		return x.keystoreFault(err)
	}
	return nil
}

// openToken opens a user key by a token.
func (s *session) openToken(text []byte) (*keystore.UserKey, error) {
	vault := s.server.config.Protection.Vault
	if vault == nil {
		return nil, newFault(codeMalformedKey, "a token was given, and this proxy has no keystore to open it with; push an account key, or see keystore in docs/config.md")
	}
	key, err := vault.OpenToken(s.server.base, text)
	if err != nil {
		return nil, s.keystoreFault(err)
	}
	return key, nil
}

// openKey makes a user key of the text of an account key or a token that came over the client's connection.
func (s *session) openKey(text []byte) (*keystore.UserKey, error) {
	env := s.server.config.Protection
	if !s.mayPush() {
		return nil, errInsecurePush
	}
	key, err := env.Cache.Open(text)
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, keystore.ErrToken):
		return s.openToken(text)
	case errors.Is(err, keystore.ErrMalformedKey):
		return nil, newFault(codeMalformedKey, "%s", err)
	}
	return nil, newFault(codeMalformedKey, "the key cannot be used")
}

// mayPush tells whether keys may come over the client's connection.
func (s *session) mayPush() bool { return s.secure() || s.server.config.Protection.AllowInsecureKeys }

// push is a key push that takes effect once its statement has succeeded. A nil push does nothing.
type push struct {
	key *keystore.UserKey // nil empties the keyring
}

// openPush reads the key that a statement pushes; nil when it pushes none.
func (x *executor) openPush(j *job) (*push, error) {
	if j.plan.Push == nil {
		return nil, nil
	}
	v := secretValues(j.st, x.facts.conv.ClientCharset)
	token := j.plan.Push.Value.Token
	if j.plan.Push.Value.Kind != rewrite.ValueNull {
		token = j.st.Real(token)
	}
	return x.pushOf(v, &j.plan.Push.Value, token)
}

// pushOf reads the pushed value at a real token.
func (x *executor) pushOf(v *values, value *rewrite.Value, token int) (*push, error) {
	op, err := v.operand(value, token)
	defer func() { clear(v.buffer[:cap(v.buffer)]) }()
	if err != nil {
		return nil, errNoKeyText
	}
	if op.null {
		return &push{}, nil
	}
	text, err := keyText(op)
	if err != nil {
		return nil, err
	}
	key, err := x.openKey(text)
	if err != nil {
		return nil, err
	}
	return &push{key: key}, nil
}

// errNoKeyText is for something other than text in place of a key.
var errNoKeyText = newFault(codeMalformedKey, "a key is pushed as a string: SET @latchkey = 'LK1-...', or NULL to empty the keyring")

// keyText gives the text of a value that has to be a key.
func keyText(op operand) ([]byte, error) {
	switch op.in.Kind {
	case logical.InputString, logical.InputHexString, logical.InputWireBytes:
		return op.in.Bytes, nil
	}
	return nil, errNoKeyText
}

// apply replaces the keyring.
func (p *push) apply(x *executor) {
	if p == nil {
		return
	}
	if p.key == nil {
		x.keys.empty()
		return
	}
	x.keys.replace(p.key)
	p.key = nil
}

// drop gives up a key that was not applied.
func (p *push) drop() {
	if p != nil && p.key != nil {
		p.key.Release()
		p.key = nil
	}
}

// The shortest and longest literal, quotes and escapes included, that can hold a key or a token.
const (
	minKeyLiteral = 20
	maxKeyLiteral = 8192
)

// checkLiterals refuses a statement of which a literal is a key: it would be stored or logged by the backend. The key of a
// push never gets there.
func (x *executor) checkLiterals(st *rewrite.Statement, plan *rewrite.Plan) error {
	if plan.Class == rewrite.Local {
		return nil
	}
	pushed := -1
	if plan.Push != nil && plan.Push.Value.Kind == rewrite.ValueLiteral {
		pushed = st.Real(plan.Push.Value.Token)
	}
	for i := range st.Tokens() {
		t := st.Token(i)
		if !t.Kind.IsLiteral() || t.Kind.IsNumber() || i == pushed {
			continue
		}
		length := int(t.End - t.Start)
		if next := st.Token(i + 1); next.Kind == rewrite.TokString {
			length = minKeyLiteral // adjacent strings are one
		}
		if length < minKeyLiteral || length > maxKeyLiteral {
			continue
		}
		// No literal is longer than its text, and room for all of it leaves no copies behind.
		lit, err := st.AppendLiteral(slices.Grow(x.scratch.literal[:0], literalLen(st, i)), i)
		if err != nil {
			continue
		}
		x.scratch.literal = lit.Bytes[:0]
		if looksLikeSecret(lit.Bytes) {
			clear(lit.Bytes)
			return errKeyLiteral
		}
	}
	return nil
}

// literalLen is how long the text of the literal at token i is, with the strings behind it that are part of it.
func literalLen(st *rewrite.Statement, i int) int {
	start := st.Token(i).Start
	for st.Token(i+1).Kind == rewrite.TokString {
		i++
	}
	return int(st.Token(i).End - start)
}

// checkNames refuses a statement of which a name, a comment or anything else but a literal is a key. The bytes from..to of
// the packet are those that would be forwarded for it.
func checkNames(st *rewrite.Statement, from, to int) error {
	text := st.SQL()
	for i := range st.Tokens() {
		if t := st.Token(i); t.Kind.IsLiteral() {
			if start := int(t.Start); start > from && mentionsKey(text[from:start]) {
				return errKeyLiteral
			}
			from = max(from, int(t.End))
		}
	}
	if from < to && mentionsKey(text[from:to]) {
		return errKeyLiteral
	}
	return nil
}

// mentionsKey is holdsKey behind a quick look for what every printed key and token begins with.
func mentionsKey(text []byte) bool {
	for i := 0; i+minKeyLiteral <= len(text); i++ {
		if text[i]|0x20 == 'l' && text[i+1]|0x20 == 'k' {
			return holdsKey(text)
		}
	}
	return false
}

// looksLikeSecret tells whether a value is an account key, a fleet secret or a token, or one of them mistyped.
func looksLikeSecret(b []byte) bool {
	return keystore.LooksLikeKey(b) || keystore.LooksLikeToken(b)
}

// holdsKeyText tells whether a key or a token, as it is printed, stands anywhere in a text that cannot be cut into tokens.
func holdsKeyText(text []byte) bool {
	upper := bytes.ToUpper(text)
	defer clear(upper)
	return bytes.Contains(upper, []byte("LK1-")) || bytes.Contains(upper, []byte("LKT1-"))
}

// holdsKey tells whether a key or a token stands anywhere in text or among binary values, as a word of letters, digits,
// dashes and underscores. The length in front of a binary value may look like the word's first character.
func holdsKey(text []byte) bool {
	for at := 0; at < len(text); at++ {
		start := at
		for at < len(text) && isKeyByte(text[at]) {
			at++
		}
		if word := text[start:at]; len(word) >= minKeyLiteral && (looksLikeSecret(word) || looksLikeSecret(word[1:])) {
			return true
		}
	}
	return false
}

func isKeyByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_'
}
