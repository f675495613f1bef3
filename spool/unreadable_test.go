package spool

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// A frame cannot be read for minutes. Those behind it are delivered, and it is delivered once it
// can be read again. Meanwhile the group is not behind, since Next has nothing for it.
func TestUnreadableFrameIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, fail := newHooks(), new(faultSwitch)
		bad := int64(headerBlock) + extent(len(numbered(0, 10)))
		f.read = func(name string, offset int64, n int) error {
			if isSegment(name) && offset <= bad && bad < offset+int64(n) {
				return fail.get()
			}
			return nil
		}
		r := start(t, t.TempDir(), func(o *Options) { o.FS = f })
		for i := range 3 {
			r.append(numbered(10*i, 10*i+10), 1, 1)
		}
		r.synced()
		fail.set(syscall.EIO)
		for _, i := range []int{0, 2} {
			b := r.next1(t)
			if got := string(b.B); got != numbered(10*i, 10*i+10) {
				t.Errorf("got %q", got)
			}
			r.pool.Put(b)
		}
		if s := r.Stats(); s.Groups[0].Waiting.Lines != 10 || s.Faults == 0 || r.behind(0) {
			t.Errorf("behind: %v; %+v", r.behind(0), s)
		}
		fail.clear()
		b := r.next1(t)
		if got := string(b.B); got != numbered(10, 20) {
			t.Errorf("got %q", got)
		}
		r.pool.Put(b)
		r.stop()
	})
}

// Ten frames in a row cannot be read. Next waited half a minute for each of them, so that a bad
// track held up all lines behind it for hours.
func TestUnreadableFramesAreSetAsideTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, fail := newHooks(), new(faultSwitch)
		end := headerBlock + 10*extent(len(numbered(10, 20)))
		f.read = func(name string, offset int64, _ int) error {
			if isSegment(name) && offset < end {
				return fail.get()
			}
			return nil
		}
		r := start(t, t.TempDir(), func(o *Options) { o.FS = f })
		for range 10 {
			r.append(numbered(10, 20), 1, 1)
		}
		r.append("good\n", 1, 1)
		r.synced()
		fail.set(syscall.EIO)
		began := time.Now()
		b := r.next1(t)
		if took := time.Since(began); string(b.B) != "good\n" || took > 2*readPatience {
			t.Errorf("got %q after %v", b.B, took)
		}
		r.pool.Put(b)
		fail.clear()
		r.stop()
	})
}

// next1 is Next of group 0 without a limit of time, which passes at once in a bubble.
func (r *rig) next1(t *testing.T) *linebuf.Buffer {
	t.Helper()
	b, err := r.Next(t.Context(), 0)
	must(t, err)
	return b
}

// A segment and its confirmations cannot be read for some seconds after the start. Nothing is
// delivered twice for that, and nothing is lost.
func TestSegmentThatCannotBeReadAtFirst(t *testing.T) {
	r := start(t, t.TempDir())
	r.append("open\n", 1, 1)
	r.confirm(r.append("confirmed\n", 1, 0), 0)
	r.synced()
	r.written()
	for _, name := range []string{segmentName(1), doneName(1)} {
		dir := r.snapshot()
		synctest.Test(t, func(t *testing.T) {
			f := newHooks()
			var reads atomic.Int32
			f.read = func(file string, _ int64, _ int) error {
				if file == name && reads.Add(1) <= 5 {
					return syscall.EIO
				}
				return nil
			}
			again := start(t, dir, func(o *Options) { o.FS = f })
			b := again.next1(t)
			if string(b.B) != "open\n" {
				t.Errorf("%s cannot be read at first: delivered %q", name, b.B)
			}
			again.pool.Put(b)
			if s := again.Stats(); s.Faults == 0 {
				t.Errorf("counted %+v", s)
			}
			again.stop()
		})
	}
}

// A process was killed before its last sync, and the next run lasts longer. What the first has
// written is durable then, as is what the second has.
func TestEarlierSegmentsAreSynced(t *testing.T) {
	r := start(t, t.TempDir())
	r.append("open\n", 1, 1)
	r.confirm(r.append("confirmed\n", 1, 0), 0)
	r.written()
	f := newHooks()
	again := start(t, r.snapshot(), func(o *Options) { o.FS = f })
	again.scanned()
	again.await("both files are synced", func(Stats) bool {
		return f.syncsOf(segmentName(1)) == 1 && f.syncsOf(doneName(1)) == 1
	})
	if _, err := os.Stat(filepath.Join(again.o.Dir, segmentName(1))); err != nil {
		t.Error(err)
	}
}

// The confirmations of an earlier run can be read, and not synced. That held up the lines of their
// segment for half a minute, and was counted as a failure to read.
func TestConfirmationsThatCannotBeSynced(t *testing.T) {
	r := start(t, t.TempDir())
	r.append("open\n", 1, 1)
	r.confirm(r.append("confirmed\n", 1, 0), 0)
	r.written()
	dir := r.snapshot()
	synctest.Test(t, func(t *testing.T) {
		f := newHooks()
		f.sync = func(name string) error {
			if name == doneName(1) {
				return syscall.EIO
			}
			return nil
		}
		again := start(t, dir, func(o *Options) { o.FS = f })
		began := time.Now()
		b := again.next1(t)
		if took := time.Since(began); string(b.B) != "open\n" || took > time.Second {
			t.Errorf("delivered %q after %v", b.B, took)
		}
		if s := again.Stats(); s.SyncErrors != 1 || s.Faults != 1 {
			t.Errorf("counted %+v", s)
		}
		again.pool.Put(b)
		again.stop()
	})
}
