package target

import "slices"

// The schemes of an [Address].
const (
	SchemeTCP  = "tcp"
	SchemeTLS  = "tls"
	SchemeUnix = "unix"
	SchemeUDP  = "udp" // connection mode only

	// Targets that acknowledge lines, in line mode: lines in the bodies of HTTP requests, the bulk
	// API of Elasticsearch and OpenSearch, and RELP, the protocol of rsyslog.
	SchemeHTTP      = "http"
	SchemeHTTPS     = "https"
	SchemeHTTPBulk  = "http+bulk"
	SchemeHTTPSBulk = "https+bulk"
	SchemeRELP      = "relp"
	SchemeRELPTLS   = "relp+tls"

	// Lumberjack v2, the protocol of Beats. Such a target acknowledges lines, too.
	SchemeLumberjack    = "lumberjack"
	SchemeLumberjackTLS = "lumberjack+tls"
)

// allSchemes are these.
var allSchemes = []string{
	SchemeTCP, SchemeTLS, SchemeUnix, SchemeUDP, SchemeHTTP, SchemeHTTPS, SchemeHTTPBulk, SchemeHTTPSBulk,
	SchemeRELP, SchemeRELPTLS, SchemeLumberjack, SchemeLumberjackTLS,
}

// IsScheme reports whether addresses may have a scheme.
func IsScheme(scheme string) bool { return slices.Contains(allSchemes, scheme) }

// Acknowledges reports whether the target acknowledges lines itself, by the protocol of its scheme.
func (a Address) Acknowledges() bool {
	return a.takesRequests() || a.RELP() || a.Lumberjack()
}

// RELP reports whether the target speaks RELP, the protocol of rsyslog.
func (a Address) RELP() bool { return a.Scheme == SchemeRELP || a.Scheme == SchemeRELPTLS }

// Lumberjack reports whether the target speaks Lumberjack v2, the protocol of Beats.
func (a Address) Lumberjack() bool {
	return a.Scheme == SchemeLumberjack || a.Scheme == SchemeLumberjackTLS
}

// takesRequests reports whether the target acknowledges lines by answering HTTP requests.
func (a Address) takesRequests() bool {
	switch a.Scheme {
	case SchemeHTTP, SchemeHTTPS, SchemeHTTPBulk, SchemeHTTPSBulk:
		return true
	}
	return false
}

// Secure reports whether connections to the target use TLS.
func (a Address) Secure() bool {
	switch a.Scheme {
	case SchemeTLS, SchemeHTTPS, SchemeHTTPSBulk, SchemeRELPTLS, SchemeLumberjackTLS:
		return true
	}
	return false
}

// Bulk reports whether the target has the bulk API of Elasticsearch.
func (a Address) Bulk() bool { return a.Scheme == SchemeHTTPBulk || a.Scheme == SchemeHTTPSBulk }

// NamesBatches reports whether the target gets an ID with each batch.
func (a Address) NamesBatches() bool { return a.Scheme == SchemeHTTP || a.Scheme == SchemeHTTPS }

// SecureScheme returns the scheme of a that has TLS, with its slashes.
func (a Address) SecureScheme() string {
	switch a.Scheme {
	case SchemeHTTP:
		return SchemeHTTPS + "://"
	case SchemeHTTPBulk:
		return SchemeHTTPSBulk + "://"
	case SchemeRELP:
		return SchemeRELPTLS + "://"
	case SchemeLumberjack:
		return SchemeLumberjackTLS + "://"
	}
	return SchemeTLS + "://"
}
