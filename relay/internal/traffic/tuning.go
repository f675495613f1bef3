package traffic

import (
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Tuning holds the settings that may change while a relay runs. The zero value of each field means
// its default.
type Tuning struct {
	// DialOptions are the options of each dial. An attempt is limited by their Timeout and by
	// DialBudget, whichever is less.
	DialOptions target.Options
	// DialBudget is the time in which a client's targets are tried one after the other: 5 s.
	DialBudget time.Duration
	// LingerTimeout limits the time without data from one side after the other has ended: 1 min.
	LingerTimeout time.Duration
	// IdleTimeout limits the time without data from either side: 0 for no limit. It is noticed up
	// to an eighth later.
	IdleTimeout time.Duration
	// ClientIdleTimeout and TargetIdleTimeout limit the time in which that side neither sends
	// anything nor takes anything, while none of its bytes wait for the other side: 0 for no limit.
	ClientIdleTimeout, TargetIdleTimeout time.Duration
	// QueueTimeout limits the time that a client waits while all targets are full: 5 s.
	QueueTimeout time.Duration
	// Drain is the time that connections may go on after the soft end. 0 resets them at once.
	Drain time.Duration
	// MaxConnections is the maximum number of clients at once, and MaxConnectionsPerClient the
	// maximum from one IP address: 0 for no limit.
	MaxConnections, MaxConnectionsPerClient int
	// RatePerClient is the maximum average number of connections per second from one IP address,
	// with a burst of one second's worth: 0 for no limit.
	RatePerClient float64
	// ResetOnDown resets the connections of a target that goes down. Otherwise they go on.
	ResetOnDown bool
	// UDPIdleTimeout is the time without datagrams after which a session ends: 30 s.
	UDPIdleTimeout time.Duration
	// UDPSessions is the maximum number of sessions at once: 4096.
	UDPSessions int
}

func (t Tuning) withDefaults() Tuning {
	t.DialBudget = orDefault(t.DialBudget, 5*time.Second)
	t.LingerTimeout = orDefault(t.LingerTimeout, time.Minute)
	t.QueueTimeout = orDefault(t.QueueTimeout, 5*time.Second)
	t.UDPIdleTimeout = orDefault(t.UDPIdleTimeout, 30*time.Second)
	if t.UDPSessions < 1 {
		t.UDPSessions = 4096
	}
	return t
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Settings holds the Tuning in force. Its methods are safe for concurrent use.
type Settings struct{ tuning atomic.Pointer[Tuning] }

// Store replaces all settings, with defaults filled in.
func (s *Settings) Store(t Tuning) {
	t = t.withDefaults()
	s.tuning.Store(&t)
}

// Load returns the settings in force. They are never modified in place.
func (s *Settings) Load() *Tuning { return s.tuning.Load() }
