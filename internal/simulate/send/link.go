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
)

// linger is how long a client that has sent all it had to waits for the peer to end the connection too.
const linger = 2 * time.Second

// errClosed says that the peer has ended the connection in order.
var errClosed = errors.New("closed by the peer")

// link is one connection of a client. It belongs to the client's goroutine, but for the goroutine that watch starts, which ends with it.
type link struct {
	net.Conn          // what lines are written to: raw, or TLS over it
	raw      net.Conn // what the kernel knows of

	marks    marks
	finished bool // our FIN is sent

	watching sync.WaitGroup
	gone     chan struct{} // closed when the peer has ended the connection; nil: nobody watches it
	end      error         // how; valid once gone is closed
}

// connect dials and shakes hands, within limit.
func connect(ctx context.Context, d Dial, limit time.Duration) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, d.Network, d.Address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", d, err)
	}
	l := &link{Conn: raw, raw: raw}
	if d.TLS != nil {
		secure := tls.Client(raw, d.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("dial %s: %w: %w", d, errHandshake, err)
		}
		l.Conn = secure
	}
	return l, nil
}

// watch reads and discards what the peer sends, to see it end the connection.
func (l *link) watch() {
	l.gone = make(chan struct{})
	l.watching.Go(func() {
		defer close(l.gone)
		_, l.end = io.Copy(io.Discard, l.Conn)
		if l.end == nil || errors.Is(l.end, io.ErrUnexpectedEOF) { // the latter is a FIN without TLS's word for it
			l.end = errClosed
		}
	})
}

// finish says that this was all and waits until the peer has it, for as long as limit, and then says the same: closed with something unread,
// a connection would be reset, and what is on its way be lost. It returns how the connection ended if that was not in order.
func (l *link) finish(limit time.Duration) error {
	if l.gone == nil {
		l.SetReadDeadline(time.Time{})
		l.watch()
	}
	l.closeWrite()
	if !l.settle(limit) {
		return errStalled
	}
	select {
	case <-l.gone:
		return unless(l.end, errClosed)
	case <-time.After(linger):
		return nil
	}
}

// settle waits until the peer's kernel has acknowledged everything, or the connection has failed, and is false if that takes longer than
// limit. Of what is acknowledged the kernel gives no notice, so that one has to look again and again.
func (l *link) settle(limit time.Duration) bool {
	deadline := time.After(limit)
	gone := l.gone
	for pause := beat / 64; ; pause = min(2*pause, beat) {
		if n, known := unacknowledged(l.raw); !known || n == 0 {
			return true
		}
		select {
		case <-gone:
			if !errors.Is(l.end, errClosed) {
				return true
			}
			gone = nil
		case <-time.After(pause):
		case <-deadline:
			return false
		}
	}
}

func (l *link) closeWrite() {
	if secure, ok := l.Conn.(*tls.Conn); ok {
		secure.CloseWrite() // waits 5 s at most
	}
	if c, ok := l.raw.(interface{ CloseWrite() error }); ok {
		l.finished = c.CloseWrite() == nil
	}
}

// inDoubt returns how many lines, at most, the peer may not have got, on a connection that ended with err.
func (l *link) inDoubt(err error) uint64 {
	n, known := unacknowledged(l.raw)
	switch {
	case known && l.finished:
		return l.marks.beyond(uint64(max(0, n-1)))
	case known:
		return l.marks.beyond(uint64(n))
	case err == nil, errors.Is(err, errClosed): // a Unix socket's peer has read everything then
		return 0
	}
	return l.marks.beyond(l.marks.end.bytes)
}

// close ends the connection: with a reset if the peer must not take the end of what it got for the end of a line.
func (l *link) close(midLine bool) {
	if tcp, ok := l.raw.(*net.TCPConn); ok && midLine {
		tcp.SetLinger(0)
	}
	l.raw.Close()
	l.watching.Wait()
}
