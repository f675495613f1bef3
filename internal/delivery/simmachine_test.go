package delivery

import (
	"syscall"
	"time"

	"linesplit/internal/lane"
	"linesplit/target"
)

// simMachine is a machine with its driver: it makes the dials, and offers what is read.
type simMachine struct {
	*Machine
	s      *sim
	lane   *lane.Lane // nil: it takes lines of any key
	excess bool       // its lane is to get no keys any more, and it then ends
	dialTo *simTarget
	dialAt time.Time // when the dial under way ends; zero: there is none

	unwantedAt time.Time // when it was last told to rest
}

// Dial is the action of the machine.
func (m *simMachine) Dial(b *Backend) {
	if !m.dialAt.IsZero() {
		panic("two dials at a time")
	}
	if b.Target.Unhealthy() || !b.Accepts() {
		panic("a dial of a target that checks have found down, or that takes no lines")
	}
	if m.s.stay && m.home.Accepts() && b != m.home {
		panic("a dial of another target while home takes lines")
	}
	if m.s.rests(b) {
		panic("a dial of a backup that is not needed")
	}
	for _, x := range m.s.all() {
		if x.Backend == b {
			m.dialTo, m.dialAt = x, time.Now().Add(x.dialTime)
		}
	}
}

// act gives the machine the events that are due and does what it asks for.
func (m *simMachine) act(now time.Time, tick bool) {
	if m.Done() {
		return
	}
	m.finishDial(now)
	if tick {
		m.Tick(now)
	}
	if at := m.Wake(); !at.IsZero() && !now.Before(at) {
		m.Due(now)
	}
	most := 4
	if m.s.plot == narrow || m.s.muted { // more than the windows hold
		most = 40
	}
	for range 1 + m.s.rng.IntN(most) {
		switch {
		case m.lane != nil:
			m.s.lanes.give(m, now)
		case m.Wants():
			if b := m.s.input(now); b != nil {
				m.s.give(m, b)
			}
		}
		if !m.write(now) {
			break
		}
	}
	over := m.s.inputOver()
	if m.lane != nil {
		over = m.s.lanes.inputOver(m)
	}
	if over && !m.ended && (m.Idle() || m.Wants()) {
		m.EndInput(now)
	}
}

func (m *simMachine) finishDial(now time.Time) {
	if m.dialAt.IsZero() || now.Before(m.dialAt) {
		return
	}
	x := m.dialTo
	m.dialTo, m.dialAt = nil, time.Time{}
	err := x.refuses
	if m.s.exhausted {
		err = syscall.EMFILE
	}
	m.s.say("%s: dial ends, %v", x.name, err)
	if err != nil {
		x.mayBeDown = x.mayBeDown || !target.IsLocalError(err)
		m.Dialled(x.Backend, nil, err, now)
		return
	}
	m.Dialled(x.Backend, x.accept(now), nil, now)
}

// write reports whether the connection has taken all that there was.
func (m *simMachine) write(now time.Time) bool {
	c, p := m.Writing()
	if len(p) == 0 {
		return false
	}
	n, err := c.(*simConn).Write(p)
	if m.lane != nil {
		m.s.lanes.wrote(c.(*simConn))
	}
	m.Wrote(n, err, now)
	return n == len(p)
}
