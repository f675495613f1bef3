package proof

import (
	"maps"
	"time"

	"linesplit/internal/simulate/sink"
)

// waitUntil polls until done returns true. what completes the error "timed out waiting until".
func (s *stage) waitUntil(what string, done func() bool) {
	deadline := time.Now().Add(s.o.patience)
	for !s.failed() && !done() {
		if time.Now().After(deadline) {
			s.fail(Failed, "timed out after %v waiting until %s", s.o.patience, what)
		}
		s.wait(pollEvery)
	}
}

// wait waits for d, then polls once.
func (s *stage) wait(d time.Duration) {
	if s.failed() {
		return
	}
	select {
	case <-s.ctx.Done():
		s.fail(Cancelled, "%w", s.ctx.Err())
	case <-time.After(d):
	}
	s.poll()
	for _, p := range s.proxies {
		if p != nil && p.ended() {
			s.fail(Failed, "the proxy ended unexpectedly: %s", p.output)
		}
	}
}

// sleep waits for d and polls meanwhile.
func (s *stage) sleep(d time.Duration) {
	for end := time.Now().Add(d); !s.failed() && time.Now().Before(end); {
		s.wait(min(pollEvery, time.Until(end)))
	}
}

// poll removes the checkpoints that have been reached, and shows progress.
func (s *stage) poll() {
	now := time.Now()
	if now.Before(s.checkpointsUntil) && now.Sub(s.lastCheckpoint) >= checkpointEvery {
		s.addCheckpoint(now)
	}
	for len(s.checkpoints) > 0 && s.allRead(s.checkpoints[0].sent) { // a later checkpoint includes all earlier ones
		s.recovery = max(s.recovery, now.Sub(s.checkpoints[0].since))
		s.checkpoints = s.checkpoints[1:]
	}
	if s.o.Progress != nil && now.Sub(s.shownAt) >= progressEvery {
		s.shownAt = now
		s.progress.Sent, s.progress.Received = sum(s.allSent()), s.linesRead()
		s.o.Progress(s.progress)
	}
}

// startRecovery starts to measure how long lines take that were sent before, or will be sent
// within a second: some lines are lost only after the fault.
func (s *stage) startRecovery() {
	if s.failed() {
		return
	}
	now := time.Now()
	s.checkpointsUntil = now.Add(checkpointWindow)
	s.addCheckpoint(now)
}

func (s *stage) addCheckpoint(now time.Time) {
	s.measured, s.lastCheckpoint = true, now
	s.checkpoints = append(s.checkpoints, checkpoint{now, s.allSent()})
}

// awaitRecovery waits until all lines of startRecovery have been read. Only linesplit must
// achieve that. Other proxies leave lines with the target that they were first sent to; the
// result tells how long that took, or what was lost.
func (s *stage) awaitRecovery(limit time.Duration) {
	for end := time.Now().Add(limit); !s.failed() && time.Now().Before(end); s.wait(pollEvery) {
		if len(s.checkpoints) == 0 && time.Now().After(s.checkpointsUntil) {
			return
		}
	}
	if s.o.Own {
		s.fail(Failed, "lines were not delivered elsewhere within %v", limit)
	}
}

// allRead reports whether all of the given records have been read.
func (s *stage) allRead(sent map[uint32]uint64) bool {
	for id, n := range sent {
		if s.tally.Missing(id, n) > 0 {
			return false
		}
	}
	return true
}

// allSent returns what has been sent so far.
func (s *stage) allSent() map[uint32]uint64 {
	all := maps.Clone(s.sent)
	for _, c := range s.senders {
		if c.single {
			all[c.firstID] = c.lines.Load()
		}
	}
	for _, c := range s.relpSenders {
		all[c.id] = c.sent()
	}
	return all
}

func sum(sent map[uint32]uint64) (n uint64) {
	for _, lines := range sent {
		n += lines
	}
	return n
}

// linesRead returns how many lines all targets have read.
func (s *stage) linesRead() (n uint64) {
	if len(s.acking) > 0 {
		return s.tally.Received()
	}
	for _, t := range s.targets {
		n += t.Lines()
	}
	return n
}

// awaitLines waits until n more lines have been read.
func (s *stage) awaitLines(n uint64) {
	enough := s.linesRead() + n
	s.waitUntil("lines reach the targets", func() bool { return s.linesRead() >= enough })
}

// awaitLinesAt waits until a target has read n more lines and still has connections.
func (s *stage) awaitLinesAt(t *sink.Sink, n uint64) {
	if s.failed() {
		return
	}
	enough := t.Lines() + n
	s.waitUntil("lines reach the target "+t.Addr(), func() bool { return t.Lines() >= enough && t.Open() > 0 })
}

// awaitBackpressure waits until senders have made no progress for a while, and describes that in
// words. Only linesplit must cause backpressure: other proxies may have more memory, or a disk.
func (s *stage) awaitBackpressure() string {
	last, since := uint64(0), time.Now()
	enough := since.Add(s.o.patience / 4)
	held := false
	s.waitUntil("backpressure stops the senders", func() bool {
		if now := sum(s.allSent()); now != last {
			last, since = now, time.Now()
		}
		held = time.Since(since) > 500*time.Millisecond
		return held || !s.o.Own && time.Now().After(enough)
	})
	if held {
		return "until backpressure stopped the senders"
	}
	return "while the proxy accepted everything from the senders"
}
