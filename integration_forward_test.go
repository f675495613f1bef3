//go:build linux

package main_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// The claims of connection mode, one test each, with the built program between real sockets. Nearly all end with nothing carried, nothing
// left behind and exit code 0 (see stage.finishForward).

// What a forwarder is for: a client says all it has to say, ends its side, and gets the whole reply.
func TestRepliesComeWholeAfterHalfClose(t *testing.T) {
	t.Parallel()
	n, size := 1_000, ManySizes
	if testrig.Race {
		n = 100
	}
	unixIn := "unix://" + filepath.Join(t.TempDir(), "in.sock")
	abstractIn := fmt.Sprintf("unix://@linesplit-forward-%d", os.Getpid())
	plainOut, tlsOut := testrig.ServerOptions{}, testrig.ServerOptions{TLS: ServerTLS(tls.VersionTLS13)}
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client Client
		args   []string
	}{
		{"plain to plain", plainOut, Client{}, nil},
		{"TLS to plain", plainOut, Client{TLS: ClientTLS()}, InboundTLS()},
		{"plain to TLS", tlsOut, Client{}, OutboundTLS()},
		{"TLS to TLS", testrig.ServerOptions{TLS: ServerTLS(tls.VersionTLS12)}, Client{TLS: ClientTLS()}, append(InboundTLS(), OutboundTLS()...)},
		{"Unix to Unix", testrig.ServerOptions{Network: "unix"}, Client{Network: "unix"}, []string{"-listen", unixIn}},
		{"plain to Unix", testrig.ServerOptions{Network: "unix"}, Client{}, nil},
		{"abstract to abstract", testrig.ServerOptions{Network: "abstract"}, Client{Network: "unix"}, []string{"-listen", abstractIn}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			server := testrig.NewServer(t, test.server)
			s.Forward([]Target{server}, test.args...)
			s.Echoes(test.client, n, 32, size)
			s.FinishForward()
			if got := server.Accepted(); got != n {
				t.Errorf("%d connections to the target for %d clients", got, n)
			}
		})
	}
}

// The other half: the server has said everything and ends its side, and reads on.
func TestRequestsComeWholeAfterTheServerHasEnded(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	got := make(chan []byte, 1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("that is all"))
		testrig.CloseWrite(conn)
		all, _ := io.ReadAll(conn)
		got <- all
	}})
	s.Forward([]Target{server})
	conn := s.Plain()
	if reply, err := io.ReadAll(conn); string(reply) != "that is all" || err != nil {
		t.Errorf("got %q, %v", reply, err)
	}
	request := Payload(1 << 20)
	s.Write(conn, request)
	conn.CloseWrite()
	if !bytes.Equal(<-got, request) {
		t.Error("the request has not come whole")
	}
	s.FinishForward()
}

// Protocols in which the server speaks first, and those in which both take turns.
func TestBothSidesTakeTurns(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("hello\n"))
		testrig.Echo(conn)
	}})
	s.Forward([]Target{server})
	s.Each(20, 4, func(int) error {
		conn, err := Client{}.Dial(t, s.P.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := expect(conn, []byte("hello\n")); err != nil {
			return err
		}
		for size := 1; size < 1000; size += 99 {
			b := Payload(size)
			if _, err := conn.Write(b); err != nil {
				return err
			}
			if err := expect(conn, b); err != nil {
				return err
			}
		}
		return nil
	})
	s.FinishForward()
}

// expect reads exactly these bytes.
func expect(conn net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes that differ from what was sent", len(want))
	}
	return nil
}

// A rolling restart: a target stops accepting while clients keep coming. They go to the other one, and notice nothing.
func TestNoClientFailsWhileTargetsClose(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	servers := []*testrig.Server{testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})}
	s.Forward([]Target{servers[0], servers[1]})
	var failures ErrorList
	var clients sync.WaitGroup
	var served atomic.Int64
	// A listener that closes resets whom it has not accepted yet, which no proxy can hide: clients wait for that moment with connecting.
	var between sync.RWMutex
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for !closed(done) {
				between.RLock()
				failures.Add(Client{}.Echo(t, s.P.Listeners[0], Payload(20_000)))
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
	s.FinishForward()
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// A reply that breaks off must look broken: a clean end would be taken for the whole.
func TestTargetThatBreaksOffIsAResetForTheClient(t *testing.T) {
	t.Parallel()
	const part = 1 << 20
	breakOff := func(conn net.Conn) { // with some of the request unread, so that a Unix socket's peer sees it too
		io.ReadFull(conn, make([]byte, 1))
		conn.Write(Payload(part))
		testrig.Reset(conn)
	}
	withoutNotify := func(conn net.Conn) { // TLS without its end, which anybody on the way can fake
		io.ReadFull(conn, make([]byte, 3))
		conn.Write(Payload(part))
		conn.(*tls.Conn).NetConn().Close()
	}
	secure := ServerTLS(tls.VersionTLS13)
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client Client
		args   []string
	}{
		{"plain", testrig.ServerOptions{Handler: breakOff}, Client{}, nil},
		{"Unix", testrig.ServerOptions{Handler: breakOff, Network: "unix"}, Client{}, nil},
		{"TLS target", testrig.ServerOptions{Handler: breakOff, TLS: secure}, Client{}, OutboundTLS()},
		{"TLS client", testrig.ServerOptions{Handler: breakOff}, Client{TLS: ClientTLS()}, InboundTLS()},
		{"TLS target without close_notify", testrig.ServerOptions{Handler: withoutNotify, TLS: secure}, Client{}, OutboundTLS()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			s.Forward([]Target{testrig.NewServer(t, test.server)}, append(test.args, "-access-log", "text")...)
			conn := s.Client(test.client)
			s.Write(conn, []byte("get"))
			s.Reset(conn, "the target broke off")
			conn.Close()
			s.AccessLine("end=target-reset")
			s.FinishForward()
		})
	}
}

// The real thing: a process with SIGKILL, with data in its socket.
func TestTargetProcessKilledInMidTransferIsAReset(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	child := testrig.StartChild(t, s.Tally)
	s.Forward([]Target{child})
	conn := s.Plain()
	s.Write(conn, Payload(Most))
	child.Stop()
	conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := io.Copy(conn, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("writing to a target that hangs: %v, want to be held back", err)
	}
	child.Kill()
	s.Reset(conn, "the target's process was killed")
	conn.Close()
	s.FinishForward()
}

// endless is a reader without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, Payload(min(len(b), Most))), nil }

// A client that resets has not ended: the target must not take what it has for the whole request.
func TestClientThatResetsIsAResetForTheTarget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		client Client
		server testrig.ServerOptions
		args   []string
	}{
		{"plain", Client{}, testrig.ServerOptions{}, nil},
		{"TLS client", Client{TLS: ClientTLS()}, testrig.ServerOptions{}, InboundTLS()},
		{"TLS target", Client{}, testrig.ServerOptions{TLS: ServerTLS(tls.VersionTLS13)}, OutboundTLS()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			read, ended := make(chan struct{}), make(chan error, 1)
			test.server.Handler = func(conn net.Conn) {
				if _, err := io.ReadFull(conn, make([]byte, 10_000)); err != nil {
					ended <- err
					return
				}
				close(read)
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}
			s.Forward([]Target{testrig.NewServer(t, test.server)}, append(test.args, "-access-log", "text")...)
			conn := s.Client(test.client)
			s.Write(conn, Payload(10_000))
			<-read
			testrig.Reset(conn)
			if err := <-ended; !IsReset(err) {
				t.Errorf("the target reads %s, want a reset", EndName(err))
			}
			s.AccessLine("end=client-reset")
			s.FinishForward()
		})
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
			s := NewStage(t)
			var checks atomic.Int64
			next := func() int {
				i := min(int(checks.Add(1)), len(test.script)) - 1
				if test.script[i] == 'x' {
					return 503
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Checked(next, testrig.EchoAtEnd)})
			other := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Checked(func() int { return 204 }, testrig.EchoAtEnd)})
			s.Forward([]Target{server, other}, "-health", "http", "-health-interval", "100ms", "-health-timeout", "20s",
				"-health-rise", "2", "-health-fall", "3")
			enough := int64(len(test.script) + 3)
			testrig.WaitFor(t, "the checks are made", func() bool {
				s.Served(Client{})
				return checks.Load() >= enough
			})
			s.Up(server, true)
			s.Up(other, true)
			downs, ups := s.Logged("target down", server.Target()), s.Logged("target up again", server.Target())
			if downs != test.downs || ups != test.ups {
				t.Errorf("%d times down and %d times up again, want %d and %d", downs, ups, test.downs, test.ups)
			}
			s.Metric(1, "linesplit_target_checks_total", testrig.Label("target", other.Target()))
			s.Exactly(0, "linesplit_target_dial_errors_total")
			s.FinishForward()
		})
	}
}

// A target that is checked down gets nothing, though its port is open; send-expect finds out what a connect does not.
func TestTargetCheckedDownGetsNoClients(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
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
	s.Forward([]Target{a, With(b, "backup=true")}, "-health", "send-expect", "-health-send", `ping\n`, "-health-expect", "^ok, (ready|fine)",
		"-health-interval", "200ms", "-health-timeout", "1s")
	s.Up(b, false)
	before := b.Accepted()
	s.Echoes(Client{}, 20, 4, Always(100))
	ill.Store(true)
	s.Up(a, false)
	s.Refuses(Client{}, "no target is up")
	ill.Store(false)
	s.Up(a, true)
	s.Echoes(Client{}, 20, 4, Always(100))
	t.Logf("%d checks of the other target meanwhile", b.Accepted()-before)
	m := s.P.Metrics()
	if got := m.Sum("linesplit_target_connections_total", testrig.Label("target", b.Target())); got != 0 {
		t.Errorf("%.0f clients came to the target that never passed a check", got)
	}
	s.Connected(0)
	s.Terminate(0)
}

// A program judges.
func TestExecCheckDecides(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	dir := t.TempDir()
	ill, script := filepath.Join(dir, "ill"), filepath.Join(dir, "check")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = %s ] && [ ! -e %s ]\n", server.Addr(), ill)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Forward([]Target{server}, "-health", "exec", "-health-command", script, "-health-interval", "100ms")
	s.Metric(2, "linesplit_target_checks_total")
	s.Served(Client{})
	if err := os.WriteFile(ill, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Up(server, false)
	if err := os.Remove(ill); err != nil {
		t.Fatal(err)
	}
	s.Up(server, true)
	s.Served(Client{})
	s.Connected(0)
	s.Terminate(0)
}

// Without checks, failed dials are the evidence, and a trial connection finds out that a target is back.
func TestTargetThatCannotBeReachedIsDownUntilATrialSucceeds(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})
	a.StopListening()
	s.Forward([]Target{a, b}, "-health-fall", "3")
	s.Echoes(Client{}, 40, 1, Always(100))
	s.Up(a, false)
	s.Up(b, true)
	errs := s.P.Metrics().Sum("linesplit_target_dial_errors_total", testrig.Label("target", a.Target()))
	if errs < 3 || errs > 10 {
		t.Errorf("%.0f dials of a target that is down after 3, for 40 clients", errs)
	}
	a.Listen()
	s.Up(a, true)
	before := a.Accepted()
	s.Echoes(Client{}, 10, 1, Always(100))
	if got := a.Accepted() - before; got < 5 {
		t.Errorf("%d of 10 clients came to the target that is back, want 5", got)
	}
	if n := s.Logged("target down"); n != 1 {
		t.Errorf("the log says %d times that a target is down, want 1", n)
	}
	s.FinishForward()
}

// All targets are away for a moment: clients wait, unread, and are served when one is back.
func TestClientsWaitForATargetWithinTheDialBudget(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	server.StopListening()
	s.Forward([]Target{server}, "-dial-budget", "30s")
	var clients sync.WaitGroup
	clients.Go(func() { s.Echoes(Client{}, 20, 20, Always(10_000)) })
	s.Connected(20)
	s.Metric(20, "linesplit_target_dial_errors_total")
	server.Listen()
	clients.Wait()
	s.FinishForward()
}

// All targets are away for long: clients are reset when the budget is used up, and the log says it once.
func TestAllTargetsDownResetsClientsAndLogsOnce(t *testing.T) {
	t.Parallel()
	const budget = time.Second
	s := NewStage(t)
	a, b := NewPlace(t), NewPlace(t)
	s.Forward([]Target{a, b}, "-dial-budget", budget.String(), "-access-log", "json")
	began := time.Now()
	before := cpu(t, s.P.PID())
	s.Each(50, 50, func(int) error {
		conn, err := Client{}.Dial(t, s.P.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.ReadAll(conn); !IsReset(err) {
			return fmt.Errorf("read %s, want a reset", EndName(err))
		}
		if took := time.Since(began); took < budget/2 {
			return fmt.Errorf("given up after %v, with a budget of %v", took, budget)
		}
		return nil
	})
	if took := time.Since(began); took > budget+30*time.Second {
		t.Errorf("took %v, with a budget of %v", took, budget)
	}
	t.Logf("50 clients that waited %v took %v of processor time", budget, cpu(t, s.P.PID())-before)
	s.AccessLine(`"end":"dial-failed"`)
	testrig.WaitFor(t, "50 lines in the access log", func() bool { return s.Logged(`"end":"dial-failed"`) == 50 })
	if n := s.Logged("target down"); n != 2 {
		t.Errorf("the log says %d times that a target is down, want once for each of two", n)
	}
	if n := s.Logged("level="); n > 20 {
		t.Errorf("%d lines of log for 50 clients", n)
	}
	s.FinishForward()
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

// A machine with three times the weight gets three times the connections, with every rule that does not look at load, and with random
// where there is none.
func TestConnectionsFollowTheWeights(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testrig.Race {
		n = 2_000
	}
	weights := []int{1, 2, 3}
	tests := []struct {
		rule   string
		atOnce int
		spread float64 // how far a share may be off, in shares of all connections: no better than chance where it is drawn
	}{
		{"round-robin", 16, 0.001},
		{"random", 1, 0.02},
		{"source-hash", 16, 0.02},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			if testrig.Race && test.rule != "round-robin" {
				t.Skip("too few connections for chance")
			}
			s := NewStage(t)
			var servers []*testrig.Server
			var targets []Target
			for _, weight := range weights {
				servers = append(servers, testrig.NewServer(t, testrig.ServerOptions{}))
				targets = append(targets, With(servers[len(servers)-1], fmt.Sprint("weight=", weight)))
			}
			s.Forward(targets, "-balance", test.rule)
			s.Each(n, test.atOnce, func(i int) error {
				return Client{From: Address(i)}.Echo(t, s.P.Listeners[0], nil)
			})
			for i, weight := range weights {
				share, want := float64(servers[i].Accepted())/float64(n), float64(weight)/6
				t.Logf("weight %d: %.2f %% of %d connections, by weight %.2f %%", weight, 100*share, n, 100*want)
				if share < want-test.spread || share > want+test.spread {
					t.Errorf("weight %d got %.2f %% of the connections, want %.2f %%", weight, 100*share, 100*want)
				}
			}
			s.Metric(float64(n), "linesplit_target_connections_total")
			s.Metric(float64(n), "linesplit_connections_accepted_total")
			s.FinishForward()
		})
	}
}

// A target that hangs has connections open, and so gets no more of them than the others have.
func TestLeastConnectionsAvoidsASlowTarget(t *testing.T) {
	t.Parallel()
	const n, atOnce = 200, 8
	s := NewStage(t)
	over := make(chan struct{})
	slow := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		<-over
		testrig.EchoAtEnd(conn)
	}})
	fast := testrig.NewServer(t, testrig.ServerOptions{})
	s.Forward([]Target{slow, fast}, "-balance", "least-connections")
	var clients sync.WaitGroup
	clients.Go(func() { s.Echoes(Client{}, n, atOnce, Always(100)) })
	testrig.WaitFor(t, "all clients are at targets", func() bool { return slow.Accepted()+fast.Accepted() == n })
	close(over)
	clients.Wait()
	t.Logf("the slow target got %d of %d connections", slow.Accepted(), n)
	if slow.Accepted() > atOnce || slow.Accepted() == 0 {
		t.Errorf("the slow target got %d of %d connections, want a few", slow.Accepted(), n)
	}
	s.FinishForward()
}

// The same for those that carry much.
func TestLeastBandwidthAvoidsABusyTarget(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	var servers []Target
	var names []string
	for range 2 {
		server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
		servers, names = append(servers, server), append(names, server.Target())
	}
	s.Forward(servers, "-balance", "least-bandwidth")
	hog := s.Plain()
	var busy sync.WaitGroup
	busy.Go(func() { io.Copy(io.Discard, hog) })
	busy.Go(func() { io.Copy(hog, endless{}) })
	s.Metric(10<<20, "linesplit_target_sent_bytes_total")
	at := slices.IndexFunc(names, func(name string) bool {
		return s.P.Metrics().Sum("linesplit_target_sent_bytes_total", testrig.Label("target", name)) > 1<<20
	})
	const n = 40
	testrig.WaitFor(t, "the busy target is known for it", func() bool {
		before := s.P.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))
		s.Each(n, 1, func(int) error { return Client{}.Echo(t, s.P.Listeners[0], Payload(10)) })
		return s.P.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))-before < n/10
	})
	hog.Close()
	busy.Wait()
	s.FinishForward()
}

// Sessions live at targets: a target's going moves its own clients, and its coming back brings them home.
func TestSourceHashMovesOnlyTheLostTargetsClients(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	const clients = 300
	s := NewStage(t)
	servers := make([]*testrig.Server, 4)
	targets := make([]Target, len(servers))
	for i := range servers {
		servers[i] = testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say(fmt.Sprint(i))})
		targets[i] = servers[i]
	}
	s.Forward(targets, "-balance", "source-hash")
	whoServes := func() []string {
		names := make([]string, clients)
		s.Each(clients, 8, func(i int) error {
			name, err := Client{From: Address(i)}.Ask(t, s.P.Listeners[0], nil)
			names[i] = string(name)
			return err
		})
		return names
	}
	before := whoServes()
	if again := whoServes(); !slices.Equal(before, again) {
		t.Error("the same clients came to other targets, with nothing changed")
	}
	const lost = "2"
	servers[2].StopListening()
	moved, away := 0, whoServes()
	heirs := make(map[string]int)
	for i := range before {
		switch {
		case before[i] == lost:
			moved++
			heirs[away[i]]++
		case before[i] != away[i]:
			t.Errorf("client %d moved from %s to %s, which were both there", i, before[i], away[i])
		}
	}
	t.Logf("%d of %d clients moved: %v", moved, clients, heirs)
	if moved < clients/8 || len(heirs) != len(servers)-1 || heirs[lost] > 0 {
		t.Errorf("%d of %d clients moved, to %v: want about a quarter, to all the others", moved, clients, heirs)
	}
	servers[2].Listen()
	s.Up(servers[2], true)
	if home := whoServes(); !slices.Equal(before, home) {
		t.Error("not all clients are where they were, with the target back")
	}
	s.FinishForward()
}

// A standby takes over when nobody else is there, and gives back.
func TestBackupServesOnlyWhenNobodyElseDoes(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	a := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("a")})
	b := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("b")})
	spare := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("spare")})
	s.Forward([]Target{With(spare, "backup=true"), a, b})
	who := func() string {
		var seen []string
		for range 10 {
			name, err := Client{}.Ask(t, s.P.Listeners[0], nil)
			if err != nil {
				t.Errorf("a client is not served: %v", err)
			}
			seen = append(seen, string(name))
		}
		slices.Sort(seen)
		return strings.Join(slices.Compact(seen), " ")
	}
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, "a b"},
		{a.StopListening, "b"},
		{b.StopListening, "spare"},
		{func() { b.Listen(); s.Up(b, true) }, "b"},
		{func() { a.Listen(); s.Up(a, true) }, "a b"},
	}
	for i, step := range steps {
		step.do()
		if got := who(); got != step.want {
			t.Errorf("step %d: %q serve, want %q", i, got, step.want)
		}
	}
	s.FinishForward()
}

// A full target's clients stand in line, and are served in the order in which they came.
func TestClientsQueueInOrder(t *testing.T) {
	t.Parallel()
	const clients = 8
	s := NewStage(t)
	order := make(chan byte, clients+1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		name := make([]byte, 1)
		if _, err := io.ReadFull(conn, name); err == nil {
			order <- name[0]
			testrig.EchoAtEnd(conn)
		}
	}})
	s.Forward([]Target{With(server, "max-connections=1")}, "-queue-timeout", "30s")
	holder := s.Plain()
	s.Write(holder, []byte("-"))
	if <-order != '-' {
		t.Fatal("the first client is not the first")
	}
	var conns []*net.TCPConn
	for i := range clients {
		conn := s.Plain()
		s.Write(conn, []byte{byte('a' + i)})
		conns = append(conns, conn)
		s.Waiting(i + 1)
	}
	if got := server.Accepted(); got != 1 {
		t.Errorf("%d connections at a target that may have 1", got)
	}
	holder.Close()
	var got []byte
	for _, conn := range conns { // each is let go in its turn
		got = append(got, <-order)
		conn.Close()
	}
	if want := "abcdefgh"; string(got) != want {
		t.Errorf("served in the order %s, want %s", got, want)
	}
	s.Waiting(0)
	s.FinishForward()
}

// Nobody waits for ever, and who gives up leaves the line.
func TestQueueTimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.Forward([]Target{With(server, "max-connections=1")}, "-queue-timeout", timeout.String(), "-access-log", "text")
	holder := s.Plain()
	s.Write(holder, []byte("x"))
	if err := expect(holder, []byte("x")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Each(5, 5, func(int) error {
		conn, err := Client{}.Dial(t, s.P.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), EndName(err))
		}
		return nil
	})
	if took := time.Since(began); took < timeout {
		t.Errorf("all five had given up after %v, want at least %v", took, timeout)
	}
	s.Refused("queue-timeout", 5)
	s.AccessLine("end=queue-timeout")
	s.Waiting(0)
	holder.Close()
	s.Connected(0)
	s.Served(Client{})
	s.FinishForward()
}

// Limits of all clients together, of one, and of how fast one may come.
func TestClientsOverTheLimitAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	const limit = 5
	hold := func(s *Stage, c Client, n int) (conns []net.Conn) {
		for range n {
			conn := s.Client(c)
			s.Write(conn, []byte("x"))
			if err := expect(conn, []byte("x")); err != nil {
				s.Fatalf("a client within the limit is not served: %v", err)
			}
			conns = append(conns, conn)
		}
		return conns
	}
	start := func(t *testing.T, args ...string) *Stage {
		s := NewStage(t)
		s.Forward([]Target{testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})}, append(args, "-access-log", "text")...)
		return s
	}
	release := func(s *Stage, conns []net.Conn) {
		for _, conn := range conns {
			conn.Close()
		}
		s.Connected(0)
	}
	one, other := Client{From: Address(1)}, Client{From: Address(2)}
	t.Run("in all", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-max-connections", fmt.Sprint(limit))
		conns := append(hold(s, one, 3), hold(s, other, 2)...)
		for range 4 {
			s.Refuses(Client{From: Address(3)}, "the limit is reached")
		}
		s.Refused("limit", 4)
		s.AccessLine("end=limit", "client="+Address(3))
		release(s, conns)
		s.Served(one)
		s.FinishForward()
	})
	t.Run("of one client", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-max-connections-per-client", fmt.Sprint(limit))
		conns := hold(s, one, limit)
		for range 4 {
			s.Refuses(one, "the client's limit is reached")
		}
		conns = append(conns, hold(s, other, limit)...)
		s.Refused("client-limit", 4)
		s.AccessLine("end=client-limit", "client="+Address(1))
		release(s, conns)
		s.Served(one)
		s.FinishForward()
	})
	t.Run("of one client's rate", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-rate-per-client", "2/s")
		served := 0
		began := time.Now()
		for range 50 {
			if err := one.Echo(t, s.P.Listeners[0], []byte("hello")); err == nil {
				served++
			}
		}
		allowed := 2*time.Since(began).Seconds() + 10 // whatever the bucket holds at first
		if served == 0 || float64(served) > allowed {
			t.Errorf("%d of 50 connections were served, want some and at most %.0f", served, allowed)
		}
		s.Served(other) // who has a bucket of its own
		s.Refused("rate", 50-served)
		s.AccessLine("end=rate", "client="+Address(1))
		testrig.WaitFor(t, "the client is served again", func() bool {
			return one.Echo(t, s.P.Listeners[0], []byte("hello")) == nil
		})
		s.FinishForward()
	})
}

// Four thousand clients that say something once an hour.
func TestIdlePairsCostLittle(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	const pairs, bytesPerPair = 4_000, 12 << 10
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.Forward([]Target{server})
	before := s.P.Memory("VmRSS")
	conns := make([]*net.TCPConn, pairs)
	for i := range conns {
		conns[i] = s.Plain()
		s.Write(conns[i], []byte("hello"))
	}
	s.Connected(pairs)
	s.Metric(5*pairs, "linesplit_target_received_bytes_total")
	SettledAt(t, "memory", func() int { return int(s.P.Memory("VmRSS") >> 20) })
	open := Descriptors(s.P.PID())
	t.Logf("%d idle pairs: %d bytes and %.2f descriptors each", pairs, (s.P.Memory("VmRSS")-before)/pairs, float64(open)/pairs)
	s.Below(pairs*bytesPerPair, s.P.Memory("VmRSS")-before, "memory of 4,000 idle pairs")
	if open > 2*pairs+200 {
		t.Errorf("%d descriptors for %d idle pairs: want two each", open, pairs)
	}
	for _, i := range []int{0, pairs / 2, pairs - 1} { // they are as good as on the first day
		s.Write(conns[i], []byte("again"))
		if err := expect(conns[i], []byte("helloagain")); err != nil {
			t.Error(err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	s.FinishForward()
}

// Clients that connect and never come to the point keep nobody else out, and are put out themselves.
func TestSlowLorisesArePutOut(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	const lorises = 300
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	args := append(InboundTLS(), "-listen", "tcp://127.0.0.1:0", "-proxy-protocol-from", "127.0.1.0/24")
	s.Forward([]Target{server}, args...)
	before := s.P.Memory("VmRSS")
	var slow []net.Conn
	for range lorises {
		mute, err := Client{}.Dial(t, s.P.Listeners[0]) // never says a word of TLS
		if err != nil {
			t.Fatal(err)
		}
		half, err := Client{From: Address(1)}.Dial(t, s.P.Listeners[1]) // half a PROXY header
		if err != nil {
			t.Fatal(err)
		}
		s.Write(half, []byte("PROXY TCP4 192."))
		slow = append(slow, mute, half)
	}
	good := Client{TLS: ClientTLS()}
	for range 20 {
		s.Served(good)
	}
	s.Below(lorises*2*(32<<10), s.P.Memory("VmRSS")-before, "memory of slow clients")
	s.Each(len(slow), len(slow), func(i int) error {
		defer slow[i].Close()
		if b, err := io.ReadAll(slow[i]); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), EndName(err))
		}
		return nil
	})
	s.Refused("proxy-protocol", lorises)
	if got := server.Accepted(); got != 20 {
		t.Errorf("%d connections to the target, want those of 20 good clients", got)
	}
	s.FinishForward()
}

// Idle is what carries nothing either way: a stream in one direction is busy in both.
func TestIdleTimeoutCountsBothDirections(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // five times what the target sleeps: a starved machine sleeps longer
	for _, test := range []struct {
		name   string
		client Client
		args   []string
	}{
		{"plain", Client{}, nil},
		{"TLS", Client{TLS: ClientTLS()}, InboundTLS()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			const ticks = 8
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
				for range ticks {
					time.Sleep(timeout / 5)
					if _, err := conn.Write([]byte(".")); err != nil {
						return
					}
				}
				testrig.Discard(conn)
			}})
			s.Forward([]Target{server}, append(test.args, "-idle-timeout", timeout.String(), "-access-log", "text")...)
			conn := s.Client(test.client)
			began := time.Now()
			if got := s.Reset(conn, "nothing has been said for long"); len(got) != ticks {
				t.Errorf("read %d bytes of a slow stream, want %d", len(got), ticks)
			}
			if took := time.Since(began); took < ticks*timeout/5+timeout/2 {
				t.Errorf("ended after %v", took)
			}
			conn.Close()
			s.AccessLine("end=idle")
			s.FinishForward()
		})
	}
}

// One side has ended, and the other neither ends nor says anything.
func TestLingerTimeoutEndsHalfOpenConnections(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	over := make(chan struct{})
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		testrig.Discard(conn)
		<-over
	}})
	s.Forward([]Target{server}, "-linger-timeout", "500ms", "-access-log", "text")
	conn := s.Plain()
	s.Write(conn, []byte("hello"))
	conn.CloseWrite()
	s.Over(conn, "the linger timeout has passed")
	conn.Close()
	s.AccessLine("end=linger", "bytes_in=5")
	close(over)
	s.FinishForward()
}

// A target that is checked down keeps its connections, or loses them, as the operator likes.
func TestOnTargetDown(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"keep", "reset"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			var ill atomic.Bool
			next := func() int {
				if ill.Load() {
					return 500
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Checked(next, testrig.Echo)})
			s.Forward([]Target{server}, "-on-target-down", action, "-health", "http", "-health-interval", "100ms", "-access-log", "text")
			conn := s.Plain()
			s.Write(conn, []byte("hello"))
			if err := expect(conn, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			ill.Store(true)
			s.Up(server, false)
			if action == "reset" {
				s.Reset(conn, "the target is down")
				s.AccessLine("end=target-down")
			} else {
				s.Write(conn, []byte("still there?"))
				if err := expect(conn, []byte("still there?")); err != nil {
					t.Errorf("the connection has not been kept: %v", err)
				}
			}
			conn.Close()
			s.FinishForward()
		})
	}
}

// docker stop while clients are at work: nobody new, and who is there finishes.
func TestTerminationLetsConnectionsFinish(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.Forward([]Target{server}, "-drain-timeout", "2m")
	conns := make([]*net.TCPConn, 20)
	part := Payload(100_000)
	for i := range conns {
		conns[i] = s.Plain()
		s.Write(conns[i], part)
	}
	s.Connected(len(conns))
	began := time.Now()
	s.P.Signal(syscall.SIGTERM)
	testrig.WaitFor(t, "nobody listens any more", func() bool { return !Place(s.P.Listeners[0]).Taken() })
	s.Each(len(conns), len(conns), func(i int) error {
		if _, err := conns[i].Write(part); err != nil {
			return err
		}
		conns[i].CloseWrite()
		reply, err := io.ReadAll(conns[i])
		if err == nil && !bytes.Equal(reply, slices.Concat(part, part)) {
			err = fmt.Errorf("got %d bytes back of %d", len(reply), 2*len(part))
		}
		return err
	})
	if code := s.P.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(began); took > testrig.Patience {
		t.Errorf("took %v to end", took)
	}
	Contains(t, s.P.Stderr(), "drain began", "drain ended", "connections_cut_off=0")
}

// Who does not finish in time is reset, and counted.
func TestTerminationResetsWhoDoesNotFinish(t *testing.T) {
	t.Parallel()
	const holdouts, drain = 5, time.Second
	for name, end := range map[string]func(*Stage){
		"drain timeout": func(*Stage) {},
		"second signal": func(s *Stage) { s.P.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			args := []string{"-access-log", "text", "-drain-timeout", drain.String()}
			if name == "second signal" {
				args[3] = "1h"
			}
			s.Forward([]Target{testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})}, args...)
			conns := make([]*net.TCPConn, holdouts)
			for i := range conns {
				conns[i] = s.Plain()
				s.Write(conns[i], []byte("hello"))
				if err := expect(conns[i], []byte("hello")); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			s.P.Signal(syscall.SIGTERM)
			testrig.WaitFor(t, "the drain begins", func() bool { return strings.Contains(s.P.Stderr(), "drain began") })
			end(s)
			if code := s.P.Wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if took := time.Since(began); took > drain+30*time.Second {
				t.Errorf("took %v to end", took)
			}
			for _, conn := range conns {
				s.Reset(conn, "the drain has ended")
			}
			Contains(t, s.Report(), fmt.Sprint("connections_cut_off=", holdouts))
			Contains(t, s.P.Stderr(), fmt.Sprint(holdouts, " connections"))
			if n := s.Logged("end=shutdown", "dials"); n != holdouts {
				t.Errorf("%d lines of the access log say shutdown, want %d", n, holdouts)
			}
		})
	}
}

// The access log tells an operator who ended what, and how much it was.
func TestAccessLogSaysWhyAConnectionEnded(t *testing.T) {
	t.Parallel()
	hangUp := func(conn net.Conn) { io.ReadFull(conn, make([]byte, 5)); conn.Write([]byte("bye")) }
	tests := []struct {
		name    string
		handler testrig.Handler
		do      func(s *Stage, conn *net.TCPConn)
		end     string
		in, out int
	}{
		{"client closes", testrig.Discard, func(_ *Stage, conn *net.TCPConn) { conn.Close() }, "client-closed", 5, 0},
		{"target closes", hangUp, func(s *Stage, conn *net.TCPConn) {
			if err := expect(conn, []byte("bye")); err != nil {
				s.Error(err)
			}
			io.ReadAll(conn)
			conn.Close()
		}, "target-closed", 5, 3},
		{"after half-close", testrig.EchoAtEnd, func(_ *Stage, conn *net.TCPConn) {
			conn.CloseWrite()
			io.ReadAll(conn)
		}, "client-closed", 5, 5},
	}
	for _, test := range tests {
		for _, format := range []string{"text", "json"} {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				t.Parallel()
				s := NewStage(t)
				server := testrig.NewServer(t, testrig.ServerOptions{Handler: test.handler})
				s.Forward([]Target{server}, "-access-log", format)
				conn := s.Plain()
				s.Write(conn, []byte("hello"))
				s.Metric(5, "linesplit_target_sent_bytes_total")
				test.do(s, conn)
				parts := []string{"client=" + conn.LocalAddr().String(), "listener=", s.P.Listeners[0], "target=" + server.Target(),
					fmt.Sprint("bytes_in=", test.in), fmt.Sprint("bytes_out=", test.out), "seconds=0.", "dials=1", "end=" + test.end}
				if format == "json" {
					parts = []string{`{"time":"2`, fmt.Sprintf(`"client":%q`, conn.LocalAddr()), `"listener":"`, s.P.Listeners[0],
						fmt.Sprintf(`"target":%q`, server.Target()), fmt.Sprintf(`"bytes_in":%d`, test.in),
						fmt.Sprintf(`"bytes_out":%d`, test.out), `"seconds":0.`, `"dials":1`, fmt.Sprintf(`"end":%q}`, test.end)}
				}
				s.AccessLine(parts...)
				if n := s.Logged("dials"); n != 1 {
					t.Errorf("%d lines for one connection", n)
				}
				s.FinishForward()
			})
		}
	}
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		s := NewStage(t)
		s.Forward([]Target{testrig.NewServer(t, testrig.ServerOptions{})})
		s.Served(Client{})
		s.FinishForward()
		if n := s.Logged("dials"); n != 0 {
			t.Errorf("%d lines of access log that nobody wanted", n)
		}
	})
}

// A target that is away costs a second dial, and the access log says so.
func TestAccessLogCountsDials(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.Forward([]Target{NewPlace(t), server}, "-access-log", "text")
	s.Served(Client{})
	s.Served(Client{})
	s.AccessLine("dials=2", "target="+server.Target(), "end=client-closed")
	s.FinishForward()
}

// The metrics agree with what went through.
func TestForwardMetricsBalance(t *testing.T) {
	t.Parallel()
	const n, size = 50, 12_345
	s := NewStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{Network: "unix"})
	s.Forward([]Target{a, b})
	s.Echoes(Client{}, n, 4, Always(size))
	s.Connected(0)
	for name, want := range map[string]float64{
		"linesplit_connections_accepted_total":   n,
		"linesplit_target_connections_total":     n,
		"linesplit_target_sent_bytes_total":      n * size,
		"linesplit_target_received_bytes_total":  n * size,
		"linesplit_connect_seconds_count":        n,
		"linesplit_target_up":                    2,
		"linesplit_target_connections":           0,
		"linesplit_connections_refused_total":    0,
		"linesplit_target_dial_errors_total":     0,
		"linesplit_connections_cut_off_total":    0,
		"linesplit_connections_waiting":          0,
		"linesplit_tls_handshake_errors_total":   0,
		"linesplit_target_checks_total":          0,
		"linesplit_received_lines_total":         0, // of the other mode
		"linesplit_target_confirmed_lines_total": 0,
	} {
		s.Exactly(want, name)
	}
	s.FinishForward()
}

// As in line mode: what is wrong is found before anything listens, and named.
func TestBadInputOfConnectionModeIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	forward := func(args ...string) []string { return append(args, "-mode", "connection") }
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"unknown mode", []string{"-mode", "tcp"}, []string{"-mode", "tcp", "line", "connection"}},
		{"line-only flag", forward("-connections", "2"), []string{"-connections", "-mode line", "connection"}},
		{"line-only size", forward("-max-line", "2MiB"), []string{"-max-line", "-mode line"}},
		{"line-only policy", forward("-oversize", "drop"), []string{"-oversize", "-mode line"}},
		{"line-only timeout", forward("-write-timeout", "3s"), []string{"-write-timeout", "-mode line"}},
		{"connection-only flag", []string{"-balance", "random"}, []string{"-balance", "-mode connection"}},
		{"connection-only timeout", []string{"-idle-timeout", "3s"}, []string{"-idle-timeout", "-mode connection"}},
		{"connection-only limit", []string{"-rate-per-client", "5/s"}, []string{"-rate-per-client", "-mode connection"}},
		{"connection-only log", []string{"-access-log", "text"}, []string{"-access-log", "-mode connection"}},
		{"standard input", forward("-listen", "stdin:"), []string{"-listen", "stdin:", "-mode line"}},
		{"weight in line mode", []string{"-target", "10.0.0.1:9?weight=3"}, []string{"-target", "10.0.0.1:9", "?weight", "-mode connection"}},
		{"backup in line mode", []string{"-target", "10.0.0.1:9?backup=true"}, []string{"-target", "?backup", "-mode connection"}},
		{"places in line mode", []string{"-target", "10.0.0.1:9?max-connections=3"}, []string{"-target", "?max-connections", "-mode connection"}},
		{"header in line mode", []string{"-target", "10.0.0.1:9?proxy-protocol=v2"}, []string{"-target", "?proxy-protocol", "-mode connection"}},
		{"UDP target in line mode", []string{"-target", "udp://10.0.0.1:9"}, []string{"-target", "udp://10.0.0.1:9", "-mode connection"}},
		{"via-proxy in connection mode", forward("-target", "10.0.0.1:9?via-proxy=true"), []string{"-target", "10.0.0.1:9", "?via-proxy", "-mode line"}},
		{"weight of nothing", forward("-target", "10.0.0.1:9?weight=0"), []string{"-target", "weight", "1"}},
		{"weight that is no number", forward("-target", "10.0.0.1:9?weight=heavy"), []string{"-target", "weight", "heavy"}},
		{"negative places", forward("-target", "10.0.0.1:9?max-connections=-1"), []string{"-target", "max-connections", "-1"}},
		{"unknown header", forward("-target", "10.0.0.1:9?proxy-protocol=v3"), []string{"-target", "proxy-protocol", "v3", "v1", "v2"}},
		{"unknown option", forward("-target", "10.0.0.1:9?wait=3"), []string{"-target", "wait"}},
		{"header for datagrams", forward("-listen", "udp://127.0.0.1:0", "-target", "udp://10.0.0.1:9?proxy-protocol=v1"), []string{"-target", "proxy-protocol", "udp"}},
		{"the same twice", forward("-target", "10.0.0.1:9?weight=2,10.0.0.1:9?weight=3"), []string{"-target", "10.0.0.1:9", "twice"}},
		{"UDP listener without target", forward("-listen", "udp://127.0.0.1:0", "-target", "10.0.0.1:9"), []string{"udp://127.0.0.1:0", "udp:// target"}},
		{"UDP target without listener", forward("-target", "10.0.0.1:9,udp://10.0.0.1:8"), []string{"-target", "udp://10.0.0.1:8", "listener"}},
		{"unknown rule", forward("-balance", "fastest"), []string{"-balance", "fastest", "round-robin", "source-hash"}},
		{"bad network", forward("-allow", "10.0.0.0/33"), []string{"-allow", "10.0.0.0/33"}},
		{"host bits", forward("-deny", "10.0.0.1/8"), []string{"-deny", "10.0.0.1/8", "10.0.0.0/8"}},
		{"network that is a name", forward("-proxy-protocol-from", "lan"), []string{"-proxy-protocol-from", "lan"}},
		{"bad network in line mode", []string{"-deny", "10.0.0.0/x"}, []string{"-deny", "10.0.0.0/x"}},
		{"bad rate", forward("-rate-per-client", "5/x"), []string{"-rate-per-client", "5/x", "5/s"}},
		{"rate of nothing", forward("-rate-per-client", "0"), []string{"-rate-per-client", "0", "5/s"}},
		{"bad action", forward("-on-target-down", "close"), []string{"-on-target-down", "close", "keep", "reset"}},
		{"bad log format", forward("-access-log", "xml"), []string{"-access-log", "xml", "text", "json"}},
		{"unknown check", forward("-health", "icmp"), []string{"-health", "icmp", "tcp", "redis"}},
		{"path of a TCP check", forward("-health", "tcp", "-health-path", "/"), []string{"-health-path", "http"}},
		{"path of no check", forward("-health-path", "/up"), []string{"-health-path", "http"}},
		{"path that is none", forward("-health", "http", "-health-path", "up"), []string{"-health-path", "up", "/"}},
		{"bad status", forward("-health", "http", "-health-status", "fine"), []string{"-health-status", "fine", "200"}},
		{"status upside down", forward("-health", "http", "-health-status", "399-200"), []string{"-health-status", "399-200"}},
		{"nothing to expect", forward("-health", "send-expect", "-health-send", "x"), []string{"-health-expect", "send-expect"}},
		{"bad pattern", forward("-health", "send-expect", "-health-send", "x", "-health-expect", "("), []string{"-health-expect", "("}},
		{"bad escape", forward("-health", "send-expect", "-health-send", `\q`, "-health-expect", "x"), []string{"-health-send", `\q`}},
		{"pattern of a preset", forward("-health", "redis", "-health-expect", "x"), []string{"-health-expect", "send-expect"}},
		{"no command", forward("-health", "exec"), []string{"-health-command", "exec"}},
		{"missing command", forward("-health", "exec", "-health-command", missing), []string{"-health-command", missing}},
		{"command of another check", forward("-health", "tcp", "-health-command", "/bin/true"), []string{"-health-command", "exec"}},
		{"rise of nothing", forward("-health-rise", "0"), []string{"-health-rise", "0", "1"}},
		{"bad interval", forward("-health", "tcp", "-health-interval", "5"), []string{"-health-interval", "5s"}},
		{"sessions of nothing", forward("-udp-sessions", "0"), []string{"-udp-sessions", "0"}},
		{"several at once", forward("-connections", "3", "-balance", "best", "-allow", "x", "-health", "ping", "-target", "a:1?weight=x"),
			[]string{"-connections", "-balance", "best", "-allow", "-health", "ping", "-target", "weight"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := test.args
			if !slices.Contains(args, "-listen") {
				args = append([]string{"-listen", "tcp://127.0.0.1:0"}, args...)
			}
			p := testrig.StartProcess(t, testrig.ProcessOptions{Binary: binary, Args: args})
			if code := p.Wait(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if strings.Contains(p.Stderr(), "listening") {
				t.Error("something listened")
			}
			Contains(t, p.Stderr(), test.want...)
		})
	}
}
