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
	n, size := 1_000, manySizes
	if testrig.Race {
		n = 100
	}
	unixIn := "unix://" + filepath.Join(t.TempDir(), "in.sock")
	abstractIn := fmt.Sprintf("unix://@linesplit-forward-%d", os.Getpid())
	plainOut, tlsOut := testrig.ServerOptions{}, testrig.ServerOptions{TLS: serverTLS(tls.VersionTLS13)}
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client client
		args   []string
	}{
		{"plain to plain", plainOut, client{}, nil},
		{"TLS to plain", plainOut, client{tls: clientTLS()}, inboundTLS()},
		{"plain to TLS", tlsOut, client{}, outboundTLS()},
		{"TLS to TLS", testrig.ServerOptions{TLS: serverTLS(tls.VersionTLS12)}, client{tls: clientTLS()}, append(inboundTLS(), outboundTLS()...)},
		{"Unix to Unix", testrig.ServerOptions{Network: "unix"}, client{network: "unix"}, []string{"-listen", unixIn}},
		{"plain to Unix", testrig.ServerOptions{Network: "unix"}, client{}, nil},
		{"abstract to abstract", testrig.ServerOptions{Network: "abstract"}, client{network: "unix"}, []string{"-listen", abstractIn}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			server := testrig.NewServer(t, test.server)
			s.forward([]target{server}, test.args...)
			s.echoes(test.client, n, 32, size)
			s.finishForward()
			if got := server.Accepted(); got != n {
				t.Errorf("%d connections to the target for %d clients", got, n)
			}
		})
	}
}

// The other half: the server has said everything and ends its side, and reads on.
func TestRequestsComeWholeAfterTheServerHasEnded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	got := make(chan []byte, 1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("that is all"))
		testrig.CloseWrite(conn)
		all, _ := io.ReadAll(conn)
		got <- all
	}})
	s.forward([]target{server})
	conn := s.plain()
	if reply, err := io.ReadAll(conn); string(reply) != "that is all" || err != nil {
		t.Errorf("got %q, %v", reply, err)
	}
	request := payload(1 << 20)
	s.write(conn, request)
	conn.CloseWrite()
	if !bytes.Equal(<-got, request) {
		t.Error("the request has not come whole")
	}
	s.finishForward()
}

// Protocols in which the server speaks first, and those in which both take turns.
func TestBothSidesTakeTurns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("hello\n"))
		testrig.Echo(conn)
	}})
	s.forward([]target{server})
	s.each(20, 4, func(int) error {
		conn, err := client{}.dial(t, s.p.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := expect(conn, []byte("hello\n")); err != nil {
			return err
		}
		for size := 1; size < 1000; size += 99 {
			b := payload(size)
			if _, err := conn.Write(b); err != nil {
				return err
			}
			if err := expect(conn, b); err != nil {
				return err
			}
		}
		return nil
	})
	s.finishForward()
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
	s := newStage(t)
	servers := []*testrig.Server{testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})}
	s.forward([]target{servers[0], servers[1]})
	var failures errorList
	var clients sync.WaitGroup
	var served atomic.Int64
	// A listener that closes resets whom it has not accepted yet, which no proxy can hide: clients wait for that moment with connecting.
	var between sync.RWMutex
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for !closed(done) {
				between.RLock()
				failures.add(client{}.echo(t, s.p.Listeners[0], payload(20_000)))
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
	failures.report(t, int(served.Load()))
	s.finishForward()
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
		conn.Write(payload(part))
		testrig.Reset(conn)
	}
	withoutNotify := func(conn net.Conn) { // TLS without its end, which anybody on the way can fake
		io.ReadFull(conn, make([]byte, 3))
		conn.Write(payload(part))
		conn.(*tls.Conn).NetConn().Close()
	}
	secure := serverTLS(tls.VersionTLS13)
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client client
		args   []string
	}{
		{"plain", testrig.ServerOptions{Handler: breakOff}, client{}, nil},
		{"Unix", testrig.ServerOptions{Handler: breakOff, Network: "unix"}, client{}, nil},
		{"TLS target", testrig.ServerOptions{Handler: breakOff, TLS: secure}, client{}, outboundTLS()},
		{"TLS client", testrig.ServerOptions{Handler: breakOff}, client{tls: clientTLS()}, inboundTLS()},
		{"TLS target without close_notify", testrig.ServerOptions{Handler: withoutNotify, TLS: secure}, client{}, outboundTLS()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.forward([]target{testrig.NewServer(t, test.server)}, append(test.args, "-access-log", "text")...)
			conn := s.client(test.client)
			s.write(conn, []byte("get"))
			s.reset(conn, "the target broke off")
			conn.Close()
			s.accessLine("end=target-reset")
			s.finishForward()
		})
	}
}

// The real thing: a process with SIGKILL, with data in its socket.
func TestTargetProcessKilledInMidTransferIsAReset(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := testrig.StartChild(t, s.tally)
	s.forward([]target{child})
	conn := s.plain()
	s.write(conn, payload(most))
	child.Stop()
	conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := io.Copy(conn, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("writing to a target that hangs: %v, want to be held back", err)
	}
	child.Kill()
	s.reset(conn, "the target's process was killed")
	conn.Close()
	s.finishForward()
}

// endless is a reader without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, payload(min(len(b), most))), nil }

// A client that resets has not ended: the target must not take what it has for the whole request.
func TestClientThatResetsIsAResetForTheTarget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		client client
		server testrig.ServerOptions
		args   []string
	}{
		{"plain", client{}, testrig.ServerOptions{}, nil},
		{"TLS client", client{tls: clientTLS()}, testrig.ServerOptions{}, inboundTLS()},
		{"TLS target", client{}, testrig.ServerOptions{TLS: serverTLS(tls.VersionTLS13)}, outboundTLS()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
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
			s.forward([]target{testrig.NewServer(t, test.server)}, append(test.args, "-access-log", "text")...)
			conn := s.client(test.client)
			s.write(conn, payload(10_000))
			<-read
			testrig.Reset(conn)
			if err := <-ended; !isReset(err) {
				t.Errorf("the target reads %s, want a reset", endName(err))
			}
			s.accessLine("end=client-reset")
			s.finishForward()
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
			s := newStage(t)
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
			s.forward([]target{server, other}, "-health", "http", "-health-interval", "100ms", "-health-timeout", "20s",
				"-health-rise", "2", "-health-fall", "3")
			enough := int64(len(test.script) + 3)
			testrig.WaitFor(t, "the checks are made", func() bool {
				s.served(client{})
				return checks.Load() >= enough
			})
			s.up(server, true)
			s.up(other, true)
			downs, ups := s.logged("target down", server.Target()), s.logged("target up again", server.Target())
			if downs != test.downs || ups != test.ups {
				t.Errorf("%d times down and %d times up again, want %d and %d", downs, ups, test.downs, test.ups)
			}
			s.metric(1, "linesplit_target_checks_total", testrig.Label("target", other.Target()))
			s.exactly(0, "linesplit_target_dial_errors_total")
			s.finishForward()
		})
	}
}

// A target that is checked down gets nothing, though its port is open; send-expect finds out what a connect does not.
func TestTargetCheckedDownGetsNoClients(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s := newStage(t)
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
	s.forward([]target{a, with{b, "backup=true"}}, "-health", "send-expect", "-health-send", `ping\n`, "-health-expect", "^ok, (ready|fine)",
		"-health-interval", "200ms", "-health-timeout", "1s")
	s.up(b, false)
	before := b.Accepted()
	s.echoes(client{}, 20, 4, always(100))
	ill.Store(true)
	s.up(a, false)
	s.refuses(client{}, "no target is up")
	ill.Store(false)
	s.up(a, true)
	s.echoes(client{}, 20, 4, always(100))
	t.Logf("%d checks of the other target meanwhile", b.Accepted()-before)
	m := s.p.Metrics()
	if got := m.Sum("linesplit_target_connections_total", testrig.Label("target", b.Target())); got != 0 {
		t.Errorf("%.0f clients came to the target that never passed a check", got)
	}
	s.connected(0)
	s.terminate(0)
}

// A program judges.
func TestExecCheckDecides(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	dir := t.TempDir()
	ill, script := filepath.Join(dir, "ill"), filepath.Join(dir, "check")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = %s ] && [ ! -e %s ]\n", server.Addr(), ill)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	s.forward([]target{server}, "-health", "exec", "-health-command", script, "-health-interval", "100ms")
	s.metric(2, "linesplit_target_checks_total")
	s.served(client{})
	if err := os.WriteFile(ill, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.up(server, false)
	if err := os.Remove(ill); err != nil {
		t.Fatal(err)
	}
	s.up(server, true)
	s.served(client{})
	s.connected(0)
	s.terminate(0)
}

// Without checks, failed dials are the evidence, and a trial connection finds out that a target is back.
func TestTargetThatCannotBeReachedIsDownUntilATrialSucceeds(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s := newStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{})
	a.StopListening()
	s.forward([]target{a, b}, "-health-fall", "3")
	s.echoes(client{}, 40, 1, always(100))
	s.up(a, false)
	s.up(b, true)
	errs := s.p.Metrics().Sum("linesplit_target_dial_errors_total", testrig.Label("target", a.Target()))
	if errs < 3 || errs > 10 {
		t.Errorf("%.0f dials of a target that is down after 3, for 40 clients", errs)
	}
	a.Listen()
	s.up(a, true)
	before := a.Accepted()
	s.echoes(client{}, 10, 1, always(100))
	if got := a.Accepted() - before; got < 5 {
		t.Errorf("%d of 10 clients came to the target that is back, want 5", got)
	}
	if n := s.logged("target down"); n != 1 {
		t.Errorf("the log says %d times that a target is down, want 1", n)
	}
	s.finishForward()
}

// All targets are away for a moment: clients wait, unread, and are served when one is back.
func TestClientsWaitForATargetWithinTheDialBudget(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	server.StopListening()
	s.forward([]target{server}, "-dial-budget", "30s")
	var clients sync.WaitGroup
	clients.Go(func() { s.echoes(client{}, 20, 20, always(10_000)) })
	s.connected(20)
	s.metric(20, "linesplit_target_dial_errors_total")
	server.Listen()
	clients.Wait()
	s.finishForward()
}

// All targets are away for long: clients are reset when the budget is used up, and the log says it once.
func TestAllTargetsDownResetsClientsAndLogsOnce(t *testing.T) {
	t.Parallel()
	const budget = time.Second
	s := newStage(t)
	a, b := newPlace(t), newPlace(t)
	s.forward([]target{a, b}, "-dial-budget", budget.String(), "-access-log", "json")
	began := time.Now()
	before := cpu(t, s.p.PID())
	s.each(50, 50, func(int) error {
		conn, err := client{}.dial(t, s.p.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.ReadAll(conn); !isReset(err) {
			return fmt.Errorf("read %s, want a reset", endName(err))
		}
		if took := time.Since(began); took < budget/2 {
			return fmt.Errorf("given up after %v, with a budget of %v", took, budget)
		}
		return nil
	})
	if took := time.Since(began); took > budget+30*time.Second {
		t.Errorf("took %v, with a budget of %v", took, budget)
	}
	t.Logf("50 clients that waited %v took %v of processor time", budget, cpu(t, s.p.PID())-before)
	s.accessLine(`"end":"dial-failed"`)
	testrig.WaitFor(t, "50 lines in the access log", func() bool { return s.logged(`"end":"dial-failed"`) == 50 })
	if n := s.logged("target down"); n != 2 {
		t.Errorf("the log says %d times that a target is down, want once for each of two", n)
	}
	if n := s.logged("level="); n > 20 {
		t.Errorf("%d lines of log for 50 clients", n)
	}
	s.finishForward()
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
			s := newStage(t)
			var servers []*testrig.Server
			var targets []target
			for _, weight := range weights {
				servers = append(servers, testrig.NewServer(t, testrig.ServerOptions{}))
				targets = append(targets, with{servers[len(servers)-1], fmt.Sprint("weight=", weight)})
			}
			s.forward(targets, "-balance", test.rule)
			s.each(n, test.atOnce, func(i int) error {
				return client{from: address(i)}.echo(t, s.p.Listeners[0], nil)
			})
			for i, weight := range weights {
				share, want := float64(servers[i].Accepted())/float64(n), float64(weight)/6
				t.Logf("weight %d: %.2f %% of %d connections, by weight %.2f %%", weight, 100*share, n, 100*want)
				if share < want-test.spread || share > want+test.spread {
					t.Errorf("weight %d got %.2f %% of the connections, want %.2f %%", weight, 100*share, 100*want)
				}
			}
			s.metric(float64(n), "linesplit_target_connections_total")
			s.metric(float64(n), "linesplit_connections_accepted_total")
			s.finishForward()
		})
	}
}

// A target that hangs has connections open, and so gets no more of them than the others have.
func TestLeastConnectionsAvoidsASlowTarget(t *testing.T) {
	t.Parallel()
	const n, atOnce = 200, 8
	s := newStage(t)
	over := make(chan struct{})
	slow := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		<-over
		testrig.EchoAtEnd(conn)
	}})
	fast := testrig.NewServer(t, testrig.ServerOptions{})
	s.forward([]target{slow, fast}, "-balance", "least-connections")
	var clients sync.WaitGroup
	clients.Go(func() { s.echoes(client{}, n, atOnce, always(100)) })
	testrig.WaitFor(t, "all clients are at targets", func() bool { return slow.Accepted()+fast.Accepted() == n })
	close(over)
	clients.Wait()
	t.Logf("the slow target got %d of %d connections", slow.Accepted(), n)
	if slow.Accepted() > atOnce || slow.Accepted() == 0 {
		t.Errorf("the slow target got %d of %d connections, want a few", slow.Accepted(), n)
	}
	s.finishForward()
}

// The same for those that carry much.
func TestLeastBandwidthAvoidsABusyTarget(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s := newStage(t)
	var servers []target
	var names []string
	for range 2 {
		server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
		servers, names = append(servers, server), append(names, server.Target())
	}
	s.forward(servers, "-balance", "least-bandwidth")
	hog := s.plain()
	var busy sync.WaitGroup
	busy.Go(func() { io.Copy(io.Discard, hog) })
	busy.Go(func() { io.Copy(hog, endless{}) })
	s.metric(10<<20, "linesplit_target_sent_bytes_total")
	at := slices.IndexFunc(names, func(name string) bool {
		return s.p.Metrics().Sum("linesplit_target_sent_bytes_total", testrig.Label("target", name)) > 1<<20
	})
	const n = 40
	testrig.WaitFor(t, "the busy target is known for it", func() bool {
		before := s.p.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))
		s.each(n, 1, func(int) error { return client{}.echo(t, s.p.Listeners[0], payload(10)) })
		return s.p.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))-before < n/10
	})
	hog.Close()
	busy.Wait()
	s.finishForward()
}

// Sessions live at targets: a target's going moves its own clients, and its coming back brings them home.
func TestSourceHashMovesOnlyTheLostTargetsClients(t *testing.T) {
	takesLong(t)
	t.Parallel()
	const clients = 300
	s := newStage(t)
	servers := make([]*testrig.Server, 4)
	targets := make([]target, len(servers))
	for i := range servers {
		servers[i] = testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say(fmt.Sprint(i))})
		targets[i] = servers[i]
	}
	s.forward(targets, "-balance", "source-hash")
	whoServes := func() []string {
		names := make([]string, clients)
		s.each(clients, 8, func(i int) error {
			name, err := client{from: address(i)}.ask(t, s.p.Listeners[0], nil)
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
	s.up(servers[2], true)
	if home := whoServes(); !slices.Equal(before, home) {
		t.Error("not all clients are where they were, with the target back")
	}
	s.finishForward()
}

// A standby takes over when nobody else is there, and gives back.
func TestBackupServesOnlyWhenNobodyElseDoes(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s := newStage(t)
	a := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("a")})
	b := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("b")})
	spare := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Say("spare")})
	s.forward([]target{with{spare, "backup=true"}, a, b})
	who := func() string {
		var seen []string
		for range 10 {
			name, err := client{}.ask(t, s.p.Listeners[0], nil)
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
		{func() { b.Listen(); s.up(b, true) }, "b"},
		{func() { a.Listen(); s.up(a, true) }, "a b"},
	}
	for i, step := range steps {
		step.do()
		if got := who(); got != step.want {
			t.Errorf("step %d: %q serve, want %q", i, got, step.want)
		}
	}
	s.finishForward()
}

// A full target's clients stand in line, and are served in the order in which they came.
func TestClientsQueueInOrder(t *testing.T) {
	t.Parallel()
	const clients = 8
	s := newStage(t)
	order := make(chan byte, clients+1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		name := make([]byte, 1)
		if _, err := io.ReadFull(conn, name); err == nil {
			order <- name[0]
			testrig.EchoAtEnd(conn)
		}
	}})
	s.forward([]target{with{server, "max-connections=1"}}, "-queue-timeout", "30s")
	holder := s.plain()
	s.write(holder, []byte("-"))
	if <-order != '-' {
		t.Fatal("the first client is not the first")
	}
	var conns []*net.TCPConn
	for i := range clients {
		conn := s.plain()
		s.write(conn, []byte{byte('a' + i)})
		conns = append(conns, conn)
		s.waiting(i + 1)
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
	s.waiting(0)
	s.finishForward()
}

// Nobody waits for ever, and who gives up leaves the line.
func TestQueueTimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.forward([]target{with{server, "max-connections=1"}}, "-queue-timeout", timeout.String(), "-access-log", "text")
	holder := s.plain()
	s.write(holder, []byte("x"))
	if err := expect(holder, []byte("x")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.each(5, 5, func(int) error {
		conn, err := client{}.dial(t, s.p.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), endName(err))
		}
		return nil
	})
	if took := time.Since(began); took < timeout {
		t.Errorf("all five had given up after %v, want at least %v", took, timeout)
	}
	s.refused("queue-timeout", 5)
	s.accessLine("end=queue-timeout")
	s.waiting(0)
	holder.Close()
	s.connected(0)
	s.served(client{})
	s.finishForward()
}

// Limits of all clients together, of one, and of how fast one may come.
func TestClientsOverTheLimitAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	const limit = 5
	hold := func(s *stage, c client, n int) (conns []net.Conn) {
		for range n {
			conn := s.client(c)
			s.write(conn, []byte("x"))
			if err := expect(conn, []byte("x")); err != nil {
				s.Fatalf("a client within the limit is not served: %v", err)
			}
			conns = append(conns, conn)
		}
		return conns
	}
	start := func(t *testing.T, args ...string) *stage {
		s := newStage(t)
		s.forward([]target{testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})}, append(args, "-access-log", "text")...)
		return s
	}
	release := func(s *stage, conns []net.Conn) {
		for _, conn := range conns {
			conn.Close()
		}
		s.connected(0)
	}
	one, other := client{from: address(1)}, client{from: address(2)}
	t.Run("in all", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-max-connections", fmt.Sprint(limit))
		conns := append(hold(s, one, 3), hold(s, other, 2)...)
		for range 4 {
			s.refuses(client{from: address(3)}, "the limit is reached")
		}
		s.refused("limit", 4)
		s.accessLine("end=limit", "client="+address(3))
		release(s, conns)
		s.served(one)
		s.finishForward()
	})
	t.Run("of one client", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-max-connections-per-client", fmt.Sprint(limit))
		conns := hold(s, one, limit)
		for range 4 {
			s.refuses(one, "the client's limit is reached")
		}
		conns = append(conns, hold(s, other, limit)...)
		s.refused("client-limit", 4)
		s.accessLine("end=client-limit", "client="+address(1))
		release(s, conns)
		s.served(one)
		s.finishForward()
	})
	t.Run("of one client's rate", func(t *testing.T) {
		t.Parallel()
		s := start(t, "-rate-per-client", "2/s")
		served := 0
		began := time.Now()
		for range 50 {
			if err := one.echo(t, s.p.Listeners[0], []byte("hello")); err == nil {
				served++
			}
		}
		allowed := 2*time.Since(began).Seconds() + 10 // whatever the bucket holds at first
		if served == 0 || float64(served) > allowed {
			t.Errorf("%d of 50 connections were served, want some and at most %.0f", served, allowed)
		}
		s.served(other) // who has a bucket of its own
		s.refused("rate", 50-served)
		s.accessLine("end=rate", "client="+address(1))
		testrig.WaitFor(t, "the client is served again", func() bool {
			return one.echo(t, s.p.Listeners[0], []byte("hello")) == nil
		})
		s.finishForward()
	})
}

// Four thousand clients that say something once an hour.
func TestIdlePairsCostLittle(t *testing.T) {
	takesLong(t)
	t.Parallel()
	const pairs, bytesPerPair = 4_000, 12 << 10
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.forward([]target{server})
	before := s.p.Memory("VmRSS")
	conns := make([]*net.TCPConn, pairs)
	for i := range conns {
		conns[i] = s.plain()
		s.write(conns[i], []byte("hello"))
	}
	s.connected(pairs)
	s.metric(5*pairs, "linesplit_target_received_bytes_total")
	settledAt(t, "memory", func() int { return int(s.p.Memory("VmRSS") >> 20) })
	open := descriptors(s.p.PID())
	t.Logf("%d idle pairs: %d bytes and %.2f descriptors each", pairs, (s.p.Memory("VmRSS")-before)/pairs, float64(open)/pairs)
	s.below(pairs*bytesPerPair, s.p.Memory("VmRSS")-before, "memory of 4,000 idle pairs")
	if open > 2*pairs+200 {
		t.Errorf("%d descriptors for %d idle pairs: want two each", open, pairs)
	}
	for _, i := range []int{0, pairs / 2, pairs - 1} { // they are as good as on the first day
		s.write(conns[i], []byte("again"))
		if err := expect(conns[i], []byte("helloagain")); err != nil {
			t.Error(err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	s.finishForward()
}

// Clients that connect and never come to the point keep nobody else out, and are put out themselves.
func TestSlowLorisesArePutOut(t *testing.T) {
	takesLong(t)
	t.Parallel()
	const lorises = 300
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	args := append(inboundTLS(), "-listen", "tcp://127.0.0.1:0", "-proxy-protocol-from", "127.0.1.0/24")
	s.forward([]target{server}, args...)
	before := s.p.Memory("VmRSS")
	var slow []net.Conn
	for range lorises {
		mute, err := client{}.dial(t, s.p.Listeners[0]) // never says a word of TLS
		if err != nil {
			t.Fatal(err)
		}
		half, err := client{from: address(1)}.dial(t, s.p.Listeners[1]) // half a PROXY header
		if err != nil {
			t.Fatal(err)
		}
		s.write(half, []byte("PROXY TCP4 192."))
		slow = append(slow, mute, half)
	}
	good := client{tls: clientTLS()}
	for range 20 {
		s.served(good)
	}
	s.below(lorises*2*(32<<10), s.p.Memory("VmRSS")-before, "memory of slow clients")
	s.each(len(slow), len(slow), func(i int) error {
		defer slow[i].Close()
		if b, err := io.ReadAll(slow[i]); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), endName(err))
		}
		return nil
	})
	s.refused("proxy-protocol", lorises)
	if got := server.Accepted(); got != 20 {
		t.Errorf("%d connections to the target, want those of 20 good clients", got)
	}
	s.finishForward()
}

// Idle is what carries nothing either way: a stream in one direction is busy in both.
func TestIdleTimeoutCountsBothDirections(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // five times what the target sleeps: a starved machine sleeps longer
	for _, test := range []struct {
		name   string
		client client
		args   []string
	}{
		{"plain", client{}, nil},
		{"TLS", client{tls: clientTLS()}, inboundTLS()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
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
			s.forward([]target{server}, append(test.args, "-idle-timeout", timeout.String(), "-access-log", "text")...)
			conn := s.client(test.client)
			began := time.Now()
			if got := s.reset(conn, "nothing has been said for long"); len(got) != ticks {
				t.Errorf("read %d bytes of a slow stream, want %d", len(got), ticks)
			}
			if took := time.Since(began); took < ticks*timeout/5+timeout/2 {
				t.Errorf("ended after %v", took)
			}
			conn.Close()
			s.accessLine("end=idle")
			s.finishForward()
		})
	}
}

// One side has ended, and the other neither ends nor says anything.
func TestLingerTimeoutEndsHalfOpenConnections(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	over := make(chan struct{})
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		testrig.Discard(conn)
		<-over
	}})
	s.forward([]target{server}, "-linger-timeout", "500ms", "-access-log", "text")
	conn := s.plain()
	s.write(conn, []byte("hello"))
	conn.CloseWrite()
	s.over(conn, "the linger timeout has passed")
	conn.Close()
	s.accessLine("end=linger", "bytes_in=5")
	close(over)
	s.finishForward()
}

// A target that is checked down keeps its connections, or loses them, as the operator likes.
func TestOnTargetDown(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"keep", "reset"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var ill atomic.Bool
			next := func() int {
				if ill.Load() {
					return 500
				}
				return 200
			}
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Checked(next, testrig.Echo)})
			s.forward([]target{server}, "-on-target-down", action, "-health", "http", "-health-interval", "100ms", "-access-log", "text")
			conn := s.plain()
			s.write(conn, []byte("hello"))
			if err := expect(conn, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			ill.Store(true)
			s.up(server, false)
			if action == "reset" {
				s.reset(conn, "the target is down")
				s.accessLine("end=target-down")
			} else {
				s.write(conn, []byte("still there?"))
				if err := expect(conn, []byte("still there?")); err != nil {
					t.Errorf("the connection has not been kept: %v", err)
				}
			}
			conn.Close()
			s.finishForward()
		})
	}
}

// docker stop while clients are at work: nobody new, and who is there finishes.
func TestTerminationLetsConnectionsFinish(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.forward([]target{server}, "-drain-timeout", "2m")
	conns := make([]*net.TCPConn, 20)
	part := payload(100_000)
	for i := range conns {
		conns[i] = s.plain()
		s.write(conns[i], part)
	}
	s.connected(len(conns))
	began := time.Now()
	s.p.Signal(syscall.SIGTERM)
	testrig.WaitFor(t, "nobody listens any more", func() bool { return !place(s.p.Listeners[0]).taken() })
	s.each(len(conns), len(conns), func(i int) error {
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
	if code := s.p.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(began); took > testrig.Patience {
		t.Errorf("took %v to end", took)
	}
	contains(t, s.p.Stderr(), "drain began", "drain ended", "connections_cut_off=0")
}

// Who does not finish in time is reset, and counted.
func TestTerminationResetsWhoDoesNotFinish(t *testing.T) {
	t.Parallel()
	const holdouts, drain = 5, time.Second
	for name, end := range map[string]func(*stage){
		"drain timeout": func(*stage) {},
		"second signal": func(s *stage) { s.p.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			args := []string{"-access-log", "text", "-drain-timeout", drain.String()}
			if name == "second signal" {
				args[3] = "1h"
			}
			s.forward([]target{testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})}, args...)
			conns := make([]*net.TCPConn, holdouts)
			for i := range conns {
				conns[i] = s.plain()
				s.write(conns[i], []byte("hello"))
				if err := expect(conns[i], []byte("hello")); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			s.p.Signal(syscall.SIGTERM)
			testrig.WaitFor(t, "the drain begins", func() bool { return strings.Contains(s.p.Stderr(), "drain began") })
			end(s)
			if code := s.p.Wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if took := time.Since(began); took > drain+30*time.Second {
				t.Errorf("took %v to end", took)
			}
			for _, conn := range conns {
				s.reset(conn, "the drain has ended")
			}
			contains(t, s.report(), fmt.Sprint("connections_cut_off=", holdouts))
			contains(t, s.p.Stderr(), fmt.Sprint(holdouts, " connections"))
			if n := s.logged("end=shutdown", "dials"); n != holdouts {
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
		do      func(s *stage, conn *net.TCPConn)
		end     string
		in, out int
	}{
		{"client closes", testrig.Discard, func(_ *stage, conn *net.TCPConn) { conn.Close() }, "client-closed", 5, 0},
		{"target closes", hangUp, func(s *stage, conn *net.TCPConn) {
			if err := expect(conn, []byte("bye")); err != nil {
				s.Error(err)
			}
			io.ReadAll(conn)
			conn.Close()
		}, "target-closed", 5, 3},
		{"after half-close", testrig.EchoAtEnd, func(_ *stage, conn *net.TCPConn) {
			conn.CloseWrite()
			io.ReadAll(conn)
		}, "client-closed", 5, 5},
	}
	for _, test := range tests {
		for _, format := range []string{"text", "json"} {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				server := testrig.NewServer(t, testrig.ServerOptions{Handler: test.handler})
				s.forward([]target{server}, "-access-log", format)
				conn := s.plain()
				s.write(conn, []byte("hello"))
				s.metric(5, "linesplit_target_sent_bytes_total")
				test.do(s, conn)
				parts := []string{"client=" + conn.LocalAddr().String(), "listener=", s.p.Listeners[0], "target=" + server.Target(),
					fmt.Sprint("bytes_in=", test.in), fmt.Sprint("bytes_out=", test.out), "seconds=0.", "dials=1", "end=" + test.end}
				if format == "json" {
					parts = []string{`{"time":"2`, fmt.Sprintf(`"client":%q`, conn.LocalAddr()), `"listener":"`, s.p.Listeners[0],
						fmt.Sprintf(`"target":%q`, server.Target()), fmt.Sprintf(`"bytes_in":%d`, test.in),
						fmt.Sprintf(`"bytes_out":%d`, test.out), `"seconds":0.`, `"dials":1`, fmt.Sprintf(`"end":%q}`, test.end)}
				}
				s.accessLine(parts...)
				if n := s.logged("dials"); n != 1 {
					t.Errorf("%d lines for one connection", n)
				}
				s.finishForward()
			})
		}
	}
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.forward([]target{testrig.NewServer(t, testrig.ServerOptions{})})
		s.served(client{})
		s.finishForward()
		if n := s.logged("dials"); n != 0 {
			t.Errorf("%d lines of access log that nobody wanted", n)
		}
	})
}

// A target that is away costs a second dial, and the access log says so.
func TestAccessLogCountsDials(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.forward([]target{newPlace(t), server}, "-access-log", "text")
	s.served(client{})
	s.served(client{})
	s.accessLine("dials=2", "target="+server.Target(), "end=client-closed")
	s.finishForward()
}

// The metrics agree with what went through.
func TestForwardMetricsBalance(t *testing.T) {
	t.Parallel()
	const n, size = 50, 12_345
	s := newStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{Network: "unix"})
	s.forward([]target{a, b})
	s.echoes(client{}, n, 4, always(size))
	s.connected(0)
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
		s.exactly(want, name)
	}
	s.finishForward()
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
			contains(t, p.Stderr(), test.want...)
		})
	}
}
