package lane

import (
	"fmt"
	"strings"
	"testing"

	"linesplit/linebuf"
)

// Where one lane has no room for a view, Offer compacted what was left in the memory that other
// owners of the buffer read.
func TestViewsAreNotChanged(t *testing.T) {
	b := newBench(t, 1<<10, 4, 1)
	s := b.source(true)
	var account, other linebuf.Account
	var lines []string
	for i := range 60 {
		lines = append(lines, fmt.Sprint("key", i, " ", strings.Repeat("x", 20)))
	}
	lines = append(lines, " dropped")
	text := strings.Join(lines, "\n") + "\n"
	offered, refused := 0, 0
	var others []*linebuf.Buffer
	for refused < 3 {
		views := b.pool.Share(b.buffer(lines...), []*linebuf.Account{&account, &other}, nil)
		others = append(others, views[1])
		if s.Offer(views[0]) {
			offered++
			continue
		}
		refused++
		if string(views[0].B) != text || views[0].Lines != len(lines) {
			t.Errorf("a refused view has %d lines: %.40q", views[0].Lines, views[0].B)
		}
		b.pool.Put(views[0])
	}
	for _, v := range others {
		if string(v.B) != text {
			t.Errorf("another view has changed: %.40q", v.B)
		}
		b.pool.Put(v)
	}
	got := 0
	for _, l := range b.lanes() {
		got += len(b.drain(l, true))
	}
	if dropped := s.TakeDropped().Lines; offered == 0 || got != offered*60 || dropped != uint64(offered) {
		t.Errorf("%d views were taken, %d lines are in lanes, %d are dropped", offered, got, dropped)
	}
	b.wantNothingHeld()
}
