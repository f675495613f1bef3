// Package tlsconf makes a *tls.Config for either side of a connection from files, and makes a new
// one when the files change.
//
// No goroutine watches the files: a handshake or a dial that needs the configuration checks them,
// at most once a second. The next handshake uses changed files. If they do not load, for example
// because a certificate was replaced before its key, the old configuration stays in use and the log
// has the failure once; of several certificates, those that load are used. Established connections
// are not affected.
//
// An error joins the faults of all files. Each names the role of a file ("tls server key"), the
// file, and what is wrong with it.
package tlsconf

import (
	"crypto/tls"
	"fmt"
	"log/slog"
)

// ParseVersion parses a minimum version, 1.2 or 1.3, and returns its number in crypto/tls. It
// refuses older versions, which are not safe.
func ParseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	case "1.0", "1.1":
		return 0, fmt.Errorf("TLS %s is broken and not supported: use 1.2 or 1.3", s)
	default:
		return 0, fmt.Errorf("%q is not a TLS version: use 1.2 or 1.3", s)
	}
}

// minVersion checks a minimum version; 0 means TLS 1.2.
func minVersion(v uint16) (uint16, error) {
	switch {
	case v == 0:
		return tls.VersionTLS12, nil
	case v < tls.VersionTLS12 || v > tls.VersionTLS13:
		return 0, fmt.Errorf("tls minimum version %s: use 1.2 or 1.3", tls.VersionName(v))
	default:
		return v, nil
	}
}

// checkPair returns an error that names the missing half of a certificate pair.
func checkPair(cert, key source) error {
	switch {
	case cert.name == "" && key.name == "":
		return cert.fault("none given: a certificate and its key are required")
	case cert.name == "":
		return cert.fault("none given for the key %s: both or neither", key.name)
	case key.name == "":
		return key.fault("none given for the certificate %s: both or neither", cert.name)
	default:
		return nil
	}
}

// orDiscard returns log, or a logger that discards its records if log is nil.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
