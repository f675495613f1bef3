package target

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"linesplit/internal/urgent"
)

// open connects to a without TLS, trying all its addresses in turn. It does not use MPTCP: the
// kernel cannot splice such sockets, and they lack options and counts that delivery depends on.
func open(ctx context.Context, a Address, o *Options, alive net.KeepAliveConfig) (net.Conn, error) {
	if a.Scheme == SchemeUnix {
		conn, err := openUnix(ctx, a.Host, o)
		if err != nil {
			return nil, diagnose(err)
		}
		return conn, nil
	}
	network := "tcp"
	if a.Scheme == SchemeUDP {
		network = "udp"
	}
	d := net.Dialer{KeepAliveConfig: alive, Control: o.control()}
	d.SetMultipathTCP(false)
	dial := d.DialContext
	if a.Turn > 0 && !a.literal() {
		dial = func(ctx context.Context, network, _ string) (net.Conn, error) { return openInTurn(ctx, &d, network, a) }
	}
	conn, err := dial(ctx, network, a.Host)
	if err != nil {
		return nil, diagnose(err)
	}
	return conn, nil
}

// control returns the function for net.Dialer that prepares the socket of each attempt and calls
// MayConnect.
func (o *Options) control() func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		if o.MayConnect != nil {
			if err := o.MayConnect(network, address); err != nil {
				return err
			}
		}
		return urgent.Inline(c)
	}
}

// The wait before openUnix tries again begins with firstBacklogWait and doubles up to
// maxBacklogWait.
const (
	firstBacklogWait = time.Millisecond
	maxBacklogWait   = 32 * time.Millisecond
)

// openUnix connects to a Unix socket. While the listener's backlog is full, a blocking connect
// waits, but a non-blocking one fails at once with EAGAIN (unix(7)). openUnix waits too, until ctx
// ends: a busy server is not a dead one.
func openUnix(ctx context.Context, path string, o *Options) (net.Conn, error) {
	var full error // of the last attempt that found the backlog full
	d := net.Dialer{Control: o.control()}
	for wait := firstBacklogWait; ; wait = min(2*wait, maxBacklogWait) {
		conn, err := d.DialContext(ctx, "unix", path)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			full = err
		case err == nil || full == nil || ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded):
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the backlog stayed full: %w: %w", full, context.Cause(ctx))
		case <-time.After(wait/2 + rand.N(wait)): // random, so that dials do not keep in step
		}
	}
}
