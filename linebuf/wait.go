package linebuf

import "context"

// waiter is a waiting Get, a link of the ring Pool.waiters.
type waiter struct {
	class      uint8
	granted    chan struct{} // closed once the memory is counted as handed out
	b          *Buffer       // valid after granted: the buffer, or nil if the waiter is to make it
	prev, next *waiter
}

// wait waits in the ring for a buffer of a size class.
func (p *Pool) wait(ctx context.Context, class uint8) (*Buffer, error) {
	w := &waiter{class: class, granted: make(chan struct{})}
	p.memory.mu.Lock()
	w.prev, w.next = p.waiters.prev, &p.waiters
	w.prev.next, w.next.prev = w, w
	p.nWaiters++
	p.memory.waiting++
	p.memory.grantLocked() // there may be room since the caller looked
	p.memory.mu.Unlock()

	select {
	case <-w.granted:
	case <-ctx.Done():
		if p.withdraw(w) {
			return nil, ctx.Err()
		}
	}
	return orNew(w.b, class), nil
}

// withdraw takes w out of the ring. It returns false if w has been granted its buffer in the
// meantime. Waiters behind w are served if they fit now.
func (p *Pool) withdraw(w *waiter) bool {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	select {
	case <-w.granted:
		return false
	default:
		p.unlinkLocked(w)
		p.memory.grantLocked()
		return true
	}
}

// serveLocked serves the waiters in order, as long as the next one fits.
func (p *Pool) serveLocked() {
	for w := p.waiters.next; w != &p.waiters && p.fitsLocked(w.class); w = p.waiters.next {
		p.unlinkLocked(w)
		w.b = p.takeLocked(w.class)
		close(w.granted)
	}
}

// unlinkLocked takes w out of the ring.
func (p *Pool) unlinkLocked(w *waiter) {
	w.prev.next, w.next.prev = w.next, w.prev
	p.nWaiters--
	p.memory.waiting--
}
