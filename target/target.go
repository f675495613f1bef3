package target

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
)

// The states of a target. StateDraining and StateDrained are words for those who share out work:
// they say that a target gets none by their own decision, and [Target.Status] never names them.
const (
	StateUnknown  = "unknown" // no dial and no check has told anything yet
	StateUp       = "up"
	StateDown     = "down"     // the last dials failed, or the checks do; connections from before may live on
	StateDraining = "draining" // gets nothing new, and what it has is waited for
	StateDrained  = "drained"  // gets nothing new, and has nothing
)

// Status is a snapshot of how a target stands.
type Status struct {
	State       string // StateUnknown, StateUp or StateDown
	Since       time.Time
	LastError   string // of a dial, a check or a connection, whatever came after it; empty: there was none
	LastErrorAt time.Time
}

// Target is one receiver's address with its state: whether it is known to be down, and how its
// connections fare. All methods are safe for concurrent use.
//
// There are two kinds of evidence that it is down. Dials are the passive one: enough failures in
// a row, and the next success ends it. Active checks, where there are any, are the stronger one:
// what they say holds until they say otherwise.
type Target struct {
	Address Address // not to be changed

	logger      *slog.Logger
	fall        int // failed dials in a row that mark it down; 0 is 1
	failed      chan struct{}
	dialErrors  atomic.Uint64
	connections atomic.Int64
	stuck       atomic.Int64
	freedAt     atomic.Int64 // when stuck last fell to 0, Unix nanoseconds

	mu        sync.Mutex       // guards what follows
	known     bool             // a dial or a check has ended, well or not
	byDials   bool             // down: the last dials failed
	byChecks  bool             // down: a check says so
	row       int              // failed dials since the last that succeeded
	downSince time.Time        // zero while up by both
	attempts  int              // failed dials since downSince, and those in a row that led to it
	checks    int              // failed checks since downSince
	reminders loglimit.Limiter // "target still down", once in 30 s
	since     time.Time        // the present state began
	lastErr   error
	lastErrAt time.Time
}

// New returns a target of which nothing is known yet. A nil logger discards.
func New(a Address, logger *slog.Logger) *Target {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Target{Address: a, logger: logger.With("target", a.String()), failed: make(chan struct{}, 1), since: time.Now()}
}

// String returns the target's name in logs and metrics.
func (t *Target) String() string { return t.Address.String() }

// SetFall says how many dials in a row must fail before the target counts as down; it is 1 at
// first. To be called before any use.
func (t *Target) SetFall(n int) { t.fall = n }

// DialSucceeded and DialFailed tell the outcome of a dial. A change of state is logged at once, a
// repeated failure is counted and summed up every 30 s.
func (t *Target) DialSucceeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row, t.byDials = 0, false
	t.riseLocked()
}

// DialFailed is described at DialSucceeded.
func (t *Target) DialFailed(err error) {
	t.dialErrors.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
	t.row++
	t.attempts++
	if t.row >= t.fall && !t.byDials {
		t.byDials = true
		t.announceLocked()
	}
	t.fallLocked(err)
}

// announceLocked wakes whoever tries targets that nothing but dials has marked down.
func (t *Target) announceLocked() {
	if t.byChecks {
		return
	}
	select {
	case t.failed <- struct{}{}:
	default:
	}
}

// Failed returns a channel that receives when dials, and no check, have marked the target down.
// It holds one such message, is never closed, and is for one receiver. A message may be older
// than the target's recovery.
func (t *Target) Failed() <-chan struct{} { return t.failed }

// CheckedUp says that by the active checks the target is up, whatever dials said before. It may
// be repeated.
func (t *Target) CheckedUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row, t.byDials, t.byChecks = 0, false, false
	t.riseLocked()
}

// CheckedDown says that by the active checks the target is down, because of err. Only CheckedUp
// ends that. Each further check that fails may be told in the same way.
func (t *Target) CheckedDown(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
	t.byChecks = true
	t.checks++
	t.fallLocked(err)
}

// ConnectionFailed tells why a connection has failed. That is for people to read: it does not
// make the target count as down, the next dial will tell.
func (t *Target) ConnectionFailed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(err)
}

func (t *Target) noteLocked(err error) { t.lastErr, t.lastErrAt = err, time.Now() }

// riseLocked logs that the target is up, if it is and was not, or was not known to be.
func (t *Target) riseLocked() {
	if t.byChecks {
		return
	}
	switch now := time.Now(); {
	case !t.downSince.IsZero():
		t.since = now
		log := t.logger.With("down_for", now.Sub(t.downSince).Round(time.Millisecond), "failed_dials", t.attempts)
		t.withChecksLocked(log).Info("target up again")
	case !t.known:
		t.since = now
		t.logger.Info("target up")
	}
	t.known, t.downSince, t.attempts, t.checks = true, time.Time{}, 0, 0
}

// fallLocked logs that the target is down, if it is, at once and then as a reminder.
func (t *Target) fallLocked(err error) {
	if !t.byDials && !t.byChecks {
		return
	}
	now := time.Now()
	t.known = true
	switch {
	case t.downSince.IsZero():
		t.since, t.downSince = now, now
		t.reminders.Reset()
		t.reminders.Allow()
		t.logger.Warn("target down", "err", err)
	default:
		if _, ok := t.reminders.Allow(); !ok {
			return
		}
		log := t.logger.With("err", err, "down_for", now.Sub(t.downSince).Round(time.Second), "failed_dials", t.attempts)
		t.withChecksLocked(log).Warn("target still down")
	}
}

func (t *Target) withChecksLocked(log *slog.Logger) *slog.Logger {
	if t.checks == 0 {
		return log
	}
	return log.With("failed_checks", t.checks)
}

// DialErrors returns how many dials have failed.
func (t *Target) DialErrors() uint64 { return t.dialErrors.Load() }

// Down says that the last dials failed, or that the checks do.
func (t *Target) Down() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byDials || t.byChecks
}

// Status returns how the target stands now.
func (t *Target) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{State: StateUnknown, Since: t.since, LastErrorAt: t.lastErrAt}
	switch {
	case t.byDials || t.byChecks:
		s.State = StateDown
	case t.known:
		s.State = StateUp
	}
	if t.lastErr != nil {
		s.LastError = t.lastErr.Error()
	}
	return s
}

// Unhealthy says that the checks have found the target down: it is not to be used even as the
// last one. One that is down and not ejected has nothing but failed dials against it.
func (t *Target) Unhealthy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byChecks
}

// Joined and Left count the connections that are in use.
func (t *Target) Joined() { t.connections.Add(1) }

// Left is described at Joined.
func (t *Target) Left() { t.connections.Add(-1) }

// Connections returns how many connections are in use.
func (t *Target) Connections() int { return int(t.connections.Load()) }

// Stuck adds n to the count of connections that make no progress though they have something to
// deliver.
func (t *Target) Stuck(n int) {
	if t.stuck.Add(int64(n)) == 0 {
		t.freedAt.Store(time.Now().UnixNano())
	}
}

// Confirming says that the target has connections and that all of them have made progress for the
// time given. A target that has just begun to take again is no proof that another one does not:
// that one may begin in the same moment.
func (t *Target) Confirming(since time.Duration) bool {
	return t.Connections() > 0 && t.stuck.Load() == 0 && time.Since(time.Unix(0, t.freedAt.Load())) >= since
}

// Set is targets to choose from, in the order of the configuration. One that is in use by several
// goroutines is not changed: whoever adds a target or takes one away makes another Set.
type Set []*Target

// Other returns a random target other than the given one that is not known to be down, one that
// confirms where there is one; nil if all others are down.
func (s Set) Other(than *Target) *Target {
	if t := s.OtherConfirming(than, 0); t != nil {
		return t
	}
	return s.pick(than, func(*Target) bool { return true })
}

// OtherConfirming is Other for a caller that would rather have none than one that does not confirm.
func (s Set) OtherConfirming(than *Target, since time.Duration) *Target {
	return s.pick(than, func(t *Target) bool { return t.Confirming(since) })
}

// pick chooses with equal chances in one pass.
func (s Set) pick(than *Target, suits func(*Target) bool) *Target {
	var chosen *Target
	n := 0
	for _, t := range s {
		if t == than || t.Down() || !suits(t) {
			continue
		}
		if n++; rand.IntN(n) == 0 {
			chosen = t
		}
	}
	return chosen
}
