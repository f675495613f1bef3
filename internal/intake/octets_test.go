package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/intake/naive"
	"linesplit/linebuf"
)

// account is a driver that adds up the losses.
type account struct {
	passive
	lost Losses
}

func (a *account) Lost(l Losses) {
	for why, n := range l.Dropped {
		a.lost.Dropped[why].Add(n)
	}
	a.lost.Truncated += l.Truncated
}

// framed is the outcome of a stream of any framing.
type framed struct {
	out               string
	lines             int
	as                framing.Framing // of out, if it is not empty
	oversize          linebuf.Count
	cutOff            uint64
	truncated         uint64
	torn              int
	closed, uncounted bool
}

// feedFramed feeds in to a stream, in reads of at most step() bytes, and ends the stream cleanly.
func feedFramed(t *testing.T, in []byte, f framing.Framing, set Limits, step func() int) (r framed) {
	t.Helper()
	pool := linebuf.NewPool(64 << 20)
	shared := NewShared(pool, 512, 2048, time.Now())
	shared.SetMaxLine(set.MaxLine)
	var a account
	var s Stream
	now := time.Now()
	s.Init(shared, &a, Options{Framing: f}, set, now)
	received := len(in)
	handOver := func(b *linebuf.Buffer) {
		if got := b.Framing.Count(b.B); got != b.Lines || b.Framing.Start(b.B, len(b.B)) != len(b.B) {
			t.Fatalf("%d lines in %q, %v, which has %d", b.Lines, b.B, b.Framing, got)
		}
		r.out, r.lines, r.as = r.out+string(b.B), r.lines+b.Lines, b.Framing
		pool.Put(b)
	}
	left := 0
	for len(in) > 0 && !r.closed {
		if s.Prepare() != Ready {
			t.Fatal("not ready")
		}
		n := copy(s.Room(), in[:min(step(), len(in))])
		in = in[n:]
		got := s.Read(n, set, now)
		if got.Whole != nil {
			handOver(got.Whole)
		}
		if r.closed, r.uncounted = got.Close, got.Uncounted; !r.closed {
			s.Settle()
		}
	}
	left = len(in)
	if !r.closed {
		if b := s.Last(now); b != nil {
			if b.Framing != framing.Octet && len(b.B) > 0 {
				received++ // the delimiter
			}
			handOver(b)
		}
	}
	r.torn = int(s.Torn().Bytes)
	r.oversize, r.truncated = a.lost.Dropped[ReasonOversize], a.lost.Truncated
	r.cutOff = a.lost.Dropped[ReasonTruncated].Bytes
	sum := len(r.out) + r.torn + left
	for _, d := range a.lost.Dropped {
		sum += int(d.Bytes)
	}
	if s.rules.skipping && s.rules.why == ReasonTruncated && s.rules.framing != framing.Octet && !r.closed {
		received++ // the delimiter of the last line, which was truncated
	}
	if sum != received {
		t.Errorf("%d bytes in the ledger, %d received: %+v, %+v", sum, received, r, a.lost)
	}
	s.End()
	if n := pool.InUse(); n != 0 || shared.budget.charged.Load() != 0 {
		t.Errorf("%d bytes in use at the end, %d charged", n, shared.budget.charged.Load())
	}
	return r
}

func modelFramed(in []byte, f framing.Framing, set Limits) framed {
	n, as := naive.CutFramed(in, f, set.MaxLine, set.Policy.String())
	r := framed{n.Out, n.Lines, as, n.Oversize, n.CutOff, n.Truncated, n.Torn, n.Closed, n.Uncounted}
	if r.out == "" {
		r.as = framing.Newline
	}
	return r
}

// checkFramed compares outcomes. What a closed connection drops depends on the reads.
func checkFramed(t *testing.T, in []byte, got, want framed) {
	t.Helper()
	if got.closed && want.closed {
		got.oversize, got.cutOff, got.torn = want.oversize, want.cutOff, want.torn
	}
	if got != want {
		t.Errorf("%q\ngot  %+v\nwant %+v", in, got, want)
	}
}

func TestCountedLinesMatchModel(t *testing.T) {
	const most = 40
	counted := func(n int) string { return fmt.Sprintf("%d %s", n, strings.Repeat("x\n\x00", n)[:n]) }
	var inputs []string
	for _, n := range []int{1, 9, 10, most - 4, most - 3, most - 2, most, 99, 100, 1000, 2500} {
		one := counted(n)
		inputs = append(inputs, one, "1 a"+one+"1 b", one+one, one[:len(one)-1], "2 ab"+one+"x", one+"12")
	}
	inputs = append(inputs, "", "a line\n", "0 ", "1 a\n1 b", "9999999999 a", "99999999999 a", "3 abc3")
	for _, in := range inputs {
		for _, policy := range []Oversize{Drop, Truncate, Close} {
			for _, step := range []int{1, 2, 7, most, 1 << 20} {
				set := Limits{MaxLine: most, Policy: policy}
				got := feedFramed(t, []byte(in), framing.Octet, set, func() int { return step })
				checkFramed(t, []byte(in), got, modelFramed([]byte(in), framing.Octet, set))
			}
		}
	}
}

func TestFramingIsFoundByTheFirstBytes(t *testing.T) {
	for in, want := range map[string]framed{
		"6 <13>ab6 <13>cd":    {out: "6 <13>ab6 <13>cd", lines: 2, as: framing.Octet},
		"7 apples\n":          {out: "7 apples\n", lines: 1, as: framing.Newline},
		"<13>a\nb\n<13>c\x00": {out: "<13>a\nb\n<13>c\x00\n", lines: 3, as: framing.Newline},
		"<13>a\x00<13>b\nc":   {out: "<13>a\x00<13>b\nc\x00", lines: 2, as: framing.NUL},
		"12":                  {out: "12\n", lines: 1, as: framing.Newline},
		"12 ":                 {out: "12 \n", lines: 1, as: framing.Newline},
		"12\n12 <":            {out: "12\n12 <\n", lines: 2, as: framing.Newline},
		"\x00\n":              {out: "\x00\n\x00", lines: 2, as: framing.NUL},
		"12345678901 <13>a\n": {out: "12345678901 <13>a\n", lines: 1, as: framing.Newline},
		"":                    {},
	} {
		for step := 1; step < 20; step++ {
			set := Limits{MaxLine: 100}
			got := feedFramed(t, []byte(in), framing.Auto, set, func() int { return step })
			checkFramed(t, []byte(in), got, want)
		}
	}
}

// A line that was dropped for memory before its count had come whole left the stream in the middle
// of that line.
func TestCountedLineDroppedForMemoryIsSkipped(t *testing.T) {
	const in, next = "11 <13>a line\n", "3 abc"
	for _, f := range []framing.Framing{framing.Octet, framing.Auto} {
		for dropAt := 1; dropAt < len(in)-1; dropAt++ {
			for step := 1; step < len(in); step++ {
				l, set := rules{max: 100, framing: f}, Limits{MaxLine: 100}
				first := []byte(in[:dropAt])
				l.apply(set, first, 0)
				l.abandon(ReasonMemory, first)
				rest, out, dropped := in[dropAt:]+next, "", uint64(0)
				var carried []byte
				for len(rest) > 0 {
					n := min(step, len(rest))
					b := append(carried, rest[:n]...)
					c := l.apply(set, b, len(carried))
					rest, out = rest[n:], out+string(b[:c.whole])
					dropped += c.dropped[ReasonMemory].Bytes
					carried = append([]byte(nil), b[c.whole:c.whole+c.rest]...)
				}
				if out != next || len(carried) > 0 || dropped != uint64(len(in)-dropAt) {
					t.Fatalf("%v, dropped at %d, in reads of %d: %q, %q is left, %d bytes", f, dropAt, step, out, carried, dropped)
				}
			}
		}
	}
}

func FuzzFramed(f *testing.F) {
	f.Add([]byte("6 <13>ab6 <13>cd"), uint8(3), uint16(20), uint8(0), uint64(1))
	f.Add([]byte("30 <13>0123456789012345678901234 <12>"), uint8(2), uint16(20), uint8(1), uint64(0x0305))
	f.Add([]byte("a\x00b\nc\x00\x00"), uint8(1), uint16(16), uint8(2), uint64(2))
	f.Add([]byte("12 <a\nb\x00"), uint8(3), uint16(16), uint8(1), uint64(1))
	f.Add([]byte("200 a1 b"), uint8(2), uint16(16), uint8(2), uint64(1))
	f.Fuzz(func(t *testing.T, in []byte, fr uint8, most uint16, policy uint8, steps uint64) {
		set := Limits{MaxLine: max(minCounted, int(most)), Policy: Oversize(policy % 3)}
		step := func() int { // uses the eight bytes of steps in turn
			n := int(steps & 0xff)
			steps = steps>>8 | steps<<56
			return n + 1
		}
		how := framing.Framing(fr % 4)
		got := feedFramed(t, in, how, set, step)
		checkFramed(t, in, got, modelFramed(in, how, set))
	})
}

// A counted line that is truncated is unfinished until all of it has come. It counted as ended when
// what is delivered of it had: -line-timeout counted anew from then on.
func TestLineTimeoutOfTruncatedCountedLine(t *testing.T) {
	shared := NewShared(linebuf.NewPool(1<<20), 512, 2048, time.Now())
	set := Limits{MaxLine: 40, Policy: Truncate}
	shared.SetMaxLine(set.MaxLine)
	var a account
	var s Stream
	begin := time.Now()
	s.Init(shared, &a, Options{Framing: framing.Octet, Timed: true}, set, begin)
	for i, part := range []string{"100 xxxx", strings.Repeat("x", 50)} {
		if s.Prepare() != Ready {
			t.Fatal("not ready")
		}
		n := copy(s.Room(), part)
		s.Read(n, set, begin.Add(time.Duration(i)*1500*time.Millisecond))
		s.Settle()
	}
	if got := s.Expired(begin.Add(2500*time.Millisecond), 0, 2*time.Second); got != SlowLine {
		t.Errorf("timeout %d, want %d", got, SlowLine)
	}
}
