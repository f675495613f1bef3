package relay

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// proxyHeader returns the PROXY protocol's header of a version for a client that came from one address to the other; nil for version
// 0. Where addresses do not fit the protocol, such as a Unix client's and version 1, the header says that they are not known.
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
