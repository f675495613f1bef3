//go:build linux

package testrig

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

// fastRate is the lowest rate of a sender, in lines per second, that takes most of a small machine.
const fastRate = 20_000

// Target is where a linesplit sends to: a sink, a child process, another linesplit or a proxy.
type Target interface{ Target() string }

// Place is host:port, with a target's query if there is one.
type Place string

// NewPlace returns a free one where a program of the test can listen, go, and listen again.
func NewPlace(t *testing.T) Place {
	t.Helper()
	ln, err := ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return Place(ln.Addr().String())
}

// Target is the place as -target and -listen take it.
func (p Place) Target() string { return "tcp://" + string(p) }

// Flags are the same for -addr and -port.
func (p Place) Flags() []string {
	host, port, _ := net.SplitHostPort(string(p))
	return []string{"-addr", host, "-port", port}
}

// Taken says whether something listens there.
func (p Place) Taken() bool {
	conn, err := net.Dial("tcp", string(p))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// Stage is one test's cast: a tally, targets, senders and a linesplit between them.
type Stage struct {
	*testing.T
	Tally   *Tally
	Sinks   []*Sink
	P       *Process
	Base    Usage
	NextID  uint32
	senders []*Sender // running
	Sent    Sent      // by those that have ended, and by hand
	Others  int       // lines that linesplit receives and that are not numbered, or do not arrive on purpose
}

func NewStage(t *testing.T) *Stage { return newStage(t, NewTally()) }

// NewForeignStage returns a stage whose tally also keeps lines that are not numbered records.
func NewForeignStage(t *testing.T) *Stage { return newStage(t, NewForeignTally()) }

func newStage(t *testing.T, tally *Tally) *Stage {
	s := &Stage{T: t, Tally: tally, Sent: make(Sent)}
	t.Cleanup(func() {
		if t.Failed() && s.P != nil {
			t.Logf("last lines of linesplit:\n%s", s.P.Tail(30))
		}
	})
	return s
}

// Sink starts a target.
func (s *Stage) Sink(o SinkOptions) *Sink {
	s.Helper()
	sink := NewSink(s.T, s.Tally, o)
	s.Sinks = append(s.Sinks, sink)
	return sink
}

// TwoSinks starts two plain targets.
func (s *Stage) TwoSinks() (a, b *Sink) {
	return s.Sink(SinkOptions{}), s.Sink(SinkOptions{})
}

// Run starts the linesplit under test before the targets, on a plain TCP port unless args have a -listen, and waits
// until its workers are connected.
func (s *Stage) Run(targets []Target, args ...string) {
	s.Helper()
	s.P = s.Start(targets, args...)
	s.Base = SettledUsage(s.T, s.P, connections(args)*len(targets))
}

// Start starts a linesplit.
func (s *Stage) Start(targets []Target, args ...string) *Process {
	s.Helper()
	return StartProcess(s.T, NewProcessOptions(targets, args...))
}

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

// connections is the value of -connections.
func connections(args []string) int {
	n := 4
	for i, arg := range args[:max(0, len(args)-1)] {
		if arg == "-connections" {
			fmt.Sscan(args[i+1], &n)
		}
	}
	return n
}

// Load starts senders to the first listener.
func (s *Stage) Load(n int, o SenderOptions) {
	s.Helper()
	if unlimited := o.Rate == 0 && o.Lines == 0; unlimited || o.Rate >= fastRate {
		TakeFastLane(s.T)
	}
	for range n {
		s.Sender(o)
	}
}

// Sender starts one sender, to the first listener unless the options name another.
func (s *Stage) Sender(o SenderOptions) *Sender {
	s.Helper()
	o.ID = s.id()
	if o.Addr == "" {
		o.Addr = s.P.Listeners[0]
	}
	sender := StartSender(s.T, o)
	s.senders = append(s.senders, sender)
	return sender
}

// id is a sender number that nobody has yet.
func (s *Stage) id() uint32 {
	s.NextID++
	return s.NextID
}

// SteadyLoad are the options of a sender that writes until it is stopped, at a rate that leaves a machine idle.
func SteadyLoad() SenderOptions { return SenderOptions{Rate: 2_000} }

// EndLoad lets the running senders finish what they are writing, and close. None of them may have met an error.
func (s *Stage) EndLoad() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Stop(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
		s.Sent[sender.ID()] += uint64(sender.Sent())
	}
	s.senders = nil
}

// WaitLoad is endLoad for senders that have a number of lines to write.
func (s *Stage) WaitLoad() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Wait(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
	}
	s.EndLoad()
}

// Flow waits until a target has read n more lines.
func (s *Stage) Flow(to interface{ Lines() int }, n int) {
	s.Helper()
	enough := to.Lines() + n
	if Poll(Patience, func() bool { return to.Lines() >= enough }) {
		return
	}
	m, _ := s.P.Scrape() // without it there is still something to tell
	s.Fatalf("waited %v in vain for %d lines to reach the target, which has %d of %d\n%s\n%s", Patience, n, to.Lines(), enough, m.Dump(), s.P.Goroutines())
}

// InTurn ends one target after the other, while traffic reaches it, and brings it back a moment later.
func (s *Stage) InTurn(rounds int, sinks []*Sink, end func(*Sink)) {
	s.Helper()
	for i := range rounds {
		sink := sinks[i%len(sinks)]
		s.Flow(sink, 400)
		end(sink)
		time.Sleep(100 * time.Millisecond)
		sink.Listen()
	}
	s.Flow(s.Tally, 400)
}

// Dial connects to the first listener, for what no sender does.
func (s *Stage) Dial() *net.TCPConn {
	s.Helper()
	conn, err := net.Dial("tcp", s.P.Listeners[0])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// Write writes to a connection that takes everything.
func (s *Stage) Write(conn net.Conn, b []byte) {
	s.Helper()
	if _, err := conn.Write(b); err != nil {
		s.Errorf("linesplit broke a sender's connection: %v", err)
	}
}

// Numbered returns n lines of a new sender, and counts them as sent.
func (s *Stage) Numbered(n, size int) []byte {
	id := s.id()
	s.Sent[id] = uint64(n)
	return Records(id, n, size)
}

// Metric waits until a series, or the sum of several, has reached a value.
func (s *Stage) Metric(atLeast float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v reaches %v", name, labels, atLeast)
	WaitFor(s.T, what, func() bool { return s.P.Metrics().Sum(name, labels...) >= atLeast })
}

// HeldBack waits until linesplit has stopped reading from its senders.
func (s *Stage) HeldBack() {
	s.Helper()
	last, since := -1.0, time.Now()
	WaitFor(s.T, "senders are held back", func() bool {
		now := s.P.Metrics().Sum("linesplit_received_bytes_total")
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// Confirmed waits until windows and channel are empty: nothing more would be sent again.
func (s *Stage) Confirmed() {
	s.Helper()
	WaitFor(s.T, "everything is confirmed", func() bool {
		l := s.P.Metrics().Ledger("lines")
		return l.Received > 0 && l.Retained == 0 && l.Queued == 0
	})
}

// Crowd opens many connections.
func (s *Stage) Crowd(n int) []*net.TCPConn {
	s.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = s.Dial()
	}
	return conns
}

// ArrivedBy waits for all lines of one sender.
func (s *Stage) ArrivedBy(id uint32) {
	s.Helper()
	WaitFor(s.T, "a sender's lines arrive", func() bool { return s.Tally.HasAll(Sent{id: s.Sent[id]}) })
}

// ClientTLS and serverTLS are the senders' and the receivers' sides. Receivers send session tickets, as most do.
func ClientTLS() *tls.Config { return Certs.ClientTLS() }

func ServerTLS(version uint16) *tls.Config {
	c := Certs.ServerTLS()
	c.SessionTicketsDisabled = false
	c.MinVersion, c.MaxVersion = version, version
	return c
}

// Flags for either side.
func InboundTLS() []string {
	return []string{"-listen", "tls://127.0.0.1:0", "-tls-cert", Certs.ServerCert, "-tls-key", Certs.ServerKey}
}

func OutboundTLS() []string {
	return []string{"-tls-target-ca", Certs.CA, "-tls-target-server-name", "localhost"}
}

// HomeSoon is for tests that wait for lines at a target which is back: with all workers gone to another it gets none until they
// think of home.
var HomeSoon = []string{"-failback-interval", "1s"}

// SmallBuffer is a receive buffer that a stalled receiver has full at once.
const SmallBuffer = 64 << 10

var TLSVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func OutboundFor(o SinkOptions) []string {
	if o.TLS == nil {
		return nil
	}
	return OutboundTLS()
}

// Descriptors is how many a process has open.
func Descriptors(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

// Orderly ends a target in order, once its connections are old enough that their FIN is not taken for a half-closer's.
func Orderly(sink *Sink) {
	time.Sleep(PastHalfCloser)
	sink.Shutdown()
}

// PastHalfCloser is how old a connection must be for its FIN to mean that the target wants to go.
const PastHalfCloser = 1200 * time.Millisecond
