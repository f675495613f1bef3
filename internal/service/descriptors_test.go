package service

import (
	"testing"

	"linesplit/admin"
	"linesplit/target"
)

func TestSendersLeaveDescriptorsToTargets(t *testing.T) {
	m := wired(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-connections", "5").mode
	limit := func() uint64 {
		var s admin.Status
		m.describe(&s)
		return s.Limits.MaxConnections
	}
	before := limit()
	if before == 0 {
		t.Skip("the number of descriptors is not limited here")
	}
	a, err := target.ParseAddress("127.0.0.1:2", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.addTarget(a); err != nil || limit() != before-10 {
		t.Errorf("%d senders with one target, %d with two; error %v", before, limit(), err)
	}
	if err := m.removeTarget(a.String()); err != nil || limit() != before {
		t.Errorf("%d senders with one target, %d with one again; error %v", before, limit(), err)
	}
}
