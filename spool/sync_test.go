package spool

import (
	"testing"
	"testing/synctest"
	"time"
)

// Lines that are confirmed within Sync need no sync, so that the disk does not limit what targets
// take at once. Others get theirs in time.
func TestConfirmedLinesNeedNoSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(o *Options) { o.Segment, o.Sync = minSegment, 100*time.Millisecond })
		for range 100 { // several segments
			r.confirm(r.append(fill(0), 1, 0), 0)
			time.Sleep(30 * time.Millisecond)
		}
		if s := r.Stats(); s.Syncs > 0 || s.Unconfirmed.Lines > 0 {
			t.Errorf("confirmed within 100 ms: %+v", s)
		}
		receipt := r.append("slow\n", 1, 0)
		time.Sleep(50 * time.Millisecond)
		quick := r.append("quick\n", 1, 0)
		r.confirm(quick, 0)
		synctest.Wait()
		if s := r.Stats(); s.Syncs > 0 {
			t.Errorf("after 50 ms: %+v", s)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if s := r.Stats(); s.Syncs != 1 || s.Held != 0 {
			t.Errorf("after 100 ms: %+v", s)
		}
		r.confirm(receipt, 0)
		r.stop()
		if s := r.Stats(); s.Syncs != 1 {
			t.Errorf("at the end: %+v", s)
		}
	})
}
