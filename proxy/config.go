package proxy

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config configures a Server. The zero value of every field but Backend.Address is usable.
type Config struct {
	Listen  ListenConfig
	Backend BackendConfig
	Limits  Limits

	// Protection is what columns are protected with. nil protects nothing: the Server is then a relay.
	Protection *Protection

	// Version is shown by the admin endpoint; empty means "unknown".
	Version string
	// Logger gets one record for everything an operator has to know and, at level debug, one for each
	// session. nil means no log.
	Logger *slog.Logger
	// Registry receives the metrics and is what the admin endpoint serves; nil means a new one. Two
	// servers need two registries.
	Registry *prometheus.Registry
}

// ListenConfig is about the connections of clients.
type ListenConfig struct {
	TLS ListenTLS
	// ProxyNetworks lists who may send a PROXY protocol header (version 1 or 2). From everybody else
	// such a header is a malformed handshake. Empty means nobody.
	ProxyNetworks []netip.Prefix
}

// ListenTLS is the TLS that clients are offered. Without Cert there is none.
type ListenTLS struct {
	// Cert and Key are the paths of PEM files; both or none.
	Cert, Key string
	// ClientCA is the path of a PEM file with the authorities of client certificates. A client that
	// presents a certificate must then have it from one of them; a client without is accepted.
	ClientCA string
	// Require refuses clients that do not use TLS.
	Require bool
}

// BackendConfig is about the connections to MariaDB.
type BackendConfig struct {
	// Address is host:port. There is no default, and no way to name a unix socket: over one, MariaDB
	// would take every client for the user the proxy runs as.
	Address string
	TLS     BackendTLS
}

// BackendTLSMode says whether TLS is used towards the backend and how its certificate is checked.
type BackendTLSMode string

// Modes. There is none that uses TLS without a check.
const (
	BackendTLSOff         BackendTLSMode = "off"
	BackendTLSVerify      BackendTLSMode = "verify"      // chain and host name
	BackendTLSFingerprint BackendTLSMode = "fingerprint" // SHA-256 of the certificate
)

// BackendTLS is the TLS between proxy and backend. The zero value is off.
type BackendTLS struct {
	// Mode is BackendTLSOff when empty.
	Mode BackendTLSMode
	// CA is the path of a PEM file with the authorities to trust, for BackendTLSVerify; empty means
	// those of the system.
	CA string
	// Fingerprint is the SHA-256 of the backend's certificate, for BackendTLSFingerprint: 64
	// hexadecimal digits, colons between the bytes allowed.
	Fingerprint string
	// Cert and Key are the paths of PEM files with the proxy's own certificate; both or none.
	Cert, Key string
}

// Limits bound what a peer can make the proxy do. Zero means the default named at each field.
type Limits struct {
	// MaxPacket is the largest request, and the largest row that has to be looked at, in bytes.
	// Default 1 GiB, the largest max_allowed_packet of MariaDB: the backend's own limit then decides.
	MaxPacket int
	// Handshake is how long a client has from connecting to being logged in. Default 10 s, as
	// MariaDB's connect_timeout.
	Handshake time.Duration
	// Dial is how long connecting to the backend may take. Default 5 s.
	Dial time.Duration
	// PreAuth is how many sessions may be between connecting and being logged in. Default 512.
	PreAuth int
	// Sessions is how many sessions there may be. Default no limit: the backend's max_connections
	// decides.
	Sessions int
	// Sweep is how often idle sessions are searched for a peer that has gone. Default 2 s.
	Sweep time.Duration
}

// withDefaults returns the limits with every default filled in.
func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxPacket, 1<<30)
	setDefault(&l.Handshake, 10*time.Second)
	setDefault(&l.Dial, 5*time.Second)
	setDefault(&l.PreAuth, 512)
	setDefault(&l.Sweep, 2*time.Second)
	return l
}

func setDefault[T ~int | ~int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}
