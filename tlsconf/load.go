package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"linesplit/internal/regfile"
)

// maxPEM is the size of the largest file that this package reads, in bytes. A bundle of all public
// authorities has a quarter of a megabyte; revocation lists may be larger.
const maxPEM = 16 << 20

// loadPair reads the certificate and the key of one side ("server", "target") and checks that they
// belong together.
func loadPair(side, certFile, keyFile string) (tls.Certificate, error) {
	certSource := source{CertFile, side + " certificate", certFile}
	keySource := source{KeyFile, side + " key", keyFile}
	if err := checkPair(certSource, keySource); err != nil {
		return tls.Certificate{}, err
	}
	certs, certErr := readCertificates(certSource)
	key, keyErr := readKey(keySource)
	if err := errors.Join(certErr, keyErr); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(encode(certs), key)
	if err == nil {
		return pair, nil
	}
	for i := 1; i < len(certs); i++ {
		if _, err := tls.X509KeyPair(encode(certs[i:i+1]), key); err == nil {
			return tls.Certificate{}, certSource.fault("the key %s belongs to certificate %d of the file: "+
				"put that one first and its issuers after it", keyFile, i+1)
		}
	}
	return tls.Certificate{}, keySource.fault("not usable with the certificate %s: %w", certFile, err)
}

// authorities are the certificates of a file of authorities.
type authorities struct {
	all  []*x509.Certificate
	pool *x509.CertPool
	last *x509.Certificate // the certificate that expires last
}

// loadAuthorities reads a file of authorities. It refuses a revocation list among them, which would
// have no effect; hint tells the user what to do with the list.
func loadAuthorities(from source, hint string) (a authorities, err error) {
	blocks, err := readPEM(from)
	if err != nil {
		return a, err
	}
	if slices.ContainsFunc(blocks, func(b *pem.Block) bool { return b.Type == pemCRL }) {
		return a, from.fault("holds a revocation list, which has no effect here: %s", hint)
	}
	a.all, err = certificatesIn(from, blocks)
	if err != nil {
		return a, err
	}
	a.pool = x509.NewCertPool()
	for _, c := range a.all {
		a.pool.AddCert(c)
		if a.last == nil || c.NotAfter.After(a.last.NotAfter) {
			a.last = c
		}
	}
	return a, nil
}

// readCertificates returns the certificates of a file, at least one, and ignores other PEM blocks.
func readCertificates(from source) ([]*x509.Certificate, error) {
	blocks, err := readPEM(from)
	if err != nil {
		return nil, err
	}
	return certificatesIn(from, blocks)
}

// certificatesIn returns the certificates among the blocks of a file, at least one.
func certificatesIn(from source, blocks []*pem.Block) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, from.fault("certificate %d of the file: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, from.fault("holds %s, not a certificate", describe(blocks[0]))
	}
	return certs, nil
}

// readKey returns the first private key of a file as a PEM block.
func readKey(from source) ([]byte, error) {
	blocks, err := readPEM(from)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if !isKey(b) {
			continue
		}
		if isEncrypted(b) {
			return nil, from.fault("the key is encrypted, which is not supported: " +
				"decrypt it with openssl pkey -in FILE -out NEWFILE")
		}
		return pem.EncodeToMemory(b), nil
	}
	return nil, from.fault("holds %s, not a private key", describe(blocks[0]))
}

// readPEM returns the PEM blocks of a file, at least one.
func readPEM(from source) ([]*pem.Block, error) {
	data, _, err := regfile.Read(from.name, maxPEM)
	if err != nil {
		return nil, from.fault("%w", err)
	}
	var blocks []*pem.Block
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		return nil, from.fault("%s", notPEM(data))
	}
	return blocks, nil
}

// notPEM returns the fault of a file without a complete PEM block.
func notPEM(data []byte) string {
	const asn1Sequence = 0x30 // the first byte of every DER certificate and key
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return "the file is empty"
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return "not PEM: it begins like PEM, but no block is complete"
	case data[0] == asn1Sequence:
		return "not PEM: it looks like DER: convert it with openssl"
	default:
		return "not PEM: no line begins with -----BEGIN"
	}
}

// describe returns what a PEM block holds, in words.
func describe(b *pem.Block) string {
	switch {
	case b.Type == "CERTIFICATE":
		return "a certificate"
	case b.Type == pemCRL:
		return "a revocation list"
	case b.Type == "CERTIFICATE REQUEST":
		return "a certificate request"
	case isKey(b):
		return "a private key"
	default:
		return fmt.Sprintf("a PEM block of type %q", b.Type)
	}
}

func isKey(b *pem.Block) bool {
	return b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY")
}

func isEncrypted(b *pem.Block) bool {
	return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
}

// encode returns the certificates in PEM.
func encode(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
