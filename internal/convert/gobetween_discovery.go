package convert

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// discovery reads [discovery]: where backends come from.
func (v *gobetweenServer) discovery() {
	kind := v.find("discovery", "kind")
	v.find("discovery", "failpolicy") // linesplit keeps what it knows
	switch kind.text() {
	case "static":
		v.static()
	case "":
	default:
		v.miss(kind, "linesplit has no such source of targets")
	}
}

// gobetweenBackend is one entry of static_list.
type gobetweenBackend struct {
	value            entryValue
	address          string
	weight, priority int // priority: the lowest number serves
	limit            int
	sni              string
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
	var backends []gobetweenBackend
	for _, value := range v.find("discovery", "static_list").all() {
		b, err := parseBackend(value)
		if err != nil {
			v.s.miss(value.line, value.text, err.Error())
			continue
		}
		backends = append(backends, b)
	}
	if balance := v.s.get("balance"); balance != "random" { // priorities count for gobetween's weight alone
		for i := range backends {
			backends[i].priority = 1
		}
	}
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

// target adds a backend as a target. Those of the first priority serve, and all others are backups.
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
	if b.sni != "" {
		v.s.miss(b.value.line, "sni="+b.sni, "a service of its own with that name, on the same listener")
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
