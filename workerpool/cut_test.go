package workerpool

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// checkCut cuts text, which ends in a newline, into at most n parts in a pool with that many bytes
// beside text's buffer, and demands that nothing is changed, lost or miscounted.
func checkCut(t *testing.T, text string, capacity, n int, room int64) []*linebuf.Buffer {
	t.Helper()
	size := max(len(text), capacity)
	pool := linebuf.NewPool(int64(linebuf.ClassSize(size)) + room)
	b := pool.MustGet(size)
	b.B = append(b.B, text...)
	read := time.Now()
	b.Lines, b.Read = strings.Count(text, "\n"), read
	parts := make([]*linebuf.Buffer, n)
	parts = parts[:cut(pool, b, parts)]
	var whole []byte
	held, lines, longest := int64(0), 0, 0
	for line := range strings.Lines(text) {
		longest = max(longest, len(line))
	}
	for i, p := range parts {
		if len(p.B) == 0 || p.B[len(p.B)-1] != '\n' || p.Lines != bytes.Count(p.B, []byte{'\n'}) || p.Read != read {
			t.Errorf("part %d: %d lines, read at %v: %.100q", i, p.Lines, p.Read, p.B)
		}
		if room >= 2*int64(len(text))+int64(n*linebuf.ClassSize(1)) && len(p.B) >= len(text)/n+longest+n {
			t.Errorf("part %d of %d has %d of %d bytes", i, n, len(p.B), len(text))
		}
		whole = append(whole, p.B...)
		lines += p.Lines
	}
	if string(whole) != text || lines != strings.Count(text, "\n") {
		t.Errorf("%d lines of %d; got %.200q, want %.200q", lines, strings.Count(text, "\n"), whole, text)
	}
	if n := pool.InUse(); n > pool.Limit() {
		t.Errorf("%d of %d bytes are in use", n, pool.Limit())
	}
	for _, p := range parts {
		before := pool.InUse()
		pool.Put(p)
		held += before - pool.InUse()
	}
	if pool.InUse() != 0 {
		t.Errorf("parts hold %d bytes, and %d more are in use", held, pool.InUse())
	}
	return parts
}

// Lines that are counted, and contain newlines, are cut where they end.
func TestCutKeepsCountedLines(t *testing.T) {
	pool := linebuf.NewPool(0)
	line := "601 " + strings.Repeat("\n", 601)
	b := pool.MustGet(10 * len(line))
	b.B, b.Lines, b.Framing = append(b.B, strings.Repeat(line, 10)...), 10, framing.Octet
	parts := make([]*linebuf.Buffer, 4)
	n, whole := cut(pool, b, parts), ""
	for _, p := range parts[:n] {
		if p.Framing != framing.Octet || string(p.B) != strings.Repeat(line, p.Lines) {
			t.Errorf("a part of %d bytes has %d lines, %v", len(p.B), p.Lines, p.Framing)
		}
		whole += string(p.B)
		pool.Put(p)
	}
	if n != 4 || whole != strings.Repeat(line, 10) || pool.InUse() != 0 {
		t.Errorf("%d parts with %d bytes, %d in use", n, len(whole), pool.InUse())
	}
}

func TestCutKeepsAllLines(t *testing.T) {
	for _, tc := range []struct {
		text     string
		capacity int
		n        int
		room     int64
		want     int
	}{
		{"a\n", 0, 1, 1 << 20, 1},
		{"a\n", 0, 2, 1 << 20, 1},
		{"\n\n", 0, 2, 1 << 20, 2},
		{"\n\n\n", 0, 2, 1 << 20, 2},
		{"a\nb\n", 0, 4, 1 << 20, 2}, // more parts than lines
		{strings.Repeat("x", 1000) + "\na\nb\n", 0, 2, 1 << 20, 2},
		{"a\nb\n" + strings.Repeat("x", 1000) + "\n", 0, 3, 1 << 20, 1},
		{strings.Repeat("some line\n", 400), 0, 8, 1 << 20, 8},
		{strings.Repeat("some line\n", 400), 128 << 10, 8, 1 << 20, 8},
		{strings.Repeat("some line\n", 400), 0, 8, 0, 1},
		{strings.Repeat("some line\n", 400), 0, 8, 512, 2},
		{strings.Repeat("some line\n", 400), 128 << 10, 8, 512, 2}, // the rest stays in the large buffer
		{strings.Repeat("some line\n", 400), 0, 8, 1536, 4},
		{strings.Repeat("some line\n", 400), 0, 8, 7 * 512, 8},
	} {
		if n := len(checkCut(t, tc.text, tc.capacity, tc.n, tc.room)); n != tc.want {
			t.Errorf("%d lines, %d parts, room for %d bytes: %d parts, want %d",
				strings.Count(tc.text, "\n"), tc.n, tc.room, n, tc.want)
		}
	}
}

// A part of a large buffer does not hold all of it until the part is confirmed.
func TestCutGivesLargeBuffersBack(t *testing.T) {
	pool := linebuf.NewPool(1 << 20)
	b := pool.MustGet(64 << 10)
	for range 4000 / 10 {
		b.B = append(b.B, "some line\n"...)
	}
	b.Lines = 4000 / 10
	parts := make([]*linebuf.Buffer, 8)
	if n := cut(pool, b, parts); n != len(parts) || pool.InUse() != 8*512 {
		t.Errorf("%d parts hold %d bytes", n, pool.InUse())
	}
}

func FuzzCut(f *testing.F) {
	f.Add("1\n2\n3\n", 4, uint8(2), uint16(60000))
	f.Add(strings.Repeat("some line\n", 400), 1<<16, uint8(8), uint16(60000))
	f.Add(strings.Repeat("some line\n", 40), 0, uint8(16), uint16(1024))
	f.Add("\n\n\n\n\n\n", 0, uint8(3), uint16(512))
	f.Fuzz(func(t *testing.T, text string, capacity int, n uint8, room uint16) {
		checkCut(t, text+"\n", min(max(capacity, 0), 1<<17), 1+int(n%maxTries), int64(room))
	})
}
