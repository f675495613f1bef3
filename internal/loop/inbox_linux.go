package loop

import (
	"runtime"
	"sync/atomic"
)

// Task is work for a loop. Its owner may keep it and post it again without an allocation, but only
// once it has begun to run.
type Task struct {
	Do   func() // called on the loop
	next *Task
}

// Post lets f be called on the loop, soon and in order with what this goroutine has posted before.
// It returns false if the loop has ended. Any goroutine may call it, also the loop's own.
func (l *Loop) Post(f func()) bool { return l.PostTask(&Task{Do: f}) }

// PostTask is Post for a Task.
func (l *Loop) PostTask(t *Task) bool {
	if !l.inbox.put(t) {
		return false
	}
	l.inbox.rouse(&l.poller)
	return true
}

// runPosted runs the tasks of a list, the oldest first.
func (l *Loop) runPosted(newest *Task) {
	var oldest *Task
	for t := newest; t != nil; {
		next := t.next
		t.next, oldest, t = oldest, t, next
	}
	for t := oldest; t != nil; {
		next := t.next
		t.next = nil
		t.Do()
		t = next
	}
}

// inbox is a list of tasks that any goroutine adds to and the loop takes as a whole. It has no
// lock: a loop that had to wait for one would lose its processor and its thread for a while.
type inbox struct {
	newest  atomic.Pointer[Task] // &closed after the end
	asleep  atomic.Bool          // the loop waits, or is about to, and nothing has woken it
	rousing atomic.Int32         // goroutines in rouse that may write to the poller
}

// closed marks the inbox of a loop that has ended.
var closed Task

// put adds a task. It returns false after close.
func (b *inbox) put(t *Task) bool {
	for {
		newest := b.newest.Load()
		if newest == &closed {
			return false
		}
		t.next = newest
		if b.newest.CompareAndSwap(newest, t) {
			return true
		}
	}
}

// rouse ends the loop's wait, if it waits and no other goroutine has done so.
func (b *inbox) rouse(p *poller) {
	if !b.asleep.Load() {
		return
	}
	b.rousing.Add(1)
	if b.asleep.CompareAndSwap(true, false) {
		p.interrupt()
	}
	b.rousing.Add(-1)
}

// take removes and returns all tasks, the newest first.
func (b *inbox) take() *Task {
	if b.newest.Load() == nil {
		return nil
	}
	return b.newest.Swap(nil)
}

// sleep announces a wait. It returns false if there are tasks, and the loop must not wait.
func (b *inbox) sleep() bool {
	b.asleep.Store(true)
	if b.newest.Load() == nil {
		return true
	}
	b.asleep.Store(false)
	return false
}

// wake ends what sleep has announced.
func (b *inbox) wake() { b.asleep.Store(false) }

// close refuses further tasks and returns those that are left. After it, no goroutine writes to the
// poller any more.
func (b *inbox) close() *Task {
	b.asleep.Store(false)
	left := b.newest.Swap(&closed)
	for b.rousing.Load() > 0 {
		runtime.Gosched()
	}
	return left
}
