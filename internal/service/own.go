package service

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"linesplit/internal/accept"
)

// ownListeners are the addresses at which a service and the admin server listen. A target that a
// name or a link leads back to one of them would make lines and connections go round for ever.
// internal/config refuses those that it can tell without a look-up. The zero value has none; its
// methods are safe for concurrent use.
type ownListeners struct{ all atomic.Pointer[[]ownListener] }

type ownListener struct {
	name    string // as in the log
	network string // tcp, udp or unix
	path    string // of a Unix socket
	at      netip.AddrPort
}

// set makes the listeners of in known, and the admin listener unless it is nil.
func (o *ownListeners) set(in *inbound, admin net.Listener) {
	var all []ownListener
	add := func(name string, a net.Addr) {
		l := ownListener{name: name, network: a.Network()}
		if at, err := netip.ParseAddrPort(a.String()); err == nil {
			l.at = plain(at)
		} else {
			l.path = a.String()
		}
		all = append(all, l)
	}
	for _, ln := range in.listeners {
		add(accept.Name(ln), ln.Addr())
	}
	for _, pc := range in.packets {
		add(packetsName(pc), pc.LocalAddr())
	}
	if admin != nil {
		add("-admin "+accept.Name(admin), admin.Addr())
	}
	o.all.Store(&all)
}

// mayConnect returns an error if an address is that of a listener. It is target.Options.MayConnect.
func (o *ownListeners) mayConnect(network, address string) error {
	all := o.all.Load()
	if all == nil {
		return nil
	}
	for _, l := range *all {
		if strings.HasPrefix(network, l.network) && l.has(address) {
			return fmt.Errorf("linesplit itself listens there, on %s: what is sent there would go round for ever", l.name)
		}
	}
	return nil
}

// ports returns the ports of the listeners, with 0 for Unix sockets.
func (o *ownListeners) ports() (all []uint16) {
	if listeners := o.all.Load(); listeners != nil {
		for _, l := range *listeners {
			all = append(all, l.at.Port())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// has reports whether what is sent to an address of the listener's network comes to the listener.
func (l ownListener) has(address string) bool {
	if l.network == "unix" {
		return sameSocket(l.path, address)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	switch to = plain(to); {
	case to.Port() != l.at.Port() || l.at.Addr().Is4() != to.Addr().Is4() && l.at.Addr() != netip.IPv6Unspecified():
		return false
	case to.Addr().IsUnspecified(): // the kernel takes it for loopback
		return l.at.Addr().IsUnspecified() || l.at.Addr().IsLoopback()
	case l.at.Addr().IsUnspecified():
		return isOwn(to.Addr())
	}
	return to == l.at
}

// sameSocket reports whether two paths, or names of abstract sockets, lead to the same socket.
func sameSocket(a, b string) bool {
	if a == b {
		return true
	}
	if strings.HasPrefix(a, "@") || strings.HasPrefix(b, "@") {
		return false
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// isOwn reports whether an IP address is one of this machine.
func isOwn(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	all, _ := net.InterfaceAddrs() // where they cannot be read, the machine has none that are known
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
