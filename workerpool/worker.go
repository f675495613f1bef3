package workerpool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/delivery"
	"linesplit/internal/lane"
	"linesplit/linebuf"
)

// checkEvery is the number of buffers after which a busy worker looks for other events.
const checkEvery = 8

// worker drives a [delivery.Machine]. It is one goroutine, and another while it dials. The
// goroutine takes buffers from the channel for the machine, writes what it is to write, makes its
// dials, and tells it the time.
//
// The goroutine that has locked turn drives the machine. That is the worker's own, except while it
// waits for an event: then a goroutine that has just read lines may have its turn, to write them at
// once (Outlet). Such a goroutine never waits. It pokes the worker if it leaves something to do.
type worker struct {
	pool    *Pool
	home    *backend
	lines   <-chan *linebuf.Buffer // nil if it has a lane
	lane    *lane.Lane             // nil: lines have no keys
	stop    <-chan struct{}
	dialler dialler
	ticks   chan time.Time // from the pool
	poke    chan struct{}  // from outlets
	alarm   *time.Timer    // for Machine.Wake
	surplus bool           // its home has too many workers; guarded by Pool.mu
	leaves  atomic.Bool    // it is to end once it has nothing left; changes under Pool.mu

	load atomic.Uint32 // since the pool's last tick; see lowLoad

	turn    sync.Mutex // guards the fields below; outlets and the pool only try to lock it
	machine *delivery.Machine
	watched delivery.Conn // the machine's, when another goroutine took the turn
	last    burst         // which the last buffer belonged to
	over    bool          // the lane gets nothing more
	alarmAt time.Time     // what alarm is set to; zero: not set

	waitingFn         func() error // waiting as a value, so that a write does not allocate it
	writtenSinceCheck int
}

func newWorker(p *Pool, id int, home *backend, lines <-chan *linebuf.Buffer) *worker {
	w := &worker{pool: p, home: home, lines: lines, ticks: make(chan time.Time, 1), poke: make(chan struct{}, 1)}
	w.machine = p.newMachine(w, id)
	w.waitingFn = w.waiting
	w.turn.Lock() // for run
	return w
}

// run is called once, with the turn. It returns when the channel is closed and everything is
// confirmed, when the worker is dismissed, or when hard ends.
func (w *worker) run(hard context.Context) {
	defer w.turn.Unlock()
	w.stop = hard.Done()
	w.alarm = time.NewTimer(0)
	defer w.alarm.Stop()
	w.dialler.start(hard)
	w.machine.Begin(time.Now())
	w.pool.clock.stir()
	for !w.machine.Done() && !(w.machine.Rests() && w.pool.tryDismiss(w)) {
		w.next()
	}
	w.machine.Abort(time.Now())
	w.dialler.stop()
}

// next writes or takes one buffer, or handles one other event.
func (w *worker) next() {
	if w.writtenSinceCheck < checkEvery {
		if w.write() || w.takeFromLane() {
			return
		}
		select {
		case b, ok := <-w.intake():
			w.take(b, ok)
			return
		default:
		}
	}
	w.writtenSinceCheck = 0
	if w.lane != nil && w.pollLaneEnd() {
		return
	}
	w.handle(w.await())
}

// event describes what a worker has waited for: one of its fields is set, or none if it only has to
// go on.
type event struct {
	buffer    *linebuf.Buffer
	closed    bool // the channel
	check     bool
	tick, due time.Time
	dialled   dialResult
	stop      bool
}

// await waits for an event, without the turn. While there is something to write, it takes an event
// if there is one: the retry queue may be long and its target slow.
func (w *worker) await() (e event) {
	in, events, due := w.intake(), w.events(), w.due()
	var ready <-chan struct{}
	if _, p := w.machine.Writing(); len(p) > 0 || w.takesFromLane() {
		ready = always
	}
	w.turn.Unlock()
	defer w.turn.Lock()
	select {
	case <-w.stop:
		e.stop = true
		return e
	default:
	}
	select {
	case b, ok := <-in:
		e.buffer, e.closed = b, !ok
	case <-events:
		e.check = true
	case e.tick = <-w.ticks:
	case e.due = <-due:
	case e.dialled = <-w.dialler.results:
	case <-w.stop:
		e.stop = true
	case <-w.poke:
	case <-ready:
	}
	return e
}

func (w *worker) handle(e event) {
	w.pool.clock.stir()
	switch {
	case e.buffer != nil || e.closed:
		w.take(e.buffer, !e.closed)
	case e.check:
		w.machine.Check(time.Now())
	case !e.tick.IsZero():
		w.tick(e.tick)
	case !e.due.IsZero():
		w.alarmAt = time.Time{}
		w.machine.Due(e.due)
	case e.dialled.backend != nil:
		w.machine.Dialled(e.dialled.backend, e.dialled.conn, e.dialled.err, time.Now())
	case e.stop:
		w.machine.Stop()
	}
}

func (w *worker) tick(now time.Time) {
	w.machine.Tick(now)
	w.pollEnd()
}

// tickIfIdle ticks the machine of a worker that waits for an event, in the calling goroutine.
// Others tick when they have the time. It reports whether the machine is quiet.
func (w *worker) tickIfIdle(now time.Time) (quiet bool) {
	if !w.tryTurn() {
		w.nudge(now)
		return false
	}
	w.tick(now)
	quiet = w.machine.Quiet()
	w.endTurn()
	return quiet
}

// tryTurn takes the turn of a worker that waits for an event, for another goroutine.
func (w *worker) tryTurn() bool {
	if !w.turn.TryLock() {
		return false
	}
	w.watched = w.machine.Watched()
	return true
}

// endTurn ends such a turn. If the worker has to do something then, it wakes up.
func (w *worker) endTurn() {
	left := w.hasEvent()
	w.watched = nil
	w.turn.Unlock()
	if left {
		w.wake()
	}
}

// nudge makes the worker tick. One that has not taken the last tick yet misses this one.
func (w *worker) nudge(now time.Time) {
	select {
	case w.ticks <- now:
	default:
	}
}

// wake makes the worker look at its machine.
func (w *worker) wake() {
	select {
	case w.poke <- struct{}{}:
	default: // it will look anyway
	}
}

// hasEvent reports whether the worker has to do something, or to wait for something else, after
// another goroutine has driven its machine.
func (w *worker) hasEvent() bool {
	m := w.machine
	_, p := m.Writing()
	at := m.Wake()
	return len(p) > 0 || w.takesFromLane() || m.Watched() != w.watched || !at.IsZero() && at != w.alarmAt ||
		m.Rests() && w.leaves.Load() || m.Done()
}

// intake returns the channel while the machine can write what is taken from it, otherwise nil.
func (w *worker) intake() <-chan *linebuf.Buffer {
	if !w.machine.Wants() {
		return nil
	}
	return w.lines
}

// take gives a buffer from the channel to the machine. It may have to be kept for a moment, if an
// outlet had its turn meanwhile.
func (w *worker) take(b *linebuf.Buffer, ok bool) {
	switch {
	case !ok:
		w.endInput()
	case w.machine.Wants():
		w.give(b, burst{})
	default:
		w.machine.Keep(b, time.Now())
	}
}

// give gives the machine a buffer that it wants.
func (w *worker) give(b *linebuf.Buffer, from burst) {
	w.load.Add(uint32(1 + len(b.B)/loadBytes))
	w.last = from
	w.machine.Take(b)
}

// endInput notes that the channel is closed, also for paused workers, which do not read it.
func (w *worker) endInput() {
	w.pool.ended.Store(true)
	w.machine.EndInput(time.Now())
}

// pollEnd checks whether the channel is closed while the worker takes nothing from it: a
// worker without lines needs no connection to end. Checking may take a buffer, so a paused
// worker leaves it to the others, if any accept lines.
func (w *worker) pollEnd() {
	if w.lane != nil {
		w.pollLaneEnd()
		return
	}
	if !w.machine.Idle() {
		return
	}
	if w.pool.ended.Load() {
		w.endInput()
		return
	}
	if len(w.lines) > 0 || w.machine.Paused() && w.pool.shared.Backends().AnyAccepts() {
		return
	}
	select {
	case b, ok := <-w.lines:
		if ok { // it came after the check of len
			w.machine.Keep(b, time.Now())
			return
		}
		w.endInput()
	default:
	}
}

// write reports whether there was something to write.
func (w *worker) write() bool {
	c, p := w.machine.Writing()
	if len(p) == 0 {
		return false
	}
	w.writtenSinceCheck++
	n, err := c.(Conn).Write(p, w.waitingFn)
	w.machine.Wrote(n, err, time.Now())
	return true
}

// waiting is called from within a write that makes no progress, and may end that write with an
// error.
func (w *worker) waiting() error {
	now := time.Now()
	select {
	case <-w.stop:
		w.machine.Stop()
	case r := <-w.dialler.results:
		w.machine.Dialled(r.backend, r.conn, r.err, now)
	default:
	}
	return w.machine.Blocked(now)
}

// always is ready at any time.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// events returns the event channel of the connection that the machine watches.
func (w *worker) events() <-chan struct{} {
	if c := w.machine.Watched(); c != nil {
		return c.(Conn).Events()
	}
	return nil
}

// due returns a channel that receives the time when the machine is to be woken.
func (w *worker) due() <-chan time.Time {
	at := w.machine.Wake()
	if at.IsZero() {
		return nil
	}
	if at != w.alarmAt {
		w.alarm.Reset(time.Until(at))
		w.alarmAt = at
	}
	return w.alarm.C
}

// Dial is the action of the machine.
func (w *worker) Dial(b *delivery.Backend) { w.dialler.connect(w.pool.settings.Load().dial, b) }
