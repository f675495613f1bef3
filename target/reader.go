package target

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// discardSize is the read buffer of an outbound connection, in bytes. Targets say little or
// nothing.
const discardSize = 512

// read is the goroutine of a connection that reads: through TLS while that lasts, so that alerts,
// tickets and key updates are handled, then from the socket, and after the peer's FIN it waits
// for what may still follow.
func (c *Conn) read() {
	if c.secure != nil {
		c.discard(c.secure)
		c.sawGoodbye()
	}
	c.sawEnd(c.discard(c.raw))
	if c.failed() == nil && countsKept {
		c.watch()
	}
}

func (c *Conn) discard(r io.Reader) error {
	var buf [discardSize]byte
	for {
		if _, err := r.Read(buf[:]); err != nil {
			return err
		}
	}
}

// sawGoodbye notes that TLS has ended: close_notify, or an error of TLS itself, after which
// nothing can be sent to any use.
func (c *Conn) sawGoodbye() {
	c.mu.Lock()
	c.end.goodbye = true
	c.mu.Unlock()
	c.notify()
}

// sawEnd notes what the socket said instead of data: io.EOF is the peer's FIN, all else a failure.
func (c *Conn) sawEnd(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, net.ErrClosed) || c.end.fin || c.end.err != nil {
		return
	}
	if errors.Is(err, io.EOF) {
		c.countFINLocked()
	} else {
		c.failLocked(err)
	}
	c.notify()
}

// countFINLocked notes the peer's FIN. A socket that is closed although we have not half-closed
// it was reset, and a write has taken the error from under this read.
func (c *Conn) countFINLocked() {
	c.countLocked(time.Now())
	if !c.unix && c.counts.closed && !c.halfClosed {
		c.failLocked(syscall.ECONNRESET)
		return
	}
	c.end.fin, c.end.afterOurs = true, c.halfClosed || c.saying
}

func (c *Conn) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end.err
}

// watch waits, after the peer's FIN, for a RST or for the end of the connection. Read would go on
// returning EOF; the poller wakes on both.
func (c *Conn) watch() {
	c.sys.Read(func(fd uintptr) bool {
		return c.sawClosed(int(fd))
	})
	c.notify()
}

// sawClosed notes that the socket has reached the state CLOSE, with or without an error.
func (c *Conn) sawClosed(fd int) bool {
	if c.unix {
		return c.sawUnixClosed(fd)
	}
	counts, err := countTCP(fd)
	if err != nil || !counts.closed {
		return err != nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := socketError(fd); err != nil {
		c.failLocked(err)
	}
	c.countLocked(time.Now())
	c.end.closed = true
	return true
}

// sawUnixClosed is sawClosed for a Unix socket. A hang-up with data still held unread means that
// both sides have half-closed and the peer lives. The error of a peer that closed with data
// unread stays on the socket, for judgeUnixLocked.
func (c *Conn) sawUnixClosed(fd int) bool {
	counts, err := countUnix(fd)
	if err != nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case counts.reset:
		c.failLocked(syscall.ECONNRESET)
	case !counts.closed || counts.unacked > 0:
		return false
	}
	c.end.closed = true
	return true
}
