//go:build linux

package e2e

import (
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// When a TLS sender that never reads closes, its kernel resets the connection if anything was
// written to it, and its data in flight is lost. So linesplit must not write to senders.
func TestTLSSenderThatOnlyWritesLosesNothing(t *testing.T) {
	t.Parallel()
	for name, version := range testrig.TLSVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b}, testrig.TLSListenerArgs()...)
			config := testrig.ClientTLS()
			config.MinVersion, config.MaxVersion = version, version
			s.StartSenders(4, testrig.SenderOptions{TLS: config, Lines: 20_000})
			s.WaitForSenders()
			s.FinishLineMode(testrig.NoDuplicates)
		})
	}
}

// 5,000 senders that send something once an hour.
func TestIdleSendersAreServed(t *testing.T) {
	t.Parallel()
	const idle = 5_000
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b})
	conns := s.DialMany(idle)
	s.WaitForMetric(idle, "linesplit_connections")
	s.StartSenders(2, testrig.SenderOptions{Lines: 5_000})
	s.WaitForSenders()
	for _, conn := range conns {
		s.Write(conn, s.NumberedLines(1, 150))
	}
	s.WaitForAllLines()
	t.Logf("%d idle connections: %d KiB of anonymous memory", idle, s.Process.Memory("RssAnon")>>10)
	for _, conn := range conns {
		conn.Close()
	}
	s.FinishLineMode(testrig.NoDuplicates)
}

// The descriptor limit of a running process is lowered: accept fails until a sender disconnects.
// The target does not count as down, although nothing can be dialled meanwhile.
func TestSendersAreServedAfterDescriptorsWereUsedUp(t *testing.T) {
	t.Parallel()
	const files = 64
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.Process = testrig.StartProcess(t, testrig.NewProcessOptions([]testrig.Target{sink}, "-max-connections", "500"))
	if err := unix.Prlimit(s.Process.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}, nil); err != nil {
		t.Fatal(err)
	}
	s.Baseline = testrig.WaitForUsage(t, s.Process, 4)
	s.StartSenders(1, testrig.SteadySender())
	s.WaitForLines(sink, 400)
	conns := s.DialMany(2 * files)
	testrig.WaitFor(t, "the descriptors are used up",
		func() bool { return testrig.OpenDescriptors(s.Process.PID()) >= files })
	s.WaitForLines(sink, 2_000) // connected senders are served
	for _, conn := range conns {
		conn.Close()
	}
	late := s.StartSender(testrig.SenderOptions{Lines: 1_000}) // so are new ones
	late.Wait()
	s.StopSenders()
	if m := s.Process.Metrics(); m.Sum("linesplit_accept_errors_total") == 0 {
		t.Errorf("no accept errors counted:\n%s", m.Dump())
	}
	s.FinishLineMode(testrig.NoDuplicates)
}

// Scanners and misconfigured senders send plain text to a TLS listener.
func TestPlainTextOnATLSListenerHarmsNoOtherSender(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, testrig.TLSListenerArgs()...)
	s.StartSenders(2, testrig.SenderOptions{Rate: 2_000, TLS: testrig.ClientTLS()})
	for range 20 {
		conn := s.Dial()
		conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		conn.Close()
	}
	s.WaitForMetric(20, "linesplit_tls_handshake_errors_total")
	s.WaitForLines(s.Tally, 400)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}
