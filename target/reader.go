package target

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"linesplit/internal/stranger"
)

// maxSaid is how much of the first thing that a target says is kept, in bytes, to say in an error
// what it speaks.
const maxSaid = 128

// An outbound connection reads into discardSize bytes, since targets send little or nothing. While
// a target sends more, it borrows a buffer of busyDiscardSize bytes.
const (
	discardSize     = 512
	busyDiscardSize = 64 << 10
)

var busyDiscard = sync.Pool{New: func() any { return new([busyDiscardSize]byte) }}

// read is the connection's reading goroutine. It reads through TLS as long as TLS lasts, so that
// alerts, tickets and key updates are handled, then from the socket. After the peer's FIN it waits
// for a RST or the end of the connection.
func (c *Conn) read() {
	if c.secure != nil {
		c.discard(c.secure)
		c.sawCloseNotify()
	}
	c.sawEnd(c.discard(c.raw))
	if c.failed() == nil && countsKept {
		c.watch()
	}
}

// discard reads to the end of r and returns its error.
func (c *Conn) discard(r io.Reader) error {
	var buf [discardSize]byte
	said := false
	for {
		n, err := r.Read(buf[:])
		if n > 0 && !said {
			said = true
			c.hear(buf[:n])
		}
		if err == nil && n == len(buf) {
			err = discardBusily(r)
		}
		if err != nil {
			return err
		}
	}
}

// discardBusily reads from r until a read brings little, or fails.
func discardBusily(r io.Reader) error {
	buf := busyDiscard.Get().(*[busyDiscardSize]byte)
	defer busyDiscard.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if err != nil || n <= discardSize {
			return err
		}
	}
}

// hear keeps the beginning of the first thing that the peer says.
func (c *Conn) hear(said []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.said == nil {
		c.end.said = slices.Clone(said[:min(len(said), maxSaid)])
	}
}

// sawCloseNotify records that TLS has ended, by close_notify or an error of TLS itself, after which
// the peer can use nothing more.
func (c *Conn) sawCloseNotify() {
	c.mu.Lock()
	c.end.closeNotify = true
	c.mu.Unlock()
	c.notify()
}

var errEnded = errors.New("the peer has ended the connection")

// sawEnd records the error that a read of the socket returned: io.EOF is the peer's FIN, all others
// are failures. The FIN of a peer that speaks another protocol is one, too.
func (c *Conn) sawEnd(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, net.ErrClosed) || c.end.fin || c.end.err != nil {
		return
	}
	switch strange := stranger.Hint(c.end.said) != ""; {
	case strange && errors.Is(err, io.EOF): // such a peer has not taken our lines for lines
		c.failLocked(errEnded)
	case errors.Is(err, io.EOF):
		c.countFINLocked()
	default:
		c.failLocked(err)
	}
	c.notify()
}

// countFINLocked records the peer's FIN. A socket that is closed although we have not half-closed
// it was reset, and a write has taken the error before this read could return it.
func (c *Conn) countFINLocked() {
	c.countLocked(time.Now())
	if !c.unix && c.counts.closed && !c.halfClosed {
		c.failLocked(syscall.ECONNRESET)
		return
	}
	c.end.fin, c.end.afterOurs = true, !c.end.finFirst && (c.halfClosed || c.sendingCloseNotify)
}

func (c *Conn) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end.err
}

// watch waits after the peer's FIN for a RST or the end of the connection. A Read would return EOF
// again and again; the poller wakes on both events.
func (c *Conn) watch() {
	c.sys.Read(func(fd uintptr) bool {
		return c.sawClosed(int(fd))
	})
	c.notify()
}

// sawClosed records that the socket has reached state CLOSE, with or without an error, and reports
// whether to stop waiting.
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

// sawUnixClosed is sawClosed for a Unix socket. A hang-up while the peer still holds unread data
// means that both sides have half-closed and the peer lives. The error of a peer that closed with
// data unread stays on the socket, for judgeUnixLocked.
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
