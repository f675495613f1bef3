package tlsconf

import (
	"crypto/x509"
	"log/slog"
	"time"
)

// warnBefore is the time before the end of a certificate at which the log warns: long enough for a
// person to act, and so short that certificates which are renewed a month ahead cause no warning.
const warnBefore = 14 * 24 * time.Hour

// validity is the period in which a certificate or a revocation list is valid. linesplit uses it
// outside of this period, too, and warns: the clock may be wrong, the peer may not verify, and not
// to start at all would be worse. An old list still revokes the certificates that it names.
type validity struct {
	say         *warnings
	role, file  string
	subject     string // of the certificate, or issuer of the list
	from, until time.Time
	before      time.Duration // time before the end at which the log warns; 0: only after the end
	lastWarning string        // the warning that was last logged; empty for none
}

// warnings are the messages about validities of one kind.
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

// addCert adds the validity of a certificate. It ignores nil, which stands for a file that did not
// load.
func (m *material) addCert(role, file string, cert *x509.Certificate) {
	if cert != nil {
		m.validities = append(m.validities, &validity{
			say: &certificateWarnings, role: role, file: file, subject: cert.Subject.String(),
			from: cert.NotBefore, until: cert.NotAfter, before: warnBefore,
		})
	}
}

// addLists adds the validities of revocation lists. Most lists are replaced every few days, so the
// log does not warn before their end.
func (m *material) addLists(role, file string, r *revocations) {
	for _, list := range r.lists {
		if list.NextUpdate.IsZero() {
			continue
		}
		m.validities = append(m.validities, &validity{
			say: &listWarnings, role: role, file: file, subject: list.Issuer.String(),
			from: list.ThisUpdate, until: list.NextUpdate,
		})
	}
}

// keepWarnings copies lastWarning of the validities that are the same as in before, so that the log
// has each warning once.
func (m *material) keepWarnings(before *material) {
	if before == nil {
		return
	}
	for _, v := range m.validities {
		for _, was := range before.validities {
			if v.same(was) {
				v.lastWarning = was.lastWarning
			}
		}
	}
}

func (v *validity) same(was *validity) bool {
	return v.role == was.role && v.file == was.file && v.subject == was.subject &&
		v.from.Equal(was.from) && v.until.Equal(was.until)
}

// warn logs each warning that has changed since the last call.
func (m *material) warn(log *slog.Logger, now time.Time) {
	for _, v := range m.validities {
		warning := v.warning(now)
		if warning == v.lastWarning {
			continue
		}
		v.lastWarning = warning
		if warning != "" {
			log.Warn(warning, "role", v.role, "file", v.file, "subject", v.subject,
				"not_before", v.from, "not_after", v.until)
		}
	}
}

func (v *validity) warning(now time.Time) string {
	switch {
	case now.After(v.until):
		return v.say.expired
	case now.Before(v.from):
		return v.say.early
	case v.until.Sub(now) < v.before:
		return v.say.soon
	default:
		return ""
	}
}
