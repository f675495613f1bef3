package splitter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/linebuf"
)

// newBudgeted returns a connection that only the budget b knows.
func newBudgeted(b *budget, headway int64) *conn {
	c := &conn{v: &serving{Splitter: &Splitter{}}, raw: &scripted{}, at: -1}
	c.headway.Store(headway)
	return c
}

// Whatever the connections did before, those asked to drop their lines are the ones that have been
// idle longest, and no more of them than needed.
func TestBudgetAsksTheIdlest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b budget
	b.limit.Store(64 << 10)
	var conns []*conn
	for range 64 {
		c := newBudgeted(&b, 0)
		if !b.reserve(c, 1<<10) {
			t.Fatal("no room within the limit")
		}
		conns = append(conns, c)
	}
	for i := range 1000 { // as lines begin, go on and end
		c := conns[rnd.IntN(len(conns))]
		c.headway.Store(int64(i + 1))
		b.reserve(c, int64(rnd.IntN(2))<<10)
	}
	for _, c := range conns {
		b.reserve(c, 1<<10)
	}
	busy := newBudgeted(&b, 0) // however little headway it has made itself, it makes some now
	if !b.reserve(busy, 8<<10) {
		t.Fatal("the busy connection got no room")
	}
	newest, asked := int64(-1), 0
	for _, c := range conns {
		if c.asked.Load() {
			newest = max(newest, c.headway.Load())
			asked++
		}
	}
	for _, c := range conns {
		if at := c.headway.Load(); !c.asked.Load() && at < newest {
			t.Errorf("a line of headway %d was dropped, and one of %d was not", newest, at)
		}
	}
	if asked != 8 || b.leaving != 8<<10 {
		t.Errorf("%d connections of 1 KiB were asked, and are to give %d bytes, for 8 KiB", asked, b.leaving)
	}
	for _, c := range append(conns, busy) {
		b.reserve(c, 0)
		b.forget(c)
	}
	if b.leaving != 0 || b.charged.Load() != 0 || len(b.idlest) != 0 {
		t.Errorf("at the end: %d leaving, %d charged, %d listed", b.leaving, b.charged.Load(), len(b.idlest))
	}
}

func TestBudgetRefusesALineThatNoEvictionMakesRoomFor(t *testing.T) {
	var b budget
	b.limit.Store(4 << 10)
	a, c := newBudgeted(&b, 1), newBudgeted(&b, 2)
	if !b.reserve(a, 4<<10) || b.reserve(c, 8<<10) {
		t.Error("the budget granted more than its limit")
	}
	if !a.asked.Load() || b.reserve(a, 5<<10) {
		t.Error("a connection that is to give memory back got more")
	}
}

// An idle sender that trickles keeps its place in the order: a byte now and then is no headway.
func TestTrickleIsNoHeadway(t *testing.T) {
	c := newBudgeted(nil, 0)
	c.v.budget.start = time.Now()
	c.charge.Store(16 << 10)
	at := func(d time.Duration) time.Time { return c.v.budget.start.Add(d) }
	c.measure(1<<10-1, false, at(time.Second))
	if got := c.headway.Load(); got != 0 {
		t.Errorf("headway at %d after less than a sixteenth", got)
	}
	c.measure(1, false, at(2*time.Second))
	if got := c.headway.Load(); got != int64(2*time.Second) {
		t.Errorf("headway at %d after a sixteenth", got)
	}
	c.measure(1, true, at(3*time.Second))
	if got := c.headway.Load(); got != int64(3*time.Second) {
		t.Errorf("headway at %d after a newline", got)
	}
}

// Buffers shrink to their lines before any line is dropped.
func TestBuffersShrinkBeforeLinesAreDropped(t *testing.T) {
	const n, size = 26, 12_400 // 416 KiB in the smallest buffers, and 832 KiB in those that reads leave
	r := newRig(t, listenTCP(t), 2<<20, Options{Tuning: Tuning{MaxLine: 64 << 10}})
	var conns []net.Conn
	for range n {
		c := dial(t, r.addr)
		write(t, c, strings.Repeat("x", size))
		conns = append(conns, c)
	}
	r.until("all lines to be held", func() bool {
		var read uint64
		for _, c := range r.Connections(n) {
			read += c.Bytes
		}
		return read == n*size
	})
	for _, c := range conns {
		write(t, c, "\n")
	}
	r.until("all lines", func() bool { return r.Stats().Received.Lines == n })
	if d := dropped(r.Stats(), reasonMemory); d.Lines != 0 {
		t.Errorf("dropped %+v", d)
	}
	for _, c := range conns {
		c.Close()
	}
	r.end()
}

// Senders over TLS that keep their connections awake held a read buffer each, which was charged to
// nothing, until there was no memory left to read into.
func TestAwakeConnectionsDoNotTakeAllMemory(t *testing.T) {
	const n = 100
	r := newRig(t, listenTLS(t), 1<<20, Options{Tuning: Tuning{MaxLine: 64 << 10}})
	chunk := bytes.Repeat([]byte("x"), 599)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	var conns []net.Conn
	for range n {
		conns = append(conns, dialTLS(t, r.addr, 0))
	}
	go func() {
		defer close(stopped)
		for {
			for _, c := range conns {
				select {
				case <-stop:
					return
				default:
					c.SetWriteDeadline(time.Now().Add(wait))
					c.Write(append(chunk, '\n'))
				}
			}
		}
	}()
	r.until("all to be awake", func() bool { return r.Stats().Queued.Lines > 10*n })
	if used := r.pool.InUse(); used > 1<<20 {
		t.Errorf("%d bytes in use", used)
	}
	if used := r.budget.awake.charged.Load(); used > r.budget.awake.limit {
		t.Errorf("%d bytes charged for read buffers", used)
	}
	good := dialTLS(t, r.addr, 0)
	for i := range 20 {
		before := r.Stats().Queued.Lines
		write(t, good, fmt.Sprintf("good %d\n", i))
		r.until("lines", func() bool { return r.Stats().Queued.Lines > before })
	}
	close(stop)
	<-stopped
	good.Close()
	for _, c := range conns {
		c.Close()
	}
	r.until("the end", func() bool { return r.Stats().Connections == 0 })
	if got := strings.Count(r.output(), "good"); got != 20 {
		t.Errorf("%d of 20 lines", got)
	}
	r.end()
}

// Senders that keep all read buffers busy leave UDP and stdin theirs: with small reads a busy UDP
// socket would overflow.
func TestStdinIsAwakeBesideAnyNumberOfSenders(t *testing.T) {
	c := newBudgeted(nil, 0)
	c.v.pool, c.v.maxRead, c.v.o.ReadSize = linebuf.NewPool(plenty), maxReadSize, defaultReadSize
	c.size, c.lines.max = defaultReadSize, defaultMaxLine
	c.held.awake = true
	if !c.stayAwake() || c.held.charge != 0 {
		t.Errorf("stdin is not awake, or is charged %d bytes", c.held.charge)
	}
	if charge, _ := c.chargeNow(); charge != 0 {
		t.Errorf("%d bytes are charged for an empty read buffer", charge)
	}
	c.timed = true
	if c.stayAwake() {
		t.Error("a sender is awake without room for its read buffer")
	}
}
