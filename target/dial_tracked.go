package target

import (
	"context"
	"fmt"
	"net"
	"time"

	"linesplit/tlsconf"
)

// keepalivePeriod is short because on a quiet connection only the answer to a keepalive shows that
// the peer has read everything: a receiver sends no window update for the last few kilobytes it
// reads.
const keepalivePeriod = time.Second

// DialTracked connects to a, trying all its addresses in turn, and completes the TLS handshake. It
// resolves names at every call. The caller owns the connection and must Close or Abort it.
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
	raw, err := open(ctx, a, o, keepalive(o.DeadTimeout))
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

// keepalive makes the kernel end an idle connection after the time dead without an answer. The
// kernel counts whole seconds, and TCP_KEEPCNT is at most 127 (tcp(7)).
func keepalive(dead time.Duration) net.KeepAliveConfig {
	if dead <= 0 {
		dead = 30 * time.Second
	}
	interval := max(keepalivePeriod, (dead/100 + time.Second - 1).Truncate(time.Second))
	return net.KeepAliveConfig{
		Enable:   true,
		Idle:     keepalivePeriod,
		Interval: interval,
		Count:    max(1, int(dead/interval)-1),
	}
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
			return nil, fmt.Errorf("TLS handshake: %w", tlsconf.AdviseHandshake(err, "-tls-target"))
		}
	}
	if o.PeerLookup {
		c.lookUpPeer()
	}
	c.Progress() // samples the window before anything fills it
	return c, nil
}

func (c *Conn) handshake(ctx context.Context, a Address, o *Options) error {
	config, err := clientConfig(a, o)
	if err != nil {
		return err
	}
	config.DynamicRecordSizingDisabled = true // so that one Write makes one record: see writeRecords
	c.wire = &wire{Conn: c.raw, c: c}
	t := newTrial(c.wire, config)
	c.secure = t.Conn
	c.margin = max(c.margin, slackTLS)
	if err := t.shake(ctx); err != nil { // data that comes early is discarded, like all that comes
		return err
	}
	c.wire.store()
	return nil
}
