// Package target connects to a receiver and knows whether it is up.
//
// A [Target] holds a receiver's [Address] and the state that dials and health checks report. [Dial]
// returns an ordinary connection to it. [DialTracked] returns a [Conn], which also reports how many
// of the written bytes the peer's kernel has acknowledged and how many its application has probably
// read.
//
// The contract of a Conn:
//   - [Progress].Acked never counts a byte that the peer's kernel did not acknowledge, and with TLS
//     counts whole records only. Over TCP it is exact to the byte, also after a reset.
//   - Progress.Read is certain over a Unix socket, and while Progress.Exact is true: then the
//     kernel tells of a peer on this host. Otherwise it is an estimate from the peer's receive
//     window, a safety distance behind Acked; Options.Margin, Options.Retain and Progress.Hidden
//     bound its error.
//   - Other systems than Linux report nothing: Progress.NoCounts is then true.
//   - A Conn keeps no copy of what it has written and never sends anything twice. The caller keeps
//     what may have to be sent again, and decides when to give the connection up.
//   - The caller that dialled a Conn owns it and must Close or Abort it. One goroutine at a
//     time writes; Progress, Abort and Close are safe for concurrent use.
package target

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
)

// The states of a target. [Target.Status] never returns StateDraining or StateDrained: they belong
// to the packages that distribute lines and connections, which may decide to give a target none.
const (
	StateUnknown  = "unknown" // neither known to be up nor known to be down
	StateUp       = "up"
	StateDown     = "down"     // the last dials or the last checks failed; older connections may live on
	StateDraining = "draining" // gets nothing new and is finishing what it has
	StateDrained  = "drained"  // gets nothing new and has nothing left
)

// Status is a snapshot of a target's state.
type Status struct {
	State       string    // StateUnknown, StateUp or StateDown
	Since       time.Time // when State began
	LastError   string    // of a dial, a check or a connection; kept after a recovery; empty: there was none
	LastErrorAt time.Time
}

// Target is one receiver's address with its state: whether it is down, and how many of its
// connections make progress. All methods but SetFall are safe for concurrent use.
//
// Two kinds of evidence mark a target down. Dials are the passive one: enough failures in a row
// mark it down, and the next success marks it up. Active checks, where configured, are the stronger
// one: their result holds until another check changes it.
type Target struct {
	Address Address // read-only

	logger      *slog.Logger
	fall        int           // failed dials in a row that mark it down; 0 means 1
	failed      chan struct{} // see Failed
	dialErrors  atomic.Uint64
	turns       atomic.Uint32 // see NextDial
	connections atomic.Int64
	stuck       atomic.Int64 // connections that have something to deliver and make no progress
	freedAt     atomic.Int64 // when stuck last fell to 0, Unix nanoseconds
	dialledAt   atomic.Int64 // when a dial last succeeded, Unix nanoseconds
	passedAt    atomic.Int64 // when checks last found the target up, Unix nanoseconds

	mu           sync.Mutex       // guards the fields below
	known        bool             // the target has been up or down at least once
	downByDials  bool             // the last dials failed
	downByChecks bool             // the last checks failed
	failedInRow  int              // failed dials since the last successful one
	downSince    time.Time        // zero while neither dials nor checks mark it down
	attempts     int              // failed dials since downSince and those in a row before it
	checks       int              // failed checks since downSince
	changes      loglimit.Limiter // of "target down" and "target up again"
	reminders    loglimit.Limiter // of "target still down"
	since        time.Time        // when the present state began
	lastErr      error
	lastErrAt    time.Time
}

// New returns a target in StateUnknown. A nil logger discards.
func New(a Address, logger *slog.Logger) *Target {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Target{
		Address: a,
		logger:  logger.With("target", a.String()),
		failed:  make(chan struct{}, 1),
		since:   time.Now(),
		changes: loglimit.Limiter{Burst: changesBurst},
	}
}

// changesBurst is how many changes of state are logged at once in half a minute; the others are
// logged in sum. A target that accepts and resets in a loop changes dozens of times a second.
const changesBurst = 8

// FlushLog logs what the log has held back to report it in sum. It is for the end of the target.
func (t *Target) FlushLog() { t.changes.Flush() }

// String returns the target's name in logs and metrics.
func (t *Target) String() string { return t.Address.String() }

// NextDial returns the address for the next dial. If its host is a name with several addresses,
// each dial begins with another one.
func (t *Target) NextDial() Address {
	a := t.Address
	if a.Names() {
		a.Turn = max(1, t.turns.Add(1))
	}
	return a
}

// SetFall sets how many dials in a row must fail to mark the target down; the default is 1. It must
// be called before any other use.
func (t *Target) SetFall(n int) { t.fall = n }

// DialSucceeded reports a successful dial. It marks the target up unless checks mark it down, and
// logs a change of state.
func (t *Target) DialSucceeded() {
	t.dialledAt.Store(time.Now().UnixNano())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failedInRow, t.downByDials = 0, false
	t.riseLocked()
}

// DialFailed reports a failed dial and its error. A change of state is logged at once; while the
// target stays down, one reminder in 30 s counts the failures.
func (t *Target) DialFailed(err error) {
	t.dialErrors.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
	t.failedInRow++
	t.attempts++
	if t.failedInRow >= t.fall && !t.downByDials {
		t.downByDials = true
		t.signalFailedLocked()
	}
	t.fallLocked(err)
}

// DialHindered reports a dial that failed for a lack of resources on this machine (IsLocalError):
// it counts as a failed dial, but not against the target.
func (t *Target) DialHindered(err error) {
	t.dialErrors.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
}

// signalFailedLocked wakes the receiver of Failed, unless checks have marked the target down
// already.
func (t *Target) signalFailedLocked() {
	if t.downByChecks {
		return
	}
	select {
	case t.failed <- struct{}{}:
	default:
	}
}

// Failed returns a channel that receives a value when dials, and no check, mark the target down. It
// buffers one value, is never closed, and is for one receiver. A value may be older than the
// target's recovery.
func (t *Target) Failed() <-chan struct{} { return t.failed }

// CheckedUp reports that active checks find the target up. It overrides earlier failed dials and
// may be repeated.
func (t *Target) CheckedUp() {
	t.passedAt.Store(time.Now().UnixNano())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failedInRow, t.downByDials, t.downByChecks = 0, false, false
	t.riseLocked()
}

// CheckedDown reports that active checks find the target down, because of err, until the next
// CheckedUp. It may be repeated for each further failed check.
func (t *Target) CheckedDown(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
	t.downByChecks = true
	t.checks++
	t.fallLocked(err)
}

// DialledSince reports whether a dial has succeeded after the time given.
func (t *Target) DialledSince(then time.Time) bool { return t.dialledAt.Load() > then.UnixNano() }

// PassedSince reports whether checks have found the target up after the time given.
func (t *Target) PassedSince(then time.Time) bool { return t.passedAt.Load() > then.UnixNano() }

// ConnectionFailed records why a connection has failed, for Status. It does not mark the target
// down: the next dial decides that.
func (t *Target) ConnectionFailed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
}

func (t *Target) noteLocked(err error) { t.lastErr, t.lastErrAt = err, time.Now() }

// riseLocked marks the target up unless checks mark it down, and logs the change, if it is one.
func (t *Target) riseLocked() {
	if t.downByChecks {
		return
	}
	switch now := time.Now(); {
	case !t.downSince.IsZero():
		t.since = now
		t.changes.Log(t.logger, slog.LevelInfo, "target up again",
			t.withCountsLocked(slog.Duration("down_for", now.Sub(t.downSince).Round(time.Millisecond)))...)
	case !t.known:
		t.since = now
		t.logger.Info("target up")
	}
	t.known, t.downSince, t.attempts, t.checks = true, time.Time{}, 0, 0
}

// fallLocked logs a target that is down: the change at once, then reminders.
func (t *Target) fallLocked(err error) {
	if !t.downByDials && !t.downByChecks {
		return
	}
	now := time.Now()
	t.known = true
	switch {
	case t.downSince.IsZero():
		t.since, t.downSince = now, now
		t.reminders.Reset()
		t.reminders.Allow()
		t.changes.Warn(t.logger, "target down", slog.Any("err", err))
	default:
		if _, ok := t.reminders.Allow(); !ok {
			return
		}
		downFor := now.Sub(t.downSince).Round(time.Second)
		t.logger.LogAttrs(context.Background(), slog.LevelWarn, "target still down",
			t.withCountsLocked(slog.Any("err", err), slog.Duration("down_for", downFor))...)
	}
}

// withCountsLocked adds what has failed since the target is down.
func (t *Target) withCountsLocked(attrs ...slog.Attr) []slog.Attr {
	attrs = append(attrs, slog.Int("failed_dials", t.attempts))
	if t.checks > 0 {
		attrs = append(attrs, slog.Int("failed_checks", t.checks))
	}
	return attrs
}

// DialErrors returns how many dials have failed.
func (t *Target) DialErrors() uint64 { return t.dialErrors.Load() }

// Down reports whether dials or checks mark the target down.
func (t *Target) Down() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.downByDials || t.downByChecks
}

// Status returns the present state and the last error.
func (t *Target) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{State: StateUnknown, Since: t.since, LastErrorAt: t.lastErrAt}
	switch {
	case t.downByDials || t.downByChecks:
		s.State = StateDown
	case t.known:
		s.State = StateUp
	}
	if t.lastErr != nil {
		s.LastError = t.lastErr.Error()
	}
	return s
}

// Unhealthy reports whether active checks mark the target down. An unhealthy target must not be
// used even when all others are down. A target that is down but not unhealthy has only failed dials
// against it.
func (t *Target) Unhealthy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.downByChecks
}

// Joined counts a connection that comes into use.
func (t *Target) Joined() { t.connections.Add(1) }

// Left counts a connection that goes out of use.
func (t *Target) Left() { t.connections.Add(-1) }

// Connections returns how many connections are in use: those that Joined, less those that Left.
func (t *Target) Connections() int { return int(t.connections.Load()) }

// Stuck adds n, which may be negative, to the number of connections that have something to deliver
// and make no progress.
func (t *Target) Stuck(n int) {
	if t.stuck.Add(int64(n)) == 0 {
		t.freedAt.Store(time.Now().UnixNano())
	}
}

// Confirming reports whether the target has connections and none of them has been stuck for the
// time given. A target that has only just begun to read again does not prove that another one
// hangs: the other may begin at the same moment.
func (t *Target) Confirming(since time.Duration) bool {
	return t.Connections() > 0 && t.stuck.Load() == 0 && time.Since(time.Unix(0, t.freedAt.Load())) >= since
}

// Set is the list of targets to choose from, in the order of the configuration. A Set that several
// goroutines use is never changed: adding or removing a target makes a new Set.
type Set []*Target

// Other returns a random target other than the given one, which may be nil. It prefers targets that
// confirm, never returns one that is down, and returns nil if all others are down. Randomness comes
// from intN, as rand.IntN.
func (s Set) Other(than *Target, intN func(int) int) *Target {
	if t := s.OtherConfirming(than, 0, intN); t != nil {
		return t
	}
	return s.pick(than, intN, func(*Target) bool { return true })
}

// OtherConfirming is like Other, but returns nil if no other target has been confirming for the
// time given.
func (s Set) OtherConfirming(than *Target, since time.Duration, intN func(int) int) *Target {
	return s.pick(than, intN, func(t *Target) bool { return t.Confirming(since) })
}

// OthersStalled reports whether no target other than the given one is confirming, and one of them
// or more is stuck.
func (s Set) OthersStalled(than *Target) bool {
	stuck := false
	for _, t := range s {
		switch {
		case t == than:
		case t.stuck.Load() > 0:
			stuck = true
		case t.Connections() > 0 && !t.Down():
			return false
		}
	}
	return stuck
}

// pick makes a uniform random choice in one pass (reservoir sampling).
func (s Set) pick(than *Target, intN func(int) int, suits func(*Target) bool) *Target {
	var chosen *Target
	n := 0
	for _, t := range s {
		if t == than || t.Down() || !suits(t) {
			continue
		}
		if n++; intN(n) == 0 {
			chosen = t
		}
	}
	return chosen
}
