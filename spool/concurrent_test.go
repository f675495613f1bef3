package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/linebuf"
)

// ledger knows what each group has had of each line.
type ledger struct {
	mu        sync.Mutex
	confirmed [2]map[string]int
}

func (l *ledger) confirm(group int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(text) {
		l.confirmed[group][line]++
	}
}

// Many goroutines append, confirm at once or later, put off, read back and give back, while
// segments are changed and removed. Each line is confirmed once by each group, and afterwards the
// spool is empty.
func TestConcurrent(t *testing.T) {
	const writers, each = 6, 800
	dir := t.TempDir()
	r := start(t, dir, func(o *Options) {
		o.Segment, o.Sync, o.Groups = minSegment, time.Millisecond, []string{"a", "b"}
	})
	l := &ledger{confirmed: [2]map[string]int{{}, {}}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() { r.writeRandomly(w, each, l) })
	}
	for group := range 2 {
		for range 2 {
			reading.Go(func() { r.readRandomly(ctx, group, l) })
		}
	}
	writing.Wait()
	r.await("all lines are confirmed", func(s Stats) bool { return s.Unconfirmed.Lines == 0 })
	cancel()
	reading.Wait()

	s := r.Stats()
	for group, confirmed := range l.confirmed {
		if len(confirmed) != writers*each {
			t.Errorf("group %d has confirmed %d lines", group, len(confirmed))
		}
		for line, n := range confirmed {
			if n != 1 {
				t.Errorf("group %d has confirmed %q %d times", group, line, n)
			}
		}
		g := s.Groups[group]
		if g.Confirmed.Lines != writers*each || g.Waiting.Lines != 0 || g.InFlight.Lines != 0 {
			t.Errorf("group %d: %+v", group, g)
		}
	}
	r.stop()
	if left := files(t, dir, "*.*"); len(left) != 0 {
		t.Errorf("files are left: %q", left)
	}
	if inUse := r.pool.InUse(); inUse != 0 {
		t.Errorf("%d bytes of buffers are in use", inUse)
	}
	if s.Faults != 0 {
		t.Errorf("faults: %d, %s", s.Faults, s.LastFault)
	}
}

// writeRandomly appends lines. Workers of group 0 and 1 get them at once, or read them back.
func (r *rig) writeRandomly(w, n int, l *ledger) {
	random := rand.New(rand.NewPCG(uint64(w), 1))
	var later []func()
	for i := range n {
		line := fmt.Sprintf("%d.%d %s\n", w, i, strings.Repeat("x", random.IntN(2000)))
		waiting := linebuf.Groups(random.IntN(4))
		receipt, err := r.tryAppend(line, 3, waiting)
		if err != nil {
			r.t.Error(err)
			return
		}
		for group := range 2 {
			if has(waiting, group) {
				continue
			}
			finish := func() {
				l.confirm(group, line)
				r.confirm(receipt, group)
			}
			switch random.IntN(3) {
			case 0:
				finish()
			case 1:
				later = append(later, finish)
			default:
				r.Postpone(receipt, 1<<group)
			}
		}
		if len(later) > 20 {
			k := random.IntN(len(later))
			later[k]()
			later[k] = later[len(later)-1]
			later = later[:len(later)-1]
		}
	}
	for _, f := range later {
		f()
	}
}

// readRandomly confirms what waits for a group. Now and then it ends while it waits.
func (r *rig) readRandomly(ctx context.Context, group int, l *ledger) {
	for ctx.Err() == nil {
		some, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		b, err := r.Next(some, group)
		cancel()
		if err != nil {
			continue
		}
		l.confirm(group, string(b.B))
		r.pool.Put(b)
	}
}
