//go:build linux

package main_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// rate is how much the senders of a test write.
type rate struct {
	name      string
	perSender int // lines per second
}

// The two rates at which targets are killed: one where most of what was written has been read, and one where a
// receiver that stalls for 50 ms has megabytes unread.
var rates = []rate{{"2×2000", 2_000}, {"2×40000", 40_000}}

func TestMain(m *testing.M) { testrig.Main(m) }

// The claims, one test each. All run the built program between real sockets, with every line numbered and counted where
// the receiving application has read it. Each ends with the ledger balanced and nothing left behind (see stage.finish).

// What a splitter is for: nothing goes missing, comes twice or is cut, on any kind of connection.
func TestEveryLineArrivesOnceAndWhole(t *testing.T) {
	t.Parallel()
	unixIn := "unix://" + filepath.Join(t.TempDir(), "in.sock")
	tests := []struct {
		name   string
		sink   testrig.SinkOptions
		sender testrig.SenderOptions
		args   []string
	}{
		{name: "plain/plain"},
		{name: "tls/plain", sender: testrig.SenderOptions{TLS: testrig.ClientTLS()}, args: testrig.TLSListenerArgs()},
		{name: "plain/tls", sink: testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}, args: testrig.TLSTargetArgs()},
		{name: "tls/tls", sink: testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS12)}, sender: testrig.SenderOptions{TLS: testrig.ClientTLS()},
			args: append(testrig.TLSListenerArgs(), testrig.TLSTargetArgs()...)},
		{name: "unix/unix", sink: testrig.SinkOptions{Network: "unix"}, sender: testrig.SenderOptions{Network: "unix"},
			args: []string{"-listen", unixIn}},
		{name: "abstract unix/plain", sender: testrig.SenderOptions{Network: "unix"},
			args: []string{"-listen", fmt.Sprintf("unix://@linesplit-test-%d", os.Getpid())}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			s.StartLineMode([]testrig.Target{s.StartSink(test.sink), s.StartSink(test.sink)}, test.args...)
			test.sender.Lines = 10_000
			s.StartSenders(8, test.sender)
			s.WaitForSenders()
			s.FinishLineMode(testrig.NoDuplicates)
		})
	}
}

// A receiver is upgraded: it stops accepting, says FIN, reads to the end and goes. A proxy that takes a write for
// delivery loses what it writes between that FIN and its next look.
func TestTargetsRestartedInOrderLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	for _, r := range rates {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b})
			s.StartSenders(2, testrig.SenderOptions{Rate: r.perSender})
			var slowest time.Duration
			s.RestartInTurn(6, s.Sinks, func(sink *testrig.Sink) {
				time.Sleep(testrig.FINAge)
				slowest = max(slowest, shutdown(sink))
			})
			s.StopSenders()
			s.FinishLineMode(repeatedAfter(slowest))
		})
	}
}

// shutdown ends a target in order and says for how long it went on to read.
func shutdown(sink *testrig.Sink) (read time.Duration) {
	began, lines, ended := time.Now(), sink.Lines(), make(chan struct{})
	go func() { defer close(ended); sink.Shutdown() }()
	for {
		select {
		case <-ended:
			return read
		case <-time.After(10 * time.Millisecond):
		}
		if now := sink.Lines(); now > lines {
			lines, read = now, time.Since(began)
		}
	}
}

// repeatedAfter is what may be repeated when targets have ended in order: nothing, unless a machine is so busy that they have not read all in
// time. Linesplit waits 3.5 s, of which more than two go by until it knows.
func repeatedAfter(slowest time.Duration) testrig.DuplicateLimit {
	if slowest < time.Second {
		return testrig.NoDuplicates
	}
	return testrig.OnlyResent
}

// The same with TLS, whose end of stream proves nothing.
func TestTLSTargetsRestartedInOrderLoseNothing(t *testing.T) {
	t.Parallel()
	for name, version := range testrig.TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			o := testrig.SinkOptions{TLS: testrig.ServerTLS(version)}
			s.StartLineMode([]testrig.Target{s.StartSink(o), s.StartSink(o)}, testrig.TLSTargetArgs()...)
			s.StartSenders(2, testrig.SteadySender())
			s.RestartInTurn(6, s.Sinks, testrig.ShutdownInOrder)
			s.StopSenders()
			s.FinishLineMode(testrig.OnlyResent)
		})
	}
}

// A receiver's process is gone from one moment to the next: FIN or RST, as its sockets happen to be.
func TestTargetsThatExitAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	for _, r := range rates {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b}, testrig.FastFailbackArgs...)
			s.StartSenders(2, testrig.SenderOptions{Rate: r.perSender})
			s.RestartInTurn(6, s.Sinks, (*testrig.Sink).Exit)
			s.StopSenders()
			s.FinishLineMode(testrig.OnlyResent)
		})
	}
}

// A receiver hangs for a moment and is killed: what its kernel had acknowledged and it had not read is gone. The
// patterns are how it read before: the window, and so the estimate of what is unread, moves with it.
func TestTargetsKilledWithUnreadDataLoseNothing(t *testing.T) {
	t.Parallel()
	kill := func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) }
	closeUnread := func(sink *testrig.Sink) { sink.CloseUnread(50 * time.Millisecond) }
	tls12, tls13 := testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS12)}, testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}
	tests := []struct {
		name string
		sink testrig.SinkOptions
		end  func(*testrig.Sink)
	}{
		{"plain", testrig.SinkOptions{}, kill},
		{"small segments", testrig.SinkOptions{Segment: 1448}, kill},
		{"TLS 1.2 closes", tls12, closeUnread}, // close_notify, then RST
		{"TLS 1.3 closes", tls13, closeUnread},
		{"TLS 1.3 killed", tls13, kill},
		{"half closed", testrig.SinkOptions{Behaviour: testrig.HalfClosed}, kill},
		{"drip", testrig.SinkOptions{Behaviour: testrig.Drip}, kill},
		{"bursts", testrig.SinkOptions{Behaviour: testrig.Bursts}, kill},
		{"unix", testrig.SinkOptions{Network: "unix"}, kill},
	}
	for _, test := range tests {
		for _, r := range rates {
			t.Run(test.name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				s.StartLineMode([]testrig.Target{s.StartSink(test.sink), s.StartSink(test.sink)}, append(testrig.TargetArgs(test.sink), testrig.FastFailbackArgs...)...)
				s.StartSenders(2, testrig.SenderOptions{Rate: r.perSender})
				s.RestartInTurn(6, s.Sinks, test.end)
				for _, sink := range s.Sinks {
					sink.Behave(testrig.Steady) // or what they hold now takes minutes
				}
				s.StopSenders()
				s.FinishLineMode(testrig.OnlyResent)
			})
		}
	}
}

// The real thing: a process with SIGKILL, hanging or at work.
func TestTargetProcessesKilledLoseNothing(t *testing.T) {
	t.Parallel()
	for _, hang := range []time.Duration{0, 50 * time.Millisecond} {
		t.Run(fmt.Sprintf("hanging %v", hang), func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			targets := []*testrig.Child{testrig.StartChild(t, s.Tally), testrig.StartChild(t, s.Tally)}
			s.StartLineMode([]testrig.Target{targets[0], targets[1]}, testrig.FastFailbackArgs...)
			s.StartSenders(2, testrig.SteadySender())
			for i := range 4 {
				child := targets[i%2]
				s.WaitForLines(child, 400)
				if hang > 0 {
					child.Suspend()
					time.Sleep(hang)
				}
				child.Kill()
				child.Start()
			}
			s.StopSenders()
			s.FinishLineMode(testrig.OnlyResent)
		})
	}
}

// A backend behind all receivers stops for minutes. That is backpressure: moving lines about would only repeat them.
func TestAllTargetsStalledIsBackpressureNotFailure(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const stall = 5 * time.Second // in which a slow machine fills both
	s := testrig.NewStage(t)
	o := testrig.SinkOptions{Buffer: testrig.SmallBuffer}
	a, b := s.StartSink(o), s.StartSink(o)
	s.StartLineMode([]testrig.Target{a, b}, "-stall-timeout", stall.String())
	s.StartSenders(2, testrig.SenderOptions{Rate: 10_000})
	s.WaitForLines(s.Tally, 2_000)
	a.Pause()
	b.Pause()
	s.WaitUntilSendersBlock()
	time.Sleep(stall + stall/2)
	a.Resume()
	b.Resume()
	s.WaitForLines(s.Tally, 2_000)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
	if a.Accepted() != 4 || b.Accepted() != 4 {
		t.Errorf("%d and %d connections accepted, want 4 each: stalls are no reason to connect again", a.Accepted(), b.Accepted())
	}
}

// One receiver hangs, the others work: nobody waits for it, not even the lines that it has been sent.
func TestStalledTargetsLinesArriveElsewhere(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	o := testrig.SinkOptions{Buffer: testrig.SmallBuffer}
	a, b := s.StartSink(o), s.StartSink(o)
	s.StartLineMode([]testrig.Target{a, b}, "-stall-timeout", "1s")
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(a, 400)
	a.Pause()
	began := time.Now()
	const lines = 12_000 // of three seconds
	s.WaitForLines(b, lines)
	took := time.Since(began)
	t.Logf("with one of two targets stalled, %d lines arrived at the other in %v; they were sent in 3s", lines, took)
	if took > 40*time.Second {
		t.Errorf("%d lines took %v: the stalled target holds the others up", lines, took)
	}
	s.StopSenders()
	s.WaitForAllLines()
	a.Resume()
	s.FinishLineMode(testrig.OnlyResent)
}

// The network to all receivers is down for the night.
func TestAllTargetsDownHoldsSendersBack(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	// With so little memory each connection retains 1 MiB at most: a starved receiver must not be able to hold more than that unread.
	a, b := s.StartSink(testrig.SinkOptions{Buffer: 256 << 10}), s.StartSink(testrig.SinkOptions{Buffer: 256 << 10})
	s.StartLineMode([]testrig.Target{a, b}, "-memory", "16MiB")
	s.StartSenders(2, testrig.SenderOptions{Rate: 15_000})
	s.WaitForLines(s.Tally, 2_000)
	a.Exit()
	b.Exit()
	s.WaitUntilSendersBlock()
	before := s.Process.Memory("RssAnon")
	time.Sleep(2 * time.Second)
	after := s.Process.Memory("RssAnon")
	s.CheckMemory(8<<20, after-before, "growth of memory while senders were held back")
	s.CheckMemory(64<<20, s.Process.Memory("VmHWM"), "peak memory with a budget of 16 MiB")
	a.Listen()
	b.Listen()
	s.WaitForLines(s.Tally, 2_000)
	s.StopSenders()
	s.FinishLineMode(testrig.OnlyResent)
}

// docker stop while agents are writing.
func TestTerminationUnderLoadDeliversEveryLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		sender testrig.SenderOptions
		args   []string
	}{
		{"plain", testrig.SenderOptions{Rate: 5_000}, nil},
		{"tls", testrig.SenderOptions{Rate: 5_000, TLS: testrig.ClientTLS()}, testrig.TLSListenerArgs()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b}, test.args...)
			s.StartSenders(4, test.sender)
			s.WaitForLines(s.Tally, 2_000)
			m := s.Process.Metrics()
			s.Process.Signal(syscall.SIGTERM)
			time.Sleep(300 * time.Millisecond)
			s.StopSenders()
			if code := s.Process.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			testrig.ExpectContains(t, s.Process.Stderr(), "drain began", "drain ended")
			s.CheckDelivery(m, testrig.NoDuplicates)
		})
	}
}

// `printf '{…}' | nc` ends without a newline: the line must neither be lost nor be glued to someone else's.
func TestLastLinesWithoutNewlineArriveOnTheirOwn(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b})
	s.StartSenders(2, testrig.SteadySender())
	for i, conn := range s.DialMany(200) {
		s.Write(conn, bytes.TrimSuffix(s.NumberedLines(1+i%3, 150), []byte("\n")))
		conn.Close()
	}
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}

// A sender's host dies in the middle of a line. Half a record is worse than none.
func TestResetInMidLineDropsThatLineOnly(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b})
	s.StartSenders(2, testrig.SteadySender())
	torn := []byte(`{"sender":1,"seq":1,"sum":"`)
	for i := range 20 {
		conn := s.Dial()
		s.Write(conn, s.NumberedLines(10, 150))
		s.WaitForSenderLines(s.LastID) // a reset may overtake what the other side has not read
		s.Write(conn, torn)
		time.Sleep(time.Duration(i) * time.Millisecond) // some are read before the reset, some are not
		conn.SetLinger(0)
		conn.Close()
	}
	s.StopSenders()
	s.WaitForAllLines()
	s.CheckLeaks()
	m := s.WaitForLedger()
	dropped := m.Sum("linesplit_dropped_lines_total", testrig.Label("reason", "torn"))
	if dropped == 0 || dropped > 20 || m.Sum("linesplit_dropped_lines_total") != dropped {
		t.Errorf("%v lines dropped as torn, want 1 to 20 and no others:\n%s", dropped, m.Dump())
	}
	s.Terminate(0)
	s.CheckDelivery(m, testrig.NoDuplicates)
}
