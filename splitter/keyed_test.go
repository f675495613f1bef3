package splitter

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// grudging is a KeyedOutlet of all connections that takes some lines at a time, and drops those
// that begin with a minus sign.
type grudging struct {
	pool *linebuf.Pool

	mu      sync.Mutex // guards the fields below
	room    chan struct{}
	most    int // lines that it takes of one offer; 0: none
	got     []byte
	dropped linebuf.Count
}

func newGrudging(most int) *grudging { return &grudging{most: most, room: make(chan struct{})} }

func (g *grudging) Offer(b *linebuf.Buffer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range g.most {
		end := bytes.IndexByte(b.B, '\n') + 1
		line := b.B[:end]
		if line[0] == '-' {
			g.dropped.Add(linebuf.Count{Lines: 1, Bytes: uint64(end)})
		} else {
			g.got = append(g.got, line...)
		}
		b.B, b.Lines = b.B[end:], b.Lines-1
		if len(b.B) == 0 {
			g.pool.Put(b)
			return true
		}
	}
	if g.most > 0 { // the next offer will have room
		g.announceLocked()
	}
	return false
}

func (g *grudging) Room() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.room
}

func (g *grudging) TakeDropped() linebuf.Count {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.dropped
	g.dropped = linebuf.Count{}
	return n
}

func (g *grudging) announceLocked() {
	close(g.room)
	g.room = make(chan struct{})
}

func (g *grudging) allow(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = most
	g.announceLocked()
}

func (g *grudging) output() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.got)
}

func newKeyedRig(t *testing.T, g *grudging) *rig {
	r := newRig(t, listenTCP(t), plenty, Options{Outlet: func() Outlet { return g }})
	g.pool = r.pool
	return r
}

// An outlet that takes lines bit by bit gets them in order, and what it takes or drops is counted
// at once.
func TestKeyedOutletTakesLinesBitByBit(t *testing.T) {
	g := newGrudging(0)
	r := newKeyedRig(t, g)
	c := dial(t, r.addr)
	in := numbered(0, 100, 100)
	write(t, c, in+"-dropped\n-too\n")
	r.untilRead(len(in) + len("-dropped\n-too\n"))
	g.allow(3)
	r.until("all lines", func() bool { return g.output() == in })
	more := numbered(1, 100, 100)
	write(t, c, more+"last")
	c.Close()
	r.until("more lines", func() bool { return g.output() == in+more+"last\n" })
	st := r.end()
	if d := dropped(st, intake.ReasonKeyless); d.Lines != 2 || d.Bytes != uint64(len("-dropped\n-too\n")) {
		t.Errorf("dropped %+v", d)
	}
	if st.Queued.Lines != 201 || r.size() != 0 {
		t.Errorf("%d lines queued, %d bytes on the channel", st.Queued.Lines, r.size())
	}
}

// A hard end drops what an outlet has not taken, and counts it.
func TestHardEndWhileKeyedOutletIsFull(t *testing.T) {
	g := newGrudging(0)
	r := newKeyedRig(t, g)
	c := dial(t, r.addr)
	in := numbered(0, 10, 100)
	write(t, c, in)
	r.untilRead(len(in))
	r.hard()
	r.ended()
	d := dropped(r.Stats(), intake.ReasonShutdown)
	if d.Lines != uint64(strings.Count(in, "\n")) || d.Bytes != uint64(len(in)) {
		t.Errorf("dropped %+v", d)
	}
}
