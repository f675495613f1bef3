package pagetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	repository = "../.."
	token      = "a-token-for-this-test-only"
	maxWait    = time.Minute // for anything that a test waits for
)

// program returns the path of linesplit. It builds linesplit only once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pagetest")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "linesplit")
	out, err := exec.Command("go", "build", "-C", repository, "-buildvcs=false", "-o", file, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build linesplit: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// process is a running linesplit.
type process struct {
	input, admin string // addresses
	cmd          *exec.Cmd
	ended        chan struct{}
}

// start runs linesplit until stop is called or the test ends. It returns when linesplit listens.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(file, args...), ended: make(chan struct{})}
	log, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	addresses := make(chan string, 2) // of the admin listener, and of the inbound one
	go p.follow(t, log, addresses)
	p.admin, p.input = p.await(t, addresses), p.await(t, addresses)
	return p
}

// listening matches the log lines of the admin listener and of the inbound one, which linesplit
// opens in this order.
var listening = regexp.MustCompile(`msg="admin listening" address=tcp://(\S+)|msg=listening (?:service=\S+ )?listener=tcp://(\S+)`)

// follow copies linesplit's log to the test's log, and sends the first two addresses.
func (p *process) follow(t *testing.T, log io.Reader, addresses chan<- string) {
	defer close(p.ended)
	sent := 0
	for lines := bufio.NewScanner(log); lines.Scan(); {
		t.Log(lines.Text())
		if match := listening.FindStringSubmatch(lines.Text()); match != nil && sent < cap(addresses) {
			addresses <- match[1] + match[2]
			sent++
		}
	}
	_ = p.cmd.Wait()
}

func (p *process) await(t *testing.T, addresses <-chan string) string {
	t.Helper()
	select {
	case address := <-addresses:
		return address
	case <-p.ended:
		t.Fatal("linesplit ended before it listened")
	case <-time.After(maxWait):
		t.Fatalf("linesplit does not listen within %v", maxWait)
	}
	return ""
}

// stop kills linesplit. Other tests cover what it delivers when it stops.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) page() string { return "http://" + p.admin + "/" }

func tokenFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// receiver is a target that can die and come back at the same address. serve is called for each
// connection, in a goroutine of its own.
type receiver struct {
	addr  string
	serve func(net.Conn)

	mu      sync.Mutex // protects the fields below
	ln      net.Listener
	conns   map[net.Conn]struct{}
	serving sync.WaitGroup
}

func discard(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
func echo(c net.Conn)    { _, _ = io.Copy(c, c) }

func newReceiver(t *testing.T, addr string, serve func(net.Conn)) *receiver {
	t.Helper()
	r := &receiver{addr: addr, serve: serve, conns: map[net.Conn]struct{}{}}
	r.revive(t)
	t.Cleanup(r.die)
	return r
}

func (r *receiver) revive(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr, r.ln = ln.Addr().String(), ln
	r.serving.Go(func() { r.accept(ln) })
}

func (r *receiver) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if r.add(ln, c) {
			r.serving.Go(func() { r.serve(c); r.remove(c) })
		}
	}
}

// add adds a connection and reports whether the receiver is still alive. If not, it closes the
// connection.
func (r *receiver) add(ln net.Listener, c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != ln {
		c.Close()
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *receiver) remove(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// die closes the listener and all connections at once, as when a process is killed.
func (r *receiver) die() {
	r.mu.Lock()
	if r.ln != nil {
		r.ln.Close()
	}
	r.ln = nil
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.serving.Wait()
}

func (r *receiver) name() string { return "tcp://" + r.addr }

// load sends lines over one connection at a rate, and discards what comes back.
type load struct {
	conn      net.Conn
	perSecond atomic.Int64
}

func startLoad(t *testing.T, addr string, perSecond int64) *load {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{conn: conn}
	l.perSecond.Store(perSecond)
	ctx, stop := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { discard(conn) })
	both.Go(func() {
		if err := l.send(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("sender: %v", err) // such as when linesplit stops
		}
	})
	t.Cleanup(func() { stop(); conn.Close(); both.Wait() })
	return l
}

func (l *load) send(ctx context.Context) error {
	const perTick = 20
	line := strings.Repeat("a line of a log, as long as such lines are; ", 4) + "\n"
	ticks := time.NewTicker(time.Second / perTick)
	defer ticks.Stop()
	for {
		if _, err := io.WriteString(l.conn, strings.Repeat(line, int(l.perSecond.Load())/perTick)); err != nil {
			return err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}
