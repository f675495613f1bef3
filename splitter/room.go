package splitter

import (
	"context"

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
// makeRoom.
func (c *conn) ensure() bool {
	want := c.want(c.carried())
	if c.buf != nil && cap(c.buf.B) >= want {
		return true
	}
	if want <= c.v.maxRead {
		if b := c.v.pool.TryGet(want); b != nil {
			c.replace(b)
			return true
		}
	}
	return c.buf != nil && cap(c.buf.B)-len(c.buf.B) >= c.v.o.ReadSize/4
}

// makeRoom is ensure with waiting for the memory budget. For a line longer than a read buffer it
// may evict other lines, or drop the line itself if it is the longest.
func (c *conn) makeRoom() error {
	c.size = c.v.o.ReadSize
	for {
		want := c.want(c.carried())
		if want > c.v.maxRead && c.carried() > 0 && !c.v.registry.reserve(c, int64(want)) {
			c.dropCarried()
			continue
		}
		b, err := c.wait(want)
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
	ctx, cancel := context.WithCancel(c.v.hard)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	if c.evictAt.Load() != 0 {
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
// and a short line moves into a small buffer. Long lines stay where they are: otherwise a sender of
// single bytes would have them copied for each byte.
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
	needed := linebuf.ClassSize(len(b.B))
	if 4*needed <= cap(b.B) || needed < cap(b.B) && cap(b.B) <= c.v.o.ReadSize {
		c.replace(c.v.pool.MustGet(needed))
	}
}

// account charges the unfinished line to the budget of unfinished lines, and drops it if registry
// refuses.
func (c *conn) account() {
	charge := c.chargeNow()
	if charge != c.charge.Load() && !c.v.registry.reserve(c, charge) {
		c.dropCarried()
	}
}

// discharge is account for a line that has just been completed: it must not stay charged while the
// connection waits for the channel.
func (c *conn) discharge() {
	if charge := c.chargeNow(); charge < c.charge.Load() {
		c.v.registry.reserve(c, charge)
	}
}

// chargeNow returns the bytes to charge for the unfinished line.
func (c *conn) chargeNow() int64 {
	n := c.carried()
	switch {
	case n == 0:
		return 0
	case cap(c.buf.B) > c.v.maxRead: // larger than any read buffer, so it is there for the line
		return int64(cap(c.buf.B))
	default:
		return int64(linebuf.ClassSize(n))
	}
}

// obeyEviction drops the unfinished line if registry asked for that, unless it is another line by
// now.
func (c *conn) obeyEviction() {
	if at := c.evictAt.Swap(0); at > 0 && c.charge.Load() >= at {
		c.dropCarried()
	}
}

// dropCarried drops the unfinished line for lack of memory. The rest of the line will be skipped.
func (c *conn) dropCarried() {
	c.evictAt.Store(0)
	if n := c.carried(); n > 0 {
		r := c.lines.abandon(reasonMemory, n)
		c.countCut(&r)
		c.received.Add(linebuf.Count{Lines: r.allLines()})
		c.v.pool.Put(c.buf)
		c.buf = nil
	}
	c.v.registry.reserve(c, 0)
}
