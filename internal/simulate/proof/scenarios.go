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

// scenario is a fault or a kind of load, and what is checked about it.
type scenario struct {
	name  string
	about string
	setup setup
	run   func(*stage) // leaves senders, proxies and targets to stage.finish
}

// setup describes the processes of a scenario. There are always a proxy and two targets.
type setup struct {
	flags     []string     // flags of linesplit, to wait for seconds instead of minutes
	target    sink.Options // of both targets, without addresses and certificates
	tls       bool         // targets speak TLS, one version 1.2 and one 1.3
	unix      bool         // targets listen on Unix sockets, which only linesplit can be told
	netns     bool         // the first target is in a network namespace of its own
	haproxy   bool         // HAProxy stands between the proxy and the targets
	chain     bool         // a second proxy of the same kind stands between the proxy and the targets
	proxyEnds bool         // the proxy that senders connect to ends during the scenario
	killed    bool         // the proxy that senders connect to is killed during the scenario
	counts    bool         // the proxy serves its counts, which only linesplit does
	spool     bool         // linesplit has a spool
	web       bool         // targets take lines in HTTP requests, which only linesplit makes
	bulk      bool         // by the bulk API of Elasticsearch
	relp      bool         // targets and senders speak RELP, as only linesplit does
	disk      bool         // the spool has a small disk, if one can be mounted, or else a small size
}

const (
	steadyRate = 2000 // lines per second of a sender that leaves the machine mostly idle

	afterPause = 100 * time.Millisecond // after a pause, for what a target had read already

	crashStall = 50 * time.Millisecond // time that a target reads nothing before it is killed

	// minConnAge is the age from which the FIN of a connection means that the target shuts down.
	// A target that sends FIN earlier may be half-closing, and read on.
	minConnAge = 1200 * time.Millisecond

	leaveTime = 300 * time.Millisecond // time from a target's FIN until it exits

	recoveryLimit = 10 * time.Second // for proxies that leave lines with a target that does not read them

	smallBuffer = 64 << 10 // receive buffer in bytes that fills at once when a target stalls
)

// quickFailback serves scenarios that wait for lines at a restarted target. When all its
// connections have moved to the other target, it gets lines only after failback.
var quickFailback = []string{"-failback-interval", "1s"} // read-only

// scenarios returns all scenarios.
func scenarios() []scenario {
	return []scenario{
		{"orderly-restarts", "targets shut down in an orderly way, one after the other, and come back",
			setup{flags: quickFailback}, orderlyRestarts},
		{"crashes-unread", "targets hang for a moment and are killed with data unread", setup{flags: quickFailback},
			crashes},
		{"stalled-target", "one of two targets stops reading, but stays connected",
			setup{flags: []string{"-stall-timeout", "1s"}, target: sink.Options{Buffer: smallBuffer}}, stalledTarget},
		{"full-outage", "all targets go down and come back", setup{flags: []string{"-memory", "16MiB"}}, fullOutage},
		{"proxy-sigterm", "the proxy gets SIGTERM while senders write", setup{proxyEnds: true}, proxySIGTERM},
		{"target-comes-back", "a target is gone for a while, and must get lines again soon after it is back", setup{},
			targetComesBack},
		{"unterminated-lines", "connections end in the middle of a line, by a close or a reset", setup{},
			unterminatedLines},
		{"reset-after-send", "connection mode: clients reset their connections before the targets have read",
			setup{flags: []string{"-mode", "connection"}, target: sink.Options{Buffer: smallBuffer}}, resetAfterSend},
		{"endless-line", "a sender writes megabytes without a newline", setup{}, endlessLine},
		{"slow-and-idle-clients", "many clients send nothing, or one byte at a time", setup{}, slowAndIdleClients},
		{"connection-churn", "hundreds of clients a second connect, send one line and disconnect", setup{},
			connectionChurn},
		{"tls-close-unread", "TLS targets send close_notify with data unread", setup{flags: quickFailback, tls: true},
			tlsCloseUnread},
		{"half-closed-killed", "targets that half-close and read on are killed with data unread",
			setup{flags: quickFailback, target: sink.Options{Behaviour: sink.Behaviour{HalfClose: true}}}, crashes},
		{"leave-and-exit", "TLS targets announce their end, read on and exit with everything read",
			setup{flags: quickFailback, tls: true}, leaveAndExit},
		{"busy-unix-targets", "targets on Unix sockets have a full backlog much of the time",
			setup{flags: []string{"-health", "tcp", "-health-interval", "200ms"}, unix: true,
				target: sink.Options{Backlog: 1, AcceptPause: 20 * time.Millisecond}}, busyUnixTargets},
		{"drip-and-burst", "targets that read slowly or in bursts are killed with data unread",
			setup{flags: quickFailback}, dripAndBurst},
		{"all-stalled", "all targets stop reading, and resume later",
			setup{flags: []string{"-stall-timeout", "1s"}, target: sink.Options{Buffer: smallBuffer}}, allStalled},
		{"proxy-between", "targets behind another proxy (HAProxy) are killed with data unread",
			setup{flags: quickFailback, haproxy: true}, crashes},
		{"chain-of-two", "the second of two chained proxies is restarted under load",
			setup{flags: quickFailback, chain: true}, chainOfTwo},
		{"black-hole", "the network to one target drops all packets",
			setup{flags: []string{"-dead-timeout", "1s"}, netns: true}, blackHole},
		{"proxy-killed", "the proxy is killed (SIGKILL) while senders write, and started again",
			setup{killed: true, counts: true}, proxyKilled},
		{"killed-with-spool", "the same with -spool-mode always: no line that it has read and written may be lost",
			setup{flags: []string{"-spool-mode", "always", "-spool-size", "256MiB"}, killed: true, counts: true,
				spool: true}, proxyKilled},
		{"outage-beyond-memory", "all targets are down while senders send ten times what memory holds; with a spool",
			setup{flags: []string{"-memory", smallMemoryFlag, "-spool-size", "512MiB"}, counts: true,
				spool: true}, outageBeyondMemory},
		{"spool-disk-full", "all targets are down until the disk of the spool is full, and come back",
			setup{flags: []string{"-memory", smallMemoryFlag}, counts: true, spool: true, disk: true}, spoolFull},
		{"http-targets-fail", "two nodes that take lines in HTTP requests fail in every way, and are restarted",
			setup{flags: quickFailback, web: true}, webTargetsFail},
		{"bulk-targets-fail", "the same with the bulk API of Elasticsearch",
			setup{flags: quickFailback, web: true, bulk: true}, webTargetsFail},
		{"relp-end-to-end", "senders and targets speak RELP; linesplit is killed, and targets fail in every way",
			setup{flags: append([]string{"-spool-mode", "always", "-spool-size", "256MiB"}, quickFailback...), relp: true,
				spool: true}, relpEndToEnd},
	}
}

func orderlyRestarts(s *stage) {
	s.startLoad(2, steadyRate)
	n := s.size(6, 2)
	s.eachInTurn(n, func(t *sink.Sink) {
		s.sleep(minConnAge)
		s.shutdown(t)
	})
	s.recordStaged(true, "restarts: %d", n)
}

func crashes(s *stage) {
	s.startLoad(2, steadyRate)
	unread := 0
	n := s.size(6, 3)
	s.eachInTurn(n, func(t *sink.Sink) { unread += t.Crash(crashStall) })
	s.recordStaged(unread > 0, "crashes: %d, with %s unread", n, humanize.Bytes(uint64(unread)))
}

func stalledTarget(s *stage) {
	s.startLoad(2, steadyRate)
	stalled, other := s.targets[0], s.targets[1]
	s.awaitLinesAt(stalled, 400)
	stalled.Pause()
	s.startRecovery()
	s.sleep(afterPause)
	before := stalled.Lines()
	s.awaitLinesAt(other, uint64(s.size(6, 3))*steadyRate)
	open, moved := stalled.Open(), stalled.Lines()-before
	s.recordStaged(open > 0 && moved == 0, "stalled connections, while the other target read on: %d", open)
	s.awaitRecovery(recoveryLimit)
	stalled.Resume()
	s.awaitLines(400)
}

func fullOutage(s *stage) {
	s.startLoad(2, 15_000)
	s.awaitLines(2000)
	s.each((*sink.Sink).Exit)
	before := s.linesRead()
	until := s.awaitBackpressure()
	s.sleep(time.Duration(s.size(3, 1)) * time.Second)
	s.recordStaged(s.linesRead() == before, "all targets down %s", until)
	s.each(s.restart)
	s.startRecovery()
	s.awaitLines(2000)
}

// targetComesBack reports how long a target that is back stays without lines. Its connections have
// all moved to the other target meanwhile.
func targetComesBack(s *stage) {
	s.startLoad(2, steadyRate)
	away, other := s.targets[0], s.targets[1]
	s.awaitLinesAt(away, 400)
	away.Exit()
	s.awaitLinesAt(other, uint64(s.size(4, 2))*steadyRate)
	s.restart(away)
	back, enough := time.Now(), away.Lines()+400
	for !s.failed() && away.Lines() < enough && time.Since(back) < recoveryLimit {
		s.wait(pollEvery)
	}
	switch took := time.Since(back).Seconds(); {
	case away.Lines() >= enough:
		s.recordStaged(true, "the target that was back got lines after %.1f s", took)
	case s.o.Own:
		s.fail(Failed, "the target that was back got no lines for %.1f s", took)
	default: // a balancer of connections leaves old ones where they are
		s.recordStaged(true, "the target that was back got no lines for %.1f s", took)
	}
}

// proxySIGTERM uses senders that close when they notice a FIN, and blind ones that never read and
// go on writing.
func proxySIGTERM(s *stage) {
	n := s.size(4, 2)
	var after uint64
	for i := range n {
		s.startLoad(2, steadyRate)
		blind := []*blindSender{s.dialBlind(), s.dialBlind()}
		s.awaitLines(2000)
		s.writeBlindly(blind, 100*time.Millisecond)
		if s.failed() {
			return
		}
		s.startRecovery()
		p := s.terminate(0)
		after += s.writeBlindly(blind, 300*time.Millisecond)
		s.endSenders()
		for _, b := range blind {
			b.conn.Close()
		}
		s.checkExit(p)
		if i < n-1 {
			s.startProxy(0, s.targetAddresses())
		}
	}
	s.recordStaged(after > 0, "signals: %d, and lines written to the proxy after them: %s", n, comma(after))
}

func unterminatedLines(s *stage) {
	s.startLoad(2, steadyRate)
	whole, torn := s.size(200, 60), s.size(20, 10)
	for i := range whole {
		s.closeWithoutNewline(1 + i%3)
	}
	for i := range torn {
		s.resetInMidLine(time.Duration(i) * time.Millisecond)
	}
	s.awaitLines(400)
	s.recordStaged(true, "connections closed after a line without a newline: %d, reset in the middle of a line: %d",
		whole, torn)
}

// closeWithoutNewline does what `printf '{…}' | nc` does.
func (s *stage) closeWithoutNewline(lines int) {
	conn, ok := s.dial()
	if !ok {
		return
	}
	defer conn.Close()
	s.writeRecords(conn, lines, true)
}

// resetInMidLine is a sender that a device on the path cuts off. It waits until its earlier lines
// have been read, because a reset may overtake them.
func (s *stage) resetInMidLine(delay time.Duration) {
	conn, ok := s.dial()
	if !ok {
		return
	}
	defer conn.Close()
	conn.SetLinger(0)
	id := s.writeRecords(conn, 3, false)
	s.waitUntil("a sender's lines have been read", func() bool { return s.tally.Missing(id, s.sent[id]) == 0 })
	s.write(conn, []byte(`{"message":"half a li`))
	s.sleep(delay) // so that some are read before the reset and some are not
}

func endlessLine(s *stage) {
	s.startLoad(2, steadyRate)
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
	if !s.o.Own { // linesplit drops it. Other proxies may forward it, also in pieces of at least 1 KiB
		s.foreignAllowed += uint64(megabytes) << 10
	}
	s.writeRecords(conn, 100, false) // the connection still carries whole lines
	s.awaitLines(400)
	s.recordStaged(true, "%d MiB without a newline, followed by whole lines", megabytes)
}

func slowAndIdleClients(s *stage) {
	idlers, dribblers := s.size(2000, 300), s.size(100, 30)
	idle := s.startClients(send.Options{Mix: send.Mix{{Kind: send.Idle, Weight: 1}}, Connections: idlers})
	s.startLoad(2, steadyRate)
	slow := s.startClients(send.Options{Mix: send.Mix{{Kind: send.Slow, Weight: 1}}, Connections: dribblers,
		Lines: uint64(s.size(5, 2)), Length: record.Length{Min: 200, Max: 400}, Pause: 2 * time.Millisecond})
	if s.failed() {
		return
	}
	s.awaitClients(slow)
	open := int(idle.open.Load())
	s.awaitLines(400)
	s.recordStaged(open == idlers, "idle connections: %d, with one byte at a time: %d", open, dribblers)
}

func connectionChurn(s *stage) {
	s.startLoad(1, steadyRate)
	began := time.Now()
	clients := s.size(5000, 800)
	rush := s.startClients(send.Options{Mix: send.Mix{{Kind: send.FireAndForget, Weight: 1}}, ClientsPerSecond: 500,
		Connections: 200, Clients: clients})
	if s.failed() {
		return
	}
	s.awaitClients(rush)
	s.recordStaged(rush.lines.Load() == uint64(clients), "connections with one line each: %d, in %.1f s", clients,
		time.Since(began).Seconds())
}

func tlsCloseUnread(s *stage) {
	s.startLoad(2, steadyRate)
	n := s.size(6, 3)
	unread := 0
	s.eachInTurn(n, func(t *sink.Sink) { unread += t.CloseUnread(crashStall) })
	s.recordStaged(unread > 0, "close_notify sent by targets: %d times, with %s unread", n,
		humanize.Bytes(uint64(unread)))
}

// leaveAndExit needs connections of some age: see minConnAge.
func leaveAndExit(s *stage) {
	s.startLoad(2, steadyRate)
	n := s.size(6, 3)
	ended, unread := 0, 0
	s.eachInTurn(n, func(t *sink.Sink) {
		s.sleep(minConnAge)
		open, left := t.Leave(leaveTime)
		ended, unread = ended+open, unread+left
	})
	s.recordStaged(unread == 0, "exits: %d, with %d connections that the proxy had not ended", n, ended)
}

func dripAndBurst(s *stage) {
	s.startLoad(2, steadyRate)
	drip, burst := s.targets[0], s.targets[1]
	drip.Behave(sink.Behaviour{ReadRate: 200 << 10})
	unread := 0
	n := s.size(3, 1)
	for range n {
		s.awaitLinesAt(drip, 100)
		s.bursts(burst, 10)
		for _, t := range s.targets {
			unread += s.crash(t)
		}
		s.awaitLines(400)
	}
	drip.Behave(sink.Behaviour{}) // otherwise the lines that it holds would take minutes
	s.recordStaged(unread > 0, "crashes: %d, with %s unread", 2*n, humanize.Bytes(uint64(unread)))
}

// bursts makes a target read all it can every 100 ms.
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

// crash kills a target and restarts it.
func (s *stage) crash(t *sink.Sink) (unread int) {
	if s.failed() {
		return 0
	}
	unread = t.Crash(crashStall)
	s.startRecovery()
	s.sleep(100 * time.Millisecond)
	s.restart(t)
	return unread
}

func allStalled(s *stage) {
	s.startLoad(2, 10_000)
	s.awaitLines(2000)
	s.each((*sink.Sink).Pause)
	s.sleep(afterPause)
	before := s.linesRead()
	until := s.awaitBackpressure()
	s.sleep(time.Duration(s.size(4, 2)) * time.Second)
	open := s.targets[0].Open() + s.targets[1].Open()
	s.recordStaged(open > 0 && s.linesRead() == before, "connections stalled %s, and longer: %d", until, open)
	s.each((*sink.Sink).Resume)
	s.startRecovery()
	s.awaitLines(2000)
}

func chainOfTwo(s *stage) {
	s.startLoad(2, steadyRate)
	n := s.size(3, 1)
	for range n {
		s.awaitLines(400)
		s.sleep(minConnAge)
		if s.failed() {
			return
		}
		s.startRecovery()
		s.checkExit(s.terminate(1))
		s.startProxy(1, s.targetAddresses())
		s.awaitLines(400)
	}
	s.recordStaged(true, "restarts of the second proxy: %d", n)
}

func blackHole(s *stage) {
	s.startLoad(2, steadyRate)
	lost, other := s.targets[0], s.targets[1]
	s.awaitLinesAt(lost, 400)
	if s.failed() {
		return
	}
	if err := s.netns.cut(); err != nil {
		s.fail(Unproven, "cut the link: %w", err)
		return
	}
	s.startRecovery()
	open := lost.Open()
	_, err := net.DialTimeout("tcp", lost.Addr(), 300*time.Millisecond)
	before := lost.Lines() // includes what the target had buffered
	s.recordStaged(err != nil && open > 0, "connections to the unreachable target: %d", open)
	s.awaitLinesAt(other, uint64(s.size(4, 2))*steadyRate)
	s.awaitRecovery(recoveryLimit)
	s.recordStaged(lost.Lines() == before, s.staged+", lines that got through: %d", lost.Lines()-before)
	lost.Exit()
}

// each calls do for every target.
func (s *stage) each(do func(*sink.Sink)) {
	for _, t := range s.targets {
		if !s.failed() {
			do(t)
		}
	}
}
