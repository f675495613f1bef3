package splitter

import (
	"net"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// KeyedOutlet is an Outlet that takes the place of the channel, since lines with the same key must
// not overtake each other.
type KeyedOutlet interface {
	// Offer may take some lines of b only. It returns false then, and leaves the others in b, in
	// order: they are to be offered again before any later lines.
	Outlet
	// Flush tells the workers of lines that Offer has not told them of, since more may come soon. A
	// caller that has called Offer calls it before it waits for anything.
	Flush()
	// Room returns a channel that is closed when it is worth while to offer lines again that an
	// Offer after this call has left.
	Room() <-chan struct{}
	// TakeDropped returns the number of lines that Offer has dropped for lack of a key since the
	// last call.
	TakeDropped() linebuf.Count
}

// flush lets workers know of all lines that they have been given. A loop calls it before it leaves
// the connection alone: while there is more to read, workers write more at a time.
func (c *conn) flush() {
	if o, ok := c.outlet.(KeyedOutlet); ok {
		o.Flush()
	}
}

// offerKeyed is trySend to a keyed outlet. It counts those lines that have left b.
func (c *conn) offerKeyed(o KeyedOutlet, b *linebuf.Buffer) bool {
	n := b.Count()
	done := o.Offer(b)
	if !done {
		n.Sub(b.Count())
	}
	if dropped := o.TakeDropped(); dropped.Lines > 0 {
		n.Sub(dropped)
		c.countDrop(intake.ReasonKeyless, dropped, nil)
	}
	c.v.counters.queue(n)
	if c.loop == nil {
		o.Flush()
	}
	return done
}

// fit returns b, or its lines in a buffer of their size if b is far larger and there is memory.
func (c *conn) fit(b *linebuf.Buffer) *linebuf.Buffer {
	if 4*linebuf.ClassSize(len(b.B)) > cap(b.B) {
		return b
	}
	small := c.v.pool.TryGetLike(b, len(b.B))
	if small == nil {
		return b
	}
	small.B = append(small.B, b.B...)
	small.Lines, small.Read, small.Framing = b.Lines, b.Read, b.Framing
	c.v.pool.Put(b)
	return small
}

// sendKeyed waits until the outlet has taken b. If hard ends first, what is left of b is dropped.
//
// It leaves the gate: that one sender has to wait says nothing about others, whose lines have other
// keys. Since there may be many that wait, they hold neither a read buffer nor a large buffer for
// few lines.
func (c *conn) sendKeyed(o KeyedOutlet, b *linebuf.Buffer) error {
	defer c.resume(c.holdUp())
	if c.small == nil {
		c.in.Quiet()
	} else {
		c.in.GoQuiet()
	}
	b = c.fit(b)
	for {
		room := o.Room()
		if c.offerKeyed(o, b) {
			return nil
		}
		select {
		case <-room:
		case <-c.v.hard.Done():
			c.dropAtShutdown(b)
			return net.ErrClosed
		}
	}
}
