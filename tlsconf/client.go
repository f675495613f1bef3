package tlsconf

import (
	"crypto/tls"
	"errors"
	"log/slog"
)

// ClientFiles say where the dialling side finds what it needs. The zero value trusts the system's
// authorities and shows no certificate.
type ClientFiles struct {
	CA         string       // PEM: the authorities to trust, in place of the system's
	Cert, Key  string       // PEM: what to show to a target that asks; both or neither, and they may be one file
	ServerName string       // the name a target's certificate must have; empty: see Config
	SkipVerify bool         // trust whoever answers
	MinVersion uint16       // tls.VersionTLS12 or tls.VersionTLS13; zero is TLS 1.2
	Logger     *slog.Logger // reloads, and certificates about to end; nil discards
}

// Client is the dialling side. Its methods may be called from many goroutines at once.
type Client struct {
	files *reloader
}

// NewClient reads all the files. Its error joins everything that is wrong with them.
func NewClient(f ClientFiles) (*Client, error) {
	version, err := minVersion(f.MinVersion)
	if err != nil {
		return nil, err
	}
	files, err := newReloader("target", orDiscard(f.Logger), []string{f.CA, f.Cert, f.Key}, func() (*material, error) {
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

// Config returns the configuration for one dial, from what the files hold by now. It is the
// caller's own copy. Where its ServerName is empty the caller must set it to the host that it
// dials: crypto/tls refuses a handshake without a name unless SkipVerify was asked for.
func (c *Client) Config() *tls.Config { return c.files.config().Clone() }

func loadClient(f ClientFiles, version uint16) (*material, error) {
	m := &material{config: &tls.Config{
		ServerName:         f.ServerName,
		InsecureSkipVerify: f.SkipVerify,
		MinVersion:         version,
		// One Write of at most 16 KiB must be one record and one write to the socket: what a
		// target's kernel has acknowledged is counted in whole records.
		DynamicRecordSizingDisabled: true,
	}}
	var caErr, pairErr error
	if f.CA != "" {
		pool, last, err := loadPool("target CA", f.CA)
		m.config.RootCAs, caErr = pool, err
		m.watch("target CA", f.CA, last)
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := loadPair("target", f.Cert, f.Key)
		m.config.GetClientCertificate, pairErr = always(pair), err
		m.watch("target certificate", f.Cert, pair.Leaf)
	}
	return m, errors.Join(caErr, pairErr)
}

// always shows the one certificate that was configured, also to a target whose list of
// authorities does not name its issuer. Left to itself crypto/tls would then show none, and the
// target would complain of that instead of saying what is wrong with ours.
func always(pair tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}
