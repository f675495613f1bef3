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
	// lookBytes and lookWrites are the bytes and writes after which a worker asks its
	// connection for its progress: seldom enough to cost little, often enough for small
	// windows. A worker with a small window looks sooner (lookAfter).
	lookBytes  = 256 << 10
	lookWrites = 32
	// checkEvery is the number of buffers after which a busy worker looks for other events.
	checkEvery = 8
	// recheckAfter is the delay before a worker looks at a full window again.
	recheckAfter = 5 * time.Millisecond
	// observeEvery is the number of buffers that one sample of the confirmation histogram
	// stands for.
	observeEvery = 16
	// maxFINWait is the time that a worker waits, after the peer's FIN, for signs that the peer
	// has read everything before it half-closes. Keepalives bring such signs within 3 s.
	// linesplit itself goes on reading for 4 s after its own FIN (half of -drain-timeout).
	maxFINWait = 3500 * time.Millisecond
	// maxLeaving is the number of connections that a worker has left and still waits for. With
	// more than that, it gives up the oldest.
	maxLeaving = 8
)

// These are a worker's reasons to give up a connection that has not failed by itself.
var (
	errSilent         = errors.New("peer answers neither retransmissions nor probes")
	errStalled        = errors.New("peer has taken nothing for the stall timeout; another target takes its lines")
	errUnproven       = errors.New("target has closed, perhaps without reading everything")
	errTooManyLeaving = errors.New("too many connections are waiting for their last confirmation")
	errDrainStalled   = errors.New("target is being drained and makes no progress")
	errStopped        = errors.New("stopped")
)

// worker takes buffers from the channel and writes them to one connection at a time.
//
// A failover takes these steps: checkConns, or a write, finds that the connection has failed and
// calls fail (target's reader, which sees the end first, has woken the worker); requeue moves the
// lines that may not have been read to the retry queue; ensureDial dials the next candidate;
// onDial takes the result, and switchTo makes it the worker's connection; next then writes the
// retry queue before anything new.
//
// A FIN comes first where a target has read everything: onFIN then dials a replacement, and the
// old connection ends in leave.go.
type worker struct {
	pool   *Pool
	id     int
	home   *backend // it belongs here; connected elsewhere, it is displaced
	logger *slog.Logger

	lines       <-chan *linebuf.Buffer // nil once it is closed
	stop        <-chan struct{}
	retryQueue  retryQueue // what failed connections left; written before anything new
	out         *outConn   // the present connection; nil while there is none
	lastBackend *backend   // the backend of the present or last connection
	leaving     []*outConn // half-closed or about to be; their windows wait for confirmation
	full        bool       // out must not be written to until the next look
	moved       bool       // the window has moved once in the present stall
	stopped     bool
	paused      bool // home takes no lines, so the worker takes nothing new
	dialler     dialler

	failbackTried time.Time     // when the worker last moved, or tried to go home
	homeWait      time.Duration // wait before it tries again, whatever the evidence; see noteLeft

	ticks     chan time.Time // from the pool
	recheck   *time.Timer
	waitingFn func() error // waiting as a value, so that a write does not allocate it

	lookAfter                       int           // bytes between two looks; see lookBytes
	always                          chan struct{} // closed: it makes a case of a select ready
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

// run returns when the channel is closed and everything is confirmed, when the worker is
// dismissed, or when hard ends.
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

// done reports whether the worker is to end. When nothing is left to write, it retires the
// present connection, which brings the worker to its end.
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
	if len(w.leaving) > 0 || !w.retryQueue.empty() { // leaving may have failed just now
		return false
	}
	return w.lines == nil || w.pool.tryDismiss(w)
}

// hasWork reports whether there are lines to write, or more may come.
func (w *worker) hasWork() bool { return w.lines != nil && !w.paused || !w.retryQueue.empty() }

// abortAll gives up the connections that are still open. What they have not confirmed stays
// counted as retained.
func (w *worker) abortAll() {
	open := w.leaving
	if w.out != nil {
		open = append(open, w.out)
	}
	for _, c := range open {
		w.look(c, time.Now())
		c.countLines(c.unacknowledged())
		c.conn.Abort()
		c.leave()
	}
}

// writable reports whether the connection may be given more.
func (w *worker) writable() bool {
	return w.out != nil && !w.full && !w.out.ending
}

// intake returns the channel while the worker can write what it takes from it, otherwise nil.
func (w *worker) intake() <-chan *linebuf.Buffer {
	if !w.writable() || !w.retryQueue.empty() {
		return nil
	}
	return w.lines
}

// next takes one buffer, or handles one other event.
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

// noteInputEnd notes that the channel is closed, also for paused workers, which do not read it.
func (w *worker) noteInputEnd() {
	w.lines = nil
	w.pool.ended.Store(true)
}

// toSegment counts a buffer as taken and wraps it.
func (w *worker) toSegment(b *linebuf.Buffer) segment {
	s := segment{buf: b, lines: b.Lines}
	w.pool.countTaken(s.count())
	return s
}

// pollClosed checks whether the channel is closed while the worker takes nothing from it: a
// worker without lines needs no connection to end. Checking may take a buffer, so a paused
// worker leaves it to the others, if any accept lines.
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
		if ok { // it came after the check of len
			w.retryQueue.push(w.toSegment(b))
			return
		}
		w.noteInputEnd()
	default:
	}
}

// retryReady is ready while the retry queue can be written. It is one case of next's select
// among others because the queue may be long and its target slow.
func (w *worker) retryReady() <-chan struct{} {
	if !w.writable() || w.retryQueue.empty() {
		return nil
	}
	return w.always
}

// events returns the event channel of the present connection, or of the last one being left.
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

// waiting is called from within a write that makes no progress, and may end that write with an
// error. It also handles the connections that are being left. A failure of the present
// connection is left to the caller of write.
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
	w.countLines()
	if err := w.verdict(w.out, now); err != nil {
		return err
	}
	return w.failbackInWrite(now)
}

// countLines updates the counts of sent and acknowledged lines for all connections.
func (w *worker) countLines() {
	for _, c := range w.leaving {
		c.countLines(c.unacknowledged())
	}
	if c := w.out; c != nil {
		c.countLines(c.unacknowledged())
	}
}

// tick runs at regular intervals.
func (w *worker) tick(now time.Time) {
	w.applyState(now)
	w.checkConns(now)
	w.countLines()
	w.tryFailback(now)
	w.replaceDraining()
	w.pollClosed()
}

// applyState applies what was decided about the worker's home, about the target of its
// connection, and about the settings. It runs within a blocked write too, so that such a worker
// does not begin anything either. A worker with maxLeaving connections to wait for stays
// paused, so that draining and resuming a slow target over and over does not pile up
// connections.
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
