//go:build linux

package testrig

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"os"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
)

// fastRate is the lowest rate of a sender, in lines per second, that takes most of a small machine.
const fastRate = 20_000

// Target is a program that a linesplit sends to: a sink, a server, a child process, another
// linesplit or a proxy. Its method returns its address as the -target flag takes it.
type Target interface{ Target() string }

// HostPort is host:port, followed by a target's options if there are any.
type HostPort string

// FreeHostPort returns a free address where a program of the test can listen, end, and listen
// again.
func FreeHostPort(t *testing.T) HostPort {
	t.Helper()
	ln, err := ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer sink.CloseListener(ln)
	return HostPort(ln.Addr().String())
}

// Target returns the address as -target and -listen take it.
func (p HostPort) Target() string { return "tcp://" + string(p) }

// Flags returns the address as the flags -addr and -port.
func (p HostPort) Flags() []string {
	host, port, _ := net.SplitHostPort(string(p))
	return []string{"-addr", host, "-port", port}
}

// Listening reports whether a program listens there.
func (p HostPort) Listening() bool {
	conn, err := net.Dial("tcp", string(p))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// Stage holds what one test runs: targets with their tally, senders, and a linesplit between them.
type Stage struct {
	*testing.T
	Tally    *Tally
	Sinks    []*Sink  // that StartSink has started
	Process  *Process // the linesplit under test
	Baseline Usage    // of that process before any client connects
	LastID   uint32   // highest number of a sender so far
	senders  []*Sender
	Sent     Sent // by senders that have ended, and by the test itself

	// OtherLines counts lines that linesplit receives but that are not numbered records, or are
	// not meant to arrive.
	OtherLines int
}

// NewStage returns a stage whose tally expects numbered records only.
func NewStage(t *testing.T) *Stage { return newStage(t, NewTally()) }

// NewForeignStage returns a stage whose tally also keeps lines that are not numbered records.
func NewForeignStage(t *testing.T) *Stage { return newStage(t, NewForeignTally()) }

func newStage(t *testing.T, tally *Tally) *Stage {
	s := &Stage{T: t, Tally: tally, Sent: make(Sent)}
	t.Cleanup(func() {
		if t.Failed() && s.Process != nil {
			t.Logf("last lines of linesplit:\n%s", s.Process.LastLines(30))
		}
	})
	return s
}

// StartSink starts a target for lines.
func (s *Stage) StartSink(o SinkOptions) *Sink {
	s.Helper()
	sink := NewSink(s.T, s.Tally, o)
	s.Sinks = append(s.Sinks, sink)
	return sink
}

// StartTwoSinks starts two plain targets for lines.
func (s *Stage) StartTwoSinks() (a, b *Sink) {
	return s.StartSink(SinkOptions{}), s.StartSink(SinkOptions{})
}

// StartLineMode starts the linesplit under test in line mode, and waits until its workers are
// connected to the targets. It listens on a plain TCP port unless args have a -listen.
func (s *Stage) StartLineMode(targets []Target, args ...string) {
	s.Helper()
	s.Process = s.StartLinesplit(targets, args...)
	s.Baseline = WaitForUsage(s.T, s.Process, connections(args)*len(targets))
}

// StartLinesplit starts a linesplit that need not be the one under test.
func (s *Stage) StartLinesplit(targets []Target, args ...string) *Process {
	s.Helper()
	return StartProcess(s.T, NewProcessOptions(targets, args...))
}

// NewProcessOptions returns the options of a linesplit with these targets and an admin listener.
// It listens on a plain TCP port unless args have a -listen.
func NewProcessOptions(targets []Target, args ...string) ProcessOptions {
	listeners := 0
	for _, arg := range args {
		if arg == "-listen" {
			listeners++
		}
	}
	if listeners == 0 {
		listeners = 1
		args = append([]string{"-listen", "tcp://127.0.0.1:0"}, args...)
	}
	args = append(args, "-admin", "127.0.0.1:0")
	for _, t := range targets {
		args = append(args, "-target", t.Target())
	}
	return ProcessOptions{Args: args, Listeners: listeners}
}

// connections returns the value of -connections in args.
func connections(args []string) int {
	n := 4
	for i, arg := range args[:max(0, len(args)-1)] {
		if arg == "-connections" {
			fmt.Sscan(args[i+1], &n)
		}
	}
	return n
}

// StartSenders starts n senders. If they are fast, it waits for the fast lane first.
func (s *Stage) StartSenders(n int, o SenderOptions) {
	s.Helper()
	if unlimited := o.Rate == 0 && o.Lines == 0; unlimited || o.Rate >= fastRate {
		TakeFastLane(s.T)
	}
	for range n {
		s.StartSender(o)
	}
}

// StartSender starts one sender, with the next number. It sends to the first listener unless the
// options name another.
func (s *Stage) StartSender(o SenderOptions) *Sender {
	s.Helper()
	o.ID = s.nextID()
	if o.Addr == "" {
		o.Addr = s.Process.Listeners[0]
	}
	sender := StartSender(s.T, o)
	s.senders = append(s.senders, sender)
	return sender
}

// nextID returns the number of a new sender.
func (s *Stage) nextID() uint32 {
	s.LastID++
	return s.LastID
}

// SteadySender returns the options of a sender that writes until it is stopped, at a rate that
// leaves the machine mostly idle.
func SteadySender() SenderOptions { return SenderOptions{Rate: 2_000} }

// StopSenders lets the senders complete what they are writing and close, and counts what they have
// sent. A sender that met an error fails the test.
func (s *Stage) StopSenders() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Stop(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
		s.Sent[sender.ID()] += uint64(sender.Sent())
	}
	s.senders = nil
}

// SentSoFar returns how many lines have been sent at least, by senders that still write, too.
func (s *Stage) SentSoFar() Sent {
	sent := maps.Clone(s.Sent)
	for _, sender := range s.senders {
		sent[sender.ID()] = uint64(sender.Sent())
	}
	return sent
}

// WaitForSenders waits until the senders have written all their lines, and does what StopSenders
// does.
func (s *Stage) WaitForSenders() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Wait(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
	}
	s.StopSenders()
}

// WaitForLines waits until a target, or all targets of a tally, have read n more lines.
func (s *Stage) WaitForLines(to interface{ Lines() int }, n int) {
	s.Helper()
	enough := to.Lines() + n
	if Poll(Patience, func() bool { return to.Lines() >= enough }) {
		return
	}
	m, _ := s.Process.Scrape() // without metrics, the rest is still worth reporting
	s.Fatalf("timed out after %v waiting for %d lines to reach the target, which has %d of %d\n%s\n%s", Patience, n,
		to.Lines(), enough, m.Dump(), s.Process.DumpGoroutines())
}

// RestartInTurn ends one target after the other while lines reach it, and lets it listen again
// 100 ms later.
func (s *Stage) RestartInTurn(rounds int, sinks []*Sink, end func(*Sink)) {
	s.Helper()
	for i := range rounds {
		sink := sinks[i%len(sinks)]
		s.WaitForLines(sink, 400)
		end(sink)
		time.Sleep(100 * time.Millisecond)
		sink.Listen()
	}
	s.WaitForLines(s.Tally, 400)
}

// Dial connects to the first listener, without a deadline. The connection is closed when the test
// ends.
func (s *Stage) Dial() *net.TCPConn {
	s.Helper()
	conn, err := net.Dial("tcp", s.Process.Listeners[0])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// DialMany opens n connections as Dial does.
func (s *Stage) DialMany(n int) []*net.TCPConn {
	s.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = s.Dial()
	}
	return conns
}

// Write writes to a connection that must accept everything.
func (s *Stage) Write(conn net.Conn, b []byte) {
	s.Helper()
	if _, err := conn.Write(b); err != nil {
		s.Errorf("linesplit broke a sender's connection: %v", err)
	}
}

// NumberedLines returns n lines of size bytes each, as of a new sender, and counts them as sent.
func (s *Stage) NumberedLines(n, size int) []byte {
	id := s.nextID()
	s.Sent[id] = uint64(n)
	return Records(id, n, size)
}

// WaitForMetric waits until a series, or the sum of several, has reached a value.
func (s *Stage) WaitForMetric(atLeast float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v reaches %v", name, labels, atLeast)
	WaitFor(s.T, what, func() bool { return s.Process.Metrics().Sum(name, labels...) >= atLeast })
}

// WaitUntilSendersBlock waits until linesplit has read nothing from its senders for half a second.
func (s *Stage) WaitUntilSendersBlock() {
	s.Helper()
	last, since := -1.0, time.Now()
	WaitFor(s.T, "senders block", func() bool {
		now := s.Process.Metrics().Sum("linesplit_received_bytes_total")
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// WaitUntilConfirmed waits until linesplit holds no line that it might send again.
func (s *Stage) WaitUntilConfirmed() {
	s.Helper()
	WaitFor(s.T, "all lines are confirmed", func() bool {
		l := s.Process.Metrics().Ledger("lines")
		return l.Received > 0 && l.Retained == 0 && l.Queued == 0
	})
}

// WaitForSenderLines waits until all lines of one sender have arrived.
func (s *Stage) WaitForSenderLines(id uint32) {
	s.Helper()
	WaitFor(s.T, "all lines of a sender arrive", func() bool { return s.Tally.HasAll(Sent{id: s.Sent[id]}) })
}

// ClientTLS returns the configuration of senders and clients.
func ClientTLS() *tls.Config { return Certs.ClientTLS() }

// ServerTLS returns the configuration of targets with one version of TLS. They send session
// tickets, as most servers do.
func ServerTLS(version uint16) *tls.Config {
	c := Certs.ServerTLS()
	c.SessionTicketsDisabled = false
	c.MinVersion, c.MaxVersion = version, version
	return c
}

// TLSVersions are the versions that linesplit supports.
var TLSVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} // read-only

// TLSListenerArgs returns the arguments for a listener with TLS.
func TLSListenerArgs() []string {
	return []string{"-listen", "tls://127.0.0.1:0", "-tls-cert", Certs.ServerCert, "-tls-key", Certs.ServerKey}
}

// TLSTargetArgs returns the arguments for targets with TLS.
func TLSTargetArgs() []string {
	return []string{"-tls-target-ca", Certs.CA, "-tls-target-server-name", "localhost"}
}

// TargetArgs returns the arguments for a sink with the given options.
func TargetArgs(o SinkOptions) []string {
	if o.TLS == nil {
		return nil
	}
	return TLSTargetArgs()
}

// FastFailbackArgs are for tests that wait for lines at a target that has come back. If all workers
// have moved to another target, it gets none before the first failback.
var FastFailbackArgs = []string{"-failback-interval", "1s"} // read-only

// SmallBuffer is the size in bytes of a receive buffer that a stalled target fills at once.
const SmallBuffer = 64 << 10

// OpenDescriptors returns how many descriptors a process has open.
func OpenDescriptors(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

// FINAge is the least age of a connection whose FIN means that the target shuts down. The FIN of a
// younger one marks a target that half-closes at once and reads on.
const FINAge = 1200 * time.Millisecond

// ShutdownInOrder ends a target with FIN, once its connections are older than FINAge.
func ShutdownInOrder(sink *Sink) {
	time.Sleep(FINAge)
	sink.Shutdown()
}
