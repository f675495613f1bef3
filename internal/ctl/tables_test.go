package ctl

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
)

// The columns of the other mode stood there, full of dashes or zeros.
func TestTablesLeaveOutTheColumnsOfTheOtherMode(t *testing.T) {
	var lineTargets, connectionTargets, senders, clients, idle bytes.Buffer
	writeTargets(&lineTargets, []admin.TargetStatus{{Name: "a", State: admin.StateUp, Lines: &admin.TargetLines{Weight: 2, Backup: true}}})
	writeTargets(&connectionTargets, []admin.TargetStatus{{Name: "a", State: admin.StateUp, Forward: &admin.TargetForward{Weight: 3}}})
	writeConnections(&senders, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l", ReceivedLines: 5}}})
	writeConnections(&clients, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l", Target: "t"}}})
	writeConnections(&idle, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l"}}})
	for _, tt := range []struct {
		name, heads, row string
		table            *bytes.Buffer
	}{
		{"targets in line mode",
			"TARGET STATE FOR CONNECTIONS EXACT RATE SHARE SENT ACKED CONFIRMED LATENCY WINDOW WEIGHT LAST ERROR",
			"a up - 0 0 0 B/s 0% 0 0 0 - 0 B 2 (backup)", &lineTargets},
		{"targets in connection mode", "TARGET STATE FOR CONNECTIONS RATE SHARE LATENCY WEIGHT LAST ERROR",
			"a up - 0 0 B/s 0% - 3", &connectionTargets},
		{"senders", "ID CLIENT LISTENER FOR LINES IN BYTES IN", "1 c l - 5 0 B", &senders},
		{"clients", "ID CLIENT LISTENER TARGET FOR BYTES IN BYTES OUT", "1 c l t - 0 B 0 B", &clients},
		{"a mode that shows nowhere", "ID CLIENT LISTENER FOR BYTES IN", "1 c l - 0 B", &idle},
	} {
		var lines []string
		for line := range strings.Lines(tt.table.String()) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		if !slices.Equal(lines, []string{tt.heads, tt.row}) {
			t.Errorf("%s:\n%s", tt.name, tt.table)
		}
	}
}

// A row with an empty last cell ended the columns before it, and the rows below stood elsewhere.
func TestColumnsAreAlignedWhateverIsEmpty(t *testing.T) {
	var table bytes.Buffer
	writeTable(&table, func(row func(...string)) {
		row("TARGET", "WINDOW", "LAST ERROR")
		row("a", "much more", "e1")
		row("b", "1 B", "")
		row("a longer name", "", "e2")
		row("", "", "e3")
		row("", "", "")
	})
	want := `TARGET         WINDOW     LAST ERROR
a              much more  e1
b              1 B
a longer name             e2
                          e3

`
	if table.String() != want {
		t.Errorf("got\n%swant\n%s", table.String(), want)
	}
}

// Targets with keys say which of them hold up senders.
func TestTargetsWithKeys(t *testing.T) {
	lanes := func(l admin.TargetLanes) admin.TargetStatus {
		return admin.TargetStatus{Name: "a", State: admin.StateUp, Lines: &admin.TargetLines{Lanes: &l}}
	}
	var out strings.Builder
	writeTargets(&out, []admin.TargetStatus{
		lanes(admin.TargetLanes{Queued: admin.Amount{Lines: 12345}, Full: 2, FullSince: time.Now().Add(-3 * time.Minute)}),
		lanes(admin.TargetLanes{}),
		{Name: "of an older version", Lines: &admin.TargetLines{}},
	})
	for _, want := range []string{"QUEUED  FULL LANES", "12,345  2 for 3m0s", "0       -"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	writeStatus(&out, admin.Status{Mode: admin.ModeLine,
		Keys: &admin.KeyStatus{Rule: "json:host", Moving: 0.2, Waiting: admin.Amount{Lines: 7}}})
	if want := "json:host, 20% of them moving, for which 7 lines wait"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

func TestGroupsHaveATableOfTheirOwn(t *testing.T) {
	var groups, targets bytes.Buffer
	writeGroups(&groups, []admin.GroupStatus{
		{Name: "main", Required: true, Targets: 2, Given: admin.Amount{Lines: 9}, Confirmed: admin.Amount{Lines: 8}, Retained: admin.Amount{Lines: 1}},
		{Name: "archive", Targets: 1, Dropped: admin.Amount{Lines: 7}, MemoryBytes: 1024, BudgetBytes: 2048},
	})
	writeTargets(&targets, []admin.TargetStatus{{Name: "a", Group: "main", Lines: &admin.TargetLines{}}})
	for _, want := range []string{
		"GROUP TARGETS GIVEN CONFIRMED RETAINED QUEUED DROPPED RESENT MEMORY",
		"main 2 9 8 1 0 0 0 0 B", "archive 1 0 0 0 0 7 0 1.0 KiB of 2.0 KiB", "GROUP TARGET STATE", "main a",
	} {
		if got := strings.Join(strings.Fields(groups.String()+targets.String()), " "); !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s%s", want, &groups, &targets)
		}
	}
}
