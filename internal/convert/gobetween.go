package convert

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gobetween reads a gobetween configuration.
type gobetween struct {
	d       *document
	entries []*entry          // in the order of the file
	byPath  map[string]*entry // by entry.path, joined with NUL bytes
}

// readGobetween fills d from gobetween's TOML.
func readGobetween(d *document, text []byte) error {
	entries, err := readTOML(text)
	if err != nil {
		return err
	}
	g := &gobetween{d: d, entries: entries, byPath: map[string]*entry{}}
	var names []string
	lines := map[string]int{}
	for _, e := range entries {
		g.byPath[strings.Join(e.path, "\x00")] = e
		if len(e.path) > 2 && e.path[0] == "servers" && lines[e.path[1]] == 0 {
			names = append(names, e.path[1])
			lines[e.path[1]] = e.line
		}
	}
	if len(names) == 0 {
		return errors.New("it has no [servers.NAME]")
	}
	g.logging()
	g.admin()
	for _, name := range names {
		if d.overflow == nil {
			g.server(name, lines[name])
		}
	}
	for _, e := range entries {
		g.missUnused(d.head, e)
	}
	return nil
}

// find returns a value and marks it as used, or returns nil.
func (g *gobetween) find(path ...string) *entry {
	e := g.byPath[strings.Join(path, "\x00")]
	if e != nil {
		e.used = true
	}
	return e
}

// missUnused records a value that is not marked as used, unless it only switches something off.
func (g *gobetween) missUnused(s *section, e *entry) {
	if !e.used && !e.off() {
		s.miss(e.line, e.String(), gobetweenReasons[e.path[len(e.path)-1]])
	}
}

// gobetweenReasons are explanations for keys without a counterpart, or name what to use instead.
var gobetweenReasons = map[string]string{
	"output":                       "linesplit logs to standard error",
	"login":                        "admin-token-file in place of a name and a password",
	"password":                     "admin-token-file in place of a name and a password",
	"acme_hosts":                   "another program has to renew the certificate; linesplit reads it again when it changes",
	"ciphers":                      "Go chooses the ciphers",
	"initial_status":               "a target is up until checks have failed health-fall times",
	"transparent":                  "linesplit connects from the address that the kernel chooses",
	"hostname_matching_strategy":   "names that are patterns: all clients go to all backends",
	"unexpected_hostname_strategy": "clients that no name fits go to backends without a name",
}

// logging reads [logging].
func (g *gobetween) logging() {
	if e := g.find("logging", "level"); e != nil {
		level := strings.ToLower(e.text())
		if slices.Contains([]string{"debug", "info", "warn", "error"}, level) {
			g.d.head.set("log-level", level)
		} else {
			e.used = false
		}
	}
	if e := g.find("logging", "format"); e.text() == "json" {
		g.d.head.set("log-format", "json")
	}
	if e := g.find("logging", "output"); e != nil {
		e.used = e.text() == "stderr"
	}
}

// admin reads [api] and [metrics]: one address serves both.
func (g *gobetween) admin() {
	api, metrics := g.find("api", "bind"), g.find("metrics", "bind")
	apiOn := g.find("api", "enabled").text() == "true"
	metricsOn := g.find("metrics", "enabled").text() == "true"
	switch {
	case apiOn && api != nil:
		g.d.head.set("admin", goListenAddress(api.text()))
		if metricsOn && metrics != nil && metrics.text() != api.text() {
			g.d.head.miss(metrics.line, "metrics.bind = "+metrics.text(), "/metrics is at -admin, too")
		}
		g.adminTLS()
	case metricsOn && metrics != nil:
		g.d.head.set("admin", goListenAddress(metrics.text()))
	}
	for _, e := range g.entries {
		off := e.path[0] == "api" && !apiOn || e.path[0] == "metrics" && !metricsOn
		if off || e.path[0] == "profiler" && g.find("profiler", "enabled").text() != "true" {
			e.used = true
		}
	}
}

// adminTLS reads [api.tls].
func (g *gobetween) adminTLS() {
	cert, key := g.find("api", "tls", "cert_path"), g.find("api", "tls", "key_path")
	if cert == nil || key == nil {
		return
	}
	g.d.head.set("admin", "tls://"+g.d.head.get("admin").(string))
	g.d.head.set("admin-tls-cert", cert.text())
	g.d.head.set("admin-tls-key", key.text())
}

// goListenAddress returns the listening address of a Go program as linesplit writes it. Go programs
// that listen on 0.0.0.0 accept IPv6 connections as well.
func goListenAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "0.0.0.0" && host != "::" {
		return address
	}
	return ":" + port
}

// gobetweenServer makes one service of a [servers.NAME].
type gobetweenServer struct {
	g     *gobetween
	name  string // of the server
	s     *section
	udp   bool
	route bool   // the service gets only some of the clients, chosen by server name
	sni   string // with route: the server name of these clients; empty: those that no other service gets
	proxy bool   // PROXY headers to backends
	tls   bool   // TLS to backends
}

// find returns a value of the server, whose path is below [servers.NAME].
func (v *gobetweenServer) find(path ...string) *entry {
	return v.g.find(append([]string{"servers", v.name}, path...)...)
}

// has reports whether the server has a table of that name.
func (v *gobetweenServer) has(table string) bool {
	return slices.ContainsFunc(v.g.entries, func(e *entry) bool {
		return len(e.path) > 3 && e.path[0] == "servers" && e.path[1] == v.name && e.path[2] == table
	})
}

// miss records that a value has no counterpart.
func (v *gobetweenServer) miss(e *entry, why string) { v.s.miss(e.line, e.String(), why) }

// server makes a service of [servers.NAME], or one for each server name that its backends have and
// one for the clients that ask for another name.
func (g *gobetween) server(name string, line int) {
	whole := &gobetweenServer{g: g, name: name}
	names, rest := whole.serverNames()
	if len(names) > maxServices { // each of them would read all backends first
		g.d.failServices()
		return
	}
	for _, sni := range names {
		g.build(name+"-"+sni, line, &gobetweenServer{g: g, name: name, sni: sni, route: true})
	}
	last := g.d.head
	if rest {
		whole.route = len(names) > 0
		g.build(name, line, whole)
		last = whole.s
	}
	for _, e := range g.entries {
		if len(e.path) > 2 && e.path[0] == "servers" && e.path[1] == name {
			g.missUnused(last, e)
			e.used = true
		}
	}
}

// build adds a service with the given name and fills it.
func (g *gobetween) build(name string, line int, v *gobetweenServer) {
	v.s = g.d.service(name, line, "servers."+v.name)
	if v.route {
		v.s.group = "servers." + v.name
	}
	v.s.set("mode", "connection")
	v.listen()
	v.byServerName()
	v.balance()
	v.times()
	v.access()
	v.backendsTLS()
	v.discovery()
	v.health()
}

// listen reads bind, protocol and [tls].
func (v *gobetweenServer) listen() {
	bind := v.find("bind")
	if bind == nil {
		return
	}
	scheme := "tcp://"
	if v.route {
		scheme = "tls://"
	}
	switch protocol := v.find("protocol"); protocol.text() {
	case "", "tcp":
	case "udp":
		scheme, v.udp = "udp://", true
	case "tls":
		scheme = "tls://"
		v.serverTLS()
	default:
		v.miss(protocol, "linesplit has tcp, tls and udp")
	}
	if err := v.s.addListener(bind.line, scheme+goListenAddress(bind.text()), ""); err != nil {
		v.miss(bind, err.Error())
	}
}

// serverTLS reads [tls].
func (v *gobetweenServer) serverTLS() {
	for _, pair := range [][2]string{{"cert_path", "tls-cert"}, {"key_path", "tls-key"}} {
		if e := v.find("tls", pair[0]); e.text() != "" {
			v.s.set(pair[1], e.text())
		}
	}
	v.minVersion("tls")
	v.find("tls", "session_tickets")
}

// minVersion records the versions of TLS in a table that linesplit cannot keep to.
func (v *gobetweenServer) minVersion(table string) {
	if e := v.find(table, "min_version"); e != nil && e.text() != "tls1.2" {
		v.miss(e, "linesplit speaks TLS 1.2 and 1.3")
	}
	if e := v.find(table, "max_version"); e != nil && e.text() != "tls1.3" {
		v.miss(e, "linesplit speaks TLS 1.2 and 1.3")
	}
}

// balance reads balance.
func (v *gobetweenServer) balance() {
	e := v.find("balance")
	rules := map[string]string{
		"": "random", "weight": "random", "roundrobin": "round-robin", "leastconn": "least-connections",
		"iphash": "source-hash", "iphash1": "source-hash", "leastbandwidth": "least-bandwidth",
	}
	rule, known := rules[e.text()]
	if !known {
		v.miss(e, "linesplit has no such rule")
		return
	}
	v.s.set("balance", rule)
}

// option returns a value of the server, or that of [defaults].
func (v *gobetweenServer) option(name string) *entry {
	byDefault := v.g.find("defaults", name)
	if e := v.find(name); e != nil {
		return e
	}
	return byDefault
}

// times reads max_connections and the timeouts, which may also stand in [defaults].
func (v *gobetweenServer) times() {
	if e := v.option("max_connections"); e != nil && !e.off() {
		if n, err := strconv.Atoi(e.text()); err == nil && n > 0 && n <= 1<<24 {
			v.s.set("max-connections", n)
		} else {
			v.miss(e, "not a number")
		}
	}
	client, backend := v.duration("client_idle_timeout"), v.duration("backend_idle_timeout")
	if !v.udp {
		v.s.setIdle(client, backend)
	} else if idle := max(client, backend); idle > 0 {
		v.s.set("udp-idle-timeout", durationText(within(idle)))
	}
	if d := v.duration("backend_connection_timeout"); d > 0 && !v.udp {
		v.s.set("dial-timeout", durationText(within(d)))
	}
}

// duration returns a timeout, or 0 for none.
func (v *gobetweenServer) duration(name string) time.Duration {
	return v.parseDuration(v.option(name))
}

// parseDuration returns the duration in e, or 0 if there is none.
func (v *gobetweenServer) parseDuration(e *entry) time.Duration {
	if e == nil || e.text() == "" {
		return 0
	}
	d, err := time.ParseDuration(e.text())
	if err != nil || d < 0 {
		v.miss(e, noDuration)
		return 0
	}
	return d
}

// access reads [access], where the first rule that matches decides.
func (v *gobetweenServer) access() {
	list := v.find("access", "rules")
	otherwise := v.find("access", "default")
	var rules []accessRule
	for _, value := range list.elements() {
		action, network, _ := strings.Cut(strings.TrimSpace(value.text), " ")
		net, ok := parseNet(strings.TrimSpace(network))
		if !ok || action != "allow" && action != "deny" {
			v.s.miss(value.line, value.text, "no rule such as allow 10.0.0.0/8")
			continue
		}
		rules = append(rules, accessRule{action == "allow", net, value.line})
	}
	if otherwise == nil && list == nil || v.s.setAccess(rules, otherwise.text() != "deny") {
		return
	}
	if list == nil {
		list = otherwise
	}
	v.miss(list, "linesplit's deny wins over allow, and where there is an allow, all others are refused")
}

// backendsTLS reads [proxy_protocol] and [backends_tls], the settings of connections to backends.
func (v *gobetweenServer) backendsTLS() {
	v.proxy = v.find("proxy_protocol", "version") != nil
	if v.tls = v.has("backends_tls"); !v.tls {
		return
	}
	skip := v.find("backends_tls", "ignore_verify").text() == "true"
	if skip {
		v.s.set("tls-target-skip-verify", true)
	}
	for _, pair := range [][2]string{
		{"root_ca_cert_path", "tls-target-ca"}, {"cert_path", "tls-target-cert"}, {"key_path", "tls-target-key"},
	} {
		if e := v.find("backends_tls", pair[0]); e.text() != "" && !(skip && pair[0] == "root_ca_cert_path") {
			v.s.set(pair[1], e.text())
		}
	}
	v.minVersion("backends_tls")
	v.find("backends_tls", "session_tickets")
}
