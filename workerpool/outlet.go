package workerpool

import (
	"time"

	"linesplit/linebuf"
)

const (
	// An outlet stays with one worker for stayBytes or stayWrites, so that its receiver is woken less
	// often and reads more at a time. After a pause of stayPause it takes the next worker: lines that
	// come one by one are spread one by one.
	stayBytes  = 1 << 20
	stayWrites = 64
	stayPause  = time.Millisecond
	// maxTries is the number of workers that an outlet tries for one buffer.
	maxTries = 16
)

// Outlet lets the goroutine that has read lines write them at once, if a worker has nothing else to
// do: no other goroutine has to wake up for them. Each goroutine has an outlet of its own.
type Outlet struct {
	pool          *Pool
	at            int // index in Pool.running
	bytes, writes int // given to that worker
	last          time.Time
}

// NewOutlet returns an outlet that begins with another worker than the one before.
func (p *Pool) NewOutlet() *Outlet {
	return &Outlet{pool: p, at: int(p.outlets.Add(1) & 1023)}
}

// Offer gives b to a worker, which owns it from then on, and writes it as far as that needs no
// waiting. It returns false, and the caller keeps b, if no worker can take it now: then it belongs
// on the channel. Offer never waits. It must not be called after the channel has been closed.
func (o *Outlet) Offer(b *linebuf.Buffer) bool {
	running := *o.pool.running.Load()
	size := len(b.B)
	if b.Read.Sub(o.last) > stayPause {
		o.next()
	}
	o.last = b.Read
	if o.bytes >= stayBytes || o.writes >= stayWrites {
		o.next()
	}
	for range min(len(running), maxTries) {
		if running[o.at%len(running)].offer(b) {
			o.bytes += size
			o.writes++
			return true
		}
		o.next()
	}
	return false
}

// next goes on to the next worker.
func (o *Outlet) next() {
	o.at, o.bytes, o.writes = o.at+1, 0, 0
}

// offer is Offer for one worker.
func (w *worker) offer(b *linebuf.Buffer) bool {
	if !w.turn.TryLock() {
		return false
	}
	if !w.machine.Wants() {
		w.turn.Unlock()
		return false
	}
	w.machine.Take(b)
	w.pool.clock.stir()
	c, p := w.machine.Writing()
	n, err := c.(Conn).TryWrite(p)
	w.machine.Wrote(n, err, time.Now())
	left := w.hasEvent(c)
	w.turn.Unlock()
	if left {
		w.wake()
	}
	return true
}
