package convert

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// global reads the global section.
func (f *haFile) global(s *haSection) {
	for _, l := range s.lines {
		if why, ok := f.globalLine(l); !ok {
			f.d.head.miss(l.n, l.String(), why)
		}
	}
}

// globalLine reads a line of the global section. ok is false if the line has no counterpart; why
// may then say more.
func (f *haFile) globalLine(l haLine) (why string, ok bool) {
	switch l.words[0] {
	case "ca-base":
		f.caBase = l.arg(1)
	case "crt-base":
		f.certBase = l.arg(1)
	case "log":
		f.logs = true
		return logsElsewhere, standardStream(l.arg(1))
	case "nbthread":
		n, err := strconv.Atoi(l.arg(1))
		if err != nil || n < 1 || n > 1024 {
			return "", false
		}
		f.d.head.set("loops", n)
	case "hard-stop-after":
		d, ok := haDuration(l.arg(1))
		if !ok || d == 0 {
			return noDuration, false
		}
		f.d.head.set("drain-timeout", durationText(within(d)))
	case "stats":
		return "linesplit ctl uses -admin", false
	case "maxconn", "ulimit-n", "maxconnrate":
		return "max-connections limits each service; all descriptors that the process may have are used", false
	case "chroot", "user", "group", "uid", "gid", "daemon", "pidfile", "master-worker", "nbproc", "cpu-map":
		return "the service manager does that, see deploy/systemd", false
	case "ssl-default-bind-options", "ssl-default-server-options":
		return f.tlsOptions(l)
	case "ssl-default-bind-ciphers", "ssl-default-bind-ciphersuites", "ssl-default-server-ciphers",
		"ssl-default-server-ciphersuites", "tune.ssl.default-dh-param", "ssl-dh-param-file":
		return "Go chooses the ciphers", false
	case "no":
	default:
		return "", false
	}
	return "", true
}

// tlsOptions reads ssl-default-bind-options and -server-options: the lowest version of TLS, and
// options for what linesplit always does.
func (f *haFile) tlsOptions(l haLine) (why string, ok bool) {
	always := []string{"no-sslv3", "no-tlsv10", "no-tlsv11"}
	var odd []string
	for i := 1; i < len(l.words); i++ {
		word := l.words[i]
		switch version, isVersion := tlsVersions[l.arg(i+1)]; {
		case word == "ssl-min-ver" && isVersion:
			i++
			f.minTLS = max(f.minTLS, version)
		case !slices.Contains(always, word):
			odd = append(odd, word)
		}
	}
	if odd == nil {
		return "", true
	}
	f.d.head.miss(l.n, l.words[0]+" … "+strings.Join(odd, " "), "")
	return "", true
}

// adminFrom sets -admin to the address of a statistics page, unless an earlier page has set it.
func (f *haFile) adminFrom(s *haSection) {
	for _, l := range s.lines {
		if l.words[0] != "bind" || len(l.words) > 2 || f.d.head.get("admin") != nil {
			continue
		}
		host, port, err := splitHAProxyAddress(l.arg(1))
		if err != nil {
			continue
		}
		low, _, err := portRange(port)
		if err != nil {
			continue
		}
		comment := s.title()
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			comment += "; metrics and probes only, unless there is an admin-token-file"
		}
		f.d.head.setWithComment("admin", bindHost(host, false)+":"+strconv.Itoa(low), comment)
		f.converted[l.n] = true
	}
	if f.d.head.get("admin") == nil {
		return
	}
	for _, l := range s.lines {
		switch l.words[0] + " " + l.arg(1) {
		case "stats enable", "http-request use-service", "no log":
			f.converted[l.n] = true
		}
	}
}

// isStats reports whether a section serves HAProxy's statistics or metrics, and nothing else.
func (s *haSection) isStats() bool {
	stats := false
	for _, l := range s.lines {
		switch l.words[0] {
		case "stats":
			stats = true
		case "http-request":
			stats = stats || l.arg(1) == "use-service" && strings.HasPrefix(l.arg(2), "prometheus-exporter")
		case "server", "default_backend", "use_backend", "server-template":
			return false
		}
	}
	return stats
}

// useResolver sets the DNS server of a service to the first one of the resolvers section that a
// server line names.
func (f *haFile) useResolver(s *section, server haServer) {
	if server.params.resolvers == "" {
		return
	}
	section := f.find("resolvers", server.params.resolvers)
	if section == nil {
		s.miss(server.line.n, "resolvers "+server.params.resolvers, "no such section")
		return
	}
	for _, l := range section.lines {
		switch l.words[0] {
		case "nameserver":
			if s.get("resolver") == nil && isResolver(l.arg(2)) {
				s.set("resolver", l.arg(2))
				f.converted[l.n] = true
			}
		case "parse-resolv-conf":
			f.converted[l.n] = true
		}
	}
}

// isResolver reports whether -resolver takes the address: an IP address with a port.
func isResolver(address string) bool {
	_, err := netip.ParseAddrPort(address)
	return err == nil
}

// missResolvers records the lines of a resolvers section that have no counterpart.
func (f *haFile) missResolvers(s *haSection) {
	if !s.inUse {
		s.missAll(f.d.head, "no server-template uses it")
		return
	}
	why := "linesplit heeds the records' own times, and keeps what it knows while DNS fails"
	for _, l := range s.lines {
		switch {
		case f.converted[l.n]:
		case l.words[0] == "nameserver":
			f.d.head.miss(l.n, l.String(), "linesplit asks one DNS server, or those of the system")
		default:
			f.d.head.miss(l.n, l.String(), why)
		}
	}
}

// leftOver records the lines of all sections that became no part of a service.
func (f *haFile) leftOver() {
	for _, s := range f.sections {
		switch s.kind {
		case "global", "defaults", "frontend", "listen":
		case "backend":
			if !s.inUse {
				s.missAll(f.d.head, "no frontend of mode tcp leads to it")
			}
		case "resolvers":
			f.missResolvers(s)
		default:
			s.missAll(f.d.head, "")
		}
	}
	for _, s := range f.sections {
		if s.kind == "defaults" {
			f.missDefaults(s)
		}
	}
}

// missDefaults records lines of defaults whose keywords have no counterpart.
func (f *haFile) missDefaults(s *haSection) {
	for _, l := range s.lines {
		key := l.key()
		_, known := haKeywords[key]
		if !known && !haImplied[key] && l.words[0] != "no" {
			f.d.head.miss(l.n, l.String(), haReasons[key])
		}
	}
}
