package tlsconf

import (
	"crypto/tls"
	"errors"
	"log/slog"
)

// ServerFiles are the files and settings of the accepting side.
type ServerFiles struct {
	Cert, Key  string       // PEM: the certificate with its chain, and its key; both required; may be one file
	ClientCA   string       // PEM: authorities that must have signed every client's certificate; empty: none needed
	ClientCRL  string       // PEM: lists of client certificates that are revoked; empty: none; needs ClientCA
	MinVersion uint16       // tls.VersionTLS12 or tls.VersionTLS13; 0 means TLS 1.2
	Logger     *slog.Logger // of reloads and expiring certificates; nil discards
}

// Server makes configurations for the accepting side. Its methods are safe for concurrent use.
type Server struct {
	files   *reloader
	version uint16
}

// NewServer reads all the files. Its error joins everything that is wrong with them.
func NewServer(f ServerFiles) (*Server, error) {
	version, err := minVersion(f.MinVersion)
	if err != nil {
		return nil, err
	}
	names := []string{f.Cert, f.Key, f.ClientCA, f.ClientCRL}
	files, err := newReloader("server", orDiscard(f.Logger), names, func() (*material, error) {
		return loadServer(f, version)
	})
	if err != nil {
		return nil, err
	}
	return &Server{files: files, version: version}, nil
}

// Config returns a configuration for accepting connections that stays valid for the life of the
// process: each handshake uses the present contents of the files. Callers share it and must not
// change it.
func (s *Server) Config() *tls.Config {
	return &tls.Config{
		MinVersion:             s.version,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.files.config(), nil
		},
	}
}

func loadServer(f ServerFiles, version uint16) (*material, error) {
	pair, pairErr := loadPair("server", f.Cert, f.Key)
	m := &material{config: &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   version,
		// A sender that only writes never reads the session tickets that we would send after the
		// handshake. When it closes, its kernel finds them unread and sends a reset, and our kernel
		// then discards what has arrived and is not yet read. So we send no tickets and nothing
		// else either.
		SessionTicketsDisabled: true,
	}}
	m.addCert("server certificate", f.Cert, pair.Leaf)
	if f.ClientCA == "" {
		return m, pairErr
	}

	cas, casErr := loadAuthorities(source{CAFile, "client CA", f.ClientCA}, "give it as the clients' revocation list (-tls-client-crl, or -admin-tls-client-crl)")
	m.config.ClientCAs = cas.pool
	m.config.ClientAuth = tls.RequireAndVerifyClientCert
	m.addCert("client CA", f.ClientCA, cas.last)
	if f.ClientCRL == "" {
		return m, errors.Join(pairErr, casErr)
	}

	revoked, crlErr := loadCRL(source{CRLFile, "client CRL", f.ClientCRL}, cas.all)
	if crlErr == nil {
		m.config.VerifyConnection = revoked.verify
		m.addLists("client CRL", f.ClientCRL, revoked)
	}
	return m, errors.Join(pairErr, casErr, crlErr)
}
