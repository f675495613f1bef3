package traffic

import (
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Tuning holds the settings that may change while a relay runs. The zero value of each field means the default that it names.
type Tuning struct {
	// DialOptions say how to dial. Their Timeout bounds one attempt, and DialBudget bounds it too.
	DialOptions target.Options
	// DialBudget is for how long a client's targets are tried, one after the other: 5 s.
	DialBudget time.Duration
	// LingerTimeout is for how long nothing may come from one side after the other has ended: 1 min.
	LingerTimeout time.Duration
	// IdleTimeout is for how long nothing may come from either side: 0 is for ever. It may take an eighth more until it is noticed.
	IdleTimeout time.Duration
	// QueueTimeout is how long a client waits where all targets are full: 5 s.
	QueueTimeout time.Duration
	// Drain is how long connections may go on after the soft end. 0 resets them at once.
	Drain time.Duration
	// MaxConnections is how many clients there may be at once, and MaxConnectionsPerClient how many of them from one IP address: 0
	// for any number.
	MaxConnections, MaxConnectionsPerClient int
	// RatePerClient is how many connections per second one IP address may make, on average; a second's worth at once. 0 for any number.
	RatePerClient float64
	// ResetOnDown resets the connections of a target that goes down. Without it they are left alone.
	ResetOnDown bool
	// UDPIdleTimeout is after how long without datagrams a session ends: 30 s.
	UDPIdleTimeout time.Duration
	// UDPSessions is how many sessions there may be at once: 4096.
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

// Settings holds the Tuning that holds now.
type Settings struct{ tuning atomic.Pointer[Tuning] }

// Store replaces all settings, with defaults filled in.
func (s *Settings) Store(t Tuning) {
	t = t.withDefaults()
	s.tuning.Store(&t)
}

// Load returns the settings that hold now; nobody changes them.
func (s *Settings) Load() *Tuning { return s.tuning.Load() }
