package splice

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	pipeSize  = 1 << 20  // what is asked for: with a quarter of it a gigabyte took half as much CPU time again
	leastPipe = 64 << 10 // less is no better than a buffer; the system gives less once a user has many
	mostPipes = 256      // what is in them is the kernel's memory, and a receiver that does not read leaves it there
)

// pipe is what bytes go through from one socket to another. It is empty while nobody holds it.
type pipe struct{ r, w int }

// pipes keeps pipes for those who need one for a moment. There are never more than a sixteenth of the descriptors that the process may
// have, and never more than mostPipes.
type pipes struct {
	mu    sync.Mutex
	most  int
	all   int     // those in use and the free ones
	free  []*pipe // the last one was used last
	least int     // the fewest that were free since the last trim
}

func (p *pipes) init() {
	p.most = mostPipes
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.most = int(min(mostPipes, limit.Cur/32))
	}
}

// get returns nil if there are too many.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free) - 1; n >= 0 {
		q := p.free[n]
		p.free = p.free[:n]
		p.least = min(p.least, n)
		return q
	}
	if p.all >= p.most {
		return nil
	}
	q := newPipe()
	if q != nil {
		p.all++
	}
	return q
}

// put takes a pipe back, to close it if there may be something in it.
func (p *pipes) put(q *pipe, dirty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dirty {
		p.all--
		q.close()
		return
	}
	p.free = append(p.free, q)
}

// trim closes the pipes that nobody has needed since the last call, or all that are free.
func (p *pipes) trim(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.least
	if all {
		n = len(p.free)
	}
	for _, q := range p.free[:n] { // the ones in front were not used for the longest time
		q.close()
	}
	p.all -= n
	p.free = append(p.free[:0], p.free[n:]...)
	p.least = len(p.free)
}

// newPipe returns nil if there is none to be had.
func newPipe() *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	q := &pipe{r: fds[0], w: fds[1]}
	unix.FcntlInt(uintptr(q.w), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(q.w), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
		q.close()
		return nil
	}
	return q
}

func (q *pipe) close() {
	unix.Close(q.r)
	unix.Close(q.w)
}
