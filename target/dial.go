package target

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"linesplit/tlsconf"
)

// Options configure dialling and the estimate of what a peer has read. The zero value dials without
// TLS, waits without limit and keeps no safety distance.
type Options struct {
	// Timeout limits one dial, including name resolution and TLS handshake; 0 means no limit.
	Timeout time.Duration
	// DeadTimeout is the time after which the kernel gives up an idle peer that answers no
	// keepalive, at least 2 s; 0 means 30 s. DialTracked only.
	DeadTimeout time.Duration
	// TLS returns the configuration for one handshake and is required for addresses that are
	// secure. It is called at every dial, from any goroutine. An empty ServerName is filled in from
	// the address, and one that the address has as an option replaces it.
	TLS func() *tls.Config
	// MayConnect, if not nil, is called before each attempt to connect, with a network such as tcp4
	// and the address that a name has led to. Its error is the attempt's; a dial then goes on to
	// the next address. It is called from any goroutine.
	MayConnect func(network, address string) error
	// Margin is the minimum distance, in bytes, between the acknowledged byte and the last byte
	// that counts as read. DialTracked only.
	Margin int64
	// Retain is the maximum of that distance, in bytes: the caller will never send again what lies
	// further back. DialTracked only.
	Retain int64
	// PeerLookup lets a connection ask the kernel, on Linux, how much a peer on this host and in
	// this network namespace has not read. It replaces the estimate while the kernel answers. It
	// has no effect on an Address with ViaProxy. DialTracked only.
	PeerLookup bool
}

// Dial connects to a, trying all its addresses in turn, writes header, if any, and then completes
// the TLS handshake. It returns a connection without the bookkeeping of [DialTracked]: a
// *net.TCPConn, *net.UnixConn, *tls.Conn (or a type that embeds one) or connected *net.UDPConn,
// which the caller must close. It resolves names at every call and uses only o.Timeout, which
// limits all of it, o.TLS and o.MayConnect. The kernel gives up an idle peer that does not answer
// keepalives after about 150 s.
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
	conn, err := open(ctx, a, o, net.KeepAliveConfig{Enable: true}) // every 15 s, nine times
	if err != nil {
		return nil, err
	}
	if err := writeHeader(ctx, conn, header); err != nil {
		conn.Close()
		return nil, fmt.Errorf("PROXY protocol header: %w", err)
	}
	if !a.Secure() {
		return conn, nil
	}
	secure, err := handshake(ctx, conn, a, o)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", tlsconf.AdviseHandshake(err, "-tls-target"))
	}
	return secure, nil
}

// writeHeader hardly ever blocks, because a header fits into any socket's empty send buffer.
func writeHeader(ctx context.Context, conn net.Conn, header []byte) error {
	if len(header) == 0 {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := conn.Write(header)
	if !stop() { // ctx has ended: the write deadline is, or is about to be, in the past
		return context.Cause(ctx)
	}
	return err
}

func handshake(ctx context.Context, conn net.Conn, a Address, o *Options) (net.Conn, error) {
	config, err := clientConfig(a, o)
	if err != nil {
		return nil, err
	}
	t := newTrial(tlsconf.Watch(conn), config)
	if err := t.shake(ctx); err != nil {
		return nil, err
	}
	return t.settled(), nil
}

// clientConfig returns a configuration for one handshake with a, which the caller may change.
func clientConfig(a Address, o *Options) (*tls.Config, error) {
	if o.TLS == nil {
		return nil, fmt.Errorf("no TLS configuration for %s", a)
	}
	config := o.TLS().Clone()
	config.ServerName = cmp.Or(a.ServerName, config.ServerName, a.HostName)
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(a.Host)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	return config, nil
}

// DialError returns err, the error of a connect to a that was made without [Dial], in the form in
// which Dial reports it.
func DialError(a Address, err error) error {
	op := &net.OpError{Op: "dial", Net: a.Scheme, Err: err}
	if to, ok := a.Literal(); ok {
		op.Addr = net.TCPAddrFromAddrPort(to)
	} else {
		op.Addr = &net.UnixAddr{Name: a.Host, Net: a.Scheme}
	}
	return fmt.Errorf("dial target %s: %w", a, diagnose(op))
}
