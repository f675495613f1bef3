//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/admin"
	"linesplit/internal/testrig"
)

// Targets of two groups come from a list each and change under load. Each group gets each line
// once. At first the second group, which is required, has no target, and senders wait.
func TestGroupsFollowFiles(t *testing.T) {
	t.Parallel()
	main, archive := testrig.NewStage(t), testrig.NewStage(t)
	dir := t.TempDir()
	lists := []listFile{{main, filepath.Join(dir, "main.yaml")}, {archive, filepath.Join(dir, "archive.yaml")}}
	a, b := main.StartTwoSinks()
	c, d := archive.StartTwoSinks()
	putList(lists[0], a, b)
	o := newOperator(main)
	main.Process = main.StartLinesplit(nil, "-connections", "2", "-admin-token-file", o.token,
		"-target", "file://"+lists[0].path+"?refresh=1s", "-group", "archive=file://"+lists[1].path+"?refresh=1s")
	o.connect()
	testrig.WaitForUsage(t, main.Process, 4)
	main.StartSenders(2, testrig.SteadySender())
	main.WaitForExactMetric(1, "linesplit_source_failing")
	if ready := string(o.do("status")); !strings.Contains(ready, "no target of group archive has been found yet") {
		t.Errorf("the status does not say why linesplit is not ready: %s", ready)
	}
	putList(lists[1], c)
	archive.Process = main.Process
	archive.WaitForLines(c, 400)
	putList(lists[1], c, d)
	archive.WaitForLines(d, 200)
	a.Shutdown()
	putList(lists[0], b)
	c.Shutdown()
	putList(lists[1], d)
	for _, gone := range []*testrig.Sink{a, c} {
		testrig.WaitFor(t, gone.Target()+" goes", func() bool { return o.state(gone.Target()) == "" })
	}
	main.WaitForLines(b, 200)
	archive.WaitForLines(d, 200)

	wantGroupsOfLists(o, lists, d)
	if m := main.Process.Metrics(); m.Sum("linesplit_source_group", "group", "archive") != 1 {
		t.Errorf("the metrics do not have the source's group:\n%s", m.Dump())
	}

	main.StopSenders()
	archive.Sent = main.Sent
	main.WaitForAllLines()
	archive.WaitForAllLines()
	m := waitForGroups(t, main.Process, "main", "archive")
	wantGroup(t, m, "main", float64(main.Sent.Lines()), 0)
	wantGroup(t, m, "archive", float64(main.Sent.Lines()), 0)
	main.Terminate(0)
	for name, of := range map[string]*testrig.Stage{"main": main, "archive": archive} {
		if r := of.Tally.Report(main.Sent); r.Err() != nil || r.Duplicated > 0 {
			t.Errorf("group %s: %s\n%s", name, r, r.Details())
		}
	}
}

// wantGroupsOfLists demands that the status names the group and the list of each target, and the
// group of each list. Of the targets, archived is from the second list.
func wantGroupsOfLists(o *operator, lists []listFile, archived *testrig.Sink) {
	o.Helper()
	var s admin.Status
	if err := json.Unmarshal(o.do("status"), &s); err != nil {
		o.Fatal(err)
	}
	for _, x := range s.Targets {
		group, list := "main", lists[0].path
		if x.Name == archived.Target() {
			group, list = "archive", lists[1].path
		}
		if from := strings.Join(x.From, " "); x.Group != group || from != "file://"+list+"?refresh=1s" {
			o.Errorf("%s is in group %s, from %s", x.Name, x.Group, from)
		}
	}
	if len(s.Sources) != 2 || s.Sources[0].Group != "main" || s.Sources[1].Group != "archive" {
		o.Errorf("sources: %+v", s.Sources)
	}
}

// linesplit ends at once where a required group has never had a target and no line has come. Where
// a best-effort group has none although lines have come, it waits for the drain timeout, and
// accounts for them.
func TestGroupsWithoutTargetsEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, options string
		lines         int
	}{
		{"required", "", 0},
		{"best effort", "?required=false", 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			s.Process = s.StartLinesplit([]testrig.Target{sink}, "-drain-timeout", "2s",
				"-group", "archive=file://"+filepath.Join(t.TempDir(), "none.yaml")+test.options)
			testrig.WaitForUsage(t, s.Process, 4)
			if test.lines > 0 {
				s.StartSenders(1, testrig.SenderOptions{Lines: test.lines})
				s.WaitForSenders()
				s.WaitForAllLines()
			}
			s.Terminate(0)
			if n := s.CountLogLines("drain timeout has passed"); n > 0 && test.lines == 0 {
				t.Error("the end has waited for the drain timeout")
			}
			if n := s.CountLogLines("group ended", "group=archive", fmt.Sprintf("unconfirmed_lines=%d", test.lines)); n != 1 {
				t.Errorf("the log has no account of the group:\n%s", s.Process.LastLines(5))
			}
		})
	}
}
