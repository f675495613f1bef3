package ctl

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"linesplit/admin"
)

// The columns of the other mode stood there, full of dashes or zeros.
func TestTablesLeaveOutTheColumnsOfTheOtherMode(t *testing.T) {
	var lineTargets, connectionTargets, senders, clients, idle bytes.Buffer
	writeTargets(&lineTargets, []admin.TargetStatus{{Name: "a", State: admin.StateUp, Lines: &admin.TargetLines{}}})
	writeTargets(&connectionTargets, []admin.TargetStatus{{Name: "a", State: admin.StateUp, Forward: &admin.TargetForward{Weight: 3}}})
	writeConnections(&senders, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l", ReceivedLines: 5}}})
	writeConnections(&clients, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l", Target: "t"}}})
	writeConnections(&idle, connectionList{[]admin.Connection{{ID: 1, Client: "c", Listener: "l"}}})
	for _, tt := range []struct {
		name, heads, row string
		table            *bytes.Buffer
	}{
		{"targets in line mode",
			"TARGET STATE FOR CONNECTIONS EXACT RATE SHARE SENT ACKED CONFIRMED LATENCY WINDOW LAST ERROR",
			"a up - 0 0 0 B/s 0% 0 0 0 - 0 B", &lineTargets},
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
