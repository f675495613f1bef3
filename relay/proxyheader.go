package relay

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// proxyHeader returns the header of the PROXY protocol, version 1 or 2, for a client that connected
// from one address to another. It returns nil for version 0. If the version cannot carry the
// addresses, such as those of a Unix client in version 1, the header marks them as unknown.
func proxyHeader(version int, from, to net.Addr) []byte {
	if version == 0 {
		return nil
	}
	b, err := proxyproto.HeaderProxyFromAddrs(byte(version), from, to).Format()
	if err != nil {
		b, _ = proxyproto.HeaderProxyFromAddrs(byte(version), nil, nil).Format()
	}
	return b
}
