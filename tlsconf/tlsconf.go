// Package tlsconf makes a *tls.Config for either side of a connection from files, and makes it
// anew when the files change.
//
// There is no goroutine and no watcher: the files are looked at when a handshake or a dial asks
// for the configuration, at most once a second. A set of files that has changed and loads is used
// from the next handshake on; one that does not load (a certificate that was replaced before its
// key was, say) leaves the old set in use and is logged once. Connections that exist already
// notice nothing of either.
//
// Errors name the role of a file ("tls server key"), the file, and what is wrong with it, for all
// files at once.
package tlsconf

import (
	"crypto/tls"
	"fmt"
	"log/slog"
)

// ParseVersion reads a minimum version as people write it: 1.2 or 1.3. Older versions are no
// longer safe and are not to be had.
func ParseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	case "1.0", "1.1":
		return 0, fmt.Errorf("TLS %s is broken and not supported: use 1.2 or 1.3", s)
	default:
		return 0, fmt.Errorf("%q is no TLS version: use 1.2 or 1.3", s)
	}
}

// minVersion returns the version to use where the caller asked for v, zero meaning TLS 1.2.
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

// checkPair says which half of a certificate pair is missing.
func checkPair(side, cert, key string) error {
	switch {
	case cert == "" && key == "":
		return fmt.Errorf("tls %s certificate: none given: it is needed, and its key", side)
	case cert == "":
		return fmt.Errorf("tls %s certificate: none given for the key %s: both or neither", side, key)
	case key == "":
		return fmt.Errorf("tls %s key: none given for the certificate %s: both or neither", side, cert)
	default:
		return nil
	}
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
