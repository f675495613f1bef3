package spool

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// block is a block of confirmations that is to be written.
type block struct {
	segment *segment
	chunk   uint32
	group   int8 // of the segment file
}

// confirmer is the state of the goroutine that writes confirmations.
type confirmer struct {
	*Spool
	retry  retry
	blocks []block // being written
	failed []block // to be tried again
	buffer []byte  // the blocks of one write
	parts  [1][]byte
}

// changedLocked queues the block of confirmations of a group that has frame n for writing.
func (s *Spool) changedLocked(g *segment, n uint32, group int) {
	s.changed = append(s.changed, block{g, n / doneFrames, g.toFile[group]})
	if len(s.changed) == 1 {
		wake(s.wakeConfirmer)
	}
}

func (s *Spool) newConfirmer() *confirmer { return &confirmer{Spool: s, retry: newRetry()} }

// runConfirmer writes confirmations soon after they come, until ctx ends.
func (s *Spool) runConfirmer(ctx context.Context) {
	c := s.newConfirmer()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.writeChanged()
		timer.Reset(c.retry.pause())
		select {
		case <-ctx.Done():
			c.mu.Lock()
			c.changed = append(c.changed, c.failed...)
			c.mu.Unlock()
			return
		case <-s.wakeConfirmer:
		case <-timer.C:
		}
	}
}

// writeChanged writes the blocks that have changed, and those that are to be tried again.
func (c *confirmer) writeChanged() {
	c.mu.Lock()
	c.blocks, c.changed = c.changed, c.blocks[:0]
	c.mu.Unlock()
	if len(c.failed) > 0 && c.retry.delay() == 0 {
		c.blocks = append(c.blocks, c.failed...)
		c.failed = c.failed[:0]
	}
	var failed *segment
	for _, b := range c.blocks {
		if b.segment == failed {
			c.failed = append(c.failed, b)
			continue
		}
		if err := c.write(b); err != nil {
			c.faults.writes.Add(1)
			c.fault("confirmations", "could not write confirmations, trying again; a crash before that repeats lines",
				err, b.segment)
			c.failed = append(c.failed, b)
			failed = b.segment
		}
	}
	switch {
	case failed != nil:
		c.retry.failed()
	case len(c.failed) == 0:
		c.retry.succeeded()
	}
	clear(c.blocks)
}

// write writes one block, and those in front of it that the file does not have yet.
func (c *confirmer) write(b block) error {
	g := b.segment
	c.mu.Lock()
	if g.gone {
		c.mu.Unlock()
		return nil
	}
	k := g.index.chunks[b.chunk]
	k.dirty &^= 1 << b.group
	file := g.done
	g.pins++
	c.mu.Unlock()

	var err error
	if file == nil {
		file, err = c.openDone(g)
	}
	n := int(b.chunk)*len(g.header.groups) + int(b.group)
	from := min(n, g.doneBlocks)
	if err == nil {
		c.encode(g, from, n)
		c.parts[0] = c.buffer
		_, err = file.Writev(doneOffset(from), c.parts[:])
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	g.pins--
	if g.done == nil {
		g.done = file
	}
	switch {
	case err != nil:
		k.dirty |= 1 << b.group
	case !g.unsynced:
		g.unsynced = true
		c.doneToSync = append(c.doneToSync, g)
		if len(c.doneToSync) == 1 {
			wake(c.wakeSyncer)
		}
	}
	if err == nil {
		g.doneBlocks = max(g.doneBlocks, n+1)
	}
	if g.gone { // the keeper has not closed its files because of this write
		wake(c.wakeKeeper)
	}
	return err
}

// encode puts the blocks of a segment with the numbers from a to b into the buffer.
func (c *confirmer) encode(g *segment, a, b int) {
	c.buffer = c.buffer[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := a; n <= b; n++ {
		chunk, group := n/len(g.header.groups), n%len(g.header.groups)
		c.buffer = appendDone(c.buffer, &g.header.id, group, chunk, &g.index.chunks[chunk].done[group])
	}
}

// openDone opens the file of confirmations of a segment, and makes it if there is none that belongs
// to the segment. It sets g.doneBlocks.
func (c *confirmer) openDone(g *segment) (File, error) {
	name := c.path(doneName(g.header.number))
	f, err := c.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = c.fs.Create(name); err == nil {
			c.mu.Lock()
			c.doneMade = true
			c.mu.Unlock()
		}
	}
	if err != nil {
		return nil, err
	}
	head := make([]byte, doneBlock)
	n, err := f.ReadAt(head, 0)
	var size int64
	switch err = ignoreEOF(err); {
	case err != nil:
	case decodeDoneHeader(head[:n], &g.header.id, len(g.header.groups)):
		size, err = f.Size()
	default:
		size = doneBlock
		if err = f.Truncate(0); err == nil {
			_, err = f.Writev(0, [][]byte{encodeDoneHeader(&g.header.id, len(g.header.groups))})
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	g.doneBlocks = int(size/doneBlock) - 1
	return f, nil
}
