package relay

import (
	"context"
	"slices"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
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
	h := v.habits()
	t := time.NewTicker(h.interval)
	defer t.Stop()
	var down []*upstream.Backend
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.news:
			if now := v.habits(); now != h { // else frequent news would put off the next round for ever
				h = now
				t.Reset(h.interval)
			}
		case now := <-t.C:
			if h.watching {
				down = v.watchTargets(down)
			}
			if now.Sub(swept) >= h.step-h.interval/2 {
				swept = now
				v.sweep(now)
			}
		}
	}
}

// habits say how often what is looked after.
type habits struct {
	step     time.Duration // the limits of time
	interval time.Duration // anything
	watching bool          // the targets, each time
}

func (v *serving) habits() habits {
	set := v.tuned()
	shortest := set.LingerTimeout
	if set.IdleTimeout > 0 {
		shortest = min(shortest, set.IdleTimeout)
	}
	step := min(max(shortest/stepsPerLimit, shortestStep), longestStep)
	h := habits{step: step, interval: step, watching: set.ResetOnDown || v.backends.Streams.Limited()}
	if h.watching {
		h.interval = min(step, watchInterval)
	}
	return h
}

func (v *serving) sweep(now time.Time) {
	set := v.tuned()
	v.each(func(c *conn) { c.checkSilence(now, set) })
	v.carrier.Trim(false)
}

// watchTargets resets the connections of targets that are down and were not when it looked last, and serves the queue. It returns
// those that are down.
func (v *serving) watchTargets(before []*upstream.Backend) (down []*upstream.Backend) {
	v.backends.Streams.ServeQueue()
	if !v.tuned().ResetOnDown {
		return nil
	}
	for _, p := range v.backends.Streams.All() {
		if !p.Target.Down() {
			continue
		}
		down = append(down, p)
		if !slices.Contains(before, p) {
			v.each(func(c *conn) { c.abortAt(p, traffic.EndTargetDown) })
		}
	}
	return down
}
