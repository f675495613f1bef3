//go:build linux

package contender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"syscall"
	"time"

	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
)

const (
	startLimit = 10 * time.Second
	stopLimit  = 15 * time.Second
)

// Proxy is a running contender. The zero value stands for none.
type Proxy struct {
	addr    string // where senders connect
	cmd     *exec.Cmd
	stderr  *bytes.Buffer
	name    string
	mustEnd bool // its exit code says whether it has delivered everything
	ended   chan struct{}
}

// Start starts a contender before targets and waits until it accepts connections. With direct it starts nothing. The caller
// stops it.
func (l *Launcher) Start(ctx context.Context, s Setup, targets []string) (*Proxy, error) {
	if s.Name == Direct {
		return &Proxy{}, nil
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &Proxy{name: s.Name, addr: addr, stderr: new(bytes.Buffer), ended: make(chan struct{}), mustEnd: s.Name == Linesplit || s.Name == Relaying}
	if p.cmd, err = l.command(ctx, s, addr, targets); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.WaitDelay = time.Second // what a child of it may hold our end of its output open for
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if s.Name == Nginx { // killed, it would leave its workers behind
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w\n%s", err, p.stderr)
	}
	return p, nil
}

// wait waits for the end, and ends the children that outlive it.
func (p *Proxy) wait() {
	p.cmd.Wait()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its process group
	close(p.ended)
}

func freeAddress() (string, error) {
	ln, err := load.Listen(load.AnyPort)
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// awaitReady connects until that works. Most pass this first connection on to a target, which sees it end at once.
func (p *Proxy) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			return c.Close()
		}
		select {
		case <-p.ended:
			return errors.New("ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Pid returns its process ID.
func (p *Proxy) Pid() int { return p.cmd.Process.Pid }

// SenderAddresses returns where senders connect: to the proxy, or to the targets if there is none.
func (p *Proxy) SenderAddresses(targets []string) []string {
	if p.cmd == nil {
		return targets
	}
	return []string{p.addr}
}

// CPU returns the processor time it has used so far, in seconds.
func (p *Proxy) CPU() (float64, error) {
	if p.cmd == nil {
		return 0, nil
	}
	return procstat.Total(p.cmd.Process.Pid, procstat.CPUSeconds)
}

// WatchPeak notes its peak resident memory until it is stopped, which returns that, in bytes.
func (p *Proxy) WatchPeak() (stop func() int64) {
	if p.cmd == nil {
		return func() int64 { return 0 }
	}
	return procstat.WatchPeak(p.cmd.Process.Pid)
}

// Stop ends the proxy in order and says whether that worked. More than one call is fine.
func (p *Proxy) Stop() error {
	if p.cmd == nil {
		return nil
	}
	if p.name == Socat {
		p.endChildren()
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		p.kill()
		return fmt.Errorf("did not end within %v of SIGTERM\n%s", stopLimit, p.stderr)
	}
	if code := p.cmd.ProcessState.ExitCode(); p.mustEnd && code != 0 {
		return fmt.Errorf("exit code %d\n%s", code, p.stderr)
	}
	return nil
}

// endChildren ends those of a socat while it still is there to wait for them.
func (p *Proxy) endChildren() {
	left := map[int]bool{} // while some end, the kernel's list of them may lack others
	for end := time.Now().Add(stopLimit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, _ := procstat.Family(p.cmd.Process.Pid)
		for _, pid := range all {
			left[pid] = pid != p.cmd.Process.Pid
		}
		maps.DeleteFunc(left, func(pid int, child bool) bool { return !child || syscall.Kill(pid, syscall.SIGTERM) != nil })
		if len(left) == 0 {
			return
		}
	}
}

// kill ends the proxy and its children.
func (p *Proxy) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}
