package admin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func statusAt(second int, lines uint64, targets ...TargetStatus) Status {
	return Status{
		Now:    began.Add(time.Duration(second) * time.Second),
		Totals: Totals{Accepted: lines / 100, SentBytes: lines, ReceivedBytes: 3 * lines},
		Ledger: &Ledger{
			Received: Amount{lines, lines * 10}, Sent: Amount{lines / 4, lines * 2}, Confirmed: Amount{lines / 2, lines * 5},
		},
		Targets: targets,
	}
}

func lineTarget(name string, bytes uint64) TargetStatus {
	return TargetStatus{Name: name, Lines: &TargetLines{Sent: Amount{bytes / 10, bytes}, Confirmed: Amount{1, 1}}}
}

// Rates and shares go by what was sent: what is confirmed tells of ten seconds ago at low rates.
func TestRates(t *testing.T) {
	var h history
	first := statusAt(0, 1000, lineTarget("a", 100), lineTarget("b", 700), lineTarget("c", 50))
	h.setRates(&first)
	if diff := cmp.Diff(Rates{}, first.Rates); diff != "" {
		t.Errorf("without an earlier sample: %s", diff)
	}
	h.add(&first)
	same := first
	h.setRates(&same)
	if diff := cmp.Diff(Rates{}, same.Rates); diff != "" {
		t.Errorf("at the same time: %s", diff)
	}

	// b was removed and added again, so its counts are 0. d was added since.
	now := statusAt(4, 5000, lineTarget("a", 300), lineTarget("b", 0), lineTarget("d", 600))
	h.setRates(&now)
	want := Rates{
		ReceivedLines: 1000, ReceivedBytes: 10000, ConfirmedLines: 500, ConfirmedBytes: 5000,
		SentLines: 250, SentBytes: 2000 + 1000, Accepted: 10,
	}
	if diff := cmp.Diff(want, now.Rates); diff != "" {
		t.Error(diff)
	}
	targets := []TargetRates{now.Targets[0].Rates, now.Targets[1].Rates, now.Targets[2].Rates}
	wantTargets := []TargetRates{{Lines: 5, Bytes: 50, Share: 0.25}, {}, {Lines: 15, Bytes: 150, Share: 0.75}}
	if diff := cmp.Diff(wantTargets, targets); diff != "" {
		t.Error(diff)
	}
}

func TestRatesInConnectionMode(t *testing.T) {
	var h history
	target := func(n uint64) TargetStatus {
		return TargetStatus{Name: "a", Forward: &TargetForward{SentBytes: n, ReceivedBytes: 2 * n, Total: n / 10}}
	}
	first, now := statusAt(0, 0, target(0)), statusAt(2, 200, target(100))
	first.Ledger, now.Ledger = nil, nil
	h.add(&first)
	h.setRates(&now)
	if diff := cmp.Diff(Rates{ReceivedBytes: 300, SentBytes: 100, Accepted: 1}, now.Rates); diff != "" {
		t.Error(diff)
	}
	want := TargetRates{Bytes: 50, ReceivedBytes: 100, Connections: 5, Share: 1}
	if diff := cmp.Diff(want, now.Targets[0].Rates); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	const seconds = 2 * pastSamples
	for i := range seconds {
		s := statusAt(i, uint64(i))
		h.add(&s)
	}
	if oldest, _ := h.oldest(); len(h.samples) != rateSamples || oldest.Received.Lines != seconds-rateSamples {
		t.Errorf("%d samples from %d on", len(h.samples), oldest.Received.Lines)
	}
	past := h.all()
	const last = seconds - 1
	want := Sample{
		At: began.Add(last * time.Second), Received: Amount{last, 10 * last},
		Sent: Amount{last / 4, 2 * last}, Confirmed: Amount{last / 2, 5 * last}, SentBytes: last,
	}
	diff := cmp.Diff(want, past[len(past)-1])
	if diff != "" || len(past) != pastSamples || past[0].Received.Lines != seconds-pastSamples {
		t.Errorf("%d samples from %d on; the last: %s", len(past), past[0].Received.Lines, diff)
	}
}
