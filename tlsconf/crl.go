package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

const (
	pemCRL   = "X509 CRL"  // type of the PEM block of a revocation list
	oidDelta = "2.5.29.27" // extension of a delta list, which has the changes to another list
)

// revocations has the revocation lists of one file.
type revocations struct {
	lists []revocationList
}

// revocationList is a revocation list with an index.
type revocationList struct {
	*x509.RevocationList
	serials map[string]struct{} // serial numbers of the revoked certificates, as big-endian bytes
}

// loadCRL reads a file of revocation lists. It checks the signatures of lists that one of the given
// authorities has issued. Other lists may belong to authorities that clients send along; verify
// checks those.
func loadCRL(from source, authorities []*x509.Certificate) (*revocations, error) {
	blocks, err := readPEM(from)
	if err != nil {
		return nil, err
	}
	r := new(revocations)
	for i, b := range blocks {
		if b.Type != pemCRL {
			return nil, from.fault("holds %s, not a revocation list", describe(b))
		}
		list, err := parseCRL(b.Bytes, authorities)
		if err != nil {
			return nil, from.fault("list %d of the file: %w", i+1, err)
		}
		r.lists = append(r.lists, list)
	}
	return r, nil
}

// parseCRL reads one list.
func parseCRL(der []byte, authorities []*x509.Certificate) (revocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return revocationList{}, err
	}
	for _, e := range list.Extensions {
		if e.Id.String() == oidDelta {
			return revocationList{}, errors.New("it is a delta list, which is not supported: give the whole list")
		}
	}
	known, signed := false, false
	for _, ca := range authorities {
		if bytes.Equal(ca.RawSubject, list.RawIssuer) {
			known = true
			signed = signed || list.CheckSignatureFrom(ca) == nil
		}
	}
	if known && !signed {
		return revocationList{}, fmt.Errorf("not signed by %s, which it names", list.Issuer)
	}
	serials := make(map[string]struct{}, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		serials[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	return revocationList{list, serials}, nil
}

// verify is a tls.Config.VerifyConnection. It accepts a client if verifyChain accepts one of its
// chains of certificates.
func (r *revocations) verify(state tls.ConnectionState) error {
	err := errors.New("the client has no chain of certificates")
	for _, chain := range state.VerifiedChains {
		if err = r.verifyChain(chain); err == nil {
			return nil
		}
	}
	return revocationError{err}
}

// revocationError is the error of verify.
type revocationError struct{ error }

// verifyChain returns an error if a certificate of the chain is revoked, or if there is no list of
// its issuer. It does not check the last certificate, which has issued itself.
func (r *revocations) verifyChain(chain []*x509.Certificate) error {
	for i, cert := range chain[:max(0, len(chain)-1)] {
		listed := false
		for _, list := range r.lists {
			if !bytes.Equal(list.RawIssuer, cert.RawIssuer) || list.CheckSignatureFrom(chain[i+1]) != nil {
				continue
			}
			listed = true
			if _, revoked := list.serials[string(cert.SerialNumber.Bytes())]; revoked {
				return fmt.Errorf("the client's certificate is revoked: subject %s, serial number %x", cert.Subject, cert.SerialNumber)
			}
		}
		if !listed {
			return fmt.Errorf("no revocation list of %s, which has issued the client's certificate", cert.Issuer)
		}
	}
	return nil
}
