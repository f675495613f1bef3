// Package listen opens the listeners that -listen values name.
//
//	tcp://host:port                       plain TCP; an empty host is every address, port 0 one that the kernel chooses
//	tls://host:port                       TLS over TCP
//	unix:///path?mode=0660&uid=…&gid=…    a socket file; the options are optional
//	unix://@name                          an abstract Unix socket (Linux); it has no file, so anybody on the machine may connect
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
)

// Keepalive finds senders that vanished without a word: after 15 s of silence a probe every 15 s, and the fourth that
// stays unanswered ends the connection.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// Open opens the listener that s names. config is the server side's configuration for tls:// and is not used for
// anything else. ctx bounds the opening only, not the listener's life.
//
// The listener is a fmt.Stringer that gives its actual address in the form of a -listen value, with the port that the
// kernel chose; see Name. Except for stdin it has SetDeadline, for Accept. What Accept returns is a *net.TCPConn, a
// *net.UnixConn, or for tls:// a *tls.Conn that has not shaken hands yet: that is left to the caller, who can put a
// deadline on it. The caller closes the listener and, each on its own, the connections.
func Open(ctx context.Context, s Spec, config *tls.Config) (net.Listener, error) {
	var ln net.Listener
	var err error
	switch s.scheme {
	case schemeTCP:
		ln, err = openTCP(ctx, s, nil)
	case schemeTLS:
		if config == nil {
			return nil, fmt.Errorf("listen on %s: no certificate", s)
		}
		ln, err = openTCP(ctx, s, config)
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

// Name returns a listener's address for logs: of those from Open in the form of a -listen value such as
// tcp://127.0.0.1:41234, of others in that of its network.
func Name(ln net.Listener) string {
	if s, ok := ln.(fmt.Stringer); ok {
		return s.String()
	}
	return ln.Addr().Network() + "://" + ln.Addr().String()
}

// tcpListener is a TCP listener, with or without TLS.
type tcpListener struct {
	*net.TCPListener
	config *tls.Config // nil: plain
}

func openTCP(ctx context.Context, s Spec, config *tls.Config) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     keepAliveIdle,
		Interval: keepAliveInterval,
		Count:    keepAliveCount,
	}}
	// Go listens with Multipath TCP where it can, and such sockets lack some of the options and counts that plain ones
	// have. No sender of lines has a second path to gain by it.
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", s.address)
	if err != nil {
		return nil, plainer(err)
	}
	return &tcpListener{TCPListener: ln.(*net.TCPListener), config: config}, nil
}

// Accept waits for the next connection. It does not shake hands.
func (l *tcpListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if l.config == nil {
		return conn, nil
	}
	return tls.Server(conn, l.config), nil
}

// String returns the actual address as a -listen value.
func (l *tcpListener) String() string {
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
