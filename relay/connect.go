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
	// Delays between rounds in which each target is tried once.
	initialRetry = 20 * time.Millisecond
	maxRetry     = time.Second
)

// dialling is a client's search for a target.
type dialling struct {
	c       *conn
	until   time.Time      // end of the dial budget; zero before the first dial
	tried   upstream.Tried // in this round
	waited  bool           // the client has waited, and may have gone meanwhile
	headers [3][]byte      // PROXY headers by version; made when first needed
	retry   *backoff.ExponentialBackOff
}

// connect connects the client to a target. The client's first bytes are not read meanwhile.
func (c *conn) connect() traffic.End {
	d := dialling{c: c}
	ctx := c.v.cut
	for ctx.Err() == nil {
		b, why := d.acquire(ctx)
		switch {
		case b != nil:
			if why := d.try(ctx, b); why != traffic.EndDialFailed {
				return why
			}
		case why != traffic.EndNoTarget:
			return why
		case len(d.tried) == 0: // no target can be tried
			c.v.backends.Streams.SetUnreachable(true)
			return traffic.EndNoTarget
		}
		if b == nil || d.left() <= 0 {
			if !d.nextRound(ctx) {
				c.v.backends.Streams.SetUnreachable(true)
				return traffic.EndDialFailed
			}
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
	d.waited = true
	begin := time.Now()
	b, why := c.v.backends.Streams.Wait(ctx, w)
	if !d.until.IsZero() {
		d.until = d.until.Add(time.Since(begin)) // waiting in the queue takes no dial budget
	}
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
	if d.until.IsZero() {
		d.until = time.Now().Add(c.v.tuned().DialBudget)
	}
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
	nc, err := d.c.v.backends.Dial(ctx, b, d.header(b), d.share())
	switch {
	case err != nil:
		return nil
	case b.Expelled(): // while it was being dialled
		nc.Close()
		return nil
	}
	return nc
}

// share returns the time that one dial may take. While other backends are left to try, that is half
// of the remaining budget, so that one that does not answer leaves time for them.
func (d *dialling) share() time.Duration {
	left := max(d.left(), time.Millisecond)
	if len(d.tried)+1 < d.c.v.backends.Streams.CountOpen(nil) {
		return left / 2
	}
	return left
}

// left returns the rest of the dial budget.
func (d *dialling) left() time.Duration { return time.Until(d.until) }

// nextRound waits before all backends are tried again. The last round begins initialRetry before
// the end of the dial budget, however long the delay would be. nextRound returns false if that time
// has come.
func (d *dialling) nextRound(ctx context.Context) bool {
	if d.retry == nil {
		d.retry = accept.NewBackOff(initialRetry, maxRetry)
	}
	wait := min(d.retry.NextBackOff(), d.left()-initialRetry)
	if wait <= 0 {
		return false
	}
	accept.Pause(ctx, wait)
	d.tried, d.waited = d.tried[:0], true
	return true
}

// header returns the PROXY header for b, or nil if the target expects none.
func (d *dialling) header(b *upstream.Backend) []byte {
	version := b.Target.Address.ProxyProtocol
	if version == 0 {
		return nil
	}
	if d.headers[version] == nil {
		d.headers[version] = proxyHeader(version, d.c.from, d.c.to)
	}
	return d.headers[version]
}
