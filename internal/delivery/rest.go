package delivery

import (
	"time"

	"linesplit/target"
)

// QuietTick is the time between two ticks that suffices while Quiet reports true, and between two
// looks at a connection at rest. A look costs some system calls, and finds nothing on such a
// connection that an event does not report: what changes are the figures of its target, and the
// silence of a peer that answers no keepalives, which come a second apart themselves.
const QuietTick = time.Second

// Quiet reports whether the machine is at home and has nothing to do but to look at its one
// connection once per QuietTick, or whether it waits for its home, a backup, to be needed.
func (m *Machine) Quiet() bool {
	d := &m.dialling
	if m.paused && m.Rests() && m.shared.Backends().rests(m.home) {
		return !d.busy && !d.armed()
	}
	return m.Wants() && !m.paused && m.out.backend == m.home && m.out.atRest() &&
		len(m.leaving) == 0 && !d.busy && !d.armed()
}

// lookDue reports whether a tick is to look at the connections: always, unless there is only one
// and it is at rest. Ticks may come a little early.
func (m *Machine) lookDue(now time.Time) bool {
	if len(m.leaving) > 0 || m.out == nil {
		return true
	}
	return !m.out.atRest() || now.Sub(m.out.seenAt) > QuietTick-target.Tick/2
}

// atRest reports whether a connection has nothing to confirm and nothing to count, and was well at
// the last look. Its first second is not restful: judgeFIN depends on it.
func (c *outConn) atRest() bool {
	return c.window.empty() && c.countedSent == c.sent && c.countedAcked == c.sent && !c.ending &&
		!c.isNew(c.seenAt) && c.seen.Err == nil && (!c.seen.FIN || c.ignoreFIN) && c.seen.Silent == 0
}
