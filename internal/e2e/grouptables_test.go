//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// groupTable returns a table of a group, [group.NAME] or [service.SERVICE.group.NAME].
func groupTable(name string, sinks ...*testrig.Sink) string {
	var list []string
	for _, s := range sinks {
		list = append(list, strconv.Quote(s.Target()))
	}
	return fmt.Sprintf("[%s]\ntarget = [%s]\n", name, strings.Join(list, ", "))
}

// Groups in tables of a file get each line, those of one service and those at the top alike. A
// reload gives a group another target, and nothing is lost or sent twice.
func TestGroupsInTables(t *testing.T) {
	t.Parallel()
	s := &severalStage{testrig.NewStage(t), filepath.Join(t.TempDir(), "services.toml")}
	archive, audit := testrig.NewStage(t), testrig.NewStage(t)
	a := s.StartSink(testrig.SinkOptions{})
	b, c := archive.StartTwoSinks()
	d := audit.StartSink(testrig.SinkOptions{})
	service := lineTable("lines", a) + groupTable("service.lines.group.audit", d)
	s.write(groupTable("group.archive", b)+"required = true\n", service)
	s.Process = testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-config", s.file}, Listeners: 1})
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(s.Tally, 400)
	s.reload(groupTable("group.archive", b, c), service)
	s.WaitForLines(c, 200)
	s.StopSenders()
	archive.Sent, audit.Sent = s.Sent, s.Sent
	for _, of := range []*testrig.Stage{s.Stage, archive, audit} {
		of.WaitForAllLines()
	}
	groups := []string{"main", "archive", "audit"}
	m := waitForGroups(t, s.Process, groups...)
	for _, name := range groups {
		wantGroup(t, m, name, float64(s.Sent.Lines()), 0)
	}
	s.Terminate(0)
	for name, of := range map[string]*testrig.Stage{"main": s.Stage, "archive": archive, "audit": audit} {
		if r := of.Tally.Report(s.Sent); r.Err() != nil || r.Duplicated > 0 {
			t.Errorf("group %s: %s\n%s", name, r, r.Details())
		}
	}
}
