package target

import (
	"math"
	"testing"
	"time"
)

func TestEstimatorDistance(t *testing.T) {
	type look struct {
		at     time.Duration
		window uint64
	}
	const ms = time.Millisecond
	tests := []struct {
		name     string
		looks    []look
		margin   uint64
		unread   uint64
		distance uint64
	}{
		{"nothing seen", nil, 64, 0, 64},
		{"the first window counts as risen", []look{{0, 1000}}, 64, 0, 64 + 1000},
		{"for a second", []look{{0, 1000}, {999 * ms, 1000}}, 64, 0, 64 + 1000},
		{"and while that was the second before", []look{
			{0, 1000}, {1000 * ms, 1000}, {1999 * ms, 1000},
		}, 64, 0, 64 + 1000},
		{"and no longer", []look{{0, 1000}, {1000 * ms, 1000}, {2000 * ms, 1000}}, 64, 0, 64},
		{"nothing was seen to rise for two seconds", []look{{0, 1000}, {2000 * ms, 1000}}, 64, 0, 64},
		{"no margin", []look{{0, 1000}, {2000 * ms, 1000}}, 0, 0, 0},
		{"a byte more after a pause", []look{{0, 1000}, {5000 * ms, 1001}}, 64, 0, 64 + 16},
		{"a sixteenth of it", []look{{0, 1000}, {5000 * ms, 1062}}, 64, 0, 64 + 62*16},
		{"more than a sixteenth: all of it", []look{{0, 1000}, {5000 * ms, 1100}}, 64, 0, 64 + 1100},
		{"a rise in one second counts in the next", []look{
			{0, 1000}, {3000 * ms, 1010}, {4000 * ms, 1010}, {4999 * ms, 1010},
		}, 64, 0, 64 + 160},
		{"and not in the one after that", []look{
			{0, 1000}, {3000 * ms, 1010}, {4000 * ms, 1010}, {5000 * ms, 1010},
		}, 64, 0, 64},
		{"rises of two seconds add up", []look{{0, 1000}, {3000 * ms, 1010}, {4000 * ms, 1020}}, 64, 0, 64 + 320},
		{"shrunk by one", []look{{0, 1000}, {2000 * ms, 999}}, 64, 1, 64 + 2},
		{"shrunk to zero", []look{{0, 1000}, {2000 * ms, 0}}, 64, 1000, 64 + 2000},
		{"shrunk while it is new", []look{{0, 1000}, {500 * ms, 400}}, 64, 600, 64 + 1200 + 1000},
		{"back at the peak", []look{{0, 1000}, {1000 * ms, 0}, {2000 * ms, 1000}}, 64, 0, 64},
		{"the greatest peak counts", []look{
			{0, 1000}, {10 * ms, 5000}, {20 * ms, 2000}, {3000 * ms, 2000},
		}, 0, 3000, 6000},
	}
	for _, test := range tests {
		start := time.Now()
		var e estimator
		for _, l := range test.looks {
			e.see(l.window, 0, start, start.Add(l.at))
		}
		if e.known != (len(test.looks) > 0) {
			t.Errorf("%s: known = %v", test.name, e.known)
		}
		if e.unread != test.unread {
			t.Errorf("%s: unread = %d, want %d", test.name, e.unread, test.unread)
		}
		if got := e.distance(test.margin); got != test.distance {
			t.Errorf("%s: distance = %d, want %d", test.name, got, test.distance)
		}
	}
}

func TestHidden(t *testing.T) {
	for segment, want := range map[int]uint64{
		0: math.MaxUint64, 536: math.MaxUint64, 1448: math.MaxUint64, 8948: math.MaxUint64,
		32768: hiddenLarge, 65483: hiddenLarge,
	} {
		if got := hidden(segment); got != want {
			t.Errorf("segments of %d bytes: %d, want %d", segment, got, want)
		}
	}
}

func TestEstimatorAcceptsANarrowWindow(t *testing.T) {
	start := time.Now()
	const s = time.Second
	e := estimator{stability: stability{span: 100}}
	look := func(at time.Duration, window, acked uint64) {
		e.see(window, acked, start.Add(at), start.Add(at))
	}
	look(0, 10_000, 0)
	look(3*s, 3000, 8000) // narrower by all that arrived, which seems unread
	look(4*s, 3000, 8000)
	look(5*s, 3000, 8000)
	if e.unread != 7000 || e.seemsRead() {
		t.Fatalf("unread %d, seems read: %v", e.unread, e.seemsRead())
	}
	look(6*s, 3010, 8100) // two spans more, and the window comes back
	look(7*s, 2990, 8200)
	look(8*s, 2990, 8200)
	look(9*s, 2990, 8200)
	if e.unread != 0 || !e.seemsRead() || e.distance(64) != 64+50 {
		t.Errorf("unread %d, seems read: %v, distance %d; want 0, true, the margin and half of the span",
			e.unread, e.seemsRead(), e.distance(64))
	}
	look(10*s, 2000, 9300)
	if e.unread != 990 {
		t.Errorf("unread %d, want how much narrower the window is than when it was stable", e.unread)
	}
}

func TestWindowRecovered(t *testing.T) {
	type look struct {
		window, acked uint64
		lastAck       time.Duration
		want          bool
	}
	const s, ms, kib = time.Second, time.Millisecond, 1 << 10
	tests := []struct {
		name  string
		looks []look
	}{
		{"two answers that agree", []look{
			{900, 10, 0, false}, {900, 10, s, false}, {900, 10, 2 * s, true}, {900, 10, 3 * s, true}}},
		{"looks between them are no answers", []look{
			{900, 10, 0, false}, {900, 10, 0, false}, {900, 10, 100 * ms, false}, {900, 10, 50 * ms, false}}},
		{"an answer that differs", []look{
			{900, 10, 0, false}, {900, 10, s, false}, {901, 10, 2 * s, false}, {901, 10, 3 * s, false},
			{901, 10, 4 * s, true}}},
		{"more is acknowledged", []look{
			{900, 10, 0, false}, {900, 10, s, false}, {900, 10, 2 * s, true}, {900, 11, 3 * s, false},
			{900, 11, 4 * s, false}, {900, 11, 5 * s, true}}},
		{"narrower than within the span", []look{
			{800, 0, 0, false}, {599, 10, s, false}, {599, 10, 2 * s, false}, {599, 10, 9 * s, false},
			{599, 10, 20 * s, false}}},
		{"by no more than a quarter", []look{
			{800, 0, 0, false}, {600, 10, s, false}, {600, 10, 2 * s, false}, {600, 10, 3 * s, true}}},
		{"by more than 512 KiB", []look{
			{4 * kib * kib, 0, 0, false}, {3584*kib - 1, 10, s, false}, {3584*kib - 1, 10, 2 * s, false},
			{3584*kib - 1, 10, 3 * s, false}}},
		{"by no more than 512 KiB", []look{
			{4 * kib * kib, 0, 0, false}, {3584 * kib, 10, s, false}, {3584 * kib, 10, 2 * s, false},
			{3584 * kib, 10, 3 * s, true}}},
		{"narrower than in the span before", []look{
			{800, 0, 0, false}, {500, kib * kib, s, false}, {500, 2*kib*kib - 1, 2 * s, false},
			{500, 2*kib*kib - 1, 3 * s, false}, {500, 2*kib*kib - 1, 4 * s, false}}},
		{"but not than in the span before that", []look{
			{800, 0, 0, false}, {500, kib * kib, s, false}, {500, 2 * kib * kib, 2 * s, false},
			{500, 2 * kib * kib, 3 * s, false}, {500, 2 * kib * kib, 4 * s, true}}},
		{"a receiver that hangs", []look{
			{3000 * kib, 0, 0, false}, {2000 * kib, kib * kib, s, false},
			{1000 * kib, 2 * kib * kib, 2 * s, false}, {100 * kib, 3 * kib * kib, 3 * s, false},
			{100 * kib, 3 * kib * kib, 4 * s, false}, {100 * kib, 3 * kib * kib, 9 * s, false}}},
	}
	for _, test := range tests {
		start := time.Now()
		var window stability
		for i, l := range test.looks {
			if window.see(l.window, l.acked, start.Add(l.lastAck)); window.recovered() != l.want {
				t.Errorf("%s: look %d: recovered = %v", test.name, i, !l.want)
			}
		}
	}
}

func TestSeemsRead(t *testing.T) {
	for p, want := range map[Progress]bool{
		{}:                                    true,
		{Unread: 1}:                           false,
		{Unread: 1, WindowRecovered: true}:    true,
		{Rising: true}:                        false,
		{Rising: true, WindowRecovered: true}: true,
	} {
		if p.SeemsRead() != want {
			t.Errorf("%+v: SeemsRead() = %v", p, !want)
		}
	}
}

func TestSilence(t *testing.T) {
	type look struct {
		at         time.Duration
		unanswered bool
		lastAck    time.Duration // how long before the look
		want       time.Duration
	}
	const s, min, ms = time.Second, time.Minute, time.Millisecond
	tests := []struct {
		name  string
		looks []look
	}{
		{"idle", []look{{0, false, 0, 0}, {10 * min, false, 10 * min, 0}}},
		{"a retransmission that is answered", []look{{0, false, 0, 0}, {s, true, s, 0}, {2 * s, false, 0, 0}}},
		{"unanswered retransmissions", []look{
			{0, false, 0, 0}, {s, true, s, 0}, {2 * s, true, 2 * s, s}, {31 * s, true, 31 * s, 30 * s},
		}},
		{"unanswered from the first look", []look{{0, true, 5 * s, 0}, {s, true, 6 * s, s}}},
		{"answered in between", []look{
			{s, true, s, 0}, {2 * s, true, 2 * s, s}, {3 * s, true, 500 * ms, 0}, {4 * s, true, 1500 * ms, s},
		}},
		{"silent, answered, silent again", []look{
			{s, true, s, 0}, {9 * s, true, 9 * s, 8 * s}, {10 * s, false, 0, 0}, {20 * s, true, 10 * s, 0},
			{21 * s, true, 11 * s, s},
		}},
		// Each look happens to fall between a zero window probe and its answer; the probes are two
		// minutes apart.
		{"zero window probes minutes apart, each answered", []look{
			{0, true, 0, 0}, {2 * min, true, 2 * min, 2 * min}, {2*min + s, false, s, 0},
			{4 * min, true, 2 * min, 0}, {4*min + s, false, s, 0}, {6 * min, true, 2 * min, 0}}},
		{"zero window probes, no look between the answers", []look{
			{0, true, 1 * min, 0}, {2 * min, true, 2*min - s, 0}, {4 * min, true, 2*min - s, 0}, {6 * min, true, 2*min - s, 0}}},
		{"zero window probes, none answered", []look{
			{0, false, 0, 0}, {1 * s, true, s, 0}, {2 * min, true, 2 * min, 2*min - s}, {4 * min, true, 4 * min, 4*min - s}}},
		{"the kernel's clock is coarse", []look{
			{s, true, s, 0}, {2 * s, true, 2*s - 100*ms, s}, {3 * s, true, 3*s - 100*ms, 2 * s},
		}},
		{"but not that coarse", []look{{s, true, s, 0}, {2 * s, true, 2*s - 101*ms, 0}}},
	}
	for _, test := range tests {
		start := time.Now()
		var quiet silence
		for i, l := range test.looks {
			got := quiet.see(kernelCounts{unanswered: l.unanswered, lastAckSeen: l.lastAck}, start.Add(l.at))
			if got != l.want {
				t.Errorf("%s: look %d after %v: silent for %v, want %v", test.name, i, l.at, got, l.want)
			}
		}
	}
}
