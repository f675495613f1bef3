//go:build linux

package e2e

import (
	"crypto/tls"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// One linesplit sends to another one, which is upgraded. The second one need not wait for its drain
// timeout, because the first one answers its FIN.
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
		// Senders are cut off after half of the timeout.
		if took := time.Since(began); took > drain/4 {
			t.Errorf("the inner linesplit took %v to end, with a drain timeout of %v\n%s", took, drain,
				down.LastLines(30))
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

// Targets whose kernel runs short of memory offer narrow windows from then on, however fast they
// read. Linesplit must not take the missing room for unread lines, whose number is limited.
func TestWindowsThatNarrowForGoodDelayNothing(t *testing.T) {
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

// A target restarts long after it has read everything: however its connections end, nothing is sent
// again.
func TestIdleTargetThatResetsGetsNothingAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		sink   testrig.SinkOptions
		sender testrig.SenderOptions
	}{
		{"after a flood", testrig.SinkOptions{}, testrig.SenderOptions{Lines: 20_000}},
		{"after a steady flow", testrig.SinkOptions{}, testrig.SenderOptions{Lines: 4_000, Rate: 2_000}},
		{"after bursts", testrig.SinkOptions{Behaviour: testrig.Bursts}, testrig.SenderOptions{Lines: 4_000,
			Rate: 2_000}},
		{"TLS", testrig.SinkOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}, testrig.SenderOptions{Lines: 4_000,
			Rate: 2_000}},
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
				t.Errorf("all lines were confirmed %v after the last one was read, with a resend age of 2s", took)
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

// `ncat -l` and `nc -N` with nothing to send: FIN at once, and then they read on.
func TestHalfClosingTargetIsServedNormally(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{Behaviour: testrig.HalfClosed})
	s.StartLineMode([]testrig.Target{sink})
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(sink, 12_000)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
	// Four connections, and at most one attempt for each to get one without FIN.
	if n := sink.Accepted(); n > 8 {
		t.Errorf("%d connections in three seconds: a reconnect loop", n)
	}
}

// A proxy between linesplit and a target acknowledges lines itself. How many are lost when the
// target dies is measured here and not limited, because TCP does not tell what is in the proxy.
func TestLossBehindAProxyIsMeasured(t *testing.T) {
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
			testrig.WaitFor(t, "the proxy has delivered everything", func() bool { return sink.Open() == 0 })
		}
		r := s.Tally.Report(s.Sent)
		t.Logf("behind HAProxy, %q: four crashes: %s, counted as resent %.0f", query, r,
			m.Sum("linesplit_resent_lines_total"))
		if r.Corrupt+r.NeverSent > 0 {
			t.Errorf("lines that were never sent:\n%s", r.Details())
		}
		return int(r.Lost)
	}
	plain, aware := loss(""), loss("?via-proxy=true")
	if aware > plain+200 {
		t.Errorf("lost %d lines without via-proxy and %d with it", plain, aware)
	}
}

// A target comes back: its workers go home within seconds, with and without checks, and no line is
// lost or sent twice. They stayed away until the next failback interval, of five minutes.
func TestWorkersGoHomeWithoutAPause(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"probes": nil, "checks": {"-health", "tcp", "-failback-probe", "1h"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			workersGoHome(t, args)
		})
	}
}

func workersGoHome(t *testing.T, args []string) {
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, args...)
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(a, 400)
	testrig.ShutdownInOrder(a)
	testrig.WaitFor(t, "all workers are connected to the other target", func() bool { return b.Open() == 8 })
	moved := b.Accepted()
	for range 3 { // attempts to go home fail, and cost nothing
		time.Sleep(time.Second)
		s.WaitForLines(b, 400)
	}
	if n := b.Accepted() - moved; len(args) == 0 && n > 0 { // a check is a connection too
		t.Errorf("%d more connections while home was down", n)
	}
	a.Listen()
	began := time.Now()
	testrig.WaitFor(t, "the workers are home", func() bool { return a.Open() == 4 && b.Open() == 4 })
	t.Logf("home %v after the target's return", time.Since(began).Round(time.Millisecond))
	s.WaitForLines(a, 400)
	s.WaitForMetric(4, "linesplit_target_failbacks_total")
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}
