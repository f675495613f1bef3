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
	"linesplit/internal/simulate/sink"
)

const (
	startTimeout = 10 * time.Second // until the proxy accepts connections
	stopTimeout  = 15 * time.Second // between SIGTERM and SIGKILL
)

// Proxy is a running contender. The zero value stands for Direct.
type Proxy struct {
	addr      string // where senders connect
	cmd       *exec.Cmd
	output    *bytes.Buffer // standard output and error; complete once ended is closed
	name      string
	checkExit bool          // an exit code other than 0 means that it has not delivered everything
	ended     chan struct{} // closed when the process and its children have ended
}

// Start starts a contender in front of targets and waits until it accepts connections. For Direct
// it starts nothing. The caller must call Stop.
func (l *Launcher) Start(ctx context.Context, s Setup, targets []string) (*Proxy, error) {
	if s.Name == Direct {
		return &Proxy{}, nil
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &Proxy{name: s.Name, addr: addr, output: new(bytes.Buffer), ended: make(chan struct{}),
		checkExit: Ours(s.Name) || isOld(s.Name)}
	if p.cmd, err = l.command(ctx, s, addr, targets); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = time.Second // for children that keep the output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if s.Name == Nginx { // after SIGKILL its workers would go on
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	if err := p.awaitReady(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w\n%s", err, p.output)
	}
	return p, nil
}

// wait waits until the proxy has ended, and kills children that are left.
func (p *Proxy) wait() {
	p.cmd.Wait()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the process group
	close(p.ended)
}

// freeAddress returns an address at which no other program listens until the proxy does.
func freeAddress() (string, error) {
	ln, err := load.Listen(net.JoinHostPort(sink.FreshHost(), "0"))
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// awaitReady waits until a connection succeeds. Most proxies pass this connection on to a target,
// which sees it end at once.
func (p *Proxy) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
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

// PID returns the process ID.
func (p *Proxy) PID() int { return p.cmd.Process.Pid }

// SenderAddresses returns the addresses for senders: the proxy's, or the targets' if there is no
// proxy.
func (p *Proxy) SenderAddresses(targets []string) []string {
	if p.cmd == nil {
		return targets
	}
	return []string{p.addr}
}

// CPU returns the processor time that the proxy and its children have used so far, in seconds.
func (p *Proxy) CPU() (float64, error) {
	if p.cmd == nil {
		return 0, nil
	}
	return procstat.TotalCPUSeconds(p.cmd.Process.Pid)
}

// SamplePeak samples the peak resident memory of the proxy and its children until stop is called.
// stop returns the highest value, in bytes.
func (p *Proxy) SamplePeak() (stop func() int64) {
	if p.cmd == nil {
		return func() int64 { return 0 }
	}
	return procstat.SamplePeak(p.cmd.Process.Pid)
}

// Stop ends the proxy with SIGTERM. It returns an error if the proxy does not end in time, or if
// its exit code means that it has lost something. It may be called more than once.
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
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("did not end within %v of SIGTERM\n%s", stopTimeout, p.output)
	}
	if code := p.cmd.ProcessState.ExitCode(); p.checkExit && code != 0 {
		return fmt.Errorf("exit code %d\n%s", code, p.output)
	}
	return nil
}

// endChildren ends the children of a socat while their parent still runs and can reap them.
func (p *Proxy) endChildren() {
	left := map[int]bool{} // remembered here: while some children end, the kernel's list may lack others
	for end := time.Now().Add(stopTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, _ := procstat.WithChildren(p.cmd.Process.Pid)
		for _, pid := range all {
			left[pid] = pid != p.cmd.Process.Pid
		}
		maps.DeleteFunc(left, func(pid int, child bool) bool {
			return !child || syscall.Kill(pid, syscall.SIGTERM) != nil
		})
		if len(left) == 0 {
			return
		}
	}
}

// Kill ends the proxy and its children with SIGKILL, as a crash would, and waits for that.
func (p *Proxy) Kill() {
	p.cmd.Process.Kill()
	<-p.ended
}
