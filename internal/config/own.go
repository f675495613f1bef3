package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"

	"linesplit/admin"
	"linesplit/internal/flags"
	"linesplit/listen"
	"linesplit/target"
)

// checkOwn records targets that are listeners of linesplit itself, to which lines would go round
// for ever, and an admin listener whose address another listener has.
func checkOwn(s *flags.Set, c Config) {
	if !s.OK("listen", "addr", "port", "admin") {
		return
	}
	own := c.ownPlaces()
	for _, a := range c.Targets {
		if err := own.check(a); err != nil {
			failTarget(s, a.Group, a.String(), err)
		}
	}
	if listener, found := own.atAdmin(c.Admin); found {
		s.Fail("admin", fmt.Errorf("the listener %s has that address", listener))
	}
}

// atAdmin returns the listener that has the address of the admin listener, value.
func (o ownPlaces) atAdmin(value string) (listener listen.Spec, found bool) {
	if o.admin == (ownPlace{}) {
		return listen.Spec{}, false
	}
	if listener, found = o.listeners[o.admin]; found {
		return listener, true
	}
	for place, spec := range o.listeners {
		if place.network == o.admin.network && place.port == o.admin.port &&
			(covers(spec.String(), o.admin.host) || covers(value, place.host)) {
			return spec, true
		}
	}
	return listen.Spec{}, false
}

// covers reports whether a listener is on every address of the family of ip. It returns false if ip
// is a host name.
func covers(listener, ip string) bool {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	_, rest, found := strings.Cut(listener, "://")
	if !found {
		rest = listener
	}
	rest, _, _ = strings.Cut(rest, "/") // the path of an http:// listener
	host, _, err := net.SplitHostPort(rest)
	return err == nil && (host == "" || host == "::" || host == "0.0.0.0" && addr.Is4())
}

// ownPlaces are the places at which linesplit listens, as far as the configuration tells them.
type ownPlaces struct {
	listeners map[ownPlace]listen.Spec
	admin     ownPlace                   // zero without an admin listener
	hosts     func() map[netip.Addr]bool // returns the addresses of this machine
}

// ownPlaces returns the places of the listeners of c and of its admin listener.
func (c Config) ownPlaces() ownPlaces {
	own := ownPlaces{listeners: map[ownPlace]listen.Spec{}, hosts: sync.OnceValue(ownHosts)}
	for _, spec := range c.Listen {
		if place := placeOf(spec); place != (ownPlace{}) {
			own.listeners[place] = spec
		}
	}
	if spec, err := admin.ParseSpec(c.Admin); err == nil && c.Admin != "" {
		own.admin = placeOf(spec)
	}
	return own
}

// check returns an error for a target that is a listener of linesplit itself.
func (o ownPlaces) check(a target.Address) error {
	for _, place := range o.namesOf(a) {
		if spec, found := o.listeners[place]; found {
			return fmt.Errorf("linesplit itself listens there, on %s: what is sent there would go round for ever", spec)
		}
		if place == o.admin {
			return errors.New("that is the -admin listener")
		}
	}
	return nil
}

// namesOf returns the places of the listeners that a target may lead to, as far as it is known
// without a look-up of host names.
func (o ownPlaces) namesOf(a target.Address) []ownPlace {
	if a.Scheme == target.SchemeUnix {
		return []ownPlace{{network: a.Scheme, host: cleanPath(a.Host)}}
	}
	host, port, err := net.SplitHostPort(strings.ToLower(a.Host))
	if err != nil {
		return nil
	}
	network := networkOf(a.Scheme)
	places := []ownPlace{{network, host, port}}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "localhost":
		places = append(places, ownPlace{network, "127.0.0.1", port}, ownPlace{network, "::1", port}, ownPlace{network, "", port})
	case err != nil:
	case ip.IsLoopback():
		places = append(places, ownPlace{network, "localhost", port}, ownPlace{network, "", port})
	case ip.IsUnspecified():
		places = append(places, ownPlace{network, "", port}, ownPlace{network, "127.0.0.1", port})
	case o.hosts()[ip.Unmap()]:
		places = append(places, ownPlace{network, "", port})
	}
	return places
}

// ownHosts returns the addresses of this machine, or none if it cannot read them.
func ownHosts() map[netip.Addr]bool {
	hosts := map[netip.Addr]bool{}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			hosts[prefix.Addr()] = true
		}
	}
	return hosts
}

// ownPlace is the place of a listener. The zero value stands for an unknown one.
type ownPlace struct {
	network string // tcp, udp or unix
	host    string // path for unix; empty for every address of the machine
	port    string // empty for unix
}

// placeOf returns the place of a listener, or the zero value, as for a port that the kernel
// chooses.
func placeOf(spec listen.Spec) ownPlace {
	scheme, rest, found := strings.Cut(spec.String(), "://")
	rest, _, _ = strings.Cut(rest, "?")
	if spec.Web().On {
		rest, _, _ = strings.Cut(rest, "/")
	}
	if !found || strings.HasSuffix(rest, ":0") {
		return ownPlace{}
	}
	if scheme == target.SchemeUnix {
		return ownPlace{network: scheme, host: cleanPath(rest)}
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return ownPlace{}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return ownPlace{network: networkOf(scheme), host: strings.ToLower(host), port: port}
}

func networkOf(scheme string) string {
	switch scheme {
	case target.SchemeUnix, target.SchemeUDP:
		return scheme
	}
	return target.SchemeTCP
}

func cleanPath(path string) string {
	if strings.HasPrefix(path, "@") {
		return path
	}
	return filepath.Clean(path)
}
