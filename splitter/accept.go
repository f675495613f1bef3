package splitter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// serving is one call of Serve.
type serving struct {
	*Splitter
	soft, hard context.Context
	ln         net.Listener
	conns      sync.WaitGroup
}

const (
	// After the end was asked for, accepting goes on until the backlog has been empty for this long: a sender whose
	// connect succeeded may have written its lines and gone.
	backlogWait = 10 * time.Millisecond
	backlogMost = 250 * time.Millisecond // however many come
)

// accept starts connections until the listener ends.
func (v *serving) accept() error {
	retry := newBackOff()
	var last time.Time // no accepting beyond it
	for v.registry.waitForRoom(v) {
		nc, err := v.ln.Accept()
		stopping := v.soft.Err() != nil
		switch {
		case err == nil:
			retry.Reset()
			v.start(nc)
			if stopping && !v.another(&last) {
				return nil
			}
		case stopping, errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", v.ln.Addr(), err)
		default:
			v.counters.acceptErrors.Add(1)
			v.acceptFailed.warn(v.o.Logger, "accept failed, trying again",
				slog.String("listener", v.ln.Addr().String()), slog.Any("error", err))
			pause(v.soft, retry.NextBackOff())
		}
	}
	return nil
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(5*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0), // for ever
	)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// lastCall lets accept empty the backlog and end. A deadline in the past would not do: Accept fails on it before it
// looks. Where the listener has no deadline, it is closed after the same while.
func (v *serving) lastCall() {
	v.registry.wake()
	if !v.acceptUntil(time.Now().Add(backlogWait)) {
		pause(v.hard, backlogWait)
		v.ln.Close()
	}
}

// another says whether one more may be accepted now that the end was asked for.
func (v *serving) another(last *time.Time) bool {
	now := time.Now()
	if last.IsZero() {
		*last = now.Add(backlogMost)
	}
	v.acceptUntil(now.Add(backlogWait))
	return now.Before(*last)
}

func (v *serving) acceptUntil(t time.Time) bool {
	d, ok := v.ln.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}

// start serves nc in a goroutine of its own.
func (v *serving) start(nc net.Conn) {
	c := newConn(v, nc)
	v.counters.accepted.Add(1)
	v.counters.connections.Add(1)
	v.registry.add(c)
	if v.hard.Err() != nil { // abort may have been there before c was
		c.raw.Close()
	}
	if l := v.o.Logger; l.Enabled(v.hard, slog.LevelDebug) {
		l.Debug("connection accepted", "listener", v.ln.Addr().String(), "peer", nc.RemoteAddr().String())
	}
	v.conns.Go(c.serve)
}

// handshake does nothing for a plain connection.
func (c *conn) handshake() error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	c.mu.Lock()
	if !c.cut {
		c.raw.SetDeadline(time.Now().Add(c.v.o.HandshakeTimeout))
	}
	c.mu.Unlock()
	err := t.Handshake()
	return c.afterHandshake(err)
}

func (c *conn) afterHandshake(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shaking = false
	switch {
	case err == nil:
		c.raw.SetDeadline(time.Time{})
		if c.cut {
			c.lapsed = true // its wake-up has just been undone
		}
		if c.halfClosed {
			closeWrite(c.raw)
		}
	case c.cut:
		return errCutOff
	case c.v.hard.Err() == nil:
		c.v.counters.handshakeErrors.Add(1)
		c.v.handshakesFailed.warn(c.v.o.Logger, "TLS handshake failed",
			slog.String("peer", c.nc.RemoteAddr().String()), slog.Any("error", err))
	}
	return err
}
