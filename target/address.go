package target

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// The schemes of an [Address].
const (
	SchemeTCP  = "tcp"
	SchemeTLS  = "tls"
	SchemeUnix = "unix"
)

// Address says where a target is and how to reach it. It is an immutable value; equal addresses are the same target.
type Address struct {
	// Scheme is SchemeTCP, SchemeTLS or SchemeUnix.
	Scheme string
	// Host is "host:port", or for SchemeUnix the path of the socket; a leading @ names a Linux abstract socket (unix(7)).
	Host string
	// ViaProxy says that something between linesplit and the receiver acknowledges for itself (HAProxy, docker-proxy, a
	// sidecar), so that neither an acknowledgement nor a FIN proves anything about the receiver.
	ViaProxy bool
}

// ParseAddress reads one -target value: host:port, tcp://host:port, tls://host:port, unix:///path or unix://@name, each
// with an optional ?via-proxy=true. A value without a scheme is TLS when tlsByDefault, else TCP.
func ParseAddress(s string, tlsByDefault bool) (Address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = SchemeTCP, s
		if tlsByDefault {
			scheme = SchemeTLS
		}
	}
	host, query, _ := strings.Cut(rest, "?")
	a := Address{Scheme: scheme, Host: host}
	if err := a.check(); err != nil {
		return Address{}, fmt.Errorf("target %q: %w", s, err)
	}
	if err := a.setOptions(query); err != nil {
		return Address{}, fmt.Errorf("target %q: %w", s, err)
	}
	return a, nil
}

// String returns the address in the form that ParseAddress reads. It names the target in logs and metrics.
func (a Address) String() string {
	s := a.Scheme + "://" + a.Host
	if a.ViaProxy {
		s += "?via-proxy=true"
	}
	return s
}

func (a Address) check() error {
	switch a.Scheme {
	case SchemeTCP, SchemeTLS:
		return checkHostPort(a.Host)
	case SchemeUnix:
		return checkPath(a.Host)
	}
	return fmt.Errorf("unknown scheme %q: use tcp, tls or unix", a.Scheme)
}

func checkHostPort(hostport string) error {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as 10.0.0.1:9999 or [2001:db8::1]:9999", hostport)
	}
	if host == "" {
		return fmt.Errorf("%q names no host: write it before the colon, such as 127.0.0.1%s", hostport, hostport)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < 1 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return nil
}

// maxPath is what fits into sockaddr_un.sun_path with its closing NUL (unix(7)).
const maxPath = 107

func checkPath(path string) error {
	switch {
	case strings.HasPrefix(path, "@") && len(path) > 1, strings.HasPrefix(path, "/") && len(path) > 1:
	default:
		return fmt.Errorf("%q is neither an absolute path (unix:///run/x.sock) nor an abstract name (unix://@x)", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("the path has %d bytes; a Unix socket's may have %d", len(path), maxPath)
	}
	return nil
}

func (a *Address) setOptions(query string) error {
	options, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("options %q: %w", query, err)
	}
	for key, values := range options {
		if key != "via-proxy" {
			return fmt.Errorf("unknown option %q: the only one is via-proxy=true", key)
		}
		if a.ViaProxy, err = strconv.ParseBool(values[len(values)-1]); err != nil {
			return fmt.Errorf("via-proxy=%q is neither true nor false", values[len(values)-1])
		}
	}
	return nil
}
