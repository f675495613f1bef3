package delivery

import (
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
	"linesplit/target"
)

// kept makes the stage's machine hand over what is left, and returns where that goes.
func (s *stage) kept() *[]string {
	var all []string
	s.shared.SetKeep(func(b *linebuf.Buffer) {
		if n := strings.Count(string(b.B), "\n"); n != b.Lines {
			s.t.Errorf("a buffer counts %d lines, and has %q", b.Lines, b.B)
		}
		all = append(all, string(b.B))
		s.buffers.Put(b)
	})
	return &all
}

// wantKept stops the machine, and demands that it hands over these buffers, and that the books
// balance.
func (s *stage) wantKept(all *[]string, want ...string) {
	s.t.Helper()
	s.m.Stop()
	s.m.Abort(time.Now())
	if !slices.Equal(*all, want) {
		s.t.Errorf("handed over %q, want %q", *all, want)
	}
	sum := s.shared.Kept()
	for _, b := range s.targets {
		sum.Add(b.Counters().Confirmed)
		if n := b.Gauges().Retained; n != (linebuf.Count{}) {
			s.t.Errorf("%s retains %+v", b.Target, n)
		}
	}
	if taken := s.shared.Taken(); sum != taken || s.shared.Retained() != (linebuf.Count{}) || s.buffers.InUse() != 0 {
		s.t.Errorf("taken %+v, confirmed and handed over %+v, retained %+v, %d bytes in use", taken, sum,
			s.shared.Retained(), s.buffers.InUse())
	}
}

// A stop hands over what is not confirmed, from the start of a line on: what was written, the rest
// of what is half written, and what waits.
func TestStopHandsOverWhatIsNotConfirmed(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		all := s.kept()
		s.out().holds = true
		s.take(framing.Newline, "a\nbb\nccc\n")
		s.out().told.Acked = 4 // in the second line
		s.m.Take(segmentOf(s.buffers, "dddd\n", 0, 0).buf)
		s.out().written += 2
		s.m.Wrote(2, nil, time.Now())
		s.m.Keep(segmentOf(s.buffers, "e\n", 0, 0).buf, time.Now())
		s.wantKept(all, "bb\nccc\n", "dddd\n", "e\n")
	})
}

// The last look at a connection that is stopped comes too late for an event, and counts.
func TestStopConfirmsWhatWasRead(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		all := s.kept()
		x := s.takeIssued("a\nb\n")
		s.wantKept(all)
		x.want(t, 1)
	})
}

// What was written to a connection that is being left is older than all else.
func TestStopHandsOverTheOldestFirst(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		all := s.kept()
		s.out().holds = true
		s.take(framing.Newline, "1\n")
		s.out().told.FIN = true
		s.pass(target.Tick)
		s.connect().holds = true
		s.take(framing.Newline, "2\n")
		if len(s.m.leaving) != 1 {
			t.Fatalf("%d connections are being left", len(s.m.leaving))
		}
		s.wantKept(all, "1\n", "2\n")
	})
}

// Without a place for it, what is left stays counted as retained.
func TestStopWithoutKeep(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.out().holds = true
		x := s.takeIssued("a\nb\n")
		s.m.Stop()
		s.m.Abort(time.Now())
		s.shared.Leave(segmentOf(s.buffers, "c\n", 0, 0).buf)
		if n := s.shared.Retained(); n != count(2, 4) || s.shared.Taken() != n || s.shared.Kept() != (linebuf.Count{}) {
			t.Errorf("%+v retained, %+v taken", n, s.shared.Taken())
		}
		x.want(t, 0)
	})
}
