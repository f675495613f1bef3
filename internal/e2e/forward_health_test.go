//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// Rolling restart: a target stops listening while clients keep connecting. They are served by the
// other one.
func TestNoClientFailsWhileTargetsStopListening(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	servers := []*testrig.Server{testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t,
		testrig.ServerOptions{})}
	s.StartConnectionMode([]testrig.Target{servers[0], servers[1]})
	var failures testrig.ErrorList
	var clients sync.WaitGroup
	var served atomic.Int64
	// A listener that closes resets connections that it has not accepted yet, which no proxy can
	// hide. So no client may connect at that moment.
	var closing sync.RWMutex // write-locked while a listener closes
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for !closed(done) {
				closing.RLock()
				failures.Add(testrig.Client{}.Echo(t, s.Process.Listeners[0], testrig.Payload(20_000)))
				closing.RUnlock()
				served.Add(1)
			}
		})
	}
	waitForMore := func(n int64) {
		enough := served.Load() + n
		testrig.WaitFor(t, "clients are served", func() bool { return served.Load() >= enough })
	}
	for i := range 6 {
		server := servers[i%2]
		waitForMore(50)
		closing.Lock()
		server.StopListening()
		closing.Unlock()
		waitForMore(50)
		server.Listen()
	}
	close(done)
	clients.Wait()
	failures.Report(t, int(served.Load()))
	s.FinishConnectionMode()
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Only consecutive checks count: one failure does not make a target down, one success does not make
// it up again, and each change is one line of the log.
func TestOnlyConsecutiveChecksCount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script string // results of checks: . passes, x fails; the last one repeats
		downs  int
		ups    int
	}{
		{"isolated failures", strings.Repeat(".x.xx..", 4) + ".", 0, 0},
		{"an outage", "..xxxx..", 1, 1},
		{"isolated successes", "xxx" + strings.Repeat(".x.xx", 4) + "..", 1, 1},
		{"flapping", strings.Repeat("xxx..", 4), 4, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			var checks atomic.Int64
			next := func() int {
				i := min(int(checks.Add(1)), len(test.script)) - 1
				if test.script[i] == 'x' {
					return 503
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.AnswerChecks(next,
				testrig.EchoAtEnd)})
			other := testrig.NewServer(t,
				testrig.ServerOptions{Handler: testrig.AnswerChecks(func() int { return 204 }, testrig.EchoAtEnd)})
			s.StartConnectionMode([]testrig.Target{server, other}, "-health", "http", "-health-interval", "100ms",
				"-health-timeout", "20s",
				"-health-rise", "2", "-health-fall", "3")
			enough := int64(len(test.script) + 3)
			testrig.WaitFor(t, "the checks are made", func() bool {
				s.ExpectServed(testrig.Client{})
				return checks.Load() >= enough
			})
			s.WaitForTargetUp(server, true)
			s.WaitForTargetUp(other, true)
			downs, ups := s.CountLogLines("target down", server.Target()), s.CountLogLines("target up again",
				server.Target())
			if downs != test.downs || ups != test.ups {
				t.Errorf("%d times down and %d times up again, want %d and %d", downs, ups, test.downs, test.ups)
			}
			s.WaitForMetric(1, "linesplit_target_checks_total", testrig.Label("target", other.Target()))
			s.WaitForExactMetric(0, "linesplit_target_dial_errors_total")
			s.FinishConnectionMode()
		})
	}
}

// A target that fails its checks gets no clients, even if its port is open. A send-expect check
// finds failures that a connection does not.
func TestTargetThatFailsItsChecksGetsNoClients(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	var failing atomic.Bool
	answer := func(conn net.Conn) {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		reply := "ok, ready\n"
		if failing.Load() {
			reply = "no, loading\n"
		}
		if string(head) == "ping\n" {
			conn.Write([]byte(reply))
			return
		}
		rest, _ := io.ReadAll(conn)
		conn.Write(append(head, rest...))
	}
	a, b := testrig.NewServer(t, testrig.ServerOptions{Handler: answer}), testrig.NewServer(t, testrig.ServerOptions{})
	// EchoAtEnd does not answer checks, so b is down.
	s.StartConnectionMode([]testrig.Target{a, testrig.WithOptions(b, "backup=true")}, "-health", "send-expect",
		"-health-send", `ping\n`, "-health-expect", "^ok, (ready|fine)",
		"-health-interval", "200ms", "-health-timeout", "1s")
	s.WaitForTargetUp(b, false)
	before := b.Accepted()
	s.EchoMany(testrig.Client{}, 20, 4, testrig.FixedSize(100))
	failing.Store(true)
	s.WaitForTargetUp(a, false)
	s.ExpectRefused(testrig.Client{}, "no target is up")
	failing.Store(false)
	s.WaitForTargetUp(a, true)
	s.EchoMany(testrig.Client{}, 20, 4, testrig.FixedSize(100))
	t.Logf("%d checks of the other target meanwhile", b.Accepted()-before)
	m := s.Process.Metrics()
	if got := m.Sum("linesplit_target_connections_total", testrig.Label("target", b.Target())); got != 0 {
		t.Errorf("%.0f clients reached the target that never passed a check", got)
	}
	s.WaitForConnections(0)
	s.Terminate(0)
}

// The exit code of a program decides.
func TestExecCheckDecides(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	dir := t.TempDir()
	failing, script := filepath.Join(dir, "failing"), filepath.Join(dir, "check")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = %s ] && [ ! -e %s ]\n", server.Addr(), failing)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	s.StartConnectionMode([]testrig.Target{server}, "-health", "exec", "-health-command", script, "-health-interval",
		"100ms")
	s.WaitForMetric(2, "linesplit_target_checks_total")
	s.ExpectServed(testrig.Client{})
	if err := os.WriteFile(failing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.WaitForTargetUp(server, false)
	if err := os.Remove(failing); err != nil {
		t.Fatal(err)
	}
	s.WaitForTargetUp(server, true)
	s.ExpectServed(testrig.Client{})
	s.WaitForConnections(0)
	s.Terminate(0)
}

// Without checks, failed dials make a target down, and a trial connection makes it up again.
func TestUnreachableTargetIsDownUntilATrialSucceeds(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})
	a.StopListening()
	s.StartConnectionMode([]testrig.Target{a, b}, "-health-fall", "3")
	s.EchoMany(testrig.Client{}, 40, 1, testrig.FixedSize(100))
	s.WaitForTargetUp(a, false)
	s.WaitForTargetUp(b, true)
	errs := s.Process.Metrics().Sum("linesplit_target_dial_errors_total", testrig.Label("target", a.Target()))
	if errs < 3 || errs > 10 {
		t.Errorf("40 clients made %.0f dials to a target that is down after 3", errs)
	}
	a.Listen()
	s.WaitForTargetUp(a, true)
	before := a.Accepted()
	s.EchoMany(testrig.Client{}, 10, 1, testrig.FixedSize(100))
	if got := a.Accepted() - before; got < 5 {
		t.Errorf("%d of 10 clients reached the target that is up again, want 5", got)
	}
	if n := s.CountLogLines("target down"); n != 1 {
		t.Errorf("%d lines of the log say that a target is down, want 1", n)
	}
	s.FinishConnectionMode()
}

// No target listens for a moment: clients wait, and linesplit reads nothing from them. They are
// served when a target listens again.
func TestClientsWaitForATargetWithinTheDialBudget(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	server.StopListening()
	s.StartConnectionMode([]testrig.Target{server}, "-dial-budget", "30s")
	var clients sync.WaitGroup
	clients.Go(func() { s.EchoMany(testrig.Client{}, 20, 20, testrig.FixedSize(10_000)) })
	s.WaitForConnections(20)
	s.WaitForMetric(20, "linesplit_target_dial_errors_total")
	server.Listen()
	clients.Wait()
	s.FinishConnectionMode()
}

// No target listens for long: clients are reset when the dial budget is used up, and the log has
// one line for each target.
func TestAllTargetsDownResetsClientsAndLogsOnce(t *testing.T) {
	t.Parallel()
	const budget = time.Second
	s := testrig.NewStage(t)
	a, b := testrig.FreeHostPort(t), testrig.FreeHostPort(t)
	s.StartConnectionMode([]testrig.Target{a, b}, "-dial-budget", budget.String(), "-access-log", "json")
	began := time.Now()
	before := cpu(t, s.Process.PID())
	s.ForEach(50, 50, func(int) error {
		conn, err := testrig.Client{}.Dial(t, s.Process.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.ReadAll(conn); !testrig.IsReset(err) {
			return fmt.Errorf("read %s, want a reset", testrig.DescribeEnd(err))
		}
		if took := time.Since(began); took < budget*9/10 {
			return fmt.Errorf("reset after %v, with a budget of %v", took, budget)
		}
		return nil
	})
	if took := time.Since(began); took > budget+30*time.Second {
		t.Errorf("took %v, with a budget of %v", took, budget)
	}
	t.Logf("50 clients that waited %v took %v of processor time", budget, cpu(t, s.Process.PID())-before)
	s.WaitForAccessLog(`"end":"dial-failed"`)
	testrig.WaitFor(t, "the access log has 50 lines", func() bool {
		return s.CountLogLines(`"end":"dial-failed"`) == 50
	})
	if n := s.CountLogLines("target down"); n != 2 {
		t.Errorf("%d lines of the log say that a target is down, want one for each of two", n)
	}
	if n := s.CountLogLines("level="); n > 20 {
		t.Errorf("%d lines of log for 50 clients", n)
	}
	s.FinishConnectionMode()
}

// cpu returns the processor time that a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	var user, system int64
	fmt.Sscan(fields[12], &user)
	fmt.Sscan(fields[13], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// The connections of a target that fails its checks are kept or reset, as -on-target-down says.
func TestOnTargetDown(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"keep", "reset"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			var failing atomic.Bool
			next := func() int {
				if failing.Load() {
					return 500
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.AnswerChecks(next, testrig.Echo)})
			s.StartConnectionMode([]testrig.Target{server}, "-on-target-down", action, "-health", "http",
				"-health-interval", "100ms", "-access-log", "text")
			conn := s.DialTCP()
			s.Write(conn, []byte("hello"))
			if err := expect(conn, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			s.WaitForTargetUp(server, false)
			if action == "reset" {
				s.ExpectReset(conn, "the target is down")
				s.WaitForAccessLog("end=target-down")
			} else {
				s.Write(conn, []byte("still there?"))
				if err := expect(conn, []byte("still there?")); err != nil {
					t.Errorf("the connection was not kept: %v", err)
				}
			}
			conn.Close()
			s.FinishConnectionMode()
		})
	}
}
