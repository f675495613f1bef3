package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"linesplit/listen"
	"linesplit/tlsconf"
)

// ParseSpec reads a value of -admin: host:port, tls://host:port, or unix:///path?mode=0660&uid=…&gid=…, with mode 0660 if
// none is given. The Spec tells what can be known without listening. Errors say what would be right.
func ParseSpec(value string) (listen.Spec, error) {
	full := value
	switch {
	case strings.HasPrefix(value, "unix://"):
		full = withMode(value)
	case strings.HasPrefix(value, "tls://"), strings.HasPrefix(value, "tcp://"):
	case strings.Contains(value, "://"), strings.HasPrefix(value, "stdin:"), strings.HasPrefix(value, "systemd:"):
		return listen.Spec{}, errors.New("unknown scheme: write host:port, tls://host:port or unix:///path")
	default:
		full = "tcp://" + value
	}
	spec, err := listen.Parse(full)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the value, which is not what was written
		}
		return listen.Spec{}, fmt.Errorf("write 127.0.0.1:9091, tls://host:port or unix:///path: %w", err)
	}
	return spec, nil
}

// withMode adds the mode to a socket file for which none is given: the umask would let everybody read what is behind it.
func withMode(value string) string {
	path, options, has := strings.Cut(value, "?")
	switch {
	case strings.HasPrefix(path, "unix://@"): // has no file
		return value
	case !has || options == "":
		return path + "?mode=0660"
	case !strings.HasPrefix(options, "mode=") && !strings.Contains(options, "&mode="):
		return value + "&mode=0660"
	}
	return value
}

// Listen opens the listener that value, as ParseSpec reads it, names. files are for tls:// and not used for anything else: with
// a ClientCA every client has to show a certificate, and those who do may change things. ctx bounds the opening only.
// Server.Serve closes the listener.
func Listen(ctx context.Context, value string, files tlsconf.ServerFiles) (net.Listener, error) {
	spec, err := ParseSpec(value)
	if err != nil {
		return nil, fmt.Errorf("admin listener %q: %w", value, err)
	}
	var config *tls.Config
	if spec.TLS() {
		server, err := tlsconf.NewServer(files)
		if err != nil {
			return nil, fmt.Errorf("admin listener %s: %w", value, err)
		}
		config = server.Config()
	}
	ln, err := listen.Open(ctx, spec, config, nil)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	return ln, nil
}
