package splitter

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/intake"
	"linesplit/internal/intake/naive"
	"linesplit/internal/loop"
	"linesplit/linebuf"
)

var loopsFlag = flag.Int("loops", 2, "event loops of the splitters under test")

func TestMain(m *testing.M) {
	// Parallel tests wait for time, not for processors. The command line overrides this.
	flag.Set("test.parallel", "16")
	flag.Parse()
	loop.MakeRoom(*loopsFlag)
	goleak.VerifyTestMain(m)
}

// rig is a Splitter that serves one listener, and a goroutine that takes its buffers, checks them
// and puts them back.
type rig struct {
	*Splitter
	t    *testing.T
	pool *linebuf.Pool
	addr net.Addr
	soft context.CancelFunc
	hard context.CancelFunc

	served chan struct{} // closed when Serve has returned
	taken  chan struct{} // closed when the output is complete
	err    error         // what it returned

	mu   sync.Mutex
	gate sync.Mutex // while a test holds it, no buffers are taken
	got  []byte
	bufs int
}

const (
	wait   = time.Minute // the maximum wait for what must happen
	plenty = 64 << 20
)

func newRig(t *testing.T, ln net.Listener, budget int64, o Options) *rig {
	return newRigOn(t, ln, budget, 4, o)
}

func newRigOn(t *testing.T, ln net.Listener, budget int64, queue int, o Options) *rig {
	t.Helper()
	r := &rig{t: t, pool: linebuf.NewPool(budget), addr: ln.Addr(),
		served: make(chan struct{}), taken: make(chan struct{})}
	soft, softCancel := context.WithCancel(context.Background())
	hard, hardCancel := context.WithCancel(context.Background())
	r.soft, r.hard = softCancel, hardCancel
	out := make(chan *linebuf.Buffer, queue)
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener: // others have no sockets, or are in a bubble
		o.Loops = *loopsFlag
	}
	r.Splitter = New(r.pool, out, o)
	go func() { defer close(r.taken); r.take(out) }()
	go func() {
		defer close(r.served)
		r.err = r.Serve(soft, hard, ln)
		close(out)
	}()
	t.Cleanup(func() {
		softCancel()
		hardCancel()
		<-r.served
		<-r.taken
		if n := r.pool.InUse(); n != 0 {
			t.Errorf("%d bytes were never put back", n)
		}
		r.ledger()
		if n := r.charged(); n != 0 {
			t.Errorf("%d bytes are still charged", n)
		}
		if n := r.Stats().Connections; n != 0 {
			t.Errorf("%d connections at the end", n)
		}
	})
	return r
}

func (r *rig) charged() int64 { return r.streams.Usage().Unfinished }

func (r *rig) take(out <-chan *linebuf.Buffer) {
	for b := range out {
		r.gate.Lock() // waits while a test holds it
		n := b.Framing.Count(b.B)
		r.gate.Unlock()
		if len(b.B) == 0 || b.Framing.Start(b.B, len(b.B)) != len(b.B) {
			r.t.Errorf("a buffer of %d bytes does not end with a line", len(b.B))
		}
		if n != b.Lines {
			r.t.Errorf("a buffer counts %d lines and has %d", b.Lines, n)
		}
		if since := time.Since(b.Read); since < 0 || since > time.Minute {
			r.t.Errorf("a buffer was read %v ago", since)
		}
		r.mu.Lock()
		r.got = append(r.got, b.B...)
		r.bufs++
		r.mu.Unlock()
		r.pool.Put(b)
	}
}

func (r *rig) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.got)
}

// size returns the length of the output, without copying it.
func (r *rig) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// ledger checks that all lines received are accounted for, which holds at quiet moments.
func (r *rig) ledger() Stats {
	r.t.Helper()
	st := r.Stats()
	sum := st.Queued
	for _, d := range st.Dropped {
		sum.Add(d.Count)
	}
	if sum != st.Received {
		r.t.Errorf("the ledger is off: %+v", st)
	}
	return st
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(wait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain: %s; %+v, %d bytes in use, %d charged", what, r.Stats(), r.pool.InUse(), r.charged())
		}
	}
}

// untilRead waits until n bytes have been read from the newest connection.
func (r *rig) untilRead(n int) {
	r.t.Helper()
	r.until("it is read", func() bool {
		newest := r.Connections(1)
		return len(newest) == 1 && newest[0].Bytes == uint64(n)
	})
}

// untilFull waits until there is no room for one more connection, so that new ones wait in the
// backlog.
func (r *rig) untilFull() {
	r.t.Helper()
	r.until("the pause", func() bool {
		r.registry.mu.Lock()
		defer r.registry.mu.Unlock()
		return r.registry.full
	})
}

// end cancels soft and waits until Serve has returned.
func (r *rig) end() Stats {
	r.t.Helper()
	r.soft()
	r.ended()
	<-r.taken
	if r.err != nil {
		r.t.Errorf("Serve: %v", r.err)
	}
	return r.ledger()
}

func (r *rig) ended() {
	r.t.Helper()
	select {
	case <-r.served:
	case <-time.After(wait):
		r.t.Fatal("Serve did not return")
	}
}

func (r *rig) wants(want string) {
	r.t.Helper()
	r.until("the output", func() bool { return r.size() >= len(want) })
	if got := r.output(); got != want {
		r.t.Errorf("got %d bytes %.200q\nwant %d bytes %.200q", len(got), got, len(want), want)
	}
}

func dropped(st Stats, why intake.Reason) Dropped { return st.Dropped[why] }

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Error(err)
	}
}

// fakeListener returns from Accept the connections and errors that a test sends, and net.ErrClosed
// once closed.
type fakeListener struct {
	next   chan any
	closed chan struct{}
	once   sync.Once
}

func newFakeListener(items ...any) *fakeListener {
	l := &fakeListener{next: make(chan any, len(items)+16), closed: make(chan struct{})}
	for _, x := range items {
		l.next <- x
	}
	return l
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case x := <-l.next:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	}
}

func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "@fake"} }

// scripted is a connection whose reads are as hostile as a test demands.
type scripted struct {
	net.Conn        // nil: only the methods defined here are used
	data     []byte // the data to read
	step     int    // bytes per read
	err      error  // at the end of data
	together bool   // err comes with the last bytes
	empty    bool   // each read is preceded by an empty one
	hold     bool   // the last read was empty
	closed   chan struct{}
	once     sync.Once
}

func (s *scripted) Read(b []byte) (int, error) {
	if s.empty {
		if s.hold = !s.hold; s.hold {
			return 0, nil
		}
	}
	n := copy(b[:min(len(b), s.step)], s.data)
	s.data = s.data[n:]
	if len(s.data) > 0 {
		return n, nil
	}
	if n > 0 && !s.together {
		return n, nil
	}
	return n, s.err
}

func (s *scripted) Close() error                    { s.once.Do(func() { close(s.closed) }); return nil }
func (s *scripted) RemoteAddr() net.Addr            { return &net.UnixAddr{Net: "unix", Name: "@scripted"} }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// numbered returns n distinct lines of about size bytes.
func numbered(sender, n, size int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d %d %s\n", sender, i, strings.Repeat("x", max(0, size-12+i%7)))
	}
	return b.String()
}

// sorted returns the lines of s in order, to compare the output of several connections.
func sorted(s string) string {
	lines := strings.SplitAfter(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// result is the outcome of a stream.
type result struct {
	out       string
	dropped   [intake.NumReasons]linebuf.Count
	truncated uint64
	closed    bool
}

// model is the naive form of the rules for lines.
func model(in []byte, maxLine int, policy Oversize) (r result) {
	n := naive.Cut(in, maxLine, policy.String())
	r = result{out: n.Out, truncated: n.Truncated, closed: n.Closed}
	r.dropped[intake.ReasonOversize] = n.Oversize
	r.dropped[intake.ReasonTruncated].Bytes = n.CutOff
	return r
}
