package spool

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A segment could not be opened, and no line of any other was delivered for as long as that lasted.
// Now others go on after half a minute, and it comes once it can be opened.
func TestSegmentThatCannotBeOpened(t *testing.T) {
	for name, again := range map[string]bool{"before it is scanned": false, "after it was scanned": true} {
		t.Run(name, func(t *testing.T) {
			r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
			for i := range 100 {
				r.append(fill(i), 1, 1)
			}
			r.synced()
			dir := r.snapshot()
			synctest.Test(t, func(t *testing.T) { openLate(t, dir, again) })
		})
	}
}

// openLate delivers the 100 lines of a spool, one segment of which cannot be opened for five
// minutes.
func openLate(t *testing.T, dir string, scanned bool) {
	f, fail := newHooks(), new(faultSwitch)
	opened := 0
	f.openRead = func(name string) error {
		if name != segmentName(4) {
			return nil
		}
		if opened++; opened == 1 { // by Open
			return nil
		}
		return fail.get()
	}
	if !scanned {
		fail.set(syscall.EACCES)
	}
	r := start(t, dir, func(o *Options) { o.FS = f })
	defer r.stop()
	if scanned {
		r.scanned()
		fail.set(syscall.EACCES)
	}
	began, lines := time.Now(), 0
	read := func(until int) {
		for lines < until {
			b := r.next1(t)
			lines += b.Lines
			r.pool.Put(b)
		}
	}
	const inSegment = 15 // lines
	read(100 - inSegment)
	if took := time.Since(began); took > 2*readPatience {
		t.Errorf("the others have come after %v", took)
	}
	synctest.Wait() // for the scan of the last segment, which has no lines
	s := r.Stats()
	waiting := uint64(0)
	if scanned {
		waiting = inSegment
	}
	if s.Skipped != 1 || s.Faults == 0 || r.behind(0) || s.Groups[0].Waiting.Lines != waiting {
		t.Errorf("behind is %v; %+v", r.behind(0), s)
	}
	time.Sleep(5 * time.Minute)
	fail.clear()
	began = time.Now()
	read(100)
	if took := time.Since(began); took > asideEvery {
		t.Errorf("it has come after %v", took)
	}
	if s := r.Stats(); s.Skipped != 0 || s.Unscanned != 0 || s.Groups[0].Waiting.Lines != 0 || r.behind(0) {
		t.Errorf("in the end: behind is %v; %+v", r.behind(0), s)
	}
}

// The header of a segment of another format could be read only after the start. It was tried for
// ever, and held up all segments behind it.
func TestSegmentOfAnotherFormatIsFoundLate(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	for i := range 30 {
		r.append(fill(i), 1, 1)
	}
	r.synced()
	dir := r.snapshot()
	name := filepath.Join(dir, segmentName(1))
	text, err := os.ReadFile(name)
	must(t, err)
	for _, half := range [][]byte{text[:headerCopy], text[headerCopy:headerBlock]} {
		half[8] = headerVersion + 1
		putChecksum(half)
	}
	must(t, os.WriteFile(name, text, 0o600))
	synctest.Test(t, func(t *testing.T) {
		f := newHooks()
		failed := false
		f.read = func(name string, _ int64, _ int) error {
			if failed || name != segmentName(1) {
				return nil
			}
			failed = true
			return syscall.EIO
		}
		r := start(t, dir, func(o *Options) { o.FS = f })
		b := r.next1(t)
		if got := string(b.B); !strings.HasSuffix(got, "line 15\n") && !strings.HasPrefix(got, fill(15)) {
			t.Errorf("delivered %.20q", got)
		}
		r.pool.Put(b)
		if s := r.Stats(); s.Skipped != 1 {
			t.Errorf("counted %+v", s)
		}
		r.stop()
	})
}
