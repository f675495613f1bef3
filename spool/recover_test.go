package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linesplit/linebuf"
)

// A process is killed at a random moment of random work, several times in a row. Afterwards each
// group gets exactly the lines that it has not confirmed.
func TestRecoverAfterKills(t *testing.T) {
	for seed := range 6 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &model{random: rand.New(rand.NewPCG(uint64(seed), 7)), open: [2]map[string]bool{{}, {}}}
			dir := t.TempDir()
			for range 4 {
				dir = m.work(t, dir)
			}
			m.check(t, dir)
		})
	}
}

// model is what a spool has to know.
type model struct {
	random *rand.Rand
	n      int                // lines so far
	open   [2]map[string]bool // lines that a group has not confirmed
}

func modelOptions(o *Options) { o.Segment, o.Groups = minSegment, []string{"a", "b"} }

// work does random things to the spool in a directory, and returns what a kill leaves of it.
func (m *model) work(t *testing.T, dir string) string {
	r := start(t, dir, modelOptions)
	type inFlight struct {
		receipt *linebuf.Receipt
		group   int
		line    string
	}
	var flying []inFlight
	var read [2][]*linebuf.Buffer
	for range 300 {
		switch k := m.random.IntN(10); {
		case k < 5:
			line := fmt.Sprintf("%d %s\n", m.n, strings.Repeat("y", m.random.IntN(3000)))
			m.n++
			groups := linebuf.Groups(1 + m.random.IntN(3))
			waiting := linebuf.Groups(m.random.IntN(4)) & groups
			receipt := r.append(line, groups, waiting)
			for group := range 2 {
				if has(groups, group) {
					m.open[group][line] = true
				}
				if has(groups&^waiting, group) {
					flying = append(flying, inFlight{receipt, group, line})
				}
			}
		case k < 8 && len(flying) > 0:
			i := m.random.IntN(len(flying))
			f := flying[i]
			flying = slices.Delete(flying, i, i+1)
			if k == 7 {
				r.Postpone(f.receipt, 1<<f.group)
				continue
			}
			r.confirm(f.receipt, f.group)
			delete(m.open[f.group], f.line)
		case r.behind(k % 2):
			b, err := r.nextOrNone(k % 2)
			must(t, err)
			if b == nil {
				continue
			}
			if m.random.IntN(3) == 0 {
				read[k%2] = append(read[k%2], b) // never confirmed in this run
				continue
			}
			for line := range strings.Lines(string(b.B)) {
				if !m.open[k%2][line] {
					t.Fatalf("group %d gets %.20q, which is not open", k%2, line)
				}
				delete(m.open[k%2], line)
			}
			r.pool.Put(b)
		}
	}
	r.scanned()
	r.written()
	return r.snapshot()
}

// check compares what a spool delivers with what it has to.
func (m *model) check(t *testing.T, dir string) {
	r := start(t, dir, modelOptions)
	r.scanned()
	for group, open := range m.open {
		want := []string{""}
		for line := range open {
			want = append(want, line)
		}
		slices.Sort(want)
		if waiting := r.Stats().Groups[group].Waiting.Lines; waiting != uint64(len(open)) {
			t.Errorf("%d lines wait for group %d, rather than %d", waiting, group, len(open))
		}
		if got := sorted(r.drain(group)); !slices.Equal(got, want) {
			t.Errorf("group %d gets %d lines rather than %d", group, len(got), len(want))
		}
	}
	if s := r.Stats(); s.Unconfirmed.Lines != 0 || s.Faults != 0 {
		t.Errorf("left %+v", s)
	}
}

// A spool has been written with other groups. Lines are delivered by the names of the groups.
func TestGroupsGoByName(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Groups = []string{"a", "b", "c"} })
	r.append("for a\n", 1, 1)
	r.append("for b\n", 2, 2)
	r.append("for a, c\n", 5, 5)
	r.append("for c\n", 4, 4)
	r.confirm(r.append("for c, confirmed\n", 4, 0), 2)
	r.confirm(r.append("for b, confirmed by it; c\n", 6, 4), 1)
	r.synced()
	r.written()
	again := start(t, r.snapshot(), func(o *Options) { o.Groups = []string{"new", "b", "a"} })
	again.scanned()
	want := []string{"", "for b\n", "for a\nfor a, c\n"}
	for group := range want {
		if got := again.drain(group); got != want[group] {
			t.Errorf("group %d gets %q", group, got)
		}
	}
	if s := again.Stats(); s.Orphaned.Lines != 3 || !strings.Contains(again.log.String(), "groups that no longer exist") {
		t.Errorf("counted %+v", s)
	}
	again.await("the segment is removed", func(s Stats) bool { return s.Segments == 1 })
}

// The first block of a segment is lost: its lines go to all groups, since their names are lost.
func TestLostSegmentHeader(t *testing.T) {
	groups := func(o *Options) { o.Groups = []string{"a", "b"} }
	r := start(t, t.TempDir(), groups)
	r.append(numbered(0, 10), 1, 1)
	r.append(numbered(10, 20), 2, 2)
	r.synced()
	dir := r.snapshot()
	f, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, headerBlock), 0)
	must(t, err)
	must(t, f.Close())
	again := start(t, dir, groups)
	for group := range 2 {
		if got := again.drain(group); got != numbered(0, 20) {
			t.Errorf("group %d gets %q", group, got)
		}
	}
	if s := again.Stats(); s.Faults == 0 {
		t.Errorf("counted %+v", s)
	}
	again.await("the segment is removed", func(s Stats) bool { return s.Segments == 1 })
}

// A group that has no name any more does not use the spool, and keeps no segment from being
// removed, not even one whose lines go to all groups.
func TestGroupThatNoLongerUsesTheSpool(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Groups = []string{"a", "b"} })
	r.append(numbered(0, 10), 3, 3)
	r.synced()
	for _, lost := range []bool{false, true} {
		dir := r.snapshot()
		if lost {
			f, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt(make([]byte, headerBlock), 0)
			must(t, err)
			must(t, f.Close())
		}
		again := start(t, dir, func(o *Options) { o.Groups = []string{"a", ""} })
		again.append(numbered(10, 20), 3, 3)
		if got := again.drain(0); got != numbered(0, 20) {
			t.Errorf("a gets %q", got)
		}
		if again.behind(1) {
			t.Error("lines wait for a group that does not use the spool")
		}
		again.await("the first segment is removed", func(s Stats) bool { return s.Segments <= 2 && s.Unconfirmed.Lines == 0 })
	}
}

// The header of a frame is damaged: its bytes are kept aside, since nothing is known of them.
func TestDamagedFrameHeaderIsKept(t *testing.T) {
	r := start(t, t.TempDir())
	for i := range 3 {
		r.append(numbered(10*i, 10*i+10), 1, 1)
	}
	r.synced()
	dir := r.snapshot()
	segment := filepath.Join(dir, segmentName(1))
	text, err := os.ReadFile(segment)
	must(t, err)
	must(t, flip(segment, int64(strings.Index(string(text), "line 10\n"))-frameHeader))
	again := start(t, dir)
	if got := again.drain(0); got != numbered(0, 10)+numbered(20, 30) {
		t.Errorf("delivered %q", got)
	}
	kept := files(t, filepath.Join(dir, quarantineName), "*"+rawSuffix)
	if len(kept) != 1 {
		t.Fatalf("quarantine has %q", kept)
	}
	text, err = os.ReadFile(filepath.Join(dir, quarantineName, kept[0]))
	must(t, err)
	if !strings.Contains(string(text), numbered(10, 20)) {
		t.Error("the lines are not in quarantine")
	}
	if s := again.Stats(); s.Faults == 0 || !strings.Contains(s.LastFault, "belong to no frame") {
		t.Errorf("counted %+v", s)
	}
}

// The header of a frame was damaged after the index of its segment had gone out of memory. Its
// lines disappeared without a trace: not counted, not kept, not logged.
func TestFrameHeaderIsDamagedLater(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	for i := range 100 {
		r.append(fill(i), 1, 1)
	}
	r.synced()
	r.await("a segment in the middle is not in memory", func(Stats) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.segments[3].loaded
	})
	must(t, flip(filepath.Join(r.o.Dir, segmentName(4)), headerBlock))
	got := r.drain(0)
	s := r.Stats()
	if lines := strings.Count(got, "\n"); lines != 99 || s.QuarantinedFrames != 1 || s.Quarantined.Lines != 1 || s.Faults == 0 {
		t.Errorf("delivered %d lines; counted %+v", lines, s)
	}
	if !strings.Contains(r.log.String(), "frames of a segment are damaged") {
		t.Errorf("the log says %s", r.log)
	}
	if kept := files(t, filepath.Join(r.o.Dir, quarantineName), "*"+rawSuffix); len(kept) != 1 {
		t.Errorf("quarantine has %q", kept)
	}
}

// With any byte of its files changed, a small spool starts, delivers all lines but those of one
// frame at most, none of them changed, and ends.
func TestDamagedFilesAtManyOffsets(t *testing.T) {
	r := start(t, t.TempDir())
	for i := range 4 {
		r.append(numbered(10*i, 10*i+3), 1, 1)
	}
	r.confirm(r.append("confirmed\n", 1, 0), 0)
	r.synced()
	r.written()
	clean := r.snapshot()
	want := sorted(numbered(0, 3) + numbered(10, 13) + numbered(20, 23) + numbered(30, 33))
	for _, name := range []string{segmentName(1), doneName(1)} {
		end := int64(2 * doneBlock)
		if name == segmentName(1) {
			end = headerBlock + 5*128
		}
		for offset := int64(0); offset < end; offset += 29 {
			dir := copyDir(t, clean)
			must(t, flip(filepath.Join(dir, name), offset))
			again := start(t, dir)
			got := sorted(again.drain(0))
			again.stop()
			got = slices.DeleteFunc(got, func(line string) bool { return line == "confirmed\n" })
			missing := 0
			for _, line := range want {
				if !slices.Contains(got, line) {
					missing++
				}
			}
			if missing != 0 && missing != 3 || len(got)+missing != len(want) {
				t.Fatalf("byte %d of %s: %s", offset, name, cmp.Diff(want, got))
			}
			must(t, os.RemoveAll(dir))
		}
	}
}
