package delivery

import (
	"testing"

	"linesplit/linebuf"
)

func TestRetryQueueKeepsItsOrder(t *testing.T) {
	pool := linebuf.NewPool(0)
	var q retryQueue
	in, out := uint64(0), uint64(0)
	for range 1000 {
		for range 3 {
			in++
			q.push(segmentOf(pool, "x\n", 0, in))
		}
		for range 2 {
			out++
			if s := q.pop(); s.end != out {
				t.Fatalf("popped %d, want %d", s.end, out)
			}
		}
	}
	for !q.empty() {
		out++
		if s := q.pop(); s.end != out {
			t.Fatalf("popped %d, want %d", s.end, out)
		}
	}
	if in != out {
		t.Fatalf("%d in, %d out", in, out)
	}
}

// A target that fails after each first write takes one segment from the queue and puts it back
// at the end, for as long as it flaps.
func TestRetryQueueDoesNotGrow(t *testing.T) {
	pool := linebuf.NewPool(0)
	var q retryQueue
	for range 10 {
		q.push(segmentOf(pool, "x\n", 0, 0))
	}
	for range 10_000 {
		q.push(q.pop())
	}
	if cap(q.list) > 1000 {
		t.Errorf("a list of %d for 10 segments", cap(q.list))
	}
}
