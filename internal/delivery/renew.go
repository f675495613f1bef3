package delivery

import "time"

const (
	// renewParts is how many parts of its greatest age a connection may lack when it is renewed:
	// all connections that were made together are not renewed together.
	renewParts = 5
	// renewWithin is how long a connection that is to be renewed is not written to, at most.
	renewWithin = 5 * time.Second
)

// renewal is what is known about the renewal of a connection.
type renewal struct {
	at      time.Time // when it is due; zero: never
	begun   bool      // nothing is written until the window is empty and another connection there
	until   time.Time // when a renewal that has begun is given up
	dialled bool      // the dial of the other connection has begun
}

// renewalOf returns the renewal of a connection to b that begins now.
func (m *Machine) renewalOf(b *Backend, now time.Time) renewal {
	age := b.Target.Address.MaxAge
	if age <= 0 {
		return renewal{}
	}
	return renewal{at: now.Add(age - time.Duration(m.shared.intN(int(age/renewParts))))}
}

// tryRenew replaces the present connection by another one to the same target when it is old. So a
// virtual address, behind which there are more receivers by now, can lead to another one.
//
// The old connection is left alone until all that was written to it is confirmed. Only then is the
// other one dialled, so that no line has to be looked after on a connection that is being left. A
// target that does not confirm in time keeps its connection, and so does one that cannot be
// dialled; the next attempt comes when the connection is as old again. A displaced machine goes
// home anyway.
func (m *Machine) tryRenew(now time.Time) {
	c := m.out
	if c == nil || c.renewal.at.IsZero() || c.backend != m.home || c.ending || m.writing {
		return
	}
	r, d := &c.renewal, &m.dialling
	switch {
	case !r.begun:
		if now.Before(r.at) || c.stuck || m.ended || m.paused || len(m.leaving) > 0 || d.busy || d.armed() ||
			!m.retryQueue.empty() || !c.backend.dialable() {
			return
		}
		r.begun, r.until = true, now.Add(renewWithin)
	case !now.Before(r.until), r.dialled && !d.busy && d.arrived == nil, !c.backend.dialable():
		c.renewal = m.renewalOf(c.backend, now)
	case !r.dialled && c.window.empty() && !d.busy:
		r.dialled = true
		m.connect(c.backend)
	}
}

// tooLate reports whether a connection that has arrived was for a renewal that has been given up.
func (m *Machine) tooLate(at *Backend) bool {
	return m.out != nil && m.out.backend == at && !m.out.ending && !m.out.renewal.begun
}
