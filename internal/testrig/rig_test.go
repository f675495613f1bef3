//go:build linux

package testrig

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/testcert"
)

func TestMain(m *testing.M) {
	RunIfChild()
	goleak.VerifyTestMain(m)
}

// sendDirectly starts a sender to a target with no linesplit between them, so that the expected
// counts are known. It returns what the sender will have sent.
func sendDirectly(t *testing.T, to Target, o SenderOptions) (*Sender, Sent) {
	t.Helper()
	_, o.Addr, _ = strings.Cut(to.Target(), "://")
	sender := StartSender(t, o)
	return sender, Sent{o.ID: uint64(o.Lines)}
}

// waitForReport waits until all lines that were sent have arrived, and returns the report.
func waitForReport(t *testing.T, tally *Tally, sent Sent) Report {
	t.Helper()
	WaitFor(t, "all lines arrive", func() bool { return tally.HasAll(sent) })
	r := tally.Report(sent)
	t.Log(r)
	return r
}

func TestTallyComparesWhatWasSentWithWhatCame(t *testing.T) {
	tally := NewTally()
	const size = 100
	lines := Records(1, 10, size)
	read := func(end bool, parts ...[]byte) {
		r := tally.Reader()
		for _, part := range parts {
			r.Feed(part)
		}
		r.End(end)
	}
	for _, seq := range []int{0, 1, 2, 2, 2, 5, 9} {
		read(true, lines[seq*size:][:size])
	}
	read(true, []byte("glued{\n"), []byte("half"))
	read(false, []byte("half"))
	r := tally.Report(Sent{1: 8, 2: 1})
	got := r.String()
	want := "sent 9, received 7, lost 5, duplicates 2, never sent 1, corrupt 1, torn 1, cut off by a break 1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, part := range []string{"sender 1: lost: 4 lines: 3-4 6-7", "sender 2: lost: 1 lines: 0-0",
		"more than once: 1 lines: 2-2", "never sent: 1 lines: 9-9", `corrupt: "glued{"`, `torn: "half"`} {
		if !strings.Contains(r.Details(), part) {
			t.Errorf("details lack %q:\n%s", part, r.Details())
		}
	}
}

func TestDirectConnectionCountsExactly(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	server, client := files.ServerTLS(), files.ClientTLS()
	tests := []struct {
		name   string
		sink   SinkOptions
		sender SenderOptions
	}{
		{"plain", SinkOptions{}, SenderOptions{}},
		{"paced", SinkOptions{}, SenderOptions{Rate: 20_000}},
		{"tls", SinkOptions{TLS: server}, SenderOptions{TLS: client}},
		{"unix", SinkOptions{Network: "unix"}, SenderOptions{Network: "unix"}},
		{"drip", SinkOptions{Behaviour: Drip}, SenderOptions{Lines: 100}},
		{"bursts", SinkOptions{Behaviour: Bursts}, SenderOptions{}},
		{"half closed", SinkOptions{Behaviour: HalfClosed}, SenderOptions{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tally := NewTally()
			if test.sender.Lines == 0 {
				test.sender.Lines = 10_000
			}
			sink := NewSink(t, tally, test.sink)
			sender, sent := sendDirectly(t, sink, test.sender)
			if err := sender.Wait(); err != nil {
				t.Error(err)
			}
			r := waitForReport(t, tally, sent)
			if r.Received != r.Sent || r.Duplicated+r.Corrupt+r.Torn+r.Cut+r.NeverSent != 0 {
				t.Errorf("%s\n%s", r, r.Details())
			}
			WaitFor(t, "the target counts the lines of its last read, too", func() bool { return sink.Lines() >= int(r.Sent) })
			if sink.Lines() != int(r.Sent) {
				t.Errorf("the target counts %d lines, want %d", sink.Lines(), r.Sent)
			}
			if sink.Accepted() != 1 {
				t.Errorf("%d connections accepted, want 1", sink.Accepted())
			}
		})
	}
}

func TestPausedTargetReadsNothing(t *testing.T) {
	tally := NewTally()
	sink := NewSink(t, tally, SinkOptions{})
	sender, _ := sendDirectly(t, sink, SenderOptions{Rate: 5_000})
	WaitFor(t, "lines flow", func() bool { return tally.Lines() > 100 })
	sink.Pause()
	WaitFor(t, "the target reads nothing more", func() bool {
		before := tally.Lines()
		time.Sleep(200 * time.Millisecond) // in which a thousand lines are sent
		return tally.Lines() == before
	})
	sink.Resume()
	if err := sender.Stop(); err != nil {
		t.Error(err)
	}
	waitForReport(t, tally, Sent{0: uint64(sender.Sent())})
}

// A sender that takes a write for delivery loses what the target had not read. The rig must notice
// that loss, or its tests prove nothing.
func TestCrashLosesLinesOfADirectSender(t *testing.T) {
	for name, end := range map[string]func(*Sink){
		"crash":        func(s *Sink) { s.Crash(500 * time.Millisecond) },
		"close unread": func(s *Sink) { s.CloseUnread(500 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			tally := NewTally()
			sink := NewSink(t, tally, SinkOptions{})
			sender, _ := sendDirectly(t, sink, SenderOptions{Rate: 20_000})
			WaitFor(t, "lines flow", func() bool { return tally.Lines() > 100 })
			end(sink)
			WaitFor(t, "the sender notices", func() bool { return sender.Sent() > 0 && isDone(sender) })
			r := tally.Report(Sent{0: uint64(sender.Sent())})
			if t.Log(r); r.Lost == 0 || r.Torn+r.Corrupt != 0 {
				t.Errorf("want lost lines and none torn: %s\n%s", r, r.Details())
			}
		})
	}
}

func isDone(s *Sender) bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func TestShutdownReadsToTheEnd(t *testing.T) {
	tally := NewTally()
	sink := NewSink(t, tally, SinkOptions{})
	sender, _ := sendDirectly(t, sink, SenderOptions{Rate: 20_000})
	WaitFor(t, "lines flow", func() bool { return tally.Lines() > 100 })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sink.Shutdown()
	}()
	if err := sender.Stop(); err != nil {
		t.Error(err)
	}
	<-ended
	if r := waitForReport(t, tally, Sent{0: uint64(sender.Sent())}); r.Lost+r.Duplicated+r.Torn != 0 {
		t.Error(r)
	}
	sink.Listen()
	if conn, err := net.Dial("tcp", sink.Addr()); err != nil {
		t.Errorf("the target does not listen again: %v", err)
	} else {
		conn.Close()
	}
}

// What a killed process had read counts as received. What was in its socket's buffer does not.
func TestKilledChildCountsWhatItHasRead(t *testing.T) {
	tally := NewTally()
	child := StartChild(t, tally)
	sender, sent := sendDirectly(t, child, SenderOptions{Lines: 1000})
	if err := sender.Wait(); err != nil {
		t.Error(err)
	}
	waitForReport(t, tally, sent)
	sender, _ = sendDirectly(t, child, SenderOptions{ID: 1, Rate: 20_000})
	WaitFor(t, "lines flow", func() bool { return tally.Lines() > 2000 })
	child.Suspend()
	stopped := sender.Sent()
	WaitFor(t, "the child has data unread", func() bool { return sender.Sent() > stopped+1000 || isDone(sender) })
	child.Kill()
	WaitFor(t, "the sender notices", func() bool { return isDone(sender) })
	sent[1] = uint64(sender.Sent())
	r := tally.Report(sent)
	if t.Log(r); r.Lost == 0 || r.Torn+r.Corrupt != 0 {
		t.Errorf("want lost lines and none torn: %s\n%s", r, r.Details())
	}
	child.Start()
	sender, _ = sendDirectly(t, child, SenderOptions{ID: 2, Lines: 100})
	if err := sender.Wait(); err != nil {
		t.Error(err)
	}
	waitForReport(t, tally, Sent{2: 100})
}

func TestMetricsAreParsed(t *testing.T) {
	m, err := parseMetrics(strings.NewReader(`# HELP x y
linesplit_received_lines_total 10
linesplit_confirmed_lines_total{target="tcp://a b:1"} 4
linesplit_confirmed_lines_total{target="tcp://c:2"} 3
linesplit_retained_lines 1
linesplit_queued_lines 0
linesplit_dropped_lines_total{reason="torn"} 2
`))
	if err != nil {
		t.Fatal(err)
	}
	if l := m.Ledger("lines"); !l.Holds() || l.Confirmed != 7 {
		t.Error(l)
	}
	if got := m.Sum("linesplit_confirmed_lines_total", Label("target", "tcp://c:2")); got != 3 {
		t.Errorf("one target: %v", got)
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Errorf("the rig needs /proc: %v", err)
	}
}

// A sender of one line may end before its first report of progress. StartSender took that for a
// failure to connect.
func TestShortSenderStarts(t *testing.T) {
	tally := NewTally()
	sink := NewSink(t, tally, SinkOptions{})
	for range 200 {
		sender, _ := sendDirectly(t, sink, SenderOptions{ID: 1, Lines: 1})
		if err := sender.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
