package delivery

import "time"

const (
	// minHomeWait is the least time between a worker's last move, or last attempt to go home, and
	// an attempt for which there is evidence that home is back.
	minHomeWait = time.Second
	// homeProven is the age at which a connection home has shown that home is well.
	homeProven = 30 * time.Second
	// firstHomeWait is the wait after a connection home that ended sooner; it doubles with each.
	firstHomeWait = 5 * time.Second
)

// tryFailback dials home beside the present connection if the machine is displaced and may go home.
func (m *Machine) tryFailback(now time.Time) {
	if m.out == nil || m.out.backend == m.home || m.out.ending || m.ended || !m.shared.Backends().dialable(m.home) {
		return
	}
	if m.mayGoHome(now) {
		m.failbackTried = now
		m.connect(m.home)
	}
}

// mayGoHome reports whether there is evidence that home is back, or the failback interval has
// passed. Evidence is a dial of home that has succeeded: one displaced worker after the other makes
// such dials, and when one has succeeded, all go home.
func (m *Machine) mayGoHome(now time.Time) bool {
	s := m.shared.Settings()
	since := now.Sub(m.failbackTried)
	switch {
	case since >= s.FailbackInterval:
		return true
	case since < max(minHomeWait, m.homeWait):
		return false
	case m.home.Target.DialledSince(m.failbackTried):
		return true
	}
	passed := m.home.Target.PassedSince(m.failbackTried)
	return (passed || since >= s.FailbackProbe) && m.home.claimProbe(now, s.FailbackProbe)
}

// claimProbe reports whether the caller is to dial the backend to find out whether it is back. That
// is so once in every interval, and once after each passed check.
func (b *Backend) claimProbe(now time.Time, every time.Duration) bool {
	last := b.probedAt.Load()
	then := time.Unix(0, last)
	if now.Sub(then) < every && !b.Target.PassedSince(then) {
		return false
	}
	return b.probedAt.CompareAndSwap(last, now.UnixNano())
}

// noteLeft adjusts the wait before the machine goes home again when it leaves a connection. A home
// that crashes again and again, or a balancer in front of dead receivers, would otherwise get lines
// every few seconds, which then go twice. Only time shows whether a home that has stalled takes
// lines again.
func (m *Machine) noteLeft(c *outConn, err error, now time.Time) {
	s := m.shared.Settings()
	switch {
	case c.backend != m.home || c.ending: // ending: noted when that began
	case err == errStalled:
		m.homeWait = s.FailbackInterval
	case now.Sub(c.used) >= homeProven:
		m.homeWait = 0
	default:
		m.homeWait = min(max(2*m.homeWait, firstHomeWait), s.FailbackInterval)
	}
}

// failbackInWrite dials home for a displaced machine whose write blocks. A connection home waits
// for the end of the write. If the write stalls, failbackInWrite ends it with errStalled: with
// all workers blocked at one target, none would otherwise find out that home is back.
func (m *Machine) failbackInWrite(now time.Time) error {
	m.tryFailback(now)
	if m.dialling.arrived == nil || !m.out.stalled || m.moved {
		return nil
	}
	m.moved = true
	return errStalled
}
