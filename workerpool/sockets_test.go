package workerpool

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/testcert"
	"linesplit/linebuf"
	"linesplit/target"
)

// socketSink is a target over real sockets: it reads each connection to its end and counts how
// often each line came.
type socketSink struct {
	ln    net.Listener
	addr  target.Address
	slow  time.Duration // pause between two reads
	conns sync.WaitGroup
	open  atomic.Int64 // connections that are not read to their end

	mu    sync.Mutex // guards the fields below
	times map[int]int
	torn  int
}

func newSocketSink(t *testing.T, scheme string, server *tls.Config, slow time.Duration) *socketSink {
	t.Helper()
	network, where := "tcp", "127.0.0.1:0"
	if scheme == target.SchemeUnix {
		network, where = "unix", t.TempDir()+"/s"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), network, where)
	if err != nil {
		t.Fatal(err)
	}
	s := &socketSink{addr: target.Address{Scheme: scheme, Host: ln.Addr().String()}, ln: ln, slow: slow,
		times: map[int]int{}}
	if scheme == target.SchemeTLS {
		s.ln = tls.NewListener(ln, server)
	}
	s.conns.Go(s.accept)
	return s
}

func (s *socketSink) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.open.Add(1)
		s.conns.Go(func() { defer s.open.Add(-1); s.read(c) })
	}
}

func (s *socketSink) read(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 16<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			s.note(-1, line != "")
			return
		}
		seq, err := strconv.Atoi(line[:8])
		s.note(seq, err != nil)
		if s.slow > 0 && seq%256 == 0 {
			time.Sleep(s.slow)
		}
	}
}

func (s *socketSink) note(seq int, torn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if torn {
		s.torn++
	}
	if seq >= 0 && !torn {
		s.times[seq]++
	}
}

func (s *socketSink) lines() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// Working targets of every kind are drained, resumed, removed and added again under load, over
// real sockets: each line arrives once, and the ledger holds.
func TestTargetsChangeOverSockets(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	sinks := []*socketSink{
		newSocketSink(t, target.SchemeTCP, nil, 0),
		newSocketSink(t, target.SchemeTCP, nil, 2*time.Millisecond),
		newSocketSink(t, target.SchemeTLS, files.ServerTLS(), 0),
		newSocketSink(t, target.SchemeUnix, nil, time.Millisecond),
	}
	o := Options{Connections: 2, Tuning: Tuning{
		ResendMargin: 64 << 10,
		DialOptions:  target.Options{TLS: files.ClientTLS, Timeout: time.Minute},
	}}
	for _, s := range sinks {
		o.Targets = append(o.Targets, s.addr)
	}
	buffers := linebuf.NewPool(16 << 20)
	pool := New(buffers, o)
	lines := make(chan *linebuf.Buffer, 16)
	var run, sender sync.WaitGroup
	run.Go(func() {
		if err := pool.Run(t.Context(), lines); err != nil {
			t.Error(err)
		}
	})
	stop := make(chan struct{})
	sent := 0
	sender.Go(func() { sent = sendNumbered(t, buffers, lines, stop) })

	for _, s := range sinks {
		changeAll(t, pool, s)
	}
	close(stop)
	sender.Wait()
	close(lines)
	run.Wait()
	for _, s := range sinks {
		s.ln.Close()
		s.conns.Wait()
	}
	checkOnce(t, sinks, sent)
	st := pool.Stats()
	if c := st.confirmed(); c.Lines != uint64(sent) || st.Taken.Lines != uint64(sent) ||
		st.Retained.Lines != 0 || st.Removed.Confirmed.Lines == 0 {
		t.Errorf("%d lines sent: %+v", sent, st)
	}
	if a, u := st.resent(); a.Lines+u.Lines != 0 {
		t.Errorf("resent: %+v, %+v", a, u)
	}
	if n := buffers.InUse(); n != 0 {
		t.Errorf("%d bytes of buffers were not given back", n)
	}
}

// A read of a thousand lines reaches all targets, of every kind, with about as many lines each, and
// a second one right after it does too.
func TestShortBurstReachesAllTargetsOverSockets(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	for _, scheme := range []string{target.SchemeTCP, target.SchemeTLS, target.SchemeUnix} {
		t.Run(scheme, func(t *testing.T) {
			o := Options{Connections: 2, Tuning: Tuning{
				PeerLookup:  true,
				DialOptions: target.Options{TLS: files.ClientTLS, Timeout: time.Minute},
			}}
			var sinks []*socketSink
			for range 3 {
				s := newSocketSink(t, scheme, files.ServerTLS(), 0)
				sinks, o.Targets = append(sinks, s), append(o.Targets, s.addr)
			}
			buffers := linebuf.NewPool(16 << 20)
			pool, lines := New(buffers, o), make(chan *linebuf.Buffer, 16)
			done := make(chan error, 1)
			go func() { done <- pool.Run(t.Context(), lines) }()
			outlet := pool.NewOutlet()
			for burst := range 2 {
				waitFor(t, "all connections are idle", func() bool { return idleWorkers(pool) == 2*len(sinks) })
				b := buffers.MustGet(9000)
				for i := range 1000 {
					b.B = fmt.Appendf(b.B, "%08d\n", 1000*burst+i)
				}
				b.Lines, b.Read = 1000, time.Now().Add(time.Duration(burst)*2*stayPause)
				if !outlet.Offer(b) {
					lines <- b
				}
				for _, s := range sinks {
					waitFor(t, s.addr.String()+" has its share", func() bool { return s.lines() >= 330*(burst+1) })
				}
			}
			close(lines)
			if err := <-done; err != nil {
				t.Error(err)
			}
			for _, s := range sinks {
				s.ln.Close()
				s.conns.Wait()
			}
			checkOnce(t, sinks, 2000)
		})
	}
}

func idleWorkers(p *Pool) (n int) {
	for _, w := range *p.running.Load() {
		if w.tryIdleTurn(burst{n: 1}) {
			w.endTurn()
			n++
		}
	}
	return n
}

func changeAll(t *testing.T, pool *Pool, s *socketSink) {
	t.Helper()
	change(t, pool, s, pool.Drain, target.StateDrained)
	waitFor(t, s.addr.String()+" has read to the end", func() bool { return s.open.Load() == 0 })
	before := s.lines()
	time.Sleep(20 * time.Millisecond) // the others go on, this one gets nothing
	if n := s.lines() - before; n != 0 {
		t.Errorf("%s: %d lines after it was drained", s.addr, n)
	}
	change(t, pool, s, pool.Resume, target.StateUp)
	change(t, pool, s, pool.Remove, "")
	if err := pool.Add(s.addr); err != nil {
		t.Error(err)
	}
}

// sendNumbered sends lines until stop and returns their number.
func sendNumbered(t *testing.T, buffers *linebuf.Pool, lines chan<- *linebuf.Buffer, stop <-chan struct{}) (seq int) {
	for {
		b, err := buffers.Get(t.Context(), 16<<10)
		if err != nil {
			t.Error(err)
			return seq
		}
		for range 100 {
			b.B = fmt.Appendf(b.B, "%08d some words to make it a line of a common length, 80 bytes or so\n", seq)
			seq++
		}
		b.Lines, b.Read = 100, time.Now()
		lines <- b
		select {
		case <-stop:
			return seq
		default:
		}
	}
}

// change lets the target have some lines, calls act for it, and waits until it has the wanted
// state, or is no longer listed if that is empty.
func change(t *testing.T, pool *Pool, s *socketSink, act func(string) error, want string) {
	t.Helper()
	before := s.lines()
	busy := func() bool { return want == target.StateUp || s.lines() > before }
	waitFor(t, s.addr.String()+" has lines", busy)
	if err := act(s.addr.String()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, fmt.Sprintf("%s is %q", s.addr, want), func() bool { return stateOf(pool, s.addr.String()) == want })
}

func stateOf(pool *Pool, name string) string {
	for _, x := range pool.Stats().Targets {
		if x.Name == name {
			return x.State
		}
	}
	return ""
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func checkOnce(t *testing.T, sinks []*socketSink, sent int) {
	t.Helper()
	times := make([]int, sent)
	for _, s := range sinks {
		for seq, n := range s.times {
			times[seq] += n
		}
		if s.torn > 0 {
			t.Errorf("%s: %d lines torn", s.addr, s.torn)
		}
	}
	lost, twice := 0, 0
	for _, n := range times {
		switch {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	if lost+twice > 0 {
		t.Errorf("of %d lines %d were lost and %d came more than once", sent, lost, twice)
	}
}
