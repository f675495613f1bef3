package delivery

import "time"

// renewParts is how many parts of its greatest age a connection may lack when it is renewed: all
// connections that were made together are not renewed together.
const renewParts = 5

// renewalOf returns when a connection to b that begins now is to be renewed, or the zero time.
func (m *Machine) renewalOf(b *Backend, now time.Time) time.Time {
	age := b.Target.Address.MaxAge
	if age <= 0 {
		return time.Time{}
	}
	return now.Add(age - time.Duration(m.shared.intN(int(age/renewParts))))
}

// tryRenew dials the target of the present connection once more when that connection is old. So a
// virtual address, behind which there are more receivers by now, can lead to another one. The new
// connection takes the place of the old one between two lines, as one that fails back does, and the
// old one ends in order. If the dial fails, nothing is given up, and the next attempt waits. A
// connection that makes no progress is left to the rules for stalls.
func (m *Machine) tryRenew(now time.Time) {
	c := m.out
	if c == nil || c.renewAt.IsZero() || now.Before(c.renewAt) || c.ending || c.stuck || m.ended || m.paused ||
		len(m.leaving) > 0 || m.dialling.busy || m.dialling.armed() || !c.backend.dialable() {
		return
	}
	c.renewAt = m.renewalOf(c.backend, now)
	m.connect(c.backend)
}
