// Package delivery decides what happens to lines on their way to targets: when a line counts as
// delivered, when it is sent again, and to which target. docs/delivery.md states the rules; this
// package is where they are.
//
// A [Machine] holds the outbound connections of one worker: the present one, those that it is
// leaving, and the dial of the next one. It has no goroutine, socket, channel or clock. A driver
// tells it what has happened, and does what it asks for:
//
//	events   Begin, Take, EndInput, Wrote, Blocked, Check, Dialled, Tick, Due, Stop
//	actions  the bytes of Writing, a time from Wake, Driver.Dial, the methods of Conn
//
// The contract between them:
//   - One goroutine at a time calls a Machine. Machines share a [Shared], which is safe for
//     concurrent use.
//   - Every event carries the time, which never goes back.
//   - A buffer that Take is given belongs to the machine, which puts it back into the pool once its
//     lines are confirmed. Take may be called only while Wants reports true.
//   - Take may leave nothing to write: lines that the target's framing cannot hold are dropped.
//   - While Writing returns bytes, the driver writes them to that connection and to no other, in
//     order, and reports with Wrote how many the connection took. Until a segment is written in
//     full, the machine neither moves to another connection nor ends this one in order, so that no
//     line is torn. A driver whose write waits calls Blocked at least once per target.Tick.
//   - Tick is called once per target.Tick, Due when the time of Wake has come, and Check when a
//     connection may have ended, or CaughtUp has to be up to date. While Quiet reports true, a Tick
//     once per QuietTick suffices, and one at once when the settings change, or which backends take
//     lines, or SetWanted was called.
//   - The driver makes one dial at a time, the one that Dial asks for, and reports its end by
//     Dialled, never from within Dial.
//   - The machine owns a connection from Dialled on, and closes or aborts it.
//   - When Done reports true, or Rests does and the driver wants no more, the driver calls Abort,
//     after which the machine holds no connection.
//
// Where to find a rule:
//
//	what confirms a line                        confirmable in outconn.go, release in check.go
//	when a connection is looked at              rest.go for ticks, Wrote in write.go for writes
//	how much is retained, and probes            enforceLimit in check.go, full in full.go
//	stalls, silent peers                        verdict and stallVerdict in check.go
//	what is sent again after a failure          requeue in failover.go
//	when backups serve                          backup.go
//	which target is dialled next                candidate in dial.go
//	what is rewritten for the target's framing  reframe.go
//	a peer's FIN, our FIN, the end in order     leave.go; judgeFIN in outconn.go for half-closers
//	the way home                                failback.go
//	lines that keep their order                 order.go
//	another connection in place of an old one   renew.go
//	unconfirmed lines at a stop                 leftovers.go
package delivery

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

const (
	// lookBytes is the number of bytes after which a machine asks its connection for its progress:
	// seldom enough to cost little, often enough for small windows. A machine with a small window
	// looks sooner (lookAfter), and one whose window has grown by twice as much memory. Single
	// lines are merged and take little of that: ticks look at them.
	lookBytes = 256 << 10
	// observeEvery is the number of buffers that one sample of the confirmation histogram
	// stands for.
	observeEvery = 16
	// MaxFINWait is the time that a machine waits, after the peer's FIN, for signs that the peer
	// has read everything before it half-closes. Keepalives bring such signs within 3 s.
	// linesplit itself goes on reading for 4 s after its own FIN (half of -drain-timeout).
	MaxFINWait = 3500 * time.Millisecond
	// MaxLeaving is the number of connections that a machine has left and still waits for. With
	// more than that, it gives up the oldest.
	MaxLeaving = 8
)

// These are a machine's reasons to give up a connection that has not failed by itself.
var (
	errSilent         = errors.New("peer answers neither retransmissions nor probes")
	errStalled        = errors.New("peer has taken nothing for the stall timeout; another target takes its lines")
	errUnproven       = errors.New("target has closed, perhaps without reading everything")
	errTooManyLeaving = errors.New("too many connections are waiting for their last confirmation")
	errDrainStalled   = errors.New("target is being drained and makes no progress")
	errStopped        = errors.New("stopped")
)

// Driver performs what a Machine cannot do without I/O.
type Driver interface {
	// Dial starts an attempt to connect to b. The driver reports its end by Machine.Dialled.
	Dial(b *Backend)
}

// Machine delivers the lines of one worker to one connection at a time.
//
// A failover takes these steps: checkConns, or Wrote, finds that the connection has failed and
// calls fail; requeue moves the lines that may not have been read to the retry queue; ensureDial
// dials the next candidate; Dialled takes the result, and switchTo makes it the present connection;
// resend then writes the retry queue before anything new.
//
// A FIN comes first where a target has read everything: onFIN then dials a replacement, and the
// old connection ends in leave.go.
type Machine struct {
	shared *Shared
	driver Driver
	home   *Backend // it belongs here; connected elsewhere, it is displaced
	logger *slog.Logger

	inOrder *atomic.Uint64 // counts confirmed lines of a machine that keeps their order; otherwise nil

	retryQueue  retryQueue // what failed connections left; written before anything new
	out         *outConn   // the present connection; nil while there is none
	lastBackend *Backend   // the backend of the present or last connection
	leaving     []*outConn // half-closed or about to be; their windows wait for confirmation
	dialling    dialling

	writing bool // the newest segment of out's window is being written
	written int  // bytes of it that out has taken

	full      bool      // out must not be written to until the next look
	recheckAt time.Time // when a full window is looked at again
	moved     bool      // the window has moved in the present stall, to a connection that has yet to confirm
	stopped   bool
	ended     bool        // no more input comes
	paused    bool        // home takes no lines now, so the machine takes nothing new
	unwanted  atomic.Bool // see SetWanted

	failbackTried time.Time     // when the machine last moved, or tried to go home
	homeWait      time.Duration // wait before it tries again, whatever the evidence; see noteLeft

	lookAfter      int // bytes between two looks; see lookBytes
	bytesSinceLook int
	sinceSample    int
}

// New returns a machine whose lines belong to home. Its log messages carry the worker's number.
func New(shared *Shared, driver Driver, home *Backend, worker int) *Machine {
	return &Machine{shared: shared, driver: driver, home: home, logger: shared.logger.With("worker", worker),
		dialling: newDialling()}
}

// Begin is the first event.
func (m *Machine) Begin(now time.Time) {
	m.applyState(now)
	m.advance(now)
}

// advance does what follows from an event: it retires a connection that is no longer needed, dials
// if there is none, and begins to write what failed connections have left.
func (m *Machine) advance(now time.Time) {
	if m.stopped {
		return
	}
	m.takeArrived(now)
	if !m.hasWork() && m.out != nil {
		m.retire(now)
	}
	m.ensureDial(now)
	m.resend(now)
}

// resend begins to write the retry queue, which comes before anything new.
func (m *Machine) resend(now time.Time) {
	for m.writable() && !m.retryQueue.empty() {
		m.beginWrite(m.retryQueue.pop())
	}
}

// hasWork reports whether there are lines to write, or more may come.
func (m *Machine) hasWork() bool {
	return m.writing || !m.ended && !m.paused || !m.retryQueue.empty()
}

// Done reports whether the machine has come to its end: it was stopped, or its input has ended and
// all lines are confirmed.
func (m *Machine) Done() bool { return m.stopped || m.ended && m.Rests() }

// Rests reports whether the machine has neither lines nor connections, and takes no lines now.
func (m *Machine) Rests() bool {
	return !m.hasWork() && m.out == nil && len(m.leaving) == 0
}

// Wants reports whether the machine can write what it is given by Take.
func (m *Machine) Wants() bool { return !m.ended && m.writable() && m.retryQueue.empty() }

// CaughtUp reports whether the machine wants more, and all that it has written has arrived, as of
// its last look. Check looks again.
func (m *Machine) CaughtUp() bool { return m.Wants() && m.out.arrived() == m.out.next }

// Paused reports whether the machine takes no lines: its home takes none or is a backup that rests,
// or the machine is not wanted.
func (m *Machine) Paused() bool { return m.paused }

// SetWanted tells the machine whether it is to take lines at all. One that is not wanted leaves its
// connection in order, as if its home took no lines, and then rests. SetWanted is safe for
// concurrent use; the machine acts on it at the next Tick.
func (m *Machine) SetWanted(v bool) { m.unwanted.Store(!v) }

// Idle reports whether the machine waits for the end of its input, or for lines to be able to write
// them: its driver then finds out whether the input has ended, since Take is not called.
func (m *Machine) Idle() bool {
	return !m.stopped && !m.ended && !m.Wants() && !m.writing && m.retryQueue.empty()
}

// writable reports whether the present connection may be given more.
func (m *Machine) writable() bool {
	return m.out != nil && !m.full && !m.out.ending && !m.out.renewal.begun && !m.writing && !m.behind()
}

// Take gives the machine a buffer to deliver. Wants must be true.
func (m *Machine) Take(b *linebuf.Buffer) { m.beginWrite(m.toSegment(b)) }

// Keep gives the machine a buffer that it does not want yet.
func (m *Machine) Keep(b *linebuf.Buffer, now time.Time) {
	m.retryQueue.push(m.toSegment(b))
	m.advance(now)
}

// toSegment counts a buffer as taken and wraps it.
func (m *Machine) toSegment(b *linebuf.Buffer) segment {
	s := segment{buf: b, lines: b.Lines}
	m.shared.countTaken(s.count())
	return s
}

// EndInput tells that no more lines come.
func (m *Machine) EndInput(now time.Time) {
	m.ended = true
	m.advance(now)
}

// Check looks at all connections. The driver calls it when one of them may have ended.
func (m *Machine) Check(now time.Time) {
	m.checkConns(now)
	m.advance(now)
}

// Tick runs at regular intervals, target.Tick. It must not be called from within a write that
// waits; Blocked takes its place.
func (m *Machine) Tick(now time.Time) {
	if m.writing {
		if err := m.Blocked(now); err != nil {
			m.Wrote(0, err, now)
		}
		return
	}
	m.applyState(now)
	if m.lookDue(now) {
		m.checkConns(now)
		m.countLines()
	}
	m.tryFailback(now)
	m.tryRenew(now)
	m.replaceDraining(now)
	m.advance(now)
}

// Wake returns when the driver is to call Due, or the zero time.
func (m *Machine) Wake() time.Time {
	at := m.dialling.due()
	if m.full && (at.IsZero() || m.recheckAt.Before(at)) {
		at = m.recheckAt
	}
	return at
}

// Due does what Wake announced. It may be called too early, and then does nothing.
func (m *Machine) Due(now time.Time) {
	if m.full && !now.Before(m.recheckAt) {
		m.checkConns(now)
	}
	if at := m.dialling.due(); !at.IsZero() && !now.Before(at) {
		m.redial(now)
	}
	m.advance(now)
}

// Stop ends delivery: nothing is written any more, and what is not confirmed stays counted as
// retained. A write under way ends with the error of Blocked.
func (m *Machine) Stop() { m.stopped = true }

// Abort gives up the connections that are still open. It hands unconfirmed lines over, in the order
// in which they were or would have been written, to the function of Shared.SetKeep. Without one
// they stay counted as retained.
func (m *Machine) Abort(now time.Time) {
	m.stopped = true
	m.endWrite()
	open := m.leaving
	if m.out != nil {
		open = append(open, m.out)
	}
	for _, c := range open {
		m.look(c, now)
		c.countLines(c.unacknowledged())
		c.conn.Abort()
		m.handOverWindow(c, now)
		c.leave()
	}
	m.out, m.leaving = nil, nil
	m.handOverQueue()
	m.dropArrived()
}

// Watched returns the connection whose end the driver is to report by Check: the present one, or
// the one that was left last, if there is no present one or it waits for that; nil if there is
// none. Ticks find the end of the others.
func (m *Machine) Watched() Conn {
	switch {
	case m.out != nil && !m.behind():
		return m.out.conn
	case len(m.leaving) > 0:
		return m.leaving[len(m.leaving)-1].conn
	}
	return nil
}

// countLines updates the counts of sent and acknowledged lines for all connections.
func (m *Machine) countLines() {
	for _, c := range m.leaving {
		c.countLines(c.unacknowledged())
	}
	if c := m.out; c != nil {
		c.countLines(c.unacknowledged())
	}
}

// applyState applies what was decided about the machine's home, about the target of its
// connection, and about the settings. It runs within a blocked write too, so that such a machine
// does not begin anything either. A machine with MaxLeaving connections to wait for stays
// paused, so that draining and resuming a slow target over and over does not pile up
// connections.
func (m *Machine) applyState(now time.Time) {
	m.lookAfter = int(min(lookBytes, m.shared.Settings().WindowMax/4))
	rested := m.paused
	list := m.shared.Backends()
	m.paused = !list.serves(m.home) || m.unwanted.Load() || rested && len(m.leaving) >= MaxLeaving
	if rested && !m.paused {
		m.dialling.reset()
	}
	if c := m.out; c != nil && !list.serves(c.backend) {
		c.markEnding(now)
	}
}
