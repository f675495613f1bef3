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
)

// Lists are networks by what those may who are in them. They hold IPv4 networks as such, not mapped to IPv6; see
// ParsePrefix.
type Lists struct {
	// Deny is looked at first: an address in one of its networks is refused. Then Allow: if it is not empty, an
	// address in none of its networks is refused. That is before anything is read; TCP connections are reset,
	// datagrams dropped.
	Allow, Deny []netip.Prefix
	// ProxyFrom is where proxies are. They may connect whatever Allow and Deny say, and each of their TCP connections
	// has to begin with a PROXY protocol header, version 1 or 2. The address in it is the connection's from then on,
	// also for Allow and Deny. A header that names none (LOCAL, UNKNOWN, a Unix socket) leaves the proxy's own. Where
	// the header is wrong or missing the connection is reset. What others send is never taken for a header.
	ProxyFrom []netip.Prefix
}

// Guard says who may connect over TCP and UDP, and who speaks for others. The zero value lets everybody in. One Guard
// may serve any number of listeners; its exported fields are not to be changed once it does, but see Set. Its methods are
// safe for concurrent use. It has no say over Unix sockets and standard input.
type Guard struct {
	// Allow, Deny and ProxyFrom are what Lists say, until Set says otherwise.
	Allow, Deny, ProxyFrom []netip.Prefix
	// HeaderTimeout is how long a proxy may take for its header: 5 s if it is 0.
	HeaderTimeout time.Duration
	// Logger gets refusals in sum. nil discards.
	Logger *slog.Logger

	lists atomic.Pointer[Lists] // changes under mu; nil: those above

	mu       sync.Mutex
	headless bool // a listener was opened that reads no headers

	denied, proxyErrors       atomic.Uint64
	deniedLog, proxyErrorsLog loglimit.Limiter
}

// GuardStats are counts since the beginning.
type GuardStats struct {
	Denied      uint64 // connections and datagrams that Allow or Deny refused
	ProxyErrors uint64 // connections from proxies without a proper header
}

// Stats returns what has been counted so far.
func (g *Guard) Stats() GuardStats {
	return GuardStats{Denied: g.denied.Load(), ProxyErrors: g.proxyErrors.Load()}
}

const defaultHeaderTimeout = 5 * time.Second

func (g *Guard) headerTimeout() time.Duration {
	if g.HeaderTimeout <= 0 {
		return defaultHeaderTimeout
	}
	return g.HeaderTimeout
}

// ErrHeadless is why Set cannot have proxies begin to speak for others.
var ErrHeadless = errors.New("some listeners were opened without proxies and would take PROXY protocol headers for data: restart")

// Set replaces all lists at once, for connections and datagrams that come from now on. Those that are there stay, and a proxy
// whose header is being read has time for it. It keeps l, which is not to be changed any more. Where ProxyFrom was empty when a
// TCP listener was opened it has to remain so: else the error is ErrHeadless, and nothing has changed.
func (g *Guard) Set(l Lists) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(l.ProxyFrom) > 0 && g.headless {
		return ErrHeadless
	}
	g.lists.Store(&l)
	return nil
}

// now returns the lists that hold.
func (g *Guard) now() Lists {
	if l := g.lists.Load(); l != nil {
		return *l
	}
	return Lists{g.Allow, g.Deny, g.ProxyFrom}
}

// restricts says whether there is anybody who may not connect. A nil Guard restricts nobody.
func (g *Guard) restricts() bool { return g != nil && g.now().restrict() }

func (l Lists) restrict() bool { return len(l.Allow)+len(l.Deny) > 0 }

// hasProxies says whether a listener that is being opened has to read headers. If not, there never will be any.
func (g *Guard) hasProxies() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	has := len(g.now().ProxyFrom) > 0
	g.headless = g.headless || !has
	return has
}

// admits judges an address, and counts and logs if it is refused.
func (g *Guard) admits(from netip.AddrPort) bool {
	if g == nil {
		return true
	}
	l := g.now()
	if !l.restrict() || l.admit(plain(from.Addr())) {
		return true
	}
	g.denied.Add(1)
	g.warn(&g.deniedLog, "connection denied", slog.Any("peer", from))
	return false
}

func (l Lists) admit(a netip.Addr) bool {
	return !contain(l.Deny, a) && (len(l.Allow) == 0 || contain(l.Allow, a))
}

// isProxy says whether a connection from this address begins with a header.
func (g *Guard) isProxy(from netip.AddrPort) bool {
	return contain(g.now().ProxyFrom, plain(from.Addr()))
}

func (g *Guard) headerFailed(from netip.AddrPort, err error) {
	g.proxyErrors.Add(1)
	g.warn(&g.proxyErrorsLog, "no PROXY protocol header from a proxy", slog.Any("peer", from), slog.Any("err", err))
}

func contain(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// plain returns the address as networks have it: what arrives by IPv4 on an IPv6 socket is IPv4, and no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// peerOf returns the far end's address.
func peerOf(conn *net.TCPConn) netip.AddrPort {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// reset closes a connection so that its peer does not take it for served.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// ParsePrefix reads a network, such as 10.0.0.0/8 or 2001:db8::/32, or an address alone, which is a network of one.
// IPv4 addresses that are written as IPv6 (::ffff:10.0.0.0/104) become IPv4. A network with bits of a host in it is an
// error, since it might mean either; the error names the network that has them cleared.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network: write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write 10.0.0.0/8 or 2001:db8::/32", text)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf("%q names a host within a network: write %s, or the address alone", text, unmapped(masked))
	}
	return unmapped(p), nil
}

// unmapped returns an IPv4 network that is written as IPv6 as IPv4.
func unmapped(p netip.Prefix) netip.Prefix {
	const mapping = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() && p.Bits() >= mapping {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapping)
	}
	return p
}

// warn logs refusals in sum.
func (g *Guard) warn(all *loglimit.Limiter, msg string, attrs ...slog.Attr) {
	if g.Logger != nil {
		all.Warn(g.Logger, msg, attrs...)
	}
}
