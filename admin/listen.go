package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"linesplit/listen"
	"linesplit/tlsconf"
)

// ParseSpec parses a value of -admin: host:port, tls://host:port, or
// unix:///path?mode=0660&uid=…&gid=…, with mode 0660 if none is given. Errors give the right
// form.
func ParseSpec(value string) (listen.Spec, error) {
	const forms = "write 127.0.0.1:9091, tls://HOST:PORT or unix:///PATH"
	scheme, _, found := strings.Cut(value, ":")
	full := value
	switch {
	case value == "":
		return listen.Spec{}, errors.New("no address: " + forms)
	case strings.HasPrefix(value, "unix://"):
		full = withMode(value)
	case found && slices.Contains([]string{"tcp", "tls", "unix"}, scheme):
	case strings.Contains(value, "://"), slices.Contains([]string{"-", "stdin", "systemd", "udp"}, scheme):
		return listen.Spec{}, fmt.Errorf("unknown scheme %q: %s", scheme, forms)
	}
	spec, err := listen.Parse(full)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the value, which has a mode that the user did not write
		}
		return listen.Spec{}, err
	}
	return spec, nil
}

// Authenticates reports whether a value of -admin names a socket file that admits only its owner
// and group, so that its clients are authenticated by it.
func Authenticates(value string) bool {
	spec, err := ParseSpec(value)
	if err != nil {
		return false
	}
	_, options, _ := strings.Cut(spec.String(), "?")
	query, err := url.ParseQuery(options)
	if err != nil {
		return false
	}
	mode, err := strconv.ParseUint(query.Get("mode"), 8, 32)
	return err == nil && mode&others == 0
}

// withMode adds mode 0660 to a socket file without one. Otherwise the umask would decide: with none
// all users of the machine could connect, with the usual one the socket's group could not.
func withMode(value string) string {
	path, options, has := strings.Cut(value, "?")
	switch {
	case strings.HasPrefix(path, "unix://@"): // an abstract socket has no file
		return value
	case !has || options == "":
		return path + "?mode=0660"
	case !strings.HasPrefix(options, "mode=") && !strings.Contains(options, "&mode="):
		return value + "&mode=0660"
	}
	return value
}

// Listen opens the listener for a value of -admin, in the form of ParseSpec. files are used for
// tls:// only: with a ClientCA, all clients must present a certificate, and are authenticated by
// it. ctx limits the opening only. Server.Serve closes the listener.
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
