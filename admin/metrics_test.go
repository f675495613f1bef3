package admin

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt anew")

// full is a snapshot with a value of its own in every field, so that none can be taken for another.
func full() Snapshot {
	return Snapshot{
		ReceivedLines: 1001, ReceivedBytes: 1002,
		Dropped: []Dropped{
			{Reason: "oversize", Lines: 1, Bytes: 2}, {Reason: "torn", Lines: 3, Bytes: 4},
			{Reason: "memory", Lines: 5, Bytes: 6}, {Reason: "truncated", Bytes: 7},
		},
		TruncatedLines: 8,
		QueuedLines:    9, QueuedBytes: 10, QueueBuffers: 11, QueueCapacity: 12,
		RetainedLines: 13, RetainedBytes: 14,
		Targets: []Target{{
			Name: "tcp://10.0.0.1:9999", Up: true, Connections: 15, ConfirmedLines: 16, ConfirmedBytes: 17,
			Resent:     []Resent{{Cause: "unacknowledged", Lines: 18, Bytes: 19}, {Cause: "unread", Lines: 20, Bytes: 21}},
			DialErrors: 22, Failovers: 23, Failbacks: 24, Stalls: 25,
		}, {
			Name: "unix:///run/b.sock", ConfirmedLines: 26, ConfirmedBytes: 27,
		}},
		Connections: 28, Accepted: 29, CutOff: 30, AcceptErrors: 31, HandshakeErrors: 32,
		MemoryBytes: 33, MemoryLimit: 34,
		Refused: []Count{{Label: "denied", N: 35}},
		Checks:  []Checks{{Target: "tcp://10.0.0.1:9999", Passed: 36, Failed: 37}},
	}
}

// fullForwarded is the same for connection mode.
func fullForwarded() Forwarded {
	return Forwarded{
		Accepted: 1, AcceptErrors: 2, HandshakeErrors: 3, Connections: 4, Waiting: 5, CutOff: 6,
		Refused: []Count{{Label: "limit", N: 7}, {Label: "no-target", N: 8}},
		Checks:  []Checks{{Target: "tcp://10.0.0.1:9999", Passed: 9, Failed: 10}},
		Targets: []ForwardTarget{
			{Name: "tcp://10.0.0.1:9999", Up: true, Connections: 11, Total: 12, Received: 13, Sent: 14, DialErrors: 15},
			{Name: "udp://10.0.0.2:514", Total: 16},
		},
	}
}

func forwardOptions() Options {
	connect := NewConnect()
	connect.Observe(0.002)
	return Options{Forwarded: fullForwarded, Histogram: connect, Version: "v1.2.3",
		LogDropped: func() []Count { return []Count{{Label: "log", N: 38}, {Label: "access", N: 39}} }}
}

func fullOptions() Options {
	confirmation := NewConfirmation()
	confirmation.Observe(0.002)
	return Options{Source: full, Histogram: confirmation, Version: "v1.2.3", LogDropped: func() []Count { return []Count{{Label: "log", N: 38}} }}
}

// The golden files are what the check of the alert rules believes in, too.
func TestMetrics(t *testing.T) {
	for golden, o := range map[string]Options{"testdata/metrics.txt": fullOptions(), "testdata/forwarded.txt": forwardOptions()} {
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
			t.Errorf("%s: metrics changed; if that is meant, run go test ./admin -update (-want +got):\n%s", golden, diff)
		}
	}
}

// ownLines leaves out the families of Go and the process, and what changes with the toolchain.
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
	for _, o := range []Options{fullOptions(), forwardOptions()} {
		problems, err := testutil.GatherAndLint(newRegistry(o))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// One odd label must not cost the operator all the other figures.
func TestBrokenLabelLeavesTheRest(t *testing.T) {
	s := New(Options{Source: func() Snapshot {
		snapshot := full()
		snapshot.Targets[0].Name = "unix:///run/\xff.sock"
		return snapshot
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

// What targets that were removed have counted stays in the sums; a state they do not have, and nobody is to be told that they are down.
func TestRemovedTargetsAreCountsAlone(t *testing.T) {
	for name, o := range map[string]Options{
		"lines": {Source: func() Snapshot {
			return Snapshot{Targets: []Target{{Name: "removed", Removed: true, ConfirmedLines: 3}}}
		}},
		"connections": {Forwarded: func() Forwarded {
			return Forwarded{Targets: []ForwardTarget{{Name: "removed", Removed: true, Total: 3}}}
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
