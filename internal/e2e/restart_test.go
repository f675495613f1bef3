//go:build linux

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// churn runs senders that connect, write some lines, close, and repeat after a moment, so that they
// leave time for the other tests.
type churn struct {
	*testrig.Stage
	addr    string
	lines   int // per connection
	done    chan struct{}
	senders sync.WaitGroup
	next    atomic.Uint32 // number of the last sender
	served  atomic.Int64  // connections that have ended without an error
	mu      sync.Mutex    // guards Stage.Sent
}

func startChurn(s *testrig.Stage, addr string, senders, lines int) *churn {
	c := &churn{Stage: s, addr: addr, lines: lines, done: make(chan struct{})}
	for range senders {
		c.senders.Go(c.run)
	}
	return c
}

func (c *churn) run() {
	for !closed(c.done) {
		id := c.next.Add(1)
		conn, err := testrig.Dial("tcp", c.addr, nil)
		if err != nil {
			c.Errorf("sender %d was refused: %v", id, err)
			return
		}
		_, err = conn.Write(testrig.Records(id, c.lines, 200))
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			c.Errorf("sender %d: %v", id, err)
			return
		}
		c.mu.Lock()
		c.Sent[id] = uint64(c.lines)
		c.mu.Unlock()
		c.served.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
}

// waitForMore waits until n more connections have ended.
func (c *churn) waitForMore(n int64) {
	c.Helper()
	enough := c.served.Load() + n
	testrig.WaitFor(c.T, "more senders are served", func() bool { return c.served.Load() >= enough || c.Failed() })
}

func (c *churn) stop() {
	close(c.done)
	c.senders.Wait()
}

// A new process takes over the port from the old one while senders connect: none is refused, and no
// line is lost. Processes that cannot start, because the old one has their -admin port, do no harm
// either.
func TestRestartWithReusePortRefusesNoSender(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	old := s.StartLinesplit([]testrig.Target{a, b}, "-reuse-port")
	addr := old.Listeners[0]
	senders := startChurn(s, addr, 4, 50)
	for range 3 {
		for range 4 {
			senders.waitForMore(10)
			failing := exec.Command(testrig.Binary(t), "-reuse-port", "-listen", "tcp://"+addr, "-target", a.Target(),
				"-admin", old.Admin)
			out, err := failing.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "another program listens there") {
				t.Errorf("%v\n%s", err, out)
			}
		}
		next := s.StartLinesplit([]testrig.Target{a, b}, "-reuse-port", "-listen", "tcp://"+addr)
		senders.waitForMore(100)
		if code := old.Terminate(); code != 0 {
			t.Errorf("the old process ended with %d\n%s", code, old.LastLines(10))
		}
		old = next
	}
	senders.waitForMore(100)
	senders.stop()
	testrig.WaitFor(t, "all lines arrive", func() bool { return s.Tally.HasAll(s.Sent) })
	if code := old.Terminate(); code != 0 {
		t.Errorf("the last process ended with %d\n%s", code, old.LastLines(10))
	}
	if r := s.Tally.Report(s.Sent); r.Lost+r.Duplicated+r.Corrupt+r.Torn+r.NeverSent > 0 {
		t.Errorf("%+v", r)
	}
}

// manager stands in for systemd: it owns the listening socket, passes it to linesplit, and receives
// its notifications.
type manager struct {
	*testrig.Stage
	socket   *os.File
	addr     string        // of the socket
	notices  *net.UnixConn // where notifications arrive
	path     string        // of that socket
	received chan string   // notifications; closed when the test ends
}

func newManager(s *testrig.Stage) *manager {
	ln, err := testrig.ListenAlone()
	if err != nil {
		s.Fatal(err)
	}
	m := &manager{Stage: s, addr: ln.Addr().String(), received: make(chan string, 1000)}
	if m.socket, err = ln.(*net.TCPListener).File(); err != nil {
		s.Fatal(err)
	}
	ln.Close()
	m.path = filepath.Join(s.TempDir(), "notify")
	if m.notices, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		s.Fatal(err)
	}
	go m.receive()
	s.Cleanup(func() { m.socket.Close(); m.notices.Close() })
	return m
}

func (m *manager) receive() {
	defer close(m.received)
	b := make([]byte, 1000)
	for {
		n, err := m.notices.Read(b)
		if err != nil {
			return
		}
		m.received <- string(b[:n])
	}
}

// start starts a linesplit as a service, and returns when it has notified that it is ready.
func (m *manager) start(args ...string) *exec.Cmd {
	m.Helper()
	const script = socketScript + `WATCHDOG_PID=$$ WATCHDOG_USEC=200000; ` + watchdogScript + execScript
	cmd := exec.Command("sh", append([]string{"-c", script, testrig.Binary(m)}, args...)...)
	cmd.ExtraFiles = []*os.File{m.socket}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	m.await("READY=1")
	return cmd
}

// The parts of a shell script that starts a service. LISTEN_PID and WATCHDOG_PID must be the ID of
// the process that the script becomes.
const (
	socketScript   = `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=lines; export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; `
	watchdogScript = `export WATCHDOG_PID WATCHDOG_USEC; `
	execScript     = `exec "$0" "$@"`
)

// await waits for a notification.
func (m *manager) await(want string) {
	m.Helper()
	limit := time.After(testrig.Patience)
	for {
		select {
		case got := <-m.received:
			if got == want {
				return
			}
		case <-limit:
			m.Fatalf("linesplit did not notify %s within %v", want, testrig.Patience)
		}
	}
}

// stop ends a service.
func (m *manager) stop(cmd *exec.Cmd) {
	m.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	m.await("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		m.Errorf("linesplit ended with %v", err)
	}
}

// The service manager owns the socket, so clients that connect while linesplit is restarted wait,
// and are served.
func TestSocketActivationRefusesNoSender(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	m := newManager(s)
	args := []string{"-listen", "systemd:lines", "-target", a.Target() + "," + b.Target()}
	senders := startChurn(s, m.addr, 4, 50)
	for range 3 {
		cmd := m.start(args...)
		m.await("WATCHDOG=1")
		m.await("WATCHDOG=1")
		senders.waitForMore(100)
		m.stop(cmd)
	}
	cmd := m.start(args...)
	senders.waitForMore(100)
	senders.stop()
	testrig.WaitFor(t, "all lines arrive", func() bool { return s.Tally.HasAll(s.Sent) })
	m.stop(cmd)
	if r := s.Tally.Report(s.Sent); r.Lost+r.Duplicated+r.Corrupt+r.Torn+r.NeverSent > 0 {
		t.Errorf("%+v", r)
	}
}

// Linesplit must not notify that it is ready before all its listeners are open. Here the port of
// the admin listener is taken.
func TestNotReadyWithoutTheAdminListener(t *testing.T) {
	t.Parallel()
	m := newManager(testrig.NewStage(t))
	taken, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cmd := exec.Command(testrig.Binary(t), "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-admin",
		taken.Addr().String())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another program listens there") {
		t.Errorf("%v\n%s", err, out)
	}
	m.notices.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // all notifications have arrived
	for notice := range m.received {
		t.Errorf("linesplit notified %q", notice)
	}
}

func TestInheritedSocketsMustMatchTheListeners(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	m := newManager(s)
	for arg, want := range map[string]string{
		"systemd:other":          "no socket of that name: there is systemd:lines",
		"tcp://127.0.0.1:0":      "sockets that no -listen names: there is systemd:lines",
		"systemd:lines?tls=true": "-tls-cert",
	} {
		cmd := exec.Command("sh", "-c", socketScript+execScript, testrig.Binary(t), "-listen", arg, "-target",
			"127.0.0.1:1")
		cmd.ExtraFiles = []*os.File{m.socket}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q in\n%s", arg, err, want, out)
		}
	}
}

// Linesplit's end does not wait for a service manager that has stopped reading notifications.
func TestNotificationsWithoutAReader(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, _ := s.StartTwoSinks()
	path := filepath.Join(t.TempDir(), "notify")
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()
	filler, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil { // until the socket's buffer is full
		filler.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = filler.Write([]byte("full"))
	}
	addr := testrig.FreeHostPort(t)
	cmd := exec.Command("sh", "-c",
		`WATCHDOG_PID=$$ WATCHDOG_USEC=100000; `+watchdogScript+execScript,
		testrig.Binary(t), "-listen", addr.Target(), "-target", a.Target(), "-drain-timeout", "5s")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	testrig.WaitFor(t, "linesplit listens", addr.Listening)
	cmd.Process.Signal(syscall.SIGTERM)
	limit := time.AfterFunc(testrig.Patience, func() { cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("linesplit ended with %v", err)
	}
}
