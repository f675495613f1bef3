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

// Time limits of a proxy. At its end it may first have to drain, which takes linesplit at most
// 8 s.
const (
	startLimit = 10 * time.Second
	stopLimit  = 15 * time.Second
)

// memoryPollEvery is the time between two measurements of a proxy's memory.
const memoryPollEvery = 100 * time.Millisecond

// ErrCannotStart is wrapped by errors of a proxy that cannot be started or does not accept
// connections.
var ErrCannotStart = errors.New("the proxy does not start")

// proxy is a running process. Its methods belong to one goroutine.
type proxy struct {
	addr   string // listening address, host:port
	cmd    *exec.Cmd
	output *tail
	done   chan struct{} // closed when the process has ended
	peak   *peak

	watching sync.WaitGroup
}

// startProxy starts a process and waits until it accepts connections. The caller ends it with
// kill.
func startProxy(ctx context.Context, args []string, addr string, peak *peak) (*proxy, error) {
	p := &proxy{addr: addr, output: &tail{}, done: make(chan struct{}), peak: peak}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = cleanEnvironment()
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = time.Second // a child that outlives it may keep its output open
	p.cmd.SysProcAttr = newProcessGroup()
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
		return nil, fmt.Errorf("%w: %s: %w\n%s", ErrCannotStart, strings.Join(args, " "), err, p.output)
	}
	return p, nil
}

// cleanEnvironment returns our environment without the variables that configure linesplit.
func cleanEnvironment() (all []string) {
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

// watchMemory measures the memory until the process ends, because it cannot be measured
// afterwards.
func (p *proxy) watchMemory() {
	tick := time.NewTicker(memoryPollEvery)
	defer tick.Stop()
	for {
		p.peak.update(p.cmd.Process.Pid)
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
	}
}

// ended reports whether the process has ended.
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

// end kills the process, if it has not ended, and the processes that it may have left behind. It
// returns the exit code, or -1 if the process was killed.
func (p *proxy) end() int {
	p.kill()
	return p.cmd.ProcessState.ExitCode()
}

// kill kills the process and those that it has started. It may be called repeatedly.
func (p *proxy) kill() {
	killGroup(p.cmd.Process)
	p.watching.Wait()
}

// maxTail is the limit of a process's output that is kept, in bytes.
const maxTail = 4 << 10

// tail keeps the end of a process's output. It is safe for concurrent use.
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

// String returns the last lines of the output.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// peak is the most memory that any of a scenario's proxies has used. It is safe for concurrent
// use.
type peak struct {
	mu    sync.Mutex
	bytes map[int]int64 // by started process; includes its children
}

func (p *peak) update(pid int) {
	n := peakTreeRSS(pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes == nil {
		p.bytes = make(map[int]int64)
	}
	p.bytes[pid] = max(p.bytes[pid], n)
}

// max returns the largest peak of one process with its children, or 0 where the system does not
// tell.
func (p *peak) max() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bytes := range p.bytes {
		n = max(n, bytes)
	}
	return n
}
