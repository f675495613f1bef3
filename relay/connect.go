package relay

import (
	"context"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

const (
	firstRetry   = 20 * time.Millisecond // between rounds in which each target is tried once; then more and more
	longestRetry = time.Second
)

// dialling is a client's search for a target.
type dialling struct {
	c       *conn
	until   time.Time      // zero before the first dial
	tried   upstream.Tried // in this round
	waited  bool           // so that the client may have gone meanwhile
	headers [3][]byte      // by version; made when first needed
	retry   *backoff.ExponentialBackOff
}

// connect finds a target that answers. The client's first bytes wait unread meanwhile.
func (c *conn) connect() traffic.End {
	d := dialling{c: c}
	ctx := c.v.cut
	for ctx.Err() == nil {
		p, why := d.acquire(ctx)
		switch {
		case p != nil:
			if why := d.try(ctx, p); why != traffic.EndDialFailed {
				return why
			}
		case why != traffic.EndNoTarget:
			return why
		case len(d.tried) == 0: // there is nothing to be tried
			c.v.backends.Streams.SetUnreachable(true)
			return traffic.EndNoTarget
		}
		if p == nil || d.left() <= 0 {
			if !d.nextRound(ctx) {
				c.v.backends.Streams.SetUnreachable(true)
				return traffic.EndDialFailed
			}
		}
	}
	return traffic.EndShutdown
}

// acquire returns a place that was not tried in this round.
func (d *dialling) acquire(ctx context.Context) (*upstream.Backend, traffic.End) {
	c := d.c
	p, w := c.v.backends.Streams.Acquire(c.addr, &d.tried)
	if w == nil {
		if p == nil {
			return nil, traffic.EndNoTarget
		}
		return p, traffic.NotEnded
	}
	d.waited = true
	begin := time.Now()
	p, why := c.v.backends.Streams.Wait(ctx, w)
	if !d.until.IsZero() {
		d.until = d.until.Add(time.Since(begin)) // waiting for a place is not dialling
	}
	return p, why
}

// try connects the client to p, or returns why not; dialFailed if it may try another.
func (d *dialling) try(ctx context.Context, p *upstream.Backend) traffic.End {
	c := d.c
	if d.waited && c.client.WasReset() {
		c.v.backends.Release(p)
		return traffic.EndClientReset
	}
	if d.until.IsZero() {
		d.until = time.Now().Add(c.v.tuned().DialBudget)
	}
	c.dials++
	nc := d.dial(ctx, p)
	if nc == nil {
		c.v.backends.Release(p)
		d.tried.Add(p)
		return traffic.EndDialFailed
	}
	if !c.join(p, nc) {
		c.v.backends.Release(p)
		return traffic.End(c.why.Load())
	}
	return traffic.NotEnded
}

// dial returns nil if another place has to be tried.
func (d *dialling) dial(ctx context.Context, p *upstream.Backend) net.Conn {
	nc, err := d.c.v.backends.Dial(ctx, p, d.header(p), d.share())
	switch {
	case err != nil:
		return nil
	case p.Expelled(): // meanwhile
		nc.Close()
		return nil
	}
	return nc
}

// share is how long one dial may take. One that does not answer must not use up the time that there is for the others.
func (d *dialling) share() time.Duration {
	left := max(d.left(), time.Millisecond)
	if len(d.tried)+1 < d.c.v.backends.Streams.CountOpen(nil) {
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

func (d *dialling) header(p *upstream.Backend) []byte {
	version := p.Target.Address.ProxyProtocol
	if version == 0 {
		return nil
	}
	if d.headers[version] == nil {
		d.headers[version] = proxyHeader(version, d.c.from, d.c.to)
	}
	return d.headers[version]
}
