//go:build linux

package testrig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running linesplit. Its methods belong to the test's goroutine.
type Process struct {
	Listeners []string // addresses of its listeners, host:port or path, in the order of the flags
	Admin     string   // host:port or path of the admin listener

	tb     testing.TB
	cmd    *exec.Cmd
	stderr *output
	client *http.Client
	done   chan struct{} // closed when the process has ended
	log    int           // bytes of stderr before a dump of goroutines; 0: no dump
}

// ProcessOptions say how to start a linesplit.
type ProcessOptions struct {
	Args      []string
	Listeners int       // how many "listening" lines of the log to wait for; 0: do not wait at all
	Stdin     io.Reader // nil: /dev/null
	Files     int       // limit of file descriptors; 0: that of this process
	Cgroup    Cgroup    // control group to run in; the zero value: that of this process
	Env       []string  // NAME=VALUE, beside the environment of this process
	Race      bool      // run the program with the race detector, also if this binary lacks it
}

// StartProcess starts a linesplit and returns when it listens. It is killed when the test ends.
func StartProcess(tb testing.TB, o ProcessOptions) *Process {
	tb.Helper()
	p := &Process{
		tb:     tb,
		cmd:    command(tb, o),
		stderr: &output{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		done:   make(chan struct{}),
	}
	p.cmd.Stdin = o.Stdin
	p.cmd.Stderr = p.stderr
	p.cmd.Stdout = p.stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start linesplit: %v", err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(p.kill)
	if o.Listeners > 0 {
		p.waitReady(o.Listeners)
	}
	return p
}

func command(tb testing.TB, o ProcessOptions) *exec.Cmd {
	tb.Helper()
	binary := Binary(tb)
	if o.Race {
		binary = RaceBinary(tb)
	}
	name, args := binary, o.Args
	if script := launcher(o); script != "" {
		name, args = "sh", append([]string{"-c", script + `exec "$0" "$@"`, binary}, o.Args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), forTests), o.Env...)
	return cmd
}

// forTests reports whether an environment variable is one of the tests, of which linesplit would
// warn that it sets nothing.
func forTests(variable string) bool { return strings.HasPrefix(variable, "LINESPLIT_TEST_") }

// launcher returns the commands of a shell that go before the program, or "" if none are needed.
func launcher(o ProcessOptions) (script string) {
	if o.Files > 0 {
		script += fmt.Sprintf("ulimit -n %d && ", o.Files)
	}
	if o.Cgroup.dir != "" {
		script += fmt.Sprintf("echo $$ >'%s/cgroup.procs' && ", o.Cgroup.dir)
	}
	return script
}

var (
	listening      = regexp.MustCompile(`(?m)msg=listening\b.*?listener="?([a-z]+:[^\s"]*)`)
	adminListening = regexp.MustCompile(`(?m)msg="admin listening".*?address="?(?:[a-z]+://)?([^\s"]+)`)
)

func (p *Process) waitReady(listeners int) {
	p.tb.Helper()
	ready := func() bool {
		log := p.Stderr()
		return p.Ended() ||
			len(listening.FindAllString(log, -1)) >= listeners && adminListening.MatchString(log)
	}
	if !Poll(Patience, ready) || p.Ended() {
		p.tb.Fatalf("linesplit did not start: %v\n%s", p.cmd.Args, p.LastLines(30))
	}
	for _, match := range listening.FindAllStringSubmatch(p.Stderr(), -1) {
		_, addr, _ := strings.Cut(match[1], ":")
		addr, _, _ = strings.Cut(strings.TrimPrefix(addr, "//"), "?")
		p.Listeners = append(p.Listeners, addr)
	}
	p.Admin = adminListening.FindStringSubmatch(p.Stderr())[1]
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// PID returns the process's ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(sig os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("signal %v: %v", sig, err)
	}
}

// Wait waits for the end of the process and returns its exit code. It ends the test if that takes
// longer than Patience.
func (p *Process) Wait() int {
	p.tb.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.tb.Fatalf("linesplit did not end within %v\n%s", Patience, p.DumpGoroutines())
		return -1
	}
}

// Terminate sends SIGTERM and returns the exit code.
func (p *Process) Terminate() int {
	p.tb.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// DumpGoroutines ends the process and returns a dump of its goroutines, for the report of a
// failure.
func (p *Process) DumpGoroutines() string {
	p.log = len(p.Stderr())
	p.cmd.Process.Signal(syscall.SIGQUIT)
	Poll(5*time.Second, p.Ended)
	const maxDump = 24 << 10
	dump := p.Stderr()[p.log:]
	return dump[:min(len(dump), maxDump)]
}

// Stderr returns everything that the process has written so far, to standard output too.
func (p *Process) Stderr() string { return p.stderr.String() }

// LastLines returns the last n lines of Stderr, without the dump of DumpGoroutines.
func (p *Process) LastLines(n int) string {
	text := p.Stderr()
	if p.log > 0 {
		text = text[:p.log]
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Scrape reads the metrics once. It fails while linesplit does not answer, for example because it
// has no descriptor left.
func (p *Process) Scrape() (Metrics, error) {
	resp, err := p.client.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	return parseMetrics(resp.Body)
}

// Metrics reads the metrics, and tries again while Scrape fails.
func (p *Process) Metrics() Metrics {
	p.tb.Helper()
	var m Metrics
	var err error
	if !Poll(Patience, func() bool { m, err = p.Scrape(); return err == nil || p.Ended() }) || err != nil {
		p.tb.Fatalf("no metrics: %v\n%s", err, p.LastLines(30))
	}
	return m
}

// Memory returns a field of /proc/PID/status in bytes, such as RssAnon, or VmHWM, the peak of the
// resident memory.
func (p *Process) Memory(field string) int64 {
	p.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.tb.Fatalf("memory of linesplit: %v\n%s", err, p.LastLines(30))
	}
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	p.tb.Fatalf("no %s in the status of linesplit", field)
	return 0
}

// output keeps what a process writes. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
