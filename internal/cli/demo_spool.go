package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"linesplit/admin"
	"linesplit/internal/children"
	"linesplit/internal/config"
	"linesplit/internal/simulate"
	"linesplit/internal/simulate/sink"
)

// runCrashDemo runs the demo in which linesplit itself is killed. It returns the exit code.
func (in invocation) runCrashDemo(ctx context.Context) int {
	self, err := os.Executable()
	if err != nil {
		return in.fail(exitCannotRun, err)
	}
	dir, err := os.MkdirTemp("", "linesplit-demo-")
	if err != nil {
		return in.fail(exitCannotRun, err)
	}
	defer os.RemoveAll(dir)
	p := &demoProgram{self: self, dir: dir}
	if err := simulate.CrashDemo(ctx, in.stdout, p, simulate.DemoOptions{}); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// demoProgram is linesplit as a process with ordinary flags. It ignores LINESPLIT_… variables of
// the environment.
type demoProgram struct {
	self string   // path of linesplit
	dir  string   // of the spool, and of the sockets of -admin
	env  []string // added to the environment, for tests

	addr   string // host:port for senders, from the first start on
	starts int
	admin  string // path of the socket of the present process
	cmd    *exec.Cmd
	output bytes.Buffer  // of the present process; valid once done is closed
	done   chan struct{} // closed when the present process has ended; nil before the first start
}

// Time limits of the process.
const (
	demoStartLimit = 20 * time.Second
	demoStopLimit  = 20 * time.Second
	demoAskLimit   = 10 * time.Second
)

// Start implements simulate.Program.
func (p *demoProgram) Start(ctx context.Context, targets []string) (addr string, err error) {
	listen := p.addr
	if listen == "" {
		listen = net.JoinHostPort(sink.FreshHost(), "0") // a host on which the port stays free between two processes
	}
	p.starts++
	p.admin = filepath.Join(p.dir, fmt.Sprintf("admin%d", p.starts))
	p.cmd = exec.CommandContext(context.Background(), p.self, // an interrupt must not end it: it has lines to deliver
		"-listen", "tcp://"+listen, "-target", strings.Join(targets, ","), "-failback-interval", "1s",
		"-spool", filepath.Join(p.dir, "spool"), "-spool-mode", "always", "-spool-size", "512MiB",
		"-admin", "unix://"+p.admin)
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, config.EnvPrefix+"_")
	}), p.env...)
	p.output.Reset()
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	children.Group(p.cmd)
	endWithUs(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return "", err
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan<- struct{}) {
		defer close(done)
		cmd.Wait()
	}(p.cmd, p.done)
	p.addr, err = p.awaitListener(ctx)
	return p.addr, err
}

// awaitListener returns the address for senders once linesplit listens there.
func (p *demoProgram) awaitListener(ctx context.Context) (addr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoStartLimit)
	defer cancel()
	for {
		s, err := p.status(ctx)
		if err == nil && len(s.Listeners) > 0 {
			return strings.TrimPrefix(s.Listeners[0], "tcp://"), nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.done:
			return "", p.ended("ended at once")
		case <-ctx.Done():
			p.Kill()
			if err == nil {
				err = errors.New("it does not listen")
			}
			return "", p.ended(fmt.Sprintf("was not ready: %v: %v", context.Cause(ctx), err))
		}
	}
}

// ended returns an error with the output of the process, which has ended.
func (p *demoProgram) ended(how string) error {
	return fmt.Errorf("the process %s: %s\n%s", how, p.cmd.ProcessState, bytes.TrimSpace(p.output.Bytes()))
}

// status asks the process for its status.
func (p *demoProgram) status(ctx context.Context) (s admin.Status, err error) {
	transport := &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.admin)
		}}
	ctx, cancel := context.WithTimeout(ctx, demoAskLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://linesplit/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("linesplit answers %s", answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("read linesplit's answer: %w", err)
	}
	return s, nil
}

// Ledger implements simulate.Program.
func (p *demoProgram) Ledger() (simulate.Ledger, error) {
	s, err := p.status(context.Background())
	if err != nil {
		return simulate.Ledger{}, fmt.Errorf("ask linesplit for its account: %w", err)
	}
	if s.Ledger == nil {
		return simulate.Ledger{}, errors.New("ask linesplit for its account: the answer has none")
	}
	return demoLedger(s), nil
}

// Kill implements simulate.Program.
func (p *demoProgram) Kill() {
	if p.done == nil {
		return
	}
	select {
	case <-p.done:
	default:
		children.KillGroup(p.cmd)
		<-p.done
	}
}

// Stop implements simulate.Program.
func (p *demoProgram) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(demoStopLimit):
		p.Kill()
		return p.ended(fmt.Sprintf("did not end within %v", demoStopLimit))
	}
	if !p.cmd.ProcessState.Success() {
		return p.ended("failed")
	}
	return nil
}
