// Package testcert makes certificates for tests: an authority, pairs that it has signed, and pairs
// that are wrong in one way each. All keys are ECDSA P-256, so that making a whole set takes a few
// milliseconds. Nothing here is safe for use outside tests.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TB is the part of testing.TB that New needs, so that this package does not import testing.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Files are the paths of one set on disk. The server pairs are valid for 127.0.0.1, ::1 and
// localhost.
type Files struct {
	CA      string // certificate of the authority that signed every pair below except the stranger's
	OtherCA string // certificate of the authority that signed only the stranger's pair

	ServerCert, ServerKey     string
	ClientCert, ClientKey     string
	ExpiredCert, ExpiredKey   string // server and client pair that expired an hour ago
	StrangerCert, StrangerKey string // server and client pair signed by OtherCA
	MismatchedKey             string // a valid key that belongs to none of the certificates

	Authority *Authority // issues more pairs, for tests of reloading
}

// New makes a set for a test and writes it into dir, which must exist; any error ends the test.
func New(t TB, dir string) Files {
	t.Helper()
	f, err := Write(dir)
	if err != nil {
		t.Fatalf("test certificates: %v", err)
	}
	return f
}

// Write makes a set and writes it into dir, which must exist.
func Write(dir string) (Files, error) {
	ca, err := NewAuthority("linesplit test CA")
	if err != nil {
		return Files{}, err
	}
	other, err := NewAuthority("linesplit other test CA")
	if err != nil {
		return Files{}, err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	f := Files{
		CA: path("ca.pem"), OtherCA: path("other-ca.pem"),
		ServerCert: path("server.pem"), ServerKey: path("server.key"),
		ClientCert: path("client.pem"), ClientKey: path("client.key"),
		ExpiredCert: path("expired.pem"), ExpiredKey: path("expired.key"),
		StrangerCert: path("stranger.pem"), StrangerKey: path("stranger.key"),
		MismatchedKey: path("mismatched.key"),
		Authority:     ca,
	}
	now := time.Now()
	return f, errors.Join(
		os.WriteFile(f.CA, ca.CertPEM(), 0o644),
		os.WriteFile(f.OtherCA, other.CertPEM(), 0o644),
		ca.WritePair(f.ServerCert, f.ServerKey, Options{Name: "server"}),
		ca.WritePair(f.ClientCert, f.ClientKey, Options{Name: "client"}),
		ca.WritePair(f.ExpiredCert, f.ExpiredKey, Options{Name: "expired",
			NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(-time.Hour)}),
		other.WritePair(f.StrangerCert, f.StrangerKey, Options{Name: "stranger"}),
		writeLoneKey(f.MismatchedKey),
	)
}

func writeLoneKey(path string) error {
	_, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	return os.WriteFile(path, keyPEM, 0o600)
}

// ServerTLS returns a plain server configuration for tests that need TLS without tlsconf. Session
// tickets are off, as a receiver of a client that only writes needs them to be. It panics if it
// cannot read the files.
func (f Files) ServerTLS() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{mustPair(f.ServerCert, f.ServerKey)},
		SessionTicketsDisabled: true,
	}
}

// ClientTLS returns a client configuration that trusts CA, presents the client pair on request, and
// expects the name localhost. It panics if it cannot read the files.
func (f Files) ClientTLS() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{mustPair(f.ClientCert, f.ClientKey)},
		RootCAs:      f.Pool(),
		ServerName:   "localhost",
	}
}

// Pool returns CA as a pool. It panics if it cannot read the file.
func (f Files) Pool() *x509.CertPool {
	data, err := os.ReadFile(f.CA)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool
}

func mustPair(cert, key string) tls.Certificate {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		panic(err)
	}
	return pair
}

// Authority signs certificates. Its methods are safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that is valid for the next ten years.
func NewAuthority(name string) (*Authority, error) {
	key, _, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-1, 0, 0),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert: cert, key: key}, err
}

// CertPEM returns the authority's own certificate.
func (a *Authority) CertPEM() []byte { return certPEM(a.cert.Raw) }

// Revoke returns a revocation list in PEM that names certificates, which it takes in PEM. The list
// is valid until a time; zero means for a week.
func (a *Authority) Revoke(until time.Time, certs ...[]byte) ([]byte, error) {
	if until.IsZero() {
		until = time.Now().AddDate(0, 0, 7)
	}
	list := &x509.RevocationList{
		Number: serial(), ThisUpdate: until.AddDate(0, 0, -8), NextUpdate: until,
	}
	for _, cert := range certs {
		block, _ := pem.Decode(cert)
		if block == nil {
			return nil, errors.New("revoke: no PEM")
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("revoke: %w", err)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: parsed.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("revoke: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

// Options are the contents of a certificate. The zero value is valid for server and client on this
// machine for a year.
type Options struct {
	Name                string    // common name; empty means "test"
	Hosts               []string  // names and addresses; empty means 127.0.0.1, ::1 and localhost
	NotBefore, NotAfter time.Time // zero means an hour ago and in a year
}

// Issue signs a new pair and returns both halves in PEM.
func (a *Authority) Issue(o Options) (cert, key []byte, err error) {
	private, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, o.template(), a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(der), keyPEM, nil
}

// WritePair issues a pair and replaces both files, one after the other, each atomically by a
// rename.
func (a *Authority) WritePair(certFile, keyFile string, o Options) error {
	cert, key, err := a.Issue(o)
	if err != nil {
		return err
	}
	return errors.Join(Replace(certFile, cert), Replace(keyFile, key))
}

func (o Options) template() *x509.Certificate {
	if o.Name == "" {
		o.Name = "test"
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"127.0.0.1", "::1", "localhost"}
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	c := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: o.Name},
		NotBefore:    o.NotBefore,
		NotAfter:     o.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range o.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	return c
}

// Replace replaces a file atomically: it writes a new file beside it, with mode 0600, and renames
// that over the old one.
func Replace(path string, data []byte) error {
	beside := fmt.Sprintf("%s.%d.tmp", path, serial())
	if err := os.WriteFile(beside, data, 0o600); err != nil {
		return err
	}
	return os.Rename(beside, path)
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n.Add(n, big.NewInt(1))
}
