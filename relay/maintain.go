package relay

import (
	"context"
	"slices"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

const (
	// All connections are checked stepsPerTimeout times within the shortest timeout. That costs
	// less than a timer for each connection, and nothing per byte that is carried.
	stepsPerTimeout = 16
	minStep         = 10 * time.Millisecond
	maxStep         = 5 * time.Second

	// watchInterval is the time between checks of the targets' state, if anything depends on it.
	// Targets do not announce changes.
	watchInterval = 100 * time.Millisecond
)

// maintain runs until ctx ends. It ends connections that have been silent for too long or whose
// target is down, serves the queue when a target has come back, and closes pipes that have not been
// used for a while.
func (v *serving) maintain(ctx context.Context) {
	s := v.schedule()
	t := time.NewTicker(s.interval)
	defer t.Stop()
	var down []*upstream.Backend
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.changed:
			// Resetting the ticker only if the schedule has changed keeps frequent changes from
			// delaying the next tick without end.
			if now := v.schedule(); now != s {
				s = now
				t.Reset(s.interval)
			}
		case now := <-t.C:
			if s.watching {
				down = v.watchTargets(down)
			}
			if now.Sub(swept) >= s.step-s.interval/2 {
				swept = now
				v.sweep(now)
			}
		}
	}
}

// schedule holds the intervals of maintain.
type schedule struct {
	step     time.Duration // between checks of the timeouts
	interval time.Duration // between ticks
	watching bool          // each tick checks the targets
}

func (v *serving) schedule() schedule {
	set := v.tuned()
	shortest := set.LingerTimeout
	for _, timeout := range []time.Duration{set.IdleTimeout, set.ClientIdleTimeout, set.TargetIdleTimeout} {
		if timeout > 0 {
			shortest = min(shortest, timeout)
		}
	}
	step := min(max(shortest/stepsPerTimeout, minStep), maxStep)
	s := schedule{step: step, interval: step, watching: set.ResetOnDown || v.backends.Streams.Limited()}
	if s.watching {
		s.interval = min(step, watchInterval)
	}
	return s
}

// sweep checks all connections for silence, and closes pipes that were not used since the last
// sweep.
func (v *serving) sweep(now time.Time) {
	set := v.tuned()
	v.each(func(c *conn) { c.checkSilence(now, set) })
	v.eachLink(func(k *link) { k.checkSilence(now, set) })
	v.carrier.Trim(false)
}

// watchTargets serves the queue and, with ResetOnDown, resets the connections of backends that have
// gone down. before holds those that were down at the last call. It returns those that are down
// now.
func (v *serving) watchTargets(before []*upstream.Backend) (down []*upstream.Backend) {
	v.backends.Streams.ServeQueue()
	if !v.tuned().ResetOnDown {
		return nil
	}
	for _, b := range v.backends.Streams.All() {
		if !b.Target.Down() {
			continue
		}
		down = append(down, b)
		if !slices.Contains(before, b) {
			v.abortAt(b, traffic.EndTargetDown)
		}
	}
	return down
}
