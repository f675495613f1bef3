//go:build linux

package section

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
)

func TestContendersThatKeepLinesAreMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testInstalled(t)
	for _, name := range b.Available(contender.RsyslogDisk, contender.SyslogNG) {
		t.Run(name, func(t *testing.T) {
			s := contender.Setup{Name: name}
			testTransfer(t, b, s, 600)
			spec := load.Transfer{Senders: 2, Targets: 2, Line: b.size.line}.WithBytes(b.size.outage)
			r, err := b.outageRun(t.Context(), s, spec)
			if err != nil || r.filling <= 0 || r.first <= 0 || r.seconds <= 0 || r.cpu <= 0 || r.peak < 100<<10 {
				t.Errorf("outage: %+v, %v", r, err)
			}
			for _, up := range []bool{true, false} {
				r, err := b.killRun(t.Context(), s, up)
				if err != nil || r.read != b.size.killed || r.lost < 0 || r.lost > r.read {
					t.Errorf("kill, targets up %v: %+v, %v", up, r, err)
				}
			}
			left, err := os.ReadDir(b.Disk)
			if err != nil || len(left) > 0 {
				t.Errorf("%v are left on disk, %v", left, err)
			}
		})
	}
}

// io.Copy holds nothing: all that it has read has arrived when it is killed, and it reads nothing
// while no target is there.
func TestLinesAreCountedAcrossAKill(t *testing.T) {
	b := testBench(t)
	s := contender.Setup{Name: contender.IOCopy}
	r, err := b.killRun(t.Context(), s, true)
	if err != nil || r.read != b.size.killed || r.lost != 0 || r.again != 0 || r.seconds <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestADiskThatIsTooSmallIsNoted(t *testing.T) {
	b := testBench(t)
	b.size.outage = math.MaxInt64 / 2
	found, err := b.spool(t.Context())
	if err != nil || found != nil || len(b.notes) != 1 || !strings.Contains(b.notes[0], "give another folder with -disk") {
		t.Errorf("%d sections, %v, notes %q", len(found), err, b.notes)
	}
}

// Each part of the spool's plan is a step of the progress.
func TestPartsOfTheSpoolTakeTheirTime(t *testing.T) {
	b := testBench(t)
	b.Programs = contender.Programs{Rsyslog: "x", SyslogNG: "x"}
	b.size, b.Reps = fullSizes, 3
	sum := 0.0
	for i, p := range b.spoolParts() {
		if p.seconds <= 0 {
			t.Errorf("part %d takes %v s", i, p.seconds)
		}
		sum += p.seconds
	}
	if got := b.spoolTime(); got != sum || got > 900 {
		t.Errorf("%v s in all, %v s in parts", got, sum)
	}
	want := []string{contender.Linesplit, contender.LinesplitOverflow, contender.LinesplitAlways, contender.LinesplitSynced,
		contender.RsyslogDisk, contender.SyslogNG}
	if got := b.spoolContenders(); !slices.Equal(got, want) {
		t.Errorf("%q are measured", got)
	}
}

func TestDiskAloneIsMeasured(t *testing.T) {
	b := testBench(t)
	table, trials := newTrials([]string{diskAlone}, transferColumns...)
	trials[0].spec.Bytes = b.size.spool
	if err := b.takeTurns(t.Context(), 2, trials, b.measureDisk); err != nil {
		t.Fatal(err)
	}
	if speed := table.Find(diskAlone, "MB/s"); len(speed) != 2 || speed[0] <= 0 {
		t.Errorf("%v MB/s", speed)
	}
	if about, err := b.aboutSpool(); err != nil || !strings.Contains(about, "files on ") {
		t.Errorf("%s, %v", about, err)
	}
}

func TestFileIsWrittenAndRemoved(t *testing.T) {
	folder := t.TempDir()
	seconds, err := writeFile(folder, 3*diskBlock+1, time.Millisecond)
	left, listErr := os.ReadDir(folder)
	if err != nil || listErr != nil || seconds <= 0 || len(left) > 0 {
		t.Errorf("%v s, %v; %v are left, %v", seconds, err, left, listErr)
	}
	if _, err := writeFile("/nowhere", 1, time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: error = %v", err)
	}
}
