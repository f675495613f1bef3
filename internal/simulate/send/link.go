package send

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"linesplit/tlsconf"
)

// closeTimeout limits how long a client that has sent everything waits for the peer to end the
// connection.
const closeTimeout = 2 * time.Second

// errClosed means that the peer ended the connection cleanly.
var errClosed = errors.New("closed by the peer")

// link is one connection of a client. It belongs to the client's goroutine. Only the goroutine
// that watchPeer starts runs beside it, and ends with the link.
type link struct {
	net.Conn          // where lines are written: raw, or TLS over it
	raw      net.Conn // TCP or Unix connection

	history  lineHistory
	finished bool // our FIN is sent

	watching sync.WaitGroup
	closed   chan struct{} // closed when the peer has ended the connection; nil before watchPeer
	closeErr error         // how the peer ended it; valid once closed is closed
}

// connect dials and completes the TLS handshake, within limit.
func connect(ctx context.Context, d Dial, limit time.Duration) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dial := d.Connect
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, d.Network, d.Address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", d, err)
	}
	l := &link{Conn: raw, raw: raw}
	if d.TLS != nil {
		secure := tls.Client(raw, d.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("dial %s: %w: %w", d, errHandshake, tlsconf.AdviseHandshake(err, "-tls"))
		}
		l.Conn = secure
	}
	return l, nil
}

// watchPeer reads and discards what the peer sends, in order to notice that it ends the
// connection.
func (l *link) watchPeer() {
	l.closed = make(chan struct{})
	l.watching.Go(func() {
		defer close(l.closed)
		_, l.closeErr = io.Copy(io.Discard, l.Conn)
		// ErrUnexpectedEOF means a FIN without close_notify.
		if l.closeErr == nil || errors.Is(l.closeErr, io.ErrUnexpectedEOF) {
			l.closeErr = errClosed
		}
	})
}

// finish ends the connection after all is sent. It sends FIN, waits for at most limit until the
// peer has acknowledged everything, and then waits for the peer's FIN: closing a connection with
// unread data would reset it, and could lose data in flight. It returns an error if the
// connection did not end cleanly.
func (l *link) finish(limit time.Duration) error {
	if l.closed == nil {
		l.SetReadDeadline(time.Time{})
		l.watchPeer()
	}
	l.closeWrite()
	if !l.awaitAcks(limit) {
		return errStalled
	}
	select {
	case <-l.closed:
		return ignore(l.closeErr, errClosed)
	case <-time.After(closeTimeout):
		return nil
	}
}

// awaitAcks waits until the peer's kernel has acknowledged everything or the connection has
// failed. It returns false if that takes longer than limit. It has to poll, because the kernel
// does not notify of acknowledgements.
func (l *link) awaitAcks(limit time.Duration) bool {
	deadline := time.After(limit)
	closed := l.closed
	for pause := tick / 64; ; pause = min(2*pause, tick) {
		if n, known := unacknowledged(l.raw); !known || n == 0 {
			return true
		}
		select {
		case <-closed:
			if !errors.Is(l.closeErr, errClosed) {
				return true
			}
			closed = nil
		case <-time.After(pause):
		case <-deadline:
			return false
		}
	}
}

func (l *link) closeWrite() {
	if secure, ok := l.Conn.(*tls.Conn); ok {
		secure.CloseWrite() // takes 5 s at most
	}
	if c, ok := l.raw.(interface{ CloseWrite() error }); ok {
		l.finished = c.CloseWrite() == nil
	}
}

// inDoubt returns the highest number of lines that the peer may not have received, on a
// connection that ended with err.
func (l *link) inDoubt(err error) uint64 {
	n, known := unacknowledged(l.raw)
	switch {
	case known && l.finished:
		return l.history.linesInLast(uint64(max(0, n-1)))
	case known:
		return l.history.linesInLast(uint64(n))
	case err == nil, errors.Is(err, errClosed): // the peer of a Unix socket has read everything
		return 0
	}
	return l.history.linesInLast(l.history.end.bytes)
}

// close ends the connection. After half a line it resets the connection, so that the peer does
// not take the half for a line.
func (l *link) close(midLine bool) {
	if tcp, ok := l.raw.(*net.TCPConn); ok && midLine {
		tcp.SetLinger(0)
	}
	l.raw.Close()
	l.watching.Wait()
}
