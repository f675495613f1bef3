package spool

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/linebuf"
)

// mountTmpfs mounts a file system with a size such as 1m, and returns its directory.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("spool", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("mount -t tmpfs: %v: root may do that", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A real file system that is full refuses the next segment. What is there is delivered, and makes
// room again.
func TestSpoolOnASmallTmpfs(t *testing.T) {
	dir := mountTmpfs(t, "1m")
	pool := linebuf.NewPool(0)
	s, err := Open(Options{Dir: dir, Size: 64 << 20, Segment: minSegment, Sync: time.Millisecond, Groups: []string{"main"}, Buffers: pool})
	mustDo(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer func() {
		cancel()
		running.Wait()
		mustDo(t, s.Close())
	}()

	text := strings.Repeat("x", 4095) + "\n"
	appended := 0
	appendOne := func() error {
		b := pool.MustGet(len(text))
		b.B, b.Lines, b.Read = append(b.B, text...), 1, time.Now()
		for {
			room := s.Room()
			_, err := s.Append(b, 1, 1)
			if err == nil {
				appended++
				return nil
			}
			if !errors.Is(err, ErrBusy) {
				pool.Put(b)
				return err
			}
			select {
			case <-room:
			case <-ctx.Done():
				t.Fatalf("nothing happens: %+v", s.Stats())
			}
		}
	}
	for err == nil {
		err = appendOne()
	}
	if stats := s.Stats(); !errors.Is(err, unix.ENOSPC) || stats.Faults == 0 || !strings.Contains(stats.LastFault, unix.ENOSPC.Error()) {
		t.Fatalf("%v after %d lines; %+v", err, appended, stats)
	}

	for read := 0; read < appended; {
		b, err := s.Next(ctx, 0)
		mustDo(t, err)
		if read += b.Lines; string(b.B) != strings.Repeat(text, b.Lines) {
			t.Fatal("other lines than were appended")
		}
		pool.Put(b)
	}
	for err := appendOne(); err != nil; err = appendOne() { // until the segments are removed
		if !errors.Is(err, unix.ENOSPC) || ctx.Err() != nil {
			t.Fatalf("%v; %+v", err, s.Stats())
		}
		<-s.Room()
	}
}

// At a shutdown the space is used that is too small for a whole segment: lines that were in memory
// were lost although the disk had room for them.
func TestLastSegmentsAreSmall(t *testing.T) {
	r := start(t, mountTmpfs(t, "3500k"), func(o *Options) { o.FS, o.Segment = OS, 2*mib })
	fillUp := func() (lines int, err error) {
		for ; err == nil; lines++ {
			_, err = r.tryAppend(fill(lines), 1, 1)
		}
		return lines - 1, err
	}
	before, err := fillUp()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if !r.Refuses(8 * mib) {
		t.Error("the spool does not know that it is full")
	}
	r.Unlimit()
	r.await("a small segment", func(Stats) bool { return !r.Refuses(mib / 2) })
	after, err := fillUp()
	if !errors.Is(err, unix.ENOSPC) || after < mib/len(fill(0))*9/10 {
		t.Errorf("%d lines of %d bytes, and after Unlimit %d: %v", before, len(fill(0)), after, err)
	}
}
