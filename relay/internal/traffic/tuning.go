package traffic

import (
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Tuning is what of the Options may change while a Relay runs. Each field is what the one of the same name is there, and has the same
// default.
type Tuning struct {
	DialOptions                                                 target.Options
	DialBudget, LingerTimeout, IdleTimeout, QueueTimeout, Drain time.Duration
	MaxConnections, MaxConnectionsPerClient                     int
	RatePerClient                                               float64
	ResetOnDown                                                 bool
	UDPIdleTimeout                                              time.Duration
	UDPSessions                                                 int
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
