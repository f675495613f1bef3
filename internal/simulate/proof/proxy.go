package proof

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long proxies may take. A proxy that is told to end may first have to drain, which takes linesplit 8 s at most.
const (
	startLimit = 10 * time.Second
	stopLimit  = 15 * time.Second
)

// watchEvery is the time between two looks at a proxy's memory.
const watchEvery = 100 * time.Millisecond

// ErrCannotStart is wrapped where the proxy cannot be started, or does not accept connections.
var ErrCannotStart = errors.New("the proxy does not start")

// proxy is a running process. Its methods belong to one goroutine.
type proxy struct {
	addr string // where it listens, host:port
	cmd  *exec.Cmd
	said *tail
	done chan struct{} // closed when the process has ended
	peak *peak

	watching sync.WaitGroup
}

// startProxy starts a process and waits until it accepts connections. The caller ends it with kill.
func startProxy(ctx context.Context, args []string, addr string, peak *peak) (*proxy, error) {
	p := &proxy{addr: addr, said: &tail{}, done: make(chan struct{}), peak: peak}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = ownEnvironment()
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.WaitDelay = time.Second // a child that outlives it may hold on to its output
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotStart, err)
	}
	p.watching.Go(func() {
		p.cmd.Wait()
		close(p.done)
	})
	p.watching.Go(p.watchMemory)
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w: %s: %w\n%s", ErrCannotStart, strings.Join(args, " "), err, p.said)
	}
	return p, nil
}

// ownEnvironment is ours without the variables that would configure linesplit.
func ownEnvironment() (all []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LINESPLIT_") {
			all = append(all, v)
		}
	}
	return all
}

func (p *proxy) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", p.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", startLimit, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// watchMemory notes the peak until the process has ended: then nothing tells it any more.
func (p *proxy) watchMemory() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		p.peak.look(p.cmd.Process.Pid)
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
	}
}

// ended says whether the process is gone.
func (p *proxy) ended() bool { return isClosed(p.done) }

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// terminate sends SIGTERM.
func (p *proxy) terminate() { p.cmd.Process.Signal(syscall.SIGTERM) }

// end kills the process unless it has ended, and what it may have left behind. It returns the exit code, -1 if it had to be killed.
func (p *proxy) end() int {
	p.kill()
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process and what it has started, at once. It may be called again.
func (p *proxy) kill() {
	killGroup(p.cmd.Process)
	p.watching.Wait()
}

// maxTail is how much of a process's output is kept, in bytes.
const maxTail = 4 << 10

// tail keeps the end of what a process writes. Safe for concurrent use.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b); n > maxTail {
		t.b = append(t.b[:0], t.b[n-maxTail:]...)
	}
	return len(b), nil
}

// String is the last lines of it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// peak is the most memory that any of the proxies of a scenario has held. Safe for concurrent use.
type peak struct {
	mu    sync.Mutex
	bytes map[int]int64 // by process that was started: of it and its children
}

func (p *peak) look(pid int) {
	n := familyPeak(pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes == nil {
		p.bytes = make(map[int]int64)
	}
	p.bytes[pid] = max(p.bytes[pid], n)
}

// most is the largest peak of one process with its children, 0 where the system does not tell.
func (p *peak) most() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bytes := range p.bytes {
		n = max(n, bytes)
	}
	return n
}
