package intake

import (
	"math/rand/v2"
	"testing"
	"time"

	"linesplit/linebuf"
)

// passive is a driver that does nothing.
type passive struct{}

func (passive) EnterGate() bool { return true }
func (passive) LeaveGate()      {}
func (passive) Evict()          {}
func (passive) ReadRest() bool  { return false }
func (passive) Lost(Losses)     {}

// newStream returns a stream whose line made headway last at the given time.
func newStream(headway int64) *Stream {
	shared := NewShared(linebuf.NewPool(64<<20), 16<<10, 128<<10, time.Now())
	shared.SetMaxLine(1 << 20)
	s := &Stream{}
	s.Init(shared, passive{}, Options{}, Limits{MaxLine: 1 << 20}, time.Now())
	s.headway.Store(headway)
	return s
}

// Whatever the streams did before, the budget asks those to drop their lines that have been
// idle longest, and no more of them than needed.
func TestBudgetAsksTheIdlest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b budget
	b.limit.Store(64 << 10)
	var streams []*Stream
	for range 64 {
		s := newStream(0)
		if !b.reserve(s, 1<<10) {
			t.Fatal("no room within the limit")
		}
		streams = append(streams, s)
	}
	for i := range 1000 { // as lines begin, go on and end
		s := streams[rnd.IntN(len(streams))]
		s.headway.Store(int64(i + 1))
		b.reserve(s, int64(rnd.IntN(2))<<10)
	}
	for _, s := range streams {
		b.reserve(s, 1<<10)
	}
	busy := newStream(0) // however little headway it has made itself, it makes some now
	if !b.reserve(busy, 8<<10) {
		t.Fatal("the busy stream got no room")
	}
	newest, asked := int64(-1), 0
	for _, s := range streams {
		if s.asked.Load() {
			newest = max(newest, s.headway.Load())
			asked++
		}
	}
	for _, s := range streams {
		if at := s.headway.Load(); !s.asked.Load() && at < newest {
			t.Errorf("a line of headway %d was dropped, and one of %d was not", newest, at)
		}
	}
	if asked != 8 || b.leaving != 8<<10 {
		t.Errorf("%d streams of 1 KiB were asked, and are to give %d bytes, for 8 KiB", asked, b.leaving)
	}
	for _, s := range append(streams, busy) {
		b.reserve(s, 0)
		b.forget(s)
	}
	if b.leaving != 0 || b.charged.Load() != 0 || len(b.idlest) != 0 {
		t.Errorf("at the end: %d leaving, %d charged, %d listed", b.leaving, b.charged.Load(), len(b.idlest))
	}
}

func TestBudgetRefusesALineThatNoEvictionMakesRoomFor(t *testing.T) {
	var b budget
	b.limit.Store(4 << 10)
	a, s := newStream(1), newStream(2)
	if !b.reserve(a, 4<<10) || b.reserve(s, 8<<10) {
		t.Error("the budget granted more than its limit")
	}
	if !a.asked.Load() || b.reserve(a, 5<<10) {
		t.Error("a stream that is to give memory back got more")
	}
}

// A stream was asked for the spare half of its buffer, and its line grew into that before it could
// obey: the liveliest of all lines was dropped.
func TestLineThatGrowsIntoItsSpareRoomStays(t *testing.T) {
	shared := NewShared(linebuf.NewPool(64<<20), 16<<10, 128<<10, time.Now())
	shared.SetMaxLine(1 << 20)
	shared.budget.limit.Store(96 << 10)
	var streams [3]*Stream
	for i, carried := range []int{20 << 10, 30 << 10, 1 << 10} { // lively, idle, and one that wants more
		s := &Stream{}
		s.Init(shared, passive{}, Options{}, Limits{MaxLine: 1 << 20}, time.Now())
		s.Replace(shared.pool.MustGet([]int{64 << 10, 32 << 10, 1 << 10}[i]))
		s.buf.B = s.buf.B[:carried]
		s.headway.Store([]int64{1000, 1, 1000}[i])
		s.Account()
		streams[i] = s
	}
	lively, idle, third := streams[0], streams[1], streams[2]
	third.Replace(shared.pool.MustGet(16 << 10))
	third.Account()
	if !lively.Asked() || idle.Asked() {
		t.Fatalf("asked: %v, %v; want the one with a spare half", lively.Asked(), idle.Asked())
	}
	lively.buf.B = lively.buf.B[:60<<10]
	lively.Obey()
	if lively.Carried() != 60<<10 || !idle.Asked() {
		t.Errorf("the lively line has %d bytes; the idle one is asked: %v", lively.Carried(), idle.Asked())
	}
	idle.Obey()
	third.Obey() // it has spare room, too
	if idle.Carried() != 0 || shared.budget.leaving != 0 || shared.budget.charged.Load() > 96<<10 {
		t.Errorf("%d bytes of the idle line are left, %d leaving, %d charged", idle.Carried(), shared.budget.leaving,
			shared.budget.charged.Load())
	}
}

// An idle sender that trickles keeps its place in the order: a byte now and then is no headway.
func TestTrickleIsNoHeadway(t *testing.T) {
	s := newStream(0)
	s.charge.Store(16 << 10)
	at := func(d time.Duration) time.Time { return s.shared.budget.start.Add(d) }
	s.measure(1<<10-1, false, at(time.Second))
	if got := s.headway.Load(); got != 0 {
		t.Errorf("headway at %d after less than a sixteenth", got)
	}
	s.measure(1, false, at(2*time.Second))
	if got := s.headway.Load(); got != int64(2*time.Second) {
		t.Errorf("headway at %d after a sixteenth", got)
	}
	s.measure(1, true, at(3*time.Second))
	if got := s.headway.Load(); got != int64(3*time.Second) {
		t.Errorf("headway at %d after a newline", got)
	}
}

// Senders that keep all read buffers busy leave UDP and stdin theirs: with small reads a busy UDP
// socket would overflow.
func TestStdinIsAwakeBesideAnyNumberOfSenders(t *testing.T) {
	s := newStream(0)
	s.shared.budget.awake.limit = 0
	s.o.Held = true
	s.Wake()
	if !s.stayAwake() || s.awakeCharge != 0 {
		t.Errorf("stdin is not awake, or is charged %d bytes", s.awakeCharge)
	}
	if charge, _ := s.chargeNow(); charge != 0 {
		t.Errorf("%d bytes are charged for an empty read buffer", charge)
	}
	s.o.Timed = true
	if s.stayAwake() {
		t.Error("a sender is awake without room for its read buffer")
	}
}

// Reads that fill the buffer make it larger, and small reads make it smaller again.
func TestReadSizeAdapts(t *testing.T) {
	s := newStream(0)
	for _, want := range []int{32, 64, 128, 128} {
		s.adapt(s.size, s.size)
		if s.size != want<<10 {
			t.Fatalf("size %d, want %d KiB", s.size, want)
		}
	}
	s.adapt(100<<10, 128<<10)
	if s.size != 128<<10 {
		t.Error("a nearly full read made it smaller")
	}
	for _, want := range []int{64, 32, 16, 16} {
		s.adapt(100, s.size)
		if s.size != want<<10 {
			t.Fatalf("size %d, want %d KiB", s.size, want)
		}
	}
}

// A stream that read the rest of its line while it waited for memory asked for twice as much the
// next time, and again. All others waited behind it, for ever if it was all there is.
func TestStarvedStreamNeedsLittle(t *testing.T) {
	s := newStream(0)
	for range 3 {
		s.adapt(s.size, s.size) // as ReadRest does
		if n := s.Need(); n != 16<<10 {
			t.Errorf("needs %d bytes", n)
		}
	}
}

// Lines that had begun small kept the grace of small lines after they had grown, so that small
// lines without such luck were dropped before them, and before their own grace was over.
func TestGraceEndsWhenALineHasGrown(t *testing.T) {
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	var b budget
	b.limit.Store(1 << 20)
	other, grows, small, last := newStream(ms(400)), newStream(ms(100)), newStream(ms(50)), newStream(ms(400))
	b.reserve(other, 500<<10)
	b.reserve(grows, 1<<10)
	b.reserve(small, 512)
	grows.headway.Store(ms(110))
	b.reserve(grows, 400<<10)
	if !b.reserve(last, 256<<10) {
		t.Fatal("no room")
	}
	if !grows.asked.Load() || small.asked.Load() || other.asked.Load() {
		t.Errorf("asked: the line that has grown %v, the small one %v, the liveliest %v; want only the first",
			grows.asked.Load(), small.asked.Load(), other.asked.Load())
	}
}

// A stream that had been asked for spare room, and before it could obey needed more than that for a
// line that went on, had its line dropped, though others had made no headway for longer.
func TestLineThatOutgrowsItsSpareRoomStays(t *testing.T) {
	var b budget
	b.limit.Store(64 << 10)
	lively, idle, other := newStream(1000), newStream(1), newStream(1000)
	b.reserve(idle, 30<<10)
	lively.spare.Store(28 << 10)
	b.reserve(lively, 30<<10)
	b.reserve(other, 8<<10)
	if !lively.asked.Load() || idle.asked.Load() {
		t.Fatalf("asked: %v, %v; want the one with spare room", lively.asked.Load(), idle.asked.Load())
	}
	lively.spare.Store(0)
	if !b.reserve(lively, 48<<10) || !idle.asked.Load() {
		t.Errorf("the lively line is to be dropped; the idle one is asked: %v", idle.asked.Load())
	}
	b.reserve(idle, 0)
	for _, s := range []*Stream{lively, idle, other} {
		b.reserve(s, 0)
		b.forget(s)
	}
	if b.leaving != 0 || b.charged.Load() != 0 || len(b.idlest) != 0 {
		t.Errorf("at the end: %d leaving, %d charged, %d listed", b.leaving, b.charged.Load(), len(b.idlest))
	}
}
