package workerpool

import (
	"time"

	"linesplit/linebuf"
)

// At low load, an outlet cuts a read of many lines for the connections that are idle at that
// moment. Each part costs a copy and one more write(2). So outlets cut only what comes soon after a
// pause of the sender, and all of them together make at most maxParts between two ticks of the
// pool.
const (
	// minPart is the least size of a part in bytes; only the last one may be smaller. A part of
	// that size fills half of the smallest buffer, so parts hold about twice the memory at most.
	// The few lines of a short message stay together.
	minPart = 256
	// maxCut is the number of bytes after a pause within which buffers are cut. A burst that goes
	// on is spread without a copy: its next buffers go to one worker after the other.
	maxCut = 64 << 10
	// With a load of lowLoad or more between two ticks, nothing is cut until the next one. Each
	// buffer adds 1 to the load, and 1 for each loadBytes in it. So the load is low below some
	// 4,000 buffers or 16 MB a second, for which a few per cent of a processor are enough.
	lowLoad   = 512
	loadBytes = 4 << 10
	// maxParts is some 1,000 parts a second, which take about one per cent of a processor. Workers
	// that are tried in vain count, too: a look at a connection costs as much as a write.
	maxParts = 128
)

// mayCut reports whether the load is low, and n more parts may be cut before the next tick.
func (p *Pool) mayCut(n int) bool { return p.parts.Load() >= int32(n) }

// keepsWhole reports whether b is not cut, so that a batch with an ID has all lines that the spool
// has in one frame: only then can a later process send the same batch again.
func (p *Pool) keepsWhole(b *linebuf.Buffer) bool { return p.o.Acknowledged.Note != nil && b.Kept() }

// renewParts runs at each tick. It measures the load since the last one.
func (p *Pool) renewParts() {
	load := 0
	for _, w := range *p.running.Load() {
		load += int(w.load.Swap(0))
	}
	if load < lowLoad {
		p.parts.Store(maxParts)
	} else {
		p.parts.Store(0)
	}
}

// spread cuts b into parts of at least the given size, for the next workers that are idle, and
// writes one to each of them. It returns false, and b is unchanged, if it finds fewer than two or
// the load is not low.
func (o *Outlet) spread(running []*worker, b *linebuf.Buffer, least int) bool {
	want := min(len(running), maxTries, len(b.B)/least, b.Lines)
	if want < 2 || !o.pool.mayCut(want) {
		return false
	}
	var idle [maxTries]*worker
	found, tried := 0, 0
	for ; found < want && tried < min(len(running), maxTries); tried++ {
		if w := running[(o.at+tried)%len(running)]; w.tryIdleTurn(o.burst) {
			idle[found] = w
			found++
		}
	}
	o.pool.parts.Add(-int32(tried))
	if found < 2 {
		endTurns(idle[:found])
		return false
	}
	o.next(tried)
	var parts [maxTries]*linebuf.Buffer
	n := cut(o.pool.buffers, b, parts[:wholeRounds(idle[:found])])
	endTurns(idle[n:found])
	for i, part := range parts[:n] {
		idle[i].writeInTurn(part, o.burst)
	}
	return true
}

// wholeRounds returns how many of the idle workers get a part, so that each target gets as many as
// the others. Neighbours in Pool.offered belong to different targets: the target of the first one
// begins the second round.
func wholeRounds(idle []*worker) int {
	for round := 1; round < len(idle); round++ {
		if idle[round].home == idle[0].home {
			return len(idle) - len(idle)%round
		}
	}
	return len(idle)
}

func endTurns(workers []*worker) {
	for _, w := range workers {
		w.endTurn()
	}
}

// tryIdleTurn takes the turn of a worker whose connection is idle; the caller ends the turn. It
// looks at the connection if it is not known whether everything has arrived. What the same burst
// has brought before may still be on its way: its first read may have been a small one.
func (w *worker) tryIdleTurn(this burst) bool {
	if !w.tryTurn() {
		return false
	}
	m := w.machine
	if m.Wants() && w.last == this {
		return true
	}
	if m.Wants() && !m.CaughtUp() {
		m.Check(time.Now())
	}
	if m.CaughtUp() {
		return true
	}
	w.endTurn()
	return false
}
