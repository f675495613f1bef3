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

// serverName is what the certificate of targets that speak TLS is for.
const serverName = "localhost"

// identity is what targets that speak TLS show, made for one run. Read-only.
type identity struct {
	pair tls.Certificate
	file string // of the certificate, which is its own authority
}

// newIdentity writes the certificate into dir.
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

// server returns what a target speaks, in one version of TLS. It sends session tickets, as most receivers do.
func (id identity) server(version uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{id.pair}, MinVersion: version, MaxVersion: version}
}
