// Package listen opens the listeners that -listen values name.
//
//	tcp://host:port                       plain TCP; an empty host is every address, port 0 one that the kernel chooses
//	tls://host:port                       TLS over TCP
//	udp://host:port                       UDP, for whole lines or, with OpenPacket, datagrams as they are
//	unix:///path?mode=0660&uid=…&gid=…    a socket file; the options are optional
//	unix://@name                          an abstract Unix socket (Linux); it has no file, so anybody on the machine may connect
//	systemd:name                          sockets that systemd has opened, see Inherited; ?tls=true for TLS
//	stdin:                                standard input, as a listener with one connection
//
// Parse finds what is wrong with a value itself, Spec.Check what can be known of the world without listening, and Open
// the rest, such as a port that is in use.
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

	"linesplit/tlsconf"
)

// Keepalive finds senders that vanished without a word: after 15 s of silence a probe every 15 s, and the fourth that
// stays unanswered ends the connection.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// Open opens the listener that s names. config is the server side's configuration for tls:// and is not used for
// anything else. guard says who may connect; nil is everybody. ctx bounds the opening only, not the listener's life.
//
// The listener is a fmt.Stringer that gives its actual address in the form of a -listen value, with the port that the
// kernel chose; see Name. Except for stdin it has SetDeadline, for Accept. What Accept returns is a *net.TCPConn, a
// *net.UnixConn, or for tls:// a *tls.Conn that has not shaken hands yet: that is left to the caller, who can put a
// deadline on it. Where a proxy spoke for a client, there is in place of the *net.TCPConn one that embeds it, gives the
// addresses that the proxy named, and returns the *net.TCPConn from its NetConn method. Below a *tls.Conn is a
// *tlsconf.Watched.
//
// For stdin: see [Stdin]. A udp:// listener has one connection at a time, from which the lines of all datagrams are read,
// whoever sent them: a newline is added where the last line of a datagram has none, and an empty datagram is nothing.
// The connection has no end of its own. Its CloseWrite method, or closing the listener, ends it softly: Read returns what
// is in the socket's buffer at that time, and then io.EOF. If it is closed otherwise, Accept returns another one.
//
// The caller closes the listener and, each on its own, the connections.
func Open(ctx context.Context, s Spec, config *tls.Config, guard *Guard) (net.Listener, error) {
	var ln net.Listener
	var err error
	switch s.scheme {
	case schemeTCP:
		ln, err = openTCP(ctx, s, nil, guard)
	case schemeTLS:
		if config == nil {
			return nil, fmt.Errorf("listen on %s: no certificate", s)
		}
		ln, err = openTCP(ctx, s, config, guard)
	case schemeUDP:
		ln, err = openLines(ctx, s, guard)
	case schemeUnix:
		ln, err = openUnix(ctx, s)
	case schemeStdin:
		return Stdin(os.Stdin), nil
	default:
		err = errors.New("no such scheme")
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return ln, nil
}

// tcpListener accepts TCP connections whom guard lets in.
type tcpListener struct {
	*net.TCPListener
	guard *Guard
}

// Accept waits for the next connection that is let in. The others are reset.
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

// deadlineListener is what Accept's callers may expect of a listener on a network.
type deadlineListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// namedListener is a TCP listener, with or without TLS and PROXY headers, that knows what it is called.
type namedListener struct {
	deadlineListener
	socket *net.TCPListener // below it
	config *tls.Config      // nil: plain
}

func openTCP(ctx context.Context, s Spec, config *tls.Config, guard *Guard) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     keepAliveIdle,
		Interval: keepAliveInterval,
		Count:    keepAliveCount,
	}}
	// Go listens with Multipath TCP where it can, and such sockets lack some of the options and counts that plain ones
	// have. No sender of lines has a second path to gain by it.
	lc.SetMultipathTCP(false)
	if s.reuse {
		lc.Control = sharePort
	}
	ln, err := lc.Listen(ctx, "tcp", s.address)
	if err != nil {
		return nil, plainer(err)
	}
	tcp := ln.(*net.TCPListener)
	if s.reuse {
		if err := stepForward(tcp); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return serveTCP(tcp, config, guard), nil
}

func serveTCP(ln *net.TCPListener, config *tls.Config, guard *Guard) *namedListener {
	if guard.hasProxies() {
		return &namedListener{newProxyListener(ln, guard), ln, config}
	}
	return &namedListener{&tcpListener{ln, guard}, ln, config}
}

// Accept waits for the next connection. It does not shake hands.
func (l *namedListener) Accept() (net.Conn, error) {
	conn, err := l.deadlineListener.Accept()
	if err != nil || l.config == nil {
		return conn, err
	}
	return tls.Server(tlsconf.Watch(conn), l.config), nil
}

// StepAside has the kernel give new connections to the process that has opened the same place after this one, if there is
// one; see [Spec.ReusePort]. Those on their way here still arrive here.
func (l *namedListener) StepAside() error { return stepAside(l.socket) }

// String returns the actual address as a -listen value.
func (l *namedListener) String() string {
	scheme := schemeTCP
	if l.config != nil {
		scheme = schemeTLS
	}
	return scheme + "://" + l.Addr().String()
}

// plainer takes the net package's repetition of the address out of an error, and adds what a person can do about it.
func plainer(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has it", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need root or CAP_NET_BIND_SERVICE", err)
	default:
		return err
	}
}
