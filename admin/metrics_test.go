package admin

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// fullLines is a Status of line mode with a value of its own in every field that metrics show, so
// that none can be taken for another.
func fullLines() Status {
	return Status{
		Ledger: &Ledger{
			Received: Amount{1001, 1002}, Queued: Amount{9, 10}, Retained: Amount{13, 14}, Truncated: 8,
			Altered: 51, FramingAdded: 52, FramingRemoved: 53,
			DroppedBy: []DroppedBy{
				{Reason: "oversize", Amount: Amount{1, 2}}, {Reason: "closed", Amount: Amount{9, 10}},
				{Reason: "torn", Amount: Amount{3, 4}},
				{Reason: "memory", Amount: Amount{5, 6}}, {Reason: "truncated", Amount: Amount{Bytes: 7}},
			},
		},
		Totals: Totals{
			Connections: 28, Accepted: 29, CutOff: 30, AcceptErrors: 31, HandshakeErrors: 32,
			Handshakes: 41, HandshakesWaiting: 42, HandshakesDisplaced: 43, Probes: 44,
			IdleTimeouts: 45, LineTimeouts: 46, AcceptPauses: 47, Broken: 48,
			Refused: []RefusedBy{{Reason: "denied", Count: 35}}, Answers: []AnsweredBy{{"200", 58}, {"gone", 59}},
		},
		Keys:   &KeyStatus{Moving: 0.55, Waiting: Amount{56, 57}},
		Limits: Limits{QueueBuffers: 11, QueueCapacity: 12, MemoryBytes: 33, MemoryLimit: 34, AcceptingPaused: true},
		Targets: []TargetStatus{{
			Name: "tcp://10.0.0.1:9999", Group: "main", Up: true, Connections: 15, DialErrors: 22, ChecksPassed: 36, ChecksFailed: 37,
			Lines: &TargetLines{
				Sent: Amount{51, 52}, Acknowledged: Amount{53, 54},
				Confirmed: Amount{16, 17}, ExactConnections: 3, WantedConnections: 4, Failovers: 23, Failbacks: 24, Stalls: 25,
				ResentBy: []ResentBy{{"unacknowledged", Amount{18, 19}}, {"unread", Amount{20, 21}}},
				Lanes:    &TargetLanes{Queued: Amount{58, 59}, Full: 60},
			},
		}, {
			Name: "unix:///run/b.sock", Lines: &TargetLines{Confirmed: Amount{26, 27}},
		}},
		Sources: []SourceStatus{{
			Group: "main",
			Name:  "dns://a.example:9999", Failing: true, Targets: 61, Answers: 62, Failures: 63, LastAnswerAt: time.UnixMilli(64500),
		}, {Name: "file:///etc/targets.json"}},
		Groups: []GroupStatus{{Name: "main", Required: true, Given: Amount{61, 62}, Confirmed: Amount{63, 64},
			Retained: Amount{65, 66}, Queued: Amount{67, 68}, Dropped: Amount{69, 70}, Resent: Amount{71, 72},
			MemoryBytes: 73, BudgetBytes: 74}},
		Spool: &SpoolStatus{
			LimitBytes: 101, Bytes: 102, Segments: 103, UnscannedBytes: 104, Full: true, Unconfirmed: Amount{105, 106},
			Oldest: time.UnixMilli(107500), Appended: Amount{108, 109}, Dropped: Amount{110, 111}, Quarantined: Amount{112, 113},
			QuarantinedFrames: 114, Syncs: 115, SyncErrors: 116, WriteErrors: 117, Faults: 118, HeldBytes: 119, Orphaned: Amount{130, 131},
			Groups: []SpoolGroup{{
				Name: "main", Waiting: Amount{120, 121}, InFlight: Amount{122, 123}, Replayed: Amount{124, 125}, Confirmed: Amount{126, 127},
				Dropped: Amount{128, 129},
			}},
		},
		LogDropped: []LogDropped{{"log", 38}},
		Datagrams:  []DatagramListener{{"udp://127.0.0.1:514", 45, 46}},
	}
}

// fullConnections is the same for connection mode.
func fullConnections() Status {
	return Status{
		Totals: Totals{
			Accepted: 1, AcceptErrors: 2, HandshakeErrors: 3, Connections: 4, Waiting: 5, CutOff: 6, LostDatagrams: 47,
			DiscardedIn: 48, DiscardedOut: 49,
			Refused: []RefusedBy{{Reason: "limit", Count: 7}, {Reason: "no-target", Count: 8}},
		},
		Targets: []TargetStatus{{
			Name: "tcp://10.0.0.1:9999", Up: true, Connections: 11, DialErrors: 15, ChecksPassed: 9, ChecksFailed: 10,
			Forward: &TargetForward{Total: 12, ReceivedBytes: 13, SentBytes: 14},
		}, {
			Name: "udp://10.0.0.2:514", Forward: &TargetForward{Total: 16},
		}},
		Sources:    []SourceStatus{{Name: "dns://a.example:9999", Targets: 61, Answers: 62, LastAnswerAt: time.UnixMilli(64500)}},
		LogDropped: []LogDropped{{"log", 38}, {"access", 39}},
		Datagrams:  []DatagramListener{{"udp://127.0.0.1:514", 45, 46}},
	}
}

func connectionOptions() Options {
	connect := NewConnect()
	connect.Observe(0.002)
	return Options{Mode: ModeConnection, Status: fullConnections, Histogram: connect, Version: "v1.2.3"}
}

func lineOptions() Options {
	confirmation, sync := NewConfirmation(), NewSpoolSync()
	confirmation.Observe(0.002)
	sync.Observe(0.004)
	return Options{Mode: ModeLine, Status: fullLines, Histogram: confirmation, SpoolSync: sync, Version: "v1.2.3"}
}

// fixed is a Control with one Status.
type fixed struct {
	Control
	mode   string
	status func() Status
}

func (f fixed) Status() Status {
	s := f.status()
	s.Mode = f.mode
	return s
}

// fixedProcess has a service of each mode.
type fixedProcess struct{ Process }

func (fixedProcess) Services() []Service {
	line, connection := lineOptions(), connectionOptions()
	return []Service{
		{
			Name: "lines", Control: fixed{mode: line.Mode, status: line.Status},
			Histogram: line.Histogram, SpoolSync: line.SpoolSync,
		},
		{Name: "web", Control: fixed{mode: connection.Mode, status: connection.Status}, Histogram: connection.Histogram},
	}
}

func (fixedProcess) SharedPorts() SharedPorts { return fakeProcess(nil).SharedPorts() }

func serviceOptions() Options { return Options{Process: fixedProcess{}, Version: "v1.2.3"} }

// The check of the alert rules reads the golden files, too.
func TestMetrics(t *testing.T) {
	for golden, o := range map[string]Options{
		"testdata/metrics.txt":   lineOptions(),
		"testdata/forwarded.txt": connectionOptions(),
		"testdata/services.txt":  serviceOptions(),
	} {
		got := ownLines(body(t, get(t, New(o), "GET", "/metrics")))
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: metrics changed; if on purpose, run go test ./admin -update (-want +got):\n%s", golden, diff)
		}
	}
}

// ownLines removes the metrics of Go and of the process, and values that depend on the toolchain.
func ownLines(text string) string {
	var own strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "linesplit_") {
			own.WriteString(withoutLabel(line, "goversion"))
		}
	}
	return own.String()
}

// withoutLabel replaces the value of a label by an ellipsis.
func withoutLabel(line, label string) string {
	before, rest, found := strings.Cut(line, label+`="`)
	if !found {
		return line
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + label + `="…"` + after
}

func TestGoAndProcessMetricsAreThere(t *testing.T) {
	text := body(t, get(t, New(Options{}), "GET", "/metrics"))
	for _, name := range []string{"\ngo_goroutines ", "\nprocess_open_fds ", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(text, name) {
			t.Errorf("no%s in /metrics", name)
		}
	}
}

func TestLint(t *testing.T) {
	for _, o := range []Options{lineOptions(), connectionOptions(), serviceOptions()} {
		problems, err := testutil.GatherAndLint(newRegistry(o))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// One invalid label does not hide the other metrics.
func TestInvalidLabelLeavesOtherMetrics(t *testing.T) {
	s := New(Options{Status: func() Status {
		status := fullLines()
		status.Targets[0].Name = "unix:///run/\xff.sock"
		return status
	}})
	r := get(t, s, "GET", "/metrics")
	if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, "linesplit_received_lines_total 1001\n") {
		t.Errorf("%d\n%s", r.StatusCode, text)
	}
}

func TestConfirmationDoesNotAllocate(t *testing.T) {
	var observer prometheus.Observer = NewConfirmation()
	if n := testing.AllocsPerRun(100, func() { observer.Observe(0.01) }); n != 0 {
		t.Errorf("%v allocations per Observe", n)
	}
}

// Removed targets keep their counters, so that sums do not fall. They have no gauges: they must
// not be reported as down.
func TestRemovedTargetsHaveCountersOnly(t *testing.T) {
	for name, o := range map[string]Options{
		"lines": {Status: func() Status {
			return Status{Removed: &TargetStatus{Lines: &TargetLines{Confirmed: Amount{Lines: 3}}}}
		}},
		"connections": {Mode: ModeConnection, Status: func() Status {
			return Status{Removed: &TargetStatus{Forward: &TargetForward{Total: 3}}}
		}},
	} {
		text := body(t, get(t, New(o), "GET", "/metrics"))
		for line := range strings.Lines(text) {
			if strings.Contains(line, `"removed"`) && !strings.Contains(line, "_total{") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if !strings.Contains(text, `_total{target="removed"} 3`) {
			t.Errorf("%s: the count is missing", name)
		}
	}
}

// One label that is not UTF-8 made its metrics invalid, and with them their whole families.
func TestLabelsAreValid(t *testing.T) {
	s := New(Options{Status: func() Status {
		return Status{Targets: []TargetStatus{{Name: "unix:///a\xffb", Lines: &TargetLines{}}, {Name: "tcp://b:1", Lines: &TargetLines{}}}}
	}})
	text := body(t, get(t, s, "GET", "/metrics"))
	for _, want := range []string{`linesplit_target_up{target="unix:///a�b"} 0`, `linesplit_target_up{target="tcp://b:1"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}
