package convert

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// haServer is one server line, or a server-template.
type haServer struct {
	line    haLine
	name    string
	address string // as in the line
	count   string // number of servers of a server-template; empty for a server line
	params  haParams
}

// haParams are the parameters of a server line, or those of default-server.
type haParams struct {
	weight, maxconn           int // a maxconn of 0 is no limit
	backup, check, disabled   bool
	inter                     time.Duration // between checks
	rise, fall                int           // number of checks
	proxy                     string        // version of the PROXY header, v1 or v2; empty for none
	ssl, verifyNone, checkSSL bool
	ca, crt                   string // files
	serverName                string
	checkPort, checkAddr      string   // where checks connect to; empty: where the server is
	resolvers                 string   // name of a resolvers section
	shutdown                  bool     // on-marked-down shutdown-sessions
	odd                       []string // words that have no counterpart
}

// serverArguments lists parameters of servers that are followed by an argument.
var serverArguments = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file ca-ignore-err
	check-alpn check-proto check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter
	error-limit fall fastinter guid hash-key id inter init-addr init-state interface log-bufsize log-proto max-reuse
	maxconn maxqueue minconn namespace npn observe on-error on-marked-down on-marked-up pool-conn-name pool-low-conn
	pool-max-conn pool-purge-delay port proto proxy-v2-options redir resolve-net resolve-opts resolve-prefer
	resolvers rise shard sigalgs slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-md5sig tcp-ut track usesrc
	verify verifyhost weight ws`)

// The defaults of HAProxy for checks.
const (
	haInter = 2 * time.Second
	haRise  = 2
	haFall  = 3
)

// defaultServer reads "default-server PARAMETERS", the defaults of the server lines after it.
func (v *haService) defaultServer(l haLine) bool {
	v.params(l.words[1:], &v.defaults)
	v.missOdd(l, "default-server", &v.defaults)
	return true
}

// missOdd records the parameters that have no counterpart.
func (v *haService) missOdd(l haLine, what string, p *haParams) {
	if len(p.odd) > 0 {
		v.miss(l, what+" … "+strings.Join(p.odd, " "), "")
		p.odd = nil
	}
}

// server reads "server NAME ADDRESS PARAMETERS".
func (v *haService) server(l haLine) bool {
	if len(l.words) < 3 {
		v.miss(l, l.String(), "it needs a name and an address")
		return true
	}
	s := haServer{line: l, name: l.words[1], address: l.words[2], params: v.serverDefaults()}
	v.params(l.words[3:], &s.params)
	v.missOdd(l, "server "+s.name, &s.params)
	v.servers = append(v.servers, s)
	return true
}

// template reads "server-template PREFIX NUMBER FQDN:PORT PARAMETERS".
func (v *haService) template(l haLine) bool {
	if len(l.words) < 4 {
		v.miss(l, l.String(), "it needs a prefix, a number and a name")
		return true
	}
	s := haServer{line: l, name: l.words[1], count: l.words[2], address: l.words[3], params: v.serverDefaults()}
	v.params(l.words[4:], &s.params)
	v.missOdd(l, "server-template "+s.name, &s.params)
	v.servers = append(v.servers, s)
	return true
}

// serverDefaults returns the parameters of a server line that has none of its own.
func (v *haService) serverDefaults() haParams {
	p := v.defaults
	if p.inter == 0 {
		p.inter = haInter
	}
	if p.rise == 0 {
		p.rise = haRise
	}
	if p.fall == 0 {
		p.fall = haFall
	}
	return p
}

// params applies the parameters in words to p.
func (v *haService) params(words []string, p *haParams) {
	for i := 0; i < len(words); i++ {
		word, argument := words[i], ""
		if slices.Contains(serverArguments, word) && i+1 < len(words) {
			i++
			argument = words[i]
		}
		negated, isNegated := strings.CutPrefix(word, "no-")
		if isNegated && setFlag(p, negated, false) || setFlag(p, word, true) || v.setParam(p, word, argument) {
			continue
		}
		if !isNegated {
			p.odd = append(p.odd, strings.TrimSpace(word+" "+argument))
		}
	}
}

// setFlag sets a parameter without an argument, and reports whether it is one.
func setFlag(p *haParams, word string, on bool) bool {
	proxy := map[bool]string{true: "v1"}
	switch word {
	case "backup":
		p.backup = on
	case "check":
		p.check = on
	case "disabled":
		p.disabled = on
	case "enabled":
		p.disabled = !on
	case "ssl":
		p.ssl = on
	case "check-ssl":
		p.checkSSL = on
	case "check-send-proxy": // linesplit's checks send the PROXY header if connections do
		return p.proxy != ""
	case "send-proxy":
		p.proxy = proxy[on]
	case "send-proxy-v2":
		if p.proxy = ""; on {
			p.proxy = "v2"
		}
	default:
		return false
	}
	return true
}

// setParam sets a parameter with an argument, and reports whether it has a counterpart.
func (v *haService) setParam(p *haParams, word, argument string) bool {
	switch word {
	case "weight":
		return setNumber(&p.weight, argument, 0, 256)
	case "maxconn":
		return setNumber(&p.maxconn, argument, 0, 1<<24)
	case "rise":
		return setNumber(&p.rise, argument, 1, 1000)
	case "fall":
		return setNumber(&p.fall, argument, 1, 1000)
	case "inter":
		d, ok := haDuration(argument)
		if ok && d > 0 {
			p.inter = d
		}
		return ok && d > 0
	case "port":
		p.checkPort = argument
	case "addr":
		p.checkAddr = argument
	case "verify":
		p.verifyNone = argument == "none"
	case "ca-file":
		if p.ca = v.f.path(argument, v.f.caBase); p.ca == "@system-ca" {
			p.ca = ""
		}
	case "crt":
		p.crt = v.f.path(argument, v.f.certBase)
	case "verifyhost":
		p.serverName = argument
	case "sni":
		name, isText := strings.CutPrefix(argument, "str(")
		if isText {
			p.serverName = strings.Trim(strings.TrimSuffix(name, ")"), `'"`)
		}
		return isText
	case "resolvers":
		p.resolvers = argument
	case "init-addr", "id", "resolve-opts", "resolve-prefer": // names are looked up whenever linesplit dials
		return true
	case "on-marked-down":
		p.shutdown = argument == "shutdown-sessions"
		return p.shutdown
	default:
		return false
	}
	return true
}

// setNumber reads a whole number from low to high, and reports whether text is one.
func setNumber(to *int, text string, low, high int) bool {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return false
	}
	*to = n
	return true
}

// targets turns the servers into targets, and their TLS and checks into settings of the service.
func (v *haService) targets() {
	v.servers = slices.DeleteFunc(v.servers, func(s haServer) bool {
		why := ""
		switch {
		case s.params.disabled:
			why = "disabled: it is no target"
		case s.params.weight == 0:
			why = "weight 0: it is no target, since it would get no connections"
		default:
			return false
		}
		v.miss(s.line, s.line.String(), why)
		return true
	})
	equal := !slices.ContainsFunc(v.servers, func(s haServer) bool { return s.params.weight != v.servers[0].params.weight })
	health := v.health()
	backups := 0
	for _, s := range v.servers {
		if s.params.backup {
			backups++
		}
		v.target(s, equal, health)
	}
	if backups > 1 && !v.backups {
		v.missExtraBackups()
	}
	v.targetTLS()
	if slices.ContainsFunc(v.servers, func(s haServer) bool { return s.params.shutdown }) {
		v.s.set("on-target-down", "reset")
	}
}

// missExtraBackups records that linesplit uses all backups at once.
func (v *haService) missExtraBackups() {
	first := true
	for _, s := range v.servers {
		if s.params.backup && !first {
			v.miss(s.line, "server "+s.name+" … backup", "linesplit uses all backups at once, HAProxy the first that is up")
		}
		first = first && !s.params.backup
	}
}

// target adds one server as a target.
func (v *haService) target(s haServer, equalWeights bool, health healthValues) {
	address, err := v.serverAddress(s)
	if err == nil {
		options := s.options(equalWeights, health)
		if strings.HasPrefix(address, "dns://") || strings.HasPrefix(address, "srv://") {
			options = v.sourceOptions(s, options)
		}
		err = v.s.addTarget(address, options, s.name)
	}
	if err != nil {
		v.miss(s.line, s.line.String(), err.Error())
	}
}

// options returns the options of the target. Those that equal the service's health are left out.
func (s haServer) options(equalWeights bool, health healthValues) (options []string) {
	p := s.params
	if !equalWeights && p.weight > 1 {
		options = append(options, "weight="+strconv.Itoa(p.weight))
	}
	if p.backup {
		options = append(options, "backup=true")
	}
	if p.maxconn > 0 {
		options = append(options, "max-connections="+strconv.Itoa(p.maxconn))
	}
	if p.proxy != "" {
		options = append(options, "proxy-protocol="+p.proxy)
	}
	if !p.check {
		return options
	}
	if p.inter != health.interval {
		options = append(options, "health-interval="+durationText(within(p.inter)))
	}
	if p.rise != health.rise {
		options = append(options, "rise="+strconv.Itoa(p.rise))
	}
	if p.fall != health.fall {
		options = append(options, "fall="+strconv.Itoa(p.fall))
	}
	return options
}

// serverAddress returns the address of a server as linesplit writes it, without options.
func (v *haService) serverAddress(s haServer) (string, error) {
	scheme := ""
	if s.params.ssl {
		scheme = "tls://"
	}
	kind, rest, typed := strings.Cut(s.address, "@")
	if !typed {
		kind, rest = "", s.address
	}
	switch {
	case s.count != "" && typed:
		return "", errors.New("not a name that DNS knows")
	case s.count != "":
		return v.templateSource(rest)
	case kind == "unix", kind == "" && strings.HasPrefix(rest, "/"):
		return unixTarget(rest, s.params.ssl)
	case kind == "abns":
		return unixTarget("@"+rest, s.params.ssl)
	case !slices.Contains([]string{"", "ipv4", "ipv6", "tcp", "tcp4", "tcp6"}, kind):
		return "", fmt.Errorf("linesplit has no %s@ addresses", kind)
	}
	host, port, err := splitHAProxyAddress(rest)
	if err != nil || strings.HasPrefix(port, "+") || strings.HasPrefix(port, "-") {
		host, port, err = v.clientPort(rest, host, port)
	}
	if err != nil {
		return "", err
	}
	ip, notIP := netip.ParseAddr(host)
	switch {
	case host == "", notIP == nil && ip.IsUnspecified():
		return "", errors.New("linesplit does not connect to where the client wanted to go")
	case notIP == nil && ip.Is6():
		host = "[" + host + "]"
	}
	return scheme + host + ":" + port, nil
}

// templateSource returns the source of the targets of a server-template: each address of the name,
// or, for a name such as _http._tcp.example.com, each of its SRV records.
func (v *haService) templateSource(name string) (string, error) {
	if strings.HasPrefix(name, "_") {
		service, _, _ := strings.Cut(name, ":")
		return "srv://" + strings.TrimSuffix(service, "."), nil
	}
	host, port, err := splitHAProxyAddress(name)
	if err != nil {
		host, port, err = v.clientPort(name, host, port)
	}
	return "dns://" + strings.TrimSuffix(host, ".") + ":" + port, err
}

// sourceOptions adds the options of a source of targets, and sets the DNS server that it asks.
func (v *haService) sourceOptions(s haServer, options []string) []string {
	if s.params.ssl {
		options = append(options, "scheme=tls")
	}
	v.f.useResolver(v.s, s)
	return options
}

func unixTarget(path string, secure bool) (string, error) {
	if secure {
		return "", errors.New("linesplit has no TLS over Unix sockets")
	}
	return "unix://" + path, nil
}

// clientPort returns the host and port of a server whose port is relative to the port that the
// client connects to: the same port if offset is empty, or the sum with an offset such as +1000. It
// returns an error unless there is just one listener.
func (v *haService) clientPort(address, host, offset string) (string, string, error) {
	if len(v.ports) != 1 || strings.Contains(v.ports[0], "-") {
		return "", "", errors.New("its port depends on the port that the client connects to")
	}
	listened, err := strconv.Atoi(v.ports[0])
	if err != nil {
		return "", "", err
	}
	if offset == "" { // no port at all
		return strings.Trim(address, "[]"), v.ports[0], nil
	}
	n, err := strconv.Atoi(offset)
	if err != nil {
		return "", "", fmt.Errorf("%q is no port", offset)
	}
	return host, strconv.Itoa(listened + n), nil
}

// targetTLS sets the TLS settings for targets to those of the first server with TLS, and records
// the servers with other ones.
func (v *haService) targetTLS() {
	secure := slices.DeleteFunc(slices.Clone(v.servers), func(s haServer) bool { return !s.params.ssl })
	if len(secure) == 0 {
		return
	}
	first := secure[0].params
	if first.verifyNone {
		v.s.set("tls-target-skip-verify", true)
	}
	if first.ca != "" && !first.verifyNone {
		v.s.set("tls-target-ca", first.ca)
	}
	if first.crt != "" {
		v.s.set("tls-target-cert", first.crt)
		v.s.set("tls-target-key", first.crt)
	}
	if first.serverName != "" {
		v.s.set("tls-target-server-name", first.serverName)
	}
	for _, s := range secure[1:] {
		p := s.params
		if p.verifyNone != first.verifyNone || p.ca != first.ca || p.crt != first.crt || p.serverName != first.serverName {
			v.miss(s.line, "server "+s.name+" … ssl", "its verification differs from that of server "+secure[0].name+
				", and a service has one for all targets")
		}
	}
}
