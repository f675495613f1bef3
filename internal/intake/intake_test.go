package intake

import (
	"strings"
	"testing"
	"time"

	"linesplit/linebuf"
)

// Steady reading allocates nothing.
func TestReadDoesNotAllocate(t *testing.T) {
	pool := linebuf.NewPool(64 << 20)
	shared := NewShared(pool, 16<<10, 128<<10, time.Now())
	shared.SetMaxLine(1 << 20)
	set := Limits{MaxLine: 1 << 20}
	var s Stream
	now := time.Now()
	s.Init(shared, passive{}, Options{Timed: true}, set, now)
	chunk := strings.Repeat("a line\n", 1000) + "and a half"
	read := func() {
		if s.Prepare() != Ready {
			t.Fatal("not ready")
		}
		r := s.Read(copy(s.Room(), chunk), set, now)
		pool.Put(r.Whole)
		s.Settle()
		s.Quiet()
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations per read", n)
	}
	s.End()
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes in use at the end", n)
	}
}

// A last line without a newline stayed charged while its connection waited to hand it over.
func TestLastLineIsNotCharged(t *testing.T) {
	s := newStream(0)
	s.Prepare()
	s.Read(copy(s.Room(), "half"), Limits{MaxLine: 1 << 20}, time.Now())
	s.Settle()
	if n := s.shared.Usage().Unfinished; n == 0 {
		t.Error("an unfinished line is not charged")
	}
	b := s.Last(time.Now())
	if n := s.shared.Usage().Unfinished; string(b.B) != "half\n" || n != 0 {
		t.Errorf("%q is charged %d bytes", b.B, n)
	}
	s.shared.pool.Put(b)
	s.End()
}
