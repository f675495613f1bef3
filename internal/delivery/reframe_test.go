package delivery

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
	"linesplit/target"
)

// Where lines begin and end does not depend on how they are told apart.
func TestSegmentsOfAnyFraming(t *testing.T) {
	pool := linebuf.NewPool(0)
	for f, lines := range map[framing.Framing][]string{
		framing.Newline: {"ab\n", "\n", "cde\n"},
		framing.NUL:     {"a\n\x00", "\x00", "c\n\n\x00"},
		framing.Octet:   {"3 a\n\x00", "1 \n", "12 01234567890\n"},
	} {
		text := strings.Join(lines, "")
		end := 1000 + uint64(len(text))
		s := segmentOf(pool, text, 0, end)
		s.buf.Framing, s.lines = f, len(lines)
		var w window
		w.push(s)
		start := uint64(1000)
		for i, line := range lines {
			next := start + uint64(len(line))
			for pos := start; pos < next; pos++ {
				if got := s.lineStart(pos); got != start {
					t.Errorf("%v: lineStart(%d) = %d, want %d", f, pos, got, start)
				}
				if got, want := w.after(pos), count(uint64(len(lines)-i), end-start); got != want {
					t.Errorf("%v: after(%d) = %v, want %v", f, pos, got, want)
				}
				if got, want := s.begun(0, pos+1), count(uint64(i+1), next-1000); got != want {
					t.Errorf("%v: begun(%d) = %v, want %v", f, pos+1, got, want)
				}
			}
			trimmed := s
			if got, want := trimmed.trim(next), count(uint64(i+1), next-1000); got != want || trimmed.lines != len(lines)-i-1 {
				t.Errorf("%v: trim(%d) = %v, want %v", f, next, got, want)
			}
			start = next
		}
	}
}

// take gives the machine lines and writes what it is to write, and returns that.
func (s *stage) take(f framing.Framing, text string) string {
	s.t.Helper()
	b := s.buffers.MustGet(len(text))
	b.B, b.Framing, b.Read = append(b.B, text...), f, time.Now()
	b.Lines = f.Count(b.B)
	s.m.Take(b)
	return s.writeAll()
}

func (s *stage) writeAll() (written string) {
	for {
		c, p := s.m.Writing()
		if len(p) == 0 {
			return written
		}
		written += string(p)
		c.(*toldConn).written += len(p)
		s.m.Wrote(len(p), nil, time.Now())
	}
}

// ledger checks that what was taken is accounted for.
func (s *stage) ledger() {
	s.t.Helper()
	s.m.checkConns(time.Now())
	r := s.shared.Reframed()
	sum := s.shared.Retained()
	for _, b := range s.targets {
		sum.Add(b.Counters().Confirmed)
	}
	sum.Add(r.Refused)
	sum.Bytes += r.Removed
	sum.Bytes -= r.Added
	if taken := s.shared.Taken(); sum != taken {
		s.t.Errorf("taken %+v, and accounted for %+v, %+v", taken, sum, r)
	}
}

func TestLinesGetTheFramingOfTheirTarget(t *testing.T) {
	for _, tc := range []struct {
		to   framing.Framing
		rule framing.Embedded
		want string
		r    Reframed
	}{
		{framing.Newline, framing.Escape, "a\\nb\nc\n", Reframed{Altered: 1, Removed: 1}},
		{framing.Newline, framing.Space, "a b\nc\n", Reframed{Altered: 1, Removed: 2}},
		{framing.Newline, framing.Refuse, "c\n", Reframed{Refused: count(1, 5), Removed: 1}},
		{framing.NUL, framing.Refuse, "a\nb\x00c\x00", Reframed{Removed: 2}},
		{framing.Octet, framing.Refuse, "3 a\nb1 c", Reframed{}},
	} {
		t.Run(fmt.Sprint(tc.to, " ", tc.rule), func(t *testing.T) {
			onStage(t, 1, func(s *stage) {
				set := *s.shared.Settings()
				set.Embedded = tc.rule
				s.shared.SetSettings(&set)
				s.targets[0].Target.Address.Framing = tc.to
				if got := s.take(framing.Octet, "3 a\nb1 c"); got != tc.want {
					t.Errorf("wrote %q, want %q", got, tc.want)
				}
				if got := s.shared.Reframed(); got != tc.r {
					t.Errorf("%+v, want %+v", got, tc.r)
				}
				s.ledger()
				s.pass(target.Tick)
				if s.shared.Retained() != (linebuf.Count{}) || s.buffers.InUse() != 0 {
					t.Errorf("%+v retained, %d bytes in use", s.shared.Retained(), s.buffers.InUse())
				}
			})
		})
	}
}

// A machine that was given nothing but lines that its target cannot hold goes on with the next.
func TestRefusedLinesLeaveNothingToWrite(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		set := *s.shared.Settings()
		set.Embedded = framing.Refuse
		s.shared.SetSettings(&set)
		if got := s.take(framing.NUL, "a\nb\x00"); got != "" || !s.m.Wants() {
			t.Errorf("wrote %q, wants more: %v", got, s.m.Wants())
		}
		if got := s.take(framing.NUL, "c\x00"); got != "c\n" {
			t.Errorf("wrote %q", got)
		}
		s.ledger()
	})
}

// Keys move behind the last line of their lane that is on its way. A refused one is on its way no
// more.
func TestRefusedLinesHoldUpNoKey(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		set := *s.shared.Settings()
		set.Embedded = framing.Refuse
		s.shared.SetSettings(&set)
		done := new(atomic.Uint64)
		s.m.inOrder = done
		s.take(framing.NUL, "a\nb\x00c\x00")
		if n := done.Load(); n != 0 {
			t.Errorf("%d lines are done before the other one is confirmed", n)
		}
		s.pass(target.Tick)
		if n := done.Load(); n != 2 {
			t.Errorf("%d lines are done, want both", n)
		}
		s.take(framing.NUL, "d\ne\x00")
		if n := done.Load(); n != 3 {
			t.Errorf("%d lines are done, want the refused one with nothing before it", n)
		}
	})
}

// A line that was refused counted as done at once: a key whose last line was not confirmed yet
// could go to another target for a refused line behind it.
func TestRefusedLinesAreNotDoneBeforeThoseBeforeThem(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		set := *s.shared.Settings()
		set.Embedded = framing.Refuse
		s.shared.SetSettings(&set)
		done := new(atomic.Uint64)
		s.m.inOrder = done
		s.out().holds = true
		s.take(framing.NUL, "a\x00")
		s.take(framing.NUL, "b\nc\x00")
		s.take(framing.NUL, "d\x00")
		s.pass(target.Tick)
		if n := done.Load(); n != 0 {
			t.Errorf("%d lines are done, and none is confirmed", n)
		}
		s.out().holds = false
		s.pass(target.Tick)
		if n := done.Load(); n != 3 {
			t.Errorf("%d lines are done, want all", n)
		}
	})
}

// Lines that a target did not read go to one of another framing, from the start of a line on.
func TestLinesAreRewrittenWhenTheyAreSentAgain(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.targets[0].Target.Address.Framing = framing.Octet
		s.out().holds = true
		if got := s.take(framing.Octet, "3 a\nb12 0123456789012 xy"); got != "3 a\nb12 0123456789012 xy" {
			t.Errorf("wrote %q", got)
		}
		s.out().told.Acked = 10 // in the second line
		s.out().told.Err = errSilent
		s.pass(target.Tick)
		time.Sleep(time.Until(s.m.Wake()))
		s.m.Due(time.Now())
		if s.dialled != s.targets[1] {
			t.Fatalf("dialled: %v", s.dialled)
		}
		s.connect()
		if got, want := s.writeAll(), "012345678901\nxy\n"; got != want {
			t.Errorf("wrote %q, want %q", got, want)
		}
		s.ledger()
	})
}
