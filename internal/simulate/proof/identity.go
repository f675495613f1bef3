package proof

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// serverName is the name in the certificate of TLS targets.
const serverName = "localhost"

// identity is the certificate of TLS targets, made for one run. Read-only.
type identity struct {
	pair tls.Certificate
	file string // path of the certificate, which is its own CA
}

// newIdentity makes an identity and writes its certificate into dir.
func newIdentity(dir string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "linesplit proof"},
		DNSNames:     []string{serverName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return identity{}, fmt.Errorf("make a certificate: %w", err)
	}
	id := identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, filepath.Join(dir, "ca.pem")}
	return id, os.WriteFile(id.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// server returns the configuration of a target that speaks one version of TLS. It sends session
// tickets, as most receivers do.
func (id identity) server(version uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{id.pair}, MinVersion: version, MaxVersion: version}
}
