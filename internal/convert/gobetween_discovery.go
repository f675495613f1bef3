package convert

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"linesplit/internal/servername"
)

// discovery reads [discovery]: the source of the backends.
func (v *gobetweenServer) discovery() {
	kind := v.find("discovery", "kind")
	switch kind.text() {
	case "static":
		v.static()
	case "srv":
		v.srv()
	case "exec":
		v.exec()
	case "consul":
		v.consul()
	case "":
	default:
		v.miss(kind, "linesplit has no such source of targets")
	}
}

// gobetweenBackend is one entry of static_list.
type gobetweenBackend struct {
	value            entryValue
	address          string
	weight, priority int    // backends with the lowest priority serve
	limit            int    // of connections; 0 for none
	sni              string // server name of the clients that the backend serves; empty for others
}

// parseBackend reads "HOST:PORT weight=N priority=N max_connections=N sni=NAME".
func parseBackend(value entryValue) (b gobetweenBackend, err error) {
	b = gobetweenBackend{value: value, weight: 1, priority: 1}
	fields := strings.Fields(value.text)
	if len(fields) == 0 {
		return b, errors.New("no address")
	}
	b.address = fields[0]
	for _, field := range fields[1:] {
		key, text, _ := strings.Cut(field, "=")
		number, known := map[string]*int{"weight": &b.weight, "priority": &b.priority, "max_connections": &b.limit}[key]
		switch {
		case key == "sni":
			b.sni = text
		case !known:
			return b, fmt.Errorf("unknown option %s", key)
		case !setNumber(number, text, 0, 1_000_000):
			return b, fmt.Errorf("%s is not a number", field)
		}
	}
	return b, nil
}

// static reads static_list.
func (v *gobetweenServer) static() {
	v.find("discovery", "failpolicy") // a list does not fail
	backends := v.backends(func(value entryValue, err error) { v.s.miss(value.line, value.text, err.Error()) })
	if v.route {
		backends = slices.DeleteFunc(backends, func(b gobetweenBackend) bool { return b.sni != v.sni })
	}
	if balance := v.s.get("balance"); balance != "random" { // gobetween heeds priorities with weight alone
		for i := range backends {
			backends[i].priority = 1
		}
	}
	v.addBackends(backends)
}

// backends returns the entries of static_list, and calls refuse for each that is not valid.
func (v *gobetweenServer) backends(refuse func(entryValue, error)) (backends []gobetweenBackend) {
	for _, value := range v.find("discovery", "static_list").elements() {
		b, err := parseBackend(value)
		if err != nil {
			refuse(value, err)
			continue
		}
		backends = append(backends, b)
	}
	return backends
}

// serverNames returns the server names that the backends have. rest reports whether there are
// backends for all other clients. Without [sni], gobetween does not look at names.
func (v *gobetweenServer) serverNames() (names []string, rest bool) {
	strategy := v.find("sni", "hostname_matching_strategy")
	v.find("sni", "read_timeout") // linesplit has a fixed timeout
	unexpected := v.find("sni", "unexpected_hostname_strategy")
	if !v.has("sni") || v.find("discovery", "kind").text() != "static" || v.find("protocol").text() == "udp" {
		return nil, true
	}
	if strategy.text() == "regexp" {
		strategy.used = false
		return nil, true
	}
	known := map[string]bool{}
	for _, b := range v.backends(func(entryValue, error) {}) {
		name, err := servername.Parse(b.sni)
		if b.sni == "" {
			rest = true
		} else if err == nil && name == b.sni && !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	if unexpected.text() == "any" {
		unexpected.used = false
	}
	return names, rest && unexpected.text() != "reject" || names == nil
}

// byServerName restricts the service to the clients that ask for its name, or to all others.
func (v *gobetweenServer) byServerName() {
	switch {
	case !v.route:
		return
	case v.sni == "":
		v.s.set("sni-default", "all")
	default:
		v.s.add("sni", v.sni, "")
	}
	if v.s.get("tls-cert") == nil {
		v.s.set("tls-passthrough", true)
	}
}

// addBackends adds backends as targets.
func (v *gobetweenServer) addBackends(backends []gobetweenBackend) {
	equal := !slices.ContainsFunc(backends, func(b gobetweenBackend) bool { return b.weight != backends[0].weight })
	var priorities []int
	for _, b := range backends {
		priorities = append(priorities, b.priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	for _, b := range backends {
		if err := v.target(b, equal, priorities); err != nil {
			v.s.miss(b.value.line, b.value.text, err.Error())
		}
	}
}

// target adds a backend as a target. It is a backup unless it has the first of the priorities.
func (v *gobetweenServer) target(b gobetweenBackend, equalWeights bool, priorities []int) error {
	scheme := ""
	switch {
	case v.udp:
		scheme = "udp://"
	case v.tls:
		scheme = "tls://"
	}
	var options []string
	if !equalWeights {
		if b.weight == 0 {
			return errors.New("weight=0: it is no target, since it would get no connections")
		}
		options = append(options, "weight="+strconv.Itoa(b.weight))
	}
	place, _ := slices.BinarySearch(priorities, b.priority)
	if place > 0 {
		options = append(options, "backup=true")
	}
	if place > 1 {
		v.s.miss(b.value.line, "priority="+strconv.Itoa(b.priority), "backups of linesplit have no order among them")
	}
	if b.limit > 0 {
		options = append(options, "max-connections="+strconv.Itoa(b.limit))
	}
	if v.proxy && !v.udp {
		options = append(options, "proxy-protocol=v1")
	}
	return v.s.addTarget(scheme+goDialAddress(b.address), options, "")
}

// goDialAddress adds the brackets that an IPv6 address needs.
func goDialAddress(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	host, port, err := splitHAProxyAddress(address)
	if err != nil || !strings.Contains(host, ":") {
		return address
	}
	return "[" + host + "]:" + port
}

// srv reads the source of kind srv: SRV records in DNS.
func (v *gobetweenServer) srv() {
	pattern := v.find("discovery", "srv_lookup_pattern")
	if pattern == nil {
		return
	}
	if server := v.find("discovery", "srv_lookup_server"); server != nil {
		address := server.text()
		if v.find("discovery", "srv_dns_protocol").text() == "tcp" {
			address = "tcp://" + address
		}
		if isResolver(server.text()) {
			v.s.set("resolver", address)
		} else {
			v.miss(server, "resolver takes an IP address and a port")
		}
	}
	v.source(pattern, "srv://"+strings.TrimSuffix(pattern.text(), "."))
}

// exec reads the source of kind exec: a program. For gobetween as for linesplit it prints HOST:PORT
// on each line, but linesplit does not know the options that gobetween takes after that.
func (v *gobetweenServer) exec() {
	command := v.find("discovery", "exec_command")
	if command == nil {
		return
	}
	if len(command.values) != 1 {
		v.miss(command, "linesplit gives the program no arguments: write a program that does")
		return
	}
	v.source(command, "exec://"+command.text())
}

// consul reads the source of kind consul: its HTTP API.
func (v *gobetweenServer) consul() {
	host, service := v.find("discovery", "consul_host"), v.find("discovery", "consul_service_name")
	if host == nil || service == nil {
		return
	}
	scheme := "discover+http://"
	if v.find("discovery", "consul_tls_enabled").text() == "true" {
		scheme = "discover+https://"
	}
	var query []string
	if v.find("discovery", "consul_service_passing_only").text() == "true" {
		query = append(query, "passing")
	}
	for name, key := range map[string]string{"consul_datacenter": "dc", "consul_service_tag": "tag"} {
		if e := v.find("discovery", name); e.text() != "" {
			query = append(query, key+"="+url.QueryEscape(e.text()))
		}
	}
	slices.Sort(query)
	v.source(host, scheme+host.text()+"/v1/health/service/"+url.PathEscape(service.text()), query...)
}

// source adds a source of targets with the given options, and those that apply to all sources.
func (v *gobetweenServer) source(e *entry, address string, options ...string) {
	switch {
	case v.udp:
		options = append(options, "scheme=udp")
	case v.tls:
		options = append(options, "scheme=tls")
	}
	if v.proxy && !v.udp {
		options = append(options, "proxy-protocol=v1")
	}
	interval := v.find("discovery", "interval")
	if d := v.parseDuration(interval); d > 0 {
		options = append(options, "refresh="+durationText(min(max(d, time.Second), 24*time.Hour)))
	}
	if err := v.s.addTarget(address, options, ""); err != nil {
		v.miss(e, err.Error())
		return
	}
	if policy := v.find("discovery", "failpolicy"); policy.text() == "setempty" {
		v.miss(policy, "linesplit keeps what it knows while a source fails")
	}
}
