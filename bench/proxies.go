//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 10 * time.Second
	stopLimit  = 15 * time.Second
)

// proxy is a running contender. The zero value stands for none.
type proxy struct {
	addr    string // where senders connect
	cmd     *exec.Cmd
	stderr  *bytes.Buffer
	name    string
	mustEnd bool // its exit code says whether it has delivered everything
	ended   chan struct{}
}

// launcher starts contenders.
type launcher struct {
	linesplit string // path of the binary
	flags     string // more of linesplit's, separated by spaces
	threads   int    // of each proxy
	programs  programs
	certs     certificates
	dir       string // for files that go away at the end
}

// startProxy starts a contender before targets and waits until it accepts connections. With direct it starts nothing. The caller
// stops it.
func (l *launcher) startProxy(ctx context.Context, s setup, targets []string) (*proxy, error) {
	if s.name == direct {
		return &proxy{}, nil
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &proxy{name: s.name, addr: addr, stderr: new(bytes.Buffer), ended: make(chan struct{}), mustEnd: s.name == linesplit || s.name == relaying}
	if p.cmd, err = l.command(ctx, s, addr, targets); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.WaitDelay = time.Second // what a child of it may hold our end of its output open for
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if s.name == nginx { // killed, it would leave its workers behind
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
func (p *proxy) wait() {
	p.cmd.Wait()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its process group
	close(p.ended)
}

func freeAddress() (string, error) {
	ln, err := listen(anyPort)
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// command returns what starts a contender, which has not been started.
func (l *launcher) command(ctx context.Context, s setup, addr string, targets []string) (*exec.Cmd, error) {
	switch s.name {
	case copier:
		self, err := os.Executable()
		return l.goCommand(ctx, self, "copy", "-listen", addr, "-to", strings.Join(targets, ",")), err
	case linesplit, relaying:
		return l.goCommand(ctx, l.linesplit, append(l.linesplitArgs(s, addr, targets), strings.Fields(l.flags)...)...), nil
	}
	return l.otherCommand(ctx, s.name, l.configData(s, addr, targets))
}

// otherCommand is command for the proxies that are configured by a file of theirs.
func (l *launcher) otherCommand(ctx context.Context, name string, d configData) (*exec.Cmd, error) {
	switch name {
	case nginx:
		path, err := l.configure("nginx.conf", d)
		return exec.CommandContext(ctx, l.programs.nginx.path, "-p", l.dir, "-e", "stderr", "-c", path), err
	case socat:
		args, err := arguments("socat.args", d)
		return exec.CommandContext(ctx, l.programs.socat, args...), err
	case rsyslog:
		path, err := l.configure("rsyslog.conf", d)
		return exec.CommandContext(ctx, l.programs.rsyslog, "-n", "-f", path, "-i", filepath.Join(l.dir, "rsyslog.pid")), err
	}
	path, err := l.configure("haproxy.cfg", d)
	return exec.CommandContext(ctx, l.programs.haproxy, "-db", "-f", path), err
}

func (l *launcher) linesplitArgs(s setup, addr string, targets []string) []string {
	listen, scheme := "tcp://", "tcp://"
	var args []string
	if s.tls.in {
		listen = "tls://"
		args = append(args, "-tls-cert", l.certs.ServerCert, "-tls-key", l.certs.ServerKey)
	}
	if s.tls.out {
		scheme = "tls://"
		args = append(args, "-tls-target-ca", l.certs.CA, "-tls-target-server-name", "localhost")
	}
	args = append(args, "-listen", listen+addr, "-target", scheme+strings.Join(targets, ","+scheme))
	if s.name == relaying {
		return append(args, "-mode", "connection")
	}
	return append(args, "-connections", strconv.Itoa(s.workers()))
}

// goCommand gives a program in Go as many processors as the others.
func (l *launcher) goCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() { // a user's own configuration has no place here
		if !strings.HasPrefix(v, "LINESPLIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(l.threads))
	return cmd
}

// awaitReady connects until that works. Most pass this first connection on to a target, which sees it end at once.
func (p *proxy) awaitReady(ctx context.Context) error {
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

// pid returns its process ID.
func (p *proxy) pid() int { return p.cmd.Process.Pid }

// senderAddresses returns where senders connect: to the proxy, or to the targets if there is none.
func (p *proxy) senderAddresses(targets []string) []string {
	if p.cmd == nil {
		return targets
	}
	return []string{p.addr}
}

// cpu returns the processor time it has used so far, in seconds.
func (p *proxy) cpu() (float64, error) {
	if p.cmd == nil {
		return 0, nil
	}
	return total(p.cmd.Process.Pid, cpuSeconds)
}

// watchPeak notes its peak resident memory until it is stopped, which returns that, in bytes.
func (p *proxy) watchPeak() (stop func() int64) {
	if p.cmd == nil {
		return func() int64 { return 0 }
	}
	return watchPeak(p.cmd.Process.Pid)
}

// stop ends the proxy in order and says whether that worked. More than one call is fine.
func (p *proxy) stop() error {
	if p.cmd == nil {
		return nil
	}
	if p.name == socat {
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
func (p *proxy) endChildren() {
	left := map[int]bool{} // while some end, the kernel's list of them may lack others
	for end := time.Now().Add(stopLimit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, _ := family(p.cmd.Process.Pid)
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
func (p *proxy) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}
