//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"linesplit/internal/testrig"
)

// A target that led back to a listener of the same process, by a name or a link that the
// configuration does not show, counted as up: lines went round for ever, and a connection opened
// further ones until the limit.
func TestTargetThatIsAnOwnListenerIsDown(t *testing.T) {
	t.Parallel()
	for kind, places := range map[string]func(*testing.T) (listen, target string){
		"by name": byName, "through a link": throughLink,
	} {
		for _, mode := range []string{"line", "connection"} {
			t.Run(kind+", "+mode, func(t *testing.T) {
				t.Parallel()
				listen, self := places(t)
				s := testrig.NewStage(t)
				sink := s.StartSink(testrig.SinkOptions{})
				s.Process = s.StartLinesplit([]testrig.Target{testrig.TargetFlag(self), sink}, "-mode", mode,
					"-listen", listen, "-listen", "tcp://127.0.0.1:0", "-dial-timeout", "1s", "-health", "tcp")
				s.WaitForExactMetric(0, "linesplit_target_up", "target", self)
				s.WaitForExactMetric(1, "linesplit_target_up", "target", sink.Target())
				if s.CountLogLines(`msg="target down"`, self, "linesplit itself listens there") == 0 {
					t.Errorf("no such line in the log:\n%s", s.Process.LastLines(20))
				}
				s.StartSender(testrig.SenderOptions{Addr: s.Process.Listeners[1], Lines: 1000})
				s.WaitForSenders()
				s.WaitForAllLines()
				s.Process.Terminate()
			})
		}
	}
}

// byName returns a listener at all addresses, and a name of this machine.
func byName(t *testing.T) (listen, target string) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	addresses, err := net.LookupHost(name)
	if err != nil || len(addresses) == 0 {
		t.Skipf("this machine's name has no address: %v", err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(addresses[0], "0"))
	if err != nil {
		t.Skipf("this machine's name leads elsewhere: %v", err)
	}
	ln.Close()
	if ln, err = net.Listen("tcp", ":0"); err != nil { // the port must be free at all addresses
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return "tcp://:" + port, "tcp://" + net.JoinHostPort(name, port)
}

// throughLink returns a socket, and its path through a symbolic link.
func throughLink(t *testing.T) (listen, target string) {
	dir, err := os.MkdirTemp("", "own")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Symlink(".", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return "unix://" + filepath.Join(dir, "s"), "unix://" + filepath.Join(dir, "link", "s")
}

// Where nothing checked targets, an event loop connected to a socket of its own that it reached
// through a link: one client made a connection of the next, up to the limit.
func TestOwnListenerIsNotDialledByALoop(t *testing.T) {
	t.Parallel()
	listen, self := throughLink(t)
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.Process = s.StartLinesplit([]testrig.Target{testrig.TargetFlag(self), sink}, "-mode", "connection",
		"-listen", listen, "-listen", "tcp://127.0.0.1:0", "-max-connections", "20")
	const senders = 8
	for range senders {
		s.StartSender(testrig.SenderOptions{Addr: s.Process.Listeners[1], Lines: 100})
		s.WaitForSenders()
	}
	s.WaitForAllLines()
	m := s.Process.Metrics()
	if n := m.Sum("linesplit_connections_accepted_total"); n != senders {
		t.Errorf("%v connections, want %d", n, senders)
	}
	if m.Sum("linesplit_target_dial_errors_total", "target", self) == 0 {
		t.Error("the target that leads back was never tried")
	}
	testrig.ExpectContains(t, s.Process.Stderr(), "linesplit itself listens there")
	s.Process.Terminate()
}
