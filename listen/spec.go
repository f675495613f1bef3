package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"linesplit/internal/framing"
	"linesplit/internal/hostport"
)

const (
	schemeTCP   = "tcp"
	schemeTLS   = "tls"
	schemeUDP   = "udp"
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	schemeRELP  = "relp"
	// schemeRELPTLS is RELP within TLS from the first byte on, as rsyslog speaks it.
	schemeRELPTLS = "relp+tls"
	schemeUnix    = "unix"
	schemeStdin   = "stdin"
	// schemeInherited names sockets that systemd opens; see Inherited.
	schemeInherited = "systemd"

	knownSchemes = "known are tcp://host:port, tls://host:port, udp://host:port, http://host:port/path, " +
		"https://host:port/path, relp://host:port, relp+tls://host:port, unix:///path, unix://@name, systemd:name and stdin:"
)

// maxPath is the maximum length of a socket's path: the kernel's field for it, less the terminating
// zero byte (Linux: 107 bytes).
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// unset marks a mode, uid or gid that was not given.
const unset = -1

// Spec is a parsed -listen value. Equal values give Specs that are equal with ==. The zero Spec is
// not valid.
type Spec struct {
	scheme  string
	address string // host:port, path, @name, or the name of inherited sockets, which may be empty
	mode    int    // permissions of the socket file; unset: as the umask leaves them
	uid     int    // owner of the socket file; unset: this process's
	gid     int    // group of the socket file; unset: this process's
	secure  bool   // TLS on inherited sockets
	reuse   bool   // see ReusePort
	only6   bool   // every address is every IPv6 address; see Apart

	framing framing.Framing // of what senders write
	web     Web
}

// Parse parses a -listen value. Its errors tell the right form.
func Parse(value string) (Spec, error) {
	s, err := parse(value)
	if err != nil {
		return Spec{}, fmt.Errorf("%q: %w", value, err)
	}
	return s, nil
}

func parse(value string) (Spec, error) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return Spec{}, errors.New("has characters that cannot be printed") // its name goes to terminals
	}
	value = withScheme(value)
	scheme, rest, found := strings.Cut(value, ":")
	s := Spec{scheme: scheme, mode: unset, uid: unset, gid: unset}
	if scheme == schemeStdin && found {
		return parseStdin(s, rest)
	}
	if scheme == schemeInherited && found {
		return parseInherited(s, rest)
	}
	rest, found = strings.CutPrefix(rest, "//")
	switch {
	case !found && (overIP(scheme) || scheme == schemeUnix):
		return s, withoutSlashes(scheme, rest)
	case strings.HasPrefix(value, "/"):
		return s, fmt.Errorf("no scheme: write unix://%s", value)
	case !found:
		return s, fmt.Errorf("no address: %s", knownSchemes)
	case scheme == schemeHTTP || scheme == schemeHTTPS:
		return parseWeb(s, rest)
	case overIP(scheme):
		return parseNetwork(s, rest)
	case scheme == schemeUnix:
		return parseUnix(s, rest)
	default:
		return s, fmt.Errorf("unknown scheme %q: %s", scheme, knownSchemes)
	}
}

// withScheme completes the short forms: host:port and :port are TCP, - and stdin are standard
// input. A value that is no address at all is taken for host:port, too, so that its error says what
// is missing.
func withScheme(value string) string {
	if value == "-" || value == schemeStdin {
		return schemeStdin + ":"
	}
	scheme, rest, _ := strings.Cut(value, ":")
	if value == "" || strings.HasPrefix(value, "/") || strings.HasPrefix(rest, "//") || overIP(scheme) ||
		slices.Contains([]string{schemeUnix, schemeStdin, schemeInherited}, scheme) {
		return value
	}
	return schemeTCP + "://" + value
}

// overIP reports whether listeners of a scheme have a host and a port.
func overIP(scheme string) bool { return scheme == schemeUDP || overTCP(scheme) }

func overTCP(scheme string) bool {
	return slices.Contains([]string{schemeTCP, schemeTLS, schemeHTTP, schemeHTTPS, schemeRELP, schemeRELPTLS}, scheme)
}

// withoutSlashes is the error for a value such as unix:/run/x.sock.
func withoutSlashes(scheme, rest string) error {
	switch {
	case rest == "":
		return fmt.Errorf("no // after the scheme: %s", knownSchemes)
	case scheme == schemeUnix && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "@"):
		return errors.New("no // after the scheme: write unix:// and the absolute path, such as unix:///run/x.sock")
	case strings.Trim(rest, "0123456789") == "":
		rest = ":" + rest
	}
	return fmt.Errorf("no // after the scheme: write %s://%s", scheme, rest)
}

func parseInherited(s Spec, rest string) (Spec, error) {
	name, query, _ := strings.Cut(rest, "?")
	if strings.Contains(name, "/") {
		return s, fmt.Errorf("name %q contains a slash: want systemd:name, with the FileDescriptorName "+
			"of the socket unit, or systemd: for all", name)
	}
	s.address = name
	options, err := s.takeFraming(query)
	if err != nil {
		return s, err
	}
	if s.secure = options.Get("tls") == "true"; s.secure {
		options.Del("tls")
	}
	if len(options) > 0 {
		return s, fmt.Errorf("option %q: want ?tls=true, ?framing=octet, both or none", options.Encode())
	}
	return s, nil
}

// checkHostPort checks that the address has a host and a numeric port.
func checkHostPort(address string) error {
	host, port, err := hostport.Split(address)
	if err != nil {
		return err
	}
	if host != "" { // every address
		if err := hostport.CheckHost(host); err != nil {
			return err
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && ip.IsLinkLocalUnicast() && ip.Zone() == "" {
		return fmt.Errorf("%s is a link-local address, which needs its interface: [%s%%eth0]:%s", host, host, port)
	}
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > 65535 {
		return fmt.Errorf("port %q: want a number from 1 to 65535, or 0 for any free one", port)
	}
	return nil
}

// parseUnix takes the path literally up to the first question mark: %-escapes are not decoded,
// since file names do not have them.
func parseUnix(s Spec, rest string) (Spec, error) {
	var query string
	s.address, query, _ = strings.Cut(rest, "?")
	options, err := s.takeFraming(query)
	return s, errors.Join(err, checkUnixAddress(s.address), s.setOptions(options))
}

func checkUnixAddress(address string) error {
	switch {
	case address == "" || address == "@":
		return errors.New("no path: want unix:///run/linesplit.sock or unix://@name")
	case len(address) > maxPath:
		return fmt.Errorf("path of %d bytes: a socket path may have at most %d", len(address), maxPath)
	case strings.HasPrefix(address, "@"):
		if runtime.GOOS != "linux" {
			return errors.New("abstract sockets exist on Linux only: want unix:///path")
		}
		return nil
	case strings.HasPrefix(address, "."), strings.HasPrefix(address, "~"):
		return fmt.Errorf("path %q is not absolute: write unix:// and the absolute path, such as unix:///run/x.sock",
			address)
	case !filepath.IsAbs(address):
		return fmt.Errorf("path %q does not begin with a slash: want three of them, unix:///%s", address, address)
	case strings.HasSuffix(address, "/"):
		return fmt.Errorf("path %q names a directory: want the path of a socket in it", address)
	default:
		return nil
	}
}

func (s *Spec) setOptions(options url.Values) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(options)) {
		values := options[key]
		value := values[0]
		var err error
		switch {
		case !slices.Contains([]string{"mode", "uid", "gid"}, key):
			err = fmt.Errorf("unknown option %q: known are framing, mode, uid and gid", key)
		case len(values) > 1:
			err = fmt.Errorf("option %s is given %d times", key, len(values))
		case s.abstract():
			err = fmt.Errorf("option %s: an abstract socket has no file", key)
		case key == "mode":
			s.mode, err = parseMode(value)
		case key == "uid":
			s.uid, err = parseID("user", value, lookupUser)
		case key == "gid":
			s.gid, err = parseID("group", value, lookupGroup)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func parseMode(value string) (int, error) {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o777 {
		return unset, fmt.Errorf("mode %q: want octal permissions such as 0660", value)
	}
	return int(n), nil
}

func parseID(kind, value string, lookup func(string) (string, error)) (int, error) {
	digits := value
	if _, err := strconv.ParseUint(value, 10, 64); err != nil {
		if digits, err = lookup(value); err != nil {
			return unset, fmt.Errorf("no %s %q on this machine: want a known name, or a number", kind, value)
		}
	}
	// The kernel takes 2³²−1 as −1, "leave unchanged".
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 1<<32-1 {
		return unset, fmt.Errorf("%s %q: want a name, or a number from 0 to %d", kind, value, uint32(1<<32-2))
	}
	return int(n), nil
}

func lookupUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func lookupGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// String returns the value in canonical form: parsing it gives the same Spec.
func (s Spec) String() string {
	var options []string
	if s.framing != framing.Newline {
		options = append(options, "framing="+s.framing.String())
	}
	if s.secure {
		options = append(options, "tls=true")
	}
	if s.mode != unset {
		options = append(options, fmt.Sprintf("mode=%04o", s.mode))
	}
	if s.uid != unset {
		options = append(options, fmt.Sprintf("uid=%d", s.uid))
	}
	if s.gid != unset {
		options = append(options, fmt.Sprintf("gid=%d", s.gid))
	}
	options = append(options, s.web.options()...)
	text := s.scheme + "://" + s.address + s.web.Path
	if s.Stdin() || s.Inherited() {
		text = s.scheme + ":" + s.address
	}
	if len(options) > 0 {
		text += "?" + strings.Join(options, "&")
	}
	return text
}

// TLS reports whether the listener uses TLS, so that Open needs a configuration.
func (s Spec) TLS() bool {
	return slices.Contains([]string{schemeTLS, schemeHTTPS, schemeRELPTLS}, s.scheme) || s.secure
}

// RELP reports whether senders speak RELP.
func (s Spec) RELP() bool { return s.scheme == schemeRELP || s.scheme == schemeRELPTLS }

// Waits reports whether senders wait for answers to their lines: with HTTP and RELP.
func (s Spec) Waits() bool { return s.web.On || s.RELP() }

// UDP reports whether the listener takes datagrams, so that OpenPacket can open it, too.
func (s Spec) UDP() bool { return s.scheme == schemeUDP }

// Stdin reports whether the listener is standard input, which ends by itself.
func (s Spec) Stdin() bool { return s.scheme == schemeStdin }

// Inherited reports whether s stands for sockets that systemd has opened. [Inherited] opens them in
// place of Open.
func (s Spec) Inherited() bool { return s.scheme == schemeInherited }

// ReusePort returns a Spec for the same address that a new process can open while an old one still
// listens there. TCP and UDP sockets share the port (SO_REUSEPORT, socket(7)), and a socket file is
// replaced.
func (s Spec) ReusePort() Spec {
	s.reuse = true
	return s
}

// Try reports whether a shared TCP port can be opened, without listening there: a listener would
// take connections from the processes that share the port, and lose them if something else cannot
// be opened. For other addresses it returns nil.
func (s Spec) Try(ctx context.Context) error {
	if !s.reuse || !overTCP(s.scheme) {
		return nil
	}
	if err := tryPort(ctx, s.network(schemeTCP), s.address); err != nil {
		return fmt.Errorf("listen on %s: %w", s, err)
	}
	return nil
}

func (s Spec) abstract() bool { return s.scheme == schemeUnix && strings.HasPrefix(s.address, "@") }

// Check checks what can be checked before listening: that a socket file's directory exists and is
// writable, that its path is not taken by another kind of file, that standard input is open. It
// changes nothing. Only Open and Try find out whether an address is in use.
func (s Spec) Check() error {
	var err error
	switch {
	case s.scheme == schemeStdin:
		_, err = os.Stdin.Stat()
	case s.scheme == schemeUnix && !s.abstract():
		err = checkSocketFile(s.address)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

func checkSocketFile(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, withoutPath(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := checkWritable(dir); err != nil {
		return fmt.Errorf("directory %s is not writable: %w", dir, err)
	}
	if info, err = os.Lstat(path); err == nil {
		return checkIsSocket(path, info)
	}
	return nil
}

// checkIsSocket returns an error for anything but a socket. It does not follow symbolic links, as
// bind does not.
func checkIsSocket(path string, info fs.FileInfo) error {
	if info.Mode().Type() == fs.ModeSocket {
		return nil
	}
	return fmt.Errorf("%s already exists and is %s, not a socket: it is left alone", path, kind(info.Mode()))
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	default:
		return "something else"
	}
}

// withoutPath removes the path from an error, for messages that already name it.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
