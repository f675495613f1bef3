//go:build linux

package e2e

import (
	"crypto/tls"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// Linesplits stand behind one another, and the inner one is upgraded. It must not wait for its drain timeout: the outer
// one answers its FIN.
func TestDownstreamLinesplitIsReplacedWithoutLoss(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	inner := testrig.FreeHostPort(t)
	const drain = time.Minute
	args := []string{"-listen", inner.Target(), "-drain-timeout", drain.String()}
	down := s.StartLinesplit([]testrig.Target{sink}, args...)
	s.StartLineMode([]testrig.Target{inner})
	s.StartSenders(2, testrig.SteadySender())
	for range 2 {
		s.WaitForLines(sink, 400)
		s.WaitForMetric(4, "linesplit_target_connections")
		time.Sleep(testrig.FINAge)
		began := time.Now()
		if code := down.Terminate(); code != 0 {
			t.Errorf("the inner linesplit ended with exit code %d, want 0\n%s", code, down.LastLines(30))
		}
		// At half of the timeout it cuts senders off.
		if took := time.Since(began); took > drain/4 {
			t.Errorf("the inner linesplit took %v to end, with a drain timeout of %v\n%s", took, drain, down.LastLines(30))
		}
		down = s.StartLinesplit([]testrig.Target{sink}, args...)
	}
	s.WaitForLines(sink, 400)
	s.StopSenders()
	s.WaitForAllLines()
	s.CheckLeaks()
	m := s.WaitForLedger()
	s.Terminate(0)
	if code := down.Terminate(); code != 0 {
		t.Errorf("the last inner linesplit ended with exit code %d, want 0\n%s", code, down.LastLines(30))
	}
	s.CheckDelivery(m, testrig.OnlyResent)
}

// Receivers whose kernel runs short of memory offer narrow windows from then on, however much they read: that must not pass for lines
// unread, of which there may be only so many.
func TestWindowsThatNarrowForGoodHoldNothingUp(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, "-connections", "2", "-resend-max", "1MiB")
	s.StartSenders(2, testrig.SenderOptions{})
	s.WaitForLines(s.Tally, 200_000)
	a.Narrow(testrig.SmallBuffer)
	b.Narrow(testrig.SmallBuffer)
	s.WaitForLines(a, 20_000)
	s.WaitForLines(b, 20_000)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
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
		{"after bursts", testrig.SinkOptions{Behaviour: testrig.Bursts}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
		{"TLS", testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(test.sink)
			s.StartLineMode([]testrig.Target{sink}, append(testrig.TargetArgs(test.sink), "-resend-age", "2s")...)
			s.StartSenders(2, test.sender)
			s.WaitForSenders()
			s.WaitForAllLines()
			began := time.Now()
			s.WaitUntilConfirmed()
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("windows were empty %v after the last line had been read, with a resend age of 2s", took)
			}
			before := sink.Accepted()
			sink.ResetConnections()
			testrig.WaitFor(t, "the workers connect again", func() bool { return sink.Accepted() == before+4 })
			s.StartSenders(1, testrig.SenderOptions{Lines: 1_000})
			s.WaitForSenders()
			s.FinishLineMode(testrig.NoDuplicates)
		})
	}
}

// `ncat -l` and `nc -N` with nothing to say send FIN at once and read on.
func TestHalfClosingReceiverIsServedNormally(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{Behaviour: testrig.HalfClosed})
	s.StartLineMode([]testrig.Target{sink})
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(sink, 12_000)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
	// Four, and at most one look each at whether a fresh connection fares better.
	if n := sink.Accepted(); n > 8 {
		t.Errorf("%d connections in three seconds: a reconnect loop", n)
	}
}

// A proxy between linesplit and a receiver acknowledges for itself. What that costs is measured here, not bounded: what
// lies in the proxy when the receiver dies is beyond what TCP tells.
func TestProxyInBetweenMeasured(t *testing.T) {
	testrig.SkipIfShort(t)
	haproxy := testrig.FindHAProxy(t)
	t.Parallel()
	loss := func(query string) (lost int) {
		s := testrig.NewStage(t)
		a, b := s.StartTwoSinks()
		proxies := testrig.StartHAProxy(t, haproxy, a.Addr(), b.Addr())
		s.StartLineMode([]testrig.Target{testrig.HostPort(proxies[0] + query), testrig.HostPort(proxies[1] + query)})
		s.StartSenders(2, testrig.SteadySender())
		s.RestartInTurn(4, s.Sinks, func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) })
		s.StopSenders()
		s.WaitForLedger()
		m := s.Process.Metrics()
		s.Terminate(0)
		for _, sink := range s.Sinks {
			testrig.WaitFor(t, "the proxy has delivered what it has", func() bool { return sink.Open() == 0 })
		}
		r := s.Tally.Report(s.Sent)
		t.Logf("behind HAProxy, %q: four crashes: %s, resent by the metric %.0f", query, r, m.Sum("linesplit_resent_lines_total"))
		if r.Corrupt+r.NeverSent > 0 {
			t.Errorf("lines that nobody sent:\n%s", r.Details())
		}
		return int(r.Lost)
	}
	plain, aware := loss(""), loss("?via-proxy=true")
	if aware > plain+200 {
		t.Errorf("lost %d lines without via-proxy and %d with it", plain, aware)
	}
}

// A target comes back after an hour: its workers go home, and nobody notices.
func TestWorkersGoHomeWithoutAPause(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, "-failback-interval", interval.String())
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(a, 400)
	testrig.ShutdownInOrder(a)
	testrig.WaitFor(t, "all workers are at the other target", func() bool { return b.Open() == 8 })
	moved := b.Accepted()
	for range 3 { // attempts to go home fail, and cost nothing
		time.Sleep(interval)
		s.WaitForLines(b, 400)
	}
	if b.Accepted() != moved {
		t.Errorf("%d more connections while home was down", b.Accepted()-moved)
	}
	a.Listen()
	began := time.Now()
	testrig.WaitFor(t, "the workers are home", func() bool { return a.Open() == 4 && b.Open() == 4 })
	t.Logf("home %v after the target's return, with an interval of %v", time.Since(began).Round(time.Millisecond), interval)
	s.WaitForLines(a, 400)
	s.WaitForMetric(4, "linesplit_target_failbacks_total")
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}
