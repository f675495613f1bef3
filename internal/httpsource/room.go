package httpsource

import (
	"context"
	"sync"
)

// room limits the memory of all bodies, in bytes. Callers wait first in, first out.
type room struct {
	limit int64

	mu      sync.Mutex // guards the fields below
	used    int64
	waiting []*claim
}

// claim is a caller that waits.
type claim struct {
	n       int64
	granted chan struct{}
}

func newRoom(limit int64) *room { return &room{limit: limit} }

// take waits for n bytes. The error is that of ctx. What is larger than the limit is granted when
// nothing else is.
func (r *room) take(ctx context.Context, n int64) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && r.fitsLocked(n) {
		r.used += n
		r.mu.Unlock()
		return nil
	}
	c := &claim{n, make(chan struct{})}
	r.waiting = append(r.waiting, c)
	r.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.waiting {
		if w == c {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			r.grantLocked()
			return ctx.Err()
		}
	}
	return nil // it was granted just now
}

// give gives n bytes back.
func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	r.grantLocked()
}

func (r *room) grantLocked() {
	for len(r.waiting) > 0 && r.fitsLocked(r.waiting[0].n) {
		c := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.used += c.n
		close(c.granted)
	}
}

func (r *room) fitsLocked(n int64) bool { return r.used == 0 || r.used+n <= r.limit }

func (r *room) taken() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}
