package splice

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is the requested size. With a quarter of it, a gigabyte took 50 % more CPU time.
	pipeSize = 1 << 20
	// minPipe is the smallest useful size. Smaller pipes are no better than a buffer. The system
	// grants less than requested once a user has many pipes.
	minPipe = 64 << 10
	// maxPipes limits the kernel memory in pipes, which bytes take up until the receiver reads.
	maxPipes = 256
)

// pipe carries bytes from one socket to another. It is empty while no flow holds it.
type pipe struct{ r, w int }

// pipes keeps pipes for flows that need one for a short time. There are never more than maxPipes,
// and their descriptors are never more than a sixteenth of the process's limit.
type pipes struct {
	mu      sync.Mutex
	limit   int     // maximum of all
	all     int     // number of pipes in use and free
	free    []*pipe // the most recently used last
	minFree int     // lowest number of free pipes since the last trim
}

func (p *pipes) init() {
	p.limit = maxPipes
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.limit = int(min(maxPipes, limit.Cur/32))
	}
}

// get returns a pipe, or nil if there are too many.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free) - 1; n >= 0 {
		q := p.free[n]
		p.free = p.free[:n]
		p.minFree = min(p.minFree, n)
		return q
	}
	if p.all >= p.limit {
		return nil
	}
	q := newPipe()
	if q != nil {
		p.all++
	}
	return q
}

// put takes a pipe back. A dirty one may hold bytes and is closed.
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

// trim closes the free pipes that were not needed since the last call, or all free pipes.
func (p *pipes) trim(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.minFree
	if all {
		n = len(p.free)
	}
	for _, q := range p.free[:n] { // the first ones have been unused longest
		q.close()
	}
	p.all -= n
	p.free = append(p.free[:0], p.free[n:]...)
	p.minFree = len(p.free)
}

// newPipe returns nil if the system grants no pipe of a useful size.
func newPipe() *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	q := &pipe{r: fds[0], w: fds[1]}
	unix.FcntlInt(uintptr(q.w), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(q.w), unix.F_GETPIPE_SZ, 0); err != nil || size < minPipe {
		q.close()
		return nil
	}
	return q
}

func (q *pipe) close() {
	unix.Close(q.r)
	unix.Close(q.w)
}
