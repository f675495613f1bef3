package tlsconf

import (
	"crypto/x509"
	"log/slog"
	"time"
)

// soon is how long before its end a certificate is worth a warning: time for a person to act, and
// short enough that certificates which are renewed a month ahead never come to it.
const soon = 14 * 24 * time.Hour

// watched is a certificate whose time is watched. A certificate that is not valid now is no
// error: the clock may be wrong, a peer may not verify, and not starting at all would be worse
// than either.
type watched struct {
	role, file string
	cert       *x509.Certificate
	told       string // the last warning, so that each is given once
}

// watch adds a certificate; nil, from a file that could not be read, is passed over.
func (m *material) watch(role, file string, cert *x509.Certificate) {
	if cert != nil {
		m.certs = append(m.certs, &watched{role: role, file: file, cert: cert})
	}
}

// warn logs what has become of each certificate's time since it was called last.
func (m *material) warn(log *slog.Logger, now time.Time) {
	for _, w := range m.certs {
		warning := w.warning(now)
		if warning == w.told {
			continue
		}
		w.told = warning
		if warning != "" {
			log.Warn(warning, "role", w.role, "file", w.file, "subject", w.cert.Subject.String(),
				"not_before", w.cert.NotBefore, "not_after", w.cert.NotAfter)
		}
	}
}

func (w *watched) warning(now time.Time) string {
	switch {
	case now.After(w.cert.NotAfter):
		return "tls certificate has expired"
	case now.Before(w.cert.NotBefore):
		return "tls certificate is not valid yet"
	case w.cert.NotAfter.Sub(now) < soon:
		return "tls certificate expires soon"
	default:
		return ""
	}
}
