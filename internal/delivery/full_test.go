package delivery

import (
	"testing"
	"time"

	"linesplit/target"
)

// fill sends until the window of a stage is full and returns when.
func (s *stage) fill() time.Time {
	s.t.Helper()
	for range 2000 {
		if !s.m.Wants() {
			return time.Now()
		}
		s.send()
	}
	s.t.Fatal("the window does not fill")
	return time.Time{}
}

// untilOpen does what Wake asks for until the machine wants lines again, or for a second. The
// target reads everything after the time given.
func (s *stage) untilOpen(reads time.Duration) (took time.Duration, looks int) {
	start, before := time.Now(), s.out().looks
	readAt := start.Add(reads)
	for !s.m.Wants() && time.Since(start) < time.Second {
		at := s.m.Wake()
		if s.out().holds && !readAt.After(at) {
			time.Sleep(time.Until(readAt))
			s.out().holds = false
		}
		time.Sleep(time.Until(at))
		s.m.Due(time.Now())
	}
	return time.Since(start), s.out().looks - before
}

// smallWindow is a stage whose window holds a few buffers, and whose target reads only when told.
func smallWindow(t *testing.T, f func(s *stage)) {
	onStage(t, 1, func(s *stage) {
		set := *s.shared.Settings()
		set.WindowMax = 4 << 10
		s.shared.SetSettings(&set)
		s.pass(target.Tick)
		s.out().holds = true
		f(s)
	})
}

// A full window was looked at every 5 ms, whatever the round trip: with -resend-max 64KiB, eight
// connections over the loopback carried 104 MB/s, one window of each per 5 ms.
func TestFullWindowIsFoundOpenSoon(t *testing.T) {
	for _, reads := range []time.Duration{50 * time.Microsecond, 300 * time.Microsecond, 2 * time.Millisecond} {
		smallWindow(t, func(s *stage) {
			for range 20 {
				s.fill()
				took, looks := s.untilOpen(reads)
				if most := reads + reads/2 + minRecheck; took > most || looks > 12 {
					s.t.Errorf("read after %v: open after %v, %d looks; want at most %v", reads, took, looks, most)
				}
				s.out().holds = true
			}
		})
	}
}

// A receiver that takes its time costs few looks for each window, and one that hangs no more than
// one per maxRecheck.
func TestSlowReceiverCostsFewLooks(t *testing.T) {
	smallWindow(t, func(s *stage) {
		for i := range 20 {
			s.fill()
			if _, looks := s.untilOpen(4 * time.Millisecond); i > 0 && looks > 4 {
				s.t.Errorf("%d looks at a window that opens every 4 ms", looks)
			}
			s.out().holds = true
		}
		s.fill()
		if _, looks := s.untilOpen(time.Hour); looks > 210 {
			s.t.Errorf("%d looks in a second at a window that does not open", looks)
		}
	})
}

// The bytes that a receiver's TLS may have read and not handed on are retained beyond what the
// kernel tells. A window that held no more than those was full until age confirmed some of it: with
// -resend-max 64KiB, a TLS receiver on the same host got one buffer in ten seconds.
func TestWindowSmallerThanSlackOpens(t *testing.T) {
	smallWindow(t, func(s *stage) {
		s.out().slack = 64 << 10
		s.out().holds = false
		for range 2000 {
			if !s.m.Wants() {
				s.t.Fatalf("full although everything has been read, %d bytes", s.m.out.window.mem)
			}
			s.send()
		}
		if mem := s.m.out.window.mem; mem < 2<<10 {
			s.t.Errorf("only %d bytes are retained", mem)
		}
	})
}
