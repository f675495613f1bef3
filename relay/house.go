package relay

import (
	"context"
	"time"
)

const (
	// A limit of time is looked after in so many steps. Looking at all connections now and then costs less than a timer for each, and
	// nothing at all where bytes flow.
	stepsPerLimit = 16
	shortestStep  = 10 * time.Millisecond
	longestStep   = 5 * time.Second

	// watchInterval is how often the targets' state is looked at, where it matters: they do not tell.
	watchInterval = 100 * time.Millisecond
)

// keepHouse ends connections that have been silent for too long, or whose target is down, until ctx ends. It also wakes those who wait
// in the queue when a target has come back, and gives back pipes that nobody has used for a while.
func (v *serving) keepHouse(ctx context.Context) {
	step := v.step()
	interval := step
	watching := v.o.ResetOnDown || v.streams.limited()
	if watching {
		interval = min(interval, watchInterval)
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	down := make(map[*place]bool)
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			if watching {
				v.watchTargets(down)
			}
			if now.Sub(swept) >= step-interval/2 {
				swept = now
				v.sweep(now)
			}
		}
	}
}

func (v *serving) step() time.Duration {
	shortest := v.o.LingerTimeout
	if v.o.IdleTimeout > 0 {
		shortest = min(shortest, v.o.IdleTimeout)
	}
	return min(max(shortest/stepsPerLimit, shortestStep), longestStep)
}

func (v *serving) sweep(now time.Time) {
	v.each(func(c *conn) { c.checkSilence(now) })
	v.carrier.trim(false)
}

// watchTargets resets the connections of targets that have gone down since it looked last, and serves the queue.
func (v *serving) watchTargets(down map[*place]bool) {
	v.streams.serveQueue()
	if !v.o.ResetOnDown {
		return
	}
	for _, p := range v.streams.places {
		was, is := down[p], p.t.Down()
		down[p] = is
		if is && !was {
			v.each(func(c *conn) { c.abortAt(p) })
		}
	}
}
