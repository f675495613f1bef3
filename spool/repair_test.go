package spool

import (
	"testing"
	"time"
)

// A repair had failed, and its next attempt was due while another write into the failed segment was
// under way: the syncer had nothing to do, and did not wait for anything.
func TestRepairWaitsForAWrite(t *testing.T) {
	r := start(t, t.TempDir())
	r.stop()
	r.Spool.repairs = true
	r.segments = []*segment{{failed: true, writers: 1}}
	y := syncer{Spool: r.Spool, retry: newRetry()}
	y.retry.at = time.Now().Add(-time.Second)
	y.repair()
	if d := y.delay(); d < time.Minute {
		t.Errorf("it waits for %v", d)
	}
}
