package sink

import (
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A test that stopped a target and had its clients served by the others failed now and then: a
// process that another test was starting held the target's listening socket open for a moment
// longer, accepted a connection, and reset it.
func TestClosedListenerRefusesWhileProcessesStart(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip("there is no program to start: ", err)
	}
	stop := make(chan struct{})
	var starting sync.WaitGroup
	defer starting.Wait()
	defer close(stop)
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					exec.Command(path).Run()
				}
			}
		})
	}
	dir := t.TempDir()
	for _, network := range []string{"tcp", "unix"} {
		for range 500 {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(dir, "s")
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			CloseListener(ln)
			if conn, err := net.Dial(network, ln.Addr().String()); err == nil {
				conn.Close()
				t.Fatalf("%s: connected to a listener that was closed", network)
			}
		}
	}
}

func TestConnectionsInheritBufferAndSegment(t *testing.T) {
	t.Parallel()
	const buffer, segment = 32 << 10, 1448
	s := start(t, Options{Buffer: buffer, Segment: segment})
	p := dial(t, s)
	waitFor(t, "the connection", func() bool { return s.Open() == 1 })
	if got := socketOption(t, s.connections()[0].raw, unix.SOL_SOCKET, unix.SO_RCVBUF); got != 2*buffer { // see socket(7)
		t.Errorf("receive buffer of %d bytes, want twice %d", got, buffer)
	}
	if got := socketOption(t, p.raw, unix.IPPROTO_TCP, unix.TCP_MAXSEG); got > segment || got < segment/2 {
		t.Errorf("the peer sends segments of %d bytes, want at most %d", got, segment)
	}
}

func TestNarrowLowersTheBuffersOfOpenConnections(t *testing.T) {
	t.Parallel()
	const buffer = 16 << 10
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		dial(t, s)
		waitFor(t, "the connection", func() bool { return s.Open() == 1 })
		if err := s.Narrow(buffer); err != nil {
			t.Fatal(err)
		}
		if got := socketOption(t, s.connections()[0].raw, unix.SOL_SOCKET, unix.SO_RCVBUF); got != 2*buffer {
			t.Errorf("receive buffer of %d bytes, want twice %d", got, buffer)
		}
	})
}

func socketOption(t *testing.T, c net.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) })
	if err != nil {
		t.Fatal(err)
	}
	return value
}
