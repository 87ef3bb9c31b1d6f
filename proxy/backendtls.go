package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// Config returns the TLS configuration for connections to address (host:port), or nil when TLS is
// off. Every problem with the files is reported here, not when the first client comes.
func (b BackendTLS) Config(address string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch b.Mode {
	case "", BackendTLSOff:
		return nil, nil
	case BackendTLSVerify:
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("backend address: %w", err)
		}
		config.ServerName = host
		if b.CA != "" {
			if config.RootCAs, err = readPool(b.CA); err != nil {
				return nil, fmt.Errorf("backend CA: %w", err)
			}
		}
	case BackendTLSFingerprint:
		want, err := parseFingerprint(b.Fingerprint)
		if err != nil {
			return nil, err
		}
		// The fingerprint replaces the check of chain and name: it names one certificate exactly.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if sha256.Sum256(state.PeerCertificates[0].Raw) != want {
				return errFingerprint
			}
			return nil
		}
	default:
		return nil, fmt.Errorf("backend TLS mode %q is not known", b.Mode)
	}
	if b.Cert != "" || b.Key != "" {
		pair, err := tls.LoadX509KeyPair(b.Cert, b.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate for the backend: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

var errFingerprint = errors.New("the backend's certificate does not have the configured fingerprint")

func parseFingerprint(s string) (sum [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("backend fingerprint: want the SHA-256 of a certificate as 64 hexadecimal digits")
	}
	return [sha256.Size]byte(b), nil
}

// Config returns the TLS configuration for clients, or nil when there is no certificate.
func (l ListenTLS) Config() (*tls.Config, error) {
	if l.Cert == "" && l.Key == "" {
		if l.Require || l.ClientCA != "" {
			return nil, errors.New("TLS for clients needs a certificate and a key")
		}
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate for clients: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if l.ClientCA != "" {
		if config.ClientCAs, err = readPool(l.ClientCA); err != nil {
			return nil, fmt.Errorf("client CA: %w", err)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}
