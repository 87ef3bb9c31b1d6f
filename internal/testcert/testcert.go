// Package testcert makes certificates for tests: an authority of its own per
// test, ECDSA P-256, valid for a day. Nothing of it is meant for production.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates into one directory.
type Authority struct {
	Dir      string // holds every file; belongs to the caller
	CertFile string // the authority's certificate, PEM

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is an issued certificate with its key.
type Pair struct {
	CertFile string // PEM
	KeyFile  string // PEM, PKCS #8, mode 0600
	TLS      tls.Certificate
}

// New makes an authority in a directory that the test removes.
func New(tb testing.TB) *Authority {
	tb.Helper()
	a, err := NewAuthority(tb.TempDir())
	if err != nil {
		tb.Fatalf("make a certificate authority: %v", err)
	}
	return a
}

// NewAuthority makes an authority whose files lie in dir.
func NewAuthority(dir string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &Authority{Dir: dir, CertFile: filepath.Join(dir, "ca.pem"), key: key}
	template := newTemplate("Latchkey test authority")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, writePEM(a.CertFile, "CERTIFICATE", der)
}

// Issue makes a certificate for a server or client: name becomes the common name
// and the base of the file names, hosts are DNS names and IP addresses.
func (a *Authority) Issue(name string, hosts ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template := newTemplate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	pair := Pair{CertFile: filepath.Join(a.Dir, name+".pem"), KeyFile: filepath.Join(a.Dir, name+".key")}
	if err := writePEM(pair.CertFile, "CERTIFICATE", der); err != nil {
		return Pair{}, err
	}
	if err := writePEM(pair.KeyFile, "PRIVATE KEY", keyDER); err != nil {
		return Pair{}, err
	}
	pair.TLS, err = tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	return pair, err
}

// Pool returns a pool that trusts only this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func newTemplate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("internal error: no randomness: " + err.Error())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		// An hour back, for clients whose clock is a little behind.
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour),
	}
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
