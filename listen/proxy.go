package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// MaxPendingHeaders is the maximum number of accepted connections that may wait for their PROXY
// header at one time, per listener.
const MaxPendingHeaders = 1024

// overdueAfter is how long a header may take while other connections wait for a slot. Proxies send
// it with the first packet.
const overdueAfter = 250 * time.Millisecond

var errOverdue = errors.New("the header was overdue, and other connections waited for its place")

// proxyListener accepts TCP connections of which some begin with a PROXY protocol header. It reads
// headers concurrently, so that a slow sender does not hold up others:
//
//	accept ─┬───────────────────────────────────────▶ Accept
//	        └─▶ one goroutine per header (bounded) ─▶
//
// A connection stays with its goroutine until Accept takes it, so that without calls of Accept only
// a bounded number of connections is taken out of the kernel's backlog.
type proxyListener struct {
	tcp      *net.TCPListener
	guard    *Guard
	ready    chan accepted
	slots    chan struct{} // holds one element per header goroutine
	deadline *deadline

	closing context.Context // ends with Close
	close   context.CancelFunc
	once    sync.Once
	err     error
	running sync.WaitGroup

	mu      sync.Mutex                 // guards pending
	pending map[*net.TCPConn]time.Time // whose header is being read, since when
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
		slots:    make(chan struct{}, MaxPendingHeaders),
		deadline: newDeadline(),
		pending:  make(map[*net.TCPConn]time.Time),
	}
	l.closing, l.close = context.WithCancel(context.Background())
	l.running.Go(l.accept)
	return l
}

// accept accepts connections until Close, and starts reading their headers if they have any.
func (l *proxyListener) accept() {
	for {
		conn, err := l.tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.deliver(accepted{err: err}) // waits for Accept before the next attempt
		case l.guard.isProxy(peerOf(conn)):
			l.startHeader(conn)
		case l.guard.admits(peerOf(conn)):
			l.deliverConn(conn, conn)
		default:
			reset(conn)
		}
	}
}

// startHeader waits for a free slot and reads the header in a goroutine. While there is none, it
// ends the header that is overdue longest, so that silent peers do not hold up others.
func (l *proxyListener) startHeader(conn *net.TCPConn) {
	if !l.takeSlot() {
		reset(conn)
		return
	}
	l.mu.Lock()
	l.pending[conn] = time.Now()
	l.mu.Unlock()
	l.running.Go(func() {
		l.handleHeader(conn)
		<-l.slots
	})
}

// takeSlot waits for a slot. It returns false after Close.
func (l *proxyListener) takeSlot() bool {
	for wait := time.Duration(0); ; wait = l.displace() {
		select {
		case l.slots <- struct{}{}:
			return true
		case <-l.closing.Done():
			return false
		default:
		}
		select {
		case l.slots <- struct{}{}:
			return true
		case <-l.closing.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// displace ends the header that is overdue longest, and returns how long to wait for its slot, or
// else for a header to be overdue.
func (l *proxyListener) displace() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest *net.TCPConn
	for conn, began := range l.pending {
		if oldest == nil || began.Before(l.pending[oldest]) {
			oldest = conn
		}
	}
	if oldest == nil { // all are complete and wait for Accept
		return overdueAfter
	}
	if age := time.Since(l.pending[oldest]); age < overdueAfter {
		return overdueAfter - age
	}
	delete(l.pending, oldest)
	oldest.SetReadDeadline(past)
	return overdueAfter
}

// settled keeps displace from ending the wait for a connection's header, which is over. It returns
// false if displace has ended it.
func (l *proxyListener) settled(conn *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, was := l.pending[conn]
	delete(l.pending, conn)
	return was
}

// handleHeader delivers the connection once its header has come, or resets it.
func (l *proxyListener) handleHeader(raw *net.TCPConn) {
	conn, err := l.identify(raw)
	switch {
	case l.closing.Err() != nil:
		reset(raw)
	case err != nil:
		l.guard.headerFailed(peerOf(raw), err)
		reset(raw)
	case conn == nil:
		reset(raw)
	default:
		l.deliverConn(conn, raw)
	}
}

// identify reads the header and returns the connection with the addresses from it, or nil if it is
// denied.
func (l *proxyListener) identify(raw *net.TCPConn) (net.Conn, error) {
	if err := raw.SetReadDeadline(time.Now().Add(l.guard.headerTimeout())); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(l.closing, func() { defer close(interrupted); raw.SetReadDeadline(past) })
	h, err := readHeader(raw)
	if !l.settled(raw) && err != nil {
		err = errOverdue
	}
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

// deliverConn delivers conn, which is raw or wraps it, to Accept. After Close it resets raw.
func (l *proxyListener) deliverConn(conn net.Conn, raw *net.TCPConn) {
	if !l.deliver(accepted{conn: conn}) {
		reset(raw)
	}
}

// deliver hands a to Accept. It returns false after Close.
func (l *proxyListener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.closing.Done():
		return false
	}
}

// Accept waits for the next connection whose header, if it has one, has been read. It returns a
// connection that is ready even if the deadline has passed.
func (l *proxyListener) Accept() (net.Conn, error) {
	if l.closing.Err() != nil {
		return nil, l.acceptError(net.ErrClosed)
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
		return nil, l.acceptError(net.ErrClosed)
	case <-l.deadline.passed():
		return nil, l.acceptError(os.ErrDeadlineExceeded)
	}
}

func (l *proxyListener) acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// SetDeadline sets the deadline of Accept, also of a waiting one.
func (l *proxyListener) SetDeadline(t time.Time) error {
	if l.closing.Err() != nil {
		return net.ErrClosed
	}
	l.deadline.set(t)
	return nil
}

// Close ends a waiting Accept and resets the connections that wait for their header. It returns
// when all goroutines of the listener have ended.
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

// proxiedConn is a TCP connection after its PROXY protocol header, with the addresses from the
// header.
type proxiedConn struct {
	*net.TCPConn
	local, remote net.Addr
}

// LocalAddr returns the address that the client connected to, from the header.
func (c *proxiedConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the client's address, from the header.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.remote }

// NetConn returns the connection from the proxy, a *net.TCPConn, with its own addresses.
func (c *proxiedConn) NetConn() net.Conn { return c.TCPConn }
