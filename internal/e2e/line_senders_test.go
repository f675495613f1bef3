//go:build linux

package e2e

import (
	"testing"

	"linesplit/internal/testrig"
)

// A TLS sender that never reads resets the connection at its close if anything was written to it, and what it had in
// flight is gone.
func TestTLSSenderThatOnlyWritesLosesNothing(t *testing.T) {
	t.Parallel()
	for name, version := range testrig.TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.TwoSinks()
			s.Run([]testrig.Target{a, b}, testrig.InboundTLS()...)
			config := testrig.ClientTLS()
			config.MinVersion, config.MaxVersion = version, version
			s.Load(4, testrig.SenderOptions{TLS: config, Lines: 20_000})
			s.WaitLoad()
			s.Finish(testrig.None)
		})
	}
}

// Five thousand agents that say something once an hour.
func TestIdleConnectionsAreCarried(t *testing.T) {
	t.Parallel()
	const idle = 5_000
	s := testrig.NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]testrig.Target{a, b})
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
	s.Finish(testrig.None)
}

// An operator forgot `ulimit -n`: accept fails until somebody goes.
func TestDescriptorsUsedUpAndFreedAgain(t *testing.T) {
	t.Parallel()
	const files = 64
	s := testrig.NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	o := testrig.NewProcessOptions([]testrig.Target{sink}, "-max-connections", "1000")
	o.Files = files
	s.P = testrig.StartProcess(t, o)
	s.Base = testrig.SettledUsage(t, s.P, 4)
	s.Load(1, testrig.SteadyLoad())
	s.Flow(sink, 400)
	conns := s.Crowd(2 * files)
	testrig.WaitFor(t, "the descriptors are used up", func() bool { return testrig.Descriptors(s.P.PID()) >= files })
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
	s.Finish(testrig.None)
}

// Scanners and misconfigured agents knock at a TLS port in plain text.
func TestPlainTextOnATLSListenerHarmsNobody(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.TwoSinks()
	s.Run([]testrig.Target{a, b}, testrig.InboundTLS()...)
	s.Load(2, testrig.SenderOptions{Rate: 2_000, TLS: testrig.ClientTLS()})
	for range 20 {
		conn := s.Dial()
		conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		conn.Close()
	}
	s.Metric(20, "linesplit_tls_handshake_errors_total")
	s.Flow(s.Tally, 400)
	s.EndLoad()
	s.Finish(testrig.None)
}
