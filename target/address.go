package target

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"linesplit/internal/framing"
	"linesplit/internal/hostport"
)

// MaxWeight is the largest weight, far beyond any need and leaves room to sum weights.
const MaxWeight = 1_000_000

// ErrUnknownOption is in the error of ParseAddress about an option that addresses do not have.
var ErrUnknownOption = errors.New("unknown option")

// maxConnections is the limit of -connections, too.
const maxConnections = 1024

// These are the limits of checks.
const (
	maxInRow    = 1000 // as of -health-rise and -health-fall
	minInterval = time.Millisecond
)

// Address is a target's location and the options for reaching it. It is an immutable value; equal
// addresses are the same target.
type Address struct {
	// Scheme is SchemeTCP or one of the others.
	Scheme string
	// Host is "host:port", or for SchemeUnix the path of the socket; a leading @ names a Linux
	// abstract socket (unix(7)).
	Host string
	// Path is that of the URL, with its slash, if the target takes HTTP requests.
	Path string
	// ViaProxy reports whether a proxy between linesplit and the receiver acknowledges for itself
	// (HAProxy, docker-proxy, a sidecar), so that neither an acknowledgement nor a FIN proves
	// anything about the receiver.
	ViaProxy bool
	// MaxAge is the age at which a tracked connection is renewed, from MinAge to a day; 0 means
	// never. It is not part of the target's name.
	MaxAge time.Duration
	// ServerName is the name that the target's certificate must have; empty for that of
	// Options.TLS or, if there is none, HostName or the host. It is not part of the target's name.
	ServerName string
	// HostName is the host name that a source of targets has looked up to get Host; empty if Host
	// was configured. It is no option, and not part of the target's name.
	HostName string
	// Framing is how the lines that it gets are told apart.
	Framing framing.Framing
	// Turn spreads dials over the addresses of a host name: each value begins with another one; 0
	// leaves the order to the resolver. It is no option either. See Target.NextDial.
	Turn uint32

	// The fields below are not part of the target's name.

	// Group names the group that the target belongs to, in line mode; empty: that of -target.
	Group string
	// Weight is the target's share of the connections relative to other targets, at most 1,000,000;
	// 0 means 1, see Share.
	Weight int
	// Backup reports whether the target serves only while no target without Backup is up.
	Backup bool
	// Connections is the number of connections that line mode keeps to the target, at most 1024,
	// in place of a share by weight; 0 means none of its own.
	Connections int
	// HealthInterval is the time between checks of the target, Rise the number of checks in a row
	// that must succeed before it is up, and Fall the number that must fail before it is down; 0
	// means the values for all targets.
	HealthInterval time.Duration
	Rise, Fall     int
	// MaxConnections limits the connections that the target has at a time in connection mode; 0
	// means no limit.
	MaxConnections int
	// ProxyProtocol is the version, 1 or 2, of the PROXY protocol header that each connection
	// begins with in connection mode; 0 means none.
	ProxyProtocol int
	// Batching says how lines are sent if the target acknowledges them.
	Batching Batching
}

// Share returns the weight, which is at least 1.
func (a Address) Share() int { return max(1, a.Weight) }

// ParseAddress parses one -target value: host:port, tcp://host:port, tls://host:port,
// udp://host:port, unix:///path, unix://@name, http://host:port/path or relp://host:port, each with
// options such as ?weight=3&backup=true. A value without a scheme is TLS if tlsByDefault, else TCP;
// one without a host is 127.0.0.1.
func ParseAddress(s string, tlsByDefault bool) (Address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		if err := checkBare(s); err != nil {
			return Address{}, fmt.Errorf("target %q: %w", s, err)
		}
		scheme, rest = SchemeTCP, s
		if tlsByDefault {
			scheme = SchemeTLS
		}
	}
	host, query, _ := strings.Cut(rest, "?")
	if strings.HasPrefix(host, ":") && !strings.HasPrefix(host, "::") && scheme != SchemeUnix {
		host = "127.0.0.1" + host // as for net.Dial
	}
	a := Address{Scheme: scheme, Host: host}
	if a.takesRequests() {
		a.splitPath()
	}
	if err := a.check(); err != nil {
		return Address{}, fmt.Errorf("target %q: %w", s, err)
	}
	if err := a.setOptions(query); err != nil {
		return Address{}, fmt.Errorf("target %q: %w", s, err)
	}
	return a, nil
}

// checkBare returns an error for a value without "://" that is meant for a path, or has a scheme
// without its slashes.
func checkBare(value string) error {
	const form = "write unix:// and the absolute path, such as unix:///run/x.sock"
	value, _, _ = strings.Cut(value, "?")
	scheme, rest, found := strings.Cut(value, ":")
	_, err := strconv.ParseUint(rest, 10, 64)
	switch {
	case found && err == nil: // HOST:PORT, also with a host called tcp
		return nil
	case strings.HasPrefix(value, "/"):
		return fmt.Errorf("no scheme: write unix://%s", value)
	case strings.HasPrefix(value, "./"), strings.HasPrefix(value, "../"), strings.HasPrefix(value, "~"):
		return errors.New("a path without a scheme: " + form)
	case value == "-", scheme == "stdin":
		return errors.New("standard input can be no target: use tcp, tls, unix or udp")
	case found && scheme == SchemeUnix && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "@"):
		return errors.New("no // after the scheme: " + form)
	case found && rest != "" && slices.Contains(allSchemes, scheme):
		return fmt.Errorf("no // after the scheme: write %s://%s", scheme, rest)
	}
	return nil
}

// CheckSocket returns an error if a is a path at which something other than a socket is. It looks
// at the file system, which may take as long as the disk.
func (a Address) CheckSocket() error {
	if a.Scheme != SchemeUnix || strings.HasPrefix(a.Host, "@") {
		return nil
	}
	info, err := os.Stat(a.Host)
	switch {
	case err != nil || info.Mode().Type() == os.ModeSocket: // it may be made later
		return nil
	case info.IsDir():
		return fmt.Errorf("%s is a directory, not a socket", a.Host)
	}
	return fmt.Errorf("%s is a file, not a socket", a.Host)
}

// String returns the address in the form that ParseAddress reads, with no other option than
// via-proxy. It names the target in logs and metrics.
func (a Address) String() string {
	return a.with(a.lineOptions())
}

// with returns the address with options.
func (a Address) with(options []string) string {
	s := a.Scheme + "://" + a.Host + a.Path
	if len(options) > 0 {
		s += "?" + strings.Join(options, "&")
	}
	return s
}

// Key identifies the place that the address leads to: network and host with port, and the path of a
// URL, without scheme and options. No two targets may have the same one. Host names are compared
// without case, paths with it.
func (a Address) Key() string {
	switch a.Scheme {
	case SchemeUnix:
		return a.Host
	case SchemeUDP: // UDP ports are not TCP ports
		return "udp " + strings.ToLower(a.Host)
	}
	return strings.ToLower(a.Host) + a.Path
}

// lineOptions returns the options that are part of the name.
func (a Address) lineOptions() (options []string) {
	if a.ViaProxy {
		options = append(options, "via-proxy=true")
	}
	if a.Framing != framing.Newline {
		options = append(options, "framing="+a.Framing.String())
	}
	return options
}

// Written returns the address with all its options in the form that ParseAddress reads.
func (a Address) Written() string {
	options := a.lineOptions()
	add := func(given bool, format string, value any) {
		if given {
			options = append(options, fmt.Sprintf(format, value))
		}
	}
	add(a.MaxAge > 0, "max-age=%v", a.MaxAge)
	add(a.ServerName != "", "server-name=%s", a.ServerName)
	add(a.Share() > 1, "weight=%d", a.Weight)
	add(a.Backup, "backup=%v", true)
	add(a.Connections > 0, "connections=%d", a.Connections)
	add(a.HealthInterval > 0, "health-interval=%v", a.HealthInterval)
	add(a.Rise > 0, "rise=%d", a.Rise)
	add(a.Fall > 0, "fall=%d", a.Fall)
	add(a.MaxConnections > 0, "max-connections=%d", a.MaxConnections)
	add(a.ProxyProtocol > 0, "proxy-protocol=v%d", a.ProxyProtocol)
	return a.with(append(options, a.Batching.written()...))
}

// literal reports whether nothing has to be looked up to connect.
func (a Address) literal() bool {
	_, err := netip.ParseAddrPort(a.Host)
	return a.Scheme == SchemeUnix || err == nil
}

// Names reports whether the host is a name, which a dial looks up.
func (a Address) Names() bool { return !a.literal() }

// Literal returns where a plain TCP target listens, if its host is an IP address without a zone:
// nothing has to be looked up.
func (a Address) Literal() (to netip.AddrPort, ok bool) {
	if a.Scheme != SchemeTCP {
		return netip.AddrPort{}, false
	}
	to, err := netip.ParseAddrPort(a.Host)
	return to, err == nil && to.Addr().Zone() == ""
}

func (a Address) check() error {
	if !utf8.ValidString(a.Host) || strings.ContainsFunc(a.Host, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return errors.New("has characters that cannot be printed") // its name goes to terminals and metrics
	}
	switch a.Scheme {
	case SchemeTCP, SchemeTLS, SchemeUDP, SchemeLumberjack, SchemeLumberjackTLS:
		return checkHostPort(a.Host)
	case SchemeRELP, SchemeRELPTLS:
		if host, _, found := strings.Cut(a.Host, "/"); found {
			return fmt.Errorf("a %s target has no path: write %s://%s", a.Scheme, a.Scheme, host)
		}
		return checkHostPort(a.Host)
	case SchemeUnix:
		return checkPath(a.Host)
	case SchemeHTTP, SchemeHTTPS, SchemeHTTPBulk, SchemeHTTPSBulk:
		if strings.Contains(a.Host, "@") {
			return errors.New("a name and a password would show in logs and metrics: write ?token-file=FILE")
		}
		if err := checkHostPort(a.Host); err != nil {
			return err
		}
		return a.checkURLPath()
	}
	return fmt.Errorf("unknown scheme %q: use %s or %s", a.Scheme,
		strings.Join(allSchemes[:len(allSchemes)-1], ", "), allSchemes[len(allSchemes)-1])
}

func checkHostPort(address string) error {
	host, port, err := hostport.Split(address)
	if err != nil {
		return err
	}
	if host == "" {
		return fmt.Errorf("%q names no host: write it before the colon, such as 127.0.0.1:%s", address, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && ip.IsLinkLocalUnicast() && ip.Zone() == "" {
		return fmt.Errorf("%s is a link-local address, which needs its interface: [%s%%eth0]:%s", host, host, port)
	}
	if err := hostport.CheckHost(host); err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < 1 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return nil
}

// maxPath is the length of the longest path that fits into sockaddr_un.sun_path with its closing
// NUL (unix(7)).
const maxPath = 107

func checkPath(path string) error {
	switch {
	case strings.HasPrefix(path, "@") && len(path) > 1, strings.HasPrefix(path, "/") && len(path) > 1:
	default:
		return fmt.Errorf("%q is neither an absolute path (unix:///run/x.sock) nor an abstract name (unix://@x)", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("the path has %d bytes; that of a Unix socket may have at most %d", len(path), maxPath)
	}
	return nil
}

func (a *Address) setOptions(query string) error {
	options, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("options %q: %w", query, err)
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		values := options[key]
		known := false
		if a.Acknowledges() {
			known, err = a.Batching.setOption(key, values)
		}
		if !known {
			err = a.setOption(key, values[0])
		}
		if err != nil {
			return err
		}
		if len(values) > 1 && key != "header" {
			return fmt.Errorf("option %s is given %d times", key, len(values))
		}
	}
	if !a.Secure() && a.ServerName != "" {
		return errors.New("server-name is the name in a certificate: it is only valid for a target with TLS")
	}
	if err := a.checkBatching(); err != nil {
		return err
	}
	if a.Acknowledges() && (a.ViaProxy || a.Framing != framing.Newline) {
		return errors.New("via-proxy and framing are for targets that do not acknowledge lines: leave them out")
	}
	if a.Scheme == SchemeUDP && a.ProxyProtocol > 0 {
		return errors.New("proxy-protocol needs a stream: it is not valid for a udp target")
	}
	if a.Connections > 0 && a.Weight > 0 {
		return errors.New("connections is a number of its own, so that weight has no effect: leave out one of them")
	}
	return nil
}

func (a *Address) setOption(key, value string) (err error) {
	switch key {
	case "via-proxy":
		a.ViaProxy, err = parseBool(key, value)
	case "max-age":
		a.MaxAge, err = parseMaxAge(value)
	case "server-name":
		a.ServerName, err = parseServerName(value)
	case "framing":
		a.Framing, err = framing.ParseTarget(value)
	case "weight":
		a.Weight, err = parseNumber(key, value, MaxWeight)
	case "backup":
		a.Backup, err = parseBool(key, value)
	case "connections":
		a.Connections, err = parseNumber(key, value, maxConnections)
	case "health-interval":
		a.HealthInterval, err = parseInterval(key, value)
	case "rise":
		a.Rise, err = parseNumber(key, value, maxInRow)
	case "fall":
		a.Fall, err = parseNumber(key, value, maxInRow)
	case "max-connections":
		a.MaxConnections, err = parseNumber(key, value, 1<<30)
	case "proxy-protocol":
		a.ProxyProtocol, err = parseProxyProtocol(value)
	default:
		if a.Acknowledges() {
			return fmt.Errorf("%w %q: use %s, or options of all targets such as max-age=5m, server-name=NAME, weight=3, "+
				"backup=true, connections=8", ErrUnknownOption, key, a.batchOptions())
		}
		return fmt.Errorf("%w %q: use via-proxy=true, framing=octet, max-age=5m, server-name=NAME, weight=3, "+
			"backup=true, connections=8, health-interval=1s, rise=1, fall=5, max-connections=100 or proxy-protocol=v2",
			ErrUnknownOption, key)
	}
	return err
}

// Bounds of Address.MaxAge.
const (
	MinAge = 5 * time.Second
	maxAge = 24 * time.Hour
)

func parseMaxAge(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < MinAge || d > maxAge {
		return 0, fmt.Errorf("max-age=%q is no duration from %v to 24h: write max-age=5m", value, MinAge)
	}
	return d, nil
}

func parseServerName(value string) (string, error) {
	if err := hostport.CheckHost(value); err != nil {
		return "", fmt.Errorf("server-name: %w", err)
	}
	return value, nil
}

func parseBool(key, value string) (bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%s=%q is neither true nor false: write %s=true", key, value, key)
	}
	return b, nil
}

func parseNumber(key, value string, limit int) (int, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > uint64(limit) {
		return 0, fmt.Errorf("%s=%q is not a number from 1 to %d", key, value, limit)
	}
	return int(n), nil
}

func parseInterval(key, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < minInterval {
		return 0, fmt.Errorf("%s=%q is not a duration of at least %v: write %s=5s", key, value, minInterval, key)
	}
	return d, nil
}

func parseProxyProtocol(value string) (int, error) {
	switch value {
	case "v1":
		return 1, nil
	case "v2":
		return 2, nil
	}
	return 0, fmt.Errorf("proxy-protocol=%q is neither v1 nor v2", value)
}
