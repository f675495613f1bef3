package workerpool

import (
	"time"

	"linesplit/internal/delivery"
	"linesplit/internal/framing"
	"linesplit/target"
)

// Tuning is the part of Options that [Pool.Tune] can change. Zero values mean the documented
// defaults.
type Tuning struct {
	// StallTimeout is the time without an acknowledgement after which a window moves to a
	// target that confirms; 0 means 30 s.
	StallTimeout time.Duration
	// DeadTimeout is the time of unanswered retransmissions or probes after which a connection
	// has failed; 0 means 30 s.
	DeadTimeout time.Duration
	// FailbackInterval is the longest time between a displaced worker's dials of its home; 0 means
	// 5 min.
	FailbackInterval time.Duration
	// FailbackProbe is the time after which one displaced worker dials its home to find out whether
	// it is back, and the time between such dials; 0 means 5 s.
	FailbackProbe time.Duration
	// ResendMargin is the least number of bytes retained behind the acknowledged one; 0 means none.
	ResendMargin int64
	// ResendMax is the most bytes retained per connection; 0 means 8 MiB. It is less where many
	// connections share the memory.
	ResendMax int64
	// ResendAge is the time after which an acknowledged line counts as read if nothing seems
	// unread; 0 means 10 s.
	ResendAge time.Duration
	// StayHome keeps lines with keys from going to another target while theirs is down or hangs.
	StayHome bool
	// PeerLookup asks the kernel what targets on this host have not read; see
	// target.Options.PeerLookup.
	PeerLookup bool
	// Embedded is the rule for lines that contain the delimiter of their target's framing; the
	// default is framing.Escape.
	Embedded framing.Embedded

	// DialOptions gives TLS and Timeout; its other fields are set from the settings above.
	DialOptions target.Options
}

func (t *Tuning) setDefaults() {
	setDefault(&t.StallTimeout, 30*time.Second)
	setDefault(&t.DeadTimeout, 30*time.Second)
	setDefault(&t.FailbackInterval, 5*time.Minute)
	setDefault(&t.FailbackProbe, 5*time.Second)
	setDefault(&t.ResendMax, 8<<20)
	setDefault(&t.ResendAge, 10*time.Second)
}

// settings are the tuning in force, with its defaults, and what follows from it and from the number
// of workers. They are replaced as a whole.
type settings struct {
	Tuning
	windowMax int64
	dial      Dial
}

// Tune changes how lines are delivered, all settings at once, and interrupts nothing. Durations
// count from when they began: a stall that has already lasted longer than a new stall timeout is
// over it. An open connection keeps the values that it was dialled with: DialOptions,
// ResendMargin, PeerLookup, how much its target.Conn assumes to be retained (ResendMax), and the
// time after which the kernel gives it up when idle (DeadTimeout). ResendMax as a bound on memory
// applies to it at once. With Options.Dial set, DialOptions has no effect.
func (p *Pool) Tune(t Tuning) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tuneLocked(t)
}

func (p *Pool) tuneLocked(t Tuning) {
	p.o.Tuning = t
	p.updateSettingsLocked()
	p.nudgeLocked(time.Now())
}

// updateSettingsLocked derives the settings from the tuning and the number of workers.
func (p *Pool) updateSettingsLocked() {
	before := p.settings.Load()
	s := &settings{Tuning: p.o.Tuning}
	s.setDefaults()
	s.windowMax = windowMax(s.ResendMax, p.memory(), p.wantedLocked())
	s.dial = p.o.Dial
	if s.dial == nil {
		s.dial = dialWith(s.dialOptions(), p.o.Acknowledged)
	}
	p.settings.Store(s)
	p.shared.SetSettings(&delivery.Settings{
		StallTimeout:     s.StallTimeout,
		DeadTimeout:      s.DeadTimeout,
		FailbackInterval: s.FailbackInterval,
		FailbackProbe:    s.FailbackProbe,
		ResendAge:        s.ResendAge,
		WindowMax:        s.windowMax,
		StayHome:         s.StayHome,
		Embedded:         s.Embedded,
	})
	if p.routes != nil {
		p.routes.SetLimit(p.laneLimitLocked())
	}
	if p.launch != nil && s.windowMax < before.windowMax {
		p.warnOfSharedMemoryLocked()
	}
}

// memory returns the bytes of memory for lines that the pool can count on.
func (p *Pool) memory() int64 {
	part := p.buffers.Limit() / int64(max(1, p.o.Pools))
	if p.o.Budget > 0 {
		return min(part, p.o.Budget)
	}
	return part
}

// windowMax shares half of the memory among the workers. Windows that filled all of it would
// leave no buffer to read into, and then only time would confirm them.
func windowMax(resendMax, memory int64, workers int) int64 {
	return min(resendMax, memory/2/int64(max(1, workers)))
}

func (s *settings) dialOptions() target.Options {
	d := s.DialOptions
	d.DeadTimeout = s.DeadTimeout
	d.Margin = s.ResendMargin
	d.Retain = s.windowMax
	d.PeerLookup = s.PeerLookup
	return d
}

func (p *Pool) warnOfSharedMemoryLocked() {
	if s := p.settings.Load(); s.windowMax < s.ResendMax {
		p.o.Logger.Warn("memory is shared by many connections: each retains less than -resend-max",
			"retained_bytes", s.windowMax, "resend_max", s.ResendMax)
	}
}
