package delivery

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linesplit/linebuf"
)

// segmentOf returns a segment with these lines that ends at end.
func segmentOf(pool *linebuf.Pool, text string, capacity int, end uint64) segment {
	b := pool.MustGet(max(len(text), capacity))
	b.B = append(b.B, text...)
	b.Lines = strings.Count(text, "\n")
	return segment{buf: b, lines: b.Lines, end: end}
}

func count(lines, bytes uint64) linebuf.Count {
	return linebuf.Count{Lines: lines, Bytes: bytes}
}

func TestLineStart(t *testing.T) {
	pool := linebuf.NewPool(0)
	const text = "ab\n\ncde\n" // lines at 0, 3, 4
	for _, start := range []uint64{0, 1000} {
		s := segmentOf(pool, text, 0, start+uint64(len(text)))
		for pos, want := range []uint64{0, 0, 0, 3, 4, 4, 4, 4, 8} {
			if got := s.lineStart(start + uint64(pos)); got != start+want {
				t.Errorf("start %d: lineStart(%d) = %d, want %d", start, pos, got-start, want)
			}
		}
	}
}

func TestTrim(t *testing.T) {
	pool := linebuf.NewPool(0)
	for _, c := range []struct {
		pos  uint64
		off  linebuf.Count
		left string
	}{
		{100, count(0, 0), "ab\n\ncde\n"},
		{103, count(1, 3), "\ncde\n"},
		{104, count(2, 4), "cde\n"},
		{108, count(3, 8), ""},
	} {
		s := segmentOf(pool, "ab\n\ncde\n", 0, 108)
		if got := s.trim(c.pos); got != c.off {
			t.Errorf("trim(%d) = %v, want %v", c.pos, got, c.off)
		}
		want := count(3-c.off.Lines, 8-c.off.Bytes)
		if string(s.bytes()) != c.left || s.count() != want || s.start() != c.pos {
			t.Errorf("trim(%d) leaves %q from %d, %v", c.pos, s.bytes(), s.start(), s.count())
		}
	}
}

func TestBegun(t *testing.T) {
	pool := linebuf.NewPool(0)
	s := segmentOf(pool, "ab\n\ncde\n", 0, 108) // lines at 100, 103, 104
	for _, c := range []struct {
		from, pos uint64
		want      linebuf.Count
	}{
		{0, 0, linebuf.Count{}},
		{0, 100, linebuf.Count{}},
		{0, 101, count(1, 3)},
		{0, 102, count(1, 3)},
		{0, 103, count(1, 3)},
		{0, 104, count(2, 4)},
		{0, 105, count(3, 8)},
		{0, 107, count(3, 8)},
		{0, 108, count(3, 8)},
		{0, 1000, count(3, 8)},
		{100, 101, count(1, 3)},
		{103, 1000, count(2, 5)},
		{104, 105, count(1, 4)},
		{104, 104, linebuf.Count{}},
		{104, 103, linebuf.Count{}},
		{108, 1000, linebuf.Count{}},
		{2000, 1000, linebuf.Count{}},
	} {
		if got := s.begun(c.from, c.pos); got != c.want {
			t.Errorf("begun(%d, %d) = %v, want %v", c.from, c.pos, got, c.want)
		}
	}
}

func TestMergeNewest(t *testing.T) {
	line := func(n int) string { return strings.Repeat("x", n-1) + "\n" }
	for name, c := range map[string]struct {
		prev, last   int
		prevCapacity int
		merged       bool
	}{
		"fits exactly":       {512 - 10, 10, 512, true},
		"one byte too many":  {512 - 10, 11, 512, false},
		"the greatest":       {10, maxMerge, 8192, true},
		"one more":           {10, maxMerge + 1, 8192, false},
		"no room at all":     {512, 1, 512, false},
		"an empty line":      {1, 1, 512, true},
		"greater than first": {1, 500, 512, true},
	} {
		t.Run(name, func(t *testing.T) {
			pool := linebuf.NewPool(0)
			var w window
			w.push(segmentOf(pool, line(c.prev), c.prevCapacity, uint64(c.prev)))
			if w.mergeNewest(nil) != nil {
				t.Fatal("merged with nothing before it")
			}
			w.push(segmentOf(pool, line(c.last), 0, uint64(c.prev+c.last)))
			mem := w.mem
			freed := w.mergeNewest(nil)
			if (freed != nil) != c.merged {
				t.Fatalf("merged: %v", freed != nil)
			}
			if c.merged {
				mem -= int64(cap(freed.B))
			}
			if w.mem != mem {
				t.Errorf("mem %d, want %d", w.mem, mem)
			}
			var got bytes.Buffer
			var sum linebuf.Count
			for end := uint64(0); !w.empty(); {
				s := w.pop()
				if s.start() != end {
					t.Errorf("starts at %d, want %d", s.start(), end)
				}
				end = s.end
				got.Write(s.bytes())
				sum.Add(s.count())
			}
			if got.String() != line(c.prev)+line(c.last) || sum != count(2, uint64(c.prev+c.last)) || w.mem != 0 {
				t.Errorf("%d bytes, %v, mem %d", got.Len(), sum, w.mem)
			}
		})
	}
}

// A segment that was popped and pushed again must not be merged into: only segments in the
// window can be.
func TestMergeAfterPop(t *testing.T) {
	pool := linebuf.NewPool(0)
	var w window
	w.push(segmentOf(pool, "a\n", 0, 2))
	w.push(segmentOf(pool, "b\n", 0, 4))
	w.pop()
	if w.mergeNewest(nil) != nil {
		t.Fatal("merged into a segment that has left the window")
	}
}

// A segment whose first lines were confirmed is merged behind the rest.
func TestMergeBehindTrimmed(t *testing.T) {
	pool := linebuf.NewPool(0)
	var w window
	w.push(segmentOf(pool, "aa\nbb\n", 0, 6))
	w.oldest().trim(3)
	w.push(segmentOf(pool, "cc\n", 0, 9))
	if w.mergeNewest(nil) == nil {
		t.Fatal("not merged")
	}
	if s := w.pop(); string(s.bytes()) != "bb\ncc\n" || s.start() != 3 || s.end != 9 || s.count() != count(2, 6) {
		t.Fatalf("%q from %d to %d, %v", s.bytes(), s.start(), s.end, s.count())
	}
}

// naiveWindow is a window written without regard to speed: the text, and the ends of its
// segments.
type naiveWindow struct {
	ends []uint64
	text []string
	caps []int64
	room []int64 // free capacity behind the content
}

func (n *naiveWindow) mem() (sum int64) {
	for _, c := range n.caps {
		sum += c
	}
	return sum
}

func (n *naiveWindow) merge() bool {
	i := len(n.text) - 1
	if i < 1 || len(n.text[i]) > maxMerge || int64(len(n.text[i])) > n.room[i-1] {
		return false
	}
	n.room[i-1] -= int64(len(n.text[i]))
	n.text[i-1] += n.text[i]
	n.ends[i-1] = n.ends[i]
	n.text, n.ends, n.caps, n.room = n.text[:i], n.ends[:i], n.caps[:i], n.room[:i]
	return true
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 10, 0, 10, 2, 1, 0, 200, 2, 3, 7})
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		seed := make([]byte, 400)
		for i := range seed {
			seed[i] = byte(r.IntN(256))
		}
		f.Add(seed)
	}
	f.Fuzz(checkWindow)
}

func checkWindow(t *testing.T, ops []byte) {
	pool := linebuf.NewPool(0)
	var w window
	var n naiveWindow
	var next uint64
	for len(ops) >= 2 {
		op, arg := ops[0]%4, int(ops[1])
		ops = ops[2:]
		switch {
		case op == 0:
			text := textOf(arg)
			next += uint64(len(text))
			s := segmentOf(pool, text, arg*4, next)
			w.push(s)
			n.ends, n.text, n.caps = append(n.ends, next), append(n.text, text), append(n.caps, int64(cap(s.buf.B)))
			n.room = append(n.room, int64(cap(s.buf.B)-len(text)))
		case op == 1 && !w.empty():
			s := w.pop()
			if string(s.bytes()) != n.text[0] || s.end != n.ends[0] || s.lines != strings.Count(n.text[0], "\n") {
				t.Fatalf("popped %q, %d; want %q, %d", s.bytes(), s.end, n.text[0], n.ends[0])
			}
			n.text, n.ends, n.caps, n.room = n.text[1:], n.ends[1:], n.caps[1:], n.room[1:]
			pool.Put(s.buf)
		case op == 2:
			freed := w.mergeNewest(nil)
			if merged := n.merge(); merged != (freed != nil) {
				t.Fatalf("merged: %v, want %v", freed != nil, merged)
			}
			pool.Put(freed)
		case op == 3 && !w.empty():
			checkOldest(t, &w, &n, arg)
		}
		if w.mem != n.mem() || pool.InUse() != w.mem || w.empty() != (len(n.text) == 0) {
			t.Fatalf("mem %d, want %d; in use %d", w.mem, n.mem(), pool.InUse())
		}
	}
}

// textOf returns between 1 and about 2000 bytes of lines of various lengths.
func textOf(n int) string {
	var b strings.Builder
	for i := range n%7 + 1 {
		b.WriteString(strings.Repeat("x", (n*(i+1))%300))
		b.WriteByte('\n')
	}
	return b.String()
}

// checkOldest compares answers about the oldest segment with those found line by line, and
// trims it.
func checkOldest(t *testing.T, w *window, n *naiveWindow, arg int) {
	s := w.oldest()
	text := n.text[0]
	start := n.ends[0] - uint64(len(text))
	pos := start + uint64(arg%len(text))
	lineStart, begun := start, linebuf.Count{}
	for at := start; at < n.ends[0]; {
		l := uint64(strings.IndexByte(text[at-start:], '\n') + 1)
		if at <= pos {
			lineStart = at
		}
		if at < pos {
			begun.Add(count(1, l))
		}
		at += l
	}
	if got := s.lineStart(pos); got != lineStart {
		t.Fatalf("lineStart(%d) = %d, want %d in %q", pos-start, got-start, lineStart-start, text)
	}
	if got := s.begun(0, pos); got != begun {
		t.Fatalf("begun(0, %d) = %v, want %v in %q", pos-start, got, begun, text)
	}
	all := s.begun(0, lineStart)
	all.Add(s.begun(lineStart, s.end))
	if diff := cmp.Diff(s.count(), all); diff != "" {
		t.Fatalf("the parts do not add up: %s", diff)
	}
	s.trim(lineStart)
	n.text[0] = text[lineStart-start:]
}

// In steady state a window neither grows nor reallocates its list.
func TestWindowKeepsItsList(t *testing.T) {
	pool := linebuf.NewPool(0)
	var w window
	b := segmentOf(pool, strings.Repeat("x", 511)+"\n", 0, 0)
	cycle := func() {
		for len(w.list)-w.head < 100 {
			w.push(b)
		}
		for range 30 {
			w.pop()
		}
	}
	for range 100 {
		cycle()
	}
	if n := testing.AllocsPerRun(1000, cycle); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if cap(w.list) > 512 {
		t.Errorf("the list has grown to %d for 100 segments", cap(w.list))
	}
}

// after counts the lines of which anything lies at pos or behind it.
func TestWindowCountsLinesAfterAPosition(t *testing.T) {
	var w window
	end := uint64(0)
	for _, text := range []string{"ab\ncd\n", "e\n", "fgh\ni\n"} {
		end += uint64(len(text))
		w.push(segment{buf: &linebuf.Buffer{B: []byte(text)}, lines: strings.Count(text, "\n"), end: end})
	}
	all := "ab\ncd\ne\nfgh\ni\n"
	for pos := range len(all) + 2 {
		var want linebuf.Count
		at := 0
		for line := range strings.Lines(all) {
			if at += len(line); at > pos {
				want.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(line))})
			}
		}
		if got := w.after(uint64(pos)); got != want {
			t.Errorf("after %d: %+v, want %+v", pos, got, want)
		}
	}
}
