package lane

import (
	"fmt"
	"strings"
	"testing"

	"linesplit/linebuf"
)

// manyLines are more than a worker writes at once.
func manyLines() (lines []string) {
	for i := range 100 {
		lines = append(lines, fmt.Sprint("key", i, " ", strings.Repeat("x", 300)))
	}
	return lines
}

// A sender of many lines wakes a worker once its lane holds much, and the others by Flush.
func TestWorkersWakeForMuch(t *testing.T) {
	b := newBench(t, 1<<20, 4, 1)
	s := b.source(false)
	lines := manyLines()
	s.Offer(b.buffer(lines...))
	if len(b.woken) > 0 {
		t.Errorf("workers of %d lanes were woken for %v", len(b.woken), b.lanes()[0].Stats().Queued)
	}
	s.Flush()
	s.Flush()
	for i, l := range b.lanes() {
		if b.woken[l] != 1 {
			t.Errorf("lane %d was woken %d times, want once", i, b.woken[l])
		}
	}
	for range 20 {
		s.Offer(b.buffer(lines...))
	}
	for i, l := range b.lanes() {
		if b.woken[l] == 1 {
			t.Errorf("lane %d was not woken with %+v", i, l.Stats().Queued)
		}
		buffers, bytes := 0, 0
		for buf := l.Pop(); buf != nil; buf = l.Pop() {
			buffers++
			bytes += len(buf.B)
			b.pool.Put(buf)
		}
		if buffers > 2+bytes/(48<<10) {
			t.Errorf("lane %d: %d bytes in %d buffers", i, bytes, buffers)
		}
	}
	before := b.woken[b.laneOf("k")]
	if after := b.woken[b.laneOf("k")]; after != before+1 { // laneOf sends a line
		t.Error("a few lines do not wake the worker at once")
	}
	b.wantNothingHeld()
}

// Buffers that were to hold more than has come leave the lane in their size.
func TestFewLinesLeaveInSmallBuffers(t *testing.T) {
	b := newBench(t, 1<<20, 4, 4)
	b.source(false).Offer(b.buffer(manyLines()...))
	for i, l := range b.lanes() {
		for buf := l.Pop(); buf != nil; buf = l.Pop() {
			if cap(buf.B) > linebuf.ClassSize(len(buf.B)) {
				t.Errorf("lane %d: %d bytes in a buffer of %d", i, len(buf.B), cap(buf.B))
			}
			b.pool.Put(buf)
		}
	}
	b.wantNothingHeld()
}
