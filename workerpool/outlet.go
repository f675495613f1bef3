package workerpool

import (
	"time"

	"linesplit/linebuf"
)

const (
	// An outlet stays with one worker for stayBytes or stayWrites, so that its receiver is woken
	// less often and reads more at a time. After a pause of stayPause it takes the next worker:
	// lines that come one by one are spread one by one.
	stayBytes  = 1 << 20
	stayWrites = 64
	stayPause  = time.Millisecond
	// At low load it stays for less after a pause: for minPart bytes, or one part in burstShares of
	// what has come since if that is more. So a short burst is spread, too, and a long one reaches
	// stayBytes.
	burstShares = 16
	longBurst   = burstShares * stayBytes
	// maxTries is the number of workers that an outlet tries for one buffer.
	maxTries = 16
)

// Outlet lets the goroutine or event loop that has read lines write them at once, if a worker has
// nothing else to do: no other goroutine has to wake up for them. Each connection has an outlet of
// its own, which one goroutine at a time may use.
type Outlet struct {
	pool          *Pool
	at            int // index in Pool.offered, modulo its length
	bytes, writes int // given to that worker
	last          time.Time
	burst         burst
	burstBytes    int // offered since the last pause, at most longBurst; under load always that
}

// burst identifies the buffers that one outlet has been offered between two pauses. The zero value
// stands for the channel.
type burst struct{ outlet, n uint32 }

// NewOutlet returns an outlet that begins with another worker than the one before.
func (p *Pool) NewOutlet() *Outlet {
	id := p.outlets.Add(1)
	return &Outlet{pool: p, at: int(id & 1023), burst: burst{outlet: id}}
}

// Offer gives b to a worker, which owns it from then on, and writes it as far as that needs no
// waiting. At low load it may cut b for several workers, see spread. It returns false, and the
// caller keeps b as it was, if no worker can take it now: then it belongs on the channel. Offer
// never waits. It must not be called after the channel has been closed.
func (o *Outlet) Offer(b *linebuf.Buffer) bool {
	running := *o.pool.offered.Load()
	size := len(b.B)
	if b.Read.Sub(o.last) > stayPause {
		o.beginBurst()
	}
	o.last = b.Read
	stay := min(max(minPart, o.burstBytes/burstShares), stayBytes)
	o.burstBytes = min(o.burstBytes+size, longBurst)
	if o.burstBytes <= maxCut && size >= 2*stay && !o.pool.keepsWhole(b) && o.spread(running, b, stay) {
		return true
	}
	if o.bytes >= stay || o.writes >= stayWrites {
		o.next(1)
	}
	for range min(len(running), maxTries) {
		if running[o.at%len(running)].offer(b, o.burst) {
			o.bytes += size
			o.writes++
			return true
		}
		o.next(1)
	}
	return false
}

// beginBurst notes that a pause has ended.
func (o *Outlet) beginBurst() {
	o.next(1)
	o.burst.n++
	o.burstBytes = 0
	if !o.pool.mayCut(1) {
		o.burstBytes = longBurst
	}
}

// next goes n workers on.
func (o *Outlet) next(n int) {
	o.at, o.bytes, o.writes = o.at+n, 0, 0
}

// offer is Offer for one worker.
func (w *worker) offer(b *linebuf.Buffer, from burst) bool {
	if !w.tryTurn() {
		return false
	}
	if !w.machine.Wants() {
		w.turn.Unlock()
		return false
	}
	w.writeInTurn(b, from)
	return true
}

// writeInTurn gives b to the machine, which wants it, writes as far as that needs no waiting, and
// ends the turn.
func (w *worker) writeInTurn(b *linebuf.Buffer, from burst) {
	w.give(b, from)
	w.pool.clock.stir()
	if c, p := w.machine.Writing(); len(p) > 0 {
		n, err := c.(Conn).TryWrite(p)
		w.machine.Wrote(n, err, time.Now())
	}
	w.endTurn()
}
