package target

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"linesplit/tlsconf"
)

// Options say how to dial and what to assume about what a peer has read. The zero value dials
// without TLS, waits without limit and keeps no distance; see the fields.
type Options struct {
	// Timeout bounds one dial, name resolution and TLS handshake included; 0 is no bound.
	Timeout time.Duration
	// DeadTimeout is after how long an idle peer that answers no keepalive is given up by the
	// kernel; at least 2 s, 0 is 30 s.
	DeadTimeout time.Duration
	// TLS returns the configuration for one handshake; needed for addresses of SchemeTLS. Called
	// at every dial, from any goroutine. An empty ServerName is filled in from the address.
	TLS func() *tls.Config
	// Margin is the least distance, in bytes, between what is acknowledged and what counts as read.
	Margin int64
	// Retain is the greatest such distance, in bytes: what lies further back will not be sent
	// again by anyone.
	Retain int64
}

// Dial connects to a, trying all its addresses in turn, writes header, if any, and then completes
// the TLS handshake. It returns a connection without the bookkeeping of [DialTracked]'s: a
// *net.TCPConn, *net.UnixConn, *tls.Conn or, connected, *net.UDPConn, which the caller must
// close. Names are resolved at every call. Of o, Timeout and TLS count; Timeout bounds all of it.
// An idle peer that does not answer keepalives is given up after about 150 s.
func Dial(ctx context.Context, a Address, o *Options, header []byte) (net.Conn, error) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	conn, err := connectTo(ctx, a, o, header)
	if err != nil {
		return nil, fmt.Errorf("dial target %s: %w", a, err)
	}
	return conn, nil
}

func connectTo(ctx context.Context, a Address, o *Options, header []byte) (net.Conn, error) {
	conn, err := dialPlain(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := writeHeader(ctx, conn, header); err != nil {
		conn.Close()
		return nil, fmt.Errorf("PROXY protocol header: %w", err)
	}
	if a.Scheme != SchemeTLS {
		return conn, nil
	}
	secure, err := handshake(ctx, conn, a, o)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// dialPlain leaves MPTCP off: the kernel cannot splice its sockets.
func dialPlain(ctx context.Context, a Address) (net.Conn, error) {
	network := "tcp"
	switch a.Scheme {
	case SchemeUnix:
		network = "unix"
	case SchemeUDP:
		network = "udp"
	}
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true}} // every 15 s, nine times
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, network, a.Host)
}

// writeHeader hardly ever waits, because a header fits into any socket's empty buffer.
func writeHeader(ctx context.Context, conn net.Conn, header []byte) error {
	if len(header) == 0 {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := conn.Write(header)
	if !stop() { // the deadline is, or will be, in the past
		return context.Cause(ctx)
	}
	return err
}

func handshake(ctx context.Context, conn net.Conn, a Address, o *Options) (*tls.Conn, error) {
	config, err := clientConfig(a, o)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(tlsconf.Watch(conn), config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, nil
}

// clientConfig returns a configuration of the caller's own for one handshake with a.
func clientConfig(a Address, o *Options) (*tls.Config, error) {
	if o.TLS == nil {
		return nil, fmt.Errorf("no TLS configuration for %s", a)
	}
	config := o.TLS().Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(a.Host)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	return config, nil
}

// IsLocalError says that a dial failed because this machine has run out of something:
// descriptors, memory or, with many connections to one target, local ports. That says nothing
// about the target, which must not be taken for down.
func IsLocalError(err error) bool {
	for _, cause := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}
