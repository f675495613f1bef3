//go:build unix

package target

import (
	"os"
	"syscall"
)

// direct is a write(2) that does not wait. It is kept in the Conn so that it allocates nothing.
type direct struct {
	attempt func(fd uintptr) // (*direct).write, bound once
	p       []byte
	n       int
	err     error
}

func (d *direct) init() { d.attempt = d.write }

func (d *direct) write(fd uintptr) {
	for {
		d.n, d.err = writeNow(int(fd), d.p)
		if d.err != syscall.EINTR {
			return
		}
	}
}

// TryWrite is Write without waiting: it returns how many bytes of p the connection has taken, with
// or without an error. With TLS it takes nothing. It may be called from any goroutine, but not
// beside another call of Write or TryWrite.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.secure != nil {
		return 0, nil
	}
	d := &c.direct
	d.p = p
	if err := c.sys.Control(d.attempt); err != nil {
		d.err = err
	}
	n, err := max(0, d.n), d.err
	d.p, d.n, d.err = nil, 0, nil
	c.sent.Add(uint64(n))
	c.plain += uint64(n)
	c.setWritten(c.plain)
	if err == nil || err == syscall.EAGAIN {
		return n, nil
	}
	return n, c.fail(os.NewSyscallError("write", err))
}
