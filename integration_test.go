//go:build linux

package main_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// rate is the rate at which the senders of a test write.
type rate struct {
	name      string
	perSender int // lines per second
}

// rates are the rates in tests that end targets. At the first one, targets have read most of what
// was written. At the second one, a target that stalls for 50 ms has megabytes unread.
var rates = []rate{{"2×2000", 2_000}, {"2×40000", 40_000}}

func TestMain(m *testing.M) { testrig.Main(m) }

// The central claims of line mode, one test each. All run the built program between real sockets,
// with numbered lines that count as delivered when the receiving application has read them. Most
// end in Stage.FinishLineMode, which also checks that the ledger balances and nothing is left
// behind.

// No line is lost, duplicated or cut, on any kind of connection.
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
		{name: "plain/tls", sink: testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)},
			args: testrig.TLSTargetArgs()},
		{name: "tls/tls", sink: testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS12)},
			sender: testrig.SenderOptions{TLS: testrig.ClientTLS()},
			args:   append(testrig.TLSListenerArgs(), testrig.TLSTargetArgs()...)},
		{name: "unix/unix", sink: testrig.SinkOptions{Network: "unix"},
			sender: testrig.SenderOptions{Network: "unix"}, args: []string{"-listen", unixIn}},
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

// A target is upgraded: it stops listening, sends FIN, reads to the end and exits. A proxy that
// takes a write for delivery loses what it writes between that FIN and its next check of the
// connection.
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

// shutdown ends a target in order, and returns for how long it continued to read.
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

// repeatedAfter returns how many duplicates are allowed when targets have ended in order: none,
// unless the machine was so busy that they did not read everything in time. Linesplit waits 3.5 s,
// and needs more than 2 s of these to notice that they have read everything.
func repeatedAfter(slowest time.Duration) testrig.DuplicateLimit {
	if slowest < time.Second {
		return testrig.NoDuplicates
	}
	return testrig.OnlyResent
}

// The same with TLS, where an end of stream does not prove that everything was read.
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

// lookups are the two ways to know what a target has not read: the kernel tells, or it is
// estimated.
var lookups = []string{"auto", "off"}

// The process of a target exits at once. Its connections end with FIN or RST, depending on what was
// unread.
func TestTargetsThatExitAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	for _, lookup := range lookups {
		for _, r := range rates {
			t.Run("lookup "+lookup+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				a, b := s.StartTwoSinks()
				s.StartLineMode([]testrig.Target{a, b},
					slices.Concat(testrig.FastFailbackArgs, []string{"-peer-lookup", lookup})...)
				s.StartSenders(2, testrig.SenderOptions{Rate: r.perSender})
				s.RestartInTurn(6, s.Sinks, (*testrig.Sink).Exit)
				s.StopSenders()
				s.FinishLineMode(testrig.OnlyResent)
			})
		}
	}
}

// A target hangs for a moment and is killed. What its kernel had acknowledged and the application
// had not read is lost. How it read before determines the window, and so the estimate of what is
// unread.
func TestTargetsKilledWithUnreadDataLoseNothing(t *testing.T) {
	t.Parallel()
	kill := func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) }
	closeUnread := func(sink *testrig.Sink) { sink.CloseUnread(50 * time.Millisecond) }
	tls12 := testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS12)}
	tls13 := testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}
	tests := []struct {
		name string
		sink testrig.SinkOptions
		end  func(*testrig.Sink)
	}{
		{"plain", testrig.SinkOptions{}, kill},
		{"small segments", testrig.SinkOptions{Segment: 1448}, kill},
		{"TLS 1.2 closes", tls12, closeUnread}, // close_notify, followed by RST
		{"TLS 1.3 closes", tls13, closeUnread},
		{"TLS 1.3 killed", tls13, kill},
		{"half closed", testrig.SinkOptions{Behaviour: testrig.HalfClosed}, kill},
		{"drip", testrig.SinkOptions{Behaviour: testrig.Drip}, kill},
		{"bursts", testrig.SinkOptions{Behaviour: testrig.Bursts}, kill},
		{"unix", testrig.SinkOptions{Network: "unix"}, kill},
	}
	for _, test := range tests {
		for _, lookup := range lookups {
			for _, r := range rates {
				t.Run(test.name+"/lookup "+lookup+"/"+r.name, func(t *testing.T) {
					t.Parallel()
					s := testrig.NewStage(t)
					s.StartLineMode([]testrig.Target{s.StartSink(test.sink), s.StartSink(test.sink)},
						slices.Concat(testrig.TargetArgs(test.sink), testrig.FastFailbackArgs, []string{"-peer-lookup", lookup})...)
					s.StartSenders(2, testrig.SenderOptions{Rate: r.perSender})
					s.RestartInTurn(6, s.Sinks, test.end)
					for _, sink := range s.Sinks {
						sink.Behave(testrig.Steady) // otherwise they would take minutes to read the rest
					}
					s.StopSenders()
					s.FinishLineMode(testrig.OnlyResent)
				})
			}
		}
	}
}

// A target is a process of its own that is killed, while it hangs or while it reads.
func TestTargetProcessesKilledLoseNothing(t *testing.T) {
	t.Parallel()
	for _, hang := range []time.Duration{0, 50 * time.Millisecond} {
		for _, lookup := range lookups {
			t.Run(fmt.Sprintf("hanging %v, lookup %s", hang, lookup), func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				targets := []*testrig.Child{testrig.StartChild(t, s.Tally), testrig.StartChild(t, s.Tally)}
				s.StartLineMode([]testrig.Target{targets[0], targets[1]},
					slices.Concat(testrig.FastFailbackArgs, []string{"-peer-lookup", lookup})...)
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
}

// All targets stall for minutes, because of a service behind them. Linesplit must hold its senders
// back and not fail over, which would only repeat lines.
func TestAllTargetsStalledIsBackpressureNotFailure(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	// A receiver whose buffer is full may drop a segment. The sender's kernel then doubles the time
	// between retransmissions, and where the receiver reads again, it waits for the next one. That
	// comes 25.4 s after the first at the latest, less than the stall timeout after Resume.
	const stall = 14 * time.Second
	s := testrig.NewStage(t)
	o := testrig.SinkOptions{Buffer: testrig.SmallBuffer}
	a, b := s.StartSink(o), s.StartSink(o)
	s.StartLineMode([]testrig.Target{a, b}, "-stall-timeout", stall.String())
	s.StartSenders(2, testrig.SenderOptions{Rate: 10_000})
	s.WaitForLines(s.Tally, 2_000)
	a.Pause()
	b.Pause()
	s.WaitUntilSendersBlock()
	time.Sleep(stall + time.Second)
	a.Resume()
	b.Resume()
	s.WaitForLines(s.Tally, 2_000)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
	if a.Accepted() != 4 || b.Accepted() != 4 {
		t.Errorf("%d and %d connections accepted, want 4 each: a stall must not cause reconnects", a.Accepted(),
			b.Accepted())
	}
}

// One target hangs while the other one reads: no line waits for it, and the lines that it was sent
// are sent to the other one.
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
	const lines = 12_000 // which are sent in 3 s
	s.WaitForLines(b, lines)
	took := time.Since(began)
	t.Logf("with one of two targets stalled, %d lines arrived at the other in %v; they were sent in 3s", lines, took)
	if took > 40*time.Second {
		t.Errorf("%d lines took %v: the stalled target delays the others", lines, took)
	}
	s.StopSenders()
	s.WaitForAllLines()
	a.Resume()
	s.FinishLineMode(testrig.OnlyResent)
}

// The network to all targets is down for a night.
func TestAllTargetsDownHoldsSendersBack(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	// With so little memory, linesplit retains 1 MiB of each connection at most. A target on a busy
	// machine must not be able to have more than that unread.
	o := testrig.SinkOptions{Buffer: 256 << 10}
	a, b := s.StartSink(o), s.StartSink(o)
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

// `docker stop` while senders write.
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

// `printf '{…}' | nc` ends without a newline: the line must neither be lost nor be joined with
// another sender's.
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

// A sender's host dies in the middle of a line. Half a record would be worse than none.
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
		s.WaitForSenderLines(s.LastID) // a reset discards what linesplit has not read
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
