package listen

import (
	"errors"
	"net"
	"os"
	"sync"
)

// MaxPendingHeaders is the maximum number of accepted connections that may wait for their PROXY
// header at one time, per listener.
const MaxPendingHeaders = 1024

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
	*queue
	tcp     tcpSocket
	guard   *Guard
	places  *places // of header goroutines
	once    sync.Once
	err     error
	running sync.WaitGroup

	mu    sync.Mutex // guards the field below, and Close
	begun bool       // accept runs
}

func newProxyListener(tcp tcpSocket, guard *Guard) *proxyListener {
	l := &proxyListener{tcp: tcp, guard: guard, places: newPlaces(MaxPendingHeaders)}
	l.queue = newQueue(tcp.Addr(), 0, l.places)
	if !tcp.taken {
		l.begin()
	}
	return l
}

// Accept waits for the next connection. The first call begins to take connections out of the
// backlog of a socket that another listener may share.
func (l *proxyListener) Accept() (net.Conn, error) {
	l.begin()
	return l.queue.Accept()
}

func (l *proxyListener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun || isClosed(l.closing) {
		return
	}
	l.begun = true
	l.running.Go(l.accept)
}

// accept accepts connections until Close, and starts reading their headers if they have any.
func (l *proxyListener) accept() {
	for {
		conn, err := l.tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded): // or passed on
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

// startHeader waits for a free place and reads the header in a goroutine.
func (l *proxyListener) startHeader(conn *net.TCPConn) {
	if !l.places.enter(conn, l.guard.headerTimeout()) {
		reset(conn)
		return
	}
	l.running.Go(func() {
		defer l.places.leave()
		l.handleHeader(conn)
	})
}

// handleHeader delivers the connection once its header has come, or resets it.
func (l *proxyListener) handleHeader(raw *net.TCPConn) {
	conn, err := l.identify(raw)
	switch {
	case isClosed(l.closing):
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
	h, err := readHeader(raw)
	if !l.places.settled(raw) && err != nil {
		err = errOverdue
	}
	if err != nil {
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

// Close ends a waiting Accept and resets the connections that wait for their header. It returns
// when all goroutines of the listener have ended.
func (l *proxyListener) Close() error {
	l.once.Do(func() {
		l.mu.Lock()
		l.queue.close()
		l.mu.Unlock()
		l.places.close()
		l.err = l.tcp.Close()
		l.running.Wait()
	})
	return l.err
}

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
