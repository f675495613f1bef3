package loop

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Events tells what has become possible with a descriptor.
type Events uint8

const (
	// Readable: a read will return data, the end or an error.
	Readable Events = 1 << iota
	// Writable: a write will take bytes or return an error. It is also the first event of a
	// connect that has succeeded or failed; see FD.ConnectError.
	Writable
	// PeerEnded: the peer has sent its FIN, or the connection is broken. Data may be left to read.
	PeerEnded
	// Failed: the connection is broken. Reads return the rest of the data and then the error.
	Failed
	// Urgent: a TCP peer has sent urgent data. A read stops short of it although there is more, and
	// a splice takes it for the end of what there is.
	Urgent
)

// eventsOf translates the events of epoll.
func eventsOf(e uint32) (ev Events) {
	if e&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ev |= Readable
	}
	if e&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ev |= Writable
	}
	if e&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		ev |= PeerEnded
	}
	if e&unix.EPOLLERR != 0 {
		ev |= Failed
	}
	if e&unix.EPOLLPRI != 0 {
		ev |= Urgent
	}
	return ev
}

// Handler serves a descriptor.
type Handler interface {
	// Ready is called on the descriptor's loop with the events since the last call. They are 0 if
	// FD.Again alone has caused the call.
	Ready(l *Loop, ev Events)
}

// ScratchSize is the size of a loop's read buffer.
const ScratchSize = 128 << 10

// Loop is one event loop. Its methods may be called only on its own goroutine, except where they
// say otherwise.
type Loop struct {
	group   *Group
	index   int
	poller  poller
	inbox   inbox
	count   atomic.Int64 // descriptors, those announced by Expect included
	queue   []ref        // handlers to call in the next turn, first in, first out
	spare   []ref        // the other queue: the two take turns
	timers  timers
	now     time.Time
	yielded time.Time // when it last called the scheduler
	scratch []byte

	stopping bool
}

// ref names a registration.
type ref struct {
	fd  int32
	gen uint32
}

func newLoop(g *Group, index int) (*Loop, error) {
	l := &Loop{group: g, index: index, scratch: make([]byte, ScratchSize), now: g.start}
	if err := l.poller.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// Group returns the group that the loop belongs to. It may be called on any goroutine.
func (l *Loop) Group() *Group { return l.group }

// Index returns the number of the loop in its group, from 0. It may be called on any goroutine.
func (l *Loop) Index() int { return l.index }

// Descriptors returns the number of descriptors on the loop. It may be called on any goroutine.
func (l *Loop) Descriptors() int { return int(l.count.Load()) }

// Expect makes Group.Least count n more descriptors, which are about to be adopted. A negative n
// undoes that. It may be called on any goroutine.
func (l *Loop) Expect(n int) { l.count.Add(int64(n)) }

// Now returns the time at which the turn began.
func (l *Loop) Now() time.Time { return l.now }

// Scratch returns a buffer of ScratchSize bytes. All handlers share it, so its contents are lost
// when the handler returns.
func (l *Loop) Scratch() []byte { return l.scratch }

// run is the loop's goroutine.
func (l *Loop) run() {
	for !l.stopping {
		l.wait()
		l.now = time.Now()
		l.yield()
		l.callHandlers()
		l.runPosted(l.inbox.take())
		l.callTimers()
	}
	l.runPosted(l.inbox.close())
}

// callHandlers calls the handlers that are in the queue now. What they queue is for the next turn.
func (l *Loop) callHandlers() {
	run := l.queue
	l.queue = l.spare[:0]
	for _, r := range run {
		e := l.group.table.at(r.fd)
		if e.gen.Load() != r.gen {
			continue // closed meanwhile
		}
		ev := e.pending
		e.pending, e.queued = 0, false
		e.handler.Ready(l, ev)
	}
	l.spare = run
}

// enqueue lets a descriptor's handler be called with ev in the next turn.
func (l *Loop) enqueue(r ref, ev Events) {
	e := l.group.table.at(r.fd)
	if e.gen.Load() != r.gen {
		return
	}
	e.pending |= ev
	if !e.queued {
		e.queued = true
		l.queue = append(l.queue, r)
	}
}

// yieldEvery is the time after which a loop calls the scheduler, if only to be told to go on. After
// 10 ms without such a call (forcePreemptNS in runtime/proc.go) sysmon would send a signal, which
// ends a wait in the kernel, and look again every 20 µs for some time. Without it, 4,000 single
// lines a second took half as much processor time again at the lowest priority of a busy machine;
// on a quiet one there is no difference. A turn may take some milliseconds, and a wait rawWait.
const yieldEvery = 5 * time.Millisecond

func (l *Loop) yield() {
	if l.now.Sub(l.yielded) >= yieldEvery {
		runtime.Gosched()
		l.yielded = l.now
	}
}

// rawWait is how long a loop waits while it holds its processor.
const rawWait = 3 * time.Millisecond

// wait fills the queue. It returns when a handler, a task or a timer is due, and sometimes before.
func (l *Loop) wait() {
	if len(l.queue) > 0 || !l.inbox.sleep() {
		n, _ := l.poller.poll(0)
		l.queueEvents(n)
		return
	}
	limit := l.timers.left(l.group.start)
	n, result := l.poller.poll(min(limit, rawWait))
	if result == waitedInVain && limit > rawWait {
		n, _ = l.poller.block(limit - rawWait)
	}
	l.inbox.wake()
	l.queueEvents(n)
}

// queueEvents queues the handlers of the first n events of the poller.
func (l *Loop) queueEvents(n int) {
	for i := range l.poller.events[:n] {
		e := &l.poller.events[i]
		if e.Fd != wakeFD {
			l.enqueue(ref{e.Fd, uint32(e.Pad)}, eventsOf(e.Events))
		}
	}
}
