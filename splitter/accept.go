package splitter

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/framing"
	"linesplit/internal/loop"
)

// serving is one call of Serve.
type serving struct {
	*Splitter
	hard  context.Context
	ln    net.Listener
	loops *loop.Group // nil: goroutines read all connections

	framing framing.Framing // of what senders write
	conns   sync.WaitGroup

	inputErr error // why standard input was not read to its end; written before its conns.Done
}

// framingOf returns the framing of what a listener's senders write: that of its Framing method, if
// it has one, else lines.
func framingOf(ln net.Listener) framing.Framing {
	if f, ok := ln.(interface{ Framing() framing.Framing }); ok {
		return f.Framing()
	}
	return framing.Newline
}

func (v *serving) failed(err error) { v.AcceptFailed(v.ln, err) }

// start serves nc on an event loop or in its own goroutine.
func (v *serving) start(nc net.Conn) {
	if !v.admit(nc) {
		v.counters.accepted.Add(1)
		return
	}
	if v.startOnLoop(nc) {
		return
	}
	c := newConn(v, nc)
	v.begin(c)
	v.conns.Go(c.serve)
}

// begin counts and lists a connection that is about to be served.
func (v *serving) begin(c *conn) {
	if !c.datagrams {
		v.counters.accepted.Add(1)
		v.counters.connections.Add(1)
	}
	v.registry.add(c)
	if v.hard.Err() != nil { // abort may have run before c was registered
		c.raw.Close()
	}
	if l := v.o.Logger; l.Enabled(v.hard, slog.LevelDebug) {
		l.Debug("connection accepted", "listener", accept.Name(v.ln), "peer", c.nc.RemoteAddr().String())
	}
}

// handshake does the TLS handshake; for a plain connection it does nothing.
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
	err := accept.Handshake(t)
	return c.afterHandshake(err)
}

func (c *conn) afterHandshake(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shaking = false
	switch {
	case err == nil:
		c.raw.SetDeadline(time.Time{})
		c.limitWrites()
		if c.cut {
			c.lapsed = true // the line above undid cutOff's deadline
		}
		if c.halfClosed {
			closeWrite(c.raw)
		}
	case c.cut:
		return c.endLocked()
	case c.v.hard.Err() == nil:
		c.v.HandshakeFailed(c.nc, err)
	}
	return err
}
