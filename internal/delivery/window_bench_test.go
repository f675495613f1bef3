package delivery

import (
	"strings"
	"testing"

	"linesplit/linebuf"
)

// windowBuffers returns buffers of lines of 600 bytes, for repeated use, and the bytes of each.
func windowBuffers(n, lines int) (buffers []*linebuf.Buffer, size int) {
	pool := linebuf.NewPool(0)
	text := strings.Repeat(strings.Repeat("x", 599)+"\n", lines)
	for range n {
		buffers = append(buffers, segmentOf(pool, text, 0, 0).buf)
	}
	return buffers, len(text)
}

// One op pushes a buffer and pops the oldest of 128.
func BenchmarkWindow(b *testing.B) {
	buffers, size := windowBuffers(128, 109) // 64 KiB each: a window of 8 MiB
	var w window
	end := uint64(0)
	push := func(i int) {
		end += uint64(size)
		w.push(segment{buf: buffers[i%len(buffers)], lines: 109, end: end})
	}
	for i := range buffers {
		push(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.pop()
		push(i)
	}
}

// One op does what a resend needs of a buffer of 64 KiB: counting the lines begun, finding the
// start of the line at a position, and trimming what lies before.
func BenchmarkWindowResend(b *testing.B) {
	buffers, size := windowBuffers(1, 109)
	end := uint64(10 * size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		s := segment{buf: buffers[0], lines: 109, end: end}
		middle := s.lineStart(s.start() + uint64(size/2))
		if off := s.trim(middle); off.Lines != 54 || s.begun(0, end).Lines != 55 {
			b.Fatal(off, s.count())
		}
	}
}

// One op copies a short line behind those before it, as lines trickle in. Every 109 of them
// fill a buffer, which is confirmed.
func BenchmarkWindowTrickle(b *testing.B) {
	one, size := windowBuffers(1, 1)
	home, room := windowBuffers(1, 109)
	home[0].B = home[0].B[:size]
	var w window
	w.push(segment{buf: home[0], lines: 1, end: uint64(size)})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.push(segment{buf: one[0], lines: 1, end: w.oldest().end + uint64(size)})
		if w.mergeNewest(nil) == nil {
			b.Fatal("a line did not fit")
		}
		if len(home[0].B)+size > room {
			w.pop()
			home[0].B = home[0].B[:size]
			w.push(segment{buf: home[0], lines: 1, end: uint64(size)})
		}
	}
}
