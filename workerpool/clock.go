package workerpool

import (
	"sync/atomic"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

// clock ticks all workers of a pool, once per target.Tick, or once per delivery.QuietTick while all
// machines are quiet: then an idle process wakes up once a second. One ticker serves them all, and
// one goroutine all that are idle: each worker would have to wake up, and a ticker in its select
// would enter and leave the runtime's timers with every buffer.
type clock struct {
	slow    atomic.Bool   // all machines were quiet; the next event stirs the clock
	stirred chan struct{} // holds one value
}

func newClock() clock { return clock{stirred: make(chan struct{}, 1)} }

// stir makes the clock tick once per target.Tick again. A goroutine calls it with the turn of a
// worker, when that worker's machine has got an event.
func (c *clock) stir() {
	if c.slow.Load() && c.slow.CompareAndSwap(true, false) {
		select {
		case c.stirred <- struct{}{}:
		default:
		}
	}
}

// runClock ticks the workers until over is closed.
func (p *Pool) runClock(over <-chan struct{}) {
	period := target.Tick
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	quiet := false // after the last pass
	for {
		next := target.Tick
		select {
		case now := <-ticker.C:
			if quiet { // before the pass: an event that comes too late for it finds the clock slow
				p.clock.slow.Store(true)
			}
			if quiet = p.tickAll(now); !quiet {
				p.clock.slow.Store(false)
			}
			if p.clock.slow.Load() {
				next = delivery.QuietTick
			}
		case <-p.clock.stirred:
			quiet = false
		case <-over:
			return
		}
		if next != period {
			period = next
			ticker.Reset(period)
		}
	}
}

// tickAll ticks all workers, and reports whether the machines of all are quiet.
func (p *Pool) tickAll(now time.Time) (quiet bool) {
	p.renewParts()
	p.updateResting()
	quiet = p.routes == nil || p.routes.Settle()
	for _, w := range *p.running.Load() {
		quiet = w.tickIfIdle(now) && quiet
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveSurplusLanesLocked(now)
	p.updateDrainedLocked(now)
	return quiet
}
