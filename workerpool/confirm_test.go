package workerpool

import (
	"testing"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// sendFullBuffers sends ten buffers of 1000 bytes in 10 lines: too full for the next to be
// merged behind them.
func (r *rig) sendFullBuffers() {
	for range 10 {
		r.send(10, 100)
	}
}

func (r *rig) wantConfirmed(s Stats, lines int) {
	r.t.Helper()
	if got := s.confirmed(); got.Lines != uint64(lines) {
		r.t.Fatalf("%d lines confirmed, want %d; retained %d", got.Lines, lines, s.Retained.Lines)
	}
}

func (r *rig) wantResent(s Stats, unacknowledged, unread int) {
	r.t.Helper()
	a, u := s.resent()
	if a.Lines != uint64(unacknowledged) || u.Lines != uint64(unread) {
		r.t.Fatalf("resent %d unacknowledged, %d unread; want %d, %d", a.Lines, u.Lines, unacknowledged, unread)
	}
	if a.Bytes != 100*a.Lines || u.Bytes != 100*u.Lines {
		r.t.Fatalf("resent %v unacknowledged, %v unread: bytes and lines disagree", a, u)
	}
}

func (r *rig) wantDials(p *peer, n int) {
	r.t.Helper()
	if got := p.dialled(); got != n {
		r.t.Fatalf("%s was dialled %d times, want %d", p.name, got, n)
	}
}

// wantInOrder demands that a connection carried its lines in the order in which they were first
// sent.
func (r *rig) wantInOrder(c *peerConn) {
	r.t.Helper()
	last := -1
	for seq := range c.sequence() {
		if seq <= last {
			r.t.Fatalf("%s[%d]: line %d after line %d", c.peer.name, c.id, seq, last)
		}
		last = seq
	}
}

func TestConfirmationNeedsASign(t *testing.T) {
	inBubble(t, "nothing is confirmed without a sign", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(9*time.Second), 0)
		r.finish(time.Second)
	})
	inBubble(t, "the margin is retained", func(t *testing.T) {
		a := newPeer("a")
		a.margin = 2500
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(3*time.Second), 70) // the buffer with byte 7500 stays
		r.send(5, 100)
		r.wantConfirmed(r.pass(time.Second), 80)
		r.finish(time.Second)
	})
	inBubble(t, "without a margin everything read is confirmed", func(t *testing.T) {
		a := newPeer("a")
		a.margin = 0
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(3*time.Second), 100)
		r.finish(time.Second)
	})
	inBubble(t, "the FIN that answers ours", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		r.sendFullBuffers()
		start := time.Now()
		r.wantResent(r.finish(time.Second), 0, 0)
		if took := time.Since(start); took > target.Tick {
			t.Errorf("took %v", took)
		}
	})
}

func TestAgeConfirms(t *testing.T) {
	inBubble(t, "age confirms", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		r.sendFullBuffers()
		r.pass(5 * time.Second)
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(4900*time.Millisecond), 0)
		r.wantConfirmed(r.pass(1600*time.Millisecond), 100)
		r.wantConfirmed(r.pass(3*time.Second), 100)
		r.wantConfirmed(r.pass(2*time.Second), 200)
		r.finish(time.Second)
	})
	inBubble(t, "age counts from the acknowledgement", func(t *testing.T) {
		a := newPeer("a")
		a.holdAcks = true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(20 * time.Second)
		a.set(func() { a.holdAcks = false })
		r.wantConfirmed(r.pass(9900*time.Millisecond), 0)
		r.wantConfirmed(r.pass(1600*time.Millisecond), 100)
		r.finish(time.Second)
	})
	inBubble(t, "age does not confirm while something is unread", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.readLimit = 9999 }
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(time.Minute), 0)
		a.conn(0).ackTo(noLimit, noLimit)
		r.wantConfirmed(r.pass(time.Second), 100)
		r.finish(time.Second)
	})
}

// A trickle of lines comes in buffers that have room for all of them. When they were merged
// into one buffer, it never reached the resend age, and the first line was retained until the
// buffer was full.
func TestTrickleComesOfAge(t *testing.T) {
	inBubble(t, "a line a second", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		for range 60 {
			r.sendIn(1, 100, 16<<10)
			r.pass(time.Second)
		}
		s := r.checkedStats()
		if s.Retained.Lines > 14 {
			t.Errorf("%d of 60 lines retained", s.Retained.Lines)
		}
		r.finish(time.Second)
	})
	inBubble(t, "many at once share a buffer", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		for range 100 {
			r.sendIn(1, 100, 16<<10)
			r.pass(time.Millisecond)
		}
		r.checkedStats()
		if n := r.buffers.InUse(); n > 32<<10 {
			t.Errorf("%d bytes are held for 100 lines of 100 bytes", n)
		}
		r.finish(time.Second)
	})
}

func limitFirst(acked, read int) func(c *peerConn) {
	return func(c *peerConn) {
		if c.id == 0 {
			c.ackLimit, c.readLimit = acked, read
		}
	}
}

// After a failure the worker resends the lines from the first unacknowledged byte on, and those
// that may not have been read.
func TestFailureResendsWhatMayBeUnread(t *testing.T) {
	for name, c := range map[string]struct {
		acked, read            int
		margin                 uint64
		confirmed              int // before the failure
		unacknowledged, unread int
	}{
		"nothing acknowledged":                {0, 0, 1 << 40, 0, 100, 0},
		"in the middle of a line":             {2550, 2550, 1 << 40, 0, 75, 25},
		"at the end of a line":                {2500, 2500, 1 << 40, 0, 75, 25},
		"one byte short of it":                {2499, 2499, 1 << 40, 0, 76, 24},
		"one byte beyond it":                  {2501, 2501, 1 << 40, 0, 75, 25},
		"at the end of a buffer":              {2000, 2000, 1 << 40, 0, 80, 20},
		"all acknowledged, nothing read":      {noLimit, 0, 1 << 40, 0, 0, 100},
		"all acknowledged and read, unproven": {noLimit, noLimit, 1 << 40, 0, 0, 100},
		"some was confirmed":                  {5550, 5550, 2000, 30, 45, 25},
		"no margin":                           {5550, 5550, 0, 50, 45, 5},
	} {
		inBubble(t, name, func(t *testing.T) {
			a := newPeer("a")
			a.margin, a.onAccept = c.margin, limitFirst(c.acked, c.read)
			r := newRig(t, Options{}, []*peer{a})
			r.sendFullBuffers()
			r.wantConfirmed(r.pass(3*time.Second), c.confirmed)
			a.conn(0).reset()
			r.wantResent(r.pass(time.Second), c.unacknowledged, c.unread)
			r.wantDials(a, 2)
			r.sendFullBuffers()
			r.pass(time.Second)
			r.wantInOrder(a.conn(1))
			r.finish(time.Second)
		})
	}
}

func TestResendStartsWithLinesBegun(t *testing.T) {
	inBubble(t, "only what was begun counts as resent", func(t *testing.T) {
		a := newPeer("a")
		a.sendBuf, a.onAccept = 550, limitFirst(0, 0)
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		a.conn(0).reset()
		r.wantResent(r.pass(time.Second), 6, 0)
		r.wantInOrder(a.conn(1))
		r.finish(time.Second)
	})
	inBubble(t, "the last lines before a pause were lost silently", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdReads = true })
		r.sendFullBuffers()
		r.pass(5 * time.Second)
		a.conn(0).exit()
		a.set(func() { a.holdReads = false })
		r.wantResent(r.pass(time.Second), 0, 100)
		r.finish(time.Second)
	})
}

// A FIN, nothing acknowledged after it, and a RST that answers our own write: all that was
// acknowledged was read.
func TestResetAfterFINConfirmsAcknowledged(t *testing.T) {
	for name, c := range map[string]struct {
		acked                             int
		confirmed, unacknowledged, unread int
	}{
		"all acknowledged":        {noLimit, 100, 10, 0},
		"in the middle of a line": {2550, 25, 85, 0},
		"at the end of a buffer":  {2000, 20, 90, 0},
		"nothing acknowledged":    {0, 0, 110, 0},
	} {
		inBubble(t, name, func(t *testing.T) {
			a := newPeer("a")
			a.onAccept = func(conn *peerConn) {
				if conn.id == 0 {
					conn.ackLimit = c.acked
				}
			}
			r := newRig(t, Options{}, []*peer{a})
			r.sendFullBuffers()
			r.pass(500 * time.Millisecond)
			a.conn(0).do(func() { a.conns[0].finLocked(); a.conns[0].gone = true })
			r.pass(5 * time.Second)
			r.wantDials(a, 1) // a FIN within the first second is ignored
			r.send(10, 100)
			s := r.pass(time.Second)
			r.wantResent(s, c.unacknowledged, c.unread)
			r.wantConfirmed(s, c.confirmed)
			r.finish(time.Second)
		})
	}
	inBubble(t, "not if something was unread", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(conn *peerConn) {
			if conn.id == 0 {
				conn.readLimit = 9900
			}
		}
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(500 * time.Millisecond)
		a.conn(0).do(func() { a.conns[0].finLocked(); a.conns[0].gone = true })
		r.send(10, 100)
		r.wantResent(r.pass(time.Second), 10, 100)
		r.finish(time.Second)
	})
}

func TestFullWindowStopsWriting(t *testing.T) {
	const limit = 64 << 10
	inBubble(t, "unread bytes stop writing", func(t *testing.T) {
		a := newPeer("a")
		a.recvBuf, a.holdReads = 1<<20, true
		r := newRig(t, Options{Tuning: Tuning{ResendMax: limit, StallTimeout: time.Hour}}, []*peer{a})
		for range 200 {
			r.send(80, 100)
		}
		r.pass(time.Second)
		if n := len(a.conn(0).state().sent); n < limit || n > limit+2*8000 {
			t.Errorf("%d bytes written with nothing read, -resend-max is %d", n, limit)
		}
		s := r.pass(time.Minute)
		r.wantConfirmed(s, 0)
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		if n := a.conn(0).state().read; n != 200*8000 {
			t.Errorf("%d bytes read in the end", n)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "unacknowledged bytes stop writing", func(t *testing.T) {
		a := newPeer("a")
		a.sendBuf, a.holdAcks = 1<<20, true
		r := newRig(t, Options{Tuning: Tuning{ResendMax: limit, StallTimeout: time.Hour}}, []*peer{a})
		for range 200 {
			r.send(80, 100)
		}
		r.pass(time.Minute)
		if n := len(a.conn(0).state().sent); n < limit || n > limit+2*8000 {
			t.Errorf("%d bytes written with nothing acknowledged, -resend-max is %d", n, limit)
		}
		a.set(func() { a.holdAcks = false })
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestFullWindowLetsGoOfWhatWasRead(t *testing.T) {
	const limit = 64 << 10
	inBubble(t, "the window releases what was read", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Tuning: Tuning{ResendMax: limit}}, []*peer{a})
		for range 200 {
			r.send(80, 100)
		}
		s := r.pass(time.Second)
		if s.Retained.Bytes > limit || s.Retained.Bytes < limit-2*8192 {
			t.Errorf("%d bytes retained", s.Retained.Bytes)
		}
		if s.Taken.Lines != 200*80 {
			t.Errorf("%d lines taken", s.Taken.Lines)
		}
		a.conn(0).reset()
		s = r.pass(time.Second)
		r.wantResent(s, 0, int(s.Retained.Lines))
		r.finish(time.Second)
	})
	inBubble(t, "the window keeps what seems unread", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id == 0 {
				c.readLimit = 20_000
			}
		}
		r := newRig(t, Options{Tuning: Tuning{ResendMax: limit, StallTimeout: time.Hour}}, []*peer{a})
		for range 200 {
			r.send(80, 100)
		}
		r.wantConfirmed(r.pass(time.Minute), 160) // two buffers lie before byte 20,000
		a.conn(0).reset()
		r.finish(time.Second)
	})
}

// On a system that tells nothing about acknowledgements, age confirms, a failure resends the
// whole window, and a connection without acknowledgements does not count as stalled.
func TestSystemWithoutCounts(t *testing.T) {
	inBubble(t, "a connection without acknowledgements is not stalled", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.noCounts, b.noCounts = true, true
		r := newRig(t, Options{}, []*peer{a, b})
		for range 100 {
			r.send(10, 100)
			r.pass(time.Second)
		}
		s := r.checkedStats()
		r.wantResent(s, 0, 0)
		if s.Targets[0].Stalls+s.Targets[1].Stalls != 0 {
			t.Errorf("stalls: %d, %d", s.Targets[0].Stalls, s.Targets[1].Stalls)
		}
		r.wantDials(a, 1)
		r.finish(time.Second)
	})
	inBubble(t, "a failure resends the whole window", func(t *testing.T) {
		a := newPeer("a")
		a.noCounts = true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(time.Second), 0)
		a.conn(0).reset()
		r.wantResent(r.pass(time.Second), 100, 0)
		r.wantConfirmed(r.pass(12*time.Second), 100)
		r.finish(time.Second)
	})
	inBubble(t, "a write that blocks is a stall", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.noCounts, b.noCounts = true, true
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: 5 * time.Second}}, []*peer{a, b})
		a.set(func() { a.holdAcks, a.sendBuf = true, 500 })
		r.blockWrite(a.conn(0))
		s := r.pass(20 * time.Second)
		if s.Targets[0].Stalls != 1 {
			t.Errorf("%d stalls", s.Targets[0].Stalls)
		}
		a.set(func() { a.holdAcks = false })
		r.finish(time.Second)
	})
}

// A line is counted as sent and as acknowledged at once, long before it is confirmed: an operator
// who sends one line saw a rate and a share of 0 for ten seconds.
func TestSentAndAcknowledgedAreCountedAtOnce(t *testing.T) {
	inBubble(t, "acknowledged, not confirmed", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.send(1, 100)
		r.pass(2 * target.Tick)
		one := linebuf.Count{Lines: 1, Bytes: 100}
		if s, _ := r.stats(a); s.Sent != one || s.Acknowledged != one || s.Confirmed != (linebuf.Count{}) {
			t.Errorf("sent %+v, acknowledged %+v, confirmed %+v", s.Sent, s.Acknowledged, s.Confirmed)
		}
		r.finish(time.Minute)
	})
	inBubble(t, "sent, half of it acknowledged", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.ackLimit = 150 }
		r := newRig(t, Options{}, []*peer{a})
		r.send(2, 100)
		r.pass(2 * target.Tick)
		if s, _ := r.stats(a); s.Sent.Lines != 2 || s.Acknowledged != (linebuf.Count{Lines: 1, Bytes: 100}) {
			t.Errorf("sent %+v, acknowledged %+v", s.Sent, s.Acknowledged)
		}
		a.set(func() { a.conns[0].ackLimit = noLimit })
		r.finish(time.Minute)
	})
}
