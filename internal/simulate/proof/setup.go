package proof

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"linesplit/internal/simulate/sink"
)

// start starts the targets, and then the proxies in front of them.
func (s *stage) start() {
	if s.setup.tls && !s.o.Proxy.tls {
		s.fail(Skipped, "the proxy is not configured for TLS targets: "+
			"use {ca} in its command, or .TLS in its configuration")
	}
	if s.setup.unix && !s.o.Own {
		s.fail(Skipped, "only linesplit is told of targets on Unix sockets")
	}
	if s.setup.web && !s.o.Own {
		s.fail(Skipped, "only linesplit is told of targets that take HTTP requests")
	}
	if s.setup.relp && !s.o.Own {
		s.fail(Skipped, "only linesplit is told of targets that speak RELP")
	}
	if s.setup.haproxy && s.o.HAProxy == "" {
		s.fail(Skipped, "needs HAProxy, which is not installed")
	}
	if s.setup.counts && !s.o.Own {
		s.fail(Skipped, "only linesplit reports the lines that it holds, by which losses are judged")
	}
	if s.setup.netns && !s.failed() {
		s.makeNetns()
	}
	if s.setup.disk && !s.failed() {
		s.makeDisk()
	}
	for i := range targets {
		s.startTarget(i)
	}
	s.startProxies()
}

// targets is the number of targets.
const targets = 2

func (s *stage) makeNetns() {
	n, err := newNetns()
	if err != nil {
		s.fail(Skipped, "needs root, to make a network namespace: %w", err)
		return
	}
	s.netns = n
}

func (s *stage) startTarget(i int) {
	if s.failed() {
		return
	}
	switch {
	case s.setup.web:
		s.startWebTarget()
		return
	case s.setup.relp:
		s.startRELPTarget()
		return
	}
	o := s.setup.target
	o.Network, o.Tally = "tcp", s.tally
	if s.setup.unix {
		o.Network, o.Address = "unix", filepath.Join(s.dir, fmt.Sprintf("t%d", i))
	}
	if s.setup.tls {
		o.TLS = s.id.server([]uint16{tls.VersionTLS12, tls.VersionTLS13}[i%2])
	}
	start := func() {
		t, err := sink.Start(o)
		if err != nil {
			s.fail(Unproven, "start a target: %w", err)
			return
		}
		s.targets = append(s.targets, t)
	}
	if i == 0 && s.netns != nil {
		o.Address = net.JoinHostPort(s.netns.targetIP, "0")
		s.netns.do(start)
		return
	}
	start()
}

// startProxies starts the proxies, beginning with the one next to the targets.
func (s *stage) startProxies() {
	if s.failed() {
		return
	}
	to := s.startHAProxy()
	n := 1
	if s.setup.chain {
		n = 2
	}
	s.proxies = make([]*proxy, n)
	for range n {
		s.listen = append(s.listen, s.freeAddress())
	}
	for i := n - 1; i >= 0; i-- {
		s.startProxy(i, to)
		to = s.listen[i : i+1]
	}
}

// startProxy starts or restarts proxy number i, with targets given as host:port.
func (s *stage) startProxy(i int, to []string) {
	if s.failed() {
		return
	}
	dir := filepath.Join(s.dir, fmt.Sprintf("proxy%d", i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.fail(Unproven, "%w", err)
		return
	}
	v := values{Listen: s.listen[i], Targets: to, TLS: s.setup.tls && i == len(s.listen)-1, CA: s.id.file, Dir: dir}
	v.Flags = s.ownFlags(v.TLS)
	args, err := s.o.Proxy.fill(v)
	if err == nil {
		if s.disk != "" {
			args = withDisk(s.disk, smallDisk, args)
		}
		s.proxies[i], err = startProxy(s.ctx, args, s.listen[i], &s.peak)
	}
	if err != nil {
		s.fail(Failed, "%w", err)
	}
}

// ownFlags returns the flags for linesplit in this scenario. tls is for its connections to targets.
func (s *stage) ownFlags(tls bool) []string {
	flags := slices.Clone(s.setup.flags)
	if tls {
		flags = append(flags, "-tls-target", "-tls-target-ca", s.id.file, "-tls-target-server-name", serverName)
	}
	if s.setup.counts {
		s.admin = s.freeAddress()
		flags = append(flags, "-admin", s.admin)
	}
	if s.setup.spool {
		flags = append(flags, s.spoolFlags()...)
	}
	if s.setup.relp {
		if s.relpListen == "" {
			s.relpListen = s.freeAddress()
		}
		flags = append(flags, "-listen", "relp://"+s.relpListen)
	}
	return flags
}

// targetAddresses returns the addresses of the targets: host:port, unix:// with a path, or a URL.
func (s *stage) targetAddresses() (all []string) {
	for _, t := range s.acking {
		all = append(all, t.Target())
	}
	for _, t := range s.targets {
		if s.setup.unix {
			all = append(all, t.Target())
			continue
		}
		all = append(all, t.Addr())
	}
	return all
}

// startHAProxy starts HAProxy in front of the targets, if the scenario has it. It returns the
// addresses for the proxy to connect to.
func (s *stage) startHAProxy() []string {
	if !s.setup.haproxy {
		return s.targetAddresses()
	}
	var pairs [][2]string
	var to []string
	for _, t := range s.targets {
		address := s.freeAddress()
		pairs = append(pairs, [2]string{address, t.Addr()})
		if s.o.Own {
			to = append(to, address+"?via-proxy=true")
		} else {
			to = append(to, address)
		}
	}
	if s.failed() {
		return nil
	}
	file := filepath.Join(s.dir, "haproxy.cfg")
	if err := os.WriteFile(file, haproxyConfig(pairs), 0o600); err != nil {
		s.fail(Unproven, "%w", err)
		return nil
	}
	p, err := startProxy(s.ctx, []string{s.o.HAProxy, "-db", "-f", file}, pairs[0][0], new(peak))
	if err != nil {
		s.fail(Skipped, "HAProxy: %v", err)
		return nil
	}
	s.haproxy = p
	return to
}

// haproxyConfig forwards each address to its target. A pair is an address and the address of its
// target.
func haproxyConfig(pairs [][2]string) []byte {
	config := []byte("defaults\n mode tcp\n retries 0\n timeout connect 1s\n timeout client 1m\n timeout server 1m\n")
	for i, p := range pairs {
		config = fmt.Appendf(config, "listen l%d\n bind %s\n server s %s\n", i, p[0], p[1])
	}
	return config
}

// freeAddress returns an address on which no program listens.
func (s *stage) freeAddress() string {
	ln, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	if err != nil {
		s.fail(Unproven, "%w", err)
		return ""
	}
	defer sink.CloseListener(ln)
	return ln.Addr().String()
}
