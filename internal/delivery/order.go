package delivery

import "sync/atomic"

// A machine made by NewInOrder delivers lines in the order in which it is given them, to one target
// at a time. That takes these rules beside the ones for all machines:
//
//   - It writes nothing to its next connection before all that it wrote to the last one is
//     confirmed, or taken back to be sent again; see behind.
//   - What is taken back goes in front of all that waits, in order; see reclaim.
//   - A connection that ends is no reason to go elsewhere, unless it was of no use or its target
//     hangs: another dial of home comes first; see proves.
//   - With Settings.StayHome, only a home that takes no lines is one.
//
// So a line that goes twice does so as part of a stretch that is repeated in order.

// NewInOrder returns a machine that keeps the order of its lines. It adds the number of lines that
// are confirmed to confirmed.
func NewInOrder(shared *Shared, driver Driver, home *Backend, worker int, confirmed *atomic.Uint64) *Machine {
	m := New(shared, driver, home, worker)
	m.inOrder = confirmed
	return m
}

// behind reports whether what was written to an earlier connection has yet to be confirmed before
// the present one may be written to.
func (m *Machine) behind() bool { return m.inOrder != nil && len(m.leaving) > 0 }

// stays reports whether the machine goes to no other target than home.
func (m *Machine) stays() bool {
	return m.inOrder != nil && m.shared.Settings().StayHome && m.home.Accepts()
}

// proves reports whether a connection that has failed is a reason to avoid its target.
func (m *Machine) proves(c *outConn, err error) bool {
	switch err {
	case errSilent, errStalled, errDrainStalled:
		return true
	}
	return m.inOrder == nil || !c.confirmed
}

// countRefused counts lines of which none is left to write: as soon as what was written before them
// is confirmed.
func (m *Machine) countRefused(lines int) {
	if m.out.window.empty() {
		m.countOrdered(uint64(lines))
		return
	}
	m.out.window.newest().refused += lines
}

// countOrdered counts lines that have been confirmed.
func (m *Machine) countOrdered(lines uint64) {
	if m.inOrder != nil {
		m.inOrder.Add(lines)
	}
}
