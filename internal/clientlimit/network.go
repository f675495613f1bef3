package clientlimit

import "net/netip"

// networkBits is the length of the prefix that IPv6 networks assign to a host or site: its owner
// chooses the other bits freely.
const networkBits = 64

// Network returns the part of a client's address that limits go by, since the client cannot choose
// it: an IPv4 address, or the /64 of an IPv6 address, without its zone. It returns an invalid
// address unchanged.
func Network(client netip.Addr) netip.Addr {
	client = client.Unmap().WithZone("")
	if !client.Is6() {
		return client
	}
	prefix, _ := client.Prefix(networkBits) // cannot fail for an IPv6 address
	return prefix.Addr()
}
