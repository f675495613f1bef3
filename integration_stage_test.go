//go:build linux

package main_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
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

// fastRate is where rates begin that take most of a small machine: such tests run one at a time.
const fastRate = 20_000

var fastLane = make(chan struct{}, 1)

// target is where a linesplit sends to: a sink, a child process, another linesplit or a proxy.
type target interface{ Target() string }

// place is host:port, with a target's query if there is one.
type place string

// newPlace returns a free one where a program of the test can listen, go, and listen again.
func newPlace(t *testing.T) place {
	t.Helper()
	ln, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return place(ln.Addr().String())
}

// Target is the place as -target and -listen take it.
func (p place) Target() string { return "tcp://" + string(p) }

// flags are the same for -addr and -port.
func (p place) flags() []string {
	host, port, _ := net.SplitHostPort(string(p))
	return []string{"-addr", host, "-port", port}
}

// taken says whether something listens there.
func (p place) taken() bool {
	conn, err := net.Dial("tcp", string(p))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// stage is one test's cast: a tally, targets, senders and a linesplit between them.
type stage struct {
	*testing.T
	tally   *testrig.Tally
	sinks   []*testrig.Sink
	p       *testrig.Process
	base    usage
	nextID  int
	senders []*testrig.Sender // running
	sent    testrig.Sent      // by those that have ended, and by hand
	others  int               // lines that linesplit receives and that are not numbered, or do not arrive on purpose
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, tally: testrig.NewTally(), sent: make(testrig.Sent)}
	t.Cleanup(func() {
		if t.Failed() && s.p != nil {
			t.Logf("last lines of linesplit:\n%s", s.p.Tail(30))
		}
	})
	return s
}

// sink starts a target.
func (s *stage) sink(o testrig.SinkOptions) *testrig.Sink {
	s.Helper()
	sink := testrig.NewSink(s.T, s.tally, o)
	s.sinks = append(s.sinks, sink)
	return sink
}

// twoSinks starts two plain targets.
func (s *stage) twoSinks() (a, b *testrig.Sink) {
	return s.sink(testrig.SinkOptions{}), s.sink(testrig.SinkOptions{})
}

// run starts the linesplit under test before the targets, on a plain TCP port unless args have a -listen, and waits
// until its workers are connected.
func (s *stage) run(targets []target, args ...string) {
	s.Helper()
	s.p = s.start(targets, args...)
	s.base = settledUsage(s.T, s.p, connections(args)*len(targets))
}

// start starts a linesplit.
func (s *stage) start(targets []target, args ...string) *testrig.Process {
	s.Helper()
	return testrig.StartProcess(s.T, processOptions(targets, args...))
}

func processOptions(targets []target, args ...string) testrig.ProcessOptions {
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
	return testrig.ProcessOptions{Binary: binary, Args: args, Listeners: listeners}
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

// load starts senders to the first listener.
func (s *stage) load(n int, o testrig.SenderOptions) {
	s.Helper()
	if o.Rate >= fastRate {
		fastLane <- struct{}{}
		s.Cleanup(func() { <-fastLane })
	}
	for range n {
		s.sender(o)
	}
}

// sender starts one sender, to the first listener unless the options name another.
func (s *stage) sender(o testrig.SenderOptions) *testrig.Sender {
	s.Helper()
	o.ID = s.id()
	if o.Addr == "" {
		o.Addr = s.p.Listeners[0]
	}
	sender := testrig.StartSender(s.T, o)
	s.senders = append(s.senders, sender)
	return sender
}

// id is a sender number that nobody has yet.
func (s *stage) id() int {
	s.nextID++
	return s.nextID
}

// steady are the options of a sender that writes until it is stopped, at a rate that leaves a machine idle.
func steady() testrig.SenderOptions { return testrig.SenderOptions{Rate: 2_000} }

// endLoad lets the running senders finish what they are writing, and close. None of them may have met an error.
func (s *stage) endLoad() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Stop(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
		s.sent[sender.ID()] += sender.Sent()
	}
	s.senders = nil
}

// waitLoad is endLoad for senders that have a number of lines to write.
func (s *stage) waitLoad() {
	s.Helper()
	for _, sender := range s.senders {
		if err := sender.Wait(); err != nil {
			s.Errorf("linesplit broke a sender's connection: %v", err)
		}
	}
	s.endLoad()
}

// flow waits until a target has read n more lines.
func (s *stage) flow(to interface{ Lines() int }, n int) {
	s.Helper()
	enough := to.Lines() + n
	if testrig.Poll(testrig.Patience, func() bool { return to.Lines() >= enough }) {
		return
	}
	m, _ := s.p.Scrape() // without it there is still something to tell
	s.Fatalf("waited %v in vain for %d lines to reach the target, which has %d of %d\n%s\n%s", testrig.Patience, n, to.Lines(), enough, m.Dump(), s.p.Goroutines())
}

// inTurn ends one target after the other, while traffic reaches it, and brings it back a moment later.
func (s *stage) inTurn(rounds int, sinks []*testrig.Sink, end func(*testrig.Sink)) {
	s.Helper()
	for i := range rounds {
		sink := sinks[i%len(sinks)]
		s.flow(sink, 400)
		end(sink)
		time.Sleep(100 * time.Millisecond)
		sink.Listen()
	}
	s.flow(s.tally, 400)
}

// dial connects to the first listener, for what no sender does.
func (s *stage) dial() *net.TCPConn {
	s.Helper()
	conn, err := net.Dial("tcp", s.p.Listeners[0])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// write writes to a connection that takes everything.
func (s *stage) write(conn net.Conn, b []byte) {
	s.Helper()
	if _, err := conn.Write(b); err != nil {
		s.Errorf("linesplit broke a sender's connection: %v", err)
	}
}

// numbered returns n lines of a new sender, and counts them as sent.
func (s *stage) numbered(n, size int) []byte {
	id := s.id()
	s.sent[id] = n
	var b []byte
	for seq := range n {
		b = testrig.AppendLine(b, id, seq, size)
	}
	return b
}

// metric waits until a series, or the sum of several, has reached a value.
func (s *stage) metric(atLeast float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v reaches %v", name, labels, atLeast)
	testrig.WaitFor(s.T, what, func() bool { return s.p.Metrics().Sum(name, labels...) >= atLeast })
}

// heldBack waits until linesplit has stopped reading from its senders.
func (s *stage) heldBack() {
	s.Helper()
	last, since := -1.0, time.Now()
	testrig.WaitFor(s.T, "senders are held back", func() bool {
		now := s.p.Metrics().Sum("linesplit_received_bytes_total")
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// confirmed waits until windows and channel are empty: nothing more would be sent again.
func (s *stage) confirmed() {
	s.Helper()
	testrig.WaitFor(s.T, "everything is confirmed", func() bool {
		l := s.p.Metrics().Ledger("lines")
		return l.Received > 0 && l.Retained == 0 && l.Queued == 0
	})
}

// crowd opens many connections.
func (s *stage) crowd(n int) []*net.TCPConn {
	s.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = s.dial()
	}
	return conns
}

// arrivedBy waits for all lines of one sender.
func (s *stage) arrivedBy(id int) {
	s.Helper()
	testrig.WaitFor(s.T, "a sender's lines arrive", func() bool { return s.tally.HasAll(testrig.Sent{id: s.sent[id]}) })
}

// clientTLS and serverTLS are the senders' and the receivers' sides. Receivers send session tickets, as most do.
func clientTLS() *tls.Config { return certs.ClientTLS() }

func serverTLS(version uint16) *tls.Config {
	c := certs.ServerTLS()
	c.SessionTicketsDisabled = false
	c.MinVersion, c.MaxVersion = version, version
	return c
}

// Flags for either side.
func inboundTLS() []string {
	return []string{"-listen", "tls://127.0.0.1:0", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}
}

func outboundTLS() []string {
	return []string{"-tls-target-ca", certs.CA, "-tls-target-server-name", "localhost"}
}

// homeSoon is for tests that wait for lines at a target which is back: with all workers gone to another it gets none until they
// think of home.
var homeSoon = []string{"-failback-interval", "1s"}

// smallBuffer is a receive buffer that a stalled receiver has full at once.
const smallBuffer = 64 << 10

var tlsVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func outboundFor(o testrig.SinkOptions) []string {
	if o.TLS == nil {
		return nil
	}
	return outboundTLS()
}

// descriptors is how many a process has open.
func descriptors(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}
