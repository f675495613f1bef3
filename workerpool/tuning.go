package workerpool

import (
	"time"

	"linesplit/target"
)

// Tuning is the part of Options that [Pool.Tune] can change. Zeros mean the documented default.
type Tuning struct {
	StallTimeout     time.Duration // without acknowledged progress, until a window moves to a target that confirms; 30 s
	DeadTimeout      time.Duration // of unanswered retransmissions or probes, until a connection has failed; 30 s
	FailbackInterval time.Duration // between a displaced worker's attempts to go home; 5 m
	ResendMargin     int64         // bytes retained behind the acknowledged one at least; 0 is none
	ResendMax        int64         // bytes retained per connection at most; 8 MiB, less where the memory is shared by many
	ResendAge        time.Duration // after which an acknowledged line counts as read, if nothing seems unread; 10 s

	DialOptions target.Options // TLS and Timeout are used; the rest follows from the fields above
}

func (t *Tuning) setDefaults() {
	setDefault(&t.StallTimeout, 30*time.Second)
	setDefault(&t.DeadTimeout, 30*time.Second)
	setDefault(&t.FailbackInterval, 5*time.Minute)
	setDefault(&t.ResendMax, 8<<20)
	setDefault(&t.ResendAge, 10*time.Second)
}

// settings are what workers go by. They are replaced as a whole, so that workers look at them without a lock.
type settings struct {
	Tuning
	stuckAfter time.Duration
	windowMax  int64
	dial       Dial
}

// Tune changes how lines are delivered, all at once, and interrupts nothing. What is measured in time counts from when it began:
// a stall that has lasted for longer than a new stall timeout is over it. A connection that is open keeps what it was dialled
// with: DialOptions, ResendMargin, how much it retains at most in the eyes of its target (ResendMax), and after how long without
// an answer the kernel gives it up when idle (DeadTimeout). ResendMax as a bound on memory counts for it at once. With
// Options.Dial, DialOptions mean nothing.
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

// adjustLocked makes settings of the tuning and of how many workers there are.
func (p *Pool) updateSettingsLocked() {
	before := p.settings.Load()
	s := &settings{Tuning: p.o.Tuning}
	s.setDefaults()
	s.stuckAfter = min(stuckAfter, s.StallTimeout/2)
	s.windowMax = windowMax(s.ResendMax, p.buffers.Limit(), len(p.backends.Load().all)*p.o.Connections)
	s.dial = p.o.Dial
	if s.dial == nil {
		s.dial = dialWith(s.dialOptions())
	}
	p.settings.Store(s)
	if p.launch != nil && s.windowMax < before.windowMax {
		p.warnOfSharedMemoryLocked()
	}
}

// windowMax shares half of the memory among the workers: windows that filled all of it would leave nothing to read into, and
// nothing would confirm them but time.
func windowMax(resendMax, memory int64, workers int) int64 {
	return min(resendMax, memory/2/int64(max(1, workers)))
}

func (s *settings) dialOptions() target.Options {
	d := s.DialOptions
	d.DeadTimeout = s.DeadTimeout
	d.Margin = s.ResendMargin
	d.Retain = s.windowMax
	return d
}

func (p *Pool) warnOfSharedMemoryLocked() {
	if s := p.settings.Load(); s.windowMax < s.ResendMax {
		p.o.Logger.Warn("memory is shared by many connections: each retains less than -resend-max", "retained_bytes", s.windowMax, "resend_max", s.ResendMax)
	}
}
