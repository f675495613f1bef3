package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"linesplit/target"
)

// maxAnswer limits the part of an answer that is read, in bytes.
const maxAnswer = 64 << 10

// closeTimeout limits the time in which a target that has answered may end the connection itself.
const closeTimeout = 100 * time.Millisecond

// conversation is a connection on which reading and writing end when the check's time is up, and
// on which no more than maxAnswer bytes are read.
type conversation struct {
	net.Conn
	limited io.Reader
}

func (c *conversation) Read(p []byte) (int, error) { return c.limited.Read(p) }

func converse(conn net.Conn) *conversation {
	return &conversation{conn, io.LimitReader(conn, maxAnswer)}
}

// talk connects to a, says what has to be said and ends the connection.
func (c Check) talk(ctx context.Context, a target.Address, o *target.Options, say func(*conversation) error) error {
	header, err := localHeader(a)
	if err != nil {
		return err
	}
	conn, err := target.Dial(ctx, a, o, header)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	talk := converse(conn)
	if err := say(talk); err != nil {
		return err
	}
	if err := closeInOrder(talk); err != nil && c.kind == TLS { // other targets have answered
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

// sayNothing is the conversation of checks for which the connection itself is the answer.
func sayNothing(*conversation) error { return nil }

// closeInOrder ends a successful conversation without a reset, which a server might log: it sends
// our FIN first, then reads the bytes that are still on their way. It returns the TLS alert by
// which the target refused the connection, if one is among them.
func closeInOrder(conn *conversation) error {
	if half, ok := conn.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	return drain(conn)
}

// drain reads to the end, or for closeTimeout, and returns the TLS alert that ended it, if one did.
func drain(conn *conversation) error {
	conn.SetReadDeadline(time.Now().Add(closeTimeout))
	if _, err := io.Copy(io.Discard, conn); isAlert(err) {
		return err
	}
	return nil
}

// isAlert reports whether err is a TLS alert that the peer sent.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// localHeader returns the header for a target that expects PROXY protocol headers: the LOCAL
// command, which names no client. It returns nil for other targets.
func localHeader(a target.Address) ([]byte, error) {
	if a.ProxyProtocol == 0 {
		return nil, nil
	}
	h := proxyproto.Header{Version: byte(a.ProxyProtocol), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("PROXY protocol header: %w", err)
	}
	return b, nil
}

// withoutTLS returns a without TLS.
func withoutTLS(a target.Address) target.Address {
	if a.Secure() {
		a.Scheme, a.Path = target.SchemeTCP, ""
	}
	return a
}
