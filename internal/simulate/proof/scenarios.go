package proof

import (
	"bytes"
	"net"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
	"linesplit/internal/simulate/sink"
)

// scenario is one fault, or one kind of load, and what is looked at.
type scenario struct {
	name  string
	about string
	cast  cast
	play  func(*stage) // leaves senders, proxies and targets to stage.finish
}

// cast says who takes part. There are two targets and a proxy in any case.
type cast struct {
	flags     []string     // what makes linesplit wait seconds instead of minutes
	target    sink.Options // of both; their addresses and certificates are the stage's matter
	tls       bool         // targets speak TLS, one 1.2 and one 1.3
	island    bool         // the first target is on an island
	between   bool         // HAProxy stands between the proxy and the targets
	chain     bool         // a second proxy of the same kind does
	proxyEnds bool         // the one that senders connect to does, on purpose
}

const (
	steady = 2000 // lines per second of a sender that leaves a machine idle

	lastGulp = 100 * time.Millisecond // in which a target that has been paused deals with what it had already read

	stall = 50 * time.Millisecond // for which a target has not read when it is killed

	// pastHalfCloser is how old a connection must be for its FIN to mean that the target wants to go: some send one at once and read on.
	pastHalfCloser = 1200 * time.Millisecond

	stalledPatience = 10 * time.Second // with a proxy that leaves lines with a target that does not take them

	smallBuffer = 64 << 10 // bytes of a receive buffer that a stalled target has full at once
)

// homeSoon is for scenarios that wait for lines at a target which is back: with all connections gone to another it gets none until they think of
// home.
var homeSoon = []string{"-failback-interval", "1s"} // read-only

// scenarios returns all there are.
func scenarios() []scenario {
	return []scenario{
		{"orderly-restarts", "targets end in order, one after the other, and come back", cast{flags: homeSoon}, orderlyRestarts},
		{"crashes-unread", "targets hang for a moment and are killed with data unread", cast{flags: homeSoon}, crashes},
		{"stalled-target", "one of two targets stops reading, and stays connected",
			cast{flags: []string{"-stall-timeout", "1s"}, target: sink.Options{Buffer: smallBuffer}}, stalledTarget},
		{"full-outage", "all targets are gone, and come back", cast{flags: []string{"-memory", "16MiB"}}, fullOutage},
		{"proxy-sigterm", "the proxy gets SIGTERM while senders write", cast{proxyEnds: true}, proxySIGTERM},
		{"unterminated-lines", "connections end in the middle of a line, in order or not", cast{}, unterminatedLines},
		{"endless-line", "a sender writes and writes, and never a newline", cast{}, endlessLine},
		{"slow-and-idle-clients", "many clients say nothing, or a byte at a time", cast{}, slowAndIdleClients},
		{"connection-churn", "clients connect, send one line and are gone, hundreds a second", cast{}, connectionChurn},
		{"tls-close-unread", "TLS targets say goodbye with data unread", cast{flags: homeSoon, tls: true}, tlsCloseUnread},
		{"half-closed-killed", "targets that have half-closed and read on are killed with data unread",
			cast{flags: homeSoon, target: sink.Options{Behaviour: sink.Behaviour{HalfClose: true}}}, crashes},
		{"drip-and-burst", "targets that read drop by drop, and in bursts, are killed with data unread", cast{flags: homeSoon}, dripAndBurst},
		{"all-stalled", "all targets stop reading, and go on later",
			cast{flags: []string{"-stall-timeout", "1s"}, target: sink.Options{Buffer: smallBuffer}}, allStalled},
		{"proxy-between", "targets behind another proxy, HAProxy, are killed with data unread", cast{flags: homeSoon, between: true}, crashes},
		{"chain-of-two", "the second of two proxies in a row is replaced under load", cast{flags: homeSoon, chain: true}, chainOfTwo},
		{"black-hole", "the network to a target swallows everything", cast{flags: []string{"-dead-timeout", "1s"}, island: true}, blackHole},
	}
}

func orderlyRestarts(s *stage) {
	s.load(2, steady)
	n := s.size(6, 2)
	s.inTurn(n, func(t *sink.Sink) {
		s.sleep(pastHalfCloser)
		s.shutdown(t)
	})
	s.stages(true, "restarts: %d", n)
}

func crashes(s *stage) {
	s.load(2, steady)
	unread := 0
	n := s.size(6, 3)
	s.inTurn(n, func(t *sink.Sink) { unread += t.Crash(stall) })
	s.stages(unread > 0, "crashes: %d, with %s unread", n, humanize.Bytes(uint64(unread)))
}

func stalledTarget(s *stage) {
	s.load(2, steady)
	stalled, other := s.targets[0], s.targets[1]
	s.flowTo(stalled, 400)
	stalled.Pause()
	s.recovers()
	s.sleep(lastGulp)
	before := stalled.Lines()
	s.flowTo(other, uint64(s.size(6, 3))*steady)
	open, moved := stalled.Open(), stalled.Lines()-before
	s.stages(open > 0 && moved == 0, "connections that stood still while the other target read on: %d", open)
	s.recovered(stalledPatience)
	stalled.Resume()
	s.flow(400)
}

func fullOutage(s *stage) {
	s.load(2, 15_000)
	s.flow(2000)
	s.each((*sink.Sink).Exit)
	before := s.received()
	until := s.heldBack()
	s.sleep(time.Duration(s.size(3, 1)) * time.Second)
	s.stages(s.received() == before, "no target at all %s", until)
	s.each(s.restart)
	s.recovers()
	s.flow(2000)
}

// proxySIGTERM has senders that notice a FIN and close, and such as never read, and write on.
func proxySIGTERM(s *stage) {
	n := s.size(4, 2)
	var after uint64
	for i := range n {
		s.load(2, steady)
		blind := []*blindSender{s.blind(), s.blind()}
		s.flow(2000)
		s.writeBlindly(blind, 100*time.Millisecond)
		if s.failed() {
			return
		}
		s.recovers()
		p := s.terminate(0)
		after += s.writeBlindly(blind, 300*time.Millisecond)
		s.endSenders()
		for _, b := range blind {
			b.conn.Close()
		}
		s.judgeExit(p)
		if i < n-1 {
			s.startProxy(0, s.addresses())
		}
	}
	s.stages(after > 0, "signals: %d, and lines written to the proxy after them: %s", n, comma(after))
}

func unterminatedLines(s *stage) {
	s.load(2, steady)
	whole, torn := s.size(200, 60), s.size(20, 10)
	for i := range whole {
		s.closeWithoutNewline(1 + i%3)
	}
	for i := range torn {
		s.resetInMidLine(time.Duration(i) * time.Millisecond)
	}
	s.flow(400)
	s.stages(true, "connections closed behind a line without a newline: %d, reset in the middle of one: %d", whole, torn)
}

// closeWithoutNewline is what `printf '{…}' | nc` does.
func (s *stage) closeWithoutNewline(lines int) {
	conn, ok := s.dial()
	if !ok {
		return
	}
	defer conn.Close()
	s.records(conn, lines, true)
}

// resetInMidLine is a sender whose host dies. What it had sent before must have been read: a reset may overtake it.
func (s *stage) resetInMidLine(delay time.Duration) {
	conn, ok := s.dial()
	if !ok {
		return
	}
	defer conn.Close()
	conn.SetLinger(0)
	id := s.records(conn, 3, false)
	s.until("a sender's lines have been read", func() bool { return s.tally.Missing(id, s.sent[id]) == 0 })
	s.write(conn, []byte(`{"message":"half a li`))
	s.sleep(delay) // some are read before the reset, some are not
}

func endlessLine(s *stage) {
	s.load(2, steady)
	conn, ok := s.dial()
	if !ok {
		return
	}
	megabytes := s.size(256, 64)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range megabytes {
		s.write(conn, chunk)
	}
	s.write(conn, newline)
	if !s.o.Own { // linesplit drops it. Others may pass it on, also in pieces, of no less than 1 KiB
		s.strange += uint64(megabytes) << 10
	}
	s.records(conn, 100, false) // as good as any
	s.flow(400)
	s.stages(true, "%d MiB without a newline, and good lines behind it", megabytes)
}

func slowAndIdleClients(s *stage) {
	idlers, dribblers := s.size(2000, 300), s.size(100, 30)
	idle := s.client(send.Options{Mix: send.Mix{{Kind: send.Idle, Weight: 1}}, Connections: idlers})
	s.load(2, steady)
	slow := s.client(send.Options{Mix: send.Mix{{Kind: send.Slow, Weight: 1}}, Connections: dribblers, Lines: uint64(s.size(5, 2)),
		Length: record.Length{Min: 200, Max: 400}, Pause: 2 * time.Millisecond})
	if s.failed() {
		return
	}
	s.await(slow)
	open := int(idle.open.Load())
	s.flow(400)
	s.stages(open == idlers, "connections with nothing to say: %d, with a byte at a time: %d", open, dribblers)
}

func connectionChurn(s *stage) {
	s.load(1, steady)
	began := time.Now()
	clients := s.size(5000, 800)
	rush := s.client(send.Options{Mix: send.Mix{{Kind: send.FireAndForget, Weight: 1}}, ClientsPerSecond: 500, Connections: 200, Clients: clients})
	if s.failed() {
		return
	}
	s.await(rush)
	s.stages(rush.lines.Load() == uint64(clients), "connections with one line each: %d, in %.1f s", clients, time.Since(began).Seconds())
}

func tlsCloseUnread(s *stage) {
	s.load(2, steady)
	n := s.size(6, 3)
	unread := 0
	s.inTurn(n, func(t *sink.Sink) { unread += t.CloseUnread(stall) })
	s.stages(unread > 0, "times that targets said close_notify: %d, with %s unread", n, humanize.Bytes(uint64(unread)))
}

func dripAndBurst(s *stage) {
	s.load(2, steady)
	drip, burst := s.targets[0], s.targets[1]
	drip.Behave(sink.Behaviour{ReadRate: 200 << 10})
	unread := 0
	n := s.size(3, 1)
	for range n {
		s.flowTo(drip, 100)
		s.bursts(burst, 10)
		for _, t := range s.targets {
			unread += s.crash(t)
		}
		s.flow(400)
	}
	drip.Behave(sink.Behaviour{}) // or what it holds takes minutes
	s.stages(unread > 0, "crashes: %d, with %s unread", 2*n, humanize.Bytes(uint64(unread)))
}

// bursts makes a target read all there is every 100 ms.
func (s *stage) bursts(t *sink.Sink, n int) {
	for range n {
		if s.failed() {
			return
		}
		t.Pause()
		s.sleep(90 * time.Millisecond)
		t.Resume()
		s.sleep(10 * time.Millisecond)
	}
}

// crash kills a target and brings it back.
func (s *stage) crash(t *sink.Sink) (unread int) {
	if s.failed() {
		return 0
	}
	unread = t.Crash(stall)
	s.recovers()
	s.sleep(100 * time.Millisecond)
	s.restart(t)
	return unread
}

func allStalled(s *stage) {
	s.load(2, 10_000)
	s.flow(2000)
	s.each((*sink.Sink).Pause)
	s.sleep(lastGulp)
	before := s.received()
	until := s.heldBack()
	s.sleep(time.Duration(s.size(4, 2)) * time.Second)
	open := s.targets[0].Open() + s.targets[1].Open()
	s.stages(open > 0 && s.received() == before, "connections that stood still %s, and for longer: %d", until, open)
	s.each((*sink.Sink).Resume)
	s.recovers()
	s.flow(2000)
}

func chainOfTwo(s *stage) {
	s.load(2, steady)
	n := s.size(3, 1)
	for range n {
		s.flow(400)
		s.sleep(pastHalfCloser)
		if s.failed() {
			return
		}
		s.recovers()
		s.judgeExit(s.terminate(1))
		s.startProxy(1, s.addresses())
		s.flow(400)
	}
	s.stages(true, "times that the second proxy got SIGTERM, and another one took its place: %d", n)
}

func blackHole(s *stage) {
	s.load(2, steady)
	lost, other := s.targets[0], s.targets[1]
	s.flowTo(lost, 400)
	if s.failed() {
		return
	}
	if err := s.island.cut(); err != nil {
		s.fail(Unproven, "cut the cable: %w", err)
		return
	}
	s.recovers()
	open := lost.Open()
	_, err := net.DialTimeout("tcp", lost.Addr(), 300*time.Millisecond)
	before := lost.Lines() // with what it had in its buffers
	s.stages(err != nil && open > 0, "connections to a target that nothing reaches any more: %d", open)
	s.flowTo(other, uint64(s.size(4, 2))*steady)
	s.recovered(stalledPatience)
	s.stages(lost.Lines() == before, s.staged+", lines that got through: %d", lost.Lines()-before)
	lost.Exit()
}

// each does the same to all targets.
func (s *stage) each(do func(*sink.Sink)) {
	for _, t := range s.targets {
		if !s.failed() {
			do(t)
		}
	}
}
