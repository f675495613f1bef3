package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connecting is a handler that reports how a connect ends.
type connecting struct {
	fd     FD
	result chan error
}

func (c *connecting) Ready(_ *Loop, ev Events) {
	if ev&Writable == 0 {
		return
	}
	err := c.fd.ConnectError()
	c.fd.Close()
	c.result <- err
}

func TestConnect(t *testing.T) {
	g := start(t, 2)
	l := g.Loops()[1]
	for _, at := range [][2]string{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", t.TempDir() + "/s"}, {"unix", "@loop-test"},
	} {
		ln, err := net.Listen(at[0], at[1])
		must(t, err)
		for _, want := range []error{nil, unix.ECONNREFUSED} {
			c := &connecting{result: make(chan error, 1)}
			on(t, l, func() {
				if at[0] == "unix" {
					err = l.ConnectUnix(&c.fd, at[1], c)
				} else {
					err = l.Connect(&c.fd, netip.MustParseAddrPort(ln.Addr().String()), want == nil, c)
				}
			})
			if err == nil {
				err = <-c.result
			}
			if !errors.Is(err, want) && !(want != nil && errors.Is(err, os.ErrNotExist)) {
				t.Errorf("%s: %v, want %v", at[1], err, want)
			}
			ln.Close()
		}
	}
}

// talker writes once it is connected, reads the answer, and reports the state of its socket.
type talker struct {
	fd    FD
	talks bool
	wrote uint32        // packets sent by then
	noted chan struct{} // gets a value once wrote is known
	after chan socketState
}

type socketState struct {
	wrote    uint32 // packets sent by the time of the write, and it included
	quickAck int    // TCP_QUICKACK after the answer
}

func (c *talker) Ready(_ *Loop, ev Events) {
	if !c.fd.IsOpen() {
		return
	}
	if c.wrote == 0 {
		c.fd.Write([]byte("hello"))
		if info, err := unix.GetsockoptTCPInfo(c.fd.Int(), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			c.wrote = info.Segs_out
		}
		c.noted <- struct{}{}
		if c.talks {
			c.fd.AckAtOnce()
		}
	}
	if _, err := c.fd.Read(make([]byte, 10)); err != nil {
		return
	}
	s := socketState{wrote: c.wrote}
	s.quickAck, _ = unix.GetsockoptInt(c.fd.Int(), unix.IPPROTO_TCP, unix.TCP_QUICKACK)
	c.fd.Close()
	c.after <- s
}

// A connect whose caller writes at once takes a packet less. The answer is acknowledged at once all
// the same: with TCP_QUICKACK off, the second of two small writes came 42 ms after the first.
func TestConnectThatTalks(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	for talks, want := range map[bool]socketState{false: {3, 1}, true: {2, 1}} {
		c := &talker{talks: talks, noted: make(chan struct{}, 1), after: make(chan socketState, 1)}
		on(t, l, func() { err = l.Connect(&c.fd, netip.MustParseAddrPort(ln.Addr().String()), talks, c) })
		must(t, err)
		nc, err := ln.Accept()
		must(t, err)
		_, err = io.ReadFull(nc, make([]byte, 5))
		must(t, err)
		<-c.noted // an answer is acknowledged by another packet
		nc.Write([]byte("hello"))
		if got := <-c.after; got != want {
			t.Errorf("talks %v: %+v, want %+v", talks, got, want)
		}
		nc.Close()
	}
}

// A connect that gets no answer is ended by its owner, and nothing is left of it.
func TestConnectWithoutAnswer(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	path := t.TempDir() + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer Close(fd)
	must(t, errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)))
	on(t, l, func() {
		var full error
		var open []*connecting
		for full == nil {
			c := &connecting{result: make(chan error, 1)}
			if full = l.ConnectUnix(&c.fd, path, c); full == nil {
				open = append(open, c)
			}
		}
		if !errors.Is(full, unix.EAGAIN) {
			t.Errorf("with a full backlog: %v", full)
		}
		for _, c := range open {
			c.fd.Close()
		}
		if err := l.ConnectUnix(&FD{}, string(make([]byte, 200)), nil); err == nil {
			t.Error("a path of 200 bytes was accepted")
		}
		if err := l.Connect(&FD{}, netip.MustParseAddrPort("[fe80::1%lo]:1"), false, nil); err == nil {
			t.Error("a zone with a name was accepted")
		}
	})
}

// Without descriptors a listener tries again with growing delays, reports each failure, and serves
// the waiting connections once there are some. This test takes all descriptors.
func TestAcceptIsRetriedWithoutDescriptors(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(descriptors(t) + 20), Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	a := &unix.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	must(t, unix.Connect(fd, a))
	begin := time.Now()
	eventually(t, "five failures", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.failures) >= 5
	})
	if took := time.Since(begin); took < 5*firstRetry {
		t.Errorf("five attempts in %v", took)
	}
	if !errors.Is(s.failures[0], unix.EMFILE) {
		t.Errorf("failed with %v", s.failures[0])
	}
	for _, f := range taken {
		f.Close()
	}
	eventually(t, "the connection accepted", func() bool { return s.count() == 1 })
}

// A listener called accept once more than there were connections. With the last free descriptor
// taken by a connection, that failed for lack of another, and connections had to wait for the next
// attempt.
func TestNoAcceptWithoutConnection(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	last, err := unix.Dup(fd) // the lowest number that is free
	must(t, err)
	unix.Close(last)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(last) + 1, Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	a := &unix.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	must(t, unix.Connect(fd, a))
	eventually(t, "accepted", func() bool { return s.count() == 1 })
	on(t, s.loop, func() {}) // the handler has returned
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) > 0 {
		t.Errorf("one connection: %v", s.failures)
	}
}

// dialBack dials its listener again while it takes a connection.
type dialBack struct {
	*echoes
	addr unix.Sockaddr
	left int
	fds  []int
}

func (d *dialBack) Accepted(fd int, peer netip.AddrPort) {
	d.echoes.Accepted(fd, peer)
	if d.left--; d.left >= 0 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil && unix.Connect(fd, d.addr) == nil {
			d.fds = append(d.fds, fd)
		}
	}
}

// A connection that comes after the listener has looked for more, and before its handler returns,
// is accepted, too.
func TestConnectionDuringAcceptIsAccepted(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	d := &dialBack{echoes: s, left: 40,
		addr: &unix.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}}
	on(t, s.loop, func() { s.ln.to = d })
	nc, err := net.Dial("tcp", addr.String())
	must(t, err)
	defer nc.Close()
	eventually(t, "all accepted", func() bool { return s.count() == 41 })
	on(t, s.loop, func() {
		for _, fd := range d.fds {
			Close(fd)
		}
	})
}

// After failures, a listener waits up to a second before it accepts again. Its last call came
// meanwhile, and reset the connections in the backlog.
func TestLastCallEndsTheWaitAfterAFailure(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	l := g.Loops()[0]
	on(t, l, func() { l.Start(&s.ln.retry, time.Hour) })
	nc, err := net.Dial("tcp", addr.String())
	must(t, err)
	defer nc.Close()
	done := make(chan struct{})
	on(t, l, func() { s.ln.LastCall(func() { close(done) }) })
	<-done
	if n := s.count(); n != 1 {
		t.Errorf("%d connections accepted, want 1", n)
	}
}

func TestPauseLeavesConnectionsInTheBacklog(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	on(t, s.loop, s.ln.Pause)
	for range 40 {
		nc, err := net.Dial("tcp", addr.String())
		must(t, err)
		defer nc.Close()
	}
	on(t, s.loop, func() {})
	on(t, s.loop, func() {})
	if n := s.count(); n != 0 {
		t.Errorf("%d accepted during the pause", n)
	}
	on(t, s.loop, s.ln.Resume)
	eventually(t, "all accepted", func() bool { return s.count() == 40 })
}

// serveBacklog returns a paused listener with n connections in its backlog.
func serveBacklog(t *testing.T, n int) *echoes {
	t.Helper()
	s, addr := serve(t, start(t, 1), "tcp", "127.0.0.1:0")
	on(t, s.loop, s.ln.Pause)
	for range n {
		nc, err := net.Dial("tcp", addr.String())
		must(t, err)
		t.Cleanup(func() { nc.Close() })
	}
	return s
}

// LastCall empties the backlog before it calls done, and calls it although connections keep coming.
func TestLastCall(t *testing.T) {
	s := serveBacklog(t, 40)
	done := make(chan int, 1)
	begin := time.Now()
	on(t, s.loop, func() { s.ln.LastCall(func() { done <- s.count(); s.ln.Close() }) })
	if n := <-done; n != 40 {
		t.Errorf("%d accepted, want 40", n)
	}
	if took := time.Since(begin); took < backlogWait {
		t.Errorf("done after %v", took)
	}
}

// A loop that has had no time to accept before the wait is over looks at the backlog once more. It
// used to reset the connections that it had not accepted in its next turn.
func TestLastCallOfABusyLoop(t *testing.T) {
	s := serveBacklog(t, 40)
	done := make(chan int, 1)
	on(t, s.loop, func() {
		s.ln.LastCall(func() { done <- s.count(); s.ln.Close() })
		time.Sleep(maxBacklog + backlogWait) // others have the processor
	})
	if n := <-done; n != 40 {
		t.Errorf("%d accepted, want 40", n)
	}
}

func TestLastCallEndsAlthoughConnectionsCome(t *testing.T) {
	g := start(t, 1)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	done := make(chan struct{})
	begin := time.Now()
	on(t, s.loop, func() { s.ln.LastCall(func() { s.ln.Close(); close(done) }) })
	for ended := false; !ended; {
		if nc, err := net.Dial("tcp", addr.String()); err == nil {
			nc.Close()
		}
		select {
		case <-done:
			ended = true
		case <-time.After(time.Millisecond):
		}
	}
	if took := time.Since(begin); took > 30*time.Second { // maxEmptying, on a busy machine
		t.Errorf("ended after %v", took)
	}
}

// Loops that accept from one socket get each connection once, and one that is busy leaves them to
// the others.
func TestSeveralLoopsAccept(t *testing.T) {
	g := start(t, 2)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	fd, err := Duplicate(s.ln.fd.Int())
	must(t, err)
	other := &echoes{loop: g.Loops()[1]}
	must(t, other.loop.Listen(&other.ln, fd, other))
	busy, release := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(busy); <-release })
	<-busy
	const half = 20
	for n := range 2 * half {
		if n == half {
			eventually(t, "the other loop has accepted half", func() bool { return other.count() == half })
			close(release)
		}
		nc, err := net.Dial("tcp", addr.String())
		must(t, err)
		defer nc.Close()
	}
	eventually(t, "all accepted", func() bool { return s.count()+other.count() == 2*half })
	on(t, other.loop, other.ln.Close)
}
