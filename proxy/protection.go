package proxy

import (
	"cmp"
	"time"

	"latchkey/keystore"
	"latchkey/proxy/evaluator"
)

// Protection is what a Server needs to protect columns. All of it is shared by the sessions and must stay usable as long as
// the Server runs.
type Protection struct {
	// Schema gives the backend's schema and the plans. Its Run must be running.
	Schema *SchemaLoader
	// Evaluator finishes what MariaDB must finish on plaintext; nil or switched off for none. Schema starts it.
	Evaluator *evaluator.Evaluator
	// SchemaMAC makes the MAC of an annotation's body; nil when there is no fleet secret, and then no column is declared
	// protected through the proxy.
	SchemaMAC func(body []byte) []byte
	// MaxRows and MaxBytes bound what one statement may open for the evaluator: rows, and bytes of plaintext. 0 means 200,000
	// and 64 MiB. All statements together may open as many bytes as eight of them.
	MaxRows  int
	MaxBytes int64
	// MaxTime bounds how long such a statement may take, its answer included. 0 means five minutes.
	MaxTime time.Duration
	// Services are the service keys.
	Services *keystore.ServiceKeys
	// Cache opens the account keys that clients push.
	Cache *keystore.Cache
	// Vault has the keys of owners who unlock by password or token; nil when there is no fleet secret.
	Vault *keystore.Vault
	// KeyAccounts are the logins that may enroll, unlock, recover and register owners, Admins those that may act for any owner.
	KeyAccounts, Admins []string
	// Accounts are the logins that cannot push a key, by login name.
	Accounts map[string]Account
	// AllowInsecureKeys accepts keys over connections that are neither TLS nor from this machine.
	AllowInsecureKeys bool
	// KeyringIdle empties the keyring of a session that sent no statement for so long; 0 is never.
	KeyringIdle time.Duration
	// Conversion says how the rows of owners who have unlocked are converted in the background; nil does not.
	Conversion *ConversionConfig
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// plaintext is what was read of columns that are being converted.
	plaintext plaintextWatch
	// loaded is what the statements of all sessions have open in the evaluator.
	loaded budget
}

// Account is a login that cannot push a key.
type Account struct {
	// Raw lets the login see cells and the physical schema: its statements pass as they are.
	Raw bool
	// Key is on the login's keyring from the beginning; nil for none. The Server retains it while it is in use.
	Key *keystore.UserKey
}

// maxRows is MaxRows or its default.
func (p *Protection) maxRows() int { return cmp.Or(p.MaxRows, defaultMaxRows) }

func (p *Protection) now() func() time.Time {
	if p.Now != nil {
		return p.Now
	}
	return time.Now
}
