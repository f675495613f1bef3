//go:build linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/testrig"
)

// lineLoad is the load of line mode: steady senders, whose every line counts, and senders that come
// and go in all ways.
type lineLoad struct {
	*soak
	sinks []*soakTarget
	child *testrig.Child
	guest *testrig.Sink // the target that comes and goes

	next atomic.Uint32 // number of the last sender that comes and goes
	torn atomic.Int64  // lines that senders may have left unfinished

	mu   sync.Mutex
	sent testrig.Sent // by senders that come and go
}

// soakTarget is a target for lines that faults happen to, one at a time.
type soakTarget struct {
	*testrig.Sink
	taken bool
}

func newLineLoad(s *soak) *lineLoad {
	l := &lineLoad{soak: s, child: testrig.StartChild(s.T, s.Tally), guest: s.StartSink(testrig.SinkOptions{}),
		sent: make(testrig.Sent)}
	for _, network := range []string{"tcp", "tcp", "unix"} {
		l.sinks = append(l.sinks, &soakTarget{Sink: s.StartSink(testrig.SinkOptions{Network: network})})
	}
	l.next.Store(1 << 20)
	return l
}

func (l *lineLoad) targets() []testrig.Target {
	return []testrig.Target{l.sinks[0], l.sinks[1], l.sinks[2], l.child}
}

func (l *lineLoad) extra() testrig.Target { return l.guest }

func (l *lineLoad) otherSettings() []string {
	rng := l.rng
	return []string{
		fmt.Sprintf("stall-timeout %dms", 500+rng.IntN(20_000)),
		fmt.Sprintf("resend-age %dms", 1000+rng.IntN(10_000)),
		fmt.Sprintf("resend-max %dKiB", 1024+rng.IntN(8<<10)),
		"idle-timeout " + pick(rng, "0s", "30s"),
		"line-timeout " + pick(rng, "0s", "30s"),
		"max-connections " + pick(rng, "0", "2000"),
	}
}

func (l *lineLoad) begin() {
	l.Helper()
	l.StartSenders(3, testrig.SenderOptions{Rate: l.rate})
	for range l.visitors {
		l.come(l.visit, func() {})
	}
	l.comeIdle()
}

func (l *lineLoad) end() {
	l.Helper()
	l.StopSenders()
	maps.Copy(l.Sent, l.sent)
}

// visit is one sender with some lines.
func (l *lineLoad) visit(rng *rand.Rand) error {
	id, n := l.next.Add(1), 1+rng.IntN(200)
	text := testrig.Records(id, n, 300+rng.IntN(500))
	way := rng.IntN(5)
	address, client := l.Process.Listeners[0], testrig.Client{}
	if way == 0 {
		address, client = l.Process.Listeners[1], testrig.Client{TLS: testrig.ClientTLS()}
	}
	conn, err := client.Dial(l.T, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * testrig.Patience)) // all targets may hang meanwhile
	switch way {
	case 1: // the last line ends with the connection
		_, err = conn.Write(text[:len(text)-1])
	case 2: // in crumbs
		for len(text) > 0 && err == nil {
			crumb := text[:min(len(text), 1+rng.IntN(2000))]
			_, err = conn.Write(crumb)
			text = text[len(crumb):]
		}
	default:
		_, err = conn.Write(text)
	}
	if err != nil {
		return err
	}
	if way == 3 {
		l.breakOff(conn, id, n, text[:len(text)/n/2])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = uint64(n)
	return nil
}

// breakOff leaves half a line behind, and resets the connection, once all lines before have
// arrived: a reset may destroy what linesplit has not read.
func (l *lineLoad) breakOff(conn net.Conn, id uint32, n int, half []byte) {
	arrived := testrig.Poll(2*testrig.Patience, func() bool { return l.Tally.Missing(id, uint64(n)) == 0 })
	if !arrived {
		l.Errorf("sender %d: lines are missing", id)
		return
	}
	l.torn.Add(1)
	conn.Write(half)
	testrig.ResetConn(conn)
}

func (l *lineLoad) startled(n int) { l.torn.Add(int64(n)) }

// flow waits until all lines that were sent before have arrived, all workers are with their
// targets, and each of these gets lines.
func (l *lineLoad) flow() {
	l.Helper()
	sent := l.SentSoFar()
	l.mu.Lock()
	maps.Copy(sent, l.sent)
	l.mu.Unlock()
	if !testrig.Poll(testrig.Patience, func() bool { return l.Tally.HasAll(sent) }) {
		r := l.Tally.Report(sent)
		l.Fatalf("lines are missing: %s\n%s", r, r.Details())
	}
	l.WaitForExactMetric(float64(soakWorkers*len(l.targets())), "linesplit_target_connections")
	for _, to := range l.targets() {
		l.WaitForLines(to.(interface{ Lines() int }), 20)
	}
}

func (l *lineLoad) settle() {
	l.Helper()
	l.WaitForAllLines()
	l.WaitUntilConfirmed()
}

func (l *lineLoad) progress(m testrig.Metrics) string {
	return fmt.Sprintf("%.0f lines from %.0f connections, %.0f resent, %.0f torn", m.Sum("linesplit_received_lines_total"),
		m.Sum("linesplit_connections_accepted_total"), m.Sum("linesplit_resent_lines_total"),
		m.Sum("linesplit_dropped_lines_total"))
}

func (l *lineLoad) finish() {
	l.Helper()
	m := l.WaitForLedger()
	l.print("%s; %v; %v", l.progress(m), m.Ledger("lines"), m.Ledger("bytes"))
	torn := m.Sum("linesplit_dropped_lines_total")
	if torn != m.Sum("linesplit_dropped_lines_total", testrig.Label("reason", "torn")) || torn > float64(l.torn.Load()) {
		l.Errorf("%.0f lines dropped, where senders left %d unfinished", torn, l.torn.Load())
	}
	l.OtherLines = int(torn)
	l.FinishLineMode(testrig.OnlyResent)
	received := fmt.Sprintf("received_lines=%d", l.Sent.Lines()+l.OtherLines)
	confirmed := fmt.Sprintf("confirmed_lines=%d", l.Sent.Lines())
	testrig.ExpectContains(l.T, l.DrainReport(), received, confirmed, "unconfirmed_lines=0", "senders_cut_off=0")
}

func (l *lineLoad) breakConnections() {
	for _, t := range l.sinks {
		t.ResetConnections()
	}
}

// free returns a random target that no other fault has, and marks it as taken. It ends the oldest
// faults until there is one.
func (l *lineLoad) free() *soakTarget {
	for {
		for _, i := range l.rng.Perm(len(l.sinks)) {
			if t := l.sinks[i]; !t.taken {
				t.taken = true
				return t
			}
		}
		l.endOldest()
	}
}

// behave makes a target behave in some way until the end. With again, its connections are opened
// anew, which is where the behaviour begins and ends.
func (l *lineLoad) behave(b sink.Behaviour, again bool) func() {
	t := l.free()
	change := func(b sink.Behaviour) {
		t.Behave(b)
		if again {
			t.ResetConnections()
		}
	}
	change(b)
	return func() { change(testrig.Steady); t.taken = false }
}

// down ends a target in some way, and lets it listen again at the end.
func (l *lineLoad) down(how func(*testrig.Sink)) func() {
	t := l.free()
	how(t.Sink)
	return func() { t.Listen(); t.taken = false }
}

func (l *lineLoad) faults() []soakFault {
	behave := func(name string, b sink.Behaviour) soakFault {
		return soakFault{name, func() func() { return l.behave(b, b.HalfClose) }}
	}
	down := func(name string, how func(*testrig.Sink)) soakFault {
		return soakFault{name, func() func() { return l.down(how) }}
	}
	return []soakFault{
		{"a target process is stopped", func() func() { l.child.Suspend(); return l.child.Resume }},
		{"a target process is killed", func() func() { l.child.Kill(); return l.child.Start }},
		{"all targets hang", l.hangAll},
		{"a burst of lines", func() func() { l.StartSender(testrig.SenderOptions{Lines: 20 * l.rate}); return nil }},
		behave("a target reads in drops", testrig.Drip),
		behave("a target reads in bursts", testrig.Bursts),
		behave("a target half-closes", testrig.HalfClosed),
		behave("a target resets with data unread", sink.Behaviour{ResetUnread: true}),
		down("a target is shut down", l.shutdown),
		down("a target leaves", func(t *testrig.Sink) { t.Leave(l.upTo(l.hold)) }),
		down("a target exits", (*testrig.Sink).Exit),
		down("a target crashes", func(t *testrig.Sink) { t.Crash(l.upTo(l.hold)) }),
		down("a target closes with data unread", func(t *testrig.Sink) { t.CloseUnread(l.upTo(l.hold)) }),
		{"connections to a target are reset", func() func() { l.breakConnections(); return nil }},
	}
}

// hangAll makes all targets hang, so that senders wait.
func (l *lineLoad) hangAll() func() {
	each := func(do func(*testrig.Sink)) {
		for _, t := range l.sinks {
			do(t.Sink)
		}
	}
	each(func(t *testrig.Sink) { t.Pause() })
	l.child.Suspend()
	return func() {
		l.child.Resume()
		each(func(t *testrig.Sink) { t.Resume() })
	}
}

// shutdown ends a target in order. Linesplit ignores the FIN of a connection that has just been
// opened, as that of a target that half-closes; such connections are closed when the time is up.
func (l *lineLoad) shutdown(t *testrig.Sink) {
	ctx, cancel := context.WithTimeout(l.Context(), 2*l.hold)
	defer cancel()
	t.Sink.Shutdown(ctx)
}
