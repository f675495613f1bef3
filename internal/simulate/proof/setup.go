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

// setUp starts the targets and whatever stands before them.
func (s *stage) setUp() {
	if s.cast.tls && !s.o.Proxy.tls {
		s.fail(Skipped, "the proxy's command and configuration say nothing of TLS: it takes {ca}, or .TLS in the configuration")
	}
	if s.cast.between && s.o.HAProxy == "" {
		s.fail(Skipped, "needs HAProxy, which is not installed")
	}
	if s.cast.island && !s.failed() {
		s.makeIsland()
	}
	for i := range targets {
		s.startTarget(i)
	}
	s.startProxies()
}

// targets is how many there are.
const targets = 2

func (s *stage) makeIsland() {
	i, err := newIsland()
	if err != nil {
		s.fail(Skipped, "needs root and a network namespace: %w", err)
		return
	}
	s.island = i
}

func (s *stage) startTarget(i int) {
	if s.failed() {
		return
	}
	o := s.cast.target
	o.Network, o.Tally = "tcp", s.tally
	if s.cast.tls {
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
	if i == 0 && s.island != nil {
		o.Address = net.JoinHostPort(s.island.host, "0")
		s.island.do(start)
		return
	}
	start()
}

// startProxies starts them from the targets on.
func (s *stage) startProxies() {
	if s.failed() {
		return
	}
	to := s.startBetween()
	n := 1
	if s.cast.chain {
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

// startProxy starts a proxy at its place, also again. Its targets are host:port.
func (s *stage) startProxy(i int, to []string) {
	if s.failed() {
		return
	}
	dir := filepath.Join(s.dir, fmt.Sprintf("proxy%d", i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.fail(Unproven, "%w", err)
		return
	}
	v := values{Listen: s.listen[i], Targets: to, TLS: s.cast.tls && i == len(s.listen)-1, CA: s.id.file, Dir: dir, Flags: s.cast.flags}
	if v.TLS {
		v.Flags = append(slices.Clone(v.Flags), "-tls-target", "-tls-target-ca", s.id.file, "-tls-target-server-name", serverName)
	}
	args, err := s.o.Proxy.fill(v)
	if err == nil {
		s.proxies[i], err = startProxy(s.ctx, args, s.listen[i], &s.peak)
	}
	if err != nil {
		s.fail(Failed, "%w", err)
	}
}

// addresses are those of the targets.
func (s *stage) addresses() (all []string) {
	for _, t := range s.targets {
		all = append(all, t.Addr())
	}
	return all
}

// startBetween starts HAProxy in front of the targets, if the scenario wants that, and returns where to connect.
func (s *stage) startBetween() []string {
	if !s.cast.between {
		return s.addresses()
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
	s.between = p
	return to
}

// haproxyConfig forwards connections, one address to one target each.
func haproxyConfig(pairs [][2]string) []byte {
	config := []byte("defaults\n mode tcp\n retries 0\n timeout connect 1s\n timeout client 1m\n timeout server 1m\n")
	for i, p := range pairs {
		config = fmt.Appendf(config, "listen l%d\n bind %s\n server s %s\n", i, p[0], p[1])
	}
	return config
}

// freeAddress is one that nobody listens on.
func (s *stage) freeAddress() string {
	ln, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	if err != nil {
		s.fail(Unproven, "%w", err)
		return ""
	}
	defer ln.Close()
	return ln.Addr().String()
}
