package accept

import (
	"sync"
	"time"
)

// Finisher ends what calls of Serve have left behind: connections whose clients still wait for
// answers. The zero value is ready to use. It is safe for concurrent use.
type Finisher struct {
	mu    sync.Mutex // guards the field below
	calls []unfinished
}

// unfinished is what one call of Serve may leave behind.
type unfinished struct {
	over   func()
	finish func(deadline time.Time)
}

// Add notes a call of Serve. Over tells its connections that nothing more will be confirmed, and
// finish waits until they have sent those that there are, or the deadline has passed.
func (f *Finisher) Add(over func(), finish func(deadline time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, unfinished{over, finish})
}

// Finish ends all calls that were added. They share the time limit.
func (f *Finisher) Finish(within time.Duration) {
	f.mu.Lock()
	calls := f.calls
	f.calls = nil
	f.mu.Unlock()
	for _, c := range calls {
		c.over()
	}
	deadline := time.Now().Add(within)
	for _, c := range calls {
		c.finish(deadline)
	}
}
