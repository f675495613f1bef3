package listen

import (
	"sync"
	"time"
)

// past is a deadline that has passed: it ends a waiting Read.
var past = time.Unix(1, 0)

// deadline is a channel that is closed when a time has come, and another one when the time is put off. Safe for
// concurrent use.
type deadline struct {
	mu    sync.Mutex // protects the fields below
	timer *time.Timer
	done  chan struct{}
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

// passed returns the channel that is closed once the deadline that is set now has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// set puts the deadline to t; the zero time is none. Whoever waits on the channel already waits for the new time.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.done // it has run, or is about to
	}
	d.timer = nil
	if isClosed(d.done) {
		d.done = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	done := d.done
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(done) })
	} else {
		close(done)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
