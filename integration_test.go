//go:build linux

package main_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/internal/testrig"
)

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
		{name: "tls/plain", sender: testrig.SenderOptions{TLS: ClientTLS()}, args: InboundTLS()},
		{name: "plain/tls", sink: testrig.SinkOptions{TLS: ServerTLS(tls.VersionTLS13)}, args: OutboundTLS()},
		{name: "tls/tls", sink: testrig.SinkOptions{TLS: ServerTLS(tls.VersionTLS12)}, sender: testrig.SenderOptions{TLS: ClientTLS()},
			args: append(InboundTLS(), OutboundTLS()...)},
		{name: "unix/unix", sink: testrig.SinkOptions{Network: "unix"}, sender: testrig.SenderOptions{Network: "unix"},
			args: []string{"-listen", unixIn}},
		{name: "abstract unix/plain", sender: testrig.SenderOptions{Network: "unix"},
			args: []string{"-listen", fmt.Sprintf("unix://@linesplit-test-%d", os.Getpid())}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			s.Run([]Target{s.Sink(test.sink), s.Sink(test.sink)}, test.args...)
			test.sender.Lines = 10_000
			s.Load(8, test.sender)
			s.WaitLoad()
			s.Finish(None)
		})
	}
}

// A shipper on the same machine pipes into linesplit; at the end of its output linesplit is done.
func TestStandardInputEndsWithDrainAndExit(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	o := NewProcessOptions([]Target{a, b}, "-listen", "stdin:")
	o.Stdin = bytes.NewReader(s.Numbered(20_000, 300))
	o.Listeners = 0 // it may have ended before anyone looks
	s.P = testrig.StartProcess(t, o)
	if code := s.P.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	s.Judge(nil, None)
}

// The same with no receiver there: a pipeline in a shell script must not hang for ever.
func TestStandardInputEndsAlsoWithAllTargetsDown(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	o := NewProcessOptions([]Target{NewPlace(t)}, "-listen", "stdin:", "-drain-timeout", "2s")
	o.Stdin = bytes.NewReader(s.Numbered(500, 300))
	s.P = testrig.StartProcess(t, o)
	if code := s.P.Wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	Contains(t, s.Report(), "unconfirmed_lines=500 ")
}

// A receiver is upgraded: it stops accepting, says FIN, reads to the end and goes. A proxy that takes a write for
// delivery loses what it writes between that FIN and its next look.
func TestTargetsRestartedInOrderLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	for _, r := range rates {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			a, b := s.TwoSinks()
			s.Run([]Target{a, b})
			s.Load(2, testrig.SenderOptions{Rate: r.perSender})
			var slowest time.Duration
			s.InTurn(6, s.Sinks, func(sink *testrig.Sink) {
				time.Sleep(pastHalfCloser)
				slowest = max(slowest, shutdown(sink))
			})
			s.EndLoad()
			s.Finish(repeatedAfter(slowest))
		})
	}
}

// orderly ends a target in order, once its connections are old enough that their FIN is not taken for a half-closer's.
func orderly(sink *testrig.Sink) {
	time.Sleep(pastHalfCloser)
	sink.Shutdown()
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
func repeatedAfter(slowest time.Duration) Bound {
	if slowest < time.Second {
		return None
	}
	return Resent
}

// pastHalfCloser is how old a connection must be for its FIN to mean that the target wants to go.
const pastHalfCloser = 1200 * time.Millisecond

// The same with TLS, whose end of stream proves nothing.
func TestTLSTargetsRestartedInOrderLoseNothing(t *testing.T) {
	t.Parallel()
	for name, version := range TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			o := testrig.SinkOptions{TLS: ServerTLS(version)}
			s.Run([]Target{s.Sink(o), s.Sink(o)}, OutboundTLS()...)
			s.Load(2, SteadyLoad())
			s.InTurn(6, s.Sinks, orderly)
			s.EndLoad()
			s.Finish(Resent)
		})
	}
}

// Linesplits stand behind one another, and the inner one is upgraded. It must not wait for its drain timeout: the outer
// one answers its FIN.
func TestDownstreamLinesplitIsReplacedWithoutLoss(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	inner := NewPlace(t)
	const drain = time.Minute
	args := []string{"-listen", inner.Target(), "-drain-timeout", drain.String()}
	down := s.Start([]Target{sink}, args...)
	s.Run([]Target{inner})
	s.Load(2, SteadyLoad())
	for range 2 {
		s.Flow(sink, 400)
		s.Metric(4, "linesplit_target_connections")
		time.Sleep(pastHalfCloser)
		began := time.Now()
		if code := down.Terminate(); code != 0 {
			t.Errorf("the inner linesplit ended with exit code %d, want 0\n%s", code, down.Tail(30))
		}
		// At half of the timeout it cuts senders off.
		if took := time.Since(began); took > drain/4 {
			t.Errorf("the inner linesplit took %v to end, with a drain timeout of %v\n%s", took, drain, down.Tail(30))
		}
		down = s.Start([]Target{sink}, args...)
	}
	s.Flow(sink, 400)
	s.EndLoad()
	s.Arrived()
	s.LeftNothing()
	m := s.Ledger()
	s.Terminate(0)
	if code := down.Terminate(); code != 0 {
		t.Errorf("the last inner linesplit ended with exit code %d, want 0\n%s", code, down.Tail(30))
	}
	s.Judge(m, Resent)
}

// A receiver's process is gone from one moment to the next: FIN or RST, as its sockets happen to be.
func TestTargetsThatExitAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	for _, r := range rates {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			a, b := s.TwoSinks()
			s.Run([]Target{a, b}, HomeSoon...)
			s.Load(2, testrig.SenderOptions{Rate: r.perSender})
			s.InTurn(6, s.Sinks, (*testrig.Sink).Exit)
			s.EndLoad()
			s.Finish(Resent)
		})
	}
}

// A receiver hangs for a moment and is killed: what its kernel had acknowledged and it had not read is gone. The
// patterns are how it read before: the window, and so the estimate of what is unread, moves with it.
func TestTargetsKilledWithUnreadDataLoseNothing(t *testing.T) {
	t.Parallel()
	kill := func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) }
	closeUnread := func(sink *testrig.Sink) { sink.CloseUnread(50 * time.Millisecond) }
	tls12, tls13 := testrig.SinkOptions{TLS: ServerTLS(tls.VersionTLS12)}, testrig.SinkOptions{TLS: ServerTLS(tls.VersionTLS13)}
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
		{"half closed", testrig.SinkOptions{HalfClose: true}, kill},
		{"drip", testrig.SinkOptions{Pattern: testrig.Drip}, kill},
		{"bursts", testrig.SinkOptions{Pattern: testrig.Bursts}, kill},
		{"unix", testrig.SinkOptions{Network: "unix"}, kill},
	}
	for _, test := range tests {
		for _, r := range rates {
			t.Run(test.name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				s := NewStage(t)
				s.Run([]Target{s.Sink(test.sink), s.Sink(test.sink)}, append(OutboundFor(test.sink), HomeSoon...)...)
				s.Load(2, testrig.SenderOptions{Rate: r.perSender})
				s.InTurn(6, s.Sinks, test.end)
				for _, sink := range s.Sinks {
					sink.SetPattern(testrig.Steady) // or what they hold now takes minutes
				}
				s.EndLoad()
				s.Finish(Resent)
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
			s := NewStage(t)
			targets := []*testrig.Child{testrig.StartChild(t, s.Tally), testrig.StartChild(t, s.Tally)}
			s.Run([]Target{targets[0], targets[1]}, HomeSoon...)
			s.Load(2, SteadyLoad())
			for i := range 4 {
				child := targets[i%2]
				s.Flow(child, 400)
				if hang > 0 {
					child.Stop()
					time.Sleep(hang)
				}
				child.Kill()
				child.Start()
			}
			s.EndLoad()
			s.Finish(Resent)
		})
	}
}

// Receivers whose kernel runs short of memory offer narrow windows from then on, however much they read: that must not pass for lines
// unread, of which there may be only so many.
func TestWindowsThatNarrowForGoodHoldNothingUp(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b}, "-connections", "2", "-resend-max", "1MiB")
	s.Load(2, testrig.SenderOptions{})
	s.Flow(s.Tally, 200_000)
	a.Narrow(SmallBuffer)
	b.Narrow(SmallBuffer)
	s.Flow(a, 20_000)
	s.Flow(b, 20_000)
	s.EndLoad()
	s.Finish(None)
}

// A receiver that has long read everything restarts in the night: whatever it looks like, there is nothing to repeat.
func TestQuietReceiverThatResetsGetsNothingAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		sink   testrig.SinkOptions
		sender testrig.SenderOptions
	}{
		{"after a flood", testrig.SinkOptions{}, testrig.SenderOptions{Lines: 20_000}},
		{"after a steady flow", testrig.SinkOptions{}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
		{"after bursts", testrig.SinkOptions{Pattern: testrig.Bursts}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
		{"TLS", testrig.SinkOptions{TLS: ServerTLS(tls.VersionTLS13)}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			sink := s.Sink(test.sink)
			s.Run([]Target{sink}, append(OutboundFor(test.sink), "-resend-age", "2s")...)
			s.Load(2, test.sender)
			s.WaitLoad()
			s.Arrived()
			began := time.Now()
			s.Confirmed()
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("windows were empty %v after the last line had been read, with a resend age of 2s", took)
			}
			before := sink.Accepted()
			sink.ResetConnections()
			testrig.WaitFor(t, "the workers connect again", func() bool { return sink.Accepted() == before+4 })
			s.Load(1, testrig.SenderOptions{Lines: 1_000})
			s.WaitLoad()
			s.Finish(None)
		})
	}
}

// A backend behind all receivers stops for minutes. That is backpressure: moving lines about would only repeat them.
func TestAllTargetsStalledIsBackpressureNotFailure(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	const stall = 5 * time.Second // in which a slow machine fills both
	s := NewStage(t)
	o := testrig.SinkOptions{Buffer: SmallBuffer}
	a, b := s.Sink(o), s.Sink(o)
	s.Run([]Target{a, b}, "-stall-timeout", stall.String())
	s.Load(2, testrig.SenderOptions{Rate: 10_000})
	s.Flow(s.Tally, 2_000)
	a.Pause()
	b.Pause()
	s.HeldBack()
	time.Sleep(stall + stall/2)
	a.Resume()
	b.Resume()
	s.Flow(s.Tally, 2_000)
	s.EndLoad()
	s.Finish(None)
	if a.Accepted() != 4 || b.Accepted() != 4 {
		t.Errorf("%d and %d connections accepted, want 4 each: stalls are no reason to connect again", a.Accepted(), b.Accepted())
	}
}

// One receiver hangs, the others work: nobody waits for it, not even the lines that it has been sent.
func TestStalledTargetsLinesArriveElsewhere(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	o := testrig.SinkOptions{Buffer: SmallBuffer}
	a, b := s.Sink(o), s.Sink(o)
	s.Run([]Target{a, b}, "-stall-timeout", "1s")
	s.Load(2, SteadyLoad())
	s.Flow(a, 400)
	a.Pause()
	began := time.Now()
	const lines = 12_000 // of three seconds
	s.Flow(b, lines)
	took := time.Since(began)
	t.Logf("with one of two targets stalled, %d lines arrived at the other in %v; they were sent in 3s", lines, took)
	if took > 40*time.Second {
		t.Errorf("%d lines took %v: the stalled target holds the others up", lines, took)
	}
	s.EndLoad()
	s.Arrived()
	a.Resume()
	s.Finish(Resent)
}

// The network to all receivers is down for the night.
func TestAllTargetsDownHoldsSendersBack(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	// With so little memory each connection retains 1 MiB at most: a starved receiver must not be able to hold more than that unread.
	a, b := s.Sink(testrig.SinkOptions{Buffer: 256 << 10}), s.Sink(testrig.SinkOptions{Buffer: 256 << 10})
	s.Run([]Target{a, b}, "-memory", "16MiB")
	s.Load(2, testrig.SenderOptions{Rate: 15_000})
	s.Flow(s.Tally, 2_000)
	a.Exit()
	b.Exit()
	s.HeldBack()
	before := s.P.Memory("RssAnon")
	time.Sleep(2 * time.Second)
	after := s.P.Memory("RssAnon")
	s.Below(8<<20, after-before, "growth of memory while senders were held back")
	s.Below(64<<20, s.P.Memory("VmHWM"), "peak memory with a budget of 16 MiB")
	a.Listen()
	b.Listen()
	s.Flow(s.Tally, 2_000)
	s.EndLoad()
	s.Finish(Resent)
}

// `ncat -l` and `nc -N` with nothing to say send FIN at once and read on.
func TestHalfClosingReceiverIsServedNormally(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	sink := s.Sink(testrig.SinkOptions{HalfClose: true})
	s.Run([]Target{sink})
	s.Load(2, SteadyLoad())
	s.Flow(sink, 12_000)
	s.EndLoad()
	s.Finish(None)
	// Four, and at most one look each at whether a fresh connection fares better.
	if n := sink.Accepted(); n > 8 {
		t.Errorf("%d connections in three seconds: a reconnect loop", n)
	}
}

// A proxy between linesplit and a receiver acknowledges for itself. What that costs is measured here, not bounded: what
// lies in the proxy when the receiver dies is beyond what TCP tells.
func TestProxyInBetweenMeasured(t *testing.T) {
	TakesLong(t)
	haproxy := testrig.FindHAProxy(t)
	t.Parallel()
	loss := func(query string) (lost int) {
		s := NewStage(t)
		a, b := s.TwoSinks()
		proxies := testrig.StartHAProxy(t, haproxy, a.Addr(), b.Addr())
		s.Run([]Target{Place(proxies[0] + query), Place(proxies[1] + query)})
		s.Load(2, SteadyLoad())
		s.InTurn(4, s.Sinks, func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) })
		s.EndLoad()
		s.Ledger()
		m := s.P.Metrics()
		s.Terminate(0)
		for _, sink := range s.Sinks {
			testrig.WaitFor(t, "the proxy has delivered what it has", func() bool { return sink.Conns() == 0 })
		}
		r := s.Tally.Report(s.Sent)
		t.Logf("behind HAProxy, %q: four crashes: %s, resent by the metric %.0f", query, r, m.Sum("linesplit_resent_lines_total"))
		if r.Corrupt+r.NeverSent > 0 {
			t.Errorf("lines that nobody sent:\n%s", r.Details())
		}
		return r.Lost
	}
	plain, aware := loss(""), loss("?via-proxy=true")
	if aware > plain+200 {
		t.Errorf("lost %d lines without via-proxy and %d with it", plain, aware)
	}
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
		{"tls", testrig.SenderOptions{Rate: 5_000, TLS: ClientTLS()}, InboundTLS()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			a, b := s.TwoSinks()
			s.Run([]Target{a, b}, test.args...)
			s.Load(4, test.sender)
			s.Flow(s.Tally, 2_000)
			m := s.P.Metrics()
			s.P.Signal(syscall.SIGTERM)
			time.Sleep(300 * time.Millisecond)
			s.EndLoad()
			if code := s.P.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			Contains(t, s.P.Stderr(), "drain began", "drain ended")
			s.Judge(m, None)
		})
	}
}

// A TLS sender that never reads resets the connection at its close if anything was written to it, and what it had in
// flight is gone.
func TestTLSSenderThatOnlyWritesLosesNothing(t *testing.T) {
	t.Parallel()
	for name, version := range TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			a, b := s.TwoSinks()
			s.Run([]Target{a, b}, InboundTLS()...)
			config := ClientTLS()
			config.MinVersion, config.MaxVersion = version, version
			s.Load(4, testrig.SenderOptions{TLS: config, Lines: 20_000})
			s.WaitLoad()
			s.Finish(None)
		})
	}
}

// docker stop while no receiver is there: it must end in time, and say what was not delivered.
func TestTerminationWithAllTargetsDownReportsTrueCount(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	s.Run([]Target{sink}, "-drain-timeout", "2s")
	sink.Exit()
	const lines, size = 3_217, 200
	s.Load(1, testrig.SenderOptions{Lines: lines, Size: size})
	s.WaitLoad()
	s.Metric(lines, "linesplit_received_lines_total")
	holdout := s.Dial() // does not close, whatever linesplit says
	s.Write(holdout, []byte("an unfinished line"))
	s.Metric(1, "linesplit_connections")
	began := time.Now()
	s.Terminate(1)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v to end, with a drain timeout of 2s", took)
	}
	Contains(t, s.Report(), fmt.Sprintf("unconfirmed_lines=%d ", lines), fmt.Sprintf("unconfirmed_bytes=%d ", lines*size), "senders_cut_off=1")
	if s.Tally.Lines() != 0 {
		t.Errorf("%d lines arrived at a target that was not there", s.Tally.Lines())
	}
}

// Someone presses Ctrl-C again.
func TestSecondSignalEndsAtOnceWithTheReport(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	s.Run([]Target{sink}, "-drain-timeout", "1h")
	sink.Exit()
	s.Load(1, testrig.SenderOptions{Lines: 1_234})
	s.WaitLoad()
	s.Metric(1_234, "linesplit_received_lines_total")
	s.P.Signal(syscall.SIGTERM)
	testrig.WaitFor(t, "the drain begins", func() bool { return strings.Contains(s.P.Stderr(), "drain began") })
	s.Terminate(1)
	Contains(t, s.Report(), "unconfirmed_lines=1234 ")
}

// A sender that is broken, or hostile, never sends a newline.
func TestEndlessLineIsDroppedAndHarmsNobody(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b})
	s.Load(2, SteadyLoad())
	hog := s.Dial()
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 256 {
		s.Write(hog, chunk)
	}
	s.Write(hog, []byte("\n"))
	s.Write(hog, s.Numbered(100, 200)) // its next lines are as good as any
	hog.Close()
	s.Others = 1
	s.Flow(s.Tally, 2_000)
	s.Below(64<<20, s.P.Memory("VmHWM"), "peak memory")
	s.Metric(256<<20, "linesplit_dropped_bytes_total", testrig.Label("reason", "oversize"))
	s.EndLoad()
	s.Finish(None)
}

// A thousand of them, each within the limit for a line.
func TestUnfinishedLinesStayWithinTheMemoryBudget(t *testing.T) {
	TakesLong(t)
	t.Parallel()
	const senders, budget = 1_000, 64 << 20
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b}, "-memory", fmt.Sprint(budget))
	good := s.Dial()
	s.Write(good, s.Numbered(100, 600)) // before the crowd: it holds nothing while it is idle
	hogs := s.Crowd(senders)
	unfinished := bytes.Repeat([]byte("x"), 1_000_000)
	var writing sync.WaitGroup
	for _, hog := range hogs {
		writing.Go(func() { hog.Write(unfinished) })
	}
	s.Metric(1, "linesplit_dropped_lines_total", testrig.Label("reason", "memory"))
	for range 20 {
		s.Write(good, s.Numbered(500, 600))
		s.Arrived()
	}
	s.Load(2, SteadyLoad()) // senders that come later are served too
	s.Flow(s.Tally, 4_000)
	writing.Wait() // linesplit reads on: a full budget is relieved by dropping
	m := s.P.Metrics()
	if used, limit := m.Sum("linesplit_memory_bytes"), m.Sum("linesplit_memory_limit_bytes"); used > limit*1.1 || limit != budget {
		t.Errorf("%.0f bytes held, with a budget of %.0f", used, limit)
	}
	const program = 16 << 20 // its code, and the stacks of a thousand connections
	s.Below(2*budget+program, s.P.Memory("VmHWM"), "peak memory with a budget of 64 MiB")
	s.EndLoad()
	good.Close()
	for _, hog := range hogs {
		hog.SetLinger(0)
		hog.Close()
	}
	s.Others = senders // each of them loses its line: torn, or dropped for memory
	s.Finish(None)
}

// `printf '{…}' | nc` ends without a newline: the line must neither be lost nor be glued to someone else's.
func TestLastLinesWithoutNewlineArriveOnTheirOwn(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b})
	s.Load(2, SteadyLoad())
	for i, conn := range s.Crowd(200) {
		s.Write(conn, bytes.TrimSuffix(s.Numbered(1+i%3, 150), []byte("\n")))
		conn.Close()
	}
	s.EndLoad()
	s.Finish(None)
}

// A sender's host dies in the middle of a line. Half a record is worse than none.
func TestResetInMidLineDropsThatLineOnly(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b})
	s.Load(2, SteadyLoad())
	torn := []byte(`{"sender":1,"seq":1,"sum":"`)
	for i := range 20 {
		conn := s.Dial()
		s.Write(conn, s.Numbered(10, 150))
		s.ArrivedBy(s.NextID) // a reset may overtake what the other side has not read
		s.Write(conn, torn)
		time.Sleep(time.Duration(i) * time.Millisecond) // some are read before the reset, some are not
		conn.SetLinger(0)
		conn.Close()
	}
	s.EndLoad()
	s.Arrived()
	s.LeftNothing()
	m := s.Ledger()
	dropped := m.Sum("linesplit_dropped_lines_total", testrig.Label("reason", "torn"))
	if dropped == 0 || dropped > 20 || m.Sum("linesplit_dropped_lines_total") != dropped {
		t.Errorf("%v lines dropped as torn, want 1 to 20 and no others:\n%s", dropped, m.Dump())
	}
	s.Terminate(0)
	s.Judge(m, None)
}

// What is between newlines is nobody's business: it passes byte for byte.
func TestLinesPassByteForByte(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	garbage := make([]byte, 1<<20)
	random.Read(garbage)
	tests := []struct {
		name  string
		bytes []byte
		step  int // bytes per write; 0: all at once
	}{
		{"garbage", append(garbage, '\n'), 0},
		{"one byte at a time", []byte("a\nbc\n\n{\"k\":1}\r\n\x00\x00\n\xff\xfe\n"), 1},
		{"empty lines", bytes.Repeat([]byte("\n"), 50_000), 0},
		{"CRLF", bytes.Repeat([]byte("GET / HTTP/1.1\r\n\r\n"), 10_000), 0},
		{"split CRLF", bytes.Repeat([]byte("x\r\n"), 100), 2},
		{"NUL", append(make([]byte, 100_000), "\n"...), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewStage(t)
			s.Tally.KeepRaw()
			a, b := s.TwoSinks()
			s.Run([]Target{a, b})
			conn := s.Dial()
			conn.SetNoDelay(true)
			for rest := test.bytes; len(rest) > 0; {
				n := len(rest)
				if test.step > 0 {
					n = min(n, test.step)
				}
				s.Write(conn, rest[:n])
				rest = rest[n:]
			}
			conn.Close()
			want := make(map[string]int)
			for line := range bytes.Lines(test.bytes) {
				want[strings.TrimSuffix(string(line), "\n")]++
				s.Others++
			}
			testrig.WaitFor(t, "the lines arrive", func() bool { return a.Lines()+b.Lines() >= s.Others })
			if diff := cmp.Diff(want, s.Tally.Raw()); diff != "" {
				t.Errorf("lines differ (-sent +received):\n%.2000s", diff)
			}
			s.Finish(None)
		})
	}
}

// Buffers have a size, reads have a size, and lines have a limit: what is just as long, and one byte longer.
func TestLinesAtTheLimits(t *testing.T) {
	t.Parallel()
	const buffer, limit = 16 << 10, 1 << 20
	tests := []struct {
		name     string
		oversize string
		sizes    []int
		dropped  float64
	}{
		{"around the buffer", "drop", []int{buffer - 1, buffer, buffer + 1, 2 * buffer, 2*buffer + 1, 8*buffer - 1, 8 * buffer, 8*buffer + 1}, 0},
		{"below the limit", "close", []int{limit - 1, limit}, 0},
		{"above the limit", "drop", []int{limit + 1, limit + buffer, 3*limit + 1}, 1},
	}
	for _, test := range tests {
		for _, size := range test.sizes {
			t.Run(fmt.Sprintf("%s/%d", test.name, size), func(t *testing.T) {
				t.Parallel()
				s := NewStage(t)
				sink := s.Sink(testrig.SinkOptions{})
				s.Run([]Target{sink}, "-oversize", test.oversize)
				conn := s.Dial()
				s.Write(conn, s.Numbered(10, 150))
				if test.dropped > 0 {
					s.Others++
					s.Write(conn, testrig.AppendLine(nil, 0, 0, size))
				} else {
					s.Write(conn, s.Numbered(3, size))
				}
				s.Write(conn, s.Numbered(10, 150))
				conn.Close()
				s.Finish(None)
			})
		}
	}
}

// The two other things to do with a line that is too long.
func TestOversizePolicies(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	long := append(bytes.Repeat([]byte("0123456789"), 10_000), '\n')
	t.Run("truncate", func(t *testing.T) {
		t.Parallel()
		s := NewStage(t)
		s.Tally.KeepRaw()
		s.Run([]Target{s.Sink(testrig.SinkOptions{})}, "-max-line", fmt.Sprint(limit), "-oversize", "truncate")
		conn := s.Dial()
		s.Write(conn, s.Numbered(10, 150))
		s.Write(conn, long)
		s.Write(conn, s.Numbered(10, 150))
		conn.Close()
		s.Others = 1
		s.Arrived()
		want := map[string]int{string(long[:limit-1]): 1}
		if diff := cmp.Diff(want, s.Tally.Raw()); diff != "" {
			t.Errorf("lines differ (-want +received):\n%.2000s", diff)
		}
		s.Metric(1, "linesplit_truncated_lines_total")
		s.Finish(None)
	})
	t.Run("close", func(t *testing.T) {
		t.Parallel()
		s := NewStage(t)
		s.Run([]Target{s.Sink(testrig.SinkOptions{})}, "-max-line", fmt.Sprint(limit), "-oversize", "close")
		conn := s.Dial()
		s.Write(conn, s.Numbered(10, 150))
		s.Arrived()
		conn.Write(long)
		conn.SetReadDeadline(time.Now().Add(testrig.Patience))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
			t.Errorf("the connection lives on: read %d bytes, %v", n, err)
		}
		s.Others = 1
		s.Load(1, testrig.SenderOptions{Lines: 100})
		s.WaitLoad()
		s.Finish(None)
	})
}

// Five thousand agents that say something once an hour.
func TestIdleConnectionsAreCarried(t *testing.T) {
	t.Parallel()
	const idle = 5_000
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b})
	conns := s.Crowd(idle)
	s.Metric(idle, "linesplit_connections")
	s.Load(2, testrig.SenderOptions{Lines: 5_000})
	s.WaitLoad()
	for _, conn := range conns {
		s.Write(conn, s.Numbered(1, 150))
	}
	s.Arrived()
	t.Logf("%d idle connections: %d KiB of anonymous memory", idle, s.P.Memory("RssAnon")>>10)
	for _, conn := range conns {
		conn.Close()
	}
	s.Finish(None)
}

// An operator forgot `ulimit -n`: accept fails until somebody goes.
func TestDescriptorsUsedUpAndFreedAgain(t *testing.T) {
	t.Parallel()
	const files = 64
	s := NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	o := NewProcessOptions([]Target{sink}, "-max-connections", "1000")
	o.Files = files
	s.P = testrig.StartProcess(t, o)
	s.Base = SettledUsage(t, s.P, 4)
	s.Load(1, SteadyLoad())
	s.Flow(sink, 400)
	conns := s.Crowd(2 * files)
	testrig.WaitFor(t, "the descriptors are used up", func() bool { return Descriptors(s.P.PID()) >= files })
	s.Flow(sink, 2_000) // who is in is served
	for _, conn := range conns {
		conn.Close()
	}
	late := s.Sender(testrig.SenderOptions{Lines: 1_000}) // who comes now, too
	late.Wait()
	s.EndLoad()
	if m := s.P.Metrics(); m.Sum("linesplit_accept_errors_total") == 0 {
		t.Errorf("no accept errors counted:\n%s", m.Dump())
	}
	s.Finish(None)
}

// Scanners and misconfigured agents knock at a TLS port in plain text.
func TestPlainTextOnATLSListenerHarmsNobody(t *testing.T) {
	t.Parallel()
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b}, InboundTLS()...)
	s.Load(2, testrig.SenderOptions{Rate: 2_000, TLS: ClientTLS()})
	for range 20 {
		conn := s.Dial()
		conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		conn.Close()
	}
	s.Metric(20, "linesplit_tls_handshake_errors_total")
	s.Flow(s.Tally, 400)
	s.EndLoad()
	s.Finish(None)
}

// A target comes back after an hour: its workers go home, and nobody notices.
func TestWorkersGoHomeWithoutAPause(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	s := NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]Target{a, b}, "-failback-interval", interval.String())
	s.Load(2, SteadyLoad())
	s.Flow(a, 400)
	orderly(a)
	testrig.WaitFor(t, "all workers are at the other target", func() bool { return b.Conns() == 8 })
	moved := b.Accepted()
	for range 3 { // attempts to go home fail, and cost nothing
		time.Sleep(interval)
		s.Flow(b, 400)
	}
	if b.Accepted() != moved {
		t.Errorf("%d more connections while home was down", b.Accepted()-moved)
	}
	a.Listen()
	began := time.Now()
	testrig.WaitFor(t, "the workers are home", func() bool { return a.Conns() == 4 && b.Conns() == 4 })
	t.Logf("home %v after the target's return, with an interval of %v", time.Since(began).Round(time.Millisecond), interval)
	s.Flow(a, 400)
	s.Metric(4, "linesplit_target_failbacks_total")
	s.EndLoad()
	s.Finish(None)
}

// A configuration error is found before anything listens, and tells a person what to write instead.
func TestBadInputIsRefusedWithAClearError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing.pem")
	notPEM := file("not.pem", "this is no certificate\n")
	badKey := file("bad.conf", "connections 2\nnonsense-key 1\n")
	unixIn := filepath.Join(dir, "no", "such", "directory", "in.sock")
	tests := []struct {
		name string
		args []string
		want []string // parts of stderr: the flag, the value, what is right
	}{
		{"unknown flag", []string{"-nonsense", "1"}, []string{"-nonsense", "unknown"}},
		{"bad size", []string{"-buffer", "16XB"}, []string{"-buffer", "16XB", "16KiB"}},
		{"bad duration", []string{"-dial-timeout", "soon"}, []string{"-dial-timeout", "soon", "30s"}},
		{"duration without unit", []string{"-stall-timeout", "30"}, []string{"-stall-timeout", "30", "30s"}},
		{"port out of range", []string{"-port", "70000"}, []string{"-port", "70000", "65535"}},
		{"listener's port out of range", []string{"-listen", "tcp://127.0.0.1:70000"}, []string{"-listen", "70000", "65535"}},
		{"target's port out of range", []string{"-target", "10.0.0.1:70000"}, []string{"-target", "70000", "65535"}},
		{"target without port", []string{"-target", "10.0.0.1"}, []string{"-target", "10.0.0.1", "port"}},
		{"duplicate target", []string{"-target", "10.0.0.1:9999,tcp://10.0.0.1:9999"}, []string{"-target", "10.0.0.1:9999", "twice"}},
		{"empty target list", []string{"-target", ""}, []string{"-target", "10.0.0.1:9999"}},
		{"list of commas", []string{"-target", ","}, []string{"-target", "10.0.0.1:9999"}},
		{"cert without key", []string{"-tls-cert", Certs.ServerCert}, []string{"-tls-cert", "-tls-key"}},
		{"key without cert", []string{"-tls-key", Certs.ServerKey}, []string{"-tls-cert", "-tls-key"}},
		{"missing cert", []string{"-tls-cert", missing, "-tls-key", Certs.ServerKey}, []string{"-tls-cert", missing}},
		{"cert that is no PEM", []string{"-tls-cert", notPEM, "-tls-key", Certs.ServerKey}, []string{"-tls-cert", notPEM, "PEM"}},
		{"mismatched pair", []string{"-tls-cert", Certs.ServerCert, "-tls-key", Certs.MismatchedKey},
			[]string{"-tls-key", Certs.MismatchedKey, "match"}},
		{"mismatched pair for targets", []string{"-tls-target", "-tls-target-cert", Certs.ClientCert, "-tls-target-key", Certs.MismatchedKey},
			[]string{"-tls-target-key", Certs.MismatchedKey, "match"}},
		{"missing authority", []string{"-tls-target", "-tls-target-ca", missing}, []string{"-tls-target-ca", missing}},
		{"unknown scheme of a listener", []string{"-listen", "sctp://127.0.0.1:9000"}, []string{"-listen", "sctp://127.0.0.1:9000", "tcp://"}},
		{"unknown scheme of a target", []string{"-target", "http://10.0.0.1:80"}, []string{"-target", "http://10.0.0.1:80", "tcp"}},
		{"unwritable Unix path", []string{"-listen", "unix://" + unixIn}, []string{"-listen", unixIn}},
		{"unknown key in the file", []string{"-config", badKey}, []string{"nonsense-key", badKey}},
		{"missing file", []string{"-config", missing}, []string{"-config", missing}},
		{"unknown policy", []string{"-oversize", "split"}, []string{"-oversize", "split", "drop", "truncate", "close"}},
		{"old TLS", []string{"-tls-min-version", "1.1"}, []string{"-tls-min-version", "1.1", "1.2"}},
		{"several at once", []string{"-buffer", "16XB", "-dial-timeout", "soon", "-target", "10.0.0.1", "-nonsense"},
			[]string{"-buffer", "16XB", "-dial-timeout", "soon", "-target", "10.0.0.1", "-nonsense"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			free := NewPlace(t)
			args := test.args
			if !strings.Contains(strings.Join(args, " "), "-listen") && args[0] != "-port" {
				args = append(free.Flags(), args...)
			}
			p := testrig.StartProcess(t, testrig.ProcessOptions{Binary: binary, Args: args})
			listened := false
			testrig.WaitFor(t, "linesplit refuses to start", func() bool {
				listened = listened || free.Taken()
				return p.Ended()
			})
			if code := p.Wait(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if listened || strings.Contains(p.Stderr(), "listening") {
				t.Error("something listened")
			}
			Contains(t, p.Stderr(), test.want...)
		})
	}
}

// Someone else has the port: not the configuration's fault, and worth a restart later.
func TestBusyPortIsARuntimeErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	ln, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().String()
	for name, args := range map[string][]string{
		"addr and port":   Place(busy).Flags(),
		"second listener": {"-listen", "tcp://127.0.0.1:0", "-listen", "tcp://" + busy},
		"admin":           {"-listen", "tcp://127.0.0.1:0", "-admin", busy},
	} {
		t.Run(name, func(t *testing.T) {
			p := testrig.StartProcess(t, testrig.ProcessOptions{Binary: binary, Args: args})
			if code := p.Wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			Contains(t, p.Stderr(), busy, "in use")
		})
	}
}
