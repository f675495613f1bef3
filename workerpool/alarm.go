package workerpool

import "time"

// fineWithin is the time within which an alarm must be due to use the kernel's timer.
const fineWithin = 2 * time.Millisecond

// alarm wakes a worker at the time that its machine has named. One goroutine at a time uses it.
//
// While a process has nothing else to do, the runtime's timers come in steps of a millisecond, the
// unit of epoll_wait(2). A receiver on the same host has read a small window after a tenth of that,
// so an alarm that is due soon uses a timer of the kernel's.
type alarm struct {
	at     time.Time // what it is set to; zero: not set
	rings  <-chan time.Time
	coarse *time.Timer
	fine   *fineTimer // nil: not needed so far, or there is none
	noFine bool
}

// newAlarm returns an alarm that the caller stops. Only timers of the runtime work in the bubbles of
// package synctest.
func newAlarm(fine bool) *alarm { return &alarm{coarse: time.NewTimer(0), noFine: !fine} }

func (a *alarm) stop() {
	a.coarse.Stop()
	if a.fine != nil {
		a.fine.close()
	}
}

// set returns a channel that receives a value at the time given, or a little later, and perhaps one
// too many. The zero time never comes.
func (a *alarm) set(at time.Time) <-chan time.Time {
	switch {
	case at.IsZero():
		return nil
	case at.Equal(a.at):
		return a.rings
	}
	a.at = at
	if d := time.Until(at); d < fineWithin && a.hasFine() {
		a.fine.set(d)
		a.rings = a.fine.rings
	} else {
		a.coarse.Reset(d)
		a.rings = a.coarse.C
	}
	return a.rings
}

// rang notes that the channel has delivered a value.
func (a *alarm) rang() { a.at = time.Time{} }

func (a *alarm) hasFine() bool {
	if a.fine == nil && !a.noFine {
		fine, err := newFineTimer()
		a.fine, a.noFine = fine, err != nil
	}
	return !a.noFine
}
