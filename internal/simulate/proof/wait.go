package proof

import (
	"maps"
	"time"

	"linesplit/internal/simulate/sink"
)

// until looks until done says true, which is what the stage is waiting for.
func (s *stage) until(what string, done func() bool) {
	deadline := time.Now().Add(s.o.patience)
	for !s.failed() && !done() {
		if time.Now().After(deadline) {
			s.fail(Failed, "waited %v in vain: %s", s.o.patience, what)
		}
		s.pass(lookEvery)
	}
}

// pass lets time pass, and looks at what happens meanwhile.
func (s *stage) pass(d time.Duration) {
	if s.failed() {
		return
	}
	select {
	case <-s.ctx.Done():
		s.fail(Cancelled, "%w", s.ctx.Err())
	case <-time.After(d):
	}
	s.look()
	for _, p := range s.proxies {
		if p != nil && p.ended() {
			s.fail(Failed, "the proxy has ended: %s", p.said)
		}
	}
}

// sleep lets longer times pass.
func (s *stage) sleep(d time.Duration) {
	for end := time.Now().Add(d); !s.failed() && time.Now().Before(end); {
		s.pass(min(lookEvery, time.Until(end)))
	}
}

// look crosses off the marks that have been reached, and shows progress.
func (s *stage) look() {
	now := time.Now()
	if now.Before(s.markUntil) && now.Sub(s.marked) >= markEvery {
		s.mark(now)
	}
	for len(s.marks) > 0 && s.has(s.marks[0].sent) { // what reaches a later one has reached all before
		s.recovery = max(s.recovery, now.Sub(s.marks[0].since))
		s.marks = s.marks[1:]
	}
	if s.o.Progress != nil && now.Sub(s.shown) >= progressEvery {
		s.shown = now
		s.at.Sent, s.at.Received = sum(s.allSent()), s.received()
		s.o.Progress(s.at)
	}
}

// recovers says that it is measured how long lines take which are sent now, or were before, or will be within a second: some go wrong only behind
// the fault.
func (s *stage) recovers() {
	if s.failed() {
		return
	}
	now := time.Now()
	s.markUntil = now.Add(aftermath)
	s.mark(now)
}

func (s *stage) mark(now time.Time) {
	s.measured, s.marked = true, now
	s.marks = append(s.marks, mark{now, s.allSent()})
}

// recovered waits until all has been read that recovers looks at. Only linesplit must get there: other proxies leave lines where they have once
// sent them, and how long that takes, or what becomes of them, is in the result.
func (s *stage) recovered(limit time.Duration) {
	for end := time.Now().Add(limit); !s.failed() && time.Now().Before(end); s.pass(lookEvery) {
		if len(s.marks) == 0 && time.Now().After(s.markUntil) {
			return
		}
	}
	if s.o.Own {
		s.fail(Failed, "lines were not sent elsewhere within %v", limit)
	}
}

// has says whether all of some records have been read.
func (s *stage) has(sent map[uint32]uint64) bool {
	for id, n := range sent {
		if s.tally.Missing(id, n) > 0 {
			return false
		}
	}
	return true
}

// allSent is what has been sent so far.
func (s *stage) allSent() map[uint32]uint64 {
	all := maps.Clone(s.sent)
	for _, c := range s.senders {
		if c.single {
			all[c.first] = c.lines.Load()
		}
	}
	return all
}

func sum(sent map[uint32]uint64) (n uint64) {
	for _, lines := range sent {
		n += lines
	}
	return n
}

// received is how many lines all targets have read.
func (s *stage) received() (n uint64) {
	for _, t := range s.targets {
		n += t.Lines()
	}
	return n
}

// flow waits until n more lines have been read.
func (s *stage) flow(n uint64) {
	enough := s.received() + n
	s.until("lines reach targets", func() bool { return s.received() >= enough })
}

// flowTo waits until a target has read n more lines, and has connections still.
func (s *stage) flowTo(t *sink.Sink, n uint64) {
	if s.failed() {
		return
	}
	enough := t.Lines() + n
	s.until("lines reach the target "+t.Addr(), func() bool { return t.Lines() >= enough && t.Open() > 0 })
}

// heldBack waits until senders have not got rid of anything for a while, and says in words until when that was. Only linesplit must come to hold
// them back: others may have more memory, or a disk.
func (s *stage) heldBack() string {
	last, since := uint64(0), time.Now()
	enough := since.Add(s.o.patience / 4)
	held := false
	s.until("senders are held back", func() bool {
		if now := sum(s.allSent()); now != last {
			last, since = now, time.Now()
		}
		held = time.Since(since) > 500*time.Millisecond
		return held || !s.o.Own && time.Now().After(enough)
	})
	if held {
		return "until senders were held back"
	}
	return "while the proxy took whatever senders had"
}
