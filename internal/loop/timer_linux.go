package loop

import "time"

// Timer calls a function once on a loop. The zero value with Do set is ready for Start. It must not
// be copied, and belongs to the goroutine of the loop that it was started on.
type Timer struct {
	Do   func() // called on the loop; may start the timer again
	when time.Duration
	at   int // index in the heap, plus one; 0 while not running
}

// Start lets t.Do be called after d, or up to a millisecond later. It restarts a timer that is
// running.
func (l *Loop) Start(t *Timer, d time.Duration) {
	l.Stop(t)
	t.when = l.now.Sub(l.group.start) + max(1, d) // not in this turn
	l.timers.push(t)
}

// Stop stops a timer. It does nothing if the timer is not running.
func (l *Loop) Stop(t *Timer) {
	if t.at > 0 {
		l.timers.remove(t.at - 1)
	}
}

// Running reports whether the timer is running.
func (t *Timer) Running() bool { return t.at > 0 }

// callTimers calls all timers that are due. Those that their functions start are for later turns.
func (l *Loop) callTimers() {
	now := l.now.Sub(l.group.start)
	for len(l.timers) > 0 && l.timers[0].when <= now {
		t := l.timers[0]
		l.timers.remove(0)
		t.Do()
	}
}

// timers is a heap: the timer at i is due no later than those at 2i+1 and 2i+2.
type timers []*Timer

// left returns the time until the first timer is due, or forever. start is the group's start.
func (h timers) left(start time.Time) time.Duration {
	if len(h) == 0 {
		return forever
	}
	return max(0, h[0].when-time.Since(start))
}

func (h *timers) push(t *Timer) {
	*h = append(*h, t)
	h.up(len(*h) - 1)
}

func (h *timers) remove(i int) {
	old := *h
	last := len(old) - 1
	old[i].at = 0
	t := old[last]
	old[last] = nil
	*h = old[:last]
	if i < last {
		old[i] = t
		t.at = i + 1
		h.down(i)
		h.up(i)
	}
}

// up moves the timer at i towards the root until its parent is due no later.
func (h timers) up(i int) {
	t := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].when <= t.when {
			break
		}
		h.set(i, h[parent])
		i = parent
	}
	h.set(i, t)
}

// down moves the timer at i away from the root until its children are due no earlier.
func (h timers) down(i int) {
	t := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].when < h[child].when {
			child++
		}
		if t.when <= h[child].when {
			break
		}
		h.set(i, h[child])
		i = child
	}
	h.set(i, t)
}

func (h timers) set(i int, t *Timer) {
	h[i] = t
	t.at = i + 1
}
