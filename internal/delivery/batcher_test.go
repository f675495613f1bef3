package delivery

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// batchConn is a Batcher that marks each buffer as a batch of two buffers, and acknowledges what
// the test says.
type batchConn struct {
	toldConn
	announced []announcement
}

// announcement is one call of Announce.
type announcement struct {
	size  int
	batch linebuf.Mark // as it was before
	more  bool
}

func (c *batchConn) Announce(b *linebuf.Buffer, size int, more bool) {
	n := uint64(len(c.announced))
	c.announced = append(c.announced, announcement{size, b.Batch, more})
	b.Origin = linebuf.Mark{Source: 1, Number: n}
	b.Batch = linebuf.Mark{Source: 1, Number: n / 2}
}

// failFirst fails the connection of the stage after it has confirmed a line.
func (s *stage) failFirst() {
	s.send()
	s.pass(time.Second)
	s.conns[0].told.Err = errSilent
}

// toBatcher makes the machine, whose connection has failed, use a Batcher that acknowledges nothing
// by itself.
func (s *stage) toBatcher() *batchConn {
	s.t.Helper()
	for i := 0; s.dialled == nil; i++ {
		if at := s.m.Wake(); !at.IsZero() && !time.Now().Before(at) {
			s.m.Due(time.Now())
		}
		if s.pass(target.Tick); i > 1000 {
			s.t.Fatal("no dial after a failure")
		}
	}
	c := &batchConn{toldConn: toldConn{holds: true}}
	b := s.dialled
	s.dialled = nil
	s.m.Dialled(b, c, nil, time.Now())
	return c
}

func (s *stage) sendTo(c *batchConn, line string) {
	b := s.buffers.MustGet(512)
	b.B, b.Lines, b.Read = append(b.B, line...), 1, time.Now()
	s.m.Take(b)
	s.writeTo(c)
}

func (s *stage) writeTo(c *batchConn) {
	_, p := s.m.Writing()
	c.written += len(p)
	s.m.Wrote(len(p), nil, time.Now())
}

// Lines that a target has refused for good leave the window as rejected, and not as confirmed.
func TestRejectedLinesAreNotConfirmed(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.failFirst()
		c := s.toBatcher()
		for range 4 {
			s.sendTo(c, "line\n")
		}
		c.told.Acked, c.told.RejectedLines, c.told.RejectedBytes = 15, 2, 10
		s.pass(time.Second)
		n := s.targets[0].Counters()
		if n.Confirmed != (linebuf.Count{Lines: 2, Bytes: 10}) || n.Rejected != (linebuf.Count{Lines: 2, Bytes: 10}) {
			t.Errorf("confirmed %+v, rejected %+v", n.Confirmed, n.Rejected)
		}
		if left := s.shared.Retained(); left != (linebuf.Count{Lines: 1, Bytes: 5}) {
			t.Errorf("retained %+v", left)
		}
		c.told.Acked, c.told.RejectedLines, c.told.RejectedBytes = 20, 3, 15
		c.told.Err = errSilent // with the last look at a connection that has failed
		s.pass(time.Second)
		if n := s.targets[0].Counters(); n.Confirmed.Lines != 2 || n.Rejected.Lines != 3 || s.shared.Retained().Lines != 0 {
			t.Errorf("confirmed %+v, rejected %+v, retained %+v", n.Confirmed, n.Rejected, s.shared.Retained())
		}
	})
}

// Single lines are not merged on a connection that sends batches. When they are sent again, the
// connection is told which of them were in one batch.
func TestBatchesAreAnnouncedAgain(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.failFirst()
		c := s.toBatcher()
		for range 5 {
			s.sendTo(c, "line\n")
		}
		first := announcement{size: 5}
		if want := []announcement{first, first, first, first, first}; !slices.Equal(c.announced, want) {
			t.Fatalf("%+v", c.announced)
		}
		c.told.Acked, c.told.Err = 10, errSilent // the first batch is delivered
		c = s.toBatcher()
		for range 3 {
			s.writeTo(c)
		}
		second, third := linebuf.Mark{Source: 1, Number: 1}, linebuf.Mark{Source: 1, Number: 2}
		if want := []announcement{{5, second, true}, {5, second, false}, {5, third, false}}; !slices.Equal(c.announced, want) {
			t.Errorf("%+v, want %+v", c.announced, want)
		}
	})
}

// Lines that a connection holds back, to send them with others, are no sign of a target that hangs.
// If the connection fails, they have not been sent.
func TestLinesHeldBackAreNoStall(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.failFirst()
		c := s.toBatcher()
		s.sendTo(c, "line\n")
		c.told.Unsent = 5
		s.pass(time.Minute)
		if n := s.targets[0].Counters(); n.Stalls != 0 || !s.targets[0].Target.Confirming(0) {
			t.Errorf("stalls: %d", n.Stalls)
		}
		c.told.Unsent = 0
		s.pass(31 * time.Second)
		if n := s.targets[0].Counters(); n.Stalls != 1 {
			t.Errorf("stalls: %d, want one once it is sent", n.Stalls)
		}
		s.sendTo(c, "held\n")
		c.told.Unsent, c.told.Err = 5, errSilent
		s.pass(time.Second)
		if n := s.targets[0].Counters().Resent[0].Lines; n != 1 {
			t.Errorf("%d lines count as sent again, want 1", n)
		}
	})
}

// A backup serves while the primary accepts connections, and fails each of them before it has
// confirmed anything, as an HTTP server does that is broken.
func TestBackupServesWhileBatchesFail(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		backup := s.targets[1].Target.Address
		backup.Backup = true
		s.targets[1] = NewBackend(backup, slog.New(slog.DiscardHandler))
		s.shared.SetBackends(NewBackends(s.targets))
		s.failFirst()
		for range cutShortTimes {
			if !s.shared.Backends().PrimaryUp() {
				t.Fatal("the primary is down too early")
			}
			c := s.toBatcher()
			s.sendTo(c, "line\n")
			c.told.Err = errStopped
		}
		s.pass(time.Second)
		if s.shared.Backends().PrimaryUp() {
			t.Error("the backup rests")
		}
	})
}
