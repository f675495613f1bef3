package tlsconf

import (
	"crypto/tls"
	"errors"
	"log/slog"
)

// ServerFiles say where the accepting side finds what it needs.
type ServerFiles struct {
	Cert, Key  string       // PEM: the certificate with its chain, and its key; both are required and may be one file
	ClientCA   string       // PEM: authorities of which every client must show a certificate; empty: clients show none
	MinVersion uint16       // tls.VersionTLS12 or tls.VersionTLS13; zero is TLS 1.2
	Logger     *slog.Logger // reloads, and certificates about to end; nil discards
}

// Server is the accepting side. Its methods may be called from many goroutines at once.
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
	files, err := newReloader("server", orDiscard(f.Logger), []string{f.Cert, f.Key, f.ClientCA}, func() (*material, error) {
		return loadServer(f, version)
	})
	if err != nil {
		return nil, err
	}
	return &Server{files: files, version: version}, nil
}

// Config returns a configuration to accept with for as long as the process lives: each handshake
// that begins looks up what the files hold by then. Callers share it and must not change it.
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
		// A sender that only writes never reads the tickets that we would send it after the
		// handshake. When it closes, its kernel finds them unread and sends a reset, upon which
		// ours throws away what has arrived and was not read yet. So we send none, and nothing
		// else either.
		SessionTicketsDisabled: true,
	}}
	m.watch("server certificate", f.Cert, pair.Leaf)
	if f.ClientCA == "" {
		return m, pairErr
	}

	pool, last, poolErr := loadPool("client CA", f.ClientCA)
	m.config.ClientCAs = pool
	m.config.ClientAuth = tls.RequireAndVerifyClientCert
	m.watch("client CA", f.ClientCA, last)
	return m, errors.Join(pairErr, poolErr)
}
