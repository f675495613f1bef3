package splitter

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/intake"
	"linesplit/internal/loop"
	"linesplit/linebuf"
)

// looped is a connection that an event loop reads, without a goroutine of its own: a plain one over
// TCP or a Unix socket. Its rules are those of conn: step does what conn.run does in a goroutine.
//
// Where conn has to wait, for the gate, for memory or for the channel, a goroutine does that errand
// while the loop leaves the connection alone. So conn has one owner at a time.
//
// looped is also the net.Conn of its conn. Calls of its methods by other goroutines are posted to
// the loop.
type looped struct {
	c    *conn
	peer net.Addr
	on   *loop.Loop

	// The loop's goroutine owns the fields below.
	fd       loop.FD
	unix     bool
	unsure   bool            // a short read may leave something in the socket: after a FIN or urgent data
	readable bool            // a read may return something
	away     bool            // a goroutine is on an errand
	over     bool            // the connection has ended
	unsent   *linebuf.Buffer // waits for the channel; nil if there is none
	why      error           // to end the connection once unsent has been sent; nil: it goes on
	timer    loop.Timer

	wake    loop.Task   // makes the loop look at requests
	posted  atomic.Bool // wake is on its way to the loop
	closing atomic.Bool // Close was called
}

// startOnLoop serves nc on a loop. It returns false, and nc is unchanged, if a goroutine has to.
func (v *serving) startOnLoop(nc net.Conn) bool {
	if v.loops == nil {
		return false
	}
	var fd int
	var err error
	k := &looped{peer: nc.RemoteAddr()}
	switch socket := nc.(type) {
	case *net.TCPConn:
		fd, err = loop.Detach(socket)
	case *net.UnixConn:
		k.unix = true
		fd, err = loop.Detach(socket)
	default:
		return false
	}
	if err != nil {
		return false // no descriptor is left to detach it; a goroutine needs none
	}
	k.wake.Do, k.timer.Do = k.woken, k.lapse
	k.on = v.loops.Least(nil)
	k.on.Expect(1)
	v.conns.Add(1)
	k.c = newConn(v, k)
	v.begin(k.c)
	k.on.Post(func() { k.adopt(fd) })
	return true
}

// adopt begins to read, on the loop.
func (k *looped) adopt(fd int) {
	k.on.Expect(-1)
	if k.over {
		loop.Close(fd)
		return
	}
	if err := k.on.Adopt(&k.fd, fd, k); err != nil {
		loop.Reset(fd) // the sender must not take the end for an orderly one
		k.c.v.failed(err)
		k.retire(err)
	}
}

// Ready notes the events and goes on. The loop calls it.
func (k *looped) Ready(_ *loop.Loop, ev loop.Events) {
	k.readable = k.readable || ev&loop.Readable != 0
	k.unsure = k.unsure || ev&(loop.PeerEnded|loop.Urgent) != 0
	k.step()
}

// step handles requests and reads once, unless a goroutine has the connection.
func (k *looped) step() {
	c := k.c
	switch {
	case k.away || k.over:
		return
	case k.closing.Load():
		k.end(net.ErrClosed)
		return
	case c.lapsed || c.requested.Load():
		if err := c.handleRequests(); err != nil {
			k.end(err)
			return
		}
	}
	switch {
	case k.unsent != nil: // left by completes
		k.leaveTo(k.sendUnsent)
	case k.why != nil:
		k.end(k.why)
	case !k.readable:
	default:
		switch c.in.Prepare() {
		case intake.AtGate:
			k.leaveTo(c.waitAtGate)
		case intake.Starved:
			k.leaveTo(c.makeRoomInGate)
		case intake.Ready:
			k.read()
		}
	}
}

// read reads once, and lets the loop come back if there may be more.
func (k *looped) read() {
	c := k.c
	room := c.in.Room()
	n, err := k.fd.Read(room)
	if err == unix.EAGAIN {
		k.rest()
		return
	}
	if n > 0 {
		k.why = c.take(n)
	}
	switch {
	case k.unsent != nil:
		k.leaveTo(k.sendUnsent)
	case err == io.EOF:
		k.end(err)
	case err != nil:
		k.end(os.NewSyscallError("read", err))
	case k.why != nil:
		k.end(k.why)
	case n < len(room) && !k.unix && !k.unsure: // the socket is empty
		k.rest()
	default:
		c.LeaveGate()
		k.fd.Again()
	}
}

// completes reads once more behind an unfinished line that is about to be dropped, and reports
// whether that has completed the line. The line's rest may have arrived long ago: a loop with many
// connections comes late to each. For a connection that is not on a loop, k is nil, and nothing is
// read.
func (k *looped) completes(c *conn) bool {
	if k == nil || k.over || k.unsent != nil {
		return false
	}
	room := c.in.RestRoom()
	if room == nil {
		return false
	}
	n, _ := loop.Read(k.fd.Int(), room)
	if n <= 0 { // the next read finds out why
		return false
	}
	before := c.received.Load().Lines
	k.why = c.take(n)
	c.flush()
	return c.received.Load().Lines > before
}

// rest waits for the next event.
func (k *looped) rest() {
	k.readable = false
	k.c.flush()
	k.c.in.Quiet()
}

// sendUnsent waits until the channel takes the buffer that conn.send has kept.
func (k *looped) sendUnsent() error {
	b := k.unsent
	k.unsent = nil
	if err := k.c.sendWaiting(b); err != nil {
		return err
	}
	k.c.LeaveGate()
	return k.why
}

// leaveTo leaves the connection to a goroutine that runs errand. Afterwards the loop goes on, or
// ends the connection if errand has failed.
func (k *looped) leaveTo(errand func() error) {
	k.away = true
	k.c.flush()
	go func() {
		err := errand()
		k.on.Post(func() {
			k.away = false
			if err != nil {
				k.end(err)
				return
			}
			k.step()
		})
	}()
}

// end ends the connection, on the loop.
func (k *looped) end(err error) {
	k.c.noteEnd(err)
	k.retire(err)
}

// retire finishes the connection, on the loop. A last line may have to wait for the channel.
func (k *looped) retire(err error) {
	k.over = true
	k.on.Stop(&k.timer)
	if k.c.in.Carried() == 0 {
		k.finish(err)
		return
	}
	go func() {
		k.c.finish(err)
		k.on.Post(k.closed)
	}()
}

func (k *looped) finish(err error) {
	k.c.finish(err)
	k.closed()
}

// closed closes the descriptor, after conn.finish.
func (k *looped) closed() {
	k.fd.Close()
	k.c.v.conns.Done()
}

// woken handles what other goroutines have asked for.
func (k *looped) woken() {
	k.posted.Store(false)
	k.step()
}

// lapse handles the end of the deadline.
func (k *looped) lapse() {
	k.c.lapsed = true
	k.step()
}

func (k *looped) post() {
	if !k.posted.Swap(true) {
		k.on.PostTask(&k.wake)
	}
}

// SetReadDeadline makes the connection handle requests at t. The owner sets a time in the future or
// none. Other goroutines set past, which interrupts the connection.
func (k *looped) SetReadDeadline(t time.Time) error {
	switch {
	case t.Equal(past):
		k.post()
	case t.IsZero():
		k.on.Stop(&k.timer)
	default:
		k.on.Start(&k.timer, time.Until(t))
	}
	return nil
}

// Close ends the connection as a failed read would.
func (k *looped) Close() error {
	k.closing.Store(true)
	k.post()
	return nil
}

// CloseWrite sends a FIN.
func (k *looped) CloseWrite() error {
	k.on.Post(func() {
		if k.fd.IsOpen() {
			k.fd.CloseWrite()
		}
	})
	return nil
}

// RemoteAddr returns the sender's address.
func (k *looped) RemoteAddr() net.Addr { return k.peer }

// LocalAddr returns the listener's address.
func (k *looped) LocalAddr() net.Addr { return k.c.v.ln.Addr() }

// Read fails: the loop reads.
func (k *looped) Read([]byte) (int, error) { return 0, os.ErrInvalid }

// Write fails: nothing is written to senders.
func (k *looped) Write([]byte) (int, error) { return 0, os.ErrInvalid }

// SetDeadline is SetReadDeadline, since nothing is written.
func (k *looped) SetDeadline(t time.Time) error { return k.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (k *looped) SetWriteDeadline(time.Time) error { return nil }

// onLoop returns nc if it is on a loop, otherwise nil.
func onLoop(nc net.Conn) *looped {
	k, _ := nc.(*looped)
	return k
}
