package linebuf

import "context"

// waiter is one waiting Get, a link of the ring in Pool.
type waiter struct {
	class      uint8
	granted    chan struct{} // closed once its memory is counted as handed out
	b          *Buffer       // the granted buffer; nil if it is counted but has yet to be made
	prev, next *waiter
}

func (p *Pool) wait(ctx context.Context, class uint8) (*Buffer, error) {
	w := &waiter{class: class, granted: make(chan struct{})}
	p.mu.Lock()
	w.prev, w.next = p.waiters.prev, &p.waiters
	w.prev.next, w.next.prev = w, w
	p.nWaiters++
	p.waiting++
	p.grantLocked() // there may be room since the caller looked
	p.mu.Unlock()

	select {
	case <-w.granted:
	case <-ctx.Done():
		if p.withdraw(w) {
			return nil, ctx.Err()
		}
	}
	return orNew(w.b, class), nil
}

// withdraw takes w off the ring. It returns false if w has been granted its buffer in the meantime.
// Waiters behind w may fit now, if w asked for more than there was.
func (p *Pool) withdraw(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted:
		return false
	default:
		p.unlinkLocked(w)
		p.grantLocked()
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

func (p *Pool) unlinkLocked(w *waiter) {
	w.prev.next, w.next.prev = w.next, w.prev
	p.nWaiters--
	p.waiting--
}
