package workerpool

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/linebuf"
	"linesplit/target"
)

// rig is a pool over models, inside a synctest bubble, with what was sent and the checks that
// must always hold.
type rig struct {
	t       *testing.T
	o       Options
	net     sync.Mutex // guards peers where goroutines of the pool read it
	peers   []*peer
	buffers *linebuf.Pool
	pool    *Pool
	lines   chan *linebuf.Buffer
	hard    context.CancelFunc
	done    chan struct{}
	err     error // of Run; read it after done

	outlet func() *Outlet // nil: send puts everything on the channel

	seq    int
	source map[string]int // line → the buffer it was sent in
	bytes  int
	nBufs  int
	log    *logCounter
}

type logCounter struct {
	slog.Handler
	mu     sync.Mutex
	counts map[string]int
}

func (l *logCounter) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}
func (l *logCounter) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logCounter) WithGroup(string) slog.Handler      { return l }

func (l *logCounter) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[r.Message]++
	return nil
}

func (l *logCounter) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[message]
}

// newRig runs the workers of the given homes, or all of them if none is given.
func newRig(t *testing.T, o Options, peers []*peer, homes ...int) *rig {
	t.Helper()
	return startRig(t, o, peers, 4096, homes)
}

// newUnbufferedRig makes senders wait until a worker takes what they send.
func newUnbufferedRig(t *testing.T, o Options, peers []*peer) *rig {
	t.Helper()
	return startRig(t, o, peers, 0, nil)
}

func startRig(t *testing.T, o Options, peers []*peer, queue int, homes []int) *rig {
	t.Helper()
	for _, p := range peers {
		o.Targets = append(o.Targets, p.addr)
	}
	if o.Connections == 0 {
		o.Connections = 1
	}
	log := &logCounter{Handler: slog.DiscardHandler, counts: map[string]int{}}
	o.Logger = slog.New(log)
	r := &rig{t: t, peers: peers, buffers: linebuf.NewPool(256 << 20), lines: make(chan *linebuf.Buffer, queue),
		done: make(chan struct{}), source: map[string]int{}, log: log}
	o.Dial = r.dial
	r.o, r.pool = o, New(r.buffers, o)
	r.keepWorkersOf(homes)
	hard, cancel := context.WithCancel(t.Context())
	r.hard = cancel
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	go func() {
		defer close(r.done)
		r.err = r.pool.Run(hard, r.lines)
	}()
	synctest.Wait()
	return r
}

func (r *rig) dial(ctx context.Context, a target.Address) (Conn, error) {
	r.net.Lock()
	peers := r.peers
	r.net.Unlock()
	return dialPeers(peers)(ctx, a)
}

// addPeer makes a peer that can be dialled. The pool does not know it yet.
func (r *rig) addPeer(name string) *peer {
	r.net.Lock()
	defer r.net.Unlock()
	p := newPeer(name)
	r.peers = append(slices.Clone(r.peers), p)
	return p
}

// keepWorkersOf leaves all but the given homes without workers of their own.
func (r *rig) keepWorkersOf(homes []int) {
	for i, b := range r.pool.backends {
		if len(homes) > 0 && !slices.Contains(homes, i) {
			b.wantWorkers = 0
		}
	}
}

// send puts a buffer of n lines of size bytes each on the channel.
func (r *rig) send(n, size int) {
	r.t.Helper()
	r.sendIn(n, size, 0)
}

// sendIn is send with a buffer of at least the given capacity.
func (r *rig) sendIn(n, size, capacity int) {
	r.t.Helper()
	b := r.buffer(n, size, capacity)
	if r.outlet != nil && r.outlet().Offer(b) {
		return
	}
	if cap(r.lines) > 0 && len(r.lines) == cap(r.lines) {
		r.t.Fatal("the channel is full")
	}
	r.lines <- b
}

// buffer returns a buffer of new lines, which is to be sent.
func (r *rig) buffer(n, size, capacity int) *linebuf.Buffer {
	b := r.buffers.MustGet(max(n*size, capacity))
	for range n {
		line := fmt.Sprintf("%06d:%06d ", r.nBufs, r.seq)
		line += strings.Repeat("x", max(0, size-1-len(line)))
		r.seq++
		r.source[line] = r.nBufs
		b.B = append(append(b.B, line...), '\n')
	}
	b.Lines, b.Read = n, time.Now()
	r.nBufs++
	r.bytes += len(b.B)
	return b
}

// pass lets time pass and checks what must hold at every quiet moment.
func (r *rig) pass(d time.Duration) Stats {
	r.t.Helper()
	time.Sleep(d)
	return r.checkedStats()
}

func (r *rig) checkedStats() Stats {
	r.t.Helper()
	s := r.ledger()
	confirmed := s.confirmed()
	if got, _ := r.received(); uint64(len(got)) < confirmed.Lines {
		r.t.Fatalf("%d lines confirmed, %d received", confirmed.Lines, len(got))
	}
	r.wantNoFaults()
	return s
}

// ledger is the cheap part of checkedStats.
func (r *rig) ledger() Stats {
	r.t.Helper()
	synctest.Wait()
	s := r.pool.Stats()
	accounted := s.confirmed()
	accounted.Add(s.Retained)
	accounted.Add(s.Kept)
	if s.Taken != accounted {
		r.t.Fatalf("taken %+v; confirmed %+v; retained %+v; kept %+v", s.Taken, s.confirmed(), s.Retained, s.Kept)
	}
	return s
}

func (s Stats) confirmed() (sum linebuf.Count) {
	for _, t := range append(s.Targets, s.Removed) {
		sum.Add(t.Confirmed)
	}
	return sum
}

func (s Stats) resent() (unacknowledged, unread linebuf.Count) {
	for _, t := range append(s.Targets, s.Removed) {
		for _, r := range t.Resent {
			switch r.Cause {
			case delivery.CauseUnacknowledged:
				unacknowledged.Add(r.Count)
			case delivery.CauseUnread:
				unread.Add(r.Count)
			}
		}
	}
	return unacknowledged, unread
}

// received returns how often each line was read by an application. It checks that lines are
// whole, that none comes twice over one connection, and that the lines of one buffer keep their
// order.
func (r *rig) received() (times map[string]int, total int) {
	r.t.Helper()
	times = map[string]int{}
	for _, p := range r.peers {
		p.mu.Lock()
		for _, c := range p.conns {
			total += r.receive(times, c)
		}
		p.mu.Unlock()
	}
	return times, total
}

func (r *rig) receive(times map[string]int, c *peerConn) int {
	r.t.Helper()
	whole := c.sent[:bytes.LastIndexByte(c.sent[:c.read], '\n')+1]
	if c.over && len(whole) != len(c.sent) {
		r.t.Fatalf("%s[%d]: ended cleanly in the middle of a line", c.peer.name, c.id)
	}
	n, last := 0, map[int]string{}
	for line := range bytes.Lines(whole) {
		s := string(line[:len(line)-1])
		from, ok := r.source[s]
		if !ok {
			r.t.Fatalf("%s[%d]: a line that was not sent: %q", c.peer.name, c.id, s)
		}
		if s <= last[from] {
			r.t.Fatalf("%s[%d]: %q after %q", c.peer.name, c.id, s, last[from])
		}
		last[from] = s
		times[s]++
		n++
	}
	return n
}

// sequence yields the numbers of the lines that the application has read, sequenceSent of those
// that were written.
func (c *peerConn) sequence() iter.Seq[int] {
	s := c.state()
	return sequenceOf(s.sent[:s.read])
}

func (c *peerConn) sequenceSent() iter.Seq[int] { return sequenceOf(c.state().sent) }

func sequenceOf(text []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for line := range bytes.Lines(text) {
			var from, seq int
			if n, _ := fmt.Sscanf(string(line), "%d:%d", &from, &seq); n == 2 && !yield(seq) {
				return
			}
		}
	}
}

// wantEnded demands that Run has returned.
func (r *rig) wantEnded() {
	r.t.Helper()
	select {
	case <-r.done:
	default:
		r.t.Error("does not end")
	}
}

func (r *rig) wantNoFaults() {
	r.t.Helper()
	for _, p := range r.peers {
		p.mu.Lock()
		for _, f := range p.fault {
			r.t.Error(f)
		}
		p.fault = nil
		p.mu.Unlock()
	}
}

// finish closes the channel and demands that everything is delivered within limit.
func (r *rig) finish(limit time.Duration) Stats {
	r.t.Helper()
	close(r.lines)
	r.waitEnd(limit)
	if r.err != nil {
		r.t.Fatalf("Run: %v", r.err)
	}
	s := r.checkedStats()
	if s.Retained != (linebuf.Count{}) {
		r.t.Fatalf("retained at the end: %d lines, %d bytes", s.Retained.Lines, s.Retained.Bytes)
	}
	if s.Taken.Lines != uint64(r.seq) || s.Taken.Bytes != uint64(r.bytes) {
		r.t.Fatalf("taken %d lines, %d bytes of %d, %d", s.Taken.Lines, s.Taken.Bytes, r.seq, r.bytes)
	}
	r.wantDelivered(s)
	r.wantClosed(s)
	if n := r.buffers.InUse(); n != 0 {
		r.t.Fatalf("%d bytes of buffers were not given back", n)
	}
	return s
}

func (r *rig) waitEnd(limit time.Duration) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.hard()
		<-r.done
		r.t.Fatalf("Run has not returned after %v: %+v", limit, r.pool.Stats())
	}
}

func (r *rig) wantDelivered(s Stats) {
	r.t.Helper()
	times, total := r.received()
	if len(times) != r.seq {
		r.t.Fatalf("%d of %d lines received", len(times), r.seq)
	}
	unacknowledged, unread := s.resent()
	if twice := uint64(total - len(times)); twice > unacknowledged.Lines+unread.Lines {
		r.t.Fatalf("%d duplicates, %d + %d counted as resent", twice, unacknowledged.Lines, unread.Lines)
	}
	sent, acknowledged := s.sent()
	want := s.confirmed()
	want.Add(unread)
	if acknowledged != want {
		r.t.Fatalf("acknowledged %+v, want those confirmed or resent as unread, %+v", acknowledged, want)
	}
	want.Add(unacknowledged)
	if sent != want {
		r.t.Fatalf("sent %+v, want those confirmed or resent, %+v", sent, want)
	}
}

func (s Stats) sent() (sent, acknowledged linebuf.Count) {
	for _, t := range append(s.Targets, s.Removed) {
		sent.Add(t.Sent)
		acknowledged.Add(t.Acknowledged)
	}
	return sent, acknowledged
}

func (r *rig) wantClosed(s Stats) {
	r.t.Helper()
	for _, p := range r.peers {
		for _, c := range p.conns {
			if !c.closed {
				r.t.Errorf("%s[%d] was left open", p.name, c.id)
			}
		}
	}
	for i, x := range r.pool.Targets() {
		if n := s.Targets[i].Connections; n != 0 {
			r.t.Errorf("%s: %d connections counted at the end", x, n)
		}
		x.Joined() // a connection still counted as stuck makes Confirming false
		if !x.Confirming(0) {
			r.t.Errorf("%s: counted as stuck at the end", x)
		}
		x.Left()
	}
}

// stop ends hard and demands that Run returns within limit.
func (r *rig) stop(limit time.Duration) Stats {
	r.t.Helper()
	r.hard()
	start := time.Now()
	<-r.done
	if took := time.Since(start); took > limit {
		r.t.Fatalf("Run returned %v after hard", took)
	}
	s := r.checkedStats()
	r.wantClosed(s)
	return s
}

// holdTurns keeps all workers, which wait for events, from acting on any until release is called.
func (r *rig) holdTurns() (release func()) {
	workers := *r.pool.running.Load()
	for _, w := range workers {
		w.turn.Lock()
	}
	return func() {
		for _, w := range workers {
			w.turn.Unlock()
		}
	}
}

// inBubble runs a subtest in a synctest bubble.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
