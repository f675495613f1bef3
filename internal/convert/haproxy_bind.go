package convert

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxPortRange is the most ports of a range; each becomes a listener.
const maxPortRange = 100

// haBind has the parameters of a bind line.
type haBind struct {
	ssl, accept, v6only bool     // accept: accept-proxy
	cert, clientCA, crl string   // files
	verify              string   // none, optional or required
	mode, uid, gid      string   // of a Unix socket
	minVersion          string   // such as TLSv1.2
	odd                 []string // words that have no counterpart
}

// bindArguments lists parameters of bind that are followed by an argument.
var bindArguments = strings.Fields(`accept-netscaler-cip alpn backlog ca-file ca-ignore-err ca-sign-file ca-sign-pass
	ca-verify-file ciphers ciphersuites client-sigalgs crl-file crt crt-ignore-err crt-list curves default-crt ecdhe
	expose-fd gid group guid-prefix id idle-ping interface label level maxconn mode mss name namespace nice npn proto
	process quic-cc-algo severity-output shards sigalgs ssl-max-ver ssl-min-ver tcp-md5sig tcp-ut thread
	tls-ticket-keys uid user verify`)

// bind reads "bind ADDRESS,… PARAMETERS".
func (v *haService) bind(l haLine) bool {
	p := v.bindParameters(l.words[min(2, len(l.words)):])
	if len(p.odd) > 0 {
		v.miss(l, "bind "+l.arg(1)+" … "+strings.Join(p.odd, " "), "")
	}
	v.binds++
	v.proxied = v.proxied && p.accept
	if p.accept && !v.proxied {
		v.miss(l, "accept-proxy", "proxy-protocol-from is for all listeners of a service")
	}
	for address := range strings.SplitSeq(l.arg(1), ",") {
		if err := v.listenOn(l, strings.TrimSpace(address), p); err != nil {
			v.miss(l, l.String(), err.Error())
		}
	}
	if p.ssl {
		v.serverTLS(l, p)
	}
	return true
}

// bindParameters reads the parameters of a bind line.
func (v *haService) bindParameters(words []string) (p haBind) {
	for i := 0; i < len(words); i++ {
		word, argument := words[i], ""
		if slices.Contains(bindArguments, word) && i+1 < len(words) {
			i++
			argument = words[i]
		}
		switch word {
		case "ssl":
			p.ssl = true
		case "accept-proxy":
			p.accept = true
		case "v6only":
			p.v6only = true
		case "crt":
			if p.cert != "" {
				p.odd = append(p.odd, word, argument)
				continue
			}
			p.cert = v.f.path(argument, v.f.certBase)
		case "ca-file":
			p.clientCA = v.f.path(argument, v.f.caBase)
		case "crl-file":
			p.crl = v.f.path(argument, v.f.caBase)
		case "verify":
			p.verify = argument
		case "ssl-min-ver":
			p.minVersion = argument
		case "mode":
			p.mode = argument
		case "uid", "user":
			p.uid = argument
		case "gid", "group":
			p.gid = argument
		case "name", "id", "v4v6": // [::] is both
		default:
			p.odd = append(p.odd, strings.TrimSpace(word+" "+argument))
		}
	}
	return p
}

// path returns the name of a file, within the directory base if it is relative.
func (f *haFile) path(name, base string) string {
	if base == "" || filepath.IsAbs(name) || strings.HasPrefix(name, "@") || name == "" {
		return name
	}
	return filepath.Join(base, name)
}

// listenOn adds one address of a bind line, which may have a range of ports.
func (v *haService) listenOn(l haLine, address string, p haBind) error {
	scheme := "tcp://"
	if p.ssl || len(v.routes.all) > 0 {
		scheme = "tls://"
	}
	kind, rest, typed := strings.Cut(address, "@")
	if !typed {
		kind, rest = "", address
	}
	switch {
	case kind == "unix", kind == "" && strings.HasPrefix(rest, "/"):
		return v.listenUnix(l, rest, p)
	case kind == "abns":
		return v.listenUnix(l, "@"+rest, p)
	case !slices.Contains([]string{"", "ipv4", "ipv6", "tcp", "tcp4", "tcp6"}, kind):
		return fmt.Errorf("linesplit has no %s@ addresses", kind)
	}
	host, ports, err := splitHAProxyAddress(rest)
	if err != nil {
		return err
	}
	low, high, err := portRange(ports)
	if err != nil {
		return err
	}
	v.ports = append(v.ports, ports)
	if p.v6only {
		v.only6 = append(v.only6, l)
	}
	for port := low; port <= high; port++ {
		name := bindHost(host, strings.HasSuffix(kind, "6"))
		if err := v.s.addListener(l.n, scheme+name+":"+strconv.Itoa(port), ""); err != nil {
			return err
		}
	}
	return nil
}

func (v *haService) listenUnix(l haLine, path string, p haBind) error {
	if p.ssl || len(v.routes.all) > 0 {
		return errors.New("a Unix socket of linesplit has no TLS")
	}
	if p.accept {
		v.miss(l, "accept-proxy", "linesplit reads no PROXY header from Unix sockets")
	}
	var options []string
	if mode := p.mode; mode != "" {
		options = append(options, "mode="+fmt.Sprintf("%04s", mode))
	}
	if p.uid != "" {
		options = append(options, "uid="+p.uid)
	}
	if p.gid != "" {
		options = append(options, "gid="+p.gid)
	}
	if options != nil {
		path += "?" + strings.Join(options, "&")
	}
	if strings.ContainsAny(path, ", ") {
		return errors.New("linesplit takes no comma or blank in an address")
	}
	return v.s.addListener(l.n, "unix://"+path, "")
}

// splitHAProxyAddress splits HOST:PORT at its last colon: HAProxy allows IPv6 addresses without
// brackets. It returns the host without brackets, and "*" as an empty host.
func splitHAProxyAddress(address string) (host, port string, err error) {
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 || strings.HasSuffix(address, "]") {
		return address, "", errors.New("it names no port")
	}
	host, port = address[:colon], address[colon+1:]
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "*" {
		host = ""
	}
	return host, port, nil
}

// portRange reads PORT or LOW-HIGH.
func portRange(ports string) (low, high int, err error) {
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	low, err = strconv.Atoi(from)
	if err == nil {
		high, err = strconv.Atoi(to)
	}
	switch {
	case err != nil || low < 1 || high > 65535 || low > high:
		return 0, 0, fmt.Errorf("%q is no port or range of ports", ports)
	case high-low >= maxPortRange:
		return 0, 0, fmt.Errorf("a range of more than %d ports", maxPortRange)
	}
	return low, high, nil
}

// bindHost returns the host of a listener as linesplit writes it. An address without a host is
// every IPv4 address in HAProxy's configuration, or every IPv6 address if six is set.
func bindHost(host string, six bool) string {
	switch ip, err := netip.ParseAddr(host); {
	case host == "" && six, err == nil && ip == netip.IPv6Unspecified():
		return "[::]"
	case host == "":
		return "0.0.0.0"
	case err == nil && ip.Is6():
		return "[" + host + "]"
	}
	return host
}

// serverTLS sets the certificate of the listeners.
func (v *haService) serverTLS(l haLine, p haBind) {
	if have := v.s.get("tls-cert"); have != nil && have != p.cert {
		v.miss(l, "crt "+p.cert, "the listeners of a service have one certificate")
		return
	}
	if p.cert == "" {
		v.miss(l, l.String(), "it names no certificate with crt: set tls-cert and tls-key")
		return
	}
	if strings.HasSuffix(p.cert, "/") {
		v.miss(l, "crt "+p.cert, "linesplit does not read directories of certificates")
	}
	v.s.set("tls-cert", p.cert) // one file may hold both
	v.s.set("tls-key", p.cert)
	switch {
	case p.verify == "required" && p.clientCA != "":
		v.s.set("tls-client-ca", p.clientCA)
		if p.crl != "" {
			v.s.set("tls-client-crl", p.crl)
		}
	case p.verify != "" && p.verify != "none":
		v.miss(l, "verify "+p.verify, "linesplit demands a certificate of every client or of none")
	}
	if p.minVersion != "" {
		v.minVersion(l, p.minVersion)
	}
}

// minVersion sets the lowest version of TLS from a bind line's ssl-min-ver.
func (v *haService) minVersion(l haLine, version string) {
	text, ok := tlsVersions[version]
	if !ok {
		v.miss(l, "ssl-min-ver "+version, "linesplit speaks TLS 1.2 and 1.3")
		return
	}
	v.s.set("tls-min-version", text)
}

// tlsVersions are the values of tls-min-version, by HAProxy's names.
var tlsVersions = map[string]string{"TLSv1.2": "1.2", "TLSv1.3": "1.3"}

// tlsVersion sets the lowest version of TLS from the global section, if it is above linesplit's
// default and the service has no version of its own.
func (v *haService) tlsVersion() {
	secure := v.s.get("tls-cert") != nil || slices.ContainsFunc(v.servers, func(s haServer) bool { return s.params.ssl })
	if secure && v.f.minTLS == "1.3" && v.s.get("tls-min-version") == nil {
		v.s.set("tls-min-version", v.f.minTLS)
	}
}

// only6Listeners records the bind lines for IPv6 alone with which linesplit would listen on IPv4 as
// well.
func (v *haService) only6Listeners() {
	for _, l := range v.only6 {
		_, port, err := splitHAProxyAddress(l.arg(1))
		ipv4 := slices.ContainsFunc(v.s.list("listen"), func(it item) bool { return strings.HasSuffix(it.text, "://0.0.0.0:"+port) })
		if err != nil || !ipv4 {
			v.miss(l, "v6only", "[::] is for IPv6 alone only beside an IPv4 listener of the same port")
		}
	}
}
