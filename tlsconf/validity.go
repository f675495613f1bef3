package tlsconf

import (
	"crypto/x509"
	"log/slog"
	"time"
)

// warnBefore is how long before its end the log warns of a certificate: long enough for a person to
// act, and so short that certificates which are renewed a month ahead never cause a warning.
const warnBefore = 14 * 24 * time.Hour

// watchedCert is a certificate whose validity is watched. A certificate that is not valid now is
// not an error: the clock may be wrong, the peer may not verify, and not starting at all would be
// worse.
type watchedCert struct {
	role, file  string
	cert        *x509.Certificate
	lastWarning string // so that each warning is logged once
}

// addCert adds a certificate to watch; nil, from a file that could not be read, is ignored.
func (m *material) addCert(role, file string, cert *x509.Certificate) {
	if cert != nil {
		m.certs = append(m.certs, &watchedCert{role: role, file: file, cert: cert})
	}
}

// warn logs how the validity of each certificate has changed since the last call.
func (m *material) warn(log *slog.Logger, now time.Time) {
	for _, w := range m.certs {
		warning := w.warning(now)
		if warning == w.lastWarning {
			continue
		}
		w.lastWarning = warning
		if warning != "" {
			log.Warn(warning, "role", w.role, "file", w.file, "subject", w.cert.Subject.String(),
				"not_before", w.cert.NotBefore, "not_after", w.cert.NotAfter)
		}
	}
}

func (w *watchedCert) warning(now time.Time) string {
	switch {
	case now.After(w.cert.NotAfter):
		return "tls certificate has expired"
	case now.Before(w.cert.NotBefore):
		return "tls certificate is not valid yet"
	case w.cert.NotAfter.Sub(now) < warnBefore:
		return "tls certificate expires soon"
	default:
		return ""
	}
}
