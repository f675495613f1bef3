package linebuf

import "context"

// waiter is one Get that waits, a link of the ring in Pool.
type waiter struct {
	class      uint8
	granted    chan struct{} // closed once its memory is counted as handed out
	b          *Buffer       // what was granted; nil: counted, but yet to be made
	prev, next *waiter
}

func (p *Pool) wait(ctx context.Context, class uint8) (*Buffer, error) {
	w := &waiter{class: class, granted: make(chan struct{})}
	p.mu.Lock()
	w.prev, w.next = p.waiters.prev, &p.waiters
	w.prev.next, w.next.prev = w, w
	p.nWaiters++
	p.grantLocked() // room may have come since the caller looked
	p.mu.Unlock()

	select {
	case <-w.granted:
	case <-ctx.Done():
		if !p.granted(w) {
			return nil, ctx.Err()
		}
	}
	return orNew(w.b, class), nil
}

// granted takes w off the ring, unless its turn has come meanwhile. Leaving may let those behind it pass, where it
// asked for more than there was.
func (p *Pool) granted(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted:
		return true
	default:
		p.unlinkLocked(w)
		p.grantLocked()
		return false
	}
}

// grantLocked serves those who wait, in order, as long as the next one fits.
func (p *Pool) grantLocked() {
	for w := p.waiters.next; w != &p.waiters && p.fitsLocked(w.class); w = p.waiters.next {
		p.unlinkLocked(w)
		w.b = p.takeLocked(w.class)
		close(w.granted)
	}
}

func (p *Pool) unlinkLocked(w *waiter) {
	w.prev.next, w.next.prev = w.next, w.prev
	p.nWaiters--
}
