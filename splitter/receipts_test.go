package splitter

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// issued is a record of lines.
type issued struct {
	linebuf.Receipt
	released atomic.Int32
}

func (x *issued) Released(*linebuf.Receipt, int) { x.released.Add(1) }

// storing is an outlet that keeps a copy of all lines, and passes none on.
type storing struct {
	mu      sync.Mutex // guards the field below
	records []*issued
}

func (s *storing) Offer(b *linebuf.Buffer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.Kept() {
		x := &issued{}
		x.Init(x)
		b.Attach(&x.Receipt, 1)
		s.records = append(s.records, x)
	}
	return false
}

func (s *storing) Flush()                     {}
func (s *storing) Room() <-chan struct{}      { return nil }
func (s *storing) TakeDropped() linebuf.Count { return linebuf.Count{} }

// A hard end gives up lines that their store has to deliver the next time.
func TestHardEndForsakesReceipts(t *testing.T) {
	s := &storing{}
	r := newRig(t, listenTCP(t), plenty, Options{Outlet: func() Outlet { return s }})
	in := numbered(0, 10, 100)
	write(t, dial(t, r.addr), in)
	r.untilRead(len(in))
	r.hard()
	r.ended()
	if d := dropped(r.Stats(), intake.ReasonShutdown); d.Lines != uint64(strings.Count(in, "\n")) {
		t.Errorf("dropped %+v", d)
	}
	if len(s.records) == 0 {
		t.Error("no buffer was offered")
	}
	for _, x := range s.records {
		if n := x.released.Load(); n != 0 {
			t.Errorf("a receipt was released %d times", n)
		}
	}
}

// While a sender waits for a lane, its lines move into a smaller buffer.
func TestSmallerBufferKeepsTheReceipt(t *testing.T) {
	pool := linebuf.NewPool(plenty)
	c := &conn{v: &serving{Splitter: New(pool, nil, Options{})}}
	b := pool.MustGet(64 << 10)
	b.B, b.Lines = append(b.B, "a\nb\n"...), 2
	x := &issued{}
	x.Init(x)
	b.Attach(&x.Receipt, 1)
	small := c.fit(b)
	if small == b || !small.Kept() || x.released.Load() != 0 {
		t.Errorf("the smaller buffer has receipts: %v; released %d times", small.Kept(), x.released.Load())
	}
	pool.Put(small)
	if n := x.released.Load(); n != 1 {
		t.Errorf("released %d times", n)
	}
}
