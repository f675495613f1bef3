package relay

import (
	"context"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/internal/accept"
)

const (
	firstRetry   = 20 * time.Millisecond // between rounds in which each target is tried once; then more and more
	longestRetry = time.Second
)

// dialling is a client's search for a target.
type dialling struct {
	c       *conn
	until   time.Time // zero before the first dial
	tried   tried     // in this round
	waited  bool      // so that the client may have gone meanwhile
	headers [3][]byte // by version; made when first needed
	retry   *backoff.ExponentialBackOff
}

// connect finds a target that answers. The client's first bytes wait unread meanwhile.
func (c *conn) connect() end {
	d := dialling{c: c}
	ctx := c.v.cut
	for ctx.Err() == nil {
		p, why := d.acquire(ctx)
		switch {
		case p != nil:
			if why := d.try(ctx, p); why != dialFailed {
				return why
			}
		case why != noTarget:
			return why
		case len(d.tried) == 0: // there is nothing to be tried
			c.v.streams.unreachable(true)
			return noTarget
		}
		if p == nil || d.left() <= 0 {
			if !d.nextRound(ctx) {
				c.v.streams.unreachable(true)
				return dialFailed
			}
		}
	}
	return shutdown
}

// acquire returns a place that was not tried in this round.
func (d *dialling) acquire(ctx context.Context) (*place, end) {
	c := d.c
	p, w := c.v.streams.enter(c.addr, &d.tried)
	if w == nil {
		if p == nil {
			return nil, noTarget
		}
		return p, notEnded
	}
	d.waited = true
	begin := time.Now()
	p, why := c.v.streams.wait(ctx, w)
	if !d.until.IsZero() {
		d.until = d.until.Add(time.Since(begin)) // waiting for a place is not dialling
	}
	return p, why
}

// try connects the client to p, or returns why not; dialFailed if it may try another.
func (d *dialling) try(ctx context.Context, p *place) end {
	c := d.c
	if d.waited && c.client.WasReset() {
		c.v.release(p)
		return clientReset
	}
	if d.until.IsZero() {
		d.until = time.Now().Add(c.v.tuned().DialBudget)
	}
	c.dials++
	nc := d.dial(ctx, p)
	if nc == nil {
		c.v.release(p)
		d.tried.add(p)
		return dialFailed
	}
	if !c.join(p, nc) {
		c.v.release(p)
		return end(c.why.Load())
	}
	return notEnded
}

// dial returns nil if another place has to be tried.
func (d *dialling) dial(ctx context.Context, p *place) net.Conn {
	nc, err := d.c.v.dial(ctx, p, d.header(p), d.share())
	switch {
	case err != nil:
		return nil
	case p.expelled.Load(): // meanwhile
		nc.Close()
		return nil
	}
	return nc
}

// share is how long one dial may take. One that does not answer must not use up the time that there is for the others.
func (d *dialling) share() time.Duration {
	left := max(d.left(), time.Millisecond)
	if len(d.tried)+1 < d.c.v.streams.open(nil) {
		return left / 2
	}
	return left
}

func (d *dialling) left() time.Duration { return time.Until(d.until) }

// nextRound waits before all are tried again. It returns false if that would be too late.
func (d *dialling) nextRound(ctx context.Context) bool {
	if d.retry == nil {
		d.retry = accept.NewBackOff(firstRetry, longestRetry)
	}
	wait := d.retry.NextBackOff()
	if wait >= d.left() {
		return false
	}
	accept.Pause(ctx, wait)
	d.tried, d.waited = d.tried[:0], true
	return true
}

func (d *dialling) header(p *place) []byte {
	version := p.t.Address.ProxyProtocol
	if version == 0 {
		return nil
	}
	if d.headers[version] == nil {
		d.headers[version] = proxyHeader(version, d.c.from, d.c.to)
	}
	return d.headers[version]
}
