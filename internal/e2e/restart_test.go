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

// churn is senders that connect, write some lines and go, for ever.
type churn struct {
	*testrig.Stage
	addr    string
	lines   int // of each
	done    chan struct{}
	senders sync.WaitGroup
	next    atomic.Int64 // sender id
	served  atomic.Int64
	mu      sync.Mutex // guards stage.sent
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
		id := uint32(c.next.Add(1))
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
	}
}

func (c *churn) more(n int64) {
	c.Helper()
	enough := c.served.Load() + n
	testrig.WaitFor(c.T, "senders come and go", func() bool { return c.served.Load() >= enough || c.Failed() })
}

func (c *churn) stop() {
	close(c.done)
	c.senders.Wait()
}

// A new process takes over the port from the old one while senders come and go: none is refused, and no line is lost. Nor is by one that
// cannot start, since the old one has its -admin.
func TestRestartWithReusePortRefusesNobody(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	old := s.StartLinesplit([]testrig.Target{a, b}, "-reuse-port")
	addr := old.Listeners[0]
	senders := startChurn(s, addr, 4, 50)
	for range 3 {
		for range 10 {
			senders.more(10)
			failing := exec.Command(testrig.Binary(t), "-reuse-port", "-listen", "tcp://"+addr, "-target", a.Target(), "-admin", old.Admin)
			if out, err := failing.CombinedOutput(); err == nil || !strings.Contains(string(out), "another program listens there") {
				t.Errorf("%v\n%s", err, out)
			}
		}
		young := s.StartLinesplit([]testrig.Target{a, b}, "-reuse-port", "-listen", "tcp://"+addr)
		senders.more(100)
		if code := old.Terminate(); code != 0 {
			t.Errorf("the old process ended with %d\n%s", code, old.LastLines(10))
		}
		old = young
	}
	senders.more(100)
	senders.stop()
	testrig.WaitFor(t, "all lines arrive", func() bool { return s.Tally.HasAll(s.Sent) })
	if code := old.Terminate(); code != 0 {
		t.Errorf("the last process ended with %d\n%s", code, old.LastLines(10))
	}
	if r := s.Tally.Report(s.Sent); r.Lost+r.Duplicated+r.Corrupt+r.Torn+r.NeverSent > 0 {
		t.Errorf("%+v", r)
	}
}

// manager stands in for systemd: it holds the socket, hands it down, and is told how the process fares.
type manager struct {
	*testrig.Stage
	socket  *os.File
	addr    string
	notices *net.UnixConn
	path    string
	heard   chan string
}

func newManager(s *testrig.Stage) *manager {
	ln, err := testrig.ListenAlone()
	if err != nil {
		s.Fatal(err)
	}
	m := &manager{Stage: s, addr: ln.Addr().String(), heard: make(chan string, 1000)}
	if m.socket, err = ln.(*net.TCPListener).File(); err != nil {
		s.Fatal(err)
	}
	ln.Close()
	m.path = filepath.Join(s.TempDir(), "notify")
	if m.notices, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		s.Fatal(err)
	}
	go m.listen()
	s.Cleanup(func() { m.socket.Close(); m.notices.Close() })
	return m
}

func (m *manager) listen() {
	defer close(m.heard)
	b := make([]byte, 1000)
	for {
		n, err := m.notices.Read(b)
		if err != nil {
			return
		}
		m.heard <- string(b[:n])
	}
}

// start starts a linesplit as a service is started, and returns once it says that it is ready.
func (m *manager) start(args ...string) *exec.Cmd {
	m.Helper()
	script := `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=lines WATCHDOG_PID=$$ WATCHDOG_USEC=200000; export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES WATCHDOG_PID WATCHDOG_USEC; exec "$0" "$@"`
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

func (m *manager) await(want string) {
	m.Helper()
	limit := time.After(testrig.Patience)
	for {
		select {
		case got := <-m.heard:
			if got == want {
				return
			}
		case <-limit:
			m.Fatalf("never heard %s", want)
		}
	}
}

func (m *manager) stop(cmd *exec.Cmd) {
	m.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	m.await("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		m.Errorf("linesplit ended with %v", err)
	}
}

// The service manager holds the socket, so that whoever connects while linesplit is restarted waits, and is served.
func TestSocketActivation(t *testing.T) {
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
		senders.more(100)
		m.stop(cmd)
	}
	cmd := m.start(args...)
	senders.more(100)
	senders.stop()
	testrig.WaitFor(t, "all lines arrive", func() bool { return s.Tally.HasAll(s.Sent) })
	m.stop(cmd)
	if r := s.Tally.Report(s.Sent); r.Lost+r.Duplicated+r.Corrupt+r.Torn+r.NeverSent > 0 {
		t.Errorf("%+v", r)
	}
}

// Nobody is told that linesplit is ready before all is open: not where the admin listener's port is taken.
func TestNotReadyWithoutTheAdminListener(t *testing.T) {
	t.Parallel()
	m := newManager(testrig.NewStage(t))
	taken, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cmd := exec.Command(testrig.Binary(t), "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-admin", taken.Addr().String())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another program listens there") {
		t.Errorf("%v\n%s", err, out)
	}
	m.notices.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // what has been said is there
	for notice := range m.heard {
		t.Errorf("was told %q", notice)
	}
}

func TestSocketThatNobodyNames(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	m := newManager(s)
	for arg, want := range map[string]string{
		"systemd:other":          "no socket of that name: there is systemd:lines",
		"tcp://127.0.0.1:0":      "sockets that no -listen names: there is systemd:lines",
		"systemd:lines?tls=true": "-tls-cert",
	} {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=lines; export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; exec "$0" "$@"`,
			testrig.Binary(t), "-listen", arg, "-target", "127.0.0.1:1")
		cmd.ExtraFiles = []*os.File{m.socket}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q in\n%s", arg, err, want, out)
		}
	}
}

// A service manager that has stopped reading does not hold up the end.
func TestNobodyReadsTheNotices(t *testing.T) {
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
	for err == nil { // until there is no room
		filler.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = filler.Write([]byte("full"))
	}
	free, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	cmd := exec.Command("sh", "-c", `WATCHDOG_PID=$$ WATCHDOG_USEC=100000; export WATCHDOG_PID WATCHDOG_USEC; exec "$0" "$@"`,
		testrig.Binary(t), "-listen", "tcp://"+addr, "-target", a.Target(), "-drain-timeout", "5s")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	testrig.WaitFor(t, "linesplit listens", func() bool { return answers(addr) })
	cmd.Process.Signal(syscall.SIGTERM)
	limit := time.AfterFunc(testrig.Patience, func() { cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("linesplit ended with %v", err)
	}
}
