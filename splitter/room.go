package splitter

import (
	"context"

	"linesplit/linebuf"
)

// This file finds room for the next read: how much, and whether it has to be waited for.

// carried is how many bytes of an unfinished line the connection has.
func (c *conn) carried() int {
	if c.buf == nil {
		return 0
	}
	return len(c.buf.B)
}

// adapt chooses the size of the next buffer by what the last read made of its room.
func (c *conn) adapt(n, room int) {
	c.filled = n == room
	switch {
	case c.filled && room >= c.size/4: // the few bytes behind a carried line tell nothing
		c.size = min(2*c.size, c.v.maxRead)
	case n < c.size/4:
		c.size = max(c.size/2, c.v.o.ReadSize)
	}
}

// want is the size of a buffer that carries n bytes and has room for a read. A line that grows doubles it, up to the
// longest line; an unfinished line is always shorter than that, so there is always room for a byte.
func (c *conn) want(n int) int {
	if n == 0 {
		return c.size
	}
	grown := linebuf.ClassSize(n + c.size/4)
	return max(c.size, min(grown, linebuf.ClassSize(c.lines.max)))
}

// fit provides a buffer to read into, without waiting. If it returns false, makeRoom is needed.
func (c *conn) fit() bool {
	want := c.want(c.carried())
	if c.buf != nil && cap(c.buf.B) >= want {
		return true
	}
	if want <= c.v.maxRead {
		if b := c.v.pool.TryGet(want); b != nil {
			c.adopt(b)
			return true
		}
	}
	return c.buf != nil && cap(c.buf.B)-len(c.buf.B) >= c.v.o.ReadSize/4
}

// makeRoom is fit for those who can wait for the memory budget. A line that grows beyond what is read at once may have
// other lines dropped, or turn out to be the longest itself.
func (c *conn) makeRoom() error {
	c.size = c.v.o.ReadSize
	for {
		want := c.want(c.carried())
		if want > c.v.maxRead && c.carried() > 0 && !c.v.registry.reserve(c, int64(want)) {
			c.dropCarried()
			continue
		}
		b, err := c.await(want)
		if err == nil {
			c.adopt(b)
			return nil
		}
		if err := c.v.hard.Err(); err != nil {
			return err
		}
		c.obeyEviction()
	}
}

// await gets a buffer as soon as the budget has room, or returns an error when evict or the hard end calls it off.
func (c *conn) await(size int) (*linebuf.Buffer, error) {
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

// adopt goes on with b in place of c.buf.
func (c *conn) adopt(b *linebuf.Buffer) {
	if c.buf != nil {
		b.B = append(b.B, c.buf.B...)
		c.v.pool.Put(c.buf)
	}
	c.buf = b
}

// park is for when nothing is left to read: an empty buffer goes back, and a short line moves into a small one.
// Long lines stay where they are: a sender of single bytes would have them copied for each.
func (c *conn) park() {
	b := c.buf
	if b == nil {
		return
	}
	if len(b.B) == 0 {
		c.v.pool.Put(b)
		c.buf = nil
		return
	}
	least := linebuf.ClassSize(len(b.B))
	if 4*least <= cap(b.B) || least < cap(b.B) && cap(b.B) <= c.v.o.ReadSize {
		c.adopt(c.v.pool.MustGet(least))
	}
}

// account charges the unfinished line to the budget that such lines have, and drops it if that asks for it.
func (c *conn) account() {
	charge := c.chargeNow()
	if charge != c.charge.Load() && !c.v.registry.reserve(c, charge) {
		c.dropCarried()
	}
}

// discharge is account for a line that has just been completed: it must not count while the channel is waited for.
func (c *conn) discharge() {
	if charge := c.chargeNow(); charge < c.charge.Load() {
		c.v.registry.reserve(c, charge)
	}
}

func (c *conn) chargeNow() int64 {
	n := c.carried()
	switch {
	case n == 0:
		return 0
	case cap(c.buf.B) > c.v.maxRead: // no read buffer: it is there for the line
		return int64(cap(c.buf.B))
	default:
		return int64(linebuf.ClassSize(n))
	}
}

// obeyEviction drops the unfinished line if registry asked for it, unless it is another one by now.
func (c *conn) obeyEviction() {
	if at := c.evictAt.Swap(0); at > 0 && c.charge.Load() >= at {
		c.dropCarried()
	}
}

// dropCarried gives up the unfinished line for want of memory. The rest of it will be skipped.
func (c *conn) dropCarried() {
	c.evictAt.Store(0)
	if n := c.carried(); n > 0 {
		r := c.lines.abandon(memory, n)
		c.v.counters.cut(&r)
		c.brought.Add(linebuf.Count{Lines: r.allLines()})
		c.v.pool.Put(c.buf)
		c.buf = nil
	}
	c.v.registry.reserve(c, 0)
}
