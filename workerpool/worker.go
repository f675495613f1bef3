package workerpool

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

const (
	// lookBytes and lookWrites are after how much a worker asks its connection how it stands: seldom enough to cost little,
	// often enough for small windows.
	// A worker whose window is small looks sooner.
	lookBytes  = 256 << 10
	lookWrites = 32
	// attendEvery is after how many buffers a busy worker looks at what else has happened.
	checkEvery = 8
	// recheckAfter is how soon a full window is looked at again.
	recheckAfter = 5 * time.Millisecond
	// observeEvery is how many buffers one sample of the confirmation histogram stands for.
	observeEvery = 16
	// patience is how long, after the peer's FIN, a worker waits for signs that everything was read before it half-closes.
	// Keepalives bring them within three. linesplit itself goes on reading for four after its FIN (half of -drain-timeout).
	maxFINWait = 3500 * time.Millisecond
	// maxLeaving bounds the connections that a worker has left and still waits for; the oldest is given up beyond it.
	maxLeaving = 8
)

// Why a worker gives up a connection that has not failed by itself.
var (
	errSilent         = errors.New("peer answers neither retransmissions nor probes")
	errStalled        = errors.New("peer has taken nothing for the stall timeout, others do")
	errUnproven       = errors.New("target has closed, perhaps without reading everything")
	errTooManyLeaving = errors.New("too many connections are waiting for their last confirmation")
	errDrainStalled   = errors.New("target is to be drained and shows no headway")
	errStopped        = errors.New("stopped")
)

// worker drains the channel over one connection at a time.
type worker struct {
	pool   *Pool
	id     int
	home   *backend
	logger *slog.Logger

	lines       <-chan *linebuf.Buffer // nil once it is closed
	stop        <-chan struct{}
	retryQueue  retryQueue // before anything new
	out         *outConn   // nil while there is none
	lastBackend *backend   // where flight is or was
	leaving     []*outConn // half-closed or about to be; their windows wait for confirmation
	full        bool       // flight must not be written to until the next look
	moved       bool       // the window has moved in the present stall
	stopped     bool
	paused      bool // home takes no lines: nothing new is begun
	dialler     dialler

	failbackTried time.Time

	ticks     chan time.Time // from the pool
	recheck   *time.Timer
	waitingFn func() error // waiting, as a value that need not be made for every write

	lookAfter                       int           // bytes
	always                          chan struct{} // closed: a case of a select that is ready
	bytesSinceLook, writesSinceLook int
	takenSinceCheck                 int
	sinceSample                     int
}

func newWorker(p *Pool, id int, home *backend, lines <-chan *linebuf.Buffer) *worker {
	w := &worker{pool: p, id: id, home: home, lines: lines, logger: p.o.Logger.With("worker", id)}
	w.waitingFn = w.waiting
	w.ticks = make(chan time.Time, 1)
	w.always = make(chan struct{})
	close(w.always)
	return w
}

// run works until the channel is closed and everything is confirmed, until the worker is dismissed, or until hard ends.
func (w *worker) run(hard context.Context) {
	w.stop = hard.Done()
	w.recheck = time.NewTimer(0)
	defer w.recheck.Stop()
	w.dialler.start(hard, func(ctx context.Context, a target.Address) (Conn, error) {
		return w.pool.settings.Load().dial(ctx, a)
	})
	defer w.dialler.stop()
	w.applyState(time.Now())
	for !w.done() {
		w.ensureDial()
		w.next()
	}
	w.abortAll()
}

// done also brings a worker that has nothing more to write to its last act.
func (w *worker) done() bool {
	if w.stopped {
		return true
	}
	if w.hasWork() {
		return false
	}
	if w.out != nil {
		w.retire()
	}
	if len(w.leaving) > 0 || !w.retryQueue.empty() { // what is left may have failed just now
		return false
	}
	return w.lines == nil || w.pool.tryDismiss(w)
}

// unfinished says that there is something to write, or may yet be.
func (w *worker) hasWork() bool { return w.lines != nil && !w.paused || !w.retryQueue.empty() }

// abortAll gives up what is still open. What was not confirmed stays counted as retained.
func (w *worker) abortAll() {
	open := w.leaving
	if w.out != nil {
		open = append(open, w.out)
	}
	for _, c := range open {
		w.look(c, time.Now())
		c.conn.Abort()
		c.leave()
	}
}

// writable says whether the connection may be given more.
func (w *worker) writable() bool {
	return w.out != nil && !w.full && !w.out.ending
}

// intake is the channel when there is room for what comes from it.
func (w *worker) intake() <-chan *linebuf.Buffer {
	if !w.writable() || !w.retryQueue.empty() {
		return nil
	}
	return w.lines
}

// next takes the next buffer, or sees to what has happened meanwhile.
func (w *worker) next() {
	in := w.intake()
	if in != nil && w.takenSinceCheck < checkEvery {
		select {
		case b, ok := <-in:
			w.takenSinceCheck++
			w.take(b, ok)
			return
		default:
		}
	}
	w.takenSinceCheck = 0
	select {
	case b, ok := <-in:
		w.take(b, ok)
	case <-w.retryReady():
		w.write(w.retryQueue.pop())
	case <-w.events():
		w.checkConns(time.Now())
	case now := <-w.ticks:
		w.tick(now)
	case now := <-w.rechecks():
		w.checkConns(now)
	case r := <-w.dialler.results:
		w.onDial(r)
	case <-w.dialler.retry():
		w.redial()
	case <-w.stop:
		w.stopped = true
	}
}

func (w *worker) take(b *linebuf.Buffer, ok bool) {
	if !ok {
		w.noteInputEnd()
		return
	}
	w.write(w.toSegment(b))
}

// sawEnd also tells those who rest, and do not look.
func (w *worker) noteInputEnd() {
	w.lines = nil
	w.pool.ended.Store(true)
}

// own counts a buffer as taken.
func (w *worker) toSegment(b *linebuf.Buffer) segment {
	s := segment{buf: b, lines: b.Lines}
	w.pool.countTaken(s.count())
	return s
}

// glance looks for the end of all lines while nothing can be taken: a worker that has nothing to deliver needs no connection
// to end. To look is to risk taking a buffer, so a worker that rests leaves that to others, where there are any.
func (w *worker) pollClosed() {
	if w.lines == nil || w.intake() != nil || !w.retryQueue.empty() {
		return
	}
	if w.pool.ended.Load() {
		w.lines = nil
		return
	}
	if len(w.lines) > 0 || w.paused && len(w.pool.backends.Load().accepting) > 0 {
		return
	}
	select {
	case b, ok := <-w.lines:
		if ok { // came in between
			w.retryQueue.push(w.toSegment(b))
			return
		}
		w.noteInputEnd()
	default:
	}
}

// backlogged is ready when the backlog can be worked off. It takes its turn with all else that may happen: a backlog is long,
// and its target may be slow.
func (w *worker) retryReady() <-chan struct{} {
	if !w.writable() || w.retryQueue.empty() {
		return nil
	}
	return w.always
}

// events are those of the present connection, or of the last that is being left.
func (w *worker) events() <-chan struct{} {
	switch {
	case w.out != nil:
		return w.out.conn.Events()
	case len(w.leaving) > 0:
		return w.leaving[len(w.leaving)-1].conn.Events()
	}
	return nil
}

func (w *worker) rechecks() <-chan time.Time {
	if !w.full {
		return nil
	}
	return w.recheck.C
}

// write gives a segment to the present connection.
func (w *worker) write(s segment) {
	c := w.out
	n := s.len()
	if err := c.write(s, w.waitingFn); err != nil {
		w.fail(c, err)
		return
	}
	w.pool.buffers.Put(c.window.mergeNewest())
	w.bytesSinceLook += n
	w.writesSinceLook++
	if w.bytesSinceLook >= w.lookAfter || w.writesSinceLook >= lookWrites {
		w.look(c, time.Now())
	}
}

// waiting is called from within a write that makes no headway. It may end that write, and it looks after the connections
// that are being left; the present flight is the business of whoever called write.
func (w *worker) waiting() error {
	now := time.Now()
	select {
	case <-w.stop:
		w.stopped = true
		return errStopped
	default:
	}
	w.applyState(now)
	w.reapLeaving(now)
	w.look(w.out, now)
	if err := w.verdict(w.out, now); err != nil {
		return err
	}
	return w.failbackInWrite(now)
}

// tick is what happens at regular intervals.
func (w *worker) tick(now time.Time) {
	w.applyState(now)
	w.checkConns(now)
	w.tryFailback(now)
	w.replaceDraining()
	w.pollClosed()
}

// heed follows what has been decided about the worker's home, the target it is connected to, and the settings. It is called from
// within a blocked write too, so that nothing is begun after it. Draining and resuming a slow target again and again does not bring
// its connections beyond maxLeaving.
func (w *worker) applyState(now time.Time) {
	w.lookAfter = int(min(lookBytes, w.pool.settings.Load().windowMax/4))
	rested := w.paused
	w.paused = !w.home.accepts() || rested && len(w.leaving) >= maxLeaving
	if rested && !w.paused {
		w.dialler.reset()
	}
	if c := w.out; c != nil && !c.backend.accepts() {
		c.markEnding(now)
	}
}
