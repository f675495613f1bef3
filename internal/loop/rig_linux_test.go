package loop

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// start returns n loops that end with the test. No descriptor may be left by then.
func start(t testing.TB, n int) *Group {
	t.Helper()
	before := descriptors(t)
	g, err := New(n)
	must(t, err)
	t.Cleanup(func() {
		for _, l := range g.Loops() {
			if n := l.Descriptors(); n != 0 {
				t.Errorf("%d descriptors left on loop %d", n, l.Index())
			}
		}
		g.Shutdown()
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
	return g
}

// descriptors returns how many descriptors the process has open.
func descriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// on calls f on the loop and returns when it has returned.
func on(t testing.TB, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// handlerFunc is a handler with a descriptor.
type handlerFunc struct {
	fd    FD
	ready func(h *handlerFunc, l *Loop, ev Events)
}

func (h *handlerFunc) Ready(l *Loop, ev Events) { h.ready(h, l, ev) }

// adopt adopts a descriptor with a function as its handler.
func adopt(t testing.TB, l *Loop, fd int, ready func(h *handlerFunc, l *Loop, ev Events)) *handlerFunc {
	t.Helper()
	h := &handlerFunc{ready: ready}
	must(t, l.Adopt(&h.fd, fd, h))
	return h
}

func ignore(*handlerFunc, *Loop, Events) {}

// pair returns two connected non-blocking sockets.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fds[0], fds[1]
}

// echo writes back what it reads, and closes at the end.
type echo struct {
	fd   FD
	held []byte // read and not yet written
	full bool   // the socket takes nothing until it is writable
}

func (e *echo) Ready(l *Loop, ev Events) {
	e.full = e.full && ev&Writable == 0
	if len(e.held) == 0 {
		n, err := e.fd.Read(l.Scratch())
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil:
			e.fd.Close()
			return
		}
		e.held = append(e.held, l.Scratch()[:n]...)
	}
	for len(e.held) > 0 && !e.full {
		n, err := e.fd.Write(e.held)
		if err == unix.EAGAIN {
			e.full = true
		} else if err != nil {
			e.fd.Close()
			return
		}
		e.held = append(e.held[:0], e.held[n:]...)
	}
	if !e.full {
		e.fd.Again()
	}
}

// echoes accepts connections and gives each an echo.
type echoes struct {
	ln       Listener
	loop     *Loop
	mu       sync.Mutex
	accepted int
	peers    []netip.AddrPort
	failures []error
}

func (s *echoes) Accepted(fd int, peer netip.AddrPort) {
	s.mu.Lock()
	s.accepted++
	s.peers = append(s.peers, peer)
	s.mu.Unlock()
	e := &echo{}
	s.loop.Group().Least(s.loop).Adopt(&e.fd, fd, e)
}

func (s *echoes) AcceptFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
}

func (s *echoes) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// serve accepts connections at an address on the first loop.
func serve(t testing.TB, g *Group, network, address string) (*echoes, net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, address)
	must(t, err)
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	addr := ln.Addr()
	fd, err := Detach(ln.(detachable))
	must(t, err)
	s := &echoes{loop: g.Loops()[0]}
	must(t, s.loop.Listen(&s.ln, fd, s))
	t.Cleanup(func() {
		on(t, s.loop, s.ln.Close)
		eventually(t, "all connections closed", func() bool {
			for _, l := range g.Loops() {
				if l.Descriptors() > 0 {
					return false
				}
			}
			return true
		})
	})
	return s, addr
}
