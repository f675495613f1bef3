package listen

import (
	"net"
	"net/netip"
)

// network returns the network to listen on, such as tcp4 for tcp. An IPv4 address is IPv4 alone: by
// default, Go listens on IPv6 too where it is 0.0.0.0. Every address, as [::] or no host, is both
// families, unless Apart has set it apart. A name is left to Go.
func (s Spec) network(base string) string {
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return base
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil && !s.only6:
		return base
	case a.Unmap().Is4():
		return base + "4"
	case s.only6 || !a.IsUnspecified():
		return base + "6"
	default:
		return base
	}
}

// everyAddress reports whether the host is [::] or empty.
func (s Spec) everyAddress() bool {
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.Is6() && a.IsUnspecified()
}

// Apart makes listeners on every address of a port, which take both families, listeners on every
// IPv6 address where the list has one on an IPv4 address of that port, too: the two would be in
// each other's way. It changes the elements of specs.
func Apart(specs []Spec) {
	for i := range specs {
		if !specs[i].everyAddress() {
			continue
		}
		for _, other := range specs {
			if other.takesIPv4Of(specs[i]) {
				specs[i].only6 = true
			}
		}
	}
}

// takesIPv4Of reports whether s listens on an IPv4 address at the port of other.
func (s Spec) takesIPv4Of(other Spec) bool {
	host, port, err := net.SplitHostPort(s.address)
	_, otherPort, otherErr := net.SplitHostPort(other.address)
	if err != nil || otherErr != nil || port != otherPort || port == "0" || s.UDP() != other.UDP() {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().Is4()
}
