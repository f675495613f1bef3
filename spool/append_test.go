package spool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/linebuf"
)

// A sync does not come to an end. Append goes on until the buffers that wait for it take up Hold.
func TestHoldBoundsMemory(t *testing.T) {
	f := newHooks()
	var slow atomic.Bool
	resume := make(chan struct{})
	f.sync = func(name string) error {
		if slow.Load() && isSegment(name) {
			<-resume
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Hold = f, 64*kib })
	r.append(numbered(0, 1), 1, 1)
	r.synced()
	slow.Store(true)
	line := strings.Repeat("x", 8*kib-1) + "\n"
	b := r.buffer(line)
	n := 0
	for ; ; n++ {
		if _, err := r.Append(b, 1, 1); err != nil {
			if err != ErrBusy {
				t.Fatal(err)
			}
			break
		}
		b = r.buffer(line)
	}
	s := r.Stats()
	if n != 8 || s.Held != 64*kib {
		t.Errorf("%d buffers of 8 KiB; %+v", n, s)
	}
	room := r.Room()
	select {
	case <-room:
		t.Error("there is room while all is held")
	default:
	}
	slow.Store(false)
	close(resume)
	<-room
	r.pool.Put(b)
	r.synced()
}

// Append does not wait while a sync is under way.
func TestAppendDoesNotWaitForSyncs(t *testing.T) {
	f := newHooks()
	resume := make(chan struct{})
	f.sync = func(name string) error {
		if name == segmentName(1) && f.syncsOf(name) > 1 {
			<-resume
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS = f })
	for i := range 100 {
		receipt := r.append(numbered(i, i+1), 1, 0)
		r.confirm(receipt, 0)
	}
	r.Stats()
	close(resume)
	r.synced()
}

func (f *hookFS) syncsOf(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs[name]
}

// Buffers go back to the pool once all groups have confirmed them: their sync is not waited for.
func TestConfirmedBuffersAreNotHeld(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Sync = time.Hour })
	receipt := r.append(numbered(0, 10), 1, 0)
	if held := r.Stats().Held; held == 0 {
		t.Fatal("nothing is held before the sync")
	}
	r.confirm(receipt, 0)
	if held := r.Stats().Held; held != 0 || r.pool.InUse() != 0 {
		t.Errorf("%d bytes are held, %d in use", held, r.pool.InUse())
	}
}

// Lines that wait are readable after their sync only, so a caller that waits for them has it made
// at once.
func TestNextHastensTheSync(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Sync = time.Hour })
	r.append(numbered(0, 10), 1, 1)
	b := r.next(0)
	if string(b.B) != numbered(0, 10) || b.Lines != 10 {
		t.Errorf("got %q, %d lines", b.B, b.Lines)
	}
	r.pool.Put(b)
}

// A write ended while Run did what was to be its last sync, and was never synced.
func TestTheLastWriteIsSynced(t *testing.T) {
	f, release, written := newHooks(), make(chan struct{}), make(chan struct{})
	var ending atomic.Bool
	f.write = func(name string, offset int64) error {
		if isSegment(name) && offset > headerBlock {
			<-release
		}
		return nil
	}
	f.sync = func(name string) error {
		if name == segmentName(1) && ending.CompareAndSwap(true, false) {
			close(release)
			<-written
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Sync = f, time.Hour })
	r.append(numbered(0, 10), 1, 1)
	go func() {
		defer close(written)
		if _, err := r.Append(r.buffer(numbered(10, 20)), 1, 1); err != nil {
			t.Error(err)
		}
	}()
	r.await("the second write", func(Stats) bool { return r.writing() })
	ending.Store(true)
	r.stop()
	if s := r.Stats(); s.Held != 0 || s.Appended.Lines != 20 {
		t.Errorf("at the end: %+v", s)
	}
}

func TestNextEnds(t *testing.T) {
	r := start(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx, 0); err != context.Canceled {
		t.Errorf("with a context that has ended: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := r.Next(t.Context(), 0)
		ended <- err
	}()
	r.stop()
	if err := <-ended; err != ErrClosed {
		t.Errorf("after the end of the spool: %v", err)
	}
	b := r.buffer("late\n")
	if _, err := r.Append(b, 1, 1); err != ErrClosed {
		t.Errorf("Append after the end: %v", err)
	}
	<-r.Room()
	r.pool.Put(b)
}

// A group that has nothing to do with a frame does not get it, and Append refuses one for no group.
func TestGroupsOfAppend(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Groups = []string{"a", "b"} })
	r.append("for a\n", 1, 1)
	r.append("for b\n", 2, 2)
	receipt := r.append("for both\n", 3, 1)
	r.confirm(receipt, 1)
	if got := r.drain(0); got != "for a\nfor both\n" {
		t.Errorf("a gets %q", got)
	}
	if got := r.drain(1); got != "for b\n" {
		t.Errorf("b gets %q", got)
	}
	b := r.buffer("for none\n")
	if _, err := r.Append(b, 4, 0); err == nil {
		t.Error("a buffer for no group is accepted")
	}
	r.pool.Put(b)
}

// The disk cannot be read for a while. The frame is tried again, and delivered.
func TestReadingIsTriedAgain(t *testing.T) {
	f, fail := newHooks(), new(faultSwitch)
	f.read = func(name string, offset int64, _ int) error {
		if isSegment(name) && offset >= headerBlock {
			return fail.get()
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS = f })
	r.append(numbered(0, 10), 1, 1)
	r.append(numbered(10, 20), 1, 1)
	r.synced()
	fail.set(syscall.EIO)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		r.await("reading fails at once, and one by one", func(s Stats) bool { return s.Faults > 1 })
		fail.clear()
	}()
	if got := r.drain(0); got != numbered(0, 20) {
		t.Errorf("delivered %q", got)
	}
	<-failed
	if s := r.Stats(); s.QuarantinedFrames != 0 || !strings.Contains(s.LastFault, "could not read a frame") {
		t.Errorf("counted %+v", s)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment, o.Size, o.Sync = 8*mib, 1<<30, time.Hour })
	line := strings.Repeat("x", 199) + "\n"
	appendOne := func() {
		if _, err := r.tryAppend(line, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * doneFrames { // more than what is measured has between two syncs
		appendOne()
	}
	r.hurry()
	r.synced()
	if n := testing.AllocsPerRun(doneFrames/2, appendOne); n >= 1 {
		t.Errorf("%v allocations for each call", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16 * kib, 200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := start(b, b.TempDir(), func(o *Options) {
				o.FS, o.Segment, o.Size, o.Sync = nil, defaultSegment, 4<<30, 200*time.Millisecond
			})
			line := strings.Repeat("x", size-1) + "\n"
			var groups linebuf.Groups = 1
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				buffer := r.pool.MustGet(size)
				buffer.B, buffer.Lines, buffer.Read = append(buffer.B, line...), 1, time.Now()
				receipt, err := r.Append(buffer, groups, 0)
				for errors.Is(err, ErrBusy) {
					<-r.Room()
					receipt, err = r.Append(buffer, groups, 0)
				}
				if err != nil {
					b.Fatal(err)
				}
				recordOf(receipt).Released(receipt, 0)
			}
		})
	}
}
