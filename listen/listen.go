// Package listen parses -listen values and opens their listeners.
//
//	tcp://host:port     plain TCP; port 0 is any free port. Every address of both families is an
//	                    empty host or [::], every IPv4 address 0.0.0.0; see Apart
//	tls://host:port     TLS over TCP
//	http://host:port    HTTP requests with lines, in line mode; see Web for its path and options
//	relp://host:port    RELP, rsyslog's protocol with acknowledgements, in line mode
//	https://host:port, relp+tls://host:port
//	                    the same over TLS
//	udp://host:port     UDP, for whole lines or, with OpenPacket, for datagrams
//	unix:///path        a socket file; options are ?mode=0660&uid=…&gid=…
//	unix://@name        an abstract Unix socket (Linux); without a file, every user may connect
//	systemd:name        sockets that systemd has opened, see Inherited; ?tls=true for TLS
//	stdin:              standard input, as a listener with one connection
//
// All but udp:// and those with HTTP or RELP take ?framing=newline, octet, nul or auto, in line
// mode.
//
// Parse finds errors in a value itself. Spec.Check finds errors that can be found without
// listening, and Open finds the rest, such as a port that is in use.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"linesplit/internal/urgent"
)

// Keepalive detects senders that vanished without a FIN: after 15 s of silence the kernel sends a
// probe every 15 s, and the fourth unanswered one ends the connection.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

var keepAlive = net.KeepAliveConfig{
	Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
}

// Open opens the listener for s. config is the server's TLS configuration, used for listeners with
// TLS only. guard decides which peers may connect; nil admits all. ctx limits the opening only, not
// the listener's life.
//
// The listener, unless it is of UDP, has the methods Framing, Web and RELP, which return those of
// s.
//
// The listener is a fmt.Stringer that returns its actual address in the form of a -listen value,
// with the port that the kernel chose. Except for stdin it has a SetDeadline method, for Accept.
// Accept returns a *net.TCPConn, a *net.UnixConn or, for tls://, a *tls.Conn before its handshake:
// the caller does the handshake and can set a deadline for it. For a connection through a proxy,
// Accept returns in place of the *net.TCPConn a type that embeds it and returns the addresses from
// the PROXY header; its NetConn method returns the *net.TCPConn. Below a *tls.Conn is a
// *tlsconf.Incoming, whose Handshake method does the handshake within the bounds of guard.
//
// For stdin, see [Stdin]. A udp:// listener has one connection at a time, which delivers the lines
// of all datagrams from all senders. It adds a newline after a datagram that does not end in one,
// and ignores empty datagrams. The connection does not end by itself. Its CloseWrite method, or
// closing the listener, ends it softly: Read returns what is in the socket's buffer at that time,
// and then io.EOF. After Close on the connection, Accept returns another one.
//
// The caller closes the listener and, separately, each connection.
func Open(ctx context.Context, s Spec, config *tls.Config, guard *Guard) (net.Listener, error) {
	var ln net.Listener
	var err error
	switch s.scheme {
	case schemeTCP, schemeHTTP, schemeRELP:
		ln, err = openTCP(ctx, s, nil, guard)
	case schemeTLS, schemeHTTPS, schemeRELPTLS:
		if config == nil {
			return nil, fmt.Errorf("listen on %s: no certificate", s)
		}
		ln, err = openTCP(ctx, s, config, guard)
	case schemeUDP:
		ln, err = openUDPLines(ctx, s, guard)
	case schemeUnix:
		ln, err = openUnix(ctx, s)
	case schemeStdin:
		ln = Stdin(os.Stdin)
	default:
		err = errors.New("unknown scheme")
	}
	if err == nil {
		ln, err = withUse(ln, s)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return ln, nil
}

// tcpListener accepts the TCP connections that guard admits.
type tcpListener struct {
	tcpSocket
	guard *Guard
}

// Accept waits for the next connection that guard admits. It resets the others.
func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if !l.guard.restricts() || l.guard.admits(peerOf(conn)) {
			return conn, nil
		}
		reset(conn)
	}
}

// deadlineListener is a network listener whose Accept has a deadline.
type deadlineListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// namedListener is a TCP listener, with or without TLS and PROXY headers, that has a String method.
type namedListener struct {
	deadlineListener
	socket *net.TCPListener // the underlying one
	config *tls.Config      // nil: plain TCP
	guard  *Guard

	detached detached
	passing
	use
}

func openTCP(ctx context.Context, s Spec, config *tls.Config, guard *Guard) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	// Go listens with Multipath TCP where it can. Such sockets lack some of the options and counts
	// of plain ones, and senders of lines do not have a second path.
	lc.SetMultipathTCP(false)
	lc.Control = prepareTCP(s.reuse)
	ln, err := lc.Listen(ctx, s.network(schemeTCP), s.address)
	if err != nil {
		return nil, explain(err)
	}
	tcp := ln.(*net.TCPListener)
	if s.reuse {
		if err := undoStepAside(tcp); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return serveTCP(tcpSocket{TCPListener: tcp}, config, guard), nil
}

// prepareTCP returns the function that sets the options of a TCP socket before it listens.
func prepareTCP(reuse bool) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		err := urgent.Inline(c)
		if err == nil && reuse {
			err = sharePort(network, address, c)
		}
		return err
	}
}

// tcpSocket is a listening socket.
type tcpSocket struct {
	*net.TCPListener
	taken bool // it was opened elsewhere: package net does not know the settings of keepalive
}

// AcceptTCP waits for the next connection and, if the socket was opened elsewhere, sets keepalive.
func (s tcpSocket) AcceptTCP() (*net.TCPConn, error) {
	conn, err := s.TCPListener.AcceptTCP()
	if err == nil && s.taken {
		conn.SetKeepAliveConfig(keepAlive) // an error means that the connection has ended
	}
	return conn, err
}

func serveTCP(s tcpSocket, config *tls.Config, guard *Guard) *namedListener {
	if guard.hasProxies() {
		return &namedListener{deadlineListener: newProxyListener(s, guard), socket: s.TCPListener, config: config, guard: guard}
	}
	return &namedListener{deadlineListener: &tcpListener{s, guard}, socket: s.TCPListener, config: config, guard: guard}
}

// Accept waits for the next connection. It does not do the TLS handshake.
func (l *namedListener) Accept() (net.Conn, error) {
	conn, err := l.deadlineListener.Accept()
	if err != nil || l.config == nil {
		return conn, err
	}
	return tls.Server(l.guard.handshakes().Watch(conn), l.config), nil
}

// StepAside has the kernel give new connections to the process that opened the same address after
// this one, if there is one; see [Spec.ReusePort]. Connections already on their way here still
// arrive here.
func (l *namedListener) StepAside() error {
	if was, err := l.detached.control(stepAsideFD); was {
		return err
	}
	return stepAside(l.socket)
}

// Close ends a waiting Accept and closes the socket.
func (l *namedListener) Close() error {
	defer l.noteClosed()
	if l.detached.close() {
		return nil
	}
	return l.deadlineListener.Close()
}

// String returns the actual address as a -listen value.
func (l *namedListener) String() string {
	return l.use.scheme(l.config != nil) + "://" + l.Addr().String() + l.suffix()
}

// explain removes the net package's repetition of the address from an error, and adds a hint.
func explain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there, or another -listen does", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has this address", err)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%w: this machine has no IPv6; without a host, as in tcp://:9000, what there is is used", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need root or CAP_NET_BIND_SERVICE", err)
	default:
		return err
	}
}
