package loop

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Bytes come back whole through sockets that are full again and again, over all kinds of sockets
// and several loops.
func TestEcho(t *testing.T) {
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", t.TempDir() + "/s"}} {
		t.Run(at[0]+" "+at[1][:4], func(t *testing.T) {
			g := start(t, 3)
			s, addr := serve(t, g, at[0], at[1])
			var clients sync.WaitGroup
			for range 9 {
				clients.Go(func() { exchange(t, addr, 3<<20) })
			}
			clients.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, p := range s.peers {
				if p.IsValid() != (at[0] == "tcp") || p.Addr().Is4In6() {
					t.Errorf("a connection from %v", p)
				}
			}
		})
	}
}

// exchange sends random bytes and wants them back.
func exchange(t testing.TB, to net.Addr, size int) {
	nc, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	sent := make([]byte, size)
	rand.Read(sent)
	var sending sync.WaitGroup
	sending.Go(func() { nc.Write(sent) })
	got := make([]byte, size)
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("wrong bytes came back, %v", err)
	}
	sending.Wait()
}

// The kernel has reported an event for a descriptor when an earlier handler of the same turn closes
// it and gets its number for a new socket. The event must not reach the new socket's handler.
func TestStaleEventsReachNoHandler(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	a, farA := pair(t)
	b, farB := pair(t)
	var victim, heir *handlerFunc
	called := false
	farHeir := -1
	closer := adopt(t, l, a, func(h *handlerFunc, l *Loop, ev Events) {
		if ev&PeerEnded == 0 || heir != nil {
			return
		}
		victim.fd.Close()
		var near int
		near, farHeir = pair(t)
		if near != b {
			t.Errorf("the kernel gave number %d, want %d", near, b)
		}
		heir = adopt(t, l, near, func(_ *handlerFunc, _ *Loop, ev Events) { called = called || ev&Readable != 0 })
	})
	victim = adopt(t, l, b, func(_ *handlerFunc, _ *Loop, ev Events) {
		if ev&Readable != 0 {
			t.Error("the closed descriptor's handler was called")
		}
	})
	on(t, l, func() {}) // first events
	on(t, l, func() {   // both are reported together, since the loop is here
		shutdown(farA, unix.SHUT_RDWR)
		shutdown(farB, unix.SHUT_RDWR)
	})
	on(t, l, func() {})
	on(t, l, func() {
		if heir == nil || called {
			t.Errorf("heir %v, called for another's event: %v", heir, called)
		}
		closer.fd.Close()
		heir.fd.Close()
		Close(farHeir)
		Close(farA)
		Close(farB)
	})
}

// Handlers that have more to do take turns, first in, first out.
func TestAgainIsFair(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	const handlers, turns = 5, 20
	var order []int
	done := make(chan struct{})
	var all []*handlerFunc
	var far []int
	on(t, l, func() {
		for i := range handlers {
			near, f := pair(t)
			far = append(far, f)
			all = append(all, adopt(t, l, near, func(h *handlerFunc, _ *Loop, _ Events) {
				if order = append(order, i); len(order) == handlers*turns {
					close(done)
				}
				if len(order) < handlers*turns {
					h.fd.Again()
					h.fd.Again() // counts once
				}
			}))
		}
	})
	<-done
	on(t, l, func() {
		for i, h := range order {
			if h != order[i%handlers] {
				t.Fatalf("handlers ran in the order %v", order)
			}
		}
		for i, h := range all {
			h.fd.Close()
			Close(far[i])
		}
	})
}

func TestDescriptorsReturnToGoroutines(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	fd, err := Detach(near.(detachable))
	must(t, err)
	h := adopt(t, l, fd, ignore)
	var again net.Conn
	on(t, l, func() { again, err = Attach(h.fd.Release()) })
	must(t, err)
	defer again.Close()
	if _, ok := again.(*net.TCPConn); !ok || h.fd.IsOpen() || l.Descriptors() != 0 {
		t.Errorf("got a %T, open on the loop: %v", again, h.fd.IsOpen())
	}
	_, err = io.WriteString(far, "hello")
	must(t, err)
	b := make([]byte, 5)
	_, err = io.ReadFull(again, b)
	must(t, err)
}

// The far ends see a reset, or the end, according to how a descriptor is closed.
func TestCloseAndReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		g := start(t, 1)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		near, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		far, err := ln.Accept()
		must(t, err)
		fd, err := Detach(near.(detachable))
		must(t, err)
		l := g.Loops()[0]
		h := adopt(t, l, fd, ignore)
		on(t, l, func() {
			if reset {
				h.fd.Reset()
			} else {
				h.fd.CloseWrite()
				h.fd.Close()
				h.fd.Close()
			}
		})
		_, err = far.Read(make([]byte, 1))
		if (err == io.EOF) == reset {
			t.Errorf("reset %v: the peer sees %v", reset, err)
		}
		far.Close()
		ln.Close()
	}
}

// Thousands of connections that are reset while others open leave nothing.
func TestManyConnectionsResetAtOnce(t *testing.T) {
	g := start(t, 2)
	s, addr := serve(t, g, "tcp", "127.0.0.1:0")
	const rounds, size = 20, 250
	for range rounds {
		conns := make([]net.Conn, size)
		for i := range conns {
			nc, err := net.Dial("tcp", addr.String())
			must(t, err)
			nc.Write([]byte("x"))
			nc.(*net.TCPConn).SetLinger(0)
			conns[i] = nc
		}
		for _, nc := range conns {
			nc.Close()
		}
	}
	eventually(t, "all accepted", func() bool { return s.count() == rounds*size })
}

// Waiting loops hold up neither the collector nor other goroutines.
func TestCollectorDoesNotWaitForLoops(t *testing.T) {
	g := start(t, runtime.GOMAXPROCS(0))
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() { // keeps the loops in their first milliseconds of waiting
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, l := range g.Loops() {
				l.Post(func() {})
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	begin := time.Now()
	const collections = 100
	for range collections {
		runtime.GC()
	}
	close(stop)
	busy.Wait()
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("%d collections took %v", collections, took)
	}
}

// Shutdown closes what its owners have left.
func TestShutdownClosesTheRest(t *testing.T) {
	g, err := New(2)
	must(t, err)
	near, far := pair(t)
	adopt(t, g.Loops()[1], near, ignore)
	g.Shutdown()
	g.Shutdown()
	if n, err := Read(far, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the far end reads %d, %v, want the end", n, err)
	}
	Close(far)
	if g.Loops()[0].Post(func() {}) {
		t.Error("a loop that has ended takes tasks")
	}
}

func TestLeastPrefersTheGivenLoop(t *testing.T) {
	g := start(t, 3)
	var got []int
	var open []*handlerFunc
	for range 6 {
		l := g.Least(g.Loops()[1])
		got = append(got, l.Index())
		near, far := pair(t)
		defer Close(far)
		open = append(open, adopt(t, l, near, ignore))
	}
	if want := []int{1, 0, 2, 1, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("chose %v, want %v", got, want)
	}
	for i, h := range open {
		on(t, g.Loops()[got[i]], h.fd.Close)
	}
}

// A pipe's ends and EAGAIN, the states that every handler relies on.
func TestEventsOfAPipe(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	seen := make(chan Events, 10)
	h := adopt(t, l, fds[0], func(h *handlerFunc, _ *Loop, ev Events) {
		for {
			if _, err := h.fd.Read(l.Scratch()); err != nil {
				break
			}
		}
		seen <- ev
	})
	for range 3 {
		_, err := Write(fds[1], []byte("x"))
		must(t, err)
		if ev := <-seen; ev != Readable {
			t.Errorf("events %b, want %b", ev, Readable)
		}
	}
	Close(fds[1])
	if ev := <-seen; ev&PeerEnded == 0 {
		t.Errorf("events %b at the end", ev)
	}
	on(t, l, h.fd.Close)
}

func TestMakeRoomOnlyRaises(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	MakeRoom(before)
	if got := runtime.GOMAXPROCS(0); got != before+spareProcs {
		t.Errorf("GOMAXPROCS = %d, want %d", got, before+spareProcs)
	}
	MakeRoom(1)
	if got := runtime.GOMAXPROCS(0); got != before+spareProcs {
		t.Errorf("GOMAXPROCS = %d after a call for less", got)
	}
}

// A connection stays where it was accepted unless that loop has a quarter more than another.
func TestNear(t *testing.T) {
	g := start(t, 2)
	a, b := g.Loops()[0], g.Loops()[1]
	for _, test := range []struct {
		a, b int
		want *Loop
	}{{0, 0, a}, {1, 0, b}, {2, 1, b}, {5, 4, a}, {6, 4, b}, {4, 100, a}, {126, 100, b}} {
		a.Expect(test.a)
		b.Expect(test.b)
		if got := g.Near(a); got != test.want {
			t.Errorf("with %d here and %d there: loop %d", test.a, test.b, got.Index())
		}
		a.Expect(-test.a)
		b.Expect(-test.b)
	}
}
