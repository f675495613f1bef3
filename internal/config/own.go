package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/internal/flags"
	"linesplit/listen"
	"linesplit/target"
)

// checkOwn records targets that are listeners of linesplit itself, which would go round for ever,
// and an admin listener where a listener is.
func checkOwn(s *flags.Set, c Config) {
	if !s.OK("listen", "addr", "port", "admin") {
		return
	}
	for _, a := range c.Targets {
		if err := c.checkNotOwn(a); err != nil {
			s.FailValue("target", a.String(), err)
		}
	}
	spec, err := admin.ParseSpec(c.Admin)
	if c.Admin == "" || err != nil {
		return
	}
	for _, l := range c.Listen {
		if place := placeOf(l); place != (ownPlace{}) && place == placeOf(spec) {
			s.Fail("admin", fmt.Errorf("the listener %s has that address", l))
		}
	}
}

// checkNotOwn returns an error for a target that is a listener of linesplit itself.
func (c Config) checkNotOwn(a target.Address) error {
	for _, spec := range c.Listen {
		if placeOf(spec).has(a) {
			return fmt.Errorf("linesplit itself listens there, on %s: what is sent there would go round for ever", spec)
		}
	}
	if spec, err := admin.ParseSpec(c.Admin); err == nil && c.Admin != "" && placeOf(spec).has(a) {
		return errors.New("that is the -admin listener")
	}
	return nil
}

// ownPlace is where a listener is. The zero value is nowhere that is known in advance.
type ownPlace struct {
	network string // tcp, udp or unix
	host    string // path for unix; empty for every address of the machine
	port    string // empty for unix
}

func placeOf(spec listen.Spec) ownPlace {
	scheme, rest, found := strings.Cut(spec.String(), "://")
	rest, _, _ = strings.Cut(rest, "?")
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
	if scheme == target.SchemeTLS {
		return target.SchemeTCP
	}
	return scheme
}

func cleanPath(path string) string {
	if strings.HasPrefix(path, "@") {
		return path
	}
	return filepath.Clean(path)
}

// has reports whether a target leads to p, as far as that is known without a look-up.
func (p ownPlace) has(a target.Address) bool {
	if networkOf(a.Scheme) != p.network {
		return false
	}
	if p.network == target.SchemeUnix {
		return cleanPath(a.Host) == p.host
	}
	host, port, err := net.SplitHostPort(strings.ToLower(a.Host))
	if err != nil || port != p.port {
		return false
	}
	if p.host == "" {
		return isOwnHost(host)
	}
	return host == p.host || isLoopback(host) && isLoopback(p.host) && (host == "localhost" || p.host == "localhost")
}

// isOwnHost reports whether a host is this machine, as far as that is known without a look-up.
func isOwnHost(host string) bool {
	if isLoopback(host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	return ip.IsUnspecified() || err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == ip.Unmap()
	})
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
