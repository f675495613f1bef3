package tlsconf

import (
	"crypto/x509"
	"log/slog"
	"time"
)

// warnBefore is how long before its end the log warns of a certificate: long enough for a person to
// act, and so short that certificates which are renewed a month ahead never cause a warning.
const warnBefore = 14 * 24 * time.Hour

// watched is a certificate or a revocation list whose validity is watched. One that is not valid
// now is not an error: the clock may be wrong, the peer may not verify, and not starting at all
// would be worse. An old list still revokes what it names.
type watched struct {
	say         *warnings
	role, file  string
	subject     string
	from, until time.Time
	before      time.Duration // how long before its end the log warns; 0: only then
	lastWarning string        // so that each warning is logged once
}

// warnings are log lines.
type warnings struct{ expired, early, soon string }

var (
	certificateWarnings = warnings{
		expired: "tls certificate has expired",
		early:   "tls certificate is not valid yet",
		soon:    "tls certificate expires soon",
	}
	listWarnings = warnings{
		expired: "tls revocation list has expired",
		early:   "tls revocation list is not valid yet",
	}
)

// addCert adds a certificate to watch; nil, from a file that could not be read, is ignored.
func (m *material) addCert(role, file string, cert *x509.Certificate) {
	if cert != nil {
		m.watched = append(m.watched, &watched{
			say: &certificateWarnings, role: role, file: file, subject: cert.Subject.String(),
			from: cert.NotBefore, until: cert.NotAfter, before: warnBefore,
		})
	}
}

// addLists adds revocation lists to watch. Most of them are made anew every few days, so that only
// their end is worth a warning.
func (m *material) addLists(role, file string, r *revocations) {
	for _, list := range r.lists {
		if list.NextUpdate.IsZero() {
			continue
		}
		m.watched = append(m.watched, &watched{
			say: &listWarnings, role: role, file: file, subject: list.Issuer.String(),
			from: list.ThisUpdate, until: list.NextUpdate,
		})
	}
}

// keepWarnings takes over which warnings have been logged of what is the same as before.
func (m *material) keepWarnings(before *material) {
	if before == nil {
		return
	}
	for _, w := range m.watched {
		for _, was := range before.watched {
			if w.same(was) {
				w.lastWarning = was.lastWarning
			}
		}
	}
}

func (w *watched) same(was *watched) bool {
	return w.role == was.role && w.file == was.file && w.subject == was.subject &&
		w.from.Equal(was.from) && w.until.Equal(was.until)
}

// warn logs how the validity of each certificate has changed since the last call.
func (m *material) warn(log *slog.Logger, now time.Time) {
	for _, w := range m.watched {
		warning := w.warning(now)
		if warning == w.lastWarning {
			continue
		}
		w.lastWarning = warning
		if warning != "" {
			log.Warn(warning, "role", w.role, "file", w.file, "subject", w.subject,
				"not_before", w.from, "not_after", w.until)
		}
	}
}

func (w *watched) warning(now time.Time) string {
	switch {
	case now.After(w.until):
		return w.say.expired
	case now.Before(w.from):
		return w.say.early
	case w.until.Sub(now) < w.before:
		return w.say.soon
	default:
		return ""
	}
}
