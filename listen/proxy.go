package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// MaxAwaited is how many connections may be between being accepted and their header at one time.
const MaxAwaited = 1024

// proxyListener accepts TCP connections of which some begin with a PROXY protocol header. It reads headers beside each
// other and beside accepting, so that nobody who is slow with one holds up others:
//
//	accept ─┬───────────────────────────────────────▶ Accept
//	        └─▶ one goroutine per header (bounded) ─▶
//
// A connection stays with its goroutine until Accept takes it, so where Accept is not called only a bounded number is
// taken out of the kernel's backlog.
type proxyListener struct {
	tcp      *net.TCPListener
	guard    *Guard
	ready    chan accepted
	slots    chan struct{} // one for each header goroutine
	deadline *deadline

	closing context.Context // ends with Close
	close   context.CancelFunc
	once    sync.Once
	err     error
	running sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

func newProxyListener(tcp *net.TCPListener, guard *Guard) *proxyListener {
	l := &proxyListener{
		tcp:      tcp,
		guard:    guard,
		ready:    make(chan accepted),
		slots:    make(chan struct{}, MaxAwaited),
		deadline: newDeadline(),
	}
	l.closing, l.close = context.WithCancel(context.Background())
	l.running.Go(l.accept)
	return l
}

// accept sorts connections until Close.
func (l *proxyListener) accept() {
	for {
		conn, err := l.tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.hand(accepted{err: err}) // and no sooner than that it is tried again
		case l.guard.isProxy(peerOf(conn)):
			l.startHeader(conn)
		case l.guard.admits(peerOf(conn)):
			l.handConn(conn, conn)
		default:
			reset(conn)
		}
	}
}

// startHeader waits for a free slot.
func (l *proxyListener) startHeader(conn *net.TCPConn) {
	select {
	case l.slots <- struct{}{}:
		l.running.Go(func() {
			l.readHeader(conn)
			<-l.slots
		})
	case <-l.closing.Done():
		reset(conn)
	}
}

// readHeader hands the connection over once its header has come, or resets it.
func (l *proxyListener) readHeader(raw *net.TCPConn) {
	conn, err := l.behindHeader(raw)
	switch {
	case l.closing.Err() != nil:
		reset(raw)
	case err != nil:
		l.guard.headerFailed(peerOf(raw), err)
		reset(raw)
	case conn == nil:
		reset(raw)
	default:
		l.handConn(conn, raw)
	}
}

// behindHeader reads the header and returns the connection as the header describes it, nil if it is denied.
func (l *proxyListener) behindHeader(raw *net.TCPConn) (net.Conn, error) {
	if err := raw.SetReadDeadline(time.Now().Add(l.guard.headerTimeout())); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(l.closing, func() { defer close(interrupted); raw.SetReadDeadline(past) })
	h, err := readHeader(raw)
	if !stop() {
		<-interrupted
	}
	if err != nil {
		return nil, err
	}
	if err := raw.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	source, destination, ok := addresses(h)
	switch {
	case !ok:
		return raw, nil
	case !l.guard.admits(source.AddrPort()):
		return nil, nil
	default:
		return &proxiedConn{TCPConn: raw, local: destination, remote: source}, nil
	}
}

// handConn hands conn, or raw in other clothes, to Accept; after Close there is nobody to take it.
func (l *proxyListener) handConn(conn net.Conn, raw *net.TCPConn) {
	if !l.hand(accepted{conn: conn}) {
		reset(raw)
	}
}

func (l *proxyListener) hand(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.closing.Done():
		return false
	}
}

// Accept waits for the next connection whose header, if it has one, has been read. One that is there is returned also
// when the deadline has passed.
func (l *proxyListener) Accept() (net.Conn, error) {
	if l.closing.Err() != nil {
		return nil, l.failed(net.ErrClosed)
	}
	select {
	case a := <-l.ready:
		return a.conn, a.err
	default:
	}
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.closing.Done():
		return nil, l.failed(net.ErrClosed)
	case <-l.deadline.passed():
		return nil, l.failed(os.ErrDeadlineExceeded)
	}
}

func (l *proxyListener) failed(err error) error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// SetDeadline bounds Accept, also one that waits.
func (l *proxyListener) SetDeadline(t time.Time) error {
	if l.closing.Err() != nil {
		return net.ErrClosed
	}
	l.deadline.set(t)
	return nil
}

// Close ends a waiting Accept and resets the connections that wait for their header. It returns when all goroutines of
// the listener have ended.
func (l *proxyListener) Close() error {
	l.once.Do(func() {
		l.close()
		l.err = l.tcp.Close()
		l.running.Wait()
		l.deadline.set(time.Time{})
	})
	return l.err
}

func (l *proxyListener) Addr() net.Addr { return l.tcp.Addr() }

// proxiedConn is a TCP connection behind its PROXY protocol header. All but its addresses is the connection's own.
type proxiedConn struct {
	*net.TCPConn
	local, remote net.Addr
}

// LocalAddr returns the address that the client connected to, as the proxy has told it.
func (c *proxiedConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the client's address, as the proxy has told it.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.remote }

// NetConn returns the connection from the proxy, a *net.TCPConn, with its own addresses.
func (c *proxiedConn) NetConn() net.Conn { return c.TCPConn }
