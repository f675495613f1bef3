package intake

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"linesplit/internal/intake/naive"
	"linesplit/linebuf"
)

var newline = []byte{'\n'}

// result is the outcome of a stream.
type result struct {
	out       string
	lines     int
	dropped   [NumReasons]linebuf.Count
	truncated uint64
	closed    bool
}

// model returns the result of package naive.
func model(in []byte, max int, policy Oversize) (r result) {
	n := naive.Cut(in, max, policy.String())
	r = result{out: n.Out, lines: n.Lines, truncated: n.Truncated, closed: n.Closed}
	r.dropped[ReasonOversize] = n.Oversize
	r.dropped[ReasonTruncated].Bytes = n.CutOff
	return r
}

// feed applies the rules to in, in reads of step() bytes, and ends the stream cleanly.
func feed(t *testing.T, in []byte, max int, policy Oversize, step func() int) (r result) {
	t.Helper()
	l := rules{max: max, policy: policy}
	var carried []byte
	for len(in) > 0 && !r.closed {
		n := min(step(), len(in))
		b := append(carried, in[:n]...)
		c := l.cut(b, len(carried))
		in = in[n:]
		whole, rest := b[:c.whole], b[c.whole:c.whole+c.rest]
		if len(whole) > 0 && whole[len(whole)-1] != '\n' {
			t.Fatalf("whole lines end in %q", whole[len(whole)-1])
		}
		if got := bytes.Count(whole, newline); got != c.lines {
			t.Fatalf("%d whole lines, but %d counted", c.lines, got)
		}
		if bytes.Contains(rest, newline) || len(rest) >= max {
			t.Fatalf("a rest of %d bytes with max %d: %q", len(rest), max, rest)
		}
		r.out += string(whole)
		r.lines += c.lines
		r.truncated += c.truncated
		r.closed = c.close
		for why, n := range c.dropped {
			r.dropped[why].Add(n)
		}
		carried = bytes.Clone(rest)
	}
	if len(carried) > 0 {
		r.out += string(carried) + "\n"
		r.lines++
	}
	return r
}

// check compares results. The bytes that a closed connection had read beyond its last line depend
// on the reads, so it ignores them.
func check(t *testing.T, got, want result) {
	t.Helper()
	if got.closed && want.closed {
		if got.dropped[ReasonOversize].Lines != 1 {
			t.Errorf("%d lines were too long, want 1: %+v", got.dropped[ReasonOversize].Lines, got)
		}
		got.dropped, want.dropped = [NumReasons]linebuf.Count{}, [NumReasons]linebuf.Count{}
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCutMatchesModel(t *testing.T) {
	const max = 16
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, policy := range []Oversize{Drop, Truncate, Close} {
		// Sizes are without the newline.
		for _, size := range []int{0, 1, max - 2, max - 1, max, max + 1, 2*max - 1, 2 * max, 2*max + 1} {
			for _, frame := range []string{"%s", "%s\n", "a\n%s\nb\n", "a\n%s\nb", "\n\r\n%s\n\n\n",
				"%[1]s\n%[1]s\n%[1]s", "a\n%s\n" + x(max)} {
				in := fmt.Sprintf(frame, x(size))
				for _, step := range []int{1, 7, max - 1, max, max + 1, 1 << 20} {
					t.Run(fmt.Sprintf("%v/%d/%q/%d", policy, size, frame, step), func(t *testing.T) {
						got := feed(t, []byte(in), max, policy, func() int { return step })
						check(t, got, model([]byte(in), max, policy))
					})
				}
			}
		}
	}
}

func TestCutExamples(t *testing.T) {
	for _, tc := range []struct {
		name, carried, new string
		want               cut
		b                  string // the used part of the buffer afterwards
	}{
		{"a line", "", "abc\n", cut{ended: true, whole: 4, lines: 1}, "abc\n"},
		{"two and a bit", "", "a\nb\nc", cut{ended: true, whole: 4, lines: 2, rest: 1}, "a\nb\nc"},
		{"a bit", "", "abc", cut{rest: 3}, "abc"},
		{"a bit more", "abc", "de", cut{rest: 5}, "abcde"},
		{"the end of a line", "abc", "\n", cut{ended: true, whole: 4, lines: 1}, "abc\n"},
		{"empty lines", "", "\n\n\n", cut{ended: true, whole: 3, lines: 3}, "\n\n\n"},
		{"any bytes", "", "\x00\xff\r\n\xc3", cut{ended: true, whole: 4, lines: 1, rest: 1}, "\x00\xff\r\n\xc3"},
		{"too long, between others", "ab", "\n0123456789\nc\nd", cut{ended: true, whole: 5, lines: 2, rest: 1, lossy: true,
			dropped: [NumReasons]linebuf.Count{ReasonOversize: {Lines: 1, Bytes: 11}}}, "ab\nc\nd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := rules{max: 10}
			b := []byte(tc.carried + tc.new)
			got := l.cut(b, len(tc.carried))
			if got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
			if left := string(b[:got.whole+got.rest]); left != tc.b {
				t.Errorf("left %q, want %q", left, tc.b)
			}
		})
	}
}

// Lines that were read behind one that was too long were counted as too long themselves.
func TestCloseTellsWhatWasTooLong(t *testing.T) {
	for _, tc := range []struct {
		from          int // of the input: carried
		in            string
		whole, closed int // bytes before and behind
		lines         uint64
	}{
		{0, "ab\n0123456789\nc\nd", 3, 3, 2},
		{0, "ab\n0123456789\nc\n", 3, 2, 1},
		{0, "ab\n0123456789\n", 3, 0, 0},
		{0, "ab\n0123456789", 3, 0, 0},
		{8, "0123456789\nc\nd", 0, 3, 2},
	} {
		for name, cut := range map[string]func(l *rules, b []byte) cut{
			"the same rules": func(l *rules, b []byte) cut { return l.cut(b, tc.from) },
			"new rules":      func(l *rules, b []byte) cut { return l.change(100, Drop, b, tc.from) },
		} {
			if name == "new rules" && tc.from == 0 {
				continue // they apply to all lines
			}
			l := rules{max: 10, policy: Close}
			r := cut(&l, []byte(tc.in))
			want := linebuf.Count{Lines: 1, Bytes: uint64(len(tc.in) - tc.whole - tc.closed)}
			if d := r.dropped[ReasonOversize]; !r.close || r.whole != tc.whole || d != want {
				t.Errorf("%q, %s: %+v, want %+v", tc.in, name, r, want)
			}
			if d := r.dropped[ReasonClosed]; d != (linebuf.Count{Lines: tc.lines, Bytes: uint64(tc.closed)}) {
				t.Errorf("%q, %s: behind it %+v, want %d lines", tc.in, name, d, tc.lines)
			}
		}
	}
}

// An abandoned line is skipped up to its newline, and the next one is whole.
func TestAbandonedLineIsSkipped(t *testing.T) {
	l := rules{max: 100}
	if r := l.abandon(ReasonMemory, []byte("01234")); r.dropped[ReasonMemory] != (linebuf.Count{Lines: 1, Bytes: 5}) {
		t.Errorf("abandoned: %+v", r.dropped)
	}
	b := []byte("xxx")
	if r := l.cut(b, 0); r.whole+r.rest != 0 || r.dropped[ReasonMemory] != (linebuf.Count{Bytes: 3}) {
		t.Errorf("skipped: %+v", r)
	}
	b = []byte("x\nab\nc")
	r := l.cut(b, 0)
	if r.whole != 3 || r.rest != 1 || r.lines != 1 || r.dropped[ReasonMemory] != (linebuf.Count{Bytes: 2}) ||
		string(b[:4]) != "ab\nc" {
		t.Errorf("after it: %+v, %q", r, b)
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("a\nbb\r\n\nccc"), uint16(4), uint8(0), uint64(1))
	f.Add([]byte("0123456789\n\n0123456789"), uint16(3), uint8(1), uint64(0x0701))
	f.Add([]byte("\x00\xff\n0123456789\nab\n"), uint16(8), uint8(2), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, max uint16, policy uint8, steps uint64) {
		if max == 0 {
			return
		}
		p := Oversize(policy % 3)
		step := func() int { // uses the eight bytes of steps in turn
			n := int(steps & 0xff)
			steps = steps>>8 | steps<<56
			return n + 1
		}
		got := feed(t, in, int(max), p, step)
		want := model(in, int(max), p)
		check(t, got, want)
		if !got.closed {
			received := len(in)
			if n := len(in); n > 0 && in[n-1] != '\n' && !endsSkipped(in, int(max), p) {
				received++
			}
			sum := uint64(len(got.out))
			for _, d := range got.dropped {
				sum += d.Bytes
			}
			if sum != uint64(received) {
				t.Errorf("%d bytes in the ledger, %d received", sum, received)
			}
		}
	})
}

// endsSkipped reports whether the last, unfinished line was dropped, so that no newline is added to
// it.
func endsSkipped(in []byte, max int, p Oversize) bool {
	last := in[bytes.LastIndexByte(in, '\n')+1:]
	return p == Drop && len(last) >= max
}

func TestOversizeNamesParse(t *testing.T) {
	for _, o := range []Oversize{Drop, Truncate, Close} {
		if got, err := ParseOversize(o.String()); err != nil || got != o {
			t.Errorf("%v: got %v, %v", o, got, err)
		}
	}
	if _, err := ParseOversize("keep"); err == nil || !strings.Contains(err.Error(), `"keep"`) {
		t.Errorf("an unknown policy: %v", err)
	}
	if got := Oversize(7).String(); got != "Oversize(7)" {
		t.Error(got)
	}
}

// BenchmarkCut measures the line rules alone.
func BenchmarkCut(b *testing.B) {
	in := []byte(strings.Repeat(strings.Repeat("x", 600)+"\n", 220))
	l := rules{max: 1 << 20}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		l.cut(in, 0)
	}
}
