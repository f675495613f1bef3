package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"linesplit/internal/stranger"
	"linesplit/target"
)

// handshake checks a with a TLS handshake. The certificate of a tls:// target must be valid for
// the configuration that linesplit dials it with, and the target must not refuse ours. The
// certificate of another target, whose TLS passes through linesplit, is not verified: its clients
// may trust other authorities and know the target by other names. Such a target may also demand
// certificates of its clients. linesplit has none of theirs, so a refusal after that demand shows
// that the target speaks TLS, which is all that can be checked.
func (c Check) handshake(ctx context.Context, a target.Address, o *target.Options) error {
	if a.Secure() {
		return c.talk(ctx, a, o, sayNothing)
	}
	return c.talk(ctx, a, o, func(conn *conversation) error { return shake(ctx, conn.Conn, a) })
}

func shake(ctx context.Context, conn net.Conn, a target.Address) error {
	asked := false // for a certificate
	config := &tls.Config{
		InsecureSkipVerify: true, // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return new(tls.Certificate), nil
		},
	}
	if host, _, err := net.SplitHostPort(a.Host); err == nil && a.Scheme != target.SchemeUnix {
		config.ServerName = cmp.Or(a.HostName, host)
	}
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if err == nil {
		err = closeInOrder(converse(secure))
	}
	if err == nil || asked && isAlert(err) {
		return nil
	}
	return fmt.Errorf("TLS handshake: %w", stranger.Explain(err))
}
