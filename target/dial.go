package target

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// Options say how to dial and what to assume about what a peer has read. The zero value dials without TLS, waits without
// limit and keeps no distance; see the fields.
type Options struct {
	// Timeout bounds one dial, name resolution and TLS handshake included; 0 is no bound.
	Timeout time.Duration
	// DeadTimeout is after how long an idle peer that answers no keepalive is given up by the kernel; at least 2 s, 0 is 30 s.
	DeadTimeout time.Duration
	// TLS returns the configuration for one handshake; needed for addresses of SchemeTLS. Called at every dial, from any
	// goroutine. An empty ServerName is filled in from the address.
	TLS func() *tls.Config
	// Margin is the least distance, in bytes, between what is acknowledged and what counts as read.
	Margin int64
	// Retain is the greatest such distance, in bytes: what lies further back will not be sent again by anyone.
	Retain int64
}

// keepalivePeriod is short because a keepalive's answer is what tells, on a quiet connection, that the peer has read
// everything: a receiver sends no window update for the last few kilobytes it reads.
const keepalivePeriod = time.Second

// DialTracked connects to a, trying all its addresses in turn, and completes the TLS handshake. Names are resolved at every call.
// The caller owns the connection and must Close or Abort it.
func DialTracked(ctx context.Context, a Address, o *Options) (*Conn, error) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	c, err := dial(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("dial target %s: %w", a, err)
	}
	c.reader.Go(c.read)
	return c, nil
}

func dial(ctx context.Context, a Address, o *Options) (*Conn, error) {
	raw, err := dialRaw(ctx, a, o)
	if err != nil {
		return nil, err
	}
	c, err := prepare(ctx, raw, a, o)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// dialRaw leaves MPTCP off: its sockets lack some of the options and counts that delivery stands on.
func dialRaw(ctx context.Context, a Address, o *Options) (net.Conn, error) {
	if a.Scheme == SchemeUnix {
		return new(net.Dialer).DialContext(ctx, "unix", a.Host)
	}
	d := net.Dialer{KeepAliveConfig: keepalive(o.DeadTimeout)}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", a.Host)
}

// keepalive lets the kernel end an idle connection after dead without an answer. TCP_KEEPCNT is at most 127 (tcp(7)).
func keepalive(dead time.Duration) net.KeepAliveConfig {
	if dead <= 0 {
		dead = 30 * time.Second
	}
	interval := max(keepalivePeriod, (dead/100 + time.Second - 1).Truncate(time.Second)) // the kernel counts whole seconds
	return net.KeepAliveConfig{Enable: true, Idle: keepalivePeriod, Interval: interval, Count: max(1, int(dead/interval)-1)}
}

func prepare(ctx context.Context, raw net.Conn, a Address, o *Options) (*Conn, error) {
	c, err := newConn(raw, o, a.ViaProxy)
	if err != nil {
		return nil, err
	}
	if !c.unix {
		if err := setNotSentLowat(c.sys); err != nil {
			return nil, err
		}
	}
	if a.Scheme == SchemeTLS {
		if err := c.handshake(ctx, a, o); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
	}
	c.Progress() // the first look at the window, before anything fills it
	return c, nil
}

func (c *Conn) handshake(ctx context.Context, a Address, o *Options) error {
	config, err := clientConfig(a, o)
	if err != nil {
		return err
	}
	config.DynamicRecordSizingDisabled = true // one Write, one record: see writeRecords
	c.wire = &wire{Conn: c.raw, c: c}
	c.secure = tls.Client(c.wire, config)
	if err := c.secure.HandshakeContext(ctx); err != nil {
		return err
	}
	c.wire.store()
	return nil
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
