//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// The contenders.
const (
	direct    = "direct"
	haproxy   = "HAProxy"
	linesplit = "linesplit" // in line mode
	relaying  = "linesplit -mode connection"
	nginx     = "nginx stream"
	copier    = "io.Copy"
)

const (
	startLimit = 10 * time.Second
	stopLimit  = 15 * time.Second
)

// contenders returns who takes part in line mode's sections: with first those that are no proxy, if wanted.
func (b *bench) contenders(withDirect bool) (names []string) {
	if withDirect {
		names = append(names, direct)
	}
	if b.haproxy != "" {
		names = append(names, haproxy)
	}
	return append(names, linesplit)
}

// forwarders returns who takes part in connection mode's sections: with first those that are no proxy, if wanted.
func (b *bench) forwarders(withDirect bool) (names []string) {
	all := b.contenders(withDirect)
	names = all[:len(all)-1] // all but line mode
	if b.nginx.path != "" {
		names = append(names, nginx)
	}
	return append(names, copier, relaying)
}

// addForwarderRatios adds a row for each that connection mode is held against.
func addForwarderRatios(t *table) {
	for _, other := range []string{haproxy, nginx, copier} {
		t.addRatio(relaying, other)
	}
}

// proxy is a running contender. The zero value stands for none.
type proxy struct {
	addr    string // where senders connect
	cmd     *exec.Cmd
	stderr  *bytes.Buffer
	mustEnd bool // its exit code says whether it has delivered everything
	ended   chan struct{}
}

// startProxy starts a contender before targets and waits until it accepts connections. With direct it starts nothing. The caller
// stops it.
func (b *bench) startProxy(ctx context.Context, name string, targets []string) (*proxy, error) {
	if name == direct {
		return &proxy{}, nil
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: addr, stderr: new(bytes.Buffer), ended: make(chan struct{}), mustEnd: name == linesplit || name == relaying}
	if p.cmd, err = b.command(ctx, name, addr, targets); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if name == nginx { // killed, it would leave its workers behind
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
		p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w\n%s", err, p.stderr)
	}
	return p, nil
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
func (b *bench) command(ctx context.Context, name, addr string, targets []string) (*exec.Cmd, error) {
	to := strings.Join(targets, ",")
	switch name {
	case haproxy:
		return b.haproxyCommand(ctx, addr, targets)
	case nginx:
		return b.nginxCommand(ctx, addr, targets)
	case copier:
		self, err := os.Executable()
		return b.goCommand(ctx, self, "copy", "-listen", addr, "-to", to), err
	}
	args := []string{"-listen", "tcp://" + addr, "-target", to}
	if name == relaying {
		args = append(args, "-mode", "connection")
	} else {
		args = append(args, "-connections", "4")
	}
	return b.goCommand(ctx, b.linesplit, append(args, strings.Fields(b.flags)...)...), nil
}

// goCommand gives a program in Go as many processors as the others.
func (b *bench) goCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() { // a user's own configuration has no place here
		if !strings.HasPrefix(v, "LINESPLIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(b.threads))
	return cmd
}

var haproxyConfig = template.Must(template.New("").Parse(`global
    nbthread {{.Threads}}
    maxconn 5000
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
listen bench
    bind {{.Addr}}
    balance roundrobin
{{- range $i, $t := .Targets}}
    server t{{$i}} {{$t}}
{{- end}}
`))

func (b *bench) haproxyCommand(ctx context.Context, addr string, targets []string) (*exec.Cmd, error) {
	path, err := b.configure(haproxyConfig, addr, targets)
	return exec.CommandContext(ctx, b.haproxy, "-db", "-f", path), err
}

// configure writes a configuration to a file of ours and returns its path.
func (b *bench) configure(config *template.Template, addr string, targets []string) (string, error) {
	var text bytes.Buffer
	err := config.Execute(&text, map[string]any{"Threads": b.threads, "Addr": addr, "Targets": targets, "Module": b.nginx.module})
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "proxy.conf")
	return path, os.WriteFile(path, text.Bytes(), 0o600)
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
		default:
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}

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

// peak returns its peak resident memory in bytes.
func (p *proxy) peak() (int64, error) {
	if p.cmd == nil {
		return 0, nil
	}
	return total(p.cmd.Process.Pid, peakRSS)
}

// stop ends the proxy in order and says whether that worked. More than one call is fine.
func (p *proxy) stop() error {
	if p.cmd == nil {
		return nil
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

// kill ends the proxy and its children.
func (p *proxy) kill() {
	all, _ := family(p.cmd.Process.Pid)
	p.cmd.Process.Kill()
	<-p.ended
	for _, child := range all[1:] {
		syscall.Kill(child, syscall.SIGKILL)
	}
}

// version returns how a proxy calls itself, in one line.
func version(ctx context.Context, path, flag string) string {
	out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
