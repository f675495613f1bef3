package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"linesplit/target"
)

// handshake checks a with a TLS handshake. The certificate of a tls:// target must be valid for
// the configuration that linesplit dials it with. The certificate of another target, whose TLS
// passes through linesplit, is not verified: its clients may trust other authorities and know the
// target by other names.
func (c Check) handshake(ctx context.Context, a target.Address, o *target.Options) error {
	if a.Scheme == target.SchemeTLS {
		return c.talk(ctx, a, o, sayNothing)
	}
	return c.talk(ctx, a, o, func(conn *conversation) error {
		config := &tls.Config{InsecureSkipVerify: true} // see above
		if host, _, err := net.SplitHostPort(a.Host); err == nil && a.Scheme == target.SchemeTCP {
			config.ServerName = host
		}
		secure := tls.Client(conn.Conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		closeInOrder(converse(secure))
		return nil
	})
}
