package accept

import (
	"crypto/tls"
	"errors"

	"linesplit/tlsconf"
)

// Handshake does the server's handshake of t, within the bounds of the listener that t comes from
// if it has some.
func Handshake(t *tls.Conn) error {
	if in, ok := t.NetConn().(*tlsconf.Incoming); ok {
		return in.Handshake(t)
	}
	return t.Handshake()
}

// IsProbe reports whether a handshake failed because the peer had only tried the port: its
// connection ended before the first byte. The listener counts these.
func IsProbe(err error) bool { return errors.Is(err, tlsconf.ErrProbe) }
