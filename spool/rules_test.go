package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The tests in this file and in rules_disk_test.go hold nine rules, each learned from a fault of
// another program's queue on disk.

// Rule 1: the files are the truth. A file of confirmations that was lost, cut off, or taken from
// another segment costs duplicates, never lines.
func TestRule1SegmentsAloneAreEnough(t *testing.T) {
	r := start(t, t.TempDir())
	for i := range 20 {
		receipt := r.append(numbered(10*i, 10*i+10), 1, 0)
		if i < 10 {
			r.confirm(receipt, 0)
		}
	}
	r.written()
	half, all := numbered(100, 200), numbered(0, 200)
	for name, test := range map[string]struct {
		damage func(done string) error
		want   string
	}{
		"as it is":    {func(string) error { return nil }, half},
		"missing":     {os.Remove, all},
		"empty":       {func(f string) error { return os.Truncate(f, 0) }, all},
		"cut off":     {func(f string) error { return os.Truncate(f, doneBlock+100) }, all},
		"header only": {func(f string) error { return os.Truncate(f, doneBlock) }, all},
		"another's": {func(f string) error {
			other := segmentID{1}
			bits := doneBits{}
			for i := range bits {
				bits[i] = ^uint64(0)
			}
			return os.WriteFile(f, appendDone(encodeDoneHeader(&other, 1), &other, 0, 0, &bits), 0o600)
		}, all},
		"a bit is set": {func(f string) error { return flip(f, doneBlock+2) }, all},
	} {
		t.Run(name, func(t *testing.T) {
			dir := r.snapshot()
			must(t, test.damage(filepath.Join(dir, doneName(1))))
			again := start(t, dir)
			if got := again.drain(0); got != test.want {
				t.Errorf("delivered %q", got)
			}
		})
	}
}

// flip changes a bit of a file.
func flip(name string, offset int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return err
	}
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], offset)
	return err
}

// Rule 2: a good header with bad lines skips one frame, which is counted and kept aside. What is
// newer is delivered.
func TestRule2OneDamagedFrameCostsOneFrame(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Groups = []string{"a", "b"} })
	for i := range 20 {
		r.append(numbered(10*i, 10*i+10), 3, 3)
	}
	r.synced()
	dir := r.snapshot()
	segment := filepath.Join(dir, segmentName(1))
	text, err := os.ReadFile(segment)
	must(t, err)
	must(t, flip(segment, int64(strings.Index(string(text), "line 55\n"))))

	again := start(t, dir, func(o *Options) { o.Groups = []string{"a", "b"} })
	want := numbered(0, 50) + numbered(60, 200)
	for group := range 2 {
		if diff := cmp.Diff(want, again.drain(group)); diff != "" {
			t.Errorf("group %d: %s", group, diff)
		}
	}
	s := again.Stats()
	if s.QuarantinedFrames != 1 || s.Quarantined.Lines != 10 || s.Faults == 0 || s.LastFault == "" {
		t.Errorf("counted %+v", s)
	}
	kept := files(t, filepath.Join(dir, quarantineName), "*"+frameSuffix)
	if len(kept) != 1 {
		t.Fatalf("quarantine has %q", kept)
	}
	text, err = os.ReadFile(filepath.Join(dir, quarantineName, kept[0]))
	must(t, err)
	if !strings.Contains(string(text), "line 54\n") || !strings.Contains(string(text), "line 59\n") {
		t.Error("the frame is not in quarantine")
	}
	if !strings.Contains(again.log.String(), "a frame is damaged") {
		t.Errorf("the log says %s", again.log)
	}
}

// Rule 3: a file of an earlier run is never appended to.
func TestRule3EarlierFilesDoNotGrow(t *testing.T) {
	r := start(t, t.TempDir())
	r.append(numbered(0, 10), 1, 1)
	r.synced()
	dir := r.snapshot()
	before, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	must(t, err)

	again := start(t, dir)
	again.append(numbered(10, 20), 1, 1)
	again.synced()
	again.scanned()
	after, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	must(t, err)
	if !strings.HasPrefix(string(before), string(after)) {
		t.Error("the file of the earlier run was written to")
	}
	if strings.Contains(string(after), "line 10\n") {
		t.Error("new lines are in the file of the earlier run")
	}
	if got := again.drain(0); got != numbered(0, 20) {
		t.Errorf("delivered %q", got)
	}
}

// Rule 4: a buffer stays in memory until its sync has succeeded. After a fault the segment is
// closed for good, its descriptor is not synced again, and what was not durable goes into the next
// one.
func TestRule4BuffersOutliveFaultsOfTheDisk(t *testing.T) {
	for name, test := range map[string]struct {
		inject func(f *hookFS, fail *faultSwitch)
		writes bool // rather than syncs
	}{
		"sync": {inject: func(f *hookFS, fail *faultSwitch) {
			f.sync = func(name string) error {
				if name == segmentName(1) {
					return fail.get()
				}
				return nil
			}
		}},
		"write": {writes: true, inject: func(f *hookFS, fail *faultSwitch) {
			f.write = func(name string, offset int64) error {
				if name == segmentName(1) && offset > headerBlock {
					return fail.get()
				}
				return nil
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f, fail := newHooks(), new(faultSwitch)
			test.inject(f, fail)
			r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Sync = f, time.Hour })
			r.append(numbered(0, 10), 1, 1)
			r.append(numbered(10, 20), 1, 1)
			if held := r.Stats().Held; held < 512 {
				t.Fatalf("%d bytes are held before the sync", held)
			}
			fail.set(syscall.EIO)
			if test.writes {
				r.append(numbered(20, 30), 1, 1) // they are in memory until they stand in another segment
			} else {
				r.hurry()
			}
			r.await("the fault", func(s Stats) bool { return s.SyncErrors+s.WriteErrors > 0 })
			<-r.Room()
			if !test.writes {
				r.append(numbered(20, 30), 1, 1)
			}
			r.hurry()
			r.synced()

			dir := r.snapshot()
			must(t, remove(OS, filepath.Join(dir, segmentName(1)))) // nothing may be needed of it
			again := start(t, dir)
			if got := again.drain(0); got != numbered(0, 30) {
				t.Errorf("delivered %q", got)
			}
			if got := r.drain(0); got != numbered(0, 30) {
				t.Errorf("delivered in the same run: %q", got)
			}
			if n := f.syncsOf(segmentName(1)); test.writes && n > 1 || n > 2 { // one is for its header
				t.Errorf("the failed segment was synced %d times", n)
			}
		})
	}
}

// hurry makes the next sync begin at once.
func (r *rig) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hurryLocked()
}

// Rule 4: a segment that is new fails as well, and the one after that; the caller learns of the
// fault, and nothing is lost.
func TestRule4FaultsGoOn(t *testing.T) {
	f, fail := newHooks(), new(faultSwitch)
	f.write = func(name string, offset int64) error {
		if isSegment(name) && offset >= headerBlock {
			return fail.get()
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Sync = f, time.Hour })
	r.append(numbered(0, 10), 1, 1)
	fail.set(syscall.EDQUOT)
	r.append(numbered(10, 20), 1, 1) // this write fails, and the lines stay in memory
	if _, err := r.tryAppend("lost\n", 1, 1); !errors.Is(err, syscall.EDQUOT) {
		t.Fatalf("the next call of Append returns %v", err)
	}
	r.await("several segments have failed", func(s Stats) bool { return s.WriteErrors >= 3 })
	fail.clear()
	<-r.Room()
	r.append(numbered(20, 30), 1, 1)
	if got := r.drain(0); got != numbered(0, 30) {
		t.Errorf("delivered %q", got)
	}
}
