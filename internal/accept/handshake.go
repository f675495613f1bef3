package accept

import (
	"crypto/tls"
	"errors"

	"linesplit/tlsconf"
)

// Handshake does the server's handshake of t, within the bounds of the listener that t comes from
// if it has some. A peer that does not speak TLS is sent an alert, by which it can tell that it has
// not reached a listener for plain text: crypto/tls would send it nothing.
func Handshake(t *tls.Conn) error {
	err := handshake(t)
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
		plain.Conn.Write(protocolVersion) // fits into any send buffer
	}
	return err
}

// protocolVersion is the fatal alert that OpenSSL sends then (RFC 8446, 6.2).
var protocolVersion = []byte{21, 3, 1, 0, 2, 2, 70}

func handshake(t *tls.Conn) error {
	if in, ok := t.NetConn().(*tlsconf.Incoming); ok {
		return in.Handshake(t)
	}
	return t.Handshake()
}

// IsProbe reports whether a handshake failed because the peer had only tried the port: its
// connection ended before the first byte. The listener counts these.
func IsProbe(err error) bool { return errors.Is(err, tlsconf.ErrProbe) }
