package tlsconf

import (
	"crypto/tls"
	"errors"
	"log/slog"
)

// ClientFiles are the files and settings of the dialling side. The zero value trusts the system's
// authorities and presents no certificate.
type ClientFiles struct {
	CA         string       // PEM: authorities to trust instead of the system's
	Cert, Key  string       // PEM: for targets that request a certificate; both or neither; may be one file
	ServerName string       // name that a target's certificate must have; empty: see Config
	SkipVerify bool         // accept any certificate
	MinVersion uint16       // tls.VersionTLS12 or tls.VersionTLS13; 0 means TLS 1.2
	Logger     *slog.Logger // of reloads and expiring certificates; nil discards
}

// Client makes configurations for the dialling side. Its methods are safe for concurrent use.
type Client struct {
	files *reloader
}

// NewClient reads all the files. Its error joins all faults; see FileErrors.
func NewClient(f ClientFiles) (*Client, error) {
	version, err := minVersion(f.MinVersion)
	if err != nil {
		return nil, err
	}
	files, err := newReloader("target", orDiscard(f.Logger), []string{f.CA, f.Cert, f.Key}, func(*material) (*material, error) {
		return loadClient(f, version)
	})
	if err != nil {
		return nil, err
	}
	if f.SkipVerify && f.CA != "" {
		orDiscard(f.Logger).Warn("tls target CA has no effect: verification is off", "file", f.CA)
	}
	return &Client{files: files}, nil
}

// Config returns a configuration for one dial, from the present contents of the files. The caller
// owns it. If its ServerName is empty, the caller must set it to the host that it dials, since
// crypto/tls refuses a handshake without a name unless SkipVerify is set.
func (c *Client) Config() *tls.Config { return c.files.config().Clone() }

// loadClient reads all files, and returns no material unless all of them load.
func loadClient(f ClientFiles, version uint16) (*material, error) {
	m := &material{config: &tls.Config{
		ServerName:         f.ServerName,
		InsecureSkipVerify: f.SkipVerify,
		MinVersion:         version,
		// A Write of at most 16 KiB must make one record and one write to the socket, since
		// package target counts acknowledged bytes in whole records.
		DynamicRecordSizingDisabled: true,
	}}
	var caErr, pairErr error
	if f.CA != "" {
		cas, err := loadAuthorities(source{CAFile, "target CA", f.CA},
			"lists of targets' certificates are not supported, take it out")
		m.config.RootCAs, caErr = cas.pool, err
		m.addCert("target CA", f.CA, cas.last)
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := loadPair("target", f.Cert, f.Key)
		m.config.GetClientCertificate, pairErr = alwaysPresent(pair), err
		m.addCert("target certificate", f.Cert, pair.Leaf)
	}
	if err := errors.Join(caErr, pairErr); err != nil {
		return nil, err
	}
	return m, nil
}

// alwaysPresent returns a callback that presents the configured certificate even to a target whose
// list of authorities does not name its issuer. By default crypto/tls would present none, and the
// target would report a missing certificate instead of an untrusted one.
func alwaysPresent(pair tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}
