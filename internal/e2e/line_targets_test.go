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
	testrig.TakesLong(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	inner := testrig.NewPlace(t)
	const drain = time.Minute
	args := []string{"-listen", inner.Target(), "-drain-timeout", drain.String()}
	down := s.Start([]testrig.Target{sink}, args...)
	s.Run([]testrig.Target{inner})
	s.Load(2, testrig.SteadyLoad())
	for range 2 {
		s.Flow(sink, 400)
		s.Metric(4, "linesplit_target_connections")
		time.Sleep(testrig.PastHalfCloser)
		began := time.Now()
		if code := down.Terminate(); code != 0 {
			t.Errorf("the inner linesplit ended with exit code %d, want 0\n%s", code, down.Tail(30))
		}
		// At half of the timeout it cuts senders off.
		if took := time.Since(began); took > drain/4 {
			t.Errorf("the inner linesplit took %v to end, with a drain timeout of %v\n%s", took, drain, down.Tail(30))
		}
		down = s.Start([]testrig.Target{sink}, args...)
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
	s.Judge(m, testrig.Resent)
}

// Receivers whose kernel runs short of memory offer narrow windows from then on, however much they read: that must not pass for lines
// unread, of which there may be only so many.
func TestWindowsThatNarrowForGoodHoldNothingUp(t *testing.T) {
	testrig.TakesLong(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]testrig.Target{a, b}, "-connections", "2", "-resend-max", "1MiB")
	s.Load(2, testrig.SenderOptions{})
	s.Flow(s.Tally, 200_000)
	a.Narrow(testrig.SmallBuffer)
	b.Narrow(testrig.SmallBuffer)
	s.Flow(a, 20_000)
	s.Flow(b, 20_000)
	s.EndLoad()
	s.Finish(testrig.None)
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
			sink := s.Sink(test.sink)
			s.Run([]testrig.Target{sink}, append(testrig.OutboundFor(test.sink), "-resend-age", "2s")...)
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
			s.Finish(testrig.None)
		})
	}
}

// `ncat -l` and `nc -N` with nothing to say send FIN at once and read on.
func TestHalfClosingReceiverIsServedNormally(t *testing.T) {
	testrig.TakesLong(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.Sink(testrig.SinkOptions{Behaviour: testrig.HalfClosed})
	s.Run([]testrig.Target{sink})
	s.Load(2, testrig.SteadyLoad())
	s.Flow(sink, 12_000)
	s.EndLoad()
	s.Finish(testrig.None)
	// Four, and at most one look each at whether a fresh connection fares better.
	if n := sink.Accepted(); n > 8 {
		t.Errorf("%d connections in three seconds: a reconnect loop", n)
	}
}

// A proxy between linesplit and a receiver acknowledges for itself. What that costs is measured here, not bounded: what
// lies in the proxy when the receiver dies is beyond what TCP tells.
func TestProxyInBetweenMeasured(t *testing.T) {
	testrig.TakesLong(t)
	haproxy := testrig.FindHAProxy(t)
	t.Parallel()
	loss := func(query string) (lost int) {
		s := testrig.NewStage(t)
		a, b := s.TwoSinks()
		proxies := testrig.StartHAProxy(t, haproxy, a.Addr(), b.Addr())
		s.Run([]testrig.Target{testrig.Place(proxies[0] + query), testrig.Place(proxies[1] + query)})
		s.Load(2, testrig.SteadyLoad())
		s.InTurn(4, s.Sinks, func(sink *testrig.Sink) { sink.Crash(50 * time.Millisecond) })
		s.EndLoad()
		s.Ledger()
		m := s.P.Metrics()
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
	a, b := s.TwoSinks()
	s.Run([]testrig.Target{a, b}, "-failback-interval", interval.String())
	s.Load(2, testrig.SteadyLoad())
	s.Flow(a, 400)
	testrig.Orderly(a)
	testrig.WaitFor(t, "all workers are at the other target", func() bool { return b.Open() == 8 })
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
	testrig.WaitFor(t, "the workers are home", func() bool { return a.Open() == 4 && b.Open() == 4 })
	t.Logf("home %v after the target's return, with an interval of %v", time.Since(began).Round(time.Millisecond), interval)
	s.Flow(a, 400)
	s.Metric(4, "linesplit_target_failbacks_total")
	s.EndLoad()
	s.Finish(testrig.None)
}
