package splitter

import (
	"context"

	"linesplit/linebuf"
)

// makeRoomInGate waits for the memory that a starved stream needs, and then for the gate.
func (c *conn) makeRoomInGate() error {
	if fed, err := c.makeRoom(); err != nil || !fed {
		return err
	}
	return c.waitAtGate()
}

// makeRoom waits for the memory that a starved stream needs, and reports whether it has got it. If
// the stream gives memory back instead, it may need none any more, or have lines to hand over:
// Prepare then says anew what comes next.
func (c *conn) makeRoom() (fed bool, err error) {
	b, err := c.awaitBuffer(c.in.Need())
	if err == nil {
		c.in.Replace(b)
		return true, nil
	}
	if err := c.v.hard.Err(); err != nil {
		return false, err
	}
	c.in.Obey()
	return false, nil
}

// awaitBuffer gets a buffer as soon as the pool has room for it. It returns an error if Evict or
// the hard end cancels the wait.
func (c *conn) awaitBuffer(size int) (*linebuf.Buffer, error) {
	if b := c.v.pool.TryGet(size); b != nil {
		return b, nil
	}
	defer c.resume(c.holdUp())
	ctx, cancel := context.WithCancel(c.v.hard)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	if c.in.Asked() {
		cancel()
	}
	c.mu.Unlock()
	b, err := c.v.pool.Get(ctx, size)
	c.mu.Lock()
	c.cancel = nil
	c.mu.Unlock()
	return b, err
}
