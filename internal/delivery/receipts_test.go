package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
	"linesplit/target"
)

// issued is a record of lines that has been told so often that they are not needed any more.
type issued struct {
	linebuf.Receipt
	released int
}

func (x *issued) Released(*linebuf.Receipt, int) { x.released++ }

// issue gives the lines of b a receipt.
func issue(b *linebuf.Buffer) *issued {
	x := &issued{}
	x.Init(x)
	b.Attach(&x.Receipt, 1)
	return x
}

// want demands that the receipt was released so often.
func (x *issued) want(t *testing.T, n int) {
	t.Helper()
	if x.released != n {
		t.Errorf("a receipt was released %d times, want %d", x.released, n)
	}
}

// put pushes a segment and merges it with the one before, and gives back what that frees.
func (w *window) put(pool *linebuf.Pool, s segment) {
	w.push(s)
	pool.Put(w.mergeNewest(pool))
}

// Lines that are merged are confirmed together: the buffer that is freed must not tell of its own.
func TestMergedLinesKeepTheirReceipts(t *testing.T) {
	for name, shared := range map[string]bool{"in place": false, "in a copy": true} {
		t.Run(name, func(t *testing.T) {
			pool := linebuf.NewPool(0)
			var account linebuf.Account
			var w window
			var all []*issued
			for i := range uint64(3) {
				s := segmentOf(pool, "line\n", 0, 5*(i+1))
				all = append(all, issue(s.buf))
				if shared {
					s.buf = pool.Share(s.buf, []*linebuf.Account{&account}, nil)[0]
				}
				w.put(pool, s)
			}
			if n := len(w.list); n != 1 {
				t.Fatalf("%d segments, want one", n)
			}
			for _, x := range all {
				x.want(t, 0)
			}
			pool.Put(w.pop().buf)
			for _, x := range all {
				x.want(t, 1)
			}
		})
	}
}

// At a shutdown the spool has the lines with a receipt, and nothing but the window has the others.
func TestLinesWithReceiptsAreMergedAmongThemselves(t *testing.T) {
	pool := linebuf.NewPool(0)
	var w window
	for i := range uint64(12) {
		s := segmentOf(pool, fmt.Sprint(i/3%2, "\n"), 0, 2*(i+1))
		if i/3%2 == 0 {
			issue(s.buf)
		}
		w.put(pool, s)
	}
	for i, s := range w.list {
		if got, want := string(s.bytes()), strings.Repeat(fmt.Sprint(i%2, "\n"), 3); got != want || s.buf.Kept() != (i%2 == 0) {
			t.Errorf("segment %d has %q, receipts: %v", i, got, s.buf.Kept())
		}
	}
}

// Ten thousand lines of two bytes each would bring as many receipts into a buffer, which no budget
// counts.
func TestMergedReceiptsAreBounded(t *testing.T) {
	pool := linebuf.NewPool(0)
	var w window
	const n = 10_000
	for i := range uint64(n) {
		s := segmentOf(pool, "x\n", int(i%7)*500, 2*(i+1))
		issue(s.buf)
		w.put(pool, s)
	}
	if w.mem < 128*n {
		t.Errorf("%d receipts in %d bytes of memory", n, w.mem)
	}
	if len(w.list) > n/2 {
		t.Errorf("%d of %d lines were not merged", len(w.list), n)
	}
}

// takeIssued gives the machine lines with a receipt, and writes what it is to write.
func (s *stage) takeIssued(text string) *issued {
	s.t.Helper()
	b := segmentOf(s.buffers, text, 0, 0).buf
	b.Read = time.Now()
	x := issue(b)
	s.m.Take(b)
	s.writeAll()
	return x
}

func TestRewrittenLinesKeepTheirReceipt(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.targets[0].Target.Address.Framing = framing.Octet
		s.out().holds = true
		x := s.takeIssued("a\nb\n")
		s.pass(target.Tick)
		x.want(t, 0)
		s.out().holds = false
		s.pass(target.Tick)
		x.want(t, 1)
	})
}

// Lines that no target can hold are counted as dropped, and nothing waits for them.
func TestRefusedLinesReleaseTheirReceipt(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		set := *s.shared.Settings()
		set.Embedded = framing.Refuse
		s.shared.SetSettings(&set)
		s.targets[0].Target.Address.Framing = framing.NUL
		x := s.takeIssued("a\x00b\n")
		x.want(t, 1)
		if n := s.shared.Reframed().Refused.Lines; n != 1 {
			t.Errorf("%d lines are refused", n)
		}
	})
}

// A failure, and the resend to another target, leave the receipt with the lines.
func TestResentLinesKeepTheirReceipt(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.out().holds = true
		x := s.takeIssued("a\nb\n")
		s.out().told.Acked, s.out().told.Err = 3, errSilent // in the second line
		s.pass(target.Tick)
		x.want(t, 0)
		time.Sleep(time.Until(s.m.Wake()))
		s.m.Due(time.Now())
		s.connect().holds = true
		if got := s.writeAll(); got != "b\n" {
			t.Errorf("sent again: %q", got)
		}
		s.pass(target.Tick)
		x.want(t, 0)
		s.out().holds = false
		s.pass(target.Tick)
		x.want(t, 1)
	})
}
