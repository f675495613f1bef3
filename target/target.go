package target

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// reminderPeriod is how often a target that stays down is logged again.
const reminderPeriod = 30 * time.Second

// Target is one receiver's address with its state: whether it is known to be down, and how its connections fare. All
// methods are safe for concurrent use.
type Target struct {
	Address Address // not to be changed

	logger      *slog.Logger
	dialErrors  atomic.Uint64
	connections atomic.Int64
	stuck       atomic.Int64
	freedAt     atomic.Int64 // when stuck last fell to 0, Unix nanoseconds

	mu           sync.Mutex // guards what follows
	known        bool       // a dial has ended, well or not
	downSince    time.Time  // zero while up
	attempts     int        // failed dials since downSince
	nextReminder time.Time
}

// New returns a target of which nothing is known yet. A nil logger discards.
func New(a Address, logger *slog.Logger) *Target {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Target{Address: a, logger: logger.With("target", a.String())}
}

// String returns the target's name in logs and metrics.
func (t *Target) String() string { return t.Address.String() }

// DialSucceeded and DialFailed tell the outcome of a dial. A change of state is logged at once, a repeated failure is counted
// and summed up every 30 s.
func (t *Target) DialSucceeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.downSince.IsZero():
		t.logger.Info("target up again", "down_for", time.Since(t.downSince).Round(time.Millisecond), "failed_dials", t.attempts)
	case !t.known:
		t.logger.Info("target up")
	}
	t.known, t.downSince, t.attempts = true, time.Time{}, 0
}

// DialFailed is described at DialSucceeded.
func (t *Target) DialFailed(err error) {
	t.dialErrors.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.known = true
	t.attempts++
	switch {
	case t.downSince.IsZero():
		t.downSince, t.nextReminder = now, now.Add(reminderPeriod)
		t.logger.Warn("target down", "err", err)
	case !now.Before(t.nextReminder):
		t.nextReminder = now.Add(reminderPeriod)
		t.logger.Warn("target still down", "err", err, "down_for", now.Sub(t.downSince).Round(time.Second), "failed_dials", t.attempts)
	}
}

// DialErrors returns how many dials have failed.
func (t *Target) DialErrors() uint64 { return t.dialErrors.Load() }

// Down says that the last dial failed.
func (t *Target) Down() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.downSince.IsZero()
}

// Joined and Left count the connections that are in use.
func (t *Target) Joined() { t.connections.Add(1) }

// Left is described at Joined.
func (t *Target) Left() { t.connections.Add(-1) }

// Connections returns how many connections are in use.
func (t *Target) Connections() int { return int(t.connections.Load()) }

// Stuck adds n to the count of connections that make no progress though they have something to deliver.
func (t *Target) Stuck(n int) {
	if t.stuck.Add(int64(n)) == 0 {
		t.freedAt.Store(time.Now().UnixNano())
	}
}

// Confirming says that the target has connections and that all of them have made progress for the time given. A target that has
// just begun to take again is no proof that another one does not: that one may begin in the same moment.
func (t *Target) Confirming(since time.Duration) bool {
	return t.Connections() > 0 && t.stuck.Load() == 0 && time.Since(time.Unix(0, t.freedAt.Load())) >= since
}

// Set is all targets, in the order of the configuration.
type Set []*Target

// Other returns a random target other than the given one that is not known to be down, one that confirms where there is one;
// nil if all others are down.
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
