package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/tlsconf"
)

// Lists holds the networks that are admitted, refused, and trusted as proxies. IPv4 networks are
// not mapped to IPv6; see ParsePrefix.
type Lists struct {
	// An address in a network of Deny is refused. If Allow is not empty, an address in none of its
	// networks is refused, too. Both are checked before anything is read: TCP connections are
	// reset, datagrams dropped.
	Allow, Deny []netip.Prefix
	// ProxyFrom holds the networks of proxies. Proxies may connect regardless of Allow and Deny,
	// and each of their TCP connections must begin with a PROXY protocol header, version 1 or 2.
	// The address in the header becomes the connection's address, also for Allow and Deny. A header
	// without an address (LOCAL, UNKNOWN, a Unix socket) keeps the proxy's address. A connection
	// with a wrong or missing header is reset. Data from other peers is never taken for a header.
	ProxyFrom []netip.Prefix
}

// Guard decides which peers may connect over TCP and UDP, and which are proxies. The zero value
// admits all peers. One Guard may serve any number of listeners; its exported fields must not be
// changed once it does, but Set can replace the lists. Its methods are safe for concurrent use. It
// does not apply to Unix sockets and standard input.
type Guard struct {
	// Allow, Deny and ProxyFrom are as in Lists, and apply until Set is called.
	Allow, Deny, ProxyFrom []netip.Prefix
	// HeaderTimeout limits the time that a proxy may take for its header: 5 s if it is 0.
	HeaderTimeout time.Duration
	// Logger gets refusals as a summary. nil discards them.
	Logger *slog.Logger
	// Handshakes bounds the TLS handshakes of all listeners; nil bounds the size of ClientHellos
	// only.
	Handshakes *tlsconf.Handshakes

	lists atomic.Pointer[Lists] // changes under mu; nil: the fields above apply

	mu         sync.Mutex
	headerless bool // a listener was opened that reads no headers

	denied, proxyErrors, probes atomic.Uint64
	deniedLog, proxyErrorsLog   loglimit.Limiter
}

// GuardStats counts refusals since the Guard was made.
type GuardStats struct {
	Denied      uint64 // connections and datagrams that Allow or Deny refused
	ProxyErrors uint64 // connections from proxies without a valid header
	Probes      uint64 // connections from proxies that ended before their first byte
}

// Stats returns the counts so far.
func (g *Guard) Stats() GuardStats {
	return GuardStats{Denied: g.denied.Load(), ProxyErrors: g.proxyErrors.Load(), Probes: g.probes.Load()}
}

const defaultHeaderTimeout = 5 * time.Second

func (g *Guard) headerTimeout() time.Duration {
	if g.HeaderTimeout <= 0 {
		return defaultHeaderTimeout
	}
	return g.HeaderTimeout
}

// ErrProxyFromNeedsRestart is the error of Set for a ProxyFrom that listeners opened without PROXY
// headers cannot apply.
var ErrProxyFromNeedsRestart = errors.New("some listeners were opened without proxies and would read " +
	"PROXY protocol headers as data: restart")

// Set replaces all lists at once, for connections and datagrams that come from now on. Open
// connections stay, and a proxy whose header is being read has time to complete it. Set keeps l,
// which the caller must not change afterwards. If ProxyFrom was empty when a TCP listener was
// opened, it must stay empty: otherwise the error is ErrProxyFromNeedsRestart, and nothing changes.
func (g *Guard) Set(l Lists) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(l.ProxyFrom) > 0 && g.headerless {
		return ErrProxyFromNeedsRestart
	}
	g.lists.Store(&l)
	return nil
}

// current returns the lists in force.
func (g *Guard) current() Lists {
	if l := g.lists.Load(); l != nil {
		return *l
	}
	return Lists{g.Allow, g.Deny, g.ProxyFrom}
}

func (g *Guard) handshakes() *tlsconf.Handshakes {
	if g == nil {
		return nil
	}
	return g.Handshakes
}

// restricts reports whether some peers may not connect. A nil Guard admits all.
func (g *Guard) restricts() bool { return g != nil && g.current().restrict() }

func (l Lists) restrict() bool { return len(l.Allow)+len(l.Deny) > 0 }

// hasProxies reports whether a listener that is being opened has to read headers. If not, it never
// will: Set then refuses proxies.
func (g *Guard) hasProxies() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	has := len(g.current().ProxyFrom) > 0
	g.headerless = g.headerless || !has
	return has
}

// admits reports whether an address may connect. It counts and logs refusals.
func (g *Guard) admits(from netip.AddrPort) bool {
	if g == nil {
		return true
	}
	l := g.current()
	if !l.restrict() || l.admit(normalize(from.Addr())) {
		return true
	}
	g.denied.Add(1)
	g.warn(&g.deniedLog, "connection denied", slog.Any("peer", shown(from)))
	return false
}

func (l Lists) admit(a netip.Addr) bool {
	return !contains(l.Deny, a) && (len(l.Allow) == 0 || contains(l.Allow, a))
}

// isProxy reports whether a connection from this address must begin with a header.
func (g *Guard) isProxy(from netip.AddrPort) bool {
	return contains(g.current().ProxyFrom, normalize(from.Addr()))
}

func (g *Guard) headerFailed(from netip.AddrPort, err error) {
	if errors.Is(err, tlsconf.ErrProbe) {
		g.probes.Add(1)
		return
	}
	g.proxyErrors.Add(1)
	g.warn(&g.proxyErrorsLog, "no PROXY protocol header from a proxy", slog.Any("peer", shown(from)), slog.Any("err", err))
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// normalize returns the address in the form of the lists: IPv4 on an IPv6 socket as IPv4, and no
// zone.
func normalize(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// shown returns an address in the form of all other logs: IPv4 on an IPv6 socket as IPv4.
func shown(from netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// peerOf returns the address of the peer.
func peerOf(conn *net.TCPConn) netip.AddrPort {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// reset closes a connection with a reset, so that the peer does not take it for a clean end.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// ParsePrefix parses a network, such as 10.0.0.0/8 or 2001:db8::/32, or a single address, which is
// a network of one. IPv4 addresses written as IPv6 (::ffff:10.0.0.0/104) become IPv4. A network
// with host bits is an error, since it might mean the network or the host; the error names the
// network with these bits cleared.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network: "+
				"write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write 10.0.0.0/8 or 2001:db8::/32", text)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf("%q names a host within a network: write %s, or the address alone",
			text, unmapped(masked))
	}
	return unmapped(p), nil
}

// unmapped returns p as IPv4 if it is an IPv4 network written as IPv6.
func unmapped(p netip.Prefix) netip.Prefix {
	const mapping = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() && p.Bits() >= mapping {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapping)
	}
	return p
}

// warn logs refusals as a summary.
func (g *Guard) warn(all *loglimit.Limiter, msg string, attrs ...slog.Attr) {
	if g.Logger != nil {
		all.Warn(g.Logger, msg, attrs...)
	}
}

// FlushLog logs the refusals that the log has held back to report them in sum. It is for the end.
func (g *Guard) FlushLog() {
	g.deniedLog.Flush()
	g.proxyErrorsLog.Flush()
}
