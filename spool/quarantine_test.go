package spool

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// damaged returns the directory of a spool with three frames, of which a bit of the second is
// wrong, at an offset from its lines.
func damaged(t *testing.T, offset int64) (dir string) {
	t.Helper()
	r := start(t, t.TempDir())
	for i := range 3 {
		r.append(numbered(10*i, 10*i+10), 1, 1)
	}
	r.synced()
	dir = r.snapshot()
	segment := filepath.Join(dir, segmentName(1))
	text, err := os.ReadFile(segment)
	must(t, err)
	must(t, flip(segment, int64(strings.Index(string(text), "line 10\n"))+offset))
	return dir
}

// Bytes that belong to no frame could not be copied to quarantine, and were then deleted with their
// segment. When that could not be moved at once, each attempt counted its size, and in the end
// there was no room for it; after a fault of the sync it was looked for at its old place for ever.
func TestSegmentIsKeptWhenACopyFails(t *testing.T) {
	dir := damaged(t, -frameHeader)
	synctest.Test(t, func(t *testing.T) {
		f := newFaultyFS(fastFS{OS},
			&fault{op: opCreate, of: rawSuffix, times: -1, err: syscall.EIO},
			&fault{op: opRename, times: 3, err: syscall.EIO},
			&fault{op: opSyncDir, of: quarantineName, times: 2, err: syscall.EIO})
		r := start(t, dir, func(o *Options) { o.FS = f })
		if got := r.drain(0); got != numbered(0, 10)+numbered(20, 30) {
			t.Errorf("delivered %q", got)
		}
		r.await("the segment is moved", func(Stats) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.segments) == 0 && len(r.retired) == 0
		})
		kept := files(t, filepath.Join(dir, quarantineName), "*")
		if len(kept) != 1 || !isSegment(kept[0]) {
			t.Fatalf("quarantine has %q", kept)
		}
		text, err := os.ReadFile(filepath.Join(dir, quarantineName, kept[0]))
		must(t, err)
		if !strings.Contains(string(text), numbered(10, 20)) {
			t.Error("the lines are not in quarantine")
		}
		r.stop()
		if r.kept != int64(len(text)) {
			t.Errorf("quarantine has %d bytes, of which %d are counted", len(text), r.kept)
		}
	})
}

// The process was killed while it copied a damaged frame to quarantine. The next run took the
// incomplete copy for the frame, and deleted the segment.
func TestKilledWhileCopyingToQuarantine(t *testing.T) {
	dir := damaged(t, 0)
	killed := ""
	f := newHooks()
	f.write = func(name string, offset int64) error {
		if strings.Contains(name, frameSuffix) && offset > 0 {
			killed = copyDir(t, dir)
		}
		return nil
	}
	start(t, dir, func(o *Options) { o.FS = f }).drain(0)
	if killed == "" {
		t.Fatal("nothing was copied")
	}
	again := start(t, killed)
	again.drain(0)
	kept := files(t, filepath.Join(killed, quarantineName), "*")
	if len(kept) != 1 || !strings.HasSuffix(kept[0], frameSuffix) {
		t.Fatalf("quarantine has %q", kept)
	}
	text, err := os.ReadFile(filepath.Join(killed, quarantineName, kept[0]))
	must(t, err)
	if !strings.Contains(string(text), "line 11\n") || !strings.Contains(string(text), "line 19\n") {
		t.Error("the frame is not in quarantine")
	}
}
