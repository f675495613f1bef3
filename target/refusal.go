package target

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// refusalTime limits how long a dial waits for a refusal of our certificate.
const refusalTime = 100 * time.Millisecond

// trial is one handshake and the target's verdict on our certificate, or on the lack of one. In TLS
// 1.3 our side of the handshake is over before the target has read the certificate (RFC 8446, 2): a
// refusal is an alert that comes afterwards, and what we write meanwhile is lost. A target that
// accepts shows that by a session ticket, which most servers send at once, or by data.
type trial struct {
	*tls.Conn
	asked   bool   // the target has asked for a certificate
	waiting bool   // for the verdict
	early   []byte // data that the target sent before its verdict was clear
}

// newTrial prepares a handshake over conn, and changes config for it.
func newTrial(conn net.Conn, config *tls.Config) *trial {
	t := new(trial)
	choose := config.GetClientCertificate
	if choose == nil {
		choose = firstSupported(config.Certificates)
	}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		t.asked = true
		return choose(request)
	}
	if config.ClientSessionCache == nil { // then crypto/tls would ask for no tickets
		config.ClientSessionCache = ticketWatch{t}
	}
	t.Conn = tls.Client(conn, config)
	return t
}

// firstSupported chooses as crypto/tls does without GetClientCertificate.
func firstSupported(all []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range all {
			if request.SupportsCertificate(&all[i]) == nil {
				return &all[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
}

// ticketWatch is a cache that keeps nothing: a ticket ends the read that waits for a verdict.
type ticketWatch struct{ t *trial }

func (ticketWatch) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (w ticketWatch) Put(string, *tls.ClientSessionState) {
	if w.t.waiting {
		w.t.SetReadDeadline(past)
	}
}

var past = time.Unix(1, 0)

// shake completes the handshake, including the verdict. It returns when the target has sent a
// ticket or data, or has not refused within refusalTime.
func (t *trial) shake(ctx context.Context) error {
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	if !t.asked || t.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	wait := refusalTime
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)/2)
	}
	t.SetReadDeadline(time.Now().Add(wait))
	stop := context.AfterFunc(ctx, func() { t.SetReadDeadline(past) })
	err := t.await()
	if !stop() { // the deadline is, or is about to be, in the past
		return context.Cause(ctx)
	}
	t.SetReadDeadline(time.Time{})
	return err
}

// await reads until the verdict is clear. An orderly end is no refusal: the target may be a
// half-closer.
func (t *trial) await() error {
	buf := make([]byte, 1)
	t.waiting = true
	n, err := t.Read(buf)
	t.waiting = false
	t.early = buf[:n]
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// settled returns the connection after shake.
func (t *trial) settled() net.Conn {
	if len(t.early) == 0 {
		return t.Conn
	}
	return &earlyConn{t.Conn, t.early}
}

// earlyConn is a connection of which the first bytes have been read already.
type earlyConn struct {
	*tls.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}
