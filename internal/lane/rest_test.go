package lane

import (
	"fmt"
	"strings"
	"testing"
)

// What is left in lanes and aside at the end comes out in the order of the keys.
func TestTakeAll(t *testing.T) {
	b := newBench(t, 1<<20, 3, 2)
	s := b.source(false)
	sent := 0
	send := func() {
		for n := range 5 {
			var lines []string
			for k := range 40 {
				lines = append(lines, fmt.Sprintf("key%d %03d", k, sent+n))
			}
			if !s.Offer(b.buffer(lines...)) {
				t.Fatal("no room")
			}
		}
		sent += 5
	}
	send()
	b.routes.Assign(b.homes[:2]) // the slots of the third one are on their way
	send()
	b.routes.Assign(b.homes[1:])
	send()
	if b.routes.Settle() {
		t.Fatal("no slot is on its way")
	}
	next := map[string]int{}
	for _, buf := range b.routes.TakeAll() {
		for _, line := range linesOf(buf) {
			key, number, _ := strings.Cut(line, " ")
			if want := fmt.Sprintf("%03d", next[key]); number != want {
				t.Fatalf("%s: line %s, want %s", key, number, want)
			}
			next[key]++
		}
		b.pool.Put(buf)
	}
	for k := range 40 {
		if n := next[fmt.Sprint("key", k)]; n != sent {
			t.Errorf("key%d: %d of %d lines", k, n, sent)
		}
	}
	if again := b.routes.TakeAll(); len(again) > 0 {
		t.Errorf("%d buffers are left", len(again))
	}
	b.wantNothingHeld()
}
