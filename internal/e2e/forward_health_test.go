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

// A rolling restart: a target stops accepting while clients keep coming. They go to the other one, and notice nothing.
func TestNoClientFailsWhileTargetsClose(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	servers := []*testrig.Server{testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})}
	s.StartConnectionMode([]testrig.Target{servers[0], servers[1]})
	var failures testrig.ErrorList
	var clients sync.WaitGroup
	var served atomic.Int64
	// A listener that closes resets whom it has not accepted yet, which no proxy can hide: clients wait for that moment with connecting.
	var between sync.RWMutex
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for !closed(done) {
				between.RLock()
				failures.Add(testrig.Client{}.Echo(t, s.Process.Listeners[0], testrig.Payload(20_000)))
				between.RUnlock()
				served.Add(1)
			}
		})
	}
	more := func(n int64) {
		enough := served.Load() + n
		testrig.WaitFor(t, "clients are served", func() bool { return served.Load() >= enough })
	}
	for i := range 6 {
		server := servers[i%2]
		more(50)
		between.Lock()
		server.StopListening()
		between.Unlock()
		more(50)
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

// Checks count in a row: a single failure is no outage, a single success no recovery, and each change is one line of the log.
func TestChecksCountInARow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script string // a check each: . succeeds, x fails; the last repeats
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
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.AnswerChecks(next, testrig.EchoAtEnd)})
			other := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.AnswerChecks(func() int { return 204 }, testrig.EchoAtEnd)})
			s.StartConnectionMode([]testrig.Target{server, other}, "-health", "http", "-health-interval", "100ms", "-health-timeout", "20s",
				"-health-rise", "2", "-health-fall", "3")
			enough := int64(len(test.script) + 3)
			testrig.WaitFor(t, "the checks are made", func() bool {
				s.ExpectServed(testrig.Client{})
				return checks.Load() >= enough
			})
			s.WaitForTargetUp(server, true)
			s.WaitForTargetUp(other, true)
			downs, ups := s.CountLogLines("target down", server.Target()), s.CountLogLines("target up again", server.Target())
			if downs != test.downs || ups != test.ups {
				t.Errorf("%d times down and %d times up again, want %d and %d", downs, ups, test.downs, test.ups)
			}
			s.WaitForMetric(1, "linesplit_target_checks_total", testrig.Label("target", other.Target()))
			s.WaitForExactMetric(0, "linesplit_target_dial_errors_total")
			s.FinishConnectionMode()
		})
	}
}

// A target that is checked down gets nothing, though its port is open; send-expect finds out what a connect does not.
func TestTargetCheckedDownGetsNoClients(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	var ill atomic.Bool
	answer := func(conn net.Conn) {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		reply := "ok, ready\n"
		if ill.Load() {
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
	// EchoAtEnd answers no check: b is down until nothing is asked that way.
	s.StartConnectionMode([]testrig.Target{a, testrig.WithOptions(b, "backup=true")}, "-health", "send-expect", "-health-send", `ping\n`, "-health-expect", "^ok, (ready|fine)",
		"-health-interval", "200ms", "-health-timeout", "1s")
	s.WaitForTargetUp(b, false)
	before := b.Accepted()
	s.EchoMany(testrig.Client{}, 20, 4, testrig.FixedSize(100))
	ill.Store(true)
	s.WaitForTargetUp(a, false)
	s.ExpectRefused(testrig.Client{}, "no target is up")
	ill.Store(false)
	s.WaitForTargetUp(a, true)
	s.EchoMany(testrig.Client{}, 20, 4, testrig.FixedSize(100))
	t.Logf("%d checks of the other target meanwhile", b.Accepted()-before)
	m := s.Process.Metrics()
	if got := m.Sum("linesplit_target_connections_total", testrig.Label("target", b.Target())); got != 0 {
		t.Errorf("%.0f clients came to the target that never passed a check", got)
	}
	s.WaitForConnections(0)
	s.Terminate(0)
}

// A program judges.
func TestExecCheckDecides(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	dir := t.TempDir()
	ill, script := filepath.Join(dir, "ill"), filepath.Join(dir, "check")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = %s ] && [ ! -e %s ]\n", server.Addr(), ill)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	s.StartConnectionMode([]testrig.Target{server}, "-health", "exec", "-health-command", script, "-health-interval", "100ms")
	s.WaitForMetric(2, "linesplit_target_checks_total")
	s.ExpectServed(testrig.Client{})
	if err := os.WriteFile(ill, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.WaitForTargetUp(server, false)
	if err := os.Remove(ill); err != nil {
		t.Fatal(err)
	}
	s.WaitForTargetUp(server, true)
	s.ExpectServed(testrig.Client{})
	s.WaitForConnections(0)
	s.Terminate(0)
}

// Without checks, failed dials are the evidence, and a trial connection finds out that a target is back.
func TestTargetThatCannotBeReachedIsDownUntilATrialSucceeds(t *testing.T) {
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
		t.Errorf("%.0f dials of a target that is down after 3, for 40 clients", errs)
	}
	a.Listen()
	s.WaitForTargetUp(a, true)
	before := a.Accepted()
	s.EchoMany(testrig.Client{}, 10, 1, testrig.FixedSize(100))
	if got := a.Accepted() - before; got < 5 {
		t.Errorf("%d of 10 clients came to the target that is back, want 5", got)
	}
	if n := s.CountLogLines("target down"); n != 1 {
		t.Errorf("the log says %d times that a target is down, want 1", n)
	}
	s.FinishConnectionMode()
}

// All targets are away for a moment: clients wait, unread, and are served when one is back.
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

// All targets are away for long: clients are reset when the budget is used up, and the log says it once.
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
		if took := time.Since(began); took < budget/2 {
			return fmt.Errorf("given up after %v, with a budget of %v", took, budget)
		}
		return nil
	})
	if took := time.Since(began); took > budget+30*time.Second {
		t.Errorf("took %v, with a budget of %v", took, budget)
	}
	t.Logf("50 clients that waited %v took %v of processor time", budget, cpu(t, s.Process.PID())-before)
	s.WaitForAccessLog(`"end":"dial-failed"`)
	testrig.WaitFor(t, "50 lines in the access log", func() bool { return s.CountLogLines(`"end":"dial-failed"`) == 50 })
	if n := s.CountLogLines("target down"); n != 2 {
		t.Errorf("the log says %d times that a target is down, want once for each of two", n)
	}
	if n := s.CountLogLines("level="); n > 20 {
		t.Errorf("%d lines of log for 50 clients", n)
	}
	s.FinishConnectionMode()
}

// cpu is the processor time that a process has used.
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

// A target that is checked down keeps its connections, or loses them, as the operator likes.
func TestOnTargetDown(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"keep", "reset"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			var ill atomic.Bool
			next := func() int {
				if ill.Load() {
					return 500
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.AnswerChecks(next, testrig.Echo)})
			s.StartConnectionMode([]testrig.Target{server}, "-on-target-down", action, "-health", "http", "-health-interval", "100ms", "-access-log", "text")
			conn := s.DialTCP()
			s.Write(conn, []byte("hello"))
			if err := expect(conn, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			ill.Store(true)
			s.WaitForTargetUp(server, false)
			if action == "reset" {
				s.ExpectReset(conn, "the target is down")
				s.WaitForAccessLog("end=target-down")
			} else {
				s.Write(conn, []byte("still there?"))
				if err := expect(conn, []byte("still there?")); err != nil {
					t.Errorf("the connection has not been kept: %v", err)
				}
			}
			conn.Close()
			s.FinishConnectionMode()
		})
	}
}
