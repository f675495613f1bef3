//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"linesplit/admin"
	"linesplit/internal/testrig"
)

// startGroups starts a linesplit with two groups: main, and archive with the options given. Each
// group has a stage of its own, with a tally of its own.
func startGroups(t *testing.T, options string, args ...string) (main, archive *testrig.Stage) {
	t.Helper()
	main, archive = testrig.NewStage(t), testrig.NewStage(t)
	a, b := main.StartTwoSinks()
	c, d := archive.StartTwoSinks()
	args = append(args, "-connections", "2", "-group", "archive="+c.Target()+","+d.Target()+options)
	main.Process = main.StartLinesplit([]testrig.Target{a, b}, args...)
	main.Baseline = testrig.WaitForUsage(t, main.Process, 8)
	return main, archive
}

// wantGroup demands that a group has accounted for all lines.
func wantGroup(t *testing.T, m testrig.Metrics, name string, lines, dropped float64) {
	t.Helper()
	confirmed := m.Sum("linesplit_group_confirmed_lines_total", "group", name)
	if n := m.Sum("linesplit_group_dropped_lines_total", "group", name); confirmed+n != lines || dropped == 0 && n > 0 {
		t.Errorf("group %s: %.0f confirmed, %.0f dropped of %.0f", name, confirmed, n, lines)
	}
}

// waitForGroups waits until the named groups of a process have nothing queued and nothing retained,
// and returns the metrics of that moment.
func waitForGroups(t *testing.T, p *testrig.Process, names ...string) (m testrig.Metrics) {
	t.Helper()
	testrig.WaitFor(t, fmt.Sprintf("the groups %q are at rest", names), func() bool {
		m = p.Metrics()
		var held float64
		for _, name := range names {
			held += m.Sum("linesplit_group_queued_lines", "group", name) + m.Sum("linesplit_group_retained_lines", "group", name)
		}
		return held == 0
	})
	return m
}

// Each line reaches each group, whatever targets crash in either of them.
func TestEachGroupGetsEachLine(t *testing.T) {
	t.Parallel()
	main, archive := startGroups(t, "")
	main.StartSenders(2, testrig.SteadySender())
	for range 2 {
		for _, s := range []*testrig.Stage{main, archive} {
			for _, sink := range s.Sinks {
				main.WaitForLines(sink, 200)
				sink.Crash(0)
				main.WaitForLines(s.Tally, 400)
				sink.Listen()
			}
		}
	}
	main.StopSenders()
	archive.Sent = main.Sent
	main.WaitForAllLines()
	archive.WaitForAllLines()
	main.CheckLeaks()
	m := waitForGroups(t, main.Process, "main", "archive")
	wantGroup(t, m, "main", float64(main.Sent.Lines()), 0)
	wantGroup(t, m, "archive", float64(main.Sent.Lines()), 0)
	if n := m.Sum("linesplit_memory_bytes"); n != 0 {
		t.Errorf("%.0f bytes of memory are held at the end", n)
	}
	main.Terminate(0)
	for name, s := range map[string]*testrig.Stage{"main": main, "archive": archive} {
		r := s.Tally.Report(main.Sent)
		if err := r.Err(); err != nil {
			t.Errorf("group %s: %v: %s\n%s", name, err, r, r.Details())
		}
		if resent := m.Sum("linesplit_group_resent_lines_total", "group", name); float64(r.Duplicated) > resent {
			t.Errorf("group %s: %d duplicates, %.0f resent", name, r.Duplicated, resent)
		}
	}
}

// A best-effort group whose targets hang loses lines beyond its budget, and no others; the main
// group does not notice, nor does the end of linesplit wait for long.
func TestBestEffortGroupDropsBeyondItsBudget(t *testing.T) {
	t.Parallel()
	main, archive := startGroups(t, "?required=false&budget=256KiB", "-drain-timeout", "2s")
	for _, sink := range archive.Sinks {
		sink.Narrow(testrig.SmallBuffer)
		sink.Pause()
	}
	main.StartSenders(2, testrig.SenderOptions{Lines: 40_000})
	main.WaitForSenders()
	main.WaitForAllLines()
	m := waitForGroups(t, main.Process, "main")
	wantGroup(t, m, "main", 80_000, 0)
	dropped := m.Sum("linesplit_group_dropped_lines_total", "group", "archive")
	const copies = 4 * (4<<10 + 16<<10) // each connection may copy small lines, and its part of a burst
	if n := m.Sum("linesplit_group_memory_bytes", "group", "archive"); dropped == 0 || n > 256<<10+copies {
		t.Errorf("%.0f lines dropped, %.0f bytes held of 256 KiB", dropped, n)
	}
	for _, sink := range archive.Sinks {
		sink.Resume()
	}
	m = waitForGroups(t, main.Process, "archive")
	wantGroup(t, m, "archive", 80_000, dropped)
	if main.CountLogLines("group is over its budget") == 0 {
		t.Error("the log does not say so")
	}
	main.Terminate(0)
	main.CheckDelivery(m, testrig.NoDuplicates)
}

// A required group that stands still holds up the senders, as a single group does.
func TestRequiredGroupHoldsUpSenders(t *testing.T) {
	t.Parallel()
	main, archive := startGroups(t, "", "-memory", "8MiB")
	for _, sink := range archive.Sinks {
		sink.Narrow(testrig.SmallBuffer)
		sink.Pause()
	}
	main.StartSenders(2, testrig.SenderOptions{})
	main.WaitUntilSendersBlock()
	for _, sink := range archive.Sinks {
		sink.Resume()
	}
	main.StopSenders()
	archive.Sent = main.Sent
	main.WaitForAllLines()
	archive.WaitForAllLines()
	m := waitForGroups(t, main.Process, "archive")
	wantGroup(t, m, "archive", float64(main.Sent.Lines()), 0)
	main.Terminate(0)
}

// Operators see which target is in which group, and add some to a group.
func TestGroupsAreShown(t *testing.T) {
	t.Parallel()
	main := testrig.NewStage(t)
	o := newOperator(main)
	sinks := []*testrig.Sink{main.StartSink(testrig.SinkOptions{}), main.StartSink(testrig.SinkOptions{}), main.StartSink(testrig.SinkOptions{})}
	main.Process = main.StartLinesplit([]testrig.Target{sinks[0]}, "-connections", "1", "-admin-token-file", o.token,
		"-group", "archive="+sinks[1].Target())
	testrig.WaitForUsage(t, main.Process, 2)
	o.connect()
	if _, err := o.try("add", "archive="+sinks[0].Target()); err == nil {
		t.Error("a target was added to a second group")
	}
	o.do("add", "archive="+sinks[2].Target())
	o.await(sinks[2].Target(), admin.StateUp)
	var status admin.Status
	if err := json.Unmarshal(o.do("status"), &status); err != nil {
		t.Fatal(err)
	}
	groups := map[string]int{}
	for _, x := range status.Targets {
		groups[x.Group]++
	}
	if groups["main"] != 1 || groups["archive"] != 2 || len(status.Groups) != 2 || status.Groups[1].Targets != 2 || !status.Groups[1].Required {
		t.Errorf("%v, %+v", groups, status.Groups)
	}
	o.do("remove", sinks[1].Target())
	testrig.WaitFor(t, "the target is gone", func() bool { return o.state(sinks[1].Target()) == "" })
	main.Terminate(0)
}
