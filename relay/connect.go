package relay

import (
	"context"
	"net"
	"time"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// dialling is a client's search for a target in a goroutine.
type dialling struct {
	search
	c       *conn
	headers proxyHeaders
}

// connect connects the client to a target. The client's first bytes are not read meanwhile.
func (c *conn) connect() traffic.End {
	d := dialling{c: c}
	ctx := c.v.cut
	for ctx.Err() == nil {
		b, why := d.acquire(ctx)
		if b != nil {
			why = d.try(ctx, b)
		}
		switch {
		case b != nil && why != traffic.EndDialFailed, b == nil && why != traffic.EndNoTarget:
			return why
		}
		wait, why := d.next(c.v.Relay, b != nil)
		if why != traffic.NotEnded {
			return why
		}
		if wait > 0 {
			accept.Pause(ctx, wait)
		}
	}
	return traffic.EndShutdown
}

// acquire returns a backend that was not tried in this round. It waits in the queue if necessary.
func (d *dialling) acquire(ctx context.Context) (*upstream.Backend, traffic.End) {
	c := d.c
	b, w := c.v.backends.Streams.Acquire(c.addr, &d.tried)
	if w == nil {
		if b == nil {
			return nil, traffic.EndNoTarget
		}
		return b, traffic.NotEnded
	}
	begin := time.Now()
	b, why := c.v.backends.Streams.Wait(ctx, w)
	d.queued(time.Since(begin))
	return b, why
}

// try connects the client to b. It returns NotEnded if that succeeds, EndDialFailed if another
// backend may be tried, and otherwise the reason why the client ends.
func (d *dialling) try(ctx context.Context, b *upstream.Backend) traffic.End {
	c := d.c
	if d.waited && c.client.WasReset() {
		c.v.backends.Release(b)
		return traffic.EndClientReset
	}
	d.begin(c.v.Relay)
	c.dials++
	nc := d.dial(ctx, b)
	if nc == nil {
		c.v.backends.Release(b)
		d.tried.Add(b)
		return traffic.EndDialFailed
	}
	if !c.join(b, nc) {
		c.v.backends.Release(b)
		return traffic.End(c.why.Load())
	}
	return traffic.NotEnded
}

// dial returns nil if another backend has to be tried.
func (d *dialling) dial(ctx context.Context, b *upstream.Backend) net.Conn {
	header := d.headers.of(b, d.c.from, d.c.to)
	nc, err := d.c.v.backends.Dial(ctx, b, header, d.share(d.c.v.Relay))
	switch {
	case err != nil:
		return nil
	case b.Expelled(): // while it was being dialled
		nc.Close()
		return nil
	}
	return nc
}
