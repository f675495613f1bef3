package admin

import (
	"sync"
	"time"
)

// rateSamples is over how many samples, and so seconds, rates are taken.
const rateSamples = 10

// history keeps the counts of the last seconds, so that rates can be taken. Its methods are safe for concurrent use.
type history struct {
	mu      sync.Mutex // protects the field below
	samples []sample   // oldest first, at most rateSamples
}

// sample is what a Status said at one time.
type sample struct {
	at        time.Time
	received  Amount
	confirmed Amount
	sent      uint64
	accepted  uint64
	targets   map[string]targetCounts
}

type targetCounts struct{ lines, bytes, received, connections uint64 }

func sampleOf(s *Status) sample {
	out := sample{at: s.Now, sent: s.Totals.SentBytes, accepted: s.Totals.Accepted, targets: make(map[string]targetCounts, len(s.Targets))}
	out.received.Bytes = s.Totals.ReceivedBytes
	if s.Ledger != nil {
		out.received, out.confirmed = s.Ledger.Received, s.Ledger.Confirmed
	}
	for i := range s.Targets {
		out.targets[s.Targets[i].Name] = countsOf(&s.Targets[i])
	}
	return out
}

func countsOf(t *TargetStatus) (c targetCounts) {
	if t.Lines != nil {
		c.lines, c.bytes = t.Lines.Confirmed.Lines, t.Lines.Confirmed.Bytes
	}
	if t.Forward != nil {
		c.bytes, c.received, c.connections = t.Forward.SentBytes, t.Forward.ReceivedBytes, t.Forward.Total
	}
	return c
}

// add remembers a Status.
func (h *history) add(s *Status) {
	now := sampleOf(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == rateSamples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, now)
}

func (h *history) oldest() (s sample, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == 0 {
		return sample{}, false
	}
	return h.samples[0], true
}

// fill sets the rates of a Status. Without a past they stay 0.
func (h *history) fill(s *Status) {
	old, ok := h.oldest()
	seconds := s.Now.Sub(old.at).Seconds()
	if !ok || seconds <= 0 {
		return
	}
	now := sampleOf(s)
	per := func(before, after uint64) float64 {
		if after < before { // a target that went and came back
			return 0
		}
		return float64(after-before) / seconds
	}
	s.Rates = Rates{
		ReceivedLines:  per(old.received.Lines, now.received.Lines),
		ReceivedBytes:  per(old.received.Bytes, now.received.Bytes),
		ConfirmedLines: per(old.confirmed.Lines, now.confirmed.Lines),
		ConfirmedBytes: per(old.confirmed.Bytes, now.confirmed.Bytes),
		SentBytes:      per(old.sent, now.sent),
		Accepted:       per(old.accepted, now.accepted),
	}
	var sum float64
	for i := range s.Targets {
		t := &s.Targets[i]
		before, after := old.targets[t.Name], now.targets[t.Name]
		t.Rates = TargetRates{
			Lines:         per(before.lines, after.lines),
			Bytes:         per(before.bytes, after.bytes),
			ReceivedBytes: per(before.received, after.received),
			Connections:   per(before.connections, after.connections),
		}
		sum += t.Rates.Bytes
	}
	for i := range s.Targets {
		if sum > 0 {
			s.Targets[i].Rates.Share = s.Targets[i].Rates.Bytes / sum
		}
	}
}
