package delivery

import (
	"fmt"
	"strings"
	"time"
)

func (s *sim) counters() (sum Counters) {
	sum.Resent = make([]Resent, 2)
	for _, x := range s.all() {
		sum.Add(x.Counters())
	}
	return sum
}

// check demands what must hold after every step.
func (s *sim) check() {
	sum, taken, retained := s.counters(), s.shared.Taken(), s.shared.Retained()
	accounted, r := sum.Confirmed, s.shared.Reframed()
	accounted.Add(retained)
	accounted.Add(s.shared.Kept())
	accounted.Add(r.Refused)
	accounted.Bytes += r.Removed
	given := taken
	given.Bytes += r.Added
	if given != accounted {
		s.t.Errorf("seed %d: taken %v, confirmed %v, retained %v, %+v", s.seed, taken, sum.Confirmed, retained, r)
	}
	s.checkMemory()
	s.checkLedger()
	s.checkReceipts()
	if s.lanes != nil {
		s.lanes.check(sum.Confirmed.Lines)
	}
	for _, x := range s.all() {
		if x.Target.Down() && !x.mayBeDown {
			s.t.Errorf("seed %d: %s is down for want of resources here", s.seed, x.name)
		}
	}
	s.checkBackups()
	for _, m := range s.machines {
		if len(m.leaving) > MaxLeaving {
			s.t.Errorf("seed %d: leaving %d connections", s.seed, len(m.leaving))
		}
		if m.out != nil {
			s.checkOut(m.out)
		}
	}
}

// checkOut checks a connection in use: its window is bounded, and its target has not
// been drained for longer than a tick or two.
func (s *sim) checkOut(c *outConn) {
	peer := c.conn.(*simConn)
	// Between two looks it grows by half of the limit, by what a look found half written and was
	// merged then, and by the last buffer.
	limit := s.widest + s.widest/2 + 2*int64(s.largest)
	if s.fed || s.lanes != nil { // senders' small buffers that were read more than a second apart are not merged
		limit += 8 * senderCount * int64(s.largest)
	}
	if peer.wasStable { // probes
		limit += max(s.widest, minProbe) + s.widest/4
	}
	if c.window.mem > limit {
		s.t.Errorf("seed %d: a window of %d bytes", s.seed, c.window.mem)
	}
	if !c.backend.Accepts() && !c.ending && time.Since(peer.to.drainedAt) > 2*time.Second {
		s.t.Errorf("seed %d: a drained target still gets lines", s.seed)
	}
}

// checkEnd counts what has arrived.
func (s *sim) checkEnd() {
	s.check()
	times := map[int]int{}
	total := s.receiveAll(times)
	for _, x := range s.all() {
		s.checkConns(x)
	}
	sum := s.counters()
	if s.verbose && !s.stopped {
		s.missing(times)
	}
	if uint64(len(times)) < sum.Confirmed.Lines {
		s.t.Errorf("seed %d: %d lines confirmed, %d received", s.seed, sum.Confirmed.Lines, len(times))
	}
	if s.stopped {
		s.checkKept(times)
		return
	}
	s.checkArrived(times)
	s.checkReleased()
	if s.lanes != nil {
		s.lanes.checkEnd()
	}
	unacknowledged, unread := sum.Resent[0].Count, sum.Resent[1].Count
	resent := unacknowledged.Lines + unread.Lines
	if twice := uint64(total - len(times)); twice > resent {
		s.t.Errorf("seed %d: %d lines received again, %d counted as resent", s.seed, twice, resent)
	}
	if s.plot == peaceful && resent > 0 {
		s.t.Errorf("seed %d: %d lines resent though all targets ended in order", s.seed, resent)
	}
	want := sum.Confirmed
	want.Add(unread)
	if sum.Acknowledged != want {
		s.t.Errorf("seed %d: %v acknowledged, want those confirmed or resent as unread, %v", s.seed, sum.Acknowledged, want)
	}
	want.Add(unacknowledged)
	if sum.Sent != want {
		s.t.Errorf("seed %d: %v sent, want those confirmed or resent, %v", s.seed, sum.Sent, want)
	}
}

// checkArrived demands that each line that machines have taken was received, but those that were
// refused.
func (s *sim) checkArrived(times map[int]int) {
	missing := uint64(0)
	for _, seq := range s.given {
		switch {
		case times[seq] > 0:
		case s.mayBeRefused(seq):
			missing++
		default:
			s.t.Errorf("seed %d: line %d of %d was not received", s.seed, seq, len(s.given))
			return
		}
	}
	if refused := s.shared.Reframed().Refused.Lines; missing > refused {
		s.t.Errorf("seed %d: %d lines were not received, %d were refused", s.seed, missing, refused)
	}
	if taken := s.shared.Taken().Lines; taken != uint64(len(s.given)) {
		s.t.Errorf("seed %d: %d lines given, %d counted as taken", s.seed, len(s.given), taken)
	}
}

// checkConns demands that all connections are closed.
func (s *sim) checkConns(x *simTarget) {
	for i, c := range x.conns {
		if !c.closed {
			s.t.Errorf("seed %d: %s[%d] was left open", s.seed, x.name, i)
		}
	}
	if n := x.Target.Connections(); n != 0 {
		s.t.Errorf("seed %d: %s counts %d connections", s.seed, x.name, n)
	}
}

// missing prints which lines were not received, and where they were sent to.
func (s *sim) missing(times map[int]int) {
	for i, m := range s.machines {
		s.say("machine %d of %s: out %v, leaving %d, retry %d, paused %v, full %v, moved %v", i, m.home.Target, m.out != nil, len(m.leaving), len(m.retryQueue.list), m.paused, m.full, m.moved)
		if m.out != nil {
			s.say("  at %s, window %d, ending %v, stalled %v, acked ago %v, arrived %d next %d", m.out.backend.Target, m.out.window.held.Lines, m.out.ending, m.out.stalled, time.Since(m.out.ackedAt), m.out.arrived(), m.out.next)
		}
	}
	for _, seq := range s.given {
		if times[seq] > 0 {
			continue
		}
		s.say("line %d is missing", seq)
		for _, x := range s.all() {
			for i, c := range x.conns {
				if at := strings.Index("\n"+string(c.sent), fmt.Sprintf("\n%d ", seq)); at >= 0 {
					s.say("  %s[%d]: sent at %d; acked %d, read %d, knows %d, fin %v, after ours %v, dead %v, over %v, err %v",
						x.name, i, at, c.acked, c.read, x.knows, c.fin, c.afterOurs, c.dead, c.over, c.err)
				}
			}
		}
	}
}
