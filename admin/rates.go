package admin

import (
	"slices"
	"sync"
)

const (
	rateSamples = 10  // over how many samples, and so seconds, rates are taken
	pastSamples = 300 // how many History has
)

// history keeps the counts of the last seconds. Its methods are safe for concurrent use.
type history struct {
	mu      sync.Mutex // protects the fields below
	samples []sample   // oldest first, at most rateSamples
	past    []Sample   // the same for longer, at most pastSamples
}

// sample is what a Status said at one time.
type sample struct {
	Sample
	accepted uint64
	targets  map[string]targetCounts
}

type targetCounts struct{ lines, bytes, received, connections uint64 }

func sampleOf(s *Status) sample {
	out := sample{
		Sample:   Sample{At: s.Now, SentBytes: s.Totals.SentBytes, Connections: s.Totals.Connections, Waiting: s.Totals.Waiting},
		accepted: s.Totals.Accepted,
		targets:  make(map[string]targetCounts, len(s.Targets)),
	}
	out.Received.Bytes = s.Totals.ReceivedBytes
	if s.Ledger != nil {
		out.Received, out.Confirmed = s.Ledger.Received, s.Ledger.Confirmed
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
	h.samples = appendLast(h.samples, now, rateSamples)
	h.past = appendLast(h.past, now.Sample, pastSamples)
}

// appendLast appends to a list of at most so many, which loses its first for that.
func appendLast[T any](list []T, value T, most int) []T {
	if len(list) == most {
		list = append(list[:0], list[1:]...)
	}
	return append(list, value)
}

// all returns what is remembered, oldest first.
func (h *history) all() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.past)
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
	seconds := s.Now.Sub(old.At).Seconds()
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
		ReceivedLines:  per(old.Received.Lines, now.Received.Lines),
		ReceivedBytes:  per(old.Received.Bytes, now.Received.Bytes),
		ConfirmedLines: per(old.Confirmed.Lines, now.Confirmed.Lines),
		ConfirmedBytes: per(old.Confirmed.Bytes, now.Confirmed.Bytes),
		SentBytes:      per(old.SentBytes, now.SentBytes),
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
