package splitter

import (
	"context"
	"time"

	"linesplit/linebuf"
)

// This file decides how much room the next read gets, and gets the buffer for it.

// carried returns the length of the unfinished line, in bytes.
func (c *conn) carried() int {
	if c.buf == nil {
		return 0
	}
	return len(c.buf.B)
}

// adapt chooses the size of the next buffer. The last read filled n bytes of its room.
func (c *conn) adapt(n, room int) {
	c.filled = n == room
	switch {
	case c.filled && room >= c.size/4: // filling the little room behind a carried line means nothing
		c.size = min(2*c.size, c.v.maxRead)
	case n < c.size/4:
		c.size = max(c.size/2, c.v.o.ReadSize)
	}
}

// want returns the size of a buffer that carries n bytes and has room for a read. A growing line
// doubles it, up to the maximum line length; an unfinished line is always shorter than that, so
// there is always room for a byte.
func (c *conn) want(n int) int {
	if n == 0 {
		return c.size
	}
	grown := linebuf.ClassSize(n + c.size/4)
	return max(c.size, min(grown, linebuf.ClassSize(c.lines.max)))
}

// ensure provides a buffer to read into, without waiting. If it returns false, the caller needs
// makeRoomInGate.
func (c *conn) ensure() bool {
	want := c.want(c.carried())
	if c.buf != nil && cap(c.buf.B) >= want {
		return true
	}
	some := c.buf != nil && cap(c.buf.B)-len(c.buf.B) >= c.v.o.ReadSize/4
	if want > c.v.maxRead && (some || !c.v.budget.reserve(c, int64(want))) {
		return some
	}
	if b := c.v.pool.TryGet(want); b != nil {
		c.replace(b)
		return true
	}
	return some
}

// makeRoomInGate leaves the gate, since the wait for memory may be long and other connections need
// less, and comes back with a buffer to read into. It keeps that while it waits for the gate: were
// it to give it back, long lines would wait for one and then for the other without end.
func (c *conn) makeRoomInGate() error {
	c.leaveGate()
	if err := c.makeRoom(); err != nil {
		return err
	}
	return c.waitAtGate()
}

// makeRoom is ensure with waiting for the memory. For a line longer than a read buffer it may evict
// other lines, or drop the line itself.
func (c *conn) makeRoom() error {
	c.size = c.v.o.ReadSize
	return c.growTo(c.want)
}

// growTo gets a buffer of the size that want returns for the length of the unfinished line.
func (c *conn) growTo(want func(carried int) int) error {
	for {
		c.account() // what it holds while it waits
		size := want(c.carried())
		if size > c.v.maxRead && c.carried() > 0 && !c.v.budget.reserve(c, int64(size)) {
			c.dropCarried()
			continue
		}
		b, err := c.wait(size)
		if err == nil {
			c.replace(b)
			return nil
		}
		if err := c.v.hard.Err(); err != nil {
			return err
		}
		c.obeyEviction()
	}
}

// wait gets a buffer as soon as the budget has room. It returns an error if evict or the hard end
// cancels the wait.
func (c *conn) wait(size int) (*linebuf.Buffer, error) {
	if b := c.v.pool.TryGet(size); b != nil {
		return b, nil
	}
	defer c.resume(c.holdUp())
	ctx, cancel := context.WithCancel(c.v.hard)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	if c.asked.Load() {
		cancel()
	}
	c.mu.Unlock()
	b, err := c.v.pool.Get(ctx, size)
	c.mu.Lock()
	c.cancel = nil
	c.mu.Unlock()
	return b, err
}

// replace moves the content of c.buf to b and puts b in its place.
func (c *conn) replace(b *linebuf.Buffer) {
	if c.buf != nil {
		b.B = append(b.B, c.buf.B...)
		c.v.pool.Put(c.buf)
	}
	c.buf = b
}

// release gives memory back when there is nothing to read: an empty buffer goes back to the pool,
// and a short line moves into a small buffer. Long lines stay where they are until memory is short:
// otherwise a sender of single bytes would have them copied for each byte.
func (c *conn) release() {
	b := c.buf
	if b == nil {
		return
	}
	if len(b.B) == 0 {
		c.v.pool.Put(b)
		c.buf = nil
		return
	}
	if 4*linebuf.ClassSize(len(b.B)) <= cap(b.B) || cap(b.B) <= c.v.o.ReadSize || c.v.budget.pressed() {
		c.tighten()
	}
}

// tighten moves an unfinished line into the smallest buffer that holds it.
func (c *conn) tighten() {
	if c.carried() == 0 {
		c.v.pool.Put(c.buf)
		c.buf = nil
	} else if needed := linebuf.ClassSize(len(c.buf.B)); needed < cap(c.buf.B) {
		c.replace(c.v.pool.MustGet(needed))
	}
}

// measure notes the headway of the unfinished line. Of n new bytes, the last ones begin another line
// if whole lines have come.
func (c *conn) measure(n int, whole bool, now time.Time) {
	if whole {
		c.fresh = 0
		if c.asked.Load() {
			c.v.budget.settle(c) // the line that it was about has ended
		}
	} else if c.fresh += n; int64(c.fresh)*headwayShare < c.charge.Load() {
		return
	}
	c.fresh = 0
	c.headway.Store(c.v.budget.now(now))
}

// account charges what the connection holds to the budget of unfinished lines. If the budget
// refuses, the line is dropped.
func (c *conn) account() {
	charge, spare := c.chargeNow()
	c.spare.Store(spare)
	if charge != c.charge.Load() && !c.v.budget.reserve(c, charge) {
		c.dropCarried()
	}
}

// discharge is account for a line that has just been completed: it must not stay charged while the
// connection waits for the channel.
func (c *conn) discharge() {
	if charge, spare := c.chargeNow(); charge < c.charge.Load() {
		c.spare.Store(spare)
		c.v.budget.reserve(c, charge)
	}
}

// chargeNow returns the bytes to charge for the unfinished line, and those of them that a smaller
// buffer would save.
func (c *conn) chargeNow() (charge, spare int64) {
	if c.buf == nil {
		return 0, 0
	}
	size, needed := int64(cap(c.buf.B)), int64(0)
	if n := len(c.buf.B); n > 0 {
		needed = int64(linebuf.ClassSize(n))
	}
	switch {
	case c.held.charge > 0: // awakeBudget has been charged for the read buffer
		size = max(needed, size-c.held.charge)
	case c.held.awake && !c.timed && size <= int64(c.v.maxRead): // its read buffer is charged nowhere
		size = needed
	}
	return size, size - needed
}

// obeyEviction gives memory back if budget asked for that: what a smaller buffer saves, or if that
// is too little, the unfinished line.
func (c *conn) obeyEviction() {
	if !c.asked.Load() {
		return
	}
	keep := c.charge.Load() - c.v.budget.wanted(c)
	c.goQuiet()
	c.tighten()
	if charge, _ := c.chargeNow(); charge > keep && !c.loop.completes(c) {
		c.dropCarried()
	}
	c.account()
	c.v.budget.settle(c) // where there was nothing left to give back
}

// dropCarried drops the unfinished line for lack of memory. The rest of the line will be skipped.
func (c *conn) dropCarried() {
	if n := c.carried(); n > 0 {
		r := c.lines.abandon(reasonMemory, n)
		c.countCut(&r)
		c.received.Add(linebuf.Count{Lines: r.allLines()})
	}
	c.v.pool.Put(c.buf)
	c.buf = nil
	c.spare.Store(0)
	c.v.budget.reserve(c, 0)
}
