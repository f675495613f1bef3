package tlsconf

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
)

// ServerFiles are the files and settings of the accepting side.
type ServerFiles struct {
	Cert, Key  string       // PEM: the certificate with its chain, and its key; both required; may be one file
	More       []Pair       // further certificates, for clients that ask for their names
	ClientCA   string       // PEM: authorities for certificates of clients; empty: clients need none
	ClientCRL  string       // PEM: revocation lists for certificates of clients; empty for none; needs ClientCA
	MinVersion uint16       // tls.VersionTLS12 or tls.VersionTLS13; 0 means TLS 1.2
	Logger     *slog.Logger // of reloads and expiring certificates; nil discards
}

// Pair names the file of a certificate with its chain, and that of its key, both PEM. One file may
// hold both.
type Pair struct{ Cert, Key string }

func (f *ServerFiles) pairs() []Pair { return append([]Pair{{f.Cert, f.Key}}, f.More...) }

// names returns the names of all files; some may be empty.
func (f *ServerFiles) names() (all []string) {
	for _, p := range f.pairs() {
		all = append(all, p.Cert, p.Key)
	}
	return append(all, f.ClientCA, f.ClientCRL)
}

// Server makes configurations for the accepting side. Its methods are safe for concurrent use.
type Server struct {
	files   *reloader
	version uint16
}

// NewServer reads all the files. Its error joins all faults; see FileErrors.
func NewServer(f ServerFiles) (*Server, error) {
	version, err := minVersion(f.MinVersion)
	if err != nil {
		return nil, err
	}
	files, err := newReloader("server", orDiscard(f.Logger), f.names(), func(before *material) (*material, error) {
		return loadServer(f, version, before)
	})
	if err != nil {
		return nil, err
	}
	return &Server{files: files, version: version}, nil
}

// Config returns a configuration for accepting connections. It stays valid for the life of the
// process: each handshake uses the present contents of the files. Callers must not change it.
func (s *Server) Config() *tls.Config {
	return &tls.Config{
		MinVersion:             s.version,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.files.config(), nil
		},
	}
}

// loadServer reads all files. For each pair that does not load, and for the files about clients, it
// keeps what before has, so that a broken pair does not keep others from being renewed. before is
// nil at the first load.
func loadServer(f ServerFiles, version uint16, before *material) (*material, error) {
	m := &material{config: &tls.Config{
		MinVersion: version,
		// A sender that only writes never reads the session tickets that crypto/tls would send
		// after the handshake. When it closes, its kernel finds them unread and sends a reset, and
		// then our kernel discards the bytes that have arrived and are not read yet.
		SessionTicketsDisabled: true,
	}}
	var errs []error
	for i, files := range f.pairs() {
		pair, err := loadPair("server", files.Cert, files.Key)
		errs = append(errs, err)
		switch {
		case before == nil:
		case err != nil:
			pair = before.config.Certificates[i]
		case !bytes.Equal(pair.Leaf.Raw, before.config.Certificates[i].Leaf.Raw):
			m.renewed = append(m.renewed, files.Cert, files.Key)
		}
		m.config.Certificates = append(m.config.Certificates, pair)
		m.addCert("server certificate", files.Cert, pair.Leaf)
	}
	if len(f.More) > 0 {
		m.config.GetCertificate = newChoice(m.config.Certificates).certificate
	}
	trust, err := loadClientTrust(f)
	if err != nil && before != nil {
		trust = before.clients
	}
	m.trust(f, trust)
	return m, errors.Join(append(errs, err)...)
}

// clientTrust judges the certificates of clients.
type clientTrust struct {
	cas     authorities
	revoked *revocations // nil: no lists
}

// loadClientTrust reads the files about clients. It returns nil if clients need no certificate.
func loadClientTrust(f ServerFiles) (*clientTrust, error) {
	if f.ClientCA == "" {
		return nil, nil
	}
	cas, casErr := loadAuthorities(source{CAFile, "client CA", f.ClientCA}, "give it as the clients' revocation list (-tls-client-crl, or -admin-tls-client-crl)")
	if f.ClientCRL == "" {
		return &clientTrust{cas: cas}, casErr
	}
	revoked, crlErr := loadCRL(source{CRLFile, "client CRL", f.ClientCRL}, cas.all)
	return &clientTrust{cas: cas, revoked: revoked}, errors.Join(casErr, crlErr)
}

// trust sets how the configuration judges the certificates of clients. If t is nil, clients need no
// certificate.
func (m *material) trust(f ServerFiles, t *clientTrust) {
	m.clients = t
	if t == nil {
		return
	}
	m.config.ClientCAs = t.cas.pool
	m.config.ClientAuth = tls.RequireAndVerifyClientCert
	m.addCert("client CA", f.ClientCA, t.cas.last)
	if t.revoked != nil {
		m.config.VerifyConnection = t.revoked.verify
		m.addLists("client CRL", f.ClientCRL, t.revoked)
	}
}
