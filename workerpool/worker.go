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
	attendEvery = 8
	// recheckAfter is how soon a full window is looked at again.
	recheckAfter = 5 * time.Millisecond
	// observeEvery is how many buffers one sample of the confirmation histogram stands for.
	observeEvery = 16
	// patience is how long, after the peer's FIN, a worker waits for signs that everything was read before it half-closes.
	// Keepalives bring them within three. linesplit itself goes on reading for four after its FIN (half of -drain-timeout).
	patience = 3500 * time.Millisecond
	// maxLeaving bounds the connections that a worker has left and still waits for; the oldest is given up beyond it.
	maxLeaving = 8
)

// Why a worker gives up a connection that has not failed by itself.
var (
	errSilent   = errors.New("peer answers neither retransmissions nor probes")
	errStalled  = errors.New("peer has taken nothing for the stall timeout, others do")
	errUnproven = errors.New("target has closed, perhaps without reading everything")
	errCrowded  = errors.New("too many connections are waiting for their last confirmation")
	errLingers  = errors.New("target is to be drained and shows no headway")
	errStopped  = errors.New("stopped")
)

// worker drains the channel over one connection at a time.
type worker struct {
	pool   *Pool
	id     int
	home   *place
	logger *slog.Logger

	lines   <-chan *linebuf.Buffer // nil once it is closed
	stop    <-chan struct{}
	again   backlog   // before anything new
	flight  *flight   // nil while there is none
	last    *place    // where flight is or was
	leaving []*flight // half-closed or about to be; their windows wait for confirmation
	full    bool      // flight must not be written to until the next look
	moved   bool      // the window has moved in the present stall
	stopped bool
	resting bool // home takes no lines: nothing new is begun
	dialler dialler

	triedHome time.Time

	ticks     chan time.Time // from the pool
	recheck   *time.Timer
	waitingFn func() error // waiting, as a value that need not be made for every write

	lookAfter                     int           // bytes
	always                        chan struct{} // closed: a case of a select that is ready
	unlookedBytes, unlookedWrites int
	unattended                    int
	unobserved                    int
}

// backlog is what failed flights leave, oldest first. The zero value is empty.
type backlog struct {
	list []segment
	head int
}

func (b *backlog) empty() bool { return b.head == len(b.list) }

func (b *backlog) push(s segment) {
	b.list, b.head = compact(b.list, b.head)
	b.list = append(b.list, s)
}

func (b *backlog) pop() segment {
	s := b.list[b.head]
	b.list[b.head] = segment{}
	if b.head++; b.empty() {
		b.list, b.head = b.list[:0], 0
	}
	return s
}

func newWorker(p *Pool, id int, home *place, lines <-chan *linebuf.Buffer) *worker {
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
	defer w.dialler.end()
	w.heed(time.Now())
	for !w.done() {
		w.seek()
		w.next()
	}
	w.abortAll()
}

// done also brings a worker that has nothing more to write to its last act.
func (w *worker) done() bool {
	if w.stopped {
		return true
	}
	if w.unfinished() {
		return false
	}
	if w.flight != nil {
		w.retire()
	}
	if len(w.leaving) > 0 || !w.again.empty() { // what is left may have failed just now
		return false
	}
	return w.lines == nil || w.pool.dismiss(w)
}

// unfinished says that there is something to write, or may yet be.
func (w *worker) unfinished() bool { return w.lines != nil && !w.resting || !w.again.empty() }

// abortAll gives up what is still open. What was not confirmed stays counted as retained.
func (w *worker) abortAll() {
	open := w.leaving
	if w.flight != nil {
		open = append(open, w.flight)
	}
	for _, f := range open {
		w.look(f, time.Now())
		f.conn.Abort()
		f.leave()
	}
}

// writable says whether the connection may be given more.
func (w *worker) writable() bool {
	return w.flight != nil && !w.full && !w.flight.ending
}

// intake is the channel when there is room for what comes from it.
func (w *worker) intake() <-chan *linebuf.Buffer {
	if !w.writable() || !w.again.empty() {
		return nil
	}
	return w.lines
}

// next takes the next buffer, or sees to what has happened meanwhile.
func (w *worker) next() {
	in := w.intake()
	if in != nil && w.unattended < attendEvery {
		select {
		case b, ok := <-in:
			w.unattended++
			w.take(b, ok)
			return
		default:
		}
	}
	w.unattended = 0
	select {
	case b, ok := <-in:
		w.take(b, ok)
	case <-w.backlogged():
		w.write(w.again.pop())
	case <-w.events():
		w.attend(time.Now())
	case now := <-w.ticks:
		w.tick(now)
	case now := <-w.rechecks():
		w.attend(now)
	case r := <-w.dialler.results:
		w.arrive(r)
	case <-w.dialler.retry():
		w.redial()
	case <-w.stop:
		w.stopped = true
	}
}

func (w *worker) take(b *linebuf.Buffer, ok bool) {
	if !ok {
		w.sawEnd()
		return
	}
	w.write(w.own(b))
}

// sawEnd also tells those who rest, and do not look.
func (w *worker) sawEnd() {
	w.lines = nil
	w.pool.ended.Store(true)
}

// own counts a buffer as taken.
func (w *worker) own(b *linebuf.Buffer) segment {
	s := segment{buf: b, lines: b.Lines}
	w.pool.retain(s.count())
	return s
}

// glance looks for the end of all lines while nothing can be taken: a worker that has nothing to deliver needs no connection
// to end. To look is to risk taking a buffer, so a worker that rests leaves that to others, where there are any.
func (w *worker) glance() {
	if w.lines == nil || w.intake() != nil || !w.again.empty() {
		return
	}
	if w.pool.ended.Load() {
		w.lines = nil
		return
	}
	if len(w.lines) > 0 || w.resting && len(w.pool.roster.Load().open) > 0 {
		return
	}
	select {
	case b, ok := <-w.lines:
		if ok { // came in between
			w.again.push(w.own(b))
			return
		}
		w.sawEnd()
	default:
	}
}

// backlogged is ready when the backlog can be worked off. It takes its turn with all else that may happen: a backlog is long,
// and its target may be slow.
func (w *worker) backlogged() <-chan struct{} {
	if !w.writable() || w.again.empty() {
		return nil
	}
	return w.always
}

// events are those of the present connection, or of the last that is being left.
func (w *worker) events() <-chan struct{} {
	switch {
	case w.flight != nil:
		return w.flight.conn.Events()
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
	f := w.flight
	n := s.len()
	if err := f.write(s, w.waitingFn); err != nil {
		w.fail(f, err)
		return
	}
	w.pool.buffers.Put(f.window.mergeNewest())
	w.unlookedBytes += n
	w.unlookedWrites++
	if w.unlookedBytes >= w.lookAfter || w.unlookedWrites >= lookWrites {
		w.look(f, time.Now())
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
	w.heed(now)
	w.seeOff(now)
	w.look(w.flight, now)
	if err := w.verdict(w.flight, now); err != nil {
		return err
	}
	return w.homeward(now)
}

// homeward lets a displaced worker dial home while a write blocks. A connection that this brings waits for the end of the
// write, but not for that of a stall: with all workers blocked at one target, nobody else would find out that home is back.
func (w *worker) homeward(now time.Time) error {
	w.goHome(now)
	select {
	case r := <-w.dialler.results:
		if r.err != nil {
			w.arrive(r)
			return nil
		}
		w.dialler.results <- r // there is room: nobody else sends while it is not taken
	default:
		return nil
	}
	if !w.flight.stalled || w.moved {
		return nil
	}
	w.moved = true
	return errStalled
}

// tick is what happens at regular intervals.
func (w *worker) tick(now time.Time) {
	w.heed(now)
	w.attend(now)
	w.goHome(now)
	w.moveOn()
	w.glance()
}

// heed follows what has been decided about the worker's home, the target it is connected to, and the settings. It is called from
// within a blocked write too, so that nothing is begun after it. Draining and resuming a slow target again and again does not bring
// its connections beyond maxLeaving.
func (w *worker) heed(now time.Time) {
	w.lookAfter = int(min(lookBytes, w.pool.settings.Load().windowMax/4))
	rested := w.resting
	w.resting = !w.home.takes() || rested && len(w.leaving) >= maxLeaving
	if rested && !w.resting {
		w.dialler.begin()
	}
	if f := w.flight; f != nil && !f.place.takes() {
		f.endWith(now)
	}
}

// moveOn dials beside a connection that is to be left because its target takes no more. One that the peer has ended has its dial
// behind it or before it.
func (w *worker) moveOn() {
	if d := &w.dialler; w.flight != nil && w.flight.ending && !d.busy && !d.armed && w.unfinished() {
		w.shun(w.flight.place)
		w.dial()
	}
}

// shun keeps a worker that is to leave a place from trying home first, where that is down.
func (w *worker) shun(p *place) {
	if w.home.target.Down() {
		w.dialler.avoid = p
	}
}

// attend looks at every connection and acts on what it sees.
func (w *worker) attend(now time.Time) {
	w.seeOff(now)
	f := w.flight
	if f == nil {
		return
	}
	w.look(f, now)
	if err := w.verdict(f, now); err != nil {
		w.fail(f, err)
		return
	}
	if f.seen.FIN && !f.ending && !f.stay {
		w.ending(f, now)
	}
}

// look asks a connection how it stands and lets go of what it confirms.
func (w *worker) look(f *flight, now time.Time) {
	s := w.pool.settings.Load()
	f.look(now, s.stuckAfter)
	w.release(f, f.confirmable(now, s.ResendAge))
	w.cap(f, s.windowMax)
	f.show()
	if f != w.flight {
		return
	}
	w.unlookedBytes, w.unlookedWrites = 0, 0
	if w.full = f.full(s.windowMax); w.full {
		w.recheck.Reset(recheckAfter)
	}
}

// release confirms all segments that end at pos or before.
func (w *worker) release(f *flight, pos uint64) {
	var n linebuf.Count
	for !f.window.empty() && f.window.oldest().end <= pos {
		s := f.window.pop()
		n.Add(s.count())
		if w.unobserved++; w.unobserved >= observeEvery {
			w.unobserved = 0
			w.pool.o.ConfirmSeconds.Observe(time.Since(s.buf.Read).Seconds())
		}
		w.pool.buffers.Put(s.buf)
	}
	if n.Lines == 0 {
		return
	}
	f.confirmed = true
	w.moved = w.moved && f != w.flight
	w.pool.confirm(f.place, n)
}

// cap lets the oldest segments go where the window holds more than its share, but none that seem unread.
func (w *worker) cap(f *flight, windowMax int64) {
	limit := f.surelyRead()
	for f.window.mem > windowMax && f.window.oldest().end <= limit {
		w.release(f, f.window.oldest().end)
	}
}

// verdict says why a connection must be given up, nil while it need not.
func (w *worker) verdict(f *flight, now time.Time) error {
	s := w.pool.settings.Load()
	switch {
	case f.seen.Err != nil:
		return f.seen.Err
	case f.seen.Silent >= s.DeadTimeout:
		return errSilent
	case w.lingers(f, now, s.StallTimeout+s.ResendAge):
		return errLingers
	case now.Sub(f.ackedAt) >= s.StallTimeout:
		return w.stallVerdict(f)
	}
	return nil
}

// lingers says that a target that is to be drained has shown no headway for so long that what it holds had better go elsewhere, if
// there is a target that confirms. Without that bound one that hangs could never be removed.
func (w *worker) lingers(f *flight, now time.Time, patience time.Duration) bool {
	if f.place.takes() || !f.ending || f.window.empty() || f.idleFor(now) < patience {
		return false
	}
	return w.pool.roster.Load().open.OtherConfirming(f.place.target, f.stuckAfter) != nil
}

// stallVerdict is about a peer that is alive and takes nothing. That is backpressure and no failure: the window moves once, and
// only to a target that does confirm.
func (w *worker) stallVerdict(f *flight) error {
	if !f.stalled {
		f.stalled = true
		f.place.stalls.Add(1)
		f.place.log(w.logger, slog.LevelWarn, "target takes nothing", "target", f.place.target, "since", time.Since(f.ackedAt).Round(time.Millisecond))
	}
	if w.moved || !w.hasRefuge(f) {
		return nil
	}
	w.moved = true
	return errStalled
}

// hasRefuge says whether there is where the window of a stalled connection can go: with one that is being left, to the
// present connection or nowhere.
func (w *worker) hasRefuge(f *flight) bool {
	if w.flight != nil && w.flight != f {
		at := w.flight.place
		return at != f.place && at.target.Confirming(f.stuckAfter)
	}
	roster := w.pool.roster.Load()
	t := roster.open.OtherConfirming(f.place.target, f.stuckAfter)
	if t == nil {
		return false
	}
	w.dialler.prefer = roster.placeOf(t)
	return true
}

// ending acts on the peer's FIN: dial beside, and leave once that has come to an end, well or not.
func (w *worker) ending(f *flight, now time.Time) {
	f.endWith(now)
	w.shun(f.place)
	if f.young(now) { // the next one may end as soon
		w.dialler.later()
		return
	}
	w.dialler.backoff.Reset()
	w.dial()
}

// retire begins to leave the present flight.
func (w *worker) retire() {
	f := w.flight
	w.flight, w.full = nil, false
	f.endWith(time.Now())
	w.leaving = append(w.leaving, f)
	w.seeOff(time.Now())
	if len(w.leaving) > maxLeaving {
		oldest := w.leaving[0]
		w.leaving = append(w.leaving[:0], w.leaving[1:]...)
		w.salvage(oldest, errCrowded)
	}
}

// seeOff brings the flights that are being left to their end.
func (w *worker) seeOff(now time.Time) {
	kept := w.leaving[:0]
	for _, f := range w.leaving {
		if !w.gone(f, now) {
			kept = append(kept, f)
		}
	}
	clear(w.leaving[len(kept):])
	w.leaving = kept
}

// gone says that a flight being left has come to its end, and takes care of what it leaves.
func (w *worker) gone(f *flight, now time.Time) bool {
	w.look(f, now)
	if f.delivered() {
		w.release(f, f.next)
	}
	if f.window.empty() {
		f.conn.Close()
		f.leave()
		return true
	}
	err := w.verdict(f, now)
	if err == nil && f.seen.Over && f.closing {
		err = errUnproven
	}
	if err != nil {
		w.salvage(f, err)
		return true
	}
	if f.mayHalfClose(now) {
		f.closing = true
		if err := f.conn.CloseWrite(); err != nil {
			w.logger.Debug("half-close failed", "target", f.place.target, "err", err)
		}
	}
	return false
}

// fail gives up the present flight.
func (w *worker) fail(f *flight, err error) {
	w.flight, w.full = nil, false
	w.moved = w.moved && err == errStalled
	w.salvage(f, err)
}

// salvage closes a failed flight and takes over all that may not have been read.
func (w *worker) salvage(f *flight, err error) {
	w.look(f, time.Now())
	defer f.leave()
	f.conn.Abort()
	w.dialler.learn(f, err)
	if w.flight == nil {
		w.dialler.avoid = f.place
	}
	if f.seen.AllRead {
		w.confirmUpTo(f, f.arrived())
	}
	unacknowledged, unread := w.reclaim(f)
	if w.stopped {
		return
	}
	f.place.target.ConnectionFailed(err)
	f.place.unacknowledged.Add(unacknowledged)
	f.place.unread.Add(unread)
	f.place.log(w.logger, slog.LevelWarn, "connection failed", "target", f.place.target, "err", err,
		"resend_unacknowledged_lines", unacknowledged.Lines, "resend_unread_lines", unread.Lines)
}

// confirmUpTo confirms the whole lines before pos.
func (w *worker) confirmUpTo(f *flight, pos uint64) {
	w.release(f, pos)
	if f.window.empty() || pos <= f.window.oldest().start() {
		return
	}
	w.pool.confirm(f.place, f.window.trim(f.window.oldest().lineStart(pos)))
}

// reclaim moves the window to the backlog and counts what of it had been given to the connection.
func (w *worker) reclaim(f *flight) (unacknowledged, unread linebuf.Count) {
	for !f.window.empty() {
		s := f.window.pop()
		border := f.seen.Acked
		if border > s.start() && border < s.end {
			border = s.lineStart(border)
		}
		unread.Add(s.begun(0, border))
		unacknowledged.Add(s.begun(border, f.seen.Written))
		w.again.push(s)
	}
	return unacknowledged, unread
}
