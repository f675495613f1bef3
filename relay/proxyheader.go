package relay

import (
	"net"

	"github.com/pires/go-proxyproto"

	"linesplit/relay/internal/upstream"
)

// proxyHeaders are the headers of one client by version, made when first needed.
type proxyHeaders [3][]byte

// of returns the header for b, or nil if the target expects none. The addresses are those of the
// client's connection.
func (h *proxyHeaders) of(b *upstream.Backend, from, to net.Addr) []byte {
	version := b.Target.Address.ProxyProtocol
	if h[version] == nil {
		h[version] = proxyHeader(version, from, to)
	}
	return h[version]
}

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
